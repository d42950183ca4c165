/* What OpenSSH is started with (R12: no shell sees anything unquoted). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/tport/ssh_argv.h"

#include <string.h>

static void targets_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *login, *host;
        bool labels;
    } cases[] = {{"node1", NULL, "node1", false},
                 {"root@node1", "root", "node1", false},
                 {"root@node1.example.com", "root", "node1", false},
                 {"root@NODE1.Example.COM", "root", "NODE1", false},
                 {"a@b.org@node1", "a@b.org", "node1", false},
                 {"env=dev,role=db", NULL, "env=dev,role=db", true},
                 {"root@owner=me@home", "root", "owner=me@home", true},
                 {"example.com", NULL, "example.com", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ssh_target target;
        assert_int_equal(ssh_target_parse(cases[i].text, "example.com", &target, NULL), TP_OK);
        assert_string_equal(target.host, cases[i].host);
        assert_int_equal(target.labels, cases[i].labels);
        if (cases[i].login)
            assert_string_equal(target.login, cases[i].login);
        else
            assert_null(target.login);
        ssh_target_free(&target);
    }
}

static void R12_names_for_a_shell_or_an_option_parser_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "$(id)", "a;b", "a b", "-oProxyCommand", "root@-v",  "-l@host", "a`b`@host", "a/b",
        "a\nb",  "'x'", "",    "root@",          "a|b@host", "%h",      "a%hb@c",    "host\x1b[2J"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ssh_target target;
        if (ssh_target_parse(bad[i], "c", &target, NULL) != TP_INVALID)
            fail_msg("\"%s\" was accepted", bad[i]);
    }
}

/* The server names logins, too, and --login and the environment do: not all OpenSSHs look at them before the shell does. */
static void R12_logins_of_others_reach_no_shell(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",    "-oProxyCommand=x", "$(id)", "a;b", "a b", "a`b`", "a|b", "a'b", "a\"b", "a\n", "%h", "a>b", "a*", "~",
        "a\\", "\x1b[2J"};
    static const char *const good[] = {"root", "jean-luc", "a.b_c+d@e", "HOST\\user"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (ssh_argv_check_login(bad[i], NULL) != TP_INVALID)
            fail_msg("\"%s\" was accepted", bad[i]);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(ssh_argv_check_login(good[i], NULL), TP_OK);
}

static void R12_words_are_quoted(void **state)
{
    (void)state;
    char *word = ssh_argv_shell_word("/home/a'b $HOME/100%/tport");
    assert_string_equal(word, "'/home/a'\\''b $HOME/100%%/tport'");
    mem_free(word);
    assert_int_equal(ssh_argv_config_word("/home/a b/100%", &word, NULL), TP_OK);
    assert_string_equal(word, "\"/home/a b/100%%\"");
    mem_free(word);
    assert_int_equal(ssh_argv_config_word("/a\"b", &word, NULL), TP_INVALID);
    assert_int_equal(ssh_argv_config_word("/a${HOME}", &word, NULL), TP_INVALID);
    assert_int_equal(ssh_argv_config_word("/a\nb", &word, NULL), TP_INVALID);
}

static void proxy_hosts_lose_user_port_and_cluster(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"root@node1:22", "node1"},
                                           {"node1.example.com:3022", "node1"},
                                           {"a@b@node1.Example.com:22", "node1"},
                                           {"node1", "node1"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *host;
        assert_int_equal(ssh_argv_proxy_host(cases[i][0], "example.com", &host, NULL), TP_OK);
        assert_string_equal(host, cases[i][1]);
        mem_free(host);
    }
    char *host;
    assert_int_equal(ssh_argv_proxy_host("root@:22", "c", &host, NULL), TP_INVALID);
}

static bool has(const struct argv *argv, const char *text)
{
    for (size_t i = 0; i < argv->count; i++) {
        if (strcmp(argv->items[i], text) == 0)
            return true;
    }
    return false;
}

static void options_name_the_profile(void **state)
{
    (void)state;
    struct profile profile;
    struct argv argv = {0};
    assert_int_equal(profile_init(&profile, "/home/u/.tport", "proxy.example.com", "proxy.example.com:443", "alice",
                                  "example.com", NULL),
                     TP_OK);
    assert_int_equal(ssh_argv_options(&argv, &profile, "/usr/bin/tport", "node1", NULL), TP_OK);
    assert_true(has(&argv, "ProxyCommand='/usr/bin/tport' proxy ssh --cluster='example.com' "
                           "--proxy='proxy.example.com:443' %r@%h:%p"));
    assert_true(has(&argv, "IdentityFile=\"/home/u/.tport/keys/proxy.example.com/alice\""));
    assert_true(has(&argv, "CertificateFile=\"/home/u/.tport/keys/proxy.example.com/alice-ssh/example.com-cert.pub\""));
    assert_true(has(&argv, "UserKnownHostsFile=\"/home/u/.tport/known_hosts\""));
    assert_true(has(&argv, "HostKeyAlias=node1.example.com"));
    assert_true(has(&argv, "StrictHostKeyChecking=yes"));
    assert_true(has(&argv, "IdentitiesOnly=yes"));
    for (size_t i = 0; i < argv.count; i += 2)
        assert_string_equal(argv.items[i], "-o");
    argv_free(&argv);
    profile_free(&profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(targets_are_taken_apart),
                                       cmocka_unit_test(R12_names_for_a_shell_or_an_option_parser_are_refused),
                                       cmocka_unit_test(R12_logins_of_others_reach_no_shell),
                                       cmocka_unit_test(R12_words_are_quoted),
                                       cmocka_unit_test(proxy_hosts_lose_user_port_and_cluster),
                                       cmocka_unit_test(options_name_the_profile)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

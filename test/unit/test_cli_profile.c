/* Profiles on disk: round trip, modes, names that must not become paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/common/file.h"
#include "cli/common/profile.h"
#include "cli/tport/trust.h"
#include "base/enc.h"
#include "crypt/key.h"
#include "crypt/statement.h"
#include "crypt/x509.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char *user_cert(const char *user, int64_t not_after)
{
    struct key *ca = key_generate(KEY_P256), *key = key_generate(KEY_P256);
    char *ca_pem = x509_make_ca(ca, "example.com", "user", clock_wall());
    char *public_pem = key_public_pem(key);
    struct identity identity;
    char *pem = NULL;
    identity_init(&identity);
    identity.kind = IDENTITY_USER;
    identity.cluster = mem_strdup("example.com");
    identity.name = mem_strdup(user);
    identity.roles = json_pack("[s]", "access");
    identity.traits = json_object();
    identity.logins = json_pack("[ss]", "root", "admin");
    identity.not_before = clock_wall() - 7200;
    identity.not_after = not_after;
    struct x509_options options = {.public_pem = public_pem, .identity = &identity, .client = true};
    struct tp_error error = {0};
    if (x509_make(ca, ca_pem, &options, &pem, &error) != TP_OK)
        fail_msg("%s", error.text);
    identity_free(&identity);
    mem_free(ca_pem);
    mem_free(public_pem);
    key_free(ca);
    key_free(key);
    return pem;
}

static char *new_home(void)
{
    char path[] = "/tmp/tport-test-XXXXXX";
    assert_non_null(mkdtemp(path));
    return mem_printf("%s/home", path);
}

static void save(const char *home, const char *host, const char *user, int64_t not_after, const char *host_key)
{
    struct profile profile;
    struct tp_error error = {0};
    char *address = mem_printf("%s:443", host);
    char *cert = user_cert(user, not_after);
    const char *const keys[] = {host_key, NULL};
    struct profile_content content = {.ssh_key = "KEY\n",
                                      .ssh_public = "ssh-ed25519 AAAA",
                                      .ssh_cert = "cert",
                                      .tls_key = "K",
                                      .tls_cert = cert,
                                      .cas = "CAS",
                                      .host_keys = keys};
    assert_int_equal(profile_init(&profile, home, host, address, user, "example.com", &error), TP_OK);
    profile.kube = true;
    if (profile_save(&profile, &content, &error) != TP_OK)
        fail_msg("%s", error.text);
    profile_free(&profile);
    mem_free(address);
    mem_free(cert);
}

static void expect_mode(const char *home, const char *path, mode_t mode)
{
    struct stat info;
    char *full = mem_printf("%s/%s", home, path);
    assert_int_equal(stat(full, &info), 0);
    assert_int_equal(info.st_mode & 0777, mode);
    mem_free(full);
}

static void a_profile_comes_back(void **state)
{
    (void)state;
    char *home = new_home();
    struct profile profile;
    struct tp_error error = {0};
    struct buf text;
    size_t count;

    assert_int_equal(profile_load(home, NULL, &profile, &error), TP_UNAUTHENTICATED);
    assert_non_null(strstr(error.text, "tport login"));
    profile_free(&profile);
    save(home, "proxy.example.com", "alice", clock_wall() + 3600, "ssh-ed25519 AAAAone");
    save(home, "proxy.example.com", "alice", clock_wall() + 3600, "ssh-ed25519 AAAAtwo");
    expect_mode(home, "keys/proxy.example.com", 0700);
    expect_mode(home, "keys/proxy.example.com/alice", 0600);
    expect_mode(home, "keys/proxy.example.com/alice.key", 0600);
    expect_mode(home, "keys/proxy.example.com/alice.crt", 0600);
    expect_mode(home, "keys/proxy.example.com/alice-ssh/example.com-cert.pub", 0600);
    expect_mode(home, "keys/proxy.example.com/cas/example.com.pem", 0600);
    expect_mode(home, "proxy.example.com.yaml", 0600);

    assert_int_equal(profile_load(home, NULL, &profile, &error), TP_OK);
    assert_string_equal(profile.user, "alice");
    assert_string_equal(profile.cluster, "example.com");
    assert_string_equal(profile.address, "proxy.example.com:443");
    assert_string_equal(json_string_value(json_array_get(profile.identity.logins, 0)), "root");
    assert_true(profile.kube);
    assert_int_equal(profile_check_valid(&profile, &error), TP_OK);

    buf_init(&text, 4096);
    assert_int_equal(file_read(profile.known_hosts, &text, &error), TP_OK);
    assert_string_equal(buf_text(&text), "@cert-authority proxy.example.com,example.com,*.example.com "
                                         "ssh-ed25519 AAAAtwo type=host\n");
    buf_free(&text);
    profile_free(&profile);

    char **names = profile_list(home, &count);
    assert_int_equal(count, 1);
    assert_string_equal(names[0], "proxy.example.com");
    mem_free(names[0]);
    mem_free(names);
    assert_int_equal(profile_remove(home, "proxy.example.com", &error), TP_OK);
    char *keys = mem_printf("%s/keys/proxy.example.com", home);
    assert_false(file_exists(keys));
    mem_free(keys);
    assert_int_equal(profile_load(home, NULL, &profile, &error), TP_UNAUTHENTICATED);
    profile_free(&profile);
    assert_int_equal(file_remove_tree(home, &error), TP_OK);
    mem_free(home);
}

static void an_expired_profile_says_what_to_do(void **state)
{
    (void)state;
    char *home = new_home();
    struct profile profile;
    struct tp_error error = {0};
    save(home, "p", "alice", clock_wall() - 60, "ssh-ed25519 AAAA");
    assert_int_equal(profile_load(home, "p:443", &profile, &error), TP_OK);
    assert_int_equal(profile_check_valid(&profile, &error), TP_EXPIRED);
    assert_non_null(strstr(error.text, "run \"tport login"));
    profile_free(&profile);
    assert_int_equal(file_remove_tree(home, &error), TP_OK);
    mem_free(home);
}

static void names_of_others_never_leave_the_folder(void **state)
{
    (void)state;
    static const char *const users[] = {"", "..", ".", "../x", "a/b", "-x", ".ssh", "a\nb"};
    static const char *const clusters[] = {"", "..", "../../etc", "a/b", ".hidden", "a b", "a\nb", "-x"};
    struct profile profile;
    for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++)
        assert_int_equal(profile_init(&profile, "/h", "p", "p:443", users[i], "c", NULL), TP_INVALID);
    for (size_t i = 0; i < sizeof(clusters) / sizeof(clusters[0]); i++) {
        assert_int_equal(profile_init(&profile, "/h", "p", "p:443", "u", clusters[i], NULL), TP_INVALID);
        assert_int_equal(profile_init(&profile, "/h", clusters[i], "p:443", "u", "c", NULL), TP_INVALID);
    }
    profile_free(&profile);
}

static void proxy_addresses_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port;
    } cases[] = {{"proxy.example.com", "proxy.example.com", 443},
                 {"p:3080", "p", 3080},
                 {"https://p:8443/", "p", 8443},
                 {"10.0.0.1:443", "10.0.0.1", 443},
                 {"[::1]:8443", "::1", 8443},
                 {"[::1]", "::1", 443}};
    static const char *const bad[] = {"",     "p:",  "p:0",  "p:70000", "p:1x",    "a b",
                                      "../x", "p/x", "[::1", "-p",      "p:443:1x"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *host;
        uint16_t port;
        assert_int_equal(profile_parse_proxy(cases[i].text, &host, &port, NULL), TP_OK);
        assert_string_equal(host, cases[i].host);
        assert_int_equal(port, cases[i].port);
        mem_free(host);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *host;
        uint16_t port;
        if (profile_parse_proxy(bad[i], &host, &port, NULL) != TP_INVALID)
            fail_msg("\"%s\" was accepted", bad[i]);
    }
}

/* cluster.cas as it names these two CAs (fresh may be NULL), signed by signer (or NULL). */
static json_t *cas_answer(const struct key *old, const struct key *fresh, const struct key *signer)
{
    struct key *tls = key_generate(KEY_P256);
    char *pem = x509_make_ca(tls, "example.com", "host", clock_wall());
    char *pem64 = enc_base64(pem, strlen(pem));
    json_t *lines = json_array();
    const struct key *keys[] = {old, fresh};
    for (size_t i = 0; i < 2 && keys[i]; i++) {
        char *line = key_public_ssh(keys[i], NULL);
        json_array_append_new(lines, json_string(line));
        mem_free(line);
    }
    json_t *answer = json_pack("{s:[{s:s, s:o, s:[s]}]}", "host_signers", "domain_name", "example.com", "checking_keys",
                               lines, "tls_certs", pem64);
    if (signer)
        assert_int_equal(statement_sign(answer, "example.com", &signer, 1, clock_wall()), TP_OK);
    key_free(tls);
    mem_free(pem);
    mem_free(pem64);
    return answer;
}

static void take(const struct profile *profile, json_t *answer, enum tp_err want, size_t lines)
{
    struct buf text;
    struct tp_error error = {0};
    size_t count = 0;
    buf_init(&text, 65536);
    assert_int_equal(trust_take(profile, answer, &error), want);
    assert_int_equal(file_read(profile->known_hosts, &text, &error), TP_OK);
    for (const char *at = buf_text(&text); (at = strchr(at, '\n')) != NULL; at++)
        count++;
    assert_int_equal(count, lines);
    buf_free(&text);
    json_decref(answer);
}

/* A worker brings the news of a CA: it can name none that the cluster has not signed. */
static void r6_a_profile_trusts_no_ca_that_is_not_signed(void **state)
{
    (void)state;
    char *home = new_home();
    struct profile profile;
    struct tp_error error = {0};
    struct key *old = key_generate(KEY_ED25519), *fresh = key_generate(KEY_ED25519), *evil = key_generate(KEY_ED25519);
    char *line = key_public_ssh(old, NULL);
    save(home, "p.example.com", "alice", clock_wall() + 3600, line);
    assert_int_equal(profile_load(home, NULL, &profile, &error), TP_OK);
    take(&profile, cas_answer(evil, NULL, NULL), TP_NOT_FOUND, 1);
    take(&profile, cas_answer(old, evil, NULL), TP_NOT_FOUND, 1);
    take(&profile, cas_answer(old, evil, evil), TP_DENIED, 1);
    take(&profile, cas_answer(old, fresh, old), TP_OK, 2);
    take(&profile, cas_answer(fresh, NULL, evil), TP_DENIED, 2);
    take(&profile, cas_answer(fresh, NULL, fresh), TP_OK, 1);
    take(&profile, cas_answer(old, NULL, old), TP_DENIED, 1);
    profile_free(&profile);
    key_free(old);
    key_free(fresh);
    key_free(evil);
    mem_free(line);
    mem_free(home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_profile_comes_back), cmocka_unit_test(an_expired_profile_says_what_to_do),
        cmocka_unit_test(names_of_others_never_leave_the_folder), cmocka_unit_test(proxy_addresses_are_read),
        cmocka_unit_test(r6_a_profile_trusts_no_ca_that_is_not_signed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

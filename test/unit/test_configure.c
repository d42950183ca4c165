/* tportd configure: what it writes must load, and it must never write over a file. */
#include "base/mem.h"
#include "bin/configure.h"
#include "core/conf.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define WORDS_MAX 32

struct place {
    char dir[64];
    char *out;
    char *uri;
    char *said; /* file with standard error */
};

static int setup(void **state)
{
    struct place *place = mem_alloc(sizeof(*place));
    strcpy(place->dir, "/tmp/tport-configure-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    place->out = mem_printf("%s/tport.conf", place->dir);
    place->uri = mem_printf("file://%s", place->out);
    place->said = mem_printf("%s/said", place->dir);
    *state = place;
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    struct place *place = *state;
    (void)nftw(place->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    mem_free(place->out);
    mem_free(place->uri);
    mem_free(place->said);
    mem_free(place);
    return 0;
}

static const struct command commands[] = {
    {"configure", "", "Write", configure_run, configure_options, 0, 0, 0, false, NULL},
    {"node configure", "", "Join", configure_node_run, configure_node_options, 0, 0, 0, false, NULL}};
static const struct command_program program = {
    .name = "tportd", .commands = commands, .count = 2, .complaint = "tportd: ", .usage_code = 2};

/* Runs with standard output and error in files, so that the words can be looked at. */
static int run(struct place *place, bool node, const char *const *words)
{
    char *argv[WORDS_MAX] = {(char *)(uintptr_t) "tportd"};
    int argc = 1;
    int result;
    int out = dup(STDOUT_FILENO);
    int err = dup(STDERR_FILENO);
    int fd = open(place->said, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (node)
        argv[argc++] = (char *)(uintptr_t) "node";
    argv[argc++] = (char *)(uintptr_t) "configure";
    for (size_t i = 0; words[i]; i++)
        argv[argc++] = (char *)(uintptr_t)words[i];
    (void)fflush(NULL);
    (void)dup2(fd, STDOUT_FILENO);
    (void)dup2(fd, STDERR_FILENO);
    result = command_main(&program, argc, argv);
    (void)fflush(NULL);
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(err, STDERR_FILENO);
    (void)close(fd);
    (void)close(out);
    (void)close(err);
    return result;
}

static void assert_said(struct place *place, const char *sentence)
{
    char text[8192] = "";
    int fd = open(place->said, O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, text, sizeof(text) - 1) >= 0);
    (void)close(fd);
    if (!strstr(text, sentence))
        fail_msg("said: %s", text);
}

static struct conf *load(const char *path)
{
    struct conf *conf = NULL;
    struct tp_error error = {0};
    if (conf_load(path, &conf, NULL, &error) != TP_OK)
        fail_msg("%s", error.text);
    return conf;
}

static void test_whole_cluster(void **state)
{
    struct place *place = *state;
    char *cert = mem_printf("%s/c.pem", place->dir);
    char *key = mem_printf("%s/k.pem", place->dir);
    const char *words[] = {"--cluster-name=example.com",
                           "--public-addr",
                           "gate.example.com",
                           "--cert-file",
                           cert,
                           "--key-file",
                           key,
                           "--labels",
                           "env=dev,up=[1m:\"uptime -p\"],a=b",
                           "-o",
                           place->uri,
                           NULL};
    struct conf *conf;
    struct stat info;
    assert_int_equal(run(place, false, words), 1);
    assert_said(place, "cannot find the certificate");
    (void)close(open(cert, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    (void)close(open(key, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_int_equal(run(place, false, words), 0);
    assert_said(place, "The configuration is written to ");
    conf = load(place->out);
    assert_true(conf->auth_enabled && conf->proxy_enabled && conf->ssh_enabled);
    assert_string_equal(conf->cluster_name, "example.com");
    assert_string_equal(conf->public_addr.items[0], "gate.example.com:443");
    assert_string_equal(conf->https_keypairs.items[0].cert_file, cert);
    assert_int_equal(conf->labels.count, 2);
    assert_string_equal(conf->commands.items[0].command.items[1], "-p");
    assert_int_equal(conf->commands.items[0].period, 60000);
    conf_free(conf);
    assert_int_equal(stat(place->out, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(run(place, false, words), 1);
    assert_said(place, "exists already; remove it");
    mem_free(cert);
    mem_free(key);
}

static void test_node(void **state)
{
    struct place *place = *state;
    const char *words[] = {"--proxy=gate.example.com:3080",
                           "--token=/etc/tport/token",
                           "--ca-pin=sha256:0000000000000000000000000000000000000000000000000000000000000000,sha256:"
                           "1111111111111111111111111111111111111111111111111111111111111111",
                           "--labels=env=dev",
                           "--node-name=n1",
                           "--data-dir=/data",
                           "-o",
                           place->out,
                           NULL};
    const char *test[] = {"--test", place->out, NULL};
    struct conf *conf;
    assert_int_equal(run(place, true, words), 0);
    conf = load(place->out);
    assert_true(conf->ssh_enabled && !conf->auth_enabled && !conf->proxy_enabled);
    assert_string_equal(conf->proxy_server, "gate.example.com:3080");
    assert_string_equal(conf->join_token, "/etc/tport/token");
    assert_int_equal(conf->ca_pin.count, 2);
    assert_string_equal(conf->nodename, "n1");
    assert_string_equal(conf->data_dir, "/data");
    conf_free(conf);
    assert_int_equal(run(place, false, test), 0);
    assert_said(place, "is good");
}

static void test_kube(void **state)
{
    struct place *place = *state;
    const char *words[] = {"--proxy=gate.example.com",
                           "--token=/etc/tport/token",
                           "--kube-cluster-name=staging",
                           "--labels=env=dev",
                           "-o",
                           place->out,
                           NULL};
    char *other = mem_printf("%s/both.conf", place->dir);
    char *file = mem_printf("--kubeconfig-file=%s", place->said);
    const char *both[] = {"--roles=node,kube", "--proxy=a", "--token=x", file, "--labels=env=dev", "-o", other, NULL};
    struct conf *conf;
    assert_int_equal(run(place, true, words), 0);
    conf = load(place->out);
    assert_true(conf->kube_enabled && !conf->ssh_enabled && !conf->auth_enabled);
    assert_string_equal(conf->kube_cluster_name, "staging");
    assert_int_equal(conf->kube_labels.count, 1);
    assert_int_equal(conf->labels.count, 0);
    conf_free(conf);
    assert_int_equal(run(place, false, both), 0);
    conf = load(other);
    assert_true(conf->kube_enabled && conf->ssh_enabled);
    assert_string_equal(conf->kubeconfig_file, place->said);
    assert_int_equal(conf->kube_labels.count, 1);
    assert_int_equal(conf->labels.count, 1);
    conf_free(conf);
    mem_free(other);
    mem_free(file);
}

static void test_stdout_and_manual_tab(void **state)
{
    struct place *place = *state;
    const char *plain[] = {"--public-addr=gate.example.com:8443", NULL};
    const char *manual[] = {"--output",
                            place->out,
                            "--roles=node",
                            "--token=T",
                            "--auth-server=gate.example.com",
                            "--data-dir=/home/me/.config",
                            NULL};
    struct conf *conf;
    assert_int_equal(run(place, false, plain), 0);
    assert_said(place, "version: v3\n\ntport:\n  nodename: ");
    assert_said(place, "\n\nauth_service:\n  enabled: true\n  cluster_name: gate.example.com\n");
    conf = load(place->said);
    assert_string_equal(conf->cluster_name, "gate.example.com");
    conf_free(conf);
    assert_int_equal(run(place, false, manual), 0);
    conf = load(place->out);
    assert_string_equal(conf->proxy_server, "gate.example.com:443");
    conf_free(conf);
}

static void assert_fails(struct place *place, bool node, int code, const char *first, const char *second,
                         const char *sentence)
{
    const char *words[] = {first, second, NULL};
    assert_int_equal(run(place, node, words), code);
    assert_said(place, sentence);
}

static void test_refusals(void **state)
{
    struct place *place = *state;
    assert_fails(place, true, 1, "--token=a", NULL, "needs --proxy HOST:PORT");
    assert_fails(place, true, 1, "--proxy=a:1", NULL, "needs --token");
    assert_fails(place, false, 1, "--roles=auth,app", NULL, "the role \"app\" is not known");
    assert_fails(place, true, 1, "--roles=kube", "--proxy=a", "tokens add --type=kube");
    assert_fails(place, false, 1, "--kube-cluster-name=a", "--kubeconfig-file=/b", "give one of them");
    assert_fails(place, false, 1, "--roles=auth,proxy", "--labels=a=b", "add node or kube to --roles");
    assert_fails(place, false, 1, "--cert-file=/x", NULL, "belong together");
    assert_fails(place, false, 1, "--public-addr=a:b", NULL, "--public-addr must be HOST or HOST:PORT");
    assert_fails(place, false, 1, "--labels=a", NULL, "has no value");
    assert_fails(place, false, 1, "--labels=a=[x]", NULL, "NAME=[PERIOD:");
    assert_fails(place, false, 1, "--cluster-name=a b", NULL, "is no domain name");
    assert_fails(place, false, 1, "-o", "http://x", "--output must be");
    assert_fails(place, false, 1, "-o", "/proc/nonexistent/x", "cannot write /proc/nonexistent/x");
    assert_fails(place, false, 1, "--test", "/proc/nonexistent/x", "cannot open the configuration");
    assert_fails(place, false, 2, "--acme", NULL, "not supported by this version");
    assert_fails(place, false, 2, "--join-method", "iam", "not supported by this version");
    assert_fails(place, true, 2, "--proxy=a", "--ca-pin=", "--ca-pin is empty"); /* it joined without a pin */
    assert_fails(place, true, 2, "--token", "", "--token is empty");
    assert_fails(place, false, 2, "extra", NULL, "does not take the argument \"extra\"");
    assert_fails(place, false, 2, "--nonsense", NULL,
                 "tportd: unknown option --nonsense; see \"tportd configure --help\"");
    assert_fails(place, true, 0, "--help", NULL, "Usage: tportd node configure [options]\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole_cluster, setup, teardown),
        cmocka_unit_test_setup_teardown(test_node, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kube, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stdout_and_manual_tab, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The kubeconfig loader: what it takes, and what it refuses by line. */
#include "agent/kube_config.h"

#include "base/buf.h"
#include "core/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD                                             \
    "clusters:\n"                                        \
    "- name: c1\n"                                       \
    "  cluster:\n"                                       \
    "    server: https://10.0.0.1:6443/\n"               \
    "    certificate-authority-data: LS0tLS1CRUdJTgo=\n" \
    "    tls-server-name: kubernetes\n"                  \
    "- name: c2\n"                                       \
    "  cluster: {server: https://k8s.example.com/k8s/clusters/c-1, insecure-skip-tls-verify: true}\n"
#define CONTEXTS                           \
    "contexts:\n"                          \
    "- name: prod\n"                       \
    "  context: {cluster: c1, user: u1}\n" \
    "- name: dev\n"                        \
    "  context: {cluster: c2, user: u1}\n"

static enum tp_err parse(const char *text, struct kube_cluster_conf **list, size_t *count, struct tp_error *error)
{
    return kube_config_parse(text, strlen(text), "/etc/tport/kubeconfig", list, count, error);
}

static void test_each_context_is_a_cluster(void **state)
{
    struct kube_cluster_conf *list = NULL;
    size_t count = 0;
    struct tp_error error = {0};
    (void)state;
    const char *text =
        HEAD "users:\n- name: u1\n  user: {client-certificate: pki/a.crt, client-key: /etc/a.key}\n" CONTEXTS;
    assert_int_equal(parse(text, &list, &count, &error), TP_OK);
    assert_int_equal(count, 2);
    assert_string_equal(list[0].name, "prod");
    assert_string_equal(list[0].host, "10.0.0.1");
    assert_int_equal(list[0].port, 6443);
    assert_string_equal(list[0].prefix, "");
    assert_string_equal(list[0].server_name, "kubernetes");
    assert_string_equal(list[0].ca_pem, "-----BEGIN\n");
    assert_string_equal(list[0].cert_file, "/etc/tport/pki/a.crt");
    assert_string_equal(list[0].key_file, "/etc/a.key");
    assert_string_equal(list[1].name, "dev");
    assert_string_equal(list[1].prefix, "/k8s/clusters/c-1");
    assert_string_equal(list[1].server_name, "k8s.example.com");
    assert_int_equal(list[1].port, 443);
    assert_true(list[1].insecure);
    kube_config_free(list, count);
}

static void refused(const char *text, const char *sentence)
{
    struct kube_cluster_conf *list = NULL;
    size_t count = 0;
    struct tp_error error = {0};
    assert_int_equal(parse(text, &list, &count, &error), TP_INVALID);
    if (strstr(error.text, sentence) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error.text, sentence);
    }
    assert_null(list);
}

static void test_refusals_name_the_line(void **state)
{
    (void)state;
    refused(HEAD "users:\n- name: u1\n  user:\n    exec: {command: aws}\n" CONTEXTS,
            "kubeconfig:12: exec is not supported");
    refused(HEAD "users:\n- name: u1\n  user:\n    username: root\n" CONTEXTS,
            "kubeconfig:12: username is not supported");
    refused(HEAD "users:\n- name: u1\n  user:\n    auth-provider: {name: gcp}\n" CONTEXTS, ":12: auth-provider");
    refused(HEAD "users:\n- name: u1\n  user:\n    as: root\n" CONTEXTS, ":12: as is not supported");
    refused(HEAD "users:\n- name: u2\n  user: {token: a}\n" CONTEXTS, "no user named \"u1\"");
    refused(HEAD "users:\n- name: u1\n  user: {token: 'a b'}\n" CONTEXTS, "token is no bearer token");
    refused(HEAD "users:\n- name: u1\n  user: {client-certificate: a}\n" CONTEXTS, "client-key is missing");
    refused("clusters: []\nusers: []\n", "contexts is missing");
    refused("clusters: [{name: c, cluster: {server: http://10.0.0.1:80}}]\nusers: [{name: u, user: {token: a}}]\n"
            "contexts: [{name: x, context: {cluster: c, user: u}}]\n",
            "http:// to another machine");
    refused("clusters: [{name: c, cluster: {server: 'https://a@b/'}}]\nusers: [{name: u, user: {token: a}}]\n"
            "contexts: [{name: x, context: {cluster: c, user: u}}]\n",
            "no address of the form");
    refused("clusters: [{name: c, cluster: {server: https://b, proxy-url: http://c}}]\nusers: [{name: u, user: {}}]\n"
            "contexts: [{name: x, context: {cluster: c, user: u}}]\n",
            "proxy-url is not supported");
}

/* A kubeconfig that people copy has contexts that we can't serve beside others: one of them took all clusters away. */
static void test_a_context_that_cannot_be_served_leaves_the_others(void **state)
{
    struct kube_cluster_conf *list = NULL;
    size_t count = 0;
    struct tp_error error = {0};
    (void)state;
    const char *text =
        HEAD "users:\n- name: u1\n  user: {token: a}\n- name: eks\n  user:\n    exec: {command: aws}\n" CONTEXTS
             "- name: eks\n  context: {cluster: c1, user: eks}\n"
             "- name: prod\n  context: {cluster: c2, user: u1}\n"
             "- context: {cluster: c1, user: u1}\n"
             "- 7\n"
             "- name: last\n  context: {cluster: c2, user: u1}\n";
    static const struct {
        const char *name, *problem;
    } expected[] = {{"prod", NULL},
                    {"dev", NULL},
                    {"eks", "/etc/tport/kubeconfig:14: exec is not supported"},
                    {"prod", ":22: another context before it has the name prod"},
                    {"", ":24: a context needs a name"},
                    {"", ":25: a context needs a name"},
                    {"last", NULL}};
    assert_int_equal(parse(text, &list, &count, &error), TP_OK);
    assert_int_equal(count, 7);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(list[i].name, expected[i].name);
        if (expected[i].problem == NULL) {
            assert_null(list[i].problem);
            assert_string_equal(list[i].token, "a");
        } else {
            assert_non_null(list[i].problem);
            assert_non_null(strstr(list[i].problem, expected[i].problem));
            assert_null(list[i].host);
        }
    }
    kube_config_free(list, count);
}

/* More than auth takes of one host: its whole report was refused, and no cluster was served. */
static void test_contexts_past_the_last_that_auth_takes_are_left_out(void **state)
{
    struct kube_cluster_conf *list = NULL;
    size_t count = 0;
    struct tp_error error = {0};
    struct buf text;
    (void)state;
    buf_init(&text, 0);
    (void)buf_append_text(&text, HEAD "users: [{name: u1, user: {token: a}}]\ncontexts:\n"
                                      "- {name: not one, context: {cluster: c1, user: u1}}\n");
    for (int i = 0; i < CONF_KUBE_CLUSTERS_MAX + 2; i++) {
        (void)buf_printf(&text, "- {name: k%d, context: {cluster: c1, user: u1}}\n", i);
    }
    assert_int_equal(parse(buf_text(&text), &list, &count, &error), TP_OK);
    assert_int_equal(count, CONF_KUBE_CLUSTERS_MAX + 3);
    for (size_t i = 0; i < count; i++) {
        bool fine = i > 0 && i <= CONF_KUBE_CLUSTERS_MAX;
        assert_true(fine == (list[i].problem == NULL));
    }
    assert_non_null(strstr(list[0].problem, "needs a name of letters"));
    assert_non_null(strstr(list[count - 1].problem, "an agent serves 256 clusters"));
    assert_string_equal(list[count - 1].name, "k257");
    kube_config_free(list, count);
    buf_free(&text);
}

static void test_a_pipe_in_its_place_holds_nobody_up(void **state)
{
    char dir[] = "/tmp/tport-test-XXXXXX";
    char path[64];
    struct kube_cluster_conf *list = NULL;
    size_t count = 0;
    struct tp_error error = {0};
    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/kubeconfig", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    (void)alarm(20); /* who waits for a writer waits for ever */
    assert_int_equal(kube_config_load(path, &list, &count, &error), TP_INVALID);
    (void)alarm(0);
    assert_non_null(strstr(error.text, "empty"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_in_cluster(void **state)
{
    struct kube_cluster_conf *list = NULL;
    size_t count = 0;
    struct tp_error error = {0};
    (void)state;
    assert_int_equal(kube_config_in_cluster("mine", "/sa", NULL, NULL, &list, &count, &error), TP_NOT_FOUND);
    assert_int_equal(kube_config_in_cluster("mine", "/sa", "fd00::1", "443", &list, &count, &error), TP_OK);
    assert_string_equal(list[0].name, "mine");
    assert_string_equal(list[0].host, "fd00::1");
    assert_int_equal(list[0].port, 443);
    assert_string_equal(list[0].token_file, "/sa/token");
    assert_string_equal(list[0].ca_file, "/sa/ca.crt");
    kube_config_free(list, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_context_is_a_cluster),
        cmocka_unit_test(test_refusals_name_the_line),
        cmocka_unit_test(test_a_context_that_cannot_be_served_leaves_the_others),
        cmocka_unit_test(test_contexts_past_the_last_that_auth_takes_are_left_out),
        cmocka_unit_test(test_a_pipe_in_its_place_holds_nobody_up),
        cmocka_unit_test(test_in_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

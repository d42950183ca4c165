/* tport.conf: reading, messages, JSON form. */
#include "base/mem.h"
#include "core/conf.h"
#include "core/conf_inner.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct conf *parse(const char *text)
{
    struct conf *conf = NULL;
    struct tp_error error = {0};
    if (conf_parse(text, strlen(text), "f", &conf, NULL, &error) != TP_OK)
        fail_msg("%s", error.text);
    return conf;
}

static void assert_error(const char *text, const char *sentence)
{
    struct conf *conf = NULL;
    struct tp_error error = {0};
    assert_int_not_equal(conf_parse(text, strlen(text), "f", &conf, NULL, &error), TP_OK);
    assert_null(conf);
    if (!strstr(error.text, sentence))
        fail_msg("%s gave: %s", text, error.text);
}

static char *read_whole(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = mem_alloc(256 * 1024);
    if (!file)
        fail_msg("%s cannot be opened", path);
    assert_true(fread(text, 1, 256 * 1024 - 1, file) > 0);
    (void)fclose(file);
    return text;
}

static void test_example_file(void **state)
{
    struct conf *conf = NULL;
    struct conf_report report = {0};
    struct tp_error error = {0};
    (void)state;
    if (conf_load(TPORT_SOURCE "/conf/tport.conf", &conf, &report, &error) != TP_OK)
        fail_msg("%s", error.text);
    assert_int_equal(report.warnings.count, 0);
    assert_string_equal(conf->cluster_name, "example.com");
    assert_string_equal(conf->https_keypairs.items[0].cert_file, "/etc/tport/gate.pem");
    assert_string_equal(conf->commands.items[0].command.items[1], "-r");
    assert_int_equal(conf->commands.items[0].period, 3600000);
    assert_string_equal(conf->labels.items[1].value, "gate");
    assert_int_equal(conf->default_session_ttl, 12 * 3600000);
    assert_true(conf->auth_enabled && conf->proxy_enabled && conf->ssh_enabled);
    conf_free(conf);
    conf_report_free(&report);
}

/* What the example leaves as it is by default, it must show truthfully; and each key must be in it and in the manual.
 */
static void test_example_and_manual_name_every_key(void **state)
{
    char *example = read_whole(TPORT_SOURCE "/conf/tport.conf");
    char *manual = read_whole(TPORT_SOURCE "/docs/man/tport.conf.5");
    size_t count;
    const struct conf_row *rows = conf_rows(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        const char *dot = strrchr(rows[i].path, '.');
        char *key = mem_printf("%s:", dot ? dot + 1 : rows[i].path);
        char *entry = mem_strdup(rows[i].path);
        if (conf_row_has_field(&rows[i])) {
            if (!strstr(example, key) && strcmp(key, "auth_server:") != 0)
                fail_msg("conf/tport.conf does not show %s", rows[i].path);
            if (!strstr(manual, entry))
                fail_msg("tport.conf.5 does not explain %s", rows[i].path);
        }
        mem_free(key);
        mem_free(entry);
    }
    mem_free(example);
    mem_free(manual);
}

static void test_defaults(void **state)
{
    struct conf *conf = parse("version: v3\ntport:\n  nodename: a\n");
    (void)state;
    assert_true(conf->auth_enabled && conf->proxy_enabled && conf->ssh_enabled);
    assert_string_equal(conf->web_listen_addr, "0.0.0.0:443");
    assert_string_equal(conf->data_dir, "/var/lib/tport");
    assert_string_equal(conf->cluster_name, "a");
    assert_string_equal(conf->second_factor, "otp");
    assert_string_equal(conf->proxy_protocol, "off");
    assert_true(conf->workers >= 1);
    assert_true(conf->port_forwarding && conf->ssh_file_copy && conf->local_auth);
    assert_false(conf->permit_user_env || conf->pam_enabled || conf->disconnect_expired_cert ||
                 conf->require_session_mfa);
    conf_free(conf);
}

/* Teleport takes it, too, so it is no error. */
static void test_a_label_of_two_kinds_is_complained_about(void **state)
{
    static const char text[] = "tport: {proxy_server: 'p:1'}\nssh_service:\n  labels: {env: x, a: b}\n  commands:\n"
                               "  - {name: env, command: [echo, over]}\n  - {name: c, command: [echo]}\n";
    struct conf *conf = NULL;
    struct conf_report report = {0};
    struct tp_error error = {0};
    (void)state;
    assert_int_equal(conf_parse(text, strlen(text), "f", &conf, &report, &error), TP_OK);
    assert_int_equal(report.warnings.count, 1);
    assert_non_null(strstr(report.warnings.items[0], "ssh_service has the label \"env\" twice"));
    conf_free(conf);
    conf_report_free(&report);
}

static void test_teleport_file(void **state)
{
    static const char text[] =
        "version: v2\nteleport:\n  nodename: host\n  data_dir: /var/lib/teleport\n  auth_token: abc\n"
        "  auth_servers:\n  - tele.example.com:443\n  log:\n    output: stderr\n    severity: INFO\n    format:\n"
        "      output: text\n  ca_pin: \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"\n  "
        "diag_addr: \"\"\nauth_service:\n  enabled: \"no\"\n"
        "ssh_service:\n  enabled: \"yes\"\n  labels:\n    env: dev\n  commands:\n  - name: hostname\n    command: "
        "[hostname]\n"
        "    period: 1m0s\nproxy_service:\n  enabled: \"no\"\n  https_keypairs: []\n  acme: {}\nkubernetes_service:\n  "
        "enabled: no\n"
        "app_service:\n  enabled: no\n  apps: [{name: x}]\n";
    static const char central[] =
        "teleport:\n  storage: {type: dir}\nauth_service:\n  enabled: \"yes\"\n  listen_addr: 0.0.0.0:3025\n"
        "  proxy_listener_mode: multiplex\n  authentication: {second_factor: otp, second_factors: [otp]}\n"
        "proxy_service:\n  enabled: \"yes\"\n  kube_listen_addr: 0.0.0.0:3026\nssh_service: {enabled: False}\n";
    struct conf *conf = parse(text);
    struct conf_report report = {0};
    struct tp_error error = {0};
    (void)state;
    assert_true(conf->is_teleport);
    assert_true(conf->ssh_enabled && !conf->auth_enabled && !conf->proxy_enabled);
    assert_string_equal(conf->log_severity, "info");
    assert_string_equal(conf->auth_servers.items[0], "tele.example.com:443");
    conf_free(conf);
    assert_int_equal(conf_parse(central, strlen(central), "f", &conf, &report, &error), TP_OK);
    assert_string_equal(conf->web_listen_addr, "0.0.0.0:3080");
    assert_string_equal(conf->data_dir, "/var/lib/teleport");
    assert_int_equal(report.warnings.count, 2);
    assert_string_equal(
        report.warnings.items[0],
        "f:5: auth_service.listen_addr has no effect: auth has no port of its own, it is reached through the proxy");
    conf_free(conf);
    conf_report_free(&report);
}

/* As the chart teleport-cluster writes its ConfigMap. */
static void test_helm_file(void **state)
{
    static const char text[] =
        "version: v1\nteleport:\n  log:\n    severity: INFO\n    output: stderr\n    format:\n      output: text\n"
        "      extra_fields: [\"timestamp\",\"level\",\"component\",\"caller\"]\nauth_service:\n  enabled: true\n"
        "  cluster_name: teleport.example.com\n  authentication:\n    type: local\n    local_auth: true\n"
        "    second_factor: otp\nkubernetes_service:\n  enabled: true\n  listen_addr: 0.0.0.0:3027\n"
        "  kube_cluster_name: main\n  labels:\n    app: teleport-cluster\nproxy_service:\n"
        "  public_addr: 'teleport.example.com:443'\n  kube_listen_addr: 0.0.0.0:3026\n  listen_addr: 0.0.0.0:3023\n"
        "  enabled: true\nssh_service:\n  enabled: false\n";
    struct conf *conf = parse(text);
    json_t *json = conf_to_json(conf, CONF_AGENT);
    struct conf *again = NULL;
    struct tp_error error = {0};
    (void)state;
    assert_true(conf->auth_enabled && conf->proxy_enabled && conf->kube_enabled && !conf->ssh_enabled);
    assert_int_equal(conf_from_json(json, &again, &error), TP_OK);
    assert_string_equal(again->kube_cluster_name, "main");
    assert_int_equal(again->kube_labels.count, 1);
    assert_string_equal(again->kube_labels.items[0].value, "teleport-cluster");
    json_decref(json);
    conf_free(again);
    conf_free(conf);
}

static void test_kube_names(void **state)
{
    char text[CONF_KUBE_NAME_MAX + 2];
    (void)state;
    memset(text, 'a', sizeof(text));
    text[CONF_KUBE_NAME_MAX + 1] = '\0';
    assert_false(conf_kube_name_valid(text));
    text[CONF_KUBE_NAME_MAX] = '\0';
    assert_true(conf_kube_name_valid(text));
    assert_true(conf_kube_name_valid("arn:aws:eks:eu-west-1:123456789012:cluster/prod"));
    assert_true(conf_kube_name_valid("kubernetes-admin@kubernetes"));
    assert_false(conf_kube_name_valid(""));
    assert_false(conf_kube_name_valid("-a"));
    assert_false(conf_kube_name_valid("a b"));
    assert_false(conf_kube_name_valid("a\x1b"));
    assert_false(conf_kube_name_valid("a\"b"));
}

static void test_services(void **state)
{
    struct conf *conf = parse("tport: {proxy_server: 'a:443', auth_token: x}\n");
    (void)state;
    assert_true(conf->ssh_enabled && !conf->auth_enabled && !conf->proxy_enabled);
    conf_free(conf);
    assert_error("tport: {proxy_server: 'a:443'}\nauth_service: {enabled: yes}\n",
                 "proxy_server names a cluster elsewhere");
    assert_error("auth_service: {enabled: no}\n", "ssh_service does not know its cluster");
    assert_error("auth_service: {enabled: no}\nproxy_service: {enabled: yes}\n", "proxy_service needs auth_service");
    assert_error("auth_service: {enabled: no}\nssh_service: {enabled: no}\nkubernetes_service: {enabled: yes}\n",
                 "kubernetes_service does not know its cluster");
    conf = parse("tport: {proxy_server: 'a:443'}\nssh_service: {enabled: no}\nkubernetes_service: {enabled: yes}\n");
    assert_true(conf->kube_enabled && !conf->ssh_enabled && !conf->auth_enabled);
    conf_free(conf);
    assert_error("auth_service: {enabled: no}\nssh_service: {enabled: no}\n", "no service is switched on");
}

static void test_errors_name_file_line_and_key(void **state)
{
    (void)state;
    assert_error("tport:\n  nodname: a\n",
                 "f:2: the key \"nodname\" is not known in tport; did you mean \"nodename\"?");
    assert_error("auth_servic: {}\n", "f:1: the key \"auth_servic\" is not known here; did you mean \"auth_service\"?");
    assert_error("ssh_service:\n  cluster_name: a\n",
                 "f:2: the key \"cluster_name\" is not known in ssh_service; did you mean auth_service.cluster_name?");
    assert_error("tport:\n  zzzzzzzzzzz: a\n", "f:2: the key \"zzzzzzzzzzz\" is not known in tport; remove it");
    assert_error("tport:\n\tnodename: a\n", "f:2: tabs cannot indent YAML, use spaces");
    assert_error("tport: 5\n", "f:1: tport must be a section");
    assert_error("- a\n", "f:1: a configuration consists of sections");
    assert_error("tport: {}\nteleport: {}\n", "f:2: tport and teleport are the same section; merge them");
    assert_error("auth_service:\n  enabled: maybe\n", "f:2: auth_service.enabled must be yes or no, not \"maybe\"");
    assert_error("auth_service:\n  authentication:\n    second_factor: webauthn\n",
                 "f:3: auth_service.authentication.second_factor must be one of off|otp|on|optional, not \"webauthn\"");
    assert_error("auth_service:\n  session_recording: proxy\n", "must be one of node|node-sync|off");
    assert_error("auth_service:\n  client_idle_timeout: 5 minutes\n",
                 "f:2: auth_service.client_idle_timeout must be a time like");
    assert_error("proxy_service:\n  web_listen_addr: a:b\n",
                 "f:2: proxy_service.web_listen_addr must be HOST:PORT, not \"a:b\"");
    assert_error("proxy_service:\n  web_listen_addr: 443\n", /* it was the address 0.0.1.187 */
                 "f:2: proxy_service.web_listen_addr must be HOST:PORT, not \"443\"");
    assert_error("proxy_service:\n  proxy_protocol_trusted: [10.0.0.0/33]\n",
                 "must be an address range like 10.0.0.0/8");
    assert_error("proxy_service: {proxy_protocol: on}\n", "proxy_protocol is on, but proxy_protocol_trusted");
    assert_error("kubernetes_service:\n  resources: [{labels: {a: b}}]\n",
                 "f:2: kubernetes_service.resources is not supported by this version: clusters come from "
                 "kubeconfig_file or kube_cluster_name, not from kube_cluster resources; remove it");
    assert_error("kubernetes_service:\n  enabled: yes\n  kubeconfig_file: here\n",
                 "f:3: kubernetes_service.kubeconfig_file must be an absolute path, not \"here\"");
    assert_error("kubernetes_service:\n  kubeconfig_file: /a\n  kube_cluster_name: b\n",
                 "f:3: kubernetes_service.kube_cluster_name names the cluster that tportd runs in");
    assert_error("kubernetes_service:\n  kube_cluster_name: a b\n",
                 "f:2: kubernetes_service.kube_cluster_name \"a b\" must be letters, digits");
    assert_error("kubernetes_service:\n  kubeconfg_file: /a\n",
                 "f:2: the key \"kubeconfg_file\" is not known in kubernetes_service; did you mean "
                 "\"kubeconfig_file\"?");
    assert_error("proxy_service:\n  acme: {enabled: yes}\n", "proxy_service.acme is not supported by this version");
    assert_error("ssh_service:\n  commands:\n  - {name: a, command: 'uname -r'}\n",
                 "f:3: the command \"a\" needs a list");
    assert_error("ssh_service:\n  commands:\n  - {name: a, comand: []}\n", "f:3: the key \"comand\" is not known");
    assert_error("ssh_service:\n  labels: {'a b': c}\n", "f:2: the label name \"a b\" may hold");
    assert_error("proxy_service:\n  https_keypairs:\n  - key_file: a\n",
                 "needs key_file and cert_file, both absolute paths");
    static const char *const pins[] = {"abc", "sha256:zz", "sha256:00", "sha256:", "SHA256:00"};
    for (size_t i = 0; i < sizeof pins / sizeof pins[0]; i++) {
        char *text = mem_printf(
            "tport: {ca_pin: [\"sha256:0000000000000000000000000000000000000000000000000000000000000000\", \"%s\"]}\n",
            pins[i]);
        assert_error(text, "tport.ca_pin must be sha256: with 64 hex digits");
        mem_free(text);
    }
    assert_error("auth_service: {tokens: [secretvalue]}\n", "item 1 of auth_service.tokens must be ROLE:TOKEN");
    assert_error("tport: {data_dir: x}\n", "tport.data_dir must be an absolute path");
    assert_error("", "f:1: the file is empty");
}

static void test_all_errors_are_told(void **state)
{
    static const char text[] = "tport:\n  a: 1\n  workers: 2\nauth_service:\n  enabled: 7\nssh_servic: {}\n";
    struct conf *conf = NULL;
    struct conf_report report = {0};
    struct tp_error error = {0};
    (void)state;
    assert_int_equal(conf_parse(text, strlen(text), "f", &conf, &report, &error), TP_INVALID);
    assert_int_equal(report.errors.count, 4);
    assert_string_equal(error.text, report.errors.items[0]);
    assert_string_equal(report.errors.items[1],
                        "f:3: the key \"workers\" is not known in tport; did you mean tport.processes.workers?");
    assert_non_null(strstr(report.errors.items[3], "f:6: "));
    conf_report_free(&report);
}

static void test_secrets_stay_out_of_messages_and_dumps(void **state)
{
    struct conf *conf;
    json_t *shown;
    char *text;
    (void)state;
    assert_error("tport:\n  auth_token: [s3cret, s3cret]\n", "f:2: tport.auth_token must be a text");
    conf = parse("tport: {auth_token: s3cret}\nauth_service: {tokens: ['node:s3cret']}\n");
    shown = conf_to_json(conf, 0);
    text = json_dumps(shown, 0);
    assert_null(strstr(text, "s3cret"));
    free(text);
    json_decref(shown);
    shown = conf_to_json(conf, CONF_WORKER);
    text = json_dumps(shown, 0);
    assert_null(strstr(text, "s3cret"));
    free(text);
    json_decref(shown);
    conf_free(conf);
}

static void test_json_form(void **state)
{
    struct conf *conf = NULL;
    struct conf *again = NULL;
    struct tp_error error = {0};
    static const unsigned readers[] = {CONF_AUTH, CONF_WORKER, CONF_AGENT, CONF_AUTH | CONF_WORKER | CONF_AGENT};
    (void)state;
    assert_int_equal(conf_load(TPORT_SOURCE "/conf/tport.conf", &conf, NULL, &error), TP_OK);
    for (size_t i = 0; i < 4; i++) {
        json_t *object = conf_to_json(conf, readers[i]);
        json_t *second;
        if (conf_from_json(object, &again, &error) != TP_OK)
            fail_msg("%s", error.text);
        second = conf_to_json(again, readers[i]);
        assert_true(json_equal(object, second));
        json_decref(object);
        json_decref(second);
        if (i < 3)
            conf_free(again);
    }
    assert_string_equal(again->commands.items[0].name, "kernel");
    assert_int_equal(again->web_idle_timeout, 600000);
    conf_free(again);
    conf_free(conf);
}

static void test_needs_restart(void **state)
{
    struct conf *old = parse("tport: {nodename: a}\n");
    struct conf *fresh =
        parse("tport: {nodename: b, data_dir: /x}\nauth_service: {message_of_the_day: hi, cluster_name: a}\n");
    struct conf_list changed = conf_needs_restart(old, fresh);
    (void)state;
    assert_int_equal(changed.count, 1);
    assert_string_equal(changed.items[0], "tport.data_dir");
    conf_list_free(&changed);
    conf_free(old);
    conf_free(fresh);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

static void test_files_of_tokens_and_pins(void **state)
{
    static const char pin[] = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    char path[] = "/tmp/tport-conf-XXXXXX";
    int fd = mkstemp(path);
    char *text = mem_printf("tport: {auth_token: %s, ca_pin: %s, proxy_server: 'a:1'}\n", path, path);
    struct conf *conf = parse(text);
    struct tp_error error = {0};
    struct conf_list pins = {0};
    char *token = NULL;
    (void)state;
    (void)close(fd);
    assert_int_equal(conf_token(conf, &token, &error), TP_NOT_FOUND);
    write_file(path, "abc123\n", 0600);
    assert_int_equal(conf_token(conf, &token, &error), TP_OK);
    assert_string_equal(token, "abc123");
    secret_free(token);
    assert_int_equal(conf_ca_pins(conf, &pins, &error), TP_INVALID);
    mem_free(text);
    text = mem_printf("%s\n%s\n", pin, pin);
    write_file(path, text, 0600);
    assert_int_equal(conf_ca_pins(conf, &pins, &error), TP_OK);
    assert_int_equal(pins.count, 2);
    assert_string_equal(pins.items[1], pin);
    conf_list_free(&pins);
    conf_free(conf);
    mem_free(text);
    (void)unlink(path);
}

static void test_load(void **state)
{
    char path[] = "/tmp/tport-conf-XXXXXX";
    int fd = mkstemp(path);
    struct conf *conf = NULL;
    struct conf_report report = {0};
    struct tp_error error = {0};
    (void)state;
    assert_int_equal(ftruncate(fd, 10 * 1024 * 1024), 0);
    assert_int_equal(conf_load(path, &conf, &report, &error), TP_TOO_LARGE);
    assert_non_null(strstr(error.text, ":1: the file has 10485760 bytes"));
    conf_report_free(&report);
    (void)close(fd);
    write_file(path, "tport: {auth_token: abc, proxy_server: 'a:1'}\n", 0644);
    assert_int_equal(conf_load(path, &conf, &report, &error), TP_OK);
    assert_int_equal(report.warnings.count, 1);
    assert_non_null(strstr(report.warnings.items[0], "every user of this machine can read the auth_token"));
    conf_report_free(&report);
    conf_free(conf);
    (void)unlink(path);
    assert_int_equal(conf_load(path, &conf, &report, &error), TP_NOT_FOUND);
    assert_int_equal(report.errors.count, 1);
    conf_report_free(&report);
    assert_int_equal(conf_load("/tmp", &conf, NULL, &error), TP_INVALID);
}

static void assert_in(const char *range, const char *text, bool expected)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        assert_int_equal(conf_cidr_has(range, (struct sockaddr *)&v4), expected);
    else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
        assert_int_equal(conf_cidr_has(range, (struct sockaddr *)&v6), expected);
    }
}

static void test_addresses(void **state)
{
    static const char *const bad[] = {"",     ":1",     "a:",  "a:0",   "a:65536", "a:1x",
                                      "[::1", "[::1]x", "a b", "1:2:x", "a:123456"};
    char *host = NULL;
    uint16_t port = 0;
    (void)state;
    assert_int_equal(conf_addr_split("[::1]:443", 1, &host, &port), TP_OK);
    assert_string_equal(host, "::1");
    assert_int_equal(port, 443);
    mem_free(host);
    assert_int_equal(conf_addr_split("gate.example.com", 3080, &host, &port), TP_OK);
    assert_int_equal(port, 3080);
    mem_free(host);
    assert_int_equal(conf_addr_split("fe80::1", 9, &host, &port), TP_OK);
    assert_string_equal(host, "fe80::1");
    mem_free(host);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(conf_addr_split(bad[i], 1, &host, &port), TP_INVALID);
    assert_in("10.0.0.0/8", "10.9.8.7", true);
    assert_in("10.0.0.0/8", "11.0.0.1", false);
    assert_in("10.0.0.0/8", "::ffff:10.1.1.1", true);
    assert_in("192.0.2.64/27", "192.0.2.95", true);
    assert_in("192.0.2.64/27", "192.0.2.96", false);
    assert_in("0.0.0.0/0", "1.2.3.4", true);
    assert_in("0.0.0.0/0", "2001:db8::1", false);
    assert_in("2001:db8::/32", "2001:db8:1::1", true);
    assert_in("2001:db8::/33", "2001:db8:8000::1", false);
    assert_in("::1", "::1", true);
    assert_in("garbage", "::1", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example_file),
        cmocka_unit_test(test_example_and_manual_name_every_key),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_a_label_of_two_kinds_is_complained_about),
        cmocka_unit_test(test_teleport_file),
        cmocka_unit_test(test_helm_file),
        cmocka_unit_test(test_kube_names),
        cmocka_unit_test(test_services),
        cmocka_unit_test(test_errors_name_file_line_and_key),
        cmocka_unit_test(test_all_errors_are_told),
        cmocka_unit_test(test_secrets_stay_out_of_messages_and_dumps),
        cmocka_unit_test(test_json_form),
        cmocka_unit_test(test_needs_restart),
        cmocka_unit_test(test_files_of_tokens_and_pins),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

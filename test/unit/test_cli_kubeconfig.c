/* kubectl's configuration: what tport writes, what it leaves alone, what it takes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/common/file.h"
#include "cli/common/sni.h"
#include "cli/tport/kubeconfig.h"
#include "cli/tport/kubeconfig_file.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char foreign[] = "# a comment, which may go\n"
                              "apiVersion: v1\n"
                              "kind: Config\n"
                              "future: {level: 1.10, list: [a, 007, 12345678901234567890]}\n"
                              "preferences: {colors: true}\n"
                              "current-context: minikube\n"
                              "clusters:\n"
                              "- name: minikube\n"
                              "  surprise: yes\n"
                              "  cluster: {server: 'https://192.168.1.2:8443', certificate-authority: /ca.crt}\n"
                              "users:\n"
                              "- name: minikube\n"
                              "  user: {token: '0123', client-key: /k}\n"
                              "contexts:\n"
                              "- name: minikube\n"
                              "  context: {cluster: minikube, user: minikube, namespace: kube-system}\n";

static json_t *parse(const char *text)
{
    json_t *config = NULL;
    struct tp_error error = {0};
    if (kubeconfig_parse(text, strlen(text), "config", &config, &error) != TP_OK)
        fail_msg("%s", error.text);
    return config;
}

static struct kubeconfig_target target(const char *kube)
{
    return (struct kubeconfig_target){.teleport = "example.com",
                                      .kube = kube,
                                      .proxy = "proxy.example.com:443",
                                      .server_name = "70.kube.example.com",
                                      .cas = "CA",
                                      .program = "/usr/bin/tport"};
}

static void put(json_t *config, const struct kubeconfig_target *what)
{
    struct tp_error error = {0};
    if (kubeconfig_put(config, what, &error) != TP_OK)
        fail_msg("%s", error.text);
}

static const json_t *fields(const json_t *config, const char *list, const char *name, const char *body)
{
    size_t index;
    json_t *entry;
    json_array_foreach (json_object_get(config, list), index, entry) {
        if (strcmp(json_get_text(entry, "name", ""), name) == 0)
            return json_object_get(entry, body);
    }
    return NULL;
}

static void a_new_file_has_what_kubectl_needs(void **state)
{
    (void)state;
    json_t *config = parse("");
    struct kubeconfig_target one = target("prod");
    one.home = "/h/.tport";
    put(config, &one);
    char *text = kubeconfig_text(config);
    assert_string_equal(text, "apiVersion: v1\n"
                              "kind: Config\n"
                              "clusters:\n"
                              "- name: example.com-prod\n"
                              "  cluster:\n"
                              "    server: https://proxy.example.com:443\n"
                              "    certificate-authority-data: Q0E=\n"
                              "    tls-server-name: 70.kube.example.com\n"
                              "users:\n"
                              "- name: example.com-prod\n"
                              "  user:\n"
                              "    exec:\n"
                              "      apiVersion: client.authentication.k8s.io/v1beta1\n"
                              "      command: /usr/bin/tport\n"
                              "      args:\n"
                              "      - kube\n"
                              "      - credentials\n"
                              "      - --kube-cluster=prod\n"
                              "      - --teleport-cluster=example.com\n"
                              "      - --proxy=proxy.example.com:443\n"
                              "      env:\n"
                              "      - name: TPORT_HOME\n"
                              "        value: /h/.tport\n"
                              "      interactiveMode: IfAvailable\n"
                              "      provideClusterInfo: false\n"
                              "contexts:\n"
                              "- name: example.com-prod\n"
                              "  context:\n"
                              "    cluster: example.com-prod\n"
                              "    user: example.com-prod\n"
                              "    extensions:\n"
                              "    - name: teleport.kube.name\n"
                              "      extension: prod\n");
    assert_null(kubeconfig_selected(config, one.proxy));
    secret_free(text);
    json_decref(config);
}

static void what_others_wrote_stays(void **state)
{
    (void)state;
    json_t *before = parse(foreign), *config = parse(foreign);
    struct kubeconfig_target one = target("prod");
    put(config, &one);
    assert_string_equal(json_get_text(config, "current-context", ""), "minikube");
    kubeconfig_select(config, "example.com-prod");
    assert_string_equal(kubeconfig_selected(config, one.proxy), "prod");
    assert_null(kubeconfig_selected(config, "other:443"));

    /* The way through the file. */
    char *text = kubeconfig_text(config);
    assert_non_null(strstr(text, "level: 1.1\n"));
    json_t *again = parse(text);
    assert_true(json_equal(config, again));
    secret_free(text);

    assert_int_equal(kubeconfig_remove(again, "other:443"), 0);
    assert_true(json_equal(config, again));
    assert_int_equal(kubeconfig_remove(again, one.proxy), 1);
    assert_string_equal(json_get_text(again, "current-context", "?"), "");
    kubeconfig_select(again, "minikube");
    assert_true(json_equal(before, again));
    json_decref(again);
    json_decref(config);
    json_decref(before);
}

/* "insecure-skip-tls-verify: yes" came back as the text "yes", and kubectl read nothing of the file any more. */
static void booleans_of_others_stay_booleans(void **state)
{
    (void)state;
    json_t *config =
        parse("clusters:\n"
              "- name: lab\n"
              "  cluster: {server: 'https://192.0.2.1', insecure-skip-tls-verify: yes, disable-compression: Off}\n"
              "users:\n"
              "- name: lab\n"
              "  user: {username: 'on', password: \"no\"}\n");
    struct kubeconfig_target one = target("prod");
    put(config, &one);
    char *text = kubeconfig_text(config);
    assert_non_null(strstr(text, "    insecure-skip-tls-verify: true\n"));
    assert_non_null(strstr(text, "    disable-compression: false\n"));
    assert_non_null(strstr(text, "    username: \"on\"\n"));
    assert_non_null(strstr(text, "    password: \"no\"\n"));
    secret_free(text);
    json_decref(config);
}

static void a_second_login_keeps_the_persons_own_fields(void **state)
{
    (void)state;
    json_t *config = parse("");
    struct kubeconfig_target one = target("prod");
    one.as = "dev";
    one.name_space = "web";
    put(config, &one);
    json_t *cluster = (json_t *)(uintptr_t)fields(config, "clusters", "example.com-prod", "cluster");
    (void)json_object_set_new(cluster, "proxy-url", json_string("socks5://x"));
    (void)json_object_set_new(cluster, "insecure-skip-tls-verify", json_true());
    one = target("prod");
    one.cas = "CB";
    put(config, &one);
    assert_string_equal(json_get_text(cluster, "proxy-url", ""), "socks5://x");
    assert_string_equal(json_get_text(cluster, "certificate-authority-data", ""), "Q0I=");
    /* Nobody turns the proxy's check off unnoticed. */
    assert_null(json_object_get(cluster, "insecure-skip-tls-verify"));
    assert_string_equal(json_get_text(fields(config, "contexts", "example.com-prod", "context"), "namespace", ""),
                        "web");
    assert_null(json_object_get(fields(config, "users", "example.com-prod", "user"), "as"));
    assert_int_equal(json_array_size(json_object_get(config, "users")), 1);
    json_decref(config);
}

static void entries_of_others_are_not_taken_over(void **state)
{
    (void)state;
    static const char *const files[] = {
        "users: [{name: example.com-prod, user: {token: mine}}]",
        "clusters: [{name: example.com-prod, cluster: {server: 'https://mine'}}]",
        "contexts: [{name: example.com-prod, context: {cluster: a, user: b}}]\nusers: [{name: b, user: {token: x}}]",
        "users: [{name: example.com-prod, user: {exec: {command: aws, args: [eks, get-token, --proxy=x]}}}]",
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        json_t *config = parse(files[i]), *before = json_deep_copy(config);
        struct kubeconfig_target one = target("prod");
        struct tp_error error = {0};
        assert_int_equal(kubeconfig_put(config, &one, &error), TP_EXISTS);
        assert_non_null(strstr(error.text, "example.com-prod"));
        assert_true(json_equal(config, before));
        assert_int_equal(kubeconfig_remove(config, one.proxy), 0);
        assert_true(json_equal(config, before));
        json_decref(before);
        json_decref(config);
    }
}

static void logout_takes_all_contexts_and_spares_shared_clusters(void **state)
{
    (void)state;
    json_t *config = parse("");
    struct kubeconfig_target one = target("prod"), two = target("dev");
    put(config, &one);
    one.context = "mine";
    put(config, &one);
    put(config, &two);
    json_t *own = json_pack("{s:s, s:{s:s, s:s}}", "name", "own", "context", "cluster", "example.com-dev", "user", "x");
    (void)json_array_append_new(json_object_get(config, "contexts"), own);
    assert_int_equal(kubeconfig_remove(config, one.proxy), 3);
    assert_int_equal(json_array_size(json_object_get(config, "users")), 0);
    assert_int_equal(json_array_size(json_object_get(config, "contexts")), 1);
    assert_null(fields(config, "clusters", "example.com-prod", "cluster"));
    assert_non_null(fields(config, "clusters", "example.com-dev", "cluster"));
    json_decref(config);
}

static void broken_files_are_named(void **state)
{
    (void)state;
    static const char *const bad[] = {"a: [",
                                      "- a",
                                      "text",
                                      "clusters: {a: b}",
                                      "users: [a]",
                                      "contexts: [{context: {}}]",
                                      "users: [{name: a, user: b}]",
                                      "a: 1\n---\nb: 2\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *config;
        struct tp_error error = {0};
        assert_int_equal(kubeconfig_parse(bad[i], strlen(bad[i]), "/h/config", &config, &error), TP_INVALID);
        assert_int_equal(strncmp(error.text, "/h/config", 9), 0);
    }
    json_decref(parse("clusters:\nusers: null\ncontexts: []\n"));
}

static void context_names_come_from_templates(void **state)
{
    (void)state;
    char *name;
    struct tp_error error = {0};
    assert_int_equal(kubeconfig_context_name("x-{{.KubeName}}@{{.ClusterName}}", "c", "k", &name, &error), TP_OK);
    assert_string_equal(name, "x-k@c");
    mem_free(name);
    assert_int_equal(kubeconfig_context_name("plain", "c", "k", &name, &error), TP_OK);
    mem_free(name);
    assert_int_equal(kubeconfig_context_name("{{.Other}}", "c", "k", &name, &error), TP_INVALID);
    assert_int_equal(kubeconfig_context_name("", "c", "k", &name, &error), TP_INVALID);
    assert_int_equal(kubeconfig_context_name("two\nlines", "c", "k", &name, &error), TP_INVALID);
    assert_int_equal(kubeconfig_context_name("not\xff utf-8", "c", "k", &name, &error), TP_INVALID);
}

static void a_static_file_embeds_key_and_certificate(void **state)
{
    (void)state;
    json_t *config = json_object();
    struct kubeconfig_target one = target("prod");
    one.cert = "C";
    one.key = "K";
    put(config, &one);
    const json_t *user = fields(config, "users", "example.com-prod", "user");
    assert_string_equal(json_get_text(user, "client-certificate-data", ""), "Qw==");
    assert_string_equal(json_get_text(user, "client-key-data", ""), "Sw==");
    assert_null(json_object_get(user, "exec"));
    json_decref(config);
}

static void server_names_fit_one_label(void **state)
{
    (void)state;
    char *name;
    struct tp_error error = {0};
    assert_int_equal(sni_for_kube("kube", "c.example", &name, &error), TP_OK);
    assert_string_equal(name, "6b756265.kube.c.example");
    mem_free(name);
    assert_int_equal(sni_for_kube("0123456789012345678901234567890", "c", &name, &error), TP_OK);
    assert_int_equal(strcspn(name, "."), 62);
    mem_free(name);
    /* SHA-256 of 32 times "a". */
    assert_int_equal(sni_for_kube("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "c", &name, &error), TP_OK);
    assert_string_equal(name, "h3ba3f5f43b92602683c19aee62a20342.kube.c");
    mem_free(name);
    assert_int_equal(sni_for_kube("", "c", &name, &error), TP_INVALID);
}

/* --- the file --- */

static char *new_path(void)
{
    char folder[] = "/tmp/tport-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    return mem_printf("%s/kube/config", folder);
}

static void remove_path(char *path)
{
    *strstr(path, "/kube/config") = '\0';
    assert_int_equal(file_remove_tree(path, NULL), TP_OK);
    mem_free(path);
}

static char *content(const char *path)
{
    struct buf text;
    buf_init(&text, 0);
    assert_int_equal(file_read(path, &text, NULL), TP_OK);
    return buf_take(&text);
}

static enum tp_err put_name(json_t *config, void *context, struct tp_error *error)
{
    struct kubeconfig_target one = target(context);
    return kubeconfig_put(config, &one, error);
}

struct writer {
    const char *path;
    char name[16];
    enum tp_err err;
};

static void *write_one(void *context)
{
    struct writer *writer = context;
    writer->err = kubeconfig_edit(writer->path, put_name, writer->name, NULL);
    return NULL;
}

static void parallel_runs_lose_nothing(void **state)
{
    (void)state;
    enum { WRITERS = 16 };
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS];
    char *path = new_path();
    json_t *config;
    for (size_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.path = path};
        (void)snprintf(writers[i].name, sizeof(writers[i].name), "k%zu", i);
        assert_int_equal(pthread_create(&threads[i], NULL, write_one, &writers[i]), 0);
    }
    for (size_t i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(writers[i].err, TP_OK);
    }
    assert_int_equal(kubeconfig_read(path, &config, NULL), TP_OK);
    assert_int_equal(json_array_size(json_object_get(config, "contexts")), WRITERS);
    json_decref(config);
    remove_path(path);
}

/* Whoever made it read-only wants it so: kubectl, too, leaves it. Root may write anything, so this is somebody else. */
static void a_file_that_is_read_only_is_left(void **state)
{
    (void)state;
    char *path = new_path(), *folder = mem_strdup(path), *before, *after;
    struct tp_error error = {0};
    assert_int_equal(kubeconfig_edit(path, put_name, "a", &error), TP_OK);
    before = content(path);
    assert_int_equal(chmod(path, 0400), 0);
    if (geteuid() == 0) {
        *strrchr(folder, '/') = '\0';
        assert_int_equal(chown(path, 12345, 12346), 0);
        assert_int_equal(chown(folder, 12345, 12346), 0);
        *strrchr(folder, '/') = '\0';
        assert_int_equal(chmod(folder, 0755), 0);
        assert_int_equal(seteuid(12345), 0);
    }
    assert_int_equal(kubeconfig_edit(path, put_name, "b", &error), TP_DENIED);
    assert_non_null(strstr(error.text, "cannot be written: Permission denied"));
    assert_int_equal(seteuid(getuid()), 0);
    after = content(path);
    assert_string_equal(after, before);
    mem_free(before);
    mem_free(after);
    mem_free(folder);
    remove_path(path);
}

static void the_file_is_private_and_only_touched_for_a_change(void **state)
{
    (void)state;
    char *path = new_path(), *link_path = mem_printf("%s-link", path), *lock = mem_printf("%s.lock", path), *text;
    struct stat info;
    struct tp_error error = {0};
    assert_int_equal(kubeconfig_edit(path, put_name, "a", &error), TP_OK);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_false(file_exists(lock));

    /* Nothing new: not even comments go. */
    text = content(path);
    char *commented = mem_printf("# mine\n%s", text);
    assert_int_equal(file_write_text(path, commented, NULL), TP_OK);
    assert_int_equal(kubeconfig_edit(path, put_name, "a", &error), TP_OK);
    mem_free(text);
    text = content(path);
    assert_string_equal(text, commented);
    mem_free(text);
    mem_free(commented);

    /* A link stays one; root leaves a file with its owner. */
    assert_int_equal(symlink("config", link_path), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(path, 12345, 12346), 0);
    assert_int_equal(kubeconfig_edit(link_path, put_name, "b", &error), TP_OK);
    assert_int_equal(lstat(link_path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(stat(path, &info), 0);
    if (geteuid() == 0) {
        assert_int_equal(info.st_uid, 12345);
        assert_int_equal(info.st_gid, 12346);
    }

    /* So does one to a file that is not there yet. */
    char *fresh = mem_printf("%s-fresh", path);
    assert_int_equal(unlink(link_path), 0);
    assert_int_equal(symlink("config-fresh", link_path), 0);
    assert_int_equal(kubeconfig_edit(link_path, put_name, "a", &error), TP_OK);
    assert_int_equal(lstat(link_path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(lstat(fresh, &info), 0);
    assert_true(S_ISREG(info.st_mode));

    mem_free(fresh);

    /* What cannot be read is not written. */
    assert_int_equal(file_write_text(path, "clusters: [", NULL), TP_OK);
    assert_int_equal(kubeconfig_edit(path, put_name, "c", &error), TP_INVALID);
    text = content(path);
    assert_string_equal(text, "clusters: [");
    assert_false(file_exists(lock));
    mem_free(text);
    mem_free(lock);
    mem_free(link_path);
    remove_path(path);
}

static void the_path_is_kubectls(void **state)
{
    (void)state;
    char *path;
    assert_int_equal(setenv("HOME", "/h", 1), 0);
    assert_int_equal(unsetenv("KUBECONFIG"), 0);
    path = kubeconfig_path(NULL);
    assert_string_equal(path, "/h/.kube/config");
    mem_free(path);
    assert_int_equal(setenv("KUBECONFIG", "::/a/b:/c", 1), 0);
    path = kubeconfig_path(NULL);
    assert_string_equal(path, "/a/b");
    mem_free(path);
    path = kubeconfig_path("/flag");
    assert_string_equal(path, "/flag");
    mem_free(path);
    assert_int_equal(unsetenv("KUBECONFIG"), 0);
}

/* A kubeconfig of a few hundred clusters with their certificates was too large. */
static void files_of_megabytes_are_taken(void **state)
{
    enum { CLUSTERS = 1000, CA = 3000 };
    static char certificate[CA + 1];
    char *path = new_path(), name[] = "prod";
    struct tp_error error = {0};
    struct buf big;
    (void)state;
    memset(certificate, 'Q', CA);
    buf_init(&big, 0);
    (void)buf_append_text(&big, "clusters:\n");
    for (int i = 0; i < CLUSTERS; i++)
        (void)buf_printf(&big, "- {name: c%d, cluster: {certificate-authority-data: %s}}\n", i, certificate);
    assert_int_equal(kubeconfig_edit(path, put_name, name, &error), TP_OK); /* makes the folder */
    assert_int_equal(file_write_text(path, buf_text(&big), &error), TP_OK);
    if (kubeconfig_edit(path, put_name, name, &error) != TP_OK)
        fail_msg("%s", error.text);
    json_t *config = NULL;
    assert_int_equal(kubeconfig_read(path, &config, NULL), TP_OK);
    assert_int_equal(json_array_size(json_object_get(config, "clusters")), CLUSTERS + 1);
    json_decref(config);
    buf_free(&big);
    remove_path(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_file_has_what_kubectl_needs),
        cmocka_unit_test(what_others_wrote_stays),
        cmocka_unit_test(booleans_of_others_stay_booleans),
        cmocka_unit_test(files_of_megabytes_are_taken),
        cmocka_unit_test(a_second_login_keeps_the_persons_own_fields),
        cmocka_unit_test(entries_of_others_are_not_taken_over),
        cmocka_unit_test(logout_takes_all_contexts_and_spares_shared_clusters),
        cmocka_unit_test(broken_files_are_named),
        cmocka_unit_test(context_names_come_from_templates),
        cmocka_unit_test(a_static_file_embeds_key_and_certificate),
        cmocka_unit_test(server_names_fit_one_label),
        cmocka_unit_test(parallel_runs_lose_nothing),
        cmocka_unit_test(the_file_is_private_and_only_touched_for_a_change),
        cmocka_unit_test(a_file_that_is_read_only_is_left),
        cmocka_unit_test(the_path_is_kubectls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

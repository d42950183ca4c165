#include "auth_help.h"

#include "auth/kube.h"

static char *make_token(struct fixture *fixture, json_t *roles)
{
    json_t *made = must(fixture, as_local(), "tokens.add", json_pack("{s:o}", "roles", roles));
    char *token = mem_strdup(json_get_text(made, "token", ""));
    json_decref(made);
    return token;
}

static json_t *join_as(const char *token, const char *id, const char *name, const char *role, const struct keys *keys)
{
    json_t *params = join_params(token, id, name, keys);
    json_object_set_new(params, "role", json_string(role));
    return params;
}

static void join(struct fixture *fixture, const char *id, const char *name, const char *role)
{
    struct keys keys = keys_make();
    char *token = make_token(fixture, json_pack("[s, s]", "Node", "kube"));
    json_decref(must(fixture, as_nobody("10.8.8.8"), "host.join", join_as(token, id, name, role, &keys)));
    mem_free(token);
    keys_free(&keys);
}

/* clusters is stolen. */
static json_t *beat(const char *name, const char *service, json_t *clusters)
{
    return json_pack("{s:s, s:[s], s:o}", "hostname", name, "services", service, "kube_clusters", clusters);
}

static json_t *cluster(const char *name, const char *env)
{
    return json_pack("{s:s, s:{s:s}, s:{}}", "name", name, "labels", "env", env, "cmd_labels");
}

static size_t count_items(struct fixture *fixture, const char *kind)
{
    json_t *got = must(fixture, as_local(), "resources.get", json_pack("{s:s}", "kind", kind));
    size_t count = json_array_size(json_object_get(got, "items"));
    json_decref(got);
    return count;
}

/* A token is good for exactly its roles, and a host registers only what it joined for. */
static void roles_of_tokens_and_hosts(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    char *node = make_token(fixture, json_pack("[s]", "node"));
    char *kube = make_token(fixture, json_pack("[s]", "Kube"));
    char *both = make_token(fixture, json_pack("[s, s]", "node", "kube"));
    must_fail(fixture, as_nobody("10.0.0.2"), "host.join", join_as(node, HOST_A, "a", "kube", &keys), TP_DENIED);
    must_fail(fixture, as_nobody("10.0.0.2"), "host.join", join_as(node, HOST_A, "a", "node,kube", &keys), TP_DENIED);
    must_fail(fixture, as_nobody("10.0.0.2"), "host.join", join_as(kube, HOST_A, "a", "node", &keys), TP_DENIED);
    must_fail(fixture, as_nobody("10.0.0.2"), "host.join", join_as(both, HOST_A, "a", "proxy", &keys), TP_INVALID);
    must_fail(fixture, as_nobody("10.0.0.2"), "host.join", join_as(both, HOST_A, "a", "", &keys), TP_INVALID);
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join", join_as(node, HOST_A, "a", "node", &keys)));
    json_t *joined = must(fixture, as_nobody("10.0.0.2"), "host.join", join_as(kube, HOST_B, "b", "kube", &keys));
    struct buf der;
    struct identity identity;
    struct tp_error error = {0};
    const char *pem = json_get_text(joined, "tls_cert", "");
    buf_init(&der, 65536);
    assert_int_equal(x509_pem_to_der(pem, strlen(pem), &der, &error), TP_OK);
    assert_int_equal(
        x509_check(buf_head(&der), buf_size(&der), fixture->auth->ca[CA_HOST].tls_pem, clock_wall(), &identity, &error),
        TP_OK);
    assert_int_equal(json_array_size(identity.roles), 1);
    assert_string_equal(json_string_value(json_array_get(identity.roles, 0)), "Kube");
    identity_free(&identity);
    buf_free(&der);
    json_decref(joined);
    must_fail(fixture, as_host(HOST_A, "a"), "host.heartbeat", beat("a", "ssh", json_pack("[o]", cluster("c", "dev"))),
              TP_DENIED);
    must_fail(fixture, as_host(HOST_A, "a"), "host.heartbeat", beat("a", "kube", json_array()), TP_DENIED);
    must_fail(fixture, as_host(HOST_B, "b"), "host.heartbeat", beat("b", "ssh", json_array()), TP_DENIED);
    json_decref(must(fixture, as_host(HOST_B, "b"), "host.heartbeat",
                     beat("b", "kube", json_pack("[o]", cluster("c", "dev")))));
    assert_int_equal(count_items(fixture, "kube_server"), 1);
    assert_int_equal(count_items(fixture, "node"), 1); /* b is no node */
    /* A renewal keeps the role; a restart too. */
    json_decref(must(fixture, as_host(HOST_B, "b"), "host.renew",
                     json_pack("{s:s, s:s, s:s}", "tls_pub_key", keys.tls, "ssh_pub_key", keys.ssh, "node_name", "b")));
    must_fail(fixture, as_host(HOST_B, "b"), "host.heartbeat", beat("b", "ssh", json_array()), TP_DENIED);
    fixture_shut(fixture);
    fixture_open(fixture);
    must_fail(fixture, as_host(HOST_B, "b"), "host.heartbeat", beat("b", "ssh", json_array()), TP_DENIED);
    assert_int_equal(count_items(fixture, "kube_server"), 1);
    mem_free(node);
    mem_free(kube);
    mem_free(both);
    keys_free(&keys);
}

static void reports_are_bounded_and_checked(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, HOST_A, "a", "kube");
    const char *const bad[] = {"", "a b", "a\x1b[31m", "-a", "../x y"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        must_fail(fixture, as_host(HOST_A, "a"), "host.heartbeat",
                  beat("a", "kube", json_pack("[o]", cluster(bad[i], "dev"))), TP_INVALID);
    }
    must_fail(fixture, as_host(HOST_A, "a"), "host.heartbeat",
              beat("a", "kube", json_pack("[o, o]", cluster("x", "dev"), cluster("x", "prod"))), TP_INVALID);
    must_fail(fixture, as_host(HOST_A, "a"), "host.heartbeat", beat("a", "kube", json_pack("{}")), TP_INVALID);
    json_t *many = json_array();
    for (int i = 0; i < 257; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%d", i);
        json_array_append_new(many, cluster(name, "dev"));
    }
    must_fail(fixture, as_host(HOST_A, "a"), "host.heartbeat", beat("a", "kube", json_deep_copy(many)), TP_INVALID);
    json_array_remove(many, 256);
    json_decref(must(fixture, as_host(HOST_A, "a"), "host.heartbeat", beat("a", "kube", many)));
    assert_int_equal(count_items(fixture, "kube_server"), 256);
    json_t *label = cluster("x", "dev");
    char *long_text = mem_alloc(5000);
    memset(long_text, 'v', 4999);
    json_object_set_new(json_object_get(label, "labels"), "big", json_string(long_text));
    mem_free(long_text);
    must_fail(fixture, as_host(HOST_A, "a"), "host.heartbeat", beat("a", "kube", json_pack("[o]", label)), TP_INVALID);
    assert_int_equal(count_items(fixture, "kube_server"), 256); /* a bad report changes nothing */
    json_decref(must(fixture, as_host(HOST_A, "a"), "host.heartbeat", beat("a", "kube", json_array())));
    assert_int_equal(count_items(fixture, "kube_server"), 0);
}

static void labels_of_server_names(void **state)
{
    char label[KUBE_LABEL_SIZE];
    (void)state;
    kube_label("dev", label);
    assert_string_equal(label, "646576");
    kube_label("1234567890123456789012345678901", label);
    assert_int_equal(strlen(label), 62);
    kube_label("12345678901234567890123456789012", label);
    assert_string_equal(label, "he1b85b27d6bcb05846c18e6a48f118e8");
    char *name = kube_label_name("646576");
    assert_string_equal(name, "dev");
    mem_free(name);
    name = kube_label_name("0a0d");
    assert_string_equal(name, "0a0d");
    mem_free(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(roles_of_tokens_and_hosts, setup, teardown),
        cmocka_unit_test_setup_teardown(reports_are_bounded_and_checked, setup, teardown),
        cmocka_unit_test(labels_of_server_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

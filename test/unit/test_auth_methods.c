#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth_help.h"

static bool listed(const char *const *list, const char *text)
{
    for (size_t i = 0; list[i] != NULL; i++) {
        if (strcmp(list[i], text) == 0) {
            return true;
        }
    }
    return false;
}

/* R1: no handler without a row that names who, verb and kind. */
static void r1_every_row_names_its_verb(void **state)
{
    (void)state;
    size_t count = 0;
    for (const struct method *method = methods; method->name != NULL; method++, count++) {
        assert_non_null(method->fn);
        assert_int_not_equal(method->who & (WHO_ANONYMOUS | WHO_USER | WHO_HOST | WHO_PROXY | WHO_LOCAL), 0);
        assert_non_null(method->verb);
        assert_true(method->verb[0] != '\0');
        assert_ptr_equal(method_find(method->name), method);
        if (method->right == RIGHT_RULE || method->right == RIGHT_POSSIBLE) {
            assert_true(listed(rbac_verbs, method->verb));
            assert_true(listed(rbac_kinds, method->kind));
            assert_int_equal(method->who & (WHO_ANONYMOUS | WHO_HOST | WHO_PROXY), 0);
        } else if ((method->who & (WHO_USER | WHO_LOCAL)) == (WHO_USER | WHO_LOCAL)) {
            assert_true(method->right == RIGHT_HANDLER || method->right == RIGHT_NONE);
        }
        for (const struct method *other = method + 1; other->name != NULL; other++) {
            assert_string_not_equal(method->name, other->name);
            assert_ptr_not_equal(method->fn, other->fn);
        }
    }
    assert_true(count > 30); /* the matrix of the black-box tests knows each by name */
    assert_null(method_find("nothing.here"));
}

/* R1: each kind of caller gets through to its rows only, and a user without roles passes no rule. */
static void r1_callers_reach_their_rows_only(void **state)
{
    struct fixture *fixture = *state;
    json_decref(must(fixture, as_local(), "resources.put",
                     json_pack("{s:{s:s, s:s, s:{s:s}, s:{s:{}}}}", "resource", "kind", "role", "version", "v7",
                               "metadata", "name", "empty", "spec", "allow")));
    mem_free(make_user(fixture, "eve", "empty", "root"));
    for (const struct method *method = methods; method->name != NULL; method++) {
        struct tp_error error = {0};
        if ((method->who & WHO_ANONYMOUS) == 0) {
            assert_null(ask(fixture, as_nobody("10.1.1.1"), method->name, json_object(), &error));
            assert_int_equal(error.code, TP_UNAUTHENTICATED);
        }
        if ((method->who & WHO_HOST) == 0) {
            assert_null(ask(fixture, as_host(HOST_A, "a"), method->name, json_object(), &error));
            assert_int_equal(error.code, TP_DENIED);
        }
        if ((method->who & WHO_PROXY) == 0) {
            assert_null(ask(fixture, as_proxy(), method->name, json_object(), &error));
            assert_int_equal(error.code, TP_DENIED);
        }
        if ((method->who & WHO_USER) == 0) {
            assert_null(ask(fixture, as_user(fixture, "eve"), method->name, json_object(), &error));
            assert_int_equal(error.code, TP_DENIED);
        }
        bool rule = method->right == RIGHT_RULE || method->right == RIGHT_POSSIBLE;
        bool implicit = rule && strcmp(method->verb, "list") == 0 &&
                        (strcmp(method->kind, "node") == 0 || strcmp(method->kind, "ssh_session") == 0 ||
                         strcmp(method->kind, "kube_cluster") == 0);
        implicit |= rule && strcmp(method->kind, "cluster_name") == 0;
        if ((method->who & WHO_USER) != 0 && rule && !implicit) {
            json_t *result = ask(fixture, as_user(fixture, "eve"), method->name, json_object(), &error);
            if (result != NULL || error.code != TP_DENIED) {
                fail_msg("%s is open to a user without rights", method->name);
            }
        }
    }
}

/* R1: resources decide by the kind asked for. */
static void r1_resources_by_kind(void **state)
{
    struct fixture *fixture = *state;
    json_decref(must(fixture, as_local(), "resources.put",
                     json_pack("{s:{s:s, s:s, s:{s:s}, s:{s:{}}}}", "resource", "kind", "role", "version", "v7",
                               "metadata", "name", "empty", "spec", "allow")));
    mem_free(make_user(fixture, "eve", "empty", "root"));
    static const char *const kinds[] = {"role", "user", "token", "lock", "session_recording_config"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        must_fail(fixture, as_user(fixture, "eve"), "resources.get", json_pack("{s:s}", "kind", kinds[i]), TP_DENIED);
        must_fail(fixture, as_user(fixture, "eve"), "resources.rm",
                  json_pack("{s:s, s:s}", "kind", kinds[i], "name", "x"), TP_DENIED);
        must_fail(fixture, as_user(fixture, "eve"), "resources.put",
                  json_pack("{s:{s:s, s:s, s:{s:s}, s:{}}}", "resource", "kind", kinds[i], "version", "v2", "metadata",
                            "name", "x", "spec"),
                  TP_DENIED);
    }
    mem_free(make_user(fixture, "ed", "editor", "root"));
    json_t *roles = must(fixture, as_user(fixture, "ed"), "resources.get", json_pack("{s:s}", "kind", "role"));
    assert_true(json_array_size(json_object_get(roles, "items")) >= 4);
    json_decref(roles);
}

/* A stored revision guards against lost updates; roles in use stay. */
static void resources_revision_and_use(void **state)
{
    struct fixture *fixture = *state;
    const char *put = "{s:{s:s, s:s, s:{s:s}, s:{s:{s:[s]}}}, s:b}";
    json_decref(must(fixture, as_local(), "resources.put",
                     json_pack(put, "resource", "kind", "role", "version", "v7", "metadata", "name", "ops", "spec",
                               "allow", "logins", "root", "force", 0)));
    must_fail(fixture, as_local(), "resources.put",
              json_pack(put, "resource", "kind", "role", "version", "v7", "metadata", "name", "ops", "spec", "allow",
                        "logins", "root", "force", 0),
              TP_EXISTS);
    json_t *params = json_pack(put, "resource", "kind", "role", "version", "v7", "metadata", "name", "ops", "spec",
                               "allow", "logins", "ubuntu", "force", 1);
    json_object_set_new(params, "revision", json_string("1"));
    must_fail(fixture, as_local(), "resources.put", params, TP_CONFLICT);
    must_fail(fixture, as_local(), "resources.put",
              json_pack("{s:{s:s, s:s, s:{s:s}, s:{s:{s:[s]}}}}", "resource", "kind", "role", "version", "v7",
                        "metadata", "name", "bad", "spec", "allow", "logins", "{{nothing"),
              TP_INVALID);
    mem_free(make_user(fixture, "bob", "ops", "root"));
    must_fail(fixture, as_local(), "resources.rm", json_pack("{s:s, s:s}", "kind", "role", "name", "ops"), TP_INVALID);
    json_decref(must(fixture, as_local(), "resources.rm", json_pack("{s:s, s:s}", "kind", "user", "name", "bob")));
    json_decref(must(fixture, as_local(), "resources.rm", json_pack("{s:s, s:s}", "kind", "role", "name", "ops")));
}

/* A second start finds the same cluster; another name is refused with a way out. */
static void restart_keeps_the_cluster(void **state)
{
    struct fixture *fixture = *state;
    char *pin = mem_strdup(fixture->auth->host_pin);
    mem_free(make_user(fixture, "alice", "access", "root"));
    fixture_shut(fixture);
    fixture_open(fixture);
    assert_string_equal(pin, fixture->auth->host_pin);
    struct caller caller = as_user(fixture, "alice");
    caller_free(&caller);
    mem_free(pin);
    fixture_shut(fixture);
    struct tp_error error = {0};
    struct auth *other = NULL;
    struct loop *loop = loop_new();
    json_t *config = fixture_config(fixture);
    json_object_set_new(config, "cluster_name", json_string("other.test"));
    assert_int_equal(auth_open(loop, config, -1, &other, &error), TP_INVALID);
    assert_non_null(strstr(error.text, "demo.test"));
    json_decref(config);
    loop_free(loop);
    fixture_open(fixture);
}

/* Whatever was done is in the audit log. */
static void changes_are_recorded(void **state)
{
    struct fixture *fixture = *state;
    mem_free(make_user(fixture, "alice", "access", "root"));
    json_t *events =
        must(fixture, as_local(), "audit.list", json_pack("{s:[s, s]}", "types", "user.create", "mfa.add"));
    assert_int_equal(json_array_size(json_object_get(events, "items")), 2);
    json_decref(events);
    json_decref(must(fixture, as_local(), "audit.checkpoint", json_object()));
    json_decref(must(fixture, as_local(), "cluster.status", json_object()));
    json_t *info = must(fixture, as_nobody("10.0.0.1"), "cluster.info", json_object());
    assert_string_equal(json_get_text(info, "cluster_name", ""), "demo.test");
    json_decref(info);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r1_every_row_names_its_verb),
        cmocka_unit_test_setup_teardown(r1_callers_reach_their_rows_only, setup, teardown),
        cmocka_unit_test_setup_teardown(r1_resources_by_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(resources_revision_and_use, setup, teardown),
        cmocka_unit_test_setup_teardown(restart_keeps_the_cluster, setup, teardown),
        cmocka_unit_test_setup_teardown(changes_are_recorded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

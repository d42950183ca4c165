#include "rbac_help.h"

static bool rule(const struct rbac_set *set, const char *verb, const char *kind, const char *session)
{
    json_t *json = session ? json_loads(session, 0, NULL) : NULL;
    struct rbac_context context = {.session = json};
    bool allowed = rbac_rule(set, verb, kind, &context, NULL) == TP_OK;
    json_decref(json);
    return allowed;
}

static void test_own_recordings(void **state)
{
    struct role *role = role_from_file("conf/roles/dev2.yaml");
    struct rbac_user user = {.name = "alice"};
    struct rbac_set *set = rbac_set_new(&role, 1, &user, 0);
    struct rbac_decision decision;
    (void)state;
    assert_true(rule(set, "read", "session", "{\"participants\":[\"alice\",\"bob\"]}"));
    assert_false(rule(set, "read", "session", "{\"participants\":[\"bob\"]}"));
    assert_false(rule(set, "read", "session", "{}"));
    assert_false(rule(set, "read", "session", NULL));
    assert_false(rule(set, "delete", "session", "{\"participants\":[\"alice\"]}"));
    assert_int_equal(rbac_rule_possible(set, "list", "session", NULL), TP_OK);
    assert_int_equal(rbac_rule(set, "delete", "session", NULL, &decision), TP_DENIED);
    assert_string_equal(decision.text, "access denied to perform action \"delete\" on \"session\"");
    role_unref(role);
    rbac_set_free(set);
}

static void test_R1_nothing_without_a_grant(void **state)
{
    struct rbac_set *set = set_of_version("v5", "u", NULL, NULL);
    static const char *const implicit_read[] = {"node",
                                                "proxy",
                                                "auth_server",
                                                "reverse_tunnel",
                                                "cluster_auth_preference",
                                                "cluster_name",
                                                "ssh_session",
                                                "app_server",
                                                "app",
                                                "remote_cluster",
                                                "kube_server",
                                                "kube_cluster",
                                                "db_server",
                                                "db",
                                                "windows_desktop_service",
                                                "windows_desktop",
                                                NULL};
    (void)state;
    /* Every verb on every kind: exactly what the implicit role says. */
    for (size_t i = 0; rbac_kinds[i]; i++) {
        bool readable = false;
        for (size_t j = 0; implicit_read[j]; j++)
            readable |= strcmp(implicit_read[j], rbac_kinds[i]) == 0;
        for (size_t j = 0; rbac_verbs[j]; j++) {
            const char *verb = rbac_verbs[j];
            bool expected = readable && (strcmp(verb, "list") == 0 || strcmp(verb, "read") == 0 ||
                                         strcmp(verb, "readnosecrets") == 0);
            if (strcmp(rbac_kinds[i], "cert_authority") == 0)
                expected = strcmp(verb, "list") == 0 || strcmp(verb, "readnosecrets") == 0;
            if (strcmp(rbac_kinds[i], "usage_event") == 0)
                expected = strcmp(verb, "create") == 0;
            if (rule(set, verb, rbac_kinds[i], NULL) != expected)
                fail_msg("%s %s: expected %d", verb, rbac_kinds[i], expected);
        }
    }
    rbac_set_free(set);
}

static void test_R5_deny_rules_first(void **state)
{
    struct rbac_set *set =
        SET("u", NULL, "{allow: {rules: [{resources: ['*'], verbs: ['*']}]}}",
            "{deny: {rules: [{resources: [user], verbs: [delete]}, {resources: ['*'], verbs: [rotate]}]}}");
    struct rbac_decision decision;
    (void)state;
    assert_true(rule(set, "create", "user", NULL));
    assert_false(rule(set, "delete", "user", NULL));
    assert_false(rule(set, "rotate", "cert_authority", NULL));
    assert_int_equal(rbac_rule(set, "delete", "user", NULL, &decision), TP_DENIED);
    assert_int_equal(decision.reason, RBAC_DENIED_BY_RULE);
    assert_string_equal(decision.role, "role1");
    /* What is no verb or kind cannot be granted by a wildcard. */
    assert_false(rule(set, "*", "user", NULL));
    assert_false(rule(set, "read", "*", NULL));
    assert_false(rule(set, "READ", "user", NULL));
    assert_false(rule(set, "read", "", NULL));
    rbac_set_free(set);
}

static void test_read_covers_readnosecrets(void **state)
{
    struct rbac_set *set =
        SET("u", NULL,
            "{allow: {rules: [{resources: [token], verbs: [read]}, {resources: [lock], verbs: [readnosecrets]}]}}");
    (void)state;
    assert_true(rule(set, "readnosecrets", "token", NULL));
    assert_false(rule(set, "read", "lock", NULL));
    rbac_set_free(set);
}

static void test_most_specific_rule_is_named(void **state)
{
    struct rbac_set *set =
        SET("alice", NULL,
            "{allow: {rules: [{resources: ['*'], verbs: ['*']}, {resources: [session, event], verbs: [read]},"
            " {resources: [session], verbs: [read], where: 'user.metadata.name == \"alice\"'}]}}");
    struct rbac_decision decision;
    (void)state;
    assert_int_equal(rbac_rule(set, "read", "session", NULL, &decision), TP_OK);
    assert_non_null(strstr(decision.detail, "where user.metadata.name"));
    rbac_set_free(set);
}

static void test_R5_deny_where_on_absent_field_holds(void **state)
{
    struct rbac_set *set = SET("u", NULL, "{allow: {rules: [{resources: ['*'], verbs: ['*']}]}}",
                               "{deny: {rules: [{resources: [ssh_session], verbs: ['*'],"
                               " where: '!contains(ssh_session.participants, user.metadata.name)'}]}}");
    struct rbac_set *wrong =
        SET("u", NULL, "{allow: {rules: [{resources: ['*'], verbs: ['*']}]}}",
            "{deny: {rules: [{resources: [session], verbs: ['*'], where: 'contains(session.user, \"x\")'}]}}");
    (void)state;
    assert_false(rule(set, "read", "ssh_session", NULL));
    assert_int_equal(rbac_rule_possible(set, "read", "ssh_session", NULL), TP_OK);
    /* A type that does not fit cannot be told, so it denies. */
    assert_false(rule(wrong, "read", "session", "{\"user\":\"x\"}"));
    rbac_set_free(set);
    rbac_set_free(wrong);
}

/* A failing `where` takes its own rule away, not those of other roles. */
static void test_other_roles_still_grant(void **state)
{
    struct rbac_set *set =
        SET("u", NULL, "{allow: {rules: [{resources: [session], verbs: [read], where: 'session.none == \"x\"'}]}}",
            "{allow: {rules: [{resources: [session], verbs: [read]}]}}");
    (void)state;
    assert_true(rule(set, "read", "session", "{}"));
    rbac_set_free(set);
}

/* Of each pair the first is the more specific, and named though it stands behind the other: single kinds before several,
 * before "*"; verbs before "*"; `where` and actions before none. */
static void test_what_is_more_specific(void **state)
{
    static const char *const pairs[][2] = {
        {"resources: [node], verbs: [read]", "resources: [node, user], verbs: [read]"},
        {"resources: [node, user], verbs: [read]", "resources: [node, '*'], verbs: [read]"},
        {"resources: [node], verbs: [read]", "resources: [node], verbs: ['*']"},
        {"resources: [node], verbs: [read, list]", "resources: [node], verbs: [read, '*']"},
        {"resources: [node, user], verbs: ['*'], actions: ['log(\"info\", \"x\")']",
         "resources: [node], verbs: [read]"},
        {"resources: [node], verbs: [read]", "resources: [node, user], verbs: [read]"}};
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *spec =
            mem_printf("allow: {rules: [{%s, where: '2 == 2'}, {%s, where: '1 == 1'}]}", pairs[i][1], pairs[i][0]);
        char *whole = mem_printf("{%s}", spec);
        struct role *role = role_of("v7", "r", whole);
        struct rbac_user user = {.name = "alice"};
        struct rbac_set *set = rbac_set_new(&role, 1, &user, RBAC_WITHOUT_IMPLICIT_ROLE);
        struct rbac_decision decision;
        assert_int_equal(rbac_rule(set, "read", "node", NULL, &decision), TP_OK);
        assert_string_equal(decision.detail, "rule on \"node\" where 1 == 1");
        rbac_set_free(set);
        role_unref(role);
        mem_free(whole);
        mem_free(spec);
    }
}

/* One with `where` goes before one without, however single that is. */
static void test_where_is_more_specific(void **state)
{
    struct role *role = role_of("v7", "r",
                                "{allow: {rules: [{resources: [node], verbs: [read]}, {resources: [node, user], verbs: "
                                "['*'], where: '1 == 1'}]}}");
    struct rbac_user user = {.name = "alice"};
    struct rbac_set *set = rbac_set_new(&role, 1, &user, RBAC_WITHOUT_IMPLICIT_ROLE);
    struct rbac_decision decision;
    (void)state;
    assert_int_equal(rbac_rule(set, "read", "node", NULL, &decision), TP_OK);
    assert_string_equal(decision.detail, "rule on \"node\" where 1 == 1");
    rbac_set_free(set);
    role_unref(role);
}

/* With and without somebody who wants to know why. */
static void test_decisions_say_what_made_them(void **state)
{
    struct role *role = role_of("v7", "r",
                                "{allow: {rules: [{resources: [node], verbs: [read]}]}, deny: {rules: [{resources: "
                                "[user], verbs: [read]}]}}");
    struct rbac_user user = {.name = "alice"};
    struct rbac_set *set = rbac_set_new(&role, 1, &user, RBAC_WITHOUT_IMPLICIT_ROLE);
    struct rbac_decision decision;
    (void)state;
    assert_int_equal(rbac_rule(set, "read", "node", NULL, &decision), TP_OK);
    assert_string_equal(decision.section, "allow");
    assert_string_equal(decision.role, "r");
    assert_string_equal(decision.text, "action \"read\" on \"node\" allowed");
    assert_int_equal(rbac_rule(set, "read", "user", NULL, &decision), TP_DENIED);
    assert_int_equal(decision.reason, RBAC_DENIED_BY_RULE);
    assert_string_equal(decision.section, "deny");
    assert_string_equal(decision.detail, "rule on \"user\"");
    assert_string_equal(decision.text, "access denied to perform action \"read\" on \"user\"");
    assert_int_equal(rbac_rule(set, "read", "node", NULL, NULL), TP_OK);
    assert_int_equal(rbac_rule(set, "read", "user", NULL, NULL), TP_DENIED);
    assert_int_equal(rbac_rule(set, "read", "role", NULL, NULL), TP_DENIED);
    rbac_set_free(set);
    role_unref(role);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_recordings),
        cmocka_unit_test(test_R1_nothing_without_a_grant),
        cmocka_unit_test(test_R5_deny_rules_first),
        cmocka_unit_test(test_read_covers_readnosecrets),
        cmocka_unit_test(test_most_specific_rule_is_named),
        cmocka_unit_test(test_R5_deny_where_on_absent_field_holds),
        cmocka_unit_test(test_other_roles_still_grant),
        cmocka_unit_test(test_what_is_more_specific),
        cmocka_unit_test(test_where_is_more_specific),
        cmocka_unit_test(test_decisions_say_what_made_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

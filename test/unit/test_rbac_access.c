#include "rbac_help.h"

#include "rbac/role_private.h"

static const char alice_traits[] = "{\"logins\":[\"admin\"],\"kubernetes_groups\":[\"edit\"]}";

static struct rbac_set *alice(const char *more)
{
    json_t *traits = json_loads(alice_traits, 0, NULL);
    struct rbac_user user = {.name = "alice", .traits = traits};
    struct role *roles[2] = {role_from_file("conf/roles/dev2.yaml"), more ? role_of("v5", "more", more) : NULL};
    struct rbac_set *set = rbac_set_new(roles, more ? 2 : 1, &user, 0);
    role_unref(roles[0]);
    role_unref(roles[1]);
    json_decref(traits);
    return set;
}

static bool node_allowed(const struct rbac_set *set, const char *labels, const char *login)
{
    struct labels kept;
    struct rbac_target node = target_of(&kept, ROLE_NODE, labels);
    return rbac_node_access(set, &node, login, NULL) == TP_OK;
}

static bool listed(const struct rbac_set *set, enum role_target kind, const char *labels)
{
    struct labels kept;
    struct rbac_target target = target_of(&kept, kind, labels);
    return rbac_can_list(set, &target);
}

static void test_walkthrough_nodes(void **state)
{
    struct rbac_set *set = alice(NULL);
    (void)state;
    assert_true(node_allowed(set, "environment=dev", "ec2-user"));
    assert_true(node_allowed(set, "environment=dev", "admin"));
    assert_false(node_allowed(set, "environment=prod", "ec2-user"));
    assert_false(node_allowed(set, "environment=dev", "guest"));
    assert_false(node_allowed(set, "environment=dev", "root"));
    assert_false(node_allowed(set, "", "ec2-user"));
    assert_true(listed(set, ROLE_NODE, "environment=dev"));
    assert_false(listed(set, ROLE_NODE, "environment=prod"));
    assert_false(listed(set, ROLE_NODE, ""));
    rbac_set_free(set);
}

static void test_walkthrough_kube_lists(void **state)
{
    struct rbac_set *set = alice(NULL);
    (void)state;
    assert_false(listed(set, ROLE_KUBE, "app=teleport-cluster"));
    assert_true(listed(set, ROLE_KUBE, ""));
    assert_true(listed(set, ROLE_KUBE, "env=dev"));
    rbac_set_free(set);
}

static void test_R5_denied_login_beats_another_role(void **state)
{
    struct rbac_set *set = alice("{allow: {logins: [guest, ec2-user], node_labels: {'*': '*'}}}");
    struct labels kept;
    struct rbac_target node = target_of(&kept, ROLE_NODE, "environment=dev");
    struct rbac_decision decision;
    (void)state;
    assert_int_equal(rbac_node_access(set, &node, "guest", &decision), TP_DENIED);
    assert_int_equal(decision.reason, RBAC_DENIED_BY_LOGIN);
    assert_string_equal(decision.role, "dev2");
    assert_string_equal(decision.section, "deny");
    assert_string_equal(decision.detail, "logins guest");
    assert_non_null(strstr(decision.text, "access to node denied"));
    assert_null(strstr(decision.text, "dev2"));
    assert_true(node_allowed(set, "environment=prod", "ec2-user"));
    rbac_set_free(set);
}

static void test_certificate(void **state)
{
    struct rbac_set *set = alice(NULL);
    int64_t ttl;
    size_t count;
    const char **logins = rbac_cert_logins(set, (int64_t)12 * 3600 * 1000, &ttl, &count);
    (void)state;
    assert_int_equal(ttl, (int64_t)8 * 3600 * 1000);
    assert_int_equal(count, 2);
    assert_string_equal(logins[0], "admin");
    assert_string_equal(logins[1], "ec2-user");
    mem_free(logins);
    rbac_set_free(set);
}

static void test_member_has_no_logins(void **state)
{
    struct role *role = role_from_file("conf/roles/member.yaml");
    struct rbac_user user = {.name = "seokbin2"};
    struct rbac_set *set = rbac_set_new(&role, 1, &user, 0);
    int64_t ttl;
    size_t count;
    const char **logins = rbac_cert_logins(set, 1000, &ttl, &count);
    (void)state;
    assert_int_equal(count, 0);
    assert_int_equal(ttl, 1000);
    assert_false(listed(set, ROLE_NODE, "a=b"));
    assert_true(listed(set, ROLE_KUBE, ""));
    mem_free(logins);
    role_unref(role);
    rbac_set_free(set);
}

static struct role *preset(const char *name)
{
    struct role *role = NULL;
    struct tp_error error = {0};
    const char *text = rbac_preset_yaml(name);
    assert_non_null(text);
    if (role_parse_text(text, strlen(text), name, ROLE_WRITTEN, &role, &error))
        fail_msg("%s", error.text);
    assert_string_equal(role_warnings(role), "");
    assert_string_equal(role_name(role), name);
    return role;
}

static void test_presets(void **state)
{
    struct role *roles[2] = {preset("editor"), preset("access")};
    struct role *auditor = preset("auditor");
    struct rbac_user user = {.name = "teleport-admin2"};
    struct rbac_set *set = rbac_set_new(roles, 2, &user, 0);
    struct rbac_set *reader = rbac_set_new(&auditor, 1, &user, 0);
    struct labels kept;
    struct rbac_target node = target_of(&kept, ROLE_NODE, "");
    size_t count;
    struct rbac_login *logins = rbac_logins(set, &node, NULL, &count);
    (void)state;
    assert_int_equal(count, 0);
    assert_true(rbac_can_list(set, &node));
    assert_int_equal(rbac_rule(set, "update", "role", NULL, NULL), TP_OK);
    assert_int_equal(rbac_rule(set, "read", "event", NULL, NULL), TP_OK);
    assert_int_equal(rbac_rule(set, "read", "session", NULL, NULL), TP_DENIED);
    assert_int_equal(rbac_rule(reader, "read", "session", NULL, NULL), TP_OK);
    assert_int_equal(rbac_rule(reader, "read", "user", NULL, NULL), TP_DENIED);
    assert_null(rbac_preset_yaml("root"));
    mem_free(logins);
    rbac_set_free(set);
    rbac_set_free(reader);
    role_unref(roles[0]);
    role_unref(roles[1]);
    role_unref(auditor);
}

/* Labels of one role and logins of another never add up. */
static void test_R5_no_grant_across_roles(void **state)
{
    struct rbac_set *set = SET("u", NULL, "{allow: {logins: [root], node_labels: {env: dev}}}",
                               "{allow: {logins: [admin], node_labels: {env: prod}}}");
    struct labels kept;
    struct rbac_target node = target_of(&kept, ROLE_NODE, "env=prod");
    struct rbac_decision decision;
    (void)state;
    assert_true(node_allowed(set, "env=dev", "root"));
    assert_true(node_allowed(set, "env=prod", "admin"));
    assert_false(node_allowed(set, "env=dev", "admin"));
    assert_int_equal(rbac_node_access(set, &node, "root", &decision), TP_DENIED);
    assert_int_equal(decision.reason, RBAC_NO_LOGIN);
    node = target_of(&kept, ROLE_NODE, "env=x");
    assert_int_equal(rbac_node_access(set, &node, "root", &decision), TP_DENIED);
    assert_int_equal(decision.reason, RBAC_NO_LABELS);
    rbac_set_free(set);
}

static void test_R5_deny_labels_and_wildcard_login(void **state)
{
    struct rbac_set *set =
        SET("u", NULL, "{allow: {logins: [root], node_labels: {'*': '*'}}, deny: {node_labels: {env: prod}}}");
    struct rbac_set *none =
        SET("u", NULL, "{allow: {logins: [root], node_labels: {'*': '*'}}}", "{deny: {logins: ['*']}}");
    struct labels kept;
    struct rbac_target node = target_of(&kept, ROLE_NODE, "env=prod");
    struct rbac_decision decision;
    (void)state;
    assert_int_equal(rbac_node_access(set, &node, "root", &decision), TP_DENIED);
    assert_int_equal(decision.reason, RBAC_DENIED_BY_LABELS);
    assert_string_equal(decision.detail, "node_labels env=prod");
    assert_true(node_allowed(set, "env=dev", "root"));
    assert_false(node_allowed(none, "env=dev", "root"));
    rbac_set_free(set);
    rbac_set_free(none);
}

static void test_R5_only_canonical_logins(void **state)
{
    struct rbac_set *set = SET("u", "{\"logins\":[\"*\",\"-oops\",\"a b\",\"x:y\",\"\",\"good\"]}",
                               "{allow: {logins: ['{{internal.logins}}'], node_labels: {'*': '*'}}}");
    static const char *const bad[] = {"*", "-oops", "a b", "x:y", "", "GOOD", "good ", "good\n"};
    (void)state;
    assert_true(node_allowed(set, "", "good"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(node_allowed(set, "", bad[i]));
    rbac_set_free(set);
}

static void test_R5_nothing_set_is_denied(void **state)
{
    struct rbac_set *set = SET("u", NULL, "{}");
    struct rbac_set *empty = set_of_version("v5", "u", NULL, NULL);
    (void)state;
    assert_false(node_allowed(set, "a=b", "root"));
    assert_false(node_allowed(empty, "a=b", "root"));
    assert_false(listed(empty, ROLE_NODE, ""));
    rbac_set_free(set);
    rbac_set_free(empty);
}

static void test_logins_and_agent(void **state)
{
    struct rbac_set *set = SET("u", NULL, "{allow: {logins: [b, a], node_labels: {env: dev}}}",
                               "{allow: {logins: [b, c], node_labels: {env: '*'}}, options: {forward_agent: true}}",
                               "{allow: {logins: [d], node_labels: {env: prod}}, deny: {logins: [c]}}");
    struct labels kept;
    struct rbac_target node = target_of(&kept, ROLE_NODE, "env=dev");
    size_t count;
    struct rbac_login *logins = rbac_logins(set, &node, NULL, &count);
    (void)state;
    assert_int_equal(count, 2);
    assert_string_equal(logins[0].name, "a");
    assert_false(logins[0].forward_agent);
    assert_string_equal(logins[1].name, "b");
    assert_true(logins[1].forward_agent);
    mem_free(logins);
    rbac_set_free(set);
}

static void test_second_factor(void **state)
{
    struct rbac_set *set =
        SET("u", NULL, "{allow: {logins: [a], node_labels: {'*': '*'}}}",
            "{allow: {logins: [a], node_labels: {env: prod}}, options: {require_session_mfa: true}}");
    struct labels kept;
    struct rbac_target prod = target_of(&kept, ROLE_NODE, "env=prod");
    struct rbac_access access = {.login = "a"};
    struct rbac_decision decision;
    (void)state;
    assert_true(node_allowed(set, "env=dev", "a"));
    prod = target_of(&kept, ROLE_NODE, "env=prod");
    assert_int_equal(rbac_access(set, &prod, &access, &decision), TP_DENIED);
    assert_int_equal(decision.reason, RBAC_MFA_NEEDED);
    access.mfa_verified = true;
    assert_int_equal(rbac_access(set, &prod, &access, &decision), TP_OK);
    assert_int_equal(decision.reason, RBAC_GRANTED);
    access = (struct rbac_access){.login = "a", .cluster_mfa = ROLE_MFA_YES};
    prod = target_of(&kept, ROLE_NODE, "env=dev");
    assert_int_equal(rbac_access(set, &prod, &access, &decision), TP_DENIED);
    rbac_set_free(set);
}

/* Which second factor is asked for: of the roles that grant and of the cluster the strictest, whether it was given or not. */
static void test_which_second_factor(void **state)
{
    static const struct {
        const char *env;
        enum role_mfa cluster;
        bool mfa, hardware_key;
    } table[] = {{"dev", ROLE_MFA_NO, false, false},         {"dev", ROLE_MFA_YES, true, false},
                 {"dev", ROLE_MFA_HARDWARE_KEY, true, true}, {"prod", ROLE_MFA_NO, true, false},
                 {"prod", ROLE_MFA_YES, true, false},        {"prod", ROLE_MFA_HARDWARE_KEY_PIN, true, true},
                 {"key", ROLE_MFA_NO, true, true},           {"key", ROLE_MFA_YES, true, true}};
    struct rbac_set *set =
        SET("u", NULL, "{allow: {logins: [a], node_labels: {env: dev}}}",
            "{allow: {logins: [a], node_labels: {env: [prod, key]}}, options: {require_session_mfa: true}}",
            "{allow: {logins: [a], node_labels: {env: key}}, options: {require_session_mfa: hardware_key}}");
    (void)state;
    for (size_t i = 0; i < 2 * sizeof table / sizeof *table; i++) {
        char labels[16];
        struct labels kept;
        struct rbac_decision decision;
        bool given = i % 2 == 1;
        struct rbac_access access = {.login = "a", .cluster_mfa = table[i / 2].cluster, .mfa_verified = given};
        snprintf(labels, sizeof labels, "env=%s", table[i / 2].env);
        struct rbac_target node = target_of(&kept, ROLE_NODE, labels);
        assert_int_equal(rbac_access(set, &node, &access, &decision) == TP_OK, given || !table[i / 2].mfa);
        assert_int_equal(decision.mfa, table[i / 2].mfa);
        assert_int_equal(decision.hardware_key, table[i / 2].hardware_key);
    }
    rbac_set_free(set);
}

static void test_version_defaults(void **state)
{
    static const struct {
        const char *version, *spec;
        bool node, kube;
    } table[] = {{"v3", "{allow: {logins: [a]}}", true, true},
                 {"v3", "{}", false, true},
                 {"v3", "{allow: {logins: [a], node_labels: {}, kubernetes_labels: {}}}", false, false},
                 {"v4", "{allow: {logins: [a]}}", false, false},
                 {"v8", "{allow: {logins: [a]}}", false, false}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct rbac_set *set = set_of_version(table[i].version, "u", NULL, (const char *const[]){table[i].spec, NULL});
        assert_int_equal(listed(set, ROLE_NODE, "x=y"), table[i].node);
        assert_int_equal(listed(set, ROLE_KUBE, "x=y"), table[i].kube);
        rbac_set_free(set);
    }
}

static void test_namespaces(void **state)
{
    struct rbac_set *set = SET("u", NULL, "{allow: {namespaces: [other], logins: [a], node_labels: {'*': '*'}}}");
    struct rbac_set *all = SET("u", NULL, "{allow: {namespaces: ['*'], logins: [a], node_labels: {'*': '*'}}}");
    (void)state;
    assert_false(node_allowed(set, "", "a"));
    assert_true(node_allowed(all, "", "a"));
    rbac_set_free(set);
    rbac_set_free(all);
}

static void test_what_a_decision_says(void **state)
{
    struct rbac_set *set =
        SET("u", NULL, "{allow: {logins: [a], node_labels: {env: dev}, db_users: [bob], db_labels: {env: dev}}}",
            "{deny: {db_users: [eve]}}",
            "{deny: {kubernetes_labels: {app: tport}, kubernetes_labels_expression: 'labels.x == \"y\"'}}");
    struct labels kept;
    struct rbac_target node = target_of(&kept, ROLE_NODE, "env=dev");
    struct rbac_target db = {.kind = ROLE_DB, .name = "d", .labels = node.labels, .label_count = node.label_count};
    struct rbac_access bob = {.db_user = "bob"}, eve = {.db_user = "eve"}, nobody = {0};
    struct rbac_decision decision;
    (void)state;
    assert_int_equal(rbac_node_access(set, &node, "a", &decision), TP_OK);
    assert_true(decision.allowed);
    assert_string_equal(decision.role, "role0");
    assert_string_equal(decision.section, "allow");
    assert_string_equal(decision.detail, "node_labels env=dev");
    assert_string_equal(decision.text, "access to node allowed");
    assert_int_equal(rbac_node_access(set, &node, "b", &decision), TP_DENIED);
    assert_false(decision.allowed);
    assert_int_equal(decision.reason, RBAC_NO_LOGIN);
    assert_string_equal(decision.role, "");
    for (size_t i = 0; i < 3; i++) {
        const char *const bad[] = {"", "-x", "a b"};
        assert_int_equal(rbac_node_access(set, &node, bad[i], &decision), TP_DENIED);
        assert_int_equal(decision.reason, RBAC_BAD_INPUT);
    }
    node.label_count = 0;
    assert_int_equal(rbac_node_access(set, &node, "a", &decision), TP_DENIED);
    assert_int_equal(decision.reason, RBAC_NO_LABELS);
    assert_int_equal(rbac_access(set, &db, &bob, &decision), TP_OK);
    assert_int_equal(rbac_access(set, &db, &eve, &decision), TP_DENIED);
    assert_int_equal(decision.reason, RBAC_DENIED_BY_LOGIN);
    assert_string_equal(decision.role, "role1");
    assert_string_equal(decision.section, "deny");
    assert_string_equal(decision.detail, "db_users");
    assert_int_equal(rbac_access(set, &db, &eve, NULL), TP_DENIED);
    node.kind = ROLE_TARGET_COUNT;
    assert_int_equal(rbac_access(set, &node, &nobody, &decision), TP_DENIED);
    assert_int_equal(decision.reason, RBAC_BAD_INPUT);
    assert_false(rbac_can_list(set, &node));
    assert_string_equal(rbac_reason_name(RBAC_GRANTED), "granted");
    assert_string_equal(rbac_reason_name(RBAC_BAD_INPUT), "bad_input");
    assert_string_equal(rbac_reason_name((enum rbac_reason)(RBAC_OTHERS_NEEDED + 1)), "no_grant");
    rbac_set_free(set);
}

/* Of two roles that grant the first is named, and of two that select the node without the login none. */
static void test_the_first_role_that_grants_is_named(void **state)
{
    struct role *roles[] = {role_of("v7", "r1", "{allow: {logins: [root], node_labels: {'*': '*'}}}"),
                            role_of("v7", "r2", "{allow: {logins: [root, admin], node_labels: {env: dev}}}")};
    struct rbac_user user = {.name = "alice"};
    struct rbac_set *set = rbac_set_new(roles, 2, &user, 0);
    struct rbac_label label = {"env", "dev"};
    const struct rbac_target node = {.kind = ROLE_NODE, .name = "n", .labels = &label, .label_count = 1};
    struct rbac_decision decision;
    (void)state;
    assert_int_equal(rbac_node_access(set, &node, "root", &decision), TP_OK);
    assert_string_equal(decision.role, "r1");
    assert_string_equal(decision.detail, "node_labels *=*");
    assert_int_equal(rbac_node_access(set, &node, "admin", &decision), TP_OK);
    assert_string_equal(decision.role, "r2");
    assert_string_equal(decision.detail, "node_labels env=dev");
    assert_int_equal(rbac_node_access(set, &node, "guest", &decision), TP_DENIED);
    assert_int_equal(decision.reason, RBAC_NO_LOGIN);
    assert_string_equal(decision.role, "");
    assert_int_equal(rbac_node_access(set, &node, "root", NULL), TP_OK);
    rbac_set_free(set);
    role_unref(roles[0]);
    role_unref(roles[1]);
}

/* A label too long for the reason is cut between characters: half of one made the whole answer no JSON. */
static void test_a_reason_ends_with_a_whole_character(void **state)
{
    static const char *const characters[] = {"x", "\xc2\x80", "\u0800", "\u20ac", "\U0001f600"};
    struct rbac_set *set = SET("u", NULL, "{allow: {logins: [a], node_labels: {env: '*'}}}");
    const size_t room = sizeof(((struct rbac_decision *)NULL)->detail) - 1;
    const size_t before = strlen("node_labels env=");
    (void)state;
    for (size_t i = 0; i < sizeof characters / sizeof *characters; i++) {
        size_t size = strlen(characters[i]);
        for (size_t shift = 0; shift < 4; shift++) {
            char value[400] = "";
            struct rbac_label label = {"env", value};
            struct rbac_target node = {.kind = ROLE_NODE, .name = "n", .labels = &label, .label_count = 1};
            struct rbac_decision decision;
            memset(value, '-', shift);
            while (strlen(value) + size < sizeof value)
                memcpy(value + strlen(value), characters[i], size);
            assert_int_equal(rbac_node_access(set, &node, "a", &decision), TP_OK);
            size_t whole = (room - before - shift) / size * size;
            assert_int_equal(strlen(decision.detail), before + shift + whole);
            json_t *text = json_string(decision.detail);
            assert_non_null(text);
            json_decref(text);
        }
    }
    /* What fits stays as it is, also when it is no UTF-8. */
    struct rbac_label odd = {"env", "a\xc3"};
    struct rbac_target node = {.kind = ROLE_NODE, .name = "n", .labels = &odd, .label_count = 1};
    struct rbac_decision decision;
    assert_int_equal(rbac_node_access(set, &node, "a", &decision), TP_OK);
    assert_string_equal(decision.detail, "node_labels env=a\xc3");
    rbac_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walkthrough_nodes),
        cmocka_unit_test(test_the_first_role_that_grants_is_named),
        cmocka_unit_test(test_walkthrough_kube_lists),
        cmocka_unit_test(test_R5_denied_login_beats_another_role),
        cmocka_unit_test(test_certificate),
        cmocka_unit_test(test_member_has_no_logins),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_R5_no_grant_across_roles),
        cmocka_unit_test(test_R5_deny_labels_and_wildcard_login),
        cmocka_unit_test(test_R5_only_canonical_logins),
        cmocka_unit_test(test_R5_nothing_set_is_denied),
        cmocka_unit_test(test_logins_and_agent),
        cmocka_unit_test(test_second_factor),
        cmocka_unit_test(test_which_second_factor),
        cmocka_unit_test(test_version_defaults),
        cmocka_unit_test(test_namespaces),
        cmocka_unit_test(test_what_a_decision_says),
        cmocka_unit_test(test_a_reason_ends_with_a_whole_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

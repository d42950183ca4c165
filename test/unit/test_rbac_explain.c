/* Why, and who: the question as it is read, and each part of the answer. */
#include "rbac_help.h"

#include "base/json.h"
#include "rbac/explain.h"

#define HOUR ((int64_t)3600 * 1000)
#define NOON ((int64_t)1767268800000) /* 2026-01-01T12:00:00Z */

static struct user *user_of(const char *spec)
{
    char *text = mem_printf("{\"kind\":\"user\",\"version\":\"v2\",\"metadata\":{\"name\":\"ann\"},\"spec\":%s}", spec);
    struct tp_error error = {0};
    struct user *user = NULL;
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    if (user_parse_json(json, &user, &error))
        fail_msg("%s: %s", text, error.text);
    json_decref(json);
    mem_free(text);
    return user;
}

struct ask {
    const char *verb, *kind, *name, *login, *group;
    const char *labels; /* JSON of metadata.labels, or NULL: there is no resource */
    int64_t at;         /* or 0: noon */
    const char *lock;
};

/* Of a user with this spec, who has the roles that are given. */
static json_t *explain(const struct ask *ask, const char *user_spec, const char *const *roles)
{
    struct role *list[16];
    struct rbac_question question;
    struct tp_error error = {0};
    struct user *user = user_of(user_spec);
    json_t *resource = NULL, *answer;
    size_t count = 0;
    for (; roles[count]; count++) {
        char name[16];
        snprintf(name, sizeof name, "r%zu", count);
        list[count] = role_of("v7", name, roles[count]);
    }
    if (rbac_question_read(ask->verb, ask->kind, ask->name, &question, &error) ||
        rbac_question_as(&question, ask->login, ask->group, &error))
        fail_msg("%s", error.text);
    if (ask->labels)
        resource = json_pack("{s:{s:s, s:o}, s:{s:{s:{s:s}}}}", "metadata", "name", "x", "labels",
                             json_loads(ask->labels, 0, NULL), "spec", "cmd_labels", "load", "result", "high");
    question.resource = resource;
    question.at_ms = ask->at ? ask->at : NOON;
    answer = rbac_explain(&question, list, count, user, ask->lock);
    assert_non_null(answer);
    for (size_t i = 0; i < count; i++)
        role_unref(list[i]);
    user_free(user);
    json_decref(resource);
    return answer;
}

/* decision, reason, role, section, detail */
static void check(const char *file_line, json_t *answer, const char *const wanted[5])
{
    static const char *const keys[] = {"decision", "reason", "role", "section", "detail"};
    for (size_t i = 0; i < 5; i++) {
        const char *got = json_get_text(answer, keys[i], "(none)");
        if (strcmp(got, wanted[i]) != 0)
            fail_msg("%s: %s is \"%s\", not \"%s\"", file_line, keys[i], got, wanted[i]);
    }
    json_decref(answer);
}

#define TEXT_OF(line) #line
#define LINE_OF(line) "line " TEXT_OF(line)
#define ROLES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define CHECK(answer, ...) check(LINE_OF(__LINE__), answer, (const char *const[5]){__VA_ARGS__})

static const char dev[] = "{allow: {logins: [root], node_labels: {env: dev}}}";
static const char no_login[] = "{allow: {node_labels: {'*': '*'}, kubernetes_labels: {'*': '*'}}}";
static const char nobody[] = "{\"roles\":[]}";

static void test_questions(void **state)
{
    static const struct {
        const char *verb, *kind, *name;
        bool good, access;
    } table[] = {
        {"access", "node", "n", true, true},   {"connect", "kube_cluster", "k", true, true},
        {"ssh", "node", "n", true, true},      {"access", "node", NULL, false, false},
        {"access", "role", "r", false, false}, {"connect", "db", "d", true, true},
        {"list", "role", NULL, true, false},   {"read", "role", "r", true, false},
        {"enroll", "bot", NULL, true, false},  {"*", "role", NULL, false, false},
        {"list", "rolez", NULL, false, false}, {"list", "", NULL, false, false},
        {"raed", "role", NULL, false, false},  {"", "role", NULL, false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct rbac_question question;
        struct tp_error error = {0};
        enum tp_err err = rbac_question_read(table[i].verb, table[i].kind, table[i].name, &question, &error);
        if ((err == TP_OK) != table[i].good)
            fail_msg("%s %s: %s", table[i].verb, table[i].kind, error.text);
        if (err == TP_OK) {
            assert_int_equal(question.access, table[i].access);
            assert_string_equal(question.verb, table[i].verb);
            assert_string_equal(question.kind, table[i].kind);
            assert_ptr_equal(question.name, table[i].name);
        }
    }
}

static void test_as_whom(void **state)
{
    static const struct {
        const char *verb, *kind, *login, *group;
        bool good;
    } table[] = {
        {"access", "node", "root", NULL, true},
        {"access", "node", NULL, NULL, true},
        {"access", "node", NULL, "g", false},
        {"access", "kube_cluster", NULL, "g", true},
        {"access", "kube_cluster", NULL, NULL, true},
        {"access", "kube_cluster", "root", NULL, false},
        {"access", "kube_cluster", "root", "g", false},
        {"access", "app", NULL, NULL, true},
        {"access", "app", "root", NULL, false},
        {"access", "app", NULL, "g", false},
        {"list", "node", "root", NULL, false},
        {"list", "kube_cluster", NULL, "g", false},
        {"list", "node", NULL, NULL, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct rbac_question question;
        struct tp_error error = {0};
        assert_int_equal(rbac_question_read(table[i].verb, table[i].kind, "x", &question, &error), TP_OK);
        if ((rbac_question_as(&question, table[i].login, table[i].group, &error) == TP_OK) != table[i].good)
            fail_msg("%zu: %s", i, error.text);
    }
}

static void test_nodes(void **state)
{
    const struct ask root = {"access", "node", "n", "root", NULL, "{\"env\":\"dev\"}", 0, NULL};
    const struct ask any = {"access", "node", "n", NULL, NULL, "{\"env\":\"dev\"}", 0, NULL};
    const struct ask prod = {"ssh", "node", "n", "root", NULL, "{\"env\":\"prod\"}", 0, NULL};
    const struct ask bare = {"access", "node", "n", "root", NULL, NULL, 0, NULL};
    (void)state;
    CHECK(explain(&root, nobody, ROLES(no_login, dev)), "allow", "granted", "r1", "allow", "node_labels env=dev");
    CHECK(explain(&any, nobody, ROLES(no_login, dev)), "allow", "granted", "r0", "allow", "node_labels *=*");
    /* Labels alone let nobody in. */
    CHECK(explain(&any, nobody, ROLES(no_login)), "deny", "no_login", "", "", "no role gives a login here");
    CHECK(explain(&any, nobody, ROLES("{allow: {node_labels: {env: dev}, logins: [root]}, deny: {logins: ['*']}}")),
          "deny", "no_login", "", "", "no role gives a login here");
    CHECK(explain(&prod, nobody, ROLES(dev)), "deny", "no_labels", "", "", "");
    CHECK(explain(&bare, nobody, ROLES(dev)), "deny", "no_labels", "", "", "");
    CHECK(explain(&root, nobody, ROLES(dev, "{deny: {node_labels: {env: dev}}}")), "deny", "denied_by_labels", "r1",
          "deny", "node_labels env=dev");
    /* Labels of commands are labels. */
    CHECK(explain(&root, nobody, ROLES("{allow: {logins: [root], node_labels: {load: high}}}")), "allow", "granted",
          "r0", "allow", "node_labels load=high");
    /* Traits are the user's. */
    CHECK(explain(&root, "{\"roles\":[],\"traits\":{\"logins\":[\"root\"]}}",
                  ROLES("{allow: {logins: ['{{internal.logins}}'], node_labels: {env: dev}}}")),
          "allow", "granted", "r0", "allow", "node_labels env=dev");
    CHECK(explain(&root, nobody,
                  ROLES(dev, "{allow: {require_session_join: [{name: x, filter: 'true', kinds: [ssh], modes: [peer], "
                             "count: 1}]}}")),
          "deny", "others_needed", "r1", "allow", "require_session_join");
}

static void test_clusters(void **state)
{
    const struct ask any = {"access", "kube_cluster", "k", NULL, NULL, "{\"env\":\"dev\"}", 0, NULL};
    const struct ask group = {"access", "kube_cluster", "k", NULL, "edit", "{\"env\":\"dev\"}", 0, NULL};
    static const char users[] = "{allow: {kubernetes_labels: {env: dev}, kubernetes_users: [ann]}}";
    static const char groups[] = "{allow: {kubernetes_labels: {env: dev}, kubernetes_groups: [edit]}}";
    static const char watched[] =
        "{allow: {kubernetes_labels: {env: dev}, kubernetes_groups: [edit], require_session_join: "
        "[{name: x, filter: 'true', kinds: [ssh], modes: [peer], count: 1}]}}";
    (void)state;
    CHECK(explain(&any, nobody, ROLES(users)), "allow", "granted", "r0", "allow", "kubernetes_labels env=dev");
    CHECK(explain(&any, nobody, ROLES(groups)), "allow", "granted", "r0", "allow", "kubernetes_labels env=dev");
    CHECK(explain(&any, nobody, ROLES(no_login)), "deny", "no_login", "", "",
          "no role gives Kubernetes users or groups here");
    CHECK(explain(&group, nobody, ROLES(groups)), "allow", "granted", "r0", "allow", "kubernetes_labels env=dev");
    CHECK(explain(&group, nobody, ROLES(users)), "deny", "no_login", "", "",
          "no role gives the Kubernetes group edit here");
    /* A policy about SSH does not concern a cluster, nor an application. */
    CHECK(explain(&any, nobody, ROLES(watched)), "allow", "granted", "r0", "allow", "kubernetes_labels env=dev");
    const struct ask app = {"access", "app", "a", NULL, NULL, "{\"env\":\"dev\"}", 0, NULL};
    CHECK(explain(&app, nobody, ROLES("{allow: {app_labels: {env: dev}}}")), "allow", "granted", "r0", "allow",
          "app_labels env=dev");
}

static void test_rules(void **state)
{
    const struct ask list = {"list", "token", NULL, NULL, NULL, NULL, 0, NULL};
    const struct ask read = {"read", "role", "x", NULL, NULL, "{\"env\":\"dev\"}", 0, NULL};
    (void)state;
    CHECK(explain(&list, nobody, ROLES("{allow: {rules: [{resources: [token], verbs: [list]}]}}")), "allow", "granted",
          "r0", "allow", "rule on \"token\"");
    CHECK(explain(&list, nobody, ROLES("{}")), "deny", "no_grant", "", "", "");
    CHECK(explain(&read, nobody,
                  ROLES("{allow: {rules: [{resources: [role], verbs: [read], where: "
                        "'resource.metadata.labels[\"env\"] == \"dev\"'}]}}")),
          "allow", "granted", "r0", "allow", "rule on \"role\" where resource.metadata.labels[\"env\"] == \"dev\"");
    /* The roles in a predicate are the user's, also those that are not there any more. */
    CHECK(
        explain(
            &read, "{\"roles\":[\"gone\",\"r0\"]}",
            ROLES("{allow: {rules: [{resources: [role], verbs: [read], where: 'contains(user.spec.roles, \"gone\") && "
                  "contains(user.spec.roles, \"r0\")'}]}}")),
        "allow", "granted", "r0", "allow",
        "rule on \"role\" where contains(user.spec.roles, \"gone\") && contains(user.spec.roles, \"r0\")");
    /* The implicit role speaks in the whole answer, not in that of one role. */
    const struct ask node = {"list", "node", NULL, NULL, NULL, NULL, 0, NULL};
    json_t *answer = explain(&node, nobody, ROLES("{}"));
    assert_string_equal(json_get_text(answer, "decision", ""), "allow");
    assert_string_equal(json_get_text(json_array_get(json_object_get(answer, "roles"), 0), "answer", ""), "none");
    json_decref(answer);
}

struct said {
    const char *role, *answer, *reason, *detail;
};

static void check_roles(const struct ask *ask, const char *const *roles, const struct said *wanted)
{
    json_t *answer = explain(ask, "{\"roles\":[],\"traits\":{\"team\":[\"a\"]}}", roles);
    const json_t *list = json_object_get(answer, "roles");
    size_t i = 0;
    for (; roles[i]; i++) {
        const json_t *one = json_array_get(list, i);
        const char *got[] = {json_get_text(one, "role", ""), json_get_text(one, "answer", ""),
                             json_get_text(one, "reason", ""), json_get_text(one, "detail", "")};
        const char *want[] = {wanted[i].role, wanted[i].answer, wanted[i].reason, wanted[i].detail};
        for (size_t j = 0; j < 4; j++)
            if (strcmp(got[j], want[j]) != 0)
                fail_msg("%s: \"%s\", not \"%s\"", wanted[i].role, got[j], want[j]);
    }
    assert_int_equal(json_array_size(list), i);
    json_decref(answer);
}

/* For each role why it grants or does not: the first label that differs, the logins it gives instead. */
static void test_each_role_by_itself(void **state)
{
    const struct ask root = {"access", "node", "n", "root", NULL, "{\"env\":\"dev\"}", 0, NULL};
    (void)state;
    check_roles(
        &root,
        ROLES(no_login, dev, "{deny: {logins: [root]}}", "{}", "{allow: {logins: [root], node_labels: {env: prod}}}",
              "{allow: {logins: [root], node_labels: {env: [dev], team: a}}}",
              "{allow: {logins: [root], node_labels: {'{{external.none}}': a}}}",
              "{allow: {logins: [root], node_labels_expression: 'labels.env == \"prod\"'}}",
              "{allow: {logins: [root], node_labels: {env: dev}, node_labels_expression: 'labels.env == \"prod\"'}}",
              "{allow: {logins: [root], node_labels: {env: dev}, namespaces: [other]}}",
              "{allow: {logins: [root], node_labels: {'*': '*'}, node_labels_expression: 'labels.env == \"prod\"'}}",
              "{allow: {logins: [admin, '{{external.team}}'], node_labels: {'*': '*'}}}"),
        (const struct said[]){
            {"r0", "none", "no_login", "it gives no logins"},
            {"r1", "allow", "granted", "node_labels env=dev"},
            {"r2", "deny", "denied_by_login", "logins root"},
            {"r3", "none", "no_labels", "no node_labels"},
            {"r4", "none", "no_labels", "node_labels: env is dev here"},
            {"r5", "none", "no_labels", "node_labels: team is not set here"},
            {"r6", "none", "no_labels", "node_labels: a key that no trait fills is not set here"},
            {"r7", "none", "no_labels", "node_labels_expression is not true here"},
            {"r8", "none", "no_labels", "node_labels_expression is not true here"},
            {"r9", "none", "no_labels", "its namespaces are others"},
            {"r10", "none", "no_labels", "node_labels_expression is not true here"},
            {"r11", "none", "no_login", "its logins are admin, a"},
        });
    /* Without a login, and on a cluster, what is missing is said already. */
    const struct ask any = {"access", "node", "n", NULL, NULL, "{\"env\":\"dev\"}", 0, NULL};
    check_roles(&any, ROLES(no_login), (const struct said[]){{"r0", "none", "no_login", "no role gives a login here"}});
    const struct ask group = {"access", "kube_cluster", "k", NULL, "edit", "{}", 0, NULL};
    check_roles(&group, ROLES(no_login),
                (const struct said[]){{"r0", "none", "no_login", "no role gives the Kubernetes group edit here"}});
    json_t *answer = explain(&root, nobody, ROLES(dev));
    assert_string_equal(json_get_text(answer, "user", ""), "ann");
    assert_string_equal(json_get_text(answer, "login", ""), "root");
    json_decref(answer);
}

/* An expression that did not parse when the role was read from the store. */
static void test_a_broken_expression_is_named(void **state)
{
    static const char text[] = "{kind: role, version: v7, metadata: {name: old}, spec: {allow: {logins: [root], "
                               "node_labels_expression: 'labels.env == '}}}";
    struct rbac_question question;
    struct role *role = NULL;
    struct user *user = user_of(nobody);
    (void)state;
    assert_int_equal(role_parse_text(text, strlen(text), "old", ROLE_STORED, &role, NULL), TP_OK);
    assert_int_equal(rbac_question_read("access", "node", "n", &question, NULL), TP_OK);
    json_t *answer = rbac_explain(&question, &role, 1, user, NULL);
    assert_string_equal(json_get_text(json_array_get(json_object_get(answer, "roles"), 0), "detail", ""),
                        "node_labels_expression is not true here");
    json_decref(answer);
    role_unref(role);
    user_free(user);
}

/* More logins than there is room for are cut, and nothing is written behind the room. */
static void test_many_logins_fit(void **state)
{
    const struct ask root = {"access", "node", "n", "root", NULL, "{\"env\":\"dev\"}", 0, NULL};
    char list[2048] = "";
    (void)state;
    for (int i = 0; i < 60; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%slogin-number-%d", i > 0 ? "," : "", i);
    char *role = mem_printf("{allow: {logins: [%s], node_labels: {env: dev}}}", list);
    json_t *answer = explain(&root, nobody, ROLES(role));
    const char *detail = json_get_text(json_array_get(json_object_get(answer, "roles"), 0), "detail", "");
    assert_int_equal(strlen(detail), sizeof(((struct rbac_decision *)NULL)->detail) - 1);
    assert_int_equal(strncmp(detail, "its logins are login-number-0, login-number-1, ", 46), 0);
    json_decref(answer);
    mem_free(role);
}

/* A kind as a whole: allowed for those of it for which the condition holds. One that is named: for it, or not. */
static void test_conditions(void **state)
{
    static const char by_label[] =
        "{allow: {rules: [{resources: [role], verbs: [list], where: 'resource.metadata.labels[\"env\"] == \"dev\"'}]}}";
    static const char rule[] = "rule on \"role\" where resource.metadata.labels[\"env\"] == \"dev\"";
    const struct ask all = {"list", "role", NULL, NULL, NULL, NULL, 0, NULL};
    const struct ask dev_role = {"list", "role", "x", NULL, NULL, "{\"env\":\"dev\"}", 0, NULL};
    const struct ask prod_role = {"list", "role", "x", NULL, NULL, "{\"env\":\"prod\"}", 0, NULL};
    const struct ask node = {"access", "node", "n", NULL, NULL, "{\"env\":\"dev\"}", 0, NULL};
    const struct {
        const struct ask *ask;
        const char *role;
        bool conditional;
    } table[] = {{&all, by_label, true},        {&all, "{allow: {rules: [{resources: [role], verbs: [list]}]}}", false},
                 {&all, "{}", false},           {&dev_role, by_label, false},
                 {&prod_role, by_label, false}, {&node, dev, false}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        json_t *answer = explain(table[i].ask, nobody, ROLES(table[i].role));
        if (json_get_bool(answer, "conditional", !table[i].conditional) != table[i].conditional)
            fail_msg("%zu: conditional is not %d", i, table[i].conditional);
        json_decref(answer);
    }
    CHECK(explain(&all, nobody, ROLES(by_label)), "allow", "granted", "r0", "allow", rule);
    CHECK(explain(&dev_role, nobody, ROLES(by_label)), "allow", "granted", "r0", "allow", rule);
    CHECK(explain(&prod_role, nobody, ROLES(by_label)), "deny", "no_grant", "", "", "");
    check_roles(&prod_role, ROLES(by_label, "{}"),
                (const struct said[]){
                    {"r0", "none", "no_grant",
                     "rule on \"role\" where resource.metadata.labels[\"env\"] == \"dev\" does not hold here"},
                    {"r1", "none", "no_grant", ""}});
    check_roles(&dev_role, ROLES(by_label), (const struct said[]){{"r0", "allow", "granted", rule}});
    /* A session that needs others is no question of rules. */
    const struct ask alone = {"access", "node", "n", "root", NULL, "{\"env\":\"dev\"}", 0, NULL};
    check_roles(&alone,
                ROLES("{allow: {logins: [root], node_labels: {env: dev}, require_session_join: [{name: x, filter: "
                      "'true', kinds: [ssh], "
                      "modes: [peer], count: 1}]}}"),
                (const struct said[]){{"r0", "none", "others_needed", "require_session_join"}});
}

static void test_who_is_locked_or_gone(void **state)
{
    const struct ask root = {"access", "node", "n", "root", NULL, "{\"env\":\"dev\"}", 0, NULL};
    const struct ask before = {"access", "node", "n", "root", NULL, "{\"env\":\"dev\"}", NOON - HOUR, NULL};
    const struct ask locked = {"access", "node", "n", "root", NULL, "{\"env\":\"dev\"}", 0, "of a test"};
    static const char gone[] = "{\"roles\":[],\"expires\":\"2026-01-01T12:00:00Z\"}";
    static const char shut[] = "{\"roles\":[],\"status\":{\"is_locked\":true}}";
    static const char shut_to_noon[] =
        "{\"roles\":[],\"status\":{\"is_locked\":true,\"lock_expires\":\"2026-01-01T12:00:00Z\"}}";
    static const char open[] =
        "{\"roles\":[],\"status\":{\"is_locked\":false,\"lock_expires\":\"2026-01-01T13:00:00Z\"}}";
    (void)state;
    CHECK(explain(&locked, nobody, ROLES(dev)), "deny", "locked", "", "", "lock of a test");
    CHECK(explain(&root, gone, ROLES(dev)), "deny", "locked", "", "", "the user is locked or expired");
    CHECK(explain(&before, gone, ROLES(dev)), "allow", "granted", "r0", "allow", "node_labels env=dev");
    CHECK(explain(&root, shut, ROLES(dev)), "deny", "locked", "", "", "the user is locked or expired");
    CHECK(explain(&before, shut_to_noon, ROLES(dev)), "deny", "locked", "", "", "the user is locked or expired");
    CHECK(explain(&root, shut_to_noon, ROLES(dev)), "allow", "granted", "r0", "allow", "node_labels env=dev");
    CHECK(explain(&root, open, ROLES(dev)), "allow", "granted", "r0", "allow", "node_labels env=dev");
}

static void test_which_second_factor(void **state)
{
    const struct ask root = {"access", "node", "n", "root", NULL, "{\"env\":\"dev\"}", 0, NULL};
    static const struct {
        const char *role, *mfa;
    } table[] = {{"{allow: {logins: [root], node_labels: {env: dev}}}", "none"},
                 {"{allow: {logins: [root], node_labels: {env: dev}}, options: {require_session_mfa: true}}", "code"},
                 {"{allow: {logins: [root], node_labels: {env: dev}}, options: {require_session_mfa: hardware_key}}",
                  "hardware_key"}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        json_t *answer = explain(&root, nobody, ROLES(table[i].role));
        assert_string_equal(json_get_text(answer, "mfa", ""), table[i].mfa);
        assert_string_equal(json_get_text(answer, "decision", ""), "allow");
        json_decref(answer);
    }
}

/* A trusted device counts as given, too. */
static void test_devices_count_as_given(void **state)
{
    const struct ask root = {"access", "node", "n", "root", NULL, "{\"env\":\"dev\"}", 0, NULL};
    (void)state;
    CHECK(explain(&root, nobody,
                  ROLES("{allow: {logins: [root], node_labels: {env: dev}}, options: {device_trust_mode: required}}")),
          "allow", "granted", "r0", "allow", "node_labels env=dev");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_as_whom),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_clusters),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_each_role_by_itself),
        cmocka_unit_test(test_a_broken_expression_is_named),
        cmocka_unit_test(test_many_logins_fit),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_who_is_locked_or_gone),
        cmocka_unit_test(test_which_second_factor),
        cmocka_unit_test(test_devices_count_as_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

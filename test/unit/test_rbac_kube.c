/* Kubernetes subjects and rules. The wide tables are in test/rbac/cases; here is one row for each sentence. */
#include "rbac_help.h"

#include "rbac/kube.h"

static const char *const labels = "kubernetes_labels: {'*': '*'}, kubernetes_groups: [g]";

struct row {
    const char *version;
    const char *allow; /* kubernetes_resources, or NULL: absent */
    const char *deny;
    const char *kind, *group, *name_space, *name, *verb;
    bool collection;
    enum rbac_kube_answer answer;
};

#define DENY RBAC_KUBE_DENY
#define ALLOW RBAC_KUBE_ALLOW
#define FILTER RBAC_KUBE_FILTER
#define POD(ns, name) "[{kind: pod, namespace: '" ns "', name: '" name "', verbs: ['*']}]"
#define POD6(ns, name) "[{kind: pod, namespace: '" ns "', name: '" name "'}]"
#define EVERY8(ns) "[{kind: '*', api_group: '*', namespace: '" ns "', name: '*', verbs: ['*']}]"

static const struct row rows[] = {
    {"v5", NULL, NULL, "pods", "", "default", "p", "get", false, ALLOW},
    {"v5", NULL, NULL, "widgets", "example.com", "default", "w", "get", false, ALLOW},
    {"v6", NULL, NULL, "pods", "", "default", "p", "get", false, DENY},
    {"v6", NULL, NULL, "secrets", "", "default", "p", "get", false, ALLOW},
    {"v6", POD6("a", "*"), NULL, "pods", "", "a", "p", "exec", false, ALLOW},
    {"v6", POD6("a", "*"), NULL, "pods", "", "b", "p", "exec", false, DENY},
    {"v6", POD6("a", "*"), NULL, "widgets", "example.com", "a", "w", "get", false, DENY},
    {"v6", POD6("*", "*"), NULL, "widgets", "example.com", "a", "w", "get", false, ALLOW},
    {"v7", NULL, NULL, "widgets", "example.com", "a", "w", "get", false, ALLOW},
    {"v7", POD("a", "w*"), NULL, "pods", "", "a", "web", "get", false, ALLOW},
    {"v7", POD("a", "w*"), NULL, "pod", NULL, "a", "web", "get", false, ALLOW},
    {"v7", POD("a", "w*"), NULL, "pods", "", "a", "db", "get", false, DENY},
    {"v7", POD("a", "w*"), NULL, "pods", "metrics.k8s.io", "a", "web", "get", false, DENY},
    {"v7", POD("^[ab]$", "*"), NULL, "pods", "", "b", "db", "get", false, ALLOW},
    {"v7", "[{kind: namespace, name: dev, verbs: ['*']}]", NULL, "secrets", "", "dev", "s", "delete", false, ALLOW},
    {"v7", "[{kind: namespace, name: dev, verbs: ['*']}]", NULL, "namespaces", "", "", "dev", "delete", false, ALLOW},
    {"v7", "[{kind: namespace, name: dev, verbs: ['*']}]", NULL, "secrets", "", "prod", "s", "get", false, DENY},
    {"v7", POD("dev", "*"), NULL, "namespaces", "", "", "dev", "get", false, ALLOW},
    {"v7", POD("dev", "*"), NULL, "namespaces", "", "", "dev", "delete", false, DENY},
    {"v7", POD("dev", "*"), NULL, "namespaces", "", "", "prod", "get", false, DENY},
    {"v7", NULL, POD("dev", "*"), "namespaces", "", "", "dev", "get", false, ALLOW},
    {"v7", NULL, "[{kind: deployment, namespace: '*', name: '*', verbs: ['*']}]", "deployments", "extensions", "a", "d",
     "get", false, DENY},
    {"v7", "[{kind: '*', namespace: dev, name: '*', verbs: ['*']}]", NULL, "nodes", "", "", "n", "get", false, ALLOW},
    {"v7", "[{kind: service, namespace: a, name: '*', verbs: ['*']}]", NULL, "endpoints", "", "a", "s", "get", false,
     ALLOW},
    {"v7", NULL, "[{kind: service, namespace: a, name: '*', verbs: ['*']}]", "endpoints", "", "a", "s", "get", false,
     DENY},
    {"v8", EVERY8("dev"), NULL, "nodes", "", "", "n", "get", false, DENY},
    {"v8", EVERY8("*"), NULL, "nodes", "", "", "n", "get", false, ALLOW},
    {"v8", EVERY8("^.+$"), NULL, "nodes", "", "", "n", "get", false, DENY},
    {"v8", EVERY8(""), NULL, "nodes", "", "", "n", "get", false, ALLOW},
    {"v8", EVERY8(""), NULL, "pods", "", "a", "p", "get", false, DENY},
    {"v8", "[{kind: deployments, api_group: apps, namespace: '*', name: '*', verbs: [get]}]", NULL, "deployments",
     "apps", "a", "d", "get", false, ALLOW},
    {"v8", "[{kind: deployments, api_group: apps, namespace: '*', name: '*', verbs: [get]}]", NULL, "deployments",
     "batch", "a", "d", "get", false, DENY},
    {"v7", NULL, NULL, "pods", "", "", "", "list", true, ALLOW},
    {"v7", POD("a", "*"), NULL, "pods", "", "a", "", "list", true, ALLOW},
    {"v7", POD("a", "*"), NULL, "pods", "", "", "", "list", true, FILTER},
    {"v7", POD("a", "*"), NULL, "pods", "", "b", "", "list", true, DENY},
    {"v7", POD("a", "*"), NULL, "secrets", "", "a", "", "list", true, DENY},
    {"v7", NULL, POD("a", "*"), "pods", "", "a", "", "list", true, DENY},
    {"v7", NULL, POD("a", "*"), "pods", "", "", "", "list", true, FILTER},
    {"v7", NULL, POD("*", "*"), "pods", "", "", "", "list", true, DENY},
    {"v7", NULL, POD("a", "db-*"), "pods", "", "a", "", "list", true, FILTER},
    {"v7", NULL, POD("a", "*"), "secrets", "", "a", "", "list", true, ALLOW},
    {"v7", POD("a", "*"), NULL, "namespaces", "", "", "", "list", true, FILTER},
    {"v7", POD("a", "*"), NULL, "namespaces", "", "", "", "deletecollection", true, DENY},
    /* Nobody lists what is not said: an unknown verb, an empty kind. */
    {"v7", POD("a", "*"), NULL, "", "", "a", "p", "get", false, DENY},
};

static struct rbac_set *set_with(const struct row *row)
{
    char *spec = mem_printf("{allow: {%s%s%s}%s%s%s}", labels, row->allow ? ", kubernetes_resources: " : "",
                            row->allow ? row->allow : "", row->deny ? ", deny: {kubernetes_resources: " : "",
                            row->deny ? row->deny : "", row->deny ? "}" : "");
    struct rbac_set *set = set_of_version(row->version, "alice", NULL, (const char *const[]){spec, NULL});
    mem_free(spec);
    return set;
}

static void test_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        struct rbac_set *set = set_with(row);
        struct rbac_target target = {.kind = ROLE_KUBE, .name = "k1"};
        struct rbac_kube_request request = {row->kind,       row->group, row->name_space, row->name, row->verb,
                                            row->collection, NULL};
        json_t *resources = rbac_kube_resources(set, &target);
        struct rbac_kube_rules *rules = NULL;
        struct tp_error error = {0};
        if (rbac_kube_rules_new(resources, &rules, &error))
            fail_msg("row %zu: %s", i, error.text);
        if (rbac_kube_check(rules, &request) != row->answer)
            fail_msg("row %zu (%s %s %s/%s): answer %d", i, row->version, row->kind, row->name_space, row->name,
                     (int)rbac_kube_check(rules, &request));
        assert_int_equal(rbac_kube_access(set, &target, &(struct rbac_access){0}, &request, NULL) == TP_OK,
                         row->answer != RBAC_KUBE_DENY);
        rbac_kube_rules_free(rules);
        json_decref(resources);
        rbac_set_free(set);
    }
}

static void test_open(void **state)
{
    (void)state;
    static const struct {
        const char *version, *allow, *deny;
        bool open;
    } open[] = {{"v5", NULL, NULL, true},           {"v7", NULL, NULL, true},
                {"v7", NULL, POD("a", "b"), false}, {"v7", POD("*", "*"), NULL, false},
                {"v8", EVERY8("*"), NULL, true},    {"v8", EVERY8("^.+$"), NULL, false}};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        struct row row = {.version = open[i].version, .allow = open[i].allow, .deny = open[i].deny};
        struct rbac_set *set = set_with(&row);
        json_t *resources = rbac_kube_resources(set, &(struct rbac_target){.kind = ROLE_KUBE});
        struct rbac_kube_rules *rules = NULL;
        assert_int_equal(rbac_kube_rules_new(resources, &rules, NULL), TP_OK);
        assert_int_equal(rbac_kube_rules_open(rules), open[i].open);
        rbac_kube_rules_free(rules);
        json_decref(resources);
        rbac_set_free(set);
    }
}

static void check_subjects(const struct rbac_set *set, const char *text, int64_t ttl_ms, const char *expected)
{
    struct labels list;
    struct rbac_target target = target_of(&list, ROLE_KUBE, text);
    json_t *users, *groups, *both;
    char *found;
    rbac_kube_subjects(set, &target, ttl_ms, &users, &groups);
    both = json_pack("[o, o]", users, groups);
    found = json_dumps(both, JSON_COMPACT);
    assert_string_equal(found, expected);
    free(found);
    json_decref(both);
}

static void test_subjects(void **state)
{
    (void)state;
    struct rbac_set *set =
        SET("alice", "{\"kubernetes_groups\": [\"edit\"]}",
            "{allow: {kubernetes_labels: {env: dev}, kubernetes_groups: ['{{internal.kubernetes_groups}}', b, a], "
            "kubernetes_users: ['{{internal.kubernetes_users}}', dev]}, options: {max_session_ttl: 1h}}",
            "{allow: {kubernetes_labels: {'*': '*'}, kubernetes_groups: [c, d]}, deny: {kubernetes_groups: [b]}}",
            "{deny: {kubernetes_groups: [d], kubernetes_labels: {env: prod}}}");
    check_subjects(set, "env=dev", 0, "[[\"dev\"],[\"a\",\"c\",\"d\",\"edit\"]]");
    check_subjects(set, "env=dev", 7200000, "[[],[\"c\",\"d\"]]");
    check_subjects(set, "env=prod", 0, "[[],[\"c\"]]");
    rbac_set_free(set);
}

static void test_rules_of_a_stranger_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"{}", "{\"allowed\": []}", "{\"allowed\": [{}], \"denied\": []}",
                                        "{\"allowed\": [{\"kind\": \"pods\"}], \"denied\": []}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        json_t *json = json_loads(wrong[i], 0, NULL);
        struct rbac_kube_rules *rules = NULL;
        assert_int_equal(rbac_kube_rules_new(json, &rules, NULL), TP_INVALID);
        json_decref(json);
    }
}

/* A pattern that does not compile allows nothing and denies everything it could be meant for. */
static void test_broken_pattern_fails_closed(void **state)
{
    (void)state;
    static const char rule[] = "{\"kind\": \"pods\", \"api_group\": \"\", \"namespace\": \"*\", \"name\": \"^(($\", "
                               "\"verbs\": [\"*\"]}";
    struct rbac_kube_request request = {"pods", "", "a", "p", "get", false, NULL};
    for (int deny = 0; deny < 2; deny++) {
        char *text = deny ? mem_printf("{\"allowed\": [{\"kind\": \"*\", \"api_group\": \"*\", \"namespace\": \"*\", "
                                       "\"name\": \"*\", \"verbs\": [\"*\"]}], \"denied\": [%s]}",
                                       rule)
                          : mem_printf("{\"allowed\": [%s], \"denied\": []}", rule);
        json_t *json = json_loads(text, 0, NULL);
        struct rbac_kube_rules *rules = NULL;
        assert_int_equal(rbac_kube_rules_new(json, &rules, NULL), TP_OK);
        assert_int_equal(rbac_kube_check(rules, &request), RBAC_KUBE_DENY);
        rbac_kube_rules_free(rules);
        json_decref(json);
        mem_free(text);
    }
}

static json_t *rule_json(const char *kind, const char *group, const char *name_space, const char *name,
                         const char *verb)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:[s]}", "kind", kind, "api_group", group, "namespace", name_space, "name",
                     name, "verbs", verb);
}

static struct rbac_kube_rules *rules_with(json_t *allowed, json_t *denied)
{
    json_t *resources = json_pack("{s:[o], s:o}", "allowed", allowed, "denied", denied ? denied : json_array());
    struct rbac_kube_rules *rules = NULL;
    struct tp_error error = {0};
    assert_int_equal(rbac_kube_rules_new(resources, &rules, &error), TP_OK);
    json_decref(resources);
    return rules;
}

/* Only what refuses nothing at all needs no filter. */
static void test_what_is_open(void **state)
{
    static const char *const parts[][5] = {{"*", "*", "*", "*", "*"},  {"pods", "*", "*", "*", "*"},
                                           {"*", "", "*", "*", "*"},   {"*", "*", "^.+$", "*", "*"},
                                           {"*", "*", "*", "a*", "*"}, {"*", "*", "*", "*", "get"}};
    (void)state;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct rbac_kube_rules *rules =
            rules_with(rule_json(parts[i][0], parts[i][1], parts[i][2], parts[i][3], parts[i][4]), NULL);
        assert_true(rbac_kube_rules_open(rules) == (i == 0));
        rbac_kube_rules_free(rules);
    }
    struct rbac_kube_rules *rules =
        rules_with(rule_json("*", "*", "*", "*", "*"), json_pack("[o]", rule_json("pods", "", "dev", "x", "get")));
    assert_false(rbac_kube_rules_open(rules));
    rbac_kube_rules_free(rules);
    rbac_kube_rules_free(NULL);
}

/* A deny inside a namespace leaves nothing out of a list of namespaces, and something out of one of pods. */
static void test_what_has_to_be_filtered(void **state)
{
    struct rbac_kube_rules *rules =
        rules_with(rule_json("*", "*", "*", "*", "*"), json_pack("[o]", rule_json("pods", "", "dev", "*", "*")));
    struct rbac_kube_request request = {.kind = "namespaces", .verb = "list", .collection = true};
    (void)state;
    assert_int_equal(rbac_kube_check(rules, &request), ALLOW);
    request.kind = "pods";
    assert_int_equal(rbac_kube_check(rules, &request), FILTER);
    request.name_space = "prod";
    assert_int_equal(rbac_kube_check(rules, &request), ALLOW);
    request.name_space = "dev";
    assert_int_equal(rbac_kube_check(rules, &request), DENY);
    request = (struct rbac_kube_request){0}; /* absent texts are empty ones */
    assert_int_equal(rbac_kube_check(rules, &request), ALLOW);
    rbac_kube_rules_free(rules);
}

/* What is proxied has a second name, with scheme and port: each denies, and allows only when a rule has just that. */
static void test_a_written_name(void **state)
{
    static const struct {
        const char *allowed, *denied, *name, *written, *verb;
        enum rbac_kube_answer answer;
    } table[] = {{"web", "x", "web", "web:80", "get", ALLOW},      {"web:80", "x", "web", "web:80", "get", ALLOW},
                 {"web:80", "x", "web", "web:81", "get", DENY},    {"web:80", "x", "web", NULL, "get", DENY},
                 {"web:*", "x", "web", "web:80", "get", DENY},     {"http*", "x", "web", "http:web:80", "get", DENY},
                 {"web:80", "x", "web", "web:80", "update", DENY}, {"web:80", "web", "web", "web:80", "get", DENY},
                 {"web", "web:80", "web", "web:80", "get", DENY},  {"web", "*:80", "web", "web:80", "get", DENY},
                 {"web", "*:80", "web", "web:81", "get", ALLOW}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct rbac_kube_rules *rules =
            rules_with(rule_json("services", "", "a", table[i].allowed, "get"),
                       json_pack("[o]", rule_json("services", "", "a", table[i].denied, "get")));
        const struct rbac_kube_request request = {.kind = "services",
                                                  .name_space = "a",
                                                  .name = table[i].name,
                                                  .verb = table[i].verb,
                                                  .written = table[i].written};
        if (rbac_kube_check(rules, &request) != table[i].answer)
            fail_msg("row %zu", i);
        rbac_kube_rules_free(rules);
    }
}

static void test_rules_are_bounded_and_whole(void **state)
{
    json_t *rule = rule_json("pods", "", "dev", "*", "get");
    json_t *many = json_array();
    json_t *resources = json_pack("{s:O, s:[]}", "allowed", many, "denied");
    struct rbac_kube_rules *rules = NULL;
    (void)state;
    for (size_t i = 0; i < 100000; i++)
        json_array_append(many, rule);
    assert_int_equal(rbac_kube_rules_new(resources, &rules, NULL), TP_OK);
    rbac_kube_rules_free(rules);
    json_array_append(many, rule);
    assert_int_equal(rbac_kube_rules_new(resources, &rules, NULL), TP_INVALID);
    json_array_clear(many);
    json_array_append_new(many, json_pack("{s:[s]}", "verbs", "get"));
    assert_int_equal(rbac_kube_rules_new(resources, &rules, NULL), TP_INVALID);
    json_array_clear(many);
    json_array_append_new(
        many, json_pack("{s:s, s:s, s:s, s:[i, s]}", "kind", "pods", "namespace", "*", "name", "*", "verbs", 5, "get"));
    assert_int_equal(rbac_kube_rules_new(resources, &rules, NULL), TP_OK);
    const struct rbac_kube_request request = {.kind = "pods", .name_space = "a", .name = "b", .verb = "get"};
    assert_int_equal(rbac_kube_check(rules, &request), ALLOW);
    rbac_kube_rules_free(rules);
    json_decref(resources);
    json_decref(many);
    json_decref(rule);
    assert_string_equal(rbac_kube_plural("pod", NULL), "pods");
    assert_string_equal(rbac_kube_plural("widgets", NULL), "widgets");
}

/* What two roles both give is there once. */
static void test_nothing_twice(void **state)
{
    static const char spec[] =
        "{allow: {kubernetes_labels: {'*': '*'}, kubernetes_groups: [b, a], kubernetes_users: [u], "
        "kubernetes_resources: [{kind: pod, namespace: dev, name: '*', verbs: [get]}]}}";
    struct role *roles[] = {role_of("v7", "r1", spec), role_of("v7", "r2", spec)};
    struct rbac_user user = {.name = "alice"};
    struct rbac_set *set = rbac_set_new(roles, 2, &user, 0);
    const struct rbac_target target = {.kind = ROLE_KUBE, .name = "k"};
    json_t *users, *groups;
    json_t *resources = rbac_kube_resources(set, &target);
    (void)state;
    rbac_kube_subjects(set, &target, 0, &users, &groups);
    assert_int_equal(json_array_size(users), 1);
    assert_int_equal(json_array_size(groups), 2);
    assert_string_equal(json_string_value(json_array_get(groups, 0)), "a");
    assert_int_equal(json_array_size(json_object_get(resources, "allowed")), 1);
    json_decref(users);
    json_decref(groups);
    json_decref(resources);
    rbac_set_free(set);
    role_unref(roles[0]);
    role_unref(roles[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_subjects),
        cmocka_unit_test(test_rules_of_a_stranger_are_refused),
        cmocka_unit_test(test_broken_pattern_fails_closed),
        cmocka_unit_test(test_what_is_open),
        cmocka_unit_test(test_what_has_to_be_filtered),
        cmocka_unit_test(test_a_written_name),
        cmocka_unit_test(test_rules_are_bounded_and_whole),
        cmocka_unit_test(test_nothing_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

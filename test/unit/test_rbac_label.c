#include "rbac_help.h"

#include "rbac/pattern.h"

static const struct {
    const char *selector; /* of node_labels */
    const char *labels;
    bool match;
} table[] = {
    {"{}", "", false},
    {"{}", "a=1", false},
    {"{'*': '*'}", "", true},
    {"{'*': '*'}", "a=1", true},
    {"{'*': ['*']}", "", true},
    {"{a: '1'}", "a=1", true},
    {"{a: 1}", "a=1", true},
    {"{a: '1'}", "a=2", false},
    {"{a: '1'}", "", false},
    {"{a: '1'}", "A=1", false},
    {"{a: x}", "a=X", false},
    {"{a: '1', b: '2'}", "a=1 b=2", true},
    {"{a: '1', b: '2'}", "a=1", false},
    {"{a: ['1', '2']}", "a=2", true},
    {"{a: ['1', '2']}", "a=3", false},
    {"{a: []}", "a=3", false},
    {"{a: '*'}", "a=3", true},
    {"{a: '*'}", "b=3", false},
    {"{a: 'web-*'}", "a=web-1", true},
    {"{a: 'web-*'}", "a=my-web-1", false},
    {"{a: '*-web-*'}", "a=my-web-1", true},
    {"{a: 'w.b*'}", "a=web", false},
    {"{a: '^web-[0-9]+$'}", "a=web-12", true},
    {"{a: '^web-[0-9]+$'}", "a=web-x", false},
    {"{a: '^web$'}", "a=web\n", false},
    {"{a: '^(?i)WEB$'}", "a=web", true},
    {"{a: ''}", "a=", true},
    {"{a: ''}", "a=x", false},
    {"{a: '{{external.none}}'}", "a=", false},
    {"{a: ['{{external.none}}', x]}", "a=x", true},
    {"{a: '{{external.team}}'}", "a=red", true},
    {"{a: '{{external.team}}-*'}", "a=blue-7", true},
    {"{'{{external.key}}': x}", "k1=x", true},
    {"{'{{external.key}}': x}", "k2=x", false},
    {"{'{{external.none}}': x}", "=x", false},
    {"{'{{external.none}}': x}", "", false},
};

static void test_labels(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char *spec = mem_printf("{allow: {node_labels: %s}}", table[i].selector);
        struct rbac_set *set = SET("u", "{\"team\":[\"red\",\"blue\"],\"key\":[\"k1\",\"k2\"]}", spec);
        struct labels labels;
        struct rbac_target node = target_of(&labels, ROLE_NODE, table[i].labels);
        if (rbac_can_list(set, &node) != table[i].match)
            fail_msg("%s on %s: expected %d", table[i].selector, table[i].labels, table[i].match);
        rbac_set_free(set);
        mem_free(spec);
    }
}

static void test_bad_selectors_are_refused(void **state)
{
    static const char *const bad[] = {
        "{'*': x}", "{'*': ['*', x]}", "{a: '^($'}",     "{a: '{{external.x'}", "{a: {b: c}}",
        "[a]",      "{a: '^(?=x)$'}",  "{a: '^(a)\\1$'}"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *text =
            mem_printf("{kind: role, version: v5, metadata: {name: r}, spec: {allow: {node_labels: %s}}}", bad[i]);
        struct role *role = NULL;
        struct tp_error error = {0};
        if (role_parse_text(text, strlen(text), "test", ROLE_WRITTEN, &role, &error) != TP_INVALID)
            fail_msg("%s was taken", bad[i]);
        assert_non_null(strstr(error.text, "line 1"));
        mem_free(text);
    }
}

/* An expression that costs too much cannot be told: it grants nothing and denies. */
static void test_R5_costly_expression_denies(void **state)
{
    const char *costly = "{a: '^(x+x+)+(y|w)$'}";
    char *allow = mem_printf("{allow: {node_labels: %s}}", costly);
    char *deny = mem_printf("{allow: {node_labels: {'*': '*'}}, deny: {node_labels: %s}}", costly);
    struct rbac_set *first = SET("u", NULL, allow);
    struct rbac_set *second = SET("u", NULL, deny);
    struct rbac_label label = {"a", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
    struct rbac_target node = {.kind = ROLE_NODE, .labels = &label, .label_count = 1};
    (void)state;
    assert_false(rbac_can_list(first, &node));
    assert_false(rbac_can_list(second, &node));
    rbac_set_free(first);
    rbac_set_free(second);
    mem_free(allow);
    mem_free(deny);
}

static void test_labels_from_json(void **state)
{
    json_t *labels = json_loads("{\"a\":\"1\",\"b\":\"2\",\"n\":3}", 0, NULL);
    json_t *dynamic = json_loads("{\"b\":{\"period\":1,\"result\":\"live\"}}", 0, NULL);
    struct rbac_set *set = SET("u", NULL, "{allow: {node_labels: {a: '1', b: live}}}");
    size_t count;
    struct rbac_label *list = rbac_labels_from_json(labels, dynamic, &count);
    struct rbac_target node = {.kind = ROLE_NODE, .labels = list, .label_count = count};
    (void)state;
    assert_int_equal(count, 2); /* a command's result hides the static value, in every list as in decisions */
    assert_true(rbac_can_list(set, &node));
    mem_free(list);
    rbac_set_free(set);
    json_decref(labels);
    json_decref(dynamic);
}

static void test_label_expressions(void **state)
{
    static const struct {
        const char *spec, *labels;
        bool match;
    } cases[] = {
        {"{allow: {node_labels_expression: 'labels[\"env\"] == \"dev\"'}}", "env=dev", true},
        {"{allow: {node_labels_expression: 'labels[\"env\"] == \"dev\"'}}", "", false},
        {"{allow: {node_labels_expression: 'labels.env == \"dev\" && !(labels.tier == \"db\")'}}", "env=dev", true},
        {"{allow: {node_labels_expression: 'contains(user.spec.traits[\"team\"], labels[\"team\"])'}}", "team=red",
         true},
        {"{allow: {node_labels_expression: 'contains(user.spec.traits[\"team\"], labels[\"team\"])'}}", "team=x",
         false},
        {"{allow: {node_labels_expression: 'contains(user.spec.traits[\"team\"], labels[\"team\"])'}}", "", false},
        {"{allow: {node_labels: {a: b}, node_labels_expression: 'labels.env == \"dev\"'}}", "env=dev", false},
        {"{allow: {node_labels: {a: b}, node_labels_expression: 'labels.env == \"dev\"'}}", "env=dev a=b", true},
        {"{allow: {node_labels: {'*': '*'}}, deny: {node_labels: {a: b}, node_labels_expression: 'labels.env == "
         "\"dev\"'}}",
         "env=dev", false},
        {"{allow: {node_labels: {'*': '*'}}, deny: {node_labels_expression: 'labels.env == \"dev\"'}}", "env=x", true},
        {"{allow: {node_labels: {'*': '*'}}, deny: {node_labels_expression: 'contains(labels.env, \"dev\")'}}", "env=x",
         false},
        {"{allow: {node_labels_expression: 'regexp.match(labels.host, \"^web-[0-9]+$\")'}}", "host=web-3", true},
        {"{allow: {node_labels_expression: 'contains(labels_matching(\"t*\"), \"x\")'}}", "t1=y t2=x", true},
        {"{allow: {node_labels_expression: 'strings.upper(labels.env) == \"DEV\"'}}", "env=dev", true},
        {"{allow: {node_labels_expression: 'labels.env == \"dev\"'}}", "env=dev env=prod", true},
        {"{allow: {node_labels_expression: 'labels.env == \"dev\"'}}", "env=prod env=dev", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rbac_set *set = SET("u", "{\"team\":[\"red\"]}", cases[i].spec);
        struct labels labels;
        struct rbac_target node = target_of(&labels, ROLE_NODE, cases[i].labels);
        if (rbac_can_list(set, &node) != cases[i].match)
            fail_msg("%s on %s: expected %d", cases[i].spec, cases[i].labels, cases[i].match);
        rbac_set_free(set);
    }
}

/* A searched word is found in the name, in the value, or across the "=" as lists show a label. */
static void test_what_a_search_finds(void **state)
{
    static const struct {
        const char *name, *value, *word;
        bool found;
    } searches[] = {
        {"env", "demo", "env", true},
        {"env", "demo", "NV", true},
        {"env", "demo", "em", true},
        {"env", "demo", "x", false},
        {"env", "demo", "env=demo", true},
        {"env", "demo", "NV=DE", true},
        {"env", "demo", "=", true},
        {"env", "demo", "env=", true},
        {"env", "demo", "=de", true},
        {"env", "demo", "=emo", false},
        {"env", "demo", "en=de", false},
        {"env", "demo", "env=demos", false},
        {"env", "demo", "the-env=de", false},
        {"env", "demo", "xnv=de", false},
        {"env", "demo", "env=x", false},
        {"a=b", "c", "a=b=c", true},
        {"a=b", "c", "b=c", true},
        {"a", "b=c", "a=b=c", true},
        {"a", "b=c", "a=b=x", false},
        {"", "demo", "=demo", true},
        {"", "demo", "x=demo", false},
        {"env", "", "env=", true},
        {"env", "", "env=d", false},
        {"env", "demo", "", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof searches / sizeof *searches; i++) {
        struct rbac_label label = {searches[i].name, searches[i].value};
        if (rbac_label_shows(&label, searches[i].word) != searches[i].found)
            fail_msg("\"%s\" in %s=%s: expected %d", searches[i].word, searches[i].name, searches[i].value,
                     searches[i].found);
    }
    /* What stands in memory before a name is no part of it. */
    static const char whole[] = "the-env";
    assert_false(rbac_label_shows(&(struct rbac_label){whole + 4, "demo"}, "the-env=de"));
}

static void test_globs(void **state)
{
    (void)state;
    assert_true(pattern_glob("a*b*c", "a--b--b-c"));
    assert_false(pattern_glob("a*b*c", "a--b--b-"));
    assert_true(pattern_glob("", ""));
    assert_true(pattern_glob("**", "x"));
    assert_false(pattern_glob("x", "xx"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_bad_selectors_are_refused),
        cmocka_unit_test(test_R5_costly_expression_denies),
        cmocka_unit_test(test_labels_from_json),
        cmocka_unit_test(test_label_expressions),
        cmocka_unit_test(test_what_a_search_finds),
        cmocka_unit_test(test_globs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "rbac_help.h"

#include "rbac/role_private.h"

#include <dirent.h>

static void test_every_role_of_conf_loads(void **state)
{
    DIR *folder = opendir(TPORT_SOURCE_DIR "/conf/roles");
    struct dirent *entry;
    size_t count = 0;
    (void)state;
    assert_non_null(folder);
    while ((entry = readdir(folder))) {
        char path[300];
        struct role *role;
        if (!strstr(entry->d_name, ".yaml"))
            continue;
        snprintf(path, sizeof path, "conf/roles/%s", entry->d_name);
        role = role_from_file(path);
        assert_string_equal(role_warnings(role), "");
        role_unref(role);
        count++;
    }
    closedir(folder);
    assert_true(count >= 3);
}

static void test_errors_name_line_and_key(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec:\n  allow:\n    login: [a]\n",
         "line 6: unknown key \"login\" in spec.allow; did you mean \"logins\"?"},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec:\n  options:\n    forward_agents: true\n",
         "did you mean \"forward_agent\""},
        {"kind: role\nversion: v9\nmetadata: {name: r}\n", "line 2: \"version\""},
        {"kind: user\nversion: v2\nmetadata: {name: r}\n", "line 1: \"kind\""},
        {"kind: role\nmetadata: {name: r}\n", "\"version\" is missing"},
        {"kind: role\nversion: v5\nmetadata: {}\n", "\"metadata.name\" is missing"},
        {"kind: role\nversion: v5\nmetadata:\n  name: node\n", "line 4: \"node\" is reserved"},
        {"kind: role\nversion: v5\nmetadata: {name: Admin}\n", "reserved"},
        {"kind: role\nversion: v5\nmetadata: {name: a/b}\n", "cannot be the name"},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec: {allow: {logins: root}}\n", "list of texts"},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec: {allow: {logins: ['*']}}\n", "wildcard"},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec: {allow: {logins: ['{{internal.logins']}}\n",
         "line 4: \"logins\""},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec: {options: {max_session_ttl: long}}\n", "duration"},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec: {options: {forward_agent: maybe}}\n", "true or false"},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec: {options: {max_sessions: -1}}\n", "whole number"},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec: {options: {lock: hard}}\n",
         "\"spec.options.lock\" cannot be \"hard\"; it is best_effort or strict here"},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec: {options: {device_trust_mode: seldom}}\n",
         "cannot be \"seldom\"; it is off, optional, required or required-for-humans here"},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec: {options: {require_session_mfa: maybe}}\n",
         "it is no, yes, off, on, true, false, hardware_key, hardware_key_touch, hardware_key_pin or "
         "hardware_key_touch_and_pin here"},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec: {allow: {rules: [{resources: [user]}]}}\n",
         "\"spec.allow.rules[0].verbs\" is missing"},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec: {allow: {rules: [{resources: [], verbs: [read]}]}}\n",
         "a rule needs resources"},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec: {allow: {rules: [{resources: [user], verbs: [reed]}]}}\n",
         "did you mean \"read\""},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec:\n  allow:\n    rules:\n    - resources: [user]\n      "
         "verbs: [read]\n      where: contains(\n",
         "line 9: \"where\""},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec: {deny: {impersonate: {where: 'true'}}}\n",
         "must not have \"where\""},
        {"kind: role\nversion: v5\nmetadata: {name: r, labels: [a]}\n", "must be a map"},
        {"kind: role\nversion: v5\nmetadata: {name: r}\nspec: {allow: {node_labels_expression: 'labels.a =='}}\n",
         "node_labels_expression"},
        {"kind: role\nversion: v6\nmetadata: {name: r}\nspec: {allow: {kubernetes_resources: [{kind: secret, name: x, "
         "namespace: y}]}}\n",
         "pod"},
        {"kind: role\nversion: v7\nmetadata: {name: r}\nspec: {allow: {kubernetes_resources: [{kind: pod, name: "
         "x}]}}\n",
         "namespace"},
        {"[]", "must be a map"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct role *role = NULL;
        struct tp_error error = {0};
        if (role_parse_text(bad[i].text, strlen(bad[i].text), "r.yaml", ROLE_WRITTEN, &role, &error) != TP_INVALID)
            fail_msg("taken: %s", bad[i].text);
        if (!strstr(error.text, bad[i].says))
            fail_msg("\"%s\" does not say %s", error.text, bad[i].says);
    }
}

static void test_stored_role_with_bad_entries_is_kept(void **state)
{
    static const char text[] =
        "{kind: role, version: v5, metadata: {name: r}, spec: {allow: {logins: ['{{oops', ok],"
        " node_labels: {'*': '*'}, rules: [{resources: [user], verbs: [read], where: 'oops('}]}}}";
    struct role *role = NULL;
    struct rbac_user user = {.name = "u"};
    struct rbac_target node = {.kind = ROLE_NODE};
    struct rbac_set *set;
    (void)state;
    assert_int_equal(role_parse_text(text, strlen(text), "r", ROLE_WRITTEN, &role, NULL), TP_INVALID);
    assert_int_equal(role_parse_text(text, strlen(text), "r", ROLE_STORED, &role, NULL), TP_OK);
    set = rbac_set_new(&role, 1, &user, 0);
    assert_int_equal(rbac_node_access(set, &node, "ok", NULL), TP_OK);
    assert_int_equal(rbac_rule(set, "read", "user", NULL, NULL), TP_DENIED);
    role_unref(role);
    rbac_set_free(set);
}

static void test_warnings(void **state)
{
    struct role *role =
        role_of("v5", "r", "{allow: {logins: ['{{internal.nothing}}'], rules: [{resources: [users], verbs: [read]}]}}");
    (void)state;
    assert_non_null(strstr(role_warnings(role), "\"nothing\""));
    assert_non_null(strstr(role_warnings(role), "did you mean \"user\""));
    role_unref(role);
}

static void test_kube_defaults(void **state)
{
    static const struct {
        const char *version;
        size_t count;
        const char *kind;
    } table[] = {{"v5", 1, "pod"}, {"v6", 0, NULL}, {"v7", 1, "*"}, {"v8", 1, "*"}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct role *role = role_of(table[i].version, "r", "{allow: {kubernetes_labels: {'*': '*'}}}");
        assert_int_equal(role->allow.kube_count, table[i].count);
        if (table[i].count)
            assert_string_equal(role->allow.kube[0].kind, table[i].kind);
        role_unref(role);
    }
}

static void test_json_and_every_key(void **state)
{
    json_t *json = json_loads(
        "{\"kind\":\"role\",\"version\":\"v7\",\"metadata\":{\"name\":\"r\",\"expires\":\"2030-01-01T00:00:00Z\"},"
        "\"spec\":{\"allow\":{\"logins\":null,\"request\":{\"roles\":[\"a\"],\"thresholds\":[{\"approve\":2}]},"
        "\"require_session_join\":[{\"name\":\"x\",\"kinds\":[\"ssh\"],\"modes\":[\"peer\"],\"count\":1}],"
        "\"join_sessions\":[{\"name\":\"x\",\"roles\":[\"*\"],\"kinds\":[\"*\"],\"modes\":[\"observer\"]}],"
        "\"impersonate\":{\"users\":[\"*\"],\"roles\":[\"*\"]},\"db_permissions\":[{\"permissions\":[\"SELECT\"],"
        "\"match\":{\"a\":[\"b\"]}}]},\"options\":{\"cert_extensions\":[{\"name\":\"n\",\"type\":\"ssh\","
        "\"mode\":\"extension\",\"value\":\"v\"}],\"idp\":{\"saml\":{\"enabled\":true}}}}}",
        0, NULL);
    struct role *role = NULL;
    struct tp_error error = {0};
    (void)state;
    assert_non_null(json);
    if (role_parse_json(json, ROLE_WRITTEN, &role, &error))
        fail_msg("%s", error.text);
    assert_int_equal(role_expires_ms(role), (int64_t)1893456000 * 1000);
    role_unref(role);
    json_decref(json);
}

/* TEXT repeated; mem_free it. */
static char *repeated(char c, size_t times)
{
    char *text = mem_alloc(times + 1);
    memset(text, c, times);
    return text;
}

static void test_names_and_logins(void **state)
{
    static const struct {
        const char *text;
        bool role, login;
    } table[] = {
        {"a", true, true},          {"", false, false},    {".", false, false},    {"..", false, false},
        {"...", true, true},        {".a", true, true},    {"-a", false, false},   {"a-", true, true},
        {" a", false, false},       {"a ", false, false},  {"a b", true, false},   {"a.b_c-d@e+f:g", true, false},
        {"a/b", false, false},      {"a*", false, false},  {"*", false, false},    {"a:b", true, false},
        {"a\x7f", false, false},    {"a\n", false, false}, {"a\tb", false, false}, {"\xc3\xbc", false, true},
        {"DOMAIN\\u", false, true}, {"a!", false, true},   {"a@b", true, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (role_name_valid(table[i].text) != table[i].role)
            fail_msg("the role \"%s\": expected %d", table[i].text, table[i].role);
        if (role_login_valid(table[i].text) != table[i].login)
            fail_msg("the login \"%s\": expected %d", table[i].text, table[i].login);
    }
    char *texts[] = {repeated('a', 255), repeated('a', 256), repeated('a', 32), repeated('a', 33)};
    assert_true(role_name_valid(texts[0]));
    assert_false(role_name_valid(texts[1]));
    assert_true(role_login_valid(texts[2]));
    assert_false(role_login_valid(texts[3]));
    for (size_t i = 0; i < 4; i++)
        mem_free(texts[i]);
    assert_string_equal(role_target_name(ROLE_WORKLOAD), "workload_identity");
    assert_string_equal(role_target_name(ROLE_TARGET_COUNT), "resource");
    assert_true(role_name_is_system("proxy") && role_name_is_system("Admin"));
    assert_false(role_name_is_system("prox"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_role_of_conf_loads),
        cmocka_unit_test(test_errors_name_line_and_key),
        cmocka_unit_test(test_stored_role_with_bad_entries_is_kept),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_kube_defaults),
        cmocka_unit_test(test_json_and_every_key),
        cmocka_unit_test(test_names_and_logins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

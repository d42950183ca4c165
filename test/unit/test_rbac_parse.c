/* What a role may hold, and each refusal word for word; then the types of keys, by documents of other kinds. */
#include "rbac_help.h"

#include "base/json.h"
#include "rbac/resource.h"
#include "rbac/role_private.h"
#include "rbac/schema.h"

static const struct {
    const char *version, *spec;
    const char *says; /* behind "line 1: "; NULL: it is taken */
} roles[] = {
    /* wildcards */
    {"v7", "{allow: {logins: ['*']}}", "\"logins\" must not hold the wildcard \"*\"; name each entry"},
    {"v7", "{deny: {logins: ['*']}}", NULL},
    {"v7", "{allow: {aws_role_arns: ['*']}}", "\"aws_role_arns\" must not hold the wildcard \"*\"; name each entry"},
    {"v7", "{deny: {aws_role_arns: ['*']}}", NULL},
    {"v7", "{allow: {azure_identities: ['*']}}",
     "\"azure_identities\" must not hold the wildcard \"*\"; name each entry"},
    {"v7", "{allow: {gcp_service_accounts: ['*']}}",
     "\"gcp_service_accounts\" must not hold the wildcard \"*\"; name each entry"},
    {"v7", "{allow: {db_roles: ['*']}}", "\"db_roles\" must not hold the wildcard \"*\"; name each entry"},
    {"v7", "{deny: {db_roles: ['*']}}", "\"db_roles\" must not hold the wildcard \"*\"; name each entry"},
    {"v7", "{allow: {db_users: ['*'], kubernetes_groups: ['*']}}", NULL},
    /* label expressions */
    {"v7", "{allow: {node_labels_expression: ''}}", NULL},
    {"v7", "{allow: {node_labels_expression: 'labels.env == '}}",
     "\"node_labels_expression\": the expression is wrong at character 15: a name, a text or ( is expected here"},
    /* kubernetes_resources */
    {"v7", "{allow: {kubernetes_resources: [{namespace: a, name: b, verbs: ['*']}]}}",
     "\"kubernetes_resources\": \"kind\" is missing"},
    {"v7", "{allow: {kubernetes_resources: [{kind: '', namespace: a, name: b}]}}",
     "\"kubernetes_resources\": \"kind\" is missing"},
    {"v7", "{allow: {kubernetes_resources: [{kind: pod, namespace: a}]}}",
     "\"kubernetes_resources\": \"name\" is missing"},
    {"v7", "{allow: {kubernetes_resources: [{kind: pod, namespace: a, name: ''}]}}",
     "\"kubernetes_resources\": \"name\" is missing"},
    {"v7", "{allow: {kubernetes_resources: [{kind: pod, name: b}]}}",
     "\"kubernetes_resources\": \"namespace\" is missing"},
    {"v7", "{allow: {kubernetes_resources: [{kind: pod, namespace: '', name: b}]}}",
     "\"kubernetes_resources\": \"namespace\" is missing"},
    {"v7", "{allow: {kubernetes_resources: [{kind: kube_node, name: b}]}}", NULL},
    {"v7", "{allow: {kubernetes_resources: [{kind: pods, namespace: a, name: b}]}}",
     "\"kubernetes_resources\": the kind is none that v7 roles know; v8 roles take any"},
    {"v8", "{allow: {kubernetes_resources: [{kind: pods, namespace: a, name: b}]}}", NULL},
    {"v8", "{allow: {kubernetes_resources: [{kind: pods, name: b}]}}", NULL},
    {"v8", "{allow: {kubernetes_resources: [{kind: '*', namespace: a, name: b}]}}",
     "\"kubernetes_resources\": \"api_group\" is missing"},
    {"v8", "{allow: {kubernetes_resources: [{kind: '*', api_group: '', namespace: a, name: b}]}}", NULL},
    {"v7", "{allow: {kubernetes_resources: [{kind: '*', namespace: a, name: b}]}}", NULL},
    {"v7", "{allow: {kubernetes_resources: [{kind: pod, api_group: x, namespace: a, name: b}]}}",
     "\"kubernetes_resources\": \"api_group\" needs a v8 role"},
    {"v7", "{allow: {kubernetes_resources: [{kind: pod, api_group: '', namespace: a, name: b}]}}", NULL},
    {"v8", "{allow: {kubernetes_resources: [{kind: pods, api_group: x, namespace: a, name: b}]}}", NULL},
    {"v6", "{allow: {kubernetes_resources: [{kind: pod, namespace: a, name: b}]}}", NULL},
    {"v6", "{allow: {kubernetes_resources: [{kind: secret, namespace: a, name: b}]}}",
     "\"kubernetes_resources\": roles before v7 know the kind \"pod\" only"},
    {"v6", "{allow: {kubernetes_resources: [{kind: pod, namespace: a, name: b, verbs: ['*']}]}}", NULL},
    {"v6", "{allow: {kubernetes_resources: [{kind: pod, namespace: a, name: b, verbs: []}]}}", NULL},
    {"v6", "{allow: {kubernetes_resources: [{kind: pod, namespace: a, name: b, verbs: [get]}]}}",
     "\"kubernetes_resources\": roles before v7 take the verbs [\"*\"] only"},
    {"v6", "{allow: {kubernetes_resources: [{kind: pod, namespace: a, name: b, verbs: ['*', get]}]}}",
     "\"kubernetes_resources\": roles before v7 take the verbs [\"*\"] only"},
    {"v5", "{allow: {kubernetes_resources: [{kind: secret, namespace: a, name: b}]}}",
     "\"kubernetes_resources\": roles before v7 know the kind \"pod\" only"},
    {"v7", "{allow: {kubernetes_resources: [{kind: pod, namespace: a, name: b, verbs: ['*']}]}}", NULL},
    {"v7", "{allow: {kubernetes_resources: [{kind: pod, namespace: a, name: b, verbs: ['*', get]}]}}",
     "\"kubernetes_resources\": the verb \"*\" stands alone"},
    {"v7", "{allow: {kubernetes_resources: [{kind: pod, namespace: a, name: b, verbs: [get, list, exec]}]}}", NULL},
    {"v7", "{allow: {kubernetes_resources: [{kind: pod, namespace: a, name: b, verbs: [get, lst]}]}}",
     "\"kubernetes_resources\": there is a verb that is not known"},
    {"v7", "{allow: {kubernetes_resources: [{namespace: a, name: b, verbs: [lst]}]}}",
     "\"kubernetes_resources\": \"kind\" is missing"},
    {"v7", "{deny: {kubernetes_resources: [{kind: pod, namespace: a, name: b, verbs: [lst]}]}}",
     "\"kubernetes_resources\": there is a verb that is not known"},
    /* impersonate */
    {"v7", "{allow: {impersonate: {users: [a], roles: [b], where: 'user.metadata.name == \"x\"'}}}", NULL},
    {"v7", "{allow: {impersonate: {users: [a], where: ''}}}", NULL},
    {"v7", "{deny: {impersonate: {users: [a], where: ''}}}", NULL},
    {"v7", "{deny: {impersonate: {users: [a], where: 'true'}}}", "\"deny.impersonate\" must not have \"where\""},
    {"v7", "{allow: {impersonate: {users: [a], where: 'tru('}}}",
     "\"impersonate.where\": the expression is wrong at character 1: unknown function \"tru\""},
    /* request, review_requests, sessions */
    {"v7", "{allow: {request: {roles: ['^(a$']}}}", "\"request.roles\": *"},
    {"v7", "{deny: {request: {roles: ['^(a$']}}}", "\"request.roles\": *"},
    {"v7", "{allow: {request: {roles: [a, 'b*', '^c$']}}}", NULL},
    {"v7", "{allow: {request: {claims_to_roles: [{claim: c, value: v, roles: [r]}]}}}", NULL},
    {"v7", "{allow: {request: {claims_to_roles: [{value: v, roles: [r]}]}}}",
     "\"request.claims_to_roles\" needs claim, value and roles"},
    {"v7", "{allow: {request: {claims_to_roles: [{claim: c, roles: [r]}]}}}",
     "\"request.claims_to_roles\" needs claim, value and roles"},
    {"v7", "{allow: {request: {claims_to_roles: [{claim: c, value: v}]}}}",
     "\"request.claims_to_roles\" needs claim, value and roles"},
    {"v7", "{allow: {request: {claims_to_roles: [{claim: c, value: v, roles: []}]}}}",
     "\"request.claims_to_roles\" needs claim, value and roles"},
    {"v7", "{allow: {request: {claims_to_roles: [{claim: c, value: '^(v$', roles: [r]}]}}}",
     "\"request.claims_to_roles.value\": *"},
    {"v7", "{allow: {request: {claims_to_roles: [{claim: c, value: v, roles: ['^(r$']}]}}}",
     "\"request.claims_to_roles.roles\": *"},
    {"v7", "{allow: {request: {claims_to_roles: [{claim: c, value: v, roles: [r]}, {claim: c}]}}}",
     "\"request.claims_to_roles\" needs claim, value and roles"},
    {"v7", "{allow: {request: {thresholds: [{approve: 1, filter: 'contains(reviewer.roles, \"a\")'}]}}}", NULL},
    {"v7", "{allow: {request: {thresholds: [{approve: 1, filter: ''}, {approve: 1, filter: 'contains('}]}}}",
     "\"request.thresholds.filter\": *"},
    {"v7", "{allow: {request: {annotations: {a: ['{{external.x}}', plain], b: one}}}}", NULL},
    {"v7", "{allow: {request: {annotations: {a: [good, '{{oops']}}}}", "\"request.annotations.a\": *"},
    {"v7", "{allow: {request: {annotations: {a: '{{oops'}}}}", "\"request.annotations.a\": *"},
    {"v7", "{allow: {request: {max_duration: 168h}}}", NULL},
    {"v7", "{allow: {request: {max_duration: 168h1s}}}", "\"request.max_duration\" is longer than seven days (168h)"},
    {"v7", "{allow: {review_requests: {roles: ['^(a$']}}}", "\"review_requests.roles\": *"},
    {"v7", "{allow: {review_requests: {claims_to_roles: [{claim: c}]}}}",
     "\"review_requests.claims_to_roles\" needs claim, value and roles"},
    {"v7", "{allow: {review_requests: {where: 'contains('}}}", "\"review_requests.where\": *"},
    {"v7", "{allow: {review_requests: {roles: [a], where: 'contains(reviewer.roles, \"a\")'}}}", NULL},
    {"v7", "{allow: {join_sessions: [{name: x, roles: [a, '^(b$'], kinds: [ssh], modes: [peer]}]}}",
     "\"join_sessions.roles\": *"},
    {"v7",
     "{allow: {join_sessions: [{name: x, roles: ['^(b$'], kinds: [ssh], modes: [peer]}, {name: y, roles: [a], kinds: "
     "[ssh], modes: [peer]}]}}",
     "\"join_sessions.roles\": *"},
    {"v7", "{allow: {join_sessions: [{name: x, roles: [a], kinds: [ssh], modes: [peer]}]}}", NULL},
    {"v7", "{allow: {require_session_join: [{name: x, kinds: [ssh], modes: [peer], count: 1, filter: 'contains('}]}}",
     "\"require_session_join.filter\": *"},
    {"v7",
     "{allow: {require_session_join: [{name: x, kinds: [ssh], modes: [peer], count: 1, filter: "
     "'contains(user.spec.roles, \"a\")'}]}}",
     NULL},
    {"v7", "{allow: {review_requests: {where: ''}}}", NULL},
    {"v7", "{allow: {request: {thresholds: [{approve: 1, filter: ''}]}}}", NULL},
    /* templates and rules */
    {"v7", "{allow: {logins: ['{{internal.logins']}}", "\"logins\": *"},
    {"v7", "{allow: {rules: [{resources: [user], verbs: [read], where: 'contains('}]}}", "*"},
    {"v9", "{}", "\"version\" cannot be \"v9\"; it is v3, v4, v5, v6, v7 or v8 here"},
    {"v7", "{allow: {logins: [a]}, deny: [], options: {}}", "\"spec.deny\" must be a map, not a list"},
};

/* wanted may end in "*": what a library says there is its own. */
static bool same_sentence(const char *got, const char *wanted)
{
    size_t length = strlen(wanted);
    if (strncmp(got, "line 1: ", 8) != 0)
        return false;
    return length > 0 && wanted[length - 1] == '*'
               ? strncmp(got + 8, wanted, length - 1) == 0 && strlen(got + 8) > length
               : strcmp(got + 8, wanted) == 0;
}

static void test_roles(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        char *text =
            mem_printf("{kind: role, version: %s, metadata: {name: r}, spec: %s}", roles[i].version, roles[i].spec);
        struct role *role = NULL;
        struct tp_error error = {0};
        enum tp_err err = role_parse_text(text, strlen(text), NULL, ROLE_WRITTEN, &role, &error);
        if ((err == TP_OK) != (roles[i].says == NULL))
            fail_msg("%s %s: %s", roles[i].version, roles[i].spec, err ? error.text : "was taken");
        if (err && !same_sentence(error.text, roles[i].says))
            fail_msg("%s: \"%s\", not \"%s\"", roles[i].spec, error.text, roles[i].says);
        role_unref(role);
        mem_free(text);
    }
}

/* A role that is stored already is kept with all that a person may not write now. */
static void test_stored_roles_are_kept(void **state)
{
    static const char *const specs[] = {
        "{allow: {kubernetes_resources: [{kind: nothing, name: b, verbs: [lst]}]}}",
        "{allow: {impersonate: {users: [a], where: 'tru('}}}",
        "{deny: {impersonate: {users: [a], where: 'true'}}}",
        "{allow: {request: {roles: ['^(a$']}}}",
        "{allow: {node_labels_expression: 'labels.env == ', logins: [a]}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        char *text = mem_printf("{kind: role, version: v7, metadata: {name: r}, spec: %s}", specs[i]);
        struct role *role = NULL;
        struct tp_error error = {0};
        assert_int_equal(role_parse_text(text, strlen(text), NULL, ROLE_WRITTEN, &role, &error), TP_INVALID);
        if (role_parse_text(text, strlen(text), NULL, ROLE_STORED, &role, &error))
            fail_msg("%s: %s", specs[i], error.text);
        role_unref(role);
        mem_free(text);
    }
}

/* An expression for one kind of resource leaves the labels for those behind it alone. */
static void test_expressions_and_labels_stand_beside_each_other(void **state)
{
    struct rbac_set *set = SET(
        "u", NULL, "{allow: {node_labels_expression: 'labels.env == \"dev\"', logins: [a], app_labels: {env: dev}}}");
    struct labels kept;
    struct rbac_target node = target_of(&kept, ROLE_NODE, "env=dev");
    (void)state;
    assert_true(rbac_can_list(set, &node));
    node.kind = ROLE_APP;
    assert_true(rbac_can_list(set, &node));
    rbac_set_free(set);
}

static void test_old_roles_have_all_verbs(void **state)
{
    static const char spec[] = "{allow: {kubernetes_resources: [{kind: pod, namespace: a, name: b}]}}";
    struct role *six = role_of("v6", "r", spec);
    struct role *seven = role_of("v7", "r", spec);
    struct role *none = role_of("v7", "r", "{allow: {kubernetes_labels: {a: b}, kubernetes_resources: []}}");
    (void)state;
    assert_true(names_has(&six->allow.kube[0].verbs, "*"));
    assert_int_equal(seven->allow.kube[0].verbs.count, 0);
    assert_int_equal(none->allow.kube_count, 0);
    role_unref(six);
    role_unref(seven);
    role_unref(none);
}

static void test_warnings_name_what_was_meant(void **state)
{
    static const struct {
        const char *rules, *says;
    } table[] = {
        {"[{resources: [users], verbs: [read]}]",
         "line 1: there is no resource \"users\" here; did you mean \"user\"?\n"},
        {"[{resources: [nothing_like_it], verbs: [read]}]", "line 1: there is no resource \"nothing_like_it\" here\n"},
        {"[{resources: ['*'], verbs: [read]}]", ""},
        {"[{resources: [user, role], verbs: [read]}]", ""}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char *spec = mem_printf("{allow: {rules: %s}}", table[i].rules);
        struct role *role = role_of("v7", "r", spec);
        assert_string_equal(role_warnings(role), table[i].says);
        role_unref(role);
        mem_free(spec);
    }
    static const struct {
        const char *section, *kind, *name;
        bool warns;
    } ports[] = {{"allow", "service", "web:*", true},          {"allow", "kube_node", "n1:*", true},
                 {"allow", "service", "^web:(80|443)$", true}, {"allow", "service", "web:80", false},
                 {"allow", "service", "web*", false},          {"allow", "clusterrole", "system:*", false},
                 {"deny", "service", "web:*", false}};
    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
        char *spec = mem_printf("{%s: {kubernetes_resources: [{kind: %s, namespace: a, name: '%s', verbs: [get]}]}}",
                                ports[i].section, ports[i].kind, ports[i].name);
        struct role *role = role_of("v7", "r", spec);
        assert_int_equal(strstr(role_warnings(role), "takes no pattern") != NULL, ports[i].warns);
        role_unref(role);
        mem_free(spec);
    }
    static const char nameless[] =
        "{kind: role, version: v7, metadata: {name: r}, spec: {allow: {kubernetes_resources: "
        "[{kind: service, namespace: a, verbs: [get]}]}}}";
    struct role *stored = NULL;
    assert_int_equal(role_parse_text(nameless, sizeof nameless - 1, NULL, ROLE_STORED, &stored, NULL), TP_OK);
    assert_string_equal(role_warnings(stored), "");
    role_unref(stored);
}

static void test_numbers_of_conditions(void **state)
{
    static const struct {
        const char *text;
        int64_t number;
    } table[] = {{"0", 0}, {"2", 2}, {"999999999", 999999999}, {"1000000000", 0}, {"-1", 0}, {"2x", 0},
                 {"", 0},  {"x", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        json_t *value = json_string(table[i].text);
        assert_int_equal(role_number(value), table[i].number);
        json_decref(value);
    }
    assert_int_equal(role_number(NULL), 0);
}

/* Single values as texts, nulls as they are. */
static void test_conditions_are_read_as_texts(void **state)
{
    struct role *role =
        role_of("v7", "r",
                "{allow: {request: {roles: [123, yes], annotations: {a: [x]}, thresholds: [{approve: 2, name: null}]}, "
                "impersonate: {users: [u]}}}");
    json_t *request = json_pack("{s:[s, s], s:{s:[s]}, s:[{s:s, s:n}]}", "roles", "123", "yes", "annotations", "a", "x",
                                "thresholds", "approve", "2", "name");
    json_t *impersonate = json_pack("{s:[s]}", "users", "u");
    struct role *plain = role_of("v7", "r", "{allow: {logins: [a]}}");
    (void)state;
    assert_true(json_equal(role_written(&role->allow, "request"), request));
    assert_true(json_equal(role_written(&role->allow, "impersonate"), impersonate));
    assert_null(role_written(&role->allow, "review_requests"));
    assert_null(role_written(&plain->allow, "request"));
    json_decref(request);
    json_decref(impersonate);
    role_unref(role);
    role_unref(plain);
}

/* ---- types of keys ---- */

static const struct {
    const char *document;
    const char *says;
} documents[] = {
    {"{kind: app, version: v3, metadata: {name: a}, spec: {uri: 'http://x'}}", NULL},
    {"[a]", "a resource is a map of kind, version, metadata and spec"},
    {"{kind: [app]}", "\"kind\" is missing, for example kind: role"},
    {"{kind: role, version: v7, metadata: [], spec: {}}", "\"metadata\" must be a map, not a list"},
    {"{kind: role, version: v7, metadata: x, spec: {}}", "\"metadata\" must be a map, not \"x\""},
    {"{kind: role, version: v7, metadata: null, spec: {}}", "\"metadata\" is missing"},
    {"{kind: role, version: v7, metadata: {name: [a]}, spec: {}}", "\"metadata.name\" must be a text, not a list"},
    {"{kind: role, version: v7, metadata: {name: {a: b}}, spec: {}}", "\"metadata.name\" must be a text, not a map"},
    {"{kind: role, version: v7, metadata: {name: r, labels: [a]}, spec: {}}",
     "\"metadata.labels\" must be a map, not a list"},
    {"{kind: role, version: v7, metadata: {name: r, labels: {a: [b]}}, spec: {}}",
     "\"metadata.labels.a\" must be a text, not a list"},
    {"{kind: role, version: v7, metadata: {name: r, labels: {a: null}}, spec: {}}",
     "\"metadata.labels.a\" must be a text, not empty"},
    {"{kind: role, version: v7, metadata: {name: r, labels: {a: b}}, spec: {}}", NULL},
    {"{kind: role, version: v7, metadata: {name: r, expires: soon}, spec: {}}",
     "\"metadata.expires\" must be a time such as 2030-01-31T12:00:00Z, not \"soon\""},
    {"{kind: role, version: v7, metadata: {name: r, expires: [a]}, spec: {}}",
     "\"metadata.expires\" must be a single value, not a list"},
    {"{kind: role, version: [v7], metadata: {name: r}, spec: {}}", "\"version\" must be one word, not a list"},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {allow: {logins: a}}}",
     "\"spec.allow.logins\" must be a list of texts, not \"a\""},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {allow: {logins: [a, [b]]}}}",
     "\"spec.allow.logins\" must be a list of texts, not a list"},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {allow: {logins: [a, null]}}}",
     "\"spec.allow.logins\" must be a list of texts, not empty"},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {allow: {node_labels: {a: {b: c}}}}}",
     "\"spec.allow.node_labels.a\" must be a text or a list of texts, not a map"},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {allow: {node_labels: {a: [b, {c: d}]}}}}",
     "\"spec.allow.node_labels.a\" must be a list of texts, not a map"},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {allow: {node_labels: {a: [b], c: {d: e}}}}}",
     "\"spec.allow.node_labels.c\" must be a text or a list of texts, not a map"},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {allow: {node_labels: {a: null}}}}",
     "\"spec.allow.node_labels.a\" must be a text or a list of texts, not empty"},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {allow: {rules: {a: b}}}}",
     "\"spec.allow.rules\" must be a list of maps, not a map"},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {allow: {rules: [{resources: [a], verbs: [read]}, {verbs: "
     "[read]}]}}}",
     "\"spec.allow.rules[1].resources\" is missing"},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {allow: {rules: [a]}}}",
     "\"spec.allow.rules[0]\" must be a map, not \"a\""},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {max_session_ttl: long}}}",
     "\"spec.options.max_session_ttl\" must be a duration such as 8h0m0s, not \"long\""},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {max_session_ttl: 0}}}", NULL},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {max_session_ttl: never}}}",
     "\"spec.options.max_session_ttl\" must be a duration such as 8h0m0s, not \"never\""},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {client_idle_timeout: never}}}", NULL},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {client_idle_timeout: 0}}}", NULL},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {client_idle_timeout: 5}}}",
     "\"spec.options.client_idle_timeout\" must be a duration such as 8h0m0s, not \"5\""},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {forward_agent: perhaps}}}",
     "\"spec.options.forward_agent\" must be true or false, not \"perhaps\""},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {forward_agent: 'YES'}}}", NULL},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {max_sessions: -1}}}",
     "\"spec.options.max_sessions\" must be a whole number from 0, not \"-1\""},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {max_sessions: 1.5}}}",
     "\"spec.options.max_sessions\" must be a whole number from 0, not \"1.5\""},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {max_sessions: 0}}}", NULL},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {enhanced_recording: disk}}}",
     "\"spec.options.enhanced_recording\" must be a list of words, not \"disk\""},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {enhanced_recording: [disk, dusk]}}}",
     "\"spec.options.enhanced_recording\" cannot be \"dusk\"; did you mean \"disk\"?"},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {enhanced_recording: [disk, [a]]}}}",
     "\"spec.options.enhanced_recording\" must be one word, not a list"},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {enhanced_recording: [disk, command]}}}", NULL},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {cert_format: nothing_like_it}}}",
     "\"spec.options.cert_format\" cannot be \"nothing_like_it\"; it is standard, oldssh or unspecified here"},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {options: {cert_format: standart}}}",
     "\"spec.options.cert_format\" cannot be \"standart\"; did you mean \"standard\"?"},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {nothing_like_it: 1}}",
     "unknown key \"nothing_like_it\" in spec"},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {alow: 1}}",
     "unknown key \"alow\" in spec; did you mean \"allow\"?"},
    {"{kind: role, version: v7, metadata: {name: r}, spec: {}, nothing_like_it: 1}", "unknown key \"nothing_like_it\""},
    {"{kind: role, version: v7, metadata: , name: r, spec: {}}",
     "the indentation was lost: \"name\" stands beside the empty \"metadata\" of line 1, not below it; indent what "
     "belongs to a key"},
    {"{kind: role, version: v7, metadata: , nane: r, spec: {}}", "unknown key \"nane\""},
    {"{kind: role, version: v7, metadata: {name: r}, name: r}", "unknown key \"name\""},
    {"{kind: role, version: , name: r, metadata: {name: r}}", "unknown key \"name\""},
    {"{name: r}", "\"kind\" is missing, for example kind: role"},
    {"{kind: user, version: v2, metadata: {name: a}, spec: {traits: {a: null, b: x, c: [y]}}}", NULL},
    {"{kind: user, version: v2, metadata: {name: a}, spec: {traits: {a: {b: c}}}}",
     "\"spec.traits.a\" must be a text or a list of texts, not a map"},
    /* one text or several */
    {"{kind: oidc, version: v3, metadata: {name: a}, spec: {issuer_url: 'https://x', client_id: a, client_secret: b, "
     "redirect_url: 'https://y', claims_to_roles: [{claim: a, value: b, roles: [c]}]}}",
     NULL},
    {"{kind: oidc, version: v3, metadata: {name: a}, spec: {issuer_url: 'https://x', client_id: a, client_secret: b, "
     "redirect_url: ['https://y', 'https://z'], claims_to_roles: [{claim: a, value: b, roles: [c]}]}}",
     NULL},
    {"{kind: oidc, version: v3, metadata: {name: a}, spec: {issuer_url: 'https://x', client_id: a, client_secret: b, "
     "redirect_url: {a: b}, claims_to_roles: [{claim: a, value: b, roles: [c]}]}}",
     "\"spec.redirect_url\" must be a text or a list of texts, not a map"},
    {"{kind: oidc, version: v3, metadata: {name: a}, spec: {issuer_url: 'https://x', client_id: a, client_secret: b, "
     "redirect_url: ['https://y', {a: b}], claims_to_roles: [{claim: a, value: b, roles: [c]}]}}",
     "\"spec.redirect_url\" must be a list of texts, not a map"},
    /* names and mappings of other kinds */
    {"{kind: app, version: v3, metadata: {name: 'a/b'}, spec: {uri: 'http://x'}}", NULL},
    {"{kind: app, version: v3, metadata: {name: '/a'}, spec: {uri: 'http://x'}}", "*"},
    {"{kind: app, version: v3, metadata: {name: 'a/../b'}, spec: {uri: 'http://x'}}", "*"},
    {"{kind: app, version: v3, metadata: {name: 'a b/c!'}, spec: {uri: 'http://x'}}", "*"},
    {"{kind: oidc, version: v3, metadata: {name: 'a/b'}, spec: {issuer_url: 'https://x', client_id: a, client_secret: "
     "b, redirect_url: 'https://y', "
     "claims_to_roles: [{claim: a, value: b, roles: [c]}]}}",
     "*"},
    {"{kind: github, version: v3, metadata: {name: a}, spec: {client_id: a, client_secret: b, redirect_url: "
     "'https://y', "
     "teams_to_logins: [{organization: a, team: b, logins: [c]}]}}",
     NULL},
    {"{kind: github, version: v3, metadata: {name: a}, spec: {client_id: a, client_secret: b, redirect_url: "
     "'https://y', "
     "teams_to_roles: [{organization: a, team: b, roles: [c]}]}}",
     NULL},
    {"{kind: github, version: v3, metadata: {name: a}, spec: {client_id: a, client_secret: b, redirect_url: "
     "'https://y'}}",
     "\"spec.teams_to_roles\" is missing"},
    {"{kind: app, version: v3, spec: {uri: 'http://x'}}", "\"metadata\" is missing"},
    {"{kind: app, version: v3, metadata: {}, spec: {uri: 'http://x'}}", "\"metadata.name\" is missing"},
    {"{kind: cluster_auth_preference, version: v2, spec: {}}", NULL},
    {"{kind: cluster_auth_preference, version: v2, metadata: {}, spec: {}}", NULL},
    {"{kind: cluster_auth_preference, version: v2, metadata: {name: 'any name!'}, spec: {}}", NULL},
    {"{kind: token, version: v2, metadata: {name: 0123456789abcdef}, spec: {roles: [node]}}", NULL},
    {"{kind: lock, version: v2, metadata: {name: a}, spec: {target: {user: a}}}", NULL},
    {"{kind: user, version: v2, metadata: {name: a}}", NULL},
};

static void test_documents(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        struct node *node = NULL;
        struct tp_error error = {0};
        if (node_parse_one(documents[i].document, strlen(documents[i].document), "test", &node, &error))
            fail_msg("%s: %s", documents[i].document, error.text);
        enum tp_err err = resource_check(node, &error);
        if ((err == TP_OK) != (documents[i].says == NULL))
            fail_msg("%s: %s", documents[i].document, err ? error.text : "was taken");
        if (err && !same_sentence(error.text, documents[i].says))
            fail_msg("%s: \"%s\", not \"%s\"", documents[i].document, error.text, documents[i].says);
        node_free(node);
    }
}

/* About JSON no line is named. */
static void test_json_has_no_lines(void **state)
{
    json_t *json = json_pack("{s:s, s:s, s:{s:s}, s:{s:i}}", "kind", "role", "version", "v7", "metadata", "name", "r",
                             "spec", "alow", 1);
    struct tp_error error = {0};
    (void)state;
    assert_int_equal(resource_check_json(json, &error), TP_INVALID);
    assert_string_equal(error.text, "unknown key \"alow\" in spec; did you mean \"allow\"?");
    assert_int_equal(resource_check_json(json, NULL), TP_INVALID);
    schema_forget_line(NULL);
    (void)err_set(&error, TP_INVALID, "line 12: x");
    schema_forget_line(&error);
    assert_string_equal(error.text, "line 12: x");
    json_decref(json);
}

/* What was not checked, or is of another type, counts as absent. */
static void test_values_of_other_types_are_absent(void **state)
{
    static const char text[] =
        "{list: [a], map: {a: b}, word: x, no: null, d: 1h, t: '2030-01-01T00:00:00Z', i: 7, b: yes}";
    static const char *const others[] = {"list", "map", "word", "no", "none"};
    struct node *node = NULL;
    (void)state;
    assert_int_equal(node_parse_one(text, strlen(text), "test", &node, NULL), TP_OK);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(schema_duration(node, others[i]), 0);
        assert_int_equal(schema_time(node, others[i]), 0);
        assert_int_equal(schema_int(node, others[i], 5), 5);
        assert_true(schema_bool(node, others[i], true));
        assert_false(schema_bool(node, others[i], false));
    }
    assert_int_equal(schema_duration(node, "d"), 3600 * 1000);
    assert_int_equal(schema_time(node, "t"), (int64_t)1893456000 * 1000);
    assert_int_equal(schema_int(node, "i", 5), 7);
    assert_true(schema_bool(node, "b", false));
    assert_null(schema_get(node, "no"));
    node_free(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_stored_roles_are_kept),
        cmocka_unit_test(test_expressions_and_labels_stand_beside_each_other),
        cmocka_unit_test(test_old_roles_have_all_verbs),
        cmocka_unit_test(test_warnings_name_what_was_meant),
        cmocka_unit_test(test_numbers_of_conditions),
        cmocka_unit_test(test_conditions_are_read_as_texts),
        cmocka_unit_test(test_documents),
        cmocka_unit_test(test_json_has_no_lines),
        cmocka_unit_test(test_values_of_other_types_are_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

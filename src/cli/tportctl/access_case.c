#include "cli/tportctl/access_case.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "rbac/names.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const known_keys[] = {"name",          "source",
                                         "note",          "roles",
                                         "implicit_role", "user",
                                         "resource",      "login",
                                         "db_user",       "db_name",
                                         "windows_login", "cluster_auth_preference",
                                         "aws_role_arn",  "azure_identity",
                                         "verb",          "kube_resource",
                                         "guess",         "gcp_service_account",
                                         "context",       "mfa_verified",
                                         "impersonate",   "device_verified",
                                         "locks",         "lock_target",
                                         "locks_stale",   "locking_mode",
                                         "inventory",     "ttl",
                                         "override_ttl",  "input",
                                         "request",       "reviews",
                                         "review",        "join",
                                         "session",       "query",
                                         "expect",        "expect_value",
                                         "expect_error",  NULL};

static const struct {
    const char *kind;
    enum role_target target;
} targets[] = {{"node", ROLE_NODE},
               {"kube_cluster", ROLE_KUBE},
               {"kube_server", ROLE_KUBE},
               {"kubernetes_cluster", ROLE_KUBE},
               {"kube", ROLE_KUBE},
               {"app", ROLE_APP},
               {"app_server", ROLE_APP},
               {"db", ROLE_DB},
               {"database", ROLE_DB},
               {"db_server", ROLE_DB},
               {"db_service", ROLE_DB_SERVICE},
               {"windows_desktop", ROLE_DESKTOP},
               {"remote_cluster", ROLE_CLUSTER},
               {"user_group", ROLE_GROUP},
               {"workload_identity", ROLE_WORKLOAD}};

static void check_keys(struct access_case *one)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)one->json, key, value) {
        if (names_listed(known_keys, key) || *one->unsupported)
            continue;
        const char *meant = names_nearest(known_keys, key);
        snprintf(one->unsupported, sizeof one->unsupported, "the key \"%.80s\" is not supported%s%s%s", key,
                 meant ? "; did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
    }
}

/* A role that nobody may write counts as one that is stored already: the entry that is wrong gives nothing. */
static enum tp_err add_role(struct access_case *one, const struct node *node, const struct map *roles,
                            struct tp_error *error)
{
    struct role *role = NULL;
    if (node->kind == NODE_SCALAR) {
        role = map_get(roles, node->text);
        if (!role)
            return err_set(
                error, TP_NOT_FOUND,
                "line %d: there is no role \"%.80s\" in the files of --roles or in a cluster that can be asked",
                node->line, node->text);
        role = role_ref(role);
    } else if (role_parse(node, ROLE_WRITTEN, &role, &one->error)) {
        enum tp_err err;
        one->role_refused = true;
        err = role_parse(node, ROLE_STORED, &role, error);
        if (err)
            return err;
    }
    one->roles = mem_resize(one->roles, (one->role_count + 1) * sizeof(struct role *));
    one->roles[one->role_count++] = role;
    return TP_OK;
}

static enum tp_err read_roles(struct access_case *one, const struct node *node, const struct map *roles,
                              struct tp_error *error)
{
    const struct node *list = node_get(node, "roles");
    enum tp_err err = TP_OK;
    if (!list)
        list = node_get(node_get(node, "user"), "roles");
    if (!list || node_is_null(list))
        return TP_OK;
    if (list->kind != NODE_LIST)
        return add_role(one, list, roles, error);
    for (size_t i = 0; i < list->count && !err; i++)
        err = add_role(one, list->items[i], roles, error);
    return err;
}

static enum role_mfa mfa_of(const json_t *value)
{
    const char *text = json_string_value(value);
    if (!text)
        return json_is_true(value) ? ROLE_MFA_YES : ROLE_MFA_NO;
    if (strcasecmp(text, "no") == 0 || strcasecmp(text, "off") == 0 || strcasecmp(text, "false") == 0 || !*text)
        return ROLE_MFA_NO;
    return strcmp(text, "hardware_key") == 0                 ? ROLE_MFA_HARDWARE_KEY
           : strcmp(text, "hardware_key_touch") == 0         ? ROLE_MFA_HARDWARE_KEY_TOUCH
           : strcmp(text, "hardware_key_pin") == 0           ? ROLE_MFA_HARDWARE_KEY_PIN
           : strcmp(text, "hardware_key_touch_and_pin") == 0 ? ROLE_MFA_HARDWARE_KEY_TOUCH_AND_PIN
                                                             : ROLE_MFA_YES;
}

static enum tp_err read_resource(struct access_case *one, struct tp_error *error)
{
    const json_t *resource = json_object_get(one->json, "resource");
    const json_t *metadata = json_object_get(resource, "metadata");
    const char *kind = json_get_text(resource, "kind", "");
    const json_t *labels = json_object_get(json_object_get(resource, "labels") ? resource : metadata, "labels");
    if (!resource)
        return TP_OK;
    if (!json_is_object(resource))
        return err_set(error, TP_INVALID, "\"resource\" must be a map with kind and name");
    for (size_t i = 0; i < sizeof targets / sizeof *targets && !one->has_target; i++) {
        one->has_target = strcmp(targets[i].kind, kind) == 0;
        one->target.kind = targets[i].target;
    }
    one->labels = rbac_labels_from_json(labels, json_object_get(resource, "dynamic_labels"), &one->target.label_count);
    one->target.labels = one->labels;
    one->target.name = json_get_text(resource, "name", json_get_text(metadata, "name", ""));
    one->target.name_space = json_get_text(resource, "namespace", NULL);
    one->access.db_protocol = json_get_text(resource, "protocol", NULL);
    return TP_OK;
}

static void read_access(struct access_case *one)
{
    const json_t *preference = json_object_get(one->json, "cluster_auth_preference");
    const char *mode = json_get_text(preference, "locking_mode", "");
    const json_t *json = one->json;
    one->access.login = json_get_text(json, "login", NULL);
    one->access.db_user = json_get_text(json, "db_user", NULL);
    one->access.db_name = json_get_text(json, "db_name", NULL);
    one->access.windows_login = json_get_text(json, "windows_login", NULL);
    one->access.aws_role_arn = json_get_text(json, "aws_role_arn", NULL);
    one->access.azure_identity = json_get_text(json, "azure_identity", NULL);
    one->access.gcp_service_account = json_get_text(json, "gcp_service_account", NULL);
    one->access.mfa_verified = json_get_bool(json, "mfa_verified", false);
    one->access.device_verified = json_get_bool(json, "device_verified", false);
    one->access.cluster_mfa = mfa_of(json_object_get(preference, "require_session_mfa"));
    one->cluster.require_session_mfa = one->access.cluster_mfa;
    one->cluster.locking_mode = strcmp(mode, "strict") == 0 ? ROLE_LOCK_STRICT : ROLE_LOCK_BEST_EFFORT;
}

enum tp_err access_case_read(const struct node *node, const json_t *json, const struct map *roles,
                             struct access_case *ret_case, struct tp_error *error)
{
    struct access_case *one = ret_case;
    const json_t *user = json_object_get(json, "user");
    const char *ttl = json_get_text(json, "ttl", NULL);
    enum tp_err err;
    *one = (struct access_case){.json = json};
    check_keys(one);
    err = read_roles(one, node, roles, error);
    if (!err)
        err = read_resource(one, error);
    if (!err && ttl && clock_parse_duration_ms(ttl, &one->ttl_ms))
        err = err_set(error, TP_INVALID, "\"ttl\" must be a duration such as 8h, not \"%.60s\"", ttl);
    if (err)
        return err;
    read_access(one);
    one->user =
        (struct rbac_user){.name = json_is_string(user) ? json_string_value(user) : json_get_text(user, "name", ""),
                           .traits = json_object_get(user, "traits"),
                           .labels = json_object_get(user, "labels"),
                           .roles = json_object_get(user, "roles")};
    one->set = rbac_set_new(one->roles, one->role_count, &one->user,
                            json_get_bool(json, "implicit_role", true) ? 0 : RBAC_WITHOUT_IMPLICIT_ROLE);
    return TP_OK;
}

void access_case_free(struct access_case *one)
{
    for (size_t i = 0; i < one->role_count; i++)
        role_unref(one->roles[i]);
    mem_free(one->roles);
    mem_free(one->labels);
    rbac_set_free(one->set);
    *one = (struct access_case){0};
}

/* ---- comparing ---- */

static bool same(const json_t *a, const json_t *b, bool ordered);

static bool same_list(const json_t *a, const json_t *b, bool ordered)
{
    size_t count = json_array_size(a);
    if (ordered) {
        if (json_array_size(b) != count)
            return false;
        for (size_t i = 0; i < count; i++)
            if (!same(json_array_get(a, i), json_array_get(b, i), ordered))
                return false;
        return true;
    }
    for (size_t pass = 0; pass < 2; pass++) {
        const json_t *left = pass ? b : a;
        const json_t *right = pass ? a : b;
        for (size_t i = 0; i < json_array_size(left); i++) {
            size_t at = 0;
            while (at < json_array_size(right) && !same(json_array_get(left, i), json_array_get(right, at), ordered))
                at++;
            if (at == json_array_size(right))
                return false;
        }
    }
    return true;
}

static bool same_object(const json_t *a, const json_t *b, bool ordered)
{
    const char *key;
    json_t *value;
    if (json_object_size(a) != json_object_size(b))
        return false;
    json_object_foreach ((json_t *)(uintptr_t)a, key, value)
        if (!json_object_get(b, key) || !same(value, json_object_get(b, key), ordered))
            return false;
    return true;
}

/* Lists are sets unless ordered; 8h and 8h0m0s are the same. */
static bool same(const json_t *a, const json_t *b, bool ordered)
{
    int64_t left, right;
    if (!a || !b || json_is_null(a) || json_is_null(b))
        return (!a || json_is_null(a)) && (!b || json_is_null(b));
    if (json_is_array(a) && json_is_array(b))
        return same_list(a, b, ordered);
    if (json_is_object(a) && json_is_object(b))
        return same_object(a, b, ordered);
    if (json_is_string(a) && json_is_string(b) && !json_equal(a, b))
        return clock_parse_duration_ms(json_string_value(a), &left) == TP_OK &&
               clock_parse_duration_ms(json_string_value(b), &right) == TP_OK && left == right;
    return json_equal(a, b);
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static void run_query(struct access_case *one, const char *query, struct access_outcome *out)
{
    struct tp_error error = {0};
    bool want_error = json_get_bool(one->json, "expect_error", false);
    const json_t *wanted = json_object_get(one->json, "expect_value");
    bool ordered = strcmp(query, "host_sudoers") == 0 || starts(query, "expand:") || starts(query, "field:");
    if (!want_error && !wanted) {
        out->result = ACCESS_ERROR;
        snprintf(out->reason, sizeof out->reason, "a query needs expect_value or expect_error");
        return;
    }
    out->got = access_query(one, query, &error);
    out->expected = want_error ? json_string("error") : json_incref((json_t *)(uintptr_t)wanted);
    if (*one->unsupported) {
        out->result = ACCESS_UNSUPPORTED;
        return;
    }
    if (!out->got) {
        snprintf(out->reason, sizeof out->reason, "%s", *error.text ? error.text : "there is no value");
        out->got = json_string("error");
        out->result = want_error ? ACCESS_PASS : ACCESS_FAIL;
        return;
    }
    /* Nothing at all where something was asked for is refused: a certificate with no user, a template with no value. */
    if (want_error)
        out->result = json_is_array(out->got) && json_array_size(out->got) == 0 ? ACCESS_PASS : ACCESS_FAIL;
    else
        out->result = same(wanted, out->got, ordered) ? ACCESS_PASS : ACCESS_FAIL;
    if (out->result == ACCESS_FAIL)
        snprintf(out->reason, sizeof out->reason, want_error ? "a value where an error is expected" : "another value");
}

static void run_decision(struct access_case *one, struct access_outcome *out)
{
    struct rbac_decision decision = {.reason = RBAC_NO_GRANT};
    const char *wanted = json_get_text(one->json, "expect", "");
    enum tp_err answer;
    if (strcmp(wanted, "allow") != 0 && strcmp(wanted, "deny") != 0) {
        out->result = ACCESS_ERROR;
        snprintf(out->reason, sizeof out->reason, "a case needs expect: allow or deny, or a query");
        return;
    }
    answer = access_decide(one, &decision);
    out->expected = json_string(wanted);
    out->got = json_string(answer == TP_OK ? "allow" : "deny");
    snprintf(out->role, sizeof out->role, "%s", decision.role);
    snprintf(out->reason, sizeof out->reason, "%s%s%s", rbac_reason_name(decision.reason), *decision.detail ? ": " : "",
             decision.detail);
    out->result = *one->unsupported                     ? ACCESS_UNSUPPORTED
                  : json_equal(out->expected, out->got) ? ACCESS_PASS
                                                        : ACCESS_FAIL;
}

void access_case_run(const struct node *node, const struct map *roles, struct access_outcome *ret_outcome)
{
    struct access_case one = {0};
    struct tp_error error = {0};
    json_t *json = node_to_json(node);
    const char *query = json_get_text(json, "query", NULL);
    bool want_error = json_get_bool(json, "expect_error", false);
    *ret_outcome = (struct access_outcome){0};
    if (access_case_read(node, json, roles, &one, &error)) {
        bool refused = one.role_refused;
        ret_outcome->result = refused && want_error ? ACCESS_PASS : ACCESS_ERROR;
        ret_outcome->expected = want_error ? json_string("error") : NULL;
        ret_outcome->got = json_string("error");
        snprintf(ret_outcome->reason, sizeof ret_outcome->reason, "%s", refused ? one.error.text : error.text);
        if (refused && query && strcmp(query, "validate") == 0 && !want_error)
            ret_outcome->result = ACCESS_FAIL;
    } else if (*one.unsupported) {
        ret_outcome->result = ACCESS_UNSUPPORTED;
    } else if (query) {
        run_query(&one, query, ret_outcome);
    } else if (want_error && one.role_refused) {
        ret_outcome->result = ACCESS_PASS;
    } else {
        run_decision(&one, ret_outcome);
    }
    if (*one.unsupported && ret_outcome->result != ACCESS_ERROR) {
        ret_outcome->result = ACCESS_UNSUPPORTED;
        snprintf(ret_outcome->reason, sizeof ret_outcome->reason, "%s", one.unsupported);
    }
    access_case_free(&one);
    json_decref(json);
}

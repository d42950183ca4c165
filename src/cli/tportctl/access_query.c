/* Values that a case may ask for. */
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/tportctl/access_case.h"
#include "rbac/join.h"
#include "rbac/kube.h"
#include "rbac/pred.h"
#include "rbac/request.h"
#include "rbac/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *after(const char *query, const char *prefix)
{
    size_t size = strlen(prefix);
    return strncmp(query, prefix, size) == 0 ? query + size : NULL;
}

static json_t *duration(int64_t ms)
{
    char text[CLOCK_TEXT_SIZE];
    clock_format_duration_ms(ms, text);
    return json_string(ms == 0 ? "0s" : text);
}

/* The member at a path of names with dots between them; a name may hold dots itself, and a number picks from a list. */
static const json_t *at_path(const json_t *value, const char *path)
{
    const char *dot;
    const json_t *found = json_object_get(value, path);
    if (found || !*path)
        return *path ? found : value;
    for (dot = strchr(path, '.'); dot; dot = strchr(dot + 1, '.')) {
        char *key = mem_strndup(path, (size_t)(dot - path));
        const json_t *inner =
            json_is_array(value) ? json_array_get(value, strtoul(key, NULL, 10)) : json_object_get(value, key);
        mem_free(key);
        found = inner ? at_path(inner, dot + 1) : NULL;
        if (found)
            return found;
    }
    return json_is_array(value) && *path >= '0' && *path <= '9' ? json_array_get(value, strtoul(path, NULL, 10)) : NULL;
}

static json_t *query_field(struct access_case *one, const char *path, struct tp_error *error)
{
    json_t *role;
    const json_t *found;
    json_t *value;
    if (one->role_count == 0) {
        (void)err_set(error, TP_INVALID, "field: needs a role");
        return NULL;
    }
    role = role_expand(one->roles[0], &one->user);
    found = at_path(role, path);
    if (!found)
        found = at_path(json_object_get(role, "spec"), path);
    value = found ? json_deep_copy(found) : json_null();
    json_decref(role);
    return value;
}

static json_t *query_expand(const struct access_case *one, const char *text, struct tp_error *error)
{
    struct template *item = NULL;
    struct names values = {0};
    json_t *traits, *list;
    const char *key;
    json_t *value;
    if (template_parse(text, &item, error))
        return NULL;
    traits = json_object();
    json_object_foreach ((json_t *)(uintptr_t)one->user.traits, key, value)
        json_object_set_new(traits, key, json_is_array(value) ? json_incref(value) : json_pack("[O]", value));
    template_expand(item, traits, &values);
    list = json_array();
    for (size_t i = 0; i < values.count; i++)
        json_array_append_new(list, json_string(values.items[i]));
    names_free(&values);
    template_free(item);
    json_decref(traits);
    return list;
}

static json_t *query_match(const struct access_case *one, const char *pattern, struct tp_error *error)
{
    const json_t *input = json_object_get(one->json, "input");
    size_t count = json_is_array(input) ? json_array_size(input) : 1;
    bool matches = false;
    for (size_t i = 0; i < count && !matches; i++) {
        const char *text = json_string_value(json_is_array(input) ? json_array_get(input, i) : input);
        if (rbac_pattern_match(pattern, text ? text : "", &matches, error))
            return NULL;
    }
    return json_boolean(matches);
}

static json_t *query_predicate(const struct access_case *one, const char *text, enum pred_dialect dialect,
                               struct tp_error *error)
{
    const json_t *resource = json_object_get(one->json, "resource");
    const char *kind = json_get_text(resource, "kind", "node");
    const char *hostname = json_get_text(resource, "hostname", NULL);
    const char *name = json_get_text(resource, "name", "");
    json_t *labels = json_object();
    json_t *user, *more, *document;
    struct rbac_context context;
    struct pred_env env = {.labels = one->labels, .label_count = one->target.label_count, .context = &context};
    struct pred *pred = NULL;
    enum pred_result answer = PRED_FAILED;
    for (size_t i = one->target.label_count; i-- > 0;)
        json_object_set_new(labels, one->labels[i].name, json_string(one->labels[i].value));
    document = json_pack("{s:s, s:{s:s, s:O}, s:{s:s, s:s}}", "kind", kind, "metadata", "name", name, "labels", labels,
                         "spec", "hostname", hostname ? hostname : "", "addr", json_get_text(resource, "addr", ""));
    more = json_pack("{s:s}", "name", strcmp(kind, "node") == 0 && hostname ? hostname : name);
    user = rbac_set_user(one->set);
    context = (struct rbac_context){.resource = document, .more = more};
    env.user = user;
    if (pred_parse(text, dialect, &pred, error) == TP_OK) {
        answer = pred_eval(pred, &env);
        if (answer == PRED_FAILED)
            (void)err_set(error, TP_INVALID, "the expression cannot be evaluated");
    }
    pred_free(pred);
    json_decref(user);
    json_decref(more);
    json_decref(document);
    json_decref(labels);
    return answer == PRED_FAILED ? NULL : json_boolean(answer == PRED_TRUE);
}

/* The list's items are asked for as an agent does it: with the rules that a grant has. */
static json_t *kube_items(const struct rbac_kube_rules *rules, struct rbac_kube_request request,
                          const json_t *inventory)
{
    const char *space = request.name_space;
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(inventory); i++) {
        const char *entry = json_string_value(json_array_get(inventory, i));
        const char *slash = entry ? strchr(entry, '/') : NULL;
        char *of = slash ? mem_strndup(entry, (size_t)(slash - entry)) : mem_strdup("");
        request.name_space = of;
        request.name = slash ? slash + 1 : entry ? entry : "";
        if (entry && (!*space || strcmp(space, "*") == 0 || strcmp(space, of) == 0) &&
            rbac_kube_check(rules, &request) == RBAC_KUBE_ALLOW)
            json_array_append_new(list, json_string(entry));
        mem_free(of);
    }
    return list;
}

static json_t *query_kube_list(const struct access_case *one, struct tp_error *error)
{
    const json_t *asked = json_object_get(one->json, "kube_resource");
    struct rbac_kube_request request = {.kind = json_get_text(asked, "kind", "pods"),
                                        .api_group = json_get_text(asked, "api_group", NULL),
                                        .name_space = json_get_text(asked, "namespace", ""),
                                        .name = "",
                                        .verb = json_get_text(asked, "verb", "list"),
                                        .collection = true};
    struct rbac_kube_rules *rules = NULL;
    struct rbac_decision decision;
    json_t *resources, *list = NULL;
    if (rbac_kube_access(one->set, &one->target, &one->access, &request, &decision)) {
        (void)err_set(error, TP_DENIED, "%s", decision.text);
        return NULL;
    }
    resources = rbac_kube_resources(one->set, &one->target);
    request.collection = false;
    if (rbac_kube_rules_new(resources, &rules, error) == TP_OK)
        list = kube_items(rules, request, json_object_get(one->json, "inventory"));
    rbac_kube_rules_free(rules);
    json_decref(resources);
    return list;
}

static json_t *query_ttl(const struct access_case *one, const char *query)
{
    struct rbac_options options;
    int64_t ttl = one->ttl_ms;
    rbac_merge_options(one->set, &one->cluster, &options);
    if (strcmp(query, "max_session_ttl") == 0)
        return rbac_option(one->set, &one->cluster, NULL, query);
    if (ttl == 0)
        ttl = options.max_session_ttl_ms == INT64_MAX ? 0 : options.max_session_ttl_ms;
    if (strcmp(query, "session_ttl") == 0) {
        if (!json_get_bool(one->json, "override_ttl", false) && options.max_session_ttl_ms < ttl)
            ttl = options.max_session_ttl_ms;
    } else if (options.mfa_verification_interval_ms > 0 && options.mfa_verification_interval_ms < ttl) {
        ttl = options.mfa_verification_interval_ms;
    }
    return duration(ttl);
}

static json_t *query_list(const struct access_case *one, const char *query)
{
    bool override = json_get_bool(one->json, "override_ttl", false);
    const struct rbac_target *target = one->has_target ? &one->target : NULL;
    int64_t ttl = override ? 0 : one->ttl_ms;
    bool groups = strcmp(query, "kube_groups") == 0 || strcmp(query, "kubernetes_groups") == 0;
    bool users = strcmp(query, "kube_users") == 0 || strcmp(query, "kubernetes_users") == 0;
    json_t *user_list, *group_list;
    if (!target || target->kind != ROLE_KUBE || (!groups && !users))
        return rbac_list(one->set, query, target, ttl);
    rbac_kube_subjects(one->set, target, ttl, &user_list, &group_list);
    json_decref(groups ? user_list : group_list);
    return groups ? group_list : user_list;
}

static json_t *query_word(struct access_case *one, const char *query)
{
    struct rbac_options options;
    rbac_merge_options(one->set, &one->cluster, &options);
    if (strcmp(query, "mfa_required") == 0)
        return json_string(rbac_need_name(options.mfa_required));
    return json_string(options.locking_mode == ROLE_LOCK_STRICT ? "strict" : "best_effort");
}

static json_t *modes_list(unsigned modes)
{
    static const char *const names[] = {"observer", "moderator", "peer"};
    json_t *list = json_array();
    for (size_t i = 0; i < 3; i++)
        if (modes & rbac_join_mode(names[i]))
            json_array_append_new(list, json_string(names[i]));
    return list;
}

/* Those of `input` that may be asked for. */
static json_t *requestable(const struct access_case *one)
{
    const json_t *input = json_object_get(one->json, "input");
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(input); i++) {
        const char *name = json_string_value(json_array_get(input, i));
        if (name && rbac_request_role(one->set, name, NULL) == TP_OK)
            json_array_append_new(list, json_string(name));
    }
    return list;
}

/* Requests, reviews and joining; NULL for other queries. */
static json_t *query_conditions(const struct access_case *one, const char *query)
{
    const json_t *request = json_object_get(one->json, "request");
    if (strcmp(query, "search_as_roles") == 0)
        return rbac_search_as_roles(one->set);
    if (strcmp(query, "preview_as_roles") == 0)
        return rbac_preview_as_roles(one->set);
    if (strcmp(query, "suggested_reviewers") == 0)
        return rbac_suggested_reviewers(one->set);
    if (strcmp(query, "request_annotations") == 0)
        return rbac_request_annotations(one->set);
    if (strcmp(query, "request_roles") == 0)
        return requestable(one);
    if (strcmp(query, "request_max_duration") == 0)
        return duration(rbac_request_max_ms(one->set, json_object_get(request, "roles")));
    if (strcmp(query, "request_state") == 0)
        return access_request_state(one);
    if (strcmp(query, "join_modes") == 0)
        return modes_list(access_join_modes(one));
    return strcmp(query, "session_state") == 0 ? access_session_state(one) : NULL;
}

json_t *access_query(struct access_case *one, const char *query, struct tp_error *error)
{
    const char *rest;
    json_t *value = NULL;
    if (strcmp(query, "validate") == 0) {
        if (one->role_refused)
            (void)err_set(error, TP_INVALID, "%s", one->error.text);
        return one->role_refused ? NULL : json_string("ok");
    }
    if ((rest = after(query, "field:")))
        return query_field(one, rest, error);
    if ((rest = after(query, "expand:")))
        return query_expand(one, rest, error);
    if ((rest = after(query, "match:")))
        return query_match(one, rest, error);
    if ((rest = after(query, "expression:")))
        return query_predicate(one, rest, PRED_LABELS, error);
    if ((rest = after(query, "filter:")))
        return query_predicate(one, rest, PRED_FILTER, error);
    if ((rest = after(query, "option:")))
        value = rbac_option(one->set, &one->cluster, one->has_target ? &one->target : NULL, rest);
    else if (strcmp(query, "max_session_ttl") == 0 || strcmp(query, "session_ttl") == 0 ||
             strcmp(query, "mfa_session_ttl") == 0)
        return query_ttl(one, query);
    else if (strcmp(query, "mfa_required") == 0 || strcmp(query, "locking_mode") == 0)
        return query_word(one, query);
    else if (strcmp(query, "kube_resources") == 0)
        return rbac_kube_resources(one->set, &one->target);
    else if (strcmp(query, "kube_list") == 0)
        return query_kube_list(one, error);
    else if (rbac_list_known(query))
        return query_list(one, query);
    else
        value = query_conditions(one, query);
    if (!value)
        snprintf(one->unsupported, sizeof one->unsupported, "the query \"%.120s\" is not supported", query);
    return value;
}

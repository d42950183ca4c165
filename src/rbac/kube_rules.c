/* Kubernetes rules in the form of v8 roles: compiled and asked. */
#include "rbac/kube_private.h"

#include "base/json.h"
#include "base/mem.h"
#include "rbac/pattern.h"

#include <string.h>

#define RULES_MAX 100000

/* A glob, or a regular expression where text starts with ^ and ends with $. */
struct kube_pattern {
    const char *text; /* belongs to the JSON */
    struct pattern *regex;
    bool broken; /* a regular expression that does not compile */
};

struct kube_rule {
    const char *kind;
    struct kube_pattern group;
    struct kube_pattern name_space;
    struct kube_pattern name;
    const json_t *verbs;
};

struct kube_list {
    size_t count;
    struct kube_rule *items;
};

struct rbac_kube_rules {
    json_t *source;
    struct kube_list allowed;
    struct kube_list denied;
    bool open;
};

/* The kinds of v7 roles. */
static const struct kind {
    const char *single;
    const char *plural;
    const char *group;
    bool cluster_wide;
} kinds[] = {
    {"pod", "pods", "", false},
    {"secret", "secrets", "", false},
    {"configmap", "configmaps", "", false},
    {"namespace", "namespaces", "", true},
    {"service", "services", "", false},
    {"serviceaccount", "serviceaccounts", "", false},
    {"kube_node", "nodes", "", true},
    {"persistentvolume", "persistentvolumes", "", true},
    {"persistentvolumeclaim", "persistentvolumeclaims", "", false},
    {"deployment", "deployments", "apps", false},
    {"replicaset", "replicasets", "apps", false},
    {"statefulset", "statefulsets", "apps", false},
    {"daemonset", "daemonsets", "apps", false},
    {"clusterrole", "clusterroles", "rbac.authorization.k8s.io", true},
    {"kube_role", "roles", "rbac.authorization.k8s.io", false},
    {"clusterrolebinding", "clusterrolebindings", "rbac.authorization.k8s.io", true},
    {"rolebinding", "rolebindings", "rbac.authorization.k8s.io", false},
    {"cronjob", "cronjobs", "batch", false},
    {"job", "jobs", "batch", false},
    {"certificatesigningrequest", "certificatesigningrequests", "certificates.k8s.io", true},
    {"ingress", "ingresses", "networking.k8s.io", false},
};

const char *rbac_kube_kind(size_t number, bool *ret_cluster_wide)
{
    if (number >= sizeof kinds / sizeof *kinds)
        return NULL;
    *ret_cluster_wide = kinds[number].cluster_wide;
    return kinds[number].single;
}

bool rbac_kube_is_cluster_wide(const char *kind)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kind, kinds[i].plural) == 0 || strcmp(kind, kinds[i].single) == 0)
            return kinds[i].cluster_wide;
    return false;
}

const char *rbac_kube_plural(const char *kind, const char **ret_group)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kind, kinds[i].single) != 0 && strcmp(kind, kinds[i].plural) != 0)
            continue;
        if (ret_group)
            *ret_group = kinds[i].group;
        return kinds[i].plural;
    }
    if (ret_group)
        *ret_group = NULL;
    return kind;
}

/* ---- compiling ---- */

static void pattern_set(struct kube_pattern *pattern, const char *text)
{
    pattern->text = text;
    if (pattern_is_regex(text))
        pattern->broken = pattern_new(text, &pattern->regex, NULL) != TP_OK;
}

static enum tp_err compile_list(const json_t *resources, const char *key, struct kube_list *list,
                                struct tp_error *error)
{
    const json_t *source = json_object_get(resources, key);
    size_t i;
    json_t *item;
    if (!json_is_array(source) || json_array_size(source) > RULES_MAX)
        return err_set(error, TP_INVALID, "\"kubernetes_resources\" has no list \"%s\"", key);
    list->items = mem_array(json_array_size(source) + 1, sizeof *list->items);
    json_array_foreach (source, i, item) {
        struct kube_rule *rule = &list->items[list->count++];
        rule->kind = json_get_text(item, "kind", NULL);
        rule->verbs = json_object_get(item, "verbs");
        if (!rule->kind || !json_is_array(rule->verbs))
            return err_set(error, TP_INVALID, "rule %zu of \"%s\" has no \"kind\" or no \"verbs\"", i + 1, key);
        pattern_set(&rule->group, json_get_text(item, "api_group", ""));
        pattern_set(&rule->name_space, json_get_text(item, "namespace", ""));
        pattern_set(&rule->name, json_get_text(item, "name", ""));
    }
    return TP_OK;
}

static void list_free(struct kube_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        pattern_free(list->items[i].group.regex);
        pattern_free(list->items[i].name_space.regex);
        pattern_free(list->items[i].name.regex);
    }
    mem_free(list->items);
}

static bool is_star(const struct kube_pattern *pattern)
{
    return strcmp(pattern->text, "*") == 0;
}

static bool rule_has_verb(const struct kube_rule *rule, const char *verb)
{
    size_t i;
    json_t *item;
    json_array_foreach (rule->verbs, i, item) {
        const char *text = json_string_value(item);
        if (text && (strcmp(text, "*") == 0 || strcmp(text, verb) == 0))
            return true;
    }
    return false;
}

static bool rule_is_open(const struct kube_rule *rule)
{
    return strcmp(rule->kind, "*") == 0 && is_star(&rule->group) && is_star(&rule->name_space) &&
           is_star(&rule->name) && rule_has_verb(rule, "*");
}

enum tp_err rbac_kube_rules_new(const json_t *resources, struct rbac_kube_rules **ret_rules, struct tp_error *error)
{
    struct rbac_kube_rules *rules = mem_alloc(sizeof *rules);
    enum tp_err err;
    rules->source = json_deep_copy(resources);
    err = compile_list(rules->source, "allowed", &rules->allowed, error);
    if (!err)
        err = compile_list(rules->source, "denied", &rules->denied, error);
    if (err) {
        rbac_kube_rules_free(rules);
        return err;
    }
    for (size_t i = 0; i < rules->allowed.count && rules->denied.count == 0; i++)
        rules->open |= rule_is_open(&rules->allowed.items[i]);
    *ret_rules = rules;
    return TP_OK;
}

void rbac_kube_rules_free(struct rbac_kube_rules *rules)
{
    if (!rules)
        return;
    list_free(&rules->allowed);
    list_free(&rules->denied);
    json_decref(rules->source);
    mem_free(rules);
}

bool rbac_kube_rules_open(const struct rbac_kube_rules *rules)
{
    return rules->open;
}

/* ---- asking ---- */

/* A request with nothing left out. */
struct asked {
    const char *kind;
    const char *group;
    const char *name_space;
    const char *name;
    const char *verb;
    bool reads_namespaces;
};

static bool matches(const struct kube_pattern *pattern, const char *text, bool deny)
{
    if (pattern->broken)
        return deny;
    if (!pattern->regex)
        return pattern_glob(pattern->text, text);
    switch (pattern_match(pattern->regex, text)) {
    case PATTERN_YES:
        return true;
    case PATTERN_NO:
        return false;
    case PATTERN_FAILED:
        break;
    }
    return deny;
}

/* Does the pattern stand for every name? Only such forms as people write for that; a no is the safe answer. */
static bool matches_all(const struct kube_pattern *pattern)
{
    return is_star(pattern) || strcmp(pattern->text, "^.*$") == 0 || strcmp(pattern->text, "^.+$") == 0;
}

static bool kind_and_group(const struct kube_rule *rule, const struct asked *asked, bool deny)
{
    return (strcmp(rule->kind, "*") == 0 || strcmp(rule->kind, asked->kind) == 0) &&
           matches(&rule->group, asked->group, deny);
}

static bool in_namespace(const struct kube_rule *rule, const struct asked *asked, bool deny)
{
    if (!*asked->name_space)
        return !*rule->name_space.text || is_star(&rule->name_space);
    return *rule->name_space.text && matches(&rule->name_space, asked->name_space, deny);
}

/* One object. */
static bool covers(const struct kube_rule *rule, const struct asked *asked, bool deny)
{
    if (!rule_has_verb(rule, asked->verb))
        return false;
    /* What lies in a namespace makes that namespace readable, but never hides it. */
    if (!deny && asked->reads_namespaces && strcmp(rule->kind, "namespaces") != 0 && *rule->name_space.text &&
        matches(&rule->name_space, asked->name, deny))
        return true;
    return kind_and_group(rule, asked, deny) && matches(&rule->name, asked->name, deny) &&
           in_namespace(rule, asked, deny);
}

static bool any_covers(const struct kube_list *list, const struct asked *asked, bool deny)
{
    for (size_t i = 0; i < list->count; i++)
        if (covers(&list->items[i], asked, deny))
            return true;
    return false;
}

/* Every object of the collection? A collection over all namespaces may also be one of cluster-wide objects. */
static bool covers_whole(const struct kube_rule *rule, const struct asked *asked, bool deny)
{
    if (!rule_has_verb(rule, asked->verb) || !kind_and_group(rule, asked, deny) || !matches_all(&rule->name))
        return false;
    if (*asked->name_space)
        return *rule->name_space.text && matches(&rule->name_space, asked->name_space, deny);
    if (is_star(&rule->name_space))
        return true;
    return rbac_kube_is_cluster_wide(asked->kind) ? !*rule->name_space.text : matches_all(&rule->name_space);
}

/* Some object of it? */
static bool covers_some(const struct kube_rule *rule, const struct asked *asked, bool deny)
{
    if (!rule_has_verb(rule, asked->verb))
        return false;
    if (!deny && asked->reads_namespaces && *rule->name_space.text)
        return true;
    if (!kind_and_group(rule, asked, deny))
        return false;
    if (*asked->name_space)
        return *rule->name_space.text && matches(&rule->name_space, asked->name_space, deny);
    return !rbac_kube_is_cluster_wide(asked->kind) || !*rule->name_space.text || is_star(&rule->name_space);
}

static enum rbac_kube_answer check_collection(const struct rbac_kube_rules *rules, const struct asked *asked)
{
    bool some = false;
    bool whole = false;
    bool denied = false;
    for (size_t i = 0; i < rules->denied.count; i++) {
        if (covers_whole(&rules->denied.items[i], asked, true))
            return RBAC_KUBE_DENY;
        denied |= covers_some(&rules->denied.items[i], asked, true);
    }
    for (size_t i = 0; i < rules->allowed.count; i++) {
        some |= covers_some(&rules->allowed.items[i], asked, false);
        whole |= covers_whole(&rules->allowed.items[i], asked, false);
    }
    if (!some)
        return RBAC_KUBE_DENY;
    return whole && !denied ? RBAC_KUBE_ALLOW : RBAC_KUBE_FILTER;
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static struct asked read_asked(const struct rbac_kube_request *request)
{
    const char *group = NULL;
    struct asked asked = {.kind = rbac_kube_plural(or_empty(request->kind), &group),
                          .name_space = or_empty(request->name_space),
                          .name = or_empty(request->name),
                          .verb = or_empty(request->verb)};
    asked.group = request->api_group ? request->api_group : or_empty(group);
    asked.reads_namespaces =
        strcmp(asked.kind, "namespaces") == 0 && !*asked.group &&
        (strcmp(asked.verb, "get") == 0 || strcmp(asked.verb, "list") == 0 || strcmp(asked.verb, "watch") == 0);
    return asked;
}

static bool any_names(const struct kube_list *list, const struct asked *asked)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name.text, asked->name) == 0 && covers(&list->items[i], asked, false))
            return true;
    return false;
}

enum rbac_kube_answer rbac_kube_check(const struct rbac_kube_rules *rules, const struct rbac_kube_request *request)
{
    struct asked asked = read_asked(request);
    if (request->collection)
        return check_collection(rules, &asked);
    struct asked written = asked;
    written.name = request->written ? request->written : asked.name;
    if (any_covers(&rules->denied, &asked, true) || any_covers(&rules->denied, &written, true))
        return RBAC_KUBE_DENY;
    return any_covers(&rules->allowed, &asked, false) || any_names(&rules->allowed, &written) ? RBAC_KUBE_ALLOW
                                                                                              : RBAC_KUBE_DENY;
}

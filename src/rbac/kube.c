/* Kubernetes: users, groups and rules out of a set of roles. */
#include "rbac/kube_private.h"
#include "rbac/role_private.h"

#include "base/mem.h"

#include <string.h>

/* ---- users and groups ---- */

static bool selects(const struct rbac_set *set, const struct set_section *section, const struct rbac_target *target,
                    bool deny)
{
    return set_section_in_namespace(section, target) && set_section_selects(set, section, target, deny, NULL, 0);
}

/* Without labels and expression a deny section is for every cluster. */
static bool denies_here(const struct rbac_set *set, const struct set_section *section, const struct rbac_target *target)
{
    const struct role_expression *expression = &section->from->expressions[ROLE_KUBE];
    bool everywhere = section->labels[ROLE_KUBE].count == 0 && !expression->pred && !expression->broken;
    return everywhere ? set_section_in_namespace(section, target) : selects(set, section, target, true);
}

static json_t *subjects(const struct rbac_set *set, const struct rbac_target *target, int64_t ttl_ms,
                        enum role_list which)
{
    struct names allowed = {0};
    struct names denied = {0};
    json_t *list = json_array();
    for (size_t i = 0; i < set->count; i++) {
        const struct set_role *one = &set->roles[i];
        if (one->role->options.max_session_ttl_ms >= ttl_ms && selects(set, &one->allow, target, false))
            template_list_expand(&one->allow.from->lists[which], set->traits, &allowed);
        if (denies_here(set, &one->deny, target))
            template_list_expand(&one->deny.from->lists[which], set->traits, &denied);
    }
    names_sort(&allowed);
    for (size_t i = 0; i < allowed.count; i++)
        if (!names_has(&denied, allowed.items[i]) && !names_has(&denied, "*"))
            json_array_append_new(list, json_string(allowed.items[i]));
    names_free(&allowed);
    names_free(&denied);
    return list;
}

void rbac_kube_subjects(const struct rbac_set *set, const struct rbac_target *target, int64_t ttl_ms,
                        json_t **ret_users, json_t **ret_groups)
{
    *ret_users = subjects(set, target, ttl_ms, ROLE_KUBE_USERS);
    *ret_groups = subjects(set, target, ttl_ms, ROLE_KUBE_GROUPS);
}

/* ---- rules ---- */

struct rule {
    const char *kind;
    const char *group;
    const char *name_space;
    const char *name;
    const struct names *verbs; /* NULL: all */
};

static void put(json_t *list, const struct rule *rule)
{
    json_t *verbs = json_array();
    json_t *item;
    if (!rule->verbs)
        json_array_append_new(verbs, json_string("*"));
    for (size_t i = 0; rule->verbs && i < rule->verbs->count; i++)
        json_array_append_new(verbs, json_string(rule->verbs->items[i]));
    item = json_pack("{s:s, s:s, s:s, s:s, s:o}", "kind", rule->kind, "api_group", rule->group, "namespace",
                     rule->name_space, "name", rule->name, "verbs", verbs);
    for (size_t i = 0; item && i < json_array_size(list); i++) {
        if (json_equal(json_array_get(list, i), item)) {
            json_decref(item);
            return;
        }
    }
    if (item)
        json_array_append_new(list, item);
}

/* A rule of a v7 role. A namespace stands for itself and for all that is in it; a rule for every kind in some namespace
 * also covers the cluster-wide kinds, namespaces apart. A denied kind is denied in whatever API group it is served. */
static void put_v7(json_t *list, struct rule rule, bool deny)
{
    const char *group = NULL;
    bool every = strcmp(rule.kind, "*") == 0;
    bool cluster_wide = rbac_kube_is_cluster_wide(rule.kind);
    struct rule more = rule;
    rule.kind = rbac_kube_plural(rule.kind, &group);
    rule.group = every || deny || !group ? "*" : group;
    if (cluster_wide)
        rule.name_space = "";
    put(list, &rule);
    if (strcmp(rule.kind, "namespaces") == 0) {
        /* "*" would mean cluster-wide objects too. */
        more = (struct rule){"*", "*", strcmp(rule.name, "*") == 0 ? "^.+$" : rule.name, "*", rule.verbs};
        put(list, &more);
    }
    /* Who may have a service may have its endpoints. */
    if (strcmp(rule.kind, "services") == 0) {
        struct rule endpoints = rule;
        endpoints.kind = "endpoints";
        put(list, &endpoints);
    }
    if (every && strcmp(rule.name_space, "*") != 0) {
        const char *kind;
        for (size_t i = 0; (kind = rbac_kube_kind(i, &cluster_wide)); i++) {
            more.kind = rbac_kube_plural(kind, &group);
            more.group = deny ? "*" : group;
            more.name_space = "";
            if (cluster_wide && strcmp(kind, "namespace") != 0)
                put(list, &more);
        }
    }
}

static void put_any_version(json_t *list, const struct role *role, const struct rule *rule, bool deny)
{
    if (role->version >= 8)
        put(list, rule);
    else
        put_v7(list, *rule, deny);
}

/* The values of one field; a template may give several. One that cannot be read never allows and denies everything. */
static void field_values(const struct rbac_set *set, const char *text, bool deny, struct names *values)
{
    struct template *template = NULL;
    if (!text || !strstr(text, "{{")) {
        names_add(values, text ? text : "");
    } else if (template_parse(text, &template, NULL) == TP_OK) {
        template_expand(template, set->traits, values);
        template_free(template);
    } else if (deny) {
        names_add(values, "*");
    }
}

static void put_written(const struct rbac_set *set, const struct role *role, const struct role_kube *kube, bool deny,
                        json_t *list)
{
    struct names spaces = {0};
    struct names names = {0};
    field_values(set, kube->name_space, deny, &spaces);
    field_values(set, kube->name, deny, &names);
    for (size_t i = 0; i < spaces.count; i++) {
        for (size_t j = 0; j < names.count; j++) {
            struct rule rule = {kube->kind ? kube->kind : "", kube->api_group ? kube->api_group : "", spaces.items[i],
                                names.items[j], &kube->verbs};
            put_any_version(list, role, &rule, deny);
        }
    }
    names_free(&spaces);
    names_free(&names);
}

static bool is_text(const char *text, const char *wanted)
{
    return text && strcmp(text, wanted) == 0;
}

/* Roles before v7 know pods only and leave every other kind alone, namespace objects apart; one that lists all pods opens
 * everything. v6 lists pods or has none; before v6 nothing listed means all. */
static void put_old(const struct rbac_set *set, const struct role *role, json_t *list)
{
    static const struct rule everything = {"*", "*", "*", "*", NULL};
    const struct role_section *section = &role->allow;
    bool open = section->kube_count == 0 && role->version < 6;
    const char *kind;
    bool cluster_wide;
    for (size_t i = 0; i < section->kube_count; i++)
        open |= is_text(section->kube[i].name_space, "*") && is_text(section->kube[i].name, "*");
    if (open) {
        put(list, &everything);
        return;
    }
    for (size_t i = 0; i < section->kube_count; i++)
        put_written(set, role, &section->kube[i], false, list);
    for (size_t i = 0; (kind = rbac_kube_kind(i, &cluster_wide)); i++) {
        struct rule rule = {kind, "", "*", "*", NULL};
        if (strcmp(kind, "pod") != 0 && strcmp(kind, "namespace") != 0)
            put_v7(list, rule, false);
    }
}

static void put_allowed(const struct rbac_set *set, const struct role *role, json_t *list)
{
    static const struct rule everything = {"*", "*", "*", "*", NULL};
    if (role->version < 7) {
        put_old(set, role, list);
        return;
    }
    if (role->allow.kube_count == 0)
        put(list, &everything);
    for (size_t i = 0; i < role->allow.kube_count; i++)
        put_written(set, role, &role->allow.kube[i], false, list);
}

/* What a role denies here: its namespaces are looked at, its labels are not. */
static void put_denied(const struct rbac_set *set, const struct set_role *one, const struct rbac_target *target,
                       json_t *list)
{
    const struct role_section *section = &one->role->deny;
    if (!set_section_in_namespace(&one->deny, target))
        return;
    for (size_t i = 0; i < section->kube_count; i++)
        put_written(set, one->role, &section->kube[i], true, list);
}

json_t *rbac_kube_resources(const struct rbac_set *set, const struct rbac_target *target)
{
    json_t *allowed = json_array();
    json_t *denied = json_array();
    for (size_t i = 0; i < set->count; i++) {
        const struct set_role *one = &set->roles[i];
        if (selects(set, &one->allow, target, false))
            put_allowed(set, one->role, allowed);
        put_denied(set, one, target, denied);
    }
    return json_pack("{s:o, s:o}", "allowed", allowed, "denied", denied);
}

/* ---- one role, one request ---- */

static enum rbac_kube_answer ask(json_t *allowed, json_t *denied, const struct rbac_kube_request *request)
{
    json_t *resources = json_pack("{s:o, s:o}", "allowed", allowed, "denied", denied);
    struct rbac_kube_rules *rules = NULL;
    enum rbac_kube_answer answer = RBAC_KUBE_DENY;
    if (rbac_kube_rules_new(resources, &rules, NULL) == TP_OK)
        answer = rbac_kube_check(rules, request);
    rbac_kube_rules_free(rules);
    json_decref(resources);
    return answer;
}

bool rbac_kube_role_allows(const struct rbac_set *set, const struct role *role, const struct rbac_kube_request *request)
{
    json_t *allowed = json_array();
    put_allowed(set, role, allowed);
    return ask(allowed, json_array(), request) != RBAC_KUBE_DENY;
}

bool rbac_kube_role_denies(const struct rbac_set *set, const struct set_role *one, const struct rbac_target *target,
                           const struct rbac_kube_request *request)
{
    static const struct rule everything = {"*", "*", "*", "*", NULL};
    json_t *denied = json_array();
    json_t *allowed;
    put_denied(set, one, target, denied);
    if (json_array_size(denied) == 0) {
        json_decref(denied);
        return false;
    }
    allowed = json_array();
    put(allowed, &everything);
    return ask(allowed, denied, request) == RBAC_KUBE_DENY;
}

enum tp_err rbac_kube_access(const struct rbac_set *set, const struct rbac_target *target,
                             const struct rbac_access *access, const struct rbac_kube_request *request,
                             struct rbac_decision *ret_decision)
{
    struct rbac_access with = *access;
    with.kube_resource = request;
    return rbac_access(set, target, &with, ret_decision);
}

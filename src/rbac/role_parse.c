#include "rbac/role_private.h"

#include "base/buf.h"
#include "base/mem.h"
#include "rbac/pattern.h"
#include "rbac/schema.h"

#include <string.h>

struct reading {
    struct role *role;
    enum role_strict strict;
    struct buf warnings;
    struct tp_error *error;
};

static enum tp_err read_template(struct reading *reading, const struct node *item, const char *path,
                                 struct template **ret_template)
{
    enum tp_err result = template_parse(item->text, ret_template, reading->error);
    const char *unknown;
    if (result && reading->strict == ROLE_STORED) {
        *ret_template = template_broken(item->text);
        return TP_OK;
    }
    if (result) {
        err_prefix(reading->error, "line %d: \"%s\"", item->line, path);
        return result;
    }
    unknown = template_unknown_internal(*ret_template);
    if (unknown)
        buf_printf(&reading->warnings,
                   "line %d: \"%s\": there is no internal trait \"%.60s\", so this entry gives nothing\n", item->line,
                   path, unknown);
    return TP_OK;
}

/* Lists in which a wildcard would hand out everything. */
static bool wildcard_refused(size_t list, bool deny)
{
    if (list == ROLE_DB_ROLES)
        return true;
    return !deny && (list == ROLE_LOGINS || list == ROLE_AWS_ARNS || list == ROLE_AZURE || list == ROLE_GCP);
}

static enum tp_err read_lists(struct reading *reading, const struct node *map, bool deny, struct role_section *section)
{
    for (size_t i = 0; i < ROLE_LIST_COUNT; i++) {
        const struct node *list = schema_get(map, role_list_keys[i]);
        for (size_t j = 0; list && j < list->count; j++) {
            const struct node *item = list->items[j];
            struct template *one = NULL;
            enum tp_err result;
            if (wildcard_refused(i, deny) && strcmp(item->text, "*") == 0)
                return err_set(reading->error, TP_INVALID,
                               "line %d: \"%s\" must not hold the wildcard \"*\"; name each entry", item->line,
                               role_list_keys[i]);
            result = read_template(reading, item, role_list_keys[i], &one);
            if (result)
                return result;
            template_list_add(&section->lists[i], one);
        }
    }
    return TP_OK;
}

static enum tp_err read_labels(struct reading *reading, const struct node *map, struct role_section *section)
{
    for (size_t i = 0; i < ROLE_TARGET_COUNT; i++) {
        const struct node *labels = schema_get(map, role_label_keys[i]);
        const struct node *expression = schema_get(map, role_expression_keys[i]);
        enum tp_err result;
        if (labels) {
            result =
                label_template_parse(labels, reading->strict, role_label_keys[i], &section->labels[i], reading->error);
            if (result)
                return result;
        }
        if (!expression || !*expression->text)
            continue;
        result = pred_parse(expression->text, PRED_LABELS, &section->expressions[i].pred, reading->error);
        if (result && reading->strict == ROLE_WRITTEN) {
            err_prefix(reading->error, "line %d: \"%s\"", expression->line, role_expression_keys[i]);
            return result;
        }
        section->expressions[i].broken = result != TP_OK;
    }
    return TP_OK;
}

static const char *const v7_kinds[] = {"pod",
                                       "secret",
                                       "configmap",
                                       "namespace",
                                       "service",
                                       "serviceaccount",
                                       "kube_node",
                                       "persistentvolume",
                                       "persistentvolumeclaim",
                                       "deployment",
                                       "replicaset",
                                       "statefulset",
                                       "daemonset",
                                       "clusterrole",
                                       "kube_role",
                                       "clusterrolebinding",
                                       "rolebinding",
                                       "cronjob",
                                       "job",
                                       "certificatesigningrequest",
                                       "ingress",
                                       "*",
                                       NULL};
static const char *const v7_cluster_wide[] = {
    "kube_node", "persistentvolume", "clusterrole", "clusterrolebinding", "certificatesigningrequest", "namespace",
    NULL};
static const char *const kube_verbs[] = {"get",    "list",        "watch",  "create",
                                         "update", "patch",       "delete", "deletecollection",
                                         "exec",   "portforward", "*",      NULL};

static enum tp_err check_kube(const struct reading *reading, const struct node *node, const struct role_kube *kube)
{
    const char *wrong = NULL;
    int version = reading->role->version;
    if (reading->strict == ROLE_STORED)
        return TP_OK;
    if (!kube->kind || !*kube->kind)
        wrong = "\"kind\" is missing";
    else if (!kube->name || !*kube->name)
        wrong = "\"name\" is missing";
    else if (version <= 6 && strcmp(kube->kind, "pod") != 0)
        wrong = "roles before v7 know the kind \"pod\" only";
    else if (version <= 6 &&
             (kube->verbs.count > 1 || (kube->verbs.count == 1 && strcmp(kube->verbs.items[0], "*") != 0)))
        wrong = "roles before v7 take the verbs [\"*\"] only";
    else if (version == 7 && !names_listed(v7_kinds, kube->kind))
        wrong = "the kind is none that v7 roles know; v8 roles take any";
    else if (version <= 7 && (!kube->name_space || !*kube->name_space) && !names_listed(v7_cluster_wide, kube->kind))
        wrong = "\"namespace\" is missing";
    else if (version == 8 && !kube->api_group && strcmp(kube->kind, "*") == 0)
        wrong = "\"api_group\" is missing";
    else if (version < 8 && kube->api_group && *kube->api_group)
        wrong = "\"api_group\" needs a v8 role";
    else if (names_has(&kube->verbs, "*") && kube->verbs.count > 1)
        wrong = "the verb \"*\" stands alone";
    for (size_t i = 0; !wrong && i < kube->verbs.count; i++)
        if (!names_listed(kube_verbs, kube->verbs.items[i]))
            wrong = "there is a verb that is not known";
    return wrong ? err_set(reading->error, TP_INVALID, "line %d: \"kubernetes_resources\": %s", node->line, wrong)
                 : TP_OK;
}

/* Of what can be proxied to, rules see the name without scheme and port, or a whole one with them (rbac/kube.h). */
static void warn_port(struct reading *reading, const struct node *node, const struct role_kube *kube)
{
    static const char *const proxied[] = {"pod", "pods", "service", "services", "kube_node", "nodes", NULL};
    if (kube->kind && names_listed(proxied, kube->kind) && kube->name && strchr(kube->name, ':') &&
        (strchr(kube->name, '*') || pattern_is_regex(kube->name)))
        buf_printf(
            &reading->warnings,
            "line %d: \"kubernetes_resources\": the name \"%.60s\" allows nothing; without scheme and port it is "
            "for all of them, and with them it takes no pattern\n",
            node->line, kube->name);
}

static char *copy_text(const struct node *map, const char *key)
{
    const char *text = node_get_text(map, key, NULL);
    return text ? mem_strdup(text) : NULL;
}

static enum tp_err read_kube(struct reading *reading, const struct node *map, bool deny, struct role_section *section)
{
    const struct node *list = schema_get(map, "kubernetes_resources");
    if (!list)
        return TP_OK;
    section->kube_set = true;
    section->kube = mem_array(list->count + 1, sizeof *section->kube);
    for (size_t i = 0; i < list->count; i++) {
        const struct node *node = list->items[i];
        const struct node *verbs = schema_get(node, "verbs");
        struct role_kube *kube = &section->kube[section->kube_count++];
        enum tp_err result;
        kube->kind = copy_text(node, "kind");
        kube->api_group = copy_text(node, "api_group");
        kube->name_space = copy_text(node, "namespace");
        kube->name = copy_text(node, "name");
        for (size_t j = 0; verbs && j < verbs->count; j++)
            names_add_once(&kube->verbs, verbs->items[j]->text);
        if (!verbs && reading->role->version < 7)
            names_add(&kube->verbs, "*");
        result = check_kube(reading, node, kube);
        if (result)
            return result;
        if (!deny)
            warn_port(reading, node, kube);
    }
    return TP_OK;
}

static enum tp_err check_impersonate(const struct reading *reading, const struct node *map, bool deny)
{
    const struct node *where = schema_get(schema_get(map, "impersonate"), "where");
    struct pred *pred = NULL;
    enum tp_err result;
    if (!where || !*where->text)
        return TP_OK;
    if (deny)
        return err_set(reading->error, TP_INVALID, "line %d: \"deny.impersonate\" must not have \"where\"",
                       where->line);
    result = pred_parse(where->text, PRED_WHERE, &pred, reading->error);
    if (result)
        err_prefix(reading->error, "line %d: \"impersonate.where\"", where->line);
    pred_free(pred);
    return result;
}

static void warn_kinds(struct reading *reading, const struct role_section *section)
{
    for (size_t i = 0; i < section->rule_count; i++) {
        for (size_t j = 0; j < section->rules[i].kinds.count; j++) {
            const char *kind = section->rules[i].kinds.items[j];
            const char *meant = names_nearest(rbac_kinds, kind);
            if (strcmp(kind, "*") != 0 && !names_listed(rbac_kinds, kind))
                buf_printf(&reading->warnings, "line %d: there is no resource \"%.60s\" here%s%s%s\n",
                           section->rules[i].line, kind, meant ? "; did you mean \"" : "", meant ? meant : "",
                           meant ? "\"?" : "");
        }
    }
}

static enum tp_err read_section(struct reading *reading, const struct node *map, bool deny,
                                struct role_section *section)
{
    const struct node *namespaces = schema_get(map, "namespaces");
    enum tp_err result = read_lists(reading, map, deny, section);
    if (!result)
        result = read_labels(reading, map, section);
    if (!result)
        result = role_rules_read(schema_get(map, "rules"), reading->strict, section, reading->error);
    if (!result)
        result = read_kube(reading, map, deny, section);
    if (!result && reading->strict == ROLE_WRITTEN)
        result = check_impersonate(reading, map, deny);
    if (!result && reading->strict == ROLE_WRITTEN)
        result = role_conditions_check(map, reading->error);
    if (result)
        return result;
    section->conditions = role_conditions_read(map);
    for (size_t i = 0; namespaces && i < namespaces->count; i++)
        names_add_once(&section->namespaces, namespaces->items[i]->text);
    if (section->namespaces.count == 0)
        names_add(&section->namespaces, "default");
    warn_kinds(reading, section);
    return TP_OK;
}

static void add_kube_default(struct role_section *section, const char *kind, const char *api_group)
{
    struct role_kube *kube;
    section->kube_set = true;
    mem_free(section->kube);
    section->kube = mem_array(1, sizeof *section->kube);
    section->kube_count = 1;
    kube = section->kube;
    kube->kind = mem_strdup(kind);
    kube->api_group = api_group ? mem_strdup(api_group) : NULL;
    kube->name_space = mem_strdup("*");
    kube->name = mem_strdup("*");
    names_add(&kube->verbs, "*");
}

/* What an absent key means depends on the version (behaviour of roles, version defaults). */
static void apply_version(struct role *role)
{
    struct role_section *allow = &role->allow;
    if (role->version == 3) {
        static const enum role_target open[] = {ROLE_APP, ROLE_KUBE, ROLE_DB};
        if (!allow->labels[ROLE_NODE].set && allow->lists[ROLE_LOGINS].count > 0)
            label_template_all(&allow->labels[ROLE_NODE]);
        for (size_t i = 0; i < sizeof open / sizeof *open; i++)
            if (!allow->labels[open[i]].set)
                label_template_all(&allow->labels[open[i]]);
    }
    if (allow->kube_set || role->version == 6 || allow->labels[ROLE_KUBE].count == 0)
        return;
    if (role->version <= 5)
        add_kube_default(allow, "pod", NULL);
    else
        add_kube_default(allow, "*", role->version == 8 ? "*" : NULL);
}

static enum tp_err check_name(const struct node *document, struct tp_error *error)
{
    const struct node *name = node_get(node_get(document, "metadata"), "name");
    if (!role_name_valid(name->text))
        return err_set(error, TP_INVALID,
                       "line %d: \"%.80s\" cannot be the name of a role: use letters, digits and . _ - @ + :",
                       name->line, name->text);
    if (role_name_is_system(name->text))
        return err_set(error, TP_INVALID, "line %d: \"%.80s\" is reserved for the system; choose another role name",
                       name->line, name->text);
    return TP_OK;
}

enum tp_err role_parse(const struct node *document, enum role_strict strict, struct role **ret_role,
                       struct tp_error *error)
{
    struct reading reading = {.strict = strict, .error = error};
    const struct node *spec;
    struct role *role;
    enum tp_err result = role_check(document, error);
    if (!result)
        result = check_name(document, error);
    if (result)
        return result;
    role = mem_alloc(sizeof *role);
    role->references = 1;
    role->version = node_get_text(document, "version", "v0")[1] - '0';
    role->name = mem_strdup(node_get_text(node_get(document, "metadata"), "name", ""));
    role->expires_ms = schema_time(node_get(document, "metadata"), "expires");
    role->document = node_to_json(document);
    reading.role = role;
    buf_init(&reading.warnings, 8192);
    spec = schema_get(document, "spec");
    role_options_read(schema_get(spec, "options"), &role->options);
    result = read_section(&reading, schema_get(spec, "allow"), false, &role->allow);
    if (!result)
        result = read_section(&reading, schema_get(spec, "deny"), true, &role->deny);
    if (result) {
        buf_free(&reading.warnings);
        role_unref(role);
        return result;
    }
    apply_version(role);
    role->warnings = buf_take(&reading.warnings);
    *ret_role = role;
    return TP_OK;
}

enum tp_err role_parse_text(const char *text, size_t size, const char *file, enum role_strict strict,
                            struct role **ret_role, struct tp_error *error)
{
    struct node *document = NULL;
    enum tp_err result = node_parse_one(text, size, file, &document, error);
    if (result)
        return result;
    result = role_parse(document, strict, ret_role, error);
    if (result && file)
        err_prefix(error, "%s", file);
    node_free(document);
    return result;
}

enum tp_err role_parse_json(const json_t *value, enum role_strict strict, struct role **ret_role,
                            struct tp_error *error)
{
    struct node *document = NULL;
    enum tp_err result = node_from_json(value, "role", &document, error);
    if (!result)
        result = role_parse(document, strict, ret_role, error);
    node_free(document);
    return result;
}

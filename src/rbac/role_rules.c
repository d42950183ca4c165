#include "rbac/role_private.h"

#include "base/mem.h"
#include "rbac/schema.h"

#include <stdlib.h>
#include <string.h>

const char *const rbac_verbs[] = {"list",   "create", "read",   "readnosecrets",       "update", "delete",
                                  "rotate", "use",    "enroll", "create_enroll_token", NULL};

const char *const rbac_kinds[] = {"user",
                                  "role",
                                  "token",
                                  "node",
                                  "session",
                                  "event",
                                  "ssh_session",
                                  "session_tracker",
                                  "cert_authority",
                                  "auth_connector",
                                  "oidc",
                                  "saml",
                                  "github",
                                  "trusted_cluster",
                                  "remote_cluster",
                                  "cluster_auth_preference",
                                  "cluster_networking_config",
                                  "session_recording_config",
                                  "cluster_audit_config",
                                  "cluster_name",
                                  "cluster_config",
                                  "kube_server",
                                  "kube_cluster",
                                  "app_server",
                                  "app",
                                  "db_server",
                                  "db",
                                  "db_service",
                                  "database_certificate",
                                  "windows_desktop",
                                  "windows_desktop_service",
                                  "lock",
                                  "access_request",
                                  "host_cert",
                                  "proxy",
                                  "auth_server",
                                  "tunnel",
                                  "reverse_tunnel",
                                  "instance",
                                  "installer",
                                  "connection_diagnostic",
                                  "ui_config",
                                  "bot",
                                  "device",
                                  "semaphore",
                                  "usage_event",
                                  "cluster_alert",
                                  "cluster_maintenance_config",
                                  NULL};

/* How specific a rule is: the more, the earlier it is looked at. */
static int score(const struct role_rule *rule)
{
    int points = 0;
    if (names_has(&rule->kinds, "*"))
        points -= 4;
    else if (rule->kinds.count == 1)
        points += 2;
    if (names_has(&rule->verbs, "*"))
        points -= 2;
    if (rule->where || rule->broken)
        points += 8;
    if (rule->has_actions)
        points += 8;
    return points;
}

static int compare(const void *a, const void *b)
{
    const struct role_rule *left = a;
    const struct role_rule *right = b;
    int difference = score(right) - score(left);
    return difference ? difference : left->line - right->line;
}

static enum tp_err read_words(const struct node *list, const char *what, struct names *names, struct tp_error *error)
{
    for (size_t i = 0; i < list->count; i++)
        names_add_once(names, list->items[i]->text);
    if (names->count == 0)
        return err_set(error, TP_INVALID, "line %d: a rule needs %s", list->line, what);
    return TP_OK;
}

static enum tp_err check_verbs(const struct node *list, struct tp_error *error)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *verb = list->items[i]->text;
        const char *meant;
        if (strcmp(verb, "*") == 0 || names_listed(rbac_verbs, verb))
            continue;
        meant = names_nearest(rbac_verbs, verb);
        return err_set(error, TP_INVALID, "line %d: unknown verb \"%.60s\" in a rule%s%s%s", list->items[i]->line, verb,
                       meant ? "; did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
    }
    return TP_OK;
}

static enum tp_err read_where(const struct node *node, enum role_strict strict, struct role_rule *rule,
                              struct tp_error *error)
{
    const struct node *where = schema_get(node, "where");
    const struct node *actions = schema_get(node, "actions");
    enum tp_err result = TP_OK;
    if (where && *where->text) {
        result = pred_parse(where->text, PRED_WHERE, &rule->where, error);
        if (result && strict == ROLE_STORED) {
            rule->broken = true;
            result = TP_OK;
        }
        if (result) {
            err_prefix(error, "line %d: \"where\"", where->line);
            return result;
        }
    }
    rule->has_actions = actions && actions->count > 0;
    for (size_t i = 0; rule->has_actions && i < actions->count && strict == ROLE_WRITTEN; i++) {
        struct pred *action = NULL;
        result = pred_parse(actions->items[i]->text, PRED_ACTION, &action, error);
        pred_free(action);
        if (result) {
            err_prefix(error, "line %d: \"actions\"", actions->items[i]->line);
            return result;
        }
    }
    return result;
}

enum tp_err role_rules_read(const struct node *list, enum role_strict strict, struct role_section *section,
                            struct tp_error *error)
{
    if (!list || list->count == 0)
        return TP_OK;
    section->rules = mem_array(list->count, sizeof *section->rules);
    for (size_t i = 0; i < list->count; i++) {
        const struct node *node = list->items[i];
        const struct node *kinds = schema_get(node, "resources");
        const struct node *verbs = schema_get(node, "verbs");
        struct role_rule *rule = &section->rules[section->rule_count++];
        enum tp_err result;
        rule->line = node->line;
        result = read_words(kinds, "resources", &rule->kinds, error);
        if (!result)
            result = read_words(verbs, "verbs", &rule->verbs, error);
        if (!result && strict == ROLE_WRITTEN)
            result = check_verbs(verbs, error);
        if (!result)
            result = read_where(node, strict, rule, error);
        if (result)
            return result;
    }
    qsort(section->rules, section->rule_count, sizeof *section->rules, compare);
    return TP_OK;
}

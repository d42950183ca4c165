/* Acting for other users or with other roles. */
#include "rbac/values.h"

#include "rbac/role_private.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* What is denied when it cannot be told: a bad pattern matches in deny and matches nothing in allow. */
static bool matches_any(const struct names *patterns, const char *text, bool deny)
{
    for (size_t i = 0; i < patterns->count; i++) {
        bool matches = false;
        if (rbac_pattern_match(patterns->items[i], text, &matches, NULL) ? deny : matches)
            return true;
    }
    return false;
}

static void read_list(const struct rbac_set *set, const json_t *object, const char *key, struct names *out)
{
    const json_t *list = json_object_get(object, key);
    size_t count = json_is_array(list) ? json_array_size(list) : json_is_string(list) ? 1 : 0;
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_is_array(list) ? json_array_get(list, i) : list);
        struct template *item = NULL;
        if (text && template_parse(text, &item, NULL) == TP_OK)
            template_expand(item, set->traits, out);
        template_free(item);
    }
}

struct grant {
    struct names users;
    bool names_users; /* the key is there, even if a missing trait leaves nobody */
    struct names roles;
    const char *where;
};

static void grant_read(const struct rbac_set *set, const struct role_section *section, struct grant *grant)
{
    const json_t *object = role_written(section, "impersonate");
    *grant = (struct grant){0};
    grant->names_users =
        json_array_size(json_object_get(object, "users")) > 0 || json_is_string(json_object_get(object, "users"));
    read_list(set, object, "users", &grant->users);
    read_list(set, object, "roles", &grant->roles);
    grant->where = json_string_value(json_object_get(object, "where"));
}

static void grant_free(struct grant *grant)
{
    names_free(&grant->users);
    names_free(&grant->roles);
}

/* `where` is asked for each role, or once when there is none. */
static bool where_holds(const struct rbac_set *set, const char *where, const struct rbac_impersonation *wanted)
{
    struct pred *pred = NULL;
    bool holds = true;
    if (!where || !*where)
        return true;
    if (pred_parse(where, PRED_WHERE, &pred, NULL))
        return false;
    for (size_t i = 0; holds && (i < wanted->role_count || i == 0); i++) {
        json_t *more = json_object();
        struct rbac_context context = {.more = more};
        struct pred_env env = {.user = set->user, .context = &context, .absent_fails = true};
        if (wanted->user_object)
            json_object_set(more, "impersonate_user", (json_t *)(uintptr_t)wanted->user_object);
        if (i < wanted->role_count)
            json_object_set(more, "impersonate_role", wanted->roles[i]->document);
        holds = pred_eval(pred, &env) == PRED_TRUE;
        json_decref(more);
    }
    pred_free(pred);
    return holds;
}

static bool denies(const struct grant *grant, const struct rbac_impersonation *wanted)
{
    bool hit = wanted->user && matches_any(&grant->users, wanted->user, true);
    for (size_t i = 0; i < wanted->role_count && !hit; i++)
        hit = matches_any(&grant->roles, wanted->roles[i]->name, true);
    return hit;
}

static bool allows(const struct rbac_set *set, const struct grant *grant, const struct rbac_impersonation *wanted)
{
    if (wanted->user ? !matches_any(&grant->users, wanted->user, false) : grant->names_users || grant->roles.count == 0)
        return false;
    for (size_t i = 0; i < wanted->role_count; i++)
        if (!matches_any(&grant->roles, wanted->roles[i]->name, false))
            return false;
    return where_holds(set, grant->where, wanted);
}

enum tp_err rbac_impersonate(const struct rbac_set *set, const struct rbac_impersonation *wanted,
                             struct rbac_decision *ret_decision)
{
    const char *role = "";
    enum rbac_reason reason = RBAC_NO_GRANT;
    if (ret_decision)
        *ret_decision = (struct rbac_decision){.reason = RBAC_NO_GRANT};
    for (size_t pass = 0; pass < 2 && reason == RBAC_NO_GRANT; pass++) {
        for (size_t i = 0; i < set->count && reason == RBAC_NO_GRANT; i++) {
            struct grant grant;
            grant_read(set, pass ? &set->roles[i].role->allow : &set->roles[i].role->deny, &grant);
            if (pass ? allows(set, &grant, wanted) : denies(&grant, wanted)) {
                reason = pass ? RBAC_GRANTED : RBAC_DENIED_BY_RULE;
                role = set->roles[i].role->name;
            }
            grant_free(&grant);
        }
    }
    if (ret_decision)
        snprintf(ret_decision->text, sizeof ret_decision->text, "impersonation %s",
                 reason == RBAC_GRANTED ? "allowed" : "denied");
    return rbac_decide(ret_decision, reason, role,
                       reason == RBAC_NO_GRANT  ? ""
                       : reason == RBAC_GRANTED ? "allow"
                                                : "deny",
                       "impersonate");
}

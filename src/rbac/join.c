#include "rbac/join.h"

#include "base/mem.h"
#include "rbac/pattern.h"
#include "rbac/role_private.h"

#include <stdio.h>
#include <string.h>

#define EVERY_MODE (RBAC_OBSERVER | RBAC_MODERATOR | RBAC_PEER)

unsigned rbac_join_mode(const char *name)
{
    return strcmp(name, "observer") == 0    ? RBAC_OBSERVER
           : strcmp(name, "moderator") == 0 ? RBAC_MODERATOR
           : strcmp(name, "peer") == 0      ? RBAC_PEER
                                            : 0;
}

static bool has_kind(const json_t *policy, const char *kind)
{
    const json_t *kinds = json_object_get(policy, "kinds");
    for (size_t i = 0; i < json_array_size(kinds); i++) {
        const char *one = json_string_value(json_array_get(kinds, i));
        if (one && (strcmp(one, "*") == 0 || strcmp(one, kind) == 0))
            return true;
    }
    return false;
}

/* The modes of a policy; none written: otherwise. */
static unsigned modes_of(const json_t *policy, unsigned otherwise)
{
    const json_t *list = json_object_get(policy, "modes");
    unsigned modes = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *one = json_string_value(json_array_get(list, i));
        if (one)
            modes |= strcmp(one, "*") == 0 ? EVERY_MODE : rbac_join_mode(one);
    }
    return json_array_size(list) ? modes : otherwise;
}

/* Does a policy of join_sessions fit the session: its kind and a role of its owner? */
static bool fits(const json_t *policy, const struct rbac_session *session, bool deny)
{
    if (!has_kind(policy, session->kind))
        return false;
    for (size_t i = 0; i < session->owner->count; i++)
        if (!session->owner->roles[i].implicit &&
            role_pattern_any(json_object_get(policy, "roles"), session->owner->roles[i].role->name, deny))
            return true;
    return false;
}

static unsigned modes_by_policy(const struct rbac_set *set, const struct rbac_session *session, bool deny)
{
    unsigned modes = 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct role *role = set->roles[i].role;
        const json_t *policies = role_written(deny ? &role->deny : &role->allow, "join_sessions");
        for (size_t j = 0; j < json_array_size(policies); j++)
            if (fits(json_array_get(policies, j), session, deny))
                modes |= modes_of(json_array_get(policies, j), deny ? EVERY_MODE : RBAC_OBSERVER);
    }
    return modes;
}

/* Roles from before there were policies. */
static bool all_older(const struct rbac_set *set)
{
    size_t asked = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (set->roles[i].implicit)
            continue;
        asked++;
        if (set->roles[i].role->version > 3 || role_written(&set->roles[i].role->allow, "join_sessions"))
            return false;
    }
    return asked > 0;
}

unsigned rbac_join_modes(const struct rbac_set *set, const char *user, const struct rbac_session *session)
{
    unsigned modes;
    if (strcmp(user, session->owner_name) == 0)
        return EVERY_MODE;
    modes = modes_by_policy(set, session, false);
    if (all_older(set) && strcmp(session->kind, "ssh") == 0)
        modes = RBAC_PEER;
    return modes & ~modes_by_policy(set, session, true);
}

/* ---- what a session needs ---- */

static bool filter_holds(const json_t *policy, const struct rbac_participant *person)
{
    const char *filter = json_string_value(json_object_get(policy, "filter"));
    const json_t *spec = json_object_get(person->set->user, "spec");
    struct pred_env env = {.absent_fails = true};
    struct pred *pred = NULL;
    json_t *user;
    bool holds = false;
    if (!filter || !*filter)
        return true;
    user = json_pack("{s:s, s:O*, s:O*, s:O*, s:O*}", "name", person->user, "metadata",
                     json_object_get(person->set->user, "metadata"), "spec", spec, "roles",
                     json_object_get(spec, "roles"), "traits", json_object_get(spec, "traits"));
    env.user = user;
    if (user && pred_parse(filter, PRED_JOIN, &pred, NULL) == TP_OK)
        holds = pred_eval(pred, &env) == PRED_TRUE;
    pred_free(pred);
    json_decref(user);
    return holds;
}

static bool satisfied(const json_t *policy, const struct rbac_session *session, const struct rbac_participant *people,
                      size_t count)
{
    int64_t needed = role_number(json_object_get(policy, "count"));
    struct names counted = {0};
    bool enough;
    for (size_t i = 0; i < count; i++) {
        const struct rbac_participant *person = &people[i];
        if (strcmp(person->user, session->owner_name) == 0 || !(modes_of(policy, EVERY_MODE) & person->mode) ||
            !(rbac_join_modes(person->set, person->user, session) & person->mode) || !filter_holds(policy, person))
            continue;
        names_add_once(&counted, person->user);
    }
    /* A policy that does not say how many wants somebody. */
    enough = counted.count > 0 && (int64_t)counted.count >= needed;
    names_free(&counted);
    return enough;
}

bool rbac_session_may_run(const struct rbac_session *session, const struct rbac_participant *people, size_t count,
                          bool *ret_pause, char *ret_detail, size_t size)
{
    bool pause = true;
    bool needed = false;
    for (size_t i = 0; i < session->owner->count; i++) {
        const struct role *role = session->owner->roles[i].role;
        const json_t *policies = role_written(&role->allow, "require_session_join");
        const json_t *met = NULL;
        bool any = false;
        for (size_t j = 0; j < json_array_size(policies) && !met; j++) {
            const json_t *policy = json_array_get(policies, j);
            if (!has_kind(policy, session->kind))
                continue;
            any = true;
            if (satisfied(policy, session, people, count))
                met = policy;
        }
        if (any && !met) {
            if (ret_detail)
                snprintf(ret_detail, size, "%s", role->name);
            return false;
        }
        needed |= any;
        if (met) {
            const char *leave = json_string_value(json_object_get(met, "on_leave"));
            pause &= leave && strcmp(leave, "pause") == 0;
        }
    }
    if (ret_pause)
        *ret_pause = needed && pause;
    return true;
}

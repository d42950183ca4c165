#include "rbac/request.h"

#include "base/clock.h"
#include "base/mem.h"
#include "rbac/role_private.h"

#include <stdio.h>
#include <string.h>

static const json_t *written(const struct rbac_set *set, size_t i, bool deny, const char *key)
{
    const struct role *role = set->roles[i].role;
    return role_written(deny ? &role->deny : &role->allow, key);
}

/* Does one role's `request` or `review_requests` name this role? */
static bool names_role(const struct rbac_set *set, const json_t *given, const char *name, bool deny)
{
    return role_pattern_any(json_object_get(given, "roles"), name, deny) ||
           role_claims_give(json_object_get(given, "claims_to_roles"), set->traits, name, deny);
}

static bool denied_by(const struct rbac_set *set, const char *name, size_t *ret_at)
{
    for (*ret_at = 0; *ret_at < set->count; ++*ret_at)
        if (names_role(set, written(set, *ret_at, true, "request"), name, true))
            return true;
    return false;
}

static bool gives(const struct rbac_set *set, size_t i, const char *name)
{
    return names_role(set, written(set, i, false, "request"), name, false);
}

static enum tp_err told(struct rbac_decision *decision, enum rbac_reason reason, const struct rbac_set *set, size_t at,
                        const char *detail, const char *what)
{
    bool none = reason == RBAC_NO_GRANT || reason == RBAC_BAD_INPUT;
    if (decision)
        snprintf(decision->text, sizeof decision->text, "%s %s", what, reason == RBAC_GRANTED ? "allowed" : "denied");
    return rbac_decide(decision, reason, none ? "" : set->roles[at].role->name,
                       none                     ? ""
                       : reason == RBAC_GRANTED ? "allow"
                                                : "deny",
                       detail);
}

enum tp_err rbac_request_role(const struct rbac_set *set, const char *name, struct rbac_decision *ret_decision)
{
    static const char what[] = "request of a role";
    size_t at;
    if (!role_name_valid(name))
        return told(ret_decision, RBAC_BAD_INPUT, set, 0, "", what);
    if (denied_by(set, name, &at))
        return told(ret_decision, RBAC_DENIED_BY_RULE, set, at, "request", what);
    for (at = 0; at < set->count; at++)
        if (gives(set, at, name))
            return told(ret_decision, RBAC_GRANTED, set, at, "request", what);
    return told(ret_decision, RBAC_NO_GRANT, set, 0, "", what);
}

/* ---- lists ---- */

static void collect(const json_t *list, struct names *out)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_is_string(json_array_get(list, i)))
            names_add_once(out, json_string_value(json_array_get(list, i)));
}

static json_t *left_of(struct names *allowed, struct names *denied)
{
    json_t *list = json_array();
    names_sort(allowed);
    for (size_t i = 0; i < allowed->count; i++)
        if (!names_has(denied, allowed->items[i]))
            json_array_append_new(list, json_string(allowed->items[i]));
    names_free(allowed);
    names_free(denied);
    return list;
}

static json_t *plain_list(const struct rbac_set *set, const char *condition, const char *key)
{
    struct names allowed = {0};
    struct names denied = {0};
    for (size_t i = 0; i < set->count; i++) {
        collect(json_object_get(written(set, i, false, condition), key), &allowed);
        collect(json_object_get(written(set, i, true, condition), key), &denied);
    }
    return left_of(&allowed, &denied);
}

json_t *rbac_search_as_roles(const struct rbac_set *set)
{
    return plain_list(set, "request", "search_as_roles");
}

json_t *rbac_preview_as_roles(const struct rbac_set *set)
{
    return plain_list(set, "review_requests", "preview_as_roles");
}

json_t *rbac_suggested_reviewers(const struct rbac_set *set)
{
    return plain_list(set, "request", "suggested_reviewers");
}

static void annotation_values(const struct rbac_set *set, const json_t *value, struct names *out)
{
    size_t count = json_is_array(value) ? json_array_size(value) : 1;
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_is_array(value) ? json_array_get(value, i) : value);
        struct template *item = NULL;
        if (text && template_parse(text, &item, NULL) == TP_OK)
            template_expand(item, set->traits, out);
        template_free(item);
    }
}

json_t *rbac_request_annotations(const struct rbac_set *set)
{
    json_t *all = json_object();
    for (size_t i = 0; i < set->count; i++) {
        const json_t *given = json_object_get(written(set, i, false, "request"), "annotations");
        const char *key;
        json_t *value;
        json_object_foreach ((json_t *)(uintptr_t)given, key, value) {
            struct names allowed = {0};
            struct names denied = {0};
            json_t *left;
            collect(json_object_get(all, key), &allowed);
            annotation_values(set, value, &allowed);
            for (size_t j = 0; j < set->count; j++) {
                const json_t *taken =
                    json_object_get(json_object_get(written(set, j, true, "request"), "annotations"), key);
                if (taken)
                    annotation_values(set, taken, &denied);
            }
            left = left_of(&allowed, &denied);
            if (json_array_size(left) > 0)
                json_object_set(all, key, left);
            json_decref(left);
        }
    }
    return all;
}

/* ---- durations and reasons ---- */

static int64_t max_of_role(const struct rbac_set *set, const char *name)
{
    int64_t most = 0;
    for (size_t i = 0; i < set->count; i++) {
        const char *text = json_string_value(json_object_get(written(set, i, false, "request"), "max_duration"));
        int64_t ms;
        if (text && gives(set, i, name) && clock_parse_duration_ms(text, &ms) == TP_OK && ms > most)
            most = ms;
    }
    return most;
}

int64_t rbac_request_max_ms(const struct rbac_set *set, const json_t *roles)
{
    int64_t least = 0;
    for (size_t i = 0; i < json_array_size(roles); i++) {
        const char *name = json_string_value(json_array_get(roles, i));
        int64_t ms = name ? max_of_role(set, name) : 0;
        if (ms == 0)
            return 0;
        if (least == 0 || ms < least)
            least = ms;
    }
    return least;
}

bool rbac_request_needs_reason(const struct rbac_set *set, const json_t *roles)
{
    for (size_t i = 0; i < set->count; i++) {
        const json_t *reason = json_object_get(written(set, i, false, "request"), "reason");
        const char *mode = json_string_value(json_object_get(reason, "mode"));
        for (size_t j = 0; mode && strcmp(mode, "required") == 0 && j < json_array_size(roles); j++) {
            const char *name = json_string_value(json_array_get(roles, j));
            if (name && gives(set, i, name))
                return true;
        }
    }
    return false;
}

/* ---- reviews ---- */

static json_t *seen_request(const struct rbac_request *request)
{
    json_t *seen = json_pack("{s:s, s:O*, s:s}", "user", request->user ? request->user : "", "roles", request->roles,
                             "reason", request->reason ? request->reason : "");
    json_object_set_new(seen, "system_annotations",
                        request->annotations ? json_incref((json_t *)(uintptr_t)request->annotations) : json_object());
    return seen;
}

static json_t *seen_reviewer(const char *name, const json_t *roles, const json_t *traits)
{
    json_t *seen = json_pack("{s:s}", "name", name ? name : "");
    json_object_set_new(seen, "roles", roles ? json_incref((json_t *)(uintptr_t)roles) : json_array());
    json_object_set_new(seen, "traits", traits ? json_incref((json_t *)(uintptr_t)traits) : json_object());
    return seen;
}

/* An empty text always holds. more is taken over. */
static enum pred_result ask(const struct rbac_set *set, const char *text, json_t *more)
{
    struct rbac_context context = {.more = more};
    struct pred_env env = {.user = set->user, .context = &context};
    struct pred *pred = NULL;
    enum pred_result result = PRED_FAILED;
    if (!text || !*text)
        result = PRED_TRUE;
    else if (pred_parse(text, PRED_REVIEW, &pred, NULL) == TP_OK)
        result = pred_eval(pred, &env);
    pred_free(pred);
    json_decref(more);
    return result;
}

static bool where_holds(const struct rbac_set *set, const json_t *given, const struct rbac_request *request, bool deny)
{
    const char *where = json_string_value(json_object_get(given, "where"));
    json_t *reviewer =
        seen_reviewer(set->user_name, json_object_get(json_object_get(set->user, "spec"), "roles"), set->traits);
    enum pred_result result =
        ask(set, where, json_pack("{s:o, s:o}", "reviewer", reviewer, "request", seen_request(request)));
    return deny ? result != PRED_FALSE : result == PRED_TRUE;
}

/* The number of the first role whose allow section lets the user review a request for this role; count: none. */
static size_t covered_by(const struct rbac_set *set, const struct rbac_request *request, bool deny, const char *name)
{
    size_t i = 0;
    for (; i < set->count; i++) {
        const json_t *given = written(set, i, deny, "review_requests");
        if (given && names_role(set, given, name, deny) && where_holds(set, given, request, deny))
            break;
    }
    return i;
}

enum tp_err rbac_review(const struct rbac_set *set, const struct rbac_request *request,
                        struct rbac_decision *ret_decision)
{
    static const char what[] = "review of a request";
    size_t count = json_array_size(request->roles);
    size_t at = 0;
    if (count == 0 || !request->user)
        return told(ret_decision, RBAC_BAD_INPUT, set, 0, "", what);
    if (strcmp(request->user, set->user_name) == 0)
        return told(ret_decision, RBAC_NO_GRANT, set, 0, "nobody reviews his own request", what);
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(request->roles, i));
        at = name ? covered_by(set, request, true, name) : set->count;
        if (at < set->count)
            return told(ret_decision, RBAC_DENIED_BY_RULE, set, at, "review_requests", what);
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(request->roles, i));
        at = name ? covered_by(set, request, false, name) : set->count;
        if (at == set->count)
            return told(ret_decision, RBAC_NO_GRANT, set, 0, name ? name : "", what);
    }
    return told(ret_decision, RBAC_GRANTED, set, at, "review_requests", what);
}

/* ---- thresholds ---- */

struct judging {
    const struct rbac_set *set;
    const struct rbac_request *request;
    const struct rbac_review *reviews;
    size_t count;
};

/* Is there a later review by the same person? */
static bool superseded(const struct judging *judging, size_t at)
{
    for (size_t i = at + 1; i < judging->count; i++)
        if (strcmp(judging->reviews[i].by.name, judging->reviews[at].by.name) == 0)
            return true;
    return false;
}

static bool counts(const struct judging *judging, const struct rbac_review *review, const char *filter)
{
    json_t *said = json_pack("{s:s}", "reason", review->reason ? review->reason : "");
    enum pred_result result = ask(judging->set, filter,
                                  json_pack("{s:o, s:o, s:o}", "reviewer",
                                            seen_reviewer(review->by.name, review->by.roles, review->by.traits),
                                            "review", said, "request", seen_request(judging->request)));
    return review->approves ? result == PRED_TRUE : result != PRED_FALSE;
}

/* How the reviews stand to one threshold; NULL is the one of conditions without any. */
static enum rbac_request_state threshold_state(const struct judging *judging, const json_t *threshold)
{
    int64_t approve = threshold ? role_number(json_object_get(threshold, "approve")) : 1;
    int64_t deny = threshold ? role_number(json_object_get(threshold, "deny")) : 1;
    const char *filter = json_string_value(json_object_get(threshold, "filter"));
    int64_t approvals = 0;
    int64_t denials = 0;
    for (size_t i = 0; i < judging->count; i++) {
        if (superseded(judging, i) || !counts(judging, &judging->reviews[i], filter))
            continue;
        approvals += judging->reviews[i].approves;
        denials += !judging->reviews[i].approves;
    }
    if (deny > 0 && denials >= deny)
        return RBAC_REQUEST_DENIED;
    return approve > 0 && approvals >= approve ? RBAC_REQUEST_APPROVED : RBAC_REQUEST_PENDING;
}

/* The strongest word of all thresholds of the conditions that give this role: denied, then approved. */
static enum rbac_request_state role_state(const struct judging *judging, const char *name)
{
    enum rbac_request_state best = RBAC_REQUEST_PENDING;
    for (size_t i = 0; i < judging->set->count; i++) {
        const json_t *list;
        size_t count;
        if (!gives(judging->set, i, name))
            continue;
        list = json_object_get(written(judging->set, i, false, "request"), "thresholds");
        count = json_array_size(list);
        for (size_t j = 0; j < (count ? count : 1); j++) {
            enum rbac_request_state one = threshold_state(judging, json_array_get(list, j));
            if (one > best)
                best = one;
        }
    }
    return best;
}

enum rbac_request_state rbac_request_judge(const struct rbac_set *set, const struct rbac_request *request,
                                           const struct rbac_review *reviews, size_t count)
{
    struct judging judging = {set, request, reviews, count};
    enum rbac_request_state all = json_array_size(request->roles) ? RBAC_REQUEST_APPROVED : RBAC_REQUEST_PENDING;
    for (size_t i = 0; i < json_array_size(request->roles); i++) {
        const char *name = json_string_value(json_array_get(request->roles, i));
        enum rbac_request_state one = name ? role_state(&judging, name) : RBAC_REQUEST_PENDING;
        if (one == RBAC_REQUEST_DENIED)
            return one;
        if (one == RBAC_REQUEST_PENDING)
            all = one;
    }
    return all;
}

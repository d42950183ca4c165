/* Acting for other users or with other roles, and the patterns of request and review rules. */
#include "rbac/values.h"

#include "rbac/pattern.h"
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

static void grant_read(const struct rbac_set *set, const struct role *role, const char *section, struct grant *grant)
{
    const json_t *spec = json_object_get(role->document, "spec");
    const json_t *object = json_object_get(json_object_get(spec, section), "impersonate");
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
            grant_read(set, set->roles[i].role, pass ? "allow" : "deny", &grant);
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

/* The "re" of {{NAME("re")}}, or NULL (mem_free it). */
static char *argument_of(const char *text, const char *name)
{
    char *open = mem_printf("%s(\"", name);
    const char *at = strstr(text, open);
    const char *end = at ? strrchr(text, '"') : NULL;
    char *inner = NULL;
    if (at && end && end >= at + strlen(open) && strncmp(end, "\")", 2) == 0) {
        size_t size = 0;
        const char *from = at + strlen(open);
        inner = mem_alloc((size_t)(end - from) + 1);
        for (; from < end; from++) {
            if (*from == '\\' && from + 1 < end && (from[1] == '\\' || from[1] == '"'))
                from++;
            inner[size++] = *from;
        }
    }
    mem_free(open);
    return inner;
}

static enum tp_err match_regex(const char *regex, const char *text, bool *ret_matches, struct tp_error *error)
{
    struct pattern *pattern = NULL;
    enum tp_err result = pattern_new(regex, &pattern, error);
    if (!result) {
        enum pattern_result found = pattern_match(pattern, text);
        *ret_matches = found == PATTERN_YES;
        if (found == PATTERN_FAILED)
            result = err_set(error, TP_LIMIT, "the pattern \"%.120s\" takes too much work", regex);
    }
    pattern_free(pattern);
    return result;
}

enum tp_err rbac_pattern_match(const char *pattern, const char *text, bool *ret_matches, struct tp_error *error)
{
    enum tp_err result;
    char *regex;
    bool negated = false;
    if (pattern_is_regex(pattern))
        return match_regex(pattern, text, ret_matches, error);
    if (!strstr(pattern, "{{") && !strstr(pattern, "}}")) {
        *ret_matches = pattern_glob(pattern, text);
        return TP_OK;
    }
    regex = argument_of(pattern, "regexp.match");
    if (!regex) {
        regex = argument_of(pattern, "regexp.not_match");
        negated = true;
    }
    if (!regex)
        return err_set(error, TP_INVALID,
                       "the pattern \"%.120s\" is none of a literal, a glob, ^...$, "
                       "{{regexp.match(\"...\")}} or {{regexp.not_match(\"...\")}}",
                       pattern);
    const char *open = strstr(pattern, "{{");
    const char *close = strstr(pattern, "}}");
    if (!open || !close || close < open || close[2] || open != pattern) {
        /* Prefix and suffix are literal and outside the expression. */
        size_t before = open ? (size_t)(open - pattern) : 0;
        const char *after = close ? close + 2 : "";
        size_t size = strlen(text), tail = strlen(after);
        *ret_matches = false;
        result = !open || !close || close < open
                     ? err_set(error, TP_INVALID, "the braces of \"%.120s\" do not match", pattern)
                     : TP_OK;
        if (!result && size >= before + tail && strncmp(text, pattern, before) == 0 &&
            strcmp(text + size - tail, after) == 0) {
            char *middle = mem_strndup(text + before, size - before - tail);
            result = match_regex(regex, middle, ret_matches, error);
            if (!result && negated)
                *ret_matches = !*ret_matches;
            mem_free(middle);
        }
    } else {
        result = match_regex(regex, text, ret_matches, error);
        if (!result && negated)
            *ret_matches = !*ret_matches;
    }
    mem_free(regex);
    return result;
}

/* Patterns for names of roles and users: in impersonate, request and review rules. */
#include "rbac/values.h"

#include "rbac/pattern.h"
#include "rbac/pred_private.h"
#include "rbac/role_private.h"

#include "base/mem.h"

#include <string.h>

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

/* What stands around {{ }} and in it. */
struct braces {
    char *prefix;
    char *suffix;
    char *regex;
    bool negated;
};

static void braces_free(struct braces *braces)
{
    mem_free(braces->prefix);
    mem_free(braces->suffix);
    mem_free(braces->regex);
}

/* The tokens of regexp.match("re") in their order; the name of the function and the text are looked at. */
static enum tp_err read_function(const char *text, struct braces *braces, struct tp_error *error)
{
    static const enum pred_token form[] = {PRED_NAME,   PRED_DOT,   PRED_NAME, PRED_OPEN,
                                           PRED_STRING, PRED_CLOSE, PRED_END};
    struct pred_lexer lexer = {.text = text, .error = error};
    enum tp_err result = TP_OK;
    for (size_t i = 0; !result && i < sizeof form / sizeof *form; i++) {
        result = pred_lexer_next(&lexer);
        if (!result && (lexer.token != form[i] || (i == 0 && strcmp(lexer.value, "regexp") != 0) ||
                        (i == 2 && strcmp(lexer.value, "match") != 0 && strcmp(lexer.value, "not_match") != 0)))
            result = pred_lexer_fail(&lexer, "regexp.match(\"...\") or regexp.not_match(\"...\") is expected");
        if (!result && i == 2)
            braces->negated = strcmp(lexer.value, "not_match") == 0;
        if (!result && i == 4)
            braces->regex = mem_strdup(lexer.value);
    }
    pred_lexer_free(&lexer);
    return result;
}

static enum tp_err read_braces(const char *pattern, struct braces *braces, struct tp_error *error)
{
    const char *open = strstr(pattern, "{{");
    const char *close = open ? strstr(open, "}}") : NULL;
    const char *next;
    char *inner;
    enum tp_err result;
    /* The last of them: a regular expression may hold }} itself. */
    while (close && (next = strstr(close + 1, "}}")))
        close = next;
    if (!close || strcspn(pattern, "{}") < (size_t)(open - pattern) || strpbrk(close + 2, "{}"))
        return err_set(error, TP_INVALID, "the braces of the pattern \"%.120s\" do not match; one {{ }} is allowed",
                       pattern);
    inner = mem_strndup(open + 2, (size_t)(close - open) - 2);
    result = read_function(inner, braces, error);
    mem_free(inner);
    pattern += strspn(pattern, " \t");
    braces->prefix = mem_strndup(pattern, (size_t)(open - pattern));
    braces->suffix = mem_strdup(close + 2);
    for (size_t size = strlen(braces->suffix); size > 0 && strchr(" \t", braces->suffix[size - 1]);)
        braces->suffix[--size] = '\0';
    if (result)
        err_prefix(error, "the pattern \"%.120s\"", pattern);
    return result;
}

enum tp_err rbac_pattern_match(const char *pattern, const char *text, bool *ret_matches, struct tp_error *error)
{
    struct braces braces = {0};
    size_t before, after, size = strlen(text);
    enum tp_err result;
    *ret_matches = false;
    if (pattern_is_regex(pattern))
        return match_regex(pattern, text, ret_matches, error);
    if (!strstr(pattern, "{{") && !strstr(pattern, "}}")) {
        *ret_matches = pattern_glob(pattern, text);
        return TP_OK;
    }
    result = read_braces(pattern, &braces, error);
    if (!result) {
        bool found = false;
        char *middle;
        before = strlen(braces.prefix);
        after = strlen(braces.suffix);
        bool around = size >= before + after && strncmp(text, braces.prefix, before) == 0 &&
                      strcmp(text + size - after, braces.suffix) == 0;
        middle = mem_strndup(around ? text + before : "", around ? size - before - after : 0);
        result = match_regex(braces.regex, middle, &found, error);
        *ret_matches = !result && around && found != braces.negated;
        mem_free(middle);
    }
    braces_free(&braces);
    return result;
}

bool role_pattern_any(const json_t *list, const char *text, bool deny)
{
    size_t count = json_is_array(list) ? json_array_size(list) : json_is_string(list) ? 1 : 0;
    for (size_t i = 0; i < count; i++) {
        const char *pattern = json_string_value(json_is_array(list) ? json_array_get(list, i) : list);
        bool matches = false;
        if (pattern && (rbac_pattern_match(pattern, text, &matches, NULL) ? deny : matches))
            return true;
    }
    return false;
}

/* A glob as a regular expression that captures what each * stands for; one that is such an expression already as it is. */
static char *value_regex(const char *value)
{
    char *regex = mem_alloc(strlen(value) * 4 + 3);
    size_t size = 0;
    if (pattern_is_regex(value)) {
        mem_free(regex);
        return mem_strdup(value);
    }
    regex[size++] = '^';
    for (; *value; value++) {
        if (*value == '*') {
            memcpy(regex + size, "(.*)", 4);
            size += 4;
            continue;
        }
        if (strchr("\\.+?()|[]{}^$", *value))
            regex[size++] = '\\';
        regex[size++] = *value;
    }
    regex[size++] = '$';
    return regex;
}

/* Does one value of the claim bring in a role with this name? A role that a capture went into is a plain name: what
 * comes out of a trait is no pattern. */
static bool claim_gives(const struct pattern *value, const char *trait, const json_t *roles, const char *name,
                        bool deny)
{
    for (size_t i = 0; i < json_array_size(roles); i++) {
        const char *role = json_string_value(json_array_get(roles, i));
        char *replaced = NULL;
        bool plain, matches;
        enum pattern_result found = role ? pattern_replace(value, trait, role, &replaced) : PATTERN_NO;
        if (found != PATTERN_YES) {
            if (found == PATTERN_FAILED && deny)
                return true;
            continue;
        }
        plain = strcmp(replaced, role) != 0;
        matches = plain && strcmp(replaced, name) == 0;
        if (!plain && rbac_pattern_match(role, name, &matches, NULL))
            matches = deny;
        mem_free(replaced);
        if (matches)
            return true;
    }
    return false;
}

bool role_claims_give(const json_t *claims, const json_t *traits, const char *name, bool deny)
{
    for (size_t i = 0; i < json_array_size(claims); i++) {
        const json_t *one = json_array_get(claims, i);
        const char *claim = json_string_value(json_object_get(one, "claim"));
        const char *value = json_string_value(json_object_get(one, "value"));
        const json_t *list = claim ? json_object_get(traits, claim) : NULL;
        struct pattern *pattern = NULL;
        char *regex;
        if (!value) /* stored so: it says nothing */
            continue;
        regex = value_regex(value);
        bool gives = pattern_new(regex, &pattern, NULL) != TP_OK && deny && json_array_size(list) > 0;
        for (size_t j = 0; pattern && j < json_array_size(list) && !gives; j++)
            gives = claim_gives(pattern, json_string_value(json_array_get(list, j)), json_object_get(one, "roles"),
                                name, deny);
        pattern_free(pattern);
        mem_free(regex);
        if (gives)
            return true;
    }
    return false;
}

enum tp_err role_pattern_check(const char *pattern, struct tp_error *error)
{
    bool matches;
    return rbac_pattern_match(pattern, "", &matches, error);
}

enum tp_err role_claim_value_check(const char *value, struct tp_error *error)
{
    struct pattern *pattern = NULL;
    char *regex = value_regex(value);
    enum tp_err result = pattern_new(regex, &pattern, error);
    pattern_free(pattern);
    mem_free(regex);
    return result;
}

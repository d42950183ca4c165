/* What is inside the texts of `request`, `review_requests`, `join_sessions` and `require_session_join`. */
#include "rbac/role_private.h"

#include "base/clock.h"
#include "rbac/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_MS ((int64_t)7 * 24 * 3600 * 1000)

/* Every single value as a text: a role may be called 123, and "2" is a number of people. */
static json_t *as_texts(const struct node *node)
{
    json_t *value;
    if (node->kind == NODE_SCALAR)
        return node_is_null(node) ? json_null() : json_string(node->text);
    value = node->kind == NODE_LIST ? json_array() : json_object();
    for (size_t i = 0; i < node->count; i++) {
        json_t *item = as_texts(node->items[i]);
        if (node->kind == NODE_LIST)
            json_array_append_new(value, item);
        else
            json_object_set_new(value, node->keys[i], item);
    }
    return value;
}

json_t *role_conditions_read(const struct node *section)
{
    static const char *const keys[] = {"impersonate", "request", "review_requests", "join_sessions",
                                       "require_session_join"};
    json_t *conditions = NULL;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct node *node = schema_get(section, keys[i]);
        if (!node)
            continue;
        if (!conditions)
            conditions = json_object();
        json_object_set_new(conditions, keys[i], as_texts(node));
    }
    return conditions;
}

const json_t *role_written(const struct role_section *section, const char *key)
{
    return json_object_get(section->conditions, key);
}

int64_t role_number(const json_t *value)
{
    const char *text = json_string_value(value);
    return text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 10 ? strtol(text, NULL, 10) : 0;
}

static enum tp_err check_pred(const struct node *map, const char *key, enum pred_dialect dialect, const char *path,
                              struct tp_error *error)
{
    const struct node *text = schema_get(map, key);
    struct pred *pred = NULL;
    enum tp_err result = TP_OK;
    if (text && *text->text && (result = pred_parse(text->text, dialect, &pred, error)))
        err_prefix(error, "line %d: \"%s.%s\"", text->line, path, key);
    pred_free(pred);
    return result;
}

static enum tp_err check_patterns(const struct node *map, const char *path, struct tp_error *error)
{
    const struct node *list = schema_get(map, "roles");
    for (size_t i = 0; list && i < list->count; i++) {
        enum tp_err result = role_pattern_check(list->items[i]->text, error);
        if (result) {
            err_prefix(error, "line %d: \"%s.roles\"", list->items[i]->line, path);
            return result;
        }
    }
    return TP_OK;
}

static enum tp_err check_claims(const struct node *map, const char *path, struct tp_error *error)
{
    const struct node *list = schema_get(map, "claims_to_roles");
    for (size_t i = 0; list && i < list->count; i++) {
        const struct node *one = list->items[i];
        const struct node *roles = schema_get(one, "roles");
        enum tp_err result;
        char inner[80];
        snprintf(inner, sizeof inner, "%s.claims_to_roles", path);
        if (!schema_get(one, "claim") || !schema_get(one, "value") || !roles || roles->count == 0)
            return err_set(error, TP_INVALID, "line %d: \"%s\" needs claim, value and roles", one->line, inner);
        result = role_claim_value_check(schema_get(one, "value")->text, error);
        if (result)
            err_prefix(error, "line %d: \"%s.value\"", one->line, inner);
        else
            result = check_patterns(one, inner, error);
        if (result)
            return result;
    }
    return TP_OK;
}

static enum tp_err check_thresholds(const struct node *map, struct tp_error *error)
{
    const struct node *list = schema_get(map, "thresholds");
    for (size_t i = 0; list && i < list->count; i++) {
        enum tp_err result = check_pred(list->items[i], "filter", PRED_REVIEW, "request.thresholds", error);
        if (result)
            return result;
    }
    return TP_OK;
}

static enum tp_err check_annotations(const struct node *map, struct tp_error *error)
{
    const struct node *all = schema_get(map, "annotations");
    for (size_t i = 0; all && i < all->count; i++) {
        const struct node *value = all->items[i];
        size_t count = value->kind == NODE_LIST ? value->count : 1;
        for (size_t j = 0; j < count; j++) {
            const struct node *item = value->kind == NODE_LIST ? value->items[j] : value;
            struct template *parsed = NULL;
            enum tp_err result = template_parse(item->text, &parsed, error);
            template_free(parsed);
            if (result) {
                err_prefix(error, "line %d: \"request.annotations.%.60s\"", item->line, all->keys[i]);
                return result;
            }
        }
    }
    return TP_OK;
}

static enum tp_err check_joins(const struct node *section, const char *key, struct tp_error *error)
{
    const struct node *list = schema_get(section, key);
    enum tp_err result = TP_OK;
    for (size_t i = 0; list && i < list->count && !result; i++) {
        result = check_patterns(list->items[i], key, error);
        if (!result)
            result = check_pred(list->items[i], "filter", PRED_JOIN, key, error);
    }
    return result;
}

enum tp_err role_conditions_check(const struct node *section, struct tp_error *error)
{
    const struct node *request = schema_get(section, "request");
    const struct node *review = schema_get(section, "review_requests");
    const struct node *longest = schema_get(request, "max_duration");
    int64_t ms;
    enum tp_err result = check_patterns(request, "request", error);
    if (!result)
        result = check_claims(request, "request", error);
    if (!result)
        result = check_thresholds(request, error);
    if (!result)
        result = check_annotations(request, error);
    if (!result && longest && clock_parse_duration_ms(longest->text, &ms) == TP_OK && ms > LONGEST_MS)
        result = err_set(error, TP_INVALID, "line %d: \"request.max_duration\" is longer than seven days (168h)",
                         longest->line);
    if (!result)
        result = check_patterns(review, "review_requests", error);
    if (!result)
        result = check_claims(review, "review_requests", error);
    if (!result)
        result = check_pred(review, "where", PRED_REVIEW, "review_requests", error);
    if (!result)
        result = check_joins(section, "join_sessions", error);
    return result ? result : check_joins(section, "require_session_join", error);
}

#include "rbac/pred_private.h"

#include "base/mem.h"
#include "rbac/names.h"
#include "rbac/pattern.h"
#include "rbac/template.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* The text of a value: an absent one is empty, the bare name `user` stands for the user's name. NULL for other types.
 */
static const char *text_of(const json_t *value)
{
    if (json_is_null(value))
        return "";
    if (json_is_object(value))
        return json_string_value(json_object_get(json_object_get(value, "metadata"), "name"));
    return json_string_value(value);
}

static bool is_list(const json_t *value)
{
    return json_is_array(value) || json_is_null(value);
}

static bool list_has(const json_t *list, const char *text)
{
    size_t index;
    json_t *item;
    json_array_foreach ((json_t *)(uintptr_t)list, index, item) {
        const char *one = json_string_value(item);
        if (one && strcmp(one, text) == 0)
            return true;
    }
    return false;
}

static json_t *call_equals(struct pred_run *run, json_t *const arguments[], size_t count)
{
    bool equal;
    (void)run;
    (void)count;
    return pred_equal(arguments[0], arguments[1], &equal) ? json_boolean(equal) : NULL;
}

static json_t *call_contains(struct pred_run *run, json_t *const arguments[], size_t count)
{
    const char *text = text_of(arguments[1]);
    (void)run;
    (void)count;
    return is_list(arguments[0]) && text ? json_boolean(list_has(arguments[0], text)) : NULL;
}

/* How many of wanted are in list; a single text counts as a list of one. Costs a step per item. */
static bool count_common(struct pred_run *run, const json_t *list, const json_t *wanted, size_t *ret_wanted,
                         size_t *ret_common)
{
    size_t index;
    json_t *item;
    *ret_common = 0;
    *ret_wanted = json_is_string(wanted) ? 1 : json_array_size(wanted);
    if (!is_list(list) || (!is_list(wanted) && !json_is_string(wanted)))
        return false;
    if (json_is_string(wanted)) {
        *ret_common = list_has(list, json_string_value(wanted));
        return true;
    }
    json_array_foreach ((json_t *)(uintptr_t)wanted, index, item) {
        const char *text = json_string_value(item);
        if (!text || run->steps++ >= PRED_MAX_STEPS)
            return false;
        *ret_common += list_has(list, text);
    }
    return true;
}

static json_t *call_contains_any(struct pred_run *run, json_t *const arguments[], size_t count)
{
    size_t wanted;
    size_t common;
    (void)count;
    return count_common(run, arguments[0], arguments[1], &wanted, &common) ? json_boolean(common > 0) : NULL;
}

static json_t *call_contains_all(struct pred_run *run, json_t *const arguments[], size_t count)
{
    size_t wanted;
    size_t common;
    (void)count;
    return count_common(run, arguments[0], arguments[1], &wanted, &common)
               ? json_boolean(wanted > 0 && common == wanted)
               : NULL;
}

/* All texts of the arguments from first on as one list; NULL when one is no text. */
static json_t *collect(json_t *const arguments[], size_t first, size_t count)
{
    json_t *list = json_array();
    for (size_t i = first; i < count; i++) {
        const char *text = text_of(arguments[i]);
        if (json_is_array(arguments[i])) {
            json_array_extend(list, arguments[i]);
        } else if (text) {
            json_array_append_new(list, json_string(text));
        } else {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *call_set(struct pred_run *run, json_t *const arguments[], size_t count)
{
    (void)run;
    return collect(arguments, 0, count);
}

static json_t *call_is_subset(struct pred_run *run, json_t *const arguments[], size_t count)
{
    json_t *list = collect(arguments, 1, count);
    json_t *value = NULL;
    size_t wanted;
    size_t common;
    if (list && is_list(arguments[0]) && count_common(run, list, arguments[0], &wanted, &common))
        value = json_boolean(common == wanted);
    json_decref(list);
    return value;
}

enum comparison { COMPARE_EQUAL, COMPARE_END };

/* An empty list gives false: what is not set grants nothing. */
static json_t *all_items(json_t *const arguments[], enum comparison comparison)
{
    const char *wanted = text_of(arguments[1]);
    size_t index;
    json_t *item;
    if (!is_list(arguments[0]) || !wanted)
        return NULL;
    json_array_foreach (arguments[0], index, item) {
        const char *text = json_string_value(item);
        size_t size = text ? strlen(text) : 0;
        size_t tail = strlen(wanted);
        bool good = text && (comparison == COMPARE_EQUAL ? strcmp(text, wanted) == 0
                                                         : size >= tail && strcmp(text + size - tail, wanted) == 0);
        if (!good)
            return json_false();
    }
    return json_boolean(json_array_size(arguments[0]) > 0);
}

static json_t *call_all_equal(struct pred_run *run, json_t *const arguments[], size_t count)
{
    (void)run;
    (void)count;
    return all_items(arguments, COMPARE_EQUAL);
}

static json_t *call_all_end_with(struct pred_run *run, json_t *const arguments[], size_t count)
{
    (void)run;
    (void)count;
    return all_items(arguments, COMPARE_END);
}

static json_t *call_has_prefix(struct pred_run *run, json_t *const arguments[], size_t count)
{
    const char *text = text_of(arguments[0]);
    const char *prefix = text_of(arguments[1]);
    (void)run;
    (void)count;
    return text && prefix ? json_boolean(strncmp(text, prefix, strlen(prefix)) == 0) : NULL;
}

static json_t *call_catype(struct pred_run *run, json_t *const arguments[], size_t count)
{
    const json_t *resource = run->env->context ? run->env->context->resource : NULL;
    const char *type = json_string_value(json_object_get(json_object_get(resource, "spec"), "type"));
    (void)arguments;
    (void)count;
    return type ? json_string(type) : run->env->absent_fails ? NULL : json_null();
}

static json_t *call_can_view(struct pred_run *run, json_t *const arguments[], size_t count)
{
    (void)arguments;
    (void)count;
    return json_boolean(run->env->context && run->env->context->can_view);
}

/* ^...$ is a regular expression, anything else a glob over the whole text. */
static json_t *call_match(struct pred_run *run, json_t *const arguments[], size_t count)
{
    const char *expression = json_string_value(arguments[1]);
    struct pattern *pattern = NULL;
    json_t *list = collect(arguments, 0, 1);
    enum pattern_result found = list && expression ? PATTERN_NO : PATTERN_FAILED;
    (void)run;
    (void)count;
    if (expression && pattern_is_regex(expression) && pattern_new(expression, &pattern, NULL))
        found = PATTERN_FAILED;
    for (size_t i = 0; found == PATTERN_NO && i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        found = !text     ? PATTERN_FAILED
                : pattern ? pattern_match(pattern, text)
                          : (pattern_glob(expression, text) ? PATTERN_YES : PATTERN_NO);
    }
    pattern_free(pattern);
    json_decref(list);
    return found == PATTERN_FAILED ? NULL : json_boolean(found == PATTERN_YES);
}

static json_t *call_replace(struct pred_run *run, json_t *const arguments[], size_t count)
{
    const char *expression = json_string_value(arguments[1]);
    const char *replacement = json_string_value(arguments[2]);
    struct pattern *pattern;
    json_t *list = collect(arguments, 0, 1);
    json_t *result = NULL;
    size_t index;
    json_t *item;
    (void)run;
    (void)count;
    if (list && expression && replacement && pattern_new(expression, &pattern, NULL) == TP_OK) {
        result = json_array();
        json_array_foreach (list, index, item) {
            char *text = NULL;
            if (json_is_string(item) &&
                pattern_replace(pattern, json_string_value(item), replacement, &text) == PATTERN_YES)
                json_array_append_new(result, json_string(text));
            mem_free(text);
        }
        pattern_free(pattern);
    }
    json_decref(list);
    /* A text gives a text. */
    if (result && !json_is_array(arguments[0])) {
        json_t *first = json_array_size(result) ? json_incref(json_array_get(result, 0)) : json_null();
        json_decref(result);
        return first;
    }
    return result;
}

static char *to_upper(const char *text)
{
    char *copy = mem_strdup(text);
    for (char *p = copy; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    return copy;
}

static char *to_lower(const char *text)
{
    char *copy = mem_strdup(text);
    for (char *p = copy; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return copy;
}

/* change over a text or each text of a list; change may give NULL, which fails. */
static json_t *map_texts(const json_t *from, char *(*change)(const char *))
{
    json_t *list = json_is_array(from) ? json_array() : NULL;
    size_t index;
    json_t *item;
    if (!list) {
        const char *text = text_of(from);
        char *changed = text ? change(text) : NULL;
        json_t *value = changed ? json_string(changed) : NULL;
        mem_free(changed);
        return value;
    }
    json_array_foreach ((json_t *)(uintptr_t)from, index, item) {
        char *changed = json_is_string(item) ? change(json_string_value(item)) : NULL;
        if (!changed) {
            json_decref(list);
            return NULL;
        }
        json_array_append_new(list, json_string(changed));
        mem_free(changed);
    }
    return list;
}

static json_t *call_upper(struct pred_run *run, json_t *const arguments[], size_t count)
{
    (void)run;
    (void)count;
    return map_texts(arguments[0], to_upper);
}

static json_t *call_lower(struct pred_run *run, json_t *const arguments[], size_t count)
{
    (void)run;
    (void)count;
    return map_texts(arguments[0], to_lower);
}

static json_t *call_email_local(struct pred_run *run, json_t *const arguments[], size_t count)
{
    (void)run;
    (void)count;
    return map_texts(arguments[0], template_email_local);
}

/* Values of all labels whose name matches: a glob, or ^...$. */
static json_t *call_labels_matching(struct pred_run *run, json_t *const arguments[], size_t count)
{
    const char *expression = json_string_value(arguments[0]);
    struct pattern *pattern = NULL;
    json_t *list = json_array();
    (void)count;
    if (!expression || (pattern_is_regex(expression) && pattern_new(expression, &pattern, NULL))) {
        json_decref(list);
        return NULL;
    }
    for (size_t i = 0; i < run->env->label_count; i++) {
        const struct rbac_label *label = &run->env->labels[i];
        if (pattern ? pattern_match(pattern, label->name) == PATTERN_YES : pattern_glob(expression, label->name))
            json_array_append_new(list, json_string(label->value));
    }
    pattern_free(pattern);
    return list;
}

/* Is the label there at all? An absent one reads as null. */
static json_t *call_exists(struct pred_run *run, json_t *const arguments[], size_t count)
{
    (void)run;
    (void)count;
    return json_boolean(!json_is_null(arguments[0]));
}

/* Does text stand in hay, whatever the case? */
static bool stands_in(const char *hay, const char *text)
{
    size_t size = strlen(text);
    for (; *hay; hay++)
        if (strncasecmp(hay, text, size) == 0)
            return true;
    return size == 0;
}

static bool found_anywhere(const struct pred_env *env, const char *word)
{
    const json_t *resource = env->context ? env->context->resource : NULL;
    const json_t *metadata = json_object_get(resource, "metadata");
    const json_t *spec = json_object_get(resource, "spec");
    const char *const visible[] = {json_string_value(json_object_get(metadata, "name")),
                                   json_string_value(json_object_get(spec, "hostname")),
                                   json_string_value(json_object_get(spec, "addr"))};
    for (size_t i = 0; i < sizeof visible / sizeof *visible; i++)
        if (visible[i] && stands_in(visible[i], word))
            return true;
    for (size_t i = 0; i < env->label_count; i++)
        if (rbac_label_shows(&env->labels[i], word))
            return true;
    return false;
}

/* All words must stand somewhere. */
static json_t *call_search(struct pred_run *run, json_t *const arguments[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *word = json_string_value(arguments[i]);
        run->steps += run->env->label_count + 1;
        if (!word)
            return NULL;
        if (!found_anywhere(run->env, word))
            return json_false();
    }
    return json_true();
}

static json_t *call_split(struct pred_run *run, json_t *const arguments[], size_t count)
{
    const char *text = text_of(arguments[0]);
    const char *separator = json_string_value(arguments[1]);
    json_t *list;
    (void)count;
    if (!text || !separator || !*separator)
        return NULL;
    list = json_array();
    for (const char *end; (end = strstr(text, separator)); text = end + strlen(separator))
        json_array_append_new(list, json_stringn(text, (size_t)(end - text)));
    json_array_append_new(list, json_string(text));
    run->steps += json_array_size(list);
    return list;
}

#define BOTH (PRED_WHERE | PRED_LABELS | PRED_REVIEW | PRED_JOIN)
#define RULES (PRED_WHERE | PRED_REVIEW)

static const struct pred_function functions[] = {
    {"equals", BOTH | PRED_FILTER, 2, 2, true, call_equals},
    {"contains", BOTH | PRED_FILTER, 2, 2, true, call_contains},
    {"exists", PRED_FILTER, 1, 1, true, call_exists},
    {"search", PRED_FILTER, 0, PRED_MAX_ARGUMENTS, true, call_search},
    {"hasPrefix", PRED_FILTER, 2, 2, true, call_has_prefix},
    {"split", PRED_FILTER, 2, 2, false, call_split},
    {"contains_any", BOTH, 2, 2, true, call_contains_any},
    {"contains_all", BOTH, 2, 2, true, call_contains_all},
    {"set", BOTH, 0, PRED_MAX_ARGUMENTS, false, call_set},
    {"is_subset", RULES, 1, PRED_MAX_ARGUMENTS, true, call_is_subset},
    {"all_equal", RULES, 2, 2, true, call_all_equal},
    {"all_end_with", RULES, 2, 2, true, call_all_end_with},
    {"has_prefix", RULES, 2, 2, true, call_has_prefix},
    {"system.catype", PRED_WHERE, 0, 0, false, call_catype},
    {"can_view", PRED_WHERE, 0, 0, true, call_can_view},
    {"regexp.match", PRED_LABELS | PRED_REVIEW, 2, 2, true, call_match},
    {"regexp.replace", PRED_LABELS | PRED_REVIEW, 3, 3, false, call_replace},
    {"email.local", PRED_LABELS | PRED_REVIEW, 1, 1, false, call_email_local},
    {"strings.upper", PRED_LABELS | PRED_REVIEW, 1, 1, false, call_upper},
    {"strings.lower", PRED_LABELS | PRED_REVIEW, 1, 1, false, call_lower},
    {"labels_matching", PRED_LABELS, 1, 1, false, call_labels_matching},
    /* Actions are checked and kept, never run. */
    {"log", PRED_ACTION, 2, PRED_MAX_ARGUMENTS, false, NULL},
};

const struct pred_function *pred_function_find(const char *name, unsigned dialect)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if ((functions[i].dialects & dialect) && strcmp(functions[i].name, name) == 0)
            return &functions[i];
    return NULL;
}

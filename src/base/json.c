#include "base/json.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum tp_err json_parse_object(const void *data, size_t size, size_t limit, json_t **ret_object, struct tp_error *error)
{
    json_error_t why;
    json_t *object;
    if (size > limit)
        return err_set(error, TP_TOO_LARGE, "the JSON document has %zu bytes, more than %zu", size, limit);
    object = json_loadb(data, size, JSON_REJECT_DUPLICATES, &why);
    if (!object)
        return err_set(error, TP_INVALID, "not valid JSON at line %d: %s", why.line, why.text);
    if (!json_is_object(object)) {
        json_decref(object);
        return err_set(error, TP_INVALID, "the JSON document is not an object");
    }
    *ret_object = object;
    return TP_OK;
}

/* Most bytes that jansson takes for each of these, found outside of strings; strings and keys take their text besides
 * (test_base.c measures). */
static size_t cost_of(uint8_t byte)
{
    switch (byte) {
    case '{':
        return 320; /* with a table of eight places */
    case '[':
        return 160;
    case ':':
        return 144; /* a member, and its share of the table */
    case ',':
        return 112; /* a value, and its place in a list */
    default:
        return 0;
    }
}

/* Stops once it is more than most. Broken documents have a cost too; the parser refuses them. */
static size_t tree_cost(const uint8_t *data, size_t size, size_t most)
{
    size_t cost = size;
    bool inside = false;
    for (size_t i = 0; i < size && cost <= most; i++) {
        if (inside && data[i] == '\\')
            i++;
        else if (data[i] == '"')
            inside = !inside;
        else if (!inside)
            cost += cost_of(data[i]);
    }
    return cost;
}

enum tp_err json_parse_bounded(const void *data, size_t size, size_t memory, json_t **ret_object,
                               struct tp_error *error)
{
    if (tree_cost(data, size, memory) > memory)
        return err_set(error, TP_TOO_LARGE, "the JSON document has too many values in its %zu bytes", size);
    return json_parse_object(data, size, size, ret_object, error);
}

char *json_text(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    return text ? text : mem_strdup("null");
}

static const char *plain_text(const json_t *value)
{
    const char *text = json_string_value(value);
    /* jansson refuses \u0000 unless asked; the check keeps that true if somebody asks one day. */
    return text && strlen(text) == json_string_length(value) ? text : NULL;
}

enum tp_err json_need_text(const json_t *object, const char *key, const char **ret_text, struct tp_error *error)
{
    const char *text = plain_text(json_object_get(object, key));
    if (!text)
        return err_set(error, TP_INVALID, "\"%s\" is missing or not a string", key);
    *ret_text = text;
    return TP_OK;
}

enum tp_err json_need_int(const json_t *object, const char *key, int64_t *ret_value, struct tp_error *error)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value))
        return err_set(error, TP_INVALID, "\"%s\" is missing or not a whole number", key);
    *ret_value = json_integer_value(value);
    return TP_OK;
}

enum tp_err json_need_object(const json_t *object, const char *key, json_t **ret_value, struct tp_error *error)
{
    json_t *value = json_object_get(object, key);
    if (!json_is_object(value))
        return err_set(error, TP_INVALID, "\"%s\" is missing or not an object", key);
    *ret_value = value;
    return TP_OK;
}

enum tp_err json_need_array(const json_t *object, const char *key, json_t **ret_value, struct tp_error *error)
{
    json_t *value = json_object_get(object, key);
    if (!json_is_array(value))
        return err_set(error, TP_INVALID, "\"%s\" is missing or not a list", key);
    *ret_value = value;
    return TP_OK;
}

const char *json_get_text(const json_t *object, const char *key, const char *otherwise)
{
    const char *text = plain_text(json_object_get(object, key));
    return text ? text : otherwise;
}

int64_t json_get_int(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

bool json_get_bool(const json_t *object, const char *key, bool otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

bool json_list_has(const json_t *list, const char *text)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        const char *is = json_string_value(item);
        if (is && strcmp(is, text) == 0)
            return true;
    }
    return false;
}

struct order {
    int (*compare)(const json_t *left, const json_t *right);
};

static int compare_items(const void *a, const void *b, void *ctx)
{
    return ((const struct order *)ctx)->compare(*(json_t *const *)a, *(json_t *const *)b);
}

void json_array_sort(json_t *list, int (*compare)(const json_t *left, const json_t *right))
{
    size_t count = json_array_size(list);
    json_t **items = mem_array(count + 1, sizeof(*items));
    for (size_t i = 0; i < count; i++)
        items[i] = json_incref(json_array_get(list, i));
    qsort_r(items, count, sizeof(*items), compare_items, &(struct order){compare});
    for (size_t i = 0; i < count; i++)
        (void)json_array_set_new(list, i, items[i]);
    mem_free(items);
}

static const char *dynamic_text(const json_t *value)
{
    return json_string_value(json_is_object(value) ? json_object_get(value, "result") : value);
}

void json_labels_each(const json_t *labels, const json_t *dynamic, json_label_fn *fn, void *ctx)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)dynamic, key, value) {
        if (dynamic_text(value))
            fn(ctx, key, dynamic_text(value));
    }
    json_object_foreach ((json_t *)(uintptr_t)labels, key, value) {
        if (json_is_string(value) && !dynamic_text(json_object_get(dynamic, key)))
            fn(ctx, key, json_string_value(value));
    }
}

static void put_label(void *ctx, const char *name, const char *value)
{
    (void)json_object_set_new(ctx, name, json_string(value));
}

json_t *json_labels(const json_t *labels, const json_t *dynamic)
{
    json_t *all = json_object();
    json_labels_each(labels, dynamic, put_label, all);
    return all;
}

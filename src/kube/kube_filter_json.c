#include "kube/kube_filter_priv.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

static json_t *load(const uint8_t *data, size_t size)
{
    json_t *value = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (value && !json_is_object(value)) {
        json_decref(value);
        value = NULL;
    }
    return value;
}

static enum tp_err put(const json_t *value, struct buf *out, const char *end, struct tp_error *error)
{
    char *text = json_dumps(value, JSON_COMPACT);
    enum tp_err err = text ? buf_append_text(out, text) : TP_INVALID;
    if (!err)
        err = buf_append_text(out, end);
    free(text);
    return err ? err_set(error, err, "the filtered answer can't be written") : TP_OK;
}

static const char *text_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    /* A text with a NUL in it would be compared as a shorter one. */
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        return NULL;
    return json_string_value(value);
}

static bool shows(const struct kube_filter *filter, const json_t *object)
{
    const json_t *metadata = json_object_get(object, "metadata");
    return kube_filter_shows(filter, text_of(metadata, "namespace"), text_of(metadata, "name"));
}

/* Leaves the items that may be shown in list's array of that name; each is the object itself, or has it in member. They
 * go into a new array: removing one by one takes time that grows with the square of a list. Returns what is left. */
static size_t keep(const struct kube_filter *filter, json_t *list, const char *name, const char *member)
{
    const json_t *items = json_object_get(list, name);
    json_t *kept;
    if (!json_is_array(items))
        return 0;
    kept = json_array();
    for (size_t i = 0; i < json_array_size(items); i++) {
        json_t *item = json_array_get(items, i);
        if (shows(filter, member ? json_object_get(item, member) : item))
            (void)json_array_append(kept, item);
    }
    (void)json_object_set_new(list, name, kept);
    return json_array_size(kept);
}

static bool is_kind(const json_t *value, const char *kind)
{
    const char *text = text_of(value, "kind");
    return text && strcmp(text, kind) == 0;
}

enum tp_err kube_filter_json_list(struct kube_filter *filter, const uint8_t *data, size_t size, struct buf *out,
                                  struct tp_error *error)
{
    json_t *list = load(data, size);
    const json_t *items = json_object_get(list, "items");
    const json_t *rows = json_object_get(list, "rows");
    enum tp_err err = TP_OK;
    if (is_kind(list, "Table") && (json_is_array(rows) || json_is_null(rows)))
        (void)keep(filter, list, "rows", "object");
    else if (list && !is_kind(list, "Table") && (json_is_array(items) || json_is_null(items)))
        (void)keep(filter, list, "items", NULL);
    else if (!is_kind(list, "Status"))
        err = err_set(error, TP_INVALID, "the API server's list of %s is not of a form that can be filtered",
                      filter->request->resource);
    if (!err)
        err = put(list, out, "\n", error);
    json_decref(list);
    return err;
}

enum tp_err kube_filter_json_event(struct kube_filter *filter, const uint8_t *data, size_t size, struct buf *out,
                                   struct tp_error *error)
{
    json_t *event = load(data, size);
    const char *type = text_of(event, "type");
    json_t *object = json_object_get(event, "object");
    enum tp_err err = TP_OK;
    if (!type || !json_is_object(object)) {
        err = err_set(error, TP_INVALID, "the API server's watch of %s is not of a form that can be filtered",
                      filter->request->resource);
    } else if (strcmp(type, "BOOKMARK") == 0 || strcmp(type, "ERROR") == 0) {
        err = put(event, out, "\n", error);
    } else if (is_kind(object, "Table")) {
        if (keep(filter, object, "rows", "object") > 0)
            err = put(event, out, "\n", error);
    } else if (shows(filter, object)) {
        err = put(event, out, "\n", error);
    }
    json_decref(event);
    return err;
}

#include "kube/kube_filter_priv.h"

#include "base/json.h"
#include "base/mem.h"
#include "kube/kube_scan.h"

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

/* ---- lists ---- */

static bool is_text(struct kube_text value, const char *text)
{
    return value.size == strlen(text) && memcmp(value.at, text, value.size) == 0;
}

/* What a string says, as text_of does; mem_free it. */
static char *said(struct kube_text value)
{
    json_t *string =
        value.at ? json_loadb((const char *)value.at, value.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
    char *text = NULL;
    if (json_is_string(string) && strlen(json_string_value(string)) == json_string_length(string))
        text = mem_strdup(json_string_value(string));
    json_decref(string);
    return text;
}

static bool is_object(struct kube_text value)
{
    return value.at && *value.at == '{';
}

/* What has no clear name is not shown; false: what can't be read. */
static bool look(const struct kube_filter *filter, struct kube_text object, bool *ret_shows)
{
    static const char *const of_object[] = {"metadata"};
    static const char *const of_metadata[] = {"namespace", "name"};
    struct kube_text metadata = {0};
    struct kube_text names[2] = {{0}};
    *ret_shows = false;
    if (!is_object(object))
        return true;
    if (!kube_scan_find(object, of_object, &metadata, 1, NULL) ||
        (is_object(metadata) && !kube_scan_find(metadata, of_metadata, names, 2, NULL)))
        return false;
    char *ns = said(names[0]);
    char *name = said(names[1]);
    *ret_shows = kube_filter_shows(filter, ns, name);
    mem_free(ns);
    mem_free(name);
    return true;
}

/* A row of a table is about the object in it. */
static bool look_at_row(const struct kube_filter *filter, struct kube_text row, bool *ret_shows)
{
    static const char *const of_row[] = {"object"};
    struct kube_text object = {0};
    if (is_object(row) && !kube_scan_find(row, of_row, &object, 1, NULL))
        return false;
    return look(filter, object, ret_shows);
}

/* The entries of list that may be shown. */
static bool thin(const struct kube_filter *filter, struct kube_text list, bool rows, struct buf *out)
{
    struct kube_scan scan;
    struct kube_text one;
    const char *between = "";
    kube_scan_init(&scan, list);
    kube_scan_open(&scan, '[');
    (void)buf_append_text(out, "[");
    while (kube_scan_element(&scan, &one)) {
        bool show = false;
        if (rows ? !look_at_row(filter, one, &show) : !look(filter, one, &show))
            return false;
        if (show) {
            (void)buf_append_text(out, between);
            (void)buf_append(out, one.at, one.size);
            between = ",";
        }
    }
    (void)buf_append_text(out, "]");
    return kube_scan_done(&scan);
}

enum tp_err kube_filter_json_list(struct kube_filter *filter, const uint8_t *data, size_t size, struct buf *out,
                                  struct tp_error *error)
{
    static const char *const names[] = {"kind", "items", "rows"};
    struct kube_text parts[3];
    const uint8_t *end = NULL;
    const uint8_t *at = data;
    bool good = size > 0 && kube_scan_find((struct kube_text){data, size}, names, parts, 3, &end);
    bool table = good && is_text(parts[0], "\"Table\"");
    struct kube_text list = good ? parts[table ? 2 : 1] : (struct kube_text){0};
    if (good && list.at && *list.at == '[') {
        (void)buf_append(out, data, (size_t)(list.at - data));
        good = thin(filter, list, table, out);
        at = list.at + list.size;
    } else {
        good = good && ((list.at && is_text(list, "null")) || is_text(parts[0], "\"Status\""));
    }
    if (!good)
        return err_set(error, TP_INVALID, "the API server's list of %s is not of a form that can be filtered",
                       filter->request->resource);
    (void)buf_append(out, at, (size_t)(end - at));
    return buf_append_text(out, "\n") == TP_OK ? TP_OK
                                               : err_set(error, TP_TOO_LARGE, "the filtered answer can't be written");
}

/* ---- events of a watch ---- */

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

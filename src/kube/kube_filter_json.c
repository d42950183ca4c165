#include "kube/kube_filter_priv.h"

#include "base/json.h"
#include "base/mem.h"
#include "kube/kube_scan.h"

#include <stdlib.h>
#include <string.h>

static bool is_text(struct kube_text value, const char *text)
{
    return value.size == strlen(text) && memcmp(value.at, text, value.size) == 0;
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
    char *ns = kube_scan_text(names[0]);
    char *name = kube_scan_text(names[1]);
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

/* The entries of list that may be shown, and whether there are some. */
static bool thin(const struct kube_filter *filter, struct kube_text list, bool rows, struct buf *out, bool *ret_some)
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
            *ret_some = true;
        }
    }
    (void)buf_append_text(out, "]");
    return kube_scan_done(&scan);
}

/* What the list says about the pages that follow, in its metadata (ListMeta, which is small). */
static bool put_metadata(const struct kube_filter *filter, struct kube_text text, struct buf *out)
{
    json_t *metadata =
        json_loadb((const char *)text.at, text.size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    const char *token = json_get_text(metadata, "continue", NULL);
    if (token && *token) {
        char *hidden = filter->pages->hide(filter->pages->ctx, token);
        (void)json_object_set_new(metadata, "continue", json_string(hidden));
        mem_free(hidden);
    } else if (!token) { /* what is no clear text is no token */
        (void)json_object_del(metadata, "continue");
    }
    (void)json_object_del(metadata, "remainingItemCount");
    char *written = metadata ? json_dumps(metadata, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    bool good = written && buf_append_text(out, written) == TP_OK;
    free(written);
    json_decref(metadata);
    return good;
}

/* A part of a list that is written anew; at NULL: it is not there. */
struct part {
    struct kube_text text;
    bool entries; /* else metadata */
};

/* The list with its parts, in the order in which they stand there. */
static bool put_list(const struct kube_filter *filter, struct kube_text list, const struct part parts[2], bool rows,
                     struct buf *out)
{
    const uint8_t *at = list.at;
    bool some = false;
    for (size_t i = 0; i < 2; i++) {
        struct kube_text text = parts[i].text;
        if (!text.at)
            continue;
        (void)buf_append(out, at, (size_t)(text.at - at));
        if (!(parts[i].entries ? thin(filter, text, rows, out, &some) : put_metadata(filter, text, out)))
            return false;
        at = text.at + text.size;
    }
    (void)buf_append(out, at, (size_t)(list.at + list.size - at));
    return true;
}

enum tp_err kube_filter_json_list(struct kube_filter *filter, const uint8_t *data, size_t size, struct buf *out,
                                  struct tp_error *error)
{
    static const char *const names[] = {"kind", "items", "rows", "metadata"};
    struct kube_text found[4];
    const uint8_t *end = NULL;
    bool good = size > 0 && kube_scan_find((struct kube_text){data, size}, names, found, 4, &end);
    bool table = good && is_text(found[0], "\"Table\"");
    struct kube_text list = good ? found[table ? 2 : 1] : (struct kube_text){0};
    struct part entries = {list, true};
    if (good && (!list.at || *list.at != '[')) {
        good = (list.at && is_text(list, "null")) || is_text(found[0], "\"Status\"");
        entries.text.at = NULL;
    }
    if (good) {
        const struct part metadata = {found[3], false};
        bool first = !entries.text.at || metadata.text.at < entries.text.at;
        const struct part parts[2] = {first ? metadata : entries, first ? entries : metadata};
        good = put_list(filter, (struct kube_text){data, (size_t)(end - data)}, parts, table, out);
    }
    if (!good)
        return err_set(error, TP_INVALID, "the API server's list of %s is not of a form that can be filtered",
                       filter->request->resource);
    return buf_append_text(out, "\n") == TP_OK ? TP_OK
                                               : err_set(error, TP_TOO_LARGE, "the filtered answer can't be written");
}

enum tp_err kube_filter_json_event(struct kube_filter *filter, const uint8_t *data, size_t size, struct buf *out,
                                   struct tp_error *error)
{
    static const char *const of_event[] = {"type", "object"};
    static const char *const of_object[] = {"kind", "rows"};
    struct kube_text parts[2];
    struct kube_text inner[2] = {{0}};
    const uint8_t *at = memchr(data, '{', size);
    const uint8_t *end = NULL;
    bool show = false;
    bool good = kube_scan_find((struct kube_text){data, size}, of_event, parts, 2, &end) && parts[0].at &&
                *parts[0].at == '"' && is_object(parts[1]) && kube_scan_find(parts[1], of_object, inner, 2, NULL);
    struct buf event;
    buf_init(&event, 0);
    if (good && (is_text(parts[0], "\"BOOKMARK\"") || is_text(parts[0], "\"ERROR\""))) {
        show = true;
    } else if (good && is_text(inner[0], "\"Table\"")) {
        if (inner[1].at && *inner[1].at == '[') {
            (void)buf_append(&event, at, (size_t)(inner[1].at - at));
            good = thin(filter, inner[1], true, &event, &show);
            at = inner[1].at + inner[1].size;
        }
    } else if (good) {
        good = look(filter, parts[1], &show);
    }
    if (good && show) {
        (void)buf_append(&event, at, (size_t)(end - at));
        (void)buf_append_text(&event, "\n");
        if (buf_append(out, buf_head(&event), buf_size(&event)) != TP_OK)
            good = false;
    }
    buf_free(&event);
    return good ? TP_OK
                : err_set(error, TP_INVALID, "the API server's watch of %s is not of a form that can be filtered",
                          filter->request->resource);
}

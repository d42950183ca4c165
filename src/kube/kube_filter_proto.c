/*
 * The numbers of fields, from the .proto files of k8s.io/apimachinery:
 *   "k8s\0" runtime.Unknown {1: TypeMeta {1: apiVersion, 2: kind}, 2: raw, 3: contentEncoding, 4: contentType}
 *   every list {1: ListMeta {3: continue, 4: remainingItemCount}, 2: items...}; a Status {1: ListMeta, ...}
 *   every object {1: ObjectMeta {1: name, 3: namespace}}
 *   metav1.WatchEvent {1: type, 2: RawExtension {1: raw, an object behind "k8s\0"}}
 */
#include "kube/kube_filter_priv.h"
#include "kube/kube_proto.h"

#include "base/mem.h"

#include <string.h>

static const uint8_t magic[4] = {'k', '8', 's', 0};

static enum tp_err refuse(const struct kube_filter *filter, struct tp_error *error)
{
    return err_set(error, TP_INVALID,
                   "the API server's answer about %s is not of a form that can be filtered; ask for JSON",
                   filter->request->resource);
}

/* The raw object and its kind (mem_free it) out of an envelope; false when there is none. */
static bool open_envelope(const uint8_t *data, size_t size, struct kube_proto_field *ret_raw, char **ret_kind)
{
    struct kube_proto_field meta;
    struct kube_proto_field kind;
    struct kube_proto_field encoding;
    if (size < sizeof magic || memcmp(data, magic, sizeof magic) != 0)
        return false;
    data += sizeof magic;
    size -= sizeof magic;
    if (!kube_proto_only(data, size, 1, &meta) || !kube_proto_only(data, size, 2, ret_raw) ||
        !kube_proto_only(meta.data, meta.size, 2, &kind))
        return false;
    if (kube_proto_only(data, size, 3, &encoding) && encoding.size > 0)
        return false;
    *ret_kind = mem_strndup((const char *)kind.data, kind.size);
    return true;
}

/* A text of a field that may be absent; false when it can't be told, or holds a NUL. */
static bool read_text(const uint8_t *data, size_t size, uint32_t number, char **ret_text)
{
    struct rd rd;
    struct kube_proto_field field;
    char *text = NULL;
    rd_init(&rd, data, size);
    while (kube_proto_next(&rd, &field)) {
        if (field.number != number)
            continue;
        if (text || field.wire_type != 2 || memchr(field.data, 0, field.size)) {
            mem_free(text);
            return false;
        }
        text = mem_strndup((const char *)field.data, field.size);
    }
    *ret_text = text ? text : mem_strdup("");
    if (!rd_ok(&rd)) {
        mem_free(*ret_text);
        return false;
    }
    return true;
}

/* May the object be shown? One that can't be read may not. */
static bool shows(const struct kube_filter *filter, const uint8_t *data, size_t size)
{
    struct kube_proto_field metadata;
    char *name = NULL;
    char *ns = NULL;
    bool show = false;
    if (!kube_proto_only(data, size, 1, &metadata))
        return false;
    if (read_text(metadata.data, metadata.size, 1, &name)) {
        if (read_text(metadata.data, metadata.size, 3, &ns)) {
            show = kube_filter_shows(filter, ns, name);
            mem_free(ns);
        }
        mem_free(name);
    }
    return show;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* What the list says about the pages that follow; false when it can't be read. */
static bool put_list_meta(const struct kube_filter *filter, const struct kube_proto_field *meta, struct buf *list)
{
    struct rd rd;
    struct kube_proto_field field;
    struct buf out;
    bool fine = meta->wire_type == 2;
    buf_init(&out, KUBE_LIST_MAX);
    rd_init(&rd, meta->data, meta->size);
    while (fine && kube_proto_next(&rd, &field)) {
        if (field.number == 3 && field.wire_type == 2 && field.size > 0) {
            char *token = mem_strndup((const char *)field.data, field.size);
            char *hidden = filter->pages->hide(filter->pages->ctx, token);
            fine = kube_proto_put(&out, 3, hidden, strlen(hidden)) == TP_OK;
            mem_free(hidden);
            mem_free(token);
        } else if (field.number != 3 && field.number != 4) {
            (void)buf_append(&out, field.raw, field.raw_size);
        }
    }
    fine = fine && rd_ok(&rd) && kube_proto_put(list, 1, buf_head(&out), buf_size(&out)) == TP_OK;
    buf_free(&out);
    return fine;
}

/* The list without the items that may not be shown; of a Status (which has none) its metadata alone is looked at. */
static enum tp_err thin_list(const struct kube_filter *filter, const struct kube_proto_field *raw, bool has_items,
                             struct buf *list, struct tp_error *error)
{
    struct rd rd;
    struct kube_proto_field field;
    bool fine = true;
    rd_init(&rd, raw->data, raw->size);
    while (fine && kube_proto_next(&rd, &field)) {
        if (field.number == 1)
            fine = put_list_meta(filter, &field, list);
        else if (field.number != 2 || !has_items || (field.wire_type == 2 && shows(filter, field.data, field.size)))
            (void)buf_append(list, field.raw, field.raw_size);
    }
    return fine && rd_ok(&rd) && !list->failed ? TP_OK : refuse(filter, error);
}

enum tp_err kube_filter_proto_list(struct kube_filter *filter, const uint8_t *data, size_t size, struct buf *out,
                                   struct tp_error *error)
{
    struct kube_proto_field raw;
    struct kube_proto_field field;
    struct buf list;
    struct rd rd;
    char *kind = NULL;
    enum tp_err err = TP_OK;
    if (!open_envelope(data, size, &raw, &kind))
        return refuse(filter, error);
    buf_init(&list, KUBE_LIST_MAX);
    bool is_list = ends_with(kind, "List");
    err =
        is_list || strcmp(kind, "Status") == 0 ? thin_list(filter, &raw, is_list, &list, error) : refuse(filter, error);
    mem_free(kind);
    if (!err)
        err = buf_append(out, magic, sizeof magic);
    rd_init(&rd, data + sizeof magic, size - sizeof magic);
    while (!err && kube_proto_next(&rd, &field))
        err = field.number == 2 ? kube_proto_put(out, 2, buf_head(&list), buf_size(&list))
                                : buf_append(out, field.raw, field.raw_size);
    buf_free(&list);
    return err;
}

enum tp_err kube_filter_proto_event(struct kube_filter *filter, const uint8_t *data, size_t size, bool *ret_show,
                                    struct tp_error *error)
{
    struct kube_proto_field type;
    struct kube_proto_field extension;
    struct kube_proto_field envelope;
    struct kube_proto_field raw;
    char *kind = NULL;
    if (!kube_proto_only(data, size, 1, &type))
        return refuse(filter, error);
    if ((type.size == 8 && memcmp(type.data, "BOOKMARK", 8) == 0) ||
        (type.size == 5 && memcmp(type.data, "ERROR", 5) == 0)) {
        *ret_show = true;
        return TP_OK;
    }
    if (!kube_proto_only(data, size, 2, &extension) || !kube_proto_only(extension.data, extension.size, 1, &envelope) ||
        !open_envelope(envelope.data, envelope.size, &raw, &kind))
        return refuse(filter, error);
    mem_free(kind);
    *ret_show = shows(filter, raw.data, raw.size);
    return TP_OK;
}

#include "kube/kube_filter_priv.h"

#include "base/mem.h"
#include "base/wire.h"
#include "kube/kube_query.h"

#include <string.h>
#include <strings.h>

bool kube_filter_shows(const struct kube_filter *filter, const char *ns, const char *name)
{
    return kube_request_check_item(filter->rules, filter->request, ns ? ns : "", name ? name : "");
}

static bool is_type(const char *content_type, const char *wanted)
{
    size_t size = strcspn(content_type, "; \t");
    return size == strlen(wanted) && strncasecmp(content_type, wanted, size) == 0;
}

enum tp_err kube_filter_new(const struct rbac_kube_rules *rules, const struct kube_request *request,
                            const char *content_type, const struct kube_filter_pages *pages,
                            struct kube_filter **ret_filter, struct tp_error *error)
{
    struct kube_filter *filter;
    bool protobuf = content_type && is_type(content_type, "application/vnd.kubernetes.protobuf");
    if (!protobuf && !(content_type && is_type(content_type, "application/json")))
        return err_set(error, TP_INVALID,
                       "you may see only some of these %s, and answers of type %.60s can't be filtered; ask for JSON",
                       request->resource, content_type ? content_type : "(none)");
    filter = mem_alloc(sizeof *filter);
    filter->rules = rules;
    filter->request = request;
    filter->pages = pages;
    filter->protobuf = protobuf;
    buf_init(&filter->in, request->is_watch ? KUBE_EVENT_MAX : KUBE_LIST_MAX);
    *ret_filter = filter;
    return TP_OK;
}

void kube_filter_free(struct kube_filter *filter)
{
    if (!filter)
        return;
    buf_free(&filter->in);
    mem_free(filter);
}

size_t kube_filter_kept(const struct kube_filter *filter)
{
    return buf_size(&filter->in);
}

/* ---- watches ---- */

/* Bytes up to the end of the first JSON object in filter->in, 0: it has not ended yet. */
static size_t first_object_size(struct kube_filter *filter)
{
    const uint8_t *data = buf_head(&filter->in);
    while (filter->scanned < buf_size(&filter->in)) {
        uint8_t c = data[filter->scanned++];
        if (filter->in_text) {
            if (!filter->escaped && c == '"')
                filter->in_text = false;
            filter->escaped = !filter->escaped && c == '\\';
        } else if (c == '"') {
            filter->in_text = true;
        } else if (c == '{') {
            filter->depth++;
        } else if (c == '}' && filter->depth > 0 && --filter->depth == 0) {
            return filter->scanned;
        }
    }
    return 0;
}

static enum tp_err json_watch(struct kube_filter *filter, struct buf *out, struct tp_error *error)
{
    size_t size;
    while ((size = first_object_size(filter)) > 0) {
        enum tp_err err = kube_filter_json_event(filter, buf_head(&filter->in), size, out, error);
        if (err)
            return err;
        buf_consume(&filter->in, size);
        filter->scanned = 0;
    }
    return TP_OK;
}

/* Frames of a length in four bytes and a WatchEvent. */
static enum tp_err proto_watch(struct kube_filter *filter, struct buf *out, struct tp_error *error)
{
    for (;;) {
        struct rd rd;
        bool show = false;
        uint32_t size;
        enum tp_err err;
        rd_init(&rd, buf_head(&filter->in), buf_size(&filter->in));
        size = rd_u32(&rd);
        if (!rd_ok(&rd))
            return TP_OK;
        if (size > KUBE_EVENT_MAX - 4)
            return err_set(error, TP_TOO_LARGE, "an event of the watch is too large to be filtered");
        if (rd.left < size)
            return TP_OK;
        err = kube_filter_proto_event(filter, rd.at, size, &show, error);
        if (err)
            return err;
        if (show && buf_append(out, buf_head(&filter->in), (size_t)size + 4) != TP_OK)
            return err_set(error, TP_TOO_LARGE, "an event of the watch is too large to be passed on");
        buf_consume(&filter->in, (size_t)size + 4);
    }
}

/* ---- feeding ---- */

enum tp_err kube_filter_feed(struct kube_filter *filter, const void *data, size_t size, struct buf *out,
                             struct tp_error *error)
{
    if (buf_append(&filter->in, data, size) != TP_OK)
        return err_set(error, TP_TOO_LARGE,
                       "you may see only some of these %s, and the answer is too large to be filtered; ask for fewer "
                       "(kubectl --chunk-size, a namespace, a selector)",
                       filter->request->resource);
    if (!filter->request->is_watch)
        return TP_OK;
    return filter->protobuf ? proto_watch(filter, out, error) : json_watch(filter, out, error);
}

enum tp_err kube_filter_end(struct kube_filter *filter, struct buf *out, struct tp_error *error)
{
    const uint8_t *data = buf_head(&filter->in);
    size_t size = buf_size(&filter->in);
    if (!filter->request->is_watch)
        return filter->protobuf ? kube_filter_proto_list(filter, data, size, out, error)
                                : kube_filter_json_list(filter, data, size, out, error);
    for (size_t i = 0; i < size; i++)
        if (filter->protobuf || !strchr(" \r\n\t", data[i]) || !data[i])
            return err_set(error, TP_INVALID, "the watch ended in the middle of an event");
    return TP_OK;
}

/* An API server's text: it must not end the query, nor the line. */
static void put_token(struct buf *out, const char *token)
{
    (void)buf_printf(out, "%scontinue=", buf_size(out) ? "&" : "");
    for (; *token; token++) {
        uint8_t c = (uint8_t)*token;
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("-._~", c);
        (void)buf_printf(out, plain ? "%c" : "%%%02X", c);
    }
}

/* One parameter as it is to be sent, appended to out; false: the token of a page can't be opened. */
static bool put_param(struct buf *out, const char *text, const struct kube_filter_pages *pages)
{
    /* Read as the server reads it: the name may be escaped. */
    struct kube_query one = {0};
    bool fine = true;
    if (kube_query_parse(text, &one, NULL) == TP_OK && kube_query_get(&one, "includeObject", 0) == NULL) {
        const char *hidden = kube_query_get(&one, "continue", 0);
        char *token = hidden != NULL && *hidden ? pages->show(pages->ctx, hidden) : NULL;
        fine = hidden == NULL || !*hidden || token != NULL;
        if (token)
            put_token(out, token);
        else if (fine)
            (void)buf_printf(out, "%s%s", buf_size(out) ? "&" : "", text);
        mem_free(token);
    }
    kube_query_free(&one);
    return fine;
}

char *kube_filter_query(const char *query, const struct kube_filter_pages *pages)
{
    struct buf out;
    bool fine = true;
    buf_init(&out, 0);
    for (const char *at = query ? query : ""; *at && fine;) {
        size_t size = strcspn(at, "&");
        char *text = mem_strndup(at, size);
        fine = size == 0 || put_param(&out, text, pages);
        mem_free(text);
        at += size;
        at += *at == '&';
    }
    if (!fine) {
        buf_free(&out);
        return NULL;
    }
    (void)buf_printf(&out, "%sincludeObject=Metadata", buf_size(&out) ? "&" : "");
    return buf_take(&out);
}

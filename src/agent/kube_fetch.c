/* Small requests of our own to the API server, in a person's name: asked once, answered within seconds and in memory. */
#include "agent/kube_priv.h"

#include "base/mem.h"
#include "protocols/http/http_server.h"

#include <string.h>

struct kube_fetch {
    struct kube_upstream *upstream;
    struct http_response_parser *answer;
    struct timer *deadline;
    struct buf head;
    struct buf body;
    bool no_room; /* for the body */
    bool (*has_room)(void *ctx, size_t size);
    kube_fetch_cb *fn;
    void *ctx;
};

void kube_fetch_cancel(struct kube_fetch *fetch)
{
    if (fetch == NULL) {
        return;
    }
    kube_upstream_close(fetch->upstream);
    http_response_parser_free(fetch->answer);
    timer_free(fetch->deadline);
    buf_wipe(&fetch->head);
    buf_free(&fetch->body);
    mem_free(fetch);
}

size_t kube_fetch_kept(const struct kube_fetch *fetch)
{
    return fetch != NULL ? buf_size(&fetch->body) : 0;
}

/* why: what is known of an answer that is not complete. */
static void finish(struct kube_fetch *fetch, bool complete, const char *why)
{
    const struct http_response *response = http_response_parser_response(fetch->answer);
    bool fine = complete && !fetch->body.failed && !fetch->no_room;
    if (complete && response->keep_alive && !response->until_close) {
        kube_upstream_put(fetch->upstream);
        fetch->upstream = NULL;
    }
    if (fine) {
        fetch->fn(fetch->ctx, response->status, buf_head(&fetch->body), buf_size(&fetch->body));
    } else {
        fetch->fn(fetch->ctx, 0, (const uint8_t *)why, strlen(why));
    }
    kube_fetch_cancel(fetch);
}

static void on_body(void *ctx, const uint8_t *data, size_t size)
{
    struct kube_fetch *fetch = ctx;
    if (fetch->has_room != NULL && !fetch->no_room && !fetch->has_room(fetch->ctx, size)) {
        fetch->no_room = true;
        buf_free(&fetch->body);
    }
    if (!fetch->no_room) {
        (void)buf_append(&fetch->body, data, size); /* one that is too large fails as a whole */
    }
}

static void on_open(void *ctx)
{
    struct kube_fetch *fetch = ctx;
    kube_upstream_write(fetch->upstream, buf_head(&fetch->head), buf_size(&fetch->head));
}

static void on_data(void *ctx, const uint8_t *data, size_t size)
{
    struct kube_fetch *fetch = ctx;
    enum http_step step = HTTP_HEAD_READY;
    while (step == HTTP_HEAD_READY) {
        size_t used = 0;
        step = http_response_parser_take(fetch->answer, data, size, &used);
        data += used;
        size -= used;
    }
    if (step != HTTP_MORE) {
        finish(fetch, step == HTTP_DONE && size == 0, "");
    }
}

static void on_eof(void *ctx)
{
    finish(ctx, false, "");
}

static void on_drain(void *ctx)
{
    (void)ctx; /* all we write is written at once */
}

static void on_close(void *ctx, const struct tp_error *error)
{
    struct kube_fetch *fetch = ctx;
    fetch->upstream = NULL;
    finish(fetch, false, error->text);
}

static const struct kube_upstream_events fetch_events = {
    .on_open = on_open, .on_data = on_data, .on_eof = on_eof, .on_drain = on_drain, .on_close = on_close};

static void on_deadline(void *ctx)
{
    finish(ctx, false, "");
}

struct kube_fetch *kube_fetch_start(struct loop *loop, struct kube_cluster *cluster,
                                    const struct kube_fetch_request *request, kube_fetch_cb *fn, void *ctx)
{
    const struct kube_cluster_conf *conf = kube_cluster_conf(cluster);
    struct tp_error error = {0};
    struct kube_fetch *fetch = mem_alloc(sizeof(*fetch));
    fetch->has_room = request->has_room;
    fetch->fn = fn;
    fetch->ctx = ctx;
    buf_init(&fetch->head, 0);
    buf_init(&fetch->body, request->limit);
    (void)buf_printf(&fetch->head, "%s %s", request->method, conf->prefix);
    http_write_path(&fetch->head, request->path);
    (void)buf_printf(&fetch->head, "%s%s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\n",
                     request->query != NULL ? "?" : "", request->query != NULL ? request->query : "",
                     conf->server_name);
    (void)buf_append_text(&fetch->head, request->identity);
    if (request->body_size > 0) {
        (void)buf_printf(&fetch->head, "Content-Type: %s\r\nContent-Length: %zu\r\n", request->body_type,
                         request->body_size);
    }
    (void)buf_append_text(&fetch->head, "\r\n");
    (void)buf_append(&fetch->head, request->body, request->body_size);
    fetch->answer = http_response_parser_new_proxy(false, false, on_body, fetch);
    if (kube_upstream_get(cluster, false, &fetch_events, fetch, &fetch->upstream, &error) != TP_OK) {
        kube_fetch_cancel(fetch);
        return NULL;
    }
    fetch->deadline = timer_new(loop, on_deadline, fetch);
    timer_start(fetch->deadline, request->within_ms, 0);
    return fetch;
}

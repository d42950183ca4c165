/*
 * A terminal whose browser came to one worker while another one holds the tunnel to its node: master makes a socket pair and
 * gives each its end. The first worker writes a head (u32 size, JSON {host_id, grant}), then it speaks the frames of
 * docs/protocol-terminal.md as into a tunnel; the second one opens the stream and relays without looking.
 */
#include "protocols/term_front.h"

#include "base/enc.h"
#include "base/mem.h"
#include "base/wire.h"
#include "term/term_frame.h"
#include "tunnel/relay.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MS 5000
#define HEAD_MAX ((size_t)64 * 1024)

/* Our end of the pair, at the worker that has the tunnel. */
struct term_pair {
    struct worker *worker;
    struct peer peer;
    int fd; /* until the stream has it */
    struct watch *watch;
    struct timer *timer;
    struct buf head;
    size_t wanted; /* bytes of head that must be there: its size, then all of it */
};

void term_pair_head(struct stream *pair, const char *host_id, const struct buf *grant)
{
    struct buf out;
    char *text = enc_base64(buf_head(grant), buf_size(grant));
    json_t *object = json_pack("{s:s, s:s}", "host_id", host_id, "grant", text);
    char *json = json_text(object);
    buf_init(&out, 0);
    wr_cstring(&out, json);
    stream_write(pair, buf_head(&out), buf_size(&out));
    buf_wipe(&out);
    mem_free(json);
    mem_free(text);
    json_decref(object);
}

static void pair_free(struct term_pair *pair, enum close_reason reason, uint64_t rx, uint64_t tx)
{
    watch_free(pair->watch);
    timer_free(pair->timer);
    buf_wipe(&pair->head);
    if (pair->fd >= 0)
        (void)close(pair->fd);
    worker_connection_closed(pair->worker, &pair->peer, reason, "", rx, tx);
    mem_free(pair);
}

static void on_done(void *ctx, const struct relay_result *result)
{
    pair_free(ctx, result->reason, result->rx, result->tx);
}

/* The agent took no stream: the other worker hears it as from a node. */
static void on_refused(void *ctx, struct stream *stream, enum close_reason reason, const char *text)
{
    uint8_t head[TERM_HEAD];
    json_t *object = json_pack("{s:s, s:s}", "reason", close_name(reason), "text", *text ? text : close_text(reason));
    char *json = json_text(object);
    (void)ctx;
    term_head(head, TERM_CLOSE, strlen(json));
    stream_write(stream, head, sizeof(head));
    stream_write(stream, json, strlen(json));
    mem_free(json);
    json_decref(object);
}

static void on_nobody_data(void *ctx, const uint8_t *data, size_t size)
{
    (void)ctx;
    (void)data;
    (void)size;
}

static void on_early_close(void *ctx, enum close_reason reason)
{
    pair_free(ctx, reason, 0, 0);
}

static void join(struct term_pair *pair)
{
    static const struct stream_events early = {.on_data = on_nobody_data, .on_close = on_early_close};
    static const struct relay_events events = {.on_refused = on_refused, .on_done = on_done};
    struct stream *stream = stream_new(pair->worker->loop, pair->fd, &early, pair);
    struct tunnel *tunnel = NULL;
    struct relay *relay = NULL;
    struct buf grant;
    json_t *object = NULL;
    pair->fd = -1;
    stream_pause(stream);
    buf_init(&grant, TUNNEL_HEADER_MAX);
    if (json_parse_object(buf_head(&pair->head), buf_size(&pair->head), HEAD_MAX, &object, NULL) == TP_OK) {
        const char *text = json_get_text(object, "grant", "");
        tunnel = tunnels_find(pair->worker, json_get_text(object, "host_id", ""));
        if (dec_base64(text, strlen(text), &grant) != TP_OK)
            tunnel = NULL;
    }
    if (!tunnel ||
        relay_open(stream, tunnel, "term", buf_head(&grant), buf_size(&grant), &events, pair, &relay) != TP_OK)
        stream_close(stream, CLOSE_TARGET_OFFLINE);
    buf_free(&grant);
    json_decref(object);
}

/* Exactly the head is read: what follows is the relay's. */
static void on_readable(void *ctx, int events)
{
    struct term_pair *pair = ctx;
    (void)events;
    while (buf_size(&pair->head) < pair->wanted) {
        size_t left = pair->wanted - buf_size(&pair->head);
        uint8_t *place = buf_reserve(&pair->head, left);
        ssize_t n = place ? recv(pair->fd, place, left, MSG_DONTWAIT) : 0;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            pair_free(pair, CLOSE_CLIENT_CLOSED, 0, 0);
            return;
        }
        buf_commit(&pair->head, (size_t)n);
        if (pair->wanted == 4 && buf_size(&pair->head) == 4) {
            struct rd rd;
            rd_init(&rd, buf_head(&pair->head), 4);
            pair->wanted = rd_u32(&rd);
            buf_clear(&pair->head);
            if (pair->wanted < 5 || pair->wanted > HEAD_MAX) {
                pair_free(pair, CLOSE_PROTOCOL_ERROR, 0, 0);
                return;
            }
        }
    }
    watch_free(pair->watch);
    pair->watch = NULL;
    timer_stop(pair->timer);
    join(pair);
}

static void on_timer(void *ctx)
{
    pair_free(ctx, CLOSE_PREAUTH_TIMEOUT, 0, 0);
}

void term_pair_serve(struct worker *worker, int fd)
{
    struct term_pair *pair = mem_alloc(sizeof(*pair));
    pair->worker = worker;
    pair->fd = fd;
    pair->wanted = 4;
    pair->peer.id = ++worker->last_connection_id;
    pair->peer.route = ROUTE_WEB;
    (void)snprintf(pair->peer.address, sizeof(pair->peer.address), "worker");
    worker->connections++;
    buf_init(&pair->head, HEAD_MAX);
    pair->timer = timer_new(worker->loop, on_timer, pair);
    timer_start(pair->timer, HEAD_MS, 0);
    if (watch_new(worker->loop, fd, on_readable, pair, &pair->watch) != TP_OK) {
        pair_free(pair, CLOSE_INTERNAL, 0, 0);
        return;
    }
    watch_set(pair->watch, WATCH_READ);
}

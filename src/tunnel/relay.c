/*
 * Happy path: bytes of the stream go into the tunnel stream as far as there is credit; the rest of one read (64 KB at
 * most) waits in pending while the stream is paused. Bytes of the tunnel go into the stream's queue; their credit is given
 * back at once, or when the queue has drained. Each side's end is passed on; when both sides are gone, on_done.
 */
#include "tunnel/relay.h"

#include "base/mem.h"

#define LINGER_MS 30000 /* for what a stream that is gone had still to say */

struct relay {
    struct loop *loop;
    struct stream *stream;             /* NULL when it is gone */
    struct tunnel_stream *tunnel;      /* NULL when it is gone */
    const struct relay_events *events; /* NULL after relay_free */
    void *ctx;
    struct buf pending; /* read from the stream, no credit yet */
    size_t owed;        /* bytes of the tunnel for which credit is held back */
    bool stream_eof;    /* the stream sends no more */
    bool eof_passed;    /* and the tunnel knows */
    bool tunnel_eof;
    bool hushed; /* what the stream sends is dropped */
    bool ended;  /* reason is set */
    bool by_tunnel;
    struct timer *linger;
    enum close_reason reason;
    char *text;
    uint64_t rx, tx;
};

static void set_reason(struct relay *relay, enum close_reason reason, const char *text, bool by_tunnel)
{
    if (relay->ended) {
        return;
    }
    relay->ended = true;
    relay->reason = reason;
    relay->by_tunnel = by_tunnel;
    relay->text = mem_strdup(text != NULL ? text : "");
}

/* Both sides are gone. */
static void check_done(struct relay *relay)
{
    if (relay->stream != NULL || relay->tunnel != NULL) {
        return;
    }
    timer_free(relay->linger);
    buf_free(&relay->pending);
    if (relay->events != NULL) {
        struct relay_result result = {.reason = relay->reason,
                                      .text = relay->text != NULL ? relay->text : "",
                                      .by_tunnel = relay->by_tunnel,
                                      .rx = relay->rx,
                                      .tx = relay->tx};
        relay->events->on_done(relay->ctx, &result);
    }
    mem_free(relay->text);
    mem_free(relay);
}

/* The right was taken away: what is still queued must not be delivered. */
static bool is_cut(enum close_reason reason)
{
    switch (reason) {
    case CLOSE_LOCKED:
    case CLOSE_CERT_EXPIRED:
    case CLOSE_RIGHT_LOST:
    case CLOSE_ENDED_BY_ADMIN:
    case CLOSE_RECORDING_FAILED:
    case CLOSE_AUDIT_FAILED:
    case CLOSE_ACCESS_DENIED:
        return true;
    default:
        return false;
    }
}

/* Sends what waits; afterwards the stream may be read again, or its end be passed on. */
static void pump(struct relay *relay)
{
    if (relay->tunnel == NULL) {
        return;
    }
    if (buf_size(&relay->pending) > 0) {
        size_t took = tunnel_stream_write(relay->tunnel, buf_head(&relay->pending), buf_size(&relay->pending));
        relay->rx += took;
        buf_consume(&relay->pending, took);
        if (buf_size(&relay->pending) > 0) {
            return;
        }
        buf_free(&relay->pending);
    }
    if (relay->stream == NULL) {
        tunnel_stream_close(relay->tunnel, relay->reason, relay->text);
        return;
    }
    if (relay->stream_eof) {
        if (!relay->eof_passed) {
            relay->eof_passed = true;
            tunnel_stream_shutdown(relay->tunnel);
        }
        return;
    }
    stream_resume(relay->stream);
}

/* ---- the stream's side ---- */

static void on_stream_data(void *ctx, const uint8_t *data, size_t size)
{
    struct relay *relay = ctx;
    if (relay->tunnel == NULL || relay->ended || relay->hushed) {
        return;
    }
    size_t took = 0;
    if (buf_size(&relay->pending) == 0) {
        took = tunnel_stream_write(relay->tunnel, data, size);
        relay->rx += took;
    }
    if (took < size) {
        /* Without a limit of its own: paused streams give at most what they have already read. */
        (void)buf_append(&relay->pending, data + took, size - took);
        stream_pause(relay->stream);
    }
}

static void on_stream_eof(void *ctx)
{
    struct relay *relay = ctx;
    relay->stream_eof = true;
    pump(relay);
}

static void give_credit(struct relay *relay)
{
    if (relay->tunnel != NULL && relay->owed > 0) {
        size_t owed = relay->owed;
        relay->owed = 0;
        tunnel_stream_consume(relay->tunnel, owed);
    }
}

static void on_stream_drain(void *ctx)
{
    give_credit(ctx);
}

static void on_linger(void *ctx)
{
    struct relay *relay = ctx;
    if (relay->tunnel != NULL) {
        tunnel_stream_close(relay->tunnel, relay->reason, relay->text);
    }
}

static void on_stream_close(void *ctx, enum close_reason reason)
{
    struct relay *relay = ctx;
    /* A peer that has said its end and then vanishes with our last bytes unread has ended in order. */
    bool orderly = relay->stream_eof && (reason == CLOSE_PEER_RESET || reason == CLOSE_IO_ERROR);
    set_reason(relay, orderly ? CLOSE_DONE : reason, NULL, false);
    relay->stream = NULL;
    if (relay->tunnel == NULL) {
        check_done(relay);
        return;
    }
    if (buf_size(&relay->pending) > 0 && !is_cut(relay->reason)) {
        relay->linger = timer_new(relay->loop, on_linger, relay);
        timer_start(relay->linger, LINGER_MS, 0);
        pump(relay);
        return;
    }
    tunnel_stream_close(relay->tunnel, relay->reason, relay->text);
}

static const struct stream_events stream_events = {
    .on_data = on_stream_data,
    .on_eof = on_stream_eof,
    .on_drain = on_stream_drain,
    .on_close = on_stream_close,
};

/* ---- the tunnel's side ---- */

static void on_tunnel_accept(void *ctx)
{
    struct relay *relay = ctx;
    if (relay->events != NULL && relay->events->on_accept != NULL && !relay->ended) {
        relay->events->on_accept(relay->ctx);
    }
}

static void on_tunnel_data(void *ctx, const uint8_t *data, size_t size)
{
    struct relay *relay = ctx;
    relay->owed += size;
    if (relay->stream == NULL) {
        give_credit(relay); /* nobody reads it any more, but the other direction may still be finishing */
        return;
    }
    relay->tx += size;
    stream_write(relay->stream, data, size);
    if (!stream_is_full(relay->stream)) {
        give_credit(relay);
    }
}

static void on_tunnel_eof(void *ctx)
{
    struct relay *relay = ctx;
    relay->tunnel_eof = true;
    if (relay->stream != NULL) {
        stream_shutdown(relay->stream);
    }
}

static void on_tunnel_writable(void *ctx)
{
    pump(ctx);
}

static void on_tunnel_close(void *ctx, enum close_reason reason, const char *text)
{
    struct relay *relay = ctx;
    bool refused = relay->stream != NULL && relay->tx == 0 && !relay->ended && close_is_error(reason) &&
                   relay->events != NULL && relay->events->on_refused != NULL;
    set_reason(relay, reason, text, true);
    relay->tunnel = NULL;
    if (refused) {
        relay->events->on_refused(relay->ctx, relay->stream, reason, relay->text);
    }
    if (relay->stream == NULL) {
        check_done(relay);
    } else if (is_cut(reason) && !refused) {
        stream_close(relay->stream, reason);
    } else {
        stream_close_flush(relay->stream, reason);
    }
}

static const struct tunnel_stream_events tunnel_events = {
    .on_accept = on_tunnel_accept,
    .on_data = on_tunnel_data,
    .on_eof = on_tunnel_eof,
    .on_writable = on_tunnel_writable,
    .on_close = on_tunnel_close,
};

/* ---- what owners call ---- */

static struct relay *relay_new(struct stream *stream, const struct relay_events *events, void *ctx)
{
    struct relay *relay = mem_alloc(sizeof(*relay));
    relay->loop = stream_loop(stream);
    relay->stream = stream;
    relay->events = events;
    relay->ctx = ctx;
    buf_init(&relay->pending, 0);
    return relay;
}

enum tp_err relay_open(struct stream *stream, struct tunnel *tunnel, const char *kind, const void *header, size_t size,
                       const struct relay_events *events, void *ctx, struct relay **ret_relay)
{
    struct relay *relay = relay_new(stream, events, ctx);
    enum tp_err err = tunnel_stream_open(tunnel, kind, header, size, &tunnel_events, relay, &relay->tunnel);
    if (err != TP_OK) {
        mem_free(relay);
        return err;
    }
    stream_set_events(stream, &stream_events, relay);
    stream_resume(stream);
    *ret_relay = relay;
    return TP_OK;
}

struct relay *relay_accept(struct stream *stream, struct tunnel_stream *tunnel_stream,
                           const struct relay_events *events, void *ctx)
{
    struct relay *relay = relay_new(stream, events, ctx);
    relay->tunnel = tunnel_stream;
    tunnel_stream_accept(tunnel_stream, &tunnel_events, relay);
    stream_set_events(stream, &stream_events, relay);
    stream_resume(stream);
    return relay;
}

void relay_cut(struct relay *relay, enum close_reason reason, const char *text)
{
    set_reason(relay, reason, text, false);
    if (relay->tunnel != NULL) {
        tunnel_stream_close(relay->tunnel, reason, text);
    }
    if (relay->stream != NULL) {
        stream_close(relay->stream, reason);
    }
}

void relay_hush(struct relay *relay)
{
    relay->hushed = true;
    buf_free(&relay->pending);
    if (relay->stream != NULL && !relay->stream_eof) {
        stream_resume(relay->stream); /* its end must still be seen */
    }
}

void relay_free(struct relay *relay, enum close_reason reason)
{
    relay->events = NULL;
    relay_cut(relay, reason, NULL);
}

uint64_t relay_rx(const struct relay *relay)
{
    return relay->rx;
}

uint64_t relay_tx(const struct relay *relay)
{
    return relay->tx;
}

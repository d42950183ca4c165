#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include "tunnel/tunnel_priv.h"

#include <string.h>

static void on_timer(void *ctx)
{
    struct tunnel *tunnel = ctx;
    tunnel_tick(tunnel, loop_now_ms(tunnel->loop));
}

struct tunnel *tunnel_new_over(struct loop *loop, const struct tunnel_transport *transport, void *transport_ctx,
                               bool dialler, const struct tunnel_events *events, void *ctx)
{
    struct tunnel *tunnel = mem_alloc(sizeof(*tunnel));
    tunnel->loop = loop;
    tunnel->transport = transport;
    tunnel->transport_ctx = transport_ctx;
    tunnel->dialler = dialler;
    tunnel->events = events;
    tunnel->ctx = ctx;
    tunnel->started_ms = loop_now_ms(loop);
    tunnel->heard_ms = tunnel->started_ms;
    tunnel->light_ms = tunnel->started_ms - TUNNEL_LIGHT_MS;
    buf_init(&tunnel->payload, FRAME_PAYLOAD_MAX);
    buf_init(&tunnel->open_header, 1 + FRAME_KIND_MAX + TUNNEL_HEADER_MAX);
    tunnel->timer = timer_new(loop, on_timer, tunnel);
    timer_start(tunnel->timer, TUNNEL_PING_MS, TUNNEL_PING_MS);
    uint8_t hello[FRAME_HELLO_SIZE];
    frame_hello_encode(&(struct frame_hello){FRAME_VERSION_MIN, FRAME_VERSION_MAX}, hello);
    tunnel_send(tunnel, FRAME_HELLO, 0, 0, hello, sizeof(hello));
    return tunnel;
}

void tunnel_send(struct tunnel *tunnel, enum frame_type type, uint8_t flags, uint32_t id, const void *payload,
                 size_t size)
{
    if (tunnel->closing) {
        return;
    }
    uint8_t header[FRAME_HEADER_SIZE];
    frame_encode(&(struct frame){.type = type, .flags = flags, .size = (uint16_t)size, .id = id}, header);
    tunnel->transport->write(tunnel->transport_ctx, header, sizeof(header));
    if (size > 0) {
        tunnel->transport->write(tunnel->transport_ctx, payload, size);
    }
}

/* Nothing more goes out or comes in; the streams end at the end of this turn, the tunnel when the transport has gone. */
static void shut(struct tunnel *tunnel, enum close_reason reason)
{
    tunnel->closing = true;
    tunnel->reason = reason;
    for (struct tunnel_stream *s = tunnel->all; s != NULL; s = s->next) {
        tunnel_stream_end(s, CLOSE_TARGET_OFFLINE, NULL);
    }
    tunnel->transport->close(tunnel->transport_ctx, reason);
}

void tunnel_close(struct tunnel *tunnel, enum close_reason reason)
{
    if (tunnel->closing) {
        return;
    }
    uint8_t payload[FRAME_RESET_MAX];
    size_t size = frame_reset_encode(reason, NULL, payload);
    tunnel_send(tunnel, FRAME_RESET, 0, 0, payload, size);
    shut(tunnel, reason);
}

void tunnel_violation(struct tunnel *tunnel, const char *what)
{
    if (!tunnel->closing) {
        log_debug("tunnel protocol broken by the peer", "what=\"%s\"", what);
        tunnel_close(tunnel, CLOSE_PROTOCOL_ERROR);
    }
}

void tunnel_drain(struct tunnel *tunnel)
{
    if (tunnel->closing || tunnel->drain_sent) {
        return;
    }
    tunnel->drain_sent = true;
    tunnel_send(tunnel, FRAME_DRAIN, 0, 0, NULL, 0);
}

bool tunnel_is_draining(const struct tunnel *tunnel)
{
    return tunnel->drain_sent || tunnel->drain_seen;
}

size_t tunnel_stream_count(const struct tunnel *tunnel)
{
    return tunnel->table_count;
}

void tunnel_check_drained(struct tunnel *tunnel)
{
    if (tunnel->drain_sent && tunnel->drain_acked && tunnel->table_count == 0 && !tunnel->closing) {
        tunnel_close(tunnel, CLOSE_DRAIN);
    }
}

void tunnel_tick(struct tunnel *tunnel, int64_t now_ms)
{
    if (tunnel->closing) {
        return;
    }
    if (now_ms - tunnel->heard_ms >= TUNNEL_SILENCE_MS ||
        (!tunnel->ready && now_ms - tunnel->started_ms >= TUNNEL_PING_MS)) {
        tunnel_close(tunnel, CLOSE_KEEPALIVE_TIMEOUT);
        return;
    }
    for (struct tunnel_stream *s = tunnel->all; s != NULL && tunnel->pending_count > 0; s = s->next) {
        if (s->incoming && !s->accepted && !s->ending && now_ms - s->opened_ms >= TUNNEL_ACCEPT_MS) {
            tunnel_stream_send_reset(s, CLOSE_TARGET_TIMEOUT, NULL);
            tunnel_stream_end(s, CLOSE_TARGET_TIMEOUT, NULL);
        }
    }
    if (tunnel->pings_out < UINT8_MAX) {
        tunnel->pings_out++;
        tunnel->ping_number++;
        uint8_t payload[8];
        for (size_t i = 0; i < sizeof(payload); i++) {
            payload[i] = (uint8_t)(tunnel->ping_number >> (56 - 8 * i));
        }
        tunnel_send(tunnel, FRAME_PING, 0, 0, payload, sizeof(payload));
    }
}

/* While the transport is full only the newest ping is remembered: a peer cannot fill our queue with answers. */
static void send_pong(struct tunnel *tunnel)
{
    if (tunnel->transport->is_full(tunnel->transport_ctx)) {
        tunnel->pong_due = true;
        return;
    }
    tunnel->pong_due = false;
    tunnel_send(tunnel, FRAME_PONG, 0, 0, tunnel->pong, sizeof(tunnel->pong));
}

void tunnel_transport_drained(struct tunnel *tunnel)
{
    if (tunnel->closing) {
        return;
    }
    if (tunnel->pong_due) {
        send_pong(tunnel);
    }
    tunnel_stream_wake_writers(tunnel);
}

void tunnel_transport_closed(struct tunnel *tunnel, enum close_reason reason)
{
    if (!tunnel->closing) {
        tunnel->closing = true;
        tunnel->reason = reason;
    }
    timer_free(tunnel->timer);
    tunnel->timer = NULL;
    tunnel_stream_end_all(tunnel);
    tunnel->events->on_close(tunnel->ctx, tunnel->reason);
    buf_free(&tunnel->payload);
    buf_free(&tunnel->open_header);
    mem_free(tunnel->buckets);
    mem_free(tunnel);
}

/* ---- frames about the tunnel ---- */

static void got_hello(struct tunnel *tunnel, const uint8_t *payload, size_t size)
{
    struct frame_hello hello;
    if (tunnel->ready || frame_hello_decode(payload, size, &hello) != TP_OK) {
        tunnel_violation(tunnel, "hello");
        return;
    }
    if (hello.version_min > FRAME_VERSION_MAX || hello.version_max < FRAME_VERSION_MIN) {
        tunnel_violation(tunnel, "no common version");
        return;
    }
    tunnel->ready = true;
    tunnel->version = hello.version_max < FRAME_VERSION_MAX ? hello.version_max : FRAME_VERSION_MAX;
    if (tunnel->events->on_ready != NULL) {
        tunnel->events->on_ready(tunnel->ctx);
    }
}

static void got_drain(struct tunnel *tunnel, bool ack)
{
    if (ack) {
        if (!tunnel->drain_sent || tunnel->drain_acked) {
            tunnel_violation(tunnel, "drain answered without need");
            return;
        }
        tunnel->drain_acked = true;
        tunnel_check_drained(tunnel);
        return;
    }
    if (tunnel->drain_seen) {
        tunnel_violation(tunnel, "second drain");
        return;
    }
    tunnel->drain_seen = true;
    tunnel_send(tunnel, FRAME_DRAIN, FRAME_FLAG_ACK, 0, NULL, 0);
    if (tunnel->events->on_drain != NULL) {
        tunnel->events->on_drain(tunnel->ctx);
    }
}

static void got_pong(struct tunnel *tunnel)
{
    if (tunnel->pings_out == 0) {
        tunnel_violation(tunnel, "pong without ping");
        return;
    }
    tunnel->pings_out--;
}

/* ---- open ---- */

static void got_whole_open(struct tunnel *tunnel, uint32_t id, const uint8_t *payload, size_t size)
{
    char kind[FRAME_KIND_MAX + 1];
    size_t used;
    if (frame_kind_decode(payload, size, kind, &used) != TP_OK || size - used > TUNNEL_HEADER_MAX) {
        tunnel_violation(tunnel, "open");
        return;
    }
    struct tunnel_stream *stream = tunnel_stream_new(tunnel, id, true);
    if (tunnel->pending_count >= TUNNEL_PENDING_MAX || tunnel->events->on_open == NULL) {
        tunnel_stream_send_reset(stream, CLOSE_CONNECTION_LIMIT, "too many streams wait to be opened");
        tunnel_stream_end(stream, CLOSE_CONNECTION_LIMIT, NULL);
        return;
    }
    stream->owned = true;
    tunnel->pending_count++;
    tunnel->events->on_open(tunnel->ctx, stream, kind, payload + used, size - used);
}

static void got_open(struct tunnel *tunnel, const struct frame *frame, const uint8_t *payload)
{
    bool more = (frame->flags & FRAME_FLAG_MORE) != 0;
    if (!tunnel->open_more) {
        bool right_side = (frame->id % 2 == 1) != tunnel->dialler;
        if (!right_side || frame->id <= tunnel->last_peer_id) {
            tunnel_violation(tunnel, "stream id used before or not the peer's to give");
            return;
        }
        if (tunnel->drain_acked || tunnel->peer_count >= TUNNEL_STREAMS_MAX) {
            tunnel_violation(tunnel, "open past the limit or after drain");
            return;
        }
        tunnel->last_peer_id = frame->id;
        if (!more) {
            got_whole_open(tunnel, frame->id, payload, frame->size);
            return;
        }
    }
    if (buf_append(&tunnel->open_header, payload, frame->size) != TP_OK) {
        tunnel_violation(tunnel, "open header too large");
        return;
    }
    tunnel->open_more = more;
    if (!more) {
        struct buf whole = tunnel->open_header;
        buf_init(&tunnel->open_header, whole.limit);
        got_whole_open(tunnel, frame->id, buf_head(&whole), buf_size(&whole));
        buf_free(&whole);
    }
}

/* ---- reading ---- */

/* The stream a frame is about, after checking that the peer may send it now; NULL after a violation. */
static struct tunnel_stream *stream_for(struct tunnel *tunnel, const struct frame *frame)
{
    struct tunnel_stream *stream = tunnel_stream_find(tunnel, frame->id);
    if (stream == NULL || !half_step(&stream->in, frame->type)) {
        tunnel_violation(tunnel, stream == NULL ? "frame for no stream" : "frame not allowed in this state");
        return NULL;
    }
    return stream;
}

static void got_reset(struct tunnel *tunnel, const struct frame *frame, const uint8_t *payload)
{
    enum close_reason reason;
    char text[FRAME_TEXT_MAX + 1];
    if (frame_reset_decode(payload, frame->size, &reason, text) != TP_OK) {
        tunnel_violation(tunnel, "reset");
        return;
    }
    if (frame->id == 0) {
        shut(tunnel, reason);
        return;
    }
    struct tunnel_stream *stream = stream_for(tunnel, frame);
    if (stream != NULL) {
        tunnel_stream_got_reset(stream, reason, text);
    }
}

static void got_credit(struct tunnel *tunnel, const struct frame *frame, const uint8_t *payload)
{
    struct tunnel_stream *stream = stream_for(tunnel, frame);
    if (stream == NULL) {
        return;
    }
    struct rd rd;
    rd_init(&rd, payload, frame->size);
    uint32_t credit = rd_u32(&rd);
    /* Nobody can give back more than was sent, or more at once than was asked for. */
    if (credit == 0 || credit > stream->most || stream->credit > stream->most - credit) {
        tunnel_violation(tunnel, "credit");
        return;
    }
    tunnel_stream_got_credit(stream, credit);
}

/* A whole frame other than data. */
static void got_frame(struct tunnel *tunnel, const struct frame *frame, const uint8_t *payload)
{
    struct tunnel_stream *stream;
    switch (frame->type) {
    case FRAME_HELLO:
        got_hello(tunnel, payload, frame->size);
        return;
    case FRAME_OPEN:
        got_open(tunnel, frame, payload);
        return;
    case FRAME_ACCEPT:
        stream = stream_for(tunnel, frame);
        if (stream != NULL) {
            tunnel_stream_got_accept(stream);
        }
        return;
    case FRAME_CREDIT:
        got_credit(tunnel, frame, payload);
        return;
    case FRAME_END:
        stream = stream_for(tunnel, frame);
        if (stream != NULL) {
            tunnel_stream_got_end(stream);
        }
        return;
    case FRAME_RESET:
        got_reset(tunnel, frame, payload);
        return;
    case FRAME_PING:
        memcpy(tunnel->pong, payload, sizeof(tunnel->pong));
        send_pong(tunnel);
        return;
    case FRAME_PONG:
        got_pong(tunnel);
        return;
    case FRAME_DRAIN:
        got_drain(tunnel, (frame->flags & FRAME_FLAG_ACK) != 0);
        return;
    case FRAME_BLOCKED:
        stream = stream_for(tunnel, frame);
        if (stream != NULL) {
            tunnel_stream_got_blocked(stream);
        }
        return;
    case FRAME_DATA:
        return; /* taken piece by piece in tunnel_feed */
    }
}

/* A header is complete: false after a violation. */
static bool begin_frame(struct tunnel *tunnel)
{
    struct frame *frame = &tunnel->frame;
    if (frame_decode(tunnel->header, frame) != TP_OK) {
        tunnel_violation(tunnel, "frame header");
        return false;
    }
    if (!tunnel->ready && frame->type != FRAME_HELLO && !(frame->type == FRAME_RESET && frame->id == 0)) {
        tunnel_violation(tunnel, "frame before hello");
        return false;
    }
    if (frame->type == FRAME_BLOCKED && tunnel->version < 2) {
        tunnel_violation(tunnel, "blocked is not in this version");
        return false;
    }
    if (tunnel->open_more && (frame->type != FRAME_OPEN || frame->id != tunnel->last_peer_id)) {
        tunnel_violation(tunnel, "open header not continued");
        return false;
    }
    tunnel->payload_left = frame->size;
    if (frame->type == FRAME_DATA) {
        struct tunnel_stream *stream = stream_for(tunnel, frame);
        if (stream == NULL) {
            return false;
        }
        if (frame->size > stream->window) {
            tunnel_violation(tunnel, "data past the window");
            return false;
        }
        tunnel_stream_got_data_frame(stream, frame->size);
        tunnel->data_stream = stream;
    }
    return true;
}

/* Takes bytes of the payload; returns how many. */
static size_t take_payload(struct tunnel *tunnel, const uint8_t *data, size_t size)
{
    size_t take = size < tunnel->payload_left ? size : tunnel->payload_left;
    struct frame frame = tunnel->frame;
    if (frame.type == FRAME_DATA) {
        tunnel->payload_left -= take;
        if (tunnel->payload_left == 0) {
            tunnel->header_have = 0;
        }
        if (take > 0) {
            tunnel_stream_got_data(tunnel->data_stream, data, take);
        }
        return take;
    }
    if (take == tunnel->payload_left && buf_size(&tunnel->payload) == 0) {
        tunnel->header_have = 0;
        got_frame(tunnel, &frame, data);
        return take;
    }
    (void)buf_append(&tunnel->payload, data, take);
    tunnel->payload_left -= take;
    if (tunnel->payload_left == 0) {
        tunnel->header_have = 0;
        struct buf whole = tunnel->payload;
        buf_init(&tunnel->payload, FRAME_PAYLOAD_MAX);
        got_frame(tunnel, &frame, buf_head(&whole));
        buf_free(&whole);
    }
    return take;
}

void tunnel_feed(struct tunnel *tunnel, const uint8_t *data, size_t size)
{
    tunnel->heard_ms = loop_now_ms(tunnel->loop);
    while (!tunnel->closing) {
        if (tunnel->header_have < FRAME_HEADER_SIZE) {
            if (size == 0) {
                return;
            }
            size_t need = FRAME_HEADER_SIZE - tunnel->header_have;
            size_t take = size < need ? size : need;
            memcpy(tunnel->header + tunnel->header_have, data, take);
            tunnel->header_have = (uint8_t)(tunnel->header_have + take);
            data += take;
            size -= take;
            if (tunnel->header_have < FRAME_HEADER_SIZE || !begin_frame(tunnel)) {
                continue;
            }
        }
        if (size == 0 && tunnel->payload_left > 0) {
            return;
        }
        size_t took = take_payload(tunnel, data, size);
        data += took;
        size -= took;
    }
}

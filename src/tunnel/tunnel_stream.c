#include "base/mem.h"
#include "tunnel/tunnel_priv.h"

#include <string.h>

#define BUCKETS_MIN 8
#define WRITE_QUANTUM (2 * FRAME_PAYLOAD_MAX) /* of one writer while others wait */
#define SHARED_BYTES_PER_US 256               /* of the way there and back: 256 MB/s */

_Static_assert(LOOP_SCRATCH_SIZE % FRAME_PAYLOAD_MAX == 0, "what is read at once goes into full frames");

/* ---- the table of ids ---- */

static size_t bucket_of(const struct tunnel *tunnel, uint32_t id)
{
    return (size_t)((id * UINT32_C(2654435769)) >> 8) & (tunnel->bucket_count - 1);
}

struct tunnel_stream *tunnel_stream_find(const struct tunnel *tunnel, uint32_t id)
{
    if (tunnel->bucket_count == 0) {
        return NULL;
    }
    struct tunnel_stream *stream = tunnel->buckets[bucket_of(tunnel, id)];
    while (stream != NULL && stream->id != id) {
        stream = stream->hash_next;
    }
    return stream;
}

static void table_resize(struct tunnel *tunnel, size_t count)
{
    mem_free(tunnel->buckets);
    tunnel->buckets = mem_array(count, sizeof(struct tunnel_stream *));
    tunnel->bucket_count = count;
    for (struct tunnel_stream *s = tunnel->all; s != NULL; s = s->next) {
        if (s->in_table) {
            size_t bucket = bucket_of(tunnel, s->id);
            s->hash_next = tunnel->buckets[bucket];
            tunnel->buckets[bucket] = s;
        }
    }
}

static void table_add(struct tunnel *tunnel, struct tunnel_stream *stream)
{
    if (tunnel->table_count == tunnel->bucket_count) {
        table_resize(tunnel, tunnel->bucket_count == 0 ? BUCKETS_MIN : tunnel->bucket_count * 2);
    }
    size_t bucket = bucket_of(tunnel, stream->id);
    stream->hash_next = tunnel->buckets[bucket];
    tunnel->buckets[bucket] = stream;
    stream->in_table = true;
    tunnel->table_count++;
    *(stream->incoming ? &tunnel->peer_count : &tunnel->own_count) += 1;
}

static void table_remove(struct tunnel *tunnel, struct tunnel_stream *stream)
{
    struct tunnel_stream **at = &tunnel->buckets[bucket_of(tunnel, stream->id)];
    while (*at != stream) {
        at = &(*at)->hash_next;
    }
    *at = stream->hash_next;
    stream->in_table = false;
    tunnel->table_count--;
    *(stream->incoming ? &tunnel->peer_count : &tunnel->own_count) -= 1;
    if (tunnel->table_count == 0) {
        mem_free(tunnel->buckets);
        tunnel->buckets = NULL;
        tunnel->bucket_count = 0;
    }
}

/* ---- writers that wait for the transport ---- */

static void wait_add(struct tunnel_stream *stream)
{
    struct tunnel *tunnel = stream->tunnel;
    if (stream->is_waiting) {
        return;
    }
    stream->is_waiting = true;
    stream->wait_next = NULL;
    stream->wait_prev = tunnel->wait_last;
    *(tunnel->wait_last != NULL ? &tunnel->wait_last->wait_next : &tunnel->wait_first) = stream;
    tunnel->wait_last = stream;
}

static void wait_remove(struct tunnel_stream *stream)
{
    struct tunnel *tunnel = stream->tunnel;
    if (!stream->is_waiting) {
        return;
    }
    stream->is_waiting = false;
    *(stream->wait_prev != NULL ? &stream->wait_prev->wait_next : &tunnel->wait_first) = stream->wait_next;
    *(stream->wait_next != NULL ? &stream->wait_next->wait_prev : &tunnel->wait_last) = stream->wait_prev;
}

static bool transport_full(const struct tunnel *tunnel)
{
    return tunnel->transport->is_full(tunnel->transport_ctx);
}

void tunnel_stream_wake_writers(struct tunnel *tunnel)
{
    while (tunnel->wait_first != NULL && !tunnel->closing && !transport_full(tunnel)) {
        struct tunnel_stream *stream = tunnel->wait_first;
        wait_remove(stream);
        if (!stream->ending && stream->events != NULL && stream->events->on_writable != NULL) {
            stream->events->on_writable(stream->ctx);
        }
    }
}

/* ---- life ---- */

static void stream_free(struct tunnel_stream *stream)
{
    later_cancel(&stream->later);
    if (stream->tunnel != NULL) {
        wait_remove(stream);
        stream->tunnel->extra -= (int64_t)stream->granted - TUNNEL_WINDOW;
        *(stream->prev != NULL ? &stream->prev->next : &stream->tunnel->all) = stream->next;
        if (stream->next != NULL) {
            stream->next->prev = stream->prev;
        }
    }
    buf_free(&stream->early);
    mem_free(stream->text);
    mem_free(stream);
}

void tunnel_stream_settle(struct tunnel_stream *stream)
{
    struct tunnel *tunnel = stream->tunnel;
    if (stream->in_table && stream->in == HALF_CLOSED && stream->out == HALF_CLOSED) {
        table_remove(tunnel, stream);
        tunnel_check_drained(tunnel);
    }
    if (!stream->in_table && !stream->owned) {
        stream_free(stream);
    }
}

static void tell_close(struct tunnel_stream *stream)
{
    const struct tunnel_stream_events *events = stream->events;
    void *ctx = stream->ctx;
    stream->events = NULL;
    stream->owned = false;
    char *text = stream->text;
    stream->text = NULL;
    enum close_reason reason = stream->reason;
    tunnel_stream_settle(stream);
    events->on_close(ctx, reason, text != NULL ? text : "");
    mem_free(text);
}

static void deliver(struct tunnel_stream *stream, const uint8_t *data, size_t size)
{
    stream->unread += (uint32_t)size;
    stream->events->on_data(stream->ctx, data, size);
}

/* The end of a turn: bytes from before accept, then the end. */
static void run_later(void *ctx)
{
    struct tunnel_stream *stream = ctx;
    if (!stream->accepted || stream->events == NULL) {
        return;
    }
    if (stream->deferred) {
        stream->deferred = false;
        if (!stream->discard && buf_size(&stream->early) > 0) {
            struct buf early = stream->early;
            buf_init(&stream->early, 0);
            deliver(stream, buf_head(&early), buf_size(&early));
            buf_free(&early);
        }
        if (!stream->discard && stream->early_eof) {
            stream->events->on_eof(stream->ctx);
        }
    }
    if (stream->ending) {
        tell_close(stream);
    }
}

struct tunnel_stream *tunnel_stream_new(struct tunnel *tunnel, uint32_t id, bool incoming)
{
    struct tunnel_stream *stream = mem_alloc(sizeof(*stream));
    stream->tunnel = tunnel;
    stream->loop = tunnel->loop;
    stream->id = id;
    stream->incoming = incoming;
    stream->in = incoming ? HALF_OPEN : HALF_OPENING;
    stream->out = incoming ? HALF_OPENING : HALF_OPEN;
    stream->credit = incoming ? TUNNEL_WINDOW : TUNNEL_EARLY;
    stream->window = incoming ? TUNNEL_EARLY : TUNNEL_WINDOW;
    stream->most = TUNNEL_WINDOW;
    stream->granted = TUNNEL_WINDOW;
    stream->opened_ms = loop_now_ms(tunnel->loop);
    stream->later = (struct later){.fn = run_later, .ctx = stream};
    buf_init(&stream->early, TUNNEL_WINDOW);
    stream->next = tunnel->all;
    if (tunnel->all != NULL) {
        tunnel->all->prev = stream;
    }
    tunnel->all = stream;
    table_add(tunnel, stream);
    return stream;
}

void tunnel_stream_end(struct tunnel_stream *stream, enum close_reason reason, const char *text)
{
    if (stream->ending) {
        return;
    }
    stream->ending = true;
    stream->reason = reason;
    if (text != NULL && text[0] != '\0') {
        stream->text = mem_strdup(text);
    }
    if (stream->tunnel != NULL) {
        wait_remove(stream);
        if (stream->incoming && !stream->accepted && stream->owned) {
            stream->tunnel->pending_count--;
        }
    }
    if (stream->owned && stream->accepted) {
        later_run(stream->loop, &stream->later);
    }
}

void tunnel_stream_send_reset(struct tunnel_stream *stream, enum close_reason reason, const char *text)
{
    if (stream->tunnel == NULL || !half_step(&stream->out, FRAME_RESET)) {
        return;
    }
    uint8_t payload[FRAME_RESET_MAX];
    size_t size = frame_reset_encode(reason, text, payload);
    tunnel_send(stream->tunnel, FRAME_RESET, 0, stream->id, payload, size);
}

/* Both directions have ended by themselves. */
static void check_done(struct tunnel_stream *stream)
{
    if (stream->out == HALF_ENDED && stream->in == HALF_ENDED) {
        tunnel_stream_send_reset(stream, CLOSE_DONE, NULL);
        tunnel_stream_end(stream, CLOSE_DONE, NULL);
    }
}

/* ---- frames of the peer ---- */

void tunnel_stream_got_accept(struct tunnel_stream *stream)
{
    stream->credit += TUNNEL_WINDOW - TUNNEL_EARLY;
    if (stream->ending || stream->events == NULL) {
        return;
    }
    if (stream->events->on_accept != NULL) {
        stream->events->on_accept(stream->ctx);
    }
    if (stream->wants_credit && !stream->ending) {
        stream->wants_credit = false;
        wait_add(stream);
        tunnel_stream_wake_writers(stream->tunnel);
    }
}

/* ---- what the others may have on the way while somebody says little, and would wait behind it ---- */

/* A way of 7 ms and more has all of the largest window on it, and nothing stands in a queue for that. */
static uint32_t shared_window(const struct tunnel *tunnel)
{
    uint64_t rtt_us = tunnel->transport->rtt_us != NULL ? tunnel->transport->rtt_us(tunnel->transport_ctx) : 0;
    uint64_t window = TUNNEL_WINDOW_SHARED + rtt_us * SHARED_BYTES_PER_US;
    return window < TUNNEL_WINDOW_MAX ? (uint32_t)window : TUNNEL_WINDOW_MAX;
}

static uint32_t largest_window(const struct tunnel_stream *stream)
{
    const struct tunnel *tunnel = stream->tunnel;
    bool alone = tunnel->heard_ms - tunnel->light_ms >= TUNNEL_LIGHT_MS || tunnel->light_id == stream->id;
    return alone ? TUNNEL_WINDOW_MAX : tunnel->shared;
}

static bool second_is_over(const struct tunnel_stream *stream)
{
    return stream->tunnel->heard_ms - stream->second_ms >= TUNNEL_LIGHT_MS;
}

/* Of an agent's own streams nobody waits for single words. */
static bool says_little(struct tunnel_stream *stream)
{
    stream->is_bulk = stream->second_bytes > TUNNEL_LIGHT_BYTES;
    if (second_is_over(stream)) {
        stream->second_ms = stream->tunnel->heard_ms;
        stream->second_bytes = 0;
    }
    return !stream->is_bulk && stream->id % 2 == 0;
}

void tunnel_stream_got_data_frame(struct tunnel_stream *stream, uint32_t size)
{
    struct tunnel *tunnel = stream->tunnel;
    stream->window -= size;
    stream->second_bytes += size;
    if (stream->is_bulk && !second_is_over(stream)) {
        return;
    }
    if (says_little(stream)) {
        if (tunnel->heard_ms - tunnel->light_ms >= TUNNEL_LIGHT_MS) {
            tunnel->shared = shared_window(tunnel);
        }
        tunnel->light_ms = tunnel->heard_ms;
        tunnel->light_id = stream->id;
    }
}

void tunnel_stream_got_data(struct tunnel_stream *stream, const uint8_t *data, size_t size)
{
    if (stream->ending || stream->discard) {
        return;
    }
    if (!stream->accepted || stream->deferred) {
        /* Never past its limit: the window is smaller. */
        (void)buf_append(&stream->early, data, size);
        return;
    }
    deliver(stream, data, size);
}

void tunnel_stream_got_credit(struct tunnel_stream *stream, uint32_t credit)
{
    stream->credit += credit;
    if (stream->wants_credit && !stream->ending) {
        stream->wants_credit = false;
        wait_add(stream);
        tunnel_stream_wake_writers(stream->tunnel);
    }
}

void tunnel_stream_got_end(struct tunnel_stream *stream)
{
    if (!stream->ending && !stream->discard) {
        if (!stream->accepted || stream->deferred) {
            stream->early_eof = true;
        } else {
            stream->events->on_eof(stream->ctx);
        }
    }
    check_done(stream);
}

void tunnel_stream_got_reset(struct tunnel_stream *stream, enum close_reason reason, const char *text)
{
    tunnel_stream_send_reset(stream, reason, NULL);
    tunnel_stream_end(stream, reason, text);
    tunnel_stream_settle(stream);
}

void tunnel_stream_end_all(struct tunnel *tunnel)
{
    for (struct tunnel_stream *s = tunnel->all; s != NULL; s = s->next) {
        s->in = HALF_CLOSED;
        s->out = HALF_CLOSED;
        tunnel_stream_end(s, CLOSE_TARGET_OFFLINE, NULL);
    }
    while (tunnel->all != NULL) {
        struct tunnel_stream *stream = tunnel->all;
        later_cancel(&stream->later);
        if (stream->owned && stream->accepted) {
            if (stream->deferred) {
                run_later(stream);
            } else {
                tell_close(stream);
            }
        } else if (stream->owned) {
            /* Its owner has the pointer and will accept or close it: it lives on without us. */
            if (stream->in_table) {
                table_remove(tunnel, stream);
            }
            tunnel->all = stream->next;
            if (stream->next != NULL) {
                stream->next->prev = NULL;
            }
            stream->next = NULL;
            stream->tunnel = NULL;
        } else {
            tunnel_stream_settle(stream);
        }
    }
}

/* ---- what owners call ---- */

void tunnel_stream_accept(struct tunnel_stream *stream, const struct tunnel_stream_events *events, void *ctx)
{
    if (stream->accepted) {
        return;
    }
    bool was_ending = stream->ending;
    stream->events = events;
    stream->ctx = ctx;
    stream->accepted = true;
    stream->deferred = true;
    if (!was_ending) {
        stream->tunnel->pending_count--;
        if (half_step(&stream->out, FRAME_ACCEPT)) {
            tunnel_send(stream->tunnel, FRAME_ACCEPT, 0, stream->id, NULL, 0);
            stream->window += TUNNEL_WINDOW - TUNNEL_EARLY;
        }
    }
    later_run(stream->loop, &stream->later);
}

/* The window is used up and there is more to send: a larger one would help. Each time it is said, the peer may double it. */
static void say_blocked(struct tunnel_stream *stream)
{
    if (stream->tunnel->version >= 2 && stream->in != HALF_OPENING && half_step(&stream->out, FRAME_BLOCKED)) {
        stream->most = stream->most < TUNNEL_WINDOW_MAX ? stream->most * 2 : TUNNEL_WINDOW_MAX;
        tunnel_send(stream->tunnel, FRAME_BLOCKED, 0, stream->id, NULL, 0);
    }
}

static size_t transport_room(const struct tunnel *tunnel)
{
    if (tunnel->closing || transport_full(tunnel)) {
        return 0;
    }
    /* Whole frames until the queue is past its high mark, so that on_drain is sure to come afterwards. */
    size_t queued = tunnel->transport->queued(tunnel->transport_ctx);
    size_t left = queued < STREAM_HIGH ? STREAM_HIGH - queued : 0;
    return (left / (FRAME_HEADER_SIZE + FRAME_PAYLOAD_MAX) + 1) * FRAME_PAYLOAD_MAX;
}

size_t tunnel_stream_room(const struct tunnel_stream *stream)
{
    if (stream->tunnel == NULL || stream->ending || stream->out != HALF_OPEN) {
        return 0;
    }
    size_t room = transport_room(stream->tunnel);
    const struct tunnel_stream *first = stream->tunnel->wait_first;
    bool others_wait = first != NULL && (first != stream || first->wait_next != NULL);
    if (others_wait && room > WRITE_QUANTUM) {
        room = WRITE_QUANTUM;
    }
    return room < stream->credit ? room : stream->credit;
}

size_t tunnel_stream_write(struct tunnel_stream *stream, const void *data, size_t size)
{
    if (stream->tunnel == NULL || stream->ending || stream->out != HALF_OPEN || size == 0) {
        return 0;
    }
    size_t room = tunnel_stream_room(stream);
    size_t take = size < room ? size : room;
    const uint8_t *at = data;
    for (size_t left = take; left > 0;) {
        size_t piece = left < FRAME_PAYLOAD_MAX ? left : FRAME_PAYLOAD_MAX;
        tunnel_send(stream->tunnel, FRAME_DATA, 0, stream->id, at, piece);
        at += piece;
        left -= piece;
    }
    stream->credit -= (uint32_t)take;
    if (take < size) {
        if (stream->credit == 0) {
            if (!stream->wants_credit) {
                say_blocked(stream);
            }
            stream->wants_credit = true;
        } else {
            wait_add(stream);
        }
    }
    return take;
}

static void send_credit(struct tunnel_stream *stream, uint32_t credit)
{
    if (half_step(&stream->out, FRAME_CREDIT)) {
        uint8_t payload[4] = {(uint8_t)(credit >> 24), (uint8_t)(credit >> 16), (uint8_t)(credit >> 8),
                              (uint8_t)credit};
        stream->window += credit;
        stream->refund = 0;
        tunnel_send(stream->tunnel, FRAME_CREDIT, 0, stream->id, payload, sizeof(payload));
    }
}

/* A window that is too large now keeps what it would give back. */
static void shrink(struct tunnel_stream *stream)
{
    uint32_t largest = largest_window(stream);
    if (stream->granted > largest) {
        uint32_t less = stream->granted - largest < stream->refund ? stream->granted - largest : stream->refund;
        stream->granted -= less;
        stream->refund -= less;
        stream->tunnel->extra -= less;
    }
}

void tunnel_stream_consume(struct tunnel_stream *stream, size_t size)
{
    uint32_t used = size < stream->unread ? (uint32_t)size : stream->unread;
    stream->unread -= used;
    stream->refund += used;
    if (stream->tunnel == NULL || stream->in != HALF_OPEN || stream->ending || stream->refund < stream->granted / 4) {
        return;
    }
    shrink(stream);
    if (stream->refund > 0) {
        send_credit(stream, stream->refund);
    }
}

/* Who keeps up with what comes gets a larger window: then it was the way that made the sender wait. */
void tunnel_stream_got_blocked(struct tunnel_stream *stream)
{
    struct tunnel *tunnel = stream->tunnel;
    uint32_t largest = largest_window(stream);
    if (stream->ending || stream->discard || !stream->accepted || stream->deferred || stream->unread > 0 ||
        stream->granted >= largest) {
        return;
    }
    uint32_t more = largest - stream->granted < stream->granted ? largest - stream->granted : stream->granted;
    if (tunnel->extra + more > TUNNEL_EXTRA_MAX) {
        return;
    }
    stream->granted += more;
    tunnel->extra += more;
    send_credit(stream, more + stream->refund);
}

void tunnel_stream_shutdown(struct tunnel_stream *stream)
{
    if (stream->tunnel == NULL || stream->ending || !half_step(&stream->out, FRAME_END)) {
        return;
    }
    wait_remove(stream);
    tunnel_send(stream->tunnel, FRAME_END, 0, stream->id, NULL, 0);
    check_done(stream);
}

void tunnel_stream_close(struct tunnel_stream *stream, enum close_reason reason, const char *text)
{
    stream->discard = true;
    tunnel_stream_send_reset(stream, reason, text);
    tunnel_stream_end(stream, reason, text);
    if (!stream->accepted) {
        stream->owned = false;
        if (stream->tunnel == NULL) {
            stream_free(stream);
        } else {
            tunnel_stream_settle(stream);
        }
    }
}

struct tunnel *tunnel_stream_tunnel(const struct tunnel_stream *stream)
{
    return stream->tunnel;
}

enum tp_err tunnel_stream_open(struct tunnel *tunnel, const char *kind, const void *header, size_t size,
                               const struct tunnel_stream_events *events, void *ctx, struct tunnel_stream **ret_stream)
{
    if (!tunnel->ready || tunnel->closing || tunnel->drain_sent || tunnel->drain_seen ||
        tunnel->last_own_id >= UINT32_MAX - 2) {
        return TP_UNAVAILABLE;
    }
    if (size > TUNNEL_HEADER_MAX) {
        return TP_TOO_LARGE;
    }
    if (tunnel->own_count >= TUNNEL_STREAMS_MAX) {
        return TP_LIMIT;
    }
    struct buf payload;
    buf_init(&payload, 0);
    if (frame_kind_encode(kind, &payload) != TP_OK) {
        buf_free(&payload);
        return TP_INVALID;
    }
    (void)buf_append(&payload, header, size);
    uint32_t id = tunnel->last_own_id == 0 ? (tunnel->dialler ? 1 : 2) : tunnel->last_own_id + 2;
    tunnel->last_own_id = id;
    struct tunnel_stream *stream = tunnel_stream_new(tunnel, id, false);
    stream->owned = true;
    stream->accepted = true;
    stream->events = events;
    stream->ctx = ctx;
    while (buf_size(&payload) > FRAME_PAYLOAD_MAX) {
        tunnel_send(tunnel, FRAME_OPEN, FRAME_FLAG_MORE, id, buf_head(&payload), FRAME_PAYLOAD_MAX);
        buf_consume(&payload, FRAME_PAYLOAD_MAX);
    }
    tunnel_send(tunnel, FRAME_OPEN, 0, id, buf_head(&payload), buf_size(&payload));
    buf_free(&payload);
    *ret_stream = stream;
    return TP_OK;
}

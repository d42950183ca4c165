/* A browser's terminal on its way to the node: the tunnel stream, or a socket to the worker that has the tunnel. */
#include "protocols/term_front_priv.h"

#include "base/log.h"
#include "base/mem.h"
#include "protocols/term_say.h"
#include "protocols/term_wire.h"
#include "term/term_frame.h"

#include <string.h>
#include <unistd.h>

#define JOIN_RETRY_MS 50
#define PING_MS 20000

/* ---- to the node ---- */

void term_node_pump(struct term_front *front)
{
    if (front->tunnel && buf_size(&front->pending) > 0)
        buf_consume(&front->pending,
                    tunnel_stream_write(front->tunnel, buf_head(&front->pending), buf_size(&front->pending)));
    if (front->pair && buf_size(&front->pending) > 0 && !stream_is_full(front->pair)) {
        stream_write(front->pair, buf_head(&front->pending), buf_size(&front->pending));
        buf_clear(&front->pending);
    }
    if (!front->stream || front->state != TERM_RUNNING)
        return;
    if (buf_size(&front->pending) > 0)
        stream_pause(front->stream);
    else
        stream_resume(front->stream);
}

void term_node_send(struct term_front *front, enum term_type type, const uint8_t *payload, size_t size)
{
    uint8_t head[TERM_HEAD];
    do {
        size_t piece = type == TERM_DATA && size > TERM_FRAME_MAX ? TERM_FRAME_MAX : size;
        term_head(head, type, piece);
        (void)buf_append(&front->pending, head, sizeof(head));
        (void)buf_append(&front->pending, payload, piece);
        payload += piece;
        size -= piece;
    } while (size > 0);
}

void term_node_quit(struct term_front *front)
{
    if (front->heard_end)
        return;
    front->heard_end = true;
    term_node_send(front, TERM_QUIT, (const uint8_t *)"", 0);
    term_node_pump(front);
}

void term_node_drop(struct term_front *front, enum close_reason reason)
{
    if (front->tunnel)
        tunnel_stream_close(front->tunnel, reason, front->cut_text);
    if (front->pair)
        stream_close(front->pair, reason);
}

void term_node_leave(struct term_front *front)
{
    const json_t *file = json_object_get(front->params, "file");
    if (front->heard_end || strcmp(json_get_text(file, "op", ""), "upload") != 0) {
        term_node_quit(front);
        return;
    }
    front->heard_end = true;
    term_node_drop(front, CLOSE_CLIENT_CLOSED);
}

/* ---- from the node ---- */

void term_node_credit(struct term_front *front)
{
    size_t owed = front->owed;
    if (front->stream && stream_is_full(front->stream)) {
        if (front->pair)
            stream_pause(front->pair);
        return;
    }
    front->owed = 0;
    if (front->tunnel && owed > 0)
        tunnel_stream_consume(front->tunnel, owed);
    if (front->pair)
        stream_resume(front->pair);
}

enum tp_err term_node_output(void *ctx, const uint8_t *data, size_t size)
{
    struct term_front *front = ctx;
    term_say(front->stream, 'r', data, size);
    return TP_OK;
}

enum tp_err term_node_control(void *ctx, enum term_type type, const uint8_t *payload, size_t size)
{
    struct term_front *front = ctx;
    json_t *object = NULL;
    enum tp_err err = json_parse_object(payload, size, TERM_CONTROL_MAX, &object, NULL);
    if (err != TP_OK)
        return err;
    if (type == TERM_OPEN) {
        front->joined = true;
        term_say_json(front->stream, 's',
                      term_wire_session(front->sid, json_get_text(front->params, "login", ""), front->host_id,
                                        front->hostname, front->can_resume, object));
    } else if (type == TERM_EXIT && !front->said_end) {
        front->said_end = true;
        term_front_reason(front, CLOSE_DONE);
        term_say_json(front->stream, 'x',
                      json_pack("{s:I, s:s}", "code", (json_int_t)json_get_int(object, "code", 255), "signal",
                                json_get_text(object, "signal", "")));
    } else if (type == TERM_WATCHED) {
        const json_t *watchers = json_object_get(object, "watchers");
        term_say_json(front->stream, 'a',
                      json_pack("{s:s, s:O*, s:I}", "event", "session.watched", "watchers",
                                json_is_array(watchers) ? watchers : NULL, "count",
                                (json_int_t)json_get_int(object, "count", 0)));
    } else if (type == TERM_CLOSE) {
        enum close_reason reason = close_from_name(json_get_text(object, "reason", ""));
        term_front_reason(front, reason);
        term_front_say_end(front, reason, json_get_text(object, "text", ""), false);
    }
    json_decref(object);
    return TP_OK;
}

static void node_bytes(struct term_front *front, const uint8_t *data, size_t size)
{
    struct tp_error error = {0};
    front->tx += size;
    if (front->state != TERM_RUNNING || !front->stream)
        return;
    if (term_reader_feed(&front->reader, data, size, &error) != TP_OK) {
        log_warn("an agent broke the protocol of terminals", "host=%s", front->host_id);
        term_front_reason(front, CLOSE_PROTOCOL_ERROR);
        front->heard_end = true;
        term_node_drop(front, CLOSE_PROTOCOL_ERROR);
    }
}

/* The node's side is gone. */
static void node_gone(struct term_front *front, enum close_reason reason, const char *text)
{
    if (front->cut != CLOSE_NONE) {
        reason = front->cut;
        text = front->cut_text;
    } else if (front->stream && !front->said_end && !front->heard_end) {
        front->lost = reason == CLOSE_TARGET_OFFLINE || reason == CLOSE_DRAIN || reason == CLOSE_KEEPALIVE_TIMEOUT ||
                      reason == CLOSE_PEER_RESET || reason == CLOSE_IO_ERROR;
    }
    term_front_reason(front, reason);
    if (front->stream && front->state != TERM_OVER) {
        bool resume = front->lost && front->can_resume;
        term_front_say_end(front, reason, text ? text : "", resume);
        if (!resume) /* it says that there is nothing to come back to */
            term_say(front->stream, 'c', "", 0);
        term_front_hang_up(front, CODE_DONE, reason);
    }
    term_front_finish(front);
}

static void on_tunnel_data(void *ctx, const uint8_t *data, size_t size)
{
    struct term_front *front = ctx;
    front->owed += size;
    node_bytes(front, data, size);
    term_node_credit(front);
}

static void on_tunnel_eof(void *ctx)
{
    struct term_front *front = ctx;
    tunnel_stream_shutdown(front->tunnel);
}

static void on_tunnel_writable(void *ctx)
{
    term_node_pump(ctx);
}

static void on_tunnel_close(void *ctx, enum close_reason reason, const char *text)
{
    struct term_front *front = ctx;
    front->tunnel = NULL;
    node_gone(front, reason, text);
}

static const struct tunnel_stream_events tunnel_events = {
    .on_data = on_tunnel_data, .on_eof = on_tunnel_eof, .on_writable = on_tunnel_writable, .on_close = on_tunnel_close};

/* ---- joining ---- */

static void begin_running(struct term_front *front)
{
    char *text = term_wire_open(front->params, &front->can_resume);
    term_node_send(front, TERM_OPEN, (const uint8_t *)text, strlen(text));
    mem_free(text);
    front->state = TERM_RUNNING;
    timer_stop(front->timer);
    timer_start(front->ping, PING_MS, PING_MS);
    front->heard_ms = loop_now_ms(front->worker->loop);
    term_node_pump(front);
}

void term_node_join(struct term_front *front)
{
    struct worker *worker = front->worker;
    struct tunnel *tunnel = tunnels_find(worker, front->host_id);
    int where = tunnels_where(worker, front->host_id);
    if (!front->stream || stream_is_closing(front->stream))
        return;
    if (tunnel && tunnel_stream_open(tunnel, "term", buf_head(&front->grant), buf_size(&front->grant), &tunnel_events,
                                     front, &front->tunnel) == TP_OK) {
        begin_running(front);
        return;
    }
    if (!tunnel && where >= 0 && (unsigned)where != worker->number && worker->master && !front->pair_asked) {
        front->pair_asked = true;
        rpc_event(worker->master, "pair", json_pack("{s:i, s:s}", "worker", where, "sid", front->sid));
    }
    if (loop_now_ms(worker->loop) < front->join_deadline)
        timer_start(front->timer, JOIN_RETRY_MS, 0);
    else
        term_front_refuse(front, CLOSE_TARGET_OFFLINE, "the node is offline: its agent has no tunnel to this proxy now",
                          CODE_DONE, true);
}

static void on_pair_data(void *ctx, const uint8_t *data, size_t size)
{
    struct term_front *front = ctx;
    node_bytes(front, data, size);
    term_node_credit(front);
}

static void on_pair_eof(void *ctx)
{
    struct term_front *front = ctx;
    stream_close(front->pair, front->said_end ? CLOSE_DONE : CLOSE_TARGET_OFFLINE);
}

static void on_pair_drain(void *ctx)
{
    term_node_pump(ctx);
}

static void on_pair_close(void *ctx, enum close_reason reason)
{
    struct term_front *front = ctx;
    front->pair = NULL;
    node_gone(front, reason, NULL);
}

void term_front_pair(struct worker *worker, const char *sid, int fd)
{
    static const struct stream_events events = {
        .on_data = on_pair_data, .on_eof = on_pair_eof, .on_drain = on_pair_drain, .on_close = on_pair_close};
    struct term_front *front = map_get(worker->terminals, sid);
    if (!front || front->state != TERM_JOINING || !front->stream) {
        (void)close(fd);
        return;
    }
    front->pair = stream_new(worker->loop, fd, &events, front);
    term_pair_head(front->pair, front->host_id, &front->grant);
    begin_running(front);
}

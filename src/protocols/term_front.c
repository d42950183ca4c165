/*
 * A browser's terminal: WebSocket messages (protocols/web/web_envelope.h) on one side, the frames of
 * docs/protocol-terminal.md in a tunnel stream of kind "term" on the other.
 *
 *   TOKEN --first message--> ASKING --grant--> JOINING --tunnel--> RUNNING --either end--> closed
 *
 * The token of the session comes in the first message; auth verifies it and decides. A person who is lost without a word
 * leaves the terminal running at the node for a while; who says the end ends it.
 */
#include "protocols/term_front_priv.h"

#include "base/enc.h"
#include "base/log.h"
#include "base/mem.h"
#include "protocols/target_front.h"
#include "protocols/term_say.h"
#include "protocols/term_wire.h"
#include "protocols/web/web_envelope.h"
#include "tls/tls_stream.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TOKEN_MS 10000
#define ASK_MS 15000
#define JOIN_MS 3000
#define LAST_WORD_MS 500 /* from the cut to the end of both sides, whatever the agent does */
#define QUIT_MS 2000     /* for the node to end what the person has ended */
#define DEAD_MS 60000
#define LATENCY_MAX 32
#define LINGER_MS 1000 /* after the last word, for the browser to read it */
#define LINGER_MAX_MS 10000
#define MESSAGE_MAX ((size_t)64 * 1024)

/* ---- to the browser ---- */

void term_front_reason(struct term_front *front, enum close_reason reason)
{
    if (front->reason == CLOSE_NONE)
        front->reason = reason;
}

void term_front_hang_up(struct term_front *front, unsigned code, enum close_reason reason)
{
    uint8_t text[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    front->state = TERM_OVER;
    if (!front->stream || stream_is_closing(front->stream))
        return;
    term_say_control(front->stream, HTTP_WS_CLOSE, text, sizeof(text));
    /* Stays for a moment: closed at once, what the browser still sends would reset away what it has not read. */
    term_front_reason(front, reason);
    stream_shutdown(front->stream);
    stream_resume(front->stream);
    front->linger_until = loop_now_ms(front->worker->loop) + LINGER_MAX_MS;
    timer_start(front->ping, LINGER_MS, 0);
}

void term_front_say_end(struct term_front *front, enum close_reason reason, const char *text, bool resume)
{
    if (front->said_end)
        return;
    front->said_end = true;
    term_say_json(front->stream, 'e',
                  json_pack("{s:s, s:s, s:b}", "reason", close_name(reason), "message",
                            *text ? text : close_text(reason), "resume", (int)resume));
}

/* ---- the end ---- */

/* The terminal may be there without us: its person was lost, or we never came to it. */
static bool still_runs(const struct term_front *front)
{
    return front->cut == CLOSE_NONE && ((front->lost && front->can_resume) || (front->resumes && !front->joined));
}

void term_front_finish(struct term_front *front)
{
    struct worker *worker = front->worker;
    /* Nor before auth's answer: a grant that nobody takes has to be given back. */
    if (front->stream || front->tunnel || front->pair || front->request)
        return;
    if (front->sid && map_get(worker->terminals, front->sid) == front)
        (void)map_remove(worker->terminals, front->sid);
    if (front->sid)
        worker_tell_auth(worker, "session.closed",
                         json_pack("{s:s, s:s, s:s, s:b, s:I, s:I}", "sid", front->sid, "attach", front->attach,
                                   "reason", close_name(front->reason), "parked", (int)still_runs(front), "rx",
                                   (json_int_t)front->rx, "tx", (json_int_t)front->tx));
    worker_connection_closed(worker, &front->peer, front->reason, "", front->rx, front->tx);
    timer_free(front->timer);
    timer_free(front->ping);
    term_reader_free(&front->reader);
    buf_wipe(&front->message);
    buf_wipe(&front->pending);
    buf_free(&front->grant);
    json_decref(front->params);
    secret_free(front->session);
    mem_free(front->rpc);
    mem_free(front->sid);
    mem_free(front->attach);
    mem_free(front->host_id);
    mem_free(front->hostname);
    mem_free(front->cut_text);
    mem_free(front);
}

void term_front_refuse(struct term_front *front, enum close_reason reason, const char *text, unsigned code, bool resume)
{
    if (front->state == TERM_OVER)
        return;
    term_front_reason(front, reason);
    timer_stop(front->timer);
    front->lost = resume;
    term_front_say_end(front, reason, text, resume);
    term_front_hang_up(front, code, reason);
}

/* ---- from the browser: what it gets wrong ---- */

static void broken(struct term_front *front, unsigned code)
{
    term_front_reason(front, CLOSE_PROTOCOL_ERROR);
    term_node_leave(front); /* who breaks the protocol has nothing to come back to */
    term_front_hang_up(front, code, CLOSE_PROTOCOL_ERROR);
}

/* ---- auth ---- */

static void on_answer(void *ctx, json_t *result, const struct tp_error *error)
{
    struct term_front *front = ctx;
    const char *grant = json_get_text(result, "grant", "");
    front->request = 0;
    if (!error) {
        front->sid = mem_strdup(json_get_text(result, "sid", ""));
        front->attach = mem_strdup(json_get_text(result, "attach", front->sid));
        front->host_id = mem_strdup(json_get_text(result, "host_id", ""));
        front->hostname = mem_strdup(json_get_text(result, "hostname", ""));
    }
    if (front->state != TERM_ASKING || !front->stream || stream_is_closing(front->stream)) {
        term_front_finish(front); /* the person has gone meanwhile */
        return;
    }
    if (error) {
        bool resume =
            front->resumes && (error->code == TP_UNAVAILABLE || error->code == TP_CLOSED || error->code == TP_TIMEOUT);
        term_front_refuse(front, target_front_reason(error->code), error->text,
                          error->code == TP_UNAUTHENTICATED ? CODE_TOKEN : CODE_DONE, resume);
        return;
    }
    if (dec_base64(grant, strlen(grant), &front->grant) != TP_OK || buf_size(&front->grant) == 0) {
        term_front_refuse(front, CLOSE_INTERNAL, "an internal error, see the proxy's log", CODE_DONE, false);
        return;
    }
    tls_stream_trust(front->stream);
    (void)map_set(front->worker->terminals, front->sid, front); /* an older connection of it has been replaced */
    front->state = TERM_JOINING;
    front->join_deadline = loop_now_ms(front->worker->loop) + JOIN_MS;
    term_node_join(front);
}

static void ask(struct term_front *front, const char *token)
{
    struct worker *worker = front->worker;
    const char *sid = json_get_text(front->params, "sid", "");
    json_t *params = json_pack("{s:i}", "worker", (int)worker->number);
    json_t *caller = json_pack("{s:s, s:s, s:s, s:s}", "kind", "session", "sid", front->session, "token", token, "addr",
                               front->peer.address);
    secret_free(front->session);
    front->session = NULL;
    timer_stop(front->timer);
    if (!worker->auth) {
        json_decref(params);
        json_decref(caller);
        term_front_refuse(front, CLOSE_AUTH_UNAVAILABLE, "the auth service is not available now, try again in a moment",
                          CODE_DONE, *sid != '\0');
        return;
    }
    if (*sid) {
        (void)json_object_set_new(params, "sid", json_string(sid));
    } else {
        (void)json_object_set_new(params, "target", json_string(json_get_text(front->params, "server_id", "")));
        (void)json_object_set_new(params, "login", json_string(json_get_text(front->params, "login", "")));
        (void)json_object_set_new(params, "file", json_boolean(json_object_get(front->params, "file")));
    }
    front->state = TERM_ASKING;
    front->request = rpc_request(worker->auth, front->rpc, params, caller, ASK_MS, on_answer, front);
}

static void take_token(struct term_front *front)
{
    json_t *object = NULL;
    const char *token = NULL;
    if (json_parse_object(buf_head(&front->message), buf_size(&front->message), TERM_WIRE_TEXT_MAX, &object, NULL) ==
        TP_OK)
        token = json_get_text(object, "token", NULL);
    stream_pause(front->stream); /* what follows is for the node */
    if (token && *token && json_string_value(json_object_get(object, "token")))
        ask(front, token);
    else
        term_front_refuse(front, CLOSE_ACCESS_DENIED, "the first message must be {\"token\": ...}", CODE_TOKEN, false);
    json_decref(object);
}

/* ---- from the browser ---- */

static enum tp_err take_binary(struct term_front *front)
{
    struct web_envelope envelope;
    uint8_t wire[TERM_WIRE_MAX];
    size_t wire_size = 0;
    enum tp_err err = TP_OK;
    if (web_envelope_read(buf_head(&front->message), buf_size(&front->message), &envelope) != TP_OK)
        return TP_INVALID;
    if (front->heard_end || front->cut != CLOSE_NONE)
        return TP_OK;
    switch (envelope.type) {
    case 'r':
        if (envelope.size > 0)
            term_node_send(front, TERM_DATA, envelope.payload, envelope.size);
        return TP_OK;
    case 'w':
    case 'k':
        err = envelope.type == 'w' ? term_wire_resize(&envelope, wire, &wire_size)
                                   : term_wire_ack(&envelope, wire, &wire_size);
        if (err == TP_OK)
            term_node_send(front, envelope.type == 'w' ? TERM_RESIZE : TERM_ACK, wire, wire_size);
        return err;
    case 'c':
        term_node_quit(front);
        return TP_OK;
    case 'l': /* are you there? Where output waits for the browser, that is the answer. */
        if (envelope.size > LATENCY_MAX)
            return TP_INVALID;
        if (stream_queued(front->stream) < STREAM_LOW)
            term_say(front->stream, 'l', envelope.payload, envelope.size);
        return TP_OK;
    default:
        return TP_INVALID;
    }
}

static enum tp_err on_message(void *ctx, const uint8_t *data, size_t size, bool first, bool last)
{
    struct term_front *front = ctx;
    bool text = front->ws.opcode == HTTP_WS_TEXT;
    (void)first;
    if (text ? front->state != TERM_TOKEN : front->state < TERM_RUNNING)
        return TP_PROTOCOL;
    if (buf_size(&front->message) + size > (text ? TERM_WIRE_TEXT_MAX : MESSAGE_MAX))
        return TP_TOO_LARGE;
    (void)buf_append(&front->message, data, size);
    if (!last)
        return TP_OK;
    if (text) {
        take_token(front);
    } else if (front->state == TERM_RUNNING && take_binary(front) != TP_OK) {
        return TP_PROTOCOL;
    }
    buf_wipe(&front->message);
    return TP_OK;
}

static enum tp_err on_ws_control(void *ctx, unsigned opcode, const uint8_t *data, size_t size)
{
    struct term_front *front = ctx;
    if (opcode == HTTP_WS_PING) {
        if (stream_queued(front->stream) < STREAM_LOW)
            term_say_control(front->stream, HTTP_WS_PONG, data, size);
    } else if (opcode == HTTP_WS_CLOSE && size >= 2 && (data[0] << 8 | data[1]) == CODE_LOST) {
        /* The page took the way for lost, and comes or has come back by another one: this may arrive late. */
        stream_close(front->stream, CLOSE_PEER_RESET);
    } else if (opcode == HTTP_WS_CLOSE) {
        /* A page that was left or closed ends its terminal; 1001 is what browsers say then. */
        term_node_leave(front);
        term_front_reason(front, CLOSE_CLIENT_CLOSED);
        term_front_hang_up(front, CODE_DONE, CLOSE_CLIENT_CLOSED);
    }
    return TP_OK;
}

static void on_data(void *ctx, const uint8_t *data, size_t size)
{
    struct term_front *front = ctx;
    struct tp_error error = {0};
    enum tp_err err;
    front->rx += size;
    front->heard_ms = loop_now_ms(front->worker->loop);
    if (front->state == TERM_OVER || stream_is_closing(front->stream))
        return;
    err = http_ws_feed(&front->ws, data, size, &error);
    if (err != TP_OK && front->state != TERM_OVER)
        broken(front, err == TP_TOO_LARGE ? CODE_TOO_LARGE : CODE_PROTOCOL);
    else if (front->state == TERM_RUNNING)
        term_node_pump(front);
}

static void on_drain(void *ctx)
{
    term_node_credit(ctx);
}

static void on_close(void *ctx, enum close_reason reason)
{
    struct term_front *front = ctx;
    front->stream = NULL;
    term_front_reason(front, reason);
    timer_stop(front->ping);
    front->lost |= !front->heard_end && !front->said_end && front->cut == CLOSE_NONE;
    if (front->heard_end && (front->tunnel || front->pair))
        timer_start(front->timer, QUIT_MS, 0);
    else
        term_node_drop(front, front->cut != CLOSE_NONE ? front->cut : CLOSE_CLIENT_CLOSED);
    term_front_finish(front);
}

/* ---- time ---- */

static void on_timer(void *ctx)
{
    struct term_front *front = ctx;
    if (front->state == TERM_TOKEN) {
        term_front_refuse(front, CLOSE_PREAUTH_TIMEOUT, "the token did not come in time", CODE_TOKEN, false);
    } else if (front->state == TERM_JOINING) {
        term_node_join(front);
    } else { /* the last word has been said, or the node does not end what its person has ended */
        term_node_drop(front, front->cut != CLOSE_NONE ? front->cut : CLOSE_CLIENT_CLOSED);
    }
}

static void on_ping(void *ctx)
{
    struct term_front *front = ctx;
    int64_t now = loop_now_ms(front->worker->loop);
    if (front->state == TERM_OVER) {
        if (stream_queued(front->stream) > 0 && now < front->linger_until)
            timer_start(front->ping, LINGER_MS, 0);
        else
            stream_close(front->stream, front->reason);
        return;
    }
    if (now - front->heard_ms > DEAD_MS) {
        stream_close(front->stream, CLOSE_KEEPALIVE_TIMEOUT);
        return;
    }
    if (stream_queued(front->stream) < STREAM_LOW)
        term_say_control(front->stream, HTTP_WS_PING, "", 0);
}

void term_front_cut(struct worker *worker, const char *sid, enum close_reason reason, const char *text)
{
    struct term_front *front = map_get(worker->terminals, sid);
    if (!front || front->cut != CLOSE_NONE)
        return;
    front->cut = reason;
    front->cut_text = mem_strdup(text && *text ? text : close_text(reason));
    if (front->tunnel || front->pair)
        timer_start(front->timer, LAST_WORD_MS, 0);
    else
        term_front_refuse(front, reason, front->cut_text, CODE_DONE, false);
}

void term_front_replaced(struct worker *worker, const char *sid, const char *attach)
{
    struct term_front *front = map_get(worker->terminals, sid);
    if (!front || front->cut != CLOSE_NONE || strcmp(front->attach, attach) == 0)
        return;
    (void)map_remove(worker->terminals, sid);
    term_front_refuse(front, CLOSE_REPLACED, "", CODE_DONE, false);
    term_node_drop(front, CLOSE_CLIENT_CLOSED); /* the terminal itself goes on */
}

static void report_one(void *ctx, const char *key, void *value)
{
    const struct term_report *report = ctx;
    const struct term_front *front = value;
    report->fn(report->ctx, key, "term", front->host_id, &front->grant);
}

void term_front_each(const struct worker *worker, const struct term_report *report)
{
    map_each(worker->terminals, report_one, (void *)(uintptr_t)report);
}

/* ---- the start ---- */

void term_front_serve(void *ctx, const struct web_socket *socket)
{
    static const struct stream_events events = {.on_data = on_data, .on_drain = on_drain, .on_close = on_close};
    struct worker *worker = ctx;
    struct term_front *front = mem_alloc(sizeof(*front));
    front->worker = worker;
    front->peer.id = socket->connection_id;
    front->peer.route = ROUTE_WEB;
    (void)snprintf(front->peer.address, sizeof(front->peer.address), "%s", socket->address);
    front->stream = socket->stream;
    front->params = json_deep_copy(socket->params);
    front->resumes = *json_get_text(front->params, "sid", "") != '\0';
    front->session = mem_strdup(socket->session);
    front->rpc = mem_strdup(socket->rpc);
    http_ws_init(&front->ws, on_message, front);
    front->ws.on_control = on_ws_control;
    front->ws.must_mask = true;
    term_reader_init(&front->reader, TERM_FROM_NODE, term_node_output, term_node_control, front);
    buf_init(&front->message, 0);
    buf_init(&front->pending, 0);
    buf_init(&front->grant, TUNNEL_HEADER_MAX);
    front->timer = timer_new(worker->loop, on_timer, front);
    front->ping = timer_new(worker->loop, on_ping, front);
    timer_start(front->timer, TOKEN_MS, 0);
    stream_set_events(front->stream, &events, front);
    if (socket->rest_size > 0)
        on_data(front, socket->rest, socket->rest_size);
    if (front->state == TERM_TOKEN)
        stream_resume(front->stream);
}

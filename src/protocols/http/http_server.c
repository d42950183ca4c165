#include "protocols/http/http_server.h"

#include "base/mem.h"

#include <string.h>
#include <time.h>

#define WAITING_MAX ((size_t)256 * 1024) /* bytes behind the request under way */
#define LINGER_MS 2000                   /* after a refusal: time for the peer to read it */
#define LINGER_BYTES ((size_t)4 * 1024 * 1024)
#define SOURCE_PIECE ((size_t)4 * 1024)
#define SOURCE_PUSHES 8 /* full queues in a turn: one fast reader must not make the others wait */

enum server_state {
    SERVER_READING,   /* between requests or inside one */
    SERVER_HOLDING,   /* behind a head: the owner has not said yet how large the body may be */
    SERVER_ANSWERING, /* the owner has the exchange */
    SERVER_WRITING,   /* answered, the out queue is full */
    SERVER_SENDING,   /* answered, the rest of the body comes from its source */
    SERVER_LINGERING, /* our last answer is out; what still comes is dropped */
    SERVER_CLOSING,
};

struct http_exchange {
    struct http_server *server;
    uint64_t id;
    void *data;
};

struct http_server {
    struct loop *loop;
    struct stream *stream;
    struct http_server_options options;
    const struct http_server_events *events;
    void *ctx;
    struct http_parser *parser;
    struct http_exchange exchange;
    enum server_state state;
    struct buf waiting;
    struct later next;
    struct timer *timer;
    int64_t started_ms; /* first byte of the request under way */
    uint64_t count;
    size_t dropped;
    bool head_given;
    int64_t body_ms; /* for the request under way; 0: request_ms */
    bool paused;
    bool ended; /* the peer will send no more */
    bool draining;
    const struct http_source *source; /* in SERVER_SENDING, else NULL */
    void *source_ctx;
    uint64_t source_left;
    int64_t source_until_ms; /* the whole body must be out by then */
    bool source_keep;        /* the connection goes on after it */
    enum close_reason linger_reason;
    int64_t linger_until_ms;
    time_t dated; /* when date was written */
    char date[40];
};

static void close_now(struct http_server *server, enum close_reason reason)
{
    server->state = SERVER_CLOSING;
    stream_close(server->stream, reason);
}

void http_server_close(struct http_server *server, enum close_reason reason)
{
    close_now(server, reason);
}

/* Writes the rest and stays for a moment, so that a reset does not overtake the answer. */
static void linger(struct http_server *server, enum close_reason reason)
{
    server->state = SERVER_LINGERING;
    server->linger_reason = reason;
    server->linger_until_ms = loop_now_ms(server->loop) + server->options.answer_ms;
    buf_wipe(&server->waiting);
    stream_shutdown(server->stream);
    if (server->ended) {
        server->state = SERVER_CLOSING;
        stream_close_flush(server->stream, reason);
        return;
    }
    if (server->paused) {
        server->paused = false;
        stream_resume(server->stream);
    }
    timer_start(server->timer, LINGER_MS, 0);
}

/* A header line; once a second at most. */
static const char *date_line(struct http_server *server)
{
    time_t seconds = time(NULL);
    struct tm now;
    if (seconds != server->dated) {
        server->dated = seconds;
        (void)gmtime_r(&seconds, &now);
        (void)strftime(server->date, sizeof(server->date), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &now);
    }
    return server->date;
}

/* False: the headers could not be written, and the answer is a 500 without a body. */
static bool write_head(struct http_server *server, int status, const struct http_header *headers, size_t header_count,
                       size_t size, bool keep)
{
    bool good = true;
    struct buf head;
    const char *date = date_line(server);
    buf_init(&head, 0);
    if (http_write_response_head(&head, status, headers, header_count, size) != TP_OK) {
        buf_clear(&head);
        good = false;
        (void)buf_append_text(&head, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
    }
    /* Date and Connection go in front of the empty line. */
    stream_write(server->stream, buf_head(&head), buf_size(&head) - 2);
    stream_write(server->stream, date, strlen(date));
    if (!keep)
        stream_write(server->stream, "Connection: close\r\n\r\n", 21);
    else if (http_parser_request(server->parser)->minor == 0)
        stream_write(server->stream, "Connection: keep-alive\r\n\r\n", 26);
    else
        stream_write(server->stream, "\r\n", 2);
    buf_wipe(&head);
    return good;
}

static void write_answer(struct http_server *server, int status, const struct http_header *headers, size_t header_count,
                         const void *body, size_t size, bool keep, bool bodyless)
{
    if (write_head(server, status, headers, header_count, size, keep) && size > 0 && !bodyless)
        stream_write(server->stream, body, size);
}

/* One fixed text (R16), then the end. */
static void refuse(struct http_server *server, int status, enum close_reason reason)
{
    static const struct http_header headers[] = {{"Content-Type", "text/plain; charset=utf-8"},
                                                 {"X-Content-Type-Options", "nosniff"},
                                                 {"Cache-Control", "no-store"}};
    const char *text = "The request was refused.\n";
    write_answer(server, status, headers, 3, text, strlen(text), false, false);
    linger(server, reason);
}

static void arm_timer(struct http_server *server)
{
    int64_t now = loop_now_ms(server->loop);
    int64_t limit;
    if (!http_parser_is_inside(server->parser)) {
        timer_start(server->timer, server->count ? server->options.idle_ms : server->options.header_ms, 0);
        return;
    }
    if (server->started_ms == 0)
        server->started_ms = now;
    limit = !server->head_given ? server->options.header_ms
            : server->body_ms   ? server->body_ms
                                : server->options.request_ms;
    limit -= now - server->started_ms;
    timer_start(server->timer, limit > 0 ? limit : 0, 0);
}

static void on_timer(void *ctx)
{
    struct http_server *server = ctx;
    if (server->state == SERVER_LINGERING) {
        if (stream_queued(server->stream) > 0 && loop_now_ms(server->loop) < server->linger_until_ms)
            timer_start(server->timer, LINGER_MS, 0);
        else
            close_now(server, server->linger_reason);
    } else if (server->state == SERVER_READING && http_parser_is_inside(server->parser)) {
        refuse(server, 408, CLOSE_IDLE_TIMEOUT);
    } else if (server->state != SERVER_CLOSING) {
        close_now(server, CLOSE_IDLE_TIMEOUT);
    }
}

static void give_head(struct http_server *server)
{
    struct http_request *request = http_parser_request(server->parser);
    size_t limit = server->events->on_head ? server->events->on_head(server->ctx, request) : 0;
    server->head_given = true;
    if (limit)
        http_parser_set_body_limit(server->parser, limit);
}

static void refuse_broken(struct http_server *server)
{
    int status = http_parser_error(server->parser, NULL);
    enum close_reason reason = CLOSE_BAD_REQUEST;
    if (http_parser_is_http2(server->parser))
        reason = CLOSE_HTTP2;
    else if (status == 413 || status == 431)
        reason = CLOSE_TOO_LARGE;
    refuse(server, status, reason);
}

/* Parses until a request is complete or the bytes are used up. Returns how many were used. */
static size_t parse(struct http_server *server, const uint8_t *data, size_t size)
{
    size_t done = 0;
    while (server->state == SERVER_READING) {
        size_t used = 0;
        enum http_step step = http_parser_feed(server->parser, data + done, size - done, &used);
        done += used;
        if (step == HTTP_FAILED) {
            refuse_broken(server);
            return size;
        }
        if (step == HTTP_MORE) {
            if (server->head_given && http_parser_request(server->parser)->expect_continue) {
                http_parser_request(server->parser)->expect_continue = false;
                if (done == size && buf_size(&http_parser_request(server->parser)->body) == 0)
                    stream_write(server->stream, "HTTP/1.1 100 Continue\r\n\r\n", 25);
            }
            return done;
        }
        if (step == HTTP_HEAD_READY)
            give_head(server);
        else
            server->state = SERVER_ANSWERING;
    }
    return done;
}

static void pause_peer(struct http_server *server)
{
    if (!server->paused) {
        server->paused = true;
        stream_pause(server->stream);
    }
}

static void start_answering(struct http_server *server)
{
    server->exchange.id++;
    server->exchange.data = NULL;
    pause_peer(server);
    timer_start(server->timer, server->options.answer_ms, 0);
    server->events->on_request(server->ctx, &server->exchange);
}

static void wait_for_limit(struct http_server *server)
{
    pause_peer(server);
    timer_start(server->timer, server->options.answer_ms, 0);
}

static void on_data(void *ctx, const uint8_t *data, size_t size)
{
    struct http_server *server = ctx;
    size_t used = 0;
    if (server->state == SERVER_LINGERING) {
        server->dropped += size;
        if (server->dropped > LINGER_BYTES)
            close_now(server, server->linger_reason);
        return;
    }
    if (server->state == SERVER_CLOSING)
        return;
    if (server->state == SERVER_READING && buf_size(&server->waiting) == 0)
        used = parse(server, data, size);
    if (used < size && server->state != SERVER_LINGERING && server->state != SERVER_CLOSING &&
        buf_append(&server->waiting, data + used, size - used) != TP_OK) {
        close_now(server, CLOSE_TOO_LARGE);
        return;
    }
    if (server->state == SERVER_READING)
        arm_timer(server);
    else if (server->state == SERVER_ANSWERING && !server->paused)
        start_answering(server);
    else if (server->state == SERVER_HOLDING)
        wait_for_limit(server);
}

/* After an answer: the bytes that waited, then the peer again. */
static void on_next(void *ctx)
{
    struct http_server *server = ctx;
    if (server->state != SERVER_READING)
        return;
    if (buf_size(&server->waiting) > 0 || server->head_given) { /* a body was held: its head may already be too much */
        size_t used = parse(server, buf_head(&server->waiting), buf_size(&server->waiting));
        if (buf_size(&server->waiting) > 0)
            buf_consume(&server->waiting, used);
    }
    if (server->state == SERVER_ANSWERING) {
        start_answering(server);
    } else if (server->state == SERVER_HOLDING) {
        wait_for_limit(server);
    } else if (server->state == SERVER_READING) {
        if (server->ended) {
            close_now(server, CLOSE_CLIENT_CLOSED);
            return;
        }
        if (server->paused) {
            server->paused = false;
            stream_resume(server->stream);
        }
        arm_timer(server);
    }
}

static void on_eof(void *ctx)
{
    struct http_server *server = ctx;
    server->ended = true;
    if (server->state == SERVER_LINGERING)
        close_now(server, server->linger_reason);
    else if (server->state == SERVER_READING && buf_size(&server->waiting) == 0)
        close_now(server, CLOSE_CLIENT_CLOSED);
}

static void go_on(struct http_server *server)
{
    server->state = SERVER_READING;
    later_run(server->loop, &server->next);
}

static void end_source(struct http_server *server)
{
    const struct http_source *source = server->source;
    server->source = NULL;
    if (source)
        source->free(server->source_ctx);
}

/* For the next part of the body; no longer than the whole of it may take, so that nobody who reads a part now and then
 * keeps the connection for hours. */
static void arm_source(struct http_server *server)
{
    int64_t left = server->source_until_ms - loop_now_ms(server->loop);
    int64_t limit = left < server->options.answer_ms ? left : server->options.answer_ms;
    timer_start(server->timer, limit > 0 ? limit : 0, 0);
}

/* As much of the body as the out queue takes now; on_drain brings the rest. */
static void send_source(struct http_server *server)
{
    unsigned pushes = SOURCE_PUSHES;
    while (server->source_left > 0) {
        if (stream_is_full(server->stream) && (pushes-- == 0 || !stream_push(server->stream)))
            break;
        uint8_t piece[SOURCE_PIECE];
        size_t size = server->source_left < sizeof(piece) ? (size_t)server->source_left : sizeof(piece);
        size_t got = 0;
        if (server->source->read(server->source_ctx, piece, size, &got) != TP_OK || got == 0 || got > size) {
            close_now(server, CLOSE_IO_ERROR);
            return;
        }
        stream_write(server->stream, piece, got);
        server->source_left -= got;
    }
    arm_source(server);
    if (server->source_left > 0)
        return;
    end_source(server);
    if (!server->source_keep || server->draining)
        linger(server, server->draining ? CLOSE_DRAIN : CLOSE_DONE);
    else if (stream_is_full(server->stream))
        server->state = SERVER_WRITING;
    else
        go_on(server);
}

static void on_drain(void *ctx)
{
    struct http_server *server = ctx;
    if (server->state == SERVER_WRITING)
        go_on(server);
    else if (server->state == SERVER_SENDING)
        send_source(server);
}

static void on_stream_close(void *ctx, enum close_reason reason)
{
    struct http_server *server = ctx;
    later_cancel(&server->next);
    timer_free(server->timer);
    http_parser_free(server->parser);
    buf_wipe(&server->waiting);
    end_source(server);
    server->state = SERVER_CLOSING;
    server->events->on_close(server->ctx, reason);
    mem_free(server);
}

struct http_server *http_server_new(struct loop *loop, struct stream *stream, const struct http_server_options *options,
                                    const struct http_server_events *events, void *ctx)
{
    static const struct stream_events stream_side = {
        .on_data = on_data, .on_eof = on_eof, .on_drain = on_drain, .on_close = on_stream_close};
    struct http_server *server = mem_alloc(sizeof(*server));
    server->loop = loop;
    server->stream = stream;
    server->options = *options;
    if (server->options.header_ms == 0)
        server->options.header_ms = 10000;
    if (server->options.request_ms == 0)
        server->options.request_ms = 30000;
    if (server->options.idle_ms == 0)
        server->options.idle_ms = 30000;
    if (server->options.answer_ms == 0)
        server->options.answer_ms = 60000;
    if (server->options.answer_rate == 0)
        server->options.answer_rate = 8192;
    server->events = events;
    server->ctx = ctx;
    server->parser = http_parser_new(options->body_limit);
    server->exchange.server = server;
    server->next.fn = on_next;
    server->next.ctx = server;
    buf_init(&server->waiting, WAITING_MAX);
    server->timer = timer_new(loop, on_timer, server);
    arm_timer(server);
    stream_set_events(stream, &stream_side, server);
    return server;
}

void http_server_hold(struct http_server *server)
{
    if (server->state == SERVER_READING)
        server->state = SERVER_HOLDING;
}

void http_server_proceed(struct http_server *server, size_t limit, int64_t request_ms)
{
    if (server->state != SERVER_HOLDING)
        return;
    http_parser_set_body_limit(server->parser, limit);
    server->body_ms = request_ms;
    go_on(server);
}

void http_server_refuse(struct http_server *server, int status, const struct http_header *headers, size_t header_count,
                        const void *body, size_t size)
{
    if (server->state != SERVER_HOLDING && server->state != SERVER_READING)
        return;
    write_answer(server, status, headers, header_count, body, size, false, false);
    linger(server, CLOSE_TOO_LARGE);
}

void http_server_drain(struct http_server *server)
{
    server->draining = true;
    /* A connection that has not asked anything yet is about to: it gets its one answer. */
    if (server->count > 0 && server->state == SERVER_READING && !http_parser_is_inside(server->parser) &&
        buf_size(&server->waiting) == 0)
        linger(server, CLOSE_DRAIN);
}

uint64_t http_server_count(const struct http_server *server)
{
    return server->count;
}

static void respond(struct http_exchange *exchange, int status, const struct http_header *headers, size_t header_count,
                    const void *body, size_t size, bool close)
{
    struct http_server *server = exchange->server;
    const struct http_request *request = http_parser_request(server->parser);
    bool keep = request->keep_alive && !server->draining && !close;
    if (server->state != SERVER_ANSWERING)
        return;
    write_answer(server, status, headers, header_count, body, size, keep, strcmp(request->method, "HEAD") == 0);
    server->count++;
    server->exchange.data = NULL;
    server->head_given = false;
    server->body_ms = 0;
    server->started_ms = 0;
    http_parser_next(server->parser);
    if (!keep)
        linger(server, server->draining ? CLOSE_DRAIN : CLOSE_DONE);
    else if (stream_is_full(server->stream))
        server->state = SERVER_WRITING;
    else
        go_on(server);
}

void http_exchange_respond(struct http_exchange *exchange, int status, const struct http_header *headers,
                           size_t header_count, const void *body, size_t size)
{
    respond(exchange, status, headers, header_count, body, size, false);
}

void http_exchange_respond_close(struct http_exchange *exchange, int status, const struct http_header *headers,
                                 size_t header_count, const void *body, size_t size)
{
    respond(exchange, status, headers, header_count, body, size, true);
}

void http_exchange_respond_source(struct http_exchange *exchange, int status, const struct http_header *headers,
                                  size_t header_count, uint64_t size, const struct http_source *source, void *ctx)
{
    struct http_server *server = exchange->server;
    const struct http_request *request = http_parser_request(server->parser);
    bool bodyless = strcmp(request->method, "HEAD") == 0;
    if (server->state != SERVER_ANSWERING) {
        source->free(ctx);
        return;
    }
    server->source = source;
    server->source_ctx = ctx;
    server->source_keep = request->keep_alive && !server->draining;
    server->source_left =
        write_head(server, status, headers, header_count, (size_t)size, server->source_keep) && !bodyless ? size : 0;
    server->source_until_ms = loop_now_ms(server->loop) + server->options.answer_ms +
                              (int64_t)(server->source_left * 1000 / server->options.answer_rate);
    server->count++;
    server->exchange.data = NULL;
    server->head_given = false;
    server->body_ms = 0;
    server->started_ms = 0;
    server->state = SERVER_SENDING;
    http_parser_next(server->parser);
    send_source(server);
}

/* For the moment between two owners. */
static void on_nobody_data(void *ctx, const uint8_t *data, size_t size)
{
    (void)ctx;
    (void)data;
    (void)size;
}

static void on_nobody_close(void *ctx, enum close_reason reason)
{
    (void)ctx;
    (void)reason;
}

enum tp_err http_exchange_upgrade(struct http_exchange *exchange, const char *protocol,
                                  const struct http_header *headers, size_t header_count, struct stream **ret_stream,
                                  struct buf *rest)
{
    static const struct stream_events nobody = {.on_data = on_nobody_data, .on_close = on_nobody_close};
    struct http_server *server = exchange->server;
    const struct http_request *request = http_parser_request(server->parser);
    struct buf head;
    if (server->state != SERVER_ANSWERING || request->minor != 1 || buf_size(&request->body) > 0 || request->has_body)
        return TP_INVALID;
    buf_init(&head, 0);
    if (!http_is_token(protocol) || http_write_response_head(&head, 101, headers, header_count, SIZE_MAX) != TP_OK) {
        buf_free(&head);
        return TP_INVALID;
    }
    stream_write(server->stream, buf_head(&head), buf_size(&head) - 2);
    buf_clear(&head);
    (void)buf_printf(&head, "Upgrade: %s\r\nConnection: Upgrade\r\n\r\n", protocol);
    stream_write(server->stream, buf_head(&head), buf_size(&head));
    buf_free(&head);
    (void)buf_append(rest, buf_head(&server->waiting), buf_size(&server->waiting));
    *ret_stream = server->stream;
    stream_set_events(server->stream, &nobody, NULL);
    later_cancel(&server->next);
    timer_free(server->timer);
    http_parser_free(server->parser);
    buf_wipe(&server->waiting);
    mem_free(server);
    return TP_OK;
}

struct http_request *http_exchange_request(struct http_exchange *exchange)
{
    return http_parser_request(exchange->server->parser);
}

void http_exchange_set_data(struct http_exchange *exchange, void *data)
{
    exchange->data = data;
}

void *http_exchange_data(const struct http_exchange *exchange)
{
    return exchange->data;
}

uint64_t http_exchange_id(const struct http_exchange *exchange)
{
    return exchange->id;
}

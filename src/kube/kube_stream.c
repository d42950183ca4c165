#include "kube/kube_stream.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "kube/kube_spdy.h"
#include "kube/kube_status.h"
#include "protocols/http/http_ws.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TEXT_MAX ((size_t)64 * 1024) /* of an error or a size */

enum { CHANNEL_STDIN, CHANNEL_STDOUT, CHANNEL_STDERR, CHANNEL_ERROR, CHANNEL_RESIZE, CHANNEL_NONE = 256 };

struct channel_side {
    struct kube_stream *stream;
    struct http_ws ws;
    bool client;
    unsigned channel; /* of the message that is being read */
};

struct kube_stream {
    const struct kube_stream_events *events;
    void *ctx;
    bool portforward;
    bool failed;
    bool states; /* the error channel speaks Status objects (version 4 on), else plain text */
    bool exit_told;
    struct channel_side sides[2]; /* client, server: WebSocket only */
    struct kube_spdy *spdy;       /* SPDY, also inside WebSocket */
    bool websocket;
    struct buf exit_text; /* of the error channel */
    struct buf size_text; /* of the resize channel */
};

/* ---- what the channels say ---- */

static void output(struct kube_stream *stream, const uint8_t *data, size_t size)
{
    if (size > 0 && !stream->portforward && stream->events->on_output)
        stream->events->on_output(stream->ctx, data, size);
}

static void input(struct kube_stream *stream, size_t size)
{
    if (size > 0 && stream->events->on_input)
        stream->events->on_input(stream->ctx);
}

/* {"metadata":{},"status":"Success"}, or a failure whose details name the exit code. */
static int exit_code(const json_t *status)
{
    const json_t *causes = json_object_get(json_object_get(status, "details"), "causes");
    size_t i;
    json_t *cause;
    if (strcmp(json_get_text(status, "status", ""), "Success") == 0)
        return 0;
    json_array_foreach ((json_t *)(uintptr_t)causes, i, cause) {
        const char *text = json_get_text(cause, "message", "");
        char *end;
        long code = strtol(text, &end, 10);
        if (strcmp(json_get_text(cause, "reason", ""), "ExitCode") == 0 && *text && !*end && code >= 0 && code <= 255)
            return (int)code;
    }
    return -1;
}

static void tell_exit(struct kube_stream *stream, int code)
{
    if (stream->exit_told || stream->portforward)
        return;
    stream->exit_told = true;
    if (stream->events->on_exit)
        stream->events->on_exit(stream->ctx, code);
}

/* The bytes of the JSON object that a text begins with, whatever follows it; 0: it is not complete, or no object. */
static size_t object_size(const uint8_t *text, size_t size)
{
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        if (quoted && text[i] == '\\')
            i++; /* and what it escapes */
        else if (text[i] == '"' && depth > 0)
            quoted = !quoted;
        else if (!quoted && text[i] == '{')
            depth++;
        else if (!quoted && text[i] == '}' && depth > 0 && --depth == 0)
            return i + 1;
        else if (depth == 0 && !isspace(text[i]))
            return 0;
    }
    return 0;
}

/* More of the error channel; last: nothing follows. Older protocols send plain text, or nothing when all went well. */
static void error_text(struct kube_stream *stream, const uint8_t *data, size_t size, bool last)
{
    json_t *status = NULL;
    if (stream->exit_told)
        return;
    (void)buf_append(&stream->exit_text, data, size);
    const uint8_t *text = buf_head(&stream->exit_text);
    size_t object = size > 0 && memchr(data, '}', size) ? object_size(text, buf_size(&stream->exit_text)) : 0;
    if (object > 0 && json_parse_object(text, object, TEXT_MAX, &status, NULL) == TP_OK) {
        tell_exit(stream, exit_code(status));
        json_decref(status);
    } else if (last) {
        tell_exit(stream, buf_size(&stream->exit_text) > 0 || stream->exit_text.failed ? -1 : 0);
    }
}

/* {"Width":100,"Height":30}, one behind the other. */
static void resize_text(struct kube_stream *stream, const uint8_t *data, size_t size)
{
    struct buf *text = &stream->size_text;
    if (buf_append(text, data, size) != TP_OK)
        buf_clear(text);
    for (;;) {
        const uint8_t *end = memchr(buf_head(text), '}', buf_size(text));
        json_t *json = NULL;
        size_t length = end ? (size_t)(end - buf_head(text)) + 1 : 0;
        if (!end)
            return;
        if (json_parse_object(buf_head(text), length, TEXT_MAX, &json, NULL) == TP_OK) {
            int64_t columns = json_get_int(json, "Width", 0);
            int64_t rows = json_get_int(json, "Height", 0);
            if (columns > 0 && columns <= 65535 && rows > 0 && rows <= 65535 && stream->events->on_resize)
                stream->events->on_resize(stream->ctx, (uint32_t)columns, (uint32_t)rows);
            json_decref(json);
        }
        buf_consume(text, length);
    }
}

/* ---- WebSocket channels ---- */

static enum tp_err on_channel(void *ctx, const uint8_t *data, size_t size, bool first, bool last)
{
    struct channel_side *side = ctx;
    struct kube_stream *stream = side->stream;
    if (first)
        side->channel = CHANNEL_NONE;
    if (side->channel == CHANNEL_NONE && size > 0) {
        side->channel = *data++;
        size--;
    }
    if (stream->portforward)
        return TP_OK;
    if (!side->client && (side->channel == CHANNEL_STDOUT || side->channel == CHANNEL_STDERR))
        output(stream, data, size);
    else if (!side->client && side->channel == CHANNEL_ERROR)
        /* An empty message is no end: servers greet with one on the first channel that they write, which is this one
         * when the client has asked for no output. */
        error_text(stream, data, size, last && size + buf_size(&stream->exit_text) > 0);
    else if (side->client && side->channel == CHANNEL_STDIN)
        input(stream, size);
    else if (side->client && side->channel == CHANNEL_RESIZE)
        resize_text(stream, data, size);
    return TP_OK;
}

static enum tp_err on_tunnelled(void *ctx, const uint8_t *data, size_t size, bool first, bool last)
{
    struct channel_side *side = ctx;
    (void)first;
    (void)last;
    return kube_spdy_feed(side->stream->spdy, side->client, data, size, NULL);
}

/* ---- SPDY streams ---- */

static void on_open(void *ctx, enum kube_spdy_type type, unsigned port)
{
    struct kube_stream *stream = ctx;
    if (stream->portforward && type == KUBE_SPDY_DATA && stream->events->on_port)
        stream->events->on_port(stream->ctx, port);
}

static void on_data(void *ctx, enum kube_spdy_type type, bool client, const uint8_t *data, size_t size, bool fin)
{
    struct kube_stream *stream = ctx;
    if (stream->portforward)
        return;
    if (!client && type == KUBE_SPDY_OUTPUT)
        output(stream, data, size);
    else if (!client && type == KUBE_SPDY_ERROR)
        error_text(stream, data, size, fin);
    else if (client && type == KUBE_SPDY_STDIN)
        input(stream, size);
    else if (client && type == KUBE_SPDY_RESIZE)
        resize_text(stream, data, size);
}

static const struct kube_spdy_events spdy_events = {.on_open = on_open, .on_data = on_data};

/* ---- the object ---- */

static bool has_suffix(const char *text, const char *suffix)
{
    size_t length = strlen(text);
    size_t tail = strlen(suffix);
    return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

/* Plain binary channels, or SPDY in messages; base64 in text messages is a relic that nobody asks for. */
static enum tp_err check_protocol(const char *protocol, bool websocket, bool *ret_tunnelled, struct tp_error *error)
{
    *ret_tunnelled = websocket && strncasecmp(protocol, "SPDY/3.1+", 9) == 0;
    if (*ret_tunnelled || !*protocol ||
        (strncmp(protocol, "base64", 6) != 0 &&
         (has_suffix(protocol, "channel.k8s.io") || has_suffix(protocol, "portforward.k8s.io"))))
        return TP_OK;
    return err_set(error, TP_INVALID, "the subprotocol %.60s can't be put on record", protocol);
}

enum tp_err kube_stream_new(enum kube_stream_kind kind, const char *protocol, bool portforward,
                            const struct kube_stream_events *events, void *ctx, struct kube_stream **ret_stream,
                            struct tp_error *error)
{
    struct kube_stream *stream;
    bool websocket = kind == KUBE_STREAM_WEBSOCKET;
    bool tunnelled = false;
    enum tp_err err = check_protocol(protocol ? protocol : "", websocket, &tunnelled, error);
    if (err)
        return err;
    stream = mem_alloc(sizeof *stream);
    stream->events = events;
    stream->ctx = ctx;
    stream->portforward = portforward;
    stream->websocket = websocket;
    stream->states = protocol && (strncmp(protocol, "v4.", 3) == 0 || strncmp(protocol, "v5.", 3) == 0);
    buf_init(&stream->exit_text, TEXT_MAX);
    buf_init(&stream->size_text, TEXT_MAX);
    if (!websocket || tunnelled)
        stream->spdy = kube_spdy_new(&spdy_events, stream);
    for (int i = 0; i < 2; i++) {
        struct channel_side *side = &stream->sides[i];
        *side = (struct channel_side){.stream = stream, .client = i == 0, .channel = CHANNEL_NONE};
        http_ws_init(&side->ws, tunnelled ? on_tunnelled : on_channel, side);
    }
    *ret_stream = stream;
    return TP_OK;
}

void kube_stream_free(struct kube_stream *stream)
{
    if (!stream)
        return;
    kube_spdy_free(stream->spdy);
    buf_free(&stream->exit_text);
    buf_free(&stream->size_text);
    mem_free(stream);
}

static enum tp_err feed(struct kube_stream *stream, bool client, const void *data, size_t size, struct tp_error *error)
{
    enum tp_err err;
    if (stream->failed)
        return err_set(error, TP_INVALID, "the connection has left its protocol before");
    err = stream->websocket ? http_ws_feed(&stream->sides[client ? 0 : 1].ws, data, size, error)
                            : kube_spdy_feed(stream->spdy, client, data, size, error);
    stream->failed = err != TP_OK;
    return err;
}

enum tp_err kube_stream_client(struct kube_stream *stream, const void *data, size_t size, struct tp_error *error)
{
    return feed(stream, true, data, size, error);
}

enum tp_err kube_stream_server(struct kube_stream *stream, const void *data, size_t size, struct tp_error *error)
{
    return feed(stream, false, data, size, error);
}

/* ---- the end, in the server's name ---- */

static void put_channel(struct buf *out, uint8_t channel, const char *text)
{
    struct buf message;
    buf_init(&message, 0);
    (void)buf_append(&message, &channel, 1);
    (void)buf_append_text(&message, text);
    http_ws_put(out, HTTP_WS_BINARY, buf_head(&message), buf_size(&message));
    buf_free(&message);
}

/* Code 1000 where the reason has been told otherwise, else 1008 (policy, RFC 6455 section 7.4.1) with the sentence. */
static void put_close(struct buf *out, const char *text)
{
    uint8_t body[125] = {0x03, text ? 0xf0 : 0xe8};
    size_t size = text ? strnlen(text, sizeof body - 2) : 0;
    if (size > 0)
        memcpy(body + 2, text, size);
    http_ws_put(out, HTTP_WS_CLOSE, body, size + 2);
}

static enum tp_err websocket_farewell(struct kube_stream *stream, const char *line, const char *said, struct buf *out)
{
    const struct http_ws *ws = &stream->sides[1].ws;
    struct buf inner;
    enum tp_err err = TP_OK;
    if (stream->spdy) { /* filling up a message would break what is inside */
        if (ws->in_payload)
            return TP_INVALID;
        buf_init(&inner, 0);
        err = http_ws_complete(ws, out);
        if (err == TP_OK)
            err = kube_spdy_farewell(stream->spdy, line, said, &inner);
        if (err == TP_OK && buf_size(&inner) <= UINT16_MAX) {
            http_ws_put(out, HTTP_WS_BINARY, buf_head(&inner), buf_size(&inner));
            put_close(out, NULL);
        } else {
            err = TP_INVALID;
        }
        buf_free(&inner);
        return err;
    }
    err = http_ws_complete(ws, out);
    if (err == TP_OK && !stream->portforward) {
        if (*line)
            put_channel(out, CHANNEL_STDOUT, line);
        put_channel(out, CHANNEL_ERROR, said);
    }
    if (err == TP_OK)
        put_close(out, stream->portforward ? said : NULL);
    return err;
}

bool kube_stream_owes_status(const struct kube_stream *stream)
{
    return stream->states && !stream->portforward && !stream->exit_told && !stream->failed;
}

enum tp_err kube_stream_farewell(struct kube_stream *stream, int code, const char *text, bool terminal, struct buf *out)
{
    struct buf all;
    char *said;
    const char *line = terminal ? "\r\n" : "";
    enum tp_err err;
    if (stream->failed || stream->exit_told)
        return TP_INVALID;
    said = stream->states && !stream->portforward ? kube_status_body(code, text) : mem_printf("tport: %s", text);
    buf_init(&all, 0);
    err = stream->websocket ? websocket_farewell(stream, line, said, &all)
                            : kube_spdy_farewell(stream->spdy, line, said, &all);
    if (err == TP_OK)
        (void)buf_append(out, buf_head(&all), buf_size(&all));
    stream->failed = true;
    buf_free(&all);
    mem_free(said);
    return err;
}

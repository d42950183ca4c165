#include "tunnel/rpc_line.h"

#include "base/mem.h"

#define QUEUE_LIMIT (RPC_FRAME_MAX * 4)

struct rpc_line {
    struct tunnel_stream *stream; /* NULL when it has ended */
    struct rpc *rpc;
    const struct rpc_line_events *events;
    void *ctx;
    struct rpc_events rpc_events; /* the owner's, with our on_close */
    struct buf out;
    struct loop *loop;
    struct later go_on;
    bool paused;
    size_t held; /* bytes that have not given credit yet: not all frames in them are taken */
};

static void pump(struct rpc_line *line)
{
    while (line->stream && buf_size(&line->out) > 0) {
        size_t put = tunnel_stream_write(line->stream, buf_head(&line->out), buf_size(&line->out));
        if (put == 0)
            return;
        buf_consume(&line->out, put);
    }
}

static void on_rpc_write(void *ctx, const void *data, size_t size)
{
    struct rpc_line *line = ctx;
    if (!line->stream)
        return;
    if (buf_append(&line->out, data, size) != TP_OK) {
        tunnel_stream_close(line->stream, CLOSE_TOO_LARGE, NULL);
        return;
    }
    pump(line);
}

static void on_request(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                       json_t *caller, int fd)
{
    struct rpc_line *line = ctx;
    line->events->rpc->on_request(line->ctx, rpc, call, method, params, caller, fd);
}

static void on_unread(void *ctx, struct rpc_call *call, const char *method)
{
    struct rpc_line *line = ctx;
    line->events->rpc->on_unread(line->ctx, call, method);
}

static void on_event(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    struct rpc_line *line = ctx;
    line->events->rpc->on_event(line->ctx, rpc, event, params, fd);
}

/* The bytes broke the protocol: the rpc goes by itself, the stream must follow. */
static void on_rpc_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct rpc_line *line = ctx;
    (void)rpc;
    line->rpc = NULL;
    if (line->stream)
        tunnel_stream_close(line->stream, reason, NULL);
}

static void give_credit(struct rpc_line *line)
{
    size_t held = line->held;
    if (line->paused || !line->stream || held == 0)
        return;
    line->held = 0;
    tunnel_stream_consume(line->stream, held);
}

static void on_data(void *ctx, const uint8_t *data, size_t size)
{
    struct rpc_line *line = ctx;
    line->held += size;
    if (line->rpc)
        rpc_feed(line->rpc, data, size);
    give_credit(line);
}

static void on_eof(void *ctx)
{
    struct rpc_line *line = ctx;
    if (line->stream)
        tunnel_stream_close(line->stream, CLOSE_DONE, NULL);
}

static void on_writable(void *ctx)
{
    pump(ctx);
}

static void on_stream_close(void *ctx, enum close_reason reason, const char *text)
{
    struct rpc_line *line = ctx;
    (void)text;
    line->stream = NULL;
    later_cancel(&line->go_on);
    rpc_free(line->rpc); /* its pending requests fail at the end of this turn */
    line->events->on_close(line->ctx, reason);
    buf_wipe(&line->out);
    mem_free(line);
}

static const struct tunnel_stream_events stream_events = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_writable = on_writable,
    .on_close = on_stream_close,
};

static void on_go_on(void *ctx)
{
    struct rpc_line *line = ctx;
    line->paused = false;
    if (line->rpc)
        rpc_pause(line->rpc, false); /* and by what it takes it may be paused again */
    give_credit(line);
}

void rpc_line_pause(struct rpc_line *line, bool pause)
{
    if (!pause && line->paused) {
        later_run(line->loop, &line->go_on);
        return;
    }
    later_cancel(&line->go_on);
    line->paused = pause;
    if (pause && line->rpc)
        rpc_pause(line->rpc, true);
}

static struct rpc_line *make(struct loop *loop, const struct rpc_line_events *events, void *ctx)
{
    struct rpc_line *line = mem_alloc(sizeof(*line));
    line->loop = loop;
    line->go_on = (struct later){.fn = on_go_on, .ctx = line};
    line->events = events;
    line->ctx = ctx;
    line->rpc_events = (struct rpc_events){
        .on_request = events->rpc->on_request ? on_request : NULL,
        .on_unread = events->rpc->on_unread ? on_unread : NULL,
        .on_event = events->rpc->on_event ? on_event : NULL,
        .on_close = on_rpc_close,
    };
    buf_init(&line->out, QUEUE_LIMIT);
    line->rpc = rpc_new_bytes(loop, on_rpc_write, line, &line->rpc_events, line);
    return line;
}

enum tp_err rpc_line_open(struct loop *loop, struct tunnel *tunnel, const struct rpc_line_events *events, void *ctx,
                          struct rpc_line **ret_line)
{
    struct rpc_line *line = make(loop, events, ctx);
    enum tp_err err = tunnel_stream_open(tunnel, "rpc", NULL, 0, &stream_events, line, &line->stream);
    if (err != TP_OK) {
        rpc_free(line->rpc);
        buf_wipe(&line->out);
        mem_free(line);
        return err;
    }
    *ret_line = line;
    return TP_OK;
}

struct rpc_line *rpc_line_accept(struct loop *loop, struct tunnel_stream *stream, const struct rpc_line_events *events,
                                 void *ctx)
{
    struct rpc_line *line = make(loop, events, ctx);
    line->stream = stream;
    tunnel_stream_accept(stream, &stream_events, line);
    return line;
}

struct rpc *rpc_line_rpc(struct rpc_line *line)
{
    return line->rpc;
}

void rpc_line_close(struct rpc_line *line, enum close_reason reason)
{
    if (line->stream)
        tunnel_stream_close(line->stream, reason, NULL);
}

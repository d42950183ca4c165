/*
 * Happy path: a request is one frame out; its answer comes back as one frame with the same id and runs the callback.
 * Failure: a frame that breaks a rule, or the end of the line, fails every pending request with TP_CLOSED and then says
 * on_close once. Calls of the other side that are still being answered keep a reference; their answer goes nowhere.
 */
#include "core/rpc_priv.h"
#include "core/rpc_skim.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#include <unistd.h>

#define DEFAULT_TIMEOUT_MS 30000
#define CALL_COST ((size_t)512)               /* of a request beside its text, so that many small ones count too */
#define OUT_LIMIT ((size_t)256 * 1024 * 1024) /* a peer that does not read is a bug of ours, not a stranger */

struct pending {
    uint32_t id;
    int64_t deadline;
    rpc_reply_cb *fn;
    rpc_text_cb *text_fn; /* in place of fn */
    void *ctx;
    struct pending *next;
};

struct rpc_call {
    struct rpc *rpc; /* NULL when the line is gone */
    uint32_t id;
    size_t size; /* of its frame, counted in unanswered of the line */
    struct rpc_call *next;
    struct rpc_call **prev;
};

static void failed(const struct pending *item, const struct tp_error *error)
{
    if (item->text_fn)
        item->text_fn(item->ctx, NULL, 0, error);
    else
        item->fn(item->ctx, NULL, error);
}

static void fail_now(const struct pending *item, enum tp_err code, const char *text)
{
    struct tp_error error = {0};
    (void)err_set(&error, code, "%s", text);
    failed(item, &error);
}

static void destroy(struct rpc *rpc)
{
    timer_free(rpc->timer);
    later_cancel(&rpc->finish);
    rpc_socket_close(rpc);
    buf_wipe(&rpc->in);
    buf_wipe(&rpc->out);
    mem_free(rpc);
}

/* The end, at the end of a turn. */
static void on_finish(void *ctx)
{
    struct rpc *rpc = ctx;
    while (rpc->pending) {
        struct pending *item = rpc->pending;
        rpc->pending = item->next;
        fail_now(item, TP_CLOSED, "the process that should answer is gone");
        mem_free(item);
    }
    while (rpc->calls) {
        struct rpc_call *call = rpc->calls;
        rpc->calls = call->next;
        call->rpc = NULL;
        call->prev = NULL;
        call->next = NULL;
    }
    if (!rpc->freed && rpc->events->on_close)
        rpc->events->on_close(rpc->ctx, rpc, rpc->reason);
    destroy(rpc);
}

void rpc_end(struct rpc *rpc, enum close_reason reason)
{
    if (rpc->closing)
        return;
    rpc->closing = true;
    rpc->reason = reason;
    rpc_socket_stop(rpc);
    timer_stop(rpc->timer);
    later_run(rpc->loop, &rpc->finish);
}

void rpc_free(struct rpc *rpc)
{
    if (!rpc)
        return;
    rpc->freed = true;
    rpc_end(rpc, CLOSE_DONE);
}

static void send_text(struct rpc *rpc, enum rpc_frame_type type, uint32_t id, const char *text, size_t size, int fd)
{
    struct rpc_frame frame = {.type = type, .id = id, .size = (uint32_t)size, .has_fd = fd >= 0};
    uint8_t header[RPC_HEADER_SIZE];

    if (rpc->closing || size > RPC_FRAME_MAX) {
        if (!rpc->closing)
            rpc_end(rpc, CLOSE_TOO_LARGE);
        return;
    }
    rpc_frame_encode(&frame, header);
    if (rpc->fd < 0) {
        rpc->write(rpc->write_ctx, header, sizeof(header));
        rpc->write(rpc->write_ctx, text, size);
    } else {
        rpc_socket_send(rpc, header, text, size, fd);
    }
}

static void send_frame(struct rpc *rpc, enum rpc_frame_type type, uint32_t id, json_t *body, int fd)
{
    char *text = json_text(body);
    json_decref(body);
    send_text(rpc, type, id, text, strlen(text), fd);
    secret_free(text);
}

static int64_t next_deadline(const struct rpc *rpc)
{
    int64_t first = INT64_MAX;
    for (const struct pending *item = rpc->pending; item; item = item->next)
        first = item->deadline < first ? item->deadline : first;
    return first;
}

static void arm_timer(struct rpc *rpc)
{
    int64_t first = next_deadline(rpc);
    if (first == INT64_MAX)
        timer_stop(rpc->timer);
    else
        timer_start(rpc->timer, first - loop_now_ms(rpc->loop), 0);
}

static void on_timer(void *ctx)
{
    struct rpc *rpc = ctx;
    int64_t now = loop_now_ms(rpc->loop);
    struct pending **at = &rpc->pending;
    struct pending *late = NULL;
    while (*at) {
        struct pending *item = *at;
        if (item->deadline <= now) {
            *at = item->next;
            item->next = late;
            late = item;
        } else {
            at = &item->next;
        }
    }
    if (rpc->pending)
        arm_timer(rpc);
    rpc->depth++;
    while (late) {
        struct pending *item = late;
        late = item->next;
        fail_now(item, TP_TIMEOUT, "no answer came in time");
        mem_free(item);
    }
    rpc->depth--;
}

/* A request that is about to be sent; its id. */
static uint32_t expect(struct rpc *rpc, int64_t timeout_ms, const struct pending *waits)
{
    struct pending *item = mem_alloc(sizeof(*item));
    do {
        rpc->last_id++;
    } while (rpc->last_id == 0);
    item->id = rpc->last_id;
    item->deadline = loop_now_ms(rpc->loop) + (timeout_ms > 0 ? timeout_ms : DEFAULT_TIMEOUT_MS);
    item->fn = waits->fn;
    item->text_fn = waits->text_fn;
    item->ctx = waits->ctx;
    item->next = rpc->pending;
    rpc->pending = item;
    if (!rpc->closing && (!timer_is_active(rpc->timer) || !item->next))
        arm_timer(rpc);
    return item->id;
}

static uint32_t request(struct rpc *rpc, const char *method, json_t *params, json_t *caller, int64_t timeout_ms,
                        const struct pending *waits)
{
    uint32_t id = expect(rpc, timeout_ms, waits);
    json_t *body = json_object();
    (void)json_object_set_new(body, "method", json_string(method));
    (void)json_object_set_new(body, "params", params ? params : json_object());
    if (caller)
        (void)json_object_set_new(body, "caller", caller);
    send_frame(rpc, RPC_REQUEST, id, body, -1);
    return id;
}

uint32_t rpc_request(struct rpc *rpc, const char *method, json_t *params, json_t *caller, int64_t timeout_ms,
                     rpc_reply_cb *fn, void *ctx)
{
    return request(rpc, method, params, caller, timeout_ms, &(struct pending){.fn = fn, .ctx = ctx});
}

uint32_t rpc_request_text(struct rpc *rpc, const char *method, json_t *params, json_t *caller, int64_t timeout_ms,
                          rpc_text_cb *fn, void *ctx)
{
    return request(rpc, method, params, caller, timeout_ms, &(struct pending){.text_fn = fn, .ctx = ctx});
}

bool rpc_pass_on(struct rpc *rpc, const struct rpc_call *call, json_t *caller, rpc_text_cb *fn, void *ctx)
{
    const struct rpc *from = call->rpc;
    const char *first = from && from->asked ? memchr(from->asked, '{', from->asked_size) : NULL;
    char *who = json_text(caller);
    struct buf text;
    json_decref(caller);
    /* The caller comes first into the object that was read: {"caller":WHO,"method":...}. */
    buf_init(&text, RPC_FRAME_MAX);
    bool fits = first && buf_printf(&text, "{\"caller\":%s,", who) == TP_OK &&
                buf_append(&text, first + 1, from->asked_size - (size_t)(first + 1 - from->asked)) == TP_OK;
    if (fits) {
        uint32_t id = expect(rpc, 0, &(struct pending){.text_fn = fn, .ctx = ctx});
        send_text(rpc, RPC_REQUEST, id, (const char *)buf_head(&text), buf_size(&text), -1);
    }
    buf_wipe(&text);
    secret_free(who);
    return fits;
}

/* The request of that id, taken out (mem_free it). NULL: it was cancelled or its answer is late, nobody waits. */
static struct pending *take_pending(struct rpc *rpc, uint32_t id)
{
    for (struct pending **at = &rpc->pending; *at; at = &(*at)->next) {
        struct pending *item = *at;
        if (item->id == id) {
            *at = item->next;
            return item;
        }
    }
    return NULL;
}

void rpc_cancel(struct rpc *rpc, uint32_t id)
{
    mem_free(take_pending(rpc, id));
}

static json_t *event_body(const char *event, json_t *params)
{
    json_t *body = json_object();
    (void)json_object_set_new(body, "event", json_string(event));
    (void)json_object_set_new(body, "params", params ? params : json_object());
    return body;
}

void rpc_event(struct rpc *rpc, const char *event, json_t *params)
{
    send_frame(rpc, RPC_EVENT, 0, event_body(event, params), -1);
}

void rpc_event_fd(struct rpc *rpc, const char *event, json_t *params, int fd)
{
    send_frame(rpc, RPC_EVENT, 0, event_body(event, params), fd);
}

static void answered(struct rpc_call *call)
{
    if (call->rpc)
        call->rpc->unanswered -= call->size;
    if (call->prev) {
        *call->prev = call->next;
        if (call->next)
            call->next->prev = call->prev;
    }
    mem_free(call);
}

static void answer(struct rpc_call *call, enum rpc_frame_type type, json_t *body)
{
    if (call->rpc)
        send_frame(call->rpc, type, call->id, body, -1);
    else
        json_decref(body);
    answered(call);
}

void rpc_reply_text(struct rpc_call *call, const char *text, size_t size)
{
    if (call->rpc)
        send_text(call->rpc, RPC_REPLY, call->id, text, size, -1);
    answered(call);
}

void rpc_reply(struct rpc_call *call, json_t *result)
{
    answer(call, RPC_REPLY, result ? result : json_object());
}

void rpc_fail(struct rpc_call *call, const struct tp_error *error)
{
    json_t *body = json_object();
    const char *text = error->text[0] ? error->text : err_text(error->code);
    json_t *message = json_string(text);
    (void)json_object_set_new(body, "code", json_string(err_name(error->code)));
    /* A sentence that quotes broken UTF-8 of a stranger is no JSON string. */
    (void)json_object_set_new(body, "message", message ? message : json_string(err_text(error->code)));
    answer(call, RPC_ERROR, body);
}

void rpc_fail_text(struct rpc_call *call, enum tp_err code, const char *format, ...)
{
    struct tp_error error = {.code = code};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error.text, sizeof(error.text), format, args);
    va_end(args);
    rpc_fail(call, &error);
}

size_t rpc_call_size(const struct rpc_call *call)
{
    return call->size - CALL_COST;
}

struct rpc *rpc_call_origin(const struct rpc_call *call)
{
    return call->rpc;
}

bool rpc_is_idle(const struct rpc *rpc)
{
    return buf_size(&rpc->in) == 0 && buf_size(&rpc->out) == 0 && rpc->in_fd_count == 0;
}

int rpc_fd(const struct rpc *rpc)
{
    return rpc->fd;
}

size_t rpc_queued(const struct rpc *rpc)
{
    return buf_size(&rpc->out);
}

/* ---- in ---- */

/* false: it breaks the protocol. */
static bool on_answer(struct rpc *rpc, const struct rpc_frame *frame, const uint8_t *data)
{
    struct pending *item = take_pending(rpc, frame->id);
    struct tp_error error = {0};
    json_t *body = NULL;
    bool good;
    if (item && item->text_fn && frame->type == RPC_REPLY) {
        item->text_fn(item->ctx, (const char *)data, frame->size, NULL);
        mem_free(item);
        return true;
    }
    good = json_parse_object(data, frame->size, RPC_FRAME_MAX, &body, &error) == TP_OK;
    if (!good) {
        if (item)
            fail_now(item, TP_CLOSED, "the process that should answer broke the protocol");
    } else if (item && frame->type == RPC_REPLY) {
        item->fn(item->ctx, body, NULL);
    } else if (item) {
        enum tp_err code = err_from_name(json_get_text(body, "code", "internal"));
        (void)err_set(&error, code == TP_OK ? TP_INTERNAL : code, "%s", json_get_text(body, "message", ""));
        failed(item, &error);
    }
    mem_free(item);
    json_decref(body);
    return good;
}

static struct rpc_call *call_new(struct rpc *rpc, const struct rpc_frame *frame)
{
    struct rpc_call *call = mem_alloc(sizeof(*call));
    call->rpc = rpc;
    call->id = frame->id;
    call->next = rpc->calls;
    call->prev = &rpc->calls;
    if (call->next)
        call->next->prev = &call->next;
    rpc->calls = call;
    call->size = frame->size + CALL_COST;
    rpc->unanswered += call->size;
    return call;
}

/* So many wait for their answer that this one was refused. */
static bool is_full(const struct rpc *rpc, struct rpc_call *call)
{
    if (rpc->fd >= 0 || rpc->unanswered <= RPC_UNANSWERED_MAX)
        return false;
    rpc_fail_text(call, TP_LIMIT, "too many requests wait for their answer");
    return true;
}

/* false: it has to be read. */
static bool on_unread(struct rpc *rpc, const struct rpc_frame *frame, const uint8_t *data)
{
    char method[RPC_METHOD_ROOM];
    struct rpc_call *call;
    if (!rpc->events->on_unread || frame->type != RPC_REQUEST || frame->has_fd || !rpc_skim(data, frame->size, method))
        return false;
    call = call_new(rpc, frame);
    if (is_full(rpc, call))
        return true;
    rpc->asked = (const char *)data;
    rpc->asked_size = frame->size;
    rpc->events->on_unread(rpc->ctx, call, method);
    rpc->asked = NULL;
    return true;
}

static void on_request(struct rpc *rpc, const struct rpc_frame *frame, const uint8_t *data, json_t *body, int fd)
{
    struct rpc_call *call = call_new(rpc, frame);
    const char *method = json_get_text(body, "method", NULL);
    json_t *params = json_object_get(body, "params");
    json_t *caller = json_object_get(body, "caller");

    if (!method || !json_is_object(params) || (caller && !json_is_object(caller))) {
        rpc_fail_text(call, TP_PROTOCOL, "the request has no method or params");
    } else if (!rpc->events->on_request) {
        rpc_fail_text(call, TP_NOT_FOUND, "no method %s here", method);
    } else if (!is_full(rpc, call)) {
        rpc->asked = json_object_size(body) == 2 ? (const char *)data : NULL;
        rpc->asked_size = frame->size;
        rpc->events->on_request(rpc->ctx, rpc, call, method, params, caller, fd);
        rpc->asked = NULL;
        fd = -1;
    }
    if (fd >= 0)
        (void)close(fd);
}

static bool on_frame(struct rpc *rpc, const struct rpc_frame *frame, const uint8_t *data)
{
    struct tp_error error = {0};
    json_t *body = NULL;
    int fd = -1;

    if (frame->has_fd) {
        fd = rpc_socket_take_fd(rpc);
        if (fd < 0)
            return false;
    }
    if (frame->type == RPC_REPLY || frame->type == RPC_ERROR) {
        if (fd >= 0)
            (void)close(fd);
        return on_answer(rpc, frame, data);
    }
    if (on_unread(rpc, frame, data))
        return true;
    if ((rpc->fd < 0 ? json_parse_bounded(data, frame->size, RPC_TREE_MAX, &body, &error)
                     : json_parse_object(data, frame->size, RPC_FRAME_MAX, &body, &error)) != TP_OK) {
        if (fd >= 0)
            (void)close(fd);
        return false;
    }
    if (frame->type == RPC_REQUEST) {
        on_request(rpc, frame, data, body, fd);
    } else {
        const char *event = json_get_text(body, "event", "");
        json_t *params = json_object_get(body, "params");
        if (rpc->events->on_event && json_is_object(params))
            rpc->events->on_event(rpc->ctx, rpc, event, params, fd);
        else if (fd >= 0)
            (void)close(fd);
    }
    json_decref(body);
    return true;
}

void rpc_take_frames(struct rpc *rpc)
{
    rpc->depth++;
    while (!rpc->closing && !rpc->paused && buf_size(&rpc->in) >= RPC_HEADER_SIZE) {
        struct rpc_frame frame;
        uint8_t *copy;
        bool good;
        if (rpc_frame_decode(buf_head(&rpc->in), &frame) != TP_OK) {
            rpc_end(rpc, CLOSE_PROTOCOL_ERROR);
            break;
        }
        if (buf_size(&rpc->in) < RPC_HEADER_SIZE + (size_t)frame.size)
            break;
        /* A copy: the callback may feed this very queue. */
        buf_consume(&rpc->in, RPC_HEADER_SIZE);
        copy = mem_dup(buf_head(&rpc->in), frame.size);
        buf_consume(&rpc->in, frame.size);
        good = on_frame(rpc, &frame, copy);
        secret_wipe(copy, frame.size);
        mem_free(copy);
        if (!good)
            rpc_end(rpc, CLOSE_PROTOCOL_ERROR);
    }
    rpc->depth--;
}

void rpc_feed(struct rpc *rpc, const void *data, size_t size)
{
    if (rpc->closing)
        return;
    if (buf_append(&rpc->in, data, size) != TP_OK) {
        rpc_end(rpc, CLOSE_TOO_LARGE);
        return;
    }
    if (rpc->depth == 0)
        rpc_take_frames(rpc);
}

void rpc_pause(struct rpc *rpc, bool pause)
{
    rpc->paused = pause;
    if (!pause && rpc->depth == 0)
        rpc_take_frames(rpc);
}

/* ---- making one ---- */

struct rpc *rpc_make(struct loop *loop, const struct rpc_events *events, void *ctx)
{
    struct rpc *rpc = mem_alloc(sizeof(*rpc));
    rpc->loop = loop;
    rpc->events = events;
    rpc->ctx = ctx;
    rpc->fd = -1;
    buf_init(&rpc->in, RPC_FRAME_MAX + RPC_HEADER_SIZE + RPC_READ_SIZE * 2);
    buf_init(&rpc->out, OUT_LIMIT);
    rpc->timer = timer_new(loop, on_timer, rpc);
    rpc->finish = (struct later){.fn = on_finish, .ctx = rpc};
    return rpc;
}

struct rpc *rpc_new_bytes(struct loop *loop, rpc_write_fn *write, void *write_ctx, const struct rpc_events *events,
                          void *ctx)
{
    struct rpc *rpc = rpc_make(loop, events, ctx);
    rpc->write = write;
    rpc->write_ctx = write_ctx;
    return rpc;
}

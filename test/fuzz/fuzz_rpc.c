/* The line between processes, as a hostile other side would feed it. */
#include "core/rpc.h"

struct side {
    bool closed;
};

static void on_request(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                       json_t *caller, int fd)
{
    (void)ctx;
    (void)rpc;
    (void)method;
    (void)caller;
    (void)fd;
    rpc_reply(call, json_incref(params));
}

static void on_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    (void)rpc;
    (void)reason;
    ((struct side *)ctx)->closed = true;
}

static void drop(void *ctx, const void *data, size_t size)
{
    (void)ctx;
    (void)data;
    (void)size;
}

static void on_answer(void *ctx, json_t *result, const struct tp_error *error)
{
    (void)ctx;
    (void)result;
    (void)error;
}

static void stop(void *ctx)
{
    loop_stop(ctx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct rpc_events events = {.on_request = on_request, .on_close = on_close};
    struct loop *loop = loop_new();
    struct side side = {false};
    struct rpc *rpc = rpc_new_bytes(loop, drop, NULL, &events, &side);
    struct later end = {.fn = stop, .ctx = loop};
    size_t half = size / 2;
    (void)rpc_request(rpc, "a", NULL, NULL, 0, on_answer, NULL);
    rpc_feed(rpc, data, half);
    rpc_feed(rpc, data + half, size - half);
    later_run(loop, &end);
    loop_run(loop);
    if (!side.closed) {
        rpc_free(rpc);
        later_run(loop, &end);
        loop_run(loop);
    }
    loop_free(loop);
    return 0;
}

#include "agent/agent_priv.h"

#include "base/mem.h"

struct up_call {
    struct agent *agent;
    char *method;
    json_t *params;
    rpc_reply_cb *fn; /* NULL: cancelled */
    void *ctx;
    bool sent;
    struct timer *deadline;
    struct up_call *next, **prev;
};

static void call_free(struct up_call *call)
{
    *call->prev = call->next;
    *(call->next != NULL ? &call->next->prev : &call->agent->calls_end) = call->prev;
    timer_free(call->deadline);
    json_decref(call->params);
    mem_free(call->method);
    mem_free(call);
}

static void finish(struct up_call *call, json_t *result, const struct tp_error *error)
{
    rpc_reply_cb *fn = call->fn;
    void *ctx = call->ctx;
    call_free(call);
    if (fn != NULL) {
        fn(ctx, result, error);
    }
}

static void on_reply(void *ctx, json_t *result, const struct tp_error *error)
{
    finish(ctx, result, error);
}

static void send_call(struct up_call *call, struct rpc *rpc)
{
    call->sent = true;
    timer_free(call->deadline);
    call->deadline = NULL;
    (void)rpc_request(rpc, call->method, json_incref(call->params), NULL, 0, on_reply, call);
}

static void on_deadline(void *ctx)
{
    struct up_call *call = ctx;
    struct tp_error error = {0};
    (void)err_set(&error, TP_UNAVAILABLE, "the cluster can't be reached from this host now; try again later");
    finish(call, NULL, &error);
}

struct up_call *up_request(struct agent *agent, const char *method, json_t *params, rpc_reply_cb *fn, void *ctx)
{
    struct up_call *call = mem_alloc(sizeof(*call));
    call->agent = agent;
    call->method = mem_strdup(method);
    call->params = params != NULL ? params : json_object();
    call->fn = fn;
    call->ctx = ctx;
    call->prev = agent->calls_end;
    *call->prev = call;
    agent->calls_end = &call->next;
    struct rpc *rpc = link_rpc(agent);
    if (rpc != NULL) {
        send_call(call, rpc);
    } else {
        call->deadline = timer_new(agent->loop, on_deadline, call);
        timer_start(call->deadline, UP_WAIT_MS, 0);
    }
    return call;
}

void up_cancel(struct up_call *call)
{
    call->fn = NULL;
}

void up_flush(struct agent *agent)
{
    struct rpc *rpc = link_rpc(agent);
    for (struct up_call *call = agent->calls; call != NULL && rpc != NULL; call = call->next) {
        if (!call->sent) {
            send_call(call, rpc);
        }
    }
}

void up_stop(struct agent *agent)
{
    for (struct up_call *call = agent->calls; call != NULL; call = call->next) {
        call->fn = NULL;
        timer_free(call->deadline);
        call->deadline = NULL;
    }
}

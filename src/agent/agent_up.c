#include "agent/agent_priv.h"

#include "base/log.h"
#include "base/mem.h"
#include "crypt/key.h"

#define REPEAT_MS 500
#define CALL_COST ((size_t)2048) /* besides its text */

struct up_call {
    struct agent *agent;
    char *method;
    json_t *params;
    rpc_reply_cb *fn; /* NULL: cancelled */
    void *ctx;
    bool sent;
    struct timer *deadline;
    bool report;         /* else a request, which is sent once */
    struct timer *again; /* of a report that was not heard, or NULL */
    int64_t give_up_ms;  /* of a report (loop time) */
    size_t kept;         /* of agent->kept: it was not heard at first */
    struct up_call *next, **prev;
};

static void call_free(struct up_call *call)
{
    *call->prev = call->next;
    *(call->next != NULL ? &call->next->prev : &call->agent->calls_end) = call->prev;
    call->agent->kept -= call->kept;
    call->agent->kept_full = call->agent->kept_full && call->agent->kept > 0;
    timer_free(call->deadline);
    timer_free(call->again);
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

static void try_later(struct up_call *call);

/* Is there room to keep it until it is heard? What people do goes on meanwhile, and each of them can make many reports. */
static bool may_keep(struct up_call *call)
{
    struct agent *agent = call->agent;
    if (call->kept > 0) {
        return true;
    }
    size_t size = CALL_COST + json_dumpb(call->params, NULL, 0, JSON_COMPACT);
    if (agent->kept + size > UP_KEPT_MAX) {
        if (!agent->kept_full) {
            log_error("reports are lost from now on: too many wait for the cluster", "method=%s", call->method);
        }
        agent->kept_full = true;
        return false;
    }
    call->kept = size;
    agent->kept += size;
    return true;
}

/* The line broke, auth was being replaced behind it, or so much waited for it that this was not taken (auth/host_pace.c). */
static bool is_unheard(const struct tp_error *error)
{
    return error->code == TP_UNAVAILABLE || error->code == TP_CLOSED || error->code == TP_TIMEOUT ||
           error->code == TP_LIMIT;
}

static void on_reply(void *ctx, json_t *result, const struct tp_error *error)
{
    struct up_call *call = ctx;
    if (error != NULL && is_unheard(error) && call->report && loop_now_ms(call->agent->loop) < call->give_up_ms &&
        may_keep(call)) {
        call->sent = false;
        try_later(call);
        return;
    }
    finish(call, result, error);
}

static void send_call(struct up_call *call, struct rpc *rpc)
{
    call->sent = true;
    timer_free(call->deadline);
    call->deadline = NULL;
    if (call->again != NULL) {
        timer_stop(call->again);
    }
    (void)rpc_request(rpc, call->method, json_incref(call->params), NULL, 0, on_reply, call);
}

static void on_deadline(void *ctx)
{
    struct up_call *call = ctx;
    struct tp_error error = {0};
    (void)err_set(&error, TP_UNAVAILABLE, "the cluster can't be reached from this host now; try again later");
    finish(call, NULL, &error);
}

static void on_again(void *ctx)
{
    struct up_call *call = ctx;
    struct rpc *rpc = link_rpc(call->agent);
    if (rpc != NULL) {
        send_call(call, rpc);
    } else if (loop_now_ms(call->agent->loop) < call->give_up_ms && may_keep(call)) {
        try_later(call);
    } else {
        on_deadline(call);
    }
}

static void try_later(struct up_call *call)
{
    if (call->again == NULL) {
        call->again = timer_new(call->agent->loop, on_again, call);
    }
    timer_start(call->again, REPEAT_MS, 0);
}

static struct up_call *call_new(struct agent *agent, const char *method, json_t *params, rpc_reply_cb *fn, void *ctx)
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
    return call;
}

struct up_call *up_request(struct agent *agent, const char *method, json_t *params, rpc_reply_cb *fn, void *ctx)
{
    struct up_call *call = call_new(agent, method, params, fn, ctx);
    struct rpc *rpc = link_rpc(agent);
    if (rpc != NULL) {
        send_call(call, rpc);
    } else {
        call->deadline = timer_new(agent->loop, on_deadline, call);
        timer_start(call->deadline, UP_WAIT_MS, 0);
    }
    return call;
}

struct up_call *up_report(struct agent *agent, const char *method, json_t *params, rpc_reply_cb *fn, void *ctx)
{
    struct up_call *call = call_new(agent, method, params, fn, ctx);
    struct rpc *rpc = link_rpc(agent);
    char name[UUID_TEXT_SIZE];
    crypt_uuid(name); /* by which auth knows it when it comes again */
    (void)json_object_set_new(call->params, "report", json_string(name));
    call->report = true;
    call->give_up_ms = loop_now_ms(agent->loop) + UP_REPORT_MS;
    if (rpc != NULL) {
        send_call(call, rpc);
    } else {
        try_later(call);
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
        call->report = false;
        timer_free(call->deadline);
        call->deadline = NULL;
        timer_free(call->again);
        call->again = NULL;
    }
}

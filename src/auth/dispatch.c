/* Every call passes here: the row of the method, who may call it, the limits, the rule, then the handler (R1). */
#include "auth/audit.h"
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/lockout.h"
#include "auth/put_group.h"

#include <string.h>

static void call_free(struct call *call)
{
    caller_free(&call->caller);
    json_decref(call->params);
    mem_free(call);
}

void call_reply(struct call *call, json_t *result)
{
    call->reply(call->reply_ctx, result != NULL ? result : json_object(), NULL);
    call_free(call);
}

/* Lines take text; others want JSON. */
static void rpc_answer(void *ctx, json_t *result, const struct tp_error *error);

void call_reply_text(struct call *call, struct buf *text)
{
    if (call->reply == rpc_answer) {
        rpc_reply_text(call->reply_ctx, buf_text(text), buf_size(text));
        call_free(call);
    } else {
        json_t *result = NULL;
        struct tp_error error = {0};
        if (json_parse_object(buf_head(text), buf_size(text), buf_size(text), &result, &error) == TP_OK) {
            call_reply(call, result);
        } else {
            call_fail(call, &error);
        }
    }
    buf_free(text);
}

void call_fail(struct call *call, const struct tp_error *error)
{
    call->reply(call->reply_ctx, NULL, error);
    call_free(call);
}

void call_fail_text(struct call *call, enum tp_err code, const char *format, ...)
{
    struct tp_error error = {.code = code};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error.text, sizeof error.text, format, args);
    va_end(args);
    call_fail(call, &error);
}

struct audited {
    struct call *call;
    json_t *result; /* NULL: a refusal */
    struct tp_error error;
};

static void audited_done(void *ctx, const struct tp_error *error)
{
    struct audited *audited = ctx;
    if (audited->result == NULL) {
        call_fail(audited->call, &audited->error);
    } else if (error != NULL) {
        json_decref(audited->result);
        call_fail(audited->call, error);
    } else {
        call_reply(audited->call, audited->result);
    }
    mem_free(audited);
}

static struct audited *audited_new(struct call *call, json_t *result)
{
    struct audited *audited = mem_alloc(sizeof *audited);
    audited->call = call;
    audited->result = result != NULL ? result : json_object();
    return audited;
}

void call_reply_audited(struct call *call, json_t *event, json_t *result)
{
    audit_emit(call->auth, event, audited_done, audited_new(call, result));
}

void call_reply_kept(struct call *call, json_t *event, json_t *result)
{
    audit_emit_kept(call->auth, event, audited_done, audited_new(call, result));
}

void call_fail_audited(struct call *call, json_t *event, const struct tp_error *error)
{
    struct audited *audited = mem_alloc(sizeof *audited);
    audited->call = call;
    audited->error = *error;
    audit_emit(call->auth, event, audited_done, audited);
}

enum tp_err call_rule(const struct call *call, const char *verb, const char *kind, const struct rbac_context *context,
                      struct tp_error *error)
{
    if (call->caller.who == WHO_LOCAL) {
        return TP_OK;
    }
    struct rbac_decision decision = {0};
    if (call->caller.set == NULL || rbac_rule(call->caller.set, verb, kind, context, &decision) != TP_OK) {
        return err_set(error, TP_DENIED, "access denied to perform action \"%s\" on \"%s\"", verb, kind);
    }
    return TP_OK;
}

json_t *call_event(const struct call *call, const char *name, bool success)
{
    json_t *event = event_new(name, success, call->auth->settings.cluster);
    const struct caller *caller = &call->caller;
    if (caller->user != NULL) {
        json_object_set_new(event, "user", json_string(caller->user));
    }
    if (caller->who == WHO_LOCAL) {
        json_object_set_new(event, "user_kind", json_string("local_administrator"));
        json_object_set_new(event, "uid_of_caller", json_integer((json_int_t)caller->uid));
    }
    if (caller->addr != NULL && caller->addr[0] != '\0') {
        json_object_set_new(event, "addr.remote", json_string(caller->addr));
    }
    return event;
}

static enum tp_err check_right(const struct call *call, struct tp_error *error)
{
    const struct method *method = call->method;
    if (call->caller.who != WHO_USER) {
        return TP_OK; /* who was checked; the handlers bind hosts to their own id */
    }
    if (method->right == RIGHT_RULE) {
        return call_rule(call, method->verb, method->kind, NULL, error);
    }
    if (method->right == RIGHT_POSSIBLE) {
        struct rbac_decision decision = {0};
        if (rbac_rule_possible(call->caller.set, method->verb, method->kind, &decision) != TP_OK) {
            return err_set(error, TP_DENIED, "access denied to perform action \"%s\" on \"%s\"", method->verb,
                           method->kind);
        }
    }
    return TP_OK;
}

static enum tp_err check_who(const struct method *method, const struct caller *caller, struct tp_error *error)
{
    bool listed = (method->who & caller->who) != 0;
    if (listed && (method->who & WHO_VIA_PROXY) != 0 && caller->worker < 0) {
        listed = false;
    }
    if ((method->who & WHO_LOCAL_AGENT) != 0 && !caller->local_agent) {
        listed = false;
    }
    if (listed) {
        return TP_OK;
    }
    if (caller->who == WHO_ANONYMOUS) {
        return err_set(error, TP_UNAUTHENTICATED, "sign in first");
    }
    if (caller->who == WHO_ONE_TARGET) {
        return caller_one_target(caller, error); /* R4: it opens no other door, whatever door its owner may open */
    }
    return err_set(error, TP_DENIED, "this caller may not use %s", method->name);
}

/* Without end, and the disk too: new sessions, and what is said about those that run. That one ends may always be said, and
 * do_session_event looks at what came of it. */
static bool fills_the_log(const struct method *method)
{
    bool ends = method->fn == do_session_end || method->fn == do_session_event;
    return (method->right == RIGHT_REPORT && !ends) || strcmp(method->verb, "connect") == 0;
}

static enum tp_err check_log(const struct auth *auth, const struct method *method, struct tp_error *error)
{
    enum tp_err err = method->changes ? audit_ready(auth, error) : TP_OK;
    return err == TP_OK && fills_the_log(method) ? audit_room(auth, error) : err;
}

enum tp_err call_check_log(const struct call *call, struct tp_error *error)
{
    return check_log(call->auth, call->method, error);
}

void dispatch_call(struct auth *auth, struct caller *caller, const char *name, json_t *params, call_reply_cb *reply,
                   void *ctx)
{
    struct tp_error error = {0};
    const struct method *method = method_find(name);
    enum tp_err err = TP_OK;
    auth->calls++;
    if (method == NULL || method->fn != do_resources_put) {
        put_group_flush(auth);
    }
    if (method == NULL) {
        err = err_set(&error, TP_NOT_FOUND, "there is no such method");
    } else {
        err = check_who(method, caller, &error);
    }
    if (err == TP_OK && method->limited && caller->who == WHO_ANONYMOUS) {
        err = lockout_rate(auth->lockout, caller->ip, clock_mono_ms(), &error);
    }
    if (err == TP_OK) {
        err = check_log(auth, method, &error);
    }
    if (err != TP_OK) {
        reply(ctx, NULL, &error);
        caller_free(caller);
        return;
    }
    struct call *call = mem_alloc(sizeof *call);
    call->auth = auth;
    call->method = method;
    call->caller = *caller;
    caller_init(caller);
    call->params = params != NULL ? json_incref(params) : json_object();
    call->reply = reply;
    call->reply_ctx = ctx;
    err = check_right(call, &error);
    if (err != TP_OK) {
        log_info("call refused", "method=%s user=\"%s\"", method->name,
                 call->caller.user != NULL ? call->caller.user : "");
        call_fail(call, &error);
        return;
    }
    if (method->right == RIGHT_REPORT) {
        hosts_report(call);
    } else {
        method->fn(call);
    }
}

static void rpc_answer(void *ctx, json_t *result, const struct tp_error *error)
{
    struct rpc_call *call = ctx;
    if (error != NULL) {
        rpc_fail(call, error);
    } else {
        rpc_reply(call, result);
    }
}

void dispatch_request(struct link *link, struct rpc_call *rpc_call, const char *method, json_t *params, json_t *json)
{
    struct caller caller;
    struct tp_error error = {0};
    if (link->auth->stopping) {
        rpc_fail_text(rpc_call, TP_UNAVAILABLE, "the auth process is stopping");
        return;
    }
    if (strcmp(method, "resources.put") != 0) {
        put_group_flush(link->auth);
    }
    if (caller_verify(link->auth, link, json, &caller, &error) != TP_OK) {
        rpc_fail(rpc_call, &error);
        return;
    }
    dispatch_call(link->auth, &caller, method, params, rpc_answer, rpc_call);
}

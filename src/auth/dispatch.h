/* Calls: the table of methods says who may call what (methods.c), dispatch.c checks it and ends each call once. */
#ifndef AUTH_DISPATCH_H
#define AUTH_DISPATCH_H

#include "auth/caller.h"
#include "base/err.h"
#include "base/json.h"
#include "core/rpc.h"

struct auth;
struct buf;
struct link;

struct call;
typedef void call_reply_cb(void *ctx, json_t *result, const struct tp_error *error); /* result is the callback's */
typedef void method_fn(struct call *call);

enum method_right {
    RIGHT_NONE,     /* everybody in who */
    RIGHT_SELF,     /* the handler touches only things of the caller */
    RIGHT_REPORT,   /* the same, of a host that puts something on record: at the pace that it has (host_pace.c) */
    RIGHT_RULE,     /* verb on kind by the caller's roles */
    RIGHT_POSSIBLE, /* the same, but a `where` is left for the handler, which filters item by item */
    RIGHT_HANDLER   /* the handler decides: ssh.connect by labels, resources.* by the kind asked for */
};

struct method {
    const char *name;
    unsigned who;
    enum method_right right;
    const char *verb; /* RIGHT_RULE and RIGHT_POSSIBLE, else a word for people */
    const char *kind;
    bool limited; /* anonymous callers are counted by address */
    bool changes; /* refused while the audit log cannot be written */
    method_fn *fn;
};
/* The table; the last row has no name. */
extern const struct method methods[];
const struct method *method_find(const char *name);

struct call {
    struct auth *auth;
    const struct method *method;
    struct caller caller;
    json_t *params;
    call_reply_cb *reply;
    void *reply_ctx;
};

/* Checks the row, the rule and the limits, then calls the handler. caller is taken over; params stay the caller's. */
void dispatch_call(struct auth *auth, struct caller *caller, const char *method, json_t *params, call_reply_cb *reply,
                   void *ctx);
/* A request from a line. */
void dispatch_request(struct link *link, struct rpc_call *rpc_call, const char *method, json_t *params, json_t *caller);
/* The ways to end a call; each frees it. */
void call_reply(struct call *call, json_t *result);
/* The result as the text of a JSON object; it is taken over (buf_free'd). */
void call_reply_text(struct call *call, struct buf *text);
void call_fail(struct call *call, const struct tp_error *error);
void call_fail_text(struct call *call, enum tp_err code, const char *format, ...) TP_PRINTF(3, 4);
/* Replies once the event is durable; fails when it cannot be recorded. Both are stolen. */
void call_reply_audited(struct call *call, json_t *event, json_t *result);
/* The same for what can't be undone: the event is recorded later, when it could not be now. */
void call_reply_kept(struct call *call, json_t *event, json_t *result);
/* A refusal that must be on record: fails with error once the event is durable (or could not be written). */
void call_fail_audited(struct call *call, json_t *event, const struct tp_error *error);
/* TP_OK while the log takes what the call is about, which was so when it came: to be asked again for one that has waited. */
enum tp_err call_check_log(const struct call *call, struct tp_error *error) TP_MUST;
/* May the caller do verb on kind? The local administrator may. */
enum tp_err call_rule(const struct call *call, const char *verb, const char *kind, const struct rbac_context *context,
                      struct tp_error *error) TP_MUST;
/* An event with user and addr.remote of the caller. */
json_t *call_event(const struct call *call, const char *name, bool success) TP_MUST;

#endif

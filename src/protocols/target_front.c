/* See target_front.h. */
#include "protocols/target_front.h"

#include "base/enc.h"
#include "base/log.h"
#include "base/mem.h"
#include "protocols/term_front.h"
#include "tunnel/relay.h"

#include <stdio.h>
#include <string.h>

#define ASK_MS 15000
#define JOIN_MS 3000
#define JOIN_RETRY_MS 50
#define LAST_WORD_MS 500 /* from the cut to the end of both sides, whatever the agent does */
#define RESUME_MAX 200   /* sessions in one call */
#define HOSTS_MAX 8      /* asked for one connection, where several serve the target */

struct target_front {
    struct worker *worker;
    struct peer peer;
    const struct target_kind *kind;
    struct stream *stream; /* the relay's once there is one */
    struct relay *relay;
    uint32_t request;  /* to auth, 0 when none is pending */
    struct rpc *asked; /* by this line; auth may have a newer one by now */
    bool refused;
    enum close_reason lingers; /* it was refused, and the retry timer closes it with this; else CLOSE_NONE */
    char *sid;
    char *host_id;
    json_t *except; /* hosts whose tunnel was gone */
    struct buf grant;
    struct timer *retry; /* until the relay stands; afterwards the end of the last word */
    int64_t join_deadline;
    enum close_reason cut; /* CLOSE_NONE: it still has its right */
    char *cut_text;
    char *user; /* for the log; NULL: no certificate */
    char target[256];
};

struct stream *target_front_stream(const struct target_front *front)
{
    return front->stream;
}

const struct peer *target_front_peer(const struct target_front *front)
{
    return &front->peer;
}

const char *target_front_target(const struct target_front *front)
{
    return front->target;
}

/* The grant is given back. */
static void drop_grant(struct target_front *front, enum close_reason reason, uint64_t rx, uint64_t tx)
{
    if (!front->sid)
        return;
    (void)map_remove(front->worker->sessions, front->sid);
    worker_tell_auth(front->worker, "session.closed",
                     json_pack("{s:s, s:s, s:I, s:I}", "sid", front->sid, "reason", close_name(reason), "rx",
                               (json_int_t)rx, "tx", (json_int_t)tx));
    mem_free(front->sid);
    front->sid = NULL;
}

/* The target as the log has it. */
static char *target_shown(const struct target_front *front)
{
    struct buf name;
    buf_init(&name, sizeof(front->target));
    bool plain = front->kind->hex && dec_hex(front->target, strlen(front->target), &name) == TP_OK;
    char *text = log_value(plain ? buf_text(&name) : front->target);
    buf_free(&name);
    return text;
}

/* For the log: who wanted what, and the session by which the agent's log knows it. */
static char *about(const struct target_front *front)
{
    char *target = target_shown(front);
    char *text = mem_printf(" user=\"%s\" target=\"%s\"%s%s", front->user ? front->user : "", target,
                            front->sid ? " sid=" : "", front->sid ? front->sid : "");
    mem_free(target);
    return text;
}

static void finish(struct target_front *front, enum close_reason reason, const char *detail, uint64_t rx, uint64_t tx)
{
    struct worker *worker = front->worker;
    char *text = about(front);
    /* A line answers all that is pending before it goes, so it is still there; ids on another line are others'. */
    if (front->request)
        rpc_cancel(front->asked, front->request);
    drop_grant(front, reason, rx, tx);
    front->peer.about = text;
    worker_connection_closed(worker, &front->peer, reason, detail, rx, tx);
    mem_free(text);
    timer_free(front->retry);
    buf_free(&front->grant);
    json_decref(front->except);
    mem_free(front->host_id);
    mem_free(front->cut_text);
    mem_free(front->user);
    mem_free(front);
}

/* ---- before the relay ---- */

static void on_data(void *ctx, const uint8_t *data, size_t size)
{
    /* Reading is paused until the relay takes over; what slips through the same turn would be lost, so it ends here. */
    struct target_front *front = ctx;
    (void)data;
    (void)size;
    stream_close(front->stream, CLOSE_PROTOCOL_ERROR);
}

void target_front_closed(struct target_front *front, enum close_reason reason)
{
    finish(front, reason, "", stream_rx(front->stream), stream_tx(front->stream));
}

static void on_close(void *ctx, enum close_reason reason)
{
    target_front_closed(ctx, reason);
}

static const struct stream_events asking_events = {.on_data = on_data, .on_close = on_close};

void target_front_refuse(struct target_front *front, enum close_reason reason, enum tp_err code, const char *sentence)
{
    if (front->refused)
        return; /* it is being told another reason; the first one wins */
    front->refused = true;
    timer_stop(front->retry);
    front->kind->refuse(front, reason, code, sentence);
}

/* ---- the relay ---- */

static void on_relay_done(void *ctx, const struct relay_result *result)
{
    struct target_front *front = ctx;
    bool cut = front->cut != CLOSE_NONE;
    finish(front, cut ? front->cut : result->reason, cut ? "" : result->text, result->rx, result->tx);
}

/* The agent took no stream: what it says about it is for the person. */
static void on_relay_refused(void *ctx, struct stream *stream, enum close_reason reason, const char *text)
{
    const struct target_front *front = ctx;
    front->kind->say(stream, reason, *text ? text : close_text(reason));
}

static const struct relay_events relay_events = {.on_refused = on_relay_refused, .on_done = on_relay_done};

/* An agent that moves to another worker, or has just lost its tunnel, is waited for a little; where others serve the same
 * target, the next one is asked for at once. */
static void join(struct target_front *front)
{
    struct tunnel *tunnel = tunnels_find(front->worker, front->host_id);

    if (stream_is_closing(front->stream))
        return;
    if (tunnel && relay_open(front->stream, tunnel, front->kind->stream, buf_head(&front->grant),
                             buf_size(&front->grant), &relay_events, front, &front->relay) == TP_OK)
        return;
    if (front->kind->several && json_array_size(front->except) < HOSTS_MAX &&
        !json_list_has(front->except, front->host_id)) {
        drop_grant(front, CLOSE_TARGET_OFFLINE, 0, 0);
        (void)json_array_append_new(front->except, json_string(front->host_id));
        target_front_ask(front);
        return;
    }
    if (loop_now_ms(front->worker->loop) < front->join_deadline) {
        timer_start(front->retry, JOIN_RETRY_MS, 0);
        return;
    }
    target_front_refuse(front, CLOSE_TARGET_OFFLINE, TP_UNAVAILABLE, front->kind->offline);
}

static void on_timer(void *ctx)
{
    struct target_front *front = ctx;
    if (front->relay)
        relay_cut(front->relay, front->cut, front->cut_text); /* the last word has been said */
    else if (front->lingers != CLOSE_NONE)
        stream_close_flush(front->stream, front->lingers);
    else
        join(front);
}

void target_front_linger(struct target_front *front, enum close_reason reason)
{
    front->lingers = reason;
    timer_start(front->retry, LAST_WORD_MS, 0);
}

enum close_reason target_front_reason(enum tp_err code)
{
    switch (code) {
    case TP_NOT_FOUND:
    case TP_AMBIGUOUS:
        return CLOSE_TARGET_UNKNOWN;
    case TP_UNAVAILABLE:
        return CLOSE_TARGET_OFFLINE;
    case TP_MFA_NEEDED:
        return CLOSE_MFA_NEEDED;
    case TP_EXPIRED:
        return CLOSE_CERT_EXPIRED;
    case TP_CLOSED:
    case TP_TIMEOUT:
        return CLOSE_AUTH_UNAVAILABLE;
    case TP_NO_SPACE:
    case TP_IO:
        return CLOSE_AUDIT_FAILED;
    default:
        return CLOSE_ACCESS_DENIED;
    }
}

static void on_answer(void *ctx, json_t *result, const struct tp_error *error)
{
    struct target_front *front = ctx;
    const char *sid;
    const char *host_id;
    const char *grant;
    front->request = 0;
    if (stream_is_closing(front->stream))
        return;
    if (error) {
        target_front_refuse(front, target_front_reason(error->code), error->code, error->text);
        return;
    }
    buf_clear(&front->grant);
    if (json_need_text(result, "sid", &sid, NULL) != TP_OK ||
        json_need_text(result, "host_id", &host_id, NULL) != TP_OK ||
        json_need_text(result, "grant", &grant, NULL) != TP_OK ||
        dec_base64(grant, strlen(grant), &front->grant) != TP_OK) {
        target_front_refuse(front, CLOSE_INTERNAL, TP_INTERNAL, "an internal error, see the proxy's log");
        return;
    }
    front->sid = mem_strdup(sid);
    mem_free(front->host_id);
    front->host_id = mem_strdup(host_id);
    (void)map_set(front->worker->sessions, front->sid, front);
    front->join_deadline = loop_now_ms(front->worker->loop) + JOIN_MS;
    join(front);
}

struct target_front *target_front_new(struct worker *worker, struct stream *stream, const struct peer *peer,
                                      const struct target_kind *kind, const char *target)
{
    const struct identity *identity = tls_stream_identity(stream);
    struct target_front *front = mem_alloc(sizeof(*front));
    front->worker = worker;
    front->peer = *peer;
    front->kind = kind;
    front->stream = stream;
    front->user = identity ? mem_strdup(identity->name) : NULL;
    front->except = json_array();
    front->retry = timer_new(worker->loop, on_timer, front);
    buf_init(&front->grant, TUNNEL_HEADER_MAX);
    (void)snprintf(front->target, sizeof(front->target), "%s", target);
    stream_set_events(stream, &asking_events, front);
    stream_pause(stream);
    return front;
}

void target_front_ask(struct target_front *front)
{
    struct worker *worker = front->worker;
    json_t *params;
    if (!worker->auth) {
        target_front_refuse(front, CLOSE_AUTH_UNAVAILABLE, TP_UNAVAILABLE,
                            "the auth service is not available now, try again in a moment");
        return;
    }
    params = json_pack("{s:s, s:i}", "target", front->target, "worker", (int)worker->number);
    if (json_array_size(front->except) > 0)
        (void)json_object_set(params, "except", front->except);
    front->asked = worker->auth;
    front->request = rpc_request(front->asked, front->kind->method, params,
                                 worker_caller("user", front->stream, &front->peer), ASK_MS, on_answer, front);
}

void target_front_cut(struct worker *worker, const char *sid, enum close_reason reason, const char *text)
{
    struct target_front *front = map_get(worker->sessions, sid);
    if (!front)
        return;
    if (front->relay && front->cut == CLOSE_NONE) {
        front->cut = reason;
        front->cut_text = mem_strdup(text);
        relay_hush(front->relay);
        timer_start(front->retry, front->kind->last_word ? LAST_WORD_MS : 0, 0);
    } else if (!front->relay && !stream_is_closing(front->stream)) {
        target_front_refuse(front, reason, TP_DENIED, text && *text ? text : close_text(reason));
    }
}

/* ---- a new line to auth ---- */

struct resume {
    struct worker *worker;
    json_t *list;
};

static void send_resume(struct resume *resume, bool last)
{
    worker_tell_auth(resume->worker, "session.resume", json_pack("{s:o, s:b}", "sessions", resume->list, "last", last));
    resume->list = json_array();
}

static void resume_session(void *ctx, const char *sid, const char *service, const char *host_id,
                           const struct buf *bytes)
{
    struct resume *resume = ctx;
    char *grant = enc_base64(buf_head(bytes), buf_size(bytes));
    json_array_append_new(resume->list, json_pack("{s:s, s:s, s:s, s:s}", "sid", sid, "service", service, "host_id",
                                                  host_id, "grant", grant));
    mem_free(grant);
    if (json_array_size(resume->list) >= RESUME_MAX)
        send_resume(resume, false);
}

static void report_one(void *ctx, const char *key, void *value)
{
    const struct term_report *report = ctx;
    const struct target_front *front = value;
    report->fn(report->ctx, key, front->kind->stream, front->host_id, &front->grant);
}

void target_front_each(const struct worker *worker, const struct term_report *report)
{
    map_each(worker->sessions, report_one, (void *)(uintptr_t)report);
}

void target_front_report_all(struct worker *worker)
{
    struct resume resume = {.worker = worker, .list = json_array()};
    const struct term_report report = {.fn = resume_session, .ctx = &resume};
    target_front_each(worker, &report);
    term_front_each(worker, &report);
    send_resume(&resume, true);
    json_decref(resume.list);
}

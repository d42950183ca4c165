/*
 * Events about requests. One for each request, when its answer begins, or when its connection ends before that. No audit, no
 * service: a connection whose event was refused, and an agent that has too many unconfirmed, gives no further service. Before
 * it comes to that, requests wait: clients that ask faster than auth can record get their answers as fast as it can.
 */
#include "agent/kube_priv.h"

#include "base/log.h"
#include "base/mem.h"

#define SHARE_FREE 16 /* so many a person may have though the queue is long with others' */
#define SHARE_MAX ((size_t)512 * 1024)
#define SHARE_LOW (SHARE_MAX / 2)
#define EVENTS_BYTES ((size_t)1024 * 1024) /* in one call, but for one event: requests may have long paths */

/* What one person has in the queue. The way to auth has a rate (auth/host_pace.c), and whoever fills it makes all others wait. */
struct share {
    char *user;
    size_t events;
    size_t bytes;
};

/* One event that auth has not confirmed, in the order in which they were made. */
struct audit_event {
    struct kube_conn *conn; /* NULL: gone */
    struct audit_event *next;
    struct share *share;
    json_t *params;
    size_t size; /* of it as JSON */
};

json_t *kube_audit_fields(const struct kube_conn *conn)
{
    json_t *fields =
        json_pack("{s:s, s:s}", "proto", "kube", "kubernetes_cluster", kube_cluster_conf(conn->cluster)->name);
    if (conn->x.acting != NULL) {
        (void)json_object_update(fields, conn->x.acting);
    } else { /* refused before that was decided: whom he might have acted as */
        (void)json_object_set(fields, "kubernetes_users", json_object_get(conn->grant, "kube_users"));
        (void)json_object_set(fields, "kubernetes_groups", json_object_get(conn->grant, "kube_groups"));
    }
    return fields;
}

static struct share *share_of(struct kube *kube, const char *user)
{
    struct share *share = map_get(kube->shares, user);
    if (share == NULL) {
        share = mem_alloc(sizeof(*share));
        share->user = mem_strdup(user);
        (void)map_set(kube->shares, user, share);
    }
    return share;
}

/* true: there is room for more of his. */
static bool share_less(struct kube *kube, struct share *share, size_t size)
{
    bool low = share->bytes > SHARE_LOW && share->bytes - size <= SHARE_LOW;
    share->bytes -= size;
    if (--share->events == 0) {
        (void)map_remove(kube->shares, share->user);
        mem_free(share->user);
        mem_free(share);
    }
    return low;
}

static void event_free(struct audit_event *event)
{
    json_decref(event->params);
    mem_free(event);
}

/* The oldest ones, as many as went together. */
static void drop_sent(struct kube *kube)
{
    bool wake = false;
    for (; kube->events_sent > 0; kube->events_sent--) {
        struct audit_event *event = kube->events;
        kube->events = event->next;
        kube->events_out--;
        wake = share_less(kube, event->share, event->size) || kube->events_out == KUBE_EVENTS_LOW || wake;
        event_free(event);
    }
    if (wake) {
        kube_conns_wake(kube);
    }
    if (kube->events == NULL) {
        kube->events_last = NULL;
    }
}

static bool is_refused(const json_t *refused, size_t index)
{
    size_t i;
    json_t *one;
    json_array_foreach (refused, i, one) {
        if (json_get_int(one, "index", -1) == (json_int_t)index) {
            return true;
        }
    }
    return false;
}

/* refused: of those that were sent, or NULL for all of them. */
static void fail_sent(const struct kube *kube, const json_t *refused, const char *why)
{
    const struct audit_event *event = kube->events;
    size_t count = 0;
    for (size_t i = 0; i < kube->events_sent; i++, event = event->next) {
        if (refused != NULL && !is_refused(refused, i)) {
            continue;
        }
        count++;
        if (event->conn != NULL) {
            event->conn->audit_failed = true;
        }
    }
    log_error("kubernetes requests can't be recorded", "count=%zu error=\"%s\"", count, why);
}

static void send_events(struct kube *kube);

static void on_reply(void *ctx, json_t *result, const struct tp_error *error)
{
    struct kube *kube = ctx;
    kube->events_call = NULL;
    const json_t *refused = json_object_get(result, "refused");
    if (error != NULL) {
        fail_sent(kube, NULL, error->text);
    } else if (json_array_size(refused) > 0) {
        fail_sent(kube, refused, json_get_text(json_array_get(refused, 0), "why", ""));
    }
    drop_sent(kube);
    if (kube->events != NULL) {
        send_events(kube);
    } else if (kube->line.on_idle != NULL) {
        kube->line.on_idle(kube->line.ctx);
    }
}

/* How many go with the next call: the oldest, and as many as fit. */
static size_t next_batch(const struct kube *kube)
{
    size_t count = 0;
    size_t bytes = 0;
    for (const struct audit_event *event = kube->events; event != NULL && count < RPC_REPORTS_MAX;
         event = event->next) {
        bytes += event->size;
        if (count > 0 && bytes > EVENTS_BYTES) {
            break;
        }
        count++;
    }
    return count;
}

/* One call at a time: what comes meanwhile goes together with the next. Many requests make few calls. */
static void send_events(struct kube *kube)
{
    const struct kube_line *line = &kube->line;
    json_t *list = json_array();
    kube->events_sent = next_batch(kube);
    const struct audit_event *event = kube->events;
    for (size_t i = 0; i < kube->events_sent; i++, event = event->next) {
        if (json_array_append(list, event->params) != 0) {
            (void)json_array_append_new(list, json_null()); /* refused in its own place, and no other in its stead */
        }
    }
    kube->events_call = line->report(line->ctx, "session.events", json_pack("{s:o}", "events", list), on_reply, kube);
}

json_t *kube_audit_event(struct kube_conn *conn, int status)
{
    json_t *fields = kube_audit_fields(conn);
    kube_request_audit(conn, fields);
    if (status != 0) {
        bool success = kube_request_is_session(conn->x.request) ? status == 101 : status < 400;
        (void)json_object_set_new(fields, "response_code", json_integer(status));
        (void)json_object_set_new(fields, "success", json_boolean(success));
    }
    return json_pack("{s:s, s:s, s:o}", "sid", conn->sid, "event", "kube.request", "fields", fields);
}

void kube_audit_request(struct kube_conn *conn, int status)
{
    struct kube *kube = conn->kube;
    if (!kube_request_is_audited(conn)) {
        return;
    }
    struct audit_event *event = mem_alloc(sizeof(*event));
    event->conn = conn;
    event->params = kube_audit_event(conn, status);
    event->size = json_dumpb(event->params, NULL, 0, JSON_COMPACT);
    event->share = share_of(kube, conn->user);
    event->share->events++;
    event->share->bytes += event->size;
    *(kube->events_last != NULL ? &kube->events_last->next : &kube->events) = event;
    kube->events_last = event;
    kube->events_out++;
    if (kube->events_call == NULL) {
        send_events(kube);
    }
}

void kube_audit_unanswered(struct kube_conn *conn)
{
    const struct kube_exchange *x = &conn->x;
    bool went_up = conn->state == KUBE_ANSWER || conn->state == KUBE_SWEEP || x->retried;
    if (went_up && x->status == 0 && !kube_request_is_session(x->request)) { /* these were on record before */
        kube_audit_request(conn, 0);
    }
}

bool kube_audit_is_full(const struct kube_conn *conn)
{
    return conn->audit_failed || conn->kube->events_out >= KUBE_EVENTS_MAX;
}

bool kube_audit_is_busy(const struct kube_conn *conn)
{
    const struct share *share = map_get(conn->kube->shares, conn->user);
    size_t out = conn->kube->events_out;
    return (share != NULL && share->bytes >= SHARE_MAX) || out >= KUBE_EVENTS_MAX / 2 ||
           (share != NULL && share->events >= SHARE_FREE && out >= KUBE_EVENTS_BUSY);
}

void kube_audit_forget(struct kube_conn *conn)
{
    for (struct audit_event *event = conn->kube->events; event != NULL; event = event->next) {
        if (event->conn == conn) {
            event->conn = NULL;
        }
    }
}

void kube_audit_free(struct kube *kube)
{
    if (kube->events_call != NULL) {
        kube->line.cancel(kube->line.ctx, kube->events_call);
    }
    while (kube->events != NULL) {
        struct audit_event *event = kube->events;
        kube->events = event->next;
        (void)share_less(kube, event->share, event->size);
        event_free(event);
    }
}

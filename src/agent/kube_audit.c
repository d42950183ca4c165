/*
 * Events about requests. One for each request, when its answer begins. No audit, no service: a connection whose event was
 * refused, and an agent that has too many unconfirmed, gives no further service. Before it comes to that, requests wait:
 * clients that ask faster than auth can record get their answers as fast as it can.
 */
#include "agent/kube_priv.h"

#include "base/log.h"
#include "base/mem.h"

#define TRIES 3 /* a line that broke may have lost the call, or only its answer */

/* One event on its way. */
struct audit_event {
    struct kube *kube;
    struct kube_conn *conn; /* NULL: gone */
    struct audit_event *next, **prev;
    json_t *params;
    void *call;
    unsigned tries;
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

static void event_free(struct audit_event *event)
{
    *event->prev = event->next;
    if (event->next != NULL) {
        event->next->prev = event->prev;
    }
    event->kube->events_out--;
    if (event->kube->events_out == KUBE_EVENTS_LOW) {
        kube_conns_wake(event->kube);
    }
    json_decref(event->params);
    mem_free(event);
}

static void send_event(struct audit_event *event);

static void on_reply(void *ctx, json_t *result, const struct tp_error *error)
{
    struct audit_event *event = ctx;
    struct kube *kube = event->kube;
    (void)result;
    event->call = NULL;
    if (error != NULL && (error->code == TP_CLOSED || error->code == TP_UNAVAILABLE || error->code == TP_TIMEOUT) &&
        event->tries < TRIES) {
        send_event(event);
        return;
    }
    if (error != NULL) {
        log_error("a kubernetes request can't be recorded", "error=\"%s\"", error->text);
        if (event->conn != NULL) {
            event->conn->audit_failed = true;
        }
    }
    event_free(event);
    if (kube->line.on_idle != NULL) {
        kube->line.on_idle(kube->line.ctx);
    }
}

static void send_event(struct audit_event *event)
{
    const struct kube_line *line = &event->kube->line;
    event->tries++;
    event->call = line->request(line->ctx, "session.event", json_incref(event->params), on_reply, event);
}

json_t *kube_audit_event(struct kube_conn *conn, int status)
{
    json_t *fields = kube_audit_fields(conn);
    kube_request_audit(conn, fields);
    if (status != 0) {
        (void)json_object_set_new(fields, "response_code", json_integer(status));
        (void)json_object_set_new(fields, "success", json_boolean(status < 400));
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
    event->kube = kube;
    event->conn = conn;
    event->params = kube_audit_event(conn, status);
    event->next = kube->events;
    event->prev = &kube->events;
    if (event->next != NULL) {
        event->next->prev = &event->next;
    }
    kube->events = event;
    kube->events_out++;
    send_event(event);
}

bool kube_audit_is_full(const struct kube_conn *conn)
{
    return conn->audit_failed || conn->kube->events_out >= KUBE_EVENTS_MAX;
}

bool kube_audit_is_busy(const struct kube *kube)
{
    return kube->events_out >= KUBE_EVENTS_BUSY;
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
    while (kube->events != NULL) {
        struct audit_event *event = kube->events;
        if (event->call != NULL) {
            kube->line.cancel(kube->line.ctx, event->call);
        }
        event_free(event);
    }
}

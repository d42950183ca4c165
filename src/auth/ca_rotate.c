/*
 * Rotation of a CA: a second set of keys comes in by phases, so that nobody ever meets a certificate that he does not trust.
 *
 *   standby --> init --> update_clients --> update_servers --> standby (the new keys alone)
 *                 \             \                  \
 *                  `-------------`------------------`---> rollback --> standby (the old keys alone)
 *
 * From init on both sets are trusted everywhere. Users' certificates and hosts' client certificates are signed with the new
 * keys from update_clients on, what servers show from update_servers on. Each phase is one write to the store: a crash leaves
 * the old one or the new one. By itself (no --manual) a rotation moves on at each third of its grace period; by hand it does
 * not while hosts would be shut out (ca_hosts.c), unless it is forced.
 */
#include "auth/audit.h"
#include "auth/ca.h"
#include "auth/ca_hosts.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/inner.h"

#include <string.h>

#define GRACE_MS ((int64_t)30 * 3600 * 1000)
#define GRACE_MIN_MS ((int64_t)60 * 1000)
#define GRACE_MAX_MS ((int64_t)30 * 24 * 3600 * 1000)

static const char *const phase_names[] = {"standby", "init", "update_clients", "update_servers", "rollback"};

const char *ca_phase_name(enum ca_phase phase)
{
    return phase_names[phase];
}

enum ca_phase ca_phase_parse(const char *name)
{
    for (int i = CA_STANDBY; i <= CA_ROLLBACK; i++) {
        if (strcmp(phase_names[i], name) == 0) {
            return (enum ca_phase)i;
        }
    }
    return CA_PHASE_COUNT;
}

static bool may_follow(enum ca_phase from, enum ca_phase to)
{
    switch (to) {
    case CA_INIT:
        return from == CA_STANDBY;
    case CA_UPDATE_CLIENTS:
        return from == CA_INIT;
    case CA_UPDATE_SERVERS:
        return from == CA_UPDATE_CLIENTS;
    case CA_STANDBY:
        return from == CA_UPDATE_SERVERS || from == CA_ROLLBACK;
    case CA_ROLLBACK:
        return from == CA_INIT || from == CA_UPDATE_CLIENTS || from == CA_UPDATE_SERVERS;
    default:
        return false;
    }
}

static enum tp_err refuse_order(const struct ca *ca, enum ca_kind kind, enum ca_phase to, struct tp_error *error)
{
    return err_set(error, TP_CONFLICT, "the %s CA is in the phase %s; %s can't follow it", ca_name(kind),
                   phase_names[ca->phase], phase_names[to]);
}

/* The document of the next phase; the keys move between its two sets. */
static enum tp_err next_doc(struct auth *auth, enum ca_kind kind, enum ca_phase to, json_t *doc, struct tp_error *error)
{
    const struct ca *ca = &auth->ca[kind];
    if (!may_follow(ca->phase, to)) {
        return refuse_order(ca, kind, to, error);
    }
    json_t *rotation = json_pack("{s:s, s:o, s:I, s:b}", "phase", phase_names[to], "changed", doc_time(clock_wall_ms()),
                                 "grace", (json_int_t)ca->grace_ms, "automatic", ca->automatic);
    const json_t *old = json_object_get(doc, "rotation");
    const json_t *started = json_object_get(old, "started");
    json_object_set_new(rotation, "started",
                        to == CA_INIT || started == NULL ? doc_time(clock_wall_ms()) : json_deep_copy(started));
    /* Whoever holds a certificate of before this second asks for another: only where what is signed with changes. */
    int64_t since = json_get_int(old, "since", 0);
    if (to != CA_INIT && to != CA_STANDBY) {
        since = clock_wall() > since ? clock_wall() : since + 1; /* never before a certificate of issue_host_time */
    }
    json_object_set_new(rotation, "since", json_integer(since));
    json_object_set_new(doc, "rotation", rotation);
    if (to == CA_INIT) {
        json_object_set_new(doc, "fresh", ca_make_keys(auth, kind));
    } else if (to == CA_STANDBY) {
        json_t *fresh = json_incref(json_object_get(doc, "fresh"));
        (void)json_object_del(doc, "fresh");
        if (ca->phase == CA_UPDATE_SERVERS) {
            json_object_update(doc, fresh);
        }
        json_decref(fresh);
    }
    return TP_OK;
}

/* One step. The store first: what is not there has not happened. */
static enum tp_err step(struct auth *auth, enum ca_kind kind, enum ca_phase to, struct tp_error *error)
{
    json_t *doc = NULL;
    uint64_t revision = 0;
    enum tp_err err = doc_find(auth->secrets, "/ca/", ca_name(kind), &doc, &revision, error);
    if (err == TP_OK) {
        err = next_doc(auth, kind, to, doc, error);
    }
    if (err == TP_OK) {
        err = doc_put(auth->secrets, "/ca/", ca_name(kind), doc, revision, NULL, error);
    }
    json_decref(doc);
    if (err == TP_OK) {
        err = ca_reload(auth, kind, error);
    }
    if (err == TP_OK) {
        log_info("certificate authority rotated", "type=%s phase=%s", ca_name(kind), phase_names[to]);
        auth_tell_workers(auth, "ca.changed", json_pack("{s:s}", "type", ca_name(kind)));
    }
    return err;
}

static json_t *rotate_event(struct auth *auth, json_t *event, enum ca_kind kind)
{
    json_object_set_new(event, "type", json_string(ca_name(kind)));
    json_object_set_new(event, "phase", json_string(phase_names[auth->ca[kind].phase]));
    json_object_set_new(event, "mode", json_string(auth->ca[kind].automatic ? "auto" : "manual"));
    return event;
}

/* Hosts that a step leaves behind stand in the log and in its event; NULL: there are none. */
static json_t *hosts_left(const struct auth *auth, enum ca_kind kind, enum ca_phase to)
{
    struct tp_error said = {0};
    if (ca_hosts_ready(auth, kind, to, &said) == TP_OK) {
        return NULL;
    }
    json_t *hosts = ca_hosts(auth);
    char *names = ca_hosts_said(hosts);
    log_warn("hosts are left behind by a rotation", "type=%s phase=%s hosts=\"%s\"", ca_name(kind), phase_names[to],
             names);
    mem_free(names);
    return hosts;
}

void ca_tick(struct auth *auth)
{
    int64_t now_ms = clock_wall_ms();
    for (int kind = 0; kind < CA_KIND_COUNT; kind++) {
        const struct ca *ca = &auth->ca[kind];
        int64_t passed = now_ms - ca->started_ms;
        enum ca_phase to = ca->phase;
        if (ca->automatic && ca->phase == CA_INIT && passed >= ca->grace_ms / 3) {
            to = CA_UPDATE_CLIENTS;
        } else if (ca->automatic && ca->phase == CA_UPDATE_CLIENTS && passed >= ca->grace_ms / 3 * 2) {
            to = CA_UPDATE_SERVERS;
        } else if (ca->automatic && ca->phase == CA_UPDATE_SERVERS && passed >= ca->grace_ms) {
            to = CA_STANDBY;
        }
        struct tp_error error = {0};
        if (to == ca->phase) {
            continue;
        }
        json_t *left = hosts_left(auth, (enum ca_kind)kind, to);
        if (step(auth, (enum ca_kind)kind, to, &error) != TP_OK) {
            log_error("certificate authority not rotated", "type=%s error=\"%s\"", ca_name((enum ca_kind)kind),
                      error.text);
            json_decref(left);
            continue;
        }
        json_t *event = event_new("cert_authority.rotate", true, auth->settings.cluster);
        if (left != NULL) {
            json_object_set_new(event, "hosts_left", left);
        }
        audit_emit(auth, rotate_event(auth, event, (enum ca_kind)kind), NULL, NULL);
    }
}

static enum tp_err read_params(const struct call *call, enum ca_kind *ret_kind, enum ca_phase *ret_phase,
                               int64_t *ret_grace_ms, struct tp_error *error)
{
    const char *type = json_get_text(call->params, "type", "");
    const char *phase = json_get_text(call->params, "phase", "");
    bool manual = json_get_bool(call->params, "manual", false);
    int kind = 0;
    while (kind < CA_KIND_COUNT && strcmp(ca_name((enum ca_kind)kind), type) != 0) {
        kind++;
    }
    if (kind == CA_KIND_COUNT) {
        return err_set(error, TP_INVALID, "which CA? Give --type=user, host, app or db");
    }
    *ret_kind = (enum ca_kind)kind;
    *ret_grace_ms = json_get_int(call->params, "grace_period", GRACE_MS);
    if (*ret_grace_ms < GRACE_MIN_MS || *ret_grace_ms > GRACE_MAX_MS) {
        return err_set(error, TP_INVALID, "the grace period must be between a minute and 30 days");
    }
    if (manual && phase[0] == '\0') {
        return err_set(error, TP_INVALID,
                       "a manual rotation needs its phase: --phase=init, update_clients, update_servers, standby or "
                       "rollback");
    }
    *ret_phase = phase[0] == '\0' ? CA_INIT : ca_phase_parse(phase);
    if (*ret_phase == CA_PHASE_COUNT) {
        return err_set(error, TP_INVALID, "\"%s\" is no phase: init, update_clients, update_servers, standby, rollback",
                       phase);
    }
    if (!manual && *ret_phase != CA_INIT && *ret_phase != CA_ROLLBACK) {
        return err_set(error, TP_INVALID, "this phase comes by itself; --manual sets it by hand");
    }
    return TP_OK;
}

/* The step that was asked for. ret_left: the hosts that it leaves behind, or NULL. */
static enum tp_err rotate(const struct call *call, enum ca_kind kind, enum ca_phase phase, int64_t grace_ms,
                          json_t **ret_left, struct tp_error *error)
{
    struct auth *auth = call->auth;
    struct ca *ca = &auth->ca[kind];
    bool was = ca->automatic;
    int64_t old = ca->grace_ms;
    if (!may_follow(ca->phase, phase)) {
        return refuse_order(ca, kind, phase, error);
    }
    if (!json_get_bool(call->params, "force", false)) {
        enum tp_err ready = ca_hosts_ready(auth, kind, phase, error);
        if (ready != TP_OK) {
            return ready;
        }
    }
    *ret_left = hosts_left(auth, kind, phase);
    ca->automatic = !json_get_bool(call->params, "manual", false) && phase == CA_INIT;
    ca->grace_ms = grace_ms;
    enum tp_err err = step(auth, kind, phase, error);
    if (err != TP_OK) {
        ca->automatic = was;
        ca->grace_ms = old;
    }
    return err;
}

void do_ca_rotate(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    enum ca_kind kind = CA_USER;
    enum ca_phase phase = CA_INIT;
    int64_t grace_ms = GRACE_MS;
    json_t *left = NULL;
    enum tp_err err = read_params(call, &kind, &phase, &grace_ms, &error);
    if (err == TP_OK) {
        err = rotate(call, kind, phase, grace_ms, &left, &error);
    }
    if (err != TP_OK) {
        json_decref(left);
        call_fail(call, &error);
        return;
    }
    json_t *result = json_pack("{s:s, s:s}", "type", ca_name(kind), "phase", phase_names[phase]);
    json_t *event = rotate_event(auth, call_event(call, "cert_authority.rotate", true), kind);
    if (ca_moves_hosts(auth, kind)) {
        json_object_set_new(result, "hosts", ca_hosts(auth));
    }
    if (left != NULL) {
        json_object_set(event, "hosts_left", left);
        json_object_set_new(result, "hosts_left", left);
    }
    call_reply_audited(call, event, result);
}

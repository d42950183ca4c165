/* What hosts and workers report about live sessions. */
#include "auth/audit.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/kube.h"
#include "auth/live.h"
#include "auth/recording.h"

#include <string.h>

#define OPEN_CHANNELS_MAX 256 /* of one connection; agents allow fewer, but they are not trusted (R15) */
#define PARK_MS 35000 /* a little longer than the node waits for a person to come back (docs/protocol-terminal.md) */
#define LOGIN_MAX 256
#define COMMAND_MAX 60000 /* more would not fit into its event */

void do_session_closed(struct call *call)
{
    struct auth *auth = call->auth;
    const char *sid = json_get_text(call->params, "sid", "");
    struct live *live = map_get(auth->live, sid);
    if (live == NULL || live->worker != call->caller.worker) {
        call_fail_text(call, TP_NOT_FOUND, "there is no such session on this worker");
        return;
    }
    /* A terminal that has come back by another connection does not end with the old one. */
    if (live->closed || strcmp(live->attach, json_get_text(call->params, "attach", live->attach)) != 0) {
        call_reply(call, NULL);
        return;
    }
    if (json_get_bool(call->params, "parked", false) && !live->cut) {
        live->parked_ms = clock_wall_ms() + PARK_MS;
        live->dirty = true;
        call_reply(call, NULL);
        return;
    }
    sessions_close(live);
    json_t *event = event_new("session.data", true, auth->settings.cluster);
    json_object_set_new(event, "user", json_string(live->user));
    json_object_set_new(event, "sid", json_string(live->sid));
    json_object_set_new(event, "server_id", json_string(live->host_id));
    json_object_set_new(event, "addr.remote", json_string(live->client_addr));
    json_object_set_new(event, "reason", json_string(json_get_text(call->params, "reason", "")));
    json_object_set_new(event, "rx", json_integer(json_get_int(call->params, "rx", 0)));
    json_object_set_new(event, "tx", json_integer(json_get_int(call->params, "tx", 0)));
    audit_emit_soon(auth, event, NULL, NULL);
    call_reply(call, NULL);
}

/* Members that every event of a session has. */
static json_t *session_event(const struct call *call, const struct live *live, const char *name, bool success,
                             const char *login)
{
    struct auth *auth = call->auth;
    const struct host *host = hosts_get(auth, live->host_id);
    json_t *event = event_new(name, success, auth->settings.cluster);
    json_object_set_new(event, "user", json_string(live->user));
    json_object_set_new(event, "login", json_string(login));
    json_object_set_new(event, "sid", json_string(live->sid));
    json_object_set_new(event, "namespace", json_string("default"));
    json_object_set_new(event, "proto", json_string(sessions_proto(live)));
    json_object_set_new(event, "server_id", json_string(live->host_id));
    json_object_set_new(event, "server_hostname", json_string(host != NULL ? host->name : ""));
    json_object_set_new(event, "addr.remote", json_string(live->client_addr));
    kube_event_cluster(live, event);
    return event;
}

/* Until somebody has signed in, a grant is for any login that he had when he came; from now on it is for this one, which may
 * have been taken from him since. False: it was, and the session is cut. */
static bool pin_login(struct auth *auth, struct live *live, const char *login)
{
    if (live->pinned_login != NULL) {
        return true;
    }
    live->pinned_login = mem_strdup(login);
    live->dirty = true;
    return sessions_recheck_one(auth, live);
}

/* One call's reports. Its answer comes when the log has answered for each of them. */
struct reports {
    struct call *call;
    bool single; /* it is not a list */
    size_t count;
    size_t waiting; /* for the log, and one for the call itself while it is read */
    json_t *refused;
    struct tp_error error; /* of the last one that was refused */
    bool unheard;          /* a worker has yet to name one of the sessions: all is to be said again */
};

struct report_wait {
    struct reports *reports;
    size_t index;
    bool kept; /* what could not be written now is written later */
    char uid[UUID_TEXT_SIZE];
    struct report_wait *again; /* the same was said again meanwhile, and waits for the same answer */
};

static struct reports *reports_begin(struct call *call, bool single, size_t count)
{
    struct reports *reports = mem_alloc(sizeof *reports);
    *reports = (struct reports){.call = call, .single = single, .count = count, .waiting = 1, .refused = json_array()};
    return reports;
}

static void refuse_report(struct reports *reports, size_t index, const struct tp_error *error)
{
    json_t *one = json_pack("{s:I}", "index", (json_int_t)index);
    json_object_set_new(one, "why", json_string(error->text));
    json_array_append_new(reports->refused, one);
    if (!reports->unheard) {
        reports->error = *error;
    }
}

static void reports_settle(struct reports *reports)
{
    if (--reports->waiting > 0) {
        return;
    }
    bool none = reports->count > 0 && json_array_size(reports->refused) == reports->count;
    if (none || reports->unheard) {
        json_decref(reports->refused);
        call_fail(reports->call, &reports->error);
    } else if (reports->single) {
        json_decref(reports->refused);
        call_reply(reports->call, NULL);
    } else {
        call_reply(reports->call, json_pack("{s:o}", "refused", reports->refused));
    }
    mem_free(reports);
}

static void answer_reports(struct report_wait *wait, const struct tp_error *error)
{
    while (wait != NULL) {
        struct report_wait *next = wait->again;
        if (error != NULL) {
            refuse_report(wait->reports, wait->index, error);
        }
        reports_settle(wait->reports);
        mem_free(wait);
        wait = next;
    }
}

static void on_report_kept(void *ctx, const struct tp_error *error)
{
    struct report_wait *wait = ctx;
    const struct call *call = wait->reports->call;
    (void)map_remove(call->auth->reports, wait->uid);
    if (error == NULL || wait->kept) {
        host_heard_written(call->auth, call->caller.host_id, wait->uid);
    }
    answer_reports(wait, error);
}

/* What came of what session.start has let begin. It has happened, and as that it ends it may be said whatever the disk has left: once
 * for each, or a host could fill it so. */
static bool says_an_end(const struct live *live, const json_t *event)
{
    const char *name = json_get_text(event, "event", "");
    bool end = strcmp(name, "exec") == 0 || (strcmp(name, "port") == 0 && strcmp(live->service, "kube") == 0);
    return end && live->ends_told < live->channels;
}

/* A host may have let very many begin before, and could say as much of the end of each as an event holds. */
static bool may_say_ends(struct auth *auth, const struct live *live)
{
    struct tp_error ignored = {0};
    struct host *host = hosts_get(auth, live->host_id);
    bool takes_all = audit_ready(auth, &ignored) == TP_OK && audit_room(auth, &ignored) == TP_OK;
    if (host != NULL && takes_all) {
        host->ends_bytes = 0;
    }
    return host != NULL && host->ends_bytes < HOST_ENDS_BYTES;
}

static void count_end(struct auth *auth, struct live *live, uint64_t written_before)
{
    struct host *host = hosts_get(auth, live->host_id);
    live->ends_told++;
    if (host != NULL) {
        host->ends_bytes += (int64_t)(audit_written(auth) - written_before);
    }
}

static void write_report(struct report_wait *wait, struct live *live, json_t *event)
{
    struct auth *auth = wait->reports->call->auth;
    struct tp_error error = {0};
    uint64_t before = audit_written(auth);
    wait->kept = says_an_end(live, event) && may_say_ends(auth, live);
    if (!wait->kept && audit_room(auth, &error) != TP_OK) {
        json_decref(event);
        answer_reports(wait, &error);
        return;
    }
    (void)map_set(auth->reports, wait->uid, wait);
    if (wait->kept) {
        audit_emit_kept(auth, event, on_report_kept, wait);
        count_end(auth, live, before);
    } else if (wait->reports->single) {
        audit_emit(auth, event, on_report_kept, wait);
    } else {
        audit_emit_soon(auth, event, on_report_kept, wait);
    }
}

/* event (stolen) is what report says of live. */
static void put_on_record(struct reports *reports, size_t index, const json_t *report, struct live *live, json_t *event)
{
    struct tp_error error = {0};
    if (host_heard(reports->call, index, report, event)) {
        json_decref(event);
        if (audit_ready(reports->call->auth, &error) != TP_OK) { /* it may be what is written later */
            refuse_report(reports, index, &error);
        }
        return;
    }
    struct report_wait *wait = mem_alloc(sizeof *wait);
    *wait = (struct report_wait){.reports = reports, .index = index};
    snprintf(wait->uid, sizeof wait->uid, "%s", json_get_text(event, "uid", ""));
    reports->waiting++;
    struct report_wait *first = map_get(reports->call->auth->reports, wait->uid);
    if (first == NULL) {
        write_report(wait, live, event);
    } else {
        wait->again = first->again;
        first->again = wait;
        json_decref(event);
    }
}

void do_session_auth(struct call *call)
{
    struct tp_error error = {0};
    struct live *live = NULL;
    const char *login = json_get_text(call->params, "login", "");
    bool ok = json_get_bool(call->params, "ok", false);
    if (sessions_of_host(call->auth, json_get_text(call->params, "sid", ""), call->caller.host_id, &live, &error) !=
        TP_OK) {
        call_fail(call, &error);
        return;
    }
    if (strlen(login) > LOGIN_MAX) {
        call_fail_text(call, TP_INVALID, "the login is too long");
        return;
    }
    if (ok && !pin_login(call->auth, live, login)) {
        call_fail_text(call, TP_DENIED, "%s", live->cut_text != NULL ? live->cut_text : "this session has been ended");
        return;
    }
    if (ok) {
        call_reply(call, NULL); /* the access itself is on record since session.connect */
        return;
    }
    json_t *event = session_event(call, live, "auth", false, login);
    json_object_set_new(event, "error", json_string(json_get_text(call->params, "error", "refused")));
    struct reports *reports = reports_begin(call, true, 1);
    put_on_record(reports, 0, call->params, live, event);
    reports_settle(reports);
}

void do_session_start(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    struct live *live = NULL;
    const char *login = NULL;
    enum tp_err err =
        sessions_of_host(auth, json_get_text(call->params, "sid", ""), call->caller.host_id, &live, &error);
    if (err == TP_OK) {
        err = json_need_text(call->params, "login", &login, &error);
    }
    if (err == TP_OK && (live->cut || (live->closed && live->closed_ms == 0))) {
        err = err_set(&error, TP_DENIED, "this session has been ended");
    }
    if (err == TP_OK) {
        err = sessions_may_start(auth, live, &error);
    }
    if (err == TP_OK && (strlen(login) > LOGIN_MAX || strlen(json_get_text(call->params, "kind", "")) > LOGIN_MAX ||
                         strlen(json_get_text(call->params, "command", "")) > COMMAND_MAX)) {
        err = err_set(&error, TP_TOO_LARGE, "the login or the command is too long to be put on record");
    }
    if (err == TP_OK && live->open_channels >= OPEN_CHANNELS_MAX) {
        err = err_set(&error, TP_LIMIT, "this connection has %d open channels; close one first", OPEN_CHANNELS_MAX);
    }
    if (err == TP_OK && !pin_login(auth, live, login)) {
        err = err_set(&error, TP_DENIED, "%s", live->cut_text != NULL ? live->cut_text : "this session has been ended");
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    char id[UUID_TEXT_SIZE];
    if (live->channels == 0) {
        snprintf(id, sizeof id, "%s", live->sid);
    } else {
        crypt_uuid(id);
    }
    live->channels++;
    live->open_channels++;
    live->dirty = true;
    (void)recordings_begin(auth, live, call, id);
    json_t *event = session_event(call, live, "session.start", true, login);
    json_object_set_new(event, "sid", json_string(id));
    json_object_set_new(event, "size", json_string(json_get_text(call->params, "size", "80:25")));
    json_object_set_new(event, "interactive", json_boolean(json_get_bool(call->params, "interactive", false)));
    json_object_set_new(event, "session_recording", json_string(auth->settings.record ? "node" : "off"));
    if (live->mfa_device != NULL) {
        json_object_set_new(event, "with_mfa", json_string(live->mfa_device));
    }
    kube_session_fields(call->params, event);
    const char *command = json_get_text(call->params, "command", "");
    if (command[0] != '\0') {
        json_object_set_new(event, "initial_command", json_pack("[s]", command));
    }
    call_reply_audited(call, event, json_pack("{s:s}", "id", id));
}

static const char *const host_events[] = {"resize",
                                          "exec",
                                          "subsystem",
                                          "port",
                                          "scp",
                                          "scp.download",
                                          "scp.upload",
                                          "sftp",
                                          "x11-forward",
                                          "session.join",
                                          "session.leave",
                                          "session.resize",
                                          "session.data",
                                          "session.rejected",
                                          "session.command",
                                          "session.disk",
                                          "session.network",
                                          "client.disconnect",
                                          "kube.request",
                                          NULL};

static bool is_host_event(const char *name)
{
    for (size_t i = 0; host_events[i] != NULL; i++) {
        if (strcmp(host_events[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Requests to a cluster sign in nowhere: each says as whom it was made. */
static const char *login_of(const struct live *live, const json_t *fields)
{
    if (live->pinned_login != NULL) {
        return live->pinned_login;
    }
    return strcmp(live->service, "kube") == 0 ? json_get_text(fields, "login", "") : "";
}

/* What a host says of a session of its own (report: sid, event, fields) as an event; NULL: it is on record already. */
static enum tp_err event_of(const struct call *call, const json_t *report, struct live **ret_live, json_t **ret_event,
                            struct tp_error *error)
{
    struct auth *auth = call->auth;
    const char *sid = json_get_text(report, "sid", "");
    const char *name = json_get_text(report, "event", "");
    json_t *fields = json_object_get(report, "fields");
    struct live *live = NULL;
    struct recording *recording = NULL;
    *ret_event = NULL;
    if (!is_host_event(name)) {
        return err_set(error, TP_DENIED, "a host may not report this event");
    }
    if (recordings_of_host(auth, sid, call->caller.host_id, &recording, error) == TP_OK) {
        live = map_get(auth->live, json_get_text(recording->meta, "sid", ""));
    }
    if (live == NULL && sessions_of_host(auth, sid, call->caller.host_id, &live, error) != TP_OK) {
        return error->code;
    }
    if (strcmp(name, "kube.request") == 0 && strcmp(live->service, "kube") != 0) {
        return err_set(error, TP_DENIED, "this session is not one of Kubernetes");
    }
    if (live->cut && strcmp(name, "client.disconnect") == 0) {
        return TP_OK; /* our own order, on record since it was given */
    }
    bool success = json_get_bool(fields, "success", json_get_text(fields, "error", NULL) == NULL);
    json_t *event = session_event(call, live, name, success, login_of(live, fields));
    json_object_set_new(event, "sid", json_string(sid));
    const char *key;
    json_t *value;
    json_object_foreach (fields, key, value) {
        if (json_object_get(event, key) == NULL) { /* what we know ourselves cannot be overwritten */
            json_object_set(event, key, value);
        }
    }
    if (recording != NULL) {
        recording->touched_ms = clock_wall_ms();
    }
    *ret_live = live;
    *ret_event = event;
    return TP_OK;
}

static void take_report(struct reports *reports, size_t index, const json_t *report)
{
    struct tp_error error = {0};
    struct live *live = NULL;
    json_t *event = NULL;
    if (event_of(reports->call, report, &live, &event, &error) != TP_OK) {
        refuse_report(reports, index, &error);
        reports->unheard |= error.code == TP_UNAVAILABLE;
    } else if (event != NULL) {
        put_on_record(reports, index, report, live, event);
    }
}

void do_session_event(struct call *call)
{
    struct reports *reports = reports_begin(call, true, 1);
    take_report(reports, 0, call->params);
    reports_settle(reports);
}

void do_session_events(struct call *call)
{
    const json_t *list = json_object_get(call->params, "events");
    size_t i;
    json_t *report;
    if (!json_is_array(list) || json_array_size(list) > RPC_REPORTS_MAX) {
        call_fail_text(call, TP_INVALID, "\"events\" must be a list of at most %zu", RPC_REPORTS_MAX);
        return;
    }
    struct reports *reports = reports_begin(call, false, json_array_size(list));
    json_array_foreach (list, i, report) {
        take_report(reports, i, report);
    }
    reports_settle(reports);
}

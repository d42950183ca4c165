/* Live sessions: what was granted and is still in use. A change of roles, users, locks or labels decides each of them
 * anew, and those that lost their right are cut. */
#include "auth/recording.h"

#include <string.h>

#define LATE_MS ((int64_t)10 * 60 * 1000) /* how long a host may still report on a session whose relay is gone */
#define OPEN_CHANNELS_MAX 256             /* of one connection; agents allow fewer, but they are not trusted (R15) */
#define LOGIN_MAX 256
#define COMMAND_MAX 60000 /* more would not fit into its event */

static void live_destroy(struct live *live)
{
    if (live != NULL) {
        mem_free(live->user);
        json_decref(live->roles);
        json_decref(live->traits);
        mem_free(live->host_id);
        mem_free(live->client_addr);
        mem_free(live->pinned_login);
        mem_free(live);
    }
}

struct live *sessions_add(struct auth *auth, const struct call *call, const char *sid, const struct host *host,
                          int worker, bool cut_at_expiry)
{
    struct live *live = mem_alloc(sizeof *live);
    snprintf(live->sid, sizeof live->sid, "%s", sid);
    live->user = mem_strdup(call->caller.user);
    live->roles = json_deep_copy(call->caller.roles);
    live->traits = json_deep_copy(call->caller.traits);
    live->host_id = mem_strdup(host->id);
    live->client_addr = mem_strdup(call->caller.addr);
    live->worker = worker;
    live->started_ms = clock_wall_ms();
    live->not_after = call->caller.not_after;
    live->cut_at_expiry = cut_at_expiry;
    live->dirty = true;
    live_destroy(map_set(auth->live, live->sid, live));
    return live;
}

static bool load_live(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct auth *auth = ctx;
    (void)revision;
    if (strlen(name) >= UUID_TEXT_SIZE) {
        return true;
    }
    struct live *live = mem_alloc(sizeof *live);
    snprintf(live->sid, sizeof live->sid, "%s", name);
    live->user = mem_strdup(json_get_text(doc, "user", ""));
    live->roles = json_deep_copy(json_object_get(doc, "roles"));
    live->traits = json_deep_copy(json_object_get(doc, "traits"));
    live->host_id = mem_strdup(json_get_text(doc, "host_id", ""));
    live->client_addr = mem_strdup(json_get_text(doc, "addr", ""));
    const char *login = json_get_text(doc, "login", "");
    live->pinned_login = login[0] != '\0' ? mem_strdup(login) : NULL;
    live->worker = (int)json_get_int(doc, "worker", -1);
    live->started_ms = doc_ms(doc, "started");
    live->not_after = json_get_int(doc, "not_after", 0);
    live->cut_at_expiry = json_get_bool(doc, "cut_at_expiry", false);
    live->channels = (unsigned)json_get_int(doc, "channels", 0);
    live->stored = true;
    live_destroy(map_set(auth->live, live->sid, live));
    return true;
}

enum tp_err sessions_load(struct auth *auth, struct tp_error *error)
{
    return doc_each(auth->state, "/live/", NULL, load_live, auth, error);
}

static void destroy_each(void *ctx, const char *key, void *value)
{
    (void)ctx;
    (void)key;
    live_destroy(value);
}

void sessions_free(struct auth *auth)
{
    map_each(auth->live, destroy_each, NULL);
    map_free(auth->live);
}

enum tp_err sessions_of_host(struct auth *auth, const char *sid, const char *host_id, struct live **ret_live,
                             struct tp_error *error)
{
    struct live *live = map_get(auth->live, sid);
    if (live == NULL || host_id == NULL || strcmp(live->host_id, host_id) != 0) {
        return err_set(error, TP_NOT_FOUND, "there is no such session on this host");
    }
    *ret_live = live;
    return TP_OK;
}

static void cut(struct auth *auth, struct live *live, enum close_reason reason, const char *text)
{
    if (live->cut || live->closed) {
        return;
    }
    live->cut = true;
    live->cut_reason = reason;
    log_info("session cut", "sid=%s user=\"%s\" reason=%s", live->sid, live->user, close_name(reason));
    auth_tell_worker(auth, live->worker, "session.cut",
                     json_pack("{s:s, s:s, s:s}", "sid", live->sid, "reason", close_name(reason), "text", text));
    json_t *event = event_new("client.disconnect", true, auth->settings.cluster);
    json_object_set_new(event, "user", json_string(live->user));
    json_object_set_new(event, "sid", json_string(live->sid));
    json_object_set_new(event, "server_id", json_string(live->host_id));
    json_object_set_new(event, "reason", json_string(text));
    audit_emit(auth, event, NULL, NULL);
}

/* Has it still the right? ret_reason and error say what is gone. */
static enum tp_err decide(struct auth *auth, const struct live *live, enum close_reason *ret_reason,
                          struct tp_error *error)
{
    struct caller caller;
    caller_init(&caller);
    *ret_reason = CLOSE_LOCKED;
    const struct host *host = hosts_get(auth, live->host_id);
    enum tp_err err = caller_become_user(auth, live->user, live->roles, live->traits, &caller, error);
    if (err == TP_OK) {
        err = caller_locked(auth, NULL, NULL, live->host_id, error);
    }
    if (err == TP_OK && live->pinned_login != NULL && caller_login_locked(auth, live->pinned_login)) {
        err = err_set(error, TP_DENIED, "a lock is in force on this login");
    }
    if (err == TP_OK) {
        *ret_reason = CLOSE_RIGHT_LOST;
        struct rbac_target target;
        struct rbac_label *labels = NULL;
        bool kept = false;
        if (host != NULL) {
            struct rbac_access access = {.cluster_mfa = auth->settings.cluster_options.require_session_mfa};
            size_t count = 0;
            hosts_target(host, &target, &labels);
            struct rbac_login *logins = rbac_logins(caller.set, &target, &access, &count);
            for (size_t i = 0; i < count && !kept; i++) {
                kept = live->pinned_login == NULL || strcmp(live->pinned_login, logins[i].name) == 0;
            }
            mem_free(logins);
            mem_free(labels);
        }
        if (!kept) {
            err = err_set(error, TP_DENIED, "a change of roles took the right to this session away");
        }
    }
    caller_free(&caller);
    return err;
}

static void recheck_one(void *ctx, const char *key, void *value)
{
    struct auth *auth = ctx;
    struct live *live = value;
    enum close_reason reason = CLOSE_RIGHT_LOST;
    struct tp_error error = {0};
    (void)key;
    if (!live->cut && !live->closed && decide(auth, live, &reason, &error) != TP_OK) {
        cut(auth, live, reason, error.text);
    }
}

void sessions_recheck(struct auth *auth)
{
    map_each(auth->live, recheck_one, auth);
}

struct of_host {
    struct auth *auth;
    const char *host_id;
};

static void recheck_if_host(void *ctx, const char *key, void *value)
{
    const struct of_host *of = ctx;
    const struct live *live = value;
    if (strcmp(live->host_id, of->host_id) == 0) {
        recheck_one(of->auth, key, value);
    }
}

void sessions_recheck_host(struct auth *auth, const char *host_id)
{
    map_each(auth->live, recheck_if_host, &(struct of_host){auth, host_id});
}

struct of_user {
    const char *user;
    size_t count;
};

static void count_if_user(void *ctx, const char *key, void *value)
{
    struct of_user *of = ctx;
    const struct live *live = value;
    (void)key;
    of->count += !live->closed && !live->cut && strcmp(live->user, of->user) == 0;
}

size_t sessions_count_user(struct auth *auth, const char *user)
{
    struct of_user of = {.user = user};
    map_each(auth->live, count_if_user, &of);
    return of.count;
}

struct cut_user {
    struct auth *auth;
    const char *user;
    enum close_reason reason;
    const char *text;
};

static void cut_if_user(void *ctx, const char *key, void *value)
{
    struct cut_user *all = ctx;
    struct live *live = value;
    (void)key;
    if (strcmp(live->user, all->user) == 0) {
        cut(all->auth, live, all->reason, all->text);
    }
}

void sessions_cut_user(struct auth *auth, const char *user, enum close_reason reason, const char *text)
{
    map_each(auth->live, cut_if_user, &(struct cut_user){auth, user, reason, text});
}

static void close_worker(void *ctx, const char *key, void *value)
{
    const int *worker = ctx;
    struct live *live = value;
    (void)key;
    if (live->worker == *worker && !live->closed) {
        live->closed = true;
        live->closed_ms = clock_wall_ms();
    }
}

void sessions_worker_gone(struct auth *auth, int worker)
{
    map_each(auth->live, close_worker, &worker);
}

struct came {
    struct auth *auth;
    int worker;
};

static void tell_cut(void *ctx, const char *key, void *value)
{
    const struct came *came = ctx;
    struct live *live = value;
    if (live->worker != came->worker || live->closed) {
        return;
    }
    if (live->cut) {
        auth_tell_worker(came->auth, live->worker, "session.cut",
                         json_pack("{s:s, s:s, s:s}", "sid", live->sid, "reason", close_name(live->cut_reason), "text",
                                   close_text(live->cut_reason)));
    } else {
        recheck_one(came->auth, key, value);
    }
}

void sessions_worker_came(struct auth *auth, int worker)
{
    map_each(auth->live, tell_cut, &(struct came){auth, worker});
}

static void store_live(struct auth *auth, const struct live *live)
{
    json_t *doc = json_pack("{s:s, s:O, s:O, s:s, s:s, s:s, s:i, s:o, s:I, s:b, s:I}", "user", live->user, "roles",
                            live->roles, "traits", live->traits, "host_id", live->host_id, "addr", live->client_addr,
                            "login", live->pinned_login != NULL ? live->pinned_login : "", "worker", live->worker,
                            "started", doc_time(live->started_ms), "not_after", (json_int_t)live->not_after,
                            "cut_at_expiry", live->cut_at_expiry, "channels", (json_int_t)live->channels);
    batch_put(auth, "/live/", live->sid, doc);
    json_decref(doc);
}

static void tick_one(void *ctx, const char *key, void *value)
{
    struct auth *auth = ctx;
    struct live *live = value;
    int64_t now_ms = clock_wall_ms();
    if (live->cut_at_expiry && live->not_after <= now_ms / 1000) {
        cut(auth, live, CLOSE_CERT_EXPIRED, "the certificate has expired");
    }
    /* Those that no worker speaks for (a restart) end with their certificate. */
    bool lost = !live->closed && now_ms / 1000 > live->not_after + 24 * 3600;
    if (lost || (live->closed && now_ms - live->closed_ms > LATE_MS)) {
        (void)map_remove(auth->live, key);
        if (live->stored) {
            batch_delete(auth, "/live/", live->sid);
        }
        live_destroy(live);
    } else if (live->dirty) {
        live->dirty = false;
        live->stored = true;
        store_live(auth, live);
    }
}

void sessions_tick(struct auth *auth)
{
    map_each(auth->live, tick_one, auth);
}

static void unsave(void *ctx, const char *key, void *value)
{
    struct live *live = value;
    (void)ctx;
    (void)key;
    live->dirty = true;
}

void sessions_unsaved(struct auth *auth)
{
    map_each(auth->live, unsave, NULL);
}

void do_session_closed(struct call *call)
{
    struct auth *auth = call->auth;
    const char *sid = json_get_text(call->params, "sid", "");
    struct live *live = map_get(auth->live, sid);
    if (live == NULL || live->worker != call->caller.worker) {
        call_fail_text(call, TP_NOT_FOUND, "there is no such session on this worker");
        return;
    }
    if (live->closed) {
        call_reply(call, NULL);
        return;
    }
    live->closed = true;
    live->closed_ms = clock_wall_ms();
    json_t *event = event_new("session.data", true, auth->settings.cluster);
    json_object_set_new(event, "user", json_string(live->user));
    json_object_set_new(event, "sid", json_string(live->sid));
    json_object_set_new(event, "server_id", json_string(live->host_id));
    json_object_set_new(event, "addr.remote", json_string(live->client_addr));
    json_object_set_new(event, "reason", json_string(json_get_text(call->params, "reason", "")));
    json_object_set_new(event, "rx", json_integer(json_get_int(call->params, "rx", 0)));
    json_object_set_new(event, "tx", json_integer(json_get_int(call->params, "tx", 0)));
    audit_emit(auth, event, NULL, NULL);
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
    json_object_set_new(event, "proto", json_string("ssh"));
    json_object_set_new(event, "server_id", json_string(live->host_id));
    json_object_set_new(event, "server_hostname", json_string(host != NULL ? host->name : ""));
    json_object_set_new(event, "addr.remote", json_string(live->client_addr));
    return event;
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
    if (ok && live->pinned_login == NULL) {
        live->pinned_login = mem_strdup(login);
        live->dirty = true;
    }
    if (ok) {
        call_reply(call, NULL); /* the access itself is on record since session.connect */
        return;
    }
    json_t *event = session_event(call, live, "auth", false, login);
    json_object_set_new(event, "error", json_string(json_get_text(call->params, "error", "refused")));
    call_reply_audited(call, event, NULL);
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
    if (err == TP_OK && (strlen(login) > LOGIN_MAX || strlen(json_get_text(call->params, "kind", "")) > LOGIN_MAX ||
                         strlen(json_get_text(call->params, "command", "")) > COMMAND_MAX)) {
        err = err_set(&error, TP_TOO_LARGE, "the login or the command is too long to be put on record");
    }
    if (err == TP_OK && live->open_channels >= OPEN_CHANNELS_MAX) {
        err = err_set(&error, TP_LIMIT, "this connection has %d open channels; close one first", OPEN_CHANNELS_MAX);
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
    if (live->pinned_login == NULL) {
        live->pinned_login = mem_strdup(login);
    }
    (void)recordings_begin(auth, live, call, id);
    json_t *event = session_event(call, live, "session.start", true, login);
    json_object_set_new(event, "sid", json_string(id));
    json_object_set_new(event, "size", json_string(json_get_text(call->params, "size", "80:25")));
    json_object_set_new(event, "interactive", json_boolean(json_get_bool(call->params, "interactive", false)));
    json_object_set_new(event, "session_recording", json_string(auth->settings.record ? "node" : "off"));
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
                                          NULL};

void do_session_event(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *sid = json_get_text(call->params, "sid", "");
    const char *name = json_get_text(call->params, "event", "");
    json_t *fields = json_object_get(call->params, "fields");
    struct live *live = NULL;
    struct recording *recording = NULL;
    bool listed = false;
    for (size_t i = 0; host_events[i] != NULL; i++) {
        listed |= strcmp(host_events[i], name) == 0;
    }
    if (!listed) {
        call_fail_text(call, TP_DENIED, "a host may not report this event");
        return;
    }
    if (recordings_of_host(auth, sid, call->caller.host_id, &recording, &error) == TP_OK) {
        live = map_get(auth->live, json_get_text(recording->meta, "sid", ""));
    }
    if (live == NULL && sessions_of_host(auth, sid, call->caller.host_id, &live, &error) != TP_OK) {
        call_fail(call, &error);
        return;
    }
    bool success = json_get_bool(fields, "success", json_get_text(fields, "error", NULL) == NULL);
    json_t *event = session_event(call, live, name, success, live->pinned_login != NULL ? live->pinned_login : "");
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
    call_reply_audited(call, event, NULL);
}

struct live_list {
    const struct call *call;
    json_t *items;
    bool all;
};

static void list_live(void *ctx, const char *key, void *value)
{
    struct live_list *list = ctx;
    const struct live *live = value;
    (void)key;
    if (live->closed || live->cut || (!list->all && strcmp(live->user, list->call->caller.user) != 0)) {
        return;
    }
    const struct host *host = hosts_get(list->call->auth, live->host_id);
    json_array_append_new(list->items,
                          json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "id", live->sid, "kind", "ssh",
                                    "user", live->user, "login", live->pinned_login != NULL ? live->pinned_login : "",
                                    "host_id", live->host_id, "hostname", host != NULL ? host->name : "", "client_addr",
                                    live->client_addr, "started", doc_time(live->started_ms), "valid_until",
                                    doc_time(live->not_after * 1000)));
}

void do_sessions_list(struct call *call)
{
    /* Everybody's list permission shows his own sessions; those of others are for whoever may end or watch them. */
    struct tp_error error = {0};
    bool all = call_rule(call, "list", "session_tracker", NULL, &error) == TP_OK ||
               call_rule(call, "delete", "ssh_session", NULL, &error) == TP_OK;
    struct live_list list = {.call = call, .items = json_array(), .all = all};
    map_each(call->auth->live, list_live, &list);
    call_reply(call, doc_page(list.items, call->params));
}

void do_sessions_end(struct call *call)
{
    struct auth *auth = call->auth;
    struct live *live = map_get(auth->live, json_get_text(call->params, "sid", ""));
    if (live == NULL || live->closed) {
        call_fail_text(call, TP_NOT_FOUND, "there is no such live session");
        return;
    }
    const char *text = json_get_text(call->params, "reason", "an administrator ended the session");
    json_t *event = call_event(call, "client.disconnect", true);
    json_object_set_new(event, "sid", json_string(live->sid));
    json_object_set_new(event, "reason", json_string("ended by administrator"));
    cut(auth, live, CLOSE_ENDED_BY_ADMIN, text[0] != '\0' ? text : "an administrator ended the session");
    call_reply_audited(call, event, NULL);
}

/* Live sessions of every service: what was granted and is still in use. A change of roles, users, locks, labels or
 * settings decides each of them anew, and those that lost their right are cut. What differs between services is a row of
 * the table `services`. */
#include "auth/kube.h"
#include "auth/mfa.h"
#include "auth/node_rights.h"
#include "auth/recording.h"

#include <string.h>

/* Ticks from a change to the end of the tunnels of hosts that are locked now: at least 400 ms, below a second. */
#define HOSTS_RECHECK_TICKS 3
#define LATE_MS ((int64_t)10 * 60 * 1000) /* how long a host may still report on a session whose relay is gone, */
#define SOON_MS ((int64_t)30 * 1000)      /* when it has been there all the time and no channel is open */
#define UNHEARD_MS ((int64_t)10 * 1000)   /* for a worker to name, after our start, the sessions that it holds */

/* Is the session still allowed to this caller (the user as he is now)? false: the roles took it away. */
typedef bool kept_fn(struct auth *auth, const struct live *live, const struct caller *caller,
                     const struct rbac_access *access);

/* A host that serves SSH: its labels, and the login that is in use (any, while none is). */
static bool ssh_kept(struct auth *auth, const struct live *live, const struct caller *caller,
                     const struct rbac_access *access)
{
    const struct host *host = hosts_get(auth, live->host_id);
    struct tp_error ignored = {0};
    if (host == NULL || caller_alone(caller->set, live->user, "ssh", &ignored) != TP_OK) {
        return false;
    }
    struct rbac_target target;
    size_t count = 0;
    bool kept = false;
    hosts_target(host, &target);
    struct rbac_login *logins = rbac_logins(caller->set, &target, access, &count);
    for (size_t i = 0; i < count && !kept; i++) {
        kept = live->pinned_login == NULL || strcmp(live->pinned_login, logins[i].name) == 0;
    }
    mem_free(logins);
    return kept;
}

static const struct live_service {
    const char *name; /* as in grants, the store and events */
    kept_fn *kept;
    bool until_expiry; /* ends with the certificate whatever disconnect_expired_cert says */
} services[] = {
    {"ssh", ssh_kept, false},
    {"term", ssh_kept, true},
    {"kube", kube_kept, true},
};

static const struct live_service *service_find(const char *name)
{
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        if (strcmp(services[i].name, name) == 0) {
            return &services[i];
        }
    }
    return NULL;
}

static void live_destroy(struct live *live)
{
    if (live != NULL) {
        mem_free(live->service);
        mem_free(live->target);
        mem_free(live->user);
        json_decref(live->roles);
        json_decref(live->traits);
        json_decref(live->rights);
        json_decref(live->grant);
        mem_free(live->web_key);
        mem_free(live->attach);
        mem_free(live->host_id);
        mem_free(live->client_addr);
        mem_free(live->pinned_login);
        mem_free(live->mfa_device);
        mem_free(live->login_device);
        mem_free(live->cut_text);
        mem_free(live);
    }
}

struct live *sessions_add(struct auth *auth, const struct call *call, const struct live_new *fresh)
{
    struct live *live = mem_alloc(sizeof *live);
    snprintf(live->sid, sizeof live->sid, "%s", fresh->sid);
    live->service = mem_strdup(fresh->service);
    live->target = mem_strdup(fresh->target);
    live->user = mem_strdup(call->caller.user);
    live->roles = json_deep_copy(call->caller.roles);
    live->traits = json_deep_copy(call->caller.traits);
    live->rights = json_incref(fresh->rights);
    live->host_id = mem_strdup(fresh->host_id);
    live->pinned_login = fresh->login != NULL ? mem_strdup(fresh->login) : NULL;
    live->mfa_device = fresh->mfa_device != NULL ? mem_strdup(fresh->mfa_device) : NULL;
    live->grant = fresh->grant != NULL ? json_deep_copy(fresh->grant) : NULL;
    live->web_key = call->caller.web_key != NULL ? mem_strdup(call->caller.web_key) : NULL;
    live->login_device = call->caller.login_device != NULL ? mem_strdup(call->caller.login_device) : NULL;
    live->attach = mem_strdup(fresh->sid);
    live->client_addr = mem_strdup(call->caller.addr);
    live->worker = call->caller.worker;
    live->started_ms = clock_wall_ms();
    live->not_after = call->caller.not_after;
    live->cut_at_expiry = fresh->cut_at_expiry;
    live->recheck_ms = call->caller.ends_ms;
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
    live->service = mem_strdup(json_get_text(doc, "service", "ssh"));
    live->target = mem_strdup(json_get_text(doc, "target", ""));
    live->user = mem_strdup(json_get_text(doc, "user", ""));
    live->roles = json_deep_copy(json_object_get(doc, "roles"));
    live->traits = json_deep_copy(json_object_get(doc, "traits"));
    live->rights = json_deep_copy(json_object_get(doc, "rights"));
    live->host_id = mem_strdup(json_get_text(doc, "host_id", ""));
    live->client_addr = mem_strdup(json_get_text(doc, "addr", ""));
    live->grant = json_deep_copy(json_object_get(doc, "grant"));
    if (live->rights == NULL && live->grant != NULL) {
        live->rights = node_rights_of_grant(live->grant); /* stored by a version that had none on record */
    }
    live->web_key = mem_strdup(json_get_text(doc, "web_key", ""));
    live->attach = mem_strdup(json_get_text(doc, "attach", name));
    live->parked_ms = doc_ms(doc, "parked");
    const char *login = json_get_text(doc, "login", "");
    live->pinned_login = login[0] != '\0' ? mem_strdup(login) : NULL;
    const char *device = json_get_text(doc, "mfa_device", "");
    live->mfa_device = device[0] != '\0' ? mem_strdup(device) : NULL;
    const char *login_device = json_get_text(doc, "login_device", NULL);
    live->login_device = login_device != NULL ? mem_strdup(login_device) : NULL;
    live->worker = (int)json_get_int(doc, "worker", -1);
    live->started_ms = doc_ms(doc, "started");
    live->not_after = json_get_int(doc, "not_after", 0);
    live->cut_at_expiry = json_get_bool(doc, "cut_at_expiry", false);
    live->channels = (unsigned)json_get_int(doc, "channels", 0);
    live->closed_ms = doc_ms(doc, "closed");
    live->closed = live->closed_ms != 0;
    live->unheard_ms = live->closed || live->parked_ms != 0 ? 0 : clock_wall_ms() + UNHEARD_MS;
    const char *cut_text = json_get_text(doc, "cut_text", "");
    live->cut = cut_text[0] != '\0';
    if (live->cut) {
        live->cut_text = mem_strdup(cut_text);
        live->cut_reason = close_from_name(json_get_text(doc, "cut_reason", ""));
    }
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

const char *sessions_proto(const struct live *live)
{
    return strcmp(live->service, "term") == 0 ? "ssh" : live->service;
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

/* To all workers: one relays the session, and one (often another, after a reload) holds the line to its agent. */
static void tell_cut(struct auth *auth, const struct live *live)
{
    auth_tell_workers(auth, "session.cut",
                      json_pack("{s:s, s:s, s:s, s:s}", "sid", live->sid, "host_id", live->host_id, "reason",
                                close_name(live->cut_reason), "text", live->cut_text));
}

json_t *sessions_cut_event(struct auth *auth, struct live *live, enum close_reason reason, const char *text)
{
    if (live->cut || live->closed) {
        return NULL;
    }
    live->cut = true;
    live->cut_reason = reason;
    log_info("session cut", "sid=%s user=\"%s\" reason=%s", live->sid, live->user, close_name(reason));
    live->cut_text = mem_strdup(text);
    live->dirty = true;
    tell_cut(auth, live);
    json_t *event = event_new("client.disconnect", true, auth->settings.cluster);
    json_object_set_new(event, "user", json_string(live->user));
    json_object_set_new(event, "sid", json_string(live->sid));
    json_object_set_new(event, "server_id", json_string(live->host_id));
    json_object_set_new(event, "reason", json_string(text));
    return event;
}

void sessions_cut(struct auth *auth, struct live *live, enum close_reason reason, const char *text)
{
    json_t *event = sessions_cut_event(auth, live, reason, text);
    if (event != NULL) {
        audit_emit(auth, event, NULL, NULL);
    }
}

/* Has it still the right? ret_reason and error say what is gone. */
static enum tp_err decide(struct auth *auth, struct live *live, enum close_reason *ret_reason, struct tp_error *error)
{
    struct caller caller;
    caller_init(&caller);
    *ret_reason = CLOSE_LOCKED;
    enum tp_err err = caller_become_user(auth, live->user, live->roles, live->traits, &caller, error);
    if (err == TP_UNAUTHENTICATED) {
        *ret_reason = CLOSE_RIGHT_LOST;
    }
    if (err == TP_OK) {
        err = caller_locked(auth, NULL, NULL, live->host_id, error);
    }
    if (err == TP_OK && live->pinned_login != NULL && caller_login_locked(auth, live->pinned_login)) {
        err = err_set(error, TP_DENIED, "a lock is in force on this login");
    }
    const char *lost = err == TP_OK ? caller_device_lost(auth, live->user, live->mfa_device) : NULL;
    if (lost != NULL) {
        err = err_set(error, TP_DENIED, "%s", lost);
    }
    if (err == TP_OK) {
        err = caller_check_login(auth, live->user, term_login_device(auth, live), error);
        *ret_reason = err == TP_UNAUTHENTICATED ? CLOSE_RIGHT_LOST : CLOSE_LOCKED;
    }
    live->recheck_ms = caller.ends_ms;
    if (err == TP_OK) {
        const struct live_service *service = service_find(live->service);
        struct rbac_access access = mfa_access(auth, live->mfa_device);
        struct rbac_options options;
        rbac_merge_options(caller.set, &auth->settings.cluster_options, &options);
        live->cut_at_expiry = options.disconnect_expired_cert || (service != NULL && service->until_expiry);
        *ret_reason = CLOSE_RIGHT_LOST;
        if (service == NULL || !service->kept(auth, live, &caller, &access)) {
            err = err_set(error, TP_DENIED, "a change of roles took the right to this session away");
        } else {
            err = node_rights_kept(auth, live, &caller, &access, &options, error);
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
        sessions_cut(auth, live, reason, error.text);
    }
}

bool sessions_recheck_one(struct auth *auth, struct live *live)
{
    recheck_one(auth, live->sid, live);
    return !live->cut && !live->closed;
}

enum tp_err sessions_may_start(struct auth *auth, const struct live *live, struct tp_error *error)
{
    struct rbac_set *set = caller_set(auth, live->user, live->roles, live->traits);
    enum tp_err err = caller_alone(set, live->user, strcmp(live->service, "kube") == 0 ? "k8s" : "ssh", error);
    rbac_set_free(set);
    return err;
}

void sessions_recheck(struct auth *auth)
{
    map_each(auth->live, recheck_one, auth);
    auth->hosts_recheck = HOSTS_RECHECK_TICKS;
}

/* A locked host: its people have read why, so its tunnels go. It cannot report any more, so its channels end here. */
static void end_locked_host(void *ctx, const char *key, void *value)
{
    struct auth *auth = ctx;
    const struct host *host = value;
    struct tp_error error = {0};
    (void)key;
    if (host->tunnels != NULL && caller_locked(auth, NULL, NULL, host->id, &error) != TP_OK) {
        log_info("tunnels cut", "host=%s name=\"%s\" reason=locked", host->id, host->name);
        auth_tell_workers(auth, "tunnel.cut",
                          json_pack("{s:s, s:s}", "host_id", host->id, "reason", close_name(CLOSE_LOCKED)));
        recordings_end_host(auth, host->id, close_name(CLOSE_LOCKED));
    }
}

struct of_roles {
    struct auth *auth;
    const json_t *names;
};

static void recheck_if_role(void *ctx, const char *key, void *value)
{
    const struct of_roles *of = ctx;
    const struct live *live = value;
    size_t i;
    json_t *name;
    json_array_foreach (of->names, i, name) {
        if (json_list_has(live->roles, json_string_value(name))) {
            recheck_one(of->auth, key, value);
            return;
        }
    }
}

void sessions_recheck_roles(struct auth *auth, const json_t *names)
{
    map_each(auth->live, recheck_if_role, &(struct of_roles){auth, names});
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
    const char *service;
    size_t count;
};

static void count_if_user(void *ctx, const char *key, void *value)
{
    struct of_user *of = ctx;
    const struct live *live = value;
    (void)key;
    of->count +=
        !live->closed && !live->cut && strcmp(live->user, of->user) == 0 && strcmp(live->service, of->service) == 0;
}

size_t sessions_count_user(struct auth *auth, const char *user, const char *service)
{
    struct of_user of = {.user = user, .service = service};
    map_each(auth->live, count_if_user, &of);
    return of.count;
}

struct cut_user {
    struct auth *auth;
    const char *user;
    enum close_reason reason;
    const char *text;
    const char *but; /* sessions of this web session stay; NULL: none does */
};

static void cut_if_user(void *ctx, const char *key, void *value)
{
    struct cut_user *all = ctx;
    struct live *live = value;
    (void)key;
    bool stays = all->but != NULL && live->web_key != NULL && strcmp(live->web_key, all->but) == 0;
    if (strcmp(live->user, all->user) == 0 && !stays) {
        sessions_cut(all->auth, live, all->reason, all->text);
    }
}

void sessions_cut_user(struct auth *auth, const char *user, const char *but, enum close_reason reason, const char *text)
{
    map_each(auth->live, cut_if_user, &(struct cut_user){auth, user, reason, text, but});
}

struct cut_web {
    struct auth *auth;
    const char *web_key;
    enum close_reason reason;
    const char *text;
};

static void cut_if_web(void *ctx, const char *key, void *value)
{
    struct cut_web *all = ctx;
    struct live *live = value;
    (void)key;
    if (live->web_key != NULL && strcmp(live->web_key, all->web_key) == 0) {
        sessions_cut(all->auth, live, all->reason, all->text);
    }
}

void sessions_cut_web(struct auth *auth, const char *web_key, enum close_reason reason, const char *text)
{
    map_each(auth->live, cut_if_web, &(struct cut_web){auth, web_key, reason, text});
}

void sessions_close(struct live *live)
{
    if (!live->closed) {
        live->closed = true;
        live->closed_ms = clock_wall_ms();
        live->dirty = true;
    }
}

static void close_worker(void *ctx, const char *key, void *value)
{
    const int *worker = ctx;
    struct live *live = value;
    (void)key;
    if (live->worker == *worker && live->parked_ms == 0) {
        sessions_close(live);
    }
}

/* Its sessions count as closed until it says otherwise (session.resume). */
void sessions_worker_gone(struct auth *auth, int worker)
{
    map_each(auth->live, close_worker, &worker);
}

/* ---- session.resume: a worker has a new line, and tells what is alive ---- */

/* Ours, once: the signature is that of a grant of ours, and it is long used, so its time does not count. */
static enum tp_err open_grant(const struct auth *auth, const json_t *item, json_t **ret_grant)
{
    uint8_t key[32];
    struct buf data;
    const char *text = json_get_text(item, "grant", "");
    buf_init(&data, 1024 * 1024);
    enum tp_err err = key_ed25519_public(auth->grant_key, key);
    if (err == TP_OK) {
        err = dec_base64(text, strlen(text), &data);
    }
    if (err == TP_OK) {
        const uint8_t(*keys)[32] = (const uint8_t(*)[32])key;
        err = grant_open(buf_head(&data), buf_size(&data), keys, 1, json_get_text(item, "host_id", ""),
                         json_get_text(item, "service", ""), 0, ret_grant, NULL);
    }
    buf_free(&data);
    return err;
}

static json_t *rights_of_grant(const json_t *grant)
{
    json_t *rights = kube_rights_of_grant(grant);
    return rights != NULL ? rights : node_rights_of_grant(grant);
}

/* An entry that was stored by a version without rights on record: its grant has them, so an upgrade leaves no session that a
 * lost option does not reach. */
static void take_rights(struct auth *auth, const json_t *item, struct live *live)
{
    json_t *grant = NULL;
    if (live->rights == NULL && open_grant(auth, item, &grant) == TP_OK &&
        strcmp(json_get_text(grant, "sid", ""), live->sid) == 0 &&
        strcmp(json_get_text(grant, "service", ""), live->service) == 0) {
        live->rights = rights_of_grant(grant);
        live->dirty |= live->rights != NULL;
    }
    json_decref(grant);
}

/* We were killed before the entry was stored: the grant says all that is needed. */
static struct live *live_from_grant(struct auth *auth, const json_t *item, const char *sid, int worker)
{
    json_t *grant = NULL;
    if (strlen(sid) >= UUID_TEXT_SIZE || open_grant(auth, item, &grant) != TP_OK) {
        return NULL;
    }
    struct live *live = NULL;
    if (strcmp(json_get_text(grant, "sid", ""), sid) == 0) {
        live = mem_alloc(sizeof *live);
        snprintf(live->sid, sizeof live->sid, "%s", sid);
        live->service = mem_strdup(json_get_text(grant, "service", ""));
        live->target = mem_strdup(json_get_text(grant, "kube_cluster", ""));
        live->rights = rights_of_grant(grant);
        live->user = mem_strdup(json_get_text(grant, "user", ""));
        live->roles = json_deep_copy(json_object_get(grant, "roles"));
        live->traits = json_deep_copy(json_object_get(grant, "traits"));
        live->host_id = mem_strdup(json_get_text(grant, "host_id", ""));
        live->client_addr = mem_strdup(json_get_text(grant, "client_addr", ""));
        live->worker = worker;
        live->started_ms = doc_ms(grant, "issued");
        live->not_after = doc_ms(grant, "cert_not_after") / 1000;
        if (strcmp(live->service, "term") == 0) {
            live->grant = json_deep_copy(grant);
            live->pinned_login =
                mem_strdup(json_get_text(json_array_get(json_object_get(grant, "logins"), 0), "name", ""));
        }
        const char *device = json_get_text(grant, "mfa_device", NULL);
        live->mfa_device = device != NULL ? mem_strdup(device) : NULL;
        const char *login_device = json_get_text(grant, "login_device", NULL);
        live->login_device = login_device != NULL ? mem_strdup(login_device) : NULL;
        live->attach = mem_strdup(json_get_text(grant, "attach", sid));
        live->web_key = mem_strdup(json_get_text(grant, "web", ""));
        live->dirty = true;
        live_destroy(map_set(auth->live, live->sid, live));
    }
    json_decref(grant);
    return live;
}

static void resume_one(struct auth *auth, const json_t *item, int worker)
{
    const char *sid = json_get_text(item, "sid", "");
    struct live *live = map_get(auth->live, sid);
    if (live == NULL) {
        live = live_from_grant(auth, item, sid, worker);
    }
    if (live == NULL || live->worker != worker) {
        log_warn("a worker holds a session that was never granted", "worker=%d sid=%.40s", worker, sid);
        auth_tell_worker(auth, worker, "session.cut",
                         json_pack("{s:s, s:s, s:s, s:s}", "sid", sid, "host_id", json_get_text(item, "host_id", ""),
                                   "reason", close_name(CLOSE_INTERNAL), "text", "this session is not on record"));
        return;
    }
    live->resumed = true;
    live->unheard_ms = 0;
    live->dirty |= live->closed;
    live->closed = false;
    take_rights(auth, item, live);
    if (live->cut) {
        tell_cut(auth, live);
    } else {
        recheck_one(auth, sid, live);
    }
}

/* What the worker did not name has ended while nobody could say so. */
static void settle_one(void *ctx, const char *key, void *value)
{
    const int *worker = ctx;
    struct live *live = value;
    (void)key;
    if (live->worker == *worker && !live->resumed && live->parked_ms == 0) {
        sessions_close(live);
    }
    live->resumed &= live->worker != *worker;
}

void do_session_resume(struct call *call)
{
    struct auth *auth = call->auth;
    int worker = call->caller.worker;
    const json_t *list = json_object_get(call->params, "sessions");
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        resume_one(auth, item, worker);
    }
    if (json_get_bool(call->params, "last", false)) {
        map_each(auth->live, settle_one, &worker);
    }
    call_reply(call, NULL);
}

static void store_live(struct auth *auth, const struct live *live)
{
    json_t *doc = json_pack("{s:s, s:s, s:s, s:O, s:O, s:s, s:s, s:s, s:i, s:o, s:I, s:b, s:I}", "service",
                            live->service, "target", live->target, "user", live->user, "roles", live->roles, "traits",
                            live->traits, "host_id", live->host_id, "addr", live->client_addr, "login",
                            live->pinned_login != NULL ? live->pinned_login : "", "worker", live->worker, "started",
                            doc_time(live->started_ms), "not_after", (json_int_t)live->not_after, "cut_at_expiry",
                            live->cut_at_expiry, "channels", (json_int_t)live->channels);
    if (live->cut) {
        json_object_set_new(doc, "cut_reason", json_string(close_name(live->cut_reason)));
        json_object_set_new(doc, "cut_text", json_string(live->cut_text));
    }
    if (live->closed) {
        json_object_set_new(doc, "closed", doc_time(live->closed_ms));
    }
    if (live->mfa_device != NULL) {
        json_object_set_new(doc, "mfa_device", json_string(live->mfa_device));
    }
    if (live->login_device != NULL) {
        json_object_set_new(doc, "login_device", json_string(live->login_device));
    }
    if (live->rights != NULL) {
        json_object_set(doc, "rights", live->rights);
    }
    if (live->grant != NULL) {
        json_object_set(doc, "grant", live->grant);
        json_object_set_new(doc, "web_key", json_string(live->web_key != NULL ? live->web_key : ""));
        json_object_set_new(doc, "attach", json_string(live->attach));
        json_object_set_new(doc, "parked", doc_time(live->parked_ms));
    }
    batch_put(auth, "/live/", live->sid, doc);
    json_decref(doc);
}

/* Nothing will be heard of it any more. Each takes some KB, and a busy cluster ends a hundred in a second. */
static bool is_over(struct auth *auth, const struct live *live, int64_t now_ms)
{
    int64_t age_ms = now_ms - live->closed_ms;
    if (!live->closed || age_ms <= SOON_MS) {
        return false;
    }
    const struct host *host = hosts_get(auth, live->host_id);
    return age_ms > LATE_MS ||
           (live->open_channels == 0 && host != NULL && host->tunnels != NULL && host->online_ms <= live->closed_ms);
}

static void tick_one(void *ctx, const char *key, void *value)
{
    struct auth *auth = ctx;
    struct live *live = value;
    int64_t now_ms = clock_wall_ms();
    if (live->recheck_ms != 0 && live->recheck_ms <= now_ms) {
        live->recheck_ms = 0;
        recheck_one(auth, key, live);
    }
    if (live->cut_at_expiry && live->not_after <= now_ms / 1000) {
        sessions_cut(auth, live, CLOSE_CERT_EXPIRED, "the certificate has expired");
    }
    if (live->parked_ms != 0 && live->parked_ms <= now_ms) {
        live->parked_ms = 0;
        sessions_close(live);
    }
    /* The worker that held it ended before or with the auth process before us. */
    if (live->unheard_ms != 0 && live->unheard_ms <= now_ms) {
        live->unheard_ms = 0;
        sessions_close(live);
    }
    if (is_over(auth, live, now_ms)) {
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
    if (auth->hosts_recheck > 0 && --auth->hosts_recheck == 0) {
        map_each(auth->hosts, end_locked_host, auth);
    }
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

/* Live sessions of every service: what was granted and is still in use. A change of roles, users, locks, labels or
 * settings decides each of them anew, and those that lost their right are cut. What differs between services is a row of
 * the table `services`. */
#include "auth/audit.h"
#include "auth/caller.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/kube.h"
#include "auth/live.h"
#include "auth/mfa.h"
#include "auth/node_rights.h"
#include "auth/recording.h"

#include <string.h>

/* Ticks from a change to the end of the tunnels of hosts that are locked now: at least 400 ms, below a second. */
#define HOSTS_RECHECK_TICKS 3
#define LATE_MS ((int64_t)10 * 60 * 1000) /* how long a host may still report on a session whose relay is gone, */
#define SOON_MS ((int64_t)30 * 1000)      /* when it has been there all the time and no channel is open */

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

const char *sessions_proto(const struct live *live)
{
    return strcmp(live->service, "term") == 0 ? "ssh" : live->service;
}

enum tp_err sessions_of_host(struct auth *auth, const char *sid, const char *host_id, struct live **ret_live,
                             struct tp_error *error)
{
    struct live *live = map_get(auth->live, sid);
    if (live == NULL && clock_mono_ms() < auth->hearing_until_ms) {
        return err_set(
            error, TP_UNAVAILABLE,
            "the auth service has just started, and its proxies have not yet said that there is such a session");
    }
    if (live == NULL || host_id == NULL || strcmp(live->host_id, host_id) != 0) {
        return err_set(error, TP_NOT_FOUND, "there is no such session on this host");
    }
    *ret_live = live;
    return TP_OK;
}

void live_tell_cut(struct auth *auth, const struct live *live)
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
    live_tell_cut(auth, live);
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
    if (err == TP_OK) {
        err = caller_login_locked(auth, live->pinned_login, error);
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
            err = err_set(error, TP_DENIED, "a change of roles or labels took the right to this session away");
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
        live_store(auth, live);
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

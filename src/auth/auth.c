/*
 * The process. Its first message from master is the event `config`:
 *
 *   {"cluster_name", "data_dir", "public_addr": "HOST:PORT" or ["HOST:PORT", ...], "version",
 *    "log": {"level": "info", "json": false}, "admin_uid": 1000 (optional),
 *    "auth": {"default_session_ttl", "session_recording": "node" | "off" ..., "client_idle_timeout",
 *             "disconnect_expired_cert", "require_session_mfa", "locking_mode", "message_of_the_day",
 *             "tokens": ["node:SECRET", ...] or [{"value", "roles": []}],
 *             "secrets_key_file": "/path", "" for the one of data_dir}}
 *
 * With a secrets_key_file comes a descriptor of it, for the file may be root's alone, or "secrets_key_errno". Durations are numbers of milliseconds or texts ("12h"). Master sends `config` again at a reload; the cluster's name and
 * data_dir cannot change then. Further events: `line` {"kind": "worker", "worker": N} with a descriptor, {"kind": "agent"},
 * {"kind": "admin"} with a listening socket; `log.reopen` with a descriptor; `drain`; `stop`.
 */
#include "auth/agentless.h"
#include "auth/audit.h"
#include "auth/auth.h"
#include "auth/ca.h"
#include "auth/dispatch.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/keep.h"
#include "auth/lane.h"
#include "auth/list.h"
#include "auth/live.h"
#include "auth/lockout.h"
#include "auth/locks.h"
#include "auth/put_group.h"
#include "auth/recording.h"
#include "auth/secrets_key.h"
#include "auth/settings.h"
#include "auth/tokens.h"
#include "auth/user_cache.h"
#include "auth/websess.h"
#include "core/master.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define TICK_MS 200

static const struct lane_rules hashing_rules = {
    .at_once = 2, .queue = 256, .full = "too many people sign in at this moment, try again in a few seconds"};
static const struct lane_rules reads_rules = {.at_once = 2,
                                              .queue = 4096,
                                              .each = 32,
                                              .full =
                                                  "too much is being read at this moment, try again in a few seconds"};
static const struct lane_rules seals_rules = {.at_once = 2};

struct listen {
    struct auth *auth;
    int fd;
    struct watch *watch;
};

static enum tp_err make_folder(const char *path, struct tp_error *error)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return err_errno(error, errno, "%s cannot be made", path);
    }
    return TP_OK;
}

/* Sealed with a key that is elsewhere: a copy of the store gives nobody a CA or a one-time code. */
static enum tp_err open_secrets(struct auth *auth, const char *path, const json_t *config, int key_fd,
                                struct tp_error *error)
{
    const char *given = json_get_text(auth->settings.conf, "secrets_key_file", "");
    bool own = given[0] == '\0';
    char *keys = mem_printf("%s/keys", auth->settings.data_dir);
    char *file = own ? mem_printf("%s/secrets.key", keys) : mem_strdup(given);
    struct secrets_key source = {.path = file, .fd = own ? -1 : key_fd, .make = own};
    source.open_errno = own ? 0 : (int)json_get_int(config, "secrets_key_errno", 0);
    const struct store_options options = {.key = secrets_key_get, .next_key = secrets_key_next, .key_ctx = &source};
    enum tp_err err = own ? make_folder(keys, error) : TP_OK;
    if (err == TP_OK) {
        err = store_open(path, &options, &auth->secrets, error);
    }
    if (err == TP_INVALID && source.read) {
        err_prefix(error, "%s", file);
    }
    bool finished = source.next;
    if (err == TP_OK && finished) {
        err = secrets_key_take_next(&source, error);
    }
    if (err == TP_OK && finished) {
        log_info("the change of the secrets store's key had been cut short; it is done now", "path=\"%s\"", file);
    }
    mem_free(file);
    mem_free(keys);
    return err;
}

static enum tp_err open_stores(struct auth *auth, const json_t *config, int key_fd, struct tp_error *error)
{
    char *folder = mem_printf("%s/auth", auth->settings.data_dir);
    char *secrets = mem_printf("%s/secrets", folder);
    char *state = mem_printf("%s/state", folder);
    enum tp_err err = make_folder(folder, error);
    if (err == TP_OK) {
        err = open_secrets(auth, secrets, config, key_fd, error);
    }
    if (err == TP_OK) {
        err = store_open(state, NULL, &auth->state, error);
    }
    mem_free(state);
    mem_free(secrets);
    mem_free(folder);
    return err;
}

/* What the tick writes: all changes since the last one in one commit. */
static void auth_save(struct auth *auth)
{
    struct tp_error error = {0};
    sessions_tick(auth);
    recordings_tick(auth);
    bool written = batch_commit(auth, &error) == TP_OK;
    if (!written) {
        log_error("sessions cannot be stored", "error=\"%s\"", error.text);
        sessions_unsaved(auth);
    }
    recordings_saved(auth, written);
}

/* What calls took, the 19 MB of each password above all, stays with the C library as free memory: it goes back after a second
 * without a call, and each minute when there is none. */
static void give_back(struct auth *auth, bool minute)
{
    bool calm = auth->calls == auth->calls_before;
    auth->calls_before = auth->calls;
    if ((calm || minute) && auth->calls_given != auth->calls) {
        auth->calls_given = auth->calls;
        mem_give_back();
    }
}

static void tick(void *ctx)
{
    struct auth *auth = ctx;
    auth->ticks++;
    host_pace_tick(auth);
    auth_save(auth);
    if (auth->ticks % (1000 / TICK_MS) == 0) {
        audit_tick(auth);
        ca_tick(auth);
        locks_sweep(auth);
        keep_second(auth);
        give_back(auth, auth->ticks % (60000 / TICK_MS) == 0);
    }
    if (auth->ticks % (60000 / TICK_MS) == 0) {
        lockout_sweep(auth->lockout, clock_mono_ms());
        websess_sweep(auth);
        tokens_sweep(auth);
        recordings_accesses_sweep(auth);
        host_seen_keep(auth);
        host_heard_sweep(auth);
        (void)cert_cache_sweep(auth->certs, clock_wall());
    }
    if (auth->ticks % (600000 / TICK_MS) == 0) {
        keep_round(auth);
    }
}

enum tp_err auth_open(struct loop *loop, const json_t *config, int key_fd, struct auth **ret_auth,
                      struct tp_error *error)
{
    struct auth *auth = mem_alloc(sizeof *auth);
    auth->loop = loop;
    auth->settings.admin_uid = (uid_t)-1;
    auth->list_turn = LIST_TURN_STEPS;
    auth->pace_bytes = HOST_PACE_BYTES;
    auth->pace_burst = HOST_PACE_BURST;
    auth->roles = map_new();
    auth->locks = map_new();
    auth->hosts = map_new();
    auth->reports = map_new();
    auth->host_names = map_new();
    auth->live = map_new();
    auth->recordings = map_new();
    auth->websessions = map_new();
    auth->accesses = map_new();
    auth->batch = map_new();
    auth->puts = put_group_new(auth);
    auth->lockout = lockout_new();
    auth->certs = cert_cache_new();
    auth->users = user_cache_new();
    loop_set_threads(LANE_THREADS);
    auth->hashing = lane_new(loop, &hashing_rules);
    auth->reads = lane_new(loop, &reads_rules);
    auth->seals = lane_new(loop, &seals_rules);
    enum tp_err err = settings_read(&auth->settings, config, error);
    static enum tp_err (*const steps[])(struct auth *, struct tp_error *) = {
        bootstrap_run,  ca_load,       audit_open,      bootstrap_load, hosts_load,
        agentless_load, sessions_load, recordings_load, websess_load,   host_heard_load};
    if (err == TP_OK) {
        err = open_stores(auth, config, key_fd, error);
    }
    for (size_t i = 0; err == TP_OK && i < sizeof steps / sizeof steps[0]; i++) {
        err = steps[i](auth, error);
    }
    if (err != TP_OK) {
        auth_close(auth);
        return err;
    }
    settings_apply(auth);
    keep_open(auth);
    keep_round(auth);
    auth->tick = timer_new(loop, tick, auth);
    timer_start(auth->tick, TICK_MS, TICK_MS);
    *ret_auth = auth;
    return TP_OK;
}

static void unref_role(void *ctx, const char *key, void *value)
{
    (void)ctx;
    (void)key;
    role_unref(value);
}

static void free_lock(void *ctx, const char *key, void *value)
{
    (void)ctx;
    (void)key;
    lock_free(value);
}

static void link_free(struct link *link)
{
    rpc_free(link->rpc);
    mem_free(link);
}

void auth_close(struct auth *auth)
{
    auth->stopping = true;
    put_group_flush(auth);
    timer_free(auth->tick);
    if (auth->admin != NULL) {
        watch_free(auth->admin->watch);
        (void)close(auth->admin->fd);
        mem_free(auth->admin);
    }
    while (auth->links != NULL) {
        struct link *link = auth->links;
        auth->links = link->next;
        link_free(link);
    }
    if (auth->state != NULL) {
        auth_save(auth);
    }
    put_group_free(auth->puts);
    list_jobs_end(auth);
    batch_free(auth);
    recordings_accesses_sweep(auth);
    map_free(auth->accesses);
    auth->accesses = NULL;
    recordings_free(auth);
    sessions_free(auth);
    websess_free(auth);
    keep_close(auth);
    audit_close(auth);
    map_free(auth->reports);
    hosts_free(auth);
    agentless_free(auth);
    map_each(auth->roles, unref_role, NULL);
    map_free(auth->roles);
    map_each(auth->locks, free_lock, NULL);
    map_free(auth->locks);
    lockout_free(auth->lockout);
    cert_cache_free(auth->certs);
    user_cache_free(auth->users);
    lane_free(auth->hashing);
    lane_free(auth->reads);
    lane_free(auth->seals);
    ca_free(auth);
    store_close(auth->secrets);
    store_close(auth->state);
    settings_free(&auth->settings);
    mem_free(auth);
}

/* ---- Lines ---- */

void auth_tell_workers(struct auth *auth, const char *event, json_t *params)
{
    for (struct link *link = auth->links; link != NULL; link = link->next) {
        if (link->kind == LINK_WORKER) {
            rpc_event(link->rpc, event, json_incref(params));
        }
    }
    json_decref(params);
}

void auth_tell_worker(struct auth *auth, int worker, const char *event, json_t *params)
{
    for (struct link *link = auth->links; link != NULL; link = link->next) {
        if (link->kind == LINK_WORKER && link->worker == worker) {
            rpc_event(link->rpc, event, json_incref(params));
        }
    }
    json_decref(params);
}

static void link_request(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                         json_t *caller, int fd)
{
    (void)rpc;
    if (fd >= 0) {
        (void)close(fd);
    }
    dispatch_request(ctx, call, method, params, caller);
}

static void link_remove(struct link *link)
{
    for (struct link **at = &link->auth->links; *at != NULL; at = &(*at)->next) {
        if (*at == link) {
            *at = link->next;
            break;
        }
    }
}

static bool worker_present(const struct auth *auth, int worker)
{
    for (const struct link *link = auth->links; link != NULL; link = link->next) {
        if (link->kind == LINK_WORKER && link->worker == worker) {
            return true;
        }
    }
    return false;
}

static void link_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct link *link = ctx;
    struct auth *auth = link->auth;
    (void)rpc;
    link_remove(link);
    if (link->kind != LINK_ADMIN) {
        log_info("line closed", "kind=%s worker=%d reason=%s", link->kind == LINK_WORKER ? "worker" : "agent",
                 link->worker, close_name(reason));
    }
    if (link->kind == LINK_WORKER && !worker_present(auth, link->worker)) {
        routes_worker_gone(auth, link->worker);
        sessions_worker_gone(auth, link->worker);
    }
    mem_free(link);
}

static const struct rpc_events link_events = {.on_request = link_request, .on_close = link_close};

static struct link *link_add(struct auth *auth, int fd, enum link_kind kind)
{
    struct link *link = mem_alloc(sizeof *link);
    link->auth = auth;
    link->kind = kind;
    link->worker = -1;
    link->uid = (uid_t)-1;
    link->next = auth->links;
    auth->links = link;
    link->rpc = rpc_new_fd(auth->loop, fd, &link_events, link);
    return link;
}

static void admin_ready(void *ctx, int events)
{
    struct auth *auth = ctx;
    (void)events;
    int fd = accept4(auth->admin->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
        (peer.uid != 0 && peer.uid != geteuid() && peer.uid != auth->settings.admin_uid)) {
        log_warn("admin socket refused", "uid=%u", (unsigned)peer.uid);
        (void)close(fd);
        return;
    }
    link_add(auth, fd, LINK_ADMIN)->uid = peer.uid;
}

static void admin_listen(struct auth *auth, int fd)
{
    if (auth->admin != NULL) {
        watch_free(auth->admin->watch);
        (void)close(auth->admin->fd);
        mem_free(auth->admin);
        auth->admin = NULL;
    }
    struct listen *listen = mem_alloc(sizeof *listen);
    listen->auth = auth;
    listen->fd = fd;
    if (watch_new(auth->loop, fd, admin_ready, auth, &listen->watch) != TP_OK) {
        log_error("admin socket cannot be watched", "");
        (void)close(fd);
        mem_free(listen);
        return;
    }
    auth->admin = listen;
    watch_set(listen->watch, WATCH_READ);
}

static void on_line(struct auth *auth, const json_t *params, int fd)
{
    const char *kind = json_get_text(params, "kind", "");
    if (fd < 0) {
        return;
    }
    if (strcmp(kind, "worker") == 0) {
        struct link *link = link_add(auth, fd, LINK_WORKER);
        link->worker = (int)json_get_int(params, "worker", -1);
        routes_send_all(auth, link);
    } else if (strcmp(kind, "agent") == 0) {
        (void)link_add(auth, fd, LINK_AGENT);
    } else if (strcmp(kind, "admin") == 0) {
        admin_listen(auth, fd);
    } else {
        (void)close(fd);
    }
}

/* ---- Master ---- */

struct process {
    struct loop *loop;
    struct rpc *master;
    struct auth *auth;
    int log_fd;
    int status;
};

static void apply_log(const json_t *params)
{
    const json_t *log = json_object_get(params, "log");
    enum log_level level = LOG_LEVEL_INFO;
    const char *text = json_get_text(log, "level", json_get_text(log, "severity", "info"));
    if (log_level_parse(text, &level) == TP_OK) {
        log_set_level(level);
    }
}

static void on_config(struct process *process, const json_t *params, int key_fd)
{
    struct tp_error error = {0};
    if (process->auth == NULL) {
        const json_t *log = json_object_get(params, "log");
        bool json = json_get_bool(log, "json", strcmp(json_get_text(log, "format", ""), "json") == 0);
        log_init("auth", 2, LOG_LEVEL_INFO, json);
        apply_log(params);
        if (auth_open(process->loop, params, key_fd, &process->auth, &error) != TP_OK) {
            log_error("auth cannot start", "error=\"%s\"", error.text);
            /* Damage and another cluster's name stay what they are; a full disk or a lock may go away. */
            bool pointless = error.code == TP_CORRUPT || error.code == TP_INVALID;
            process->status = pointless ? MASTER_CHILD_POINTLESS : 1;
            loop_stop(process->loop);
            return;
        }
        process->auth->master = process->master;
        process->auth->hearing_until_ms = clock_mono_ms() + LIVE_UNHEARD_MS;
        log_info("auth ready", "cluster=\"%s\" ca_pin=%s", process->auth->settings.cluster, process->auth->host_pin);
        rpc_event(process->master, "ready", json_object());
        return;
    }
    struct auth *auth = process->auth;
    const char *cluster = json_get_text(params, "cluster_name", "");
    const char *data_dir = json_get_text(params, "data_dir", "");
    if (strcmp(cluster, auth->settings.cluster) != 0 || strcmp(data_dir, auth->settings.data_dir) != 0) {
        log_error("configuration not taken over", "error=\"cluster_name and data_dir can't change while running\"");
        return;
    }
    if (settings_read(&auth->settings, params, &error) != TP_OK) {
        log_error("configuration not taken over", "error=\"%s\"", error.text);
        return;
    }
    apply_log(params);
    settings_apply(auth);
    sessions_recheck(auth);
    keep_round(auth);
}

static void master_event(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    struct process *process = ctx;
    (void)rpc;
    if (strcmp(event, "config") == 0) {
        on_config(process, params, fd);
    } else if (strcmp(event, "line") == 0 && process->auth != NULL) {
        on_line(process->auth, params, fd);
        return;
    } else if (strcmp(event, "log.reopen") == 0 && fd >= 0) {
        log_set_fd(fd);
        if (process->log_fd >= 0) {
            (void)close(process->log_fd);
        }
        process->log_fd = fd;
        return;
    } else if (strcmp(event, "stop") == 0) {
        loop_stop(process->loop);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void master_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct process *process = ctx;
    (void)rpc;
    (void)reason;
    process->master = NULL;
    loop_stop(process->loop);
}

static void stop_loop(void *ctx)
{
    loop_stop(ctx);
}

/* Events that were accepted are written before the process ends; at most three seconds. */
static void finish_audit(struct process *process)
{
    process->auth->stopping = true;
    host_pace_finish(process->auth);
    struct timer *timer = timer_new(process->loop, stop_loop, process->loop);
    for (int i = 0; i < 150 && !audit_idle(process->auth); i++) {
        timer_start(timer, 20, 0);
        loop_run(process->loop);
    }
    timer_free(timer);
}

int auth_main(int control_fd)
{
    static const struct rpc_events events = {.on_event = master_event, .on_close = master_close};
    mem_one_pool(); /* passwords are hashed by threads, 19 MB each */
    struct process process = {.loop = loop_new(), .log_fd = -1};
    process.master = rpc_new_fd(process.loop, control_fd, &events, &process);
    loop_run(process.loop);
    if (process.auth != NULL) {
        finish_audit(&process);
        auth_close(process.auth);
    }
    if (process.status == MASTER_CHILD_POINTLESS) {
        exit(process.status); /* with the line still open: master kills whoever lives without one */
    }
    if (process.master != NULL) {
        rpc_free(process.master);
    }
    /* The loop is left to the system: the thread pool may still hold work whose objects are on it. */
    return process.status;
}

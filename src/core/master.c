/*
 * Happy path: load, bind, become a pid file, start auth, workers, agent, then wait for signals.
 *   HUP reload · USR1 reopen the log · USR2 upgrade · QUIT drain and stop · TERM, INT stop
 * A file that does not load leaves everything as it is and says why. A child that dies is started again.
 */
#include "core/master_priv.h"

#include "base/log.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define STOP_MS 5000
#define LOOK_MS 5000
#define BACKLOG 4096

void master_plan_free(struct master_plan *plan)
{
    json_decref(plan->auth);
    json_decref(plan->worker);
    json_decref(plan->agent);
    json_decref(plan->listen);
    json_decref(plan->watched);
    mem_free(plan->data_dir);
    mem_free(plan->pid_file);
    mem_free(plan->log_file);
    mem_free(plan->log_level);
    mem_free(plan->auth_key_file);
    mem_free(plan->auth_user);
    mem_free(plan->worker_user);
    mem_free(plan->agent_user);
    for (size_t i = 0; i < plan->file_count; i++) {
        (void)close(plan->files[i].fd);
        mem_free(plan->files[i].name);
        mem_free(plan->files[i].sha256);
    }
    memset(plan, 0, sizeof(*plan));
}

/* ---- log ---- */

/* *ret_fd is -1 when what there is stays: standard error, or, unless it must be opened, the old file. */
static enum tp_err open_log(const struct master_plan *plan, bool must, int *ret_fd, struct tp_error *error)
{
    enum tp_err err = TP_OK;
    *ret_fd = -1;
    if (plan->log_file)
        err = master_open_plain(plan->log_file, O_APPEND, 0640, "tport.log.output", ret_fd, error);
    if (err == TP_OK || must)
        return err;
    log_error("the log goes on in the old file", "why=\"%s\"", error->text);
    return TP_OK;
}

/* Takes fd (-1: none), and passes it to the processes that run. */
static void use_log(struct master *master, const struct master_plan *plan, int fd)
{
    enum log_level level = LOG_LEVEL_INFO;
    (void)!log_level_parse(plan->log_level ? plan->log_level : "info", &level);
    if (fd >= 0) {
        (void)dup3(fd, STDERR_FILENO, 0);
        (void)close(fd);
        for (struct master_child *child = master->children; child; child = child->next) {
            if (child->line)
                rpc_event_fd(child->line, "log.reopen", NULL, STDERR_FILENO);
        }
    }
    log_init("master", STDERR_FILENO, level, plan->log_json);
}

static void reopen_log(struct master *master)
{
    struct tp_error error = {0};
    int fd;
    (void)!open_log(&master->plan, false, &fd, &error);
    if (error.code == TP_OK) {
        use_log(master, &master->plan, fd);
        log_info("log reopened", "");
    }
    master_answer(master, error.text);
}

/* ---- sockets ---- */

static enum tp_err bind_one(const char *address, int *ret_fd, struct tp_error *error)
{
    const char *colon = strrchr(address, ':');
    char host[256];
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int one = 1;
    int fd;
    int failed;

    if (!colon)
        return err_set(error, TP_INVALID, "%s is no HOST:PORT", address);
    (void)snprintf(host, sizeof(host), "%.*s", (int)(colon - address), address);
    if (host[0] == '[') {
        memmove(host, host + 1, strlen(host));
        host[strlen(host) ? strlen(host) - 1 : 0] = 0;
    }
    failed = getaddrinfo(*host ? host : NULL, colon + 1, &hints, &found);
    if (failed)
        return err_set(error, TP_INVALID, "can't listen on %s: %s", address, gai_strerror(failed));
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int why = errno;
        enum tp_err err =
            why == EADDRINUSE ? err_set(error, TP_EXISTS,
                                        "can't listen on %s: another program has the port; stop it, or change "
                                        "proxy_service.web_listen_addr",
                                        address)
            : why == EACCES   ? err_set(error, TP_DENIED,
                                        "can't listen on %s: ports below 1024 need root or CAP_NET_BIND_SERVICE", address)
                              : err_errno(error, why, "can't listen on %s", address);
        if (fd >= 0)
            (void)close(fd);
        freeaddrinfo(found);
        return err;
    }
    freeaddrinfo(found);
    *ret_fd = fd;
    return TP_OK;
}

/* Binds what the plan wants and is not bound yet; on failure nothing has changed. */
static enum tp_err bind_all(struct master *master, const struct master_plan *plan, struct tp_error *error)
{
    size_t i;
    json_t *item;
    struct listening *fresh = NULL;
    enum tp_err err = TP_OK;

    json_array_foreach (plan->listen, i, item) {
        const char *address = json_string_value(item);
        struct listening *socket = master->listening;
        while (socket && strcmp(socket->address, address) != 0)
            socket = socket->next;
        if (socket)
            continue;
        socket = mem_alloc(sizeof(*socket));
        err = bind_one(address, &socket->fd, error);
        if (err != TP_OK) {
            mem_free(socket);
            break;
        }
        socket->address = mem_strdup(address);
        socket->next = fresh;
        fresh = socket;
    }
    while (fresh) {
        struct listening *socket = fresh;
        fresh = socket->next;
        if (err == TP_OK) {
            socket->next = master->listening;
            master->listening = socket;
        } else {
            (void)close(socket->fd);
            mem_free(socket->address);
            mem_free(socket);
        }
    }
    return err;
}

static void close_unwanted(struct master *master)
{
    struct listening **at = &master->listening;
    while (*at) {
        struct listening *socket = *at;
        if (json_list_has(master->plan.listen, socket->address)) {
            at = &socket->next;
            continue;
        }
        *at = socket->next;
        (void)close(socket->fd);
        mem_free(socket->address);
        mem_free(socket);
    }
}

static void close_listening(struct master *master)
{
    while (master->listening) {
        struct listening *socket = master->listening;
        master->listening = socket->next;
        (void)close(socket->fd);
        mem_free(socket->address);
        mem_free(socket);
    }
}

static enum tp_err bind_admin(struct master *master, struct tp_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/admin.sock", master->plan.data_dir);
    mode_t old;
    int failed;

    if (length >= (int)sizeof(address.sun_path))
        return err_set(error, TP_INVALID, "data_dir %s is too long for a socket inside it", master->plan.data_dir);
    master->admin_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (master->admin_fd < 0)
        return err_errno(error, errno, "can't make the admin socket");
    (void)unlink(address.sun_path);
    old = umask(0177);
    failed =
        bind(master->admin_fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(master->admin_fd, 64) != 0;
    (void)umask(old);
    return failed ? err_errno(error, errno, "can't listen on %s", address.sun_path) : TP_OK;
}

/* ---- stop ---- */

static void finish_if_alone(struct master *master)
{
    if (master->stopping && !master->children)
        loop_stop(master->loop);
}

static void on_deadline(void *ctx)
{
    struct master *master = ctx;
    if (!master->rest_stopped)
        timer_start(master->deadline, STOP_MS, 0); /* for the others, which have not been told yet */
    for (struct master_child *child = master->children; child; child = child->next) {
        if (!master->rest_stopped && child->role != CHILD_AGENT)
            continue;
        log_warn("process does not end, killing it", "role=%s pid=%d", master_role_name(child->role), (int)child->pid);
        (void)kill(child->pid, SIGKILL);
    }
}

/* Agents end first: what their sessions still have to say goes through a worker to auth. */
static void stop_next(struct master *master)
{
    bool agents = false;
    if (master->rest_stopped)
        return;
    for (const struct master_child *child = master->children; child; child = child->next)
        agents |= child->role == CHILD_AGENT;
    if (agents)
        return;
    master->rest_stopped = true;
    for (struct master_child *child = master->children; child; child = child->next)
        master_child_tell(child, "stop");
}

static void stop_all(struct master *master)
{
    master->stopping = true;
    for (struct master_child *child = master->children; child; child = child->next) {
        if (child->role == CHILD_AGENT)
            master_child_tell(child, "stop");
    }
    stop_next(master);
    timer_start(master->deadline, STOP_MS, 0);
    finish_if_alone(master);
}

void master_give_up(struct master *master)
{
    master->failed = true;
    timer_stop(master->restart);
    stop_all(master);
}

void master_child_gone(struct master *master)
{
    bool serving = false;
    for (struct master_child *child = master->children; child; child = child->next)
        serving |= child->role == CHILD_WORKER;
    if (master->graceful && !master->stopping && !serving)
        stop_all(master);
    if (master->restart_auth && !master_auth(master)) {
        bool left = false;
        for (struct master_child *child = master->children; child; child = child->next)
            left |= child->role == CHILD_AUTH;
        if (!left) {
            master->restart_auth = false;
            timer_start(master->restart, 0, 0);
        }
    }
    if (master->stopping)
        stop_next(master);
    finish_if_alone(master);
}

static void drain_and_stop(struct master *master)
{
    bool serving = false;
    if (master->graceful) {
        stop_all(master);
        return;
    }
    log_info("draining, then stopping", "");
    master->graceful = true;
    /* Who comes now is refused at once, not kept waiting. */
    close_listening(master);
    timer_stop(master->restart);
    for (struct master_child *child = master->children; child; child = child->next) {
        if (child->role == CHILD_AUTH)
            continue;
        child->leaving = true;
        serving |= child->role == CHILD_WORKER;
        master_child_tell(child, "drain");
    }
    if (!serving)
        stop_all(master);
}

/* ---- reload ---- */

void master_child_ready(struct master *master)
{
    size_t ready = 0;
    for (const struct master_child *child = master->children; child; child = child->next)
        ready += child->role == CHILD_WORKER && child->generation == master->generation && child->ready;
    if (ready < master->plan.worker_count)
        return;
    log_info("serving", "workers=%zu generation=%u", ready, master->generation);
    for (struct master_child *child = master->children; child; child = child->next) {
        if (child->role == CHILD_AUTH || child->generation == master->generation || child->leaving)
            continue;
        child->leaving = true;
        master_child_tell(child, "drain");
    }
}

static const char *cluster_of(const struct master_plan *plan)
{
    return plan->auth ? json_get_text(plan->auth, "cluster_name", "") : "";
}

/* Reads the file, opens the log and binds what it wants; on failure nothing has changed. Where nobody asked, a log that can't be
 * opened keeps a new certificate from nobody. */
static enum tp_err load_anew(struct master *master, bool asked, struct master_plan *plan, struct tp_error *error)
{
    int fd = -1;
    enum tp_err err = master->load(master->conf_path, plan, error);
    if (err != TP_OK)
        return err;
    if (strcmp(plan->data_dir, master->plan.data_dir) != 0)
        return err_set(error, TP_INVALID, "data_dir can't change while running");
    if (master->plan.auth && plan->auth && strcmp(cluster_of(plan), cluster_of(&master->plan)) != 0)
        return err_set(error, TP_INVALID, "cluster_name can't change: it stands in every certificate");
    err = open_log(plan, asked, &fd, error);
    if (err == TP_OK)
        err = bind_all(master, plan, error);
    if (err == TP_OK)
        use_log(master, plan, fd);
    else if (fd >= 0)
        (void)close(fd);
    return err;
}

static void reload(struct master *master, bool asked)
{
    struct master_plan plan = {0};
    struct tp_error error = {0};
    struct master_child *auth;

    if (load_anew(master, asked, &plan, &error) != TP_OK) {
        log_error("reload refused, the old configuration stays in force", "file=%s why=\"%s\"", master->conf_path,
                  error.text);
        master_plan_free(&plan);
        master_answer(master, error.text);
        return;
    }
    master_plan_free(&master->plan);
    master->plan = plan;
    master->generation++;
    close_unwanted(master);
    auth = master_auth(master);
    if (auth && master->plan.auth)
        rpc_event(auth->line, "config", json_incref(master->plan.auth));
    log_info("configuration loaded", "generation=%u", master->generation);
    master_start_missing(master);
    if (master->plan.worker_count == 0)
        master_child_ready(master);
    master_answer(master, "");
}

/* ---- certificate files ---- */

/* A number that changes when one of the files is written or replaced. */
static uint64_t files_look(const struct master_plan *plan)
{
    uint64_t sum = 0;
    size_t i;
    json_t *item;
    json_array_foreach (plan->watched, i, item) {
        struct stat info = {0};
        if (stat(json_string_value(item), &info) == 0)
            sum = sum * 1000003u + ((uint64_t)info.st_mtim.tv_sec ^ (uint64_t)info.st_mtim.tv_nsec << 20 ^
                                    (uint64_t)info.st_ino << 40 ^ (uint64_t)info.st_size);
    }
    return sum;
}

static void on_look(void *ctx)
{
    struct master *master = ctx;
    uint64_t now = files_look(&master->plan);
    if (now == master->files_seen || master->stopping || master->graceful)
        return;
    master->files_seen = now;
    log_info("a certificate file has changed", "");
    reload(master, false);
}

/* ---- signals and start ---- */

static void on_signal(void *ctx, int signal_number)
{
    struct master *master = ctx;
    bool going = master->stopping || master->graceful;
    if (going && (signal_number == SIGHUP || (master->stopping && signal_number == SIGUSR1))) {
        master_answer(master, "it is stopping");
    }
    /* Who drains can still be told to stop at once; nothing makes him stay. */
    if (master->stopping || (going && (signal_number == SIGHUP || signal_number == SIGUSR2)))
        return;
    switch (signal_number) {
    case SIGHUP:
        reload(master, true);
        break;
    case SIGUSR1:
        reopen_log(master);
        break;
    case SIGUSR2:
        master_upgrade(master);
        break;
    case SIGQUIT:
        drain_and_stop(master);
        break;
    default:
        log_info("stopping", "signal=%d", signal_number);
        stop_all(master);
        break;
    }
}

static void on_restart(void *ctx)
{
    master_start_missing(ctx);
}

static enum tp_err prepare(struct master *master, struct tp_error *error)
{
    bool upgraded = master_upgrade_waits();
    int log = -1;
    enum tp_err err = upgraded ? TP_OK : master_lock(master, error);
    if (err == TP_OK)
        err = master_make_folders(&master->plan, error);
    if (err == TP_OK)
        err = open_log(&master->plan, !upgraded, &log, error);
    if (err == TP_OK)
        use_log(master, &master->plan, log);
    if (err == TP_OK && upgraded && master_upgrade_resume(master)) {
        err = master_lock(master, error); /* the program before us may have had none */
    } else if (err == TP_OK) {
        err = bind_all(master, &master->plan, error);
        if (err == TP_OK && master->plan.auth)
            err = bind_admin(master, error);
    }
    if (err == TP_OK)
        err = master_write_pid(master, error);
    if (err == TP_OK)
        master_answer(master, "");
    return err;
}

/* All children have gone. */
static void release(struct master *master)
{
    timer_free(master->restart);
    timer_free(master->deadline);
    timer_free(master->look);
    loop_free(master->loop);
    close_listening(master);
    if (master->admin_fd >= 0)
        (void)close(master->admin_fd);
    if (master->lock_fd >= 0)
        (void)close(master->lock_fd);
    master_plan_free(&master->plan);
    mem_free(master->program);
}

int master_run(const char *conf_path, char *const *argv, master_load_fn *load)
{
    static const int signals[] = {SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT, SIGTERM, SIGINT};
    struct master master = {
        .conf_path = conf_path, .argv = argv, .load = load, .admin_fd = -1, .lock_fd = -1, .generation = 1};
    struct signal_watch *watches[sizeof(signals) / sizeof(signals[0])];
    struct tp_error error = {0};
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char *admin_path;

    if (length <= 0 || load(conf_path, &master.plan, &error) != TP_OK) {
        (void)fprintf(stderr, "tportd: %s\n", error.text);
        return 1;
    }
    path[length] = 0;
    master.program = mem_strdup(path);
    (void)signal(SIGPIPE, SIG_IGN);
    master.loop = loop_new();
    master.restart = timer_new(master.loop, on_restart, &master);
    master.deadline = timer_new(master.loop, on_deadline, &master);
    master.look = timer_new(master.loop, on_look, &master);
    if (prepare(&master, &error) != TP_OK) {
        (void)fprintf(stderr, "tportd: %s\n", error.text);
        if (!master.children)
            release(&master);
        return 1;
    }
    /* An agent of Kubernetes alone, as in a pod, has no other users and no sessions of users. */
    if (geteuid() != 0 && (master.plan.auth || !*master.plan.agent_user))
        log_warn("not started as root: all processes keep this user, and sessions can only be this user's",
                 "uid=%d kept=\"system call filters, no new privileges\"", (int)geteuid());
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        watches[i] = signal_watch_new(master.loop, signals[i], on_signal, &master);
    master.files_seen = files_look(&master.plan);
    timer_start(master.look, LOOK_MS, LOOK_MS);
    master_start_missing(&master);
    loop_run(master.loop);

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        signal_watch_free(watches[i]);
    master_remove_pid(&master);
    admin_path = mem_printf("%s/admin.sock", master.plan.data_dir);
    if (master.plan.auth)
        (void)unlink(admin_path);
    mem_free(admin_path);
    log_info("stopped", "");
    release(&master);
    return master.failed ? 1 : 0;
}

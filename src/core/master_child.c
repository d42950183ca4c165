#include "core/master_priv.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define QUICK_DEATH_MS 10000
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MOST_MS 10000

static const char *const role_names[] = {[CHILD_AUTH] = "auth", [CHILD_WORKER] = "worker", [CHILD_AGENT] = "agent"};

const char *master_role_name(enum child_role role)
{
    return role_names[role];
}

struct master_child *master_auth(struct master *master)
{
    for (struct master_child *child = master->children; child; child = child->next) {
        if (child->role == CHILD_AUTH && !child->leaving)
            return child;
    }
    return NULL;
}

void master_child_tell(struct master_child *child, const char *event)
{
    if (child->line)
        rpc_event(child->line, event, NULL);
}

/* ---- lines between children ---- */

/* A fresh pair between auth and one other child. */
static void join(struct master_child *auth, struct master_child *other)
{
    int pair[2];
    if (!auth->line || !other->line)
        return;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        log_error("can't make a line to auth", "errno=%d", errno);
        return;
    }
    rpc_event_fd(auth->line, "line",
                 json_pack("{s:s, s:i}", "kind", role_names[other->role], "worker", (int)other->number), pair[0]);
    rpc_event_fd(other->line, "auth_line", NULL, pair[1]);
    (void)close(pair[0]);
    (void)close(pair[1]);
}

static void join_all(struct master *master, struct master_child *child)
{
    struct master_child *auth = master_auth(master);
    if (child->role != CHILD_AUTH) {
        if (auth)
            join(auth, child);
        return;
    }
    for (struct master_child *other = master->children; other; other = other->next) {
        if (other->role != CHILD_AUTH)
            join(child, other);
    }
}

/* ---- the end of a child ---- */

static void unlink_child(struct master_child *child)
{
    for (struct master_child **at = &child->master->children; *at; at = &(*at)->next) {
        if (*at == child) {
            *at = child->next;
            return;
        }
    }
}

static void gone(struct master_child *child, const char *how, int code)
{
    struct master *master = child->master;
    int64_t lived = loop_now_ms(master->loop) - child->started;
    /* From auth alone, and before it has served: what strangers talk to must not end everything by its exit. */
    bool pointless = child->role == CHILD_AUTH && !child->ready && !master->stopping && strcmp(how, "status") == 0 &&
                     code == MASTER_CHILD_POINTLESS;
    if (pointless) {
        log_error("stopping: this process cannot run with what is on the disk, its own line says why", "role=%s pid=%d",
                  role_names[child->role], (int)child->pid);
    } else if (child->leaving || master->stopping) {
        log_info("process ended", "role=%s number=%u pid=%d", role_names[child->role], child->number, (int)child->pid);
    } else {
        log_error("process died, starting it again", "role=%s number=%u pid=%d %s=%d", role_names[child->role],
                  child->number, (int)child->pid, how, code);
        if (lived < QUICK_DEATH_MS)
            master->backoff_ms = master->backoff_ms ? master->backoff_ms * 2 : BACKOFF_FIRST_MS;
        else
            master->backoff_ms = 0;
        if (master->backoff_ms > BACKOFF_MOST_MS)
            master->backoff_ms = BACKOFF_MOST_MS;
        timer_start(master->restart, master->backoff_ms, 0);
    }
    unlink_child(child);
    if (child->process)
        child_forget(child->process);
    rpc_free(child->line);
    json_decref(child->config);
    mem_free(child);
    if (pointless)
        master_give_up(master);
    master_child_gone(master);
}

static void on_exit_status(void *ctx, int status, int signal_number)
{
    struct master_child *child = ctx;
    child->process = NULL;
    gone(child, signal_number ? "signal" : "status", signal_number ? signal_number : status);
}

static void on_line_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct master_child *child = ctx;
    int status = 0;
    (void)rpc;
    (void)reason;
    child->line = NULL;
    if (child->process) {
        /* It lives without its line: it can't be told anything any more. Its exit comes by on_exit_status. */
        child_kill(child->process, SIGKILL);
        return;
    }
    /* Taken over at an upgrade: the end of the line is how we learn of its end. */
    (void)kill(child->pid, SIGKILL);
    (void)waitpid(child->pid, &status, 0);
    gone(child, "status", status);
}

/* ---- what children say ---- */

static void on_event(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    struct master_child *child = ctx;
    (void)rpc;
    if (strcmp(event, "pair") == 0 && fd < 0) {
        master_make_pair(child, params);
    } else if (strcmp(event, "handoff") == 0 && fd >= 0) {
        master_pass_handoff(child, params, fd);
    } else if (strcmp(event, "ready") == 0 && !child->ready) {
        child->ready = true;
        child->master->backoff_ms = 0;
        master_child_ready(child->master);
    }
    if (fd >= 0)
        (void)close(fd);
}

static const struct rpc_events line_events = {.on_event = on_event, .on_close = on_line_close};

/* ---- starting ---- */

static struct master_child *new_child(struct master *master, enum child_role role, unsigned number)
{
    struct master_child *child = mem_alloc(sizeof(*child));
    child->master = master;
    child->role = role;
    child->number = number;
    child->generation = master->generation;
    child->started = loop_now_ms(master->loop);
    child->next = master->children;
    master->children = child;
    return child;
}

void master_child_adopt(struct master *master, enum child_role role, unsigned number, pid_t pid, int fd)
{
    struct master_child *child = new_child(master, role, number);
    child->pid = pid;
    child->ready = true;
    child->line = rpc_new_fd(master->loop, fd, &line_events, child);
}

/* The environment of every child: nothing of ours but what sanitizers are told by testers, and where the API server of the
 * Kubernetes cluster is that we run in. */
static size_t child_environment(char **env, size_t size)
{
    static const char *const names[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "KUBERNETES_SERVICE_HOST",
                                        "KUBERNETES_SERVICE_PORT"};
    size_t count = 0;
    env[count++] = mem_strdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && count + 1 < size; i++) {
        const char *value = getenv(names[i]);
        if (value)
            env[count++] = mem_printf("%s=%s", names[i], value);
    }
    env[count] = NULL;
    return count;
}

/* In another user's folder, auth's perhaps, a link could lead us to a file that is not for auth: it opens that one itself. */
static bool is_in_own_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash && slash > path ? mem_strndup(path, (size_t)(slash - path)) : mem_strdup("/");
    struct stat info;
    bool own = stat(folder, &info) == 0 && info.st_uid == geteuid();
    mem_free(folder);
    return own;
}

/* The configuration, to auth with the file of its key, which may be root's alone, or why there is none: auth says so. */
static void send_config(const struct master *master, struct master_child *child)
{
    const char *key_file = child->role == CHILD_AUTH ? master->plan.auth_key_file : NULL;
    if (key_file && !is_in_own_folder(key_file))
        key_file = NULL;
    int fd = key_file ? open(key_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
    if (fd >= 0) {
        rpc_event_fd(child->line, "config", json_incref(child->config), fd);
        (void)close(fd);
    } else {
        if (key_file)
            (void)json_object_set_new(child->config, "secrets_key_errno", json_integer(errno));
        rpc_event(child->line, "config", json_incref(child->config));
    }
}

static bool start(struct master *master, enum child_role role, json_t *config, const char *user)
{
    struct tp_error error = {0};
    unsigned number = role == CHILD_WORKER ? ++master->last_number : 0;
    char title[64];
    char *argv[] = {title, (char *)"--child", (char *)(uintptr_t)role_names[role], (char *)(uintptr_t)user, NULL};
    char *env[8];
    size_t env_count = child_environment(env, sizeof(env) / sizeof(env[0]));
    int pair[2];
    struct master_child *child;
    enum tp_err err;

    if (number)
        (void)snprintf(title, sizeof(title), "tportd: worker %u", number);
    else
        (void)snprintf(title, sizeof(title), "tportd: %s", role_names[role]);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        log_error("can't make a line for a process", "errno=%d", errno);
        while (env_count > 0)
            mem_free(env[--env_count]);
        return false;
    }
    child = new_child(master, role, number);
    err = child_spawn(master->loop,
                      &(struct child_options){.file = master->program,
                                              .argv = argv,
                                              .env = env,
                                              .cwd = "/",
                                              .fds = (const int[]){-1, STDERR_FILENO, STDERR_FILENO, pair[1]},
                                              .fd_count = 4,
                                              .new_session = role == CHILD_AGENT},
                      on_exit_status, child, &child->process, &error);
    while (env_count > 0)
        mem_free(env[--env_count]);
    (void)close(pair[1]);
    if (err != TP_OK) {
        log_error("can't start a process", "role=%s why=\"%s\"", role_names[role], error.text);
        (void)close(pair[0]);
        unlink_child(child);
        mem_free(child);
        return false;
    }
    child->pid = child_pid(child->process);
    child->line = rpc_new_fd(master->loop, pair[0], &line_events, child);
    child->config = json_deep_copy(config);
    if (role == CHILD_WORKER)
        (void)json_object_set_new(child->config, "number", json_integer((json_int_t)number));
    send_config(master, child);
    if (role == CHILD_WORKER) {
        for (size_t i = 0; i < master->plan.file_count; i++) {
            const struct master_file *file = &master->plan.files[i];
            rpc_event_fd(child->line, "file",
                         json_pack("{s:s, s:s, s:I}", "name", file->name, "sha256", file->sha256, "size",
                                   (json_int_t)file->size),
                         file->fd);
        }
        for (struct listening *socket = master->listening; socket; socket = socket->next)
            rpc_event_fd(child->line, "listener", json_pack("{s:s}", "address", socket->address), socket->fd);
    }
    if (role == CHILD_AUTH && master->admin_fd >= 0)
        rpc_event_fd(child->line, "line", json_pack("{s:s}", "kind", "admin"), master->admin_fd);
    join_all(master, child);
    log_info("process started", "role=%s number=%u pid=%d", role_names[role], number, (int)child->pid);
    return true;
}

static size_t count(const struct master *master, enum child_role role)
{
    size_t found = 0;
    for (const struct master_child *child = master->children; child; child = child->next)
        found += child->role == role && !child->leaving && child->generation == master->generation;
    return found;
}

void master_start_missing(struct master *master)
{
    bool good = true;
    if (master->stopping || master->upgrading)
        return;
    /* Auth outlives reloads: one of any generation will do. */
    if (master->plan.auth && !master_auth(master) && !master->restart_auth)
        good = start(master, CHILD_AUTH, master->plan.auth, master->plan.auth_user);
    while (good && master->plan.worker && count(master, CHILD_WORKER) < master->plan.worker_count)
        good = start(master, CHILD_WORKER, master->plan.worker, master->plan.worker_user);
    if (good && master->plan.agent && count(master, CHILD_AGENT) == 0)
        good = start(master, CHILD_AGENT, master->plan.agent, master->plan.agent_user);
    if (!good)
        timer_start(master->restart, BACKOFF_MOST_MS, 0);
}

/*
 * Upgrade in place: the master replaces its own program image (same process id, so systemd notices nothing), keeps the
 * listening sockets and the lines to its children, and the new image then replaces auth and drains the old workers as a
 * reload does. What must survive is written as JSON into one environment variable.
 */
#include "core/master_priv.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VARIABLE "TPORT_UPGRADE"

extern char **environ;

static void keep(int fd, bool kept)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFD, kept ? flags & ~FD_CLOEXEC : flags | FD_CLOEXEC);
}

static void keep_all(struct master *master, bool kept)
{
    for (struct listening *socket = master->listening; socket; socket = socket->next)
        keep(socket->fd, kept);
    for (struct master_child *child = master->children; child; child = child->next) {
        if (child->line)
            keep(rpc_fd(child->line), kept);
    }
    if (master->admin_fd >= 0)
        keep(master->admin_fd, kept);
    keep(master->lock_fd, kept);
}

static json_t *describe(const struct master *master)
{
    json_t *sockets = json_array();
    json_t *children = json_array();
    for (const struct listening *socket = master->listening; socket; socket = socket->next)
        (void)json_array_append_new(sockets, json_pack("{s:s, s:i}", "address", socket->address, "fd", socket->fd));
    for (const struct master_child *child = master->children; child; child = child->next) {
        if (child->line)
            (void)json_array_append_new(children, json_pack("{s:i, s:i, s:i, s:i, s:b}", "role", (int)child->role,
                                                            "number", (int)child->number, "pid", (int)child->pid, "fd",
                                                            rpc_fd(child->line), "leaving", (int)child->leaving));
    }
    return json_pack("{s:o, s:o, s:i, s:i, s:i, s:i}", "listening", sockets, "children", children, "admin",
                     master->admin_fd, "lock", master->lock_fd, "last_number", (int)master->last_number, "answers",
                     (int)master->answers);
}

static void on_retry(void *ctx)
{
    struct master *master = ctx;
    master->upgrading = false;
    master_upgrade(master);
}

void master_upgrade(struct master *master)
{
    struct master_plan plan = {0};
    struct tp_error error = {0};
    json_t *state;
    char *text;

    if (access(master->program, X_OK) != 0) {
        log_error("upgrade refused", "file=%s why=\"%s\"", master->program, strerror(errno));
        return;
    }
    if (master->load(master->conf_path, &plan, &error) != TP_OK) {
        log_error("upgrade refused, the configuration does not load", "why=\"%s\"", error.text);
        return;
    }
    master_plan_free(&plan);
    for (struct master_child *child = master->children; child; child = child->next) {
        if (child->line && !rpc_is_idle(child->line)) {
            struct timer *timer = timer_new(master->loop, on_retry, master);
            master->upgrading = true;
            timer_start(timer, 10, 0);
            return;
        }
    }
    log_info("upgrading", "file=%s", master->program);
    state = describe(master);
    text = json_text(state);
    json_decref(state);
    keep_all(master, true);
    (void)setenv(VARIABLE, text, 1);
    mem_free(text);
    (void)execve(master->program, master->argv, environ);
    log_error("upgrade failed, going on with the old program", "file=%s why=\"%s\"", master->program, strerror(errno));
    (void)unsetenv(VARIABLE);
    keep_all(master, false);
}

bool master_upgrade_waits(void)
{
    return getenv(VARIABLE) != NULL;
}

bool master_upgrade_resume(struct master *master)
{
    const char *text = getenv(VARIABLE);
    json_t *state = NULL;
    size_t i;
    json_t *item;

    if (!text)
        return false;
    if (json_parse_object(text, strlen(text), (size_t)1024 * 1024, &state, NULL) != TP_OK)
        return false;
    (void)unsetenv(VARIABLE);
    master->admin_fd = (int)json_get_int(state, "admin", -1);
    master->lock_fd = (int)json_get_int(state, "lock", -1);
    master->last_number = (unsigned)json_get_int(state, "last_number", 0);
    master->answers = (unsigned)json_get_int(state, "answers", 0);
    json_array_foreach (json_object_get(state, "listening"), i, item) {
        struct listening *socket = mem_alloc(sizeof(*socket));
        socket->address = mem_strdup(json_get_text(item, "address", ""));
        socket->fd = (int)json_get_int(item, "fd", -1);
        socket->next = master->listening;
        master->listening = socket;
    }
    master->generation = 0; /* of those taken over */
    json_array_foreach (json_object_get(state, "children"), i, item) {
        enum child_role role = (enum child_role)json_get_int(item, "role", CHILD_WORKER);
        master_child_adopt(master, role, (unsigned)json_get_int(item, "number", 0),
                           (pid_t)json_get_int(item, "pid", -1), (int)json_get_int(item, "fd", -1));
        master->children->leaving = json_get_bool(item, "leaving", false);
        if (role == CHILD_AUTH) {
            /* Two must never write the same store: the new one starts when this one has gone. */
            master->children->leaving = true;
            master->restart_auth = true;
            master_child_tell(master->children, "stop");
        }
    }
    master->generation = 1;
    keep_all(master, false);
    json_decref(state);
    log_info("upgraded, taking over", "children=%zu", (size_t)i);
    return true;
}

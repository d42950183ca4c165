/*
 * One file of a grant that is for it: opened by a helper with the user's own rights, on record before a byte moves. An
 * upload gets its name when all of it is there; until then, and when it ends early, nothing of that name changes.
 */
#include "base/log.h"
#include "base/mem.h"
#include "session/monitor_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define HELPER_MS 10000
#define PATH_LIMIT ((size_t)4000)

/* One question of net. */
struct file_ask {
    struct monitor *monitor;
    struct rpc_call *call;
    bool upload;
    bool keep; /* file_done: the upload is complete */
    int fd;
    struct stat st;
};

static void file_ask_free(struct file_ask *ask)
{
    struct monitor *monitor = ask->monitor;
    monitor->agent_calls--;
    mem_free(ask);
    monitor_check_done(monitor);
}

/* ---- in the helper: the user's ids, paths from his home ---- */

static int work_open(void *ctx, int *ret_number, struct tp_error *error)
{
    const struct file_ask *ask = ctx;
    const struct monitor *monitor = ask->monitor;
    struct stat st;
    int fd;
    (void)ret_number;
    (void)umask(022);
    if (chdir(monitor->account.home) != 0 && chdir("/") != 0) {
        (void)err_errno(error, errno, "no home directory");
        return -1;
    }
    if (ask->upload && stat(monitor->file_path, &st) == 0 && !S_ISREG(st.st_mode)) {
        (void)err_set(error, TP_INVALID, "%s is no file", monitor->file_path);
        return -1;
    }
    fd = ask->upload ? open(monitor->file_temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)
                     : open(monitor->file_path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        (void)err_errno(error, errno, "%s", monitor->file_path);
    } else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        (void)err_set(error, TP_INVALID, "%s is no file", monitor->file_path);
        close(fd);
        fd = -1;
    }
    return fd;
}

static int work_done(void *ctx, int *ret_number, struct tp_error *error)
{
    const struct file_ask *ask = ctx;
    const struct monitor *monitor = ask->monitor;
    struct stat st;
    (void)ret_number;
    if (chdir(monitor->account.home) != 0 && chdir("/") != 0) {
        (void)err_errno(error, errno, "no home directory");
        return -1;
    }
    if (ask->keep) { /* as the one that it takes the place of; until now it was the user's alone */
        mode_t mode = stat(monitor->file_path, &st) == 0 ? st.st_mode & 0777 : 0644;
        int fd = open(monitor->file_temp, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0) {
            (void)fchmod(fd, mode);
            (void)close(fd);
        }
    }
    if (ask->keep && rename(monitor->file_temp, monitor->file_path) != 0) {
        (void)err_errno(error, errno, "%s", monitor->file_path);
        (void)unlink(monitor->file_temp);
        return -1;
    }
    if (!ask->keep) {
        (void)unlink(monitor->file_temp);
    }
    return open("/dev/null", O_RDONLY | O_CLOEXEC); /* helpers answer with a descriptor */
}

/* ---- here ---- */

static json_t *record_of(const struct file_ask *ask, const struct tp_error *error)
{
    const struct monitor *monitor = ask->monitor;
    json_t *fields =
        json_pack("{s:s, s:s, s:s, s:b}", "path", monitor->file_path, "action", ask->upload ? "upload" : "download",
                  "login", monitor->account.name, "success", error == NULL);
    if (error != NULL) {
        json_object_set_new(fields, "error", json_string(error->text));
    }
    return json_pack("{s:s, s:s, s:o}", "sid", monitor->sid, "event", ask->upload ? "scp.upload" : "scp.download",
                     "fields", fields);
}

static void on_recorded(void *ctx, json_t *result, const struct tp_error *error)
{
    struct file_ask *ask = ctx;
    struct monitor *monitor = ask->monitor;
    (void)result;
    if (error != NULL || monitor->state != ORDER_AUTHENTICATED) {
        close(ask->fd);
        rpc_fail_text(ask->call, TP_DENIED, "the file can't be put on record, so it is refused");
    } else {
        monitor_send_fd(monitor, 1, "file", ask->fd);
        rpc_reply(ask->call, json_pack("{s:I}", "size", (json_int_t)(ask->upload ? 0 : ask->st.st_size)));
    }
    file_ask_free(ask);
}

static void on_open(void *ctx, int fd, int number, const struct tp_error *error)
{
    struct file_ask *ask = ctx;
    struct monitor *monitor = ask->monitor;
    (void)number;
    if (error != NULL || monitor->agent == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        if (error != NULL) {
            monitor_tell_agent(monitor, "session.event", record_of(ask, error));
            rpc_fail(ask->call, error);
        } else {
            rpc_fail_text(ask->call, TP_CLOSED, "the agent is gone");
        }
        file_ask_free(ask);
        return;
    }
    ask->fd = fd;
    (void)fstat(fd, &ask->st);
    (void)rpc_request(monitor->agent, "session.event", record_of(ask, NULL), NULL, 20000, on_recorded, ask);
}

static struct file_ask *file_ask_new(struct monitor *monitor, struct rpc_call *call)
{
    struct file_ask *ask = mem_alloc(sizeof(*ask));
    ask->monitor = monitor;
    ask->call = call;
    ask->fd = -1;
    monitor->agent_calls++; /* keeps the process until it is answered */
    return ask;
}

/* Beside the file, so that it can be renamed: "dir/.name.tport-<hex>". */
static char *temp_name(const char *path)
{
    const char *name = strrchr(path, '/');
    size_t dir = name == NULL ? 0 : (size_t)(name - path) + 1;
    uint64_t random = 0;
    (void)!getrandom(&random, sizeof(random), 0);
    return mem_printf("%.*s.%.200s.tport-%016llx", (int)dir, path, path + dir, (unsigned long long)random);
}

/* An account that PAM refuses a shell gets no file either. */
static enum tp_err may_sign_in(struct monitor *monitor, struct tp_error *error)
{
    struct environment env = {0};
    struct pam *pam = NULL;
    enum tp_err err = monitor_pam(monitor, NULL, &env, &pam, error);
    pam_close(pam);
    environment_free(&env);
    return err;
}

void monitor_open_file(struct monitor *monitor, struct rpc_call *call, json_t *params)
{
    const char *path = json_get_text(params, "path", "");
    size_t length = strlen(path);
    struct tp_error error = {0};
    struct file_ask *ask = file_ask_new(monitor, call);
    ask->upload = strcmp(json_get_text(params, "op", ""), "upload") == 0;
    monitor->file_path = mem_strdup(path);
    if (!json_get_bool(monitor->config, "file_copy_allowed", false)) {
        (void)err_set(&error, TP_DENIED, "file copy is not allowed on this host");
    } else if (length == 0 || length > PATH_LIMIT || path[length - 1] == '/') {
        (void)err_set(&error, TP_INVALID, "the path must name a file");
    } else {
        monitor->file_temp = ask->upload ? temp_name(path) : NULL;
        (void)may_sign_in(monitor, &error);
    }
    if (error.code == TP_OK &&
        helper_start(monitor->loop, &monitor->account, HELPER_MS, work_open, ask, on_open, ask, &error) == TP_OK) {
        return;
    }
    on_open(ask, -1, 0, &error);
}

static void on_done(void *ctx, int fd, int number, const struct tp_error *error)
{
    struct file_ask *ask = ctx;
    (void)number;
    if (fd >= 0) {
        close(fd);
    }
    if (error != NULL) {
        monitor_tell_agent(ask->monitor, "session.event", record_of(ask, error));
        if (ask->call != NULL) {
            rpc_fail(ask->call, error);
        }
    } else if (ask->call != NULL) {
        rpc_reply(ask->call, NULL);
    }
    mem_free(ask->monitor->file_temp);
    ask->monitor->file_temp = NULL;
    file_ask_free(ask);
}

static void file_done(struct monitor *monitor, struct rpc_call *call, bool keep)
{
    struct tp_error error = {0};
    struct file_ask *ask = file_ask_new(monitor, call);
    ask->upload = true;
    ask->keep = keep;
    if (helper_start(monitor->loop, &monitor->account, HELPER_MS, work_done, ask, on_done, ask, &error) != TP_OK) {
        on_done(ask, -1, 0, &error);
    }
}

void monitor_file_done(struct monitor *monitor, struct rpc_call *call, json_t *params)
{
    if (monitor->file_temp == NULL) {
        rpc_reply(call, NULL); /* it was never opened */
        return;
    }
    file_done(monitor, call, json_get_bool(params, "ok", false) && monitor->state == ORDER_AUTHENTICATED);
}

void monitor_file_abandon(struct monitor *monitor)
{
    if (monitor->file_temp != NULL) {
        file_done(monitor, NULL, false);
    }
}

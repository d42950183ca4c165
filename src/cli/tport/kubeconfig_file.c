#include "cli/tport/kubeconfig_file.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/common/file.h"
#include "cli/tport/kubeconfig.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOCK_WAIT_MS 10000
#define LOCK_STEP_NS 5000000

char *kubeconfig_path(const char *option)
{
    const char *list = getenv("KUBECONFIG");
    const char *home = getenv("HOME");
    if (option && *option)
        return mem_strdup(option);
    for (const char *at = list ? list : ""; *at;) {
        size_t length = strcspn(at, ":");
        if (length > 0)
            return mem_strndup(at, length);
        at++;
    }
    return home && *home ? mem_printf("%s/.kube/config", home) : NULL;
}

enum tp_err kubeconfig_read(const char *path, json_t **ret_config, struct tp_error *error)
{
    struct buf text;
    buf_init(&text, KUBECONFIG_MAX_BYTES);
    enum tp_err err = file_read(path, &text, error);
    if (err == TP_OK || err == TP_NOT_FOUND)
        err = kubeconfig_parse(buf_text(&text), buf_size(&text), path, ret_config, error);
    buf_wipe(&text);
    return err;
}

/*
 * kubectl locks by a file FILE.lock that must not exist. We take the same lock, so that no "kubectl config" is lost
 * between our reading and our writing, and wait where kubectl would give up.
 */
static enum tp_err take_lock(const char *path, struct tp_error *error)
{
    int64_t end = clock_mono_ms() + LOCK_WAIT_MS;
    for (;;) {
        const struct timespec step = {.tv_nsec = LOCK_STEP_NS};
        int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0) {
            (void)close(fd);
            return TP_OK;
        }
        if (errno != EEXIST)
            return err_errno(error, errno, "%s cannot be made", path);
        if (clock_mono_ms() > end)
            return err_set(error, TP_UNAVAILABLE,
                           "another program holds %s; if neither kubectl nor tport is running, remove that file", path);
        (void)nanosleep(&step, NULL);
    }
}

static enum tp_err edit_locked(const char *path,
                               enum tp_err (*change)(json_t *config, void *context, struct tp_error *error),
                               void *context, struct tp_error *error)
{
    json_t *config, *before;
    enum tp_err err = kubeconfig_read(path, &config, error);
    if (err != TP_OK)
        return err;
    before = json_deep_copy(config);
    err = change(config, context, error);
    if (err == TP_OK && !json_equal(before, config)) {
        char *text = kubeconfig_text(config);
        if (strlen(text) > KUBECONFIG_MAX_BYTES)
            err =
                err_set(error, TP_TOO_LARGE,
                        "%s would grow past 16 MB; log in to single clusters, or use several files (KUBECONFIG)", path);
        else
            err = file_replace(path, text, strlen(text), error);
        secret_free(text);
    }
    json_decref(before);
    json_decref(config);
    return err;
}

enum tp_err kubeconfig_edit(const char *path,
                            enum tp_err (*change)(json_t *config, void *context, struct tp_error *error), void *context,
                            struct tp_error *error)
{
    char *folder = mem_strdup(path);
    char *lock = mem_printf("%s.lock", path);
    enum tp_err err = file_make_dirs(dirname(folder), error);
    if (err == TP_OK)
        err = take_lock(lock, error);
    if (err == TP_OK) {
        err = edit_locked(path, change, context, error);
        (void)unlink(lock);
    }
    mem_free(folder);
    mem_free(lock);
    return err;
}

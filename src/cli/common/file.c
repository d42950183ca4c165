#include "cli/common/file.h"

#include "base/mem.h"
#include "crypt/key.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK 16384
#define LINKS_MAX 8

enum tp_err file_read_fd(int fd, const char *name, struct buf *out, struct tp_error *error)
{
    for (;;) {
        uint8_t chunk[CHUNK];
        ssize_t got = read(fd, chunk, sizeof(chunk));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(error, errno, "%s cannot be read", name);
        enum tp_err err = got > 0 ? buf_append(out, chunk, (size_t)got) : TP_OK;
        secret_wipe(chunk, (size_t)got);
        if (err != TP_OK)
            return err_set(error, TP_TOO_LARGE, "%s is larger than %zu bytes", name, out->limit);
        if (got == 0)
            return TP_OK;
    }
}

enum tp_err file_read(const char *path, struct buf *out, struct tp_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(error, errno, "%s cannot be opened", path);
    enum tp_err err = file_read_fd(fd, path, out, error);
    (void)close(fd);
    return err;
}

static enum tp_err write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, data, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return TP_IO;
        data += done;
        size -= (size_t)done;
    }
    return TP_OK;
}

/* owner: whose the file becomes, or NULL. */
static enum tp_err replace(const char *path, const void *data, size_t size, const struct stat *owner,
                           struct tp_error *error)
{
    char *tail = crypt_random_hex(8);
    char *temporary = mem_printf("%s.%s.tmp", path, tail);
    enum tp_err err = TP_OK;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0) {
        err = err_errno(error, errno, "%s cannot be written", path);
    } else {
        if (write_all(fd, data, size) != TP_OK || fsync(fd) != 0)
            err = err_errno(error, errno, "%s cannot be written", path);
        if (err == TP_OK && owner && fchown(fd, owner->st_uid, owner->st_gid) != 0)
            err = err_errno(error, errno, "%s cannot keep its owner", path);
        if (close(fd) != 0 && err == TP_OK)
            err = err_errno(error, errno, "%s cannot be written", path);
        if (err == TP_OK && rename(temporary, path) != 0)
            err = err_errno(error, errno, "%s cannot be replaced", path);
        if (err != TP_OK)
            (void)unlink(temporary);
    }
    mem_free(temporary);
    secret_free(tail);
    return err;
}

enum tp_err file_write(const char *path, const void *data, size_t size, struct tp_error *error)
{
    return replace(path, data, size, NULL, error);
}

/* Where path leads when it is a link, also to a file that is not there yet. */
static char *target_of(const char *path)
{
    char *real = realpath(path, NULL);
    char link[PATH_MAX];
    char *at = real ? mem_strdup(real) : mem_strdup(path);
    free(real);
    for (int step = 0; step < LINKS_MAX; step++) {
        ssize_t length = readlink(at, link, sizeof(link) - 1);
        const char *slash = strrchr(at, '/');
        if (length <= 0)
            break;
        link[length] = '\0';
        char *next = link[0] == '/' || !slash ? mem_strdup(link) : mem_printf("%.*s/%s", (int)(slash - at), at, link);
        mem_free(at);
        at = next;
    }
    return at;
}

enum tp_err file_replace(const char *path, const void *data, size_t size, struct tp_error *error)
{
    struct stat old;
    char *target = target_of(path);
    bool there = stat(target, &old) == 0;
    bool same = there && old.st_uid == geteuid() && old.st_gid == getegid();
    enum tp_err err = there && faccessat(AT_FDCWD, target, W_OK, AT_EACCESS) != 0
                          ? err_errno(error, errno, "%s cannot be written", path)
                          : replace(target, data, size, there && !same ? &old : NULL, error);
    mem_free(target);
    return err;
}

enum tp_err file_write_text(const char *path, const char *text, struct tp_error *error)
{
    return file_write(path, text, strlen(text), error);
}

enum tp_err file_make_dirs(const char *path, struct tp_error *error)
{
    char *copy = mem_strdup(path);
    enum tp_err err = TP_OK;
    for (char *slash = copy + 1; err == TP_OK; slash++) {
        slash = strchr(slash, '/');
        if (slash)
            *slash = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST)
            err = err_errno(error, errno, "the directory %s cannot be made", copy);
        if (!slash)
            break;
        *slash = '/';
    }
    mem_free(copy);
    return err;
}

static enum tp_err remove_at(int dir, const char *name, struct tp_error *error)
{
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return TP_OK;
    if (errno != EISDIR && errno != EPERM)
        return err_errno(error, errno, "%s cannot be removed", name);
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list) {
        err_errno(error, errno, "%s cannot be removed", name);
        if (fd >= 0)
            (void)close(fd);
        return TP_IO;
    }
    enum tp_err err = TP_OK;
    for (struct dirent *entry; err == TP_OK && (entry = readdir(list)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            err = remove_at(fd, entry->d_name, error);
    }
    (void)closedir(list);
    if (err == TP_OK && unlinkat(dir, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        err = err_errno(error, errno, "%s cannot be removed", name);
    return err;
}

enum tp_err file_remove_tree(const char *path, struct tp_error *error)
{
    return remove_at(AT_FDCWD, path, error);
}

enum tp_err file_lock(const char *path, int *ret_fd, struct tp_error *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(error, errno, "%s cannot be opened", path);
    while (flock(fd, LOCK_EX) != 0) {
        if (errno != EINTR) {
            err_errno(error, errno, "%s cannot be locked", path);
            (void)close(fd);
            return TP_IO;
        }
    }
    *ret_fd = fd;
    return TP_OK;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

char *file_in_path(const char *name)
{
    const char *at = getenv("PATH");
    at = at && *at ? at : "/usr/local/bin:/usr/bin:/bin";
    while (*at) {
        size_t length = strcspn(at, ":");
        char *candidate = mem_printf("%.*s/%s", (int)length, at, name);
        struct stat info;
        if (at[0] == '/' && stat(candidate, &info) == 0 && S_ISREG(info.st_mode) && access(candidate, X_OK) == 0)
            return candidate;
        mem_free(candidate);
        at += length;
        at += *at == ':';
    }
    return NULL;
}

char *file_own_path(void)
{
    char path[4096];
    ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (size <= 0)
        return mem_strdup("tport");
    path[size] = '\0';
    return mem_strdup(path);
}

#include "audit/tile.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void tile_path(int level, uint64_t index, unsigned width, char out[TILE_PATH_MAX])
{
    char groups[40];
    int used;
    size_t at = sizeof(groups) - 1;
    groups[at] = '\0';
    /* Three digits a directory; all but the last begin with x. */
    for (uint64_t rest = index, first = 1; first || rest > 0; rest /= 1000, first = 0) {
        at -= first ? 3 : 5;
        if (!first)
            groups[at] = 'x';
        groups[at + (first ? 0 : 1)] = (char)('0' + rest / 100 % 10);
        groups[at + (first ? 1 : 2)] = (char)('0' + rest / 10 % 10);
        groups[at + (first ? 2 : 3)] = (char)('0' + rest % 10);
        if (!first)
            groups[at + 4] = '/';
    }
    if (level == TILE_ENTRIES)
        used = snprintf(out, TILE_PATH_MAX, "tile/entries/%s", groups + at);
    else
        used = snprintf(out, TILE_PATH_MAX, "tile/%d/%s", level, groups + at);
    if (width < TILE_WIDTH)
        (void)snprintf(out + used, TILE_PATH_MAX - (size_t)used, ".p/%u", width);
}

unsigned tile_partial(int level, uint64_t size, uint64_t *ret_index)
{
    int shift = level == TILE_ENTRIES ? 0 : 8 * level;
    *ret_index = shift + 8 >= 64 ? 0 : size >> (shift + 8);
    return (unsigned)((size >> shift) & 0xff);
}

enum tp_err tile_read_file(int dir_fd, const char *path, size_t limit, struct buf *out, struct tp_error *error)
{
    int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    size_t total = 0;
    if (fd < 0)
        return err_errno(error, errno, "%s cannot be read", path);
    for (;;) {
        uint8_t *room = buf_reserve(out, 64 * 1024);
        ssize_t count;
        if (!room || total > limit) {
            (void)close(fd);
            return err_set(error, TP_TOO_LARGE, "%s is larger than it can be", path);
        }
        count = read(fd, room, 64 * 1024);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            int why = errno;
            (void)close(fd);
            return count == 0 ? TP_OK : err_errno(error, why, "%s cannot be read", path);
        }
        buf_commit(out, (size_t)count);
        total += (size_t)count;
    }
}

enum tp_err tile_read(int dir_fd, int level, uint64_t index, unsigned width, struct buf *out, bool *ret_more,
                      struct tp_error *error)
{
    char path[TILE_PATH_MAX];
    struct tp_error first = {0};
    enum tp_err code;
    tile_path(level, index, width, path);
    *ret_more = false;
    code = tile_read_file(dir_fd, path, TILE_FILE_MAX, out, &first);
    if (code == TP_NOT_FOUND && width < TILE_WIDTH) {
        tile_path(level, index, TILE_WIDTH, path);
        code = tile_read_file(dir_fd, path, TILE_FILE_MAX, out, NULL);
        *ret_more = code == TP_OK;
    }
    return code == TP_OK ? TP_OK : err_set(error, first.code, "%s", first.text);
}

static enum tp_err make_parents(int dir_fd, const char *path, struct tp_error *error)
{
    char part[TILE_PATH_MAX + 16];
    (void)snprintf(part, sizeof(part), "%s", path);
    for (char *slash = strchr(part, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdirat(dir_fd, part, 0700) == 0) {
            /* A new directory must survive a crash as well: its name stands in the one above. */
            char *up = strrchr(part, '/');
            int fd;
            if (up)
                *up = '\0';
            fd = openat(dir_fd, up ? part : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (up)
                *up = '/';
            if (fd >= 0) {
                (void)fsync(fd);
                (void)close(fd);
            }
        } else if (errno != EEXIST) {
            return err_errno(error, errno, "the directory %s cannot be made", part);
        }
        *slash = '/';
    }
    return TP_OK;
}

static enum tp_err sync_parent(int dir_fd, const char *path, struct tp_error *error)
{
    char part[TILE_PATH_MAX + 16];
    char *slash;
    int fd, failed;
    (void)snprintf(part, sizeof(part), "%s", path);
    slash = strrchr(part, '/');
    if (slash)
        *slash = '\0';
    fd = openat(dir_fd, slash ? part : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(error, errno, "the directory of %s cannot be opened", path);
    failed = fsync(fd);
    (void)close(fd);
    return failed ? err_errno(error, errno, "the directory of %s cannot be synced", path) : TP_OK;
}

static enum tp_err write_all(int fd, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size > 0) {
        ssize_t count = write(fd, at, size);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return TP_IO;
        at += count;
        size -= (size_t)count;
    }
    return fsync(fd) == 0 ? TP_OK : TP_IO;
}

enum tp_err tile_write_file(int dir_fd, const char *path, const void *data, size_t size, struct tp_error *error)
{
    char beside[TILE_PATH_MAX + 16];
    enum tp_err code = make_parents(dir_fd, path, error);
    int fd, why;
    if (code != TP_OK)
        return code;
    (void)snprintf(beside, sizeof(beside), "%s.new", path);
    fd = openat(dir_fd, beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(error, errno, "%s cannot be written", path);
    code = write_all(fd, data, size);
    why = errno;
    if (close(fd) != 0 && code == TP_OK) {
        why = errno;
        code = TP_IO;
    }
    if (code == TP_OK && renameat(dir_fd, beside, dir_fd, path) != 0) {
        why = errno;
        code = TP_IO;
    }
    if (code != TP_OK) {
        (void)unlinkat(dir_fd, beside, 0);
        return err_errno(error, why, "%s cannot be written", path);
    }
    return sync_parent(dir_fd, path, error);
}

void tile_remove(int dir_fd, const char *path)
{
    char part[TILE_PATH_MAX];
    char *slash;
    (void)unlinkat(dir_fd, path, 0);
    (void)snprintf(part, sizeof(part), "%s", path);
    slash = strrchr(part, '/');
    if (slash) {
        *slash = '\0';
        (void)unlinkat(dir_fd, part, AT_REMOVEDIR);
    }
}

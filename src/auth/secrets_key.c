#include "auth/secrets_key.h"

#include "base/enc.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypt/key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIGITS ((size_t)2 * STORE_KEY_SIZE)

/* Group may read: systemd shows so the entry for the service's user in the access list of a credential. */
static enum tp_err check_mode(int fd, const char *path, struct tp_error *error)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return err_errno(error, errno, "cannot look at %s", path);
    }
    if (!S_ISREG(info.st_mode)) {
        return err_set(error, TP_INVALID, "%s, the key of the secrets store, is no plain file", path);
    }
    if ((info.st_mode & 0037) != 0) {
        return err_set(error, TP_INVALID, "%s, the key of the secrets store, is open to others: chmod 0400 %s", path,
                       path);
    }
    return TP_OK;
}

static enum tp_err read_key(int fd, const char *path, uint8_t key[STORE_KEY_SIZE], struct tp_error *error)
{
    char text[DIGITS + 2]; /* a line end, and one more byte to see that there is none */
    size_t size = 0;
    ssize_t got = 1;
    enum tp_err err = check_mode(fd, path, error);
    while (err == TP_OK && got > 0 && size < sizeof text) {
        got = pread(fd, text + size, sizeof text - size, (off_t)size);
        if (got < 0) {
            err = err_errno(error, errno, "cannot read %s", path);
        }
        size += got > 0 ? (size_t)got : 0;
    }
    if (err == TP_OK && size == DIGITS + 1 && text[DIGITS] == '\n') {
        size = DIGITS;
    }
    struct buf bytes;
    buf_init(&bytes, STORE_KEY_SIZE);
    if (err == TP_OK && (size != DIGITS || dec_hex(text, DIGITS, &bytes) != TP_OK)) {
        err = err_set(error, TP_INVALID,
                      "%s holds no key of the secrets store, which is %zu hex digits; put the file back that was there",
                      path, DIGITS);
    }
    if (err == TP_OK) {
        memcpy(key, buf_head(&bytes), STORE_KEY_SIZE);
    }
    buf_wipe(&bytes);
    secret_wipe(text, sizeof text);
    return err;
}

static enum tp_err write_all(int fd, const char *data, size_t size)
{
    size_t at = 0;
    while (at < size) {
        ssize_t done = write(fd, data + at, size - at);
        if (done <= 0) {
            return TP_IO;
        }
        at += (size_t)done;
    }
    return fsync(fd) == 0 ? TP_OK : TP_IO;
}

static enum tp_err fsync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash != NULL && slash > path ? mem_strndup(path, (size_t)(slash - path)) : mem_strdup("/");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    mem_free(folder);
    if (fd >= 0) {
        (void)close(fd);
    }
    return good ? TP_OK : TP_IO;
}

/* like: of the file whose place it is to take, or NULL. */
static enum tp_err take_after(int fd, const struct stat *like)
{
    struct stat info;
    if (like == NULL) {
        return TP_OK;
    }
    if (fstat(fd, &info) != 0) {
        return TP_IO;
    }
    mode_t mode = like->st_mode & 0440;
    if ((info.st_uid != like->st_uid || info.st_gid != like->st_gid) && fchown(fd, like->st_uid, like->st_gid) != 0) {
        if (errno != EPERM) {
            return TP_IO;
        }
        mode = 0400; /* the folder is ours, so we may replace a file of root's in it, but not make one */
    }
    return fchmod(fd, mode) == 0 ? TP_OK : TP_IO;
}

/* Durable before it is used: what is sealed with a key that a crash takes away is lost. It gets its name last, so that half
 * a file is never taken for a key. */
static enum tp_err make_file(const char *path, const struct stat *like, struct tp_error *error)
{
    char *fresh = mem_printf("%s.new", path);
    char *digits = crypt_random_hex(STORE_KEY_SIZE);
    char *line = mem_printf("%s\n", digits);
    (void)unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400);
    enum tp_err err = fd >= 0 ? take_after(fd, like) : TP_IO;
    if (err == TP_OK) {
        err = write_all(fd, line, strlen(line));
    }
    if (err == TP_OK && (rename(fresh, path) != 0 || fsync_folder_of(path) != TP_OK)) {
        err = TP_IO;
    }
    if (err != TP_OK) {
        err = err_errno(error, errno, "cannot make %s, the key of the secrets store", path);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (err != TP_OK) {
        (void)unlink(fresh);
    }
    secret_free(line);
    secret_free(digits);
    mem_free(fresh);
    return err;
}

static enum tp_err make_key(const char *path, struct tp_error *error)
{
    enum tp_err err = make_file(path, NULL, error);
    if (err == TP_OK) {
        log_info("made the key of the secrets store: back it up, and not beside the store", "path=\"%s\"", path);
    }
    return err;
}

static int open_key(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static char *next_path(const struct secrets_key *source)
{
    return mem_printf("%s.next", source->path);
}

enum tp_err secrets_key_next(void *ctx, bool sealed, uint8_t key[STORE_KEY_SIZE], struct tp_error *error)
{
    struct secrets_key *source = ctx;
    char *path = next_path(source);
    int fd = source->next_fd;
    if (source->next_opened) {
        errno = source->next_errno;
    } else {
        fd = open_key(path);
    }
    enum tp_err err = fd >= 0 ? read_key(fd, path, key, error) : err_errno(error, errno, "cannot read %s", path);
    (void)sealed;
    source->next = err == TP_OK;
    if (fd >= 0 && !source->next_opened) {
        (void)close(fd);
    }
    mem_free(path);
    return err;
}

void secrets_key_open(struct secrets_key *source)
{
    char *path = next_path(source);
    source->fd = open_key(source->path);
    source->open_errno = source->fd < 0 ? errno : 0;
    source->next_fd = open_key(path);
    source->next_errno = source->next_fd < 0 ? errno : 0;
    source->next_opened = true;
    mem_free(path);
}

void secrets_key_close(struct secrets_key *source)
{
    if (source->fd >= 0) {
        (void)close(source->fd);
    }
    if (source->next_fd >= 0) {
        (void)close(source->next_fd);
    }
    source->fd = -1;
    source->open_errno = 0;
    source->next_opened = false;
}

enum tp_err secrets_key_make_next(struct secrets_key *source, uint8_t key[STORE_KEY_SIZE], struct tp_error *error)
{
    char *path = next_path(source);
    struct stat like;
    enum tp_err err = stat(source->path, &like) == 0
                          ? make_file(path, &like, error)
                          : err_errno(error, errno, "cannot look at %s, the key of the secrets store", source->path);
    mem_free(path);
    return err == TP_OK ? secrets_key_next(source, true, key, error) : err;
}

enum tp_err secrets_key_take_next(struct secrets_key *source, struct tp_error *error)
{
    char *path = next_path(source);
    enum tp_err err = TP_OK;
    if (rename(path, source->path) != 0 || fsync_folder_of(source->path) != TP_OK) {
        err = err_errno(error, errno, "cannot put %s in the place of %s", path, source->path);
    }
    source->next = source->next && err != TP_OK;
    mem_free(path);
    return err;
}

void secrets_key_drop_next(struct secrets_key *source)
{
    char *path = next_path(source);
    (void)unlink(path);
    source->next = false;
    mem_free(path);
}

static enum tp_err missing(const struct secrets_key *source, bool sealed, struct tp_error *error)
{
    if (sealed) {
        return err_set(error, TP_INVALID,
                       "%s is missing, and without this key nobody can read the secrets store; put the file back from "
                       "its backup",
                       source->path);
    }
    return err_set(error, TP_INVALID, "%s does not exist; make it as root with: (umask 077; openssl rand -hex %d > %s)",
                   source->path, STORE_KEY_SIZE, source->path);
}

enum tp_err secrets_key_get(void *ctx, bool sealed, uint8_t key[STORE_KEY_SIZE], struct tp_error *error)
{
    struct secrets_key *source = ctx;
    enum tp_err err = TP_OK;
    int fd = source->fd;
    if (fd < 0 && source->open_errno != 0) {
        errno = source->open_errno;
    } else if (fd < 0) {
        fd = open_key(source->path);
    }
    if (fd < 0 && errno == ENOENT) {
        err = source->make && !sealed ? make_key(source->path, error) : missing(source, sealed, error);
        fd = err == TP_OK ? open(source->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    }
    if (err == TP_OK && fd < 0) {
        err = err_set(error, TP_INVALID, "cannot read %s, the key of the secrets store: %s", source->path,
                      strerror(errno));
    }
    if (err == TP_OK) {
        err = read_key(fd, source->path, key, error);
    }
    if (fd >= 0 && fd != source->fd) {
        (void)close(fd);
    }
    source->read = err == TP_OK;
    return err;
}

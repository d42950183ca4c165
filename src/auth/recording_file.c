#include "auth/inner.h"
#include "auth/recording.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* zlib answers 0 or a negative number; this is the only file that speaks to it (R8). */

static enum tp_err sync_folder(const char *path, struct tp_error *error)
{
    char *folder = mem_strdup(path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum tp_err err = TP_OK;
    if (fd < 0 || fsync(fd) != 0) {
        err = err_errno(error, errno, "%s cannot be synced", folder);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    mem_free(folder);
    return err;
}

static enum tp_err compress_to(const char *part, int out_fd, int64_t *ret_size, struct tp_error *error)
{
    int in = open(part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (in < 0) {
        return err_errno(error, errno, "%s", part);
    }
    int copy = dup(out_fd);
    gzFile gz = copy >= 0 ? gzdopen(copy, "wb6") : NULL;
    if (gz == NULL) {
        if (copy >= 0) {
            (void)close(copy);
        }
        (void)close(in);
        return err_set(error, TP_IO, "compression could not be started");
    }
    uint8_t *block = mem_alloc(65536);
    enum tp_err err = TP_OK;
    int64_t size = 0;
    for (;;) {
        ssize_t n = read(in, block, 65536);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            err = err_errno(error, errno, "%s", part);
        }
        if (n <= 0) {
            break;
        }
        if (gzwrite(gz, block, (unsigned)n) != (int)n) {
            err = err_set(error, TP_NO_SPACE, "the compressed recording cannot be written");
            break;
        }
        size += n;
    }
    if (gzclose(gz) != Z_OK && err == TP_OK) {
        err = err_set(error, TP_NO_SPACE, "the compressed recording cannot be written");
    }
    mem_free(block);
    (void)close(in);
    *ret_size = size;
    return err;
}

static enum tp_err hash_file(const char *path, uint8_t hash[32], int64_t *ret_size, struct tp_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return err_errno(error, errno, "%s", path);
    }
    struct crypt_sha256_stream *stream = crypt_sha256_new();
    uint8_t *block = mem_alloc(65536);
    enum tp_err err = TP_OK;
    int64_t size = 0;
    for (;;) {
        ssize_t n = read(fd, block, 65536);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            err = err_errno(error, errno, "%s", path);
        }
        if (n <= 0) {
            break;
        }
        crypt_sha256_add(stream, block, (size_t)n);
        size += n;
    }
    crypt_sha256_finish(stream, hash);
    mem_free(block);
    (void)close(fd);
    *ret_size = size;
    return err;
}

void recording_file_seal(struct seal *seal)
{
    char *temporary = mem_printf("%s.tmp", seal->final);
    int fd = open(temporary, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        seal->err = err_errno(&seal->error, errno, "%s", temporary);
        mem_free(temporary);
        return;
    }
    seal->err = compress_to(seal->part, fd, &seal->size, &seal->error);
    if (seal->err == TP_OK && fsync(fd) != 0) {
        seal->err = err_errno(&seal->error, errno, "%s", temporary);
    }
    (void)close(fd);
    if (seal->err == TP_OK) {
        seal->err = hash_file(temporary, seal->hash, &seal->stored, &seal->error);
    }
    if (seal->err == TP_OK && rename(temporary, seal->final) != 0) {
        seal->err = err_errno(&seal->error, errno, "%s", seal->final);
    }
    if (seal->err == TP_OK) {
        seal->err = sync_folder(seal->final, &seal->error);
    }
    if (seal->err == TP_OK) {
        (void)unlink(seal->part);
    } else {
        (void)unlink(temporary);
    }
    mem_free(temporary);
}

struct recording_reader {
    gzFile gz;
    int64_t at;
};

void recording_reader_free(struct recording_reader *reader)
{
    if (reader != NULL) {
        (void)gzclose_r(reader->gz);
        mem_free(reader);
    }
}

static enum tp_err reader_open(const char *path, struct recording_reader **ret_reader, struct tp_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return err_set(error, TP_NOT_FOUND, "the recording's file is not there any more");
    }
    gzFile gz = gzdopen(fd, "rb");
    if (gz == NULL) {
        (void)close(fd);
        return err_set(error, TP_IO, "the recording cannot be read");
    }
    *ret_reader = mem_alloc(sizeof **ret_reader);
    (*ret_reader)->gz = gz;
    return TP_OK;
}

static enum tp_err reader_read(struct recording_reader *reader, int64_t offset, uint8_t *out, size_t size,
                               size_t *ret_size, struct tp_error *error)
{
    if (reader->at != offset && gzseek(reader->gz, (z_off_t)offset, SEEK_SET) < 0) {
        return err_set(error, TP_CORRUPT, "the recording's file is damaged");
    }
    int n = gzread(reader->gz, out, (unsigned)size);
    if (n < 0) {
        return err_set(error, TP_CORRUPT, "the recording's file is damaged");
    }
    *ret_size = (size_t)n;
    reader->at = offset + n;
    return TP_OK;
}

enum tp_err recording_file_read(const char *part, const char *final, int64_t offset, uint8_t *out, size_t size,
                                size_t *ret_size, struct recording_reader **reader, struct tp_error *error)
{
    *ret_size = 0;
    int fd = open(part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) {
        ssize_t n = pread(fd, out, size, (off_t)offset);
        enum tp_err err = n < 0 ? err_errno(error, errno, "the recording cannot be read") : TP_OK;
        *ret_size = n > 0 ? (size_t)n : 0;
        (void)close(fd);
        return err;
    }
    enum tp_err err = *reader != NULL ? TP_OK : reader_open(final, reader, error);
    if (err == TP_OK) {
        err = reader_read(*reader, offset, out, size, ret_size, error);
    }
    if (err != TP_OK) {
        recording_reader_free(*reader);
        *reader = NULL;
    }
    return err;
}

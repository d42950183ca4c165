/* Bodies that are read while they are sent: however slowly somebody reads, only a part is in memory (R9). */
#include "base/mem.h"
#include "protocols/web/web_priv.h"

#include <string.h>
#include <unistd.h>

/* Where the sending of a file stands. The descriptor is our own: files of a web that is gone are closed. */
struct reading {
    int fd;
    int64_t at;
};

static enum tp_err read_file(void *ctx, uint8_t *data, size_t size, size_t *ret_size)
{
    struct reading *reading = ctx;
    ssize_t got = pread(reading->fd, data, size, reading->at);
    if (got <= 0)
        return TP_IO;
    reading->at += got;
    *ret_size = (size_t)got;
    return TP_OK;
}

static void free_reading(void *ctx)
{
    struct reading *reading = ctx;
    (void)close(reading->fd);
    mem_free(reading);
}

const struct http_source web_file_source = {.read = read_file, .free = free_reading};

void *web_file_from(const struct web_file *file)
{
    struct reading *reading = mem_alloc(sizeof(*reading));
    reading->fd = dup(file->fd);
    reading->at = 0;
    return reading;
}

/* What is part of the program leaves as the peer takes it, uncopied. */
struct fixed {
    const uint8_t *rest;
};

static enum tp_err read_fixed(void *ctx, uint8_t *data, size_t size, size_t *ret_size)
{
    struct fixed *fixed = ctx;
    memcpy(data, fixed->rest, size); /* no more is asked for than there is */
    fixed->rest += size;
    *ret_size = size;
    return TP_OK;
}

const struct http_source web_fixed_source = {.read = read_fixed, .free = mem_free};

void *web_fixed_from(const void *body)
{
    struct fixed *fixed = mem_alloc(sizeof(*fixed));
    fixed->rest = body;
    return fixed;
}

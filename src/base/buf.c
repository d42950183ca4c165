#include "base/buf.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_CAPACITY ((size_t)64 * 1024)

void buf_init(struct buf *buf, size_t limit)
{
    *buf = (struct buf){.limit = limit};
}

void buf_free(struct buf *buf)
{
    size_t limit = buf->limit;
    mem_free(buf->data);
    buf_init(buf, limit);
}

void buf_wipe(struct buf *buf)
{
    secret_wipe(buf->data, buf->capacity);
    buf_free(buf);
}

void buf_clear(struct buf *buf)
{
    buf->start = buf->end = 0;
    buf->failed = false;
}

size_t buf_size(const struct buf *buf)
{
    return buf->end - buf->start;
}

const uint8_t *buf_head(const struct buf *buf)
{
    return buf->data ? buf->data + buf->start : (const uint8_t *)"";
}

size_t buf_room(const struct buf *buf)
{
    size_t limit = buf->limit ? buf->limit : SIZE_MAX;
    return limit - buf_size(buf);
}

uint8_t *buf_reserve(struct buf *buf, size_t size)
{
    if (size > buf_room(buf)) {
        buf->failed = true;
        return NULL;
    }
    if (buf->capacity - buf->end >= size && buf->data)
        return buf->data + buf->end;
    if (buf->start > 0) {
        memmove(buf->data, buf->data + buf->start, buf_size(buf));
        buf->end -= buf->start;
        buf->start = 0;
    }
    if (buf->capacity - buf->end < size || !buf->data) {
        size_t need = buf->end + size;
        size_t capacity = buf->capacity ? buf->capacity : 256;
        if (need < buf->end)
            abort();
        while (capacity < need)
            capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
        if (buf->limit && capacity > buf->limit && need <= buf->limit)
            capacity = buf->limit; /* more could never be used */
        buf->data = mem_resize(buf->data, capacity);
        buf->capacity = capacity;
    }
    return buf->data + buf->end;
}

void buf_commit(struct buf *buf, size_t size)
{
    if (size > buf->capacity - buf->end)
        abort();
    buf->end += size;
}

enum tp_err buf_append(struct buf *buf, const void *data, size_t size)
{
    uint8_t *to;
    if (size == 0)
        return TP_OK;
    to = buf_reserve(buf, size);
    if (!to)
        return TP_TOO_LARGE;
    memcpy(to, data, size);
    buf_commit(buf, size);
    return TP_OK;
}

enum tp_err buf_append_text(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

enum tp_err buf_printf(struct buf *buf, const char *format, ...)
{
    char stack[512];
    va_list args;
    va_list again;
    int length;
    enum tp_err err;

    va_start(args, format);
    va_copy(again, args);
    length = vsnprintf(stack, sizeof(stack), format, args);
    va_end(args);
    if (length < 0) {
        err = TP_INTERNAL;
    } else if ((size_t)length < sizeof(stack)) {
        err = buf_append(buf, stack, (size_t)length);
    } else {
        char *heap = mem_alloc((size_t)length + 1);
        (void)vsnprintf(heap, (size_t)length + 1, format, again);
        err = buf_append(buf, heap, (size_t)length);
        mem_free(heap);
    }
    va_end(again);
    return err;
}

void buf_consume(struct buf *buf, size_t size)
{
    if (size > buf_size(buf))
        abort();
    buf->start += size;
    if (buf->start == buf->end) {
        buf->start = buf->end = 0;
        if (buf->capacity > KEEP_CAPACITY) {
            mem_free(buf->data);
            buf->data = NULL;
            buf->capacity = 0;
        }
    }
}

const char *buf_text(struct buf *buf)
{
    size_t limit = buf->limit;
    uint8_t *to;
    buf->limit = 0; /* the NUL does not count */
    to = buf_reserve(buf, 1);
    buf->limit = limit;
    *to = 0;
    return (const char *)buf->data + buf->start;
}

char *buf_take(struct buf *buf)
{
    char *text = mem_strndup((const char *)buf_head(buf), buf_size(buf));
    buf_free(buf);
    return text;
}

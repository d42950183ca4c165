/*
 * A byte queue: bytes go in at the end and out at the front. It has a limit, given once, that it never passes.
 * It serves as a string builder too: buf_text puts a NUL behind the bytes.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/err.h"

struct buf {
    uint8_t *data;   /* storage; read through buf_head */
    size_t start;    /* first unread byte */
    size_t end;      /* one past the last byte */
    size_t capacity; /* bytes of storage */
    size_t limit;    /* most bytes it may hold; 0 means SIZE_MAX */
    bool failed;     /* an append did not fit; stays set until buf_clear */
};

/* An empty queue that may hold limit bytes (0: no limit). Allocates nothing. */
void buf_init(struct buf *buf, size_t limit);
/* Frees the storage and leaves an empty queue with the same limit. */
void buf_free(struct buf *buf);
/* The same, wiping the storage first. */
void buf_wipe(struct buf *buf);
/* Forgets the bytes, keeps the storage, clears failed. */
void buf_clear(struct buf *buf);

size_t buf_size(const struct buf *buf);
/* The first unread byte; valid until the next call that changes the queue. Never NULL. */
const uint8_t *buf_head(const struct buf *buf);
/* How many more bytes fit below the limit. */
size_t buf_room(const struct buf *buf);

/* Appends size bytes, or nothing and TP_TOO_LARGE (and sets failed) when the limit would be passed. */
enum tp_err buf_append(struct buf *buf, const void *data, size_t size);
enum tp_err buf_append_text(struct buf *buf, const char *text);
enum tp_err buf_printf(struct buf *buf, const char *format, ...) TP_PRINTF(2, 3);
/* Makes room for size bytes at the end and returns where to write them, or NULL past the limit. buf_commit says how many
 * were written (at most size). */
uint8_t *buf_reserve(struct buf *buf, size_t size) TP_MUST;
void buf_commit(struct buf *buf, size_t size);
/* Drops size bytes from the front; size must not exceed buf_size. Storage is given back when the queue falls empty and
 * had grown past 64 KB. */
void buf_consume(struct buf *buf, size_t size);
/* The bytes as a C string; valid until the next change. */
const char *buf_text(struct buf *buf);
/* Gives the bytes away as an allocated C string (mem_free it) and leaves the queue empty. */
char *buf_take(struct buf *buf) TP_MUST;

#endif

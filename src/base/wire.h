/*
 * Bounded readers and writers of wire bytes, big-endian. An error is sticky: after the first read past the end every
 * further read gives zero and wire_ok is false, so that a parser checks once at the end.
 */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include "base/buf.h"

struct rd {
    const uint8_t *at;
    size_t left;
    bool failed;
};

/* A reader over size bytes, which must outlive it. */
void rd_init(struct rd *rd, const void *data, size_t size);
uint8_t rd_u8(struct rd *rd);
uint16_t rd_u16(struct rd *rd);
uint32_t rd_u24(struct rd *rd);
uint32_t rd_u32(struct rd *rd);
uint64_t rd_u64(struct rd *rd);
/* size bytes in place, or NULL when there are fewer. */
const uint8_t *rd_bytes(struct rd *rd, size_t size);
/* A sub-reader over the next size bytes; failed from the start when there are fewer. */
struct rd rd_sub(struct rd *rd, size_t size);
/* SSH string (RFC 4251 section 5): u32 length, then bytes. */
struct rd rd_string(struct rd *rd);
/* No error so far. */
bool rd_ok(const struct rd *rd);
/* No error and nothing left. */
bool rd_done(const struct rd *rd);

/* Writers append to a buf; a failure is kept in buf->failed. */
void wr_u8(struct buf *buf, uint8_t value);
void wr_u16(struct buf *buf, uint16_t value);
void wr_u32(struct buf *buf, uint32_t value);
void wr_u64(struct buf *buf, uint64_t value);
void wr_bytes(struct buf *buf, const void *data, size_t size);
/* SSH string. */
void wr_string(struct buf *buf, const void *data, size_t size);
void wr_cstring(struct buf *buf, const char *text);

#endif

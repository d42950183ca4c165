#include "base/wire.h"

#include <string.h>

void rd_init(struct rd *rd, const void *data, size_t size)
{
    *rd = (struct rd){.at = data, .left = size};
}

const uint8_t *rd_bytes(struct rd *rd, size_t size)
{
    const uint8_t *at = rd->at;
    if (rd->failed || size > rd->left) {
        rd->failed = true;
        rd->left = 0;
        return NULL;
    }
    rd->at += size;
    rd->left -= size;
    return at;
}

static uint64_t number(struct rd *rd, size_t size)
{
    const uint8_t *at = rd_bytes(rd, size);
    uint64_t value = 0;
    for (size_t i = 0; at && i < size; i++)
        value = value << 8 | at[i];
    return value;
}

uint8_t rd_u8(struct rd *rd)
{
    return (uint8_t)number(rd, 1);
}
uint16_t rd_u16(struct rd *rd)
{
    return (uint16_t)number(rd, 2);
}
uint32_t rd_u24(struct rd *rd)
{
    return (uint32_t)number(rd, 3);
}
uint32_t rd_u32(struct rd *rd)
{
    return (uint32_t)number(rd, 4);
}
uint64_t rd_u64(struct rd *rd)
{
    return number(rd, 8);
}

struct rd rd_sub(struct rd *rd, size_t size)
{
    const uint8_t *at = rd_bytes(rd, size);
    struct rd sub = {.at = at, .left = at ? size : 0, .failed = at == NULL};
    return sub;
}

struct rd rd_string(struct rd *rd)
{
    uint32_t size = rd_u32(rd);
    return rd_sub(rd, size);
}

bool rd_ok(const struct rd *rd)
{
    return !rd->failed;
}
bool rd_done(const struct rd *rd)
{
    return !rd->failed && rd->left == 0;
}

static void put(struct buf *buf, uint64_t value, size_t size)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
    (void)buf_append(buf, bytes, size);
}

void wr_u8(struct buf *buf, uint8_t value)
{
    put(buf, value, 1);
}
void wr_u16(struct buf *buf, uint16_t value)
{
    put(buf, value, 2);
}
void wr_u32(struct buf *buf, uint32_t value)
{
    put(buf, value, 4);
}
void wr_u64(struct buf *buf, uint64_t value)
{
    put(buf, value, 8);
}
void wr_bytes(struct buf *buf, const void *data, size_t size)
{
    (void)buf_append(buf, data, size);
}

void wr_string(struct buf *buf, const void *data, size_t size)
{
    if (size > UINT32_MAX) {
        buf->failed = true;
        return;
    }
    wr_u32(buf, (uint32_t)size);
    wr_bytes(buf, data, size);
}

void wr_cstring(struct buf *buf, const char *text)
{
    wr_string(buf, text, strlen(text));
}

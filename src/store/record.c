#include "store/record.h"

#include <endian.h>
#include <string.h>
#include <zlib.h>

static uint32_t sum(const void *key, size_t key_size, const uint8_t *from_revision, size_t size)
{
    uLong crc = crc32_z(0, NULL, 0);
    crc = crc32_z(crc, key, key_size);
    crc = crc32_z(crc, (const uint8_t *)"", 1);
    return (uint32_t)crc32_z(crc, from_revision, size);
}

void record_encode(const void *key, size_t key_size, uint64_t revision, const void *value, size_t size, uint8_t *out)
{
    uint32_t crc;
    memset(out, 0, RECORD_HEADER);
    out[0] = 1;
    revision = htobe64(revision);
    memcpy(out + 8, &revision, sizeof(revision));
    if (size > 0)
        memcpy(out + RECORD_HEADER, value, size);
    crc = htobe32(sum(key, key_size, out + 8, size + 8));
    memcpy(out + 4, &crc, sizeof(crc));
}

enum tp_err record_decode(const void *key, size_t key_size, const void *data, size_t data_size, uint64_t *ret_revision,
                          const uint8_t **ret_value, size_t *ret_size)
{
    const uint8_t *bytes = data;
    uint32_t crc;
    uint64_t revision;
    if (data_size < RECORD_HEADER || bytes[0] != 1 || bytes[1] != 0 || bytes[2] != 0 || bytes[3] != 0)
        return TP_CORRUPT;
    memcpy(&crc, bytes + 4, sizeof(crc));
    if (be32toh(crc) != sum(key, key_size, bytes + 8, data_size - 8))
        return TP_CORRUPT;
    memcpy(&revision, bytes + 8, sizeof(revision));
    *ret_revision = be64toh(revision);
    *ret_value = bytes + RECORD_HEADER;
    *ret_size = data_size - RECORD_HEADER;
    return TP_OK;
}

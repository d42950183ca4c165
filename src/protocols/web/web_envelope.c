#include "protocols/web/web_envelope.h"

#include "base/wire.h"

#define LENGTH_BYTES 4 /* of a varint: 28 bits are more than any message has */

/* A varint below 2^28; false past it or at the end. */
static bool read_length(struct rd *rd, size_t *ret_value)
{
    size_t value = 0;
    for (unsigned i = 0; i < LENGTH_BYTES; i++) {
        uint8_t byte = rd_u8(rd);
        value |= (size_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            *ret_value = value;
            return rd_ok(rd);
        }
    }
    return false;
}

enum tp_err web_envelope_read(const void *message, size_t size, struct web_envelope *ret_envelope)
{
    struct rd rd;
    unsigned seen = 0;
    *ret_envelope = (struct web_envelope){.payload = message};
    rd_init(&rd, message, size);
    while (rd.left > 0) {
        uint8_t key = rd_u8(&rd);
        unsigned field = key >> 3;
        size_t length = 0;
        const uint8_t *bytes;
        if ((key & 7) != 2 || field < 1 || field > 3 || (seen & 1U << field) || !read_length(&rd, &length))
            return TP_INVALID;
        seen |= 1U << field;
        bytes = rd_bytes(&rd, length);
        if (!bytes || (field < 3 && length != 1) || (field == 1 && bytes[0] != '1'))
            return TP_INVALID;
        if (field == 2)
            ret_envelope->type = (char)bytes[0];
        if (field == 3) {
            ret_envelope->payload = bytes;
            ret_envelope->size = length;
        }
    }
    return rd_done(&rd) && (seen & 6) == 6 ? TP_OK : TP_INVALID; /* version and type */
}

size_t web_envelope_head(uint8_t out[WEB_ENVELOPE_HEAD_MAX], char type, size_t size)
{
    size_t used = 0;
    out[used++] = 1 << 3 | 2;
    out[used++] = 1;
    out[used++] = '1';
    out[used++] = 2 << 3 | 2;
    out[used++] = 1;
    out[used++] = (uint8_t)type;
    if (size == 0)
        return used;
    out[used++] = 3 << 3 | 2;
    for (; size > 0x7f; size >>= 7)
        out[used++] = (uint8_t)(0x80 | (size & 0x7f));
    out[used++] = (uint8_t)size;
    return used;
}

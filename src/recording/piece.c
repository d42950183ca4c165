#include "recording/piece.h"

#include "base/enc.h"
#include "base/mem.h"

#include <string.h>
#include <zlib.h>

#define COMPRESSED "zlib:"
#define FEW ((size_t)4096) /* a compressor takes its time to start */

char *piece_pack(const void *data, size_t size)
{
    uLongf packed_size = compressBound((uLong)size);
    uint8_t *packed = size >= FEW ? mem_alloc(packed_size) : NULL;
    char *text;
    if (packed != NULL && compress2(packed, &packed_size, data, (uLong)size, Z_BEST_SPEED) == Z_OK &&
        packed_size < size) {
        char *base64 = enc_base64(packed, packed_size);
        text = mem_printf(COMPRESSED "%s", base64);
        mem_free(base64);
    } else {
        text = enc_base64(data, size);
    }
    mem_free(packed);
    return text;
}

static enum tp_err unpack(const struct buf *packed, struct buf *out)
{
    uLong used = buf_size(packed);
    uLongf size = PIECE_MAX;
    uint8_t *to = buf_reserve(out, PIECE_MAX);
    if (to == NULL) {
        return TP_TOO_LARGE;
    }
    if (uncompress2(to, &size, buf_head(packed), &used) != Z_OK || used != buf_size(packed)) {
        return TP_INVALID;
    }
    buf_commit(out, size);
    return TP_OK;
}

enum tp_err piece_unpack(const char *text, struct buf *out)
{
    size_t prefix = strlen(COMPRESSED);
    if (strncmp(text, COMPRESSED, prefix) != 0) {
        return dec_base64(text, strlen(text), out);
    }
    struct buf packed;
    buf_init(&packed, compressBound(PIECE_MAX));
    enum tp_err err = dec_base64(text + prefix, strlen(text + prefix), &packed);
    if (err == TP_OK) {
        err = unpack(&packed, out);
    }
    buf_free(&packed);
    return err;
}

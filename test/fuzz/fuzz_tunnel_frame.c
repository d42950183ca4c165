/* Frame headers and payloads: what decodes must encode to the same bytes, and texts must come out printable. */
#include "tunnel/frame.h"

#include <stdlib.h>
#include <string.h>

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame frame;
    uint8_t header[FRAME_HEADER_SIZE];
    if (size < FRAME_HEADER_SIZE) {
        return 0;
    }
    if (frame_decode(data, &frame) == TP_OK) {
        check(frame.size <= FRAME_PAYLOAD_MAX);
        frame_encode(&frame, header);
        check(memcmp(header, data, sizeof(header)) == 0);
    }
    data += FRAME_HEADER_SIZE;
    size -= FRAME_HEADER_SIZE;
    struct frame_hello hello;
    if (frame_hello_decode(data, size, &hello) == TP_OK) {
        uint8_t out[FRAME_HELLO_SIZE];
        frame_hello_encode(&hello, out);
        check(memcmp(out, data, sizeof(out)) == 0);
    }
    char kind[FRAME_KIND_MAX + 1];
    size_t used;
    if (frame_kind_decode(data, size, kind, &used) == TP_OK) {
        struct buf out;
        buf_init(&out, 0);
        check(frame_kind_encode(kind, &out) == TP_OK);
        check(buf_size(&out) == used && memcmp(buf_head(&out), data, used) == 0);
        buf_free(&out);
    }
    enum close_reason reason;
    char text[FRAME_TEXT_MAX + 1];
    if (frame_reset_decode(data, size, &reason, text) == TP_OK) {
        check(strlen(text) <= FRAME_TEXT_MAX && reason != CLOSE_NONE);
        for (const char *at = text; *at != '\0'; at++) {
            check((unsigned char)*at >= 0x20 && *at != 0x7f);
        }
        uint8_t out[FRAME_RESET_MAX];
        check(frame_reset_encode(reason, text, out) <= FRAME_RESET_MAX);
    }
    return 0;
}

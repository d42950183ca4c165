/* What a browser sends on a WebSocket: frames, and the envelope in each message. One by one it must read the same; an
 * envelope that was read says the same when it is written and read again. */
#include "base/buf.h"
#include "protocols/http/http_ws.h"
#include "protocols/web/web_envelope.h"

#include <stdlib.h>
#include <string.h>

struct seen {
    struct buf message;
    uint64_t sum;
};

static void add(struct seen *seen, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        seen->sum = seen->sum * 31 + data[i];
}

static void again(const struct web_envelope *envelope)
{
    uint8_t head[WEB_ENVELOPE_HEAD_MAX];
    struct web_envelope second;
    struct buf bytes;
    buf_init(&bytes, 0);
    (void)buf_append(&bytes, head, web_envelope_head(head, envelope->type, envelope->size));
    (void)buf_append(&bytes, envelope->payload, envelope->size);
    if (web_envelope_read(buf_head(&bytes), buf_size(&bytes), &second) != TP_OK || second.type != envelope->type ||
        second.size != envelope->size ||
        (second.size > 0 && memcmp(second.payload, envelope->payload, second.size) != 0))
        abort();
    buf_free(&bytes);
}

static enum tp_err on_message(void *ctx, const uint8_t *data, size_t size, bool first, bool last)
{
    struct seen *seen = ctx;
    struct web_envelope envelope;
    if (first)
        buf_clear(&seen->message);
    if (size > 0 && buf_append(&seen->message, data, size) != TP_OK)
        return TP_TOO_LARGE;
    if (last && web_envelope_read(buf_head(&seen->message), buf_size(&seen->message), &envelope) == TP_OK) {
        seen->sum = seen->sum * 37 + (uint8_t)envelope.type;
        add(seen, envelope.payload, envelope.size);
        again(&envelope);
    }
    return TP_OK;
}

static enum tp_err on_control(void *ctx, unsigned opcode, const uint8_t *data, size_t size)
{
    struct seen *seen = ctx;
    seen->sum = seen->sum * 41 + opcode;
    add(seen, data, size);
    return TP_OK;
}

static uint64_t play(const uint8_t *data, size_t size, bool single)
{
    struct seen seen = {.sum = 1};
    struct http_ws ws;
    enum tp_err err = TP_OK;
    buf_init(&seen.message, 65536);
    http_ws_init(&ws, on_message, &seen);
    ws.on_control = on_control;
    ws.must_mask = size > 0 && (data[0] & 1);
    for (size_t at = 1; at < size && err == TP_OK;) {
        size_t piece = single ? 1 : size - at;
        err = http_ws_feed(&ws, data + at, piece, NULL);
        at += piece;
    }
    buf_free(&seen.message);
    return seen.sum * 2 + (err != TP_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && play(data, size, false) != play(data, size, true))
        abort();
    return 0;
}

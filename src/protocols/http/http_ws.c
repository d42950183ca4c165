#include "protocols/http/http_ws.h"

#include <string.h>

#define PIECE 4096
#define FILL_MAX ((uint64_t)64 * 1024)

void http_ws_init(struct http_ws *ws, http_ws_cb *fn, void *ctx)
{
    *ws = (struct http_ws){.fn = fn, .ctx = ctx};
}

/* Bytes of the head, told by its first two: length and mask follow. */
static size_t head_length(const struct http_ws *ws)
{
    size_t length = 2;
    if (ws->head_size < 2)
        return length;
    if ((ws->head[1] & 0x7f) == 126)
        length += 2;
    else if ((ws->head[1] & 0x7f) == 127)
        length += 8;
    return length + (ws->head[1] & 0x80 ? 4 : 0);
}

static bool is_control(const struct http_ws *ws)
{
    return ws->head[0] & 0x08;
}

static bool is_final(const struct http_ws *ws)
{
    return ws->head[0] & 0x80;
}

static uint64_t payload_length(const struct http_ws *ws)
{
    size_t bytes = (ws->head[1] & 0x7f) == 126 ? 2 : (ws->head[1] & 0x7f) == 127 ? 8 : 0;
    uint64_t length = 0;
    if (bytes == 0)
        return ws->head[1] & 0x7f;
    for (size_t i = 0; i < bytes; i++)
        length = length << 8 | ws->head[2 + i];
    return length;
}

static enum tp_err begin_frame(struct http_ws *ws, struct tp_error *error)
{
    unsigned opcode = ws->head[0] & 0x0f;
    if (ws->head[0] & 0x70)
        return err_set(error, TP_INVALID, "a WebSocket frame uses an extension that was not agreed on");
    if (ws->must_mask && !(ws->head[1] & 0x80))
        return err_set(error, TP_INVALID, "a WebSocket frame of a client has no mask");
    ws->left = payload_length(ws);
    if (ws->left >> 63)
        return err_set(error, TP_INVALID, "a WebSocket frame has an impossible length");
    if (is_control(ws)) {
        if (opcode > 10 || !is_final(ws) || ws->left > 125)
            return err_set(error, TP_INVALID, "a WebSocket control frame is malformed");
    } else if (opcode > 2 || (opcode == 0) != ws->in_message) {
        return err_set(error, TP_INVALID, "a WebSocket message is out of order");
    } else {
        ws->in_message = true;
        if (opcode != 0) {
            ws->begun = false;
            ws->opcode = opcode;
        }
    }
    ws->control_size = 0;
    ws->masked = 0;
    ws->in_payload = true;
    return TP_OK;
}

static enum tp_err give(struct http_ws *ws, const uint8_t *data, size_t size)
{
    bool last = ws->left == 0 && is_final(ws);
    bool first = !ws->begun;
    if (size == 0 && !last)
        return TP_OK;
    ws->begun = true;
    return ws->fn(ws->ctx, data, size, first, last);
}

static enum tp_err give_control(struct http_ws *ws, const uint8_t *data, size_t size)
{
    memcpy(ws->control + ws->control_size, data, size); /* begin_frame has checked the length */
    ws->control_size += size;
    if (ws->left > 0 || !ws->on_control)
        return TP_OK;
    return ws->on_control(ws->ctx, ws->head[0] & 0x0fU, ws->control, ws->control_size);
}

/* Takes up to size bytes of the payload; ret_used is how many. */
static enum tp_err payload(struct http_ws *ws, const uint8_t *data, size_t size, size_t *ret_used)
{
    uint8_t clear[PIECE];
    const uint8_t *mask = ws->head + head_length(ws) - 4;
    bool masked = ws->head[1] & 0x80;
    if (size > ws->left)
        size = (size_t)ws->left;
    if (masked && size > sizeof clear)
        size = sizeof clear;
    for (size_t i = 0; masked && i < size; i++)
        clear[i] = data[i] ^ mask[(ws->masked + i) % 4];
    ws->masked = (ws->masked + size) % 4;
    ws->left -= size;
    *ret_used = size;
    return is_control(ws) ? give_control(ws, masked ? clear : data, size) : give(ws, masked ? clear : data, size);
}

static void end_frame(struct http_ws *ws)
{
    if (!is_control(ws) && is_final(ws))
        ws->in_message = false;
    ws->in_payload = false;
    ws->head_size = 0;
}

enum tp_err http_ws_feed(struct http_ws *ws, const uint8_t *data, size_t size, struct tp_error *error)
{
    while (size > 0 || (ws->in_payload && ws->left == 0)) {
        size_t used = 0;
        enum tp_err err = TP_OK;
        if (ws->in_payload) {
            err = payload(ws, data, size, &used);
            if (err)
                return err_set(error, err, "a message on the WebSocket connection is not of the agreed protocol");
            if (ws->left == 0)
                end_frame(ws);
        } else {
            ws->head[ws->head_size++] = *data;
            used = 1;
            if (ws->head_size >= 2 && ws->head_size == head_length(ws))
                err = begin_frame(ws, error);
        }
        if (err)
            return err;
        data += used;
        size -= used;
    }
    return TP_OK;
}

void http_ws_put(struct buf *out, unsigned opcode, const void *data, size_t size)
{
    uint8_t head[4] = {(uint8_t)(0x80 | opcode), (uint8_t)size};
    if (size >= 126) {
        head[1] = 126;
        head[2] = (uint8_t)(size >> 8);
        head[3] = (uint8_t)size;
    }
    (void)buf_append(out, head, size >= 126 ? 4 : 2);
    (void)buf_append(out, data, size);
}

enum tp_err http_ws_complete(const struct http_ws *ws, struct buf *out)
{
    static const uint8_t zeros[PIECE];
    if (!ws->in_payload)
        return ws->head_size == 0 && !ws->in_message ? TP_OK : TP_INVALID;
    if (is_control(ws) || !is_final(ws) || ws->left > FILL_MAX)
        return TP_INVALID;
    for (size_t left = (size_t)ws->left, piece; left > 0; left -= piece) {
        piece = left < PIECE ? left : PIECE;
        (void)buf_append(out, zeros, piece);
    }
    return TP_OK;
}

size_t http_ws_head(uint8_t out[HTTP_WS_HEAD_MAX], unsigned opcode, size_t size)
{
    size_t used = 2;
    unsigned bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;
    out[0] = (uint8_t)(0x80 | opcode);
    out[1] = bytes == 0 ? (uint8_t)size : bytes == 2 ? 126 : 127;
    for (unsigned i = 0; i < bytes; i++)
        out[used++] = (uint8_t)((uint64_t)size >> (8 * (bytes - 1 - i)));
    return used;
}

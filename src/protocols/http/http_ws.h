/* Reads WebSocket frames (RFC 6455 section 5) in pieces of any size. */
#ifndef HTTP_WS_H
#define HTTP_WS_H

#include "base/buf.h"
#include "base/err.h"

/* A piece of a message of data, unmasked; valid during the call. first: the message begins here; last: it is complete.
 * Anything but TP_OK ends the reading. */
typedef enum tp_err http_ws_cb(void *ctx, const uint8_t *data, size_t size, bool first, bool last);
/* A control frame, whole and unmasked. */
typedef enum tp_err http_ws_control_cb(void *ctx, unsigned opcode, const uint8_t *data, size_t size);

enum { HTTP_WS_TEXT = 1, HTTP_WS_BINARY = 2, HTTP_WS_CLOSE = 8, HTTP_WS_PING = 9, HTTP_WS_PONG = 10 };
#define HTTP_WS_CONTROL_MAX 125
#define HTTP_WS_HEAD_MAX 10 /* of a frame that a server writes */

struct http_ws {
    http_ws_cb *fn;
    void *ctx;
    http_ws_control_cb *on_control; /* NULL: control frames are checked and passed over. Set it after http_ws_init */
    bool must_mask;  /* we are the server: a frame without a mask is an error. Set it after http_ws_init */
    unsigned opcode; /* of the message under way: HTTP_WS_TEXT or HTTP_WS_BINARY */
    uint8_t control[HTTP_WS_CONTROL_MAX];
    size_t control_size;
    uint8_t head[14];
    size_t head_size; /* bytes of it that are there */
    uint64_t left;    /* of the frame's payload */
    size_t masked;    /* payload bytes so far, for the mask */
    bool in_payload;
    bool in_message; /* a data message has begun and its last frame has not come */
    bool begun;      /* its first piece has been given */
};

void http_ws_init(struct http_ws *ws, http_ws_cb *fn, void *ctx);
/* TP_INVALID for reserved bits and opcodes, a missing mask where it must be, fragments out of order, control frames that are too large, lengths past 63
 * bits; else what fn says. */
enum tp_err http_ws_feed(struct http_ws *ws, const uint8_t *data, size_t size, struct tp_error *error) TP_MUST;
/* Appends one whole frame as a server sends it (unmasked). size: at most 65535, of a close frame 125. */
void http_ws_put(struct buf *out, unsigned opcode, const void *data, size_t size);
/* Another message may stand behind what was read: it ended with a message, or within the last frame of one, whose missing
 * bytes are appended as zeros then. TP_INVALID elsewhere, and where more than 64 KB are missing. */
enum tp_err http_ws_complete(const struct http_ws *ws, struct buf *out) TP_MUST;
/* The head of a frame that a server writes: final, unmasked. Returns its size. */
size_t http_ws_head(uint8_t out[HTTP_WS_HEAD_MAX], unsigned opcode, size_t size);

#endif

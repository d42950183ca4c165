/* Reads WebSocket frames (RFC 6455 section 5) in pieces of any size. */
#ifndef KUBE_WS_H
#define KUBE_WS_H

#include "base/buf.h"
#include "base/err.h"

/* A piece of a message of data, unmasked; valid during the call. first: the message begins here; last: it is complete.
 * Anything but TP_OK ends the reading. */
typedef enum tp_err kube_ws_cb(void *ctx, const uint8_t *data, size_t size, bool first, bool last);

struct kube_ws {
    kube_ws_cb *fn;
    void *ctx;
    uint8_t head[14];
    size_t head_size; /* bytes of it that are there */
    uint64_t left;    /* of the frame's payload */
    size_t masked;    /* payload bytes so far, for the mask */
    bool in_payload;
    bool in_message; /* a data message has begun and its last frame has not come */
    bool begun;      /* its first piece has been given */
};

void kube_ws_init(struct kube_ws *ws, kube_ws_cb *fn, void *ctx);
/* TP_INVALID for reserved bits and opcodes, fragments out of order, control frames that are too large, lengths past 63
 * bits; else what fn says. */
enum tp_err kube_ws_feed(struct kube_ws *ws, const uint8_t *data, size_t size, struct tp_error *error) TP_MUST;

enum { KUBE_WS_BINARY = 2, KUBE_WS_CLOSE = 8 };
/* Appends one whole frame as a server sends it (unmasked). size: at most 65535, of a close frame 125. */
void kube_ws_put(struct buf *out, unsigned opcode, const void *data, size_t size);
/* Another message may stand behind what was read: it ended with a message, or within the last frame of one, whose missing
 * bytes are appended as zeros then. TP_INVALID elsewhere, and where more than 64 KB are missing. */
enum tp_err kube_ws_complete(const struct kube_ws *ws, struct buf *out) TP_MUST;

#endif

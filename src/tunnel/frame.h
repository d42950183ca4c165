/* Frames of the tunnel protocol (docs/protocol-tunnel.md): encoding and strict decoding, and the rule of which frame may
 * follow which in one direction of one stream. Pure: no I/O, no memory of its own. */
#ifndef TUNNEL_FRAME_H
#define TUNNEL_FRAME_H

#include "base/buf.h"
#include "base/close.h"

#define FRAME_HEADER_SIZE ((size_t)8)
#define FRAME_PAYLOAD_MAX ((size_t)16 * 1024 - FRAME_HEADER_SIZE) /* header and payload fill one TLS record at most */
#define FRAME_KIND_MAX ((size_t)16)
#define FRAME_TEXT_MAX ((size_t)1024)
#define FRAME_VERSION_MIN 1
#define FRAME_VERSION_MAX 2 /* 2: blocked */

enum frame_type {
    FRAME_HELLO = 1,
    FRAME_OPEN,
    FRAME_ACCEPT,
    FRAME_DATA,
    FRAME_CREDIT,
    FRAME_END,
    FRAME_RESET,
    FRAME_PING,
    FRAME_PONG,
    FRAME_DRAIN,
    FRAME_BLOCKED, /* from version 2 on */
};
#define FRAME_TYPE_LAST FRAME_BLOCKED

enum {
    FRAME_FLAG_MORE = 1,
    /* open: the header goes on in the next frame */ FRAME_FLAG_ACK = 1 /* drain: answer to one */
};

struct frame {
    enum frame_type type;
    uint8_t flags;
    uint16_t size; /* of the payload */
    uint32_t id;   /* of the stream; 0 for frames about the tunnel itself */
};

/* TP_PROTOCOL when the type is unknown, a flag is not known for it, the size is out of the type's bounds, or the id is 0
 * where a stream is meant (or the other way round). */
enum tp_err frame_decode(const uint8_t header[FRAME_HEADER_SIZE], struct frame *ret_frame) TP_MUST;
void frame_encode(const struct frame *frame, uint8_t header[FRAME_HEADER_SIZE]);

/* Payloads. Decoders refuse (TP_PROTOCOL) what is not exactly the form. */
struct frame_hello {
    uint16_t version_min;
    uint16_t version_max;
};
#define FRAME_HELLO_SIZE ((size_t)8)
#define FRAME_HELLO_MAX ((size_t)1024) /* later versions may append */
void frame_hello_encode(const struct frame_hello *hello, uint8_t out[FRAME_HELLO_SIZE]);
enum tp_err frame_hello_decode(const uint8_t *payload, size_t size, struct frame_hello *ret_hello) TP_MUST;

/* The kind at the start of an open frame: one length byte, then 1 to FRAME_KIND_MAX of [a-z0-9-]. ret_used: bytes taken. */
enum tp_err frame_kind_decode(const uint8_t *payload, size_t size, char ret_kind[FRAME_KIND_MAX + 1],
                              size_t *ret_used) TP_MUST;
/* Appends the same form; TP_INVALID for a kind that is none. */
enum tp_err frame_kind_encode(const char *kind, struct buf *out) TP_MUST;

/* Reset: one length byte, the name of a reason, then a text of at most FRAME_TEXT_MAX bytes. Control bytes and bytes
 * that are no UTF-8 come out as '?': the text is shown to people. An unknown name gives CLOSE_INTERNAL. */
#define FRAME_RESET_MAX ((size_t)1 + 64 + FRAME_TEXT_MAX)
enum tp_err frame_reset_decode(const uint8_t *payload, size_t size, enum close_reason *ret_reason,
                               char ret_text[FRAME_TEXT_MAX + 1]) TP_MUST;
/* text may be NULL; a longer one is cut at a character. Returns the size written. */
size_t frame_reset_encode(enum close_reason reason, const char *text, uint8_t out[FRAME_RESET_MAX]);

/*
 * One direction of one stream, seen alike by its sender and its receiver. The opener's direction starts OPEN, the other
 * one OPENING. Every direction ends with one reset; the id is free when both have.
 */
enum half_state { HALF_OPENING, HALF_OPEN, HALF_ENDED, HALF_CLOSED };
/* True and the next state in *state when a frame of that type may be sent in this state. */
bool half_step(enum half_state *state, enum frame_type type) TP_MUST;

#endif

/*
 * The messages of a browser's terminal: a protobuf of three fields, {1: version "1", 2: type, 3: payload}, each one
 * length-delimited, one message per binary WebSocket message (Teleport's behaviour, web terminal). Pure.
 */
#ifndef WEB_WEB_ENVELOPE_H
#define WEB_WEB_ENVELOPE_H

#include "base/err.h"

#define WEB_ENVELOPE_HEAD_MAX 12

struct web_envelope {
    char type;              /* one letter */
    const uint8_t *payload; /* inside the message */
    size_t size;
};

/* TP_INVALID for anything but these fields, each at most once (version and type exactly once), in any order. */
enum tp_err web_envelope_read(const void *message, size_t size, struct web_envelope *ret_envelope) TP_MUST;
/* What stands before a payload of size bytes (below 2 MB); returns how much that is. */
size_t web_envelope_head(uint8_t out[WEB_ENVELOPE_HEAD_MAX], char type, size_t size);

#endif

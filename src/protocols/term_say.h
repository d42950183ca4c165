/* What the proxy says to the browser of a terminal: WebSocket messages into its stream (docs/protocol-terminal.md). */
#ifndef PROTOCOLS_TERM_SAY_H
#define PROTOCOLS_TERM_SAY_H

#include "core/stream.h"
#include "protocols/http/http_ws.h"

#include <jansson.h>

/* A message of that type; nothing where stream is NULL. */
void term_say(struct stream *stream, char type, const void *payload, size_t size);
/* The same with a JSON object, which is stolen. */
void term_say_json(struct stream *stream, char type, json_t *object);
/* A control frame: HTTP_WS_CLOSE, HTTP_WS_PING, HTTP_WS_PONG. */
void term_say_control(struct stream *stream, unsigned opcode, const void *data, size_t size);

#endif

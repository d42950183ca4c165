/* What a browser's terminal says, in the words of the node (docs/protocol-terminal.md). Pure. */
#ifndef PROTOCOLS_TERM_WIRE_H
#define PROTOCOLS_TERM_WIRE_H

#include "protocols/web/web_envelope.h"

#include <jansson.h>

#define TERM_WIRE_MAX 8
#define TERM_WIRE_TEXT_MAX ((size_t)4096) /* of a JSON message */

/* Payload of a resize frame out of a message {"width", "height"}: 1 to 4096 each. */
enum tp_err term_wire_resize(const struct web_envelope *envelope, uint8_t out[TERM_WIRE_MAX], size_t *ret_size) TP_MUST;
/* Payload of an ack frame out of decimal text. */
enum tp_err term_wire_ack(const struct web_envelope *envelope, uint8_t out[TERM_WIRE_MAX], size_t *ret_size) TP_MUST;
/* Payload of the open frame out of the query's params; mem_free it. ret_resume: the person may come back to it. */
char *term_wire_open(const json_t *params, bool *ret_resume) TP_MUST;
/* {"session": ...} for the browser, out of the node's open frame. */
json_t *term_wire_session(const char *sid, const char *login, const char *host_id, const char *hostname, bool resumable,
                          const json_t *open) TP_MUST;

#endif

#include "protocols/term_say.h"

#include "base/json.h"
#include "base/mem.h"
#include "protocols/web/web_envelope.h"

#include <string.h>

void term_say(struct stream *stream, char type, const void *payload, size_t size)
{
    uint8_t head[WEB_ENVELOPE_HEAD_MAX];
    uint8_t frame[HTTP_WS_HEAD_MAX];
    size_t head_size = web_envelope_head(head, type, size);
    if (!stream)
        return;
    stream_write(stream, frame, http_ws_head(frame, HTTP_WS_BINARY, head_size + size));
    stream_write(stream, head, head_size);
    stream_write(stream, payload, size);
}

void term_say_json(struct stream *stream, char type, json_t *object)
{
    char *text = json_text(object);
    term_say(stream, type, text, strlen(text));
    mem_free(text);
    json_decref(object);
}

void term_say_control(struct stream *stream, unsigned opcode, const void *data, size_t size)
{
    uint8_t frame[HTTP_WS_HEAD_MAX];
    stream_write(stream, frame, http_ws_head(frame, opcode, size));
    stream_write(stream, data, size);
}

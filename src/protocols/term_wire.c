#include "protocols/term_wire.h"

#include "base/json.h"

#include <string.h>

enum tp_err term_wire_resize(const struct web_envelope *envelope, uint8_t out[TERM_WIRE_MAX], size_t *ret_size)
{
    json_t *object = NULL;
    int64_t width;
    int64_t height;
    if (json_parse_object(envelope->payload, envelope->size, TERM_WIRE_TEXT_MAX, &object, NULL) != TP_OK)
        return TP_INVALID;
    width = json_get_int(object, "width", 0);
    height = json_get_int(object, "height", 0);
    json_decref(object);
    if (width < 1 || height < 1 || width > 4096 || height > 4096)
        return TP_INVALID;
    out[0] = (uint8_t)(width >> 8);
    out[1] = (uint8_t)width;
    out[2] = (uint8_t)(height >> 8);
    out[3] = (uint8_t)height;
    *ret_size = 4;
    return TP_OK;
}

enum tp_err term_wire_ack(const struct web_envelope *envelope, uint8_t out[TERM_WIRE_MAX], size_t *ret_size)
{
    uint64_t offset = 0;
    if (envelope->size == 0 || envelope->size > 18)
        return TP_INVALID;
    for (size_t i = 0; i < envelope->size; i++) {
        if (envelope->payload[i] < '0' || envelope->payload[i] > '9')
            return TP_INVALID;
        offset = offset * 10 + (uint64_t)(envelope->payload[i] - '0');
    }
    for (size_t i = 0; i < 8; i++)
        out[i] = (uint8_t)(offset >> (8 * (7 - i)));
    *ret_size = 8;
    return TP_OK;
}

char *term_wire_open(const json_t *params, bool *ret_resume)
{
    const json_t *size = json_object_get(params, "term");
    const json_t *file = json_object_get(params, "file");
    const char *op = json_get_text(file, "op", "");
    json_t *open =
        json_pack("{s:I, s:I, s:I}", "cols", (json_int_t)json_get_int(size, "w", 80), "rows",
                  (json_int_t)json_get_int(size, "h", 24), "offset", (json_int_t)json_get_int(params, "offset", 0));
    char *text;
    if (json_is_object(file))
        (void)json_object_set_new(open, "file",
                                  json_pack("{s:s, s:s}", "op", op, "path", json_get_text(file, "path", "")));
    *ret_resume = !json_is_object(file) || strcmp(op, "download") == 0;
    text = json_text(open);
    json_decref(open);
    return text;
}

json_t *term_wire_session(const char *sid, const char *login, const char *host_id, const char *hostname, bool resumable,
                          const json_t *open)
{
    json_t *session = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:b}", "id", sid, "login", login, "server_id", host_id,
                                "server_hostname", hostname, "kind", "ssh", "offset",
                                (json_int_t)json_get_int(open, "offset", 0), "resumable", (int)resumable);
    if (json_object_get(open, "size"))
        (void)json_object_set(session, "size", json_object_get(open, "size"));
    return json_pack("{s:o}", "session", session);
}

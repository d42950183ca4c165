#include "tunnel/frame.h"

#include "base/wire.h"

#include <string.h>

static const uint8_t hello_magic[4] = {'T', 'P', 'T', 'N'};

enum id_rule { ID_ZERO, ID_STREAM, ID_ANY };

static const struct frame_rule {
    uint8_t flags;
    enum id_rule id;
    size_t size_min;
    size_t size_max;
} frame_rules[FRAME_TYPE_LAST + 1] = {
    [FRAME_HELLO] = {0, ID_ZERO, FRAME_HELLO_SIZE, FRAME_HELLO_MAX},
    [FRAME_OPEN] = {FRAME_FLAG_MORE, ID_STREAM, 1, FRAME_PAYLOAD_MAX},
    [FRAME_ACCEPT] = {0, ID_STREAM, 0, 0},
    [FRAME_DATA] = {0, ID_STREAM, 1, FRAME_PAYLOAD_MAX},
    [FRAME_CREDIT] = {0, ID_STREAM, 4, 4},
    [FRAME_END] = {0, ID_STREAM, 0, 0},
    [FRAME_RESET] = {0, ID_ANY, 2, FRAME_RESET_MAX},
    [FRAME_PING] = {0, ID_ZERO, 8, 8},
    [FRAME_PONG] = {0, ID_ZERO, 8, 8},
    [FRAME_DRAIN] = {FRAME_FLAG_ACK, ID_ZERO, 0, 0},
    [FRAME_BLOCKED] = {0, ID_STREAM, 0, 0},
};

enum tp_err frame_decode(const uint8_t header[FRAME_HEADER_SIZE], struct frame *ret_frame)
{
    struct rd rd;
    rd_init(&rd, header, FRAME_HEADER_SIZE);
    uint8_t type = rd_u8(&rd);
    uint8_t flags = rd_u8(&rd);
    uint16_t size = rd_u16(&rd);
    uint32_t id = rd_u32(&rd);
    if (type < FRAME_HELLO || type > FRAME_TYPE_LAST) {
        return TP_PROTOCOL;
    }
    const struct frame_rule *rule = &frame_rules[type];
    if ((flags & ~rule->flags) != 0 || size < rule->size_min || size > rule->size_max) {
        return TP_PROTOCOL;
    }
    if ((rule->id == ID_ZERO && id != 0) || (rule->id == ID_STREAM && id == 0)) {
        return TP_PROTOCOL;
    }
    *ret_frame = (struct frame){.type = (enum frame_type)type, .flags = flags, .size = size, .id = id};
    return TP_OK;
}

static void put_u16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

void frame_encode(const struct frame *frame, uint8_t header[FRAME_HEADER_SIZE])
{
    header[0] = (uint8_t)frame->type;
    header[1] = frame->flags;
    put_u16(header + 2, frame->size);
    put_u16(header + 4, (uint16_t)(frame->id >> 16));
    put_u16(header + 6, (uint16_t)frame->id);
}

void frame_hello_encode(const struct frame_hello *hello, uint8_t out[FRAME_HELLO_SIZE])
{
    memcpy(out, hello_magic, sizeof(hello_magic));
    put_u16(out + 4, hello->version_min);
    put_u16(out + 6, hello->version_max);
}

enum tp_err frame_hello_decode(const uint8_t *payload, size_t size, struct frame_hello *ret_hello)
{
    struct rd rd;
    rd_init(&rd, payload, size);
    const uint8_t *magic = rd_bytes(&rd, sizeof(hello_magic));
    struct frame_hello hello;
    hello.version_min = rd_u16(&rd);
    hello.version_max = rd_u16(&rd);
    if (!rd_ok(&rd) || memcmp(magic, hello_magic, sizeof(hello_magic)) != 0 || hello.version_min == 0 ||
        hello.version_min > hello.version_max) {
        return TP_PROTOCOL;
    }
    *ret_hello = hello;
    return TP_OK;
}

static bool is_kind_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

enum tp_err frame_kind_decode(const uint8_t *payload, size_t size, char ret_kind[FRAME_KIND_MAX + 1], size_t *ret_used)
{
    struct rd rd;
    rd_init(&rd, payload, size);
    size_t length = rd_u8(&rd);
    const uint8_t *kind = rd_bytes(&rd, length);
    if (!rd_ok(&rd) || length == 0 || length > FRAME_KIND_MAX) {
        return TP_PROTOCOL;
    }
    for (size_t i = 0; i < length; i++) {
        if (!is_kind_char(kind[i])) {
            return TP_PROTOCOL;
        }
    }
    memcpy(ret_kind, kind, length);
    ret_kind[length] = '\0';
    *ret_used = 1 + length;
    return TP_OK;
}

enum tp_err frame_kind_encode(const char *kind, struct buf *out)
{
    size_t length = strlen(kind);
    if (length == 0 || length > FRAME_KIND_MAX) {
        return TP_INVALID;
    }
    for (size_t i = 0; i < length; i++) {
        if (!is_kind_char((uint8_t)kind[i])) {
            return TP_INVALID;
        }
    }
    wr_u8(out, (uint8_t)length);
    wr_bytes(out, kind, length);
    return TP_OK;
}

/* The length of the UTF-8 character at the start of text, or 0 when there is none (RFC 3629, table of section 4). */
static size_t utf8_length(const uint8_t *text, size_t size)
{
    uint8_t first = text[0];
    if (first < 0x80) {
        return 1;
    }
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || size < length) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((first == 0xe0 && text[1] < 0xa0) || (first == 0xed && text[1] > 0x9f) || (first == 0xf0 && text[1] < 0x90) ||
        (first == 0xf4 && text[1] > 0x8f)) {
        return 0;
    }
    return length;
}

/* C0 and C1 control characters and DEL: they could drive the terminal of whoever reads the text. */
static bool is_control(const uint8_t *text, size_t length)
{
    return (length == 1 && (text[0] < 0x20 || text[0] == 0x7f)) || (length == 2 && text[0] == 0xc2 && text[1] < 0xa0);
}

enum tp_err frame_reset_decode(const uint8_t *payload, size_t size, enum close_reason *ret_reason,
                               char ret_text[FRAME_TEXT_MAX + 1])
{
    struct rd rd;
    rd_init(&rd, payload, size);
    size_t length = rd_u8(&rd);
    const uint8_t *name = rd_bytes(&rd, length);
    if (!rd_ok(&rd) || length == 0 || length > 64 || rd.left > FRAME_TEXT_MAX) {
        return TP_PROTOCOL;
    }
    char name_text[65];
    memcpy(name_text, name, length);
    name_text[length] = '\0';
    enum close_reason reason = close_from_name(name_text);
    *ret_reason = reason == CLOSE_NONE ? CLOSE_INTERNAL : reason;
    const uint8_t *text = rd.at;
    size_t left = rd.left;
    size_t used = 0;
    while (left > 0) {
        size_t step = utf8_length(text, left);
        if (step == 0 || is_control(text, step)) {
            ret_text[used++] = '?';
            step = step == 0 ? 1 : step;
        } else {
            memcpy(ret_text + used, text, step);
            used += step;
        }
        text += step;
        left -= step;
    }
    ret_text[used] = '\0';
    return TP_OK;
}

size_t frame_reset_encode(enum close_reason reason, const char *text, uint8_t out[FRAME_RESET_MAX])
{
    const char *name = close_name(reason);
    size_t length = strlen(name);
    size_t used = 0;
    out[used++] = (uint8_t)length;
    memcpy(out + used, name, length);
    used += length;
    size_t size = text == NULL ? 0 : strnlen(text, FRAME_TEXT_MAX + 1);
    if (size > FRAME_TEXT_MAX) {
        size = FRAME_TEXT_MAX;
        while (size > 0 && ((uint8_t)text[size] & 0xc0) == 0x80) {
            size--;
        }
    }
    if (size > 0) {
        memcpy(out + used, text, size);
    }
    return used + size;
}

/*
 *                accept          end           reset (from any state)
 *     OPENING ----------> OPEN -------> ENDED --------------------------> CLOSED
 *                       data, credit,   credit
 *                       blocked
 *
 * The direction of the opener starts at OPEN. Credit may follow end, because it speaks of the other direction.
 */
#define NO (-1)
static const int8_t half_table[4][FRAME_TYPE_LAST + 1] = {
    /* columns:       -   HELLO OPEN ACCEPT     DATA       CREDIT      END         RESET        PING PONG DRAIN BLOCKED */
    [HALF_OPENING] = {NO, NO, NO, HALF_OPEN, NO, NO, NO, HALF_CLOSED, NO, NO, NO, NO},
    [HALF_OPEN] = {NO, NO, NO, NO, HALF_OPEN, HALF_OPEN, HALF_ENDED, HALF_CLOSED, NO, NO, NO, HALF_OPEN},
    [HALF_ENDED] = {NO, NO, NO, NO, NO, HALF_ENDED, NO, HALF_CLOSED, NO, NO, NO, NO},
    [HALF_CLOSED] = {NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO},
};

bool half_step(enum half_state *state, enum frame_type type)
{
    int next = half_table[*state][type];
    if (next == NO) {
        return false;
    }
    *state = (enum half_state)next;
    return true;
}

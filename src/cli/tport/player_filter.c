#include "cli/tport/player_filter.h"

#include <string.h>

#define ESC 0x1b
#define MAX_NUMBER 9999 /* larger counts serve no purpose but to keep a terminal busy */

void player_filter_init(struct player_filter *filter, bool plain)
{
    memset(filter, 0, sizeof(*filter));
    filter->plain = plain;
}

static void emit(struct player_filter *filter, struct buf *out, const void *data, size_t size)
{
    if (!filter->plain)
        (void)buf_append(out, data, size);
}

/* Only digits and separators, and no number above MAX_NUMBER. ret_count: numbers. */
static bool plain_numbers(const char *text, size_t size, bool colons, size_t *ret_count)
{
    unsigned long value = 0;
    *ret_count = size > 0 ? 1 : 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == ';' || (colons && text[i] == ':')) {
            ++*ret_count;
            value = 0;
        } else if (text[i] >= '0' && text[i] <= '9') {
            value = value * 10 + (unsigned long)(text[i] - '0');
            if (value > MAX_NUMBER)
                return false;
        } else {
            return false;
        }
    }
    return true;
}

/* CSI ? n h and l: auto-wrap, cursor visible, the other screen. */
static bool private_mode(struct player_filter *filter, char final)
{
    static const char *const modes[] = {"?7", "?12", "?25", "?47", "?1047", "?1048", "?1049"};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strlen(modes[i]) != filter->params_size || memcmp(modes[i], filter->params, filter->params_size) != 0)
            continue;
        if (strcmp(modes[i], "?47") == 0 || strcmp(modes[i], "?1047") == 0 || strcmp(modes[i], "?1049") == 0)
            filter->other_screen = final == 'h';
        return true;
    }
    return false;
}

static bool csi_allowed(struct player_filter *filter, char final)
{
    size_t count = 0;
    const char *params = filter->params;
    size_t size = filter->params_size;

    if (size > 0 && params[0] == '?')
        return final == 'h' || final == 'l' ? private_mode(filter, final)
                                            : (final == 'J' || final == 'K') && size == 2 && params[1] <= '3';
    if (!plain_numbers(params, size, final == 'm', &count))
        return false;
    switch (final) {
    case 'm': /* colours and styles */
        return true;
    /* clang-format off */
    case '@': case 'A': case 'B': case 'C': case 'D': case 'E': case 'F': case 'G': case 'I': case 'J': case 'K':
    case 'L': case 'M': case 'P': case 'S': case 'T': case 'X': case 'Z': case '`': case 'a': case 'b': case 'd':
    case 'e': case 'g': /* moving, erasing, inserting, deleting, scrolling, repeating, tab stops */
        /* clang-format on */
        return count <= 1;
    case 'H':
    case 'f':
    case 'r': /* position, scrolling region */
        return count <= 2;
    case 'h':
    case 'l': /* insert mode only */
        return size == 1 && params[0] == '4';
    case 's':
    case 'u': /* save and restore the cursor */
        return size == 0;
    default:
        return false;
    }
}

static void end_csi(struct player_filter *filter, char final, struct buf *out)
{
    if (csi_allowed(filter, final)) {
        emit(filter, out, "\x1b[", 2);
        emit(filter, out, filter->params, filter->params_size);
        emit(filter, out, &final, 1);
    }
    filter->state = PLAYER_GROUND;
}

static void begin(struct player_filter *filter, enum player_state state)
{
    filter->state = state;
    filter->params_size = 0;
    filter->string_size = 0;
}

static void escape_byte(struct player_filter *filter, uint8_t byte, struct buf *out)
{
    char pair[2] = {ESC, (char)byte};
    switch (byte) {
    case '[':
        begin(filter, PLAYER_CSI);
        return;
    case ']':
    case 'P':
    case 'X':
    case '^':
    case '_':
    case 'k': /* OSC, DCS, SOS, PM, APC, screen's title */
        begin(filter, PLAYER_STRING);
        return;
    case '(':
    case ')':
        begin(filter, PLAYER_CHARSET);
        filter->params[0] = (char)byte;
        return;
    case '7':
    case '8':
    case 'D':
    case 'E':
    case 'H':
    case 'M': /* cursor, line feeds, tab stop */
        emit(filter, out, pair, 2);
        filter->state = PLAYER_GROUND;
        return;
    default:
        /* Intermediates (0x20-0x2f) come before a final byte; the whole is dropped. */
        filter->state = byte >= 0x20 && byte <= 0x2f ? PLAYER_IGNORE_ESCAPE : PLAYER_GROUND;
        return;
    }
}

static void csi_byte(struct player_filter *filter, uint8_t byte, struct buf *out)
{
    if (byte >= 0x40 && byte <= 0x7e) {
        if (filter->state == PLAYER_CSI)
            end_csi(filter, (char)byte, out);
        filter->state = PLAYER_GROUND;
    } else if (byte >= 0x20 && byte <= 0x3f) {
        if (byte < 0x30 || filter->params_size == sizeof(filter->params))
            filter->state = PLAYER_IGNORE_CSI;
        else
            filter->params[filter->params_size++] = (char)byte;
    } else {
        filter->state = PLAYER_GROUND;
    }
}

static void control(struct player_filter *filter, uint8_t byte, struct buf *out)
{
    if (byte == '\n' || byte == '\t')
        (void)buf_append(out, &byte, 1);
    else if (byte == '\b' || byte == '\r' || byte == '\v' || byte == '\f' || byte == 0x0e || byte == 0x0f)
        emit(filter, out, &byte, 1);
}

/* A complete character above ASCII. C1 controls are what their ESC forms are. */
static void wide_char(struct player_filter *filter, struct buf *out)
{
    if (filter->utf8_size == 2 && filter->utf8[0] == 0xc2 && filter->utf8[1] < 0xa0) {
        uint8_t code = filter->utf8[1];
        if (code == 0x9b)
            begin(filter, PLAYER_CSI);
        else if (code == 0x90 || code == 0x98 || code == 0x9d || code == 0x9e || code == 0x9f)
            begin(filter, PLAYER_STRING);
        return;
    }
    (void)buf_append(out, filter->utf8, filter->utf8_size);
}

static bool good_utf8(const uint8_t *text, size_t size)
{
    if (size == 3)
        return !(text[0] == 0xe0 && text[1] < 0xa0) && !(text[0] == 0xed && text[1] >= 0xa0);
    if (size == 4)
        return !(text[0] == 0xf0 && text[1] < 0x90) && !(text[0] == 0xf4 && text[1] >= 0x90);
    return true;
}

/* Bytes from 0x80 on; false when the byte belongs to no character. */
static void high_byte(struct player_filter *filter, uint8_t byte, struct buf *out)
{
    if (filter->utf8_size > 0 && (byte & 0xc0) == 0x80) {
        filter->utf8[filter->utf8_size++] = byte;
        if (filter->utf8_size == filter->utf8_need) {
            if (good_utf8(filter->utf8, filter->utf8_size))
                wide_char(filter, out);
            filter->utf8_size = 0;
        }
        return;
    }
    filter->utf8_size = 0;
    filter->utf8_need = byte >= 0xc2 && byte < 0xe0   ? 2
                        : byte >= 0xe0 && byte < 0xf0 ? 3
                        : byte >= 0xf0 && byte < 0xf5 ? 4
                                                      : 0;
    if (filter->utf8_need > 0)
        filter->utf8[filter->utf8_size++] = byte;
}

static void string_byte(struct player_filter *filter, uint8_t byte, struct buf *out)
{
    if (filter->state == PLAYER_STRING_ESCAPE) {
        filter->state = PLAYER_GROUND;
        if (byte == ESC)
            begin(filter, PLAYER_ESCAPE);
        else if (byte != '\\')
            escape_byte(filter, byte, out);
        return;
    }
    if (byte == ESC)
        filter->state = PLAYER_STRING_ESCAPE;
    else if (byte == 0x07 || byte == 0x18 || byte == 0x1a || byte == 0x9c ||
             ++filter->string_size >= PLAYER_FILTER_STRING_MAX)
        filter->state = PLAYER_GROUND;
}

static void one_byte(struct player_filter *filter, uint8_t byte, struct buf *out)
{
    if (filter->state == PLAYER_STRING || filter->state == PLAYER_STRING_ESCAPE) {
        string_byte(filter, byte, out);
        return;
    }
    if (byte >= 0x80) {
        filter->state = PLAYER_GROUND;
        high_byte(filter, byte, out);
        return;
    }
    filter->utf8_size = 0;
    if (byte == ESC) {
        begin(filter, PLAYER_ESCAPE);
    } else if (byte == 0x18 || byte == 0x1a) {
        filter->state = PLAYER_GROUND;
    } else if (byte < 0x20 || byte == 0x7f) {
        control(filter, byte, out); /* terminals obey these inside sequences too */
    } else if (filter->state == PLAYER_ESCAPE) {
        filter->state = PLAYER_GROUND;
        escape_byte(filter, byte, out);
    } else if (filter->state == PLAYER_CHARSET) {
        char set[3] = {ESC, filter->params[0], (char)byte};
        if (byte == 'B' || byte == '0')
            emit(filter, out, set, 3);
        filter->state = PLAYER_GROUND;
    } else if (filter->state == PLAYER_CSI || filter->state == PLAYER_IGNORE_CSI) {
        csi_byte(filter, byte, out);
    } else if (filter->state == PLAYER_IGNORE_ESCAPE) {
        filter->state = byte <= 0x2f ? PLAYER_IGNORE_ESCAPE : PLAYER_GROUND;
    } else {
        (void)buf_append(out, &byte, 1);
    }
}

void player_filter_feed(struct player_filter *filter, const void *data, size_t size, struct buf *out)
{
    const uint8_t *at = data;
    for (size_t i = 0; i < size; i++)
        one_byte(filter, at[i], out);
}

void player_filter_end(struct player_filter *filter, struct buf *out)
{
    bool plain = filter->plain;
    if (!plain) {
        if (filter->other_screen)
            (void)buf_append_text(out, "\x1b[?1049l");
        (void)buf_append_text(out, "\x1b"
                                   "7\x1b[r\x1b"
                                   "8\x0f\x1b(B\x1b[0m\x1b[4l\x1b[?7h\x1b[?25h");
    }
    player_filter_init(filter, plain);
}

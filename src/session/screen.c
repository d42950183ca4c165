#include "session/screen.h"

#include <string.h>

#define ESC 0x1b
#define BEL 0x07
#define CAN 0x18
#define SUB 0x1a

/* Modes of ESC [ ? N h that give a program the whole screen. */
static bool names_alternate(uint16_t number)
{
    return number == 47 || number == 1047 || number == 1049;
}

/* How many bytes of a character miss behind these, the last of a text. */
static uint8_t missing(uint8_t left, const uint8_t *data, size_t size)
{
    for (size_t back = 1; back <= size && back <= 3; back++) {
        uint8_t byte = data[size - back];
        uint8_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        if ((byte & 0xc0) != 0x80) {
            return length > back ? (uint8_t)(length - back) : 0;
        }
    }
    return size < left ? (uint8_t)(left - size) : 0; /* nothing but the middle of one */
}

static void in_escape(struct screen *screen, uint8_t byte)
{
    if (byte == '[') {
        *screen = (struct screen){.state = SCREEN_SEQUENCE, .alternate = screen->alternate};
    } else if (byte == ']' || byte == 'P' || byte == 'X' || byte == '^' || byte == '_') {
        screen->state = SCREEN_STRING;
    } else if (byte == 'c') { /* a full reset */
        *screen = (struct screen){0};
    } else if (byte != ESC && (byte < 0x20 || byte > 0x2f)) {
        screen->state = SCREEN_TEXT;
    }
}

static void in_sequence(struct screen *screen, uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        screen->number = screen->number < 6000 ? (uint16_t)(screen->number * 10 + (byte - '0')) : UINT16_MAX;
        return;
    }
    screen->private_mode = screen->private_mode || byte == '?';
    if (byte == ';' || (byte >= 0x40 && byte <= 0x7e)) {
        screen->switches = screen->switches || (screen->private_mode && names_alternate(screen->number));
        screen->number = 0;
    }
    if (byte >= 0x40 && byte <= 0x7e) {
        if (screen->switches && (byte == 'h' || byte == 'l')) {
            screen->alternate = byte == 'h';
        }
        screen->state = SCREEN_TEXT;
    } else if (byte == ESC) {
        screen->state = SCREEN_ESCAPE;
    }
}

static void in_string(struct screen *screen, uint8_t byte)
{
    if (screen->state == SCREEN_STRING_END && byte != '\\') {
        screen->state = SCREEN_ESCAPE; /* it ended the string by beginning something else */
        in_escape(screen, byte);
    } else if (screen->state == SCREEN_STRING_END || byte == BEL) {
        screen->state = SCREEN_TEXT;
    } else if (byte == ESC) {
        screen->state = SCREEN_STRING_END;
    }
}

static size_t skip_text(struct screen *screen, const uint8_t *data, size_t size)
{
    const uint8_t *escape = memchr(data, ESC, size);
    size_t text = escape != NULL ? (size_t)(escape - data) : size;
    screen->bytes_left = escape != NULL ? 0 : missing(screen->bytes_left, data, text);
    if (escape == NULL) {
        return size;
    }
    screen->state = SCREEN_ESCAPE;
    return text + 1;
}

void screen_feed(struct screen *screen, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size;) {
        if (screen->state == SCREEN_TEXT) {
            i += skip_text(screen, data + i, size - i);
            continue;
        }
        uint8_t byte = data[i++];
        if (byte == CAN || byte == SUB) {
            screen->state = SCREEN_TEXT;
        } else if (screen->state == SCREEN_ESCAPE) {
            in_escape(screen, byte);
        } else if (screen->state == SCREEN_SEQUENCE) {
            in_sequence(screen, byte);
        } else {
            in_string(screen, byte);
        }
    }
}

bool screen_is_between(const struct screen *screen)
{
    return screen->state == SCREEN_TEXT && screen->bytes_left == 0;
}

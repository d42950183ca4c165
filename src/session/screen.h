/*
 * What a program has done to the terminal, as far as it matters to a line of ours between its output: is it inside an escape
 * sequence or a character, and does it own the whole screen (the alternate screen of vim, less, tmux)? Pure.
 */
#ifndef SESSION_SCREEN_H
#define SESSION_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum screen_state {
    SCREEN_TEXT,
    SCREEN_ESCAPE,     /* behind ESC */
    SCREEN_SEQUENCE,   /* behind ESC [ */
    SCREEN_STRING,     /* behind ESC ], ESC P, ESC X, ESC ^, ESC _: to its end */
    SCREEN_STRING_END, /* ESC within a string */
};

/* Zeroed: a fresh terminal. */
struct screen {
    enum screen_state state;
    uint8_t bytes_left; /* of a character in UTF-8 */
    bool alternate;
    bool private_mode; /* the sequence began with ? */
    bool switches;     /* it names the alternate screen */
    uint16_t number;   /* its parameter so far */
};

/* Output of the program, in order. Text costs one memchr. */
void screen_feed(struct screen *screen, const uint8_t *data, size_t size);
/* Between two characters or sequences. */
bool screen_is_between(const struct screen *screen);

#endif

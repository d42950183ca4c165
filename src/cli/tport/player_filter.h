/*
 * What a recording may do to the terminal of the person who plays it: print, move the cursor, colour, clear, scroll, use
 * the other screen. Everything else is dropped: titles, clipboard, hyperlinks, device control, reports that come back as
 * typed input, printing, window operations, key and mouse modes.
 */
#ifndef CLI_TPORT_PLAYER_FILTER_H
#define CLI_TPORT_PLAYER_FILTER_H

#include "base/buf.h"

#define PLAYER_FILTER_PARAMS 64        /* bytes of parameters of one sequence */
#define PLAYER_FILTER_STRING_MAX 65536 /* bytes after which an unfinished string no longer hides what follows */

enum player_state {
    PLAYER_GROUND,
    PLAYER_ESCAPE,
    PLAYER_CHARSET,
    PLAYER_CSI,
    PLAYER_IGNORE_CSI,
    PLAYER_IGNORE_ESCAPE,
    PLAYER_STRING,
    PLAYER_STRING_ESCAPE
};

struct player_filter {
    bool plain; /* keep nothing but text, line ends and tabs */
    enum player_state state;
    char params[PLAYER_FILTER_PARAMS]; /* of the running CSI sequence, or the charset's designator */
    size_t params_size;
    size_t string_size;
    uint8_t utf8[4]; /* a character that is not complete yet */
    size_t utf8_size;
    size_t utf8_need;
    bool other_screen;
};

void player_filter_init(struct player_filter *filter, bool plain);
/* Appends to out what size bytes of terminal output may show. Pieces may end anywhere. */
void player_filter_feed(struct player_filter *filter, const void *data, size_t size, struct buf *out);
/* Appends what puts the terminal back in order: main screen, cursor shown, colours, scrolling region, character set. */
void player_filter_end(struct player_filter *filter, struct buf *out);

#endif

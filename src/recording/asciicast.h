/*
 * asciicast v2 as text: a header line, then one JSON array per event. Output is cut into valid UTF-8: a character that
 * is split over two reads is carried to the next event, bytes that are no UTF-8 become U+FFFD.
 */
#ifndef RECORDING_ASCIICAST_H
#define RECORDING_ASCIICAST_H

#include "base/buf.h"

/* Zero-initialise it. */
struct asciicast {
    uint8_t carry[4];
    size_t carry_size;
    int64_t last_us; /* times never go back */
};

struct asciicast_header {
    uint32_t cols;
    uint32_t rows;
    int64_t timestamp;   /* Unix seconds */
    const char *term;    /* or NULL */
    const char *shell;   /* or NULL */
    const char *command; /* or NULL */
};

void asciicast_header(struct buf *out, const struct asciicast_header *header);
/* An "o" event, or nothing when all bytes were carried. elapsed_us counts from the header. */
void asciicast_output(struct asciicast *cast, struct buf *out, int64_t elapsed_us, const void *data, size_t size);
void asciicast_resize(struct asciicast *cast, struct buf *out, int64_t elapsed_us, uint32_t cols, uint32_t rows);
void asciicast_marker(struct asciicast *cast, struct buf *out, int64_t elapsed_us, const char *text);
/* The end: an incomplete character that is still carried becomes one U+FFFD. */
void asciicast_finish(struct asciicast *cast, struct buf *out, int64_t elapsed_us);

/* Bytes of the valid UTF-8 sequence at data (1 to 4), 0 when it is broken, -1 when it is only cut off at the end. */
int asciicast_utf8(const uint8_t *data, size_t size);
/* An allocated copy of text in which what is not UTF-8 became U+FFFD, at most limit bytes; mem_free it. */
char *asciicast_clean_text(const char *text, size_t limit) TP_MUST;

#endif

/*
 * The frames of docs/protocol-terminal.md: one terminal, or one file, over a tunnel stream of kind "term", without SSH.
 * A header of 4 bytes (type, 24 bits of size) and at most TERM_FRAME_MAX bytes. Both sides read with term_reader.
 */
#ifndef TERM_TERM_FRAME_H
#define TERM_TERM_FRAME_H

#include "base/buf.h"

#define TERM_FRAME_MAX 16384  /* payload of data */
#define TERM_CONTROL_MAX 8192 /* payload of every other frame */
#define TERM_HEAD 4

/* Output that the person's side has not acknowledged: the node keeps it for a reconnection and makes no more of it. */
#define TERM_WINDOW ((size_t)128 * 1024)

enum term_type {
    TERM_OPEN = 'O',    /* both ways, first frame of each link: JSON */
    TERM_DATA = 'D',    /* both ways */
    TERM_RESIZE = 'W',  /* to the node: u16 columns, u16 rows */
    TERM_ACK = 'A',     /* to the node: u64, bytes of data that have been taken since the session began */
    TERM_QUIT = 'Q',    /* to the node: the person ends the terminal, or the file that comes is complete; empty */
    TERM_WATCHED = 'V', /* from the node: JSON {watchers, count} */
    TERM_EXIT = 'X',    /* from the node: JSON {code, signal} */
    TERM_CLOSE = 'C',   /* from the node: JSON {reason, text}, the last frame */
};

/* Who is read from. */
enum term_side { TERM_FROM_PERSON, TERM_FROM_NODE };

/* data: size > 0 bytes of a data frame, in pieces of any size. Other than TP_OK ends the reading. */
typedef enum tp_err term_data_cb(void *ctx, const uint8_t *data, size_t size);
/* Any other frame, whole. */
typedef enum tp_err term_control_cb(void *ctx, enum term_type type, const uint8_t *payload, size_t size);

struct term_reader {
    enum term_side side;
    term_data_cb *on_data;
    term_control_cb *on_control;
    void *ctx;
    uint8_t head[TERM_HEAD];
    size_t head_size;
    size_t left; /* of the payload */
    bool opened; /* the open frame has come */
    struct buf control;
};

void term_reader_init(struct term_reader *reader, enum term_side side, term_data_cb *on_data,
                      term_control_cb *on_control, void *ctx);
void term_reader_free(struct term_reader *reader);
/* TP_PROTOCOL for a type that this side may not send, a size outside the type's bounds, anything before or a second open
 * frame; else what the callbacks say. A node may close before it opens. The reader must not be freed by its callbacks. */
enum tp_err term_reader_feed(struct term_reader *reader, const uint8_t *data, size_t size,
                             struct tp_error *error) TP_MUST;

/* The head of a frame; size fits the type. */
void term_head(uint8_t out[TERM_HEAD], enum term_type type, size_t size);

#endif

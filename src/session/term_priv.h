/* Private to src/session/term*.c. */
#ifndef SESSION_TERM_PRIV_H
#define SESSION_TERM_PRIV_H

#include "core/rpc.h"
#include "core/stream.h"
#include "recording/recorder.h"
#include "recording/sizes.h"
#include "term/term_frame.h"

#define TERM_CHANNEL 1 /* the monitor's number of the only channel */

enum term_phase {
    TERM_STARTING,
    TERM_WAITING, /* for the open frame */
    TERM_ASKING,  /* the monitor starts the shell or opens the file */
    TERM_RUNNING,
    TERM_ENDING, /* the last frames are out; recording and file are being confirmed */
    TERM_DONE,
};

enum term_use { TERM_SHELL, TERM_DOWNLOAD, TERM_UPLOAD };

struct term {
    struct loop *loop;
    struct rpc *monitor;
    enum term_phase phase;
    enum term_use use;
    struct later step;
    struct timer *deadline; /* for the open frame; for a person to come back; for the end */
    struct timer *tick;
    /* the link */
    struct stream *link; /* NULL: the person is away */
    struct term_reader reader;
    bool link_open; /* our open frame is out on this link */
    bool quit;      /* the person has said the end */
    /* settings */
    bool file_only; /* what the grant is for */
    bool record, record_strict, record_packed;
    bool disconnect_expired_cert;
    int64_t cert_not_after_ms;
    int64_t idle_timeout_ms;
    int64_t last_activity_ms;
    /* output: ring holds the bytes of the session from acked on */
    struct buf ring;
    uint64_t acked, sent; /* offsets; sent on this link */
    /* the terminal or the file */
    int fd;
    int arrived; /* descriptor whose reply has not come yet */
    struct watch *watch;
    struct buf to_fd;
    uint32_t cols, rows;
    uint64_t size; /* of the file */
    bool exited, exit_told, end_told, file_told, completed;
    int exit_status;
    char exit_signal[16];
    json_t *watched; /* who watches, for the page: {watchers, count}; NULL: nobody ever did */
    struct recorder *recorder;
    struct sizes *sizes; /* NULL until the first change */
    uint32_t record_call;
    enum close_reason reason;
};

/* term.c */
void term_wake(struct term *term);
/* Tells the person reason and text (NULL: none), then ends. */
void term_close(struct term *term, enum close_reason reason, const char *text);
/* A frame on the link; nothing without one. */
void term_send(struct term *term, enum term_type type, const void *payload, size_t size);
/* The same with a JSON object, which is stolen. */
void term_send_json(struct term *term, enum term_type type, json_t *object);
/* What was asked for is there: the answer to the open frame goes out, and bytes move. fields (stolen) go along. */
void term_opened(struct term *term, json_t *fields);

/* term_io.c */
/* Moves bytes in all directions. */
void term_pump(struct term *term);
/* Bytes from the person. */
enum tp_err term_input(struct term *term, const uint8_t *data, size_t size);
/* offset: bytes that the person has; they need not be kept any more. TP_PROTOCOL outside of what was sent. */
enum tp_err term_ack(struct term *term, uint64_t offset);
void term_resize(struct term *term, uint32_t cols, uint32_t rows);
/* The descriptor that the monitor sent becomes the terminal or file. */
void term_start_io(struct term *term, int fd);
void term_stop_io(struct term *term);
void term_start_recorder(struct term *term, const char *name, const char *shell);

#endif

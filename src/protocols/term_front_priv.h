/* What the two halves of a browser's terminal share: term_front.c (the browser, auth, time) and term_node.c (the node). */
#ifndef PROTOCOLS_TERM_FRONT_PRIV_H
#define PROTOCOLS_TERM_FRONT_PRIV_H

#include "protocols/http/http_ws.h"
#include "protocols/term_front.h"
#include "term/term_frame.h"

enum { CODE_DONE = 1000, CODE_PROTOCOL = 1002, CODE_TOO_LARGE = 1009, CODE_LOST = 4000, CODE_TOKEN = 4401 };

enum term_state { TERM_TOKEN, TERM_ASKING, TERM_JOINING, TERM_RUNNING, TERM_OVER };

struct term_front {
    struct worker *worker;
    struct peer peer;
    enum term_state state;
    struct stream *stream; /* the browser's; NULL when it is gone */
    struct http_ws ws;
    struct buf message; /* that is being read */
    json_t *params;
    char *session; /* id of the cookie, until auth was asked */
    char *rpc;
    uint32_t request; /* to auth, 0 when none is pending */
    char *sid, *attach, *host_id, *hostname;
    struct buf grant;
    struct tunnel_stream *tunnel; /* NULL when it is gone or another worker has it */
    struct stream *pair;          /* to the worker that has it (term_pair.c) */
    bool pair_asked;
    struct term_reader reader;
    struct buf pending; /* for the node, no credit yet */
    size_t owed;        /* bytes of the tunnel for which credit is held back */
    bool heard_end;     /* the browser said that it is the end */
    bool said_end;      /* it was told why or with which code it ended */
    bool can_resume;    /* the node keeps the terminal when its person is lost */
    bool resumes;       /* it is to join a terminal that runs */
    bool joined;        /* the node has said that it is there */
    bool lost;          /* something on the way broke; the terminal may go on */
    struct timer *timer;
    struct timer *ping;
    int64_t heard_ms;
    int64_t linger_until;
    int64_t join_deadline;
    enum close_reason cut; /* CLOSE_NONE: it still has its right */
    char *cut_text;
    enum close_reason reason;
    uint64_t rx, tx;
};

/* ---- term_front.c ---- */

/* Why it ended; the first one counts. */
void term_front_reason(struct term_front *front, enum close_reason reason);
/* The last frame of our direction, then the end of the connection. */
void term_front_hang_up(struct term_front *front, unsigned code, enum close_reason reason);
/* Tells the browser, once. resume: it may come back to the terminal. */
void term_front_say_end(struct term_front *front, enum close_reason reason, const char *text, bool resume);
/* Frees it when both sides have gone and auth has answered. */
void term_front_finish(struct term_front *front);
/* Before there is a node: told why, then closed. */
void term_front_refuse(struct term_front *front, enum close_reason reason, const char *text, unsigned code,
                       bool resume);

/* ---- term_node.c ---- */

/* Opens the way to the node that auth has named; tries again until join_deadline. */
void term_node_join(struct term_front *front);
/* A frame for the node, queued; term_node_pump moves what is queued, and holds the browser back while it can't. */
void term_node_send(struct term_front *front, enum term_type type, const uint8_t *payload, size_t size);
void term_node_pump(struct term_front *front);
/* The browser has said the end: so does the node hear it. */
void term_node_quit(struct term_front *front);
/* The browser goes without having said the end. To an upload that would say that it is complete. */
void term_node_leave(struct term_front *front);
/* The node's side ends at once. */
void term_node_drop(struct term_front *front, enum close_reason reason);
/* The browser takes bytes again: so may the node send. */
void term_node_credit(struct term_front *front);
/* For the reader of the node's frames. */
enum tp_err term_node_output(void *ctx, const uint8_t *data, size_t size);
enum tp_err term_node_control(void *ctx, enum term_type type, const uint8_t *payload, size_t size);

#endif

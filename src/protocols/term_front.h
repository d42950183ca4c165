/* Terminals in the browser; see term_front.c. And the way of their bytes between two workers, term_pair.c. */
#ifndef PROTOCOLS_TERM_FRONT_H
#define PROTOCOLS_TERM_FRONT_H

#include "protocols/web/web.h"
#include "protocols/worker_priv.h"

/* For web_options.on_socket; ctx is the worker. */
void term_front_serve(void *ctx, const struct web_socket *socket);
/* As target_front_cut. */
void term_front_cut(struct worker *worker, const char *sid, enum close_reason reason, const char *text);
/* Another connection, the one of attach, has this terminal now: an older one of ours ends, the terminal goes on. */
void term_front_replaced(struct worker *worker, const char *sid, const char *attach);
/* Calls fn for each terminal that has its grant. */
struct term_report {
    void (*fn)(void *ctx, const char *sid, const char *service, const char *host_id, const struct buf *grant);
    void *ctx;
};
void term_front_each(const struct worker *worker, const struct term_report *report);
/* Our end of a socket pair, which master made because terminal sid needs the tunnel of another worker. Takes fd. */
void term_front_pair(struct worker *worker, const char *sid, int fd);

/* term_pair.c: writes what goes ahead on such a pair: whose tunnel, and with which grant. */
void term_pair_head(struct stream *pair, const char *host_id, const struct buf *grant);
/* The other end: opens the stream that the head asks for and relays. Takes fd. */
void term_pair_serve(struct worker *worker, int fd);

#endif

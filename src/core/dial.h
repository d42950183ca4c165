/* An outgoing TCP connection: the name (no address) is resolved on the thread pool, its addresses are tried one after the other. */
#ifndef CORE_DIAL_H
#define CORE_DIAL_H

#include "core/loop.h"

struct dial;

/* fd: a connected, non-blocking socket that is now ours (error NULL), or -1 with TP_UNAVAILABLE (nobody answers),
 * TP_NOT_FOUND (no such name) or TP_TIMEOUT. Exactly once, never inside dial_start; the dial is gone when it returns. */
typedef void dial_cb(void *ctx, int fd, const struct tp_error *error);
/* timeout_ms is for everything together. host may be a name or an address. */
struct dial *dial_start(struct loop *loop, const char *host, uint16_t port, int64_t timeout_ms, dial_cb *fn,
                        void *ctx) TP_MUST;
/* fn will not be called. NULL is fine. */
void dial_cancel(struct dial *dial);

#endif

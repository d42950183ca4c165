/* The tunnel without its transport: for tunnel.c, which puts a struct stream underneath, and for tests and fuzzing, which
 * put bytes in and look at what comes out. */
#ifndef TUNNEL_TUNNEL_INNER_H
#define TUNNEL_TUNNEL_INNER_H

#include "tunnel/frame.h"
#include "tunnel/tunnel.h"

/* What a tunnel needs of its transport; the meanings are those of core/stream.h. */
struct tunnel_transport {
    void (*write)(void *transport, const void *data, size_t size);
    size_t (*queued)(const void *transport);
    bool (*is_full)(const void *transport);
    /* Flushes, closes, and then calls tunnel_transport_closed, not inside this call. */
    void (*close)(void *transport, enum close_reason reason);
    /* There and back on the way itself, in microseconds; 0: not known. */
    uint32_t (*rtt_us)(const void *transport);
};

/* As tunnel_new over any transport. */
struct tunnel *tunnel_new_over(struct loop *loop, const struct tunnel_transport *transport, void *transport_ctx,
                               bool dialler, const struct tunnel_events *events, void *ctx) TP_MUST;
/* Bytes from the peer, in pieces of any size. */
void tunnel_feed(struct tunnel *tunnel, const uint8_t *data, size_t size);
/* The transport has room again. */
void tunnel_transport_drained(struct tunnel *tunnel);
/* The transport is gone: ends the streams, tells the owner, frees the tunnel. */
void tunnel_transport_closed(struct tunnel *tunnel, enum close_reason reason);
/* What the keep-alive timer does each KEEPALIVE_PERIOD_MS. */
#define TUNNEL_PING_MS 15000
#define TUNNEL_SILENCE_MS 30000 /* silent for so long at a tick: dead; so between 30 and 45 s */
#define TUNNEL_ACCEPT_MS 30000
void tunnel_tick(struct tunnel *tunnel, int64_t now_ms);

#define TUNNEL_EARLY ((uint32_t)32 * 1024)           /* what the opener may send before it is accepted */
#define TUNNEL_EXTRA_MAX ((int64_t)16 * 1024 * 1024) /* beyond TUNNEL_WINDOW, granted to all streams of a tunnel */
#define TUNNEL_LIGHT_BYTES ((uint32_t)64 * 1024)     /* a stream that says no more in TUNNEL_LIGHT_MS says little */
#define TUNNEL_LIGHT_MS 1000
#define TUNNEL_PENDING_MAX 256 /* incoming streams that wait for accept */

#endif

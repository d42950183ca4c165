/*
 * The multiplexer of reverse tunnels (docs/protocol-tunnel.md): many byte streams with credit windows inside one
 * struct stream (TLS 1.3 in the product, anything in tests).
 *
 * Both ends may open streams. The opener's first frame carries a kind ("ssh", "rpc") and a header (for ssh: the grant).
 * Data of one stream never waits for another's: each has its own window in each direction (TUNNEL_WINDOW bytes at first, up
 * to TUNNEL_WINDOW_MAX while its sender needs it and its receiver keeps up, TUNNEL_WINDOW_SHARED on a short way while
 * streams that say little are about).
 * Rules of death as in core/stream.h: x_close at any time, on_close exactly once and never inside the call.
 */
#ifndef TUNNEL_TUNNEL_H
#define TUNNEL_TUNNEL_H

#include "core/stream.h"

#define TUNNEL_WINDOW ((uint32_t)256 * 1024)
#define TUNNEL_WINDOW_MAX ((uint32_t)2048 * 1024)
#define TUNNEL_WINDOW_SHARED ((uint32_t)128 * 1024)
#define TUNNEL_HEADER_MAX ((size_t)32 * 1024) /* of an open frame */
#define TUNNEL_STREAMS_MAX 8192

struct tunnel;
struct tunnel_stream;

struct tunnel_stream_events {
    /* The other side accepted a stream that we opened. May be NULL. */
    void (*on_accept)(void *ctx);
    /* size > 0 bytes. The receiver must call tunnel_stream_consume for them, now or later: that gives credit back. */
    void (*on_data)(void *ctx, const uint8_t *data, size_t size);
    /* The other side sends no more. */
    void (*on_eof)(void *ctx);
    /* There is credit again after tunnel_stream_write took less than it was given. */
    void (*on_writable)(void *ctx);
    /* The end: both directions ended (DONE), reset by either side with its reason and sentence, or the tunnel died
     * (TARGET_OFFLINE on its streams). text is "" or a sentence for the person. The stream is gone afterwards. */
    void (*on_close)(void *ctx, enum close_reason reason, const char *text);
};

struct tunnel_events {
    /* The version exchange is done; streams may be opened. May be NULL. */
    void (*on_ready)(void *ctx);
    /* The other side opens a stream. Call tunnel_stream_accept or tunnel_stream_close on it, now or later (within 30 s).
     * kind is a short ASCII word; header is valid during the call only. */
    void (*on_open)(void *ctx, struct tunnel_stream *stream, const char *kind, const uint8_t *header, size_t size);
    /* The other side asks us to move to a new tunnel: it takes no new streams here. May be NULL. */
    void (*on_drain)(void *ctx);
    /* The end of the tunnel. All its streams have had their on_close before. */
    void (*on_close)(void *ctx, enum close_reason reason);
};

/* Takes transport over, which must be ready (on_ready has come). dialler: this side opened the connection. */
struct tunnel *tunnel_new(struct loop *loop, struct stream *transport, bool dialler, const struct tunnel_events *events,
                          void *ctx) TP_MUST;
/* Drops all streams and closes the transport; on_close follows. */
void tunnel_close(struct tunnel *tunnel, enum close_reason reason);
/* Tells the other side to move away; running streams go on. When the last stream has ended the tunnel closes (DRAIN). */
void tunnel_drain(struct tunnel *tunnel);
bool tunnel_is_draining(const struct tunnel *tunnel);
size_t tunnel_stream_count(const struct tunnel *tunnel);

/* Opens a stream. TP_UNAVAILABLE when draining or closing, TP_LIMIT at TUNNEL_STREAMS_MAX, TP_TOO_LARGE for the header.
 * Data may be written before on_accept. */
enum tp_err tunnel_stream_open(struct tunnel *tunnel, const char *kind, const void *header, size_t size,
                               const struct tunnel_stream_events *events, void *ctx,
                               struct tunnel_stream **ret_stream) TP_MUST;
/* Accepts an incoming stream and says who is told about it. */
void tunnel_stream_accept(struct tunnel_stream *stream, const struct tunnel_stream_events *events, void *ctx);
/* Takes up to size bytes, as many as there is credit for (and the transport is not full); returns how many. */
size_t tunnel_stream_write(struct tunnel_stream *stream, const void *data, size_t size) TP_MUST;
/* How many bytes tunnel_stream_write would take now. */
size_t tunnel_stream_room(const struct tunnel_stream *stream);
/* size bytes of on_data have been passed on. */
void tunnel_stream_consume(struct tunnel_stream *stream, size_t size);
/* We send no more. */
void tunnel_stream_shutdown(struct tunnel_stream *stream);
/* Ends it at once; the other side's on_close gets reason and text (NULL: none; at most 1 KB is sent). */
void tunnel_stream_close(struct tunnel_stream *stream, enum close_reason reason, const char *text);
struct tunnel *tunnel_stream_tunnel(const struct tunnel_stream *stream);

#endif

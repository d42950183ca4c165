/*
 * A byte stream over a connected, non-blocking socket: plain, or TLS (tls/tls_stream.h puts itself underneath).
 *
 * Reading: bytes come by on_data in pieces of at most LOOP_SCRATCH_SIZE; the receiver takes all of them. Back-pressure is
 * stream_pause / stream_resume. After on_eof no more data comes; writing may go on (half-close).
 * Writing: stream_write takes all bytes or closes the stream (TOO_LARGE) when its out queue would pass the limit; bytes of
 * one turn leave in one system call at the end of the turn. stream_is_full says that the queue is past its high mark
 * (STREAM_HIGH, or what stream_set_high says): stop producing until on_drain.
 * Death: stream_close may be called at any time; on_close follows exactly once, never inside the call, and the stream is
 * gone when on_close returns. The first reason wins. Without stream_close, on_close comes by itself on an error
 * (PEER_RESET, IO_ERROR, TLS_FAILED, ...), or when both directions have ended (DONE).
 */
#ifndef CORE_STREAM_H
#define CORE_STREAM_H

#include "base/buf.h"
#include "base/close.h"
#include "core/loop.h"

#define STREAM_HIGH ((size_t)256 * 1024)        /* stop producing */
#define STREAM_LOW (STREAM_HIGH / 4)            /* on_drain after having been full */
#define STREAM_LIMIT ((size_t)16 * 1024 * 1024) /* a producer that ignores STREAM_HIGH */

struct stream;

struct stream_events {
    /* The transport is usable: at the end of the first turn for plain sockets, after the handshake for TLS. May be NULL. */
    void (*on_ready)(void *ctx);
    /* size > 0 bytes arrived; data is valid during the call only. */
    void (*on_data)(void *ctx, const uint8_t *data, size_t size);
    /* The peer will send no more. May be NULL: then the stream closes with CLIENT_CLOSED. */
    void (*on_eof)(void *ctx);
    /* The queue was full and has fallen below a quarter of its high mark. May be NULL. */
    void (*on_drain)(void *ctx);
    /* The end; see above. Must not be NULL. */
    void (*on_close)(void *ctx, enum close_reason reason);
};

/* What lies between the stream and the socket. Only core/stream.c and tls/tls_stream.c know it. */
struct stream_transport;

/* Takes fd over (closes it at the end, also when it fails). Reading starts at once. */
struct stream *stream_new(struct loop *loop, int fd, const struct stream_events *events, void *ctx) TP_MUST;
/* Changes who is told. For handing a stream from one owner to the next inside a callback. */
void stream_set_events(struct stream *stream, const struct stream_events *events, void *ctx);
/* Queues size bytes. After stream_close or stream_shutdown they are dropped. */
void stream_write(struct stream *stream, const void *data, size_t size);
bool stream_is_full(const struct stream *stream);
/* Another high mark, for a peer that nobody knows yet. */
void stream_set_high(struct stream *stream, size_t high);
/* Sends what is queued now instead of at the end of the turn, for a producer that writes more in the same turn. True: the peer
 * takes it, and the stream is not full (on_drain is not called for that). False: go on at on_drain. */
bool stream_push(struct stream *stream) TP_MUST;
/* Bytes that wait to be sent, in the out queue and in what lies between it and the socket. As many as the high mark of them make
 * it full, so who stops at that mark is told by on_drain. */
size_t stream_queued(const struct stream *stream);
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);
/* No more writes: the end of our direction is sent after what is queued (FIN, or close_notify and FIN). */
void stream_shutdown(struct stream *stream);
/* Tries to send what is queued (stream_close_flush, at most 5 s) or drops it (stream_close). */
void stream_close(struct stream *stream, enum close_reason reason);
void stream_close_flush(struct stream *stream, enum close_reason reason);
bool stream_is_closing(const struct stream *stream);
/* Bytes read from and written to the peer so far. */
uint64_t stream_rx(const struct stream *stream);
uint64_t stream_tx(const struct stream *stream);
/* The descriptor, for getsockname and socket options only. */
int stream_fd(const struct stream *stream);
struct loop *stream_loop(const struct stream *stream);

#endif

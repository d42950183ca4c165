/* What lies between a stream and its socket. For core/stream.c and tls/tls_stream.c only. */
#ifndef CORE_STREAM_PRIV_H
#define CORE_STREAM_PRIV_H

#include "core/stream.h"

#include <sys/types.h>

enum stream_io {
    STREAM_IO_OK,         /* *ret_size bytes were moved, more than none */
    STREAM_IO_WANT_READ,  /* try again when the socket is readable */
    STREAM_IO_WANT_WRITE, /* try again when the socket is writable */
    STREAM_IO_EOF,        /* the peer's direction has ended */
    STREAM_IO_FAILED      /* *ret_reason says why */
};

struct stream_transport {
    /* NULL: ready at once. Called until it says OK or FAILED. */
    enum stream_io (*handshake)(void *state, enum close_reason *ret_reason);
    enum stream_io (*read)(void *state, int fd, uint8_t *data, size_t size, size_t *ret_size,
                           enum close_reason *ret_reason);
    enum stream_io (*write)(void *state, int fd, const uint8_t *data, size_t size, size_t *ret_size,
                            enum close_reason *ret_reason);
    /* Sends what write has taken and still holds, WANT_WRITE while some is left. NULL: write holds nothing. */
    enum stream_io (*flush)(void *state, enum close_reason *ret_reason);
    /* More comes at once: the kernel need not make a packet of what it gets now (MSG_MORE). May be NULL. */
    void (*more)(void *state, bool more);
    /* How many bytes those are that write holds. NULL with flush. */
    size_t (*unsent)(const void *state);
    /* Bytes that read would give without a readable socket. */
    bool (*pending)(void *state);
    /* The last read left nothing, as far as one knows without asking the socket: it had given less than was asked for. NULL:
     * a read of less than it was given room for says so. */
    bool (*dry)(void *state);
    /* Ends our direction above the socket (close_notify); the stream calls shutdown(2) afterwards. */
    enum stream_io (*shutdown)(void *state);
    void (*free)(void *state);
};

/* Like stream_new with a transport; state is freed with the stream. */
struct stream *stream_new_transport(struct loop *loop, int fd, const struct stream_transport *transport, void *state,
                                    const struct stream_events *events, void *ctx) TP_MUST;
/* The state given above when the stream uses that transport, else NULL. */
void *stream_transport_state(const struct stream *stream, const struct stream_transport *transport);

#endif

/*
 * A tap on an upgraded connection of exec, attach or portforward: it sees the bytes of both directions, in pieces of any
 * size, changes nothing, and says what was shown, typed sizes of the terminal and how the command ended. The same
 * events come whatever the pieces.
 *
 *   WebSocket  RFC 6455 frames, messages whose first byte is the channel: 0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize,
 *              255 end of a channel (v5.channel.k8s.io); or SPDY inside binary messages (SPDY/3.1+portforward.k8s.io)
 *   SPDY/3.1   a stream for each of these, named by its header "streamtype"
 *
 * Memory is bounded: frames are not collected, only headers, errors and sizes are, up to 64 KB each.
 */
#ifndef KUBE_STREAM_H
#define KUBE_STREAM_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

struct kube_stream;

enum kube_stream_kind { KUBE_STREAM_WEBSOCKET, KUBE_STREAM_SPDY };

/* Any may be NULL. Called inside kube_stream_client and kube_stream_server. */
struct kube_stream_events {
    /* Standard output and error of the command, as they come. */
    void (*on_output)(void *ctx, const void *data, size_t size);
    /* The person has typed something (or a program has sent it). */
    void (*on_input)(void *ctx);
    /* The terminal of the person has that size now. */
    void (*on_resize)(void *ctx, uint32_t columns, uint32_t rows);
    /* How the command ended, once: its exit code, or -1 when the cluster gives another reason. */
    void (*on_exit)(void *ctx, int code);
    /* A connection to that port of the pod is opened (portforward over SPDY, also inside WebSocket). */
    void (*on_port)(void *ctx, unsigned port);
};

/* protocol: the subprotocol that the server has chosen (Sec-WebSocket-Protocol or X-Stream-Protocol-Version), NULL or ""
 * when none. TP_INVALID for one that is not understood: then the connection must end, since nothing could be put on
 * record. portforward: its channels are no terminal's. Free it with kube_stream_free. */
enum tp_err kube_stream_new(enum kube_stream_kind kind, const char *protocol, bool portforward,
                            const struct kube_stream_events *events, void *ctx, struct kube_stream **ret_stream,
                            struct tp_error *error) TP_MUST;
void kube_stream_free(struct kube_stream *stream);

/* The next bytes of the client, or of the server, before they are passed on. TP_INVALID when they are not of the
 * protocol: the connection must end, and they must not be passed on. It stays so for every later call. */
enum tp_err kube_stream_client(struct kube_stream *stream, const void *data, size_t size,
                               struct tp_error *error) TP_MUST;
enum tp_err kube_stream_server(struct kube_stream *stream, const void *data, size_t size,
                               struct tp_error *error) TP_MUST;

/* The server has to say how the command ended, and has not: an end of the connection now is no success, though clients of
 * SPDY take it for one. */
bool kube_stream_owes_status(const struct kube_stream *stream);

/* Appends what ends the connection in the server's name, such that the client tells text to the person: as the status of the
 * command (code: 403, 503), or on the error streams of forwarded ports. terminal: the person's cursor is put at the start of a line first. The
 * server must not be fed afterwards. TP_INVALID when that can't be said at this place of the stream (the server has begun
 * something else): then the connection can only be closed. */
enum tp_err kube_stream_farewell(struct kube_stream *stream, int code, const char *text, bool terminal,
                                 struct buf *out) TP_MUST;

#endif

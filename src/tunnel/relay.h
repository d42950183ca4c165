/*
 * Bytes between a struct stream (a client's TLS connection, a local socket) and a tunnel stream, both ways: bounded memory
 * (what one side cannot take stops the reading of the other), half-close both ways, one end at last.
 *
 * Used by the worker (relay_open: client to agent) and by the agent (relay_accept: tunnel to tport-session).
 */
#ifndef TUNNEL_RELAY_H
#define TUNNEL_RELAY_H

#include "tunnel/tunnel.h"

struct relay;

struct relay_result {
    enum close_reason reason; /* the first one; DONE when both directions ended by themselves */
    const char *text;         /* the sentence that came or went with it, "" without one */
    bool by_tunnel;           /* the tunnel's side was the first to end */
    uint64_t rx;              /* bytes from the stream into the tunnel */
    uint64_t tx;              /* bytes from the tunnel into the stream */
};

struct relay_events {
    /* The far side of the tunnel accepted the stream (relay_open only). May be NULL. */
    void (*on_accept)(void *ctx);
    /* The tunnel's side ended with an error before a byte came from it: what is written to stream now is its last word.
     * text is the far side's sentence, without control characters, "" when it gave none. At most once, before on_done.
     * May be NULL. */
    void (*on_refused)(void *ctx, struct stream *stream, enum close_reason reason, const char *text);
    /* Both sides are gone; exactly once, never inside a call. The relay is gone when it returns. */
    void (*on_done)(void *ctx, const struct relay_result *result);
};

/* Opens a tunnel stream (as tunnel_stream_open) and joins it with stream, whose events it takes over and which it resumes
 * if it was paused. When it fails the stream is untouched and stays the caller's. */
enum tp_err relay_open(struct stream *stream, struct tunnel *tunnel, const char *kind, const void *header, size_t size,
                       const struct relay_events *events, void *ctx, struct relay **ret_relay) TP_MUST;
/* Accepts an incoming tunnel stream and joins it with stream. */
struct relay *relay_accept(struct stream *stream, struct tunnel_stream *tunnel_stream,
                           const struct relay_events *events, void *ctx) TP_MUST;
/* Ends both sides at once: the tunnel's other end is told reason and text (NULL: none). on_done follows. */
void relay_cut(struct relay *relay, enum close_reason reason, const char *text);
/* From now on nothing that the stream sends gets into the tunnel; what comes out of the tunnel still reaches the stream. For
 * a last word to a person whose right is gone; relay_cut must follow soon. */
void relay_hush(struct relay *relay);
/* As relay_cut, but on_done is not called. */
void relay_free(struct relay *relay, enum close_reason reason);
/* Bytes so far, as in struct relay_result. */
uint64_t relay_rx(const struct relay *relay);
uint64_t relay_tx(const struct relay *relay);

#endif

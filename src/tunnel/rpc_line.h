/* Calls between processes (core/rpc.h) over one tunnel stream of kind "rpc": frames wait in a bounded queue for credit. */
#ifndef TUNNEL_RPC_LINE_H
#define TUNNEL_RPC_LINE_H

#include "core/rpc.h"
#include "tunnel/tunnel.h"

struct rpc_line;

struct rpc_line_events {
    const struct rpc_events *rpc; /* on_close of these is not called: see below */
    /* The stream or the protocol on it ended. The line is gone when it returns; requests that were pending fail with
     * TP_CLOSED at the end of the same turn, after it. Exactly once, never inside a call. */
    void (*on_close)(void *ctx, enum close_reason reason);
};

/* Opens a stream of kind "rpc". */
enum tp_err rpc_line_open(struct loop *loop, struct tunnel *tunnel, const struct rpc_line_events *events, void *ctx,
                          struct rpc_line **ret_line) TP_MUST;
/* Accepts one; who only answers need not keep what it returns. */
struct rpc_line *rpc_line_accept(struct loop *loop, struct tunnel_stream *stream, const struct rpc_line_events *events,
                                 void *ctx);
/* For requests and events; owned by the line. */
struct rpc *rpc_line_rpc(struct rpc_line *line);
/* Reads no further while it is paused: what the other side sends waits in its window, at its side in the end. It goes on at the end of
 * the turn. */
void rpc_line_pause(struct rpc_line *line, bool pause);
/* Ends it; on_close follows. */
void rpc_line_close(struct rpc_line *line, enum close_reason reason);

#endif

/* What the files of one line share. rpc.c: calls and their answers; rpc_socket.c: a unix socket, whose frames may carry a
 * descriptor. */
#ifndef CORE_RPC_PRIV_H
#define CORE_RPC_PRIV_H

#include "base/buf.h"
#include "core/rpc.h"

#define RPC_FDS_MAX 64
#define RPC_READ_SIZE ((size_t)64 * 1024)

struct pending;
struct out_fd;

struct rpc {
    struct loop *loop;
    const struct rpc_events *events;
    void *ctx;
    int fd; /* -1: bytes */
    struct watch *watch;
    rpc_write_fn *write;
    void *write_ctx;
    struct buf in;
    struct buf out;
    uint64_t out_position; /* bytes ever sent */
    struct out_fd *out_fds;
    int in_fds[RPC_FDS_MAX];
    size_t in_fd_count;
    size_t unanswered;
    const char *asked; /* the text of the request that on_request runs for, method and params; else NULL */
    size_t asked_size;
    uint32_t last_id;
    struct pending *pending;
    struct rpc_call *calls;
    struct timer *timer;
    struct later flush;
    struct later finish;
    enum close_reason reason;
    bool freed;
    bool closing;
    bool paused;
    unsigned depth; /* callbacks of ours that are running */
};

/* Begins the end: what waits fails, and on_close is said, at the end of this turn. */
void rpc_end(struct rpc *rpc, enum close_reason reason);
/* Reads the frames that are whole out of the in queue. */
void rpc_take_frames(struct rpc *rpc);
/* One without a socket yet. */
struct rpc *rpc_make(struct loop *loop, const struct rpc_events *events, void *ctx) TP_MUST;

/* ---- rpc_socket.c; the last two are for lines of bytes too, where they do nothing ---- */
/* Puts a frame into the out queue, with a copy of fd unless that is -1. */
void rpc_socket_send(struct rpc *rpc, const uint8_t header[RPC_HEADER_SIZE], const char *text, size_t size, int fd);
/* The descriptor that came with a frame; -1: none did. */
int rpc_socket_take_fd(struct rpc *rpc) TP_MUST;
/* Neither reads nor writes any more. */
void rpc_socket_stop(struct rpc *rpc);
void rpc_socket_close(struct rpc *rpc);

#endif

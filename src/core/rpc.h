/*
 * Remote calls between our own processes (docs/protocol-rpc.md): requests, replies, errors and one-way events, each one
 * frame with a JSON object, over a unix socket (where a frame can carry one descriptor) or any other byte stream.
 *
 * Both sides are alike: each may send requests and events and answers those of the other. All json_t arguments that are
 * passed in are stolen (also on failure); those passed to callbacks are borrowed.
 */
#ifndef CORE_RPC_H
#define CORE_RPC_H

#include "base/close.h"
#include "base/json.h"
#include "core/loop.h"

#define RPC_FRAME_MAX ((size_t)16 * 1024 * 1024)
#define RPC_REPORTS_MAX ((size_t)256) /* that one call may bring together (session.events) */

struct rpc;
struct rpc_call; /* a request of the other side that waits for our answer */

struct rpc_events {
    /* A request. Answer it now or later with rpc_reply or rpc_fail, exactly once. caller may be NULL. fd is -1, or a
     * descriptor that is now ours. NULL: every request is refused with not_found. */
    void (*on_request)(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                       json_t *caller, int fd);
    /* In place of on_request, where it is set, for a request whose text names a method and params, nothing else, and was seen to
     * be JSON without being read (core/rpc_skim.h): for who passes on most of them. It is answered as the others are. */
    void (*on_unread)(void *ctx, struct rpc_call *call, const char *method);
    /* A one-way message. fd as above. NULL: ignored (fd closed). */
    void (*on_event)(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd);
    /* The other side is gone or broke the protocol. The rpc must not be used after the callback returns; all our pending
     * requests have failed with TP_CLOSED before it, and answers to pending calls are dropped silently from now on. */
    void (*on_close)(void *ctx, struct rpc *rpc, enum close_reason reason);
};

/* Over a unix stream socket, which it takes over. */
struct rpc *rpc_new_fd(struct loop *loop, int fd, const struct rpc_events *events, void *ctx) TP_MUST;
/* Requests of the other side that wait for their answer may hold this much on a line of bytes, whose other side is not
 * trusted; further ones fail with TP_LIMIT. */
#define RPC_UNANSWERED_MAX (RPC_FRAME_MAX * 2)
/* And the tree of one that comes on such a line may take this much memory: more breaks the protocol. */
#define RPC_TREE_MAX (RPC_FRAME_MAX * 4)
/* Over something else: frames leave by write (must take all bytes), bytes come in by rpc_feed. */
typedef void rpc_write_fn(void *write_ctx, const void *data, size_t size);
struct rpc *rpc_new_bytes(struct loop *loop, rpc_write_fn *write, void *write_ctx, const struct rpc_events *events,
                          void *ctx) TP_MUST;
/* Bytes from the other side (rpc_new_bytes only). Broken bytes lead to on_close(PROTOCOL_ERROR) at the end of the turn. */
void rpc_feed(struct rpc *rpc, const void *data, size_t size);
/* No request, answer or event of the other side is taken while it is paused; what rpc_feed gets waits. Not within a callback of this
 * very rpc, but for pausing. */
void rpc_pause(struct rpc *rpc, bool pause);
/* Ends it: pending requests fail with TP_CLOSED (at the end of this turn), on_close is not called. Frees it. */
void rpc_free(struct rpc *rpc);

/* Exactly one call of fn per request, never inside rpc_request: error is NULL and result an object, or error is set.
 * timeout_ms 0: 30 s. */
typedef void rpc_reply_cb(void *ctx, json_t *result, const struct tp_error *error);
/* Returns an id for rpc_cancel, never 0. caller may be NULL. */
uint32_t rpc_request(struct rpc *rpc, const char *method, json_t *params, json_t *caller, int64_t timeout_ms,
                     rpc_reply_cb *fn, void *ctx);
/* The same for who only passes the answer on: fn gets the JSON text of the result as it came, unread and borrowed, or
 * (text NULL) the error. Only from a process that is trusted to answer with JSON. */
typedef void rpc_text_cb(void *ctx, const char *text, size_t size, const struct tp_error *error);
uint32_t rpc_request_text(struct rpc *rpc, const char *method, json_t *params, json_t *caller, int64_t timeout_ms,
                          rpc_text_cb *fn, void *ctx);
/* Asks what call asks of another line, in the very text in which it came: it was seen to be JSON, and writing it anew costs as much
 * as reading it. Within on_request and on_unread only, for a request that names no caller; timeout 30 s. false: nothing was asked,
 * for it is too large with the caller, or says more than a request has to say. */
bool rpc_pass_on(struct rpc *rpc, const struct rpc_call *call, json_t *caller, rpc_text_cb *fn, void *ctx);
/* fn of that request will not be called. Unknown ids are ignored. */
void rpc_cancel(struct rpc *rpc, uint32_t id);
void rpc_event(struct rpc *rpc, const char *event, json_t *params);
/* The descriptor is duplicated: the caller keeps and closes its own. Unix sockets only. */
void rpc_event_fd(struct rpc *rpc, const char *event, json_t *params, int fd);

/* Answers. The call is freed by it. result NULL means {}. */
void rpc_reply(struct rpc_call *call, json_t *result);
/* The result as the text of a JSON object, at most RPC_FRAME_MAX bytes; it stays the caller's. */
void rpc_reply_text(struct rpc_call *call, const char *text, size_t size);
void rpc_fail(struct rpc_call *call, const struct tp_error *error);
void rpc_fail_text(struct rpc_call *call, enum tp_err code, const char *format, ...) TP_PRINTF(3, 4);
/* Bytes of its text. */
size_t rpc_call_size(const struct rpc_call *call);
/* The rpc a call came by, or NULL when that has been closed in the meantime. */
struct rpc *rpc_call_origin(const struct rpc_call *call);

/* No frame is half read or waits to be sent: the descriptor may be given to another program image (upgrade). */
bool rpc_is_idle(const struct rpc *rpc);
int rpc_fd(const struct rpc *rpc);
/* Bytes that wait to be sent. Who passes on what strangers send looks at it first: a line whose queue overflows ends. */
size_t rpc_queued(const struct rpc *rpc);

/* For command-line programs: one request over a connected blocking socket, without a loop. Events that arrive in
 * between are ignored. TP_* of the error reply, its sentence in error. The caller json_decref's the result. */
enum tp_err rpc_blocking(int fd, const char *method, json_t *params, int64_t timeout_ms, json_t **ret_result,
                         struct tp_error *error) TP_MUST;

/* The frame codec, for tests and fuzzing. */
enum rpc_frame_type { RPC_REQUEST = 1, RPC_REPLY = 2, RPC_ERROR = 3, RPC_EVENT = 4 };
#define RPC_HEADER_SIZE 12
struct rpc_frame {
    enum rpc_frame_type type;
    bool has_fd;
    uint32_t id;
    uint32_t size; /* of the JSON text that follows the header */
};
enum tp_err rpc_frame_decode(const uint8_t header[RPC_HEADER_SIZE], struct rpc_frame *ret_frame) TP_MUST;
void rpc_frame_encode(const struct rpc_frame *frame, uint8_t header[RPC_HEADER_SIZE]);

#endif

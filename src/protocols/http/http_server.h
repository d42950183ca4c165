/*
 * One HTTP/1.1 connection on the server side: reads requests one at a time, hands each to its owner as an exchange, writes
 * the answer, keeps the connection for the next. Bytes that arrive behind a request wait (reading pauses). After any
 * refusal one fixed text answer is sent and the connection closes; nothing behind a refused message is ever looked at.
 */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include "core/stream.h"
#include "protocols/http/http_parse.h"

struct http_server_options {
    int64_t header_ms;    /* from the first byte of a request (or from the start) to the end of its head; 0: 10 s */
    int64_t request_ms;   /* to the end of the request's body; 0: 30 s */
    int64_t idle_ms;      /* between requests; 0: 30 s */
    int64_t answer_ms;    /* to have an answer written out; 0: 60 s */
    uint64_t answer_rate; /* bytes a second that a body from a source must get on by, after answer_ms; 0: 8192 */
    size_t body_limit;    /* most bytes of a body unless on_head says otherwise; 0: HTTP_BODY_DEFAULT */
};

struct http_server;
struct http_exchange;

struct http_server_events {
    /* The head of a request is complete: returns the body limit for it, 0 for the default. May be NULL. */
    size_t (*on_head)(void *ctx, const struct http_request *request);
    /* A whole request. Answer with http_exchange_respond now or later. The exchange lives until it has been answered or
     * the server is gone: on_close means that unanswered exchanges must be forgotten. */
    void (*on_request)(void *ctx, struct http_exchange *exchange);
    /* The connection has ended; the server and its stream are gone when it returns. Exactly once. */
    void (*on_close)(void *ctx, enum close_reason reason);
};

/* Takes the stream over (inside a callback or before its first turn). Zeroed options give the defaults. */
struct http_server *http_server_new(struct loop *loop, struct stream *stream, const struct http_server_options *options,
                                    const struct http_server_events *events, void *ctx) TP_MUST;
/* Ends the connection now; on_close follows. */
void http_server_close(struct http_server *server, enum close_reason reason);
/* Inside on_head only: the body waits at the peer until http_server_proceed says how large it may be (answer_ms at most). */
void http_server_hold(struct http_server *server);
/* After http_server_hold: a body of at most limit bytes, all of it within request_ms (0: the option's) of the request's first
 * byte. Nothing happens to a request that does not wait any more. */
void http_server_proceed(struct http_server *server, size_t limit, int64_t request_ms);
/* Inside on_head, or in place of http_server_proceed: answers a request whose body has not been read, and closes the connection. */
void http_server_refuse(struct http_server *server, int status, const struct http_header *headers, size_t header_count,
                        const void *body, size_t size);
/* One more answer at most: closes at once when idle between requests, else after the answer under way or the first one. */
void http_server_drain(struct http_server *server);
/* Requests answered so far. */
uint64_t http_server_count(const struct http_server *server);

/* The request; valid until the exchange has been answered. */
struct http_request *http_exchange_request(struct http_exchange *exchange);
/* The owner's word for this exchange, NULL at first. */
void http_exchange_set_data(struct http_exchange *exchange, void *data);
void *http_exchange_data(const struct http_exchange *exchange);
/* A name that stays unique after the exchange is gone. */
uint64_t http_exchange_id(const struct http_exchange *exchange);
/* Answers, exactly once. Content-Length, Date and Connection are written by the server and must not be among the headers; a
 * header that could break the framing (not a token, CR, LF or NUL in a value) turns the answer into a 500. body may be
 * NULL when size is 0. The exchange is gone afterwards. */
void http_exchange_respond(struct http_exchange *exchange, int status, const struct http_header *headers,
                           size_t header_count, const void *body, size_t size);
/* The same, and the connection closes after it. */
void http_exchange_respond_close(struct http_exchange *exchange, int status, const struct http_header *headers,
                                 size_t header_count, const void *body, size_t size);

/* A body that is fetched piece by piece, as fast as the peer takes it. */
struct http_source {
    /* Puts 1 to size bytes into data, the next of the body. Any error ends the connection: the peer sees a short body. */
    enum tp_err (*read)(void *ctx, uint8_t *data, size_t size, size_t *ret_size);
    /* The body is out, or will not be asked for any more. Exactly once. */
    void (*free)(void *ctx);
};
/* The same as http_exchange_respond with a body of exactly size bytes from source, of which a bounded part (STREAM_HIGH) is
 * in memory at a time. answer_ms is then the time for each such part, and the whole must be out in answer_ms and the time that its size needs at
 * answer_rate. source must outlive the exchange. */
void http_exchange_respond_source(struct http_exchange *exchange, int status, const struct http_header *headers,
                                  size_t header_count, uint64_t size, const struct http_source *source, void *ctx);

/* Answers 101 with these headers (Upgrade: protocol and Connection come by themselves) and gives the connection away: the server and the
 * exchange are gone when it returns, on_close is not called. The stream is paused and has no owner until the caller sets
 * events; rest (an empty buf of the caller's) gets what came behind the request. TP_INVALID, and nothing happens, for a
 * request with a body or not of HTTP/1.1. */
enum tp_err http_exchange_upgrade(struct http_exchange *exchange, const char *protocol,
                                  const struct http_header *headers, size_t header_count, struct stream **ret_stream,
                                  struct buf *rest) TP_MUST;

/* The standard phrase of a status: "Not Found". Never NULL. */
const char *http_status_text(int status);
/* Writes a head: status line, headers, Content-Length when size is not SIZE_MAX, and the empty line. TP_INVALID (nothing
 * appended) when a name or value can't be written. */
enum tp_err http_write_response_head(struct buf *out, int status, const struct http_header *headers,
                                     size_t header_count, size_t size) TP_MUST;
/* Appends a canonical path (http_path_canonical) as it stands in a request line. */
void http_write_path(struct buf *out, const char *path);
/* Writes a whole request from its parts, body included; used to prove that what we understood is what we would say. */
enum tp_err http_write_request(struct buf *out, const struct http_request *request) TP_MUST;

#endif

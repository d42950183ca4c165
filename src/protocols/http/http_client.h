/*
 * A small blocking HTTP/1.1 client for command-line programs and for the agent's join. One request at a time over a
 * connected TLS client; the connection may be used for the next request when the call returned TP_OK or an error that
 * came from the other side's JSON.
 */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include "base/buf.h"
#include "base/json.h"
#include "protocols/http/http_parse.h"

struct tls_client;

#define HTTP_CLIENT_BODY_MAX ((size_t)64 * 1024 * 1024)

struct http_call {
    const char *host;                  /* value of Host: "proxy.example.com:443" */
    const char *method;                /* "GET", "POST", "PUT", "DELETE" */
    const char *path;                  /* with query; must start with '/' */
    const json_t *body;                /* borrowed; NULL: none */
    const struct http_header *headers; /* more headers; may be NULL */
    size_t header_count;
};

/*
 * Sends the call and reads the answer. On TP_OK the status is 2xx. ret_json (may be NULL) is set to the parsed JSON body, or
 * NULL when the body is not JSON; the caller json_decref's it. raw (may be NULL) gets the body's bytes appended.
 * ret_status (may be NULL) is set whenever an answer came, else to 0.
 * A status of 400 and above is an error: {"error":{"message","code"}} becomes error with that sentence and the code of
 * that name (without "code", the code that goes with the status); other bodies give "the server answered NNN".
 * Redirects are not followed: 3xx is TP_PROTOCOL. TP_CLOSED when the peer closed before answering (a kept connection that timed out:
 * connect again).
 */
enum tp_err http_client_request(struct tls_client *tls, const struct http_call *call, int *ret_status,
                                json_t **ret_json, struct buf *raw, struct tp_error *error) TP_MUST;

/* Blocking bytes under the client; tests and other transports give their own. Both return TP_OK or fail with a
 * sentence; read gives 0 bytes at the end. */
struct http_io {
    enum tp_err (*read)(void *ctx, void *data, size_t size, size_t *ret_size, struct tp_error *error);
    enum tp_err (*write)(void *ctx, const void *data, size_t size, struct tp_error *error);
    void *ctx;
};
/* The same over other bytes than TLS. */
enum tp_err http_client_request_io(const struct http_io *io, const struct http_call *call, int *ret_status,
                                   json_t **ret_json, struct buf *raw, struct tp_error *error) TP_MUST;

/* POST /v1/webapi/rpc/METHOD with params (stolen; NULL: {}): the call that tport and tportctl make for everything. On
 * TP_OK ret_result is an object; json_decref it. */
enum tp_err http_client_rpc(struct tls_client *tls, const char *host, const char *method, json_t *params,
                            json_t **ret_result, struct tp_error *error) TP_MUST;
/* The same over other bytes than TLS. */
enum tp_err http_client_rpc_io(const struct http_io *io, const char *host, const char *method, json_t *params,
                               json_t **ret_result, struct tp_error *error) TP_MUST;

/* A response parser over complete or partial bytes, for the client, for proxies and for fuzzing. */
struct http_response {
    int status;
    int minor; /* HTTP/1.minor */
    struct buf body;
    struct http_header *headers; /* names in lower case */
    size_t header_count;
    bool keep_alive;
    bool upgraded; /* 101: what follows is no HTTP any more */
    bool has_body;
    bool has_length; /* a Content-Length; then length holds it (also of a body that does not come, as for HEAD) */
    uint64_t length;
    bool until_close; /* the end of the connection ends the body */
};
struct http_response_parser;
/* to_head: the answer to a HEAD, which has no body. */
struct http_response_parser *http_response_parser_new(size_t body_limit, bool to_head) TP_MUST;
void http_response_parser_free(struct http_response_parser *parser); /* NULL is fine */
/* A parser for a proxy: heads up to HTTP_PROXY_HEAD_MAX, a body of any size that goes to fn. upgrade: 101 is a final
 * answer (otherwise it is refused). */
struct http_response_parser *http_response_parser_new_proxy(bool to_head, bool upgrade, http_body_cb *fn,
                                                            void *ctx) TP_MUST;
/* As http_parser_feed: takes up to size bytes, HTTP_HEAD_READY comes right behind the final head. 1xx answers are skipped. */
enum http_step http_response_parser_take(struct http_response_parser *parser, const void *data, size_t size,
                                         size_t *ret_used) TP_MUST;
/* The value of header name (lower case), or NULL. The first one when repeated. */
const char *http_response_header(const struct http_response *response, const char *name);
/* HTTP_MORE, HTTP_DONE or HTTP_FAILED; 1xx answers are skipped. Bytes behind a complete message are HTTP_FAILED. */
enum http_step http_response_parser_feed(struct http_response_parser *parser, const void *data, size_t size) TP_MUST;
/* The peer closed: HTTP_DONE when the message ends by that, else HTTP_FAILED. */
enum http_step http_response_parser_end(struct http_response_parser *parser) TP_MUST;
const struct http_response *http_response_parser_response(const struct http_response_parser *parser);
/* What was wrong, for people. */
const char *http_response_parser_why(const struct http_response_parser *parser);

#endif

/*
 * HTTP/1.1 messages, parsed strictly by llhttp (every lenient flag off) plus the refusals that llhttp leaves to us:
 * obsolete line folding, missing or repeated Host, HTTP/0.9, Transfer-Encoding outside HTTP/1.1, framing headers in
 * trailers, absolute-form that contradicts Host, paths that two readers could understand differently.
 *
 * A parser takes bytes in pieces of any size and gives the same answer for every way of cutting them. It reads one
 * message at a time: after HTTP_DONE the rest of the bytes belongs to the next message.
 */
#ifndef HTTP_PARSE_H
#define HTTP_PARSE_H

#include "base/buf.h"

#define HTTP_HEAD_MAX ((size_t)16 * 1024) /* start line, headers and trailers, all bytes of names and values */
#define HTTP_HEADERS_MAX 100
#define HTTP_PROXY_HEAD_MAX ((size_t)64 * 1024) /* the same for parsers of a proxy */
#define HTTP_PROXY_HEADERS_MAX 200
#define HTTP_QUERY_MAX 64 /* parameters in one query */
#define HTTP_BODY_DEFAULT ((size_t)1024 * 1024)

/* A header. In requests names are lower case; values have no blanks around them. */
struct http_header {
    const char *name;
    const char *value;
};

/* A query parameter, percent-decoded. */
struct http_param {
    char *name;
    char *value;
};

struct http_request {
    const char *method; /* "GET"; out of a fixed list */
    char *target;       /* as it came */
    char *path;         /* canonical: decoded, starts with '/', no empty, "." or ".." segment, no control byte */
    char *query;        /* raw text behind '?', or NULL */
    struct http_param *params;
    size_t param_count;
    struct http_header *headers;
    size_t header_count;
    const char *host;     /* value of Host; "" on HTTP/1.0 without one */
    struct buf body;      /* whole body, chunks joined */
    int minor;            /* HTTP/1.minor */
    bool keep_alive;      /* the peer wants another exchange */
    bool expect_continue; /* "Expect: 100-continue" */
    bool has_body;        /* a Content-Length above 0, or chunks */
    bool has_length;      /* a Content-Length; then length holds it */
    uint64_t length;
};

/* The value of header name (lower case), or NULL. The first one when repeated. */
const char *http_request_header(const struct http_request *request, const char *name);
/* How many headers of that name (lower case) the request has. */
size_t http_request_header_count(const struct http_request *request, const char *name);
/* The word stands in the list of Connection, in any case (RFC 9110 section 7.6.1). */
bool http_request_connection_has(const struct http_request *request, const char *word);
/* The value of query parameter name, or NULL. */
const char *http_request_param(const struct http_request *request, const char *name);
/* Percent-decodes and checks a path (everything before '?'): TP_INVALID for one that does not start with '/', holds a
 * NUL, control byte or backslash, an encoded slash, backslash or percent sign, an empty segment (other than the last), or a
 * "." or ".." segment. mem_free the result. */
enum tp_err http_path_canonical(const char *raw, size_t length, char **ret_path) TP_MUST;
/* Decodes one form-encoded text ("a+b%20c"). TP_INVALID for broken escapes, NUL and invalid UTF-8. secret_free it. */
enum tp_err http_form_decode(const char *raw, size_t length, char **ret_text) TP_MUST;
/* The value of name in an application/x-www-form-urlencoded body. TP_NOT_FOUND when absent, TP_INVALID when broken or
 * present twice. secret_free it. */
enum tp_err http_form_value(const void *body, size_t size, const char *name, char **ret_value) TP_MUST;
/* How many of the bytes, from the first one on, are ASCII and no control bytes. */
size_t http_plain_run(const void *data, size_t size);
/* text is a token of RFC 9110 section 5.6.2. */
bool http_is_token(const char *text);
/* text may stand as a header value: no control byte besides tab. */
bool http_is_value(const char *text);

enum http_step {
    HTTP_MORE,       /* needs more bytes */
    HTTP_HEAD_READY, /* the head is complete (given once per message); feed the rest again */
    HTTP_DONE,       /* the message is complete */
    HTTP_FAILED,     /* see http_parser_error; the parser stays in this state */
};

struct http_parser;

/* A parser of requests. body_limit 0: HTTP_BODY_DEFAULT. */
struct http_parser *http_parser_new(size_t body_limit) TP_MUST;
void http_parser_free(struct http_parser *parser); /* NULL is fine */
/* A parser for a proxy: heads up to HTTP_PROXY_HEAD_MAX, and the query is left to the owner (params stay empty). */
struct http_parser *http_parser_new_proxy(void) TP_MUST;
/* A piece of a body, without its chunk framing; valid during the call only. */
typedef void http_body_cb(void *ctx, const uint8_t *data, size_t size);
/* At HTTP_HEAD_READY: the body may have any size and goes to fn, inside http_parser_feed, instead of request.body. */
void http_parser_stream_body(struct http_parser *parser, http_body_cb *fn, void *ctx);
/* Takes up to size bytes and says how many in ret_used. HTTP_HEAD_READY and HTTP_DONE come right behind the byte that completed
 * the head or message. */
enum http_step http_parser_feed(struct http_parser *parser, const void *data, size_t size, size_t *ret_used) TP_MUST;
/* The message so far; complete after HTTP_DONE, all but the body after HTTP_HEAD_READY. Valid until http_parser_next. */
struct http_request *http_parser_request(struct http_parser *parser);
/* Changes the body limit of the message under way; call it at HTTP_HEAD_READY. A Content-Length past it has HTTP_FAILED follow. */
void http_parser_set_body_limit(struct http_parser *parser, size_t body_limit);
/* Forgets the message (wiping its body) and gets ready for the next one of the same connection. */
void http_parser_next(struct http_parser *parser);
/* True between the first byte of a message and its end. */
bool http_parser_is_inside(const struct http_parser *parser);
/* HTTP status for the refusal (400, 413, 417, 431, 501, 505) and a fixed text for the log. */
int http_parser_error(const struct http_parser *parser, const char **ret_why);
/* The refusal was an HTTP/2 connection preface. */
bool http_parser_is_http2(const struct http_parser *parser);

#endif

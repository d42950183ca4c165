/* The head of a message as raw bytes, checked byte by byte before any parser sees it. Inside src/protocols/http only. */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include "protocols/http/http_parse.h"

enum http_head_step { HTTP_HEAD_MORE, HTTP_HEAD_FIRST_LINE, HTTP_HEAD_COMPLETE, HTTP_HEAD_REFUSED };

struct http_head {
    struct buf raw;    /* all bytes so far, the empty line included */
    size_t first_line; /* bytes of the first line without its CRLF */
    size_t line;       /* bytes of the line under way */
    size_t lines;      /* complete lines */
    uint8_t before;    /* the byte before */
    size_t size_max;   /* most bytes */
    size_t lines_max;  /* most header lines */
    bool request;      /* the first line is a request line: visible ASCII and single spaces only */
    int status;        /* HTTP status of the refusal */
    const char *why;   /* its fixed text */
};

void http_head_init(struct http_head *head, bool request);
/* Heads of a proxied protocol: up to HTTP_PROXY_HEAD_MAX bytes and HTTP_PROXY_HEADERS_MAX lines. Before the first byte. */
void http_head_widen(struct http_head *head);
/* Forgets everything, wiping the bytes (cookies and tokens stand there). */
void http_head_clear(struct http_head *head);
/*
 * Takes bytes up to and including the empty line; stops behind the first line too, so that it can be judged before the
 * rest. Refused whatever the cut: bare CR or LF, NUL and other control bytes, folded lines, an empty first line,
 * more bytes or lines than it may have (HTTP_HEAD_MAX, HTTP_HEADERS_MAX unless widened).
 */
enum http_head_step http_head_feed(struct http_head *head, const uint8_t *data, size_t size, size_t *ret_used) TP_MUST;
/* Content-Length of RFC 9112 exactly: decimal digits only, below 2^63. */
bool http_head_length(const char *text, uint64_t *ret_length);

#endif

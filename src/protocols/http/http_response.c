/* Responses, for our own client: the same strictness as for requests. */
#include "base/mem.h"
#include "protocols/http/http_client.h"
#include "protocols/http/http_head.h"

#include <llhttp.h>
#include <string.h>
#include <strings.h>

struct http_response_parser {
    llhttp_t llhttp;
    struct http_head head;
    struct http_response response;
    char name[64]; /* the header under way, cut */
    char value[64];
    size_t lengths; /* how many Content-Length headers */
    size_t codings;
    bool to_head;
    bool in_body;
    bool until_close; /* the end of the connection ends the body */
    bool complete;
    bool failed;
    const char *tail; /* behind the last chunk: the bytes that must still come */
    size_t body_limit;
    size_t raw_left;
    const char *why;
};

static int refuse(struct http_response_parser *parser, const char *why)
{
    if (!parser->why)
        parser->why = why;
    return HPE_USER;
}

static void keep(char *out, size_t out_size, const char *at, size_t size)
{
    size = size < out_size - 1 ? size : out_size - 1;
    memcpy(out, at, size);
    out[size] = '\0';
}

static int on_field(llhttp_t *llhttp, const char *at, size_t size)
{
    struct http_response_parser *parser = llhttp->data;
    keep(parser->name, sizeof(parser->name), at, size);
    parser->value[0] = '\0';
    return parser->in_body ? refuse(parser, "trailers") : 0;
}

static int on_value(llhttp_t *llhttp, const char *at, size_t size)
{
    struct http_response_parser *parser = llhttp->data;
    while (size > 0 && (at[size - 1] == ' ' || at[size - 1] == '\t'))
        size--;
    keep(parser->value, sizeof(parser->value), at, size);
    return 0;
}

static int on_value_complete(llhttp_t *llhttp)
{
    struct http_response_parser *parser = llhttp->data;
    uint64_t length;
    if (strcasecmp(parser->name, "content-length") == 0) {
        parser->lengths++;
        if (!http_head_length(parser->value, &length))
            return refuse(parser, "a broken Content-Length");
        if (length > parser->body_limit && !parser->to_head)
            return refuse(parser, "an answer that is too large");
    } else if (strcasecmp(parser->name, "transfer-encoding") == 0) {
        parser->codings++;
        if (strcasecmp(parser->value, "chunked") != 0)
            return refuse(parser, "an unknown Transfer-Encoding");
    }
    return 0;
}

/* 1: no body follows. */
static int on_headers_complete(llhttp_t *llhttp)
{
    struct http_response_parser *parser = llhttp->data;
    int status = llhttp_get_status_code(llhttp);
    if (parser->lengths + parser->codings > 1)
        return refuse(parser, "contradicting lengths");
    if (llhttp_get_http_major(llhttp) != 1 || llhttp_get_http_minor(llhttp) > 1 || status < 100 || status > 599 ||
        status == 101)
        return refuse(parser, "a broken status line");
    if (parser->codings && llhttp_get_http_minor(llhttp) == 0)
        return refuse(parser, "chunks in HTTP/1.0");
    parser->response.status = status;
    parser->response.keep_alive = llhttp_should_keep_alive(llhttp) != 0;
    parser->in_body = true;
    llhttp->upgrade = 0;
    parser->until_close =
        parser->lengths + parser->codings == 0 && status >= 200 && status != 204 && status != 304 && !parser->to_head;
    return parser->to_head || status < 200 || status == 204 || status == 304 ? 1 : 0;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t size)
{
    struct http_response_parser *parser = llhttp->data;
    if (buf_size(&parser->response.body) + size > parser->body_limit ||
        buf_append(&parser->response.body, at, size) != TP_OK)
        return refuse(parser, "an answer that is too large");
    return 0;
}

static int on_chunk_extension(llhttp_t *llhttp)
{
    return refuse(llhttp->data, "chunk extensions");
}

/* Behind the last chunk exactly one empty line. */
static int on_chunk_header(llhttp_t *llhttp)
{
    struct http_response_parser *parser = llhttp->data;
    if (llhttp->content_length != 0)
        return 0;
    parser->tail = "\r\n";
    return HPE_PAUSED;
}

static int on_complete(llhttp_t *llhttp)
{
    struct http_response_parser *parser = llhttp->data;
    parser->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_complete,
    .on_chunk_header = on_chunk_header,
    .on_chunk_extension_name_complete = on_chunk_extension,
    .on_chunk_extension_value_complete = on_chunk_extension,
};

static void start(struct http_response_parser *parser)
{
    llhttp_init(&parser->llhttp, HTTP_RESPONSE, &settings);
    parser->llhttp.data = parser;
    parser->lengths = parser->codings = 0;
    parser->in_body = parser->complete = parser->until_close = false;
    parser->raw_left = parser->body_limit * 8 + HTTP_HEAD_MAX;
}

struct http_response_parser *http_response_parser_new(size_t body_limit, bool to_head)
{
    struct http_response_parser *parser = mem_alloc(sizeof(*parser));
    parser->body_limit = body_limit;
    parser->to_head = to_head;
    buf_init(&parser->response.body, body_limit);
    http_head_init(&parser->head, false);
    start(parser);
    return parser;
}

void http_response_parser_free(struct http_response_parser *parser)
{
    if (!parser)
        return;
    buf_wipe(&parser->response.body);
    http_head_clear(&parser->head);
    mem_free(parser);
}

static enum http_step fail(struct http_response_parser *parser, const char *why)
{
    (void)refuse(parser, why);
    parser->failed = true;
    return HTTP_FAILED;
}

/* Takes head bytes; HTTP_HEAD_READY behind the head. */
static enum http_step feed_head(struct http_response_parser *parser, const uint8_t *data, size_t size, size_t *ret_used)
{
    enum llhttp_errno result;
    enum http_head_step step;
    size_t done = 0;
    do {
        size_t used = 0;
        step = http_head_feed(&parser->head, data + done, size - done, &used);
        done += used;
    } while (step == HTTP_HEAD_FIRST_LINE);
    *ret_used = done;
    if (step == HTTP_HEAD_REFUSED)
        return fail(parser, parser->head.why);
    if (step == HTTP_HEAD_MORE)
        return HTTP_MORE;
    result = llhttp_execute(&parser->llhttp, (const char *)buf_head(&parser->head.raw), buf_size(&parser->head.raw));
    if (parser->why || (result != HPE_OK && result != HPE_PAUSED) || !parser->in_body)
        return fail(parser, "a malformed head");
    http_head_clear(&parser->head);
    return HTTP_HEAD_READY;
}

enum http_step http_response_parser_feed(struct http_response_parser *parser, const void *data, size_t size)
{
    const uint8_t *at = data;
    enum llhttp_errno result;
    if (parser->failed)
        return HTTP_FAILED;
    if (parser->complete)
        return size > 0 ? fail(parser, "bytes behind the answer") : HTTP_DONE;
    while (!parser->in_body) {
        size_t used = 0;
        enum http_step step = feed_head(parser, at, size, &used);
        if (step != HTTP_HEAD_READY)
            return step;
        at += used;
        size -= used;
        if (parser->response.status < 200)
            start(parser);
    }
    if (!parser->complete && !parser->tail && size > 0) {
        size_t take = size < parser->raw_left ? size : parser->raw_left;
        result = llhttp_execute(&parser->llhttp, (const char *)at, take);
        if (parser->why || (result != HPE_OK && result != HPE_PAUSED))
            return fail(parser, "a malformed body");
        if (result == HPE_PAUSED)
            take = (size_t)(llhttp_get_error_pos(&parser->llhttp) - (const char *)at);
        else if (take < size)
            return fail(parser, "an answer that is too large");
        parser->raw_left -= take;
        at += take;
        size -= take;
    }
    while (parser->tail && *parser->tail && size > 0) {
        if (*at++ != (uint8_t)*parser->tail++)
            return fail(parser, "bytes behind the last chunk");
        size--;
    }
    if (parser->tail && *parser->tail == '\0')
        parser->complete = true;
    if (!parser->complete)
        return HTTP_MORE;
    return size > 0 ? fail(parser, "bytes behind the answer") : HTTP_DONE;
}

enum http_step http_response_parser_end(struct http_response_parser *parser)
{
    if (parser->failed)
        return HTTP_FAILED;
    if (parser->complete)
        return HTTP_DONE;
    if (!parser->in_body || !parser->until_close)
        return fail(parser, "the connection ended in the middle of the answer");
    parser->complete = true;
    parser->response.keep_alive = false;
    return HTTP_DONE;
}

const struct http_response *http_response_parser_response(const struct http_response_parser *parser)
{
    return &parser->response;
}

const char *http_response_parser_why(const struct http_response_parser *parser)
{
    return parser->why ? parser->why : "no error";
}

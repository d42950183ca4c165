/* Responses, for our own client: the same strictness as for requests. */
#include "base/mem.h"
#include "protocols/http/http_client.h"
#include "protocols/http/http_fields.h"
#include "protocols/http/http_head.h"

#include <llhttp.h>
#include <string.h>
#include <strings.h>

struct http_response_parser {
    llhttp_t llhttp;
    struct http_head head;
    struct http_response response;
    struct http_fields fields;
    size_t lengths; /* how many Content-Length headers */
    size_t codings;
    http_body_cb *body_fn; /* takes the body, or NULL: response.body does */
    void *body_ctx;
    bool proxy;
    bool upgrade; /* 101 may come */
    bool head_given;
    bool to_head;
    bool in_body;
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

static int on_field(llhttp_t *llhttp, const char *at, size_t size)
{
    struct http_response_parser *parser = llhttp->data;
    if (parser->in_body)
        return refuse(parser, "trailers");
    return http_fields_name(&parser->fields, at, size) ? 0 : refuse(parser, "a broken header name");
}

static int on_value(llhttp_t *llhttp, const char *at, size_t size)
{
    struct http_response_parser *parser = llhttp->data;
    if (parser->in_body || !http_fields_value(&parser->fields, at, size))
        return refuse(parser, "a folded header");
    return 0;
}

static int on_value_complete(llhttp_t *llhttp)
{
    struct http_response_parser *parser = llhttp->data;
    struct http_response *response = &parser->response;
    const char *name = NULL;
    const char *value = NULL;
    if (parser->in_body)
        return refuse(parser, "trailers");
    if (!http_fields_end(&parser->fields, &name, &value) || response->header_count + 1 >= parser->head.lines)
        return refuse(parser, "a broken header");
    response->headers[response->header_count].name = name;
    response->headers[response->header_count++].value = value;
    if (strcmp(name, "content-length") == 0) {
        parser->lengths++;
        if (!http_head_length(value, &response->length))
            return refuse(parser, "a broken Content-Length");
        response->has_length = true;
        if (response->length > parser->body_limit && !parser->to_head)
            return refuse(parser, "an answer that is too large");
    } else if (strcmp(name, "transfer-encoding") == 0) {
        parser->codings++;
        if (strcasecmp(value, "chunked") != 0)
            return refuse(parser, "an unknown Transfer-Encoding");
    }
    return 0;
}

/* 1: no body follows. */
static int on_headers_complete(llhttp_t *llhttp)
{
    struct http_response_parser *parser = llhttp->data;
    struct http_response *response = &parser->response;
    int status = llhttp_get_status_code(llhttp);
    bool bare = parser->to_head || status < 200 || status == 204 || status == 304;
    if (parser->lengths + parser->codings > 1)
        return refuse(parser, "contradicting lengths");
    if (llhttp_get_http_major(llhttp) != 1 || llhttp_get_http_minor(llhttp) > 1 || status < 100 || status > 599 ||
        (status == 101 && !parser->upgrade))
        return refuse(parser, "a broken status line");
    if (parser->codings && llhttp_get_http_minor(llhttp) == 0)
        return refuse(parser, "chunks in HTTP/1.0");
    response->status = status;
    response->minor = llhttp_get_http_minor(llhttp);
    response->keep_alive = llhttp_should_keep_alive(llhttp) != 0;
    response->upgraded = status == 101;
    response->until_close = parser->lengths + parser->codings == 0 && !bare;
    response->has_body = !bare && (response->until_close || parser->codings > 0 || response->length > 0);
    parser->in_body = true;
    llhttp->upgrade = 0;
    return bare ? 1 : 0;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t size)
{
    struct http_response_parser *parser = llhttp->data;
    if (parser->body_fn) {
        parser->body_fn(parser->body_ctx, (const uint8_t *)at, size);
        return 0;
    }
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

static void forget_head(struct http_response_parser *parser)
{
    http_fields_clear(&parser->fields);
    mem_free(parser->response.headers);
    parser->response.headers = NULL;
    parser->response.header_count = 0;
}

static void start(struct http_response_parser *parser)
{
    llhttp_init(&parser->llhttp, HTTP_RESPONSE, &settings);
    parser->llhttp.data = parser;
    forget_head(parser);
    parser->lengths = parser->codings = 0;
    parser->in_body = parser->complete = false;
    parser->response.until_close = parser->response.has_length = false;
    parser->response.length = 0;
    parser->raw_left = parser->proxy ? SIZE_MAX : parser->body_limit * 8 + HTTP_HEAD_MAX;
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

struct http_response_parser *http_response_parser_new_proxy(bool to_head, bool upgrade, http_body_cb *fn, void *ctx)
{
    struct http_response_parser *parser = http_response_parser_new(SIZE_MAX, to_head);
    parser->proxy = true;
    parser->upgrade = upgrade;
    parser->body_fn = fn;
    parser->body_ctx = ctx;
    http_head_widen(&parser->head);
    start(parser);
    return parser;
}

void http_response_parser_free(struct http_response_parser *parser)
{
    if (!parser)
        return;
    forget_head(parser);
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
    http_fields_begin(&parser->fields, buf_size(&parser->head.raw));
    parser->response.headers = mem_array(parser->head.lines, sizeof(*parser->response.headers));
    result = llhttp_execute(&parser->llhttp, (const char *)buf_head(&parser->head.raw), buf_size(&parser->head.raw));
    if (parser->why || (result != HPE_OK && result != HPE_PAUSED) || !parser->in_body)
        return fail(parser, "a malformed head");
    http_head_clear(&parser->head);
    return HTTP_HEAD_READY;
}

/* The final head, past all 1xx. */
static enum http_step take_heads(struct http_response_parser *parser, const uint8_t *data, size_t size,
                                 size_t *ret_used)
{
    while (!parser->in_body) {
        size_t used = 0;
        enum http_step step = feed_head(parser, data + *ret_used, size - *ret_used, &used);
        *ret_used += used;
        if (step != HTTP_HEAD_READY)
            return step;
        if (parser->response.status < 200 && !parser->response.upgraded)
            start(parser);
    }
    parser->head_given = true;
    return HTTP_HEAD_READY;
}

static enum http_step take_body(struct http_response_parser *parser, const uint8_t *data, size_t size, size_t *ret_used)
{
    enum llhttp_errno result;
    size_t used = 0;
    if (!parser->complete && !parser->tail && size > 0) {
        size_t take = size < parser->raw_left ? size : parser->raw_left;
        result = llhttp_execute(&parser->llhttp, (const char *)data, take);
        if (parser->why || (result != HPE_OK && result != HPE_PAUSED))
            return fail(parser, "a malformed body");
        if (result == HPE_PAUSED)
            take = (size_t)(llhttp_get_error_pos(&parser->llhttp) - (const char *)data);
        else if (take < size)
            return fail(parser, "an answer that is too large");
        if (!parser->proxy)
            parser->raw_left -= take;
        used = take;
    }
    while (parser->tail && *parser->tail && used < size) {
        if (data[used++] != (uint8_t)*parser->tail++)
            return fail(parser, "bytes behind the last chunk");
    }
    if (parser->tail && *parser->tail == '\0')
        parser->complete = true;
    *ret_used = used;
    return parser->complete ? HTTP_DONE : HTTP_MORE;
}

enum http_step http_response_parser_take(struct http_response_parser *parser, const void *data, size_t size,
                                         size_t *ret_used)
{
    *ret_used = 0;
    if (parser->failed)
        return HTTP_FAILED;
    if (!parser->head_given)
        return take_heads(parser, data, size, ret_used);
    return take_body(parser, data, size, ret_used);
}

enum http_step http_response_parser_feed(struct http_response_parser *parser, const void *data, size_t size)
{
    const uint8_t *at = data;
    enum http_step step;
    size_t used = 0;
    bool done = parser->complete && parser->head_given;
    do {
        step = http_response_parser_take(parser, at, size, &used);
        at += used;
        size -= used;
    } while (step == HTTP_HEAD_READY);
    if (step != HTTP_DONE)
        return step;
    if (done && size == 0)
        return HTTP_DONE;
    return size > 0 ? fail(parser, "bytes behind the answer") : HTTP_DONE;
}

enum http_step http_response_parser_end(struct http_response_parser *parser)
{
    if (parser->failed)
        return HTTP_FAILED;
    if (parser->complete && parser->head_given)
        return HTTP_DONE;
    if (!parser->in_body || !parser->response.until_close)
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

const char *http_response_header(const struct http_response *response, const char *name)
{
    for (size_t i = 0; i < response->header_count; i++) {
        if (strcmp(response->headers[i].name, name) == 0)
            return response->headers[i].value;
    }
    return NULL;
}

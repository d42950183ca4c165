#include "protocols/http/http_parse.h"

#include "base/mem.h"
#include "protocols/http/http_fields.h"
#include "protocols/http/http_head.h"

#include <llhttp.h>
#include <string.h>
#include <strings.h>

/* A body whose length is told gets its room at once, instead of growing past it. */
#define RESERVED_MAX 65536

enum parser_state { STATE_HEAD, STATE_HEAD_READY, STATE_BODY, STATE_DONE, STATE_FAILED };

struct http_parser {
    llhttp_t llhttp;
    enum parser_state state;
    struct http_head head;
    struct http_request request;
    struct http_fields fields;
    bool in_body;
    bool complete;    /* llhttp has seen the end of the message */
    const char *tail; /* behind the last chunk: the bytes that must still come, "\r\n", "\n" or "" */
    size_t default_limit;
    size_t body_limit;
    size_t raw_left; /* bytes that the body may still take on the wire: bounds empty and tiny chunks */
    bool proxy;
    http_body_cb *body_fn; /* takes the body, or NULL: request.body does */
    void *body_ctx;
    int status;
    const char *why;
    bool http2;
};

static int refuse(struct http_parser *parser, int status, const char *why)
{
    if (!parser->why) {
        parser->status = status;
        parser->why = why;
    }
    return HPE_USER;
}

static enum http_step fail(struct http_parser *parser, int status, const char *why)
{
    (void)refuse(parser, status, why);
    parser->state = STATE_FAILED;
    return HTTP_FAILED;
}

/* What llhttp tells us. */

static int on_field(llhttp_t *llhttp, const char *at, size_t size)
{
    struct http_parser *parser = llhttp->data;
    if (parser->in_body)
        return refuse(parser, 400, "trailers are not accepted");
    return http_fields_name(&parser->fields, at, size) ? 0 : refuse(parser, 400, "a broken header name");
}

static int on_value(llhttp_t *llhttp, const char *at, size_t size)
{
    struct http_parser *parser = llhttp->data;
    if (parser->in_body || !http_fields_value(&parser->fields, at, size))
        return refuse(parser, 400, "a folded header");
    return 0;
}

static int on_value_complete(llhttp_t *llhttp)
{
    struct http_parser *parser = llhttp->data;
    struct http_request *request = &parser->request;
    const char *name = NULL;
    const char *value = NULL;
    if (parser->in_body)
        return refuse(parser, 400, "trailers are not accepted");
    if (!http_fields_end(&parser->fields, &name, &value))
        return refuse(parser, 400, "a broken header");
    if (strchr(name, '_')) /* some readers take '_' for '-': such a header could pass for another one */
        return 0;
    if (request->header_count + 1 >= parser->head.lines)
        return refuse(parser, 431, "too many headers");
    request->headers[request->header_count].name = name;
    request->headers[request->header_count++].value = value;
    return 0;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t size)
{
    struct http_parser *parser = llhttp->data;
    if (parser->body_fn) {
        parser->body_fn(parser->body_ctx, (const uint8_t *)at, size);
        return 0;
    }
    if (buf_size(&parser->request.body) + size > parser->body_limit)
        return refuse(parser, 413, "the body is too large");
    if (buf_append(&parser->request.body, at, size) != TP_OK)
        return refuse(parser, 413, "the body is too large");
    return 0;
}

static int on_chunk_extension(llhttp_t *llhttp)
{
    return refuse(llhttp->data, 400, "chunk extensions are not accepted");
}

/* Behind the last chunk we accept exactly one empty line; llhttp 8 would take a bare LF and trailers there. */
static int on_chunk_header(llhttp_t *llhttp)
{
    struct http_parser *parser = llhttp->data;
    if (llhttp->content_length != 0)
        return 0;
    parser->tail = "\r\n";
    return HPE_PAUSED;
}

static int on_complete(llhttp_t *llhttp)
{
    struct http_parser *parser = llhttp->data;
    parser->complete = true;
    return HPE_PAUSED;
}

/* Checks of the whole head. */

static bool is_host(const char *text)
{
    if (*text == '\0' || strlen(text) > 261)
        return false;
    for (; *text; text++) {
        bool alnum = (*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z');
        if (!alnum && !strchr(".-_:[]", *text))
            return false;
    }
    return true;
}

static const char *check_host(struct http_request *request)
{
    size_t count = http_request_header_count(request, "host");
    request->host = count ? http_request_header(request, "host") : "";
    if (count > 1)
        return "more than one Host";
    if (count == 0)
        return request->minor == 0 ? NULL : "no Host";
    return is_host(request->host) ? NULL : "a broken Host";
}

static const char *check_framing(struct http_parser *parser)
{
    struct http_request *request = &parser->request;
    size_t codings = http_request_header_count(request, "transfer-encoding");
    size_t lengths = http_request_header_count(request, "content-length");
    if (codings > 0) {
        if (lengths > 0)
            return "Transfer-Encoding and Content-Length together";
        if (codings > 1 || request->minor == 0 ||
            strcasecmp(http_request_header(request, "transfer-encoding"), "chunked") != 0)
            return "a Transfer-Encoding other than chunked";
        request->has_body = true;
        return NULL;
    }
    if (lengths > 1)
        return "more than one Content-Length";
    if (lengths == 1) {
        if (!http_head_length(http_request_header(request, "content-length"), &request->length))
            return "a broken Content-Length";
        request->has_length = true;
        request->has_body = request->length > 0;
    }
    return NULL;
}

bool http_request_connection_has(const struct http_request *request, const char *word)
{
    for (size_t i = 0; i < request->header_count; i++) {
        const char *at = request->headers[i].value;
        if (strcmp(request->headers[i].name, "connection") != 0)
            continue;
        while (*at) {
            size_t length = strcspn(at, ",");
            size_t start = strspn(at, " \t");
            size_t end = length;
            while (end > start && (at[end - 1] == ' ' || at[end - 1] == '\t'))
                end--;
            if (start < end && end - start == strlen(word) && strncasecmp(at + start, word, end - start) == 0)
                return true;
            at += length + (at[length] == ',');
        }
    }
    return false;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    struct http_parser *parser = llhttp->data;
    struct http_request *request = &parser->request;
    const char *expect = http_request_header(request, "expect");
    const char *why = check_host(request);
    if (!why)
        why = check_framing(parser);
    if (why)
        return refuse(parser, 400, why);
    if (llhttp_get_http_major(llhttp) != 1 || llhttp_get_http_minor(llhttp) != request->minor ||
        strcmp(llhttp_method_name((llhttp_method_t)llhttp_get_method(llhttp)), request->method) != 0)
        return refuse(parser, 400, "an ambiguous request line");
    if (expect && request->minor == 1) {
        if (strcasecmp(expect, "100-continue") != 0)
            return refuse(parser, 417, "an unknown expectation");
        request->expect_continue = request->has_body;
    }
    request->keep_alive = request->minor == 1 ? !http_request_connection_has(request, "close")
                                              : http_request_connection_has(request, "keep-alive");
    /* An offer to upgrade is not taken: the message ends where its framing says. */
    llhttp->upgrade = 0;
    parser->in_body = true;
    return 0;
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

/* The request line, judged as soon as it is there. */

static const char *known_method(const char *text, size_t length)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strlen(methods[i]) == length && memcmp(methods[i], text, length) == 0)
            return methods[i];
    }
    return NULL;
}

static enum http_step take_params(struct http_parser *parser, const char *query)
{
    struct http_request *request = &parser->request;
    const char *at = query;
    request->params = mem_array(HTTP_QUERY_MAX, sizeof(*request->params));
    while (*at) {
        size_t length = strcspn(at, "&");
        const char *equal = memchr(at, '=', length);
        struct http_param *param = &request->params[request->param_count];
        if (length > 0) {
            if (request->param_count == HTTP_QUERY_MAX)
                return fail(parser, 400, "too many query parameters");
            if (http_form_decode(at, equal ? (size_t)(equal - at) : length, &param->name) != TP_OK)
                return fail(parser, 400, "a broken query");
            request->param_count++;
            if (http_form_decode(equal ? equal + 1 : "", equal ? length - (size_t)(equal + 1 - at) : 0,
                                 &param->value) != TP_OK)
                return fail(parser, 400, "a broken query");
        }
        at += length + (at[length] == '&');
    }
    return HTTP_MORE;
}

static enum http_step take_target(struct http_parser *parser, const char *target)
{
    struct http_request *request = &parser->request;
    size_t length = strcspn(target, "?");
    if (strchr(target, '#'))
        return fail(parser, 400, "a fragment in the request target");
    if (http_path_canonical(target, length, &request->path) != TP_OK)
        return fail(parser, 400, "a path that is not plain");
    if (target[length] == '?') {
        request->query = mem_strdup(target + length + 1);
        if (parser->proxy)
            return HTTP_MORE;
        return take_params(parser, request->query);
    }
    return HTTP_MORE;
}

/* "https://host/path": what counts is the path, and the authority must be what Host says; remembered for later. */
static const char *skip_origin(const char *target)
{
    const char *rest = NULL;
    if (strncasecmp(target, "http://", 7) == 0)
        rest = target + 7;
    else if (strncasecmp(target, "https://", 8) == 0)
        rest = target + 8;
    return rest ? rest + strcspn(rest, "/?#") : target;
}

static bool origin_matches_host(const struct http_request *request)
{
    const char *rest = skip_origin(request->target);
    const char *authority;
    if (rest == request->target)
        return true;
    authority = strstr(request->target, "://") + 3;
    return strlen(request->host) == (size_t)(rest - authority) &&
           strncasecmp(request->host, authority, (size_t)(rest - authority)) == 0;
}

static enum http_step take_first_line(struct http_parser *parser)
{
    struct http_request *request = &parser->request;
    const char *line = (const char *)buf_head(&parser->head.raw);
    size_t length = parser->head.first_line;
    const char *space = memchr(line, ' ', length);
    const char *target = space ? space + 1 : NULL;
    const char *version = target ? memchr(target, ' ', length - (size_t)(target - line)) : NULL;
    size_t version_length;
    const char *rest;
    if (!version)
        return fail(parser, 400, "a request line without a version");
    version++;
    version_length = length - (size_t)(version - line);
    if (length == 14 && memcmp(line, "PRI * HTTP/2.0", 14) == 0) {
        parser->http2 = true;
        return fail(parser, 505, "HTTP/2 is not spoken here");
    }
    if (version_length != 8 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.' || version[5] < '0' ||
        version[5] > '9' || version[7] < '0' || version[7] > '9')
        return fail(parser, 400, "a broken version");
    if (version[5] != '1' || version[7] > '1')
        return fail(parser, 505, "an HTTP version other than 1.0 and 1.1");
    request->minor = version[7] - '0';
    request->method = known_method(line, (size_t)(space - line));
    if (!request->method)
        return fail(parser, 501, "an unknown method");
    request->target = mem_strndup(target, (size_t)(version - 1 - target));
    rest = skip_origin(request->target);
    return take_target(parser, rest != request->target && (*rest == '\0') ? "/" : rest);
}

static enum http_step take_head(struct http_parser *parser)
{
    size_t size = buf_size(&parser->head.raw);
    enum llhttp_errno result;
    http_fields_begin(&parser->fields, size);
    parser->request.headers = mem_array(parser->head.lines, sizeof(*parser->request.headers));
    result = llhttp_execute(&parser->llhttp, (const char *)buf_head(&parser->head.raw), size);
    if (parser->why || (result != HPE_OK && result != HPE_PAUSED) || !parser->in_body)
        return fail(parser, 400, "a malformed head");
    if (!origin_matches_host(&parser->request))
        return fail(parser, 400, "an absolute target that is not the Host");
    buf_wipe(&parser->head.raw); /* all of it is in fields */
    parser->state = STATE_HEAD_READY;
    return HTTP_HEAD_READY;
}

static enum http_step feed_head(struct http_parser *parser, const uint8_t *data, size_t size, size_t *ret_used)
{
    size_t done = 0;
    for (;;) {
        size_t used = 0;
        enum http_head_step step = http_head_feed(&parser->head, data + done, size - done, &used);
        done += used;
        *ret_used = done;
        if (step == HTTP_HEAD_REFUSED)
            return fail(parser, parser->head.status, parser->head.why);
        if (step == HTTP_HEAD_COMPLETE)
            return take_head(parser);
        if (step == HTTP_HEAD_MORE)
            return HTTP_MORE;
        if (take_first_line(parser) == HTTP_FAILED)
            return HTTP_FAILED;
    }
}

/* Bytes of a body through llhttp; stops behind the message or behind the line of the last chunk. */
static enum http_step feed_llhttp(struct http_parser *parser, const uint8_t *data, size_t size, size_t *ret_used)
{
    bool capped = size > parser->raw_left;
    size_t take = capped ? parser->raw_left : size;
    enum llhttp_errno result = take > 0 ? llhttp_execute(&parser->llhttp, (const char *)data, take) : HPE_OK;
    if (parser->why || (result != HPE_OK && result != HPE_PAUSED))
        return fail(parser, 400, "a malformed body");
    if (result == HPE_PAUSED)
        take = (size_t)(llhttp_get_error_pos(&parser->llhttp) - (const char *)data);
    if (!parser->body_fn)
        parser->raw_left -= take;
    *ret_used = take;
    if (capped && result != HPE_PAUSED)
        return fail(parser, 413, "too much chunk framing");
    return HTTP_MORE;
}

static enum http_step feed_body(struct http_parser *parser, const uint8_t *data, size_t size, size_t *ret_used)
{
    size_t used = 0;
    if (!parser->complete && !parser->tail && size > 0 && feed_llhttp(parser, data, size, &used) == HTTP_FAILED)
        return HTTP_FAILED;
    while (parser->tail && *parser->tail && used < size) {
        if (data[used++] != (uint8_t)*parser->tail++)
            return fail(parser, 400, "bytes behind the last chunk");
    }
    *ret_used = used;
    if (!parser->complete && !(parser->tail && *parser->tail == '\0'))
        return HTTP_MORE;
    parser->state = STATE_DONE;
    return HTTP_DONE;
}

enum http_step http_parser_feed(struct http_parser *parser, const void *data, size_t size, size_t *ret_used)
{
    *ret_used = 0;
    if (parser->state == STATE_HEAD)
        return feed_head(parser, data, size, ret_used);
    if (parser->state == STATE_HEAD_READY) {
        if (!parser->body_fn && parser->request.length > parser->body_limit)
            return fail(parser, 413, "the body is too large");
        parser->request.body.limit = parser->body_limit + 1; /* and a NUL */
        if (!parser->body_fn && parser->request.length > 0 && parser->request.length <= RESERVED_MAX)
            (void)!buf_reserve(&parser->request.body, (size_t)parser->request.length + 1);
        parser->raw_left = parser->body_fn ? SIZE_MAX : parser->body_limit * 8 + HTTP_HEAD_MAX;
        parser->state = STATE_BODY;
    }
    if (parser->state == STATE_BODY)
        return feed_body(parser, data, size, ret_used);
    return parser->state == STATE_DONE ? HTTP_DONE : HTTP_FAILED;
}

static void start(struct http_parser *parser)
{
    llhttp_init(&parser->llhttp, HTTP_REQUEST, &settings);
    parser->llhttp.data = parser;
    parser->state = STATE_HEAD;
    parser->body_limit = parser->default_limit;
    buf_init(&parser->request.body, 0);
}

struct http_parser *http_parser_new(size_t body_limit)
{
    struct http_parser *parser = mem_alloc(sizeof(*parser));
    parser->default_limit = body_limit ? body_limit : HTTP_BODY_DEFAULT;
    http_head_init(&parser->head, true);
    start(parser);
    return parser;
}

struct http_parser *http_parser_new_proxy(void)
{
    struct http_parser *parser = http_parser_new(0);
    parser->proxy = true;
    http_head_widen(&parser->head);
    return parser;
}

static void forget(struct http_parser *parser)
{
    struct http_request *request = &parser->request;
    for (size_t i = 0; i < request->param_count; i++) {
        secret_free(request->params[i].name);
        secret_free(request->params[i].value);
    }
    mem_free(request->params);
    mem_free(request->headers);
    secret_free(request->target);
    secret_free(request->path);
    secret_free(request->query);
    buf_wipe(&request->body);
    http_fields_clear(&parser->fields);
    http_head_clear(&parser->head);
}

void http_parser_free(struct http_parser *parser)
{
    if (!parser)
        return;
    forget(parser);
    mem_free(parser);
}

void http_parser_next(struct http_parser *parser)
{
    size_t limit = parser->default_limit;
    bool proxy = parser->proxy;
    forget(parser);
    memset(parser, 0, sizeof(*parser));
    parser->default_limit = limit;
    parser->proxy = proxy;
    http_head_init(&parser->head, true);
    if (proxy)
        http_head_widen(&parser->head);
    start(parser);
}

struct http_request *http_parser_request(struct http_parser *parser)
{
    return &parser->request;
}

void http_parser_set_body_limit(struct http_parser *parser, size_t body_limit)
{
    parser->body_limit = body_limit;
}

void http_parser_stream_body(struct http_parser *parser, http_body_cb *fn, void *ctx)
{
    parser->body_fn = fn;
    parser->body_ctx = ctx;
}

bool http_parser_is_inside(const struct http_parser *parser)
{
    return parser->state != STATE_HEAD || buf_size(&parser->head.raw) > 0;
}

int http_parser_error(const struct http_parser *parser, const char **ret_why)
{
    if (ret_why)
        *ret_why = parser->why ? parser->why : "no error";
    return parser->why ? parser->status : 200;
}

bool http_parser_is_http2(const struct http_parser *parser)
{
    return parser->http2;
}

const char *http_request_header(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    }
    return NULL;
}

size_t http_request_header_count(const struct http_request *request, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++)
        count += strcmp(request->headers[i].name, name) == 0;
    return count;
}

const char *http_request_param(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->param_count; i++) {
        if (strcmp(request->params[i].name, name) == 0)
            return request->params[i].value;
    }
    return NULL;
}

/* Responses: no crash, and the cut does not matter. */
#include "protocols/http/http_client.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum http_step run(struct http_response_parser *parser, const uint8_t *data, size_t size, size_t piece)
{
    enum http_step step = HTTP_MORE;
    for (size_t at = 0; at < size && step != HTTP_FAILED; at += piece)
        step = http_response_parser_feed(parser, data + at, size - at < piece ? size - at : piece);
    return step == HTTP_MORE ? http_response_parser_end(parser) : step;
}

static void count(void *ctx, const uint8_t *data, size_t size)
{
    (void)data;
    *(size_t *)ctx += size;
}

/* As a proxy reads: the same head, body and rest whatever the cut. */
static enum http_step take(struct http_response_parser *parser, const uint8_t *data, size_t size, size_t piece,
                           size_t *ret_used)
{
    enum http_step step = HTTP_MORE;
    *ret_used = 0;
    while (step == HTTP_MORE || step == HTTP_HEAD_READY) {
        size_t used = 0;
        size_t give = size - *ret_used < piece ? size - *ret_used : piece;
        step = http_response_parser_take(parser, data + *ret_used, give, &used);
        *ret_used += used;
        if (step == HTTP_MORE && *ret_used == size)
            return http_response_parser_end(parser);
    }
    return step;
}

static void proxy(const uint8_t *data, size_t size, bool to_head)
{
    size_t bodies[2] = {0, 0};
    size_t used[2];
    struct http_response_parser *whole = http_response_parser_new_proxy(to_head, true, count, &bodies[0]);
    struct http_response_parser *bytes = http_response_parser_new_proxy(to_head, true, count, &bodies[1]);
    enum http_step step = take(whole, data, size, size ? size : 1, &used[0]);
    if (take(bytes, data, size, 1, &used[1]) != step)
        abort();
    if (step == HTTP_DONE) {
        const struct http_response *a = http_response_parser_response(whole);
        const struct http_response *b = http_response_parser_response(bytes);
        if (a->status != b->status || a->header_count != b->header_count || bodies[0] != bodies[1] ||
            used[0] != used[1] || (a->upgraded && bodies[0] != 0))
            abort();
    }
    http_response_parser_free(whole);
    http_response_parser_free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    proxy(data, size, false);
    proxy(data, size, true);
    struct http_response_parser *whole = http_response_parser_new(4096, false);
    struct http_response_parser *bytes = http_response_parser_new(4096, false);
    enum http_step step = run(whole, data, size, size ? size : 1);
    if (run(bytes, data, size, 1) != step)
        abort();
    if (step == HTTP_DONE) {
        const struct http_response *a = http_response_parser_response(whole);
        const struct http_response *b = http_response_parser_response(bytes);
        if (a->status != b->status || buf_size(&a->body) != buf_size(&b->body))
            abort();
    }
    http_response_parser_free(whole);
    http_response_parser_free(bytes);
    return 0;
}

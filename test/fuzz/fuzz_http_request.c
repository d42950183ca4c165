/* What we accept, written out again and read again, is the same; and the cut does not matter. */
#include "protocols/http/http_server.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum http_step run(struct http_parser *parser, const uint8_t *data, size_t size, size_t piece, size_t *ret_used)
{
    size_t at = 0;
    for (;;) {
        size_t used = 0;
        size_t give = size - at < piece ? size - at : piece;
        enum http_step step = http_parser_feed(parser, data + at, give, &used);
        if (used > give)
            abort();
        at += used;
        *ret_used = at;
        if (step == HTTP_DONE || step == HTTP_FAILED || (step == HTTP_MORE && at == size))
            return step;
    }
}

static void need(bool truth)
{
    if (!truth)
        abort();
}

static void need_same(const struct http_request *a, const struct http_request *b)
{
    need(strcmp(a->method, b->method) == 0 && strcmp(a->path, b->path) == 0 && strcmp(a->host, b->host) == 0);
    need(a->param_count == b->param_count);
    for (size_t i = 0; i < a->param_count; i++)
        need(strcmp(a->params[i].name, b->params[i].name) == 0 && strcmp(a->params[i].value, b->params[i].value) == 0);
    need(buf_size(&a->body) == buf_size(&b->body));
    need(memcmp(buf_head(&a->body), buf_head(&b->body), buf_size(&a->body)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_parser *whole = http_parser_new(4096);
    struct http_parser *bytes = http_parser_new(4096);
    size_t used = 0;
    size_t used_bytes = 0;
    enum http_step step = run(whole, data, size, size ? size : 1, &used);
    need(run(bytes, data, size, 1, &used_bytes) == step);
    need(http_parser_error(whole, NULL) == http_parser_error(bytes, NULL));
    if (step == HTTP_DONE) {
        struct http_parser *again = http_parser_new(4096);
        struct buf out;
        size_t used_again = 0;
        need(used == used_bytes);
        buf_init(&out, 0);
        need(http_write_request(&out, http_parser_request(whole)) == TP_OK);
        /* A head near the limit may grow past it by escapes. */
        if (buf_size(&out) < HTTP_HEAD_MAX) {
            need(run(again, buf_head(&out), buf_size(&out), buf_size(&out), &used_again) == HTTP_DONE);
            need(used_again == buf_size(&out));
            need_same(http_parser_request(whole), http_parser_request(again));
        }
        need_same(http_parser_request(whole), http_parser_request(bytes));
        buf_free(&out);
        http_parser_free(again);
    }
    http_parser_free(whole);
    http_parser_free(bytes);
    return 0;
}

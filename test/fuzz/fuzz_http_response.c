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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
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

/* The parsers as a proxy uses them: bodies of any size stream through, answers keep their headers, 101 ends HTTP. */
#include "base/mem.h"
#include "protocols/http/http_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void collect(void *ctx, const uint8_t *data, size_t size)
{
    (void)buf_append(ctx, data, size);
}

/* Feeds text cut into pieces of that size; returns the last step, and how many bytes were not taken. */
static enum http_step feed_request(struct http_parser *parser, const char *text, size_t piece, struct buf *body,
                                   size_t *ret_left)
{
    size_t size = strlen(text);
    size_t at = 0;
    enum http_step step = HTTP_MORE;
    while (step == HTTP_MORE || step == HTTP_HEAD_READY) {
        size_t used = 0;
        size_t give = size - at < piece ? size - at : piece;
        step = http_parser_feed(parser, text + at, give, &used);
        at += used;
        if (step == HTTP_HEAD_READY) {
            http_parser_stream_body(parser, collect, body);
        } else if (step == HTTP_MORE && at == size) {
            break;
        }
    }
    *ret_left = size - at;
    return step;
}

static void test_request_bodies_stream(void **state)
{
    static const char text[] = "PUT /api/v1/x?a=b;c&watch=%00 HTTP/1.1\r\nHost: k\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET";
    (void)state;
    for (size_t piece = 1; piece < sizeof(text); piece++) {
        struct http_parser *parser = http_parser_new_proxy();
        struct buf body;
        size_t left = 0;
        buf_init(&body, 0);
        assert_int_equal(feed_request(parser, text, piece, &body, &left), HTTP_DONE);
        assert_int_equal(left, 3);
        assert_string_equal(buf_text(&body), "hello world");
        assert_int_equal(buf_size(&http_parser_request(parser)->body), 0);
        assert_string_equal(http_parser_request(parser)->query, "a=b;c&watch=%00"); /* the owner's business */
        assert_int_equal(http_parser_request(parser)->param_count, 0);
        buf_free(&body);
        http_parser_free(parser);
    }
}

static void test_a_body_past_every_limit_streams(void **state)
{
    struct http_parser *parser = http_parser_new_proxy();
    char piece[4096];
    size_t used = 0;
    uint64_t length = UINT64_C(3) * 1024 * 1024 * 1024;
    uint64_t sent = 0;
    char *head = mem_printf("POST /x HTTP/1.1\r\nHost: k\r\nContent-Length: %llu\r\n\r\n", (unsigned long long)length);
    struct buf body;
    (void)state;
    buf_init(&body, 0);
    memset(piece, 'x', sizeof(piece));
    assert_int_equal(http_parser_feed(parser, head, strlen(head), &used), HTTP_HEAD_READY);
    http_parser_stream_body(parser, collect, &body);
    enum http_step step = HTTP_MORE;
    while (step == HTTP_MORE && sent < length) {
        step = http_parser_feed(parser, piece, sizeof(piece), &used);
        sent += used;
        assert_int_equal(buf_size(&body), used);
        buf_clear(&body);
    }
    assert_int_equal(step, HTTP_DONE);
    assert_true(sent == length);
    buf_free(&body);
    mem_free(head);
    http_parser_free(parser);
}

static void test_heads_have_a_limit(void **state)
{
    (void)state;
    for (size_t size = 30000; size <= 100000; size += 70000) {
        struct http_parser *parser = http_parser_new_proxy();
        char *filler = mem_alloc(size + 1);
        memset(filler, 'a', size);
        char *text = mem_printf("GET /x HTTP/1.1\r\nHost: k\r\nX-A: %s\r\n\r\n", filler);
        struct buf body;
        size_t left = 0;
        buf_init(&body, 0);
        enum http_step step = feed_request(parser, text, 1000, &body, &left);
        assert_int_equal(step, size < HTTP_PROXY_HEAD_MAX ? HTTP_DONE : HTTP_FAILED);
        mem_free(filler);
        mem_free(text);
        http_parser_free(parser);
    }
}

static enum http_step feed_answer(struct http_response_parser *parser, const char *text, size_t piece, size_t *ret_left)
{
    size_t size = strlen(text);
    size_t at = 0;
    enum http_step step = HTTP_MORE;
    while (step == HTTP_MORE || step == HTTP_HEAD_READY) {
        size_t used = 0;
        size_t give = size - at < piece ? size - at : piece;
        step = http_response_parser_take(parser, text + at, give, &used);
        at += used;
        if (step == HTTP_MORE && at == size) {
            break;
        }
    }
    *ret_left = size - at;
    return step;
}

static void test_answers_keep_their_headers(void **state)
{
    static const char text[] =
        "HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 200 OK\r\nAudit-Id: a \r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    (void)state;
    for (size_t piece = 1; piece < sizeof(text); piece++) {
        struct buf body;
        size_t left = 0;
        buf_init(&body, 0);
        struct http_response_parser *parser = http_response_parser_new_proxy(false, false, collect, &body);
        assert_int_equal(feed_answer(parser, text, piece, &left), HTTP_DONE);
        const struct http_response *response = http_response_parser_response(parser);
        assert_int_equal(response->status, 200);
        assert_int_equal(response->header_count, 3);
        assert_string_equal(http_response_header(response, "audit-id"), "a");
        assert_null(http_response_header(response, "x-early"));
        assert_true(response->keep_alive && !response->until_close);
        assert_string_equal(buf_text(&body), "abc");
        assert_int_equal(left, 0);
        http_response_parser_free(parser);
        buf_free(&body);
    }
}

static void test_101_ends_http(void **state)
{
    static const char text[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\n\x80\x03";
    (void)state;
    for (size_t piece = 1; piece < sizeof(text); piece++) {
        struct buf body;
        size_t left = 0;
        buf_init(&body, 0);
        struct http_response_parser *parser = http_response_parser_new_proxy(false, true, collect, &body);
        assert_int_equal(feed_answer(parser, text, piece, &left), HTTP_DONE);
        assert_int_equal(left, 2);
        assert_true(http_response_parser_response(parser)->upgraded);
        assert_string_equal(http_response_header(http_response_parser_response(parser), "upgrade"), "SPDY/3.1");
        assert_int_equal(buf_size(&body), 0);
        http_response_parser_free(parser);
        /* Nobody asked for an upgrade. */
        parser = http_response_parser_new_proxy(false, false, collect, &body);
        assert_int_equal(feed_answer(parser, text, piece, &left), HTTP_FAILED);
        http_response_parser_free(parser);
    }
}

static void test_answers_without_a_body(void **state)
{
    size_t left = 0;
    (void)state;
    struct http_response_parser *parser = http_response_parser_new_proxy(true, false, collect, NULL);
    assert_int_equal(feed_answer(parser, "HTTP/1.1 200 OK\r\nContent-Length: 7000000\r\n\r\n", 100, &left), HTTP_DONE);
    assert_int_equal(http_response_parser_response(parser)->length, 7000000);
    http_response_parser_free(parser);
    /* API server 1.20 refuses a WebSocket with nothing but this. */
    parser = http_response_parser_new_proxy(false, true, collect, NULL);
    assert_int_equal(feed_answer(parser, "HTTP/1.1 403 Forbidden\r\n\r\n", 5, &left), HTTP_MORE);
    assert_true(http_response_parser_response(parser)->until_close);
    assert_int_equal(http_response_parser_end(parser), HTTP_DONE);
    http_response_parser_free(parser);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_bodies_stream), cmocka_unit_test(test_a_body_past_every_limit_streams),
        cmocka_unit_test(test_heads_have_a_limit),    cmocka_unit_test(test_answers_keep_their_headers),
        cmocka_unit_test(test_101_ends_http),         cmocka_unit_test(test_answers_without_a_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

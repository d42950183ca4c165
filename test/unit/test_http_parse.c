/* The request parser against the desync classics, each input whole and byte by byte (R16: refusals are statuses, no echo). */
#include "base/mem.h"
#include "protocols/http/http_client.h"
#include "protocols/http/http_server.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define H "Host: a\r\n"

/* Feeds in pieces of step bytes. Gives the status (200: complete) and the parser; *used: bytes up to the end. */
static int parse(struct http_parser *parser, const char *data, size_t size, size_t step, size_t *ret_used)
{
    size_t at = 0;
    for (;;) {
        size_t used = 0;
        size_t piece = size - at < step ? size - at : step;
        enum http_step result = http_parser_feed(parser, data + at, piece, &used);
        at += used;
        *ret_used = at;
        if (result == HTTP_DONE)
            return 200;
        if (result == HTTP_FAILED)
            return http_parser_error(parser, NULL);
        if (result == HTTP_MORE && at == size)
            return 0;
    }
}

struct row {
    const char *name;
    const char *bytes;
    size_t size;
    int status; /* 0: waits for more, 200: a request */
};
#define ROW(name, text, status)              \
    {                                        \
        name, text, sizeof(text) - 1, status \
    }

static const struct row rows[] = {
    ROW("plain GET", "GET / HTTP/1.1\r\n" H "\r\n", 200),
    ROW("POST with length", "POST /a HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", 200),
    ROW("POST with chunks", "POST /a HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200),
    ROW("chunked in capitals", "POST /a HTTP/1.1\r\n" H "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", 200),
    ROW("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", 200),
    ROW("absolute form of our Host", "GET http://a/x HTTP/1.1\r\n" H "\r\n", 200),
    ROW("body on GET", "GET / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx", 200),
    ROW("HEAD with length", "HEAD / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx", 200),
    ROW("Upgrade is ignored", "GET / HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 200),
    ROW("h2c offer is ignored", "GET / HTTP/1.1\r\n" H "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
        200),
    /* lengths */
    ROW("CL.TE", "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ROW("TE.CL", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    ROW("TE.TE", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400),
    ROW("TE.TE other", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        400),
    ROW("TE x", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    ROW("TE empty", "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n0\r\n\r\n", 400),
    ROW("TE identity", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", 400),
    ROW("TE chunked not last", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    ROW("TE list", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    ROW("TE leading comma", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", 400),
    ROW("TE trailing", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, eee\r\n\r\n0\r\n\r\n", 400),
    ROW("TE quoted", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400),
    ROW("TE vertical tab", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", 400),
    ROW("TE 0xA0",
        "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \xa0"
        "chunked\r\n\r\n0\r\n\r\n",
        400),
    ROW("TE 0x85", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\x85\r\n\r\n0\r\n\r\n", 400),
    ROW("TE on 1.0", "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ROW("TE space before colon", "POST / HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    ROW("two CL", "POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
    ROW("two CL, different", "POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy", 400),
    ROW("CL list", "POST / HTTP/1.1\r\n" H "Content-Length: 5,5\r\n\r\nabcde", 400),
    ROW("CL empty", "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 400),
    ROW("CL +", "POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\nabcde", 400),
    ROW("CL -", "POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n", 400),
    ROW("CL 0x", "POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\nabcde", 400),
    ROW("CL _", "POST / HTTP/1.1\r\n" H "Content-Length: 5_0\r\n\r\n", 400),
    ROW("CL inner space", "POST / HTTP/1.1\r\n" H "Content-Length: 1 0\r\n\r\n", 400),
    ROW("CL too long", "POST / HTTP/1.1\r\n" H "Content-Length: 9223372036854775808\r\n\r\n", 400),
    ROW("CL past the limit", "POST / HTTP/1.1\r\n" H "Content-Length: 1048577\r\n\r\n", 413),
    ROW("CL with underscore is another header", "POST / HTTP/1.1\r\n" H "Content_Length: 3\r\n\r\n", 200),
    /* chunks */
    ROW("chunk size empty", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n", 400),
    ROW("chunk 0x", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", 400),
    ROW("chunk +", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n", 400),
    ROW("chunk _", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0_3\r\nabc\r\n0\r\n\r\n", 400),
    ROW("chunk leading space", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n", 400),
    ROW("chunk trailing space", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
        400),
    ROW("chunk junk", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3g\r\nabc\r\n0\r\n\r\n", 400),
    ROW("chunk overflow",
        "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n", 400),
    ROW("chunk bare LF", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400),
    ROW("chunk bare CR", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\rabc\r\n0\r\n\r\n", 400),
    ROW("chunk \\rX end", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\rX0\r\n\r\n", 400),
    ROW("chunk without CRLF", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc0\r\n\r\n", 400),
    ROW("chunk LF after data", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n", 400),
    ROW("chunk extra CRLF", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n\r\n0\r\n\r\n", 400),
    ROW("chunk extension", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n", 400),
    ROW("chunk extension empty", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3;\r\nabc\r\n0\r\n\r\n",
        400),
    ROW("chunk extension LF", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3;a\nabc\r\n0\r\n\r\n", 400),
    ROW("last chunk LF", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\n", 400),
    ROW("trailer", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n", 400),
    ROW("trailer with framing",
        "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", 400),
    ROW("chunks past the limit", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nffffff\r\n", 0),
    /* headers */
    ROW("bare CR in value", "GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n", 400),
    ROW("bare LF ends line", "GET / HTTP/1.1\n" H "\r\n", 400),
    ROW("bare LF in headers", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
    ROW("bare LF ends head", "GET / HTTP/1.1\r\n" H "\n", 400),
    ROW("CR CR LF", "GET / HTTP/1.1\r\n" H "X: a\r\r\n\r\n", 400),
    ROW("NUL in value", "GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n", 400),
    ROW("NUL in name", "GET / HTTP/1.1\r\n" H "X\0: a\r\n\r\n", 400),
    ROW("DEL in value", "GET / HTTP/1.1\r\n" H "X: \x7f\r\n\r\n", 400),
    ROW("space before colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ROW("tab before colon", "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", 400),
    ROW("empty name", "GET / HTTP/1.1\r\n" H ": x\r\n\r\n", 400),
    ROW("no colon", "GET / HTTP/1.1\r\n" H "X\r\n\r\n", 400),
    ROW("obs-fold space", "GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", 400),
    ROW("obs-fold tab", "GET / HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n", 400),
    ROW("obs-fold on TE", "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
    ROW("first header folded", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ROW("name with parenthesis", "GET / HTTP/1.1\r\n" H "X(: a\r\n\r\n", 400),
    ROW("name with 8 bits", "GET / HTTP/1.1\r\n" H "X\xff: a\r\n\r\n", 400),
    ROW("name with quote", "GET / HTTP/1.1\r\n" H "\"X: a\r\n\r\n", 400),
    /* Host */
    ROW("no Host", "GET / HTTP/1.1\r\nX: y\r\n\r\n", 400),
    ROW("no header at all", "GET / HTTP/1.1\r\n\r\n", 400),
    ROW("two Hosts", "GET / HTTP/1.1\r\n" H H "\r\n", 400),
    ROW("empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    ROW("Host with path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ROW("Host with user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    ROW("Host with comma", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
    ROW("absolute form, other host", "GET http://b/ HTTP/1.1\r\n" H "\r\n", 400),
    ROW("absolute form, user", "GET http://u@a/ HTTP/1.1\r\n" H "\r\n", 400),
    ROW("absolute form, scheme", "GET ftp://a/ HTTP/1.1\r\n" H "\r\n", 400),
    /* request line */
    ROW("HTTP/0.9", "GET /\r\n", 400),
    ROW("HTTP/0.9 with headers", "GET /\r\n" H "\r\n", 400),
    ROW("version 1.2", "GET / HTTP/1.2\r\n" H "\r\n", 505),
    ROW("version 2.0", "GET / HTTP/2.0\r\n" H "\r\n", 505),
    ROW("version 0.9", "GET / HTTP/0.9\r\n" H "\r\n", 505),
    ROW("version 1.10", "GET / HTTP/1.10\r\n" H "\r\n", 400),
    ROW("version 1", "GET / HTTP/1\r\n" H "\r\n", 400),
    ROW("version 01.1", "GET / HTTP/01.1\r\n" H "\r\n", 400),
    ROW("version lower case", "GET / http/1.1\r\n" H "\r\n", 400),
    ROW("version in capitals of another", "GET / ICE/1.1\r\n" H "\r\n", 400),
    ROW("trailing space", "GET / HTTP/1.1 \r\n" H "\r\n", 400),
    ROW("two spaces", "GET  / HTTP/1.1\r\n" H "\r\n", 400),
    ROW("two spaces later", "GET /  HTTP/1.1\r\n" H "\r\n", 400),
    ROW("tab", "GET\t/ HTTP/1.1\r\n" H "\r\n", 400),
    ROW("leading space", " GET / HTTP/1.1\r\n" H "\r\n", 400),
    ROW("leading CRLF", "\r\nGET / HTTP/1.1\r\n" H "\r\n", 400),
    ROW("space in path", "GET /a b HTTP/1.1\r\n" H "\r\n", 400),
    ROW("CONNECT", "CONNECT a:443 HTTP/1.1\r\n" H "\r\n", 501),
    ROW("TRACE", "TRACE / HTTP/1.1\r\n" H "\r\n", 501),
    ROW("unknown method", "FOO / HTTP/1.1\r\n" H "\r\n", 501),
    ROW("method lower case", "get / HTTP/1.1\r\n" H "\r\n", 501),
    ROW("PRI preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ROW("asterisk", "OPTIONS * HTTP/1.1\r\n" H "\r\n", 400),
    ROW("path without slash", "GET a HTTP/1.1\r\n" H "\r\n", 400),
    ROW("empty path", "GET ?a HTTP/1.1\r\n" H "\r\n", 400),
    ROW("fragment", "GET /a#b HTTP/1.1\r\n" H "\r\n", 400),
    ROW("fragment in query", "GET /a?b#c HTTP/1.1\r\n" H "\r\n", 400),
    ROW("8 bits in path", "GET /\xe9 HTTP/1.1\r\n" H "\r\n", 400),
    ROW("NUL in path", "GET /%00 HTTP/1.1\r\n" H "\r\n", 400),
    ROW("control in path", "GET /%0a HTTP/1.1\r\n" H "\r\n", 400),
    ROW("encoded slash", "GET /a%2fb HTTP/1.1\r\n" H "\r\n", 400),
    ROW("encoded slash, capital", "GET /a%2Fb HTTP/1.1\r\n" H "\r\n", 400),
    ROW("encoded backslash", "GET /a%5cb HTTP/1.1\r\n" H "\r\n", 400),
    ROW("backslash", "GET /a\\b HTTP/1.1\r\n" H "\r\n", 400),
    ROW("double encoding", "GET /a%252fb HTTP/1.1\r\n" H "\r\n", 400),
    ROW("broken escape", "GET /a%2 HTTP/1.1\r\n" H "\r\n", 400),
    ROW("overlong UTF-8", "GET /%c0%af HTTP/1.1\r\n" H "\r\n", 400),
    ROW("double slash", "GET //a HTTP/1.1\r\n" H "\r\n", 400),
    ROW("double slash inside", "GET /a//b HTTP/1.1\r\n" H "\r\n", 400),
    ROW("dot-dot", "GET /a/../b HTTP/1.1\r\n" H "\r\n", 400),
    ROW("dot-dot at the end", "GET /a/.. HTTP/1.1\r\n" H "\r\n", 400),
    ROW("dot-dot encoded", "GET /a/%2e%2e/b HTTP/1.1\r\n" H "\r\n", 400),
    ROW("dot-dot half encoded", "GET /a/.%2e/b HTTP/1.1\r\n" H "\r\n", 400),
    ROW("dot-dot with parameter", "GET /a/..;/b HTTP/1.1\r\n" H "\r\n", 400),
    ROW("single dot", "GET /./a HTTP/1.1\r\n" H "\r\n", 400),
    ROW("escaped letter", "GET /%77eb HTTP/1.1\r\n" H "\r\n", 200),
    ROW("unknown expectation", "POST / HTTP/1.1\r\n" H "Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx", 417),
    ROW("head under way", "GET / HTTP/1.1\r\nHost: a\r\n", 0),
};

static void test_desync_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t step = 1; step <= rows[i].size; step = step < 4 ? step + 1 : step * 5) {
            struct http_parser *parser = http_parser_new(0);
            size_t used = 0;
            int status = parse(parser, rows[i].bytes, rows[i].size, step, &used);
            if (status != rows[i].status)
                fail_msg("%s in pieces of %zu: %d, not %d", rows[i].name, step, status, rows[i].status);
            if (status == 200 && used != rows[i].size)
                fail_msg("%s in pieces of %zu: %zu bytes used of %zu", rows[i].name, step, used, rows[i].size);
            assert_true(http_parser_is_http2(parser) == (strncmp(rows[i].bytes, "PRI", 3) == 0));
            http_parser_free(parser);
        }
    }
}

/* After a refusal nothing is read any more. */
static void test_failed_stays_failed(void **state)
{
    struct http_parser *parser = http_parser_new(0);
    const char *good = "GET / HTTP/1.1\r\n" H "\r\n";
    size_t used = 0;
    (void)state;
    assert_int_equal(parse(parser, "GET / HTTP/1.1\n", 15, 15, &used), 400);
    assert_int_equal(http_parser_feed(parser, good, strlen(good), &used), HTTP_FAILED);
    assert_int_equal(used, 0);
    http_parser_free(parser);
}

static void test_pipelined_bytes_wait(void **state)
{
    const char *two = "POST /a HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nxyGET /b HTTP/1.1\r\n" H "\r\n";
    struct http_parser *parser = http_parser_new(0);
    size_t first = 0;
    size_t second = 0;
    (void)state;
    assert_int_equal(parse(parser, two, strlen(two), 1000, &first), 200);
    assert_string_equal(http_parser_request(parser)->path, "/a");
    assert_int_equal(strncmp(two + first, "GET /b", 6), 0);
    http_parser_next(parser);
    assert_false(http_parser_is_inside(parser));
    assert_int_equal(parse(parser, two + first, strlen(two) - first, 1000, &second), 200);
    assert_string_equal(http_parser_request(parser)->path, "/b");
    http_parser_free(parser);
}

static void test_request_parts(void **state)
{
    const char *text =
        "POST /web/a%20b?x=1&y=a%2Fb+c&z HTTP/1.1\r\nHost: Proxy.example:443\r\nX-One:  v \r\nEmpty:\r\nX_Y: no\r\n"
        "Expect: 100-Continue\r\nConnection: foo , Close\r\nContent-Length: 4\r\n\r\nbody";
    struct http_parser *parser = http_parser_new(0);
    struct http_request *request = http_parser_request(parser);
    size_t used = 0;
    (void)state;
    assert_int_equal(parse(parser, text, strlen(text), 7, &used), 200);
    assert_string_equal(request->method, "POST");
    assert_string_equal(request->path, "/web/a b");
    assert_string_equal(http_request_param(request, "y"), "a/b c");
    assert_string_equal(http_request_param(request, "z"), "");
    assert_null(http_request_param(request, "w"));
    assert_string_equal(http_request_header(request, "x-one"), "v");
    assert_string_equal(http_request_header(request, "empty"), "");
    assert_null(http_request_header(request, "x_y"));
    assert_string_equal(request->host, "Proxy.example:443");
    assert_false(request->keep_alive);
    assert_true(request->expect_continue);
    assert_int_equal(buf_size(&request->body), 4);
    http_parser_free(parser);
}

static void test_limits(void **state)
{
    struct buf text;
    size_t used = 0;
    struct http_parser *parser = http_parser_new(10);
    (void)state;
    buf_init(&text, 0);
    assert_int_equal(parse(parser,
                           "POST / HTTP/1.1\r\n" H
                           "Transfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n",
                           83, 1000, &used),
                     413);
    http_parser_free(parser);

    (void)buf_append_text(&text, "GET / HTTP/1.1\r\n" H);
    for (int i = 0; i < 99; i++)
        (void)buf_printf(&text, "X-%d: 1\r\n", i);
    (void)buf_append_text(&text, "\r\n");
    parser = http_parser_new(0);
    assert_int_equal(parse(parser, buf_text(&text), buf_size(&text), 1000, &used), 200);
    http_parser_free(parser);

    buf_clear(&text);
    (void)buf_append_text(&text, "GET / HTTP/1.1\r\n" H);
    for (int i = 0; i < 100; i++)
        (void)buf_printf(&text, "X-%d: 1\r\n", i);
    parser = http_parser_new(0);
    assert_int_equal(parse(parser, buf_text(&text), buf_size(&text), 1000, &used), 431);
    http_parser_free(parser);

    buf_clear(&text);
    (void)buf_append_text(&text, "GET /");
    for (int i = 0; i < 20000; i++)
        (void)buf_append_text(&text, "a");
    parser = http_parser_new(0);
    assert_int_equal(parse(parser, buf_text(&text), buf_size(&text), 1000, &used), 431);
    http_parser_free(parser);
    buf_free(&text);
}

static void test_forms(void **state)
{
    const char *body = "csrf_token=ab&password=a%26b%3Dc+d&code=123456";
    char *value = NULL;
    (void)state;
    assert_int_equal(http_form_value(body, strlen(body), "password", &value), TP_OK);
    assert_string_equal(value, "a&b=c d");
    secret_free(value);
    assert_int_equal(http_form_value(body, strlen(body), "pass", &value), TP_NOT_FOUND);
    assert_int_equal(http_form_value("a=1&a=2", 7, "a", &value), TP_INVALID);
    assert_int_equal(http_form_value("a=%zz", 5, "a", &value), TP_INVALID);
    assert_int_equal(http_form_value("a=%00", 5, "a", &value), TP_INVALID);
    assert_int_equal(http_form_value("a=%ff", 5, "a", &value), TP_INVALID);
    assert_int_equal(http_form_value("", 0, "a", &value), TP_NOT_FOUND);
}

static void test_writer_refuses_splitting(void **state)
{
    struct http_header bad[] = {{"Location", "/a\r\nSet-Cookie: x"},
                                {"X y", "a"},
                                {"X\n", "a"},
                                {"Content-Length", "5"},
                                {"transfer-encoding", "chunked"}};
    struct http_header good = {"Location", "/web"};
    struct buf out;
    (void)state;
    buf_init(&out, 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(http_write_response_head(&out, 302, &bad[i], 1, 0), TP_INVALID);
        assert_int_equal(buf_size(&out), 0);
    }
    assert_int_equal(http_write_response_head(&out, 302, &good, 1, 0), TP_OK);
    assert_string_equal(buf_text(&out), "HTTP/1.1 302 Found\r\nLocation: /web\r\nContent-Length: 0\r\n\r\n");
    buf_free(&out);
}

struct answer_row {
    const char *bytes;
    int status; /* -1: refused */
    const char *body;
};

static void test_responses(void **state)
{
    static const struct answer_row answers[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, "hi"},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi"},
        {"HTTP/1.1 204 No Content\r\n\r\n", 204, ""},
        {"HTTP/1.0 200 OK\r\n\r\nall the rest", 200, "all the rest"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!", -1, NULL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", -1, NULL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", -1, NULL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", -1, NULL},
        {"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nhi", -1, NULL},
        {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", -1, NULL},
        {"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", -1, NULL},
        {"SSH-2.0-OpenSSH_9.2\r\n\r\n", -1, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        for (size_t step = 1; step < 100; step = step * 3) {
            struct http_response_parser *parser = http_response_parser_new(1000, false);
            size_t size = strlen(answers[i].bytes);
            enum http_step result = HTTP_MORE;
            for (size_t at = 0; at < size && result != HTTP_FAILED; at += step)
                result = http_response_parser_feed(parser, answers[i].bytes + at, size - at < step ? size - at : step);
            if (result == HTTP_MORE)
                result = http_response_parser_end(parser);
            if ((answers[i].status < 0) != (result == HTTP_FAILED))
                fail_msg("answer %zu in pieces of %zu: step %d, %s", i, step, (int)result,
                         http_response_parser_why(parser));
            if (result == HTTP_DONE) {
                const struct http_response *response = http_response_parser_response(parser);
                assert_int_equal(response->status, answers[i].status);
                assert_int_equal(buf_size(&response->body), strlen(answers[i].body));
                assert_memory_equal(buf_head(&response->body), answers[i].body, strlen(answers[i].body));
            }
            http_response_parser_free(parser);
        }
    }
}

struct script {
    const char *answer;
    struct buf sent;
};

static enum tp_err script_read(void *ctx, void *data, size_t size, size_t *ret_size, struct tp_error *error)
{
    struct script *script = ctx;
    (void)error;
    *ret_size = strlen(script->answer) < size ? strlen(script->answer) : size;
    memcpy(data, script->answer, *ret_size);
    script->answer += *ret_size;
    return TP_OK;
}

static enum tp_err script_write(void *ctx, const void *data, size_t size, struct tp_error *error)
{
    struct script *script = ctx;
    (void)error;
    return buf_append(&script->sent, data, size);
}

static void test_client(void **state)
{
    struct script script = {0};
    struct http_io io = {script_read, script_write, &script};
    struct tp_error error = {0};
    json_t *result = NULL;
    (void)state;
    script.answer = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
    assert_int_equal(http_client_rpc_io(&io, "h:1", "user.status", NULL, &result, &error), TP_OK);
    assert_int_equal(json_get_int(result, "a", 0), 1);
    json_decref(result);
    assert_non_null(strstr(buf_text(&script.sent), "POST /v1/webapi/rpc/user.status HTTP/1.1\r\nHost: h:1\r\n"));
    script.answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 56\r\n\r\n{\"error\":{\"message\":\"no\\u001b[1m "
                    "way\",\"code\":\"expired\"}}";
    assert_int_equal(http_client_rpc_io(&io, "h:1", "x", NULL, &result, &error), TP_EXPIRED);
    assert_string_equal(error.text, "no [1m way");
    script.answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(http_client_rpc_io(&io, "h:1", "x", NULL, &result, &error), TP_NOT_FOUND);
    script.answer = "";
    assert_int_equal(http_client_rpc_io(&io, "h:1", "x", NULL, &result, &error), TP_CLOSED);
    buf_clear(&script.sent);
    assert_int_equal(http_client_rpc_io(&io, "h:1", "x\r\nEvil: y", NULL, &result, &error), TP_INVALID);
    assert_int_equal(buf_size(&script.sent), 0);
    buf_free(&script.sent);
}

/* Eight bytes are looked at in one step: each byte counts at each place. */
static void bytes_are_told_apart(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        bool visible = byte > 0x20 && byte < 0x7f;
        bool token = isalnum(byte) || (byte != 0 && strchr("!#$%&'*+-.^_`|~", byte));
        for (size_t at = 0; at < 19; at++) {
            char text[20] = "aaaaaaaaaaaaaaaaaaa";
            text[at] = (char)byte;
            assert_int_equal(http_plain_run(text, 19), byte == ' ' || visible ? 19 : at);
            if (byte == 0)
                continue;
            assert_int_equal(http_is_value(text), byte == '\t' || (byte >= 0x20 && byte != 0x7f));
            assert_int_equal(http_is_token(text), token);
        }
        char raw[2] = {'/', (char)byte};
        char *path = NULL;
        bool good = http_path_canonical(raw, 2, &path) == TP_OK;
        assert_int_equal(good, visible && !strchr("\\\"<>^`{|}#?%.;/", byte));
        mem_free(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_told_apart),
        cmocka_unit_test(test_desync_table),
        cmocka_unit_test(test_failed_stays_failed),
        cmocka_unit_test(test_pipelined_bytes_wait),
        cmocka_unit_test(test_request_parts),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_writer_refuses_splitting),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

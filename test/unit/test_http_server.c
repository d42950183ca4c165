/* The server's flow on one connection: deadlines (R9), answers now and later, HEAD, 100-continue, draining, slow readers. */
#include "base/mem.h"
#include "protocols/http/http_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

struct bench {
    struct loop *loop;
    struct http_server *server;
    struct stream *client;
    struct timer *timer;
    struct http_exchange *held;
    struct buf answer;
    size_t big;   /* answer with that many bytes */
    bool hold;    /* answer after a while */
    bool pause;   /* the loop stops at each step: a request that is held, bytes at the client, the server's end */
    bool quick;   /* short deadlines: for tests that wait for one. Elsewhere a slow machine must not meet any. */
    bool sourced; /* the body comes from a source */
    size_t source_least; /* it never gives more than that at once; 0: as asked */
    size_t source_fails; /* after that many bytes; 0: never */
    size_t given;
    size_t taken;
    int freed;
    int requests;
    bool client_gone;
    bool server_gone;
    enum close_reason reason;
    struct timer *proceed;
    size_t limit; /* of a body that was held */
    size_t body;  /* bytes of all of them */
    bool never;   /* a held one stays so */
};

static void maybe_stop(struct bench *bench)
{
    if (bench->client_gone && bench->server_gone)
        loop_stop(bench->loop);
}

static enum tp_err read_x(void *ctx, uint8_t *data, size_t size, size_t *ret_size)
{
    struct bench *bench = ctx;
    assert_int_equal(bench->freed, bench->requests - 1);
    if (bench->source_fails && bench->given >= bench->source_fails)
        return TP_IO;
    *ret_size = bench->source_least && bench->source_least < size ? bench->source_least : size;
    memset(data, 'x', *ret_size);
    bench->given += *ret_size;
    return TP_OK;
}

static void free_x(void *ctx)
{
    struct bench *bench = ctx;
    bench->freed++;
}

static void respond(struct bench *bench, struct http_exchange *exchange)
{
    static const struct http_source source = {.read = read_x, .free = free_x};
    static const struct http_header headers[] = {{"Content-Type", "text/plain"}};
    char *body;
    if (bench->sourced) {
        http_exchange_respond_source(exchange, 200, headers, 1, bench->big, &source, bench);
        return;
    }
    body = mem_alloc(bench->big + 1);
    memset(body, 'x', bench->big);
    http_exchange_respond(exchange, 200, headers, 1, body, bench->big);
    mem_free(body);
}

static void on_later(void *ctx)
{
    struct bench *bench = ctx;
    if (bench->held)
        respond(bench, bench->held);
    bench->held = NULL;
}

static void on_request(void *ctx, struct http_exchange *exchange)
{
    struct bench *bench = ctx;
    bench->requests++;
    bench->body += buf_size(&http_exchange_request(exchange)->body);
    if (!bench->hold) {
        respond(bench, exchange);
        return;
    }
    bench->held = exchange;
    if (bench->pause)
        loop_stop(bench->loop);
    else
        timer_start(bench->timer, 20, 0);
}

static void on_close(void *ctx, enum close_reason reason)
{
    struct bench *bench = ctx;
    bench->reason = reason;
    bench->server_gone = true;
    bench->held = NULL;
    if (bench->pause)
        loop_stop(bench->loop);
    maybe_stop(bench);
}

static void on_client_data(void *ctx, const uint8_t *data, size_t size)
{
    struct bench *bench = ctx;
    assert_int_equal(buf_append(&bench->answer, data, size), TP_OK);
    if (bench->pause)
        loop_stop(bench->loop);
}

static void on_client_close(void *ctx, enum close_reason reason)
{
    struct bench *bench = ctx;
    (void)reason;
    bench->client_gone = true;
    maybe_stop(bench);
}

static void stop(void *ctx)
{
    loop_stop(ctx);
}

static void on_proceed(void *ctx)
{
    struct bench *bench = ctx;
    if (!bench->server_gone)
        http_server_proceed(bench->server, bench->limit, 0);
}

/* A body behind "X-Hold" waits for 20 ms. */
static size_t on_head(void *ctx, const struct http_request *request)
{
    struct bench *bench = ctx;
    if (http_request_header(request, "x-hold")) {
        http_server_hold(bench->server);
        bench->proceed = timer_new(bench->loop, on_proceed, bench);
        if (!bench->never)
            timer_start(bench->proceed, 20, 0);
    }
    return 10;
}

static void begin(struct bench *bench, const char *text)
{
    static const struct http_server_events server_side = {
        .on_head = on_head, .on_request = on_request, .on_close = on_close};
    static const struct stream_events client_side = {.on_data = on_client_data, .on_close = on_client_close};
    static const struct stream_events none = {.on_close = on_client_close};
    static const struct http_server_options quick = {
        .header_ms = 80, .request_ms = 160, .idle_ms = 60, .answer_ms = 400, .answer_rate = 1 << 30};
    static const struct http_server_options patient = {
        .header_ms = 60000, .request_ms = 60000, .idle_ms = 60, .answer_ms = 60000};
    const struct http_server_options *options = bench->quick ? &quick : &patient;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    bench->loop = loop_new();
    bench->timer = timer_new(bench->loop, on_later, bench);
    buf_init(&bench->answer, 0);
    bench->server =
        http_server_new(bench->loop, stream_new(bench->loop, fds[0], &none, bench), options, &server_side, bench);
    bench->client = stream_new(bench->loop, fds[1], &client_side, bench);
    stream_write(bench->client, text, strlen(text));
}

static void end(struct bench *bench)
{
    struct timer *timer;
    timer_free(bench->proceed);
    timer_free(bench->timer);
    timer = timer_new(bench->loop, stop, bench->loop);
    timer_start(timer, 5, 0);
    loop_run(bench->loop);
    timer_free(timer);
    loop_free(bench->loop);
    buf_free(&bench->answer);
}

static int count_of(struct bench *bench, const char *what)
{
    const char *at = buf_text(&bench->answer);
    int count = 0;
    while ((at = strstr(at, what)) != NULL) {
        count++;
        at++;
    }
    return count;
}

static void test_silence_ends(void **state)
{
    struct bench bench = {.quick = true};
    (void)state;
    begin(&bench, "");
    loop_run(bench.loop);
    assert_int_equal(bench.reason, CLOSE_IDLE_TIMEOUT);
    assert_int_equal(buf_size(&bench.answer), 0);
    end(&bench);
}

static void drip(void *ctx)
{
    struct bench *bench = ctx;
    if (!bench->client_gone)
        stream_write(bench->client, "X: y\r\n", 6);
}

static void test_R9_slow_head_ends(void **state)
{
    struct bench bench = {.quick = true};
    struct timer *timer;
    (void)state;
    begin(&bench, "GET / HTTP/1.1\r\nHost: a\r\n");
    timer = timer_new(bench.loop, drip, &bench);
    timer_start(timer, 10, 10);
    loop_run(bench.loop);
    timer_free(timer);
    assert_int_equal(bench.reason, CLOSE_IDLE_TIMEOUT);
    assert_int_equal(count_of(&bench, "HTTP/1.1 408"), 1);
    assert_int_equal(bench.requests, 0);
    end(&bench);
}

static void test_R9_slow_body_ends(void **state)
{
    struct bench bench = {.quick = true};
    (void)state;
    begin(&bench, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    loop_run(bench.loop);
    assert_int_equal(count_of(&bench, "HTTP/1.1 408"), 1);
    assert_int_equal(bench.requests, 0);
    end(&bench);
}

static void test_late_answers_keep_order(void **state)
{
    struct bench bench = {.hold = true};
    (void)state;
    begin(&bench, "GET /a HTTP/1.1\r\nHost: a\r\n\r\nHEAD /b HTTP/1.1\r\nHost: a\r\n\r\nGET /c HTTP/1.0\r\n\r\n");
    bench.big = 3;
    loop_run(bench.loop);
    assert_int_equal(bench.requests, 3);
    assert_int_equal(count_of(&bench, "HTTP/1.1 200 OK"), 3);
    assert_int_equal(count_of(&bench, "Content-Length: 3"), 3);
    assert_int_equal(count_of(&bench, "xxx"), 2);
    assert_int_equal(bench.reason, CLOSE_DONE);
    end(&bench);
}

static void test_keep_alive_then_idle(void **state)
{
    struct bench bench = {0};
    (void)state;
    begin(&bench, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    loop_run(bench.loop);
    assert_int_equal(count_of(&bench, "Connection: close"), 0);
    assert_int_equal(bench.reason, CLOSE_IDLE_TIMEOUT);
    end(&bench);
}

static void test_continue(void **state)
{
    struct bench bench = {.pause = true};
    (void)state;
    begin(&bench,
          "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 3\r\n\r\n");
    loop_run(bench.loop);
    bench.pause = false;
    assert_string_equal(buf_text(&bench.answer), "HTTP/1.1 100 Continue\r\n\r\n");
    stream_write(bench.client, "abc", 3);
    loop_run(bench.loop);
    assert_int_equal(bench.requests, 1);
    assert_int_equal(count_of(&bench, "HTTP/1.1 200 OK"), 1);
    end(&bench);
}

static void test_big_answers(void **state)
{
    struct bench bench = {.big = 1024 * 1024};
    (void)state;
    begin(&bench, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
                  "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    loop_run(bench.loop);
    assert_int_equal(bench.requests, 3);
    assert_true(buf_size(&bench.answer) > 3 * 1024 * 1024);
    end(&bench);
}

/* A peer that never reads: nothing more is produced, and the connection ends by its deadline. */
static void test_slow_reader_ends(void **state)
{
    struct bench bench = {.big = 2 * 1024 * 1024, .quick = true, .pause = true};
    (void)state;
    begin(&bench,
          "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    stream_pause(bench.client);
    loop_run(bench.loop);
    assert_true(bench.server_gone);
    assert_int_equal(bench.requests, 1);
    assert_int_equal(bench.reason, CLOSE_IDLE_TIMEOUT);
    stream_close(bench.client, CLOSE_DONE);
    loop_run(bench.loop);
    end(&bench);
}

/* Bodies that are fetched while they are sent: whole, one after the other, in odd pieces, none for HEAD. */
static void test_bodies_from_a_source(void **state)
{
    struct bench bench = {.sourced = true, .big = 3 * 1024 * 1024 + 1, .source_least = 1777};
    (void)state;
    begin(&bench, "GET / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
                  "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    loop_run(bench.loop);
    assert_int_equal(bench.requests, 3);
    assert_int_equal(bench.freed, 3);
    assert_int_equal(bench.given, 2 * bench.big);
    assert_int_equal(count_of(&bench, "Content-Length: 3145729"), 3);
    assert_true(buf_size(&bench.answer) > bench.given && buf_size(&bench.answer) < bench.given + 1000);
    assert_int_equal(bench.reason, CLOSE_DONE);
    end(&bench);
}

/* R9: who does not read has a bounded part of it, and goes at the deadline; the source is let go. */
static void test_R9_a_source_waits_for_its_reader(void **state)
{
    struct bench bench = {.sourced = true, .big = 64 * 1024 * 1024, .quick = true, .pause = true};
    (void)state;
    begin(&bench, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    stream_pause(bench.client);
    loop_run(bench.loop);
    assert_true(bench.server_gone);
    assert_int_equal(bench.reason, CLOSE_IDLE_TIMEOUT);
    assert_true(bench.given < 2 * 1024 * 1024); /* STREAM_HIGH and what the kernel takes */
    assert_int_equal(bench.freed, 1);
    stream_close(bench.client, CLOSE_DONE);
    loop_run(bench.loop);
    end(&bench);
}

static void take_some(void *ctx)
{
    struct bench *bench = ctx;
    if (!bench->client_gone)
        stream_resume(bench->client);
}

static void on_sip(void *ctx, const uint8_t *data, size_t size)
{
    struct bench *bench = ctx;
    (void)data;
    bench->taken += size;
    stream_pause(bench->client);
}

/* R9: who takes a part each time before its deadline does not keep the connection for ever: the whole has a deadline too. */
static void test_R9_a_reader_of_small_parts_ends(void **state)
{
    static const struct stream_events sips = {.on_data = on_sip, .on_close = on_client_close};
    struct bench bench = {.sourced = true, .big = 64 * 1024 * 1024, .quick = true};
    struct timer *timer;
    int64_t began;
    (void)state;
    begin(&bench, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    stream_set_events(bench.client, &sips, &bench);
    timer = timer_new(bench.loop, take_some, &bench);
    timer_start(timer, 10, 10);
    began = loop_now_ms(bench.loop);
    loop_run(bench.loop);
    timer_free(timer);
    assert_true(bench.server_gone);
    assert_int_equal(bench.reason, CLOSE_IDLE_TIMEOUT);
    assert_true(loop_now_ms(bench.loop) - began >= 400);
    assert_true(bench.taken > 0 && bench.given < bench.big);
    assert_int_equal(bench.freed, 1);
    end(&bench);
}

/* A source that fails ends the connection: the peer must not take half a body for all of it. */
static void test_a_source_that_fails(void **state)
{
    struct bench bench = {.sourced = true, .big = 1024 * 1024, .source_fails = 300000};
    (void)state;
    begin(&bench, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    loop_run(bench.loop);
    assert_int_equal(bench.requests, 1);
    assert_int_equal(bench.freed, 1);
    assert_int_equal(bench.reason, CLOSE_IO_ERROR);
    assert_true(buf_size(&bench.answer) < 1024 * 1024);
    end(&bench);
}

static void test_drain(void **state)
{
    struct bench bench = {.hold = true, .pause = true};
    (void)state;
    begin(&bench, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    loop_run(bench.loop);
    assert_int_equal(bench.requests, 1);
    bench.pause = false;
    http_server_drain(bench.server);
    timer_start(bench.timer, 20, 0);
    loop_run(bench.loop);
    assert_int_equal(bench.requests, 1);
    assert_int_equal(count_of(&bench, "Connection: close"), 1);
    assert_int_equal(bench.reason, CLOSE_DRAIN);
    end(&bench);
}

static void test_a_held_body_waits_for_its_limit(void **state)
{
    static const char next[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    struct bench bench = {.limit = 1000};
    (void)state;
    begin(&bench, "POST / HTTP/1.1\r\nHost: a\r\nX-Hold: 1\r\nContent-Length: 20\r\n\r\n0123456789");
    stream_write(bench.client, "0123456789", 10);
    stream_write(bench.client, next, strlen(next));
    loop_run(bench.loop);
    assert_int_equal(bench.requests, 2);
    assert_int_equal(bench.body, 20);
    assert_int_equal(count_of(&bench, "HTTP/1.1 200 OK"), 2);
    end(&bench);
}

/* The head says it already: nothing of the body is read. */
static void test_a_held_body_that_is_too_large(void **state)
{
    struct bench bench = {.limit = 15};
    (void)state;
    begin(&bench, "POST / HTTP/1.1\r\nHost: a\r\nX-Hold: 1\r\nContent-Length: 20\r\n\r\n");
    loop_run(bench.loop);
    assert_int_equal(bench.requests, 0);
    assert_int_equal(count_of(&bench, "HTTP/1.1 413"), 1);
    end(&bench);
}

static void test_a_held_body_is_told_to_continue(void **state)
{
    struct bench bench = {.limit = 1000, .pause = true};
    (void)state;
    begin(&bench, "POST / HTTP/1.1\r\nHost: a\r\nX-Hold: 1\r\nExpect: 100-continue\r\nConnection: close\r\n"
                  "Content-Length: 20\r\n\r\n");
    loop_run(bench.loop);
    bench.pause = false;
    assert_string_equal(buf_text(&bench.answer), "HTTP/1.1 100 Continue\r\n\r\n");
    stream_write(bench.client, "01234567890123456789", 20);
    loop_run(bench.loop);
    assert_int_equal(bench.requests, 1);
    end(&bench);
}

/* An owner that never says it: the connection ends. */
static void test_R9_a_held_body_does_not_wait_for_ever(void **state)
{
    struct bench bench = {.quick = true, .limit = 1000, .never = true};
    (void)state;
    begin(&bench, "POST / HTTP/1.1\r\nHost: a\r\nX-Hold: 1\r\nContent-Length: 20\r\n\r\n0123456789");
    loop_run(bench.loop);
    assert_int_equal(bench.requests, 0);
    assert_int_equal(bench.reason, CLOSE_IDLE_TIMEOUT);
    end(&bench);
}

/* The owner must be able to close while it holds an exchange. */
static void test_close_while_answering(void **state)
{
    struct bench bench = {.hold = true, .pause = true};
    (void)state;
    begin(&bench, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    loop_run(bench.loop);
    bench.pause = false;
    http_server_close(bench.server, CLOSE_SHUTDOWN);
    loop_run(bench.loop);
    assert_int_equal(bench.reason, CLOSE_SHUTDOWN);
    assert_int_equal(buf_size(&bench.answer), 0);
    end(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silence_ends),
        cmocka_unit_test(test_R9_slow_head_ends),
        cmocka_unit_test(test_R9_slow_body_ends),
        cmocka_unit_test(test_late_answers_keep_order),
        cmocka_unit_test(test_keep_alive_then_idle),
        cmocka_unit_test(test_continue),
        cmocka_unit_test(test_big_answers),
        cmocka_unit_test(test_slow_reader_ends),
        cmocka_unit_test(test_bodies_from_a_source),
        cmocka_unit_test(test_R9_a_source_waits_for_its_reader),
        cmocka_unit_test(test_R9_a_reader_of_small_parts_ends),
        cmocka_unit_test(test_a_source_that_fails),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_close_while_answering),
        cmocka_unit_test(test_a_held_body_waits_for_its_limit),
        cmocka_unit_test(test_a_held_body_that_is_too_large),
        cmocka_unit_test(test_a_held_body_is_told_to_continue),
        cmocka_unit_test(test_R9_a_held_body_does_not_wait_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

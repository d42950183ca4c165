/* Streams and calls over socket pairs: half-close, back-pressure, descriptors, broken frames, ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "core/rpc.h"
#include "core/stream.h"

#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct end {
    struct loop *loop;
    struct stream *stream;
    size_t received;
    bool eof;
    bool drained;
    bool closed;
    enum close_reason reason;
};

static void on_data(void *ctx, const uint8_t *data, size_t size)
{
    struct end *end = ctx;
    (void)data;
    end->received += size;
}

static void on_eof(void *ctx)
{
    struct end *end = ctx;
    end->eof = true;
    stream_shutdown(end->stream);
}

static void on_drain(void *ctx)
{
    ((struct end *)ctx)->drained = true;
}

static void on_close(void *ctx, enum close_reason reason)
{
    struct end *end = ctx;
    assert_false(end->closed);
    end->closed = true;
    end->reason = reason;
    loop_stop(end->loop);
}

static const struct stream_events stream_events = {
    .on_data = on_data, .on_eof = on_eof, .on_drain = on_drain, .on_close = on_close};

static void on_limit(void *ctx)
{
    loop_stop(ctx);
}

/* Runs until both have closed, at most two seconds. */
static void run(struct loop *loop, const struct end *a, const struct end *b)
{
    struct timer *limit = timer_new(loop, on_limit, loop);
    timer_start(limit, 2000, 0);
    for (int i = 0; i < 4 && !(a->closed && b->closed); i++)
        loop_run(loop);
    timer_free(limit);
}

static void stream_half_close_and_drain(void **state)
{
    static const char block[100000];
    int pair[2];
    struct loop *loop = loop_new();
    struct end a = {.loop = loop};
    struct end b = {.loop = loop};
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    a.stream = stream_new(loop, pair[0], &stream_events, &a);
    b.stream = stream_new(loop, pair[1], &stream_events, &b);
    for (int i = 0; i < 30; i++)
        stream_write(a.stream, block, sizeof(block));
    assert_true(stream_is_full(a.stream));
    stream_shutdown(a.stream);
    stream_write(a.stream, "lost", 4); /* after the end: dropped */
    run(loop, &a, &b);
    assert_true(a.closed && b.closed && b.eof && a.drained);
    assert_int_equal(b.received, 30 * sizeof(block));
    assert_int_equal(a.reason, CLOSE_DONE);
    loop_free(loop);
}

/* Milliseconds that this process has computed. */
static int64_t used_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void stream_paused_reads_nothing(void **state)
{
    int64_t before;
    int pair[2];
    struct loop *loop = loop_new();
    struct end a = {.loop = loop};
    struct end b = {.loop = loop};
    struct timer *limit = timer_new(loop, on_limit, loop);
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    a.stream = stream_new(loop, pair[0], &stream_events, &a);
    b.stream = stream_new(loop, pair[1], &stream_events, &b);
    stream_pause(b.stream);
    stream_write(a.stream, "hello", 5);
    before = used_ms();
    timer_start(limit, 200, 0);
    loop_run(loop);
    assert_int_equal(b.received, 0);
    assert_true(used_ms() - before < 10); /* bytes that wait wake it once */
    stream_resume(b.stream);
    timer_start(limit, 50, 0);
    loop_run(loop);
    assert_int_equal(b.received, 5);
    stream_close(a.stream, CLOSE_SHUTDOWN);
    stream_close(a.stream, CLOSE_INTERNAL); /* the first reason wins */
    run(loop, &a, &b);
    assert_int_equal(a.reason, CLOSE_SHUTDOWN);
    timer_free(limit);
    loop_free(loop);
}

struct caller {
    struct loop *loop;
    int answers;
    int events;
    int fds;
    enum tp_err last;
    bool closed;
};

static void on_request(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                       json_t *caller, int fd)
{
    (void)ctx;
    (void)rpc;
    (void)caller;
    assert_int_equal(fd, -1);
    if (strcmp(method, "echo") == 0)
        rpc_reply(call, json_incref(params));
    else if (strcmp(method, "text") == 0)
        rpc_reply_text(call, "{\"said\": [1]}", 13);
    else
        rpc_fail_text(call, TP_NOT_FOUND, "no method %s here", method);
}

static void on_event(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    struct caller *caller = ctx;
    (void)rpc;
    (void)params;
    caller->events++;
    if (fd >= 0) {
        caller->fds++;
        assert_string_equal(event, "with fd");
        (void)close(fd);
    }
}

static void on_rpc_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct caller *caller = ctx;
    (void)rpc;
    (void)reason;
    caller->closed = true;
    loop_stop(caller->loop);
}

static const struct rpc_events rpc_events = {.on_request = on_request, .on_event = on_event, .on_close = on_rpc_close};

static void on_answer(void *ctx, json_t *result, const struct tp_error *error)
{
    struct caller *caller = ctx;
    assert_true((result == NULL) == (error != NULL));
    caller->answers++;
    caller->last = error ? error->code : TP_OK;
}

static void on_text(void *ctx, const char *text, size_t size, const struct tp_error *error)
{
    struct caller *caller = ctx;
    assert_true((text == NULL) == (error != NULL));
    assert_true(error || (size == 13 && memcmp(text, "{\"said\": [1]}", 13) == 0));
    caller->answers++;
    caller->last = error ? error->code : TP_OK;
}

static void on_said(void *ctx, json_t *result, const struct tp_error *error)
{
    struct caller *caller = ctx;
    assert_null(error);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(result, "said"), 0)), 1);
    caller->answers++;
}

/* Who only passes an answer on gets its text; who answers with text is read all the same. */
static void rpc_answers_as_text(void **state)
{
    int pair[2];
    struct loop *loop = loop_new();
    struct caller a = {.loop = loop}, b = {.loop = loop};
    struct timer *limit = timer_new(loop, on_limit, loop);
    struct rpc *left, *right;
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    left = rpc_new_fd(loop, pair[0], &rpc_events, &a);
    right = rpc_new_fd(loop, pair[1], &rpc_events, &b);
    (void)rpc_request_text(left, "text", NULL, NULL, 0, on_text, &a);
    (void)rpc_request(left, "text", NULL, NULL, 0, on_said, &a);
    timer_start(limit, 100, 0);
    loop_run(loop);
    assert_int_equal(a.answers, 2);
    (void)rpc_request_text(left, "nothing", NULL, NULL, 0, on_text, &a);
    timer_start(limit, 100, 0);
    loop_run(loop);
    assert_int_equal(a.answers, 3);
    assert_int_equal(a.last, TP_NOT_FOUND);
    (void)rpc_request_text(left, "text", NULL, NULL, 0, on_text, &a);
    rpc_free(right);
    timer_start(limit, 500, 0);
    loop_run(loop);
    assert_int_equal(a.answers, 4);
    assert_int_equal(a.last, TP_CLOSED);
    timer_free(limit);
    loop_free(loop);
}

static void rpc_requests_events_and_descriptors(void **state)
{
    int pair[2];
    struct loop *loop = loop_new();
    struct caller a = {.loop = loop};
    struct caller b = {.loop = loop};
    struct timer *limit = timer_new(loop, on_limit, loop);
    struct rpc *left;
    struct rpc *right;
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    left = rpc_new_fd(loop, pair[0], &rpc_events, &a);
    right = rpc_new_fd(loop, pair[1], &rpc_events, &b);
    for (int i = 0; i < 50; i++) {
        (void)rpc_request(left, "echo", json_pack("{s:i}", "n", i), NULL, 0, on_answer, &a);
        rpc_event_fd(left, "with fd", NULL, STDERR_FILENO);
        rpc_event(left, "plain", NULL);
    }
    timer_start(limit, 200, 0);
    loop_run(loop);
    assert_int_equal(a.answers, 50);
    assert_int_equal(b.events, 100);
    assert_int_equal(b.fds, 50);
    (void)rpc_request(left, "nothing", NULL, NULL, 0, on_answer, &a);
    timer_start(limit, 100, 0);
    loop_run(loop);
    assert_int_equal(a.last, TP_NOT_FOUND);
    /* A request that is pending when the other side goes fails once, then on_close. */
    (void)rpc_request(left, "echo", NULL, NULL, 0, on_answer, &a);
    rpc_free(right);
    timer_start(limit, 500, 0);
    loop_run(loop);
    assert_int_equal(a.answers, 52);
    assert_int_equal(a.last, TP_CLOSED);
    assert_true(a.closed);
    assert_false(b.closed);
    timer_free(limit);
    loop_free(loop);
}

static void rpc_broken_frame_ends_the_line(void **state)
{
    static const char *const broken[] = {"GET / HTTP/1.1\r\n\r\n",     "\0\0\0\2\1\0\0\1\0\0\0\1{}",
                                         "\0\0\0\2\4\0\0\0\0\0\0\1{}", "\xff\0\0\2\1\0\0\0\0\0\0\1{}",
                                         "\0\0\0\2\1\0\0\0\0\0\0\1[]", "\0\0\0\2\4\1\0\0\0\0\0\0{}"};
    static const size_t sizes[] = {18, 14, 14, 14, 14, 14};
    (void)state;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        int pair[2];
        struct loop *loop = loop_new();
        struct caller a = {.loop = loop};
        struct timer *limit = timer_new(loop, on_limit, loop);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        (void)!rpc_new_fd(loop, pair[0], &rpc_events, &a);
        assert_int_equal(write(pair[1], broken[i], sizes[i]), (ssize_t)sizes[i]);
        timer_start(limit, 1000, 0);
        loop_run(loop);
        assert_true(a.closed);
        timer_free(limit);
        (void)close(pair[1]);
        loop_free(loop);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_half_close_and_drain),         cmocka_unit_test(stream_paused_reads_nothing),
        cmocka_unit_test(rpc_requests_events_and_descriptors), cmocka_unit_test(rpc_answers_as_text),
        cmocka_unit_test(rpc_broken_frame_ends_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* client socket <-> relay (worker) <-> tunnel <-> relay (agent) <-> target socket, all in one loop. */
#include "base/mem.h"
#include "tunnel/relay.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* cmocka wants the headers above. */
#include <cmocka.h>

/* The outer end of a socket pair: what a client or a session does. */
struct outer {
    int fd;
    size_t to_send, sent, got;
    bool stop_reading;
    bool shut, eof, broken;
};

struct side {
    struct tunnel *tunnel;
    struct stream *transport;
    struct stream *inner;
    struct relay *relay;
    bool dialler, ready, closed, done, accepted, by_tunnel;
    enum close_reason reason;
    char text[128];
    uint64_t rx, tx;
    struct pair *pair;
};

struct pair {
    struct loop *loop;
    struct side worker, agent;
    struct outer client, target;
    struct timer *tick;
    bool (*until)(struct pair *pair);
    int ticks;
    bool refuse;
};

static void on_accept(void *ctx)
{
    ((struct side *)ctx)->accepted = true;
}

static void on_done(void *ctx, const struct relay_result *result)
{
    struct side *side = ctx;
    assert_false(side->done);
    side->done = true;
    side->relay = NULL;
    side->reason = result->reason;
    side->by_tunnel = result->by_tunnel;
    side->rx = result->rx;
    side->tx = result->tx;
    (void)strncpy(side->text, result->text, sizeof(side->text) - 1);
}

static const struct relay_events relay_events = {.on_accept = on_accept, .on_done = on_done};

static void nothing(void *ctx, enum close_reason reason)
{
    (void)ctx;
    (void)reason;
}

static const struct stream_events idle_events = {.on_close = nothing};

static void on_ready(void *ctx)
{
    ((struct side *)ctx)->ready = true;
}

static void on_open(void *ctx, struct tunnel_stream *stream, const char *kind, const uint8_t *header, size_t size)
{
    struct side *side = ctx;
    assert_string_equal(kind, "ssh");
    assert_int_equal(size, 5);
    assert_memory_equal(header, "grant", 5);
    if (side->pair->refuse) {
        tunnel_stream_close(stream, CLOSE_ACCESS_DENIED, "not you");
        return;
    }
    side->relay = relay_accept(side->inner, stream, &relay_events, side);
}

static void on_close(void *ctx, enum close_reason reason)
{
    struct side *side = ctx;
    (void)reason;
    side->closed = true;
}

static const struct tunnel_events tunnel_events = {.on_ready = on_ready, .on_open = on_open, .on_close = on_close};

static void transport_ready(void *ctx)
{
    struct side *side = ctx;
    side->tunnel = tunnel_new(side->pair->loop, side->transport, side->dialler, &tunnel_events, side);
}

static const struct stream_events transport_events = {.on_ready = transport_ready, .on_close = nothing};

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 31 + (at >> 8) * 7);
}

static void outer_move(struct outer *outer)
{
    uint8_t block[16384];
    if (outer->fd < 0) {
        return;
    }
    for (int i = 0; i < 20 && outer->sent < outer->to_send; i++) {
        size_t size = outer->to_send - outer->sent < sizeof(block) ? outer->to_send - outer->sent : sizeof(block);
        for (size_t j = 0; j < size; j++) {
            block[j] = pattern(outer->sent + j);
        }
        ssize_t put = send(outer->fd, block, size, MSG_NOSIGNAL);
        if (put <= 0) {
            break;
        }
        outer->sent += (size_t)put;
    }
    if (outer->sent == outer->to_send && outer->shut) {
        outer->shut = false;
        (void)shutdown(outer->fd, SHUT_WR);
    }
    for (int i = 0; i < 20 && !outer->stop_reading && !outer->eof; i++) {
        ssize_t got = recv(outer->fd, block, sizeof(block), 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            break;
        }
        if (got <= 0) {
            outer->eof = true;
            break;
        }
        for (ssize_t j = 0; j < got; j++) {
            outer->broken |= block[j] != pattern(outer->got + (size_t)j);
        }
        outer->got += (size_t)got;
    }
}

static void on_tick(void *ctx)
{
    struct pair *pair = ctx;
    assert_true(++pair->ticks < 20000);
    outer_move(&pair->client);
    outer_move(&pair->target);
    if (pair->until(pair)) {
        loop_stop(pair->loop);
    }
}

static void wait_for(struct pair *pair, bool (*until)(struct pair *pair))
{
    pair->until = until;
    pair->ticks = 0;
    timer_start(pair->tick, 1, 1);
    loop_run(pair->loop);
    timer_stop(pair->tick);
}

static bool both_ready(struct pair *pair)
{
    return pair->worker.ready && pair->agent.ready;
}

static bool both_done(struct pair *pair)
{
    return pair->worker.done && pair->agent.done && (pair->client.eof || pair->client.stop_reading) &&
           (pair->target.eof || pair->target.stop_reading);
}

static bool both_closed(struct pair *pair)
{
    return pair->worker.closed && pair->agent.closed;
}

static void make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static void start(struct pair *pair)
{
    int line[2], client[2], target[2];
    memset(pair, 0, sizeof(*pair));
    make_pair(line);
    make_pair(client);
    make_pair(target);
    pair->loop = loop_new();
    pair->tick = timer_new(pair->loop, on_tick, pair);
    pair->worker.pair = pair;
    pair->agent.pair = pair;
    pair->agent.dialler = true;
    pair->client.fd = client[0];
    pair->target.fd = target[0];
    pair->worker.inner = stream_new(pair->loop, client[1], &idle_events, NULL);
    pair->agent.inner = stream_new(pair->loop, target[1], &idle_events, NULL);
    stream_pause(pair->worker.inner);
    stream_pause(pair->agent.inner);
    pair->worker.transport = stream_new(pair->loop, line[0], &transport_events, &pair->worker);
    pair->agent.transport = stream_new(pair->loop, line[1], &transport_events, &pair->agent);
    wait_for(pair, both_ready);
    assert_int_equal(relay_open(pair->worker.inner, pair->worker.tunnel, "ssh", "grant", 5, &relay_events,
                                &pair->worker, &pair->worker.relay),
                     TP_OK);
}

static void end(struct pair *pair)
{
    if (!pair->worker.closed) {
        tunnel_close(pair->worker.tunnel, CLOSE_SHUTDOWN);
    }
    wait_for(pair, both_closed);
    if (pair->client.fd >= 0) {
        (void)close(pair->client.fd);
    }
    if (pair->target.fd >= 0) {
        (void)close(pair->target.fd);
    }
    timer_free(pair->tick);
    loop_free(pair->loop);
}

static void test_megabytes_both_ways_with_half_close(void **state)
{
    (void)state;
    struct pair pair;
    start(&pair);
    pair.client.to_send = 6000000;
    pair.target.to_send = 9000000;
    pair.client.shut = true; /* ends early; the other direction goes on */
    pair.target.shut = true;
    wait_for(&pair, both_done);
    assert_true(pair.worker.accepted);
    assert_int_equal(pair.target.got, 6000000);
    assert_int_equal(pair.client.got, 9000000);
    assert_false(pair.client.broken || pair.target.broken);
    assert_int_equal(pair.worker.reason, CLOSE_DONE);
    assert_int_equal(pair.agent.reason, CLOSE_DONE);
    assert_int_equal(pair.worker.rx, 6000000);
    assert_int_equal(pair.worker.tx, 9000000);
    assert_int_equal(pair.agent.rx, 9000000);
    end(&pair);
}

static bool a_while(struct pair *pair)
{
    return pair->ticks > 300;
}

static void test_reader_that_stops_stops_the_writer(void **state)
{
    (void)state;
    struct pair pair;
    start(&pair);
    pair.client.to_send = 20000000;
    pair.target.stop_reading = true;
    wait_for(&pair, a_while);
    /* Window, one high mark of the stream, the socket buffers and what was read at once: not 20 MB. */
    assert_true(pair.client.sent < 3000000);
    pair.target.stop_reading = false;
    pair.client.shut = true;
    pair.target.shut = true;
    wait_for(&pair, both_done);
    assert_int_equal(pair.target.got, 20000000);
    end(&pair);
}

static bool worker_done(struct pair *pair)
{
    return pair->worker.done && pair->client.eof;
}

static bool some_bytes(struct pair *pair)
{
    return pair->target.got > 0;
}

static void test_cut_ends_both_sides(void **state)
{
    (void)state;
    struct pair pair;
    start(&pair);
    pair.client.to_send = 100;
    wait_for(&pair, some_bytes);
    relay_cut(pair.worker.relay, CLOSE_LOCKED, "locked by the administrator");
    assert_false(pair.worker.done); /* never inside the call */
    wait_for(&pair, both_done);
    assert_int_equal(pair.worker.reason, CLOSE_LOCKED);
    assert_false(pair.worker.by_tunnel);
    assert_int_equal(pair.agent.reason, CLOSE_LOCKED);
    assert_true(pair.agent.by_tunnel);
    assert_string_equal(pair.agent.text, "locked by the administrator");
    end(&pair);
}

static void test_refused_stream_says_why(void **state)
{
    (void)state;
    struct pair pair;
    start(&pair);
    pair.refuse = true;
    wait_for(&pair, worker_done);
    assert_int_equal(pair.worker.reason, CLOSE_ACCESS_DENIED);
    assert_string_equal(pair.worker.text, "not you");
    assert_true(pair.worker.by_tunnel);
    assert_false(pair.worker.accepted);
    stream_close(pair.agent.inner, CLOSE_SHUTDOWN);
    end(&pair);
}

static void test_client_that_vanishes_ends_the_target(void **state)
{
    (void)state;
    struct pair pair;
    start(&pair);
    pair.client.to_send = 1000;
    wait_for(&pair, some_bytes);
    (void)close(pair.client.fd);
    pair.client.fd = -1;
    pair.client.eof = true;
    pair.target.to_send = 1000000; /* written into nothing */
    wait_for(&pair, both_done);
    assert_int_equal(pair.target.got, 1000);
    end(&pair);
}

static void test_last_bytes_arrive_before_the_end(void **state)
{
    (void)state;
    struct pair pair;
    start(&pair);
    pair.target.to_send = 400000;
    pair.client.stop_reading = true;
    wait_for(&pair, a_while);
    (void)close(pair.target.fd); /* the session's process has ended */
    pair.target.fd = -1;
    pair.target.eof = true;
    size_t sent = pair.target.sent;
    pair.client.to_send = 10; /* and the client still says something */
    wait_for(&pair, a_while);
    pair.client.stop_reading = false;
    pair.client.shut = true;
    wait_for(&pair, both_done);
    assert_int_equal(pair.client.got, sent);
    assert_false(pair.client.broken);
    end(&pair);
}

static void test_tunnel_death_ends_the_relay(void **state)
{
    (void)state;
    struct pair pair;
    start(&pair);
    pair.client.to_send = 100;
    wait_for(&pair, some_bytes);
    tunnel_close(pair.agent.tunnel, CLOSE_SHUTDOWN);
    wait_for(&pair, both_done);
    assert_int_equal(pair.worker.reason, CLOSE_TARGET_OFFLINE);
    wait_for(&pair, both_closed);
    end(&pair);
}

static void test_free_is_silent(void **state)
{
    (void)state;
    struct pair pair;
    start(&pair);
    pair.client.to_send = 100;
    wait_for(&pair, some_bytes);
    relay_free(pair.worker.relay, CLOSE_SHUTDOWN);
    wait_for(&pair, a_while);
    assert_false(pair.worker.done);
    assert_true(pair.agent.done);
    end(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_megabytes_both_ways_with_half_close),
        cmocka_unit_test(test_reader_that_stops_stops_the_writer),
        cmocka_unit_test(test_cut_ends_both_sides),
        cmocka_unit_test(test_refused_stream_says_why),
        cmocka_unit_test(test_client_that_vanishes_ends_the_target),
        cmocka_unit_test(test_last_bytes_arrive_before_the_end),
        cmocka_unit_test(test_tunnel_death_ends_the_relay),
        cmocka_unit_test(test_free_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

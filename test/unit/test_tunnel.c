/* Two tunnels over a socketpair of plain streams. */
#include "tunnel_peer.h"

#include <sys/socket.h>

struct side {
    struct loop *loop;
    struct tunnel *tunnel;
    struct stream *transport;
    struct side *other;
    bool dialler;
    bool ready, drain_seen, closed;
    enum close_reason reason;
    struct peer incoming[16];
    size_t incoming_count;
    char kind[20];
    size_t header_size;
    bool hold; /* do not accept */
    int *left; /* tunnels that have not ended */
};

static void side_on_ready(void *ctx)
{
    ((struct side *)ctx)->ready = true;
}

static void side_on_open(void *ctx, struct tunnel_stream *stream, const char *kind, const uint8_t *header, size_t size)
{
    struct side *side = ctx;
    assert_true(side->incoming_count < 16);
    struct peer *peer = &side->incoming[side->incoming_count++];
    (void)snprintf(side->kind, sizeof(side->kind), "%s", kind);
    side->header_size = size;
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(header[i], (uint8_t)i);
    }
    peer->stream = stream;
    if (!side->hold) {
        tunnel_stream_accept(stream, &peer_events, peer);
        peer_push(peer);
    }
}

static void side_on_drain(void *ctx)
{
    ((struct side *)ctx)->drain_seen = true;
}

static void side_on_close(void *ctx, enum close_reason reason)
{
    struct side *side = ctx;
    side->closed = true;
    side->reason = reason;
    side->tunnel = NULL;
    if (--*side->left == 0) {
        loop_stop(side->loop);
    }
}

static const struct tunnel_events side_events = {
    .on_ready = side_on_ready,
    .on_open = side_on_open,
    .on_drain = side_on_drain,
    .on_close = side_on_close,
};

static void transport_ready(void *ctx)
{
    struct side *side = ctx;
    side->tunnel = tunnel_new(side->loop, side->transport, side->dialler, &side_events, side);
}

static void transport_close(void *ctx, enum close_reason reason)
{
    (void)ctx;
    (void)reason;
    fail_msg("the transport went away before the tunnel was there");
}

static const struct stream_events transport_events = {
    .on_ready = transport_ready,
    .on_close = transport_close,
};

struct pair {
    struct loop *loop;
    struct side a, b; /* a dials */
    int left;
    struct timer *tick;
    bool (*done)(struct pair *pair);
    int ticks;
};

static void on_tick(void *ctx)
{
    struct pair *pair = ctx;
    pair->ticks++;
    assert_true(pair->ticks < 20000);
    if (pair->done(pair)) {
        loop_stop(pair->loop);
    }
}

static bool both_ready(struct pair *pair)
{
    return pair->a.ready && pair->b.ready;
}

static void pair_wait(struct pair *pair, bool (*done)(struct pair *pair))
{
    pair->done = done;
    pair->ticks = 0;
    timer_start(pair->tick, 1, 1);
    loop_run(pair->loop);
    timer_stop(pair->tick);
}

static void pair_start(struct pair *pair)
{
    int fds[2];
    memset(pair, 0, sizeof(*pair));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    pair->loop = loop_new();
    pair->left = 2;
    pair->tick = timer_new(pair->loop, on_tick, pair);
    pair->a = (struct side){.loop = pair->loop, .dialler = true, .left = &pair->left, .other = &pair->b};
    pair->b = (struct side){.loop = pair->loop, .left = &pair->left, .other = &pair->a};
    pair->a.transport = stream_new(pair->loop, fds[0], &transport_events, &pair->a);
    pair->b.transport = stream_new(pair->loop, fds[1], &transport_events, &pair->b);
    pair_wait(pair, both_ready);
}

static bool both_closed(struct pair *pair)
{
    return pair->a.closed && pair->b.closed;
}

static void pair_end(struct pair *pair)
{
    if (pair->a.tunnel != NULL) {
        tunnel_close(pair->a.tunnel, CLOSE_SHUTDOWN);
    }
    pair_wait(pair, both_closed);
    timer_free(pair->tick);
    loop_free(pair->loop);
}

static void open_stream(struct side *side, struct peer *peer, size_t header_size, size_t to_send)
{
    uint8_t *header = mem_alloc(header_size + 1);
    for (size_t i = 0; i < header_size; i++) {
        header[i] = (uint8_t)i;
    }
    peer->to_send = to_send;
    assert_int_equal(tunnel_stream_open(side->tunnel, "ssh", header, header_size, &peer_events, peer, &peer->stream),
                     TP_OK);
    mem_free(header);
}

static struct peer one, two;

static void reset_peers(void)
{
    memset(&one, 0, sizeof(one));
    memset(&two, 0, sizeof(two));
}

static bool one_closed(struct pair *pair)
{
    return one.closed && pair->b.incoming[0].closed;
}

static void test_bytes_both_ways(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair);
    reset_peers();
    pair.b.incoming[0].to_send = 3000000;
    open_stream(&pair.a, &one, TUNNEL_HEADER_MAX, 5000000);
    peer_push(&one);
    pair_wait(&pair, one_closed);
    struct peer *far = &pair.b.incoming[0];
    assert_string_equal(pair.b.kind, "ssh");
    assert_int_equal(pair.b.header_size, TUNNEL_HEADER_MAX);
    assert_int_equal(far->got, 5000000);
    assert_int_equal(one.got, 3000000);
    assert_false(one.broken || far->broken);
    assert_true(one.accepted && one.eof && far->eof);
    assert_int_equal(one.reason, CLOSE_DONE);
    assert_int_equal(far->reason, CLOSE_DONE);
    assert_int_equal(tunnel_stream_count(pair.a.tunnel), 0);
    assert_int_equal(tunnel_stream_count(pair.b.tunnel), 0);
    pair_end(&pair);
}

static bool two_closed(struct pair *pair)
{
    return two.closed && pair->b.incoming[1].closed;
}

static void test_slow_stream_stalls_nobody(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair);
    reset_peers();
    pair.b.incoming[0].slow = true;
    open_stream(&pair.a, &one, 0, 4000000);
    peer_push(&one);
    open_stream(&pair.a, &two, 0, 4000000);
    peer_push(&two);
    pair_wait(&pair, two_closed);
    assert_int_equal(pair.b.incoming[1].got, 4000000);
    assert_int_equal(pair.b.incoming[0].got, TUNNEL_WINDOW); /* bounded memory */
    assert_false(one.closed);
    /* It catches up when its reader does. */
    pair.b.incoming[0].slow = false;
    tunnel_stream_consume(pair.b.incoming[0].stream, TUNNEL_WINDOW);
    pair_wait(&pair, one_closed);
    assert_int_equal(pair.b.incoming[0].got, 4000000);
    pair_end(&pair);
}

static bool far_opened(struct pair *pair)
{
    return pair->b.incoming_count > 0;
}

static void test_reset_carries_reason_and_text(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair);
    reset_peers();
    open_stream(&pair.a, &one, 10, 100);
    pair_wait(&pair, far_opened);
    tunnel_stream_close(pair.b.incoming[0].stream, CLOSE_LOCKED, "locked: \x1b[2Jgone");
    assert_false(pair.b.incoming[0].closed); /* never inside the call */
    pair_wait(&pair, one_closed);
    assert_int_equal(one.reason, CLOSE_LOCKED);
    assert_string_equal(one.text, "locked: ?[2Jgone");
    assert_int_equal(tunnel_stream_count(pair.a.tunnel), 0);
    pair_end(&pair);
}

static bool early_sent(struct pair *pair)
{
    return pair->b.incoming_count == 1 && one.sent == TUNNEL_EARLY && pair->ticks > 20;
}

static void test_bytes_before_accept_wait(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair);
    reset_peers();
    pair.b.hold = true;
    open_stream(&pair.a, &one, 0, 100000);
    peer_push(&one);
    pair_wait(&pair, early_sent);
    assert_false(one.accepted);
    tunnel_stream_accept(pair.b.incoming[0].stream, &peer_events, &pair.b.incoming[0]);
    assert_int_equal(pair.b.incoming[0].got, 0); /* never inside the call */
    peer_push(&pair.b.incoming[0]);
    pair_wait(&pair, one_closed);
    assert_int_equal(pair.b.incoming[0].got, 100000);
    assert_false(pair.b.incoming[0].broken);
    pair_end(&pair);
}

static bool refused(struct pair *pair)
{
    return one.closed && tunnel_stream_count(pair->a.tunnel) == 0 && tunnel_stream_count(pair->b.tunnel) == 0;
}

static void test_refusal_instead_of_accept(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair);
    reset_peers();
    pair.b.hold = true;
    open_stream(&pair.a, &one, 0, 1000);
    peer_push(&one);
    pair_wait(&pair, far_opened);
    tunnel_stream_close(pair.b.incoming[0].stream, CLOSE_ACCESS_DENIED, "no");
    pair_wait(&pair, refused);
    assert_int_equal(one.reason, CLOSE_ACCESS_DENIED);
    assert_string_equal(one.text, "no");
    pair_end(&pair);
}

static void test_unaccepted_stream_outlives_tunnel(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair);
    reset_peers();
    pair.b.hold = true;
    open_stream(&pair.a, &one, 0, 1000);
    peer_push(&one);
    pair_wait(&pair, far_opened);
    struct tunnel_stream *stream = pair.b.incoming[0].stream;
    tunnel_close(pair.a.tunnel, CLOSE_REPLACED);
    pair_wait(&pair, both_closed);
    assert_int_equal(pair.b.reason, CLOSE_REPLACED); /* the peer is told why */
    assert_int_equal(one.reason, CLOSE_TARGET_OFFLINE);
    tunnel_stream_accept(stream, &peer_events, &pair.b.incoming[0]);
    pair.left = 1;
    pair_wait(&pair, one_closed);
    assert_int_equal(pair.b.incoming[0].reason, CLOSE_TARGET_OFFLINE);
    pair_end(&pair);
}

static bool drain_seen(struct pair *pair)
{
    return pair->a.drain_seen;
}

static void test_drain_lets_streams_finish(void **state)
{
    (void)state;
    struct pair pair;
    pair_start(&pair);
    reset_peers();
    pair.b.incoming[0].echo_end = true;
    pair.b.incoming[0].to_send = 0;
    pair.b.hold = true;
    open_stream(&pair.a, &one, 0, 200000);
    pair_wait(&pair, far_opened);
    tunnel_drain(pair.b.tunnel);
    pair_wait(&pair, drain_seen);
    struct tunnel_stream *none = NULL;
    assert_int_equal(tunnel_stream_open(pair.a.tunnel, "ssh", NULL, 0, &peer_events, &two, &none), TP_UNAVAILABLE);
    assert_int_equal(tunnel_stream_open(pair.b.tunnel, "ssh", NULL, 0, &peer_events, &two, &none), TP_UNAVAILABLE);
    assert_false(pair.b.closed);
    tunnel_stream_accept(pair.b.incoming[0].stream, &peer_events, &pair.b.incoming[0]);
    peer_push(&one);
    peer_push(&pair.b.incoming[0]);
    pair_wait(&pair, both_closed);
    assert_int_equal(pair.b.incoming[0].got, 200000);
    assert_int_equal(one.reason, CLOSE_DONE);
    assert_int_equal(pair.b.reason, CLOSE_DRAIN);
    assert_int_equal(pair.a.reason, CLOSE_DRAIN);
    pair_end(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_both_ways),
        cmocka_unit_test(test_slow_stream_stalls_nobody),
        cmocka_unit_test(test_reset_carries_reason_and_text),
        cmocka_unit_test(test_bytes_before_accept_wait),
        cmocka_unit_test(test_refusal_instead_of_accept),
        cmocka_unit_test(test_unaccepted_stream_outlives_tunnel),
        cmocka_unit_test(test_drain_lets_streams_finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

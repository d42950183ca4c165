/* Two tunnels over a socketpair of plain streams, and one tunnel fed by hand. */
#include "base/mem.h"
#include "tunnel/tunnel_inner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
/* cmocka wants the headers above. */
#include <cmocka.h>

struct side;

/* One stream as a test sees it. */
struct peer {
    struct side *side;
    struct tunnel_stream *stream;
    size_t to_send;
    size_t sent;
    size_t got;
    uint32_t seed_out, seed_in;
    bool broken; /* bytes came out of order */
    bool slow;   /* does not consume */
    bool echo_end;
    bool eof;
    bool accepted;
    bool closed;
    enum close_reason reason;
    char text[256];
};

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

static uint8_t next_byte(uint32_t *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return (uint8_t)(*seed >> 16);
}

static void peer_push(struct peer *peer)
{
    uint8_t block[40000];
    while (peer->sent < peer->to_send) {
        size_t size = peer->to_send - peer->sent < sizeof(block) ? peer->to_send - peer->sent : sizeof(block);
        uint32_t seed = peer->seed_out;
        for (size_t i = 0; i < size; i++) {
            block[i] = next_byte(&seed);
        }
        size_t took = tunnel_stream_write(peer->stream, block, size);
        for (size_t i = 0; i < took; i++) {
            (void)next_byte(&peer->seed_out);
        }
        peer->sent += took;
        if (took < size) {
            return;
        }
    }
    tunnel_stream_shutdown(peer->stream);
}

static void peer_on_accept(void *ctx)
{
    ((struct peer *)ctx)->accepted = true;
}

static void peer_on_data(void *ctx, const uint8_t *data, size_t size)
{
    struct peer *peer = ctx;
    for (size_t i = 0; i < size; i++) {
        peer->broken |= data[i] != next_byte(&peer->seed_in);
    }
    peer->got += size;
    if (!peer->slow) {
        tunnel_stream_consume(peer->stream, size);
    }
}

static void peer_on_eof(void *ctx)
{
    struct peer *peer = ctx;
    peer->eof = true;
    if (peer->echo_end) {
        peer_push(peer);
    }
}

static void peer_on_writable(void *ctx)
{
    peer_push(ctx);
}

static void peer_on_close(void *ctx, enum close_reason reason, const char *text)
{
    struct peer *peer = ctx;
    assert_false(peer->closed);
    peer->closed = true;
    peer->reason = reason;
    (void)snprintf(peer->text, sizeof(peer->text), "%s", text);
}

static const struct tunnel_stream_events peer_events = {
    .on_accept = peer_on_accept,
    .on_data = peer_on_data,
    .on_eof = peer_on_eof,
    .on_writable = peer_on_writable,
    .on_close = peer_on_close,
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
    peer->side = side;
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
    peer->side = side;
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
    (void)pair;
    return two.closed;
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

/* ---- one tunnel fed by hand ---- */

struct fake {
    struct loop *loop;
    struct tunnel *tunnel;
    struct buf out;
    bool full, closed, told, refuse;
    enum close_reason reason;
    struct tunnel_stream *incoming;
    size_t opened;
    struct peer peer;
};

static void fake_write(void *ctx, const void *data, size_t size)
{
    (void)buf_append(&((struct fake *)ctx)->out, data, size);
}

static size_t fake_queued(const void *ctx)
{
    (void)ctx;
    return 0;
}

static bool fake_is_full(const void *ctx)
{
    return ((const struct fake *)ctx)->full;
}

static void fake_close(void *ctx, enum close_reason reason)
{
    struct fake *fake = ctx;
    fake->closed = true;
    fake->reason = reason;
}

static const struct tunnel_transport fake_transport = {fake_write, fake_queued, fake_is_full, fake_close};

static void fake_on_open(void *ctx, struct tunnel_stream *stream, const char *kind, const uint8_t *header, size_t size)
{
    struct fake *fake = ctx;
    (void)kind;
    (void)header;
    (void)size;
    fake->opened++;
    fake->incoming = stream;
    fake->peer.stream = stream;
    if (fake->refuse) {
        tunnel_stream_close(stream, CLOSE_LOCKED, NULL);
        return;
    }
    tunnel_stream_accept(stream, &peer_events, &fake->peer);
}

static void fake_on_close(void *ctx, enum close_reason reason)
{
    (void)reason;
    ((struct fake *)ctx)->told = true;
}

static const struct tunnel_events fake_events = {.on_open = fake_on_open, .on_close = fake_on_close};

static void fake_start(struct fake *fake)
{
    memset(fake, 0, sizeof(*fake));
    fake->loop = loop_new();
    buf_init(&fake->out, 0);
    fake->tunnel = tunnel_new_over(fake->loop, &fake_transport, fake, false, &fake_events, fake);
    static const uint8_t hello[] = {1, 0, 0, 8, 0, 0, 0, 0, 'T', 'P', 'T', 'N', 0, 1, 0, 9};
    for (size_t i = 0; i < sizeof(hello); i++) {
        tunnel_feed(fake->tunnel, hello + i, 1); /* byte by byte */
    }
}

static void fake_end(struct fake *fake)
{
    tunnel_transport_closed(fake->tunnel, CLOSE_PEER_RESET);
    assert_true(fake->told);
    buf_free(&fake->out);
    loop_free(fake->loop);
}

static void put(struct fake *fake, enum frame_type type, uint8_t flags, uint32_t id, const void *payload, size_t size)
{
    uint8_t header[FRAME_HEADER_SIZE];
    frame_encode(&(struct frame){.type = type, .flags = flags, .size = (uint16_t)size, .id = id}, header);
    tunnel_feed(fake->tunnel, header, sizeof(header));
    if (size > 0) {
        tunnel_feed(fake->tunnel, payload, size);
    }
}

static const uint8_t open_payload[] = {3, 's', 's', 'h', 'x'};
static const uint8_t reset_payload[] = {4, 'd', 'o', 'n', 'e'};
static uint8_t zeros[FRAME_PAYLOAD_MAX];

static void put_open(struct fake *fake, uint32_t id)
{
    put(fake, FRAME_OPEN, 0, id, open_payload, sizeof(open_payload));
}

static void test_violations(void **state)
{
    (void)state;
    static const uint8_t credit_zero[4] = {0};
    static const uint8_t credit_one[4] = {0, 0, 0, 1};
    struct fake fake;
    for (int which = 0; which < 16; which++) {
        fake_start(&fake);
        put_open(&fake, 1);
        assert_int_equal(fake.opened, 1);
        assert_false(fake.closed);
        switch (which) {
        case 0: /* id used before */
            put_open(&fake, 1);
            break;
        case 1: /* id of the wrong side */
            put_open(&fake, 4);
            break;
        case 2: /* data for a stream that never was */
            put(&fake, FRAME_DATA, 0, 3, zeros, 1);
            break;
        case 3: /* reset for one that never was */
            put(&fake, FRAME_RESET, 0, 3, reset_payload, sizeof(reset_payload));
            break;
        case 4: /* data after end */
            put(&fake, FRAME_END, 0, 1, NULL, 0);
            put(&fake, FRAME_DATA, 0, 1, zeros, 1);
            break;
        case 5: /* more than the window */
            for (size_t i = 0; i <= TUNNEL_WINDOW / FRAME_PAYLOAD_MAX; i++) {
                put(&fake, FRAME_DATA, 0, 1, zeros, FRAME_PAYLOAD_MAX);
            }
            break;
        case 6: /* credit that was never used */
            put(&fake, FRAME_CREDIT, 0, 1, credit_one, 4);
            break;
        case 7:
            put(&fake, FRAME_CREDIT, 0, 1, credit_zero, 4);
            break;
        case 8: /* accept from the opener */
            put(&fake, FRAME_ACCEPT, 0, 1, NULL, 0);
            break;
        case 9: /* twice hello */
            tunnel_feed(fake.tunnel, (const uint8_t *)"\1\0\0\10\0\0\0\0TPTN\0\1\0\1", 16);
            break;
        case 10: /* two resets */
            put(&fake, FRAME_RESET, 0, 1, reset_payload, sizeof(reset_payload));
            put(&fake, FRAME_RESET, 0, 1, reset_payload, sizeof(reset_payload));
            break;
        case 11: /* pong without ping */
            put(&fake, FRAME_PONG, 0, 0, zeros, 8);
            break;
        case 12: /* drain answered without one */
            put(&fake, FRAME_DRAIN, FRAME_FLAG_ACK, 0, NULL, 0);
            break;
        case 13: /* header that is not continued at once */
            put(&fake, FRAME_OPEN, FRAME_FLAG_MORE, 3, open_payload, sizeof(open_payload));
            put(&fake, FRAME_PING, 0, 0, zeros, 8);
            break;
        case 14: /* header past its limit */
            put(&fake, FRAME_OPEN, FRAME_FLAG_MORE, 3, open_payload, sizeof(open_payload));
            for (int i = 0; i < 3; i++) {
                put(&fake, FRAME_OPEN, FRAME_FLAG_MORE, 3, zeros, FRAME_PAYLOAD_MAX);
            }
            break;
        case 15: /* unknown type */
            tunnel_feed(fake.tunnel, (const uint8_t *)"\13\0\0\0\0\0\0\0", 8);
            break;
        default:
            break;
        }
        if (!fake.closed || fake.reason != CLOSE_PROTOCOL_ERROR) {
            fail_msg("violation %d was not punished", which);
        }
        fake_end(&fake);
    }
}

static void test_reset_is_answered_once(void **state)
{
    (void)state;
    struct fake fake;
    fake_start(&fake);
    put_open(&fake, 1);
    tunnel_stream_close(fake.incoming, CLOSE_LOCKED, "gone");
    assert_int_equal(tunnel_stream_count(fake.tunnel), 1);
    /* What the peer sent before it saw our reset is dropped without fuss. */
    put(&fake, FRAME_DATA, 0, 1, zeros, 100);
    put(&fake, FRAME_END, 0, 1, NULL, 0);
    size_t before = buf_size(&fake.out);
    put(&fake, FRAME_RESET, 0, 1, reset_payload, sizeof(reset_payload));
    assert_int_equal(buf_size(&fake.out), before);
    assert_int_equal(tunnel_stream_count(fake.tunnel), 0);
    assert_false(fake.closed);
    fake_end(&fake);
    assert_true(fake.peer.closed);
    assert_int_equal(fake.peer.reason, CLOSE_LOCKED);
    assert_int_equal(fake.peer.got, 0);
}

static void test_limits(void **state)
{
    (void)state;
    struct fake fake;
    fake_start(&fake);
    fake.refuse = true; /* and the peer never answers the resets */
    for (uint32_t i = 0; i < TUNNEL_STREAMS_MAX; i++) {
        put_open(&fake, 1 + 2 * i);
    }
    assert_false(fake.closed);
    put_open(&fake, 1 + 2 * TUNNEL_STREAMS_MAX);
    assert_true(fake.closed);
    fake_end(&fake);
}

static void test_pings_do_not_fill_the_queue(void **state)
{
    (void)state;
    struct fake fake;
    fake_start(&fake);
    fake.full = true;
    size_t before = buf_size(&fake.out);
    for (int i = 0; i < 1000; i++) {
        put(&fake, FRAME_PING, 0, 0, zeros, 8);
    }
    assert_int_equal(buf_size(&fake.out), before);
    fake.full = false;
    tunnel_transport_drained(fake.tunnel);
    assert_int_equal(buf_size(&fake.out), before + 16);
    fake_end(&fake);
}

static void test_silence_kills(void **state)
{
    (void)state;
    struct fake fake;
    fake_start(&fake);
    int64_t now = loop_now_ms(fake.loop);
    tunnel_tick(fake.tunnel, now + 14000);
    tunnel_tick(fake.tunnel, now + 29000);
    assert_false(fake.closed);
    tunnel_tick(fake.tunnel, now + 44000);
    assert_true(fake.closed);
    assert_int_equal(fake.reason, CLOSE_KEEPALIVE_TIMEOUT);
    fake_end(&fake);
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
        cmocka_unit_test(test_violations),
        cmocka_unit_test(test_reset_is_answered_once),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_pings_do_not_fill_the_queue),
        cmocka_unit_test(test_silence_kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

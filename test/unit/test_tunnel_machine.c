/* One tunnel fed frame by frame by a peer that follows no rules. */
#include "tunnel_peer.h"

struct fake {
    struct loop *loop;
    struct tunnel *tunnel;
    struct buf out;
    bool full, closed, told, refuse;
    uint32_t rtt_us;
    enum close_reason reason;
    struct tunnel_stream *incoming;
    size_t opened;
    struct peer peer;
    struct peer *many; /* one for each stream, in place of peer */
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

static uint32_t fake_rtt_us(const void *ctx)
{
    return ((const struct fake *)ctx)->rtt_us;
}

static const struct tunnel_transport fake_transport = {fake_write, fake_queued, fake_is_full, fake_close, fake_rtt_us};

static void fake_on_open(void *ctx, struct tunnel_stream *stream, const char *kind, const uint8_t *header, size_t size)
{
    struct fake *fake = ctx;
    (void)kind;
    (void)header;
    (void)size;
    struct peer *peer = fake->many ? &fake->many[fake->opened] : &fake->peer;
    fake->opened++;
    fake->incoming = stream;
    peer->stream = stream;
    if (fake->refuse) {
        tunnel_stream_close(stream, CLOSE_LOCKED, NULL);
        return;
    }
    tunnel_stream_accept(stream, &peer_events, peer);
}

static void fake_on_close(void *ctx, enum close_reason reason)
{
    (void)reason;
    ((struct fake *)ctx)->told = true;
}

static const struct tunnel_events fake_events = {.on_open = fake_on_open, .on_close = fake_on_close};

static void fake_start_as(struct fake *fake, uint8_t version, bool dialler)
{
    memset(fake, 0, sizeof(*fake));
    fake->loop = loop_new();
    buf_init(&fake->out, 0);
    fake->tunnel = tunnel_new_over(fake->loop, &fake_transport, fake, dialler, &fake_events, fake);
    const uint8_t hello[] = {1, 0, 0, 8, 0, 0, 0, 0, 'T', 'P', 'T', 'N', 0, 1, 0, version};
    for (size_t i = 0; i < sizeof(hello); i++) {
        tunnel_feed(fake->tunnel, hello + i, 1); /* byte by byte */
    }
}

static void fake_start(struct fake *fake)
{
    fake_start_as(fake, 9, false);
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
    for (int which = 0; which < 17; which++) {
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
            tunnel_feed(fake.tunnel, (const uint8_t *)"\14\0\0\0\0\0\0\0", 8);
            break;
        case 16: /* blocked after end */
            put(&fake, FRAME_END, 0, 1, NULL, 0);
            put(&fake, FRAME_BLOCKED, 0, 1, NULL, 0);
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

/* All credit that was sent since the last look, and how many blocked frames. */
static uint32_t taken_credit(struct fake *fake, size_t *ret_blocked)
{
    uint32_t sum = 0;
    *ret_blocked = 0;
    while (buf_size(&fake->out) >= FRAME_HEADER_SIZE) {
        struct frame frame;
        assert_int_equal(frame_decode(buf_head(&fake->out), &frame), TP_OK);
        const uint8_t *payload = buf_head(&fake->out) + FRAME_HEADER_SIZE;
        if (frame.type == FRAME_CREDIT) {
            sum += (uint32_t)payload[0] << 24 | (uint32_t)payload[1] << 16 | (uint32_t)payload[2] << 8 | payload[3];
        }
        *ret_blocked += frame.type == FRAME_BLOCKED;
        buf_consume(&fake->out, FRAME_HEADER_SIZE + frame.size);
    }
    return sum;
}

static void turn_over(void *ctx)
{
    loop_stop(((struct fake *)ctx)->loop);
}

/* What was put off to the end of the turn is done. */
static void fake_turn(struct fake *fake)
{
    struct later last = {.fn = turn_over, .ctx = fake};
    later_run(fake->loop, &last);
    loop_run(fake->loop);
}

/* The peer sends all that it may and says that it would send more; *allowed is what it may send then. */
static void fill_window(struct fake *fake, uint32_t id, uint32_t *allowed)
{
    size_t blocked;
    while (*allowed > 0) {
        uint32_t piece = *allowed < FRAME_PAYLOAD_MAX ? *allowed : FRAME_PAYLOAD_MAX;
        put(fake, FRAME_DATA, 0, id, zeros, piece);
        *allowed -= piece;
    }
    put(fake, FRAME_BLOCKED, 0, id, NULL, 0);
    assert_false(fake->closed);
    *allowed = taken_credit(fake, &blocked);
}

static void test_window_grows_while_its_reader_keeps_up(void **state)
{
    (void)state;
    struct fake fake;
    uint32_t allowed = TUNNEL_WINDOW;
    fake_start(&fake);
    put_open(&fake, 1);
    fake_turn(&fake);
    fill_window(&fake, 1, &allowed);
    assert_int_equal(allowed, 2 * TUNNEL_WINDOW);
    for (int i = 0; i < 6; i++) {
        fill_window(&fake, 1, &allowed);
        assert_true(allowed <= TUNNEL_WINDOW_MAX);
    }
    assert_true(allowed > TUNNEL_WINDOW_MAX / 4 * 3);
    /* A reader that stops holds one window and no more, whatever the sender says. */
    fake.peer.slow = true;
    fill_window(&fake, 1, &allowed);
    assert_int_equal(allowed, 0);
    put(&fake, FRAME_DATA, 0, 1, zeros, 1);
    assert_true(fake.closed);
    assert_int_equal(fake.reason, CLOSE_PROTOCOL_ERROR);
    fake_end(&fake);
}

static void test_slow_readers_window_does_not_grow(void **state)
{
    (void)state;
    struct fake fake;
    uint32_t allowed = TUNNEL_WINDOW;
    fake_start(&fake);
    put_open(&fake, 1);
    fake_turn(&fake);
    fake.peer.slow = true;
    fill_window(&fake, 1, &allowed);
    assert_int_equal(allowed, 0);
    /* When it has caught up, it may. */
    fake.peer.slow = false;
    tunnel_stream_consume(fake.incoming, TUNNEL_WINDOW);
    fill_window(&fake, 1, &allowed);
    assert_int_equal(allowed, 2 * TUNNEL_WINDOW);
    fake_end(&fake);
}

static void test_windows_of_one_tunnel_grow_to_a_sum(void **state)
{
    (void)state;
    struct fake fake;
    size_t sum = 0;
    uint32_t allowed = 0;
    struct peer peers[65];
    memset(peers, 0, sizeof(peers));
    fake_start(&fake);
    fake.many = peers;
    for (uint32_t i = 0; i < 64; i++) {
        allowed = TUNNEL_WINDOW;
        put_open(&fake, 1 + 2 * i);
        fake_turn(&fake);
        for (int round = 0; round < 6; round++) {
            fill_window(&fake, 1 + 2 * i, &allowed);
        }
        sum += allowed > TUNNEL_WINDOW ? allowed - TUNNEL_WINDOW : 0;
        assert_true(i > 0 || allowed > TUNNEL_WINDOW);
    }
    assert_true(sum <= TUNNEL_EXTRA_MAX && sum > TUNNEL_EXTRA_MAX / 2);
    assert_true(allowed <= TUNNEL_WINDOW); /* nothing was left for the last one */
    /* What a stream had is there for others when it has ended. */
    put(&fake, FRAME_END, 0, 1, NULL, 0);
    put(&fake, FRAME_RESET, 0, 1, reset_payload, sizeof(reset_payload));
    fake_turn(&fake);
    (void)taken_credit(&fake, &sum);
    put_open(&fake, 201);
    fake_turn(&fake);
    allowed = TUNNEL_WINDOW;
    fill_window(&fake, 201, &allowed);
    assert_int_equal(allowed, 2 * TUNNEL_WINDOW);
    fake_end(&fake);
}

/* A grown window beside a stream that says a word (of the peer's streams 2 and 4); what the peer may send afterwards. */
static uint32_t window_beside(struct fake *fake, struct peer peers[2], uint32_t first, uint32_t light)
{
    uint32_t allowed = TUNNEL_WINDOW;
    memset(peers, 0, 2 * sizeof(*peers));
    fake->many = peers;
    put_open(fake, first);
    put_open(fake, first + 2);
    fake_turn(fake);
    for (int i = 0; i < 7; i++) {
        fill_window(fake, first, &allowed);
    }
    assert_true(allowed > TUNNEL_WINDOW_MAX / 4 * 3);
    put(fake, FRAME_DATA, 0, light, zeros, 1);
    fill_window(fake, first, &allowed);
    fill_window(fake, first, &allowed);
    assert_true(allowed > TUNNEL_WINDOW_SHARED / 4 * 3);
    return allowed;
}

static void pass_second(struct fake *fake)
{
    struct timer *timer = timer_new(fake->loop, turn_over, fake);
    timer_start(timer, TUNNEL_LIGHT_MS + 1, 0);
    loop_run(fake->loop);
    timer_free(timer);
}

static void test_a_keystroke_waits_behind_a_short_window(void **state)
{
    (void)state;
    struct fake fake;
    struct peer peers[2];
    fake_start_as(&fake, 9, true);
    uint32_t allowed = window_beside(&fake, peers, 2, 4);
    assert_true(allowed <= TUNNEL_WINDOW_SHARED);
    /* Nobody types any more: it grows again. */
    pass_second(&fake);
    for (int i = 0; i < 7; i++) {
        fill_window(&fake, 2, &allowed);
    }
    assert_true(allowed > TUNNEL_WINDOW_MAX / 4 * 3);
    fake_end(&fake);
}

static void test_a_long_way_keeps_its_window(void **state)
{
    (void)state;
    struct fake fake;
    struct peer peers[2];
    fake_start_as(&fake, 9, true);
    fake.rtt_us = 10000;
    assert_true(window_beside(&fake, peers, 2, 4) > TUNNEL_WINDOW_MAX / 4 * 3);
    fake_end(&fake);
    fake_start_as(&fake, 9, true);
    fake.rtt_us = 1000;
    uint32_t allowed = window_beside(&fake, peers, 2, 4);
    assert_true(allowed > TUNNEL_WINDOW_SHARED && allowed < 4 * TUNNEL_WINDOW_SHARED);
    fake_end(&fake);
}

/* Neither its own words nor those on the agent's own streams (reports) make a window short. */
static void test_others_words_only_make_a_window_short(void **state)
{
    (void)state;
    struct fake fake;
    struct peer peers[2];
    fake_start_as(&fake, 9, true);
    assert_true(window_beside(&fake, peers, 2, 2) > TUNNEL_WINDOW_MAX / 4 * 3);
    fake_end(&fake);
    fake_start(&fake);
    assert_true(window_beside(&fake, peers, 1, 3) > TUNNEL_WINDOW_MAX / 4 * 3);
    fake_end(&fake);
}

/* Two that say much share the tunnel as before. */
static void test_two_bulk_streams_both_grow(void **state)
{
    (void)state;
    struct fake fake;
    struct peer peers[2] = {0};
    uint32_t allowed[2] = {TUNNEL_WINDOW, TUNNEL_WINDOW};
    fake_start_as(&fake, 9, true);
    fake.many = peers;
    put_open(&fake, 2);
    put_open(&fake, 4);
    fake_turn(&fake);
    for (int i = 0; i < 16; i++) {
        fill_window(&fake, i % 2 == 0 ? 2 : 4, &allowed[i % 2]);
        if (i == 1) {
            pass_second(&fake); /* their first words were few */
        }
    }
    assert_true(allowed[0] > TUNNEL_WINDOW_MAX / 4 * 3 && allowed[1] > TUNNEL_WINDOW_MAX / 4 * 3);
    fake_end(&fake);
}

static void test_blocked_is_said_and_allows_more(void **state)
{
    (void)state;
    static const uint8_t twice[4] = {0, 8, 0, 0};            /* 512 KB */
    static const uint8_t more_than_twice[4] = {0, 16, 0, 1}; /* 1 MB and a byte */
    struct fake fake;
    size_t blocked;
    fake_start(&fake);
    fake.peer.to_send = 10000000;
    put_open(&fake, 1);
    fake_turn(&fake);
    peer_push(&fake.peer);
    assert_int_equal(fake.peer.sent, TUNNEL_WINDOW);
    (void)taken_credit(&fake, &blocked);
    assert_int_equal(blocked, 1);
    assert_int_equal(tunnel_stream_write(fake.incoming, zeros, 1), 0);
    (void)taken_credit(&fake, &blocked);
    assert_int_equal(blocked, 0); /* once for each time */
    put(&fake, FRAME_CREDIT, 0, 1, twice, 4);
    assert_false(fake.closed);
    assert_int_equal(fake.peer.sent, 3 * TUNNEL_WINDOW);
    (void)taken_credit(&fake, &blocked);
    assert_int_equal(blocked, 1);
    put(&fake, FRAME_CREDIT, 0, 1, more_than_twice, 4);
    assert_true(fake.closed);
    assert_int_equal(fake.reason, CLOSE_PROTOCOL_ERROR);
    fake_end(&fake);
}

static void test_blocked_belongs_to_version_2(void **state)
{
    (void)state;
    struct fake fake;
    size_t blocked;
    fake_start_as(&fake, 1, false);
    put_open(&fake, 1);
    fake_turn(&fake);
    for (size_t sent = 0; sent < TUNNEL_WINDOW;) {
        sent += tunnel_stream_write(fake.incoming, zeros, sizeof(zeros));
    }
    assert_int_equal(tunnel_stream_write(fake.incoming, zeros, 1), 0);
    (void)taken_credit(&fake, &blocked);
    assert_int_equal(blocked, 0);
    put(&fake, FRAME_BLOCKED, 0, 1, NULL, 0);
    assert_true(fake.closed);
    fake_end(&fake);
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
        cmocka_unit_test(test_violations),
        cmocka_unit_test(test_window_grows_while_its_reader_keeps_up),
        cmocka_unit_test(test_slow_readers_window_does_not_grow),
        cmocka_unit_test(test_windows_of_one_tunnel_grow_to_a_sum),
        cmocka_unit_test(test_a_keystroke_waits_behind_a_short_window),
        cmocka_unit_test(test_a_long_way_keeps_its_window),
        cmocka_unit_test(test_others_words_only_make_a_window_short),
        cmocka_unit_test(test_two_bulk_streams_both_grow),
        cmocka_unit_test(test_blocked_is_said_and_allows_more),
        cmocka_unit_test(test_blocked_belongs_to_version_2),
        cmocka_unit_test(test_reset_is_answered_once),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_pings_do_not_fill_the_queue),
        cmocka_unit_test(test_silence_kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

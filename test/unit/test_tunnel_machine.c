/* One tunnel fed frame by frame by a peer that follows no rules. */
#include "tunnel_peer.h"

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
        cmocka_unit_test(test_violations),    cmocka_unit_test(test_reset_is_answered_once),
        cmocka_unit_test(test_limits),        cmocka_unit_test(test_pings_do_not_fill_the_queue),
        cmocka_unit_test(test_silence_kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

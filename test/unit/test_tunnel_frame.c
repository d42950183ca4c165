/* Frames: encoding and decoding round-trip, and what must be refused. */
#include "tunnel/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* cmocka wants the headers above. */
#include <cmocka.h>

static void test_round_trip(void **state)
{
    (void)state;
    struct frame in = {.type = FRAME_DATA, .flags = 0, .size = 16376, .id = 0x80000001};
    struct frame out;
    uint8_t header[FRAME_HEADER_SIZE];
    frame_encode(&in, header);
    assert_memory_equal(header, "\x04\x00\x3f\xf8\x80\x00\x00\x01", 8);
    assert_int_equal(frame_decode(header, &out), TP_OK);
    assert_int_equal(out.type, FRAME_DATA);
    assert_int_equal(out.size, 16376);
    assert_int_equal(out.id, 0x80000001);
}

static void test_headers_refused(void **state)
{
    (void)state;
    static const uint8_t bad[][FRAME_HEADER_SIZE] = {
        {0, 0, 0, 0, 0, 0, 0, 0},       /* no such type */
        {12, 0, 0, 0, 0, 0, 0, 1},      /* no such type */
        {11, 0, 0, 0, 0, 0, 0, 0},      /* blocked: no stream */
        {11, 0, 0, 1, 0, 0, 0, 1},      /* blocked with a payload */
        {4, 0, 0x3f, 0xf9, 0, 0, 0, 1}, /* larger than a record */
        {4, 0, 0, 0, 0, 0, 0, 1},       /* empty data */
        {4, 1, 0, 1, 0, 0, 0, 1},       /* flag unknown for data */
        {4, 0, 0, 1, 0, 0, 0, 0},       /* data for the tunnel itself */
        {5, 0, 0, 3, 0, 0, 0, 1},       /* short credit */
        {8, 0, 0, 8, 0, 0, 0, 1},       /* ping on a stream */
        {3, 0, 0, 1, 0, 0, 0, 1},       /* accept with a payload */
        {10, 2, 0, 0, 0, 0, 0, 0},      /* flag unknown for drain */
    };
    struct frame out;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(frame_decode(bad[i], &out), TP_PROTOCOL);
    }
}

static void test_reset_texts(void **state)
{
    (void)state;
    uint8_t payload[FRAME_RESET_MAX];
    char text[FRAME_TEXT_MAX + 1];
    enum close_reason reason;
    size_t size = frame_reset_encode(CLOSE_LOCKED, "접근 \x07 ok", payload);
    assert_int_equal(frame_reset_decode(payload, size, &reason, text), TP_OK);
    assert_int_equal(reason, CLOSE_LOCKED);
    assert_string_equal(text, "접근 ? ok");
    /* Too long a text is cut between characters. */
    char big[3000];
    for (size_t i = 0; i + 3 < sizeof(big); i += 3) {
        memcpy(big + i, "가", 4);
    }
    size = frame_reset_encode(CLOSE_LOCKED, big, payload);
    assert_int_equal(frame_reset_decode(payload, size, &reason, text), TP_OK);
    assert_int_equal(strlen(text), 1023);
    /* Names of later versions are an internal error, "none" is no reason to end. */
    assert_int_equal(frame_reset_decode((const uint8_t *)"\5later", 6, &reason, text), TP_OK);
    assert_int_equal(reason, CLOSE_INTERNAL);
    assert_int_equal(frame_reset_decode((const uint8_t *)"\4none", 5, &reason, text), TP_OK);
    assert_int_equal(reason, CLOSE_INTERNAL);
    assert_int_equal(frame_reset_decode((const uint8_t *)"\6short", 6, &reason, text), TP_PROTOCOL);
    assert_int_equal(frame_reset_decode((const uint8_t *)"\0", 1, &reason, text), TP_PROTOCOL);
}

static void test_kinds(void **state)
{
    (void)state;
    char kind[FRAME_KIND_MAX + 1];
    size_t used;
    assert_int_equal(frame_kind_decode((const uint8_t *)"\3sshgrant", 9, kind, &used), TP_OK);
    assert_string_equal(kind, "ssh");
    assert_int_equal(used, 4);
    assert_int_equal(frame_kind_decode((const uint8_t *)"\0", 1, kind, &used), TP_PROTOCOL);
    assert_int_equal(frame_kind_decode((const uint8_t *)"\3SSH", 4, kind, &used), TP_PROTOCOL);
    assert_int_equal(frame_kind_decode((const uint8_t *)"\4ssh", 4, kind, &used), TP_PROTOCOL);
    assert_int_equal(frame_kind_decode((const uint8_t *)"\21aaaaaaaaaaaaaaaaa", 18, kind, &used), TP_PROTOCOL);
}

static void test_halves(void **state)
{
    (void)state;
    enum half_state half = HALF_OPENING;
    assert_false(half_step(&half, FRAME_DATA));
    assert_true(half_step(&half, FRAME_ACCEPT));
    assert_true(half_step(&half, FRAME_DATA));
    assert_true(half_step(&half, FRAME_END));
    assert_true(half_step(&half, FRAME_CREDIT));
    assert_false(half_step(&half, FRAME_DATA));
    assert_true(half_step(&half, FRAME_RESET));
    assert_false(half_step(&half, FRAME_CREDIT));
    assert_false(half_step(&half, FRAME_RESET));
    assert_int_equal(half, HALF_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_headers_refused), cmocka_unit_test(test_reset_texts),
        cmocka_unit_test(test_kinds),      cmocka_unit_test(test_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A piece of a recording comes out as it went in; what is neither of its forms is refused. */
#include "base/enc.h"
#include "base/mem.h"
#include "core/loop.h"
#include "recording/piece.h"
#include "recording/recorder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <zlib.h>
/* cmocka wants the headers above. */
#include <cmocka.h>

static uint8_t data[PIECE_MAX + 1];

static size_t there_and_back(size_t size)
{
    struct buf out;
    buf_init(&out, PIECE_MAX * 2);
    assert_int_equal(buf_append(&out, "before", 6), TP_OK);
    char *text = piece_pack(data, size);
    size_t length = strlen(text);
    assert_int_equal(piece_unpack(text, &out), TP_OK);
    assert_int_equal(buf_size(&out), 6 + size);
    assert_memory_equal(buf_head(&out) + 6, data, size);
    mem_free(text);
    buf_free(&out);
    return length;
}

static void test_round_trip(void **state)
{
    (void)state;
    uint32_t seed = 1;
    memset(data, 'x', sizeof(data)); /* the first byte of compressed text is an x, too */
    assert_int_equal(there_and_back(0), 0);
    assert_int_equal(there_and_back(3), 4);
    assert_true(there_and_back(100000) < 1000);
    assert_true(there_and_back(PIECE_MAX) < 2000);
    for (size_t i = 0; i < sizeof(data); i++) {
        seed = seed * 1103515245 + 12345;
        data[i] = (uint8_t)(seed >> 16);
    }
    assert_int_equal(there_and_back(100), 136);
    assert_int_equal(there_and_back(PIECE_MAX), (PIECE_MAX + 2) / 3 * 4);
}

/* text of size bytes of what is packed, and of more behind it. */
static char *packed(size_t size, size_t less, const char *more)
{
    struct buf bytes;
    uLongf packed_size = compressBound((uLong)size);
    buf_init(&bytes, 0);
    assert_int_equal(compress2(buf_reserve(&bytes, packed_size), &packed_size, data, (uLong)size, 1), Z_OK);
    buf_commit(&bytes, packed_size - less);
    assert_int_equal(buf_append(&bytes, more, strlen(more)), TP_OK);
    char *base64 = enc_base64(buf_head(&bytes), buf_size(&bytes));
    char *text = mem_printf("zlib:%s", base64);
    mem_free(base64);
    buf_free(&bytes);
    return text;
}

static void expect(char *text, size_t limit, enum tp_err err)
{
    struct buf out;
    buf_init(&out, limit);
    assert_int_equal(piece_unpack(text, &out), err);
    if (err != TP_OK) {
        assert_int_equal(buf_size(&out), 0);
    }
    buf_free(&out);
    mem_free(text);
}

static void test_broken(void **state)
{
    (void)state;
    memset(data, 0, sizeof(data));
    expect(packed(PIECE_MAX, 0, ""), PIECE_MAX, TP_OK);
    expect(packed(PIECE_MAX, 0, ""), PIECE_MAX - 1, TP_TOO_LARGE);
    expect(packed(PIECE_MAX + 1, 0, ""), 2 * PIECE_MAX, TP_INVALID); /* what would fill a disk out of a few bytes */
    expect(packed(5000, 1, ""), 2 * PIECE_MAX, TP_INVALID);
    expect(packed(5000, 0, "more"), 2 * PIECE_MAX, TP_INVALID);
    expect(mem_strdup("zlib:"), 2 * PIECE_MAX, TP_INVALID);
    expect(mem_strdup("zlib:AAAA"), 2 * PIECE_MAX, TP_INVALID);
    expect(mem_strdup("zlib:not base64"), 2 * PIECE_MAX, TP_INVALID);
    expect(mem_strdup("gzip:AAAA"), 2 * PIECE_MAX, TP_INVALID);
    expect(mem_strdup("AAAA"), 2, TP_TOO_LARGE);
}

static void on_append(void *ctx, struct recorder *recorder, uint64_t offset, const char *piece)
{
    char **seen = ctx;
    (void)recorder;
    (void)offset;
    assert_null(*seen);
    *seen = mem_strdup(piece);
}

static void ignore(void *ctx)
{
    (void)ctx;
}

/* A host may be newer than auth: what that could not read cost every session that had to be recorded. */
static void test_an_auth_of_before_gets_pieces_as_they_were(void **state)
{
    (void)state;
    memset(data, 'x', sizeof(data));
    for (int allowed = 0; allowed < 2; allowed++) {
        char *seen = NULL;
        struct loop *loop = loop_new();
        struct recorder_sink sink = {.append = on_append, .cancel = ignore, .ctx = &seen};
        struct recorder_options options = {
            .terminal = true, .packed = allowed, .header = {.cols = 80, .rows = 25, .timestamp = 1}};
        struct recorder *recorder = recorder_new(loop, &sink, &options, ignore, NULL);
        recorder_output(recorder, data, 100000);
        recorder_finish(recorder);
        assert_non_null(seen);
        assert_int_equal(strncmp(seen, "zlib:", 5) == 0, allowed);
        mem_free(seen);
        recorder_free(recorder);
        loop_free(loop);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_an_auth_of_before_gets_pieces_as_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

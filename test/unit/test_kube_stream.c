/* Taps on upgraded connections: bytes as kubectl and API servers send them, cut in every way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/wire.h"
#include "kube/kube_stream.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

/* What a tap said, as text. */
struct seen {
    struct buf text;
    struct buf output;
};

static void on_output(void *ctx, const void *data, size_t size)
{
    struct seen *seen = ctx;
    (void)buf_append(&seen->output, data, size);
}

static void on_resize(void *ctx, uint32_t columns, uint32_t rows)
{
    struct seen *seen = ctx;
    (void)buf_printf(&seen->text, "size %ux%u;", (unsigned)columns, (unsigned)rows);
}

static void on_exit_code(void *ctx, int code)
{
    struct seen *seen = ctx;
    (void)buf_printf(&seen->text, "exit %d;", code);
}

static void on_port(void *ctx, unsigned port)
{
    struct seen *seen = ctx;
    (void)buf_printf(&seen->text, "port %u;", port);
}

static const struct kube_stream_events events = {
    .on_output = on_output, .on_resize = on_resize, .on_exit = on_exit_code, .on_port = on_port};

struct piece {
    bool client;
    struct buf bytes;
};

struct talk {
    size_t count;
    struct piece pieces[32];
};

static struct buf *say(struct talk *talk, bool client)
{
    struct piece *piece = &talk->pieces[talk->count++];
    assert_true(talk->count <= 32);
    piece->client = client;
    buf_init(&piece->bytes, 0);
    return &piece->bytes;
}

static void talk_free(struct talk *talk)
{
    for (size_t i = 0; i < talk->count; i++)
        buf_free(&talk->pieces[i].bytes);
}

/* Plays it in pieces of step bytes and returns the result of the first call that fails. */
static enum tp_err play(const struct talk *talk, enum kube_stream_kind kind, const char *protocol, bool portforward,
                        size_t step, struct seen *seen)
{
    struct kube_stream *stream = NULL;
    enum tp_err err = kube_stream_new(kind, protocol, portforward, &events, seen, &stream, NULL);
    assert_int_equal(err, TP_OK);
    for (size_t i = 0; i < talk->count && !err; i++) {
        const uint8_t *at = buf_head(&talk->pieces[i].bytes);
        size_t left = buf_size(&talk->pieces[i].bytes);
        while (left > 0 && !err) {
            size_t size = left < step ? left : step;
            err = talk->pieces[i].client ? kube_stream_client(stream, at, size, NULL)
                                         : kube_stream_server(stream, at, size, NULL);
            at += size;
            left -= size;
        }
    }
    kube_stream_free(stream);
    return err;
}

static void expect(const struct talk *talk, enum kube_stream_kind kind, const char *protocol, bool portforward,
                   const char *text, const char *output)
{
    static const size_t steps[] = {1, 2, 3, 7, 64, 1 << 20};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct seen seen;
        buf_init(&seen.text, 0);
        buf_init(&seen.output, 0);
        assert_int_equal(play(talk, kind, protocol, portforward, steps[i], &seen), TP_OK);
        assert_string_equal(buf_text(&seen.text), text);
        assert_string_equal(buf_text(&seen.output), output);
        buf_free(&seen.text);
        buf_free(&seen.output);
    }
}

static void expect_invalid(const struct talk *talk, enum kube_stream_kind kind)
{
    for (size_t step = 1; step < 100; step += 49) {
        struct seen seen;
        buf_init(&seen.text, 0);
        buf_init(&seen.output, 0);
        assert_int_equal(play(talk, kind, "v4.channel.k8s.io", false, step, &seen), TP_INVALID);
        buf_free(&seen.text);
        buf_free(&seen.output);
    }
}

/* ---- WebSocket ---- */

static void frame(struct buf *out, unsigned head, bool masked, const char *data, size_t size)
{
    static const uint8_t mask[4] = {0x11, 0xa2, 0x33, 0xc4};
    wr_u8(out, (uint8_t)head);
    if (size < 126) {
        wr_u8(out, (uint8_t)((masked ? 0x80 : 0) | size));
    } else {
        wr_u8(out, masked ? 0xfe : 0x7e);
        wr_u16(out, (uint16_t)size);
    }
    if (masked)
        wr_bytes(out, mask, 4);
    for (size_t i = 0; i < size; i++)
        wr_u8(out, (uint8_t)(masked ? (uint8_t)data[i] ^ mask[i % 4] : (uint8_t)data[i]));
}

#define MESSAGE(out, masked, text) frame(out, 0x82, masked, text, sizeof(text) - 1)
#define FAILURE5                                                                                                 \
    "\003{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code: x\"," \
    "\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"5\"}]}}"

static void test_websocket(void **state)
{
    (void)state;
    struct talk talk = {0};
    MESSAGE(say(&talk, false), false, "\001");
    MESSAGE(say(&talk, true), true, "\004{\"Width\":100,\"Height\":30}\n");
    MESSAGE(say(&talk, true), true, "\000typed, never shown");
    MESSAGE(say(&talk, true), true, "\377\000");
    frame(say(&talk, true), 0x89, true, "", 0); /* ping */
    frame(say(&talk, false), 0x8a, false, "", 0);
    MESSAGE(say(&talk, false), false, "\001hello\n");
    MESSAGE(say(&talk, false), false, "\002oops\n");
    /* One message in three frames, a ping between them, the first frame empty. */
    struct buf *out = say(&talk, false);
    frame(out, 0x02, false, "", 0);
    frame(out, 0x00, false, "\001wor", 4);
    frame(out, 0x89, false, "x", 1);
    frame(out, 0x80, false, "ld\n", 3);
    MESSAGE(say(&talk, false), false, FAILURE5);
    frame(say(&talk, false), 0x88, false, "\003\350", 2);
    expect(&talk, KUBE_STREAM_WEBSOCKET, "v5.channel.k8s.io", false, "size 100x30;exit 5;", "hello\noops\nworld\n");
    talk_free(&talk);
}

static void test_websocket_exit_of_other_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *expected;
    } rows[] = {{"\003{\"metadata\":{},\"status\":\"Success\"}", "exit 0;"},
                {"\003", ""},
                {"\003{\"status\":\"Success\"}\n", "exit 0;"},
                {"\003{\"status\":\"Success\",\"message\":\"a \\\"}\\\" in {it\"} and {more}", "exit 0;"},
                {"\003}{\"status\":\"Success\"}", "exit -1;"},
                {"\003error executing command", "exit -1;"},
                {"\003{\"status\":\"Failure\",\"reason\":\"InternalError\"}", "exit -1;"},
                {"\003{\"status\":\"Failure\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"5x\"}]}}",
                 "exit -1;"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct talk talk = {0};
        frame(say(&talk, false), 0x82, false, rows[i].text, strlen(rows[i].text));
        expect(&talk, KUBE_STREAM_WEBSOCKET, "v4.channel.k8s.io", false, rows[i].expected, "");
        talk_free(&talk);
    }
}

/* A client that wants no output is greeted on the error channel; how the command ends comes later. */
static void test_websocket_greeting_is_no_exit(void **state)
{
    (void)state;
    struct talk talk = {0};
    frame(say(&talk, false), 0x82, false, "\003", 1);
    MESSAGE(say(&talk, false), false, FAILURE5);
    expect(&talk, KUBE_STREAM_WEBSOCKET, "v4.channel.k8s.io", false, "exit 5;", "");
    talk_free(&talk);
}

static void test_websocket_refusals(void **state)
{
    (void)state;
    static const struct {
        unsigned head;
        const char *data;
        size_t size;
    } bad[] = {{0xc2, "x", 1}, {0x83, "x", 1}, {0x80, "x", 1}, {0x09, "", 0}, {0x8b, "", 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct talk talk = {0};
        frame(say(&talk, false), bad[i].head, false, bad[i].data, bad[i].size);
        expect_invalid(&talk, KUBE_STREAM_WEBSOCKET);
        talk_free(&talk);
    }
    struct talk talk = {0};
    struct buf *out = say(&talk, false);
    frame(out, 0x02, false, "\001a", 2);
    frame(out, 0x82, false, "\001b", 2); /* a new message inside another */
    expect_invalid(&talk, KUBE_STREAM_WEBSOCKET);
    talk_free(&talk);
}

static void test_protocols(void **state)
{
    (void)state;
    struct kube_stream *stream = NULL;
    assert_int_equal(
        kube_stream_new(KUBE_STREAM_WEBSOCKET, "base64.channel.k8s.io", false, &events, NULL, &stream, NULL),
        TP_INVALID);
    assert_int_equal(kube_stream_new(KUBE_STREAM_WEBSOCKET, "chat", false, &events, NULL, &stream, NULL), TP_INVALID);
    assert_int_equal(kube_stream_new(KUBE_STREAM_SPDY, NULL, false, &events, NULL, &stream, NULL), TP_OK);
    kube_stream_free(stream);
}

/* ---- SPDY ---- */

/* A deflater with SPDY's dictionary, as a client has one. */
struct deflater {
    z_stream z;
};

static void deflater_init(struct deflater *deflater)
{
    /* Without the dictionary every block still inflates: a reader must not need it to be used. */
    memset(deflater, 0, sizeof *deflater);
    assert_int_equal(deflateInit(&deflater->z, 9), Z_OK);
}

static void syn_stream_of(struct deflater *deflater, struct buf *out, uint32_t id, unsigned flags,
                          const struct buf *block)
{
    uint8_t packed[1024];
    deflater->z.next_in = (Bytef *)(uintptr_t)buf_head(block);
    deflater->z.avail_in = (uInt)buf_size(block);
    deflater->z.next_out = packed;
    deflater->z.avail_out = sizeof packed;
    assert_int_equal(deflate(&deflater->z, Z_SYNC_FLUSH), Z_OK);
    size_t size = sizeof packed - deflater->z.avail_out;
    wr_u32(out, 0x80030001);
    wr_u32(out, flags << 24 | (uint32_t)(size + 10));
    wr_u32(out, id);
    wr_u32(out, 0);
    wr_u16(out, 0);
    wr_bytes(out, packed, size);
}

static void put_block(struct buf *block, const char *type, const char *port)
{
    wr_u32(block, port ? 2 : 1);
    wr_cstring(block, "streamtype");
    wr_cstring(block, type);
    if (port) {
        wr_cstring(block, "port");
        wr_cstring(block, port);
    }
}

static void syn_stream(struct deflater *deflater, struct buf *out, uint32_t id, unsigned flags, const char *type,
                       const char *port)
{
    struct buf block;
    buf_init(&block, 0);
    put_block(&block, type, port);
    syn_stream_of(deflater, out, id, flags, &block);
    buf_free(&block);
}

static void rst_stream(struct buf *out, uint32_t id)
{
    wr_u32(out, 0x80030003);
    wr_u32(out, 8);
    wr_u32(out, id);
    wr_u32(out, 5); /* cancel */
}

static void data_frame(struct buf *out, uint32_t id, unsigned flags, const char *text)
{
    wr_u32(out, id);
    wr_u32(out, flags << 24 | (uint32_t)strlen(text));
    wr_bytes(out, text, strlen(text));
}

static void exec_talk(struct talk *talk)
{
    struct deflater deflater;
    deflater_init(&deflater);
    struct buf *out = say(talk, true);
    syn_stream(&deflater, out, 1, 0, "error", NULL);
    syn_stream(&deflater, out, 3, 0, "stdin", NULL);
    syn_stream(&deflater, out, 5, 0, "stdout", NULL);
    syn_stream(&deflater, out, 7, 0, "resize", NULL);
    data_frame(out, 7, 0, "{\"Width\":80,\"Hei");
    data_frame(out, 7, 0, "ght\":25}\n{\"Width\":90,\"Height\":26}\n");
    data_frame(out, 3, 0, "typed");
    data_frame(out, 5, 1, ""); /* the client never writes there */
    out = say(talk, false);
    wr_u32(out, 0x80030006); /* ping */
    wr_u32(out, 4);
    wr_u32(out, 1);
    data_frame(out, 5, 0, "hel");
    data_frame(out, 5, 1, "lo\n");
    data_frame(out, 99, 0, "of no stream");
    data_frame(out, 1, 0, "{\"metadata\":{},\"status\":\"Fail");
    data_frame(out, 1, 1, "ure\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"3\"}]}}");
    assert_int_equal(deflateEnd(&deflater.z), Z_DATA_ERROR); /* ends in the middle of a stream, as it should */
}

static void test_spdy(void **state)
{
    (void)state;
    struct talk talk = {0};
    exec_talk(&talk);
    expect(&talk, KUBE_STREAM_SPDY, "v4.channel.k8s.io", false, "size 80x25;size 90x26;exit 3;", "hello\n");
    talk_free(&talk);
}

/* Servers go on writing there: a client that throws its own stream away and reads on is recorded all the same. */
static void test_output_on_a_stream_that_its_client_has_reset_is_output(void **state)
{
    (void)state;
    struct talk talk = {0};
    struct deflater deflater;
    deflater_init(&deflater);
    struct buf *out = say(&talk, true);
    syn_stream(&deflater, out, 1, 0, "error", NULL);
    syn_stream(&deflater, out, 5, 0, "stdout", NULL);
    rst_stream(out, 1);
    rst_stream(out, 5);
    (void)deflateEnd(&deflater.z);
    out = say(&talk, false);
    data_frame(out, 5, 0, "shown");
    data_frame(out, 1, 1, "of no stream");
    rst_stream(out, 5);
    data_frame(out, 5, 0, "of no stream");
    expect(&talk, KUBE_STREAM_SPDY, "v4.channel.k8s.io", false, "", "shown");
    talk_free(&talk);
}

/* Found in time that grows with their number's logarithm; a client opened thousands, and wrote to each in turn. */
static void test_each_of_many_spdy_streams_is_found(void **state)
{
    (void)state;
    enum { MANY = 500 };
    struct talk talk = {0};
    struct deflater deflater;
    struct buf expected;
    deflater_init(&deflater);
    buf_init(&expected, 0);
    struct buf *out = say(&talk, true);
    uint32_t ids[MANY];
    for (uint32_t i = 0; i < MANY; i++) { /* in no order */
        ids[i] = (i * 7919 % 1009) * 2 + 1;
        syn_stream(&deflater, out, ids[i], 0, i % 3 == 0 ? "stdout" : "stdin", NULL);
    }
    for (uint32_t i = 0; i < MANY; i += 2) /* half of them have ended on both sides after this */
        data_frame(out, ids[i], 1, "");
    (void)deflateEnd(&deflater.z);
    out = say(&talk, false);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = MANY; i-- > 0;) {
            char text[16];
            (void)snprintf(text, sizeof text, "%u,", (unsigned)i);
            data_frame(out, ids[i], i % 2 == 0 ? 1 : 0, text);
            if (i % 3 == 0 && (round == 0 || i % 2 != 0))
                (void)buf_append_text(&expected, text);
        }
    }
    expect(&talk, KUBE_STREAM_SPDY, "v4.channel.k8s.io", false, "", buf_text(&expected));
    buf_free(&expected);
    talk_free(&talk);
}

/* Go's reader takes as many headers as the block counts, and finds the rest in front of the next stream's: there "stdin" would
 * be the value of a header, and the stream standard output. */
static void test_spdy_blocks_have_nothing_behind_them(void **state)
{
    (void)state;
    struct talk talk = {0};
    struct deflater deflater;
    struct buf block;
    struct buf next;
    buf_init(&block, 0);
    buf_init(&next, 0);
    put_block(&next, "stdin", NULL);
    put_block(&block, "stdin", NULL);
    wr_u32(&block, 2);
    wr_cstring(&block, "streamtype");
    wr_cstring(&block, "stdout");
    wr_cstring(&block, "x");
    wr_u32(&block, (uint32_t)buf_size(&next));
    deflater_init(&deflater);
    struct buf *out = say(&talk, true);
    syn_stream_of(&deflater, out, 3, 0, &block);
    (void)deflateEnd(&deflater.z);
    expect_invalid(&talk, KUBE_STREAM_SPDY);
    talk_free(&talk);

    talk.count = 0;
    buf_clear(&block);
    wr_u32(&block, 2); /* and one comes */
    wr_cstring(&block, "streamtype");
    wr_cstring(&block, "stdout");
    deflater_init(&deflater);
    syn_stream_of(&deflater, say(&talk, true), 3, 0, &block);
    (void)deflateEnd(&deflater.z);
    expect_invalid(&talk, KUBE_STREAM_SPDY);
    talk_free(&talk);
    buf_free(&block);
    buf_free(&next);
}

static void test_spdy_in_websocket(void **state)
{
    (void)state;
    struct talk inner = {0};
    struct talk talk = {0};
    struct deflater deflater;
    deflater_init(&deflater);
    struct buf *out = say(&inner, true);
    syn_stream(&deflater, out, 1, 0, "error", "8080");
    syn_stream(&deflater, out, 3, 0, "data", "8080");
    data_frame(out, 3, 0, "GET / HTTP/1.0\r\n\r\n");
    (void)deflateEnd(&deflater.z);
    /* Messages end in the middle of SPDY frames. */
    const char *bytes = (const char *)buf_head(out);
    size_t size = buf_size(out);
    frame(say(&talk, true), 0x82, true, bytes, 11);
    frame(say(&talk, true), 0x82, true, bytes + 11, size - 11);
    expect(&talk, KUBE_STREAM_WEBSOCKET, "SPDY/3.1+portforward.k8s.io", true, "port 8080;", "");
    talk_free(&inner);
    talk_free(&talk);
}

static void test_spdy_refusals(void **state)
{
    (void)state;
    struct deflater deflater;
    struct talk talk = {0};
    struct buf *out = say(&talk, true);
    wr_u32(out, 0x80020001); /* version 2 */
    wr_u32(out, 10);
    expect_invalid(&talk, KUBE_STREAM_SPDY);
    talk_free(&talk);

    talk.count = 0;
    out = say(&talk, true);
    wr_u32(out, 0x80030001); /* a block that does not inflate */
    wr_u32(out, 14);
    wr_bytes(out, "\0\0\0\1\0\0\0\0\0\0junk", 14);
    expect_invalid(&talk, KUBE_STREAM_SPDY);
    talk_free(&talk);

    talk.count = 0;
    deflater_init(&deflater);
    out = say(&talk, true);
    syn_stream(&deflater, out, 1, 0, "stdout", NULL);
    syn_stream(&deflater, out, 1, 0, "stdin", NULL); /* twice */
    (void)deflateEnd(&deflater.z);
    expect_invalid(&talk, KUBE_STREAM_SPDY);
    talk_free(&talk);

    talk.count = 0;
    out = say(&talk, true);
    wr_u32(out, 0x80030008); /* headers of 16 MB */
    wr_u32(out, 0xffffff);
    expect_invalid(&talk, KUBE_STREAM_SPDY);
    talk_free(&talk);
}

/* ---- our own end ---- */

/* Ends the talk in the server's name after size bytes of its last piece; what came out is read by a second tap that has seen
 * the same. Text is what that one says, NULL when the end could not be said there. */
static char *farewell(const struct talk *talk, enum kube_stream_kind kind, const char *protocol, bool portforward,
                      size_t size, struct buf *ret_said)
{
    struct kube_stream *taps[2];
    struct seen seen[2];
    char *text = NULL;
    for (int t = 0; t < 2; t++) {
        buf_init(&seen[t].text, 0);
        buf_init(&seen[t].output, 0);
        assert_int_equal(kube_stream_new(kind, protocol, portforward, &events, &seen[t], &taps[t], NULL), TP_OK);
        for (size_t i = 0; i < talk->count; i++) {
            const struct buf *bytes = &talk->pieces[i].bytes;
            size_t length = i + 1 == talk->count ? size : buf_size(bytes);
            assert_int_equal(talk->pieces[i].client ? kube_stream_client(taps[t], buf_head(bytes), length, NULL)
                                                    : kube_stream_server(taps[t], buf_head(bytes), length, NULL),
                             TP_OK);
        }
    }
    buf_init(ret_said, 0);
    if (kube_stream_farewell(taps[0], 403, "locked", true, ret_said) == TP_OK) {
        assert_int_equal(kube_stream_server(taps[1], buf_head(ret_said), buf_size(ret_said), NULL), TP_OK);
        text = mem_printf("%s|%s", buf_text(&seen[1].text), buf_text(&seen[1].output));
    } else {
        assert_int_equal(buf_size(ret_said), 0);
    }
    /* It was the last word in any case. */
    assert_int_equal(kube_stream_server(taps[0], "x", 1, NULL), TP_INVALID);
    for (int t = 0; t < 2; t++) {
        kube_stream_free(taps[t]);
        buf_free(&seen[t].text);
        buf_free(&seen[t].output);
    }
    return text;
}

static void expect_farewell(const struct talk *talk, enum kube_stream_kind kind, size_t size, const char *expected)
{
    struct buf said;
    char *text = farewell(talk, kind, "v4.channel.k8s.io", false, size, &said);
    if (expected) {
        assert_non_null(text);
        assert_string_equal(text, expected);
        assert_non_null(memmem(buf_head(&said), buf_size(&said), "\"message\":\"tport: locked\"", 25));
    } else {
        assert_null(text);
    }
    mem_free(text);
    buf_free(&said);
}

static void test_farewell_on_websocket(void **state)
{
    (void)state;
    struct talk talk = {0};
    MESSAGE(say(&talk, false), false, "\001");
    MESSAGE(say(&talk, true), true, "\000typed");
    MESSAGE(say(&talk, false), false, "\001hello");
    expect_farewell(&talk, KUBE_STREAM_WEBSOCKET, 8, "exit -1;|hello\r\n");
    expect_farewell(&talk, KUBE_STREAM_WEBSOCKET, 5, "exit -1;|he"); /* filled up with zeros, which end the text here */
    expect_farewell(&talk, KUBE_STREAM_WEBSOCKET, 1, NULL);          /* in a head */
    talk_free(&talk);

    talk.count = 0;
    frame(say(&talk, false), 0x02, false, "\001half a message", 15);
    expect_farewell(&talk, KUBE_STREAM_WEBSOCKET, 17, NULL);
    talk_free(&talk);
}

static void test_farewell_on_spdy(void **state)
{
    (void)state;
    struct talk talk = {0};
    struct deflater deflater;
    deflater_init(&deflater);
    struct buf *out = say(&talk, true);
    syn_stream(&deflater, out, 1, 0, "error", NULL);
    syn_stream(&deflater, out, 5, 0, "stdout", NULL);
    (void)deflateEnd(&deflater.z);
    out = say(&talk, false);
    data_frame(out, 5, 0, "hello");
    size_t size = buf_size(out);
    wr_u32(out, 0x80030006); /* ping */
    wr_u32(out, 4);
    wr_u32(out, 1);
    expect_farewell(&talk, KUBE_STREAM_SPDY, size, "exit -1;|hello\r\n");
    expect_farewell(&talk, KUBE_STREAM_SPDY, buf_size(out), "exit -1;|hello\r\n");
    expect_farewell(&talk, KUBE_STREAM_SPDY, size - 3, "exit -1;|he");
    expect_farewell(&talk, KUBE_STREAM_SPDY, size + 3, NULL);  /* in a head */
    expect_farewell(&talk, KUBE_STREAM_SPDY, size + 10, NULL); /* in a control frame */
    talk_free(&talk);
}

static void test_farewell_of_forwarded_ports(void **state)
{
    (void)state;
    struct talk inner = {0};
    struct talk talk = {0};
    struct deflater deflater;
    struct buf said;
    deflater_init(&deflater);
    struct buf *out = say(&inner, true);
    syn_stream(&deflater, out, 1, 0, "error", "8080");
    syn_stream(&deflater, out, 3, 0, "data", "8080");
    (void)deflateEnd(&deflater.z);
    frame(say(&talk, true), 0x82, true, (const char *)buf_head(out), buf_size(out));
    char *text = farewell(&talk, KUBE_STREAM_WEBSOCKET, "SPDY/3.1+portforward.k8s.io", true,
                          buf_size(&talk.pieces[0].bytes), &said);
    assert_non_null(text);
    assert_non_null(memmem(buf_head(&said), buf_size(&said), "tport: locked", 13));
    mem_free(text);
    buf_free(&said);
    talk_free(&inner);
    talk_free(&talk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_websocket),
        cmocka_unit_test(test_websocket_exit_of_other_forms),
        cmocka_unit_test(test_websocket_greeting_is_no_exit),
        cmocka_unit_test(test_websocket_refusals),
        cmocka_unit_test(test_protocols),
        cmocka_unit_test(test_spdy),
        cmocka_unit_test(test_output_on_a_stream_that_its_client_has_reset_is_output),
        cmocka_unit_test(test_each_of_many_spdy_streams_is_found),
        cmocka_unit_test(test_spdy_blocks_have_nothing_behind_them),
        cmocka_unit_test(test_spdy_in_websocket),
        cmocka_unit_test(test_spdy_refusals),
        cmocka_unit_test(test_farewell_on_websocket),
        cmocka_unit_test(test_farewell_on_spdy),
        cmocka_unit_test(test_farewell_of_forwarded_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

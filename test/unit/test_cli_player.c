/* What a recording may do to the terminal that plays it (bar B15: nothing of the corpus is executed). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cli/tport/play_source.h"
#include "cli/tport/player_filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void filter(const char *input, bool plain, size_t piece, struct buf *out)
{
    struct player_filter state;
    player_filter_init(&state, plain);
    for (size_t at = 0, size = strlen(input); at < size; at += piece)
        player_filter_feed(&state, input + at, size - at < piece ? size - at : piece, out);
}

static void expect(const char *input, const char *wanted)
{
    for (size_t piece = 1; piece <= 64; piece *= 4) {
        struct buf out;
        buf_init(&out, 0);
        filter(input, false, piece, &out);
        assert_string_equal(buf_text(&out), wanted);
        buf_free(&out);
    }
}

static void ordinary_output_passes(void **state)
{
    (void)state;
    static const char *const same[] = {"hello\r\n\tworld\b",
                                       "\x1b[1;31mred\x1b[0m",
                                       "\x1b[38;5;200m\x1b[38:2::1:2:3m",
                                       "\x1b[2J\x1b[H\x1b[10;20Hx\x1b[K",
                                       "\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l",
                                       "\x1b[1;24r\x1b[3S\x1b[2L\x1b[5P",
                                       "\x1b(0lqk\x1b(B",
                                       "\x1b"
                                       "7\x1b"
                                       "8\x1bM",
                                       "서버 ü 🎉",
                                       "\x1b[4h\x1b[4l\x1b[s\x1b[u"};
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        expect(same[i], same[i]);
}

static void B15_hostile_sequences_are_inert(void **state)
{
    (void)state;
    static const char *const dropped[] = {
        "\x1b]0;title\x07",
        "\x1b]2;title\x1b\\",
        "\x1b]52;c;ZXZpbA==\x07",
        "\x1b]8;;http://x\x1b\\",
        "\x1b]1337;File=:x\x07",
        "\xc2\x9d"
        "0;title\x07",
        "\x1bPq#0;2;0\x1b\\",
        "\xc2\x90"
        "q\x1b\\",
        "\x1b_Gf=100;x\x1b\\",
        "\x1b^pm\x1b\\",
        "\x1bX sos\x1b\\",
        "\x1bktitle\x1b\\",
        "\x1b[6n",
        "\x1b[c",
        "\x1b[>c",
        "\x1b[=c",
        "\x1b[0x",
        "\x1b[21t",
        "\x1b[8;1;1t",
        "\x1b[5i",
        "\x1b[?5i",
        "\x1b[?1000h",
        "\x1b[?1006h",
        "\x1b[?2004h",
        "\x1b[?1h",
        "\x1b[20h",
        "\x1b[2h",
        "\x1b[!p",
        "\x1b[1 q",
        "\x1b[>4;2m",
        "\x1b[?4m",
        "\x1b[<u",
        "\x1b[>1u",
        "\x1b[99999999b",
        "\x1b[1;2;3;4;5T",
        "\x1b"
        "c",
        "\x1b#8",
        "\x1b%G",
        "\x1bZ",
        "\x1b=",
        "\x1b>",
        "\x1b(A",
        "\x1bn",
        "\x07",
        "\x05",
        "\x7f",
        "\x1b[?69h",
        "\xc2\x85",
        "\xc2\x9b"
        "6n",
        "\x1b[\x1b[6n",
        "\x1b[;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;m",
        "\xff",
        "\xc0\x9b",
        "\xe0\x80\x9b"};
    for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++) {
        char *framed = mem_printf("a%sb", dropped[i]);
        expect(framed, "ab");
        mem_free(framed);
    }
    expect("a\xc2\x9b"
           "31mb",
           "a\x1b[31mb"); /* C1 form of a harmless one */
    expect("\x1b]0;never ended", "");
    expect("\x1b]0;x\x18"
           "shown",
           "shown");
    expect("\x1b[3\n1mx", "\n\x1b[31mx");
}

static void an_endless_string_hides_only_so_much(void **state)
{
    (void)state;
    struct buf in, out;
    buf_init(&in, 0);
    buf_init(&out, 0);
    (void)buf_append_text(&in, "\x1bP");
    for (size_t i = 0; i < PLAYER_FILTER_STRING_MAX; i++)
        (void)buf_append(&in, "x", 1);
    (void)buf_append_text(&in, "shown");
    filter(buf_text(&in), false, 1000, &out);
    assert_string_equal(buf_text(&out), "shown");
    buf_free(&in);
    buf_free(&out);
}

static void plain_text_has_no_escapes(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    filter("\x1b[1mbold\x1b[0m\r\n\tü\b\x1b[2J\x1b(0", true, 3, &out);
    assert_string_equal(buf_text(&out), "bold\n\tü");
    buf_free(&out);
}

static void the_terminal_is_put_in_order(void **state)
{
    (void)state;
    struct player_filter f;
    struct buf out;
    buf_init(&out, 0);
    player_filter_init(&f, false);
    player_filter_feed(&f, "\x1b[?1049h\x1b[?25l", 14, &out);
    buf_clear(&out);
    player_filter_end(&f, &out);
    assert_non_null(strstr(buf_text(&out), "\x1b[?1049l"));
    assert_non_null(strstr(buf_text(&out), "\x1b[?25h"));
    buf_free(&out);
}

static enum tp_err open_text(const char *text, struct play_source **ret_source)
{
    char path[] = "/tmp/tport-cast-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
    enum tp_err err = play_source_file(path, ret_source, NULL);
    (void)unlink(path);
    return err;
}

static void recordings_are_read_line_by_line(void **state)
{
    (void)state;
    struct play_source *source;
    struct play_event event;
    json_t *header;
    bool end;
    assert_int_equal(
        open_text("{\"version\":2,\"width\":80,\"height\":25}\n[0.5,\"o\",\"a\\u0000b\"]\n\n[0.25,\"r\",\"80x24\"]\n[1",
                  &source),
        TP_OK);
    assert_int_equal(play_source_header(source, &header, NULL), TP_OK);
    json_decref(header);
    assert_int_equal(play_source_next(source, &event, &end, NULL), TP_OK);
    assert_int_equal(event.size, 3);
    assert_true(event.time == 0.5 && event.kind == 'o');
    play_event_free(&event);
    assert_int_equal(play_source_next(source, &event, &end, NULL), TP_OK);
    assert_true(event.time == 0.5 && event.kind == 'r'); /* time never runs backwards */
    play_event_free(&event);
    assert_int_equal(play_source_next(source, &event, &end, NULL), TP_OK);
    assert_true(end); /* a line that was cut off */
    play_source_free(source);

    static const char *const bad[] = {"", "{\"version\":1}\n", "[1,2,3]\n", "no json\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(open_text(bad[i], &source), TP_OK);
        assert_int_not_equal(play_source_header(source, &header, NULL), TP_OK);
        play_source_free(source);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ordinary_output_passes),
                                       cmocka_unit_test(B15_hostile_sequences_are_inert),
                                       cmocka_unit_test(an_endless_string_hides_only_so_much),
                                       cmocka_unit_test(plain_text_has_no_escapes),
                                       cmocka_unit_test(the_terminal_is_put_in_order),
                                       cmocka_unit_test(recordings_are_read_line_by_line)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The recorder's text: valid JSON lines of valid UTF-8, whatever a program prints and however reads cut it. */
#include "base/json.h"
#include "base/mem.h"
#include "recording/asciicast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* All "o" text joined; every line must parse. */
static char *played(struct buf *out)
{
    struct buf text;
    double last = 0;
    buf_init(&text, 0);
    char *lines = buf_take(out);
    char *save = NULL;
    for (char *line = strtok_r(lines, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
        json_t *event = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_true(json_is_array(event));
        assert_int_equal(json_array_size(event), 3);
        double at = json_number_value(json_array_get(event, 0));
        assert_true(at >= last);
        last = at;
        if (strcmp(json_string_value(json_array_get(event, 1)), "o") == 0) {
            const json_t *data = json_array_get(event, 2);
            assert_int_equal(buf_append(&text, json_string_value(data), json_string_length(data)), TP_OK);
        }
        json_decref(event);
    }
    mem_free(lines);
    return buf_take(&text);
}

static void check(const char *data, size_t size, size_t piece, const char *wanted)
{
    struct asciicast cast = {0};
    struct buf out;
    buf_init(&out, 0);
    for (size_t i = 0; i < size; i += piece) {
        asciicast_output(&cast, &out, (int64_t)i, data + i, size - i < piece ? size - i : piece);
    }
    asciicast_finish(&cast, &out, (int64_t)size);
    char *text = played(&out);
    assert_string_equal(text, wanted);
    mem_free(text);
}

static void check_all(const char *data, const char *wanted)
{
    for (size_t piece = 1; piece <= strlen(data); piece++) {
        check(data, strlen(data), piece, wanted);
    }
}

static void test_utf8_is_kept_over_any_split(void **state)
{
    (void)state;
    check_all("plain \"quoted\" \\back\\ \r\n\t\x1b[0m\x7f", "plain \"quoted\" \\back\\ \r\n\t\x1b[0m\x7f");
    check_all("h\xc3\xa9 \xea\xb0\x80\xeb\x82\x98 \xf0\x9f\x98\x80 end",
              "h\xc3\xa9 \xea\xb0\x80\xeb\x82\x98 \xf0\x9f\x98\x80 end");
}

#define BAD "\xef\xbf\xbd"

static void test_broken_bytes_become_replacement_characters(void **state)
{
    (void)state;
    check("\xff"
          "a",
          2, 2, BAD "a");
    check("\xff"
          "a",
          2, 1, BAD "a");
    check("\xc3(", 2, 1, BAD "(");               /* lead byte without its second */
    check("\xc3\xc3\xa9", 3, 1, BAD "\xc3\xa9"); /* a good one follows at once */
    check("\xed\xa0\x80", 3, 3, BAD BAD BAD);    /* surrogate */
    check("\xc0\xaf", 2, 2, BAD BAD);            /* overlong */
    check("\xf5\x80", 2, 2, BAD BAD);            /* past U+10FFFF */
    check("ab\xf0\x9f\x98", 5, 5, "ab" BAD);     /* cut off at the end of the session */
    check("\xf0\x9f\x98", 3, 1, BAD);
}

static void test_header_holds_what_players_need(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    struct asciicast_header header = {.cols = 100,
                                      .rows = 30,
                                      .timestamp = 1700000000,
                                      .term = "xterm",
                                      .shell = "/bin/sh",
                                      .command = "echo \"x\" \xff"};
    asciicast_header(&out, &header);
    json_t *object = NULL;
    assert_int_equal(json_parse_object(buf_head(&out), buf_size(&out), 4096, &object, NULL), TP_OK);
    assert_int_equal(json_get_int(object, "version", 0), 2);
    assert_int_equal(json_get_int(object, "width", 0), 100);
    assert_int_equal(json_get_int(object, "height", 0), 30);
    assert_int_equal(json_get_int(object, "timestamp", 0), 1700000000);
    assert_string_equal(json_get_text(object, "command", ""), "echo \"x\" " BAD);
    assert_string_equal(json_get_text(json_object_get(object, "env"), "SHELL", ""), "/bin/sh");
    json_decref(object);
    buf_free(&out);
}

static void test_time_never_goes_back_and_resize_is_an_event(void **state)
{
    (void)state;
    struct asciicast cast = {0};
    struct buf out;
    buf_init(&out, 0);
    asciicast_output(&cast, &out, 2500000, "a", 1);
    asciicast_resize(&cast, &out, 1000000, 120, 40);
    asciicast_marker(&cast, &out, 3000001, "mark");
    assert_string_equal(buf_text(&out),
                        "[2.500000,\"o\",\"a\"]\n[2.500000,\"r\",\"120x40\"]\n[3.000001,\"m\",\"mark\"]\n");
    buf_free(&out);
}

static void test_clean_text(void **state)
{
    (void)state;
    char *text = asciicast_clean_text("a\xff\xc3\xa9", 100);
    assert_string_equal(text, "a" BAD "\xc3\xa9");
    mem_free(text);
    text = asciicast_clean_text("\xea\xb0\x80\xea\xb0\x80", 5);
    assert_string_equal(text, "\xea\xb0\x80");
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8_is_kept_over_any_split),
        cmocka_unit_test(test_broken_bytes_become_replacement_characters),
        cmocka_unit_test(test_header_holds_what_players_need),
        cmocka_unit_test(test_time_never_goes_back_and_resize_is_an_event),
        cmocka_unit_test(test_clean_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

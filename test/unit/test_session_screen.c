/* Between which bytes of a program's output a line of ours may stand, and who owns the screen. */
#include "session/screen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Where in the text a line may stand, as a row of 0 and 1: at its beginning and behind each byte. Whole and byte by byte. */
static void check(const char *text, const char *between, bool alternate)
{
    size_t size = strlen(text);
    struct screen whole = {0};
    struct screen split = {0};
    assert_int_equal(strlen(between), size + 1);
    for (size_t i = 0; i <= size; i++) {
        assert_int_equal(screen_is_between(&split), between[i] == '1');
        if (i < size) {
            screen_feed(&split, (const uint8_t *)text + i, 1);
        }
    }
    screen_feed(&whole, (const uint8_t *)text, size);
    assert_int_equal(screen_is_between(&whole), between[size] == '1');
    assert_int_equal(whole.alternate, alternate);
    assert_int_equal(split.alternate, alternate);
}

static void test_text_and_characters(void **state)
{
    (void)state;
    check("ab\r\n", "11111", false);
    check("\xc3\xa9", "101", false);
    check("a\xed\x95\x9c", "11001", false);
    check("\xf0\x9f\x98\x80x", "100011", false);
    check("\x80\x80", "111", false); /* no UTF-8: nothing is waited for */
    check("\xc3"
          "a",
          "101", false);
}

static void test_sequences(void **state)
{
    (void)state;
    check("\x1b[1;32mx", "100000011", false);
    check("\x1b(Bx", "10011", false);
    check("\x1b"
          "7x",
          "1011", false);
    check("\x1b]0;title\x07x", "100000000011", false);
    check("\x1bPq#0\x1b\\x", "100000011", false);
    check("\x1b]2;t\x1b[1mx", "10000000011", false); /* a string that something else ends */
    check("\x1b[1\x18x", "100011", false);           /* given up */
    check("\xc3\x1b[mx", "100011", false);
}

static void test_alternate_screen(void **state)
{
    (void)state;
    check("\x1b[?1049h", "100000001", true);
    check("\x1b[?1049h\x1b[2J", "1000000010001", true);
    check("\x1b[?1049hvim\x1b[?1049l", "10000000111100000001", false);
    check("\x1b[?47h", "1000001", true);
    check("\x1b[?1;1047h", "10000000001", true);
    check("\x1b[1049h", "10000001", false); /* not a private mode */
    check("\x1b[?25h", "1000001", false);
    check("\x1b[?1049h\x1b"
          "c",
          "10000000101", false);                      /* a full reset */
    check("\x1b[?99991049h", "1000000000001", false); /* a number without bounds */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text_and_characters), cmocka_unit_test(test_sequences),
                                       cmocka_unit_test(test_alternate_screen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

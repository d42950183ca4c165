/* Terminal modes (RFC 4254 section 8): read from bytes, set in a termios. */
#include "session/modes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct termios applied(const uint8_t *data, size_t size, const struct termios *before)
{
    struct termios termios = *before;
    json_t *list = modes_read(data, size);
    assert_non_null(list);
    modes_apply(list, &termios);
    json_decref(list);
    return termios;
}

static void test_characters_flags_speeds(void **state)
{
    (void)state;
    /* VERASE ^H, VKILL off, ICRNL off, ECHO off, IUTF8 on, 7 bits, 115200 baud both ways; the end; what follows is not read */
    static const uint8_t DATA[] = {3, 0, 0,  0, 8, 4, 0, 0,   0, 255, 36,   0, 0,   0, 0, 53,   0, 0, 0,  0, 42, 0, 0,
                                   0, 1, 90, 0, 0, 0, 1, 128, 0, 1,   0xc2, 0, 129, 0, 1, 0xc2, 0, 0, 50, 0, 0,  0, 0};
    struct termios before = {.c_iflag = ICRNL, .c_lflag = ECHO | ISIG, .c_cflag = CS8};
    before.c_cc[VERASE] = 127;
    before.c_cc[VKILL] = 21;
    before.c_cc[VINTR] = 3;
    struct termios after = applied(DATA, sizeof(DATA), &before);
    assert_int_equal(after.c_cc[VERASE], 8);
    assert_int_equal(after.c_cc[VKILL], _POSIX_VDISABLE);
    assert_int_equal(after.c_cc[VINTR], 3);
    assert_int_equal(after.c_iflag, IUTF8);
    assert_int_equal(after.c_lflag, ISIG);
    assert_int_equal(after.c_cflag & CSIZE, CS7);
    assert_int_equal(cfgetispeed(&after), B115200);
    assert_int_equal(cfgetospeed(&after), B115200);
}

static void test_unknown_opcodes_change_nothing(void **state)
{
    (void)state;
    struct termios before = {.c_iflag = ICRNL, .c_lflag = ECHO, .c_cflag = CS8};
    for (unsigned op = 0; op < 256; op++) {
        uint8_t data[10] = {(uint8_t)op, 0xff, 0xff, 0xff, 0xff, 53, 0, 0, 0, 0};
        struct termios after = applied(data, sizeof(data), &before);
        bool stops = op == 0 || op >= 160; /* then the second one is not read */
        assert_int_equal(after.c_lflag & ECHO, stops ? ECHO : 0);
        assert_memory_equal(after.c_cc, before.c_cc, sizeof(before.c_cc)); /* no character is as large as that */
    }
}

static void test_broken_lists_are_refused(void **state)
{
    (void)state;
    uint8_t data[MODES_MAX_BYTES + 1] = {53, 0, 0, 0, 0, 53, 0};
    assert_null(modes_read(data, 7));
    memset(data, 53, sizeof(data));
    assert_null(modes_read(data, sizeof(data)));
    json_t *none = modes_read(data, 0);
    assert_int_equal(json_array_size(none), 0);
    json_decref(none);
    /* What the monitor is handed by a net half that is somebody else's by now. */
    static const char *const STRANGE[] = {
        "[1, 2, 3]", "{}", "[[]]", "[[53]]", "[[53, \"x\"]]", "[[-1, 0], [1000, 0], [3, -5], [3, 70000]]"};
    for (size_t i = 0; i < sizeof(STRANGE) / sizeof(STRANGE[0]); i++) {
        struct termios termios = {.c_lflag = ECHO};
        struct termios same = termios;
        json_t *list = json_loads(STRANGE[i], 0, NULL);
        modes_apply(list, &termios);
        assert_memory_equal(&termios, &same, sizeof(same));
        json_decref(list);
    }
    struct termios untouched = {.c_lflag = ECHO};
    modes_apply(NULL, &untouched);
    assert_int_equal(untouched.c_lflag, ECHO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_characters_flags_speeds),
        cmocka_unit_test(test_unknown_opcodes_change_nothing),
        cmocka_unit_test(test_broken_lists_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

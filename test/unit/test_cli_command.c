/* Command lines: options anywhere, groups of letters, hints, and where options end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/common/command.h"

#include <stdlib.h>
#include <string.h>

static enum tp_err nothing(struct command_line *line, struct tp_error *error)
{
    (void)line;
    (void)error;
    return TP_OK;
}

#define NONE                              \
    {                                     \
        NULL, 0, COMMAND_FLAG, NULL, NULL \
    }
static const struct command_option globals[] = {{"proxy", 0, COMMAND_TEXT, "HOST", "p"},
                                                {"login", 'l', COMMAND_TEXT, "LOGIN", "l"},
                                                {"debug", 'd', COMMAND_FLAG, NULL, "d"},
                                                NONE};
static const struct command_option options[] = {{"format", 'f', COMMAND_TEXT, "text|json", "f"},
                                                {"verbose", 'v', COMMAND_FLAG, NULL, "v"},
                                                {"ttl", 0, COMMAND_TEXT, "1h", "t"},
                                                {"limit", 0, COMMAND_TEXT, "N", "n"},
                                                NONE};
static const struct command commands[] = {
    {"ls", "[LABELS]", "List", nothing, options, 0, 1, 0, false, NULL},
    {"users add", "NAME", "Add", nothing, options, 1, 1, 0, false, NULL},
    {"users ls", "", "List users", nothing, options, 0, 0, 0, false, NULL},
    {"ssh", "HOST [COMMAND...]", "Shell", nothing, options, 1, COMMAND_ANY_ARGS, 1, false, NULL}};
static const struct command_program program = {
    .name = "tport", .about = "About.", .globals = globals, .commands = commands, .count = 4};

static enum tp_err parse(struct command_line *line, struct tp_error *error, char **argv)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    return command_parse(&program, argc, argv, line, error);
}
#define PARSE(line, error, ...) parse(line, error, (char *[]){"tport", __VA_ARGS__, NULL})

static void options_stand_anywhere(void **state)
{
    (void)state;
    struct command_line line;
    struct tp_error error = {0};
    assert_int_equal(
        PARSE(&line, &error, "--proxy", "h:443", "users", "add", "-vf", "json", "bob", "--ttl=2h", "-lroot"), TP_OK);
    assert_string_equal(line.command->words, "users add");
    assert_int_equal(line.arg_count, 1);
    assert_string_equal(line.args[0], "bob");
    assert_string_equal(command_text(&line, "proxy", NULL), "h:443");
    assert_string_equal(command_text(&line, "format", "text"), "json");
    assert_string_equal(command_text(&line, "login", NULL), "root");
    assert_true(command_flag(&line, "verbose"));
    assert_false(command_flag(&line, "debug"));
    int64_t ms;
    assert_int_equal(command_duration_ms(&line, "ttl", 5, &ms, &error), TP_OK);
    assert_int_equal(ms, 7200000);
    command_line_free(&line);
}

static void a_remote_command_keeps_its_options(void **state)
{
    (void)state;
    struct command_line line;
    struct tp_error error = {0};
    assert_int_equal(PARSE(&line, &error, "ssh", "-v", "host", "-d", "ls", "-la", "--", "--format=x"), TP_OK);
    assert_true(command_flag(&line, "debug"));
    assert_int_equal(line.arg_count, 5);
    assert_string_equal(line.args[2], "-la");
    assert_string_equal(line.args[3], "--");
    assert_string_equal(line.args[4], "--format=x");
    assert_null(command_text(&line, "format", NULL));
    command_line_free(&line);
    assert_int_equal(PARSE(&line, &error, "ssh", "host", "--", "-d"), TP_OK);
    assert_int_equal(line.arg_count, 2);
    assert_string_equal(line.args[1], "-d");
    command_line_free(&line);
}

static void mistakes_get_a_hint(void **state)
{
    (void)state;
    struct command_line line;
    static const struct {
        char *argv[5];
        const char *text;
    } cases[] = {
        {{"tport", "sl"}, "did you mean \"tport ls\"?"},
        {{"tport", "user", "add"}, "did you mean \"tport users add\"?"},
        {{"tport", "users"}, "needs one of its subcommands"},
        {{"tport", "users", "wholesale"}, "no command \"users wholesale\"; \"tport help users\" lists those of users"},
        {{"tport", "frobnicate"}, "\"tport help\" lists all of them"},
        {{"tport", "ls", "--fromat=json"}, "unknown option --fromat"},
        {{"tport", "ls", "-z"}, "unknown option -z"},
        {{"tport", "ls", "--format"}, "--format needs a value"},
        {{"tport", "ls", "-v", "a", "b"}, "does not take the argument \"b\""},
        {{"tport", "users", "add"}, "needs NAME"},
        {{"tport", "ls", "--verbose=maybe"}, "takes no value"},
        {{"tport", "ls", "--no-format"}, "unknown option --no-format"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tp_error error = {0};
        char *argv[6] = {0};
        memcpy(argv, cases[i].argv, sizeof(cases[i].argv));
        assert_int_equal(parse(&line, &error, argv), TP_INVALID);
        if (!strstr(error.text, cases[i].text))
            fail_msg("\"%s\" lacks \"%s\"", error.text, cases[i].text);
        command_line_free(&line);
    }
}

static void values_are_checked(void **state)
{
    (void)state;
    static const char *const formats[] = {"text", "json", NULL};
    struct command_line line;
    struct tp_error error = {0};
    const char *choice;
    int64_t value;
    assert_int_equal(PARSE(&line, &error, "ls", "--no-verbose", "--limit=12x", "--ttl=soon", "--format=xml"), TP_OK);
    assert_false(command_flag(&line, "verbose"));
    assert_int_equal(command_int(&line, "limit", 1, 100, 5, &value, &error), TP_INVALID);
    assert_int_equal(command_duration_ms(&line, "ttl", 5, &value, &error), TP_INVALID);
    assert_int_equal(command_choice(&line, "format", formats, &choice, &error), TP_INVALID);
    assert_non_null(strstr(error.text, "text, json"));
    command_line_free(&line);
    assert_int_equal(PARSE(&line, &error, "ls"), TP_OK);
    assert_int_equal(command_choice(&line, "format", formats, &choice, &error), TP_OK);
    assert_string_equal(choice, "text");
    assert_int_equal(command_int(&line, "limit", 1, 100, 5, &value, &error), TP_OK);
    assert_int_equal(value, 5);
    command_line_free(&line);
}

static void the_environment_stands_behind_options(void **state)
{
    (void)state;
    struct command_line line;
    struct tp_error error = {0};
    (void)setenv("TELEPORT_PROXY", "old:443", 1);
    assert_int_equal(PARSE(&line, &error, "ls"), TP_OK);
    assert_string_equal(command_text_env(&line, "proxy", "PROXY", NULL), "old:443");
    (void)setenv("TPORT_PROXY", "new:443", 1);
    assert_string_equal(command_text_env(&line, "proxy", "PROXY", NULL), "new:443");
    command_line_free(&line);
    assert_int_equal(PARSE(&line, &error, "ls", "--proxy=given"), TP_OK);
    assert_string_equal(command_text_env(&line, "proxy", "PROXY", NULL), "given");
    command_line_free(&line);
    (void)unsetenv("TPORT_PROXY");
    (void)unsetenv("TELEPORT_PROXY");
}

static void help_shows_options(void **state)
{
    (void)state;
    char *text = command_help(&program, &commands[1]);
    assert_non_null(strstr(text, "Usage: tport users add [options] NAME"));
    assert_non_null(strstr(text, "-f, --format=text|json"));
    mem_free(text);
    text = command_help(&program, NULL);
    assert_non_null(strstr(text, "users add"));
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(options_stand_anywhere),
                                       cmocka_unit_test(a_remote_command_keeps_its_options),
                                       cmocka_unit_test(mistakes_get_a_hint),
                                       cmocka_unit_test(values_are_checked),
                                       cmocka_unit_test(the_environment_stands_behind_options),
                                       cmocka_unit_test(help_shows_options)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

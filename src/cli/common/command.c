#include "cli/common/command.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/common/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEAR_MISS 2 /* edits between what was typed and what is suggested */

static const struct command_option *find_long(const struct command_option *options, const char *name, size_t length)
{
    for (; options && options->help; options++) {
        if (options->name && strlen(options->name) == length && memcmp(options->name, name, length) == 0)
            return options;
    }
    return NULL;
}

static const struct command_option *find_letter(const struct command_option *options, char letter)
{
    for (; options && options->help; options++) {
        if (options->letter == letter)
            return options;
    }
    return NULL;
}

static void add_value(struct command_line *line, const struct command_option *option, const char *text)
{
    line->values = mem_resize(line->values, (line->value_count + 1) * sizeof(line->values[0]));
    line->values[line->value_count].option = option;
    line->values[line->value_count++].text = text;
}

static void add_arg(struct command_line *line, char *arg)
{
    line->args = mem_resize(line->args, (line->arg_count + 2) * sizeof(line->args[0]));
    line->args[line->arg_count++] = arg;
    line->args[line->arg_count] = NULL;
}

static const struct command *find_words(const struct command_program *program, const char *words)
{
    for (size_t i = 0; i < program->count; i++) {
        if (strcmp(program->commands[i].words, words) == 0)
            return &program->commands[i];
    }
    return NULL;
}

struct cursor {
    int argc;
    char **argv;
    int at;
};

/* The options that may stand here besides those of every command. */
static const struct command_option *locals_of(const struct command_line *line)
{
    const struct command *command = line->command ? line->command : line->program->bare;
    return command ? command->options : NULL;
}

static enum tp_err parse_long(struct command_line *line, struct cursor *cursor, struct tp_error *error)
{
    const char *word = cursor->argv[cursor->at] + 2;
    const char *equals = strchr(word, '=');
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    const struct command_option *locals = locals_of(line);
    const struct command_option *option = find_long(locals, word, length);
    bool negated = false;

    if (length == 4 && memcmp(word, "help", 4) == 0) {
        line->help = true;
        return TP_OK;
    }
    if (!line->command && strcmp(word, "version") == 0 && find_words(line->program, "version")) {
        line->command = find_words(line->program, "version");
        return TP_OK;
    }
    if (!option)
        option = find_long(line->program->globals, word, length);
    if (!option && length > 3 && memcmp(word, "no-", 3) == 0) {
        option = find_long(locals, word + 3, length - 3);
        if (!option)
            option = find_long(line->program->globals, word + 3, length - 3);
        negated = option != NULL;
        if (option && option->kind != COMMAND_FLAG)
            option = NULL;
    }
    if (!option)
        return err_set(error, TP_INVALID, "unknown option --%.*s; see \"%s%s%s --help\"", (int)length, word,
                       line->program->name, line->command ? " " : "", line->command ? line->command->words : "");
    if (option->kind == COMMAND_FLAG) {
        bool off = equals && strcmp(equals + 1, "false") == 0;
        if (equals && !off && strcmp(equals + 1, "true") != 0)
            return err_set(error, TP_INVALID, "--%s takes no value", option->name);
        add_value(line, option, off != negated ? "false" : NULL);
        return TP_OK;
    }
    if (equals) {
        add_value(line, option, equals + 1);
        return TP_OK;
    }
    if (cursor->at + 1 >= cursor->argc)
        return err_set(error, TP_INVALID, "--%s needs a value (%s)", option->name, option->value);
    add_value(line, option, cursor->argv[++cursor->at]);
    return TP_OK;
}

static enum tp_err parse_letters(struct command_line *line, struct cursor *cursor, struct tp_error *error)
{
    for (const char *at = cursor->argv[cursor->at] + 1; *at; at++) {
        const struct command_option *option = find_letter(locals_of(line), *at);
        if (!option)
            option = find_letter(line->program->globals, *at);
        if (!option && *at == 'h') {
            line->help = true;
            continue;
        }
        if (!option)
            return err_set(error, TP_INVALID, "unknown option -%c; see \"%s%s%s --help\"", *at, line->program->name,
                           line->command ? " " : "", line->command ? line->command->words : "");
        if (option->kind == COMMAND_FLAG) {
            add_value(line, option, NULL);
            continue;
        }
        if (at[1] != '\0') {
            add_value(line, option, at[1] == '=' ? at + 2 : at + 1);
            return TP_OK;
        }
        if (cursor->at + 1 >= cursor->argc)
            return err_set(error, TP_INVALID, "-%c needs a value (%s)", *at, option->value);
        add_value(line, option, cursor->argv[++cursor->at]);
        return TP_OK;
    }
    return TP_OK;
}

/* How many of the words at the cursor are exactly the command's words; 0 when not all of its words are there. */
static int match_words(const char *words, const struct cursor *cursor)
{
    int used = 0;
    for (const char *at = words; *at;) {
        size_t length = strcspn(at, " ");
        int index = cursor->at + used;
        if (index >= cursor->argc || strlen(cursor->argv[index]) != length ||
            memcmp(cursor->argv[index], at, length) != 0)
            return 0;
        used++;
        at += length;
        at += *at == ' ';
    }
    return used;
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Edits from a to b (Levenshtein); long words count as far apart. */
static size_t edits(const char *a, const char *b)
{
    size_t rows[2][40];
    size_t size_a = strlen(a), size_b = strlen(b);
    if (size_a > 39 || size_b > 39)
        return 40;
    for (size_t j = 0; j <= size_b; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= size_a; i++) {
        size_t *now = rows[i % 2], *before = rows[(i - 1) % 2];
        now[0] = i;
        for (size_t j = 1; j <= size_b; j++)
            now[j] = smallest(now[j - 1] + 1, before[j] + 1, before[j - 1] + (a[i - 1] != b[j - 1]));
    }
    return rows[size_a % 2][size_b];
}

static enum tp_err unknown_command(const struct command_program *program, const struct cursor *cursor,
                                   struct tp_error *error)
{
    const char *first = cursor->argv[cursor->at];
    const char *second =
        cursor->at + 1 < cursor->argc && cursor->argv[cursor->at + 1][0] != '-' ? cursor->argv[cursor->at + 1] : NULL;
    char *typed = second ? mem_printf("%s %s", first, second) : mem_strdup(first);
    const char *best = NULL;
    size_t best_edits = NEAR_MISS + 1;
    size_t length = strlen(first);
    bool group = false;

    for (size_t i = 0; i < program->count; i++) {
        const struct command *command = &program->commands[i];
        bool two = strchr(command->words, ' ') != NULL;
        size_t distance = edits(two ? typed : first, command->words);
        if (distance < best_edits && !command->hidden) {
            best_edits = distance;
            best = command->words;
        }
        group = group || (strncmp(command->words, first, length) == 0 && command->words[length] == ' ');
    }
    if (best)
        err_set(error, TP_INVALID, "there is no command \"%s\"; did you mean \"%s %s\"?", typed, program->name, best);
    else if (group && second)
        err_set(error, TP_INVALID, "there is no command \"%s\"; \"%s help %s\" lists those of %s", typed, program->name,
                first, first);
    else if (group)
        err_set(error, TP_INVALID, "\"%s %s\" needs one of its subcommands; \"%s help %s\" lists them", program->name,
                first, program->name, first);
    else
        err_set(error, TP_INVALID, "there is no command \"%s\"; \"%s help\" lists all of them", first, program->name);
    mem_free(typed);
    return TP_INVALID;
}

static enum tp_err find_command(struct command_line *line, struct cursor *cursor, struct tp_error *error)
{
    int longest = 0;
    for (size_t i = 0; i < line->program->count; i++) {
        int used = match_words(line->program->commands[i].words, cursor);
        if (used > longest) {
            longest = used;
            line->command = &line->program->commands[i];
        }
    }
    if (!line->command)
        return unknown_command(line->program, cursor, error);
    if (line->program->bare && line->value_count > 0 && line->command->options != line->program->bare->options)
        return err_set(error, TP_INVALID, "\"%s\" comes before its options; see \"%s %s --help\"", line->command->words,
                       line->program->name, line->command->words);
    cursor->at += longest - 1;
    return TP_OK;
}

static enum tp_err check_count(const struct command_line *line, struct tp_error *error)
{
    const struct command *command = line->command;
    if (!command || line->help)
        return TP_OK;
    if (line->arg_count < command->min_args)
        return err_set(error, TP_INVALID, "\"%s %s\" needs %s; see \"%s %s --help\"", line->program->name,
                       command->words, command->args, line->program->name, command->words);
    if (line->arg_count > command->max_args)
        return err_set(error, TP_INVALID, "\"%s %s\" does not take the argument \"%s\"; see \"%s %s --help\"",
                       line->program->name, command->words, line->args[command->max_args], line->program->name,
                       command->words);
    return TP_OK;
}

enum tp_err command_parse(const struct command_program *program, int argc, char **argv, struct command_line *ret_line,
                          struct tp_error *error)
{
    struct command_line *line = ret_line;
    struct cursor cursor = {.argc = argc, .argv = argv, .at = 1};
    bool options_end = false;

    memset(line, 0, sizeof(*line));
    line->program = program;
    line->args = mem_array(1, sizeof(line->args[0]));
    for (; cursor.at < argc; cursor.at++) {
        char *word = argv[cursor.at];
        enum tp_err err = TP_OK;
        if (!options_end && strcmp(word, "--") == 0) {
            options_end = true;
        } else if (!options_end && word[0] == '-' && word[1] == '-') {
            err = parse_long(line, &cursor, error);
        } else if (!options_end && word[0] == '-' && word[1] != '\0') {
            err = parse_letters(line, &cursor, error);
        } else if (!line->command) {
            err = find_command(line, &cursor, error);
        } else {
            add_arg(line, word);
            if (line->command->stop_after > 0 && line->arg_count > line->command->stop_after)
                options_end = true;
        }
        if (err != TP_OK)
            return err;
    }
    if (!line->command && !line->help)
        line->command = program->bare;
    return check_count(line, error);
}

void command_line_free(struct command_line *line)
{
    mem_free(line->values);
    mem_free(line->args);
    memset(line, 0, sizeof(*line));
}

/* help, help COMMAND, COMMAND --help. */
static int show_help(const struct command_program *program, const struct command *command)
{
    char *text = command_help(program, command);
    (void)fputs(text, stdout);
    mem_free(text);
    return fflush(stdout) == 0 ? 0 : 1;
}

/* Messages quote files and servers: whatever they hold, the terminal gets text. Lines of a message stay lines. */
static void print_error(const struct command_program *program, const char *text)
{
    (void)fputs(program->complaint ? program->complaint : "ERROR: ", stderr);
    while (*text) {
        size_t length = strcspn(text, "\n");
        char *line = mem_strndup(text, length);
        char *safe = text_safe(line);
        (void)fprintf(stderr, "%s\n", safe);
        mem_free(line);
        mem_free(safe);
        text += length + (text[length] != '\0');
    }
}

static int usage_code(const struct command_program *program)
{
    return program->usage_code ? program->usage_code : 1;
}

/* The help of the words from at on: those of a command, or of a group of commands ("users"). */
static int help_words(const struct command_program *program, int argc, char **argv, int at)
{
    struct cursor cursor = {.argc = argc, .argv = argv, .at = at};
    struct command_line line = {.program = program};
    struct tp_error error = {0};
    if (argc == at)
        return show_help(program, NULL);
    if (find_command(&line, &cursor, &error) == TP_OK)
        return show_help(program, line.command);
    char *text = command_group_help(program, argv[at]);
    if (!text) {
        print_error(program, error.text);
        return usage_code(program);
    }
    (void)fputs(text, stdout);
    mem_free(text);
    return fflush(stdout) == 0 ? 0 : 1;
}

/* "users help", "users --help", "ls --help"; not "ls help", where help may be an argument. */
static bool asks_for_help(const struct command_program *program, int argc, char **argv)
{
    if (argc < 3 || argv[1][0] == '-')
        return false;
    if (strcmp(argv[2], "help") == 0)
        return !find_words(program, argv[1]);
    return argc == 3 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0);
}

int command_main(const struct command_program *program, int argc, char **argv)
{
    struct command_line line;
    struct tp_error error = {0};
    int code = 0;

    if (argc >= 2 && strcmp(argv[1], "help") == 0)
        return help_words(program, argc, argv, 2);
    if (asks_for_help(program, argc, argv))
        return help_words(program, 2, argv, 1);
    enum tp_err err = command_parse(program, argc, argv, &line, &error);
    if (err != TP_OK)
        line.error_code = usage_code(program);
    if (err == TP_OK && (line.help || !line.command)) {
        code = show_help(program, line.command);
        code = line.help ? code : usage_code(program);
    } else if (err == TP_OK) {
        err = line.command->run(&line, &error);
        code = line.exit_code;
    }
    if (err == TP_OK && (fflush(stdout) != 0 || ferror(stdout)))
        err = err_set(&error, TP_IO, "writing the output failed");
    if (err != TP_OK) {
        (void)fflush(stdout);
        print_error(program, error.text[0] ? error.text : err_text(err));
        code = line.error_code ? line.error_code : 1;
    }
    command_line_free(&line);
    return code;
}

const char *command_nth(const struct command_line *line, const char *name, size_t index)
{
    for (size_t i = 0; i < line->value_count; i++) {
        const struct command_option *option = line->values[i].option;
        if (option->name && strcmp(option->name, name) == 0 && index-- == 0)
            return line->values[i].text ? line->values[i].text : "true";
    }
    return NULL;
}

const char *command_text(const struct command_line *line, const char *name, const char *otherwise)
{
    const char *found = otherwise;
    const char *text;
    for (size_t i = 0; (text = command_nth(line, name, i)) != NULL; i++)
        found = text;
    return found;
}

const char *command_env(const char *name)
{
    static const char *const prefixes[] = {"TPORT_", "TELEPORT_"};
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        char *full = mem_printf("%s%s", prefixes[i], name);
        const char *value = getenv(full);
        mem_free(full);
        if (value && *value)
            return value;
    }
    return NULL;
}

const char *command_text_env(const struct command_line *line, const char *name, const char *env, const char *otherwise)
{
    const char *text = command_text(line, name, NULL);
    if (!text)
        text = command_env(env);
    return text ? text : otherwise;
}

bool command_flag(const struct command_line *line, const char *name)
{
    const char *text = command_text(line, name, NULL);
    return text && strcmp(text, "false") != 0;
}

enum tp_err command_int(const struct command_line *line, const char *name, int64_t lowest, int64_t highest,
                        int64_t otherwise, int64_t *ret_value, struct tp_error *error)
{
    const char *text = command_text(line, name, NULL);
    char *end;
    *ret_value = otherwise;
    if (!text)
        return TP_OK;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < lowest || value > highest)
        return err_set(error, TP_INVALID, "--%s=%s: a whole number from %lld to %lld is needed", name, text,
                       (long long)lowest, (long long)highest);
    *ret_value = value;
    return TP_OK;
}

enum tp_err command_duration_ms(const struct command_line *line, const char *name, int64_t otherwise, int64_t *ret_ms,
                                struct tp_error *error)
{
    const char *text = command_text(line, name, NULL);
    *ret_ms = otherwise;
    if (text && (clock_parse_duration_ms(text, ret_ms) != TP_OK || *ret_ms <= 0))
        return err_set(error, TP_INVALID, "--%s=%s: a duration such as 30m or 8h is needed", name, text);
    return TP_OK;
}

enum tp_err command_choice(const struct command_line *line, const char *name, const char *const *allowed,
                           const char **ret_choice, struct tp_error *error)
{
    const char *text = command_text(line, name, allowed[0]);
    struct buf list;
    for (size_t i = 0; allowed[i]; i++) {
        if (strcmp(allowed[i], text) == 0) {
            *ret_choice = allowed[i];
            return TP_OK;
        }
    }
    buf_init(&list, 0);
    for (size_t i = 0; allowed[i]; i++)
        if (*allowed[i]) /* what stands for no option at all */
            (void)buf_printf(&list, "%s%s", buf_size(&list) > 0 ? ", " : "", allowed[i]);
    err_set(error, TP_INVALID, "--%s=%s: one of %s is needed", name, text, buf_text(&list));
    buf_free(&list);
    return TP_INVALID;
}

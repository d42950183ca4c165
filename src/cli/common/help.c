/* Help texts out of the tables of a program, as wide as the narrowest terminal. */
#include "base/buf.h"
#include "base/mem.h"
#include "cli/common/command.h"
#include "cli/common/table.h"

#include <string.h>

#define WIDTH 80
#define INDENT 2
#define GAP 2
#define LEFT_MAX 30 /* what is longer gets a line of its own */

/* The words of text from column at on; a word that does not fit begins a line at indent. Ends the last line. */
static void put_words(struct buf *out, size_t at, size_t indent, const char *text)
{
    bool first = true;
    while (*text) {
        size_t length = strcspn(text, " ");
        char *word = mem_strndup(text, length);
        size_t width = text_width(word);
        if (!first && at + 1 + width > WIDTH) {
            (void)buf_printf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (!first) {
            (void)buf_append(out, " ", 1);
            at++;
        }
        (void)buf_append_text(out, word);
        mem_free(word);
        at += width;
        first = false;
        text += length;
        text += *text == ' ';
    }
    (void)buf_append(out, "\n", 1);
}

/* "  left   what it means", where the meaning begins at column. */
static void put_pair(struct buf *out, const char *left, size_t column, const char *meaning)
{
    size_t width = INDENT + text_width(left);
    (void)buf_printf(out, "%*s%s", INDENT, "", left);
    if (width + GAP > column) {
        (void)buf_append(out, "\n", 1);
        width = 0;
    }
    (void)buf_printf(out, "%*s", (int)(column - width), "");
    put_words(out, column, column, meaning);
}

static char *option_left(const struct command_option *option)
{
    const char *value = option->kind == COMMAND_TEXT ? option->value : "";
    if (!option->name)
        return mem_printf("-%c%s%s", option->letter, *value ? " " : "", value);
    if (option->letter)
        return mem_printf("-%c, --%s%s%s", option->letter, option->name, *value ? "=" : "", value);
    return mem_printf("    --%s%s%s", option->name, *value ? "=" : "", value);
}

/* Where the meanings of these options begin. */
static size_t option_column(const struct command_option *options)
{
    size_t widest = strlen("-h, --help");
    for (; options && options->help; options++) {
        char *left = option_left(options);
        size_t width = text_width(left);
        if (width <= LEFT_MAX && width > widest)
            widest = width;
        mem_free(left);
    }
    return INDENT + widest + GAP;
}

static void put_options(struct buf *out, const struct command_option *options, size_t column)
{
    for (; options && options->help; options++) {
        char *left = option_left(options);
        put_pair(out, left, column, options->help);
        mem_free(left);
    }
}

/* The common options by name alone: what they do stands in the help of the program. */
static void put_names(struct buf *out, const struct command_program *program)
{
    struct buf line;
    if (!program->globals || !program->globals->help)
        return;
    buf_init(&line, 0);
    (void)buf_append_text(&line, "Options of every command:");
    for (const struct command_option *option = program->globals; option->help; option++)
        (void)buf_printf(&line, " --%s%s", option->name, option[1].help ? "," : ";");
    (void)buf_printf(&line, " \"%s help\" says what they do.", program->name);
    (void)buf_append(out, "\n", 1);
    put_words(out, 0, INDENT, buf_text(&line));
    buf_free(&line);
}

static void put_examples(struct buf *out, const char *name, const char *examples)
{
    if (!examples)
        return;
    (void)buf_append_text(out, "\nExamples:\n");
    while (*examples) {
        size_t length = strcspn(examples, "\n");
        (void)buf_printf(out, "%*s%s %.*s\n", INDENT, "", name, (int)length, examples);
        examples += length + (examples[length] != '\0');
    }
}

static bool in_group(const struct command *command, const char *group)
{
    size_t length = group ? strlen(group) : 0;
    return !command->hidden && (!group || (strncmp(command->words, group, length) == 0 &&
                                           (command->words[length] == ' ' || command->words[length] == '\0')));
}

static bool put_commands(struct buf *out, const struct command_program *program, const char *group)
{
    size_t widest = 0;
    for (size_t i = 0; i < program->count; i++) {
        size_t width = strlen(program->commands[i].words);
        if (in_group(&program->commands[i], group) && width > widest)
            widest = width;
    }
    if (widest == 0)
        return false;
    (void)buf_append_text(out, "\nCommands:\n");
    for (size_t i = 0; i < program->count; i++) {
        if (in_group(&program->commands[i], group))
            put_pair(out, program->commands[i].words, INDENT + widest + GAP, program->commands[i].help);
    }
    return true;
}

static char *help_of_command(const struct command_program *program, const struct command *command)
{
    struct buf out;
    size_t column = option_column(command->options);
    char *usage = mem_printf("Usage: %s %s%s%s%s", program->name, command->words, command->options ? " [options]" : "",
                             *command->args ? " " : "", command->args);
    char *sentence = mem_printf("%s.", command->help);
    buf_init(&out, 0);
    put_words(&out, 0, strlen("Usage: "), usage);
    (void)buf_append(&out, "\n", 1);
    put_words(&out, 0, 0, sentence);
    (void)buf_append_text(&out, "\nOptions:\n");
    put_options(&out, command->options, column);
    put_pair(&out, "-h, --help", column, "Show this text");
    put_names(&out, program);
    put_examples(&out, program->name, command->examples);
    mem_free(usage);
    mem_free(sentence);
    return buf_take(&out);
}

char *command_help(const struct command_program *program, const struct command *command)
{
    struct buf out;
    const struct command *bare = program->bare;
    const struct command_option *options = bare ? bare->options : program->globals;
    size_t column = option_column(options);

    if (command)
        return help_of_command(program, command);
    buf_init(&out, 0);
    if (bare)
        (void)buf_printf(&out, "Usage: %s [options]\n       %s COMMAND [options]\n\n", program->name, program->name);
    else
        (void)buf_printf(&out, "Usage: %s COMMAND [options]\n\n", program->name);
    put_words(&out, 0, 0, program->about);
    (void)put_commands(&out, program, NULL);
    (void)buf_append_text(&out, bare ? "\nOptions without a command:\n" : "\nOptions of every command:\n");
    put_options(&out, options, column);
    put_pair(&out, "-h, --help", column, "Show this text, or that of the command");
    if (!bare)
        put_pair(&out, "    --version", column, "Show the version");
    put_examples(&out, program->name, program->examples);
    return buf_take(&out);
}

char *command_group_help(const struct command_program *program, const char *group)
{
    struct buf out;
    buf_init(&out, 0);
    (void)buf_printf(&out, "Usage: %s %s COMMAND [options]\n", program->name, group);
    if (!put_commands(&out, program, group)) {
        buf_free(&out);
        return NULL;
    }
    (void)buf_append(&out, "\n", 1);
    char *more = mem_printf("\"%s %s COMMAND --help\" says more about each.", program->name, group);
    put_words(&out, 0, 0, more);
    mem_free(more);
    return buf_take(&out);
}

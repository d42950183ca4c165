/*
 * Command lines: a program is a const table of commands, each with words, arguments, options and a handler. Help, parsing
 * and hints for mistyped commands come out of the table.
 */
#ifndef CLI_COMMON_COMMAND_H
#define CLI_COMMON_COMMAND_H

#include "base/err.h"

enum command_option_kind {
    COMMAND_FLAG, /* --verbose, --no-verbose, -v */
    COMMAND_TEXT, /* --format=json, --format json, -f json, -fjson */
};

/* A list of them ends with an all-zero entry. */
struct command_option {
    const char *name; /* the long name without dashes */
    char letter;      /* 0: none */
    enum command_option_kind kind;
    const char *value; /* what the help calls the value */
    const char *help;
};

struct command;

/* A parsed command line. Strings belong to argv. */
struct command_line {
    const struct command_program *program;
    const struct command *command; /* NULL: none was given */
    struct command_value {
        const struct command_option *option;
        const char *text; /* flags: NULL is on, "false" is off */
    } * values;
    size_t value_count;
    char **args; /* NULL-terminated */
    size_t arg_count;
    bool help;
    int exit_code;  /* what the program ends with when the handler succeeds */
    int error_code; /* the same when it fails; 0: 1 */
};

struct command {
    const char *words; /* "users add" */
    const char *args;  /* "NAME", for the help */
    const char *help;
    enum tp_err (*run)(struct command_line *line, struct tp_error *error);
    const struct command_option *options; /* or NULL */
    size_t min_args;
    size_t max_args;
    size_t stop_after;    /* options end at the argument after this many; 0: they may stand anywhere */
    bool hidden;          /* not in the list of commands */
    const char *examples; /* lines without the program's name, or NULL */
};

struct command_program {
    const char *name;
    const char *about;
    const struct command_option *globals;
    const struct command *commands;
    size_t count;
    const char *examples;       /* as those of a command */
    const struct command *bare; /* what runs when no command is named; NULL: the help is shown */
    const char *complaint;      /* begins a message of an error; NULL: "ERROR: " */
    int usage_code;             /* what the program ends with when the command line is wrong; 0: 1 */
};

#define COMMAND_ANY_ARGS SIZE_MAX

/* Parses argv (argv[0] is skipped); --version in front is the command "version", where there is one. TP_INVALID with a
 * sentence for an unknown command or option, a missing value, too many or too few arguments. command_line_free it in every
 * case. */
enum tp_err command_parse(const struct command_program *program, int argc, char **argv, struct command_line *ret_line,
                          struct tp_error *error) TP_MUST;
void command_line_free(struct command_line *line);
/* Parses, runs, prints "ERROR: ..." and returns what main returns: 0 or the handler's exit_code, after an error 1 or its
 * error_code, after a wrong command line the program's usage_code. */
int command_main(const struct command_program *program, int argc, char **argv) TP_MUST;
/* The help of one command, or of the program (command NULL), in lines of 80 columns at most; mem_free it. */
char *command_help(const struct command_program *program, const struct command *command) TP_MUST;
/* The commands that begin with this word, or NULL when there are none; mem_free it. */
char *command_group_help(const struct command_program *program, const char *group) TP_MUST;

/* The last value given for an option, or otherwise. name must be in the tables of that command. */
const char *command_text(const struct command_line *line, const char *name, const char *otherwise);
/* The same, where the environment (command_env) stands between the command line and otherwise. */
const char *command_text_env(const struct command_line *line, const char *name, const char *env, const char *otherwise);
/* The index-th value given for an option that may be repeated, or NULL. */
const char *command_nth(const struct command_line *line, const char *name, size_t index);
bool command_flag(const struct command_line *line, const char *name);
/* An integer option within bounds. */
enum tp_err command_int(const struct command_line *line, const char *name, int64_t lowest, int64_t highest,
                        int64_t otherwise, int64_t *ret_value, struct tp_error *error) TP_MUST;
/* A duration option ("8h"). */
enum tp_err command_duration_ms(const struct command_line *line, const char *name, int64_t otherwise, int64_t *ret_ms,
                                struct tp_error *error) TP_MUST;
/* One of the names in allowed (NULL-terminated). */
enum tp_err command_choice(const struct command_line *line, const char *name, const char *const *allowed,
                           const char **ret_choice, struct tp_error *error) TP_MUST;
/* TPORT_NAME, else TELEPORT_NAME, else NULL; empty counts as not set. */
const char *command_env(const char *name);

#endif

/* A list of strings that grows: argument vectors for programs that we start. */
#ifndef CLI_COMMON_ARGV_H
#define CLI_COMMON_ARGV_H

#include <stddef.h>

struct argv {
    char **items; /* NULL-terminated once something was added */
    size_t count;
};

/* Appends a copy. */
void argv_add(struct argv *argv, const char *text);
void argv_addf(struct argv *argv, const char *format, ...) __attribute__((format(printf, 2, 3)));
void argv_free(struct argv *argv);

#endif

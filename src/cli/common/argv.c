#include "cli/common/argv.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void take(struct argv *argv, char *text)
{
    argv->items = mem_resize(argv->items, (argv->count + 2) * sizeof(argv->items[0]));
    argv->items[argv->count++] = text;
    argv->items[argv->count] = NULL;
}

void argv_add(struct argv *argv, const char *text)
{
    take(argv, mem_strdup(text));
}

void argv_addf(struct argv *argv, const char *format, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        abort();
    va_end(args);
    take(argv, text);
}

void argv_free(struct argv *argv)
{
    for (size_t i = 0; i < argv->count; i++)
        mem_free(argv->items[i]);
    mem_free(argv->items);
    memset(argv, 0, sizeof(*argv));
}

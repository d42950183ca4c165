/* Puts documents into a store of a daemon that does not run: standard input has "KEY<tab>VALUE" lines.
 *
 *   bench_seed DIR < LINES */
#include "base/mem.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 1000

static _Noreturn void die(const char *text)
{
    (void)fprintf(stderr, "bench_seed: %s\n", text);
    exit(1);
}

static void commit(struct store *store, struct store_op *ops, size_t *count)
{
    struct tp_error error = {0};
    if (*count > 0 && store_commit(store, ops, *count, NULL, &error))
        die(error.text);
    for (size_t i = 0; i < *count; i++)
        mem_free((char *)(uintptr_t)ops[i].key);
    *count = 0;
}

int main(int argc, char **argv)
{
    struct store_op ops[BATCH];
    struct store *store = NULL;
    struct tp_error error = {0};
    char *line = NULL;
    size_t room = 0, count = 0;
    ssize_t length;
    if (argc != 2)
        die("one argument: the folder of the store");
    if (store_open(argv[1], NULL, &store, &error))
        die(error.text);
    while ((length = getline(&line, &room, stdin)) > 0) {
        char *copy = mem_strndup(line, (size_t)length);
        char *tab = strchr(copy, '\t');
        if (!tab)
            die("a line without a tab");
        copy[strcspn(copy, "\n")] = '\0';
        *tab = '\0';
        ops[count++] = (struct store_op){copy, tab + 1, strlen(tab + 1), STORE_ANY};
        if (count == BATCH)
            commit(store, ops, &count);
    }
    commit(store, ops, &count);
    free(line);
    store_close(store);
    return 0;
}

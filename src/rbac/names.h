/* Lists of strings, and which word somebody may have meant. */
#ifndef RBAC_NAMES_H
#define RBAC_NAMES_H

#include <stdbool.h>
#include <stddef.h>

struct names {
    size_t count;
    char **items;
};

/* Appends a copy of text. */
void names_add(struct names *names, const char *text);
/* The same unless it is there already. */
void names_add_once(struct names *names, const char *text);
bool names_has(const struct names *names, const char *text);
/* Byte order. */
void names_sort(struct names *names);
/* Frees what it holds and leaves an empty list. */
void names_free(struct names *names);

/* The word of a NULL-ended list that is at most two edits away from text (and nearer than any other), or NULL. */
const char *names_nearest(const char *const *words, const char *text);
/* Number of edits between two words, at most limit + 1. */
size_t names_distance(const char *a, const char *b, size_t limit);
/* "v3, v4 or v5" of a NULL-ended list; empty words are left out, and a word in other letters than before. mem_free it. */
char *names_or(const char *const *words);
/* Is text one of a NULL-ended list? */
bool names_listed(const char *const *words, const char *text);

#endif

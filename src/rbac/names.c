#include "rbac/names.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void names_add(struct names *names, const char *text)
{
    /* Grows at each power of two, so that no capacity need be kept. */
    if ((names->count & (names->count - 1)) == 0)
        names->items = mem_resize(names->items, (names->count ? names->count * 2 : 1) * sizeof(char *));
    names->items[names->count++] = mem_strdup(text);
}

void names_add_once(struct names *names, const char *text)
{
    if (!names_has(names, text))
        names_add(names, text);
}

bool names_has(const struct names *names, const char *text)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], text) == 0)
            return true;
    return false;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void names_sort(struct names *names)
{
    if (names->count > 1)
        qsort(names->items, names->count, sizeof(char *), compare);
}

void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        mem_free(names->items[i]);
    mem_free(names->items);
    *names = (struct names){0};
}

#define WORD_MAX 64

size_t names_distance(const char *a, const char *b, size_t limit)
{
    size_t row[WORD_MAX + 1];
    size_t a_size = strlen(a);
    size_t b_size = strlen(b);
    if (a_size > WORD_MAX || b_size > WORD_MAX)
        return limit + 1;
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t change = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            row[j] = row[j] + 1 < row[j - 1] + 1 ? row[j] + 1 : row[j - 1] + 1;
            if (change < row[j])
                row[j] = change;
        }
    }
    return row[b_size] > limit ? limit + 1 : row[b_size];
}

const char *names_nearest(const char *const *words, const char *text)
{
    const char *best = NULL;
    size_t best_distance = 3;
    for (; *words; words++) {
        size_t distance = names_distance(*words, text, 2);
        /* A short word is two edits away from everything. */
        if (distance < best_distance && distance < strlen(*words) / 2 + 1) {
            best = *words;
            best_distance = distance;
        }
    }
    return best;
}

bool names_listed(const char *const *words, const char *text)
{
    for (; *words; words++)
        if (strcmp(*words, text) == 0)
            return true;
    return false;
}

/* Neither empty nor an earlier one in other letters: yes, Yes. */
static bool worth_saying(const char *const *words, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcasecmp(words[i], words[at]) == 0)
            return false;
    return *words[at];
}

char *names_or(const char *const *words)
{
    char *text = mem_strdup("");
    size_t last = 0;
    for (size_t i = 0; words[i]; i++)
        last = worth_saying(words, i) ? i : last;
    for (size_t i = 0; words[i]; i++) {
        if (!worth_saying(words, i))
            continue;
        char *longer = mem_printf("%s%s%s", text, !*text ? "" : i < last ? ", " : " or ", words[i]);
        mem_free(text);
        text = longer;
    }
    return text;
}

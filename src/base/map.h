/* A map from strings to pointers. Keys are copied; values are the caller's. What a crowd of entries took goes back with the next
 * one that is set when they have gone. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/err.h"

struct map;

struct map *map_new(void) TP_MUST;
/* Frees the map, not the values. NULL is fine. */
void map_free(struct map *map);
/* The value, or NULL. */
void *map_get(const struct map *map, const char *key);
/* Sets or replaces; returns the value that was there, or NULL. value must not be NULL. */
void *map_set(struct map *map, const char *key, void *value);
/* Removes; returns the value that was there, or NULL. */
void *map_remove(struct map *map, const char *key);
size_t map_count(const struct map *map);
/* Calls fn for each entry, in no order; fn may remove the entry it is called for, nothing else. */
void map_each(struct map *map, void (*fn)(void *ctx, const char *key, void *value), void *ctx);

#endif

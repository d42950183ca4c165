#include "base/map.h"

#include "base/mem.h"

#include <string.h>
#include <sys/random.h>

#define SLOTS_LEAST 16

struct entry {
    struct entry *next;
    uint64_t hash;
    char *key;
    void *value;
};

struct map {
    struct entry **slots;
    size_t slot_count; /* a power of two */
    size_t count;
    uint64_t seed; /* per map, so that a stranger cannot choose colliding names */
};

static uint64_t hash_of(const struct map *map, const char *key)
{
    /* FNV-1a from a random start, finished by a mix that spreads the high bits. */
    uint64_t h = 0xcbf29ce484222325u ^ map->seed;
    for (; *key; key++)
        h = (h ^ (unsigned char)*key) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

struct map *map_new(void)
{
    struct map *map = mem_alloc(sizeof(*map));
    map->slot_count = SLOTS_LEAST;
    map->slots = mem_array(map->slot_count, sizeof(struct entry *));
    (void)!getrandom(&map->seed, sizeof(map->seed), GRND_NONBLOCK);
    return map;
}

void map_free(struct map *map)
{
    if (!map)
        return;
    for (size_t i = 0; i < map->slot_count; i++) {
        while (map->slots[i]) {
            struct entry *entry = map->slots[i];
            map->slots[i] = entry->next;
            mem_free(entry->key);
            mem_free(entry);
        }
    }
    mem_free(map->slots);
    mem_free(map);
}

static struct entry **find(const struct map *map, const char *key)
{
    uint64_t hash = hash_of(map, key);
    struct entry **at = &map->slots[hash & (map->slot_count - 1)];
    while (*at && ((*at)->hash != hash || strcmp((*at)->key, key) != 0))
        at = &(*at)->next;
    return at;
}

void *map_get(const struct map *map, const char *key)
{
    struct entry *entry = *find(map, key);
    return entry ? entry->value : NULL;
}

static void resize(struct map *map, size_t slot_count)
{
    size_t old_count = map->slot_count;
    struct entry **old = map->slots;
    map->slot_count = slot_count;
    map->slots = mem_array(map->slot_count, sizeof(struct entry *));
    for (size_t i = 0; i < old_count; i++) {
        while (old[i]) {
            struct entry *entry = old[i];
            struct entry **slot = &map->slots[entry->hash & (map->slot_count - 1)];
            old[i] = entry->next;
            entry->next = *slot;
            *slot = entry;
        }
    }
    mem_free(old);
}

/* Twice as large when it is full, and a quarter when seven of eight have gone; not by a removal, for map_each allows that. */
static void fit(struct map *map)
{
    size_t slot_count = map->slot_count;
    if (map->count > slot_count)
        slot_count *= 2;
    while (slot_count > SLOTS_LEAST && map->count < slot_count / 8)
        slot_count /= 4;
    if (slot_count != map->slot_count)
        resize(map, slot_count < SLOTS_LEAST ? SLOTS_LEAST : slot_count);
}

void *map_set(struct map *map, const char *key, void *value)
{
    struct entry **at = find(map, key);
    struct entry *entry = *at;
    if (entry) {
        void *old = entry->value;
        entry->value = value;
        return old;
    }
    entry = mem_alloc(sizeof(*entry));
    entry->hash = hash_of(map, key);
    entry->key = mem_strdup(key);
    entry->value = value;
    *at = entry;
    map->count++;
    fit(map);
    return NULL;
}

void *map_remove(struct map *map, const char *key)
{
    struct entry **at = find(map, key);
    struct entry *entry = *at;
    void *value;
    if (!entry)
        return NULL;
    *at = entry->next;
    value = entry->value;
    mem_free(entry->key);
    mem_free(entry);
    map->count--;
    return value;
}

size_t map_count(const struct map *map)
{
    return map->count;
}

void map_each(struct map *map, void (*fn)(void *ctx, const char *key, void *value), void *ctx)
{
    for (size_t i = 0; i < map->slot_count; i++) {
        struct entry *entry = map->slots[i];
        while (entry) {
            struct entry *next = entry->next;
            fn(ctx, entry->key, entry->value);
            entry = next;
        }
    }
}

#include "auth/user_cache.h"

#include "auth/doc.h"
#include "base/map.h"
#include "base/mem.h"

#include <string.h>

#define KEPT_MAX 1024 /* some MB; then all are forgotten */

struct kept {
    void *text;
    size_t size;
    struct user *user; /* what the text says */
};

struct user_cache {
    struct map *entries; /* by the store's key */
};

static void free_entry(void *ctx, const char *key, void *value)
{
    struct kept *entry = value;
    (void)ctx;
    (void)key;
    mem_free(entry->text);
    user_free(entry->user);
    mem_free(entry);
}

struct user_cache *user_cache_new(void)
{
    struct user_cache *cache = mem_alloc(sizeof *cache);
    cache->entries = map_new();
    return cache;
}

void user_cache_free(struct user_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    map_each(cache->entries, free_entry, NULL);
    map_free(cache->entries);
    mem_free(cache);
}

static void forget(struct user_cache *cache, const char *key)
{
    struct kept *entry = map_remove(cache->entries, key);
    if (entry != NULL) {
        free_entry(NULL, NULL, entry);
    }
}

static enum tp_err read_user(const char *key, const void *text, size_t size, struct user **ret_user,
                             struct tp_error *error)
{
    json_t *doc = NULL;
    enum tp_err err = doc_parse(key, text, size, &doc, error);
    if (err == TP_OK) {
        err = user_parse_json(doc, ret_user, error);
        json_decref(doc);
    }
    return err;
}

/* text is ours from here on, or gone. */
static enum tp_err keep(struct user_cache *cache, const char *key, void *text, size_t size,
                        const struct user **ret_user, struct tp_error *error)
{
    struct user *user = NULL;
    enum tp_err err = read_user(key, text, size, &user, error);
    forget(cache, key);
    if (err != TP_OK) {
        mem_free(text);
        return err;
    }
    if (map_count(cache->entries) >= KEPT_MAX) {
        map_each(cache->entries, free_entry, NULL);
        map_free(cache->entries);
        cache->entries = map_new();
    }
    struct kept *entry = mem_alloc(sizeof *entry);
    *entry = (struct kept){.text = text, .size = size, .user = user};
    (void)map_set(cache->entries, key, entry);
    *ret_user = user;
    return TP_OK;
}

enum tp_err user_cache_find(struct user_cache *cache, struct store *store, const char *name,
                            const struct user **ret_user, struct tp_error *error)
{
    void *text = NULL;
    size_t size = 0;
    if (strlen(name) > STORE_KEY_MAX - strlen("/user/")) {
        return err_set(error, TP_NOT_FOUND, "the name is too long to exist");
    }
    char *key = mem_printf("/user/%s", name);
    enum tp_err err = store_get(store, key, &text, &size, NULL, error);
    const struct kept *entry = map_get(cache->entries, key);
    if (err != TP_OK) {
        forget(cache, key);
    } else if (entry != NULL && entry->size == size && memcmp(entry->text, text, size) == 0) {
        *ret_user = entry->user;
        mem_free(text);
    } else {
        err = keep(cache, key, text, size, ret_user, error);
    }
    mem_free(key);
    return err;
}

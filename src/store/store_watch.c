/* Telling others of changes. */
#include "base/mem.h"
#include "store/record.h"
#include "store/store_inner.h"

#include <string.h>

static bool wants(const struct store_watch *watch, const char *key)
{
    return !watch->dead && strncmp(key, watch->prefix, strlen(watch->prefix)) == 0;
}

void store_deliver(struct store *store, const struct store_entry *entry)
{
    store->delivering++;
    for (struct store_watch *watch = store->watches; watch; watch = watch->next) {
        if (wants(watch, entry->key))
            watch->callback(watch->ctx, entry);
    }
    store->delivering--;
}

void store_watch_sweep(struct store *store)
{
    struct store_watch **at = &store->watches;
    if (store->delivering > 0)
        return;
    while (*at) {
        struct store_watch *watch = *at;
        if (!watch->dead) {
            at = &watch->next;
            continue;
        }
        *at = watch->next;
        mem_free(watch->prefix);
        mem_free(watch);
    }
}

/* One log entry to one watch: the newest state of its key, told at the revision that made it. */
static enum tp_err replay_entry(struct store *store, const struct store_watch *watch, uint64_t revision,
                                const uint8_t *entry, size_t size, struct tp_error *error)
{
    struct store_entry told = {.revision = revision};
    char name[STORE_KEY_MAX + 1];
    uint64_t newest = 0;
    const uint8_t *value = NULL;
    MDB_val key;
    MDB_val data;
    int code;
    if (size < 2 || size - 1 > STORE_KEY_MAX)
        return err_set(error, TP_CORRUPT, "the change log of the store %s is damaged; restore it from a backup",
                       store->dir);
    memcpy(name, entry + 1, size - 1);
    name[size - 1] = '\0';
    if (!wants(watch, name))
        return TP_OK;
    key = (MDB_val){size - 1, name};
    code = mdb_get(store->reader, store->lmdb.kv, &key, &data);
    if (code != 0 && code != MDB_NOTFOUND)
        return store_mdb_error(store->dir, code, "reading", error);
    if (code == 0 && record_decode(name, size - 1, data.mv_data, data.mv_size, &newest, &value, &told.size) != TP_OK)
        return err_set(error, TP_CORRUPT, "the record \"%s\" of the store is damaged; restore the store from a backup",
                       name);
    if (code == 0 ? newest != revision : entry[0] != STORE_DELETE)
        return TP_OK; /* a later entry of the log tells it */
    told.key = name;
    if (code == 0) {
        void *plain = NULL;
        enum tp_err err = store_value_open(store, name, newest, value, told.size, &plain, &told.size, error);
        if (err != TP_OK)
            return err;
        told.value = plain;
        watch->callback(watch->ctx, &told);
        secret_wipe(plain, told.size);
        mem_free(plain);
        return TP_OK;
    }
    watch->callback(watch->ctx, &told);
    return TP_OK;
}

static enum tp_err replay(struct store *store, const struct store_watch *watch, uint64_t from, struct tp_error *error)
{
    uint8_t start[STORE_LOG_KEY];
    MDB_cursor *cursor = NULL;
    MDB_val key = {sizeof(start), start};
    MDB_val data;
    enum tp_err err = TP_OK;
    int code = mdb_cursor_open(store->reader, store->lmdb.log, &cursor);
    store_log_key(from + 1, 0, start);
    if (code == 0)
        code = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    while (code == 0 && err == TP_OK) {
        uint64_t revision = 0;
        const uint8_t *entry = NULL;
        size_t size = 0;
        if (record_decode(key.mv_data, key.mv_size, data.mv_data, data.mv_size, &revision, &entry, &size) != TP_OK)
            err = err_set(error, TP_CORRUPT, "the change log of the store %s is damaged; restore it from a backup",
                          store->dir);
        else
            err = replay_entry(store, watch, revision, entry, size, error);
        if (err == TP_OK)
            code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    if (cursor)
        mdb_cursor_close(cursor);
    if (err == TP_OK && code != 0 && code != MDB_NOTFOUND)
        return store_mdb_error(store->dir, code, "reading", error);
    return err;
}

enum tp_err store_watch(struct store *store, const char *prefix, uint64_t from_revision, store_watch_fn *callback,
                        void *ctx, struct store_watch **ret_watch, struct tp_error *error)
{
    struct store_watch *watch = mem_alloc(sizeof(*watch));
    enum tp_err err = TP_OK;
    *watch = (struct store_watch){.store = store, .prefix = mem_strdup(prefix), .callback = callback, .ctx = ctx};
    if (from_revision != STORE_ANY) {
        if (from_revision < store->floor || from_revision > store->revision)
            err = err_set(error, TP_EXPIRED, "the changes after revision %llu are no longer kept; read everything anew",
                          (unsigned long long)from_revision);
        else if (from_revision < store->revision && (err = store_read_begin(store, error)) == TP_OK) {
            err = replay(store, watch, from_revision, error);
            store_read_end(store);
        }
    }
    if (err != TP_OK) {
        mem_free(watch->prefix);
        mem_free(watch);
        return err;
    }
    watch->next = store->watches;
    store->watches = watch;
    *ret_watch = watch;
    return TP_OK;
}

void store_watch_stop(struct store_watch *watch)
{
    if (!watch)
        return;
    watch->dead = true;
    store_watch_sweep(watch->store);
}

/* Reading and writing. */
#include "store/store.h"

#include "base/log.h"
#include "base/mem.h"
#include "store/record.h"
#include "store/store_inner.h"

#include <stdlib.h>
#include <string.h>

static enum tp_err check_key(const char *key, struct tp_error *error)
{
    size_t length = strnlen(key, STORE_KEY_MAX + 1);
    if (key[0] != '/' || length < 2 || length > STORE_KEY_MAX)
        return err_set(error, TP_INVALID, "\"%.100s\" is no key: it must begin with / and have 2 to %d bytes", key,
                       STORE_KEY_MAX);
    return TP_OK;
}

static enum tp_err damaged(const char *key, struct tp_error *error)
{
    return err_set(error, TP_CORRUPT, "the record \"%s\" of the store is damaged; restore the store from a backup",
                   key);
}

static MDB_val text_val(const char *text)
{
    return (MDB_val){strlen(text), (void *)(uintptr_t)text};
}

enum tp_err store_read_begin(struct store *store, struct tp_error *error)
{
    int code = 0;
    if (!store->lmdb.env)
        return err_set(error, TP_UNAVAILABLE, "the store %s could not be opened again after a failed write",
                       store->dir);
    if (store->reading == 0) {
        if (store->reader)
            code = mdb_txn_renew(store->reader);
        else
            code = mdb_txn_begin(store->lmdb.env, NULL, MDB_RDONLY, &store->reader);
    }
    if (code != 0)
        return store_mdb_error(store->dir, code, "reading", error);
    store->reading++;
    return TP_OK;
}

void store_read_end(struct store *store)
{
    if (--store->reading == 0)
        mdb_txn_reset(store->reader);
}

enum tp_err store_get(struct store *store, const char *key, void **ret_value, size_t *ret_size, uint64_t *ret_revision,
                      struct tp_error *error)
{
    MDB_val name = text_val(key);
    MDB_val data;
    uint64_t revision = 0;
    const uint8_t *value = NULL;
    size_t size = 0;
    enum tp_err err = check_key(key, error);
    int code;
    if (err == TP_OK)
        err = store_read_begin(store, error);
    if (err != TP_OK)
        return err;
    code = mdb_get(store->reader, store->lmdb.kv, &name, &data);
    if (code == MDB_NOTFOUND)
        err = err_set(error, TP_NOT_FOUND, "\"%s\" does not exist", key);
    else if (code != 0)
        err = store_mdb_error(store->dir, code, "reading", error);
    else if (record_decode(key, name.mv_size, data.mv_data, data.mv_size, &revision, &value, &size) != TP_OK)
        err = damaged(key, error);
    if (err == TP_OK)
        err = store_value_open(store, key, revision, value, size, ret_value, ret_size, error);
    if (err == TP_OK && ret_revision)
        *ret_revision = revision;
    store_read_end(store);
    return err;
}

/* Calls back with the value as its writer gave it. */
static enum tp_err show(struct store *store, struct store_entry *entry, store_range_fn *callback, void *ctx,
                        bool *ret_more, struct tp_error *error)
{
    void *plain = NULL;
    size_t size = 0;
    enum tp_err err = TP_OK;
    if (!store->seal) {
        *ret_more = callback(ctx, entry);
        return TP_OK;
    }
    err = store_value_open(store, entry->key, entry->revision, entry->value, entry->size, &plain, &size, error);
    if (err != TP_OK)
        return err;
    entry->value = plain;
    entry->size = size;
    *ret_more = callback(ctx, entry);
    secret_wipe(plain, size);
    mem_free(plain);
    return TP_OK;
}

/* A walk over a range: where the cursor stands, and which way it goes. */
struct walk {
    struct store *store;
    const char *prefix;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    MDB_cursor_op step; /* MDB_NEXT or MDB_PREV */
    size_t limit;       /* 0: all */
    store_range_fn *callback;
    void *ctx;
};

/* code: of the cursor's first move. */
static enum tp_err walk_on(struct walk *walk, int code, struct tp_error *error)
{
    size_t prefix_size = strlen(walk->prefix);
    enum tp_err err = TP_OK;
    bool more = true;
    for (size_t seen = 0; code == 0 && err == TP_OK && more && (walk->limit == 0 || seen < walk->limit); seen++) {
        struct store_entry entry = {0};
        const uint8_t *value = NULL;
        char name[STORE_KEY_MAX + 1];
        if (walk->key.mv_size < prefix_size || memcmp(walk->key.mv_data, walk->prefix, prefix_size) != 0)
            break;
        if (walk->key.mv_size > STORE_KEY_MAX) {
            err = damaged("(a key that is too long)", error);
            break;
        }
        memcpy(name, walk->key.mv_data, walk->key.mv_size);
        name[walk->key.mv_size] = '\0';
        if (record_decode(name, walk->key.mv_size, walk->data.mv_data, walk->data.mv_size, &entry.revision, &value,
                          &entry.size) != TP_OK) {
            err = damaged(name, error);
            break;
        }
        entry.key = name;
        entry.value = value;
        err = show(walk->store, &entry, walk->callback, walk->ctx, &more, error);
        if (err == TP_OK && more)
            code = mdb_cursor_get(walk->cursor, &walk->key, &walk->data, walk->step);
    }
    if (walk->cursor)
        mdb_cursor_close(walk->cursor);
    store_read_end(walk->store);
    if (code != 0 && code != MDB_NOTFOUND)
        return store_mdb_error(walk->store->dir, code, "reading", error);
    return err;
}

enum tp_err store_range(struct store *store, const char *prefix, const char *start_after, size_t limit,
                        store_range_fn *callback, void *ctx, struct tp_error *error)
{
    bool after = start_after && strcmp(start_after, prefix) >= 0;
    struct walk walk = {.store = store,
                        .prefix = prefix,
                        .key = text_val(after ? start_after : prefix),
                        .step = MDB_NEXT,
                        .limit = limit,
                        .callback = callback,
                        .ctx = ctx};
    int code;
    enum tp_err err = store_read_begin(store, error);
    if (err != TP_OK)
        return err;
    code = mdb_cursor_open(store->reader, store->lmdb.kv, &walk.cursor);
    if (code == 0)
        code = mdb_cursor_get(walk.cursor, &walk.key, &walk.data, walk.key.mv_size > 0 ? MDB_SET_RANGE : MDB_FIRST);
    if (code == 0 && after && walk.key.mv_size == strlen(start_after) &&
        memcmp(walk.key.mv_data, start_after, walk.key.mv_size) == 0)
        code = mdb_cursor_get(walk.cursor, &walk.key, &walk.data, MDB_NEXT);
    return walk_on(&walk, code, error);
}

enum tp_err store_range_back(struct store *store, const char *prefix, const char *before, size_t limit,
                             store_range_fn *callback, void *ctx, struct tp_error *error)
{
    size_t prefix_size = strlen(prefix);
    char end[STORE_KEY_MAX + 1];
    struct walk walk = {
        .store = store, .prefix = prefix, .step = MDB_PREV, .limit = limit, .callback = callback, .ctx = ctx};
    int code;
    enum tp_err err;
    if (prefix_size == 0 || prefix_size > STORE_KEY_MAX)
        return err_set(error, TP_INVALID, "a walk back needs a prefix");
    memcpy(end, prefix, prefix_size + 1);
    end[prefix_size - 1]++; /* behind everything that begins with prefix, which ends in a slash */
    walk.key = text_val(before && strncmp(before, prefix, prefix_size) == 0 ? before : end);
    err = store_read_begin(store, error);
    if (err != TP_OK)
        return err;
    code = mdb_cursor_open(store->reader, store->lmdb.kv, &walk.cursor);
    if (code == 0)
        code = mdb_cursor_get(walk.cursor, &walk.key, &walk.data, MDB_SET_RANGE);
    if (code == 0)
        code = mdb_cursor_get(walk.cursor, &walk.key, &walk.data, MDB_PREV);
    else if (code == MDB_NOTFOUND)
        code = mdb_cursor_get(walk.cursor, &walk.key, &walk.data, MDB_LAST);
    return walk_on(&walk, code, error);
}

/* Compares what stands under the key with what the writer expects. */
static enum tp_err check_expected(struct store *store, MDB_txn *txn, const struct store_op *op, struct tp_error *error)
{
    MDB_val name = text_val(op->key);
    MDB_val data;
    uint64_t revision = 0;
    const uint8_t *value = NULL;
    size_t size = 0;
    int code = mdb_get(txn, store->lmdb.kv, &name, &data);
    if (code != 0 && code != MDB_NOTFOUND)
        return store_mdb_error(store->dir, code, "reading", error);
    if (code == MDB_NOTFOUND) {
        if (!op->value)
            return err_set(error, TP_NOT_FOUND, "\"%s\" does not exist", op->key);
        if (op->expected != STORE_ABSENT && op->expected != STORE_ANY)
            return err_set(error, TP_CONFLICT, "\"%s\" was deleted by someone else in the meantime", op->key);
        return TP_OK;
    }
    if (op->expected == STORE_ANY)
        return TP_OK;
    if (op->expected == STORE_ABSENT)
        return err_set(error, TP_EXISTS, "\"%s\" exists already", op->key);
    if (record_decode(op->key, name.mv_size, data.mv_data, data.mv_size, &revision, &value, &size) != TP_OK)
        return damaged(op->key, error);
    if (revision != op->expected)
        return err_set(error, TP_CONFLICT, "\"%s\" was changed by someone else in the meantime; read it again",
                       op->key);
    return TP_OK;
}

void store_log_key(uint64_t revision, uint32_t number, uint8_t out[STORE_LOG_KEY])
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(revision >> (56 - 8 * i));
    for (int i = 0; i < 4; i++)
        out[8 + i] = (uint8_t)(number >> (24 - 8 * i));
}

uint64_t store_log_revision(const MDB_val *key)
{
    const uint8_t *bytes = key->mv_data;
    uint64_t revision = 0;
    for (size_t i = 0; i < 8 && i < key->mv_size; i++)
        revision = revision << 8 | bytes[i];
    return revision;
}

/* Writes one record in place. */
static int put_record(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_size, uint64_t revision, const void *value,
                      size_t size)
{
    MDB_val name = {key_size, (void *)(uintptr_t)key};
    MDB_val data = {RECORD_HEADER + size, NULL};
    int code = mdb_put(txn, dbi, &name, &data, MDB_RESERVE);
    if (code == 0)
        record_encode(key, key_size, revision, value, size, data.mv_data);
    return code;
}

/* A value under its key, sealed where the store is. */
static int put_value(const struct store *store, MDB_txn *txn, const struct store_op *op, uint64_t revision)
{
    size_t size = op->size;
    void *sealed = store->seal ? store_value_seal(store, op->key, revision, op->value, op->size, &size) : NULL;
    int code = put_record(txn, store->lmdb.kv, op->key, strlen(op->key), revision, sealed ? sealed : op->value, size);
    mem_free(sealed);
    return code;
}

static int apply(struct store *store, MDB_txn *txn, const struct store_op *op, uint64_t revision, uint32_t number)
{
    MDB_val name = text_val(op->key);
    uint8_t log_key[STORE_LOG_KEY];
    char entry[STORE_KEY_MAX + 1];
    int code = op->value ? put_value(store, txn, op, revision) : mdb_del(txn, store->lmdb.kv, &name, NULL);
    if (code != 0)
        return code;
    store_log_key(revision, number, log_key);
    entry[0] = op->value ? STORE_PUT : STORE_DELETE;
    memcpy(entry + 1, op->key, name.mv_size);
    return put_record(txn, store->lmdb.log, log_key, sizeof(log_key), revision, entry, name.mv_size + 1);
}

/* Drops the oldest revisions until the log is within its bound; the newest one always stays. */
static int trim_log(struct store *store, MDB_txn *txn, uint64_t newest, uint64_t *floor)
{
    MDB_cursor *cursor = NULL;
    MDB_stat stat;
    MDB_val key;
    MDB_val data;
    int code = mdb_stat(txn, store->lmdb.log, &stat);
    if (code != 0 || stat.ms_entries <= store->options.log_entries)
        return code;
    code = mdb_cursor_open(txn, store->lmdb.log, &cursor);
    if (code != 0)
        return code;
    code = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
    while (code == 0) {
        uint64_t revision = store_log_revision(&key);
        if (revision == newest || (stat.ms_entries <= store->options.log_entries && revision != *floor))
            break;
        *floor = revision;
        code = mdb_cursor_del(cursor, 0);
        stat.ms_entries--;
        if (code == 0)
            code = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

/* One attempt at a commit. ret_code is LMDB's code when that failed, 0 when the writer's expectation did. */
static enum tp_err try_commit(struct store *store, const struct store_op *ops, size_t count, int *ret_code,
                              struct tp_error *error)
{
    MDB_txn *txn = NULL;
    uint64_t revision = store->revision + 1;
    uint64_t floor = store->floor;
    enum tp_err err = TP_OK;
    int code = mdb_txn_begin(store->lmdb.env, NULL, 0, &txn);
    *ret_code = code;
    if (code != 0)
        return store_mdb_error(store->dir, code, "writing", error);
    for (size_t i = 0; i < count && err == TP_OK && code == 0; i++) {
        err = check_expected(store, txn, &ops[i], error);
        if (err == TP_OK)
            code = apply(store, txn, &ops[i], revision, (uint32_t)i);
    }
    if (err == TP_OK && code == 0)
        code = trim_log(store, txn, revision, &floor);
    if (err == TP_OK && code == 0)
        err = store_state_write(&store->lmdb, txn, revision, floor, &code);
    if (code != 0 || err != TP_OK) {
        mdb_txn_abort(txn);
    } else {
        code = mdb_txn_commit(txn);
    }
    *ret_code = code;
    if (code != 0)
        return store_mdb_error(store->dir, code, "writing", error);
    if (err == TP_OK) {
        store->revision = revision;
        store->floor = floor;
    }
    return err;
}

/* Doubles the map up to the limit. False: it is there already. */
static bool grow_map(struct store *store)
{
    MDB_envinfo info;
    size_t size;
    if (mdb_env_info(store->lmdb.env, &info) != 0 || info.me_mapsize >= store->options.map_limit)
        return false;
    size = info.me_mapsize > store->options.map_limit / 2 ? store->options.map_limit : info.me_mapsize * 2;
    return mdb_env_set_mapsize(store->lmdb.env, size) == 0;
}

/* After a failed write of a meta page LMDB refuses everything until the environment is opened anew. */
static enum tp_err reopen(struct store *store, struct tp_error *error)
{
    struct store_env fresh;
    MDB_txn *txn = NULL;
    enum tp_err err;
    int code;
    log_warn("the store is opened anew after a failed write", "path=\"%s\"", store->dir);
    if (store->reader)
        mdb_txn_abort(store->reader);
    store->reader = NULL;
    mdb_env_close(store->lmdb.env);
    store->lmdb = (struct store_env){0};
    err = store_env_open(store->dir, &store->options, true, &fresh, error);
    if (err != TP_OK)
        return err;
    store->lmdb = fresh;
    code = mdb_txn_begin(fresh.env, NULL, MDB_RDONLY, &txn);
    if (code != 0)
        return store_mdb_error(store->dir, code, "reading", error);
    err = store_state_read(&store->lmdb, txn, store->dir, &store->revision, &store->floor, error);
    mdb_txn_abort(txn);
    return err;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum tp_err check_ops(const struct store_op *ops, size_t count, struct tp_error *error)
{
    const char **keys = mem_array(count + 1, sizeof(*keys));
    enum tp_err err = TP_OK;
    for (size_t i = 0; i < count && err == TP_OK; i++) {
        err = check_key(ops[i].key, error);
        if (err == TP_OK && ops[i].value && ops[i].size > STORE_VALUE_MAX)
            err = err_set(error, TP_TOO_LARGE, "the value of \"%s\" is larger than %zu bytes", ops[i].key,
                          STORE_VALUE_MAX);
        keys[i] = ops[i].key;
    }
    if (err == TP_OK) {
        qsort(keys, count, sizeof(*keys), compare_texts);
        for (size_t i = 1; i < count && err == TP_OK; i++) {
            if (strcmp(keys[i - 1], keys[i]) == 0)
                err = err_set(error, TP_INVALID, "\"%s\" stands twice in one batch", keys[i]);
        }
    }
    mem_free(keys);
    return err;
}

enum tp_err store_commit(struct store *store, const struct store_op *ops, size_t count, uint64_t *ret_revision,
                         struct tp_error *error)
{
    enum tp_err err;
    int code = 0;
    bool reopened = false;
    if (store->reading > 0 || store->delivering > 0)
        return err_set(error, TP_INTERNAL, "the store was written from within one of its callbacks");
    err = check_ops(ops, count, error);
    if (err != TP_OK)
        return err;
    if (!store->lmdb.env && (err = reopen(store, error)) != TP_OK)
        return err;
    if (count > 0) {
        for (;;) {
            err = try_commit(store, ops, count, &code, error);
            if (code == MDB_MAP_FULL && grow_map(store))
                continue;
            if (code == MDB_PANIC && !reopened) {
                reopened = true;
                err = reopen(store, error);
                if (err == TP_OK)
                    continue;
            }
            break;
        }
        if (err != TP_OK)
            return err;
    }
    if (ret_revision)
        *ret_revision = store->revision;
    for (size_t i = 0; i < count; i++) {
        struct store_entry entry = {ops[i].key, ops[i].value, ops[i].value ? ops[i].size : 0, store->revision};
        store_deliver(store, &entry);
    }
    store_watch_sweep(store);
    return TP_OK;
}

enum tp_err store_put(struct store *store, const char *key, const void *value, size_t size, uint64_t expected,
                      uint64_t *ret_revision, struct tp_error *error)
{
    struct store_op op = {key, value ? value : "", value ? size : 0, expected};
    return store_commit(store, &op, 1, ret_revision, error);
}

enum tp_err store_delete(struct store *store, const char *key, uint64_t expected, struct tp_error *error)
{
    struct store_op op = {key, NULL, 0, expected};
    return store_commit(store, &op, 1, NULL, error);
}

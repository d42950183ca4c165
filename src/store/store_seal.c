/*
 * Sealed values. What stands in a record is the value sealed (crypt/seal.h) under the name "REVISION KEY", so that no record
 * can be moved below another key, or given another revision, by somebody who has the file and not the key. Keys of records
 * and the change log, which has no values, stay readable.
 *
 * A store is sealed from its first record on, or never. One with records and without the mark is refused where there is to be
 * a key: it was put there by somebody who has not got it.
 */
#include "base/mem.h"
#include "store/record.h"
#include "store/store_inner.h"

#include <endian.h>
#include <string.h>

#define MARK "seal" /* in "meta": the id of the key */
#define PURPOSE "tport store"

struct name {
    uint8_t bytes[sizeof(uint64_t) + STORE_KEY_MAX];
    size_t size;
};

static struct name name_of(const char *key, uint64_t revision)
{
    struct name name;
    size_t length = strlen(key);
    revision = htobe64(revision);
    memcpy(name.bytes, &revision, sizeof(revision));
    memcpy(name.bytes + sizeof(revision), key, length);
    name.size = sizeof(revision) + length;
    return name;
}

void *store_value_seal(const struct store *store, const char *key, uint64_t revision, const void *value, size_t size,
                       size_t *ret_size)
{
    const struct name name = name_of(key, revision);
    uint8_t *sealed = mem_alloc(size + SEAL_OVERHEAD);
    seal_close(store->seal, name.bytes, name.size, value, size, sealed);
    *ret_size = size + SEAL_OVERHEAD;
    return sealed;
}

enum tp_err store_value_open(const struct store *store, const char *key, uint64_t revision, const uint8_t *value,
                             size_t size, void **ret_value, size_t *ret_size, struct tp_error *error)
{
    char *plain = mem_alloc(size + 1);
    size_t plain_size = size;
    if (store->seal) {
        const struct name name = name_of(key, revision);
        if (seal_open(store->seal, name.bytes, name.size, value, size, (uint8_t *)plain, &plain_size) != TP_OK) {
            mem_free(plain);
            return err_set(
                error, TP_CORRUPT,
                "the record \"%s\" of the store %s is not as it was sealed: somebody changed it, or moved it "
                "from elsewhere; restore the store from a backup",
                key, store->dir);
        }
    } else if (size > 0) {
        memcpy(plain, value, size);
    }
    *ret_value = plain;
    *ret_size = plain_size;
    return TP_OK;
}

/* ---- the mark in "meta" ---- */

static enum tp_err mark_read(const struct store *store, MDB_txn *txn, bool *ret_sealed, uint8_t id[SEAL_ID_SIZE],
                             struct tp_error *error)
{
    MDB_val key = {sizeof(MARK) - 1, (void *)(uintptr_t)MARK};
    MDB_val data;
    const uint8_t *value = NULL;
    size_t size = 0;
    uint64_t revision = 0;
    int code = mdb_get(txn, store->lmdb.meta, &key, &data);
    *ret_sealed = code == 0;
    if (code == MDB_NOTFOUND)
        return TP_OK;
    if (code != 0)
        return store_mdb_error(store->dir, code, "reading", error);
    if (record_decode(MARK, sizeof(MARK) - 1, data.mv_data, data.mv_size, &revision, &value, &size) != TP_OK ||
        size != SEAL_ID_SIZE)
        return err_set(error, TP_CORRUPT, "the record of the key of the store %s is damaged; restore it from a backup",
                       store->dir);
    memcpy(id, value, SEAL_ID_SIZE);
    return TP_OK;
}

int store_seal_mark(const struct store *store, MDB_txn *txn)
{
    uint8_t record[RECORD_HEADER + SEAL_ID_SIZE];
    MDB_val key = {sizeof(MARK) - 1, (void *)(uintptr_t)MARK};
    MDB_val data = {sizeof(record), record};
    record_encode(MARK, sizeof(MARK) - 1, store->revision, seal_id(store->seal), SEAL_ID_SIZE, record);
    return mdb_put(txn, store->lmdb.meta, &key, &data, 0);
}

static enum tp_err mark_empty(const struct store *store, struct tp_error *error)
{
    MDB_txn *txn = NULL;
    int code = mdb_txn_begin(store->lmdb.env, NULL, 0, &txn);
    if (code == 0) {
        code = store_seal_mark(store, txn);
        if (code == 0)
            code = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    return code == 0 ? TP_OK : store_mdb_error(store->dir, code, "writing", error);
}

/* ---- opening ---- */

static bool open_one(void *ctx, const struct store_entry *entry)
{
    (void)ctx;
    (void)entry; /* store_range has opened it */
    return true;
}

static enum tp_err look(struct store *store, bool *ret_sealed, uint8_t id[SEAL_ID_SIZE], size_t *ret_count,
                        struct tp_error *error)
{
    MDB_txn *txn = NULL;
    MDB_stat stat;
    enum tp_err err;
    int code = mdb_txn_begin(store->lmdb.env, NULL, MDB_RDONLY, &txn);
    if (code != 0)
        return store_mdb_error(store->dir, code, "reading", error);
    err = mark_read(store, txn, ret_sealed, id, error);
    code = mdb_stat(txn, store->lmdb.kv, &stat);
    mdb_txn_abort(txn);
    if (err == TP_OK && code != 0)
        return store_mdb_error(store->dir, code, "reading", error);
    *ret_count = stat.ms_entries;
    return err;
}

struct seal *store_seal_of(const uint8_t key[STORE_KEY_SIZE])
{
    return seal_new(key, PURPOSE);
}

/* The key is not the one. A change of the key that was cut short leaves the one that is. */
static enum tp_err try_next(struct store *store, const uint8_t id[SEAL_ID_SIZE], struct tp_error *error)
{
    uint8_t key[STORE_KEY_SIZE];
    struct tp_error none = {0};
    if (store->options.next_key && store->options.next_key(store->options.key_ctx, true, key, &none) == TP_OK) {
        struct seal *seal = seal_new(key, PURPOSE);
        secret_wipe(key, sizeof(key));
        if (memcmp(id, seal_id(seal), SEAL_ID_SIZE) == 0) {
            seal_free(store->seal);
            store->seal = seal;
            return TP_OK;
        }
        seal_free(seal);
    } else if (store->options.next_key && none.code != TP_NOT_FOUND) {
        return err_set(
            error, TP_INVALID,
            "this is not the key that the store %s was sealed with; a change of the key may have been cut short "
            "(%s): as root, tportd secrets rekey brings it to an end",
            store->dir, none.text);
    }
    return err_set(error, TP_INVALID,
                   "this is not the key that the store %s was sealed with; put that key back, for without it nobody "
                   "can read the store",
                   store->dir);
}

enum tp_err store_seal_begin(struct store *store, struct tp_error *error)
{
    uint8_t id[SEAL_ID_SIZE];
    uint8_t key[STORE_KEY_SIZE];
    bool sealed = false;
    size_t count = 0;
    enum tp_err err = look(store, &sealed, id, &count, error);
    if (err == TP_OK && !store->options.key)
        return sealed ? err_set(error, TP_INVALID, "the store %s is sealed and cannot be opened without its key",
                                store->dir)
                      : TP_OK;
    if (err == TP_OK && !sealed && count > 0)
        return err_set(error, TP_INVALID,
                       "the store %s has records that are not sealed, so it is not the one that was here; put that one "
                       "back, or remove this one to begin anew",
                       store->dir);
    if (err == TP_OK)
        err = store->options.key(store->options.key_ctx, sealed, key, error);
    if (err != TP_OK)
        return err;
    store->seal = seal_new(key, PURPOSE);
    secret_wipe(key, sizeof(key));
    if (sealed && memcmp(id, seal_id(store->seal), sizeof(id)) != 0)
        err = try_next(store, id, error);
    if (err != TP_OK)
        return err;
    if (!sealed)
        err = mark_empty(store, error);
    /* All of it once: a record that does not open must not come to light when somebody needs it. */
    return err == TP_OK ? store_range(store, "", NULL, 0, open_one, NULL, error) : err;
}

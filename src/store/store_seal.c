/*
 * Sealed values. What stands in a record is the value sealed (crypt/seal.h) under the name "REVISION KEY", so that no record
 * can be moved below another key, or given another revision, by somebody who has the file and not the key. Keys of records
 * and the change log, which has no values, stay readable.
 *
 * A store from before sealing is written anew beside itself, sealed, and takes the old file's place in one rename: sealing in
 * place would leave the old values in pages that LMDB keeps as free ones.
 */
#include "base/log.h"
#include "base/mem.h"
#include "store/record.h"
#include "store/store_inner.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "seal" /* in "meta": the id of the key */
#define PURPOSE "tport store"
#define FRESH_MAP ((size_t)64 * 1024 * 1024)

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

static int mark_write(const struct store *store, const struct store_env *lmdb, MDB_txn *txn)
{
    uint8_t record[RECORD_HEADER + SEAL_ID_SIZE];
    MDB_val key = {sizeof(MARK) - 1, (void *)(uintptr_t)MARK};
    MDB_val data = {sizeof(record), record};
    record_encode(MARK, sizeof(MARK) - 1, store->revision, seal_id(store->seal), SEAL_ID_SIZE, record);
    return mdb_put(txn, lmdb->meta, &key, &data, 0);
}

static enum tp_err mark_empty(struct store *store, struct tp_error *error)
{
    MDB_txn *txn = NULL;
    int code = mdb_txn_begin(store->lmdb.env, NULL, 0, &txn);
    if (code == 0) {
        code = mark_write(store, &store->lmdb, txn);
        if (code == 0)
            code = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    return code == 0 ? TP_OK : store_mdb_error(store->dir, code, "writing", error);
}

/* ---- from unsealed to sealed ---- */

static int put_sealed(const struct store *store, MDB_txn *txn, MDB_dbi to, MDB_val *key, uint64_t revision,
                      const uint8_t *value, size_t size)
{
    char name[STORE_KEY_MAX + 1];
    size_t sealed_size = 0;
    uint8_t *sealed;
    MDB_val data;
    int code;
    memcpy(name, key->mv_data, key->mv_size);
    name[key->mv_size] = '\0';
    sealed = store_value_seal(store, name, revision, value, size, &sealed_size);
    data = (MDB_val){RECORD_HEADER + sealed_size, NULL};
    code = mdb_put(txn, to, key, &data, MDB_RESERVE | MDB_APPEND);
    if (code == 0)
        record_encode(name, key->mv_size, revision, sealed, sealed_size, data.mv_data);
    mem_free(sealed);
    return code;
}

static int copy_database(const struct store *store, MDB_txn *from_txn, MDB_dbi from, MDB_txn *to_txn, MDB_dbi to,
                         bool seal)
{
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    int code = mdb_cursor_open(from_txn, from, &cursor);
    while (code == 0 && (code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        uint64_t revision = 0;
        const uint8_t *value = NULL;
        size_t size = 0;
        if (!seal)
            code = mdb_put(to_txn, to, &key, &data, MDB_APPEND);
        else if (key.mv_size > STORE_KEY_MAX ||
                 record_decode(key.mv_data, key.mv_size, data.mv_data, data.mv_size, &revision, &value, &size) != TP_OK)
            code = MDB_CORRUPTED;
        else
            code = put_sealed(store, to_txn, to, &key, revision, value, size);
    }
    if (cursor)
        mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

static int copy_all(const struct store *store, const struct store_env *fresh)
{
    MDB_txn *from = NULL;
    MDB_txn *to = NULL;
    int code = mdb_txn_begin(store->lmdb.env, NULL, MDB_RDONLY, &from);
    if (code == 0)
        code = mdb_txn_begin(fresh->env, NULL, 0, &to);
    if (code == 0)
        code = copy_database(store, from, store->lmdb.kv, to, fresh->kv, true);
    if (code == 0)
        code = copy_database(store, from, store->lmdb.log, to, fresh->log, false);
    if (code == 0)
        code = copy_database(store, from, store->lmdb.meta, to, fresh->meta, false);
    if (code == 0)
        code = mark_write(store, fresh, to);
    if (code == 0) {
        code = mdb_txn_commit(to);
    } else if (to) {
        mdb_txn_abort(to);
    }
    if (from)
        mdb_txn_abort(from);
    return code;
}

static enum tp_err fsync_folder(const char *dir, struct tp_error *error)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    enum tp_err err = good ? TP_OK : err_errno(error, errno, "cannot write the folder %s", dir);
    if (fd >= 0)
        (void)close(fd);
    return err;
}

/* The old file has no name any more; its blocks would keep the values until something else is written there. */
static void overwrite(int fd)
{
    static const uint8_t zeros[65536];
    struct stat info;
    off_t at = 0;
    bool good = fstat(fd, &info) == 0;
    while (good && at < info.st_size) {
        ssize_t done = pwrite(fd, zeros, sizeof(zeros), at);
        good = done > 0;
        at += done;
    }
    if (!good || fsync(fd) != 0)
        log_warn("the unsealed store could not be overwritten after it was sealed", "errno=%d", errno);
}

static void remove_folder(const char *dir)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *path = mem_printf("%s/%s", dir, files[i]);
        (void)unlink(path);
        mem_free(path);
    }
    (void)rmdir(dir);
}

/* Puts the sealed file in the place of the old one and opens that. */
static enum tp_err take_place(struct store *store, const char *fresh_file, const char *file, struct tp_error *error)
{
    enum tp_err err = TP_OK;
    int old = open(file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    mdb_env_close(store->lmdb.env);
    store->lmdb = (struct store_env){0};
    if (old < 0 || rename(fresh_file, file) != 0)
        err = err_errno(error, errno, "cannot replace %s by its sealed form", file);
    if (err == TP_OK)
        err = fsync_folder(store->dir, error);
    if (err == TP_OK)
        overwrite(old);
    if (old >= 0)
        (void)close(old);
    if (err == TP_OK)
        err = store_env_open(store->dir, &store->options, true, &store->lmdb, error);
    return err;
}

static enum tp_err seal_all(struct store *store, size_t count, struct tp_error *error)
{
    char *dir = mem_printf("%s/sealing", store->dir);
    char *fresh_file = mem_printf("%s/data.mdb", dir);
    char *file = mem_printf("%s/data.mdb", store->dir);
    struct store_options options = store->options;
    struct store_env fresh = {0};
    struct stat info;
    enum tp_err err = TP_OK;
    remove_folder(dir); /* of an attempt that was cut short */
    if (stat(file, &info) != 0 || mkdir(dir, 0700) != 0)
        err = err_errno(error, errno, "cannot make the folder %s", dir);
    if (err == TP_OK) {
        options.map_size = (size_t)info.st_size * 4 + FRESH_MAP; /* short values grow most: by SEAL_OVERHEAD */
        err = store_env_open(dir, &options, true, &fresh, error);
    }
    if (err == TP_OK) {
        int code = copy_all(store, &fresh);
        if (code != 0)
            err = store_mdb_error(store->dir, code, "sealing", error);
        mdb_env_close(fresh.env);
    }
    if (err == TP_OK)
        err = take_place(store, fresh_file, file, error);
    remove_folder(dir);
    if (err == TP_OK)
        log_info("the store is sealed now", "path=\"%s\" records=%zu", store->dir, count);
    mem_free(file);
    mem_free(fresh_file);
    mem_free(dir);
    return err;
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
    if (err == TP_OK)
        err = store->options.key(store->options.key_ctx, sealed, key, error);
    if (err != TP_OK)
        return err;
    store->seal = seal_new(key, PURPOSE);
    secret_wipe(key, sizeof(key));
    if (sealed && memcmp(id, seal_id(store->seal), sizeof(id)) != 0)
        return err_set(
            error, TP_INVALID,
            "this is not the key that the store %s was sealed with; put that key back, for without it nobody "
            "can read the store",
            store->dir);
    if (!sealed)
        err = count > 0 ? seal_all(store, count, error) : mark_empty(store, error);
    /* All of it once: a record that does not open must not come to light when somebody needs it. */
    return err == TP_OK ? store_range(store, "", NULL, 0, open_one, NULL, error) : err;
}

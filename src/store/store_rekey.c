/*
 * Another key for a sealed store: all of it is written anew in a folder of its own, sealed with that key, and takes the old
 * file's place in one rename. Sealing in place would leave old values in pages that LMDB keeps as free ones. Whatever moment
 * this is cut short at, the store is whole, and sealed with one of the two keys; what is left over goes when it is opened again.
 */
#include "base/log.h"
#include "base/mem.h"
#include "store/record.h"
#include "store/store_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "rekeying"
#define MAP_MORE ((size_t)16 * 1024 * 1024)

/* One rekeying: the paths, and the store as it will be. */
struct rekey {
    struct store *store;
    struct store fresh; /* what store_value_seal and the mark look at */
    char *dir;
    char *fresh_file;
    char *old_file; /* a second name of the old file, so that it can be overwritten when it has lost its first one */
    char *file;
};

/* ---- the copy ---- */

static int put_sealed(const struct rekey *rekey, MDB_txn *txn, const MDB_val *at, const MDB_val *record)
{
    char name[STORE_KEY_MAX + 1];
    uint64_t revision = 0;
    const uint8_t *value = NULL;
    void *plain = NULL;
    size_t size = 0;
    size_t plain_size = 0;
    struct tp_error ignored = {0};
    MDB_val key = *at;
    if (key.mv_size > STORE_KEY_MAX ||
        record_decode(key.mv_data, key.mv_size, record->mv_data, record->mv_size, &revision, &value, &size) != TP_OK)
        return MDB_CORRUPTED;
    memcpy(name, key.mv_data, key.mv_size);
    name[key.mv_size] = '\0';
    if (store_value_open(rekey->store, name, revision, value, size, &plain, &plain_size, &ignored) != TP_OK)
        return MDB_CORRUPTED;
    uint8_t *sealed = store_value_seal(&rekey->fresh, name, revision, plain, plain_size, &size);
    MDB_val data = {RECORD_HEADER + size, NULL};
    int code = mdb_put(txn, rekey->fresh.lmdb.kv, &key, &data, MDB_RESERVE | MDB_APPEND);
    if (code == 0)
        record_encode(name, key.mv_size, revision, sealed, size, data.mv_data);
    secret_wipe(plain, plain_size);
    mem_free(plain);
    mem_free(sealed);
    return code;
}

static int copy_database(const struct rekey *rekey, MDB_txn *from_txn, MDB_dbi from, MDB_txn *to_txn, MDB_dbi to)
{
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;
    int code = mdb_cursor_open(from_txn, from, &cursor);
    while (code == 0 && (code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0)
        code = to == rekey->fresh.lmdb.kv ? put_sealed(rekey, to_txn, &key, &data)
                                          : mdb_put(to_txn, to, &key, &data, MDB_APPEND);
    if (cursor)
        mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

static int copy_all(const struct rekey *rekey)
{
    const struct store_env *old = &rekey->store->lmdb;
    const struct store_env *fresh = &rekey->fresh.lmdb;
    MDB_txn *from = NULL;
    MDB_txn *to = NULL;
    int code = mdb_txn_begin(old->env, NULL, MDB_RDONLY, &from);
    if (code == 0)
        code = mdb_txn_begin(fresh->env, NULL, 0, &to);
    if (code == 0)
        code = copy_database(rekey, from, old->kv, to, fresh->kv);
    if (code == 0)
        code = copy_database(rekey, from, old->log, to, fresh->log);
    if (code == 0)
        code = copy_database(rekey, from, old->meta, to, fresh->meta);
    if (code == 0)
        code = store_seal_mark(&rekey->fresh, to);
    if (code == 0)
        code = mdb_txn_commit(to);
    else if (to)
        mdb_txn_abort(to);
    if (from)
        mdb_txn_abort(from);
    return code;
}

/* ---- files ---- */

static enum tp_err fsync_path(const char *path, int flags, struct tp_error *error)
{
    int fd = open(path, flags | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool good = fd >= 0 && fsync(fd) == 0;
    enum tp_err err = good ? TP_OK : err_errno(error, errno, "cannot write %s to the disk", path);
    if (fd >= 0)
        (void)close(fd);
    return err;
}

/* Its blocks would keep what the old key opens until something else is written there. */
static void overwrite(const char *path)
{
    static const uint8_t zeros[65536];
    struct stat info;
    off_t at = 0;
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    bool good = fd >= 0 && fstat(fd, &info) == 0;
    while (good && at < info.st_size) {
        ssize_t done = pwrite(fd, zeros, sizeof(zeros), at);
        good = done > 0;
        at += done;
    }
    if (!good || fsync(fd) != 0)
        log_warn("the store of before could not be overwritten", "path=\"%s\" errno=%d", path, errno);
    if (fd >= 0)
        (void)close(fd);
}

/* The old file is the store itself when the change was cut short before the rename, and as long as the disk may have the folder
 * as it was before. */
static enum tp_err drop_old(const char *dir, const char *file, const char *old_file, struct tp_error *error)
{
    struct stat old;
    struct stat now;
    if (lstat(old_file, &old) != 0 || lstat(file, &now) != 0)
        return TP_OK;
    if (now.st_ino != old.st_ino || now.st_dev != old.st_dev) {
        enum tp_err err = fsync_path(dir, O_DIRECTORY, error);
        if (err != TP_OK)
            return err;
        overwrite(old_file);
    }
    (void)unlink(old_file);
    return TP_OK;
}

enum tp_err store_rekey_clean(const char *dir, struct tp_error *error)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    char *folder = mem_printf("%s/" FOLDER, dir);
    char *old_file = mem_printf("%s/old.mdb", folder);
    char *file = mem_printf("%s/data.mdb", dir);
    enum tp_err err = drop_old(dir, file, old_file, error);
    for (size_t i = 0; err == TP_OK && i < sizeof(files) / sizeof(files[0]); i++) {
        char *path = mem_printf("%s/%s", folder, files[i]);
        (void)unlink(path);
        mem_free(path);
    }
    if (err == TP_OK)
        (void)rmdir(folder);
    mem_free(folder);
    mem_free(old_file);
    mem_free(file);
    return err;
}

static enum tp_err write_fresh(struct rekey *rekey, const struct stat *old, struct tp_error *error)
{
    struct store_options options = rekey->store->options;
    enum tp_err err = TP_OK;
    if (mkdir(rekey->dir, 0700) != 0)
        return err_errno(error, errno, "cannot make the folder %s", rekey->dir);
    options.map_size = (size_t)old->st_size * 2 + MAP_MORE;
    if (options.map_limit < options.map_size)
        options.map_limit = options.map_size;
    err = store_env_open(rekey->dir, &options, true, &rekey->fresh.lmdb, error);
    if (err != TP_OK)
        return err;
    int code = copy_all(rekey);
    mdb_env_close(rekey->fresh.lmdb.env);
    if (code != 0)
        return store_mdb_error(rekey->store->dir, code, "writing the store anew", error);
    err = fsync_path(rekey->fresh_file, 0, error);
    return err == TP_OK ? fsync_path(rekey->dir, O_DIRECTORY, error) : err;
}

static enum tp_err take_place(struct rekey *rekey, struct tp_error *error)
{
    if (link(rekey->file, rekey->old_file) != 0)
        return err_errno(error, errno, "cannot keep %s until it is replaced", rekey->file);
    if (rekey->store->reader)
        mdb_txn_abort(rekey->store->reader);
    rekey->store->reader = NULL;
    mdb_env_close(rekey->store->lmdb.env);
    rekey->store->lmdb = (struct store_env){0};
    if (rename(rekey->fresh_file, rekey->file) != 0)
        return err_errno(error, errno, "cannot replace %s", rekey->file);
    return fsync_path(rekey->store->dir, O_DIRECTORY, error);
}

enum tp_err store_rekey(const char *dir, const struct store_options *options, const uint8_t key[STORE_KEY_SIZE],
                        struct tp_error *error)
{
    struct rekey rekey = {0};
    struct stat old;
    struct tp_error ignored = {0};
    enum tp_err err = store_open(dir, options, &rekey.store, error);
    if (err != TP_OK)
        return err;
    rekey.dir = mem_printf("%s/" FOLDER, dir);
    rekey.fresh_file = mem_printf("%s/data.mdb", rekey.dir);
    rekey.old_file = mem_printf("%s/old.mdb", rekey.dir);
    rekey.file = mem_printf("%s/data.mdb", dir);
    rekey.fresh.seal = store_seal_of(key);
    rekey.fresh.revision = rekey.store->revision;
    if (rekey.store->seal == NULL)
        err = err_set(error, TP_INVALID, "the store %s is not sealed, so its key cannot be changed", dir);
    else if (stat(rekey.file, &old) != 0)
        err = err_errno(error, errno, "cannot look at %s", rekey.file);
    if (err == TP_OK)
        err = write_fresh(&rekey, &old, error);
    if (err == TP_OK)
        err = take_place(&rekey, error);
    if (err == TP_OK)
        err = store_rekey_clean(dir, error);
    else if (store_rekey_clean(dir, &ignored) != TP_OK)
        log_warn("what the change of the key left stays", "why=\"%s\"", ignored.text);
    store_close(rekey.store);
    seal_free(rekey.fresh.seal);
    mem_free(rekey.dir);
    mem_free(rekey.fresh_file);
    mem_free(rekey.old_file);
    mem_free(rekey.file);
    return err;
}

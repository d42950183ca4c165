/* Opening and closing the environment. */
#include "base/log.h"
#include "base/mem.h"
#include "store/record.h"
#include "store/store_inner.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MARK "tport store 1\n"
#define STATE "state"
#define NEARLY_FULL ((uint64_t)16 * 1024 * 1024)

/* LMDB tells a write that was cut short, as on a full disk, as EIO. */
static bool disk_is_full(const char *dir)
{
    struct statvfs info;
    return statvfs(dir, &info) == 0 && info.f_bavail * info.f_frsize < NEARLY_FULL;
}

enum tp_err store_mdb_error(const char *dir, int code, const char *what, struct tp_error *error)
{
    if (code == EIO && disk_is_full(dir))
        code = ENOSPC;
    switch (code) {
    case MDB_MAP_FULL:
        return err_set(error, TP_NO_SPACE, "the store %s has reached its largest size; remove what is no longer needed",
                       dir);
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INCOMPATIBLE:
    case MDB_BAD_VALSIZE:
        return err_set(error, TP_CORRUPT, "the store %s is damaged or no store of tport (%s); restore it from a backup",
                       dir, mdb_strerror(code));
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return err_set(error, TP_NO_SPACE, "%s: no space is left on the disk of %s; free some and try again", what,
                       dir);
    default:
        if (code > 0)
            return err_errno(error, code, "%s in the store %s", what, dir);
        return err_set(error, TP_IO, "%s in the store %s: %s", what, dir, mdb_strerror(code));
    }
}

static int open_databases(struct store_env *lmdb, bool create)
{
    unsigned flags = create ? MDB_CREATE : 0;
    MDB_txn *txn = NULL;
    int code = mdb_txn_begin(lmdb->env, NULL, create ? 0 : MDB_RDONLY, &txn);
    if (code != 0)
        return code;
    code = mdb_dbi_open(txn, "kv", flags, &lmdb->kv);
    if (code == 0)
        code = mdb_dbi_open(txn, "log", flags, &lmdb->log);
    if (code == 0)
        code = mdb_dbi_open(txn, "meta", flags, &lmdb->meta);
    if (code != 0) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn);
}

enum tp_err store_env_open(const char *dir, const struct store_options *options, bool create, struct store_env *ret_env,
                           struct tp_error *error)
{
    struct store_env lmdb = {0};
    struct stat data;
    char *path = mem_printf("%s/data.mdb", dir);
    size_t map_size = options->map_size;
    int code;
    if (stat(path, &data) == 0) {
        while (map_size < (size_t)data.st_size && map_size < options->map_limit)
            map_size *= 2;
        if ((data.st_mode & 0777 & ~options->mode) != 0 && chmod(path, options->mode) != 0)
            log_warn("the store can be read by others", "path=\"%s\"", path);
    }
    mem_free(path);
    code = mdb_env_create(&lmdb.env);
    if (code == 0)
        code = mdb_env_set_maxdbs(lmdb.env, 4);
    if (code == 0)
        code = mdb_env_set_mapsize(lmdb.env, map_size);
    if (code == 0)
        code = mdb_env_open(lmdb.env, dir, MDB_NOTLS, options->mode);
    if (code == 0)
        code = open_databases(&lmdb, create);
    if (code != 0) {
        if (lmdb.env)
            mdb_env_close(lmdb.env);
        if (code == MDB_NOTFOUND)
            code = MDB_INVALID;
        return store_mdb_error(dir, code, "opening", error);
    }
    *ret_env = lmdb;
    return TP_OK;
}

enum tp_err store_state_read(const struct store_env *lmdb, MDB_txn *txn, const char *dir, uint64_t *ret_revision,
                             uint64_t *ret_floor, struct tp_error *error)
{
    MDB_val key = {sizeof(STATE) - 1, (void *)(uintptr_t)STATE};
    MDB_val data;
    const uint8_t *value = NULL;
    size_t size = 0;
    int code = mdb_get(txn, lmdb->meta, &key, &data);
    *ret_revision = 0;
    *ret_floor = 0;
    if (code == MDB_NOTFOUND) {
        MDB_stat stat;
        code = mdb_stat(txn, lmdb->kv, &stat);
        if (code == 0 && stat.ms_entries == 0)
            return TP_OK;
        return err_set(error, TP_CORRUPT, "the store %s has lost its state; restore it from a backup", dir);
    }
    if (code != 0)
        return store_mdb_error(dir, code, "reading", error);
    if (record_decode(STATE, sizeof(STATE) - 1, data.mv_data, data.mv_size, ret_revision, &value, &size) != TP_OK ||
        size != sizeof(*ret_floor))
        return err_set(error, TP_CORRUPT, "the state of the store %s is damaged; restore it from a backup", dir);
    memcpy(ret_floor, value, sizeof(*ret_floor));
    *ret_floor = be64toh(*ret_floor);
    return TP_OK;
}

enum tp_err store_state_write(const struct store_env *lmdb, MDB_txn *txn, uint64_t revision, uint64_t floor,
                              int *ret_code)
{
    uint8_t record[RECORD_HEADER + sizeof(floor)];
    MDB_val key = {sizeof(STATE) - 1, (void *)(uintptr_t)STATE};
    MDB_val data = {sizeof(record), record};
    floor = htobe64(floor);
    record_encode(STATE, sizeof(STATE) - 1, revision, &floor, sizeof(floor), record);
    *ret_code = mdb_put(txn, lmdb->meta, &key, &data, 0);
    return *ret_code == 0 ? TP_OK : TP_IO;
}

/* One process at a time. The lock file also remembers that the store was made, so that a lost or emptied data file is
 * not taken for a new store. */
static enum tp_err take_lock(const char *dir, mode_t mode, int *ret_fd, bool *ret_made, struct tp_error *error)
{
    char *path = mem_printf("%s/store.lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode);
    enum tp_err err = TP_OK;
    struct stat info;
    if (fd < 0 && errno == EACCES)
        /* A restore that kept no owners; trying again changes nothing. */
        err = err_set(error, TP_INVALID,
                      "the store %s belongs to another user; give it and what is beside it back: chown -R %u %.*s", dir,
                      (unsigned)geteuid(), strrchr(dir, '/') ? (int)(strrchr(dir, '/') - dir) : 0, dir);
    else if (fd < 0)
        err = err_errno(error, errno, "cannot open %s", path);
    else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        err = errno == EWOULDBLOCK ? err_set(error, TP_UNAVAILABLE, "the store %s is in use by another process", dir)
                                   : err_errno(error, errno, "cannot lock %s", path);
    else if (fstat(fd, &info) != 0)
        err = err_errno(error, errno, "cannot look at %s", path);
    mem_free(path);
    if (err != TP_OK) {
        if (fd >= 0)
            (void)close(fd);
        return err;
    }
    *ret_fd = fd;
    *ret_made = info.st_size > 0;
    return TP_OK;
}

static enum tp_err refuse_lost_data(const char *dir, struct tp_error *error)
{
    char *path = mem_printf("%s/data.mdb", dir);
    struct stat info;
    bool there = stat(path, &info) == 0 && info.st_size > 0;
    mem_free(path);
    if (!there)
        return err_set(error, TP_CORRUPT,
                       "the data file of the store %s is gone or empty; restore it from a backup, or "
                       "remove the folder to begin with an empty store",
                       dir);
    return TP_OK;
}

static enum tp_err mark_made(struct store *store, struct tp_error *error)
{
    if (pwrite(store->lock_fd, MARK, sizeof(MARK) - 1, 0) != (ssize_t)sizeof(MARK) - 1 || fsync(store->lock_fd) != 0)
        return err_errno(error, errno, "cannot write %s/store.lock", store->dir);
    return TP_OK;
}

static enum tp_err open_checked(struct store *store, bool made, struct tp_error *error)
{
    MDB_txn *txn = NULL;
    enum tp_err err = TP_OK;
    int code;
    err = store_rekey_clean(store->dir, error);
    if (err == TP_OK && made)
        err = refuse_lost_data(store->dir, error);
    if (err == TP_OK)
        err = store_check(store->dir, &store->options, made, error);
    if (err == TP_OK)
        err = store_env_open(store->dir, &store->options, true, &store->lmdb, error);
    if (err != TP_OK)
        return err;
    code = mdb_txn_begin(store->lmdb.env, NULL, MDB_RDONLY, &txn);
    if (code != 0)
        return store_mdb_error(store->dir, code, "reading", error);
    err = store_state_read(&store->lmdb, txn, store->dir, &store->revision, &store->floor, error);
    mdb_txn_abort(txn);
    if (err == TP_OK)
        err = store_seal_begin(store, error);
    if (err == TP_OK && !made)
        err = mark_made(store, error);
    return err;
}

enum tp_err store_open(const char *dir, const struct store_options *options, struct store **ret_store,
                       struct tp_error *error)
{
    struct store *store;
    bool made = false;
    enum tp_err err;
    *ret_store = NULL;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_errno(error, errno, "cannot make the folder %s", dir);
    store = mem_alloc(sizeof(*store));
    store->dir = mem_strdup(dir);
    store->lock_fd = -1;
    if (options)
        store->options = *options;
    if (store->options.map_size == 0)
        store->options.map_size = (size_t)64 * 1024 * 1024;
    if (store->options.map_limit == 0)
        store->options.map_limit = (size_t)16 * 1024 * 1024 * 1024;
    if (store->options.map_limit < store->options.map_size)
        store->options.map_limit = store->options.map_size;
    if (store->options.mode == 0)
        store->options.mode = 0600;
    if (store->options.log_entries == 0)
        store->options.log_entries = 10000;
    err = take_lock(dir, store->options.mode, &store->lock_fd, &made, error);
    if (err == TP_OK)
        err = open_checked(store, made, error);
    if (err != TP_OK) {
        store_close(store);
        return err;
    }
    *ret_store = store;
    return TP_OK;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    while (store->watches) {
        struct store_watch *watch = store->watches;
        store->watches = watch->next;
        mem_free(watch->prefix);
        mem_free(watch);
    }
    if (store->reader)
        mdb_txn_abort(store->reader);
    if (store->lmdb.env)
        mdb_env_close(store->lmdb.env);
    if (store->lock_fd >= 0)
        (void)close(store->lock_fd);
    seal_free(store->seal);
    mem_free(store->dir);
    mem_free(store);
}

uint64_t store_revision(const struct store *store)
{
    return store->revision;
}

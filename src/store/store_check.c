/*
 * LMDB maps its file and trusts it: a cut or flipped page can end the process with a signal. So the whole file is
 * walked once in a child process before the store is opened; if the child dies, the store is damaged.
 */
#include "base/mem.h"
#include "store/record.h"
#include "store/store_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_SECONDS 30 /* for so many entries; a loop of pages must not hang the start */
#define CHECK_ENTRIES 10000

static enum tp_err damaged(const char *dir, const MDB_val *key, struct tp_error *error)
{
    char shown[121];
    size_t length = key->mv_size < sizeof(shown) - 1 ? key->mv_size : sizeof(shown) - 1;
    const char *bytes = key->mv_data;
    for (size_t i = 0; i < length; i++)
        shown[i] = bytes[i] < 0x20 || bytes[i] > 0x7E ? '?' : bytes[i];
    shown[length] = '\0';
    return err_set(error, TP_CORRUPT, "the record \"%s\" of the store %s is damaged; restore it from a backup", shown,
                   dir);
}

/* Every record of one database: sums right, keys in order, as many as LMDB says. */
static enum tp_err walk(MDB_txn *txn, MDB_dbi dbi, const char *dir, uint64_t newest, struct tp_error *error)
{
    MDB_cursor *cursor = NULL;
    MDB_stat stat;
    MDB_val key;
    MDB_val data;
    MDB_val last = {0, NULL};
    size_t seen = 0;
    int code = mdb_stat(txn, dbi, &stat);
    if (code == 0)
        code = mdb_cursor_open(txn, dbi, &cursor);
    if (code != 0)
        return store_mdb_error(dir, code, "checking", error);
    while ((code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        uint64_t revision = 0;
        const uint8_t *value = NULL;
        size_t size = 0;
        if (seen % CHECK_ENTRIES == 0)
            (void)alarm(CHECK_SECONDS);
        if (++seen > stat.ms_entries || (last.mv_data && mdb_cmp(txn, dbi, &last, &key) >= 0) ||
            record_decode(key.mv_data, key.mv_size, data.mv_data, data.mv_size, &revision, &value, &size) != TP_OK ||
            revision > newest)
            return damaged(dir, &key, error);
        last = key;
    }
    mdb_cursor_close(cursor);
    if (code != MDB_NOTFOUND)
        return store_mdb_error(dir, code, "checking", error);
    if (seen != stat.ms_entries)
        return err_set(error, TP_CORRUPT,
                       "the store %s has lost records (%zu of %zu are there); restore it from a backup", dir, seen,
                       (size_t)stat.ms_entries);
    return TP_OK;
}

/* The list of free pages (database 0): counts that fit and pages within the file, else the next write would do harm. */
static enum tp_err walk_free_pages(MDB_env *env, MDB_txn *txn, const char *dir, struct tp_error *error)
{
    MDB_cursor *cursor = NULL;
    MDB_envinfo info;
    MDB_val key;
    MDB_val data;
    int code = mdb_env_info(env, &info);
    bool good = true;
    if (code == 0)
        code = mdb_cursor_open(txn, 0, &cursor);
    if (code != 0)
        return store_mdb_error(dir, code, "checking", error);
    while (good && (code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        size_t count = 0;
        good = key.mv_size == sizeof(size_t) && data.mv_size >= sizeof(count) && data.mv_size % sizeof(count) == 0;
        if (good)
            memcpy(&count, data.mv_data, sizeof(count));
        good = good && count < data.mv_size / sizeof(count);
        for (size_t i = 1; good && i <= count; i++) {
            size_t page;
            memcpy(&page, (const uint8_t *)data.mv_data + i * sizeof(page), sizeof(page));
            good = page >= 2 && page <= info.me_last_pgno;
        }
    }
    mdb_cursor_close(cursor);
    if (!good || code != MDB_NOTFOUND)
        return err_set(error, TP_CORRUPT, "the list of free pages of the store %s is damaged; restore it from a backup",
                       dir);
    return TP_OK;
}

static enum tp_err check_all(const char *dir, const struct store_options *options, bool made, struct tp_error *error)
{
    struct store_env lmdb;
    MDB_txn *txn = NULL;
    uint64_t revision = 0;
    uint64_t floor = 0;
    enum tp_err err = store_env_open(dir, options, !made, &lmdb, error);
    int code;
    if (err != TP_OK)
        return err;
    code = mdb_txn_begin(lmdb.env, NULL, MDB_RDONLY, &txn);
    if (code != 0)
        return store_mdb_error(dir, code, "checking", error);
    err = store_state_read(&lmdb, txn, dir, &revision, &floor, error);
    if (err == TP_OK)
        err = walk_free_pages(lmdb.env, txn, dir, error);
    if (err == TP_OK)
        err = walk(txn, lmdb.meta, dir, revision, error);
    if (err == TP_OK)
        err = walk(txn, lmdb.kv, dir, revision, error);
    if (err == TP_OK)
        err = walk(txn, lmdb.log, dir, revision, error);
    return err; /* the process ends now, nothing needs closing */
}

static void run_child(const char *dir, const struct store_options *options, bool made, int out)
{
    struct rlimit no_core = {0, 0};
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM, SIGTERM};
    struct tp_error reply = {0};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0)
        (void)dup2(null, STDERR_FILENO);
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        (void)signal(fatal[i], SIG_DFL); /* handlers of the parent have no business here */
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)alarm(CHECK_SECONDS);
    reply.code = check_all(dir, options, made, &reply);
    _exit(write(out, &reply, sizeof(reply)) == (ssize_t)sizeof(reply) ? 0 : 1);
}

static enum tp_err wait_for_child(const char *dir, pid_t child, int in, struct tp_error *error)
{
    struct tp_error reply;
    size_t have = 0;
    int status = 0;
    while (have < sizeof(reply)) {
        ssize_t got = read(in, (char *)&reply + have, sizeof(reply) - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (have < sizeof(reply))
        return err_set(error, TP_CORRUPT,
                       "the store %s is damaged (a page of its file is unusable); restore it from a "
                       "backup",
                       dir);
    reply.text[sizeof(reply.text) - 1] = '\0';
    return reply.code == TP_OK ? TP_OK : err_set(error, reply.code, "%s", reply.text);
}

enum tp_err store_check(const char *dir, const struct store_options *options, bool made, struct tp_error *error)
{
    char *path = mem_printf("%s/data.mdb", dir);
    struct stat info;
    bool nothing = stat(path, &info) != 0 || info.st_size == 0;
    int line[2];
    pid_t child;
    enum tp_err err;
    mem_free(path);
    if (nothing)
        return TP_OK;
    if (pipe2(line, O_CLOEXEC) != 0)
        return err_errno(error, errno, "cannot check the store %s", dir);
    child = fork();
    if (child == 0)
        run_child(dir, options, made, line[1]);
    (void)close(line[1]);
    if (child < 0) {
        err = err_errno(error, errno, "cannot start the check of the store %s", dir);
    } else {
        err = wait_for_child(dir, child, line[0], error);
    }
    (void)close(line[0]);
    return err;
}

/* The key of the secrets store is changed: what is there afterwards, and after a kill before each of its steps (R14). */
#include "auth/secrets_key.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define RECORDS 12
#define SECRET "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

/* Ends the process before this step of those that change something, -1: never. */
static int kill_at = -1;
static int steps;
static pid_t victim; /* not the child in which a store is checked */

static void step(void)
{
    if (kill_at >= 0 && getpid() == victim && steps++ == kill_at)
        (void)kill(getpid(), SIGKILL);
}

#define WRAP(result, name, params, args) \
    result __real_##name params;         \
    result __wrap_##name params;         \
    result __wrap_##name params          \
    {                                    \
        step();                          \
        return __real_##name args;       \
    }
WRAP(int, rename, (const char *from, const char *to), (from, to))
WRAP(int, link, (const char *from, const char *to), (from, to))
WRAP(int, unlink, (const char *path), (path))
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(int, rmdir, (const char *path), (path))
WRAP(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
WRAP(int, mdb_put, (MDB_txn * txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned flags),
     (txn, dbi, key, data, flags))
WRAP(int, mdb_txn_commit, (MDB_txn * txn), (txn))

static ino_t broken; /* a folder that the disk does not take, 0: none */

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    struct stat info;
    step();
    if (broken != 0 && fstat(fd, &info) == 0 && info.st_ino == broken) {
        errno = EIO;
        return -1;
    }
    return __real_fsync(fd);
}

struct place {
    char dir[64];
    char *store;
    char *key;
};

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void make_folder(const struct place *place, const char *name)
{
    char *path = mem_printf("%s/%s", place->dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
    mem_free(path);
}

/* As auth opens it. */
static enum tp_err open_store(const struct place *place, struct secrets_key *source, struct store **ret_store,
                              struct tp_error *error)
{
    const struct store_options options = {.key = secrets_key_get, .next_key = secrets_key_next, .key_ctx = source};
    *source = (struct secrets_key){.path = place->key, .fd = -1, .make = true};
    return store_open(place->store, &options, ret_store, error);
}

static int setup(void **state)
{
    struct place *place = mem_alloc(sizeof(*place));
    struct secrets_key source;
    struct store *store = NULL;
    struct tp_error error = {0};
    strcpy(place->dir, "/tmp/tport-rekey-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    make_folder(place, "auth");
    make_folder(place, "keys");
    place->store = mem_printf("%s/auth/secrets", place->dir);
    place->key = mem_printf("%s/keys/secrets.key", place->dir);
    if (open_store(place, &source, &store, &error) != TP_OK)
        fail_msg("%s", error.text);
    for (int i = 0; i < RECORDS; i++) {
        char *name = mem_printf("/login/%02d", i);
        char *value = mem_printf(SECRET "%d", i);
        assert_int_equal(store_put(store, name, value, strlen(value), STORE_ANY, NULL, &error), TP_OK);
        mem_free(name);
        mem_free(value);
    }
    store_close(store);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    (void)nftw(place->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    mem_free(place->store);
    mem_free(place->key);
    mem_free(place);
    return 0;
}

static char *read_file(const char *path)
{
    char text[256] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (fd >= 0)
        (void)close(fd);
    return got >= 0 ? mem_strdup(text) : NULL;
}

static bool exists(const char *format, const char *path)
{
    char *name = mem_printf(format[0] == '.' ? "%s%s" : "%s/%s", path, format);
    struct stat info;
    bool there = lstat(name, &info) == 0;
    mem_free(name);
    return there;
}

/* While a killed process's own check of the store still ends, it has the lock. */
static enum tp_err open_soon(const struct place *place, struct secrets_key *source, struct store **ret_store,
                             struct tp_error *error)
{
    enum tp_err err = TP_UNAVAILABLE;
    for (int i = 0; i < 500 && err == TP_UNAVAILABLE; i++) {
        err = open_store(place, source, ret_store, error);
        if (err == TP_UNAVAILABLE)
            (void)usleep(10000);
    }
    return err;
}

static void assert_whole(const struct place *place, bool *ret_next)
{
    struct secrets_key source;
    struct store *store = NULL;
    struct tp_error error = {0};
    if (open_soon(place, &source, &store, &error) != TP_OK)
        fail_msg("%s", error.text);
    *ret_next = source.next;
    assert_int_equal(store_revision(store), RECORDS);
    for (int i = 0; i < RECORDS; i++) {
        char *name = mem_printf("/login/%02d", i);
        char *value = mem_printf(SECRET "%d", i);
        void *data = NULL;
        size_t size = 0;
        uint64_t revision = 0;
        assert_int_equal(store_get(store, name, &data, &size, &revision, &error), TP_OK);
        assert_string_equal(data, value);
        assert_int_equal(revision, i + 1);
        mem_free(data);
        mem_free(name);
        mem_free(value);
    }
    store_close(store);
}

static void assert_tidy(const struct place *place)
{
    assert_false(exists(".next", place->key));
    assert_false(exists(".next.new", place->key));
    assert_false(exists("rekeying", place->store));
}

static void test_the_new_key_opens_it_and_the_old_one_does_not(void **state)
{
    struct place *place = *state;
    struct tp_error error = {0};
    struct secrets_key source;
    struct store *store = NULL;
    enum secrets_rekeyed done = SECRETS_FINISHED;
    struct stat info;
    bool next = true;
    char *before = read_file(place->key);
    assert_int_equal(chmod(place->key, 0440), 0);
    assert_int_equal(secrets_rekey(place->dir, place->key, &done, &error), TP_OK);
    assert_int_equal(done, SECRETS_REKEYED);
    char *after = read_file(place->key);
    assert_string_not_equal(before, after);
    assert_int_equal(stat(place->key, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0440); /* as it was */
    assert_whole(place, &next);
    assert_false(next);
    assert_tidy(place);
    /* The key of before. */
    int fd = open(place->key, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(fd < 0 || geteuid() == 0);
    assert_int_equal(unlink(place->key), 0);
    if (fd >= 0)
        (void)close(fd);
    fd = open(place->key, O_WRONLY | O_CREAT | O_CLOEXEC, 0400);
    assert_int_equal(write(fd, before, strlen(before)), strlen(before));
    (void)close(fd);
    assert_int_equal(open_store(place, &source, &store, &error), TP_INVALID);
    assert_non_null(strstr(error.text, "this is not the key"));
    assert_int_equal(secrets_rekey(place->dir, place->key, &done, &error), TP_INVALID);
    assert_non_null(strstr(error.text, "this is not the key"));
    assert_tidy(place);
    secret_free(before);
    secret_free(after);
}

/* Nobody's store is changed under his feet, and what is not there is not made. */
static void test_what_is_refused(void **state)
{
    struct place *place = *state;
    struct tp_error error = {0};
    struct secrets_key source;
    struct store *store = NULL;
    enum secrets_rekeyed done;
    bool next;
    assert_int_equal(open_store(place, &source, &store, &error), TP_OK);
    assert_int_equal(secrets_rekey(place->dir, place->key, &done, &error), TP_UNAVAILABLE);
    assert_non_null(strstr(error.text, "in use by another process"));
    store_close(store);
    assert_int_equal(secrets_rekey("/tmp/tport-nowhere", place->key, &done, &error), TP_NOT_FOUND);
    char *nowhere = mem_printf("%s/keys/other.key", place->dir);
    assert_int_equal(secrets_rekey(place->dir, nowhere, &done, &error), TP_INVALID);
    assert_non_null(strstr(error.text, "is missing"));
    mem_free(nowhere);
    assert_whole(place, &next);
    assert_tidy(place);
}

static void assert_holds(const char *path, const void *data, size_t size)
{
    char *now = mem_alloc(size + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, now, size + 1), size);
    assert_memory_equal(now, data, size);
    (void)close(fd);
    mem_free(now);
}

/* As long as a power cut could bring the old file back, it is not overwritten, and both keys are there. */
static void test_R14_the_old_store_stays_until_the_disk_has_the_new_one(void **state)
{
    struct place *place = *state;
    struct tp_error error = {0};
    struct secrets_key source;
    struct store *store = NULL;
    enum secrets_rekeyed done = SECRETS_REKEYED;
    struct stat info;
    bool next = true;
    char *file = mem_printf("%s/data.mdb", place->store);
    char *old_file = mem_printf("%s/rekeying/old.mdb", place->store);
    char *before = read_file(place->key);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(fd, &info), 0);
    size_t size = (size_t)info.st_size;
    char *data = mem_alloc(size);
    assert_int_equal(read(fd, data, size), size);
    (void)close(fd);
    assert_int_equal(stat(place->store, &info), 0);
    broken = info.st_ino;
    assert_int_equal(secrets_rekey(place->dir, place->key, &done, &error), TP_IO);
    assert_holds(old_file, data, size);
    assert_int_equal(open_store(place, &source, &store, &error), TP_IO); /* and so auth does not begin */
    assert_holds(old_file, data, size);
    assert_int_equal(secrets_rekey(place->dir, place->key, &done, &error), TP_IO);
    assert_holds(old_file, data, size);
    assert_holds(place->key, before, strlen(before));
    assert_true(exists(".next", place->key));
    broken = 0;
    assert_int_equal(secrets_rekey(place->dir, place->key, &done, &error), TP_OK);
    assert_int_equal(done, SECRETS_FINISHED);
    assert_whole(place, &next);
    assert_false(next);
    assert_tidy(place);
    secret_free(before);
    mem_free(data);
    mem_free(old_file);
    mem_free(file);
}

/* Before each step that changes something, until one is not reached any more. Afterwards auth opens the store with what is
 * there, and another call brings it to an end. */
static void test_R14_a_kill_at_any_step_loses_nothing(void **state)
{
    struct place *place = *state;
    unsigned again = 0;
    unsigned finished = 0;
    bool reached = true;
    for (int at = 0; reached; at++) {
        struct tp_error error = {0};
        enum secrets_rekeyed done = SECRETS_REKEYED;
        bool next = false;
        int status = 0;
        char *before = read_file(place->key);
        pid_t child = fork();
        if (child == 0) {
            kill_at = at;
            victim = getpid();
            _exit(secrets_rekey(place->dir, place->key, &done, &error) == TP_OK ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        reached = WIFSIGNALED(status);
        assert_true(reached || WEXITSTATUS(status) == 0);
        assert_whole(place, &next);
        enum tp_err err = secrets_rekey(place->dir, place->key, &done, &error);
        if (err != TP_OK)
            fail_msg("after a kill at step %d: %s", at, error.text);
        assert_int_equal(done, next ? SECRETS_FINISHED : SECRETS_REKEYED);
        finished += next;
        again += !next;
        assert_whole(place, &next);
        assert_false(next);
        assert_tidy(place);
        char *after = read_file(place->key);
        assert_string_not_equal(before, after);
        secret_free(before);
        secret_free(after);
    }
    print_message("killed %u times before the store was replaced, %u times after it\n", again - 1, finished);
    assert_true(again > 2 * RECORDS);
    assert_true(finished > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_new_key_opens_it_and_the_old_one_does_not, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_R14_the_old_store_stays_until_the_disk_has_the_new_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_R14_a_kill_at_any_step_loses_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

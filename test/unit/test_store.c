/* The store: revisions, ranges, watches, and what it promises across crashes and damage. */
#include "base/mem.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct place {
    char dir[64];
    struct store *store;
    struct tp_error error;
};

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int setup(void **state)
{
    struct place *place = mem_alloc(sizeof(*place));
    strcpy(place->dir, "/tmp/tport-store-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    assert_int_equal(store_open(place->dir, NULL, &place->store, &place->error), TP_OK);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    store_close(place->store);
    (void)nftw(place->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    mem_free(place);
    return 0;
}

static enum tp_err put(struct place *place, const char *key, const char *value, uint64_t expected, uint64_t *revision)
{
    return store_put(place->store, key, value, strlen(value), expected, revision, &place->error);
}

static void assert_value(struct place *place, const char *key, const char *value)
{
    void *data = NULL;
    size_t size = 0;
    assert_int_equal(store_get(place->store, key, &data, &size, NULL, &place->error), TP_OK);
    assert_string_equal(data, value);
    assert_int_equal(size, strlen(value));
    mem_free(data);
}

static void test_compare_and_swap(void **state)
{
    struct place *place = *state;
    uint64_t first = 0;
    uint64_t second = 0;
    uint64_t seen = 0;
    void *data = NULL;
    size_t size = 0;
    assert_int_equal(store_get(place->store, "/user/alice", &data, &size, &seen, &place->error), TP_NOT_FOUND);
    assert_int_equal(put(place, "/user/alice", "one", 7, NULL), TP_CONFLICT);
    assert_int_equal(put(place, "/user/alice", "one", STORE_ABSENT, &first), TP_OK);
    assert_int_equal(first, 1);
    assert_int_equal(put(place, "/user/alice", "two", STORE_ABSENT, NULL), TP_EXISTS);
    assert_int_equal(put(place, "/user/alice", "two", first, &second), TP_OK);
    assert_int_equal(second, 2);
    assert_int_equal(put(place, "/user/alice", "three", first, NULL), TP_CONFLICT);
    assert_non_null(strstr(place->error.text, "/user/alice"));
    assert_value(place, "/user/alice", "two");
    assert_int_equal(store_delete(place->store, "/user/alice", first, &place->error), TP_CONFLICT);
    assert_int_equal(store_delete(place->store, "/user/alice", second, &place->error), TP_OK);
    assert_int_equal(store_delete(place->store, "/user/alice", STORE_ANY, &place->error), TP_NOT_FOUND);
    assert_int_equal(store_revision(place->store), 3);
    assert_int_equal(put(place, "/empty", "", STORE_ABSENT, NULL), TP_OK);
    assert_value(place, "/empty", "");
}

static void test_keys_are_checked(void **state)
{
    struct place *place = *state;
    char key[STORE_KEY_MAX + 2];
    memset(key, 'a', sizeof(key));
    key[0] = '/';
    key[STORE_KEY_MAX + 1] = '\0';
    assert_int_equal(put(place, key, "x", STORE_ANY, NULL), TP_INVALID);
    key[STORE_KEY_MAX] = '\0';
    assert_int_equal(put(place, key, "x", STORE_ANY, NULL), TP_OK);
    assert_value(place, key, "x");
    assert_int_equal(put(place, "", "x", STORE_ANY, NULL), TP_INVALID);
    assert_int_equal(put(place, "user", "x", STORE_ANY, NULL), TP_INVALID);
}

static void test_batch_is_all_or_nothing(void **state)
{
    struct place *place = *state;
    struct store_op ops[] = {{"/a", "1", 1, STORE_ABSENT}, {"/b", "2", 1, STORE_ABSENT}, {"/c", NULL, 0, STORE_ANY}};
    struct store_op twice[] = {{"/a", "1", 1, STORE_ANY}, {"/a", NULL, 0, STORE_ANY}};
    uint64_t revision = 0;
    void *data = NULL;
    size_t size = 0;
    assert_int_equal(store_commit(place->store, ops, 3, NULL, &place->error), TP_NOT_FOUND);
    assert_int_equal(store_get(place->store, "/a", &data, &size, NULL, &place->error), TP_NOT_FOUND);
    assert_int_equal(store_revision(place->store), 0);
    assert_int_equal(put(place, "/c", "3", STORE_ABSENT, NULL), TP_OK);
    assert_int_equal(store_commit(place->store, ops, 3, &revision, &place->error), TP_OK);
    assert_int_equal(revision, 2);
    assert_value(place, "/a", "1");
    assert_int_equal(store_get(place->store, "/c", &data, &size, NULL, &place->error), TP_NOT_FOUND);
    assert_int_equal(store_commit(place->store, twice, 2, NULL, &place->error), TP_INVALID);
    assert_int_equal(store_commit(place->store, NULL, 0, &revision, &place->error), TP_OK);
    assert_int_equal(revision, 2);
}

struct seen {
    struct place *place;
    char text[4096];
    size_t stop_after;
    size_t count;
    enum tp_err write_result;
};

static void note(struct seen *seen, const struct store_entry *entry)
{
    size_t used = strlen(seen->text);
    (void)snprintf(seen->text + used, sizeof(seen->text) - used, "%s=%.*s@%d ", entry->key,
                   entry->value ? (int)entry->size : 4, entry->value ? (const char *)entry->value : "GONE",
                   (int)entry->revision);
    seen->count++;
}

static bool on_range(void *ctx, const struct store_entry *entry)
{
    struct seen *seen = ctx;
    note(seen, entry);
    if (seen->place)
        seen->write_result = put(seen->place, "/range", "x", STORE_ANY, NULL);
    return seen->count != seen->stop_after;
}

static const char *range(struct place *place, struct seen *seen, const char *prefix, const char *after, size_t limit)
{
    seen->text[0] = '\0';
    seen->count = 0;
    assert_int_equal(store_range(place->store, prefix, after, limit, on_range, seen, &place->error), TP_OK);
    return seen->text;
}

static const char *back(struct place *place, struct seen *seen, const char *prefix, const char *before, size_t limit)
{
    *seen = (struct seen){0};
    assert_int_equal(store_range_back(place->store, prefix, before, limit, on_range, seen, &place->error), TP_OK);
    return seen->text;
}

static void test_range_back(void **state)
{
    struct place *place = *state;
    struct seen seen;
    assert_string_equal(back(place, &seen, "/user/", NULL, 0), "");
    assert_int_equal(put(place, "/user/a", "x", STORE_ANY, NULL), TP_OK);
    assert_int_equal(put(place, "/user/b", "x", STORE_ANY, NULL), TP_OK);
    assert_int_equal(put(place, "/user/c", "x", STORE_ANY, NULL), TP_OK);
    assert_string_equal(back(place, &seen, "/user/", NULL, 0), "/user/c=x@3 /user/b=x@2 /user/a=x@1 ");
    assert_int_equal(put(place, "/zebra/z", "x", STORE_ANY, NULL), TP_OK);
    assert_int_equal(put(place, "/alpha/a", "x", STORE_ANY, NULL), TP_OK);
    assert_int_equal(put(place, "/user0", "x", STORE_ANY, NULL), TP_OK);
    assert_string_equal(back(place, &seen, "/user/", NULL, 2), "/user/c=x@3 /user/b=x@2 ");
    assert_string_equal(back(place, &seen, "/user/", "/user/b", 2), "/user/a=x@1 ");
    assert_string_equal(back(place, &seen, "/user/", "/user/bb", 1), "/user/b=x@2 ");
    assert_string_equal(back(place, &seen, "/user/", "/user/a", 0), "");
    assert_string_equal(back(place, &seen, "/user/", "/user/zz", 1), "/user/c=x@3 ");
    assert_string_equal(back(place, &seen, "/user/", "/other", 1), "/user/c=x@3 ");
    assert_string_equal(back(place, &seen, "/none/", NULL, 0), "");
    assert_string_equal(back(place, &seen, "/zebra/", NULL, 0), "/zebra/z=x@4 ");
    assert_int_equal(store_range_back(place->store, "", NULL, 0, on_range, &seen, &place->error), TP_INVALID);
}

static void test_range_pages(void **state)
{
    struct place *place = *state;
    struct seen seen = {0};
    static const char *const keys[] = {"/user/a", "/user/b", "/user/c", "/users", "/t", "/v"};
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(put(place, keys[i], "x", STORE_ABSENT, NULL), TP_OK);
    assert_string_equal(range(place, &seen, "/user/", NULL, 0), "/user/a=x@1 /user/b=x@2 /user/c=x@3 ");
    assert_string_equal(range(place, &seen, "/user/", NULL, 2), "/user/a=x@1 /user/b=x@2 ");
    assert_string_equal(range(place, &seen, "/user/", "/user/b", 2), "/user/c=x@3 ");
    assert_string_equal(range(place, &seen, "/user/", "/user/aa", 1), "/user/b=x@2 ");
    assert_string_equal(range(place, &seen, "/user/", "/user/c", 2), "");
    assert_string_equal(range(place, &seen, "/user/", "/a", 1), "/user/a=x@1 ");
    assert_string_equal(range(place, &seen, "/none/", NULL, 0), "");
    range(place, &seen, "", NULL, 0);
    assert_int_equal(seen.count, 6);
    seen.stop_after = 1;
    range(place, &seen, "/", NULL, 0);
    assert_int_equal(seen.count, 1);
    seen.place = place;
    range(place, &seen, "/", NULL, 0);
    assert_int_equal(seen.write_result, TP_INTERNAL);
}

static void on_watch(void *ctx, const struct store_entry *entry)
{
    note(ctx, entry);
}

static void test_watch(void **state)
{
    struct place *place = *state;
    struct seen seen = {0};
    struct seen late = {0};
    struct store_watch *watch = NULL;
    struct store_watch *other = NULL;
    assert_int_equal(store_watch(place->store, "/role/", STORE_ANY, on_watch, &seen, &watch, &place->error), TP_OK);
    assert_int_equal(put(place, "/role/a", "1", STORE_ANY, NULL), TP_OK);
    assert_int_equal(put(place, "/user/a", "1", STORE_ANY, NULL), TP_OK);
    assert_int_equal(put(place, "/role/b", "1", STORE_ANY, NULL), TP_OK);
    assert_int_equal(put(place, "/role/a", "2", STORE_ANY, NULL), TP_OK);
    assert_int_equal(store_delete(place->store, "/role/b", STORE_ANY, &place->error), TP_OK);
    assert_int_equal(put(place, "/role/a", "no", STORE_ABSENT, NULL), TP_EXISTS);
    assert_string_equal(seen.text, "/role/a=1@1 /role/b=1@3 /role/a=2@4 /role/b=GONE@5 ");
    assert_int_equal(store_watch(place->store, "/role/", 1, on_watch, &late, &other, &place->error), TP_OK);
    assert_string_equal(late.text, "/role/a=2@4 /role/b=GONE@5 ");
    store_watch_stop(watch);
    assert_int_equal(put(place, "/role/c", "3", STORE_ANY, NULL), TP_OK);
    assert_int_equal(seen.count, 4);
    assert_string_equal(late.text, "/role/a=2@4 /role/b=GONE@5 /role/c=3@6 ");
    assert_int_equal(store_watch(place->store, "/", 99, on_watch, &seen, &watch, &place->error), TP_EXPIRED);
}

static void test_watch_log_is_bounded(void **state)
{
    struct place *place = *state;
    struct store_options options = {.log_entries = 10};
    struct seen seen = {0};
    struct store_watch *watch = NULL;
    store_close(place->store);
    assert_int_equal(store_open(place->dir, &options, &place->store, &place->error), TP_OK);
    for (int i = 0; i < 30; i++)
        assert_int_equal(put(place, "/k", "x", STORE_ANY, NULL), TP_OK);
    assert_int_equal(store_watch(place->store, "/", 19, on_watch, &seen, &watch, &place->error), TP_EXPIRED);
    assert_int_equal(store_watch(place->store, "/", 20, on_watch, &seen, &watch, &place->error), TP_OK);
    assert_string_equal(seen.text, "/k=x@30 ");
    store_close(place->store);
    assert_int_equal(store_open(place->dir, &options, &place->store, &place->error), TP_OK);
    assert_int_equal(store_watch(place->store, "/", 19, on_watch, &seen, &watch, &place->error), TP_EXPIRED);
    assert_int_equal(store_watch(place->store, "/", 20, on_watch, &seen, &watch, &place->error), TP_OK);
}

static void test_reopen_keeps_all(void **state)
{
    struct place *place = *state;
    struct stat info;
    char path[128];
    struct store *second = NULL;
    assert_int_equal(put(place, "/a", "1", STORE_ANY, NULL), TP_OK);
    assert_int_equal(put(place, "/a", "2", STORE_ANY, NULL), TP_OK);
    assert_int_equal(store_open(place->dir, NULL, &second, &place->error), TP_UNAVAILABLE);
    store_close(place->store);
    assert_int_equal(store_open(place->dir, NULL, &place->store, &place->error), TP_OK);
    assert_value(place, "/a", "2");
    assert_int_equal(store_revision(place->store), 2);
    (void)snprintf(path, sizeof(path), "%s/data.mdb", place->dir);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

static void test_full_store_stays_usable(void **state)
{
    struct place *place = *state;
    struct store_options options = {.map_size = 256 * 1024, .map_limit = 1024 * 1024, .log_entries = 5};
    static char big[100 * 1024];
    enum tp_err err = TP_OK;
    int written = 0;
    store_close(place->store);
    assert_int_equal(store_open(place->dir, &options, &place->store, &place->error), TP_OK);
    memset(big, 'b', sizeof(big));
    for (; written < 100 && err == TP_OK; written += err == TP_OK) {
        char key[32];
        (void)snprintf(key, sizeof(key), "/big/%03d", written);
        err = store_put(place->store, key, big, sizeof(big), STORE_ABSENT, NULL, &place->error);
    }
    assert_int_equal(err, TP_NO_SPACE);
    assert_true(written >= 5);
    assert_int_equal(store_delete(place->store, "/big/000", STORE_ANY, &place->error), TP_OK);
    assert_int_equal(store_delete(place->store, "/big/001", STORE_ANY, &place->error), TP_OK);
    assert_int_equal(put(place, "/small", "x", STORE_ANY, NULL), TP_OK);
    assert_int_equal(store_put(place->store, "/big/new", big, sizeof(big), STORE_ABSENT, NULL, &place->error), TP_OK);
    store_close(place->store);
    assert_int_equal(store_open(place->dir, &options, &place->store, &place->error), TP_OK);
    assert_value(place, "/small", "x");
}

/* A limit on the size of files stands for a full disk: writes fail in the middle of a commit. */
static void test_full_disk_leaves_the_store_usable(void **state)
{
    struct place *place = *state;
    static char big[1024 * 1024];
    struct rlimit old;
    struct rlimit small;
    assert_int_equal(put(place, "/before", "1", STORE_ABSENT, NULL), TP_OK);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 128 * 1024;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 3; i++) {
        enum tp_err err = store_put(place->store, "/big", big, sizeof(big), STORE_ABSENT, NULL, &place->error);
        assert_true(err == TP_NO_SPACE || err == TP_IO);
        assert_int_equal(put(place, "/small", "2", STORE_ANY, NULL), TP_OK);
    }
    small.rlim_cur = 0; /* not even the meta page can be written */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_not_equal(put(place, "/small", "3", STORE_ANY, NULL), TP_OK);
    assert_int_not_equal(put(place, "/small", "3", STORE_ANY, NULL), TP_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_value(place, "/small", "2");
    assert_int_equal(store_put(place->store, "/big", big, sizeof(big), STORE_ABSENT, NULL, &place->error), TP_OK);
    assert_value(place, "/before", "1");
    store_close(place->store);
    assert_int_equal(store_open(place->dir, NULL, &place->store, &place->error), TP_OK);
    assert_value(place, "/small", "2");
}

/* The child tells each acknowledged write through the pipe and is killed in the middle of one. */
static void test_acknowledged_writes_survive_kill(void **state)
{
    struct place *place = *state;
    for (int round = 0; round < 5; round++) {
        int line[2];
        int acknowledged = -1;
        int number;
        pid_t child;
        store_close(place->store);
        place->store = NULL;
        assert_int_equal(pipe(line), 0);
        child = fork();
        if (child == 0) {
            struct store *store = NULL;
            if (store_open(place->dir, NULL, &store, NULL) != TP_OK)
                _exit(1);
            for (int i = 0;; i++) {
                char key[32];
                (void)snprintf(key, sizeof(key), "/%d/%d", round, i);
                if (store_put(store, key, "v", 1, STORE_ABSENT, NULL, NULL) != TP_OK ||
                    write(line[1], &i, sizeof(i)) != sizeof(i))
                    _exit(1);
            }
        }
        (void)close(line[1]);
        while (acknowledged < 20 * round + 10 && read(line[0], &number, sizeof(number)) == sizeof(number))
            acknowledged = number;
        assert_int_equal(kill(child, SIGKILL), 0);
        while (read(line[0], &number, sizeof(number)) == sizeof(number))
            acknowledged = number;
        assert_int_equal(waitpid(child, NULL, 0), child);
        (void)close(line[0]);
        assert_true(acknowledged >= 10);
        assert_int_equal(store_open(place->dir, NULL, &place->store, &place->error), TP_OK);
        for (int i = 0; i <= acknowledged; i++) {
            char key[32];
            (void)snprintf(key, sizeof(key), "/%d/%d", round, i);
            assert_value(place, key, "v");
        }
    }
}

static void read_everything(struct place *place)
{
    struct seen seen = {0};
    enum tp_err err = store_range(place->store, "/", NULL, 0, on_range, &seen, &place->error);
    if (err == TP_OK)
        (void)put(place, "/after", "x", STORE_ANY, NULL);
}

/* Opens what is in the folder in a child: it must end by itself, with an error or a store that works. */
static enum tp_err open_damaged(struct place *place)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        enum tp_err err;
        (void)signal(SIGSEGV, SIG_DFL); /* cmocka's handlers would hide a crash */
        (void)signal(SIGBUS, SIG_DFL);
        (void)signal(SIGABRT, SIG_DFL);
        (void)signal(SIGFPE, SIG_DFL);
        err = store_open(place->dir, NULL, &place->store, &place->error);
        if (err == TP_OK) {
            read_everything(place);
            store_close(place->store);
        } else if (place->error.text[0] == '\0') {
            _exit(250);
        }
        _exit((int)err);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_not_equal(WEXITSTATUS(status), 250);
    return (enum tp_err)WEXITSTATUS(status);
}

static void test_damaged_files_give_an_error(void **state)
{
    struct place *place = *state;
    static char good[4 * 1024 * 1024];
    static char bad[sizeof(good)];
    char path[128];
    ssize_t size;
    int fd;
    unsigned random = 12345;
    int found = 0;
    for (int i = 0; i < 300; i++) {
        char key[64];
        (void)snprintf(key, sizeof(key), "/damage/%d/a-rather-long-name", i * 7919 % 300);
        assert_int_equal(put(place, key, i % 50 == 0 ? good + 1 : "some value of a record", STORE_ANY, NULL), TP_OK);
        if (i == 0)
            memset(good, 'v', 9000);
    }
    assert_int_equal(store_delete(place->store, "/damage/14/a-rather-long-name", STORE_ANY, &place->error), TP_OK);
    store_close(place->store);
    place->store = NULL;
    (void)snprintf(path, sizeof(path), "%s/data.mdb", place->dir);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    size = read(fd, good, sizeof(good));
    assert_true(size > 20000);
    for (int round = 0; round < 60; round++) {
        size_t length = (size_t)size;
        memcpy(bad, good, length);
        if (round < 10) {
            length = length * (size_t)round / 10;
        } else if (round == 10) {
            memset(bad, 'g', length);
        } else {
            int flips = round < 40 ? 1 : 300;
            for (int i = 0; i < flips; i++) {
                random = random * 1103515245u + 12345u;
                bad[(random >> 4) % (unsigned)length] ^= (char)(1u << (random >> 28 & 7));
            }
        }
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, bad, length, 0), (ssize_t)length);
        found += open_damaged(place) != TP_OK;
    }
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(store_open(place->dir, NULL, &place->store, &place->error), TP_CORRUPT);
    assert_int_equal(pwrite(fd, good, (size_t)size, 0), size);
    (void)close(fd);
    print_message("%d of 60 damaged files refused\n", found);
    assert_true(found > 25);
    assert_int_equal(store_open(place->dir, NULL, &place->store, &place->error), TP_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_compare_and_swap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batch_is_all_or_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_range_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_range_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch_log_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reopen_keeps_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_store_stays_usable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk_leaves_the_store_usable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_acknowledged_writes_survive_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_files_give_an_error, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The secrets store of auth is sealed, with a key in a file of its own (R14). */
#include "auth/inner.h"
#include "auth_help.h"

#include <fcntl.h>

#define OTHER_KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static bool copy_one(void *ctx, const struct store_entry *entry)
{
    struct tp_error error = {0};
    assert_int_equal(store_put(ctx, entry->key, entry->value, entry->size, STORE_ABSENT, NULL, &error), TP_OK);
    return true;
}

static char *file_of(const struct fixture *fixture, const char *name)
{
    return mem_printf("%s/%s", fixture->dir, name);
}

static void *read_file(const char *path, size_t *ret_size)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &info), 0);
    void *data = mem_alloc((size_t)info.st_size + 1);
    assert_int_equal(read(fd, data, (size_t)info.st_size), info.st_size);
    (void)close(fd);
    *ret_size = (size_t)info.st_size;
    return data;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    (void)close(fd);
}

static bool store_has(const struct fixture *fixture, const char *text)
{
    size_t size = 0;
    char *path = file_of(fixture, "auth/secrets/data.mdb");
    void *data = read_file(path, &size);
    bool found = memmem(data, size, text, strlen(text)) != NULL;
    mem_free(data);
    mem_free(path);
    return found;
}

static void put_aside(struct fixture *fixture)
{
    char *place = file_of(fixture, "auth/secrets");
    char *aside = file_of(fixture, "auth/aside");
    assert_int_equal(rename(place, aside), 0);
    mem_free(place);
    mem_free(aside);
}

/* What stands in its place goes, and the store that was put aside is there again. */
static void put_back(struct fixture *fixture)
{
    char *place = file_of(fixture, "auth/secrets");
    char *aside = file_of(fixture, "auth/aside");
    assert_int_equal(nftw(place, unlink_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    assert_int_equal(rename(aside, place), 0);
    mem_free(place);
    mem_free(aside);
}

/* What somebody without the key can put in its place: everything that he read elsewhere, readable. */
static void unseal(struct fixture *fixture)
{
    struct tp_error error = {0};
    struct store *plain = NULL;
    char *fresh = file_of(fixture, "auth/plain");
    char *place = file_of(fixture, "auth/secrets");
    assert_int_equal(store_open(fresh, NULL, &plain, &error), TP_OK);
    assert_int_equal(store_range(fixture->auth->secrets, "/", NULL, 0, copy_one, plain, &error), TP_OK);
    store_close(plain);
    fixture_shut(fixture);
    put_aside(fixture);
    assert_int_equal(rename(fresh, place), 0);
    mem_free(fresh);
    mem_free(place);
}

/* R14: neither seeds of codes nor keys of CAs stand in the store as they are. */
static void r14_seeds_and_CA_keys_are_sealed(void **state)
{
    struct fixture *fixture = *state;
    char *seed = make_user(fixture, "alice", "access", "root");
    char *key = file_of(fixture, "keys/secrets.key");
    struct stat info;
    assert_false(store_has(fixture, seed));
    assert_false(store_has(fixture, "PRIVATE KEY"));
    assert_int_equal(stat(key, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0400);
    assert_int_equal(info.st_size, 65);
    mem_free(key);
    mem_free(seed);
}

/* auth_open with secrets_key_file (NULL: none) and a descriptor must fail with these words, and write nothing. */
static void assert_refused(struct fixture *fixture, const char *given, int key_fd, const char *words)
{
    struct tp_error error = {0};
    struct auth *auth = NULL;
    struct loop *loop = loop_new();
    size_t before_size = 0;
    size_t after_size = 0;
    char *path = file_of(fixture, "auth/secrets/data.mdb");
    void *before = read_file(path, &before_size);
    json_t *config = fixture_config(fixture);
    if (given != NULL) {
        json_object_set_new(json_object_get(config, "auth"), "secrets_key_file", json_string(given));
    }
    enum tp_err err = auth_open(loop, config, key_fd, &auth, &error);
    if (err != TP_INVALID || strstr(error.text, words) == NULL) {
        fail_msg("%s: %s", err_name(err), error.text);
    }
    void *after = read_file(path, &after_size);
    assert_int_equal(before_size, after_size);
    assert_memory_equal(before, after, before_size);
    json_decref(config);
    loop_free(loop);
    mem_free(before);
    mem_free(after);
    mem_free(path);
}

/* R14: whoever can write the folder, and has not the key, cannot give auth records of his own. */
static void r14_a_store_that_is_not_sealed_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char *seed = make_user(fixture, "alice", "access", "root");
    unseal(fixture);
    assert_true(store_has(fixture, seed));
    assert_refused(fixture, NULL, -1, "has records that are not sealed");
    put_back(fixture);
    fixture_open(fixture);
    assert_false(store_has(fixture, seed));
    mem_free(seed);
}

static void without_the_right_key_the_start_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char *key = file_of(fixture, "keys/secrets.key");
    char *kept = file_of(fixture, "keys/kept");
    char *half = file_of(fixture, "keys/half");
    size_t size = 0;
    fixture_shut(fixture);
    assert_int_equal(rename(key, kept), 0);
    assert_refused(fixture, NULL, -1, "is missing, and without this key nobody can read the secrets store");
    assert_int_equal(access(key, F_OK), -1); /* no new one takes its place */
    assert_refused(fixture, "/nowhere/at/all", -1, "/nowhere/at/all is missing");
    write_file(key, OTHER_KEY "\n", 0400);
    assert_refused(fixture, NULL, -1, "this is not the key that the store");
    char *text = read_file(kept, &size);
    write_file(key, text, 0444);
    assert_refused(fixture, NULL, -1, "is open to others: chmod 0400");
    write_file(half, text, 0400);
    assert_int_equal(chmod(half, 0600), 0);
    assert_int_equal(truncate(half, 63), 0);
    assert_refused(fixture, half, -1, "holds no key of the secrets store, which is 64 hex digits");
    write_file(half, OTHER_KEY "\n\n", 0400);
    assert_refused(fixture, half, -1, "holds no key");
    write_file(half, "x0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 0400);
    assert_refused(fixture, half, -1, "holds no key");
    assert_refused(fixture, fixture->dir, -1, "is no plain file");
    write_file(key, OTHER_KEY "\n", 0400);
    int fd = open(key, O_RDONLY | O_CLOEXEC); /* what master opened counts, whatever stands there now */
    assert_int_equal(rename(kept, key), 0);
    assert_refused(fixture, key, fd, "this is not the key");
    (void)close(fd);
    fixture_open(fixture);
    mem_free(text);
    mem_free(key);
    mem_free(kept);
    mem_free(half);
}

/* Elsewhere nothing is made: a slip in the name would be a key of its own. */
static void a_key_elsewhere_is_made_by_people(void **state)
{
    struct fixture *fixture = *state;
    struct tp_error error = {0};
    struct store *fresh = NULL;
    char *place = file_of(fixture, "auth/secrets");
    char *elsewhere = file_of(fixture, "elsewhere");
    fixture_shut(fixture);
    put_aside(fixture);
    assert_int_equal(store_open(place, NULL, &fresh, &error), TP_OK);
    store_close(fresh);
    assert_refused(fixture, elsewhere, -1, "does not exist; make it as root with: (umask 077; openssl rand -hex 32");
    assert_int_equal(access(elsewhere, F_OK), -1);
    put_back(fixture);
    fixture_open(fixture);
    mem_free(elsewhere);
    mem_free(place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(r14_seeds_and_CA_keys_are_sealed, setup, teardown),
        cmocka_unit_test_setup_teardown(r14_a_store_that_is_not_sealed_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(without_the_right_key_the_start_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_elsewhere_is_made_by_people, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

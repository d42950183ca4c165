/* Sealed values: what stands on the disk, what opens it, and what somebody who has the file can do with it (R14). */
#include "base/mem.h"
#include "crypt/seal.h"
#include "store/record.h"
#include "store/store.h"

#include <fcntl.h>
#include <ftw.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SEED "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
#define PEM "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n"

struct place {
    char dir[64];
    struct store *store;
    struct tp_error error;
    uint8_t key[STORE_KEY_SIZE];
    enum tp_err key_result;
    unsigned key_asked;
    bool key_sealed; /* what it was told */
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
    memset(place->key, 7, sizeof(place->key));
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

static enum tp_err give_key(void *ctx, bool sealed, uint8_t key[STORE_KEY_SIZE], struct tp_error *error)
{
    struct place *place = ctx;
    place->key_asked++;
    place->key_sealed = sealed;
    if (place->key_result != TP_OK)
        return err_set(error, place->key_result, "the key is missing");
    memcpy(key, place->key, STORE_KEY_SIZE);
    return TP_OK;
}

static enum tp_err open_sealed(struct place *place)
{
    const struct store_options options = {.key = give_key, .key_ctx = place};
    return store_open(place->dir, &options, &place->store, &place->error);
}

static void close_it(struct place *place)
{
    store_close(place->store);
    place->store = NULL;
}

static void put(struct place *place, const char *key, const char *value)
{
    assert_int_equal(store_put(place->store, key, value, strlen(value), STORE_ANY, NULL, &place->error), TP_OK);
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

static uint8_t *file_bytes(const struct place *place, size_t *ret_size)
{
    char *path = mem_printf("%s/data.mdb", place->dir);
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *bytes;
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &info), 0);
    bytes = mem_alloc((size_t)info.st_size);
    assert_int_equal(read(fd, bytes, (size_t)info.st_size), info.st_size);
    (void)close(fd);
    mem_free(path);
    *ret_size = (size_t)info.st_size;
    return bytes;
}

static bool on_disk(const struct place *place, const char *text)
{
    size_t size = 0;
    uint8_t *bytes = file_bytes(place, &size);
    bool found = memmem(bytes, size, text, strlen(text)) != NULL;
    mem_free(bytes);
    return found;
}

static void make_unsealed(struct place *place)
{
    assert_int_equal(store_open(place->dir, NULL, &place->store, &place->error), TP_OK);
    put(place, "/login/alice", "{\"totp\":\"" SEED "\"}");
    put(place, "/ca/user", PEM);
    put(place, "/empty", "");
    put(place, "/gone", SEED);
    assert_int_equal(store_delete(place->store, "/gone", STORE_ANY, &place->error), TP_OK);
    close_it(place);
    assert_true(on_disk(place, SEED)); /* or the search is worth nothing */
    assert_true(on_disk(place, "BEGIN PRIVATE KEY"));
}

static bool add_value(void *ctx, const struct store_entry *entry)
{
    char *text = ctx;
    size_t length = strlen(text);
    (void)snprintf(text + length, 512 - length, "%s=%.*s%s;", entry->key, (int)entry->size,
                   entry->value ? (const char *)entry->value : "", entry->value ? "" : "(gone)");
    return true;
}

static void tell_value(void *ctx, const struct store_entry *entry)
{
    (void)add_value(ctx, entry);
}

static void test_R14_values_are_sealed_on_the_disk(void **state)
{
    struct place *place = *state;
    struct store_watch *watch = NULL;
    char text[512] = "";
    uint64_t revision = 0;
    assert_int_equal(open_sealed(place), TP_OK);
    assert_int_equal(place->key_asked, 1);
    assert_false(place->key_sealed);
    put(place, "/a", SEED);
    put(place, "/b", PEM);
    put(place, "/empty", "");
    assert_value(place, "/a", SEED);
    revision = store_revision(place->store);
    assert_int_equal(store_put(place->store, "/a", "two", 3, 1, NULL, &place->error), TP_OK);
    close_it(place);
    assert_false(on_disk(place, SEED));
    assert_false(on_disk(place, "PRIVATE KEY"));
    assert_int_equal(open_sealed(place), TP_OK);
    assert_true(place->key_sealed);
    assert_value(place, "/a", "two");
    assert_value(place, "/b", PEM);
    assert_value(place, "/empty", "");
    assert_int_equal(store_range(place->store, "/", NULL, 0, add_value, text, &place->error), TP_OK);
    assert_string_equal(text, "/a=two;/b=" PEM ";/empty=;");
    text[0] = '\0';
    assert_int_equal(store_watch(place->store, "/", revision, tell_value, text, &watch, &place->error), TP_OK);
    assert_string_equal(text, "/a=two;");
    store_watch_stop(watch);
}

static void assert_refused_untouched(struct place *place, enum tp_err (*open)(struct place *), enum tp_err err,
                                     const char *word)
{
    size_t before_size = 0;
    size_t after_size = 0;
    uint8_t *before = file_bytes(place, &before_size);
    uint8_t *after;
    assert_int_equal(open(place), err);
    assert_null(place->store);
    if (!strstr(place->error.text, word))
        fail_msg("%s", place->error.text);
    after = file_bytes(place, &after_size);
    assert_int_equal(before_size, after_size);
    assert_memory_equal(before, after, before_size);
    mem_free(before);
    mem_free(after);
}

static enum tp_err open_unsealed(struct place *place)
{
    return store_open(place->dir, NULL, &place->store, &place->error);
}

static void test_without_its_key_nothing_opens_and_nothing_is_written(void **state)
{
    struct place *place = *state;
    assert_int_equal(open_sealed(place), TP_OK);
    put(place, "/a", SEED);
    close_it(place);
    assert_refused_untouched(place, open_unsealed, TP_INVALID, "without its key");
    place->key_result = TP_NOT_FOUND;
    assert_refused_untouched(place, open_sealed, TP_NOT_FOUND, "the key is missing");
    assert_true(place->key_sealed);
    place->key_result = TP_OK;
    place->key[31] ^= 1;
    assert_refused_untouched(place, open_sealed, TP_INVALID, "not the key");
    place->key[31] ^= 1;
    assert_int_equal(open_sealed(place), TP_OK);
    assert_value(place, "/a", SEED);
}

/* R14: a store in which somebody wrote his own records, without the key, and without the mark, is not taken for an old one. */
static void test_R14_a_store_that_is_not_sealed_is_refused(void **state)
{
    struct place *place = *state;
    make_unsealed(place);
    assert_refused_untouched(place, open_sealed, TP_INVALID, "not sealed");
    assert_int_equal(place->key_asked, 0); /* no key is made for it */
    assert_int_equal(open_unsealed(place), TP_OK);
    assert_value(place, "/ca/user", PEM);
}

/* ---- somebody who has the file, knows the format, and has not the key ---- */

struct raw {
    uint64_t revision;
    uint8_t value[512];
    size_t size;
};

static MDB_env *raw_open(const struct place *place, MDB_txn **ret_txn, MDB_dbi *ret_kv)
{
    MDB_env *env = NULL;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 4), 0);
    assert_int_equal(mdb_env_open(env, place->dir, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, ret_txn), 0);
    assert_int_equal(mdb_dbi_open(*ret_txn, "kv", 0, ret_kv), 0);
    return env;
}

static void raw_get(MDB_txn *txn, MDB_dbi kv, const char *key, struct raw *raw)
{
    MDB_val name = {strlen(key), (void *)(uintptr_t)key};
    MDB_val data;
    const uint8_t *value = NULL;
    assert_int_equal(mdb_get(txn, kv, &name, &data), 0);
    assert_int_equal(record_decode(key, strlen(key), data.mv_data, data.mv_size, &raw->revision, &value, &raw->size),
                     TP_OK);
    assert_true(raw->size <= sizeof(raw->value));
    memcpy(raw->value, value, raw->size);
}

static void raw_put(MDB_txn *txn, MDB_dbi kv, const char *key, const struct raw *raw)
{
    uint8_t record[RECORD_HEADER + sizeof(raw->value)];
    MDB_val name = {strlen(key), (void *)(uintptr_t)key};
    MDB_val data = {RECORD_HEADER + raw->size, record};
    record_encode(key, strlen(key), raw->revision, raw->value, raw->size, record); /* the sum is right */
    assert_int_equal(mdb_put(txn, kv, &name, &data, 0), 0);
}

/* Records a and b of the store, for a change of them. */
typedef void tamper_fn(struct raw *a, struct raw *b);

static void flip_first(struct raw *a, struct raw *b)
{
    (void)b;
    a->value[0] ^= 1;
}

static void flip_middle(struct raw *a, struct raw *b)
{
    (void)b;
    a->value[a->size / 2] ^= 0x80;
}

static void flip_last(struct raw *a, struct raw *b)
{
    (void)b;
    a->value[a->size - 1] ^= 1;
}

static void swap(struct raw *a, struct raw *b)
{
    struct raw third = *a;
    *a = *b;
    *b = third;
}

/* Each keeps its own revision. */
static void swap_values(struct raw *a, struct raw *b)
{
    uint64_t revision = a->revision;
    swap(a, b);
    b->revision = a->revision;
    a->revision = revision;
}

static void other_revision(struct raw *a, struct raw *b)
{
    a->revision = b->revision;
}

static void cut(struct raw *a, struct raw *b)
{
    (void)b;
    a->size = SEAL_OVERHEAD - 1;
}

static void empty(struct raw *a, struct raw *b)
{
    (void)b;
    a->size = 0;
}

static void unsealed(struct raw *a, struct raw *b)
{
    (void)b;
    a->size = strlen(SEED);
    memcpy(a->value, SEED, a->size);
}

static void test_R14_a_changed_or_moved_record_is_refused(void **state)
{
    static tamper_fn *const ways[] = {flip_first,     flip_middle, flip_last, swap,    swap_values,
                                      other_revision, cut,         empty,     unsealed};
    struct place *place = *state;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct raw a = {0};
        struct raw b = {0};
        struct raw kept_a;
        struct raw kept_b;
        MDB_txn *txn = NULL;
        MDB_dbi kv = 0;
        MDB_env *env;
        assert_int_equal(open_sealed(place), TP_OK);
        put(place, "/login/alice", "the record of alice");
        put(place, "/login/mallory", "the record of Mallory");
        close_it(place);
        env = raw_open(place, &txn, &kv);
        raw_get(txn, kv, "/login/alice", &a);
        raw_get(txn, kv, "/login/mallory", &b);
        kept_a = a;
        kept_b = b;
        ways[i](&a, &b);
        raw_put(txn, kv, "/login/alice", &a);
        raw_put(txn, kv, "/login/mallory", &b);
        assert_int_equal(mdb_txn_commit(txn), 0);
        mdb_env_close(env);
        assert_int_equal(open_sealed(place), TP_CORRUPT);
        if (!strstr(place->error.text, "\"/login/alice\"") || !strstr(place->error.text, "restore"))
            fail_msg("%zu: %s", i, place->error.text);
        env = raw_open(place, &txn, &kv);
        raw_put(txn, kv, "/login/alice", &kept_a);
        raw_put(txn, kv, "/login/mallory", &kept_b);
        assert_int_equal(mdb_txn_commit(txn), 0);
        mdb_env_close(env);
    }
    assert_int_equal(open_sealed(place), TP_OK);
    assert_value(place, "/login/alice", "the record of alice");
}

/* ---- the seal itself ---- */

static void test_seal_binds_key_purpose_and_name(void **state)
{
    static const uint8_t key[SEAL_KEY_SIZE] = {1};
    static const uint8_t other_key[SEAL_KEY_SIZE] = {2};
    struct seal *seal = seal_new(key, "one");
    struct seal *purpose = seal_new(key, "two");
    struct seal *other = seal_new(other_key, "one");
    struct seal *same = seal_new(key, "one");
    uint8_t sealed[5 + SEAL_OVERHEAD];
    uint8_t again[5 + SEAL_OVERHEAD];
    uint8_t plain[5];
    size_t size = 0;
    (void)state;
    assert_memory_equal(seal_id(seal), seal_id(same), SEAL_ID_SIZE);
    assert_memory_not_equal(seal_id(seal), seal_id(purpose), SEAL_ID_SIZE);
    assert_memory_not_equal(seal_id(seal), seal_id(other), SEAL_ID_SIZE);
    seal_close(seal, "name", 4, "value", 5, sealed);
    seal_close(seal, "name", 4, "value", 5, again);
    assert_memory_not_equal(sealed, again, 24); /* the nonces */
    assert_int_equal(seal_open(same, "name", 4, sealed, sizeof(sealed), plain, &size), TP_OK);
    assert_int_equal(size, 5);
    assert_memory_equal(plain, "value", 5);
    assert_int_equal(seal_open(purpose, "name", 4, sealed, sizeof(sealed), plain, &size), TP_CORRUPT);
    assert_memory_not_equal(plain, "value", 5);
    assert_int_equal(seal_open(other, "name", 4, sealed, sizeof(sealed), plain, &size), TP_CORRUPT);
    assert_int_equal(seal_open(seal, "nam", 3, sealed, sizeof(sealed), plain, &size), TP_CORRUPT);
    assert_int_equal(seal_open(seal, "name", 4, sealed, sizeof(sealed) - 1, plain, &size), TP_CORRUPT);
    for (size_t i = 0; i < sizeof(sealed) * 8; i++) {
        sealed[i / 8] ^= (uint8_t)(1u << (i % 8));
        assert_int_equal(seal_open(seal, "name", 4, sealed, sizeof(sealed), plain, &size), TP_CORRUPT);
        sealed[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    seal_free(seal);
    seal_free(purpose);
    seal_free(other);
    seal_free(same);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_R14_values_are_sealed_on_the_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_its_key_nothing_opens_and_nothing_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(test_R14_a_store_that_is_not_sealed_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_R14_a_changed_or_moved_record_is_refused, setup, teardown),
        cmocka_unit_test(test_seal_binds_key_purpose_and_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

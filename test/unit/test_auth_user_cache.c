/* What is remembered of a user is never older than the store. */
#include "auth/user_cache.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    char folder[64];
    struct store *store;
    struct user_cache *cache;
    struct tp_error error;
};

static int begin(void **state)
{
    struct world *w = mem_alloc(sizeof *w);
    strcpy(w->folder, "/tmp/tport-users-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    assert_int_equal(store_open(w->folder, NULL, &w->store, &w->error), TP_OK);
    w->cache = user_cache_new();
    *state = w;
    return 0;
}

static int end(void **state)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    struct world *w = *state;
    user_cache_free(w->cache);
    store_close(w->store);
    for (size_t i = 0; i < 2; i++) {
        char *path = mem_printf("%s/%s", w->folder, files[i]);
        (void)unlink(path);
        mem_free(path);
    }
    (void)rmdir(w->folder);
    mem_free(w);
    return 0;
}

static void put(struct world *w, const char *name, const char *text)
{
    char *key = mem_printf("/user/%s", name);
    assert_int_equal(store_put(w->store, key, text, strlen(text), STORE_ANY, NULL, &w->error), TP_OK);
    mem_free(key);
}

static void put_role(struct world *w, const char *name, const char *role)
{
    char *text = mem_printf("{\"kind\":\"user\",\"version\":\"v2\",\"metadata\":{\"name\":\"%s\"},"
                            "\"spec\":{\"roles\":[\"%s\"],\"traits\":{}}}",
                            name, role);
    put(w, name, text);
    mem_free(text);
}

static const struct user *find(struct world *w, const char *name)
{
    const struct user *user = NULL;
    if (user_cache_find(w->cache, w->store, name, &user, &w->error) != TP_OK) {
        fail_msg("%s", w->error.text);
    }
    return user;
}

static void test_a_change_is_seen_at_once(void **state)
{
    struct world *w = *state;
    put_role(w, "alice", "access");
    put_role(w, "bob", "editor");
    for (int i = 0; i < 3; i++) {
        assert_string_equal(find(w, "alice")->roles[0], "access");
        assert_string_equal(find(w, "bob")->roles[0], "editor");
    }
    /* As long as before, and another. */
    put_role(w, "alice", "reader");
    assert_string_equal(find(w, "alice")->roles[0], "reader");
    put_role(w, "alice", "access");
    assert_string_equal(find(w, "alice")->roles[0], "access");
    assert_string_equal(find(w, "bob")->name, "bob");
}

static void test_who_is_not_there_is_not_found(void **state)
{
    struct world *w = *state;
    const struct user *user = NULL;
    char *longest = mem_array(STORE_KEY_MAX + 2, 1);
    assert_int_equal(user_cache_find(w->cache, w->store, "alice", &user, &w->error), TP_NOT_FOUND);
    put_role(w, "alice", "access");
    assert_string_equal(find(w, "alice")->roles[0], "access");
    assert_int_equal(store_delete(w->store, "/user/alice", STORE_ANY, &w->error), TP_OK);
    assert_int_equal(user_cache_find(w->cache, w->store, "alice", &user, &w->error), TP_NOT_FOUND);
    memset(longest, 'a', STORE_KEY_MAX + 1);
    assert_int_equal(user_cache_find(w->cache, w->store, longest, &user, &w->error), TP_NOT_FOUND);
    mem_free(longest);
}

static void test_a_damaged_record_lets_nobody_in(void **state)
{
    struct world *w = *state;
    const struct user *user = NULL;
    put_role(w, "alice", "access");
    assert_string_equal(find(w, "alice")->roles[0], "access");
    put(w, "alice", "{\"kind\":");
    assert_int_equal(user_cache_find(w->cache, w->store, "alice", &user, &w->error), TP_CORRUPT);
    put(w, "alice", "{\"kind\":\"user\",\"version\":\"v2\",\"surplus\":1}");
    assert_int_not_equal(user_cache_find(w->cache, w->store, "alice", &user, &w->error), TP_OK);
    put_role(w, "alice", "access");
    assert_string_equal(find(w, "alice")->roles[0], "access");
}

static void test_more_than_are_kept(void **state)
{
    struct world *w = *state;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 1100; i++) {
            char name[16];
            snprintf(name, sizeof name, "u%d", i);
            if (round == 0) {
                put_role(w, name, "access");
            }
            assert_string_equal(find(w, name)->name, name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_change_is_seen_at_once, begin, end),
        cmocka_unit_test_setup_teardown(test_who_is_not_there_is_not_found, begin, end),
        cmocka_unit_test_setup_teardown(test_a_damaged_record_lets_nobody_in, begin, end),
        cmocka_unit_test_setup_teardown(test_more_than_are_kept, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

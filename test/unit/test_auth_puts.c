/* Roles that are written in one turn of the loop: one commit for all, each with its own answer. */
#include "auth/inner.h"
#include "auth_help.h"

static json_t *role_of(const char *name, const char *login)
{
    return json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:[s], s:{s:s}}}}", "kind", "role", "version", "v7", "metadata", "name",
                     name, "spec", "allow", "logins", login, "node_labels", "*", "*");
}

static void put_later(struct fixture *fixture, const char *name, bool force, struct answer *answer)
{
    ask_later(fixture, as_local(), "resources.put",
              json_pack("{s:o, s:b}", "resource", role_of(name, "root"), "force", (int)force), answer);
}

static void answered(struct answer *answer, enum tp_err code)
{
    assert_true(answer->done);
    assert_int_equal(answer->error.code, code);
    assert_true((answer->result != NULL) == (code == TP_OK));
    json_decref(answer->result);
}

#define MANY 30

static void one_commit_for_a_turn(void **state)
{
    struct fixture *fixture = *state;
    struct answer answers[MANY];
    uint64_t before = store_revision(fixture->auth->state);
    for (size_t i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof name, "role-%zu", i);
        put_later(fixture, name, false, &answers[i]);
        assert_null(map_get(fixture->auth->roles, name)); /* nobody sees it before it is on the disk */
    }
    assert_int_equal(store_revision(fixture->auth->state), before);
    wait_all(fixture);
    assert_int_equal(store_revision(fixture->auth->state), before + 1);
    for (size_t i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof name, "role-%zu", i);
        answered(&answers[i], TP_OK);
        assert_non_null(map_get(fixture->auth->roles, name));
    }
}

/* Each sees what was asked for before it. */
static void order_is_kept(void **state)
{
    struct fixture *fixture = *state;
    struct answer first, twice, forced, removed, again, gone;
    put_later(fixture, "one", false, &first);
    put_later(fixture, "one", false, &twice);
    put_later(fixture, "one", true, &forced);
    ask_later(fixture, as_local(), "resources.rm", json_pack("{s:s, s:s}", "kind", "role", "name", "one"), &removed);
    put_later(fixture, "one", false, &again);
    ask_later(fixture, as_local(), "resources.get", json_pack("{s:s, s:s}", "kind", "role", "name", "one"), &gone);
    wait_all(fixture);
    answered(&first, TP_OK);
    answered(&twice, TP_EXISTS);
    answered(&forced, TP_OK);
    answered(&removed, TP_OK);
    answered(&again, TP_OK);
    answered(&gone, TP_OK);
}

/* One that cannot be written takes no other with it. */
static void a_failure_is_its_own(void **state)
{
    struct fixture *fixture = *state;
    struct answer answers[3];
    struct tp_error error = {0};
    json_decref(must(fixture, as_local(), "resources.put", json_pack("{s:o}", "resource", role_of("b", "root"))));
    struct role *old = role_ref(map_get(fixture->auth->roles, "b"));
    put_later(fixture, "a", false, &answers[0]);
    put_later(fixture, "b", true, &answers[1]);
    put_later(fixture, "c", false, &answers[2]);
    assert_int_equal(store_put(fixture->auth->state, "/role/b", "{}", 2, STORE_ANY, NULL, &error), TP_OK);
    wait_all(fixture);
    answered(&answers[0], TP_OK);
    answered(&answers[1], TP_CONFLICT);
    answered(&answers[2], TP_OK);
    assert_non_null(map_get(fixture->auth->roles, "a"));
    assert_ptr_equal(map_get(fixture->auth->roles, "b"), old);
    assert_non_null(map_get(fixture->auth->roles, "c"));
    role_unref(old);
}

/* What waits when the process ends is written. */
static void the_end_writes_what_waits(void **state)
{
    struct fixture *fixture = *state;
    struct answer answer;
    put_later(fixture, "last", false, &answer);
    auth_close(fixture->auth);
    fixture_settle(fixture, 20);
    loop_free(fixture->loop);
    json_decref(answer.result);
    fixture_open(fixture);
    assert_non_null(map_get(fixture->auth->roles, "last"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_commit_for_a_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(order_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_is_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_writes_what_waits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

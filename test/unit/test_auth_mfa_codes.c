/* One-time codes before sessions, and their devices: used once, counted, locked, removed. */
#include "auth/live.h"
#include "auth_mfa_help.h"

/* R14: one code, one certificate; a login's code is used, too. */
static void r14_a_code_works_once(void **state)
{
    struct world world = world_open(state, asks_for_code());
    struct answer *answers = mem_array(PARALLEL, sizeof *answers);
    char code[7];
    code_at(world.seed, now_ms / 1000, code); /* that of the login */
    must_fail(world.fixture, by(&world, world.base), "mfa.session", code_params(&world, "target", "a", code),
              TP_INVALID);
    next_code(world.seed, code);
    for (size_t i = 0; i < PARALLEL; i++) {
        struct caller caller = by(&world, world.base);
        snprintf(caller.ip, sizeof caller.ip, "10.1.%zu.1", i); /* no lock comes between */
        mono_ms += 3001;                                        /* nor a rate */
        ask_later(world.fixture, caller, "mfa.session", code_params(&world, "target", i % 2 == 0 ? "a" : "b", code),
                  &answers[i]);
    }
    wait_all(world.fixture);
    size_t won = 0;
    for (size_t i = 0; i < PARALLEL; i++) {
        won += answers[i].result != NULL;
        assert_true(answers[i].result != NULL || answers[i].error.code == TP_INVALID);
        json_decref(answers[i].result);
    }
    assert_int_equal(won, 1);
    must_fail(world.fixture, as_nobody(ADDRESS), "login.password",
              login_params("alice", GOOD_PASSWORD, code, &world.keys), TP_DENIED);
    mem_free(answers);
    world_close(&world);
}

/* A code that is refused costs three computations, whatever is wrong with it. */
static void give_wrong(struct world *world, const char *code, struct tp_error *error)
{
    struct caller caller = by(world, world->base);
    json_t *params = code_params(world, "target", "a", code);
    computed = 0;
    assert_null(ask(world->fixture, caller, "mfa.session", params, error));
    assert_int_equal(computed, 3);
}

/* R16: wrong, used, somebody else's, from a locked device or a locked source: one sentence. */
static void r16_every_wrong_code_looks_alike(void **state)
{
    struct world world = world_open(state, asks_for_code());
    sign_by_hand(&world); /* a login's certificate would be refused with its device */
    char *other = make_user(world.fixture, "bob", "prod", "root");
    char *pem = redeem(&world, "target", "a"); /* so that the device is known */
    struct tp_error errors[6] = {0};
    char code[7];
    code_at(world.seed, now_ms / 1000, code);
    give_wrong(&world, code, &errors[0]);
    pass(30);
    code_at(other, now_ms / 1000, code);
    give_wrong(&world, code, &errors[1]);
    give_wrong(&world, "999999", &errors[2]);
    give_wrong(&world, "000001", &errors[3]);
    json_t *lock =
        must(world.fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "mfa_device", world.device));
    code_at(world.seed, now_ms / 1000, code);
    give_wrong(&world, code, &errors[4]);
    json_decref(must(world.fixture, as_local(), "resources.rm",
                     json_pack("{s:s, s:s}", "kind", "lock", "name", json_get_text(lock, "name", ""))));
    next_code(world.seed, code);
    give_wrong(&world, code, &errors[5]); /* five failures have locked this source, for the right code too */
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(errors[i].code, TP_INVALID);
        assert_string_equal(errors[i].text, "invalid or used one-time code");
    }
    assert_int_equal(events(&world, "mfa_auth_challenge.validate", "code", "T1016W"), 6);
    /* Half an hour later the source may try again; nothing of it ever kept a login out. */
    char *again = log_in(&world);
    pass(1801);
    char *later = redeem(&world, "target", "a");
    json_decref(lock);
    mem_free(again);
    mem_free(later);
    mem_free(pem);
    mem_free(other);
    world_close(&world);
}

/* 6.1.1: who fails at her login, without a certificate of hers, can't keep her from her sessions. */
static void failed_logins_keep_nobody_from_sessions(void **state)
{
    struct world world = world_open(state, asks_for_code());
    for (int i = 0; i < 60; i++) {
        lockout_failed(world.fixture->auth->lockout, "alice", ADDRESS, mono_ms);
    }
    char *pem = redeem(&world, "target", "a");
    mem_free(pem);
    world_close(&world);
}

static void codes_have_a_rate(void **state)
{
    struct world world = world_open(state, asks_for_code());
    struct tp_error error = {0};
    for (int i = 0; i < 40; i++) {
        must_fail(world.fixture, by(&world, world.base), "mfa.session", code_params(&world, "target", "a", "000000"),
                  TP_INVALID);
    }
    assert_null(ask(world.fixture, by(&world, world.base), "mfa.session", code_params(&world, "target", "a", "000000"),
                    &error));
    assert_int_equal(error.code, TP_LIMIT);
    /* Each person's own, however long and alike the names are. */
    char *names[2];
    for (int i = 0; i < 2; i++) {
        char *user = mem_printf("%0*d%d", 150, 7, i);
        names[i] = lockout_codes(user);
        mem_free(user);
    }
    for (int i = 0; i < 40; i++) {
        assert_int_equal(lockout_rate_codes(world.fixture->auth->lockout, names[0], mono_ms, &error), TP_OK);
    }
    assert_int_equal(lockout_rate_codes(world.fixture->auth->lockout, names[0], mono_ms, &error), TP_LIMIT);
    assert_int_equal(lockout_rate_codes(world.fixture->auth->lockout, names[1], mono_ms, &error), TP_OK);
    mem_free(names[0]);
    mem_free(names[1]);
    world_close(&world);
}

/* A lock on the device: its sessions end, its certificates and codes are worth nothing, and neither are its logins
 * (test_auth_login_device.c: what these have opened). Both ways to write a lock agree on which are worth writing. */
static void a_locked_device_opens_nothing(void **state)
{
    struct world world = world_open(state, asks_for_code());
    sign_by_hand(&world);
    char *pem = redeem(&world, "target", "a");
    json_t *with = must(world.fixture, by(&world, pem), "ssh.connect", node("a"));
    json_t *without = must(world.fixture, by(&world, world.base), "ssh.connect", node("c"));
    json_t *useless = json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:s}}}", "kind", "lock", "version", "v2", "metadata", "name",
                                "x", "spec", "target", "windows_desktop", "d");
    must_fail(world.fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "windows_desktop", "d"),
              TP_INVALID);
    must_fail(world.fixture, as_local(), "resources.put", json_pack("{s:o}", "resource", useless), TP_INVALID);
    put(world.fixture, json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:s}}}", "kind", "lock", "version", "v2", "metadata",
                                 "name", "lost", "spec", "target", "mfa_device", world.device));
    const struct live *gone = map_get(world.fixture->auth->live, json_get_text(with, "sid", ""));
    const struct live *stays = map_get(world.fixture->auth->live, json_get_text(without, "sid", ""));
    assert_true(gone->cut);
    assert_string_equal(gone->cut_text, MFA_DEVICE_LOCKED);
    assert_false(stays->cut);
    struct caller caller;
    struct tp_error error = {0};
    assert_int_equal(show(&world, pem, ADDRESS, &caller, &error), TP_DENIED);
    assert_string_equal(error.text, MFA_DEVICE_LOCKED);
    char code[7];
    next_code(world.seed, code);
    must_fail(world.fixture, as_nobody(ADDRESS), "login.password",
              login_params("alice", GOOD_PASSWORD, code, &world.keys), TP_DENIED);
    /* A certificate that it has not made stays good for what needs no code. */
    json_decref(must(world.fixture, by(&world, world.base), "ssh.connect", node("c")));
    json_decref(with);
    json_decref(without);
    mem_free(pem);
    world_close(&world);
}

/* A device that its owner has removed, as a lost phone: the same. */
static void a_removed_device_opens_nothing(void **state)
{
    struct world world = world_open(state, asks_for_code());
    struct auth *auth = world.fixture->auth;
    sign_by_hand(&world);
    char *pem = redeem(&world, "target", "a");
    json_t *with = must(world.fixture, by(&world, pem), "ssh.connect", node("a"));
    json_t *without = must(world.fixture, by(&world, world.base), "ssh.connect", node("c"));
    json_t *login = NULL;
    struct tp_error error = {0};
    assert_int_equal(doc_find(auth->secrets, "/login/", "alice", &login, NULL, &error), TP_OK);
    json_array_clear(devices_of(login));
    assert_int_equal(doc_put(auth->secrets, "/login/", "alice", login, STORE_ANY, NULL, &error), TP_OK);
    json_decref(login);
    sessions_recheck(auth);
    const struct live *gone = map_get(auth->live, json_get_text(with, "sid", ""));
    const struct live *stays = map_get(auth->live, json_get_text(without, "sid", ""));
    assert_true(gone->cut);
    assert_string_equal(gone->cut_text, MFA_DEVICE_GONE);
    assert_false(stays->cut);
    struct caller caller;
    assert_int_equal(show(&world, pem, ADDRESS, &caller, &error), TP_DENIED);
    assert_string_equal(error.text, MFA_DEVICE_GONE);
    json_decref(with);
    json_decref(without);
    mem_free(pem);
    world_close(&world);
}

/* A restart of auth in between loses no device of a session: the lock still finds it. */
static void devices_outlive_a_restart(void **state)
{
    struct world world = world_open(state, asks_for_code());
    char *pem = redeem(&world, "target", "a");
    json_t *result = must(world.fixture, by(&world, pem), "ssh.connect", node("a"));
    fixture_settle(world.fixture, 500); /* a tick stores it */
    fixture_shut(world.fixture);
    fixture_open(world.fixture);
    const struct live *live = map_get(world.fixture->auth->live, json_get_text(result, "sid", ""));
    assert_non_null(live);
    assert_string_equal(live->mfa_device, world.device);
    json_decref(result);
    mem_free(pem);
    world_close(&world);
}

/* Devices from before devices had ids get one with the first code, and keep it. */
static void an_old_device_gets_an_id(void **state)
{
    struct world world = world_open(state, asks_for_code());
    sign_by_hand(&world);
    json_t *doc = NULL;
    uint64_t revision = 0;
    struct tp_error error = {0};
    assert_int_equal(doc_find(world.fixture->auth->secrets, "/login/", "alice", &doc, &revision, &error), TP_OK);
    json_t *device = json_array_get(json_object_get(doc, "devices"), 0);
    json_object_set(doc, "totp", json_object_get(device, "totp"));
    json_object_set(doc, "last_step", json_object_get(device, "last_step"));
    json_object_set_new(doc, "device", json_string("my old phone"));
    json_object_del(doc, "devices");
    assert_int_equal(doc_put(world.fixture->auth->secrets, "/login/", "alice", doc, revision, NULL, &error), TP_OK);
    json_decref(doc);
    mem_free(redeem(&world, "target", "a"));
    char *first = mem_strdup(world.device);
    mem_free(redeem(&world, "target", "a"));
    assert_string_equal(world.device, first);
    mem_free(first);
    world_close(&world);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_at_noon, teardown)
    const struct CMUnitTest tests[] = {
        TEST(r14_a_code_works_once),
        TEST(r16_every_wrong_code_looks_alike),
        TEST(failed_logins_keep_nobody_from_sessions),
        TEST(codes_have_a_rate),
        TEST(a_locked_device_opens_nothing),
        TEST(a_removed_device_opens_nothing),
        TEST(devices_outlive_a_restart),
        TEST(an_old_device_gets_an_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What was signed in with a device ends with it: a lock on the device, or its removal, reaches certificates, web sessions and
 * what they have opened, also where no second factor is asked for each session. */
#include "auth/live.h"
#include "auth/websess.h"
#include "auth_mfa_help.h"

static char *open_ssh(struct world *world, struct caller caller, const char *name)
{
    json_t *opened = must(world->fixture, caller, "ssh.connect", node(name));
    char *sid = mem_strdup(json_get_text(opened, "sid", ""));
    json_decref(opened);
    return sid;
}

static const struct live *live_of(struct world *world, const char *sid)
{
    const struct live *live = map_get(world->fixture->auth->live, sid);
    assert_non_null(live);
    return live;
}

static char *lock_device(struct world *world, const char *device)
{
    json_t *made =
        must(world->fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "mfa_device", device));
    char *name = mem_strdup(json_get_text(made, "name", ""));
    json_decref(made);
    return name;
}

static void unlock(struct world *world, const char *name)
{
    json_decref(
        must(world->fixture, as_local(), "resources.rm", json_pack("{s:s, s:s}", "kind", "lock", "name", name)));
}

static void refused(struct world *world, const char *pem, enum tp_err code, const char *text)
{
    struct caller caller;
    struct tp_error error = {0};
    assert_int_equal(show(world, pem, ADDRESS, &caller, &error), code);
    if (strstr(error.text, text) == NULL) {
        fail_msg("it says: %s", error.text);
    }
}

static void accepted(struct world *world, const char *pem)
{
    struct caller caller = by(world, pem);
    caller_free(&caller);
}

static char *login_device(const char *pem)
{
    struct identity identity = read_cert(pem);
    assert_non_null(identity.login_device);
    char *device = mem_strdup(identity.login_device);
    identity_free(&identity);
    return device;
}

static const char locked[] = "a lock is in force on the device that you signed in with";

static void a_lock_reaches_what_a_plain_login_opened(void **state)
{
    struct world world = world_open(state, asks_for_code());
    char *device = login_device(world.base);
    char *free_one = open_ssh(&world, by(&world, world.base), "c");
    char *pem = redeem(&world, "target", "a");
    assert_string_equal(device, world.device);
    /* Somebody else's device is nothing to her. */
    char *seed = make_user(world.fixture, "bob", "dev", "x");
    json_t *login = NULL;
    struct tp_error error = {0};
    assert_int_equal(doc_find(world.fixture->auth->secrets, "/login/", "bob", &login, NULL, &error), TP_OK);
    char *of_bob = lock_device(&world, json_get_text(json_array_get(devices_of(login), 0), "id", ""));
    assert_false(live_of(&world, free_one)->cut);
    char *lock = lock_device(&world, device);
    assert_true(live_of(&world, free_one)->cut);
    assert_string_equal(live_of(&world, free_one)->cut_text, locked);
    assert_int_equal(live_of(&world, free_one)->cut_reason, CLOSE_LOCKED);
    refused(&world, world.base, TP_DENIED, locked);
    refused(&world, pem, TP_DENIED, locked);
    unlock(&world, lock);
    accepted(&world, world.base);
    char *again = open_ssh(&world, by(&world, world.base), "c");
    assert_false(live_of(&world, again)->cut);
    json_decref(login);
    mem_free(again);
    mem_free(of_bob);
    mem_free(lock);
    mem_free(seed);
    mem_free(pem);
    mem_free(free_one);
    mem_free(device);
    world_close(&world);
}

/* A typing mistake would shut nobody out, and nobody would know. */
static void a_lock_on_no_device_says_so(void **state)
{
    struct world world = world_open(state, asks_for_code());
    char *device = login_device(world.base);
    json_t *made = must(world.fixture, as_local(), "locks.add",
                        json_pack("{s:{s:s}}", "target", "mfa_device", "44444444-4444-4444-8444-444444444444"));
    const char *warning = json_get_text(made, "warnings", "");
    assert_string_equal(warning,
                        "there is no one-time-code device with the id 44444444-4444-4444-8444-444444444444 now; "
                        "the lock is there and will hold as soon as there is one");
    json_decref(made);
    made = must(world.fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "mfa_device", device));
    assert_null(json_object_get(made, "warnings"));
    json_decref(made);
    mem_free(device);
    world_close(&world);
}

/* What a new auth process knows: from the store, or by the grant where the old one was killed before it stored anything. */
static void it_reaches_sessions_that_outlive_a_restart(void **state)
{
    struct world world = world_open(state, asks_for_code());
    struct fixture *fixture = world.fixture;
    char *device = login_device(world.base);
    json_t *opened = must(fixture, by(&world, world.base), "ssh.connect", node("c"));
    json_t *killed = must(fixture, by(&world, world.base), "ssh.connect", node("c"));
    json_t *kube_one = must(fixture, by(&world, world.base), "kube.connect", kube('c'));
    fixture_settle(fixture, 400);
    const char *sids[] = {json_get_text(opened, "sid", ""), json_get_text(killed, "sid", ""),
                          json_get_text(kube_one, "sid", "")};
    struct tp_error error = {0};
    for (size_t i = 1; i < 3; i++) {
        batch_delete(fixture->auth, "/live/", sids[i]);
    }
    assert_int_equal(batch_commit(fixture->auth, &error), TP_OK);
    fixture_shut(fixture);
    fixture_open(fixture);
    const char *host = "33333333-3333-4333-8333-333333333333";
    json_t *alive = json_pack("[{s:s, s:s, s:s, s:s}, {s:s, s:s, s:s, s:s}]", "sid", sids[1], "service", "ssh",
                              "host_id", host, "grant", json_get_text(killed, "grant", ""), "sid", sids[2], "service",
                              "kube", "host_id", host, "grant", json_get_text(kube_one, "grant", ""));
    json_decref(must(fixture, as_proxy(), "session.resume", json_pack("{s:o, s:b}", "sessions", alive, "last", 0)));
    for (size_t i = 0; i < 3; i++) {
        assert_false(live_of(&world, sids[i])->cut);
    }
    char *lock = lock_device(&world, device);
    for (size_t i = 0; i < 3; i++) {
        assert_true(live_of(&world, sids[i])->cut);
    }
    json_decref(opened);
    json_decref(killed);
    json_decref(kube_one);
    mem_free(lock);
    mem_free(device);
    world_close(&world);
}

/* ---- the browser ---- */

static char *open_terminal(struct world *world, json_t *who)
{
    json_t *opened = must(world->fixture, web(world, who), "term.connect",
                          json_pack("{s:s, s:s}", "target", "c", "login", "ubuntu"));
    char *sid = mem_strdup(json_get_text(opened, "sid", ""));
    json_decref(opened);
    return sid;
}

static void a_lock_reaches_the_browser(void **state)
{
    struct world world = world_open(state, asks_for_code());
    char *device = login_device(world.base);
    json_t *who = web_open(&world, "alice", world.seed);
    char *sid = open_terminal(&world, who);
    json_t *given = must(world.fixture, web(&world, who), "kube.certs",
                         json_pack("{s:s, s:s}", "kube_cluster", "c", "tls_pub_key", world.keys.tls));
    const char *file = json_get_text(given, "tls_cert", "");
    accepted(&world, file);
    /* A restart forgets nothing of it. */
    fixture_settle(world.fixture, 400);
    fixture_shut(world.fixture);
    fixture_open(world.fixture);
    char *lock = lock_device(&world, device);
    struct caller caller;
    assert_true(live_of(&world, sid)->cut);
    assert_int_equal(web_show(&world, who, &caller), TP_DENIED);
    refused(&world, file, TP_DENIED, locked);
    json_decref(given);
    json_decref(who);
    mem_free(lock);
    mem_free(sid);
    mem_free(device);
    world_close(&world);
}

/* A second device; the first one's code opens it. Returns its seed. */
static char *add_device(struct world *world, json_t *who)
{
    char code[7];
    char fresh[7];
    json_t *made = must(world->fixture, web(world, who), "account.device_new", json_object());
    char *seed = mem_strdup(json_get_text(made, "secret", ""));
    next_code(world->seed, code);
    code_at(seed, now_ms / 1000, fresh);
    json_decref(must(world->fixture, web(world, who), "account.device_add",
                     json_pack("{s:s, s:s, s:s}", "name", "second", "new_code", fresh, "code", code)));
    json_decref(made);
    return seed;
}

static void remove_device(struct world *world, json_t *who, const char *device, const char *seed)
{
    char code[7];
    next_code(seed, code);
    json_decref(must(world->fixture, web(world, who), "account.device_rm",
                     json_pack("{s:s, s:s}", "id", device, "code", code)));
}

/* Its person has just shown another device there, so the session that removes a device goes on, with its terminals, and hangs on
 * that one. All else that the device opened is over. */
static void a_removed_device_ends_all_but_the_session_that_removes_it(void **state)
{
    struct world world = world_open(state, asks_for_code());
    char *device = login_device(world.base);
    json_t *who = web_open(&world, "alice", world.seed);
    json_t *elsewhere = web_open(&world, "alice", world.seed);
    char *seed = add_device(&world, who);
    json_t *by_second = web_open(&world, "alice", seed);
    char *kept = open_terminal(&world, who);
    char *ended = open_terminal(&world, elsewhere);
    char *other = open_terminal(&world, by_second);
    char *ssh = open_ssh(&world, by(&world, world.base), "c");
    remove_device(&world, who, device, seed);
    struct caller caller;
    assert_false(live_of(&world, kept)->cut);
    assert_false(live_of(&world, other)->cut);
    assert_true(live_of(&world, ended)->cut);
    assert_true(live_of(&world, ssh)->cut);
    refused(&world, world.base, TP_UNAUTHENTICATED, "was removed from your account; sign in again");
    assert_int_equal(web_show(&world, elsewhere, &caller), TP_UNAUTHENTICATED);
    caller = web(&world, by_second);
    caller_free(&caller);
    caller = web(&world, who);
    char *now = mem_strdup(caller.login_device);
    caller_free(&caller);
    mem_free(lock_device(&world, now));
    assert_true(live_of(&world, kept)->cut);
    assert_int_equal(web_show(&world, who, &caller), TP_DENIED);
    json_decref(who);
    json_decref(elsewhere);
    json_decref(by_second);
    mem_free(now);
    mem_free(kept);
    mem_free(ended);
    mem_free(other);
    mem_free(ssh);
    mem_free(seed);
    mem_free(device);
    world_close(&world);
}

/* Twenty newer sign-ins push the web session out, which ends no terminal. */
static void push_out(struct world *world, json_t *who)
{
    struct auth *auth = world->fixture->auth;
    struct websess_from from = {.ip = ADDRESS, .agent = "", .device = "44444444-4444-4444-8444-444444444444"};
    struct caller caller = web(world, who);
    char *key = mem_strdup(caller.web_key);
    for (size_t i = 0; i < 20; i++) {
        struct tp_error error = {0};
        json_t *made = NULL;
        int64_t ttl_ms = (int64_t)100 * 3600 * 1000; /* the one that ends first goes */
        assert_true(i == 19 || websess_alive(auth, key));
        assert_int_equal(websess_make(auth, "alice", caller.roles, caller.traits, &from, ttl_ms, &made, &error), TP_OK);
        json_decref(made);
    }
    assert_false(websess_alive(auth, key));
    mem_free(key);
    caller_free(&caller);
}

/* Its device was known to the web session alone: when that had gone by itself, a lock did not reach the shell. */
static void a_lock_reaches_a_terminal_whose_web_session_is_gone(void **state)
{
    struct world world = world_open(state, asks_for_code());
    char *device = login_device(world.base);
    json_t *who = web_open(&world, "alice", world.seed);
    char *sid = open_terminal(&world, who);
    push_out(&world, who);
    assert_false(live_of(&world, sid)->cut);
    mem_free(lock_device(&world, "44444444-4444-4444-8444-444444444444")); /* of other web sessions of hers */
    assert_false(live_of(&world, sid)->cut);
    mem_free(lock_device(&world, device));
    assert_true(live_of(&world, sid)->cut);
    assert_string_equal(live_of(&world, sid)->cut_text, locked);
    assert_int_equal(live_of(&world, sid)->cut_reason, CLOSE_LOCKED);
    json_decref(who);
    mem_free(sid);
    mem_free(device);
    world_close(&world);
}

/* The same, with the device removed, and with a new auth process: from the store, or by the grant. */
static void a_removed_device_ends_a_terminal_whose_web_session_is_gone(void **state)
{
    struct world world = world_open(state, asks_for_code());
    struct fixture *fixture = world.fixture;
    char *device = login_device(world.base);
    json_t *who = web_open(&world, "alice", world.seed);
    char *seed = add_device(&world, who);
    char *stored = open_terminal(&world, who);
    json_t *killed =
        must(fixture, web(&world, who), "term.connect", json_pack("{s:s, s:s}", "target", "c", "login", "ubuntu"));
    const char *unstored = json_get_text(killed, "sid", "");
    push_out(&world, who);
    fixture_settle(fixture, 400);
    struct tp_error error = {0};
    batch_delete(fixture->auth, "/live/", unstored);
    assert_int_equal(batch_commit(fixture->auth, &error), TP_OK);
    fixture_shut(fixture);
    fixture_open(fixture);
    const char *host = "33333333-3333-4333-8333-333333333333";
    json_t *alive = json_pack("[{s:s, s:s, s:s, s:s}, {s:s}]", "sid", unstored, "service", "term", "host_id", host,
                              "grant", json_get_text(killed, "grant", ""), "sid", stored);
    json_decref(must(fixture, as_proxy(), "session.resume", json_pack("{s:o, s:b}", "sessions", alive, "last", 0)));
    json_decref(must(fixture, as_host(host, "c"), "tunnel.up", json_pack("{s:i, s:i}", "worker", 1, "tunnel", 5)));
    json_t *by_second = web_open(&world, "alice", seed);
    char *other = open_terminal(&world, by_second);
    assert_false(live_of(&world, stored)->cut);
    assert_false(live_of(&world, unstored)->cut);
    remove_device(&world, by_second, device, seed);
    assert_true(live_of(&world, stored)->cut);
    assert_true(live_of(&world, unstored)->cut);
    assert_int_equal(live_of(&world, stored)->cut_reason, CLOSE_RIGHT_LOST);
    assert_false(live_of(&world, other)->cut);
    json_decref(killed);
    json_decref(who);
    json_decref(by_second);
    mem_free(stored);
    mem_free(other);
    mem_free(seed);
    mem_free(device);
    world_close(&world);
}

/* Its web session had moved to another device: that one counts, also when the session is gone, and over a restart. */
static void a_terminal_hangs_on_the_last_device_of_its_web_session(void **state)
{
    struct world world = world_open(state, asks_for_code());
    char *device = login_device(world.base);
    json_t *who = web_open(&world, "alice", world.seed);
    char *seed = add_device(&world, who);
    char *sid = open_terminal(&world, who);
    assert_string_equal(live_of(&world, sid)->login_device, device);
    fixture_settle(world.fixture, 400); /* it is stored, with this one */
    remove_device(&world, who, device, seed);
    struct caller caller = web(&world, who);
    char *now = mem_strdup(caller.login_device);
    caller_free(&caller);
    push_out(&world, who);
    fixture_settle(world.fixture, 400);
    fixture_shut(world.fixture);
    fixture_open(world.fixture);
    sessions_recheck(world.fixture->auth);
    assert_false(live_of(&world, sid)->cut);
    assert_string_equal(live_of(&world, sid)->login_device, now);
    mem_free(lock_device(&world, now));
    assert_true(live_of(&world, sid)->cut);
    assert_string_equal(live_of(&world, sid)->cut_text, locked);
    json_decref(who);
    mem_free(now);
    mem_free(sid);
    mem_free(seed);
    mem_free(device);
    world_close(&world);
}

/* Signed by the administrator's hand: there was no device. */
static void certificates_without_a_login_hang_on_no_device(void **state)
{
    struct world world = world_open(state, asks_for_code());
    char *device = login_device(world.base);
    sign_by_hand(&world);
    mem_free(lock_device(&world, device));
    accepted(&world, world.base);
    mem_free(device);
    world_close(&world);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_at_noon, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_lock_reaches_what_a_plain_login_opened),
        TEST(a_lock_on_no_device_says_so),
        TEST(it_reaches_sessions_that_outlive_a_restart),
        TEST(a_lock_reaches_the_browser),
        TEST(a_removed_device_ends_all_but_the_session_that_removes_it),
        TEST(a_lock_reaches_a_terminal_whose_web_session_is_gone),
        TEST(a_removed_device_ends_a_terminal_whose_web_session_is_gone),
        TEST(a_terminal_hangs_on_the_last_device_of_its_web_session),
        TEST(certificates_without_a_login_hang_on_no_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

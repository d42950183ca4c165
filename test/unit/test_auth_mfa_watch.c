/* Watching a running session takes a code where opening one does: for that session, in the web session that watches. */
#include "auth/caller.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth/recording.h"
#include "auth_mfa_help.h"

struct watched {
    struct world world;
    char *sid;   /* alice's session on a */
    char *other; /* her session on c */
    char *seed;  /* of bob, who may read all sessions */
};

/* A channel of a session that caller opens. */
static char *run_on(struct world *world, struct caller caller, const char *host_id, const char *name, const char *login)
{
    json_t *opened = must(world->fixture, caller, "ssh.connect", node(name));
    char *sid = mem_strdup(json_get_text(opened, "sid", ""));
    json_decref(opened);
    json_decref(must(world->fixture, as_host(host_id, name), "session.start",
                     json_pack("{s:s, s:s, s:s, s:s, s:b, s:s}", "sid", sid, "login", login, "kind", "shell", "command",
                               "", "interactive", 1, "size", "80:25")));
    return sid;
}

static struct watched watched_open(void **state, json_t *prod_options, const char *roles_of_bob)
{
    struct watched watched = {.world = world_open(state, prod_options)};
    struct world *world = &watched.world;
    char *pem = redeem(world, "target", "a");
    watched.sid = run_on(world, by(world, pem), HOST_A, "a", "root");
    watched.other = run_on(world, by(world, world->base), "33333333-3333-4333-8333-333333333333", "c", "ubuntu");
    watched.seed = make_user(world->fixture, "bob", "auditor", "root");
    json_decref(must(world->fixture, as_local(), "users.update",
                     json_pack("{s:s, s:[s, s]}", "name", "bob", "set_roles", "auditor", roles_of_bob)));
    mem_free(pem);
    return watched;
}

static void watched_close(struct watched *watched)
{
    mem_free(watched->sid);
    mem_free(watched->other);
    mem_free(watched->seed);
    world_close(&watched->world);
}

static json_t *piece(const char *sid)
{
    return json_pack("{s:s, s:i, s:i}", "id", sid, "offset", 0, "limit", 1000);
}

static void give(struct watched *watched, json_t *who, const char *key, const char *target)
{
    char code[7];
    next_code(watched->seed, code);
    json_decref(must(watched->world.fixture, web(&watched->world, who), "mfa.session",
                     json_pack("{s:s, s:s}", key, target, "otp_token", code)));
}

static void refused(struct watched *watched, json_t *who, enum tp_err code)
{
    must_fail(watched->world.fixture, web(&watched->world, who), "sessions.watch", piece(watched->sid), code);
    must_fail(watched->world.fixture, web(&watched->world, who), "recordings.read", piece(watched->sid), code);
}

static void seen(struct watched *watched, json_t *who, const char *sid)
{
    json_decref(must(watched->world.fixture, web(&watched->world, who), "sessions.watch", piece(sid)));
}

/* The ways round: none, one of another session, of its server, of another browser, and of a minute ago. */
static void r4_watching_takes_a_code_of_that_session(void **state)
{
    struct watched watched = watched_open(state, asks_for_code(), "prod");
    struct fixture *fixture = watched.world.fixture;
    json_t *who = web_open(&watched.world, "bob", watched.seed);
    json_t *elsewhere = web_open(&watched.world, "bob", watched.seed);
    json_t *needs = must(fixture, web(&watched.world, who), "mfa.required", json_pack("{s:s}", "session", watched.sid));
    assert_true(json_get_bool(needs, "required", false));
    json_decref(needs);
    refused(&watched, who, TP_MFA_NEEDED);
    give(&watched, who, "target", "a");
    refused(&watched, who, TP_MFA_NEEDED);
    give(&watched, who, "session", watched.other);
    refused(&watched, who, TP_MFA_NEEDED);
    must_fail(fixture, web(&watched.world, who), "mfa.session",
              json_pack("{s:s, s:s}", "session", watched.sid, "otp_token", "000000"), TP_INVALID);
    refused(&watched, who, TP_MFA_NEEDED);
    give(&watched, who, "session", watched.sid);
    must_fail(fixture, web(&watched.world, who), "term.connect",
              json_pack("{s:s, s:s}", "target", "a", "login", "root"), TP_MFA_NEEDED);
    refused(&watched, elsewhere, TP_MFA_NEEDED);
    seen(&watched, who, watched.sid);
    json_decref(must(fixture, web(&watched.world, who), "recordings.read", piece(watched.sid)));
    refused(&watched, elsewhere, TP_MFA_NEEDED); /* he watches, but not there */
    pass(70);
    give(&watched, elsewhere, "session", watched.sid);
    pass(61);
    refused(&watched, elsewhere, TP_MFA_NEEDED);
    assert_int_equal(events(&watched.world, "session.join", "user", "bob"), 1);
    json_decref(who);
    json_decref(elsewhere);
    watched_close(&watched);
}

/* Who watches goes on when the minute is over, as in a terminal; a lock on his device ends it. */
static void who_watches_goes_on_with_his_device(void **state)
{
    struct watched watched = watched_open(state, asks_for_code(), "prod");
    struct fixture *fixture = watched.world.fixture;
    json_t *who = web_open(&watched.world, "bob", watched.seed);
    give(&watched, who, "session", watched.sid);
    for (int i = 0; i < 15; i++) {
        seen(&watched, who, watched.sid);
        pass(5);
    }
    json_decref(must(fixture, web(&watched.world, who), "recordings.read", piece(watched.sid))); /* the same to him */
    json_t *login = NULL;
    struct tp_error error = {0};
    assert_int_equal(doc_find(fixture->auth->secrets, "/login/", "bob", &login, NULL, &error), TP_OK);
    const char *device = json_get_text(json_array_get(devices_of(login), 0), "id", "");
    assert_int_equal(events(&watched.world, "session.join", "with_mfa", device), 1);
    struct caller caller = web(&watched.world, who); /* verified before the lock */
    json_decref(must(fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "mfa_device", device)));
    must_fail(fixture, caller, "sessions.watch", piece(watched.sid), TP_DENIED);
    json_decref(login);
    json_decref(who);
    watched_close(&watched);
}

static void nobody_else_is_asked(void **state)
{
    struct watched watched = watched_open(state, asks_for_code(), "dev");
    struct fixture *fixture = watched.world.fixture;
    json_t *who = web_open(&watched.world, "bob", watched.seed);
    json_t *needs = must(fixture, web(&watched.world, who), "mfa.required", json_pack("{s:s}", "session", watched.sid));
    assert_false(json_get_bool(needs, "required", true));
    json_decref(needs);
    seen(&watched, who, watched.sid);
    json_decref(must(fixture, as_local(), "sessions.watch", piece(watched.sid)));
    json_decref(must(fixture, as_local(), "recordings.read", piece(watched.sid)));
    /* From the moment that the cluster asks, he is asked; the machine's administrator never is. */
    put(fixture, json_pack("{s:s, s:s, s:{s:s}, s:{s:b}}", "kind", "cluster_auth_preference", "version", "v2",
                           "metadata", "name", "cluster-auth-preference", "spec", "require_session_mfa", 1));
    refused(&watched, who, TP_MFA_NEEDED);
    give(&watched, who, "session", watched.sid);
    seen(&watched, who, watched.sid);
    json_decref(must(fixture, as_local(), "sessions.watch", piece(watched.sid)));
    json_decref(who);
    watched_close(&watched);
}

static size_t watchers_listed(struct fixture *fixture)
{
    json_t *list = must(fixture, as_local(), "sessions.list", json_object());
    size_t count = 0;
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(list, "items"), i, item) {
        count += json_array_size(json_object_get(json_array_get(json_object_get(item, "channels"), 0), "watchers"));
    }
    json_decref(list);
    return count;
}

/* Read piece by piece while it runs, a recording shows what sessions.watch shows: its reader is a watcher in all that others see,
 * and so is the machine's administrator. */
static void r3_a_running_session_is_not_read_in_silence(void **state)
{
    struct watched watched = watched_open(state, asks_for_code(), "dev");
    struct fixture *fixture = watched.world.fixture;
    struct recording *recording = map_get(fixture->auth->recordings, watched.sid);
    json_t *who = web_open(&watched.world, "bob", watched.seed);
    json_decref(must(fixture, as_host(HOST_A, "a"), "recording.append",
                     json_pack("{s:s, s:i, s:s}", "id", watched.sid, "offset", 0, "data", "e30K")));
    assert_int_equal(watchers_listed(fixture), 0);
    json_decref(must(fixture, web(&watched.world, who), "recordings.read", piece(watched.sid)));
    int64_t told = recording->told;
    assert_true(told > 0);
    assert_int_equal(watchers_listed(fixture), 1);
    assert_true(json_list_has(json_object_get(recording->meta, "participants"), "bob"));
    assert_int_equal(events(&watched.world, "session.recording.access", "user", "bob"), 1);
    json_decref(must(fixture, as_local(), "recordings.read", piece(watched.sid)));
    assert_true(recording->told > told);
    assert_int_equal(watchers_listed(fixture), 2);
    /* Who goes on reading is there, and no news. */
    told = recording->told;
    for (int i = 0; i < 3; i++) {
        pass(8);
        json_decref(must(fixture, web(&watched.world, who), "recordings.read", piece(watched.sid)));
        json_decref(must(fixture, web(&watched.world, who), "sessions.watch", piece(watched.sid)));
        json_decref(must(fixture, as_local(), "recordings.read", piece(watched.sid)));
        watchers_tick(recording);
    }
    assert_int_equal(recording->told, told);
    assert_int_equal(events(&watched.world, "session.join", "user", "bob"), 1);
    assert_int_equal(events(&watched.world, "session.join", "user", "admin"), 1);
    fixture_settle(fixture, 100);
    assert_int_equal(events(&watched.world, "session.leave", "mode", "observer"), 0);
    pass(11);
    watchers_tick(recording);
    assert_true(recording->told > told);
    assert_int_equal(watchers_listed(fixture), 0);
    fixture_settle(fixture, 100); /* nobody waits for these events */
    assert_int_equal(events(&watched.world, "session.leave", "user", "bob"), 1);
    assert_int_equal(events(&watched.world, "session.leave", "user", "admin"), 1);
    /* When it is over it is a recording like others. */
    json_decref(must(fixture, web(&watched.world, who), "recordings.read", piece(watched.sid)));
    json_decref(must(fixture, as_host(HOST_A, "a"), "session.end",
                     json_pack("{s:s, s:s, s:b}", "id", watched.sid, "reason", "exit", "recorded", 1)));
    json_decref(must(fixture, web(&watched.world, who), "recordings.read", piece(watched.sid)));
    fixture_settle(fixture, 100);
    assert_int_equal(events(&watched.world, "session.leave", "user", "bob"), 2);
    assert_int_equal(events(&watched.world, "session.join", "user", "bob"), 2);
    json_decref(who);
    watched_close(&watched);
}

static void readers_of_a_running_session_are_counted(void **state)
{
    struct watched watched = watched_open(state, asks_for_code(), "dev");
    struct fixture *fixture = watched.world.fixture;
    for (int i = 0; i <= 64; i++) {
        struct caller caller = as_user(fixture, "bob");
        caller.web_key = mem_printf("browser-%d", i);
        if (i < 64) {
            json_decref(must(fixture, caller, "recordings.read", piece(watched.sid)));
        } else {
            must_fail(fixture, caller, "recordings.read", piece(watched.sid), TP_LIMIT);
        }
    }
    watched_close(&watched);
}

/* A code is taken only for what one may watch, in a browser, and a hardware key is no code. */
static void what_takes_no_code(void **state)
{
    struct watched watched = watched_open(state, asks_for_code(), "prod");
    struct fixture *fixture = watched.world.fixture;
    struct tp_error error = {0};
    char code[7];
    json_t *who = web_open(&watched.world, "bob", watched.seed);
    next_code(watched.seed, code);
    json_decref(
        must(fixture, as_local(), "users.update", json_pack("{s:s, s:[s]}", "name", "bob", "set_roles", "prod")));
    json_t *params = json_pack("{s:s, s:s}", "session", watched.sid, "otp_token", code);
    must_fail(fixture, web(&watched.world, who), "mfa.session", json_incref(params), TP_NOT_FOUND);
    must_fail(fixture, web(&watched.world, who), "sessions.watch", piece(watched.sid), TP_NOT_FOUND);
    json_decref(params);
    /* His own one is asked for like others. By a certificate there is no way to watch. */
    struct world *world = &watched.world;
    must_fail(fixture, by(world, world->base), "sessions.watch", piece(watched.sid), TP_MFA_NEEDED);
    next_code(world->seed, code);
    params = code_params(world, "session", watched.sid, code);
    must_fail(fixture, by(world, world->base), "mfa.session", params, TP_INVALID);
    put(fixture, role("prod", "root", "prod", json_pack("{s:s}", "require_session_mfa", "hardware_key_touch")));
    assert_null(
        ask(fixture, by(world, world->base), "mfa.required", json_pack("{s:s}", "session", watched.sid), &error));
    assert_int_equal(error.code, TP_DENIED);
    assert_non_null(strstr(error.text, "hardware key"));
    must_fail(fixture, by(world, world->base), "sessions.watch", piece(watched.sid), TP_DENIED);
    json_decref(who);
    watched_close(&watched);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_at_noon, teardown)
    const struct CMUnitTest tests[] = {
        TEST(r4_watching_takes_a_code_of_that_session),
        TEST(who_watches_goes_on_with_his_device),
        TEST(nobody_else_is_asked),
        TEST(what_takes_no_code),
        TEST(r3_a_running_session_is_not_read_in_silence),
        TEST(readers_of_a_running_session_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

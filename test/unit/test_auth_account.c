/* What a person changes about his own sign-in, and every way round it. */
#include "auth/caller.h"
#include "auth/devices.h"
#include "auth/inner.h"
#include "auth/settings.h"
#include "auth/users.h"
#include "auth/websess.h"
#include "auth_clock_help.h"

#define NEW_PASSWORD "eight loud gates by the sea"

/* ---- people and their browsers ---- */

struct person {
    struct fixture *fixture;
    const char *name;
    char *seed;
};

struct browser {
    struct person *person;
    char *sid;
    char *token;
    char *id; /* of its session, as the list names it */
};

static struct person person_make(void **state, const char *name)
{
    struct person person = {.fixture = *state, .name = name};
    struct tp_error none = {0};
    json_t *old = NULL;
    if (doc_find(person.fixture->auth->state, "/role/", "plain", &old, NULL, &none) != TP_OK) {
        json_t *role = json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:[s]}}}", "kind", "role", "version", "v7", "metadata",
                                 "name", "plain", "spec", "allow", "logins", "root");
        json_decref(must(person.fixture, as_local(), "resources.put", json_pack("{s:o}", "resource", role)));
    }
    json_decref(old);
    person.seed = make_user(person.fixture, name, "plain", "root");
    return person;
}

/* The next unused code: each step has one. */
static const char *next_code(const char *seed)
{
    static char code[7];
    pass(30);
    code_at(seed, now_ms / 1000, code);
    return code;
}

static json_t *login(const struct person *person, const char *password, const char *code)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "user", person->name, "password", password, "otp_token", code,
                     "user_agent", "Firefox <b>");
}

static struct caller as_browser(const struct browser *browser)
{
    struct link link = {.auth = browser->person->fixture->auth, .kind = LINK_WORKER, .worker = 1};
    struct caller caller;
    struct tp_error error = {0};
    json_t *json = json_pack("{s:s, s:s, s:s, s:s}", "kind", "session", "sid", browser->sid, "token", browser->token,
                             "addr", "10.0.0.1:99");
    if (caller_verify(link.auth, &link, json, &caller, &error) != TP_OK) {
        fail_msg("session: %s", error.text);
    }
    json_decref(json);
    return caller;
}

/* idle: the page asks by itself. */
static bool let_in(const struct browser *browser, bool idle)
{
    struct auth *auth = browser->person->fixture->auth;
    struct caller caller;
    struct tp_error error = {0};
    caller_init(&caller);
    caller.addr = mem_strdup("10.0.0.1:99");
    caller_ip(caller.addr, caller.ip);
    enum tp_err err = websess_check(auth, browser->sid, browser->token, idle, &caller, &error);
    caller_free(&caller);
    return err == TP_OK;
}

static bool signed_in(const struct browser *browser)
{
    return let_in(browser, false);
}

static struct browser sign_in(struct person *person)
{
    json_t *made = must(person->fixture, as_nobody("10.0.0.1"), "login.web",
                        login(person, GOOD_PASSWORD, next_code(person->seed)));
    struct browser browser = {.person = person,
                              .sid = mem_strdup(json_get_text(made, "sid", "")),
                              .token = mem_strdup(json_get_text(made, "token", ""))};
    char key[HASH_TEXT_SIZE];
    doc_hash(browser.sid, key);
    browser.id = mem_strdup(key);
    json_decref(made);
    return browser;
}

static void sign_off(struct browser *browser)
{
    mem_free(browser->sid);
    mem_free(browser->token);
    mem_free(browser->id);
}

static json_t *items(const struct browser *browser, const char *method)
{
    json_t *result = must(browser->person->fixture, as_browser(browser), method, json_object());
    json_t *list = json_incref(json_object_get(result, "items"));
    json_decref(result);
    return list;
}

static size_t count(const struct browser *browser, const char *method)
{
    json_t *list = items(browser, method);
    size_t size = json_array_size(list);
    json_decref(list);
    return size;
}

/* A second device with its own seed (mem_free it); the first one's code opens it. */
static char *add_device(const struct browser *browser, const char *name)
{
    struct fixture *fixture = browser->person->fixture;
    json_t *made = must(fixture, as_browser(browser), "account.device_new", json_object());
    char *seed = mem_strdup(json_get_text(made, "secret", ""));
    char fresh[7];
    const char *code = next_code(browser->person->seed);
    code_at(seed, now_ms / 1000, fresh);
    json_decref(made);
    json_decref(must(fixture, as_browser(browser), "account.device_add",
                     json_pack("{s:s, s:s, s:s}", "name", name, "new_code", fresh, "code", code)));
    return seed;
}

static char *first_device(const struct browser *browser)
{
    json_t *list = items(browser, "account.devices");
    char *id = mem_strdup(json_get_text(json_array_get(list, 0), "id", ""));
    json_decref(list);
    return id;
}

/* ---- devices ---- */

static void devices_are_added_named_and_removed(void **state)
{
    struct person alice = person_make(state, "alice");
    struct browser browser = sign_in(&alice);
    struct fixture *fixture = alice.fixture;
    char *first = first_device(&browser);
    /* The last one stays, and no code is used up by asking. */
    const char *code = next_code(alice.seed);
    must_fail(fixture, as_browser(&browser), "account.device_rm", json_pack("{s:s, s:s}", "id", first, "code", code),
              TP_INVALID);
    json_decref(must(fixture, as_browser(&browser), "account.device_rename",
                     json_pack("{s:s, s:s, s:s}", "id", first, "name", "old phone", "code", code)));
    char *seed = add_device(&browser, "tablet");
    json_t *list = items(&browser, "account.devices");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_get_text(json_array_get(list, 0), "name", ""), "old phone");
    assert_string_equal(json_get_text(json_array_get(list, 1), "name", ""), "tablet");
    assert_null(json_object_get(json_array_get(list, 1), "totp"));
    json_decref(list);
    /* Each of both signs in, each code once. */
    code = next_code(seed);
    json_decref(must(fixture, as_nobody("10.0.0.2"), "login.web", login(&alice, GOOD_PASSWORD, code)));
    must_fail(fixture, as_nobody("10.0.0.2"), "login.web", login(&alice, GOOD_PASSWORD, code), TP_DENIED);
    json_decref(must(fixture, as_nobody("10.0.0.2"), "login.web", login(&alice, GOOD_PASSWORD, next_code(alice.seed))));
    /* Removed by a code of the other, its own codes are worth nothing. */
    json_decref(must(fixture, as_browser(&browser), "account.device_rm",
                     json_pack("{s:s, s:s}", "id", first, "code", next_code(seed))));
    must_fail(fixture, as_nobody("10.0.0.3"), "login.web", login(&alice, GOOD_PASSWORD, next_code(alice.seed)),
              TP_DENIED);
    assert_int_equal(count(&browser, "account.devices"), 1);
    mem_free(first);
    mem_free(seed);
    sign_off(&browser);
    mem_free(alice.seed);
}

static void a_device_needs_both_codes_and_its_time(void **state)
{
    struct person alice = person_make(state, "alice");
    struct browser browser = sign_in(&alice);
    struct fixture *fixture = alice.fixture;
    char fresh[7];
    json_t *made = must(fixture, as_browser(&browser), "account.device_new", json_object());
    char *seed = mem_strdup(json_get_text(made, "secret", ""));
    json_decref(made);
    const char *code = next_code(alice.seed);
    code_at(seed, now_ms / 1000, fresh);
#define ADD(name, with_new, with_code) \
    json_pack("{s:s, s:s, s:s}", "name", name, "new_code", with_new, "code", with_code)
    must_fail(fixture, as_browser(&browser), "account.device_add", ADD("x", "000000", code), TP_INVALID);
    must_fail(fixture, as_browser(&browser), "account.device_add", ADD("x", fresh, "000000"), TP_INVALID);
    must_fail(fixture, as_browser(&browser), "account.device_add", ADD("x", fresh, fresh), TP_INVALID);
    must_fail(fixture, as_browser(&browser), "account.device_add", ADD("x", code, code), TP_INVALID);
    must_fail(fixture, as_browser(&browser), "account.device_add", ADD("", fresh, code), TP_INVALID);
    must_fail(fixture, as_browser(&browser), "account.device_add", ADD("a\x1b[2Jb", fresh, code), TP_INVALID);
    must_fail(fixture, as_browser(&browser), "account.device_add", ADD("otp", fresh, code), TP_EXISTS);
    assert_int_equal(count(&browser, "account.devices"), 1);
    /* Another one's pending seed is not his. */
    struct person bob = person_make(state, "bob");
    struct browser his = sign_in(&bob);
    code_at(seed, now_ms / 1000, fresh);
    must_fail(fixture, as_browser(&his), "account.device_add", ADD("x", fresh, next_code(bob.seed)), TP_NOT_FOUND);
    /* Ten minutes later the picture is worth nothing. */
    pass(400);
    assert_true(signed_in(&browser)); /* he is there all the time */
    pass(200);
    code = next_code(alice.seed);
    code_at(seed, now_ms / 1000, fresh);
    must_fail(fixture, as_browser(&browser), "account.device_add", ADD("x", fresh, code), TP_NOT_FOUND);
#undef ADD
    mem_free(seed);
    sign_off(&browser);
    sign_off(&his);
    mem_free(alice.seed);
    mem_free(bob.seed);
}

static void devices_of_others_are_out_of_reach(void **state)
{
    struct person alice = person_make(state, "alice");
    struct person bob = person_make(state, "bob");
    struct browser hers = sign_in(&alice);
    struct browser his = sign_in(&bob);
    struct fixture *fixture = alice.fixture;
    char *seed = add_device(&hers, "second");
    char *target = first_device(&hers);
    must_fail(fixture, as_browser(&his), "account.device_rm",
              json_pack("{s:s, s:s}", "id", target, "code", next_code(bob.seed)), TP_NOT_FOUND);
    must_fail(fixture, as_browser(&his), "account.device_rename",
              json_pack("{s:s, s:s, s:s}", "id", target, "name", "mine", "code", next_code(bob.seed)), TP_NOT_FOUND);
    /* Her code does not open his changes, nor his hers. */
    char *own = first_device(&his);
    must_fail(fixture, as_browser(&his), "account.device_rename",
              json_pack("{s:s, s:s, s:s}", "id", own, "name", "mine", "code", next_code(alice.seed)), TP_INVALID);
    assert_int_equal(count(&hers, "account.devices"), 2);
    mem_free(own);
    mem_free(target);
    mem_free(seed);
    sign_off(&hers);
    sign_off(&his);
    mem_free(alice.seed);
    mem_free(bob.seed);
}

/* A stolen session that guesses is stopped, for all changes together; the owner's sign-in elsewhere is not. */
static void guessing_is_stopped(void **state)
{
    struct person alice = person_make(state, "alice");
    struct browser browser = sign_in(&alice);
    struct fixture *fixture = alice.fixture;
    char *id = first_device(&browser);
    for (int i = 0; i < 5; i++) {
        json_t *params = i % 2 == 0 ? json_pack("{s:s, s:s, s:s}", "id", id, "name", "x", "code", "000000")
                                    : json_pack("{s:s, s:s, s:s}", "old", "wrong wrong wrong", "new", NEW_PASSWORD,
                                                "code", "000000");
        must_fail(fixture, as_browser(&browser), i % 2 == 0 ? "account.device_rename" : "account.password", params,
                  TP_INVALID);
    }
    must_fail(fixture, as_browser(&browser), "account.device_rename",
              json_pack("{s:s, s:s, s:s}", "id", id, "name", "x", "code", next_code(alice.seed)), TP_LIMIT);
    must_fail(fixture, as_browser(&browser), "account.password",
              json_pack("{s:s, s:s, s:s}", "old", GOOD_PASSWORD, "new", NEW_PASSWORD, "code", next_code(alice.seed)),
              TP_LIMIT);
    json_decref(must(fixture, as_nobody("10.0.0.1"), "login.web", login(&alice, GOOD_PASSWORD, next_code(alice.seed))));
    pass(1801);
    struct browser later = sign_in(&alice);
    json_decref(must(fixture, as_browser(&later), "account.device_rename",
                     json_pack("{s:s, s:s, s:s}", "id", id, "name", "x", "code", next_code(alice.seed))));
    mem_free(id);
    sign_off(&browser);
    sign_off(&later);
    mem_free(alice.seed);
}

/* Of any number of additions and removals with one code one happens; two removals at once never take the last device. */
static void one_code_one_change(void **state)
{
    struct person alice = person_make(state, "alice");
    struct browser browser = sign_in(&alice);
    struct fixture *fixture = alice.fixture;
    char *seed = add_device(&browser, "second");
    char *first = first_device(&browser);
    json_t *list = items(&browser, "account.devices");
    char *second = mem_strdup(json_get_text(json_array_get(list, 1), "id", ""));
    json_decref(list);
    char codes[2][7];
    pass(30);
    code_at(alice.seed, now_ms / 1000, codes[0]);
    code_at(seed, now_ms / 1000, codes[1]);
    struct answer answers[2];
    ask_later(fixture, as_browser(&browser), "account.device_rm",
              json_pack("{s:s, s:s}", "id", first, "code", codes[1]), &answers[0]);
    ask_later(fixture, as_browser(&browser), "account.device_rm",
              json_pack("{s:s, s:s}", "id", second, "code", codes[0]), &answers[1]);
    wait_all(fixture);
    assert_int_equal((answers[0].result != NULL) + (answers[1].result != NULL), 1);
    assert_int_equal(count(&browser, "account.devices"), 1);
    json_decref(answers[0].result);
    json_decref(answers[1].result);
    mem_free(first);
    mem_free(second);
    mem_free(seed);
    sign_off(&browser);
    mem_free(alice.seed);
}

static void there_are_at_most_ten(void **state)
{
    struct person alice = person_make(state, "alice");
    struct browser browser = sign_in(&alice);
    struct fixture *fixture = alice.fixture;
    for (int i = 2; i <= DEVICES_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "device %d", i);
        mem_free(add_device(&browser, name));
        pass(60);
    }
    json_t *made = must(fixture, as_browser(&browser), "account.device_new", json_object());
    char fresh[7];
    code_at(json_get_text(made, "secret", ""), now_ms / 1000, fresh);
    must_fail(fixture, as_browser(&browser), "account.device_add",
              json_pack("{s:s, s:s, s:s}", "name", "eleventh", "new_code", fresh, "code", "123456"), TP_LIMIT);
    json_decref(made);
    sign_off(&browser);
    mem_free(alice.seed);
}

/* An entry without a seed opens nothing, not even by the seed that is used to lose time with. */
static void a_broken_device_opens_nothing(void **state)
{
    struct person alice = person_make(state, "alice");
    struct fixture *fixture = alice.fixture;
    json_t *doc = NULL;
    uint64_t revision = 0;
    struct tp_error error = {0};
    char code[7];
    assert_int_equal(doc_find(fixture->auth->secrets, "/login/", "alice", &doc, &revision, &error), TP_OK);
    json_object_del(json_array_get(json_object_get(doc, "devices"), 0), "totp");
    assert_int_equal(doc_put(fixture->auth->secrets, "/login/", "alice", doc, revision, NULL, &error), TP_OK);
    json_decref(doc);
    code_at("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", now_ms / 1000, code);
    must_fail(fixture, as_nobody("10.0.0.1"), "login.web", login(&alice, GOOD_PASSWORD, code), TP_DENIED);
    mem_free(alice.seed);
}

/* ---- password ---- */

static json_t *change(const char *old, const char *fresh, const char *code)
{
    return json_pack("{s:s, s:s, s:s}", "old", old, "new", fresh, "code", code);
}

static void the_password_changes_and_others_are_out(void **state)
{
    struct person alice = person_make(state, "alice");
    struct browser browser = sign_in(&alice);
    struct browser other = sign_in(&alice);
    struct fixture *fixture = alice.fixture;
    must_fail(fixture, as_browser(&browser), "account.password",
              change("not the old password", NEW_PASSWORD, next_code(alice.seed)), TP_INVALID);
    must_fail(fixture, as_browser(&browser), "account.password", change(GOOD_PASSWORD, NEW_PASSWORD, "000000"),
              TP_INVALID);
    must_fail(fixture, as_browser(&browser), "account.password", change(GOOD_PASSWORD, "short", "000000"), TP_INVALID);
    must_fail(fixture, as_browser(&browser), "account.password",
              change(GOOD_PASSWORD, GOOD_PASSWORD, next_code(alice.seed)), TP_INVALID);
    assert_true(signed_in(&other));
    int64_t since = users_since(fixture->auth, "alice");
    json_decref(must(fixture, as_browser(&browser), "account.password",
                     change(GOOD_PASSWORD, NEW_PASSWORD, next_code(alice.seed))));
    assert_true(users_since(fixture->auth, "alice") > since); /* certificates from before are worth nothing */
    assert_true(signed_in(&browser));
    assert_false(signed_in(&other));
    must_fail(fixture, as_nobody("10.0.0.5"), "login.web", login(&alice, GOOD_PASSWORD, next_code(alice.seed)),
              TP_DENIED);
    json_decref(must(fixture, as_nobody("10.0.0.5"), "login.web", login(&alice, NEW_PASSWORD, next_code(alice.seed))));
    sign_off(&browser);
    sign_off(&other);
    mem_free(alice.seed);
}

/* Two changes that race: one wins, the other is told, and the password is the winner's. */
static void two_changes_at_once(void **state)
{
    struct person alice = person_make(state, "alice");
    struct browser browser = sign_in(&alice);
    struct fixture *fixture = alice.fixture;
    char *seed = add_device(&browser, "second");
    char codes[2][7];
    pass(30);
    code_at(alice.seed, now_ms / 1000, codes[0]);
    code_at(seed, now_ms / 1000, codes[1]);
    struct answer answers[2];
    ask_later(fixture, as_browser(&browser), "account.password", change(GOOD_PASSWORD, NEW_PASSWORD " 1", codes[0]),
              &answers[0]);
    ask_later(fixture, as_browser(&browser), "account.password", change(GOOD_PASSWORD, NEW_PASSWORD " 2", codes[1]),
              &answers[1]);
    wait_all(fixture);
    assert_int_equal((answers[0].result != NULL) + (answers[1].result != NULL), 1);
    const char *winner = answers[0].result != NULL ? NEW_PASSWORD " 1" : NEW_PASSWORD " 2";
    json_decref(must(fixture, as_nobody("10.0.0.5"), "login.web", login(&alice, winner, next_code(alice.seed))));
    json_decref(answers[0].result);
    json_decref(answers[1].result);
    mem_free(seed);
    sign_off(&browser);
    mem_free(alice.seed);
}

/* ---- web sessions ---- */

static void sessions_are_listed_and_ended(void **state)
{
    struct person alice = person_make(state, "alice");
    struct person bob = person_make(state, "bob");
    struct browser one = sign_in(&alice);
    struct browser two = sign_in(&alice);
    struct browser three = sign_in(&alice);
    struct browser his = sign_in(&bob);
    struct fixture *fixture = alice.fixture;
    json_t *list = items(&one, "account.sessions");
    assert_int_equal(json_array_size(list), 3);
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        assert_int_equal(json_is_true(json_object_get(item, "current")),
                         strcmp(json_get_text(item, "id", ""), one.id) == 0);
        assert_string_equal(json_get_text(item, "ip", ""), "10.0.0.1");
        assert_string_equal(json_get_text(item, "agent", ""), "Firefox <b>");
        assert_null(json_object_get(item, "token"));
    }
    json_decref(list);
    /* Another one's is not there, whatever id; neither halves of ids. */
    const char *wrong[] = {his.id, "", "x", one.sid, two.token};
    for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        must_fail(fixture, as_browser(&one), "account.session_end", json_pack("{s:s}", "id", wrong[i]), TP_NOT_FOUND);
    }
    assert_true(signed_in(&his));
    json_decref(must(fixture, as_browser(&one), "account.session_end", json_pack("{s:s}", "id", two.id)));
    assert_false(signed_in(&two));
    assert_true(signed_in(&one) && signed_in(&three));
    must_fail(fixture, as_browser(&one), "account.session_end", json_pack("{s:s}", "id", two.id), TP_NOT_FOUND);
    json_decref(must(fixture, as_browser(&one), "account.session_end", json_pack("{s:b}", "others", 1)));
    assert_true(signed_in(&one) && !signed_in(&three) && signed_in(&his));
    /* Idle for too long: gone from the list and from the door. */
    pass(31 * 60);
    assert_false(signed_in(&one));
    sign_off(&one);
    sign_off(&two);
    sign_off(&three);
    sign_off(&his);
    mem_free(alice.seed);
    mem_free(bob.seed);
}

/* A certificate has no web session: it lists, and ends nothing. */
static void certificates_end_no_sessions(void **state)
{
    struct person alice = person_make(state, "alice");
    struct browser one = sign_in(&alice);
    struct fixture *fixture = alice.fixture;
    must_fail(fixture, as_user(fixture, "alice"), "account.session_end", json_pack("{s:b}", "others", 1), TP_INVALID);
    must_fail(fixture, as_nobody("10.0.0.1"), "account.sessions", json_object(), TP_UNAUTHENTICATED);
    must_fail(fixture, as_local(), "account.devices", json_object(), TP_DENIED);
    must_fail(fixture, as_host(HOST_A, "a"), "account.devices", json_object(), TP_DENIED);
    assert_true(signed_in(&one));
    sign_off(&one);
    mem_free(alice.seed);
}

/* Found when the limit was tried in a browser: auth had a limit of its own, and a page that asks by itself never met it. */
static void web_idle_timeout_counts_what_people_do(void **state)
{
    struct fixture *fixture = *state;
    struct person alice = person_make(state, "alice");
    struct browser browser = sign_in(&alice);
    assert_int_equal(fixture->auth->settings.web_idle_ms, 600 * 1000); /* the default */
    for (int i = 0; i < 5; i++) {
        pass(500);
        assert_true(signed_in(&browser));
    }
    for (int i = 0; i < 5; i++) { /* nobody is there: the page asks all the time, and is no use */
        pass(120);
        assert_true(let_in(&browser, true));
    }
    assert_int_equal(count(&browser, "account.sessions"), 1); /* this counts */
    pass(601);
    assert_false(let_in(&browser, true));
    assert_false(signed_in(&browser));
    sign_off(&browser);

    /* The setting is obeyed, also for sessions that are there, and 0 is no limit. */
    browser = sign_in(&alice);
    json_object_set_new(fixture->auth->settings.conf, "web_idle_timeout", json_integer(60 * 1000));
    settings_apply(fixture->auth);
    pass(61);
    assert_false(signed_in(&browser));
    sign_off(&browser);
    browser = sign_in(&alice);
    json_object_set_new(fixture->auth->settings.conf, "web_idle_timeout", json_integer(0));
    settings_apply(fixture->auth);
    pass(11 * 3600);
    assert_true(signed_in(&browser));
    pass(2 * 3600); /* the longest time of a session stays */
    assert_false(signed_in(&browser));
    sign_off(&browser);
    mem_free(alice.seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(devices_are_added_named_and_removed, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(a_device_needs_both_codes_and_its_time, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(devices_of_others_are_out_of_reach, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(guessing_is_stopped, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(one_code_one_change, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(there_are_at_most_ten, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(a_broken_device_opens_nothing, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(the_password_changes_and_others_are_out, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(two_changes_at_once, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(sessions_are_listed_and_ended, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(certificates_end_no_sessions, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(web_idle_timeout_counts_what_people_do, setup_at_noon, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

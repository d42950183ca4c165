#include "auth/inner.h"
#include "auth_help.h"

static json_t *finish(const char *token, const char *password, const char *code)
{
    return json_pack("{s:s, s:s, s:s}", "token", token, "password", password, "code", code);
}

/* R14: an invitation works once, keeps its secret, and its text is nowhere on the disk as it is. */
static void r14_works_once(void **state)
{
    struct fixture *fixture = *state;
    json_t *made =
        must(fixture, as_local(), "users.add", json_pack("{s:s, s:[s]}", "name", "alice", "roles", "access"));
    const char *token = json_get_text(made, "token", "");
    assert_int_equal(strlen(token), 32);
    char *url = mem_printf("https://tport.demo.test:443/web/invite/%s", token);
    assert_string_equal(json_get_text(made, "url", ""), url);
    mem_free(url);
    json_t *first = must(fixture, as_nobody("10.0.0.1"), "invite.get", json_pack("{s:s}", "token", token));
    json_t *second = must(fixture, as_nobody("10.0.0.1"), "invite.get", json_pack("{s:s}", "token", token));
    assert_true(json_equal(first, second));
    json_t *doc = NULL;
    struct tp_error error = {0};
    assert_int_equal(doc_find(fixture->auth->secrets, "/invite/", token, &doc, NULL, &error), TP_NOT_FOUND);
    char code[7];
    code_at(json_get_text(first, "secret", ""), clock_wall(), code);
    must_fail(fixture, as_nobody("10.0.0.1"), "invite.finish", finish(token, "short", code), TP_INVALID);
    must_fail(fixture, as_nobody("10.0.0.1"), "invite.finish", finish(token, GOOD_PASSWORD, "000000"), TP_INVALID);
    struct answer answers[10];
    for (size_t i = 0; i < 10; i++) {
        ask_later(fixture, as_nobody("10.0.0.1"), "invite.finish", finish(token, GOOD_PASSWORD, code), &answers[i]);
    }
    wait_all(fixture);
    size_t won = 0;
    for (size_t i = 0; i < 10; i++) {
        won += answers[i].result != NULL;
        json_decref(answers[i].result);
    }
    assert_int_equal(won, 1);
    must_fail(fixture, as_nobody("10.0.0.1"), "invite.get", json_pack("{s:s}", "token", token), TP_NOT_FOUND);
    json_decref(first);
    json_decref(second);
    json_decref(made);
}

/* A newer link makes the older one useless; a reset wipes the password at once. */
static void newer_link_replaces_older(void **state)
{
    struct fixture *fixture = *state;
    char *seed = make_user(fixture, "alice", "access", "root");
    json_t *one = must(fixture, as_local(), "users.reset", json_pack("{s:s}", "name", "alice"));
    json_t *two = must(fixture, as_local(), "users.reset", json_pack("{s:s}", "name", "alice"));
    must_fail(fixture, as_nobody("10.0.0.1"), "invite.get", json_pack("{s:O}", "token", json_object_get(one, "token")),
              TP_NOT_FOUND);
    json_t *got =
        must(fixture, as_nobody("10.0.0.1"), "invite.get", json_pack("{s:O}", "token", json_object_get(two, "token")));
    assert_string_equal(json_get_text(got, "kind", ""), "reset");
    struct keys keys = keys_make();
    char code[7];
    code_at(seed, clock_wall(), code);
    must_fail(fixture, as_nobody("10.0.0.1"), "login.password", login_params("alice", GOOD_PASSWORD, code, &keys),
              TP_DENIED);
    keys_free(&keys);
    json_decref(one);
    json_decref(two);
    json_decref(got);
    mem_free(seed);
}

/* The code first, the password later, and what is wrong with one costs nothing of the other. */
static void code_and_password_apart(void **state)
{
    struct fixture *fixture = *state;
    json_t *made =
        must(fixture, as_local(), "users.add", json_pack("{s:s, s:[s]}", "name", "alice", "roles", "access"));
    const char *token = json_get_text(made, "token", "");
    json_t *got = must(fixture, as_nobody("10.0.0.1"), "invite.get", json_pack("{s:s}", "token", token));
    char code[7];
    code_at(json_get_text(got, "secret", ""), clock_wall(), code);
    must_fail(fixture, as_nobody("10.0.0.1"), "invite.confirm",
              json_pack("{s:s, s:s}", "token", token, "code", "000000"), TP_INVALID);
    must_fail(fixture, as_nobody("10.0.0.1"), "invite.confirm", json_pack("{s:s, s:s}", "token", "f", "code", code),
              TP_NOT_FOUND);
    json_t *first =
        must(fixture, as_nobody("10.0.0.1"), "invite.confirm", json_pack("{s:s, s:s}", "token", token, "code", code));
    json_t *second =
        must(fixture, as_nobody("10.0.0.1"), "invite.confirm", json_pack("{s:s, s:s}", "token", token, "code", code));
    const char *old = json_get_text(first, "proof", "");
    const char *proof = json_get_text(second, "proof", "");
    assert_int_equal(strlen(proof), 32);
    assert_string_not_equal(old, proof);
    /* No proof, a made up one, one that a newer one has replaced. */
    static const char *const bad[] = {"", "0", "confirmed"};
    for (size_t i = 0; i <= sizeof bad / sizeof bad[0]; i++) {
        must_fail(fixture, as_nobody("10.0.0.1"), "invite.finish",
                  json_pack("{s:s, s:s, s:s}", "token", token, "password", GOOD_PASSWORD, "proof",
                            i < sizeof bad / sizeof bad[0] ? bad[i] : old),
                  TP_EXPIRED);
    }
    must_fail(fixture, as_nobody("10.0.0.1"), "invite.finish",
              json_pack("{s:s, s:s, s:s}", "token", token, "password", "short", "proof", proof), TP_INVALID);
    json_t *done = must(fixture, as_nobody("10.0.0.1"), "invite.finish",
                        json_pack("{s:s, s:s, s:s}", "token", token, "password", GOOD_PASSWORD, "proof", proof));
    assert_string_equal(json_get_text(done, "user", ""), "alice");
    /* R14: the confirmed code was used; a login needs the next one. */
    struct keys keys = keys_make();
    must_fail(fixture, as_nobody("10.0.0.1"), "login.password", login_params("alice", GOOD_PASSWORD, code, &keys),
              TP_DENIED);
    code_at(json_get_text(got, "secret", ""), clock_wall() + 30, code);
    json_t *in =
        must(fixture, as_nobody("10.0.0.1"), "login.password", login_params("alice", GOOD_PASSWORD, code, &keys));
    keys_free(&keys);
    json_decref(in);
    json_decref(done);
    json_decref(second);
    json_decref(first);
    json_decref(got);
    json_decref(made);
}

/* A proof is no standing right: it goes with the link, and after a while by itself. */
static void put_helpdesk(struct fixture *fixture)
{
    json_t *role =
        json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:[{s:[s], s:[s, s, s]}]}}}", "kind", "role", "version", "v7", "metadata",
                  "name", "helpdesk", "spec", "allow", "rules", "resources", "user", "verbs", "list", "read", "update");
    json_decref(must(fixture, as_local(), "resources.put", json_pack("{s:o}", "resource", role)));
}

/* R1: who may update users, but not give them more than he has, took an administrator's account by resetting it: the link makes
 * whoever has it that administrator. */
static void r1_a_reset_hands_out_no_more_than_the_caller_has(void **state)
{
    struct fixture *fixture = *state;
    put_helpdesk(fixture);
    mem_free(make_user(fixture, "hel", "helpdesk", "support"));
    mem_free(make_user(fixture, "boss", "editor", "support"));
    mem_free(make_user(fixture, "hank", "helpdesk", "support"));
    mem_free(make_user(fixture, "root", "helpdesk", "root")); /* a login that hel has not */
    must_fail(fixture, as_user(fixture, "hel"), "users.reset", json_pack("{s:s}", "name", "boss"), TP_DENIED);
    must_fail(fixture, as_user(fixture, "hel"), "users.reset", json_pack("{s:s}", "name", "root"), TP_DENIED);
    json_decref(must(fixture, as_user(fixture, "boss"), "user.status", json_object())); /* nothing was wiped */
    json_decref(must(fixture, as_user(fixture, "hel"), "users.reset", json_pack("{s:s}", "name", "hank")));
    json_decref(must(fixture, as_user(fixture, "boss"), "users.reset", json_pack("{s:s}", "name", "root")));
    json_decref(must(fixture, as_local(), "users.reset", json_pack("{s:s}", "name", "boss")));
}

static void a_proof_grows_old(void **state)
{
    struct fixture *fixture = *state;
    json_t *made =
        must(fixture, as_local(), "users.add", json_pack("{s:s, s:[s]}", "name", "alice", "roles", "access"));
    const char *token = json_get_text(made, "token", "");
    json_t *got = must(fixture, as_nobody("10.0.0.1"), "invite.get", json_pack("{s:s}", "token", token));
    char code[7];
    code_at(json_get_text(got, "secret", ""), clock_wall(), code);
    json_t *proven =
        must(fixture, as_nobody("10.0.0.1"), "invite.confirm", json_pack("{s:s, s:s}", "token", token, "code", code));
    char hash[HASH_TEXT_SIZE];
    json_t *doc = NULL;
    struct tp_error error = {0};
    doc_hash(token, hash);
    assert_int_equal(doc_find(fixture->auth->secrets, "/invite/", hash, &doc, NULL, &error), TP_OK);
    json_t *confirmed = json_object_get(doc, "confirmed");
    assert_string_not_equal(json_get_text(confirmed, "proof", ""), json_get_text(proven, "proof", ""));
    int64_t until = doc_ms(confirmed, "until");
    assert_true(until > clock_wall_ms() + 14 * 60 * 1000 && until <= clock_wall_ms() + 15 * 60 * 1000);
    json_object_set_new(confirmed, "until", doc_time(clock_wall_ms() - 1));
    assert_int_equal(doc_put(fixture->auth->secrets, "/invite/", hash, doc, STORE_ANY, NULL, &error), TP_OK);
    must_fail(fixture, as_nobody("10.0.0.1"), "invite.finish",
              json_pack("{s:s, s:s, s:s}", "token", token, "password", GOOD_PASSWORD, "proof",
                        json_get_text(proven, "proof", "")),
              TP_EXPIRED);
    json_decref(doc);
    json_decref(proven);
    json_decref(got);
    json_decref(made);
}

static void expires(void **state)
{
    struct fixture *fixture = *state;
    json_t *made = must(fixture, as_local(), "users.add",
                        json_pack("{s:s, s:[s], s:i}", "name", "alice", "roles", "access", "ttl", 100));
    fixture_settle(fixture, 150);
    must_fail(fixture, as_nobody("10.0.0.1"), "invite.get", json_pack("{s:O}", "token", json_object_get(made, "token")),
              TP_NOT_FOUND);
    json_decref(made);
    must_fail(fixture, as_local(), "users.add",
              json_pack("{s:s, s:[s], s:I}", "name", "bob", "roles", "access", "ttl", (json_int_t)49 * 3600 * 1000),
              TP_INVALID);
    must_fail(fixture, as_local(), "users.add", json_pack("{s:s, s:[s]}", "name", "alice", "roles", "access"),
              TP_EXISTS);
    must_fail(fixture, as_local(), "users.add", json_pack("{s:s, s:[s]}", "name", "bob", "roles", "no-such-role"),
              TP_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(r14_works_once, setup, teardown),
        cmocka_unit_test_setup_teardown(newer_link_replaces_older, setup, teardown),
        cmocka_unit_test_setup_teardown(code_and_password_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(r1_a_reset_hands_out_no_more_than_the_caller_has, setup, teardown),
        cmocka_unit_test_setup_teardown(a_proof_grows_old, setup, teardown),
        cmocka_unit_test_setup_teardown(expires, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "auth/ca.h"
#include "auth/caller.h"
#include "auth/inner.h"
#include "auth/lockout.h"
#include "auth_help.h"

#define PARALLEL 100

/* R14: of a hundred logins with the same code at the same time exactly one gets in. */
static void r14_one_code_one_login(void **state)
{
    struct fixture *fixture = *state;
    char *seed = make_user(fixture, "alice", "access", "root");
    struct keys keys = keys_make();
    char code[7];
    code_at(seed, clock_wall(), code);
    struct answer *answers = mem_array(PARALLEL, sizeof *answers);
    for (size_t i = 0; i < PARALLEL; i++) {
        char ip[32];
        snprintf(ip, sizeof ip, "10.0.%zu.1", i); /* each its own source: no lock and no rate comes between */
        ask_later(fixture, as_nobody(ip), "login.password", login_params("alice", GOOD_PASSWORD, code, &keys),
                  &answers[i]);
    }
    wait_all(fixture);
    size_t won = 0;
    for (size_t i = 0; i < PARALLEL; i++) {
        assert_true(answers[i].done);
        won += answers[i].result != NULL;
        if (answers[i].result == NULL) {
            assert_int_equal(answers[i].error.code, TP_DENIED);
        }
        json_decref(answers[i].result);
    }
    assert_int_equal(won, 1);
    mem_free(answers);
    keys_free(&keys);
    mem_free(seed);
}

/* 6.3.8: unknown user, wrong password, wrong code, used code, locked user: one text, one code. */
static void same_text_for_every_failure(void **state)
{
    struct fixture *fixture = *state;
    char *seed = make_user(fixture, "alice", "access", "root");
    char *other = make_user(fixture, "bob", "access", "root");
    struct keys keys = keys_make();
    char code[7];
    char bob_code[7];
    code_at(seed, clock_wall(), code);
    code_at(other, clock_wall(), bob_code);
    json_decref(must(fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "user", "bob")));
    json_decref(
        must(fixture, as_nobody("10.0.0.1"), "login.password", login_params("alice", GOOD_PASSWORD, code, &keys)));
    struct tp_error errors[5] = {0};
    assert_null(ask(fixture, as_nobody("10.0.0.2"), "login.password",
                    login_params("nobody", GOOD_PASSWORD, code, &keys), &errors[0]));
    assert_null(ask(fixture, as_nobody("10.0.0.3"), "login.password",
                    login_params("alice", "wrong password 1", code, &keys), &errors[1]));
    assert_null(ask(fixture, as_nobody("10.0.0.4"), "login.password",
                    login_params("alice", GOOD_PASSWORD, "000000", &keys), &errors[2]));
    assert_null(ask(fixture, as_nobody("10.0.0.5"), "login.password", login_params("alice", GOOD_PASSWORD, code, &keys),
                    &errors[3]));
    assert_null(ask(fixture, as_nobody("10.0.0.6"), "login.password",
                    login_params("bob", GOOD_PASSWORD, bob_code, &keys), &errors[4]));
    for (size_t i = 1; i < 5; i++) {
        assert_int_equal(errors[i].code, errors[0].code);
        assert_string_equal(errors[i].text, errors[0].text);
    }
    keys_free(&keys);
    mem_free(seed);
    mem_free(other);
}

/* The certificates say what the roles say. */
static void certificates_carry_the_identity(void **state)
{
    struct fixture *fixture = *state;
    json_decref(must(fixture, as_local(), "resources.put",
                     json_pack("{s:{s:s, s:s, s:{s:s}, s:{s:{s:s}, s:{s:[s, s]}}}}", "resource", "kind", "role",
                               "version", "v7", "metadata", "name", "short", "spec", "options", "max_session_ttl",
                               "8h0m0s", "allow", "logins", "{{internal.logins}}", "ec2-user")));
    char *seed = make_user(fixture, "alice", "short", "admin");
    struct keys keys = keys_make();
    char code[7];
    code_at(seed, clock_wall(), code);
    json_t *params = login_params("alice", GOOD_PASSWORD, code, &keys);
    json_object_set_new(params, "ttl", json_integer(12 * 3600 * 1000));
    json_t *result = must(fixture, as_nobody("10.0.0.1"), "login.password", params);
    struct tp_error error = {0};
    struct buf blob;
    buf_init(&blob, 65536);
    struct identity identity;
    const char *pem = json_get_text(result, "tls_cert", "");
    assert_int_equal(x509_pem_to_der(pem, strlen(pem), &blob, &error), TP_OK);
    assert_int_equal(x509_check(buf_head(&blob), buf_size(&blob), fixture->auth->ca[CA_USER].keys.tls_pem, clock_wall(),
                                &identity, &error),
                     TP_OK);
    assert_string_equal(identity.name, "alice");
    assert_int_equal(json_array_size(identity.logins), 2);
    assert_true(identity.not_after <= clock_wall() + 8 * 3600);
    identity_free(&identity);
    assert_int_not_equal(x509_check(buf_head(&blob), buf_size(&blob), fixture->auth->ca[CA_HOST].keys.tls_pem,
                                    clock_wall(), &identity, &error),
                         TP_OK);
    buf_clear(&blob);
    const char *lines[] = {fixture->auth->ca[CA_USER].keys.ssh_line, NULL};
    struct sshcert cert;
    assert_int_equal(sshcert_blob(json_get_text(result, "cert", ""), &blob, &error), TP_OK);
    assert_int_equal(sshcert_check(buf_head(&blob), buf_size(&blob), false, lines, clock_wall(), "ec2-user", "10.0.0.1",
                                   &cert, &error),
                     TP_OK);
    assert_int_equal(cert.principal_count, 2);
    assert_non_null(cert.identity);
    sshcert_free(&cert);
    buf_free(&blob);
    json_decref(result);
    keys_free(&keys);
    mem_free(seed);
}

/* 6.1.1: strangers cannot lock the owner out of an address that is known. */
static void owner_gets_in_from_known_address(void **state)
{
    struct fixture *fixture = *state;
    char *seed = make_user(fixture, "alice", "access", "root"); /* enrolled from 10.9.9.9 */
    struct keys keys = keys_make();
    for (int i = 0; i < 60; i++) {
        char ip[32];
        snprintf(ip, sizeof ip, "172.16.%d.1", i);
        lockout_failed(fixture->auth->lockout, "alice", ip, clock_mono_ms());
    }
    char code[7];
    code_at(seed, clock_wall(), code);
    must_fail(fixture, as_nobody("172.20.0.1"), "login.password", login_params("alice", GOOD_PASSWORD, code, &keys),
              TP_DENIED);
    json_decref(
        must(fixture, as_nobody("10.9.9.9"), "login.password", login_params("alice", GOOD_PASSWORD, code, &keys)));
    keys_free(&keys);
    mem_free(seed);
}

/* Behaviour 17: five failures of one source lock it, also for the right password; others go on. */
static void five_failures_lock_the_source(void **state)
{
    struct fixture *fixture = *state;
    char *seed = make_user(fixture, "alice", "access", "root");
    struct keys keys = keys_make();
    char code[7];
    code_at(seed, clock_wall(), code);
    for (int i = 0; i < 5; i++) {
        must_fail(fixture, as_nobody("10.0.0.66"), "login.password",
                  login_params("alice", "not the password", code, &keys), TP_DENIED);
    }
    must_fail(fixture, as_nobody("10.0.0.66"), "login.password", login_params("alice", GOOD_PASSWORD, code, &keys),
              TP_DENIED);
    json_decref(
        must(fixture, as_nobody("10.0.0.67"), "login.password", login_params("alice", GOOD_PASSWORD, code, &keys)));
    keys_free(&keys);
    mem_free(seed);
}

/* Behaviour 17: 40 at once, then 20 a minute. */
static void anonymous_calls_have_a_rate(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 40; i++) {
        must_fail(fixture, as_nobody("10.3.3.3"), "invite.get", json_pack("{s:s}", "token", "00"), TP_NOT_FOUND);
    }
    must_fail(fixture, as_nobody("10.3.3.3"), "invite.get", json_pack("{s:s}", "token", "00"), TP_LIMIT);
    must_fail(fixture, as_nobody("10.3.3.4"), "invite.get", json_pack("{s:s}", "token", "00"), TP_NOT_FOUND);
}

/* A web session needs both halves, and ends at logout, reset and lock. */
static void web_sessions_end(void **state)
{
    struct fixture *fixture = *state;
    struct auth *auth = fixture->auth;
    char *seed = make_user(fixture, "alice", "access", "root");
    char code[7];
    code_at(seed, clock_wall(), code);
    json_t *session = must(fixture, as_nobody("10.0.0.1"), "login.web",
                           json_pack("{s:s, s:s, s:s}", "user", "alice", "password", GOOD_PASSWORD, "otp_token", code));
    const char *sid = json_get_text(session, "sid", "");
    const char *token = json_get_text(session, "token", "");
    struct link link = {.auth = auth, .kind = LINK_WORKER, .worker = 1};
    json_t *good =
        json_pack("{s:s, s:s, s:s, s:s}", "kind", "session", "sid", sid, "token", token, "addr", "10.0.0.1:5");
    json_t *bad = json_pack("{s:s, s:s, s:s, s:s}", "kind", "session", "sid", sid, "token", sid, "addr", "10.0.0.1:5");
    struct caller caller;
    struct tp_error error = {0};
    assert_int_equal(caller_verify(auth, &link, bad, &caller, &error), TP_UNAUTHENTICATED);
    assert_int_equal(caller_verify(auth, &link, good, &caller, &error), TP_OK);
    json_decref(must(fixture, caller, "user.status", json_object()));
    json_decref(must(fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "role", "access")));
    assert_int_equal(caller_verify(auth, &link, good, &caller, &error), TP_DENIED);
    json_decref(must(fixture, as_local(), "users.reset", json_pack("{s:s}", "name", "alice")));
    assert_int_equal(caller_verify(auth, &link, good, &caller, &error), TP_UNAUTHENTICATED);
    json_decref(good);
    json_decref(bad);
    json_decref(session);
    mem_free(seed);
}

/* R4: the option that binds certificates to the address of the login binds web sessions too. */
static void r4_pinned_web_session(void **state)
{
    struct fixture *fixture = *state;
    struct auth *auth = fixture->auth;
    json_t *role = json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:b}, s:{}, s:{}}}", "kind", "role", "version", "v7",
                             "metadata", "name", "pinned", "spec", "options", "pin_source_ip", 1, "allow", "deny");
    json_decref(must(fixture, as_local(), "resources.put", json_pack("{s:o}", "resource", role)));
    char *seed = make_user(fixture, "alice", "pinned", "root");
    char code[7];
    code_at(seed, clock_wall(), code);
    json_t *session = must(fixture, as_nobody("10.0.0.1"), "login.web",
                           json_pack("{s:s, s:s, s:s}", "user", "alice", "password", GOOD_PASSWORD, "otp_token", code));
    const char *const places[] = {"10.0.0.1:5", "10.0.0.2:5", ""};
    struct link link = {.auth = auth, .kind = LINK_WORKER, .worker = 1};
    for (size_t i = 0; i < 3; i++) {
        json_t *json = json_pack("{s:s, s:s, s:s, s:s}", "kind", "session", "sid", json_get_text(session, "sid", ""),
                                 "token", json_get_text(session, "token", ""), "addr", places[i]);
        struct caller caller;
        struct tp_error error = {0};
        assert_int_equal(caller_verify(auth, &link, json, &caller, &error), i == 0 ? TP_OK : TP_DENIED);
        caller_free(&caller);
        json_decref(json);
    }
    json_decref(session);
    mem_free(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(r14_one_code_one_login, setup, teardown),
        cmocka_unit_test_setup_teardown(same_text_for_every_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(certificates_carry_the_identity, setup, teardown),
        cmocka_unit_test_setup_teardown(owner_gets_in_from_known_address, setup, teardown),
        cmocka_unit_test_setup_teardown(five_failures_lock_the_source, setup, teardown),
        cmocka_unit_test_setup_teardown(anonymous_calls_have_a_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(web_sessions_end, setup, teardown),
        cmocka_unit_test_setup_teardown(r4_pinned_web_session, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

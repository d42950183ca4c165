#include "auth/ca.h"
#include "auth/caller.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth_help.h"
#include "crypt/report.h"

static char *make_token(struct fixture *fixture, const char *role, int ttl)
{
    json_t *made = must(fixture, as_local(), "tokens.add", json_pack("{s:[s], s:i}", "roles", role, "ttl", ttl));
    char *token = mem_strdup(json_get_text(made, "token", ""));
    json_decref(made);
    return token;
}

static void check_host(struct fixture *fixture, const json_t *result, const char *id, const char *name)
{
    struct tp_error error = {0};
    struct buf der;
    buf_init(&der, 65536);
    struct identity identity;
    const char *pem = json_get_text(result, "tls_cert", "");
    assert_int_equal(x509_pem_to_der(pem, strlen(pem), &der, &error), TP_OK);
    assert_int_equal(x509_check(buf_head(&der), buf_size(&der), fixture->auth->ca[CA_HOST].keys.tls_pem, clock_wall(),
                                &identity, &error),
                     TP_OK);
    assert_int_equal(identity.kind, IDENTITY_HOST);
    assert_string_equal(identity.host_id, id);
    assert_string_equal(identity.host_role, "node");
    identity_free(&identity);
    buf_clear(&der);
    const char *lines[] = {fixture->auth->ca[CA_HOST].keys.ssh_line, NULL};
    struct sshcert cert;
    char *full = mem_printf("%s.demo.test", name);
    assert_int_equal(sshcert_blob(json_get_text(result, "ssh_cert", ""), &der, &error), TP_OK);
    assert_int_equal(
        sshcert_check(buf_head(&der), buf_size(&der), true, lines, clock_wall(), full, NULL, &cert, &error), TP_OK);
    mem_free(full);
    sshcert_free(&cert);
    buf_free(&der);
}

static void token_lets_a_host_join(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    char *token = make_token(fixture, "node", 60000);
    json_t *result = must(fixture, as_nobody("10.0.0.2"), "host.join", join_params(token, HOST_A, "Web-1", &keys));
    check_host(fixture, result, HOST_A, "web-1");
    assert_non_null(json_object_get(result, "grant_keys"));
    json_decref(result);
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join",
                     join_params("static-secret-of-the-file", HOST_B, "web-2", &keys)));
    mem_free(token);
    keys_free(&keys);
}

/* R14: unknown, expired and foreign tokens get one sentence; the store holds no token as it is. */
static void r14_bad_tokens(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    char *late = make_token(fixture, "node", 50);
    char *other = make_token(fixture, "kube", 60000);
    fixture_settle(fixture, 100);
    struct tp_error errors[3] = {0};
    assert_null(ask(fixture, as_nobody("10.0.0.2"), "host.join", join_params(late, HOST_A, "a", &keys), &errors[0]));
    assert_null(ask(fixture, as_nobody("10.0.0.2"), "host.join", join_params(other, HOST_A, "a", &keys), &errors[1]));
    assert_null(ask(fixture, as_nobody("10.0.0.2"), "host.join",
                    join_params("00000000000000000000", HOST_A, "a", &keys), &errors[2]));
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(errors[i].code, TP_DENIED);
        assert_string_equal(errors[i].text, errors[0].text);
    }
    json_t *tokens = must(fixture, as_local(), "resources.get", json_pack("{s:s}", "kind", "token"));
    char *text = json_text(tokens);
    assert_null(strstr(text, other));
    mem_free(text);
    json_decref(tokens);
    json_decref(must(fixture, as_local(), "resources.rm", json_pack("{s:s, s:s}", "kind", "token", "name", other)));
    must_fail(fixture, as_local(), "tokens.add", json_pack("{s:[s], s:s}", "roles", "node", "value", "abc"),
              TP_INVALID);
    mem_free(late);
    mem_free(other);
    keys_free(&keys);
}

static json_t *script_params(const char *token)
{
    return json_pack("{s:s}", "token", token);
}

/* The script's values are for who holds the token (R16: one sentence for all others); who joined is for who may make one. */
static void a_token_has_a_script_and_knows_who_came(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    struct tp_error errors[2] = {0};
    char *kube = make_token(fixture, "kube", 60000);
    json_t *made = must(fixture, as_local(), "tokens.add",
                        json_pack("{s:[s], s:i, s:{s:s}}", "roles", "node", "ttl", 60000, "labels", "env", "dev"));
    const char *token = json_get_text(made, "token", "");
    json_t *script = must(fixture, as_nobody("10.0.0.2"), "tokens.script", script_params(token));
    assert_string_equal(json_get_text(json_object_get(script, "labels"), "env", ""), "dev");
    assert_int_equal(json_array_size(json_object_get(script, "ca_pins")), 1);
    assert_non_null(json_object_get(script, "host_signers"));
    json_decref(script);
    assert_null(ask(fixture, as_nobody("10.0.0.2"), "tokens.script", script_params(kube), &errors[0]));
    assert_null(
        ask(fixture, as_nobody("10.0.0.2"), "tokens.script", script_params("00000000000000000000"), &errors[1]));
    assert_int_equal(errors[0].code, TP_DENIED);
    assert_string_equal(errors[0].text, errors[1].text);
    mem_free(make_user(fixture, "ed", "editor", "x"));
    mem_free(make_user(fixture, "al", "access", "x"));
    json_t *joined = must(fixture, as_user(fixture, "ed"), "tokens.joined", script_params(token));
    assert_int_equal(json_array_size(json_object_get(joined, "hosts")), 0);
    json_decref(joined);
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join", join_params(token, HOST_A, "web-1", &keys)));
    /* A renewal changes nothing about it, nor does a restart. */
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "host.renew", join_params(token, HOST_A, "web-1", &keys)));
    fixture_shut(fixture);
    fixture_open(fixture);
    joined = must(fixture, as_user(fixture, "ed"), "tokens.joined", script_params(token));
    const json_t *host = json_array_get(json_object_get(joined, "hosts"), 0);
    assert_string_equal(json_get_text(host, "name", ""), "web-1");
    assert_false(json_get_bool(host, "online", true));
    json_decref(joined);
    joined = must(fixture, as_user(fixture, "ed"), "tokens.joined", script_params(kube));
    assert_int_equal(json_array_size(json_object_get(joined, "hosts")), 0);
    json_decref(joined);
    must_fail(fixture, as_user(fixture, "al"), "tokens.joined", script_params(token), TP_DENIED);
    must_fail(fixture, as_nobody("10.0.0.2"), "tokens.joined", script_params(token), TP_UNAUTHENTICATED);
    json_decref(made);
    mem_free(kube);
    keys_free(&keys);
}

/* R14: guesses are counted, good tokens are not; past the limit both get the same answer. */
static void r14_guesses_at_scripts_are_counted(void **state)
{
    struct fixture *fixture = *state;
    char *token = make_token(fixture, "node", 60000);
    for (int i = 0; i < 100; i++)
        json_decref(must(fixture, as_nobody("10.0.0.7"), "tokens.script", script_params(token)));
    for (int i = 0; i < 40; i++)
        must_fail(fixture, as_nobody("10.0.0.8"), "tokens.script", script_params("0123456789abcdef0000"), TP_DENIED);
    must_fail(fixture, as_nobody("10.0.0.8"), "tokens.script", script_params("0123456789abcdef0000"), TP_LIMIT);
    must_fail(fixture, as_nobody("10.0.0.8"), "tokens.script", script_params(token), TP_LIMIT);
    json_decref(must(fixture, as_nobody("10.0.0.7"), "tokens.script", script_params(token)));
    mem_free(token);
}

/* R15: a token does not give another host's id or name; a host reports for itself only. */
static void r15_a_host_is_itself(void **state)
{
    struct fixture *fixture = *state;
    struct keys mine = keys_make();
    struct keys theirs = keys_make();
    char *token = make_token(fixture, "node", 60000);
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join", join_params(token, HOST_A, "web-1", &mine)));
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join", join_params(token, HOST_A, "web-1", &mine)));
    must_fail(fixture, as_nobody("10.0.0.3"), "host.join", join_params(token, HOST_A, "web-1", &theirs), TP_EXISTS);
    json_t *params = join_params(token, HOST_B, "web-2", &theirs);
    json_object_set_new(params, "additional_principals", json_pack("[s]", "web-1"));
    must_fail(fixture, as_nobody("10.0.0.3"), "host.join", params, TP_DENIED);
    must_fail(fixture, as_nobody("10.0.0.3"), "host.join", join_params(token, HOST_B, HOST_A, &theirs), TP_DENIED);
    must_fail(fixture, as_nobody("10.0.0.3"), "host.join", join_params(token, HOST_B, "tport.demo.test", &theirs),
              TP_DENIED);
    must_fail(fixture, as_nobody("10.0.0.3"), "host.join", join_params(token, HOST_B, "demo.test", &theirs), TP_DENIED);
    json_decref(must(fixture, as_nobody("10.0.0.3"), "host.join", join_params(token, HOST_B, "web-2", &theirs)));
    must_fail(fixture, as_host(HOST_B, "web-2"), "host.renew", join_params(token, HOST_B, "demo.test", &theirs),
              TP_DENIED);
    must_fail(fixture, as_host(HOST_B, "web-2"), "host.heartbeat", json_pack("{s:s}", "hostname", "web-1"), TP_DENIED);
    json_decref(must(fixture, as_host(HOST_B, "web-2"), "host.heartbeat",
                     json_pack("{s:s, s:{s:s}}", "hostname", "web-2", "labels", "environment", "dev")));
    must_fail(fixture, as_host(HOST_B, "web-2"), "session.start",
              json_pack("{s:s, s:s}", "sid", HOST_A, "login", "root"), TP_NOT_FOUND);
    mem_free(token);
    keys_free(&mine);
    keys_free(&theirs);
}

/* R4: a renewal keeps id and role whatever is asked for. */
static void r4_renewal_is_never_wider(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    char *token = make_token(fixture, "node", 60000);
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join", join_params(token, HOST_A, "web-1", &keys)));
    json_t *params = join_params(token, HOST_B, "web-1", &keys);
    json_object_set_new(params, "role", json_string("proxy"));
    json_t *result = must(fixture, as_host(HOST_A, "web-1"), "host.renew", params);
    check_host(fixture, result, HOST_A, "web-1");
    json_decref(result);
    /* R15: nor does it take another host's name, as its own or beside it. */
    struct keys theirs = keys_make();
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join", join_params(token, HOST_B, "db-1", &theirs)));
    must_fail(fixture, as_host(HOST_A, "web-1"), "host.renew", join_params(token, HOST_A, "DB-1", &keys), TP_DENIED);
    static const char *const foreign[] = {"db-1", HOST_B, "db-1.demo.test"};
    for (size_t i = 0; i < 3; i++) {
        params = join_params(token, HOST_A, "web-1", &keys);
        json_object_set_new(params, "additional_principals", json_pack("[s]", foreign[i]));
        must_fail(fixture, as_host(HOST_A, "web-1"), "host.renew", params, TP_DENIED);
    }
    result = must(fixture, as_host(HOST_A, "web-1"), "host.renew", join_params(token, HOST_A, "web-2", &keys));
    json_decref(result);
    keys_free(&theirs);
    params = join_params(token, HOST_B, "web-9", &keys);
    json_object_set_new(params, "role", json_string("proxy"));
    must_fail(fixture, as_nobody("10.0.0.2"), "host.join", params, TP_INVALID);
    mem_free(token);
    keys_free(&keys);
}

/* R4: renewals come through a worker. One that asks with keys of its own would have the certificates of every host, and could sit
 * in the middle of every session; nor is a token of any use for that. */
static void r4_a_renewal_keeps_the_keys(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    struct keys evil = keys_make();
    char *token = make_token(fixture, "node", 60000);
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join", join_params(token, HOST_A, "web-1", &keys)));
    for (int restarted = 0; restarted < 2; restarted++) {
        struct keys halves[] = {{keys.tls, evil.ssh}, {evil.tls, keys.ssh}, evil};
        for (size_t i = 0; i < 3; i++) {
            must_fail(fixture, as_host(HOST_A, "web-1"), "host.renew", join_params("", HOST_A, "web-1", &halves[i]),
                      TP_DENIED);
            must_fail(fixture, as_nobody("10.0.0.2"), "host.join", join_params(token, HOST_A, "web-1", &halves[i]),
                      TP_EXISTS);
        }
        json_decref(must(fixture, as_host(HOST_A, "web-1"), "host.renew", join_params("", HOST_A, "web-1", &keys)));
        fixture_shut(fixture);
        fixture_open(fixture);
    }
    mem_free(token);
    keys_free(&keys);
    keys_free(&evil);
}

/* R15: each report that is new is written and every session on the host decided anew, each renewal signed and logged: a host that has
 * been taken over and reports without end must not take auth's time from all others. */
static void r15_a_host_reports_no_faster_than_auth_can_bear(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    struct tp_error error = {0};
    size_t taken = 0;
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join",
                     join_params("static-secret-of-the-file", HOST_A, "web-1", &keys)));
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join",
                     join_params("static-secret-of-the-file", HOST_B, "web-2", &keys)));
    int64_t began = clock_mono_ms();
    for (int i = 0; i < 300; i++) {
        char value[32];
        snprintf(value, sizeof value, "%d", i);
        json_t *result = ask(fixture, as_host(HOST_A, "web-1"), "host.heartbeat",
                             json_pack("{s:s, s:{s:s}}", "hostname", "web-1", "labels", "n", value), &error);
        taken += result != NULL;
        assert_true(result != NULL || error.code == TP_LIMIT);
        json_decref(result);
    }
    error = (struct tp_error){0};
    assert_in_range(taken, 30, 100 + (clock_mono_ms() - began) / 1000);
    must_fail(fixture, as_host(HOST_A, "web-1"), "host.renew", join_params("", HOST_A, "web-1", &keys), TP_LIMIT);
    json_decref(
        must(fixture, as_host(HOST_B, "web-2"), "host.heartbeat",
             json_pack("{s:s, s:{s:s}}", "hostname", "web-2", "labels", "n", "1"))); /* others are not concerned */
    json_decref(must(fixture, as_host(HOST_B, "web-2"), "host.renew", join_params("", HOST_B, "web-2", &keys)));
    for (int i = 0; error.code != TP_LIMIT; i++) { /* nor is it asked without end for what is refused */
        assert_in_range(i, 0, 100);
        assert_null(
            ask(fixture, as_host(HOST_B, "web-2"), "host.renew", join_params("", HOST_B, "web-1", &keys), &error));
    }
    keys_free(&keys);
}

static json_t *labels_of(const char *value)
{
    return json_pack("{s:s, s:{s:s}}", "hostname", "web-1", "labels", "environment", value);
}

static json_t *signed_report(const struct key *key, const char *id, const char *method, json_t *params, int64_t when)
{
    assert_int_equal(report_sign(params, key, id, method, when), TP_OK);
    return params;
}

static void environment_is(struct fixture *fixture, const char *value)
{
    const struct host *host = hosts_get(fixture->auth, HOST_A);
    assert_int_equal(host->label_count, 1);
    assert_string_equal(host->labels[0].value, value);
}

/* R15: a worker passes reports on. One that has been taken over made a server's labels such that those came in who were not to,
 * gave it another name, or let it be again what it was: what hosts say is signed with their keys. */
static void r15_a_worker_does_not_speak_for_a_host(void **state)
{
    struct fixture *fixture = *state;
    static const char beat[] = "host.heartbeat";
    struct key *tls = key_generate(KEY_P256), *evil = key_generate(KEY_P256);
    struct keys made = keys_make();
    struct keys keys = {.tls = key_public_pem(tls), .ssh = made.ssh};
    int64_t now = clock_wall_ms();
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join",
                     join_params("static-secret-of-the-file", HOST_A, "web-1", &keys)));
    json_decref(must(fixture, as_host(HOST_A, "web-1"), beat, labels_of("old"))); /* an agent of before */
    json_t *prod = signed_report(tls, HOST_A, beat, labels_of("prod"), now);
    json_decref(must(fixture, as_host(HOST_A, "web-1"), beat, json_deep_copy(prod)));
    environment_is(fixture, "prod");
    for (int restarted = 0; restarted < 2; restarted++) {
        must_fail(fixture, as_host(HOST_A, "web-1"), beat, labels_of("dev"), TP_DENIED);
        must_fail(fixture, as_host(HOST_A, "web-1"), beat,
                  signed_report(evil, HOST_A, beat, labels_of("dev"), now + 10), TP_DENIED);
        must_fail(fixture, as_host(HOST_A, "web-1"), beat, signed_report(tls, HOST_B, beat, labels_of("dev"), now + 10),
                  TP_DENIED);
        must_fail(fixture, as_host(HOST_A, "web-1"), beat,
                  signed_report(tls, HOST_A, "host.renew", labels_of("dev"), now + 10), TP_DENIED);
        /* True once, or beside a true one: neither is heard. */
        must_fail(fixture, as_host(HOST_A, "web-1"), beat,
                  signed_report(tls, HOST_A, beat, labels_of("dev"), now - 1000), TP_DENIED);
        json_t *mixed = json_deep_copy(prod);
        json_object_set_new(mixed, "labels", json_pack("{s:s}", "environment", "dev"));
        json_decref(must(fixture, as_host(HOST_A, "web-1"), beat, mixed));
        environment_is(fixture, "prod");
        /* Nor does it get a name that a worker made up. */
        must_fail(fixture, as_host(HOST_A, "web-1"), "host.renew", join_params("", HOST_A, "web-9", &keys), TP_DENIED);
        json_decref(must(fixture, as_host(HOST_A, "web-1"), "host.renew",
                         signed_report(tls, HOST_A, "host.renew", join_params("", HOST_A, "web-1", &keys), now)));
        fixture_shut(fixture);
        fixture_open(fixture);
    }
    json_decref(
        must(fixture, as_host(HOST_A, "web-1"), beat, signed_report(tls, HOST_A, beat, labels_of("dev"), now + 20)));
    environment_is(fixture, "dev");
    must_fail(fixture, as_host(HOST_A, "web-1"), beat, prod, TP_DENIED);
    mem_free(keys.tls);
    key_free(tls);
    key_free(evil);
    keys_free(&made);
}

/* Who reads why a heartbeat was refused learns what to do: one that was too large was told that its signature is wrong. */
static void a_report_that_is_too_large_is_told_so(void **state)
{
    struct fixture *fixture = *state;
    struct tp_error error = {0};
    struct key *tls = key_generate(KEY_P256);
    struct keys made = keys_make();
    struct keys keys = {.tls = key_public_pem(tls), .ssh = made.ssh};
    char *large = mem_alloc(5 << 20);
    memset(large, 'x', (5 << 20) - 1);
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join",
                     join_params("static-secret-of-the-file", HOST_A, "web-1", &keys)));
    assert_null(ask(fixture, as_host(HOST_A, "web-1"), "host.heartbeat",
                    signed_report(tls, HOST_A, "host.heartbeat", labels_of(large), clock_wall_ms()), &error));
    assert_int_equal(error.code, TP_TOO_LARGE);
    assert_string_equal(error.text,
                        "what this host says of itself is larger than 4 MB; give it fewer labels, or shorter ones");
    mem_free(large);
    mem_free(keys.tls);
    keys_free(&made);
    key_free(tls);
}

/* R15: a renewal is signed too, and gives a host its name. A worker that kept one of before gave a server back the name that it had
 * given up, under which people look for another one. */
static void r15_a_worker_does_not_name_a_host_by_an_old_renewal(void **state)
{
    struct fixture *fixture = *state;
    static const char renew[] = "host.renew";
    struct key *tls = key_generate(KEY_P256);
    struct keys made = keys_make();
    struct keys keys = {.tls = key_public_pem(tls), .ssh = made.ssh};
    int64_t now = clock_wall_ms();
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join",
                     join_params("static-secret-of-the-file", HOST_A, "web-1", &keys)));
    json_t *old = signed_report(tls, HOST_A, renew, join_params("", HOST_A, "web-2", &keys), now);
    json_decref(must(fixture, as_host(HOST_A, "web-1"), renew, json_deep_copy(old)));
    assert_string_equal(hosts_get(fixture->auth, HOST_A)->name, "web-2");
    json_decref(must(fixture, as_host(HOST_A, "web-2"), renew, json_deep_copy(old))); /* it changes nothing */
    json_decref(must(fixture, as_host(HOST_A, "web-2"), renew,
                     signed_report(tls, HOST_A, renew, join_params("", HOST_A, "web-3", &keys), now + 10)));
    for (int restarted = 0; restarted < 2; restarted++) {
        must_fail(fixture, as_host(HOST_A, "web-3"), renew, json_deep_copy(old), TP_DENIED);
        assert_string_equal(hosts_get(fixture->auth, HOST_A)->name, "web-3");
        fixture_shut(fixture);
        fixture_open(fixture);
    }
    json_decref(old);
    mem_free(keys.tls);
    key_free(tls);
    keys_free(&made);
}

/* A host whose clock stood a year ahead for a while was not heard for a year once it was right: what it says of the future is no news,
 * so that it is heard again at once. Who says what he said before is heard, whatever his clock says. */
static void a_host_with_a_wrong_clock_is_heard_when_it_is_right(void **state)
{
    struct fixture *fixture = *state;
    static const char beat[] = "host.heartbeat";
    int64_t year = (int64_t)365 * 24 * 3600 * 1000;
    struct key *tls = key_generate(KEY_P256);
    struct keys made = keys_make();
    struct keys keys = {.tls = key_public_pem(tls), .ssh = made.ssh};
    int64_t now = clock_wall_ms();
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join",
                     join_params("static-secret-of-the-file", HOST_A, "web-1", &keys)));
    json_decref(
        must(fixture, as_host(HOST_A, "web-1"), beat, signed_report(tls, HOST_A, beat, labels_of("prod"), now)));
    must_fail(fixture, as_host(HOST_A, "web-1"), beat, signed_report(tls, HOST_A, beat, labels_of("dev"), now + year),
              TP_DENIED);
    json_decref(
        must(fixture, as_host(HOST_A, "web-1"), beat, signed_report(tls, HOST_A, beat, labels_of("prod"), now + year)));
    environment_is(fixture, "prod");
    json_decref(
        must(fixture, as_host(HOST_A, "web-1"), beat, signed_report(tls, HOST_A, beat, labels_of("dev"), now + 10)));
    environment_is(fixture, "dev");
    mem_free(keys.tls);
    key_free(tls);
    keys_free(&made);
}

struct base {
    json_t *identity;
    struct sshcert ssh;
};

static void base_read(struct fixture *fixture, const json_t *result, struct base *base)
{
    const char *lines[] = {fixture->auth->ca[CA_HOST].keys.ssh_line, NULL};
    const char *pem = json_get_text(result, "tls_cert", "");
    struct tp_error error = {0};
    struct identity identity;
    struct buf raw;
    buf_init(&raw, 65536);
    assert_int_equal(x509_pem_to_der(pem, strlen(pem), &raw, &error), TP_OK);
    assert_int_equal(x509_check(buf_head(&raw), buf_size(&raw), fixture->auth->ca[CA_HOST].keys.tls_pem, clock_wall(),
                                &identity, &error),
                     TP_OK);
    base->identity = identity_to_json(&identity);
    identity_free(&identity);
    buf_clear(&raw);
    assert_int_equal(sshcert_blob(json_get_text(result, "ssh_cert", ""), &raw, &error), TP_OK);
    assert_int_equal(
        sshcert_check(buf_head(&raw), buf_size(&raw), true, lines, clock_wall(), HOST_A, NULL, &base->ssh, &error),
        TP_OK);
    buf_free(&raw);
}

static void base_free(struct base *base)
{
    json_decref(base->identity);
    sshcert_free(&base->ssh);
}

static bool has_principal(const struct base *base, const char *name)
{
    for (size_t i = 0; i < base->ssh.principal_count; i++) {
        if (strcmp(base->ssh.principals[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static json_t *renew_params(const struct keys *keys, const char *name, json_t *additional)
{
    json_t *params =
        json_pack("{s:s, s:s, s:s}", "tls_pub_key", keys->tls, "ssh_pub_key", keys->ssh, "node_name", name);
    if (additional != NULL) {
        json_object_set_new(params, "additional_principals", additional);
    }
    return params;
}

/* R4: whatever a renewal asks for, it has what the first certificate had, or less: identity, names, extensions. */
static void r4_a_renewed_certificate_has_no_more_than_its_base(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    struct base base, renewed;
    char *token = make_token(fixture, "node", 60000);
    json_t *params = join_params(token, HOST_A, "web-1", &keys);
    json_object_set_new(params, "additional_principals", json_pack("[s, s]", "web.example", "10.1.2.3"));
    json_t *result = must(fixture, as_nobody("10.0.0.2"), "host.join", params);
    base_read(fixture, result, &base);
    json_decref(result);
    assert_true(has_principal(&base, "web.example") && has_principal(&base, "10.1.2.3"));
    json_t *asked[] = {NULL, json_array(), json_pack("[s]", "web.example"),
                       json_pack("[s, s]", "10.1.2.3", "web.example")};
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        params = renew_params(&keys, "web-1", asked[i]);
        /* What has no place in a renewal changes nothing. */
        json_object_set_new(params, "role", json_string("proxy"));
        json_object_set_new(params, "roles", json_pack("[s, s]", "Node", "Kube"));
        json_object_set_new(params, "host_id", json_string(HOST_B));
        json_object_set_new(params, "cluster", json_string("other.test"));
        json_object_set_new(params, "ttl", json_integer(1000000000));
        result = must(fixture, as_host(HOST_A, "web-1"), "host.renew", params);
        base_read(fixture, result, &renewed);
        json_decref(result);
        assert_true(json_equal(base.identity, renewed.identity));
        assert_true(renewed.ssh.principal_count <= base.ssh.principal_count && renewed.ssh.principal_count >= 4);
        for (size_t k = 0; k < renewed.ssh.principal_count; k++) {
            assert_true(has_principal(&base, renewed.ssh.principals[k]));
        }
        assert_true(has_principal(&renewed, "web.example") == (i != 1)); /* a renewal that names none keeps all */
        assert_true(has_principal(&renewed, "10.1.2.3") == (i == 0 || i == 3));
        assert_true(renewed.ssh.valid_before <= base.ssh.valid_before + 60);
        base_free(&renewed);
    }
    must_fail(fixture, as_host(HOST_A, "web-1"), "host.renew",
              renew_params(&keys, "web-1", json_pack("[s, s]", "web.example", "bank.example")), TP_DENIED);
    /* A restart forgets nothing of it, and a host that joined without further names gets none. */
    fixture_shut(fixture);
    fixture_open(fixture);
    must_fail(fixture, as_host(HOST_A, "web-1"), "host.renew",
              renew_params(&keys, "web-1", json_pack("[s]", "bank.example")), TP_DENIED);
    result = must(fixture, as_host(HOST_A, "web-1"), "host.renew", renew_params(&keys, "web-1", NULL));
    base_read(fixture, result, &renewed);
    json_decref(result);
    assert_int_equal(renewed.ssh.principal_count, base.ssh.principal_count);
    base_free(&renewed);
    base_free(&base);
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join", join_params(token, HOST_B, "db-1", &keys)));
    must_fail(fixture, as_host(HOST_B, "db-1"), "host.renew",
              renew_params(&keys, "db-1", json_pack("[s]", "web2.example")), TP_DENIED);
    mem_free(token);
    keys_free(&keys);
}

static json_t *token_doc(const char *name, bool force)
{
    return json_pack("{s:{s:s, s:s, s:{s:s, s:s}, s:{s:[s], s:s}}, s:b}", "resource", "kind", "token", "version", "v2",
                     "metadata", "name", name, "expires", "2099-01-01T00:00:00Z", "spec", "roles", "Node",
                     "join_method", "token", "force", force);
}

/* R1: replacing a token by force is no way around the right to create one, nor creating around the right to update. */
static void r1_force_needs_both_rights(void **state)
{
    struct fixture *fixture = *state;
    static const char *const verbs[] = {"create", "update"};
    for (size_t i = 0; i < 2; i++) {
        json_t *role = json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:[{s:[s], s:[s]}]}, s:{}}}", "kind", "role", "version",
                                 "v7", "metadata", "name", verbs[i], "spec", "allow", "rules", "resources", "token",
                                 "verbs", verbs[i], "deny");
        json_decref(must(fixture, as_local(), "resources.put", json_pack("{s:o}", "resource", role)));
        mem_free(make_user(fixture, i == 0 ? "carl" : "uma", verbs[i], "x"));
    }
    must_fail(fixture, as_user(fixture, "uma"), "resources.put", token_doc("a-secret-of-twenty-letters", true),
              TP_DENIED);
    must_fail(fixture, as_user(fixture, "uma"), "resources.put", token_doc("a-secret-of-twenty-letters", false),
              TP_DENIED);
    json_decref(
        must(fixture, as_user(fixture, "carl"), "resources.put", token_doc("a-secret-of-twenty-letters", false)));
    must_fail(fixture, as_user(fixture, "carl"), "resources.put", token_doc("a-secret-of-twenty-letters", true),
              TP_DENIED);
}

/* A removed host's certificate is worth nothing any more. */
static void removed_host_is_out(void **state)
{
    struct fixture *fixture = *state;
    struct auth *auth = fixture->auth;
    struct keys keys = keys_make();
    char *token = make_token(fixture, "node", 60000);
    json_t *joined = must(fixture, as_nobody("10.0.0.2"), "host.join", join_params(token, HOST_A, "web-1", &keys));
    struct buf der;
    struct tp_error error = {0};
    buf_init(&der, 65536);
    const char *pem = json_get_text(joined, "tls_cert", "");
    assert_int_equal(x509_pem_to_der(pem, strlen(pem), &der, &error), TP_OK);
    char *cert = enc_base64(buf_head(&der), buf_size(&der));
    struct link link = {.auth = auth, .kind = LINK_WORKER, .worker = 1};
    json_t *json = json_pack("{s:s, s:s, s:s}", "kind", "host", "cert", cert, "addr", "10.0.0.2:1");
    json_t *wrong = json_pack("{s:s, s:s, s:s}", "kind", "user", "cert", cert, "addr", "10.0.0.2:1");
    struct caller caller;
    assert_int_equal(caller_verify(auth, &link, wrong, &caller, &error), TP_UNAUTHENTICATED);
    assert_int_equal(caller_verify(auth, &link, json, &caller, &error), TP_OK);
    caller_free(&caller);
    link.kind = LINK_AGENT;
    assert_int_equal(caller_verify(auth, &link, json, &caller, &error), TP_DENIED);
    link.kind = LINK_WORKER;
    json_decref(must(fixture, as_local(), "resources.rm", json_pack("{s:s, s:s}", "kind", "node", "name", HOST_A)));
    assert_int_equal(caller_verify(auth, &link, json, &caller, &error), TP_UNAUTHENTICATED);
    /* Nor when a host with other keys takes the id over. */
    struct keys other = keys_make();
    fixture_settle(fixture, 1100); /* certificates count seconds */
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join", join_params(token, HOST_A, "web-1", &other)));
    keys_free(&other);
    assert_int_equal(caller_verify(auth, &link, json, &caller, &error), TP_UNAUTHENTICATED);
    json_decref(json);
    json_decref(wrong);
    mem_free(cert);
    buf_free(&der);
    json_decref(joined);
    mem_free(token);
    keys_free(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(token_lets_a_host_join, setup, teardown),
        cmocka_unit_test_setup_teardown(r14_bad_tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(a_token_has_a_script_and_knows_who_came, setup, teardown),
        cmocka_unit_test_setup_teardown(r14_guesses_at_scripts_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(r15_a_host_is_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(r4_renewal_is_never_wider, setup, teardown),
        cmocka_unit_test_setup_teardown(r4_a_renewal_keeps_the_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(r15_a_worker_does_not_speak_for_a_host, setup, teardown),
        cmocka_unit_test_setup_teardown(r15_a_worker_does_not_name_a_host_by_an_old_renewal, setup, teardown),
        cmocka_unit_test_setup_teardown(a_host_with_a_wrong_clock_is_heard_when_it_is_right, setup, teardown),
        cmocka_unit_test_setup_teardown(r15_a_host_reports_no_faster_than_auth_can_bear, setup, teardown),
        cmocka_unit_test_setup_teardown(a_report_that_is_too_large_is_told_so, setup, teardown),
        cmocka_unit_test_setup_teardown(r4_a_renewed_certificate_has_no_more_than_its_base, setup, teardown),
        cmocka_unit_test_setup_teardown(r1_force_needs_both_rights, setup, teardown),
        cmocka_unit_test_setup_teardown(removed_host_is_out, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

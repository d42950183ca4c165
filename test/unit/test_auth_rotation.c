/* Rotation of a CA as auth does it: what each phase signs with, and who must have come along before the next. */
#include "auth/ca.h"
#include "auth/ca_hosts.h"
#include "auth/caller.h"
#include "auth/inner.h"
#include "auth_help.h"
#include "crypt/statement.h"

static json_t *rotate_params(const char *phase)
{
    return json_pack("{s:s, s:b, s:s}", "type", "user", "manual", 1, "phase", phase);
}

/* R6 with several trusted CAs; each phase signs with what it should, and a restart is in the phase it was in. */
static void r6_a_ca_rotates_by_phases(void **state)
{
    struct fixture *fixture = *state;
    struct auth *auth = fixture->auth;
    static const char *const forbidden[] = {"update_clients", "update_servers", "standby", "rollback"};
    for (size_t i = 0; i < 4; i++) {
        must_fail(fixture, as_local(), "ca.rotate", rotate_params(forbidden[i]), TP_CONFLICT);
    }
    must_fail(fixture, as_local(), "ca.rotate", rotate_params("sideways"), TP_INVALID);
    char *old = mem_strdup(auth->ca[CA_USER].keys.tls_pem);
    assert_string_equal(auth->ca[CA_USER].trusted_pems, old);
    json_decref(must(fixture, as_local(), "ca.rotate", rotate_params("init")));
    assert_string_equal(ca_signer(auth, CA_USER, false)->tls_pem, old);
    char *fresh = mem_strdup(auth->ca[CA_USER].fresh.tls_pem);
    assert_string_not_equal(fresh, old);
    assert_non_null(strstr(auth->ca[CA_USER].trusted_pems, old));
    assert_non_null(strstr(auth->ca[CA_USER].trusted_pems, fresh));
    assert_null(strstr(auth->ca[CA_USER].trusted_pems, auth->ca[CA_HOST].keys.tls_pem)); /* never mixed */
    json_decref(must(fixture, as_local(), "ca.rotate", rotate_params("update_clients")));
    assert_string_equal(ca_signer(auth, CA_USER, false)->tls_pem, fresh);
    assert_string_equal(ca_signer(auth, CA_USER, true)->tls_pem, old);
    fixture_shut(fixture);
    fixture_open(fixture);
    auth = fixture->auth;
    assert_int_equal(auth->ca[CA_USER].phase, CA_UPDATE_CLIENTS);
    assert_string_equal(ca_signer(auth, CA_USER, false)->tls_pem, fresh);
    json_decref(must(fixture, as_local(), "ca.rotate", rotate_params("update_servers")));
    assert_string_equal(ca_signer(auth, CA_USER, true)->tls_pem, fresh);
    json_decref(must(fixture, as_local(), "ca.rotate", rotate_params("standby")));
    assert_string_equal(auth->ca[CA_USER].trusted_pems, fresh);
    assert_int_equal(auth->ca[CA_HOST].phase, CA_STANDBY);
    mem_free(old);
    mem_free(fresh);
}

/* Does somebody who trusts this host CA alone believe the answer (stolen), and learn of so many? */
static void believed(json_t *answer, const char *line, size_t cas)
{
    const char *const lines[] = {line, NULL};
    struct tp_error error = {0};
    json_t *said = NULL;
    enum tp_err err = statement_open(answer, lines, "demo.test", clock_wall(), &said, &error);
    assert_int_equal(err, cas > 0 ? TP_OK : TP_DENIED);
    if (err == TP_OK) {
        const json_t *signer = json_array_get(json_object_get(said, "host_signers"), 0);
        assert_int_equal(json_array_size(json_object_get(signer, "checking_keys")), cas);
        assert_true(json_equal(json_object_get(said, "grant_keys"), json_object_get(answer, "grant_keys")));
    }
    json_decref(said);
    json_decref(answer);
}

static json_t *host_step(const char *phase)
{
    return json_pack("{s:s, s:b, s:s}", "type", "host", "manual", 1, "phase", phase);
}

/* R6: what goes through workers is signed by those whom people and hosts know; in a rotation by the old and by the new. */
static void r6_whom_to_trust_is_signed_in_each_phase(void **state)
{
    struct fixture *fixture = *state;
    const struct ca *ca = &fixture->auth->ca[CA_HOST];
    struct keys keys = keys_make();
    char *old = mem_strdup(ca->keys.ssh_line);
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join",
                     join_params("static-secret-of-the-file", HOST_A, "web-1", &keys)));
    believed(must(fixture, as_nobody("10.0.0.2"), "cluster.cas", json_object()), old, 1);
    believed(must(fixture, as_nobody("10.0.0.2"), "cluster.cas", json_object()),
             fixture->auth->ca[CA_USER].keys.ssh_line, 0);
    json_decref(must(fixture, as_local(), "ca.rotate", host_step("init")));
    char *fresh = mem_strdup(ca->fresh.ssh_line);
    static const char *const phases[] = {"update_clients", "update_servers", "standby"};
    for (size_t i = 0; i < 3; i++) {
        believed(must(fixture, as_nobody("10.0.0.2"), "cluster.cas", json_object()), old, 2);
        believed(must(fixture, as_nobody("10.0.0.2"), "cluster.cas", json_object()), fresh, 2);
        believed(must(fixture, as_host(HOST_A, "web-1"), "host.renew", join_params("", HOST_A, "web-1", &keys)), old,
                 2);
        json_t *step = host_step(phases[i]);
        json_object_set_new(step, "force", json_true());
        json_decref(must(fixture, as_local(), "ca.rotate", step));
    }
    believed(must(fixture, as_nobody("10.0.0.2"), "cluster.cas", json_object()), fresh, 1);
    believed(must(fixture, as_nobody("10.0.0.2"), "cluster.cas", json_object()), old, 0);
    mem_free(old);
    mem_free(fresh);
    keys_free(&keys);
}

static json_int_t renew_within(struct fixture *fixture)
{
    json_t *cas = must(fixture, as_local(), "cluster.cas", json_object());
    json_int_t ms = json_integer_value(json_object_get(cas, "hosts_renew_within"));
    json_decref(cas);
    return ms;
}

/* By itself: a third of the grace period for each phase, also over a restart. Hosts have a quarter of one to renew. */
static void a_ca_rotates_by_itself(void **state)
{
    struct fixture *fixture = *state;
    char *old = mem_strdup(fixture->auth->ca[CA_HOST].keys.tls_pem);
    must_fail(fixture, as_local(), "ca.rotate", json_pack("{s:s, s:i}", "type", "host", "grace_period", 1), TP_INVALID);
    assert_int_equal(renew_within(fixture), 0); /* there is none */
    json_decref(must(fixture, as_local(), "ca.rotate", json_pack("{s:s, s:i}", "type", "host", "grace_period", 90000)));
    assert_int_equal(renew_within(fixture), 7500);
    static const enum ca_phase phases[] = {CA_INIT, CA_UPDATE_CLIENTS, CA_UPDATE_SERVERS, CA_STANDBY};
    for (int i = 0; i < 4; i++) {
        struct ca *ca = &fixture->auth->ca[CA_HOST];
        ca->started_ms = clock_wall_ms() - i * 30000 - 5000;
        ca_tick(fixture->auth);
        assert_int_equal(ca->phase, phases[i]);
        ca_tick(fixture->auth);
        assert_int_equal(ca->phase, phases[i]);
        if (i == 1) {
            fixture_shut(fixture);
            fixture_open(fixture);
            assert_true(fixture->auth->ca[CA_HOST].automatic);
        }
    }
    assert_string_not_equal(fixture->auth->ca[CA_HOST].keys.tls_pem, old);
    assert_true(fixture->auth->ca[CA_HOST].since > 0);
    mem_free(old);
}

/* ---- hosts come along ---- */

static json_t *step_params(const char *phase, bool force)
{
    return json_pack("{s:s, s:b, s:s, s:b}", "type", "host", "manual", 1, "phase", phase, "force", force);
}

/* The host calls with this certificate, as its tunnel does. */
static void show(struct fixture *fixture, const json_t *certs)
{
    struct link link = {.auth = fixture->auth, .kind = LINK_WORKER, .worker = 1};
    const char *pem = json_get_text(certs, "tls_cert", "");
    struct tp_error error = {0};
    struct caller caller;
    struct buf der;
    buf_init(&der, 65536);
    assert_int_equal(x509_pem_to_der(pem, strlen(pem), &der, &error), TP_OK);
    char *text = enc_base64(buf_head(&der), buf_size(&der));
    json_t *json = json_pack("{s:s, s:s, s:s}", "kind", "host", "cert", text, "addr", "10.0.0.7:999");
    assert_int_equal(caller_verify(fixture->auth, &link, json, &caller, &error), TP_OK);
    caller_free(&caller);
    json_decref(json);
    mem_free(text);
    buf_free(&der);
}

static json_t *renew(struct fixture *fixture, const char *id, const char *name, const struct keys *keys)
{
    return must(fixture, as_host(id, name), "host.renew", join_params("", id, name, keys));
}

static json_int_t not_renewed(struct fixture *fixture)
{
    json_t *hosts = ca_hosts(fixture->auth);
    json_int_t count = json_get_int(hosts, "not_renewed", -1);
    json_decref(hosts);
    return count;
}

static void must_wait(struct fixture *fixture, const char *phase, const char *name)
{
    struct tp_error error = {0};
    assert_null(ask(fixture, as_local(), "ca.rotate", step_params(phase, false), &error));
    assert_int_equal(error.code, TP_CONFLICT);
    assert_non_null(strstr(error.text, name));
    assert_non_null(strstr(error.text, "--force"));
}

/* A host is there when it shows the new certificate, not when it was given one: the answer may have been lost. */
static void a_phase_by_hand_waits_for_all_hosts(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    const char *token = "static-secret-of-the-file";
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join", join_params(token, HOST_A, "web-1", &keys)));
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join", join_params(token, HOST_B, "web-2", &keys)));
    json_decref(must(fixture, as_local(), "ca.rotate", step_params("init", false)));
    json_decref(must(fixture, as_local(), "ca.rotate", step_params("update_clients", false)));
    must_wait(fixture, "update_servers", "2 of 2 hosts");
    json_t *first = renew(fixture, HOST_A, "web-1", &keys);
    assert_int_equal(not_renewed(fixture), 2);
    show(fixture, first);
    assert_int_equal(not_renewed(fixture), 1);
    must_wait(fixture, "update_servers", "web-2 (offline, " HOST_B ")");
    assert_int_equal(fixture->auth->ca[CA_HOST].phase, CA_UPDATE_CLIENTS);
    json_t *second = renew(fixture, HOST_B, "web-2", &keys);
    show(fixture, second);
    /* All of it in the second of the first phase: certificates of one phase are not taken for those of the next. */
    json_decref(must(fixture, as_local(), "ca.rotate", step_params("update_servers", false)));
    show(fixture, first);
    assert_int_equal(not_renewed(fixture), 2);
    json_t *third = renew(fixture, HOST_A, "web-1", &keys);
    show(fixture, third);
    show(fixture, first); /* a session on an old tunnel */
    assert_int_equal(not_renewed(fixture), 1);
    must_wait(fixture, "standby", "1 of 2 hosts");
    /* Over a restart; and who is gone can be removed. */
    fixture_shut(fixture);
    fixture_open(fixture);
    assert_int_equal(not_renewed(fixture), 1);
    json_decref(must(fixture, as_local(), "resources.rm", json_pack("{s:s, s:s}", "kind", "node", "name", HOST_B)));
    json_decref(must(fixture, as_local(), "ca.rotate", step_params("standby", false)));
    show(fixture, third);
    json_decref(first);
    json_decref(second);
    json_decref(third);
    keys_free(&keys);
}

static void who_is_left_behind_stands_in_the_event(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join",
                     join_params("static-secret-of-the-file", HOST_A, "web-1", &keys)));
    json_decref(must(fixture, as_local(), "ca.rotate", step_params("init", false)));
    json_decref(must(fixture, as_local(), "ca.rotate", step_params("update_clients", false)));
    must_wait(fixture, "update_servers", "web-1");
    json_decref(
        must(fixture, as_local(), "ca.rotate", step_params("rollback", false))); /* nobody is shut out by that */
    must_wait(fixture, "standby", "web-1");
    json_t *result = must(fixture, as_local(), "ca.rotate", step_params("standby", true));
    assert_int_equal(json_get_int(json_object_get(result, "hosts_left"), "not_renewed", 0), 1);
    assert_null(json_object_get(result, "hosts")); /* in standby nobody has to renew */
    json_decref(result);
    json_t *events = must(fixture, as_local(), "audit.list", json_pack("{s:[s]}", "types", "cert_authority.rotate"));
    const json_t *last = json_array_get(json_object_get(events, "items"), 0);
    const json_t *names = json_object_get(json_object_get(last, "hosts_left"), "names");
    assert_string_equal(json_get_text(json_array_get(names, 0), "hostname", ""), "web-1");
    json_decref(events);
    /* Forced with nobody left, nothing is said. */
    json_decref(must(fixture, as_local(), "resources.rm", json_pack("{s:s, s:s}", "kind", "node", "name", HOST_A)));
    json_decref(must(fixture, as_local(), "ca.rotate", step_params("init", true)));
    json_decref(must(fixture, as_local(), "ca.rotate", step_params("update_clients", true)));
    result = must(fixture, as_local(), "ca.rotate", step_params("update_servers", true));
    assert_null(json_object_get(result, "hosts_left"));
    json_decref(result);
    keys_free(&keys);
}

/* By itself it does not wait; who is left behind stands in the event all the same. */
static void a_rotation_by_itself_names_who_is_left(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    struct ca *ca = &fixture->auth->ca[CA_HOST];
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join",
                     join_params("static-secret-of-the-file", HOST_A, "web-1", &keys)));
    json_decref(must(fixture, as_local(), "ca.rotate", json_pack("{s:s, s:i}", "type", "host", "grace_period", 90000)));
    for (int passed = 35000; passed < 90000; passed += 30000) {
        ca->started_ms = clock_wall_ms() - passed;
        ca_tick(fixture->auth);
    }
    assert_int_equal(ca->phase, CA_UPDATE_SERVERS);
    fixture_settle(fixture, 50);
    json_t *events = must(fixture, as_local(), "audit.list", json_pack("{s:[s]}", "types", "cert_authority.rotate"));
    const json_t *items = json_object_get(events, "items");
    assert_int_equal(json_array_size(items), 3);
    const json_t *left = json_object_get(json_array_get(items, 0), "hosts_left");
    assert_int_equal(json_get_int(left, "not_renewed", 0), 1);
    assert_null(
        json_object_get(json_array_get(items, 1), "hosts_left")); /* nobody had to renew before update_clients */
    json_decref(events);
    keys_free(&keys);
}

static void put_rule(struct fixture *fixture, const char *name, const char *verb)
{
    json_t *role =
        json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:[{s:[s], s:[s]}]}}}", "kind", "role", "version", "v7", "metadata",
                  "name", name, "spec", "allow", "rules", "resources", "cert_authority", "verbs", verb);
    json_decref(must(fixture, as_local(), "resources.put", json_pack("{s:o}", "resource", role)));
}

/* The row of the host CA as the caller reads it. What he may not know stands nowhere in the whole answer. */
static json_t *hosts_shown(struct fixture *fixture, struct caller caller, bool may)
{
    json_t *status = must(fixture, caller, "cluster.status", json_object());
    json_t *hosts = NULL;
    char *text = json_text(status);
    size_t i;
    json_t *row;
    json_array_foreach (json_object_get(status, "cas"), i, row) {
        if (strcmp(json_get_text(row, "type", ""), "host") == 0) {
            assert_string_equal(json_get_text(row, "state", ""), "update_clients");
            hosts = json_incref(json_object_get(row, "hosts"));
            break;
        }
    }
    assert_int_equal(strstr(text, "web-1") != NULL, may);
    assert_int_equal(strstr(text, HOST_A) != NULL, may);
    assert_int_equal(strstr(text, "\"not_renewed\"") != NULL, may);
    mem_free(text);
    json_decref(status);
    return hosts;
}

/* cluster.status is for everybody, and told everybody the names, ids and whereabouts of all hosts while the host CA rotated. */
static void a_status_names_hosts_to_those_alone_who_may_rotate(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    put_rule(fixture, "reads", "read");
    put_rule(fixture, "rotates", "rotate");
    mem_free(make_user(fixture, "alice", "access", "root"));
    mem_free(make_user(fixture, "bob", "reads", "root"));
    mem_free(make_user(fixture, "carol", "rotates", "root"));
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join",
                     join_params("static-secret-of-the-file", HOST_A, "web-1", &keys)));
    json_decref(must(fixture, as_local(), "ca.rotate", step_params("init", false)));
    json_decref(must(fixture, as_local(), "ca.rotate", step_params("update_clients", false)));
    assert_null(hosts_shown(fixture, as_user(fixture, "alice"), false));
    assert_null(hosts_shown(fixture, as_user(fixture, "bob"), false));
    json_t *to_carol = hosts_shown(fixture, as_user(fixture, "carol"), true);
    json_t *to_local = hosts_shown(fixture, as_local(), true);
    assert_int_equal(json_get_int(to_carol, "not_renewed", 0), 1);
    assert_true(json_equal(to_carol, to_local));
    json_decref(to_carol);
    json_decref(to_local);
    keys_free(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(r6_a_ca_rotates_by_phases, setup, teardown),
        cmocka_unit_test_setup_teardown(r6_whom_to_trust_is_signed_in_each_phase, setup, teardown),
        cmocka_unit_test_setup_teardown(a_ca_rotates_by_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(a_phase_by_hand_waits_for_all_hosts, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_left_behind_stands_in_the_event, setup, teardown),
        cmocka_unit_test_setup_teardown(a_rotation_by_itself_names_who_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(a_status_names_hosts_to_those_alone_who_may_rotate, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

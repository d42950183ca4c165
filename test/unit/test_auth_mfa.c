/* A second factor for each session: what a code opens, for how long, and where it is asked for. */
#include "auth/live.h"
#include "auth_mfa_help.h"

static void a_code_opens_its_node(void **state)
{
    struct world world = world_open(state, asks_for_code());
    struct tp_error error = {0};
    assert_true(required(&world, json_pack("{s:s}", "target", "a")));
    assert_false(required(&world, json_pack("{s:s}", "target", "c")));
    assert_null(ask(world.fixture, by(&world, world.base), "ssh.connect", node("a"), &error));
    assert_int_equal(error.code, TP_MFA_NEEDED);
    assert_non_null(strstr(error.text, "`tport ssh` and the web terminal ask for a one-time code"));
    assert_int_equal(events(&world, "auth", "reason", "mfa_needed"), 1);
    char *pem = redeem(&world, "target", "A");
    json_t *result = must(world.fixture, by(&world, pem), "ssh.connect", node("a"));
    const struct live *live = map_get(world.fixture->auth->live, json_get_text(result, "sid", ""));
    struct identity base = read_cert(world.base);
    assert_string_equal(live->mfa_device, world.device);
    assert_int_equal(live->not_after, base.not_after); /* the session is as long as without a code */
    assert_int_equal(events(&world, "session.connect", "with_mfa", world.device), 1);
    assert_int_equal(events(&world, "mfa_auth_challenge.validate", "code", "T1016I"), 1);
    json_decref(result);
    /* By id and by any login: the target is the host. */
    json_decref(must(world.fixture, by(&world, pem), "ssh.connect", node(HOST_A)));
    json_decref(must(world.fixture, by(&world, world.base), "ssh.connect", node("c")));
    identity_free(&base);
    mem_free(pem);
    world_close(&world);
}

/* R4: the certificate of a code opens its target, and nothing else of anything. */
static void r4_a_code_opens_nothing_else(void **state)
{
    struct world world = world_open(state, asks_for_code());
    char *pem = redeem(&world, "target", "a");
    must_fail(world.fixture, by(&world, pem), "ssh.connect", node("b"), TP_DENIED);
    must_fail(world.fixture, by(&world, pem), "ssh.connect", node("c"), TP_DENIED); /* where no code is needed */
    must_fail(world.fixture, by(&world, pem), "kube.connect", kube('a'), TP_DENIED);
    must_fail(world.fixture, by(&world, pem), "kube.connect", kube('c'), TP_DENIED);
    size_t tried = 0;
    for (const struct method *method = methods; method->name != NULL; method++) {
        if ((method->who & WHO_ONE_TARGET) == 0) {
            must_fail(world.fixture, by(&world, pem), method->name, json_object(), TP_DENIED);
            tried++;
        }
    }
    assert_true(tried > 40);
    /* Not renewable: neither with a new code. */
    char code[7];
    next_code(world.seed, code);
    must_fail(world.fixture, by(&world, pem), "mfa.session", code_params(&world, "target", "a", code), TP_DENIED);
    mem_free(pem);
    pem = redeem(&world, "kube_cluster", "a");
    must_fail(world.fixture, by(&world, pem), "kube.connect", kube('b'), TP_DENIED);
    must_fail(world.fixture, by(&world, pem), "kube.connect", kube('c'), TP_DENIED);
    must_fail(world.fixture, by(&world, pem), "ssh.connect", node("a"), TP_DENIED); /* of the same name */
    json_decref(must(world.fixture, by(&world, pem), "kube.connect", kube('a')));
    mem_free(pem);
    world_close(&world);
}

static void it_says_what_it_is(void **state)
{
    struct world world = world_open(state, asks_for_code());
    struct identity base = read_cert(world.base);
    char *pem = redeem(&world, "target", "a");
    struct identity identity = read_cert(pem);
    assert_string_equal(identity.name, "alice");
    assert_int_equal(identity.target.reason, TARGET_BY_CODE);
    assert_string_equal(identity.target.node, HOST_A);
    assert_null(identity.target.kube);
    assert_int_equal(strlen(identity.mfa_device), UUID_TEXT_SIZE - 1);
    assert_int_equal(identity.not_after, now_ms / 1000 + 60);
    assert_int_equal(identity.base_not_after, base.not_after);
    assert_true(json_equal(identity.roles, base.roles));
    identity_free(&identity);
    struct caller caller;
    struct tp_error error = {0};
    pass(59);
    assert_int_equal(show(&world, pem, ADDRESS, &caller, &error), TP_OK);
    caller_free(&caller);
    pass(2);
    assert_int_equal(show(&world, pem, ADDRESS, &caller, &error), TP_UNAUTHENTICATED);
    mem_free(pem);
    /* Near the end of the login's certificate it is shorter. */
    pass(base.not_after - now_ms / 1000 - 50);
    pem = redeem(&world, "target", "a");
    identity = read_cert(pem);
    assert_int_equal(identity.not_after, base.not_after);
    identity_free(&identity);
    identity_free(&base);
    mem_free(pem);
    world_close(&world);
}

/* R4: pin_source_ip binds it as it binds the certificate that asked for it. */
static void r4_it_is_pinned_with_its_base(void **state)
{
    json_t *options = asks_for_code();
    json_object_set_new(options, "pin_source_ip", json_true());
    struct world world = world_open(state, options);
    char *pem = redeem(&world, "target", "a");
    struct caller caller;
    struct tp_error error = {0};
    assert_int_equal(show(&world, pem, "10.0.0.2", &caller, &error), TP_DENIED);
    assert_int_equal(show(&world, pem, ADDRESS, &caller, &error), TP_OK);
    caller_free(&caller);
    /* Also when the roles ask for it no longer: the base stays bound, and so does what it asks for. */
    put(world.fixture, role("prod", "root", "prod", asks_for_code()));
    mem_free(pem);
    pem = redeem(&world, "target", "a");
    assert_int_equal(show(&world, pem, "10.0.0.2", &caller, &error), TP_DENIED);
    mem_free(pem);
    world_close(&world);
}

/* Roles, user and reset reach it like every certificate; a right that came after the login does not come in by it. */
static void it_is_never_wider_than_its_base(void **state)
{
    struct world world = world_open(state, asks_for_code());
    put(world.fixture, role("more", "admin", "prod", json_object()));
    json_decref(must(world.fixture, as_local(), "users.update",
                     json_pack("{s:s, s:[s, s, s]}", "name", "alice", "set_roles", "prod", "dev", "more")));
    char *pem = redeem(&world, "target", "a");
    struct identity identity = read_cert(pem);
    assert_int_equal(json_array_size(identity.roles), 2);
    identity_free(&identity);
    json_decref(must(world.fixture, as_local(), "users.update",
                     json_pack("{s:s, s:[s]}", "name", "alice", "set_roles", "dev")));
    must_fail(world.fixture, by(&world, pem), "ssh.connect", node("a"), TP_NOT_FOUND);
    pass(2);
    json_decref(must(world.fixture, as_local(), "users.reset", json_pack("{s:s}", "name", "alice")));
    struct caller caller;
    struct tp_error error = {0};
    assert_int_equal(show(&world, pem, ADDRESS, &caller, &error), TP_UNAUTHENTICATED);
    mem_free(pem);
    world_close(&world);
}

/* per_role: one login needs a code and another one does not; always: every role, or the cluster. */
static void which_logins_need_a_code(void **state)
{
    struct world world = world_open(state, asks_for_code());
    put(world.fixture, role("dev", "ubuntu", "*", json_object()));
    assert_true(required(&world, json_pack("{s:s, s:s}", "target", "a", "login", "root")));
    assert_false(required(&world, json_pack("{s:s, s:s}", "target", "a", "login", "ubuntu")));
    assert_false(required(&world, json_pack("{s:s, s:s}", "target", "a", "login", "nobody")));
    json_t *result = must(world.fixture, by(&world, world.base), "ssh.connect", node("a"));
    json_decref(result); /* as ubuntu */
    put(world.fixture, json_pack("{s:s, s:s, s:{s:s}, s:{s:b}}", "kind", "cluster_auth_preference", "version", "v2",
                                 "metadata", "name", "cluster-auth-preference", "spec", "require_session_mfa", 1));
    assert_true(required(&world, json_pack("{s:s, s:s}", "target", "a", "login", "ubuntu")));
    assert_true(required(&world, json_pack("{s:s}", "target", "c")));
    assert_true(required(&world, json_pack("{s:s}", "kube_cluster", "c")));
    must_fail(world.fixture, by(&world, world.base), "ssh.connect", node("c"), TP_MFA_NEEDED);
    must_fail(world.fixture, by(&world, world.base), "kube.connect", kube('c'), TP_MFA_NEEDED);
    must_fail(world.fixture, by(&world, world.base), "mfa.required", json_pack("{s:s}", "target", "none"),
              TP_NOT_FOUND);
    world_close(&world);
}

/* A hardware key can't be shown here, and a code is none. */
static void a_code_is_no_hardware_key(void **state)
{
    struct world world = world_open(state, json_pack("{s:s}", "require_session_mfa", "hardware_key_touch"));
    struct tp_error error = {0};
    char code[7];
    must_fail(world.fixture, by(&world, world.base), "mfa.required", json_pack("{s:s}", "target", "a"), TP_DENIED);
    next_code(world.seed, code);
    assert_null(
        ask(world.fixture, by(&world, world.base), "mfa.session", code_params(&world, "target", "a", code), &error));
    assert_int_equal(error.code, TP_DENIED);
    assert_non_null(strstr(error.text, "a hardware key is asked for here"));
    assert_null(ask(world.fixture, by(&world, world.base), "ssh.connect", node("a"), &error));
    assert_int_equal(error.code, TP_DENIED);
    world_close(&world);
}

/* The grant as the agent reads it. */
static json_t *open_grant(struct fixture *fixture, const json_t *result, const char *service)
{
    struct buf bytes;
    uint8_t key[1][32];
    json_t *grant = NULL;
    struct tp_error error = {0};
    const char *text = json_get_text(result, "grant", "");
    buf_init(&bytes, 65536);
    assert_int_equal(dec_base64(text, strlen(text), &bytes), TP_OK);
    assert_int_equal(key_ed25519_public(fixture->auth->grant_key, key[0]), TP_OK);
    assert_int_equal(grant_open(buf_head(&bytes), buf_size(&bytes), (const uint8_t(*)[32])key, 1, HOST_A, service,
                                clock_wall(), &grant, &error),
                     TP_OK);
    buf_free(&bytes);
    return grant;
}

/* kubectl uses a certificate again and again: mfa_verification_interval says for how long. */
static void the_interval_is_for_kubernetes(void **state)
{
    json_t *options = asks_for_code();
    json_object_set_new(options, "mfa_verification_interval", json_string("20m"));
    struct world world = world_open(state, options);
    char *pem = redeem(&world, "kube_cluster", "a");
    struct identity identity = read_cert(pem);
    assert_int_equal(identity.not_after, now_ms / 1000 + 20 * 60);
    json_t *result = must(world.fixture, by(&world, pem), "kube.connect", kube('a'));
    json_t *grant = open_grant(world.fixture, result, "kube");
    assert_string_equal(json_get_text(grant, "mfa_device", ""), world.device);
    assert_int_equal(doc_ms(grant, "requests_until") / 1000, identity.not_after);
    assert_int_equal(doc_ms(grant, "cert_not_after") / 1000, identity.base_not_after);
    json_decref(grant);
    json_decref(result);
    result = must(world.fixture, by(&world, world.base), "kube.connect", kube('c'));
    const struct live *live = map_get(world.fixture->auth->live, json_get_text(result, "sid", ""));
    assert_null(live->mfa_device);
    json_decref(result);
    identity_free(&identity);
    mem_free(pem);
    pem = redeem(&world, "target", "a");
    identity = read_cert(pem);
    assert_int_equal(identity.not_after, now_ms / 1000 + 60);
    identity_free(&identity);
    mem_free(pem);
    world_close(&world);
}

/* A web session keeps what was given in it: for that node, for a minute, until another code is given. */
static void web_sessions_remember_a_minute(void **state)
{
    struct world world = world_open(state, asks_for_code());
    json_t *who = web_open(&world, "alice", world.seed);
    char code[7];
    json_t *root_on_a = json_pack("{s:s, s:s}", "target", "a", "login", "root");
    json_t *root_on_b = json_pack("{s:s, s:s}", "target", "b", "login", "root");
    must_fail(world.fixture, web(&world, who), "term.connect", json_incref(root_on_a), TP_MFA_NEEDED);
    next_code(world.seed, code);
    json_decref(must(world.fixture, web(&world, who), "mfa.session",
                     json_pack("{s:s, s:s}", "target", "a", "otp_token", code)));
    json_t *opened = must(world.fixture, web(&world, who), "term.connect", json_incref(root_on_a));
    must_fail(world.fixture, web(&world, who), "term.connect", json_incref(root_on_b), TP_MFA_NEEDED);
    /* Another session of the same person knows nothing of it. */
    must_fail(world.fixture, by(&world, world.base), "ssh.connect", node("a"), TP_MFA_NEEDED);
    pass(61);
    must_fail(world.fixture, web(&world, who), "term.connect", json_incref(root_on_a), TP_MFA_NEEDED);
    /* Back to the open terminal without a code: it is the same session. */
    const struct live *live = map_get(world.fixture->auth->live, json_get_text(opened, "sid", ""));
    json_decref(must(world.fixture, web(&world, who), "term.connect", json_pack("{s:s}", "sid", live->sid)));
    json_decref(
        must(world.fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "mfa_device", live->mfa_device)));
    assert_true(live->cut);
    json_decref(opened);
    json_decref(root_on_a);
    json_decref(root_on_b);
    json_decref(who);
    world_close(&world);
}

/* It was cut down to whole seconds, so the code of a second that was nearly over counted for a moment only. */
static void an_interval_in_a_web_session_is_a_whole_one(void **state)
{
    json_t *options = asks_for_code();
    json_object_set_new(options, "mfa_verification_interval", json_string("1s"));
    struct world world = world_open(state, options);
    json_t *who = web_open(&world, "alice", world.seed);
    char code[7];
    json_t *root_on_a = json_pack("{s:s, s:s}", "target", "a", "login", "root");
    next_code(world.seed, code);
    now_ms += 900;
    json_decref(must(world.fixture, web(&world, who), "mfa.session",
                     json_pack("{s:s, s:s}", "target", "a", "otp_token", code)));
    now_ms += 999;
    json_decref(must(world.fixture, web(&world, who), "term.connect", json_incref(root_on_a)));
    now_ms += 1;
    must_fail(world.fixture, web(&world, who), "term.connect", root_on_a, TP_MFA_NEEDED);
    json_decref(who);
    world_close(&world);
}

/* A kubeconfig out of the browser can't give a code, so it opens no cluster that asks for one, whatever the web session has
 * given. */
static void certificates_of_the_browser_need_a_code_too(void **state)
{
    struct world world = world_open(state, asks_for_code());
    struct tp_error error = {0};
    json_t *who = web_open(&world, "alice", world.seed);
    char code[7];
    json_t *wanted = json_pack("{s:s, s:s}", "kube_cluster", "a", "tls_pub_key", world.keys.tls);
    must_fail(world.fixture, web(&world, who), "kube.certs", json_incref(wanted), TP_MFA_NEEDED);
    next_code(world.seed, code);
    json_decref(must(world.fixture, web(&world, who), "mfa.session",
                     json_pack("{s:s, s:s}", "kube_cluster", "a", "otp_token", code)));
    json_t *given = ask(world.fixture, web(&world, who), "kube.certs", json_incref(wanted), &error);
    if (given != NULL) {
        const char *pem = json_get_text(given, "tls_cert", "");
        must_fail(world.fixture, by(&world, pem), "kube.connect", kube('a'), TP_MFA_NEEDED);
        next_code(world.seed, code);
        must_fail(world.fixture, by(&world, pem), "mfa.session", code_params(&world, "kube_cluster", "a", code),
                  TP_DENIED);
    }
    json_decref(given);
    json_decref(wanted);
    json_decref(who);
    world_close(&world);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_at_noon, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_code_opens_its_node),
        TEST(r4_a_code_opens_nothing_else),
        TEST(it_says_what_it_is),
        TEST(r4_it_is_pinned_with_its_base),
        TEST(it_is_never_wider_than_its_base),
        TEST(which_logins_need_a_code),
        TEST(a_code_is_no_hardware_key),
        TEST(the_interval_is_for_kubernetes),
        TEST(web_sessions_remember_a_minute),
        TEST(an_interval_in_a_web_session_is_a_whole_one),
        TEST(certificates_of_the_browser_need_a_code_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

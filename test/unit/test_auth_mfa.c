/* A one-time code for one session: what it opens, and everything that it must not. The clock stands still unless a test
 * moves it, so that each step of the codes is known. */
#include "auth_help.h"

#include "auth/devices.h"
#include "auth/lockout.h"
#include "auth/mfa.h"

#define ADDRESS "10.0.0.1"
#define PARALLEL 100

static int64_t now_ms;
static int64_t mono_ms = 1000;

int64_t __wrap_clock_wall_ms(void);
int64_t __wrap_clock_wall(void);
int64_t __wrap_clock_mono_ms(void);

int64_t __wrap_clock_wall_ms(void)
{
    return now_ms;
}

int64_t __wrap_clock_wall(void)
{
    return now_ms / 1000;
}

int64_t __wrap_clock_mono_ms(void)
{
    return mono_ms;
}

/* How many codes were computed. */
static unsigned computed;
int __real_oath_hotp_generate(const char *secret, size_t secret_length, uint64_t moving_factor, unsigned digits,
                              bool add_checksum, size_t truncation_offset, char *output_otp);
int __wrap_oath_hotp_generate(const char *secret, size_t secret_length, uint64_t moving_factor, unsigned digits,
                              bool add_checksum, size_t truncation_offset, char *output_otp);

int __wrap_oath_hotp_generate(const char *secret, size_t secret_length, uint64_t moving_factor, unsigned digits,
                              bool add_checksum, size_t truncation_offset, char *output_otp)
{
    computed++;
    return __real_oath_hotp_generate(secret, secret_length, moving_factor, digits, add_checksum, truncation_offset,
                                     output_otp);
}

static void pass(int64_t seconds)
{
    now_ms += seconds * 1000;
    mono_ms += seconds * 1000;
}

static int setup_at_noon(void **state)
{
    now_ms = (int64_t)1800000000 * 1000; /* a step of the codes begins here */
    return setup(state);
}

/* The next unused code: each step has one. */
static void next_code(const char *seed, char out[7])
{
    pass(30);
    code_at(seed, now_ms / 1000, out);
}

/* ---- the cluster ---- */

struct world {
    struct fixture *fixture;
    char *seed;   /* of alice */
    char *base;   /* her certificate, PEM */
    char *device; /* its id, once a code was taken */
    struct keys keys;
};

static json_t *role(const char *name, const char *login, const char *environment, json_t *options)
{
    return json_pack("{s:s, s:s, s:{s:s}, s:{s:o, s:{s:[s], s:{s:s}, s:{s:s}, s:[s]}}}", "kind", "role", "version",
                     "v7", "metadata", "name", name, "spec", "options", options, "allow", "logins", login,
                     "node_labels", "environment", environment, "kubernetes_labels", "environment", environment,
                     "kubernetes_groups", "view");
}

static void put(struct fixture *fixture, json_t *resource)
{
    json_decref(must(fixture, as_local(), "resources.put", json_pack("{s:o, s:b}", "resource", resource, "force", 1)));
}

static void put_host(struct fixture *fixture, const char *id, const char *name, const char *environment)
{
    struct keys keys = keys_make();
    json_t *made = must(fixture, as_local(), "tokens.add", json_pack("{s:[s, s]}", "roles", "node", "kube"));
    json_t *params = join_params(json_get_text(made, "token", ""), id, name, &keys);
    json_object_set_new(params, "role", json_string("node,kube"));
    json_decref(must(fixture, as_nobody("10.8.8.8"), "host.join", params));
    json_decref(made);
    json_t *clusters =
        json_pack("[{s:s, s:{s:s}, s:{}}]", "name", name, "labels", "environment", environment, "cmd_labels");
    json_decref(must(fixture, as_host(id, name), "host.heartbeat",
                     json_pack("{s:s, s:{s:s}, s:[s, s], s:o}", "hostname", name, "labels", "environment", environment,
                               "services", "ssh", "kube", "kube_clusters", clusters)));
    json_decref(must(fixture, as_host(id, name), "tunnel.up", json_pack("{s:i, s:i}", "worker", 1, "tunnel", 5)));
    keys_free(&keys);
}

static char *log_in(struct world *world)
{
    char code[7];
    next_code(world->seed, code);
    json_t *result = must(world->fixture, as_nobody(ADDRESS), "login.password",
                          login_params("alice", GOOD_PASSWORD, code, &world->keys));
    char *pem = mem_strdup(json_get_text(result, "tls_cert", ""));
    json_decref(result);
    return pem;
}

/* prod asks for a code on hosts and clusters a and b, dev on neither c. */
static struct world world_open(void **state, json_t *prod_options)
{
    struct world world = {.fixture = *state, .keys = keys_make()};
    put(world.fixture, role("prod", "root", "prod", prod_options));
    put(world.fixture, role("dev", "ubuntu", "dev", json_object()));
    put_host(world.fixture, HOST_A, "a", "prod");
    put_host(world.fixture, HOST_B, "b", "prod");
    put_host(world.fixture, "33333333-3333-4333-8333-333333333333", "c", "dev");
    world.seed = make_user(world.fixture, "alice", "prod", "root");
    json_decref(must(world.fixture, as_local(), "users.update",
                     json_pack("{s:s, s:[s, s]}", "name", "alice", "set_roles", "prod", "dev")));
    world.base = log_in(&world);
    return world;
}

static json_t *asks_for_code(void)
{
    return json_pack("{s:b}", "require_session_mfa", 1);
}

static void world_close(struct world *world)
{
    mem_free(world->seed);
    mem_free(world->base);
    mem_free(world->device);
    keys_free(&world->keys);
}

/* What auth makes of a certificate that a worker shows. */
static enum tp_err show(struct world *world, const char *pem, const char *address, struct caller *ret_caller,
                        struct tp_error *error)
{
    struct link link = {.auth = world->fixture->auth, .kind = LINK_WORKER, .worker = 1};
    struct buf der;
    buf_init(&der, 65536);
    assert_int_equal(x509_pem_to_der(pem, strlen(pem), &der, error), TP_OK);
    char *text = enc_base64(buf_head(&der), buf_size(&der));
    char *addr = mem_printf("%s:1234", address);
    json_t *json = json_pack("{s:s, s:s, s:s}", "kind", "user", "cert", text, "addr", addr);
    enum tp_err err = caller_verify(world->fixture->auth, &link, json, ret_caller, error);
    json_decref(json);
    mem_free(text);
    mem_free(addr);
    buf_free(&der);
    return err;
}

static struct caller by(struct world *world, const char *pem)
{
    struct caller caller;
    struct tp_error error = {0};
    if (show(world, pem, ADDRESS, &caller, &error) != TP_OK) {
        fail_msg("the certificate was refused: %s", error.text);
    }
    return caller;
}

static struct identity read_cert(const char *pem)
{
    struct identity identity;
    struct tp_error error = {0};
    struct buf der;
    buf_init(&der, 65536);
    identity_init(&identity);
    assert_int_equal(x509_pem_to_der(pem, strlen(pem), &der, &error), TP_OK);
    assert_int_equal(x509_read(buf_head(&der), buf_size(&der), &identity, &error), TP_OK);
    buf_free(&der);
    return identity;
}

static json_t *code_params(const struct world *world, const char *key, const char *target, const char *code)
{
    return json_pack("{s:s, s:s, s:s}", key, target, "otp_token", code, "tls_pub_key", world->keys.tls);
}

/* Gives the next code for a target with a certificate; the short certificate. */
static char *redeem(struct world *world, const char *key, const char *target)
{
    char code[7];
    next_code(world->seed, code);
    json_t *result = must(world->fixture, by(world, world->base), "mfa.session", code_params(world, key, target, code));
    char *pem = mem_strdup(json_get_text(result, "tls_cert", ""));
    json_decref(result);
    struct identity identity = read_cert(pem);
    mem_free(world->device);
    world->device = mem_strdup(identity.mfa_device);
    identity_free(&identity);
    return pem;
}

static json_t *node(const char *name)
{
    return json_pack("{s:s, s:i}", "target", name, "worker", 1);
}

/* The first label of the SNI of a cluster with a one-letter name. */
static json_t *kube(char name)
{
    char label[8];
    snprintf(label, sizeof label, "%02x", (unsigned)name);
    return json_pack("{s:s, s:i}", "target", label, "worker", 1);
}

static bool required(struct world *world, json_t *params)
{
    json_t *result = must(world->fixture, by(world, world->base), "mfa.required", params);
    bool yes = json_get_bool(result, "required", false);
    json_decref(result);
    return yes;
}

static size_t events(struct world *world, const char *type, const char *member, const char *value)
{
    json_t *list = must(world->fixture, as_local(), "audit.list", json_pack("{s:[s]}", "types", type));
    size_t i;
    size_t count = 0;
    json_t *event;
    json_array_foreach (json_object_get(list, "items"), i, event) {
        count += strcmp(json_get_text(event, member, ""), value) == 0;
    }
    json_decref(list);
    return count;
}

/* ---- tests ---- */

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
    assert_string_equal(identity.target_node, HOST_A);
    assert_null(identity.target_kube);
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

/* A lock on the device: its sessions end, its certificates and codes are worth nothing, and neither are its logins. Both ways
 * to write a lock agree on which are worth writing. */
static void a_locked_device_opens_nothing(void **state)
{
    struct world world = world_open(state, asks_for_code());
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
    /* The login's certificate stays good for what needs no code. */
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
    struct link link = {.auth = world.fixture->auth, .kind = LINK_WORKER, .worker = 1};
    struct tp_error error = {0};
    char code[7];
    next_code(world.seed, code);
    json_t *session = must(world.fixture, as_nobody(ADDRESS), "login.web",
                           json_pack("{s:s, s:s, s:s}", "user", "alice", "password", GOOD_PASSWORD, "otp_token", code));
    json_t *who = json_pack("{s:s, s:s, s:s, s:s}", "kind", "session", "sid", json_get_text(session, "sid", ""),
                            "token", json_get_text(session, "token", ""), "addr", ADDRESS ":5");
    struct caller caller;
    json_t *root_on_a = json_pack("{s:s, s:s}", "target", "a", "login", "root");
    json_t *root_on_b = json_pack("{s:s, s:s}", "target", "b", "login", "root");
    assert_int_equal(caller_verify(world.fixture->auth, &link, who, &caller, &error), TP_OK);
    must_fail(world.fixture, caller, "term.connect", json_incref(root_on_a), TP_MFA_NEEDED);
    next_code(world.seed, code);
    assert_int_equal(caller_verify(world.fixture->auth, &link, who, &caller, &error), TP_OK);
    json_decref(must(world.fixture, caller, "mfa.session", json_pack("{s:s, s:s}", "target", "a", "otp_token", code)));
    assert_int_equal(caller_verify(world.fixture->auth, &link, who, &caller, &error), TP_OK);
    json_t *opened = must(world.fixture, caller, "term.connect", json_incref(root_on_a));
    assert_int_equal(caller_verify(world.fixture->auth, &link, who, &caller, &error), TP_OK);
    must_fail(world.fixture, caller, "term.connect", json_incref(root_on_b), TP_MFA_NEEDED);
    /* Another session of the same person knows nothing of it. */
    must_fail(world.fixture, by(&world, world.base), "ssh.connect", node("a"), TP_MFA_NEEDED);
    pass(61);
    assert_int_equal(caller_verify(world.fixture->auth, &link, who, &caller, &error), TP_OK);
    must_fail(world.fixture, caller, "term.connect", json_incref(root_on_a), TP_MFA_NEEDED);
    /* Back to the open terminal without a code: it is the same session. */
    const struct live *live = map_get(world.fixture->auth->live, json_get_text(opened, "sid", ""));
    assert_int_equal(caller_verify(world.fixture->auth, &link, who, &caller, &error), TP_OK);
    json_decref(must(world.fixture, caller, "term.connect", json_pack("{s:s}", "sid", live->sid)));
    json_decref(
        must(world.fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "mfa_device", live->mfa_device)));
    assert_true(live->cut);
    json_decref(opened);
    json_decref(root_on_a);
    json_decref(root_on_b);
    json_decref(session);
    json_decref(who);
    world_close(&world);
}

/* A kubeconfig out of the browser can't give a code, so it opens no cluster that asks for one, whatever the web session has
 * given. */
static void certificates_of_the_browser_need_a_code_too(void **state)
{
    struct world world = world_open(state, asks_for_code());
    struct link link = {.auth = world.fixture->auth, .kind = LINK_WORKER, .worker = 1};
    struct tp_error error = {0};
    struct caller caller;
    char code[7];
    next_code(world.seed, code);
    json_t *session = must(world.fixture, as_nobody(ADDRESS), "login.web",
                           json_pack("{s:s, s:s, s:s}", "user", "alice", "password", GOOD_PASSWORD, "otp_token", code));
    json_t *who = json_pack("{s:s, s:s, s:s, s:s}", "kind", "session", "sid", json_get_text(session, "sid", ""),
                            "token", json_get_text(session, "token", ""), "addr", ADDRESS ":5");
    json_t *wanted = json_pack("{s:s, s:s}", "kube_cluster", "a", "tls_pub_key", world.keys.tls);
    assert_int_equal(caller_verify(world.fixture->auth, &link, who, &caller, &error), TP_OK);
    must_fail(world.fixture, caller, "kube.certs", json_incref(wanted), TP_MFA_NEEDED);
    next_code(world.seed, code);
    assert_int_equal(caller_verify(world.fixture->auth, &link, who, &caller, &error), TP_OK);
    json_decref(
        must(world.fixture, caller, "mfa.session", json_pack("{s:s, s:s}", "kube_cluster", "a", "otp_token", code)));
    assert_int_equal(caller_verify(world.fixture->auth, &link, who, &caller, &error), TP_OK);
    json_t *given = ask(world.fixture, caller, "kube.certs", json_incref(wanted), &error);
    if (given != NULL) {
        const char *pem = json_get_text(given, "tls_cert", "");
        must_fail(world.fixture, by(&world, pem), "kube.connect", kube('a'), TP_MFA_NEEDED);
        next_code(world.seed, code);
        must_fail(world.fixture, by(&world, pem), "mfa.session", code_params(&world, "kube_cluster", "a", code),
                  TP_DENIED);
    }
    json_decref(given);
    json_decref(wanted);
    json_decref(session);
    json_decref(who);
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
        TEST(a_code_opens_its_node),
        TEST(r4_a_code_opens_nothing_else),
        TEST(it_says_what_it_is),
        TEST(r14_a_code_works_once),
        TEST(r16_every_wrong_code_looks_alike),
        TEST(failed_logins_keep_nobody_from_sessions),
        TEST(codes_have_a_rate),
        TEST(r4_it_is_pinned_with_its_base),
        TEST(a_locked_device_opens_nothing),
        TEST(a_removed_device_opens_nothing),
        TEST(it_is_never_wider_than_its_base),
        TEST(which_logins_need_a_code),
        TEST(a_code_is_no_hardware_key),
        TEST(the_interval_is_for_kubernetes),
        TEST(web_sessions_remember_a_minute),
        TEST(certificates_of_the_browser_need_a_code_too),
        TEST(devices_outlive_a_restart),
        TEST(an_old_device_gets_an_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A one-time code for one session: what it opens, and everything that it must not. The clock stands still unless a test
 * moves it, so that each step of the codes is known. */
#ifndef TEST_AUTH_MFA_HELP_H
#define TEST_AUTH_MFA_HELP_H

#include "auth/caller.h"
#include "auth/devices.h"
#include "auth/inner.h"
#include "auth/lockout.h"
#include "auth/mfa.h"
#include "auth_clock_help.h"

#define ADDRESS "10.0.0.1"
#define PARALLEL 100

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

/* The next unused code: each step has one. */
static inline void next_code(const char *seed, char out[7])
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

static inline json_t *role(const char *name, const char *login, const char *environment, json_t *options)
{
    return json_pack("{s:s, s:s, s:{s:s}, s:{s:o, s:{s:[s], s:{s:s}, s:{s:s}, s:[s]}}}", "kind", "role", "version",
                     "v7", "metadata", "name", name, "spec", "options", options, "allow", "logins", login,
                     "node_labels", "environment", environment, "kubernetes_labels", "environment", environment,
                     "kubernetes_groups", "view");
}

static inline void put(struct fixture *fixture, json_t *resource)
{
    json_decref(must(fixture, as_local(), "resources.put", json_pack("{s:o, s:b}", "resource", resource, "force", 1)));
}

static inline void put_host(struct fixture *fixture, const char *id, const char *name, const char *environment)
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

static inline char *log_in(struct world *world)
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
static inline struct world world_open(void **state, json_t *prod_options)
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

static inline json_t *asks_for_code(void)
{
    return json_pack("{s:b}", "require_session_mfa", 1);
}

static inline void world_close(struct world *world)
{
    mem_free(world->seed);
    mem_free(world->base);
    mem_free(world->device);
    keys_free(&world->keys);
}

/* What auth makes of a certificate that a worker shows. */
static inline enum tp_err show(struct world *world, const char *pem, const char *address, struct caller *ret_caller,
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

static inline struct caller by(struct world *world, const char *pem)
{
    struct caller caller;
    struct tp_error error = {0};
    if (show(world, pem, ADDRESS, &caller, &error) != TP_OK) {
        fail_msg("the certificate was refused: %s", error.text);
    }
    return caller;
}

static inline struct identity read_cert(const char *pem)
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

/* From now on alice shows a certificate that was signed by hand, which hangs on no device. */
static inline void sign_by_hand(struct world *world)
{
    json_t *made = must(
        world->fixture, as_local(), "certs.user",
        json_pack("{s:s, s:s, s:s}", "user", "alice", "tls_pub_key", world->keys.tls, "ssh_pub_key", world->keys.ssh));
    mem_free(world->base);
    world->base = mem_strdup(json_get_text(made, "tls_cert", ""));
    json_decref(made);
}

static inline json_t *code_params(const struct world *world, const char *key, const char *target, const char *code)
{
    return json_pack("{s:s, s:s, s:s}", key, target, "otp_token", code, "tls_pub_key", world->keys.tls);
}

/* Gives the next code for a target with a certificate; the short certificate. */
static inline char *redeem(struct world *world, const char *key, const char *target)
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

static inline json_t *node(const char *name)
{
    return json_pack("{s:s, s:i}", "target", name, "worker", 1);
}

/* The first label of the SNI of a cluster with a one-letter name. */
static inline json_t *kube(char name)
{
    char label[8];
    snprintf(label, sizeof label, "%02x", (unsigned)name);
    return json_pack("{s:s, s:i}", "target", label, "worker", 1);
}

static inline bool required(struct world *world, json_t *params)
{
    json_t *result = must(world->fixture, by(world, world->base), "mfa.required", params);
    bool yes = json_get_bool(result, "required", false);
    json_decref(result);
    return yes;
}

static inline size_t events(struct world *world, const char *type, const char *member, const char *value)
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

/* ---- the browser ---- */

/* Signs this person in with the next code; what workers say of the browser then. */
static inline json_t *web_open(struct world *world, const char *user, const char *seed)
{
    char code[7];
    next_code(seed, code);
    json_t *session = must(world->fixture, as_nobody(ADDRESS), "login.web",
                           json_pack("{s:s, s:s, s:s}", "user", user, "password", GOOD_PASSWORD, "otp_token", code));
    json_t *who = json_pack("{s:s, s:s, s:s, s:s}", "kind", "session", "sid", json_get_text(session, "sid", ""),
                            "token", json_get_text(session, "token", ""), "addr", ADDRESS ":5");
    json_decref(session);
    return who;
}

static inline enum tp_err web_show(struct world *world, json_t *who, struct caller *ret_caller)
{
    struct link link = {.auth = world->fixture->auth, .kind = LINK_WORKER, .worker = 1};
    struct tp_error error = {0};
    return caller_verify(world->fixture->auth, &link, who, ret_caller, &error);
}

static inline struct caller web(struct world *world, json_t *who)
{
    struct caller caller;
    assert_int_equal(web_show(world, who, &caller), TP_OK);
    return caller;
}

#endif

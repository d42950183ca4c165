/* An auth process without lines in a folder of its own, and calls into it. */
#ifndef AUTH_HELP_H
#define AUTH_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/inner.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <liboath/oath.h>

#define GOOD_PASSWORD "correct horse battery 7"

struct fixture {
    char dir[64];
    struct loop *loop;
    struct auth *auth;
    unsigned waiting; /* replies that are still to come */
};

struct answer {
    struct fixture *fixture;
    bool done;
    json_t *result;
    struct tp_error error;
};

static inline void on_answer(void *ctx, json_t *result, const struct tp_error *error)
{
    struct answer *answer = ctx;
    assert_false(answer->done);
    answer->done = true;
    answer->result = result;
    if (error != NULL) {
        answer->error = *error;
    }
    if (--answer->fixture->waiting == 0) {
        loop_stop(answer->fixture->loop);
    }
}

static inline int unlink_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline json_t *fixture_config(const struct fixture *fixture)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:{s:[s]}}", "cluster_name", "demo.test", "data_dir", fixture->dir,
                     "public_addr", "tport.demo.test:443", "version", "0.1.0", "auth", "tokens",
                     "node:static-secret-of-the-file");
}

static inline void fixture_open(struct fixture *fixture)
{
    struct tp_error error = {0};
    json_t *config = fixture_config(fixture);
    fixture->loop = loop_new();
    enum tp_err err = auth_open(fixture->loop, config, -1, &fixture->auth, &error);
    json_decref(config);
    if (err != TP_OK) {
        fail_msg("auth_open: %s", error.text);
    }
}

/* Lets everything that is under way end. */
static inline void stop_loop(void *ctx)
{
    loop_stop(ctx);
}

static inline void fixture_settle(struct fixture *fixture, int64_t ms)
{
    struct timer *timer = timer_new(fixture->loop, stop_loop, fixture->loop);
    timer_start(timer, ms, 0);
    while (timer_is_active(timer)) { /* an answer that came at once has stopped a loop that did not run */
        loop_run(fixture->loop);
    }
    timer_free(timer);
}

static inline void fixture_shut(struct fixture *fixture)
{
    fixture_settle(fixture, 50);
    auth_close(fixture->auth);
    fixture_settle(fixture, 20);
    loop_free(fixture->loop);
    fixture->auth = NULL;
}

static inline int setup(void **state)
{
    struct fixture *fixture = mem_alloc(sizeof *fixture);
    snprintf(fixture->dir, sizeof fixture->dir, "/tmp/tport-auth-XXXXXX");
    if (mkdtemp(fixture->dir) == NULL) {
        return -1;
    }
    log_set_level(LOG_LEVEL_ERROR);
    fixture_open(fixture);
    *state = fixture;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *fixture = *state;
    fixture_shut(fixture);
    (void)nftw(fixture->dir, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
    mem_free(fixture);
    return 0;
}

/* Callers. */
static inline struct caller as_local(void)
{
    struct caller caller;
    caller_init(&caller);
    caller.who = WHO_LOCAL;
    caller.user = mem_strdup("admin");
    caller.addr = mem_strdup("");
    return caller;
}

static inline struct caller as_nobody(const char *ip)
{
    struct caller caller;
    caller_init(&caller);
    caller.who = WHO_ANONYMOUS;
    caller.worker = 1;
    caller.addr = mem_printf("%s:40000", ip);
    caller_ip(caller.addr, caller.ip);
    return caller;
}

static inline struct caller as_user(struct fixture *fixture, const char *name)
{
    struct caller caller;
    struct tp_error error = {0};
    caller_init(&caller);
    caller.worker = 1;
    caller.addr = mem_strdup("10.0.0.9:1234");
    caller_ip(caller.addr, caller.ip);
    caller.not_after = clock_wall() + 3600;
    if (caller_become_user(fixture->auth, name, NULL, NULL, &caller, &error) != TP_OK) {
        fail_msg("as_user: %s", error.text);
    }
    return caller;
}

static inline struct caller as_host(const char *id, const char *name)
{
    struct caller caller;
    caller_init(&caller);
    caller.who = WHO_HOST;
    caller.worker = 1;
    caller.addr = mem_strdup("10.0.0.7:999");
    caller.host_id = mem_strdup(id);
    caller.host_name = mem_strdup(name);
    return caller;
}

static inline struct caller as_proxy(void)
{
    struct caller caller;
    caller_init(&caller);
    caller.who = WHO_PROXY;
    caller.worker = 1;
    caller.addr = mem_strdup("");
    return caller;
}

/* Starts a call; params is stolen, caller taken over. */
static inline void ask_later(struct fixture *fixture, struct caller caller, const char *method, json_t *params,
                             struct answer *answer)
{
    *answer = (struct answer){.fixture = fixture};
    fixture->waiting++;
    dispatch_call(fixture->auth, &caller, method, params, on_answer, answer);
    json_decref(params);
}

static inline void wait_all(struct fixture *fixture)
{
    while (fixture->waiting > 0) {
        loop_run(fixture->loop);
    }
}

/* One call; the result (json_decref it), or NULL with *error filled. */
static inline json_t *ask(struct fixture *fixture, struct caller caller, const char *method, json_t *params,
                          struct tp_error *error)
{
    struct answer answer;
    ask_later(fixture, caller, method, params, &answer);
    while (!answer.done) {
        loop_run(fixture->loop);
    }
    if (error != NULL) {
        *error = answer.error;
    }
    return answer.result;
}

static inline json_t *must(struct fixture *fixture, struct caller caller, const char *method, json_t *params)
{
    struct tp_error error = {0};
    json_t *result = ask(fixture, caller, method, params, &error);
    if (result == NULL) {
        fail_msg("%s: %s: %s", method, err_name(error.code), error.text);
    }
    return result;
}

static inline void must_fail(struct fixture *fixture, struct caller caller, const char *method, json_t *params,
                             enum tp_err code)
{
    struct tp_error error = {0};
    json_t *result = ask(fixture, caller, method, params, &error);
    if (result != NULL) {
        fail_msg("%s: was allowed", method);
    }
    if (error.code != code) {
        fail_msg("%s: %s instead of %s: %s", method, err_name(error.code), err_name(code), error.text);
    }
}

static inline void code_at(const char *base32, int64_t when, char out[7])
{
    char *secret = NULL;
    size_t size = 0;
    char *copy = mem_strdup(base32);
    assert_int_equal(oath_base32_decode(copy, strlen(copy), &secret, &size), OATH_OK);
    assert_int_equal(oath_totp_generate(secret, size, (time_t)when, 30, 0, 6, out), OATH_OK);
    free(secret);
    mem_free(copy);
}

/* A user with roles who has enrolled; returns his seed (mem_free it). The code of the previous step was used. */
static inline char *make_user(struct fixture *fixture, const char *name, const char *role, const char *login)
{
    json_t *made = must(fixture, as_local(), "users.add",
                        json_pack("{s:s, s:[s], s:{s:[s]}}", "name", name, "roles", role, "traits", "logins", login));
    const char *token = json_get_text(made, "token", "");
    json_t *invite = must(fixture, as_nobody("10.9.9.9"), "invite.get", json_pack("{s:s}", "token", token));
    char *secret = mem_strdup(json_get_text(invite, "secret", ""));
    char code[7];
    /* Hashing the password takes a while on a loaded machine; the previous code must still count after it. */
    while (clock_wall() % 30 >= 25)
        (void)usleep(100000);
    code_at(secret, clock_wall() - 30, code);
    json_t *done = must(fixture, as_nobody("10.9.9.9"), "invite.finish",
                        json_pack("{s:s, s:s, s:s}", "token", token, "password", GOOD_PASSWORD, "code", code));
    json_decref(made);
    json_decref(invite);
    json_decref(done);
    return secret;
}

struct keys {
    char *tls;
    char *ssh;
};

static inline struct keys keys_make(void)
{
    struct key *tls = key_generate(KEY_P256);
    struct key *ssh = key_generate(KEY_ED25519);
    struct keys keys = {.tls = key_public_pem(tls), .ssh = key_public_ssh(ssh, NULL)};
    key_free(tls);
    key_free(ssh);
    return keys;
}

static inline void keys_free(struct keys *keys)
{
    mem_free(keys->tls);
    mem_free(keys->ssh);
}

static inline json_t *login_params(const char *user, const char *password, const char *code, const struct keys *keys)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "user", user, "password", password, "otp_token", code, "ssh_pub_key",
                     keys->ssh, "tls_pub_key", keys->tls);
}

#define HOST_A "11111111-1111-4111-8111-111111111111"
#define HOST_B "22222222-2222-4222-8222-222222222222"

static inline json_t *join_params(const char *token, const char *id, const char *name, const struct keys *keys)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "token", token, "host_id", id, "node_name", name, "role", "node",
                     "tls_pub_key", keys->tls, "ssh_pub_key", keys->ssh);
}

#endif

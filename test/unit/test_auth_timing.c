/* 6.3.8, "same time": proved by counting the work instead of reading a clock. Every failed login runs argon2 exactly once,
 * with the same memory and passes, and puts exactly one event on disk. Whoever adds a shorter way out changes a count.
 * The linker puts the functions below between tport and libargon2 (test/unit.d/auth.cmake). */
#include "auth/audit.h"
#include "auth/inner.h"
#include "auth/lockout.h"
#include "auth_help.h"

#include <argon2.h>
#include <stdatomic.h>

static struct {
    atomic_uint runs;
    atomic_uint memory_kib; /* of the newest run */
    atomic_uint passes;
    unsigned events;
} work;

int __real_argon2id_verify(const char *encoded, const void *password, size_t size);
int __wrap_argon2id_verify(const char *encoded, const void *password, size_t size);
int __real_argon2id_hash_raw(uint32_t passes, uint32_t memory_kib, uint32_t lanes, const void *password, size_t size,
                             const void *salt, size_t salt_size, void *hash, size_t hash_size);
int __wrap_argon2id_hash_raw(uint32_t passes, uint32_t memory_kib, uint32_t lanes, const void *password, size_t size,
                             const void *salt, size_t salt_size, void *hash, size_t hash_size);
void __real_audit_emit(struct auth *auth, json_t *event, audit_done_cb *done, void *ctx);
void __wrap_audit_emit(struct auth *auth, json_t *event, audit_done_cb *done, void *ctx);

int __wrap_argon2id_verify(const char *encoded, const void *password, size_t size)
{
    unsigned memory_kib = 0;
    unsigned passes = 0;
    const char *at = strstr(encoded, "$m=");
    if (at != NULL && sscanf(at, "$m=%u,t=%u", &memory_kib, &passes) == 2) {
        work.memory_kib = memory_kib;
        work.passes = passes;
    }
    work.runs++;
    return __real_argon2id_verify(encoded, password, size);
}

int __wrap_argon2id_hash_raw(uint32_t passes, uint32_t memory_kib, uint32_t lanes, const void *password, size_t size,
                             const void *salt, size_t salt_size, void *hash, size_t hash_size)
{
    work.memory_kib = memory_kib;
    work.passes = passes;
    work.runs++;
    return __real_argon2id_hash_raw(passes, memory_kib, lanes, password, size, salt, salt_size, hash, hash_size);
}

void __wrap_audit_emit(struct auth *auth, json_t *event, audit_done_cb *done, void *ctx)
{
    work.events++;
    __real_audit_emit(auth, event, done, ctx);
}

/* One failed login costs what every other one costs. */
static void costs_the_same(struct fixture *fixture, const char *kind, const char *method, const char *ip,
                           json_t *params)
{
    struct tp_error error = {0};
    unsigned runs = work.runs;
    unsigned events = work.events;
    work.memory_kib = 0;
    work.passes = 0;
    json_t *result = ask(fixture, as_nobody(ip), method, params, &error);
    if (result != NULL) {
        fail_msg("%s, %s: was let in", method, kind);
    }
    assert_string_equal(error.text,
                        "invalid user name, password or one-time code; each code works once, so wait for the "
                        "next one if you have just used this");
    assert_int_equal(error.code, TP_DENIED);
    if (work.runs - runs != 1 || work.memory_kib != 19 * 1024 || work.passes != 2 || work.events - events != 1) {
        fail_msg("%s, %s: %u runs of argon2 with %u KiB and %u passes, %u events", method, kind, work.runs - runs,
                 work.memory_kib, work.passes, work.events - events);
    }
}

static void every_failure_costs_the_same(struct fixture *fixture, const char *method)
{
    char *seed = make_user(fixture, "alice", "access", "root");
    char *locked_seed = make_user(fixture, "bob", "access", "root");
    char *tried_seed = make_user(fixture, "carol", "access", "root");
    struct keys keys = keys_make();
    char code[7];
    char locked_code[7];
    char tried_code[7];
    code_at(seed, clock_wall(), code);
    code_at(locked_seed, clock_wall(), locked_code);
    code_at(tried_seed, clock_wall(), tried_code);
    json_decref(must(fixture, as_local(), "users.add", json_pack("{s:s, s:[s]}", "name", "dave", "roles", "access")));
    json_decref(must(fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "user", "bob")));
    json_decref(
        must(fixture, as_nobody("10.0.0.1"), "login.password", login_params("alice", GOOD_PASSWORD, code, &keys)));
    for (int i = 0; i < 5; i++) {
        lockout_failed(fixture->auth->lockout, "carol", "10.0.0.9", clock_mono_ms());
    }

    const struct {
        const char *kind, *ip, *user, *password, *code;
    } tries[] = {
        {"unknown user", "10.0.0.2", "nobody", GOOD_PASSWORD, code},
        {"wrong password", "10.0.0.3", "alice", "wrong password 1", code},
        {"wrong code", "10.0.0.4", "alice", GOOD_PASSWORD, "000000"},
        {"no code", "10.0.0.5", "alice", GOOD_PASSWORD, "-"},
        {"used code", "10.0.0.6", "alice", GOOD_PASSWORD, code},
        {"locked user", "10.0.0.7", "bob", GOOD_PASSWORD, locked_code},
        {"locked user, wrong password", "10.0.0.8", "bob", "wrong password 1", locked_code},
        {"locked source", "10.0.0.9", "carol", GOOD_PASSWORD, tried_code},
        {"invited, no password yet", "10.0.0.10", "dave", GOOD_PASSWORD, code},
    };
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        costs_the_same(fixture, tries[i].kind, method, tries[i].ip,
                       login_params(tries[i].user, tries[i].password, tries[i].code, &keys));
    }
    keys_free(&keys);
    mem_free(seed);
    mem_free(locked_seed);
    mem_free(tried_seed);
}

static void login_for_certificates(void **state)
{
    every_failure_costs_the_same(*state, "login.password");
}

static void login_in_the_browser(void **state)
{
    every_failure_costs_the_same(*state, "login.web");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(login_for_certificates, setup, teardown),
        cmocka_unit_test_setup_teardown(login_in_the_browser, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Sessions that are kept for the next connection: which one is given out, how often, and how long. */
#include "tls/tls_resume.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct world {
    SSL_CTX *ctx;
    struct tls_resume resume;
};

static SSL_SESSION *make(struct world *world, uint16_t version)
{
    SSL_SESSION *session = SSL_SESSION_new(world->ctx);
    assert_non_null(session);
    assert_int_equal(SSL_SESSION_set_protocol_version(session, version), 1);
    return session;
}

static void keep(struct world *world, uint16_t version, const char *name, int64_t age_ms)
{
    tls_resume_keep(&world->resume, make(world, version), name, clock_mono_ms() - age_ms);
}

static bool take(struct world *world, const char *name)
{
    int64_t proved_ms = -1;
    SSL_SESSION *session = tls_resume_take(&world->resume, name, &proved_ms);
    SSL_SESSION_free(session);
    return session != NULL && proved_ms >= 0;
}

static int set_up(void **state)
{
    static struct world world;
    world = (struct world){.ctx = SSL_CTX_new(TLS_method())};
    *state = &world;
    return world.ctx != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    tls_resume_clear(&world->resume);
    SSL_CTX_free(world->ctx);
    return 0;
}

static void test_a_ticket_of_tls13_serves_once(void **state)
{
    struct world *world = *state;
    keep(world, TLS1_3_VERSION, "a", 0);
    assert_true(take(world, "a"));
    assert_false(take(world, "a"));
}

static void test_a_session_of_tls12_serves_again(void **state)
{
    struct world *world = *state;
    keep(world, TLS1_2_VERSION, "a", 0);
    assert_true(take(world, "a"));
    assert_true(take(world, "a"));
}

static void test_a_session_is_for_its_name(void **state)
{
    struct world *world = *state;
    keep(world, TLS1_3_VERSION, "a", 0);
    keep(world, TLS1_3_VERSION, "b", 0);
    assert_false(take(world, "c"));
    assert_true(take(world, "a"));
    assert_false(take(world, "a"));
    assert_true(take(world, "b"));
}

static void test_a_proof_gets_old(void **state)
{
    struct world *world = *state;
    keep(world, TLS1_2_VERSION, "a", TLS_RESUME_MS);
    assert_false(take(world, "a"));
    assert_int_equal(world->resume.count, 0);
    keep(world, TLS1_2_VERSION, "a", TLS_RESUME_MS - 10000);
    assert_true(take(world, "a"));
}

static void test_the_newest_are_kept(void **state)
{
    struct world *world = *state;
    keep(world, TLS1_3_VERSION, "old", 0);
    for (size_t i = 0; i < TLS_RESUME_MAX; i++) {
        keep(world, TLS1_3_VERSION, "a", 0);
    }
    assert_int_equal(world->resume.count, TLS_RESUME_MAX);
    assert_false(take(world, "old"));
    assert_true(take(world, "a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_ticket_of_tls13_serves_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_session_of_tls12_serves_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_session_is_for_its_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_proof_gets_old, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_newest_are_kept, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

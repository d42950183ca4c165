/* Which grants an agent takes: each once, also when a new agent has taken the place of the one that did. */
#include "agent/agent_priv.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "crypt/grant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* cmocka wants the headers above. */
#include <cmocka.h>

#define HOST_ID "0a0a0a0a-0b0b-4c0c-8d0d-0e0e0e0e0e0e"
#define MINUTE_MS ((int64_t)60 * 1000)

struct world {
    struct key *key;
    uint8_t public[1][32];
    struct agent agent;
};

/* The process starts. */
static void start(struct world *world)
{
    agent_grants_free(&world->agent);
    world->agent = (struct agent){0};
    world->agent.state.host_id = (char *)(uintptr_t)HOST_ID;
    world->agent.state.grant_keys = world->public;
    world->agent.state.grant_key_count = 1;
    agent_grants_init(&world->agent);
}

static int setup(void **state)
{
    struct world *world = mem_alloc(sizeof(*world));
    world->key = key_generate(KEY_ED25519);
    assert_int_equal(key_ed25519_public(world->key, world->public[0]), TP_OK);
    start(world);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    agent_grants_free(&world->agent);
    key_free(world->key);
    mem_free(world);
    return 0;
}

static void grant(const struct world *world, const char *sid, int64_t issued_ms, struct buf *out)
{
    char issued[CLOCK_TEXT_SIZE];
    char expires[CLOCK_TEXT_SIZE];
    clock_format_ms(issued_ms, issued);
    clock_format_ms(issued_ms + MINUTE_MS, expires);
    json_t *said = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s}", "v", 1, "sid", sid, "host_id", HOST_ID, "service",
                             "kube", "issued", issued, "expires", expires);
    buf_init(out, 0);
    assert_int_equal(grant_sign(world->key, said, out), TP_OK);
    json_decref(said);
}

static void opens(struct world *world, const struct buf *bytes, enum tp_err want, const char *why)
{
    struct tp_error error = {0};
    json_t *said = NULL;
    assert_int_equal(agent_open_grant(&world->agent, "kube", buf_head(bytes), buf_size(bytes), &said, &error), want);
    if (why != NULL) {
        assert_non_null(strstr(error.text, why));
    }
    json_decref(said);
}

/* R14: single use. Which were used is in the agent's memory alone: after a restart each was good a second time. */
static void r14_a_grant_is_not_good_again_after_a_restart(void **state)
{
    struct world *world = *state;
    struct buf used;
    struct buf fresh;
    world->agent.seen.started_ms -= 1000;
    grant(world, "sid-1", clock_wall_ms() - 10, &used);
    opens(world, &used, TP_OK, NULL);
    opens(world, &used, TP_DENIED, "used before");
    start(world);
    opens(world, &used, TP_DENIED, "was started a moment ago");
    grant(world, "sid-2", clock_wall_ms(), &fresh);
    opens(world, &fresh, TP_OK, NULL);
    opens(world, &fresh, TP_DENIED, "used before");
    buf_free(&used);
    buf_free(&fresh);
}

/* A machine whose clock was an hour ahead when it came up takes sessions again soon after that is put right. */
static void a_clock_that_is_set_back_shuts_nobody_out_for_long(void **state)
{
    struct world *world = *state;
    struct buf bytes;
    world->agent.seen.started_ms += 60 * MINUTE_MS;
    grant(world, "sid-1", clock_wall_ms(), &bytes);
    opens(world, &bytes, TP_DENIED, "was started a moment ago");
    world->agent.seen.started_mono_ms -= 2 * MINUTE_MS;
    opens(world, &bytes, TP_OK, NULL);
    buf_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(r14_a_grant_is_not_good_again_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clock_that_is_set_back_shuts_nobody_out_for_long, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

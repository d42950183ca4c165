/* Which grants an agent takes: each once, also when a new agent has taken the place of the one that did. */
#include "agent/agent_priv.h"
#include "agent/agent_used.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "crypt/grant.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka wants the headers above. */
#include <cmocka.h>

#define HOST_ID "0a0a0a0a-0b0b-4c0c-8d0d-0e0e0e0e0e0e"
#define MINUTE_MS ((int64_t)60 * 1000)

struct world {
    char dir[32];
    struct key *key;
    uint8_t public[1][32];
    struct agent agent;
};

/* A process starts that keeps its things in dir; NULL: it can't. */
static void begin(struct world *world, struct agent *agent, char *dir)
{
    *agent = (struct agent){0};
    agent->state.host_id = (char *)(uintptr_t)HOST_ID;
    agent->state.grant_keys = world->public;
    agent->state.grant_key_count = 1;
    agent->dir = dir;
    agent_grants_init(agent);
    agent->seen.machine_starts = false;
    if (dir != NULL) {
        agent_used_open(dir);
    }
}

/* The process is another one. */
static void start(struct world *world, char *dir)
{
    agent_grants_free(&world->agent);
    begin(world, &world->agent, dir);
}

static int setup(void **state)
{
    struct world *world = mem_alloc(sizeof(*world));
    world->key = key_generate(KEY_ED25519);
    assert_int_equal(key_ed25519_public(world->key, world->public[0]), TP_OK);
    (void)snprintf(world->dir, sizeof(world->dir), "/tmp/tport-grant-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    begin(world, &world->agent, NULL);
    *state = world;
    return 0;
}

static int unlink_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    struct world *world = *state;
    (void)nftw(world->dir, unlink_one, 4, FTW_DEPTH | FTW_PHYS);
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

static void opens_at(struct agent *agent, const struct buf *bytes, enum tp_err want, const char *why)
{
    struct tp_error error = {0};
    json_t *said = NULL;
    assert_int_equal(agent_open_grant(agent, "kube", buf_head(bytes), buf_size(bytes), &said, &error), want);
    if (why != NULL) {
        assert_non_null(strstr(error.text, why));
    }
    json_decref(said);
}

static void opens(struct world *world, const struct buf *bytes, enum tp_err want, const char *why)
{
    opens_at(&world->agent, bytes, want, why);
}

/* R14: single use. Which were used is in the agent's memory alone when it has no disk, or the machine has just lost what it had
 * written: after a restart each was good a second time. */
static void r14_a_grant_is_not_good_again_after_a_restart(void **state)
{
    struct world *world = *state;
    struct buf used;
    struct buf fresh;
    world->agent.seen.started_ms -= 1000;
    grant(world, "sid-1", clock_wall_ms() - 10, &used);
    opens(world, &used, TP_OK, NULL);
    opens(world, &used, TP_DENIED, "used before");
    start(world, NULL);
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
    buf_free(&bytes);
    world->agent.seen.started_mono_ms -= 2 * MINUTE_MS;
    grant(world, "sid-2", clock_wall_ms(), &bytes);
    opens(world, &bytes, TP_OK, NULL);
    buf_free(&bytes);
}

/* R14: after a reload the agent before serves on until all is ready, a second and more: what it had taken the new one took again. And
 * a new agent refused everybody for as long as its clock was ahead. */
static void r14_a_grant_is_good_for_one_of_two_agents(void **state)
{
    struct world *world = *state;
    struct agent next = {0};
    struct buf early;
    struct buf late;
    start(world, world->dir);
    grant(world, "sid-1", clock_wall_ms() - 5000, &early);
    begin(world, &next, world->dir);
    grant(world, "sid-2", clock_wall_ms() + 10, &late);
    opens(world, &late, TP_OK, NULL);
    opens_at(&next, &late, TP_DENIED, "used before");
    opens_at(&next, &early, TP_OK, NULL);
    opens(world, &early, TP_DENIED, "used before");
    start(world, world->dir);
    opens(world, &early, TP_DENIED, "used before");
    opens(world, &late, TP_DENIED, "used before");
    /* The machine was off: what it noted may be lost. */
    start(world, world->dir);
    world->agent.seen.machine_starts = true;
    buf_free(&early);
    grant(world, "sid-3", clock_wall_ms() - 5000, &early);
    opens(world, &early, TP_DENIED, "was started a moment ago");
    agent_grants_free(&next);
    buf_free(&early);
    buf_free(&late);
}

static bool has_file(const struct world *world, const char *id)
{
    char *file = mem_printf("%s/used/%s", world->dir, id);
    bool there = access(file, F_OK) == 0;
    mem_free(file);
    return there;
}

static void what_was_used_is_forgotten_when_it_has_expired(void **state)
{
    struct world *world = *state;
    struct buf bytes;
    start(world, world->dir);
    grant(world, "sid-1", clock_wall_ms() - MINUTE_MS + 1100, &bytes);
    opens(world, &bytes, TP_OK, NULL);
    buf_free(&bytes);
    assert_true(has_file(world, "sid-1"));
    char *first = mem_printf("%s/used/sid-1", world->dir);
    struct stat info;
    assert_int_equal(stat(first, &info), 0);
    assert_true(info.st_nlink >= 2); /* a name of its minute's file: no file of its own, which is dear */
    mem_free(first);
    (void)usleep(2200000);
    grant(world, "sid-2", clock_wall_ms(), &bytes);
    opens(world, &bytes, TP_OK, NULL);
    buf_free(&bytes);
    assert_false(has_file(world, "sid-1"));
    /* Of a process that ended. */
    const struct timespec old[2] = {{.tv_sec = clock_wall() - 300}, {.tv_sec = clock_wall() - 300}};
    char *file = mem_printf("%s/used/sid-2", world->dir);
    assert_int_equal(utimensat(AT_FDCWD, file, old, 0), 0);
    mem_free(file);
    start(world, world->dir);
    assert_false(has_file(world, "sid-2"));
    assert_int_equal(agent_used_note(world->dir, "../sid"), AGENT_USED_UNKNOWN);
    assert_int_equal(agent_used_note("/nowhere", "sid"), AGENT_USED_UNKNOWN);
}

/* Found by bench/run mixed: what a crowd had used stayed, to the last 65,536 of them, until somebody came again. */
static void what_a_crowd_used_does_not_wait_for_the_next_one(void **state)
{
    struct world *world = *state;
    struct buf bytes;
    char sid[16];
    start(world, world->dir);
    for (int i = 0; i < 40; i++) {
        (void)snprintf(sid, sizeof(sid), "sid-%d", i);
        grant(world, sid, clock_wall_ms(), &bytes);
        opens(world, &bytes, TP_OK, NULL);
        buf_free(&bytes);
    }
    agent_grants_sweep(&world->agent, clock_wall(), clock_mono_ms());
    assert_int_equal(map_count(world->agent.seen.by_sid), 40);
    assert_true(has_file(world, sid));
    agent_grants_sweep(&world->agent, clock_wall() + 62, clock_mono_ms() + 62 * 1000);
    assert_null(world->agent.seen.by_sid);
    assert_null(world->agent.seen.first);
    assert_false(has_file(world, sid));
}

/* R14: found by reading. A clock that leapt forward over a heartbeat, and back, made what was used good again. */
static void r14_a_clock_that_leaps_and_comes_back_makes_no_used_grant_good(void **state)
{
    struct world *world = *state;
    struct buf bytes;
    start(world, world->dir);
    grant(world, "sid-1", clock_wall_ms(), &bytes);
    opens(world, &bytes, TP_OK, NULL);
    agent_grants_sweep(&world->agent, clock_wall() + 3600, clock_mono_ms());
    opens(world, &bytes, TP_DENIED, "used before");
    buf_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(r14_a_grant_is_not_good_again_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clock_that_is_set_back_shuts_nobody_out_for_long, setup, teardown),
        cmocka_unit_test_setup_teardown(r14_a_grant_is_good_for_one_of_two_agents, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_used_is_forgotten_when_it_has_expired, setup, teardown),
        cmocka_unit_test_setup_teardown(r14_a_clock_that_leaps_and_comes_back_makes_no_used_grant_good, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_a_crowd_used_does_not_wait_for_the_next_one, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

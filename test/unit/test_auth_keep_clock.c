/* The time that retention reckons with: a clock that jumps ahead removes nothing before it has stayed there for a day. */
#include "auth/inner.h"
#include "auth/keep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MINUTE ((int64_t)60 * 1000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define START ((int64_t)1800000000 * 1000)

struct world {
    struct keep_clock clock;
    int64_t wall, mono;
};

/* Both clocks go on. */
static bool pass(struct world *world, int64_t ms)
{
    world->wall += ms;
    world->mono += ms;
    return keep_clock_step(&world->clock, world->wall, world->mono);
}

static struct world world_of(int64_t wall)
{
    struct world world = {.wall = wall, .mono = 5000};
    assert_true(pass(&world, 0));
    assert_int_equal(world.clock.now_ms, wall);
    return world;
}

/* The process ends; while it is away the wall clock moves, and the machine may have been off. */
static void restart(struct world *world, int64_t away)
{
    world->clock.seen = false; /* as it is read from the store */
    world->clock.mono_ms = 0;
    world->wall += away;
    world->mono = 17;
}

static void test_time_that_passes_is_believed(void **state)
{
    struct world world = world_of(START);
    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_true(pass(&world, 10 * MINUTE));
        assert_int_equal(world.clock.now_ms, world.wall);
    }
    restart(&world, 20 * MINUTE);
    assert_true(pass(&world, 0));
    assert_int_equal(world.clock.now_ms, world.wall);
}

static void test_a_jump_is_not_believed_and_forgotten_when_it_is_taken_back(void **state)
{
    struct world world = world_of(START);
    (void)state;
    world.wall += 400 * DAY;
    for (int i = 0; i < 6 * 23; i++) {
        assert_false(pass(&world, 10 * MINUTE));
        assert_int_equal(world.clock.now_ms, world.wall - 400 * DAY);
    }
    world.wall -= 400 * DAY;
    assert_true(pass(&world, 10 * MINUTE));
    assert_int_equal(world.clock.now_ms, world.wall);
    world.wall += 400 * DAY; /* and begins anew */
    for (int i = 0; i < 6 * 23; i++)
        assert_false(pass(&world, 10 * MINUTE));
}

static void test_a_clock_that_stays_ahead_for_a_day_is_right(void **state)
{
    struct world world = world_of(START);
    bool believed = false;
    int64_t passed = 0;
    (void)state;
    restart(&world, 90 * DAY); /* the machine was off for a season */
    while (!believed && passed < 3 * DAY) {
        believed = pass(&world, 10 * MINUTE);
        passed += 10 * MINUTE;
        if (passed == 12 * HOUR)
            restart(&world, 5 * MINUTE); /* the count goes on */
    }
    assert_true(believed);
    assert_in_range(passed, DAY, DAY + HOUR);
    assert_int_equal(world.clock.now_ms, world.wall);
}

static void test_an_hour_is_no_jump(void **state)
{
    struct world world = world_of(START);
    (void)state;
    world.wall += HOUR + MINUTE;
    assert_false(pass(&world, 0));
    assert_int_equal(world.clock.now_ms, START);
    world.wall -= 2 * MINUTE;
    assert_true(pass(&world, 0));
    assert_int_equal(world.clock.now_ms, START + HOUR - MINUTE);
}

static void test_a_clock_that_goes_back_keeps_more(void **state)
{
    struct world world = world_of(START);
    (void)state;
    world.wall -= 30 * DAY;
    assert_true(pass(&world, MINUTE));
    assert_int_equal(world.clock.now_ms, START - 30 * DAY + MINUTE);
}

/* A clock that a hostile time server had set years ahead was believed after a day, and hosts were unregistered by it. */
static void test_a_leap_is_settled_after_a_month_only(void **state)
{
    struct world world = world_of(START);
    (void)state;
    for (int i = 0; i < 30; i++) {
        assert_false(keep_clock_is_settled(&world.clock));
        restart(&world, 5 * MINUTE);
        assert_true(pass(&world, 0));
        assert_true(pass(&world, DAY));
    }
    assert_true(keep_clock_is_settled(&world.clock));
    restart(&world, 3 * DAY); /* over a weekend it was off */
    assert_false(pass(&world, 0));
    assert_true(pass(&world, DAY));
    assert_true(keep_clock_is_settled(&world.clock));
    world.wall += 400 * DAY;
    assert_false(pass(&world, HOUR));
    assert_in_range(world.clock.now_ms, START, world.wall - 399 * DAY);
    assert_true(pass(&world, DAY));
    for (int i = 0; i < 30; i++) {
        assert_false(keep_clock_is_settled(&world.clock));
        assert_true(pass(&world, DAY));
    }
    assert_true(keep_clock_is_settled(&world.clock));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_that_passes_is_believed),
        cmocka_unit_test(test_a_jump_is_not_believed_and_forgotten_when_it_is_taken_back),
        cmocka_unit_test(test_a_clock_that_stays_ahead_for_a_day_is_right),
        cmocka_unit_test(test_an_hour_is_no_jump),
        cmocka_unit_test(test_a_clock_that_goes_back_keeps_more),
        cmocka_unit_test(test_a_leap_is_settled_after_a_month_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

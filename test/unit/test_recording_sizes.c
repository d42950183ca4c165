/* However often a terminal changes its size: a few lines a second in the record, and the last size always. */
#include "base/mem.h"
#include "recording/sizes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define TURN_MS 2

struct world {
    struct loop *loop;
    struct sizes *sizes;
    struct timer *turn;
    unsigned set, told;
    uint32_t cols, rows; /* told last */
};

static void on_size(void *ctx, uint32_t cols, uint32_t rows)
{
    struct world *world = ctx;
    world->told++;
    world->cols = cols;
    world->rows = rows;
}

static void on_turn(void *ctx)
{
    struct world *world = ctx;
    world->set++;
    sizes_set(world->sizes, 80 + world->set, 24);
}

static void stop(void *ctx)
{
    loop_stop(ctx);
}

static void run(struct world *world, int64_t ms)
{
    struct timer *timer = timer_new(world->loop, stop, world->loop);
    timer_start(timer, ms, 0);
    loop_run(world->loop);
    timer_free(timer);
}

static void test_a_flood_of_sizes_is_merged(void **state)
{
    struct world world = {.loop = loop_new()};
    (void)state;
    world.sizes = sizes_new(world.loop, 80, 24, on_size, &world);
    world.turn = timer_new(world.loop, on_turn, &world);
    int64_t began = loop_now_ms(world.loop);
    timer_start(world.turn, TURN_MS, TURN_MS);
    run(&world, 4 * SIZES_MS);
    unsigned most = (unsigned)((loop_now_ms(world.loop) - began) / SIZES_MS) + 1;
    timer_stop(world.turn);
    assert_true(world.set > 2 * most); /* or nothing was merged */
    assert_in_range(world.told, 2, most);
    run(&world, SIZES_MS + 50);
    assert_in_range(world.told, 3, most + 1);
    assert_int_equal(world.cols, 80 + world.set);
    assert_int_equal(world.rows, 24);
    timer_free(world.turn);
    sizes_free(world.sizes);
    loop_free(world.loop);
}

static void test_the_first_size_is_told_at_once_and_the_last_one_at_the_end(void **state)
{
    struct world world = {.loop = loop_new()};
    (void)state;
    world.sizes = sizes_new(world.loop, 80, 24, on_size, &world);
    sizes_flush(world.sizes);
    sizes_set(world.sizes, 80, 24); /* as it is */
    assert_int_equal(world.told, 0);
    sizes_set(world.sizes, 100, 30);
    assert_int_equal(world.told, 1);
    sizes_set(world.sizes, 101, 31);
    sizes_set(world.sizes, 102, 32);
    assert_int_equal(world.told, 1);
    sizes_flush(world.sizes);
    assert_int_equal(world.told, 2);
    assert_int_equal(world.cols, 102);
    sizes_set(world.sizes, 103, 33);
    sizes_set(world.sizes, 102, 32); /* back again: nothing is left to tell */
    sizes_flush(world.sizes);
    assert_int_equal(world.told, 2);
    sizes_flush(NULL);
    sizes_free(NULL);
    sizes_free(world.sizes);
    loop_free(world.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_flood_of_sizes_is_merged),
        cmocka_unit_test(test_the_first_size_is_told_at_once_and_the_last_one_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

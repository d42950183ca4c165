/* When memory goes back: the clock is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "base/mem.h"
#include "core/crowd.h"

/* The one timer: what it calls, and in how many ms; -1: it is not set. */
static struct {
    timer_cb *fn;
    void *ctx;
    int64_t left;
} timer;
static unsigned given_back;

struct timer *__wrap_timer_new(struct loop *loop, timer_cb *fn, void *ctx);
void __wrap_timer_start(struct timer *unused, int64_t delay_ms, int64_t repeat_ms);
bool __wrap_timer_is_active(const struct timer *unused);
void __wrap_timer_free(struct timer *unused);
void __wrap_mem_give_back(void);

struct timer *__wrap_timer_new(struct loop *loop, timer_cb *fn, void *ctx)
{
    (void)loop;
    timer.fn = fn;
    timer.ctx = ctx;
    timer.left = -1;
    return NULL;
}

void __wrap_timer_start(struct timer *unused, int64_t delay_ms, int64_t repeat_ms)
{
    (void)unused;
    assert_int_equal(repeat_ms, 0);
    timer.left = delay_ms;
}

bool __wrap_timer_is_active(const struct timer *unused)
{
    (void)unused;
    return timer.left >= 0;
}

void __wrap_timer_free(struct timer *unused)
{
    (void)unused;
}

void __wrap_mem_give_back(void)
{
    given_back++;
}

static void pass(int64_t ms)
{
    if (timer.left < 0 || ms < timer.left) {
        timer.left -= timer.left < 0 ? 0 : ms;
        return;
    }
    timer.left = -1;
    timer.fn(timer.ctx);
}

/* A few that come and go, as all day long: once, a second after the last one. */
static void a_few_give_back_when_it_is_calm(void **state)
{
    struct crowd *crowd = crowd_new(NULL, 100);
    (void)state;
    given_back = 0;
    for (int i = 0; i < 20; i++) {
        crowd_leave(crowd, 3);
        pass(900);
        assert_int_equal(given_back, 0);
    }
    pass(100);
    assert_int_equal(given_back, 1);
    pass(60000);
    assert_int_equal(given_back, 1);
    crowd_free(crowd);
}

/* Most of a crowd have gone: soon, although others still leave. */
static void a_crowd_gives_back_although_others_leave(void **state)
{
    struct crowd *crowd = crowd_new(NULL, 100);
    (void)state;
    given_back = 0;
    for (size_t left = 200; left > 0; left--)
        crowd_leave(crowd, left - 1);
    for (int i = 0; i < 4; i++) {
        pass(100);
        crowd_leave(crowd, 3);
        assert_int_equal(given_back, 0);
    }
    pass(100);
    assert_int_equal(given_back, 1);
    crowd_leave(crowd, 3); /* a crowd no more */
    pass(500);
    assert_int_equal(given_back, 1);
    pass(500);
    assert_int_equal(given_back, 2);
    crowd_free(crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_few_give_back_when_it_is_calm),
        cmocka_unit_test(a_crowd_gives_back_although_others_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A clock that stands still unless a test moves it, so that each step of the one-time codes is known. For programs that wrap
 * clock_wall, clock_wall_ms and clock_mono_ms. */
#ifndef TEST_AUTH_CLOCK_HELP_H
#define TEST_AUTH_CLOCK_HELP_H

#include "auth/inner.h"
#include "auth_help.h"

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

static inline void pass(int64_t seconds)
{
    now_ms += seconds * 1000;
    mono_ms += seconds * 1000;
}

static inline int setup_at_noon(void **state)
{
    now_ms = (int64_t)1800000000 * 1000; /* a step of the codes begins here */
    return setup(state);
}

#endif

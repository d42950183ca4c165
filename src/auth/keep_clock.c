/*
 * The time that retention reckons with. A clock that was set wrong for an hour (a dead battery, a slip of somebody's finger)
 * must not remove years of the record: time is believed as far as it has passed before the eyes of this process, a short way
 * further, and all of the way only when the clock has stayed ahead for a day in which auth ran.
 *
 * A hostile clock can stay ahead for a day. Registrations of hosts, which only somebody at each host brings back, go when it was
 * no jump of a month for another month.
 */
#include "auth/inner.h"
#include "auth/keep.h"

#define SMALL_MS ((int64_t)3600 * 1000)         /* ahead by so little is no jump: a restart, a correction */
#define BELIEVED_MS ((int64_t)24 * 3600 * 1000) /* ahead through so much running time is the true time */
#define MONTH_MS (30 * BELIEVED_MS)

bool keep_clock_step(struct keep_clock *clock, int64_t wall_ms, int64_t mono_ms)
{
    int64_t elapsed = clock->seen ? mono_ms - clock->mono_ms : 0;
    clock->seen = true;
    clock->mono_ms = mono_ms;
    bool first_ever = clock->now_ms == 0;
    clock->now_ms += elapsed;
    clock->settled_ms += elapsed;
    if (first_ever || wall_ms - clock->now_ms <= SMALL_MS) {
        clock->ahead_ms = 0;
        clock->now_ms = wall_ms;
        return true;
    }
    clock->ahead_ms += elapsed;
    if (clock->ahead_ms < BELIEVED_MS) {
        return false;
    }
    clock->settled_ms = wall_ms - clock->now_ms < MONTH_MS ? clock->settled_ms : 0;
    clock->ahead_ms = 0;
    clock->now_ms = wall_ms;
    return true;
}

bool keep_clock_is_settled(const struct keep_clock *clock)
{
    return clock->settled_ms >= MONTH_MS;
}

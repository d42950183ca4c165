#include "core/crowd.h"

#include "base/mem.h"

#define WAIT_MS 500 /* what the last ones held is free by then */

struct crowd {
    struct timer *wait;
    size_t least;
    size_t most; /* as many as there were since memory was given back */
    size_t left;
};

static void on_wait(void *ctx)
{
    struct crowd *crowd = ctx;
    mem_give_back();
    crowd->most = crowd->left;
}

struct crowd *crowd_new(struct loop *loop, size_t least)
{
    struct crowd *crowd = mem_alloc(sizeof(*crowd));
    crowd->wait = timer_new(loop, on_wait, crowd);
    crowd->least = least;
    return crowd;
}

void crowd_leave(struct crowd *crowd, size_t left)
{
    if (left + 1 > crowd->most)
        crowd->most = left + 1;
    crowd->left = left;
    if (crowd->most >= crowd->least && left < crowd->most / 4 && !timer_is_active(crowd->wait))
        timer_start(crowd->wait, WAIT_MS, 0);
}

void crowd_free(struct crowd *crowd)
{
    if (!crowd)
        return;
    timer_free(crowd->wait);
    mem_free(crowd);
}

#include "core/crowd.h"

#include "base/mem.h"

#define WAIT_MS 500  /* what the last ones held is free by then */
#define CALM_MS 1000 /* nothing has left for so long: what comes next can wait for new pages */

struct crowd {
    struct timer *wait;
    size_t least;
    size_t most; /* as many as there were since memory was given back */
    size_t left;
    bool gone; /* most of a crowd have left; the timer is for that */
};

static void on_wait(void *ctx)
{
    struct crowd *crowd = ctx;
    mem_give_back();
    crowd->most = crowd->left;
    crowd->gone = false;
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
    if (crowd->gone)
        return;
    crowd->gone = crowd->most >= crowd->least && left < crowd->most / 4;
    timer_start(crowd->wait, crowd->gone ? WAIT_MS : CALM_MS, 0);
}

void crowd_free(struct crowd *crowd)
{
    if (!crowd)
        return;
    timer_free(crowd->wait);
    mem_free(crowd);
}

/*
 * Memory after a crowd. What many connections took at once stays with the C library as free memory; it is given back to the
 * system soon after most of them have gone, and after the last of a few when a second has passed without another one. One for
 * each kind of things that come in crowds; not for each thing.
 */
#ifndef CORE_CROWD_H
#define CORE_CROWD_H

#include "core/loop.h"

struct crowd;

/* least: so many at once are a crowd, 1 or more. */
struct crowd *crowd_new(struct loop *loop, size_t least) TP_MUST;
/* One has gone; left: how many there are now. */
void crowd_leave(struct crowd *crowd, size_t left);
/* NULL is fine. */
void crowd_free(struct crowd *crowd);

#endif

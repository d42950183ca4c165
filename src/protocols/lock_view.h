/*
 * How old the worker's knowledge of locks is. Auth decides and says who is cut; while it cannot be asked, a lock that came
 * meanwhile is not known here. Nothing new is let in then, whatever the mode. What runs goes on where the locking mode of its
 * person is best_effort, and ends after five minutes where it is strict (the grant says which).
 */
#ifndef PROTOCOLS_LOCK_VIEW_H
#define PROTOCOLS_LOCK_VIEW_H

#include "protocols/worker_priv.h"

struct lock_view;

/* For the life of the worker. */
struct lock_view *lock_view_new(struct worker *worker) TP_MUST;
/* A new line to auth: asks at once. */
void lock_view_ask(struct lock_view *view);

#endif

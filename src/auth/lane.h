/* Lanes of the thread pool: slow work of one kind, few at once, so that none of it holds up the rest. */
#ifndef AUTH_LANE_H
#define AUTH_LANE_H

#include "base/err.h"

struct call;
struct loop;

#define LANE_THREADS 8 /* on the thread pool: as many as all lanes may use, and two that they leave free */
struct lane_rules {
    size_t at_once;
    size_t queue;     /* may wait; 0: any number */
    size_t each;      /* of one person, under way and waiting; 0: any number */
    const char *full; /* what is said when too many wait */
};
struct lane *lane_new(struct loop *loop, const struct lane_rules *rules) TP_MUST;
/* As work_run, but few at once, and of one person (who; NULL: nobody's) one after the other. TP_LIMIT, and nothing called,
 * when too many wait or he has too many. */
enum tp_err lane_run(struct lane *lane, const char *who, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx,
                     struct tp_error *error) TP_MUST;
/* Whose a call is, for lane_run: the machine's administrator waits for nobody. */
const char *lane_of(const struct call *call);
/* What waits is not done any more. */
void lane_free(struct lane *lane);

#endif

/* Retention (auth_service.retention) and the audit log's indexes: jobs of minutes, off the loop. */
#ifndef AUTH_KEEP_H
#define AUTH_KEEP_H

#include "base/err.h"

struct auth;

/* ---- keep.c: what all of auth sees ---- */
/* Begins to look after the audit log that is open. */
void keep_open(struct auth *auth);
/* At the start, after a reload and every ten minutes: what is to be done goes to the thread pool. */
void keep_round(struct auth *auth);
/* Each second: goes on with what had to wait. */
void keep_second(struct auth *auth);
void keep_close(struct auth *auth);

/* keep_clock.c. Zero-initialised: nothing is known yet; the first three are kept over restarts. */
struct keep_clock {
    int64_t now_ms;     /* wall, as far as it is believed */
    int64_t ahead_ms;   /* running time through which the clock has been ahead of that */
    int64_t settled_ms; /* running time since the first step, or since a jump of a month and more was believed */
    int64_t mono_ms;    /* of the last step */
    bool seen;          /* there was one since the start */
};
/* What the clocks say now (wall and monotonic). False: the wall clock has jumped ahead and is not believed yet. */
bool keep_clock_step(struct keep_clock *clock, int64_t wall_ms, int64_t mono_ms) TP_MUST;
/* Nothing has spoken against the believed time for a month in which auth ran: good enough for what can't be taken back by
 * setting the clock right. */
bool keep_clock_is_settled(const struct keep_clock *clock);

/* keep.c: the time for what is decided in this round, wall ms. */
int64_t keep_now(const struct auth *auth) TP_MUST;
/* keep_clock_is_settled of that. */
bool keep_is_settled(const struct auth *auth);

/* keep_recordings.c */
void keep_recordings_open(struct auth *auth);
void keep_recordings_round(struct auth *auth);
void keep_recordings_close(struct auth *auth);

#endif

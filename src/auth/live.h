/* What the files of live sessions share. live.c: decisions, cuts, ends; live_entry.c: an entry made, stored and read;
 * live_resume.c: a worker's new line. */
#ifndef AUTH_LIVE_H
#define AUTH_LIVE_H

#include "auth/inner.h"

/* Puts an entry into the table, in the place of one with its sid. */
void live_keep(struct auth *auth, struct live *live);
/* It is in no table any more. NULL is fine. */
void live_destroy(struct live *live);
/* Into the batch. */
void live_store(struct auth *auth, const struct live *live);
/* To all workers: one relays the session, and one (often another, after a reload) holds the line to its agent. */
void live_tell_cut(struct auth *auth, const struct live *live);

#endif

/* Locks in memory. */
#ifndef AUTH_LOCKS_H
#define AUTH_LOCKS_H

#include "base/err.h"
#include "base/json.h"
#include "rbac/lock.h"

struct auth;
struct call;

/* Removes the locks whose time is over. */
void locks_sweep(struct auth *auth);
/* What is odd about a lock (it names a user, role or host that is not there), for its maker; NULL: nothing. mem_free it. */
char *locks_warning(struct auth *auth, const struct lock *lock) TP_MUST;

/* Puts "locked" into each of these users (resources) whom a lock shuts out, for himself or for one of his roles: {"message"?,
 * "expires"?, "role"?} of the one that holds longest. */
void locks_mark_users(struct auth *auth, const json_t *users);

/* A lock that somebody writes now, by whichever way. One that would shut nobody out is refused: he would believe that it did.
 * So is one on the name of a host, with the id; but for who may not list that host it is a name like any other, of which
 * locks_warning speaks. (What is stored from before is kept as it is.) */
enum tp_err locks_read(const struct call *call, const json_t *doc, struct lock **ret_lock,
                       struct tp_error *error) TP_MUST;

#endif

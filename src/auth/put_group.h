/* Roles that are written together: those of one turn of the loop go into one commit. */
#ifndef AUTH_PUT_GROUP_H
#define AUTH_PUT_GROUP_H

#include "base/err.h"
#include "base/json.h"

struct auth;
struct call;
struct kind;
struct role;

struct put_group *put_group_new(struct auth *auth) TP_MUST;
/* Nothing may wait in it any more (put_group_flush). NULL is fine. */
void put_group_free(struct put_group *group);
/* Writes what waits, now. Every call but resources.put begins with it, so that each sees what was asked for before. */
void put_group_flush(struct auth *auth);

/* Takes over a call that has passed all checks, and a reference to role: writes doc with the others of this turn, keeps what
 * put_document keeps, answers. */
void put_group_add(struct call *call, const struct kind *kind, const json_t *doc, uint64_t expected, struct role *role);
/* Waits a write of this key? */
bool put_group_has(const struct put_group *group, const char *prefix, const char *name) TP_MUST;

#endif

/* Who writes users and connectors gives rights away: how far he may. */
#ifndef AUTH_DELEGATE_H
#define AUTH_DELEGATE_H

#include "base/err.h"
#include "base/json.h"

struct call;

/* Nobody hands out more than what he has himself or could write into a role anyway. Checks the roles and trait values that
 * a user resource gains; old is NULL for a new one. TP_DENIED with a sentence. */
enum tp_err delegate_user(const struct call *call, const json_t *old, const json_t *doc,
                          struct tp_error *error) TP_MUST;
/* A link that resets a sign-in hands out all that the user (doc) is: all of it counts as gained. */
enum tp_err delegate_sign_in(const struct call *call, const json_t *doc, struct tp_error *error) TP_MUST;
/* The same as delegate_user for the roles to which a connector or trusted cluster maps people. */
enum tp_err delegate_mapping(const struct call *call, const json_t *old, const json_t *doc,
                             struct tp_error *error) TP_MUST;
/* Does this connector map people to that role? */
bool delegate_maps_to(const json_t *doc, const char *role);

#endif

/* Users: the names of their roles, from when on their certificates count, and their invitations (invite.c). */
#ifndef AUTH_USERS_H
#define AUTH_USERS_H

#include "base/err.h"
#include "base/json.h"

struct auth;

/* Role names exist and are unique, at least one. */
enum tp_err users_check_roles(struct auth *auth, const json_t *roles, struct tp_error *error) TP_MUST;
/* From this second on: certificates of this name that are older are worth nothing. For resets and for a name that is given
 * anew. */
enum tp_err users_mark_since(struct auth *auth, const char *name, struct tp_error *error) TP_MUST;
/* That second, 0 when there is none. */
int64_t users_since(struct auth *auth, const char *name);
/* Removes what belongs to a user besides the resource: password, devices, invitations, web sessions. */
enum tp_err users_wipe_login(struct auth *auth, const char *name, struct tp_error *error) TP_MUST;
/* Makes an invitation; older ones of the user go. ret_result is {user, token, url, expires}. */
enum tp_err invite_make(struct auth *auth, const char *user, const char *kind, int64_t ttl_ms, json_t **ret_result,
                        struct tp_error *error) TP_MUST;
enum tp_err invite_drop(struct auth *auth, const char *user, struct tp_error *error) TP_MUST;

#endif

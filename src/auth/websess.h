/* Sessions of browsers. */
#ifndef AUTH_WEBSESS_H
#define AUTH_WEBSESS_H

#include "base/err.h"
#include "base/json.h"

struct auth;
struct caller;
struct mfa_given;

enum tp_err websess_load(struct auth *auth, struct tp_error *error) TP_MUST;
/* Is the session with this key (caller.web_key) still there? */
bool websess_alive(const struct auth *auth, const char *key);
void websess_free(struct auth *auth);
struct websess_from {
    const char *ip;
    const char *agent;  /* what the browser calls itself: foreign text, for the owner's eyes */
    const char *device; /* UUID of the device whose code the login gave */
};
/* A new session: {sid, token, expires, user}. */
enum tp_err websess_make(struct auth *auth, const char *user, const json_t *roles, const json_t *traits,
                         const struct websess_from *from, int64_t ttl_ms, json_t **ret_result,
                         struct tp_error *error) TP_MUST;
/* idle: the page asks by itself, its person has done nothing; such a call does not count as use of the session. */
enum tp_err websess_check(struct auth *auth, const char *sid, const char *token, bool idle, struct caller *caller,
                          struct tp_error *error) TP_MUST;
void websess_drop(struct auth *auth, const char *key);
/* A one-time code was given in this session; an older one counts no longer. */
void websess_give_mfa(struct auth *auth, const char *key, const struct mfa_given *given);
/* The device that a session hangs on, or NULL: there is none, or no such session. */
const char *websess_device(const struct auth *auth, const char *key);
/* From now on it hangs on this one: its person has just shown a code of it. */
enum tp_err websess_set_device(struct auth *auth, const char *key, const char *device, struct tp_error *error) TP_MUST;
void websess_drop_user(struct auth *auth, const char *user);
void websess_sweep(struct auth *auth);

#endif

/* Guessing is slowed: by address, by person and source, by person (lockout.c says how). One object of auth. */
#ifndef AUTH_LOCKOUT_H
#define AUTH_LOCKOUT_H

#include "base/err.h"

struct lockout;

struct lockout *lockout_new(void) TP_MUST;
void lockout_free(struct lockout *lockout);
/* One attempt of an address on the anonymous methods: 20 a minute, 40 at once. TP_LIMIT past it. */
enum tp_err lockout_rate(struct lockout *lockout, const char *ip, int64_t now_ms, struct tp_error *error) TP_MUST;
/* That attempt was none: the caller has proved that he may ask. */
void lockout_give_back(struct lockout *lockout, const char *ip);
/* May this source try this user now? known: it logged in as this user before. */
bool lockout_open(struct lockout *lockout, const char *user, const char *ip, bool known, int64_t now_ms);
void lockout_failed(struct lockout *lockout, const char *user, const char *ip, int64_t now_ms);
void lockout_succeeded(struct lockout *lockout, const char *user, const char *ip);
/* The name under which a signed-in user's one-time codes are counted: apart from his logins, so that strangers who fail at
 * those can't keep him from his sessions. It takes the place of user. mem_free it. */
char *lockout_codes(const char *user) TP_MUST;
/* One attempt under that name: as often as lockout_rate. */
enum tp_err lockout_rate_codes(struct lockout *lockout, const char *name, int64_t now_ms,
                               struct tp_error *error) TP_MUST;
/* Forgets everything about a user (reset by an administrator). */
void lockout_forget(struct lockout *lockout, const char *user);
/* Drops what is over. */
void lockout_sweep(struct lockout *lockout, int64_t now_ms);

#endif

/* Running sessions as people see them: which of them, and what they may do with each. */
#ifndef AUTH_RUNNING_H
#define AUTH_RUNNING_H

#include "auth/recording.h"
#include "base/err.h"
#include "base/json.h"

struct call;
struct live;
struct recording;

struct running_rights {
    bool see;
    bool watch; /* its output, as an observer */
    bool end;
};

/* What the caller may do with a running session. Everybody sees, watches and ends his own. meta is that of one of its
 * channels (for rules on kind session), or NULL. */
struct running_rights running_rights(const struct call *call, const struct live *live, const json_t *meta);

/* watchers.c */
/* The running session of a channel (recording, or NULL: it is not there) that the caller may watch; whether it also takes a
 * code: mfa_check_watch. TP_NOT_FOUND, TP_INVALID (nothing is recorded). */
enum tp_err watchers_find(const struct call *call, const struct recording *recording, struct live **ret_live,
                          struct tp_error *error) TP_MUST;
void do_sessions_watch(struct call *call);

#endif

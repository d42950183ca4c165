/* The local account of a login, and becoming it. */
#ifndef SESSION_ACCOUNT_H
#define SESSION_ACCOUNT_H

#include "base/err.h"

#include <sys/types.h>

struct account {
    char *name;
    char *home;
    char *shell;
    uid_t uid;
    gid_t gid;
};

/* Looks the login up. TP_NOT_FOUND when there is none, TP_EXPIRED when the account has expired (shadow), TP_DENIED when
 * this process is not root and the login is another user. */
enum tp_err account_lookup(const char *login, struct account *ret_account, struct tp_error *error) TP_MUST;
void account_free(struct account *account);
/* In a fresh child: takes on the account's groups, gid and uid for good, when this process is root. False: the child must
 * end at once. */
bool account_become(const struct account *account);

#endif

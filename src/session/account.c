#include "session/account.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <shadow.h>
#include <string.h>
#include <unistd.h>

enum tp_err account_lookup(const char *login, struct account *ret_account, struct tp_error *error)
{
    const struct passwd *entry = getpwnam(login); /* one thread, and the answer is copied at once */
    if (entry == NULL) {
        return err_set(error, TP_NOT_FOUND, "there is no account %s on this host: create it, or use another login",
                       login);
    }
    if (geteuid() != 0 && entry->pw_uid != geteuid()) {
        return err_set(error, TP_DENIED, "the agent does not run as root, so only its own user can sign in, not %s",
                       login);
    }
    ret_account->name = mem_strdup(entry->pw_name);
    ret_account->home = mem_strdup(entry->pw_dir != NULL && *entry->pw_dir != '\0' ? entry->pw_dir : "/");
    ret_account->shell = mem_strdup(entry->pw_shell != NULL && *entry->pw_shell != '\0' ? entry->pw_shell : "/bin/sh");
    ret_account->uid = entry->pw_uid;
    ret_account->gid = entry->pw_gid;
    const struct spwd *shadow = getspnam(login); /* NULL without root: then nothing is known */
    if (shadow != NULL && shadow->sp_expire > 0 && clock_wall() / 86400 >= shadow->sp_expire) {
        account_free(ret_account);
        return err_set(error, TP_EXPIRED, "the account %s has expired (see chage -l %s)", login, login);
    }
    return TP_OK;
}

void account_free(struct account *account)
{
    mem_free(account->name);
    mem_free(account->home);
    mem_free(account->shell);
    memset(account, 0, sizeof(*account));
}

bool account_become(const struct account *account)
{
    if (geteuid() != 0) {
        return account->uid == geteuid() && account->uid == getuid();
    }
    if (initgroups(account->name, account->gid) != 0 || setresgid(account->gid, account->gid, account->gid) != 0 ||
        setresuid(account->uid, account->uid, account->uid) != 0) {
        return false;
    }
    return account->uid == 0 || setuid(0) != 0; /* there must be no way back */
}

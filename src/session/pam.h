/* PAM account and session modules, when the configuration asks for them. The only user of libpam. */
#ifndef SESSION_PAM_H
#define SESSION_PAM_H

#include "session/environment.h"

struct pam;

/* pam_acct_mgmt, pam_setcred and pam_open_session under service; variables that modules set go into env. TP_DENIED with
 * the module's reason when the account may not sign in. What modules print is added to messages. */
enum tp_err pam_open(const char *service, const char *login, const char *remote_host, const char *tty,
                     struct environment *env, struct pam **ret_pam, struct tp_error *error) TP_MUST;
/* pam_acct_mgmt alone, for what opens no session: TP_DENIED as above. */
enum tp_err pam_account(const char *service, const char *login, const char *remote_host,
                        struct tp_error *error) TP_MUST;
/* What the modules had to say to the person; "" for nothing. */
const char *pam_messages(struct pam *pam);
/* Closes the session and frees it; NULL is fine. */
void pam_close(struct pam *pam);

#endif

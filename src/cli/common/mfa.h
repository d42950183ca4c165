/* The second factor for one session: a one-time code that is asked for at the terminal, and the short certificate it gives. */
#ifndef CLI_COMMON_MFA_H
#define CLI_COMMON_MFA_H

#include "cli/common/api.h"

/* What the session is with; node or kube, the other NULL. Texts borrowed. */
struct mfa_target {
    const char *node;
    const char *login; /* NULL: whichever */
    const char *kube;
};

/* Key and certificate for one target, in memory. */
struct mfa_cert {
    char *key;  /* PEM */
    char *cert; /* PEM */
    int64_t not_after;
};

void mfa_cert_free(struct mfa_cert *cert); /* wipes the key */

struct mfa_need {
    bool required;
    bool offline; /* a node whose agent is away */
};
/* What the target asks of this person. TP_NOT_FOUND, TP_AMBIGUOUS with the proxy's sentence about the name. */
enum tp_err mfa_ask_need(struct api *api, const struct mfa_target *target, struct mfa_need *ret_need,
                         struct tp_error *error) TP_MUST;
/* Does the target ask this person for a code? False also when that cannot be found out: the connection itself is refused
 * then, with a sentence. */
bool mfa_required(struct api *api, const struct mfa_target *target) TP_MUST;
/* The same with a connection of its own. */
bool mfa_required_now(const struct profile *profile, const struct mfa_target *target) TP_MUST;
/* Asks for a code at /dev/tty, three times when it is wrong, and gets the certificate. watch as for term_ask_tty. Without a
 * terminal TP_MFA_NEEDED and a sentence. mfa_cert_free ret_cert. */
enum tp_err mfa_ask(const struct profile *profile, const struct mfa_target *target, int watch,
                    struct mfa_cert *ret_cert, struct tp_error *error) TP_MUST;

#endif

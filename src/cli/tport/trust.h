/* What a profile trusts: the host CAs of its cluster, two of them while one is being replaced. */
#ifndef CLI_TPORT_TRUST_H
#define CLI_TPORT_TRUST_H

#include "base/buf.h"
#include "cli/common/api.h"
#include "cli/common/argv.h"
#include "cli/common/profile.h"

struct trust {
    struct buf cas;        /* PEM of the X.509 host CAs */
    struct argv host_keys; /* authorized_keys lines of the SSH host CAs */
};

void trust_init(struct trust *trust);
void trust_free(struct trust *trust); /* what it holds */
/* Adds the host_signers of an answer (of a login or of cluster.cas) for this cluster, each checked: only keys and
 * certificates get into our files. TP_PROTOCOL when there are none or one is broken. */
enum tp_err trust_read(struct trust *trust, const json_t *answer, const char *cluster, struct tp_error *error) TP_MUST;
/* Puts what an answer of cluster.cas says into the profile's files, if a CA of now has signed it: a worker brings it, and could
 * name a CA of its own, under which any machine would be any server. TP_NOT_FOUND: it is not signed (a proxy of before). */
enum tp_err trust_take(const struct profile *profile, const json_t *answer, struct tp_error *error) TP_MUST;
/* Asks the cluster and puts what is new into the profile's files. What fails is tried again
 * by the next command; only a word that nobody has signed is told as a warning. */
void trust_refresh(struct api *api, const struct profile *profile);
/* The same over a connection of its own, when that was done last more than five minutes ago: for who only passes bytes on, so
 * that a person who does nothing but ssh comes through a rotation too. */
void trust_refresh_old(const struct profile *profile);

#endif

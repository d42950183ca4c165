/* The second factor for one session (behaviour.md 1 require_session_mfa, 10.2): one-time codes are taken (mfa_code.c), and one
 * gives a minute for one target (mfa_session.c): to a certificate's owner as a certificate, to a web session in place. */
#ifndef AUTH_MFA_H
#define AUTH_MFA_H

#include "base/err.h"
#include "base/json.h"
#include "crypt/identity.h"
#include "crypt/key.h"
#include "rbac/rbac.h"

struct auth;
struct call;
struct caller;
struct mfa_given;
struct one_target;
struct rbac_access;
struct rbac_decision;

#define MFA_DEVICE_LOCKED "a lock is in force on the device of this second factor"
#define MFA_DEVICE_GONE "the device of this second factor was removed from the account"

/* ---- mfa_code.c ---- */

struct mfa_code {
    const char *user;
    const char *code;
    const char *password_hash; /* as it was when the password was checked; NULL: no password goes with this code */
    const char *ip;            /* from now on known to belong to the user; NULL: nothing is learnt */
};

struct mfa_device {
    char id[UUID_TEXT_SIZE];
    char name[104];
};

/* Takes a code out of circulation. NULL, or why not, for the record: it is wrong, was used before, the user has no device, or
 * the device is locked; all take as long, and the person hears one sentence. Of any number of calls with one code one gets
 * NULL. */
const char *mfa_use_code(struct auth *auth, const struct mfa_code *given, struct mfa_device *ret_device) TP_MUST;
/* The work of a refusal without one: for who may not even try. */
void mfa_waste_code(const char *code);
/* {mfa_device_name, uuid, type} of events. */
json_t *mfa_device_json(const struct mfa_device *device) TP_MUST;

/* ---- issue.c ---- */

struct issue_target {
    const struct caller *caller; /* a user by his certificate */
    const char *device;
    struct one_target target; /* borrowed */
    int64_t ttl_ms;           /* cut to the end of the caller's certificate */
    const char *tls_pub;
};
/* A certificate for one target. ret_result is {tls_cert, valid_until}; ret_event the cert.create event, which must be durable
 * before the result leaves. */
enum tp_err issue_target_cert(struct auth *auth, const struct issue_target *want, json_t **ret_result,
                              json_t **ret_event, struct tp_error *error) TP_MUST;

/* ---- mfa_session.c ---- */

/* Takes a code of the caller, a user; failures are counted and lock out for a while. NULL: it was good; else why not, for the
 * record: to the caller all reasons are one sentence. */
const char *mfa_check_code(const struct call *call, const char *code, struct mfa_device *ret_device);

void mfa_given_free(struct mfa_given *given);
/* The device with which the caller gave his second factor for this node (kube NULL) or Kubernetes cluster (node NULL), as
 * long as caller lives; NULL: he gave none for it. */
const char *mfa_device_for(const struct caller *caller, const char *node, const char *kube);
/* What a decision needs to know besides roles and target; device: as above, or that of a running session. */
struct rbac_access mfa_access(const struct auth *auth, const char *device);
/* May the caller see what a running session shows, as far as a second factor goes? Where the cluster or one of his roles asks
 * for one before each session, he gives a code for this one, in the web session that he watches it in; the local
 * administrator needs none. begun: the device with which he began to watch it, or NULL. ret_device: the one that counts now,
 * or NULL: none is asked for. TP_MFA_NEEDED, TP_DENIED. */
enum tp_err mfa_check_watch(const struct call *call, const char *sid, const char *begun, const char **ret_device,
                            struct tp_error *error) TP_MUST;
/* The refusal of a decision as the caller reads it: TP_MFA_NEEDED with the way to give the code, or TP_DENIED. */
enum tp_err mfa_refusal(const struct rbac_decision *decision, enum role_target kind, struct tp_error *error) TP_MUST;

#endif

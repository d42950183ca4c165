/* Certificates of people and hosts: the one place where they are made. */
#ifndef AUTH_ISSUE_H
#define AUTH_ISSUE_H

#include "base/err.h"
#include "base/json.h"
#include "crypt/identity.h"
#include "rbac/rbac.h"

struct auth;

#define ISSUE_SKEW_SECONDS 60 /* certificates are valid from so long before their making */
struct issue_user {
    const char *name;
    const json_t *roles;
    const json_t *traits;
    const char *ip;
    int64_t ttl_ms; /* 0: default */
    const char *tls_pub;
    const char *ssh_pub;      /* NULL: no SSH certificate */
    struct one_target target; /* borrowed; what it is for and nothing else */
    const char *device;       /* UUID of the device whose code the login gave, or NULL: signed by hand */
};
/* The one door for user certificates. ret_result is {username, cert, tls_cert, valid_until, host_signers, session_mfa}; ret_event the
 * cert.create event, which must be durable before the result leaves. */
enum tp_err issue_user_certs(struct auth *auth, const struct issue_user *want, json_t **ret_result, json_t **ret_event,
                             struct tp_error *error) TP_MUST;
/* Session length that this set allows: want_ms (0: default) cut to it. */
int64_t issue_ttl(const struct auth *auth, const struct rbac_set *set, int64_t want_ms);
struct issue_host {
    const char *host_id;
    const char *name;
    const char *tls_pub;
    const char *ssh_pub;
    const json_t *additional; /* array or NULL */
    unsigned roles;           /* TOKEN_NODE, TOKEN_KUBE */
};
/* The second that a host's certificate of now is from: younger than every change of what is signed with. */
int64_t issue_host_time(const struct auth *auth);
/* The result of host.join: certificates of role node and all of cluster.cas. */
enum tp_err issue_host_certs(struct auth *auth, const struct issue_host *want, json_t **ret_result, json_t **ret_event,
                             struct tp_error *error) TP_MUST;

#endif

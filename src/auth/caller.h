/* Who calls: what a line and a credential say about a person or a host, checked against what is so now. */
#ifndef AUTH_CALLER_H
#define AUTH_CALLER_H

#include "base/err.h"
#include "base/json.h"
#include "crypt/identity.h"
#include "rbac/rbac.h"

struct auth;
struct link;

/* Who may call a method (a mask), and who called (one bit). */
enum {
    WHO_ANONYMOUS = 1,
    WHO_USER = 2,
    WHO_HOST = 4,
    WHO_PROXY = 8,
    WHO_LOCAL = 16,
    WHO_VIA_PROXY = 32,   /* mask only: the call must come by a worker's line */
    WHO_LOCAL_AGENT = 64, /* mask only: only the agent beside us, on its own line */
    WHO_ONE_TARGET = 128  /* a person with a certificate for one target: it opens that, nothing else */
};

/* The second factor that a person gave for one target; all NULL: none. */
struct mfa_given {
    char *device;     /* UUID */
    char *node;       /* host id, or NULL */
    char *kube;       /* name of a Kubernetes cluster, or NULL */
    char *session;    /* sid of a running session, to watch it, or NULL */
    int64_t until_ms; /* wall: it counts so long */
};

struct caller {
    unsigned who;     /* one WHO_ bit */
    bool local_agent; /* WHO_HOST on the local agent's line */
    int worker;       /* number of the worker's line, or -1 */
    uid_t uid;        /* WHO_LOCAL */
    char *addr;       /* "IP:PORT" of the person, "" when unknown */
    char ip[64];
    char *user;    /* WHO_USER; WHO_LOCAL: "admin" */
    json_t *roles; /* WHO_USER: those of the credential that the user still has */
    json_t *traits;
    struct rbac_set *set;
    char *host_id; /* WHO_HOST */
    char *host_name;
    char *web_key;      /* hash of the web session's id, or NULL */
    char *login_device; /* UUID of the device whose code the login gave, or NULL: signed by hand, or from before */
    struct one_target target; /* WHO_ONE_TARGET: what the certificate is for */
    struct mfa_given mfa;     /* the last code: that of the certificate, or the last one given in a web session */
    bool pinned;              /* the certificate is bound to this address */
    int64_t not_after;        /* of the credential (of the one that asked for it with a code), Unix seconds */
    int64_t ends_ms;          /* WHO_USER: when the user or the first of the roles expires, 0: never */
};
void caller_init(struct caller *caller);
void caller_free(struct caller *caller);
/* Who speaks on this line, with the caller object of the request (or NULL). */
enum tp_err caller_verify(struct auth *auth, const struct link *link, const json_t *json, struct caller *ret_caller,
                          struct tp_error *error) TP_MUST;
/* Fills in a user: he exists, is not locked; roles and traits are cut to what he has now. */
enum tp_err caller_become_user(struct auth *auth, const char *name, const json_t *roles, const json_t *traits,
                               struct caller *caller, struct tp_error *error) TP_MUST;
/* Does the caller's credential open this: a node (name: its host id) or a Kubernetes cluster, name NULL: any of the kind?
 * TP_DENIED when it is for another target. */
enum tp_err caller_opens(const struct caller *caller, enum role_target kind, const char *name,
                         struct tp_error *error) TP_MUST;
/* The refusal of a certificate for one target, by its reason. */
enum tp_err caller_one_target(const struct caller *caller, struct tp_error *error) TP_MUST;
/* The IP of "1.2.3.4:5", "[::1]:5" or a bare address. */
void caller_ip(const char *addr, char out[64]);
/* The set of a user with these role names; unknown roles are left out (they grant nothing). */
struct rbac_set *caller_set(struct auth *auth, const char *user, const json_t *roles, const json_t *traits) TP_MUST;
/* May a session of this kind ("ssh", "k8s") run with nobody else in it (require_session_join)? */
enum tp_err caller_alone(const struct rbac_set *set, const char *user, const char *kind,
                         struct tp_error *error) TP_MUST;
/* Is a lock in force on this user, one of these roles, or this host? Members may be NULL. */
enum tp_err caller_locked(struct auth *auth, const char *user, const json_t *roles, const char *host_id,
                          struct tp_error *error) TP_MUST;

/* Is a lock in force on this operating-system login (NULL: none)? */
enum tp_err caller_login_locked(struct auth *auth, const char *login, struct tp_error *error) TP_MUST;
/* Is a lock in force on this device of a second factor? NULL: no. */
bool caller_device_locked(struct auth *auth, const char *device);
/* Why what a code of this device has opened is worth nothing any more: a lock, or the device is not the user's any more. NULL:
 * it is good, or device is NULL. */
const char *caller_device_lost(struct auth *auth, const char *user, const char *device);
/* The same for the device that a login was made with; NULL is fine. TP_DENIED: a lock; TP_UNAUTHENTICATED: it was removed, so
 * he signs in again. */
enum tp_err caller_check_login(struct auth *auth, const char *user, const char *device, struct tp_error *error) TP_MUST;

#endif

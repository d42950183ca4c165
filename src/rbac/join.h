/*
 * Sessions that more than one person takes part in: who may join (`join_sessions`), and whom a session needs before it
 * may begin (`require_session_join`). Pure, like rbac.h.
 */
#ifndef RBAC_JOIN_H
#define RBAC_JOIN_H

#include "rbac/rbac.h"

#define RBAC_OBSERVER 1u  /* sees */
#define RBAC_MODERATOR 2u /* sees, and may end it */
#define RBAC_PEER 4u      /* sees and types */

/* "observer", "moderator", "peer": its bit, or 0. */
unsigned rbac_join_mode(const char *name) TP_MUST;

/* A session: of whom, with which roles, and what runs. */
struct rbac_session {
    const struct rbac_set *owner;
    const char *owner_name;
    const char *kind; /* "ssh" or "k8s" */
};

/* The modes in which the user of the set may join, 0: none. Within the roles of the person who joins all policies count
 * whose kinds and role patterns (any role of the owner) fit. The owner may join his own sessions in every mode. A person
 * whose roles are all v3 and have no policy may still join SSH sessions as a peer. */
unsigned rbac_join_modes(const struct rbac_set *set, const char *user, const struct rbac_session *session) TP_MUST;

/* Somebody who is there. */
struct rbac_participant {
    const struct rbac_set *set;
    const char *user;
    unsigned mode; /* one bit */
};

/* May the session run with these people (without the owner; each counts once)? Within a role of the owner one policy of
 * require_session_join for this kind is enough, and every role that has some must be satisfied. ret_pause (may be NULL):
 * what to do when somebody who was needed leaves: pause, or (false) end. ret_detail (size bytes, may be NULL): the name of
 * the role that is not satisfied. A filter that cannot be told counts nobody. */
bool rbac_session_may_run(const struct rbac_session *session, const struct rbac_participant *people, size_t count,
                          bool *ret_pause, char *ret_detail, size_t size) TP_MUST;

#endif

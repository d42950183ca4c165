/* What the files of live sessions share. live.c: decisions, cuts, ends; live_entry.c: an entry made, stored and read;
 * live_resume.c: a worker's new line. */
#ifndef AUTH_LIVE_H
#define AUTH_LIVE_H

#include "base/close.h"
#include "base/err.h"
#include "base/json.h"
#include "crypt/key.h"

struct auth;
struct call;

/* A grant in use: one connection through a worker to what an agent serves. */
struct live {
    char sid[UUID_TEXT_SIZE];
    char *service; /* a row of live.c: "ssh", "term", "kube" */
    char *target;  /* what was asked for, by the name that people know: host name, cluster name */
    char *user;
    json_t *roles; /* as of the certificate */
    json_t *traits;
    json_t *rights;    /* what the grant says, where the service compares it (kube_rights), or NULL */
    char *web_key;     /* of a terminal: the web session it belongs to (caller.web_key) */
    char *attach;      /* of a terminal: which of its connections is the one that counts */
    json_t *grant;     /* of a terminal: for the next one */
    int64_t parked_ms; /* of a terminal whose person was lost: until when he may come back (wall); else 0 */
    char *host_id;
    char *client_addr;
    char *pinned_login; /* the login that was used so far, or NULL */
    char *mfa_device;   /* the second factor was given for it with this device; NULL: none was needed */
    char *login_device; /* of the login that opened it (caller.login_device), or NULL; see term_login_device */
    int worker;
    int64_t started_ms;
    int64_t not_after; /* Unix seconds, of the certificate */
    bool cut_at_expiry;
    int64_t recheck_ms; /* when its user or one of the roles expires by itself, 0: never */
    bool closed;        /* the relay is gone; late calls of the host are still heard */
    int64_t closed_ms;
    int64_t unheard_ms;     /* read from the store: it has ended unless its worker names it before (wall); else 0 */
    bool cut;               /* session.cut was sent, with cut_reason and cut_text */
    bool resumed;           /* named by its worker on a new line; settled with the last call */
    bool dirty;             /* not stored yet */
    bool stored;            /* is in the store, perhaps not as it is now */
    unsigned channels;      /* session.start seen */
    unsigned open_channels; /* those without an end yet, since this process started */
    unsigned ends_told;     /* of what came of them, since this process started (sessions.c) */
    enum close_reason cut_reason;
    char *cut_text;
};

/* ---- live.c: what all of auth sees ---- */
enum tp_err sessions_load(struct auth *auth, struct tp_error *error) TP_MUST;
void sessions_free(struct auth *auth);
struct live_new {
    const char *sid;
    const char *service;
    const char *target;
    const char *host_id;    /* of the agent that serves it */
    const char *login;      /* the only one that it may use, or NULL */
    const char *mfa_device; /* with which its second factor was given, or NULL */
    const json_t *grant;    /* of a terminal: what it was given, copied; or NULL */
    json_t *rights;         /* shared, not changed any more; or NULL */
    bool cut_at_expiry;
};
/* Puts a grant that is about to be given to this caller (a user, by a worker's line) into the table, under its sid. All of
 * fresh is copied. The entry is the table's; it may go at any later call of sessions_tick. */
struct live *sessions_add(struct auth *auth, const struct call *call, const struct live_new *fresh);
/* So long after our start a worker may name, with its grant, a session that the process before us had not stored yet. */
#define LIVE_UNHEARD_MS ((int64_t)10 * 1000)
/* The live session of a grant to this host; TP_NOT_FOUND otherwise (R15), or TP_UNAVAILABLE where a worker may still name it. */
enum tp_err sessions_of_host(struct auth *auth, const char *sid, const char *host_id, struct live **ret_live,
                             struct tp_error *error) TP_MUST;
/* May a shell, command or exec begin now? Not where the roles want other people in it first. */
enum tp_err sessions_may_start(struct auth *auth, const struct live *live, struct tp_error *error) TP_MUST;
/* Decides all live sessions anew after a change of roles, users, locks or labels, and cuts those that lost their right. */
void sessions_recheck(struct auth *auth);
/* The same for those with one of these roles (array of names), after a change of the roles. */
void sessions_recheck_roles(struct auth *auth, const json_t *names);
/* The same for the sessions on one host, after a change of its labels. */
void sessions_recheck_host(struct auth *auth, const char *host_id);
/* Live sessions of a user of one service ("ssh"), over all hosts. */
size_t sessions_count_user(struct auth *auth, const char *user, const char *service);
/* Ends one session: its worker is told, client.disconnect says why. Nothing happens when it is over already. */
void sessions_cut(struct auth *auth, struct live *live, enum close_reason reason, const char *text);
/* The same, but the caller puts the event on record; NULL: it is over already. */
json_t *sessions_cut_event(struct auth *auth, struct live *live, enum close_reason reason, const char *text) TP_MUST;
/* Its relay is gone. Nothing happens when it is closed already. */
void sessions_close(struct live *live);
/* "ssh" for a terminal, which is one: what events, recordings and lists show. */
const char *sessions_proto(const struct live *live);
/* Decides one session anew; false: it is over, or has lost its right just now. */
bool sessions_recheck_one(struct auth *auth, struct live *live);
/* Is a terminal of this web session open, or can be come back to? (term.c) */
bool term_is_open(const struct auth *auth, const char *web_key) TP_MUST;
/* The device that a session hangs on: that of its web session, which may have moved to another one, and when that session is
 * gone the last that it had; without one, that of the certificate. NULL: none. (term.c) */
const char *term_login_device(const struct auth *auth, struct live *live) TP_MUST;
/* Ends the terminals of a web session. */
void sessions_cut_web(struct auth *auth, const char *web_key, enum close_reason reason, const char *text);
/* Cuts the sessions of a user, those of the web session but (or NULL) excepted. */
void sessions_cut_user(struct auth *auth, const char *user, const char *but, enum close_reason reason,
                       const char *text);
/* Expired certificates, late ends; puts what changed into the batch. */
void sessions_tick(struct auth *auth);
/* The batch was not written: everything goes into the next one. */
void sessions_unsaved(struct auth *auth);
void sessions_worker_gone(struct auth *auth, int worker);

/* ---- what live.c, live_entry.c and live_resume.c share ---- */

/* Puts an entry into the table, in the place of one with its sid. */
void live_keep(struct auth *auth, struct live *live);
/* It is in no table any more. NULL is fine. */
void live_destroy(struct live *live);
/* Into the batch. */
void live_store(struct auth *auth, const struct live *live);
/* To all workers: one relays the session, and one (often another, after a reload) holds the line to its agent. */
void live_tell_cut(struct auth *auth, const struct live *live);

#endif

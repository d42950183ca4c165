/*
 * The state of auth. One struct auth holds all of the process; everything runs on one loop, and only argon2, fsync and
 * compression leave it for the thread pool. What nearly all files of auth use comes with it; each of them includes by itself the
 * headers of the parts that it calls.
 */
#ifndef AUTH_INNER_H
#define AUTH_INNER_H

#include "audit/audit_log.h"
#include "audit/event.h"
#include "auth/ca.h"
#include "auth/cert_cache.h"
#include "auth/doc.h"
#include "auth/settings.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "core/loop.h"
#include "core/rpc.h"
#include "crypt/grant.h"
#include "crypt/identity.h"
#include "crypt/key.h"
#include "crypt/password.h"
#include "crypt/sshcert.h"
#include "crypt/x509.h"
#include "rbac/lock.h"
#include "rbac/rbac.h"
#include "rbac/token.h"
#include "rbac/user.h"
#include "store/store.h"

/* One line of another process of ours. */
enum link_kind { LINK_WORKER, LINK_AGENT, LINK_ADMIN };
struct link {
    struct auth *auth;
    enum link_kind kind;
    int worker; /* LINK_WORKER: its number */
    uid_t uid;  /* LINK_ADMIN: who connected */
    struct rpc *rpc;
    struct link *next;
};

struct kube_order;
struct list_job;
struct host_place;
struct host_time;
struct recording; /* recordings.c */
struct websess;   /* websess.c */
struct lockout;   /* lockout.c */
struct audit;     /* audit.c */
struct keep;      /* keep.c */
struct put_group; /* put_group.c */
struct keep_recordings;
struct agentless_all;
struct host_pace;  /* host_pace.c */
struct host_heard; /* host_heard.c */

struct auth {
    struct loop *loop;
    struct rpc *master;
    struct settings settings;
    struct store *secrets;
    struct store *state;
    struct ca ca[CA_KIND_COUNT];
    struct key *grant_key;
    struct key *audit_key;
    char *host_pin;
    struct audit *audit;
    struct keep *keep;
    struct keep_recordings *keep_recordings;
    struct lockout *lockout;
    struct lane *hashing; /* passwords */
    struct lane *reads;   /* recordings and the log, for people */
    struct lane *seals;   /* recordings that have ended */
    struct agentless_all *agentless;
    struct map *roles; /* name to struct role */
    struct map *locks; /* name to struct lock */
    struct cert_cache *certs;
    struct user_cache *users;
    struct map *hosts;       /* id to struct host */
    struct host_pace *paced; /* those with calls that wait for their turn */
    int64_t pace_bytes;      /* HOST_PACE_BYTES and HOST_PACE_BURST, in tests fewer */
    int64_t pace_burst;
    struct map *reports;     /* uid to what waits for that event of a host to be written (sessions.c) */
    struct map *host_names;  /* name to the first struct host of it (hosts.h) */
    struct map *live;        /* sid to struct live */
    struct map *recordings;  /* id to struct recording: those that are being written */
    struct map *websessions; /* sha256 of sid (hex) to struct websess */
    struct map *accesses;    /* who reads which recording to when (wall ms): what is on record already */
    size_t readers;          /* recordings that stay open for those who read on */
    struct map *batch;       /* key to text: what the next tick writes */
    struct put_group *puts;  /* roles that the end of this turn writes */
    struct link *links;
    struct listen *admin; /* auth.c */
    struct timer *tick;   /* each 200 ms */
    unsigned ticks;
    unsigned calls, calls_before, calls_given; /* so far; a second ago; when memory was given back (auth.c) */
    unsigned hosts_recheck;                    /* ticks until the tunnels of locked hosts are cut, 0: nothing to do */
    bool stopping;
    int64_t hearing_until_ms; /* mono: until then a worker may name sessions that nobody stored (live.h) */

    /* Lists in order, made at the first page after a change: hosts (node_list.c), Kubernetes clusters (kube_list.c). */
    struct host_place *host_order;
    size_t host_order_count;
    struct kube_order *kube_order;
    struct host_time *time_order; /* of all hosts, by how long they have been there (node_list.c); NULL: none yet */
    unsigned orders_made;         /* how often one of them was made anew */
    struct list_job *list_jobs;   /* list.c: pages under way */
    size_t list_turn;             /* steps of a query in one turn of the loop: LIST_TURN_STEPS, in tests fewer */
};

/* Opens stores, keys, audit log and caches of a configuration; no lines yet. Used by the process and by the tests. key_fd: of
 * the file that secrets_key_file names (it stays the caller's), or -1. */
enum tp_err auth_open(struct loop *loop, const json_t *config, int key_fd, struct auth **ret_auth,
                      struct tp_error *error) TP_MUST;
/* Closes everything, frees auth. */
void auth_close(struct auth *auth);
/* Sends an event to all workers. params is stolen. */
void auth_tell_workers(struct auth *auth, const char *event, json_t *params);
/* Sends an event to one worker, if it is there. params is stolen. */
void auth_tell_worker(struct auth *auth, int worker, const char *event, json_t *params);

#endif

/* The table of hosts from inside: hosts.c has it, host_join.c fills it, host_names.c finds by name; a host's keys, its signed reports
 * and its credit have files of their own. */
#ifndef AUTH_HOSTS_H
#define AUTH_HOSTS_H

#include "auth/doc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "rbac/rbac.h"

struct auth;
struct call;
struct link;

struct tunnel_ref {
    int worker;
    int64_t tunnel;
    struct tunnel_ref *next; /* newest first: that one is used */
};

/* A host as decisions see it. */
struct host {
    char *id;
    char *name;                /* lower case */
    json_t *resource;          /* the node resource; NULL before its first heartbeat, and when it serves no SSH */
    struct rbac_label *labels; /* of resource, static and dynamic; the texts are resource's */
    size_t label_count;
    struct rbac_tags tags;
    size_t place;      /* in auth->host_order, while that is sorted */
    struct buf text;   /* resource as JSON without its last brace, for lists; empty until one needs it */
    struct buf brief;  /* the same for brief lists */
    json_t *kube;      /* the Kubernetes clusters it serves (auth/kube.h), or NULL */
    unsigned roles;    /* what it joined as: TOKEN_NODE, TOKEN_KUBE */
    char *token;       /* hash of the join token that it came with, or NULL */
    int64_t online_ms; /* wall: it has had a tunnel since then, if it has one */
    int64_t came_ms; /* wall: it can be reached since then, but for the moments that a reload or a lost worker takes */
    int64_t gone_ms; /* wall: its last tunnel went, 0: none has gone */
    struct tunnel_ref *tunnels;
    int64_t last_seen_ms;     /* wall */
    bool seen_kept;           /* last_seen_ms is in the store: it is away (host_seen.c) */
    int64_t since;            /* Unix seconds; certificates from before this registration are worth nothing */
    int64_t reported_ms;      /* mono: credit_ms is of then; 0: it has not reported yet */
    int64_t credit_ms;        /* for reports and renewals (host_credit.c) */
    size_t appending;         /* bytes of its recordings that are not known to be on the disk */
    struct host_pace *pace;   /* of what it puts on record, NULL: nothing yet (host_pace.c) */
    int64_t ends_bytes;       /* of the log, by what it said of ends since there was room for the rest (sessions.c) */
    struct host_heard *heard; /* what it has put on record just now, or NULL (host_heard.c) */
    int64_t report_ms;        /* when it signed the last report that was news; 0: it has signed none (host_report.c) */
    char report_hash[HASH_TEXT_SIZE]; /* of what that said */
    int64_t cert_made;                /* Unix seconds: when the youngest certificate that it has shown was made */
    int64_t cert_given; /* the same of the last one that was made for it: it may have that and not show it */
    struct host *next_named, *prev_named; /* those of the same name (hosts.h) */
};

/* A row of the order of hosts: walks of a long list look at the tags and need most hosts not at all. */
struct host_place {
    struct rbac_tags tags;
    struct host *host;
};

/* A row of the order of hosts by time. */
struct host_time {
    int64_t when; /* as it was when they were sorted */
    struct host *host;
};

/* ---- hosts.c, routes.c ---- */
enum tp_err hosts_load(struct auth *auth, struct tp_error *error) TP_MUST;
void hosts_free(struct auth *auth);
struct host *hosts_get(struct auth *auth, const char *id);
/* Registered and seen within ten minutes. */
bool hosts_current(const struct host *host);
/* Serves SSH: a host whose agent has registered Kubernetes clusters only is no node. */
bool hosts_is_node(const struct host *host);
/* A map of at most 200 labels; commands: each {"result": text}. NULL is fine. */
enum tp_err hosts_check_labels(const json_t *labels, const char *key, bool commands, struct tp_error *error) TP_MUST;
/* The decision's view of a host. Labels belong to the host and live until its next report. */
void hosts_target(const struct host *host, struct rbac_target *ret_target);
/* Makes host_order when it is not there: sorted once after hosts came, went or changed their name, not for each page. */
void hosts_sort(struct auth *auth);
/* Hosts came, went or changed their name: lists sort anew (node_list.c). */
void hosts_order_changed(struct auth *auth);
/* The labels of this host are others. */
void hosts_order_labels(struct auth *auth, const struct host *host);
/* It showed a certificate that was made then (Unix seconds). */
void hosts_saw_cert(struct host *host, int64_t made);
/* Removes a node and its registration; its tunnels are cut. */
enum tp_err hosts_delete(struct auth *auth, const char *id, struct tp_error *error) TP_MUST;
/* The node resource with metadata.name, never NULL. */
json_t *hosts_resource(const struct host *host) TP_MUST;
/* Tells all workers where the host's tunnel is and what it serves. */
void routes_tell(struct auth *auth, const struct host *host);
void routes_send_all(struct auth *auth, struct link *link);
void routes_worker_gone(struct auth *auth, int worker);
void routes_free(struct host *host);

#define HOST_CERT_SECONDS ((int64_t)365 * 24 * 3600) /* a host's certificate is good so long */

/* ---- hosts.c ---- */
/* The host of this id under this name, known before or not; it has been seen now. */
struct host *hosts_add(struct auth *auth, const char *id, const char *name);
/* hash of the join token that it came with, NULL: none. */
void hosts_keep_token(struct host *host, const char *hash);

/* ---- host_names.c: several hosts may have one name ---- */
/* The first host of this name, in capitals or not, or NULL; the others follow by next_named, in no order. */
struct host *host_names_first(const struct auth *auth, const char *name) TP_MUST;
/* Gives the host a name, instead of the one that it has, if any. */
void host_names_set(struct auth *auth, struct host *host, const char *name);
/* Takes the host's name from it; it goes, or gets another one. */
void host_names_drop(struct auth *auth, struct host *host);
/* Does a host other than id own this: by its id or its name, alone or as NAME.CLUSTER? */
bool host_names_taken(const struct auth *auth, const char *id, const char *name) TP_MUST;
/* In small letters, as names of hosts are kept. mem_free it. */
char *host_names_lower(const char *text) TP_MUST;

/* ---- host_seen.c ---- */
enum tp_err host_seen_load(struct auth *auth, struct tp_error *error) TP_MUST;
/* Each minute: puts into the batch since when those are away that are; then host_seen_expire, when time is settled. */
void host_seen_keep(struct auth *auth);
/* Removes some hosts whose certificates have ended by now_ms (wall, as retention believes it, settled: they must join anew). */
void host_seen_expire(struct auth *auth, int64_t now_ms);
/* The host is being removed. */
enum tp_err host_seen_forget(struct auth *auth, const char *id, struct tp_error *error) TP_MUST;

/* ---- host_keys.c ---- */
/* Notes in the registration of a host which keys are its. */
void host_keys_note(json_t *doc, const char *tls_pub, const char *ssh_pub);
/* Are tls_pub_key and ssh_pub_key of these parameters the host's? Of one that is not registered: yes. */
enum tp_err host_keys_check(struct auth *auth, const char *id, const json_t *params, bool *ret_same,
                            struct tp_error *error) TP_MUST;

/* ---- host_report.c ---- */
struct host_report {
    int64_t issued_ms; /* of the host's clock; 0: it is not signed */
    char hash[HASH_TEXT_SIZE];
};
/* Puts what the host has signed in the place of the call's params. TP_DENIED with a sentence when it should be signed and is not. */
enum tp_err host_report_open(struct call *call, struct host *host, struct host_report *ret_report,
                             struct tp_error *error) TP_MUST;
/* TP_DENIED for one that says something else than what is known and is older than that, or of the future. */
enum tp_err host_report_is_news(const struct host *host, const struct host_report *report,
                                struct tp_error *error) TP_MUST;
enum tp_err host_report_keep(struct auth *auth, struct host *host, const struct host_report *report,
                             struct tp_error *error) TP_MUST;
enum tp_err host_reports_load(struct auth *auth, struct tp_error *error) TP_MUST;

/* ---- host_credit.c ---- */
/* Takes cost_ms of the host's credit, which grows by a millisecond each millisecond; TP_LIMIT with a sentence when it is used up. */
enum tp_err hosts_spend(struct host *host, int64_t cost_ms, struct tp_error *error) TP_MUST;

/* ---- host_pace.c ---- */
/* So much may each host write into the audit log: a Kubernetes agent reaches it with about 5,000 requests a second for ever, or
 * with twice as many for a minute. */
#define HOST_PACE_BYTES ((int64_t)4 * 1024 * 1024)   /* a second */
#define HOST_PACE_BURST ((int64_t)256 * 1024 * 1024) /* at once; it comes back with the time */
/* What of a host that writes more may wait for its turn; further calls are refused. The host's lines wait before that, when its
 * calls come by a worker that holds to protocols/host_load.h. */
#define HOST_PACE_CALLS ((size_t)512)
#define HOST_PACE_WAITING ((size_t)16 * 1024 * 1024)
/* So much of that may still be of what came of its sessions when there is no room for anything else. */
#define HOST_ENDS_BYTES ((int64_t)2 * 1024 * 1024)
/* Runs a call (RIGHT_REPORT) of a host: now, or in its order as soon as what the host has written lets it. */
void hosts_report(struct call *call);
/* Each 200 ms: runs what is due. */
void host_pace_tick(struct auth *auth);
/* Auth is about to end: what has been taken from hosts is written. */
void host_pace_finish(struct auth *auth);
/* The host goes; what waits is refused. */
void host_pace_free(struct host *host);

/* ---- host_heard.c: what hosts report is on record once, though they make reports again whose answer they have not heard ---- */
#define HOST_HEARD_MAX ((size_t)1024) /* of one host; more than it can have unanswered with HOST_PACE_CALLS */
/* Is it on record what the host says here, in this call or in one that it repeats? index: its place in the call. event is what it is
 * about; it gets the uid that a repetition has. */
bool host_heard(const struct call *call, size_t index, const json_t *report, json_t *event) TP_MUST;
/* An event of that host is in the log now, or will be as soon as that can be written (audit_emit_kept). */
void host_heard_written(struct auth *auth, const char *host_id, const char *uid);
/* Each minute: forgets what is not made again any more. */
void host_heard_sweep(struct auth *auth);
void host_heard_free(struct host *host);
/* Reads from the log what the process before this one has written. Blocks. */
enum tp_err host_heard_load(struct auth *auth, struct tp_error *error) TP_MUST;

#endif

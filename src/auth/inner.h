/*
 * What the files of auth share. One struct auth holds the state of the process; everything runs on one loop, and only
 * argon2, fsync and compression leave it for the thread pool.
 */
#ifndef AUTH_INNER_H
#define AUTH_INNER_H

#include "audit/audit_log.h"
#include "audit/event.h"
#include "auth/doc.h"
#include "auth/cert_cache.h"
#include "base/clock.h"
#include "base/enc.h"
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

enum ca_kind { CA_USER, CA_HOST, CA_APP, CA_DB, CA_KIND_COUNT };

/* Where the rotation of a CA stands (ca_rotate.c). */
enum ca_phase { CA_STANDBY, CA_INIT, CA_UPDATE_CLIENTS, CA_UPDATE_SERVERS, CA_ROLLBACK, CA_PHASE_COUNT };

/* The keys of a CA: an X.509 half (P-256) and an SSH half (Ed25519). */
struct ca_keys {
    struct key *tls_key;
    struct key *ssh_key;
    char *tls_pem;
    char *ssh_line; /* authorized_keys form of ssh_key */
};

/* One certificate authority. */
struct ca {
    struct ca_keys keys;
    struct ca_keys fresh; /* all NULL in standby: the set that takes over in a rotation; trusted like keys */
    char *trusted_pems;   /* of both, for checks */
    enum ca_phase phase;
    bool automatic; /* phases follow each other by the grace period */
    int64_t grace_ms;
    int64_t started_ms; /* of the rotation, wall */
    int64_t changed_ms; /* wall: the last phase began; 0: never rotated */
    int64_t since;      /* Unix seconds: what is signed with changed last; 0: never */
};

/* How long and how much is kept; 0: no bound. */
struct keep_rules {
    int64_t events_max_age_ms;
    uint64_t events_max_bytes;
    int64_t recordings_max_age_ms;
    uint64_t recordings_max_bytes;
    int64_t min_age_ms; /* what is younger does not go because of max_bytes */
};

/* Settings: the configuration file, and over it the resources that people put. */
struct settings {
    char *cluster;
    char *data_dir;
    char *version;
    char *public_addr; /* the first one, "" when none is set */
    json_t *conf;      /* the "auth" object of the configuration event */
    uid_t admin_uid;   /* may use the admin socket besides root and us; (uid_t)-1: nobody */
    int64_t default_session_ttl_ms;
    int64_t web_idle_ms;      /* web sessions that nobody used for so long are over; 0: never */
    bool record;              /* false: session_recording is off */
    bool announce_watchers;   /* who is watched is told so */
    char *message_of_the_day; /* or NULL */
    struct rbac_cluster cluster_options;
    struct keep_rules keep;
};

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
    json_t *kube;      /* the Kubernetes clusters it serves (auth/kube.h), or NULL */
    unsigned roles;    /* what it joined as: TOKEN_NODE, TOKEN_KUBE */
    char *token;       /* hash of the join token that it came with, or NULL */
    int64_t online_ms; /* wall: it has had a tunnel since then, if it has one */
    int64_t came_ms; /* wall: it can be reached since then, but for the moments that a reload or a lost worker takes */
    int64_t gone_ms; /* wall: its last tunnel went, 0: none has gone */
    struct tunnel_ref *tunnels;
    int64_t last_seen_ms; /* wall */
    int64_t since;        /* Unix seconds; certificates from before this registration are worth nothing */
    int64_t reported_ms;  /* mono: credit_ms is of then; 0: it has not reported yet */
    int64_t credit_ms;    /* for reports and renewals (host_credit.c) */
    int64_t report_ms;    /* when it signed the last report that was news; 0: it has signed none (host_report.c) */
    char report_hash[HASH_TEXT_SIZE];     /* of what that said */
    int64_t cert_made;                    /* Unix seconds: when the youngest certificate that it has shown was made */
    struct host *next_named, *prev_named; /* those of the same name (hosts.h) */
};

struct kube_order;
struct list_job;

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

/* The second factor that a person gave for one target; all NULL: none. */
struct mfa_given {
    char *device;  /* UUID */
    char *node;    /* host id, or NULL */
    char *kube;    /* name of a Kubernetes cluster, or NULL */
    char *session; /* sid of a running session, to watch it, or NULL */
    int64_t until; /* Unix seconds: it counts so long */
};

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
    enum close_reason cut_reason;
    char *cut_text;
};

struct recording; /* recordings.c */
struct websess;   /* websess.c */
struct lockout;   /* lockout.c */
struct audit;     /* audit.c */
struct keep;      /* keep.c */
struct put_group; /* put_group.c */
struct keep_recordings;
struct agentless_all;

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
    struct map *hosts;       /* id to struct host */
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

    /* Lists in order, made at the first page after a change: hosts (node_list.c), Kubernetes clusters (kube_list.c). */
    struct host_place *host_order;
    size_t host_order_count;
    struct kube_order *kube_order;
    struct host_time *time_order; /* of all hosts, by how long they have been there (node_list.c); NULL: none yet */
    unsigned orders_made;         /* how often one of them was made anew */
    struct list_job *list_jobs;   /* list.c: pages under way */
    size_t list_turn;             /* steps of a query in one turn of the loop: LIST_TURN_STEPS, in tests fewer */
};

/* ---- auth.c ---- */
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

/* ---- settings.c ---- */
/* Reads a configuration event; on failure settings stay as they were. */
enum tp_err settings_read(struct settings *settings, const json_t *config, struct tp_error *error) TP_MUST;
/* Puts stored resources (cluster_auth_preference ...) over the file's values. */
void settings_apply(struct auth *auth);
void settings_free(struct settings *settings);

/* ---- audit.c ---- */
typedef void audit_done_cb(void *ctx, const struct tp_error *error);
enum tp_err audit_open(struct auth *auth, struct tp_error *error) TP_MUST;
void audit_close(struct auth *auth);
/* Records an event (stolen). done (may be NULL) is called once, never inside this call: error is NULL when the event is
 * on the disk. An event without done that could not be written is tried again. */
void audit_emit(struct auth *auth, json_t *event, audit_done_cb *done, void *ctx);
/* TP_OK while the audit log can be written, else the refusal that every access and every change gets. */
enum tp_err audit_ready(const struct auth *auth, struct tp_error *error) TP_MUST;
/* Once a second: publishes and, after a failure, tries whether writing works again. */
void audit_tick(struct auth *auth);
/* Nothing waits to be written. */
bool audit_idle(const struct auth *auth);
/* The directory of the log. */
const char *audit_dir(const struct auth *auth);
const struct audit_log *audit_log_of(const struct auth *auth);

/* ---- keep.c ---- */
/* Begins to look after the audit log that is open. */
void keep_open(struct auth *auth);
/* At the start, after a reload and every ten minutes: what is to be done goes to the thread pool. */
void keep_round(struct auth *auth);
/* Each second: goes on with what had to wait. */
void keep_second(struct auth *auth);
void keep_close(struct auth *auth);

/* ---- bootstrap.c, ca.c ---- */
/* First start: fixes the cluster name, makes presets. Later: checks the name. */
enum tp_err bootstrap_run(struct auth *auth, struct tp_error *error) TP_MUST;
/* Loads roles and locks into the caches. */
enum tp_err bootstrap_load(struct auth *auth, struct tp_error *error) TP_MUST;
const char *ca_name(enum ca_kind kind);
/* Loads the keys of all CAs out of the secrets store; makes those that are missing. */
enum tp_err ca_load(struct auth *auth, struct tp_error *error) TP_MUST;
void ca_free(struct auth *auth);
/* Reads one CA anew, after a change in the store. On failure the old keys stay. */
enum tp_err ca_reload(struct auth *auth, enum ca_kind kind, struct tp_error *error) TP_MUST;
/* A new set of keys as it is stored: {"tls_key", "tls_cert", "ssh_key", "created"}. */
json_t *ca_make_keys(struct auth *auth, enum ca_kind kind) TP_MUST;
/* The keys that certificates are signed with now: those of clients (users; hosts towards the proxy), or of servers (what
 * the proxy shows in TLS, what hosts show in SSH). Borrowed until the next change. */
const struct ca_keys *ca_signer(const struct auth *auth, enum ca_kind kind, bool servers) TP_MUST;
/* "standby" ...; ca_phase_parse gives CA_PHASE_COUNT for another name. */
const char *ca_phase_name(enum ca_phase phase);
enum ca_phase ca_phase_parse(const char *name);
/* Once a second: rotations that move on by themselves. */
void ca_tick(struct auth *auth);
/* The result of cluster.cas. */
json_t *ca_describe(const struct auth *auth) TP_MUST;
/* The same, signed for who gets it from a worker (crypt/statement.h). */
json_t *ca_describe_signed(const struct auth *auth) TP_MUST;
/* Pins of the host CA, both while a rotation runs: ["sha256:HEX"]. */
json_t *ca_pins(const struct auth *auth) TP_MUST;

/* ---- caller.c ---- */
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

/* Is a lock in force on this operating-system login? */
bool caller_login_locked(struct auth *auth, const char *login);
/* Is a lock in force on this device of a second factor? NULL: no. */
bool caller_device_locked(struct auth *auth, const char *device);
/* Why what a code of this device has opened is worth nothing any more: a lock, or the device is not the user's any more. NULL:
 * it is good, or device is NULL. */
const char *caller_device_lost(struct auth *auth, const char *user, const char *device);
/* The same for the device that a login was made with; NULL is fine. TP_DENIED: a lock; TP_UNAUTHENTICATED: it was removed, so
 * he signs in again. */
enum tp_err caller_check_login(struct auth *auth, const char *user, const char *device, struct tp_error *error) TP_MUST;

/* ---- dispatch.c, methods.c ---- */
struct call;
typedef void call_reply_cb(void *ctx, json_t *result, const struct tp_error *error); /* result is the callback's */
typedef void method_fn(struct call *call);

enum method_right {
    RIGHT_NONE,     /* everybody in who */
    RIGHT_SELF,     /* the handler touches only things of the caller */
    RIGHT_RULE,     /* verb on kind by the caller's roles */
    RIGHT_POSSIBLE, /* the same, but a `where` is left for the handler, which filters item by item */
    RIGHT_HANDLER   /* the handler decides: ssh.connect by labels, resources.* by the kind asked for */
};

struct method {
    const char *name;
    unsigned who;
    enum method_right right;
    const char *verb; /* RIGHT_RULE and RIGHT_POSSIBLE, else a word for people */
    const char *kind;
    bool limited; /* anonymous callers are counted by address */
    bool changes; /* refused while the audit log cannot be written */
    method_fn *fn;
};
/* The table; the last row has no name. */
extern const struct method methods[];
const struct method *method_find(const char *name);

struct call {
    struct auth *auth;
    const struct method *method;
    struct caller caller;
    json_t *params;
    call_reply_cb *reply;
    void *reply_ctx;
};

/* Checks the row, the rule and the limits, then calls the handler. caller is taken over; params stay the caller's. */
void dispatch_call(struct auth *auth, struct caller *caller, const char *method, json_t *params, call_reply_cb *reply,
                   void *ctx);
/* A request from a line. */
void dispatch_request(struct link *link, struct rpc_call *rpc_call, const char *method, json_t *params, json_t *caller);
/* The ways to end a call; each frees it. */
void call_reply(struct call *call, json_t *result);
/* The result as the text of a JSON object; it is taken over (buf_free'd). */
void call_reply_text(struct call *call, struct buf *text);
void call_fail(struct call *call, const struct tp_error *error);
void call_fail_text(struct call *call, enum tp_err code, const char *format, ...) TP_PRINTF(3, 4);
/* Replies once the event is durable; fails when it cannot be recorded. Both are stolen. */
void call_reply_audited(struct call *call, json_t *event, json_t *result);
/* A refusal that must be on record: fails with error once the event is durable (or could not be written). */
void call_fail_audited(struct call *call, json_t *event, const struct tp_error *error);
/* May the caller do verb on kind? The local administrator may. */
enum tp_err call_rule(const struct call *call, const char *verb, const char *kind, const struct rbac_context *context,
                      struct tp_error *error) TP_MUST;
/* An event with user and addr.remote of the caller. */
json_t *call_event(const struct call *call, const char *name, bool success) TP_MUST;

/* ---- issue.c ---- */
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

/* ---- lane.c ---- */
#define LANE_THREADS 8 /* on the thread pool: as many as all lanes may use, and two that they leave free */
struct lane_rules {
    size_t at_once;
    size_t queue;     /* may wait; 0: any number */
    size_t each;      /* of one person, under way and waiting; 0: any number */
    const char *full; /* what is said when too many wait */
};
struct lane *lane_new(struct loop *loop, const struct lane_rules *rules) TP_MUST;
/* As work_run, but few at once, and of one person (who; NULL: nobody's) one after the other. TP_LIMIT, and nothing called,
 * when too many wait or he has too many. */
enum tp_err lane_run(struct lane *lane, const char *who, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx,
                     struct tp_error *error) TP_MUST;
/* Whose a call is, for lane_run: the machine's administrator waits for nobody. */
const char *lane_of(const struct call *call);
/* What waits is not done any more. */
void lane_free(struct lane *lane);

/* ---- roles and locks in memory: users.c, resources.c ---- */
/* Role names exist and are unique, at least one. */
enum tp_err users_check_roles(struct auth *auth, const json_t *roles, struct tp_error *error) TP_MUST;
/* From this second on: certificates of this name that are older are worth nothing. For resets and for a name that is given
 * anew. */
enum tp_err users_mark_since(struct auth *auth, const char *name, struct tp_error *error) TP_MUST;
/* That second, 0 when there is none. */
int64_t users_since(struct auth *auth, const char *name);
/* Removes what belongs to a user besides the resource: password, devices, invitations, web sessions. */
enum tp_err users_wipe_login(struct auth *auth, const char *name, struct tp_error *error) TP_MUST;
/* Makes an invitation; older ones of the user go. ret_result is {user, token, url, expires}. */
enum tp_err invite_make(struct auth *auth, const char *user, const char *kind, int64_t ttl_ms, json_t **ret_result,
                        struct tp_error *error) TP_MUST;
enum tp_err invite_drop(struct auth *auth, const char *user, struct tp_error *error) TP_MUST;

/* ---- locks.c ---- */
/* Removes the locks whose time is over. */
void locks_sweep(struct auth *auth);
/* What is odd about a lock (it names a user, role or host that is not there), for its maker; NULL: nothing. mem_free it. */
char *locks_warning(struct auth *auth, const struct lock *lock) TP_MUST;

/* ---- tokens.c ---- */
/* A join token by its secret: live, and good for all of these roles (TOKEN_*). Same sentence for unknown and expired. */
enum tp_err tokens_check(struct auth *auth, const char *secret, unsigned roles, json_t **ret_labels,
                         struct tp_error *error) TP_MUST;
/* Stores a token resource under its hash. created says whether it was new. */
enum tp_err tokens_put(struct auth *auth, const json_t *resource, uint64_t expected, bool *ret_created,
                       struct tp_error *error) TP_MUST;
/* Deletes by secret or by the masked name of a listing. */
enum tp_err tokens_delete(struct auth *auth, const char *name, struct tp_error *error) TP_MUST;
/* ["Node", ...] of a mask of TOKEN_*. */
json_t *tokens_role_names(unsigned roles) TP_MUST;
/* "ab12****" for people. */
char *tokens_mask(const char *secret) TP_MUST;
/* Drops expired ones. */
void tokens_sweep(struct auth *auth);

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
/* Removes a node and its registration; its tunnels are cut. */
/* It showed a certificate that was made then (Unix seconds). */
void hosts_saw_cert(struct host *host, int64_t made);
enum tp_err hosts_delete(struct auth *auth, const char *id, struct tp_error *error) TP_MUST;
/* The node resource with metadata.name, never NULL. */
json_t *hosts_resource(const struct host *host) TP_MUST;
/* Tells all workers where the host's tunnel is and what it serves. */
void routes_tell(struct auth *auth, const struct host *host);
void routes_send_all(struct auth *auth, struct link *link);
void routes_worker_gone(struct auth *auth, int worker);
void routes_free(struct host *host);

/* ---- live.c ---- */
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
/* The live session of a grant to this host; TP_NOT_FOUND otherwise (R15). */
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

/* ---- access.c ---- */
#define GRANT_SECONDS 60 /* a stream must be opened by then */
/* What a connection to a node is for. */
struct node_want {
    const char *target;  /* name or id of the host */
    const char *service; /* "ssh" or "term" */
    const char *login;   /* the only one that is wanted; NULL: all that are allowed */
    bool file_copy;      /* it is for a file: refused where the roles do not allow file copy */
};
/* Is it a node that these roles list? What they don't is not there for their owner: no answer names it. (find_node.c) */
bool access_may_list(const struct rbac_set *set, const struct host *host) TP_MUST;
/* A node by id, then by name among those that the caller may list; TP_NOT_FOUND, TP_AMBIGUOUS; TP_UNAVAILABLE: a server
 * without an agent. */
enum tp_err access_find_node(const struct call *call, const char *target, struct host **ret_host,
                             struct tp_error *error) TP_MUST;
/* The one decision about a node: answers the call with a grant (or a refusal), on record either way. */
void access_node(struct call *call, const struct node_want *want);
/* options.locking_mode of a grant: what the worker does with it while we cannot be asked about locks. */
json_t *access_locking(const struct rbac_options *options) TP_MUST;
/* The event of a new live session is on the disk, or (failure) could not be written: signs the grant. ret_result is {sid,
 * grant}. A session that lost its right meanwhile is refused; after a refusal its live entry is closed. */
enum tp_err access_grant(struct auth *auth, const char *sid, const json_t *grant, const struct tp_error *failure,
                         json_t **ret_result, struct tp_error *error) TP_MUST;

/* ---- recordings.c ---- */
enum tp_err recordings_load(struct auth *auth, struct tp_error *error) TP_MUST;
void recordings_free(struct auth *auth);
/* Ends what nobody speaks for; puts what changed into the batch. */
void recordings_tick(struct auth *auth);
/* The batch was written (those that are done leave the memory) or not (everything goes into the next one). */
void recordings_saved(struct auth *auth, bool written);
/* Ends all open channels of a host that may not report any more. */
void recordings_end_host(struct auth *auth, const char *host_id, const char *reason);
/* Forgets reads of recordings that are long past; all of them when the process ends. */
void recordings_accesses_sweep(struct auth *auth);

/* ---- websess.c ---- */
enum tp_err websess_load(struct auth *auth, struct tp_error *error) TP_MUST;
/* Is the session with this key (caller.web_key) still there? */
bool websess_alive(const struct auth *auth, const char *key);
void websess_free(struct auth *auth);
struct websess_from {
    const char *ip;
    const char *agent;  /* what the browser calls itself: foreign text, for the owner's eyes */
    const char *device; /* UUID of the device whose code the login gave */
};
/* A new session: {sid, token, expires, user}. */
enum tp_err websess_make(struct auth *auth, const char *user, const json_t *roles, const json_t *traits,
                         const struct websess_from *from, int64_t ttl_ms, json_t **ret_result,
                         struct tp_error *error) TP_MUST;
/* idle: the page asks by itself, its person has done nothing; such a call does not count as use of the session. */
enum tp_err websess_check(struct auth *auth, const char *sid, const char *token, bool idle, struct caller *caller,
                          struct tp_error *error) TP_MUST;
void websess_drop(struct auth *auth, const char *key);
/* A one-time code was given in this session; an older one counts no longer. */
void websess_give_mfa(struct auth *auth, const char *key, const struct mfa_given *given);
/* The device that a session hangs on, or NULL: there is none, or no such session. */
const char *websess_device(const struct auth *auth, const char *key);
/* From now on it hangs on this one: its person has just shown a code of it. */
enum tp_err websess_set_device(struct auth *auth, const char *key, const char *device, struct tp_error *error) TP_MUST;
void websess_drop_user(struct auth *auth, const char *user);
void websess_sweep(struct auth *auth);

/* ---- resources.c ---- */
/* Keeps the caches right after a role or lock changed in the store. resource NULL: deleted. */
void resources_role_changed(struct auth *auth, const char *name, struct role *role);

/* ---- put_group.c ---- */
struct put_group *put_group_new(struct auth *auth) TP_MUST;
/* Nothing may wait in it any more (put_group_flush). NULL is fine. */
void put_group_free(struct put_group *group);
/* Writes what waits, now. Every call but resources.put begins with it, so that each sees what was asked for before. */
void put_group_flush(struct auth *auth);

#include "auth/handlers.h"

#endif

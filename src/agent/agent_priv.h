/* What the files of the agent share. */
#ifndef AGENT_AGENT_PRIV_H
#define AGENT_AGENT_PRIV_H

#include "agent/agent_labels.h"
#include "agent/agent_state.h"
#include "base/map.h"
#include "core/conf.h"
#include "core/crowd.h"
#include "core/dial.h"
#include "core/rpc.h"
#include "tls/tls_stream.h"
#include "tunnel/rpc_line.h"
#include "tunnel/tunnel.h"

#define AGENT_SLOTS 2 /* tunnels held at once */

struct agent;
struct join;
struct session;
struct up_call;
struct conn;
struct kube_cluster_conf;

/* One of the tunnels that we want to have. */
struct slot {
    struct agent *agent;
    struct conn *conn; /* being made or up; NULL: waiting for retry */
    struct timer *retry;
    struct timer *spread; /* both tunnels end in one process of the proxy: try to move this one */
    unsigned spread_tries;
    unsigned failures;
    char *last_failure; /* said in the log once per change */
};

/* Grants that have been used, until they expire (agent_grant.c). */
struct seen_grants {
    int64_t started_ms, started_mono_ms; /* of this process */
    bool machine_starts;                 /* just then: what was noted before may be lost */
    struct map *by_sid;
    struct seen_sid *first, *last;
};

struct agent {
    struct loop *loop;
    struct rpc *control;
    struct rpc *local; /* auth on this machine, or NULL */
    struct conf *conf;
    char *dir; /* DATA_DIR/agent */
    char *session_path;
    char *session_user;
    char *proxy_addr;
    char *version;
    bool local_auth;
    bool draining;
    bool stopping;
    bool failed; /* could not start */
    char *proxy_host;
    uint16_t proxy_port;

    bool joined;
    struct agent_state state;
    struct tls_context *tls;
    struct join *join;

    struct slot slots[AGENT_SLOTS];
    struct conn *conns;      /* all, also those that drain */
    struct timer *idle_look; /* while draining or stopping */
    int64_t stop_by_ms;

    struct up_call *calls, **calls_end; /* oldest first */
    size_t kept;                        /* bytes of the reports that were not heard at first */
    bool kept_full;                     /* it has been said that some are lost */
    struct labels *labels;
    struct labels *kube_labels;              /* of kubernetes_service */
    struct kube_cluster_conf *kube_clusters; /* as read at the start; they do not change */
    size_t kube_cluster_count;
    struct timer *kube_retry;
    struct kube_probe *kube_probe;
    struct kube *kube; /* made with the first connection */
    char *kube_failure;
    struct timer *heartbeat;
    struct timer *renew;
    struct timer *renew_soon; /* after a rotation: at a time of this host's own */
    uint32_t renew_share;     /* random, for the same reason: how much later than others it renews by age */
    struct timer *refresh;
    bool heartbeat_out;
    bool heartbeat_again;
    bool renew_out;
    char *heartbeat_failure;
    int64_t renamed_ms; /* mono: when a certificate for another nodename was last asked for; 0: never */

    struct session *sessions;
    size_t session_count;
    struct crowd *crowd; /* of sessions */
    struct seen_grants seen;
};

/* agent_join.c: gets the first identity, retries until it has one, then calls agent_joined. */
void join_start(struct agent *agent);
void join_stop(struct agent *agent);
/* The line to the local auth has come. */
void join_local_ready(struct agent *agent);

/* agent.c: state is there (agent->state): starts tunnels, heartbeats and renewal. */
void agent_joined(struct agent *agent);
/* Replaces the identity after a renewal (state is moved out of fresh). New connections use it. */
enum tp_err agent_use_state(struct agent *agent, struct agent_state *fresh, struct tp_error *error) TP_MUST;
/* Ends the process when draining or stopping and nothing is left. */
void agent_check_idle(struct agent *agent);
/* Logs a failure when it differs from *last, and remembers it; NULL error: it works again. */
void agent_log_change(char **last, const char *what, const struct tp_error *error);

/* agent_link.c: tunnels. */
void link_start(struct agent *agent);
/* No new tunnels; asks the other side of each to move, or closes them. */
void link_drain(struct agent *agent);
void link_stop(struct agent *agent);
/* A line on which auth can be asked now, or NULL. */
struct rpc *link_rpc(struct agent *agent);

/* agent_up.c: calls to auth. Waits up to UP_WAIT_MS for a line. Exactly one call of fn, never inside up_request, unless
 * cancelled. params are stolen. */
#define UP_WAIT_MS 10000
struct up_call *up_request(struct agent *agent, const char *method, json_t *params, rpc_reply_cb *fn, void *ctx);
/* What auth must hear: repeated while auth can't be reached, or takes no more now (it gets a name, "report", by which auth sees
 * that it is the same), for UP_REPORT_MS at most, and while all that are kept so take no more than UP_KEPT_MAX (less than a line
 * takes at once). Then one may overtake another. fn, which may be NULL, as above; params are stolen. */
#define UP_KEPT_MAX ((size_t)64 * 1024 * 1024)
#define UP_REPORT_MS ((int64_t)5 * 60 * 1000)
struct up_call *up_report(struct agent *agent, const char *method, json_t *params, rpc_reply_cb *fn, void *ctx);
/* fn will not be called; the call itself goes on. */
void up_cancel(struct up_call *call);
/* A line has come up: what waits goes out. */
void up_flush(struct agent *agent);
/* Drops all calls without calling anybody. */
void up_stop(struct agent *agent);

/* agent_host.c: heartbeats, renewal, trust. */
void host_start(struct agent *agent);
void host_stop(struct agent *agent);
/* Sends a heartbeat now. */
void host_beat(struct agent *agent);
/* Asks what to trust now, and renews when the host CA has changed since our certificate was made. */
void host_refresh(struct agent *agent);
/* Dials new tunnels with the certificate of now; the old ones take no new streams and end with their sessions. */
void link_move(struct agent *agent);
/* Labels of the configuration as {name: value}. */
json_t *agent_labels_of(const struct conf_labels *labels) TP_MUST;

/* agent_kube.c: the Kubernetes clusters of this host. */
/* Reads them where kubernetes_service is on, again each 10 s until that works; then a heartbeat tells auth, and the log whether
 * people can be impersonated in them. */
void kube_clusters_start(struct agent *agent);
/* No further tries. What was read stays until kube_clusters_free. */
void kube_clusters_stop(struct agent *agent);
void kube_clusters_free(struct agent *agent);
/* One that was registered, valid as long as the agent; NULL when there is none of that name (R15: nothing else may be
 * reached through this host). */
const struct kube_cluster_conf *kube_clusters_find(const struct agent *agent, const char *name);
/* [{name, labels {}, cmd_labels {}}] for host.heartbeat. */
json_t *kube_clusters_report(const struct agent *agent) TP_MUST;

/* agent_kube_open.c: Kubernetes connections. */
void kube_stream_open(struct agent *agent, struct tunnel_stream *stream, const uint8_t *grant, size_t size);

/* agent_grant.c: the process begins. */
void agent_grants_init(struct agent *agent);
/* Signed by auth, for this host and service, not expired, not used before, also by an agent before or beside this one (and now
 * it has been: agent_used.h; where that can't be known, not from before this process); its session is new, or, where the grant
 * says "resume", still open. The caller json_decref's ret_grant. TP_DENIED with a sentence. */
enum tp_err agent_open_grant(struct agent *agent, const char *service, const uint8_t *data, size_t size,
                             json_t **ret_grant, struct tp_error *error) TP_MUST;
/* Forgets those that have expired by both clocks, as the next grant would; with each heartbeat. now: Unix seconds; mono_ms:
 * clock_mono_ms. */
void agent_grants_sweep(struct agent *agent, int64_t now, int64_t mono_ms);
/* Forgets which were used. */
void agent_grants_free(struct agent *agent);

/* agent_session.c: SSH connections. */
/* An SSH connection with that sid is there. */
bool session_is_open(struct agent *agent, const char *sid);
/* service: "ssh", or "term" for a terminal, which a second stream with a grant to resume it may join. */
void session_open(struct agent *agent, struct tunnel_stream *stream, const char *service, const uint8_t *grant,
                  size_t size);
/* Auth ended this session (event session.cut): the person is told text, then the connection ends. No such session: nothing. */
void session_cut(struct agent *agent, const char *sid, enum close_reason reason, const char *text);
/* Somebody began or stopped watching one of its terminals (event session.watched; text is fit for a terminal): the person is
 * told. No such session: nothing. */
void session_watched(struct agent *agent, const char *text, const json_t *params);
/* Ends all of them; their people are told that the agent has stopped. */
void session_stop_all(struct agent *agent);

#endif

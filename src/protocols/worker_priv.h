/* What the files of the worker process share. Nobody outside src/protocols includes it. */
#ifndef PROTOCOLS_WORKER_PRIV_H
#define PROTOCOLS_WORKER_PRIV_H

#include "base/map.h"
#include "core/crowd.h"
#include "core/rpc.h"
#include "core/stream.h"
#include "protocols/mux/proxyproto.h"
#include "tls/tls_stream.h"
#include "tunnel/tunnel.h"

#include <netinet/in.h>

#define HOLDER_SIZE 17

struct web;
struct listener;
struct host_tunnel;

enum route_kind {
    ROUTE_WEB,    /* HTTP: pages and public API */
    ROUTE_JOIN,   /* the same from hosts that join: shows a certificate of the host CA, which their pin is for */
    ROUTE_API,    /* HTTP with a user's certificate: tport and tportctl */
    ROUTE_SSH,    /* bytes to a node */
    ROUTE_KUBE,   /* HTTP to a Kubernetes cluster, which the agent reads */
    ROUTE_TUNNEL, /* an agent dials in */
    ROUTE_COUNT
};

struct worker {
    struct loop *loop;
    unsigned number; /* unique for the life of the master */
    struct rpc *master;
    struct rpc *auth; /* NULL while auth is away */
    json_t *config;
    const char *cluster_name; /* owned by config */
    char *public_host;        /* host of the first public address, for links */
    int public_port;
    struct tls_context *contexts[ROUTE_COUNT];
    struct timer *refresh; /* our own certificate */
    struct lock_view *locks;
    struct web *web;
    struct listener *listeners;
    struct map *host_loads;   /* host id -> struct host_load */
    struct map *host_tunnels; /* host id -> struct host_tunnel, a list per host */
    struct map *routes;       /* host id -> struct route, told by auth */
    struct map *routes_by_name;
    struct map *kube_hosts; /* label of a Kubernetes cluster -> array of host ids (json_t) */
    struct map *sessions;   /* session id -> struct target_front */
    struct map *terminals;  /* session id -> struct term_front */
    struct map *half_open;  /* source -> count, cast to a pointer */
    size_t half_open_total;
    size_t connections; /* all, of every kind */
    struct crowd *crowd;
    uint64_t last_connection_id;
    unsigned last_tunnel_number;
    struct cidr *proxy_trusted;
    size_t proxy_trusted_count;
    char holder[HOLDER_SIZE]; /* a random name of this process, for agents that want their tunnels in two */
    bool draining;
    int64_t drain_limit; /* loop time at which the last ones are cut */
    bool ready;          /* contexts are made, listeners accept */
};

/* Where a connection came from and what it asked for; copied from owner to owner. */
struct peer {
    uint64_t id;
    char address[ADDRESS_TEXT_SIZE]; /* "IP:PORT", of the client behind a balancer when that says so */
    char source[INET6_ADDRSTRLEN];   /* see address_source */
    enum route_kind route;
    char server_name[256];
    const char *about; /* " key=value" for the line of its end, or NULL */
};

/* The caller object for auth (docs/protocol-rpc.md): kind "user" or "host" with the peer's certificate of stream. */
json_t *worker_caller(const char *kind, const struct stream *stream, const struct peer *peer) TP_MUST;
/* A request whose answer nobody waits for; dropped while auth is away. params is stolen. */
void worker_tell_auth(struct worker *worker, const char *method, json_t *params);
/* One log line for the end of a connection; counts it out. */
void worker_connection_closed(struct worker *worker, const struct peer *peer, enum close_reason reason,
                              const char *detail, uint64_t rx, uint64_t tx);
/* Exits when draining and nothing is left. */
void worker_maybe_exit(struct worker *worker);

/* front.c: a fresh connection, from accept or from another worker (handed: the PROXY header has been read). Takes fd. */
void front_accept(struct worker *worker, int fd, const struct sockaddr *address, bool handed);

/* listener.c */
void listener_add(struct worker *worker, int fd);
void listeners_start(struct worker *worker);
void listeners_stop(struct worker *worker); /* closes them */

/* tunnels.c: agents' tunnels of this worker and the routes of all. */
void tunnels_serve(struct worker *worker, struct stream *stream, const struct peer *peer);
/* A tunnel of that host here that takes new streams, or NULL. */
struct tunnel *tunnels_find(const struct worker *worker, const char *host_id);
/* The worker that holds a tunnel for a host name or id: our own number, another's, or -1. */
int tunnels_where(const struct worker *worker, const char *target);
/* The worker for a Kubernetes cluster's label: our own number when a host that serves it has a tunnel here, else one of the
 * others by chance, or -1. */
int tunnels_where_kube(const struct worker *worker, const char *label);
/* Does an agent that dials with this server name want a worker other than this one (and is there one)? */
bool tunnels_wants_other(const struct worker *worker, const char *server_name);
/* May an agent call this method of auth in its own rpc stream? */
bool tunnels_is_agent_method(const char *method);
void tunnels_route_set(struct worker *worker, const json_t *params);
void tunnels_cut(struct worker *worker, const char *host_id, enum close_reason reason);
/* An event to the agent of this host, on each rpc stream that it has here; nothing when there is none. params is stolen. */
void tunnels_tell_agent(const struct worker *worker, const char *host_id, const char *event, json_t *params);
/* The same without params, to all agents. */
void tunnels_tell_agents(struct worker *worker, const char *event);
void tunnels_report_all(struct worker *worker); /* to a new auth process */
void tunnels_drain(struct worker *worker);
/* Closes the tunnels that carry no session: their agents had time to move. */
void tunnels_drop_idle(struct worker *worker);

/* ssh_front.c: a client's connection to a node. */
void ssh_front_serve(struct worker *worker, struct stream *stream, const struct peer *peer);
/* "<hex>.node.<cluster>" to the name; TP_INVALID otherwise. */
enum tp_err ssh_front_target(const char *server_name, const char *cluster, char *ret_name, size_t size) TP_MUST;

/* kube_front.c: a client's connection to a Kubernetes cluster. */
#define KUBE_LABEL_MAX 63 /* one DNS label, which a wildcard of our certificate covers */
void kube_front_serve(struct worker *worker, struct stream *stream, const struct peer *peer);
/* "<label>.kube.<cluster>" to the label in lower case: hex of the cluster's name, or "h" and hex of its hash, which auth
 * knows how to read. TP_INVALID for another server name. */
enum tp_err kube_front_target(const char *server_name, const char *cluster, char *ret_label, size_t size) TP_MUST;

/* target_front.c */
/* The grant of a connection is gone: what the client sends is dropped from now on; where its kind has a last word the agent
 * has half a second to say why; then both sides are closed. reason and text are those of auth (`session.cut`). */
void target_front_cut(struct worker *worker, const char *sid, enum close_reason reason, const char *text);
/* Tells a new line to auth which sessions are alive here (`session.resume`). */
void target_front_report_all(struct worker *worker);

#endif

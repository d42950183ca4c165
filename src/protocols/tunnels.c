/*
 * Agents' tunnels that end in this worker, and the table of who holds which host (told by auth to all workers).
 *
 * Happy path: TLS with a node's certificate is done; the tunnel speaks; auth is told (tunnel.up) and agrees; from then on
 * clients' streams are opened in it, and the agent's own "rpc" streams are passed on to auth with the host's certificate.
 * Failure: auth refuses (lock, unknown host), or is away: the tunnel closes and the agent comes back by itself.
 */
#include "protocols/worker_priv.h"

#include "base/clock.h"
#include "base/enc.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypt/key.h"
#include "protocols/host_load.h"
#include "tunnel/rpc_line.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define REFUSED_RPC "the auth service is not available now"
#define LINES_MAX 4                               /* an agent uses one; each may hold a frame of 16 MB */
#define REPORT_MAX ((size_t)4 * 1024 * 1024)      /* about sessions; what a host says of itself costs it credit */
#define TUNNELS_PER_HOST_MAX 16                   /* an agent has one, and dead ones for as long as silence lasts */
#define AUTH_QUEUE_MAX ((size_t)64 * 1024 * 1024) /* agents wait before our own line to auth overflows and ends */

/* One rpc stream that the agent opened. */
struct agent_line {
    struct host_load_line entry;
    struct host_tunnel *host; /* alive: a tunnel ends its streams before itself */
    struct rpc_line *line;
};

struct host_tunnel {
    struct worker *worker;
    struct peer peer;
    struct tunnel *tunnel;
    struct host_load *load;
    struct host_tunnel *next; /* other tunnels of the same host */
    char *host_id;
    char *name;
    char *cert; /* base64 DER, for auth */
    unsigned number;
    int64_t made_ms;         /* clock_mono_ms */
    int64_t online_since;    /* as auth says it, 0: it has not; for an auth that takes its place */
    unsigned lines;          /* rpc streams now open */
    struct agent_line *line; /* the newest of them, or NULL: for what we have to tell the agent */
    bool up;                 /* auth agreed */
    bool listed;
};

struct route {
    char *host_id;
    char *name;
    int worker;
    json_t *kube; /* labels of the Kubernetes clusters it serves */
};

/* An agent's call on its way to auth. */
struct forward {
    struct rpc_call *call;
    struct host_load *load;
    size_t size; /* of the call */
};

static json_t *host_caller(const struct host_tunnel *host)
{
    return json_pack("{s:s, s:s, s:s}", "kind", "host", "cert", host->cert, "addr", host->peer.address);
}

/* ---- the registry of this worker ---- */

static void list_add(struct host_tunnel *host)
{
    host->next = map_get(host->worker->host_tunnels, host->host_id);
    (void)map_set(host->worker->host_tunnels, host->host_id, host);
    host->listed = true;
}

static void list_remove(struct host_tunnel *host)
{
    struct host_tunnel *first = map_get(host->worker->host_tunnels, host->host_id);
    if (!host->listed)
        return;
    host->listed = false;
    if (first == host) {
        if (host->next)
            (void)map_set(host->worker->host_tunnels, host->host_id, host->next);
        else
            (void)map_remove(host->worker->host_tunnels, host->host_id);
        return;
    }
    while (first && first->next != host)
        first = first->next;
    if (first)
        first->next = host->next;
}

struct tunnel *tunnels_find(const struct worker *worker, const char *host_id)
{
    for (struct host_tunnel *host = map_get(worker->host_tunnels, host_id); host; host = host->next) {
        if (host->up && !tunnel_is_draining(host->tunnel))
            return host->tunnel;
    }
    return NULL;
}

/* ---- the agent's calls to auth ---- */

static void on_forward_answer(void *ctx, const char *text, size_t size, const struct tp_error *error)
{
    struct forward *forward = ctx;
    host_load_end(forward->load, forward->size);
    if (error)
        rpc_fail(forward->call, error);
    else
        rpc_reply_text(forward->call, text, size);
    mem_free(forward);
}

/* A host may call more in auth's table, but through this worker only: tunnel.up from the agent itself would make up tunnels
 * that nobody holds. */
bool tunnels_is_agent_method(const char *method)
{
    static const char *const methods[] = {
        "cluster.info",  "cluster.cas",   "host.renew",     "host.heartbeat", "session.auth",
        "session.start", "session.event", "session.events", "session.end",    "recording.append",
    };
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(methods[i], method) == 0)
            return true;
    }
    return false;
}

static void on_agent_call(void *ctx, struct rpc_call *call, const char *method)
{
    const struct agent_line *line = ctx;
    const struct host_tunnel *host = line->host;
    struct forward *forward;
    if (!tunnels_is_agent_method(method)) {
        rpc_fail_text(call, TP_DENIED, "an agent may not use this call");
        return;
    }
    if (rpc_call_size(call) > REPORT_MAX && strncmp(method, "host.", 5) != 0) {
        rpc_fail_text(call, TP_TOO_LARGE, "a report has at most %zu MB", REPORT_MAX >> 20);
        return;
    }
    if (!host->worker->auth || rpc_queued(host->worker->auth) > AUTH_QUEUE_MAX) {
        rpc_fail_text(call, TP_UNAVAILABLE, REFUSED_RPC);
        return;
    }
    forward = mem_alloc(sizeof(*forward));
    forward->call = call;
    forward->load = host->load;
    forward->size = rpc_call_size(call);
    host_load_begin(forward->load, forward->size);
    if (!rpc_pass_on(host->worker->auth, call, host_caller(host), on_forward_answer, forward)) {
        host_load_end(forward->load, forward->size);
        mem_free(forward);
        rpc_fail_text(call, TP_TOO_LARGE, "the call is too large, or holds more than a method and its params");
    }
}

static void on_agent_request(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                             json_t *caller, int fd)
{
    (void)rpc;
    (void)params;
    (void)fd;
    /* The agent does not say who it is: its certificate does (R15). */
    if (caller)
        rpc_fail_text(call, TP_DENIED, "an agent speaks for itself only");
    else
        on_agent_call(ctx, call, method);
}

static const struct rpc_events agent_rpc_events = {.on_request = on_agent_request, .on_unread = on_agent_call};

static void on_line_close(void *ctx, enum close_reason reason)
{
    struct agent_line *line = ctx;
    (void)reason;
    host_load_line_remove(&line->entry);
    line->host->lines--;
    if (line->host->line == line)
        line->host->line = NULL;
    mem_free(line);
}

static const struct rpc_line_events line_events = {.rpc = &agent_rpc_events, .on_close = on_line_close};

/* ---- two tunnels, two workers ---- */

static bool has_others(const struct worker *worker)
{
    return json_get_int(worker->config, "workers", 1) > 1;
}

/* "not-HOLDER.tunnel.CLUSTER": a hint that nobody vouches for, so it only chooses between our own workers. */
bool tunnels_wants_other(const struct worker *worker, const char *server_name)
{
    char *ours = mem_printf("not-%s.tunnel.%s", worker->holder, worker->cluster_name);
    bool wants = strcasecmp(server_name, ours) == 0 && has_others(worker);
    mem_free(ours);
    return wants;
}

/* ---- one tunnel ---- */

/* The tunnel may die while auth is asked: the question carries numbers, not pointers. */
struct up_question {
    struct worker *worker;
    char *host_id;
    unsigned number;
};

static struct host_tunnel *by_number(const struct worker *worker, const char *host_id, unsigned number)
{
    struct host_tunnel *host = map_get(worker->host_tunnels, host_id);
    while (host && host->number != number)
        host = host->next;
    return host;
}

/* The auth process went away before it answered. The next one is told anew (tunnels_report_all); what runs through the tunnel has
 * nothing to do with it. One that was never up is closed: its agent comes again. */
static bool is_told_again(const struct host_tunnel *host, const struct tp_error *error)
{
    return host->up && (error->code == TP_CLOSED || error->code == TP_UNAVAILABLE);
}

static void on_up(void *ctx, json_t *result, const struct tp_error *error)
{
    struct up_question *question = ctx;
    struct host_tunnel *host = by_number(question->worker, question->host_id, question->number);
    if (host && result)
        host->online_since = json_get_int(result, "online_since", 0);
    if (host && error && !is_told_again(host, error)) {
        log_warn("tunnel refused", "id=%llu host=%s why=\"%s\"", (unsigned long long)host->peer.id, host->host_id,
                 error->text);
        tunnel_close(host->tunnel, error->code == TP_DENIED ? CLOSE_LOCKED : CLOSE_AUTH_UNAVAILABLE);
    } else if (host && !error && !host->up) {
        host->up = true;
        log_info("tunnel up", "id=%llu peer=%s host=%s name=\"%s\"", (unsigned long long)host->peer.id,
                 host->peer.address, host->host_id, host->name);
    }
    mem_free(question->host_id);
    mem_free(question);
}

static void report(struct host_tunnel *host)
{
    struct worker *worker = host->worker;
    struct up_question *question;
    if (!worker->auth) {
        tunnel_close(host->tunnel, CLOSE_AUTH_UNAVAILABLE);
        return;
    }
    question = mem_alloc(sizeof(*question));
    question->worker = worker;
    question->host_id = mem_strdup(host->host_id);
    question->number = host->number;
    (void)rpc_request(worker->auth, "tunnel.up",
                      json_pack("{s:i, s:i, s:I, s:I}", "worker", (int)worker->number, "tunnel", (int)host->number,
                                "age", (json_int_t)(clock_mono_ms() - host->made_ms), "online_since",
                                (json_int_t)host->online_since),
                      host_caller(host), 0, on_up, question);
}

static size_t tunnels_of_host(const struct worker *worker, const char *host_id)
{
    size_t count = 0;
    for (const struct host_tunnel *host = map_get(worker->host_tunnels, host_id); host; host = host->next)
        count++;
    return count;
}

static void on_tunnel_ready(void *ctx)
{
    struct host_tunnel *host = ctx;
    if (tunnels_of_host(host->worker, host->host_id) >= TUNNELS_PER_HOST_MAX) {
        tunnel_close(host->tunnel, CLOSE_CONNECTION_LIMIT);
        return;
    }
    list_add(host);
    report(host);
    if (host->worker->draining)
        tunnel_drain(host->tunnel);
}

static void on_tunnel_open(void *ctx, struct tunnel_stream *stream, const char *kind, const uint8_t *header,
                           size_t size)
{
    struct host_tunnel *host = ctx;
    (void)header;
    /* The only thing an agent may open towards us. */
    if (strcmp(kind, "rpc") == 0 && size == 0 && host->lines >= LINES_MAX) {
        tunnel_stream_close(stream, CLOSE_CONNECTION_LIMIT, "too many rpc streams");
    } else if (strcmp(kind, "rpc") == 0 && size == 0) {
        struct agent_line *line = mem_alloc(sizeof(*line));
        host->lines++;
        host->line = line;
        line->host = host;
        line->line = rpc_line_accept(host->worker->loop, stream, &line_events, line);
        host_load_line_add(host->load, &line->entry, line->line);
        rpc_event(rpc_line_rpc(line->line), "tunnel.holder",
                  json_pack("{s:s, s:b}", "holder", host->worker->holder, "others", (int)has_others(host->worker)));
    } else {
        tunnel_stream_close(stream, CLOSE_ACCESS_DENIED, "only rpc streams go this way");
    }
}

static void on_tunnel_close(void *ctx, enum close_reason reason)
{
    struct host_tunnel *host = ctx;
    struct worker *worker = host->worker;
    list_remove(host);
    worker_tell_auth(worker, "tunnel.down",
                     json_pack("{s:i, s:i, s:s}", "worker", (int)worker->number, "tunnel", (int)host->number, "host_id",
                               host->host_id));
    worker_connection_closed(worker, &host->peer, reason, host->name, 0, 0);
    host_load_drop(host->load);
    mem_free(host->host_id);
    mem_free(host->name);
    mem_free(host->cert);
    mem_free(host);
}

static const struct tunnel_events tunnel_events = {
    .on_ready = on_tunnel_ready,
    .on_open = on_tunnel_open,
    .on_close = on_tunnel_close,
};

void tunnels_serve(struct worker *worker, struct stream *stream, const struct peer *peer)
{
    struct host_tunnel *host = mem_alloc(sizeof(*host));
    const struct identity *identity = tls_stream_identity(stream);
    size_t size = 0;
    const uint8_t *der = tls_stream_peer_der(stream, &size);

    host->worker = worker;
    host->peer = *peer;
    host->number = ++worker->last_tunnel_number;
    host->made_ms = clock_mono_ms();
    host->host_id = mem_strdup(identity && identity->host_id ? identity->host_id : "");
    host->load = host_load_get(worker->host_loads, host->host_id);
    host->name = mem_strdup(identity && identity->name ? identity->name : "");
    host->cert = enc_base64(der, size);
    host->tunnel = tunnel_new(worker->loop, stream, false, &tunnel_events, host);
}

/* ---- routes of all workers ---- */

static void route_free(struct route *route)
{
    if (!route)
        return;
    mem_free(route->host_id);
    mem_free(route->name);
    json_decref(route->kube);
    mem_free(route);
}

static void kube_remove(struct worker *worker, const struct route *route)
{
    size_t i;
    size_t k;
    json_t *label;
    json_t *host_id;
    json_array_foreach (route->kube, i, label) {
        json_t *hosts = map_get(worker->kube_hosts, json_string_value(label));
        json_array_foreach (hosts, k, host_id) {
            if (strcmp(json_string_value(host_id), route->host_id) == 0) {
                (void)json_array_remove(hosts, k);
                break;
            }
        }
        if (hosts && json_array_size(hosts) == 0)
            json_decref(map_remove(worker->kube_hosts, json_string_value(label)));
    }
}

static void kube_add(struct worker *worker, const struct route *route)
{
    size_t i;
    json_t *label;
    json_array_foreach (route->kube, i, label) {
        json_t *hosts = map_get(worker->kube_hosts, json_string_value(label));
        if (!hosts) {
            hosts = json_array();
            (void)map_set(worker->kube_hosts, json_string_value(label), hosts);
        }
        (void)json_array_append_new(hosts, json_string(route->host_id));
    }
}

void tunnels_route_set(struct worker *worker, const json_t *params)
{
    const char *host_id = json_get_text(params, "host_id", "");
    const char *name = json_get_text(params, "name", "");
    int64_t where = json_get_int(params, "worker", -1);
    struct route *old = map_remove(worker->routes, host_id);

    if (old && map_get(worker->routes_by_name, old->name) == old)
        (void)map_remove(worker->routes_by_name, old->name);
    if (old)
        kube_remove(worker, old);
    route_free(old);
    if (where >= 0) {
        struct route *route = mem_alloc(sizeof(*route));
        route->host_id = mem_strdup(host_id);
        route->name = mem_strdup(name);
        route->worker = (int)where;
        route->kube = json_deep_copy(json_object_get(params, "kube"));
        (void)map_set(worker->routes, host_id, route);
        (void)map_set(worker->routes_by_name, name, route);
        kube_add(worker, route);
    }
}

int tunnels_where(const struct worker *worker, const char *target)
{
    const struct route *route = map_get(worker->routes, target);
    if (!route)
        route = map_get(worker->routes_by_name, target);
    if (!route)
        return -1;
    /* A tunnel here is as good as the one auth named, and nearer. */
    return tunnels_find(worker, route->host_id) ? (int)worker->number : route->worker;
}

int tunnels_where_kube(const struct worker *worker, const char *label)
{
    const json_t *hosts = map_get(worker->kube_hosts, label);
    size_t count = json_array_size(hosts);
    uint32_t random = 0;
    for (size_t i = 0; i < count; i++) {
        if (tunnels_find(worker, json_string_value(json_array_get(hosts, i))))
            return (int)worker->number;
    }
    if (count == 0)
        return -1;
    crypt_random(&random, sizeof(random));
    const struct route *route = map_get(worker->routes, json_string_value(json_array_get(hosts, random % count)));
    return route ? route->worker : -1;
}

/* ---- all of them ---- */

static void report_one(void *ctx, const char *key, void *value)
{
    (void)ctx;
    (void)key;
    /* One that drains takes nothing new: nobody needs a way to it, and its certificate may be from before a rotation. */
    for (struct host_tunnel *host = value; host; host = host->next) {
        if (!tunnel_is_draining(host->tunnel))
            report(host);
    }
}

void tunnels_report_all(struct worker *worker)
{
    map_each(worker->host_tunnels, report_one, NULL);
}

static void drain_one(void *ctx, const char *key, void *value)
{
    (void)ctx;
    (void)key;
    for (struct host_tunnel *host = value; host; host = host->next)
        tunnel_drain(host->tunnel);
}

static void drop_one(void *ctx, const char *key, void *value)
{
    (void)ctx;
    (void)key;
    /* What carries nothing but the agent's own calls is done; a session keeps its tunnel. */
    for (struct host_tunnel *host = value; host; host = host->next) {
        if (tunnel_stream_count(host->tunnel) <= host->lines)
            tunnel_close(host->tunnel, CLOSE_DRAIN);
    }
}

void tunnels_drop_idle(struct worker *worker)
{
    map_each(worker->host_tunnels, drop_one, NULL);
}

void tunnels_drain(struct worker *worker)
{
    map_each(worker->host_tunnels, drain_one, NULL);
}

void tunnels_tell_agent(const struct worker *worker, const char *host_id, const char *event, json_t *params)
{
    for (const struct host_tunnel *host = map_get(worker->host_tunnels, host_id); host; host = host->next) {
        if (host->up && host->line && rpc_line_rpc(host->line->line))
            rpc_event(rpc_line_rpc(host->line->line), event, json_incref(params));
    }
    json_decref(params);
}

struct tell {
    const struct worker *worker;
    const char *event;
};

static void tell_one(void *ctx, const char *key, void *value)
{
    const struct tell *tell = ctx;
    (void)value;
    tunnels_tell_agent(tell->worker, key, tell->event, json_object());
}

void tunnels_tell_agents(struct worker *worker, const char *event)
{
    map_each(worker->host_tunnels, tell_one, &(struct tell){worker, event});
}

void tunnels_cut(struct worker *worker, const char *host_id, enum close_reason reason)
{
    for (struct host_tunnel *host = map_get(worker->host_tunnels, host_id); host; host = host->next)
        tunnel_close(host->tunnel, reason);
}

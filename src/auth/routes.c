/* Which worker holds whose tunnel. All workers are told of each change. */
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/kube.h"

#include <string.h>

#define BREAK_MS ((int64_t)30 * 1000) /* agents are back after any restart of the proxy in that time */

static json_t *route_json(const struct host *host)
{
    const struct tunnel_ref *top = host->tunnels;
    return json_pack("{s:s, s:s, s:i, s:I, s:o}", "host_id", host->id, "name", host->name, "worker",
                     top != NULL ? top->worker : -1, "tunnel", (json_int_t)(top != NULL ? top->tunnel : 0), "kube",
                     kube_route_labels(host));
}

void routes_tell(struct auth *auth, const struct host *host)
{
    auth_tell_workers(auth, "route.set", route_json(host));
}

static void send_one(void *ctx, const char *key, void *value)
{
    struct link *link = ctx;
    const struct host *host = value;
    (void)key;
    if (host->tunnels != NULL) {
        rpc_event(link->rpc, "route.set", route_json(host));
    }
}

void routes_send_all(struct auth *auth, struct link *link)
{
    map_each(auth->hosts, send_one, link);
}

void routes_free(struct host *host)
{
    while (host->tunnels != NULL) {
        struct tunnel_ref *ref = host->tunnels;
        host->tunnels = ref->next;
        mem_free(ref);
    }
}

/* Takes one tunnel (tunnel -1: all) of a worker out; true when there was one. */
static bool drop(struct host *host, int worker, int64_t tunnel)
{
    bool found = false;
    for (struct tunnel_ref **at = &host->tunnels; *at != NULL;) {
        struct tunnel_ref *ref = *at;
        if (ref->worker == worker && (tunnel == -1 || ref->tunnel == tunnel)) {
            *at = ref->next;
            mem_free(ref);
            found = true;
        } else {
            at = &ref->next;
        }
    }
    if (found) {
        host->last_seen_ms = clock_wall_ms();
        host->gone_ms = host->tunnels == NULL ? host->last_seen_ms : host->gone_ms;
    }
    return found;
}

struct gone {
    struct auth *auth;
    int worker;
};

static void worker_gone(void *ctx, const char *key, void *value)
{
    struct gone *gone = ctx;
    struct host *host = value;
    (void)key;
    if (drop(host, gone->worker, -1)) {
        routes_tell(gone->auth, host);
    }
}

void routes_worker_gone(struct auth *auth, int worker)
{
    map_each(auth->hosts, worker_gone, &(struct gone){auth, worker});
}

/* Before its tunnels change. came_ms (0: not known) is what the auth before told the worker. */
static void count_from(struct host *host, int64_t age_ms, int64_t came_ms)
{
    int64_t now = clock_wall_ms();
    int64_t since = now - (age_ms > 0 ? age_ms : 0);
    int64_t came = came_ms > 0 && came_ms < since ? came_ms : since;
    bool anew = host->tunnels == NULL && (host->gone_ms == 0 || now - host->gone_ms > BREAK_MS);
    if (host->tunnels == NULL || since < host->online_ms) {
        host->online_ms = since;
    }
    if (anew || came < host->came_ms) {
        host->came_ms = came;
    }
}

/* The worker's number is that of its line: a worker cannot claim another one's tunnels. */
void do_tunnel_up(struct call *call)
{
    struct auth *auth = call->auth;
    struct host *host = hosts_get(auth, call->caller.host_id);
    int64_t tunnel = json_get_int(call->params, "tunnel", -1);
    if (tunnel < 0) {
        call_fail_text(call, TP_INVALID, "tunnel must be a number");
        return;
    }
    if (host == NULL) {
        call_fail_text(call, TP_DENIED, "this host is not registered");
        return;
    }
    (void)drop(host, call->caller.worker, tunnel);
    struct tunnel_ref *ref = mem_alloc(sizeof *ref);
    count_from(host, json_get_int(call->params, "age", 0), json_get_int(call->params, "online_since", 0));
    ref->worker = call->caller.worker;
    ref->tunnel = tunnel;
    ref->next = host->tunnels;
    host->tunnels = ref;
    host->last_seen_ms = clock_wall_ms();
    log_info("tunnel up", "host=%s name=\"%s\" worker=%d", host->id, host->name, ref->worker);
    routes_tell(auth, host);
    call_reply(call, json_pack("{s:s, s:s, s:I}", "host_id", host->id, "name", host->name, "online_since",
                               (json_int_t)host->came_ms));
}

void do_tunnel_down(struct call *call)
{
    struct auth *auth = call->auth;
    struct host *host = hosts_get(auth, json_get_text(call->params, "host_id", ""));
    int64_t tunnel = json_get_int(call->params, "tunnel", -2);
    if (host != NULL && tunnel >= 0 && drop(host, call->caller.worker, tunnel)) {
        log_info("tunnel down", "host=%s name=\"%s\" worker=%d", host->id, host->name, call->caller.worker);
        routes_tell(auth, host);
    }
    call_reply(call, NULL);
}

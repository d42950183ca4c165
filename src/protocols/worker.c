/*
 * The worker process. Life: master's event "config", listening sockets, the line to auth; then its own certificate and the
 * CAs from auth; then it accepts. Files that it hands out (event "file") come open. "drain": no new connections, tunnels
 * asked to move, exit when the last one has gone.
 *
 * Config from master: {number, cluster_name, public_addr ["host:port"], listen ["ip:port"], keypairs [{cert, key}],
 * proxy_protocol_trusted [cidr], version, log {level, json}}. The caller (bin/tportd.c) has dropped privileges already.
 */
#include "protocols/worker.h"

#include "base/enc.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypt/key.h"
#include "protocols/term_front.h"
#include "protocols/web/web.h"
#include "protocols/lock_view.h"
#include "protocols/worker_priv.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REFRESH_MS ((int64_t)60 * 60 * 1000) /* our certificate from auth */
#define RETRY_MS 500
#define CROWD 256          /* connections: worth giving memory back after */
#define DRAIN_MOVE_MS 5000 /* for agents to open tunnels elsewhere */
#define DRAIN_TICK_MS 1000
#define DRAIN_MAX_MS ((int64_t)12 * 60 * 60 * 1000) /* as long as a user certificate lives */

/* ---- helpers for all ---- */

json_t *worker_caller(const char *kind, const struct stream *stream, const struct peer *peer)
{
    size_t size = 0;
    const uint8_t *der = tls_stream_peer_der(stream, &size);
    char *cert = enc_base64(der, der ? size : 0);
    json_t *caller = json_pack("{s:s, s:s, s:s}", "kind", kind, "cert", cert, "addr", peer->address);
    mem_free(cert);
    return caller;
}

static void on_told(void *ctx, json_t *result, const struct tp_error *error)
{
    const char *method = ctx;
    (void)result;
    if (error && error->code != TP_CLOSED)
        log_warn("auth refused a report", "method=%s why=\"%s\"", method, error->text);
}

void worker_tell_auth(struct worker *worker, const char *method, json_t *params)
{
    if (worker->auth)
        (void)rpc_request(worker->auth, method, params, NULL, 0, on_told, (void *)(uintptr_t)method);
    else
        json_decref(params);
}

void worker_connection_closed(struct worker *worker, const struct peer *peer, enum close_reason reason,
                              const char *detail, uint64_t rx, uint64_t tx)
{
    static const char *const routes[ROUTE_COUNT] = {
        [ROUTE_WEB] = "web", [ROUTE_JOIN] = "join", [ROUTE_API] = "api",
        [ROUTE_SSH] = "ssh", [ROUTE_KUBE] = "kube", [ROUTE_TUNNEL] = "tunnel"};
    crowd_leave(worker->crowd, --worker->connections);
    if (close_is_error(reason) || peer->route == ROUTE_SSH || peer->route == ROUTE_KUBE || peer->route == ROUTE_TUNNEL)
        log_info("connection closed", "id=%llu peer=%s route=%s reason=%s rx=%llu tx=%llu%s%s%s%s",
                 (unsigned long long)peer->id, peer->address, routes[peer->route], close_name(reason),
                 (unsigned long long)rx, (unsigned long long)tx, peer->about ? peer->about : "",
                 *detail ? " detail=\"" : "", detail, *detail ? "\"" : "");
    else
        log_debug("connection closed", "id=%llu peer=%s route=%s reason=%s", (unsigned long long)peer->id,
                  peer->address, routes[peer->route], close_name(reason));
    worker_maybe_exit(worker);
}

void worker_maybe_exit(struct worker *worker)
{
    if (worker->draining && worker->connections == 0) {
        log_info("drained, exiting", "");
        loop_stop(worker->loop);
    }
}

/* ---- TLS contexts ---- */

static const char *const alpn_web[] = {"http/1.1", NULL};
static const char *const alpn_join[] = {"tport-join", NULL};
static const char *const alpn_api[] = {"tport-api", NULL};
static const char *const alpn_ssh[] = {"tport-ssh", NULL};
static const char *const alpn_tunnel[] = {"tport-tunnel", NULL};

static void make_contexts(struct worker *worker, const char *cert, const char *key, const char *user_cas,
                          const char *host_cas)
{
    const json_t *pair = json_array_get(json_object_get(worker->config, "keypairs"), 0);
    const struct {
        enum route_kind route;
        struct tls_context_options options;
    } rows[ROUTE_COUNT] = {
        {ROUTE_WEB,
         {.server = true,
          .cert_pem = json_get_text(pair, "cert", cert),
          .key_pem = json_get_text(pair, "key", key),
          .alpn = alpn_web,
          .peer = TLS_PEER_ANY}},
        {ROUTE_JOIN,
         {.server = true,
          .cert_pem = cert,
          .key_pem = key,
          .alpn = alpn_join,
          .alpn_required = true,
          .peer = TLS_PEER_ANY}},
        {ROUTE_API,
         {.server = true,
          .cert_pem = cert,
          .key_pem = key,
          .alpn = alpn_api,
          .alpn_required = true,
          .peer = TLS_PEER_USER,
          .ca_pems = user_cas}},
        {ROUTE_SSH,
         {.server = true,
          .cert_pem = cert,
          .key_pem = key,
          .alpn = alpn_ssh,
          .alpn_required = true,
          .peer = TLS_PEER_USER,
          .ca_pems = user_cas}},
        /* Who has no good certificate is told in a way that kubectl shows. */
        {ROUTE_KUBE,
         {.server = true,
          .cert_pem = cert,
          .key_pem = key,
          .alpn = alpn_web,
          .peer = TLS_PEER_USER_OR_NONE,
          .ca_pems = user_cas}},
        {ROUTE_TUNNEL,
         {.server = true,
          .cert_pem = cert,
          .key_pem = key,
          .alpn = alpn_tunnel,
          .alpn_required = true,
          .tls13_only = true,
          .peer = TLS_PEER_NODE,
          .ca_pems = host_cas}},
    };
    struct tls_context *made[ROUTE_COUNT] = {NULL};

    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        struct tp_error error = {0};
        if (tls_context_new(&rows[i].options, &made[rows[i].route], &error) != TP_OK) {
            log_error("can't use a certificate", "why=\"%s\"", error.text);
            for (size_t j = 0; j < ROUTE_COUNT; j++)
                tls_context_free(made[j]);
            return;
        }
    }
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        tls_context_free(worker->contexts[i]);
        worker->contexts[i] = made[i];
    }
    if (!worker->ready) {
        worker->ready = true;
        listeners_start(worker);
        rpc_event(worker->master, "ready", NULL);
        log_info("accepting connections", "");
    }
}

/* ---- what auth says ---- */

/* The answers of cluster.cas and proxy.cert, asked one after the other. */
struct refresh {
    struct worker *worker;
    char *key_pem;
    char *user_cas;
    char *host_cas;
};

static void refresh_free(struct refresh *refresh)
{
    secret_free(refresh->key_pem);
    mem_free(refresh->user_cas);
    mem_free(refresh->host_cas);
    mem_free(refresh);
}

static void refresh_failed(struct refresh *refresh, const char *what, const struct tp_error *error)
{
    struct worker *worker = refresh->worker;
    if (error->code != TP_CLOSED)
        log_error(what, "why=\"%s\"", error->text);
    timer_start(worker->refresh, RETRY_MS, 0);
    refresh_free(refresh);
}

static void on_cert(void *ctx, json_t *result, const struct tp_error *error)
{
    struct refresh *refresh = ctx;
    char *chain;
    if (error) {
        refresh_failed(refresh, "auth gave no certificate", error);
        return;
    }
    /* The CA goes along so that a client that only knows its pin can check the chain. */
    chain = mem_printf("%s%s", json_get_text(result, "tls_cert", ""), json_get_text(result, "ca", ""));
    make_contexts(refresh->worker, chain, refresh->key_pem, refresh->user_cas, refresh->host_cas);
    mem_free(chain);
    timer_start(refresh->worker->refresh, REFRESH_MS, 0);
    refresh_free(refresh);
}

static void add_name(json_t *names, json_t *ips, const char *address)
{
    char host[256];
    const char *colon = strrchr(address, ':');
    size_t length = colon && strchr(colon, ']') == NULL ? (size_t)(colon - address) : strlen(address);
    uint8_t bytes[16];
    if (*address == '[') {
        address++;
        length -= 2;
    }
    (void)snprintf(host, sizeof(host), "%.*s", (int)length, address);
    if (!*host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
        return;
    if (inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1) {
        if (!json_list_has(ips, host))
            (void)json_array_append_new(ips, json_string(host));
    } else if (!json_list_has(names, host)) {
        (void)json_array_append_new(names, json_string(host));
    }
}

static void ask_cert(struct refresh *refresh)
{
    struct worker *worker = refresh->worker;
    struct key *key = key_generate(KEY_P256);
    char *public_pem = key_public_pem(key);
    json_t *names = json_pack("[s, o, o, s]", worker->cluster_name, json_sprintf("*.node.%s", worker->cluster_name),
                              json_sprintf("*.kube.%s", worker->cluster_name), "localhost");
    json_t *ips = json_pack("[s, s]", "127.0.0.1", "::1");
    size_t i;
    json_t *item;

    json_array_foreach (json_object_get(worker->config, "public_addr"), i, item)
        add_name(names, ips, json_string_value(item));
    json_array_foreach (json_object_get(worker->config, "listen"), i, item)
        add_name(names, ips, json_string_value(item));
    refresh->key_pem = key_to_pem(key);
    key_free(key);
    (void)rpc_request(worker->auth, "proxy.cert",
                      json_pack("{s:s, s:o, s:o}", "tls_pub_key", public_pem, "names", names, "ips", ips), NULL, 0,
                      on_cert, refresh);
    mem_free(public_pem);
}

static char *join_texts(const json_t *list)
{
    struct buf text;
    size_t i;
    json_t *item;
    buf_init(&text, 0);
    json_array_foreach (list, i, item)
        (void)buf_printf(&text, "%s\n", json_string_value(item) ? json_string_value(item) : "");
    return buf_take(&text);
}

static void on_cas(void *ctx, json_t *result, const struct tp_error *error)
{
    struct refresh *refresh = ctx;
    struct buf pems;
    size_t i;
    size_t j;
    json_t *signer;
    json_t *cert;
    if (error || !refresh->worker->auth) {
        struct tp_error gone = {.code = TP_CLOSED};
        refresh_failed(refresh, "auth gave no CA certificates", error ? error : &gone);
        return;
    }
    refresh->user_cas = join_texts(json_object_get(result, "user_ca_tls"));
    buf_init(&pems, 0);
    json_array_foreach (json_object_get(result, "host_signers"), i, signer) {
        json_array_foreach (json_object_get(signer, "tls_certs"), j, cert) {
            const char *text = json_string_value(cert);
            if (text)
                (void)!dec_base64(text, strlen(text), &pems);
        }
    }
    refresh->host_cas = buf_take(&pems);
    ask_cert(refresh);
}

static void on_refresh(void *ctx)
{
    struct worker *worker = ctx;
    struct refresh *refresh;
    if (!worker->auth)
        return;
    refresh = mem_alloc(sizeof(*refresh));
    refresh->worker = worker;
    (void)rpc_request(worker->auth, "cluster.cas", NULL, NULL, 0, on_cas, refresh);
}

static void on_auth_event(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    struct worker *worker = ctx;
    enum close_reason reason = close_from_name(json_get_text(params, "reason", "right_lost"));
    (void)rpc;
    if (fd >= 0)
        (void)close(fd);
    if (strcmp(event, "route.set") == 0)
        tunnels_route_set(worker, params);
    else if (strcmp(event, "session.cut") == 0) {
        /* Its agent may have moved to a tunnel of ours while the session goes on in another worker that drains. */
        tunnels_tell_agent(worker, json_get_text(params, "host_id", ""), event, json_incref(params));
        target_front_cut(worker, json_get_text(params, "sid", ""), reason, json_get_text(params, "text", ""));
        term_front_cut(worker, json_get_text(params, "sid", ""), reason, json_get_text(params, "text", ""));
    } else if (strcmp(event, "session.watched") == 0) {
        tunnels_tell_agent(worker, json_get_text(params, "host_id", ""), event, json_incref(params));
    } else if (strcmp(event, "session.replaced") == 0) {
        term_front_replaced(worker, json_get_text(params, "sid", ""), json_get_text(params, "attach", ""));
    } else if (strcmp(event, "ca.changed") == 0) {
        timer_start(worker->refresh, 0, 0);
        tunnels_tell_agents(worker, event);
    } else if (strcmp(event, "tunnel.cut") == 0)
        tunnels_cut(worker, json_get_text(params, "host_id", ""), reason);
}

static void on_auth_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct worker *worker = ctx;
    (void)rpc;
    worker->auth = NULL;
    log_warn("the line to auth broke, waiting for a new one", "reason=%s", close_name(reason));
}

static const struct rpc_events auth_events = {.on_event = on_auth_event, .on_close = on_auth_close};

static void on_auth_line(struct worker *worker, int fd)
{
    rpc_free(worker->auth);
    worker->auth = rpc_new_fd(worker->loop, fd, &auth_events, worker);
    tunnels_report_all(worker);
    target_front_report_all(worker);
    lock_view_ask(worker->locks);
    timer_start(worker->refresh, 0, 0);
}

static struct rpc *current_auth(void *ctx)
{
    struct worker *worker = ctx;
    return worker->auth;
}

/* ---- what master says ---- */

static void on_web_done(void *ctx, uint64_t connection_id, const char *address, enum close_reason reason)
{
    struct worker *worker = ctx;
    struct peer peer = {.id = connection_id, .route = ROUTE_WEB};
    (void)snprintf(peer.address, sizeof(peer.address), "%s", address);
    worker_connection_closed(worker, &peer, reason, "", 0, 0);
}

static void read_proxy_ranges(struct worker *worker)
{
    const json_t *list = json_object_get(worker->config, "proxy_protocol_trusted");
    size_t i;
    json_t *item;
    worker->proxy_trusted = mem_array(json_array_size(list), sizeof(struct cidr));
    if (strcmp(json_get_text(worker->config, "proxy_protocol", ""), "off") == 0)
        return;
    json_array_foreach (list, i, item) {
        if (json_string_value(item) &&
            cidr_parse(json_string_value(item), &worker->proxy_trusted[worker->proxy_trusted_count]) == TP_OK)
            worker->proxy_trusted_count++;
    }
}

static void on_config(struct worker *worker, json_t *params)
{
    const json_t *log = json_object_get(params, "log");
    const char *public_addr = json_string_value(json_array_get(json_object_get(params, "public_addr"), 0));
    const char *colon = public_addr ? strrchr(public_addr, ':') : NULL;
    enum log_level level = LOG_LEVEL_INFO;
    char process[32];

    if (worker->config)
        return; /* a worker keeps the configuration it was born with; a reload makes new workers */
    worker->config = json_incref(params);
    worker->number = (unsigned)json_get_int(params, "number", 0);
    worker->cluster_name = json_get_text(params, "cluster_name", "");
    (void)!log_level_parse(json_get_text(log, "level", "info"), &level);
    (void)snprintf(process, sizeof(process), "worker/%u", worker->number);
    log_init(process, STDERR_FILENO, level, json_get_bool(log, "json", false));
    worker->public_host = public_addr
                              ? mem_strndup(public_addr, colon ? (size_t)(colon - public_addr) : strlen(public_addr))
                              : mem_strdup(worker->cluster_name);
    worker->public_port = colon ? atoi(colon + 1) : 443;
    read_proxy_ranges(worker);
    worker->web =
        web_new(worker->loop,
                &(struct web_options){.auth = current_auth,
                                      .auth_ctx = worker,
                                      .on_done = on_web_done,
                                      .on_done_ctx = worker,
                                      .on_socket = term_front_serve,
                                      .on_socket_ctx = worker,
                                      .cluster_name = worker->cluster_name,
                                      .public_addr = public_addr ? public_addr : "",
                                      .own_certificate = json_array_size(json_object_get(params, "keypairs")) == 0,
                                      .server_version = json_get_text(params, "version", "")});
}

static void on_drain_tick(void *ctx)
{
    struct worker *worker = ctx;
    if (loop_now_ms(worker->loop) >= worker->drain_limit)
        loop_stop(worker->loop);
    else
        tunnels_drop_idle(worker);
}

static void on_drain(struct worker *worker)
{
    if (worker->draining)
        return;
    worker->draining = true;
    log_info("draining", "connections=%zu", worker->connections);
    listeners_stop(worker);
    tunnels_drain(worker);
    web_drain(worker->web);
    worker->drain_limit = loop_now_ms(worker->loop) + DRAIN_MAX_MS;
    timer_start(timer_new(worker->loop, on_drain_tick, worker), DRAIN_MOVE_MS, DRAIN_TICK_MS);
    worker_maybe_exit(worker);
}

/* "192.0.2.1:5000" or "[2001:db8::1]:5000" back to an address; the other worker has checked it already. */
static void on_handoff(struct worker *worker, const json_t *params, int fd)
{
    const char *text = json_get_text(params, "address", "");
    const char *colon = strrchr(text, ':');
    char host[ADDRESS_TEXT_SIZE];
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (fd < 0)
        return;
    (void)snprintf(host, sizeof(host), "%.*s", colon ? (int)(colon - text) : 0, text);
    if (host[0] == '[') {
        memmove(host, host + 1, strlen(host));
        host[strlen(host) ? strlen(host) - 1 : 0] = 0;
    }
    if (!colon || worker->draining || !worker->ready || getaddrinfo(host, colon + 1, &hints, &found) != 0) {
        (void)close(fd);
        return;
    }
    front_accept(worker, fd, found->ai_addr, true);
    freeaddrinfo(found);
}

static void on_master_event(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    struct worker *worker = ctx;
    (void)rpc;
    if (strcmp(event, "config") == 0) {
        on_config(worker, params);
    } else if (strcmp(event, "file") == 0 && fd >= 0 && worker->web) {
        web_add_file(worker->web, json_get_text(params, "name", ""), json_get_text(params, "sha256", ""),
                     json_get_int(params, "size", 0), fd);
        return;
    } else if (strcmp(event, "listener") == 0 && fd >= 0) {
        listener_add(worker, fd);
        return;
    } else if (strcmp(event, "auth_line") == 0 && fd >= 0) {
        on_auth_line(worker, fd);
        return;
    } else if (strcmp(event, "handoff") == 0) {
        on_handoff(worker, params, fd);
        return;
    } else if (strcmp(event, "pair") == 0 && fd >= 0) {
        /* A terminal of ours needs the tunnel of another worker, or one of another worker needs ours. */
        if (json_get_text(params, "sid", NULL))
            term_front_pair(worker, json_get_text(params, "sid", ""), fd);
        else
            term_pair_serve(worker, fd);
        return;
    } else if (strcmp(event, "log.reopen") == 0 && fd >= 0) {
        (void)dup3(fd, STDERR_FILENO, 0);
    } else if (strcmp(event, "drain") == 0) {
        on_drain(worker);
    } else if (strcmp(event, "stop") == 0) {
        loop_stop(worker->loop);
    }
    if (fd >= 0)
        (void)close(fd);
}

static void on_master_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct worker *worker = ctx;
    (void)rpc;
    (void)reason;
    /* Without master nobody would ever restart or stop us. */
    log_warn("master is gone, exiting", "");
    worker->master = NULL;
    loop_stop(worker->loop);
}

static const struct rpc_events master_events = {.on_event = on_master_event, .on_close = on_master_close};

int worker_main(int control_fd)
{
    struct worker *worker = mem_alloc(sizeof(*worker));
    (void)signal(SIGPIPE, SIG_IGN);
    mem_keep_last();
    log_init("worker", STDERR_FILENO, LOG_LEVEL_INFO, false);
    uint8_t random[8];
    worker->loop = loop_new();
    crypt_random(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        (void)snprintf(worker->holder + 2 * i, 3, "%02x", random[i]);
    worker->host_loads = map_new();
    worker->host_tunnels = map_new();
    worker->routes = map_new();
    worker->routes_by_name = map_new();
    worker->kube_hosts = map_new();
    worker->sessions = map_new();
    worker->terminals = map_new();
    worker->half_open = map_new();
    worker->refresh = timer_new(worker->loop, on_refresh, worker);
    worker->locks = lock_view_new(worker);
    worker->crowd = crowd_new(worker->loop, CROWD);
    worker->master = rpc_new_fd(worker->loop, control_fd, &master_events, worker);
    loop_run(worker->loop);
    /* The kernel takes everything back at once, as at a crash: nothing here needs an orderly end. */
    _exit(0);
}

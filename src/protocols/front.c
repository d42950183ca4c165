/*
 * A fresh connection until it is known what it wants and, where certificates are needed, who it is.
 *
 *   PROXY_HEADER --header read--> HELLO --complete--> (other worker: handed off)
 *        |                          |--------------> TLS --handshake done--> its protocol (web, api, ssh, kube, tunnel)
 *        +------- any failure, deadline (10 s from accept), too many half-open: closed with one reason ----+
 *
 * Bytes are only peeked at until TLS starts, so that the connection can go to another worker untouched. While a hello is
 * incomplete SO_RCVLOWAT keeps the kernel from waking us for nothing.
 */
#include "protocols/worker_priv.h"

#include "base/log.h"
#include "base/mem.h"
#include "protocols/mux/hello.h"
#include "protocols/web/web.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PREAUTH_MS 10000
#define AGAIN_MS 20
#define HALF_OPEN_PER_SOURCE 256
#define HALF_OPEN_TOTAL 16384
#define CONNECTIONS_MAX 60000

enum state { FRONT_PROXY_HEADER, FRONT_HELLO, FRONT_TLS };

struct front {
    struct worker *worker;
    struct peer peer;
    enum state state;
    bool handed; /* it came from another worker */
    int fd;      /* until TLS takes it */
    size_t peeked;
    struct watch *watch;
    struct timer *deadline;
    struct timer *again; /* a wake-up without new bytes: look once more a little later */
    struct stream *stream;
};

/* ---- half-open counts (R9) ---- */

static bool half_open_enter(struct worker *worker, const char *source)
{
    uintptr_t count = (uintptr_t)map_get(worker->half_open, source);
    if (count >= HALF_OPEN_PER_SOURCE || worker->half_open_total >= HALF_OPEN_TOTAL)
        return false;
    (void)map_set(worker->half_open, source, (void *)(count + 1));
    worker->half_open_total++;
    return true;
}

static void half_open_leave(struct worker *worker, const char *source)
{
    uintptr_t count = (uintptr_t)map_get(worker->half_open, source);
    if (count <= 1)
        (void)map_remove(worker->half_open, source);
    else
        (void)map_set(worker->half_open, source, (void *)(count - 1));
    worker->half_open_total--;
}

static void set_peer(struct peer *peer, const struct sockaddr *address)
{
    address_format(address, peer->address);
    address_source(address, peer->source);
}

/* ---- the end ---- */

/* Frees the front; what it held has been passed on or closed. */
static void release(struct front *front)
{
    half_open_leave(front->worker, front->peer.source);
    watch_free(front->watch);
    timer_free(front->deadline);
    timer_free(front->again);
    mem_free(front);
}

/* Ends it before TLS, with an optional fixed text (R16). */
static void refuse(struct front *front, enum close_reason reason, const char *text)
{
    struct worker *worker = front->worker;
    if (text) {
        (void)!send(front->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
        /* What was peeked at is still unread; read it so that close sends FIN after the text, not RST. */
        (void)!recv(front->fd, loop_scratch(worker->loop), LOOP_SCRATCH_SIZE, MSG_DONTWAIT);
    }
    watch_free(front->watch);
    front->watch = NULL;
    (void)close(front->fd);
    worker_connection_closed(worker, &front->peer, reason, "", 0, 0);
    release(front);
}

static void on_deadline(void *ctx)
{
    struct front *front = ctx;
    if (front->state == FRONT_TLS)
        stream_close(front->stream, CLOSE_PREAUTH_TIMEOUT);
    else
        refuse(front, CLOSE_PREAUTH_TIMEOUT, NULL);
}

/* ---- TLS ---- */

static void on_tls_ready(void *ctx)
{
    struct front *front = ctx;
    struct worker *worker = front->worker;
    struct stream *stream = front->stream;
    struct peer peer = front->peer;
    struct web_peer web_peer = {.address = peer.address, .alpn = tls_stream_alpn(stream), .connection_id = peer.id};

    release(front);
    switch (peer.route) {
    case ROUTE_TUNNEL:
        tunnels_serve(worker, stream, &peer);
        return;
    case ROUTE_SSH:
        ssh_front_serve(worker, stream, &peer);
        return;
    case ROUTE_KUBE:
        kube_front_serve(worker, stream, &peer);
        return;
    case ROUTE_API:
        web_peer.client_cert = tls_stream_peer_der(stream, &web_peer.client_cert_size);
        web_peer.user = tls_stream_identity(stream) ? tls_stream_identity(stream)->name : NULL;
        web_serve(worker->web, stream, &web_peer);
        return;
    case ROUTE_WEB:
    case ROUTE_JOIN:
    case ROUTE_COUNT:
        web_serve(worker->web, stream, &web_peer);
        return;
    }
}

static void on_tls_data(void *ctx, const uint8_t *data, size_t size)
{
    /* on_ready hands the stream over before any data can come. */
    (void)ctx;
    (void)data;
    (void)size;
}

static void on_tls_close(void *ctx, enum close_reason reason)
{
    struct front *front = ctx;
    worker_connection_closed(front->worker, &front->peer, reason, tls_stream_failure(front->stream),
                             stream_rx(front->stream), stream_tx(front->stream));
    release(front);
}

static const struct stream_events tls_events = {
    .on_ready = on_tls_ready,
    .on_data = on_tls_data,
    .on_close = on_tls_close,
};

static void start_tls(struct front *front)
{
    int one = 1;
    (void)setsockopt(front->fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
    watch_free(front->watch);
    front->watch = NULL;
    front->state = FRONT_TLS;
    front->stream = tls_stream_new(front->worker->loop, front->fd, front->worker->contexts[front->peer.route], NULL,
                                   &tls_events, front);
}

/* ---- routing ---- */

/* Gives the connection to the worker that holds the target's tunnel, or to any other (-1). */
static void hand_off(struct front *front, int target)
{
    struct worker *worker = front->worker;
    log_debug("connection handed to another worker", "id=%llu to=%d", (unsigned long long)front->peer.id, target);
    rpc_event_fd(worker->master, "handoff", json_pack("{s:i, s:s}", "worker", target, "address", front->peer.address),
                 front->fd);
    refuse(front, CLOSE_HANDED_OFF, NULL);
}

/* The worker that has a tunnel for what the server name says, or -1. */
static int target_worker(const struct front *front)
{
    const struct worker *worker = front->worker;
    const char *name = front->peer.server_name;
    char target[256];
    if (front->peer.route == ROUTE_SSH && ssh_front_target(name, worker->cluster_name, target, sizeof(target)) == TP_OK)
        return tunnels_where(worker, target);
    if (front->peer.route == ROUTE_KUBE &&
        kube_front_target(name, worker->cluster_name, target, KUBE_LABEL_MAX + 1) == TP_OK)
        return tunnels_where_kube(worker, target);
    return -1;
}

/* HTTP for a Kubernetes cluster has a server name of its own. Also one whose label is nonsense: the web's certificate would
 * not fit it. */
static bool wants_kube(const struct worker *worker, const char *server_name)
{
    char tail[300];
    size_t length = strlen(server_name);
    int size = snprintf(tail, sizeof(tail), ".kube.%s", worker->cluster_name);
    return size > 0 && (size_t)size < sizeof(tail) && length > (size_t)size &&
           strcasecmp(server_name + length - (size_t)size, tail) == 0;
}

static void route(struct front *front, const struct hello *hello)
{
    struct worker *worker = front->worker;
    static const struct {
        const char *alpn;
        enum route_kind route;
    } table[] = {{"tport-tunnel", ROUTE_TUNNEL},
                 {"tport-ssh", ROUTE_SSH},
                 {"tport-api", ROUTE_API},
                 {"tport-join", ROUTE_JOIN},
                 {"http/1.1", ROUTE_WEB}};
    bool found = hello->alpn_count == 0;

    front->peer.route = ROUTE_WEB;
    (void)snprintf(front->peer.server_name, sizeof(front->peer.server_name), "%s", hello->server_name);
    for (size_t i = 0; !found && i < sizeof(table) / sizeof(table[0]); i++) {
        if (hello_offers(hello, table[i].alpn)) {
            front->peer.route = table[i].route;
            found = true;
        }
    }
    if (!found && hello_offers(hello, "h2")) {
        refuse(front, CLOSE_HTTP2, NULL);
        return;
    }
    if (!found) {
        refuse(front, CLOSE_NO_ROUTE, NULL);
        return;
    }
    if (front->peer.route == ROUTE_WEB && wants_kube(worker, front->peer.server_name))
        front->peer.route = ROUTE_KUBE;
    if (front->peer.route == ROUTE_TUNNEL && !front->handed && tunnels_wants_other(worker, hello->server_name)) {
        hand_off(front, -1);
        return;
    }
    int where = target_worker(front);
    if (where >= 0 && (unsigned)where != worker->number) {
        hand_off(front, where);
        return;
    }
    start_tls(front);
}

/* ---- first bytes ---- */

static bool is_trusted(const struct worker *worker, const struct sockaddr *address)
{
    for (size_t i = 0; i < worker->proxy_trusted_count; i++) {
        if (cidr_contains(&worker->proxy_trusted[i], address))
            return true;
    }
    return false;
}

/* Wakes us again when more than size bytes are there. */
static void wait_for_more(struct front *front, size_t size)
{
    int mark = (int)size + 1;
    (void)setsockopt(front->fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark));
    front->peeked = size;
}

static bool starts_with(const uint8_t *data, size_t size, const char *word)
{
    size_t length = strlen(word);
    return size >= length && memcmp(data, word, length) == 0;
}

static void not_tls(struct front *front, const uint8_t *data, size_t size)
{
    if (starts_with(data, size, "SSH-")) {
        refuse(front, CLOSE_SSH_REFUSED,
               "tport: plain SSH is not offered on this port; use tport ssh, or ssh with tport config\r\n");
    } else if (starts_with(data, size, "PRI ")) {
        refuse(front, CLOSE_HTTP2, NULL);
    } else if (starts_with(data, size, "GET ") || starts_with(data, size, "POST ") ||
               starts_with(data, size, "HEAD ") || starts_with(data, size, "PUT ") ||
               starts_with(data, size, "OPTIONS ")) {
        refuse(front, CLOSE_HTTP_PLAIN,
               "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 44\r\nConnection: close\r\n\r\n"
               "This port speaks HTTPS only: use https://...");
    } else if (starts_with(data, size, "PROXY ") || data[0] == '\r') {
        refuse(front, CLOSE_PROXY_HEADER, NULL);
    } else {
        refuse(front, CLOSE_NOT_TLS, NULL);
    }
}

static void look(struct front *front);

static void on_again(void *ctx)
{
    struct front *front = ctx;
    watch_set(front->watch, WATCH_READ);
    look(front);
}

/* Nothing new came and nothing will: the peer has closed its direction. */
static bool peer_has_finished(int fd, size_t size, size_t peeked)
{
    struct tcp_info info;
    socklen_t length = sizeof(info);
    return size <= peeked && getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
           info.tcpi_state != TCP_ESTABLISHED;
}

static void on_proxy_header(struct front *front, const uint8_t *data, size_t size)
{
    struct proxyproto header;
    enum tp_err err = proxyproto_parse(data, size, &header);
    if (err == TP_AGAIN && size < PROXYPROTO_MAX) {
        wait_for_more(front, size);
        return;
    }
    if (err != TP_OK ||
        recv(front->fd, loop_scratch(front->worker->loop), header.size, MSG_DONTWAIT) != (ssize_t)header.size) {
        refuse(front, CLOSE_PROXY_HEADER, NULL);
        return;
    }
    if (!header.local) {
        half_open_leave(front->worker, front->peer.source);
        set_peer(&front->peer, (const struct sockaddr *)&header.source);
        if (!half_open_enter(front->worker, front->peer.source)) {
            /* Counted back in so that release stays symmetrical. */
            (void)map_set(front->worker->half_open, front->peer.source,
                          (void *)((uintptr_t)map_get(front->worker->half_open, front->peer.source) + 1));
            front->worker->half_open_total++;
            refuse(front, CLOSE_SOURCE_LIMIT, NULL);
            return;
        }
    }
    front->state = FRONT_HELLO;
    front->peeked = 0;
    wait_for_more(front, 0);
    look(front);
}

static void look(struct front *front)
{
    uint8_t *data = loop_scratch(front->worker->loop);
    ssize_t size = recv(front->fd, data, LOOP_SCRATCH_SIZE, MSG_PEEK | MSG_DONTWAIT);
    struct hello hello;
    enum tp_err err;

    if (size < 0) {
        /* Nothing yet, or no socket at all: what another worker handed over is not to be believed, and would spin. */
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            refuse(front, errno == ECONNRESET ? CLOSE_PEER_RESET : CLOSE_IO_ERROR, NULL);
        return;
    }
    if (size == 0 || peer_has_finished(front->fd, (size_t)size, front->peeked)) {
        refuse(front, size == 0 ? CLOSE_CLIENT_CLOSED : CLOSE_BAD_HELLO, NULL);
        return;
    }
    if ((size_t)size <= front->peeked) {
        /* The kernel woke us for nothing, as it may when memory is short. */
        watch_set(front->watch, 0);
        if (!front->again)
            front->again = timer_new(front->worker->loop, on_again, front);
        timer_start(front->again, AGAIN_MS, 0);
        return;
    }
    if (front->state == FRONT_PROXY_HEADER) {
        on_proxy_header(front, data, (size_t)size);
        return;
    }
    if (data[0] != 0x16) {
        if (size < 4 && (data[0] == 'S' || data[0] == 'P' || data[0] == 'G' || data[0] == 'H' || data[0] == 'O'))
            wait_for_more(front, (size_t)size);
        else
            not_tls(front, data, (size_t)size);
        return;
    }
    err = hello_parse(data, (size_t)size, &hello);
    if (err == TP_AGAIN)
        wait_for_more(front, (size_t)size);
    else if (err == TP_TOO_LARGE)
        refuse(front, CLOSE_PREAUTH_TOO_LARGE, NULL);
    else if (err != TP_OK)
        refuse(front, CLOSE_BAD_HELLO, NULL);
    else
        route(front, &hello);
}

static void on_readable(void *ctx, int events)
{
    (void)events;
    look(ctx);
}

void front_accept(struct worker *worker, int fd, const struct sockaddr *address, bool handed)
{
    struct front *front;
    struct peer peer = {.id = ++worker->last_connection_id, .route = ROUTE_WEB};

    set_peer(&peer, address);
    if (worker->connections >= CONNECTIONS_MAX || !half_open_enter(worker, peer.source)) {
        worker->connections++;
        worker_connection_closed(worker, &peer,
                                 worker->connections > CONNECTIONS_MAX ? CLOSE_CONNECTION_LIMIT : CLOSE_SOURCE_LIMIT,
                                 "", 0, 0);
        (void)close(fd);
        return;
    }
    worker->connections++;
    front = mem_alloc(sizeof(*front));
    front->worker = worker;
    front->peer = peer;
    front->fd = fd;
    front->handed = handed;
    front->state = !handed && is_trusted(worker, address) ? FRONT_PROXY_HEADER : FRONT_HELLO;
    front->deadline = timer_new(worker->loop, on_deadline, front);
    timer_start(front->deadline, PREAUTH_MS, 0);
    if (watch_new(worker->loop, fd, on_readable, front, &front->watch) != TP_OK) {
        refuse(front, CLOSE_IO_ERROR, NULL);
        return;
    }
    watch_set(front->watch, WATCH_READ);
}

/* Port forwarding both ways and agent forwarding. Sockets are made by the monitor's helpers under the user's ids. */
#include "base/log.h"
#include "base/mem.h"
#include "session/carry.h"
#include "session/net_priv.h"
#include "session/open_refuse.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENERS_MAX 64

static void refuse(ssh_message message)
{
    (void)ssh_message_reply_default(message);
    ssh_message_free(message);
}

static bool host_is_sane(const char *host)
{
    size_t size = host == NULL ? 0 : strlen(host);
    if (size == 0 || size > 255) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (host[i] <= ' ' || host[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

/* ---- the client connects through us (ssh -L, -D, -W), to a port or to a socket in the file system ---- */

struct asking {
    struct net *net;
    uint32_t number;
};

static struct asking *asking_new(struct net *net, uint32_t number)
{
    struct asking *asking = mem_alloc(sizeof(*asking));
    asking->net = net;
    asking->number = number;
    return asking;
}

static void on_connected(void *ctx, json_t *result, const struct tp_error *error)
{
    struct asking *asking = ctx;
    struct net *net = asking->net;
    uint32_t number = asking->number;
    mem_free(asking);
    (void)result;
    struct channel *channel = net_channel_find(net, number);
    int fd = net_take_fd(net, number, "socket");
    if (channel == NULL || channel->pending == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    net_wake(net);
    ssh_message message = channel->pending;
    channel->pending = NULL;
    int copy = error == NULL && fd >= 0 ? dup(fd) : -1;
    if (copy < 0) {
        if (fd >= 0) {
            close(fd);
        }
        const char *reason = error != NULL ? error->text : "no socket came";
        enum open_refusal code = error != NULL && error->code == TP_DENIED  ? OPEN_PROHIBITED
                                 : error != NULL && error->code == TP_LIMIT ? OPEN_NO_ROOM
                                                                            : OPEN_CONNECT_FAILED;
        net_refused(net, "connect", reason);
        open_refuse(message, code, reason);
        channel->doomed = true;
        return;
    }
    ssh_channel ssh = ssh_message_channel_request_open_reply_accept(message);
    ssh_message_free(message);
    if (ssh == NULL) {
        close(fd);
        close(copy);
        channel->doomed = true;
        return;
    }
    net_channel_attach(channel, ssh);
    net_channel_start_io(channel, copy, fd, -1);
}

void net_connect(struct net *net, ssh_message message)
{
    const char *host = ssh_message_channel_request_open_destination(message);
    const char *path = carry_socket_path(host);
    int port = ssh_message_channel_request_open_destination_port(message);
    if (path == NULL && (!host_is_sane(host) || port < 1 || port > 65535)) {
        net_refused(net, "connect", "that is no host and port");
        open_refuse(message, OPEN_CONNECT_FAILED, "that is no host and port");
        return;
    }
    struct channel *channel = net_channel_new(net, CHANNEL_TCP);
    channel->pending = message;
    json_t *params = path != NULL
                         ? json_pack("{s:i, s:s}", "number", (int)channel->number, "path", path)
                         : json_pack("{s:i, s:s, s:i}", "number", (int)channel->number, "host", host, "port", port);
    (void)rpc_request(net->monitor, "connect", params, NULL, 120000, on_connected, asking_new(net, channel->number));
}

/* ---- we accept and open a channel to the client (ssh -R, -A) ---- */

static int reopen_forwarded(struct channel *channel)
{
    return ssh_channel_open_reverse_forward(channel->ssh, channel->bind_host, channel->bind_port, channel->peer_host,
                                            channel->peer_port);
}

static int reopen_agent(struct channel *channel)
{
    return ssh_channel_open_auth_agent(channel->ssh);
}

static void peer_name(struct channel *channel, const struct sockaddr_storage *peer)
{
    char text[INET6_ADDRSTRLEN] = "127.0.0.1";
    if (peer->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)peer;
        (void)inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        channel->peer_port = ntohs(in->sin_port);
    } else if (peer->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)peer;
        (void)inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        channel->peer_port = ntohs(in6->sin6_port);
    }
    channel->peer_host = mem_strdup(text);
}

static void accepted(struct listener *listener, int fd, const struct sockaddr_storage *peer)
{
    struct net *net = listener->net;
    const int on = 1;
    ssh_channel ssh = net->phase == NET_OPEN && net->channel_count < NET_CHANNEL_MAX ? ssh_channel_new(net->ssh) : NULL;
    if (ssh == NULL || net->arrived_count == sizeof(net->arrived) / sizeof(net->arrived[0])) {
        if (ssh != NULL) {
            ssh_channel_free(ssh);
        }
        close(fd);
        return;
    }
    if (!listener->agent) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    struct channel *channel = net_channel_new(net, CHANNEL_TCP);
    peer_name(channel, peer);
    channel->bind_host = mem_strdup(listener->host);
    channel->bind_port = listener->port;
    channel->reopen = listener->agent ? reopen_agent : reopen_forwarded;
    channel->opened_fd = fd;
    net_channel_attach(channel, ssh);
    net_wake(net);
}

static void on_listener(void *ctx, int events)
{
    struct listener *listener = ctx;
    (void)events;
    for (int i = 0; i < 16; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t size = sizeof(peer);
        int fd = accept4(listener->end.fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        accepted(listener, fd, &peer);
    }
}

static void listener_free(struct listener *listener)
{
    struct listener **place = &listener->net->listeners;
    while (*place != listener) {
        place = &(*place)->next;
    }
    *place = listener->next;
    net_end_close(&listener->end);
    mem_free(listener->host);
    mem_free(listener);
}

void net_listeners_free(struct net *net)
{
    while (net->listeners != NULL) {
        listener_free(net->listeners);
    }
}

static struct listener *listener_new(struct net *net, const char *host, bool agent)
{
    struct listener *listener = mem_alloc(sizeof(*listener));
    listener->net = net;
    listener->number = net->next_number++;
    listener->agent = agent;
    listener->host = mem_strdup(host);
    net_end_init(&listener->end);
    listener->next = net->listeners;
    net->listeners = listener;
    return listener;
}

static struct listener *listener_find(struct net *net, uint32_t number)
{
    struct listener *listener = net->listeners;
    while (listener != NULL && listener->number != number) {
        listener = listener->next;
    }
    return listener;
}

static void listener_ready(struct listener *listener, int fd)
{
    net_end_open(listener->net, &listener->end, fd, on_listener, listener);
    if (listener->end.watch != NULL) {
        watch_set(listener->end.watch, WATCH_READ);
    }
}

/* ---- tcpip-forward, one at a time: answers to global requests carry no name, so their order is all there is ---- */

static void next_global(struct net *net);

static void on_listening(void *ctx, json_t *result, const struct tp_error *error)
{
    struct asking *asking = ctx;
    struct net *net = asking->net;
    uint32_t number = asking->number;
    mem_free(asking);
    struct listener *listener = listener_find(net, number);
    int fd = net_take_fd(net, number, "listen");
    if (listener == NULL || net->global_count == 0) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    ssh_message message = net->global_queue[0];
    net->global_count--;
    memmove(net->global_queue, net->global_queue + 1, net->global_count * sizeof(net->global_queue[0]));
    if (error != NULL || fd < 0) {
        net_refused(net, "tcpip-forward", error != NULL ? error->text : "no socket came");
        if (fd >= 0) {
            close(fd);
        }
        listener_free(listener);
        (void)ssh_message_reply_default(message);
    } else {
        listener->port = (int)json_get_int(result, "port", 0);
        listener_ready(listener, fd);
        (void)ssh_message_global_request_reply_success(message, (uint16_t)listener->port);
    }
    ssh_message_free(message);
    net_wake(net);
    next_global(net);
}

/* True when the answer is under way. */
static bool start_global(struct net *net, ssh_message message)
{
    const char *host = ssh_message_global_request_address(message);
    int port = ssh_message_global_request_port(message);
    bool listen = ssh_message_subtype(message) == SSH_GLOBAL_REQUEST_TCPIP_FORWARD;
    size_t count = 0;
    struct listener *found = NULL;
    for (struct listener *at = net->listeners; at != NULL; at = at->next, count++) {
        if (!at->agent && host != NULL && at->port == port && strcmp(at->host, host) == 0) {
            found = at;
        }
    }
    if (!listen) { /* only what this connection opened can be found (R3) */
        if (found == NULL) {
            (void)ssh_message_reply_default(message);
        } else {
            listener_free(found);
            (void)ssh_message_global_request_reply_success(message, 0);
        }
        return false;
    }
    if (host == NULL || strlen(host) > 255 || port < 0 || port > 65535 || count >= LISTENERS_MAX) {
        (void)ssh_message_reply_default(message);
        return false;
    }
    struct listener *listener = listener_new(net, host, false);
    json_t *params = json_pack("{s:i, s:s, s:i}", "number", (int)listener->number, "host", host, "port", port);
    (void)rpc_request(net->monitor, "listen", params, NULL, 0, on_listening, asking_new(net, listener->number));
    return true;
}

static void next_global(struct net *net)
{
    while (net->global_count > 0) {
        ssh_message message = net->global_queue[0];
        if (start_global(net, message)) {
            return;
        }
        net->global_count--;
        memmove(net->global_queue, net->global_queue + 1, net->global_count * sizeof(net->global_queue[0]));
        ssh_message_free(message);
    }
}

void net_global_message(struct net *net, ssh_message message)
{
    struct tp_error error = {0};
    enum request_id id = REQUEST_UNKNOWN;
    if (ssh_message_subtype(message) == SSH_GLOBAL_REQUEST_TCPIP_FORWARD) {
        id = REQUEST_FORWARD_LISTEN;
    } else if (ssh_message_subtype(message) == SSH_GLOBAL_REQUEST_CANCEL_TCPIP_FORWARD) {
        id = REQUEST_FORWARD_CANCEL;
    }
    const struct request_row *row = id == REQUEST_UNKNOWN ? NULL : requests_row(id);
    enum tp_err err = requests_decide(row, &net->settings.rights, &error);
    if (err == TP_OK && net->global_count == sizeof(net->global_queue) / sizeof(net->global_queue[0])) {
        err = err_set(&error, TP_LIMIT, "too many of them wait for an answer");
    }
    if (err != TP_OK || net->phase != NET_OPEN) {
        net_refused(net, row == NULL ? "unknown" : row->name, error.text);
        refuse(message);
        return;
    }
    net->global_queue[net->global_count++] = message;
    if (net->global_count == 1) {
        next_global(net);
    }
}

/* ---- agent forwarding ---- */

static void on_agent_listening(void *ctx, json_t *result, const struct tp_error *error)
{
    struct asking *asking = ctx;
    struct net *net = asking->net;
    struct listener *listener = listener_find(net, asking->number);
    int fd = net_take_fd(net, asking->number, "listen");
    mem_free(asking);
    (void)result;
    if (listener == NULL || error != NULL || fd < 0) {
        log_info("agent not forwarded", "reason=\"%s\"", error != NULL ? error->text : "no socket came");
        if (fd >= 0) {
            close(fd);
        }
        if (listener != NULL) {
            listener_free(listener);
        }
        return;
    }
    listener_ready(listener, fd);
}

void net_agent_request(struct net *net)
{
    if (net->agent_asked || net->phase != NET_OPEN) {
        return;
    }
    net->agent_asked = true;
    struct listener *listener = listener_new(net, "agent", true);
    /* A shell that is asked for in the meantime waits: the monitor answers calls about one login in order. */
    (void)rpc_request(net->monitor, "agent_listen", json_pack("{s:i}", "number", (int)listener->number), NULL, 0,
                      on_agent_listening, asking_new(net, listener->number));
}

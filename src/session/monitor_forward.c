/* Sockets for port forwarding and agent forwarding, each made by a short-lived helper under the user's ids. */
#include "base/log.h"
#include "base/mem.h"
#include "session/monitor_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECT_MS 30000
#define LISTEN_MS 10000
#define RECORD_MS 20000
#define HELPERS_MAX 64 /* at once: what net asks for costs a process each, whatever has become of net */

struct ask {
    struct monitor *monitor;
    struct rpc_call *call;
    uint32_t number;
    char *host;
    int port;
    char *path; /* of a socket to connect to, instead of host and port; or NULL */
    char *agent_dir;
    bool started; /* counted in monitor->helpers */
    bool listens; /* for the client, else it connects for him */
    int fd;
    struct tp_error failure; /* code TP_OK: fd is what was asked for */
};

static struct ask *ask_new(struct monitor *monitor, struct rpc_call *call, json_t *params)
{
    struct ask *ask = mem_alloc(sizeof(*ask));
    ask->monitor = monitor;
    ask->call = call;
    ask->number = (uint32_t)json_get_int(params, "number", 0);
    ask->host = mem_strdup(json_get_text(params, "host", ""));
    ask->port = (int)json_get_int(params, "port", -1);
    const char *path = json_get_text(params, "path", NULL);
    ask->path = path == NULL ? NULL : mem_strdup(path);
    return ask;
}

static void helper_is_done(struct ask *ask)
{
    ask->monitor->helpers -= ask->started;
    ask->started = false;
}

static void ask_free(struct ask *ask)
{
    helper_is_done(ask);
    mem_free(ask->host);
    mem_free(ask->path);
    mem_free(ask->agent_dir);
    mem_free(ask);
}

static void start(struct ask *ask, int64_t timeout_ms, helper_work *work, helper_done *done)
{
    struct tp_error error = {0};
    struct monitor *monitor = ask->monitor;
    ask->started = true;
    monitor->helpers++; /* until helper_is_done */
    if (monitor->helpers > HELPERS_MAX) {
        (void)err_set(&error, TP_LIMIT, "too many forwardings are being opened at once on this connection");
        done(ask, -1, 0, &error);
    } else if (helper_start(monitor->loop, &monitor->account, timeout_ms, work, ask, done, ask, &error) != TP_OK) {
        done(ask, -1, 0, &error);
    }
}

/* ---- on record before a byte passes, and before anybody learns what came of it ---- */

static json_t *record_of(const struct ask *ask)
{
    char *addr = ask->path != NULL
                     ? mem_strdup(ask->path)
                     : mem_printf(strchr(ask->host, ':') != NULL ? "[%s]:%d" : "%s:%d", ask->host, ask->port);
    bool success = ask->failure.code == TP_OK;
    json_t *fields = json_pack("{s:s, s:s, s:s, s:b}", "addr", addr, "direction", ask->listens ? "from" : "to", "login",
                               ask->monitor->account.name, "success", (int)success);
    if (!success) {
        (void)json_object_set_new(fields, "error", json_string(ask->failure.text));
    }
    mem_free(addr);
    return json_pack("{s:s, s:s, s:o}", "sid", ask->monitor->sid, "event", "port", "fields", fields);
}

static void answer(struct ask *ask)
{
    if (ask->failure.code != TP_OK) {
        rpc_fail(ask->call, &ask->failure);
    } else {
        monitor_send_fd(ask->monitor, ask->number, ask->listens ? "listen" : "socket", ask->fd);
        rpc_reply(ask->call, ask->listens ? json_pack("{s:i}", "port", ask->port) : NULL);
    }
    ask_free(ask);
}

static void on_recorded(void *ctx, json_t *result, const struct tp_error *error)
{
    struct ask *ask = ctx;
    struct monitor *monitor = ask->monitor;
    (void)result;
    monitor->agent_calls--;
    if (error != NULL) {
        log_error("a forwarding can't be recorded", "sid=%s error=\"%s\"", monitor->sid, error->text);
        if (ask->fd >= 0) {
            close(ask->fd);
        }
        (void)err_set(&ask->failure, TP_DENIED, "this access can't be put on record, so it is refused: %s",
                      error->text);
    }
    answer(ask);
    monitor_check_done(monitor);
}

/* What came of it; fd is taken over. */
static void finish(struct ask *ask, int fd, const struct tp_error *error)
{
    struct monitor *monitor = ask->monitor;
    struct tp_error gone = {0};
    helper_is_done(ask);
    ask->fd = fd;
    ask->failure = error != NULL ? *error : (struct tp_error){0};
    monitor->agent_calls++;
    if (monitor->agent != NULL) {
        (void)rpc_request(monitor->agent, "session.event", record_of(ask), NULL, RECORD_MS, on_recorded, ask);
        return;
    }
    (void)err_set(&gone, TP_CLOSED, "the agent is gone");
    on_recorded(ask, NULL, &gone);
}

/* ---- connect ---- */

/* Never TP_DENIED, whatever the system says: that would be a refusal of ours. */
static void cannot_connect(struct tp_error *error, int why, const char *where)
{
    (void)err_set(error, TP_UNAVAILABLE, "%s: %s", where, strerror(why));
}

static int connect_path(const char *path, struct tp_error *error)
{
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(where.sun_path)) {
        (void)err_set(error, TP_INVALID, "%s: the path of a socket has at most %zu bytes", path,
                      sizeof(where.sun_path) - 1);
        return -1;
    }
    memcpy(where.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&where, sizeof(where)) == 0) {
        return fd;
    }
    cannot_connect(error, errno, path);
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

static int connect_work(void *ctx, int *ret_number, struct tp_error *error)
{
    const struct ask *ask = ctx;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char port[8];
    (void)ret_number;
    if (ask->path != NULL) {
        return connect_path(ask->path, error);
    }
    (void)snprintf(port, sizeof(port), "%d", ask->port);
    int rc = getaddrinfo(ask->host, port, &hints, &list);
    if (rc != 0) {
        (void)err_set(error, TP_NOT_FOUND, "%s: %s", ask->host, gai_strerror(rc));
        return -1;
    }
    int failure = ECONNREFUSED;
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        const int on = 1;
        int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) == 0) {
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            return fd;
        }
        failure = errno;
        if (fd >= 0) {
            close(fd);
        }
    }
    char *where = mem_printf("%s port %d", ask->host, ask->port);
    cannot_connect(error, failure, where);
    mem_free(where);
    return -1;
}

static void on_connected(void *ctx, int fd, int number, const struct tp_error *error)
{
    (void)number;
    finish(ctx, fd, error);
}

void monitor_connect(struct monitor *monitor, struct rpc_call *call, json_t *params)
{
    struct ask *ask = ask_new(monitor, call, params);
    struct tp_error error = {0};
    bool valid = ask->path != NULL ? ask->path[0] == '/' : ask->port >= 1 && ask->port <= 65535 && *ask->host != '\0';
    if (!monitor->forward_local || !valid) {
        (void)err_set(&error, TP_DENIED, "port forwarding is not allowed");
    } else if (monitor_account_ok(monitor, &error) == TP_OK) {
        start(ask, CONNECT_MS, connect_work, on_connected);
        return;
    }
    on_connected(ask, -1, 0, &error);
}

/* ---- listen ---- */

/* As sshd with GatewayPorts no, only this host itself can connect: any address ("" when nothing or * was said) becomes its
 * own. Who names one certain address is told that it can't be had, instead of being left to wonder. */
static bool is_this_host(const char *host)
{
    static const char *const NAMES[] = {"", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::"};
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (strcmp(host, NAMES[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int listen_on(int family, int port, struct tp_error *error)
{
    const int on = 1;
    struct sockaddr_storage where = {0};
    socklen_t size = 0;
    if (family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)&where;
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        size = sizeof(*in);
    } else {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&where;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        in6->sin6_addr = in6addr_loopback;
        size = sizeof(*in6);
    }
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        (void)err_errno(error, errno, "no socket");
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&where, size) != 0 || listen(fd, 128) != 0) {
        (void)err_errno(error, errno, "port %d", port);
        close(fd);
        return -1;
    }
    return fd;
}

static int listen_work(void *ctx, int *ret_number, struct tp_error *error)
{
    const struct ask *ask = ctx;
    struct sockaddr_storage where = {0};
    socklen_t size = sizeof(where);
    int fd =
        listen_on(strcmp(ask->host, "::1") == 0 || strcmp(ask->host, "::") == 0 ? AF_INET6 : AF_INET, ask->port, error);
    if (fd >= 0 && getsockname(fd, (struct sockaddr *)&where, &size) == 0) {
        *ret_number = ntohs(where.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&where)->sin6_port
                                                        : ((struct sockaddr_in *)&where)->sin_port);
    }
    return fd;
}

static void on_listening(void *ctx, int fd, int number, const struct tp_error *error)
{
    struct ask *ask = ctx;
    if (error == NULL) {
        ask->port = number;
    }
    finish(ask, fd, error);
}

void monitor_listen(struct monitor *monitor, struct rpc_call *call, json_t *params)
{
    struct ask *ask = ask_new(monitor, call, params);
    struct tp_error error = {0};
    ask->listens = true;
    if (!monitor->forward_remote || ask->port < 0 || ask->port > 65535) {
        (void)err_set(&error, TP_DENIED, "port forwarding is not allowed");
    } else if (!is_this_host(ask->host)) {
        (void)err_set(&error, TP_DENIED, "only localhost can be listened on here, not %.100s", ask->host);
    } else if (monitor_account_ok(monitor, &error) == TP_OK) {
        start(ask, LISTEN_MS, listen_work, on_listening);
        return;
    }
    on_listening(ask, -1, 0, &error);
}

/* ---- agent forwarding ---- */

static int agent_work(void *ctx, int *ret_number, struct tp_error *error)
{
    const struct ask *ask = ctx;
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    (void)ret_number;
    /* The directory was named with a random part by the monitor; only this user can have made it, or we fail. */
    if (mkdir(ask->agent_dir, 0700) != 0) {
        (void)err_errno(error, errno, "%s", ask->agent_dir);
        return -1;
    }
    (void)snprintf(where.sun_path, sizeof(where.sun_path), "%s/agent", ask->agent_dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&where, sizeof(where)) != 0 || listen(fd, 32) != 0) {
        (void)err_errno(error, errno, "%s", where.sun_path);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

static void on_agent_listening(void *ctx, int fd, int number, const struct tp_error *error)
{
    struct ask *ask = ctx;
    struct monitor *monitor = ask->monitor;
    (void)number;
    monitor->agent_pending = false;
    if (error != NULL) {
        log_info("agent not forwarded", "reason=\"%s\"", error->text);
        rpc_fail(ask->call, error);
    } else {
        monitor->agent_dir = mem_strdup(ask->agent_dir);
        monitor->agent_path = mem_printf("%s/agent", ask->agent_dir);
        monitor_send_fd(monitor, ask->number, "listen", fd);
        rpc_reply(ask->call, NULL);
    }
    ask_free(ask);
    monitor_open_waiting(monitor);
}

void monitor_agent_listen(struct monitor *monitor, struct rpc_call *call, json_t *params)
{
    struct ask *ask = ask_new(monitor, call, params);
    struct tp_error error = {0};
    uint8_t random[8];
    if (!monitor->forward_agent || getentropy(random, sizeof(random)) != 0) {
        (void)err_set(&error, TP_DENIED, "agent forwarding is not allowed");
    } else if (monitor_account_ok(monitor, &error) == TP_OK) {
        uint64_t name = 0;
        memcpy(&name, random, sizeof(name));
        ask->agent_dir = mem_printf("/tmp/tport-agent-%016llx", (unsigned long long)name);
        monitor->agent_pending = true;
        start(ask, LISTEN_MS, agent_work, on_agent_listening);
        return;
    }
    on_agent_listening(ask, -1, 0, &error);
}

static int agent_remove_work(void *ctx, int *ret_number, struct tp_error *error)
{
    const struct monitor *monitor = ctx;
    (void)ret_number;
    (void)unlink(monitor->agent_path);
    (void)rmdir(monitor->agent_dir);
    (void)err_set(error, TP_CLOSED, "removed");
    return -1;
}

static void on_agent_removed(void *ctx, int fd, int number, const struct tp_error *error)
{
    (void)ctx;
    (void)fd;
    (void)number;
    (void)error;
}

void monitor_agent_remove(struct monitor *monitor)
{
    struct tp_error error = {0};
    if (monitor->agent_path == NULL) {
        return;
    }
    /* Under the user's ids too: root must not follow what a user put at that place. */
    if (helper_start(monitor->loop, &monitor->account, LISTEN_MS, agent_remove_work, monitor, on_agent_removed, monitor,
                     &error) != TP_OK) {
        log_warn("agent socket not removed", "path=%s", monitor->agent_path);
    }
    mem_free(monitor->agent_path);
    mem_free(monitor->agent_dir);
    monitor->agent_path = NULL;
    monitor->agent_dir = NULL;
}

/*
 *     RESOLVING (thread pool) --> CONNECTING to address 1 --fails--> ... address n --> done
 *     an address needs no thread: `--at the end of the turn
 * A deadline ends it in any state. The resolver cannot be stopped: a cancelled dial waits for it, silently.
 */
#include "core/dial.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct dial {
    struct loop *loop;
    char *host;
    uint16_t port;
    dial_cb *fn; /* NULL: cancelled or done, waiting for the resolver */
    void *ctx;
    bool resolving;        /* a thread has it */
    struct later resolved; /* it was an address */
    int gai_error;
    struct addrinfo *list;
    const struct addrinfo *at; /* the one that is being tried */
    int fd;
    struct watch *watch;
    struct timer *deadline;
    int last_errno;
};

static void dial_destroy(struct dial *dial)
{
    later_cancel(&dial->resolved);
    watch_free(dial->watch);
    timer_free(dial->deadline);
    if (dial->fd >= 0) {
        (void)close(dial->fd);
    }
    if (dial->list != NULL) {
        freeaddrinfo(dial->list);
    }
    mem_free(dial->host);
    mem_free(dial);
}

static void finish(struct dial *dial, int fd, const struct tp_error *error)
{
    dial_cb *fn = dial->fn;
    void *ctx = dial->ctx;
    dial->fn = NULL;
    if (!dial->resolving) {
        dial_destroy(dial);
    }
    fn(ctx, fd, error);
}

static int look_up(struct dial *dial, int flags)
{
    char service[8];
    (void)snprintf(service, sizeof(service), "%u", dial->port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    return getaddrinfo(dial->host, service, &hints, &dial->list);
}

static void resolve(void *ctx)
{
    struct dial *dial = ctx;
    dial->gai_error = look_up(dial, 0);
}

static void try_next(struct dial *dial);

static void on_connected(struct dial *dial)
{
    int fd = dial->fd;
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    watch_free(dial->watch);
    dial->watch = NULL;
    dial->fd = -1;
    finish(dial, fd, NULL);
}

static void on_writable(void *ctx, int events)
{
    struct dial *dial = ctx;
    (void)events;
    int failed = 0;
    socklen_t size = sizeof(failed);
    if (getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0) {
        failed = errno;
    }
    if (failed == 0) {
        on_connected(dial);
        return;
    }
    dial->last_errno = failed;
    dial->at = dial->at->ai_next;
    try_next(dial);
}

static void try_next(struct dial *dial)
{
    watch_free(dial->watch);
    dial->watch = NULL;
    if (dial->fd >= 0) {
        (void)close(dial->fd);
        dial->fd = -1;
    }
    for (; dial->at != NULL; dial->at = dial->at->ai_next) {
        dial->fd = socket(dial->at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (dial->fd < 0) {
            dial->last_errno = errno;
            continue;
        }
        if (connect(dial->fd, dial->at->ai_addr, dial->at->ai_addrlen) == 0 || errno == EINPROGRESS) {
            if (watch_new(dial->loop, dial->fd, on_writable, dial, &dial->watch) == TP_OK) {
                watch_set(dial->watch, WATCH_WRITE);
                return;
            }
            errno = EMFILE;
        }
        dial->last_errno = errno;
        (void)close(dial->fd);
        dial->fd = -1;
    }
    struct tp_error error = {0};
    (void)err_set(&error, TP_UNAVAILABLE, "no connection to %s port %u: %s", dial->host, dial->port,
                  strerror(dial->last_errno));
    finish(dial, -1, &error);
}

static void on_resolved(void *ctx)
{
    struct dial *dial = ctx;
    dial->resolving = false;
    if (dial->fn == NULL) {
        dial_destroy(dial);
        return;
    }
    if (dial->gai_error != 0) {
        struct tp_error error = {0};
        (void)err_set(&error, TP_NOT_FOUND, "the name %s can't be resolved: %s", dial->host,
                      gai_strerror(dial->gai_error));
        finish(dial, -1, &error);
        return;
    }
    dial->at = dial->list;
    try_next(dial);
}

static void on_deadline(void *ctx)
{
    struct dial *dial = ctx;
    struct tp_error error = {0};
    (void)err_set(&error, TP_TIMEOUT, "%s port %u does not answer", dial->host, dial->port);
    finish(dial, -1, &error);
}

struct dial *dial_start(struct loop *loop, const char *host, uint16_t port, int64_t timeout_ms, dial_cb *fn, void *ctx)
{
    struct dial *dial = mem_alloc(sizeof(*dial));
    dial->loop = loop;
    dial->host = mem_strdup(host);
    dial->port = port;
    dial->fn = fn;
    dial->ctx = ctx;
    dial->fd = -1;
    dial->deadline = timer_new(loop, on_deadline, dial);
    timer_start(dial->deadline, timeout_ms, 0);
    if (look_up(dial, AI_NUMERICHOST) == 0) {
        dial->resolved = (struct later){.fn = on_resolved, .ctx = dial};
        later_run(loop, &dial->resolved);
    } else {
        dial->resolving = true;
        work_run(loop, resolve, on_resolved, dial);
    }
    return dial;
}

void dial_cancel(struct dial *dial)
{
    if (dial == NULL || dial->fn == NULL) {
        return;
    }
    dial->fn = NULL;
    if (dial->resolving) {
        timer_stop(dial->deadline);
    } else {
        dial_destroy(dial);
    }
}

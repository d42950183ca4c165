/* Accepting: in bursts, never spinning when descriptors run out. */
#include "protocols/worker_priv.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define PAUSE_MS 100

struct listener {
    struct worker *worker;
    struct listener *next;
    int fd;
    int reserve; /* given up for a moment to refuse cleanly when descriptors run out */
    struct watch *watch;
    struct timer *pause;
};

static void on_pause_over(void *ctx)
{
    struct listener *listener = ctx;
    watch_set(listener->watch, WATCH_READ);
}

/* No descriptor is left: take one connection with the reserve, drop it, and wait a little. */
static void out_of_descriptors(struct listener *listener)
{
    int fd;
    log_warn("no descriptors left, a connection was dropped", "errno=%d connections=%zu", errno,
             listener->worker->connections);
    (void)close(listener->reserve);
    fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        (void)close(fd);
    listener->reserve = dup(listener->fd);
    watch_set(listener->watch, 0);
    timer_start(listener->pause, PAUSE_MS, 0);
}

static void on_listener(void *ctx, int events)
{
    struct listener *listener = ctx;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof(address);
        int one = 1;
        int fd = accept4(listener->fd, (struct sockaddr *)&address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                out_of_descriptors(listener);
            else if (errno == EINTR || errno == ECONNABORTED)
                continue;
            return;
        }
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        front_accept(listener->worker, fd, (const struct sockaddr *)&address, false);
    }
}

void listener_add(struct worker *worker, int fd)
{
    struct listener *listener = mem_alloc(sizeof(*listener));
    listener->worker = worker;
    listener->fd = fd;
    listener->reserve = dup(fd);
    listener->next = worker->listeners;
    worker->listeners = listener;
    listener->pause = timer_new(worker->loop, on_pause_over, listener);
    if (watch_new(worker->loop, fd, on_listener, listener, &listener->watch) != TP_OK)
        log_error("can't watch a listening socket", "");
    if (worker->ready)
        listeners_start(worker);
}

void listeners_start(struct worker *worker)
{
    for (struct listener *listener = worker->listeners; listener; listener = listener->next) {
        if (listener->watch && !worker->draining)
            watch_set(listener->watch, WATCH_READ);
    }
}

void listeners_stop(struct worker *worker)
{
    while (worker->listeners) {
        struct listener *listener = worker->listeners;
        worker->listeners = listener->next;
        watch_free(listener->watch);
        timer_free(listener->pause);
        (void)close(listener->fd);
        if (listener->reserve >= 0)
            (void)close(listener->reserve);
        mem_free(listener);
    }
}

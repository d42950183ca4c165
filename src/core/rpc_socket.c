/* A line over a unix socket. A descriptor goes with the first byte of its frame, so what is sent at once ends where the next
 * frame with one begins. */
#include "core/rpc_priv.h"

#include "base/mem.h"
#include "base/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/* A descriptor to send with the frame that starts at this byte of the out queue. */
struct out_fd {
    uint64_t position;
    int fd;
    struct out_fd *next;
};

static void update_watch(struct rpc *rpc)
{
    if (rpc->watch && !rpc->closing)
        watch_set(rpc->watch, WATCH_READ | (buf_size(&rpc->out) > 0 ? WATCH_WRITE : 0));
}

static void on_flush(void *ctx)
{
    struct rpc *rpc = ctx;
    while (buf_size(&rpc->out) > 0 && !rpc->closing) {
        size_t size = buf_size(&rpc->out);
        struct iovec iov = {.iov_base = (void *)(uintptr_t)buf_head(&rpc->out)};
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
        union {
            struct cmsghdr header;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control = {0};
        bool with_fd = rpc->out_fds && rpc->out_fds->position == rpc->out_position;
        ssize_t sent;

        if (with_fd) {
            message.msg_control = &control;
            message.msg_controllen = sizeof(control.bytes);
            control.header.cmsg_level = SOL_SOCKET;
            control.header.cmsg_type = SCM_RIGHTS;
            control.header.cmsg_len = CMSG_LEN(sizeof(int));
            *(int *)(void *)CMSG_DATA(&control.header) = rpc->out_fds->fd;
            if (rpc->out_fds->next && rpc->out_fds->next->position - rpc->out_position < size)
                size = (size_t)(rpc->out_fds->next->position - rpc->out_position);
        } else if (rpc->out_fds && rpc->out_fds->position - rpc->out_position < size) {
            size = (size_t)(rpc->out_fds->position - rpc->out_position);
        }
        iov.iov_len = size;
        sent = sendmsg(rpc->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (sent < 0) {
            rpc_end(rpc, errno == EPIPE || errno == ECONNRESET ? CLOSE_PEER_RESET : CLOSE_IO_ERROR);
            return;
        }
        if (with_fd) {
            struct out_fd *item = rpc->out_fds;
            rpc->out_fds = item->next;
            (void)close(item->fd);
            mem_free(item);
        }
        rpc->out_position += (uint64_t)sent;
        buf_consume(&rpc->out, (size_t)sent);
    }
    update_watch(rpc);
}

void rpc_socket_send(struct rpc *rpc, const uint8_t header[RPC_HEADER_SIZE], const char *text, size_t size, int fd)
{
    if (fd >= 0) {
        struct out_fd **tail = &rpc->out_fds;
        struct out_fd *item = mem_alloc(sizeof(*item));
        while (*tail)
            tail = &(*tail)->next;
        item->position = rpc->out_position + buf_size(&rpc->out);
        /* Not into the next child: it would hold another process's line open, and could speak on it. */
        item->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        *tail = item;
    }
    wr_bytes(&rpc->out, header, RPC_HEADER_SIZE);
    wr_bytes(&rpc->out, text, size);
    if (rpc->out.failed)
        rpc_end(rpc, CLOSE_TOO_LARGE);
    else
        later_run(rpc->loop, &rpc->flush);
}

static void keep_fds(struct rpc *rpc, struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        size_t count;
        const int *fds = (const int *)(void *)CMSG_DATA(c);
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            if (rpc->in_fd_count < RPC_FDS_MAX)
                rpc->in_fds[rpc->in_fd_count++] = fds[i];
            else
                (void)close(fds[i]);
        }
    }
}

static void read_socket(struct rpc *rpc)
{
    for (int i = 0; i < 16 && !rpc->closing; i++) {
        struct iovec iov;
        char control[CMSG_SPACE(sizeof(int) * 8)];
        struct msghdr message = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
        uint8_t *to = buf_reserve(&rpc->in, RPC_READ_SIZE);
        ssize_t got;
        if (!to) {
            rpc_end(rpc, CLOSE_TOO_LARGE);
            return;
        }
        iov = (struct iovec){.iov_base = to, .iov_len = RPC_READ_SIZE};
        got = recvmsg(rpc->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                rpc_end(rpc, errno == ECONNRESET ? CLOSE_PEER_RESET : CLOSE_IO_ERROR);
            return;
        }
        if (got == 0) {
            rpc_end(rpc, CLOSE_CLIENT_CLOSED);
            return;
        }
        keep_fds(rpc, &message);
        buf_commit(&rpc->in, (size_t)got);
        rpc_take_frames(rpc);
        if ((size_t)got < RPC_READ_SIZE)
            return;
    }
}

static void on_socket(void *ctx, int events)
{
    struct rpc *rpc = ctx;
    if (events & WATCH_WRITE)
        on_flush(rpc);
    if (events & (WATCH_READ | WATCH_HANGUP) && !rpc->closing)
        read_socket(rpc);
}

int rpc_socket_take_fd(struct rpc *rpc)
{
    if (rpc->in_fd_count == 0)
        return -1;
    int fd = rpc->in_fds[0];
    rpc->in_fd_count--;
    for (size_t i = 0; i < rpc->in_fd_count; i++)
        rpc->in_fds[i] = rpc->in_fds[i + 1];
    return fd;
}

void rpc_socket_stop(struct rpc *rpc)
{
    if (rpc->watch)
        watch_set(rpc->watch, 0);
    later_cancel(&rpc->flush);
}

void rpc_socket_close(struct rpc *rpc)
{
    watch_free(rpc->watch);
    later_cancel(&rpc->flush);
    while (rpc->out_fds) {
        struct out_fd *item = rpc->out_fds;
        rpc->out_fds = item->next;
        (void)close(item->fd);
        mem_free(item);
    }
    for (size_t i = 0; i < rpc->in_fd_count; i++)
        (void)close(rpc->in_fds[i]);
    if (rpc->fd >= 0)
        (void)close(rpc->fd);
}

struct rpc *rpc_new_fd(struct loop *loop, int fd, const struct rpc_events *events, void *ctx)
{
    struct rpc *rpc = rpc_make(loop, events, ctx);
    rpc->fd = fd;
    rpc->flush = (struct later){.fn = on_flush, .ctx = rpc};
    if (watch_new(loop, fd, on_socket, rpc, &rpc->watch) != TP_OK)
        rpc_end(rpc, CLOSE_IO_ERROR);
    update_watch(rpc);
    return rpc;
}

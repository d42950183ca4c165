#include "tls/tls_client_internal.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RELAY_BUFFER ((size_t)256 * 1024)
#define PIPE_PIECE 4096            /* what a pipe that polls writable surely takes */
#define PIPE_USUAL (64 * 1024)     /* what a pipe holds */
#define PIPE_ROOM (4 * PIPE_USUAL) /* and one that was found full: its other side is woken less often */

/* One direction: bytes between start and end wait to be written. */
struct lane {
    uint8_t *data;
    size_t start;
    size_t end;
    size_t used; /* the first so many bytes of data had something in them */
    bool eof;    /* the source has ended */
    bool done;   /* and the end was passed on */
};

struct relay {
    struct tls_client *client;
    int in_fd;
    int out_fd;
    struct lane up;   /* in_fd to server */
    struct lane down; /* server to out_fd */
    bool read_wants_write;
    bool write_wants_read;
    bool more_inside; /* the buffer was full before TLS was empty */
    bool out_is_socket;
    bool in_wide; /* the pipe was asked to hold more, which is done once */
    bool out_wide;
    struct tp_error *error;
};

static bool empty(const struct lane *lane)
{
    return lane->start == lane->end;
}

static void filled_to(struct lane *lane, size_t end)
{
    lane->end = end;
    if (lane->used < end)
        lane->used = end;
}

/* Not before it is of use: what all pipes of a person may hold together is bounded. No pipe, or no more allowed: as it was. */
static void widen(int fd, bool *wide)
{
    if (*wide)
        return;
    *wide = true;
    int room = fcntl(fd, F_GETPIPE_SZ);
    if (room >= 0 && room < PIPE_ROOM)
        (void)fcntl(fd, F_SETPIPE_SZ, PIPE_ROOM);
}

static enum tp_err fill_up(struct relay *relay)
{
    ssize_t count = read(relay->in_fd, relay->up.data, RELAY_BUFFER);
    if (count > 0) {
        relay->up.start = 0;
        filled_to(&relay->up, (size_t)count);
        if (count >= PIPE_USUAL)
            widen(relay->in_fd, &relay->in_wide);
    } else if (count == 0 || errno == ECONNRESET || errno == EIO) { /* EIO: a terminal that hung up */
        relay->up.eof = true;
    } else if (errno != EAGAIN && errno != EINTR) {
        return err_errno(relay->error, errno, "reading the input failed");
    }
    return TP_OK;
}

static enum tp_err drain_up(struct relay *relay)
{
    struct lane *lane = &relay->up;
    relay->write_wants_read = false;
    while (!empty(lane)) {
        int result;
        enum tls_step step;
        enum tp_err code = TP_CLOSED;
        errno = 0;
        ERR_clear_error();
        result = SSL_write(relay->client->ssl, lane->data + lane->start, (int)(lane->end - lane->start));
        if (result > 0) {
            lane->start += (size_t)result;
            continue;
        }
        step = tls_client_step(relay->client, result, relay->error, &code);
        if (step == TLS_STEP_FAILED)
            return code;
        if (step == TLS_STEP_END) {
            lane->start = lane->end;
            lane->eof = true;
            break;
        }
        relay->write_wants_read = step == TLS_STEP_WANT_READ;
        return TP_OK;
    }
    if (lane->eof && !lane->done) {
        int result = SSL_shutdown(relay->client->ssl); /* close_notify; the server may go on sending */
        bool full = result < 0 && SSL_get_error(relay->client->ssl, result) == SSL_ERROR_WANT_WRITE;
        ERR_clear_error();
        lane->done = !full; /* else again when there is room: without it the server would wait for more */
    }
    return TP_OK;
}

static enum tp_err fill_down(struct relay *relay)
{
    struct lane *lane = &relay->down;
    relay->read_wants_write = false;
    if (lane->start > 0) {
        memmove(lane->data, lane->data + lane->start, lane->end - lane->start);
        lane->end -= lane->start;
        lane->start = 0;
    }
    relay->more_inside = true; /* until TLS says otherwise: poll does not see what it has decrypted already */
    while (!lane->eof && lane->end < RELAY_BUFFER) {
        int result;
        enum tls_step step;
        enum tp_err code = TP_CLOSED;
        errno = 0;
        ERR_clear_error();
        result = SSL_read(relay->client->ssl, lane->data + lane->end, (int)(RELAY_BUFFER - lane->end));
        if (result > 0) {
            filled_to(lane, lane->end + (size_t)result);
            continue;
        }
        step = tls_client_step(relay->client, result, relay->error, &code);
        if (step == TLS_STEP_FAILED)
            return code;
        relay->more_inside = false;
        lane->eof = step == TLS_STEP_END;
        relay->read_wants_write = step == TLS_STEP_WANT_WRITE;
        break;
    }
    return TP_OK;
}

static enum tp_err drain_down(struct relay *relay, bool nonblocking)
{
    struct lane *lane = &relay->down;
    while (!empty(lane)) {
        size_t size = lane->end - lane->start;
        ssize_t count;
        if (!nonblocking && size > PIPE_PIECE)
            size = PIPE_PIECE;
        count = write(relay->out_fd, lane->data + lane->start, size);
        if (count < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (count < 0)
            return err_errno(relay->error, errno, "writing the output failed");
        if (nonblocking && (size_t)count < size)
            widen(relay->out_fd, &relay->out_wide);
        lane->start += (size_t)count;
        if (!nonblocking)
            break; /* one piece for each time that poll said writable */
    }
    if (lane->eof && empty(lane) && !lane->done) {
        if (relay->out_is_socket)
            (void)shutdown(relay->out_fd, SHUT_WR);
        lane->done = true;
    }
    return TP_OK;
}

/* Room enough that moving the rest to the front costs little. */
static bool may_read_tls(const struct relay *relay)
{
    return !relay->down.eof && relay->down.end - relay->down.start < RELAY_BUFFER / 2;
}

/* The descriptors to wait for, by what each lane can do next. */
static void fill_poll(const struct relay *relay, struct pollfd items[3])
{
    items[0] = (struct pollfd){.fd = -1, .events = POLLIN};
    items[1] = (struct pollfd){.fd = relay->client->fd};
    items[2] = (struct pollfd){.fd = -1, .events = POLLOUT};
    if (!relay->up.eof && empty(&relay->up))
        items[0].fd = relay->in_fd;
    if (may_read_tls(relay))
        items[1].events |= relay->read_wants_write ? POLLOUT : POLLIN;
    if (!empty(&relay->up) || (relay->up.eof && !relay->up.done))
        items[1].events |= relay->write_wants_read ? POLLIN : POLLOUT;
    if (items[1].events == 0)
        items[1].fd = -1;
    if (!empty(&relay->down))
        items[2].fd = relay->out_fd;
}

static enum tp_err turn(struct relay *relay, bool nonblocking)
{
    struct pollfd items[3];
    bool more = relay->more_inside && may_read_tls(relay);
    enum tp_err code = TP_OK;
    fill_poll(relay, items);
    if (poll(items, 3, more ? 0 : -1) < 0)
        return errno == EINTR ? TP_OK : err_errno(relay->error, errno, "poll failed");
    if (items[0].fd >= 0 && items[0].revents)
        code = fill_up(relay);
    if (code == TP_OK && (!empty(&relay->up) || (relay->up.eof && !relay->up.done)))
        code = drain_up(relay);
    if (code == TP_OK && may_read_tls(relay) && (more || items[1].revents))
        code = fill_down(relay);
    if (code == TP_OK && (nonblocking || (items[2].fd >= 0 && items[2].revents) || empty(&relay->down)))
        code = drain_down(relay, nonblocking);
    return code;
}

enum tp_err tls_client_relay(struct tls_client *client, int in_fd, int out_fd, struct tp_error *error)
{
    struct relay relay = {.client = client, .in_fd = in_fd, .out_fd = out_fd, .error = error};
    struct stat kind;
    int flags = fcntl(out_fd, F_GETFL);
    bool nonblocking = false;
    enum tp_err code;
    if (flags < 0 || fstat(out_fd, &kind) != 0)
        return err_errno(error, errno, "the output cannot be used");
    relay.out_is_socket = S_ISSOCK(kind.st_mode);
    /* A terminal's description is shared with the shell, so its flags are left alone. */
    if (S_ISSOCK(kind.st_mode) || S_ISFIFO(kind.st_mode))
        nonblocking = fcntl(out_fd, F_SETFL, flags | O_NONBLOCK) == 0;
    if (!client->ahead)
        client->ahead = mem_alloc(TLS_CLIENT_AHEAD);
    relay.up.data = mem_alloc(RELAY_BUFFER);
    relay.down.data = mem_alloc(RELAY_BUFFER);
    code = fill_down(&relay); /* bytes may wait inside TLS already, where poll does not see them */
    while (code == TP_OK && !(relay.down.done && (relay.up.done || !relay.out_is_socket)))
        code = turn(&relay, nonblocking);
    if (nonblocking)
        (void)fcntl(out_fd, F_SETFL, flags);
    secret_wipe(relay.up.data, relay.up.used);
    secret_wipe(relay.down.data, relay.down.used);
    mem_free(relay.up.data);
    mem_free(relay.down.data);
    return code;
}

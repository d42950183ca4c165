/*
 * Happy path: the socket is watched for reading; each readable event reads until the socket is dry or the turn's share is
 * used; each write queues and one flush at the end of the turn sends it. Failures close with their reason.
 *
 *            handshake done            stream_close, error, or both ends done
 *   OPENING ----------------> OPEN ------------------------------------------> CLOSING -> on_close, freed
 *                              |  stream_close_flush                             ^
 *                              +------------------> FLUSHING -- queue empty/5 s -+
 */
#include "core/stream_priv.h"

#include "base/mem.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define READS_PER_TURN 4 /* pieces of LOOP_SCRATCH_SIZE: one fast peer must not starve the others */
#define FLUSH_MS 5000
#define KEEP_LOW ((size_t)4096) /* bytes of an empty queue */

enum state { STREAM_OPENING, STREAM_OPEN, STREAM_FLUSHING, STREAM_CLOSING };

struct stream {
    struct loop *loop;
    int fd;
    enum state state;
    const struct stream_transport *transport;
    void *transport_state;
    const struct stream_events *events;
    void *ctx;
    struct watch *watch;
    struct timer *flush_deadline;
    struct later flush;     /* end of turn: write what is queued */
    struct later read_more; /* the transport holds bytes, or the turn's share was used up */
    struct later finish;    /* on_close */
    struct buf out;
    enum close_reason reason;
    uint64_t rx;
    uint64_t tx;
    bool paused;
    bool deaf; /* the peer sends although it is paused: no more events of that until it is resumed */
    bool was_full;
    size_t high; /* of the queue */
    bool read_ended;
    bool shutdown_asked;
    bool write_ended;
    bool read_wants_write; /* TLS: the pending read needs a writable socket */
    bool write_wants_read;
    bool write_blocked; /* the socket took less than was queued */
};

/* ---- the plain transport ---- */

static enum stream_io errno_io(enum stream_io again, enum close_reason *ret_reason)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return again;
    *ret_reason = errno == ECONNRESET || errno == EPIPE ? CLOSE_PEER_RESET : CLOSE_IO_ERROR;
    return STREAM_IO_FAILED;
}

static enum stream_io plain_read(void *state, int fd, uint8_t *data, size_t size, size_t *ret_size,
                                 enum close_reason *ret_reason)
{
    ssize_t got = recv(fd, data, size, 0);
    (void)state;
    if (got == 0)
        return STREAM_IO_EOF;
    if (got < 0)
        return errno_io(STREAM_IO_WANT_READ, ret_reason);
    *ret_size = (size_t)got;
    return STREAM_IO_OK;
}

static enum stream_io plain_write(void *state, int fd, const uint8_t *data, size_t size, size_t *ret_size,
                                  enum close_reason *ret_reason)
{
    ssize_t put = send(fd, data, size, MSG_NOSIGNAL);
    (void)state;
    if (put < 0)
        return errno_io(STREAM_IO_WANT_WRITE, ret_reason);
    *ret_size = (size_t)put;
    return STREAM_IO_OK;
}

static const struct stream_transport plain = {.read = plain_read, .write = plain_write};

/* ---- life ---- */

static void destroy(void *ctx)
{
    struct stream *stream = ctx;
    const struct stream_events *events = stream->events;
    void *owner = stream->ctx;
    enum close_reason reason = stream->reason;

    events->on_close(owner, reason);
    watch_free(stream->watch);
    timer_free(stream->flush_deadline);
    later_cancel(&stream->flush);
    later_cancel(&stream->read_more);
    if (stream->transport->free)
        stream->transport->free(stream->transport_state);
    (void)close(stream->fd);
    buf_wipe(&stream->out);
    mem_free(stream);
}

void stream_close(struct stream *stream, enum close_reason reason)
{
    if (stream->state == STREAM_CLOSING)
        return;
    if (stream->reason == CLOSE_NONE)
        stream->reason = reason;
    stream->state = STREAM_CLOSING;
    watch_set(stream->watch, 0);
    later_cancel(&stream->flush);
    later_cancel(&stream->read_more);
    later_run(stream->loop, &stream->finish);
}

static void on_flush_deadline(void *ctx)
{
    struct stream *stream = ctx;
    stream_close(stream, stream->reason);
}

void stream_close_flush(struct stream *stream, enum close_reason reason)
{
    if (stream->state == STREAM_CLOSING || stream->state == STREAM_FLUSHING)
        return;
    if (stream->state == STREAM_OPENING || (buf_size(&stream->out) == 0 && stream->write_ended)) {
        stream_close(stream, reason);
        return;
    }
    if (stream->reason == CLOSE_NONE)
        stream->reason = reason;
    stream->state = STREAM_FLUSHING;
    stream->shutdown_asked = true;
    stream->flush_deadline = timer_new(stream->loop, on_flush_deadline, stream);
    timer_start(stream->flush_deadline, FLUSH_MS, 0);
    later_run(stream->loop, &stream->flush);
}

static void update_watch(struct stream *stream)
{
    int events = 0;
    if (stream->state == STREAM_CLOSING)
        return;
    if (stream->state == STREAM_OPENING) {
        events = stream->write_blocked ? WATCH_WRITE : WATCH_READ;
        watch_set(stream->watch, events);
        return;
    }
    if (stream->state == STREAM_OPEN && !stream->deaf && !stream->read_ended)
        events |= stream->read_wants_write ? WATCH_WRITE : WATCH_READ;
    if (stream->write_blocked)
        events |= stream->write_wants_read ? WATCH_READ : WATCH_WRITE;
    watch_set(stream->watch, events);
}

static void both_ended(struct stream *stream)
{
    if (stream->state == STREAM_OPEN && stream->read_ended && stream->write_ended)
        stream_close(stream, CLOSE_DONE);
    else if (stream->state == STREAM_FLUSHING && stream->write_ended)
        stream_close(stream, stream->reason);
}

/* ---- writing ---- */

static void end_writing(struct stream *stream)
{
    if (stream->write_ended)
        return;
    if (stream->transport->shutdown) {
        enum stream_io io = stream->transport->shutdown(stream->transport_state);
        if (io == STREAM_IO_WANT_WRITE) {
            stream->write_blocked = true;
            return;
        }
    }
    (void)shutdown(stream->fd, SHUT_WR);
    stream->write_ended = true;
    both_ended(stream);
}

/* Gives the queue to the transport: OK when nothing is left in either. */
static enum stream_io write_out(struct stream *stream, enum close_reason *ret_reason)
{
    enum stream_io io = STREAM_IO_OK;
    while (io == STREAM_IO_OK && buf_size(&stream->out) > 0) {
        size_t put = 0;
        io = stream->transport->write(stream->transport_state, stream->fd, buf_head(&stream->out),
                                      buf_size(&stream->out), &put, ret_reason);
        stream->tx += put;
        buf_consume(&stream->out, put);
    }
    if (io == STREAM_IO_OK && stream->transport->flush)
        io = stream->transport->flush(stream->transport_state, ret_reason);
    return io;
}

/* Sends what is queued; false: the stream is closing. */
static bool send_queue(struct stream *stream)
{
    enum close_reason reason = CLOSE_IO_ERROR;
    enum stream_io io = write_out(stream, &reason);
    stream->write_blocked = io == STREAM_IO_WANT_WRITE || io == STREAM_IO_WANT_READ;
    stream->write_wants_read = io == STREAM_IO_WANT_READ;
    if (io != STREAM_IO_OK && !stream->write_blocked) {
        stream_close(stream, reason);
        return false;
    }
    if (buf_size(&stream->out) == 0 && stream->high < STREAM_HIGH && stream->out.capacity > KEEP_LOW)
        buf_free(&stream->out); /* whoever has a low bound has it for the sake of memory */
    if (io == STREAM_IO_OK && stream->shutdown_asked)
        end_writing(stream);
    return true;
}

static bool is_drained(const struct stream *stream)
{
    return stream->was_full && stream_queued(stream) <= stream->high / 4 && stream->state == STREAM_OPEN;
}

static void flush(struct stream *stream)
{
    if (!send_queue(stream))
        return;
    if (is_drained(stream)) {
        stream->was_full = false;
        if (stream->events->on_drain)
            stream->events->on_drain(stream->ctx);
    }
    update_watch(stream);
}

bool stream_push(struct stream *stream)
{
    bool sent;
    if (stream->state != STREAM_OPEN || stream->write_blocked)
        return false;
    if (stream->transport->more)
        stream->transport->more(stream->transport_state, true);
    sent = send_queue(stream);
    if (stream->transport->more)
        stream->transport->more(stream->transport_state, false);
    if (!sent)
        return false;
    if (is_drained(stream))
        stream->was_full = false;
    update_watch(stream);
    return !stream->was_full && stream->state == STREAM_OPEN;
}

static void on_flush(void *ctx)
{
    struct stream *stream = ctx;
    if (!stream->write_blocked && stream->state != STREAM_OPENING)
        flush(stream);
}

void stream_write(struct stream *stream, const void *data, size_t size)
{
    if (stream->state == STREAM_CLOSING || stream->state == STREAM_FLUSHING || stream->shutdown_asked || size == 0)
        return;
    if (buf_append(&stream->out, data, size) != TP_OK) {
        stream_close(stream, CLOSE_TOO_LARGE);
        return;
    }
    if (stream_queued(stream) >= stream->high)
        stream->was_full = true;
    if (!stream->write_blocked && stream->state == STREAM_OPEN)
        later_run(stream->loop, &stream->flush);
}

void stream_set_high(struct stream *stream, size_t high)
{
    stream->high = high;
}

bool stream_is_full(const struct stream *stream)
{
    return stream->was_full;
}

size_t stream_queued(const struct stream *stream)
{
    const struct stream_transport *transport = stream->transport;
    return buf_size(&stream->out) + (transport->unsent ? transport->unsent(stream->transport_state) : 0);
}

void stream_shutdown(struct stream *stream)
{
    if (stream->state == STREAM_CLOSING || stream->shutdown_asked)
        return;
    stream->shutdown_asked = true;
    if (!stream->write_blocked && stream->state != STREAM_OPENING)
        later_run(stream->loop, &stream->flush);
}

/* ---- reading ---- */

static void ended_by_peer(struct stream *stream)
{
    stream->read_ended = true;
    if (stream->events->on_eof)
        stream->events->on_eof(stream->ctx);
    else
        stream_close(stream, CLOSE_CLIENT_CLOSED);
    both_ended(stream);
}

/* Nothing is left after a read of so many bytes; should more have come just now, the watch says so. */
static bool is_dry(const struct stream *stream, size_t got)
{
    const struct stream_transport *transport = stream->transport;
    return transport->dry ? transport->dry(stream->transport_state) : got < LOOP_SCRATCH_SIZE;
}

static void read_some(struct stream *stream)
{
    uint8_t *scratch = loop_scratch(stream->loop);
    stream->read_wants_write = false;
    for (int i = 0; i < READS_PER_TURN; i++) {
        size_t got = 0;
        enum close_reason reason = CLOSE_IO_ERROR;
        enum stream_io io;
        if (stream->state != STREAM_OPEN || stream->paused || stream->read_ended)
            return;
        io = stream->transport->read(stream->transport_state, stream->fd, scratch, LOOP_SCRATCH_SIZE, &got, &reason);
        switch (io) {
        case STREAM_IO_OK:
            stream->rx += got;
            stream->events->on_data(stream->ctx, scratch, got);
            if (is_dry(stream, got))
                return;
            break;
        case STREAM_IO_EOF:
            ended_by_peer(stream);
            return;
        case STREAM_IO_WANT_WRITE:
            stream->read_wants_write = true;
            return;
        case STREAM_IO_WANT_READ:
            return;
        case STREAM_IO_FAILED:
            stream_close(stream, reason);
            return;
        }
    }
    later_run(stream->loop, &stream->read_more);
}

static void on_read_more(void *ctx)
{
    struct stream *stream = ctx;
    read_some(stream);
    update_watch(stream);
}

/* The watch stays as it is: most pauses end before the peer sends again. Should it, its event finds nothing to do and
 * takes the watch back. Taking it and giving it again would be three system calls. */
void stream_pause(struct stream *stream)
{
    stream->paused = true;
}

void stream_resume(struct stream *stream)
{
    if (!stream->paused)
        return;
    stream->paused = false;
    stream->deaf = false;
    if (stream->state == STREAM_OPEN && stream->transport->pending &&
        stream->transport->pending(stream->transport_state))
        later_run(stream->loop, &stream->read_more);
    update_watch(stream);
}

/* ---- events ---- */

static void handshake(struct stream *stream)
{
    enum close_reason reason = CLOSE_TLS_FAILED;
    enum stream_io io = STREAM_IO_OK;
    if (stream->transport->handshake)
        io = stream->transport->handshake(stream->transport_state, &reason);
    stream->write_blocked = io == STREAM_IO_WANT_WRITE;
    if (io == STREAM_IO_FAILED || io == STREAM_IO_EOF) {
        stream_close(stream, reason);
        return;
    }
    if (io != STREAM_IO_OK) {
        update_watch(stream);
        return;
    }
    stream->state = STREAM_OPEN;
    if (stream->events->on_ready)
        stream->events->on_ready(stream->ctx);
    if (stream->state != STREAM_OPEN)
        return;
    if (buf_size(&stream->out) > 0 || stream->shutdown_asked)
        later_run(stream->loop, &stream->flush);
    if (stream->transport->pending)
        later_run(stream->loop, &stream->read_more);
    update_watch(stream);
}

static void on_events(void *ctx, int events)
{
    struct stream *stream = ctx;
    if (stream->state == STREAM_OPENING) {
        handshake(stream);
        return;
    }
    if (stream->paused && events & (WATCH_READ | WATCH_HANGUP))
        stream->deaf = true;
    if (stream->write_blocked && events & (stream->write_wants_read ? WATCH_READ : WATCH_WRITE))
        flush(stream);
    if (stream->state == STREAM_OPEN && events & (WATCH_READ | WATCH_WRITE | WATCH_HANGUP))
        read_some(stream);
    update_watch(stream);
}

static void on_start(void *ctx)
{
    struct stream *stream = ctx;
    stream->flush.fn = on_flush;
    if (stream->state == STREAM_OPENING)
        handshake(stream);
}

struct stream *stream_new_transport(struct loop *loop, int fd, const struct stream_transport *transport, void *state,
                                    const struct stream_events *events, void *ctx)
{
    struct stream *stream = mem_alloc(sizeof(*stream));
    stream->loop = loop;
    stream->fd = fd;
    stream->transport = transport;
    stream->transport_state = state;
    stream->events = events;
    stream->ctx = ctx;
    stream->flush = (struct later){.fn = on_start, .ctx = stream};
    stream->read_more = (struct later){.fn = on_read_more, .ctx = stream};
    stream->finish = (struct later){.fn = destroy, .ctx = stream};
    stream->high = STREAM_HIGH;
    buf_init(&stream->out, STREAM_LIMIT);
    if (watch_new(loop, fd, on_events, stream, &stream->watch) != TP_OK) {
        /* No watch to take events from: a never-started one would be needed only to be freed. */
        stream->state = STREAM_CLOSING;
        stream->reason = CLOSE_IO_ERROR;
        later_run(loop, &stream->finish);
        return stream;
    }
    later_run(loop, &stream->flush);
    return stream;
}

struct stream *stream_new(struct loop *loop, int fd, const struct stream_events *events, void *ctx)
{
    return stream_new_transport(loop, fd, &plain, NULL, events, ctx);
}

void *stream_transport_state(const struct stream *stream, const struct stream_transport *transport)
{
    return stream->transport == transport ? stream->transport_state : NULL;
}

void stream_set_events(struct stream *stream, const struct stream_events *events, void *ctx)
{
    stream->events = events;
    stream->ctx = ctx;
}

bool stream_is_closing(const struct stream *stream)
{
    return stream->state == STREAM_CLOSING || stream->state == STREAM_FLUSHING;
}

uint64_t stream_rx(const struct stream *stream)
{
    return stream->rx;
}
uint64_t stream_tx(const struct stream *stream)
{
    return stream->tx;
}
int stream_fd(const struct stream *stream)
{
    return stream->fd;
}
struct loop *stream_loop(const struct stream *stream)
{
    return stream->loop;
}

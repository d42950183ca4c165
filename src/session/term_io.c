/* The bytes of a terminal or file: to the person through the ring of what he has not acknowledged, from him to the descriptor. */
#include "session/term_priv.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TURN_LIMIT ((size_t)256 * 1024) /* bytes before others have their turn */
#define TO_FD_MAX ((size_t)64 * 1024)   /* the link is not read while so much waits */

static void activity(struct term *term)
{
    term->last_activity_ms = loop_now_ms(term->loop);
}

static bool must_wait(struct term *term)
{
    return buf_size(&term->ring) >= TERM_WINDOW || (term->recorder != NULL && recorder_is_full(term->recorder));
}

static void end_of_output(struct term *term)
{
    term_stop_io(term);
    term_wake(term);
}

/* Descriptor to ring. */
static void pump_out(struct term *term)
{
    for (size_t turn = 0; term->fd >= 0 && term->use != TERM_UPLOAD;) {
        size_t room = TERM_WINDOW - buf_size(&term->ring);
        if (must_wait(term)) {
            if (term->watch != NULL) {
                watch_set(term->watch, buf_size(&term->to_fd) > 0 ? WATCH_WRITE : 0);
            }
            return;
        }
        if (turn >= TURN_LIMIT) {
            term_wake(term);
            return;
        }
        size_t ask = room < TERM_FRAME_MAX ? room : TERM_FRAME_MAX;
        uint8_t *place = buf_reserve(&term->ring, ask);
        ssize_t n = place == NULL ? -1 : read(term->fd, place, ask);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN && !term->exited) {
            if (term->watch != NULL) {
                watch_set(term->watch, buf_size(&term->to_fd) > 0 ? WATCH_READ | WATCH_WRITE : WATCH_READ);
            }
            return;
        }
        if (n <= 0) { /* the end; a terminal says EIO, and after the shell's exit nobody else's output is waited for */
            if (term->use == TERM_DOWNLOAD && !term->exited) {
                term->exited = true;
                term->exit_status = n == 0 ? 0 : 1;
            }
            end_of_output(term);
            return;
        }
        if (term->recorder != NULL) {
            recorder_output(term->recorder, place, (size_t)n);
        }
        buf_commit(&term->ring, (size_t)n);
        turn += (size_t)n;
        activity(term);
    }
}

/* Ring to link. */
static void pump_link(struct term *term)
{
    while (term->link != NULL && term->link_open && !stream_is_full(term->link)) {
        size_t skip = (size_t)(term->sent - term->acked);
        size_t size = buf_size(&term->ring) - skip;
        if (size == 0) {
            return;
        }
        if (size > TERM_FRAME_MAX) {
            size = TERM_FRAME_MAX;
        }
        term_send(term, TERM_DATA, buf_head(&term->ring) + skip, size);
        term->sent += size;
    }
}

/* The person's bytes to the descriptor. */
static void pump_in(struct term *term)
{
    while (term->fd >= 0 && buf_size(&term->to_fd) > 0) {
        ssize_t n = write(term->fd, buf_head(&term->to_fd), buf_size(&term->to_fd));
        if (n > 0) {
            buf_consume(&term->to_fd, (size_t)n);
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && errno == EAGAIN) {
            break;
        } else if (term->use == TERM_UPLOAD) {
            term->exited = true;
            term->exit_status = 1;
            term_close(term, CLOSE_IO_ERROR,
                       errno == ENOSPC || errno == EDQUOT ? "no space is left for the file"
                                                          : "the file could not be written");
            return;
        } else {
            buf_clear(&term->to_fd); /* a terminal that is gone; its exit says the rest */
        }
    }
    if (term->link != NULL && buf_size(&term->to_fd) < TO_FD_MAX / 2) {
        stream_resume(term->link);
    }
}

void term_pump(struct term *term)
{
    if (term->phase != TERM_RUNNING) {
        return;
    }
    pump_in(term);
    if (term->phase == TERM_RUNNING) {
        pump_out(term);
        pump_link(term);
    }
}

static void on_fd(void *ctx, int events)
{
    (void)events;
    term_wake(ctx);
}

void term_start_io(struct term *term, int fd)
{
    term->fd = fd;
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (watch_new(term->loop, fd, on_fd, term, &term->watch) != TP_OK) {
        term->watch = NULL; /* a file: always ready */
    } else {
        watch_set(term->watch, WATCH_READ);
    }
}

void term_stop_io(struct term *term)
{
    watch_free(term->watch);
    term->watch = NULL;
    if (term->fd >= 0) {
        (void)close(term->fd);
    }
    term->fd = -1;
}

enum tp_err term_input(struct term *term, const uint8_t *data, size_t size)
{
    if (term->phase != TERM_RUNNING || term->use == TERM_DOWNLOAD || term->exited || term->quit) {
        return TP_OK;
    }
    activity(term);
    enum tp_err err = buf_append(&term->to_fd, data, size);
    if (err == TP_OK && buf_size(&term->to_fd) >= TO_FD_MAX && term->link != NULL) {
        stream_pause(term->link);
    }
    if (term->watch != NULL) {
        watch_set(term->watch, WATCH_READ | WATCH_WRITE);
    }
    term_wake(term);
    return err;
}

enum tp_err term_ack(struct term *term, uint64_t offset)
{
    if (offset > term->sent) {
        return TP_PROTOCOL;
    }
    if (offset > term->acked) { /* an older one says nothing new */
        buf_consume(&term->ring, (size_t)(offset - term->acked));
        term->acked = offset;
        term_wake(term);
    }
    return TP_OK;
}

static void on_size(void *ctx, uint32_t cols, uint32_t rows)
{
    struct term *term = ctx;
    char text[32];
    if (term->recorder != NULL) {
        recorder_resize(term->recorder, cols, rows);
    }
    (void)snprintf(text, sizeof(text), "%u:%u", cols, rows);
    rpc_event(term->monitor, "audit", json_pack("{s:s, s:{s:s}}", "event", "resize", "fields", "size", text));
}

void term_resize(struct term *term, uint32_t cols, uint32_t rows)
{
    if (term->use != TERM_SHELL || term->fd < 0 || (cols == term->cols && rows == term->rows)) {
        return;
    }
    if (term->sizes == NULL) {
        term->sizes = sizes_new(term->loop, term->cols, term->rows, on_size, term);
    }
    term->cols = cols;
    term->rows = rows;
    struct winsize size = {.ws_col = (unsigned short)cols, .ws_row = (unsigned short)rows};
    (void)ioctl(term->fd, TIOCSWINSZ, &size);
    sizes_set(term->sizes, cols, rows);
}

/* ---- the recording ---- */

static void on_recorder(void *ctx)
{
    struct term *term = ctx;
    if (recorder_has_failed(term->recorder) && term->record_strict) {
        term_close(term, CLOSE_RECORDING_FAILED, "session closed: it can't be recorded");
    }
    term_wake(term);
}

static void on_recorded(void *ctx, json_t *result, const struct tp_error *error)
{
    struct term *term = ctx;
    (void)result;
    term->record_call = 0;
    recorder_confirm(term->recorder, error);
}

static void record_append(void *ctx, struct recorder *recorder, uint64_t offset, const char *piece)
{
    struct term *term = ctx;
    (void)recorder;
    term->record_call =
        rpc_request(term->monitor, "record",
                    json_pack("{s:i, s:I, s:s}", "channel", TERM_CHANNEL, "offset", (json_int_t)offset, "data", piece),
                    NULL, 0, on_recorded, term);
}

static void record_cancel(void *ctx)
{
    struct term *term = ctx;
    if (term->record_call != 0) {
        rpc_cancel(term->monitor, term->record_call);
        term->record_call = 0;
    }
}

void term_start_recorder(struct term *term, const char *name, const char *shell)
{
    if (!term->record) {
        return;
    }
    struct recorder_options options = {
        .terminal = true,
        .packed = term->record_packed,
        .header = {.cols = term->cols, .rows = term->rows, .timestamp = clock_wall(), .term = name, .shell = shell}};
    struct recorder_sink sink = {.append = record_append, .cancel = record_cancel, .ctx = term};
    term->recorder = recorder_new(term->loop, &sink, &options, on_recorder, term);
}

#include "session/term.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/wire.h"
#include "session/sandbox.h"
#include "session/term_priv.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define MONITOR_FD 3
#define LINK_FD 4
#define OPEN_MS 10000   /* to the open frame (R9) */
#define AWAY_MS 30000   /* for a person whose network was lost */
#define LINGER_MS 3000  /* for recordings to be confirmed */
#define OPEN_WAIT 20000 /* for the shell or the file */

void term_wake(struct term *term)
{
    later_run(term->loop, &term->step);
}

void term_send(struct term *term, enum term_type type, const void *payload, size_t size)
{
    uint8_t head[TERM_HEAD];
    if (term->link == NULL) {
        return;
    }
    term_head(head, type, size);
    stream_write(term->link, head, sizeof(head));
    stream_write(term->link, payload, size);
}

void term_send_json(struct term *term, enum term_type type, json_t *object)
{
    char *text = json_text(object);
    size_t size = strlen(text);
    if (size <= TERM_CONTROL_MAX) {
        term_send(term, type, text, size);
    }
    mem_free(text);
    json_decref(object);
}

/* ---- the end ---- */

static void on_bye(void *ctx, json_t *result, const struct tp_error *error)
{
    struct term *term = ctx;
    (void)result;
    (void)error;
    loop_stop(term->loop);
}

/* The monitor's answer to the last question says that everything before it has arrived, too. */
static void finish(struct term *term)
{
    if (term->phase != TERM_DONE) {
        term->phase = TERM_DONE;
        (void)rpc_request(term->monitor, "bye", json_object(), NULL, 2000, on_bye, term);
    }
}

static void step_ending(struct term *term)
{
    bool recorded = term->recorder != NULL && !recorder_has_failed(term->recorder);
    if (term->recorder != NULL && !recorder_is_done(term->recorder)) {
        return;
    }
    if (!term->end_told && term->use == TERM_SHELL) {
        rpc_event(term->monitor, "end",
                  json_pack("{s:i, s:b, s:b}", "channel", TERM_CHANNEL, "recorded", (int)recorded, "finished",
                            (int)term->completed));
    }
    term->end_told = true;
    if (term->link == NULL && (term->use != TERM_UPLOAD || term->file_told)) {
        finish(term);
    }
}

/* The last frame is out. */
static void begin_end(struct term *term)
{
    bool started = term->phase >= TERM_ASKING;
    term->phase = TERM_ENDING;
    term_stop_io(term);
    sizes_flush(term->sizes);
    if (term->recorder != NULL) {
        recorder_finish(term->recorder);
    }
    if (!started) {
        term->end_told = term->file_told = true; /* nothing was opened that could be ended */
    }
    if (term->link != NULL) {
        stream_close_flush(term->link, term->reason);
    }
    timer_start(term->deadline, LINGER_MS, 0);
    term_wake(term);
}

static void on_dropped(void *ctx, json_t *result, const struct tp_error *error)
{
    struct term *term = ctx;
    (void)result;
    (void)error;
    term->file_told = true;
    term_wake(term);
}

void term_close(struct term *term, enum close_reason reason, const char *text)
{
    if (term->phase >= TERM_ENDING) {
        return;
    }
    term->reason = reason;
    rpc_event(term->monitor, "closing", json_pack("{s:s}", "reason", close_name(reason)));
    term_send_json(
        term, TERM_CLOSE,
        json_pack("{s:s, s:s}", "reason", close_name(reason), "text", text != NULL ? text : close_text(reason)));
    if (term->phase >= TERM_ASKING && text != NULL && close_is_error(reason)) {
        rpc_event(term->monitor, "audit",
                  json_pack("{s:s, s:{s:s}}", "event", "client.disconnect", "fields", "reason", text));
    }
    if (term->phase >= TERM_ASKING && term->use == TERM_UPLOAD && !term->file_told) {
        (void)rpc_request(term->monitor, "file_done", json_pack("{s:b}", "ok", 0), NULL, LINGER_MS, on_dropped, term);
    }
    begin_end(term);
}

static void on_deadline(void *ctx)
{
    struct term *term = ctx;
    if (term->phase == TERM_WAITING) {
        term_close(term, CLOSE_PREAUTH_TIMEOUT, NULL);
    } else if (term->phase == TERM_ENDING) {
        log_warn("the end of a recording was not confirmed in time", "");
        finish(term);
    } else if (term->link == NULL) {
        term_close(term, CLOSE_CLIENT_CLOSED, NULL);
    }
}

static void on_tick(void *ctx)
{
    struct term *term = ctx;
    if (term->disconnect_expired_cert && term->cert_not_after_ms > 0 && clock_wall_ms() >= term->cert_not_after_ms) {
        term_close(term, CLOSE_CERT_EXPIRED, "session closed: your session has expired, sign in again");
    } else if (term->idle_timeout_ms > 0 && loop_now_ms(term->loop) - term->last_activity_ms >= term->idle_timeout_ms) {
        term_close(term, CLOSE_IDLE_TIMEOUT, "session closed: nothing was sent for too long (idle timeout)");
    }
}

/* ---- opening ---- */

/* Who watches: now, and again on each new link. */
static void say_watched(struct term *term)
{
    if (term->watched != NULL && term->link_open) {
        term_send_json(term, TERM_WATCHED, json_incref(term->watched));
    }
}

static void on_watched(struct term *term, const json_t *params)
{
    json_decref(term->watched);
    term->watched = json_pack("{s:O?, s:I}", "watchers", json_object_get(params, "watchers"), "count",
                              (json_int_t)json_get_int(params, "count", 0));
    if (term->phase == TERM_RUNNING) {
        say_watched(term);
    }
}

void term_opened(struct term *term, json_t *fields)
{
    term->phase = TERM_RUNNING;
    if (term->link != NULL && term->reader.opened) {
        (void)json_object_set_new(fields, "offset", json_integer((json_int_t)term->sent));
        term->link_open = true;
        term_send_json(term, TERM_OPEN, fields);
        say_watched(term);
    } else {
        json_decref(fields);
    }
    term_wake(term);
}

static void on_shell(void *ctx, json_t *result, const struct tp_error *error)
{
    struct term *term = ctx;
    int fd = term->arrived;
    term->arrived = -1;
    if (term->phase != TERM_ASKING || error != NULL || fd < 0) {
        if (fd >= 0) {
            (void)close(fd);
        }
        if (term->phase == TERM_ASKING) {
            term->end_told = error != NULL;
            term_close(term, CLOSE_TARGET_REFUSED, error != NULL ? error->text : "no terminal could be made");
        }
        return;
    }
    term_start_io(term, fd);
    term_start_recorder(term, "xterm-256color", json_get_text(result, "shell", NULL));
    term_opened(term, json_object());
}

static void on_file(void *ctx, json_t *result, const struct tp_error *error)
{
    struct term *term = ctx;
    int fd = term->arrived;
    term->arrived = -1;
    if (term->phase != TERM_ASKING || error != NULL || fd < 0) {
        if (fd >= 0) {
            (void)close(fd);
        }
        term->file_told |= error != NULL;
        term_close(term, CLOSE_TARGET_REFUSED, error != NULL ? error->text : "the file could not be opened");
        return;
    }
    term->size = (uint64_t)json_get_int(result, "size", 0);
    term_start_io(term, fd);
    term_opened(term, json_pack("{s:I}", "size", (json_int_t)term->size));
}

static uint32_t clamp_size(int64_t value, uint32_t otherwise)
{
    return value < 1 ? otherwise : value > 4096 ? 4096 : (uint32_t)value;
}

static enum tp_err open_file(struct term *term, const json_t *file)
{
    const char *op = json_get_text(file, "op", "");
    const char *path = json_get_text(file, "path", "");
    if (strcmp(op, "download") != 0 && strcmp(op, "upload") != 0) {
        return TP_PROTOCOL;
    }
    term->use = op[0] == 'd' ? TERM_DOWNLOAD : TERM_UPLOAD;
    term->phase = TERM_ASKING;
    (void)rpc_request(term->monitor, "open_file",
                      json_pack("{s:i, s:s, s:s}", "channel", TERM_CHANNEL, "op", op, "path", path), NULL, OPEN_WAIT,
                      on_file, term);
    return TP_OK;
}

static enum tp_err open_shell(struct term *term, const json_t *open)
{
    term->cols = clamp_size(json_get_int(open, "cols", 80), 80);
    term->rows = clamp_size(json_get_int(open, "rows", 24), 24);
    term->phase = TERM_ASKING;
    (void)rpc_request(term->monitor, "open_shell",
                      json_pack("{s:i, s:b, s:s, s:i, s:i, s:{}}", "channel", TERM_CHANNEL, "pty", 1, "term",
                                "xterm-256color", "cols", (int)term->cols, "rows", (int)term->rows, "env"),
                      NULL, 0, on_shell, term);
    return TP_OK;
}

/* A link to what runs already: from the byte on that the person has last seen. */
static enum tp_err open_again(struct term *term, const json_t *open)
{
    int64_t offset = json_get_int(open, "offset", -1);
    if (term->use == TERM_UPLOAD) {
        return TP_PROTOCOL; /* which of its bytes have come, nobody knows */
    }
    if (offset < 0 || (uint64_t)offset < term->acked || (uint64_t)offset > term->acked + buf_size(&term->ring)) {
        return TP_PROTOCOL;
    }
    term->sent = (uint64_t)offset;
    (void)term_ack(term, (uint64_t)offset);
    if (term->phase == TERM_RUNNING) {
        term_resize(term, clamp_size(json_get_int(open, "cols", 0), term->cols),
                    clamp_size(json_get_int(open, "rows", 0), term->rows));
        term_opened(term, term->use == TERM_SHELL ? json_object() : json_pack("{s:I}", "size", (json_int_t)term->size));
    }
    return TP_OK;
}

static enum tp_err take_open(struct term *term, const uint8_t *payload, size_t size)
{
    json_t *open = NULL;
    enum tp_err err = json_parse_object(payload, size, TERM_CONTROL_MAX, &open, NULL);
    if (err != TP_OK) {
        return err;
    }
    const json_t *file = json_object_get(open, "file");
    if (term->phase != TERM_WAITING) {
        err = open_again(term, open);
    } else if (json_is_object(file) != term->file_only) {
        err = TP_PROTOCOL; /* the grant is for the other thing */
    } else {
        timer_stop(term->deadline);
        err = term->file_only ? open_file(term, file) : open_shell(term, open);
    }
    json_decref(open);
    return err;
}

/* ---- the link ---- */

static void on_stored(void *ctx, json_t *result, const struct tp_error *error)
{
    struct term *term = ctx;
    (void)result;
    term->file_told = true;
    if (error != NULL) {
        term_close(term, CLOSE_IO_ERROR, error->text);
        return;
    }
    term->exited = true;
    term_wake(term);
}

static enum tp_err on_control(void *ctx, enum term_type type, const uint8_t *payload, size_t size)
{
    struct term *term = ctx;
    struct rd rd;
    rd_init(&rd, payload, size);
    term->last_activity_ms = type == TERM_ACK ? term->last_activity_ms : loop_now_ms(term->loop);
    switch (type) {
    case TERM_OPEN:
        return take_open(term, payload, size);
    case TERM_ACK:
        return term->phase == TERM_RUNNING ? term_ack(term, rd_u64(&rd)) : TP_OK;
    case TERM_RESIZE: {
        uint32_t cols = clamp_size(rd_u16(&rd), term->cols);
        term_resize(term, cols, clamp_size(rd_u16(&rd), term->rows));
        return TP_OK;
    }
    case TERM_QUIT:
        term->quit = true;
        term_wake(term);
        return TP_OK;
    default:
        return TP_PROTOCOL; /* the reader lets no other one through */
    }
}

static enum tp_err on_input(void *ctx, const uint8_t *data, size_t size)
{
    return term_input(ctx, data, size);
}

static void on_link_data(void *ctx, const uint8_t *data, size_t size)
{
    struct term *term = ctx;
    struct tp_error error = {0};
    if (term->phase < TERM_ENDING && term_reader_feed(&term->reader, data, size, &error) != TP_OK) {
        log_info("the proxy broke the protocol of terminals", "error=\"%s\"", error.text);
        term_close(term, CLOSE_PROTOCOL_ERROR, NULL);
    }
}

static void on_link_eof(void *ctx)
{
    struct term *term = ctx;
    stream_close(term->link, CLOSE_CLIENT_CLOSED);
}

static void on_link_close(void *ctx, enum close_reason reason)
{
    struct term *term = ctx;
    (void)reason;
    term->link = NULL;
    term->link_open = false;
    term_wake(term);
    if (term->phase == TERM_WAITING || (term->phase < TERM_ENDING && term->use == TERM_UPLOAD)) {
        term_close(term, CLOSE_CLIENT_CLOSED, NULL);
    } else if (term->phase < TERM_ENDING) {
        timer_start(term->deadline, AWAY_MS, 0);
    }
}

static void on_link_drain(void *ctx)
{
    term_wake(ctx);
}

static void nothing(void *ctx, enum close_reason reason)
{
    (void)ctx;
    (void)reason;
}

static void attach(struct term *term, int fd)
{
    static const struct stream_events events = {
        .on_data = on_link_data, .on_eof = on_link_eof, .on_drain = on_link_drain, .on_close = on_link_close};
    static const struct stream_events dead = {.on_data = on_link_data, .on_close = nothing};
    if (term->link != NULL) {
        stream_set_events(term->link, &dead, NULL);
        stream_close(term->link, CLOSE_REPLACED);
    }
    term_reader_free(&term->reader);
    term_reader_init(&term->reader, TERM_FROM_PERSON, on_input, on_control, term);
    term->link_open = false;
    term->link = stream_new(term->loop, fd, &events, term);
    if (term->phase >= TERM_ENDING) {
        stream_close(term->link, term->reason);
    } else if (term->phase != TERM_STARTING && term->phase != TERM_WAITING) {
        timer_start(term->deadline, AWAY_MS, 0); /* to its open frame */
    }
}

/* ---- steps ---- */

static void step_running(struct term *term)
{
    bool all_out = term->sent == term->acked + buf_size(&term->ring);
    if (term->quit && term->use != TERM_UPLOAD) {
        term_close(term, CLOSE_CLIENT_CLOSED, NULL);
    } else if (term->quit && !term->exited && !term->completed && buf_size(&term->to_fd) == 0) {
        term->completed = true; /* the whole file is written: it gets its name */
        term_stop_io(term);
        (void)rpc_request(term->monitor, "file_done", json_pack("{s:b}", "ok", 1), NULL, OPEN_WAIT, on_stored, term);
    } else if (term->exited && term->fd < 0 && all_out && term->link != NULL && term->link_open) {
        term->completed = true;
        term->reason = CLOSE_DONE;
        term_send_json(term, TERM_EXIT,
                       json_pack("{s:i, s:s}", "code", term->exit_status, "signal", term->exit_signal));
        rpc_event(term->monitor, "closing", json_pack("{s:s}", "reason", close_name(CLOSE_DONE)));
        begin_end(term);
    }
}

static void on_step(void *ctx)
{
    struct term *term = ctx;
    term_pump(term);
    if (term->link != NULL && term->link_open && term->phase == TERM_RUNNING) {
        timer_stop(term->deadline);
    }
    if (term->phase == TERM_RUNNING) {
        step_running(term);
    }
    if (term->phase == TERM_ENDING) {
        step_ending(term);
    }
}

/* ---- the monitor ---- */

static void on_config(struct term *term, const json_t *params)
{
    struct tp_error error = {0};
    term->file_only = json_get_bool(params, "file", false);
    term->record = json_get_bool(params, "record", true);
    term->record_strict = json_get_bool(params, "record_strict", true);
    term->record_packed = json_get_bool(params, "record_packed", false);
    term->disconnect_expired_cert = json_get_bool(params, "disconnect_expired_cert", false);
    term->cert_not_after_ms = json_get_int(params, "cert_not_after_ms", 0);
    term->idle_timeout_ms = json_get_int(params, "idle_timeout_ms", 0);
    attach(term, LINK_FD);
    if (sandbox_seal(&error) != TP_OK) { /* from here on: no files, no sockets, no programs, for life */
        log_error("session could not start", "error=\"%s\"", error.text);
        finish(term);
        return;
    }
    term->phase = TERM_WAITING;
    term->last_activity_ms = loop_now_ms(term->loop);
    timer_start(term->deadline, OPEN_MS, 0);
    timer_start(term->tick, 1000, 1000);
}

static void on_event(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    struct term *term = ctx;
    (void)rpc;
    if (strcmp(event, "fd") == 0 && fd >= 0 && term->arrived < 0) {
        term->arrived = fd;
        return;
    }
    if (strcmp(event, "attach") == 0 && fd >= 0 && term->phase != TERM_STARTING) {
        attach(term, fd);
        return;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (strcmp(event, "config") == 0 && term->phase == TERM_STARTING) {
        on_config(term, params);
    } else if (strcmp(event, "exit") == 0) {
        term->exited = true;
        term->exit_status = (int)json_get_int(params, "status", 255);
        (void)strncpy(term->exit_signal, json_get_text(params, "signal", ""), sizeof(term->exit_signal) - 1);
        term_wake(term);
    } else if (strcmp(event, "watched") == 0) {
        on_watched(term, params);
    } else if (strcmp(event, "cut") == 0) {
        term_close(term, close_from_name(json_get_text(params, "reason", "")), json_get_text(params, "text", NULL));
    }
}

static void on_monitor_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    (void)ctx;
    (void)rpc;
    (void)reason;
    _exit(1); /* nothing here may go on without the monitor */
}

int term_main(void)
{
    static const struct rpc_events EVENTS = {.on_event = on_event, .on_close = on_monitor_close};
    struct tp_error error = {0};
    if (sandbox_prepare(&error) != TP_OK) {
        log_error("session could not start", "error=\"%s\"", error.text);
        return 1;
    }
    struct term term = {.phase = TERM_STARTING, .loop = loop_new(), .fd = -1, .arrived = -1};
    term.step.fn = on_step;
    term.step.ctx = &term;
    term.deadline = timer_new(term.loop, on_deadline, &term);
    term.tick = timer_new(term.loop, on_tick, &term);
    buf_init(&term.ring, TERM_WINDOW);
    term.monitor = rpc_new_fd(term.loop, MONITOR_FD, &EVENTS, &term);
    loop_run(term.loop);
    /* The process ends here: the kernel frees what is left, and the monitor sees the line close. */
    return 0;
}

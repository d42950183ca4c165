/*
 * One session (exec, attach, port-forward) towards auth:
 *
 *     session.start --durable--> running (terminal: output is recorded) --kube_record_end--> the recorder's last piece
 *        |                                            confirmed --> exec or port event, session.end --both durable--> gone
 *        `--refused--> gone
 */
#include "agent/kube_priv.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "recording/recorder.h"
#include "recording/sizes.h"

#include <stdio.h>
#include <string.h>

#define PORTS_MAX 256

enum record_step { RECORD_START, RECORD_RUN, RECORD_LAST, RECORD_END };

struct kube_record {
    struct kube *kube;
    struct kube_record *next, **prev;
    struct kube_conn *conn; /* NULL: gone */
    kube_record_cb *started;
    enum record_step step;
    char *sid; /* of the grant */
    char *id;  /* of this session */
    json_t *start;
    json_t *fields; /* kubernetes_*: for all its events */
    char *command;  /* words with spaces between them; NULL: none */
    char *event;    /* "exec" or "port"; NULL: none */
    char *reason;
    struct recorder *recorder;
    struct sizes *sizes; /* with the recorder */
    json_t *piece;       /* of the recording, under way */
    void *call;
    void *event_call; /* under way together with session.end, which follows it on the line: one write for both */
    uint32_t cols, rows;
    bool strict;
    bool records;
    bool packed;
    bool lost;     /* the recorder failed */
    json_t *ports; /* of the pod, that were connected to */
    bool has_exit;
    int exit_code;
};

static void send_call(struct kube_record *record);
static void send_event(struct kube_record *record);

static void record_free(struct kube_record *record)
{
    struct kube *kube = record->kube;
    *record->prev = record->next;
    if (record->next != NULL) {
        record->next->prev = record->prev;
    }
    recorder_free(record->recorder);
    sizes_free(record->sizes);
    json_decref(record->start);
    json_decref(record->fields);
    json_decref(record->piece);
    json_decref(record->ports);
    mem_free(record->sid);
    mem_free(record->id);
    mem_free(record->command);
    mem_free(record->event);
    mem_free(record->reason);
    mem_free(record);
    if (kube->line.on_idle != NULL) {
        kube->line.on_idle(kube->line.ctx);
    }
}

/* ---- the recording ---- */

static void on_piece(void *ctx, json_t *result, const struct tp_error *error)
{
    struct kube_record *record = ctx;
    (void)result;
    record->call = NULL;
    json_decref(record->piece);
    record->piece = NULL;
    recorder_confirm(record->recorder, error);
}

static void on_append(void *ctx, struct recorder *recorder, uint64_t offset, const char *piece)
{
    struct kube_record *record = ctx;
    const struct kube_line *line = &record->kube->line;
    (void)recorder;
    record->piece = json_pack("{s:s, s:s, s:I, s:s}", "sid", record->sid, "id", record->id, "offset",
                              (json_int_t)offset, "data", piece);
    /* The offset makes a second one harmless. */
    record->call = line->report(line->ctx, "recording.append", json_incref(record->piece), on_piece, record);
}

static void on_cancel(void *ctx)
{
    struct kube_record *record = ctx;
    if (record->call != NULL) {
        record->kube->line.cancel(record->kube->line.ctx, record->call);
        record->call = NULL;
    }
}

static void finish_if_done(struct kube_record *record)
{
    if (record->step != RECORD_LAST || (record->recorder != NULL && !recorder_is_done(record->recorder))) {
        return;
    }
    record->step = RECORD_END;
    if (record->event != NULL) {
        send_event(record);
    }
    send_call(record);
}

static void on_recorder(void *ctx)
{
    struct kube_record *record = ctx;
    if (recorder_has_failed(record->recorder) && !record->lost) {
        record->lost = true;
        log_warn(record->strict ? "session ended: it can't be recorded" : "session goes on without a recording",
                 "id=%s", record->id);
        if (record->strict && record->conn != NULL) {
            kube_farewell(record->conn, CLOSE_RECORDING_FAILED, "this session is ended: it can't be recorded");
        }
    }
    if (record->conn != NULL) {
        kube_upgrade_wake(record->conn);
    }
    finish_if_done(record);
}

static void on_size(void *ctx, uint32_t cols, uint32_t rows)
{
    struct kube_record *record = ctx;
    char size[32];
    recorder_resize(record->recorder, cols, rows);
    (void)snprintf(size, sizeof(size), "%u:%u", cols, rows);
    json_t *fields = json_copy(record->fields);
    (void)json_object_set_new(fields, "size", json_string(size));
    (void)record->kube->line.report(
        record->kube->line.ctx, "session.event",
        json_pack("{s:s, s:s, s:o}", "sid", record->id, "event", "resize", "fields", fields), NULL, NULL);
}

static void start_recorder(struct kube_record *record)
{
    struct recorder_options options = {
        .terminal = true,
        .packed = record->packed,
        .header = {.cols = record->cols,
                   .rows = record->rows,
                   .timestamp = clock_wall(),
                   .term = "xterm",
                   .command = record->command},
    };
    struct recorder_sink sink = {.append = on_append, .cancel = on_cancel, .ctx = record};
    record->recorder = recorder_new(record->kube->loop, &sink, &options, on_recorder, record);
    record->sizes = sizes_new(record->kube->loop, record->cols, record->rows, on_size, record);
}

void kube_record_output(struct kube_record *record, const void *data, size_t size)
{
    if (record->recorder != NULL) {
        recorder_output(record->recorder, data, size);
    }
}

void kube_record_resize(struct kube_record *record, uint32_t cols, uint32_t rows)
{
    cols = cols == 0 || cols > 10000 ? 80 : cols;
    rows = rows == 0 || rows > 10000 ? 25 : rows;
    if (record->recorder == NULL || (cols == record->cols && rows == record->rows)) {
        return;
    }
    record->cols = cols;
    record->rows = rows;
    sizes_set(record->sizes, cols, rows);
}

void kube_record_exit(struct kube_record *record, int code)
{
    record->has_exit = true;
    record->exit_code = code;
}

bool kube_record_port(struct kube_record *record, unsigned port)
{
    size_t i;
    json_t *item;
    json_array_foreach (record->ports, i, item) {
        if (json_integer_value(item) == (json_int_t)port) {
            return true;
        }
    }
    return json_array_size(record->ports) < PORTS_MAX && json_array_append_new(record->ports, json_integer(port)) == 0;
}

bool kube_record_is_full(struct kube_record *record)
{
    return record->recorder != NULL && recorder_is_full(record->recorder);
}

static void set_field(struct kube_record *record, const char *name, const char *value)
{
    (void)json_object_set_new(record->fields, name, json_string(value));
}

/* ---- calls ---- */

static json_t *event_params(const struct kube_record *record)
{
    json_t *fields = json_copy(record->fields);
    if (record->command != NULL) {
        (void)json_object_set_new(fields, "command", json_string(record->command));
    }
    if (json_array_size(record->ports) > 0) {
        (void)json_object_set(fields, "ports", record->ports);
    }
    if (record->has_exit) {
        char code[16];
        (void)snprintf(code, sizeof(code), "%d", record->exit_code);
        (void)json_object_set_new(fields, "exitCode", json_string(code));
        (void)json_object_set_new(fields, "success", json_boolean(record->exit_code == 0));
    }
    return json_pack("{s:s, s:s, s:o}", "sid", record->id, "event", record->event, "fields", fields);
}

static json_t *end_params(const struct kube_record *record)
{
    json_t *params = json_pack("{s:s, s:s, s:s, s:b}", "sid", record->sid, "id", record->id, "reason", record->reason,
                               "recorded", record->records && !record->lost);
    (void)json_object_update(params, record->fields);
    if (record->has_exit) {
        (void)json_object_set_new(params, "exit_code", json_integer(record->exit_code));
    }
    return params;
}

/* auth said yes to session.start. */
static void on_started(struct kube_record *record, json_t *result)
{
    record->id = mem_strdup(json_get_text(result, "id", record->sid));
    if (record->conn == NULL) {
        record->step = RECORD_LAST;
        record->records = false;
        finish_if_done(record);
        return;
    }
    record->step = RECORD_RUN;
    if (record->records) {
        start_recorder(record);
    }
    record->started(record->conn, NULL);
}

static void log_failure(const struct kube_record *record, const struct tp_error *error)
{
    log_error("a session can't be put on record", "sid=%s error=\"%s\"", record->sid, error->text);
}

static void free_if_told(struct kube_record *record)
{
    if (record->call == NULL && record->event_call == NULL) {
        record_free(record);
    }
}

static void on_event(void *ctx, json_t *result, const struct tp_error *error)
{
    struct kube_record *record = ctx;
    (void)result;
    record->event_call = NULL;
    if (error != NULL) {
        log_failure(record, error);
    }
    free_if_told(record);
}

static void send_event(struct kube_record *record)
{
    const struct kube_line *line = &record->kube->line;
    record->event_call = line->report(line->ctx, "session.event", event_params(record), on_event, record);
}

static void on_called(void *ctx, json_t *result, const struct tp_error *error)
{
    struct kube_record *record = ctx;
    record->call = NULL;
    if (error != NULL) {
        log_failure(record, error);
    }
    if (record->step == RECORD_START) {
        if (error == NULL) {
            on_started(record, result);
            return;
        }
        struct kube_conn *conn = record->conn;
        kube_record_cb *started = record->started;
        if (conn != NULL) {
            conn->record = NULL;
        }
        record_free(record);
        if (conn != NULL) {
            started(conn, error);
        }
    } else {
        free_if_told(record);
    }
}

static void send_call(struct kube_record *record)
{
    const struct kube_line *line = &record->kube->line;
    if (record->step == RECORD_END) {
        record->call = line->report(line->ctx, "session.end", end_params(record), on_called, record);
    } else {
        record->call = line->request(line->ctx, "session.start", json_incref(record->start), on_called, record);
    }
}

static const char *record_mode(const struct kube_conn *conn)
{
    return json_get_text(json_object_get(conn->grant, "options"), "record", "strict");
}

bool kube_record_wanted(const struct kube_conn *conn)
{
    return strcmp(record_mode(conn), "off") != 0;
}

void kube_record_start(struct kube_conn *conn, const struct kube_session *session, kube_record_cb *fn)
{
    struct kube *kube = conn->kube;
    struct kube_record *record = mem_alloc(sizeof(*record));
    record->kube = kube;
    record->conn = conn;
    record->started = fn;
    record->sid = mem_strdup(conn->sid);
    record->fields = kube_audit_fields(conn);
    record->command = session->command != NULL ? mem_strdup(session->command) : NULL;
    if (!session->tty) {
        record->event = mem_strdup(strcmp(session->kind, "portforward") == 0 ? "port" : "exec");
    }
    record->ports = json_array();
    record->cols = 80;
    record->rows = 25;
    record->strict = strcmp(record_mode(conn), "best_effort") != 0;
    record->records = session->tty && kube_record_wanted(conn);
    record->packed = json_get_bool(json_object_get(conn->grant, "options"), "record_packed", false);
    set_field(record, "kubernetes_pod_name", session->pod);
    set_field(record, "kubernetes_pod_namespace", session->namespace);
    set_field(record, "kubernetes_container_name", session->container);
    (void)json_object_update(record->fields, (json_t *)(uintptr_t)session->facts); /* NULL: nothing */
    record->start = json_pack("{s:s, s:s, s:s, s:s, s:b, s:s}", "sid", conn->sid, "login", session->login, "kind",
                              session->kind, "command", record->command != NULL ? record->command : "", "interactive",
                              session->tty, "size", "80:25");
    (void)json_object_update(record->start, record->fields);
    record->next = kube->records;
    record->prev = &kube->records;
    if (record->next != NULL) {
        record->next->prev = &record->next;
    }
    kube->records = record;
    conn->record = record;
    send_call(record);
}

void kube_record_end(struct kube_record *record, const char *reason)
{
    if (record == NULL) {
        return;
    }
    record->conn = NULL;
    if (record->reason == NULL) {
        record->reason = mem_strdup(reason);
    }
    if (record->step != RECORD_RUN) {
        return; /* not started yet: on_started sees it */
    }
    record->step = RECORD_LAST;
    sizes_flush(record->sizes);
    if (record->recorder != NULL) {
        recorder_finish(record->recorder);
    }
    finish_if_done(record);
}

void kube_records_free(struct kube *kube)
{
    while (kube->records != NULL) {
        struct kube_record *record = kube->records;
        on_cancel(record);
        if (record->event_call != NULL) {
            kube->line.cancel(kube->line.ctx, record->event_call);
        }
        record_free(record);
    }
}

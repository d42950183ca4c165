/*
 * One client's connection (the bytes inside its TLS, as they come through the tunnel) with one grant.
 *
 *                                refused: Status
 *            .---------------------------------------------> DROP --body read--> READ
 *            |                                                 |
 *   READ --head--> decided --plain------------> CONNECT --> ANSWER --both halves framed--> READ
 *     ^              |                             ^           |
 *     |              `--exec, attach, portforward--+           +--not framed, early, error--> LAST
 *     |                       |                    |           |
 *     |                    ATTEMPT --on record-----'           `--101--> START --session.start durable--> RAW
 *     |                       `--can't be recorded: Status                  `--can't be recorded--> cut    |
 *     `----------------------------- never again: both sides close ------------------------------------------'
 *
 *   any state --tunnel stream reset (lock, role, expiry), client gone--> the API server's connection is closed at once.
 *
 * Back-pressure: the client's bytes are credited back to the tunnel only when they have gone up (kube_upstream_is_full
 * stops that); the API server is not read while more than KUBE_OUT_HIGH waits for the client or for the recorder.
 */
#include "agent/kube_priv.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <string.h>

#define HEAD_MS 30000  /* from its first byte to its end */
#define LAST_MS 120000 /* for the client to read what is on its way and to close its half */
#define IDLE_MS 300000 /* between requests */
#define BUSY_MS 30000  /* a request waits for auth before it is decided all the same */
#define DROP_MAX ((size_t)1024 * 1024)

void kube_conn_free(struct kube_conn *conn)
{
    struct kube *kube = conn->kube;
    *conn->prev = conn->next;
    if (conn->next != NULL) {
        conn->next->prev = conn->prev;
    }
    kube->conn_count--;
    later_cancel(&conn->pump);
    timer_free(conn->deadline);
    kube_audit_forget(conn);
    kube_upgrade_clear(conn);
    kube_exchange_clear(conn);
    http_parser_free(conn->parser);
    buf_free(&conn->in);
    buf_free(&conn->out);
    buf_free(&conn->switched);
    rbac_kube_rules_free(conn->rules);
    json_decref(conn->grant);
    mem_free(conn);
    if (kube->line.on_idle != NULL) {
        kube->line.on_idle(kube->line.ctx);
    }
}

void kube_deadline(struct kube_conn *conn, int64_t ms)
{
    timer_stop(conn->deadline);
    if (ms > 0) {
        timer_start(conn->deadline, ms, 0);
    }
}

bool kube_is_past(const struct kube_conn *conn)
{
    return conn->requests_until != 0 && clock_wall() >= conn->requests_until;
}

/* A kept connection waits for its next request, as long as there may be one. */
static void await_request(struct kube_conn *conn)
{
    int64_t left_ms = conn->requests_until != 0 ? conn->requests_until * 1000 - clock_wall_ms() : IDLE_MS;
    kube_deadline(conn, left_ms < 1 ? 1 : left_ms < IDLE_MS ? left_ms : IDLE_MS);
}

static void on_deadline(void *ctx)
{
    struct kube_conn *conn = ctx;
    if (conn->state == KUBE_ANSWER) {
        kube_answer_late(conn);
    } else if (conn->state == KUBE_READ && conn->waits) {
        conn->waited = true;
        kube_pump_later(conn);
    } else if (conn->state == KUBE_READ && !http_parser_is_inside(conn->parser)) {
        kube_finish(conn); /* idle: an end without a word, as clients expect it of kept connections */
    } else if (conn->state == KUBE_RAW) {
        kube_farewell(conn, CLOSE_IDLE_TIMEOUT, "this session is ended: nothing was sent for too long");
    } else {
        kube_cut(conn, conn->farewell != CLOSE_NONE ? conn->farewell : CLOSE_IDLE_TIMEOUT, NULL);
    }
}

/* ---- down ---- */

/* Nothing is left to do with the client but its end. */
static void check_end(struct kube_conn *conn)
{
    if (conn->state == KUBE_LAST && buf_size(&conn->out) == 0 && conn->down != NULL && !conn->ended && !conn->shut) {
        conn->shut = true;
        tunnel_stream_shutdown(conn->down);
        tunnel_stream_consume(conn->down, buf_size(&conn->in));
        buf_free(&conn->in);
        if (conn->in_eof) {
            return; /* on_close follows */
        }
        if (conn->farewell == CLOSE_NONE) {
            kube_deadline(conn, LAST_MS);
        }
    }
}

static void flush(struct kube_conn *conn)
{
    if (conn->down == NULL || conn->ended || buf_size(&conn->out) == 0) {
        return;
    }
    size_t took = tunnel_stream_write(conn->down, buf_head(&conn->out), buf_size(&conn->out));
    buf_consume(&conn->out, took);
    if (buf_size(&conn->out) == 0) {
        buf_free(&conn->out);
    }
}

void kube_down(struct kube_conn *conn, const void *data, size_t size)
{
    size_t took = 0;
    if (conn->down == NULL || conn->ended) {
        return;
    }
    if (buf_size(&conn->out) == 0) {
        took = tunnel_stream_write(conn->down, data, size);
    }
    (void)buf_append(&conn->out, (const uint8_t *)data + took, size - took);
}

bool kube_down_is_full(const struct kube_conn *conn)
{
    return buf_size(&conn->out) >= KUBE_OUT_HIGH;
}

void kube_finish(struct kube_conn *conn)
{
    conn->state = KUBE_LAST;
    kube_deadline(conn, HEAD_MS);
    kube_exchange_clear(conn);
    kube_pump_later(conn);
}

void kube_cut(struct kube_conn *conn, enum close_reason reason, const char *text)
{
    if (conn->down != NULL && !conn->ended) {
        conn->ended = true;
        tunnel_stream_close(conn->down, reason, text); /* on_close follows and frees */
    }
    kube_audit_unanswered(conn);
    conn->state = KUBE_LAST;
    kube_exchange_clear(conn);
}

void kube_next(struct kube_conn *conn)
{
    kube_exchange_clear(conn);
    http_parser_next(conn->parser);
    conn->state = KUBE_READ;
    await_request(conn);
    kube_pump_later(conn);
}

/* ---- up ---- */

static void took(struct kube_conn *conn, size_t size)
{
    buf_consume(&conn->in, size);
    if (buf_size(&conn->in) == 0) {
        buf_free(&conn->in);
    }
    if (conn->down != NULL && !conn->ended && size > 0) {
        tunnel_stream_consume(conn->down, size);
    }
}

/* A message that is no proper HTTP: nothing behind it is looked at. */
static void refuse_message(struct kube_conn *conn)
{
    const char *why = NULL;
    int status = http_parser_error(conn->parser, &why);
    conn->x.client_keeps = false;
    conn->x.answer_last = true;
    if (conn->x.answered) {
        log_info("kubernetes request refused", "sid=%s reason=\"%s\"", conn->sid, why);
        kube_cut(conn, CLOSE_BAD_REQUEST, NULL);
        return;
    }
    kube_refuse(conn, status, "the request is not proper HTTP: %s", why);
}

/* A request is there. false: it waits. */
static bool may_begin(struct kube_conn *conn)
{
    if (kube_audit_is_busy(conn) && !conn->waited) {
        if (!conn->waits) {
            conn->waits = true;
            kube_deadline(conn, BUSY_MS);
        }
        return false;
    }
    conn->waits = false;
    conn->waited = false;
    kube_deadline(conn, HEAD_MS);
    return true;
}

/* One step with what waits; false: nothing more can be done now. */
static bool step(struct kube_conn *conn)
{
    size_t size = buf_size(&conn->in);
    size_t used = 0;
    enum http_step result;
    switch (conn->state) {
    case KUBE_READ:
        if (size == 0) {
            return false;
        }
        if (!http_parser_is_inside(conn->parser) && !may_begin(conn)) {
            return false;
        }
        break;
    case KUBE_ANSWER:
        if (conn->x.body_done || !kube_can_send(conn)) {
            return false;
        }
        size = size < KUBE_PIECE ? size : KUBE_PIECE;
        break;
    case KUBE_HOLD:
        if (conn->x.body_done) {
            return false;
        }
        break;
    case KUBE_DROP:
        if (conn->x.body_done) {
            return false;
        }
        if (conn->x.dropped > DROP_MAX) {
            kube_finish(conn);
            return false;
        }
        break;
    case KUBE_RAW:
        if (size == 0 || !kube_can_send(conn)) {
            return false;
        }
        size = size < KUBE_PIECE ? size : KUBE_PIECE;
        kube_upgrade_client(conn, buf_head(&conn->in), size);
        took(conn, size);
        return true;
    case KUBE_LAST:
        took(conn, size); /* the tunnel must not stall, and nobody will read it */
        return false;
    case KUBE_SWEEP:
    case KUBE_ATTEMPT:
    case KUBE_CONNECT:
    case KUBE_START:
        return false;
    }
    if (conn->state == KUBE_DROP) {
        conn->x.dropped += size;
    }
    result = http_parser_feed(conn->parser, buf_head(&conn->in), size, &used);
    took(conn, used);
    switch (result) {
    case HTTP_HEAD_READY:
        kube_deadline(conn, 0);
        kube_request_begin(conn);
        return true;
    case HTTP_DONE:
        kube_request_end(conn);
        return true;
    case HTTP_FAILED:
        refuse_message(conn);
        return false;
    case HTTP_MORE:
        break;
    }
    return used > 0 && buf_size(&conn->in) > 0;
}

/* The client sends nothing any more, and all of it is done with, or stands behind what has no end. */
static bool client_has_ended(const struct kube_conn *conn)
{
    bool endless = conn->state == KUBE_ANSWER && conn->x.body_done && conn->x.no_deadline;
    return conn->in_eof && (buf_size(&conn->in) == 0 || endless);
}

static void take_client_end(struct kube_conn *conn)
{
    bool answering = conn->state == KUBE_ANSWER || conn->state == KUBE_HOLD;
    if (conn->state == KUBE_READ && !http_parser_is_inside(conn->parser)) {
        kube_finish(conn);
    } else if (conn->state == KUBE_RAW && conn->x.upstream != NULL) {
        kube_upstream_shutdown(conn->x.upstream);
    } else if (conn->state == KUBE_READ || (answering && (!conn->x.body_done || conn->x.no_deadline))) {
        /* In the middle of a request, or of a watch: who ends one so is gone, and it would go on for an hour. */
        kube_cut(conn, CLOSE_CLIENT_CLOSED, NULL);
    }
}

static void pump(void *ctx)
{
    struct kube_conn *conn = ctx;
    if (conn->down == NULL || conn->ended || conn->pumping) {
        return;
    }
    conn->pumping = true;
    while (step(conn)) {
    }
    conn->pumping = false;
    flush(conn);
    if (conn->state == KUBE_READ && conn->kube->draining && !conn->waits && !http_parser_is_inside(conn->parser)) {
        conn->state = KUBE_LAST;
    }
    check_end(conn);
    if (client_has_ended(conn)) {
        take_client_end(conn);
    }
}

void kube_conns_wake(struct kube *kube)
{
    for (struct kube_conn *conn = kube->conns; conn != NULL; conn = conn->next) {
        if (conn->waits) {
            kube_pump_later(conn);
        }
    }
}

void kube_pump_later(struct kube_conn *conn)
{
    later_run(conn->kube->loop, &conn->pump);
}

/* ---- events of the tunnel's stream ---- */

static void on_down_data(void *ctx, const uint8_t *data, size_t size)
{
    struct kube_conn *conn = ctx;
    (void)buf_append(&conn->in, data, size); /* the window bounds it */
    pump(conn);
}

static void on_down_eof(void *ctx)
{
    struct kube_conn *conn = ctx;
    conn->in_eof = true;
    pump(conn);
}

static void on_down_writable(void *ctx)
{
    struct kube_conn *conn = ctx;
    flush(conn);
    if (buf_size(&conn->out) <= KUBE_OUT_LOW && conn->x.upstream != NULL && conn->state != KUBE_START &&
        (conn->record == NULL || !kube_record_is_full(conn->record))) {
        kube_upstream_resume(conn->x.upstream);
    }
    check_end(conn);
}

static void on_down_close(void *ctx, enum close_reason reason, const char *text)
{
    struct kube_conn *conn = ctx;
    (void)text;
    conn->down = NULL;
    log_info("kubernetes connection ended", "sid=%s reason=%s", conn->sid, close_name(reason));
    kube_record_end(conn->record, close_name(reason));
    conn->record = NULL;
    kube_audit_unanswered(conn);
    kube_conn_free(conn);
}

static const struct tunnel_stream_events down_events = {
    .on_data = on_down_data,
    .on_eof = on_down_eof,
    .on_writable = on_down_writable,
    .on_close = on_down_close,
};

static struct kube_cluster *find_cluster(struct kube *kube, const char *name)
{
    struct kube_cluster *cluster = map_get(kube->clusters, name);
    const struct kube_cluster_conf *conf = kube->line.find(kube->line.ctx, name);
    if (cluster == NULL && conf != NULL) {
        cluster = kube_cluster_new(kube->loop, conf);
        (void)map_set(kube->clusters, name, cluster);
    }
    return cluster;
}

void kube_open(struct kube *kube, struct tunnel_stream *stream, json_t *grant)
{
    const char *name = json_get_text(grant, "kube_cluster", "");
    struct kube_cluster *cluster = find_cluster(kube, name);
    struct rbac_kube_rules *rules = NULL;
    struct tp_error error = {0};
    if (cluster == NULL) {
        char *text = mem_printf("this host offers no Kubernetes cluster \"%.200s\"", name);
        log_warn("kubernetes connection refused", "reason=\"%s\"", text);
        tunnel_stream_close(stream, CLOSE_TARGET_UNKNOWN, text);
        mem_free(text);
        json_decref(grant);
        return;
    }
    if (rbac_kube_rules_new(json_object_get(grant, "kube_resources"), &rules, &error) != TP_OK) {
        log_warn("kubernetes connection refused", "reason=\"%s\"", error.text);
        tunnel_stream_close(stream, CLOSE_ACCESS_DENIED, error.text);
        json_decref(grant);
        return;
    }
    struct kube_conn *conn = mem_alloc(sizeof(*conn));
    conn->kube = kube;
    conn->grant = grant;
    conn->sid = json_get_text(grant, "sid", "");
    conn->user = json_get_text(grant, "user", "");
    conn->rules = rules;
    conn->cluster = cluster;
    conn->down = stream;
    conn->parser = http_parser_new_proxy();
    conn->pump = (struct later){.fn = pump, .ctx = conn};
    const char *until = json_get_text(grant, "requests_until", "");
    int64_t until_ms = 0;
    if (until[0] != '\0') {
        conn->requests_until =
            clock_parse_ms(until, &until_ms) == TP_OK ? until_ms / 1000 : 1; /* no time is none left */
    }
    conn->deadline = timer_new(kube->loop, on_deadline, conn);
    buf_init(&conn->in, 0);
    buf_init(&conn->out, 0);
    buf_init(&conn->switched, 0);
    conn->next = kube->conns;
    conn->prev = &kube->conns;
    if (conn->next != NULL) {
        conn->next->prev = &conn->next;
    }
    kube->conns = conn;
    kube->conn_count++;
    await_request(conn); /* clients open some connections before they need them */
    log_info("kubernetes connection", "sid=%s user=\"%s\" cluster=\"%s\"", conn->sid, conn->user, name);
    tunnel_stream_accept(stream, &down_events, conn);
}

/*
 * exec, attach and port-forward: the connection becomes two streams of bytes (WebSocket or SPDY/3.1, as the client chose),
 * which are passed on untouched and looked at on their way for the recording. Anything but a 101 that names the protocol
 * closes both sides after the answer (CVE-2018-1002105): what follows a refused upgrade is nobody's request.
 */
#include "agent/kube_priv.h"

#include "base/log.h"
#include "base/mem.h"
#include "crypt/key.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ATTEMPT_TRIES 3

/* ---- the attempt on record ---- */

/* A program may start as soon as the API server has the request, so the request is on record first. */
struct kube_attempt {
    struct kube_conn *conn; /* NULL: gone */
    struct kube *kube;
    json_t *params;
    unsigned tries;
};

static void send_attempt(struct kube_attempt *attempt);
static void start_session(struct kube_conn *conn);

static bool is_attach(const struct kube_request *request)
{
    return strcmp(request->subresource, "attach") == 0;
}

static void on_pod(void *ctx, const struct kube_pod_facts *facts)
{
    struct kube_conn *conn = ctx;
    struct kube_exchange *x = &conn->x;
    x->pod = NULL;
    if (is_attach(x->request)) {
        x->request->tty = !facts->no_terminal;
    }
    x->facts = json_pack("{s:s}", "kubernetes_node_name", facts->node);
    if (strcmp(x->request->subresource, "portforward") != 0) { /* which enters no container */
        (void)json_object_set_new(x->facts, "kubernetes_container_name", json_string(facts->container));
        (void)json_object_set_new(x->facts, "kubernetes_container_image", json_string(facts->image));
    }
    if (conn->state == KUBE_START) {
        start_session(conn);
    }
}

/* While the cluster starts the session: its events shall say where it runs. */
static void ask_about_pod(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    if (is_attach(x->request)) {
        /* Whether there is a terminal is said by the container, to kubelets too, and not by who attaches to it. One that we
         * know nothing about may have one. */
        x->request->tty = true;
    }
    if (kube_request_may_read_pod(conn)) {
        const struct kube_pod_name name = {.namespace = x->request->ns,
                                           .pod = x->request->name,
                                           .container = x->request->container,
                                           .identity = x->identity};
        x->pod = kube_pod_ask(conn->kube, conn->cluster, &name, on_pod, conn);
    }
}

static void on_attempt(void *ctx, json_t *result, const struct tp_error *error)
{
    struct kube_attempt *attempt = ctx;
    struct kube_conn *conn = attempt->conn;
    (void)result;
    if (conn != NULL && error != NULL && error->code == TP_CLOSED && attempt->tries < ATTEMPT_TRIES) {
        send_attempt(attempt);
        return;
    }
    json_decref(attempt->params);
    mem_free(attempt);
    if (conn == NULL) {
        return;
    }
    conn->x.attempt = NULL;
    if (error != NULL) {
        log_error("a kubernetes session can't be recorded", "sid=%s error=\"%s\"", conn->sid, error->text);
        conn->x.status = 503; /* auth would refuse an event about it too */
        kube_refuse(conn, 503, "this access can't be put on record, so it is refused: %s", error->text);
        return;
    }
    ask_about_pod(conn);
    kube_send(conn);
}

static void send_attempt(struct kube_attempt *attempt)
{
    const struct kube_line *line = &attempt->kube->line;
    attempt->tries++;
    (void)line->request(line->ctx, "session.event", json_incref(attempt->params), on_attempt, attempt);
}

void kube_upgrade_begin(struct kube_conn *conn)
{
    struct kube_attempt *attempt = mem_alloc(sizeof(*attempt));
    char name[UUID_TEXT_SIZE];
    conn->state = KUBE_ATTEMPT;
    conn->x.attempt = attempt;
    attempt->conn = conn;
    attempt->kube = conn->kube;
    attempt->params = kube_audit_event(conn, 0);
    crypt_uuid(name); /* each try has the same, so that auth has it on record once */
    (void)json_object_set_new(attempt->params, "report", json_string(name));
    kube_dial(conn);
    send_attempt(attempt);
}

void kube_attempt_forget(struct kube_attempt *attempt)
{
    if (attempt != NULL) {
        attempt->conn = NULL;
    }
}

/* ---- what passes ---- */

static void is_alive(struct kube_conn *conn)
{
    if (conn->state == KUBE_RAW && conn->idle_ms > 0) {
        kube_deadline(conn, conn->idle_ms);
    }
}

static void on_tap_output(void *ctx, const void *data, size_t size)
{
    struct kube_conn *conn = ctx;
    if (conn->record != NULL) {
        kube_record_output(conn->record, data, size);
    }
    is_alive(conn);
}

static void on_tap_input(void *ctx)
{
    is_alive(ctx);
}

static void on_tap_resize(void *ctx, uint32_t columns, uint32_t rows)
{
    struct kube_conn *conn = ctx;
    if (conn->record != NULL) {
        kube_record_resize(conn->record, columns, rows);
    }
    is_alive(conn);
}

static void on_tap_exit(void *ctx, int code)
{
    struct kube_conn *conn = ctx;
    if (conn->record != NULL) {
        kube_record_exit(conn->record, code);
    }
}

static void on_tap_port(void *ctx, unsigned port)
{
    struct kube_conn *conn = ctx;
    if (conn->record != NULL && !kube_record_port(conn->record, port)) {
        conn->unrecorded = true;
    }
}

/* Over plain WebSocket the URL names them, several with commas between them. */
static void take_ports(struct kube_conn *conn)
{
    const struct kube_request *request = conn->x.request;
    for (size_t i = 0; i < request->port_count; i++) {
        const char *at = request->ports[i];
        while (at != NULL) {
            unsigned long port = strtoul(at, NULL, 10);
            on_tap_port(conn, port <= 65535 ? (unsigned)port : 0);
            at = strchr(at, ',');
            at = at != NULL ? at + 1 : NULL;
        }
    }
}

static const struct kube_stream_events tap_events = {.on_output = on_tap_output,
                                                     .on_input = on_tap_input,
                                                     .on_resize = on_tap_resize,
                                                     .on_exit = on_tap_exit,
                                                     .on_port = on_tap_port};

/* What can't be read can't be put on record, and does not pass. */
static bool read_tap(struct kube_conn *conn, bool client, const void *data, size_t size)
{
    struct tp_error error = {0};
    if (conn->tap == NULL) {
        return true;
    }
    enum tp_err err =
        client ? kube_stream_client(conn->tap, data, size, &error) : kube_stream_server(conn->tap, data, size, &error);
    if (err != TP_OK) {
        log_warn("a kubernetes session broke its protocol", "sid=%s by=%s error=\"%s\"", conn->sid,
                 client ? "client" : "server", error.text);
        kube_cut(conn, CLOSE_PROTOCOL_ERROR, NULL);
        return false;
    }
    if (conn->unrecorded) {
        log_warn("a kubernetes session opens more ports than can be put on record", "sid=%s", conn->sid);
        kube_cut(conn, CLOSE_RECORDING_FAILED, NULL);
        return false;
    }
    return true;
}

static void raw_ended(struct kube_conn *conn)
{
    kube_farewell_broken(conn);
    kube_record_end(conn->record, close_name(CLOSE_TARGET_CLOSED));
    conn->record = NULL;
    kube_finish(conn);
}

static void on_raw_open(void *ctx)
{
    (void)ctx; /* it was open before */
}

static void on_raw_data(void *ctx, const uint8_t *data, size_t size)
{
    struct kube_conn *conn = ctx;
    if (conn->state == KUBE_START) {
        (void)buf_append(&conn->switched, data, size); /* paused: at most what was read already */
        return;
    }
    if (!read_tap(conn, false, data, size)) {
        return;
    }
    kube_down(conn, data, size);
    if (kube_down_is_full(conn) || (conn->record != NULL && kube_record_is_full(conn->record))) {
        kube_upstream_pause(conn->x.upstream);
    }
}

static void on_raw_eof(void *ctx)
{
    raw_ended(ctx);
}

static void on_raw_drain(void *ctx)
{
    kube_pump_later(ctx);
}

static void on_raw_close(void *ctx, const struct tp_error *error)
{
    struct kube_conn *conn = ctx;
    (void)error;
    conn->x.upstream = NULL;
    raw_ended(conn);
}

static const struct kube_upstream_events raw_events = {
    .on_open = on_raw_open,
    .on_data = on_raw_data,
    .on_eof = on_raw_eof,
    .on_drain = on_raw_drain,
    .on_close = on_raw_close,
};

void kube_upgrade_client(struct kube_conn *conn, const uint8_t *data, size_t size)
{
    if (read_tap(conn, true, data, size)) {
        kube_upstream_write(conn->x.upstream, data, size);
    }
}

void kube_upgrade_wake(struct kube_conn *conn)
{
    if (conn->state == KUBE_RAW && conn->x.upstream != NULL && !kube_down_is_full(conn) &&
        (conn->record == NULL || !kube_record_is_full(conn->record))) {
        kube_upstream_resume(conn->x.upstream);
    }
}

/* ---- the switch ---- */

static void pass(struct kube_conn *conn)
{
    struct buf rest = conn->switched;
    buf_init(&conn->switched, 0);
    kube_answer_switch(conn);
    conn->x.answered = true;
    conn->state = KUBE_RAW;
    kube_deadline(conn, conn->idle_ms);
    kube_upstream_resume(conn->x.upstream);
    if (buf_size(&rest) > 0) {
        on_raw_data(conn, buf_head(&rest), buf_size(&rest));
    }
    buf_free(&rest);
    kube_pump_later(conn);
}

static void on_session(struct kube_conn *conn, const struct tp_error *error)
{
    if (conn->state != KUBE_START) {
        return; /* the API server has gone in the meantime */
    }
    if (error != NULL) {
        conn->x.answer_last = true;
        kube_refuse(conn, 503, "this session can't be put on record, so it is refused: %s", error->text);
        return;
    }
    pass(conn);
}

static void start_session(struct kube_conn *conn)
{
    const struct kube_exchange *x = &conn->x;
    if (x->request->tty) {
        conn->idle_ms = json_get_int(json_object_get(conn->grant, "options"), "idle_timeout", 0);
    }
    struct kube_session session = {
        .kind = x->request->subresource,
        .pod = x->request->name,
        .namespace = x->request->ns,
        .container = x->request->container,
        .login = x->login,
        .command = x->request->command,
        .tty = x->request->tty,
        .facts = x->facts,
    };
    kube_record_start(conn, &session, on_session);
    if (conn->record != NULL && strcmp(x->upgrade, "websocket") == 0) {
        take_ports(conn);
    }
}

/* Starts to read along in what passes; false: it can't be read, and the connection is refused. */
static bool start_tap(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    const struct http_response *response = http_response_parser_response(x->answer);
    bool websocket = strcmp(x->upgrade, "websocket") == 0;
    const char *protocol =
        http_response_header(response, websocket ? "sec-websocket-protocol" : "x-stream-protocol-version");
    struct tp_error error = {0};
    if (kube_stream_new(websocket ? KUBE_STREAM_WEBSOCKET : KUBE_STREAM_SPDY, protocol,
                        strcmp(x->request->subresource, "portforward") == 0, &tap_events, conn, &conn->tap,
                        &error) != TP_OK) {
        x->answer_last = true;
        kube_refuse(conn, 502, "%s", error.text);
        return false;
    }
    return true;
}

void kube_upgrade_switch(struct kube_conn *conn, const uint8_t *rest, size_t size)
{
    struct kube_exchange *x = &conn->x;
    const char *chosen = http_response_header(http_response_parser_response(x->answer), "upgrade");
    if (chosen == NULL || strcasecmp(chosen, x->upgrade) != 0) {
        x->answer_last = true;
        kube_refuse(conn, 502, "the API server switched to another protocol than it was asked for");
        return;
    }
    kube_deadline(conn, 0);
    kube_upstream_set_events(x->upstream, &raw_events, conn);
    kube_upstream_pause(x->upstream);
    (void)buf_append(&conn->switched, rest, size);
    conn->state = KUBE_START;
    if (!kube_request_is_session(x->request)) {
        kube_audit_request(conn, 101);
        pass(conn);
        return;
    }
    if (start_tap(conn) && x->pod == NULL) {
        start_session(conn);
    } /* else refused, or on_pod does */
}

const char *kube_upgrade_wanted(const struct http_request *request)
{
    const char *wanted = http_request_header(request, "upgrade");
    if (wanted == NULL || http_request_header_count(request, "upgrade") != 1 ||
        !http_request_connection_has(request, "upgrade")) {
        return NULL;
    }
    return strcasecmp(wanted, "websocket") == 0 ? "websocket" : strcasecmp(wanted, "SPDY/3.1") == 0 ? "SPDY/3.1" : NULL;
}

void kube_upgrade_clear(struct kube_conn *conn)
{
    kube_stream_free(conn->tap);
    conn->tap = NULL;
    kube_record_end(conn->record, close_name(CLOSE_SHUTDOWN));
    conn->record = NULL;
}

/* An answer on its way down: the API server's, streamed through the filter where there is one, or our own refusal. */
#include "agent/kube_priv.h"
#include "protocols/http/http_server.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ANSWER_MS 75000 /* API servers cut ordinary requests after 60 s themselves */

bool kube_put_header(struct buf *out, const char *name, const char *value)
{
    if (!http_is_token(name) || !http_is_value(value)) {
        return false;
    }
    (void)buf_printf(out, "%s: %s\r\n", name, value);
    return true;
}

/* ---- our own answers ---- */

/* A whole answer, the exchange's last: what there was with the API server ends. */
static void answer(struct kube_conn *conn, int status, const char *type, const char *body)
{
    struct kube_exchange *x = &conn->x;
    struct buf out;
    kube_upstream_close(x->upstream);
    http_response_parser_free(x->answer);
    x->upstream = NULL;
    x->answer = NULL;
    if (x->request != NULL && x->status == 0) {
        x->status = status;
        kube_audit_request(conn, status);
    }
    x->answered = true;
    x->answer_last = x->answer_last || !x->client_keeps || conn->audit_failed || conn->kube->draining;
    buf_init(&out, 0);
    (void)buf_printf(&out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s\r\n", status,
                     http_status_text(status), type, strlen(body), x->answer_last ? "Connection: close\r\n" : "");
    if (!x->to_head) {
        (void)buf_append_text(&out, body);
    }
    kube_down(conn, buf_head(&out), buf_size(&out));
    buf_free(&out);
    if (x->answer_last) {
        kube_finish(conn);
    } else if (x->body_done) {
        kube_next(conn);
    } else {
        conn->state = KUBE_DROP;
        kube_deadline(conn, 30000);
        kube_pump_later(conn);
    }
}

void kube_refuse(struct kube_conn *conn, int status, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    char *shown = log_value(text);
    log_info("kubernetes request refused", "sid=%s status=%d reason=\"%s\"", conn->sid, status, shown);
    mem_free(shown);
    struct kube_refusal refusal;
    kube_refusal_make(http_parser_request(conn->parser), status, text, &refusal);
    answer(conn, refusal.status, refusal.type, refusal.body);
    mem_free(refusal.body);
}

void kube_refuse_forbidden(struct kube_conn *conn, const char *name)
{
    const struct kube_request *request = conn->x.request;
    const struct kube_wish wish = {request->verb, request->api_group, request->resource, request->subresource,
                                   name,          request->ns};
    char *text = kube_wish_refusal(&wish);
    kube_refuse(conn, 403, "%s", text);
    mem_free(text);
}

void kube_answer_object(struct kube_conn *conn, int status, const char *body)
{
    answer(conn, status, "application/json", body);
}

void kube_answer_success(struct kube_conn *conn)
{
    static const char body[] = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Success\"}\n";
    answer(conn, 200, "application/json", body);
}

void kube_answer_late(struct kube_conn *conn)
{
    kube_refuse(conn, 504, "the API server of %s did not answer within %d seconds",
                kube_cluster_conf(conn->cluster)->name, ANSWER_MS / 1000);
}

/* ---- the head ---- */

/* RFC 9110 section 7.6.1: these belong to one connection. The framing is written anew. */
static bool is_hop(const struct http_response *response, const char *name)
{
    static const char *const names[] = {"connection", "keep-alive",        "proxy-connection", "te",
                                        "trailer",    "transfer-encoding", "upgrade",          "content-length"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < response->header_count; i++) {
        const char *at = response->headers[i].value;
        if (strcmp(response->headers[i].name, "connection") != 0) {
            continue;
        }
        while (*at != '\0') {
            at += strspn(at, " \t,");
            size_t length = strcspn(at, " \t,");
            if (length > 0 && length == strlen(name) && strncasecmp(at, name, length) == 0) {
                return true;
            }
            at += length;
        }
    }
    return false;
}

/* Status line and headers; framing and the empty line follow. false: something can't be written. */
static bool put_head(struct buf *out, const struct http_response *response, bool upgraded)
{
    bool fine = true;
    (void)buf_printf(out, "HTTP/1.1 %d %s\r\n", response->status, http_status_text(response->status));
    for (size_t i = 0; i < response->header_count && fine; i++) {
        const struct http_header *header = &response->headers[i];
        bool keep = upgraded ? strcmp(header->name, "upgrade") == 0 || !is_hop(response, header->name)
                             : !is_hop(response, header->name);
        fine = !keep || kube_put_header(out, header->name, header->value);
    }
    return fine;
}

void kube_answer_switch(struct kube_conn *conn)
{
    const struct http_response *response = http_response_parser_response(conn->x.answer);
    struct buf out;
    buf_init(&out, 0);
    if (put_head(&out, response, true)) {
        (void)buf_append_text(&out, "Connection: Upgrade\r\n\r\n");
        kube_down(conn, buf_head(&out), buf_size(&out));
    }
    buf_free(&out);
}

static void put_framing(struct kube_exchange *x, struct buf *out, const struct http_response *response)
{
    if (!x->to_head && (response->status == 204 || response->status == 304)) {
        /* none: these have no body by definition */
    } else if (response->has_length && x->filter == NULL && !(x->to_head && x->filtered)) {
        (void)buf_printf(out, "Content-Length: %llu\r\n", (unsigned long long)response->length);
    } else if (x->to_head) {
        /* its length stays unknown */
    } else if (x->chunks_known) {
        x->answer_chunked = true;
        (void)buf_append_text(out, "Transfer-Encoding: chunked\r\n");
    } else {
        x->answer_last = true;
    }
    (void)buf_printf(out, "%s\r\n", x->answer_last ? "Connection: close\r\n" : "");
}

/* Only the agent's own credentials can be at fault: the person's name is a header that the API server would answer 403 to.
 * What stands behind a proxy subresource may ask for a login of its own. */
static bool credentials_refused(const struct kube_exchange *x, int status)
{
    return status == 401 && !kube_request_is_proxied(x->request);
}

/* The head goes down, and the request is put on record with it. */
static void give_head(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    x->status = http_response_parser_response(x->answer)->status;
    x->answered = true;
    kube_audit_request(conn, x->status);
    kube_down(conn, buf_head(&x->late_head), buf_size(&x->late_head));
    buf_free(&x->late_head);
}

/* false: refused. */
static bool start_filter(struct kube_conn *conn, const struct http_response *response)
{
    struct kube_exchange *x = &conn->x;
    struct tp_error error = {0};
    bool holds_token = response->status == 410 && !x->request->is_watch;
    if (!x->filtered || (response->status != 200 && !holds_token) || x->to_head) {
        return true;
    }
    if (http_response_header(response, "content-encoding") != NULL) {
        (void)err_set(&error, TP_INVALID, "it is compressed");
    } else if (kube_filter_new(conn->rules, x->request, http_response_header(response, "content-type"),
                               &conn->kube->pages, &x->filter, &error) == TP_OK) {
        return true;
    }
    kube_refuse(conn, 406, "you may see only a part of this answer, and it can't be taken apart: %s", error.text);
    return false;
}

static void take_head(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    const struct http_response *response = http_response_parser_response(x->answer);
    const char *cluster = kube_cluster_conf(conn->cluster)->name;
    buf_free(&x->head);
    if (credentials_refused(x, response->status)) {
        log_error("the API server refuses the agent's credentials", "cluster=\"%s\"", cluster);
        kube_refuse(conn, 502, "the API server of %s does not accept the credentials of the agent; renew them",
                    cluster);
        return;
    }
    if (!start_filter(conn, response)) {
        return;
    }
    /* An answer to half a request, or a refused upgrade: what the client still sends can't be told from a next request
     * with certainty (R11, CVE-2018-1002105). */
    x->answer_last =
        !x->client_keeps || !x->body_done || x->upgrade != NULL || conn->audit_failed || conn->kube->draining;
    buf_init(&x->late_head, 0);
    if (!put_head(&x->late_head, response, false)) {
        kube_cut(conn, CLOSE_PROTOCOL_ERROR, "the API server's answer can't be passed on");
        return;
    }
    const char *warning = kube_review_warning(conn);
    if (warning != NULL) {
        (void)buf_printf(&x->late_head, "Warning: 299 - \"%s\"\r\n", warning);
    }
    put_framing(x, &x->late_head, response);
    if (x->filter == NULL || x->request->is_watch) {
        kube_deadline(conn, 0);
        give_head(conn);
    }
}

/* ---- the body ---- */

void kube_answer_body(struct kube_conn *conn, const void *data, size_t size)
{
    char line[24];
    if (size == 0) {
        return;
    }
    conn->x.answer_split = ((const char *)data)[size - 1] != '\n';
    if (conn->x.answer_chunked) {
        int length = snprintf(line, sizeof(line), "%zx\r\n", size);
        kube_down(conn, line, (size_t)length);
        kube_down(conn, data, size);
        kube_down(conn, "\r\n", 2);
    } else {
        kube_down(conn, data, size);
    }
}

void kube_answer_body_end(struct kube_conn *conn)
{
    if (conn->x.answer_chunked) {
        kube_down(conn, "0\r\n\r\n", 5);
    }
}

static void put_filtered(struct kube_conn *conn, const struct buf *out)
{
    if (buf_size(out) > 0 && !conn->x.answered) {
        kube_deadline(conn, 0);
        give_head(conn);
    }
    kube_answer_body(conn, buf_head(out), buf_size(out));
}

static void take_body(void *ctx, const uint8_t *data, size_t size)
{
    struct kube_conn *conn = ctx;
    struct kube_exchange *x = &conn->x;
    struct buf out;
    struct tp_error error = {0};
    if (x->filter == NULL) {
        kube_answer_body(conn, data, size);
        return;
    }
    if (!x->filter_failed && !kube_has_room(conn, size)) {
        x->filter_failed = true;
        x->no_room = true;
    }
    buf_init(&out, 0);
    if (!x->filter_failed && kube_filter_feed(x->filter, data, size, &out, &error) == TP_OK) {
        put_filtered(conn, &out);
    } else if (!x->filter_failed) {
        x->filter_failed = true;
        log_warn("kubernetes answer can't be filtered", "sid=%s error=\"%s\"", conn->sid, error.text);
    }
    buf_free(&out);
}

/* What was shown so far stands; the client learns by the missing end that it is not all. */
static void end_without_filter(struct kube_conn *conn)
{
    if (conn->x.answered) {
        kube_finish(conn);
    } else if (conn->x.no_room) {
        kube_refuse(conn, 503, "%s", KUBE_NO_ROOM);
    } else {
        kube_refuse(conn, 502, "you may see only a part of this answer, and it can't be taken apart");
    }
}

/* false: the answer has been ended otherwise. */
static bool end_filter(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    struct buf out;
    struct tp_error error = {0};
    if (x->filter == NULL) {
        return true;
    }
    buf_init(&out, 0);
    enum tp_err err = kube_filter_end(x->filter, &out, &error);
    if (err == TP_OK) {
        put_filtered(conn, &out);
    }
    buf_free(&out);
    if (err != TP_OK) {
        log_warn("kubernetes answer can't be filtered", "sid=%s error=\"%s\"", conn->sid, error.text);
        end_without_filter(conn);
    } else if (!x->answered) {
        give_head(conn);
    }
    return err == TP_OK;
}

static void take_end(struct kube_conn *conn, bool framed)
{
    struct kube_exchange *x = &conn->x;
    const struct http_response *response = http_response_parser_response(x->answer);
    bool reuse = framed && response->keep_alive && !response->until_close && x->body_done && x->upgrade == NULL;
    if (!end_filter(conn)) {
        return;
    }
    kube_answer_body_end(conn);
    if (reuse) {
        kube_upstream_put(x->upstream);
        x->upstream = NULL;
    }
    if (x->answer_last) {
        kube_finish(conn);
    } else {
        kube_next(conn);
    }
}

static void broken(struct kube_conn *conn, const char *why)
{
    if (conn->x.answered) {
        log_info("kubernetes answer broken off", "sid=%s reason=\"%s\"", conn->sid, why);
        kube_finish(conn);
    } else {
        kube_refuse(conn, 502, "the API server of %s gave no proper answer: %s", kube_cluster_conf(conn->cluster)->name,
                    why);
    }
}

/* ---- events of the connection to the API server ---- */

void kube_answer_open(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    conn->state = KUBE_ANSWER;
    kube_upstream_write(x->upstream, buf_head(&x->head), buf_size(&x->head));
    kube_upstream_write(x->upstream, buf_head(&x->held), buf_size(&x->held));
    kube_deadline(conn, x->no_deadline || !x->body_done ? 0 : ANSWER_MS);
    kube_pump_later(conn);
}

static void on_up_open(void *ctx)
{
    struct kube_conn *conn = ctx;
    if (conn->state != KUBE_ATTEMPT) { /* else kube_send finds it open */
        kube_answer_open(conn);
    }
}

/* The request went up whole: now an answer is due. */
void kube_answer_due(struct kube_conn *conn)
{
    if (conn->state == KUBE_ANSWER && !conn->x.answered && !conn->x.no_deadline) {
        kube_deadline(conn, ANSWER_MS);
    }
}

/* The API server ends what was dialled ahead of its request: kube_send dials anew. */
static void drop_early(struct kube_conn *conn)
{
    kube_upstream_close(conn->x.upstream);
    conn->x.upstream = NULL;
}

static void on_up_data(void *ctx, const uint8_t *data, size_t size)
{
    struct kube_conn *conn = ctx;
    struct kube_exchange *x = &conn->x;
    if (conn->state == KUBE_ATTEMPT) {
        drop_early(conn); /* an answer to nothing */
        return;
    }
    if (x->answer == NULL) {
        x->answer = http_response_parser_new_proxy(x->to_head, x->upgrade != NULL, take_body, conn);
    }
    for (;;) {
        size_t used = 0;
        enum http_step step = http_response_parser_take(x->answer, data, size, &used);
        data += used;
        size -= used;
        if (step == HTTP_HEAD_READY) {
            if (http_response_parser_response(x->answer)->upgraded) {
                kube_upgrade_switch(conn, data, size);
                return;
            }
            take_head(conn);
            if (x->answer == NULL) {
                return; /* refused instead */
            }
        } else if (x->filter_failed) {
            end_without_filter(conn);
            return;
        } else if (step == HTTP_DONE) {
            take_end(conn, size == 0);
            return;
        } else if (step == HTTP_FAILED) {
            broken(conn, http_response_parser_why(x->answer));
            return;
        } else {
            break;
        }
    }
    if (kube_down_is_full(conn)) {
        kube_upstream_pause(x->upstream);
    }
}

static void on_up_eof(void *ctx)
{
    struct kube_conn *conn = ctx;
    struct kube_exchange *x = &conn->x;
    if (conn->state == KUBE_ATTEMPT) {
        drop_early(conn);
    } else if (x->answer != NULL && http_response_parser_end(x->answer) == HTTP_DONE) {
        take_end(conn, false);
    } else if (x->answer == NULL) {
        /* on_close would come only when our direction has ended too. */
        kube_upstream_close(x->upstream);
        x->upstream = NULL;
        kube_answer_lost(conn, NULL);
    } else {
        broken(conn, http_response_parser_why(x->answer));
    }
}

static void on_up_drain(void *ctx)
{
    kube_pump_later(ctx);
}

/* The API server's connection is gone before a byte of an answer. One that had been idle may have been closed by the API
 * server just when we used it: then, and when nothing of a body has gone up, it is tried once more on a new one. */
/* Doing it twice does no more than doing it once (RFC 9110 9.2.1). */
static bool is_safe(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "OPTIONS") == 0;
}

void kube_answer_lost(struct kube_conn *conn, const struct tp_error *error)
{
    struct kube_exchange *x = &conn->x;
    /* An API server may end a kept connection just when the next request is on its way. It may have done the request, too. */
    if (x->was_used && !x->retried && !x->body_sent && is_safe(x->request->method)) {
        x->retried = true;
        kube_send(conn);
        return;
    }
    kube_refuse(conn, error != NULL && error->code == TP_TIMEOUT ? 504 : 503, "%s",
                error != NULL ? error->text : "the API server closed the connection without an answer; try again");
}

static void on_up_close(void *ctx, const struct tp_error *error)
{
    struct kube_conn *conn = ctx;
    struct kube_exchange *x = &conn->x;
    x->upstream = NULL;
    if (conn->state == KUBE_ATTEMPT) {
        return; /* kube_send dials anew */
    }
    if (x->answer == NULL) {
        kube_answer_lost(conn, error);
    } else if (http_response_parser_end(x->answer) == HTTP_DONE) {
        take_end(conn, false);
    } else {
        broken(conn, error->text);
    }
}

const struct kube_upstream_events kube_answer_events = {
    .on_open = on_up_open,
    .on_data = on_up_data,
    .on_eof = on_up_eof,
    .on_drain = on_up_drain,
    .on_close = on_up_close,
};

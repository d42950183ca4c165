/* A request on its way up: what it asks for, whether the grant allows it, and how it is said to the API server. */
#include "agent/kube_priv.h"
#include "protocols/http/http_server.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PATH_SHOWN 2000 /* bytes of path and of query in an event: the words of a command may be many */

void kube_exchange_clear(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    kube_upstream_close(x->upstream);
    http_response_parser_free(x->answer);
    kube_request_free(x->request);
    kube_filter_free(x->filter);
    buf_free(&x->late_head);
    kube_sweep_free(x->sweep);
    kube_attempt_forget(x->attempt);
    kube_pod_cancel(x->pod);
    json_decref(x->facts);
    buf_free(&x->held);
    mem_free(x->held_type);
    kube_named_free(x);
    mem_free(x->path);
    mem_free(x->login);
    secret_free(x->identity);
    json_decref(x->acting);
    buf_wipe(&x->head);
    memset(x, 0, sizeof(*x));
}

bool kube_can_send(const struct kube_conn *conn)
{
    return conn->x.upstream != NULL && !kube_upstream_is_full(conn->x.upstream);
}

/* ---- the head for the API server ---- */

/* These belong to one connection (RFC 9110 section 7.6.1), are written anew, or would compress what is to be filtered. */
static bool is_ours(const struct kube_exchange *x, const char *name)
{
    static const char *const names[] = {"host",       "content-length", "transfer-encoding", "upgrade", "te", "trailer",
                                        "keep-alive", "expect",         "connection"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return x->filtered && (strcmp(name, "accept-encoding") == 0 || strcmp(name, "range") == 0);
}

/* false: refused. */
static bool put_target(struct kube_conn *conn, const struct http_request *request)
{
    struct buf *out = &conn->x.head;
    (void)buf_printf(out, "%s %s", request->method, kube_cluster_conf(conn->cluster)->prefix);
    http_write_path(out, request->path);
    char *query = conn->x.filtered         ? kube_filter_query(request->query, &conn->kube->pages)
                  : request->query != NULL ? mem_strdup(request->query)
                                           : NULL;
    if (conn->x.filtered && query == NULL) {
        kube_refuse(conn, 410, "this list can't be continued (the agent was started anew); ask for it from the start");
        return false;
    }
    if (query != NULL && query[0] != '\0') {
        (void)buf_printf(out, "?%s", query);
    }
    mem_free(query);
    (void)buf_append_text(out, " HTTP/1.1\r\n");
    return true;
}

/* Whom the request is for, and who we are: header lines, kept for what we ask ourselves in the person's name. */
static bool keep_identity(struct kube_exchange *x, const struct kube_identity *identity, const char *authorization)
{
    struct buf out;
    buf_init(&out, 0);
    bool fine = kube_put_header(&out, "Impersonate-User", identity->user);
    for (size_t i = 0; i < identity->group_count && fine; i++) {
        fine = kube_put_header(&out, "Impersonate-Group", identity->groups[i]);
    }
    x->acting = json_pack("{s:[s], s:[]}", "kubernetes_users", identity->user, "kubernetes_groups");
    for (size_t i = 0; i < identity->group_count; i++) {
        (void)json_array_append_new(json_object_get(x->acting, "kubernetes_groups"), json_string(identity->groups[i]));
    }
    fine = fine && (authorization == NULL || kube_put_header(&out, "Authorization", authorization));
    x->login = mem_strdup(identity->user);
    x->identity = buf_take(&out);
    return fine;
}

static bool put_headers(struct kube_conn *conn, const struct http_request *request)
{
    const struct kube_cluster_conf *conf = kube_cluster_conf(conn->cluster);
    struct kube_exchange *x = &conn->x;
    struct buf *out = &x->head;
    bool fine = true;
    (void)buf_printf(out, strchr(conf->host, ':') != NULL ? "Host: [%s]:%u\r\n" : "Host: %s:%u\r\n", conf->host,
                     conf->port);
    for (size_t i = 0; i < request->header_count && fine; i++) {
        const struct http_header *header = &request->headers[i];
        if (!is_ours(x, header->name) && !kube_header_is_dropped(request, header->name)) {
            fine = kube_put_header(out, header->name, header->value);
        }
    }
    (void)buf_append_text(out, x->identity);
    if (x->filtered) {
        (void)buf_append_text(out, "Accept-Encoding: identity\r\n");
    }
    if (x->upgrade != NULL) {
        (void)buf_printf(out, "Connection: Upgrade\r\nUpgrade: %s\r\n", x->upgrade);
    }
    return fine;
}

static void put_framing(struct kube_exchange *x, const struct http_request *request)
{
    if (request->has_length) {
        (void)buf_printf(&x->head, "Content-Length: %llu\r\n", (unsigned long long)request->length);
    } else if (request->has_body) {
        x->body_chunked = true;
        (void)buf_append_text(&x->head, "Transfer-Encoding: chunked\r\n");
    }
    (void)buf_append_text(&x->head, "\r\n");
}

/* false: refused. */
static bool write_head(struct kube_conn *conn, const struct http_request *request)
{
    struct kube_exchange *x = &conn->x;
    const char *authorization = NULL;
    struct kube_identity identity = {0};
    struct tp_error error = {0};
    if (kube_identity_decide(conn->grant, request, &identity, &error) != TP_OK) {
        kube_refuse(conn, 403, "%s", error.text);
        return false;
    }
    if (kube_cluster_authorization(conn->cluster, &authorization, &error) != TP_OK) {
        log_error("no credentials for the API server", "cluster=\"%s\" error=\"%s\"",
                  kube_cluster_conf(conn->cluster)->name, error.text);
        kube_identity_free(&identity);
        kube_refuse(conn, 503, "the agent has no credentials for %s now; see its log",
                    kube_cluster_conf(conn->cluster)->name);
        return false;
    }
    bool fine = keep_identity(x, &identity, authorization);
    kube_identity_free(&identity);
    buf_init(&x->head, 0);
    if (!put_target(conn, request)) {
        return false;
    }
    fine = put_headers(conn, request) && fine;
    if (!x->holds) {
        put_framing(x, request);
    }
    if (!fine) {
        kube_refuse(conn, 400, "a header of the request can't be passed on");
    }
    return fine;
}

/* ---- begin ---- */

/* Answers of these may take for ever. */
static bool is_long_running(const struct kube_request *request)
{
    return request->is_watch || kube_request_is_proxied(request) || strcmp(request->subresource, "log") == 0;
}

/* A create says its object's name in the body, a deletecollection none: the rules are asked about the whole first. */
static bool decide_whole(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    struct rbac_kube_request asked;
    kube_request_rbac(x->request, &asked);
    asked.collection = true;
    switch (rbac_kube_check(conn->rules, &asked)) {
    case RBAC_KUBE_ALLOW:
        return true;
    case RBAC_KUBE_FILTER:
        x->holds = true;
        return true;
    case RBAC_KUBE_DENY:
        break;
    }
    kube_refuse_forbidden(conn, "");
    return false;
}

/* false: refused. */
static bool decide(struct kube_conn *conn, const struct http_request *request)
{
    struct kube_exchange *x = &conn->x;
    struct tp_error error = {0};
    if (kube_audit_is_full(conn)) {
        kube_refuse(conn, 503, "accesses can't be put on record now, so they are refused; try again later");
        return false;
    }
    if (kube_request_parse(request->method, request->path, request->query, &x->request, &error) != TP_OK) {
        kube_refuse(conn, error.code == TP_DENIED ? 403 : 400, "%s", error.text);
        return false;
    }
    bool nameless = kube_request_is_create(x->request) && x->request->name[0] == '\0';
    if (x->request->resource[0] != '\0' && !kube_request_is_about_oneself(x->request) &&
        (nameless || kube_request_is_deletecollection(x->request))) {
        return decide_whole(conn);
    }
    x->holds = kube_review_is_limited(conn);
    switch (kube_request_check(conn->rules, x->request, &error)) {
    case RBAC_KUBE_ALLOW:
        return true;
    case RBAC_KUBE_FILTER:
        x->filtered = true;
        return true;
    case RBAC_KUBE_DENY:
        break;
    }
    kube_refuse(conn, 403, "%s", error.text);
    return false;
}

/* Bytes of text that an event shows: half a character at its end would make it no text. */
static int shown(const char *text)
{
    size_t size = strnlen(text, PATH_SHOWN + 1);
    if (size > PATH_SHOWN) {
        size = PATH_SHOWN;
        while (size > 0 && ((unsigned char)text[size] & 0xC0) == 0x80) {
            size--;
        }
    }
    return (int)size;
}

void kube_request_begin(struct kube_conn *conn)
{
    const struct http_request *request = http_parser_request(conn->parser);
    const char *query = request->query != NULL ? request->query : "";
    struct kube_exchange *x = &conn->x;
    x->to_head = strcmp(request->method, "HEAD") == 0;
    x->chunks_known = request->minor == 1;
    x->client_keeps = request->keep_alive;
    x->body_done = !request->has_body;
    x->answer_last = request->expect_continue; /* until we have said "continue", its body may come or not */
    x->path = mem_printf("%.*s%s%.*s", shown(request->path), request->path, request->query != NULL ? "?" : "",
                         shown(query), query);
    http_parser_stream_body(conn->parser, kube_request_body, conn);
    if (kube_is_past(conn)) {
        x->answer_last = true;
        kube_refuse(conn, 401,
                    "the one-time code that opened this connection counts no longer; ask again for a new one");
        return;
    }
    if (!decide(conn, request)) {
        return;
    }
    x->upgrade = kube_upgrade_wanted(request);
    if (x->upgrade != NULL && (request->has_body || x->filtered)) {
        x->upgrade = NULL; /* a watch over WebSocket is a watch: filtered, it is an ordinary answer */
    }
    if (kube_request_is_session(x->request) && x->upgrade == NULL) {
        kube_refuse(conn, 400, "%s needs a connection that switches to WebSocket or SPDY/3.1", x->request->kind);
        return;
    }
    x->no_deadline = is_long_running(x->request);
    if (!write_head(conn, request)) {
        return;
    }
    if (request->expect_continue) {
        x->answer_last = false;
        kube_down(conn, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    }
    if (x->holds) {
        kube_held_begin(conn);
    } else if (x->upgrade != NULL && kube_request_is_session(x->request)) {
        kube_upgrade_begin(conn);
    } else {
        kube_named_begin(conn);
        kube_send(conn);
    }
}

void kube_dial(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    struct tp_error ignored = {0};
    if (kube_upstream_get(conn->cluster, true, &kube_answer_events, conn, &x->upstream, &ignored) != TP_OK) {
        x->upstream = NULL; /* kube_send tries it again and says why */
    }
}

void kube_send(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    struct tp_error error = {0};
    conn->state = KUBE_CONNECT;
    if (x->upstream != NULL) {
        if (kube_upstream_is_open(x->upstream)) {
            kube_answer_open(conn);
        }
        return;
    }
    if (kube_upstream_get(conn->cluster, x->upgrade != NULL || x->retried, &kube_answer_events, conn, &x->upstream,
                          &error) != TP_OK) {
        log_error("no credentials for the API server", "cluster=\"%s\" error=\"%s\"",
                  kube_cluster_conf(conn->cluster)->name, error.text);
        kube_refuse(conn, 503, "the agent has no credentials for %s now; see its log",
                    kube_cluster_conf(conn->cluster)->name);
        return;
    }
    x->was_used = kube_upstream_was_used(x->upstream);
}

/* ---- the body ---- */

void kube_request_body(void *ctx, const uint8_t *data, size_t size)
{
    struct kube_conn *conn = ctx;
    struct kube_exchange *x = &conn->x;
    char line[24];
    if (conn->state == KUBE_HOLD) {
        if (!x->no_room && !kube_has_room(conn, size)) {
            x->no_room = true;
            buf_free(&x->held);
        }
        if (x->no_room) {
            return;
        }
        (void)buf_append(&x->held, data, size); /* past its limit it fails, and the request with it */
        return;
    }
    if (conn->state != KUBE_ANSWER || size == 0) {
        return;
    }
    x->body_sent = true;
    kube_named_data(conn, data, size);
    if (x->body_chunked) {
        int length = snprintf(line, sizeof(line), "%zx\r\n", size);
        kube_upstream_write(x->upstream, line, (size_t)length);
        kube_upstream_write(x->upstream, data, size);
        kube_upstream_write(x->upstream, "\r\n", 2);
    } else {
        kube_upstream_write(x->upstream, data, size);
    }
}

void kube_request_end(struct kube_conn *conn)
{
    struct kube_exchange *x = &conn->x;
    bool again = x->body_done;
    x->body_done = true;
    kube_named_end(conn);
    if (conn->state == KUBE_DROP) {
        kube_next(conn);
    } else if (conn->state == KUBE_HOLD) {
        kube_held_end(conn);
    } else if (conn->state == KUBE_ANSWER && !again) {
        if (x->body_chunked) {
            kube_upstream_write(x->upstream, "0\r\n\r\n", 5);
        }
        kube_answer_due(conn);
    }
}

/* ---- what is asked and said about it ---- */

void kube_request_rbac(const struct kube_request *request, struct rbac_kube_request *ret_asked)
{
    *ret_asked = (struct rbac_kube_request){
        .kind = request->resource,
        .api_group = request->api_group,
        .name_space = request->ns,
        .name = request->name,
        .verb = request->verb,
        .collection = request->collection,
    };
}

bool kube_request_is_create(const struct kube_request *request)
{
    return strcmp(request->verb, "create") == 0;
}

bool kube_request_is_deletecollection(const struct kube_request *request)
{
    return strcmp(request->verb, "deletecollection") == 0;
}

bool kube_request_may_read_pod(const struct kube_conn *conn)
{
    struct rbac_kube_request asked;
    kube_request_rbac(conn->x.request, &asked);
    asked.verb = "get"; /* the resource is pods already, whatever the subresource */
    return rbac_kube_check(conn->rules, &asked) == RBAC_KUBE_ALLOW;
}

bool kube_request_is_audited(const struct kube_conn *conn)
{
    return conn->x.request != NULL && conn->x.request->audited;
}

void kube_request_audit(const struct kube_conn *conn, json_t *fields)
{
    const struct kube_request *request = conn->x.request;
    bool is_resource = request->resource[0] != '\0';
    char *group =
        is_resource ? mem_printf("%s/%s", request->api_group[0] != '\0' ? request->api_group : "core", request->version)
                    : mem_strdup("");
    const struct {
        const char *key;
        const char *value;
    } members[] = {{"request_path", conn->x.path},   {"verb", request->method},
                   {"resource_api_group", group},    {"resource_namespace", request->ns},
                   {"resource_kind", request->kind}, {"resource_name", request->name}};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        json_t *text = json_string(members[i].value);
        if (text != NULL) { /* else it is no text, and the others are said all the same */
            (void)json_object_set_new(fields, members[i].key, text);
        }
    }
    mem_free(group);
    if (conn->x.login != NULL) {
        (void)json_object_set_new(fields, "login", json_string(conn->x.login));
    }
}

#include "protocols/web/web_conn.h"

#include "base/clock.h"
#include "base/enc.h"
#include "base/log.h"
#include "base/mem.h"

#include <string.h>
#include <unistd.h>

#define CALL_MS 30000
/* R9: with a head of 16 KB and what TLS holds a stranger has 64 KB. That a session is good is known when all has come, but for
 * large bodies. */
#define ANONYMOUS_BODY ((size_t)16 * 1024)
#define STRANGER_HIGH ((size_t)8 * 1024) /* bytes of an answer that wait for him */
#define STRANGER_MS 10000                /* for his whole request */
#define FORM_BODY ((size_t)8 * 1024)
#define LARGE_MS 60000

const struct http_request *web_http(const struct web_request *request)
{
    return http_exchange_request(request->exchange);
}

const struct web_options *web_options(const struct web_request *request)
{
    return &request->conn->web->options;
}

void web_request_free(struct web_request *request)
{
    for (size_t i = 0; i < WEB_PARAMS_MAX; i++)
        secret_free(request->params[i]);
    json_decref(request->caller);
    json_decref(request->body);
    web_body_give(request->large);
    secret_wipe(request->csrf, sizeof(request->csrf));
    mem_free(request);
}

/* Calls to auth. */

struct call {
    struct web_request *request;
    web_finish_fn *finish;
    web_failed_fn *failed;
};

/* The call is over (freed, what it said copied to *ret_call). false: nobody waits for the answer any more, or it failed and
 * that was answered. */
static bool call_over(struct call *call, const struct tp_error *error, struct call *ret_call)
{
    struct web_request *request = call->request;
    *ret_call = *call;
    mem_free(call);
    request->waiting = false;
    if (!request->conn) {
        web_request_free(request);
        return false;
    }
    if (error)
        ret_call->failed(request, error);
    return !error;
}

static void on_reply(void *ctx, json_t *result, const struct tp_error *error)
{
    struct call call;
    if (call_over(ctx, error, &call))
        call.finish(call.request, result);
}

static void on_reply_text(void *ctx, const char *text, size_t size, const struct tp_error *error)
{
    struct call call;
    if (call_over(ctx, error, &call))
        web_answer_json_text(call.request, text, size);
}

static void call_auth(struct web_request *request, const char *method, json_t *params, web_finish_fn *finish,
                      web_failed_fn *failed)
{
    struct web *web = request->conn->web;
    struct rpc *auth = web->options.auth(web->options.auth_ctx);
    struct call *call;
    if (!auth) {
        struct tp_error error = {0};
        json_decref(params);
        (void)err_set(&error, TP_UNAVAILABLE, "the auth process is not available now; try again in a moment");
        web_answer_error(request, &error);
        return;
    }
    call = mem_alloc(sizeof(*call));
    call->request = request;
    call->finish = finish;
    call->failed = failed;
    request->waiting = true;
    if (finish)
        (void)rpc_request(auth, method, params, json_incref(request->caller), CALL_MS, on_reply, call);
    else
        (void)rpc_request_text(auth, method, params, json_incref(request->caller), CALL_MS, on_reply_text, call);
}

void web_call_then(struct web_request *request, json_t *params, web_finish_fn *done, web_failed_fn *failed)
{
    call_auth(request, request->route->then, params, done, failed);
}

/* Who asks. */

static enum tp_err set_caller(struct web_request *request, struct tp_error *error)
{
    struct web_conn *conn = request->conn;
    if (request->route->who == WEB_SESSION) {
        request->caller = web_session_caller(web_http(request), conn->addr);
        return request->caller ? TP_OK : err_set(error, TP_UNAUTHENTICATED, "sign in first");
    }
    if (request->route->who == WEB_CERT) {
        if (!conn->cert)
            return err_set(error, TP_UNAUTHENTICATED, "a client certificate is needed; run \"tport login\" first");
        request->caller = json_pack("{s:s, s:s, s:s}", "kind", "user", "cert", conn->cert, "addr", conn->addr);
    } else {
        request->caller = json_pack("{s:s, s:s}", "kind", "anonymous", "addr", conn->addr);
    }
    return TP_OK;
}

static void start(struct web_request *request)
{
    const struct web_route *route = request->route;
    const struct http_request *http = web_http(request);
    struct tp_error error = {0};
    json_t *params = NULL;
    enum tp_err err = TP_OK;
    if (route->shape == WEB_SOCKET) {
        web_socket_start(request);
        return;
    }
    if (strcmp(http->method, "GET") != 0 && strcmp(http->method, "HEAD") != 0 &&
        web_cookie_is_cross_site(http, route->shape == WEB_FORM))
        err = err_set(&error, TP_DENIED, "requests from pages of other sites are refused");
    if (err == TP_OK)
        err = set_caller(request, &error);
    if (err == TP_OK)
        err = web_check_body(request, &error);
    if (err == TP_OK && route->shape != WEB_API && route->shape != WEB_LARGE)
        err = web_check_csrf(request, &error);
    if (err != TP_OK) {
        web_answer_error(request, &error);
        return;
    }
    if (!route->rpc) {
        route->finish(request, NULL);
        return;
    }
    if (route->begin && route->begin(request, &params, &error) != TP_OK) {
        web_answer_failed(request, &error);
        return;
    }
    call_auth(request, route->rpc[0] == ':' ? request->params[0] : route->rpc, params ? params : json_object(),
              route->finish, web_answer_failed);
}

static void answer_unknown(struct web_request *request, bool other_method)
{
    const char *path = web_http(request)->path;
    struct tp_error error = {0};
    if (other_method) {
        json_t *json = json_pack("{s:{s:s, s:s}}", "error", "message", "this path does not take that method", "code",
                                 "bad_parameter");
        web_answer_json(request, 405, json);
        return;
    }
    (void)err_set(&error, TP_NOT_FOUND, "there is no such page");
    if (strncmp(path, "/webapi", 7) == 0 || strncmp(path, "/v1", 3) == 0)
        web_answer_json(request, 404, json_pack("{s:{s:s, s:s}}", "error", "message", error.text, "code", "not_found"));
    else
        web_answer_error(request, &error);
}

/* Connections. */

static void conn_free(struct web_conn *conn)
{
    *conn->prev = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    conn->web->count--;
    web_body_give(conn->large);
    mem_free(conn->addr);
    mem_free(conn->cert);
    mem_free(conn->user);
    mem_free(conn);
}

void web_hand_over(struct web_request *request, const char *accept, const char *session, const json_t *params)
{
    struct web_conn *conn = request->conn;
    const struct web_options *options = &conn->web->options;
    const struct http_header headers[] = {{"Sec-WebSocket-Accept", accept}};
    struct tp_error error = {0};
    struct buf rest;
    struct web_socket socket = {.connection_id = conn->id,
                                .address = conn->addr,
                                .session = session,
                                .rpc = request->route->rpc,
                                .params = params,
                                .path = {request->params[0], request->params[1]}};
    buf_init(&rest, 0);
    if (!options->on_socket ||
        http_exchange_upgrade(request->exchange, "websocket", headers, 1, &socket.stream, &rest) != TP_OK) {
        (void)err_set(&error, TP_INVALID, "this path needs a WebSocket connection over HTTP/1.1");
        web_answer_error(request, &error);
        return;
    }
    log_info("request", "id=%llu peer=%s method=GET route=%s status=101", (unsigned long long)conn->id, conn->addr,
             request->route->path);
    conn->request = NULL;
    socket.rest = buf_head(&rest);
    socket.rest_size = buf_size(&rest);
    options->on_socket(options->on_socket_ctx, &socket);
    buf_free(&rest);
    web_request_free(request);
    conn_free(conn);
}

static void on_leave(void *ctx, struct web_body *body, const struct tp_error *error)
{
    struct web_conn *conn = ctx;
    conn->hold = NULL;
    conn->large = body;
    if (body)
        http_server_proceed(conn->server, WEB_LARGE_BODY, LARGE_MS);
    else if (error->code == TP_UNAVAILABLE || error->code == TP_TOO_LARGE)
        web_refuse_body(conn, error);
    else
        http_server_proceed(conn->server, WEB_SMALL_BODY, 0);
}

/* Asks auth whether the caller of this head may write what is in the body. */
static void hold(struct web_conn *conn, const struct http_request *http)
{
    struct rpc *auth = conn->web->options.auth(conn->web->options.auth_ctx);
    json_t *caller = auth ? web_session_caller(http, conn->addr) : NULL;
    if (!caller)
        return;
    http_server_hold(conn->server);
    conn->hold = web_body_ask(&conn->web->bodies, auth, caller, on_leave, conn);
}

static size_t on_head(void *ctx, const struct http_request *http)
{
    bool other = false;
    const struct web_route *route = web_route_find(http->method, http->path, NULL, &other);
    struct web_conn *conn = ctx;
    struct tp_error error = {0};
    bool large = http->has_length && http->length > WEB_SMALL_BODY && http->length <= WEB_LARGE_BODY && conn->web;
    if (!route || route->shape == WEB_FORM)
        return FORM_BODY;
    conn->held = route;
    if (route->who == WEB_CERT && conn->cert) {
        if (!large)
            return WEB_SMALL_BODY;
        if (web_body_take(&conn->web->bodies, conn->user ? conn->user : "", &conn->large, &error) == TP_OK)
            return WEB_LARGE_BODY;
        web_refuse_body(conn, &error);
        return WEB_SMALL_BODY;
    }
    if (route->shape == WEB_LARGE && large)
        hold(conn, http);
    return route->who == WEB_SESSION ? WEB_SMALL_BODY : ANONYMOUS_BODY;
}

static void on_request(void *ctx, struct http_exchange *exchange)
{
    struct web_conn *conn = ctx;
    struct http_request *http = http_exchange_request(exchange);
    struct web_request *request = mem_alloc(sizeof(*request));
    bool other = false;
    request->conn = conn;
    request->exchange = exchange;
    request->started_ms = clock_mono_ms();
    conn->request = request;
    request->large = conn->large;
    conn->large = NULL;
    request->route = web_route_find(http->method, http->path, request->params, &other);
    if (!conn->web) {
        http_server_close(conn->server, CLOSE_SHUTDOWN);
        return;
    }
    if (request->route)
        start(request);
    else
        answer_unknown(request, other);
}

static void on_close(void *ctx, enum close_reason reason)
{
    struct web_conn *conn = ctx;
    web_hold_forget(conn->hold);
    if (conn->request && conn->request->waiting)
        conn->request->conn = NULL; /* freed by the reply */
    else if (conn->request)
        web_request_free(conn->request);
    if (conn->web) {
        conn->web->options.on_done(conn->web->options.on_done_ctx, conn->id, conn->addr, reason);
        conn_free(conn);
        return;
    }
    web_body_give(conn->large);
    mem_free(conn->addr);
    mem_free(conn->cert);
    mem_free(conn->user);
    mem_free(conn);
}

void web_serve(struct web *web, struct stream *stream, const struct web_peer *peer)
{
    static const struct http_server_events events = {
        .on_head = on_head, .on_request = on_request, .on_close = on_close};
    const struct http_server_options options = {.request_ms = peer->client_cert ? 0 : STRANGER_MS};
    struct web_conn *conn = mem_alloc(sizeof(*conn));
    conn->web = web;
    conn->addr = mem_strdup(peer->address);
    conn->cert = peer->client_cert ? enc_base64(peer->client_cert, peer->client_cert_size) : NULL;
    conn->user = peer->user ? mem_strdup(peer->user) : NULL;
    conn->id = peer->connection_id;
    conn->next = web->first;
    conn->prev = &web->first;
    if (web->first)
        web->first->prev = &conn->next;
    web->first = conn;
    web->count++;
    if (!conn->cert)
        stream_set_high(stream, STRANGER_HIGH);
    conn->server = http_server_new(web->loop, stream, &options, &events, conn);
    if (web->draining)
        http_server_drain(conn->server);
}

struct web *web_new(struct loop *loop, const struct web_options *options)
{
    struct web *web = mem_alloc(sizeof(*web));
    web->loop = loop;
    web->options = *options;
    web->options.cluster_name = mem_strdup(options->cluster_name);
    web->options.public_addr =
        mem_strdup(options->public_addr && *options->public_addr ? options->public_addr : options->cluster_name);
    web->options.listen_addr = mem_strdup(options->listen_addr ? options->listen_addr : "0.0.0.0:443");
    web->options.server_version = mem_strdup(options->server_version);
    return web;
}

void web_add_file(struct web *web, const char *name, const char *sha256, int64_t size, int fd)
{
    if (web->file_count == WEB_FILES_MAX || size <= 0) {
        (void)close(fd);
        return;
    }
    web->files[web->file_count++] =
        (struct web_file){.name = mem_strdup(name), .sha256 = mem_strdup(sha256), .size = (uint64_t)size, .fd = fd};
}

const struct web_file *web_files(const struct web_request *request, size_t *ret_count)
{
    *ret_count = request->conn->web->file_count;
    return request->conn->web->files;
}

void web_drain(struct web *web)
{
    web->draining = true;
    for (struct web_conn *conn = web->first; conn; conn = conn->next)
        http_server_drain(conn->server);
}

size_t web_count(const struct web *web)
{
    return web->count;
}

void web_free(struct web *web)
{
    struct web_conn *conn = web->first;
    web_bodies_end(&web->bodies);
    while (conn) {
        struct web_conn *next = conn->next;
        conn->web = NULL;
        web_hold_forget(conn->hold);
        conn->hold = NULL;
        if (conn->request && conn->request->waiting) {
            conn->request->conn = NULL;
            conn->request = NULL;
        }
        http_server_close(conn->server, CLOSE_SHUTDOWN);
        conn = next;
    }
    for (size_t i = 0; i < web->file_count; i++) {
        (void)close(web->files[i].fd);
        mem_free(web->files[i].name);
        mem_free(web->files[i].sha256);
    }
    mem_free((char *)(uintptr_t)web->options.cluster_name);
    mem_free((char *)(uintptr_t)web->options.public_addr);
    mem_free((char *)(uintptr_t)web->options.listen_addr);
    mem_free((char *)(uintptr_t)web->options.server_version);
    mem_free(web);
}

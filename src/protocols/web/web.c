#include "protocols/web/web_priv.h"

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
#define HEADERS_MAX 16

struct web_conn {
    struct web *web; /* NULL once the web is gone */
    struct web_conn *next;
    struct web_conn **prev;
    struct http_server *server;
    struct web_request *request;
    struct web_hold *hold; /* a large body waits for auth's word */
    const struct web_route *held;
    struct web_body *large; /* of the request that is being read */
    char *addr;
    char *cert; /* base64 of DER, or NULL */
    char *user; /* of cert, or NULL */
    uint64_t id;
};

struct web {
    bool draining; /* each further connection gets one answer */
    struct web_bodies bodies;
    struct loop *loop;
    struct web_options options;
    struct web_conn *first;
    size_t count;
    struct web_file files[WEB_FILES_MAX];
    size_t file_count;
};

const struct http_request *web_http(const struct web_request *request)
{
    return http_exchange_request(request->exchange);
}

const struct web_options *web_options(const struct web_request *request)
{
    return &request->conn->web->options;
}

static void request_free(struct web_request *request)
{
    for (size_t i = 0; i < WEB_PARAMS_MAX; i++)
        secret_free(request->params[i]);
    json_decref(request->caller);
    json_decref(request->body);
    web_body_give(request->large);
    secret_wipe(request->csrf, sizeof(request->csrf));
    mem_free(request);
}

/* Answers. */

static void put(struct http_header *headers, size_t *count, const char *name, const char *value)
{
    if (*count < HEADERS_MAX) {
        headers[*count].name = name;
        headers[(*count)++].value = value;
    }
}

/* The route's pattern and not the path is logged: paths hold tokens. Of a call the name, when it is one; of people the name in
 * the certificate, as a web session is only known to auth. */
static void log_answer(const struct web_request *request, int status)
{
    const struct web_conn *conn = request->conn;
    const struct web_route *route = request->route;
    bool call = route && route->who == WEB_CERT && request->params[0] && web_route_is_user_method(request->params[0]);
    log_info("request", "id=%llu peer=%s method=%s route=%s%s%s%s%s%s status=%d ms=%lld", (unsigned long long)conn->id,
             conn->addr, web_http(request)->method, route ? route->path : "none", call ? " call=" : "",
             call ? request->params[0] : "", conn->user ? " user=\"" : "", conn->user ? conn->user : "",
             conn->user ? "\"" : "", status, (long long)(clock_mono_ms() - request->started_ms));
}

struct answer {
    int status;
    const char *content_type;
    const void *body;
    size_t size;
    const char *set_cookie;
    const char *location;
    const char *cache; /* NULL: no-store */
    bool gzip;
    bool varies;                      /* with what the browser accepts */
    const struct http_source *source; /* in place of body, with its context */
    void *source_ctx;
    const char *csp; /* NULL: CSP_PAGE */
    const struct http_header *extra;
    size_t extra_count;
};

/* Pages that the server writes run no script at all; neither kind loads anything from elsewhere. */
#define CSP_END "img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
#define CSP_PAGE "default-src 'none'; style-src 'self'; " CSP_END
#define CSP_SCRIPTS(more)                                                                      \
    "default-src 'none'; script-src 'self'" more "; style-src 'self'; font-src 'self' data:; " \
    "connect-src 'self'; " CSP_END
#define CSP_APP CSP_SCRIPTS("")
/* The player's terminal is WebAssembly, which a browser compiles for this one page only. */
#define CSP_PLAYER CSP_SCRIPTS(" 'wasm-unsafe-eval'")

/* What every answer says. */
static void put_usual(const struct web *web, const struct answer *what, struct http_header *headers, size_t *count)
{
    put(headers, count, "Content-Type", what->content_type);
    put(headers, count, "Content-Security-Policy", what->csp ? what->csp : CSP_PAGE);
    put(headers, count, "X-Content-Type-Options", "nosniff");
    put(headers, count, "X-Frame-Options", "DENY");
    put(headers, count, "Referrer-Policy", "no-referrer");
    put(headers, count, "Cross-Origin-Opener-Policy", "same-origin");
    put(headers, count, "Cross-Origin-Resource-Policy", "same-origin");
    put(headers, count, "Cache-Control", what->cache ? what->cache : "no-store");
    if (!web->options.no_hsts)
        put(headers, count, "Strict-Transport-Security", "max-age=31536000");
}

static void answer(struct web_request *request, const struct answer *what)
{
    struct http_header headers[HEADERS_MAX];
    struct http_exchange *exchange = request->exchange;
    size_t count = 0;
    put_usual(request->conn->web, what, headers, &count);
    if (what->gzip)
        put(headers, &count, "Content-Encoding", "gzip");
    if (what->varies)
        put(headers, &count, "Vary", "Accept-Encoding");
    if (what->set_cookie)
        put(headers, &count, "Set-Cookie", what->set_cookie);
    if (what->location)
        put(headers, &count, "Location", what->location);
    for (size_t i = 0; i < what->extra_count; i++)
        put(headers, &count, what->extra[i].name, what->extra[i].value);
    log_answer(request, what->status);
    request->conn->request = NULL;
    if (what->source)
        http_exchange_respond_source(exchange, what->status, headers, count, what->size, what->source,
                                     what->source_ctx);
    else
        http_exchange_respond(exchange, what->status, headers, count, what->body, what->size);
    request_free(request);
}

void web_answer_json_cookie(struct web_request *request, int status, json_t *json, const char *set_cookie)
{
    char *text = json_text(json);
    struct answer what = {.status = status,
                          .content_type = "application/json; charset=utf-8",
                          .body = text,
                          .size = strlen(text),
                          .set_cookie = set_cookie};
    answer(request, &what);
    json_decref(json);
    secret_free(text);
}

void web_answer_json(struct web_request *request, int status, json_t *json)
{
    web_answer_json_cookie(request, status, json, NULL);
}

static json_t *error_json(const struct tp_error *error)
{
    const char *text = error->text[0] ? error->text : err_text(error->code);
    json_t *json = json_pack("{s:{s:s, s:s}}", "error", "message", text, "code", err_name(error->code));
    if (!json) /* the sentence is not UTF-8 */
        json = json_pack("{s:{s:s, s:s}}", "error", "message", err_text(error->code), "code", err_name(error->code));
    return json;
}

void web_answer_error(struct web_request *request, const struct tp_error *error)
{
    if (request->route && request->route->shape != WEB_PAGE && request->route->shape != WEB_FORM) {
        web_answer_json(request, err_http(error->code), error_json(error));
    } else {
        web_page_error(request, error);
    }
}

void web_answer_failed(struct web_request *request, const struct tp_error *error)
{
    if (request->route->failed)
        request->route->failed(request, error);
    else
        web_answer_error(request, error);
}

void web_answer_page(struct web_request *request, int status, struct buf *page)
{
    struct answer what = {
        .status = status, .content_type = "text/html; charset=utf-8", .body = buf_head(page), .size = buf_size(page)};
    char *cookie = NULL;
    if (request->csrf_new)
        what.set_cookie = cookie =
            mem_printf("%s=%s; Path=/; Secure; HttpOnly; SameSite=Strict", WEB_CSRF_COOKIE, request->csrf);
    answer(request, &what);
    secret_free(cookie);
    buf_wipe(page);
}

void web_answer_text(struct web_request *request, const char *content_type, const char *text)
{
    struct answer what = {.status = 200,
                          .content_type = content_type,
                          .body = text,
                          .size = strlen(text),
                          .cache = request->route->rpc ? NULL : "max-age=300"};
    answer(request, &what);
}

void web_answer_bytes(struct web_request *request, const char *content_type, const struct buf *bytes,
                      const struct http_header *extra, size_t extra_count)
{
    struct answer what = {.status = 200,
                          .content_type = content_type,
                          .body = buf_head(bytes),
                          .size = buf_size(bytes),
                          .extra = extra,
                          .extra_count = extra_count < WEB_EXTRA_MAX ? extra_count : WEB_EXTRA_MAX};
    answer(request, &what);
}

/* What the page may do besides showing itself. */
static const char *policy_of(const struct web_request *request, const struct web_asset *asset)
{
    if (strncmp(asset->content_type, "text/html", 9) != 0)
        return NULL;
    return request->route->finish == web_player_finish ? CSP_PLAYER : CSP_APP;
}

void web_answer_asset(struct web_request *request, const struct web_asset *asset, bool for_ever,
                      const struct http_source *plain, void *plain_ctx)
{
    struct answer what = {.status = 200,
                          .content_type = asset->content_type,
                          .body = asset->data,
                          .size = plain ? web_asset_plain_size(asset) : asset->size,
                          .source = plain ? plain : &web_fixed_source,
                          .source_ctx = plain ? plain_ctx : web_fixed_from(asset->data),
                          .cache = for_ever ? "public, max-age=31536000, immutable" : "no-cache",
                          .gzip = !plain,
                          .varies = true,
                          .csp = policy_of(request, asset)};
    answer(request, &what);
}

void web_answer_plain(struct web_request *request, int status, const char *text)
{
    struct answer what = {
        .status = status, .content_type = "text/plain; charset=utf-8", .body = text, .size = strlen(text)};
    answer(request, &what);
}

void web_answer_file(struct web_request *request, const struct web_file *file)
{
    struct answer what = {.status = 200,
                          .content_type = "application/octet-stream",
                          .size = file->size,
                          .source = &web_file_source,
                          .source_ctx = web_file_from(file)};
    answer(request, &what);
}

void web_answer_redirect(struct web_request *request, const char *to)
{
    struct answer what = {.status = 302, .content_type = "text/plain; charset=utf-8", .location = to};
    answer(request, &what);
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
        request_free(request);
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
    struct answer what = {.status = 200, .content_type = "application/json; charset=utf-8", .body = text, .size = size};
    struct call call;
    if (call_over(ctx, error, &call))
        answer(call.request, &what);
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
    request_free(request);
    conn_free(conn);
}

/* A request whose body is not read. */
static void refuse_body(struct web_conn *conn, const struct tp_error *error)
{
    const struct answer what = {.content_type = "application/json; charset=utf-8"};
    struct http_header headers[HEADERS_MAX];
    size_t count = 0;
    json_t *json = error_json(error);
    char *text = json_text(json);
    int status = err_http(error->code);
    put_usual(conn->web, &what, headers, &count);
    log_info("request", "id=%llu peer=%s method=%s route=%s body=refused status=%d", (unsigned long long)conn->id,
             conn->addr, conn->held->method, conn->held->path, status);
    http_server_refuse(conn->server, status, headers, count, text, strlen(text));
    json_decref(json);
    mem_free(text);
}

static void on_leave(void *ctx, struct web_body *body, const struct tp_error *error)
{
    struct web_conn *conn = ctx;
    conn->hold = NULL;
    conn->large = body;
    if (body)
        http_server_proceed(conn->server, WEB_LARGE_BODY, LARGE_MS);
    else if (error->code == TP_UNAVAILABLE || error->code == TP_TOO_LARGE)
        refuse_body(conn, error);
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
        refuse_body(conn, &error);
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
        request_free(conn->request);
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

/* Answers: their headers, their lines in the log, and their forms. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "protocols/web/web_conn.h"

#include <string.h>

#define HEADERS_MAX 16

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

/* Pages that the server writes run no script at all, but where they show a command: our one that copies it. Nothing is loaded
 * from elsewhere by any page. */
#define CSP_END "img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
#define CSP_PAGE "default-src 'none'; style-src 'self'; " CSP_END
#define CSP_COMMAND "default-src 'none'; script-src 'self'; style-src 'self'; " CSP_END
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
    web_request_free(request);
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

void web_answer_json_text(struct web_request *request, const char *text, size_t size)
{
    struct answer what = {.status = 200, .content_type = "application/json; charset=utf-8", .body = text, .size = size};
    answer(request, &what);
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

void web_answer_page(struct web_request *request, int status, bool script, struct buf *page)
{
    struct answer what = {.status = status,
                          .content_type = "text/html; charset=utf-8",
                          .body = buf_head(page),
                          .size = buf_size(page),
                          .csp = script ? CSP_COMMAND : CSP_PAGE};
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

void web_refuse_body(struct web_conn *conn, const struct tp_error *error)
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

/* What a request brings along: its session, its body, its CSRF token. */
#include "base/mem.h"
#include "protocols/web/web_priv.h"

#include <string.h>

#define TREE_MAX ((size_t)12 * 1024 * 1024) /* a list of 100,000 texts */
#define SESSION_TREE_MAX ((size_t)256 * 1024)
#define STRANGER_TREE_MAX ((size_t)64 * 1024)

json_t *web_session_caller(const struct http_request *http, const char *addr)
{
    const char *bearer = web_cookie_bearer(http_request_header(http, "authorization"));
    struct web_session_cookie cookie = {0};
    char *value = NULL;
    json_t *caller = NULL;
    enum tp_err err = web_cookie_get(http_request_header(http, "cookie"), WEB_SESSION_COOKIE, &value);
    if (err == TP_OK)
        err = web_cookie_session_parse(value, &cookie);
    secret_free(value);
    if (err == TP_OK && bearer && http_request_header_count(http, "cookie") == 1 &&
        http_request_header_count(http, "authorization") == 1)
        caller = json_pack("{s:s, s:s, s:s, s:s, s:b}", "kind", "session", "sid", cookie.sid, "token", bearer, "addr",
                           addr, "idle", http_request_header(http, "x-tport-idle") != NULL);
    web_cookie_session_free(&cookie);
    return caller;
}

static bool has_type(const struct http_request *http, const char *type)
{
    const char *value = http_request_header(http, "content-type");
    size_t length = strlen(type);
    return value && http_request_header_count(http, "content-type") == 1 && strncasecmp(value, type, length) == 0 &&
           (value[length] == '\0' || value[length] == ';' || value[length] == ' ');
}

/* How large the body may be as a tree. Whose session it is has not been asked yet, except for a large one. */
static size_t tree_max(const struct web_request *request, size_t size)
{
    if (size > WEB_SMALL_BODY || request->route->who == WEB_CERT)
        return TREE_MAX;
    return request->route->who == WEB_SESSION ? SESSION_TREE_MAX : STRANGER_TREE_MAX;
}

enum tp_err web_check_body(struct web_request *request, struct tp_error *error)
{
    const struct http_request *http = web_http(request);
    size_t size = buf_size(&http->body);
    if ((request->route->shape == WEB_API || request->route->shape == WEB_LARGE) && size > 0) {
        if (!has_type(http, "application/json"))
            return err_set(error, TP_INVALID, "the body must be JSON: send \"Content-Type: application/json\"");
        return json_parse_bounded(buf_head(&http->body), size, tree_max(request, size), &request->body, error);
    }
    if (request->route->shape == WEB_FORM && !has_type(http, "application/x-www-form-urlencoded"))
        return err_set(error, TP_INVALID, "the form must come from its page");
    return TP_OK;
}

enum tp_err web_check_csrf(struct web_request *request, struct tp_error *error)
{
    const struct http_request *http = web_http(request);
    char *cookie = NULL;
    char *field = NULL;
    bool matches = false;
    if (web_cookie_get(http_request_header(http, "cookie"), WEB_CSRF_COOKIE, &cookie) == TP_OK &&
        web_cookie_csrf_matches(cookie, cookie))
        memcpy(request->csrf, cookie, WEB_CSRF_SIZE);
    if (request->route->shape == WEB_FORM &&
        http_form_value(buf_head(&http->body), buf_size(&http->body), "csrf_token", &field) == TP_OK)
        matches = web_cookie_csrf_matches(cookie, field);
    secret_free(cookie);
    secret_free(field);
    if (request->route->shape == WEB_FORM)
        return matches ? TP_OK
                       : err_set(error, TP_DENIED,
                                 "this form is no longer valid; open the link again and send it from there");
    return TP_OK;
}

const char *web_csrf(struct web_request *request)
{
    if (request->csrf[0] == '\0') {
        web_cookie_csrf_new(request->csrf);
        request->csrf_new = true;
    }
    return request->csrf;
}

/*
 * The server's side of a WebSocket handshake (RFC 6455 section 4.2). Browsers send cookies with it from pages of any site, so
 * the Origin must be ours; and the token that proves the session comes in the first message, never in the URL, where logs
 * and histories would keep it.
 */
#include "base/enc.h"
#include "base/mem.h"
#include "crypt/key.h"
#include "protocols/web/web_priv.h"

#include <string.h>
#include <strings.h>

#define ACCEPT_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define PARAMS_MAX ((size_t)8 * 1024)

static bool header_is(const struct http_request *http, const char *name, const char *value)
{
    const char *given = http_request_header(http, name);
    return given && http_request_header_count(http, name) == 1 && strcasecmp(given, value) == 0;
}

/* The page that asks came from this host, over TLS. */
static bool same_origin(const struct http_request *http)
{
    static const char scheme[] = "https://";
    const char *origin = http_request_header(http, "origin");
    const char *site = http_request_header(http, "sec-fetch-site");
    return origin && http_request_header_count(http, "origin") == 1 && http->host[0] != '\0' &&
           strncasecmp(origin, scheme, sizeof(scheme) - 1) == 0 &&
           strcasecmp(origin + sizeof(scheme) - 1, http->host) == 0 && (!site || strcasecmp(site, "same-origin") == 0);
}

static enum tp_err check_handshake(const struct http_request *http, char accept[29], struct tp_error *error)
{
    const char *key = http_request_header(http, "sec-websocket-key");
    struct buf raw;
    uint8_t hash[20];
    char *joined;
    char *text;
    enum tp_err err = TP_OK;
    if (!header_is(http, "upgrade", "websocket") || !http_request_connection_has(http, "upgrade") ||
        !header_is(http, "sec-websocket-version", "13") || !key ||
        http_request_header_count(http, "sec-websocket-key") != 1 || strlen(key) != 24)
        return err_set(error, TP_INVALID, "this path speaks WebSocket (RFC 6455) only");
    buf_init(&raw, 32);
    err = dec_base64(key, strlen(key), &raw);
    if (err != TP_OK || buf_size(&raw) != 16)
        err = err_set(error, TP_INVALID, "Sec-WebSocket-Key is not 16 bytes in base64");
    buf_free(&raw);
    if (err != TP_OK)
        return err;
    joined = mem_printf("%s%s", key, ACCEPT_GUID);
    crypt_sha1(joined, strlen(joined), hash);
    mem_free(joined);
    text = enc_base64(hash, sizeof(hash));
    memcpy(accept, text, 29);
    mem_free(text);
    return TP_OK;
}

/* The id in the session's cookie. */
static enum tp_err session_of(const struct http_request *http, struct web_session_cookie *cookie,
                              struct tp_error *error)
{
    char *value = NULL;
    enum tp_err err = TP_INVALID;
    if (http_request_header_count(http, "cookie") == 1)
        err = web_cookie_get(http_request_header(http, "cookie"), WEB_SESSION_COOKIE, &value);
    if (err == TP_OK)
        err = web_cookie_session_parse(value, cookie);
    secret_free(value);
    return err == TP_OK ? TP_OK : err_set(error, TP_UNAUTHENTICATED, "sign in first");
}

static enum tp_err read_params(const struct http_request *http, json_t **ret_params, struct tp_error *error)
{
    const char *text = http_request_param(http, "params");
    if (http_request_param(http, "access_token"))
        return err_set(error, TP_INVALID, "the token belongs into the first message, not into the URL");
    if (!text) {
        *ret_params = json_object();
        return TP_OK;
    }
    return json_parse_object(text, strlen(text), PARAMS_MAX, ret_params, error);
}

void web_socket_start(struct web_request *request)
{
    const struct http_request *http = web_http(request);
    struct web_session_cookie cookie = {0};
    struct tp_error error = {0};
    char accept[29];
    json_t *params = NULL;
    enum tp_err err = session_of(http, &cookie, &error);
    if (err == TP_OK && !same_origin(http))
        err = err_set(&error, TP_DENIED, "requests from pages of other sites are refused");
    if (err == TP_OK)
        err = check_handshake(http, accept, &error);
    if (err == TP_OK)
        err = read_params(http, &params, &error);
    if (err == TP_OK) {
        web_hand_over(request, accept, cookie.sid, params);
    } else {
        web_answer_error(request, &error);
    }
    json_decref(params);
    web_cookie_session_free(&cookie);
}

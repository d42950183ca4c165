/* Cookies, bearer tokens, and what keeps other sites' pages out. */
#include "base/enc.h"
#include "base/mem.h"
#include "protocols/web/web_priv.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

/* RFC 6265 cookie-octet. */
static bool is_cookie_value(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c <= ' ' || c > 0x7e || strchr("\",;\\", c))
            return false;
    }
    return true;
}

enum tp_err web_cookie_get(const char *header, const char *name, char **ret_value)
{
    char *found = NULL;
    size_t name_size = strlen(name);
    if (!header)
        return TP_NOT_FOUND;
    while (*header) {
        size_t length;
        header += strspn(header, " \t;");
        length = strcspn(header, ";");
        if (length > name_size && strncmp(header, name, name_size) == 0 && header[name_size] == '=') {
            const char *value = header + name_size + 1;
            size_t size = length - name_size - 1;
            while (size > 0 && (value[size - 1] == ' ' || value[size - 1] == '\t'))
                size--;
            if (found || !is_cookie_value(value, size)) {
                secret_free(found);
                return TP_INVALID;
            }
            found = mem_strndup(value, size);
        }
        header += length;
    }
    if (!found)
        return TP_NOT_FOUND;
    *ret_value = found;
    return TP_OK;
}

char *web_cookie_session_text(const char *user, const char *sid)
{
    json_t *json = json_pack("{s:s, s:s}", "user", user, "sid", sid);
    char *text = json_text(json);
    char *hex = enc_hex(text, strlen(text));
    secret_free(text);
    json_decref(json);
    return hex;
}

enum tp_err web_cookie_session_parse(const char *value, struct web_session_cookie *ret_cookie)
{
    struct buf text;
    json_t *json = NULL;
    const char *user;
    const char *sid;
    enum tp_err err;
    buf_init(&text, 4096);
    err = dec_hex(value, strlen(value), &text);
    if (err == TP_OK)
        err = json_parse_object(buf_head(&text), buf_size(&text), 4096, &json, NULL);
    if (err == TP_OK)
        err = json_need_text(json, "user", &user, NULL);
    if (err == TP_OK)
        err = json_need_text(json, "sid", &sid, NULL);
    if (err == TP_OK) {
        ret_cookie->user = mem_strdup(user);
        ret_cookie->sid = mem_strdup(sid);
    }
    json_decref(json);
    buf_wipe(&text);
    return err == TP_OK ? TP_OK : TP_INVALID;
}

void web_cookie_session_free(struct web_session_cookie *cookie)
{
    mem_free(cookie->user);
    secret_free(cookie->sid);
    cookie->user = NULL;
    cookie->sid = NULL;
}

const char *web_cookie_bearer(const char *header)
{
    if (!header || strncasecmp(header, "Bearer ", 7) != 0)
        return NULL;
    header += 7 + strspn(header + 7, " ");
    return *header && is_cookie_value(header, strlen(header)) ? header : NULL;
}

static bool is_csrf(const char *text)
{
    return text && strlen(text) == WEB_CSRF_SIZE - 1 && strspn(text, "0123456789abcdef") == WEB_CSRF_SIZE - 1;
}

bool web_cookie_csrf_matches(const char *cookie, const char *field)
{
    return is_csrf(cookie) && is_csrf(field) && secret_equal_text(cookie, field);
}

void web_cookie_csrf_new(char out[WEB_CSRF_SIZE])
{
    uint8_t bytes[32];
    char *hex;
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        abort(); /* the kernel gives up to 256 bytes in one piece once it is seeded */
    hex = enc_hex(bytes, sizeof(bytes));
    memcpy(out, hex, WEB_CSRF_SIZE);
    secret_free(hex);
}

bool web_cookie_is_cross_site(const struct http_request *request, bool form)
{
    const char *site = http_request_header(request, "sec-fetch-site");
    const char *origin = http_request_header(request, "origin");
    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
        return true;
    if (!origin)
        return false;
    /* Our pages send no referrer, so a browser names their forms' origin "null"; the CSRF token stands for it. */
    if (strcmp(origin, "null") == 0)
        return !form;
    return strncasecmp(origin, "https://", 8) != 0 || strcasecmp(origin + 8, request->host) != 0;
}

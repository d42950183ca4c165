/* Cookie headers, session cookies, lists of what is accepted, forms and paths of strangers. */
#include "base/mem.h"
#include "protocols/http/http_accept.h"
#include "protocols/web/web_priv.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_session(const char *value)
{
    struct web_session_cookie cookie = {0};
    struct web_session_cookie again = {0};
    char *text;
    if (web_cookie_session_parse(value, &cookie) != TP_OK)
        return;
    text = web_cookie_session_text(cookie.user, cookie.sid);
    if (web_cookie_session_parse(text, &again) != TP_OK || strcmp(cookie.user, again.user) != 0 ||
        strcmp(cookie.sid, again.sid) != 0)
        abort();
    mem_free(text);
    web_cookie_session_free(&cookie);
    web_cookie_session_free(&again);
}

/* Every item lies in the header, behind the one before, and its weight is one. */
static void try_accept(const char *header)
{
    const char *rest = header;
    const char *end = header;
    struct http_accept item;
    while (http_accept_next(&rest, &item)) {
        if (item.size == 0 || item.name < end || item.name + item.size > rest || item.quality < 0 ||
            item.quality > 1000)
            abort();
        end = rest;
    }
    if (*rest)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *header = mem_strndup((const char *)data, size);
    char *value = NULL;
    char *params[WEB_PARAMS_MAX];
    bool other;
    struct buf html;
    if (web_cookie_get(header, WEB_SESSION_COOKIE, &value) == TP_OK) {
        try_session(value);
        mem_free(value);
    }
    try_accept(header);
    (void)web_cookie_bearer(header);
    if (http_form_value(data, size, "password", &value) == TP_OK)
        secret_free(value);
    (void)web_route_find("GET", header, params, &other);
    for (size_t i = 0; i < WEB_PARAMS_MAX; i++)
        mem_free(params[i]);
    buf_init(&html, 0);
    web_html_text(&html, header);
    if (strpbrk(buf_text(&html), "<>\"'`"))
        abort();
    buf_free(&html);
    mem_free(header);
    return 0;
}

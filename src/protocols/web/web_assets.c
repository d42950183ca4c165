/* Answers with the files of the browser UI. */
#include "protocols/web/web_assets.h"
#include "base/mem.h"
#include "protocols/web/web_priv.h"

#include <string.h>

extern const struct web_asset web_asset_table[]; /* ends with an empty row; made by web_assets.S */

const struct web_asset *web_asset_find(const char *name)
{
    for (const struct web_asset *asset = web_asset_table; asset->name != NULL; asset++) {
        if (strcmp(asset->name, name) == 0)
            return asset;
    }
    return NULL;
}

/* No header means any coding (RFC 9110 section 12.5.3). */
static bool takes_gzip(const struct http_request *http)
{
    const char *value = http_request_header(http, "accept-encoding");
    return value == NULL || strstr(value, "gzip") != NULL || strchr(value, '*') != NULL;
}

static void answer_asset(struct web_request *request, const char *name, bool for_ever)
{
    const struct web_asset *asset = web_asset_find(name);
    struct tp_error error = {0};
    if (!asset) {
        (void)err_set(&error, TP_NOT_FOUND, "there is no such file; load the page again");
        web_answer_error(request, &error);
    } else if (!takes_gzip(web_http(request))) {
        (void)err_set(&error, TP_INVALID, "this file is there with gzip only; send \"Accept-Encoding: gzip\"");
        web_answer_error(request, &error);
    } else {
        web_answer_asset(request, asset, for_ever);
    }
}

/* Every page of the application is the same file; which one it shows is in the address, and what it may show auth says. */
void web_app_finish(struct web_request *request, json_t *result)
{
    (void)result;
    answer_asset(request, "index.html", false);
}

void web_style_finish(struct web_request *request, json_t *result)
{
    (void)result;
    answer_asset(request, "style.css", false);
}

/* The name holds a hash of the content, so it never changes. */
void web_asset_finish(struct web_request *request, json_t *result)
{
    char *name = mem_printf("assets/%s", request->params[0]);
    (void)result;
    answer_asset(request, name, true);
    mem_free(name);
}

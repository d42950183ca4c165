/* Answers with the files of the browser UI. */
#include "protocols/web/web_assets.h"
#include "base/mem.h"
#include "protocols/http/http_accept.h"
#include "protocols/web/web_priv.h"

#include <string.h>
#include <zlib.h>

extern const struct web_asset web_asset_table[]; /* ends with an empty row; made by web_assets.S */

const struct web_asset *web_asset_find(const char *name)
{
    for (const struct web_asset *asset = web_asset_table; asset->name != NULL; asset++) {
        if (strcmp(asset->name, name) == 0)
            return asset;
    }
    return NULL;
}

/* Without the header any coding may be sent (RFC 9110 section 12.5.3), but who sends none, like curl, unpacks nothing. */
static bool takes_gzip(const struct http_request *http)
{
    const char *rest = http_request_header(http, "accept-encoding");
    struct http_accept item;
    int named = -1;
    int others = 0;
    while (http_accept_next(&rest, &item)) {
        if (http_accept_is(&item, "gzip"))
            named = item.quality;
        else if (http_accept_is(&item, "*"))
            others = item.quality;
    }
    return (named >= 0 ? named : others) > 0;
}

/* The last four bytes of a gzip file (RFC 1952, ISIZE); ours are smaller than 4 GB. */
uint64_t web_asset_plain_size(const struct web_asset *asset)
{
    const uint8_t *end = asset->data + asset->size;
    return end[-4] | (uint64_t)end[-3] << 8 | (uint64_t)end[-2] << 16 | (uint64_t)end[-1] << 24;
}

/* A file unpacked piece by piece, while it is sent: some 40 KB at a time, whatever its size. */
static enum tp_err unpack(void *ctx, uint8_t *data, size_t size, size_t *ret_size)
{
    z_stream *stream = ctx;
    int result;
    stream->next_out = data;
    stream->avail_out = (uInt)(size < UINT32_MAX ? size : UINT32_MAX);
    result = inflate(stream, Z_NO_FLUSH);
    *ret_size = (size_t)(stream->next_out - data);
    return (result == Z_OK || result == Z_STREAM_END) && *ret_size > 0 ? TP_OK : TP_CORRUPT;
}

static void unpack_free(void *ctx)
{
    (void)inflateEnd(ctx);
    mem_free(ctx);
}

static const struct http_source unpacked = {.read = unpack, .free = unpack_free};

#define GZIP_WINDOW (16 + MAX_WBITS) /* zlib: a gzip header, the largest window */

static z_stream *unpack_new(const struct web_asset *asset)
{
    z_stream *stream = mem_alloc(sizeof(*stream));
    stream->next_in = (z_const Bytef *)(uintptr_t)asset->data;
    stream->avail_in = (uInt)asset->size;
    if (inflateInit2(stream, GZIP_WINDOW) != Z_OK) {
        mem_free(stream);
        return NULL;
    }
    return stream;
}

static void answer_asset(struct web_request *request, const char *name, bool for_ever)
{
    const struct web_asset *asset = web_asset_find(name);
    struct tp_error error = {0};
    if (!asset) {
        (void)err_set(&error, TP_NOT_FOUND, "there is no such file; load the page again");
        web_answer_error(request, &error);
    } else if (takes_gzip(web_http(request))) {
        web_answer_asset(request, asset, for_ever, NULL, NULL);
    } else {
        z_stream *stream = unpack_new(asset);
        if (stream) {
            web_answer_asset(request, asset, for_ever, &unpacked, stream);
        } else {
            (void)err_set(&error, TP_INTERNAL, "this file cannot be unpacked now");
            web_answer_error(request, &error);
        }
    }
}

/* Every page of the application is the same file; which one it shows is in the address, and what it may show auth says. */
void web_app_finish(struct web_request *request, json_t *result)
{
    (void)result;
    answer_asset(request, "index.html", false);
}

/* The same page; another Content-Security-Policy goes with it (web.c). */
void web_player_finish(struct web_request *request, json_t *result)
{
    web_app_finish(request, result);
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

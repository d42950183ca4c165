#include "kube/kube_spdy_headers.h"

#include "base/mem.h"
#include "base/wire.h"

#include <string.h>
#include <zlib.h>

#define DICTIONARY_SIZE 1423

struct kube_spdy_inflate {
    z_stream z;
    uint8_t dictionary[DICTIONARY_SIZE];
};

/* Section 2.6.10.1: these words, each behind its length, then a text. zlib checks the whole by its Adler-32. */
/* clang-format off */
static const char *const words[] = {
    "options", "head", "post", "put", "delete", "trace", "accept", "accept-charset", "accept-encoding", "accept-language",
    "accept-ranges", "age", "allow", "authorization", "cache-control", "connection", "content-base", "content-encoding",
    "content-language", "content-length", "content-location", "content-md5", "content-range", "content-type", "date", "etag",
    "expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range",
    "if-unmodified-since", "last-modified", "location", "max-forwards", "pragma", "proxy-authenticate",
    "proxy-authorization", "range", "referer", "retry-after", "server", "te", "trailer", "transfer-encoding", "upgrade",
    "user-agent", "vary", "via", "warning", "www-authenticate", "method", "get", "status", "200 OK", "version", "HTTP/1.1",
    "url", "public", "set-cookie", "keep-alive", "origin"};
/* clang-format on */
static const char tail[] =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static void make_dictionary(uint8_t dictionary[DICTIONARY_SIZE])
{
    struct buf text;
    buf_init(&text, 0);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        wr_cstring(&text, words[i]);
    (void)buf_append(&text, tail, sizeof tail - 1);
    memcpy(dictionary, buf_head(&text), buf_size(&text) < DICTIONARY_SIZE ? buf_size(&text) : DICTIONARY_SIZE);
    buf_free(&text);
}

struct kube_spdy_inflate *kube_spdy_inflate_new(void)
{
    struct kube_spdy_inflate *inflate = mem_alloc(sizeof *inflate);
    make_dictionary(inflate->dictionary);
    (void)inflateInit(&inflate->z); /* a failure shows at the first block */
    return inflate;
}

void kube_spdy_inflate_free(struct kube_spdy_inflate *inflate)
{
    if (!inflate)
        return;
    (void)inflateEnd(&inflate->z);
    mem_free(inflate);
}

enum tp_err kube_spdy_inflate_block(struct kube_spdy_inflate *state, const uint8_t *data, size_t size, struct buf *out)
{
    z_stream *z = &state->z;
    buf_clear(out);
    z->next_in = (Bytef *)(uintptr_t)data;
    z->avail_in = (uInt)size;
    for (;;) {
        uint8_t piece[2048];
        int result;
        z->next_out = piece;
        z->avail_out = sizeof piece;
        result = inflate(z, Z_SYNC_FLUSH);
        if (result == Z_NEED_DICT) {
            if (inflateSetDictionary(z, state->dictionary, DICTIONARY_SIZE) != Z_OK)
                return TP_INVALID;
            continue;
        }
        if (result != Z_OK && result != Z_BUF_ERROR)
            return TP_INVALID;
        size_t made = sizeof piece - z->avail_out;
        if (buf_size(out) + made > KUBE_SPDY_BLOCK_MAX)
            return TP_INVALID;
        (void)buf_append(out, piece, made);
        if (z->avail_out > 0)
            return z->avail_in == 0 ? TP_OK : TP_INVALID;
    }
}

bool kube_spdy_block_is_whole(const struct buf *block)
{
    struct rd rd;
    uint32_t count;
    rd_init(&rd, buf_head(block), buf_size(block));
    count = rd_u32(&rd);
    for (uint32_t i = 0; i < count && rd_ok(&rd); i++) {
        (void)rd_string(&rd);
        (void)rd_string(&rd);
    }
    return rd_done(&rd);
}

char *kube_spdy_header(const struct buf *block, const char *name)
{
    struct rd rd;
    uint32_t count;
    rd_init(&rd, buf_head(block), buf_size(block));
    count = rd_u32(&rd);
    for (uint32_t i = 0; i < count && rd_ok(&rd); i++) {
        struct rd key = rd_string(&rd);
        struct rd value = rd_string(&rd);
        if (rd_ok(&rd) && key.left == strlen(name) && memcmp(key.at, name, key.left) == 0)
            return mem_strndup((const char *)value.at, value.left);
    }
    return NULL;
}

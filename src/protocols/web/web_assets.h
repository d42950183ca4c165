/* The files of the browser UI, which stand compressed in the program (built by scripts/web.sh from web/). */
#ifndef WEB_ASSETS_H
#define WEB_ASSETS_H

#include <stddef.h>
#include <stdint.h>

struct web_asset {
    const char *name; /* as below /web/: "index.html", "assets/main-HASH.js" */
    const char *content_type;
    const uint8_t *data; /* gzip (RFC 1952) */
    uint64_t size;
};

/* The name of web/src/copy.ts among them: what gives a command its copy button, in a page that the server writes. */
extern const char web_copy_script[];

/* NULL when there is no such file. */
const struct web_asset *web_asset_find(const char *name);
/* Bytes of the file when it is unpacked. */
uint64_t web_asset_plain_size(const struct web_asset *asset);

#endif

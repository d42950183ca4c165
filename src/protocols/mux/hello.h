/*
 * Reads server name and ALPN out of a TLS ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3, RFC 7301) that was
 * peeked at and may be incomplete. The hello may be spread over several TLS records.
 */
#ifndef PROTOCOLS_MUX_HELLO_H
#define PROTOCOLS_MUX_HELLO_H

#include "base/err.h"

#define HELLO_MAX ((size_t)64 * 1024) /* bytes looked at before authentication (R9) */
#define HELLO_ALPN_MAX 32             /* names that are kept; a longer list is malformed for us */

struct hello {
    char server_name[256]; /* lower case, "" when absent */
    char alpn[HELLO_ALPN_MAX][64];
    size_t alpn_count;
};

/* TP_OK: complete, ret_hello is filled. TP_AGAIN: more bytes are needed. TP_PROTOCOL: no ClientHello.
 * TP_TOO_LARGE: longer than HELLO_MAX. Never reads past size. */
enum tp_err hello_parse(const uint8_t *data, size_t size, struct hello *ret_hello) TP_MUST;
bool hello_offers(const struct hello *hello, const char *alpn);

#endif

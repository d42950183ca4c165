/* The PROXY protocol header, versions 1 and 2 (HAProxy's proxy-protocol.txt). */
#ifndef PROTOCOLS_MUX_PROXYPROTO_H
#define PROTOCOLS_MUX_PROXYPROTO_H

#include "base/address.h"

#include <netinet/in.h>
#include <sys/socket.h>

/* No header is longer than this: v2 with 536 bytes of address and options in sane balancers; more is refused. */
#define PROXYPROTO_MAX ((size_t)2048)

struct proxyproto {
    size_t size; /* of the header in bytes */
    bool local;  /* LOCAL or UNKNOWN: a health check, keep the socket's own address */
    struct sockaddr_storage source;
    socklen_t source_size;
};

/* TP_OK: a whole header is at data. TP_AGAIN: it may become one. TP_PROTOCOL: it is none or a broken one. */
enum tp_err proxyproto_parse(const uint8_t *data, size_t size, struct proxyproto *ret_header) TP_MUST;

#endif

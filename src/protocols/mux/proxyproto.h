/* The PROXY protocol header, versions 1 and 2 (HAProxy's proxy-protocol.txt), and lists of trusted ranges. */
#ifndef PROTOCOLS_MUX_PROXYPROTO_H
#define PROTOCOLS_MUX_PROXYPROTO_H

#include "base/err.h"

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

/* "10.0.0.0/8", "192.0.2.1", "fd00::/8". */
struct cidr {
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
    unsigned bits;       /* 0 to 128 */
};
enum tp_err cidr_parse(const char *text, struct cidr *ret_cidr) TP_MUST;
/* IPv4-mapped IPv6 addresses count as IPv4. */
bool cidr_contains(const struct cidr *cidr, const struct sockaddr *address);

/* "192.0.2.1:443" or "[2001:db8::1]:443"; "unix" and the like for other families. */
#define ADDRESS_TEXT_SIZE 64
void address_format(const struct sockaddr *address, char out[ADDRESS_TEXT_SIZE]);
/* Whom to count a connection for: the IPv4 address, or the first 64 bits of an IPv6 address ("2001:db8:0:1::"), since one
 * customer has all the addresses behind them. */
void address_source(const struct sockaddr *address, char out[INET6_ADDRSTRLEN]);

#endif

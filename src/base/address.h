/* Addresses of connections: as text, as whom to count them for, and in ranges. */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include "base/err.h"

#include <netinet/in.h>
#include <sys/socket.h>

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

/* Addresses, ports and ranges as a configuration writes them. */
#include "base/mem.h"
#include "core/conf.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Digits alone are a port whose host was forgotten, though C libraries read them as an address. */
static bool host_valid(const char *host, size_t length)
{
    if (length == 0 || length > 253 || strspn(host, "0123456789") >= length)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)host[i]) && !strchr(".-_:%", host[i]))
            return false;
    }
    return true;
}

enum tp_err conf_addr_split(const char *text, uint16_t otherwise_port, char **ret_host, uint16_t *ret_port)
{
    const char *host = text;
    const char *port = NULL;
    const char *colon = strrchr(text, ':');
    size_t length = strlen(text);
    *ret_host = NULL;
    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        if (!end || (end[1] != '\0' && end[1] != ':'))
            return TP_INVALID;
        host = text + 1;
        length = (size_t)(end - host);
        port = end[1] == ':' ? end + 2 : NULL;
    } else if (colon && strchr(text, ':') == colon) {
        length = (size_t)(colon - text);
        port = colon + 1;
    } else if (colon) {
        struct in6_addr v6;
        if (inet_pton(AF_INET6, text, &v6) != 1)
            return TP_INVALID;
    }
    if (!host_valid(host, length))
        return TP_INVALID;
    *ret_port = otherwise_port;
    if (port) {
        long number;
        char *end = NULL;
        if (!isdigit((unsigned char)port[0]) || strlen(port) > 5)
            return TP_INVALID;
        number = strtol(port, &end, 10);
        if (*end != '\0' || number < 1 || number > 65535)
            return TP_INVALID;
        *ret_port = (uint16_t)number;
    }
    *ret_host = mem_strndup(host, length);
    return TP_OK;
}

/* A range as 16 bytes (IPv4 mapped) and the number of bits that count. */
static bool parse_cidr(const char *text, struct in6_addr *ret_addr, unsigned *ret_bits)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    struct in_addr v4;
    unsigned most;
    unsigned offset = 0;
    if (length >= sizeof(address))
        return false;
    memcpy(address, text, length);
    address[length] = '\0';
    if (inet_pton(AF_INET, address, &v4) == 1) {
        memset(ret_addr, 0, sizeof(*ret_addr));
        ret_addr->s6_addr[10] = ret_addr->s6_addr[11] = 0xFF;
        memcpy(ret_addr->s6_addr + 12, &v4, 4);
        most = 32;
        offset = 96;
    } else if (inet_pton(AF_INET6, address, ret_addr) == 1) {
        most = 128;
    } else {
        return false;
    }
    *ret_bits = offset + most;
    if (slash) {
        unsigned long bits;
        char *end = NULL;
        if (!isdigit((unsigned char)slash[1]) || strlen(slash + 1) > 3)
            return false;
        bits = strtoul(slash + 1, &end, 10);
        if (*end != '\0' || bits > most)
            return false;
        *ret_bits = offset + (unsigned)bits;
    }
    return true;
}

bool conf_cidr_valid(const char *text)
{
    struct in6_addr addr;
    unsigned bits;
    return parse_cidr(text, &addr, &bits);
}

bool conf_cidr_has(const char *text, const struct sockaddr *addr)
{
    struct in6_addr range;
    struct in6_addr one;
    unsigned bits;
    if (!parse_cidr(text, &range, &bits))
        return false;
    if (addr->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, addr, sizeof(v6));
        one = v6.sin6_addr;
    } else if (addr->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, addr, sizeof(v4));
        memset(&one, 0, sizeof(one));
        one.s6_addr[10] = one.s6_addr[11] = 0xFF;
        memcpy(one.s6_addr + 12, &v4.sin_addr, 4);
    } else {
        return false;
    }
    if (memcmp(one.s6_addr, range.s6_addr, bits / 8) != 0)
        return false;
    return bits % 8 == 0 || ((one.s6_addr[bits / 8] ^ range.s6_addr[bits / 8]) >> (8 - bits % 8)) == 0;
}

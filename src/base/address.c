#include "base/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool address_bytes(const struct sockaddr *address, uint8_t out[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (address->sa_family == AF_INET) {
        memcpy(out, mapped, 12);
        memcpy(out + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
        return true;
    }
    if (address->sa_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
        return true;
    }
    return false;
}

enum tp_err cidr_parse(const char *text, struct cidr *ret_cidr)
{
    char address[INET6_ADDRSTRLEN + 1];
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    unsigned most = 128;
    unsigned bits;

    if (length == 0 || length >= sizeof(address))
        return TP_INVALID;
    memcpy(address, text, length);
    address[length] = 0;
    if (inet_pton(AF_INET, address, &in.sin_addr) == 1) {
        most = 32;
        (void)address_bytes((const struct sockaddr *)&in, ret_cidr->address);
    } else if (inet_pton(AF_INET6, address, &in6.sin6_addr) == 1) {
        (void)address_bytes((const struct sockaddr *)&in6, ret_cidr->address);
    } else {
        return TP_INVALID;
    }
    bits = most;
    if (slash) {
        char *end;
        unsigned long value = strtoul(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end || value > most)
            return TP_INVALID;
        bits = (unsigned)value;
    }
    ret_cidr->bits = bits + (128 - most);
    return TP_OK;
}

bool cidr_contains(const struct cidr *cidr, const struct sockaddr *address)
{
    uint8_t bytes[16];
    if (!address_bytes(address, bytes))
        return false;
    for (unsigned bit = 0; bit < cidr->bits; bit += 8) {
        unsigned left = cidr->bits - bit;
        unsigned mask = left >= 8 ? 0xff : 0xff & (0xffu << (8 - left));
        if ((unsigned)(bytes[bit / 8] ^ cidr->address[bit / 8]) & mask)
            return false;
    }
    return true;
}

void address_format(const struct sockaddr *address, char out[ADDRESS_TEXT_SIZE])
{
    char text[INET6_ADDRSTRLEN];
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
        (void)inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        (void)snprintf(out, ADDRESS_TEXT_SIZE, "%s:%u", text, ntohs(in->sin_port));
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
            (void)inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], text, sizeof(text));
            (void)snprintf(out, ADDRESS_TEXT_SIZE, "%s:%u", text, ntohs(in6->sin6_port));
        } else {
            (void)inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
            (void)snprintf(out, ADDRESS_TEXT_SIZE, "[%s]:%u", text, ntohs(in6->sin6_port));
        }
    } else {
        (void)snprintf(out, ADDRESS_TEXT_SIZE, "unix");
    }
}

void address_source(const struct sockaddr *address, char out[INET6_ADDRSTRLEN])
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
    if (address->sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &in->sin_addr, out, INET6_ADDRSTRLEN);
    } else if (address->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        (void)inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], out, INET6_ADDRSTRLEN);
    } else if (address->sa_family == AF_INET6) {
        struct in6_addr network = in6->sin6_addr;
        memset(&network.s6_addr[8], 0, 8);
        (void)inet_ntop(AF_INET6, &network, out, INET6_ADDRSTRLEN);
    } else {
        (void)snprintf(out, INET6_ADDRSTRLEN, "unix");
    }
}

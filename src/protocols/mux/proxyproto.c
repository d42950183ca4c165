#include "protocols/mux/proxyproto.h"

#include "base/wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t v2_signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
#define V1_MAX 107 /* bytes, CRLF included */

static enum tp_err parse_port(const char *text, uint16_t *ret_port)
{
    unsigned value = 0;
    if (!*text || strlen(text) > 5 || (text[0] == '0' && text[1]))
        return TP_PROTOCOL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return TP_PROTOCOL;
        value = value * 10 + (unsigned)(*text - '0');
    }
    if (value > 65535)
        return TP_PROTOCOL;
    *ret_port = (uint16_t)value;
    return TP_OK;
}

static enum tp_err set_source(struct proxyproto *header, int family, const char *address, uint16_t port)
{
    if (family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)&header->source;
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        header->source_size = sizeof(*in);
        return inet_pton(AF_INET, address, &in->sin_addr) == 1 ? TP_OK : TP_PROTOCOL;
    } else {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&header->source;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        header->source_size = sizeof(*in6);
        return inet_pton(AF_INET6, address, &in6->sin6_addr) == 1 ? TP_OK : TP_PROTOCOL;
    }
}

static enum tp_err parse_v1(const uint8_t *data, size_t size, struct proxyproto *header)
{
    const uint8_t *end = memchr(data, '\n', size);
    char line[V1_MAX + 1];
    char *words[6];
    size_t count = 0;
    char *rest;
    char *word;
    uint16_t port;
    uint16_t target_port;
    size_t length;

    if (!end)
        return size >= V1_MAX ? TP_PROTOCOL : TP_AGAIN;
    length = (size_t)(end - data) + 1;
    if (length > V1_MAX || length < 8 || data[length - 2] != '\r' || memchr(data, 0, length) != NULL)
        return TP_PROTOCOL;
    memcpy(line, data, length - 2);
    line[length - 2] = 0;
    header->size = length;
    if (strncmp(line, "PROXY UNKNOWN", 13) == 0 && (line[13] == 0 || line[13] == ' ')) {
        header->local = true;
        return TP_OK;
    }
    for (rest = line; (word = strsep(&rest, " ")) != NULL;) {
        if (count == 6 || !*word)
            return TP_PROTOCOL;
        words[count++] = word;
    }
    if (count != 6 || parse_port(words[4], &port) != TP_OK || parse_port(words[5], &target_port) != TP_OK)
        return TP_PROTOCOL;
    if (strcmp(words[1], "TCP4") == 0)
        return set_source(header, AF_INET, words[2], port);
    if (strcmp(words[1], "TCP6") == 0)
        return set_source(header, AF_INET6, words[2], port);
    return TP_PROTOCOL;
}

static enum tp_err parse_v2(const uint8_t *data, size_t size, struct proxyproto *header)
{
    struct rd rd;
    struct rd body;
    uint8_t command;
    uint8_t family;
    uint16_t length;

    rd_init(&rd, data + sizeof(v2_signature), size - sizeof(v2_signature));
    if (rd.left < 4)
        return TP_AGAIN;
    command = rd_u8(&rd);
    family = rd_u8(&rd);
    length = rd_u16(&rd);
    if (command >> 4 != 2 || (command & 15) > 1 || length > PROXYPROTO_MAX - 16)
        return TP_PROTOCOL;
    if (rd.left < length)
        return TP_AGAIN;
    body = rd_sub(&rd, length);
    header->size = 16 + (size_t)length;
    header->local = (command & 15) == 0 || family == 0;
    if (header->local)
        return TP_OK;
    if (family == 0x11) {
        struct sockaddr_in *in = (struct sockaddr_in *)&header->source;
        const uint8_t *address = rd_bytes(&body, 4);
        (void)rd_bytes(&body, 4);
        in->sin_family = AF_INET;
        if (address)
            memcpy(&in->sin_addr, address, 4);
        in->sin_port = htons(rd_u16(&body));
        header->source_size = sizeof(*in);
    } else if (family == 0x21) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&header->source;
        const uint8_t *address = rd_bytes(&body, 16);
        (void)rd_bytes(&body, 16);
        in6->sin6_family = AF_INET6;
        if (address)
            memcpy(&in6->sin6_addr, address, 16);
        in6->sin6_port = htons(rd_u16(&body));
        header->source_size = sizeof(*in6);
    } else {
        return TP_PROTOCOL;
    }
    (void)rd_u16(&body);
    return rd_ok(&body) ? TP_OK : TP_PROTOCOL;
}

enum tp_err proxyproto_parse(const uint8_t *data, size_t size, struct proxyproto *ret_header)
{
    static const char v1_start[] = "PROXY ";
    size_t v1 = size < sizeof(v1_start) - 1 ? size : sizeof(v1_start) - 1;
    size_t v2 = size < sizeof(v2_signature) ? size : sizeof(v2_signature);
    memset(ret_header, 0, sizeof(*ret_header));
    if (size == 0)
        return TP_AGAIN;
    if (memcmp(data, v1_start, v1) == 0)
        return v1 < sizeof(v1_start) - 1 ? TP_AGAIN : parse_v1(data, size, ret_header);
    if (memcmp(data, v2_signature, v2) == 0)
        return v2 < sizeof(v2_signature) ? TP_AGAIN : parse_v2(data, size, ret_header);
    return TP_PROTOCOL;
}

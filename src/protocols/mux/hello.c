#include "protocols/mux/hello.h"

#include "base/buf.h"
#include "base/wire.h"

#include <ctype.h>
#include <string.h>

enum { RECORD_HANDSHAKE = 22, MESSAGE_CLIENT_HELLO = 1, EXTENSION_SERVER_NAME = 0, EXTENSION_ALPN = 16 };
#define RECORD_HEADER 5
#define RECORD_MAX 16384u
#define MESSAGE_HEADER 4

/* Joins the handshake bytes of all whole and partial records. */
static enum tp_err join_records(const uint8_t *data, size_t size, struct buf *message)
{
    struct rd rd;
    rd_init(&rd, data, size);
    while (rd.left >= RECORD_HEADER) {
        uint8_t type = rd_u8(&rd);
        uint16_t version = rd_u16(&rd);
        uint16_t length = rd_u16(&rd);
        size_t take = length < rd.left ? length : rd.left;
        const uint8_t *bytes;
        if (type != RECORD_HANDSHAKE || version >> 8 != 3 || length == 0 || length > RECORD_MAX)
            return TP_PROTOCOL;
        bytes = rd_bytes(&rd, take);
        if (buf_append(message, bytes, take) != TP_OK)
            return TP_TOO_LARGE;
        if (take < length)
            break;
        if (buf_size(message) >= MESSAGE_HEADER) {
            const uint8_t *head = buf_head(message);
            size_t need = ((size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3]) + MESSAGE_HEADER;
            if (buf_size(message) >= need)
                break;
        }
    }
    return TP_OK;
}

static bool read_server_name(struct rd body, struct hello *hello)
{
    struct rd list = rd_sub(&body, rd_u16(&body));
    if (!rd_done(&body))
        return false;
    while (rd_ok(&list) && list.left > 0) {
        uint8_t type = rd_u8(&list);
        uint16_t length = rd_u16(&list);
        const uint8_t *name = rd_bytes(&list, length);
        /* One host name (RFC 6066 allows one of each type), printable, without a trailing dot to be canonical (R5). */
        if (!name || type != 0 || length == 0 || length >= sizeof(hello->server_name) || hello->server_name[0])
            return false;
        for (size_t i = 0; i < length; i++) {
            if (name[i] <= ' ' || name[i] > '~')
                return false;
            hello->server_name[i] = (char)tolower(name[i]);
        }
        hello->server_name[length] = 0;
        if (hello->server_name[length - 1] == '.')
            hello->server_name[length - 1] = 0;
    }
    return rd_done(&list);
}

static bool read_alpn(struct rd body, struct hello *hello)
{
    struct rd list = rd_sub(&body, rd_u16(&body));
    if (!rd_done(&body) || hello->alpn_count > 0)
        return false;
    while (rd_ok(&list) && list.left > 0) {
        uint8_t length = rd_u8(&list);
        const uint8_t *name = rd_bytes(&list, length);
        if (!name || length == 0 || hello->alpn_count == HELLO_ALPN_MAX)
            return false;
        /* A name too long or with a NUL is none of ours: it is kept as "" so that it matches nothing. */
        if (length < sizeof(hello->alpn[0]) && memchr(name, 0, length) == NULL)
            memcpy(hello->alpn[hello->alpn_count], name, length);
        hello->alpn_count++;
    }
    return rd_done(&list) && hello->alpn_count > 0;
}

static bool read_body(struct rd *rd, struct hello *hello)
{
    bool seen_name = false;
    bool seen_alpn = false;
    struct rd extensions;
    (void)rd_u16(rd);
    (void)rd_bytes(rd, 32);
    (void)rd_sub(rd, rd_u8(rd));
    (void)rd_sub(rd, rd_u16(rd));
    (void)rd_sub(rd, rd_u8(rd));
    if (!rd_ok(rd))
        return false;
    if (rd->left == 0)
        return true;
    extensions = rd_sub(rd, rd_u16(rd));
    if (!rd_done(rd))
        return false;
    while (rd_ok(&extensions) && extensions.left > 0) {
        uint16_t type = rd_u16(&extensions);
        struct rd body = rd_sub(&extensions, rd_u16(&extensions));
        if (!rd_ok(&extensions))
            return false;
        if (type == EXTENSION_SERVER_NAME) {
            if (seen_name || !read_server_name(body, hello))
                return false;
            seen_name = true;
        } else if (type == EXTENSION_ALPN) {
            if (seen_alpn || !read_alpn(body, hello))
                return false;
            seen_alpn = true;
        }
    }
    return rd_done(&extensions);
}

enum tp_err hello_parse(const uint8_t *data, size_t size, struct hello *ret_hello)
{
    struct buf message;
    struct rd rd;
    struct rd body;
    uint32_t length;
    enum tp_err err;

    memset(ret_hello, 0, sizeof(*ret_hello));
    if (size > 0 && data[0] != RECORD_HANDSHAKE)
        return TP_PROTOCOL;
    buf_init(&message, HELLO_MAX);
    err = join_records(data, size, &message);
    if (err != TP_OK)
        goto out;
    rd_init(&rd, buf_head(&message), buf_size(&message));
    err = TP_AGAIN;
    if (rd.left >= 1 && rd.at[0] != MESSAGE_CLIENT_HELLO)
        err = TP_PROTOCOL;
    if (err != TP_AGAIN || rd.left < MESSAGE_HEADER)
        goto out;
    (void)rd_u8(&rd);
    length = rd_u24(&rd);
    if (length > HELLO_MAX - RECORD_HEADER - MESSAGE_HEADER) {
        err = TP_TOO_LARGE;
        goto out;
    }
    if (rd.left < length)
        goto out;
    body = rd_sub(&rd, length);
    err = read_body(&body, ret_hello) ? TP_OK : TP_PROTOCOL;
out:
    if (err == TP_AGAIN && size >= HELLO_MAX)
        err = TP_TOO_LARGE;
    buf_free(&message);
    return err;
}

bool hello_offers(const struct hello *hello, const char *alpn)
{
    for (size_t i = 0; i < hello->alpn_count; i++) {
        if (strcmp(hello->alpn[i], alpn) == 0)
            return true;
    }
    return false;
}

/* Messages written from their parts. Nothing that came from outside is ever copied as bytes. */
#include "protocols/http/http_server.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HEAD_USUAL ((size_t)1024) /* one allocation for nearly all */

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } table[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {412, "Precondition Failed"},
        {410, "Gone"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].status == status)
            return table[i].text;
    }
    return "Status";
}

static bool is_framing(const char *name)
{
    static const char *const names[] = {"content-length", "transfer-encoding", "connection", "keep-alive",
                                        "date",           "upgrade",           "trailer",    "te"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((name[0] | 0x20) == names[i][0] && strcasecmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

static void write_number(struct buf *out, size_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    (void)buf_append(out, digits + at, sizeof(digits) - at);
}

static void write_header(struct buf *out, const struct http_header *header)
{
    size_t name = strlen(header->name);
    size_t value = strlen(header->value);
    uint8_t *to = buf_reserve(out, name + value + 4);
    if (!to)
        return; /* out has failed */
    memcpy(to, header->name, name);
    memcpy(to + name, ": ", 2);
    memcpy(to + name + 2, header->value, value);
    memcpy(to + name + 2 + value, "\r\n", 2);
    buf_commit(out, name + value + 4);
}

enum tp_err http_write_response_head(struct buf *out, int status, const struct http_header *headers,
                                     size_t header_count, size_t size)
{
    if (status < 100 || status > 599)
        return TP_INVALID;
    for (size_t i = 0; i < header_count; i++) {
        if (!http_is_token(headers[i].name) || !http_is_value(headers[i].value) || is_framing(headers[i].name))
            return TP_INVALID;
    }
    if (!buf_reserve(out, HEAD_USUAL))
        return TP_TOO_LARGE;
    (void)buf_append_text(out, "HTTP/1.1 ");
    write_number(out, (size_t)status);
    (void)buf_append(out, " ", 1);
    (void)buf_append_text(out, http_status_text(status));
    (void)buf_append(out, "\r\n", 2);
    for (size_t i = 0; i < header_count; i++)
        write_header(out, &headers[i]);
    if (size != SIZE_MAX && status >= 200 && status != 204 && status != 304) {
        (void)buf_append_text(out, "Content-Length: ");
        write_number(out, size);
        (void)buf_append(out, "\r\n", 2);
    }
    (void)buf_append(out, "\r\n", 2);
    return out->failed ? TP_TOO_LARGE : TP_OK;
}

void http_write_path(struct buf *out, const char *path)
{
    for (; *path; path++) {
        uint8_t c = (uint8_t)*path;
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (alnum || strchr("-._~!$&'()*+,;=:@/", c))
            (void)buf_append(out, &c, 1);
        else
            (void)buf_printf(out, "%%%02X", c);
    }
}

enum tp_err http_write_request(struct buf *out, const struct http_request *request)
{
    (void)buf_printf(out, "%s ", request->method);
    http_write_path(out, request->path);
    if (request->query)
        (void)buf_printf(out, "?%s", request->query);
    (void)buf_printf(out, " HTTP/1.%d\r\n", request->minor);
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        if (!http_is_token(header->name) || !http_is_value(header->value))
            return TP_INVALID;
        if (!is_framing(header->name) && strcmp(header->name, "expect") != 0)
            write_header(out, header);
    }
    if (request->has_body)
        (void)buf_printf(out, "content-length: %zu\r\n", buf_size(&request->body));
    (void)buf_append_text(out, "\r\n");
    (void)buf_append(out, buf_head(&request->body), buf_size(&request->body));
    return out->failed ? TP_TOO_LARGE : TP_OK;
}

#include "protocols/http/http_head.h"

#include "base/json.h"
#include "base/mem.h"

#include <string.h>

void http_head_init(struct http_head *head, bool request)
{
    memset(head, 0, sizeof(*head));
    buf_init(&head->raw, HTTP_HEAD_MAX);
    head->size_max = HTTP_HEAD_MAX;
    head->lines_max = HTTP_HEADERS_MAX;
    head->request = request;
}

void http_head_widen(struct http_head *head)
{
    head->size_max = HTTP_PROXY_HEAD_MAX;
    head->lines_max = HTTP_PROXY_HEADERS_MAX;
    buf_init(&head->raw, head->size_max);
}

void http_head_clear(struct http_head *head)
{
    struct http_head empty = {.request = head->request, .size_max = head->size_max, .lines_max = head->lines_max};
    buf_wipe(&head->raw);
    *head = empty;
    buf_init(&head->raw, head->size_max);
}

static enum http_head_step refuse(struct http_head *head, int status, const char *why)
{
    head->status = status;
    head->why = why;
    return HTTP_HEAD_REFUSED;
}

/* One byte that is neither CR nor LF. */
static const char *check_byte(const struct http_head *head, uint8_t byte)
{
    if (head->before == '\r')
        return "a carriage return without a line feed";
    if (head->line == 0 && (byte == ' ' || byte == '\t'))
        return "a line that starts with a blank";
    if (byte == '\t')
        return head->lines == 0 ? "a tab in the first line" : NULL;
    if (byte < 0x20 || byte == 0x7f)
        return "a control byte";
    if (head->lines == 0 && head->request && byte > 0x7e)
        return "a byte outside ASCII in the request line";
    return NULL;
}

static enum http_head_step take_byte(struct http_head *head, uint8_t byte)
{
    if (byte == '\n') {
        if (head->before != '\r')
            return refuse(head, 400, "a line feed without a carriage return");
        if (head->line == 0)
            return head->lines == 0 ? refuse(head, 400, "an empty first line") : HTTP_HEAD_COMPLETE;
        head->lines++;
        if (head->lines == 1)
            head->first_line = head->line;
        head->line = 0;
        if (head->lines > head->lines_max + 1)
            return refuse(head, 431, "too many headers");
        return head->lines == 1 ? HTTP_HEAD_FIRST_LINE : HTTP_HEAD_MORE;
    }
    if (byte == '\r')
        return head->before == '\r' ? refuse(head, 400, "a carriage return without a line feed") : HTTP_HEAD_MORE;
    const char *why = check_byte(head, byte);
    if (why)
        return refuse(head, 400, why);
    head->line++;
    return HTTP_HEAD_MORE;
}

enum http_head_step http_head_feed(struct http_head *head, const uint8_t *data, size_t size, size_t *ret_used)
{
    enum http_head_step step = HTTP_HEAD_MORE;
    size_t used = 0;
    size_t room = buf_room(&head->raw);
    while (used < size && step == HTTP_HEAD_MORE) {
        if (used == room)
            return refuse(head, 431, "the head is too large");
        step = take_byte(head, data[used]);
        head->before = data[used];
        used++;
        /* Inside a line, ASCII is fine anywhere but for control bytes; it is nearly all there is. */
        if (head->line > 0 && head->before != '\r' && step == HTTP_HEAD_MORE) {
            size_t run = http_plain_run(data + used, (size < room ? size : room) - used);
            head->line += run;
            used += run;
            head->before = data[used - 1];
        }
    }
    *ret_used = used;
    if (step != HTTP_HEAD_REFUSED && buf_append(&head->raw, data, used) != TP_OK)
        return refuse(head, 431, "the head is too large");
    return step;
}

bool http_head_length(const char *text, uint64_t *ret_length)
{
    uint64_t value = 0;
    size_t digits = strlen(text);
    if (digits == 0 || digits > 18)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *ret_length = value;
    return true;
}

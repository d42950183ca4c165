#include "protocols/http/http_accept.h"

#include <string.h>
#include <strings.h>

#define BLANKS " \t"

/* "0", "0.5", "0.625", "1.000" as thousandths; anything else is 0. */
static int weight(const char *text, size_t size)
{
    static const int worth[] = {100, 10, 1};
    int value = 0;
    if (size == 0 || size > 5 || (text[0] != '0' && text[0] != '1') || (size > 1 && text[1] != '.'))
        return 0;
    for (size_t i = 2; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return 0;
        value += (text[i] - '0') * worth[i - 2];
    }
    return text[0] == '1' ? 1000 : value;
}

/* Of parameters only q counts. */
static int quality(const char *parameters, size_t size)
{
    int result = 1000;
    for (size_t at = 0; at < size;) {
        const char *one = parameters + at + 1; /* behind ";" */
        size_t length = strcspn(one, ";,");
        at += length + 1;
        while (length > 0 && strchr(BLANKS, one[0])) {
            one++;
            length--;
        }
        while (length > 0 && strchr(BLANKS, one[length - 1]))
            length--;
        if (length >= 2 && strncasecmp(one, "q=", 2) == 0)
            result = weight(one + 2, length - 2);
    }
    return result;
}

bool http_accept_next(const char **at, struct http_accept *ret_item)
{
    const char *text = *at;
    while (text && *text) {
        size_t whole;
        text += strspn(text, BLANKS ",");
        whole = strcspn(text, ",");
        ret_item->name = text;
        ret_item->size = strcspn(text, BLANKS ";,");
        if (ret_item->size > 0) {
            size_t name = strcspn(text, ";,");
            ret_item->quality = name < whole ? quality(text + name, whole - name) : 1000;
            *at = text + whole;
            return true;
        }
        text += whole;
    }
    *at = text;
    return false;
}

bool http_accept_is(const struct http_accept *item, const char *name)
{
    return strlen(name) == item->size && strncasecmp(item->name, name, item->size) == 0;
}

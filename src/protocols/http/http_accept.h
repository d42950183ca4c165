/* What a client accepts: the lists of Accept-Encoding and Accept-Language (RFC 9110 section 12.4.2), item by item. */
#ifndef HTTP_ACCEPT_H
#define HTTP_ACCEPT_H

#include <stdbool.h>
#include <stddef.h>

struct http_accept {
    const char *name; /* points into the header's value, not ended by NUL */
    size_t size;
    int quality; /* thousandths: 0 (not wanted at all) to 1000 */
};

/* The next item of a list. *at is the header's value at first (NULL: there is no such header) and moves on; false at the end.
 * Items without a name are passed over, a broken weight counts as 0. */
bool http_accept_next(const char **at, struct http_accept *ret_item);
/* Is it that one, whatever the case? */
bool http_accept_is(const struct http_accept *item, const char *name);

#endif

/* The headers of one head as llhttp gives them, name and value in turn. The head comes to it in one piece, so each span is whole, and a
 * second span of one value would be a fold. Inside src/protocols/http only. */
#ifndef HTTP_FIELDS_H
#define HTTP_FIELDS_H

#include "base/err.h"

#include <stddef.h>

/* Zero-initialised. */
struct http_fields {
    char *arena; /* names and values, NUL-terminated; never larger than the head */
    size_t used;
    size_t name_at, name_size; /* of the header under way */
    size_t value_at, value_size;
};

/* For a head of so many bytes. */
void http_fields_begin(struct http_fields *fields, size_t head_size);
/* Wipes and frees it: cookies and tokens stand there. */
void http_fields_clear(struct http_fields *fields);
/* The name, which is kept in small letters. False: the one before has had no value. */
bool http_fields_name(struct http_fields *fields, const char *at, size_t size) TP_MUST;
/* The value, kept without the blanks around it. False: a folded header. */
bool http_fields_value(struct http_fields *fields, const char *at, size_t size) TP_MUST;
/* The header is whole: both are good until http_fields_clear. False: it is not what a header may be. */
bool http_fields_end(struct http_fields *fields, const char **ret_name, const char **ret_value) TP_MUST;

#endif

#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *text;
    int http;
} rows[] = {
#define X(symbol, wire, http, text) [TP_##symbol] = {wire, text, http},
    TP_ERR_LIST(X)
#undef X
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

const char *err_name(enum tp_err code)
{
    return (size_t)code < ROWS ? rows[code].name : "internal";
}

const char *err_text(enum tp_err code)
{
    return (size_t)code < ROWS ? rows[code].text : rows[TP_INTERNAL].text;
}

int err_http(enum tp_err code)
{
    return (size_t)code < ROWS ? rows[code].http : 500;
}

enum tp_err err_from_name(const char *name)
{
    for (size_t i = 0; name && i < ROWS; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return (enum tp_err)i;
    }
    return TP_INTERNAL;
}

enum tp_err err_set(struct tp_error *error, enum tp_err code, const char *format, ...)
{
    if (error) {
        va_list args;
        error->code = code;
        va_start(args, format);
        (void)vsnprintf(error->text, sizeof(error->text), format, args);
        va_end(args);
    }
    return code;
}

static enum tp_err from_errno(int value)
{
    switch (value) {
    case ENOSPC:
    case EDQUOT:
        return TP_NO_SPACE;
    case ENOENT:
        return TP_NOT_FOUND;
    case EACCES:
    case EPERM:
        return TP_DENIED;
    case EEXIST:
        return TP_EXISTS;
    case ETIMEDOUT:
        return TP_TIMEOUT;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return TP_UNAVAILABLE;
    case EPIPE:
    case ECONNRESET:
        return TP_CLOSED;
    default:
        return TP_IO;
    }
}

enum tp_err err_errno(struct tp_error *error, int errno_value, const char *format, ...)
{
    enum tp_err code = from_errno(errno_value);
    if (error) {
        va_list args;
        size_t used;
        error->code = code;
        va_start(args, format);
        (void)vsnprintf(error->text, sizeof(error->text), format, args);
        va_end(args);
        used = strlen(error->text);
        (void)snprintf(error->text + used, sizeof(error->text) - used, ": %s", strerror(errno_value));
    }
    return code;
}

void err_prefix(struct tp_error *error, const char *format, ...)
{
    char old[sizeof(error->text)];
    va_list args;
    size_t used;
    if (!error)
        return;
    memcpy(old, error->text, sizeof(old));
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    used = strlen(error->text);
    /* A very long chain of prefixes loses its end, which is the least useful part of it. */
    (void)snprintf(error->text + used, sizeof(error->text) - used, ": %.*s",
                   (int)(sizeof(old) - used > 3 ? sizeof(old) - used - 3 : 0), old);
}

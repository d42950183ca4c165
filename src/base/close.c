#include "base/close.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    const char *text;
    _Bool is_error;
} rows[CLOSE_REASON_COUNT] = {
#define X(symbol, name, is_error, text) [CLOSE_##symbol] = {name, text, is_error},
    CLOSE_REASON_LIST(X)
#undef X
};

static size_t index_of(enum close_reason reason)
{
    return (size_t)reason < CLOSE_REASON_COUNT ? (size_t)reason : (size_t)CLOSE_INTERNAL;
}

const char *close_name(enum close_reason reason)
{
    return rows[index_of(reason)].name;
}
const char *close_text(enum close_reason reason)
{
    return rows[index_of(reason)].text;
}
_Bool close_is_error(enum close_reason reason)
{
    return rows[index_of(reason)].is_error;
}

enum close_reason close_from_name(const char *name)
{
    for (size_t i = 0; name && i < CLOSE_REASON_COUNT; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return (enum close_reason)i;
    }
    return CLOSE_INTERNAL;
}

#include "core/rpc_skim.h"

#include <string.h>

#define DEPTH_MAX 16
#define KEYS_MAX 64 /* of all objects that are open at one place */
#define DIGITS_MAX 15
#define VALUES_MAX 65536 /* a tree of so many is smaller than RPC_TREE_MAX */

struct text {
    const char *data;
    size_t size;
};

struct skim {
    const char *at, *end;
    unsigned depth;
    size_t values; /* so far */
    size_t count;  /* keys of the objects that are open, outer ones first */
    struct text keys[KEYS_MAX];
};

static bool skim_value(struct skim *skim);

/* The next byte, 0 at the end: no JSON has that one. */
static char next(const struct skim *skim)
{
    return skim->at < skim->end ? *skim->at : '\0';
}

static bool take(struct skim *skim, char byte)
{
    if (next(skim) != byte)
        return false;
    skim->at++;
    return true;
}

static bool take_word(struct skim *skim, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(skim->end - skim->at) < size || memcmp(skim->at, word, size) != 0)
        return false;
    skim->at += size;
    return true;
}

/* Up to and with the quote at its end; ret is what stands between the quotes. */
static bool skim_string(struct skim *skim, bool escapes, struct text *ret)
{
    if (!take(skim, '"'))
        return false;
    ret->data = skim->at;
    while (skim->at < skim->end && *skim->at != '"') {
        if (*skim->at < ' ' || *skim->at > '~')
            return false;
        if (*skim->at == '\\') {
            skim->at++;
            if (!escapes || next(skim) == '\0' || !strchr("\"\\/bfnrt", *skim->at))
                return false;
        }
        skim->at++;
    }
    ret->size = (size_t)(skim->at - ret->data);
    return take(skim, '"');
}

static bool skim_number(struct skim *skim)
{
    unsigned digits = 0;
    (void)take(skim, '-');
    if (take(skim, '0'))
        return true; /* no digit may follow, and whoever goes on takes none */
    for (; next(skim) >= '0' && next(skim) <= '9'; digits++)
        skim->at++;
    return digits >= 1 && digits <= DIGITS_MAX;
}

static bool skim_list(struct skim *skim)
{
    if (!take(skim, '['))
        return false;
    if (take(skim, ']'))
        return true;
    do {
        if (!skim_value(skim))
            return false;
    } while (take(skim, ','));
    return take(skim, ']');
}

static bool is_known(const struct skim *skim, size_t first, const struct text *key)
{
    for (size_t i = first; i < skim->count; i++) {
        if (skim->keys[i].size == key->size && memcmp(skim->keys[i].data, key->data, key->size) == 0)
            return true;
    }
    return false;
}

static bool skim_object(struct skim *skim)
{
    size_t first = skim->count;
    struct text key;
    if (!take(skim, '{'))
        return false;
    if (take(skim, '}'))
        return true;
    do {
        if (!skim_string(skim, false, &key) || skim->count == KEYS_MAX || is_known(skim, first, &key))
            return false;
        skim->keys[skim->count++] = key;
        if (!take(skim, ':') || !skim_value(skim))
            return false;
    } while (take(skim, ','));
    skim->count = first;
    return take(skim, '}');
}

static bool skim_nested(struct skim *skim)
{
    bool good;
    if (skim->depth == DEPTH_MAX)
        return false;
    skim->depth++;
    good = next(skim) == '{' ? skim_object(skim) : skim_list(skim);
    skim->depth--;
    return good;
}

static bool skim_value(struct skim *skim)
{
    struct text text;
    if (++skim->values > VALUES_MAX)
        return false;
    switch (next(skim)) {
    case '{':
    case '[':
        return skim_nested(skim);
    case '"':
        return skim_string(skim, true, &text);
    case 't':
        return take_word(skim, "true");
    case 'f':
        return take_word(skim, "false");
    case 'n':
        return take_word(skim, "null");
    default:
        return skim_number(skim);
    }
}

bool rpc_skim(const void *data, size_t size, char ret_method[RPC_METHOD_ROOM])
{
    struct skim skim = {.at = data, .end = (const char *)data + size};
    struct text method;
    if (!take_word(&skim, "{\"method\":") || !skim_string(&skim, false, &method) || method.size >= RPC_METHOD_ROOM ||
        !take_word(&skim, ",\"params\":") || next(&skim) != '{' || !skim_value(&skim) || !take(&skim, '}') ||
        skim.at != skim.end)
        return false;
    memcpy(ret_method, method.data, method.size);
    ret_method[method.size] = '\0';
    return true;
}

#include "kube/kube_scan.h"

#include "base/json.h"
#include "base/mem.h"

#include <string.h>

#define DEPTH_MAX 512 /* of values in each other */

static bool value(struct kube_scan *scan, unsigned depth);

static bool fail(struct kube_scan *scan)
{
    scan->failed = true;
    return false;
}

static void blanks(struct kube_scan *scan)
{
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t'))
        scan->at++;
}

/* The next byte that is no blank, 0 at the end: no JSON has that one. */
static uint8_t next(struct kube_scan *scan)
{
    blanks(scan);
    return scan->at < scan->end ? *scan->at : 0;
}

static bool take(struct kube_scan *scan, char byte)
{
    if (next(scan) != (uint8_t)byte)
        return false;
    scan->at++;
    return true;
}

static bool word(struct kube_scan *scan, const char *text)
{
    size_t size = strlen(text);
    if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, text, size) != 0)
        return fail(scan);
    scan->at += size;
    return true;
}

static bool is_hex(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f');
}

/* Behind a backslash. */
static bool escape(struct kube_scan *scan)
{
    if (scan->at == scan->end || *scan->at == 0 || !strchr("\"\\/bfnrtu", *scan->at))
        return fail(scan);
    if (*scan->at++ != 'u')
        return true;
    for (int i = 0; i < 4; i++)
        if (scan->at == scan->end || !is_hex(*scan->at++))
            return fail(scan);
    return true;
}

/* ret_inside (may be NULL) is what stands between the quotes. */
static bool string(struct kube_scan *scan, struct kube_text *ret_inside)
{
    if (!take(scan, '"'))
        return fail(scan);
    const uint8_t *start = scan->at;
    while (scan->at < scan->end && *scan->at != '"') {
        uint8_t byte = *scan->at++;
        if (byte < ' ' || (byte == '\\' && !escape(scan)))
            return fail(scan);
    }
    if (scan->at == scan->end)
        return fail(scan);
    if (ret_inside)
        *ret_inside = (struct kube_text){start, (size_t)(scan->at - start)};
    scan->at++;
    return true;
}

static bool digits(struct kube_scan *scan)
{
    const uint8_t *start = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return scan->at > start || fail(scan);
}

static bool is_at(const struct kube_scan *scan, const char *bytes)
{
    return scan->at < scan->end && *scan->at != 0 && strchr(bytes, *scan->at);
}

static bool number(struct kube_scan *scan)
{
    scan->at += is_at(scan, "-");
    if (is_at(scan, "0"))
        scan->at++;
    else if (!digits(scan))
        return false;
    if (is_at(scan, ".")) {
        scan->at++;
        if (!digits(scan))
            return false;
    }
    if (is_at(scan, "eE")) {
        scan->at++;
        scan->at += is_at(scan, "+-");
        return digits(scan);
    }
    return true;
}

static bool nested(struct kube_scan *scan, unsigned depth)
{
    char end = *scan->at++ == '{' ? '}' : ']';
    if (depth == DEPTH_MAX)
        return fail(scan);
    if (take(scan, end))
        return true;
    do {
        if (end == '}' && (!string(scan, NULL) || !take(scan, ':')))
            return fail(scan);
        if (!value(scan, depth + 1))
            return false;
    } while (take(scan, ','));
    return take(scan, end) || fail(scan);
}

static bool value(struct kube_scan *scan, unsigned depth)
{
    switch (next(scan)) {
    case '{':
    case '[':
        return nested(scan, depth);
    case '"':
        return string(scan, NULL);
    case 't':
        return word(scan, "true");
    case 'f':
        return word(scan, "false");
    case 'n':
        return word(scan, "null");
    default:
        return number(scan);
    }
}

void kube_scan_init(struct kube_scan *scan, struct kube_text text)
{
    *scan = (struct kube_scan){.at = text.at, .end = text.at + text.size};
}

void kube_scan_open(struct kube_scan *scan, char bracket)
{
    if (!take(scan, bracket))
        (void)fail(scan);
    scan->begun = false;
}

/* In front of an entry; false: the end, or no JSON. */
static bool entry(struct kube_scan *scan, char end)
{
    if (scan->failed || take(scan, end))
        return false;
    if (scan->begun && !take(scan, ','))
        return fail(scan);
    scan->begun = true;
    return true;
}

static bool take_value(struct kube_scan *scan, struct kube_text *ret_value)
{
    blanks(scan);
    ret_value->at = scan->at;
    if (!value(scan, 0))
        return false;
    ret_value->size = (size_t)(scan->at - ret_value->at);
    return true;
}

bool kube_scan_member(struct kube_scan *scan, struct kube_text *ret_key, struct kube_text *ret_value)
{
    if (!entry(scan, '}'))
        return false;
    if (!string(scan, ret_key) || !take(scan, ':'))
        return fail(scan);
    return take_value(scan, ret_value);
}

bool kube_scan_element(struct kube_scan *scan, struct kube_text *ret_value)
{
    return entry(scan, ']') && take_value(scan, ret_value);
}

bool kube_scan_done(struct kube_scan *scan)
{
    blanks(scan);
    return !scan->failed && scan->at == scan->end;
}

/* As a reader has it that undoes escapes. */
static bool is_key(struct kube_text key, const char *name)
{
    size_t i = 0;
    for (; *name; name++) {
        if (i == key.size)
            return false;
        unsigned code = key.at[i++];
        if (code == '\\') {
            if (key.at[i++] != 'u') /* the others stand for nothing that a name has */
                return false;
            code = 0;
            for (int digit = 0; digit < 4; digit++, i++)
                code = code << 4 | (unsigned)(key.at[i] <= '9' ? key.at[i] - '0' : (key.at[i] | 0x20) - 'a' + 10);
        }
        if (code != (uint8_t)*name)
            return false;
    }
    return i == key.size;
}

/* FNV-1a with the start of its 32 bits, as json-iterator has it. */
static uint64_t hash_of(const uint8_t *text, size_t size)
{
    uint64_t hash = 0x811c9dc5;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ text[i]) * 0x1000193;
    return hash;
}

bool kube_scan_is_twin(struct kube_text key, const char *name)
{
    size_t size = strlen(name);
    if (key.size == size && memcmp(key.at, name, size) == 0)
        return false;
    for (size_t i = 0; i < key.size; i++) /* an escape is hashed in another way */
        if (key.at[i] < ' ' || key.at[i] > '~' || strchr("\"\\<>&", key.at[i]))
            return true;
    return hash_of(key.at, key.size) == hash_of((const uint8_t *)name, size);
}

bool kube_scan_has_twin(struct kube_text object, const char *name)
{
    struct kube_scan scan;
    struct kube_text key;
    struct kube_text ignored;
    kube_scan_init(&scan, object);
    kube_scan_open(&scan, '{');
    while (kube_scan_member(&scan, &key, &ignored))
        if (!is_key(key, name) && kube_scan_is_twin(key, name))
            return true;
    return false;
}

bool kube_scan_find(struct kube_text text, const char *const *names, struct kube_text *ret_values, size_t count,
                    const uint8_t **ret_end)
{
    struct kube_scan scan;
    struct kube_text key;
    struct kube_text one;
    memset(ret_values, 0, count * sizeof *ret_values);
    kube_scan_init(&scan, text);
    kube_scan_open(&scan, '{');
    while (kube_scan_member(&scan, &key, &one)) {
        for (size_t i = 0; i < count; i++) {
            if (!is_key(key, names[i]))
                continue;
            if (ret_values[i].at)
                return false;
            ret_values[i] = one;
        }
    }
    if (ret_end)
        *ret_end = scan.at;
    return kube_scan_done(&scan);
}

char *kube_scan_text(struct kube_text value)
{
    if (!value.at || *value.at != '"')
        return NULL;
    json_t *string = json_loadb((const char *)value.at, value.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    char *text = NULL;
    if (json_is_string(string) && strlen(json_string_value(string)) == json_string_length(string))
        text = mem_strdup(json_string_value(string));
    json_decref(string);
    return text;
}

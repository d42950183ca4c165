/* Small grammars of HTTP: tokens, values, paths, forms. */
#include "base/json.h"
#include "base/mem.h"
#include "protocols/http/http_parse.h"

#include <string.h>

#define EIGHT(byte) (UINT64_MAX / 255 * (byte))

/* RFC 9110 section 5.6.2. */
static const bool is_token_byte[256] = {
    ['!'] = true,         ['#' ... '\''] = true, ['*'] = true,         ['+'] = true, ['-'] = true, ['.'] = true,
    ['0' ... '9'] = true, ['A' ... 'Z'] = true,  ['^' ... 'z'] = true, ['|'] = true, ['~'] = true,
};
/* What a path is made of on the wire: visible ASCII without "\\\"<>^`{|}#?". */
static const bool is_path_byte[256] = {
    ['!'] = true, ['$' ... ';'] = true, ['='] = true,         ['@' ... '['] = true,
    [']'] = true, ['_'] = true,         ['a' ... 'z'] = true, ['~'] = true,
};

size_t http_plain_run(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    size_t run = 0;
    for (; run + 8 <= size; run += 8) {
        uint64_t eight;
        memcpy(&eight, bytes + run, 8);
        /* A byte's highest bit is set: it had one, or is smaller than a blank, or is DEL and has one after adding 1. */
        if ((eight | (eight - EIGHT(0x20)) | (eight + EIGHT(1))) & EIGHT(0x80))
            break;
    }
    while (run < size && bytes[run] >= 0x20 && bytes[run] < 0x7f)
        run++;
    return run;
}

bool http_is_token(const char *text)
{
    if (*text == '\0')
        return false;
    while (is_token_byte[(uint8_t)*text])
        text++;
    return *text == '\0';
}

bool http_is_value(const char *text)
{
    const char *end = text + strlen(text);
    while ((text += http_plain_run(text, (size_t)(end - text))) < end) {
        if (*text != '\t' && (uint8_t)*text < 0x80)
            return false;
        text++;
    }
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes escapes into out (length + 1 bytes). TP_INVALID for a broken escape. */
static enum tp_err unescape(const char *raw, size_t length, bool plus, char *out, size_t *ret_size)
{
    size_t size = 0;
    for (size_t i = 0; i < length; i++) {
        char c = raw[i];
        if (c == '%') {
            int high = i + 2 < length ? hex_digit(raw[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(raw[i + 2]) : -1;
            if (low < 0)
                return TP_INVALID;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        out[size++] = c;
    }
    out[size] = '\0';
    *ret_size = size;
    return TP_OK;
}

/* Well-formed UTF-8 without NUL. */
static bool is_clean_text(const char *text, size_t size)
{
    json_t *probe;
    if (http_plain_run(text, size) == size)
        return true;
    if (memchr(text, '\0', size) != NULL)
        return false;
    probe = json_stringn(text, size);
    json_decref(probe);
    return probe != NULL;
}

enum tp_err http_form_decode(const char *raw, size_t length, char **ret_text)
{
    char *out = mem_alloc(length + 1);
    size_t size = 0;
    if (unescape(raw, length, true, out, &size) != TP_OK || !is_clean_text(out, size)) {
        secret_wipe(out, length);
        mem_free(out);
        return TP_INVALID;
    }
    *ret_text = out;
    return TP_OK;
}

enum tp_err http_form_value(const void *body, size_t size, const char *name, char **ret_value)
{
    const char *at = body;
    const char *end = at + size;
    char *found = NULL;
    while (size > 0 && at < end) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        const char *equal;
        char *key = NULL;
        stop = stop ? stop : end;
        equal = memchr(at, '=', (size_t)(stop - at));
        if (http_form_decode(at, (size_t)((equal ? equal : stop) - at), &key) != TP_OK)
            goto invalid;
        if (strcmp(key, name) == 0) {
            const char *value = equal ? equal + 1 : stop;
            mem_free(key);
            if (found || http_form_decode(value, (size_t)(stop - value), &found) != TP_OK)
                goto invalid;
        } else {
            mem_free(key);
        }
        at = stop < end ? stop + 1 : end;
    }
    if (!found)
        return TP_NOT_FOUND;
    *ret_value = found;
    return TP_OK;
invalid:
    secret_free(found);
    return TP_INVALID;
}

/* One decoded segment: "." and "..", also in front of path parameters (";"), mean different paths to different readers. */
static bool is_plain_segment(const char *segment, size_t length)
{
    const char *semicolon = memchr(segment, ';', length);
    size_t name = semicolon ? (size_t)(semicolon - segment) : length;
    if (name == 0)
        return false;
    return !(segment[0] == '.' && (name == 1 || (name == 2 && segment[1] == '.')));
}

static bool are_plain_segments(const char *path)
{
    const char *at = path + 1;
    while (*at) {
        const char *slash = strchrnul(at, '/');
        if (!is_plain_segment(at, (size_t)(slash - at)))
            return false;
        at = *slash ? slash + 1 : slash;
    }
    return true;
}

enum tp_err http_path_canonical(const char *raw, size_t length, char **ret_path)
{
    char *path;
    size_t size = 0;
    size_t slashes = 0;
    if (length == 0 || raw[0] != '/')
        return TP_INVALID;
    for (size_t i = 0; i < length; i++) {
        if (!is_path_byte[(uint8_t)raw[i]])
            return TP_INVALID;
        slashes += raw[i] == '/';
    }
    path = mem_alloc(length + 1);
    if (unescape(raw, length, false, path, &size) != TP_OK || !is_clean_text(path, size) || !http_is_value(path) ||
        strpbrk(path, "\\%\t") || !are_plain_segments(path))
        goto invalid;
    for (const char *at = path; *at; at++)
        slashes -= *at == '/';
    if (slashes != 0) /* an encoded slash */
        goto invalid;
    *ret_path = path;
    return TP_OK;
invalid:
    mem_free(path);
    return TP_INVALID;
}

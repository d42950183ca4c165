#include "base/enc.h"

#include "base/mem.h"

#include <string.h>

/* One alphabet: bits per character, its characters, whether the end is padded with '='. */
struct alphabet {
    unsigned bits;
    bool pad;
    bool fold; /* lower case is taken as upper case (or the reverse) */
    const char *chars;
};

static const struct alphabet hex = {4, false, true, "0123456789abcdef"};
static const struct alphabet base32 = {5, false, true, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"};
static const struct alphabet base64 = {6, true, false,
                                       "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"};
static const struct alphabet base64url = {6, false, false,
                                          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"};

static char *encode(const struct alphabet *a, const uint8_t *data, size_t size)
{
    struct buf out;
    uint32_t bits = 0;
    unsigned have = 0;
    buf_init(&out, 0);
    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | data[i];
        have += 8;
        while (have >= a->bits) {
            have -= a->bits;
            (void)buf_append(&out, &a->chars[bits >> have & ((1u << a->bits) - 1)], 1);
        }
        bits &= (1u << have) - 1;
    }
    if (have > 0)
        (void)buf_append(&out, &a->chars[bits << (a->bits - have) & ((1u << a->bits) - 1)], 1);
    while (a->pad && buf_size(&out) % 4)
        (void)buf_append(&out, "=", 1);
    return buf_take(&out);
}

static int value_of(const struct alphabet *a, char c)
{
    const char *at;
    if (c == 0)
        return -1;
    at = strchr(a->chars, c);
    if (!at && a->fold && c >= 'A' && c <= 'Z')
        at = strchr(a->chars, c - 'A' + 'a');
    else if (!at && a->fold && c >= 'a' && c <= 'z')
        at = strchr(a->chars, c - 'a' + 'A');
    return at ? (int)(at - a->chars) : -1;
}

static enum tp_err decode(const struct alphabet *a, const char *text, size_t length, struct buf *out)
{
    uint8_t *to;
    size_t size = 0;
    uint32_t bits = 0;
    unsigned have = 0;

    if (a->pad) {
        if (length % 4)
            return TP_INVALID;
        for (int i = 0; i < 2 && length && text[length - 1] == '='; i++)
            length--;
    }
    to = buf_reserve(out, length * a->bits / 8);
    if (!to)
        return TP_TOO_LARGE;
    for (size_t i = 0; i < length; i++) {
        int value = value_of(a, text[i]);
        if (value < 0)
            return TP_INVALID;
        bits = bits << a->bits | (uint32_t)value;
        have += a->bits;
        if (have >= 8) {
            have -= 8;
            to[size++] = (uint8_t)(bits >> have);
            bits &= (1u << have) - 1;
        }
    }
    /* What is left over must be less than one character and zero: one byte string has one text. */
    if (have >= a->bits || bits != 0)
        return TP_INVALID;
    buf_commit(out, size);
    return TP_OK;
}

char *enc_hex(const void *data, size_t size)
{
    return encode(&hex, data, size);
}
char *enc_base64(const void *data, size_t size)
{
    return encode(&base64, data, size);
}
char *enc_base64url(const void *data, size_t size)
{
    return encode(&base64url, data, size);
}
char *enc_base32(const void *data, size_t size)
{
    return encode(&base32, data, size);
}

enum tp_err dec_hex(const char *text, size_t length, struct buf *out)
{
    return decode(&hex, text, length, out);
}
enum tp_err dec_base64(const char *text, size_t length, struct buf *out)
{
    return decode(&base64, text, length, out);
}
enum tp_err dec_base64url(const char *text, size_t length, struct buf *out)
{
    return decode(&base64url, text, length, out);
}
enum tp_err dec_base32(const char *text, size_t length, struct buf *out)
{
    return decode(&base32, text, length, out);
}

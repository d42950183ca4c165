#include "recording/asciicast.h"

#include <inttypes.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

int asciicast_utf8(const uint8_t *data, size_t size)
{
    uint8_t first = data[0];
    if (first < 0x80) {
        return 1;
    }
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if (i >= size) {
            return -1;
        }
        uint8_t low = 0x80;
        uint8_t high = 0xbf;
        if (i == 1) { /* no overlong forms, no surrogates, nothing past U+10FFFF */
            low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
            high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        }
        if (data[i] < low || data[i] > high) {
            return 0;
        }
    }
    return (int)length;
}

static void put(struct buf *out, const void *data, size_t size)
{
    (void)buf_append(out, data, size); /* a recording's buffer has no limit; its owner bounds it */
}

static void put_text(struct buf *out, const char *text)
{
    put(out, text, strlen(text));
}

static void put_escaped(struct buf *out, uint8_t c)
{
    static const char HEX[] = "0123456789abcdef";
    char text[7] = {'\\', 'u', '0', '0', HEX[c >> 4], HEX[c & 15], '\0'};
    switch (c) {
    case '"':
        put(out, "\\\"", 2);
        return;
    case '\\':
        put(out, "\\\\", 2);
        return;
    case '\n':
        put(out, "\\n", 2);
        return;
    case '\r':
        put(out, "\\r", 2);
        return;
    case '\t':
        put(out, "\\t", 2);
        return;
    default:
        put(out, text, 6);
    }
}

/* Writes the inside of a JSON string; returns how many bytes at the end are an incomplete character. */
static size_t put_string(struct buf *out, const uint8_t *data, size_t size)
{
    size_t plain = 0; /* start of what has not been written yet */
    size_t i = 0;
    while (i < size) {
        uint8_t c = data[i];
        if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != 0x7f) {
            i++;
            continue;
        }
        int length = c < 0x80 ? 1 : asciicast_utf8(data + i, size - i);
        if (length > 1) {
            i += (size_t)length;
            continue;
        }
        put(out, data + plain, i - plain);
        if (length < 0) {
            return size - i;
        }
        if (length == 0) {
            put_text(out, REPLACEMENT);
        } else {
            put_escaped(out, c);
        }
        i++;
        plain = i;
    }
    put(out, data + plain, size - plain);
    return 0;
}

static void put_json_text(struct buf *out, const char *text)
{
    put_text(out, "\"");
    if (put_string(out, (const uint8_t *)text, strlen(text)) != 0) {
        put_text(out, REPLACEMENT);
    }
    put_text(out, "\"");
}

void asciicast_header(struct buf *out, const struct asciicast_header *header)
{
    (void)buf_printf(out, "{\"version\":2,\"width\":%u,\"height\":%u,\"timestamp\":%" PRId64, header->cols,
                     header->rows, header->timestamp);
    if (header->command != NULL) {
        put_text(out, ",\"command\":");
        put_json_text(out, header->command);
    }
    put_text(out, ",\"env\":{");
    if (header->term != NULL) {
        put_text(out, "\"TERM\":");
        put_json_text(out, header->term);
    }
    if (header->shell != NULL) {
        put_text(out, header->term != NULL ? ",\"SHELL\":" : "\"SHELL\":");
        put_json_text(out, header->shell);
    }
    put_text(out, "}}\n");
}

static void event_start(struct asciicast *cast, struct buf *out, int64_t elapsed_us, char kind)
{
    if (elapsed_us < cast->last_us) {
        elapsed_us = cast->last_us;
    }
    cast->last_us = elapsed_us;
    (void)buf_printf(out, "[%" PRId64 ".%06" PRId64 ",\"%c\",\"", elapsed_us / 1000000, elapsed_us % 1000000, kind);
}

void asciicast_output(struct asciicast *cast, struct buf *out, int64_t elapsed_us, const void *data, size_t size)
{
    const uint8_t *at = data;
    uint8_t joined[8];
    size_t joined_size = 0;
    bool started = false;

    if (cast->carry_size > 0) { /* complete the carried character byte by byte */
        memcpy(joined, cast->carry, cast->carry_size);
        joined_size = cast->carry_size;
        while (size > 0 && asciicast_utf8(joined, joined_size) < 0) {
            joined[joined_size++] = *at++;
            size--;
        }
        if (asciicast_utf8(joined, joined_size) < 0) {
            memcpy(cast->carry, joined, joined_size);
            cast->carry_size = joined_size;
            return;
        }
        cast->carry_size = 0;
        if (asciicast_utf8(joined, joined_size) == 0) {
            /* The last byte broke it: what was carried is lost, the byte itself is looked at again. */
            at--;
            size++;
            memcpy(joined, REPLACEMENT, 3);
            joined_size = 3;
        }
        event_start(cast, out, elapsed_us, 'o');
        started = true;
        put(out, joined, joined_size);
    }
    if (!started) {
        int length = size > 0 && size < 4 ? asciicast_utf8(at, size) : 1;
        if (size == 0) {
            return;
        }
        if (length < 0) { /* all of it is one incomplete character */
            memcpy(cast->carry, at, size);
            cast->carry_size = size;
            return;
        }
        event_start(cast, out, elapsed_us, 'o');
    }
    size_t rest = put_string(out, at, size);
    if (rest > 0) {
        memcpy(cast->carry, at + size - rest, rest);
        cast->carry_size = rest;
    }
    put_text(out, "\"]\n");
}

void asciicast_resize(struct asciicast *cast, struct buf *out, int64_t elapsed_us, uint32_t cols, uint32_t rows)
{
    event_start(cast, out, elapsed_us, 'r');
    (void)buf_printf(out, "%ux%u\"]\n", cols, rows);
}

void asciicast_marker(struct asciicast *cast, struct buf *out, int64_t elapsed_us, const char *text)
{
    event_start(cast, out, elapsed_us, 'm');
    if (put_string(out, (const uint8_t *)text, strlen(text)) != 0) {
        put_text(out, REPLACEMENT);
    }
    put_text(out, "\"]\n");
}

void asciicast_finish(struct asciicast *cast, struct buf *out, int64_t elapsed_us)
{
    if (cast->carry_size > 0) {
        cast->carry_size = 0;
        event_start(cast, out, elapsed_us, 'o');
        put_text(out, REPLACEMENT "\"]\n");
    }
}

char *asciicast_clean_text(const char *text, size_t limit)
{
    struct buf out;
    buf_init(&out, 0);
    size_t size = strlen(text);
    for (size_t i = 0; i < size;) {
        int length = asciicast_utf8((const uint8_t *)text + i, size - i);
        size_t add = length > 0 ? (size_t)length : 3;
        if (buf_size(&out) + add > limit) {
            break;
        }
        put(&out, length > 0 ? text + i : REPLACEMENT, add);
        i += length > 0 ? (size_t)length : 1;
    }
    return buf_take(&out);
}

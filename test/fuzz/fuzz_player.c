/*
 * The player's filter: whatever goes in, what comes out is the same for every way of cutting the input, passes through
 * the filter unchanged (so it holds nothing that is not allowed), and holds no control byte but those of the list.
 */
#include "cli/tport/player_filter.h"

#include <stdlib.h>
#include <string.h>

static void run(const uint8_t *data, size_t size, size_t piece, struct buf *out)
{
    struct player_filter filter;
    player_filter_init(&filter, false);
    for (size_t at = 0; at < size; at += piece)
        player_filter_feed(&filter, data + at, size - at < piece ? size - at : piece, out);
}

static void same(struct buf *a, struct buf *b)
{
    if (buf_size(a) != buf_size(b) || memcmp(buf_head(a), buf_head(b), buf_size(a)) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, bytes, twice;
    buf_init(&whole, 0);
    buf_init(&bytes, 0);
    buf_init(&twice, 0);
    run(data, size, size + 1, &whole);
    run(data, size, 1, &bytes);
    same(&whole, &bytes);
    run(buf_head(&whole), buf_size(&whole), 7, &twice);
    same(&whole, &twice);
    for (size_t i = 0; i < buf_size(&whole); i++) {
        uint8_t byte = buf_head(&whole)[i];
        if (byte == 0x7f || (byte < 0x20 && !strchr("\b\t\n\v\f\r\x0e\x0f\x1b", byte)) || byte == 0)
            abort();
    }
    buf_free(&whole);
    buf_free(&bytes);
    buf_free(&twice);
    return 0;
}

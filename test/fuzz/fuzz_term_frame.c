/* Frames of terminals: the first byte says who speaks. The same bytes one by one must be read in the same way. */
#include "term/term_frame.h"

#include <stdlib.h>

static enum tp_err on_data(void *ctx, const uint8_t *data, size_t size)
{
    uint64_t *sum = ctx;
    for (size_t i = 0; i < size; i++)
        *sum = *sum * 31 + data[i];
    return TP_OK;
}

static enum tp_err on_control(void *ctx, enum term_type type, const uint8_t *payload, size_t size)
{
    uint64_t *sum = ctx;
    *sum = *sum * 37 + (uint64_t)type;
    if (size > TERM_CONTROL_MAX)
        abort();
    return size > 0 ? on_data(ctx, payload, size) : TP_OK;
}

static uint64_t play(const uint8_t *data, size_t size, bool single)
{
    struct term_reader reader;
    uint64_t sum = 1;
    enum tp_err err = TP_OK;
    term_reader_init(&reader, data[0] & 1 ? TERM_FROM_NODE : TERM_FROM_PERSON, on_data, on_control, &sum);
    for (size_t at = 1; at < size && err == TP_OK;) {
        size_t piece = single ? 1 : size - at;
        err = term_reader_feed(&reader, data + at, piece, NULL);
        at += piece;
    }
    term_reader_free(&reader);
    return sum * 2 + (err != TP_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && play(data, size, false) != play(data, size, true))
        abort();
    return 0;
}

/* A piece of a recording from a host: it unpacks within its bounds to what packs and unpacks to itself, or to nothing. */
#include "base/mem.h"
#include "recording/piece.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_strndup((const char *)data, size);
    struct buf once;
    struct buf twice;
    buf_init(&once, PIECE_MAX);
    buf_init(&twice, PIECE_MAX);
    if (piece_unpack(text, &once) == TP_OK) {
        char *again = piece_pack(buf_head(&once), buf_size(&once));
        check(piece_unpack(again, &twice) == TP_OK && buf_size(&twice) == buf_size(&once));
        check(memcmp(buf_head(&twice), buf_head(&once), buf_size(&once)) == 0);
        mem_free(again);
    } else {
        check(buf_size(&once) == 0);
    }
    buf_free(&once);
    buf_free(&twice);
    mem_free(text);
    return 0;
}

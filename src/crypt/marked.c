#include "crypt/marked.h"

#include "base/wire.h"

#include <string.h>

void marked(struct buf *out, const char *mark, const void *text, size_t size)
{
    buf_init(out, 0);
    wr_bytes(out, mark, strlen(mark));
    wr_bytes(out, text, size);
}

/* Header blocks of SPDY/3: name and value pairs behind one zlib stream for each direction of a connection. */
#ifndef KUBE_SPDY_HEADERS_H
#define KUBE_SPDY_HEADERS_H

#include "base/buf.h"

#include <stdbool.h>

#define KUBE_SPDY_BLOCK_MAX ((size_t)64 * 1024) /* inflated */

struct kube_spdy_inflate;

struct kube_spdy_inflate *kube_spdy_inflate_new(void) TP_MUST;
void kube_spdy_inflate_free(struct kube_spdy_inflate *inflate); /* NULL is fine */
/* Inflates one block into out (cleared first). TP_INVALID when it is broken or too large. */
enum tp_err kube_spdy_inflate_block(struct kube_spdy_inflate *inflate, const uint8_t *data, size_t size,
                                    struct buf *out) TP_MUST;
/* It is one header block and nothing else. Readers that take no more than its headers find the rest in front of the next block. */
bool kube_spdy_block_is_whole(const struct buf *block) TP_MUST;
/* The value of a header in an inflated block as a text (mem_free it), NULL when it is not there or the block is broken. */
char *kube_spdy_header(const struct buf *block, const char *name) TP_MUST;

#endif

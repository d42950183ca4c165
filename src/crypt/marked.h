/* Bytes that are signed with a key which signs other things too: a mark that none of those begin with comes first. */
#ifndef CRYPT_MARKED_H
#define CRYPT_MARKED_H

#include "base/buf.h"

/* Makes out mark and, behind it, size bytes. buf_free it. */
void marked(struct buf *out, const char *mark, const void *text, size_t size);

#endif

/*
 * A piece of a recording on its way from the node to auth: a string of JSON. Four processes read and write it anew, at some
 * nanoseconds a byte, and what a terminal shows is mostly small when it is compressed.
 *
 *     BASE64          the bytes as they are
 *     "zlib:" BASE64  the same, compressed (RFC 1950)
 */
#ifndef RECORDING_PIECE_H
#define RECORDING_PIECE_H

#include "base/buf.h"

#define PIECE_MAX ((size_t)256 * 1024) /* bytes that are compressed together */

/* The shorter form of at most PIECE_MAX bytes; few bytes stay as they are. mem_free it. */
char *piece_pack(const void *data, size_t size) TP_MUST;
/* Appends the bytes to out, within its limit. TP_INVALID: text is neither form to its very end, or more than PIECE_MAX were
 * compressed; TP_TOO_LARGE: past the limit. out is unchanged then. */
enum tp_err piece_unpack(const char *text, struct buf *out) TP_MUST;

#endif

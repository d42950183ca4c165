/*
 * The sizes of a terminal that are worth a line in the record: at most one each SIZES_MS, and always the last one. Who drags
 * a window, or has a program send sizes all day, fills no disk with them.
 */
#ifndef RECORDING_SIZES_H
#define RECORDING_SIZES_H

#include "core/loop.h"

#define SIZES_MS 250

struct sizes;
/* A size to be recorded; also called inside sizes_set and sizes_flush. */
typedef void sizes_cb(void *ctx, uint32_t cols, uint32_t rows);

/* cols and rows: what the record begins with. */
struct sizes *sizes_new(struct loop *loop, uint32_t cols, uint32_t rows, sizes_cb *fn, void *ctx) TP_MUST;
/* The terminal has this size now. */
void sizes_set(struct sizes *sizes, uint32_t cols, uint32_t rows);
/* Records what still waits: before the record ends. NULL is fine. */
void sizes_flush(struct sizes *sizes);
void sizes_free(struct sizes *sizes); /* NULL is fine; what waits is dropped */

#endif

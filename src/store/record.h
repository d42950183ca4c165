/*
 * How a value stands in the environment: 16 bytes of header, then the value.
 *
 *   0  1  version, 1
 *   1  3  zero
 *   4  4  CRC-32 (zlib) of the key, a zero byte, and everything from byte 8 on; big-endian
 *   8  8  revision of the commit that wrote it; big-endian
 *
 * The sum covers the key, so a record that a damaged page moved below another key is found too.
 */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include "base/err.h"

#define RECORD_HEADER 16

/* Fills out (RECORD_HEADER + size bytes). */
void record_encode(const void *key, size_t key_size, uint64_t revision, const void *value, size_t size, uint8_t *out);
/* Checks a record; ret_value points into data. TP_CORRUPT when it is not exactly what record_encode wrote. */
enum tp_err record_decode(const void *key, size_t key_size, const void *data, size_t data_size, uint64_t *ret_revision,
                          const uint8_t **ret_value, size_t *ret_size) TP_MUST;

#endif

/* Text forms of bytes: hex (RFC 4648 section 8, lower case out, both in), base64 (section 4, padded), base64url
 * (section 5, unpadded), base32 (section 6, unpadded, upper case). Decoders are strict: no white space, no stray bits. */
#ifndef BASE_ENC_H
#define BASE_ENC_H

#include "base/buf.h"

/* Encoders return an allocated string; the caller frees it with mem_free (secret_free for secrets). */
char *enc_hex(const void *data, size_t size) TP_MUST;
char *enc_base64(const void *data, size_t size) TP_MUST;
char *enc_base64url(const void *data, size_t size) TP_MUST;
char *enc_base32(const void *data, size_t size) TP_MUST;
/* Decoders append to out; TP_INVALID when text is not exactly the form (out is then unchanged), TP_TOO_LARGE past its limit. */
enum tp_err dec_hex(const char *text, size_t length, struct buf *out) TP_MUST;
enum tp_err dec_base64(const char *text, size_t length, struct buf *out) TP_MUST;
enum tp_err dec_base64url(const char *text, size_t length, struct buf *out) TP_MUST;
enum tp_err dec_base32(const char *text, size_t length, struct buf *out) TP_MUST;

#endif

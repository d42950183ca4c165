/*
 * Sealing: a value is encrypted and protected against change (XChaCha20-Poly1305, random nonces) under a key that is derived
 * for one purpose (HKDF, RFC 5869) from a main key. What a sealed value belongs to (its name) is bound to it as associated
 * data: under another name it does not open.
 *
 *   0   24  nonce
 *   24   n  the value, encrypted
 *   24+n 16 tag over associated data and value
 */
#ifndef CRYPT_SEAL_H
#define CRYPT_SEAL_H

#include "base/err.h"

#define SEAL_KEY_SIZE 32
#define SEAL_ID_SIZE 16
#define SEAL_OVERHEAD 40 /* bytes that a sealed value is longer */

struct seal;

/* The key for a purpose, a fixed text such as "tport secrets store". The main key stays the caller's, who wipes it. */
struct seal *seal_new(const uint8_t main_key[SEAL_KEY_SIZE], const char *purpose) TP_MUST;
void seal_free(struct seal *seal); /* wipes; NULL is fine */
/* Tells keys apart and says nothing about them: equal for the same main key and purpose. */
const uint8_t *seal_id(const struct seal *seal) TP_MUST;

/* Fills out (size + SEAL_OVERHEAD bytes). */
void seal_close(const struct seal *seal, const void *name, size_t name_size, const void *value, size_t size,
                uint8_t *out);
/* Fills out (sealed_size - SEAL_OVERHEAD bytes, *ret_size). TP_CORRUPT when one bit of name or sealed value is not as it
 * was, or the key is another: then out holds nothing of the value. */
enum tp_err seal_open(const struct seal *seal, const void *name, size_t name_size, const uint8_t *sealed,
                      size_t sealed_size, uint8_t *out, size_t *ret_size) TP_MUST;

#endif

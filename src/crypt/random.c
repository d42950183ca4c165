#include "crypt/key.h"

#include "base/enc.h"
#include "base/mem.h"

#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

struct crypt_sha256_stream {
    SHA256_CTX ctx;
};

void crypt_random(void *out, size_t size)
{
    if (RAND_bytes(out, size) != 1)
        abort(); /* no randomness, no security: never go on */
}

char *crypt_random_hex(size_t size)
{
    uint8_t *raw = mem_alloc(size);
    char *text;
    crypt_random(raw, size);
    text = enc_hex(raw, size);
    secret_wipe(raw, size);
    mem_free(raw);
    return text;
}

void crypt_uuid(char out[UUID_TEXT_SIZE])
{
    uint8_t b[16];
    crypt_random(b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    (void)snprintf(out, UUID_TEXT_SIZE, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

void crypt_sha1(const void *data, size_t size, uint8_t out[20])
{
    SHA1(data, size, out);
}

void crypt_sha256(const void *data, size_t size, uint8_t out[32])
{
    SHA256(data, size, out);
}

struct crypt_sha256_stream *crypt_sha256_new(void)
{
    struct crypt_sha256_stream *hash = mem_alloc(sizeof(*hash));
    SHA256_Init(&hash->ctx);
    return hash;
}

void crypt_sha256_add(struct crypt_sha256_stream *hash, const void *data, size_t size)
{
    SHA256_Update(&hash->ctx, data, size);
}

void crypt_sha256_finish(struct crypt_sha256_stream *hash, uint8_t out[32])
{
    SHA256_Final(out, &hash->ctx);
    secret_wipe(hash, sizeof(*hash));
    mem_free(hash);
}

void crypt_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size, uint8_t out[32])
{
    unsigned int length = 32;
    if (!HMAC(EVP_sha256(), key, key_size, data, size, out, &length))
        abort(); /* only fails when memory is gone */
}

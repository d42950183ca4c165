#include "crypt/seal.h"

#include "base/mem.h"
#include "crypt/key.h"

#include <openssl/aead.h>
#include <openssl/digest.h>
#include <openssl/err.h>
#include <openssl/hkdf.h>
#include <stdlib.h>
#include <string.h>

#define NONCE_SIZE 24
#define TAG_SIZE 16

struct seal {
    EVP_AEAD_CTX *aead;
    uint8_t id[SEAL_ID_SIZE];
};

/* The purpose is a fixed text, so the two labels cannot meet. */
static void derive(const uint8_t main_key[SEAL_KEY_SIZE], const char *label, const char *purpose, uint8_t *out,
                   size_t size)
{
    char *info = mem_printf("%s:%s", label, purpose);
    if (!HKDF(out, size, EVP_sha256(), main_key, SEAL_KEY_SIZE, NULL, 0, (const uint8_t *)info, strlen(info)))
        abort(); /* only fails when memory is gone */
    mem_free(info);
}

struct seal *seal_new(const uint8_t main_key[SEAL_KEY_SIZE], const char *purpose)
{
    struct seal *seal = mem_alloc(sizeof(*seal));
    uint8_t key[SEAL_KEY_SIZE];
    derive(main_key, "key", purpose, key, sizeof(key));
    derive(main_key, "id", purpose, seal->id, sizeof(seal->id));
    seal->aead = EVP_AEAD_CTX_new(EVP_aead_xchacha20_poly1305(), key, sizeof(key), TAG_SIZE);
    secret_wipe(key, sizeof(key));
    if (!seal->aead)
        abort();
    return seal;
}

void seal_free(struct seal *seal)
{
    if (!seal)
        return;
    EVP_AEAD_CTX_free(seal->aead); /* BoringSSL wipes what it frees */
    mem_free(seal);
}

const uint8_t *seal_id(const struct seal *seal)
{
    return seal->id;
}

void seal_close(const struct seal *seal, const void *name, size_t name_size, const void *value, size_t size,
                uint8_t *out)
{
    size_t written = 0;
    crypt_random(out, NONCE_SIZE);
    if (!EVP_AEAD_CTX_seal(seal->aead, out + NONCE_SIZE, &written, size + TAG_SIZE, out, NONCE_SIZE, value, size, name,
                           name_size) ||
        written != size + TAG_SIZE)
        abort(); /* only for values of 256 GB */
}

enum tp_err seal_open(const struct seal *seal, const void *name, size_t name_size, const uint8_t *sealed,
                      size_t sealed_size, uint8_t *out, size_t *ret_size)
{
    *ret_size = 0;
    if (sealed_size < SEAL_OVERHEAD ||
        !EVP_AEAD_CTX_open(seal->aead, out, ret_size, sealed_size - SEAL_OVERHEAD, sealed, NONCE_SIZE,
                           sealed + NONCE_SIZE, sealed_size - NONCE_SIZE, name, name_size)) {
        ERR_clear_error();
        return TP_CORRUPT;
    }
    return TP_OK;
}

#include "crypt/key.h"

#include "base/enc.h"
#include "base/mem.h"
#include "base/wire.h"
#include "crypt/ssl_util.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/curve25519.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#define P256_POINT_SIZE 65 /* uncompressed */
#define PEM_MAX ((size_t)64 * 1024)

struct key {
    enum key_type type;
    EVP_PKEY *evp;
    uint8_t ed25519_public[32];
};

bool ssl_is_p256(const EVP_PKEY *evp)
{
    const EC_KEY *ec = EVP_PKEY_id(evp) == EVP_PKEY_EC ? EVP_PKEY_get0_EC_KEY(evp) : NULL;
    return ec && EC_GROUP_get_curve_name(EC_KEY_get0_group(ec)) == NID_X9_62_prime256v1;
}

char *ssl_take_bio(BIO *bio)
{
    const uint8_t *data;
    size_t size;
    char *text;
    if (!BIO_mem_contents(bio, &data, &size))
        abort();
    text = mem_strndup((const char *)data, size);
    secret_wipe((uint8_t *)(uintptr_t)data, size);
    BIO_free(bio);
    return text;
}

BIO *ssl_new_bio(void)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (!bio)
        abort();
    return bio;
}

static struct key *wrap(enum key_type type, EVP_PKEY *evp)
{
    struct key *key = mem_alloc(sizeof(*key));
    key->type = type;
    key->evp = evp;
    if (type == KEY_ED25519) {
        size_t size = sizeof(key->ed25519_public);
        if (EVP_PKEY_get_raw_public_key(evp, key->ed25519_public, &size) != 1)
            abort();
    }
    return key;
}

struct key *key_generate(enum key_type type)
{
    EVP_PKEY *evp = NULL;
    if (type == KEY_ED25519) {
        uint8_t seed[32];
        crypt_random(seed, sizeof(seed));
        evp = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof(seed));
        secret_wipe(seed, sizeof(seed));
    } else {
        EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
        evp = EVP_PKEY_new();
        if (!ec || !evp || EC_KEY_generate_key(ec) != 1 || EVP_PKEY_assign_EC_KEY(evp, ec) != 1)
            abort(); /* only fails when memory or randomness is gone */
    }
    if (!evp)
        abort();
    return wrap(type, evp);
}

void key_free(struct key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->evp); /* cleanses the private half */
    mem_free(key);
}

enum key_type key_type_of(const struct key *key)
{
    return key->type;
}

struct evp_pkey_st *key_evp(const struct key *key)
{
    return key->evp;
}

char *key_to_pem(const struct key *key)
{
    BIO *bio = ssl_new_bio();
    if (PEM_write_bio_PKCS8PrivateKey(bio, key->evp, NULL, NULL, 0, NULL, NULL) != 1)
        abort();
    return ssl_take_bio(bio);
}

/* No key of ours is encrypted, and nobody is there to be asked. */
static int no_password(char *out, int size, int writing, void *ctx)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

enum tp_err key_from_pem(const char *pem, size_t size, struct key **ret_key, struct tp_error *error)
{
    BIO *bio;
    EVP_PKEY *evp;
    if (size > PEM_MAX)
        return err_set(error, TP_TOO_LARGE, "the private key file is too large to be one");
    bio = BIO_new_mem_buf(pem, (ossl_ssize_t)size);
    if (!bio)
        abort();
    evp = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    ERR_clear_error();
    if (!evp)
        return err_set(error, TP_INVALID, "not an unencrypted private key in PEM form");
    if (EVP_PKEY_id(evp) == EVP_PKEY_ED25519) {
        *ret_key = wrap(KEY_ED25519, evp);
        return TP_OK;
    }
    if (ssl_is_p256(evp)) {
        *ret_key = wrap(KEY_P256, evp);
        return TP_OK;
    }
    EVP_PKEY_free(evp);
    return err_set(error, TP_INVALID, "the private key is neither ECDSA P-256 nor Ed25519");
}

static void p256_point(const struct key *key, uint8_t out[P256_POINT_SIZE])
{
    const EC_KEY *ec = EVP_PKEY_get0_EC_KEY(key->evp);
    if (EC_POINT_point2oct(EC_KEY_get0_group(ec), EC_KEY_get0_public_key(ec), POINT_CONVERSION_UNCOMPRESSED, out,
                           P256_POINT_SIZE, NULL) != P256_POINT_SIZE)
        abort();
}

static const char *ssh_type(const struct key *key)
{
    return key->type == KEY_ED25519 ? "ssh-ed25519" : "ecdsa-sha2-nistp256";
}

/* RFC 8709 section 4, RFC 5656 section 3.1. */
static void write_public(const struct key *key, struct buf *out)
{
    wr_cstring(out, ssh_type(key));
    if (key->type == KEY_ED25519) {
        wr_string(out, key->ed25519_public, sizeof(key->ed25519_public));
    } else {
        uint8_t point[P256_POINT_SIZE];
        p256_point(key, point);
        wr_cstring(out, "nistp256");
        wr_string(out, point, sizeof(point));
    }
}

/* The private members behind the public ones, as PROTOCOL.key lists them for each type. */
static void write_private(const struct key *key, struct buf *out)
{
    uint8_t raw[64];
    if (key->type == KEY_ED25519) {
        size_t size = 32;
        if (EVP_PKEY_get_raw_private_key(key->evp, raw, &size) != 1)
            abort();
        memcpy(raw + 32, key->ed25519_public, 32);
        wr_string(out, raw, 64);
    } else {
        const BIGNUM *number = EC_KEY_get0_private_key(EVP_PKEY_get0_EC_KEY(key->evp));
        size_t size = BN_num_bytes(number);
        raw[0] = 0; /* mpint: a leading zero keeps it positive */
        BN_bn2bin(number, raw + 1);
        if (raw[1] & 0x80)
            wr_string(out, raw, size + 1);
        else
            wr_string(out, raw + 1, size);
    }
    secret_wipe(raw, sizeof(raw));
}

static void wrap_lines(struct buf *out, const char *base64)
{
    size_t left = strlen(base64);
    while (left > 0) {
        size_t part = left > 70 ? 70 : left;
        (void)buf_append(out, base64, part);
        (void)buf_append(out, "\n", 1);
        base64 += part;
        left -= part;
    }
}

char *key_to_openssh(const struct key *key, const char *comment)
{
    struct buf public_part, private_part, file, text;
    uint8_t check[4];
    char *base64, *result;
    buf_init(&public_part, 0);
    buf_init(&private_part, 0);
    buf_init(&file, 0);
    buf_init(&text, 0);
    write_public(key, &public_part);

    crypt_random(check, sizeof(check));
    wr_bytes(&private_part, check, sizeof(check));
    wr_bytes(&private_part, check, sizeof(check));
    wr_bytes(&private_part, buf_head(&public_part), buf_size(&public_part));
    write_private(key, &private_part);
    wr_cstring(&private_part, comment ? comment : "");
    for (uint8_t pad = 1; buf_size(&private_part) % 8 != 0; pad++)
        wr_u8(&private_part, pad);

    wr_bytes(&file, "openssh-key-v1", sizeof("openssh-key-v1")); /* with its NUL */
    wr_cstring(&file, "none");
    wr_cstring(&file, "none");
    wr_cstring(&file, "");
    wr_u32(&file, 1);
    wr_string(&file, buf_head(&public_part), buf_size(&public_part));
    wr_string(&file, buf_head(&private_part), buf_size(&private_part));

    base64 = enc_base64(buf_head(&file), buf_size(&file));
    (void)buf_append_text(&text, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    wrap_lines(&text, base64);
    (void)buf_append_text(&text, "-----END OPENSSH PRIVATE KEY-----\n");
    result = mem_strdup(buf_text(&text));
    secret_free(base64);
    buf_wipe(&text);
    buf_wipe(&file);
    buf_wipe(&private_part);
    buf_free(&public_part);
    return result;
}

char *key_public_pem(const struct key *key)
{
    BIO *bio = ssl_new_bio();
    if (PEM_write_bio_PUBKEY(bio, key->evp) != 1)
        abort();
    return ssl_take_bio(bio);
}

char *key_public_ssh(const struct key *key, const char *comment)
{
    struct buf blob;
    char *base64, *line;
    buf_init(&blob, 0);
    write_public(key, &blob);
    base64 = enc_base64(buf_head(&blob), buf_size(&blob));
    line = mem_printf("%s %s%s%s", ssh_type(key), base64, comment ? " " : "", comment ? comment : "");
    mem_free(base64);
    buf_free(&blob);
    return line;
}

enum tp_err key_ed25519_public(const struct key *key, uint8_t out[32])
{
    if (key->type != KEY_ED25519)
        return TP_INVALID;
    memcpy(out, key->ed25519_public, 32);
    return TP_OK;
}

enum tp_err key_sign_ed25519(const struct key *key, const void *data, size_t size, uint8_t out[64])
{
    uint8_t raw[64];
    size_t seed_size = 32;
    int signed_ok;
    if (key->type != KEY_ED25519)
        return TP_INVALID;
    if (EVP_PKEY_get_raw_private_key(key->evp, raw, &seed_size) != 1)
        return TP_CRYPTO;
    memcpy(raw + 32, key->ed25519_public, 32);
    signed_ok = ED25519_sign(out, data, size, raw);
    secret_wipe(raw, sizeof(raw));
    return signed_ok == 1 ? TP_OK : TP_CRYPTO;
}

bool key_verify_ed25519(const uint8_t public_key[32], const void *data, size_t size, const uint8_t signature[64])
{
    return ED25519_verify(data, size, signature, public_key) == 1;
}

enum tp_err key_sign_p256(const struct key *key, const void *data, size_t size, struct buf *out)
{
    uint8_t signature[128];
    size_t length = sizeof(signature);
    EVP_MD_CTX *ctx;
    int fine;
    if (key->type != KEY_P256)
        return TP_INVALID;
    ctx = EVP_MD_CTX_new();
    fine = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key->evp) == 1 &&
           EVP_DigestSign(ctx, signature, &length, data, size) == 1;
    EVP_MD_CTX_free(ctx);
    return fine ? buf_append(out, signature, length) : TP_CRYPTO;
}

bool key_verify_p256(const char *public_pem, const void *data, size_t size, const uint8_t *signature,
                     size_t signature_size)
{
    BIO *bio = BIO_new_mem_buf(public_pem, (int)strlen(public_pem));
    EVP_PKEY *evp = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = evp && ctx && ssl_is_p256(evp) && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, evp) == 1 &&
                EVP_DigestVerify(ctx, signature, signature_size, data, size) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(evp);
    BIO_free(bio);
    ERR_clear_error();
    return good;
}

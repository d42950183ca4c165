/* Keys: ECDSA P-256 for X.509, Ed25519 for SSH, grants and checkpoints. BoringSSL's return codes end in this folder. */
#ifndef CRYPT_KEY_H
#define CRYPT_KEY_H

#include "base/buf.h"

enum key_type { KEY_P256, KEY_ED25519 };

struct key; /* a private key with its public half */

/* size random bytes from the system's CSPRNG. */
void crypt_random(void *out, size_t size);
/* size random bytes as hex, allocated (secret_free it). 16 bytes for tokens (R14). */
char *crypt_random_hex(size_t size) TP_MUST;
/* A random UUID (RFC 9562 version 4) in text form and the NUL. */
#define UUID_TEXT_SIZE 37
void crypt_uuid(char out[UUID_TEXT_SIZE]);
/* SHA-1, for protocols that ask for it where nothing depends on its strength (RFC 6455 section 4.2.2). */
void crypt_sha1(const void *data, size_t size, uint8_t out[20]);
/* SHA-256. */
void crypt_sha256(const void *data, size_t size, uint8_t out[32]);
struct crypt_sha256_stream; /* for what does not fit in memory */
struct crypt_sha256_stream *crypt_sha256_new(void) TP_MUST;
void crypt_sha256_add(struct crypt_sha256_stream *hash, const void *data, size_t size);
void crypt_sha256_finish(struct crypt_sha256_stream *hash, uint8_t out[32]); /* frees hash */
void crypt_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size, uint8_t out[32]);

struct key *key_generate(enum key_type type) TP_MUST;
void key_free(struct key *key); /* wipes; NULL is fine */
enum key_type key_type_of(const struct key *key);
/* PKCS#8 PEM, unencrypted. The text is a secret: secret_free it. */
char *key_to_pem(const struct key *key) TP_MUST;
enum tp_err key_from_pem(const char *pem, size_t size, struct key **ret_key, struct tp_error *error) TP_MUST;
/* OpenSSH private key file (openssh-key-v1, unencrypted), Ed25519 and P-256. secret_free it. */
char *key_to_openssh(const struct key *key, const char *comment) TP_MUST;
/* SubjectPublicKeyInfo PEM. */
char *key_public_pem(const struct key *key) TP_MUST;
/* "ssh-ed25519 AAAA... comment" or "ecdsa-sha2-nistp256 ..."; comment NULL: none. No newline. */
char *key_public_ssh(const struct key *key, const char *comment) TP_MUST;
/* The 32 raw bytes of an Ed25519 public key; TP_INVALID for P-256. */
enum tp_err key_ed25519_public(const struct key *key, uint8_t out[32]) TP_MUST;
/* Ed25519 only (TP_INVALID otherwise): a detached signature. */
enum tp_err key_sign_ed25519(const struct key *key, const void *data, size_t size, uint8_t out[64]) TP_MUST;
bool key_verify_ed25519(const uint8_t public_key[32], const void *data, size_t size,
                        const uint8_t signature[64]) TP_MUST;
/* P-256 only (TP_INVALID otherwise): an ECDSA signature over SHA-256 (DER), appended to out. */
enum tp_err key_sign_p256(const struct key *key, const void *data, size_t size, struct buf *out) TP_MUST;
/* public_pem: SubjectPublicKeyInfo, P-256. */
bool key_verify_p256(const char *public_pem, const void *data, size_t size, const uint8_t *signature,
                     size_t signature_size) TP_MUST;
/* The EVP_PKEY inside, for crypt and tls only; owned by key. */
struct evp_pkey_st;
struct evp_pkey_st *key_evp(const struct key *key);

#endif

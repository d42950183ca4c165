/* What making and reading OpenSSH certificates share. */
#ifndef CRYPT_SSHCERT_INTERNAL_H
#define CRYPT_SSHCERT_INTERNAL_H

#include "base/wire.h"

#define SSHCERT_MAX ((size_t)64 * 1024)
#define SSHCERT_PRINCIPALS_MAX 256 /* as OpenSSH */
#define SSHCERT_IDENTITY "tport-identity@tport"

enum sshcert_key { SSHCERT_KEY_ED25519, SSHCERT_KEY_P256, SSHCERT_KEY_RSA, SSHCERT_KEY_COUNT };

/* The plain type name ("ssh-ed25519") and that of its certificate. */
const char *sshcert_plain_name(enum sshcert_key type);
const char *sshcert_cert_name(enum sshcert_key type);
/* Reads a type name from the wire; TP_INVALID when it is not in the list. */
enum tp_err sshcert_key_from_name(struct rd name, bool certificate, enum sshcert_key *ret_type) TP_MUST;
/* Reads the members of a public key (without type name and nonce) and checks them: a point on the curve, an RSA modulus of
 * 2048 to 16384 bits. ret_fields and ret_size are the bytes as they stand. */
enum tp_err sshcert_key_fields(struct rd *rd, enum sshcert_key type, const uint8_t **ret_fields,
                               size_t *ret_size) TP_MUST;
/* The 32 bytes of a plain ssh-ed25519 key blob, exactly; anything else is TP_INVALID. */
enum tp_err sshcert_ed25519_blob(const uint8_t *blob, size_t size, uint8_t out[32]) TP_MUST;

#endif

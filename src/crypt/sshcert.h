/* OpenSSH certificates (PROTOCOL.certkeys): ed25519, ecdsa-p256 and rsa keys as subjects, Ed25519 as the only signer. */
#ifndef CRYPT_SSHCERT_H
#define CRYPT_SSHCERT_H

#include "crypt/identity.h"
#include "crypt/key.h"

struct sshcert_options {
    const char *public_line; /* authorized_keys form of the subject's key */
    bool host;               /* type 2, else user (type 1) */
    const char *key_id;
    const char *const *principals; /* NULL-terminated, at least one */
    int64_t valid_after;           /* Unix seconds */
    int64_t valid_before;          /* INT64_MAX: for ever */
    const char *source_address;    /* critical option, or NULL */
    const char *const *extensions; /* NULL-terminated list of name, value, name, value, ... or NULL; sorted by us */
};
/* "ssh-ed25519-cert-v01@openssh.com AAAA... key_id"; mem_free it. Key types: ssh-ed25519, ecdsa-sha2-nistp256, ssh-rsa of
 * at least 2048 bits; anything else is TP_INVALID. */
enum tp_err sshcert_make(const struct key *ca_key, const struct sshcert_options *options, char **ret_line,
                         struct tp_error *error) TP_MUST;

struct sshcert {
    bool host;
    char *key_id;
    char **principals; /* NULL-terminated */
    size_t principal_count;
    int64_t valid_after;
    int64_t valid_before;
    char *source_address; /* or NULL */
    char *identity;       /* value of tport-identity@tport, or NULL */
    uint8_t signer[32];   /* Ed25519 public key that signed it */
    uint8_t key_hash[32]; /* SHA-256 of the plain public key blob inside */
};
/* Parses the wire blob strictly: exact type list, plain Ed25519 signer, signature correct over the exact bytes, unknown
 * critical option refused, nothing behind the end, principals not empty, options sorted and unique. Does not know CAs. */
enum tp_err sshcert_parse(const uint8_t *blob, size_t size, struct sshcert *ret_cert, struct tp_error *error) TP_MUST;
void sshcert_free(struct sshcert *cert);
/* sshcert_parse and then: type as wanted, the signer is one of ca_lines (NULL-terminated authorized_keys lines), valid at
 * now, principal among its principals (NULL: any), address matches source-address (NULL address: refused if set). */
enum tp_err sshcert_check(const uint8_t *blob, size_t size, bool host, const char *const *ca_lines, int64_t now,
                          const char *principal, const char *address, struct sshcert *ret_cert,
                          struct tp_error *error) TP_MUST;
/* The blob in the second word of an authorized_keys or certificate line, appended to out. */
enum tp_err sshcert_blob(const char *line, struct buf *out, struct tp_error *error) TP_MUST;

#endif

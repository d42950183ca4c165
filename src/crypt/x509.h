/* X.509 certificates: making ours and checking ours (R6). ECDSA P-256 with SHA-256 only. */
#ifndef CRYPT_X509_H
#define CRYPT_X509_H

#include "crypt/identity.h"
#include "crypt/key.h"

/* A self-signed CA, ten years, subject O=cluster OU=ca_name CN=cluster, pathlen 0, keyCertSign. PEM; mem_free it. key must
 * be P-256. A CA named "user" signs only users, one named "host" only hosts: x509_make and x509_check see to it (R6). */
char *x509_make_ca(const struct key *key, const char *cluster, const char *ca_name, int64_t now) TP_MUST;

struct x509_options {
    const char *public_pem;          /* SubjectPublicKeyInfo PEM of the subject, P-256 */
    const struct identity *identity; /* goes into subject and extension; its not_before/not_after are the validity */
    const char *const *dns_names;    /* NULL-terminated or NULL; "*.node.CLUSTER" is fine */
    const char *const *ip_addresses; /* NULL-terminated or NULL */
    bool server;                     /* extKeyUsage serverAuth */
    bool client;                     /* extKeyUsage clientAuth */
};
/* Signed by the CA. PEM; mem_free it. TP_INVALID with a sentence when the public key is not P-256. */
enum tp_err x509_make(const struct key *ca_key, const char *ca_pem, const struct x509_options *options, char **ret_pem,
                      struct tp_error *error) TP_MUST;

/* Checks a leaf (DER) against trusted CA certificates (one or several PEM blocks in one text): signature by one of them,
 * validity at now with no slack, P-256 key, not a CA, our identity extension present exactly once, no unknown critical
 * extension, identity's cluster and kind fit the CA. An intermediate or a leaf that signs is never accepted. Fills
 * ret_identity (identity_free it). Not signed by one of them is TP_DENIED, out of its time TP_EXPIRED, a damaged list that has
 * no signer before the damage TP_CORRUPT, else TP_INVALID. */
enum tp_err x509_check(const uint8_t *der, size_t size, const char *ca_pems, int64_t now, struct identity *ret_identity,
                       struct tp_error *error) TP_MUST;

/* The same CAs, read once, for who checks many certificates. Remembers which bytes had a good signature of which CA (the
 * last X509_TRUST_REMEMBERED or fewer): a person's programs show one certificate again and again. All else is checked each time. */
#define X509_TRUST_REMEMBERED 256
struct x509_trust;
struct x509_trust *x509_trust_new(const char *ca_pems) TP_MUST;
/* NULL is fine. */
void x509_trust_free(struct x509_trust *trust);
/* As x509_check. */
enum tp_err x509_trust_check(struct x509_trust *trust, const uint8_t *der, size_t size, int64_t now,
                             struct identity *ret_identity, struct tp_error *error) TP_MUST;

/* The same without trust: reads what the certificate says (for showing a profile). */
enum tp_err x509_read(const uint8_t *der, size_t size, struct identity *ret_identity, struct tp_error *error) TP_MUST;
/* First certificate of a PEM text as DER appended to out. */
enum tp_err x509_pem_to_der(const char *pem, size_t size, struct buf *out, struct tp_error *error) TP_MUST;
/* "sha256:<64 hex>" over the SubjectPublicKeyInfo of the first certificate of a PEM text: the CA pin. mem_free it. */
enum tp_err x509_pin(const char *pem, char **ret_pin, struct tp_error *error) TP_MUST;
/* Not-after of the first certificate in a PEM text, Unix seconds. */
enum tp_err x509_not_after(const char *pem, int64_t *ret_seconds, struct tp_error *error) TP_MUST;

#endif

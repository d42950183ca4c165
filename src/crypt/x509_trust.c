/* Is a certificate signed by a CA that is trusted, in its time, and for what it says? */
#include "base/mem.h"
#include "crypt/x509.h"
#include "crypt/x509_internal.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <string.h>

struct trusted {
    X509 *cert;
    EVP_PKEY *key;
    char cluster[256];
    char role[64];
};

/* A certificate whose signature was good. */
struct remembered {
    uint8_t hash[SHA256_DIGEST_LENGTH]; /* of all its bytes, the signature among them */
    const struct trusted *ca;           /* NULL: none */
};

struct x509_trust {
    struct trusted *cas; /* only those that may be one of ours */
    size_t count;
    bool damaged; /* the text, behind those */
    struct remembered remembered[X509_TRUST_REMEMBERED];
};

static bool add_ca(void *ctx, X509 *cert)
{
    struct x509_trust *trust = ctx;
    struct trusted *ca;
    if (!x509_is_our_ca(cert))
        return true;
    trust->cas = mem_resize(trust->cas, (trust->count + 1) * sizeof(*trust->cas));
    ca = &trust->cas[trust->count++];
    *ca = (struct trusted){.cert = cert, .key = X509_get_pubkey(cert)};
    X509_up_ref(cert);
    x509_subject_text(cert, NID_organizationName, ca->cluster, sizeof(ca->cluster));
    x509_subject_text(cert, NID_organizationalUnitName, ca->role, sizeof(ca->role));
    return true;
}

struct x509_trust *x509_trust_new(const char *ca_pems)
{
    struct x509_trust *trust = mem_alloc(sizeof(*trust));
    trust->damaged = x509_each(ca_pems, strlen(ca_pems), add_ca, trust) < 0;
    return trust;
}

void x509_trust_free(struct x509_trust *trust)
{
    if (!trust)
        return;
    for (size_t i = 0; i < trust->count; i++) {
        EVP_PKEY_free(trust->cas[i].key);
        X509_free(trust->cas[i].cert);
    }
    mem_free(trust->cas);
    mem_free(trust);
}

static bool valid_at(const X509 *cert, int64_t now)
{
    int64_t from, to;
    return ASN1_TIME_to_posix(X509_get0_notBefore(cert), &from) == 1 &&
           ASN1_TIME_to_posix(X509_get0_notAfter(cert), &to) == 1 && from <= now && now <= to;
}

static bool signed_by(const struct trusted *ca, X509 *leaf)
{
    bool good = X509_NAME_cmp(X509_get_subject_name(ca->cert), X509_get_issuer_name(leaf)) == 0 &&
                X509_verify(leaf, ca->key) == 1;
    ERR_clear_error();
    return good;
}

/* The CA that signed it, valid now, or NULL. */
static const struct trusted *signer_of(struct x509_trust *trust, X509 *leaf, const uint8_t *der, size_t size,
                                       int64_t now)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    struct remembered *place = &trust->remembered[SHA256(der, size, hash)[0] % X509_TRUST_REMEMBERED];
    if (place->ca && memcmp(place->hash, hash, sizeof(hash)) == 0 && valid_at(place->ca->cert, now))
        return place->ca;
    for (size_t i = 0; i < trust->count; i++) {
        const struct trusted *ca = &trust->cas[i];
        if (!valid_at(ca->cert, now) || !signed_by(ca, leaf))
            continue;
        memcpy(place->hash, hash, sizeof(hash));
        place->ca = ca;
        return ca;
    }
    return NULL;
}

static enum tp_err check(struct x509_trust *trust, X509 *leaf, const uint8_t *der, size_t size, int64_t now,
                         struct identity *identity, struct tp_error *error)
{
    /* The signature first: what a stranger wrote into the rest is not worth an error text of its own. */
    const struct trusted *ca = signer_of(trust, leaf, der, size, now);
    enum tp_err code;
    if (!ca && trust->damaged)
        return err_set(error, TP_CORRUPT, "the list of trusted CA certificates is damaged");
    if (!ca)
        return err_set(error, TP_DENIED, "the certificate was not signed by a CA that is trusted here");
    code = x509_read_leaf(leaf, identity, error);
    if (code != TP_OK)
        return code;
    if (now < identity->not_before)
        return err_set(error, TP_EXPIRED, "the certificate is not valid yet; check the clocks");
    if (now > identity->not_after)
        return err_set(error, TP_EXPIRED, "the certificate has expired; sign in again");
    if (strcmp(ca->cluster, identity->cluster) != 0 ||
        (strcmp(ca->role, "user") == 0 && identity->kind != IDENTITY_USER) ||
        (strcmp(ca->role, "host") == 0 && identity->kind != IDENTITY_HOST))
        return err_set(error, TP_DENIED, "the certificate was signed by a CA that may not sign this kind");
    return TP_OK;
}

enum tp_err x509_trust_check(struct x509_trust *trust, const uint8_t *der, size_t size, int64_t now,
                             struct identity *ret_identity, struct tp_error *error)
{
    X509 *leaf;
    struct identity identity;
    enum tp_err code = x509_parse(der, size, &leaf, error);
    if (code != TP_OK)
        return code;
    identity_init(&identity);
    code = check(trust, leaf, der, size, now, &identity, error);
    X509_free(leaf);
    if (code != TP_OK) {
        identity_free(&identity);
        return code;
    }
    *ret_identity = identity;
    return TP_OK;
}

enum tp_err x509_check(const uint8_t *der, size_t size, const char *ca_pems, int64_t now, struct identity *ret_identity,
                       struct tp_error *error)
{
    struct x509_trust *trust = x509_trust_new(ca_pems);
    enum tp_err code = x509_trust_check(trust, der, size, now, ret_identity, error);
    x509_trust_free(trust);
    return code;
}

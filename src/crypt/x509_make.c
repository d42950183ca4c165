#include "crypt/x509.h"

#include "base/mem.h"
#include "crypt/ssl_util.h"
#include "crypt/x509_internal.h"

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define CA_LIFETIME ((int64_t)10 * 365 * 24 * 3600 + 2 * 24 * 3600)
#define NAMES_MAX 1024

/* The library calls below fail only when memory is gone or when this file is wrong; going on would sign something else than
 * was meant. */
static void must(int ok)
{
    if (ok != 1)
        abort();
}

static void add_extension_object(X509 *cert, ASN1_OBJECT *object, bool critical, const uint8_t *der, size_t size)
{
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *extension;
    must(value && ASN1_OCTET_STRING_set(value, der, (int)size));
    extension = X509_EXTENSION_create_by_OBJ(NULL, object, critical, value);
    must(extension && X509_add_ext(cert, extension, -1));
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);
}

static void add_extension(X509 *cert, int nid, bool critical, const uint8_t *der, size_t size)
{
    ASN1_OBJECT *object = OBJ_nid2obj(nid);
    must(object != NULL);
    add_extension_object(cert, object, critical, der, size);
}

static void add_built(X509 *cert, int nid, CBB *cbb)
{
    uint8_t *der;
    size_t size;
    must(CBB_finish(cbb, &der, &size));
    add_extension(cert, nid, false, der, size);
    OPENSSL_free(der);
}

static void add_name(X509_NAME *name, int nid, const char *text)
{
    must(X509_NAME_add_entry_by_NID(name, nid, V_ASN1_UTF8STRING, (const uint8_t *)text, (ossl_ssize_t)strlen(text), -1,
                                    0));
}

static void set_serial(X509 *cert)
{
    uint8_t raw[16];
    BIGNUM *number;
    crypt_random(raw, sizeof(raw));
    raw[0] = (uint8_t)((raw[0] & 0x7f) | 0x40); /* positive, and of one length */
    number = BN_bin2bn(raw, sizeof(raw), NULL);
    must(number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)));
    BN_free(number);
}

static void set_times(X509 *cert, int64_t not_before, int64_t not_after)
{
    ASN1_TIME *from = ASN1_TIME_set_posix(NULL, not_before);
    ASN1_TIME *to = ASN1_TIME_set_posix(NULL, not_after);
    must(from && to && X509_set1_notBefore(cert, from) && X509_set1_notAfter(cert, to));
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
}

/* RFC 7093 method 1: the leftmost 160 bits of SHA-256 over the public key's bits. */
static void key_identifier(X509 *cert, uint8_t out[20])
{
    uint8_t hash[32];
    const ASN1_BIT_STRING *bits = X509_get0_pubkey_bitstr(cert);
    must(bits != NULL);
    SHA256(ASN1_STRING_get0_data(bits), (size_t)ASN1_STRING_length(bits), hash);
    memcpy(out, hash, 20);
}

static void add_key_identifiers(X509 *cert, X509 *issuer)
{
    uint8_t id[20];
    CBB cbb, sequence, element;
    key_identifier(cert, id);
    must(CBB_init(&cbb, 32) && CBB_add_asn1_octet_string(&cbb, id, sizeof(id)));
    add_built(cert, NID_subject_key_identifier, &cbb);
    key_identifier(issuer, id);
    must(CBB_init(&cbb, 32) && CBB_add_asn1(&cbb, &sequence, CBS_ASN1_SEQUENCE) &&
         CBB_add_asn1(&sequence, &element, CBS_ASN1_CONTEXT_SPECIFIC | 0) && CBB_add_bytes(&element, id, sizeof(id)));
    add_built(cert, NID_authority_key_identifier, &cbb);
}

static char *sign_to_pem(X509 *cert, const struct key *key)
{
    BIO *bio = ssl_new_bio();
    must(X509_sign(cert, key_evp(key), EVP_sha256()) > 0);
    must(PEM_write_bio_X509(bio, cert));
    return ssl_take_bio(bio);
}

char *x509_make_ca(const struct key *key, const char *cluster, const char *ca_name, int64_t now)
{
    static const uint8_t constraints[] = {0x30, 0x06, 0x01, 0x01, 0xff, 0x02, 0x01, 0x00}; /* CA, pathlen 0 */
    static const uint8_t usage[] = {0x03, 0x02, 0x01, 0x06};                               /* keyCertSign, cRLSign */
    X509 *cert = X509_new();
    X509_NAME *name = X509_NAME_new();
    char *pem;
    must(cert && name && key_type_of(key) == KEY_P256);
    must(X509_set_version(cert, X509_VERSION_3));
    set_serial(cert);
    set_times(cert, now - 60, now + CA_LIFETIME);
    add_name(name, NID_organizationName, cluster);
    add_name(name, NID_organizationalUnitName, ca_name);
    add_name(name, NID_commonName, cluster);
    must(X509_set_subject_name(cert, name) && X509_set_issuer_name(cert, name) && X509_set_pubkey(cert, key_evp(key)));
    add_extension(cert, NID_basic_constraints, true, constraints, sizeof(constraints));
    add_extension(cert, NID_key_usage, true, usage, sizeof(usage));
    add_key_identifiers(cert, cert);
    pem = sign_to_pem(cert, key);
    X509_NAME_free(name);
    X509_free(cert);
    return pem;
}

static enum tp_err add_dns_name(CBB *sequence, const char *name, struct tp_error *error)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._*";
    size_t length = strlen(name);
    CBB element;
    if (length == 0 || length > 253 || strspn(name, allowed) != length)
        return err_set(error, TP_INVALID, "\"%.80s\" is not a host name that a certificate can hold", name);
    must(CBB_add_asn1(sequence, &element, CBS_ASN1_CONTEXT_SPECIFIC | 2) &&
         CBB_add_bytes(&element, (const uint8_t *)name, length) &&
         /* The parent looks at the element again: it must be done with it before it goes out of scope. */
         CBB_flush(sequence));
    return TP_OK;
}

static enum tp_err add_ip_address(CBB *sequence, const char *text, struct tp_error *error)
{
    uint8_t raw[16];
    size_t size = 4;
    CBB element;
    if (inet_pton(AF_INET, text, raw) != 1) {
        size = 16;
        if (inet_pton(AF_INET6, text, raw) != 1)
            return err_set(error, TP_INVALID, "\"%.80s\" is not an IP address", text);
    }
    must(CBB_add_asn1(sequence, &element, CBS_ASN1_CONTEXT_SPECIFIC | 7) && CBB_add_bytes(&element, raw, size) &&
         CBB_flush(sequence));
    return TP_OK;
}

static enum tp_err add_alternative_names(X509 *cert, const struct x509_options *options, struct tp_error *error)
{
    CBB cbb, sequence;
    size_t count = 0;
    enum tp_err code = TP_OK;
    must(CBB_init(&cbb, 256) && CBB_add_asn1(&cbb, &sequence, CBS_ASN1_SEQUENCE));
    for (size_t i = 0; code == TP_OK && options->dns_names && options->dns_names[i]; i++, count++)
        code = add_dns_name(&sequence, options->dns_names[i], error);
    for (size_t i = 0; code == TP_OK && options->ip_addresses && options->ip_addresses[i]; i++, count++)
        code = add_ip_address(&sequence, options->ip_addresses[i], error);
    if (code == TP_OK && count > NAMES_MAX)
        code = err_set(error, TP_TOO_LARGE, "a certificate holds at most %d names", NAMES_MAX);
    if (code != TP_OK || count == 0) {
        CBB_cleanup(&cbb);
        return code;
    }
    must(CBB_flush(&cbb));
    add_built(cert, NID_subject_alt_name, &cbb);
    return TP_OK;
}

static void add_usages(X509 *cert, const struct x509_options *options)
{
    static const uint8_t server[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01};
    static const uint8_t client[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02};
    static const uint8_t usage[] = {0x03, 0x02, 0x07, 0x80}; /* digitalSignature */
    static const uint8_t constraints[] = {0x30, 0x00};       /* CA:false */
    CBB cbb, sequence, element;
    add_extension(cert, NID_basic_constraints, true, constraints, sizeof(constraints));
    add_extension(cert, NID_key_usage, true, usage, sizeof(usage));
    if (!options->server && !options->client)
        return;
    must(CBB_init(&cbb, 32) && CBB_add_asn1(&cbb, &sequence, CBS_ASN1_SEQUENCE));
    if (options->server)
        must(CBB_add_asn1(&sequence, &element, CBS_ASN1_OBJECT) && CBB_add_bytes(&element, server, sizeof(server)));
    if (options->client)
        must(CBB_add_asn1(&sequence, &element, CBS_ASN1_OBJECT) && CBB_add_bytes(&element, client, sizeof(client)));
    must(CBB_flush(&cbb));
    add_built(cert, NID_ext_key_usage, &cbb);
}

/* An extension of ours that is a UTF8String. */
static void add_text(X509 *cert, const uint8_t *oid, size_t oid_size, const char *text)
{
    CBB cbb, string;
    uint8_t *der = NULL;
    size_t size = 0;
    const uint8_t *at = oid;
    ASN1_OBJECT *object = c2i_ASN1_OBJECT(NULL, &at, (long)oid_size);
    must(object && CBB_init(&cbb, 512) && CBB_add_asn1(&cbb, &string, CBS_ASN1_UTF8STRING) &&
         CBB_add_bytes(&string, (const uint8_t *)text, strlen(text)) && CBB_finish(&cbb, &der, &size));
    add_extension_object(cert, object, false, der, size);
    ASN1_OBJECT_free(object);
    OPENSSL_free(der);
}

static enum tp_err add_identity(X509 *cert, const struct identity *identity, struct tp_error *error)
{
    static const uint8_t oid[] = X509_IDENTITY_OID;
    static const uint8_t device_oid[] = X509_LOGIN_DEVICE_OID;
    json_t *json = identity_to_json(identity);
    char *text = json_text(json);
    struct identity again;
    enum tp_err code;
    identity_init(&again);
    /* What cannot be read back must not be signed. */
    code = identity_from_json(json, &again, error);
    identity_free(&again);
    if (code == TP_OK && strlen(text) > X509_IDENTITY_MAX)
        code = err_set(error, TP_TOO_LARGE, "roles and traits do not fit into a certificate");
    if (code == TP_OK && identity->login_device && strlen(identity->login_device) > X509_LOGIN_DEVICE_MAX)
        code = err_set(error, TP_INVALID, "the device of the login has no id that a certificate can hold");
    if (code == TP_OK)
        add_text(cert, oid, sizeof(oid), text);
    if (code == TP_OK && identity->login_device)
        add_text(cert, device_oid, sizeof(device_oid), identity->login_device);
    mem_free(text);
    json_decref(json);
    return code;
}

static void set_subject(X509 *cert, const struct identity *identity)
{
    X509_NAME *name = X509_NAME_new();
    size_t i;
    json_t *role;
    must(name != NULL);
    if (identity->kind == IDENTITY_HOST) {
        char *full = mem_printf("%s.%s", identity->host_id, identity->cluster);
        add_name(name, NID_organizationName, identity->host_role);
        add_name(name, NID_commonName, strlen(full) <= 64 ? full : identity->host_id);
        mem_free(full);
    } else {
        json_array_foreach (identity->roles, i, role)
            add_name(name, NID_organizationName, json_string_value(role));
        add_name(name, NID_commonName, identity->name);
    }
    must(X509_set_subject_name(cert, name));
    X509_NAME_free(name);
}

/* R6: the user CA signs users, the host CA hosts; a mix-up in a caller ends here. */
static enum tp_err fits_ca(X509 *ca, const struct key *ca_key, const struct identity *identity, struct tp_error *error)
{
    char cluster[256], role[64];
    x509_subject_text(ca, NID_organizationName, cluster, sizeof(cluster));
    x509_subject_text(ca, NID_organizationalUnitName, role, sizeof(role));
    if (!x509_is_our_ca(ca) || X509_check_private_key(ca, key_evp(ca_key)) != 1)
        return err_set(error, TP_INVALID, "the CA certificate does not belong to the CA key");
    if ((strcmp(role, "user") == 0 && identity->kind != IDENTITY_USER) ||
        (strcmp(role, "host") == 0 && identity->kind != IDENTITY_HOST))
        return err_set(error, TP_INVALID, "the %s CA does not sign this kind of certificate", role);
    if (strcmp(cluster, identity->cluster) != 0)
        return err_set(error, TP_INVALID, "the CA belongs to another cluster");
    return TP_OK;
}

static EVP_PKEY *read_public(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *evp;
    must(bio != NULL);
    evp = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    BIO_free(bio);
    ERR_clear_error();
    return evp;
}

static enum tp_err build(X509 *cert, X509 *ca, EVP_PKEY *subject, const struct x509_options *options,
                         struct tp_error *error)
{
    const struct identity *identity = options->identity;
    int64_t ca_end = 0, end = identity->not_after;
    enum tp_err code;
    must(X509_set_version(cert, X509_VERSION_3) && ASN1_TIME_to_posix(X509_get0_notAfter(ca), &ca_end));
    if (end > ca_end)
        end = ca_end;
    if (identity->not_before >= end || identity->not_before < 0)
        return err_set(error, TP_INVALID, "the certificate would not be valid at any time");
    set_serial(cert);
    set_times(cert, identity->not_before, end);
    must(X509_set_issuer_name(cert, X509_get_subject_name(ca)) && X509_set_pubkey(cert, subject));
    code = add_identity(cert, identity, error);
    if (code != TP_OK)
        return code;
    set_subject(cert, identity);
    add_usages(cert, options);
    add_key_identifiers(cert, ca);
    return add_alternative_names(cert, options, error);
}

enum tp_err x509_make(const struct key *ca_key, const char *ca_pem, const struct x509_options *options, char **ret_pem,
                      struct tp_error *error)
{
    X509 *ca, *cert;
    EVP_PKEY *subject;
    enum tp_err code;
    if (key_type_of(ca_key) != KEY_P256)
        return err_set(error, TP_INVALID, "the CA key for X.509 must be ECDSA P-256");
    code = x509_first(ca_pem, strlen(ca_pem), &ca, error);
    if (code != TP_OK)
        return code;
    code = fits_ca(ca, ca_key, options->identity, error);
    if (code != TP_OK) {
        X509_free(ca);
        return code;
    }
    subject = read_public(options->public_pem);
    if (!subject || !ssl_is_p256(subject)) {
        EVP_PKEY_free(subject);
        X509_free(ca);
        return err_set(error, TP_INVALID, "the public key for the certificate is not ECDSA P-256 in PEM form");
    }
    cert = X509_new();
    must(cert != NULL);
    code = build(cert, ca, subject, options, error);
    if (code == TP_OK)
        *ret_pem = sign_to_pem(cert, ca_key);
    X509_free(cert);
    EVP_PKEY_free(subject);
    X509_free(ca);
    return code;
}

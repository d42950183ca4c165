#include "crypt/x509.h"

#include "base/mem.h"
#include "crypt/ssl_util.h"
#include "crypt/x509_internal.h"

#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

#define CERT_MAX ((size_t)64 * 1024)

static const uint8_t identity_oid[] = X509_IDENTITY_OID;
static const uint8_t device_oid[] = X509_LOGIN_DEVICE_OID;

static bool is_v3_p256_sha256(X509 *cert)
{
    EVP_PKEY *evp = X509_get_pubkey(cert);
    bool p256 = evp && ssl_is_p256(evp);
    const X509_ALGOR *inner = X509_get0_tbs_sigalg(cert);
    const X509_ALGOR *outer = NULL;
    EVP_PKEY_free(evp);
    X509_get0_signature(NULL, &outer, cert);
    return X509_get_version(cert) == X509_VERSION_3 && p256 && inner && outer && X509_ALGOR_cmp(inner, outer) == 0 &&
           OBJ_obj2nid(inner->algorithm) == NID_ecdsa_with_SHA256;
}

bool x509_is_our_ca(X509 *cert)
{
    uint32_t flags = X509_get_extension_flags(cert);
    return is_v3_p256_sha256(cert) && !(flags & (EXFLAG_INVALID | EXFLAG_CRITICAL)) && (flags & EXFLAG_CA) &&
           (flags & EXFLAG_KUSAGE) && (X509_get_key_usage(cert) & KU_KEY_CERT_SIGN) &&
           X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)) == 0;
}

void x509_subject_text(const X509 *cert, int nid, char *out, size_t out_size)
{
    const X509_NAME *name = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(name, nid, -1);
    const ASN1_STRING *value = at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    size_t size = value ? (size_t)ASN1_STRING_length(value) : 0;
    out[0] = '\0';
    if (!value || size >= out_size || memchr(ASN1_STRING_get0_data(value), 0, size))
        return;
    memcpy(out, ASN1_STRING_get0_data(value), size);
    out[size] = '\0';
}

enum tp_err x509_parse(const uint8_t *der, size_t size, X509 **ret_cert, struct tp_error *error)
{
    const uint8_t *at = der;
    X509 *cert;
    if (size > CERT_MAX)
        return err_set(error, TP_TOO_LARGE, "the certificate is too large");
    cert = d2i_X509(NULL, &at, (long)size);
    ERR_clear_error();
    if (!cert || at != der + size) {
        X509_free(cert);
        return err_set(error, TP_INVALID, "not an X.509 certificate");
    }
    *ret_cert = cert;
    return TP_OK;
}

static bool is_named(const X509_EXTENSION *extension, const uint8_t *oid, size_t size)
{
    const ASN1_OBJECT *object = X509_EXTENSION_get_object((X509_EXTENSION *)(uintptr_t)extension);
    return OBJ_length(object) == size && memcmp(OBJ_get0_data(object), oid, size) == 0;
}

/* Our extensions: the identity exactly once, the device of the login or NULL. No extension twice, and only critical ones whose
 * meaning is checked here. */
static enum tp_err find_ours(X509 *cert, const X509_EXTENSION **ret_identity, const X509_EXTENSION **ret_device,
                             struct tp_error *error)
{
    int count = X509_get_ext_count(cert);
    const X509_EXTENSION *found = NULL;
    *ret_device = NULL;
    for (int i = 0; i < count; i++) {
        X509_EXTENSION *extension = X509_get_ext(cert, i);
        const ASN1_OBJECT *object = X509_EXTENSION_get_object(extension);
        int nid = OBJ_obj2nid(object);
        if (X509_get_ext_by_OBJ(cert, object, i) >= 0)
            return err_set(error, TP_INVALID, "the certificate has the same extension twice");
        if (X509_EXTENSION_get_critical(extension) && nid != NID_basic_constraints && nid != NID_key_usage &&
            nid != NID_ext_key_usage && nid != NID_subject_alt_name)
            return err_set(error, TP_INVALID, "the certificate has a critical extension that is not known here");
        if (is_named(extension, identity_oid, sizeof(identity_oid)))
            found = extension;
        if (is_named(extension, device_oid, sizeof(device_oid)))
            *ret_device = extension;
    }
    if (!found)
        return err_set(error, TP_INVALID, "the certificate holds no identity of this system");
    *ret_identity = found;
    return TP_OK;
}

static enum tp_err text_of(const X509_EXTENSION *extension, CBS *ret_text, struct tp_error *error)
{
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data((X509_EXTENSION *)(uintptr_t)extension);
    CBS outer;
    CBS_init(&outer, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
    if (!CBS_get_asn1(&outer, ret_text, CBS_ASN1_UTF8STRING) || CBS_len(&outer) != 0)
        return err_set(error, TP_INVALID, "the identity in the certificate is malformed");
    return TP_OK;
}

static enum tp_err read_device(const X509_EXTENSION *extension, struct identity *identity, struct tp_error *error)
{
    CBS text;
    enum tp_err code = text_of(extension, &text, error);
    if (code != TP_OK)
        return code;
    if (CBS_len(&text) == 0 || CBS_len(&text) > X509_LOGIN_DEVICE_MAX || memchr(CBS_data(&text), 0, CBS_len(&text)))
        return err_set(error, TP_INVALID, "the device of the login in the certificate is malformed");
    identity->login_device = mem_strndup((const char *)CBS_data(&text), CBS_len(&text));
    return TP_OK;
}

static enum tp_err read_identity(X509 *cert, struct identity *identity, struct tp_error *error)
{
    const X509_EXTENSION *extension = NULL;
    const X509_EXTENSION *device = NULL;
    CBS text;
    json_t *json;
    enum tp_err code = find_ours(cert, &extension, &device, error);
    if (code == TP_OK)
        code = text_of(extension, &text, error);
    if (code != TP_OK)
        return code;
    code = json_parse_object(CBS_data(&text), CBS_len(&text), X509_IDENTITY_MAX, &json, error);
    if (code != TP_OK)
        return code;
    if (ASN1_TIME_to_posix(X509_get0_notBefore(cert), &identity->not_before) != 1 ||
        ASN1_TIME_to_posix(X509_get0_notAfter(cert), &identity->not_after) != 1)
        code = err_set(error, TP_INVALID, "the certificate has no readable validity");
    else
        code = identity_from_json(json, identity, error);
    json_decref(json);
    if (code == TP_OK && device) {
        code = read_device(device, identity, error);
        if (code != TP_OK)
            identity_free(identity);
    }
    return code;
}

enum tp_err x509_read_leaf(X509 *cert, struct identity *identity, struct tp_error *error)
{
    uint32_t flags = X509_get_extension_flags(cert);
    if (!is_v3_p256_sha256(cert))
        return err_set(error, TP_INVALID, "the certificate is not ECDSA P-256 with SHA-256");
    if ((flags & (EXFLAG_INVALID | EXFLAG_CRITICAL)) || !(flags & EXFLAG_BCONS) || !(flags & EXFLAG_KUSAGE))
        return err_set(error, TP_INVALID, "the certificate's extensions are not as we make them");
    if ((flags & EXFLAG_CA) || (X509_get_key_usage(cert) & (KU_KEY_CERT_SIGN | KU_CRL_SIGN)))
        return err_set(error, TP_INVALID, "a CA certificate is nobody's identity");
    return read_identity(cert, identity, error);
}

enum tp_err x509_read(const uint8_t *der, size_t size, struct identity *ret_identity, struct tp_error *error)
{
    X509 *cert;
    struct identity identity;
    enum tp_err code = x509_parse(der, size, &cert, error);
    if (code != TP_OK)
        return code;
    identity_init(&identity);
    code = x509_read_leaf(cert, &identity, error);
    X509_free(cert);
    if (code == TP_OK)
        *ret_identity = identity;
    return code;
}

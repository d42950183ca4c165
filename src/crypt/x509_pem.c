#include "crypt/x509.h"

#include "base/enc.h"
#include "base/mem.h"
#include "crypt/x509_internal.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define PEM_MAX ((size_t)8 * 1024 * 1024) /* a system's whole CA store */

int x509_each(const char *pem, size_t size, x509_each_cb *fn, void *ctx)
{
    BIO *bio;
    int count = 0;
    bool more = true;
    if (size > PEM_MAX)
        return -1;
    bio = BIO_new_mem_buf(pem, (ossl_ssize_t)size);
    if (!bio)
        abort();
    while (more) {
        X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (!cert)
            break;
        count++;
        more = fn(ctx, cert);
        X509_free(cert);
    }
    if (more) {
        uint32_t why = ERR_peek_last_error();
        if (ERR_GET_LIB(why) != ERR_LIB_PEM || ERR_GET_REASON(why) != PEM_R_NO_START_LINE)
            count = -1;
    }
    ERR_clear_error();
    BIO_free(bio);
    return count;
}

static bool keep_first(void *ctx, X509 *cert)
{
    X509 **found = ctx;
    X509_up_ref(cert);
    *found = cert;
    return false;
}

enum tp_err x509_first(const char *pem, size_t size, X509 **ret_cert, struct tp_error *error)
{
    X509 *found = NULL;
    if (x509_each(pem, size, keep_first, &found) <= 0 || !found)
        return err_set(error, TP_INVALID, "there is no certificate in PEM form");
    *ret_cert = found;
    return TP_OK;
}

enum tp_err x509_pem_to_der(const char *pem, size_t size, struct buf *out, struct tp_error *error)
{
    X509 *cert = NULL;
    uint8_t *der = NULL;
    int length;
    enum tp_err code = x509_first(pem, size, &cert, error);
    if (code != TP_OK)
        return code;
    length = i2d_X509(cert, &der);
    X509_free(cert);
    if (length < 0)
        abort();
    code = buf_append(out, der, (size_t)length);
    OPENSSL_free(der);
    return code == TP_OK ? TP_OK : err_set(error, code, "the certificate is too large");
}

enum tp_err x509_pin(const char *pem, char **ret_pin, struct tp_error *error)
{
    X509 *cert = NULL;
    uint8_t *der = NULL;
    uint8_t hash[32];
    int length;
    char *hex;
    enum tp_err code = x509_first(pem, strlen(pem), &cert, error);
    if (code != TP_OK)
        return code;
    length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    X509_free(cert);
    if (length < 0)
        abort();
    SHA256(der, (size_t)length, hash);
    OPENSSL_free(der);
    hex = enc_hex(hash, sizeof(hash));
    *ret_pin = mem_printf("sha256:%s", hex);
    mem_free(hex);
    return TP_OK;
}

enum tp_err x509_not_after(const char *pem, int64_t *ret_seconds, struct tp_error *error)
{
    X509 *cert = NULL;
    int ok;
    enum tp_err code = x509_first(pem, strlen(pem), &cert, error);
    if (code != TP_OK)
        return code;
    ok = ASN1_TIME_to_posix(X509_get0_notAfter(cert), ret_seconds);
    X509_free(cert);
    return ok == 1 ? TP_OK : err_set(error, TP_INVALID, "the certificate has no readable end");
}

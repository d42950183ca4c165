/* What making and reading our certificates share. */
#ifndef CRYPT_X509_INTERNAL_H
#define CRYPT_X509_INTERNAL_H

#include "base/err.h"
#include "crypt/identity.h"

#include <openssl/base.h>

/* Our extension: 2.999.64989.26303138.4282289.189546561.193579128, the UUID fddd1915-aa20-4157-b1b4-c4041b89c878 in parts of
 * 28 bits: the one number of the arc 2.25 would be the form for it, but Go's parser (kubectl, helm) refuses certificates
 * with larger parts. Content of the OBJECT IDENTIFIER. The value is a DER UTF8String with the identity's JSON. */
#define X509_IDENTITY_OID                                                                                           \
    {                                                                                                               \
        0x88, 0x37, 0x83, 0xFB, 0x5D, 0x8C, 0xC5, 0xB5, 0x22, 0x82, 0x85, 0xAF, 0x31, 0xDA, 0xB1, 0x80, 0x41, 0xDC, \
            0xA7, 0x90, 0x78                                                                                        \
    }
/* The same and .1: a UTF8String, the device of the login (identity.login_device). Not a member of the identity, because readers
 * refuse identities with members that they do not know, and clients and agents of before must go on reading certificates. */
#define X509_LOGIN_DEVICE_OID                                                                                       \
    {                                                                                                               \
        0x88, 0x37, 0x83, 0xFB, 0x5D, 0x8C, 0xC5, 0xB5, 0x22, 0x82, 0x85, 0xAF, 0x31, 0xDA, 0xB1, 0x80, 0x41, 0xDC, \
            0xA7, 0x90, 0x78, 0x01                                                                                  \
    }
#define X509_LOGIN_DEVICE_MAX ((size_t)64)
#define X509_IDENTITY_MAX ((size_t)48 * 1024) /* bytes of JSON; the certificate must fit into a TLS handshake */

/* Parses PEM text and calls fn for each CERTIFICATE block, until fn returns false or the text ends. Other blocks are passed
 * over. Returns how many certificates were seen, or -1 when a block is broken. */
typedef bool x509_each_cb(void *ctx, X509 *cert);
int x509_each(const char *pem, size_t size, x509_each_cb *fn, void *ctx) TP_MUST;
/* The first certificate of a PEM text; the caller X509_free's it. */
enum tp_err x509_first(const char *pem, size_t size, X509 **ret_cert, struct tp_error *error) TP_MUST;
/* Exactly one DER certificate and nothing behind it; the caller X509_free's it. TP_TOO_LARGE, TP_INVALID. */
enum tp_err x509_parse(const uint8_t *der, size_t size, X509 **ret_cert, struct tp_error *error) TP_MUST;
/* What a leaf says, when it is as we make them, into an identity that is init already; its signature and its times are not
 * looked at. TP_INVALID. */
enum tp_err x509_read_leaf(X509 *cert, struct identity *identity, struct tp_error *error) TP_MUST;
/* A CA of ours: version 3, P-256, ECDSA with SHA-256, CA:true with keyCertSign, subject equals issuer. */
bool x509_is_our_ca(X509 *cert) TP_MUST;
/* Copies the first value of a subject entry into out, or "" when there is none or it does not fit. */
void x509_subject_text(const X509 *cert, int nid, char *out, size_t out_size);

#endif

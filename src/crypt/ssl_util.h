/* Small helpers over BoringSSL's types, for the files of this folder. They end the process when memory is gone. */
#ifndef CRYPT_SSL_UTIL_H
#define CRYPT_SSL_UTIL_H

#include "base/err.h"

#include <openssl/base.h>

/* The key is an elliptic curve key on P-256. */
bool ssl_is_p256(const EVP_PKEY *evp) TP_MUST;
/* An empty memory BIO. */
BIO *ssl_new_bio(void) TP_MUST;
/* The bytes of a memory BIO as a string (mem_free or secret_free it); wipes and frees the BIO. */
char *ssl_take_bio(BIO *bio) TP_MUST;

#endif

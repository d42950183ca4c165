/* The inside of a TLS client, for the tls_client*.c files only. */
#ifndef TLS_TLS_CLIENT_INTERNAL_H
#define TLS_TLS_CLIENT_INTERNAL_H

#include "tls/tls_client.h"

#include <openssl/base.h>

#define TLS_CLIENT_AHEAD ((size_t)128 * 1024)

struct tls_client {
    int fd; /* non-blocking; the waiting is done by poll */
    SSL_CTX *ctx;
    SSL *ssl;
    BIO_METHOD *method;
    int64_t timeout_ms;
    void (*on_wait)(void *owner); /* NULL: called already, or nobody is to be told */
    void *on_wait_owner;
    char *name;        /* "host:port" for messages */
    char *alpn;        /* agreed on */
    char *verify_name; /* what the certificate must hold */
    char **pins;
    size_t pin_count;
    bool own_cas; /* ca_pem was given */
    /* Bytes that were read before TLS asked for them, so that several records take one system call; NULL: none are. While it
     * is used, poll says nothing about what waits here: read until TLS wants more. */
    uint8_t *ahead;
    size_t ahead_start;
    size_t ahead_end;
    char refusal[700]; /* why the certificate was refused, or "" */
};

enum tls_step { TLS_STEP_WANT_READ, TLS_STEP_WANT_WRITE, TLS_STEP_END, TLS_STEP_FAILED };

/* What to do after an SSL call gave result <= 0; with TLS_STEP_FAILED, error and *ret_code are set. */
enum tls_step tls_client_step(struct tls_client *client, int result, struct tp_error *error, enum tp_err *ret_code);
/* Makes context and SSL object: trust, client certificate, names, ALPN (tls_client_setup.c). */
enum tp_err tls_client_prepare(struct tls_client *client, const struct tls_client_options *options,
                               struct tp_error *error) TP_MUST;
/* Puts the SSL object on top of client->fd. */
void tls_client_attach(struct tls_client *client);

#endif

/*
 * A blocking TLS client (TLS 1.2 and 1.3) for command-line programs and for joining. Daemons use tls_stream.h.
 *
 * The server's certificate is checked for its name and against, in this order: the pins, else the CAs given, else the
 * system's store. A failed check is one sentence that says what is wrong and the way out.
 */
#ifndef TLS_TLS_CLIENT_H
#define TLS_TLS_CLIENT_H

#include "base/err.h"

struct tls_client;

struct tls_client_options {
    const char *host; /* name or address to connect to */
    uint16_t port;
    const char *server_name; /* SNI; NULL: host, and none when that is an IP address */
    const char *verify_name; /* name or IP address the certificate must hold; NULL: host */
    const char *alpn;        /* one protocol name or NULL; one that begins with "tport-" must be agreed on */
    const char *ca_pem;      /* PEM of the CAs to trust; NULL: /etc/ssl/certs/ca-certificates.crt */
    const char *const
        *ca_pins;         /* "sha256:<64 hex>" of a CA's public key, NULL-terminated, or NULL: the server must send a
                                   CA certificate with such a key, and that CA must have signed its certificate */
    const char *cert_pem; /* client certificate (leaf first) or NULL */
    const char *key_pem;  /* its private key, P-256 */
    bool insecure;        /* accept any certificate: the caller has warned the person */
    int64_t timeout_ms;   /* for connecting and the handshake together, and for each read and write; 0: none */
    void (*on_wait)(void *owner); /* called once, when the server has been waited for for a second in vain and has not
                                     sent a byte for us to read yet; or NULL */
    void *on_wait_owner;
};

/* Resolves host, tries its addresses one after the other, does the handshake. TP_UNAVAILABLE: nobody answers; TP_TIMEOUT;
 * TP_DENIED: the certificate is not accepted, or the server does not accept ours; TP_PROTOCOL: no TLS, or no common ALPN. */
enum tp_err tls_client_connect(const struct tls_client_options *options, struct tls_client **ret_client,
                               struct tp_error *error) TP_MUST;
/* Reads at least one byte; *ret_size is 0 at the end that the server announced. An end without close_notify is TP_CLOSED. */
enum tp_err tls_client_read(struct tls_client *client, void *out, size_t size, size_t *ret_size,
                            struct tp_error *error) TP_MUST;
/* Writes all of it. */
enum tp_err tls_client_write(struct tls_client *client, const void *data, size_t size, struct tp_error *error) TP_MUST;
/* Changes the limit of each read and write; 0: none. */
void tls_client_set_timeout(struct tls_client *client, int64_t timeout_ms);
/* The socket, for poll. Look at tls_client_pending first: bytes may wait inside. */
int tls_client_fd(const struct tls_client *client);
/* Bytes that can be read without the socket. */
size_t tls_client_pending(const struct tls_client *client);
/* Says good-bye (does not wait) and frees. NULL is fine. */
void tls_client_close(struct tls_client *client);

/* Copies in_fd to the server and the server to out_fd until both directions have ended: the end of in_fd is passed on as
 * close_notify; the server's end shuts out_fd down when that is a socket, and ends the relay otherwise, because a pipe has
 * no other way to tell. The descriptors stay open. No timeout. */
enum tp_err tls_client_relay(struct tls_client *client, int in_fd, int out_fd, struct tp_error *error) TP_MUST;

/* The certificates the server sent, as PEM; mem_free it. */
char *tls_client_peer_chain(const struct tls_client *client) TP_MUST;
/* The agreed ALPN, "" when there is none. */
const char *tls_client_alpn(const struct tls_client *client);

#endif

/*
 * TLS under a struct stream, server and client, and the contexts it is made from (BoringSSL).
 *
 * With a wanted identity the peer must show a certificate that x509_check accepts against ca_pems, of that kind (and
 * host role); the handshake fails otherwise. Authorisation is not decided here: auth looks at the certificate again.
 */
#ifndef TLS_TLS_STREAM_H
#define TLS_TLS_STREAM_H

#include "core/stream.h"
#include "crypt/identity.h"

struct tls_context;

enum tls_peer {
    TLS_PEER_ANY,          /* no certificate is asked for (server) or checked (client: only for tests) */
    TLS_PEER_USER,         /* a user's certificate is needed */
    TLS_PEER_USER_OR_NONE, /* server: a user's certificate is asked for; without a good one there is no identity, and
                              tls_stream_failure says why ("": none came). The owner must refuse such a client. */
    TLS_PEER_NODE,         /* a host certificate of any role but proxy */
    TLS_PEER_PROXY,        /* a host certificate of role proxy */
    TLS_PEER_SERVER /* client: any server whose chain leads to ca_pems and that holds the name given to tls_stream_new
                       (RFC 9525; the subject's common name does not count) */
};

struct tls_context_options {
    bool server;
    const char *cert_pem;    /* leaf first, then its chain; NULL: no certificate (client only) */
    const char *key_pem;     /* its private key */
    const char *const *alpn; /* NULL-terminated; server: what may be chosen, in this order; client: what is offered */
    bool alpn_required;      /* server: a client without a common ALPN is refused */
    bool tls13_only;
    enum tls_peer peer;
    const char *ca_pems; /* trusted CAs for peer; copied. TLS_PEER_SERVER: NULL is the system's store */
    /* Client, TLS_PEER_SERVER: a server that has shown its certificate need not show it again to further streams of this
     * context to the same name, for some minutes (session tickets). */
    bool resume;
};

/* TP_INVALID or TP_CRYPTO with a sentence that names what is wrong with certificate or key. */
enum tp_err tls_context_new(const struct tls_context_options *options, struct tls_context **ret_context,
                            struct tp_error *error) TP_MUST;
/* Streams made from it live on. NULL is fine. */
void tls_context_free(struct tls_context *context);

/* Takes fd over. server_name: SNI to send (client; never an IP address) or NULL; with TLS_PEER_SERVER it is needed, and
 * may be an IP address: the certificate must hold it. on_ready comes after the handshake. */
struct stream *tls_stream_new(struct loop *loop, int fd, struct tls_context *context, const char *server_name,
                              const struct stream_events *events, void *ctx) TP_MUST;
/* After on_ready; owned by the stream. NULL when the context wanted none, or could do without and got no good one. */
const struct identity *tls_stream_identity(const struct stream *stream);
/* The peer's certificate as DER, or NULL. Valid as long as the stream. */
const uint8_t *tls_stream_peer_der(const struct stream *stream, size_t *ret_size);
/* The peer has proved in another way (a web session) who he is: his bytes may take as much memory as those of a peer with a
 * certificate. */
void tls_stream_trust(struct stream *stream);
/* After on_ready: the handshake took up an earlier session (option resume). */
bool tls_stream_is_resumed(const struct stream *stream);
/* The chosen ALPN, "" when there is none. */
const char *tls_stream_alpn(const struct stream *stream);
/* Why the handshake failed, or the peer's certificate was not taken; a sentence or "". May be asked in on_close. */
const char *tls_stream_failure(const struct stream *stream);

#endif

/*
 * The web API and pages, in the worker. It holds no right of its own: every request that shows or changes something is a
 * call to auth on behalf of the caller (nobody, a web session, a client certificate), and auth decides.
 */
#ifndef WEB_WEB_H
#define WEB_WEB_H

#include "core/rpc.h"
#include "core/stream.h"

struct web;

struct web_options {
    struct rpc *(*auth)(void *ctx); /* the line to auth now, or NULL while there is none */
    const char *cluster_name;
    const char *public_addr;        /* "proxy.example.com:443": what people type; also in pages */
    const char *listen_addr;        /* "0.0.0.0:443" */
    const char *server_version;
    bool hsts;                      /* send Strict-Transport-Security */
};

struct web_peer {
    const char *addr;           /* "IP:PORT" */
    const uint8_t *client_cert; /* DER, or NULL */
    size_t client_cert_size;
    const char *alpn;           /* "http/1.1", "tport-api" or "" */
    uint64_t id;                /* of the connection, for the log */
};

typedef void web_done_cb(void *ctx, enum close_reason reason);

/* Copies the options. ctx goes to options->auth. */
struct web *web_new(struct loop *loop, const struct web_options *options, void *ctx) TP_MUST;
/* Takes over a stream whose TLS handshake is complete; copies peer. on_done is called once when it has ended and is gone. */
void web_serve(struct web *web, struct stream *stream, const struct web_peer *peer, web_done_cb *on_done, void *ctx);
/* Idle connections close now, the others after their answer. */
void web_drain(struct web *web);
/* Connections that are open. */
size_t web_count(const struct web *web);
/* Closes everything; no on_done is called any more. */
void web_free(struct web *web);

#endif

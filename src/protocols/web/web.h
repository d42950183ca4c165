/* HTTP on the public port: pages, the public API, and the API for tport and tportctl. Holds no secret and decides nothing:
 * every row of routes.c is one call to auth. */
#ifndef PROTOCOLS_WEB_WEB_H
#define PROTOCOLS_WEB_WEB_H

#include "core/rpc.h"
#include "core/stream.h"

struct web;

struct web_options {
    struct rpc *(*auth)(void *ctx); /* the line to auth, or NULL while it is away */
    void *auth_ctx;
    /* Each connection given to web_serve ends with one call. */
    void (*on_done)(void *ctx, uint64_t connection_id, const char *address, enum close_reason reason);
    void *on_done_ctx;
    const char *cluster_name;   /* copied, as all texts here */
    const char *public_addr;    /* "host:port" that people use, "" when not configured */
    const char *server_version;
};

struct web_peer {
    const char *address;        /* "IP:PORT", copied */
    const char *alpn;           /* "tport-api", "http/1.1" or "" */
    const uint8_t *client_cert; /* DER, copied; NULL without one */
    size_t client_cert_size;
    uint64_t connection_id;
};

struct web *web_new(struct loop *loop, const struct web_options *options) TP_MUST;
/* Takes a stream over whose TLS handshake is done. */
void web_serve(struct web *web, struct stream *stream, const struct web_peer *peer);
/* Idle connections close, busy ones after their answer. */
void web_drain(struct web *web);

#endif

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
    void *auth_ctx;
    /* Each connection given to web_serve ends with one call, when it is gone. */
    void (*on_done)(void *ctx, uint64_t connection_id, const char *address, enum close_reason reason);
    void *on_done_ctx;
    const char *cluster_name; /* copied, as all texts here */
    const char *public_addr; /* "proxy.example.com:443": what people type; "" when not configured: the cluster's name */
    const char *server_version;
    const char *listen_addr; /* for /webapi/ping; NULL: "0.0.0.0:443" */
    bool no_hsts;            /* leave Strict-Transport-Security out */
};

struct web_peer {
    const char *address;        /* "IP:PORT", copied */
    const char *alpn;           /* "tport-api", "http/1.1" or "" */
    const uint8_t *client_cert; /* DER, copied; NULL without one */
    size_t client_cert_size;
    uint64_t connection_id; /* for the log */
};

struct web *web_new(struct loop *loop, const struct web_options *options) TP_MUST;
/* Takes over a stream whose TLS handshake is complete. */
void web_serve(struct web *web, struct stream *stream, const struct web_peer *peer);
/* Idle connections close now, the others after their answer. */
void web_drain(struct web *web);
/* Connections that are open. */
size_t web_count(const struct web *web);
/* Closes everything; no on_done is called any more. */
void web_free(struct web *web);

#endif

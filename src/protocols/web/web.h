/*
 * The web API and pages, in the worker. It holds no right of its own: every request that shows or changes something is a
 * call to auth on behalf of the caller (nobody, a web session, a client certificate), and auth decides.
 */
#ifndef WEB_WEB_H
#define WEB_WEB_H

#include "core/rpc.h"
#include "core/stream.h"

#include <jansson.h>

struct web;

/* A WebSocket connection whose handshake is done (RFC 6455): from a page of ours, with a session's cookie. Who asks is not
 * proved before the first message has brought the session's token. */
struct web_socket {
    struct stream *stream; /* paused; the receiver owns it */
    const uint8_t *rest;   /* bytes that have come already, valid during the call */
    size_t rest_size;
    uint64_t connection_id;
    const char *address;  /* the client's "IP:PORT"; all texts are valid during the call */
    const char *session;  /* id in the cookie */
    const char *rpc;      /* the method of auth that decides, from the table of routes */
    const json_t *params; /* of the query, borrowed; {} without */
    const char *path[2];  /* path parameters, or NULL */
};

struct web_options {
    struct rpc *(*auth)(void *ctx); /* the line to auth now, or NULL while there is none */
    void *auth_ctx;
    /* Each connection given to web_serve ends with one call, when it is gone. */
    void (*on_done)(void *ctx, uint64_t connection_id, const char *address, enum close_reason reason);
    void *on_done_ctx;
    /* Takes over the stream of a WebSocket route; on_done will not be called for this connection. */
    void (*on_socket)(void *ctx, const struct web_socket *socket);
    void *on_socket_ctx;
    const char *cluster_name; /* copied, as all texts here */
    const char *public_addr; /* "proxy.example.com:443": what people type; "" when not configured: the cluster's name */
    const char *server_version;
    const char *listen_addr; /* for /webapi/ping; NULL: "0.0.0.0:443" */
    bool own_certificate;    /* what browsers see is signed by the host CA, which no machine trusts by itself */
    bool no_hsts;            /* leave Strict-Transport-Security out */
};

struct web_peer {
    const char *address;        /* "IP:PORT", copied */
    const char *alpn;           /* "tport-api", "http/1.1" or "" */
    const uint8_t *client_cert; /* DER, copied; NULL without one */
    size_t client_cert_size;
    const char *user;       /* whose certificate it is, for the log; copied; NULL without one */
    uint64_t connection_id; /* for the log */
};

struct web *web_new(struct loop *loop, const struct web_options *options) TP_MUST;
/* A program for hosts that join: its name, SHA-256 (hex) and size, and a descriptor to read it by, which the web takes
 * over. Once for each name. */
void web_add_file(struct web *web, const char *name, const char *sha256, int64_t size, int fd);
/* Takes over a stream whose TLS handshake is complete. */
void web_serve(struct web *web, struct stream *stream, const struct web_peer *peer);
/* Idle connections close now, the others after their answer. */
void web_drain(struct web *web);
/* Connections that are open. */
size_t web_count(const struct web *web);
/* Closes everything; no on_done is called any more. */
void web_free(struct web *web);

#endif

/*
 * The Kubernetes service of an agent: HTTP/1.1 of a client, as it comes out of a tunnel stream, is taken apart, decided by
 * the grant, written anew with the identity that the grant names, and sent to the API server; answers stream back. See the
 * drawing in kube_conn.c.
 */
#ifndef AGENT_KUBE_H
#define AGENT_KUBE_H

#include "agent/kube_config.h"
#include "base/json.h"
#include "core/rpc.h"
#include "tunnel/tunnel.h"

struct kube;

/* What the service needs of the agent (or of a test). */
struct kube_line {
    /* Exactly one call of fn, never inside request, unless cancelled. params are stolen. */
    void *(*request)(void *ctx, const char *method, json_t *params, rpc_reply_cb *fn, void *fn_ctx);
    /* The same for what auth must hear: made again while it can't be reached, and fn comes with its answer, or after minutes. */
    void *(*report)(void *ctx, const char *method, json_t *params, rpc_reply_cb *fn, void *fn_ctx);
    /* fn will not be called; the call itself goes on. */
    void (*cancel)(void *ctx, void *call);
    /* The cluster of that name that this host serves, or NULL. What it returns lives as long as the service. */
    const struct kube_cluster_conf *(*find)(void *ctx, const char *name);
    /* A connection or a session has ended (kube_is_idle may be true now). May be NULL. */
    void (*on_idle)(void *ctx);
    void *ctx;
};

/* line is copied. */
struct kube *kube_new(struct loop *loop, const struct kube_line *line) TP_MUST;
/* Takes an incoming tunnel stream over (accepts or refuses it). grant: opened and checked for this host, unused; stolen. */
void kube_open(struct kube *kube, struct tunnel_stream *stream, json_t *grant);
/* Auth ended this session (event session.cut): the person is told text as far as what runs allows it, the API server's side
 * ends at once, the client's when it has taken what is on its way. text: one sentence, no control characters. No such
 * session: nothing. */
void kube_session_cut(struct kube *kube, const char *sid, enum close_reason reason, const char *text);
/* Ends all connections with that reason; their sessions tell auth. */
void kube_stop_all(struct kube *kube, enum close_reason reason);
/* The process is being replaced: connections end after the exchange under way; watches and sessions go on. */
void kube_drain(struct kube *kube);
/* No connection, and auth knows the end of every session. */
bool kube_is_idle(const struct kube *kube);
/* After the loop has stopped, or when idle. NULL is fine. */
void kube_free(struct kube *kube);

#endif

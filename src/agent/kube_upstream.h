/*
 * Connections to one API server, signed in as the agent (never as a person: whom a request is for stands in its headers,
 * so connections may serve anybody).
 *
 *     get --(none idle)--> dial --> TLS --> open --put--> idle --get--> open ...
 *                            |       |       |             `--30 s, a byte, an end, new credentials--> gone
 *                            `-------+-------+--close, error--> gone
 */
#ifndef AGENT_KUBE_UPSTREAM_H
#define AGENT_KUBE_UPSTREAM_H

#include "agent/kube_config.h"
#include "core/loop.h"

struct kube_cluster;
struct kube_upstream;

struct kube_upstream_events {
    /* It may be written to. */
    void (*on_open)(void *ctx);
    /* size > 0 bytes; data is valid during the call only. */
    void (*on_data)(void *ctx, const uint8_t *data, size_t size);
    /* The API server sends no more. */
    void (*on_eof)(void *ctx);
    /* kube_upstream_is_full was true and is no longer. */
    void (*on_drain)(void *ctx);
    /* It ended by itself (before on_open: it never came to be). The object is gone when it returns. error: TP_UNAVAILABLE
     * or TP_TIMEOUT with a sentence that names the API server. */
    void (*on_close)(void *ctx, const struct tp_error *error);
};

/* conf is borrowed and must live as long. Reads no file yet. */
struct kube_cluster *kube_cluster_new(struct loop *loop, const struct kube_cluster_conf *conf) TP_MUST;
/* Closes idle connections; those in use must have been closed. NULL is fine. */
void kube_cluster_free(struct kube_cluster *cluster);
const struct kube_cluster_conf *kube_cluster_conf(const struct kube_cluster *cluster);
/* The value for Authorization, or NULL in *ret_value when the cluster wants none (client certificate). A token file is
 * read again when it has changed. Borrowed until the next call. TP_UNAVAILABLE with a sentence. */
enum tp_err kube_cluster_authorization(struct kube_cluster *cluster, const char **ret_value,
                                       struct tp_error *error) TP_MUST;

/* An idle connection or a new one; fresh: a new one in any case. TP_UNAVAILABLE when the credentials can't be read. No
 * callback runs inside the call. */
enum tp_err kube_upstream_get(struct kube_cluster *cluster, bool fresh, const struct kube_upstream_events *events,
                              void *ctx, struct kube_upstream **ret_upstream, struct tp_error *error) TP_MUST;
/* It has served an exchange before: if it ends without a byte, the API server may just have closed it. */
bool kube_upstream_was_used(const struct kube_upstream *upstream);
/* The connection's next owner; nothing may be queued for the old one. */
void kube_upstream_set_events(struct kube_upstream *upstream, const struct kube_upstream_events *events, void *ctx);
void kube_upstream_write(struct kube_upstream *upstream, const void *data, size_t size);
/* on_open was called, or is about to be for one that had been idle. */
bool kube_upstream_is_open(const struct kube_upstream *upstream);
bool kube_upstream_is_full(const struct kube_upstream *upstream);
void kube_upstream_pause(struct kube_upstream *upstream);
void kube_upstream_resume(struct kube_upstream *upstream);
void kube_upstream_shutdown(struct kube_upstream *upstream);
/* R11: only after an exchange of which both halves came to their framed end. No callback any more. */
void kube_upstream_put(struct kube_upstream *upstream);
/* Ends it now. No callback any more. NULL is fine. */
void kube_upstream_close(struct kube_upstream *upstream);

#endif

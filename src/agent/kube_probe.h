/*
 * May the agent impersonate people in its clusters (behaviour.md 13.1)? Without that right each request is refused by the API server,
 * in words that only the person sees.
 */
#ifndef AGENT_KUBE_PROBE_H
#define AGENT_KUBE_PROBE_H

#include "agent/kube_config.h"
#include "core/loop.h"

struct kube_probe;

/* why: NULL when the agent may, or one sentence. conf is one of the list. */
typedef void kube_probe_cb(void *ctx, const struct kube_cluster_conf *conf, const char *why);

#define KUBE_PROBE_ALL 5

/* Asks the API server of each cluster that has no problem, one after the other, and after each again_ms those where it is not
 * allowed, or that gave no answer; at each KUBE_PROBE_ALLth time all of them, for a right may be taken away. list is borrowed. fn is called with each cluster's first answer and when that has changed, never
 * inside kube_probe_start, any number of times until kube_probe_free. */
struct kube_probe *kube_probe_start(struct loop *loop, const struct kube_cluster_conf *list, size_t count,
                                    int64_t again_ms, kube_probe_cb *fn, void *ctx) TP_MUST;
/* NULL is fine. Not inside fn. */
void kube_probe_free(struct kube_probe *probe);

#endif

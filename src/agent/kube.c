#include "agent/kube_priv.h"

#include "base/mem.h"
#include "crypt/seal.h"

struct kube *kube_new(struct loop *loop, const struct kube_line *line)
{
    struct kube *kube = mem_alloc(sizeof(*kube));
    kube->loop = loop;
    kube->line = *line;
    kube->clusters = map_new();
    kube->shares = map_new();
    kube_pages_init(kube);
    return kube;
}

void kube_stop_all(struct kube *kube, enum close_reason reason)
{
    for (struct kube_conn *conn = kube->conns; conn != NULL; conn = conn->next) {
        kube_cut(conn, reason, NULL);
    }
}

void kube_drain(struct kube *kube)
{
    kube->draining = true;
    for (struct kube_conn *conn = kube->conns; conn != NULL; conn = conn->next) {
        kube_pump_later(conn);
    }
}

bool kube_is_idle(const struct kube *kube)
{
    return kube->conns == NULL && kube->records == NULL && kube->events == NULL;
}

static void free_cluster(void *ctx, const char *name, void *value)
{
    (void)ctx;
    (void)name;
    kube_cluster_free(value);
}

void kube_free(struct kube *kube)
{
    if (kube == NULL) {
        return;
    }
    kube->line.on_idle = NULL;
    while (kube->conns != NULL) {
        kube_conn_free(kube->conns);
    }
    kube_records_free(kube);
    kube_audit_free(kube);
    kube_pods_free(kube);
    map_each(kube->clusters, free_cluster, NULL);
    map_free(kube->clusters);
    map_free(kube->shares);
    seal_free(kube->pages_seal);
    mem_free(kube);
}

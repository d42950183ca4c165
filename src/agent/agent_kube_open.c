/* Where the Kubernetes service meets the agent: streams with their grants come in, calls to auth go out. */
#include "agent/agent_priv.h"
#include "agent/kube.h"

#include "base/log.h"

static void *line_request(void *ctx, const char *method, json_t *params, rpc_reply_cb *fn, void *fn_ctx)
{
    return up_request(ctx, method, params, fn, fn_ctx);
}

static void *line_report(void *ctx, const char *method, json_t *params, rpc_reply_cb *fn, void *fn_ctx)
{
    return up_report(ctx, method, params, fn, fn_ctx);
}

static void line_cancel(void *ctx, void *call)
{
    (void)ctx;
    up_cancel(call);
}

static const struct kube_cluster_conf *line_find(void *ctx, const char *name)
{
    return kube_clusters_find(ctx, name);
}

static void line_idle(void *ctx)
{
    agent_check_idle(ctx);
}

static void refuse(struct tunnel_stream *stream, enum close_reason reason, const char *text)
{
    log_warn("kubernetes connection refused", "reason=\"%s\"", text);
    tunnel_stream_close(stream, reason, text);
}

void kube_stream_open(struct agent *agent, struct tunnel_stream *stream, const uint8_t *grant_data, size_t size)
{
    struct tp_error error = {0};
    json_t *grant = NULL;
    if (agent->draining || agent->stopping) {
        refuse(stream, CLOSE_DRAIN, "the agent on this host is being replaced; try again");
        return;
    }
    if (agent_open_grant(agent, "kube", grant_data, size, &grant, &error) != TP_OK) {
        refuse(stream, CLOSE_ACCESS_DENIED, error.text);
        return;
    }
    if (agent->kube == NULL) {
        struct kube_line line = {.request = line_request,
                                 .report = line_report,
                                 .cancel = line_cancel,
                                 .find = line_find,
                                 .on_idle = line_idle,
                                 .ctx = agent};
        agent->kube = kube_new(agent->loop, &line);
    }
    kube_open(agent->kube, stream, grant);
}

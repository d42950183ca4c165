/* The Kubernetes clusters of this host: read out of the kubeconfig file or the pod's service account, and told to auth with
 * each heartbeat. */
#include "agent/agent_priv.h"

#include "agent/kube_config.h"
#include "agent/kube_probe.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define RETRY_MS 10000
#define PROBE_AGAIN_MS 60000

static enum tp_err read_clusters(const struct agent *agent, struct kube_cluster_conf **ret_list, size_t *ret_count,
                                 struct tp_error *error)
{
    const struct conf *conf = agent->conf;
    if (conf->kubeconfig_file[0] != '\0') {
        return kube_config_load(conf->kubeconfig_file, ret_list, ret_count, error);
    }
    const char *name = conf->kube_cluster_name[0] != '\0' ? conf->kube_cluster_name : agent->state.identity.cluster;
    return kube_config_in_cluster(name, KUBE_IN_CLUSTER_DIR, getenv("KUBERNETES_SERVICE_HOST"),
                                  getenv("KUBERNETES_SERVICE_PORT"), ret_list, ret_count, error);
}

static void say_cluster(const struct kube_cluster_conf *cluster)
{
    if (cluster->problem != NULL) {
        log_warn("a Kubernetes context is left out", "name=\"%s\" reason=\"%s\"", cluster->name, cluster->problem);
        return;
    }
    log_info("serving a Kubernetes cluster", "name=\"%s\" server=%s:%u", cluster->name, cluster->host,
             (unsigned)cluster->port);
    if (cluster->insecure) {
        log_warn("the API server of this Kubernetes cluster is not checked",
                 "name=\"%s\" reason=\"insecure-skip-tls-verify stands in the kubeconfig\"", cluster->name);
    }
}

static void on_probe(void *ctx, const struct kube_cluster_conf *cluster, const char *why)
{
    (void)ctx;
    if (why == NULL) {
        log_info("the agent may impersonate people in this Kubernetes cluster", "name=\"%s\"", cluster->name);
    } else {
        log_warn("nobody can use this Kubernetes cluster now", "name=\"%s\" reason=\"%s\"", cluster->name, why);
    }
}

static void try_load(void *ctx)
{
    struct agent *agent = ctx;
    struct tp_error error = {0};
    if (read_clusters(agent, &agent->kube_clusters, &agent->kube_cluster_count, &error) != TP_OK) {
        agent_log_change(&agent->kube_failure, "no Kubernetes cluster can be served yet", &error);
        timer_start(agent->kube_retry, RETRY_MS, 0);
        return;
    }
    agent_log_change(&agent->kube_failure, "", NULL);
    for (size_t i = 0; i < agent->kube_cluster_count; i++) {
        say_cluster(&agent->kube_clusters[i]);
    }
    agent->kube_probe =
        kube_probe_start(agent->loop, agent->kube_clusters, agent->kube_cluster_count, PROBE_AGAIN_MS, on_probe, agent);
    host_beat(agent);
}

void kube_clusters_start(struct agent *agent)
{
    if (!agent->conf->kube_enabled) {
        return;
    }
    agent->kube_retry = timer_new(agent->loop, try_load, agent);
    try_load(agent);
}

void kube_clusters_stop(struct agent *agent)
{
    timer_free(agent->kube_retry);
    agent->kube_retry = NULL;
    kube_probe_free(agent->kube_probe);
    agent->kube_probe = NULL;
}

void kube_clusters_free(struct agent *agent)
{
    kube_config_free(agent->kube_clusters, agent->kube_cluster_count);
    agent->kube_clusters = NULL;
    agent->kube_cluster_count = 0;
    mem_free(agent->kube_failure);
    agent->kube_failure = NULL;
}

const struct kube_cluster_conf *kube_clusters_find(const struct agent *agent, const char *name)
{
    for (size_t i = 0; i < agent->kube_cluster_count; i++) {
        if (agent->kube_clusters[i].problem == NULL && strcmp(agent->kube_clusters[i].name, name) == 0) {
            return &agent->kube_clusters[i];
        }
    }
    return NULL;
}

json_t *kube_clusters_report(const struct agent *agent)
{
    json_t *list = json_array();
    json_t *labels = agent_labels_of(&agent->conf->kube_labels);
    json_t *dynamic = labels_json(agent->kube_labels);
    for (size_t i = 0; i < agent->kube_cluster_count; i++) {
        if (agent->kube_clusters[i].problem == NULL) {
            (void)json_array_append_new(list, json_pack("{s:s, s:O, s:O}", "name", agent->kube_clusters[i].name,
                                                        "labels", labels, "cmd_labels", dynamic));
        }
    }
    json_decref(labels);
    json_decref(dynamic);
    return list;
}

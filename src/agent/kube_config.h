/*
 * Which Kubernetes clusters an agent serves and how it signs in to them: out of a kubeconfig file (each context is one
 * cluster), or the service account of the pod that it runs in.
 */
#ifndef AGENT_KUBE_CONFIG_H
#define AGENT_KUBE_CONFIG_H

#include "base/err.h"

#define KUBE_IN_CLUSTER_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

/* One cluster. Of each pair PEM/file at most one is set; files are read again when they change (kube_credentials.h). */
struct kube_cluster_conf {
    char *name;
    char *problem; /* "FILE:LINE: sentence": the context can't be served, and nothing but its name counts; else NULL */
    char *host;    /* name or address of the API server */
    uint16_t port;
    char *prefix;           /* path in front of every request, "" or "/k8s/clusters/c-1" */
    bool plain;             /* http:// instead of https://; only to this machine itself */
    char *server_name;      /* what its certificate must hold */
    bool insecure;          /* any certificate will do: somebody wrote so */
    char *ca_pem, *ca_file; /* none: the system's store */
    char *cert_pem, *cert_file;
    char *key_pem, *key_file;
    char *token, *token_file;
};

/* Reads kubeconfig text (kubernetes.io, "Organizing Cluster Access Using kubeconfig Files"): one entry for each context,
 * in the order of the file. file is the path: for messages, and relative paths in it start from its folder. A context of
 * which something is missing, unknown to us (exec, auth-provider, username: programs and passwords are not run or sent)
 * or broken has a problem, and does not keep the others from being served. TP_INVALID with "FILE:LINE: sentence" when no
 * context is left, or the text is no kubeconfig. The caller frees the list with kube_config_free. */
enum tp_err kube_config_parse(const char *text, size_t size, const char *file, struct kube_cluster_conf **ret_list,
                              size_t *ret_count, struct tp_error *error) TP_MUST;
/* The same for a file of at most 1 MB. */
enum tp_err kube_config_load(const char *file, struct kube_cluster_conf **ret_list, size_t *ret_count,
                             struct tp_error *error) TP_MUST;
/* One entry with that name for the cluster that we run in. dir: KUBE_IN_CLUSTER_DIR; host and port: the variables
 * KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, NULL when unset (TP_NOT_FOUND with a sentence). */
enum tp_err kube_config_in_cluster(const char *name, const char *dir, const char *host, const char *port,
                                   struct kube_cluster_conf **ret_list, size_t *ret_count,
                                   struct tp_error *error) TP_MUST;
/* Wipes what is secret. NULL is fine. */
void kube_config_free(struct kube_cluster_conf *list, size_t count);

#endif

/*
 * kubectl's configuration file, as far as tport writes into it. The text becomes JSON, three entries are put in or taken
 * out, and the JSON becomes YAML again: other entries and fields that we do not know stay; comments do not.
 * (Teleport's names and exec plug-in; the format is client-go's clientcmd/api/v1.)
 */
#ifndef CLI_TPORT_KUBECONFIG_H
#define CLI_TPORT_KUBECONFIG_H

#include "base/err.h"

#include <jansson.h>

#define KUBECONFIG_MAX_BYTES ((size_t)16 * 1024 * 1024) /* thousands of clusters with their certificates */

/* One Kubernetes cluster behind a proxy; all texts are borrowed. */
struct kubeconfig_target {
    const char *teleport;    /* name of the tport cluster */
    const char *kube;        /* name of the Kubernetes cluster */
    const char *context;     /* name of the context, or NULL: "TELEPORT-KUBE" */
    const char *proxy;       /* HOST:PORT */
    const char *server_name; /* the SNI that selects the cluster (sni_for_kube) */
    const char *cas;         /* PEM, what the proxy's certificate is checked against */
    const char *program;     /* absolute path of tport, started by kubectl for credentials */
    const char *home;        /* TPORT_HOME for that program, or NULL */
    const char *name_space;  /* the context's namespace, or NULL: what is there stays */
    const char *as;          /* user to act as, or NULL */
    const json_t *as_groups; /* array of groups to act as, or NULL */
    const char *cert, *key;  /* PEM to embed in place of the program, or NULL */
};

/* Reads a kubeconfig (YAML or JSON); an empty text gives an empty configuration. TP_INVALID with file and line when it is
 * no YAML, no map, or when clusters, users or contexts are no lists of maps with names; TP_TOO_LARGE past
 * KUBECONFIG_MAX_BYTES. json_decref ret_config. */
enum tp_err kubeconfig_parse(const char *text, size_t size, const char *file, json_t **ret_config,
                             struct tp_error *error) TP_MUST;
/* The text of a configuration; wipe and free it with secret_free. */
char *kubeconfig_text(const json_t *config) TP_MUST;

/* Puts cluster, user and context of target in, in place of what tport wrote before. Fields of these entries that tport
 * does not write stay. TP_EXISTS when entries of these names are there that are not tport's: nothing is changed then. */
enum tp_err kubeconfig_put(json_t *config, const struct kubeconfig_target *target, struct tp_error *error) TP_MUST;
/* Makes that context the current one. */
void kubeconfig_select(json_t *config, const char *context);
/* Takes out all entries that tport wrote for that proxy (HOST:PORT), and the current context if it was one of them.
 * Returns the number of contexts that went. */
size_t kubeconfig_remove(json_t *config, const char *proxy);
/* The Kubernetes cluster that the current context reaches through that proxy, or NULL. Borrowed from config. */
const char *kubeconfig_selected(const json_t *config, const char *proxy);
/* A context's name out of a template: {{.ClusterName}} and {{.KubeName}} are replaced; TP_INVALID for another {{...}} or an
 * empty result. mem_free ret_name. */
enum tp_err kubeconfig_context_name(const char *template, const char *teleport, const char *kube, char **ret_name,
                                    struct tp_error *error) TP_MUST;

#endif

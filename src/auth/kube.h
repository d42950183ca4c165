/* Kubernetes in auth: what hosts registered (kube_hosts.c), who may connect (kube_connect.c), lists (kube_list.c). */
#ifndef AUTH_KUBE_H
#define AUTH_KUBE_H

#include "auth/inner.h"

/* ---- kube_hosts.c ---- */

/* The first label of the server name (SNI) that means this cluster: lower-case hex of the name; for names of more than 31
 * bytes, which would not fit, "h" and the first 32 hex digits of the name's SHA-256. */
#define KUBE_LABEL_SIZE 64
void kube_label(const char *name, char ret_label[KUBE_LABEL_SIZE]);
/* For messages: the name in a label, or the label itself when it holds no valid name. The caller mem_free's it. */
char *kube_label_name(const char *label) TP_MUST;

/* A registered cluster, an item of host->kube: {name, labels {}, cmd_labels {}, version}. It belongs to the host and lives
 * until the host's next report. */
const char *kube_name(const json_t *cluster);
/* NULL when that host did not register it. */
const json_t *kube_of_host(const struct host *host, const char *name);
/* The decision's view. labels must be mem_free'd after the use of target. */
void kube_target(const json_t *cluster, struct rbac_target *ret_target, struct rbac_label **ret_labels);
/* The labels (kube_label) of all clusters of a host, for the routes of workers. */
json_t *kube_route_labels(const struct host *host) TP_MUST;
/* The resource kube_server v3. */
json_t *kube_server_resource(const struct host *host, const json_t *cluster) TP_MUST;

/* Takes over what a host says it serves now (an array, or NULL: nothing): names, labels and sizes are checked, and all of
 * it is refused when one is bad. Changes are stored, workers are told, sessions decided anew. */
enum tp_err kube_report(struct auth *auth, struct host *host, const json_t *clusters, const char *version,
                        struct tp_error *error) TP_MUST;
/* Reads what is stored into auth->hosts, which must be loaded. */
enum tp_err kube_hosts_load(struct auth *auth, struct tp_error *error) TP_MUST;
/* A host is removed: deletes what is stored. */
enum tp_err kube_hosts_delete(struct auth *auth, const char *id, struct tp_error *error) TP_MUST;

/* fn for each cluster of each host. */
typedef void kube_server_fn(void *ctx, struct host *host, const json_t *cluster);
void kube_each(struct auth *auth, kube_server_fn *fn, void *ctx);
/* Removes the registrations of that name (a live agent registers again with its next heartbeat). */
enum tp_err kube_forget(struct auth *auth, const char *name, struct tp_error *error) TP_MUST;

#endif

/* Kubernetes in auth: what hosts registered (kube_hosts.c), who may connect (kube_connect.c), lists (kube_list.c). */
#ifndef AUTH_KUBE_H
#define AUTH_KUBE_H

#include "base/err.h"
#include "base/json.h"

struct auth;
struct caller;
struct host;
struct live;
struct rbac_access;
struct rbac_decision;
struct rbac_label;
struct rbac_target;

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

/* ---- kube_connect.c ---- */

/* A cluster and one of the hosts that serve it. */
struct kube_place {
    const struct host *host;
    const json_t *cluster;
};
/* May this caller reach the cluster through this host, and as whom? access is that of mfa_access. {users [], groups [],
 * resources {allowed [], denied []}} as the grant says it, or NULL with a sentence. ret_decision may be NULL. */
json_t *kube_rights(struct auth *auth, const struct caller *caller, const struct rbac_access *access,
                    const struct kube_place *place, struct rbac_decision *ret_decision, struct tp_error *error) TP_MUST;
/* The same out of a grant, for a session whose entry was lost; NULL when it is no grant of Kubernetes. */
json_t *kube_rights_of_grant(const json_t *grant) TP_MUST;
/* A row of live.c: is what the session's grant says (live->rights) still so? New rights do not end it. */
bool kube_kept(struct auth *auth, const struct live *live, const struct caller *caller,
               const struct rbac_access *access);

/* ---- kube_list.c ---- */

/* Registrations changed: the list sorts anew. Must be called before a cluster or host that was registered is freed. */
void kube_order_changed(struct auth *auth);

/* Users and groups that this caller may be on any cluster he reaches, sorted; arrays of strings. */
void kube_subjects(struct auth *auth, const struct caller *caller, json_t **ret_users, json_t **ret_groups);

/* ---- kube_session.c ---- */

/* Members that events of a Kubernetes session have besides those of every session. */
void kube_event_cluster(const struct live *live, json_t *event);
/* Copies the kubernetes_* members of from that a session's start may carry (pod, namespace, container, image, node; texts of
 * bounded size) into to. */
void kube_session_fields(const json_t *from, json_t *to);

#endif

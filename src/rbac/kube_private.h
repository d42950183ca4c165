/* What the files about Kubernetes share. */
#ifndef RBAC_KUBE_PRIVATE_H
#define RBAC_KUBE_PRIVATE_H

#include "rbac/kube.h"

/* Kinds of v7 roles in their order; NULL past the last. */
const char *rbac_kube_kind(size_t number, bool *ret_cluster_wide);
/* Of the kinds that v7 roles know, in either form; others count as namespaced. */
bool rbac_kube_is_cluster_wide(const char *kind);

struct role;
/* Does an allow rule of this role let the request through (a collection: some of it)? Whatever its labels. */
bool rbac_kube_role_allows(const struct rbac_set *set, const struct role *role,
                           const struct rbac_kube_request *request) TP_MUST;
struct set_role;
/* Does a deny rule of this role, where its namespaces are those of the cluster, refuse it (a collection: all of it)? */
bool rbac_kube_role_denies(const struct rbac_set *set, const struct set_role *one, const struct rbac_target *target,
                           const struct rbac_kube_request *request) TP_MUST;

#endif

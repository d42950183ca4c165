/* What the files about Kubernetes share. */
#ifndef RBAC_KUBE_PRIVATE_H
#define RBAC_KUBE_PRIVATE_H

#include "rbac/kube.h"

/* Kinds of v7 roles in their order; NULL past the last. */
const char *rbac_kube_kind(size_t number, bool *ret_cluster_wide);
/* Of the kinds that v7 roles know, in either form; others count as namespaced. */
bool rbac_kube_is_cluster_wide(const char *kind);

#endif

/*
 * Kubernetes: whom a user may be on a cluster, and which objects he may touch there. Pure, like rbac.h.
 *
 * Roles of every version are brought to one form, that of v8 (Teleport's behaviour, role versions v3 to v8): plural
 * resource names as in URLs, an API group, a namespace pattern where "" means cluster-wide objects only, "*" both and
 * any other pattern objects in matching namespaces. auth makes the rules (rbac_kube_resources) and puts them into the
 * grant; the agent compiles and asks them (rbac_kube_rules_*), and knows no roles.
 */
#ifndef RBAC_KUBE_H
#define RBAC_KUBE_H

#include "rbac/rbac.h"

/* ---- for auth: out of a set of roles ---- */

/* Users and groups that the caller may be on this cluster (target->kind must be ROLE_KUBE): those of roles whose labels
 * select it and that last at least ttl_ms (0: whatever they last), without those that a role denies here ("*": all); a role
 * that denies without kubernetes_labels denies everywhere. Both are arrays of texts, sorted, none twice; the caller owns
 * them. Both empty: he may be nobody, and a connection is refused. Does not look at rbac_access. */
void rbac_kube_subjects(const struct rbac_set *set, const struct rbac_target *target, int64_t ttl_ms,
                        json_t **ret_users, json_t **ret_groups);

/* What he may touch on this cluster: {"allowed": [RULE...], "denied": [RULE...]}, RULE = {"kind", "api_group",
 * "namespace", "name", "verbs": [...]}. Allowed are the rules of roles whose labels select the cluster; denied those of
 * every role whose deny section has the cluster's namespace, whatever its labels. The caller owns it. */
json_t *rbac_kube_resources(const struct rbac_set *set, const struct rbac_target *target) TP_MUST;

/* ---- for the agent: out of a grant ---- */

struct rbac_kube_rules;

/* Compiles what rbac_kube_resources made. TP_INVALID (error says where) when it is not of that form. A pattern that
 * does not compile never allows and always denies. Free it with rbac_kube_rules_free. */
enum tp_err rbac_kube_rules_new(const json_t *resources, struct rbac_kube_rules **ret_rules,
                                struct tp_error *error) TP_MUST;
void rbac_kube_rules_free(struct rbac_kube_rules *rules);

/* One request. Texts are the caller's; NULL is taken as "". */
struct rbac_kube_request {
    const char *kind;       /* plural as in URLs, "pods"; the names of v7 roles ("pod", "kube_node") are understood */
    const char *api_group;  /* "" for the core; NULL: that of the kind, where v7 roles know it */
    const char *name_space; /* "": a cluster-wide object, or a collection over all namespaces */
    const char *name;       /* "" in a collection */
    const char *verb;       /* get list watch create update patch delete deletecollection exec portforward */
    bool collection;        /* no object is named: list, watch, deletecollection, create */
    const char *written; /* of what is proxied: the name with scheme and port, as the path has it; NULL: it is name */
};

enum rbac_kube_answer {
    RBAC_KUBE_DENY,
    RBAC_KUBE_ALLOW, /* a collection: nothing in it has to be left out */
    RBAC_KUBE_FILTER /* a collection that is let through; each object in it must then be asked for by itself */
};

/* May it be done? Deny beats allow. A deny rule is heard for the name and for the written one; an allow rule for the written
 * one only when it is just that: what a pattern means by a port (http*) cannot be told from what it means by a name. An allow rule for anything in a namespace lets that namespace be read. A collection
 * is refused when a deny rule covers every name in every namespace asked for, or when no allow rule covers any. */
enum rbac_kube_answer rbac_kube_check(const struct rbac_kube_rules *rules,
                                      const struct rbac_kube_request *request) TP_MUST;
/* Is there nothing that would be refused? Then answers need no filter at all. */
bool rbac_kube_rules_open(const struct rbac_kube_rules *rules) TP_MUST;

/* The plural of a kind of v7 roles ("pod": "pods"), its API group in ret_group (may be NULL); or kind itself, and NULL
 * in ret_group, when it is none of those in either form. A plural that v7 roles know by their singular has its group. */
const char *rbac_kube_plural(const char *kind, const char **ret_group);

/* Access of the caller to one request on a cluster, labels and rules together: what `access test` asks. */
enum tp_err rbac_kube_access(const struct rbac_set *set, const struct rbac_target *target,
                             const struct rbac_access *access, const struct rbac_kube_request *request,
                             struct rbac_decision *ret_decision) TP_MUST;

#endif

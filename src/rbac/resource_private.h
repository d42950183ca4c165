/* The tables of resource_schema.c: the keys below spec; and resource_openssh.c. */
#ifndef RBAC_RESOURCE_PRIVATE_H
#define RBAC_RESOURCE_PRIVATE_H

#include "rbac/schema.h"

extern const struct schema resource_github[];
extern const struct schema resource_oidc[];
extern const struct schema resource_saml[];
extern const struct schema resource_trusted_cluster[];
extern const struct schema resource_kube_cluster[];
extern const struct schema resource_app[];
extern const struct schema resource_db[];
extern const struct schema resource_openssh[];
extern const struct schema resource_auth_preference[];
extern const struct schema resource_networking[];
extern const struct schema resource_recording[];

/* Is this node a server without an agent? Others register themselves, and a sentence says so. */
enum tp_err openssh_check_kind(const struct node *document, struct tp_error *error) TP_MUST;
/* What its keys say, after the table. */
enum tp_err openssh_check(const struct node *document, struct tp_error *error) TP_MUST;

#endif

/* The tables of resource_schema.c: the keys below spec. */
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
extern const struct schema resource_auth_preference[];
extern const struct schema resource_networking[];
extern const struct schema resource_recording[];

#endif

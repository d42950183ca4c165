/*
 * Every kind of resource that people write, checked before anything is kept: kind and version, each key and its type,
 * and for roles, users, tokens and locks what their parsers say besides. The same check runs in tportctl (where lines are
 * those of the person's file) and in auth.
 */
#ifndef RBAC_RESOURCE_H
#define RBAC_RESOURCE_H

#include "base/err.h"
#include "base/node.h"

#include <jansson.h>

/* TP_OK, or TP_INVALID with one sentence that names line and key. Unknown kinds are refused. Roles are checked as written
 * now (ROLE_WRITTEN), so templates, patterns and predicates must parse. */
enum tp_err resource_check(const struct node *document, struct tp_error *error) TP_MUST;
/* The same for a JSON value, whose sentence names no line. */
enum tp_err resource_check_json(const json_t *document, struct tp_error *error) TP_MUST;
/* false: resources of this kind are there without anybody writing them (kube_server, cert_authority). */
bool resource_writable(const char *kind);
/* Is there one of this kind, whatever its name (cluster_auth_preference)? */
bool resource_single(const char *kind);
/* The kinds that can be written, ended by NULL. */
extern const char *const resource_kinds[];

#endif

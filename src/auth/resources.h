/* What the files of resources share: the table of kinds. resources.c: the table and rm; resources_get.c, resources_put.c. */
#ifndef AUTH_RESOURCES_H
#define AUTH_RESOURCES_H

#include "base/err.h"
#include "base/json.h"

struct auth;
struct call;
struct lock;
struct role;

struct kind {
    const char *name;
    const char *prefix;  /* where it is kept; NULL: it has a place of its own */
    const char *created; /* audit events; NULL: it cannot be written */
    const char *updated;
    const char *deleted;
    bool single;                /* one of a kind: its name is the kind */
    bool secret;                /* kept in the secrets store */
    const char *const *secrets; /* members of spec that only who asks with secrets gets, NULL-ended, or NULL */
    const char *const *places;  /* members of spec that say where a secret is sent: with another place it must be given
                                   anew */
    const char *family;         /* a second kind whose rules count too ("auth_connector"), or NULL */
    int target;                 /* enum role_target when labels decide who sees it, else -1 */
};

/* NULL with a sentence for a kind that there is not. */
const struct kind *kind_find(const char *name, struct tp_error *error);
/* All kinds; the last one has no name. */
extern const struct kind resource_kind_table[];
struct store *kind_store(struct auth *auth, const struct kind *kind);

/* The name of the one resource of a kind that has one only: "cluster-auth-preference". mem_free it. */
char *resource_single_name(const struct kind *kind) TP_MUST;
/* metadata.name, "" when there is none. */
const char *resource_name(const json_t *doc);
/* The right to do verb on this kind (or its family) with this document as the context; a deny on either counts. */
enum tp_err resource_rule(const struct call *call, const char *verb, const struct kind *kind, const json_t *doc,
                          struct tp_error *error) TP_MUST;
/* For kinds with labels: does the caller reach the target that doc describes? True for other kinds and for the local
 * administrator. */
bool resource_reached(const struct call *call, const struct kind *kind, const json_t *doc);
/* Keeps caches right and decides sessions anew. Both NULL: deleted. They become auth's. */
void resource_changed(struct auth *auth, const struct kind *kind, const char *name, struct role *role,
                      struct lock *lock);
json_t *resource_event(const struct call *call, const char *event_name, const json_t *doc, const char *name) TP_MUST;
/* Keeps the caches right after a role changed in the store. role becomes auth's; NULL: deleted. */
void resources_role_changed(struct auth *auth, const char *name, struct role *role);

#endif

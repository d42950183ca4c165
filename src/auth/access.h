/* The decision about a connection to a node, and its grant. */
#ifndef AUTH_ACCESS_H
#define AUTH_ACCESS_H

#include "base/err.h"
#include "base/json.h"
#include "rbac/rbac.h"

struct auth;
struct call;
struct host;

#define GRANT_SECONDS 60 /* a stream must be opened by then */
/* What a connection to a node is for. */
struct node_want {
    const char *target;  /* name or id of the host */
    const char *service; /* "ssh" or "term" */
    const char *login;   /* the only one that is wanted; NULL: all that are allowed */
    bool file_copy;      /* it is for a file: refused where the roles do not allow file copy */
};
/* Is it a node that these roles list? What they don't is not there for their owner: no answer names it. (find_node.c) */
bool access_may_list(const struct rbac_set *set, const struct host *host) TP_MUST;
/* The first host that has this for its name, not its id, and that the caller may list; or NULL. For who gave a name where only an
 * id tells one host from all others. */
const struct host *access_host_by_name(const struct call *call, const char *name) TP_MUST;
/* A node by id, then by name among those that the caller may list; TP_NOT_FOUND, TP_AMBIGUOUS; TP_UNAVAILABLE: a server
 * without an agent. */
enum tp_err access_find_node(const struct call *call, const char *target, struct host **ret_host,
                             struct tp_error *error) TP_MUST;
/* The one decision about a node: answers the call with a grant (or a refusal), on record either way. */
void access_node(struct call *call, const struct node_want *want);
/* options.locking_mode of a grant: what the worker does with it while we cannot be asked about locks. */
json_t *access_locking(const struct rbac_options *options) TP_MUST;
/* The event of a new live session is on the disk, or (failure) could not be written: signs the grant. ret_result is {sid,
 * grant}. A session that lost its right meanwhile is refused; after a refusal its live entry is closed. */
enum tp_err access_grant(struct auth *auth, const char *sid, const json_t *grant, const struct tp_error *failure,
                         json_t **ret_result, struct tp_error *error) TP_MUST;

#endif

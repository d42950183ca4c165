/* What a grant for a node allows beside the login, compared with what the roles allow now: the node decides by its grant as
 * long as the connection lasts, so a right that is lost ends the connection. */
#ifndef AUTH_NODE_RIGHTS_H
#define AUTH_NODE_RIGHTS_H

#include "base/err.h"
#include "base/json.h"

struct auth;
struct caller;
struct live;
struct rbac_access;
struct rbac_options;

/* The rights of a grant of service "ssh" or "term" that may be used with it: {"file_copy", "forward_local",
 * "forward_remote": bool, "forward_agent": [logins]}; NULL for other services. */
json_t *node_rights_of_grant(const json_t *grant) TP_MUST;
/* Has the user, as he is now, all of them still? True when the session has none on record. TP_DENIED with a sentence that
 * names what is gone. */
enum tp_err node_rights_kept(struct auth *auth, const struct live *live, const struct caller *caller,
                             const struct rbac_access *access, const struct rbac_options *options,
                             struct tp_error *error) TP_MUST;

#endif

/* What the web UI asks about the person who is signed in. */
#include "base/mem.h"
#include "protocols/web/web_priv.h"

#include <string.h>

void web_motd_finish(struct web_request *request, json_t *result)
{
    web_answer_json(request, 200, json_pack("{s:s}", "text", json_get_text(result, "message_of_the_day", "")));
}

enum tp_err web_context_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    *ret_params = NULL;
    return web_check_cluster(request, error);
}

/* Teleport's shape of a user's context; roles and motd are ours. */
void web_context_finish(struct web_request *request, json_t *result)
{
    const struct web_options *options = web_options(request);
    json_t *acl = json_object_get(result, "acl");
    json_t *roles = json_object_get(result, "roles");
    web_answer_json(request, 200,
                    json_pack("{s:s, s:s, s:O, s:O, s:s, s:{s:s, s:s, s:s, s:s}}", "authType", "local", "userName",
                              json_get_text(result, "user", ""), "userAcl", acl, "roles", roles, "motd",
                              json_get_text(result, "motd", ""), "cluster", "name", options->cluster_name, "publicURL",
                              options->public_addr, "version", options->server_version, "status", "online"));
}

/* The signed note of the log, and the key that verifies it. */
void web_checkpoint_finish(struct web_request *request, json_t *result)
{
    web_answer_json(request, 200,
                    json_pack("{s:s, s:s}", "checkpoint", json_get_text(result, "checkpoint", ""), "key",
                              json_get_text(result, "key", "")));
}

#include "auth/caller.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/live.h"
#include "auth/node_rights.h"

#include <string.h>

static json_t *agent_logins(const json_t *grant)
{
    json_t *names = json_array();
    size_t i;
    json_t *login;
    json_array_foreach (json_object_get(grant, "logins"), i, login) {
        if (json_get_bool(login, "forward_agent", false)) {
            json_array_append(names, json_object_get(login, "name"));
        }
    }
    return names;
}

json_t *node_rights_of_grant(const json_t *grant)
{
    const char *service = json_get_text(grant, "service", "");
    const json_t *options = json_object_get(grant, "options");
    bool ssh = strcmp(service, "ssh") == 0;
    bool file = json_get_bool(grant, "file", false);
    if (!ssh && strcmp(service, "term") != 0) {
        return NULL;
    }
    /* A shell in a browser copies and forwards nothing; a file is all that a grant for a file is for. */
    return json_pack("{s:b, s:b, s:b, s:o}", "file_copy",
                     (int)((ssh || file) && json_get_bool(options, "file_copy", false)), "forward_local",
                     (int)(ssh && json_get_bool(options, "port_forwarding_local", false)), "forward_remote",
                     (int)(ssh && json_get_bool(options, "port_forwarding_remote", false)), "forward_agent",
                     ssh ? agent_logins(grant) : json_array());
}

static bool forwards_agent(const struct rbac_login *logins, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(logins[i].name, name) == 0) {
            return logins[i].forward_agent;
        }
    }
    return false;
}

/* Of the login that is in use, or while none is, of all that the grant names. */
static bool agent_kept(struct auth *auth, const struct live *live, const struct caller *caller,
                       const struct rbac_access *access)
{
    const json_t *granted = json_object_get(live->rights, "forward_agent");
    const struct host *host = hosts_get(auth, live->host_id);
    if (json_array_size(granted) == 0 || host == NULL) {
        return true;
    }
    struct rbac_target target;
    size_t count = 0;
    hosts_target(host, &target);
    struct rbac_login *logins = rbac_logins(caller->set, &target, access, &count);
    bool kept = true;
    size_t i;
    json_t *item;
    json_array_foreach (granted, i, item) {
        const char *name = json_string_value(item);
        if (name != NULL && (live->pinned_login == NULL || strcmp(live->pinned_login, name) == 0)) {
            kept = kept && forwards_agent(logins, count, name);
        }
    }
    mem_free(logins);
    return kept;
}

enum tp_err node_rights_kept(struct auth *auth, const struct live *live, const struct caller *caller,
                             const struct rbac_access *access, const struct rbac_options *options,
                             struct tp_error *error)
{
    const struct {
        const char *right;
        bool now;
        const char *what;
    } rights[] = {{"file_copy", options->ssh_file_copy, "copy files"},
                  {"forward_local", options->port_forward_local, "forward ports to this host"},
                  {"forward_remote", options->port_forward_remote, "forward ports from this host"}};
    if (strcmp(live->service, "ssh") != 0 && strcmp(live->service, "term") != 0) {
        return TP_OK;
    }
    for (size_t i = 0; i < sizeof rights / sizeof rights[0]; i++) {
        if (json_get_bool(live->rights, rights[i].right, false) && !rights[i].now) {
            return err_set(error, TP_DENIED, "a change of roles took the right to %s away, which this session had",
                           rights[i].what);
        }
    }
    if (!agent_kept(auth, live, caller, access)) {
        return err_set(error, TP_DENIED,
                       "a change of roles took the right to forward the agent away, which this session had");
    }
    return TP_OK;
}

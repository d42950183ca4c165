/* What a person sees of himself: his rights, for the menus of the web UI. */
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth/settings.h"

#include <string.h>

/* Teleport's names in userAcl and the kinds of resource that they stand for. */
static const struct {
    const char *name;
    const char *kind;
} acl_kinds[] = {{"authConnectors", "auth_connector"},
                 {"trustedClusters", "trusted_cluster"},
                 {"roles", "role"},
                 {"recordedSessions", "session"},
                 {"activeSessions", "ssh_session"},
                 {"events", "event"},
                 {"users", "user"},
                 {"kubeServers", "kube_cluster"},
                 {"tokens", "token"},
                 {"nodes", "node"},
                 {"locks", "lock"}};

static bool possible(const struct call *call, const char *verb, const char *kind)
{
    struct rbac_decision decision = {0};
    return rbac_rule_possible(call->caller.set, verb, kind, &decision) == TP_OK;
}

/* What may be possible for some resource of the kind counts: each single one is decided when it is asked for. */
void do_user_context(struct call *call)
{
    const struct settings *settings = &call->auth->settings;
    json_t *acl = json_object();
    for (size_t i = 0; i < sizeof(acl_kinds) / sizeof(acl_kinds[0]); i++) {
        const char *kind = acl_kinds[i].kind;
        json_object_set_new(acl, acl_kinds[i].name,
                            json_pack("{s:b, s:b, s:b, s:b, s:b}", "list", possible(call, "list", kind), "read",
                                      possible(call, "read", kind), "edit", possible(call, "update", kind), "create",
                                      possible(call, "create", kind), "remove", possible(call, "delete", kind)));
    }
    call_reply(call, json_pack("{s:s, s:o, s:O, s:s, s:I}", "user", call->caller.user, "acl", acl, "roles",
                               call->caller.roles, "motd",
                               settings->message_of_the_day != NULL ? settings->message_of_the_day : "", "idle_timeout",
                               (json_int_t)settings->web_idle_ms));
}

/* The one table of routes (R1, R2). */
#include "base/mem.h"
#include "protocols/web/web_priv.h"

#include <string.h>

static const struct web_route routes[] = {
    /* method, path, who, rpc, then, verb, shape, begin, finish, failed */
    {"GET", "/webapi/ping", WEB_ANONYMOUS, "cluster.info", NULL, "ask what this proxy is", WEB_API, NULL,
     web_ping_finish, NULL},
    {"GET", "/webapi/find", WEB_ANONYMOUS, "cluster.info", NULL, "ask what this proxy is", WEB_API, NULL,
     web_find_finish, NULL},
    {"POST", "/webapi/mfa/login/begin", WEB_ANONYMOUS, NULL, NULL, "ask which second factor to show; the same for all",
     WEB_API, NULL, web_mfa_begin_finish, NULL},
    {"POST", "/webapi/mfa/login/finish", WEB_ANONYMOUS, "login.password", NULL, "sign in for certificates", WEB_API,
     web_login_begin, web_login_finish, NULL},
    {"POST", "/webapi/ssh/certs", WEB_ANONYMOUS, "login.password", NULL, "sign in for certificates", WEB_API,
     web_login_begin, web_login_finish, NULL},
    {"POST", "/webapi/sessions/web", WEB_ANONYMOUS, "login.web", NULL, "sign in with the browser", WEB_API,
     web_session_begin, web_session_finish, NULL},
    {"DELETE", "/webapi/sessions/web", WEB_SESSION, "login.web_end", NULL, "sign out", WEB_API, NULL,
     web_session_end_finish, NULL},
    {"GET", "/webapi/sessions/web", WEB_SESSION, "account.sessions", NULL, "list one's own web sessions", WEB_API, NULL,
     web_items_finish, NULL},
    {"DELETE", "/webapi/sessions/web/:id", WEB_SESSION, "account.session_end", NULL, "sign out elsewhere", WEB_API,
     web_own_session_begin, web_done_finish, NULL},
    {"PUT", "/webapi/users/password", WEB_SESSION, "account.password", NULL, "change one's own password", WEB_API,
     web_own_password_begin, web_done_finish, NULL},
    {"GET", "/webapi/mfa/devices", WEB_SESSION, "account.devices", NULL, "list one's own devices", WEB_API, NULL,
     web_items_finish, NULL},
    {"POST", "/webapi/mfa/devices/new", WEB_SESSION, "account.device_new", NULL, "get the seed for a new device",
     WEB_API, NULL, web_device_new_finish, NULL},
    {"POST", "/webapi/mfa/devices", WEB_SESSION, "account.device_add", NULL, "add a device", WEB_API,
     web_device_add_begin, web_done_finish, NULL},
    {"PUT", "/webapi/mfa/devices/:id", WEB_SESSION, "account.device_rename", NULL, "rename a device", WEB_API,
     web_device_begin, web_done_finish, NULL},
    {"DELETE", "/webapi/mfa/devices/:id", WEB_SESSION, "account.device_rm", NULL, "remove a device", WEB_API,
     web_device_begin, web_done_finish, NULL},
    {"GET", "/webapi/users/password/token/:token", WEB_ANONYMOUS, "invite.get", NULL, "see the own invitation", WEB_API,
     web_token_begin, web_token_finish, NULL},
    {"PUT", "/webapi/users/password/token", WEB_ANONYMOUS, "invite.finish", NULL, "accept the own invitation", WEB_API,
     web_token_put_begin, web_token_put_finish, NULL},
    {"POST", "/webapi/host/credentials", WEB_ANONYMOUS, "host.join", NULL, "join a host with a token", WEB_API,
     web_join_begin, web_join_finish, NULL},
    {"GET", "/webapi/auth/export", WEB_ANONYMOUS, "cluster.cas", NULL, "fetch the public CA certificates", WEB_API,
     web_export_begin, web_export_finish, NULL},
    {"GET", "/webapi/sites", WEB_SESSION, "user.status", NULL, "list clusters", WEB_API, NULL, web_sites_finish, NULL},
    {"GET", "/webapi/motd", WEB_ANONYMOUS, "cluster.info", NULL, "read the message of the day", WEB_API, NULL,
     web_motd_finish, NULL},
    {"GET", "/webapi/sites/:cluster/context", WEB_SESSION, "user.context", NULL, "see what one may do", WEB_API,
     web_context_begin, web_context_finish, NULL},
    {"GET", "/webapi/sites/:cluster/nodes", WEB_SESSION, "nodes.list", NULL, "list nodes", WEB_API, web_nodes_begin,
     web_nodes_finish, NULL},
    {"GET", "/webapi/sites/:cluster/kubernetes", WEB_SESSION, "kube.list", NULL, "list Kubernetes clusters", WEB_API,
     web_nodes_begin, web_kubernetes_finish, NULL},
    {"POST", "/webapi/sites/:cluster/kubeconfig", WEB_SESSION, "kube.certs", NULL,
     "take a certificate for one Kubernetes cluster", WEB_API, web_kubeconfig_begin, web_kubeconfig_finish, NULL},
    {"GET", "/webapi/sites/:cluster/events/search", WEB_SESSION, "audit.list", NULL, "search the audit log", WEB_API,
     web_events_begin, web_events_finish, NULL},
    {"GET", "/webapi/sites/:cluster/events/search/sessions", WEB_SESSION, "recordings.list", NULL,
     "list sessions that are over", WEB_API, web_ended_begin, web_ended_finish, NULL},
    {"GET", "/webapi/sites/:cluster/sessions", WEB_SESSION, "sessions.list", NULL, "list running sessions", WEB_API,
     web_running_begin, web_running_finish, NULL},
    {"DELETE", "/webapi/sites/:cluster/sessions/:sid", WEB_SESSION, "sessions.end", NULL, "end a running session",
     WEB_API, web_running_end_begin, web_done_finish, NULL},
    {"GET", "/webapi/sites/:cluster/sessions/:sid/watch", WEB_SESSION, "sessions.watch", NULL,
     "watch a running session", WEB_API, web_watch_begin, web_stream_finish, NULL},
    {"GET", "/webapi/sites/:cluster/sessions/:sid/stream", WEB_SESSION, "recordings.read", NULL, "play a recording",
     WEB_API, web_stream_begin, web_stream_finish, NULL},
    {"GET", "/webapi/sites/:cluster/connect", WEB_SESSION, "term.connect", NULL, "open a terminal", WEB_SOCKET, NULL,
     NULL, NULL},
    {"GET", "/webapi/sites/:cluster/connect/ws", WEB_SESSION, "term.connect", NULL, "open a terminal", WEB_SOCKET, NULL,
     NULL, NULL},
    {"POST", "/webapi/mfa/session", WEB_SESSION, "mfa.session", NULL, "give a one-time code for one session", WEB_API,
     web_mfa_session_begin, web_mfa_session_finish, NULL},
    {"GET", "/webapi/users", WEB_SESSION, "resources.get", NULL, "list users", WEB_API, web_users_begin,
     web_users_finish, NULL},
    {"GET", "/webapi/roles", WEB_SESSION, "resources.get", NULL, "list roles", WEB_API, web_roles_begin,
     web_roles_finish, NULL},
    {"POST", "/webapi/users", WEB_SESSION, "users.add", NULL, "invite a user", WEB_API, web_user_add_begin,
     web_link_finish, NULL},
    {"PUT", "/webapi/users", WEB_SESSION, "users.update", NULL, "change a user", WEB_API, web_user_set_begin,
     web_done_finish, NULL},
    {"POST", "/webapi/users/password/token", WEB_SESSION, "users.reset", NULL, "reset a user's sign-in", WEB_API,
     web_user_reset_begin, web_link_finish, NULL},
    {"DELETE", "/webapi/users/:name", WEB_SESSION, "resources.rm", NULL, "delete a user", WEB_API, web_user_rm_begin,
     web_done_finish, NULL},
    {"POST", "/webapi/roles/check", WEB_SESSION, "user.status", NULL, "have a role's text checked", WEB_LARGE, NULL,
     web_role_check_finish, NULL},
    {"POST", "/webapi/roles", WEB_SESSION, "user.status", "resources.put", "create a role", WEB_LARGE, NULL,
     web_role_add_finish, NULL},
    {"PUT", "/webapi/roles/:name", WEB_SESSION, "user.status", "resources.put", "change a role", WEB_LARGE, NULL,
     web_role_set_finish, NULL},
    {"DELETE", "/webapi/roles/:name", WEB_SESSION, "resources.rm", NULL, "delete a role", WEB_API, web_role_rm_begin,
     web_done_finish, NULL},
    {"GET", "/webapi/sites/:cluster/access/reach", WEB_SESSION, "access.reach", NULL, "see what a user or role reaches",
     WEB_API, web_reach_begin, web_pass_finish, NULL},
    {"GET", "/webapi/sites/:cluster/access/explain", WEB_SESSION, "access.explain", NULL,
     "see why somebody may or may not", WEB_API, web_explain_begin, web_pass_finish, NULL},
    {"GET", "/webapi/tokens", WEB_SESSION, "resources.get", NULL, "list join tokens", WEB_API, web_tokens_begin,
     web_items_finish, NULL},
    {"POST", "/webapi/token", WEB_SESSION, "tokens.add", NULL, "make a join token", WEB_API, web_token_add_begin,
     web_token_add_finish, NULL},
    {"POST", "/webapi/tokens", WEB_SESSION, "tokens.add", NULL, "make a join token", WEB_API, web_token_add_begin,
     web_token_add_finish, NULL},
    {"GET", "/webapi/token/:token/hosts", WEB_SESSION, "tokens.joined", NULL, "see who joined with the own token",
     WEB_API, web_joined_begin, web_items_of_hosts_finish, NULL},
    {"GET", "/scripts/:token/install-node.sh", WEB_ANONYMOUS, "tokens.script", NULL,
     "fetch the script that joins a server", WEB_API, web_script_begin, web_script_finish, web_script_failed},
    {"GET", "/scripts/:token/:file", WEB_ANONYMOUS, "tokens.script", NULL,
     "download the programs for a server that joins", WEB_API, web_script_begin, web_program_finish, web_script_failed},
    {"DELETE", "/webapi/tokens/:name", WEB_SESSION, "resources.rm", NULL, "delete a join token", WEB_API,
     web_token_rm_begin, web_done_finish, NULL},
    {"GET", "/webapi/locks", WEB_SESSION, "resources.get", NULL, "list locks", WEB_API, web_locks_begin,
     web_items_finish, NULL},
    {"POST", "/webapi/locks", WEB_SESSION, "locks.add", NULL, "lock a user, role or host", WEB_API, web_lock_add_begin,
     web_done_finish, NULL},
    {"DELETE", "/webapi/locks/:name", WEB_SESSION, "resources.rm", NULL, "unlock", WEB_API, web_lock_rm_begin,
     web_done_finish, NULL},
    {"GET", "/webapi/sites/:cluster/events/checkpoint", WEB_SESSION, "audit.checkpoint", NULL,
     "see how far the audit log is signed", WEB_API, web_context_begin, web_checkpoint_finish, NULL},
    {"POST", "/webapi/rpc/:method", WEB_CERT, ":method", NULL, "what the method says", WEB_API, web_rpc_begin, NULL,
     NULL},
    {"GET", "/", WEB_ANONYMOUS, NULL, NULL, "be sent to the start page", WEB_PAGE, NULL, web_root_finish, NULL},
    {"GET", "/web", WEB_ANONYMOUS, NULL, NULL, "load the application", WEB_PAGE, NULL, web_app_finish, NULL},
    {"GET", "/web/assets/:file", WEB_ANONYMOUS, NULL, NULL, "load the application", WEB_PAGE, NULL, web_asset_finish,
     NULL},
    {"GET", "/web/style.css", WEB_ANONYMOUS, NULL, NULL, "read the style sheet", WEB_PAGE, NULL, web_style_finish,
     NULL},
    {"GET", "/web/invite/:token", WEB_ANONYMOUS, "invite.get", NULL, "see the own invitation", WEB_PAGE,
     web_token_begin, web_invite_finish, web_invite_failed},
    {"GET", "/web/reset/:token", WEB_ANONYMOUS, "invite.get", NULL, "see the own reset", WEB_PAGE, web_token_begin,
     web_invite_finish, web_invite_failed},
    {"POST", "/web/invite/:token", WEB_ANONYMOUS, "invite.confirm", "invite.get", "confirm the own second factor",
     WEB_FORM, web_code_begin, web_code_finish, web_code_failed},
    {"POST", "/web/reset/:token", WEB_ANONYMOUS, "invite.confirm", "invite.get", "confirm the own second factor",
     WEB_FORM, web_code_begin, web_code_finish, web_code_failed},
    {"GET", "/web/invite/:token/password", WEB_ANONYMOUS, "invite.get", NULL, "see the own invitation", WEB_PAGE,
     web_token_begin, web_invite_finish, web_invite_failed},
    {"GET", "/web/reset/:token/password", WEB_ANONYMOUS, "invite.get", NULL, "see the own reset", WEB_PAGE,
     web_token_begin, web_invite_finish, web_invite_failed},
    {"POST", "/web/invite/:token/password", WEB_ANONYMOUS, "invite.finish", "invite.get", "accept the own invitation",
     WEB_FORM, web_password_begin, web_password_finish, web_password_failed},
    {"POST", "/web/reset/:token/password", WEB_ANONYMOUS, "invite.finish", "invite.get", "finish the own reset",
     WEB_FORM, web_password_begin, web_password_finish, web_password_failed},
    {"GET", "/web/player/:sid", WEB_ANONYMOUS, NULL, NULL, "load the player", WEB_PAGE, NULL, web_player_finish, NULL},
    {"GET", "/web/:page", WEB_ANONYMOUS, NULL, NULL, "load the application", WEB_PAGE, NULL, web_app_finish, NULL},
    {"GET", "/web/:page/:item", WEB_ANONYMOUS, NULL, NULL, "load the application", WEB_PAGE, NULL, web_app_finish,
     NULL},
};

const struct web_route *web_routes(size_t *ret_count)
{
    *ret_count = sizeof(routes) / sizeof(routes[0]);
    return routes;
}

/* Every method with U in docs/protocol-rpc.md. Auth checks again; this keeps the rest of its methods out of reach. */
bool web_route_is_user_method(const char *method)
{
    static const char *const methods[] = {
        "cluster.info",   "cluster.cas",   "nodes.list",   "user.status",  "recordings.list", "recordings.read",
        "sessions.list",  "sessions.end",  "users.add",    "users.reset",  "users.update",    "tokens.add",
        "resources.get",  "resources.put", "resources.rm", "locks.add",    "audit.list",      "audit.checkpoint",
        "cluster.status", "kube.list",     "ca.rotate",    "mfa.required", "mfa.session",
    };
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(methods[i], method) == 0)
            return true;
    }
    return false;
}

/* starts[i], lengths[i]: where the pattern's parameters are in path. */
struct found {
    const char *starts[WEB_PARAMS_MAX];
    size_t lengths[WEB_PARAMS_MAX];
    size_t count;
};

static bool matches(const char *pattern, const char *path, struct found *found)
{
    found->count = 0;
    while (*pattern) {
        /* Both are at a slash, or the path is none or at its end. */
        if (pattern[1] == ':' && *path == '/') {
            size_t given = strcspn(path + 1, "/");
            if (given == 0 || found->count == WEB_PARAMS_MAX)
                return false;
            found->starts[found->count] = path + 1;
            found->lengths[found->count++] = given;
            pattern += strcspn(pattern + 1, "/") + 1;
            path += given + 1;
            continue;
        }
        do {
            if (*pattern++ != *path++)
                return false;
        } while (*pattern && *pattern != '/');
        if (*path != '\0' && *path != '/')
            return false;
    }
    return *path == '\0';
}

const struct web_route *web_route_find(const char *method, const char *path, char *params[WEB_PARAMS_MAX],
                                       bool *ret_allowed)
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    if (strncmp(path, "/v1/", 4) == 0)
        path += 3;
    *ret_allowed = false;
    for (size_t n = 0; params && n < WEB_PARAMS_MAX; n++)
        params[n] = NULL;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        struct found found;
        if (!matches(routes[i].path, path, &found))
            continue;
        if (strcmp(routes[i].method, wanted) == 0) {
            for (size_t n = 0; params && n < found.count; n++)
                params[n] = mem_strndup(found.starts[n], found.lengths[n]);
            return &routes[i];
        }
        *ret_allowed = true;
    }
    return NULL;
}

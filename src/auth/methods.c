/* The table of docs/protocol-rpc.md: no row, no method. */
#include "auth/account.h"
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth/running.h"

#include <string.h>

#define A WHO_ANONYMOUS
#define U WHO_USER
#define H WHO_HOST
#define P WHO_PROXY
#define L WHO_LOCAL
#define VIA_P WHO_VIA_PROXY
#define ONE WHO_ONE_TARGET

/* name, who, right, verb, kind, limited by address when anonymous, changes something (needs the audit log), handler */
const struct method methods[] = {
    {"cluster.info", A | U | H | P | L, RIGHT_NONE, "info", "", false, false, do_cluster_info},
    {"cluster.cas", A | U | H | P | L, RIGHT_NONE, "info", "", false, false, do_cluster_cas},
    {"cluster.status", U | L, RIGHT_RULE, "read", "cluster_name", false, false, do_cluster_status},
    {"ca.rotate", U | L, RIGHT_RULE, "rotate", "cert_authority", false, true, do_ca_rotate},
    {"login.password", A, RIGHT_NONE, "login", "", true, true, do_login_password},
    {"login.web", A, RIGHT_NONE, "login", "", true, true, do_login_web},
    {"login.web_end", U, RIGHT_SELF, "logout", "", false, false, do_login_web_end},
    {"invite.get", A, RIGHT_NONE, "enrol", "", true, false, do_invite_get},
    {"invite.confirm", A, RIGHT_NONE, "enrol", "", true, true, do_invite_confirm},
    {"invite.finish", A, RIGHT_NONE, "enrol", "", true, true, do_invite_finish},
    {"host.join", A, RIGHT_NONE, "join", "", true, true, do_host_join},
    {"host.join_local", H | WHO_LOCAL_AGENT, RIGHT_SELF, "join", "", false, true, do_host_join_local},
    {"host.renew", H, RIGHT_SELF, "renew", "", false, true, do_host_renew},
    {"host.heartbeat", H, RIGHT_SELF, "heartbeat", "", false, false, do_host_heartbeat},
    {"proxy.cert", P, RIGHT_NONE, "serve", "", false, false, do_proxy_cert},
    {"tunnel.up", H | VIA_P, RIGHT_SELF, "tunnel", "", false, false, do_tunnel_up},
    {"tunnel.down", P, RIGHT_NONE, "tunnel", "", false, false, do_tunnel_down},
    {"mfa.required", U, RIGHT_SELF, "ask about", "", false, false, do_mfa_required},
    {"mfa.session", U, RIGHT_SELF, "give a code", "", false, true, do_mfa_session},
    {"ssh.connect", U | ONE | VIA_P, RIGHT_HANDLER, "connect", "node", false, true, do_ssh_connect},
    {"term.connect", U | VIA_P, RIGHT_HANDLER, "connect", "node", false, true, do_term_connect},
    {"kube.connect", U | ONE | VIA_P, RIGHT_HANDLER, "connect", "kube_cluster", false, true, do_kube_connect},
    {"kube.certs", U | VIA_P, RIGHT_HANDLER, "connect", "kube_cluster", false, true, do_kube_certs},
    {"kube.list", U | L, RIGHT_RULE, "list", "kube_cluster", false, false, do_kube_list},
    {"session.closed", P, RIGHT_NONE, "report", "", false, false, do_session_closed},
    {"session.resume", P, RIGHT_NONE, "report", "", false, false, do_session_resume},
    {"session.auth", H, RIGHT_REPORT, "report", "", false, false, do_session_auth},
    {"session.start", H, RIGHT_REPORT, "report", "", false, true, do_session_start},
    {"session.event", H, RIGHT_REPORT, "report", "", false, false, do_session_event},
    {"session.events", H, RIGHT_REPORT, "report", "", false, false, do_session_events},
    {"recording.append", H, RIGHT_SELF, "record", "", false, false, do_recording_append},
    {"session.end", H, RIGHT_REPORT, "report", "", false, false, do_session_end},
    {"nodes.list", U | L, RIGHT_RULE, "list", "node", false, false, do_nodes_list},
    {"user.context", U, RIGHT_SELF, "status", "", false, false, do_user_context},
    {"account.password", U, RIGHT_SELF, "change", "", false, true, do_account_password},
    {"account.devices", U, RIGHT_SELF, "list", "", false, false, do_account_devices},
    {"account.device_new", U, RIGHT_SELF, "add", "", false, true, do_account_device_new},
    {"account.device_add", U, RIGHT_SELF, "add", "", false, true, do_account_device_add},
    {"account.device_rename", U, RIGHT_SELF, "rename", "", false, true, do_account_device_rename},
    {"account.device_rm", U, RIGHT_SELF, "remove", "", false, true, do_account_device_rm},
    {"account.sessions", U, RIGHT_SELF, "list", "", false, false, do_account_sessions},
    {"account.session_end", U, RIGHT_SELF, "logout", "", false, true, do_account_session_end},
    {"user.status", U, RIGHT_SELF, "status", "", false, false, do_user_status},
    {"recordings.list", U | L, RIGHT_POSSIBLE, "list", "session", false, false, do_recordings_list},
    {"recordings.read", U | L, RIGHT_POSSIBLE, "read", "session", false, true, do_recordings_read},
    {"sessions.list", U | L, RIGHT_RULE, "list", "ssh_session", false, false, do_sessions_list},
    {"sessions.end", U | L, RIGHT_HANDLER, "delete", "ssh_session", false, true, do_sessions_end},
    {"sessions.watch", U | L, RIGHT_HANDLER, "watch", "session", false, true, do_sessions_watch},
    {"users.add", U | L, RIGHT_POSSIBLE, "create", "user", false, true, do_users_add},
    {"users.reset", U | L, RIGHT_POSSIBLE, "update", "user", false, true, do_users_reset},
    {"users.update", U | L, RIGHT_POSSIBLE, "update", "user", false, true, do_users_update},
    {"tokens.add", U | L, RIGHT_RULE, "create", "token", false, true, do_tokens_add},
    {"tokens.script", A, RIGHT_NONE, "enrol", "", true, false, do_tokens_script},
    {"tokens.joined", U, RIGHT_RULE, "create", "token", false, false, do_tokens_joined},
    {"resources.get", U | L, RIGHT_HANDLER, "read", "*", false, false, do_resources_get},
    {"resources.put", U | L, RIGHT_HANDLER, "update", "*", false, true, do_resources_put},
    {"resources.rm", U | L, RIGHT_HANDLER, "delete", "*", false, true, do_resources_rm},
    {"locks.add", U | L, RIGHT_RULE, "create", "lock", false, true, do_locks_add},
    {"access.explain", U | L, RIGHT_HANDLER, "read", "user", false, false, do_access_explain},
    {"access.reach", U | L, RIGHT_HANDLER, "read", "role", false, false, do_access_reach},
    {"certs.user", L, RIGHT_NONE, "sign", "", false, true, do_certs_user},
    {"certs.host", L, RIGHT_NONE, "sign", "", false, true, do_certs_host},
    {"audit.list", U | L, RIGHT_RULE, "list", "event", false, false, do_audit_list},
    {"audit.checkpoint", U | L, RIGHT_RULE, "list", "event", false, false, do_audit_checkpoint},
    {NULL, 0, RIGHT_NONE, NULL, NULL, false, false, NULL},
};

const struct method *method_find(const char *name)
{
    for (const struct method *method = methods; method->name != NULL; method++) {
        if (strcmp(method->name, name) == 0) {
            return method;
        }
    }
    return NULL;
}

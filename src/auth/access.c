/* ssh.connect and term.connect: finds the node, decides, puts it on record, and only then signs the grant. */
#include "auth/access.h"
#include "auth/audit.h"
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/live.h"
#include "auth/mfa.h"
#include "auth/node_rights.h"

#include <stdlib.h>
#include <string.h>

struct connect {
    struct call *call;
    char sid[UUID_TEXT_SIZE];
    char *host_id;
    char *hostname;
    json_t *grant;
};

static void connect_free(struct connect *connect)
{
    mem_free(connect->host_id);
    mem_free(connect->hostname);
    json_decref(connect->grant);
    mem_free(connect);
}

/* ret_lock: what locks a login that would be among them. */
static json_t *grant_logins(const struct call *call, const struct host *host, const struct node_want *want,
                            struct rbac_decision *decision, bool *ret_offered, struct tp_error *ret_lock)
{
    struct auth *auth = call->auth;
    struct rbac_target target;
    hosts_target(host, &target);
    struct rbac_access access = mfa_access(auth, mfa_device_for(&call->caller, host->id, NULL));
    size_t count = 0;
    struct rbac_login *logins = rbac_logins(call->caller.set, &target, &access, &count);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        bool wanted = want->login == NULL || strcmp(want->login, logins[i].name) == 0;
        if (wanted && caller_login_locked(auth, logins[i].name, ret_lock) == TP_OK) {
            json_array_append_new(
                list, json_pack("{s:s, s:b}", "name", logins[i].name, "forward_agent", logins[i].forward_agent));
        }
    }
    *ret_offered = json_array_size(list) > 0;
    if (count == 0 && rbac_access(call->caller.set, &target, &access, decision) == TP_OK) {
        decision->text[0] = '\0'; /* labels let him in, but no login is left */
    }
    struct rbac_decision of_login = {0};
    access.login = want->login;
    if (want->login != NULL && rbac_access(call->caller.set, &target, &access, &of_login) != TP_OK &&
        of_login.reason == RBAC_MFA_NEEDED) {
        *decision = of_login; /* others may need no code, but this one does */
    }
    mem_free(logins);
    return list;
}

json_t *access_locking(const struct rbac_options *options)
{
    return json_string(options->locking_mode == ROLE_LOCK_STRICT ? "strict" : "best_effort");
}

static json_t *grant_json(const struct call *call, const struct connect *connect, const struct node_want *want,
                          const struct rbac_options *options, json_t *logins)
{
    struct auth *auth = call->auth;
    const struct caller *caller = &call->caller;
    int64_t now_ms = clock_wall_ms();
    const char *record = !auth->settings.record                      ? "off"
                         : options->record_ssh == ROLE_RECORD_STRICT ? "strict"
                                                                     : "best_effort";
    json_t *rights = json_pack("{s:b, s:b, s:b, s:s, s:I, s:b, s:I}", "port_forwarding",
                               options->port_forward_local || options->port_forward_remote, "x11", 0, "file_copy",
                               options->ssh_file_copy, "record", record, "idle_timeout",
                               (json_int_t)options->client_idle_timeout_ms, "disconnect_expired_cert",
                               options->disconnect_expired_cert, "max_sessions", (json_int_t)options->max_sessions);
    json_object_set_new(rights, "locking_mode", access_locking(options));
    json_object_set_new(rights, "record_packed", json_true());
    json_object_set_new(rights, "port_forwarding_local", json_boolean(options->port_forward_local));
    json_object_set_new(rights, "port_forwarding_remote", json_boolean(options->port_forward_remote));
    const char *device = mfa_device_for(caller, connect->host_id, NULL);
    return json_pack("{s:i, s:s, s:s, s:O, s:O, s:s, s:s, s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:s*, s:s*}", "v", 1,
                     "sid", connect->sid, "user", caller->user, "roles", caller->roles, "traits", caller->traits,
                     "cluster", auth->settings.cluster, "host_id", connect->host_id, "service", want->service, "logins",
                     logins, "options", rights, "client_addr", caller->addr, "issued", doc_time(now_ms), "expires",
                     doc_time(now_ms + GRANT_SECONDS * 1000), "cert_not_after", doc_time(caller->not_after * 1000),
                     "mfa_device", device, "login_device", caller->login_device);
}

/* Between the decision and now a lock may have come: the live entry stands since the decision, so whatever cut it shows
 * here. */
enum tp_err access_grant(struct auth *auth, const char *sid, const json_t *grant, const struct tp_error *failure,
                         json_t **ret_result, struct tp_error *error)
{
    struct live *live = map_get(auth->live, sid);
    struct buf bytes;
    enum tp_err err = TP_OK;
    buf_init(&bytes, 1024 * 1024);
    if (failure != NULL) {
        err = err_set(error, failure->code, "%s", failure->text);
    } else if (live == NULL || live->cut) {
        err = err_set(error, TP_DENIED, "access was taken away while you connected");
    } else {
        err = grant_sign(auth->grant_key, grant, &bytes);
        if (err != TP_OK) {
            err = err_set(error, err, "the grant could not be signed");
        }
    }
    if (err == TP_OK) {
        char *text = enc_base64(buf_head(&bytes), buf_size(&bytes));
        *ret_result = json_pack("{s:s, s:s}", "sid", sid, "grant", text);
        mem_free(text);
    } else if (live != NULL) {
        live->closed = true;
        live->closed_ms = 0;
    }
    buf_free(&bytes);
    return err;
}

static void connect_recorded(void *ctx, const struct tp_error *failure)
{
    struct connect *connect = ctx;
    struct call *call = connect->call;
    struct tp_error error = {0};
    json_t *result = NULL;
    if (access_grant(call->auth, connect->sid, connect->grant, failure, &result, &error) != TP_OK) {
        connect_free(connect);
        call_fail(call, &error);
        return;
    }
    json_object_set_new(result, "host_id", json_string(connect->host_id));
    json_object_set_new(result, "hostname", json_string(connect->hostname));
    json_object_set_new(result, "not_after", json_integer(call->caller.not_after));
    connect_free(connect);
    call_reply(call, result);
}

static void refuse_connect(struct call *call, const char *target, const struct host *host, const struct tp_error *error,
                           const struct rbac_decision *decision)
{
    json_t *event = call_event(call, "auth", false);
    json_object_set_new(event, "error", json_string(error->text));
    json_object_set_new(event, "proto", json_string("ssh"));
    json_object_set_new(event, "target", json_string(target));
    if (host != NULL) {
        json_object_set_new(event, "server_id", json_string(host->id));
        json_object_set_new(event, "server_hostname", json_string(host->name));
    }
    if (decision != NULL && decision->reason != RBAC_GRANTED) {
        json_object_set_new(event, "reason", json_string(rbac_reason_name(decision->reason)));
        json_object_set_new(event, "role", json_string(decision->role));
        json_object_set_new(event, "detail", json_string(decision->detail));
    }
    call_fail_audited(call, event, error);
}

static json_t *connect_event(const struct call *call, const struct connect *connect, const struct host *host)
{
    json_t *event = call_event(call, "session.connect", true);
    json_object_set_new(event, "sid", json_string(connect->sid));
    json_object_set_new(event, "server_id", json_string(host->id));
    json_object_set_new(event, "server_hostname", json_string(host->name));
    json_object_set_new(event, "proto", json_string("ssh"));
    json_object_set_new(event, "namespace", json_string("default"));
    json_object_set(event, "user_roles", call->caller.roles);
    const char *device = mfa_device_for(&call->caller, host->id, NULL);
    if (device != NULL) {
        json_object_set_new(event, "with_mfa", json_string(device));
    }
    return event;
}

/* As many as max_connections allows, terminals and SSH together. */
static bool over_limit(const struct call *call, const struct rbac_options *options)
{
    size_t open = sessions_count_user(call->auth, call->caller.user, "ssh") +
                  sessions_count_user(call->auth, call->caller.user, "term");
    return options->max_connections > 0 && open >= (size_t)options->max_connections;
}

static void refuse_limit(struct call *call, const struct rbac_options *options)
{
    struct tp_error error = {0};
    json_t *event = call_event(call, "session.rejected", false);
    json_object_set_new(event, "reason", json_string("max_connections"));
    json_object_set_new(event, "max", json_integer(options->max_connections));
    (void)err_set(&error, TP_LIMIT, "you have %lld connection%s open, as many as your roles allow; close one first",
                  (long long)options->max_connections, options->max_connections == 1 ? "" : "s");
    call_fail_audited(call, event, &error);
}

static void grant_node(struct call *call, const struct node_want *want, const struct host *host,
                       const struct rbac_options *options, json_t *logins)
{
    struct auth *auth = call->auth;
    struct connect *connect = mem_alloc(sizeof *connect);
    bool terminal = strcmp(want->service, "term") == 0;
    crypt_uuid(connect->sid);
    connect->call = call;
    connect->host_id = mem_strdup(host->id);
    connect->hostname = mem_strdup(host->name);
    connect->grant = grant_json(call, connect, want, options, logins);
    if (terminal) {
        json_object_set_new(connect->grant, "attach", json_string(connect->sid));
        json_object_set_new(connect->grant, "file", json_boolean(want->file_copy));
        json_object_set_new(connect->grant, "web", json_string(call->caller.web_key));
    }
    json_t *rights = node_rights_of_grant(connect->grant);
    (void)sessions_add(auth, call,
                       &(struct live_new){.sid = connect->sid,
                                          .service = want->service,
                                          .target = host->name,
                                          .host_id = host->id,
                                          .login = want->login,
                                          .mfa_device = mfa_device_for(&call->caller, host->id, NULL),
                                          .grant = terminal ? connect->grant : NULL,
                                          .rights = rights,
                                          .cut_at_expiry = terminal || options->disconnect_expired_cert});
    json_decref(rights);
    audit_emit(auth, connect_event(call, connect, host), connect_recorded, connect);
}

void access_node(struct call *call, const struct node_want *want)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    struct rbac_decision decision = {0};
    struct host *host = NULL;
    if (strlen(want->target) > 253) {
        call_fail_text(call, TP_INVALID, "the name of the server is too long");
        return;
    }
    if (caller_opens(&call->caller, ROLE_NODE, NULL, &error) != TP_OK ||
        access_find_node(call, want->target, &host, &error) != TP_OK) {
        refuse_connect(call, want->target, NULL, &error, NULL);
        return;
    }
    if (caller_opens(&call->caller, ROLE_NODE, host->id, &error) != TP_OK) {
        refuse_connect(call, want->target, host, &error, NULL);
        return;
    }
    bool offered = false;
    struct rbac_options options;
    struct tp_error lock = {0};
    json_t *logins = grant_logins(call, host, want, &decision, &offered, &lock);
    rbac_merge_options(call->caller.set, &auth->settings.cluster_options, &options);
    if (!offered && decision.reason == RBAC_MFA_NEEDED) {
        (void)!mfa_refusal(&decision, ROLE_NODE, &error);
    } else if (!offered && lock.code != TP_OK) {
        error = lock;
    } else if (!offered) {
        const char *text = decision.text[0] != '\0' && !decision.allowed
                               ? decision.text
                               : "access denied: none of your roles gives you a login on this server";
        (void)err_set(&error, TP_DENIED, "%s",
                      want->login != NULL && decision.text[0] == '\0' && !decision.allowed
                          ? "access denied: your roles do not give you this login here"
                          : text);
    } else if (caller_locked(auth, NULL, NULL, host->id, &error) != TP_OK ||
               caller_alone(call->caller.set, call->caller.user, "ssh", &error) != TP_OK) {
        offered = false;
    } else if (host->tunnels == NULL) {
        (void)err_set(&error, TP_UNAVAILABLE, "%s is offline: its agent is not connected now", host->name);
        offered = false;
    } else if (want->file_copy && !options.ssh_file_copy) {
        (void)err_set(&error, TP_DENIED, "the roles do not allow file copy");
        offered = false;
    }
    if (!offered) {
        json_decref(logins);
        refuse_connect(call, want->target, host, &error, &decision);
    } else if (over_limit(call, &options)) {
        json_decref(logins);
        refuse_limit(call, &options);
    } else {
        grant_node(call, want, host, &options, logins);
    }
}

void do_ssh_connect(struct call *call)
{
    struct tp_error error = {0};
    struct node_want want = {.service = "ssh"};
    if (json_need_text(call->params, "target", &want.target, &error) != TP_OK) {
        call_fail(call, &error);
        return;
    }
    access_node(call, &want);
}

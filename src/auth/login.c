/*
 * Logins: password on the thread pool, then the one-time code, then certificates or a web session. Unknown user, wrong
 * password, wrong or used code, locked source and locked user take the same way through this file and end in one
 * sentence.
 */
#include "auth/audit.h"
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth/issue.h"
#include "auth/kube.h"
#include "auth/lane.h"
#include "auth/live.h"
#include "auth/lockout.h"
#include "auth/mfa.h"
#include "auth/websess.h"

#include <string.h>

#define AGENT_MAX 256

struct login {
    struct call *call;
    bool web;
    char *user;
    char *password;
    char *hash;   /* NULL: unknown user or no password; the check takes as long */
    bool matches; /* set on the thread pool */
};

static void login_free(struct login *login)
{
    mem_free(login->user);
    secret_free(login->password);
    secret_free(login->hash);
    mem_free(login);
}

/* The same for every cause, so that it tells a stranger nothing. */
static const char refusal[] =
    "invalid user name, password or one-time code; each code works once, so wait for the next "
    "one if you have just used this";

static void refuse(struct login *login, const char *reason)
{
    struct call *call = login->call;
    lockout_failed(call->auth->lockout, login->user, call->caller.ip, clock_mono_ms());
    json_t *event = call_event(call, "user.login", false);
    json_object_set_new(event, "user", json_string(login->user));
    json_object_set_new(event, "method", json_string("local"));
    json_object_set_new(event, "success", json_false());
    json_object_set_new(event, "error", json_string(reason));
    struct tp_error error = {.code = TP_DENIED};
    snprintf(error.text, sizeof error.text, "%s", refusal);
    login_free(login);
    call_fail_audited(call, event, &error);
}

/* What the browser calls itself, "" when that is unknown or not to be believed. */
static const char *agent_of(const struct call *call)
{
    const char *agent = json_get_text(call->params, "user_agent", "");
    return strlen(agent) <= AGENT_MAX ? agent : "";
}

static json_t *login_event(const struct call *call, const char *user)
{
    json_t *event = call_event(call, "user.login", true);
    json_object_set_new(event, "user", json_string(user));
    json_object_set_new(event, "method", json_string("local"));
    json_object_set_new(event, "success", json_true());
    if (agent_of(call)[0] != '\0') {
        json_object_set_new(event, "user_agent", json_string(agent_of(call)));
    }
    return event;
}

static void finish_certs(struct login *login, const struct mfa_device *device, json_t *event)
{
    struct call *call = login->call;
    struct issue_user want = {.name = login->user,
                              .roles = call->caller.roles,
                              .traits = call->caller.traits,
                              .ip = call->caller.ip,
                              .ttl_ms = json_get_int(call->params, "ttl", 0),
                              .tls_pub = json_get_text(call->params, "tls_pub_key", ""),
                              .ssh_pub = json_get_text(call->params, "ssh_pub_key", ""),
                              .device = device->id};
    json_t *result = NULL;
    json_t *created = NULL;
    struct tp_error error = {0};
    enum tp_err err = issue_user_certs(call->auth, &want, &result, &created, &error);
    login_free(login);
    audit_emit(call->auth, event, NULL, NULL);
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    call_reply_audited(call, created, result);
}

static void finish_web(struct login *login, const struct mfa_device *device, json_t *event)
{
    struct call *call = login->call;
    json_t *result = NULL;
    struct tp_error error = {0};
    int64_t ttl = issue_ttl(call->auth, call->caller.set, 0);
    struct websess_from from = {.ip = call->caller.ip, .agent = agent_of(call), .device = device->id};
    enum tp_err err =
        websess_make(call->auth, login->user, call->caller.roles, call->caller.traits, &from, ttl, &result, &error);
    login_free(login);
    if (err != TP_OK) {
        audit_emit(call->auth, event, NULL, NULL);
        call_fail(call, &error);
        return;
    }
    json_object_set_new(result, "idle_timeout", json_integer((json_int_t)call->auth->settings.web_idle_ms));
    call_reply_audited(call, event, result);
}

static void password_work(void *ctx)
{
    struct login *login = ctx;
    login->matches = password_verify(login->password, login->hash);
}

static void password_done(void *ctx)
{
    struct login *login = ctx;
    struct call *call = login->call;
    struct auth *auth = call->auth;
    if (auth->stopping) {
        login_free(login);
        call_fail_text(call, TP_UNAVAILABLE, "the auth process is stopping");
        return;
    }
    json_t *doc = NULL;
    struct tp_error error = {0};
    bool known = false;
    if (doc_find(auth->secrets, "/login/", login->user, &doc, NULL, &error) == TP_OK) {
        known = json_list_has(json_object_get(doc, "known"), call->caller.ip);
        json_decref(doc);
    }
    bool open = lockout_open(auth->lockout, login->user, call->caller.ip, known, clock_mono_ms());
    if (!login->matches || !open) {
        refuse(login, open ? "invalid credentials" : "too many failures from this source");
        return;
    }
    if (caller_become_user(auth, login->user, NULL, NULL, &call->caller, &error) != TP_OK) {
        refuse(login, error.text);
        return;
    }
    struct mfa_device device;
    const struct mfa_code code = {.user = login->user,
                                  .code = json_get_text(call->params, "otp_token", ""),
                                  .password_hash = login->hash,
                                  .ip = call->caller.ip};
    const char *wrong = mfa_use_code(auth, &code, &device);
    if (wrong != NULL) {
        refuse(login, wrong);
        return;
    }
    lockout_succeeded(auth->lockout, login->user, call->caller.ip);
    json_t *event = login_event(call, login->user);
    json_object_set_new(event, "mfa_device", mfa_device_json(&device));
    if (login->web) {
        finish_web(login, &device, event);
    } else {
        finish_certs(login, &device, event);
    }
}

static void login_start(struct call *call, bool web)
{
    struct tp_error error = {0};
    const char *user = NULL;
    const char *password = NULL;
    const char *code = NULL;
    if (!json_get_bool(call->auth->settings.conf, "local_auth", true)) {
        call_fail_text(call, TP_DENIED, "signing in with a password is switched off in this cluster");
        return;
    }
    enum tp_err err = json_need_text(call->params, "user", &user, &error);
    if (err == TP_OK) {
        err = json_need_text(call->params, "password", &password, &error);
    }
    if (err == TP_OK) {
        err = json_need_text(call->params, "otp_token", &code, &error);
    }
    if (err == TP_OK && !web) {
        const char *key = NULL;
        err = json_need_text(call->params, "ssh_pub_key", &key, &error);
        if (err == TP_OK) {
            err = json_need_text(call->params, "tls_pub_key", &key, &error);
        }
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    if (!role_name_valid(user) || strlen(password) > PASSWORD_MAX) {
        call_fail_text(call, TP_DENIED, "%s", refusal);
        return;
    }
    struct login *login = mem_alloc(sizeof *login);
    login->call = call;
    login->web = web;
    login->user = mem_strdup(user);
    login->password = mem_strdup(password);
    json_t *doc = NULL;
    if (doc_find(call->auth->secrets, "/login/", user, &doc, NULL, &error) == TP_OK) {
        const char *hash = json_get_text(doc, "hash", NULL);
        login->hash = hash != NULL ? mem_strdup(hash) : NULL;
        json_decref(doc);
    }
    if (lane_run(call->auth->hashing, NULL, password_work, password_done, login, &error) != TP_OK) {
        login_free(login);
        call_fail(call, &error);
    }
}

void do_login_password(struct call *call)
{
    login_start(call, false);
}

void do_login_web(struct call *call)
{
    login_start(call, true);
}

void do_login_web_end(struct call *call)
{
    if (call->caller.web_key == NULL) {
        call_fail_text(call, TP_INVALID, "this call is for web sessions");
        return;
    }
    sessions_cut_web(call->auth, call->caller.web_key, CLOSE_RIGHT_LOST, "you have signed out");
    websess_drop(call->auth, call->caller.web_key);
    call_reply(call, NULL);
}

void do_user_status(struct call *call)
{
    const struct caller *caller = &call->caller;
    int64_t ttl = 0;
    size_t count = 0;
    const char **logins = rbac_cert_logins(caller->set, issue_ttl(call->auth, caller->set, 0), &ttl, &count);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, json_string(logins[i]));
    }
    mem_free(logins);
    json_t *users = NULL;
    json_t *groups = NULL;
    struct rbac_options options;
    kube_subjects(call->auth, caller, &users, &groups);
    rbac_merge_options(caller->set, &call->auth->settings.cluster_options, &options);
    call_reply(call, json_pack("{s:s, s:O, s:O, s:o, s:o, s:b, s:o, s:o, s:s}", "user", caller->user, "roles",
                               caller->roles, "traits", caller->traits, "logins", list, "valid_until",
                               doc_time(caller->not_after * 1000), "kubernetes_enabled", 1, "kubernetes_users", users,
                               "kubernetes_groups", groups, "session_mfa", rbac_need_name(options.mfa_required)));
}

/*
 * A one-time code for one session: mfa.required says whether a target needs one, mfa.session takes it. Who has a certificate
 * gets a short one for that target; a web session is told in place. What either opens is decided at each connection anew
 * (access.c, kube_connect.c), with the device as part of the question.
 */
#include "auth/access.h"
#include "auth/audit.h"
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/kube.h"
#include "auth/live.h"
#include "auth/lockout.h"
#include "auth/mfa.h"
#include "auth/running.h"
#include "auth/websess.h"

#include <string.h>

#define SESSION_MS ((int64_t)60 * 1000) /* between the code and the connection it is for */

static const char refusal[] = "invalid or used one-time code";

/* ---- what was given ---- */

void mfa_given_free(struct mfa_given *given)
{
    mem_free(given->device);
    mem_free(given->node);
    mem_free(given->kube);
    mem_free(given->session);
    *given = (struct mfa_given){0};
}

static bool same(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

const char *mfa_device_for(const struct caller *caller, const char *node, const char *kube)
{
    return same(caller->mfa.node, node) || same(caller->mfa.kube, kube) ? caller->mfa.device : NULL;
}

struct rbac_access mfa_access(const struct auth *auth, const char *device)
{
    return (struct rbac_access){.mfa_verified = device != NULL,
                                .cluster_mfa = auth->settings.cluster_options.require_session_mfa};
}

enum tp_err mfa_refusal(const struct rbac_decision *decision, enum role_target kind, struct tp_error *error)
{
    if (decision->reason != RBAC_MFA_NEEDED) {
        return err_set(error, TP_DENIED, "%s", decision->text);
    }
    if (decision->hardware_key) {
        return err_set(error, TP_DENIED,
                       "access to %s denied: a hardware key is asked for here, and this cluster knows %s",
                       role_target_name(kind), "one-time codes only");
    }
    return err_set(error, TP_MFA_NEEDED, "%s; %s", decision->text,
                   kind == ROLE_KUBE ? "after `tport kube login` kubectl asks for a one-time code"
                                     : "`tport ssh` and the web terminal ask for a one-time code");
}

/* What watching asks of the caller. Any of his roles counts, whichever lets him watch: like opening, it shows him what a
 * server shows. */
static enum rbac_need watch_need(const struct call *call, bool *ret_hardware_key)
{
    struct rbac_options options;
    *ret_hardware_key = false;
    if (call->caller.who == WHO_LOCAL) {
        return RBAC_NEVER;
    }
    rbac_merge_options(call->caller.set, &call->auth->settings.cluster_options, &options);
    *ret_hardware_key = options.mfa_hardware_key;
    return options.mfa_required;
}

static enum tp_err watch_wants_key(struct tp_error *error)
{
    return err_set(
        error, TP_DENIED,
        "to watch a session you need a hardware key by your roles, and this cluster knows one-time codes only");
}

enum tp_err mfa_check_watch(const struct call *call, const char *sid, const char *begun, const char **ret_device,
                            struct tp_error *error)
{
    const struct caller *caller = &call->caller;
    bool hardware_key = false;
    const char *device = same(caller->mfa.session, sid) ? caller->mfa.device : begun;
    *ret_device = NULL;
    if (watch_need(call, &hardware_key) == RBAC_NEVER) {
        return TP_OK;
    }
    if (hardware_key) {
        return watch_wants_key(error);
    }
    if (device == NULL) {
        return err_set(
            error, TP_MFA_NEEDED,
            "to watch this session a one-time code is needed first; the page of the session in the browser asks "
            "for it");
    }
    const char *lost = caller_device_lost(call->auth, caller->user, device);
    if (lost != NULL) {
        return err_set(error, TP_DENIED, "%s", lost);
    }
    *ret_device = device;
    return TP_OK;
}

/* ---- the target ---- */

struct target {
    const struct call *call;
    const char *login; /* or NULL: whichever */
    const char *asked; /* as the caller named it */
    enum role_target kind;
    const struct host *node;
    struct live *live; /* a running session, to watch it */
    char *kube;
    bool seen;
    bool open; /* no code is needed */
    bool code; /* a code opens it */
    struct rbac_decision refusal;
};

/* Several hosts may serve one Kubernetes cluster; each is decided by its own labels, and one that is open is enough. */
static void judge(struct target *target, const struct rbac_target *place)
{
    struct rbac_access access = mfa_access(target->call->auth, "");
    struct rbac_decision decision = {0};
    access.login = target->login;
    target->seen = true;
    if (rbac_access(target->call->caller.set, place, &access, &decision) != TP_OK) {
        target->refusal = decision;
    } else if (decision.hardware_key) {
        target->refusal = decision;
        target->refusal.reason = RBAC_MFA_NEEDED;
    } else if (decision.mfa) {
        target->code = true;
    } else {
        target->open = true;
    }
}

static void look_at_cluster(void *ctx, struct host *host, const json_t *cluster)
{
    struct target *target = ctx;
    struct rbac_target place;
    struct rbac_label *labels = NULL;
    if (strcmp(kube_name(cluster), target->asked) != 0 || !hosts_current(host)) {
        return;
    }
    kube_target(cluster, &place, &labels);
    if (rbac_can_list(target->call->caller.set, &place)) {
        judge(target, &place);
    }
    mem_free(labels);
}

static void target_free(struct target *target)
{
    mem_free(target->kube);
}

static enum tp_err find_session(const struct call *call, const char *id, struct target *target, struct tp_error *error)
{
    bool hardware_key = false;
    enum tp_err err = watchers_find(call, map_get(call->auth->recordings, id), &target->live, error);
    if (err != TP_OK) {
        return err;
    }
    target->code = watch_need(call, &hardware_key) != RBAC_NEVER;
    target->open = !target->code;
    if (hardware_key) {
        target->refusal.reason = RBAC_MFA_NEEDED;
        return watch_wants_key(error);
    }
    return TP_OK;
}

/* What the params name, and whether a code opens it. Who may not list it learns nothing about it. */
static enum tp_err find_target(const struct call *call, struct target *ret_target, struct tp_error *error)
{
    const char *node = json_get_text(call->params, "target", NULL);
    const char *kube = json_get_text(call->params, "kube_cluster", NULL);
    struct target *target = ret_target;
    const char *session = json_get_text(call->params, "session", NULL);
    *target = (struct target){.call = call, .login = json_get_text(call->params, "login", NULL)};
    if ((node != NULL) + (kube != NULL) + (session != NULL) != 1) {
        return err_set(error, TP_INVALID,
                       "give one of \"target\" (a node), \"kube_cluster\" and \"session\" (one that runs)");
    }
    if (session != NULL) {
        return find_session(call, session, target, error);
    }
    target->asked = node != NULL ? node : kube;
    target->kind = node != NULL ? ROLE_NODE : ROLE_KUBE;
    if (strlen(target->asked) > 253) {
        return err_set(error, TP_INVALID, "the name is too long");
    }
    if (node != NULL) {
        struct host *host = NULL;
        struct rbac_target place;
        enum tp_err err = access_find_node(call, node, &host, error);
        if (err != TP_OK) {
            return err;
        }
        hosts_target(host, &place);
        target->node = host;
        judge(target, &place);
    } else {
        kube_each(call->auth, look_at_cluster, target);
        target->kube = mem_strdup(kube);
        if (!target->seen) {
            return err_set(error, TP_NOT_FOUND,
                           "no Kubernetes cluster named %s; `tport kube ls` lists those you can reach", kube);
        }
    }
    return target->open || target->code ? TP_OK : mfa_refusal(&target->refusal, target->kind, error);
}

void do_mfa_required(struct call *call)
{
    struct tp_error error = {0};
    struct target target;
    enum tp_err err = find_target(call, &target, &error);
    bool required = err == TP_OK && !target.open;
    bool unsaid = err == TP_DENIED && target.refusal.reason != RBAC_MFA_NEEDED;
    struct tp_error lock = {0};
    /* A locked host has no tunnel either; the connection says which it is. */
    bool offline = target.node != NULL && target.node->tunnels == NULL &&
                   caller_locked(call->auth, NULL, NULL, target.node->id, &lock) == TP_OK;
    /* A node refuses a login as OpenSSH does, without a reason. */
    if (err == TP_OK) {
        err = caller_login_locked(call->auth, target.login, &error);
    }
    target_free(&target);
    if (err != TP_OK && !unsaid) {
        call_fail(call, &error);
    } else {
        /* Refused, it is by the connection itself, on record. */
        call_reply(call, json_pack("{s:b, s:b}", "required", required, "offline", offline));
    }
}

/* ---- the code ---- */

/* How long a code counts. A cluster's is used again and again by kubectl, so roles may let it last. */
static int64_t lasts_ms(const struct call *call, const struct target *target)
{
    struct rbac_options options;
    rbac_merge_options(call->caller.set, &call->auth->settings.cluster_options, &options);
    int64_t interval = options.mfa_verification_interval_ms;
    if (interval > 0 && (target->kind == ROLE_KUBE || interval < SESSION_MS)) {
        return interval;
    }
    return SESSION_MS;
}

static json_t *code_event(const struct call *call, const struct target *target, bool success)
{
    json_t *event = call_event(call, "mfa_auth_challenge.validate", success);
    json_object_set_new(event, "success", json_boolean(success));
    if (target->live != NULL) {
        const struct host *host = hosts_get(call->auth, target->live->host_id);
        json_object_set_new(event, "sid", json_string(target->live->sid));
        json_object_set_new(event, "server_id", json_string(target->live->host_id));
        json_object_set_new(event, "server_hostname", json_string(host != NULL ? host->name : target->live->target));
    } else if (target->node != NULL) {
        json_object_set_new(event, "server_id", json_string(target->node->id));
        json_object_set_new(event, "server_hostname", json_string(target->node->name));
    } else {
        json_object_set_new(event, "kubernetes_cluster", json_string(target->kube));
    }
    return event;
}

static bool is_known(const struct call *call)
{
    json_t *doc = NULL;
    struct tp_error none = {0};
    bool known = doc_find(call->auth->secrets, "/login/", call->caller.user, &doc, NULL, &none) == TP_OK &&
                 json_list_has(json_object_get(doc, "known"), call->caller.ip);
    json_decref(doc);
    return known;
}

const char *mfa_check_code(const struct call *call, const char *code, struct mfa_device *ret_device)
{
    struct auth *auth = call->auth;
    const struct caller *caller = &call->caller;
    const struct mfa_code given = {.user = caller->user, .code = code};
    const char *wrong = NULL;
    char *name = lockout_codes(caller->user);
    if (!lockout_open(auth->lockout, name, caller->ip, is_known(call), clock_mono_ms())) {
        wrong = "too many failures from this source";
        mfa_waste_code(code);
    } else {
        wrong = mfa_use_code(auth, &given, ret_device);
    }
    if (wrong == NULL) {
        lockout_succeeded(auth->lockout, name, caller->ip);
    } else {
        lockout_failed(auth->lockout, name, caller->ip, clock_mono_ms());
    }
    mem_free(name);
    return wrong;
}

static void answer_certificate(struct call *call, const struct target *target, const struct mfa_device *device,
                               json_t *event)
{
    const struct issue_target want = {.caller = &call->caller,
                                      .device = device->id,
                                      .target = {.reason = TARGET_BY_CODE,
                                                 .node = target->node != NULL ? target->node->id : NULL,
                                                 .kube = target->kube},
                                      .ttl_ms = lasts_ms(call, target),
                                      .tls_pub = json_get_text(call->params, "tls_pub_key", "")};
    json_t *result = NULL;
    json_t *created = NULL;
    struct tp_error error = {0};
    enum tp_err err = issue_target_cert(call->auth, &want, &result, &created, &error);
    audit_emit(call->auth, event, NULL, NULL);
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    call_reply_audited(call, created, result);
}

static void answer_web(struct call *call, const struct target *target, struct mfa_device *device, json_t *event)
{
    struct mfa_given given = {.device = device->id,
                              .node = target->node != NULL ? target->node->id : NULL,
                              .kube = target->kube,
                              .session = target->live != NULL ? target->live->sid : NULL,
                              .until_ms = clock_wall_ms() + lasts_ms(call, target)};
    websess_give_mfa(call->auth, call->caller.web_key, &given);
    call_reply_audited(call, event, json_pack("{s:o}", "valid_until", doc_time(given.until_ms)));
}

static void refuse_code(struct call *call, const struct target *target, const char *why)
{
    struct tp_error error = {0};
    json_t *event = code_event(call, target, false);
    json_object_set_new(event, "error", json_string(why));
    (void)err_set(&error, TP_INVALID, "%s", refusal);
    call_fail_audited(call, event, &error);
}

/* A certificate is limited by address as logins are, but counted by the person who shows it. */
static enum tp_err check_params(const struct call *call, const char **ret_code, struct tp_error *error)
{
    const char *key = NULL;
    enum tp_err err = json_need_text(call->params, "otp_token", ret_code, error);
    if (err == TP_OK && call->caller.web_key == NULL) {
        err = json_need_text(call->params, "tls_pub_key", &key, error);
    }
    if (err == TP_OK && call->caller.web_key == NULL && json_object_get(call->params, "session") != NULL) {
        err = err_set(error, TP_INVALID, "a running session is watched in the browser, so the code is given there");
    }
    if (err == TP_OK) {
        char *name = lockout_codes(call->caller.user);
        err = lockout_rate_codes(call->auth->lockout, name, clock_mono_ms(), error);
        mem_free(name);
    }
    return err;
}

void do_mfa_session(struct call *call)
{
    struct tp_error error = {0};
    struct target target = {0};
    struct mfa_device device;
    const char *code = NULL;
    enum tp_err err = check_params(call, &code, &error);
    if (err == TP_OK) {
        err = find_target(call, &target, &error);
    }
    if (err != TP_OK) {
        target_free(&target);
        call_fail(call, &error);
        return;
    }
    const char *wrong = mfa_check_code(call, code, &device);
    if (wrong != NULL) {
        refuse_code(call, &target, wrong);
        target_free(&target);
        return;
    }
    json_t *event = code_event(call, &target, true);
    json_object_set_new(event, "mfa_device", mfa_device_json(&device));
    if (call->caller.web_key != NULL) {
        answer_web(call, &target, &device, event);
    } else {
        answer_certificate(call, &target, &device, event);
    }
    target_free(&target);
}

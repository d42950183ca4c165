/* kube.connect: finds an agent that serves the cluster, decides, puts it on record, and only then signs the grant. One grant
 * is one TLS connection of a client, on which many requests may go. */
#include "auth/access.h"
#include "auth/audit.h"
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/issue.h"
#include "auth/kube.h"
#include "auth/live.h"
#include "auth/mfa.h"
#include "rbac/kube.h"

#include <string.h>

#define SESSION_MS \
    ((int64_t)3600 * 1000) /* subjects come from roles that allow at least so long, or as long as any may */
#define EXCEPT_MAX 32
#define FILE_CERT_MS ((int64_t)3600 * 1000) /* a certificate in a downloaded kubeconfig */

/* ---- the decision ---- */

/* Users and groups to impersonate, and what the roles allow of the cluster's resources. */
static json_t *subjects(const struct rbac_set *set, const struct rbac_target *target, int64_t ttl_ms,
                        struct tp_error *error)
{
    json_t *users = NULL;
    json_t *groups = NULL;
    rbac_kube_subjects(set, target, ttl_ms, &users, &groups);
    if (json_array_size(users) == 0 && json_array_size(groups) == 0) {
        (void)err_set(error, TP_DENIED,
                      "access denied: your roles give you no Kubernetes users or groups on the cluster %s; "
                      "for what was given since you signed in, sign in anew (tport logout, then tport login)",
                      target->name);
        json_decref(users);
        json_decref(groups);
        return NULL;
    }
    return json_pack("{s:o, s:o, s:o}", "users", users, "groups", groups, "resources",
                     rbac_kube_resources(set, target));
}

json_t *kube_rights(struct auth *auth, const struct caller *caller, const struct rbac_access *access,
                    const struct kube_place *place, struct rbac_decision *ret_decision, struct tp_error *error)
{
    struct rbac_target target;
    struct rbac_label *labels = NULL;
    struct rbac_options options;
    struct rbac_decision decision = {0};
    json_t *rights = NULL;
    rbac_merge_options(caller->set, &auth->settings.cluster_options, &options);
    kube_target(place->cluster, &target, &labels);
    enum tp_err err = rbac_access(caller->set, &target, access, &decision);
    if (err != TP_OK) {
        err = mfa_refusal(&decision, ROLE_KUBE, error);
    }
    if (err == TP_OK) {
        err = caller_locked(auth, NULL, NULL, place->host->id, error);
    }
    if (err == TP_OK) {
        int64_t ttl = options.max_session_ttl_ms < SESSION_MS ? options.max_session_ttl_ms : SESSION_MS;
        rights = subjects(caller->set, &target, ttl, error);
    }
    mem_free(labels);
    if (ret_decision != NULL) {
        *ret_decision = decision;
    }
    return rights;
}

json_t *kube_rights_of_grant(const json_t *grant)
{
    if (strcmp(json_get_text(grant, "service", ""), "kube") != 0) {
        return NULL;
    }
    return json_pack("{s:O?, s:O?, s:O?}", "users", json_object_get(grant, "kube_users"), "groups",
                     json_object_get(grant, "kube_groups"), "resources", json_object_get(grant, "kube_resources"));
}

static bool contains(const json_t *more, const json_t *less)
{
    size_t i;
    json_t *item;
    json_array_foreach (less, i, item) {
        if (!json_list_has(more, json_string_value(item))) {
            return false;
        }
    }
    return true;
}

/* Who has no users there is himself, and only as long as he has none (kube_headers.c). */
static bool users_kept(const json_t *now, const json_t *granted)
{
    return json_array_size(granted) > 0 ? contains(now, granted) : json_array_size(now) == 0;
}

bool kube_kept(struct auth *auth, const struct live *live, const struct caller *caller,
               const struct rbac_access *access)
{
    struct tp_error ignored = {0};
    const struct host *host = hosts_get(auth, live->host_id);
    const json_t *cluster = host != NULL ? kube_of_host(host, live->target) : NULL;
    const struct kube_place place = {host, cluster};
    json_t *now = cluster != NULL ? kube_rights(auth, caller, access, &place, NULL, &ignored) : NULL;
    /* The agent works by what the grant says: whatever is no longer so ends it. A right that came new does not. */
    bool kept = now != NULL && users_kept(json_object_get(now, "users"), json_object_get(live->rights, "users")) &&
                contains(json_object_get(now, "groups"), json_object_get(live->rights, "groups")) &&
                json_equal(json_object_get(now, "resources"), json_object_get(live->rights, "resources")) &&
                (live->open_channels == 0 || caller_alone(caller->set, live->user, "k8s", &ignored) == TP_OK);
    json_decref(now);
    return kept;
}

/* ---- whom to ask ---- */

struct search {
    const struct call *call;
    const char *label;
    const json_t *except; /* hosts that the worker could not reach just now */
    bool seen;            /* somebody serves it and the caller may know */
    char *name;
    struct host *host; /* the best one that is online and where the caller may */
    json_t *rights;
    unsigned score;
    uint32_t ties;
    enum tp_err err; /* the first refusal */
    struct tp_error error;
    struct rbac_decision decision;
    const struct host *refused_by;
    bool offline; /* allowed, but that agent is away */
};

static void search_free(struct search *search)
{
    mem_free(search->name);
    json_decref(search->rights);
}

/* A tunnel in the caller's worker can be used at once; one that was just found dead is the last choice. */
static unsigned score_of(const struct search *search, const struct host *host)
{
    unsigned score = json_list_has(search->except, host->id) ? 0 : 2;
    for (const struct tunnel_ref *ref = host->tunnels; ref != NULL; ref = ref->next) {
        if (ref->worker == search->call->caller.worker) {
            return score + 1;
        }
    }
    return score;
}

static void consider(struct search *search, struct host *host, json_t *rights)
{
    unsigned score = score_of(search, host);
    uint32_t random = 0;
    bool better = search->host == NULL || score > search->score;
    if (!better && score == search->score) {
        /* Each of the equals with the same chance. */
        search->ties++;
        crypt_random(&random, sizeof random);
        better = random % (search->ties + 1) == 0;
    } else if (better) {
        search->ties = 0;
    }
    if (better) {
        json_decref(search->rights);
        search->rights = json_incref(rights);
        search->host = host;
        search->score = score;
    }
}

static void look(void *ctx, struct host *host, const json_t *cluster)
{
    struct search *search = ctx;
    const struct call *call = search->call;
    char label[KUBE_LABEL_SIZE];
    struct rbac_target target;
    struct rbac_label *labels = NULL;
    struct tp_error error = {0};
    struct rbac_decision decision = {0};
    kube_label(kube_name(cluster), label);
    if (strcmp(label, search->label) != 0 || !hosts_current(host)) {
        return;
    }
    kube_target(cluster, &target, &labels);
    bool may_know = rbac_can_list(call->caller.set, &target);
    mem_free(labels);
    if (!may_know) {
        return;
    }
    search->seen = true;
    if (search->name == NULL) {
        search->name = mem_strdup(kube_name(cluster));
    }
    struct rbac_access access = mfa_access(call->auth, mfa_device_for(&call->caller, NULL, kube_name(cluster)));
    const struct kube_place place = {host, cluster};
    json_t *rights = kube_rights(call->auth, &call->caller, &access, &place, &decision, &error);
    if (rights == NULL && search->err == TP_OK) {
        search->err = error.code;
        search->error = error;
        search->decision = decision;
        search->refused_by = host;
    } else if (rights != NULL && host->tunnels == NULL) {
        search->offline = true;
    } else if (rights != NULL) {
        consider(search, host, rights);
    }
    json_decref(rights);
}

/* ---- the answer ---- */

struct connect {
    struct call *call;
    char sid[UUID_TEXT_SIZE];
    char *host_id;
    json_t *grant;
};

static void connect_free(struct connect *connect)
{
    mem_free(connect->host_id);
    json_decref(connect->grant);
    mem_free(connect);
}

static json_t *grant_json(const struct call *call, const struct connect *connect, const struct search *search,
                          const struct rbac_options *options)
{
    struct auth *auth = call->auth;
    const struct caller *caller = &call->caller;
    int64_t now_ms = clock_wall_ms();
    const char *record = !auth->settings.record                          ? "off"
                         : options->record_default == ROLE_RECORD_STRICT ? "strict"
                                                                         : "best_effort";
    json_t *rights = json_pack("{s:s, s:I, s:b}", "record", record, "idle_timeout",
                               (json_int_t)options->client_idle_timeout_ms, "disconnect_expired_cert", 1);
    json_object_set_new(rights, "locking_mode", access_locking(options));
    json_object_set_new(rights, "record_packed", json_true());
    json_t *grant =
        json_pack("{s:i, s:s, s:s, s:O, s:O, s:s, s:s, s:s, s:s, s:o, s:s, s:o, s:o, s:o}", "v", 1, "sid", connect->sid,
                  "user", caller->user, "roles", caller->roles, "traits", caller->traits, "cluster",
                  auth->settings.cluster, "host_id", search->host->id, "service", "kube", "kube_cluster", search->name,
                  "options", rights, "client_addr", caller->addr, "issued", doc_time(now_ms), "expires",
                  doc_time(now_ms + GRANT_SECONDS * 1000), "cert_not_after", doc_time(caller->not_after * 1000));
    const char *device = mfa_device_for(caller, NULL, search->name);
    if (device != NULL) {
        json_object_set_new(grant, "mfa_device", json_string(device));
        json_object_set_new(grant, "requests_until", doc_time(caller->mfa.until_ms));
    }
    if (caller->login_device != NULL) {
        json_object_set_new(grant, "login_device", json_string(caller->login_device));
    }
    json_object_set(grant, "kube_users", json_object_get(search->rights, "users"));
    json_object_set(grant, "kube_groups", json_object_get(search->rights, "groups"));
    json_object_set(grant, "kube_resources", json_object_get(search->rights, "resources"));
    return grant;
}

/* The event is on the disk; a cut that came meanwhile shows in the live entry. */
static void recorded(void *ctx, const struct tp_error *failure)
{
    struct connect *connect = ctx;
    struct call *call = connect->call;
    struct tp_error refusal = {0};
    json_t *result = NULL;
    if (access_grant(call->auth, connect->sid, connect->grant, failure, &result, &refusal) != TP_OK) {
        connect_free(connect);
        call_fail(call, &refusal);
        return;
    }
    json_object_set_new(result, "host_id", json_string(connect->host_id));
    json_object_set_new(result, "not_after", json_integer(call->caller.not_after));
    connect_free(connect);
    call_reply(call, result);
}

static void add_cluster(json_t *event, const char *name)
{
    json_object_set_new(event, "proto", json_string("kube"));
    json_object_set_new(event, "kubernetes_cluster", json_string(name));
}

static void refuse(struct call *call, const struct search *search, const char *name, const struct tp_error *error)
{
    json_t *event = call_event(call, "auth", false);
    add_cluster(event, name);
    json_object_set_new(event, "error", json_string(error->text));
    if (search->refused_by != NULL) {
        json_object_set_new(event, "server_id", json_string(search->refused_by->id));
        json_object_set_new(event, "server_hostname", json_string(search->refused_by->name));
    }
    if (search->decision.reason != RBAC_GRANTED) {
        json_object_set_new(event, "reason", json_string(rbac_reason_name(search->decision.reason)));
        json_object_set_new(event, "role", json_string(search->decision.role));
        json_object_set_new(event, "detail", json_string(search->decision.detail));
    }
    call_fail_audited(call, event, error);
}

static void refuse_limit(struct call *call, const char *name, int64_t max)
{
    struct tp_error error = {0};
    json_t *event = call_event(call, "session.rejected", false);
    add_cluster(event, name);
    json_object_set_new(event, "reason", json_string("max_kubernetes_connections"));
    json_object_set_new(event, "max", json_integer(max));
    (void)err_set(&error, TP_LIMIT,
                  "you have %lld connections to Kubernetes open, as many as your roles allow; close one first",
                  (long long)max);
    call_fail_audited(call, event, &error);
}

static void grant(struct call *call, struct search *search, const struct rbac_options *options)
{
    struct auth *auth = call->auth;
    struct connect *connect = mem_alloc(sizeof *connect);
    crypt_uuid(connect->sid);
    connect->call = call;
    connect->host_id = mem_strdup(search->host->id);
    connect->grant = grant_json(call, connect, search, options);
    (void)sessions_add(auth, call,
                       &(struct live_new){.sid = connect->sid,
                                          .service = "kube",
                                          .target = search->name,
                                          .host_id = search->host->id,
                                          .rights = search->rights,
                                          .mfa_device = mfa_device_for(&call->caller, NULL, search->name),
                                          .cut_at_expiry = true});
    json_t *event = call_event(call, "session.connect", true);
    add_cluster(event, search->name);
    json_object_set_new(event, "sid", json_string(connect->sid));
    json_object_set_new(event, "server_id", json_string(search->host->id));
    json_object_set_new(event, "server_hostname", json_string(search->host->name));
    json_object_set_new(event, "namespace", json_string("default"));
    json_object_set(event, "user_roles", call->caller.roles);
    if (json_object_get(connect->grant, "mfa_device") != NULL) {
        json_object_set(event, "with_mfa", json_object_get(connect->grant, "mfa_device"));
    }
    json_object_set(event, "kubernetes_users", json_object_get(search->rights, "users"));
    json_object_set(event, "kubernetes_groups", json_object_get(search->rights, "groups"));
    audit_emit(auth, event, recorded, connect);
}

void do_kube_connect(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *label = NULL;
    const json_t *except = json_object_get(call->params, "except");
    enum tp_err err = json_need_text(call->params, "target", &label, &error);
    if (err == TP_OK && strlen(label) >= KUBE_LABEL_SIZE) {
        err = err_set(&error, TP_INVALID, "the label of the cluster is too long");
    }
    if (err == TP_OK && except != NULL) {
        err = doc_text_list(except, "except", EXCEPT_MAX, &error);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    struct search search = {.call = call, .label = label, .except = except};
    struct rbac_options options;
    kube_each(auth, look, &search);
    rbac_merge_options(call->caller.set, &auth->settings.cluster_options, &options);
    char *name = search.name != NULL ? mem_strdup(search.name) : kube_label_name(label);
    if (caller_opens(&call->caller, ROLE_KUBE, name, &error) != TP_OK) {
        refuse(call, &search, name, &error);
    } else if (!search.seen) {
        (void)err_set(&error, TP_NOT_FOUND, "no Kubernetes cluster named %s; `tport kube ls` lists those you can reach",
                      name);
        refuse(call, &search, name, &error);
    } else if (search.host == NULL && search.offline) {
        (void)err_set(&error, TP_UNAVAILABLE,
                      "the Kubernetes cluster %s is offline: no agent that serves it is connected now", name);
        refuse(call, &search, name, &error);
    } else if (search.host == NULL) {
        refuse(call, &search, name, &search.error);
    } else if (options.max_kubernetes_connections > 0 &&
               sessions_count_user(auth, call->caller.user, "kube") >= (size_t)options.max_kubernetes_connections) {
        refuse_limit(call, name, options.max_kubernetes_connections);
    } else {
        grant(call, &search, &options);
    }
    mem_free(name);
    search_free(&search);
}

/* A certificate for one cluster, for somebody who signed in with a browser: the browser made the key and writes the
 * kubeconfig. Decided as a connection would be now; each connection is decided anew. */
void do_kube_certs(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *name = NULL;
    const char *tls_pub = NULL;
    json_t *result = NULL;
    json_t *event = NULL;
    char label[KUBE_LABEL_SIZE];
    enum tp_err err = json_need_text(call->params, "kube_cluster", &name, &error);
    if (err == TP_OK) {
        err = json_need_text(call->params, "tls_pub_key", &tls_pub, &error);
    }
    if (err == TP_OK && call->caller.web_key == NULL) {
        /* R4: a certificate buys no certificate. */
        err = err_set(&error, TP_DENIED, "this is for people who are signed in with a browser; use `tport kube login`");
    }
    int64_t left_ms = call->caller.not_after * 1000 - clock_wall_ms();
    if (err == TP_OK && left_ms <= 0) { /* no time at all must not come to mean the usual time */
        err = err_set(&error, TP_UNAUTHENTICATED, "your session has ended; sign in again");
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    kube_label(name, label);
    struct search search = {.call = call, .label = label};
    kube_each(auth, look, &search);
    if (!search.seen || search.name == NULL || strcmp(search.name, name) != 0) {
        (void)err_set(&error, TP_NOT_FOUND, "there is no Kubernetes cluster %.200s that you can reach", name);
        refuse(call, &search, name, &error);
    } else if (search.host == NULL && !search.offline) {
        refuse(call, &search, name, &search.error);
    } else {
        struct issue_user want = {.name = call->caller.user,
                                  .roles = call->caller.roles,
                                  .traits = call->caller.traits,
                                  .ip = call->caller.ip,
                                  .ttl_ms = left_ms < FILE_CERT_MS ? left_ms : FILE_CERT_MS,
                                  .tls_pub = tls_pub,
                                  .target = {.reason = TARGET_OF_FILE, .kube = search.name},
                                  .device = call->caller.login_device};
        if (issue_user_certs(auth, &want, &result, &event, &error) == TP_OK) {
            char *server = mem_printf("%s.kube.%s", label, auth->settings.cluster);
            json_object_set_new(result, "server_name", json_string(server));
            mem_free(server);
            json_object_set_new(event, "addr.remote", json_string(call->caller.addr));
            call_reply_audited(call, event, result);
        } else {
            call_fail(call, &error);
        }
    }
    search_free(&search);
}

/* Who calls. A worker's word is not enough: certificates and web sessions are checked here again, every time. */
#include "auth/ca.h"
#include "auth/caller.h"
#include "auth/devices.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/issue.h"
#include "auth/mfa.h"
#include "auth/user_cache.h"
#include "auth/users.h"
#include "auth/websess.h"
#include "rbac/join.h"

#include <string.h>

void caller_init(struct caller *caller)
{
    *caller = (struct caller){.worker = -1, .uid = (uid_t)-1};
}

void caller_free(struct caller *caller)
{
    mem_free(caller->addr);
    mem_free(caller->user);
    json_decref(caller->roles);
    json_decref(caller->traits);
    rbac_set_free(caller->set);
    mem_free(caller->host_id);
    mem_free(caller->host_name);
    mem_free(caller->web_key);
    one_target_free(&caller->target);
    mem_free(caller->login_device);
    mfa_given_free(&caller->mfa);
    caller_init(caller);
}

void caller_ip(const char *addr, char out[64])
{
    const char *start = addr;
    size_t length = strlen(addr);
    const char *bracket = strchr(addr, ']');
    if (addr[0] == '[' && bracket != NULL) {
        start = addr + 1;
        length = (size_t)(bracket - start);
    } else {
        const char *colon = strchr(addr, ':');
        if (colon != NULL && strchr(colon + 1, ':') == NULL) {
            length = (size_t)(colon - addr);
        }
    }
    if (length > 63) {
        length = 63;
    }
    memcpy(out, start, length);
    out[length] = '\0';
}

struct lock_probe {
    const struct lock_target *target;
    int64_t now_ms;
    const struct lock *hit;
};

static void probe_lock(void *ctx, const char *key, void *value)
{
    struct lock_probe *probe = ctx;
    const struct lock *lock = value;
    (void)key;
    if (probe->hit == NULL && lock_active(lock, probe->now_ms) && lock_matches(lock, probe->target)) {
        probe->hit = lock;
    }
}

static const struct lock *find_lock(struct auth *auth, const struct lock_target *target)
{
    struct lock_probe probe = {.target = target, .now_ms = clock_wall_ms()};
    map_each(auth->locks, probe_lock, &probe);
    return probe.hit;
}

enum tp_err caller_login_locked(struct auth *auth, const char *login, struct tp_error *error)
{
    const struct lock *hit =
        map_count(auth->locks) > 0 && login != NULL ? find_lock(auth, &(struct lock_target){.login = login}) : NULL;
    if (hit == NULL) {
        return TP_OK;
    }
    return err_set(error, TP_DENIED, "a lock is in force on the login %s%s%s", login, hit->message != NULL ? ": " : "",
                   hit->message != NULL ? hit->message : "");
}

bool caller_device_locked(struct auth *auth, const char *device)
{
    return device != NULL && map_count(auth->locks) > 0 &&
           find_lock(auth, &(struct lock_target){.mfa_device = device}) != NULL;
}

const char *caller_device_lost(struct auth *auth, const char *user, const char *device)
{
    json_t *login = NULL;
    struct tp_error ignored = {0};
    if (device == NULL) {
        return NULL;
    }
    if (caller_device_locked(auth, device)) {
        return MFA_DEVICE_LOCKED;
    }
    bool there = doc_find(auth->secrets, "/login/", user, &login, NULL, &ignored) == TP_OK &&
                 devices_find(login, device) != NULL;
    json_decref(login);
    return there ? NULL : MFA_DEVICE_GONE;
}

enum tp_err caller_check_login(struct auth *auth, const char *user, const char *device, struct tp_error *error)
{
    const char *lost = caller_device_lost(auth, user, device);
    if (lost == NULL) {
        return TP_OK;
    }
    if (caller_device_locked(auth, device)) {
        return err_set(error, TP_DENIED, "a lock is in force on the device that you signed in with");
    }
    return err_set(error, TP_UNAUTHENTICATED,
                   "the device that you signed in with was removed from your account; sign in again");
}

enum tp_err caller_locked(struct auth *auth, const char *user, const json_t *roles, const char *host_id,
                          struct tp_error *error)
{
    const struct lock *hit = NULL;
    if (map_count(auth->locks) == 0) {
        return TP_OK;
    }
    if (user != NULL) {
        hit = find_lock(auth, &(struct lock_target){.user = user});
    }
    size_t i;
    json_t *role;
    json_array_foreach (roles, i, role) {
        if (hit == NULL && json_is_string(role)) {
            hit = find_lock(auth, &(struct lock_target){.role = json_string_value(role)});
        }
    }
    if (hit == NULL && host_id != NULL) {
        hit = find_lock(auth, &(struct lock_target){.server_id = host_id});
    }
    if (hit == NULL) {
        return TP_OK;
    }
    return err_set(error, TP_DENIED, "a lock is in force%s%s", hit->message != NULL ? ": " : "",
                   hit->message != NULL ? hit->message : "");
}

enum tp_err caller_alone(const struct rbac_set *set, const char *user, const char *kind, struct tp_error *error)
{
    const struct rbac_session session = {set, user, kind};
    char role[128];
    if (rbac_session_may_run(&session, NULL, 0, NULL, role, sizeof role)) {
        return TP_OK;
    }
    return err_set(error, TP_DENIED,
                   "access denied: your role %s lets a session begin only when others have joined it "
                   "(require_session_join), and sessions cannot be joined here yet",
                   role);
}

struct rbac_set *caller_set(struct auth *auth, const char *user, const json_t *roles, const json_t *traits)
{
    size_t count = 0;
    size_t size = json_array_size(roles);
    struct role **list = mem_array(size + 1, sizeof *list);
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < size; i++) {
        const char *name = json_string_value(json_array_get(roles, i));
        struct role *role = name != NULL ? map_get(auth->roles, name) : NULL;
        if (role != NULL && (role_expires_ms(role) == 0 || role_expires_ms(role) > now)) {
            list[count++] = role;
        }
    }
    struct rbac_set *set =
        rbac_set_new(list, count, &(struct rbac_user){.name = user, .traits = traits, .roles = roles}, 0);
    mem_free(list);
    return set;
}

/* What of a credential's list the user still has. */
static json_t *still(const json_t *old, const json_t *now)
{
    json_t *list = json_array();
    size_t i;
    json_t *item;
    json_array_foreach (old, i, item) {
        if (json_is_string(item) && json_list_has(now, json_string_value(item))) {
            json_array_append(list, item);
        }
    }
    return list;
}

/* A right that was given after the login shows at the next login; one that was taken is gone at once. NULL old: all. */
static void cut_to_record(const struct user *user, const json_t *roles, const json_t *traits, struct caller *caller)
{
    json_t *now_roles = json_array();
    for (size_t i = 0; i < user->role_count; i++) {
        json_array_append_new(now_roles, json_string(user->roles[i]));
    }
    if (roles == NULL) {
        caller->roles = now_roles;
        caller->traits = json_deep_copy(user->traits);
        return;
    }
    caller->roles = still(roles, now_roles);
    json_decref(now_roles);
    caller->traits = json_object();
    const char *name;
    json_t *values;
    json_object_foreach ((json_t *)(uintptr_t)traits, name, values) {
        json_t *now = json_object_get(user->traits, name);
        if (now != NULL) {
            json_object_set_new(caller->traits, name, still(values, now));
        }
    }
}

/* The first of the dates at which the user or one of the roles ends by itself; 0: none has one. */
static int64_t first_end(const struct auth *auth, const struct user *user, const json_t *roles)
{
    int64_t first = user->expires_ms;
    size_t i;
    json_t *item;
    json_array_foreach (roles, i, item) {
        const struct role *role = map_get(auth->roles, json_string_value(item));
        int64_t ends = role != NULL ? role_expires_ms(role) : 0;
        if (ends > clock_wall_ms() && (first == 0 || ends < first)) {
            first = ends;
        }
    }
    return first;
}

enum tp_err caller_become_user(struct auth *auth, const char *name, const json_t *roles, const json_t *traits,
                               struct caller *caller, struct tp_error *error)
{
    const struct user *user = NULL;
    enum tp_err err = user_cache_find(auth->users, auth->state, name, &user, error);
    if (err == TP_NOT_FOUND) {
        return err_set(error, TP_UNAUTHENTICATED, "this user does not exist any more; sign in again");
    }
    if (err != TP_OK) {
        return err;
    }
    int64_t now = clock_wall_ms();
    if (user_locked(user, now)) {
        err = err_set(error, TP_DENIED, "this user is locked; ask an administrator");
    } else if (user->expires_ms != 0 && user->expires_ms <= now) {
        err = err_set(error, TP_DENIED, "this user has expired; ask an administrator");
    } else {
        cut_to_record(user, roles, traits, caller);
        err = caller_locked(auth, name, caller->roles, NULL, error);
    }
    if (err == TP_OK) {
        caller->who = WHO_USER;
        mem_free(caller->user);
        caller->user = mem_strdup(name);
        caller->set = caller_set(auth, name, caller->roles, caller->traits);
        caller->ends_ms = first_end(auth, user, caller->roles);
    }
    return err;
}

/* *ret_identity is good until the next check. */
static enum tp_err check_cert(struct auth *auth, enum ca_kind ca, const json_t *json,
                              const struct identity **ret_identity, struct tp_error *error)
{
    const char *text = NULL;
    enum tp_err err = json_need_text(json, "cert", &text, error);
    if (err == TP_OK) {
        err = cert_cache_check(auth->certs, text, auth->ca[ca].trusted_pems, clock_wall(), ret_identity, error);
    }
    if (err != TP_OK) {
        return err_set(error, TP_UNAUTHENTICATED, "the certificate was refused or has expired; sign in again");
    }
    if (strcmp((*ret_identity)->cluster, auth->settings.cluster) != 0) {
        return err_set(error, TP_UNAUTHENTICATED, "the certificate belongs to another cluster");
    }
    return TP_OK;
}

/* pin_source_ip may have been set after the certificate was made (R4: an old credential is no way round it). */
static bool must_pin(const struct auth *auth, const struct caller *caller)
{
    struct rbac_options options;
    rbac_merge_options(caller->set, &auth->settings.cluster_options, &options);
    return options.pin_source_ip;
}

/* A certificate for one target: the caller may no more than open it; one of a code only while its device is not locked. */
static enum tp_err bind_to_target(struct auth *auth, const struct identity *identity, struct caller *caller,
                                  struct tp_error *error)
{
    const struct one_target *target = &identity->target;
    caller->who = WHO_ONE_TARGET;
    caller->target = one_target_copy(target);
    if (target->reason != TARGET_BY_CODE) {
        return TP_OK;
    }
    caller->not_after = identity->base_not_after;
    caller->mfa.until_ms = identity->not_after * 1000;
    caller->mfa.device = mem_strdup(identity->mfa_device);
    caller->mfa.node = target->node != NULL ? mem_strdup(target->node) : NULL;
    caller->mfa.kube = target->kube != NULL ? mem_strdup(target->kube) : NULL;
    const char *lost = caller_device_lost(auth, identity->name, identity->mfa_device);
    if (lost != NULL) {
        return err_set(error, TP_DENIED, "%s", lost);
    }
    return TP_OK;
}

enum tp_err caller_one_target(const struct caller *caller, struct tp_error *error)
{
    if (caller->target.reason == TARGET_OF_FILE) {
        return err_set(error, TP_DENIED, "this certificate is for the Kubernetes cluster %s and nothing else",
                       caller->target.kube);
    }
    return err_set(error, TP_DENIED, "this certificate was given for a one-time code: it opens one target, no more");
}

enum tp_err caller_opens(const struct caller *caller, enum role_target kind, const char *name, struct tp_error *error)
{
    const char *only = kind == ROLE_NODE ? caller->target.node : caller->target.kube;
    if (caller->who != WHO_ONE_TARGET || (only != NULL && (name == NULL || strcmp(only, name) == 0))) {
        return TP_OK;
    }
    return caller_one_target(caller, error);
}

static enum tp_err user_from_cert(struct auth *auth, const json_t *json, struct caller *caller, struct tp_error *error)
{
    const struct identity *identity = NULL;
    enum tp_err err = check_cert(auth, CA_USER, json, &identity, error);
    if (err != TP_OK) {
        return err;
    }
    if (identity->kind != IDENTITY_USER) {
        err = err_set(error, TP_UNAUTHENTICATED, "this is not the certificate of a user");
    } else if (identity->pinned_ip != NULL && strcmp(identity->pinned_ip, caller->ip) != 0) {
        err =
            err_set(error, TP_DENIED, "this certificate may be used from the address of its login only; sign in again");
    } else if (identity->not_before + ISSUE_SKEW_SECONDS < users_since(auth, identity->name)) {
        err = err_set(error, TP_UNAUTHENTICATED, "this certificate is from before a reset of the user; sign in again");
    } else {
        err = caller_become_user(auth, identity->name, identity->roles, identity->traits, caller, error);
        caller->not_after = identity->not_after;
        caller->pinned = identity->pinned_ip != NULL;
        caller->login_device = identity->login_device != NULL ? mem_strdup(identity->login_device) : NULL;
        if (err == TP_OK) {
            err = caller_check_login(auth, identity->name, identity->login_device, error);
        }
        if (err == TP_OK && identity->target.reason != TARGET_ANY) {
            err = bind_to_target(auth, identity, caller, error);
        }
        if (err == TP_OK && identity->pinned_ip == NULL && must_pin(auth, caller)) {
            err = err_set(error, TP_DENIED,
                          "your roles now bind certificates to the address of the login; sign in again");
        }
    }
    return err;
}

static enum tp_err host_from_cert(struct auth *auth, const json_t *json, struct caller *caller, struct tp_error *error)
{
    const struct identity *identity = NULL;
    enum tp_err err = check_cert(auth, CA_HOST, json, &identity, error);
    if (err != TP_OK) {
        return err;
    }
    if (identity->kind != IDENTITY_HOST || identity->host_id == NULL || identity->host_role == NULL ||
        strcmp(identity->host_role, "node") != 0) {
        err = err_set(error, TP_UNAUTHENTICATED, "this is not the certificate of a node");
    } else if (hosts_get(auth, identity->host_id) == NULL ||
               identity->not_before + ISSUE_SKEW_SECONDS < hosts_get(auth, identity->host_id)->since) {
        err = err_set(error, TP_UNAUTHENTICATED, "this host was removed from the cluster; join it again");
    } else {
        err = caller_locked(auth, NULL, NULL, identity->host_id, error);
    }
    if (err == TP_OK) {
        hosts_saw_cert(hosts_get(auth, identity->host_id), identity->not_before + ISSUE_SKEW_SECONDS);
        caller->who = WHO_HOST;
        caller->host_id = mem_strdup(identity->host_id);
        caller->host_name = mem_strdup(identity->name);
        caller->not_after = identity->not_after;
    }
    return err;
}

static enum tp_err local_agent(struct auth *auth, struct caller *caller, struct tp_error *error)
{
    json_t *doc = NULL;
    caller->who = WHO_HOST;
    caller->local_agent = true;
    struct tp_error none = {0};
    if (doc_get(auth->state, "/local_agent", &doc, NULL, &none) != TP_OK) {
        return TP_OK; /* it has not joined yet; handlers refuse what needs an id */
    }
    const char *id = json_get_text(doc, "host_id", "");
    const struct host *host = hosts_get(auth, id);
    enum tp_err err = TP_OK;
    if (host != NULL) {
        caller->host_id = mem_strdup(host->id);
        caller->host_name = mem_strdup(host->name);
        err = caller_locked(auth, NULL, NULL, host->id, error);
    }
    json_decref(doc);
    return err;
}

enum tp_err caller_verify(struct auth *auth, const struct link *link, const json_t *json, struct caller *ret_caller,
                          struct tp_error *error)
{
    caller_init(ret_caller);
    struct caller *caller = ret_caller;
    caller->addr = mem_strdup(json_get_text(json, "addr", ""));
    caller_ip(caller->addr, caller->ip);
    enum tp_err err = TP_OK;
    if (link->kind != LINK_WORKER && json_object_size(json) != 0) {
        err = err_set(error, TP_DENIED, "only workers may speak for others");
    } else if (link->kind == LINK_ADMIN) {
        caller->who = WHO_LOCAL;
        caller->uid = link->uid;
        caller->user = mem_strdup("admin");
    } else if (link->kind == LINK_AGENT) {
        err = local_agent(auth, caller, error);
    } else {
        caller->worker = link->worker;
        const char *kind = json_get_text(json, "kind", "");
        if (json == NULL) {
            caller->who = WHO_PROXY;
        } else if (strcmp(kind, "anonymous") == 0) {
            caller->who = WHO_ANONYMOUS;
        } else if (strcmp(kind, "user") == 0) {
            err = user_from_cert(auth, json, caller, error);
        } else if (strcmp(kind, "host") == 0) {
            err = host_from_cert(auth, json, caller, error);
        } else if (strcmp(kind, "session") == 0) {
            err = websess_check(auth, json_get_text(json, "sid", ""), json_get_text(json, "token", ""),
                                json_get_bool(json, "idle", false), caller, error);
        } else {
            err = err_set(error, TP_INVALID, "unknown kind of caller");
        }
    }
    if (err != TP_OK) {
        caller_free(ret_caller);
    }
    return err;
}

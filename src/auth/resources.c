/* The kinds of resources, and their removal. The store keeps the JSON as it was written; roles and locks are kept parsed
 * in memory too. */
#include "auth/access.h"
#include "auth/agentless.h"
#include "auth/caller.h"
#include "auth/delegate.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/kube.h"
#include "auth/live.h"
#include "auth/resources.h"
#include "auth/settings.h"
#include "auth/tokens.h"
#include "auth/users.h"

#include <string.h>

static const char *const client_secret[] = {"client_secret", "google_service_account", NULL};
static const char *const key_pairs[] = {"signing_key_pair", "assertion_key_pair", NULL};
static const char *const kubeconfig[] = {"kubeconfig", NULL};
static const char *const token[] = {"token", NULL};
static const char *const github_places[] = {"endpoint_url", "api_endpoint_url", NULL};
static const char *const oidc_places[] = {"issuer_url", NULL};
static const char *const saml_places[] = {"sso", "entity_descriptor_url", NULL};
static const char *const cluster_places[] = {"web_proxy_addr", "tunnel_addr", NULL};
static const char *const no_places[] = {NULL};

#define PLAIN .target = -1
#define CONNECTOR .secret = true, .family = "auth_connector", .target = -1

const struct kind resource_kind_table[] = {
    {"user", "/user/", "user.create", "user.update", "user.delete", PLAIN},
    {"role", "/role/", "role.created", "role.updated", "role.deleted", PLAIN},
    {"lock", "/lock/", "lock.created", "lock.created", "lock.deleted", PLAIN},
    {"token", NULL, "join_token.create", "join_token.create", "join_token.delete", PLAIN},
    {"github", "/github/", "github.created", "github.updated", "github.deleted", .secrets = client_secret,
     .places = github_places, CONNECTOR},
    {"oidc", "/oidc/", "oidc.created", "oidc.updated", "oidc.deleted", .secrets = client_secret, .places = oidc_places,
     CONNECTOR},
    {"saml", "/saml/", "saml.created", "saml.updated", "saml.deleted", .secrets = key_pairs, .places = saml_places,
     CONNECTOR},
    {"trusted_cluster", "/trusted_cluster/", "trusted_cluster.create", "trusted_cluster.create",
     "trusted_cluster.delete", .secret = true, .secrets = token, .places = cluster_places, .target = -1},
    {"kube_cluster", "/kube_cluster/", "kube.create", "kube.update", "kube.delete", .secret = true,
     .secrets = kubeconfig, .places = no_places, .target = ROLE_KUBE},
    {"app", "/app/", "app.create", "app.update", "app.delete", .target = ROLE_APP},
    {"db", "/db/", "db.create", "db.update", "db.delete", .target = ROLE_DB},
    {"node", "/openssh/", "node.created", "node.updated", "node.deleted", .target = ROLE_NODE},
    {"kube_server", NULL, NULL, NULL, "kube_server.deleted", PLAIN},
    {"cert_authority", NULL, NULL, NULL, NULL, PLAIN},
    {"cluster_auth_preference", "/config/", "auth_preference.update", "auth_preference.update",
     "auth_preference.update", true, PLAIN},
    {"cluster_networking_config", "/config/", "cluster_networking_config.update", "cluster_networking_config.update",
     "cluster_networking_config.update", true, PLAIN},
    {"session_recording_config", "/config/", "session_recording_config.update", "session_recording_config.update",
     "session_recording_config.update", true, PLAIN},
    {0},
};

const struct kind *kind_find(const char *name, struct tp_error *error)
{
    for (const struct kind *kind = resource_kind_table; kind->name != NULL; kind++) {
        if (strcmp(kind->name, name) == 0) {
            return kind;
        }
    }
    (void)err_set(error, TP_INVALID, "resources of kind \"%.80s\" are not supported", name);
    return NULL;
}

struct store *kind_store(struct auth *auth, const struct kind *kind)
{
    return kind->secret ? auth->secrets : auth->state;
}

void resources_role_changed(struct auth *auth, const char *name, struct role *role)
{
    role_unref(role != NULL ? map_set(auth->roles, name, role) : map_remove(auth->roles, name));
}

const char *resource_name(const json_t *doc)
{
    return json_get_text(json_object_get(doc, "metadata"), "name", "");
}

enum tp_err resource_rule(const struct call *call, const char *verb, const struct kind *kind, const json_t *doc,
                          struct tp_error *error)
{
    const struct rbac_context context = {.resource = doc};
    struct rbac_decision decision = {0};
    enum tp_err err = call_rule(call, verb, kind->name, doc != NULL ? &context : NULL, error);
    if (kind->family == NULL || call->caller.set == NULL) {
        return err;
    }
    bool family = rbac_rule(call->caller.set, verb, kind->family, &context, &decision) == TP_OK;
    if (decision.reason == RBAC_DENIED_BY_RULE || (err != TP_OK && !family)) {
        return err_set(error, TP_DENIED, "access denied to perform action \"%s\" on \"%s\"", verb, kind->name);
    }
    if (err != TP_OK && rbac_rule(call->caller.set, verb, kind->name, &context, &decision) != TP_OK &&
        decision.reason == RBAC_DENIED_BY_RULE) {
        return err; /* the family allows it, but this very kind is denied */
    }
    return TP_OK;
}

bool resource_reached(const struct call *call, const struct kind *kind, const json_t *doc)
{
    if (kind->target < 0 || call->caller.set == NULL) {
        return true;
    }
    size_t count = 0;
    struct rbac_label *labels =
        rbac_labels_from_json(json_object_get(json_object_get(doc, "metadata"), "labels"),
                              json_object_get(json_object_get(doc, "spec"), "cmd_labels"), &count);
    struct rbac_target target = {
        .kind = (enum role_target)kind->target, .name = resource_name(doc), .labels = labels, .label_count = count};
    bool reached = rbac_can_list(call->caller.set, &target);
    mem_free(labels);
    return reached;
}

void resource_changed(struct auth *auth, const struct kind *kind, const char *name, struct role *role,
                      struct lock *lock)
{
    if (strcmp(kind->name, "role") == 0) {
        resources_role_changed(auth, name, role);
    } else if (strcmp(kind->name, "lock") == 0) {
        lock_free(lock != NULL ? map_set(auth->locks, name, lock) : map_remove(auth->locks, name));
    } else if (kind->single) {
        settings_apply(auth);
    } else if (strcmp(kind->name, "user") != 0) {
        return; /* nothing running depends on it */
    }
    sessions_recheck(auth);
}

json_t *resource_event(const struct call *call, const char *event_name, const json_t *doc, const char *name)
{
    json_t *event = call_event(call, event_name, true);
    const json_t *spec = json_object_get(doc, "spec");
    json_object_set_new(event, "name", json_string(name));
    json_t *target = json_object_get(spec, "target");
    if (target != NULL) {
        json_object_set_new(event, "target", json_deep_copy(target));
    }
    if (strcmp(json_get_text(doc, "kind", ""), "node") == 0) { /* its name is a UUID */
        json_object_set_new(event, "server_hostname", json_string(json_get_text(spec, "hostname", "")));
    }
    if (strcmp(json_get_text(doc, "kind", ""), "user") == 0) {
        json_t *roles = json_object_get(spec, "roles");
        json_object_set_new(event, "roles", json_is_array(roles) ? json_deep_copy(roles) : json_array());
        json_object_set_new(event, "connector", json_string("local"));
    }
    return event;
}

/* ---- rm ---- */

struct use {
    const char *role;
    char by[300];
};

static bool role_used(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct use *use = ctx;
    (void)revision;
    if (json_list_has(json_object_get(json_object_get(doc, "spec"), "roles"), use->role) ||
        delegate_maps_to(doc, use->role)) {
        snprintf(use->by, sizeof use->by, "%s \"%s\"", json_get_text(doc, "kind", ""), name);
        return false;
    }
    return true;
}

/* A role that somebody has, or to which a connector maps people, stays. */
static enum tp_err check_unused(struct auth *auth, const char *name, struct tp_error *error)
{
    struct use use = {.role = name};
    enum tp_err err = TP_OK;
    for (const struct kind *kind = resource_kind_table; err == TP_OK && kind->name != NULL; kind++) {
        if (use.by[0] == '\0' &&
            (kind->family != NULL || strcmp(kind->name, "user") == 0 || strcmp(kind->name, "trusted_cluster") == 0)) {
            err = doc_each(kind_store(auth, kind), kind->prefix, NULL, role_used, &use, error);
        }
    }
    if (err == TP_OK && use.by[0] != '\0') {
        err = err_set(error, TP_INVALID, "role \"%s\" is in use by %s; take it away there first", name, use.by);
    }
    return err;
}

char *resource_single_name(const struct kind *kind)
{
    char *name = mem_strdup(kind->name);
    for (char *p = name; *p != '\0'; p++) {
        *p = *p == '_' ? '-' : *p;
    }
    return name;
}

static enum tp_err rm_document(struct call *call, const struct kind *kind, const char *name, struct tp_error *error)
{
    struct auth *auth = call->auth;
    if (strcmp(kind->name, "role") == 0) {
        enum tp_err used = check_unused(auth, name, error);
        if (used != TP_OK) {
            return used;
        }
    }
    if (strcmp(kind->name, "user") == 0 && call->caller.who == WHO_USER && strcmp(call->caller.user, name) == 0) {
        return err_set(error, TP_INVALID, "you can't delete yourself");
    }
    enum tp_err err = TP_OK;
    if (strcmp(kind->name, "user") == 0) {
        /* First the password: were it left behind by a failure, a later user of this name would inherit it. */
        err = users_wipe_login(auth, name, error);
    }
    if (err == TP_OK) {
        err = doc_delete(kind_store(auth, kind), kind->prefix, kind->single ? kind->name : name, error);
    }
    if (err == TP_NOT_FOUND && kind->single) {
        return err_set(error, TP_NOT_FOUND, "the %s has its defaults already", kind->name);
    }
    if (err == TP_NOT_FOUND) {
        return err_set(error, TP_NOT_FOUND, "there is no %s \"%s\"", kind->name, name);
    }
    if (err == TP_OK && strcmp(kind->name, "user") == 0) {
        sessions_cut_user(auth, name, NULL, CLOSE_RIGHT_LOST, "the user was deleted");
    }
    if (err == TP_OK && kind->target == ROLE_NODE) {
        agentless_changed(auth, name, NULL);
    }
    if (err == TP_OK) {
        resource_changed(auth, kind, name, NULL, NULL);
    }
    return err;
}

/* What is to be deleted, for `where`; NULL when there is no such document. */
static json_t *stored(struct auth *auth, const struct kind *kind, const char *name)
{
    json_t *doc = NULL;
    struct tp_error none = {0};
    const struct host *host = strcmp(kind->name, "node") == 0 ? hosts_get(auth, name) : NULL;
    if (host != NULL) {
        return hosts_resource(host);
    }
    if (kind->prefix == NULL ||
        doc_find(kind_store(auth, kind), kind->prefix, kind->single ? kind->name : name, &doc, NULL, &none) != TP_OK) {
        return NULL;
    }
    return doc;
}

/* One of a kind has no other name: rm cap/x must not take away what was not meant. */
static enum tp_err check_single_name(const struct kind *kind, const char *name, struct tp_error *error)
{
    char *written = resource_single_name(kind);
    bool good = strcmp(name, kind->name) == 0 || strcmp(name, written) == 0;
    mem_free(written);
    return good ? TP_OK : err_set(error, TP_NOT_FOUND, "there is no %s \"%s\"", kind->name, name);
}

void do_resources_rm(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *kind_name = NULL;
    const char *name = NULL;
    const struct kind *kind = NULL;
    json_t *doc = NULL;
    enum tp_err err = json_need_text(call->params, "kind", &kind_name, &error);
    if (err == TP_OK) {
        err = json_need_text(call->params, "name", &name, &error);
    }
    if (err == TP_OK) {
        kind = kind_find(kind_name, &error);
        err = kind != NULL ? TP_OK : error.code;
    }
    if (err == TP_OK) {
        doc = stored(auth, kind, name);
        err = resource_rule(call, "delete", kind, doc, &error);
    }
    if (err == TP_OK && kind->single) {
        err = check_single_name(kind, name, &error);
    }
    if (err == TP_OK && doc != NULL && !resource_reached(call, kind, doc)) {
        err = err_set(&error, TP_NOT_FOUND, "there is no %s \"%s\"", kind->name, name);
    }
    if (err == TP_OK && kind->deleted == NULL) {
        err = err_set(&error, TP_INVALID, "resources of kind \"%s\" can't be deleted", kind->name);
    }
    if (err == TP_OK && strcmp(kind->name, "token") == 0) {
        err = tokens_delete(auth, name, &error);
    } else if (err == TP_OK && strcmp(kind->name, "node") == 0 && hosts_get(auth, name) != NULL) {
        err = hosts_delete(auth, name, &error); /* before a document of that name, so that none shields a host */
    } else if (err == TP_OK && strcmp(kind->name, "kube_server") == 0) {
        err = kube_forget(auth, name, &error);
    } else if (err == TP_OK) {
        err = rm_document(call, kind, name, &error);
    }
    const struct host *named =
        err == TP_NOT_FOUND && strcmp(kind->name, "node") == 0 ? access_host_by_name(call, name) : NULL;
    if (named != NULL) {
        err = err_set(&error, TP_INVALID, "a host is removed by its id, for names may change: the id of %s is %s",
                      named->name, named->id);
    }
    if (err != TP_OK) {
        json_decref(doc);
        call_fail(call, &error);
        return;
    }
    char *mask = strcmp(kind->name, "token") == 0 ? tokens_mask(name) : mem_strdup(name);
    json_t *event = resource_event(call, kind->deleted, doc, mask);
    mem_free(mask);
    json_decref(doc);
    call_reply_audited(call, event, NULL);
}

/* Resources as people write them: get, put, rm with the checks of each kind. The store keeps the JSON; roles and locks
 * are kept parsed in memory too. */
#include "auth/kube.h"

#include <string.h>

struct kind {
    const char *name;
    const char *prefix;  /* in the state store */
    const char *created; /* audit events */
    const char *updated;
    const char *deleted;
    bool single; /* one of a kind: its name is the kind */
};

static const struct kind kinds[] = {
    {"role", "/role/", "role.created", "role.updated", "role.deleted", false},
    {"user", "/user/", "user.create", "user.update", "user.delete", false},
    {"lock", "/lock/", "lock.created", "lock.created", "lock.deleted", false},
    {"token", NULL, "join_token.create", "join_token.create", "join_token.delete", false},
    {"node", NULL, NULL, NULL, "node.deleted", false},
    {"kube_server", NULL, NULL, NULL, "kube_server.deleted", false},
    {"cert_authority", NULL, NULL, NULL, NULL, false},
    {"cluster_auth_preference", "/config/", "auth_preference.update", "auth_preference.update",
     "auth_preference.update", true},
    {"cluster_networking_config", "/config/", "cluster_networking_config.update", "cluster_networking_config.update",
     "cluster_networking_config.update", true},
    {"session_recording_config", "/config/", "session_recording_config.update", "session_recording_config.update",
     "session_recording_config.update", true},
};

static const struct kind *kind_find(const char *name, struct tp_error *error)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return &kinds[i];
        }
    }
    (void)err_set(error, TP_INVALID, "resources of kind \"%s\" are not supported", name);
    return NULL;
}

void resources_role_changed(struct auth *auth, const char *name, struct role *role)
{
    role_unref(role != NULL ? map_set(auth->roles, name, role) : map_remove(auth->roles, name));
}

static void set_revision(json_t *doc, uint64_t revision)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)revision);
    json_t *metadata = json_object_get(doc, "metadata");
    if (metadata == NULL) {
        metadata = json_object();
        json_object_set_new(doc, "metadata", metadata);
    }
    json_object_set_new(metadata, "revision", json_string(text));
}

struct getting {
    json_t *items;
};

static bool get_one(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct getting *getting = ctx;
    (void)name;
    json_t *copy = json_deep_copy(doc);
    set_revision(copy, revision);
    json_array_append_new(getting->items, copy);
    return true;
}

static void get_node(void *ctx, const char *key, void *value)
{
    struct getting *getting = ctx;
    (void)key;
    if (hosts_is_node(value)) {
        json_array_append_new(getting->items, hosts_resource(value));
    }
}

struct kube_getting {
    const struct call *call;
    json_t *items;
};

/* A user's view is his reach, as with nodes. */
static void get_kube_server(void *ctx, struct host *host, const json_t *cluster)
{
    struct kube_getting *getting = ctx;
    struct rbac_target target;
    struct rbac_label *labels = NULL;
    const struct rbac_set *set = getting->call->caller.set;
    kube_target(cluster, &target, &labels);
    if (set == NULL || rbac_can_list(set, &target)) {
        json_array_append_new(getting->items, kube_server_resource(host, cluster));
    }
    mem_free(labels);
}

static json_t *ca_resource(const struct auth *auth, enum ca_kind kind)
{
    const struct ca *ca = &auth->ca[kind];
    char *pem = enc_base64(ca->tls_pem, strlen(ca->tls_pem));
    json_t *doc = json_pack("{s:s, s:s, s:s, s:{s:s}, s:{s:s, s:s, s:{s:[{s:s}], s:[{s:s}]}, s:{}, s:{s:s}}}", "kind",
                            "cert_authority", "sub_kind", ca_name(kind), "version", "v2", "metadata", "name",
                            auth->settings.cluster, "spec", "type", ca_name(kind), "cluster_name",
                            auth->settings.cluster, "active_keys", "ssh", "public_key", ca->ssh_line, "tls", "cert",
                            pem, "additional_trusted_keys", "rotation", "state", "standby");
    mem_free(pem);
    return doc;
}

static enum tp_err collect(const struct call *call, const struct kind *kind, struct getting *getting,
                           struct tp_error *error)
{
    struct auth *auth = call->auth;
    if (strcmp(kind->name, "token") == 0) {
        return doc_each(auth->secrets, "/token/", NULL, get_one, getting, error);
    }
    if (strcmp(kind->name, "node") == 0) {
        map_each(auth->hosts, get_node, getting);
        return TP_OK;
    }
    if (strcmp(kind->name, "kube_server") == 0) {
        kube_each(auth, get_kube_server, &(struct kube_getting){call, getting->items});
        return TP_OK;
    }
    if (strcmp(kind->name, "cert_authority") == 0) {
        for (int i = 0; i < CA_KIND_COUNT; i++) {
            json_array_append_new(getting->items, ca_resource(auth, (enum ca_kind)i));
        }
        return TP_OK;
    }
    if (kind->single) {
        json_t *doc = NULL;
        uint64_t revision = 0;
        enum tp_err err = doc_find(auth->state, kind->prefix, kind->name, &doc, &revision, error);
        if (err == TP_NOT_FOUND) {
            doc = json_pack("{s:s, s:s, s:{s:s}, s:{}}", "kind", kind->name, "version", "v2", "metadata", "name",
                            kind->name, "spec");
            if (strcmp(kind->name, "session_recording_config") == 0) {
                json_object_set_new(json_object_get(doc, "spec"), "mode",
                                    json_string(auth->settings.record ? "node" : "off"));
            } else if (strcmp(kind->name, "cluster_auth_preference") == 0) {
                json_object_set_new(json_object_get(doc, "spec"), "type", json_string("local"));
                json_object_set_new(json_object_get(doc, "spec"), "second_factor", json_string("otp"));
            }
            err = TP_OK;
        }
        if (err == TP_OK) {
            set_revision(doc, revision);
            json_array_append_new(getting->items, doc);
        }
        return err;
    }
    return doc_each(auth->state, kind->prefix, NULL, get_one, getting, error);
}

static const char *resource_name(const json_t *doc)
{
    return json_get_text(json_object_get(doc, "metadata"), "name", "");
}

/* One name, or for nodes the host name too. */
static bool named(const json_t *doc, const char *name)
{
    return strcmp(resource_name(doc), name) == 0 ||
           (strcmp(json_get_text(doc, "kind", ""), "node") == 0 &&
            strcmp(json_get_text(json_object_get(doc, "spec"), "hostname", ""), name) == 0) ||
           (strcmp(json_get_text(doc, "kind", ""), "cert_authority") == 0 &&
            strcmp(json_get_text(doc, "sub_kind", ""), name) == 0);
}

/* A user's view of nodes is his reach; everything else is decided by rule for each item, so that `where` counts. */
static bool visible(const struct call *call, const char *verb, const struct kind *kind, const json_t *doc)
{
    struct tp_error ignored = {0};
    if (strcmp(kind->name, "node") == 0 && call->caller.set != NULL) {
        const struct host *host = hosts_get(call->auth, resource_name(doc));
        struct rbac_target target;
        struct rbac_label *labels = NULL;
        if (host == NULL) {
            return false;
        }
        hosts_target(host, &target, &labels);
        bool reach = rbac_can_list(call->caller.set, &target);
        mem_free(labels);
        return reach;
    }
    struct rbac_context context = {.resource = doc};
    return call_rule(call, verb, kind->name, &context, &ignored) == TP_OK;
}

void do_resources_get(struct call *call)
{
    struct tp_error error = {0};
    const char *kind_name = NULL;
    const char *name = json_get_text(call->params, "name", "");
    enum tp_err err = json_need_text(call->params, "kind", &kind_name, &error);
    const struct kind *kind = err == TP_OK ? kind_find(kind_name, &error) : NULL;
    if (kind == NULL) {
        call_fail(call, &error);
        return;
    }
    /* Reading needs read, or for CAs (whose keys never leave) readnosecrets; a listing needs list and read. */
    const char *verb = strcmp(kind->name, "cert_authority") == 0 ? "readnosecrets" : "read";
    struct rbac_decision decision;
    if (call->caller.set != NULL &&
        (rbac_rule_possible(call->caller.set, verb, kind->name, &decision) != TP_OK ||
         (name[0] == '\0' && rbac_rule_possible(call->caller.set, "list", kind->name, &decision) != TP_OK))) {
        call_fail_text(call, TP_DENIED, "access denied to perform action \"%s\" on \"%s\"",
                       name[0] == '\0' ? "list" : verb, kind->name);
        return;
    }
    struct getting getting = {.items = json_array()};
    err = collect(call, kind, &getting, &error);
    json_t *items = json_array();
    size_t i;
    json_t *doc;
    json_array_foreach (getting.items, i, doc) {
        if ((name[0] == '\0' || kind->single || named(doc, name)) && visible(call, verb, kind, doc)) {
            json_array_append(items, doc);
        }
    }
    json_decref(getting.items);
    if (err == TP_OK && name[0] != '\0' && json_array_size(items) == 0) {
        err = err_set(&error, TP_NOT_FOUND, "there is no %s \"%s\"", kind->name, name);
    }
    if (err != TP_OK) {
        json_decref(items);
        call_fail(call, &error);
        return;
    }
    call_reply(call, doc_page(items, call->params));
}

/* ---- put ---- */

/* Parses the document as its kind; what is kept in memory comes back in role or lock. */
static enum tp_err validate(struct auth *auth, const struct kind *kind, const json_t *doc, struct role **ret_role,
                            struct lock **ret_lock, struct tp_error *error)
{
    if (strcmp(kind->name, "role") == 0) {
        enum tp_err err = role_parse_json(doc, ROLE_WRITTEN, ret_role, error);
        if (err == TP_OK && !role_name_valid(resource_name(doc))) {
            err = err_set(error, TP_INVALID, "the role's name is not valid");
        }
        return err;
    }
    if (strcmp(kind->name, "user") == 0) {
        struct user *user = NULL;
        enum tp_err err = user_parse_json(doc, &user, error);
        if (err == TP_OK && (!role_name_valid(user->name) || strlen(user->name) > 200)) {
            err = err_set(error, TP_INVALID, "a user name has 1 to 200 letters, digits or . _ - @ +");
        }
        json_t *roles = json_object_get(json_object_get(doc, "spec"), "roles");
        if (err == TP_OK && json_array_size(roles) > 0) {
            err = users_check_roles(auth, roles, error);
        }
        user_free(user);
        return err;
    }
    if (strcmp(kind->name, "lock") == 0) {
        return lock_parse_json(doc, ret_lock, error);
    }
    if (!json_is_object(json_object_get(doc, "spec"))) {
        return err_set(error, TP_INVALID, "%s has no spec", kind->name);
    }
    return TP_OK;
}

/* Which revision the write expects: the one given, absent without force, any with force. */
static enum tp_err expected_of(const struct call *call, const json_t *doc, bool exists, uint64_t current,
                               uint64_t *ret_expected, struct tp_error *error)
{
    const char *revision = json_get_text(call->params, "revision", NULL);
    if (revision == NULL || revision[0] == '\0') {
        revision = NULL;
    }
    if (revision != NULL) {
        char text[32];
        snprintf(text, sizeof text, "%llu", (unsigned long long)current);
        if (!exists || strcmp(text, revision) != 0) {
            return err_set(error, TP_CONFLICT, "%s was changed by someone else in the meantime; get it again",
                           resource_name(doc));
        }
        *ret_expected = current;
    } else if (exists && !json_get_bool(call->params, "force", false)) {
        return err_set(error, TP_EXISTS, "%s \"%s\" exists already; use -f to replace it",
                       json_get_text(doc, "kind", ""), resource_name(doc));
    } else {
        *ret_expected = exists ? current : STORE_ABSENT;
    }
    return TP_OK;
}

static void after_change(struct auth *auth, const struct kind *kind, const char *name, struct role *role,
                         struct lock *lock)
{
    if (strcmp(kind->name, "role") == 0) {
        resources_role_changed(auth, name, role);
    } else if (strcmp(kind->name, "lock") == 0) {
        lock_free(lock != NULL ? map_set(auth->locks, name, lock) : map_remove(auth->locks, name));
    } else if (kind->single) {
        settings_apply(auth);
    }
    sessions_recheck(auth);
}

static json_t *change_event(const struct call *call, const char *event_name, const json_t *doc, const char *name)
{
    json_t *event = call_event(call, event_name, true);
    json_object_set_new(event, "name", json_string(name));
    const json_t *target = json_object_get(json_object_get(doc, "spec"), "target");
    if (target != NULL) {
        json_object_set_new(event, "target", json_deep_copy(target));
    }
    return event;
}

static void put_token(struct call *call, const struct kind *kind, json_t *doc)
{
    struct tp_error error = {0};
    bool created = false;
    bool force = json_get_bool(call->params, "force", false);
    enum tp_err err = tokens_put(call->auth, doc, force ? STORE_ANY : STORE_ABSENT, &created, &error);
    if (err == TP_EXISTS) {
        err = err_set(&error, TP_EXISTS, "this token exists already; use -f to replace it");
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    char *mask = tokens_mask(resource_name(doc));
    json_t *event = change_event(call, kind->created, NULL, mask);
    call_reply_audited(call, event, json_pack("{s:b, s:s, s:s}", "created", created, "kind", kind->name, "name", mask));
    mem_free(mask);
}

static enum tp_err put_check(struct call *call, const struct kind *kind, const json_t *doc, bool *ret_exists,
                             uint64_t *ret_revision, struct tp_error *error)
{
    const char *name = kind->single ? kind->name : resource_name(doc);
    json_t *old = NULL;
    struct tp_error none = {0};
    *ret_exists =
        kind->prefix != NULL && doc_find(call->auth->state, kind->prefix, name, &old, ret_revision, &none) == TP_OK;
    struct rbac_context context = {.resource = old != NULL ? old : doc};
    enum tp_err err = call_rule(call, *ret_exists || kind->single ? "update" : "create", kind->name, &context, error);
    json_decref(old);
    return err;
}

static void put_document(struct call *call, const struct kind *kind, json_t *doc)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    bool exists = false;
    uint64_t revision = 0;
    uint64_t expected = 0;
    struct role *role = NULL;
    struct lock *lock = NULL;
    if (strcmp(kind->name, "lock") == 0 && resource_name(doc)[0] == '\0') {
        char id[UUID_TEXT_SIZE];
        crypt_uuid(id);
        json_object_set_new(doc, "metadata", json_pack("{s:s}", "name", id));
    }
    const char *name = kind->single ? kind->name : resource_name(doc);
    enum tp_err err = put_check(call, kind, doc, &exists, &revision, &error);
    if (err == TP_OK) {
        err = expected_of(call, doc, exists && !kind->single, revision, &expected, &error);
    }
    if (err == TP_OK && kind->single) {
        expected = exists ? revision : STORE_ABSENT;
    }
    json_object_del(json_object_get(doc, "metadata"), "revision");
    if (err == TP_OK) {
        err = validate(auth, kind, doc, &role, &lock, &error);
    }
    if (err == TP_OK && !exists && strcmp(kind->name, "user") == 0) {
        err = users_mark_since(auth, name, &error);
    }
    if (err == TP_OK) {
        err = doc_put(auth->state, kind->prefix, name, doc, expected, NULL, &error);
    }
    if (err != TP_OK) {
        role_unref(role);
        lock_free(lock);
        call_fail(call, &error);
        return;
    }
    json_t *event = change_event(call, exists ? kind->updated : kind->created, doc, name);
    json_t *result = json_pack("{s:b, s:s, s:s}", "created", !exists, "kind", kind->name, "name", name);
    if (role != NULL && role_warnings(role)[0] != '\0') {
        json_object_set_new(result, "warnings", json_string(role_warnings(role)));
    }
    after_change(auth, kind, name, role, lock);
    call_reply_audited(call, event, result);
}

void do_resources_put(struct call *call)
{
    struct tp_error error = {0};
    json_t *resource = NULL;
    const char *kind_name = NULL;
    enum tp_err err = json_need_object(call->params, "resource", &resource, &error);
    if (err == TP_OK) {
        err = json_need_text(resource, "kind", &kind_name, &error);
    }
    const struct kind *kind = err == TP_OK ? kind_find(kind_name, &error) : NULL;
    if (kind == NULL) {
        call_fail(call, &error);
        return;
    }
    if (kind->created == NULL) {
        call_fail_text(call, TP_INVALID, "resources of kind \"%s\" can't be written", kind->name);
        return;
    }
    json_t *doc = json_deep_copy(resource);
    if (strcmp(kind->name, "token") == 0) {
        /* With force it may turn out either way, so both rights are needed; the answer tells nothing about what exists. */
        if (call_rule(call, "create", "token", NULL, &error) != TP_OK ||
            (json_get_bool(call->params, "force", false) &&
             call_rule(call, "update", "token", NULL, &error) != TP_OK)) {
            call_fail(call, &error);
        } else {
            put_token(call, kind, doc);
        }
    } else {
        put_document(call, kind, doc);
    }
    json_decref(doc);
}

/* ---- rm ---- */

struct use {
    const char *role;
    char user[256];
};

static bool role_used(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct use *use = ctx;
    (void)revision;
    if (json_list_has(json_object_get(json_object_get(doc, "spec"), "roles"), use->role)) {
        snprintf(use->user, sizeof use->user, "%s", name);
        return false;
    }
    return true;
}

static enum tp_err rm_document(struct call *call, const struct kind *kind, const char *name, struct tp_error *error)
{
    struct auth *auth = call->auth;
    if (strcmp(kind->name, "role") == 0) {
        struct use use = {.role = name};
        enum tp_err err = doc_each(auth->state, "/user/", NULL, role_used, &use, error);
        if (err == TP_OK && use.user[0] != '\0') {
            err = err_set(error, TP_INVALID, "role \"%s\" is in use by user \"%s\"; take it from the user first", name,
                          use.user);
        }
        if (err != TP_OK) {
            return err;
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
        err = doc_delete(auth->state, kind->prefix, kind->single ? kind->name : name, error);
    }
    if (err == TP_NOT_FOUND) {
        return err_set(error, TP_NOT_FOUND, "there is no %s \"%s\"", kind->name, name);
    }
    if (err == TP_OK && strcmp(kind->name, "user") == 0) {
        sessions_cut_user(auth, name, CLOSE_RIGHT_LOST, "the user was deleted");
    }
    if (err == TP_OK) {
        after_change(auth, kind, name, NULL, NULL);
    }
    return err;
}

void do_resources_rm(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *kind_name = NULL;
    const char *name = NULL;
    const struct kind *kind = NULL;
    enum tp_err err = json_need_text(call->params, "kind", &kind_name, &error);
    if (err == TP_OK) {
        err = json_need_text(call->params, "name", &name, &error);
    }
    if (err == TP_OK) {
        kind = kind_find(kind_name, &error);
        err = kind != NULL ? TP_OK : error.code;
    }
    if (err == TP_OK) {
        err = call_rule(call, "delete", kind->name, NULL, &error);
    }
    if (err == TP_OK && kind->deleted == NULL) {
        err = err_set(&error, TP_INVALID, "resources of kind \"%s\" can't be deleted", kind->name);
    }
    if (err == TP_OK && strcmp(kind->name, "token") == 0) {
        err = tokens_delete(auth, name, &error);
    } else if (err == TP_OK && strcmp(kind->name, "node") == 0) {
        err = hosts_delete(auth, name, &error);
    } else if (err == TP_OK && strcmp(kind->name, "kube_server") == 0) {
        err = kube_forget(auth, name, &error);
    } else if (err == TP_OK) {
        err = rm_document(call, kind, name, &error);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    char *mask = strcmp(kind->name, "token") == 0 ? tokens_mask(name) : mem_strdup(name);
    json_t *event = change_event(call, kind->deleted, NULL, mask);
    mem_free(mask);
    call_reply_audited(call, event, NULL);
}

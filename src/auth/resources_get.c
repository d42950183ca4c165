/* Reading resources: what the caller may see, item by item, without secrets unless he asks and may. */
#include "auth/agentless.h"
#include "auth/ca.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/locks.h"
#include "auth/kube.h"
#include "auth/pages.h"
#include "auth/resources.h"

#include <string.h>

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
    bool exact; /* items are what was named, whatever their names look like */
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

static void get_node(struct getting *getting, const struct host *host)
{
    if (hosts_is_node(host)) {
        json_array_append_new(getting->items, hosts_resource(host));
    }
}

struct kube_getting {
    const struct call *call;
    json_t *items;
};

/* A token has the masked name; who knows its value names it by that. */
static enum tp_err get_tokens(struct auth *auth, const char *name, struct getting *getting, struct tp_error *error)
{
    char hash[HASH_TEXT_SIZE];
    json_t *doc = NULL;
    uint64_t revision = 0;
    doc_hash(name, hash);
    enum tp_err err = doc_find(auth->secrets, "/token/", hash, &doc, &revision, error);
    if (err == TP_OK) {
        (void)get_one(getting, hash, doc, revision);
        json_decref(doc);
        getting->exact = true;
    }
    return err == TP_NOT_FOUND ? doc_each(auth->secrets, "/token/", NULL, get_one, getting, error) : err;
}

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
    json_t *sets[2];
    for (size_t i = 0; i < 2; i++) {
        const struct ca_keys *keys = i == 0 ? &ca->keys : &ca->fresh;
        char *pem = keys->tls_pem != NULL ? enc_base64(keys->tls_pem, strlen(keys->tls_pem)) : NULL;
        sets[i] = pem == NULL
                      ? json_object()
                      : json_pack("{s:[{s:s}], s:[{s:s}]}", "ssh", "public_key", keys->ssh_line, "tls", "cert", pem);
        mem_free(pem);
    }
    return json_pack("{s:s, s:s, s:s, s:{s:s}, s:{s:s, s:s, s:o, s:o, s:{s:s, s:s, s:s}}}", "kind", "cert_authority",
                     "sub_kind", ca_name(kind), "version", "v2", "metadata", "name", auth->settings.cluster, "spec",
                     "type", ca_name(kind), "cluster_name", auth->settings.cluster, "active_keys", sets[0],
                     "additional_trusted_keys", sets[1], "rotation", "state",
                     ca->phase == CA_STANDBY ? "standby" : "in_progress", "phase", ca_phase_name(ca->phase), "mode",
                     ca->automatic ? "auto" : "manual");
}

static enum tp_err collect(const struct call *call, const struct kind *kind, struct getting *getting,
                           struct tp_error *error)
{
    struct auth *auth = call->auth;
    const char *name = json_get_text(call->params, "name", "");
    if (strcmp(kind->name, "token") == 0) {
        return get_tokens(auth, name, getting, error);
    }
    if (strcmp(kind->name, "node") == 0) {
        hosts_sort(auth);
        bool written = strcmp(json_get_text(call->params, "sub_kind", ""), "openssh") == 0;
        for (size_t i = 0; !written && i < auth->host_order_count; i++) {
            get_node(getting, auth->host_order[i].host);
        }
        return doc_each(auth->state, kind->prefix, NULL, get_one, getting, error);
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
            char *written = resource_single_name(kind);
            doc = json_pack("{s:s, s:s, s:{s:s}, s:{}}", "kind", kind->name, "version", "v2", "metadata", "name",
                            written, "spec");
            mem_free(written);
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
    if (name[0] != '\0') {
        json_t *doc = NULL;
        uint64_t revision = 0;
        struct tp_error none = {0};
        enum tp_err err = doc_find(kind_store(auth, kind), kind->prefix, name, &doc, &revision, &none);
        if (err == TP_OK) {
            (void)get_one(getting, name, doc, revision);
            json_decref(doc);
        }
        return err == TP_NOT_FOUND ? TP_OK : err == TP_OK ? TP_OK : err_set(error, err, "%s", none.text);
    }
    return doc_each(kind_store(auth, kind), kind->prefix, NULL, get_one, getting, error);
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
    if (agentless_is(doc)) {
        return resource_reached(call, kind, doc);
    }
    if (strcmp(kind->name, "node") == 0 && call->caller.set != NULL) {
        const struct host *host = hosts_get(call->auth, resource_name(doc));
        struct rbac_target target;
        if (host == NULL) {
            return false;
        }
        hosts_target(host, &target);
        return rbac_can_list(call->caller.set, &target);
    }
    return resource_reached(call, kind, doc) && resource_rule(call, verb, kind, doc, &ignored) == TP_OK;
}

/* Could the caller do verb on some resource of this kind? */
static bool possible(const struct call *call, const char *verb, const struct kind *kind)
{
    struct rbac_decision decision;
    return call->caller.set == NULL || rbac_rule_possible(call->caller.set, verb, kind->name, &decision) == TP_OK ||
           (kind->family != NULL && rbac_rule_possible(call->caller.set, verb, kind->family, &decision) == TP_OK);
}

static void hide_secrets(const struct kind *kind, json_t *doc)
{
    json_t *spec = json_object_get(doc, "spec");
    for (size_t i = 0; kind->secrets != NULL && kind->secrets[i] != NULL; i++) {
        (void)json_object_del(spec, kind->secrets[i]);
    }
}

/* ---- pages ---- */

static const struct pages_column user_columns[] = {
    {"name", {"metadata.name"}}, {"roles", {"spec.roles"}}, {NULL, {NULL}}};
static const char *const user_search[] = {"metadata.name", "spec.roles", "spec.traits", NULL};
static const struct pages_column role_columns[] = {
    {"name", {"metadata.name"}}, {"description", {"metadata.description"}}, {NULL, {NULL}}};
static const char *const role_search[] = {"metadata.name", "metadata.description", NULL};
static const struct pages_column token_columns[] = {
    {"name", {"metadata.name"}}, {"roles", {"spec.roles"}}, {"until", {"metadata.expires"}}, {NULL, {NULL}}};
static const char *const token_search[] = {"metadata.name", "spec.roles", "spec.suggested_labels", NULL};
static const struct pages_column lock_columns[] = {{"target", {"spec.target"}},
                                                   {"message", {"spec.message"}},
                                                   {"until", {"spec.expires"}},
                                                   {"by", {"spec.created_by"}},
                                                   {NULL, {NULL}}};
static const char *const lock_search[] = {"spec.target", "spec.message", "spec.created_by", NULL};
static const struct pages_column other_columns[] = {{"name", {"metadata.name"}}, {NULL, {NULL}}};
static const char *const other_search[] = {"metadata.name", "metadata.description", NULL};

/* How people page through the resources of a kind; the last row is for all the others. */
static const struct kind_pages {
    const char *kind;
    struct pages pages;
} kind_pages[] = {
    {"user", {user_columns, user_search, "metadata.name", "metadata.labels"}},
    {"role", {role_columns, role_search, "metadata.name", "metadata.labels"}},
    {"token", {token_columns, token_search, "metadata.name", "spec.suggested_labels"}},
    {"lock", {lock_columns, lock_search, "metadata.name", "metadata.labels"}},
    {NULL, {other_columns, other_search, "metadata.name", "metadata.labels"}},
};

static const struct pages *pages_of(const struct kind *kind)
{
    const struct kind_pages *row = kind_pages;
    while (row->kind != NULL && strcmp(row->kind, kind->name) != 0) {
        row++;
    }
    return &row->pages;
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
    /* Reading needs read; where secrets stay hidden, readnosecrets (which read includes). A listing needs list too. */
    bool secrets = json_get_bool(call->params, "with_secrets", false);
    bool hide = kind->secrets != NULL && !secrets;
    const char *verb = hide || strcmp(kind->name, "cert_authority") == 0 ? "readnosecrets" : "read";
    if (!possible(call, verb, kind) || (name[0] == '\0' && !possible(call, "list", kind))) {
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
        if ((name[0] == '\0' || kind->single || getting.exact || named(doc, name)) && visible(call, verb, kind, doc)) {
            if (hide) {
                hide_secrets(kind, doc);
            }
            json_array_append(items, doc);
        }
    }
    json_decref(getting.items);
    if (err == TP_OK && name[0] != '\0' && json_array_size(items) == 0) {
        err = err_set(&error, TP_NOT_FOUND, "there is no %s \"%s\"", kind->name, name);
    }
    json_t *page = NULL;
    if (err == TP_OK) {
        err = pages_make(pages_of(kind), items, call->params, &page, &error);
    } else {
        json_decref(items);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    if (json_get_bool(call->params, "with_locks", false) && strcmp(kind->name, "user") == 0) {
        locks_mark_users(call->auth, json_object_get(page, "items"));
    }
    call_reply(call, page);
}

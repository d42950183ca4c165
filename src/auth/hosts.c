/* The table of hosts, and their telling what they are. A host speaks for its own id only (R15). */
#include "auth/ca.h"
#include "auth/cert_cache.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/kube.h"
#include "auth/live.h"

#include <string.h>

#define HEARTBEAT_MS ((int64_t)60 * 1000)
#define PRESENCE_MS ((int64_t)10 * 60 * 1000)
#define LABELS_MAX 200
#define REPORT_COST_MS 1000 /* agents report once a second at most */

/* The texts for lists are made anew when one needs them. */
static void forget_texts(struct host *host)
{
    buf_free(&host->text);
    buf_free(&host->brief);
}

static void host_destroy(struct host *host)
{
    if (host != NULL) {
        host_pace_free(host);
        host_heard_free(host);
        routes_free(host);
        mem_free(host->id);
        mem_free(host->name);
        mem_free(host->token);
        mem_free(host->labels);
        json_decref(host->resource);
        forget_texts(host);
        json_decref(host->kube);
        mem_free(host);
    }
}

struct host *hosts_get(struct auth *auth, const char *id)
{
    return map_get(auth->hosts, id);
}

void hosts_saw_cert(struct host *host, int64_t made)
{
    if (made > host->cert_made) { /* sessions on an old tunnel go on with the old one */
        host->cert_made = made;
    }
}

bool hosts_is_node(const struct host *host)
{
    return (host->roles & TOKEN_NODE) != 0 && (host->resource != NULL || host->kube == NULL);
}

bool hosts_current(const struct host *host)
{
    int64_t ago_ms =
        clock_wall_ms() - host->last_seen_ms; /* before the clock was set back, it may have been years ahead */
    return host->tunnels != NULL || (ago_ms < PRESENCE_MS && ago_ms > -PRESENCE_MS);
}

json_t *hosts_resource(const struct host *host)
{
    if (host->resource != NULL) {
        return json_deep_copy(host->resource);
    }
    return json_pack("{s:s, s:s, s:{s:s, s:{}}, s:{s:s}}", "kind", "node", "version", "v2", "metadata", "name",
                     host->id, "labels", "spec", "hostname", host->name);
}

void hosts_target(const struct host *host, struct rbac_target *ret_target)
{
    *ret_target = (struct rbac_target){.kind = ROLE_NODE,
                                       .name = host->name,
                                       .labels = host->labels,
                                       .label_count = host->label_count,
                                       .tags = &host->tags};
}

/* resource (or NULL) is stolen and not changed any more. */
static void set_resource(struct auth *auth, struct host *host, json_t *resource)
{
    mem_free(host->labels);
    json_decref(host->resource);
    host->resource = resource;
    host->labels =
        rbac_labels_from_json(json_object_get(json_object_get(resource, "metadata"), "labels"),
                              json_object_get(json_object_get(resource, "spec"), "cmd_labels"), &host->label_count);
    host->tags = rbac_tags_of(host->labels, host->label_count);
    hosts_order_labels(auth, host);
    forget_texts(host);
}

struct host *hosts_add(struct auth *auth, const char *id, const char *name)
{
    struct host *host = map_get(auth->hosts, id);
    if (host == NULL) {
        host = mem_alloc(sizeof *host);
        host->id = mem_strdup(id);
        map_set(auth->hosts, id, host);
    }
    if (host->name == NULL || strcasecmp(host->name, name) != 0) {
        host_names_set(auth, host, name);
        forget_texts(host);
        hosts_order_changed(auth);
    }
    host->last_seen_ms = clock_wall_ms();
    return host;
}

/* ["Node", "Kube"] or ["node"]; roles that no host can have are left out. */
static unsigned roles_of(const json_t *list)
{
    unsigned roles = 0;
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        roles |= json_is_string(item) ? token_role(json_string_value(item)) : 0;
    }
    return roles & (TOKEN_NODE | TOKEN_KUBE);
}

void hosts_keep_token(struct host *host, const char *hash)
{
    char *copy = hash != NULL ? mem_strdup(hash) : NULL;
    mem_free(host->token);
    host->token = copy;
}

static bool load_host(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct host *host = hosts_add(ctx, name, json_get_text(doc, "name", name));
    const json_t *roles = json_object_get(doc, "roles");
    (void)revision;
    host->since = json_get_int(doc, "since", 0);
    host->cert_given = json_get_int(doc, "made", doc_ms(doc, "joined") / 1000);
    hosts_saw_cert(host, host->cert_given);
    host->roles = roles != NULL ? roles_of(roles) : TOKEN_NODE;
    hosts_keep_token(host, json_get_text(doc, "token", NULL));
    return true;
}

static bool load_node(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct host *host = hosts_get(ctx, name);
    (void)revision;
    if (host != NULL) {
        set_resource(ctx, host, json_deep_copy(doc));
    }
    return true;
}

enum tp_err hosts_load(struct auth *auth, struct tp_error *error)
{
    enum tp_err err = doc_each(auth->state, "/host/", NULL, load_host, auth, error);
    if (err == TP_OK) {
        err = doc_each(auth->state, "/node/", NULL, load_node, auth, error);
    }
    if (err == TP_OK) {
        err = host_reports_load(auth, error);
    }
    if (err == TP_OK) {
        err = host_seen_load(auth, error);
    }
    return err == TP_OK ? kube_hosts_load(auth, error) : err;
}

static void destroy_each(void *ctx, const char *key, void *value)
{
    (void)ctx;
    (void)key;
    host_destroy(value);
}

void hosts_free(struct auth *auth)
{
    map_each(auth->hosts, destroy_each, NULL);
    map_free(auth->hosts);
    map_free(auth->host_names);
    hosts_order_changed(auth);
    kube_order_changed(auth);
}

enum tp_err hosts_delete(struct auth *auth, const char *id, struct tp_error *error)
{
    struct host *host = hosts_get(auth, id);
    if (host == NULL) {
        return err_set(error, TP_NOT_FOUND, "there is no node with the id \"%s\"", id);
    }
    enum tp_err err = doc_delete(auth->state, "/node/", id, error);
    if (err == TP_OK || err == TP_NOT_FOUND) {
        err = doc_delete(auth->state, "/host_report/", id, error);
    }
    if (err == TP_OK || err == TP_NOT_FOUND) {
        err = host_seen_forget(auth, id, error);
    }
    if (err == TP_OK) {
        err = kube_hosts_delete(auth, id, error);
    }
    if (err == TP_OK) {
        err = doc_delete(auth->state, "/host/", id, error);
    }
    if (err != TP_OK && err != TP_NOT_FOUND) {
        return err;
    }
    auth_tell_workers(auth, "tunnel.cut",
                      json_pack("{s:s, s:s}", "host_id", id, "reason", close_name(CLOSE_ENDED_BY_ADMIN)));
    if (host->tunnels != NULL) { /* whose end will find no host any more */
        routes_free(host);
        routes_tell(auth, host);
    }
    (void)map_remove(auth->hosts, id);
    host_names_drop(auth, host);
    cert_cache_forget_host(auth->certs, host->id);
    hosts_order_changed(auth);
    kube_order_changed(auth);
    host_destroy(host);
    sessions_recheck(auth);
    return TP_OK;
}

enum tp_err hosts_check_labels(const json_t *labels, const char *key, bool commands, struct tp_error *error)
{
    if (labels == NULL || json_is_null(labels)) {
        return TP_OK;
    }
    if (!json_is_object(labels) || json_object_size(labels) > LABELS_MAX) {
        return err_set(error, TP_INVALID, "%s must be a map of at most %d labels", key, LABELS_MAX);
    }
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)labels, name, value) {
        const json_t *text = commands ? json_object_get(value, "result") : value;
        if (name[0] == '\0' || strlen(name) > 255 || !json_is_string(text) || json_string_length(text) > 4096) {
            return err_set(error, TP_INVALID, "a label in %s is too long or is no text", key);
        }
    }
    return TP_OK;
}

/* What the heartbeat says about SSH, as the node resource; NULL: it serves none. */
static json_t *node_of_heartbeat(const struct call *call, const struct host *host)
{
    const json_t *labels = json_object_get(call->params, "labels");
    const json_t *commands = json_object_get(call->params, "cmd_labels");
    const json_t *services = json_object_get(call->params, "services");
    if (services != NULL && !json_list_has(services, "ssh")) {
        return NULL;
    }
    return json_pack("{s:s, s:s, s:{s:s, s:o}, s:{s:s, s:s, s:o, s:s, s:b}}", "kind", "node", "version", "v2",
                     "metadata", "name", host->id, "labels",
                     json_is_object(labels) ? json_deep_copy(labels) : json_object(), "spec", "addr",
                     json_get_text(call->params, "addr", ""), "hostname", host->name, "cmd_labels",
                     json_is_object(commands) ? json_deep_copy(commands) : json_object(), "version",
                     json_get_text(call->params, "version", ""), "use_tunnel", 1);
}

/* node may be NULL: it is a node no more. */
static enum tp_err keep_node(struct auth *auth, struct host *host, json_t *node, struct tp_error *error)
{
    enum tp_err err = TP_OK;
    if (node == NULL ? host->resource == NULL : json_equal(host->resource, node)) {
        return TP_OK;
    }
    if (node != NULL) {
        err = doc_put(auth->state, "/node/", host->id, node, STORE_ANY, NULL, error);
    } else {
        err = doc_delete(auth->state, "/node/", host->id, error);
        err = err == TP_NOT_FOUND ? TP_OK : err;
    }
    if (err == TP_OK) {
        set_resource(auth, host, json_incref(node));
        sessions_recheck_host(auth, host->id);
    }
    return err;
}

/* R15: a host registers only what its token was for. The agent beside auth was started by the same configuration. */
static enum tp_err check_services(const struct call *call, const struct host *host, struct tp_error *error)
{
    const json_t *services = json_object_get(call->params, "services");
    unsigned roles = call->caller.local_agent ? TOKEN_NODE | TOKEN_KUBE : host->roles;
    bool ssh = services == NULL || json_list_has(services, "ssh");
    bool kube = json_list_has(services, "kube") || json_array_size(json_object_get(call->params, "kube_clusters")) > 0;
    const char *missing = ssh && (roles & TOKEN_NODE) == 0 ? "node" : kube && (roles & TOKEN_KUBE) == 0 ? "kube" : NULL;
    if (missing == NULL) {
        return TP_OK;
    }
    return err_set(error, TP_DENIED,
                   "this host joined without the role %s; make a token with `tportctl tokens add --type=%s`, "
                   "stop the agent, delete DATA_DIR/agent and start it with the new token",
                   missing, ssh && kube ? "node,kube" : missing);
}

void do_host_heartbeat(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    struct host_report report;
    struct host *host = call->caller.host_id != NULL ? hosts_get(auth, call->caller.host_id) : NULL;
    enum tp_err err = host != NULL ? TP_OK : err_set(&error, TP_DENIED, "this agent has not joined yet");
    if (err == TP_OK) {
        err = hosts_spend(host, REPORT_COST_MS, &error);
    }
    if (err == TP_OK) {
        err = host_report_open(call, host, &report, &error);
    }
    if (err == TP_OK) {
        err = host_report_is_news(host, &report, &error);
    }
    if (err == TP_OK && strcasecmp(json_get_text(call->params, "hostname", host->name), host->name) != 0) {
        err = err_set(&error, TP_DENIED,
                      "this host joined as \"%s\" and may report under that name "
                      "only; after a change of its nodename it must renew its certificate first",
                      host->name);
    }
    if (err == TP_OK) {
        err = check_services(call, host, &error);
    }
    if (err == TP_OK) {
        err = hosts_check_labels(json_object_get(call->params, "labels"), "labels", false, &error);
    }
    if (err == TP_OK) {
        err = hosts_check_labels(json_object_get(call->params, "cmd_labels"), "cmd_labels", true, &error);
    }
    if (err == TP_OK) {
        json_t *node = node_of_heartbeat(call, host);
        host->last_seen_ms = clock_wall_ms();
        if (call->caller.local_agent) {
            host->roles = TOKEN_NODE | TOKEN_KUBE; /* it may have joined when there was one role only */
        }
        err = kube_report(auth, host, json_object_get(call->params, "kube_clusters"),
                          json_get_text(call->params, "version", ""), &error);
        if (err == TP_OK) {
            err = keep_node(auth, host, node, &error);
        }
        if (err == TP_OK) {
            err = host_report_keep(auth, host, &report, &error);
        }
        json_decref(node);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    call_reply(call, json_pack("{s:I, s:I}", "next", (json_int_t)HEARTBEAT_MS, "hosts_since",
                               (json_int_t)auth->ca[CA_HOST].since));
}

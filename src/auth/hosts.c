/* Hosts: joining with a token, renewing with their own certificate, telling what they are. A host speaks for its own id
 * only (R15). */
#include "auth/kube.h"

#include <ctype.h>
#include <string.h>

#define HEARTBEAT_MS ((int64_t)60 * 1000)
#define PRESENCE_MS ((int64_t)10 * 60 * 1000)
#define ADDITIONAL_MAX 32
#define LABELS_MAX 200

static void host_destroy(struct host *host)
{
    if (host != NULL) {
        routes_free(host);
        mem_free(host->id);
        mem_free(host->name);
        mem_free(host->token);
        mem_free(host->labels);
        json_decref(host->resource);
        buf_free(&host->text);
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
    return host->tunnels != NULL || clock_wall_ms() - host->last_seen_ms < PRESENCE_MS;
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
    buf_free(&host->text);
}

static struct host *host_add(struct auth *auth, const char *id, const char *name)
{
    struct host *host = map_get(auth->hosts, id);
    if (host == NULL) {
        host = mem_alloc(sizeof *host);
        host->id = mem_strdup(id);
        map_set(auth->hosts, id, host);
    }
    mem_free(host->name);
    host->name = mem_strdup(name);
    buf_free(&host->text);
    hosts_order_changed(auth);
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

static void keep_token(struct host *host, const char *hash)
{
    char *copy = hash != NULL ? mem_strdup(hash) : NULL;
    mem_free(host->token);
    host->token = copy;
}

static bool load_host(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct host *host = host_add(ctx, name, json_get_text(doc, "name", name));
    const json_t *roles = json_object_get(doc, "roles");
    (void)revision;
    host->since = json_get_int(doc, "since", 0);
    hosts_saw_cert(host, json_get_int(doc, "made", doc_ms(doc, "joined") / 1000));
    host->roles = roles != NULL ? roles_of(roles) : TOKEN_NODE;
    keep_token(host, json_get_text(doc, "token", NULL));
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
    (void)map_remove(auth->hosts, id);
    hosts_order_changed(auth);
    kube_order_changed(auth);
    host_destroy(host);
    sessions_recheck(auth);
    return TP_OK;
}

static bool uuid_valid(const char *text)
{
    if (strlen(text) != 36) {
        return false;
    }
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : strchr("0123456789abcdef", text[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static bool name_valid(const char *text)
{
    size_t length = strlen(text);
    return length > 0 && length <= 253 && text[0] != '.' && text[0] != '-' && text[length - 1] != '.' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == length;
}

static char *lower(const char *text)
{
    char *copy = mem_strdup(text);
    for (char *p = copy; *p != '\0'; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    return copy;
}

struct claim {
    const char *id;
    const char *name;
    const char *cluster;
    bool taken;
};

static void find_claim(void *ctx, const char *key, void *value)
{
    struct claim *claim = ctx;
    const struct host *host = value;
    const char *const owned[] = {host->id, host->name};
    for (size_t i = 0; i < 2 && strcmp(key, claim->id) != 0; i++) {
        size_t length = strlen(owned[i]);
        const char *rest = claim->name + length;
        /* Alone, or in the cluster's own form NAME.CLUSTER. */
        claim->taken |= strncasecmp(claim->name, owned[i], length) == 0 &&
                        (*rest == '\0' || (*rest == '.' && strcasecmp(rest + 1, claim->cluster) == 0));
    }
}

/* Additional principals: names or addresses that are not another host's, nor the cluster's own. */
static enum tp_err check_additional(struct auth *auth, const char *id, const json_t *list, struct tp_error *error)
{
    if (list == NULL || json_is_null(list)) {
        return TP_OK;
    }
    enum tp_err err = doc_text_list(list, "additional_principals", ADDITIONAL_MAX, error);
    for (size_t i = 0; err == TP_OK && i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        struct claim claim = {.id = id, .name = name, .cluster = auth->settings.cluster};
        map_each(auth->hosts, find_claim, &claim);
        char public_host[64];
        caller_ip(auth->settings.public_addr, public_host);
        bool address = strspn(name, "0123456789abcdefABCDEF:.") == strlen(name);
        if (!name_valid(name) && !address) {
            err = err_set(error, TP_INVALID, "\"%s\" is no host name or address", name);
        } else if (claim.taken || strcasecmp(name, auth->settings.cluster) == 0 || strcasecmp(name, public_host) == 0) {
            err = err_set(error, TP_DENIED, "the name \"%s\" belongs to somebody else", name);
        }
    }
    return err;
}

/* The agent of the machine that auth itself is on. */
static bool is_local(const struct call *call, const char *id)
{
    json_t *doc = NULL;
    bool local = call->caller.local_agent;
    if (!local && doc_find(call->auth->state, "/local_agent", "", &doc, NULL, NULL) == TP_OK) {
        local = strcmp(json_get_text(doc, "host_id", ""), id) == 0;
        json_decref(doc);
    }
    return local;
}

/* A node's own name must not be a trick: it may not look like another host's id or be the cluster's. Beside auth it may: there
 * the machine's name is the cluster's when nothing else was said, and often part of public_addr. */
static enum tp_err check_name(const struct call *call, const char *id, const char *name, struct tp_error *error)
{
    const struct auth *auth = call->auth;
    char public_host[64];
    caller_ip(auth->settings.public_addr, public_host);
    if (!name_valid(name)) {
        return err_set(error, TP_INVALID, "\"%s\" is no valid node name; use letters, digits, '.', '-' and '_'", name);
    }
    bool clusters = strcasecmp(name, auth->settings.cluster) == 0 || strcasecmp(name, public_host) == 0;
    if ((uuid_valid(name) && strcmp(name, id) != 0) || (clusters && !is_local(call, id))) {
        return err_set(error, TP_DENIED, "the name \"%s\" belongs to somebody else; set another nodename", name);
    }
    return TP_OK;
}

/* The further names of a host's certificate. At a join those that it asks for; a renewal gives those of the join, or fewer of
 * them, and never another (R4). ret_names (json_decref) is what the host is registered with, ret_given (the same) what the
 * certificate gets. */
static enum tp_err further_names(struct auth *auth, const char *id, const json_t *asked, bool joining,
                                 json_t **ret_names, json_t **ret_given, struct tp_error *error)
{
    json_t *doc = NULL;
    struct tp_error none = {0};
    bool given = json_is_array(asked);
    enum tp_err err = check_additional(auth, id, asked, error);
    *ret_names = joining && given ? json_deep_copy(asked) : json_array();
    if (!joining && doc_find(auth->state, "/host/", id, &doc, NULL, &none) == TP_OK) {
        const json_t *names = json_object_get(doc, "names");
        if (json_is_array(names)) {
            json_decref(*ret_names);
            *ret_names = json_deep_copy(names);
        }
        json_decref(doc);
    }
    for (size_t i = 0; err == TP_OK && i < json_array_size(asked); i++) {
        const char *name = json_string_value(json_array_get(asked, i));
        if (!json_list_has(*ret_names, name)) {
            err = err_set(error, TP_DENIED, "this host did not join with the name \"%s\"; join it again", name);
        }
    }
    *ret_given = given ? json_deep_copy(asked) : json_incref(*ret_names);
    return err;
}

/* Certificates for a host whose right to them has been established, and its registration. token is the secret it joins
 * with; NULL: none, it renews or stands beside auth. */
static void give_certs(struct call *call, const char *id, const char *raw_name, unsigned roles, const char *token,
                       bool joining)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *tls_pub = NULL;
    const char *ssh_pub = NULL;
    const json_t *additional = json_object_get(call->params, "additional_principals");
    char *name = lower(raw_name);
    json_t *names = NULL;
    json_t *given = NULL;
    json_t *result = NULL;
    json_t *event = NULL;
    /* A host that was removed and joins anew under its old id must not bring back whoever holds its old certificate. */
    const struct host *known = hosts_get(auth, id);
    int64_t since = known != NULL ? known->since : clock_wall();
    char token_hash[HASH_TEXT_SIZE] = "";
    if (token != NULL) {
        doc_hash(token, token_hash);
    } else if (known != NULL && known->token != NULL) {
        snprintf(token_hash, sizeof token_hash, "%s", known->token);
    }
    enum tp_err err = json_need_text(call->params, "tls_pub_key", &tls_pub, &error);
    if (err == TP_OK) {
        err = json_need_text(call->params, "ssh_pub_key", &ssh_pub, &error);
    }
    if (err == TP_OK) {
        err = check_name(call, id, name, &error);
    }
    if (err == TP_OK) {
        err = further_names(auth, id, additional, joining, &names, &given, &error);
    }
    if (err == TP_OK) {
        struct issue_host want = {
            .host_id = id, .name = name, .tls_pub = tls_pub, .ssh_pub = ssh_pub, .additional = given, .roles = roles};
        err = issue_host_certs(auth, &want, &result, &event, &error);
    }
    if (err == TP_OK) {
        json_t *doc = json_pack("{s:s, s:o, s:I, s:I, s:o, s:O}", "name", name, "joined", doc_time(clock_wall_ms()),
                                "made", (json_int_t)issue_host_time(auth), "since", (json_int_t)since, "roles",
                                tokens_role_names(roles), "names", names);
        host_keys_note(doc, tls_pub, ssh_pub);
        if (token_hash[0] != '\0') {
            json_object_set_new(doc, "token", json_string(token_hash));
        }
        err = doc_put(auth->state, "/host/", id, doc, STORE_ANY, NULL, &error);
        json_decref(doc);
    }
    json_decref(names);
    json_decref(given);
    if (err != TP_OK) {
        json_decref(result);
        json_decref(event);
        mem_free(name);
        call_fail(call, &error);
        return;
    }
    struct host *host = host_add(auth, id, name);
    host->since = since;
    host->roles = roles;
    if (joining || call->caller.local_agent) {
        hosts_saw_cert(host, issue_host_time(auth)); /* others show it when they have it */
    }
    keep_token(host, token_hash[0] != '\0' ? token_hash : NULL);
    if (joining) {
        char *mask = token != NULL ? tokens_mask(token) : mem_strdup("local");
        audit_emit(auth, event, NULL, NULL);
        event = call_event(call, "instance.join", true);
        json_object_set_new(event, "method", json_string("token"));
        json_object_set_new(event, "role", json_string((roles & TOKEN_NODE) != 0 ? "Node" : "Kube"));
        json_object_set_new(event, "roles", tokens_role_names(roles));
        json_object_set_new(event, "node_name", json_string(name));
        json_object_set_new(event, "host_id", json_string(id));
        json_object_set_new(event, "token_name", json_string(mask));
        mem_free(mask);
    }
    mem_free(name);
    call_reply_audited(call, event, result);
}

/* A registered id belongs to the keys that registered it: a token alone must not take over another host. */
static enum tp_err check_id_free(const struct call *call, const char *id, struct tp_error *error)
{
    bool same = false;
    enum tp_err err = host_keys_check(call->auth, id, call->params, &same, error);
    if (err != TP_OK || same) {
        return err;
    }
    return err_set(error, TP_EXISTS,
                   "a host with the id %s is registered already; remove it first with `tportctl rm "
                   "node/%s`, or delete the agent's state so that it takes a new id",
                   id, id);
}

/* "node", "kube" or "node,kube". */
static enum tp_err read_roles(const char *text, unsigned *ret_roles, struct tp_error *error)
{
    unsigned roles = 0;
    for (const char *p = text; *p != '\0';) {
        size_t length = strcspn(p, ",");
        char *name = mem_strndup(p, length);
        unsigned role = token_role(name) & (TOKEN_NODE | TOKEN_KUBE);
        mem_free(name);
        if (role == 0) {
            return err_set(error, TP_INVALID, "only the roles \"node\" and \"kube\" can join");
        }
        roles |= role;
        p += length + (p[length] == ',');
    }
    *ret_roles = roles;
    return roles != 0 ? TP_OK : err_set(error, TP_INVALID, "say as what this host joins: node, kube or node,kube");
}

void do_host_join(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *secret = NULL;
    const char *id = NULL;
    const char *name = NULL;
    const char *role = NULL;
    unsigned roles = 0;
    json_t *labels = NULL;
    enum tp_err err = json_need_text(call->params, "token", &secret, &error);
    if (err == TP_OK) {
        err = json_need_text(call->params, "host_id", &id, &error);
    }
    if (err == TP_OK) {
        err = json_need_text(call->params, "node_name", &name, &error);
    }
    if (err == TP_OK) {
        err = json_need_text(call->params, "role", &role, &error);
    }
    if (err == TP_OK) {
        err = read_roles(role, &roles, &error);
    }
    if (err == TP_OK) {
        err = tokens_check(auth, secret, roles, &labels, &error);
    }
    if (err == TP_OK && !uuid_valid(id)) {
        err = err_set(&error, TP_INVALID, "host_id must be a UUID in lower case");
    }
    if (err == TP_OK) {
        err = caller_locked(auth, NULL, NULL, id, &error);
    }
    if (err == TP_OK) {
        err = check_id_free(call, id, &error);
    }
    json_decref(labels);
    if (err != TP_OK) {
        json_t *event = call_event(call, "instance.join", false);
        json_object_set_new(event, "error", json_string(error.text));
        json_object_set_new(event, "host_id", json_string(id != NULL && uuid_valid(id) ? id : ""));
        call_fail_audited(call, event, &error);
        return;
    }
    give_certs(call, id, name, roles, secret, true);
}

void do_host_join_local(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *id = NULL;
    const char *name = NULL;
    enum tp_err err = json_need_text(call->params, "host_id", &id, &error);
    if (err == TP_OK) {
        err = json_need_text(call->params, "node_name", &name, &error);
    }
    if (err == TP_OK && !uuid_valid(id)) {
        err = err_set(&error, TP_INVALID, "host_id must be a UUID in lower case");
    }
    if (err == TP_OK && (call->caller.host_id == NULL || strcmp(call->caller.host_id, id) != 0)) {
        err = check_id_free(call, id, &error);
    }
    if (err == TP_OK) {
        json_t *doc = json_pack("{s:s}", "host_id", id);
        err = doc_put(auth->state, "/local_agent", "", doc, STORE_ANY, NULL, &error);
        json_decref(doc);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    give_certs(call, id, name, TOKEN_NODE | TOKEN_KUBE, NULL, true);
}

/* R15: a certificate that renews itself keeps its name or takes a free one; another host's name needs a token (a machine
 * that was set up anew joins under its old name while the old registration is still there). */
static enum tp_err check_own_name(struct call *call, const char *name, struct tp_error *error)
{
    const struct host *self = hosts_get(call->auth, call->caller.host_id);
    if (self != NULL && strcasecmp(self->name, name) == 0) {
        return TP_OK;
    }
    struct claim claim = {.id = call->caller.host_id, .name = name, .cluster = call->auth->settings.cluster};
    map_each(call->auth->hosts, find_claim, &claim);
    return claim.taken ? err_set(error, TP_DENIED,
                                 "\"%s\" is the name of another host; choose another nodename, or remove "
                                 "that host and join this one with a new token",
                                 name)
                       : TP_OK;
}

void do_host_renew(struct call *call)
{
    const char *name = NULL;
    bool same = false;
    struct tp_error error = {0};
    if (call->caller.host_id == NULL) {
        call_fail_text(call, TP_DENIED, "this agent has not joined yet");
        return;
    }
    if (json_need_text(call->params, "node_name", &name, &error) != TP_OK ||
        check_own_name(call, name, &error) != TP_OK ||
        host_keys_check(call->auth, call->caller.host_id, call->params, &same, &error) != TP_OK) {
        call_fail(call, &error);
        return;
    }
    if (!same) {
        call_fail_text(call, TP_DENIED,
                       "a renewal keeps the keys that a host joined with; for other keys remove the host and join it "
                       "again");
        return;
    }
    char *id = mem_strdup(call->caller.host_id);
    /* Never wider than what it joined as. */
    const struct host *self = hosts_get(call->auth, id);
    give_certs(call, id, name, self != NULL ? self->roles : TOKEN_NODE, NULL, false);
    mem_free(id);
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
    struct host *host = call->caller.host_id != NULL ? hosts_get(auth, call->caller.host_id) : NULL;
    enum tp_err err = host != NULL ? TP_OK : err_set(&error, TP_DENIED, "this agent has not joined yet");
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
        json_decref(node);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    call_reply(call, json_pack("{s:I, s:I}", "next", (json_int_t)HEARTBEAT_MS, "hosts_since",
                               (json_int_t)auth->ca[CA_HOST].since));
}

/* A host joins with a token, or renews with its own certificate. It speaks for its own id only (R15). */
#include "auth/audit.h"
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/issue.h"
#include "auth/tokens.h"

#include <string.h>

#define ADDITIONAL_MAX 32
#define RENEWAL_COST_MS 2000

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

/* Additional principals: names or addresses that are not another host's, nor the cluster's own. */
static enum tp_err check_additional(struct auth *auth, const char *id, const json_t *list, struct tp_error *error)
{
    if (list == NULL || json_is_null(list)) {
        return TP_OK;
    }
    enum tp_err err = doc_text_list(list, "additional_principals", ADDITIONAL_MAX, error);
    for (size_t i = 0; err == TP_OK && i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        char public_host[64];
        caller_ip(auth->settings.public_addr, public_host);
        bool address = strspn(name, "0123456789abcdefABCDEF:.") == strlen(name);
        if (!name_valid(name) && !address) {
            err = err_set(error, TP_INVALID, "\"%s\" is no host name or address", name);
        } else if (host_names_taken(auth, id, name) || strcasecmp(name, auth->settings.cluster) == 0 ||
                   strcasecmp(name, public_host) == 0) {
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
    char *name = host_names_lower(raw_name);
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
    struct host *host = hosts_add(auth, id, name);
    host->since = since;
    host->roles = roles;
    host->cert_given = issue_host_time(auth);
    if (joining || call->caller.local_agent) {
        hosts_saw_cert(host, issue_host_time(auth)); /* others show it when they have it */
    }
    hosts_keep_token(host, token_hash[0] != '\0' ? token_hash : NULL);
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
    return host_names_taken(call->auth, call->caller.host_id, name)
               ? err_set(error, TP_DENIED,
                         "\"%s\" is the name of another host; choose another nodename, or remove "
                         "that host and join this one with a new token",
                         name)
               : TP_OK;
}

/* May it be renewed under this name? A worker may bring what the host said long ago: another name than it has is only taken when
 * nothing was heard of it since. */
static enum tp_err check_renewal(struct call *call, struct host *self, const char **ret_name, struct tp_error *error)
{
    bool same = false;
    struct host_report report;
    /* First, so that what is refused costs its share, too. */
    enum tp_err err = hosts_spend(self, RENEWAL_COST_MS, error);
    if (err == TP_OK) {
        err = host_report_open(call, self, &report, error);
    }
    if (err == TP_OK) {
        err = json_need_text(call->params, "node_name", ret_name, error);
    }
    if (err == TP_OK) {
        err = check_own_name(call, *ret_name, error);
    }
    if (err == TP_OK) {
        err = host_keys_check(call->auth, self->id, call->params, &same, error);
    }
    if (err == TP_OK && !same) {
        err = err_set(error, TP_DENIED,
                      "a renewal keeps the keys that a host joined with; for other keys remove the host and join it "
                      "again");
    }
    if (err == TP_OK && strcasecmp(self->name, *ret_name) != 0) {
        err = host_report_is_news(self, &report, error);
        if (err == TP_OK) {
            err = host_report_keep(call->auth, self, &report, error);
        }
    }
    return err;
}

void do_host_renew(struct call *call)
{
    const char *name = NULL;
    struct tp_error error = {0};
    struct host *self = call->caller.host_id != NULL ? hosts_get(call->auth, call->caller.host_id) : NULL;
    if (self == NULL) {
        call_fail_text(call, TP_DENIED, "this agent has not joined yet");
        return;
    }
    if (check_renewal(call, self, &name, &error) != TP_OK) {
        call_fail(call, &error);
        return;
    }
    char *id = mem_strdup(call->caller.host_id);
    /* Never wider than what it joined as. */
    give_certs(call, id, name, self->roles, NULL, false);
    mem_free(id);
}

/* The one door through which certificates leave (R4): times are capped by the roles, hosts get role node and their own
 * id only, and what was issued is on record before it is handed out. */
#include "auth/ca.h"
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/issue.h"
#include "auth/kube.h"
#include "auth/mfa.h"
#include "auth/tokens.h"

#include <string.h>

#define HARD_CAP_MS ((int64_t)30 * 3600 * 1000)
#define PROXY_CERT_SECONDS ((int64_t)30 * 24 * 3600)

int64_t issue_ttl(const struct auth *auth, const struct rbac_set *set, int64_t want_ms)
{
    int64_t ttl = want_ms > 0 ? want_ms : auth->settings.default_session_ttl_ms;
    if (ttl > HARD_CAP_MS) {
        ttl = HARD_CAP_MS;
    }
    struct rbac_options options;
    rbac_merge_options(set, &auth->settings.cluster_options, &options);
    if (options.max_session_ttl_ms > 0 && ttl > options.max_session_ttl_ms) {
        ttl = options.max_session_ttl_ms;
    }
    return ttl;
}

static char *roles_extension(const json_t *roles)
{
    json_t *json = json_pack("{s:s, s:O}", "version", "v1", "roles", (json_t *)(uintptr_t)roles);
    char *text = json_text(json);
    json_decref(json);
    return text;
}

/* The SSH half. extensions are those of behaviour 10.3 and our own identity. */
static enum tp_err user_ssh(struct auth *auth, const struct issue_user *want, const struct identity *identity,
                            const struct rbac_options *options, const char *const *principals, char **ret_line,
                            struct tp_error *error)
{
    char *roles = roles_extension(want->roles);
    char *traits = json_text(want->traits);
    json_t *identity_doc = identity_to_json(identity);
    char *identity_text = json_text(identity_doc);
    json_decref(identity_doc);
    char *source = NULL;
    if (identity->pinned_ip != NULL) {
        source = mem_printf("%s/%s", identity->pinned_ip, strchr(identity->pinned_ip, ':') != NULL ? "128" : "32");
    }
    const char *extensions[24];
    size_t n = 0;
    extensions[n++] = "permit-pty";
    extensions[n++] = "";
    if (options->port_forward_local || options->port_forward_remote) {
        extensions[n++] = "permit-port-forwarding";
        extensions[n++] = "";
    }
    if (options->forward_agent) {
        extensions[n++] = "permit-agent-forwarding";
        extensions[n++] = "";
    }
    extensions[n++] = "tport-identity@tport";
    extensions[n++] = identity_text;
    if (options->cert_format_standard) {
        extensions[n++] = "teleport-roles";
        extensions[n++] = roles;
        extensions[n++] = "teleport-traits";
        extensions[n++] = traits;
        extensions[n++] = "teleport-route-to-cluster";
        extensions[n++] = auth->settings.cluster;
    }
    if (want->ip != NULL && want->ip[0] != '\0') {
        extensions[n++] = "login-ip";
        extensions[n++] = want->ip;
    }
    extensions[n] = NULL;
    struct sshcert_options ssh = {.public_line = want->ssh_pub,
                                  .key_id = want->name,
                                  .principals = principals,
                                  .valid_after = identity->not_before,
                                  .valid_before = identity->not_after,
                                  .source_address = source,
                                  .extensions = extensions};
    enum tp_err err = sshcert_make(ca_signer(auth, CA_USER, false)->ssh_key, &ssh, ret_line, error);
    mem_free(roles);
    mem_free(traits);
    mem_free(identity_text);
    mem_free(source);
    return err;
}

static json_t *cert_event(struct auth *auth, const char *type, const struct identity *identity)
{
    json_t *event = event_new("cert.create", true, auth->settings.cluster);
    json_t *who = json_pack("{s:o}", "expires", doc_time(identity->not_after * 1000));
    if (identity->kind == IDENTITY_USER) {
        json_object_set_new(who, "user", json_string(identity->name));
    } else { /* named as in every other event that is about a host */
        json_object_set_new(event, "server_id", json_string(identity->host_id));
        json_object_set_new(event, "server_hostname", json_string(identity->name));
    }
    if (identity->roles != NULL) {
        json_object_set(who, "roles", identity->roles);
        if (identity->logins != NULL) {
            json_object_set(who, "logins", identity->logins);
        }
    }
    if (identity->target.reason == TARGET_OF_FILE) {
        json_object_set_new(who, "usage", json_pack("[s]", "usage:kube"));
    }
    if (identity->host_id != NULL) {
        json_object_set_new(who, "host_id", json_string(identity->host_id));
        json_object_set_new(who, "role", json_string(identity->host_role));
    }
    if (identity->login_ip != NULL) {
        json_object_set_new(who, "client_ip", json_string(identity->login_ip));
    }
    if (identity->mfa_device != NULL) {
        json_object_set_new(who, "mfa_device_uuid", json_string(identity->mfa_device));
        json_object_set_new(who, "previous_identity_expires", doc_time(identity->base_not_after * 1000));
    }
    if (identity->target.node != NULL) {
        json_object_set_new(who, "server_id", json_string(identity->target.node));
    }
    if (identity->target.kube != NULL) {
        json_object_set_new(who, "kubernetes_cluster", json_string(identity->target.kube));
    }
    json_object_set_new(event, "cert_type", json_string(type));
    json_object_set_new(event, "identity", who);
    return event;
}

/* As whom the person may speak to Kubernetes: told at the login, decided anew at each connection. */
static void add_kube(struct auth *auth, struct rbac_set *set, json_t *result)
{
    struct caller caller;
    json_t *users = NULL;
    json_t *groups = NULL;
    caller_init(&caller);
    caller.set = set;
    kube_subjects(auth, &caller, &users, &groups);
    json_object_set_new(result, "kubernetes_users", users);
    json_object_set_new(result, "kubernetes_groups", groups);
}

enum tp_err issue_user_certs(struct auth *auth, const struct issue_user *want, json_t **ret_result, json_t **ret_event,
                             struct tp_error *error)
{
    struct rbac_set *set = caller_set(auth, want->name, want->roles, want->traits);
    struct rbac_options options;
    rbac_merge_options(set, &auth->settings.cluster_options, &options);
    int64_t ttl_ms = issue_ttl(auth, set, want->ttl_ms);
    size_t login_count = 0;
    const char **logins = rbac_cert_logins(set, ttl_ms, &ttl_ms, &login_count);
    const char **principals = mem_array(login_count + 2, sizeof *principals);
    json_t *login_list = json_array();
    for (size_t i = 0; i < login_count && want->target.reason == TARGET_ANY; i++) {
        principals[i] = logins[i];
        json_array_append_new(login_list, json_string(logins[i]));
    }
    char *random = crypt_random_hex(16);
    char *nobody = mem_printf("%s%s", RBAC_NO_LOGIN_PREFIX, random);
    if (login_count == 0) {
        principals[0] = nobody; /* a certificate with no principals would be valid for everybody in some servers */
    }
    struct identity identity;
    identity_init(&identity);
    identity.kind = IDENTITY_USER;
    identity.cluster = mem_strdup(auth->settings.cluster);
    identity.name = mem_strdup(want->name);
    identity.roles = json_deep_copy(want->roles);
    identity.traits = json_deep_copy(want->traits);
    identity.logins = login_list;
    identity.target = one_target_copy(&want->target);
    identity.login_device = want->device != NULL ? mem_strdup(want->device) : NULL;
    if (want->ip != NULL && want->ip[0] != '\0') {
        identity.login_ip = mem_strdup(want->ip);
        identity.pinned_ip = options.pin_source_ip ? mem_strdup(want->ip) : NULL;
    }
    int64_t now = clock_wall();
    identity.not_before = now - ISSUE_SKEW_SECONDS;
    identity.not_after = now + ttl_ms / 1000;

    char *tls = NULL;
    char *ssh = NULL;
    enum tp_err err = TP_OK;
    if (options.pin_source_ip && identity.pinned_ip == NULL) {
        err = err_set(error, TP_DENIED, "your roles bind certificates to an address, but yours is not known");
    }
    if (err == TP_OK) {
        struct x509_options x509 = {.public_pem = want->tls_pub, .identity = &identity, .client = true};
        const struct ca_keys *ca = ca_signer(auth, CA_USER, false);
        err = x509_make(ca->tls_key, ca->tls_pem, &x509, &tls, error);
    }
    if (err == TP_OK && want->ssh_pub != NULL) {
        err = user_ssh(auth, want, &identity, &options, principals, &ssh, error);
    }
    if (err == TP_OK) {
        json_t *cas = ca_describe(auth);
        *ret_result =
            json_pack("{s:s, s:s*, s:s, s:o, s:O}", "username", want->name, "cert", ssh, "tls_cert", tls, "valid_until",
                      doc_time(identity.not_after * 1000), "host_signers", json_object_get(cas, "host_signers"));
        json_decref(cas);
        add_kube(auth, set, *ret_result);
        json_object_set_new(*ret_result, "session_mfa", json_string(rbac_need_name(options.mfa_required)));
        *ret_event = cert_event(auth, "user", &identity);
        json_object_set_new(*ret_event, "user", json_string(want->name));
    }
    identity_free(&identity);
    mem_free(tls);
    mem_free(ssh);
    secret_free(random);
    mem_free(nobody);
    mem_free(logins);
    mem_free(principals);
    rbac_set_free(set);
    return err;
}

/* Never wider than the certificate that asks: its roles and traits as they are still the user's, no later end, no other
 * address. */
enum tp_err issue_target_cert(struct auth *auth, const struct issue_target *want, json_t **ret_result,
                              json_t **ret_event, struct tp_error *error)
{
    const struct caller *base = want->caller;
    struct rbac_options options;
    struct identity identity;
    char *tls = NULL;
    int64_t now = clock_wall();
    int64_t end = now + want->ttl_ms / 1000;
    rbac_merge_options(base->set, &auth->settings.cluster_options, &options);
    identity_init(&identity);
    identity.kind = IDENTITY_USER;
    identity.cluster = mem_strdup(auth->settings.cluster);
    identity.name = mem_strdup(base->user);
    identity.roles = json_deep_copy(base->roles);
    identity.traits = json_deep_copy(base->traits);
    identity.login_ip = base->ip[0] != '\0' ? mem_strdup(base->ip) : NULL;
    identity.pinned_ip = base->pinned || options.pin_source_ip ? mem_strdup(base->ip) : NULL;
    identity.login_device = base->login_device != NULL ? mem_strdup(base->login_device) : NULL;
    identity.mfa_device = mem_strdup(want->device);
    identity.target = one_target_copy(&want->target);
    identity.base_not_after = base->not_after;
    identity.not_before = now - ISSUE_SKEW_SECONDS;
    identity.not_after = end < base->not_after ? end : base->not_after;
    struct x509_options x509 = {.public_pem = want->tls_pub, .identity = &identity, .client = true};
    const struct ca_keys *ca = ca_signer(auth, CA_USER, false);
    enum tp_err err = x509_make(ca->tls_key, ca->tls_pem, &x509, &tls, error);
    if (err == TP_OK) {
        *ret_result = json_pack("{s:s, s:o}", "tls_cert", tls, "valid_until", doc_time(identity.not_after * 1000));
        *ret_event = cert_event(auth, "user", &identity);
        json_object_set_new(*ret_event, "user", json_string(base->user));
    }
    identity_free(&identity);
    mem_free(tls);
    return err;
}

/* Names of a host certificate (behaviour 10.4). Each name is allocated. */
struct names {
    char *list[72];
    size_t count;
};

static void names_add(struct names *names, char *name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->list[i], name) == 0) {
            mem_free(name);
            return;
        }
    }
    if (names->count < sizeof names->list / sizeof names->list[0] - 1) {
        names->list[names->count++] = name;
        names->list[names->count] = NULL;
    } else {
        mem_free(name);
    }
}

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        mem_free(names->list[i]);
    }
}

int64_t issue_host_time(const struct auth *auth)
{
    /* One that is made in the second of a phase's change must not look like one from before it. */
    int64_t now = clock_wall();
    int64_t since = auth->ca[CA_HOST].since;
    return now > since ? now : since + 1;
}

enum tp_err issue_host_certs(struct auth *auth, const struct issue_host *want, json_t **ret_result, json_t **ret_event,
                             struct tp_error *error)
{
    const char *cluster = auth->settings.cluster;
    struct names names = {0};
    names_add(&names, mem_printf("%s.%s", want->host_id, cluster));
    names_add(&names, mem_strdup(want->host_id));
    names_add(&names, mem_printf("%s.%s", want->name, cluster));
    names_add(&names, mem_strdup(want->name));
    size_t i;
    json_t *extra;
    json_array_foreach (want->additional, i, extra) {
        names_add(&names, mem_strdup(json_string_value(extra)));
    }
    int64_t now = clock_wall();
    struct identity identity;
    identity_init(&identity);
    identity.kind = IDENTITY_HOST;
    identity.cluster = mem_strdup(cluster);
    identity.name = mem_strdup(want->name);
    identity.host_id = mem_strdup(want->host_id);
    identity.host_role = mem_strdup("node");
    identity.roles = tokens_role_names(want->roles);
    identity.not_before = issue_host_time(auth) - ISSUE_SKEW_SECONDS;
    identity.not_after = now + HOST_CERT_SECONDS;
    char *tls = NULL;
    char *ssh = NULL;
    struct x509_options x509 = {.public_pem = want->tls_pub, .identity = &identity, .client = true, .server = true};
    const struct ca_keys *ca = ca_signer(auth, CA_HOST, false);
    enum tp_err err = x509_make(ca->tls_key, ca->tls_pem, &x509, &tls, error);
    if (err == TP_OK) {
        const char *extensions[] = {"x-teleport-authority", cluster, "x-teleport-role",
                                    (want->roles & TOKEN_NODE) != 0 ? "Node" : "Kube", NULL};
        struct sshcert_options options = {.public_line = want->ssh_pub,
                                          .host = true,
                                          .key_id = names.list[0],
                                          .principals = (const char *const *)names.list,
                                          .valid_after = identity.not_before,
                                          .valid_before = identity.not_after,
                                          .extensions = extensions};
        err = sshcert_make(ca_signer(auth, CA_HOST, true)->ssh_key, &options, &ssh, error);
    }
    if (err == TP_OK) {
        *ret_result = ca_describe_signed(auth);
        json_object_set_new(*ret_result, "host_id", json_string(want->host_id));
        json_object_set_new(*ret_result, "tls_cert", json_string(tls));
        json_object_set_new(*ret_result, "ssh_cert", json_string(ssh));
        *ret_event = cert_event(auth, "host", &identity);
        json_t *who = json_object_get(*ret_event, "identity");
        json_t *principals = json_array();
        for (i = 0; i < names.count; i++) {
            json_array_append_new(principals, json_string(names.list[i]));
        }
        json_object_set_new(who, "principals", principals);
    }
    names_free(&names);
    identity_free(&identity);
    mem_free(tls);
    mem_free(ssh);
    return err;
}

static const char **text_array(const json_t *list)
{
    const char **array = mem_array(json_array_size(list) + 1, sizeof *array);
    for (size_t i = 0; i < json_array_size(list); i++) {
        array[i] = json_string_value(json_array_get(list, i));
    }
    return array;
}

void do_proxy_cert(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *public_pem = NULL;
    json_t *names = json_object_get(call->params, "names");
    json_t *ips = json_object_get(call->params, "ips");
    enum tp_err err = json_need_text(call->params, "tls_pub_key", &public_pem, &error);
    if (err == TP_OK && names != NULL) {
        err = doc_text_list(names, "names", 100, &error);
    }
    if (err == TP_OK && ips != NULL) {
        err = doc_text_list(ips, "ips", 100, &error);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    int64_t now = clock_wall();
    struct identity identity;
    identity_init(&identity);
    identity.kind = IDENTITY_HOST;
    identity.cluster = mem_strdup(auth->settings.cluster);
    identity.name = mem_strdup("proxy");
    identity.host_id = mem_strdup("00000000-0000-4000-8000-000000000000");
    identity.host_role = mem_strdup("proxy");
    identity.not_before = now - ISSUE_SKEW_SECONDS;
    identity.not_after = now + PROXY_CERT_SECONDS;
    const char **dns = text_array(names);
    const char **addresses = text_array(ips);
    struct x509_options x509 = {
        .public_pem = public_pem, .identity = &identity, .server = true, .dns_names = dns, .ip_addresses = addresses};
    char *tls = NULL;
    const struct ca_keys *ca = ca_signer(auth, CA_HOST, true);
    err = x509_make(ca->tls_key, ca->tls_pem, &x509, &tls, &error);
    json_t *event = err == TP_OK ? cert_event(auth, "host", &identity) : NULL;
    identity_free(&identity);
    mem_free(dns);
    mem_free(addresses);
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    json_t *result = json_pack("{s:s, s:s}", "tls_cert", tls, "ca", ca->tls_pem);
    mem_free(tls);
    call_reply_audited(call, event, result);
}

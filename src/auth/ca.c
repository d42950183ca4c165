/* The certificate authorities and the two signing keys (grants, audit): made at the first start, PEM in the secrets
 * store, in memory while the process runs. */
#include "auth/inner.h"

#include <string.h>

static const char *const ca_names[CA_KIND_COUNT] = {"user", "host", "app", "db"};

const char *ca_name(enum ca_kind kind)
{
    return ca_names[kind];
}

static json_t *pem_json(const struct key *key)
{
    char *pem = key_to_pem(key);
    json_t *text = json_string(pem);
    secret_free(pem);
    return text;
}

/* Makes a key pair document: {"tls_key","tls_cert","ssh_key"}. */
static enum tp_err ca_make(struct auth *auth, enum ca_kind kind, struct tp_error *error)
{
    struct key *tls_key = key_generate(KEY_P256);
    struct key *ssh_key = key_generate(KEY_ED25519);
    char *cert = x509_make_ca(tls_key, auth->settings.cluster, ca_names[kind], clock_wall());
    json_t *doc = json_pack("{s:o, s:s, s:o, s:o}", "tls_key", pem_json(tls_key), "tls_cert", cert, "ssh_key",
                            pem_json(ssh_key), "created", doc_time(clock_wall_ms()));
    enum tp_err err = doc_put(auth->secrets, "/ca/", ca_names[kind], doc, STORE_ABSENT, NULL, error);
    json_decref(doc);
    mem_free(cert);
    key_free(tls_key);
    key_free(ssh_key);
    return err;
}

static enum tp_err key_member(const json_t *doc, const char *member, struct key **ret_key, struct tp_error *error)
{
    const char *pem = NULL;
    enum tp_err err = json_need_text(doc, member, &pem, error);
    if (err == TP_OK) {
        err = key_from_pem(pem, strlen(pem), ret_key, error);
    }
    return err;
}

static enum tp_err ca_read(struct auth *auth, enum ca_kind kind, struct tp_error *error)
{
    json_t *doc = NULL;
    enum tp_err err = doc_find(auth->secrets, "/ca/", ca_names[kind], &doc, NULL, error);
    if (err == TP_NOT_FOUND) {
        err = ca_make(auth, kind, error);
        if (err == TP_OK) {
            err = doc_find(auth->secrets, "/ca/", ca_names[kind], &doc, NULL, error);
        }
    }
    if (err != TP_OK) {
        return err;
    }
    struct ca *ca = &auth->ca[kind];
    const char *cert = NULL;
    err = key_member(doc, "tls_key", &ca->tls_key, error);
    if (err == TP_OK) {
        err = key_member(doc, "ssh_key", &ca->ssh_key, error);
    }
    if (err == TP_OK) {
        err = json_need_text(doc, "tls_cert", &cert, error);
    }
    if (err == TP_OK) {
        ca->tls_pem = mem_strdup(cert);
        ca->ssh_line = key_public_ssh(ca->ssh_key, NULL);
    } else {
        err_prefix(error, "the %s CA", ca_names[kind]);
    }
    json_decref(doc);
    return err;
}

/* A lone Ed25519 key under /key/NAME. */
static enum tp_err lone_key(struct auth *auth, const char *name, struct key **ret_key, struct tp_error *error)
{
    json_t *doc = NULL;
    enum tp_err err = doc_find(auth->secrets, "/key/", name, &doc, NULL, error);
    if (err == TP_NOT_FOUND) {
        struct key *key = key_generate(KEY_ED25519);
        doc = json_pack("{s:o}", "key", pem_json(key));
        key_free(key);
        err = doc_put(auth->secrets, "/key/", name, doc, STORE_ABSENT, NULL, error);
    }
    if (err == TP_OK) {
        err = key_member(doc, "key", ret_key, error);
    }
    json_decref(doc);
    return err;
}

enum tp_err ca_load(struct auth *auth, struct tp_error *error)
{
    enum tp_err err = TP_OK;
    for (int kind = 0; err == TP_OK && kind < CA_KIND_COUNT; kind++) {
        err = ca_read(auth, (enum ca_kind)kind, error);
    }
    if (err == TP_OK) {
        err = lone_key(auth, "grant", &auth->grant_key, error);
    }
    if (err == TP_OK) {
        err = lone_key(auth, "audit", &auth->audit_key, error);
    }
    if (err == TP_OK) {
        err = x509_pin(auth->ca[CA_HOST].tls_pem, &auth->host_pin, error);
    }
    return err;
}

void ca_free(struct auth *auth)
{
    for (int kind = 0; kind < CA_KIND_COUNT; kind++) {
        key_free(auth->ca[kind].tls_key);
        key_free(auth->ca[kind].ssh_key);
        mem_free(auth->ca[kind].tls_pem);
        mem_free(auth->ca[kind].ssh_line);
    }
    key_free(auth->grant_key);
    key_free(auth->audit_key);
    mem_free(auth->host_pin);
}

static json_t *base64_json(const void *data, size_t size)
{
    char *text = enc_base64(data, size);
    json_t *json = json_string(text);
    mem_free(text);
    return json;
}

json_t *ca_describe(const struct auth *auth)
{
    const struct ca *host = &auth->ca[CA_HOST];
    const struct ca *user = &auth->ca[CA_USER];
    json_t *signers = json_pack("[{s:s, s:[s], s:[o]}]", "domain_name", auth->settings.cluster, "checking_keys",
                                host->ssh_line, "tls_certs", base64_json(host->tls_pem, strlen(host->tls_pem)));
    uint8_t grant[32];
    json_t *grants = json_array();
    if (key_ed25519_public(auth->grant_key, grant) == TP_OK) {
        json_array_append_new(grants, base64_json(grant, sizeof grant));
    }
    return json_pack("{s:o, s:[s], s:[s], s:o}", "host_signers", signers, "user_ca_tls", user->tls_pem, "user_ca_ssh",
                     user->ssh_line, "grant_keys", grants);
}

void do_cluster_cas(struct call *call)
{
    call_reply(call, ca_describe(call->auth));
}

void do_cluster_info(struct call *call)
{
    const struct auth *auth = call->auth;
    const struct settings *settings = &auth->settings;
    json_t *local =
        json_pack("{s:s, s:s, s:s, s:b, s:b, s:{s:s}, s:s, s:{s:b, s:b}, s:b, s:I, s:s}", "type", "local",
                  "second_factor", "otp", "preferred_local_mfa", "otp", "allow_passwordless", 0, "allow_headless", 0,
                  "local", "name", "", "private_key_policy", "none", "device_trust", "disabled", 1, "auto_enroll", 0,
                  "has_motd", settings->message_of_the_day != NULL, "default_session_ttl",
                  (json_int_t)settings->default_session_ttl_ms, "signature_algorithm_suite", "balanced-v1");
    json_t *result = json_pack("{s:s, s:s, s:I, s:[s], s:o}", "cluster_name", settings->cluster, "version",
                               settings->version, "default_session_ttl", (json_int_t)settings->default_session_ttl_ms,
                               "ca_pins", auth->host_pin, "auth", local);
    if (settings->message_of_the_day != NULL) {
        json_object_set_new(result, "message_of_the_day", json_string(settings->message_of_the_day));
    }
    call_reply(call, result);
}

void do_cluster_status(struct call *call)
{
    const struct auth *auth = call->auth;
    json_t *cas = json_array();
    for (int kind = 0; kind < CA_KIND_COUNT; kind++) {
        char *pin = NULL;
        int64_t end = 0;
        struct tp_error error = {0};
        if (x509_pin(auth->ca[kind].tls_pem, &pin, &error) == TP_OK &&
            x509_not_after(auth->ca[kind].tls_pem, &end, &error) == TP_OK) {
            json_array_append_new(cas, json_pack("{s:s, s:s, s:o, s:s}", "type", ca_names[kind], "fingerprint", pin,
                                                 "not_after", doc_time(end * 1000), "state", "standby"));
        }
        mem_free(pin);
    }
    call_reply(call, json_pack("{s:s, s:s, s:o, s:[s]}", "cluster_name", auth->settings.cluster, "version",
                               auth->settings.version, "cas", cas, "ca_pins", auth->host_pin));
}

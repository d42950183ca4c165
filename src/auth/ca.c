/* The certificate authorities and the two signing keys (grants, audit): made at the first start, PEM in the secrets
 * store, in memory while the process runs. */
#include "auth/ca.h"
#include "auth/ca_hosts.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth/settings.h"
#include "crypt/statement.h"

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

json_t *ca_make_keys(struct auth *auth, enum ca_kind kind)
{
    struct key *tls_key = key_generate(KEY_P256);
    struct key *ssh_key = key_generate(KEY_ED25519);
    char *cert = x509_make_ca(tls_key, auth->settings.cluster, ca_names[kind], clock_wall());
    json_t *doc = json_pack("{s:o, s:s, s:o, s:o}", "tls_key", pem_json(tls_key), "tls_cert", cert, "ssh_key",
                            pem_json(ssh_key), "created", doc_time(clock_wall_ms()));
    mem_free(cert);
    key_free(tls_key);
    key_free(ssh_key);
    return doc;
}

static enum tp_err ca_make(struct auth *auth, enum ca_kind kind, struct tp_error *error)
{
    json_t *doc = ca_make_keys(auth, kind);
    enum tp_err err = doc_put(auth->secrets, "/ca/", ca_names[kind], doc, STORE_ABSENT, NULL, error);
    json_decref(doc);
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

static void keys_free(struct ca_keys *keys)
{
    key_free(keys->tls_key);
    key_free(keys->ssh_key);
    mem_free(keys->tls_pem);
    mem_free(keys->ssh_line);
    *keys = (struct ca_keys){0};
}

static void ca_clear(struct ca *ca)
{
    keys_free(&ca->keys);
    keys_free(&ca->fresh);
    mem_free(ca->trusted_pems);
    *ca = (struct ca){0};
}

static enum tp_err keys_read(const json_t *doc, struct ca_keys *keys, struct tp_error *error)
{
    const char *cert = NULL;
    enum tp_err err = key_member(doc, "tls_key", &keys->tls_key, error);
    if (err == TP_OK) {
        err = key_member(doc, "ssh_key", &keys->ssh_key, error);
    }
    if (err == TP_OK) {
        err = json_need_text(doc, "tls_cert", &cert, error);
    }
    if (err == TP_OK) {
        keys->tls_pem = mem_strdup(cert);
        keys->ssh_line = key_public_ssh(keys->ssh_key, NULL);
    }
    return err;
}

static enum tp_err parse(const json_t *doc, struct ca *ca, struct tp_error *error)
{
    const json_t *rotation = json_object_get(doc, "rotation");
    const json_t *fresh = json_object_get(doc, "fresh");
    enum tp_err err = keys_read(doc, &ca->keys, error);
    if (err == TP_OK && fresh != NULL) {
        err = keys_read(fresh, &ca->fresh, error);
    }
    ca->phase = ca_phase_parse(json_get_text(rotation, "phase", ca_phase_name(CA_STANDBY)));
    ca->automatic = json_get_bool(rotation, "automatic", false);
    ca->grace_ms = json_get_int(rotation, "grace", 0);
    ca->started_ms = doc_ms(rotation, "started");
    ca->changed_ms = doc_ms(rotation, "changed");
    ca->since = json_get_int(rotation, "since", 0);
    if (err == TP_OK && (ca->phase == CA_PHASE_COUNT || (ca->phase == CA_STANDBY) != (fresh == NULL))) {
        err = err_set(error, TP_INVALID, "its rotation is in no phase that is known here");
    }
    if (err == TP_OK) {
        ca->trusted_pems = mem_printf("%s%s", ca->keys.tls_pem, fresh != NULL ? ca->fresh.tls_pem : "");
    }
    return err;
}

enum tp_err ca_reload(struct auth *auth, enum ca_kind kind, struct tp_error *error)
{
    json_t *doc = NULL;
    struct ca fresh = {0};
    char *pin = NULL;
    enum tp_err err = doc_find(auth->secrets, "/ca/", ca_names[kind], &doc, NULL, error);
    if (err == TP_OK) {
        err = parse(doc, &fresh, error);
        json_decref(doc);
    }
    if (err == TP_OK && kind == CA_HOST) {
        err = x509_pin(fresh.keys.tls_pem, &pin, error);
    }
    if (err != TP_OK) {
        err_prefix(error, "the %s CA", ca_names[kind]);
        ca_clear(&fresh);
        return err;
    }
    if (pin != NULL) {
        mem_free(auth->host_pin);
        auth->host_pin = pin;
    }
    ca_clear(&auth->ca[kind]);
    auth->ca[kind] = fresh;
    return TP_OK;
}

const struct ca_keys *ca_signer(const struct auth *auth, enum ca_kind kind, bool servers)
{
    const struct ca *ca = &auth->ca[kind];
    /* What users show is checked by our own processes, which trust both sets since init. */
    bool fresh = ca->phase == CA_UPDATE_SERVERS || (ca->phase == CA_UPDATE_CLIENTS && !servers);
    return fresh ? &ca->fresh : &ca->keys;
}

static enum tp_err ca_read(struct auth *auth, enum ca_kind kind, struct tp_error *error)
{
    json_t *doc = NULL;
    enum tp_err err = doc_find(auth->secrets, "/ca/", ca_names[kind], &doc, NULL, error);
    json_decref(doc);
    if (err == TP_NOT_FOUND) {
        err = ca_make(auth, kind, error);
    }
    return err == TP_OK ? ca_reload(auth, kind, error) : err;
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
    return err;
}

void ca_free(struct auth *auth)
{
    for (int kind = 0; kind < CA_KIND_COUNT; kind++) {
        ca_clear(&auth->ca[kind]);
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

/* Both sets of keys while a rotation runs: everybody must trust the new one before anything is signed with it. */
static void describe_keys(const struct ca_keys *keys, bool base64, json_t *tls, json_t *ssh)
{
    if (keys->tls_pem != NULL) {
        json_array_append_new(tls,
                              base64 ? base64_json(keys->tls_pem, strlen(keys->tls_pem)) : json_string(keys->tls_pem));
        if (ssh != NULL) {
            json_array_append_new(ssh, json_string(keys->ssh_line));
        }
    }
}

#define RENEWAL_MS 5 /* hosts may come one in so many milliseconds */
#define SPREAD_MANUAL_MAX_MS ((int64_t)10 * 1000)
#define SPREAD_MAX_MS ((int64_t)600 * 1000)

/* How long hosts may take to renew: ten thousand must not come at once, and all must have come before the next phase. */
static int64_t spread_ms(const struct auth *auth)
{
    const struct ca *ca = &auth->ca[CA_HOST];
    int64_t needed = (int64_t)map_count(auth->hosts) * RENEWAL_MS;
    int64_t quarter_of_phase = ca->grace_ms / 12;
    if (!ca->automatic) {
        return needed < SPREAD_MANUAL_MAX_MS ? needed : SPREAD_MANUAL_MAX_MS;
    }
    return quarter_of_phase < SPREAD_MAX_MS ? quarter_of_phase : SPREAD_MAX_MS;
}

json_t *ca_describe(const struct auth *auth)
{
    const struct ca *host = &auth->ca[CA_HOST];
    const struct ca *user = &auth->ca[CA_USER];
    json_t *host_tls = json_array();
    json_t *host_ssh = json_array();
    json_t *user_tls = json_array();
    json_t *user_ssh = json_array();
    json_t *db_tls = json_array();
    describe_keys(&host->keys, true, host_tls, host_ssh);
    describe_keys(&host->fresh, true, host_tls, host_ssh);
    describe_keys(&user->keys, false, user_tls, user_ssh);
    describe_keys(&user->fresh, false, user_tls, user_ssh);
    describe_keys(&auth->ca[CA_DB].keys, false, db_tls, NULL);
    describe_keys(&auth->ca[CA_DB].fresh, false, db_tls, NULL);
    uint8_t grant[32];
    json_t *grants = json_array();
    if (key_ed25519_public(auth->grant_key, grant) == TP_OK) {
        json_array_append_new(grants, base64_json(grant, sizeof grant));
    }
    return json_pack("{s:[{s:s, s:o, s:o}], s:o, s:o, s:o, s:o, s:I, s:I}", "host_signers", "domain_name",
                     auth->settings.cluster, "checking_keys", host_ssh, "tls_certs", host_tls, "user_ca_tls", user_tls,
                     "user_ca_ssh", user_ssh, "db_ca_tls", db_tls, "grant_keys", grants, "hosts_since",
                     (json_int_t)host->since, "hosts_renew_within", (json_int_t)spread_ms(auth));
}

json_t *ca_pins(const struct auth *auth)
{
    json_t *list = json_pack("[s]", auth->host_pin);
    char *pin = NULL;
    struct tp_error error = {0};
    if (auth->ca[CA_HOST].fresh.tls_pem != NULL && x509_pin(auth->ca[CA_HOST].fresh.tls_pem, &pin, &error) == TP_OK) {
        json_array_append_new(list, json_string(pin));
        mem_free(pin);
    }
    return list;
}

json_t *ca_describe_signed(const struct auth *auth)
{
    /* In a rotation by both: who does not know the fresh one yet learns of it by the word of the old one. */
    const struct ca *host = &auth->ca[CA_HOST];
    const struct key *const keys[] = {host->keys.ssh_key, host->fresh.ssh_key};
    json_t *answer = ca_describe(auth);
    size_t count = host->fresh.ssh_key != NULL ? 2 : 1;
    if (statement_sign(answer, auth->settings.cluster, keys, count, clock_wall()) != TP_OK) {
        log_error("the cluster's CAs could not be signed for those who ask", "");
    }
    return answer;
}

void do_cluster_cas(struct call *call)
{
    call_reply(call, ca_describe_signed(call->auth));
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
    json_t *result = json_pack("{s:s, s:s, s:I, s:o, s:o}", "cluster_name", settings->cluster, "version",
                               settings->version, "default_session_ttl", (json_int_t)settings->default_session_ttl_ms,
                               "ca_pins", ca_pins(auth), "auth", local);
    if (settings->message_of_the_day != NULL) {
        json_object_set_new(result, "message_of_the_day", json_string(settings->message_of_the_day));
    }
    call_reply(call, result);
}

void do_cluster_status(struct call *call)
{
    const struct auth *auth = call->auth;
    json_t *cas = json_array();
    struct tp_error ignored = {0};
    /* Everybody may ask for the status; hosts that he may not list are named to who rotates alone. */
    bool names_hosts = call_rule(call, "rotate", "cert_authority", NULL, &ignored) == TP_OK;
    for (int kind = 0; kind < CA_KIND_COUNT; kind++) {
        const struct ca *ca = &auth->ca[kind];
        const struct ca_keys *sets[] = {&ca->keys, &ca->fresh};
        for (size_t i = 0; i < 2 && sets[i]->tls_pem != NULL; i++) {
            char *pin = NULL;
            int64_t end = 0;
            struct tp_error error = {0};
            if (x509_pin(sets[i]->tls_pem, &pin, &error) == TP_OK &&
                x509_not_after(sets[i]->tls_pem, &end, &error) == TP_OK) {
                json_t *row = json_pack("{s:s, s:s, s:o, s:s, s:s}", "type", ca_names[kind], "fingerprint", pin,
                                        "not_after", doc_time(end * 1000), "state", ca_phase_name(ca->phase), "keys",
                                        i == 0 ? "current" : "new");
                if (ca->phase == CA_STANDBY && ca->changed_ms != 0) {
                    json_object_set_new(row, "rotated", doc_time(ca->changed_ms));
                }
                if (names_hosts && ca_moves_hosts(auth, (enum ca_kind)kind)) {
                    json_object_set_new(row, "hosts", ca_hosts(auth));
                }
                json_array_append_new(cas, row);
            }
            mem_free(pin);
        }
    }
    call_reply(call, json_pack("{s:s, s:s, s:s, s:o, s:o}", "cluster_name", auth->settings.cluster, "version",
                               auth->settings.version, "public_addr", auth->settings.public_addr, "cas", cas, "ca_pins",
                               ca_pins(auth)));
}

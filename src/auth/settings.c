#include "auth/inner.h"
#include "auth/settings.h"

#include <string.h>

#define DEFAULT_TTL_MS ((int64_t)12 * 3600 * 1000)
#define DEFAULT_WEB_IDLE_MS ((int64_t)10 * 60 * 1000)
#define DEFAULT_MIN_AGE_MS ((int64_t)24 * 3600 * 1000)

/* A duration as a number of milliseconds or as text ("12h"). */
static int64_t duration_of(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        return json_integer_value(value);
    }
    int64_t ms = 0;
    if (json_is_string(value) && clock_parse_duration_ms(json_string_value(value), &ms) == TP_OK) {
        return ms;
    }
    if (json_is_string(value) && strcmp(json_string_value(value), "never") == 0) {
        return 0;
    }
    return otherwise;
}

static uint64_t size_of(const json_t *object, const char *key)
{
    int64_t size = json_get_int(object, key, 0);
    return size > 0 ? (uint64_t)size : 0;
}

void settings_free(struct settings *settings)
{
    mem_free(settings->cluster);
    mem_free(settings->data_dir);
    mem_free(settings->version);
    mem_free(settings->public_addr);
    mem_free(settings->message_of_the_day);
    json_decref(settings->conf);
    *settings = (struct settings){.admin_uid = (uid_t)-1};
}

static const char *first_addr(const json_t *config)
{
    const json_t *addr = json_object_get(config, "public_addr");
    if (json_is_array(addr)) {
        addr = json_array_get(addr, 0);
    }
    return json_is_string(addr) ? json_string_value(addr) : "";
}

static bool cluster_name_valid(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > 200 || name[0] == '.' || name[0] == '-') {
        return false;
    }
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-_ABCDEFGHIJKLMNOPQRSTUVWXYZ") == length;
}

enum tp_err settings_read(struct settings *settings, const json_t *config, struct tp_error *error)
{
    const char *cluster = NULL;
    const char *data_dir = NULL;
    enum tp_err err = json_need_text(config, "cluster_name", &cluster, error);
    if (err == TP_OK) {
        err = json_need_text(config, "data_dir", &data_dir, error);
    }
    if (err != TP_OK) {
        return err;
    }
    if (!cluster_name_valid(cluster)) {
        return err_set(error, TP_INVALID, "cluster_name may hold letters, digits, '.', '-' and '_' only");
    }
    struct settings fresh = {.admin_uid = (uid_t)-1};
    fresh.cluster = mem_strdup(cluster);
    fresh.data_dir = mem_strdup(data_dir);
    fresh.version = mem_strdup(json_get_text(config, "version", "0"));
    fresh.public_addr = mem_strdup(first_addr(config));
    fresh.conf = json_object();
    json_t *conf = json_object_get(config, "auth");
    if (json_is_object(conf)) {
        json_object_update(fresh.conf, conf);
    }
    json_int_t uid = json_get_int(config, "admin_uid", -1);
    if (uid > 0 && uid < UINT32_MAX) {
        fresh.admin_uid = (uid_t)uid;
    }
    settings_free(settings);
    *settings = fresh;
    return TP_OK;
}

/* Spec of a stored configuration resource, or NULL. The caller json_decref's it. */
static json_t *stored_spec(struct auth *auth, const char *kind)
{
    json_t *doc = NULL;
    struct tp_error error = {0};
    if (doc_find(auth->state, "/config/", kind, &doc, NULL, &error) != TP_OK) {
        return NULL;
    }
    json_t *spec = json_incref(json_object_get(doc, "spec"));
    json_decref(doc);
    return spec;
}

static enum role_mfa mfa_of(const json_t *object, enum role_mfa otherwise)
{
    const json_t *value = json_object_get(object, "require_session_mfa");
    if (json_is_boolean(value)) {
        return json_is_true(value) ? ROLE_MFA_YES : ROLE_MFA_NO;
    }
    const char *text = json_string_value(value);
    if (text == NULL) {
        return otherwise;
    }
    static const struct {
        const char *text;
        enum role_mfa mfa;
    } names[] = {{"no", ROLE_MFA_NO},
                 {"off", ROLE_MFA_NO},
                 {"false", ROLE_MFA_NO},
                 {"yes", ROLE_MFA_YES},
                 {"true", ROLE_MFA_YES},
                 {"hardware_key", ROLE_MFA_HARDWARE_KEY},
                 {"hardware_key_touch", ROLE_MFA_HARDWARE_KEY_TOUCH},
                 {"hardware_key_pin", ROLE_MFA_HARDWARE_KEY_PIN},
                 {"hardware_key_touch_and_pin", ROLE_MFA_HARDWARE_KEY_TOUCH_AND_PIN}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i].text, text) == 0) {
            return names[i].mfa;
        }
    }
    return ROLE_MFA_YES; /* a word that we do not know asks for more, not for less */
}

static bool bool_of(const json_t *object, const char *key, bool otherwise)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_boolean(value)) {
        return json_is_true(value);
    }
    const char *text = json_string_value(value);
    if (text == NULL) {
        return otherwise;
    }
    return strcmp(text, "yes") == 0 || strcmp(text, "true") == 0 || strcmp(text, "on") == 0;
}

/* Takes what one layer (the file or a resource's spec) says about the cluster. */
static void apply_layer(struct settings *settings, const json_t *layer)
{
    struct rbac_cluster *options = &settings->cluster_options;
    settings->default_session_ttl_ms = duration_of(layer, "default_session_ttl", settings->default_session_ttl_ms);
    options->client_idle_timeout_ms = duration_of(layer, "client_idle_timeout", options->client_idle_timeout_ms);
    settings->web_idle_ms = duration_of(layer, "web_idle_timeout", settings->web_idle_ms);
    options->disconnect_expired_cert = bool_of(layer, "disconnect_expired_cert", options->disconnect_expired_cert);
    options->require_session_mfa = mfa_of(layer, options->require_session_mfa);
    const char *locking = json_get_text(layer, "locking_mode", NULL);
    if (locking != NULL) {
        options->locking_mode = strcmp(locking, "strict") == 0 ? ROLE_LOCK_STRICT : ROLE_LOCK_BEST_EFFORT;
    }
    const char *motd = json_get_text(layer, "message_of_the_day", NULL);
    if (motd != NULL) {
        mem_free(settings->message_of_the_day);
        settings->message_of_the_day = motd[0] != '\0' ? mem_strdup(motd) : NULL;
    }
}

void settings_apply(struct auth *auth)
{
    struct settings *settings = &auth->settings;
    settings->default_session_ttl_ms = DEFAULT_TTL_MS;
    settings->web_idle_ms = DEFAULT_WEB_IDLE_MS;
    settings->cluster_options = (struct rbac_cluster){0};
    mem_free(settings->message_of_the_day);
    settings->message_of_the_day = NULL;
    apply_layer(settings, settings->conf);
    settings->record = strcmp(json_get_text(settings->conf, "session_recording", "node"), "off") != 0;
    settings->announce_watchers = bool_of(settings->conf, "announce_watchers", true);
    const json_t *keep = json_object_get(settings->conf, "retention");
    settings->keep = (struct keep_rules){
        .events_max_age_ms = duration_of(keep, "events_max_age", 0),
        .events_max_bytes = size_of(keep, "events_max_size"),
        .recordings_max_age_ms = duration_of(keep, "recordings_max_age", 0),
        .recordings_max_bytes = size_of(keep, "recordings_max_size"),
        .min_age_ms = duration_of(keep, "min_age", DEFAULT_MIN_AGE_MS),
    };

    static const char *const kinds[] = {"cluster_auth_preference", "cluster_networking_config",
                                        "session_recording_config"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        json_t *spec = stored_spec(auth, kinds[i]);
        if (spec == NULL) {
            continue;
        }
        apply_layer(settings, spec);
        if (i == 2) {
            settings->record = strcmp(json_get_text(spec, "mode", "node"), "off") != 0;
        }
        json_decref(spec);
    }
    if (settings->default_session_ttl_ms <= 0) {
        settings->default_session_ttl_ms = DEFAULT_TTL_MS;
    }
}

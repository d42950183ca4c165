/* Effective options by their name in YAML. */
#include "rbac/values.h"

#include "rbac/role_private.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>
#include <strings.h>

struct asking {
    const struct rbac_set *set;
    const struct rbac_target *target; /* or NULL */
    const struct rbac_options *merged;
};

/* An option of one role as it was written, or NULL. */
static const json_t *written(const struct set_role *one, const char *key)
{
    const json_t *spec = json_object_get(one->role->document, "spec");
    const json_t *value = json_object_get(json_object_get(spec, "options"), key);
    return json_is_null(value) ? NULL : value;
}

static bool is_on(const json_t *value, bool otherwise)
{
    const char *text = json_string_value(value);
    if (json_is_boolean(value))
        return json_is_true(value);
    if (!text)
        return otherwise;
    return strcasecmp(text, "yes") == 0 || strcasecmp(text, "true") == 0 || strcasecmp(text, "on") == 0;
}

/* Does the role take part in options that belong to a resource? Without one every role of the user does. */
static bool takes_part(const struct asking *asking, const struct set_role *one)
{
    if (one->implicit)
        return false;
    return !asking->target || (set_section_in_namespace(&one->allow, asking->target) &&
                               set_section_selects(asking->set, &one->allow, asking->target, false, NULL, 0));
}

static size_t word_at(const char *const *words, const char *text)
{
    size_t at = 0;
    while (words[at] && strcmp(words[at], text) != 0)
        at++;
    return words[at] ? at : 0;
}

/* The strongest word that any role has; words go from weak to strong, the first is the default. */
static const char *strongest(const struct asking *asking, const char *key, const char *const *words)
{
    size_t best = 0;
    for (size_t i = 0; i < asking->set->count; i++) {
        const char *text = json_string_value(written(&asking->set->roles[i], key));
        size_t at = text ? word_at(words, text) : 0;
        if (at > best)
            best = at;
    }
    return words[best];
}

/* Every role that selects the host must want its user; keep beats dropping. */
static const char *host_user_mode(const struct asking *asking)
{
    bool keep = false;
    bool any = false;
    for (size_t i = 0; i < asking->set->count; i++) {
        const struct set_role *one = &asking->set->roles[i];
        const char *mode = json_string_value(written(one, "create_host_user_mode"));
        if (!takes_part(asking, one))
            continue;
        if (!mode || !*mode)
            mode = is_on(written(one, "create_host_user"), false) ? "insecure-drop" : "off";
        if (strcmp(mode, "off") == 0)
            return "off";
        keep |= strcmp(mode, "keep") == 0;
        any = true;
    }
    return !any ? "off" : keep ? "keep" : "insecure-drop";
}

static const char *db_user_mode(const struct asking *asking)
{
    static const char *const words[] = {"off", "keep", "best_effort_drop", NULL};
    size_t best = 0;
    for (size_t i = 0; i < asking->set->count; i++) {
        const struct set_role *one = &asking->set->roles[i];
        const char *mode = json_string_value(written(one, "create_db_user_mode"));
        size_t at = mode && *mode ? word_at(words, mode) : is_on(written(one, "create_db_user"), false) ? 1 : 0;
        if (takes_part(asking, one) && at > best)
            best = at;
    }
    return words[best];
}

static bool all_on(const struct asking *asking, const char *key)
{
    bool any = false;
    for (size_t i = 0; i < asking->set->count; i++) {
        const struct set_role *one = &asking->set->roles[i];
        if (!takes_part(asking, one))
            continue;
        if (!is_on(written(one, key), false))
            return false;
        any = true;
    }
    return any;
}

static json_t *first_text(const struct asking *asking, const char *key)
{
    for (size_t i = 0; i < asking->set->count; i++) {
        const char *text = json_string_value(written(&asking->set->roles[i], key));
        if (text && *text && takes_part(asking, &asking->set->roles[i]))
            return json_string(text);
    }
    return json_string("");
}

static json_t *joined_prompts(const struct asking *asking)
{
    char *all = mem_strdup("");
    json_t *value;
    for (size_t i = 0; i < asking->set->count; i++) {
        const char *text = json_string_value(written(&asking->set->roles[i], "request_prompt"));
        char *longer;
        if (!text || !*text)
            continue;
        longer = mem_printf("%s%s%s", all, *all ? "\n" : "", text);
        mem_free(all);
        all = longer;
    }
    value = json_string(all);
    mem_free(all);
    return value;
}

static json_t *cert_extensions(const struct asking *asking)
{
    json_t *all = json_array();
    for (size_t i = 0; i < asking->set->count; i++) {
        const json_t *list = written(&asking->set->roles[i], "cert_extensions");
        for (size_t j = 0; j < json_array_size(list); j++) {
            json_t *one = json_deep_copy(json_array_get(list, j));
            const char *text = json_string_value(json_object_get(one, "value"));
            struct template *item = NULL;
            struct names values = {0};
            if (text && template_parse(text, &item, NULL) == TP_OK)
                template_expand(item, asking->set->traits, &values);
            if (text)
                json_object_set_new(one, "value", json_string(values.count ? values.items[0] : ""));
            /* An extension whose trait is missing vanishes. */
            if (!text || values.count > 0)
                json_array_append(all, one);
            json_decref(one);
            names_free(&values);
            template_free(item);
        }
    }
    return all;
}

static bool saml_enabled(const struct asking *asking)
{
    for (size_t i = 0; i < asking->set->count; i++) {
        const json_t *saml = json_object_get(written(&asking->set->roles[i], "idp"), "saml");
        if (!is_on(json_object_get(saml, "enabled"), true))
            return false;
    }
    return true;
}

static json_t *duration(int64_t ms)
{
    char text[CLOCK_TEXT_SIZE];
    if (ms == 0 || ms == INT64_MAX) /* nobody limits it */
        return json_string("0s");
    clock_format_duration_ms(ms, text);
    return json_string(text);
}

static const char *record_name(enum role_record_mode mode)
{
    return mode == ROLE_RECORD_STRICT ? "strict" : "best_effort";
}

static json_t *enhanced(unsigned bits)
{
    json_t *list = json_array();
    if (bits & ROLE_ENHANCED_COMMAND)
        json_array_append_new(list, json_string("command"));
    if (bits & ROLE_ENHANCED_DISK)
        json_array_append_new(list, json_string("disk"));
    if (bits & ROLE_ENHANCED_NETWORK)
        json_array_append_new(list, json_string("network"));
    return list;
}

static const char *forwarding(const struct rbac_options *merged)
{
    return merged->port_forward_local    ? (merged->port_forward_remote ? "on" : "local")
           : merged->port_forward_remote ? "remote"
                                         : "off";
}

static bool port_forwarding(const struct asking *asking)
{
    for (size_t i = 0; i < asking->set->count; i++)
        if (!asking->set->roles[i].implicit && asking->set->roles[i].role->options.port_forwarding != ROLE_OFF)
            return true;
    return false;
}

/* Hardware levels add up: a touch from one role and a PIN from another need both. */
static json_t *session_mfa(const struct asking *asking)
{
    bool any = false, hardware = false, touch = false, pin = false;
    for (size_t i = 0; i < asking->set->count; i++) {
        enum role_mfa mfa = asking->set->roles[i].role->options.require_session_mfa;
        any |= mfa != ROLE_MFA_NO;
        hardware |= mfa > ROLE_MFA_YES;
        touch |= mfa == ROLE_MFA_HARDWARE_KEY_TOUCH || mfa == ROLE_MFA_HARDWARE_KEY_TOUCH_AND_PIN;
        pin |= mfa == ROLE_MFA_HARDWARE_KEY_PIN || mfa == ROLE_MFA_HARDWARE_KEY_TOUCH_AND_PIN;
    }
    return json_string(touch && pin ? "hardware_key_touch_and_pin"
                       : touch      ? "hardware_key_touch"
                       : pin        ? "hardware_key_pin"
                       : hardware   ? "hardware_key"
                       : any        ? "yes"
                                    : "no");
}

static json_t *plain_option(const struct asking *asking, const char *name)
{
    const struct rbac_options *merged = asking->merged;
    const struct {
        const char *name;
        bool value;
    } switches[] = {{"forward_agent", merged->forward_agent},
                    {"port_forwarding", port_forwarding(asking)},
                    {"permit_x11_forwarding", merged->permit_x11_forwarding},
                    {"ssh_file_copy", merged->ssh_file_copy},
                    {"disconnect_expired_cert", merged->disconnect_expired_cert},
                    {"pin_source_ip", merged->pin_source_ip},
                    {"desktop_clipboard", merged->desktop_clipboard},
                    {"desktop_directory_sharing", merged->desktop_directory_sharing},
                    {"record_session.desktop", merged->record_desktop}};
    const struct {
        const char *name;
        int64_t ms;
    } times[] = {{"max_session_ttl", merged->max_session_ttl_ms},
                 {"client_idle_timeout", merged->client_idle_timeout_ms},
                 {"mfa_verification_interval", merged->mfa_verification_interval_ms}};
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"max_connections", merged->max_connections},
                   {"max_sessions", merged->max_sessions},
                   {"max_kubernetes_connections", merged->max_kubernetes_connections}};
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        if (strcmp(switches[i].name, name) == 0)
            return json_boolean(switches[i].value);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (strcmp(times[i].name, name) == 0)
            return duration(times[i].ms);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(numbers[i].name, name) == 0)
            return json_integer(numbers[i].value);
    return NULL;
}

static json_t *other_option(const struct asking *asking, const char *name)
{
    static const char *const device[] = {"", "off", "optional", "required-for-humans", "required", NULL};
    static const char *const lock[] = {"", "best_effort", "strict", NULL};
    static const char *const request[] = {"optional", "always", "reason", NULL};
    const struct rbac_options *merged = asking->merged;
    if (strcmp(name, "cert_format") == 0)
        return json_string(merged->cert_format_standard ? "standard" : "oldssh");
    if (strcmp(name, "ssh_port_forwarding") == 0)
        return json_string(forwarding(merged));
    if (strcmp(name, "ssh_port_forwarding.local.enabled") == 0 || strcmp(name, "ssh_port_forwarding.local") == 0)
        return json_boolean(merged->port_forward_local);
    if (strcmp(name, "ssh_port_forwarding.remote.enabled") == 0 || strcmp(name, "ssh_port_forwarding.remote") == 0)
        return json_boolean(merged->port_forward_remote);
    if (strcmp(name, "enhanced_recording") == 0)
        return enhanced(merged->enhanced_recording);
    if (strcmp(name, "record_session.ssh") == 0)
        return json_string(record_name(merged->record_ssh));
    if (strcmp(name, "record_session.default") == 0)
        return json_string(record_name(merged->record_default));
    if (strcmp(name, "record_session") == 0)
        return json_pack("{s:s, s:s, s:b}", "default", record_name(merged->record_default), "ssh",
                         record_name(merged->record_ssh), "desktop", (int)merged->record_desktop);
    if (strcmp(name, "require_session_mfa") == 0)
        return session_mfa(asking);
    if (strcmp(name, "device_trust_mode") == 0)
        return json_string(strongest(asking, name, device));
    if (strcmp(name, "lock") == 0)
        return json_string(strongest(asking, name, lock));
    if (strcmp(name, "request_access") == 0)
        return json_string(strongest(asking, name, request));
    if (strcmp(name, "request_prompt") == 0)
        return joined_prompts(asking);
    if (strcmp(name, "cert_extensions") == 0)
        return cert_extensions(asking);
    if (strcmp(name, "create_host_user_mode") == 0)
        return json_string(host_user_mode(asking));
    if (strcmp(name, "create_host_user") == 0)
        return json_boolean(strcmp(host_user_mode(asking), "off") != 0);
    if (strcmp(name, "create_host_user_default_shell") == 0)
        return first_text(asking, name);
    if (strcmp(name, "create_db_user_mode") == 0)
        return json_string(db_user_mode(asking));
    if (strcmp(name, "create_db_user") == 0)
        return json_boolean(strcmp(db_user_mode(asking), "off") != 0);
    if (strcmp(name, "create_desktop_user") == 0)
        return json_boolean(all_on(asking, name));
    if (strcmp(name, "idp.saml.enabled") == 0)
        return json_boolean(saml_enabled(asking));
    return NULL;
}

json_t *rbac_option(const struct rbac_set *set, const struct rbac_cluster *cluster, const struct rbac_target *target,
                    const char *name)
{
    struct rbac_options merged;
    struct asking asking = {set, target, &merged};
    json_t *value;
    rbac_merge_options(set, cluster, &merged);
    value = plain_option(&asking, name);
    return value ? value : other_option(&asking, name);
}

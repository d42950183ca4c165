#include "rbac/role_private.h"

#include "rbac/schema.h"

#include <string.h>
#include <strings.h>

#define HOUR_MS ((int64_t)3600 * 1000)
#define DEFAULT_TTL_MS (30 * HOUR_MS)

static enum role_tristate tristate(const struct node *map, const char *key)
{
    return !schema_get(map, key) ? ROLE_UNSET : schema_bool(map, key, false) ? ROLE_ON : ROLE_OFF;
}

static enum role_mfa mfa_of(const char *text)
{
    static const struct {
        const char *text;
        enum role_mfa mfa;
    } words[] = {{"no", ROLE_MFA_NO},
                 {"off", ROLE_MFA_NO},
                 {"false", ROLE_MFA_NO},
                 {"hardware_key", ROLE_MFA_HARDWARE_KEY},
                 {"hardware_key_touch", ROLE_MFA_HARDWARE_KEY_TOUCH},
                 {"hardware_key_pin", ROLE_MFA_HARDWARE_KEY_PIN},
                 {"hardware_key_touch_and_pin", ROLE_MFA_HARDWARE_KEY_TOUCH_AND_PIN}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(words[i].text, text) == 0)
            return words[i].mfa;
    return ROLE_MFA_YES;
}

static enum role_record_mode record_of(const struct node *map, const char *key)
{
    const char *text = node_get_text(map, key, "");
    return strcmp(text, "strict") == 0        ? ROLE_RECORD_STRICT
           : strcmp(text, "best_effort") == 0 ? ROLE_RECORD_BEST_EFFORT
                                              : ROLE_RECORD_UNSET;
}

static unsigned enhanced_of(const struct node *list)
{
    unsigned bits = 0;
    if (!list)
        return ROLE_ENHANCED_COMMAND | ROLE_ENHANCED_NETWORK;
    for (size_t i = 0; i < list->count; i++) {
        char first = list->items[i]->text[0];
        bits |= first == 'c' ? ROLE_ENHANCED_COMMAND : first == 'd' ? ROLE_ENHANCED_DISK : ROLE_ENHANCED_NETWORK;
    }
    return bits;
}

void role_options_read(const struct node *options, struct role_options *ret)
{
    const struct node *forwarding = schema_get(options, "ssh_port_forwarding");
    const struct node *record = schema_get(options, "record_session");
    const char *lock = node_get_text(options, "lock", "");
    const char *device = node_get_text(options, "device_trust_mode", "");
    ret->max_session_ttl_ms = schema_duration(options, "max_session_ttl");
    if (ret->max_session_ttl_ms == 0)
        ret->max_session_ttl_ms = DEFAULT_TTL_MS;
    ret->cert_format_old = strcmp(node_get_text(options, "cert_format", ""), "oldssh") == 0;
    ret->forward_agent = schema_bool(options, "forward_agent", false);
    ret->port_forwarding = tristate(options, "port_forwarding");
    ret->ssh_port_forwarding_set = forwarding != NULL;
    ret->ssh_local = tristate(schema_get(forwarding, "local"), "enabled");
    ret->ssh_remote = tristate(schema_get(forwarding, "remote"), "enabled");
    ret->permit_x11_forwarding = schema_bool(options, "permit_x11_forwarding", false);
    ret->ssh_file_copy = schema_bool(options, "ssh_file_copy", true);
    ret->client_idle_timeout_ms = schema_duration(options, "client_idle_timeout");
    ret->disconnect_expired_cert = schema_bool(options, "disconnect_expired_cert", false);
    ret->max_connections = schema_int(options, "max_connections", 0);
    ret->max_sessions = schema_int(options, "max_sessions", 0);
    ret->max_kubernetes_connections = schema_int(options, "max_kubernetes_connections", 0);
    ret->enhanced_recording = enhanced_of(schema_get(options, "enhanced_recording"));
    ret->record_default = record_of(record, "default");
    ret->record_ssh = record_of(record, "ssh");
    ret->record_desktop = schema_bool(record, "desktop", true);
    ret->desktop_clipboard = schema_bool(options, "desktop_clipboard", true);
    ret->desktop_directory_sharing = schema_bool(options, "desktop_directory_sharing", true);
    ret->pin_source_ip = schema_bool(options, "pin_source_ip", false);
    ret->require_session_mfa = mfa_of(node_get_text(options, "require_session_mfa", "no"));
    ret->mfa_verification_interval_ms = schema_duration(options, "mfa_verification_interval");
    ret->device_required = strncmp(device, "required", 8) == 0;
    ret->lock = strcmp(lock, "strict") == 0        ? ROLE_LOCK_STRICT
                : strcmp(lock, "best_effort") == 0 ? ROLE_LOCK_BEST_EFFORT
                                                   : ROLE_LOCK_UNSET;
}

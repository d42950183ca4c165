/* How the options of several roles become one. */
#include "rbac/role_private.h"

/* 0 is "none". */
static void least(int64_t *value, int64_t other)
{
    if (other > 0 && (*value == 0 || other < *value))
        *value = other;
}

/* An explicit off in ssh_port_forwarding beats on, yet one role that has the old key alone and says true opens all. An
 * old false counts only if no role has the new key. The implicit role takes part only when it is alone. */
static void merge_forwarding(const struct rbac_set *set, struct rbac_options *out)
{
    bool old_off = false;
    bool any_new = false;
    size_t asked = 0;
    out->port_forward_local = out->port_forward_remote = true;
    for (size_t i = 0; i < set->count; i++) {
        const struct role_options *one = &set->roles[i].role->options;
        if (set->roles[i].implicit)
            continue;
        asked++;
        if (!one->ssh_port_forwarding_set && one->port_forwarding == ROLE_ON) {
            out->port_forward_local = out->port_forward_remote = true;
            return;
        }
        any_new |= one->ssh_port_forwarding_set;
        old_off |= !one->ssh_port_forwarding_set && one->port_forwarding == ROLE_OFF;
        if (one->ssh_local == ROLE_OFF)
            out->port_forward_local = false;
        if (one->ssh_remote == ROLE_OFF)
            out->port_forward_remote = false;
    }
    if (asked == 0 || (old_off && !any_new))
        out->port_forward_local = out->port_forward_remote = false;
}

static void merge_recording(const struct rbac_set *set, struct rbac_options *out)
{
    bool any_ssh = false;
    bool strict_ssh = false;
    bool strict_default = false;
    for (size_t i = 0; i < set->count; i++) {
        const struct role_options *one = &set->roles[i].role->options;
        any_ssh |= one->record_ssh != ROLE_RECORD_UNSET;
        strict_ssh |= one->record_ssh == ROLE_RECORD_STRICT;
        strict_default |= one->record_default == ROLE_RECORD_STRICT;
        out->record_desktop |= one->record_desktop;
        out->enhanced_recording |= one->enhanced_recording;
    }
    out->record_default = strict_default ? ROLE_RECORD_STRICT : ROLE_RECORD_BEST_EFFORT;
    out->record_ssh = (any_ssh ? strict_ssh : strict_default) ? ROLE_RECORD_STRICT : ROLE_RECORD_BEST_EFFORT;
}

const char *rbac_need_name(enum rbac_need need)
{
    static const char *const names[] = {[RBAC_NEVER] = "never", [RBAC_PER_ROLE] = "per_role", [RBAC_ALWAYS] = "always"};
    return names[need];
}

static void merge_mfa_and_lock(const struct rbac_set *set, const struct rbac_cluster *cluster, struct rbac_options *out)
{
    bool cluster_mfa = cluster && cluster->require_session_mfa != ROLE_MFA_NO;
    enum role_lock_mode lock = ROLE_LOCK_UNSET;
    out->mfa_hardware_key = cluster && cluster->require_session_mfa > ROLE_MFA_YES;
    size_t asked = 0;
    size_t with_mfa = 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct role_options *one = &set->roles[i].role->options;
        if (set->roles[i].implicit)
            continue;
        asked++;
        with_mfa += one->require_session_mfa != ROLE_MFA_NO;
        out->mfa_hardware_key |= one->require_session_mfa > ROLE_MFA_YES;
        if (cluster_mfa || one->require_session_mfa != ROLE_MFA_NO)
            least(&out->mfa_verification_interval_ms, one->mfa_verification_interval_ms);
        if (one->lock > lock)
            lock = one->lock;
    }
    out->mfa_required = cluster_mfa || (asked > 0 && with_mfa == asked) ? RBAC_ALWAYS
                        : with_mfa > 0                                  ? RBAC_PER_ROLE
                                                                        : RBAC_NEVER;
    if (lock == ROLE_LOCK_UNSET && cluster)
        lock = cluster->locking_mode;
    out->locking_mode = lock == ROLE_LOCK_STRICT ? ROLE_LOCK_STRICT : ROLE_LOCK_BEST_EFFORT;
}

void rbac_merge_options(const struct rbac_set *set, const struct rbac_cluster *cluster,
                        struct rbac_options *ret_options)
{
    struct rbac_options out = {.max_session_ttl_ms = INT64_MAX,
                               .ssh_file_copy = true,
                               .desktop_clipboard = true,
                               .desktop_directory_sharing = true};
    if (cluster) {
        least(&out.client_idle_timeout_ms, cluster->client_idle_timeout_ms);
        out.disconnect_expired_cert = cluster->disconnect_expired_cert;
    }
    for (size_t i = 0; i < set->count; i++) {
        const struct role_options *one = &set->roles[i].role->options;
        least(&out.max_session_ttl_ms, one->max_session_ttl_ms);
        least(&out.client_idle_timeout_ms, one->client_idle_timeout_ms);
        least(&out.max_sessions, one->max_sessions);
        least(&out.max_connections, one->max_connections);
        least(&out.max_kubernetes_connections, one->max_kubernetes_connections);
        out.forward_agent |= one->forward_agent;
        out.permit_x11_forwarding |= one->permit_x11_forwarding;
        out.ssh_file_copy &= one->ssh_file_copy;
        out.disconnect_expired_cert |= one->disconnect_expired_cert;
        out.pin_source_ip |= one->pin_source_ip;
        out.desktop_clipboard &= one->desktop_clipboard;
        out.desktop_directory_sharing &= one->desktop_directory_sharing;
        out.cert_format_standard |= !set->roles[i].implicit && !one->cert_format_old;
    }
    out.cert_format_standard |= set->count == 0 || (set->count == 1 && set->roles[0].implicit);
    merge_forwarding(set, &out);
    merge_recording(set, &out);
    merge_mfa_and_lock(set, cluster, &out);
    *ret_options = out;
}

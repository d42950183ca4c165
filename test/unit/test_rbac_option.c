#include "rbac_help.h"

#include "rbac/values.h"

/* A set of roles with these options. */
static struct rbac_options merged(const struct rbac_cluster *cluster, const char *first, const char *second)
{
    char *a = mem_printf("{options: %s}", first);
    char *b = mem_printf("{options: %s}", second ? second : "{}");
    struct rbac_set *set = set_of_version("v5", "u", NULL, (const char *const[]){a, second ? b : NULL, NULL});
    struct rbac_options options;
    rbac_merge_options(set, cluster, &options);
    rbac_set_free(set);
    mem_free(a);
    mem_free(b);
    return options;
}

#define BOOL_CASE(option, first, second, expected)                                                     \
    do {                                                                                               \
        struct rbac_options options = merged(NULL, "{" #option ": " first "}", second);                \
        if (options.option != (expected))                                                              \
            fail_msg("%s with %s: got %d", #option ": " first, second ? second : "-", options.option); \
    } while (0)

static void test_or_and_options(void **state)
{
    const char *none = NULL;
    (void)state;
    BOOL_CASE(forward_agent, "true", "{forward_agent: false}", true);
    BOOL_CASE(forward_agent, "no", none, false);
    BOOL_CASE(permit_x11_forwarding, "'yes'", "{}", true);
    BOOL_CASE(pin_source_ip, "true", "{}", true);
    BOOL_CASE(disconnect_expired_cert, "true", "{}", true);
    BOOL_CASE(ssh_file_copy, "false", "{}", false);
    BOOL_CASE(ssh_file_copy, "true", "{}", true);
    BOOL_CASE(desktop_clipboard, "false", "{desktop_clipboard: true}", false);
    BOOL_CASE(desktop_directory_sharing, "true", "{}", true);
}

static void test_least_options(void **state)
{
    struct rbac_cluster cluster = {.client_idle_timeout_ms = 600000, .disconnect_expired_cert = true};
    struct rbac_options options =
        merged(&cluster, "{max_session_ttl: 8h, client_idle_timeout: 30m, max_sessions: 5}",
               "{max_session_ttl: 10h, max_sessions: 3, max_connections: 7, client_idle_timeout: never}");
    (void)state;
    assert_int_equal(options.max_session_ttl_ms, 8 * 3600 * 1000);
    assert_int_equal(options.client_idle_timeout_ms, 600000);
    assert_int_equal(options.max_sessions, 3);
    assert_int_equal(options.max_connections, 7);
    assert_true(options.disconnect_expired_cert);
    options = merged(NULL, "{}", NULL);
    assert_int_equal(options.max_session_ttl_ms, 30 * 3600 * 1000);
    assert_int_equal(options.client_idle_timeout_ms, 0);
    assert_int_equal(options.max_sessions, 0);
}

static void test_port_forwarding(void **state)
{
    static const struct {
        const char *first, *second;
        bool local, remote;
    } table[] = {
        {"{}", NULL, true, true},
        {"{port_forwarding: null}", NULL, true, true},
        {"{port_forwarding: true}", "{port_forwarding: false}", true, true},
        {"{port_forwarding: false}", NULL, false, false},
        {"{ssh_port_forwarding: {local: {enabled: false}}}", NULL, false, true},
        {"{ssh_port_forwarding: {remote: {enabled: false}}}", "{ssh_port_forwarding: {remote: {enabled: true}}}", true,
         false},
        {"{ssh_port_forwarding: {remote: {enabled: false}}}", "{port_forwarding: true}", true, true},
        {"{ssh_port_forwarding: {local: {enabled: true}}}", "{port_forwarding: false}", true, true},
        {"{ssh_port_forwarding: {local: {enabled: false}, remote: {enabled: false}}, port_forwarding: true}", NULL,
         false, false},
    };
    struct rbac_set *empty = set_of_version("v5", "u", NULL, NULL);
    struct rbac_options options;
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        options = merged(NULL, table[i].first, table[i].second);
        if (options.port_forward_local != table[i].local || options.port_forward_remote != table[i].remote)
            fail_msg("%s with %s: got %d %d", table[i].first, table[i].second ? table[i].second : "-",
                     options.port_forward_local, options.port_forward_remote);
    }
    rbac_merge_options(empty, NULL, &options);
    assert_false(options.port_forward_local);
    rbac_set_free(empty);
}

static void test_recording(void **state)
{
    (void)state;
    assert_int_equal(merged(NULL, "{}", NULL).record_ssh, ROLE_RECORD_BEST_EFFORT);
    assert_int_equal(merged(NULL, "{record_session: {default: strict}}", "{}").record_ssh, ROLE_RECORD_STRICT);
    assert_int_equal(
        merged(NULL, "{record_session: {default: strict}}", "{record_session: {ssh: best_effort}}").record_ssh,
        ROLE_RECORD_BEST_EFFORT);
    assert_int_equal(merged(NULL, "{record_session: {ssh: strict}}", "{record_session: {ssh: best_effort}}").record_ssh,
                     ROLE_RECORD_STRICT);
    assert_true(merged(NULL, "{record_session: {desktop: false}}", "{}").record_desktop);
    assert_false(merged(NULL, "{record_session: {desktop: false}}", NULL).record_desktop);
    assert_int_equal(merged(NULL, "{enhanced_recording: [disk]}", "{enhanced_recording: [command]}").enhanced_recording,
                     ROLE_ENHANCED_COMMAND | ROLE_ENHANCED_DISK);
}

static void test_mfa_and_lock(void **state)
{
    struct rbac_cluster cluster = {.require_session_mfa = ROLE_MFA_YES, .locking_mode = ROLE_LOCK_STRICT};
    (void)state;
    assert_int_equal(merged(NULL, "{}", NULL).mfa_required, RBAC_NEVER);
    assert_int_equal(merged(NULL, "{require_session_mfa: yes}", "{}").mfa_required, RBAC_PER_ROLE);
    assert_int_equal(merged(NULL, "{require_session_mfa: hardware_key}", "{require_session_mfa: true}").mfa_required,
                     RBAC_ALWAYS);
    assert_int_equal(merged(&cluster, "{}", NULL).mfa_required, RBAC_ALWAYS);
    static const enum role_mfa levels[] = {ROLE_MFA_NO, ROLE_MFA_YES, ROLE_MFA_HARDWARE_KEY, ROLE_MFA_HARDWARE_KEY_PIN};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        struct rbac_cluster asks = {.require_session_mfa = levels[i]};
        assert_int_equal(merged(&asks, "{}", NULL).mfa_hardware_key, i > 1);
        assert_true(merged(&asks, "{}", "{require_session_mfa: hardware_key}").mfa_hardware_key);
    }
    assert_false(merged(NULL, "{}", NULL).mfa_hardware_key);
    assert_false(merged(NULL, "{require_session_mfa: yes}", "{}").mfa_hardware_key);
    assert_true(
        merged(NULL, "{require_session_mfa: hardware_key_touch}", "{require_session_mfa: yes}").mfa_hardware_key);
    assert_int_equal(merged(NULL, "{mfa_verification_interval: 1h}", NULL).mfa_verification_interval_ms, 0);
    assert_int_equal(merged(&cluster, "{mfa_verification_interval: 1h}", NULL).mfa_verification_interval_ms, 3600000);
    assert_int_equal(merged(&cluster, "{}", NULL).locking_mode, ROLE_LOCK_STRICT);
    assert_int_equal(merged(&cluster, "{lock: best_effort}", "{}").locking_mode, ROLE_LOCK_BEST_EFFORT);
    assert_int_equal(merged(NULL, "{lock: best_effort}", "{lock: strict}").locking_mode, ROLE_LOCK_STRICT);
    assert_int_equal(merged(NULL, "{}", NULL).locking_mode, ROLE_LOCK_BEST_EFFORT);
}

static void test_names_that_are_no_options(void **state)
{
    static const char *const none[] = {"", "nothing", "record_session.", "ssh_port_forwarding.", "idp", "idp.saml"};
    struct rbac_set *set = set_of_version("v5", "u", NULL, NULL);
    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_null(rbac_option(set, NULL, NULL, none[i]));
    rbac_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_or_and_options),  cmocka_unit_test(test_least_options),
        cmocka_unit_test(test_port_forwarding), cmocka_unit_test(test_recording),
        cmocka_unit_test(test_mfa_and_lock),    cmocka_unit_test(test_names_that_are_no_options)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

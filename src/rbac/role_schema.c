/* Which keys a role may have. */
#include "rbac/role_private.h"

#include "rbac/schema.h"

static const char *const versions[] = {"v3", "v4", "v5", "v6", "v7", "v8", NULL};
static const char *const kinds[] = {"role", NULL};
static const char *const cert_formats[] = {"standard", "oldssh", "unspecified", "", NULL};
static const char *const record_modes[] = {"best_effort", "strict", "", NULL};
static const char *const enhanced[] = {"command", "disk", "network", NULL};
static const char *const lock_modes[] = {"best_effort", "strict", "", NULL};
static const char *const device_modes[] = {"", "off", "optional", "required", "required-for-humans", NULL};
static const char *const db_user_modes[] = {"off", "keep", "best_effort_drop", "", NULL};
static const char *const host_user_modes[] = {"off", "keep", "drop", "insecure-drop", "", NULL};
static const char *const request_access[] = {"optional", "always", "reason", "", NULL};
/* Numbers are what the option looks like in stored resources of other tools. */
const char *const role_mfa_words[] = {"no",
                                      "yes",
                                      "off",
                                      "on",
                                      "true",
                                      "false",
                                      "True",
                                      "False",
                                      "TRUE",
                                      "FALSE",
                                      "Yes",
                                      "No",
                                      "hardware_key",
                                      "hardware_key_touch",
                                      "hardware_key_pin",
                                      "hardware_key_touch_and_pin",
                                      NULL};
static const char *const session_kinds[] = {"ssh", "k8s", "*", "db", "app", "desktop", NULL};
static const char *const session_modes[] = {"observer", "moderator", "peer", "*", NULL};
static const char *const on_leave[] = {"", "terminate", "pause", NULL};
static const char *const extension_types[] = {"ssh", NULL};
static const char *const extension_modes[] = {"extension", NULL};

static const struct schema switch_schema[] = {{"enabled", SCHEMA_BOOL, NULL, NULL, false}, {0}};
static const struct schema forwarding_schema[] = {
    {"local", SCHEMA_MAP, switch_schema, NULL, false}, {"remote", SCHEMA_MAP, switch_schema, NULL, false}, {0}};
static const struct schema record_schema[] = {{"default", SCHEMA_WORD, NULL, record_modes, false},
                                              {"ssh", SCHEMA_WORD, NULL, record_modes, false},
                                              {"desktop", SCHEMA_BOOL, NULL, NULL, false},
                                              {0}};
static const struct schema extension_schema[] = {{"name", SCHEMA_TEXT, NULL, NULL, true},
                                                 {"type", SCHEMA_WORD, NULL, extension_types, true},
                                                 {"mode", SCHEMA_WORD, NULL, extension_modes, true},
                                                 {"value", SCHEMA_TEXT, NULL, NULL, false},
                                                 {0}};
static const struct schema saml_schema[] = {{"saml", SCHEMA_MAP, switch_schema, NULL, false}, {0}};

static const struct schema options_schema[] = {
    {"max_session_ttl", SCHEMA_DURATION, NULL, NULL, false},
    {"cert_format", SCHEMA_WORD, NULL, cert_formats, false},
    {"forward_agent", SCHEMA_BOOL, NULL, NULL, false},
    {"port_forwarding", SCHEMA_BOOL, NULL, NULL, false},
    {"ssh_port_forwarding", SCHEMA_MAP, forwarding_schema, NULL, false},
    {"permit_x11_forwarding", SCHEMA_BOOL, NULL, NULL, false},
    {"ssh_file_copy", SCHEMA_BOOL, NULL, NULL, false},
    {"client_idle_timeout", SCHEMA_IDLE, NULL, NULL, false},
    {"disconnect_expired_cert", SCHEMA_BOOL, NULL, NULL, false},
    {"max_connections", SCHEMA_INT, NULL, NULL, false},
    {"max_sessions", SCHEMA_INT, NULL, NULL, false},
    {"max_kubernetes_connections", SCHEMA_INT, NULL, NULL, false},
    {"enhanced_recording", SCHEMA_WORDS, NULL, enhanced, false},
    {"record_session", SCHEMA_MAP, record_schema, NULL, false},
    {"desktop_clipboard", SCHEMA_BOOL, NULL, NULL, false},
    {"desktop_directory_sharing", SCHEMA_BOOL, NULL, NULL, false},
    {"create_desktop_user", SCHEMA_BOOL, NULL, NULL, false},
    {"create_db_user", SCHEMA_BOOL, NULL, NULL, false},
    {"create_db_user_mode", SCHEMA_WORD, NULL, db_user_modes, false},
    {"create_host_user", SCHEMA_BOOL, NULL, NULL, false},
    {"create_host_user_mode", SCHEMA_WORD, NULL, host_user_modes, false},
    {"create_host_user_default_shell", SCHEMA_TEXT, NULL, NULL, false},
    {"pin_source_ip", SCHEMA_BOOL, NULL, NULL, false},
    {"require_session_mfa", SCHEMA_WORD, NULL, role_mfa_words, false},
    {"mfa_verification_interval", SCHEMA_DURATION, NULL, NULL, false},
    {"device_trust_mode", SCHEMA_WORD, NULL, device_modes, false},
    {"lock", SCHEMA_WORD, NULL, lock_modes, false},
    {"request_access", SCHEMA_WORD, NULL, request_access, false},
    {"request_prompt", SCHEMA_TEXT, NULL, NULL, false},
    {"cert_extensions", SCHEMA_MAPS, extension_schema, NULL, false},
    {"idp", SCHEMA_MAP, saml_schema, NULL, false},
    {0},
};

static const struct schema kube_schema[] = {
    {"kind", SCHEMA_TEXT, NULL, NULL, false},      {"api_group", SCHEMA_TEXT, NULL, NULL, false},
    {"namespace", SCHEMA_TEXT, NULL, NULL, false}, {"name", SCHEMA_TEXT, NULL, NULL, false},
    {"verbs", SCHEMA_TEXTS, NULL, NULL, false},    {0},
};
static const struct schema permission_schema[] = {
    {"permissions", SCHEMA_TEXTS, NULL, NULL, true}, {"match", SCHEMA_LABELS, NULL, NULL, true}, {0}};
static const struct schema rule_schema[] = {
    {"resources", SCHEMA_TEXTS, NULL, NULL, true},
    {"verbs", SCHEMA_TEXTS, NULL, NULL, true},
    {"where", SCHEMA_TEXT, NULL, NULL, false},
    {"actions", SCHEMA_TEXTS, NULL, NULL, false},
    {0},
};
static const struct schema impersonate_schema[] = {
    {"users", SCHEMA_TEXTS, NULL, NULL, false},
    {"roles", SCHEMA_TEXTS, NULL, NULL, false},
    {"where", SCHEMA_TEXT, NULL, NULL, false},
    {0},
};
static const struct schema claims_schema[] = {{"claim", SCHEMA_TEXT, NULL, NULL, false},
                                              {"value", SCHEMA_TEXT, NULL, NULL, false},
                                              {"roles", SCHEMA_TEXTS, NULL, NULL, false},
                                              {0}};
static const struct schema threshold_schema[] = {{"name", SCHEMA_TEXT, NULL, NULL, false},
                                                 {"filter", SCHEMA_TEXT, NULL, NULL, false},
                                                 {"approve", SCHEMA_INT, NULL, NULL, false},
                                                 {"deny", SCHEMA_INT, NULL, NULL, false},
                                                 {0}};
static const struct schema reason_schema[] = {
    {"mode", SCHEMA_TEXT, NULL, NULL, false}, {"prompt", SCHEMA_TEXT, NULL, NULL, false}, {0}};
static const struct schema request_schema[] = {
    {"roles", SCHEMA_TEXTS, NULL, NULL, false},
    {"search_as_roles", SCHEMA_TEXTS, NULL, NULL, false},
    {"thresholds", SCHEMA_MAPS, threshold_schema, NULL, false},
    {"claims_to_roles", SCHEMA_MAPS, claims_schema, NULL, false},
    {"annotations", SCHEMA_LABELS, NULL, NULL, false},
    {"suggested_reviewers", SCHEMA_TEXTS, NULL, NULL, false},
    {"max_duration", SCHEMA_DURATION, NULL, NULL, false},
    {"reason", SCHEMA_MAP, reason_schema, NULL, false},
    {"kubernetes_resources", SCHEMA_MAPS, kube_schema, NULL, false},
    {0},
};
static const struct schema review_schema[] = {
    {"roles", SCHEMA_TEXTS, NULL, NULL, false},
    {"where", SCHEMA_TEXT, NULL, NULL, false},
    {"claims_to_roles", SCHEMA_MAPS, claims_schema, NULL, false},
    {"preview_as_roles", SCHEMA_TEXTS, NULL, NULL, false},
    {0},
};
static const struct schema require_join_schema[] = {
    {"name", SCHEMA_TEXT, NULL, NULL, false},
    {"filter", SCHEMA_TEXT, NULL, NULL, false},
    {"kinds", SCHEMA_WORDS, NULL, session_kinds, false},
    {"modes", SCHEMA_WORDS, NULL, session_modes, false},
    {"count", SCHEMA_INT, NULL, NULL, false},
    {"on_leave", SCHEMA_WORD, NULL, on_leave, false},
    {0},
};
static const struct schema join_schema[] = {
    {"name", SCHEMA_TEXT, NULL, NULL, false},
    {"roles", SCHEMA_TEXTS, NULL, NULL, false},
    {"kinds", SCHEMA_WORDS, NULL, session_kinds, false},
    {"modes", SCHEMA_WORDS, NULL, session_modes, false},
    {0},
};
static const struct schema mcp_schema[] = {{"tools", SCHEMA_TEXTS, NULL, NULL, false}, {0}};

#define LABELS(name)                                              \
    {name "_labels", SCHEMA_LABELS, NULL, NULL, false},           \
    {                                                             \
        name "_labels_expression", SCHEMA_TEXT, NULL, NULL, false \
    }
#define TEXTS(name)                           \
    {                                         \
        name, SCHEMA_TEXTS, NULL, NULL, false \
    }

static const struct schema section_schema[] = {
    TEXTS("logins"),
    TEXTS("windows_desktop_logins"),
    LABELS("node"),
    LABELS("app"),
    LABELS("kubernetes"),
    LABELS("db"),
    LABELS("db_service"),
    LABELS("windows_desktop"),
    LABELS("cluster"),
    LABELS("group"),
    LABELS("workload_identity"),
    TEXTS("kubernetes_groups"),
    TEXTS("kubernetes_users"),
    {"kubernetes_resources", SCHEMA_MAPS, kube_schema, NULL, false},
    TEXTS("db_names"),
    TEXTS("db_users"),
    TEXTS("db_roles"),
    {"db_permissions", SCHEMA_MAPS, permission_schema, NULL, false},
    TEXTS("aws_role_arns"),
    TEXTS("azure_identities"),
    TEXTS("gcp_service_accounts"),
    TEXTS("host_groups"),
    TEXTS("host_sudoers"),
    TEXTS("desktop_groups"),
    TEXTS("namespaces"),
    {"rules", SCHEMA_MAPS, rule_schema, NULL, false},
    {"impersonate", SCHEMA_MAP, impersonate_schema, NULL, false},
    {"request", SCHEMA_MAP, request_schema, NULL, false},
    {"review_requests", SCHEMA_MAP, review_schema, NULL, false},
    {"require_session_join", SCHEMA_MAPS, require_join_schema, NULL, false},
    {"join_sessions", SCHEMA_MAPS, join_schema, NULL, false},
    {"spiffe", SCHEMA_ANY, NULL, NULL, false},
    {"github_permissions", SCHEMA_ANY, NULL, NULL, false},
    {"mcp", SCHEMA_MAP, mcp_schema, NULL, false},
    {"account_assignments", SCHEMA_ANY, NULL, NULL, false},
    {0},
};
static const struct schema spec_schema[] = {{"allow", SCHEMA_MAP, section_schema, NULL, false},
                                            {"deny", SCHEMA_MAP, section_schema, NULL, false},
                                            {"options", SCHEMA_MAP, options_schema, NULL, false},
                                            {0}};
static const struct schema metadata_schema[] = {
    {"name", SCHEMA_TEXT, NULL, NULL, true},        {"description", SCHEMA_TEXT, NULL, NULL, false},
    {"labels", SCHEMA_TEXT_MAP, NULL, NULL, false}, {"expires", SCHEMA_TIME, NULL, NULL, false},
    {"id", SCHEMA_TEXT, NULL, NULL, false},         {"revision", SCHEMA_TEXT, NULL, NULL, false},
    {"namespace", SCHEMA_TEXT, NULL, NULL, false},  {0},
};
static const struct schema role_schema[] = {
    {"kind", SCHEMA_WORD, NULL, kinds, true},       {"version", SCHEMA_WORD, NULL, versions, true},
    {"sub_kind", SCHEMA_TEXT, NULL, NULL, false},   {"metadata", SCHEMA_MAP, metadata_schema, NULL, true},
    {"spec", SCHEMA_MAP, spec_schema, NULL, false}, {0},
};

const char *const role_list_keys[ROLE_LIST_COUNT] = {"logins",
                                                     "windows_desktop_logins",
                                                     "kubernetes_groups",
                                                     "kubernetes_users",
                                                     "db_names",
                                                     "db_users",
                                                     "db_roles",
                                                     "aws_role_arns",
                                                     "azure_identities",
                                                     "gcp_service_accounts",
                                                     "host_groups",
                                                     "host_sudoers",
                                                     "desktop_groups"};
const char *const role_label_keys[ROLE_TARGET_COUNT] = {
    "node_labels",    "kubernetes_labels", "app_labels",
    "db_labels",      "db_service_labels", "windows_desktop_labels",
    "cluster_labels", "group_labels",      "workload_identity_labels"};
const char *const role_expression_keys[ROLE_TARGET_COUNT] = {
    "node_labels_expression",    "kubernetes_labels_expression", "app_labels_expression",
    "db_labels_expression",      "db_service_labels_expression", "windows_desktop_labels_expression",
    "cluster_labels_expression", "group_labels_expression",      "workload_identity_labels_expression"};

enum tp_err role_check(const struct node *document, struct tp_error *error)
{
    return schema_check(document, role_schema, "", error);
}

/* The role that everybody has: sees that things exist (lists are filtered by labels) and nothing else. */
#include "rbac/role_private.h"

#include "base/mem.h"

#include <stdint.h>

static const char *const read_kinds[] = {"node",
                                         "proxy",
                                         "auth_server",
                                         "reverse_tunnel",
                                         "cluster_auth_preference",
                                         "cluster_name",
                                         "ssh_session",
                                         "app_server",
                                         "app",
                                         "remote_cluster",
                                         "kube_server",
                                         "kube_cluster",
                                         "db_server",
                                         "db",
                                         "windows_desktop_service",
                                         "windows_desktop",
                                         "saml_idp_service_provider",
                                         "git_server",
                                         "identity_center",
                                         "identity_center_account",
                                         "identity_center_account_assignment",
                                         NULL};
static const char *const authority_kinds[] = {"cert_authority", NULL};
static const char *const usage_kinds[] = {"usage_event", NULL};

static void add_rule(struct role_section *section, const char *const *kinds, const char *first, const char *second)
{
    struct role_rule *rule = &section->rules[section->rule_count++];
    for (; *kinds; kinds++)
        names_add(&rule->kinds, *kinds);
    names_add(&rule->verbs, first);
    if (second)
        names_add(&rule->verbs, second);
}

struct role *role_implicit(void)
{
    struct role *role = mem_alloc(sizeof *role);
    role->references = 1;
    role->version = 3;
    role->name = mem_strdup("default-implicit-role");
    role_options_read(NULL, &role->options);
    role->options.max_session_ttl_ms = INT64_MAX;
    role->options.port_forwarding = ROLE_OFF;
    role->options.record_desktop = false;
    role->options.enhanced_recording = 0;
    names_add(&role->allow.namespaces, "default");
    names_add(&role->deny.namespaces, "default");
    role->allow.rules = mem_array(3, sizeof *role->allow.rules);
    add_rule(&role->allow, read_kinds, "list", "read");
    add_rule(&role->allow, authority_kinds, "list", "readnosecrets");
    add_rule(&role->allow, usage_kinds, "create", NULL);
    return role;
}

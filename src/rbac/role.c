#include "rbac/role_private.h"

#include "base/mem.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char *const system_names[] = {"Admin",
                                           "Auth",
                                           "Proxy",
                                           "Node",
                                           "Kube",
                                           "App",
                                           "Db",
                                           "WindowsDesktop",
                                           "Bot",
                                           "Instance",
                                           "Provision",
                                           "Nop",
                                           "Signup",
                                           "Trustedcluster",
                                           "Trusted_cluster",
                                           "RemoteProxy",
                                           "Discovery",
                                           "Okta",
                                           "MDM",
                                           "AccessGraphPlugin",
                                           "default-implicit-role",
                                           "implicit",
                                           NULL};

struct role *role_ref(struct role *role)
{
    role->references++;
    return role;
}

static void section_free(struct role_section *section)
{
    for (size_t i = 0; i < ROLE_LIST_COUNT; i++)
        template_list_free(&section->lists[i]);
    for (size_t i = 0; i < ROLE_TARGET_COUNT; i++) {
        label_template_free(&section->labels[i]);
        pred_free(section->expressions[i].pred);
    }
    names_free(&section->namespaces);
    for (size_t i = 0; i < section->rule_count; i++) {
        names_free(&section->rules[i].kinds);
        names_free(&section->rules[i].verbs);
        pred_free(section->rules[i].where);
    }
    mem_free(section->rules);
    for (size_t i = 0; i < section->kube_count; i++) {
        struct role_kube *kube = &section->kube[i];
        mem_free(kube->kind);
        mem_free(kube->api_group);
        mem_free(kube->name_space);
        mem_free(kube->name);
        names_free(&kube->verbs);
    }
    mem_free(section->kube);
    json_decref(section->conditions);
}

void role_unref(struct role *role)
{
    if (!role || --role->references > 0)
        return;
    section_free(&role->allow);
    section_free(&role->deny);
    json_decref(role->document);
    mem_free(role->name);
    mem_free(role->warnings);
    mem_free(role);
}

const char *role_name(const struct role *role)
{
    return role->name;
}

int64_t role_expires_ms(const struct role *role)
{
    return role->expires_ms;
}

const char *role_warnings(const struct role *role)
{
    return role->warnings;
}

bool role_name_valid(const char *text)
{
    size_t size = strlen(text);
    if (size == 0 || size > 255 || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return false;
    if (text[0] == '-' || text[0] == ' ' || text[size - 1] == ' ')
        return false;
    for (const char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-@+: ", *p))
            return false;
    return true;
}

bool role_name_is_system(const char *text)
{
    for (size_t i = 0; system_names[i]; i++)
        if (strcasecmp(system_names[i], text) == 0)
            return true;
    return false;
}

bool role_login_valid(const char *text)
{
    size_t size = strlen(text);
    if (size == 0 || size > 32 || text[0] == '-' || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return false;
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p == 0x7f || strchr(":/*", *p))
            return false;
    return true;
}

const char *role_target_name(enum role_target target)
{
    static const char *const names[ROLE_TARGET_COUNT] = {
        "node",       "kube_cluster",     "app", "db", "db_service", "windows_desktop", "remote_cluster",
        "user_group", "workload_identity"};
    return (unsigned)target < ROLE_TARGET_COUNT ? names[target] : "resource";
}

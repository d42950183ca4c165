/* One role with its defaults and somebody's traits filled in. */
#include "rbac/values.h"

#include "rbac/role_private.h"

#include "base/mem.h"

#include <string.h>

static const char *const option_names[] = {"max_session_ttl",
                                           "cert_format",
                                           "forward_agent",
                                           "port_forwarding",
                                           "permit_x11_forwarding",
                                           "ssh_file_copy",
                                           "client_idle_timeout",
                                           "disconnect_expired_cert",
                                           "max_connections",
                                           "max_sessions",
                                           "max_kubernetes_connections",
                                           "enhanced_recording",
                                           "record_session",
                                           "desktop_clipboard",
                                           "desktop_directory_sharing",
                                           "create_desktop_user",
                                           "create_db_user",
                                           "create_db_user_mode",
                                           "create_host_user_mode",
                                           "create_host_user_default_shell",
                                           "pin_source_ip",
                                           "require_session_mfa",
                                           "mfa_verification_interval",
                                           "device_trust_mode",
                                           "lock",
                                           "request_access",
                                           "request_prompt",
                                           "cert_extensions",
                                           NULL};

static json_t *texts_of(const struct names *names)
{
    json_t *list = json_array();
    for (size_t i = 0; i < names->count; i++)
        json_array_append_new(list, json_string(names->items[i]));
    return list;
}

static json_t *labels_of(const struct label_template *labels, const json_t *traits)
{
    json_t *map = json_object();
    for (size_t i = 0; i < labels->count; i++) {
        struct names key = {0};
        struct names values = {0};
        template_expand(labels->keys[i].name, traits, &key);
        template_list_expand(&labels->keys[i].values, traits, &values);
        if (values.count == 0)
            names_add(&values, "");
        if (key.count > 0)
            json_object_set_new(map, key.items[0], texts_of(&values));
        names_free(&key);
        names_free(&values);
    }
    return map;
}

static json_t *kube_of(const struct role_section *section)
{
    json_t *list = json_array();
    for (size_t i = 0; i < section->kube_count; i++) {
        const struct role_kube *kube = &section->kube[i];
        json_t *one = json_pack("{s:s*, s:s*, s:s*, s:s*, s:o}", "kind", kube->kind, "api_group", kube->api_group,
                                "namespace", kube->name_space, "name", kube->name, "verbs", texts_of(&kube->verbs));
        if (one)
            json_array_append_new(list, one);
    }
    return list;
}

/* Traits in the texts of impersonate. */
static void expand_texts(json_t *object, const char *key, const json_t *traits)
{
    const json_t *list = json_object_get(object, key);
    struct names values = {0};
    if (!json_is_array(list))
        return;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        struct template *item = NULL;
        if (text && template_parse(text, &item, NULL) == TP_OK)
            template_expand(item, traits, &values);
        template_free(item);
    }
    json_object_set_new(object, key, texts_of(&values));
    names_free(&values);
}

static json_t *section_of(const struct set_section *expanded, const json_t *document, const json_t *traits)
{
    const struct role_section *section = expanded->from;
    json_t *out = json_is_object(document) ? json_deep_copy(document) : json_object();
    for (size_t i = 0; i < ROLE_LIST_COUNT; i++) {
        struct names values = {0};
        template_list_expand(&section->lists[i], traits, &values);
        if (section->lists[i].count > 0)
            json_object_set_new(out, role_list_keys[i], texts_of(i == ROLE_LOGINS ? &expanded->logins : &values));
        names_free(&values);
    }
    for (size_t i = 0; i < ROLE_TARGET_COUNT; i++)
        if (section->labels[i].count > 0)
            json_object_set_new(out, role_label_keys[i], labels_of(&section->labels[i], traits));
    if (section->kube_set)
        json_object_set_new(out, "kubernetes_resources", kube_of(section));
    json_object_set_new(out, "namespaces", texts_of(&section->namespaces));
    expand_texts(json_object_get(out, "impersonate"), "users", traits);
    expand_texts(json_object_get(out, "impersonate"), "roles", traits);
    return out;
}

json_t *role_expand(struct role *role, const struct rbac_user *user)
{
    struct rbac_set *set = rbac_set_new(&role, 1, user, RBAC_WITHOUT_IMPLICIT_ROLE);
    const json_t *written = json_object_get(role->document, "spec");
    json_t *out = json_deep_copy(role->document);
    json_t *options = json_is_object(json_object_get(written, "options"))
                          ? json_deep_copy(json_object_get(written, "options"))
                          : json_object();
    json_t *spec = json_object();
    for (size_t i = 0; option_names[i]; i++) {
        json_t *value = rbac_option(set, NULL, NULL, option_names[i]);
        if (value)
            json_object_set_new(options, option_names[i], value);
    }
    json_object_set_new(spec, "options", options);
    json_object_set_new(spec, "allow",
                        section_of(&set->roles[0].allow, json_object_get(written, "allow"), set->traits));
    json_object_set_new(spec, "deny", section_of(&set->roles[0].deny, json_object_get(written, "deny"), set->traits));
    json_object_set_new(out, "spec", spec);
    rbac_set_free(set);
    return out;
}

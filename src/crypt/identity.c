#include "crypt/identity.h"

#include "base/mem.h"

#include <string.h>

#define IDENTITY_VERSION 1

static const char *const reasons[TARGET_REASON_COUNT] = {
    [TARGET_ANY] = NULL, [TARGET_BY_CODE] = "mfa", [TARGET_OF_FILE] = "kubeconfig"};

struct one_target one_target_copy(const struct one_target *target)
{
    return (struct one_target){.reason = target->reason,
                               .node = target->node ? mem_strdup(target->node) : NULL,
                               .kube = target->kube ? mem_strdup(target->kube) : NULL};
}

void one_target_free(struct one_target *target)
{
    mem_free(target->node);
    mem_free(target->kube);
    *target = (struct one_target){0};
}

void identity_init(struct identity *identity)
{
    memset(identity, 0, sizeof(*identity));
}

void identity_free(struct identity *identity)
{
    mem_free(identity->cluster);
    mem_free(identity->name);
    mem_free(identity->host_id);
    mem_free(identity->host_role);
    json_decref(identity->roles);
    json_decref(identity->traits);
    json_decref(identity->logins);
    mem_free(identity->login_ip);
    mem_free(identity->pinned_ip);
    one_target_free(&identity->target);
    mem_free(identity->login_device);
    mem_free(identity->mfa_device);
    identity_init(identity);
}

static bool is_text(const json_t *value)
{
    return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

static bool is_text_list(const json_t *value)
{
    size_t i;
    json_t *item;
    if (!json_is_array(value))
        return false;
    json_array_foreach (value, i, item) {
        if (!is_text(item))
            return false;
    }
    return true;
}

static bool is_traits(json_t *value)
{
    const char *key;
    json_t *item;
    if (!json_is_object(value))
        return false;
    json_object_foreach (value, key, item) {
        if (!is_text_list(item))
            return false;
    }
    return true;
}

/* A required, non-empty string member. */
static enum tp_err take_text(const json_t *json, const char *key, char **ret_text, struct tp_error *error)
{
    const char *text;
    enum tp_err code = json_need_text(json, key, &text, error);
    if (code != TP_OK)
        return code;
    if (text[0] == '\0')
        return err_set(error, TP_INVALID, "\"%s\" in the certificate's identity is empty", key);
    *ret_text = mem_strdup(text);
    return TP_OK;
}

static enum tp_err take_optional(const json_t *json, const char *key, char **ret_text, struct tp_error *error)
{
    return json_object_get(json, key) ? take_text(json, key, ret_text, error) : TP_OK;
}

static enum tp_err take_list(const json_t *json, const char *key, json_t **ret_list, struct tp_error *error)
{
    json_t *list = json_object_get(json, key);
    if (!is_text_list(list))
        return err_set(error, TP_INVALID, "\"%s\" in the certificate's identity is not a list of strings", key);
    *ret_list = json_deep_copy(list);
    return TP_OK;
}

static enum tp_err read_host(const json_t *json, struct identity *identity, struct tp_error *error)
{
    enum tp_err code = take_text(json, "host_id", &identity->host_id, error);
    if (code == TP_OK)
        code = take_text(json, "host_role", &identity->host_role, error);
    if (code == TP_OK && strcmp(identity->host_role, "node") != 0 && strcmp(identity->host_role, "proxy") != 0)
        code = err_set(error, TP_INVALID, "the host's role is neither node nor proxy");
    if (code == TP_OK && json_object_get(json, "roles"))
        code = take_list(json, "roles", &identity->roles, error);
    return code;
}

/* Which code, and until when at the latest; a certificate for a file has neither. */
static enum tp_err read_code(const json_t *json, struct identity *identity, struct tp_error *error)
{
    enum tp_err code = take_text(json, "mfa_device", &identity->mfa_device, error);
    if (code == TP_OK)
        code = json_need_int(json, "base_not_after", &identity->base_not_after, error);
    if (code == TP_OK && identity->base_not_after <= 0)
        code = err_set(error, TP_INVALID, "the certificate's identity does not say when its login ends");
    return code;
}

/* For one target: half of it would be a certificate that is bound to nothing. */
static enum tp_err read_target(const json_t *json, struct identity *identity, struct tp_error *error)
{
    static const char *const keys[] = {"target_reason", "target_node", "target_kube", "mfa_device", "base_not_after"};
    struct one_target *target = &identity->target;
    const char *reason;
    size_t members = 0;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        members += json_object_get(json, keys[i]) != NULL;
    if (members == 0)
        return TP_OK;
    enum tp_err code = json_need_text(json, "target_reason", &reason, error);
    for (int i = TARGET_BY_CODE; code == TP_OK && i < TARGET_REASON_COUNT; i++)
        if (strcmp(reasons[i], reason) == 0)
            target->reason = (enum one_target_reason)i;
    if (code == TP_OK && target->reason == TARGET_ANY)
        code = err_set(error, TP_INVALID, "the certificate is for one target, for a reason that is not known here");
    if (code == TP_OK)
        code = take_optional(json, "target_node", &target->node, error);
    if (code == TP_OK)
        code = take_optional(json, "target_kube", &target->kube, error);
    if (code == TP_OK && (target->node == NULL) == (target->kube == NULL))
        code = err_set(error, TP_INVALID, "the certificate's identity names no target, or more than one");
    if (code == TP_OK && target->reason == TARGET_BY_CODE)
        code = read_code(json, identity, error);
    else if (code == TP_OK && (target->kube == NULL || members != 2))
        code = err_set(error, TP_INVALID, "the certificate of a kubeconfig names its cluster and nothing else");
    return code;
}

static enum tp_err read_user(const json_t *json, struct identity *identity, struct tp_error *error)
{
    json_t *traits = json_object_get(json, "traits");
    enum tp_err code = take_list(json, "roles", &identity->roles, error);
    if (code == TP_OK)
        code = take_list(json, "logins", &identity->logins, error);
    if (code == TP_OK && !is_traits(traits))
        code = err_set(error, TP_INVALID, "\"traits\" in the certificate's identity is not an object of string lists");
    if (code == TP_OK) {
        identity->traits = json_deep_copy(traits);
        code = take_optional(json, "login_ip", &identity->login_ip, error);
    }
    if (code == TP_OK)
        code = take_optional(json, "pinned_ip", &identity->pinned_ip, error);
    if (code == TP_OK)
        code = read_target(json, identity, error);
    return code;
}

/* A member we do not know may be a limit that a newer version put in: ignoring it would widen the right. */
static enum tp_err refuse_unknown(const json_t *json, bool host, struct tp_error *error)
{
    static const char *const common[] = {"v", "kind", "cluster", "name", NULL};
    static const char *const of_host[] = {"host_id", "host_role", "roles", NULL};
    static const char *const of_user[] = {"roles",      "traits",         "logins",      "login_ip",
                                          "pinned_ip",  "target_reason",  "target_node", "target_kube",
                                          "mfa_device", "base_not_after", NULL};
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)json, key, value) {
        bool known = false;
        for (size_t i = 0; common[i]; i++)
            known = known || strcmp(common[i], key) == 0;
        for (size_t i = 0; (host ? of_host : of_user)[i]; i++)
            known = known || strcmp((host ? of_host : of_user)[i], key) == 0;
        if (!known)
            return err_set(error, TP_INVALID,
                           "the certificate's identity has a member that this version does not know");
    }
    return TP_OK;
}

static enum tp_err read_all(const json_t *json, struct identity *identity, struct tp_error *error)
{
    int64_t version;
    const char *kind;
    enum tp_err code = json_need_int(json, "v", &version, error);
    if (code == TP_OK && version != IDENTITY_VERSION)
        code = err_set(error, TP_INVALID, "the certificate's identity has version %lld, known is %d",
                       (long long)version, IDENTITY_VERSION);
    if (code == TP_OK)
        code = json_need_text(json, "kind", &kind, error);
    if (code != TP_OK)
        return code;
    if (strcmp(kind, "user") == 0)
        identity->kind = IDENTITY_USER;
    else if (strcmp(kind, "host") == 0)
        identity->kind = IDENTITY_HOST;
    else
        return err_set(error, TP_INVALID, "the certificate's identity is neither a user nor a host");
    code = refuse_unknown(json, identity->kind == IDENTITY_HOST, error);
    if (code == TP_OK)
        code = take_text(json, "cluster", &identity->cluster, error);
    if (code == TP_OK)
        code = take_text(json, "name", &identity->name, error);
    if (code != TP_OK)
        return code;
    return identity->kind == IDENTITY_HOST ? read_host(json, identity, error) : read_user(json, identity, error);
}

enum tp_err identity_from_json(const json_t *json, struct identity *ret_identity, struct tp_error *error)
{
    struct identity identity;
    enum tp_err code;
    identity_init(&identity);
    if (!json_is_object(json))
        return err_set(error, TP_INVALID, "the certificate's identity is not an object");
    code = read_all(json, &identity, error);
    if (code != TP_OK) {
        identity_free(&identity);
        return code;
    }
    identity.not_before = ret_identity->not_before;
    identity.not_after = ret_identity->not_after;
    *ret_identity = identity;
    return TP_OK;
}

static void put_text(json_t *json, const char *key, const char *text)
{
    if (text)
        (void)json_object_set_new(json, key, json_string(text));
}

static void put_copy(json_t *json, const char *key, const json_t *value, json_t *otherwise)
{
    if (value) {
        json_decref(otherwise);
        (void)json_object_set_new(json, key, json_deep_copy(value));
    } else {
        (void)json_object_set_new(json, key, otherwise);
    }
}

json_t *identity_to_json(const struct identity *identity)
{
    bool host = identity->kind == IDENTITY_HOST;
    json_t *json = json_object();
    (void)json_object_set_new(json, "v", json_integer(IDENTITY_VERSION));
    put_text(json, "kind", host ? "host" : "user");
    put_text(json, "cluster", identity->cluster);
    put_text(json, "name", identity->name);
    if (host) {
        put_text(json, "host_id", identity->host_id);
        put_text(json, "host_role", identity->host_role);
        if (identity->roles)
            put_copy(json, "roles", identity->roles, NULL);
        return json;
    }
    put_copy(json, "roles", identity->roles, json_array());
    put_copy(json, "traits", identity->traits, json_object());
    put_copy(json, "logins", identity->logins, json_array());
    put_text(json, "login_ip", identity->login_ip);
    put_text(json, "pinned_ip", identity->pinned_ip);
    put_text(json, "target_reason", reasons[identity->target.reason]);
    put_text(json, "target_node", identity->target.node);
    put_text(json, "target_kube", identity->target.kube);
    put_text(json, "mfa_device", identity->mfa_device);
    if (identity->base_not_after != 0)
        (void)json_object_set_new(json, "base_not_after", json_integer((json_int_t)identity->base_not_after));
    return json;
}

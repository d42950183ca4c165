#include "rbac/user.h"

#include "base/mem.h"
#include "rbac/role.h"
#include "rbac/schema.h"

#include <string.h>

static const char *const kinds[] = {"user", NULL};
static const char *const versions[] = {"v1", "v2", NULL};

static const struct schema metadata_schema[] = {
    {"name", SCHEMA_TEXT, NULL, NULL, true},        {"description", SCHEMA_TEXT, NULL, NULL, false},
    {"labels", SCHEMA_TEXT_MAP, NULL, NULL, false}, {"expires", SCHEMA_TIME, NULL, NULL, false},
    {"id", SCHEMA_TEXT, NULL, NULL, false},         {"revision", SCHEMA_TEXT, NULL, NULL, false},
    {"namespace", SCHEMA_TEXT, NULL, NULL, false},  {0},
};
static const struct schema identity_schema[] = {
    {"connector_id", SCHEMA_TEXT, NULL, NULL, false},
    {"username", SCHEMA_TEXT, NULL, NULL, false},
    {"user_id", SCHEMA_TEXT, NULL, NULL, false},
    {"samlSingleLogoutUrl", SCHEMA_TEXT, NULL, NULL, false},
    {0},
};
static const struct schema status_schema[] = {
    {"is_locked", SCHEMA_BOOL, NULL, NULL, false},
    {"locked_message", SCHEMA_TEXT, NULL, NULL, false},
    {"locked_time", SCHEMA_TIME, NULL, NULL, false},
    {"lock_expires", SCHEMA_TIME, NULL, NULL, false},
    {"recovery_attempt_lock_expires", SCHEMA_TIME, NULL, NULL, false},
    {0},
};
static const struct schema spec_schema[] = {
    {"roles", SCHEMA_TEXTS, NULL, NULL, false},
    {"traits", SCHEMA_TRAITS, NULL, NULL, false},
    {"github_identities", SCHEMA_MAPS, identity_schema, NULL, false},
    {"oidc_identities", SCHEMA_MAPS, identity_schema, NULL, false},
    {"saml_identities", SCHEMA_MAPS, identity_schema, NULL, false},
    {"status", SCHEMA_MAP, status_schema, NULL, false},
    {"expires", SCHEMA_TIME, NULL, NULL, false},
    {"created_by", SCHEMA_ANY, NULL, NULL, false},
    {"trusted_device_ids", SCHEMA_TEXTS, NULL, NULL, false},
    {0},
};
/* `status` beside spec is written by newer versions; it says nothing that we need. */
static const struct schema user_schema[] = {
    {"kind", SCHEMA_WORD, NULL, kinds, true},
    {"version", SCHEMA_WORD, NULL, versions, true},
    {"sub_kind", SCHEMA_TEXT, NULL, NULL, false},
    {"metadata", SCHEMA_MAP, metadata_schema, NULL, true},
    {"spec", SCHEMA_MAP, spec_schema, NULL, false},
    {"status", SCHEMA_ANY, NULL, NULL, false},
    {0},
};

static enum tp_err check_names(const struct node *document, struct tp_error *error)
{
    const struct node *name = node_get(node_get(document, "metadata"), "name");
    const struct node *roles = schema_get(schema_get(document, "spec"), "roles");
    if (!role_name_valid(name->text) || strchr(name->text, ' '))
        return err_set(error, TP_INVALID,
                       "line %d: \"%.80s\" cannot be the name of a user: use letters, digits and . _ - @ + :",
                       name->line, name->text);
    for (size_t i = 0; roles && i < roles->count; i++)
        if (!role_name_valid(roles->items[i]->text))
            return err_set(error, TP_INVALID, "line %d: \"%.80s\" cannot be the name of a role", roles->items[i]->line,
                           roles->items[i]->text);
    return TP_OK;
}

/* Traits are texts whatever they look like: 1000 and true stay "1000" and "true". */
static json_t *read_traits(const struct node *map)
{
    json_t *traits = json_object();
    for (size_t i = 0; map && i < map->count; i++) {
        const struct node *value = map->items[i];
        json_t *list = json_array();
        if (value->kind == NODE_SCALAR && !node_is_null(value))
            json_array_append_new(list, json_string(value->text));
        for (size_t j = 0; j < value->count; j++)
            json_array_append_new(list, json_string(value->items[j]->text));
        json_object_set_new(traits, map->keys[i], list);
    }
    return traits;
}

/* The earlier of two times of which 0 is none. */
static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

enum tp_err user_parse(const struct node *document, struct user **ret_user, struct tp_error *error)
{
    const struct node *spec;
    const struct node *status;
    const struct node *roles;
    const char *message;
    struct user *user;
    enum tp_err result = schema_check(document, user_schema, "", error);
    if (!result)
        result = check_names(document, error);
    if (result)
        return result;
    spec = schema_get(document, "spec");
    status = schema_get(spec, "status");
    roles = schema_get(spec, "roles");
    user = mem_alloc(sizeof *user);
    user->name = mem_strdup(node_get_text(node_get(document, "metadata"), "name", ""));
    user->expires_ms = earlier(schema_time(node_get(document, "metadata"), "expires"), schema_time(spec, "expires"));
    user->role_count = roles ? roles->count : 0;
    user->roles = mem_array(user->role_count ? user->role_count : 1, sizeof *user->roles);
    for (size_t i = 0; i < user->role_count; i++)
        user->roles[i] = mem_strdup(roles->items[i]->text);
    user->traits = read_traits(schema_get(spec, "traits"));
    user->is_locked = schema_bool(status, "is_locked", false);
    message = node_get_text(status, "locked_message", NULL);
    user->locked_message = message ? mem_strdup(message) : NULL;
    user->lock_expires_ms = schema_time(status, "lock_expires");
    *ret_user = user;
    return TP_OK;
}

enum tp_err user_parse_json(const json_t *value, struct user **ret_user, struct tp_error *error)
{
    struct node *document = NULL;
    enum tp_err result = node_from_json(value, "user", &document, error);
    if (!result)
        result = user_parse(document, ret_user, error);
    if (result)
        schema_forget_line(error);
    node_free(document);
    return result;
}

void user_free(struct user *user)
{
    if (!user)
        return;
    for (size_t i = 0; i < user->role_count; i++)
        mem_free(user->roles[i]);
    mem_free(user->roles);
    json_decref(user->traits);
    mem_free(user->locked_message);
    mem_free(user->name);
    mem_free(user);
}

bool user_locked(const struct user *user, int64_t now_ms)
{
    return user->is_locked && (user->lock_expires_ms == 0 || now_ms < user->lock_expires_ms);
}

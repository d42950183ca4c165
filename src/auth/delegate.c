/* Who may write users could give himself every role, and who may write connectors could map himself to every role. So what
 * a person hands out must be his own, or something that he could write into a role anyway. */
#include "auth/caller.h"
#include "auth/delegate.h"
#include "auth/dispatch.h"
#include "auth/inner.h"
#include "auth/resources.h"

#include <string.h>

/* Members of spec with lists of roles inside: {"key": [{"roles": []}]}. */
static const struct {
    const char *list;
    const char *roles;
} mappings[] = {{"teams_to_roles", "roles"},
                {"teams_to_logins", "logins"}, /* of the time when a login named a role */
                {"claims_to_roles", "roles"},
                {"attributes_to_roles", "roles"},
                {"role_map", "local"}};

/* All roles that doc maps people to. The caller json_decref's it. */
static json_t *mapped_roles(const json_t *doc)
{
    const json_t *spec = json_object_get(doc, "spec");
    json_t *all = json_array();
    for (size_t m = 0; m < sizeof mappings / sizeof mappings[0]; m++) {
        size_t i;
        json_t *mapping;
        json_array_foreach (json_object_get(spec, mappings[m].list), i, mapping) {
            json_t *roles = json_object_get(mapping, mappings[m].roles);
            if (json_is_array(roles)) {
                (void)json_array_extend(all, roles);
            }
        }
    }
    return all;
}

bool delegate_maps_to(const json_t *doc, const char *role)
{
    json_t *all = mapped_roles(doc);
    bool found = json_list_has(all, role);
    json_decref(all);
    return found;
}

/* Could the caller write this role? */
static bool may_write_role(const struct call *call, const char *name)
{
    json_t *doc = NULL;
    struct tp_error none = {0};
    if (doc_find(call->auth->state, "/role/", name, &doc, NULL, &none) != TP_OK) {
        return call_rule(call, "create", "role", NULL, &none) == TP_OK;
    }
    struct rbac_context context = {.resource = doc};
    bool may = call_rule(call, "update", "role", &context, &none) == TP_OK;
    json_decref(doc);
    return may;
}

static enum tp_err check_roles(const struct call *call, const json_t *old, const json_t *now, struct tp_error *error)
{
    size_t i;
    json_t *role;
    json_array_foreach (now, i, role) {
        const char *name = json_is_string(role) ? json_string_value(role) : "";
        if (!json_list_has(old, name) && !json_list_has(call->caller.roles, name) && !may_write_role(call, name)) {
            return err_set(error, TP_DENIED,
                           "access denied: you can't give the role \"%s\" to anybody, because you neither have it nor "
                           "may change it",
                           name);
        }
    }
    return TP_OK;
}

/* A trait value that doc gains and the caller has not got himself; NULL when there is none. */
static const char *gained_trait(const struct call *call, const json_t *old, const json_t *now)
{
    const char *key;
    json_t *values;
    json_object_foreach ((json_t *)(uintptr_t)now, key, values) {
        size_t i;
        json_t *value;
        json_array_foreach (values, i, value) {
            const char *text = json_string_value(value);
            if (!json_list_has(json_object_get(old, key), text) &&
                !json_list_has(json_object_get(call->caller.traits, key), text)) {
                return key;
            }
        }
    }
    return NULL;
}

static json_t *role_list(const struct user *user)
{
    json_t *list = json_array();
    for (size_t i = 0; user != NULL && i < user->role_count; i++) {
        json_array_append_new(list, json_string(user->roles[i]));
    }
    return list;
}

enum tp_err delegate_user(const struct call *call, const json_t *old, const json_t *doc, struct tp_error *error)
{
    struct user *before = NULL;
    struct user *after = NULL;
    struct tp_error none = {0};
    if (call->caller.who == WHO_LOCAL) {
        return TP_OK;
    }
    enum tp_err err = user_parse_json(doc, &after, error);
    if (err == TP_OK && old != NULL && user_parse_json(old, &before, &none) != TP_OK) {
        before = NULL; /* damaged: everything counts as new */
    }
    json_t *old_roles = role_list(before);
    json_t *roles = role_list(after);
    if (err == TP_OK) {
        err = check_roles(call, old_roles, roles, error);
    }
    const char *trait = err == TP_OK ? gained_trait(call, before != NULL ? before->traits : NULL, after->traits) : NULL;
    for (size_t i = 0; trait != NULL && err == TP_OK && i < json_array_size(roles); i++) {
        const char *role = json_string_value(json_array_get(roles, i));
        if (!may_write_role(call, role)) {
            err =
                err_set(error, TP_DENIED,
                        "access denied: you can't give values of \"%s\" that you have not got yourself to a user with "
                        "the role \"%s\", because you may not change that role",
                        trait, role);
        }
    }
    json_decref(old_roles);
    json_decref(roles);
    user_free(before);
    user_free(after);
    return err;
}

enum tp_err delegate_sign_in(const struct call *call, const json_t *doc, struct tp_error *error)
{
    struct tp_error why = {0};
    enum tp_err err = delegate_user(call, NULL, doc, &why);
    if (err == TP_DENIED) {
        return err_set(error, TP_DENIED,
                       "access denied: you can't reset the sign-in of \"%s\", because whoever has the link is that "
                       "user, who may do what you neither may nor could give to anybody",
                       resource_name(doc));
    }
    return err == TP_OK ? TP_OK : err_set(error, err, "%s", why.text);
}

enum tp_err delegate_mapping(const struct call *call, const json_t *old, const json_t *doc, struct tp_error *error)
{
    if (call->caller.who == WHO_LOCAL) {
        return TP_OK;
    }
    json_t *before = mapped_roles(old);
    json_t *now = mapped_roles(doc);
    enum tp_err err = check_roles(call, before, now, error);
    json_decref(before);
    json_decref(now);
    return err;
}

#include "kube/kube_headers.h"

#include "base/json.h"
#include "base/mem.h"

#include <string.h>

/* Compares as servers do that take "_" for "-". */
static bool starts(const char *name, const char *prefix)
{
    for (; *prefix; name++, prefix++) {
        char c = *name == '_' ? '-' : *name;
        if (c != *prefix)
            return false;
    }
    return true;
}

static bool same(const char *name, const char *other)
{
    return starts(name, other) && strlen(name) == strlen(other);
}

bool kube_header_is_dropped(const struct http_request *request, const char *name)
{
    static const char *const prefixes[] = {"impersonate", "x-remote", "x-forwarded", "x-real-", "x-tport"};
    static const char *const names[] = {"authorization",
                                        "proxy-authorization",
                                        "proxy-authenticate",
                                        "forwarded",
                                        "connection",
                                        "keep-alive",
                                        "proxy-connection",
                                        "te",
                                        "trailer",
                                        "transfer-encoding",
                                        "upgrade",
                                        "x-client-ip",
                                        "x-original-uri",
                                        "client-ip"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (starts(name, prefixes[i]))
            return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (same(name, names[i]))
            return true;
    return http_request_connection_has(request, name);
}

static void add_group(struct kube_identity *identity, const char *group)
{
    for (size_t i = 0; i < identity->group_count; i++)
        if (strcmp(identity->groups[i], group) == 0)
            return;
    identity->groups = mem_resize(identity->groups, (identity->group_count + 1) * sizeof *identity->groups);
    identity->groups[identity->group_count++] = mem_strdup(group);
}

/* The one value of Impersonate-User that is not empty, or NULL. */
static enum tp_err chosen_user(const struct http_request *request, const char **ret_user, struct tp_error *error)
{
    *ret_user = NULL;
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        if (strcmp(header->name, "impersonate-user") != 0 || !*header->value)
            continue;
        if (*ret_user)
            return err_set(error, TP_DENIED, "impersonation request has been denied: more than one user is named");
        *ret_user = header->value;
    }
    return TP_OK;
}

static enum tp_err decide_user(const json_t *grant, const struct http_request *request, char **ret_user,
                               struct tp_error *error)
{
    const json_t *users = json_object_get(grant, "kube_users");
    const char *own = json_get_text(grant, "user", "");
    const char *user = NULL;
    size_t count = json_array_size(users);
    enum tp_err err = chosen_user(request, &user, error);
    if (err)
        return err;
    if (user && !(json_list_has(users, user) || (count == 0 && strcmp(user, own) == 0)))
        return err_set(error, TP_DENIED,
                       "impersonation request has been denied: your roles do not give you the user %.200s", user);
    if (!user && count > 1)
        return err_set(error, TP_DENIED,
                       "your roles give you several Kubernetes users; choose one with kubectl --as=USER");
    if (!user)
        user = count == 1 ? json_string_value(json_array_get(users, 0)) : own;
    if (!user || !*user)
        return err_set(error, TP_DENIED, "the grant of this connection names no user");
    *ret_user = mem_strdup(user);
    return TP_OK;
}

static enum tp_err decide_groups(const json_t *grant, const struct http_request *request,
                                 struct kube_identity *identity, struct tp_error *error)
{
    const json_t *groups = json_object_get(grant, "kube_groups");
    size_t i;
    json_t *group;
    for (i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        if (strcmp(header->name, "impersonate-group") != 0 || !*header->value)
            continue;
        if (!json_list_has(groups, header->value))
            return err_set(error, TP_DENIED,
                           "impersonation request has been denied: your roles do not give you the group %.200s",
                           header->value);
        add_group(identity, header->value);
    }
    if (identity->group_count == 0) {
        json_array_foreach ((json_t *)(uintptr_t)groups, i, group) {
            if (json_is_string(group))
                add_group(identity, json_string_value(group));
        }
    }
    add_group(identity, "system:authenticated");
    return TP_OK;
}

static enum tp_err refuse_others(const struct http_request *request, struct tp_error *error)
{
    for (size_t i = 0; i < request->header_count; i++) {
        const char *name = request->headers[i].name;
        if (starts(name, "impersonate-") && strcmp(name, "impersonate-user") != 0 &&
            strcmp(name, "impersonate-group") != 0)
            return err_set(error, TP_DENIED,
                           "impersonation request has been denied: only users and groups can be chosen");
    }
    return TP_OK;
}

enum tp_err kube_identity_decide(const json_t *grant, const struct http_request *request,
                                 struct kube_identity *ret_identity, struct tp_error *error)
{
    struct kube_identity identity = {0};
    enum tp_err err = refuse_others(request, error);
    if (!err)
        err = decide_user(grant, request, &identity.user, error);
    if (!err)
        err = decide_groups(grant, request, &identity, error);
    if (err) {
        kube_identity_free(&identity);
        return err;
    }
    *ret_identity = identity;
    return TP_OK;
}

void kube_identity_free(struct kube_identity *identity)
{
    for (size_t i = 0; i < identity->group_count; i++)
        mem_free(identity->groups[i]);
    mem_free(identity->groups);
    mem_free(identity->user);
    *identity = (struct kube_identity){0};
}

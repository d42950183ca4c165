/* Users, roles, tokens and locks for web sessions, in the shapes of Teleport's web API (12.5). Auth decides and checks all
 * of it again; what stands here turns one form of JSON into another. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/node.h"
#include "protocols/web/web_priv.h"
#include "rbac/resource.h"

#include <string.h>

/* The members of the body that the method knows; nothing else gets through. */
static json_t *pick(const struct web_request *request, const char *const names[])
{
    json_t *params = json_object();
    for (size_t i = 0; names[i]; i++) {
        json_t *value = json_object_get(request->body, names[i]);
        if (value)
            json_object_set(params, names[i], value);
    }
    return params;
}

/* An answer without content. */
void web_done_finish(struct web_request *request, json_t *result)
{
    (void)result;
    web_answer_json(request, 200, json_pack("{s:s}", "message", "ok"));
}

/* Users. */

static void answer_link(struct web_request *request, json_t *result)
{
    web_answer_json(request, 200,
                    json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", json_get_text(result, "user", ""), "user",
                              json_get_text(result, "user", ""), "tokenId", json_get_text(result, "token", ""), "url",
                              json_get_text(result, "url", ""), "expiry", json_get_text(result, "expires", "")));
}

enum tp_err web_user_add_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    static const char *const names[] = {"name", "roles", "traits", "ttl", NULL};
    (void)error;
    *ret_params = pick(request, names);
    return TP_OK;
}

void web_link_finish(struct web_request *request, json_t *result)
{
    answer_link(request, result);
}

enum tp_err web_user_set_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    json_t *roles = json_object_get(request->body, "roles");
    json_t *traits = json_object_get(request->body, "traits");
    (void)error;
    *ret_params = json_pack("{s:s}", "name", json_get_text(request->body, "name", ""));
    if (roles)
        json_object_set(*ret_params, "set_roles", roles);
    if (traits)
        json_object_set(*ret_params, "set_traits", traits);
    return TP_OK;
}

/* A new link for somebody who cannot sign in any more. */
enum tp_err web_user_reset_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    const char *type = json_get_text(request->body, "type", "password");
    if (strcmp(type, "password") != 0 && strcmp(type, "invite") != 0)
        return err_set(error, TP_INVALID, "\"type\" must be password or invite");
    *ret_params = json_pack("{s:s}", "name", json_get_text(request->body, "name", ""));
    return TP_OK;
}

/* Removing: the kind is in the route, the name in its path. */

static enum tp_err remove_begin(struct web_request *request, const char *kind, json_t **ret_params,
                                struct tp_error *error)
{
    *ret_params = json_pack("{s:s, s:s}", "kind", kind, "name", request->params[0]);
    return *ret_params ? TP_OK : err_set(error, TP_INVALID, "the name is not UTF-8");
}

enum tp_err web_user_rm_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    return remove_begin(request, "user", ret_params, error);
}

enum tp_err web_role_rm_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    return remove_begin(request, "role", ret_params, error);
}

enum tp_err web_token_rm_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    return remove_begin(request, "token", ret_params, error);
}

enum tp_err web_lock_rm_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    return remove_begin(request, "lock", ret_params, error);
}

/* Roles: YAML as people write it. It is read when auth has said who asks, never before. */

/* What files are called stands before their lines; here it is an editor's text. */
static void name_line(struct tp_error *error)
{
    struct tp_error said = *error;
    if (strncmp(said.text, "role:", 5) == 0)
        (void)err_set(error, said.code, "line %s", said.text + 5);
}

static enum tp_err read_role(struct web_request *request, json_t **ret_role, struct tp_error *error)
{
    const char *content = json_get_text(request->body, "content", "");
    struct node *node = NULL;
    enum tp_err err = node_parse_one(content, strlen(content), "role", &node, error);
    if (err != TP_OK)
        name_line(error);
    if (err == TP_OK && strcmp(node_get_text(node, "kind", ""), "role") != 0)
        err = err_set(error, TP_INVALID, "line %d: \"kind\" must be role", node->line);
    if (err == TP_OK)
        err = resource_check(node, error);
    if (err == TP_OK)
        *ret_role = node_to_json_exact(node);
    node_free(node);
    return err;
}

/* After the first call, which only says that the session is good: the text is checked line by line. */
void web_role_check_finish(struct web_request *request, json_t *result)
{
    struct tp_error error = {0};
    json_t *role = NULL;
    (void)result;
    if (read_role(request, &role, &error) != TP_OK) {
        web_answer_error(request, &error);
        return;
    }
    web_answer_json(request, 200,
                    json_pack("{s:s}", "name", json_get_text(json_object_get(role, "metadata"), "name", "")));
    json_decref(role);
}

static void role_put_finish(struct web_request *request, json_t *result)
{
    const char *name = json_get_text(result, "name", "");
    web_answer_json(request, 200,
                    json_pack("{s:s, s:s, s:s, s:s}", "id", name, "kind", "role", "name", name, "warnings",
                              json_get_text(result, "warnings", "")));
}

/* The revision that the editor began with goes along: who saves over another's change is told. */
static void put_role(struct web_request *request, bool fresh)
{
    struct tp_error error = {0};
    json_t *role = NULL;
    json_t *metadata;
    const char *revision;
    if (read_role(request, &role, &error) != TP_OK) {
        web_answer_error(request, &error);
        return;
    }
    metadata = json_object_get(role, "metadata");
    revision = json_get_text(request->body, "revision", json_get_text(metadata, "revision", ""));
    if (!fresh && strcmp(json_get_text(metadata, "name", ""), request->params[0]) != 0) {
        json_decref(role);
        (void)err_set(&error, TP_INVALID, "the name in the text must stay %.200s; make a new role for another name",
                      request->params[0]);
        web_answer_error(request, &error);
        return;
    }
    web_call_then(request,
                  json_pack("{s:o, s:b, s:s}", "resource", role, "force", !fresh, "revision", fresh ? "" : revision),
                  role_put_finish, web_answer_failed);
}

void web_role_add_finish(struct web_request *request, json_t *result)
{
    (void)result;
    put_role(request, true);
}

void web_role_set_finish(struct web_request *request, json_t *result)
{
    (void)result;
    put_role(request, false);
}

/* Lists of whole resources. */

enum tp_err web_tokens_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    return web_put_resources(request, "token", "until:asc", ret_params, error);
}

enum tp_err web_locks_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    return web_put_resources(request, "lock", "target:asc", ret_params, error);
}

/* Whole resources, whose shape docs/protocol-rpc.md has. */
void web_items_finish(struct web_request *request, json_t *result)
{
    json_t *items = json_object_get(result, "items");
    web_answer_json(request, 200,
                    json_pack("{s:o, s:s, s:I}", "items", items ? json_incref(items) : json_array(), "startKey",
                              json_get_text(result, "start_key", ""), "totalCount",
                              (json_int_t)json_get_int(result, "total", (int64_t)json_array_size(items))));
}

/* Locks: at least one of Teleport's fields of a target. */
enum tp_err web_lock_add_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    static const char *const names[] = {"name", "target", "message", "expires", NULL};
    int64_t ttl = json_get_int(request->body, "ttl", 0);
    (void)error;
    *ret_params = pick(request, names);
    if (ttl > 0) {
        char until[CLOCK_TEXT_SIZE];
        clock_format_ms(clock_wall_ms() + ttl, until);
        json_object_set_new(*ret_params, "expires", json_string(until));
    }
    return TP_OK;
}

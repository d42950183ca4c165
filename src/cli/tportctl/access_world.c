#include "cli/tportctl/access_world.h"

#include "base/mem.h"
#include "base/node.h"
#include "cli/common/file.h"
#include "cli/common/output.h"
#include "rbac/lock.h"

#include <string.h>

static enum tp_err read_file(const char *path, json_t *list, struct tp_error *error)
{
    struct node **documents = NULL;
    size_t count = 0;
    struct buf text;
    enum tp_err err;
    buf_init(&text, NODE_MAX_BYTES);
    err = file_read(path, &text, error);
    if (!err)
        err = node_parse(buf_text(&text), buf_size(&text), path, &documents, &count, error);
    for (size_t i = 0; i < count; i++) {
        json_t *one = node_to_json_exact(documents[i]);
        if (json_is_array(one))
            json_array_extend(list, one);
        else
            json_array_append(list, one);
        json_decref(one);
        node_free(documents[i]);
    }
    mem_free(documents);
    buf_free(&text);
    return err;
}

static enum tp_err fetch(struct api *api, const char *kind, json_t **list, struct tp_error *error)
{
    json_t *items = NULL;
    enum tp_err err = api_list(api, "resources.get", json_pack("{s:s}", "kind", kind), 0, &items, error);
    if (!err) {
        json_array_extend(*list, items);
        json_decref(items);
    }
    return err;
}

static enum tp_err from_cluster(const struct command_line *line, const char *kind, struct access_world *world,
                                struct tp_error *error)
{
    struct api *api = NULL;
    enum tp_err err = tportctl_open(line, &api, NULL, error);
    if (!err)
        err = fetch(api, "role", &world->roles, error);
    if (!err)
        err = fetch(api, "user", &world->users, error);
    if (!err)
        err = fetch(api, "lock", &world->locks, error);
    if (!err && kind)
        err = fetch(api, kind, &world->resources, error);
    api_close(api);
    return err;
}

enum tp_err access_world_open(const struct command_line *line, const char *kind, struct access_world *ret_world,
                              struct tp_error *error)
{
    const char *roles = command_text(line, "roles", NULL);
    const char *users = command_text(line, "users", NULL);
    const char *resources = command_text(line, "resources", NULL);
    enum tp_err err;
    *ret_world = (struct access_world){json_array(), json_array(), json_array(), json_array()};
    if (!roles && !users && !resources)
        return from_cluster(line, kind, ret_world, error);
    if (!roles || !users || (kind && !resources))
        return err_set(error, TP_INVALID, "offline --roles and --users are needed together%s",
                       kind ? ", and --resources with the resource" : "");
    err = read_file(roles, ret_world->roles, error);
    if (!err)
        err = read_file(users, ret_world->users, error);
    return !err && resources ? read_file(resources, ret_world->resources, error) : err;
}

void access_world_free(struct access_world *world)
{
    json_decref(world->roles);
    json_decref(world->users);
    json_decref(world->locks);
    json_decref(world->resources);
}

/* The first resource with this text there, of any sub_kind for NULL; ret_hits is how many there are. */
static const json_t *find(const struct access_world *world, const char *kind, const char *path, const char *text,
                          const char *sub_kind, size_t *ret_hits)
{
    const json_t *found = NULL;
    *ret_hits = 0;
    for (size_t i = 0; i < json_array_size(world->resources); i++) {
        const json_t *one = json_array_get(world->resources, i);
        if (strcmp(output_text_at(one, "kind"), kind) != 0 || strcmp(output_text_at(one, path), text) != 0 ||
            (sub_kind && strcmp(output_text_at(one, "sub_kind"), sub_kind) != 0))
            continue;
        found = found ? found : one;
        (*ret_hits)++;
    }
    return found;
}

enum tp_err access_world_resource(const struct access_world *world, const char *kind, const char *name,
                                  const json_t **ret_resource, struct tp_error *error)
{
    size_t hits = 0;
    const json_t *found = find(world, kind, "metadata.name", name, NULL, &hits);
    /* What a host is called that has joined, no document of a server without an agent makes doubtful. */
    if (!found)
        found = find(world, kind, "spec.hostname", name, "", &hits);
    if (!found)
        found = find(world, kind, "spec.hostname", name, "openssh", &hits);
    if (found && hits > 1 && strcmp(output_text_at(found, "metadata.name"), name) != 0)
        return err_set(error, TP_AMBIGUOUS, "\"%s\" is the host name of more than one node; give the id", name);
    *ret_resource = found;
    return found ? TP_OK : err_set(error, TP_NOT_FOUND, "there is no %s \"%s\"", kind, name);
}

enum tp_err access_world_user(const struct access_world *world, const char *name, struct user **ret_user,
                              struct tp_error *error)
{
    for (size_t i = 0; i < json_array_size(world->users); i++) {
        const json_t *one = json_array_get(world->users, i);
        if (strcmp(output_text_at(one, "metadata.name"), name) == 0)
            return user_parse_json(one, ret_user, error);
    }
    return err_set(error, TP_NOT_FOUND, "there is no user \"%s\"", name);
}

struct role **access_world_roles(const struct access_world *world, const struct user *user, int64_t at_ms,
                                 size_t *ret_count)
{
    struct role **roles = mem_array(user->role_count + 1, sizeof *roles);
    *ret_count = 0;
    for (size_t i = 0; i < user->role_count; i++) {
        for (size_t j = 0; j < json_array_size(world->roles); j++) {
            const json_t *one = json_array_get(world->roles, j);
            struct role *role = NULL;
            if (strcmp(output_text_at(one, "metadata.name"), user->roles[i]) != 0 ||
                role_parse_json(one, ROLE_STORED, &role, NULL))
                continue;
            if (role_expires_ms(role) == 0 || at_ms < role_expires_ms(role))
                roles[(*ret_count)++] = role;
            else
                role_unref(role);
            break;
        }
    }
    return roles;
}

static bool hits(const struct lock *lock, const struct user *user, const char *login, const json_t *resource)
{
    const struct lock_target checks[] = {{.user = user->name},
                                         {.login = login},
                                         {.server_id = resource ? output_text_at(resource, "metadata.name") : NULL}};
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (lock_matches(lock, &checks[i]))
            return true;
    for (size_t i = 0; i < user->role_count; i++) {
        struct lock_target check = {.role = user->roles[i]};
        if (lock_matches(lock, &check))
            return true;
    }
    return false;
}

const char *access_world_lock(const struct access_world *world, const struct user *user, const char *login,
                              const json_t *resource, int64_t at_ms)
{
    for (size_t i = 0; i < json_array_size(world->locks); i++) {
        const json_t *one = json_array_get(world->locks, i);
        struct lock *lock = NULL;
        bool hit;
        if (lock_parse_json(one, &lock, NULL))
            continue;
        hit = lock_active(lock, at_ms) && hits(lock, user, login, resource);
        lock_free(lock);
        if (hit)
            return output_text_at(one, "metadata.name");
    }
    return NULL;
}

/* Roles, users, locks and resources that `access explain` and `access who` ask about: of the cluster, or of files. */
#ifndef CLI_TPORTCTL_ACCESS_WORLD_H
#define CLI_TPORTCTL_ACCESS_WORLD_H

#include "cli/tportctl/tportctl.h"
#include "rbac/user.h"
#include "rbac/values.h"

struct access_world {
    json_t *roles, *users, *locks; /* arrays of documents */
    json_t *resources;             /* documents of the kind that is asked about */
};

/* With --roles and --users out of files (resources out of --resources), else from the cluster. kind may be NULL: no
 * resource is needed. access_world_free it in every case. */
enum tp_err access_world_open(const struct command_line *line, const char *kind, struct access_world *ret_world,
                              struct tp_error *error) TP_MUST;
void access_world_free(struct access_world *world);

/* The resource of that name, host name included; TP_NOT_FOUND, TP_AMBIGUOUS. Borrowed. */
enum tp_err access_world_resource(const struct access_world *world, const char *kind, const char *name,
                                  const json_t **ret_resource, struct tp_error *error) TP_MUST;
enum tp_err access_world_user(const struct access_world *world, const char *name, struct user **ret_user,
                              struct tp_error *error) TP_MUST;
/* The roles of a user that are there and in force at this time; role_unref each, mem_free the array. */
struct role **access_world_roles(const struct access_world *world, const struct user *user, int64_t at_ms,
                                 size_t *ret_count) TP_MUST;
/* The name of the lock that hits him at this time, or NULL. */
const char *access_world_lock(const struct access_world *world, const struct user *user, const char *login,
                              const json_t *resource, int64_t at_ms) TP_MUST;

#endif

/* tportctl, the administrator's program. */
#ifndef CLI_TPORTCTL_TPORTCTL_H
#define CLI_TPORTCTL_TPORTCTL_H

#include "base/json.h"
#include "cli/common/api.h"
#include "cli/common/command.h"

/* The whole program; returns what main returns. */
int tportctl_main(int argc, char **argv) TP_MUST;

/* The way to auth. --auth-server, or an identity file with it: the profile for that. A socket that was named, by
 * TPORT_ADMIN_SOCKET or as that of a --config: it and nothing else, for the profile may be of another cluster. Else the admin
 * socket of this machine when it is there and usable, else the profile. ret_address (may be NULL; mem_free it) is where agents find the proxy, as far as we know. api_close it. */
enum tp_err tportctl_open(const struct command_line *line, struct api **ret_api, char **ret_address,
                          struct tp_error *error) TP_MUST;
/* The warnings of an answer (what was done, but is odd) on standard error; nothing when there are none. */
void tportctl_warn(const json_t *result);
/* Opens, makes one call, closes. params are stolen; json_decref ret_result. */
enum tp_err tportctl_call(const struct command_line *line, const char *method, json_t *params, json_t **ret_result,
                          struct tp_error *error) TP_MUST;
/* The same for a method that lists; limit 0: all. */
enum tp_err tportctl_list(const struct command_line *line, const char *method, json_t *params, size_t limit,
                          json_t **ret_items, struct tp_error *error) TP_MUST;
/* The kind that a person's word means: "users", "user", "cap", ...; NULL for an unknown word. */
const char *tportctl_kind(const char *word);

/* Writes one resource and says so. revision (or NULL): only when the stored one is still that. */
enum tp_err tportctl_put(struct api *api, json_t *resource, bool force, const char *revision,
                         struct tp_error *error) TP_MUST;
/* Resources as tables, one for each kind. */
void tportctl_print_resources(const json_t *items);
/* The table of nodes; puts them in its order. wide: it is not cut to the terminal; presence: it says who is online or was seen when. */
void tportctl_print_nodes(json_t *nodes, bool wide, bool presence);

enum tp_err tportctl_users_add(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_users_ls(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_users_update(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_users_rm(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_users_reset(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_nodes_add(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_nodes_ls(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_kube_ls(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_tokens_add(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_tokens_ls(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_tokens_rm(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_get(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_create(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_edit(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_rm(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_lock(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_status(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_auth_export(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_auth_rotate(struct command_line *line, struct tp_error *error) TP_MUST;
enum tp_err tportctl_auth_sign(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_auth_ls(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_sessions_ls(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_sessions_end(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_recordings_ls(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_audit_ls(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_audit_checkpoint(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_audit_verify(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_access_explain(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_access_who(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_access_test(struct command_line *line, struct tp_error *error);
enum tp_err tportctl_version(struct command_line *line, struct tp_error *error);

#endif

/* tport, the user's program: its table of commands and what the commands share. */
#ifndef CLI_TPORT_TPORT_H
#define CLI_TPORT_TPORT_H

#include "cli/common/api.h"
#include "cli/common/command.h"
#include "cli/common/profile.h"

/* The whole program; returns what main returns. */
int tport_main(int argc, char **argv) TP_MUST;

/* TP_INVALID for a way to give a second factor that is not there (--mfa-mode). */
enum tp_err tport_mfa_mode(const struct command_line *line, struct tp_error *error) TP_MUST;
/* The profile that --proxy, the environment or current-profile name; must be valid now. profile_free it in every case. */
enum tp_err tport_profile(const struct command_line *line, struct profile *ret_profile, struct tp_error *error) TP_MUST;
/* The same and a connection with it. profile_free and api_close both in every case. */
enum tp_err tport_open(const struct command_line *line, struct profile *ret_profile, struct api **ret_api,
                       struct tp_error *error) TP_MUST;
/* The nodes that have all labels (an object, borrowed; NULL: all nodes), by name. json_decref ret_nodes. */
enum tp_err tport_nodes(struct api *api, const json_t *labels, json_t **ret_nodes, struct tp_error *error) TP_MUST;
/* "nothing matches env=dve; labels seen: env=dev, env=prod". mem_free it. */
char *tport_labels_hint(const json_t *wanted, const json_t *all_nodes) TP_MUST;
/* The status block of one profile, text form; mem_free it. */
char *tport_status_block(const struct profile *profile, bool active, int64_t now) TP_MUST;

/* Puts all Kubernetes clusters that the profile may reach into the kubeconfig. The current context changes only when select
 * names one of them (TP_NOT_FOUND with a hint for another name). */
enum tp_err tport_kube_after_login(const struct profile *profile, const char *select, struct tp_error *error) TP_MUST;
/* The Kubernetes cluster that kubectl would talk to now, if it goes through this profile, or NULL; option is the value of
 * --kubeconfig or NULL. mem_free it. */
char *tport_kube_selected(const struct profile *profile, const char *option) TP_MUST;
/* Takes the profile's entries out of the kubeconfig, if there is one. */
enum tp_err tport_kube_logout(struct profile *profile, struct tp_error *error) TP_MUST;

/* Handlers of the commands. */
enum tp_err tport_login(struct command_line *line, struct tp_error *error);
enum tp_err tport_logout(struct command_line *line, struct tp_error *error);
enum tp_err tport_status(struct command_line *line, struct tp_error *error);
enum tp_err tport_clusters(struct command_line *line, struct tp_error *error);
enum tp_err tport_ls(struct command_line *line, struct tp_error *error);
enum tp_err tport_ssh(struct command_line *line, struct tp_error *error);
enum tp_err tport_scp(struct command_line *line, struct tp_error *error);
enum tp_err tport_config(struct command_line *line, struct tp_error *error);
enum tp_err tport_proxy_ssh(struct command_line *line, struct tp_error *error);
enum tp_err tport_recordings_ls(struct command_line *line, struct tp_error *error);
enum tp_err tport_sessions_ls(struct command_line *line, struct tp_error *error);
enum tp_err tport_play(struct command_line *line, struct tp_error *error);
enum tp_err tport_kube_ls(struct command_line *line, struct tp_error *error);
enum tp_err tport_kube_login(struct command_line *line, struct tp_error *error);
enum tp_err tport_kube_credentials(struct command_line *line, struct tp_error *error);
enum tp_err tport_kube_sessions(struct command_line *line, struct tp_error *error);
enum tp_err tport_version(struct command_line *line, struct tp_error *error);
enum tp_err tport_env(struct command_line *line, struct tp_error *error);

#endif

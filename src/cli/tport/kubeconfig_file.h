/* The kubeconfig on disk: which file, its lock, reading and replacing it. */
#ifndef CLI_TPORT_KUBECONFIG_FILE_H
#define CLI_TPORT_KUBECONFIG_FILE_H

#include "base/err.h"
#include "cli/common/command.h"

#include <jansson.h>

/* --kubeconfig (where the command has it), else the first file that KUBECONFIG names, else ~/.kube/config. NULL when there
 * is no home directory. mem_free it. */
char *kubeconfig_path(const char *option) TP_MUST;
/* What the file says; an absent file is an empty configuration. json_decref ret_config. */
enum tp_err kubeconfig_read(const char *path, json_t **ret_config, struct tp_error *error) TP_MUST;
/* Reads the file under kubectl's own lock, lets change work on it, and writes it when it differs then: mode 0600, owner
 * kept, old content or new for every reader. When reading or change fails, the file stays as it was. */
enum tp_err kubeconfig_edit(const char *path,
                            enum tp_err (*change)(json_t *config, void *context, struct tp_error *error), void *context,
                            struct tp_error *error) TP_MUST;

#endif

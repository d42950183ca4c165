/* What the agent of this machine would make of its kubeconfig, for who tests or reloads the configuration. */
#ifndef BIN_KUBE_LOOK_H
#define BIN_KUBE_LOOK_H

#include "core/conf.h"

/* Reads kubernetes_service.kubeconfig_file as the user that will read it (the agent's), in a process of its own: he may be able to
 * write it, too, and we may be root. Says on stderr which contexts are left out, and when the file is not there (yet) or only its
 * reader can read it; the agent tries again. An error: it is there and of no use, and with this configuration the host would serve no
 * cluster any more. TP_OK where no kubeconfig is configured. Blocks. */
enum tp_err kube_look(const struct conf *conf, struct tp_error *error) TP_MUST;

#endif

/* Server names that carry a target (docs/architecture.md): the target's name in hex, then ".node." or
 * ".kube." and the cluster. */
#ifndef CLI_COMMON_SNI_H
#define CLI_COMMON_SNI_H

#include "base/err.h"

#define SNI_LABEL_MAX 62  /* hex digits in one label; even, so that no byte is split, and within DNS's 63 */
#define SNI_KUBE_PLAIN 31 /* bytes of a name whose hex digits fit one label */
#define SNI_MAX 253       /* a whole server name */

/* "6e6f6465.node.CLUSTER" for target "node"; a long name is split into several labels. TP_TOO_LARGE with a sentence when
 * the result is no server name any more, TP_INVALID for an empty name. mem_free it. */
enum tp_err sni_for_node(const char *target, const char *cluster, char **ret_name, struct tp_error *error) TP_MUST;
/* "6b756265.kube.CLUSTER" for the Kubernetes cluster "kube". A wildcard of a certificate covers one label only, so a name
 * longer than SNI_KUBE_PLAIN bytes becomes "h" and the first 32 hex digits of its SHA-256. TP_TOO_LARGE and TP_INVALID as
 * above. mem_free it. */
enum tp_err sni_for_kube(const char *kube, const char *cluster, char **ret_name, struct tp_error *error) TP_MUST;

#endif

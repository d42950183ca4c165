/* The name of the object that a request's body holds: for creating, the URL does not say it. Pure. */
#ifndef AGENT_KUBE_BODY_H
#define AGENT_KUBE_BODY_H

#include "base/err.h"

/* metadata.name of a Kubernetes object in JSON, YAML or protobuf ("k8s\0", runtime.Unknown), by the Content-Type (NULL:
 * JSON). *ret_name is "" when the cluster is to choose it (generateName) or none is there; mem_free it. TP_INVALID for what
 * cannot be read with certainty, such as a name that stands twice. */
enum tp_err kube_body_name(const char *content_type, const void *body, size_t size, char **ret_name,
                           struct tp_error *error) TP_MUST;

#endif

/* What a request's body says that its URL does not: the name of an object to create, and what a person asks whether he may
 * do. Pure. */
#ifndef AGENT_KUBE_BODY_H
#define AGENT_KUBE_BODY_H

#include "base/err.h"
#include "base/json.h"

/* metadata.name of a Kubernetes object in JSON, YAML or protobuf ("k8s\0", runtime.Unknown), by the Content-Type (NULL:
 * JSON). *ret_name is "" when none is there; mem_free it. TP_INVALID for what cannot be read with certainty, such as a name that
 * stands twice; TP_DENIED when the cluster is to choose the name (generateName). */
enum tp_err kube_body_name(const char *content_type, const void *body, size_t size, char **ret_name,
                           struct tp_error *error) TP_MUST;
/* spec.resourceAttributes of a SelfSubjectAccessReview in JSON or protobuf: namespace, verb, group, resource, subresource,
 * name, those that are there. New reference; NULL when it asks about something else or can't be read. */
json_t *kube_body_attributes(const char *content_type, const void *body, size_t size) TP_MUST;

#endif

/* Which headers of a client's request reach the API server, and under whose name the agent asks (rule R10). */
#ifndef KUBE_HEADERS_H
#define KUBE_HEADERS_H

#include "protocols/http/http_parse.h"

#include <jansson.h>

/* Whom the API server is told, in this order: Impersonate-User, then one Impersonate-Group for each group. */
struct kube_identity {
    char *user;
    char **groups; /* the last one is system:authenticated */
    size_t group_count;
};

/* Out of the grant ("user", "kube_users", "kube_groups") and the client's own Impersonate-User and Impersonate-Group
 * headers, which may only choose among what the grant gives (Teleport's behaviour: no user chosen and exactly one there:
 * that one; none there: the person's own name; several: he must choose; no group chosen: all). TP_DENIED with a sentence
 * when he asks for more, or for Impersonate-Extra or -Uid. Free it with kube_identity_free. */
enum tp_err kube_identity_decide(const json_t *grant, const struct http_request *request,
                                 struct kube_identity *ret_identity, struct tp_error *error) TP_MUST;
void kube_identity_free(struct kube_identity *identity);

/* Is this header (name in lower case) never passed on? Identity of any kind (Impersonate-*, X-Remote-*, X-Forwarded-*,
 * Forwarded, Authorization, with "_" for "-" too), what belongs to one connection only (RFC 9110 section 7.6.1), and all
 * that the request's Connection names. */
bool kube_header_is_dropped(const struct http_request *request, const char *name) TP_MUST;

#endif

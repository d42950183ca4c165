/* Errors in the form that kubectl prints well: metav1.Status. */
#ifndef KUBE_STATUS_H
#define KUBE_STATUS_H

#include "protocols/http/http_parse.h"

/* The JSON body of a failure with this HTTP status (400 to 599) and sentence; mem_free it. Its reason is the one that
 * the API server gives with that status ("Forbidden", "NotFound" ...). */
char *kube_status_body(int status, const char *text) TP_MUST;

/* A refusal as it goes over HTTP. */
struct kube_refusal {
    int status;
    const char *type; /* of the body */
    char *body;       /* mem_free it */
};

/* The answer to request (NULL: none is known) that says the sentence with this status (400 to 599). It is the Status of
 * kube_status_body, but where client-go would lose that: it asks for versions, API groups and OpenAPI documents before
 * anything else, reads no Status there, and takes 403 and 404 for an API that is not there; 1.20 reads none of a watch. */
void kube_refusal_make(const struct http_request *request, int status, const char *text,
                       struct kube_refusal *ret_refusal);

#endif

/* Errors in the form that kubectl prints well: metav1.Status. */
#ifndef KUBE_STATUS_H
#define KUBE_STATUS_H

#include "base/err.h"

/* The JSON body of a failure with this HTTP status (400 to 599) and sentence; mem_free it. Its reason is the one that
 * the API server gives with that status ("Forbidden", "NotFound" ...). */
char *kube_status_body(int status, const char *text) TP_MUST;

#endif

/* The query of a request to the Kubernetes API, read as Go's net/url reads it. */
#ifndef KUBE_QUERY_H
#define KUBE_QUERY_H

#include "base/err.h"

#define KUBE_QUERY_MAX 512 /* parameters */

struct kube_query {
    size_t count;
    struct kube_param {
        char *name;
        char *value;
    } * items;
};

/* Splits at "&" and decodes. NULL is an empty query. TP_INVALID for a broken escape, a NUL, or too many parameters:
 * the API server would leave such ones out, and then do something else than we think. kube_query_free it. */
enum tp_err kube_query_parse(const char *text, struct kube_query *ret_query, struct tp_error *error) TP_MUST;
void kube_query_free(struct kube_query *query);
/* The value of the number-th (from 0) parameter of that name, or NULL. */
const char *kube_query_get(const struct kube_query *query, const char *name, size_t number) TP_MUST;
/* The API server's reading of a boolean: there, and neither "0" nor "false" in any case. */
bool kube_query_flag(const struct kube_query *query, const char *name) TP_MUST;

#endif

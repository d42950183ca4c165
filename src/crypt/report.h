/*
 * What a host says of itself, signed with its TLS key. It reaches auth through a worker, which must not be able to say it in the
 * host's place: by labels of a worker's making people would come where their roles do not let them.
 */
#ifndef CRYPT_REPORT_H
#define CRYPT_REPORT_H

#include "base/json.h"
#include "crypt/key.h"

/* Puts "report" (base64 of params, host id, method and now), "signature" (base64) and "tls_pub_key" (PEM) into params. */
enum tp_err report_sign(json_t *params, const struct key *key, const char *host_id, const char *method,
                        int64_t now_ms) TP_MUST;
/* What was signed there by the key in tls_pub_key, for this host and method; whose key it is, the caller checks. ret_params:
 * json_decref it. TP_NOT_FOUND: there is no report; TP_TOO_LARGE, TP_DENIED with a sentence: it is not good. */
enum tp_err report_open(const json_t *params, const char *host_id, const char *method, json_t **ret_params,
                        int64_t *ret_issued_ms, struct tp_error *error) TP_MUST;

#endif

/* Join tokens: stored under the hash of their secret. */
#ifndef AUTH_TOKENS_H
#define AUTH_TOKENS_H

#include "base/err.h"
#include "base/json.h"
#include "rbac/token.h"

struct auth;

/* A join token by its secret: live, and good for all of these roles (TOKEN_*). Same sentence for unknown and expired. */
enum tp_err tokens_check(struct auth *auth, const char *secret, unsigned roles, json_t **ret_labels,
                         struct tp_error *error) TP_MUST;
/* Stores a token resource under its hash. created says whether it was new. */
enum tp_err tokens_put(struct auth *auth, const json_t *resource, uint64_t expected, bool *ret_created,
                       struct tp_error *error) TP_MUST;
/* Deletes by secret or by the masked name of a listing. */
enum tp_err tokens_delete(struct auth *auth, const char *name, struct tp_error *error) TP_MUST;
/* ["Node", ...] of a mask of TOKEN_*. */
json_t *tokens_role_names(unsigned roles) TP_MUST;
/* "ab12****" for people. */
char *tokens_mask(const char *secret) TP_MUST;
/* Drops expired ones. */
void tokens_sweep(struct auth *auth);

#endif

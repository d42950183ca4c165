/* The user resource (kind user, version v2): a typed view. The store keeps the JSON itself. */
#ifndef RBAC_USER_H
#define RBAC_USER_H

#include "base/err.h"
#include "base/node.h"

struct user {
    char *name;
    int64_t expires_ms; /* metadata.expires or spec.expires in Unix milliseconds, 0 when it has none */
    size_t role_count;
    char **roles;
    json_t *traits;          /* object of string arrays, never NULL */
    bool is_locked;          /* spec.status.is_locked */
    char *locked_message;    /* or NULL */
    int64_t lock_expires_ms; /* 0: none */
};

/* Strict parse; unknown keys are errors with line and key. On success free it with user_free. */
enum tp_err user_parse(const struct node *document, struct user **ret_user, struct tp_error *error) TP_MUST;
enum tp_err user_parse_json(const json_t *value, struct user **ret_user, struct tp_error *error) TP_MUST;
void user_free(struct user *user);
/* Locked by its own status at this time? */
bool user_locked(const struct user *user, int64_t now_ms);

#endif

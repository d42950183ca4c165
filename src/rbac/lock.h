/* The lock resource (kind lock, version v2) and whether a lock hits something. */
#ifndef RBAC_LOCK_H
#define RBAC_LOCK_H

#include "base/err.h"
#include "base/node.h"

/* Each member NULL or a value. A lock's target owns its strings; a checked target may point anywhere. */
struct lock_target {
    const char *user;
    const char *role;
    const char *login;
    const char *server_id; /* `node` in old files means the same */
    const char *mfa_device;
    const char *windows_desktop;
    const char *access_request;
    const char *device;
    const char *bot_instance_id;
    const char *join_token;
};

struct lock {
    char *name;
    struct lock_target target;
    char *message;      /* or NULL */
    int64_t expires_ms; /* Unix milliseconds, 0 when it has none */
};

/* Strict parse; a lock with an empty target is refused. Free with lock_free. */
enum tp_err lock_parse(const struct node *document, struct lock **ret_lock, struct tp_error *error) TP_MUST;
enum tp_err lock_parse_json(const json_t *value, struct lock **ret_lock, struct tp_error *error) TP_MUST;
void lock_free(struct lock *lock);

/* Does the lock hit what is checked: is each field that is set in checked equal to the lock's? An empty checked target
 * matches nothing. To check a person ask once per thing: {user}, {role} for each role, {login}, {server_id}, ... */
bool lock_matches(const struct lock *lock, const struct lock_target *checked) TP_MUST;
/* Is it in force at this time? */
bool lock_active(const struct lock *lock, int64_t now_ms) TP_MUST;

#endif

/*
 * A role as people write it (YAML or JSON, versions v3 to v8), checked and typed. It is immutable once parsed and
 * shared by reference count. Parsing is strict: an unknown key, a wrong type, a bad selector, template or predicate is
 * an error that names line and key.
 */
#ifndef RBAC_ROLE_H
#define RBAC_ROLE_H

#include "base/err.h"
#include "base/node.h"

struct role;

/* What labels select. The order is that of role_target_name. */
enum role_target {
    ROLE_NODE,
    ROLE_KUBE,
    ROLE_APP,
    ROLE_DB,
    ROLE_DB_SERVICE,
    ROLE_DESKTOP,
    ROLE_CLUSTER,
    ROLE_GROUP,
    ROLE_WORKLOAD,
    ROLE_TARGET_COUNT
};

enum role_mfa {
    ROLE_MFA_NO,
    ROLE_MFA_YES,
    ROLE_MFA_HARDWARE_KEY,
    ROLE_MFA_HARDWARE_KEY_TOUCH,
    ROLE_MFA_HARDWARE_KEY_PIN,
    ROLE_MFA_HARDWARE_KEY_TOUCH_AND_PIN
};

enum role_lock_mode { ROLE_LOCK_UNSET, ROLE_LOCK_BEST_EFFORT, ROLE_LOCK_STRICT };
enum role_record_mode { ROLE_RECORD_UNSET, ROLE_RECORD_BEST_EFFORT, ROLE_RECORD_STRICT };

#define ROLE_ENHANCED_COMMAND 1u
#define ROLE_ENHANCED_DISK 2u
#define ROLE_ENHANCED_NETWORK 4u

/* How strict parsing is with what is inside strings: a role that a person writes is refused when a template or `where`
 * does not parse; one that is in the store already is kept, and that entry never matches. */
enum role_strict { ROLE_WRITTEN, ROLE_STORED };

/* Parses one role document. On success the caller owns one reference (role_unref). */
enum tp_err role_parse(const struct node *document, enum role_strict strict, struct role **ret_role,
                       struct tp_error *error) TP_MUST;
/* The same from text: YAML or JSON, exactly one document. file is the name used in messages. */
enum tp_err role_parse_text(const char *text, size_t size, const char *file, enum role_strict strict,
                            struct role **ret_role, struct tp_error *error) TP_MUST;
/* The same from a JSON value; line numbers in errors are then those of its text and of no use to people. */
enum tp_err role_parse_json(const json_t *value, enum role_strict strict, struct role **ret_role,
                            struct tp_error *error) TP_MUST;

/* One reference more; returns role. */
struct role *role_ref(struct role *role);
/* One reference less; the last one frees it. NULL is fine. */
void role_unref(struct role *role);

const char *role_name(const struct role *role);
/* RFC 3339 expiry in Unix milliseconds, 0 when it has none. */
int64_t role_expires_ms(const struct role *role);
/* The warnings of parsing (an internal trait name that we do not know, ...), one a line; "" when there are none. */
const char *role_warnings(const struct role *role);

/* Is text a name that a role or user may bear? 1 to 255 bytes of letters, digits and ". _ - @ + :" (and blanks for
 * roles), no leading "-", not "." or "..". */
bool role_name_valid(const char *text);
/* Is it the name of a system role (Admin, Node, Proxy ...; case does not matter), which no role may bear? */
bool role_name_is_system(const char *text);

/* "node", "kube_cluster", "app", "db", ... Never NULL. */
const char *role_target_name(enum role_target target);

#endif

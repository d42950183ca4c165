/*
 * Values computed from a set of roles: lists of a section (logins, database users, groups of host users ...), options
 * of the whole set by their name in YAML, and one role with its defaults and traits filled in. What `access test`
 * compares and other services read. Pure, like rbac.h.
 */
#ifndef RBAC_VALUES_H
#define RBAC_VALUES_H

#include "rbac/rbac.h"

/* Is it the name of a list that rbac_list gives? ("db_users", "host_groups", "windows_logins" ...) */
bool rbac_list_known(const char *key) TP_MUST;
/* The entries of a list that may be used on target, or (target NULL) in a certificate, for ttl_ms (0: whatever roles
 * allow; for logins it is cut to the limit of the set first). Only roles that select the target and last that long give
 * entries; denied ones are taken out, but for the logins of a certificate. Sorted, none twice; host_sudoers in the order of role names. The caller owns the array. NULL for an unknown key.
 */
json_t *rbac_list(const struct rbac_set *set, const char *key, const struct rbac_target *target,
                  int64_t ttl_ms) TP_MUST;

/* An effective option of the whole set, "record_session.ssh" for a nested one. target and cluster may be NULL; with a
 * target only roles that select it decide on host, desktop and database users. Durations are texts such as "8h0m0s".
 * The caller owns the value. NULL for an unknown name. */
json_t *rbac_option(const struct rbac_set *set, const struct rbac_cluster *cluster, const struct rbac_target *target,
                    const char *name) TP_MUST;

/* The role as it is for a user with these traits: version defaults filled in, templates expanded, label values as
 * lists, every option with its effective value. The caller owns the object. */
json_t *role_expand(struct role *role, const struct rbac_user *user) TP_MUST;

/* Whom somebody wants to act for. */
struct rbac_impersonation {
    const char *user;          /* NULL: himself, with other roles */
    const json_t *user_object; /* the user as `where` sees it (impersonate_user); may be NULL */
    size_t role_count;
    struct role *const *roles;
};

/* May the user of the set act so? Deny beats allow; one allow role must cover the user, all roles and its `where`. A
 * request for roles alone is served only by a grant without users. */
enum tp_err rbac_impersonate(const struct rbac_set *set, const struct rbac_impersonation *wanted,
                             struct rbac_decision *ret_decision) TP_MUST;

/* Does a pattern of request or review rules match text? A literal, a glob, ^regex$, {{regexp.match("re")}} or
 * {{regexp.not_match("re")}}. TP_INVALID when the pattern does not parse. */
enum tp_err rbac_pattern_match(const char *pattern, const char *text, bool *ret_matches,
                               struct tp_error *error) TP_MUST;

#endif

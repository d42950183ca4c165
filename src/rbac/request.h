/*
 * Requests for more roles, and their reviews: what the conditions `request` and `review_requests` of roles mean. Pure,
 * like rbac.h; nothing here keeps a request or counts time.
 *
 * Roles are named by patterns (rbac_pattern_match) and, by claims_to_roles, out of traits. Deny beats allow.
 */
#ifndef RBAC_REQUEST_H
#define RBAC_REQUEST_H

#include "rbac/rbac.h"

/* A request as it was made. Texts and JSON are the caller's. */
struct rbac_request {
    const char *user;          /* who asks */
    const json_t *roles;       /* array of names */
    const char *reason;        /* NULL: none */
    const json_t *annotations; /* what rbac_request_annotations gave when it was made; may be NULL */
};

/* One review of it. */
struct rbac_review {
    struct rbac_user by; /* its roles are names */
    bool approves;       /* else it denies */
    const char *reason;  /* NULL: none */
};

/* May the user of the set ask for the role of this name? */
enum tp_err rbac_request_role(const struct rbac_set *set, const char *name, struct rbac_decision *ret_decision) TP_MUST;
/* Roles with which the user may look for what he could ask for, and those as which a reviewer may look at it: allow
 * without deny, exact names, sorted. The caller owns the array. */
json_t *rbac_search_as_roles(const struct rbac_set *set) TP_MUST;
json_t *rbac_preview_as_roles(const struct rbac_set *set) TP_MUST;

/* What a request of this user carries: {"key": ["value", ...]}, traits filled in, denied values left out. The caller
 * owns it; so he does the names of suggested reviewers, sorted. */
json_t *rbac_request_annotations(const struct rbac_set *set) TP_MUST;
json_t *rbac_suggested_reviewers(const struct rbac_set *set) TP_MUST;
/* How long these roles (array of names) may be had at most, in milliseconds: the least of them, where the longest
 * max_duration of the conditions that give a role counts for it. 0: no role says it, or one of them does not. */
int64_t rbac_request_max_ms(const struct rbac_set *set, const json_t *roles) TP_MUST;
/* Must a reason be given for one of these roles? */
bool rbac_request_needs_reason(const struct rbac_set *set, const json_t *roles) TP_MUST;

/* May the user of the set review it? Nobody reviews his own; every role of the request must be covered. */
enum tp_err rbac_review(const struct rbac_set *set, const struct rbac_request *request,
                        struct rbac_decision *ret_decision) TP_MUST;

enum rbac_request_state { RBAC_REQUEST_PENDING, RBAC_REQUEST_APPROVED, RBAC_REQUEST_DENIED };

/* What these reviews make of a request by the user of the set: denied as soon as one threshold of any role of it is
 * reached for that, approved when each role has one that is; conditions without thresholds want one review either way.
 * Of several reviews by one person the last counts. A threshold whose filter cannot be told counts a denial and no
 * approval. */
enum rbac_request_state rbac_request_judge(const struct rbac_set *set, const struct rbac_request *request,
                                           const struct rbac_review *reviews, size_t count) TP_MUST;

#endif

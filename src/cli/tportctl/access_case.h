/* One case of `tportctl access test`: what is asked, and whether the decision library answers as expected. */
#ifndef CLI_TPORTCTL_ACCESS_CASE_H
#define CLI_TPORTCTL_ACCESS_CASE_H

#include "base/map.h"
#include "base/node.h"
#include "rbac/values.h"

enum access_result { ACCESS_PASS, ACCESS_FAIL, ACCESS_UNSUPPORTED, ACCESS_ERROR };

struct access_outcome {
    enum access_result result;
    json_t *expected; /* owned; NULL: null */
    json_t *got;      /* the same */
    char reason[1024];
    char role[128]; /* the role that decided, or "" */
};

/* What a case says, read. Texts belong to its JSON. */
struct access_case {
    const json_t *json;
    struct role **roles;
    size_t role_count;
    json_t *role_names; /* user.roles */
    struct rbac_set *set;
    struct rbac_user user;
    struct rbac_target target;
    bool has_target;
    struct rbac_label *labels;
    struct rbac_access access;
    struct rbac_cluster cluster;
    int64_t ttl_ms;
    bool role_refused; /* a role that a person may not write; error says why */
    struct tp_error error;
    char unsupported[256]; /* what of the case is not supported, or "" */
};

/* Reads a case. roles: the roles that names mean (struct role by name). TP_INVALID with error when it says nothing that
 * can be asked. Free it with access_case_free in every case. */
enum tp_err access_case_read(const struct node *node, const json_t *json, const struct map *roles,
                             struct access_case *ret_case, struct tp_error *error) TP_MUST;
void access_case_free(struct access_case *one);

/* The value of a query. NULL: error says why the library refuses, or unsupported was set. */
json_t *access_query(struct access_case *one, const char *query, struct tp_error *error) TP_MUST;
/* The decision that a case without query asks for: TP_OK or TP_DENIED. */
enum tp_err access_decide(struct access_case *one, struct rbac_decision *ret_decision) TP_MUST;
/* Values of the queries request_state, join_modes (bits of rbac/join.h) and session_state. */
json_t *access_request_state(const struct access_case *one);
unsigned access_join_modes(const struct access_case *one);
json_t *access_session_state(const struct access_case *one);
/* Asks and compares. The outcome's JSON is the caller's. */
void access_case_run(const struct node *node, const struct map *roles, struct access_outcome *ret_outcome);

#endif

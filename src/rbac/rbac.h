/*
 * The one place where tport decides who may do what (rules R1 and R5). Pure: no input or output, no clock, no globals;
 * everything a decision depends on is an argument. A set is built from parsed roles (rbac/role.h) for one user, with
 * trait templates expanded and the built-in implicit role added; all questions are then asked of the set.
 *
 * Deny beats allow everywhere, what is not granted is denied, and what cannot be evaluated denies.
 */
#ifndef RBAC_RBAC_H
#define RBAC_RBAC_H

#include "base/err.h"
#include "rbac/role.h"

#include <jansson.h>

struct rbac_set;
struct rbac_kube_request;

/* Who asks. Nothing is kept after the call but copies; json members may be NULL. */
struct rbac_user {
    const char *name;
    const json_t *traits; /* object of string arrays: {"logins": ["admin"]}; a plain string counts as a list of one */
    const json_t *labels; /* of his metadata, for predicates; NULL: none */
    const json_t *roles; /* array of names, for predicates (user.spec.roles); NULL: the names of the roles of the set */
};

#define RBAC_WITHOUT_IMPLICIT_ROLE 1u /* flag of rbac_set_new: only for `access test` */

/* Builds the set. The roles are shared (role_ref), so the caller may role_unref his own afterwards. Templates whose
 * trait is missing vanish; logins that are no Unix names are dropped. Never fails. Free it with rbac_set_free. */
struct rbac_set *rbac_set_new(struct role *const roles[], size_t count, const struct rbac_user *user,
                              unsigned flags) TP_MUST;
void rbac_set_free(struct rbac_set *set);
/* The user as predicates see it: {"metadata": {...}, "spec": {"roles", "traits"}}. The caller json_decref's it. */
json_t *rbac_set_user(const struct rbac_set *set) TP_MUST;

/* ---- Access to one resource ---- */

struct rbac_label {
    const char *name;
    const char *value;
};

/* The labels of a resource as bits, one for each name and two of many for each name with its value: what tells most roles that
 * do not select a resource from those that may, without a look at texts. */
#define RBAC_TAG_WORDS 4
struct rbac_tags {
    uint64_t names;
    uint64_t pairs[RBAC_TAG_WORDS];
};
struct rbac_tags rbac_tags_of(const struct rbac_label *labels, size_t count) TP_MUST;

/* A resource as decisions see it. Names and label values point into memory of the caller. */
struct rbac_target {
    enum role_target kind;
    const char *name;       /* for texts: host name or id */
    const char *name_space; /* NULL: "default" */
    const struct rbac_label *labels;
    size_t label_count;
    const struct rbac_tags *tags; /* rbac_tags_of these labels, for who asks often; NULL: found out here */
};

/* Labels of a resource out of its JSON, by the rule of json_labels_each. The array is the caller's (mem_free); its strings
 * belong to the JSON. */
struct rbac_label *rbac_labels_from_json(const json_t *labels, const json_t *dynamic, size_t *ret_count) TP_MUST;
/* Does word stand in the label as people see it, NAME=VALUE, whatever the case? For searches, not for decisions. */
bool rbac_label_shows(const struct rbac_label *label, const char *word);

enum rbac_reason {
    RBAC_GRANTED,
    RBAC_NO_GRANT,         /* no role allows it */
    RBAC_NO_LABELS,        /* no role allows this resource at all */
    RBAC_NO_LOGIN,         /* a role allows the resource, none with this login (or other matcher) */
    RBAC_DENIED_BY_LABELS, /* deny labels or deny expression */
    RBAC_DENIED_BY_LOGIN,  /* the login is in a deny list */
    RBAC_DENIED_BY_RULE,   /* a deny rule */
    RBAC_MFA_NEEDED,       /* allowed once a second factor is given for this session */
    RBAC_DEVICE_NEEDED,    /* allowed from a trusted device only */
    RBAC_BAD_INPUT,        /* an empty or non-canonical name: never compared */
    RBAC_OTHERS_NEEDED     /* allowed once others have joined the session (rbac/join.h); rbac_access does not ask */
};

/* The wire name of a reason, for example "denied_by_labels". Never NULL. */
const char *rbac_reason_name(enum rbac_reason reason);

struct rbac_decision {
    bool allowed;
    enum rbac_reason reason;
    bool mfa;          /* cluster or granting roles ask for a second factor, given or not */
    bool hardware_key; /* and for one that is more than a one-time code */
    char role[128];    /* the role that made it; "" when none did */
    char section[8];   /* "allow", "deny" or "" */
    char detail[256];  /* the label, login or rule that made it, for example "node_labels environment=dev"; or "" */
    char text[512];    /* one sentence for the person who asked; tells nothing about roles */
};

/* State of the caller and settings of the cluster that a decision on access needs. Zero: no second factor given, none
 * needed. */
struct rbac_access {
    const char *login; /* NULL: no login is asked for, labels alone decide */
    bool mfa_verified;
    bool device_verified;
    enum role_mfa cluster_mfa; /* cluster_auth_preference.require_session_mfa */
    /* Further matchers, each NULL when it is not asked for. All that are given must hold in one and the same role. */
    const char *db_user;
    const char *db_name;
    const char *db_protocol; /* of the target: says how database users compare */
    const char *windows_login;
    const char *aws_role_arn;
    const char *azure_identity;
    const char *gcp_service_account;
    const struct rbac_kube_request *kube_resource; /* rbac/kube.h */
};

/* May the user of the set reach the target (with this login)? TP_OK or TP_DENIED; ret_decision (may be NULL) says why.
 */
enum tp_err rbac_access(const struct rbac_set *set, const struct rbac_target *target, const struct rbac_access *access,
                        struct rbac_decision *ret_decision) TP_MUST;
/* The same for a remote cluster: one without labels is open as long as no role of the set selects clusters by labels. */
enum tp_err rbac_remote_cluster_access(const struct rbac_set *set, const struct rbac_target *target,
                                       const struct rbac_access *access, struct rbac_decision *ret_decision) TP_MUST;
/* The same for a node. */
enum tp_err rbac_node_access(const struct rbac_set *set, const struct rbac_target *node, const char *login,
                             struct rbac_decision *ret_decision) TP_MUST;
/* Is the target in this user's lists? True when labels let him in, whatever the login; needs no second factor. */
bool rbac_can_list(const struct rbac_set *set, const struct rbac_target *target) TP_MUST;
/* Could rbac_can_list be true for a resource of this kind with these tags? false is certain. For long lists. */
bool rbac_may_list(const struct rbac_set *set, enum role_target kind, const struct rbac_tags *tags) TP_MUST;

struct rbac_login {
    const char *name;   /* belongs to the set */
    bool forward_agent; /* one and the same role allows login, node and agent forwarding */
};

/* Every login with which the user may reach this node now, sorted by name. The array is the caller's (mem_free). */
struct rbac_login *rbac_logins(const struct rbac_set *set, const struct rbac_target *node,
                               const struct rbac_access *access, size_t *ret_count) TP_MUST;

/* ---- Certificates ---- */

/* Principals of a certificate asked for ttl_ms: ret_ttl_ms is ttl_ms cut to the set's max_session_ttl, and the logins
 * are those of roles that allow at least that long, sorted, deny logins still in (the node checks them). None: count 0,
 * and the caller puts RBAC_NO_LOGIN_PREFIX plus something unguessable into the certificate. Strings belong to the set;
 * mem_free the array. */
const char **rbac_cert_logins(const struct rbac_set *set, int64_t ttl_ms, int64_t *ret_ttl_ms,
                              size_t *ret_count) TP_MUST;
#define RBAC_NO_LOGIN_PREFIX "-tport-nologin-"

/* ---- Options of the whole set ---- */

/* Settings of the cluster that take part in the merge. Zero: none. */
struct rbac_cluster {
    int64_t client_idle_timeout_ms; /* 0: off */
    bool disconnect_expired_cert;
    enum role_mfa require_session_mfa;
    enum role_lock_mode locking_mode; /* ROLE_LOCK_UNSET counts as best_effort */
};

enum rbac_need { RBAC_NEVER, RBAC_PER_ROLE, RBAC_ALWAYS };
/* "never", "per_role" or "always". */
const char *rbac_need_name(enum rbac_need need);

struct rbac_options {
    int64_t max_session_ttl_ms;
    bool forward_agent; /* of any role; rbac_logins has the answer for one login and node */
    bool port_forward_local;
    bool port_forward_remote;
    bool permit_x11_forwarding;
    bool ssh_file_copy;
    int64_t client_idle_timeout_ms; /* 0: off */
    bool disconnect_expired_cert;
    enum role_record_mode record_ssh;     /* ROLE_RECORD_BEST_EFFORT or ROLE_RECORD_STRICT */
    enum role_record_mode record_default; /* the same for what is not SSH */
    bool record_desktop;
    int64_t max_sessions;               /* 0: no limit */
    int64_t max_connections;            /* 0: no limit */
    int64_t max_kubernetes_connections; /* 0: no limit */
    bool pin_source_ip;
    enum rbac_need mfa_required;
    bool mfa_hardware_key; /* the cluster or one of the roles wants the second factor from a hardware key */
    int64_t mfa_verification_interval_ms; /* 0: none */
    enum role_lock_mode locking_mode;     /* best_effort or strict */
    bool desktop_clipboard;
    bool desktop_directory_sharing;
    unsigned enhanced_recording; /* ROLE_ENHANCED_* */
    bool cert_format_standard;
};

/* Options of all roles of the set merged. cluster may be NULL. */
void rbac_merge_options(const struct rbac_set *set, const struct rbac_cluster *cluster,
                        struct rbac_options *ret_options);

/* ---- Rules on kinds ---- */

/* What a `where` can see. All members may be NULL or zero. */
struct rbac_context {
    const json_t *resource; /* the resource as JSON: metadata, kind, spec */
    const json_t *session;  /* fields of a session's end event: participants, user, sid, server_labels ... */
    const json_t *more;     /* an object of further top-level names: ssh_session, session_tracker, host_cert ... */
    bool can_view;          /* what can_view() answers */
    const char *name_space; /* the namespace that the object lies in; NULL: "default" */
};

/* May the user do verb on kind? verb is one of rbac_verbs. context may be NULL: a `where` in allow then rarely holds.
 * TP_OK or TP_DENIED; ret_decision (may be NULL) says why. */
enum tp_err rbac_rule(const struct rbac_set *set, const char *verb, const char *kind,
                      const struct rbac_context *context, struct rbac_decision *ret_decision) TP_MUST;
/* Could it be allowed for some object? `where` counts as true in allow and false in deny. For menus and before
 * filtering a list item by item with rbac_rule. */
enum tp_err rbac_rule_possible(const struct rbac_set *set, const char *verb, const char *kind,
                               struct rbac_decision *ret_decision) TP_MUST;

/* All verbs and kinds that rules know, each list ended by NULL. */
extern const char *const rbac_verbs[];
extern const char *const rbac_kinds[];

/* ---- Presets ---- */

/* The YAML of a preset role ("editor", "access", "auditor"), or NULL. */
const char *rbac_preset_yaml(const char *name);
extern const char *const rbac_presets[]; /* their names, ended by NULL */

#endif

/* The insides of a role and of a set; for the files of this folder only. */
#ifndef RBAC_ROLE_PRIVATE_H
#define RBAC_ROLE_PRIVATE_H

#include "rbac/label.h"
#include "rbac/names.h"
#include "rbac/pred.h"
#include "rbac/rbac.h"
#include "rbac/template.h"

/* Lists of a section that are templates. The order is that of role_list_keys. */
enum role_list {
    ROLE_LOGINS,
    ROLE_WINDOWS_LOGINS,
    ROLE_KUBE_GROUPS,
    ROLE_KUBE_USERS,
    ROLE_DB_NAMES,
    ROLE_DB_USERS,
    ROLE_DB_ROLES,
    ROLE_AWS_ARNS,
    ROLE_AZURE,
    ROLE_GCP,
    ROLE_HOST_GROUPS,
    ROLE_HOST_SUDOERS,
    ROLE_DESKTOP_GROUPS,
    ROLE_LIST_COUNT
};

struct role_rule {
    int line;
    struct names kinds;
    struct names verbs;
    struct pred *where; /* or NULL */
    bool broken;        /* stored with a `where` that does not parse: never matches */
    bool has_actions;
};

struct role_kube {
    char *kind;
    char *api_group;
    char *name_space;
    char *name;
    struct names verbs;
};

struct role_expression {
    struct pred *pred; /* or NULL */
    bool broken;       /* set, but does not parse */
};

struct role_section {
    struct template_list lists[ROLE_LIST_COUNT];
    struct label_template labels[ROLE_TARGET_COUNT];
    struct role_expression expressions[ROLE_TARGET_COUNT];
    struct names namespaces;
    size_t rule_count;
    struct role_rule *rules; /* most specific first */
    bool kube_set;
    size_t kube_count;
    struct role_kube *kube;
    json_t *conditions; /* impersonate, request, review_requests, join_sessions, require_session_join; or NULL */
};

enum role_tristate { ROLE_UNSET, ROLE_OFF, ROLE_ON };

/* As written; *_set says whether the key was there, where the merge cares. */
struct role_options {
    int64_t max_session_ttl_ms;
    bool cert_format_old;
    bool forward_agent;
    enum role_tristate port_forwarding;
    bool ssh_port_forwarding_set;
    enum role_tristate ssh_local;
    enum role_tristate ssh_remote;
    bool permit_x11_forwarding;
    bool ssh_file_copy;
    int64_t client_idle_timeout_ms;
    bool disconnect_expired_cert;
    int64_t max_connections;
    int64_t max_sessions;
    int64_t max_kubernetes_connections;
    unsigned enhanced_recording;
    enum role_record_mode record_default;
    enum role_record_mode record_ssh;
    bool record_desktop;
    bool desktop_clipboard;
    bool desktop_directory_sharing;
    bool pin_source_ip;
    enum role_mfa require_session_mfa;
    int64_t mfa_verification_interval_ms;
    bool device_required;
    enum role_lock_mode lock;
};

struct role {
    size_t references;
    char *name;
    int version; /* 3 to 8 */
    int64_t expires_ms;
    char *warnings;
    struct role_options options;
    struct role_section allow;
    struct role_section deny;
    json_t *document; /* the whole role, for keys that only other services read */
};

extern const char *const role_list_keys[ROLE_LIST_COUNT];
extern const char *const role_label_keys[ROLE_TARGET_COUNT];
extern const char *const role_expression_keys[ROLE_TARGET_COUNT];

/* Checks the document's keys and types. */
enum tp_err role_check(const struct node *document, struct tp_error *error) TP_MUST;
/* Reads spec.options (may be NULL) of a checked document. */
void role_options_read(const struct node *options, struct role_options *ret_options);
/* The rules of a section, ordered by how specific they are. */
enum tp_err role_rules_read(const struct node *list, enum role_strict strict, struct role_section *section,
                            struct tp_error *error) TP_MUST;
/* Is it a Unix login name that may be asked for? */
bool role_login_valid(const char *text);
/* The implicit role that every set holds; the caller owns a reference. */
struct role *role_implicit(void) TP_MUST;

/* One section of one role for one user. */
struct set_section {
    struct names logins;
    struct label_selector labels[ROLE_TARGET_COUNT];
    const struct role_section *from;
};

struct set_role {
    struct role *role;
    bool implicit;
    struct set_section allow;
    struct set_section deny;
};

/* One section that a decision on a kind of target has to look at. Kept dense: most are passed over by their tags. */
struct set_entry {
    struct rbac_tags needed;
    const struct set_role *role;
    bool expression; /* labels alone do not decide */
    bool lists;      /* deny: it has lists that matchers look at */
    uint64_t logins; /* deny: tags of its logins, all ones when '*' is among them */
};

struct set_entries {
    size_t count;
    struct set_entry *items;
};

struct rbac_set {
    char *user_name;
    json_t *user; /* as predicates see it */
    json_t *traits;
    size_t count;
    struct set_role *roles;
    struct set_entries allow[ROLE_TARGET_COUNT]; /* in the order of roles */
    struct set_entries deny[ROLE_TARGET_COUNT];
};

/* Is anything asked for beside a login? Do all matchers beside it hold in this allow section; which list of this deny
 * section holds one of them (NULL: none)? */
bool set_matchers_any(const struct rbac_access *access);
bool set_matchers_hold(const struct rbac_set *set, const struct set_section *section, const struct rbac_access *access);
const char *set_matchers_denied(const struct rbac_set *set, const struct set_section *section,
                                const struct rbac_access *access);

/* Does one of these patterns (rbac_pattern_match; a text or an array) match? What does not parse matches in deny. */
bool role_pattern_any(const json_t *list, const char *text, bool deny);
/* Do these traits bring in the role of that name by claims_to_roles? */
bool role_claims_give(const json_t *claims, const json_t *traits, const char *name, bool deny);
/* Do they parse? */
enum tp_err role_pattern_check(const char *pattern, struct tp_error *error) TP_MUST;
enum tp_err role_claim_value_check(const char *value, struct tp_error *error) TP_MUST;
/* The conditions of requests, reviews and joining of one section of a document that a person writes. */
enum tp_err role_conditions_check(const struct node *section, struct tp_error *error) TP_MUST;
/* "impersonate", "request", "review_requests", "join_sessions", "require_session_join" of a section, each single value as
 * a text, or NULL. */
const json_t *role_written(const struct role_section *section, const char *key);
json_t *role_conditions_read(const struct node *section);
/* The words that require_session_mfa may be, in a role and of the cluster; ended by NULL. */
extern const char *const role_mfa_words[];
/* The whole number that one of its texts is, or 0. */
int64_t role_number(const json_t *value);

/* Fills what is not NULL and returns TP_OK or TP_DENIED. */
enum tp_err rbac_decide(struct rbac_decision *decision, enum rbac_reason reason, const char *role, const char *section,
                        const char *detail);

/* Does this section select the target? ret_detail (size bytes, or NULL) is what decided. deny chooses how failures
 * count. */
bool set_section_selects(const struct rbac_set *set, const struct set_section *section,
                         const struct rbac_target *target, bool deny, char *ret_detail, size_t size);
/* Are the namespaces of the section those of the target? */
bool set_section_in_namespace(const struct set_section *section, const struct rbac_target *target);

#endif

#include "rbac/kube_private.h"
#include "rbac/role_private.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const reason_names[] = {"granted",          "no_grant",        "no_labels",      "no_login",
                                           "denied_by_labels", "denied_by_login", "denied_by_rule", "mfa_needed",
                                           "device_needed",    "bad_input",       "others_needed"};

const char *rbac_reason_name(enum rbac_reason reason)
{
    return (unsigned)reason < sizeof reason_names / sizeof *reason_names ? reason_names[reason] : "no_grant";
}

/* A text that was cut may end in half a character of UTF-8, and JSON takes no half ones. */
static size_t whole_characters(const char *text, size_t length)
{
    size_t lead = length - 1;
    while (lead > 0 && ((unsigned char)text[lead] & 0xc0) == 0x80)
        lead--;
    unsigned char first = (unsigned char)text[lead];
    size_t needed = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 1;
    return length - lead < needed ? lead : length;
}

/* snprintf would take half of the time of a decision. */
static void copy_text(const char *text, char *out, size_t size)
{
    size_t length = strnlen(text, size - 1);
    if (length == size - 1)
        length = whole_characters(text, length);
    memcpy(out, text, length);
    out[length] = '\0';
}

enum tp_err rbac_decide(struct rbac_decision *decision, enum rbac_reason reason, const char *role, const char *section,
                        const char *detail)
{
    if (decision) {
        decision->allowed = reason == RBAC_GRANTED;
        decision->reason = reason;
        copy_text(role, decision->role, sizeof decision->role);
        copy_text(section, decision->section, sizeof decision->section);
        copy_text(detail, decision->detail, sizeof decision->detail);
    }
    return reason == RBAC_GRANTED ? TP_OK : TP_DENIED;
}

/* "Confirm SSH login." and the like: what a person can check himself. */
static const char *advice(enum role_target kind)
{
    switch (kind) {
    case ROLE_NODE:
        return "Confirm SSH login.";
    case ROLE_KUBE:
        return "Confirm Kubernetes user or group.";
    case ROLE_DB:
    case ROLE_DB_SERVICE:
        return "Confirm database user and name.";
    case ROLE_DESKTOP:
        return "Confirm Windows user.";
    default:
        return "Ask an administrator for a role that allows it.";
    }
}

static void write_sentence(struct rbac_decision *decision, const struct rbac_target *target)
{
    const char *kind = role_target_name(target->kind);
    switch (decision->reason) {
    case RBAC_GRANTED:
        snprintf(decision->text, sizeof decision->text, "access to %s allowed", kind);
        break;
    case RBAC_MFA_NEEDED:
        snprintf(decision->text, sizeof decision->text, "access to %s denied: this session needs your second factor",
                 kind);
        break;
    case RBAC_DEVICE_NEEDED:
        snprintf(decision->text, sizeof decision->text, "access to %s denied: it is open to trusted devices only",
                 kind);
        break;
    case RBAC_BAD_INPUT:
        snprintf(decision->text, sizeof decision->text, "access to %s denied: that is not a login name", kind);
        break;
    default:
        snprintf(decision->text, sizeof decision->text, "access to %s denied. User does not have permissions. %s", kind,
                 advice(target->kind));
    }
}

static bool has_login(const struct names *logins, const char *login, bool deny)
{
    return names_has(logins, login) || (deny && names_has(logins, "*"));
}

struct query {
    const struct rbac_set *set;
    const struct rbac_target *target;
    const char *login;                /* or NULL */
    const struct rbac_access *access; /* or NULL: nothing is asked for beside labels */
    uint64_t login_tag;               /* of the login, if any */
    bool more;                        /* it asks for more than a login */
    struct rbac_tags tags;
};

/* Could the section of this entry select a target with these tags? A no is certain. */
static bool may_select_tags(const struct set_entry *entry, const struct rbac_tags *tags)
{
    uint64_t missing = entry->needed.names & ~tags->names;
    for (size_t i = 0; i < RBAC_TAG_WORDS; i++)
        missing |= entry->needed.pairs[i] & ~tags->pairs[i];
    return entry->expression || missing == 0;
}

static bool may_select(const struct set_entry *entry, const struct query *query)
{
    return may_select_tags(entry, &query->tags);
}

/* Could a list of this deny section hold what is asked for? A no is certain. */
static bool may_list(const struct set_entry *entry, const struct query *query)
{
    return (query->login && (entry->logins & query->login_tag)) || (query->more && entry->lists);
}

/* The deny pass. Returns true when something denies; decision is then filled. */
static bool denied(const struct query *query, struct rbac_decision *decision)
{
    const struct set_entries *entries = &query->set->deny[query->target->kind];
    char detail[sizeof decision->detail];
    for (size_t i = 0; i < entries->count; i++) {
        const struct set_entry *entry = &entries->items[i];
        const struct set_role *one = entry->role;
        bool selects = may_select(entry, query);
        if ((!selects && !may_list(entry, query)) || !set_section_in_namespace(&one->deny, query->target))
            continue;
        if (selects &&
            set_section_selects(query->set, &one->deny, query->target, true, decision ? detail : NULL, sizeof detail)) {
            (void)!rbac_decide(decision, RBAC_DENIED_BY_LABELS, one->role->name, "deny", detail);
            return true;
        }
        if (query->login && has_login(&one->deny.logins, query->login, true)) {
            snprintf(detail, sizeof detail, "logins %s", query->login);
            (void)!rbac_decide(decision, RBAC_DENIED_BY_LOGIN, one->role->name, "deny", detail);
            return true;
        }
        const char *list = query->more ? set_matchers_denied(query->set, &one->deny, query->access) : NULL;
        if (list) {
            (void)!rbac_decide(decision, RBAC_DENIED_BY_LOGIN, one->role->name, "deny", list);
            return true;
        }
    }
    return false;
}

/* Kubernetes rules deny whatever the labels of their role. */
static bool denied_by_kube(const struct query *query, struct rbac_decision *decision)
{
    const struct rbac_kube_request *request = query->access ? query->access->kube_resource : NULL;
    for (size_t i = 0; request && i < query->set->count; i++) {
        const struct set_role *one = &query->set->roles[i];
        if (rbac_kube_role_denies(query->set, one, query->target, request)) {
            (void)!rbac_decide(decision, RBAC_DENIED_BY_LOGIN, one->role->name, "deny", "kubernetes_resources");
            return true;
        }
    }
    return false;
}

struct granted {
    const struct set_role *role;      /* the first that grants, or NULL */
    const struct set_role *selecting; /* the first that selects the target, with whatever login */
    bool mfa;
    bool hardware_key;
    bool device;
};

/* The allow pass: labels, expression and login must all hold in one role. */
static void find_grants(const struct query *query, char *ret_detail, size_t size, struct granted *granted)
{
    const struct set_entries *entries = &query->set->allow[query->target->kind];
    for (size_t i = 0; i < entries->count; i++) {
        const struct set_role *one = entries->items[i].role;
        char *detail = granted->role ? NULL : ret_detail;
        if (!may_select(&entries->items[i], query) || !set_section_in_namespace(&one->allow, query->target))
            continue;
        if (!set_section_selects(query->set, &one->allow, query->target, false, detail, size))
            continue;
        if (!granted->selecting)
            granted->selecting = one;
        if (query->login && !has_login(&one->allow.logins, query->login, false))
            continue;
        if (query->more && !set_matchers_hold(query->set, &one->allow, query->access))
            continue;
        if (query->access && query->access->kube_resource &&
            !rbac_kube_role_allows(query->set, one->role, query->access->kube_resource))
            continue;
        if (!granted->role)
            granted->role = one;
        granted->mfa |= one->role->options.require_session_mfa != ROLE_MFA_NO;
        granted->hardware_key |= one->role->options.require_session_mfa > ROLE_MFA_YES;
        granted->device |= one->role->options.device_required;
    }
}

static struct query query_make(const struct rbac_set *set, const struct rbac_target *target,
                               const struct rbac_access *access)
{
    return (struct query){.set = set,
                          .target = target,
                          .login = access ? access->login : NULL,
                          .login_tag = access && access->login ? label_tag(access->login) : 0,
                          .access = access,
                          .more = access && set_matchers_any(access),
                          .tags = target->tags ? *target->tags : rbac_tags_of(target->labels, target->label_count)};
}

static enum tp_err decide(const struct rbac_set *set, const struct rbac_target *target,
                          const struct rbac_access *access, struct rbac_decision *decision)
{
    const char *login = access->login;
    char detail[sizeof decision->detail] = "";
    struct granted granted = {0};
    struct query query;
    if ((unsigned)target->kind >= ROLE_TARGET_COUNT || (login && !role_login_valid(login)))
        return rbac_decide(decision, RBAC_BAD_INPUT, "", "", "");
    query = query_make(set, target, access);
    if (denied(&query, decision) || denied_by_kube(&query, decision))
        return TP_DENIED;
    find_grants(&query, decision ? detail : NULL, sizeof detail, &granted);
    if (!granted.role && granted.selecting)
        return rbac_decide(decision, RBAC_NO_LOGIN, "", "", "");
    if (!granted.role)
        return rbac_decide(decision, RBAC_NO_LABELS, "", "", "");
    granted.mfa |= access->cluster_mfa != ROLE_MFA_NO;
    granted.hardware_key |= access->cluster_mfa > ROLE_MFA_YES;
    if (decision) {
        decision->mfa = granted.mfa;
        decision->hardware_key = granted.hardware_key;
    }
    if (granted.mfa && !access->mfa_verified)
        return rbac_decide(decision, RBAC_MFA_NEEDED, granted.role->role->name, "allow", "require_session_mfa");
    if (granted.device && !access->device_verified)
        return rbac_decide(decision, RBAC_DEVICE_NEEDED, granted.role->role->name, "allow", "device_trust_mode");
    return rbac_decide(decision, RBAC_GRANTED, granted.role->role->name, "allow", detail);
}

enum tp_err rbac_access(const struct rbac_set *set, const struct rbac_target *target, const struct rbac_access *access,
                        struct rbac_decision *ret_decision)
{
    enum tp_err result;
    if (ret_decision)
        *ret_decision = (struct rbac_decision){.reason = RBAC_NO_GRANT};
    result = decide(set, target, access, ret_decision);
    if (ret_decision)
        write_sentence(ret_decision, target);
    return result;
}

enum tp_err rbac_remote_cluster_access(const struct rbac_set *set, const struct rbac_target *target,
                                       const struct rbac_access *access, struct rbac_decision *ret_decision)
{
    bool used = target->label_count > 0;
    for (size_t i = 0; i < set->count && !used; i++) {
        const struct set_role *one = &set->roles[i];
        const struct role_expression *allow = &one->allow.from->expressions[ROLE_CLUSTER];
        const struct role_expression *deny = &one->deny.from->expressions[ROLE_CLUSTER];
        used = one->allow.labels[ROLE_CLUSTER].count > 0 || one->deny.labels[ROLE_CLUSTER].count > 0 || allow->pred ||
               allow->broken || deny->pred || deny->broken;
    }
    if (used || set->count == 0)
        return rbac_access(set, target, access, ret_decision);
    if (ret_decision)
        *ret_decision = (struct rbac_decision){.reason = RBAC_GRANTED};
    (void)rbac_decide(ret_decision, RBAC_GRANTED, "", "allow", "cluster_labels are not used");
    if (ret_decision)
        write_sentence(ret_decision, target);
    return TP_OK;
}

enum tp_err rbac_node_access(const struct rbac_set *set, const struct rbac_target *node, const char *login,
                             struct rbac_decision *ret_decision)
{
    struct rbac_target target = *node;
    struct rbac_access access = {.login = login};
    target.kind = ROLE_NODE;
    return rbac_access(set, &target, &access, ret_decision);
}

bool rbac_may_list(const struct rbac_set *set, enum role_target kind, const struct rbac_tags *tags)
{
    const struct set_entries *entries = &set->allow[kind];
    for (size_t i = 0; i < entries->count; i++)
        if (may_select_tags(&entries->items[i], tags))
            return true;
    return false;
}

bool rbac_can_list(const struct rbac_set *set, const struct rbac_target *target)
{
    struct granted granted = {0};
    struct query query;
    if ((unsigned)target->kind >= ROLE_TARGET_COUNT)
        return false;
    query = query_make(set, target, NULL);
    if (denied(&query, NULL))
        return false;
    find_grants(&query, NULL, 0, &granted);
    return granted.role != NULL;
}

static int compare_logins(const void *a, const void *b)
{
    return strcmp(((const struct rbac_login *)a)->name, ((const struct rbac_login *)b)->name);
}

/* Adds the logins of a role that selects the node; one that is there already only gains agent forwarding. */
static void collect_logins(const struct set_role *one, struct rbac_login **logins, size_t *count)
{
    const struct names *names = &one->allow.logins;
    if (names->count == 0)
        return;
    *logins = mem_resize(*logins, (*count + names->count) * sizeof **logins);
    for (size_t i = 0; i < names->count; i++) {
        size_t at = 0;
        while (at < *count && strcmp((*logins)[at].name, names->items[i]) != 0)
            at++;
        if (at == *count)
            (*logins)[(*count)++] = (struct rbac_login){names->items[i], false};
        (*logins)[at].forward_agent |= one->role->options.forward_agent;
    }
}

struct rbac_login *rbac_logins(const struct rbac_set *set, const struct rbac_target *node,
                               const struct rbac_access *access, size_t *ret_count)
{
    struct rbac_login *logins = mem_array(1, sizeof *logins);
    struct rbac_target target = *node;
    size_t count = 0;
    size_t kept = 0;
    struct query query;
    target.kind = ROLE_NODE;
    query = query_make(set, &target, NULL);
    for (size_t i = 0; i < set->allow[ROLE_NODE].count; i++) {
        const struct set_entry *entry = &set->allow[ROLE_NODE].items[i];
        if (may_select(entry, &query) && set_section_in_namespace(&entry->role->allow, &target) &&
            set_section_selects(set, &entry->role->allow, &target, false, NULL, 0))
            collect_logins(entry->role, &logins, &count);
    }
    for (size_t i = 0; i < count; i++) {
        struct rbac_access one = access ? *access : (struct rbac_access){0};
        one.login = logins[i].name;
        if (rbac_access(set, &target, &one, NULL) == TP_OK)
            logins[kept++] = logins[i];
    }
    qsort(logins, kept, sizeof *logins, compare_logins);
    *ret_count = kept;
    return logins;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **rbac_cert_logins(const struct rbac_set *set, int64_t ttl_ms, int64_t *ret_ttl_ms, size_t *ret_count)
{
    const char **logins = mem_array(1, sizeof *logins);
    size_t count = 0;
    for (size_t i = 0; i < set->count; i++)
        if (set->roles[i].role->options.max_session_ttl_ms < ttl_ms)
            ttl_ms = set->roles[i].role->options.max_session_ttl_ms;
    for (size_t i = 0; i < set->count; i++) {
        const struct set_role *one = &set->roles[i];
        if (one->role->options.max_session_ttl_ms < ttl_ms || one->allow.logins.count == 0)
            continue;
        logins = mem_resize(logins, (count + one->allow.logins.count) * sizeof *logins);
        for (size_t j = 0; j < one->allow.logins.count; j++) {
            size_t at = 0;
            while (at < count && strcmp(logins[at], one->allow.logins.items[j]) != 0)
                at++;
            if (at == count)
                logins[count++] = one->allow.logins.items[j];
        }
    }
    qsort(logins, count, sizeof *logins, compare_names);
    *ret_ttl_ms = ttl_ms;
    *ret_count = count;
    return logins;
}

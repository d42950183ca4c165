#include "rbac/explain.h"

#include "base/json.h"
#include "base/mem.h"
#include "rbac/join.h"
#include "rbac/kube.h"
#include "rbac/names.h"
#include "rbac/role_private.h"
#include "rbac/why_not.h"

#include <stdio.h>
#include <string.h>

static bool target_of(const char *kind, enum role_target *ret_target)
{
    for (int i = 0; i < ROLE_TARGET_COUNT; i++) {
        if (strcmp(role_target_name((enum role_target)i), kind) == 0) {
            *ret_target = (enum role_target)i;
            return true;
        }
    }
    return false;
}

enum tp_err rbac_question_read(const char *verb, const char *kind, const char *name, struct rbac_question *ret_question,
                               struct tp_error *error)
{
    struct rbac_question *question = ret_question;
    *question = (struct rbac_question){.verb = verb, .kind = kind, .name = name};
    question->access = strcmp(verb, "access") == 0 || strcmp(verb, "connect") == 0 || strcmp(verb, "ssh") == 0;
    if (question->access && !target_of(kind, &question->target))
        return err_set(error, TP_INVALID,
                       "nobody can be let into a \"%.80s\"; give the resource as KIND/NAME, for example node/web-1 or "
                       "kube_cluster/dev",
                       kind);
    if (question->access && !name)
        return err_set(error, TP_INVALID, "give the resource as KIND/NAME, for example node/web-1 or kube_cluster/dev");
    if (!question->access && !names_listed(rbac_verbs, verb))
        return err_set(error, TP_INVALID,
                       "unknown verb \"%s\": access for reaching a resource, or list, read, create, update, delete and "
                       "the other verbs of rules",
                       verb);
    if (!question->access && !names_listed(rbac_kinds, kind)) {
        const char *meant = names_nearest(rbac_kinds, kind);
        return err_set(error, TP_INVALID, "no rule can be about \"%.80s\"%s%s%s", kind,
                       meant ? "; did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
    }
    return TP_OK;
}

enum tp_err rbac_question_as(struct rbac_question *question, const char *login, const char *group,
                             struct tp_error *error)
{
    if (login && !(question->access && question->target == ROLE_NODE))
        return err_set(error, TP_INVALID, "a login is asked for on a server only: access node/NAME");
    if (group && !(question->access && question->target == ROLE_KUBE))
        return err_set(error, TP_INVALID,
                       "a Kubernetes group is asked for on a cluster only: access kube_cluster/NAME");
    question->login = login;
    question->group = group;
    return TP_OK;
}

static struct rbac_set *set_of(struct role *const roles[], size_t count, const struct user *user, unsigned flags)
{
    json_t *names = json_array();
    struct rbac_user who = {.name = user->name, .traits = user->traits, .roles = names};
    struct rbac_set *set;
    for (size_t i = 0; i < user->role_count; i++)
        json_array_append_new(names, json_string(user->roles[i]));
    set = rbac_set_new(roles, count, &who, flags);
    json_decref(names);
    return set;
}

/* With this group, or (NULL) as anybody. */
static bool is_subject(const struct rbac_set *set, const struct rbac_target *target, const char *group)
{
    json_t *users, *groups;
    bool is;
    rbac_kube_subjects(set, target, 0, &users, &groups);
    is = group ? json_list_has(groups, group) : json_array_size(users) > 0 || json_array_size(groups) > 0;
    json_decref(users);
    json_decref(groups);
    return is;
}

static bool has_some_login(const struct rbac_set *set, const struct rbac_target *target,
                           const struct rbac_access *access)
{
    size_t count;
    struct rbac_login *logins = rbac_logins(set, target, access, &count);
    mem_free(logins);
    return count > 0;
}

/* Labels alone let nobody in: he needs a login on the server, a user or a group on the cluster. */
static enum tp_err as_somebody(const struct rbac_question *question, const struct rbac_set *set,
                               const struct rbac_target *target, const struct rbac_access *access,
                               struct rbac_decision *decision)
{
    char detail[sizeof decision->detail];
    if (target->kind == ROLE_NODE && !has_some_login(set, target, access))
        snprintf(detail, sizeof detail, "no role gives a login here");
    else if (target->kind == ROLE_KUBE && !is_subject(set, target, question->group))
        snprintf(detail, sizeof detail, "no role gives %s%s here",
                 question->group ? "the Kubernetes group " : "Kubernetes users or groups",
                 question->group ? question->group : "");
    else
        return TP_OK;
    return rbac_decide(decision, RBAC_NO_LOGIN, "", "", detail);
}

/* SSH is refused where a role wants others in the session. */
static enum tp_err alone(const struct rbac_set *set, struct rbac_decision *decision)
{
    const struct rbac_session session = {set, "", "ssh"};
    char role[sizeof decision->role];
    if (rbac_session_may_run(&session, NULL, 0, NULL, role, sizeof role))
        return TP_OK;
    *decision = (struct rbac_decision){.reason = RBAC_OTHERS_NEEDED};
    snprintf(decision->role, sizeof decision->role, "%s", role);
    snprintf(decision->section, sizeof decision->section, "allow");
    snprintf(decision->detail, sizeof decision->detail, "require_session_join");
    return TP_DENIED;
}

static enum tp_err ask_access(const struct rbac_question *question, const struct rbac_set *set,
                              const struct rbac_target *target, struct rbac_decision *decision)
{
    struct rbac_access access = {.login = question->login, .mfa_verified = true, .device_verified = true};
    enum tp_err answer = rbac_access(set, target, &access, decision);
    if (!answer)
        answer = as_somebody(question, set, target, &access, decision);
    if (!answer && target->kind == ROLE_NODE)
        answer = alone(set, decision);
    return answer;
}

/* About a kind as a whole: is it allowed for some of it? */
static enum tp_err ask(const struct rbac_question *question, const struct rbac_set *set,
                       const struct rbac_target *target, struct rbac_decision *decision)
{
    struct rbac_context context = {.resource = question->resource};
    if (question->access)
        return ask_access(question, set, target, decision);
    return question->name ? rbac_rule(set, question->verb, question->kind, &context, decision)
                          : rbac_rule_possible(set, question->verb, question->kind, decision);
}

/* Does it depend on the object, of which none was named? */
static bool is_conditional(const struct rbac_question *question, const struct rbac_set *set)
{
    return !question->name && rbac_rule(set, question->verb, question->kind, NULL, NULL) != TP_OK;
}

/* What each role says by itself. */
static json_t *role_answers(const struct rbac_question *question, struct role *const roles[], size_t count,
                            const struct user *user, const struct rbac_target *target)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        struct rbac_set *set = set_of(&roles[i], 1, user, RBAC_WITHOUT_IMPLICIT_ROLE);
        struct rbac_decision decision = {.reason = RBAC_NO_GRANT};
        enum tp_err answer = ask(question, set, target, &decision);
        bool denies = strcmp(decision.section, "deny") == 0;
        rbac_why_not(question, set, target, &decision);
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "role", role_name(roles[i]), "answer",
                                              answer == TP_OK ? "allow"
                                              : denies        ? "deny"
                                                              : "none",
                                              "section", decision.section, "reason", rbac_reason_name(decision.reason),
                                              "detail", decision.detail));
        rbac_set_free(set);
    }
    return list;
}

static const char *mfa_word(const struct rbac_decision *decision)
{
    return decision->hardware_key ? "hardware_key" : decision->mfa ? "code" : "none";
}

json_t *rbac_explain(const struct rbac_question *question, struct role *const roles[], size_t count,
                     const struct user *user, const char *lock)
{
    struct rbac_set *set = set_of(roles, count, user, 0);
    struct rbac_decision decision = {.reason = RBAC_NO_GRANT};
    struct rbac_target target = {.kind = question->target, .name = question->name};
    struct rbac_label *labels = rbac_labels_from_json(
        json_object_get(json_object_get(question->resource, "metadata"), "labels"),
        json_object_get(json_object_get(question->resource, "spec"), "cmd_labels"), &target.label_count);
    bool gone = user_locked(user, question->at_ms) || (user->expires_ms && question->at_ms >= user->expires_ms);
    json_t *answer;
    target.labels = labels;
    enum tp_err result = ask(question, set, &target, &decision);
    if (lock || gone) {
        result = TP_DENIED;
        decision = (struct rbac_decision){.reason = RBAC_NO_GRANT};
        snprintf(decision.detail, sizeof decision.detail, "%s%.100s", lock ? "lock " : "the user is locked or expired",
                 lock ? lock : "");
    }
    answer = json_pack("{s:s, s:s, s:s, s:s*, s:s*, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:o}", "user", user->name,
                       "verb", question->verb, "kind", question->kind, "name", question->name, "login", question->login,
                       "decision", result == TP_OK ? "allow" : "deny", "reason",
                       lock || gone ? "locked" : rbac_reason_name(decision.reason), "role", decision.role, "section",
                       decision.section, "detail", decision.detail, "conditional",
                       result == TP_OK && is_conditional(question, set), "mfa", mfa_word(&decision), "roles",
                       role_answers(question, roles, count, user, &target));
    rbac_set_free(set);
    mem_free(labels);
    return answer;
}

#include "rbac/role_private.h"

#include <stdio.h>
#include <string.h>

struct question {
    const struct rbac_set *set;
    const char *verb;
    const char *kind;
    const struct rbac_context *context;
    bool guess; /* `where` counts as true in allow and false in deny */
};

static bool verb_matches(const struct role_rule *rule, const char *verb)
{
    return names_has(&rule->verbs, verb) || names_has(&rule->verbs, "*") ||
           (strcmp(verb, "readnosecrets") == 0 && names_has(&rule->verbs, "read"));
}

/* Does the rule apply? What cannot be told denies: a failed `where` is false in allow and true in deny. */
static bool rule_applies(const struct question *question, const struct role_rule *rule, bool deny)
{
    struct pred_env env = {.user = question->set->user, .context = question->context, .absent_fails = !deny};
    if (!verb_matches(rule, question->verb) || rule->broken)
        return false;
    if (!rule->where)
        return true;
    if (question->guess)
        return !deny;
    return deny ? pred_eval(rule->where, &env) != PRED_FALSE : pred_eval(rule->where, &env) == PRED_TRUE;
}

/* The rules of one section are sorted by how specific they are; those that name the kind go before those of "*". */
static const struct role_rule *find_rule(const struct question *question, const struct role_section *section, bool deny)
{
    const char *const names[] = {question->kind, "*"};
    const char *name_space = question->context ? question->context->name_space : NULL;
    if (!names_has(&section->namespaces, "*") && !names_has(&section->namespaces, name_space ? name_space : "default"))
        return NULL;
    for (size_t pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < section->rule_count; i++)
            if (names_has(&section->rules[i].kinds, names[pass]) && rule_applies(question, &section->rules[i], deny))
                return &section->rules[i];
    return NULL;
}

static enum tp_err found(struct rbac_decision *decision, const struct question *question, const struct role *role,
                         const struct role_rule *rule, bool deny)
{
    char detail[sizeof decision->detail];
    if (!decision)
        return deny ? TP_DENIED : TP_OK;
    if (rule->where)
        snprintf(detail, sizeof detail, "rule on \"%s\" where %s", question->kind, pred_text(rule->where));
    else
        snprintf(detail, sizeof detail, "rule on \"%s\"", question->kind);
    return rbac_decide(decision, deny ? RBAC_DENIED_BY_RULE : RBAC_GRANTED, role->name, deny ? "deny" : "allow",
                       detail);
}

static enum tp_err decide(const struct question *question, struct rbac_decision *decision)
{
    const struct rbac_set *set = question->set;
    /* Names compare byte for byte, so an unknown verb or a wildcard as a question can only be denied. */
    if (!names_listed(rbac_verbs, question->verb) || !*question->kind || strcmp(question->kind, "*") == 0)
        return rbac_decide(decision, RBAC_BAD_INPUT, "", "", "");
    for (size_t i = 0; i < set->count; i++) {
        const struct role_rule *rule = find_rule(question, &set->roles[i].role->deny, true);
        if (rule)
            return found(decision, question, set->roles[i].role, rule, true);
    }
    for (size_t i = 0; i < set->count; i++) {
        const struct role_rule *rule = find_rule(question, &set->roles[i].role->allow, false);
        if (rule)
            return found(decision, question, set->roles[i].role, rule, false);
    }
    return rbac_decide(decision, RBAC_NO_GRANT, "", "", "");
}

static enum tp_err ask(const struct question *question, struct rbac_decision *decision)
{
    enum tp_err result;
    if (decision)
        *decision = (struct rbac_decision){.reason = RBAC_NO_GRANT};
    result = decide(question, decision);
    if (decision && result == TP_OK)
        snprintf(decision->text, sizeof decision->text, "action \"%s\" on \"%s\" allowed", question->verb,
                 question->kind);
    else if (decision)
        snprintf(decision->text, sizeof decision->text, "access denied to perform action \"%s\" on \"%s\"",
                 question->verb, question->kind);
    return result;
}

enum tp_err rbac_rule(const struct rbac_set *set, const char *verb, const char *kind,
                      const struct rbac_context *context, struct rbac_decision *ret_decision)
{
    struct question question = {set, verb, kind, context, false};
    return ask(&question, ret_decision);
}

enum tp_err rbac_rule_possible(const struct rbac_set *set, const char *verb, const char *kind,
                               struct rbac_decision *ret_decision)
{
    struct question question = {set, verb, kind, NULL, true};
    return ask(&question, ret_decision);
}

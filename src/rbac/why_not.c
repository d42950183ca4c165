/* What a role lacks that does not grant: the first label that differs, the logins that it gives instead, the condition of a rule. */
#include "rbac/why_not.h"

#include "base/mem.h"
#include "rbac/role_private.h"

#include <stdio.h>
#include <string.h>

static void no_labels(const struct set_section *section, const struct rbac_target *target, char *out, size_t size)
{
    const struct label_selector *selector = &section->labels[target->kind];
    const struct role_expression *expression = &section->from->expressions[target->kind];
    const char *here = NULL;
    const char *key = label_miss(selector, target->labels, target->label_count, &here);
    if (!set_section_in_namespace(section, target))
        snprintf(out, size, "its namespaces are others");
    else if (key)
        snprintf(out, size, "%s: %s is %.100s here", role_label_keys[target->kind],
                 *key ? key : "a key that no trait fills", here ? here : "not set");
    else if (expression->pred || expression->broken)
        snprintf(out, size, "%s is not true here", role_expression_keys[target->kind]);
    else
        snprintf(out, size, "no %s", role_label_keys[target->kind]);
}

static void other_logins(const struct set_section *section, char *out, size_t size)
{
    size_t used =
        (size_t)snprintf(out, size, "%s", section->logins.count > 0 ? "its logins are" : "it gives no logins");
    for (size_t i = 0; i < section->logins.count && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s %s", i > 0 ? "," : "", section->logins.items[i]);
}

void rbac_why_not(const struct rbac_question *question, const struct rbac_set *set, const struct rbac_target *target,
                  struct rbac_decision *decision)
{
    const struct set_section *allow = &set->roles[0].allow;
    struct rbac_decision possible;
    char why[sizeof decision->detail] = "";
    if (decision->reason == RBAC_NO_LABELS)
        no_labels(allow, target, why, sizeof why);
    else if (decision->reason == RBAC_NO_LOGIN && question->login)
        other_logins(allow, why, sizeof why);
    else if (decision->reason == RBAC_NO_GRANT &&
             rbac_rule_possible(set, question->verb, question->kind, &possible) == TP_OK)
        snprintf(why, sizeof why, "%.200s does not hold here", possible.detail);
    else
        return;
    (void)!rbac_decide(decision, decision->reason, "", "", why);
}

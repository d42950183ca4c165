/* Part of rbac/explain.h: why one role does not grant. */
#ifndef RBAC_WHY_NOT_H
#define RBAC_WHY_NOT_H

#include "rbac/explain.h"

/* Puts into decision->detail what is missing, when decision, which is that of a set of one role, neither grants nor denies.
 * target: what access is asked to; not looked at for a rule. */
void rbac_why_not(const struct rbac_question *question, const struct rbac_set *set, const struct rbac_target *target,
                  struct rbac_decision *decision);

#endif

/*
 * Why, and who: the question of `tportctl access explain` and `access who`, and of the panel beside users and roles in the
 * browser. One answer for all of them, by the decision that lets people in.
 */
#ifndef RBAC_EXPLAIN_H
#define RBAC_EXPLAIN_H

#include "rbac/rbac.h"
#include "rbac/user.h"

struct rbac_question {
    const char *verb;
    const char *kind;       /* "node", "kube_cluster", "role" */
    const char *name;       /* of the resource, or NULL */
    const char *login;      /* on a server, or NULL: any */
    const char *group;      /* in Kubernetes, or NULL: any */
    const json_t *resource; /* the resource: metadata.labels and spec.cmd_labels decide; or NULL */
    int64_t at_ms;          /* Unix milliseconds: who is locked or has expired then */
    bool access;            /* set by rbac_question_read: reach the resource; else the rules on its kind are asked */
    enum role_target target;
};

/* Fills in verb, kind, name, access and target; the rest is empty. Texts are borrowed. verb is "access" (also "connect",
 * "ssh") or a verb of rules. TP_INVALID with a sentence: an unknown verb, or access without a resource that can be reached. */
enum tp_err rbac_question_read(const char *verb, const char *kind, const char *name, struct rbac_question *ret_question,
                               struct tp_error *error) TP_MUST;

/* As whom he would reach it: a login on a node, or a Kubernetes group on a cluster; each may be NULL and is borrowed.
 * TP_INVALID when the question is about another kind of thing. */
enum tp_err rbac_question_as(struct rbac_question *question, const char *login, const char *group,
                             struct tp_error *error) TP_MUST;

/* The answer: {user, verb, kind, name?, login?, decision "allow" or "deny", reason, role, section, detail, conditional, roles};
 * conditional: about a kind as a whole, allowed for those of it for which the rule's condition holds. roles has {role, answer
 * "allow", "deny" or "none", section, reason, detail} of each by itself; detail of "none" is what is missing. roles: those of the user that are in
 * force. lock: what locks him, named for people, or NULL. The caller json_decref's it. */
json_t *rbac_explain(const struct rbac_question *question, struct role *const roles[], size_t count,
                     const struct user *user, const char *lock) TP_MUST;

#endif

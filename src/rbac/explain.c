#include "rbac/role_private.h"

#include "base/buf.h"

/* What one section of one role says to the target and login, as a line; nothing when it says nothing. */
static void explain_section(const struct rbac_set *set, const struct set_role *one, const struct rbac_target *target,
                            const char *login, bool deny, struct buf *out)
{
    const struct set_section *section = deny ? &one->deny : &one->allow;
    char detail[256] = "";
    bool selects;
    bool has_login = !login || names_has(&section->logins, login) || (deny && names_has(&section->logins, "*"));
    if (!section->any)
        return;
    if (!set_section_in_namespace(section, target)) {
        buf_printf(out, "  role %s: %s is for other namespaces\n", one->role->name, deny ? "deny" : "allow");
        return;
    }
    selects = set_section_selects(set, section, target, deny, detail, sizeof detail);
    if (deny && selects)
        buf_printf(out, "  role %s: deny matches by %s\n", one->role->name, detail);
    else if (deny && login && has_login)
        buf_printf(out, "  role %s: deny has the login %s\n", one->role->name, login);
    else if (!deny && !selects)
        buf_printf(out, "  role %s: its %s do not match\n", one->role->name, role_label_keys[target->kind]);
    else if (!deny && !has_login)
        buf_printf(out, "  role %s: allows it by %s, but not the login %s\n", one->role->name, detail, login);
    else if (!deny)
        buf_printf(out, "  role %s: allows it by %s%s%s\n", one->role->name, detail, login ? " with login " : "",
                   login ? login : "");
}

char *rbac_explain(const struct rbac_set *set, const struct rbac_target *target, const struct rbac_access *access)
{
    struct rbac_decision decision;
    struct buf out;
    enum tp_err result = rbac_access(set, target, access, &decision);
    buf_init(&out, 256 * 1024);
    buf_printf(&out, "%s: user %s to %s %s%s%s (%s)\n", result == TP_OK ? "allowed" : "denied", set->user_name,
               role_target_name(target->kind), target->name ? target->name : "", access->login ? " as " : "",
               access->login ? access->login : "", rbac_reason_name(decision.reason));
    if (*decision.role)
        buf_printf(&out, "decided by role %s, spec.%s: %s\n", decision.role, decision.section, decision.detail);
    if ((unsigned)target->kind < ROLE_TARGET_COUNT) {
        for (size_t i = 0; i < set->count; i++) {
            explain_section(set, &set->roles[i], target, access->login, true, &out);
            explain_section(set, &set->roles[i], target, access->login, false, &out);
        }
    }
    return buf_take(&out);
}

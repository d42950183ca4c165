/* Lists of several roles as one. */
#include "rbac/values.h"

#include "rbac/role_private.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *key;
    enum role_list list;
} lists[] = {{"logins", ROLE_LOGINS},
             {"windows_logins", ROLE_WINDOWS_LOGINS},
             {"windows_desktop_logins", ROLE_WINDOWS_LOGINS},
             {"kube_groups", ROLE_KUBE_GROUPS},
             {"kubernetes_groups", ROLE_KUBE_GROUPS},
             {"kube_users", ROLE_KUBE_USERS},
             {"kubernetes_users", ROLE_KUBE_USERS},
             {"db_names", ROLE_DB_NAMES},
             {"db_users", ROLE_DB_USERS},
             {"db_roles", ROLE_DB_ROLES},
             {"aws_role_arns", ROLE_AWS_ARNS},
             {"azure_identities", ROLE_AZURE},
             {"gcp_service_accounts", ROLE_GCP},
             {"host_groups", ROLE_HOST_GROUPS},
             {"host_sudoers", ROLE_HOST_SUDOERS},
             {"desktop_groups", ROLE_DESKTOP_GROUPS}};

#define LISTS (sizeof lists / sizeof *lists)

static size_t find_list(const char *key)
{
    size_t at = 0;
    while (at < LISTS && strcmp(lists[at].key, key) != 0)
        at++;
    return at;
}

bool rbac_list_known(const char *key)
{
    return find_list(key) < LISTS;
}

/* Lists whose denials are bound to the deny labels; the denials of all others hold everywhere. */
static bool deny_by_labels(enum role_list which)
{
    return which == ROLE_HOST_GROUPS || which == ROLE_HOST_SUDOERS || which == ROLE_DB_ROLES ||
           which == ROLE_DESKTOP_GROUPS;
}

static bool in_list(const struct names *names, const char *text, bool fold)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], "*") == 0 ||
            (fold ? strcasecmp(names->items[i], text) : strcmp(names->items[i], text)) == 0)
            return true;
    return false;
}

static int by_role_name(const void *a, const void *b)
{
    const struct set_role *left = *(const struct set_role *const *)a;
    const struct set_role *right = *(const struct set_role *const *)b;
    int order = strcmp(left->role->name, right->role->name);
    return order ? order : (left > right) - (left < right);
}

/* The expanded list of one section. Logins were expanded with the set, and only valid ones are left. */
static void expand(const struct rbac_set *set, const struct set_section *section, enum role_list which,
                   struct names *out)
{
    if (which != ROLE_LOGINS) {
        template_list_expand(&section->from->lists[which], set->traits, out);
        return;
    }
    for (size_t i = 0; i < section->logins.count; i++)
        names_add(out, section->logins.items[i]);
}

static bool selects(const struct rbac_set *set, const struct set_section *section, const struct rbac_target *target,
                    bool deny)
{
    return set_section_in_namespace(section, target) && set_section_selects(set, section, target, deny, NULL, 0);
}

static void collect(const struct rbac_set *set, const struct set_role *const *roles, enum role_list which,
                    const struct rbac_target *target, int64_t ttl_ms, struct names *allowed, struct names *denied)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct set_role *one = roles[i];
        if (one->role->options.max_session_ttl_ms >= ttl_ms && (!target || selects(set, &one->allow, target, false)))
            expand(set, &one->allow, which, allowed);
        if (!target || !deny_by_labels(which) || selects(set, &one->deny, target, true))
            expand(set, &one->deny, which, denied);
    }
}

json_t *rbac_list(const struct rbac_set *set, const char *key, const struct rbac_target *target, int64_t ttl_ms)
{
    size_t at = find_list(key);
    const struct set_role **roles;
    struct names allowed = {0};
    struct names denied = {0};
    json_t *out = json_array();
    enum role_list which;
    bool fold;
    if (at == LISTS) {
        json_decref(out);
        return NULL;
    }
    which = lists[at].list;
    fold = which == ROLE_GCP || which == ROLE_AZURE;
    roles = mem_array(set->count ? set->count : 1, sizeof *roles);
    for (size_t i = 0; i < set->count; i++) {
        roles[i] = &set->roles[i];
        if (which == ROLE_LOGINS && roles[i]->role->options.max_session_ttl_ms < ttl_ms)
            ttl_ms = roles[i]->role->options.max_session_ttl_ms;
    }
    qsort(roles, set->count, sizeof *roles, by_role_name);
    collect(set, roles, which, target, ttl_ms, &allowed, &denied);
    /* No login is of use where deny labels keep the person out. */
    for (size_t i = 0; target && which == ROLE_LOGINS && i < set->count; i++)
        if (selects(set, &set->roles[i].deny, target, true))
            names_free(&allowed);
    /* A certificate names denied logins too: each host looks at them itself. */
    if (!target && which == ROLE_LOGINS)
        names_free(&denied);
    if (which != ROLE_HOST_SUDOERS)
        names_sort(&allowed);
    for (size_t i = 0; i < allowed.count; i++)
        if (!in_list(&denied, allowed.items[i], fold))
            json_array_append_new(out, json_string(allowed.items[i]));
    for (size_t i = json_array_size(out); i-- > 0;)
        for (size_t j = 0; j < i; j++)
            if (json_equal(json_array_get(out, i), json_array_get(out, j))) {
                json_array_remove(out, i);
                break;
            }
    names_free(&allowed);
    names_free(&denied);
    mem_free(roles);
    return out;
}

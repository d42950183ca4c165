#include "rbac/role_private.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static void expand_section(const struct rbac_set *set, const struct role_section *from, struct set_section *section)
{
    struct names logins = {0};
    section->from = from;
    template_list_expand(&from->lists[ROLE_LOGINS], set->traits, &logins);
    /* The wildcard survives in deny only: parsing refuses it in allow, and a trait cannot bring it in. */
    for (size_t i = 0; i < logins.count; i++)
        if (role_login_valid(logins.items[i]) || strcmp(logins.items[i], "*") == 0)
            names_add(&section->logins, logins.items[i]);
    names_free(&logins);
    for (size_t i = 0; i < ROLE_TARGET_COUNT; i++)
        label_expand(&from->labels[i], set->traits, &section->labels[i]);
}

static void drop_wildcard(struct names *logins)
{
    size_t kept = 0;
    for (size_t i = 0; i < logins->count; i++) {
        if (strcmp(logins->items[i], "*") == 0)
            mem_free(logins->items[i]);
        else
            logins->items[kept++] = logins->items[i];
    }
    logins->count = kept;
}

static bool has_lists(const struct set_section *section)
{
    for (size_t i = 0; i < ROLE_LIST_COUNT; i++)
        if (section->from->lists[i].count > 0)
            return true;
    return false;
}

static void index_section(const struct set_role *role, const struct set_section *section, size_t kind, bool deny,
                          struct set_entries *entries)
{
    const struct role_expression *expression = &section->from->expressions[kind];
    struct set_entry entry = {
        .role = role, .expression = expression->pred || expression->broken, .lists = deny && has_lists(section)};
    for (size_t i = 0; deny && i < section->logins.count; i++)
        entry.logins |= strcmp(section->logins.items[i], "*") == 0 ? UINT64_MAX : label_tag(section->logins.items[i]);
    if (section->labels[kind].count == 0 && !entry.expression && !entry.lists)
        return;
    /* Of no use without labels: then only lists or the expression are looked at. */
    if (section->labels[kind].count > 0)
        entry.needed = label_tags_needed(&section->labels[kind]);
    else
        memset(&entry.needed, 0xff, sizeof entry.needed);
    entries->items[entries->count++] = entry;
}

static void index_set(struct rbac_set *set)
{
    for (size_t kind = 0; kind < ROLE_TARGET_COUNT; kind++) {
        set->allow[kind].items = mem_array(set->count ? set->count : 1, sizeof(struct set_entry));
        set->deny[kind].items = mem_array(set->count ? set->count : 1, sizeof(struct set_entry));
        for (size_t i = 0; i < set->count; i++) {
            index_section(&set->roles[i], &set->roles[i].allow, kind, false, &set->allow[kind]);
            index_section(&set->roles[i], &set->roles[i].deny, kind, true, &set->deny[kind]);
        }
    }
}

static json_t *make_user(const struct rbac_set *set, const struct rbac_user *user)
{
    json_t *roles = user->roles ? json_deep_copy(user->roles) : json_array();
    for (size_t i = 0; !user->roles && i < set->count; i++)
        if (!set->roles[i].implicit)
            json_array_append_new(roles, json_string(set->roles[i].role->name));
    return json_pack("{s:{s:s,s:O*},s:{s:o,s:O}}", "metadata", "name", set->user_name, "labels", user->labels, "spec",
                     "roles", roles, "traits", set->traits);
}

json_t *rbac_set_user(const struct rbac_set *set)
{
    return json_deep_copy(set->user);
}

/* Lists only, each of texts: what predicates and templates may rely on. */
static json_t *copy_traits(const json_t *traits)
{
    json_t *copy = json_object();
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)traits, key, value) {
        json_t *list = json_array();
        size_t count = json_is_array(value) ? json_array_size(value) : 1;
        for (size_t i = 0; i < count; i++) {
            json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
            if (json_is_string(item))
                json_array_append(list, item);
        }
        json_object_set_new(copy, key, list);
    }
    return copy;
}

struct rbac_set *rbac_set_new(struct role *const roles[], size_t count, const struct rbac_user *user, unsigned flags)
{
    struct rbac_set *set = mem_alloc(sizeof *set);
    bool implicit = !(flags & RBAC_WITHOUT_IMPLICIT_ROLE);
    set->user_name = mem_strdup(user->name ? user->name : "");
    set->traits = copy_traits(user->traits);
    set->roles = mem_array(count + 1, sizeof *set->roles);
    for (size_t i = 0; i < count; i++)
        set->roles[set->count++].role = role_ref(roles[i]);
    if (implicit) {
        set->roles[set->count].implicit = true;
        set->roles[set->count++].role = role_implicit();
    }
    for (size_t i = 0; i < set->count; i++) {
        struct set_role *one = &set->roles[i];
        expand_section(set, &one->role->allow, &one->allow);
        expand_section(set, &one->role->deny, &one->deny);
        drop_wildcard(&one->allow.logins);
    }
    index_set(set);
    set->user = make_user(set, user);
    if (!set->user) /* a name that is not UTF-8 */
        set->user = json_object();
    return set;
}

static void section_free(struct set_section *section)
{
    names_free(&section->logins);
    for (size_t i = 0; i < ROLE_TARGET_COUNT; i++)
        label_free(&section->labels[i]);
}

void rbac_set_free(struct rbac_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->count; i++) {
        section_free(&set->roles[i].allow);
        section_free(&set->roles[i].deny);
        role_unref(set->roles[i].role);
    }
    for (size_t kind = 0; kind < ROLE_TARGET_COUNT; kind++) {
        mem_free(set->allow[kind].items);
        mem_free(set->deny[kind].items);
    }
    mem_free(set->roles);
    mem_free(set->user_name);
    json_decref(set->user);
    json_decref(set->traits);
    mem_free(set);
}

bool set_section_in_namespace(const struct set_section *section, const struct rbac_target *target)
{
    const struct names *list = &section->from->namespaces;
    return names_has(list, "*") || names_has(list, target->name_space ? target->name_space : "default");
}

static enum pred_result ask_expression(const struct rbac_set *set, const struct role_expression *expression,
                                       const struct rbac_target *target)
{
    struct pred_env env = {.user = set->user, .labels = target->labels, .label_count = target->label_count};
    return expression->broken ? PRED_FAILED : pred_eval(expression->pred, &env);
}

bool set_section_selects(const struct rbac_set *set, const struct set_section *section,
                         const struct rbac_target *target, bool deny, char *ret_detail, size_t size)
{
    const struct role_expression *expression = &section->from->expressions[target->kind];
    const struct label_selector *selector = &section->labels[target->kind];
    bool has_expression = expression->pred || expression->broken;
    const char *key = NULL;
    const char *value = NULL;
    enum label_result labels = label_match(selector, target->labels, target->label_count, &key, &value);
    bool by_labels = deny ? labels != LABEL_NO : labels == LABEL_YES;
    if (ret_detail && by_labels)
        snprintf(ret_detail, size, "%s %s=%s", role_label_keys[target->kind], key ? key : "", value ? value : "");
    /* Allow: both that are set must hold. Deny: either. */
    if (has_expression && (deny ? !by_labels : by_labels || selector->count == 0)) {
        enum pred_result answer = ask_expression(set, expression, target);
        if (ret_detail)
            snprintf(ret_detail, size, "%s", role_expression_keys[target->kind]);
        return deny ? answer != PRED_FALSE : answer == PRED_TRUE;
    }
    return by_labels;
}

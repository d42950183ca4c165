/* Short ways to roles and sets for the tests of rbac. */
#ifndef TEST_RBAC_HELP_H
#define TEST_RBAC_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "rbac/rbac.h"

#include <string.h>

/* A role v5 with this spec (YAML flow style). */
__attribute__((unused)) static struct role *role_of(const char *version, const char *name, const char *spec)
{
    char *text = mem_printf("{kind: role, version: %s, metadata: {name: %s}, spec: %s}", version, name, spec);
    struct role *role = NULL;
    struct tp_error error = {0};
    if (role_parse_text(text, strlen(text), "test", ROLE_WRITTEN, &role, &error))
        fail_msg("%s: %s", text, error.text);
    mem_free(text);
    return role;
}

__attribute__((unused)) static struct role *role_from_file(const char *path)
{
    char *whole = mem_printf("%s/%s", TPORT_SOURCE_DIR, path);
    static char text[65536];
    struct tp_error error = {0};
    struct role *role = NULL;
    FILE *file = fopen(whole, "r");
    size_t size;
    assert_non_null(file);
    size = fread(text, 1, sizeof text, file);
    fclose(file);
    if (role_parse_text(text, size, whole, ROLE_WRITTEN, &role, &error))
        fail_msg("%s", error.text);
    mem_free(whole);
    return role;
}

/* A set of v5 roles given by their specs; traits as JSON or NULL. */
__attribute__((unused)) static struct rbac_set *set_of_version(const char *version, const char *user,
                                                               const char *traits, const char *const *specs)
{
    struct role *roles[16];
    size_t count = 0;
    json_t *json = traits ? json_loads(traits, 0, NULL) : NULL;
    struct rbac_user who = {.name = user, .traits = json};
    struct rbac_set *set;
    assert_true(!traits || json);
    for (; specs && specs[count]; count++) {
        char name[16];
        snprintf(name, sizeof name, "role%zu", count);
        roles[count] = role_of(version, name, specs[count]);
    }
    set = rbac_set_new(roles, count, &who, 0);
    for (size_t i = 0; i < count; i++)
        role_unref(roles[i]);
    json_decref(json);
    return set;
}

#define SET(user, traits, ...) set_of_version("v5", user, traits, (const char *const[]){__VA_ARGS__, NULL})

/* "a=1 b=2" as labels; the text must outlive them. */
struct labels {
    char text[256];
    struct rbac_label items[16];
    size_t count;
};

__attribute__((unused)) static struct rbac_target target_of(struct labels *labels, enum role_target kind,
                                                            const char *text)
{
    char *rest = labels->text;
    char *word;
    snprintf(labels->text, sizeof labels->text, "%s", text);
    labels->count = 0;
    while ((word = strsep(&rest, " "))) {
        char *value = strchr(word, '=');
        if (!value)
            continue;
        *value = '\0';
        labels->items[labels->count++] = (struct rbac_label){word, value + 1};
    }
    return (struct rbac_target){.kind = kind, .name = "host", .labels = labels->items, .label_count = labels->count};
}

#endif

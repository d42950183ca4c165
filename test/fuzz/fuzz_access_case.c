/* A case file of `tportctl access test`, as anybody may write it: read and run, with an answer for each case. */
#include "base/mem.h"
#include "cli/tportctl/access_case.h"
#include "rbac/rbac.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_all(const struct node *list, const struct map *roles)
{
    for (size_t i = 0; i < list->count; i++) {
        struct access_outcome out;
        if (list->items[i]->kind != NODE_MAP)
            continue;
        access_case_run(list->items[i], roles, &out);
        if (out.result != ACCESS_PASS && !out.reason[0])
            __builtin_trap(); /* whatever does not pass says why */
        json_decref(out.expected);
        json_decref(out.got);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *yaml = rbac_preset_yaml("access");
    struct map *roles = map_new();
    struct role *role = NULL;
    struct node **documents = NULL;
    size_t count = 0;
    struct tp_error error = {0};
    if (role_parse_text(yaml, strlen(yaml), "access", ROLE_STORED, &role, &error))
        __builtin_trap();
    (void)map_set(roles, "access", role);
    if (node_parse((const char *)data, size, "cases", &documents, &count, &error) == TP_OK)
        for (size_t i = 0; i < count; i++)
            if (documents[i]->kind == NODE_LIST)
                run_all(documents[i], roles);
    for (size_t i = 0; i < count; i++)
        node_free(documents[i]);
    mem_free(documents);
    map_free(roles);
    role_unref(role);
    return 0;
}

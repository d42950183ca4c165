/* Bytes as a role document, written and stored; what parses is asked a few questions. */
#include "base/mem.h"
#include "rbac/rbac.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(struct role *role)
{
    json_t *traits = json_loads("{\"logins\":[\"admin\",\"*\"],\"email\":[\"a@b\"]}", 0, NULL);
    struct rbac_user user = {.name = "alice", .traits = traits};
    struct rbac_label label = {"env", "dev"};
    struct rbac_target node = {.kind = ROLE_NODE, .name = "n", .labels = &label, .label_count = 1};
    struct rbac_set *set = rbac_set_new(&role, 1, &user, 0);
    struct rbac_options options;
    struct rbac_decision decision;
    size_t count;
    struct rbac_login *logins = rbac_logins(set, &node, NULL, &count);
    for (size_t i = 0; i < count; i++)
        if (rbac_node_access(set, &node, logins[i].name, &decision) != TP_OK || !rbac_can_list(set, &node))
            __builtin_trap(); /* a login that is offered must be allowed, and its node listed */
    mem_free(logins);
    rbac_merge_options(set, NULL, &options);
    if (rbac_rule(set, "read", "session", NULL, &decision) == TP_OK &&
        rbac_rule_possible(set, "read", "session", NULL) != TP_OK)
        __builtin_trap(); /* what is allowed must be possible */
    rbac_set_free(set);
    json_decref(traits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (enum role_strict strict = ROLE_WRITTEN; strict <= ROLE_STORED; strict++) {
        struct role *role = NULL;
        struct tp_error error = {0};
        if (role_parse_text((const char *)data, size, "fuzz", strict, &role, &error) == TP_OK) {
            ask(role);
            role_unref(role);
        } else if (error.text[0] == '\0') {
            __builtin_trap();
        }
    }
    return 0;
}

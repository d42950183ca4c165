/* Bytes as a predicate, parsed and evaluated in both ways. */
#include "base/mem.h"
#include "rbac/pred.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_strndup((const char *)data, size);
    static const enum pred_dialect dialects[] = {PRED_WHERE, PRED_LABELS, PRED_ACTION};
    json_t *user = json_loads(
        "{\"metadata\":{\"name\":\"alice\"},\"spec\":{\"roles\":[\"a\"],\"traits\":{\"t\":[\"x\",\"y\"]}}}", 0, NULL);
    json_t *session = json_loads("{\"participants\":[\"alice\"],\"server_labels\":{\"env\":\"dev\"}}", 0, NULL);
    struct rbac_context context = {.session = session, .resource = user};
    struct rbac_label label = {"env", "dev"};
    for (size_t i = 0; i < 3; i++) {
        struct pred *pred = NULL;
        struct pred_env env = {.user = user, .context = &context, .labels = &label, .label_count = 1};
        if (pred_parse(text, dialects[i], &pred, NULL))
            continue;
        (void)!pred_eval(pred, &env);
        env.absent_fails = true;
        (void)!pred_eval(pred, &env);
        pred_free(pred);
    }
    json_decref(user);
    json_decref(session);
    mem_free(text);
    return 0;
}

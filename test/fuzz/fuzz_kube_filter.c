/* Answers of an API server: the first byte chooses list or watch, JSON or protobuf. Nothing that is named "hidden" may come
 * out of a list or an event that names it so. */
#include "base/json.h"
#include "base/mem.h"
#include "kube/kube_filter.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static char *same(void *ctx, const char *token)
{
    (void)ctx;
    return mem_strdup(token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] =
        "{\"allowed\": [{\"kind\": \"pods\", \"api_group\": \"\", \"namespace\": \"*\", \"name\": "
        "\"*\", \"verbs\": [\"*\"]}], \"denied\": [{\"kind\": \"pods\", \"api_group\": \"\", "
        "\"namespace\": \"*\", \"name\": \"hidden\", \"verbs\": [\"*\"]}]}";
    static const struct kube_filter_pages pages = {same, same, NULL};
    struct rbac_kube_rules *rules = NULL;
    struct kube_request *request = NULL;
    struct kube_filter *filter = NULL;
    struct buf out;
    if (size < 2)
        return 0;
    json_t *json = json_loads(text, 0, NULL);
    enum tp_err err = rbac_kube_rules_new(json, &rules, NULL);
    if (!err)
        err = kube_request_parse("GET", "/api/v1/pods", data[0] & 1 ? "watch=1" : NULL, &request, NULL);
    if (!err)
        err = kube_filter_new(rules, request, data[0] & 2 ? "application/vnd.kubernetes.protobuf" : "application/json",
                              &pages, &filter, NULL);
    buf_init(&out, 0);
    size_t step = (size_t)(data[0] >> 2) + 1;
    for (size_t at = 1; at < size && !err; at += step)
        err = kube_filter_feed(filter, data + at, size - at < step ? size - at : step, &out, NULL);
    if (!err)
        err = kube_filter_end(filter, &out, NULL);
    if (!err && !(data[0] & 3)) {
        /* A list that came through is one still, but for what the filter does not look at: bytes that are no UTF-8, numbers
         * that are too large. */
        json_t *again = json_loadb((const char *)buf_head(&out), buf_size(&out), JSON_ALLOW_NUL, NULL);
        json_t *was = json_loadb((const char *)data + 1, size - 1, JSON_ALLOW_NUL, NULL);
        json_t *item;
        size_t i;
        if (was && !again)
            abort();
        json_decref(was);
        json_array_foreach (json_object_get(again, "items"), i, item) {
            const char *name = json_string_value(json_object_get(json_object_get(item, "metadata"), "name"));
            const char *kind = json_string_value(json_object_get(again, "kind"));
            if (name && strcmp(name, "hidden") == 0 &&
                !(kind && (strcmp(kind, "Status") == 0 || strcmp(kind, "Table") == 0)))
                abort();
        }
        json_decref(again);
    }
    buf_free(&out);
    kube_filter_free(filter);
    kube_request_free(request);
    rbac_kube_rules_free(rules);
    json_decref(json);
    return 0;
}

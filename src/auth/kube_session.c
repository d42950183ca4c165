/* What is particular to the events of Kubernetes sessions. */
#include "auth/inner.h"
#include "auth/kube.h"
#include "auth/live.h"

#include <string.h>

#define LIST_MAX 16384 /* bytes, of all names in it */
#define FIELD_MAX 512  /* bytes; names of Kubernetes objects have at most 253, images somewhat more */

void kube_event_cluster(const struct live *live, json_t *event)
{
    if (strcmp(live->service, "kube") == 0) {
        json_object_set_new(event, "kubernetes_cluster", json_string(live->target));
    }
}

static size_t size_of(const json_t *texts)
{
    size_t size = 0;
    size_t i;
    json_t *text;
    json_array_foreach (texts, i, text) {
        size += json_string_length(text);
    }
    return size;
}

void kube_session_fields(const json_t *from, json_t *to)
{
    static const char *const names[] = {"kubernetes_pod_name", "kubernetes_pod_namespace", "kubernetes_container_name",
                                        "kubernetes_container_image", "kubernetes_node_name"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_t *value = json_object_get(from, names[i]);
        if (json_is_string(value) && json_string_length(value) <= FIELD_MAX) {
            json_object_set(to, names[i], value);
        }
    }
    /* As whom: what the agent says it set, out of what the grant allows. */
    static const char *const lists[] = {"kubernetes_users", "kubernetes_groups"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        json_t *value = json_object_get(from, lists[i]);
        struct tp_error ignored = {0};
        if (value != NULL && doc_text_list(value, lists[i], 256, &ignored) == TP_OK && size_of(value) <= LIST_MAX) {
            json_object_set(to, lists[i], value);
        }
    }
}

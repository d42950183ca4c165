/* What the cluster knows about a pod that somebody enters: its node, and the container's name and image. Asked in the
 * person's name, so it says nothing that he may not see. */
#include "agent/kube_priv.h"

#include "base/mem.h"

#include <string.h>

#define POD_MS 3000
#define POD_MAX ((size_t)1024 * 1024)

struct kube_pod {
    struct kube_fetch *fetch;
    char *container; /* asked for; "" is the first one */
    kube_pod_cb *fn;
    void *ctx;
};

void kube_pod_cancel(struct kube_pod *pod)
{
    if (pod == NULL) {
        return;
    }
    kube_fetch_cancel(pod->fetch);
    mem_free(pod->container);
    mem_free(pod);
}

static const json_t *find_container(const json_t *spec, const char *name)
{
    static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};
    for (size_t l = 0; l < sizeof(lists) / sizeof(lists[0]); l++) {
        size_t i;
        json_t *item;
        json_array_foreach (json_object_get(spec, lists[l]), i, item) {
            if (name[0] == '\0' || strcmp(json_get_text(item, "name", ""), name) == 0) {
                return item;
            }
        }
    }
    return NULL;
}

static void on_answer(void *ctx, int status, const uint8_t *body, size_t size)
{
    struct kube_pod *pod = ctx;
    struct kube_pod_facts facts = {.node = "", .container = pod->container, .image = ""};
    struct tp_error error = {0};
    json_t *json = NULL;
    pod->fetch = NULL;
    if (status == 200 && json_parse_object(body, size, POD_MAX, &json, &error) == TP_OK) {
        const json_t *spec = json_object_get(json, "spec");
        const json_t *container = find_container(spec, pod->container);
        facts.node = json_get_text(spec, "nodeName", "");
        facts.container = json_get_text(container, "name", pod->container);
        facts.image = json_get_text(container, "image", "");
    }
    pod->fn(pod->ctx, &facts);
    json_decref(json);
    kube_pod_cancel(pod);
}

struct kube_pod *kube_pod_ask(struct loop *loop, struct kube_cluster *cluster, const char *identity,
                              const char *namespace, const char *name, const char *container, kube_pod_cb *fn,
                              void *ctx)
{
    struct kube_pod *pod = mem_alloc(sizeof(*pod));
    char *path = mem_printf("/api/v1/namespaces/%s/pods/%s", namespace, name);
    struct kube_fetch_request request = {
        .method = "GET",
        .path = path,
        .query = "resourceVersion=0", /* as the API server's cache knows it: a pod never moves, and etcd is not asked */
        .identity = identity,
        .limit = POD_MAX,
        .within_ms = POD_MS};
    pod->fn = fn;
    pod->ctx = ctx;
    pod->container = mem_strdup(container);
    pod->fetch = kube_fetch_start(loop, cluster, &request, on_answer, pod);
    mem_free(path);
    if (pod->fetch == NULL) {
        kube_pod_cancel(pod);
        return NULL;
    }
    return pod;
}

/*
 * What the cluster knows about a pod that somebody enters: its node, and the container's name and image. Asked in the
 * person's name, so it says nothing that he may not see.
 *
 * An answer serves whoever enters the same pod in the same name within a second of the question: scripts enter one many
 * times, and no pod is deleted, made anew elsewhere and running so soon.
 */
#include "agent/kube_priv.h"

#include "base/mem.h"

#include <string.h>

#define POD_MS 3000
#define POD_MAX ((size_t)1024 * 1024)
#define FRESH_MS 1000
#define KEPT_MAX 64 /* answers; then the oldest is forgotten */

struct kube_pod {
    struct kube_pod *next, **prev;      /* in the list of who waits for one answer */
    struct kube_pod_question *question; /* NULL: it is answered */
    char *container;                    /* asked for; "" is the first one */
    kube_pod_cb *fn;
    void *ctx;
};

/* One question. */
struct kube_pod_question {
    struct kube *kube;
    struct kube_pod_question *next; /* the newest first */
    char *key;                      /* which pod, and in whose name (secret) */
    int64_t asked_ms;
    struct kube_fetch *fetch; /* NULL: answered */
    json_t *node;
    json_t *containers; /* [{name, image, tty}] */
    struct kube_pod *waiting;
};

static void question_free(struct kube_pod_question *question)
{
    struct kube_pod_question **at = &question->kube->pods;
    while (*at != question) {
        at = &(*at)->next;
    }
    *at = question->next;
    kube_fetch_cancel(question->fetch);
    secret_free(question->key);
    json_decref(question->node);
    json_decref(question->containers);
    mem_free(question);
}

void kube_pod_cancel(struct kube_pod *pod)
{
    if (pod == NULL) {
        return;
    }
    *pod->prev = pod->next;
    if (pod->next != NULL) {
        pod->next->prev = pod->prev;
    }
    if (pod->question != NULL && pod->question->waiting == NULL) {
        question_free(pod->question); /* nobody wants to know: no more questions are under way than connections */
    }
    mem_free(pod->container);
    mem_free(pod);
}

static bool is_fresh(const struct kube_pod_question *question)
{
    return loop_now_ms(question->kube->loop) - question->asked_ms < FRESH_MS;
}

/* Forgets answers that are old, and the oldest of too many. */
static void sweep(struct kube *kube)
{
    size_t count = 0;
    struct kube_pod_question *next;
    for (struct kube_pod_question *question = kube->pods; question != NULL; question = next) {
        next = question->next;
        if (question->fetch == NULL && (!is_fresh(question) || ++count > KEPT_MAX)) {
            question_free(question);
        }
    }
}

static void on_sweep(void *ctx)
{
    struct kube *kube = ctx;
    sweep(kube);
    if (kube->pods == NULL) {
        timer_stop(kube->pods_sweep);
    }
}

void kube_pods_free(struct kube *kube)
{
    while (kube->pods != NULL) {
        question_free(kube->pods);
    }
    timer_free(kube->pods_sweep);
}

static json_t *containers_of(const json_t *spec)
{
    static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};
    json_t *all = json_array();
    for (size_t l = 0; l < sizeof(lists) / sizeof(lists[0]); l++) {
        size_t i;
        json_t *item;
        json_array_foreach (json_object_get(spec, lists[l]), i, item) {
            (void)json_array_append_new(all, json_pack("{s:s, s:s, s:b}", "name", json_get_text(item, "name", ""),
                                                       "image", json_get_text(item, "image", ""), "tty",
                                                       (int)json_get_bool(item, "tty", false)));
        }
    }
    return all;
}

static const json_t *find_container(const json_t *containers, const char *name)
{
    size_t i;
    json_t *item;
    json_array_foreach (containers, i, item) {
        if (name[0] == '\0' || strcmp(json_get_text(item, "name", ""), name) == 0) {
            return item;
        }
    }
    return NULL;
}

/* node, containers: what is known; NULL: nothing. */
static void tell(const json_t *node, const json_t *containers, const char *container, kube_pod_cb *fn, void *ctx)
{
    const json_t *found = find_container(containers, container);
    struct kube_pod_facts facts = {.node = node != NULL ? json_string_value(node) : "",
                                   .container = json_get_text(found, "name", container),
                                   .image = json_get_text(found, "image", ""),
                                   .no_terminal = found != NULL && !json_get_bool(found, "tty", false)};
    fn(ctx, &facts);
}

static void on_answer(void *ctx, int status, const uint8_t *body, size_t size)
{
    struct kube_pod_question *question = ctx;
    struct tp_error error = {0};
    json_t *json = NULL;
    question->fetch = NULL;
    if (status == 200 && json_parse_object(body, size, POD_MAX, &json, &error) == TP_OK) {
        const json_t *spec = json_object_get(json, "spec");
        question->node = json_string(json_get_text(spec, "nodeName", ""));
        question->containers = containers_of(spec);
        json_decref(json);
    }
    json_t *node = json_incref(question->node);
    json_t *containers = json_incref(question->containers);
    struct kube_pod *waiting = question->waiting;
    if (waiting != NULL) {
        waiting->prev = &waiting;
    }
    for (struct kube_pod *pod = waiting; pod != NULL; pod = pod->next) {
        pod->question = NULL;
    }
    question->waiting = NULL;
    if (node == NULL) {
        question_free(question); /* it may be told the next time */
    }
    while (waiting != NULL) {
        struct kube_pod pod = *waiting;
        waiting->container = NULL;
        kube_pod_cancel(waiting);
        tell(node, containers, pod.container, pod.fn, pod.ctx);
        mem_free(pod.container);
    }
    json_decref(node);
    json_decref(containers);
}

static struct kube_pod_question *find(const struct kube *kube, const char *key)
{
    for (struct kube_pod_question *question = kube->pods; question != NULL; question = question->next) {
        if (strcmp(question->key, key) == 0 && is_fresh(question)) {
            return question;
        }
    }
    return NULL;
}

/* NULL: it can't be asked. */
static struct kube_pod_question *ask(struct kube *kube, struct kube_cluster *cluster, const struct kube_pod_name *name)
{
    char *path = mem_printf("/api/v1/namespaces/%s/pods/%s", name->namespace, name->pod);
    struct kube_fetch_request request = {
        .method = "GET",
        .path = path,
        .query = "resourceVersion=0", /* as the API server's cache knows it: a pod never moves, and etcd is not asked */
        .identity = name->identity,
        .limit = POD_MAX,
        .within_ms = POD_MS};
    struct kube_pod_question *question = mem_alloc(sizeof(*question));
    question->kube = kube;
    question->asked_ms = loop_now_ms(kube->loop);
    question->fetch = kube_fetch_start(kube->loop, cluster, &request, on_answer, question);
    mem_free(path);
    if (question->fetch == NULL) {
        mem_free(question);
        return NULL;
    }
    question->next = kube->pods;
    kube->pods = question;
    if (kube->pods_sweep == NULL) {
        kube->pods_sweep = timer_new(kube->loop, on_sweep, kube);
    }
    if (!timer_is_active(kube->pods_sweep)) {
        timer_start(kube->pods_sweep, FRESH_MS, FRESH_MS);
    }
    return question;
}

struct kube_pod *kube_pod_ask(struct kube *kube, struct kube_cluster *cluster, const struct kube_pod_name *name,
                              kube_pod_cb *fn, void *ctx)
{
    char *key =
        mem_printf("%s\n%s\n%s\n%s", kube_cluster_conf(cluster)->name, name->namespace, name->pod, name->identity);
    sweep(kube);
    struct kube_pod_question *question = find(kube, key);
    if (question == NULL && (question = ask(kube, cluster, name)) != NULL) {
        question->key = key;
    } else {
        secret_free(key);
    }
    if (question != NULL && question->fetch == NULL) {
        tell(question->node, question->containers, name->container, fn, ctx);
    }
    if (question == NULL || question->fetch == NULL) {
        return NULL;
    }
    struct kube_pod *pod = mem_alloc(sizeof(*pod));
    pod->container = mem_strdup(name->container);
    pod->fn = fn;
    pod->ctx = ctx;
    pod->question = question;
    pod->prev = &question->waiting;
    pod->next = question->waiting;
    if (pod->next != NULL) {
        pod->next->prev = &pod->next;
    }
    question->waiting = pod;
    return pod;
}

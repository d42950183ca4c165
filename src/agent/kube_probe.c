#include "agent/kube_probe.h"
#include "agent/kube_priv.h"

#include "base/json.h"
#include "base/mem.h"

#include <string.h>

#define PATH "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
#define WITHIN_MS 15000 /* longer than an upstream takes to say why it can't be reached */
#define ANSWER_MAX ((size_t)64 * 1024)

/* What may be impersonated is a resource each (kubernetes.io, "Authenticating", user impersonation). */
static const char *const asked[] = {"users", "groups"};
#define ASKED (sizeof asked / sizeof asked[0])

struct probe_one {
    const struct kube_cluster_conf *conf;
    char *why; /* as it was told */
    bool told;
};

struct kube_probe {
    struct loop *loop;
    struct probe_one *list;
    size_t count;
    size_t at;       /* the one that is being asked */
    size_t question; /* of asked */
    struct kube_cluster *cluster;
    struct kube_fetch *fetch;
    struct timer *turn; /* the next question: not inside the answer to the last one */
    unsigned round;
    int64_t again_ms;
    kube_probe_cb *fn;
    void *ctx;
};

/* The cluster's answer is there. why is stolen. */
static void tell(struct kube_probe *probe, char *why)
{
    struct probe_one *one = &probe->list[probe->at];
    bool same = one->told && (why == NULL) == (one->why == NULL) && (why == NULL || strcmp(why, one->why) == 0);
    mem_free(one->why);
    one->why = why;
    one->told = true;
    probe->question = ASKED;
    if (!same) {
        probe->fn(probe->ctx, one->conf, why);
    }
}

/* NULL: yes. */
static char *refusal_of(const struct kube_cluster_conf *conf, const char *resource, int status, const uint8_t *body,
                        size_t size)
{
    json_t *answer = NULL;
    char *why = NULL;
    if (status == 0 && size > 0) {
        return mem_strndup((const char *)body, size);
    }
    if (status == 0) {
        return mem_printf("its API server (%s port %u) gives no answer", conf->host, (unsigned)conf->port);
    }
    if (status == 401) {
        return mem_strdup("its API server does not accept the credentials that the agent has for it");
    }
    if (status != 201 || json_parse_object(body, size, ANSWER_MAX, &answer, NULL) != TP_OK) {
        return mem_printf("its API server answers with status %d when asked whether the agent may impersonate people",
                          status);
    }
    if (!json_get_bool(json_object_get(answer, "status"), "allowed", false)) {
        why =
            mem_printf("the agent may not impersonate %s there; give its user a ClusterRole with the verb impersonate "
                       "on users and groups",
                       resource);
    }
    json_decref(answer);
    return why;
}

static void on_answer(void *ctx, int status, const uint8_t *body, size_t size)
{
    struct kube_probe *probe = ctx;
    char *why = refusal_of(probe->list[probe->at].conf, asked[probe->question], status, body, size);
    probe->fetch = NULL;
    if (why != NULL || ++probe->question == ASKED) {
        tell(probe, why);
    }
    timer_start(probe->turn, 0, 0);
}

static void ask(struct kube_probe *probe)
{
    struct tp_error error = {0};
    const char *authorization = NULL;
    struct buf identity;
    json_t *body = json_pack("{s:s, s:s, s:{s:{s:s, s:s}}}", "apiVersion", "authorization.k8s.io/v1", "kind",
                             "SelfSubjectAccessReview", "spec", "resourceAttributes", "verb", "impersonate", "resource",
                             asked[probe->question]);
    char *text = json_text(body);
    json_decref(body);
    buf_init(&identity, 0);
    if (kube_cluster_authorization(probe->cluster, &authorization, &error) == TP_OK &&
        (authorization == NULL || kube_put_header(&identity, "Authorization", authorization))) {
        const struct kube_fetch_request request = {.method = "POST",
                                                   .path = PATH,
                                                   .identity = buf_text(&identity),
                                                   .body_type = "application/json",
                                                   .body = text,
                                                   .body_size = strlen(text),
                                                   .limit = ANSWER_MAX,
                                                   .within_ms = WITHIN_MS};
        probe->fetch = kube_fetch_start(probe->loop, probe->cluster, &request, on_answer, probe);
    }
    buf_wipe(&identity);
    mem_free(text);
    if (probe->fetch == NULL) {
        tell(probe, mem_strdup(error.text[0] != '\0' ? error.text : "the credentials for it can't be read"));
        timer_start(probe->turn, 0, 0);
    }
}

static bool is_due(const struct kube_probe *probe, const struct probe_one *one)
{
    return one->conf->problem == NULL && (one->why != NULL || probe->round % KUBE_PROBE_ALL == 0);
}

/* at is the first that is due, from there on. */
static bool find_due(struct kube_probe *probe)
{
    while (probe->at < probe->count && !is_due(probe, &probe->list[probe->at])) {
        probe->at++;
    }
    return probe->at < probe->count;
}

static void on_turn(void *ctx)
{
    struct kube_probe *probe = ctx;
    if (probe->question == ASKED) {
        kube_cluster_free(probe->cluster);
        probe->cluster = NULL;
        probe->question = 0;
        probe->at++;
    }
    if (find_due(probe)) {
        if (probe->cluster == NULL) {
            probe->cluster = kube_cluster_new(probe->loop, probe->list[probe->at].conf);
        }
        ask(probe);
        return;
    }
    probe->at = 0;
    probe->round++;
    timer_start(probe->turn, probe->again_ms, 0);
}

struct kube_probe *kube_probe_start(struct loop *loop, const struct kube_cluster_conf *list, size_t count,
                                    int64_t again_ms, kube_probe_cb *fn, void *ctx)
{
    struct kube_probe *probe = mem_alloc(sizeof(*probe));
    probe->loop = loop;
    probe->list = mem_array(count, sizeof(*probe->list));
    probe->count = count;
    probe->again_ms = again_ms;
    probe->fn = fn;
    probe->ctx = ctx;
    for (size_t i = 0; i < count; i++) {
        probe->list[i].conf = &list[i];
    }
    probe->turn = timer_new(loop, on_turn, probe);
    timer_start(probe->turn, 0, 0);
    return probe;
}

void kube_probe_free(struct kube_probe *probe)
{
    if (probe == NULL) {
        return;
    }
    kube_fetch_cancel(probe->fetch);
    kube_cluster_free(probe->cluster);
    timer_free(probe->turn);
    for (size_t i = 0; i < probe->count; i++) {
        mem_free(probe->list[i].why);
    }
    mem_free(probe->list);
    mem_free(probe);
}

/* May the agent impersonate people in its clusters? */
#include "agent/kube_probe.h"
#include "kube_world.h"

#include "base/mem.h"

#include <string.h>

static struct {
    unsigned count;
    char *why; /* the last one */
    const struct kube_cluster_conf *of;
    char *all; /* names and reasons, a line each */
} told;
static unsigned expected;

static void on_probe(void *ctx, const struct kube_cluster_conf *conf, const char *why)
{
    (void)ctx;
    told.count++;
    mem_free(told.why);
    told.why = why != NULL ? mem_strdup(why) : NULL;
    told.of = conf;
    char *all = mem_printf("%s%s: %s\n", told.all != NULL ? told.all : "", conf->name, why != NULL ? why : "may");
    mem_free(told.all);
    told.all = all;
}

static bool is_told(struct world *world)
{
    (void)world;
    return told.count >= expected;
}

static bool is_asked(struct world *world)
{
    return strstr(api_got(world), "\"resource\":") != NULL;
}

static const char *answer;

static bool is_told_while_answering(struct world *world)
{
    if (is_asked(world)) {
        buf_clear(&world->api->got);
        api_say(world, answer);
    }
    return is_told(world);
}

#define SAYS(allowed)                                                            \
    "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: " \
    "28\r\n\r\n{\"status\":{\"allowed\":" allowed "}}"
#define YES SAYS("true ")
#define NO SAYS("false")

static struct kube_probe *begin(struct world *world, const struct kube_cluster_conf *list, size_t count)
{
    mem_free(told.why);
    mem_free(told.all);
    memset(&told, 0, sizeof told);
    expected = 1;
    return kube_probe_start(world->loop, list, count, 50, on_probe, NULL);
}

static void answers(struct world *world, const char *resource, const char *text)
{
    char *asks = mem_printf("\"verb\":\"impersonate\",\"resource\":\"%s\"", resource);
    run_until(world, is_asked);
    assert_true(has_count(api_got(world), "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews ", 1));
    assert_true(has_count(api_got(world), "Impersonate-", 0)); /* it asks for itself */
    assert_true(has_count(api_got(world), asks, 1));
    mem_free(asks);
    buf_clear(&world->api->got);
    api_say(world, text);
}

static void test_both_are_asked_and_what_it_is_is_told_once(void **state)
{
    struct world *world = world_new();
    (void)state;
    struct kube_probe *probe = begin(world, &world->conf, 1);
    answers(world, "users", YES);
    answers(world, "groups", NO);
    run_until(world, is_told);
    assert_non_null(strstr(told.why, "may not impersonate groups there"));
    assert_ptr_equal(told.of, &world->conf);
    /* Again and again the same: that is no news. */
    for (int i = 0; i < 3; i++) {
        answers(world, "users", YES);
        answers(world, "groups", NO);
    }
    assert_int_equal(told.count, 1);
    expected = 2;
    answers(world, "users", NO);
    run_until(world, is_told);
    assert_non_null(strstr(told.why, "may not impersonate users there"));
    expected = 3;
    answer = YES;
    run_until(world, is_told_while_answering);
    assert_null(told.why);
    /* A right that is taken away later. */
    expected = 4;
    answer = NO;
    run_until(world, is_told_while_answering);
    assert_non_null(strstr(told.why, "may not impersonate users there"));
    kube_probe_free(probe);
    world_free(world);
}

static void test_answers_that_say_nothing(void **state)
{
    static const struct {
        const char *answer, *says;
    } table[] = {
        {"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "does not accept the credentials"},
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "answers with status 403"},
        {"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n[]", "answers with status 201"},
        {"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}", "may not impersonate users"},
        {"HTTP/1.1 201 Created\r\nContent-Length: 35\r\n\r\n{\"status\":{\"allowed\":\"not a bool\"}}",
         "may not impersonate users"},
        {"no HTTP\r\n\r\n", "gives no answer"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct world *world = world_new();
        struct kube_probe *probe = begin(world, &world->conf, 1);
        answers(world, "users", table[i].answer);
        run_until(world, is_told);
        if (told.why == NULL || strstr(told.why, table[i].says) == NULL) {
            fail_msg("%s: %s", table[i].answer, told.why != NULL ? told.why : "allowed");
        }
        kube_probe_free(probe);
        world_free(world);
    }
}

/* Each by itself: one that is away, or can't be served at all, keeps none from being asked. */
static void test_clusters_are_asked_one_after_the_other(void **state)
{
    struct world *world = world_new();
    (void)state;
    struct kube_cluster_conf list[] = {world->conf, world->conf, world->conf, world->conf};
    list[0].port = 1;
    list[0].name = "away";
    list[1].problem = "kubeconfig:3: exec is not supported";
    list[2].token = NULL;
    list[2].token_file = "/nonexistent/token";
    list[2].name = "no-token";
    struct kube_probe *probe = begin(world, list, 4);
    expected = 3;
    answer = YES;
    run_until(world, is_told_while_answering);
    assert_string_equal(told.all, "away: the API server of away (127.0.0.1 port 1) can't be reached: no connection to "
                                  "127.0.0.1 port 1: Connection refused\n"
                                  "no-token: /nonexistent/token can't be read: No such file or directory\n"
                                  "prod: may\n");
    kube_probe_free(probe);
    world_free(world);
}

/* In the middle of a question, and before the first. */
static void test_it_ends_at_any_time(void **state)
{
    struct world *world = world_new();
    (void)state;
    kube_probe_free(begin(world, &world->conf, 1));
    struct kube_probe *probe = begin(world, &world->conf, 1);
    run_until(world, is_asked);
    kube_probe_free(probe);
    assert_int_equal(told.count, 0);
    kube_probe_free(NULL);
    world_free(world);
}

static int forget(void **state)
{
    (void)state;
    mem_free(told.why);
    mem_free(told.all);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_are_asked_and_what_it_is_is_told_once),
        cmocka_unit_test(test_answers_that_say_nothing),
        cmocka_unit_test(test_clusters_are_asked_one_after_the_other),
        cmocka_unit_test(test_it_ends_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, forget);
}

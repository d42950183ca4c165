/* What roles allow in part, through the agent: creates, lists, watches, deletecollections. */
#include "kube_world.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* ---- allowed in part ---- */

#define SOME "{\"allowed\":[" RULE("*", "default", "web-*") "],\"denied\":[]}"

static void reopen(struct world *world, const char *resources)
{
    set_grant(world, resources);
    tunnel_stream_close(world->client, CLOSE_DONE, NULL);
    run_until(world, client_is_closed);
    client_open(world);
}

static void create(struct world *world, const char *name)
{
    char *body = mem_printf("{\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\"}}", name);
    char *text = mem_printf("POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nContent-Type: "
                            "application/json\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n",
                            strlen(body), body);
    client_say(world, text);
    mem_free(text);
    mem_free(body);
}

static bool api_has_body(struct world *world)
{
    return has_count(api_got(world), "\"kind\":", 1);
}

static bool two_are_reported(struct world *world)
{
    return call_of(world, "session.event", "kube.request", 1) != NULL;
}

static void test_a_create_is_decided_by_the_name_in_its_body(void **state)
{
    struct world *world = world_new();
    (void)state;
    reopen(world, SOME);
    create(world, "db-1");
    run_until(world, client_has_head);
    assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 403 ", 13) == 0);
    assert_int_equal(world->api_count, 0);
    buf_clear(&world->got);
    create(world, "web-1"); /* on the same connection */
    run_until(world, api_has_body);
    assert_true(has_count(api_got(world), "content-length:", 1));
    assert_true(has_count(api_got(world), "transfer-encoding:", 0));
    api_say(world, "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}");
    run_until(world, client_has_head);
    assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 201 ", 13) == 0);
    run_until(world, two_are_reported);
    for (size_t i = 0; i < 2; i++) { /* of which object, though no URL has said so */
        const json_t *fields = json_object_get(call_of(world, "session.event", "kube.request", i), "fields");
        assert_string_equal(json_get_text(fields, "resource_name", ""), i == 0 ? "db-1" : "web-1");
    }
    world_free(world);
}

/* The event had no name where the roles allow all: the body passed on unread. */
static void test_what_is_created_is_named_where_all_is_allowed(void **state)
{
    struct world *world = world_new();
    (void)state;
    create(world, "web-1");
    run_until(world, api_has_body);
    assert_true(has_count(api_got(world), "transfer-encoding: chunked", 1)); /* it was not held */
    api_say(world, "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}");
    run_until(world, client_has_head);
    buf_clear(&world->got);
    buf_clear(&world->api->got);
    create(world, "a\",\"name\":\"b"); /* which of them is the cluster's to say: it passes all the same */
    run_until(world, api_has_body);
    api_say(world, "HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 2\r\n\r\n{}");
    run_until(world, client_has_head);
    run_until(world, two_are_reported);
    for (size_t i = 0; i < 2; i++) {
        const json_t *fields = json_object_get(call_of(world, "session.event", "kube.request", i), "fields");
        assert_string_equal(json_get_text(fields, "resource_name", "-"), i == 0 ? "web-1" : "");
    }
    world_free(world);
}

/* A kept connection ended under a create, which was sent again on another one: the cluster may have done it the first time. */
static void test_a_create_is_not_made_twice(void **state)
{
    struct world *world = world_new();
    (void)state;
    reopen(world, SOME);
    create(world, "web-1");
    run_until(world, api_has_body);
    api_say(world, "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}");
    run_until(world, client_has_head);
    buf_clear(&world->got);
    buf_clear(&world->api->got);
    create(world, "web-2");
    run_until(world, api_has_body);
    stream_close(world->api->stream, CLOSE_TARGET_CLOSED);
    run_until(world, client_has_head);
    assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 503 ", 13) == 0);
    assert_non_null(strstr(buf_text(&world->got), "closed the connection without an answer"));
    assert_int_equal(world->api_count, 1);
    world_free(world);
}

/* kubectl auth can-i: what the rules refuse is said here; of the rest the cluster is asked, with the body as it came. */
static void test_may_i_is_answered_by_roles_and_cluster(void **state)
{
    static const struct {
        const char *attributes;
        const char *refusal; /* NULL: the cluster's to say */
    } rows[] = {
        {"{\"resource\":\"secrets\",\"verb\":\"get\",\"namespace\":\"default\",\"name\":\"db\"}",
         "tport: your roles do not let you get secrets db in namespace default"},
        {"{\"resource\":\"pods\",\"subresource\":\"exec\",\"verb\":\"create\",\"namespace\":\"other\"}",
         "tport: your roles do not let you create pods/exec in namespace other"},
        {"{\"resource\":\"nodes\",\"verb\":\"list\"}", "tport: your roles do not let you list nodes"},
        {"{\"resource\":\"pods\",\"verb\":\"get\",\"namespace\":\"default\"}", NULL}, /* some of them */
        {"{\"resource\":\"pods\",\"verb\":\"get\",\"namespace\":\"default\",\"name\":\"web-1\"}", NULL},
        {"7", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world *world = world_new();
        reopen(world, SOME);
        char *body = mem_printf("{\"kind\":\"SelfSubjectAccessReview\",\"spec\":{\"resourceAttributes\":%s}}",
                                rows[i].attributes);
        char *text = mem_printf("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews HTTP/1.1\r\nHost: x\r\n"
                                "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                                strlen(body), body);
        client_say(world, text);
        if (rows[i].refusal != NULL) {
            run_until(world, client_has_head);
            assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 201 ", 13) == 0);
            assert_non_null(strstr(buf_text(&world->got), "\"allowed\":false"));
            assert_non_null(strstr(buf_text(&world->got), rows[i].refusal));
            assert_non_null(strstr(buf_text(&world->got), rows[i].attributes));
            assert_int_equal(world->api_count, 0);
        } else {
            run_until(world, api_has_body);
            assert_non_null(strstr(api_got(world), body));
        }
        mem_free(text);
        mem_free(body);
        world_free(world);
    }
}

static bool client_has_end(struct world *world)
{
    return strstr(buf_text(&world->got), "\r\n0\r\n\r\n") != NULL;
}

/* kubectl auth can-i --list: the cluster's list said nothing of the roles. */
static void test_the_clusters_list_of_rights_comes_with_a_warning(void **state)
{
    (void)state;
    for (int limited = 0; limited < 2; limited++) {
        struct world *world = world_new();
        reopen(world, limited ? SOME : ALL_OPEN);
        client_say(world, "POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews HTTP/1.1\r\nHost: x\r\n"
                          "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
        run_until(world, api_has_head);
        api_say(world, "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
        run_until(world, client_has_head);
        assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 201 ", 13) == 0);
        assert_true(has_count(buf_text(&world->got), "\r\nWarning: 299 - \"tport: ", limited ? 1 : 0));
        world_free(world);
    }
}

static void test_a_list_shows_what_the_rules_allow(void **state)
{
    struct world *world = world_new();
    (void)state;
    reopen(world, SOME);
    client_say(world, "GET /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
    run_until(world, api_has_head);
    assert_true(has_count(api_got(world), "accept-encoding: identity\r\n", 1));
    assert_true(has_count(api_got(world), "gzip", 0));
    api_say(world, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 215\r\n\r\n"
                   "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"items\":["
                   "{\"metadata\":{\"name\":\"web-1\",\"namespace\":\"default\"}},"
                   "{\"metadata\":{\"name\":\"db-1\",\"namespace\":\"default\"}},"
                   "{\"metadata\":{\"name\":\"web-2\",\"namespace\":\"default\"}}]}        ");
    run_until(world, client_has_end);
    assert_true(has_count(buf_text(&world->got), "web-1", 1));
    assert_true(has_count(buf_text(&world->got), "web-2", 1));
    assert_true(has_count(buf_text(&world->got), "db-1", 0));
    assert_true(has_count(buf_text(&world->got), "content-length", 0));
    world_free(world);
}

/* Nothing of an answer that is not understood is shown. */
static void test_a_list_that_is_not_understood_is_refused(void **state)
{
    struct world *world = world_new();
    (void)state;
    reopen(world, SOME);
    client_say(world, "GET /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\n\r\n");
    run_until(world, api_has_head);
    api_say(world, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"db-1\":]");
    run_until(world, client_has_head);
    assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 502 ", 13) == 0);
    assert_true(has_count(buf_text(&world->got), "db-1", 0));
    world_free(world);
}

#define HOG ((size_t)50 * 1024 * 1024) /* of a list */

/* What the API server still has to say of a list. */
static struct {
    struct buf text;
    size_t at;
} hog;

static bool hog_is_out(struct world *world)
{
    struct stream *stream = world->api->stream;
    while (stream != NULL && hog.at < buf_size(&hog.text) && !stream_is_full(stream)) {
        size_t left = buf_size(&hog.text) - hog.at;
        size_t size = left < 65536 ? left : 65536;
        stream_write(stream, buf_head(&hog.text) + hog.at, size);
        hog.at += size;
    }
    return client_has_head(world);
}

static void make_hog(void)
{
    static const char start[] = "{\"items\":[{\"metadata\":{\"name\":\"web-1\",\"namespace\":\"default\"},\"data\":\"";
    buf_init(&hog.text, 0);
    (void)buf_printf(&hog.text, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     sizeof(start) - 1 + HOG + 4, start);
    memset(buf_reserve(&hog.text, HOG), 'x', HOG);
    buf_commit(&hog.text, HOG);
    (void)buf_append_text(&hog.text, "\"}]}");
}

static bool client_is_stuck(struct world *world)
{
    return world->untaken >= TUNNEL_WINDOW;
}

static bool hog_is_swept(struct world *world)
{
    (void)hog_is_out(world);
    return has_count(api_got(world), "DELETE /api/v1/namespaces/default/configmaps/web-1 ", 1);
}

/* As a tree the list would take 250 MB, and a second of the agent's only thread. */
static void test_a_deletecollection_makes_no_tree(void **state)
{
    static const size_t size = (size_t)15 * 1024 * 1024;
    struct world *world = world_new();
    struct buf list;
    struct rusage before;
    struct rusage after;
    (void)state;
    reopen(world, SOME);
    buf_init(&list, 0);
    (void)buf_append_text(&list,
                          "{\"items\":[{\"metadata\":{\"name\":\"web-1\",\"namespace\":\"default\"},\"data\":{\"z\":1");
    for (unsigned i = 0; buf_size(&list) < size; i++) {
        (void)buf_printf(&list, ",\"%x\":\"\"", i);
    }
    (void)buf_append_text(&list, "}}]}");
    buf_init(&hog.text, 0);
    (void)buf_printf(&hog.text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", buf_size(&list));
    (void)buf_append(&hog.text, buf_head(&list), buf_size(&list));
    hog.at = 0;
    client_say(world, "DELETE /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\n\r\n");
    run_until(world, api_has_head);
    (void)getrusage(RUSAGE_SELF, &before);
    run_until(world, hog_is_swept);
    (void)getrusage(RUSAGE_SELF, &after);
    assert_true((size_t)(after.ru_maxrss - before.ru_maxrss) * 1024 < 10 * size);
    buf_free(&list);
    buf_free(&hog.text);
    world_free(world);
}

/* Lists that a client asks for and does not read stay in the agent's memory: for one person not more than two large ones. */
static void test_lists_that_nobody_reads_are_bounded(void **state)
{
    static const char *const answers[] = {"HTTP/1.1 200 ", "HTTP/1.1 200 ", "HTTP/1.1 503 "};
    struct world *world = world_new();
    (void)state;
    set_grant(world, SOME);
    world->slow = true;
    make_hog();
    for (size_t i = 0; i < 3; i++) {
        buf_clear(&world->got);
        client_open(world);
        client_say(world, "GET /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\n\r\n");
        run_until(world, api_has_head);
        buf_clear(&world->api->got); /* it may serve the next one, too */
        hog.at = 0;
        run_until(world, hog_is_out);
        assert_true(strncmp(buf_text(&world->got), answers[i], strlen(answers[i])) == 0);
        if (i < 2) {
            run_until(world, client_is_stuck);
            world->untaken = 0;
        }
    }
    buf_free(&hog.text);
    world_free(world);
}

#define HOGS 10 /* of 15 MB: more than a person may have */

static size_t hogs;

static bool api_is_asked_for_all(struct world *world)
{
    return world->api_count == hogs && api_has_head(world);
}

static bool hog_is_told(struct world *world)
{
    struct stream *stream = world->api->stream;
    (void)hog_is_out(world);
    return hog.at == buf_size(&hog.text) && (stream == NULL || stream_queued(stream) == 0);
}

/* Of a deletecollection that is taken apart the agent keeps the list, and one person may begin many of them. */
static void test_lists_to_delete_are_bounded(void **state)
{
    static const size_t size = (size_t)15 * 1024 * 1024;
    struct world *world = world_new();
    (void)state;
    set_grant(world, SOME);
    buf_init(&hog.text, 0);
    (void)buf_printf(&hog.text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n{\"items\":[\"", size);
    memset(buf_reserve(&hog.text, size - 64), 'x', size - 64); /* and the API server has more to say */
    buf_commit(&hog.text, size - 64);
    for (hogs = 1; hogs <= HOGS; hogs++) {
        client_open(world);
        client_say(world, "DELETE /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\n\r\n");
        run_until(world, api_is_asked_for_all);
        hog.at = 0;
        run_until(world, hog_is_told);
    }
    api_say(world, "\"");
    for (size_t i = 0; i < 63 - strlen("{\"items\":[\""); i++) {
        api_say(world, " ");
    }
    run_until(world, client_has_head);
    assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 503 ", 13) == 0);
    buf_free(&hog.text);
    world_free(world);
}

static bool client_has_web(struct world *world)
{
    return has_count(buf_text(&world->got), "web-9", 1);
}

static void test_a_watch_shows_what_the_rules_allow(void **state)
{
    struct world *world = world_new();
    (void)state;
    reopen(world, SOME);
    client_say(world, "GET /api/v1/namespaces/default/configmaps?watch=true HTTP/1.1\r\nHost: x\r\n\r\n");
    run_until(world, api_has_head);
    api_say(world, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    run_until(world, client_has_head); /* before any event */
    api_say(world,
            "77\r\n"
            "{\"type\":\"ADDED\",\"object\":{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":"
            "\"db-9\",\"namespace\":\"default\"}}}     \n\r\n");
    api_say(world,
            "77\r\n"
            "{\"type\":\"ADDED\",\"object\":{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":"
            "\"web-9\",\"namespace\":\"default\"}}}    \n\r\n");
    run_until(world, client_has_web);
    assert_true(has_count(buf_text(&world->got), "db-9", 0));
    world_free(world);
}

static bool client_has_expired(struct world *world)
{
    return has_count(buf_text(&world->got), "too old resource version", 1) || world->client_closed;
}

/* It is no event, and says from where on to watch anew: a client that got half of it began from nothing or not at all. */
static void test_a_watch_that_comes_too_late_is_told_so(void **state)
{
    struct world *world = world_new();
    (void)state;
    reopen(world, SOME);
    client_say(world,
               "GET /api/v1/namespaces/default/configmaps?watch=true&resourceVersion=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    run_until(world, api_has_head);
    api_say(world, "HTTP/1.1 410 Gone\r\nContent-Type: application/json\r\nContent-Length: 69\r\n\r\n"
                   "{\"kind\":\"Status\",\"message\":\"too old resource version: 1\",\"code\":410}\n");
    run_until(world, client_has_expired);
    assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 410 ", 13) == 0);
    assert_true(has_count(buf_text(&world->got), "\"code\":410}", 1));
    world_free(world);
}

static bool api_has_delete(struct world *world)
{
    return has_count(api_got(world), "DELETE /api/v1/namespaces/default/configmaps/web-2?", 1);
}

static bool api_has_first_delete(struct world *world)
{
    return has_count(api_got(world), "DELETE /api/v1/namespaces/default/configmaps/web-1?", 1);
}

static void test_a_deletecollection_becomes_deletes(void **state)
{
    struct world *world = world_new();
    (void)state;
    reopen(world, SOME);
    client_say(world, "DELETE /api/v1/namespaces/default/configmaps?labelSelector=a%3Db HTTP/1.1\r\nHost: x\r\n"
                      "Content-Type: application/json\r\nContent-Length: 18\r\n\r\n{\"dryRun\":[\"All\"]}");
    run_until(world, api_has_head);
    assert_true(strncmp(api_got(world), "GET /api/v1/namespaces/default/configmaps?labelSelector=a%3Db ", 61) == 0);
    api_say(world, "HTTP/1.1 200 OK\r\nContent-Length: 166\r\n\r\n{\"items\":["
                   "{\"metadata\":{\"name\":\"web-1\",\"namespace\":\"default\"}},"
                   "{\"metadata\":{\"name\":\"db-1\",\"namespace\":\"default\"}},"
                   "{\"metadata\":{\"name\":\"web-2\",\"namespace\":\"default\"}}]}");
    run_until(world, api_has_first_delete);
    api_say(world, "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}");
    run_until(world, api_has_delete);
    assert_true(has_count(api_got(world), "{\"dryRun\":[\"All\"]}", 2));
    api_say(world, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    run_until(world, client_has_head);
    assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 200 ", 13) == 0);
    assert_non_null(strstr(buf_text(&world->got), "\"status\":\"Success\""));
    assert_true(has_count(api_got(world), "db-1", 0));
    assert_true(has_count(api_got(world), "impersonate-user: alice", 3));
    world_free(world);
}

static bool sweep_is_reported(struct world *world)
{
    return call_of(world, "session.event", "kube.request", 0) != NULL;
}

static void test_a_deletecollection_that_is_given_up_is_on_record(void **state)
{
    struct world *world = world_new();
    (void)state;
    reopen(world, SOME);
    client_say(world, "DELETE /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\n\r\n");
    run_until(world, api_has_head);
    tunnel_stream_close(world->client, CLOSE_CLIENT_CLOSED, NULL);
    run_until(world, sweep_is_reported);
    const json_t *fields = json_object_get(call_of(world, "session.event", "kube.request", 0), "fields");
    assert_string_equal(json_get_text(fields, "verb", ""), "DELETE");
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_deletecollection_makes_no_tree), /* first: only a new peak is seen */
        cmocka_unit_test(test_a_create_is_decided_by_the_name_in_its_body),
        cmocka_unit_test(test_what_is_created_is_named_where_all_is_allowed),
        cmocka_unit_test(test_a_create_is_not_made_twice),
        cmocka_unit_test(test_may_i_is_answered_by_roles_and_cluster),
        cmocka_unit_test(test_the_clusters_list_of_rights_comes_with_a_warning),
        cmocka_unit_test(test_a_list_shows_what_the_rules_allow),
        cmocka_unit_test(test_a_list_that_is_not_understood_is_refused),
        cmocka_unit_test(test_lists_that_nobody_reads_are_bounded),
        cmocka_unit_test(test_lists_to_delete_are_bounded),
        cmocka_unit_test(test_a_watch_shows_what_the_rules_allow),
        cmocka_unit_test(test_a_watch_that_comes_too_late_is_told_so),
        cmocka_unit_test(test_a_deletecollection_becomes_deletes),
        cmocka_unit_test(test_a_deletecollection_that_is_given_up_is_on_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Requests through the agent: whose they are, what goes up and comes down, how connections are kept, what breaks. */
#include "kube_world.h"

#include "base/clock.h"
#include "base/mem.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* R10: every identity header in every spelling is dropped, and ours are set. */
static void test_R10_identity_is_ours(void **state)
{
    struct world *world = world_new();
    (void)state;
    client_say(world, GET_PODS "Authorization: Bearer users\r\nImpersonate_User: root\r\nX-Remote-User: root\r\n"
                               "X-Forwarded-For: 1.2.3.4\r\nX_Remote_Group: system:masters\r\n"
                               "Connection: keep-alive, X-Gone\r\nX-Gone: 1\r\nAccept: application/json\r\n\r\n");
    run_until(world, api_has_head);
    const char *got = api_got(world);
    assert_true(strncmp(got, "GET /api/v1/namespaces/default/pods?limit=500 HTTP/1.1\r\n", 56) == 0);
    assert_true(has_count(got, "impersonate-user: alice\r\n", 1));
    assert_true(has_count(got, "impersonate-group: devs\r\n", 1));
    assert_true(has_count(got, "impersonate-group: ops\r\n", 1));
    assert_true(has_count(got, "impersonate-group: system:authenticated\r\n", 1));
    assert_true(has_count(got, "authorization: Bearer agent-token\r\n", 1));
    assert_true(has_count(got, "authorization:", 1));
    assert_true(has_count(got, "impersonate", 4));
    assert_true(has_count(got, "remote", 0));
    assert_true(has_count(got, "1.2.3.4", 0));
    assert_true(has_count(got, "x-gone", 0));
    assert_true(has_count(got, "masters", 0));
    assert_true(has_count(got, "accept: application/json\r\n", 1));
    world_free(world);
}

static bool two_answers(struct world *world)
{
    return has_count(buf_text(&world->got), "HTTP/1.1 200 OK", 2);
}

static bool two_requests(struct world *world)
{
    return has_count(api_got(world), "GET /", 2);
}

static bool no_call_waits(struct world *world)
{
    return world->pendings == NULL;
}

static void test_connections_are_kept_both_sides(void **state)
{
    struct world *world = world_new();
    (void)state;
    client_say(world, GET_PODS "\r\n" GET_PODS "\r\n"); /* pipelined: one after the other goes up */
    run_until(world, api_has_head);
    api_say(world, OK_ANSWER);
    run_until(world, two_requests);
    api_say(world, OK_ANSWER);
    run_until(world, two_answers);
    assert_int_equal(world->api_count, 1);
    assert_true(has_count(buf_text(&world->got), "audit-id: 7\r\n", 2));
    assert_true(has_count(buf_text(&world->got), "x-secret", 0));
    assert_true(has_count(buf_text(&world->got), "Content-Length: 2\r\n", 2));
    run_until(world, no_call_waits);
    json_t *event = call_of(world, "session.event", "kube.request", 1);
    assert_non_null(event);
    json_t *fields = json_object_get(event, "fields");
    assert_string_equal(json_get_text(fields, "request_path", ""), "/api/v1/namespaces/default/pods?limit=500");
    assert_string_equal(json_get_text(fields, "verb", ""), "GET");
    assert_int_equal(json_get_int(fields, "response_code", 0), 200);
    assert_string_equal(json_get_text(fields, "kubernetes_cluster", ""), "prod");
    assert_string_equal(json_get_text(fields, "resource_namespace", ""), "default");
    assert_string_equal(json_get_text(fields, "resource_kind", ""), "pods");
    assert_null(call_of(world, "session.event", "kube.request", 2));
    world_free(world);
}

/* R11: bytes behind an answer, and answers that end with the connection, spoil it. */
static void test_R11_a_doubtful_connection_is_not_used_again(void **state)
{
    static const char *const answers[] = {
        OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct world *world = world_new();
        client_say(world, GET_PODS "\r\n");
        run_until(world, api_has_head);
        api_say(world, answers[i]);
        run_until(world, client_has_head);
        struct api_conn *first = world->api;
        client_say(world, GET_PODS "\r\n");
        while (world->api == first || !api_has_head(world)) {
            run_until(world, api_has_head);
        }
        assert_int_equal(world->api_count, 2);
        assert_true(has_count(buf_text(&world->got), "HTTP/1.1", 1));
        world_free(world);
    }
}

static void test_path_tricks_are_refused(void **state)
{
    static const char *const targets[] = {"//api/v1/pods",  "/api/v1/..;/pods", "/api/v1/namespaces/default%2fpods",
                                          "/api/v1/./pods", "/api/v1/../../x",  "/api/v1/namespaces/a/pods#x"};
    (void)state;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct world *world = world_new();
        char *text = mem_printf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", targets[i]);
        client_say(world, text);
        mem_free(text);
        run_until(world, client_has_head);
        assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 400 ", 13) == 0);
        assert_non_null(strstr(buf_text(&world->got), "\"kind\":\"Status\""));
        assert_int_equal(world->api_count, 0);
        world_free(world);
    }
}

static bool client_has_chunks(struct world *world)
{
    return strstr(buf_text(&world->got), "3\r\ndef\r\n") != NULL;
}

static void test_watches_stream_at_once(void **state)
{
    struct world *world = world_new();
    (void)state;
    client_say(world, "GET /api/v1/namespaces/default/pods?watch=true HTTP/1.1\r\nHost: x\r\n\r\n");
    run_until(world, api_has_head);
    api_say(world,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    run_until(world, client_has_head);
    api_say(world, "3\r\ndef\r\n");
    run_until(world, client_has_chunks);
    assert_non_null(call_of(world, "session.event", "kube.request", 0));
    assert_null(call_of(world, "session.event", "kube.request", 1));
    /* The client goes: the API server's connection ends at once. */
    tunnel_stream_close(world->client, CLOSE_LOCKED, NULL);
    run_until(world, api_is_closed);
    world_free(world);
}

/* Whoever closes TLS as it should be only ends his half: a watch that nobody reads went on with the API server for an hour.
 * An answer that ends by itself still comes to him. */
static void test_a_client_that_closes_politely_ends_its_watch(void **state)
{
    static const char *const endless[] = {"/api/v1/namespaces/default/pods?watch=true",
                                          "/api/v1/namespaces/default/pods/a/log?follow=true"};
    struct world *world;
    (void)state;
    for (size_t i = 0; i < sizeof(endless) / sizeof(endless[0]); i++) {
        char *asked = mem_printf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", endless[i]);
        world = world_new();
        client_say(world, asked);
        mem_free(asked);
        run_until(world, api_has_head);
        api_say(world, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        run_until(world, client_has_head);
        tunnel_stream_shutdown(world->client);
        run_until(world, api_is_closed);
        run_until(world, client_is_closed);
        world_free(world);
    }
    world = world_new();
    client_say(world, GET_PODS "\r\n");
    tunnel_stream_shutdown(world->client);
    run_until(world, api_has_head);
    api_say(world, OK_ANSWER);
    run_until(world, client_has_head);
    assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 200 ", 13) == 0);
    world_free(world);
}

/* What he has said behind it is not looked at before the watch ends, and did not keep it. */
static void test_a_client_that_closes_ends_its_watch_whatever_else_it_has_said(void **state)
{
    struct world *world = world_new();
    (void)state;
    client_say(world, "GET /api/v1/namespaces/default/pods?watch=true HTTP/1.1\r\nHost: x\r\n\r\n" GET_PODS "\r\n");
    run_until(world, api_has_head);
    api_say(world, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    run_until(world, client_has_head);
    tunnel_stream_shutdown(world->client);
    run_until(world, api_is_closed);
    run_until(world, client_is_closed);
    world_free(world);
}

static bool api_went_quiet(struct world *world)
{
    return world->untaken >= TUNNEL_WINDOW;
}

/* A client that does not read holds the API server up, not our memory. */
static void test_back_pressure_from_the_client(void **state)
{
    struct world *world = world_new();
    char *megabyte = mem_alloc(1024 * 1024);
    (void)state;
    memset(megabyte, 'x', 1024 * 1024);
    world->slow = true;
    client_say(world, "GET /api/v1/namespaces/default/pods/a/log?follow=true HTTP/1.1\r\nHost: x\r\n\r\n");
    run_until(world, api_has_head);
    api_say(world, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 15728640\r\n\r\n");
    for (int i = 0; i < 15; i++) {
        stream_write(world->api->stream, megabyte, 1024 * 1024);
    }
    run_until(world, api_went_quiet);
    run_until(world, api_went_quiet);
    /* Sockets and buffers in between hold something; the most of it must still be at the API server. */
    assert_true(stream_queued(world->api->stream) > (size_t)8 * 1024 * 1024);
    mem_free(megabyte);
    world_free(world);
}

static void test_bodies_go_up_in_pieces(void **state)
{
    struct world *world = world_new();
    (void)state;
    client_say(world, "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
                      "chunked\r\nContent-Type: application/json\r\n\r\n2\r\n{}\r\n");
    run_until(world, api_has_head);
    assert_true(has_count(api_got(world), "transfer-encoding: chunked\r\n", 1));
    client_say(world, "0\r\n\r\n");
    api_say(world, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    run_until(world, client_has_head);
    assert_non_null(strstr(buf_text(&world->got), "HTTP/1.1 201 "));
    world_free(world);
}

static void test_an_api_server_that_is_down(void **state)
{
    struct world *world = world_new();
    (void)state;
    watch_free(world->accepts);
    world->accepts = NULL;
    (void)close(world->listener);
    world->listener = -1;
    client_say(world, GET_PODS "\r\n");
    run_until(world, client_has_503);
    assert_non_null(strstr(buf_text(&world->got), "\"kind\":\"Status\""));
    assert_non_null(strstr(buf_text(&world->got), "can't be reached: no connection to 127.0.0.1 port "));
    world_free(world);
}

/* No audit, no service: what can't be recorded ends the service of this connection. */
static void test_no_audit_no_service(void **state)
{
    struct world *world = world_new();
    (void)state;
    world->refuse_method = "session.event";
    client_say(world, GET_PODS "\r\n");
    run_until(world, api_has_head);
    api_say(world, OK_ANSWER);
    run_until(world, client_has_head);
    run_until(world, no_call_waits);
    client_say(world, GET_PODS "\r\n");
    run_until(world, client_has_503);
    assert_true(has_count(api_got(world), "GET /", 1));
    world_free(world);
}

static bool request_is_reported(struct world *world)
{
    return call_of(world, "session.event", "kube.request", 0) != NULL && no_call_waits(world);
}

/* The cluster does what it was asked for, whether or not somebody waits for the answer. */
static void test_a_request_whose_client_does_not_wait_is_on_record(void **state)
{
    struct world *world = world_new();
    (void)state;
    client_say(world, "DELETE /api/v1/namespaces/default/pods/web HTTP/1.1\r\nHost: x\r\n\r\n");
    run_until(world, api_has_head);
    tunnel_stream_close(world->client, CLOSE_CLIENT_CLOSED, NULL);
    run_until(world, request_is_reported);
    const json_t *fields = json_object_get(call_of(world, "session.event", "kube.request", 0), "fields");
    assert_string_equal(json_get_text(fields, "verb", ""), "DELETE");
    assert_string_equal(json_get_text(fields, "resource_name", ""), "web");
    assert_null(json_object_get(fields, "response_code"));
    assert_null(call_of(world, "session.event", "kube.request", 1));
    world_free(world);
}

/* Cut in the middle of a character it would be no text, and the event would name neither path nor verb nor object. */
static void test_a_long_path_is_cut_between_characters(void **state)
{
    static const char start[] = "/api/v1/namespaces/default/pods/web/proxy/";
    struct world *world = world_new();
    char filler[1999 - sizeof(start) + 2];
    (void)state;
    memset(filler, 'a', sizeof(filler) - 1);
    filler[sizeof(filler) - 1] = '\0';
    char *request = mem_printf("GET %s%s%%C3%%A9z HTTP/1.1\r\nHost: x\r\n\r\n", start, filler);
    client_say(world, request);
    mem_free(request);
    run_until(world, api_has_head);
    api_say(world, OK_ANSWER);
    run_until(world, request_is_reported);
    const json_t *fields = json_object_get(call_of(world, "session.event", "kube.request", 0), "fields");
    assert_string_equal(json_get_text(fields, "verb", ""), "GET");
    assert_string_equal(json_get_text(fields, "resource_name", ""), "web");
    char *path = mem_printf("%s%s", start, filler);
    assert_int_equal(strlen(path), 1999);
    assert_string_equal(json_get_text(fields, "request_path", ""), path);
    mem_free(path);
    world_free(world);
}

#define RUSH 700 /* more than may be on their way to auth at a time */
#define LONG_RUSH 300
#define LONG_PATH 7900

static size_t count_of(const char *text, const char *word)
{
    size_t count = 0;
    while ((text = strstr(text, word)) != NULL) {
        count++;
        text++;
    }
    return count;
}

static bool all_are_refused_by_roles(struct world *world)
{
    assert_true(count_of(buf_text(&world->got), "HTTP/1.1 403 ") <= world->confirmed + 512);
    return has_count(buf_text(&world->got), "HTTP/1.1 403 ", RUSH);
}

/* Clients that ask faster than auth records wait for it; before, they were told that nothing could be recorded. */
static void test_requests_wait_for_a_busy_auth(void **state)
{
    struct world *world = world_new();
    struct buf rush;
    (void)state;
    set_grant(world, "{\"allowed\":[],\"denied\":[]}");
    tunnel_stream_close(world->client, CLOSE_DONE, NULL);
    run_until(world, client_is_closed);
    client_open(world);
    world->answer_ms = 100;
    buf_init(&rush, 0);
    for (int i = 0; i < RUSH; i++) {
        assert_int_equal(buf_append_text(&rush, "GET /api/v1/pods HTTP/1.1\r\nHost: x\r\n\r\n"), TP_OK);
    }
    client_say(world, buf_text(&rush));
    run_until(world, all_are_refused_by_roles);
    assert_false(client_has_503(world));
    assert_in_range(world->most_events, 200, 256); /* many go together */
    buf_free(&rush);
    world_free(world);
}

static bool long_ones_are_recorded(struct world *world)
{
    return world->confirmed >= LONG_RUSH;
}

static bool client_has_room(struct world *world)
{
    return tunnel_stream_room(world->client) > LONG_PATH + 100;
}

/* Many with long paths made one call of megabytes, for which auth let all others wait. */
static void test_long_requests_go_in_calls_of_a_megabyte(void **state)
{
    struct world *world = world_new();
    char name[LONG_PATH + 1];
    (void)state;
    memset(name, 'a', LONG_PATH);
    name[LONG_PATH] = '\0';
    set_grant(world, "{\"allowed\":[],\"denied\":[]}");
    tunnel_stream_close(world->client, CLOSE_DONE, NULL);
    run_until(world, client_is_closed);
    client_open(world);
    world->answer_ms = 200;
    for (int i = 0; i < LONG_RUSH; i++) {
        char *request = mem_printf("GET /api/v1/namespaces/default/pods/%s HTTP/1.1\r\nHost: x\r\n\r\n", name);
        run_until(world, client_has_room);
        client_say(world, request);
        mem_free(request);
    }
    run_until(world, long_ones_are_recorded);
    assert_in_range(world->most_bytes, LONG_PATH, 1024 * 1024 + 100);
    world_free(world);
}

static bool client_has_room_or_late(struct world *world)
{
    return client_has_room(world) || clock_mono_ms() >= world->deadline_ms;
}

/* Events that auth was told before the one about that namespace; SIZE_MAX: it has not been told. */
static size_t events_before(struct world *world, const char *name_space)
{
    size_t i;
    json_t *call;
    json_array_foreach (world->calls, i, call) {
        const json_t *fields = json_object_get(json_object_get(call, "params"), "fields");
        if (strcmp(json_get_text(fields, "resource_namespace", ""), name_space) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

static bool bob_is_recorded(struct world *world)
{
    return events_before(world, "bob") != SIZE_MAX;
}

static void open_as(struct world *world, const char *user)
{
    set_grant(world, "{\"allowed\":[],\"denied\":[]}");
    (void)json_object_set_new(world->grant, "user", json_string(user));
    client_open(world);
}

/* What one host may put on record is for all who come by it: a person with long requests made all others wait for his, or had them
 * refused. */
static void test_one_person_with_long_requests_holds_up_nobody(void **state)
{
    struct world *world = world_new();
    char name[LONG_PATH + 1];
    (void)state;
    memset(name, 'a', LONG_PATH);
    name[LONG_PATH] = '\0';
    tunnel_stream_close(world->client, CLOSE_DONE, NULL);
    run_until(world, client_is_closed);
    open_as(world, "alice@example.com");
    world->answer_ms = 300;
    for (int i = 0; i < LONG_RUSH; i++) {
        char *request = mem_printf("GET /api/v1/namespaces/default/pods/%s HTTP/1.1\r\nHost: x\r\n\r\n", name);
        world->deadline_ms = clock_mono_ms() + 20;
        run_until(world, client_has_room_or_late);
        if (client_has_room(world)) {
            client_say(world, request);
        } else {
            i = LONG_RUSH; /* she has to wait */
        }
        mem_free(request);
    }
    size_t confirmed = world->confirmed;
    open_as(world, "bob@example.com");
    client_say(world, "GET /api/v1/namespaces/bob/pods HTTP/1.1\r\nHost: x\r\n\r\n");
    run_until(world, bob_is_recorded);
    assert_true(events_before(world, "bob") - confirmed < LONG_RUSH / 3);
    world_free(world);
}

/* Goes on writing a header's value until an answer comes. */
static bool refused_while_writing(struct world *world)
{
    char piece[4096];
    memset(piece, 'a', sizeof(piece));
    if (!client_has_head(world)) {
        world->sent += tunnel_stream_write(world->client, piece, sizeof(piece));
    }
    return client_has_head(world);
}

static void test_a_huge_head_is_refused(void **state)
{
    struct world *world = world_new();
    (void)state;
    client_say(world, "GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nX-A: ");
    run_until(world, refused_while_writing);
    assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 431 ", 13) == 0);
    assert_true(world->sent < TUNNEL_WINDOW + (size_t)128 * 1024);
    world_free(world);
}

/* ---- an API server that restarts ---- */

static bool a_second_comes(struct world *world)
{
    return world->api_count == 2 && api_has_head(world);
}

static void test_an_idle_connection_that_was_just_closed_is_no_error(void **state)
{
    struct world *world = world_new();
    (void)state;
    client_say(world, GET_PODS "\r\n");
    run_until(world, api_has_head);
    api_say(world, OK_ANSWER);
    run_until(world, client_has_head);
    buf_clear(&world->got);
    client_say(world, GET_PODS "\r\n");
    run_until(world, two_requests);
    stream_close(world->api->stream, CLOSE_SHUTDOWN); /* without a word */
    run_until(world, a_second_comes);
    api_say(world, OK_ANSWER);
    run_until(world, client_has_head);
    assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 200 ", 13) == 0);
    world_free(world);
}

/* The API server takes no further connection: one that is asked for stays in the making. */
static void fill_backlog(struct world *world, int fds[4])
{
    struct sockaddr_in at = {0};
    socklen_t size = sizeof(at);
    watch_free(world->accepts);
    world->accepts = NULL;
    assert_int_equal(listen(world->listener, 0), 0);
    assert_int_equal(getsockname(world->listener, (struct sockaddr *)&at, &size), 0);
    for (size_t i = 0; i < 4; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fds[i], (struct sockaddr *)&at, size);
    }
}

static bool api_has_web(struct world *world)
{
    return has_count(api_got(world), "pods/web HTTP", 1);
}

static bool some_time_has_passed(struct world *world)
{
    return clock_mono_ms() >= world->deadline_ms;
}

static void wait_a_little(struct world *world)
{
    world->deadline_ms = clock_mono_ms() + 50;
    run_until(world, some_time_has_passed);
}

/* It went up by a connection that ended without an answer, and whether the API server had done it by then nobody knows. */
static void test_a_request_that_is_tried_again_is_on_record_though_its_client_goes(void **state)
{
    struct world *world = world_new();
    int fds[4];
    (void)state;
    client_say(world, GET_PODS "\r\n");
    run_until(world, api_has_head);
    api_say(world, OK_ANSWER);
    run_until(world, client_has_head);
    fill_backlog(world, fds);
    client_say(world, "GET /api/v1/namespaces/default/pods/web HTTP/1.1\r\nHost: x\r\n\r\n");
    run_until(world, api_has_web);
    stream_close(world->api->stream, CLOSE_SHUTDOWN);
    wait_a_little(world);
    tunnel_stream_close(world->client, CLOSE_CLIENT_CLOSED, NULL);
    run_until(world, client_is_closed);
    wait_a_little(world);
    const json_t *fields = json_object_get(call_of(world, "session.event", "kube.request", 1), "fields");
    assert_string_equal(json_get_text(fields, "resource_name", ""), "web");
    assert_null(json_object_get(fields, "response_code"));
    for (size_t i = 0; i < 4; i++) {
        (void)close(fds[i]);
    }
    world_free(world);
}

/* The agent's own credentials are no longer good: not the person's fault, and kubectl must not ask him to sign in. */
static void test_refused_credentials_of_the_agent(void **state)
{
    struct world *world = world_new();
    (void)state;
    client_say(world, GET_PODS "\r\n");
    run_until(world, api_has_head);
    api_say(world, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}");
    run_until(world, client_has_head);
    assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 502 ", 13) == 0);
    assert_non_null(strstr(buf_text(&world->got), "credentials of the agent"));
    world_free(world);
}

/* The cluster's own refusal passes through untouched. */
static void test_the_clusters_refusal_is_passed_on(void **state)
{
    struct world *world = world_new();
    (void)state;
    client_say(world, GET_PODS "\r\n");
    run_until(world, api_has_head);
    api_say(world,
            "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"theirs\":\"1\"}");
    run_until(world, client_has_head);
    assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 403 ", 13) == 0);
    assert_non_null(strstr(buf_text(&world->got), "{\"theirs\":\"1\"}"));
    world_free(world);
}

/* ---- a one-time code that opened the connection ---- */

static bool client_gone(struct world *world)
{
    return world->client_eof || world->client_closed;
}

static void set_requests_until(struct world *world, int64_t from_now)
{
    char text[CLOCK_TEXT_SIZE];
    clock_format(clock_wall() + from_now, text);
    (void)json_object_set_new(world->grant, "requests_until", json_string(text));
    tunnel_stream_close(world->client, CLOSE_DONE, NULL);
    run_until(world, client_gone);
    client_open(world);
}

/* R4: when the code counts no longer, a kept connection begins no request; what it has begun goes on. */
static void test_R4_no_request_after_the_code_has_ended(void **state)
{
    struct world *world = world_new();
    (void)state;
    set_requests_until(world, -1);
    client_say(world, GET_PODS "\r\n");
    run_until(world, client_has_head);
    assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 401 ", 13) == 0);
    assert_non_null(strstr(buf_text(&world->got), "counts no longer"));
    assert_int_equal(world->api_count, 0);
    run_until(world, client_gone);
    set_requests_until(world, 2);
    client_say(world, GET_PODS "\r\n");
    run_until(world, api_has_head);
    (void)usleep(2100000); /* the answer comes when it has ended */
    api_say(world, OK_ANSWER);
    run_until(world, client_has_head);
    assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 200 ", 13) == 0);
    run_until(world, client_gone); /* though clients keep their connections */
    world_free(world);
}

/* A time that can't be read is none left. */
static void test_R4_a_broken_end_opens_nothing(void **state)
{
    struct world *world = world_new();
    (void)state;
    set_requests_until(world, 60);
    (void)json_object_set_new(world->grant, "requests_until", json_string("soon"));
    tunnel_stream_close(world->client, CLOSE_DONE, NULL);
    run_until(world, client_gone);
    client_open(world);
    client_say(world, GET_PODS "\r\n");
    run_until(world, client_has_head);
    assert_true(strncmp(buf_text(&world->got), "HTTP/1.1 401 ", 13) == 0);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_R10_identity_is_ours),
        cmocka_unit_test(test_connections_are_kept_both_sides),
        cmocka_unit_test(test_R11_a_doubtful_connection_is_not_used_again),
        cmocka_unit_test(test_path_tricks_are_refused),
        cmocka_unit_test(test_watches_stream_at_once),
        cmocka_unit_test(test_a_client_that_closes_politely_ends_its_watch),
        cmocka_unit_test(test_a_client_that_closes_ends_its_watch_whatever_else_it_has_said),
        cmocka_unit_test(test_back_pressure_from_the_client),
        cmocka_unit_test(test_bodies_go_up_in_pieces),
        cmocka_unit_test(test_an_api_server_that_is_down),
        cmocka_unit_test(test_no_audit_no_service),
        cmocka_unit_test(test_a_request_whose_client_does_not_wait_is_on_record),
        cmocka_unit_test(test_a_long_path_is_cut_between_characters),
        cmocka_unit_test(test_requests_wait_for_a_busy_auth),
        cmocka_unit_test(test_long_requests_go_in_calls_of_a_megabyte),
        cmocka_unit_test(test_one_person_with_long_requests_holds_up_nobody),
        cmocka_unit_test(test_a_huge_head_is_refused),
        cmocka_unit_test(test_an_idle_connection_that_was_just_closed_is_no_error),
        cmocka_unit_test(test_a_request_that_is_tried_again_is_on_record_though_its_client_goes),
        cmocka_unit_test(test_refused_credentials_of_the_agent),
        cmocka_unit_test(test_the_clusters_refusal_is_passed_on),
        cmocka_unit_test(test_R4_no_request_after_the_code_has_ended),
        cmocka_unit_test(test_R4_a_broken_end_opens_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

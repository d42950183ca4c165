/*
 * The agent's Kubernetes proxy between a real tunnel (over a socketpair) and an API server that the test plays on a
 * loopback port: what goes up, what comes down, who may, and what is put on record before.
 */
#include "agent/kube.h"
#include "agent/kube_config.h"

#include "base/mem.h"
#include "core/stream.h"
#include "tunnel/tunnel.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 20000

struct api_conn {
    struct world *world;
    struct stream *stream;
    struct buf got;
    struct api_conn *next;
    bool closed;
};

/* A call to auth that waits for its answer (the next turn). */
struct pending {
    struct world *world;
    rpc_reply_cb *fn;
    void *ctx;
    json_t *result;
    struct tp_error error;
    bool failed;
    struct timer *timer;
    struct pending *next;
};

struct world {
    struct loop *loop;
    struct tunnel *near, *far; /* the worker's end, the agent's end */
    struct stream *near_end, *far_end;
    struct kube *kube;
    struct kube_cluster_conf conf;
    json_t *grant;
    struct tunnel_stream *client;
    struct buf got;
    bool slow; /* the client takes nothing */
    size_t untaken;
    size_t sent;
    bool near_ready;
    bool client_eof, client_closed;
    enum close_reason client_reason;
    int listener;
    struct watch *accepts;
    struct api_conn *api; /* newest first */
    size_t api_count;
    json_t *calls; /* [{method, params}] in order */
    const char *refuse_method;
    struct pending *pendings;
    bool (*until)(struct world *world);
    struct timer *look, *patience;
    bool late;
};

/* ---- the API server ---- */

static void api_ready(void *ctx)
{
    (void)ctx;
}

static void api_data(void *ctx, const uint8_t *data, size_t size)
{
    struct api_conn *conn = ctx;
    (void)buf_append(&conn->got, data, size);
}

static void api_close(void *ctx, enum close_reason reason)
{
    struct api_conn *conn = ctx;
    (void)reason;
    conn->closed = true;
    conn->stream = NULL;
}

static const struct stream_events api_events = {.on_ready = api_ready, .on_data = api_data, .on_close = api_close};

static void on_accept(void *ctx, int events)
{
    struct world *world = ctx;
    (void)events;
    int fd = accept4(world->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    struct api_conn *conn = mem_alloc(sizeof(*conn));
    conn->world = world;
    buf_init(&conn->got, 0);
    conn->next = world->api;
    world->api = conn;
    world->api_count++;
    conn->stream = stream_new(world->loop, fd, &api_events, conn);
}

static void api_say(struct world *world, const char *text)
{
    stream_write(world->api->stream, text, strlen(text));
}

static char *api_got(struct world *world)
{
    static char text[1024 * 1024];
    size_t size = world->api != NULL ? buf_size(&world->api->got) : 0;
    size = size < sizeof(text) - 1 ? size : sizeof(text) - 1;
    if (size > 0) {
        memcpy(text, buf_head(&world->api->got), size);
    }
    text[size] = '\0';
    return text;
}

/* ---- auth ---- */

static void answer(void *ctx)
{
    struct pending *pending = ctx;
    struct world *world = pending->world;
    struct pending **at = &world->pendings;
    while (*at != pending) {
        at = &(*at)->next;
    }
    *at = pending->next;
    if (pending->fn != NULL) {
        pending->fn(pending->ctx, pending->result, pending->failed ? &pending->error : NULL);
    }
    json_decref(pending->result);
    timer_free(pending->timer);
    mem_free(pending);
}

static void *line_request(void *ctx, const char *method, json_t *params, rpc_reply_cb *fn, void *fn_ctx)
{
    struct world *world = ctx;
    struct pending *pending = mem_alloc(sizeof(*pending));
    (void)json_array_append_new(world->calls, json_pack("{s:s, s:o}", "method", method, "params", params));
    pending->world = world;
    pending->fn = fn;
    pending->ctx = fn_ctx;
    if (world->refuse_method != NULL && strcmp(world->refuse_method, method) == 0) {
        pending->failed = true;
        (void)err_set(&pending->error, TP_NO_SPACE, "the disk is full");
    } else {
        pending->result = json_pack("{s:s}", "id", "session-1");
    }
    pending->timer = timer_new(world->loop, answer, pending);
    timer_start(pending->timer, 5, 0);
    pending->next = world->pendings;
    world->pendings = pending;
    return pending;
}

static void line_cancel(void *ctx, void *call)
{
    (void)ctx;
    ((struct pending *)call)->fn = NULL;
}

static const struct kube_cluster_conf *line_find(void *ctx, const char *name)
{
    struct world *world = ctx;
    return strcmp(name, world->conf.name) == 0 ? &world->conf : NULL;
}

/* The nth call of that method (and event), or NULL. */
static json_t *call_of(struct world *world, const char *method, const char *event, size_t n)
{
    size_t i;
    json_t *call;
    json_array_foreach (world->calls, i, call) {
        json_t *params = json_object_get(call, "params");
        if (strcmp(json_get_text(call, "method", ""), method) == 0 &&
            (event == NULL || strcmp(json_get_text(params, "event", ""), event) == 0) && n-- == 0) {
            return params;
        }
    }
    return NULL;
}

/* ---- the tunnel ---- */

static void client_data(void *ctx, const uint8_t *data, size_t size)
{
    struct world *world = ctx;
    (void)buf_append(&world->got, data, size);
    if (world->slow) {
        world->untaken += size;
    } else {
        tunnel_stream_consume(world->client, size);
    }
}

static void client_eof(void *ctx)
{
    ((struct world *)ctx)->client_eof = true;
}

static void client_writable(void *ctx)
{
    (void)ctx;
}

static void client_close(void *ctx, enum close_reason reason, const char *text)
{
    struct world *world = ctx;
    (void)text;
    world->client_closed = true;
    world->client_reason = reason;
    world->client = NULL;
}

static const struct tunnel_stream_events client_events = {
    .on_data = client_data, .on_eof = client_eof, .on_writable = client_writable, .on_close = client_close};

static void on_open(void *ctx, struct tunnel_stream *stream, const char *kind, const uint8_t *header, size_t size)
{
    struct world *world = ctx;
    (void)header;
    (void)size;
    assert_string_equal(kind, "kube");
    kube_open(world->kube, stream, json_deep_copy(world->grant));
}

static void on_tunnel_close(void *ctx, enum close_reason reason)
{
    (void)ctx;
    (void)reason;
}

static void near_tunnel_close(void *ctx, enum close_reason reason)
{
    struct world *world = ctx;
    (void)reason;
    world->near = NULL;
}

static void far_tunnel_close(void *ctx, enum close_reason reason)
{
    struct world *world = ctx;
    (void)reason;
    world->far = NULL;
}

static void near_ready(void *ctx)
{
    ((struct world *)ctx)->near_ready = true;
}

static const struct tunnel_events near_events = {
    .on_ready = near_ready, .on_open = on_open, .on_close = near_tunnel_close};
static const struct tunnel_events far_events = {.on_open = on_open, .on_close = far_tunnel_close};

static void end_ready_near(void *ctx)
{
    struct world *world = ctx;
    world->near = tunnel_new(world->loop, world->near_end, false, &near_events, world);
}

static void end_ready_far(void *ctx)
{
    struct world *world = ctx;
    world->far = tunnel_new(world->loop, world->far_end, true, &far_events, world);
}

static void end_data(void *ctx, const uint8_t *data, size_t size)
{
    (void)ctx;
    (void)data;
    (void)size;
}

static const struct stream_events near_end_events = {
    .on_ready = end_ready_near, .on_data = end_data, .on_close = on_tunnel_close};
static const struct stream_events far_end_events = {
    .on_ready = end_ready_far, .on_data = end_data, .on_close = on_tunnel_close};

/* ---- running ---- */

static void on_look(void *ctx)
{
    struct world *world = ctx;
    if (world->until(world)) {
        loop_stop(world->loop);
    }
}

static void on_patience(void *ctx)
{
    struct world *world = ctx;
    world->late = true;
    loop_stop(world->loop);
}

static void run_until(struct world *world, bool (*until)(struct world *world))
{
    world->until = until;
    world->late = false;
    timer_start(world->look, 1, 1);
    timer_start(world->patience, PATIENCE_MS, 0);
    loop_run(world->loop);
    timer_stop(world->look);
    timer_stop(world->patience);
    if (world->late) {
        fail_msg("nothing happened; the client has \"%s\", the API server \"%s\"", buf_text(&world->got),
                 api_got(world));
    }
}

static bool tunnels_up(struct world *world)
{
    return world->near_ready && world->far != NULL;
}

#define RULE(kind, name_space, name)                                                               \
    "{\"kind\":\"" kind "\",\"api_group\":\"*\",\"namespace\":\"" name_space "\",\"name\":\"" name \
    "\",\"verbs\":[\"*\"]}"
#define ALL_OPEN "{\"allowed\":[" RULE("*", "*", "*") "],\"denied\":[]}"

static void set_grant(struct world *world, const char *resources)
{
    json_decref(world->grant);
    world->grant = json_pack("{s:s, s:s, s:s, s:[s], s:[s,s], s:{s:s}}", "sid", "sid-1", "user", "alice@example.com",
                             "kube_cluster", "prod", "kube_users", "alice", "kube_groups", "devs", "ops", "options",
                             "record", "strict");
    json_t *rules = json_loads(resources, 0, NULL);
    assert_non_null(rules);
    (void)json_object_set_new(world->grant, "kube_resources", rules);
}

static void client_open(struct world *world)
{
    buf_clear(&world->got);
    world->client_eof = world->client_closed = false;
    assert_int_equal(tunnel_stream_open(world->near, "kube", "", 0, &client_events, world, &world->client), TP_OK);
}

static void client_say(struct world *world, const char *text)
{
    assert_int_equal(tunnel_stream_write(world->client, text, strlen(text)), strlen(text));
}

static struct world *world_new(void)
{
    struct world *world = mem_alloc(sizeof(*world));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int ends[2];
    world->loop = loop_new();
    world->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(world->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(world->listener, 64), 0);
    assert_int_equal(getsockname(world->listener, (struct sockaddr *)&address, &length), 0);
    assert_int_equal(watch_new(world->loop, world->listener, on_accept, world, &world->accepts), TP_OK);
    watch_set(world->accepts, WATCH_READ);
    world->conf = (struct kube_cluster_conf){.name = "prod",
                                             .host = "127.0.0.1",
                                             .port = ntohs(address.sin_port),
                                             .prefix = "",
                                             .plain = true,
                                             .server_name = "127.0.0.1",
                                             .token = "agent-token"};
    world->calls = json_array();
    buf_init(&world->got, 0);
    struct kube_line line = {.request = line_request, .cancel = line_cancel, .find = line_find, .ctx = world};
    world->kube = kube_new(world->loop, &line);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    world->near_end = stream_new(world->loop, ends[0], &near_end_events, world);
    world->far_end = stream_new(world->loop, ends[1], &far_end_events, world);
    world->look = timer_new(world->loop, on_look, world);
    world->patience = timer_new(world->loop, on_patience, world);
    set_grant(world, ALL_OPEN);
    run_until(world, tunnels_up);
    client_open(world);
    return world;
}

static bool is_over(struct world *world)
{
    bool open = false;
    for (struct api_conn *conn = world->api; conn != NULL; conn = conn->next) {
        open = open || conn->stream != NULL;
    }
    return world->near == NULL && world->far == NULL && !open && world->pendings == NULL;
}

static void world_free(struct world *world)
{
    kube_stop_all(world->kube, CLOSE_SHUTDOWN);
    if (world->near != NULL) {
        tunnel_close(world->near, CLOSE_SHUTDOWN);
    }
    for (struct api_conn *conn = world->api; conn != NULL; conn = conn->next) {
        if (conn->stream != NULL) {
            stream_close(conn->stream, CLOSE_SHUTDOWN);
        }
    }
    run_until(world, is_over);
    assert_true(kube_is_idle(world->kube));
    kube_free(world->kube);
    while (world->api != NULL) {
        struct api_conn *conn = world->api;
        world->api = conn->next;
        buf_free(&conn->got);
        mem_free(conn);
    }
    watch_free(world->accepts);
    (void)close(world->listener);
    timer_free(world->look);
    timer_free(world->patience);
    buf_free(&world->got);
    json_decref(world->grant);
    json_decref(world->calls);
    loop_free(world->loop);
    mem_free(world);
}

static bool api_has_head(struct world *world)
{
    return strstr(api_got(world), "\r\n\r\n") != NULL;
}

static bool client_has_head(struct world *world)
{
    return strstr(buf_text(&world->got), "\r\n\r\n") != NULL;
}

static bool client_is_closed(struct world *world)
{
    return world->client_closed;
}

static bool api_is_closed(struct world *world)
{
    return world->api != NULL && world->api->closed;
}

#define GET_PODS "GET /api/v1/namespaces/default/pods?limit=500 HTTP/1.1\r\nHost: x\r\n"
#define OK_ANSWER                                                                                           \
    "HTTP/1.1 200 OK\r\nAudit-Id: 7\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: " \
    "X-Secret\r\nX-Secret: 1\r\n\r\n{}"

static bool has_count(const char *text, const char *word, size_t count)
{
    size_t found = 0;
    for (const char *at = text; (at = strcasestr(at, word)) != NULL; at += strlen(word)) {
        found++;
    }
    return found == count;
}

/* ---- tests ---- */

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

static bool client_has_503(struct world *world)
{
    return strstr(buf_text(&world->got), "HTTP/1.1 503 ") != NULL;
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
    assert_non_null(strstr(buf_text(&world->got), "can't be reached"));
    world_free(world);
}

static bool no_call_waits(struct world *world)
{
    return world->pendings == NULL;
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

#define EXEC(upgrade)                                                                                               \
    "POST /api/v1/namespaces/default/pods/shell/exec?command=sh&command=-c&command=echo+hi&container=main&stdout=1" \
    "&tty=%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " upgrade                                       \
    "\r\nX-Stream-Protocol-Version: v5.channel.k8s.io\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"          \
    "Content-Length: 0\r\n\r\n"

static void client_exec(struct world *world, const char *tty)
{
    char *text = mem_printf(EXEC("SPDY/3.1"), tty);
    client_say(world, text);
    mem_free(text);
}

static bool session_ended(struct world *world)
{
    return call_of(world, "session.end", NULL, 0) != NULL;
}

static void test_an_upgrade_is_on_record_before_it_goes_up(void **state)
{
    struct world *world = world_new();
    (void)state;
    client_exec(world, "0");
    run_until(world, api_has_head);
    /* The attempt was durable before a byte went up. */
    json_t *event = call_of(world, "session.event", "kube.request", 0);
    assert_non_null(event);
    assert_string_equal(json_get_text(json_object_get(event, "fields"), "resource_name", ""), "shell");
    const char *got = api_got(world);
    const char *five = strcasestr(got, "x-stream-protocol-version: v5.channel.k8s.io\r\n");
    const char *four = strcasestr(got, "x-stream-protocol-version: v4.channel.k8s.io\r\n");
    assert_true(five != NULL && four != NULL && five < four);
    assert_true(has_count(got, "upgrade: SPDY/3.1\r\n", 1));
    api_say(world, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                   "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n");
    run_until(world, client_has_head);
    assert_non_null(call_of(world, "session.start", NULL, 0)); /* answered before 101 was passed on */
    json_t *start = call_of(world, "session.start", NULL, 0);
    assert_string_equal(json_get_text(start, "command", ""), "sh -c echo hi");
    assert_string_equal(json_get_text(start, "kind", ""), "exec");
    assert_string_equal(json_get_text(start, "kubernetes_pod_name", ""), "shell");
    assert_string_equal(json_get_text(start, "kubernetes_container_name", ""), "main");
    assert_true(has_count(buf_text(&world->got), "upgrade: SPDY/3.1\r\n", 1));
    /* The right is taken away: the program's connection ends, auth learns it. */
    tunnel_stream_close(world->client, CLOSE_LOCKED, NULL);
    run_until(world, api_is_closed);
    run_until(world, session_ended);
    assert_non_null(call_of(world, "session.event", "exec", 0));
    world_free(world);
}

static void test_an_attempt_that_cannot_be_recorded_goes_nowhere(void **state)
{
    struct world *world = world_new();
    (void)state;
    world->refuse_method = "session.event";
    client_exec(world, "0");
    run_until(world, client_has_503);
    assert_int_equal(world->api_count, 0);
    world_free(world);
}

static bool both_closed(struct world *world)
{
    return client_is_closed(world) && api_is_closed(world);
}

static void test_a_session_that_cannot_be_recorded_gets_no_byte(void **state)
{
    struct world *world = world_new();
    (void)state;
    world->refuse_method = "session.start";
    client_exec(world, "1");
    run_until(world, api_has_head);
    api_say(world, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nserver-bytes");
    run_until(world, client_has_503);
    assert_true(has_count(buf_text(&world->got), "server-bytes", 0));
    tunnel_stream_shutdown(world->client);
    run_until(world, both_closed);
    world_free(world);
}

/* CVE-2018-1002105: a refused upgrade ends both sides; what follows it reaches nobody. */
static void test_a_refused_upgrade_closes_both_sides(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct world *world = world_new();
        client_exec(world, "0");
        run_until(world, api_has_head);
        api_say(world, answers[i]);
        run_until(world, client_has_head);
        client_say(world, GET_PODS "\r\n");
        tunnel_stream_shutdown(world->client);
        run_until(world, both_closed);
        assert_true(has_count(api_got(world), "/pods?", 0));
        assert_true(has_count(buf_text(&world->got), "HTTP/1.1 101", 0));
        assert_int_equal(world->api_count, 1);
        assert_null(call_of(world, "session.start", NULL, 0));
        world_free(world);
    }
}

#define TERMINAL                                                                                                \
    "GET /api/v1/namespaces/default/pods/shell/exec?command=sh&container=main&stdin=true&stdout=true&tty=true " \
    "HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: "                   \
    "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
#define SWITCH                                                                                                     \
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n" \
    "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
#define SHOWN "\x82\x06\x01hello"
#define EXIT_7                                                                                                         \
    "\x82\x7e\x00\x6b\x03{\"status\":\"Failure\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":" \
    "\"ExitCode\",\"message\":\"7\"}]}}"

static struct api_conn *session_conn(struct world *world)
{
    struct api_conn *conn = world->api; /* the newest may be our question about the pod */
    while (conn != NULL && memmem(buf_head(&conn->got), buf_size(&conn->got), "websocket", 9) == NULL) {
        conn = conn->next;
    }
    return conn;
}

static void session_say(struct world *world, const char *data, size_t size)
{
    stream_write(session_conn(world)->stream, data, size);
}

static bool shown(struct world *world)
{
    return memmem(buf_head(&world->got), buf_size(&world->got), "hello", 5) != NULL;
}

static bool piece_is_confirmed(struct world *world)
{
    return call_of(world, "recording.append", NULL, 0) != NULL && world->pendings == NULL;
}

static void start_terminal(struct world *world)
{
    client_say(world, TERMINAL);
    run_until(world, api_has_head);
    api_say(world, SWITCH);
    run_until(world, client_has_head);
}

static void test_a_terminal_is_recorded(void **state)
{
    struct world *world = world_new();
    (void)state;
    start_terminal(world);
    session_say(world, SHOWN, sizeof(SHOWN) - 1);
    run_until(world, shown);
    run_until(world, piece_is_confirmed);
    session_say(world, EXIT_7, sizeof(EXIT_7) - 1);
    stream_shutdown(session_conn(world)->stream);
    run_until(world, session_ended);
    json_t *end = call_of(world, "session.end", NULL, 0);
    assert_true(json_get_bool(end, "recorded", false));
    assert_int_equal(json_get_int(end, "exit_code", -1), 7);
    assert_null(call_of(world, "session.event", "exec", 0)); /* the recording says it better */
    assert_true(json_get_bool(call_of(world, "session.start", NULL, 0), "interactive", false));
    world_free(world);
}

/* record_session: strict ends a session whose recording fails, best_effort lets it go on. */
static void test_a_recorder_that_fails(void **state)
{
    (void)state;
    for (int strict = 0; strict < 2; strict++) {
        struct world *world = world_new();
        json_t *options = json_object_get(world->grant, "options");
        (void)json_object_set_new(options, "record", json_string(strict ? "strict" : "best_effort"));
        tunnel_stream_close(world->client, CLOSE_DONE, NULL);
        run_until(world, client_is_closed);
        client_open(world);
        world->refuse_method = "recording.append";
        start_terminal(world);
        if (strict) {
            run_until(world, client_is_closed);
            assert_int_equal(world->client_reason, CLOSE_RECORDING_FAILED);
        } else {
            run_until(world, piece_is_confirmed);
            session_say(world, SHOWN, sizeof(SHOWN) - 1);
            run_until(world, shown);
            tunnel_stream_close(world->client, CLOSE_DONE, NULL);
        }
        run_until(world, session_ended);
        assert_false(json_get_bool(call_of(world, "session.end", NULL, 0), "recorded", true));
        world_free(world);
    }
}

/* What can't be read can't be recorded, and does not pass. */
static void test_bytes_that_are_no_websocket_end_the_session(void **state)
{
    struct world *world = world_new();
    (void)state;
    start_terminal(world);
    session_say(world, "\xf0hello", 6);
    run_until(world, client_is_closed);
    assert_false(shown(world));
    assert_int_equal(world->client_reason, CLOSE_PROTOCOL_ERROR);
    world_free(world);
}

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
    world_free(world);
}

static bool client_has_end(struct world *world)
{
    return strstr(buf_text(&world->got), "\r\n0\r\n\r\n") != NULL;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_R10_identity_is_ours),
        cmocka_unit_test(test_connections_are_kept_both_sides),
        cmocka_unit_test(test_R11_a_doubtful_connection_is_not_used_again),
        cmocka_unit_test(test_path_tricks_are_refused),
        cmocka_unit_test(test_watches_stream_at_once),
        cmocka_unit_test(test_back_pressure_from_the_client),
        cmocka_unit_test(test_bodies_go_up_in_pieces),
        cmocka_unit_test(test_an_api_server_that_is_down),
        cmocka_unit_test(test_no_audit_no_service),
        cmocka_unit_test(test_a_huge_head_is_refused),
        cmocka_unit_test(test_an_upgrade_is_on_record_before_it_goes_up),
        cmocka_unit_test(test_an_attempt_that_cannot_be_recorded_goes_nowhere),
        cmocka_unit_test(test_a_session_that_cannot_be_recorded_gets_no_byte),
        cmocka_unit_test(test_a_refused_upgrade_closes_both_sides),
        cmocka_unit_test(test_a_terminal_is_recorded),
        cmocka_unit_test(test_a_recorder_that_fails),
        cmocka_unit_test(test_bytes_that_are_no_websocket_end_the_session),
        cmocka_unit_test(test_a_create_is_decided_by_the_name_in_its_body),
        cmocka_unit_test(test_a_list_shows_what_the_rules_allow),
        cmocka_unit_test(test_a_list_that_is_not_understood_is_refused),
        cmocka_unit_test(test_a_watch_shows_what_the_rules_allow),
        cmocka_unit_test(test_a_deletecollection_becomes_deletes),
        cmocka_unit_test(test_an_idle_connection_that_was_just_closed_is_no_error),
        cmocka_unit_test(test_refused_credentials_of_the_agent),
        cmocka_unit_test(test_the_clusters_refusal_is_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

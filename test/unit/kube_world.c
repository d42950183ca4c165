#include "kube_world.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 20000

/* A call to auth that waits for its answer (the next turn). */
struct pending {
    struct world *world;
    size_t events;
    rpc_reply_cb *fn;
    void *ctx;
    json_t *result;
    struct tp_error error;
    bool failed;
    const char *unheard; /* method of a report that auth does not know yet, with params */
    json_t *params;
    struct timer *timer;
    struct pending *next;
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

void api_say(struct world *world, const char *text)
{
    stream_write(world->api->stream, text, strlen(text));
}

char *api_got(struct world *world)
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

static void keep_call(struct world *world, const char *method, json_t *params);

static void answer(void *ctx)
{
    struct pending *pending = ctx;
    struct world *world = pending->world;
    if (pending->unheard != NULL) {
        if (!world->away) {
            keep_call(world, pending->unheard, pending->params);
            pending->unheard = NULL;
            pending->result = json_object();
        }
        timer_start(pending->timer, 5, 0);
        return;
    }
    struct pending **at = &world->pendings;
    while (*at != pending) {
        at = &(*at)->next;
    }
    *at = pending->next;
    world->confirmed += pending->events;
    if (pending->fn != NULL) {
        pending->fn(pending->ctx, pending->result, pending->failed ? &pending->error : NULL);
    }
    json_decref(pending->result);
    timer_free(pending->timer);
    mem_free(pending);
}

/* What comes together is kept as if it had come one by one. */
static void keep_call(struct world *world, const char *method, json_t *params)
{
    size_t i;
    json_t *one;
    if (strcmp(method, "session.events") != 0) {
        (void)json_array_append_new(world->calls, json_pack("{s:s, s:o}", "method", method, "params", params));
        return;
    }
    json_array_foreach (json_object_get(params, "events"), i, one) {
        (void)json_array_append_new(world->calls, json_pack("{s:s, s:O}", "method", "session.event", "params", one));
    }
    world->most_events = i > world->most_events ? i : world->most_events;
    size_t bytes = json_dumpb(params, NULL, 0, JSON_COMPACT);
    world->most_bytes = bytes > world->most_bytes ? bytes : world->most_bytes;
    json_decref(params);
}

static struct pending *pending_new(struct world *world, const json_t *params, rpc_reply_cb *fn, void *fn_ctx)
{
    struct pending *pending = mem_alloc(sizeof(*pending));
    pending->events = json_array_size(json_object_get(params, "events"));
    pending->world = world;
    pending->fn = fn;
    pending->ctx = fn_ctx;
    pending->timer = timer_new(world->loop, answer, pending);
    timer_start(pending->timer, world->answer_ms, 0);
    pending->next = world->pendings;
    world->pendings = pending;
    return pending;
}

static void *line_request(void *ctx, const char *method, json_t *params, rpc_reply_cb *fn, void *fn_ctx)
{
    struct world *world = ctx;
    struct pending *pending = pending_new(world, params, fn, fn_ctx);
    if (world->away) {
        pending->failed = true;
        (void)err_set(&pending->error, TP_UNAVAILABLE, "the auth service is not available now");
        json_decref(params);
        return pending;
    }
    keep_call(world, method, params);
    if (world->refuse_method != NULL && strncmp(world->refuse_method, method, strlen(world->refuse_method)) == 0) {
        pending->failed = true;
        (void)err_set(&pending->error, TP_NO_SPACE, "the disk is full");
    } else if (world->lost > 0) {
        world->lost--;
        pending->failed = true;
        (void)err_set(&pending->error, TP_CLOSED, "the line has closed");
    } else {
        pending->result = json_pack("{s:s}", "id", "session-1");
    }
    return pending;
}

/* As an agent's: it is made again until auth is there. */
static void *line_report(void *ctx, const char *method, json_t *params, rpc_reply_cb *fn, void *fn_ctx)
{
    struct world *world = ctx;
    if (!world->away) {
        return line_request(ctx, method, params, fn, fn_ctx);
    }
    struct pending *pending = pending_new(world, params, fn, fn_ctx);
    pending->unheard = method;
    pending->params = params;
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

json_t *call_of(struct world *world, const char *method, const char *event, size_t n)
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

void run_until(struct world *world, bool (*until)(struct world *world))
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

void set_grant(struct world *world, const char *resources)
{
    json_decref(world->grant);
    world->grant = json_pack("{s:s, s:s, s:s, s:[s], s:[s,s], s:{s:s}}", "sid", "sid-1", "user", "alice@example.com",
                             "kube_cluster", "prod", "kube_users", "alice", "kube_groups", "devs", "ops", "options",
                             "record", "strict");
    json_t *rules = json_loads(resources, 0, NULL);
    assert_non_null(rules);
    (void)json_object_set_new(world->grant, "kube_resources", rules);
}

void client_open(struct world *world)
{
    buf_clear(&world->got);
    world->client_eof = world->client_closed = false;
    assert_int_equal(tunnel_stream_open(world->near, "kube", "", 0, &client_events, world, &world->client), TP_OK);
}

void client_say(struct world *world, const char *text)
{
    assert_int_equal(tunnel_stream_write(world->client, text, strlen(text)), strlen(text));
}

struct world *world_new(void)
{
    struct world *world = mem_alloc(sizeof(*world));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int ends[2];
    world->loop = loop_new();
    world->answer_ms = 5;
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
    struct kube_line line = {
        .request = line_request, .report = line_report, .cancel = line_cancel, .find = line_find, .ctx = world};
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
    return world->near == NULL && world->far == NULL && !open && world->pendings == NULL && kube_is_idle(world->kube);
}

void world_free(struct world *world)
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

bool api_has_head(struct world *world)
{
    return strstr(api_got(world), "\r\n\r\n") != NULL;
}

bool client_has_head(struct world *world)
{
    return strstr(buf_text(&world->got), "\r\n\r\n") != NULL;
}

bool client_is_closed(struct world *world)
{
    return world->client_closed;
}

bool api_is_closed(struct world *world)
{
    return world->api != NULL && world->api->closed;
}

bool has_count(const char *text, const char *word, size_t count)
{
    size_t found = 0;
    for (const char *at = text; (at = strcasestr(at, word)) != NULL; at += strlen(word)) {
        found++;
    }
    return found == count;
}

bool client_has_503(struct world *world)
{
    return strstr(buf_text(&world->got), "HTTP/1.1 503 ") != NULL;
}

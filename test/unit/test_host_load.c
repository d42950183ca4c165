/* What one host may ask of auth at once through a worker: the rest waits at the host, in order, and nothing of it is lost. */
#include "base/mem.h"
#include "core/stream.h"
#include "protocols/host_load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
/* cmocka wants the headers above. */
#include <cmocka.h>

#define AUTH_MS 20
#define LINES 2
#define CALLS 1000 /* on each, at most */

struct side {
    struct world *world;
    struct stream *transport;
    struct tunnel *tunnel;
    bool dialler;
};

struct near_line {
    struct world *world;
    struct host_load_line entry;
    int64_t last; /* number of its last request */
};

struct world {
    struct loop *loop;
    struct map *loads;
    struct host_load *load;
    struct side near, far;
    struct near_line lines[LINES];
    struct rpc_line *far_lines[LINES];
    size_t line_count;
    struct rpc_call *waiting[CALLS * LINES]; /* for auth */
    size_t waiting_count;
    size_t most, most_bytes, bytes;
    int calls;   /* on each line */
    size_t text; /* bytes of each request */
    size_t answered, failed;
    struct timer *auth;
};

/* ---- the worker's side ---- */

static void on_request(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                       json_t *caller, int fd)
{
    struct near_line *line = ctx;
    struct world *world = line->world;
    int64_t number = json_get_int(params, "n", -1);
    (void)rpc;
    (void)method;
    (void)caller;
    (void)fd;
    assert_int_equal(number, line->last + 1); /* in order */
    line->last = number;
    host_load_begin(world->load, rpc_call_size(call));
    world->waiting[world->waiting_count++] = call;
    world->bytes += rpc_call_size(call);
    world->most = world->waiting_count > world->most ? world->waiting_count : world->most;
    world->most_bytes = world->bytes > world->most_bytes ? world->bytes : world->most_bytes;
}

/* Auth answers what it has. */
static void on_auth(void *ctx)
{
    struct world *world = ctx;
    while (world->waiting_count > 0) {
        struct rpc_call *call = world->waiting[--world->waiting_count];
        size_t size = rpc_call_size(call);
        world->bytes -= size;
        rpc_reply(call, NULL);
        host_load_end(world->load, size);
    }
}

static void on_near_line_close(void *ctx, enum close_reason reason)
{
    struct near_line *line = ctx;
    (void)reason;
    host_load_line_remove(&line->entry);
}

static const struct rpc_events near_rpc = {.on_request = on_request};
static const struct rpc_line_events near_line = {.rpc = &near_rpc, .on_close = on_near_line_close};

static void on_near_open(void *ctx, struct tunnel_stream *stream, const char *kind, const uint8_t *header, size_t size)
{
    struct world *world = ((struct side *)ctx)->world;
    struct near_line *line = &world->lines[world->line_count++];
    (void)kind;
    (void)header;
    (void)size;
    line->world = world;
    host_load_line_add(world->load, &line->entry, rpc_line_accept(world->loop, stream, &near_line, line));
}

/* ---- the host's side ---- */

static void on_answer(void *ctx, json_t *result, const struct tp_error *error)
{
    struct world *world = ctx;
    (void)result;
    world->answered += error == NULL;
    world->failed += error != NULL;
    if (world->answered + world->failed == (size_t)world->calls * LINES) {
        loop_stop(world->loop);
    }
}

static void on_far_line_close(void *ctx, enum close_reason reason)
{
    (void)ctx;
    (void)reason;
}

static const struct rpc_events far_rpc = {0};
static const struct rpc_line_events far_line = {.rpc = &far_rpc, .on_close = on_far_line_close};

static void on_far_ready(void *ctx)
{
    struct world *world = ((struct side *)ctx)->world;
    char *text = mem_alloc(world->text + 1);
    memset(text, 'x', world->text);
    for (size_t i = 0; i < LINES; i++) {
        assert_int_equal(rpc_line_open(world->loop, world->far.tunnel, &far_line, world, &world->far_lines[i]), TP_OK);
        for (int n = 1; n <= world->calls; n++) {
            (void)rpc_request(rpc_line_rpc(world->far_lines[i]), "session.event",
                              json_pack("{s:i, s:s}", "n", n, "text", text), NULL, 60000, on_answer, world);
        }
    }
    mem_free(text);
}

static void on_close(void *ctx, enum close_reason reason)
{
    (void)ctx;
    (void)reason;
}

static const struct tunnel_events near_events = {.on_open = on_near_open, .on_close = on_close};
static const struct tunnel_events far_events = {.on_ready = on_far_ready, .on_close = on_close};

static void on_transport(void *ctx)
{
    struct side *side = ctx;
    side->tunnel =
        tunnel_new(side->world->loop, side->transport, side->dialler, side->dialler ? &far_events : &near_events, side);
}

static const struct stream_events transport_events = {.on_ready = on_transport, .on_close = on_close};

static void on_end(void *ctx)
{
    loop_stop(((struct world *)ctx)->loop);
}

static struct world *flood(int calls, size_t text)
{
    int ends[2];
    struct world *world = mem_alloc(sizeof(*world));
    world->calls = calls;
    world->text = text;
    world->loop = loop_new();
    world->loads = map_new();
    world->load = host_load_get(world->loads, "host");
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    world->near = (struct side){.world = world};
    world->far = (struct side){.world = world, .dialler = true};
    world->near.transport = stream_new(world->loop, ends[0], &transport_events, &world->near);
    world->far.transport = stream_new(world->loop, ends[1], &transport_events, &world->far);
    world->auth = timer_new(world->loop, on_auth, world);
    timer_start(world->auth, AUTH_MS, AUTH_MS);
    loop_run(world->loop);
    return world;
}

static void world_free(struct world *world)
{
    tunnel_close(world->far.tunnel, CLOSE_DONE);
    tunnel_close(world->near.tunnel, CLOSE_DONE);
    timer_free(world->auth);
    struct timer *end = timer_new(world->loop, on_end, world);
    timer_start(end, 50, 0);
    loop_run(world->loop);
    timer_free(end);
    host_load_drop(world->load);
    assert_int_equal(map_count(world->loads), 0);
    map_free(world->loads);
    loop_free(world->loop);
    mem_free(world);
}

/* R15: a host that has been taken over reported without end. All that went to auth, by the way that is everybody's: after some
 * seconds nobody could sign in or reach a server any more. */
static void r15_a_flood_waits_at_its_host(void **state)
{
    (void)state;
    struct world *world = flood(CALLS, 10);
    assert_int_equal(world->answered, CALLS * LINES);
    assert_in_range(world->most, 1, HOST_LOAD_CALLS + LINES);
    world_free(world);
}

static void r15_a_flood_of_large_reports_waits_at_its_host(void **state)
{
    (void)state;
    struct world *world = flood(100, 60000);
    assert_int_equal(world->answered, 100 * LINES);
    assert_in_range(world->most_bytes, 1, HOST_LOAD_BYTES + 70000 * LINES);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r15_a_flood_waits_at_its_host),
        cmocka_unit_test(r15_a_flood_of_large_reports_waits_at_its_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

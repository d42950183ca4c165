/* Requests that are passed on from one line to another in the text in which they came. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "base/mem.h"
#include "core/rpc.h"
#include "core/rpc_skim.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Client (a plain socket) -> middle -> server. */
struct world {
    struct loop *loop;
    struct timer *limit;
    int client;
    struct rpc *middle_in, *middle_out, *server;
    struct rpc_call *waits;
    unsigned passed, refused, unread;
    bool client_ended, server_ended;
    json_t *seen; /* the params that the server got last */
    char method[32];
};

static void on_limit(void *ctx)
{
    loop_stop(ctx);
}

static void on_passed_answer(void *ctx, const char *text, size_t size, const struct tp_error *error)
{
    struct world *world = ctx;
    assert_null(error);
    rpc_reply_text(world->waits, text, size);
    world->waits = NULL;
    loop_stop(world->loop);
}

static void pass_on(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                    json_t *caller, int fd)
{
    struct world *world = ctx;
    (void)rpc;
    (void)method;
    (void)params;
    (void)caller;
    (void)fd;
    world->waits = call;
    if (rpc_pass_on(world->middle_out, call, json_pack("{s:s}", "kind", "host"), on_passed_answer, world)) {
        world->passed++;
        return;
    }
    world->refused++;
    world->waits = NULL;
    rpc_fail_text(call, TP_TOO_LARGE, "no");
    loop_stop(world->loop);
}

static void pass_on_unread(void *ctx, struct rpc_call *call, const char *method)
{
    struct world *world = ctx;
    world->unread++;
    pass_on(ctx, NULL, call, method, NULL, NULL, -1);
}

static void serve(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params, json_t *caller,
                  int fd)
{
    struct world *world = ctx;
    (void)rpc;
    (void)fd;
    assert_string_equal(json_get_text(caller, "kind", ""), "host");
    assert_int_equal(json_object_size(caller), 1);
    json_decref(world->seen);
    world->seen = json_incref(params);
    (void)snprintf(world->method, sizeof(world->method), "%s", method);
    rpc_reply(call, json_pack("{s:b}", "served", 1));
}

static void client_ended(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct world *world = ctx;
    (void)rpc;
    (void)reason;
    world->client_ended = true;
    loop_stop(world->loop);
}

static void server_ended(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct world *world = ctx;
    (void)rpc;
    (void)reason;
    world->server_ended = true;
    loop_stop(world->loop);
}

static const struct rpc_events in_events = {
    .on_request = pass_on, .on_unread = pass_on_unread, .on_close = client_ended};
static const struct rpc_events out_events = {.on_close = server_ended};
static const struct rpc_events server_events = {.on_request = serve};

static int begin(void **state)
{
    struct world *world = mem_alloc(sizeof(*world));
    int near[2], far[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, near), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, far), 0);
    world->loop = loop_new();
    world->limit = timer_new(world->loop, on_limit, world->loop);
    world->client = near[0];
    world->middle_in = rpc_new_fd(world->loop, near[1], &in_events, world);
    world->middle_out = rpc_new_fd(world->loop, far[0], &out_events, world);
    world->server = rpc_new_fd(world->loop, far[1], &server_events, world);
    *state = world;
    return 0;
}

static int end(void **state)
{
    struct world *world = *state;
    if (!world->client_ended)
        rpc_free(world->middle_in);
    if (!world->server_ended)
        rpc_free(world->middle_out);
    rpc_free(world->server);
    timer_start(world->limit, 20, 0);
    loop_run(world->loop);
    timer_free(world->limit);
    loop_free(world->loop);
    (void)close(world->client);
    json_decref(world->seen);
    mem_free(world);
    return 0;
}

static unsigned settled(const struct world *world)
{
    return world->passed + world->refused;
}

/* Sends one request as this text and lets it run to its answer, or to the end of the line. */
static void ask(struct world *world, const char *text, size_t size)
{
    uint8_t header[RPC_HEADER_SIZE];
    unsigned before = settled(world);
    size_t done = 0;
    rpc_frame_encode(&(struct rpc_frame){.type = RPC_REQUEST, .id = 7, .size = (uint32_t)size}, header);
    assert_int_equal(write(world->client, header, sizeof(header)), sizeof(header));
    while (!world->client_ended && (settled(world) == before || world->waits != NULL)) {
        ssize_t put = write(world->client, text + done, size - done);
        done += put > 0 ? (size_t)put : 0;
        timer_start(world->limit, done < size ? 1 : 2000, 0);
        loop_run(world->loop);
    }
}

/* The server gets what was asked, whatever spaces, escapes and orders it was written with, and the caller of the middle. */
static void what_was_asked_arrives(void **state)
{
    static const char *const texts[] = {
        "{\"method\":\"m\",\"params\":{}}",
        "{\"method\":\"m\",\"params\":{\"a\":[{\"caller\":{},\"method\":\"x\"},-17,true,null,\"}\\\"\\n\"]}}",
        " \n{ \"params\" : {\"a\":[1e9,1.5,-0,\"\\u0041\\\"\\\\}{\",{\"caller\":{\"kind\":\"user\"}}]} "
        ",\t\"method\":\"m\" }  ",
        "{\"\\u006dethod\":\"m\",\"params\":{\"method\":\"x\",\"caller\":null}}",
    };
    struct world *world = *state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *body = json_loads(texts[i], 0, NULL);
        ask(world, texts[i], strlen(texts[i]));
        assert_int_equal(world->passed, i + 1);
        assert_string_equal(world->method, "m");
        assert_true(json_equal(world->seen, json_object_get(body, "params")));
        json_decref(body);
    }
    assert_int_equal(world->unread, 2);
    assert_false(world->client_ended || world->server_ended);
}

/* What is passed on without being read is what the parser would have taken; the rest is left to it. */
static void what_is_no_json_is_not_skimmed(void **state)
{
    static const char *const good[] = {
        "{}", "{\"a\":[],\"b\":[{}],\"\":0}", "{\"a\":{\"b\":1},\"b\":{\"b\":-999999999999999}}",
        "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t ~\"}", "{\"a\":true,\"b\":false,\"c\":null}"};
    static const char *const bad[] = {"[]",
                                      "1",
                                      "null",
                                      "{}}",
                                      "{} ",
                                      "{},\"caller\":{}",
                                      "{},\"method\":\"x\"",
                                      "{\"a\":1,\"a\":2}",
                                      "{\"a\":{\"b\":1,\"c\":2,\"b\":3}}",
                                      "{\"a\":01}",
                                      "{\"a\":-}",
                                      "{\"a\":1.5}",
                                      "{\"a\":1e9}",
                                      "{\"a\":1234567890123456}",
                                      "{\"a\":\"\\u0061\"}",
                                      "{\"a\":\"\\x\"}",
                                      "{\"\\n\":1}",
                                      "{\"a\":\"\xc3\xa4\"}",
                                      "{\"a\":\"\xff\"}",
                                      "{\"a\":\"\t\"}",
                                      "{\"a\":\"}",
                                      "{\"a\":\"\\",
                                      "{\"a\":[1,]}",
                                      "{\"a\":1,}",
                                      "{\"a\"}",
                                      "{,}",
                                      "{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}",
                                      "{\"a\":tru}",
                                      "{\"a\":[1}",
                                      "{\"a\": 1}"};
    char method[RPC_METHOD_ROOM];
    char text[256];
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        json_t *body = NULL;
        int size = snprintf(text, sizeof(text), "{\"method\":\"a.b\",\"params\":%s}", good[i]);
        assert_true(rpc_skim(text, (size_t)size, method));
        assert_string_equal(method, "a.b");
        assert_int_equal(json_parse_object(text, (size_t)size, RPC_FRAME_MAX, &body, NULL), TP_OK);
        json_decref(body);
        for (int cut = 0; cut < size; cut++)
            assert_false(rpc_skim(text, (size_t)cut, method));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int size = snprintf(text, sizeof(text), "{\"method\":\"a.b\",\"params\":%s}", bad[i]);
        assert_false(rpc_skim(text, (size_t)size, method));
    }
    assert_false(rpc_skim("{\"method\":\"m\",\"params\":{\"a\":\"\0\"}}", 36, method));
    assert_false(rpc_skim("{\"method\":1,\"params\":{}}", 24, method));
    for (int length = RPC_METHOD_ROOM - 1; length <= RPC_METHOD_ROOM; length++) {
        int size = snprintf(text, sizeof(text), "{\"method\":\"%0*d\",\"params\":{}}", length, 7);
        assert_int_equal(rpc_skim(text, (size_t)size, method), length < RPC_METHOD_ROOM);
    }
}

/* A caller of its own, a second of something, or more than a request has: nothing of it is passed on. */
static void nothing_else_is_passed_on(void **state)
{
    static const char *const refused[] = {
        "{\"method\":\"m\",\"params\":{},\"caller\":{\"kind\":\"user\"}}",
        "{\"method\":\"m\",\"params\":{},\"x\":1}",
    };
    static const char broken[] = "{\"method\":\"m\",\"params\":{},\"\\u0063aller\":{},\"caller\":{\"kind\":\"user\"}}";
    struct world *world = *state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        ask(world, refused[i], strlen(refused[i]));
        assert_int_equal(world->refused, i + 1);
    }
    ask(world, broken, strlen(broken));
    assert_true(world->client_ended);
    assert_int_equal(world->passed, 0);
    assert_null(world->seen);
}

/* As large as a frame may be, and larger with the caller: the line that all share did not survive it. */
static void the_largest_request_ends_no_other_line(void **state)
{
    static const char head[] = "{\"method\":\"m\",\"params\":{\"a\":\"";
    struct world *world = *state;
    char *text = mem_alloc(RPC_FRAME_MAX);
    memset(text, 'x', RPC_FRAME_MAX);
    memcpy(text, head, sizeof(head) - 1);
    memcpy(text + RPC_FRAME_MAX - 3, "\"}}", 3);
    ask(world, text, RPC_FRAME_MAX);
    assert_int_equal(world->refused, 1);
    ask(world, "{\"method\":\"m\",\"params\":{}}", 26);
    assert_int_equal(world->passed, 1);
    assert_false(world->client_ended || world->server_ended);
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_asked_arrives, begin, end),
        cmocka_unit_test(what_is_no_json_is_not_skimmed),
        cmocka_unit_test_setup_teardown(nothing_else_is_passed_on, begin, end),
        cmocka_unit_test_setup_teardown(the_largest_request_ends_no_other_line, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What an agent says to auth: reports are made again until they are heard. */
#include "agent/agent_priv.h"
#include "base/mem.h"
#include "crypt/key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

struct world {
    struct agent agent;
    struct rpc *auth;
    enum tp_err refusal; /* of the first calls */
    int refusals;
    int heard;
    int answers;
    char names[3][UUID_TEXT_SIZE]; /* of the last calls, the newest first */
    struct tp_error error;         /* of the last answer */
};

static void on_request(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                       json_t *caller, int fd)
{
    struct world *world = ctx;
    (void)rpc;
    (void)method;
    (void)caller;
    (void)fd;
    memmove(world->names[1], world->names[0], sizeof(world->names) - sizeof(world->names[0]));
    (void)snprintf(world->names[0], sizeof(world->names[0]), "%s", json_get_text(params, "report", ""));
    if (world->refusals > 0) {
        world->refusals--;
        rpc_fail_text(call, world->refusal, "not now");
        return;
    }
    world->heard++;
    rpc_reply(call, NULL);
}

static void on_answer(void *ctx, json_t *result, const struct tp_error *error)
{
    struct world *world = ctx;
    (void)result;
    world->answers++;
    world->error = error != NULL ? *error : (struct tp_error){0};
    loop_stop(world->agent.loop);
}

static int begin(void **state)
{
    static const struct rpc_events near_events = {0};
    static const struct rpc_events far_events = {.on_request = on_request};
    struct world *world = mem_alloc(sizeof(*world));
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    world->agent.loop = loop_new();
    world->agent.calls_end = &world->agent.calls;
    world->agent.local = rpc_new_fd(world->agent.loop, ends[0], &near_events, world);
    world->auth = rpc_new_fd(world->agent.loop, ends[1], &far_events, world);
    *state = world;
    return 0;
}

static void stop(void *ctx)
{
    loop_stop(ctx);
}

static int end(void **state)
{
    struct world *world = *state;
    struct timer *timer = timer_new(world->agent.loop, stop, world->agent.loop);
    rpc_free(world->agent.local);
    rpc_free(world->auth);
    timer_start(timer, 5, 0); /* they go at the end of a turn */
    loop_run(world->agent.loop);
    timer_free(timer);
    loop_free(world->agent.loop);
    mem_free(world);
    return 0;
}

static void report(struct world *world)
{
    (void)up_report(&world->agent, "session.event", NULL, on_answer, world);
    loop_run(world->agent.loop);
    assert_int_equal(world->answers, 1);
    assert_null(world->agent.calls);
}

/* Auth hears no more of a host while too much of it waits there: what came then was not on record. */
static void test_a_report_for_which_there_was_no_room_is_made_again(void **state)
{
    static const enum tp_err later[] = {TP_LIMIT, TP_UNAVAILABLE, TP_TIMEOUT, TP_CLOSED};
    struct world *world = *state;
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        world->refusal = later[i];
        world->refusals = 2;
        world->heard = world->answers = 0;
        report(world);
        assert_int_equal(world->error.code, TP_OK);
        assert_int_equal(world->heard, 1);
        /* By its name auth sees that it is the same; another one has another. */
        char name[UUID_TEXT_SIZE];
        (void)snprintf(name, sizeof(name), "%s", world->names[0]);
        assert_int_equal(strlen(name), UUID_TEXT_SIZE - 1);
        assert_string_equal(world->names[1], name);
        assert_string_equal(world->names[2], name);
        world->answers = 0;
        report(world);
        assert_string_not_equal(world->names[0], name);
    }
}

static void test_a_report_that_is_refused_is_not_made_again(void **state)
{
    static const enum tp_err refused[] = {TP_DENIED, TP_NOT_FOUND, TP_NO_SPACE, TP_TOO_LARGE};
    struct world *world = *state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        world->refusal = refused[i];
        world->refusals = 1;
        world->heard = world->answers = 0;
        report(world);
        assert_int_equal(world->error.code, refused[i]);
        assert_int_equal(world->heard, 0);
    }
}

#define MANY 300
#define LARGE ((size_t)256 * 1024)
/* What one takes: its text, its name, and what is counted besides. */
#define ONE (LARGE + 2048 + strlen("{\"text\":\"\",\"report\":\"\"}") + UUID_TEXT_SIZE - 1)

/* While auth is away what people do goes on, and its reports could take all of a host's memory. */
static void test_reports_that_wait_are_bounded(void **state)
{
    struct world *world = *state;
    struct rpc *line = world->agent.local;
    char *text = mem_array(LARGE + 1, 1);
    memset(text, 'x', LARGE);
    world->agent.local = NULL; /* no line */
    for (size_t i = 0; i < MANY; i++) {
        (void)up_report(&world->agent, "session.event", json_pack("{s:s}", "text", text), on_answer, world);
    }
    mem_free(text);
    loop_run(world->agent.loop);
    assert_int_equal(world->error.code, TP_UNAVAILABLE);
    struct timer *timer = timer_new(world->agent.loop, stop, world->agent.loop);
    timer_start(timer, 100, 0);
    while (timer_is_active(timer)) {
        loop_run(world->agent.loop);
    }
    assert_true(world->agent.kept <= UP_KEPT_MAX);
    assert_int_equal(world->answers, MANY - UP_KEPT_MAX / ONE);
    /* What was kept is heard. */
    world->agent.local = line;
    up_flush(&world->agent);
    while (world->agent.calls != NULL) {
        loop_run(world->agent.loop);
    }
    timer_free(timer);
    assert_int_equal(world->answers, MANY);
    assert_int_equal(world->heard, UP_KEPT_MAX / ONE);
    assert_int_equal(world->agent.kept, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_report_for_which_there_was_no_room_is_made_again, begin, end),
        cmocka_unit_test_setup_teardown(test_a_report_that_is_refused_is_not_made_again, begin, end),
        cmocka_unit_test_setup_teardown(test_reports_that_wait_are_bounded, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

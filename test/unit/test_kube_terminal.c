/* What runs through the agent: terminals are recorded, also while auth is away; what is cut off (watches, too) is told why; idle ones end. */
#include "kube_session_help.h"

#include "base/clock.h"

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
    answer_about_pod(world);
    session_say(world, SWITCH, strlen(SWITCH));
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

static bool has_rested(struct world *world)
{
    return clock_mono_ms() >= world->deadline_ms;
}

static void rest(struct world *world, int64_t ms)
{
    world->deadline_ms = clock_mono_ms() + ms;
    run_until(world, has_rested);
}

/* What happened while auth was being replaced was tried a few times in a few milliseconds, and then it was not on record. */
static void test_what_happens_while_auth_is_away_is_on_record_afterwards(void **state)
{
    struct world *world = world_new();
    (void)state;
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                                 "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n";
    client_exec(world, "0");
    answer_about_pod(world);
    session_say(world, answer, sizeof(answer) - 1);
    run_until(world, client_has_head);
    world->away = true;
    tunnel_stream_close(world->client, CLOSE_DONE, NULL);
    rest(world, 200);
    assert_null(call_of(world, "session.end", NULL, 0));
    assert_false(kube_is_idle(world->kube));
    world->away = false;
    run_until(world, kube_is_done);
    assert_non_null(call_of(world, "session.event", "exec", 0));
    assert_non_null(call_of(world, "session.end", NULL, 0));
    world_free(world);
}

/* The same for a terminal: nothing of it is lost, and it goes on. */
static void test_a_terminal_outlives_an_auth_that_is_replaced(void **state)
{
    struct world *world = world_new();
    (void)state;
    start_terminal(world);
    world->away = true;
    session_say(world, SHOWN, sizeof(SHOWN) - 1);
    run_until(world, shown);
    rest(world, 200);
    assert_null(call_of(world, "recording.append", NULL, 0));
    assert_false(world->client_closed);
    world->away = false;
    run_until(world, piece_is_confirmed);
    session_say(world, EXIT_7, sizeof(EXIT_7) - 1);
    stream_shutdown(session_conn(world)->stream);
    run_until(world, session_ended);
    assert_true(json_get_bool(call_of(world, "session.end", NULL, 0), "recorded", false));
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

/* ---- cut off ---- */

static void cut(struct world *world)
{
    kube_session_cut(world->kube, "another", CLOSE_LOCKED, "not this one");
    assert_false(world->client_closed);
    kube_session_cut(world->kube, "sid-1", CLOSE_LOCKED, "you are locked");
}

static bool client_was_told(struct world *world)
{
    return memmem(buf_head(&world->got), buf_size(&world->got), "tport: you are locked", 21) != NULL;
}

static bool api_and_client_closed(struct world *world)
{
    return client_is_closed(world) && session_is_closed(world);
}

/* The words come although the client never closes its half, and then both sides end with the reason. */
static void expect_told(struct world *world)
{
    run_until(world, client_was_told);
    run_until(world, api_and_client_closed);
    assert_int_equal(world->client_reason, CLOSE_LOCKED);
}

static void test_a_terminal_is_told_why_it_is_cut(void **state)
{
    struct world *world = world_new();
    (void)state;
    start_terminal(world);
    session_say(world, SHOWN, sizeof(SHOWN) - 1);
    run_until(world, shown);
    cut(world);
    expect_told(world);
    /* A line of its own, the status, a proper close; nothing of the session behind it. */
    static const char line[] = "hello\x82\x03\x01\r\n";
    assert_non_null(memmem(buf_head(&world->got), buf_size(&world->got), line, sizeof(line) - 1));
    assert_memory_equal(buf_head(&world->got) + buf_size(&world->got) - 4, "\x88\x02\x03\xe8", 4);
    run_until(world, session_ended);
    assert_string_equal(json_get_text(call_of(world, "session.end", NULL, 0), "reason", ""), "locked");
    world_free(world);
}

static void test_a_terminal_in_the_middle_of_a_frame_is_cut_all_the_same(void **state)
{
    struct world *world = world_new();
    (void)state;
    start_terminal(world);
    session_say(world, SHOWN "\x82", sizeof(SHOWN));
    run_until(world, shown);
    cut(world);
    run_until(world, api_and_client_closed);
    assert_false(client_was_told(world));
    world_free(world);
}

static bool client_sees_the_end(struct world *world)
{
    return world->client_eof;
}

/* kubectl takes the end of its streams for the success of the command. */
static void test_a_command_that_the_api_server_leaves_is_no_success(void **state)
{
    (void)state;
    for (int told = 0; told < 2; told++) {
        struct world *world = world_new();
        start_terminal(world);
        session_say(world, SHOWN, sizeof(SHOWN) - 1);
        if (told) {
            session_say(world, EXIT_7, sizeof(EXIT_7) - 1);
        }
        run_until(world, shown);
        stream_shutdown(session_conn(world)->stream);
        run_until(world, client_sees_the_end);
        static const char said[] = "closed the connection before it said how the command ended";
        const char *got = memmem(buf_head(&world->got), buf_size(&world->got), said, sizeof(said) - 1);
        assert_true(told ? got == NULL : got != NULL);
        run_until(world, session_ended);
        assert_string_equal(json_get_text(call_of(world, "session.end", NULL, 0), "reason", ""), "target_closed");
        world_free(world);
    }
}

static bool start_is_under_way(struct world *world)
{
    return call_of(world, "session.start", NULL, 0) != NULL;
}

/* While auth is asked: its late answer must not bring the session back. */
static void test_a_session_that_is_about_to_start_is_refused(void **state)
{
    (void)state;
    for (int step = 0; step < 2; step++) {
        struct world *world = world_new();
        world->answer_ms = 300; /* the cut comes first, on a busy machine too */
        client_say(world, TERMINAL);
        if (step == 1) {
            answer_about_pod(world);
            session_say(world, SWITCH, strlen(SWITCH));
        }
        run_until(world, step == 0 ? attempt_is_under_way : start_is_under_way);
        cut(world);
        expect_told(world);
        assert_true(has_count(buf_text(&world->got), "HTTP/1.1 403 ", 1));
        assert_true(has_count(buf_text(&world->got), "101 Switching", 0));
        assert_int_equal(api_bytes(world) > 0, step);
        world_free(world);
    }
}

static void test_a_request_without_an_answer_is_refused(void **state)
{
    struct world *world = world_new();
    (void)state;
    client_say(world, GET_PODS "\r\n");
    run_until(world, api_has_head);
    cut(world);
    expect_told(world);
    run_until(world, api_is_closed);
    assert_true(has_count(buf_text(&world->got), "HTTP/1.1 403 ", 1));
    world_free(world);
}

static bool client_has_event(struct world *world)
{
    return has_count(buf_text(&world->got), "ADDED", 1);
}

/* Between two documents one more can say it; inside one nothing can. */
static void test_a_watch_is_told_why_it_is_cut(void **state)
{
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        struct world *world = world_new();
        client_say(world, "GET /api/v1/namespaces/default/pods?watch=true HTTP/1.1\r\nHost: x\r\n\r\n");
        run_until(world, api_has_head);
        api_say(world, whole ? "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "11\r\n{\"type\":\"ADDED\"}\n\r\n"
                             : "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "f\r\n{\"type\":\"ADDED\"\r\n");
        run_until(world, client_has_event);
        cut(world);
        run_until(world, client_is_closed);
        assert_int_equal(client_was_told(world), whole);
        assert_true(
            has_count(buf_text(&world->got), "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\"", (size_t)whole));
        assert_true(has_count(buf_text(&world->got), "\r\n0\r\n\r\n", (size_t)whole));
        run_until(world, api_is_closed);
        world_free(world);
    }
}

/* ---- idle ---- */

#define TYPED "\x82\x82\x00\x00\x00\x00\x00x"

/* Output and input are signs of life, pings of the programs are none. */
static void test_an_idle_terminal_ends(void **state)
{
    (void)state;
    struct world *world = world_new();
    (void)json_object_set_new(json_object_get(world->grant, "options"), "idle_timeout", json_integer(800));
    tunnel_stream_close(world->client, CLOSE_DONE, NULL);
    run_until(world, client_is_closed);
    client_open(world);
    start_terminal(world);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tunnel_stream_write(world->client, TYPED, sizeof(TYPED) - 1), sizeof(TYPED) - 1);
        world->deadline_ms = 0;
        run_until(world, half_a_second_later);
        assert_false(has_count(buf_text(&world->got), "nothing was sent", 1));
        assert_false(world->client_closed);
    }
    assert_int_equal(tunnel_stream_write(world->client, "\x89\x80\0\0\0\0", 6), 6);
    run_until(world, client_is_closed);
    assert_int_equal(world->client_reason, CLOSE_IDLE_TIMEOUT);
    assert_non_null(memmem(buf_head(&world->got), buf_size(&world->got), "nothing was sent for too long", 29));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_terminal_is_recorded),
        cmocka_unit_test(test_what_happens_while_auth_is_away_is_on_record_afterwards),
        cmocka_unit_test(test_a_terminal_outlives_an_auth_that_is_replaced),
        cmocka_unit_test(test_a_recorder_that_fails),
        cmocka_unit_test(test_bytes_that_are_no_websocket_end_the_session),
        cmocka_unit_test(test_a_terminal_is_told_why_it_is_cut),
        cmocka_unit_test(test_a_terminal_in_the_middle_of_a_frame_is_cut_all_the_same),
        cmocka_unit_test(test_a_command_that_the_api_server_leaves_is_no_success),
        cmocka_unit_test(test_a_session_that_is_about_to_start_is_refused),
        cmocka_unit_test(test_a_request_without_an_answer_is_refused),
        cmocka_unit_test(test_a_watch_is_told_why_it_is_cut),
        cmocka_unit_test(test_an_idle_terminal_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

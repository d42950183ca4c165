/* exec, attach and port-forward through the agent: on record before they run, or refused. test_kube_terminal.c has what comes then. */
#include "kube_session_help.h"

static void test_an_upgrade_is_on_record_before_it_goes_up(void **state)
{
    struct world *world = world_new();
    (void)state;
    world->answer_ms = 1500;
    client_exec(world, "0");
    run_until(world, attempt_is_under_way);
    run_until(world, half_a_second_later);
    /* The API server has been dialled, and has got nothing before the attempt is durable. */
    assert_int_equal(world->api_count, 1);
    assert_int_equal(api_bytes(world), 0);
    world->answer_ms = 5;
    answer_about_pod(world);
    assert_int_equal(world->api_count, 2);
    json_t *event = call_of(world, "session.event", "kube.request", 0);
    assert_string_equal(json_get_text(json_object_get(event, "fields"), "resource_name", ""), "shell");
    const char *got = buf_text(&session_conn(world)->got);
    const char *five = strcasestr(got, "x-stream-protocol-version: v5.channel.k8s.io\r\n");
    const char *four = strcasestr(got, "x-stream-protocol-version: v4.channel.k8s.io\r\n");
    assert_true(five != NULL && four != NULL && five < four);
    assert_true(has_count(got, "upgrade: SPDY/3.1\r\n", 1));
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                                 "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n";
    session_say(world, answer, sizeof(answer) - 1);
    run_until(world, client_has_head);
    json_t *start = call_of(world, "session.start", NULL, 0);
    assert_non_null(start); /* answered before 101 was passed on */
    assert_string_equal(json_get_text(start, "command", ""), "sh -c echo hi");
    assert_string_equal(json_get_text(start, "kind", ""), "exec");
    assert_string_equal(json_get_text(start, "kubernetes_pod_name", ""), "shell");
    assert_string_equal(json_get_text(start, "kubernetes_container_name", ""), "main");
    assert_string_equal(json_get_text(start, "kubernetes_container_image", ""), "busybox:1");
    assert_string_equal(json_get_text(start, "kubernetes_node_name", ""), "node-7");
    assert_true(has_count(buf_text(&world->got), "upgrade: SPDY/3.1\r\n", 1));
    /* The right is taken away: the program's connection ends, auth learns it. */
    tunnel_stream_close(world->client, CLOSE_LOCKED, NULL);
    run_until(world, session_is_closed);
    run_until(world, session_ended);
    assert_non_null(call_of(world, "session.event", "exec", 0));
    assert_string_equal(json_get_text(call_of(world, "session.end", NULL, 0), "kubernetes_node_name", ""), "node-7");
    world_free(world);
}

static void test_an_attempt_that_cannot_be_recorded_goes_nowhere(void **state)
{
    struct world *world = world_new();
    (void)state;
    world->refuse_method = "session.event";
    client_exec(world, "0");
    run_until(world, client_has_503);
    run_until(world, half_a_second_later);
    assert_int_equal(api_bytes(world), 0);
    world_free(world);
}

/* The API server ends what was dialled ahead, before there was anything to say: it is dialled once more. */
static bool dialled(struct world *world)
{
    return world->api != NULL && world->api->stream != NULL;
}

/* Auth must be able to see that it is the same. */
static void test_an_attempt_whose_answer_was_lost_is_said_again_by_its_name(void **state)
{
    struct world *world = world_new();
    (void)state;
    world->lost = 2;
    client_exec(world, "0");
    answer_about_pod(world);
    const json_t *first = call_of(world, "session.event", "kube.request", 0);
    assert_true(strlen(json_get_text(first, "report", "")) > 0);
    for (size_t i = 1; i <= 2; i++) {
        assert_true(json_equal(call_of(world, "session.event", "kube.request", i), first));
    }
    assert_null(call_of(world, "session.event", "kube.request", 3));
    world_free(world);
}

static void test_a_connection_dialled_ahead_that_ends_is_no_error(void **state)
{
    (void)state;
    for (int speaks = 0; speaks < 2; speaks++) {
        struct world *world = world_new();
        world->answer_ms = 700;
        client_exec(world, "0");
        run_until(world, dialled);
        if (speaks) {
            api_say(world, "HTTP/1.1 408 Request Timeout\r\n\r\n");
        } else {
            stream_close(world->api->stream, CLOSE_SHUTDOWN);
        }
        run_until(world, half_a_second_later);
        run_until(world, both_asked);
        assert_int_equal(world->api_count, 3);
        assert_int_equal(buf_size(&world->got), 0);
        world_free(world);
    }
}

/* A question that the cluster does not answer delays the session, and does not stop it. */
static void test_a_session_starts_without_word_about_its_pod(void **state)
{
    struct world *world = world_new();
    (void)state;
    client_exec(world, "0");
    run_until(world, both_asked);
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                                 "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n";
    session_say(world, answer, sizeof(answer) - 1);
    run_until(world, half_a_second_later);
    assert_null(call_of(world, "session.start", NULL, 0));
    run_until(world, client_has_head);
    json_t *start = call_of(world, "session.start", NULL, 0);
    assert_string_equal(json_get_text(start, "kubernetes_container_name", ""), "main"); /* as the request says */
    assert_string_equal(json_get_text(start, "kubernetes_node_name", "?"), "");
    world_free(world);
}

static bool both_closed(struct world *world)
{
    return client_is_closed(world) && session_is_closed(world);
}

static bool session_is_asked_for(struct world *world)
{
    return session_conn(world) != NULL && got_text(session_conn(world), "\r\n\r\n");
}

/* A session from its request to its end; the node that it is on record with, as the nth one. asks: the cluster is asked. */
static const char *enter(struct world *world, size_t n, bool asks)
{
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                                 "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n";
    if (world->client == NULL) {
        client_open(world);
    }
    client_exec(world, "0");
    if (asks) {
        answer_about_pod(world);
    } else {
        run_until(world, session_is_asked_for);
    }
    session_say(world, answer, sizeof(answer) - 1);
    run_until(world, client_has_head);
    assert_int_equal(pod_conn(world) != NULL, asks);
    tunnel_stream_close(world->client, CLOSE_DONE, NULL);
    run_until(world, both_closed);
    for (struct api_conn *conn = world->api; conn != NULL; conn = conn->next) {
        buf_clear(&conn->got);
    }
    return json_get_text(call_of(world, "session.start", NULL, n), "kubernetes_node_name", "");
}

static bool a_second_later(struct world *world)
{
    if (world->deadline_ms == 0) {
        world->deadline_ms = loop_now_ms(world->loop) + 1100;
    }
    return loop_now_ms(world->loop) >= world->deadline_ms;
}

/* Who enters one pod many times has the cluster asked once a second; in another name it is another question. */
static void test_a_pod_is_asked_about_once_a_second(void **state)
{
    struct world *world = world_new();
    (void)state;
    assert_string_equal(enter(world, 0, true), "node-7");
    assert_string_equal(enter(world, 1, false), "node-7");
    (void)json_array_set_new(json_object_get(world->grant, "kube_users"), 0, json_string("bob"));
    assert_string_equal(enter(world, 2, true), "node-7");
    assert_string_equal(enter(world, 3, false), "node-7");
    run_until(world, a_second_later);
    assert_string_equal(enter(world, 4, true), "node-7");
    world_free(world);
}

static bool pod_is_asked_for(struct world *world)
{
    return pod_conn(world) != NULL && got_text(pod_conn(world), "\r\n\r\n");
}

static bool pod_is_closed(struct world *world)
{
    return pod_conn(world)->closed;
}

/* Who began to enter one pod after the other and hung up left a question for each with the cluster, for three seconds. */
static void test_a_question_about_a_pod_ends_with_who_asked(void **state)
{
    struct world *world = world_new();
    (void)state;
    client_exec(world, "0");
    run_until(world, pod_is_asked_for);
    int64_t asked_ms = loop_now_ms(world->loop);
    tunnel_stream_close(world->client, CLOSE_DONE, NULL);
    run_until(world, pod_is_closed);
    assert_in_range(loop_now_ms(world->loop) - asked_ms, 0, 2000);
    world_free(world);
}

static bool exec_is_told(struct world *world)
{
    return call_of(world, "session.event", "exec", 0) != NULL;
}

/* What a session was and that it has ended go to auth together, in this order: one write has both. */
static void test_the_end_of_a_session_is_told_at_once(void **state)
{
    (void)state;
    for (int refused = 0; refused < 2; refused++) {
        struct world *world = world_new();
        static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                                     "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n";
        client_exec(world, "0");
        answer_about_pod(world);
        session_say(world, answer, sizeof(answer) - 1);
        run_until(world, client_has_head);
        world->answer_ms = 200;
        world->refuse_method = refused ? "session.e" : NULL;
        tunnel_stream_close(world->client, CLOSE_DONE, NULL);
        run_until(world, exec_is_told);
        assert_non_null(call_of(world, "session.end", NULL, 0));
        size_t last = json_array_size(world->calls) - 1;
        assert_string_equal(json_get_text(json_array_get(world->calls, last), "method", ""), "session.end");
        assert_false(kube_is_idle(world->kube));
        run_until(world, kube_is_done);
        world_free(world);
    }
}

static struct api_conn *attach_conn(struct world *world)
{
    return conn_that_got(world, "/shell/attach?");
}

static bool attach_asked(struct world *world)
{
    return attach_conn(world) != NULL && pod_conn(world) != NULL && got_text(pod_conn(world), "\r\n\r\n");
}

/* A client that says nothing of a terminal and attaches to a container that has one gets it, and is recorded. */
static void test_an_attach_is_a_terminal_when_the_container_has_one(void **state)
{
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                                 "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n";
    static const struct {
        const char *pod;
        bool terminal;
    } cases[] = {
        {"200 OK\r\nContent-Length: 53\r\n\r\n{\"spec\":{\"containers\":[{\"name\":\"main\",\"tty\":true}]}} ", true},
        {"200 OK\r\nContent-Length: 42\r\n\r\n{\"spec\":{\"containers\":[{\"name\":\"main\"}]}} ", false},
        {"403 Forbidden\r\nContent-Length: 0\r\n\r\n", true}, /* nobody knows */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *world = world_new();
        client_say(world, "POST /api/v1/namespaces/default/pods/shell/attach?container=main&stdin=1&stdout=1&tty=0 "
                          "HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                          "X-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n\r\n");
        run_until(world, attach_asked);
        stream_write(pod_conn(world)->stream, "HTTP/1.1 ", 9);
        stream_write(pod_conn(world)->stream, cases[i].pod, strlen(cases[i].pod));
        stream_write(attach_conn(world)->stream, answer, sizeof(answer) - 1);
        run_until(world, client_has_head);
        assert_int_equal(json_get_bool(call_of(world, "session.start", NULL, 0), "interactive", !cases[i].terminal),
                         cases[i].terminal);
        world_free(world);
    }
}

static struct api_conn *forward_conn(struct world *world)
{
    return conn_that_got(world, "/shell/portforward?");
}

static bool forward_asked(struct world *world)
{
    return forward_conn(world) != NULL && pod_conn(world) != NULL && got_text(pod_conn(world), "\r\n\r\n");
}

/* A port-forward over plain WebSocket, which names its ports in the URL, up to its 101. */
static struct world *forwarding(const char *ports)
{
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                 "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n";
    struct world *world = world_new();
    char *text = mem_printf("GET /api/v1/namespaces/default/pods/shell/portforward?%s HTTP/1.1\r\nHost: x\r\n"
                            "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                            ports);
    client_say(world, text);
    mem_free(text);
    run_until(world, forward_asked);
    stream_write(pod_conn(world)->stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 45);
    stream_write(forward_conn(world)->stream, answer, sizeof(answer) - 1);
    run_until(world, client_has_head);
    stream_write(forward_conn(world)->stream, "\x82\x03\0P\0", 5);
    return world;
}

static void test_ports_in_the_url_of_a_websocket_are_on_record(void **state)
{
    struct world *world = forwarding("ports=80,443&ports=53&ports=80");
    (void)state;
    tunnel_stream_close(world->client, CLOSE_DONE, NULL);
    run_until(world, session_ended);
    json_t *fields = json_object_get(call_of(world, "session.event", "port", 0), "fields");
    json_t *ports = json_pack("[i, i, i]", 80, 443, 53);
    assert_true(json_equal(json_object_get(fields, "ports"), ports));
    json_decref(ports);
    world_free(world);
}

static void test_more_ports_than_an_event_holds_are_not_served(void **state)
{
    struct buf ports;
    (void)state;
    buf_init(&ports, 0);
    for (int port = 1; port <= 257; port++) {
        (void)buf_printf(&ports, "%s%d", port == 1 ? "ports=" : ",", port);
    }
    struct world *world = forwarding(buf_text(&ports));
    buf_free(&ports);
    run_until(world, client_is_closed);
    assert_int_equal(world->client_reason, CLOSE_RECORDING_FAILED);
    assert_null(memmem(buf_head(&world->got), buf_size(&world->got), "\x82\x03", 2));
    world_free(world);
}

static void test_a_session_that_cannot_be_recorded_gets_no_byte(void **state)
{
    struct world *world = world_new();
    (void)state;
    world->refuse_method = "session.start";
    client_exec(world, "1");
    answer_about_pod(world);
    static const char answer[] =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nserver-bytes";
    session_say(world, answer, sizeof(answer) - 1);
    run_until(world, client_has_503);
    assert_true(has_count(buf_text(&world->got), "server-bytes", 0));
    tunnel_stream_shutdown(world->client);
    run_until(world, both_closed);
    world_free(world);
}

static const json_t *answered_event(struct world *world)
{
    const json_t *call;
    for (size_t n = 0; (call = call_of(world, "session.event", "kube.request", n)) != NULL; n++) {
        if (json_object_get(json_object_get(call, "fields"), "response_code") != NULL) {
            return json_object_get(call, "fields");
        }
    }
    return NULL;
}

static bool has_answered_event(struct world *world)
{
    return answered_event(world) != NULL;
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
        answer_about_pod(world);
        session_say(world, answers[i], strlen(answers[i]));
        run_until(world, client_has_head);
        client_say(world, GET_PODS "\r\n");
        tunnel_stream_shutdown(world->client);
        run_until(world, both_closed);
        assert_null(conn_that_got(world, "/pods?"));
        assert_true(has_count(buf_text(&world->got), "HTTP/1.1 101", 0));
        assert_int_equal(world->api_count, 2); /* the session, and the question about its pod */
        assert_null(call_of(world, "session.start", NULL, 0));
        run_until(world, has_answered_event); /* whatever the answer: nothing ran */
        assert_false(json_get_bool(answered_event(world), "success", true));
        world_free(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_upgrade_is_on_record_before_it_goes_up),
        cmocka_unit_test(test_an_attempt_that_cannot_be_recorded_goes_nowhere),
        cmocka_unit_test(test_an_attempt_whose_answer_was_lost_is_said_again_by_its_name),
        cmocka_unit_test(test_a_connection_dialled_ahead_that_ends_is_no_error),
        cmocka_unit_test(test_a_session_starts_without_word_about_its_pod),
        cmocka_unit_test(test_a_pod_is_asked_about_once_a_second),
        cmocka_unit_test(test_a_question_about_a_pod_ends_with_who_asked),
        cmocka_unit_test(test_the_end_of_a_session_is_told_at_once),
        cmocka_unit_test(test_an_attach_is_a_terminal_when_the_container_has_one),
        cmocka_unit_test(test_ports_in_the_url_of_a_websocket_are_on_record),
        cmocka_unit_test(test_more_ports_than_an_event_holds_are_not_served),
        cmocka_unit_test(test_a_session_that_cannot_be_recorded_gets_no_byte),
        cmocka_unit_test(test_a_refused_upgrade_closes_both_sides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

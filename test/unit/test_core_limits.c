/* What a hostile neighbour may pile up in master and in lines of calls: see core/rpc.h and core/master_child.c. */
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/master_priv.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka wants the headers above. */
#include <cmocka.h>

static void on_stop(void *ctx)
{
    loop_stop(ctx);
}

static void run_for(struct loop *loop, int64_t ms)
{
    struct timer *timer = timer_new(loop, on_stop, loop);
    timer_start(timer, ms, 0);
    loop_run(loop);
    timer_free(timer);
}

/* ---- requests that nobody answers ---- */

struct bytes_side {
    size_t passed;
    size_t held_bytes;
    size_t answers; /* bytes of answers that left */
    bool closed;
    struct rpc_call *calls[256];
};

static void on_request(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                       json_t *caller, int fd)
{
    struct bytes_side *side = ctx;
    (void)rpc;
    (void)method;
    (void)caller;
    (void)fd;
    side->calls[side->passed++] = call;
    side->held_bytes += json_string_length(json_object_get(params, "data"));
}

static void on_close(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct bytes_side *side = ctx;
    (void)rpc;
    (void)reason;
    side->closed = true;
}

static void on_write(void *ctx, const void *data, size_t size)
{
    struct bytes_side *side = ctx;
    (void)data;
    side->answers += size;
}

static void feed_request(struct rpc *rpc, uint32_t id, size_t size)
{
    char *data = mem_alloc(size + 1);
    memset(data, 'x', size);
    char *text = mem_printf("{\"method\":\"recording.append\",\"params\":{\"data\":\"%s\"}}", data);
    struct rpc_frame frame = {.type = RPC_REQUEST, .id = id, .size = (uint32_t)strlen(text)};
    uint8_t header[RPC_HEADER_SIZE];
    rpc_frame_encode(&frame, header);
    rpc_feed(rpc, header, sizeof(header));
    rpc_feed(rpc, text, strlen(text));
    mem_free(text);
    mem_free(data);
}

static void test_R9_unanswered_requests_of_an_agent_are_bounded(void **state)
{
    static const struct rpc_events events = {.on_request = on_request, .on_close = on_close};
    struct bytes_side side = {0};
    struct loop *loop = loop_new();
    struct rpc *rpc = rpc_new_bytes(loop, on_write, &side, &events, &side);
    (void)state;
    for (uint32_t i = 1; i <= 100; i++)
        feed_request(rpc, i, (size_t)1024 * 1024);
    assert_true(side.held_bytes <= RPC_UNANSWERED_MAX);
    assert_true(side.passed >= 30);
    assert_true(side.answers > 0); /* the rest was told no */
    assert_false(side.closed);
    /* Once they are answered there is room again. */
    size_t before = side.passed;
    for (size_t i = 0; i < before; i++)
        rpc_reply(side.calls[i], NULL);
    feed_request(rpc, 200, (size_t)1024 * 1024);
    assert_int_equal(side.passed, before + 1);
    rpc_reply(side.calls[before], NULL);
    rpc_free(rpc);
    run_for(loop, 20);
    loop_free(loop);
}

/* A frame of 16 MB that is all lists would take 640 MB and seconds, of the worker and of auth behind it. */
static void on_unread(void *ctx, struct rpc_call *call, const char *method)
{
    struct bytes_side *side = ctx;
    (void)method;
    side->passed++;
    rpc_fail_text(call, TP_INTERNAL, "it should not have come so far");
}

static void small_frame_of_many_lists(const struct rpc_events *events)
{
    struct bytes_side side = {0};
    struct loop *loop = loop_new();
    struct rpc *rpc = rpc_new_bytes(loop, on_write, &side, events, &side);
    size_t lists = (size_t)1024 * 1024;
    char *data = mem_alloc(lists * 3 + 1);
    for (size_t i = 0; i < lists; i++)
        memcpy(data + i * 3, i + 1 < lists ? "[]," : "[]", i + 1 < lists ? 3 : 2);
    char *text = mem_printf("{\"method\":\"session.event\",\"params\":{\"data\":[%s]}}", data);
    struct rpc_frame frame = {.type = RPC_REQUEST, .id = 1, .size = (uint32_t)strlen(text)};
    uint8_t header[RPC_HEADER_SIZE];
    rpc_frame_encode(&frame, header);
    rpc_feed(rpc, header, sizeof(header));
    rpc_feed(rpc, text, strlen(text));
    run_for(loop, 20);
    assert_true(side.closed);
    assert_int_equal(side.passed, 0);
    mem_free(text);
    mem_free(data);
    loop_free(loop);
}

/* Nor where a request is passed on unread: whoever gets it makes the tree. */
static void test_R15_an_agents_small_frame_is_no_large_tree(void **state)
{
    static const struct rpc_events reads = {.on_request = on_request, .on_close = on_close};
    static const struct rpc_events passes_on = {.on_request = on_request, .on_unread = on_unread, .on_close = on_close};
    (void)state;
    small_frame_of_many_lists(&reads);
    small_frame_of_many_lists(&passes_on);
}

/* ---- handoffs to a worker that does not read ---- */

static size_t open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    size_t count = 0;
    while (readdir(folder))
        count++;
    (void)closedir(folder);
    return count;
}

static pid_t sleeper(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails must not leave it behind, with all it has open */
        (void)pause();
        _exit(0);
    }
    return pid;
}

/* Both ends of a TCP connection of our own; [0] is what a listener would have accepted. */
static void tcp_pair(int ends[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    ends[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(ends[1], (struct sockaddr *)&address, sizeof(address)), 0);
    ends[0] = accept(listener, NULL, NULL);
    assert_true(ends[0] >= 0);
    (void)close(listener);
}

static const struct rpc_events no_events = {0};

static void test_R9_handoff_flood_neither_fills_master_nor_breaks_a_sibling(void **state)
{
    struct master master = {.admin_fd = -1, .stopping = true, .loop = loop_new()};
    int bad[2];
    int good[2];
    int client[2];
    pid_t pids[2] = {sleeper(), sleeper()};
    struct rlimit limit = {8192, 8192};
    (void)state;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, bad), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, good), 0);
    master_child_adopt(&master, CHILD_WORKER, 1, pids[0], bad[0]);
    master_child_adopt(&master, CHILD_WORKER, 2, pids[1], good[0]);
    struct rpc *line = rpc_new_fd(master.loop, bad[1], &no_events, NULL);
    tcp_pair(client);
    /* What is no connection goes nowhere. */
    rpc_event_fd(line, "handoff", json_pack("{s:i, s:s}", "worker", 2, "address", "192.0.2.9:1000"), STDIN_FILENO);
    size_t before = open_descriptors();
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 100; i++)
            rpc_event_fd(line, "handoff",
                         json_pack("{s:i, s:s, s:s}", "worker", 2, "address", "192.0.2.1:1000", "more",
                                   "what master must not pass on"),
                         client[0]);
        /* What waits on our own end of the line is not what master holds. */
        for (int turn = 0; turn == 0 || (turn < 1000 && rpc_queued(line) > 0); turn++)
            run_for(master.loop, 5);
    }
    assert_true(open_descriptors() < before + 1000);
    assert_int_equal(waitpid(pids[1], NULL, WNOHANG), 0);
    /* The sibling's line is whole, and holds the two texts only. */
    char text[4096];
    ssize_t size = recv(good[1], text, sizeof(text) - 1, MSG_DONTWAIT);
    assert_true(size > RPC_HEADER_SIZE);
    text[size] = 0;
    for (ssize_t i = 0; i < size; i++)
        text[i] = text[i] ? text[i] : ' ';
    assert_null(strstr(text, "192.0.2.")); /* a worker can't make up where a connection comes from */
    assert_non_null(strstr(text, "127.0.0.1:"));
    assert_null(strstr(text, "must not pass on"));
    for (size_t i = 0; i < 2; i++) {
        (void)kill(pids[i], SIGKILL);
        (void)waitpid(pids[i], NULL, 0);
    }
    rpc_free(line);
    while (master.children) {
        struct master_child *child = master.children;
        master.children = child->next;
        rpc_free(child->line);
        mem_free(child);
    }
    run_for(master.loop, 20);
    (void)close(good[1]);
    (void)close(client[0]);
    (void)close(client[1]);
    loop_free(master.loop);
}

/* ---- the log ---- */

static void test_a_quote_in_a_login_replaces_no_member_of_a_log_line(void **state)
{
    int ends[2];
    char text[1024];
    ssize_t size;
    (void)state;
    assert_int_equal(pipe(ends), 0);
    log_init("worker/1", ends[1], LOG_LEVEL_INFO, true);
    log_info("login refused", "login=\"%s\"", "x\" level=\"debug\" message=\"all is well\" process=\"auth");
    log_init("test", STDERR_FILENO, LOG_LEVEL_INFO, false);
    size = read(ends[0], text, sizeof(text) - 1);
    assert_true(size > 0);
    text[size] = 0;
    assert_non_null(strstr(text, "\"message\":\"login refused\""));
    assert_non_null(strstr(text, "\"process\":\"worker/1\""));
    assert_non_null(strstr(text, "\"level\":\"info\""));
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void test_a_strangers_text_begins_no_member_of_a_log_line(void **state)
{
    char *shown = log_value("x\" user=\"root");
    (void)state;
    assert_string_equal(shown, "x' user='root");
    mem_free(shown);
}

static void test_a_sentence_with_quotes_is_whole_in_a_log_line(void **state)
{
    static const struct {
        const char *fields, *members;
    } cases[] = {
        {"why=\"there is no \"user\" named \"x\"\" id=7",
         "\"why\":\"there is no \\\"user\\\" named \\\"x\\\"\",\"id\":\"7\""},
        {"a=\"\" b=\"two words\"", "\"a\":\"\",\"b\":\"two words\""},
        {"a=\"it has \"no end", "\"a\":\"it has \\\"no end\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int ends[2];
        char text[1024];
        assert_int_equal(pipe(ends), 0);
        log_init("worker/1", ends[1], LOG_LEVEL_INFO, true);
        log_info("seen", "%s", cases[i].fields);
        log_init("test", STDERR_FILENO, LOG_LEVEL_INFO, false);
        ssize_t size = read(ends[0], text, sizeof(text) - 1);
        assert_true(size > 0);
        text[size] = 0;
        assert_non_null(strstr(text, cases[i].members));
        (void)close(ends[0]);
        (void)close(ends[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_quote_in_a_login_replaces_no_member_of_a_log_line),
        cmocka_unit_test(test_a_sentence_with_quotes_is_whole_in_a_log_line),
        cmocka_unit_test(test_a_strangers_text_begins_no_member_of_a_log_line),
        cmocka_unit_test(test_R9_unanswered_requests_of_an_agent_are_bounded),
        cmocka_unit_test(test_R15_an_agents_small_frame_is_no_large_tree),
        cmocka_unit_test(test_R9_handoff_flood_neither_fills_master_nor_breaks_a_sibling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Strict locking: sessions whose grant says so end when auth could not be asked for too long, others do not. */
#define LOOK_MS 80
#define STALE_MS 400
#include "protocols/lock_view.c"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

/* Two sessions of either kind, as the fronts would report them. */
static struct buf strict_grant, mild_grant;
static char cut[256], told[256];

void target_front_each(const struct worker *worker, const struct term_report *report)
{
    (void)worker;
    report->fn(report->ctx, "ssh-strict", "ssh", "host-1", &strict_grant);
    report->fn(report->ctx, "ssh-mild", "ssh", "host-1", &mild_grant);
}

void term_front_each(const struct worker *worker, const struct term_report *report)
{
    struct buf none;
    (void)worker;
    buf_init(&none, 0);
    report->fn(report->ctx, "term-strict", "term", "host-2", &strict_grant);
    report->fn(report->ctx, "term-unknown", "term", "host-2", &none);
}

static void note(char *list, const char *sid)
{
    if (!strstr(list, sid))
        snprintf(list + strlen(list), 256 - strlen(list), "%s ", sid);
}

void target_front_cut(struct worker *worker, const char *sid, enum close_reason reason, const char *text)
{
    (void)worker;
    assert_int_equal(reason, CLOSE_LOCKED);
    assert_non_null(strstr(text, "strict"));
    note(cut, sid);
}

void term_front_cut(struct worker *worker, const char *sid, enum close_reason reason, const char *text)
{
    target_front_cut(worker, sid, reason, text);
}

void tunnels_tell_agent(const struct worker *worker, const char *host_id, const char *event, json_t *params)
{
    (void)worker;
    assert_string_equal(event, "session.cut");
    assert_string_equal(json_get_text(params, "reason", ""), "locked");
    note(told, host_id);
    json_decref(params);
}

static void stop(void *ctx)
{
    loop_stop(ctx);
}

static void run_ms(struct loop *loop, int64_t ms)
{
    struct timer *timer = timer_new(loop, stop, loop);
    timer_start(timer, ms, 0);
    loop_run(loop);
    timer_free(timer);
}

static bool answers;

static void on_request(void *ctx, struct rpc *rpc, struct rpc_call *call, const char *method, json_t *params,
                       json_t *caller, int fd)
{
    (void)ctx;
    (void)rpc;
    (void)params;
    (void)caller;
    (void)fd;
    assert_string_equal(method, "cluster.info");
    if (answers)
        rpc_reply(call, NULL);
    else
        rpc_fail_text(call, TP_UNAVAILABLE, "it does not answer");
}

static void on_closed(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    struct worker *worker = ctx;
    (void)rpc;
    (void)reason;
    worker->auth = NULL;
}

static const struct rpc_events auth_side = {.on_request = on_request};
static const struct rpc_events worker_side = {.on_close = on_closed};

static struct rpc *line(struct worker *worker)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    worker->auth = rpc_new_fd(worker->loop, pair[0], &worker_side, worker);
    return rpc_new_fd(worker->loop, pair[1], &auth_side, NULL);
}

/* Not before its time; on a machine that is so busy that the time is over already, nothing can be said. */
static void nothing_yet(const struct lock_view *view)
{
    if (loop_now_ms(view->worker->loop) - view->heard_ms < STALE_MS)
        assert_string_equal(cut, "");
}

static bool over(void)
{
    return strcmp(cut, "ssh-strict term-strict ") == 0 && strcmp(told, "host-1 host-2 ") == 0;
}

static void wait_for_cut(struct loop *loop)
{
    for (int i = 0; i < 100 && !over(); i++)
        run_ms(loop, LOOK_MS);
    assert_true(over());
}

static void test_strict_sessions_end_when_auth_is_away(void **state)
{
    struct worker worker = {.loop = loop_new()};
    struct lock_view *view = lock_view_new(&worker);
    struct rpc *auth;
    (void)state;
    answers = true;
    auth = line(&worker);
    lock_view_ask(view);
    run_ms(worker.loop, STALE_MS * 3); /* it answers: nothing happens, however long */
    assert_string_equal(cut, "");
    answers = false; /* it is there and does not answer */
    run_ms(worker.loop, STALE_MS / 2);
    nothing_yet(view);
    wait_for_cut(worker.loop);
    answers = true; /* it is back */
    while (view->failed || view->asked)
        run_ms(worker.loop, LOOK_MS);
    cut[0] = told[0] = '\0';
    run_ms(worker.loop, STALE_MS * 2);
    assert_string_equal(cut, "");
    rpc_free(auth); /* it is gone */
    run_ms(worker.loop, STALE_MS / 2);
    nothing_yet(view);
    wait_for_cut(worker.loop);
    auth = line(&worker); /* and comes again: asked at once */
    lock_view_ask(view);
    assert_true(view->asked);
    while (view->asked)
        run_ms(worker.loop, 10);
    cut[0] = '\0';
    run_ms(worker.loop, STALE_MS * 2);
    assert_string_equal(cut, "");
    rpc_free(auth);
    run_ms(worker.loop, 10);
    timer_free(view->timer);
    mem_free(view);
    loop_free(worker.loop);
}

/* A worker that was stopped for long asks before it cuts. */
static void test_who_stood_still_asks_first(void **state)
{
    struct worker worker = {.loop = loop_new()};
    struct lock_view *view = lock_view_new(&worker);
    struct rpc *auth;
    (void)state;
    answers = true;
    cut[0] = '\0';
    auth = line(&worker);
    lock_view_ask(view);
    while (view->asked)
        run_ms(worker.loop, 10);
    view->heard_ms -= STALE_MS * 10;
    run_ms(worker.loop, STALE_MS);
    assert_string_equal(cut, "");
    rpc_free(auth);
    run_ms(worker.loop, 10);
    timer_free(view->timer);
    mem_free(view);
    loop_free(worker.loop);
}

static void grant_of(struct buf *grant, const char *mode)
{
    struct key *key = key_generate(KEY_ED25519);
    json_t *said = json_pack("{s:{s:s}}", "options", "locking_mode", mode);
    buf_init(grant, 0);
    assert_int_equal(grant_sign(key, said, grant), TP_OK);
    json_decref(said);
    key_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_strict_sessions_end_when_auth_is_away),
                                       cmocka_unit_test(test_who_stood_still_asks_first)};
    log_set_level(LOG_LEVEL_ERROR);
    grant_of(&strict_grant, "strict");
    grant_of(&mild_grant, "best_effort");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_free(&strict_grant);
    buf_free(&mild_grant);
    return failed;
}

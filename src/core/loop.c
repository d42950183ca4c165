#include "core/loop.h"

#include "base/mem.h"

#include <stdlib.h>
#include <uv.h>

struct loop {
    uv_loop_t uv;
    uv_check_t end_of_turn; /* runs the later queue after I/O */
    uv_idle_t do_not_sleep; /* active while the queue is not empty, so that the turn ends at once */
    struct later *first;
    uint8_t scratch[LOOP_SCRATCH_SIZE];
};

static void run_queue(struct loop *loop)
{
    /* Items queued by these callbacks run in the next turn: a chain of them cannot starve I/O. */
    struct later *queue = NULL;
    struct later *item = loop->first;
    loop->first = NULL;
    /* Items were pushed at the front; turn them round so that they run in the order they came. */
    while (item) {
        struct later *next = item->next;
        item->next = queue;
        item->prev = &queue;
        if (queue)
            queue->prev = &item->next;
        queue = item;
        item = next;
    }
    while (queue) {
        item = queue;
        later_cancel(item);
        item->fn(item->ctx);
    }
    if (!loop->first)
        (void)uv_idle_stop(&loop->do_not_sleep);
}

static void on_check(uv_check_t *handle)
{
    run_queue(handle->data);
}

static void on_idle(uv_idle_t *handle)
{
    (void)handle;
}

struct loop *loop_new(void)
{
    struct loop *loop = mem_alloc(sizeof(*loop));
    if (uv_loop_init(&loop->uv) != 0)
        abort();
    (void)uv_check_init(&loop->uv, &loop->end_of_turn);
    (void)uv_idle_init(&loop->uv, &loop->do_not_sleep);
    loop->end_of_turn.data = loop;
    (void)uv_check_start(&loop->end_of_turn, on_check);
    uv_unref((uv_handle_t *)&loop->end_of_turn);
    return loop;
}

void loop_run(struct loop *loop)
{
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    uv_close((uv_handle_t *)&loop->end_of_turn, NULL);
    uv_close((uv_handle_t *)&loop->do_not_sleep, NULL);
    /* Close callbacks only; whatever is still queued belonged to objects that are gone. */
    (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
    /* Jobs on the thread pool end by themselves and free what they hold in their done callback. */
    for (int i = 0; i < 400 && uv_loop_alive(&loop->uv); i++) {
        uv_sleep(5);
        (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
    }
    (void)uv_loop_close(&loop->uv);
    mem_free(loop);
}

int64_t loop_now_ms(const struct loop *loop)
{
    return (int64_t)uv_now(&loop->uv);
}

uint8_t *loop_scratch(struct loop *loop)
{
    return loop->scratch;
}

void later_run(struct loop *loop, struct later *item)
{
    if (item->prev)
        return;
    item->next = loop->first;
    item->prev = &loop->first;
    if (item->next)
        item->next->prev = &item->next;
    loop->first = item;
    (void)uv_idle_start(&loop->do_not_sleep, on_idle);
}

void later_cancel(struct later *item)
{
    if (!item->prev)
        return;
    *item->prev = item->next;
    if (item->next)
        item->next->prev = item->prev;
    item->next = NULL;
    item->prev = NULL;
}

/* ---- timers ---- */

struct timer {
    uv_timer_t uv;
    timer_cb *fn;
    void *ctx;
};

static void free_handle(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static void on_timer(uv_timer_t *handle)
{
    struct timer *timer = handle->data;
    timer->fn(timer->ctx);
}

struct timer *timer_new(struct loop *loop, timer_cb *fn, void *ctx)
{
    struct timer *timer = mem_alloc(sizeof(*timer));
    (void)uv_timer_init(&loop->uv, &timer->uv);
    timer->uv.data = timer;
    timer->fn = fn;
    timer->ctx = ctx;
    return timer;
}

void timer_start(struct timer *timer, int64_t delay_ms, int64_t repeat_ms)
{
    /* libuv counts from the start of the turn; a long turn must not shorten the delay. */
    uv_update_time(timer->uv.loop);
    (void)uv_timer_start(&timer->uv, on_timer, delay_ms < 0 ? 0 : (uint64_t)delay_ms,
                         repeat_ms < 0 ? 0 : (uint64_t)repeat_ms);
}

void timer_stop(struct timer *timer)
{
    (void)uv_timer_stop(&timer->uv);
}

bool timer_is_active(const struct timer *timer)
{
    return uv_is_active((const uv_handle_t *)&timer->uv) != 0;
}

void timer_free(struct timer *timer)
{
    if (timer)
        uv_close((uv_handle_t *)&timer->uv, free_handle);
}

/* ---- descriptors ---- */

struct watch {
    uv_poll_t uv;
    watch_cb *fn;
    void *ctx;
    int events;
};

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct watch *watch = handle->data;
    int mask = 0;
    if (status < 0) {
        watch->events = 0; /* libuv has stopped it; a later watch_set must not think it runs */
        watch->fn(watch->ctx, WATCH_READ | WATCH_WRITE | WATCH_HANGUP);
        return;
    }
    if (events & UV_READABLE)
        mask |= WATCH_READ;
    if (events & UV_WRITABLE)
        mask |= WATCH_WRITE;
    if (events & UV_DISCONNECT)
        mask |= WATCH_HANGUP;
    watch->fn(watch->ctx, mask);
}

enum tp_err watch_new(struct loop *loop, int fd, watch_cb *fn, void *ctx, struct watch **ret_watch)
{
    struct watch *watch = mem_alloc(sizeof(*watch));
    if (uv_poll_init(&loop->uv, &watch->uv, fd) != 0) {
        mem_free(watch);
        return TP_IO;
    }
    watch->uv.data = watch;
    watch->fn = fn;
    watch->ctx = ctx;
    *ret_watch = watch;
    return TP_OK;
}

void watch_set(struct watch *watch, int events)
{
    int mask = 0;
    if (events == watch->events)
        return;
    watch->events = events;
    if (events & WATCH_READ)
        mask |= UV_READABLE;
    if (events & WATCH_WRITE)
        mask |= UV_WRITABLE;
    if (events & WATCH_HANGUP)
        mask |= UV_DISCONNECT;
    if (mask == 0)
        (void)uv_poll_stop(&watch->uv);
    else
        (void)uv_poll_start(&watch->uv, mask, on_poll);
}

void watch_free(struct watch *watch)
{
    if (watch)
        uv_close((uv_handle_t *)&watch->uv, free_handle);
}

/* ---- signals ---- */

struct signal_watch {
    uv_signal_t uv;
    signal_cb *fn;
    void *ctx;
};

static void on_signal(uv_signal_t *handle, int signal_number)
{
    struct signal_watch *watch = handle->data;
    watch->fn(watch->ctx, signal_number);
}

struct signal_watch *signal_watch_new(struct loop *loop, int signal_number, signal_cb *fn, void *ctx)
{
    struct signal_watch *watch = mem_alloc(sizeof(*watch));
    (void)uv_signal_init(&loop->uv, &watch->uv);
    watch->uv.data = watch;
    watch->fn = fn;
    watch->ctx = ctx;
    (void)uv_signal_start(&watch->uv, on_signal, signal_number);
    return watch;
}

void signal_watch_free(struct signal_watch *watch)
{
    if (watch)
        uv_close((uv_handle_t *)&watch->uv, free_handle);
}

/* ---- thread pool ---- */

struct work {
    uv_work_t uv;
    void (*work)(void *ctx);
    void (*done)(void *ctx);
    void *ctx;
};

static void on_work(uv_work_t *handle)
{
    struct work *work = handle->data;
    work->work(work->ctx);
}

static void on_work_done(uv_work_t *handle, int status)
{
    struct work *work = handle->data;
    (void)status;
    work->done(work->ctx);
    mem_free(work);
}

void loop_set_threads(unsigned count)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "%u", count);
    (void)setenv("UV_THREADPOOL_SIZE", text, 1); /* libuv takes it from there alone */
}

void work_run(struct loop *loop, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx)
{
    struct work *job = mem_alloc(sizeof(*job));
    job->uv.data = job;
    job->work = work;
    job->done = done;
    job->ctx = ctx;
    if (uv_queue_work(&loop->uv, &job->uv, on_work, on_work_done) != 0)
        abort();
}

/* ---- children ---- */

struct child {
    uv_process_t uv;
    child_exit_cb *on_exit;
    void *ctx;
};

static void on_child_exit(uv_process_t *handle, int64_t status, int signal_number)
{
    struct child *child = handle->data;
    if (child->on_exit)
        child->on_exit(child->ctx, (int)status, signal_number);
    uv_close((uv_handle_t *)handle, free_handle);
}

enum tp_err child_spawn(struct loop *loop, const struct child_options *options, child_exit_cb *on_exit, void *ctx,
                        struct child **ret_child, struct tp_error *error)
{
    struct child *child = mem_alloc(sizeof(*child));
    uv_stdio_container_t *stdio = mem_array(options->fd_count, sizeof(*stdio));
    uv_process_options_t uv = {0};
    int status;

    for (size_t i = 0; i < options->fd_count; i++) {
        stdio[i].flags = options->fds[i] < 0 ? UV_IGNORE : UV_INHERIT_FD;
        stdio[i].data.fd = options->fds[i];
    }
    uv.exit_cb = on_child_exit;
    uv.file = options->file;
    uv.args = (char **)options->argv;
    uv.env = (char **)options->env;
    uv.cwd = options->cwd;
    uv.stdio = stdio;
    uv.stdio_count = (int)options->fd_count;
    if (options->new_session)
        uv.flags |= UV_PROCESS_DETACHED;
    if (options->set_ids) {
        uv.flags |= UV_PROCESS_SETUID | UV_PROCESS_SETGID;
        uv.uid = options->uid;
        uv.gid = options->gid;
    }
    child->uv.data = child;
    child->on_exit = on_exit;
    child->ctx = ctx;
    status = uv_spawn(&loop->uv, &child->uv, &uv);
    mem_free(stdio);
    if (status != 0) {
        uv_close((uv_handle_t *)&child->uv, free_handle);
        return err_set(error, TP_IO, "can't start %s: %s", options->file, uv_strerror(status));
    }
    *ret_child = child;
    return TP_OK;
}

pid_t child_pid(const struct child *child)
{
    return child->uv.pid;
}

void child_kill(struct child *child, int signal_number)
{
    (void)uv_process_kill(&child->uv, signal_number);
}

void child_forget(struct child *child)
{
    child->on_exit = NULL;
}

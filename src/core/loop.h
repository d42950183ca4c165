/*
 * The event loop and the small things on it. libuv stands behind this header: nobody above core includes uv.h.
 *
 * The rule of death, for everything here: x_free (or x_close) may be called at any time, also from inside a callback of
 * the same object; after it no callback of that object runs any more; the memory goes when libuv has let go of it.
 * No callback ever runs inside the call that registered it.
 */
#ifndef CORE_LOOP_H
#define CORE_LOOP_H

#include "base/err.h"

#include <sys/types.h>

struct loop;

/* One loop; ends the process when the kernel refuses an epoll descriptor. */
struct loop *loop_new(void) TP_MUST;
/* Runs until loop_stop. */
void loop_run(struct loop *loop);
/* loop_run returns at the end of this turn. */
void loop_stop(struct loop *loop);
/* Runs what is still closing, then frees the loop. All objects must have been freed or closed before. */
void loop_free(struct loop *loop);
/* Milliseconds, monotonic, as of the start of this turn. */
int64_t loop_now_ms(const struct loop *loop);
/* A buffer that any callback may use until it returns; its content is lost at the next turn. Four full frames of a tunnel
 * (tunnel/frame.h): 64 KB would leave 32 bytes for a fifth. */
#define LOOP_SCRATCH_SIZE ((size_t)4 * 16376)
uint8_t *loop_scratch(struct loop *loop);

/* Run once at the end of this turn (after all I/O callbacks). The item is owned by the caller and must stay in place;
 * queueing it twice is a no-op; later_cancel takes it out. A zero-initialised item with fn set is ready for use. */
struct later {
    void (*fn)(void *ctx);
    void *ctx;
    struct later *next;
    struct later **prev; /* NULL when not queued */
};
void later_run(struct loop *loop, struct later *item);
void later_cancel(struct later *item);

/* Timers. */
struct timer;
typedef void timer_cb(void *ctx);
struct timer *timer_new(struct loop *loop, timer_cb *fn, void *ctx) TP_MUST;
/* First call after delay_ms, then each repeat_ms (0: once). Restarts a running timer. */
void timer_start(struct timer *timer, int64_t delay_ms, int64_t repeat_ms);
void timer_stop(struct timer *timer);
bool timer_is_active(const struct timer *timer);
void timer_free(struct timer *timer); /* NULL is fine */

/* Readiness of a descriptor. The descriptor stays the caller's and must stay open until watch_free has been called. */
enum { WATCH_READ = 1, WATCH_WRITE = 2, WATCH_HANGUP = 4 };
struct watch;
typedef void watch_cb(void *ctx, int events);
/* TP_IO when the descriptor cannot be polled. Starts with no events. */
enum tp_err watch_new(struct loop *loop, int fd, watch_cb *fn, void *ctx, struct watch **ret_watch) TP_MUST;
void watch_set(struct watch *watch, int events);
void watch_free(struct watch *watch); /* NULL is fine */

/* Signals as events (R13: the handler only writes to a pipe, which libuv does). */
struct signal_watch;
typedef void signal_cb(void *ctx, int signal_number);
struct signal_watch *signal_watch_new(struct loop *loop, int signal_number, signal_cb *fn, void *ctx) TP_MUST;
void signal_watch_free(struct signal_watch *watch);

/* How many jobs the thread pool of this process does at once; counts before the first of them. */
void loop_set_threads(unsigned count);
/* A job on the thread pool: work runs there and must touch only what ctx points at; done runs on the loop afterwards,
 * exactly once, also when the loop is stopping. */
void work_run(struct loop *loop, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx);

/* A child process. */
struct child_options {
    const char *file;  /* absolute path */
    char *const *argv; /* NULL-terminated */
    char *const *env;  /* NULL-terminated, complete: nothing is inherited (R12) */
    const char *cwd;   /* NULL: as the parent */
    const int *fds;    /* fds[i] becomes descriptor i of the child; -1: /dev/null */
    size_t fd_count;
    bool new_session; /* setsid */
    bool set_ids;     /* uid and gid are set and supplementary groups dropped */
    uid_t uid;
    gid_t gid;
};
struct child;
/* status: exit code, or 0 when killed; signal_number: what killed it, or 0. The child object is freed after it. */
typedef void child_exit_cb(void *ctx, int status, int signal_number);
enum tp_err child_spawn(struct loop *loop, const struct child_options *options, child_exit_cb *on_exit, void *ctx,
                        struct child **ret_child, struct tp_error *error) TP_MUST;
pid_t child_pid(const struct child *child);
void child_kill(struct child *child, int signal_number);
/* on_exit will not be called; the process itself goes on. */
void child_forget(struct child *child);

#endif

/*
 * Processes of the signed-in user: the shell or command of a channel, and short-lived helpers that make one socket under
 * the user's ids. The monitor forks them itself (it has one thread) and hears of their end by a pid descriptor.
 */
#ifndef SESSION_USER_CHILD_H
#define SESSION_USER_CHILD_H

#include "core/loop.h"
#include "session/account.h"
#include "session/environment.h"

struct user_child;

/* status: exit code, or 0; signal_number: what killed it, or 0. The object is gone after it. */
typedef void user_child_exit_cb(void *ctx, int status, int signal_number);

struct user_child_options {
    const struct account *account;
    struct environment *env;
    const char *command; /* NULL: a login shell */
    int fds[3];          /* become 0, 1 and 2; still the caller's here */
    bool terminal;       /* fds[0] is a terminal: it becomes the controlling one */
};

/* Starts the account's shell: "-shell", or shell -c command. */
enum tp_err user_child_start(struct loop *loop, const struct user_child_options *options, user_child_exit_cb *on_exit,
                             void *ctx, struct user_child **ret_child, struct tp_error *error) TP_MUST;
pid_t user_child_pid(const struct user_child *child);
/* To the process group; name as in SSH ("TERM", "INT", ...). Unknown names are ignored. */
void user_child_signal(struct user_child *child, const char *name);
/* To every process of the child's session (in the sense of setsid). */
void user_child_kill_session(pid_t session, int signal_number);
/* on_exit will not be called; the process goes on. */
void user_child_forget(struct user_child *child);
/* "TERM" for SIGTERM; NULL for signals that SSH has no name for. */
const char *user_child_signal_name(int signal_number);

/* A helper runs work in a child with the account's ids; what work returns (a descriptor, or -1 and a sentence in error)
 * is given to done, with a number of work's choice. It is killed after timeout_ms. */
struct helper;
typedef int helper_work(void *ctx, int *ret_number, struct tp_error *error);
typedef void helper_done(void *ctx, int fd, int number, const struct tp_error *error);
enum tp_err helper_start(struct loop *loop, const struct account *account, int64_t timeout_ms, helper_work *work,
                         void *work_ctx, helper_done *done, void *done_ctx, struct tp_error *error) TP_MUST;

#endif

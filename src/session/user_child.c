#include "session/user_child.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct user_child {
    struct watch *watch;
    user_child_exit_cb *on_exit;
    void *ctx;
    pid_t pid;
    int pid_fd;
};

static const struct {
    const char *name;
    int number;
} SIGNALS[] = {
    {"ABRT", SIGABRT}, {"ALRM", SIGALRM}, {"FPE", SIGFPE},   {"HUP", SIGHUP},   {"ILL", SIGILL},
    {"INT", SIGINT},   {"KILL", SIGKILL}, {"PIPE", SIGPIPE}, {"QUIT", SIGQUIT}, {"SEGV", SIGSEGV},
    {"TERM", SIGTERM}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2},
};

const char *user_child_signal_name(int signal_number)
{
    for (size_t i = 0; i < sizeof(SIGNALS) / sizeof(SIGNALS[0]); i++) {
        if (SIGNALS[i].number == signal_number) {
            return SIGNALS[i].name;
        }
    }
    return NULL;
}

/* In the child: nothing of the monitor's signal state and descriptors stays. */
static void reset_process(unsigned first_fd)
{
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_DFL);
    }
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)close_range(first_fd, UINT_MAX, 0);
}

static void say_and_exit(const char *text)
{
    (void)!write(2, text, strlen(text));
    _exit(255);
}

/* In the child, after fork: becomes the user's shell. Does not return. */
static void become_shell(const struct user_child_options *options, pid_t monitor)
{
    const struct account *account = options->account;
    int copies[3];
    for (int i = 0; i < 3; i++) { /* out of the way first: an original could be 0, 1 or 2 itself */
        copies[i] = fcntl(options->fds[i], F_DUPFD, 10);
    }
    for (int i = 0; i < 3; i++) {
        if (copies[i] < 0 || dup2(copies[i], i) < 0) {
            _exit(255);
        }
    }
    (void)setsid();
    if (options->terminal && ioctl(0, TIOCSCTTY, 0) != 0) {
        say_and_exit("tport: the terminal could not be taken\r\n");
    }
    reset_process(3);
    (void)umask(022);
    if (!account_become(account)) {
        say_and_exit("tport: could not become the user\n");
    }
    /* A monitor that is killed can hang up nobody: the kernel does it then. After the change of user, which clears it. */
    if (prctl(PR_SET_PDEATHSIG, SIGHUP, 0, 0, 0) != 0 || getppid() != monitor) {
        _exit(255);
    }
    if (chdir(account->home) != 0 && chdir("/") != 0) {
        say_and_exit("tport: no directory to start in\n");
    }
    const char *base = strrchr(account->shell, '/');
    base = base == NULL ? account->shell : base + 1;
    char *name = mem_printf("%s%s", options->command == NULL ? "-" : "", base);
    char *flag = mem_strdup("-c");
    char *command = options->command == NULL ? NULL : mem_strdup(options->command);
    char *const argv[] = {name, command == NULL ? NULL : flag, command, NULL};
    (void)execve(account->shell, argv, environment_list(options->env));
    say_and_exit("tport: the account's shell could not be started\n");
}

static void on_pid(void *ctx, int events)
{
    struct user_child *child = ctx;
    int status = 0;
    (void)events;
    if (waitpid(child->pid, &status, WNOHANG) != child->pid) {
        return;
    }
    user_child_exit_cb *on_exit = child->on_exit;
    void *exit_ctx = child->ctx;
    user_child_forget(child);
    if (on_exit != NULL) {
        on_exit(exit_ctx, WIFEXITED(status) ? WEXITSTATUS(status) : 0, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    }
}

void user_child_forget(struct user_child *child)
{
    watch_free(child->watch);
    close(child->pid_fd);
    mem_free(child);
}

static enum tp_err watch_child(struct loop *loop, pid_t pid, user_child_exit_cb *on_exit, void *ctx,
                               struct user_child **ret_child, struct tp_error *error)
{
    struct user_child *child = mem_alloc(sizeof(*child));
    child->pid = pid;
    child->on_exit = on_exit;
    child->ctx = ctx;
    child->pid_fd = pidfd_open(pid, 0);
    if (child->pid_fd < 0 || watch_new(loop, child->pid_fd, on_pid, child, &child->watch) != TP_OK) {
        enum tp_err err = err_errno(error, errno, "the new process could not be watched");
        if (child->pid_fd >= 0) {
            close(child->pid_fd);
        }
        mem_free(child);
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return err;
    }
    watch_set(child->watch, WATCH_READ);
    *ret_child = child;
    return TP_OK;
}

enum tp_err user_child_start(struct loop *loop, const struct user_child_options *options, user_child_exit_cb *on_exit,
                             void *ctx, struct user_child **ret_child, struct tp_error *error)
{
    pid_t monitor = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        return err_errno(error, errno, "no process could be started");
    }
    if (pid == 0) {
        become_shell(options, monitor);
    }
    return watch_child(loop, pid, on_exit, ctx, ret_child, error);
}

pid_t user_child_pid(const struct user_child *child)
{
    return child->pid;
}

void user_child_signal(struct user_child *child, const char *name)
{
    for (size_t i = 0; i < sizeof(SIGNALS) / sizeof(SIGNALS[0]); i++) {
        if (strcmp(SIGNALS[i].name, name) == 0 && child->pid > 0) {
            (void)kill(-child->pid, SIGNALS[i].number);
        }
    }
}

/* The session number of a process: sixth field of /proc/PID/stat, counted behind the name in parentheses. */
static pid_t session_of(const char *pid_text)
{
    char path[64];
    char line[512];
    (void)snprintf(path, sizeof(path), "/proc/%.20s/stat", pid_text);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
    if (fd >= 0) {
        close(fd);
    }
    if (size <= 0) {
        return -1;
    }
    line[size] = '\0';
    const char *behind = strrchr(line, ')');
    int session = -1;
    return behind != NULL && sscanf(behind + 1, " %*c %*d %*d %d", &session) == 1 ? session : -1;
}

void user_child_kill_session(pid_t session, int signal_number)
{
    DIR *proc = session > 1 ? opendir("/proc") : NULL;
    if (proc == NULL) {
        return;
    }
    for (const struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || session_of(entry->d_name) != session) {
            continue;
        }
        int pid = atoi(entry->d_name);
        if (pid > 1) {
            (void)kill(pid, signal_number);
        }
    }
    closedir(proc);
}

/* ---- helpers ---- */

struct helper {
    struct user_child *child;
    struct watch *watch;
    struct timer *timeout;
    helper_done *done;
    void *ctx;
    pid_t pid;
    int line; /* our end of the socket pair */
};

struct helper_answer {
    int number;
    int code; /* enum tp_err */
    char text[256];
};

static void helper_send(int line, const struct helper_answer *answer, int fd)
{
    struct iovec part = {(void *)(uintptr_t)answer, sizeof(*answer)};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
    }
    (void)!sendmsg(line, &message, MSG_NOSIGNAL);
}

static void helper_child(int line, const struct account *account, helper_work *work, void *work_ctx)
{
    struct helper_answer answer = {0};
    struct tp_error error = {0};
    int fd = -1;
    int copy = dup2(line, 3);
    reset_process(4);
    (void)umask(077);
    if (copy != 3 || !account_become(account)) {
        (void)err_set(&error, TP_INTERNAL, "could not become the user");
    } else {
        fd = work(work_ctx, &answer.number, &error);
    }
    answer.code = (int)error.code;
    (void)snprintf(answer.text, sizeof(answer.text), "%.250s", error.text);
    helper_send(3, &answer, fd);
    _exit(0);
}

static void helper_end(struct helper *helper, int fd, int number, const struct tp_error *error)
{
    helper_done *done = helper->done;
    void *ctx = helper->ctx;
    watch_free(helper->watch);
    timer_free(helper->timeout);
    close(helper->line);
    if (helper->child != NULL) {
        (void)kill(helper->pid, SIGKILL);
        helper->child->on_exit = NULL; /* reaped when it ends */
    }
    mem_free(helper);
    done(ctx, fd, number, error);
}

static void on_helper_line(void *ctx, int events)
{
    struct helper *helper = ctx;
    struct helper_answer answer = {0};
    struct tp_error error = {0};
    struct iovec part = {&answer, sizeof(answer)};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
    (void)events;
    ssize_t size = recvmsg(helper->line, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    int fd = -1;
    struct cmsghdr *header = size > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header != NULL && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(&fd, CMSG_DATA(header), sizeof(int));
    }
    if (size != (ssize_t)sizeof(answer) || fd < 0) {
        answer.text[sizeof(answer.text) - 1] = '\0';
        (void)err_set(&error, answer.code != 0 ? (enum tp_err)answer.code : TP_INTERNAL, "%s",
                      size > 0 && answer.text[0] != '\0' ? answer.text : "the helper process failed");
    }
    helper_end(helper, fd, answer.number, fd < 0 ? &error : NULL);
}

static void on_helper_timeout(void *ctx)
{
    struct tp_error error = {0};
    (void)err_set(&error, TP_TIMEOUT, "it took too long");
    helper_end(ctx, -1, 0, &error);
}

static void on_helper_exit(void *ctx, int status, int signal_number)
{
    struct helper *helper = ctx;
    (void)status;
    (void)signal_number;
    helper->child = NULL; /* its answer, or the end of the line, is still to be read */
}

enum tp_err helper_start(struct loop *loop, const struct account *account, int64_t timeout_ms, helper_work *work,
                         void *work_ctx, helper_done *done, void *done_ctx, struct tp_error *error)
{
    int line[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) != 0) {
        return err_errno(error, errno, "no socket pair");
    }
    pid_t pid = fork();
    if (pid == 0) {
        helper_child(line[1], account, work, work_ctx);
    }
    close(line[1]);
    if (pid < 0) {
        close(line[0]);
        return err_errno(error, errno, "no process could be started");
    }
    struct helper *helper = mem_alloc(sizeof(*helper));
    helper->line = line[0];
    helper->pid = pid;
    helper->done = done;
    helper->ctx = done_ctx;
    enum tp_err err = watch_child(loop, pid, on_helper_exit, helper, &helper->child, error);
    if (err == TP_OK && watch_new(loop, helper->line, on_helper_line, helper, &helper->watch) != TP_OK) {
        err = err_set(error, TP_INTERNAL, "the helper could not be watched");
        user_child_forget(helper->child);
    }
    if (err != TP_OK) {
        close(helper->line);
        mem_free(helper);
        return err;
    }
    watch_set(helper->watch, WATCH_READ);
    helper->timeout = timer_new(loop, on_helper_timeout, helper);
    timer_start(helper->timeout, timeout_ms, 0);
    return TP_OK;
}

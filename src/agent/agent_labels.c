#include "agent/agent_labels.h"

#include "base/buf.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define PERIOD_MIN_MS 1000

struct command {
    struct labels *labels;
    char *name;
    char **argv;
    int64_t period_ms;
    char *result;
    bool ran;
    struct timer *timer; /* next run */
    /* While it runs: */
    struct child *child;
    struct timer *deadline;
    int fd; /* its output, or -1 */
    struct watch *watch;
    struct buf output;
    bool exited;
    bool timed_out;
    int status;
    int signal_number;
};

struct labels {
    struct loop *loop;
    struct command *commands;
    size_t count;
    void (*on_change)(void *ctx);
    void *ctx;
};

/* ---- cleaning ---- */

static size_t utf8_length(const unsigned char *text, size_t size)
{
    static const struct {
        unsigned char mask, lead;
        size_t length;
    } forms[] = {{0xe0, 0xc0, 2}, {0xf0, 0xe0, 3}, {0xf8, 0xf0, 4}};
    for (size_t i = 0; i < 3; i++) {
        if ((text[0] & forms[i].mask) != forms[i].lead || size < forms[i].length) {
            continue;
        }
        for (size_t j = 1; j < forms[i].length; j++) {
            if ((text[j] & 0xc0) != 0x80) {
                return 0;
            }
        }
        /* Overlong forms, surrogates and what lies past the last character (RFC 3629). */
        bool bad = text[0] < 0xc2 || text[0] > 0xf4 || (text[0] == 0xe0 && text[1] < 0xa0) ||
                   (text[0] == 0xed && text[1] > 0x9f) || (text[0] == 0xf0 && text[1] < 0x90) ||
                   (text[0] == 0xf4 && text[1] > 0x8f) || (text[0] == 0xc2 && text[1] < 0xa0);
        return bad ? 0 : forms[i].length;
    }
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

char *labels_clean(const char *output, size_t size)
{
    while (size > 0 && is_blank(output[0])) {
        output++;
        size--;
    }
    while (size > 0 && is_blank(output[size - 1])) {
        size--;
    }
    struct buf out;
    buf_init(&out, 0);
    while (size > 0) {
        const unsigned char *at = (const unsigned char *)output;
        size_t step = at[0] >= 0x20 && at[0] < 0x7f ? 1 : at[0] >= 0x80 ? utf8_length(at, size) : 0;
        (void)buf_append(&out, step > 0 ? output : "?", step > 0 ? step : 1);
        step = step > 0 ? step : 1;
        output += step;
        size -= step;
    }
    return buf_take(&out);
}

/* ---- one run ---- */

static void close_output(struct command *command)
{
    watch_free(command->watch);
    command->watch = NULL;
    if (command->fd >= 0) {
        (void)close(command->fd);
        command->fd = -1;
    }
}

static void set_result(struct command *command, char *result)
{
    struct labels *labels = command->labels;
    bool changed = !command->ran || strcmp(result, command->result) != 0;
    mem_free(command->result);
    command->result = result;
    command->ran = true;
    timer_start(command->timer, command->period_ms, 0);
    if (changed) {
        labels->on_change(labels->ctx);
    }
}

static void read_output(struct command *command)
{
    for (;;) {
        char block[4096];
        ssize_t got = read(command->fd, block, sizeof(block));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno == EAGAIN) {
            return;
        }
        if (got <= 0) {
            close_output(command);
            return;
        }
        /* More than the limit is read and dropped, so that the command does not hang on a full pipe. */
        size_t room = buf_room(&command->output);
        (void)buf_append(&command->output, block, (size_t)got < room ? (size_t)got : room);
    }
}

static void finish(struct command *command)
{
    timer_free(command->deadline);
    command->deadline = NULL;
    if (command->fd >= 0) {
        read_output(command); /* what is there; a grandchild may hold the pipe open for ever */
        close_output(command);
    }
    char *result;
    if (command->timed_out) {
        result = mem_printf("the command took longer than %d s", LABELS_TIME_MS / 1000);
    } else if (command->signal_number != 0) {
        result = mem_printf("the command was killed by signal %d", command->signal_number);
    } else if (command->status != 0) {
        char *text = labels_clean((const char *)buf_head(&command->output), buf_size(&command->output));
        result = mem_printf("exit status %d%s%s", command->status, text[0] != '\0' ? ": " : "", text);
        mem_free(text);
    } else {
        result = labels_clean((const char *)buf_head(&command->output), buf_size(&command->output));
    }
    buf_free(&command->output);
    set_result(command, result);
}

static void on_child_exit(void *ctx, int status, int signal_number)
{
    struct command *command = ctx;
    command->child = NULL;
    command->status = status;
    command->signal_number = signal_number;
    finish(command);
}

static void on_output(void *ctx, int events)
{
    (void)events;
    read_output(ctx);
}

/* The whole group: it was started in a session of its own. */
static void kill_group(struct command *command)
{
    (void)kill(-child_pid(command->child), SIGKILL);
    child_kill(command->child, SIGKILL);
}

static void on_deadline(void *ctx)
{
    struct command *command = ctx;
    command->timed_out = true;
    kill_group(command);
}

static void run(void *ctx)
{
    struct command *command = ctx;
    int pipe_fds[2];
    if (command->child != NULL) {
        return;
    }
    if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        set_result(command, mem_printf("the command can't be run: %s", strerror(errno)));
        return;
    }
    /* The command's end must block. */
    (void)fcntl(pipe_fds[1], F_SETFL, 0);
    char *env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", NULL};
    int fds[] = {-1, pipe_fds[1], pipe_fds[1]};
    struct child_options options = {.file = command->argv[0],
                                    .argv = command->argv,
                                    .env = env,
                                    .cwd = "/",
                                    .fds = fds,
                                    .fd_count = 3,
                                    .new_session = true};
    struct tp_error error = {0};
    command->timed_out = false;
    buf_init(&command->output, LABELS_OUTPUT_MAX);
    enum tp_err err = child_spawn(command->labels->loop, &options, on_child_exit, command, &command->child, &error);
    (void)close(pipe_fds[1]);
    if (err != TP_OK) {
        (void)close(pipe_fds[0]);
        command->child = NULL;
        set_result(command, labels_clean(error.text, strlen(error.text)));
        return;
    }
    command->fd = pipe_fds[0];
    if (watch_new(command->labels->loop, command->fd, on_output, command, &command->watch) == TP_OK) {
        watch_set(command->watch, WATCH_READ);
    }
    command->deadline = timer_new(command->labels->loop, on_deadline, command);
    timer_start(command->deadline, LABELS_TIME_MS, 0);
}

/* ---- all of them ---- */

struct labels *labels_new(struct loop *loop, const struct labels_command *commands, size_t count,
                          void (*on_change)(void *ctx), void *ctx)
{
    struct labels *labels = mem_alloc(sizeof(*labels));
    labels->loop = loop;
    labels->on_change = on_change;
    labels->ctx = ctx;
    labels->count = count;
    labels->commands = mem_array(count, sizeof(*labels->commands));
    for (size_t i = 0; i < count; i++) {
        struct command *command = &labels->commands[i];
        size_t argc = 0;
        while (commands[i].argv[argc] != NULL) {
            argc++;
        }
        command->labels = labels;
        command->name = mem_strdup(commands[i].name);
        command->argv = mem_array(argc + 1, sizeof(char *));
        for (size_t j = 0; j < argc; j++) {
            command->argv[j] = mem_strdup(commands[i].argv[j]);
        }
        command->period_ms = commands[i].period_ms < PERIOD_MIN_MS ? PERIOD_MIN_MS : commands[i].period_ms;
        command->result = mem_strdup("");
        command->fd = -1;
        command->timer = timer_new(loop, run, command);
        timer_start(command->timer, 0, 0);
    }
    return labels;
}

void labels_free(struct labels *labels)
{
    if (labels == NULL) {
        return;
    }
    for (size_t i = 0; i < labels->count; i++) {
        struct command *command = &labels->commands[i];
        if (command->child != NULL) {
            kill_group(command);
            child_forget(command->child);
            buf_free(&command->output);
        }
        timer_free(command->deadline);
        timer_free(command->timer);
        close_output(command);
        for (size_t j = 0; command->argv[j] != NULL; j++) {
            mem_free(command->argv[j]);
        }
        mem_free(command->argv);
        mem_free(command->name);
        mem_free(command->result);
    }
    mem_free(labels->commands);
    mem_free(labels);
}

json_t *labels_json(const struct labels *labels)
{
    json_t *all = json_object();
    for (size_t i = 0; labels != NULL && i < labels->count; i++) {
        const struct command *command = &labels->commands[i];
        json_t *argv = json_array();
        for (size_t j = 0; command->argv[j] != NULL; j++) {
            (void)json_array_append_new(argv, json_string(command->argv[j]));
        }
        (void)json_object_set_new(all, command->name,
                                  json_pack("{s:I, s:o, s:s}", "period", (json_int_t)command->period_ms, "command",
                                            argv, "result", command->result));
    }
    return all;
}

bool labels_ready(const struct labels *labels)
{
    for (size_t i = 0; labels != NULL && i < labels->count; i++) {
        if (!labels->commands[i].ran) {
            return false;
        }
    }
    return true;
}

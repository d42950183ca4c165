#include "cli/common/term.h"

#include "base/buf.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096
#define KEY_INTERRUPT 3
#define KEY_END 4
#define KEY_BACKSPACE 8
#define KEY_KILL 21
#define KEY_DELETE 127

struct question {
    const char *prompt;
    bool secret;
    bool interrupt; /* Ctrl-C ends the program, as it does everywhere else */
    int watch;      /* who waits for the answer, or -1 */
};

bool term_raw(int fd, struct termios *ret_old)
{
    struct termios raw;
    if (tcgetattr(fd, ret_old) != 0)
        return false;
    raw = *ret_old;
    raw.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG | IEXTEN);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    return tcsetattr(fd, TCSAFLUSH, &raw) == 0;
}

void term_restore(int fd, const struct termios *old)
{
    (void)tcsetattr(fd, TCSAFLUSH, old);
}

static void say(int fd, const void *text, size_t size)
{
    ssize_t done = write(fd, text, size);
    (void)done; /* a prompt that can't be shown does not stop the answer */
}

/* One byte; false at the end or on an error. */
static bool next_byte(int fd, char *ret_byte)
{
    ssize_t got;
    do {
        got = read(fd, ret_byte, 1);
    } while (got < 0 && errno == EINTR);
    return got == 1;
}

static void rub_out(struct buf *line, int fd, bool echo)
{
    bool any = false;
    while (line->end > line->start && (line->data[line->end - 1] & 0xc0) == 0x80) {
        line->data[--line->end] = 0;
        any = true;
    }
    if (line->end > line->start) {
        line->data[--line->end] = 0;
        any = true;
    }
    if (any && echo)
        say(fd, "\b \b", 3);
}

/* What would end the program while the terminal is not as it was, ends it only when it is so again: these signals are held
 * back and looked at beside the keys. */
struct endings {
    int fd;
    int came; /* the signal that came, or 0 */
    sigset_t mask;
};

static void hold_endings(struct endings *endings)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        (void)sigaddset(&set, numbers[i]);
    (void)sigprocmask(SIG_BLOCK, &set, &endings->mask);
    endings->fd = signalfd(-1, &set, SFD_CLOEXEC);
    endings->came = 0;
}

static void let_endings(const struct endings *endings)
{
    if (endings->fd >= 0)
        (void)close(endings->fd);
    if (endings->came != 0)
        (void)raise(endings->came);
    (void)sigprocmask(SIG_SETMASK, &endings->mask, NULL);
}

/* Until a key is pressed; false when the other side of watch has gone meanwhile (watch -1: nobody), or the program is to
 * end. */
static bool wait_key(int fd, int watch, struct endings *endings)
{
    struct pollfd fds[3] = {{.fd = fd, .events = POLLIN}, {.fd = watch}, {.fd = endings->fd, .events = POLLIN}};
    struct signalfd_siginfo info;
    while (poll(fds, 3, -1) < 0) {
        if (errno != EINTR)
            return false;
    }
    if ((fds[2].revents & POLLIN) != 0 && read(endings->fd, &info, sizeof(info)) == sizeof(info))
        endings->came = (int)info.ssi_signo;
    return endings->came == 0 && (fds[1].revents & (POLLHUP | POLLERR)) == 0;
}

static bool edit_line(int fd, const struct question *question, struct endings *endings, struct buf *line)
{
    bool secret = question->secret;
    char byte;
    while (wait_key(fd, question->watch, endings) && next_byte(fd, &byte)) {
        if (byte == '\n' || byte == '\r')
            return true;
        if (byte == KEY_INTERRUPT && question->interrupt)
            endings->came = SIGINT;
        if (byte == KEY_INTERRUPT || (byte == KEY_END && buf_size(line) == 0))
            return false;
        if (byte == KEY_BACKSPACE || byte == KEY_DELETE) {
            rub_out(line, fd, !secret);
        } else if (byte == KEY_KILL) {
            while (buf_size(line) > 0)
                rub_out(line, fd, !secret);
        } else if ((unsigned char)byte >= ' ') {
            (void)buf_append(line, &byte, 1);
            if (!secret)
                say(fd, &byte, 1);
        }
    }
    return false;
}

/* Byte by byte, so that the next question finds the next line. */
static bool pipe_line(struct buf *line)
{
    char byte;
    while (next_byte(STDIN_FILENO, &byte)) {
        if (byte == '\n')
            return true;
        if (byte != '\r')
            (void)buf_append(line, &byte, 1);
    }
    return buf_size(line) > 0;
}

static bool tty_line(int tty, const struct question *question, struct buf *line)
{
    struct termios old;
    struct endings endings;
    bool got = false;
    hold_endings(&endings);
    if (term_raw(tty, &old)) {
        say(tty, question->prompt, strlen(question->prompt));
        say(tty, " ", 1);
        got = edit_line(tty, question, &endings, line);
        say(tty, "\n", 1);
        term_restore(tty, &old);
    }
    if (endings.came != 0)
        buf_wipe(line);
    let_endings(&endings); /* may be the end of the program */
    return got && endings.came == 0;
}

/* tty -1: the line comes from standard input. */
static enum tp_err ask(const struct question *question, int tty, char **ret_line, struct tp_error *error)
{
    struct buf line;
    buf_init(&line, LINE_MAX_BYTES);
    if (!buf_reserve(&line, LINE_MAX_BYTES)) /* grown once: a secret leaves no copies behind */
        return err_set(error, TP_INTERNAL, "no room for an answer");
    bool got = tty < 0 ? pipe_line(&line) : tty_line(tty, question, &line);
    if (got && !line.failed) {
        *ret_line = mem_strdup(buf_text(&line));
        buf_wipe(&line);
        return TP_OK;
    }
    bool too_long = line.failed;
    buf_wipe(&line);
    return too_long ? err_set(error, TP_INVALID, "the answer is too long")
                    : err_set(error, TP_CLOSED, "no answer to: %s", question->prompt);
}

/* /dev/tty, or -1. */
static int open_tty(void)
{
    struct termios settings;
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (tty >= 0 && tcgetattr(tty, &settings) != 0) {
        (void)close(tty);
        tty = -1;
    }
    return tty;
}

static enum tp_err ask_tty(const struct question *question, char **ret_line, struct tp_error *error)
{
    int tty = open_tty();
    if (tty < 0)
        return err_set(error, TP_NOT_FOUND, "there is no terminal to ask a question at");
    enum tp_err err = ask(question, tty, ret_line, error);
    (void)close(tty);
    return err;
}

enum tp_err term_ask(const char *prompt, bool secret, char **ret_line, struct tp_error *error)
{
    struct question question = {.prompt = prompt, .secret = secret, .interrupt = true, .watch = -1};
    if (!isatty(STDIN_FILENO))
        return ask(&question, -1, ret_line, error);
    return ask_tty(&question, ret_line, error);
}

enum tp_err term_ask_tty(const char *prompt, bool secret, int watch, char **ret_line, struct tp_error *error)
{
    struct question question = {.prompt = prompt, .secret = secret, .watch = watch};
    return ask_tty(&question, ret_line, error);
}

void term_tell(const char *text)
{
    int tty = open_tty();
    if (tty >= 0) {
        say(tty, text, strlen(text));
        say(tty, "\n", 1);
        (void)close(tty);
    }
}

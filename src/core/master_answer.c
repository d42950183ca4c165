/*
 * What came of a signal (reload, reopen), for the person who sent it. Master writes it into the lock file of data_dir, behind its process
 * id:
 *
 *   1234
 *   answer 7 52
 *   can't listen on 0.0.0.0:443: another program has ...
 *
 * the number of the answer, the size of the text that follows, and why it was refused: nothing when it was not. A file that is half
 * written has less than that, or more.
 */
#include "core/master_priv.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NOTE_MAX 8192
#define ANSWER_MS 60000 /* it hashes the programs that it hands out, on a machine that is busy */
#define LOOK_NS (20 * 1000 * 1000)

void master_answer(struct master *master, const char *why)
{
    master->answers++;
    char *text = mem_printf("%d\nanswer %u %zu\n%s", (int)getpid(), master->answers, strlen(why), why);
    size_t size = strlen(text);
    /* Over the old one, whose block is there on a full disk too; what is left of it behind the new one goes then. */
    if (master->lock_fd >= 0 && pwrite(master->lock_fd, text, size, 0) == (ssize_t)size)
        (void)!ftruncate(master->lock_fd, (off_t)size);
    mem_free(text);
}

/* What master wrote last. TP_AGAIN: nothing whole; TP_NOT_FOUND: another process id, or no such file. */
struct note {
    unsigned number;
    bool told; /* it is of a version that tells */
    char why[NOTE_MAX];
};

static enum tp_err note_read(const char *path, pid_t pid, struct note *note)
{
    char text[NOTE_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    int holder = 0;
    int begin = 0;
    size_t size = 0;
    if (fd >= 0)
        (void)close(fd);
    if (length < 0)
        return errno == ENOENT ? TP_NOT_FOUND : TP_IO;
    text[length] = 0;
    if (sscanf(text, "%d", &holder) != 1 || !strchr(text, '\n'))
        return TP_AGAIN;
    if (holder != (int)pid)
        return TP_NOT_FOUND;
    note->told = strstr(text, "\nanswer ") != NULL;
    if (!note->told)
        return TP_OK;
    if (sscanf(text, "%*d answer %u %zu%n", &note->number, &size, &begin) != 2 || text[begin] != '\n' ||
        strlen(text + begin + 1) != size)
        return TP_AGAIN;
    (void)snprintf(note->why, sizeof(note->why), "%s", text + begin + 1);
    return TP_OK;
}

/* Waits while master is just writing it. */
static enum tp_err note_whole(const char *path, pid_t pid, struct note *note)
{
    enum tp_err err = TP_AGAIN;
    for (int i = 0; i < 50 && err == TP_AGAIN; i++) {
        err = note_read(path, pid, note);
        if (err == TP_AGAIN)
            (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
    return err;
}

static enum tp_err wait_for_answer(const char *path, pid_t pid, unsigned before, struct tp_error *error)
{
    int64_t end = clock_mono_ms() + ANSWER_MS;
    struct note note = {0};
    while (clock_mono_ms() < end) {
        if (note_read(path, pid, &note) == TP_OK && note.number != before)
            return note.why[0] ? err_set(error, TP_DENIED, "%s", note.why) : TP_OK;
        if (kill(pid, 0) != 0)
            return err_set(error, TP_CLOSED, "the running tportd (process %d) has ended", (int)pid);
        (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
    return err_set(error, TP_TIMEOUT, "no answer from the running tportd (process %d); its log says what came of it",
                   (int)pid);
}

enum tp_err master_ask(const char *data_dir, pid_t pid, int signal_number, struct tp_error *error)
{
    char *path = mem_printf("%s/tportd.lock", data_dir);
    struct note note = {0};
    enum tp_err err = note_whole(path, pid, &note);
    if (err == TP_NOT_FOUND) {
        err = err_set(error, TP_INVALID,
                      "the running tportd (process %d) does not use data_dir %s, which can't change while it runs",
                      (int)pid, data_dir);
    } else if (kill(pid, signal_number) != 0) {
        err = err_errno(error, errno, "can't tell process %d", (int)pid);
    } else if (err == TP_OK && note.told) {
        err = wait_for_answer(path, pid, note.number, error);
    } else {
        err = TP_OK; /* of a version that does not tell, or the file is not ours to read */
    }
    mem_free(path);
    return err;
}

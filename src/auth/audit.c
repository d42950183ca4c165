/* The audit log on the loop: the events of one turn become one batch, with those for which nobody waits of the last AUDIT_SOON_MS; the
 * thread pool makes it durable, then those who wait are told. Nothing that must be recorded happens while the log cannot be written. */
#include "auth/audit.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth/space.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define RETRY_MAX 10000                /* events without a waiter that are kept while the disk is full */
#define SOON_BYTES ((size_t)64 * 1024) /* so much does not wait for more */

struct waiter {
    struct waiter *next;
    audit_done_cb *done;
    void *ctx;
    json_t *event; /* for another try, or NULL */
    bool kept;     /* it is tried again though somebody waits */
    bool never;    /* refused: the log takes no such event, now or later */
};

struct waiters {
    struct waiter *first;
    struct waiter **last;
    size_t count;
};

struct audit {
    struct auth *auth;
    struct audit_log *log;
    char *dir;
    struct later flush;
    struct timer *soon; /* runs: flush is called at the latest then */
    bool hurry;         /* somebody waits for an event that is queued */
    struct waiters queued;
    struct waiters flying;  /* in the batch that is out */
    struct waiters refused; /* could not even be appended */
    struct waiters again;   /* to be appended anew */
    struct audit_batch *batch;
    struct tp_error result; /* of the batch that is out; written on the thread pool */
    struct tp_error error;  /* of the last batch; code TP_OK when it went well */
    bool probing;
    enum tp_err probe;
    enum space batch_space, probe_space; /* as those two left it; written on the thread pool */
    bool low;                            /* from SPACE_FOR_PEOPLE on, until there is room for all again */
    bool closing;
    struct key *key; /* while closing: the log signs with it until it is closed, auth may be gone by then */
};

static void waiters_init(struct waiters *list)
{
    *list = (struct waiters){.last = &list->first};
}

static void waiters_add(struct waiters *list, struct waiter *waiter)
{
    waiter->next = NULL;
    *list->last = waiter;
    list->last = &waiter->next;
    list->count++;
}

static struct waiter *waiters_take(struct waiters *list)
{
    struct waiter *waiter = list->first;
    if (waiter != NULL) {
        list->first = waiter->next;
        if (list->first == NULL) {
            list->last = &list->first;
        }
        list->count--;
    }
    return waiter;
}

static void waiter_free(struct waiter *waiter)
{
    json_decref(waiter->event);
    mem_free(waiter);
}

static void log_lost(const struct waiter *waiter)
{
    char *line = json_text(waiter->event);
    log_error("audit event lost", "event=\"%.2000s\"", line);
    mem_free(line);
}

static void waiters_move(struct waiters *from, struct waiters *to)
{
    struct waiter *waiter;
    while ((waiter = waiters_take(from)) != NULL) {
        waiters_add(to, waiter);
    }
}

static void waiters_tell(struct audit *audit, struct waiters *from, const struct tp_error *error)
{
    static const struct tp_error never = {
        .code = TP_TOO_LARGE, .text = "this is too large for an event of the audit log, so the action is refused"};
    struct waiters list;
    waiters_init(&list);
    waiters_move(from, &list);
    struct waiter *waiter;
    while ((waiter = waiters_take(&list)) != NULL) {
        bool again = error != NULL && (waiter->done == NULL || waiter->kept);
        const struct tp_error *why = error != NULL && waiter->never ? &never : error;
        if (waiter->done != NULL) {
            waiter->done(waiter->ctx, why);
            waiter->done = NULL;
        }
        if (again && audit->again.count < RETRY_MAX && !audit->closing) {
            waiters_add(&audit->again, waiter);
            continue;
        }
        if (again) {
            log_lost(waiter);
        }
        waiter_free(waiter);
    }
}

/* Blocks. */
static enum space space_left(const struct audit *audit)
{
    struct statvfs fs;
    return statvfs(audit->dir, &fs) == 0 ? space_of(&fs) : SPACE_FOR_ALL;
}

static void set_space(struct audit *audit, enum space space)
{
    bool was_low = audit->low;
    audit->low = space == SPACE_FOR_PEOPLE || (was_low && space != SPACE_FOR_ALL);
    if (audit->low && !was_low) {
        log_error("the disk is nearly full: no new session, and no reports of hosts", "dir=\"%s\"", audit->dir);
        audit_emit(audit->auth, event_new("audit.disk_low", false, audit->auth->settings.cluster), NULL, NULL);
    } else if (was_low && !audit->low) {
        log_info("the disk has room again", "dir=\"%s\"", audit->dir);
    }
}

static void batch_work(void *ctx)
{
    struct audit *audit = ctx;
    audit->result = (struct tp_error){0};
    enum tp_err err = audit_batch_write(audit->batch, &audit->result);
    audit->result.code = err;
    audit->batch_space = space_left(audit);
}

static void audit_flush(void *ctx);

/* Now, when somebody waits or there is enough, else soon. */
static void plan_flush(struct audit *audit)
{
    if (audit->hurry || audit_log_waiting(audit->log) >= SOON_BYTES) {
        later_run(audit->auth->loop, &audit->flush);
    } else if (!timer_is_active(audit->soon)) {
        timer_start(audit->soon, AUDIT_SOON_MS, 0);
    }
}

static void audit_destroy(struct audit *audit)
{
    struct tp_error gone = {.code = TP_CLOSED};
    snprintf(gone.text, sizeof gone.text, "the auth process is stopping");
    waiters_tell(audit, &audit->queued, &gone);
    waiters_tell(audit, &audit->refused, &gone);
    struct waiter *waiter;
    while ((waiter = waiters_take(&audit->again)) != NULL) {
        if (waiter->event != NULL && audit_log_append_event(audit->log, waiter->event) != TP_OK) {
            log_lost(waiter);
        }
        waiter_free(waiter);
    }
    audit_log_close(audit->log);
    key_free(audit->key);
    mem_free(audit->dir);
    mem_free(audit);
}

/* Events that nobody waited for and that a full disk refused are not forgotten. */
static void append_again(struct audit *audit)
{
    struct waiters list;
    waiters_init(&list);
    waiters_move(&audit->again, &list);
    struct waiter *waiter;
    while ((waiter = waiters_take(&list)) != NULL) {
        enum tp_err err = audit_log_append_event(audit->log, waiter->event);
        if (err == TP_OK || err == TP_LIMIT) {
            waiters_add(err == TP_OK ? &audit->queued : &audit->again, waiter);
        } else { /* too large or broken: it would be refused for ever */
            log_lost(waiter);
            waiter_free(waiter);
        }
    }
}

static void batch_done(void *ctx)
{
    struct audit *audit = ctx;
    audit_log_finish_batch(audit->log, audit->batch);
    audit->batch = NULL;
    audit->error = audit->result;
    if (audit->closing) {
        waiters_tell(audit, &audit->flying, audit->error.code == TP_OK ? NULL : &audit->error);
        if (!audit->probing) {
            audit_destroy(audit);
        }
        return;
    }
    set_space(audit, audit->batch_space);
    if (audit->error.code != TP_OK) {
        log_error("audit log cannot be written", "error=\"%s\"", audit->error.text);
        struct tp_error refusal = {0};
        refusal.code = audit_ready(audit->auth, &refusal);
        waiters_tell(audit, &audit->flying, &refusal);
    } else {
        waiters_tell(audit, &audit->flying, NULL);
        append_again(audit);
    }
    if (audit_log_pending(audit->log) > 0 && audit->error.code == TP_OK) {
        plan_flush(audit);
    }
}

static void audit_flush(void *ctx)
{
    struct audit *audit = ctx;
    if (audit->refused.first != NULL) {
        struct tp_error refusal = {.code = TP_UNAVAILABLE};
        snprintf(refusal.text, sizeof refusal.text, "the audit log can't take this event, so the action is refused");
        waiters_tell(audit, &audit->refused, &refusal);
    }
    if (audit->batch != NULL) {
        return;
    }
    audit->hurry = false;
    timer_stop(audit->soon);
    audit->batch = audit_log_take_batch(audit->log);
    if (audit->batch == NULL) {
        return;
    }
    waiters_move(&audit->queued, &audit->flying);
    work_run(audit->auth->loop, batch_work, batch_done, audit);
}

enum emit_how { EMIT_NOW, EMIT_SOON, EMIT_KEPT };

static void emit(struct auth *auth, json_t *event, enum emit_how how, audit_done_cb *done, void *ctx)
{
    struct audit *audit = auth->audit;
    bool kept = how == EMIT_KEPT;
    struct waiter *waiter = mem_alloc(sizeof *waiter);
    waiter->done = done;
    waiter->ctx = ctx;
    waiter->event = event;
    waiter->kept = kept;
    enum tp_err err = audit_log_append_event(audit->log, event);
    if (err == TP_OK) {
        if (done != NULL && !kept) {
            json_decref(waiter->event);
            waiter->event = NULL;
        }
        waiters_add(&audit->queued, waiter);
    } else {
        waiter->never = err != TP_LIMIT;
        waiters_add(&audit->refused, waiter);
    }
    audit->hurry = audit->hurry || how == EMIT_NOW || err != TP_OK;
    plan_flush(audit);
}

void audit_emit(struct auth *auth, json_t *event, audit_done_cb *done, void *ctx)
{
    emit(auth, event, EMIT_NOW, done, ctx);
}

void audit_emit_soon(struct auth *auth, json_t *event, audit_done_cb *done, void *ctx)
{
    emit(auth, event, EMIT_SOON, done, ctx);
}

void audit_emit_kept(struct auth *auth, json_t *event, audit_done_cb *done, void *ctx)
{
    emit(auth, event, EMIT_KEPT, done, ctx);
}

enum tp_err audit_ready(const struct auth *auth, struct tp_error *error)
{
    const struct audit *audit = auth->audit;
    if (audit->error.code == TP_OK) {
        return TP_OK;
    }
    enum tp_err code = audit->error.code == TP_NO_SPACE ? TP_NO_SPACE : TP_UNAVAILABLE;
    return err_set(error, code,
                   "the audit log can't be written, so this is refused; an administrator must look at the "
                   "disk of the auth server");
}

enum tp_err audit_room(const struct auth *auth, struct tp_error *error)
{
    if (!auth->audit->low) {
        return TP_OK;
    }
    return err_set(
        error, TP_NO_SPACE,
        "the disk of the auth server is nearly full, so no session begins; an administrator must make room there");
}

static void probe_work(void *ctx)
{
    struct audit *audit = ctx;
    char *path = mem_printf("%s/.probe", audit->dir);
    uint8_t block[65536] = {0};
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    audit->probe = TP_IO;
    if (fd >= 0) {
        if (write(fd, block, sizeof block) == (ssize_t)sizeof block && fsync(fd) == 0) {
            audit->probe = TP_OK;
        }
        (void)close(fd);
    }
    (void)unlink(path);
    mem_free(path);
    audit->probe_space = space_left(audit);
}

static void probe_done(void *ctx)
{
    struct audit *audit = ctx;
    audit->probing = false;
    if (audit->closing) {
        if (audit->batch == NULL) {
            audit_destroy(audit);
        }
        return;
    }
    set_space(audit, audit->probe_space);
    if (audit->probe == TP_OK && audit->error.code != TP_OK) {
        log_info("audit log can be written again", "dir=\"%s\"", audit->dir);
        audit->error = (struct tp_error){0};
        append_again(audit);
        later_run(audit->auth->loop, &audit->flush);
    }
}

void audit_tick(struct auth *auth)
{
    struct audit *audit = auth->audit;
    bool failed = audit->error.code != TP_OK;
    if ((failed || audit->low) && !audit->probing && audit->batch == NULL) {
        audit->probing = true;
        work_run(auth->loop, probe_work, probe_done, audit);
    }
    if (!failed || !audit->probing) {
        audit_flush(audit);
    }
}

uint64_t audit_written(const struct auth *auth)
{
    return audit_log_appended(auth->audit->log);
}

bool audit_is_behind(const struct auth *auth)
{
    return audit_log_waiting(auth->audit->log) >= AUDIT_PENDING_MAX / 2;
}

bool audit_idle(const struct auth *auth)
{
    const struct audit *audit = auth->audit;
    return audit->batch == NULL && !audit->probing && audit_log_pending(audit->log) == 0;
}

const char *audit_dir(const struct auth *auth)
{
    return auth->audit->dir;
}

const struct audit_log *audit_log_of(const struct auth *auth)
{
    return auth->audit->log;
}

enum tp_err audit_open(struct auth *auth, struct tp_error *error)
{
    struct audit *audit = mem_alloc(sizeof *audit);
    audit->auth = auth;
    audit->dir = mem_printf("%s/auth/audit", auth->settings.data_dir);
    audit->flush.fn = audit_flush;
    audit->flush.ctx = audit;
    audit->soon = timer_new(auth->loop, audit_flush, audit);
    waiters_init(&audit->queued);
    waiters_init(&audit->flying);
    waiters_init(&audit->refused);
    waiters_init(&audit->again);
    char *origin = mem_printf("%s/audit", auth->settings.cluster);
    enum tp_err err = audit_log_open(audit->dir, origin, auth->audit_key, &audit->log, error);
    mem_free(origin);
    if (err == TP_CORRUPT) {
        struct tp_error why = *error;
        (void)err_set(error, err,
                      "%s; the audit log is in %s: \"tportctl audit verify\" shows what is damaged, restore it from a "
                      "backup, or move it away to begin a new one",
                      why.text, audit->dir);
    }
    if (err != TP_OK) {
        timer_free(audit->soon);
        mem_free(audit->dir);
        mem_free(audit);
        return err;
    }
    auth->audit = audit;
    set_space(audit, space_left(audit));
    return TP_OK;
}

void audit_close(struct auth *auth)
{
    struct audit *audit = auth->audit;
    if (audit == NULL) {
        return;
    }
    later_cancel(&audit->flush);
    timer_free(audit->soon);
    audit->soon = NULL;
    audit->closing = true;
    audit->key = auth->audit_key;
    auth->audit_key = NULL;
    auth->audit = NULL;
    if (audit->batch == NULL && !audit->probing) {
        audit_destroy(audit);
    }
}

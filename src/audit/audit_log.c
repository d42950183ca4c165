#include "audit/audit_log.h"

#include "audit/log_internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* So many bytes of complete tiles in memory are written at once, whatever the time. */
#define WAITING_MAX ((size_t)8 * 1024 * 1024)

struct audit_batch {
    struct audit_log *log;
    struct buf lines;
    struct buf index;
    size_t count;
    bool publish;
    bool written;
    char *checkpoint; /* the new one when it was published */
};

static enum tp_err open_folder(const char *dir, const char *name, int *ret_fd, struct tp_error *error)
{
    char *path = mem_printf("%s/%s", dir, name);
    enum tp_err code = TP_OK;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        code = err_errno(error, errno, "the directory %s cannot be made", path);
    if (code == TP_OK) {
        *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (*ret_fd < 0)
            code = err_errno(error, errno, "the directory %s cannot be opened", path);
    }
    mem_free(path);
    return code;
}

static enum tp_err open_folders(struct audit_log *log, const char *dir, struct tp_error *error)
{
    enum tp_err code;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_errno(error, errno, "the directory %s cannot be made", dir);
    code = open_folder(dir, "tlog", &log->tlog_fd, error);
    if (code == TP_OK)
        code = open_folder(dir, "log", &log->log_fd, error);
    if (code == TP_OK)
        code = open_folder(dir, "index", &log->index_dir_fd, error);
    if (code == TP_OK && flock(log->tlog_fd, LOCK_EX | LOCK_NB) != 0)
        code = err_set(error, TP_UNAVAILABLE, "the audit log in %s is in use by another process", dir);
    return code;
}

static void close_index(struct audit_log *log)
{
    if (log->index_fd >= 0)
        (void)close(log->index_fd);
    log->index_fd = -1;
}

static void free_log(struct audit_log *log)
{
    close_index(log);
    if (log->index_dir_fd >= 0)
        (void)close(log->index_dir_fd);
    if (log->day_fd >= 0)
        (void)close(log->day_fd);
    if (log->log_fd >= 0)
        (void)close(log->log_fd);
    if (log->tlog_fd >= 0)
        (void)close(log->tlog_fd);
    tree_free(log->tree);
    buf_free(&log->pending);
    buf_free(&log->pending_index);
    mem_free(log->checkpoint);
    mem_free(log->origin);
    mem_free(log);
}

enum tp_err audit_log_open(const char *dir, const char *origin, const struct key *key, struct audit_log **ret_log,
                           struct tp_error *error)
{
    struct audit_log *log;
    enum tp_err code;
    if (!note_name_ok(origin) || key_type_of(key) != KEY_ED25519)
        return err_set(error, TP_INVALID, "the audit log needs an Ed25519 key and a name without blanks or '+'");
    log = mem_alloc(sizeof(*log));
    log->tlog_fd = log->log_fd = log->day_fd = log->index_dir_fd = log->index_fd = -1;
    log->origin = mem_strdup(origin);
    log->key = key;
    log->published_ms = clock_mono_ms();
    buf_init(&log->pending, AUDIT_PENDING_MAX);
    buf_init(&log->pending_index, 0);
    code = open_folders(log, dir, error);
    if (code == TP_OK) {
        log->tree = tree_new(log->tlog_fd);
        code = audit_recover(log, error);
    }
    if (code == TP_OK && log->end.day[0])
        audit_open_index(log);
    if (code != TP_OK) {
        free_log(log);
        return code;
    }
    *ret_log = log;
    return TP_OK;
}

void audit_log_close(struct audit_log *log)
{
    struct tp_error error = {0};
    if (!log)
        return;
    if (!log->out && audit_log_sync(log, &error) != TP_OK)
        log_error("audit log not written at the end", "error=\"%s\"", error.text);
    free_log(log);
}

static enum tp_err check_line(const struct audit_log *log, const char *line, size_t size)
{
    if (size > AUDIT_LINE_MAX)
        return TP_TOO_LARGE;
    if (size < 2 || line[0] != '{' || line[size - 1] != '}' || memchr(line, '\n', size) || memchr(line, '\0', size))
        return TP_INVALID;
    return buf_room(&log->pending) < size + 1 ? TP_LIMIT : TP_OK;
}

static void append_line(struct audit_log *log, const char *line, size_t size, const struct index_record *record)
{
    (void)buf_append(&log->pending, line, size);
    (void)buf_append(&log->pending, "\n", 1);
    (void)buf_append(&log->pending_index, record, sizeof(*record));
    log->pending_count++;
    log->appended += size + 1;
}

enum tp_err audit_log_append(struct audit_log *log, const char *json_line, size_t size)
{
    struct index_record record;
    json_t *event;
    enum tp_err code = check_line(log, json_line, size);
    if (code != TP_OK)
        return code;
    if (json_parse_object(json_line, size, AUDIT_LINE_MAX, &event, NULL) != TP_OK)
        return TP_INVALID;
    record = index_record_of(event, size);
    json_decref(event);
    append_line(log, json_line, size, &record);
    return TP_OK;
}

enum tp_err audit_log_append_event(struct audit_log *log, const json_t *event)
{
    char *line = json_text(event);
    size_t size = strlen(line);
    enum tp_err code = check_line(log, line, size);
    if (code == TP_OK) {
        struct index_record record = index_record_of(event, size);
        append_line(log, line, size, &record);
    }
    mem_free(line);
    return code;
}

uint64_t audit_log_appended(const struct audit_log *log)
{
    return log->appended;
}

size_t audit_log_waiting(const struct audit_log *log)
{
    return buf_size(&log->pending);
}

size_t audit_log_pending(const struct audit_log *log)
{
    return log->pending_count;
}

struct audit_batch *audit_log_take_batch(struct audit_log *log)
{
    bool due = log->behind && clock_mono_ms() - log->published_ms >= AUDIT_PUBLISH_MS;
    struct audit_batch *batch;
    if (log->out || (log->pending_count == 0 && !due))
        return NULL;
    batch = mem_alloc(sizeof(*batch));
    batch->log = log;
    batch->lines = log->pending;
    batch->index = log->pending_index;
    batch->count = log->pending_count;
    batch->publish = due;
    buf_init(&log->pending, AUDIT_PENDING_MAX);
    buf_init(&log->pending_index, 0);
    log->pending_count = 0;
    log->out = batch;
    return batch;
}

size_t audit_batch_count(const struct audit_batch *batch)
{
    return batch->count;
}

enum tp_err audit_open_day(struct audit_log *log, struct tp_error *error)
{
    char name[DAY_FILE_SIZE];
    int fd;
    day_file(log->end.day, name);
    fd = openat(log->log_fd, name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(error, errno, "the audit log's file %s cannot be opened", name);
    (void)unlinkat(log->log_fd, "events.log.new", 0);
    if (symlinkat(name, log->log_fd, "events.log.new") != 0 ||
        renameat(log->log_fd, "events.log.new", log->log_fd, "events.log") != 0 || fsync(log->log_fd) != 0) {
        int why = errno;
        (void)close(fd);
        return err_errno(error, why, "the link to the audit log's newest file cannot be set");
    }
    if (log->day_fd >= 0)
        (void)close(log->day_fd);
    log->day_fd = fd;
    return TP_OK;
}

enum tp_err audit_mend_day(struct audit_log *log, struct tp_error *error)
{
    if (ftruncate(log->day_fd, (off_t)log->end.offset) != 0 || fsync(log->day_fd) != 0)
        return err_errno(error, errno, "the audit log's newest file cannot be mended");
    log->torn = false;
    return TP_OK;
}

/* The file of today, or of a later day when the clock was set back: leaves stay in the order of the files. */
static enum tp_err turn_day(struct audit_log *log, struct tp_error *error)
{
    struct position old = log->end;
    char today[DAY_TEXT_SIZE];
    enum tp_err code;
    day_of_ms(clock_wall_ms(), today);
    if (log->day_fd >= 0 && strcmp(today, log->end.day) <= 0)
        return TP_OK;
    memcpy(log->end.day, today, sizeof(today));
    log->end.offset = 0;
    log->end.first = log->end.size;
    code = audit_open_day(log, error);
    if (code != TP_OK) {
        log->end = old;
        return code;
    }
    if (log->index_fd >= 0)
        (void)fdatasync(log->index_fd); /* of the day that is over; the newest is looked at again at each start */
    audit_open_index(log);
    return TP_OK;
}

void audit_open_index(struct audit_log *log)
{
    struct tp_error error = {0};
    uint64_t count;
    close_index(log);
    if (index_open(log->index_dir_fd, log->log_fd, log->end.day, log->end.offset, &log->index_fd, &count, &error) !=
        TP_OK)
        log_warn("audit index not written, will be tried again", "error=\"%s\"", error.text);
}

/* The lines of the batch are in the day file from log->end.offset on. */
static void index_lines(struct audit_log *log, struct audit_batch *batch)
{
    struct tp_error error = {0};
    uint64_t offset = log->end.offset;
    struct index_record record;
    uint8_t *at = batch->index.data + batch->index.start;
    for (size_t i = 0; i < batch->count; i++, at += sizeof(record)) {
        memcpy(&record, at, sizeof(record));
        index_place(&record, offset);
        memcpy(at, &record, sizeof(record));
        offset += record.size + 1;
    }
    if (log->index_fd >= 0 &&
        index_append(log->index_fd, buf_head(&batch->index), buf_size(&batch->index), &error) != TP_OK) {
        log_warn("audit index not written, will be tried again", "error=\"%s\"", error.text);
        close_index(log); /* it may end in half a record now */
    }
}

static enum tp_err write_lines(struct audit_log *log, const struct buf *lines, struct tp_error *error)
{
    const uint8_t *at = buf_head(lines);
    size_t left = buf_size(lines);
    while (left > 0) {
        ssize_t count = write(log->day_fd, at, left);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return err_errno(error, errno, "the audit log cannot be written");
        at += count;
        left -= (size_t)count;
    }
    if (fdatasync(log->day_fd) != 0)
        return err_errno(error, errno, "the audit log cannot be written");
    return TP_OK;
}

static enum tp_err record(struct audit_log *log, struct audit_batch *batch, struct tp_error *error)
{
    const uint8_t *at = buf_head(&batch->lines);
    const uint8_t *end = at + buf_size(&batch->lines);
    enum tp_err code = log->torn ? audit_mend_day(log, error) : TP_OK;
    if (code == TP_OK)
        code = turn_day(log, error);
    if (code != TP_OK)
        return code;
    code = write_lines(log, &batch->lines, error);
    if (code != TP_OK) {
        log->torn = true; /* until the file is cut back nothing is written behind it */
        if (audit_mend_day(log, NULL) != TP_OK)
            log_error("audit log could not be cut back", "file=%s.log", log->end.day);
        return code;
    }
    index_lines(log, batch);
    log->end.offset += buf_size(&batch->lines);
    while (at < end) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        tree_append(log->tree, at, (size_t)(newline - at));
        log->end.size++;
        at = newline + 1;
    }
    return TP_OK;
}

enum tp_err audit_batch_write(struct audit_batch *batch, struct tp_error *error)
{
    struct audit_log *log = batch->log;
    struct tp_error why = {0};
    enum tp_err code = batch->count > 0 ? record(log, batch, error) : TP_OK;
    if (code != TP_OK)
        return code;
    batch->written = true;
    if (batch->publish && log->end.day[0] && (log->index_fd < 0 || !index_is_linked(log->index_fd)))
        audit_open_index(log);
    if ((batch->publish || tree_waiting(log->tree) > WAITING_MAX) &&
        audit_publish(log, &batch->checkpoint, &why) != TP_OK)
        log_warn("audit checkpoint not written, will be tried again", "error=\"%s\"", why.text);
    return TP_OK;
}

void audit_log_finish_batch(struct audit_log *log, struct audit_batch *batch)
{
    if (batch->checkpoint) {
        mem_free(log->checkpoint);
        log->checkpoint = batch->checkpoint;
        log->behind = false;
    } else if (batch->written && batch->count > 0) {
        log->behind = true;
    }
    if (batch->checkpoint || batch->publish)
        log->published_ms = clock_mono_ms();
    buf_free(&batch->lines);
    buf_free(&batch->index);
    mem_free(batch);
    log->out = NULL;
}

static char *position_text(const struct position *position)
{
    return mem_printf("%llu %s %llu %llu\n", (unsigned long long)position->size, position->day[0] ? position->day : "-",
                      (unsigned long long)position->offset, (unsigned long long)position->first);
}

enum tp_err audit_publish(struct audit_log *log, char **ret_checkpoint, struct tp_error *error)
{
    struct checkpoint checkpoint = {.size = tree_size(log->tree)};
    char *newer = position_text(&log->end), *older = position_text(&log->published);
    char *positions = mem_printf("%s%s", newer, older);
    char *text = NULL;
    enum tp_err code = tree_write(log->tree, error);
    /* The position goes first and holds the old one too: whichever checkpoint a crash leaves, one of them fits it. */
    if (code == TP_OK)
        code = tile_write_file(log->tlog_fd, POSITION_FILE, positions, strlen(positions), error);
    if (code == TP_OK) {
        tree_root(log->tree, checkpoint.root);
        text = note_sign_checkpoint(log->key, log->origin, &checkpoint);
        code = tile_write_file(log->tlog_fd, CHECKPOINT_FILE, text, strlen(text), error);
    }
    if (code == TP_OK) {
        log->published = log->end;
        tree_written(log->tree);
        *ret_checkpoint = text;
    } else {
        mem_free(text);
    }
    mem_free(positions);
    mem_free(newer);
    mem_free(older);
    return code;
}

enum tp_err audit_log_sync(struct audit_log *log, struct tp_error *error)
{
    struct audit_batch *batch;
    char *checkpoint = NULL;
    enum tp_err code = TP_OK;
    if (log->out)
        return err_set(error, TP_CONFLICT, "a batch of the audit log is being written");
    batch = log->pending_count > 0 ? audit_log_take_batch(log) : NULL;
    if (batch) {
        code = audit_batch_write(batch, error);
        audit_log_finish_batch(log, batch);
    }
    if (code == TP_OK && log->behind) {
        code = audit_publish(log, &checkpoint, error);
        if (code == TP_OK) {
            mem_free(log->checkpoint);
            log->checkpoint = checkpoint;
            log->behind = false;
            log->published_ms = clock_mono_ms();
        }
    }
    return code;
}

const char *audit_log_checkpoint(const struct audit_log *log)
{
    return log->checkpoint;
}

char *audit_log_verifier_key(const struct audit_log *log)
{
    uint8_t public_key[32] = {0};
    enum tp_err code = key_ed25519_public(log->key, public_key);
    (void)code; /* audit_log_open made sure of the type */
    return note_verifier_key(log->origin, public_key);
}

#include "audit/log_internal.h"
#include "audit/prune.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t day_file_size(const struct audit_log *log, const char *day)
{
    char name[DAY_FILE_SIZE];
    struct stat info;
    day_file(day, name);
    return fstatat(log->log_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)info.st_size : 0;
}

/* A log that was never opened before has nothing in it. Anything else without a checkpoint has lost it. */
static enum tp_err start_new(struct audit_log *log, struct tp_error *error)
{
    char(*days)[DAY_TEXT_SIZE] = NULL;
    size_t count = 0;
    bool empty = true;
    struct stat info;
    enum tp_err code = day_list(log->log_fd, &days, &count, error);
    for (size_t i = 0; i < count; i++)
        empty = empty && day_file_size(log, days[i]) == 0;
    mem_free(days);
    if (code != TP_OK)
        return code;
    if (!empty || fstatat(log->tlog_fd, "tile", &info, AT_SYMLINK_NOFOLLOW) == 0)
        return err_set(error, TP_CORRUPT, "the audit log has lost its checkpoint");
    return audit_publish(log, &log->checkpoint, error);
}

static enum tp_err read_checkpoint(struct audit_log *log, struct checkpoint *checkpoint, struct tp_error *error)
{
    struct note_key key = {0};
    struct buf text;
    enum tp_err code;
    (void)snprintf(key.name, sizeof(key.name), "%s", log->origin);
    code = key_ed25519_public(log->key, key.public_key);
    buf_init(&text, NOTE_MAX + 128 * 1024);
    if (code == TP_OK)
        code = tile_read_file(log->tlog_fd, CHECKPOINT_FILE, NOTE_MAX, &text, error);
    if (code == TP_OK)
        code = note_open_checkpoint(buf_head(&text), buf_size(&text), &key, checkpoint, error);
    if (code == TP_OK)
        log->checkpoint = mem_strdup(buf_text(&text));
    buf_free(&text);
    return code;
}

/* The line of the position file that belongs to the checkpoint. */
static bool read_position(const struct audit_log *log, uint64_t size, struct position *out)
{
    struct buf text;
    bool found = false;
    buf_init(&text, 128 * 1024);
    if (tile_read_file(log->tlog_fd, POSITION_FILE, 4096, &text, NULL) == TP_OK) {
        const char *at = buf_text(&text);
        while (at && *at && !found) {
            unsigned long long leaves, offset, first;
            char day[DAY_TEXT_SIZE];
            if (sscanf(at, "%llu %10s %llu %llu", &leaves, day, &offset, &first) == 4 && leaves == size &&
                first <= leaves) {
                *out = (struct position){.size = leaves, .offset = offset, .first = first};
                if (strcmp(day, "-") != 0)
                    memcpy(out->day, day, sizeof(out->day));
                found = true;
            }
            at = strchr(at, '\n');
            if (at)
                at++;
        }
    }
    buf_free(&text);
    return found;
}

/* Finds the position by counting lines from the first day on that retention has left: slow, for a lost position file. */
static enum tp_err count_position(const struct audit_log *log, char (*days)[DAY_TEXT_SIZE], size_t count, uint64_t size,
                                  struct position *out, struct tp_error *error)
{
    struct position position = {0};
    struct prune_statement pruned;
    size_t start = 0;
    enum tp_err found = prune_statement_find(log->tlog_fd, size, 0, &pruned, error);
    if (found != TP_OK)
        return found;
    while (start < count && strcmp(days[start], pruned.first_day) < 0)
        start++;
    position.size = pruned.first_leaf;
    for (size_t i = start; i < count && position.size < size; i++) {
        struct day_lines *lines = NULL;
        const char *line;
        size_t length;
        bool complete = true;
        enum tp_err code = day_lines_open(log->log_fd, days[i], &lines, error);
        if (code != TP_OK)
            return code;
        memcpy(position.day, days[i], sizeof(position.day));
        position.first = position.size;
        while (position.size < size && day_lines_next(lines, &line, &length, &complete) == TP_OK && complete)
            position.size++;
        position.offset = day_lines_at(lines);
        day_lines_free(lines);
    }
    if (position.size < size)
        return err_set(error, TP_CORRUPT,
                       "the audit log's day files hold fewer lines than its checkpoint says; "
                       "\"tportctl audit verify\" shows which are missing");
    *out = position;
    return TP_OK;
}

struct restoring {
    struct buf *out;
    uint64_t at;   /* leaf of the next entry */
    uint64_t from; /* first wanted */
};

static bool restore_entry(void *ctx, const uint8_t *data, size_t size)
{
    struct restoring *restoring = ctx;
    if (restoring->at++ >= restoring->from) {
        (void)buf_append(restoring->out, data, size);
        (void)buf_append(restoring->out, "\n", 1);
    }
    return true;
}

/* Writes the newest sealed day file anew from the entries of the tree. */
static enum tp_err restore_day(struct audit_log *log, const struct position *position, struct tp_error *error)
{
    char name[DAY_FILE_SIZE];
    struct buf text, file;
    struct restoring restoring = {.out = &text, .from = position->first};
    enum tp_err code = TP_OK;
    uint64_t bundle = position->first / TILE_WIDTH;
    day_file(position->day, name);
    log_warn("day file of the audit log is cut, restoring it from the tree", "file=%s", name);
    buf_init(&text, 0);
    restoring.at = bundle * TILE_WIDTH;
    for (; code == TP_OK && bundle * TILE_WIDTH < position->size; bundle++) {
        uint64_t left = position->size - bundle * TILE_WIDTH;
        unsigned width = left < TILE_WIDTH ? (unsigned)left : TILE_WIDTH;
        unsigned seen;
        bool more;
        buf_init(&file, TILE_FILE_MAX + 128 * 1024);
        code = tile_read(log->tlog_fd, TILE_ENTRIES, bundle, width, &file, &more, error);
        if (code == TP_OK && tree_split(&file, width, more, restore_entry, &restoring, &seen) != TP_OK)
            code = err_set(error, TP_CORRUPT, "the entries of the audit log are damaged");
        buf_free(&file);
    }
    if (code == TP_OK && buf_size(&text) != position->offset)
        code = err_set(error, TP_CORRUPT, "%s is damaged and cannot be restored from the tree", name);
    if (code == TP_OK)
        code = tile_write_file(log->log_fd, name, buf_head(&text), buf_size(&text), error);
    buf_free(&text);
    return code;
}

static bool is_event(const char *line, size_t size)
{
    json_t *object;
    if (size < 2 || json_parse_object(line, size, AUDIT_LINE_MAX, &object, NULL) != TP_OK)
        return false;
    json_decref(object);
    return true;
}

/* Adds the lines of one day behind offset to the tree, up to the first one that is not whole: what a crash tore was never
 * acknowledged and is cut off. */
static enum tp_err adopt_lines(struct audit_log *log, const char *day, uint64_t offset, struct tp_error *error)
{
    struct day_lines *lines;
    const char *line;
    size_t size;
    bool complete;
    enum tp_err code = day_lines_open(log->log_fd, day, &lines, error);
    if (code != TP_OK)
        return code;
    if (strcmp(day, log->end.day) != 0) {
        memcpy(log->end.day, day, sizeof(log->end.day));
        log->end.first = log->end.size;
    }
    day_lines_seek(lines, offset);
    log->end.offset = offset;
    while (day_lines_next(lines, &line, &size, &complete) == TP_OK && complete && is_event(line, size)) {
        tree_append(log->tree, line, size);
        log->end.size++;
        log->end.offset = day_lines_at(lines);
        log->behind = true;
    }
    day_lines_free(lines);
    code = audit_open_day(log, error);
    if (code == TP_OK && day_file_size(log, day) != log->end.offset) {
        log_warn("incomplete end of the audit log cut off", "file=%s.log bytes=%llu", day,
                 (unsigned long long)(day_file_size(log, day) - log->end.offset));
        code = audit_mend_day(log, error);
    }
    return code;
}

static enum tp_err adopt_all(struct audit_log *log, char (*days)[DAY_TEXT_SIZE], size_t count, struct tp_error *error)
{
    char *checkpoint = NULL;
    const struct position sealed = log->end;
    enum tp_err code = TP_OK;
    for (size_t i = 0; i < count && code == TP_OK; i++) {
        int order = strcmp(days[i], sealed.day);
        if (order >= 0)
            code = adopt_lines(log, days[i], order == 0 ? sealed.offset : 0, error);
    }
    if (code == TP_OK && log->behind) {
        log_info("audit events added to the tree after a restart", "count=%llu",
                 (unsigned long long)(log->end.size - sealed.size));
        code = audit_publish(log, &checkpoint, error);
        if (code == TP_OK) {
            mem_free(log->checkpoint);
            log->checkpoint = checkpoint;
            log->behind = false;
        }
    }
    return code;
}

enum tp_err audit_recover(struct audit_log *log, struct tp_error *error)
{
    struct checkpoint checkpoint = {0};
    char(*days)[DAY_TEXT_SIZE] = NULL;
    size_t count = 0;
    enum tp_err code = read_checkpoint(log, &checkpoint, error);
    if (code == TP_NOT_FOUND)
        return start_new(log, error);
    if (code == TP_OK)
        code = tree_load(log->tree, &checkpoint, error);
    if (code == TP_OK)
        code = day_list(log->log_fd, &days, &count, error);
    if (code == TP_OK && !read_position(log, checkpoint.size, &log->end))
        code = count_position(log, days, count, checkpoint.size, &log->end, error);
    log->published = log->end;
    if (code == TP_OK && log->end.day[0] && day_file_size(log, log->end.day) < log->end.offset) {
        code = restore_day(log, &log->end, error);
        mem_free(days);
        days = NULL;
        if (code == TP_OK)
            code = day_list(log->log_fd, &days, &count, error);
    }
    if (code == TP_OK)
        code = adopt_all(log, days, count, error);
    mem_free(days);
    return code;
}

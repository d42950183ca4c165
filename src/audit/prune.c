/* Retention: what may go, the statement that it went, and removing it. The order is what makes it safe: first the statement
 * is under a signed checkpoint, then entry bundles go, then day files, oldest first. Hash tiles stay for ever, so that what
 * is left is proved as before. */
#include "audit/prune.h"

#include "audit/audit_log.h"
#include "audit/index.h"
#include "audit/note.h"
#include "audit/tree.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATED_WITHIN ((uint64_t)1000000) /* leaves in which a new statement is looked for */

struct folders {
    int tlog_fd;
    int log_fd;
    int index_fd; /* -1: there is none */
};

static void folders_close(struct folders *folders)
{
    if (folders->tlog_fd >= 0)
        (void)close(folders->tlog_fd);
    if (folders->log_fd >= 0)
        (void)close(folders->log_fd);
    if (folders->index_fd >= 0)
        (void)close(folders->index_fd);
}

static enum tp_err folders_open(const char *dir, struct folders *folders, struct tp_error *error)
{
    folders->tlog_fd = day_part(dir, "tlog");
    folders->log_fd = day_part(dir, "log");
    folders->index_fd = day_part(dir, "index");
    if (folders->tlog_fd >= 0 && folders->log_fd >= 0)
        return TP_OK;
    folders_close(folders);
    return err_set(error, TP_IO, "the folders of the audit log in %s cannot be opened", dir);
}

/* ---- The statement ---- */

static bool read_event(const json_t *event, struct prune_statement *ret_statement)
{
    const char *day = json_get_text(event, "first_day", "");
    int64_t leaf = json_get_int(event, "first_leaf", 0);
    if (strcmp(json_get_text(event, "event", ""), PRUNE_EVENT) != 0 || leaf <= 0 || !day_ok(day))
        return false;
    *ret_statement = (struct prune_statement){.first_leaf = (uint64_t)leaf};
    memcpy(ret_statement->first_day, day, DAY_TEXT_SIZE);
    (void)snprintf(ret_statement->reason, sizeof(ret_statement->reason), "%s", json_get_text(event, "reason", ""));
    return true;
}

bool prune_statement_read(const void *entry, size_t size, struct prune_statement *ret_statement)
{
    static const char mark[] = "\"" PRUNE_EVENT "\"";
    json_t *event;
    bool good;
    if (!memmem(entry, size, mark, sizeof(mark) - 1) ||
        json_parse_object(entry, size, AUDIT_LINE_MAX, &event, NULL) != TP_OK)
        return false;
    good = read_event(event, ret_statement);
    json_decref(event);
    return good;
}

static bool take_statement(void *ctx, const uint8_t *data, size_t size)
{
    (void)prune_statement_read(data, size, ctx); /* a later one takes the place of an earlier one */
    return true;
}

enum tp_err prune_statement_find(int tlog_fd, uint64_t size, uint64_t reach, struct prune_statement *ret_statement,
                                 struct tp_error *error)
{
    uint64_t from = reach > 0 && reach < size ? (size - reach) / TILE_WIDTH : 0;
    enum tp_err code = TP_OK;
    memset(ret_statement, 0, sizeof(*ret_statement));
    for (uint64_t index = (size + TILE_WIDTH - 1) / TILE_WIDTH; index > from && ret_statement->first_leaf == 0;
         index--) {
        uint64_t left = size - (index - 1) * TILE_WIDTH;
        unsigned width = left < TILE_WIDTH ? (unsigned)left : TILE_WIDTH;
        unsigned seen = 0;
        bool more = false;
        struct buf file;
        buf_init(&file, TILE_FILE_MAX + 128 * 1024);
        code = tile_read(tlog_fd, TILE_ENTRIES, index - 1, width, &file, &more, error);
        if (code == TP_OK)
            code = tree_split(&file, width, more, take_statement, ret_statement, &seen);
        buf_free(&file);
        if (code != TP_OK)
            break;
    }
    /* Where the entries end there are none further back; whether they may end there is for others to say. */
    return code == TP_NOT_FOUND ? TP_OK : code;
}

/* ---- What may go ---- */

static enum tp_err checkpoint_size(int tlog_fd, uint64_t *ret_size, struct tp_error *error)
{
    struct buf text;
    unsigned long long size = 0;
    enum tp_err code;
    buf_init(&text, NOTE_MAX + 128 * 1024);
    code = tile_read_file(tlog_fd, CHECKPOINT_FILE, NOTE_MAX, &text, error);
    if (code == TP_OK && sscanf(buf_text(&text), "%*[^\n]\n%llu", &size) != 1)
        code = err_set(error, TP_CORRUPT, "the audit log's checkpoint cannot be read");
    buf_free(&text);
    *ret_size = size;
    return code;
}

static enum tp_err count_lines(int log_fd, const char *day, uint64_t *count, struct tp_error *error)
{
    struct day_lines *lines;
    const char *line;
    size_t size;
    bool complete;
    enum tp_err code = day_lines_open(log_fd, day, &lines, error);
    if (code != TP_OK)
        return code;
    while (day_lines_next(lines, &line, &size, &complete) == TP_OK && complete)
        (*count)++;
    day_lines_free(lines);
    return TP_OK;
}

/* Bytes that go with a day: its file, the same in entry bundles, its index. */
static uint64_t day_bytes(const struct folders *folders, const char *day)
{
    char name[DAY_FILE_SIZE];
    struct stat info;
    uint64_t bytes = 0;
    day_file(day, name);
    if (fstatat(folders->log_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0)
        bytes += 2 * (uint64_t)info.st_size;
    index_file(day, name);
    if (folders->index_fd >= 0 && fstatat(folders->index_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0)
        bytes += (uint64_t)info.st_size;
    return bytes;
}

/* How many of the oldest days go; never the newest one. */
static size_t choose(const struct folders *folders, char (*days)[DAY_TEXT_SIZE], size_t count,
                     const struct audit_keep *keep, struct audit_prune *plan)
{
    char limit[DAY_TEXT_SIZE];
    char young[DAY_TEXT_SIZE];
    uint64_t total = 0;
    size_t gone = 0;
    plan->reason = "age";
    if (keep->max_age_ms > 0) {
        day_of_ms(keep->now_ms - keep->max_age_ms, limit);
        while (gone + 1 < count && strcmp(days[gone], limit) < 0)
            gone++;
    }
    if (keep->max_bytes == 0)
        return gone;
    for (size_t i = gone; i < count; i++)
        total += day_bytes(folders, days[i]);
    day_of_ms(keep->now_ms - keep->min_age_ms, young);
    while (gone + 1 < count && total > keep->max_bytes && (keep->min_age_ms == 0 || strcmp(days[gone], young) < 0)) {
        total -= day_bytes(folders, days[gone++]);
        plan->reason = "size";
    }
    plan->held = gone + 1 < count && total > keep->max_bytes;
    return gone;
}

/* The first line of the day that stays must be the leaf we think it is, or we would state something wrong for ever. */
static enum tp_err check_first(const struct folders *folders, const struct audit_prune *plan, uint64_t size,
                               struct tp_error *error)
{
    uint64_t index = plan->first_leaf / TILE_WIDTH, left = size - index * TILE_WIDTH;
    size_t at = (size_t)(plan->first_leaf % TILE_WIDTH) * MERKLE_HASH;
    struct day_lines *lines;
    struct buf tile;
    uint8_t hash[MERKLE_HASH];
    const char *line;
    size_t length;
    bool complete = false, more;
    enum tp_err code;
    if (plan->first_leaf >= size)
        return err_set(error, TP_AGAIN, "the first event that stays is not under a checkpoint yet");
    code = day_lines_open(folders->log_fd, plan->first_day, &lines, error);
    if (code != TP_OK)
        return code;
    if (day_lines_next(lines, &line, &length, &complete) == TP_OK && complete)
        merkle_leaf(line, length, hash);
    day_lines_free(lines);
    if (!complete)
        return err_set(error, TP_AGAIN, "the day that stays has no event yet");
    buf_init(&tile, TILE_FILE_MAX + 128 * 1024);
    code = tile_read(folders->tlog_fd, 0, index, left < TILE_WIDTH ? (unsigned)left : TILE_WIDTH, &tile, &more, error);
    if (code == TP_NOT_FOUND)
        code = err_set(error, TP_AGAIN, "a newer checkpoint is being written");
    if (code == TP_OK && (buf_size(&tile) < at + MERKLE_HASH || memcmp(buf_head(&tile) + at, hash, MERKLE_HASH) != 0))
        code =
            err_set(error, TP_CORRUPT,
                    "the day files do not fit the tree, so nothing is removed; \"tportctl audit verify\" shows where");
    buf_free(&tile);
    return code;
}

static bool take_event(void *ctx, const json_t *event)
{
    return !read_event(event, ctx);
}

/* By the index. What it finds need not be under a checkpoint yet; audit_prune_run waits for that. */
static enum tp_err last_statement(const char *dir, struct prune_statement *ret_statement, struct tp_error *error)
{
    static const char *const types[] = {PRUNE_EVENT, NULL};
    char *next = mem_strdup("");
    enum tp_err code = TP_OK;
    memset(ret_statement, 0, sizeof(*ret_statement));
    do {
        struct audit_query query = {.types = types, .start_key = next};
        char *after = NULL;
        code = audit_log_query(dir, &query, take_event, ret_statement, &after, error);
        mem_free(next);
        next = after;
    } while (code == TP_OK && next[0] && ret_statement->first_leaf == 0);
    mem_free(next);
    return code;
}

static enum tp_err make_plan(const char *dir, const struct folders *folders, char (*days)[DAY_TEXT_SIZE], size_t count,
                             const struct audit_keep *keep, struct audit_prune *plan, struct tp_error *error)
{
    struct prune_statement last;
    uint64_t size = 0;
    size_t gone = count > 0 ? choose(folders, days, count, keep, plan) : 0;
    enum tp_err code;
    if (gone == 0 && (!keep->resume || count == 0))
        return TP_OK;
    code = checkpoint_size(folders->tlog_fd, &size, error);
    if (code == TP_OK)
        code = last_statement(dir, &last, error);
    if (code != TP_OK)
        return code;
    if (last.first_leaf > 0 && strcmp(days[0], last.first_day) < 0) { /* it was interrupted */
        plan->stated = true;
        plan->first_leaf = last.first_leaf;
        memcpy(plan->first_day, last.first_day, sizeof(plan->first_day));
        return TP_OK;
    }
    if (last.first_leaf > 0 && strcmp(days[0], last.first_day) != 0)
        return err_set(error, TP_CORRUPT,
                       "the day file %s is missing, so nothing is removed; \"tportctl audit verify\" shows more",
                       last.first_day);
    if (gone == 0)
        return TP_OK;
    plan->days = gone;
    memcpy(plan->from_day, days[0], sizeof(plan->from_day));
    memcpy(plan->first_day, days[gone], sizeof(plan->first_day));
    for (size_t i = 0; i < gone && code == TP_OK; i++) {
        plan->bytes += day_bytes(folders, days[i]);
        code = count_lines(folders->log_fd, days[i], &plan->events, error);
    }
    plan->first_leaf = last.first_leaf + plan->events;
    return code == TP_OK ? check_first(folders, plan, size, error) : code;
}

enum tp_err audit_prune_plan(const char *dir, const struct audit_keep *keep, struct audit_prune *ret_plan,
                             struct tp_error *error)
{
    struct folders folders;
    char(*days)[DAY_TEXT_SIZE] = NULL;
    size_t count = 0;
    enum tp_err code = folders_open(dir, &folders, error);
    memset(ret_plan, 0, sizeof(*ret_plan));
    if (code != TP_OK)
        return code;
    code = day_list(folders.log_fd, &days, &count, error);
    if (code == TP_OK)
        code = make_plan(dir, &folders, days, count, keep, ret_plan, error);
    if (code != TP_OK)
        memset(ret_plan, 0, sizeof(*ret_plan));
    mem_free(days);
    folders_close(&folders);
    return code;
}

/* ---- Removing ---- */

static enum tp_err remove_bundles(int tlog_fd, uint64_t count, struct tp_error *error)
{
    char path[TILE_PATH_MAX];
    for (uint64_t index = 0; index < count; index++) {
        tile_path(TILE_ENTRIES, index, TILE_WIDTH, path);
        if (unlinkat(tlog_fd, path, 0) != 0 && errno != ENOENT && errno != ENOTDIR)
            return err_errno(error, errno, "%s cannot be removed", path);
        if (index % 1000 == 999) { /* the folder of a thousand; the one above when that is empty too, and so on */
            for (char *slash = strrchr(path, '/'); slash && slash > path + strlen("tile/entries");
                 slash = strrchr(path, '/')) {
                *slash = '\0';
                if (unlinkat(tlog_fd, path, AT_REMOVEDIR) != 0)
                    break;
            }
        }
    }
    return TP_OK;
}

static enum tp_err remove_days(const struct folders *folders, const char *first_day, struct tp_error *error)
{
    char(*days)[DAY_TEXT_SIZE] = NULL;
    size_t count = 0;
    enum tp_err code = day_list(folders->log_fd, &days, &count, error);
    for (size_t i = 0; i + 1 < count && code == TP_OK && strcmp(days[i], first_day) < 0; i++) {
        char name[DAY_FILE_SIZE];
        index_file(days[i], name);
        if (folders->index_fd >= 0)
            (void)unlinkat(folders->index_fd, name, 0);
        day_file(days[i], name);
        if (unlinkat(folders->log_fd, name, 0) != 0 && errno != ENOENT)
            code = err_errno(error, errno, "%s cannot be removed", name);
    }
    mem_free(days);
    if (code == TP_OK && fsync(folders->log_fd) != 0)
        code = err_errno(error, errno, "the folder of the audit log's day files cannot be synced");
    return code;
}

enum tp_err audit_prune_run(const char *dir, const struct audit_prune *plan, struct tp_error *error)
{
    struct folders folders;
    struct prune_statement stated;
    uint64_t size = 0;
    enum tp_err code = folders_open(dir, &folders, error);
    if (code != TP_OK)
        return code;
    code = checkpoint_size(folders.tlog_fd, &size, error);
    if (code == TP_OK)
        code = prune_statement_find(folders.tlog_fd, size, plan->stated ? 0 : STATED_WITHIN, &stated, error);
    if (code == TP_OK && (stated.first_leaf != plan->first_leaf || strcmp(stated.first_day, plan->first_day) != 0))
        code = err_set(error, TP_AGAIN, "the statement of what is removed is not under a checkpoint yet");
    if (code == TP_OK)
        code = remove_bundles(folders.tlog_fd, plan->first_leaf / TILE_WIDTH, error);
    if (code == TP_OK)
        code = remove_days(&folders, plan->first_day, error);
    folders_close(&folders);
    return code;
}

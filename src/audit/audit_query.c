#include "audit/audit_log.h"

#include "audit/index.h"
#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY_MS ((int64_t)24 * 3600 * 1000)

struct walk {
    const struct audit_query *query;
    audit_query_cb *fn;
    void *ctx;
    size_t delivered;
    bool stopped;  /* by the caller or a limit */
    uint64_t read; /* bytes of lines that were looked at */
    uint32_t user; /* index_hash of what is asked for */
    uint32_t *types;
    size_t type_count;
    char from_day[DAY_TEXT_SIZE];
    char to_day[DAY_TEXT_SIZE];
    char key_day[DAY_TEXT_SIZE]; /* start_key, or "" */
    uint64_t key_offset;
};

static bool contains(const char *line, size_t size, const char *text)
{
    return memmem(line, size, text, strlen(text)) != NULL;
}

/* Our lines are compact JSON, so a name without anything to escape must stand in the line as it is: most lines are passed
 * over without being parsed. */
static bool may_match(const struct audit_query *query, const char *line, size_t size)
{
    if (query->user && !strpbrk(query->user, "\\\"/") && !contains(line, size, query->user))
        return false;
    if (query->types) {
        bool found = false;
        for (size_t i = 0; query->types[i] && !found; i++)
            found = contains(line, size, query->types[i]);
        if (!found)
            return false;
    }
    return true;
}

static bool has_text(const char *line, size_t size, const char *text)
{
    char *copy = mem_strndup(line, size);
    bool found = strcasestr(copy, text) != NULL;
    mem_free(copy);
    return found;
}

static bool matches(const struct audit_query *query, const json_t *event)
{
    const char *name = json_get_text(event, "event", "");
    int64_t when;
    if (query->user && strcmp(json_get_text(event, "user", ""), query->user) != 0)
        return false;
    if (query->types) {
        bool found = false;
        for (size_t i = 0; query->types[i] && !found; i++)
            found = strcmp(query->types[i], name) == 0;
        if (!found)
            return false;
    }
    if (query->from_ms == 0 && query->to_ms == 0)
        return true;
    if (clock_parse_ms(json_get_text(event, "time", ""), &when) != TP_OK)
        return false;
    return (query->from_ms == 0 || when >= query->from_ms) && (query->to_ms == 0 || when < query->to_ms);
}

static void look_at(struct walk *walk, const char *line, size_t size)
{
    const struct audit_query *query = walk->query;
    json_t *event;
    walk->read += size;
    if (walk->read >= AUDIT_QUERY_READ_MAX)
        walk->stopped = true;
    if (!may_match(query, line, size) || (query->text && query->text[0] && !has_text(line, size, query->text)) ||
        json_parse_object(line, size, AUDIT_LINE_MAX, &event, NULL) != TP_OK)
        return;
    if (matches(query, event)) {
        walk->delivered++;
        if (!walk->fn(walk->ctx, event) || (query->limit > 0 && walk->delivered >= query->limit))
            walk->stopped = true;
    }
    json_decref(event);
}

/* Lines without the help of the index: from the place on to stop (0: the end), or back to stop. */
static void walk_lines(struct walk *walk, struct day_lines *lines, uint64_t stop)
{
    const char *line;
    size_t size;
    bool complete;
    if (walk->query->ascending) {
        while (!walk->stopped && day_lines_next(lines, &line, &size, &complete) == TP_OK && complete)
            look_at(walk, line, size);
    } else {
        while (!walk->stopped && day_lines_at(lines) > stop && day_lines_previous(lines, &line, &size) == TP_OK)
            look_at(walk, line, size);
    }
}

/* The record may be one of what is asked for. */
static bool fits(const struct walk *walk, const struct index_record *record)
{
    const struct audit_query *query = walk->query;
    bool found = !query->types;
    if (query->user && record->user != walk->user)
        return false;
    if (query->from_ms != 0 && record->time_ms < query->from_ms)
        return false;
    if (query->to_ms != 0 && (record->time_ms >= query->to_ms || record->time_ms == INT64_MIN))
        return false;
    for (size_t i = 0; i < walk->type_count && !found; i++)
        found = walk->types[i] == record->type;
    return found;
}

/* Reads the line of a record and looks at it. False: the file does not have it where the index says. */
static bool look_up(struct walk *walk, struct day_lines *lines, const struct index_record *record)
{
    const char *line;
    if (day_lines_read(lines, record->offset, record->size, &line) != TP_OK)
        return false;
    look_at(walk, line, record->size);
    return true;
}

/* Goes on with the index as far as it is right; where it is not, the lines themselves are read. */
static void walk_index_up(struct walk *walk, struct day_lines *lines, struct index_reader *index)
{
    uint64_t at = index_reader_seek(index, day_lines_at(lines));
    const struct index_record *record;
    while (!walk->stopped && (record = index_reader_at(index, at)) != NULL && record->offset == day_lines_at(lines)) {
        uint64_t next = record->offset + record->size + 1;
        if (fits(walk, record) && !look_up(walk, lines, record))
            break;
        day_lines_seek(lines, next);
        at++;
    }
    walk_lines(walk, lines, 0);
}

static void walk_index_down(struct walk *walk, struct day_lines *lines, struct index_reader *index)
{
    uint64_t at = index_reader_count(index);
    const struct index_record *record = at > 0 ? index_reader_at(index, at - 1) : NULL;
    uint64_t covered = record ? record->offset + record->size + 1 : 0;
    if (day_lines_at(lines) > covered)
        walk_lines(walk, lines, covered); /* what is newer than the index */
    else
        at = index_reader_seek(index, day_lines_at(lines));
    while (!walk->stopped && at > 0 && (record = index_reader_at(index, at - 1)) != NULL &&
           record->offset + record->size + 1 == day_lines_at(lines)) {
        if (fits(walk, record) && !look_up(walk, lines, record))
            break;
        day_lines_seek(lines, record->offset);
        at--;
    }
    walk_lines(walk, lines, 0);
}

/* Goes through one day; *ret_offset is where to go on when the walk was stopped. */
static enum tp_err walk_day(struct walk *walk, int log_fd, int index_fd, const char *day, uint64_t *ret_offset,
                            struct tp_error *error)
{
    bool keyed = strcmp(day, walk->key_day) == 0;
    struct day_lines *lines;
    struct index_reader *index = NULL;
    enum tp_err code;
    bool indexed = index_fd >= 0 && index_reader_open(index_fd, day, &index, NULL) == TP_OK;
    code = day_lines_open(log_fd, day, &lines, error);
    if (code != TP_OK) {
        index_reader_free(index);
        return code == TP_NOT_FOUND ? TP_OK : code; /* removed since the folder was read */
    }
    if (keyed)
        day_lines_seek(lines, walk->key_offset);
    else if (!walk->query->ascending)
        day_lines_seek_end(lines);
    if (!indexed)
        walk_lines(walk, lines, 0);
    else if (walk->query->ascending)
        walk_index_up(walk, lines, index);
    else
        walk_index_down(walk, lines, index);
    *ret_offset = day_lines_at(lines);
    day_lines_free(lines);
    index_reader_free(index);
    return TP_OK;
}

static bool wanted_day(const struct walk *walk, const char *day)
{
    if (walk->from_day[0] && strcmp(day, walk->from_day) < 0)
        return false;
    if (walk->to_day[0] && strcmp(day, walk->to_day) > 0)
        return false;
    if (!walk->key_day[0])
        return true;
    return walk->query->ascending ? strcmp(day, walk->key_day) >= 0 : strcmp(day, walk->key_day) <= 0;
}

/* "YYYY-MM-DD:OFFSET" */
static enum tp_err read_key(struct walk *walk, const char *key, struct tp_error *error)
{
    char *end;
    if (!key || !key[0])
        return TP_OK;
    if (strlen(key) < DAY_TEXT_SIZE + 1 || key[DAY_TEXT_SIZE - 1] != ':' || key[DAY_TEXT_SIZE] < '0' ||
        key[DAY_TEXT_SIZE] > '9')
        return err_set(error, TP_INVALID, "start_key is not one that an earlier answer gave");
    memcpy(walk->key_day, key, DAY_TEXT_SIZE - 1);
    errno = 0;
    walk->key_offset = strtoull(key + DAY_TEXT_SIZE, &end, 10);
    if (errno != 0 || *end != '\0' || walk->key_offset > INT64_MAX ||
        strspn(walk->key_day, "0123456789-") != DAY_TEXT_SIZE - 1)
        return err_set(error, TP_INVALID, "start_key is not one that an earlier answer gave");
    return TP_OK;
}

static enum tp_err walk_all(struct walk *walk, int log_fd, int index_fd, char **ret_start_key, struct tp_error *error)
{
    char(*days)[DAY_TEXT_SIZE] = NULL;
    size_t count = 0;
    uint64_t offset = 0;
    enum tp_err code = day_list(log_fd, &days, &count, error);
    for (size_t i = 0; i < count && code == TP_OK && !walk->stopped; i++) {
        const char *day = days[walk->query->ascending ? i : count - 1 - i];
        if (!wanted_day(walk, day))
            continue;
        code = walk_day(walk, log_fd, index_fd, day, &offset, error);
        if (code == TP_OK && walk->stopped)
            *ret_start_key = mem_printf("%s:%llu", day, (unsigned long long)offset);
    }
    if (code == TP_OK && !walk->stopped)
        *ret_start_key = mem_strdup("");
    mem_free(days);
    return code;
}

enum tp_err audit_log_query(const char *dir, const struct audit_query *query, audit_query_cb *fn, void *ctx,
                            char **ret_start_key, struct tp_error *error)
{
    struct walk walk = {.query = query, .fn = fn, .ctx = ctx};
    int log_fd, index_fd;
    enum tp_err code = read_key(&walk, query->start_key, error);
    if (code != TP_OK)
        return code;
    /* A file holds what was written on its day; an event is written a little after its time, and clocks are set. */
    if (query->from_ms > 0)
        day_of_ms(query->from_ms - DAY_MS, walk.from_day);
    if (query->to_ms > 0 && query->to_ms < INT64_MAX - DAY_MS)
        day_of_ms(query->to_ms + DAY_MS, walk.to_day);
    if (query->user)
        walk.user = index_hash(query->user);
    while (query->types && query->types[walk.type_count])
        walk.type_count++;
    walk.types = mem_array(walk.type_count + 1, sizeof(*walk.types));
    for (size_t i = 0; i < walk.type_count; i++)
        walk.types[i] = index_hash(query->types[i]);
    log_fd = day_part(dir, "log");
    index_fd = day_part(dir, "index");
    if (log_fd < 0)
        code = err_errno(error, errno, "the audit log %s/log cannot be opened", dir);
    else
        code = walk_all(&walk, log_fd, index_fd, ret_start_key, error);
    if (log_fd >= 0)
        (void)close(log_fd);
    if (index_fd >= 0)
        (void)close(index_fd);
    mem_free(walk.types);
    return code;
}

#include "audit/audit_log.h"

#include "audit/day.h"
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
    bool stopped; /* by the caller or the limit */
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

/* Goes through one day; *ret_offset is where to go on when the walk was stopped. */
static enum tp_err walk_day(struct walk *walk, int log_fd, const char *day, uint64_t *ret_offset,
                            struct tp_error *error)
{
    bool keyed = strcmp(day, walk->key_day) == 0;
    struct day_lines *lines;
    const char *line;
    size_t size;
    bool complete;
    enum tp_err code = day_lines_open(log_fd, day, &lines, error);
    if (code != TP_OK)
        return code == TP_NOT_FOUND ? TP_OK : code; /* removed since the folder was read */
    if (walk->query->ascending) {
        day_lines_seek(lines, keyed ? walk->key_offset : 0);
        while (!walk->stopped && day_lines_next(lines, &line, &size, &complete) == TP_OK && complete)
            look_at(walk, line, size);
    } else {
        if (keyed)
            day_lines_seek(lines, walk->key_offset);
        else
            day_lines_seek_end(lines);
        while (!walk->stopped && day_lines_previous(lines, &line, &size) == TP_OK)
            look_at(walk, line, size);
    }
    *ret_offset = day_lines_at(lines);
    day_lines_free(lines);
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

static enum tp_err walk_all(struct walk *walk, int log_fd, char **ret_start_key, struct tp_error *error)
{
    char(*days)[DAY_TEXT_SIZE] = NULL;
    size_t count = 0;
    uint64_t offset = 0;
    enum tp_err code = day_list(log_fd, &days, &count, error);
    for (size_t i = 0; i < count && code == TP_OK && !walk->stopped; i++) {
        const char *day = days[walk->query->ascending ? i : count - 1 - i];
        if (!wanted_day(walk, day))
            continue;
        code = walk_day(walk, log_fd, day, &offset, error);
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
    char *path;
    int log_fd;
    enum tp_err code = read_key(&walk, query->start_key, error);
    if (code != TP_OK)
        return code;
    /* A file holds what was written on its day; an event is written a little after its time, and clocks are set. */
    if (query->from_ms > 0)
        day_of_ms(query->from_ms - DAY_MS, walk.from_day);
    if (query->to_ms > 0 && query->to_ms < INT64_MAX - DAY_MS)
        day_of_ms(query->to_ms + DAY_MS, walk.to_day);
    path = mem_printf("%s/log", dir);
    log_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (log_fd < 0)
        code = err_errno(error, errno, "the audit log %s cannot be opened", path);
    mem_free(path);
    if (code != TP_OK)
        return code;
    code = walk_all(&walk, log_fd, ret_start_key, error);
    (void)close(log_fd);
    return code;
}

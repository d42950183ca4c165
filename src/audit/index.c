#include "audit/index.h"

#include "audit/audit_log.h"
#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD sizeof(struct index_record)
#define WINDOW ((size_t)4096) /* records that are read at once */

struct index_reader {
    int fd;
    uint64_t count;
    uint64_t first; /* number of window[0] */
    size_t filled;
    struct index_record window[WINDOW];
};

void index_file(const char *day, char out[INDEX_FILE_SIZE])
{
    (void)snprintf(out, INDEX_FILE_SIZE, "%.10s.idx", day);
}

uint32_t index_hash(const char *text)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    return hash;
}

struct index_record index_record_of(const json_t *event, size_t size)
{
    struct index_record record = {.size = (uint32_t)size,
                                  .type = index_hash(json_get_text(event, "event", "")),
                                  .user = index_hash(json_get_text(event, "user", ""))};
    if (clock_parse_ms(json_get_text(event, "time", ""), &record.time_ms) != TP_OK)
        record.time_ms = INT64_MIN;
    return record;
}

/* A change of the form changes the first number, and old files are made anew. */
static uint32_t check_word(const struct index_record *record)
{
    uint64_t x = 0x9e3779b97f4a7c15ull + record->offset;
    x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9ull + (uint64_t)record->time_ms;
    x = (x ^ (x >> 32)) * 0x94d049bb133111ebull + (((uint64_t)record->type << 32) | record->user);
    x = (x ^ (x >> 31)) * 0xbf58476d1ce4e5b9ull + record->size;
    return (uint32_t)(x ^ (x >> 32));
}

void index_place(struct index_record *record, uint64_t offset)
{
    record->offset = offset;
    record->check = check_word(record);
}

bool index_record_ok(const struct index_record *record, uint64_t offset)
{
    return record->offset == offset && record->check == check_word(record);
}

/* ---- Reading ---- */

static struct index_reader *reader_on(int fd)
{
    struct index_reader *reader = mem_alloc(sizeof(*reader));
    struct stat info;
    reader->fd = fd;
    if (fstat(fd, &info) == 0)
        reader->count = (uint64_t)info.st_size / RECORD;
    return reader;
}

enum tp_err index_reader_open(int index_fd, const char *day, struct index_reader **ret_reader, struct tp_error *error)
{
    char name[INDEX_FILE_SIZE];
    int fd;
    index_file(day, name);
    fd = openat(index_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_errno(error, errno, "the index %s cannot be read", name);
    *ret_reader = reader_on(fd);
    return TP_OK;
}

void index_reader_free(struct index_reader *reader)
{
    if (!reader)
        return;
    (void)close(reader->fd);
    mem_free(reader);
}

uint64_t index_reader_count(const struct index_reader *reader)
{
    return reader->count;
}

static bool load(struct index_reader *reader, uint64_t first)
{
    size_t total = 0;
    while (total < sizeof(reader->window)) {
        ssize_t count = pread(reader->fd, (uint8_t *)reader->window + total, sizeof(reader->window) - total,
                              (off_t)(first * RECORD + total));
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            break;
        total += (size_t)count;
    }
    reader->first = first;
    reader->filled = total / RECORD;
    return reader->filled > 0;
}

/* The window holds record at and, if there is one, the one before it. */
static bool reach(struct index_reader *reader, uint64_t at)
{
    uint64_t before = at > 0 ? at - 1 : 0;
    uint64_t first;
    if (before >= reader->first && at < reader->first + reader->filled)
        return true;
    /* Going backwards the window ends with the record, else it begins with the one before it. */
    first = reader->filled > 0 && before < reader->first ? (at + 1 > WINDOW ? at + 1 - WINDOW : 0) : before;
    return load(reader, first) && at < reader->first + reader->filled;
}

const struct index_record *index_reader_at(struct index_reader *reader, uint64_t at)
{
    const struct index_record *record;
    uint64_t offset = 0;
    if (at >= reader->count || !reach(reader, at))
        return NULL;
    record = &reader->window[at - reader->first];
    if (at > 0)
        offset = record[-1].offset + record[-1].size + 1;
    return index_record_ok(record, offset) ? record : NULL;
}

uint64_t index_reader_seek(struct index_reader *reader, uint64_t offset)
{
    uint64_t low = 0, high = reader->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const struct index_record *record = index_reader_at(reader, middle);
        if (record && record->offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- Writing ---- */

enum tp_err index_append(int fd, const void *records, size_t size, struct tp_error *error)
{
    const uint8_t *at = records;
    while (size > 0) {
        ssize_t count = write(fd, at, size);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return err_errno(error, errno, "the index of the audit log cannot be written");
        at += count;
        size -= (size_t)count;
    }
    return TP_OK;
}

bool index_is_linked(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && info.st_nlink > 0;
}

/* How many records from the first one on are right and within the first end bytes; *ret_end is where their lines end. */
static uint64_t sound_part(int fd, uint64_t end, uint64_t *ret_end)
{
    struct index_reader *reader = reader_on(dup(fd));
    const struct index_record *record;
    uint64_t count = 0;
    *ret_end = 0;
    while ((record = index_reader_at(reader, count)) != NULL && record->offset + record->size + 1 <= end) {
        *ret_end = record->offset + record->size + 1;
        count++;
    }
    index_reader_free(reader);
    return count;
}

static enum tp_err add_lines(int fd, int log_fd, const char *day, uint64_t from, uint64_t end, uint64_t *count,
                             struct tp_error *error)
{
    struct buf records;
    struct day_lines *lines;
    const char *line;
    size_t size;
    bool complete;
    enum tp_err code = day_lines_open(log_fd, day, &lines, error);
    if (code != TP_OK)
        return code;
    buf_init(&records, 0);
    day_lines_seek(lines, from);
    while (code == TP_OK && from < end && day_lines_next(lines, &line, &size, &complete) == TP_OK && complete) {
        struct index_record record = {.size = (uint32_t)size, .time_ms = INT64_MIN};
        json_t *event = NULL;
        if (json_parse_object(line, size, AUDIT_LINE_MAX, &event, NULL) == TP_OK)
            record = index_record_of(event, size);
        json_decref(event);
        index_place(&record, from);
        (void)buf_append(&records, &record, sizeof(record));
        from = day_lines_at(lines);
        (*count)++;
        if (buf_size(&records) >= WINDOW * RECORD) {
            code = index_append(fd, buf_head(&records), buf_size(&records), error);
            buf_clear(&records);
        }
    }
    if (code == TP_OK)
        code = index_append(fd, buf_head(&records), buf_size(&records), error);
    buf_free(&records);
    day_lines_free(lines);
    return code;
}

enum tp_err index_open(int index_fd, int log_fd, const char *day, uint64_t end, int *ret_fd, uint64_t *ret_count,
                       struct tp_error *error)
{
    char name[INDEX_FILE_SIZE];
    uint64_t covered = 0;
    enum tp_err code = TP_OK;
    int fd;
    index_file(day, name);
    fd = openat(index_fd, name, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(error, errno, "the index %s cannot be opened", name);
    *ret_count = sound_part(fd, end, &covered);
    if (ftruncate(fd, (off_t)(*ret_count * RECORD)) != 0)
        code = err_errno(error, errno, "the index %s cannot be mended", name);
    if (code == TP_OK && covered < end)
        code = add_lines(fd, log_fd, day, covered, end, ret_count, error);
    if (code != TP_OK) {
        (void)close(fd);
        return code;
    }
    *ret_fd = fd;
    return TP_OK;
}

/* All lines of the day file are in the index, as far as its last record tells. */
static bool is_complete(int index_fd, const char *day, uint64_t end)
{
    struct index_reader *reader;
    const struct index_record *last;
    uint64_t count;
    bool complete;
    if (index_reader_open(index_fd, day, &reader, NULL) != TP_OK)
        return false;
    count = index_reader_count(reader);
    last = count > 0 ? index_reader_at(reader, count - 1) : NULL;
    complete = last ? last->offset + last->size + 1 >= end : end == 0 && count == 0;
    index_reader_free(reader);
    return complete;
}

static enum tp_err index_day(int index_fd, int log_fd, const char *day, struct tp_error *error)
{
    char name[DAY_FILE_SIZE];
    struct stat info;
    uint64_t count = 0;
    int fd = -1;
    enum tp_err code;
    day_file(day, name);
    if (fstatat(log_fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0 || is_complete(index_fd, day, (uint64_t)info.st_size))
        return TP_OK;
    code = index_open(index_fd, log_fd, day, (uint64_t)info.st_size, &fd, &count, error);
    if (code == TP_OK) {
        if (fdatasync(fd) != 0)
            code = err_errno(error, errno, "the index of %s cannot be written", name);
        (void)close(fd);
    }
    return code;
}

enum tp_err audit_log_index(const char *dir, struct tp_error *error)
{
    int log_fd = day_part(dir, "log");
    int index_fd = day_part(dir, "index");
    char(*days)[DAY_TEXT_SIZE] = NULL;
    size_t count = 0;
    enum tp_err code;
    if (log_fd < 0 || index_fd < 0)
        code = err_errno(error, errno, "the folders of the audit log in %s cannot be opened", dir);
    else
        code = day_list(log_fd, &days, &count, error);
    for (size_t i = 0; i + 1 < count && code == TP_OK; i++)
        code = index_day(index_fd, log_fd, days[i], error);
    mem_free(days);
    if (log_fd >= 0)
        (void)close(log_fd);
    if (index_fd >= 0)
        (void)close(index_fd);
    return code;
}

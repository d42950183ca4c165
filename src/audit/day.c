#include "audit/day.h"

#include "base/clock.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WINDOW ((size_t)256 * 1024) /* more than twice the longest line */
#define READ_AT_ONCE ((size_t)4096)

struct day_lines {
    int fd;
    uint64_t at;
    uint64_t window_at; /* file offset of window[0] */
    size_t window_size;
    uint8_t window[WINDOW];
};

int day_part(const char *dir, const char *name)
{
    char *path = mem_printf("%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int why = errno;
    mem_free(path);
    errno = why;
    return fd;
}

void day_of_ms(int64_t wall_ms, char out[DAY_TEXT_SIZE])
{
    char text[CLOCK_TEXT_SIZE];
    clock_format_ms(wall_ms, text);
    memcpy(out, text, DAY_TEXT_SIZE - 1);
    out[DAY_TEXT_SIZE - 1] = '\0';
}

void day_file(const char *day, char out[DAY_FILE_SIZE])
{
    (void)snprintf(out, DAY_FILE_SIZE, "%.10s.log", day);
}

static bool is_day_file(const char *name)
{
    static const char form[] = "dddd-dd-dd.log";
    if (strlen(name) != sizeof(form) - 1)
        return false;
    for (size_t i = 0; form[i]; i++) {
        if (form[i] == 'd' ? name[i] < '0' || name[i] > '9' : name[i] != form[i])
            return false;
    }
    return true;
}

bool day_ok(const char *text)
{
    char name[DAY_FILE_SIZE + 8];
    return strlen(text) == DAY_TEXT_SIZE - 1 && snprintf(name, sizeof(name), "%s.log", text) > 0 && is_day_file(name);
}

static int compare_days(const void *a, const void *b)
{
    return memcmp(a, b, DAY_TEXT_SIZE);
}

enum tp_err day_list(int log_fd, char (**ret_days)[DAY_TEXT_SIZE], size_t *ret_count, struct tp_error *error)
{
    int fd = openat(log_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    char(*days)[DAY_TEXT_SIZE] = NULL;
    size_t count = 0, room = 0;
    struct dirent *entry;
    if (!folder) {
        int why = errno;
        if (fd >= 0)
            (void)close(fd);
        return err_errno(error, why, "the folder of the audit log's day files cannot be read");
    }
    while ((entry = readdir(folder)) != NULL) {
        if (!is_day_file(entry->d_name))
            continue;
        if (count == room) {
            room = room ? room * 2 : 64;
            days = mem_resize(days, room * sizeof(*days));
        }
        memcpy(days[count], entry->d_name, DAY_TEXT_SIZE - 1);
        days[count++][DAY_TEXT_SIZE - 1] = '\0';
    }
    (void)closedir(folder);
    if (count > 1)
        qsort(days, count, sizeof(*days), compare_days);
    *ret_days = days;
    *ret_count = count;
    return TP_OK;
}

enum tp_err day_lines_open(int log_fd, const char *day, struct day_lines **ret_lines, struct tp_error *error)
{
    char name[DAY_FILE_SIZE];
    struct day_lines *lines;
    int fd;
    day_file(day, name);
    fd = openat(log_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_errno(error, errno, "the audit log's file %s cannot be read", name);
    lines = mem_alloc(sizeof(*lines));
    lines->fd = fd;
    *ret_lines = lines;
    return TP_OK;
}

void day_lines_free(struct day_lines *lines)
{
    if (!lines)
        return;
    (void)close(lines->fd);
    mem_free(lines);
}

void day_lines_seek(struct day_lines *lines, uint64_t offset)
{
    lines->at = offset;
}

uint64_t day_lines_at(const struct day_lines *lines)
{
    return lines->at;
}

/* Fills the window from offset on; a read error looks like the end of the file. */
static void load(struct day_lines *lines, uint64_t offset, size_t wanted)
{
    size_t total = 0;
    while (total < wanted) {
        ssize_t count = pread(lines->fd, lines->window + total, wanted - total, (off_t)(offset + total));
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            break;
        total += (size_t)count;
    }
    lines->window_at = offset;
    lines->window_size = total;
}

enum tp_err day_lines_read(struct day_lines *lines, uint64_t offset, size_t size, const char **ret_line)
{
    if (size >= WINDOW)
        return TP_NOT_FOUND;
    if (offset < lines->window_at || offset + size + 1 > lines->window_at + lines->window_size)
        load(lines, offset, size + 1 > READ_AT_ONCE ? size + 1 : READ_AT_ONCE);
    if (offset + size + 1 > lines->window_at + lines->window_size)
        return TP_NOT_FOUND;
    *ret_line = (const char *)lines->window + (offset - lines->window_at);
    return (*ret_line)[size] == '\n' ? TP_OK : TP_NOT_FOUND;
}

/* The part of the window behind the place. */
static const uint8_t *behind(const struct day_lines *lines, size_t *ret_size)
{
    *ret_size = 0;
    if (lines->at < lines->window_at || lines->at >= lines->window_at + lines->window_size)
        return NULL;
    *ret_size = (size_t)(lines->window_at + lines->window_size - lines->at);
    return lines->window + (lines->at - lines->window_at);
}

enum tp_err day_lines_next(struct day_lines *lines, const char **ret_line, size_t *ret_size, bool *ret_complete)
{
    size_t size;
    const uint8_t *start = behind(lines, &size);
    const uint8_t *newline = start ? memchr(start, '\n', size) : NULL;
    if (!newline) {
        load(lines, lines->at, WINDOW);
        start = behind(lines, &size);
        if (!start)
            return TP_NOT_FOUND;
        newline = memchr(start, '\n', size);
    }
    *ret_line = (const char *)start;
    *ret_size = newline ? (size_t)(newline - start) : size;
    *ret_complete = newline != NULL;
    lines->at += *ret_size + (newline ? 1 : 0);
    return TP_OK;
}

/* The part of the window before the place, when that reaches up to it. */
static size_t before(const struct day_lines *lines)
{
    if (lines->at <= lines->window_at || lines->at > lines->window_at + lines->window_size)
        return 0;
    return (size_t)(lines->at - lines->window_at);
}

static void load_before(struct day_lines *lines)
{
    uint64_t from = lines->at > WINDOW ? lines->at - WINDOW : 0;
    load(lines, from, (size_t)(lines->at - from));
}

void day_lines_seek_end(struct day_lines *lines)
{
    struct stat info;
    const uint8_t *newline;
    lines->at = fstat(lines->fd, &info) == 0 ? (uint64_t)info.st_size : 0;
    load_before(lines);
    newline = memrchr(lines->window, '\n', lines->window_size);
    if (newline)
        lines->at = lines->window_at + (uint64_t)(newline - lines->window) + 1;
    else
        lines->at = lines->window_at; /* one incomplete line, or garbage that previous passes over piece by piece */
}

enum tp_err day_lines_previous(struct day_lines *lines, const char **ret_line, size_t *ret_size)
{
    size_t size = before(lines);
    const uint8_t *newline = size > 1 ? memrchr(lines->window, '\n', size - 1) : NULL;
    size_t start;
    if (lines->at == 0)
        return TP_NOT_FOUND;
    if (!newline && (size == 0 || lines->window_at > 0)) {
        load_before(lines);
        size = before(lines);
        if (size == 0)
            return TP_NOT_FOUND;
        newline = size > 1 ? memrchr(lines->window, '\n', size - 1) : NULL;
    }
    start = newline ? (size_t)(newline - lines->window) + 1 : 0;
    *ret_line = (const char *)lines->window + start;
    *ret_size = size - start - (lines->window[size - 1] == '\n' ? 1 : 0);
    lines->at = lines->window_at + start;
    return TP_OK;
}

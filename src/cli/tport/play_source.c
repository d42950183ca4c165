#include "cli/tport/play_source.h"

#include "base/enc.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE ((size_t)1024 * 1024)

struct play_source {
    int fd;          /* file, or -1 */
    struct api *api; /* or NULL */
    char *id;
    int64_t offset;
    bool ended;
    struct buf pending;
    size_t scanned; /* bytes of pending that are known to hold no line end */
    double time;    /* of the last event */
};

static struct play_source *source_new(void)
{
    struct play_source *source = mem_alloc(sizeof(*source));
    source->fd = -1;
    buf_init(&source->pending, PLAY_LINE_MAX + READ_SIZE);
    return source;
}

enum tp_err play_source_file(const char *path, struct play_source **ret_source, struct tp_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(error, errno, "%s cannot be opened", path);
    *ret_source = source_new();
    (*ret_source)->fd = fd;
    return TP_OK;
}

enum tp_err play_source_remote(struct api *api, const char *id, struct play_source **ret_source, struct tp_error *error)
{
    (void)error;
    *ret_source = source_new();
    (*ret_source)->api = api;
    (*ret_source)->id = mem_strdup(id);
    return TP_OK;
}

void play_source_free(struct play_source *source)
{
    if (!source)
        return;
    if (source->fd >= 0)
        (void)close(source->fd);
    mem_free(source->id);
    buf_free(&source->pending);
    mem_free(source);
}

static enum tp_err fill_remote(struct play_source *source, struct tp_error *error)
{
    json_t *result = NULL;
    const char *data;
    struct buf piece;
    json_t *params = json_pack("{s:s, s:I, s:I}", "id", source->id, "offset", (json_int_t)source->offset, "limit",
                               (json_int_t)READ_SIZE);
    enum tp_err err = api_rpc(source->api, "recordings.read", params, &result, error);
    if (err != TP_OK)
        return err;
    buf_init(&piece, READ_SIZE * 2);
    err = json_need_text(result, "data", &data, error);
    if (err == TP_OK && dec_base64(data, strlen(data), &piece) != TP_OK)
        err = err_set(error, TP_PROTOCOL, "the recording came in a form that can't be read");
    if (err == TP_OK) {
        source->offset += (int64_t)buf_size(&piece);
        source->ended = json_get_bool(result, "done", false) || buf_size(&piece) == 0;
        err = buf_append(&source->pending, buf_head(&piece), buf_size(&piece));
    }
    buf_free(&piece);
    json_decref(result);
    return err;
}

static enum tp_err fill(struct play_source *source, struct tp_error *error)
{
    if (source->api)
        return fill_remote(source, error);
    uint8_t *room = buf_reserve(&source->pending, READ_SIZE);
    if (!room)
        return err_set(error, TP_TOO_LARGE, "a line of the recording is longer than %zu bytes", PLAY_LINE_MAX);
    ssize_t got;
    do {
        got = read(source->fd, room, READ_SIZE);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return err_errno(error, errno, "the recording cannot be read");
    buf_commit(&source->pending, (size_t)got);
    source->ended = got == 0;
    return TP_OK;
}

/* The next line as JSON (any value); NULL at the end. */
static enum tp_err next_line(struct play_source *source, json_t **ret_line, struct tp_error *error)
{
    *ret_line = NULL;
    for (;;) {
        const uint8_t *head = buf_head(&source->pending);
        size_t size = buf_size(&source->pending);
        const uint8_t *end = memchr(head + source->scanned, '\n', size - source->scanned);
        if (end || (source->ended && size > 0)) {
            size_t length = end ? (size_t)(end - head) : size;
            json_t *line = json_loadb((const char *)head, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
            buf_consume(&source->pending, length + (end ? 1 : 0));
            source->scanned = 0;
            if (!line && end && length > 0)
                return err_set(error, TP_CORRUPT, "a line of the recording is damaged");
            if (!line && length == 0)
                continue;
            *ret_line = line;
            return TP_OK;
        }
        if (source->ended)
            return TP_OK;
        if (size > PLAY_LINE_MAX)
            return err_set(error, TP_TOO_LARGE, "a line of the recording is longer than %zu bytes", PLAY_LINE_MAX);
        source->scanned = size;
        enum tp_err err = fill(source, error);
        if (err != TP_OK)
            return err;
    }
}

enum tp_err play_source_header(struct play_source *source, json_t **ret_header, struct tp_error *error)
{
    enum tp_err err = next_line(source, ret_header, error);
    if (err != TP_OK)
        return err;
    if (!json_is_object(*ret_header) || json_get_int(*ret_header, "version", 0) != 2) {
        json_decref(*ret_header);
        *ret_header = NULL;
        return err_set(error, TP_INVALID, "this is no recording in asciicast form, version 2");
    }
    return TP_OK;
}

enum tp_err play_source_next(struct play_source *source, struct play_event *ret_event, bool *ret_end,
                             struct tp_error *error)
{
    json_t *line;
    memset(ret_event, 0, sizeof(*ret_event));
    enum tp_err err = next_line(source, &line, error);
    *ret_end = err == TP_OK && !line;
    if (err != TP_OK || !line)
        return err;
    const json_t *kind = json_array_get(line, 1), *data = json_array_get(line, 2);
    double time = json_number_value(json_array_get(line, 0));
    if (json_array_size(line) != 3 || json_string_length(kind) != 1 || !json_is_string(data)) {
        json_decref(line);
        return err_set(error, TP_CORRUPT, "an event of the recording is damaged");
    }
    if (isfinite(time) && time > source->time)
        source->time = time;
    ret_event->time = source->time;
    ret_event->kind = json_string_value(kind)[0];
    ret_event->size = json_string_length(data);
    ret_event->data = mem_dup(json_string_value(data), ret_event->size);
    ret_event->line = line;
    return TP_OK;
}

void play_event_free(struct play_event *event)
{
    mem_free(event->data);
    json_decref(event->line);
    memset(event, 0, sizeof(*event));
}

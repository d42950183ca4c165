/* Lines of an asciicast recording, out of a file or piece by piece from the proxy; never the whole in memory. */
#ifndef CLI_TPORT_PLAY_SOURCE_H
#define CLI_TPORT_PLAY_SOURCE_H

#include "base/json.h"
#include "cli/common/api.h"

#define PLAY_LINE_MAX ((size_t)16 * 1024 * 1024)

struct play_source;

/* A file. play_source_free it. */
enum tp_err play_source_file(const char *path, struct play_source **ret_source, struct tp_error *error) TP_MUST;
/* A recording of the cluster; api must outlive it. */
enum tp_err play_source_remote(struct api *api, const char *id, struct play_source **ret_source,
                               struct tp_error *error) TP_MUST;
void play_source_free(struct play_source *source); /* NULL is fine */

struct play_event {
    double time; /* seconds since the start; never smaller than that of the event before */
    char kind;   /* 'o' output, 'r' resize, ... */
    char *data;
    size_t size;
    json_t *line; /* the whole line; owned by the event */
};
/* The header, once, before the events. json_decref it. TP_INVALID when it is no asciicast of version 2. */
enum tp_err play_source_header(struct play_source *source, json_t **ret_header, struct tp_error *error) TP_MUST;
/* The next event; ret_end is set when there is none. A last line that is cut off counts as the end. play_event_free it. */
enum tp_err play_source_next(struct play_source *source, struct play_event *ret_event, bool *ret_end,
                             struct tp_error *error) TP_MUST;
void play_event_free(struct play_event *event);

#endif

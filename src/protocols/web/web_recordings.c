/* Recordings for web sessions: the list of sessions that are over, and the bytes of one, piece by piece, when it is over or
 * while it grows. Auth says for each piece whether this caller may read it; nothing is kept here between two pieces. */
#include "base/enc.h"
#include "base/mem.h"
#include "protocols/web/web_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_MAX ((int64_t)256 * 1024) /* bytes of a recording that one answer holds */

/* Sessions that are over, as their end events; those whose terminal was recorded can be played. */
enum tp_err web_ended_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    static const char *const names[] = {"from", "to", "user", "hostname", "sort"};
    const struct http_request *http = web_http(request);
    const char *search = http_request_param(http, "search");
    json_t *params = json_pack("{s:s}", "state", "done");
    enum tp_err err = web_check_cluster(request, error);
    if (err == TP_OK)
        err = web_put_paging(http, params, error);
    if (err != TP_OK) {
        json_decref(params);
        return err;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        web_put_text(http, names[i], params);
    if (search && *search)
        json_object_set_new(params, "search", web_split(search, " ,"));
    *ret_params = params;
    return TP_OK;
}

static json_t *end_event(const json_t *recording)
{
    static const struct {
        const char *from;
        const char *to;
    } renamed[] = {{"id", "uid"},
                   {"id", "sid"},
                   {"ended", "time"},
                   {"started", "session_start"},
                   {"ended", "session_stop"},
                   {"hostname", "server_hostname"},
                   {"host_id", "server_id"}};
    static const char *const kept[] = {"user",
                                       "login",
                                       "participants",
                                       "server_labels",
                                       "proto",
                                       "kubernetes_cluster",
                                       "kubernetes_pod_name",
                                       "kubernetes_pod_namespace",
                                       "kubernetes_container_name",
                                       "kubernetes_node_name",
                                       "size"};
    const char *command = json_get_text(recording, "command", "");
    json_t *event = json_pack("{s:s, s:s, s:b, s:s}", "event", "session.end", "code", "T2004I", "interactive",
                              json_get_bool(recording, "interactive", false), "session_recording",
                              json_get_bool(recording, "recorded", false) ? "node" : "off");
    for (size_t i = 0; i < sizeof(renamed) / sizeof(renamed[0]); i++) {
        json_t *value = json_object_get(recording, renamed[i].from);
        if (value)
            json_object_set(event, renamed[i].to, value);
    }
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        json_t *value = json_object_get(recording, kept[i]);
        if (value)
            json_object_set(event, kept[i], value);
    }
    if (*command)
        json_object_set_new(event, "initial_command", json_pack("[s]", command));
    return event;
}

void web_ended_finish(struct web_request *request, json_t *result)
{
    json_t *events = json_array();
    json_t *item;
    size_t i;
    json_array_foreach (json_object_get(result, "items"), i, item)
        json_array_append_new(events, end_event(item));
    web_answer_json(request, 200,
                    json_pack("{s:o, s:s}", "events", events, "startKey", json_get_text(result, "start_key", "")));
}

/* "12", at most max. */
static enum tp_err number_param(const struct http_request *http, const char *name, int64_t otherwise, int64_t max,
                                int64_t *ret_number, struct tp_error *error)
{
    const char *text = http_request_param(http, name);
    char *end = NULL;
    *ret_number = otherwise;
    if (!text || !*text)
        return TP_OK;
    if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 15)
        return err_set(error, TP_INVALID, "\"%s\" must be a number", name);
    *ret_number = strtoll(text, &end, 10);
    if (*ret_number > max)
        *ret_number = max;
    return TP_OK;
}

#define WATCH_MS 20000 /* how long an answer may wait for more; a browser then asks again */

/* ?offset&bytes of the text; fewer may come. */
enum tp_err web_stream_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    const struct http_request *http = web_http(request);
    int64_t offset = 0;
    int64_t limit = 0;
    enum tp_err err = web_check_cluster(request, error);
    if (err == TP_OK)
        err = number_param(http, "offset", 0, INT64_MAX, &offset, error);
    if (err == TP_OK)
        err = number_param(http, "bytes", PIECE_MAX, PIECE_MAX, &limit, error);
    if (err != TP_OK)
        return err;
    *ret_params = json_pack("{s:s, s:I, s:I}", "id", request->params[1], "offset", (json_int_t)offset, "limit",
                            (json_int_t)limit);
    return *ret_params ? TP_OK : err_set(error, TP_INVALID, "the id is not UTF-8");
}

/* The same of a session that runs: the answer comes when there is more. */
enum tp_err web_watch_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    enum tp_err err = web_stream_begin(request, ret_params, error);
    if (err == TP_OK)
        json_object_set_new(*ret_params, "wait", json_integer(WATCH_MS));
    return err;
}

/* Recording-Size: bytes so far; Recording-Done: nothing comes behind this piece any more. */
void web_stream_finish(struct web_request *request, json_t *result)
{
    const char *data = json_get_text(result, "data", "");
    char size[32];
    struct http_header headers[] = {{"Recording-Size", size},
                                    {"Recording-Done", json_get_bool(result, "done", false) ? "yes" : "no"}};
    struct tp_error error = {0};
    struct buf piece;
    (void)snprintf(size, sizeof(size), "%lld", (long long)json_get_int(result, "size", 0));
    buf_init(&piece, (size_t)PIECE_MAX);
    if (dec_base64(data, strlen(data), &piece) != TP_OK) {
        (void)err_set(&error, TP_INTERNAL, "the recording came in a form that cannot be read");
        web_answer_error(request, &error);
    } else {
        web_answer_bytes(request, "application/x-asciicast", &piece, headers, sizeof(headers) / sizeof(headers[0]));
    }
    buf_free(&piece);
}

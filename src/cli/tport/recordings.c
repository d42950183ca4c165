/* tport recordings ls, sessions ls, clusters. */
#include "base/mem.h"
#include "cli/common/output.h"
#include "cli/common/session_list.h"
#include "cli/common/table.h"
#include "cli/tport/tport.h"

#include <stdio.h>
#include <string.h>

#define LIST_LIMIT 50

enum tp_err tport_recordings_ls(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", NULL};
    struct profile profile = {0};
    struct api *api = NULL;
    json_t *params = json_object(), *items = NULL;
    int64_t limit = LIST_LIMIT;
    const char *format;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = command_int(line, "limit", 1, 100000, LIST_LIMIT, &limit, error);
    if (err == TP_OK)
        err = session_list_times(line, &(struct session_list_span){"from-utc", "to-utc", "last"}, params, error);
    if (err == TP_OK)
        err = tport_open(line, &profile, &api, error);
    if (err == TP_OK)
        err = api_list(api, "recordings.list", json_incref(params), (size_t)limit, &items, error);
    if (err == TP_OK)
        session_list_print(items, format, false);
    json_decref(params);
    json_decref(items);
    api_close(api);
    profile_free(&profile);
    return err;
}

enum tp_err tport_sessions_ls(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", NULL};
    struct profile profile = {0};
    struct api *api = NULL;
    json_t *items = NULL;
    const char *format;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = tport_open(line, &profile, &api, error);
    if (err == TP_OK)
        err = api_list(api, "sessions.list", json_object(), 0, &items, error);
    if (err == TP_OK)
        session_list_print(items, format, true);
    json_decref(items);
    api_close(api);
    profile_free(&profile);
    return err;
}

enum tp_err tport_clusters(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", NULL};
    static const char *const titles[] = {"Cluster Name", "Status", "Cluster Type", "Labels", "Selected", NULL};
    struct profile profile = {0};
    struct api *api = NULL;
    json_t *info = NULL;
    const char *format;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = tport_open(line, &profile, &api, error);
    if (err == TP_OK)
        err = api_rpc(api, "cluster.info", json_object(), &info, error);
    if (err == TP_OK) {
        const char *name = json_get_text(info, "cluster_name", profile.cluster);
        json_t *list = json_pack("[{s:s, s:s, s:s, s:{}, s:b}]", "cluster_name", name, "status", "online",
                                 "cluster_type", "root", "labels", "selected", 1);
        if (strcmp(format, "json") == 0) {
            output_json(list);
        } else if (strcmp(format, "yaml") == 0) {
            output_yaml(list, false);
        } else {
            struct table *table = table_new(titles, -1);
            const char *cells[] = {name, "online", "root", "", "*"};
            table_add(table, cells);
            table_print(table);
        }
        json_decref(list);
    }
    json_decref(info);
    api_close(api);
    profile_free(&profile);
    return err;
}

#include "cli/common/session_list.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cli/common/output.h"
#include "cli/common/table.h"

#include <string.h>

/* "2026-01-31" or RFC 3339 into params[key]. */
static enum tp_err put_time(const struct command_line *line, const char *option, const char *key, json_t *params,
                            struct tp_error *error)
{
    const char *text = command_text(line, option, NULL);
    int64_t ms;
    char out[CLOCK_TEXT_SIZE];
    if (!text)
        return TP_OK;
    char *full = strlen(text) == 10 ? mem_printf("%sT00:00:00Z", text) : mem_strdup(text);
    enum tp_err err = clock_parse_ms(full, &ms);
    mem_free(full);
    if (err != TP_OK)
        return err_set(error, TP_INVALID, "--%s=%s: a day (2026-01-31) or a time (2026-01-31T10:00:00Z) is needed",
                       option, text);
    clock_format_ms(ms, out);
    (void)json_object_set_new(params, key, json_string(out));
    return TP_OK;
}

enum tp_err session_list_times(const struct command_line *line, const struct session_list_span *options, json_t *params,
                               struct tp_error *error)
{
    char from[CLOCK_TEXT_SIZE];
    int64_t ms;
    enum tp_err err = put_time(line, options->from, "from", params, error);
    if (err == TP_OK)
        err = put_time(line, options->to, "to", params, error);
    if (err != TP_OK || !command_text(line, options->last, NULL))
        return err;
    err = command_duration_ms(line, options->last, 0, &ms, error);
    if (err == TP_OK && json_object_size(params) > 0)
        err = err_set(error, TP_INVALID, "--%s and --%s or --%s exclude each other", options->last, options->from,
                      options->to);
    if (err != TP_OK)
        return err;
    clock_format_ms(clock_wall_ms() - ms, from);
    (void)json_object_set_new(params, "from", json_string(from));
    return TP_OK;
}

/* The host; of Kubernetes CLUSTER, or CLUSTER/NAMESPACE/POD. mem_free it. */
static char *target_of(const json_t *item)
{
    const char *cluster = json_get_text(item, "kubernetes_cluster", "");
    const json_t *channels = json_object_get(item, "channels"); /* of one that runs */
    const json_t *holder = json_array_size(channels) > 0 ? json_array_get(channels, 0) : item;
    const char *pod = json_get_text(holder, "kubernetes_pod_name", "");
    if (!*cluster)
        return mem_strdup(json_get_text(item, "hostname", ""));
    if (!*pod)
        return mem_strdup(cluster);
    return mem_printf("%s/%s/%s", cluster, json_get_text(holder, "kubernetes_pod_namespace", ""), pod);
}

void session_list_print(const json_t *items, const char *format, bool live)
{
    static const char *const titles[] = {"ID",      "Type", "Participants", "Target", "Login", "Timestamp (UTC)",
                                         "Command", NULL};
    size_t index;
    json_t *item;

    if (strcmp(format, "json") == 0) {
        output_json(items);
        return;
    }
    if (strcmp(format, "yaml") == 0) {
        output_yaml(items, false);
        return;
    }
    /* The first characters of an ID are enough for play; -f json has all of them. */
    static const struct table_cut cuts[] = {{0, 9}, {1, 0}, {4, 0}, {6, 0}, {-1, 0}};
    struct table *table = table_new(titles, 6);
    table_yield(table, cuts);
    json_array_foreach (items, index, item) {
        const json_t *list = json_object_get(item, "participants");
        char *participants =
            json_array_size(list) > 0 ? output_list(list, ", ") : mem_strdup(json_get_text(item, "user", ""));
        char *target = target_of(item);
        char *when = output_time(json_get_text(item, live ? "started" : "ended", json_get_text(item, "started", "")));
        const char *cells[] = {json_get_text(item, "id", json_get_text(item, "sid", "")),
                               json_get_text(item, "kind", "ssh"),
                               participants,
                               target,
                               json_get_text(item, "login", ""),
                               when,
                               json_get_text(item, "command", "")};
        table_add(table, cells);
        mem_free(participants);
        mem_free(target);
        mem_free(when);
    }
    table_print(table);
}

/* tportctl sessions, recordings, audit. */
#include "audit/audit_log.h"
#include "audit/event.h"
#include "base/buf.h"
#include "base/mem.h"
#include "cli/common/file.h"
#include "cli/common/output.h"
#include "cli/common/session_list.h"
#include "cli/common/table.h"
#include "cli/tportctl/tportctl.h"
#include "rbac/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORDINGS_LIMIT 50
#define EVENTS_LIMIT 1000
#define ID_SIZE 36
#define ID_BEGIN_MIN 4 /* as of tport play */
#define KEY_FILE_MAX ((size_t)64 * 1024)

enum tp_err tportctl_sessions_ls(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", NULL};
    const char *format;
    json_t *items = NULL;
    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = tportctl_list(line, "sessions.list", json_object(), 0, &items, error);
    if (err == TP_OK)
        session_list_print(items, format, true);
    json_decref(items);
    return err;
}

/* The running session whose ID begins so: a narrow terminal shows no more of it. What is no such beginning is left to the
 * cluster to judge. mem_free *ret_id. */
static enum tp_err find_session(const struct command_line *line, const char *begin, char **ret_id,
                                struct tp_error *error)
{
    size_t length = strlen(begin), index;
    json_t *items = NULL, *item;
    const char *found = NULL;
    *ret_id = NULL;
    enum tp_err err = TP_OK;
    if (length >= ID_BEGIN_MIN && length < ID_SIZE)
        err = tportctl_list(line, "sessions.list", json_object(), 0, &items, error);
    json_array_foreach (items, index, item) {
        const char *id = json_get_text(item, "id", json_get_text(item, "sid", ""));
        if (strncmp(id, begin, length) != 0)
            continue;
        if (found && strcmp(found, id) != 0)
            err = err_set(error, TP_INVALID, "several running sessions begin with %s; give more of the ID", begin);
        found = id;
    }
    if (err == TP_OK)
        *ret_id = mem_strdup(found ? found : begin);
    json_decref(items);
    return err;
}

enum tp_err tportctl_sessions_end(struct command_line *line, struct tp_error *error)
{
    const char *reason = command_text(line, "reason", NULL);
    json_t *result = NULL;
    char *id = NULL;
    enum tp_err err = find_session(line, line->args[0], &id, error);
    if (err == TP_OK) {
        json_t *params = json_pack("{s:s, s:s*}", "sid", id, "reason", reason);
        err = tportctl_call(line, "sessions.end", params, &result, error);
    }
    if (err == TP_OK) {
        (void)printf("Session ");
        output_safe(id);
        (void)printf(" has been ended\n");
    }
    json_decref(result);
    mem_free(id);
    return err;
}

enum tp_err tportctl_recordings_ls(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", NULL};
    const char *format;
    json_t *params = json_object(), *items = NULL;
    int64_t limit;
    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = command_int(line, "limit", 1, 1000000, RECORDINGS_LIMIT, &limit, error);
    if (err == TP_OK)
        err = session_list_times(line, &(struct session_list_span){"from-utc", "to-utc", "last"}, params, error);
    if (err == TP_OK)
        err = tportctl_list(line, "recordings.list", json_incref(params), (size_t)limit, &items, error);
    if (err == TP_OK)
        session_list_print(items, format, false);
    json_decref(params);
    json_decref(items);
    return err;
}

/* The fields of an event that say what happened, in this order, as far as it has them. mem_free it. */
static char *event_details(const json_t *event)
{
    static const char *const fields[] = {"name",
                                         "node_name",
                                         "type",
                                         "phase",
                                         "login",
                                         "server_hostname",
                                         "kubernetes_cluster",
                                         "kubernetes_pod_namespace",
                                         "kubernetes_pod_name",
                                         "verb",
                                         "request_path",
                                         "command",
                                         "path",
                                         "addr",
                                         "reason",
                                         "message",
                                         "error",
                                         "sid"};
    struct buf out;
    buf_init(&out, 0);
    if (json_is_false(json_object_get(event, "success")))
        (void)buf_append_text(&out, "failed");
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const char *text = json_get_text(event, fields[i], "");
        if (*text)
            (void)buf_printf(&out, "%s%s=%s", buf_size(&out) > 0 ? " " : "", fields[i], text);
    }
    const char *kind;
    json_t *whom;
    json_object_foreach (json_object_get(event, "target"), kind, whom) /* of a lock */
        (void)buf_printf(&out, "%s%s=%s", buf_size(&out) > 0 ? " " : "", kind,
                         json_is_string(whom) ? json_string_value(whom) : "");
    const char *from = json_get_text(event, "addr.remote", "");
    if (*from)
        (void)buf_printf(&out, "%sfrom=%s", buf_size(&out) > 0 ? " " : "", from);
    return buf_take(&out);
}

static void print_events(const json_t *items, const char *format)
{
    static const char *const titles[] = {"Time (UTC)", "Event", "Code", "User", "Details", NULL};
    size_t index;
    json_t *event;
    if (strcmp(format, "json") == 0) {
        json_array_foreach (items, index, event) {
            char *text = json_text(event);
            (void)printf("%s\n", text);
            mem_free(text);
        }
        return;
    }
    struct table *table = table_new(titles, 4);
    json_array_foreach (items, index, event) {
        char *when = output_time(json_get_text(event, "time", ""));
        char *details = event_details(event);
        const char *cells[] = {when, json_get_text(event, "event", ""), json_get_text(event, "code", ""),
                               json_get_text(event, "user", ""), details};
        table_add(table, cells);
        mem_free(when);
        mem_free(details);
    }
    table_print(table);
}

static bool holds_type(const json_t *items, const char *type)
{
    size_t index;
    json_t *event;
    json_array_foreach (items, index, event) {
        if (strcmp(json_get_text(event, "event", ""), type) == 0)
            return true;
    }
    return false;
}

/* Nothing found of a type that we know nothing of is a mistyped name, and no proof that nothing happened. (A newer cluster
 * may have events that we do not know.) */
static enum tp_err check_types(const json_t *types, const json_t *items, struct tp_error *error)
{
    enum tp_err err = TP_OK;
    size_t index, count = 0;
    json_t *item;
    while (event_name_at(count))
        count++;
    const char **names = mem_array(count + 1, sizeof(names[0]));
    for (size_t i = 0; i < count; i++)
        names[i] = event_name_at(i);
    json_array_foreach (types, index, item) {
        const char *type = json_string_value(item);
        if (err != TP_OK || event_known(type) || holds_type(items, type))
            continue;
        const char *meant = names_nearest(names, type);
        err = err_set(error, TP_INVALID, "there are no events of type \"%s\"%s%s%s", type,
                      meant ? "; did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
    }
    mem_free(names);
    return err;
}

enum tp_err tportctl_audit_ls(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", NULL};
    static const char *const texts[] = {"user", "text"};
    static const char *const orders[] = {"desc", "asc", NULL};
    const char *format, *order, *types = command_text(line, "type", NULL);
    const char *last = command_text(line, "last", NULL) ? "last" : "since";
    json_t *params = json_object(), *items = NULL;
    int64_t limit;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = command_int(line, "limit", 1, 1000000, EVENTS_LIMIT, &limit, error);
    if (err == TP_OK)
        err = session_list_times(line, &(struct session_list_span){"from", "to", last}, params, error);
    if (err == TP_OK)
        err = command_choice(line, "order", orders, &order, error);
    if (err == TP_OK)
        (void)json_object_set_new(params, "order", json_string(order));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const char *value = command_text(line, texts[i], NULL);
        if (value)
            (void)json_object_set_new(params, texts[i], json_string(value));
    }
    if (types)
        (void)json_object_set_new(params, "types", output_split(types));
    if (err == TP_OK)
        err = tportctl_list(line, "audit.list", json_incref(params), (size_t)limit, &items, error);
    if (err == TP_OK)
        err = check_types(json_object_get(params, "types"), items, error);
    if (err == TP_OK)
        print_events(items, format);
    json_decref(params);
    json_decref(items);
    return err;
}

/* The first line of a file. mem_free it. */
static enum tp_err first_line(const char *path, char **ret_line, struct tp_error *error)
{
    struct buf text;
    buf_init(&text, KEY_FILE_MAX);
    enum tp_err err = file_read(path, &text, error);
    if (err == TP_OK)
        *ret_line = mem_strndup(buf_text(&text), strcspn(buf_text(&text), "\r\n"));
    buf_free(&text);
    return err;
}

enum tp_err tportctl_audit_checkpoint(struct command_line *line, struct tp_error *error)
{
    json_t *answer = NULL;
    enum tp_err err = tportctl_call(line, "audit.checkpoint", json_object(), &answer, error);
    if (err != TP_OK)
        return err;
    if (command_flag(line, "key"))
        (void)printf("%s\n", json_get_text(answer, "key", ""));
    else
        (void)printf("%s", json_get_text(answer, "checkpoint", "")); /* a signed note, to the byte */
    json_decref(answer);
    return TP_OK;
}

enum tp_err tportctl_audit_verify(struct command_line *line, struct tp_error *error)
{
    const char *given = command_text(line, "key", NULL), *earlier_path = command_text(line, "earlier", NULL);
    struct audit_verdict verdict = {0};
    struct buf earlier;
    char *key = NULL;
    enum tp_err err = TP_OK;

    buf_init(&earlier, KEY_FILE_MAX);
    if (!given)
        err = err_set(error, TP_INVALID, "--key is needed: the verifier key that was kept in a safe place");
    else if (file_exists(given) || *given == '/' || !strchr(given, '+')) /* a key is NAME+hash+base64 */
        err = first_line(given, &key, error);
    else
        key = mem_strdup(given);
    if (err == TP_OK && earlier_path)
        err = file_read(earlier_path, &earlier, error);
    if (err == TP_OK)
        err = audit_log_verify(line->args[0], key, earlier_path ? buf_text(&earlier) : NULL, &verdict, error);
    if (err == TP_OK) {
        (void)printf("OK: %llu events, nothing changed, cut or dropped\nRoot hash: %s\n",
                     (unsigned long long)verdict.size, verdict.root);
        if (verdict.pruned > 0)
            (void)printf(
                "Of these the first %llu, from before %s, were removed by retention (%s), as the log says; their "
                "hashes are there\n",
                (unsigned long long)verdict.pruned, verdict.first_day,
                verdict.reason[0] ? verdict.reason : "no reason given");
        if (verdict.unpublished > 0)
            (void)printf("%llu newer %s not under a checkpoint yet\n", (unsigned long long)verdict.unpublished,
                         verdict.unpublished == 1 ? "event is" : "events are");
    }
    buf_free(&earlier);
    mem_free(key);
    return err;
}

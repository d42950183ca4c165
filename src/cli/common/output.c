#include "cli/common/output.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/node.h"
#include "cli/common/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART_MAX ((size_t)64) /* bytes of a name in a path: paths are our own */

void output_json(const json_t *value)
{
    char *text = json_dumps(value, JSON_INDENT(4) | JSON_ENCODE_ANY);
    for (const char *at = text; at && *at; at++) {
        /* DEL and C1 controls may stand in JSON as they are; a terminal would obey them. */
        if (*at == 0x7f)
            (void)fputs("\\u007f", stdout);
        else if ((unsigned char)at[0] == 0xc2 && (unsigned char)at[1] < 0xa0)
            (void)printf("\\u%04x", (unsigned char)*++at);
        else
            (void)putchar(*at);
    }
    (void)printf("\n");
    free(text);
}

void output_yaml(const json_t *value, bool documents)
{
    if (documents && json_is_array(value)) {
        size_t index;
        json_t *item;
        json_array_foreach (value, index, item) {
            if (index > 0)
                (void)printf("---\n");
            output_yaml(item, false);
        }
        return;
    }
    char *text = node_yaml_from_json(value);
    (void)fputs(text, stdout);
    mem_free(text);
}

void output_safe(const char *text)
{
    char *safe = text_safe(text);
    (void)fputs(safe, stdout);
    mem_free(safe);
}

/* One label at *at; moves *at behind it and its comma. */
static enum tp_err parse_label(const char **at, json_t *labels, struct tp_error *error)
{
    struct buf parts[2];
    size_t part = 0;
    bool quoted = false;
    enum tp_err err = TP_OK;

    buf_init(&parts[0], 0);
    buf_init(&parts[1], 0);
    for (; **at && (quoted || **at != ','); (*at)++) {
        if (**at == '"')
            quoted = !quoted;
        else if (**at == '=' && part == 0 && !quoted)
            part = 1;
        else
            (void)buf_append(&parts[part], *at, 1);
    }
    *at += **at == ',';
    if (part == 0 || buf_size(&parts[0]) == 0 || quoted)
        err = err_set(error, TP_INVALID, "\"%s\" is no label: KEY=VALUE is needed", buf_text(&parts[0]));
    else if (json_object_set_new(labels, buf_text(&parts[0]), json_string(buf_text(&parts[1]))) != 0)
        err = err_set(error, TP_INVALID, "a label must be UTF-8 text");
    buf_free(&parts[0]);
    buf_free(&parts[1]);
    return err;
}

enum tp_err output_parse_labels(char *const *texts, size_t count, json_t **ret_labels, struct tp_error *error)
{
    json_t *labels = json_object();
    for (size_t i = 0; i < count; i++) {
        for (const char *at = texts[i]; *at;) {
            enum tp_err err = parse_label(&at, labels, error);
            if (err != TP_OK) {
                json_decref(labels);
                return err;
            }
        }
    }
    *ret_labels = labels;
    return TP_OK;
}

enum tp_err output_list_params(const struct command_line *line, json_t **ret_params, struct tp_error *error)
{
    const char *search = command_text(line, "search", NULL), *query = command_text(line, "query", NULL);
    json_t *labels;
    enum tp_err err = output_parse_labels(line->args, line->arg_count, &labels, error);
    if (err != TP_OK)
        return err;
    *ret_params = json_pack("{s:o}", "labels", labels);
    if (search)
        (void)json_object_set_new(*ret_params, "search", output_split(search));
    if (query)
        (void)json_object_set_new(*ret_params, "query", json_string(query));
    return TP_OK;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char *output_labels(const json_t *labels)
{
    const char **keys = mem_array(json_object_size(labels) + 1, sizeof(keys[0]));
    size_t count = 0;
    const char *key;
    json_t *value;
    struct buf out;

    json_object_foreach ((json_t *)labels, key, value)
        keys[count++] = key;
    qsort(keys, count, sizeof(keys[0]), compare_keys);
    buf_init(&out, 0);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            (void)buf_append(&out, ",", 1);
        (void)buf_append_text(&out, keys[i]);
        (void)buf_append(&out, "=", 1);
        (void)buf_append_text(&out, json_get_text(labels, keys[i], ""));
    }
    mem_free(keys);
    return buf_take(&out);
}

char *output_list(const json_t *list, const char *separator)
{
    struct buf out;
    size_t index;
    json_t *item;
    buf_init(&out, 0);
    json_array_foreach (list, index, item)
        (void)buf_printf(&out, "%s%s", index ? separator : "", json_is_string(item) ? json_string_value(item) : "");
    return buf_take(&out);
}

json_t *output_split(const char *text)
{
    json_t *list = json_array();
    while (*text) {
        size_t length = strcspn(text, ",");
        size_t start = strspn(text, " ");
        size_t end = length;
        while (end > start && text[end - 1] == ' ')
            end--;
        if (end > start)
            (void)json_array_append_new(list, json_stringn(text + start, end - start));
        text += length;
        text += *text == ',';
    }
    return list;
}

const json_t *output_at(const json_t *object, const char *path)
{
    char key[PART_MAX + 1];
    while (object && *path) {
        size_t length = strcspn(path, ".");
        if (length > PART_MAX)
            return NULL;
        memcpy(key, path, length);
        key[length] = '\0';
        object = json_object_get(object, key);
        path += length;
        path += *path == '.';
    }
    return object;
}

const char *output_text_at(const json_t *object, const char *path)
{
    const json_t *value = output_at(object, path);
    return json_is_string(value) ? json_string_value(value) : "";
}

json_t *output_node_labels(const json_t *resource)
{
    static const char *const places[] = {"spec.cmd_labels", "spec.dynamic_labels", "spec.cluster.spec.dynamic_labels"};
    const json_t *dynamic = NULL;
    for (size_t i = 0; !dynamic && i < sizeof places / sizeof places[0]; i++)
        dynamic = output_at(resource, places[i]);
    return json_labels(output_at(resource, "metadata.labels"), dynamic);
}

char *output_time(const char *rfc3339)
{
    int64_t ms;
    char text[CLOCK_TEXT_SIZE];
    if (clock_parse_ms(rfc3339, &ms) != TP_OK)
        return mem_strdup("");
    clock_format(ms / 1000, text);
    text[10] = ' ';
    text[19] = '\0';
    return mem_strdup(text);
}

char *output_seconds(int64_t seconds)
{
    char text[CLOCK_TEXT_SIZE];
    clock_format_duration_ms(seconds * 1000, text);
    return mem_strdup(text);
}

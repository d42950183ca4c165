/* The value of one key: from the file, to JSON, freed. */
#include "base/clock.h"
#include "base/mem.h"
#include "core/conf_inner.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void *field_of(struct conf *conf, const struct conf_row *row)
{
    return (char *)conf + row->offset;
}

void conf_list_add(struct conf_list *list, const char *text)
{
    list->items = mem_resize(list->items, (list->count + 1) * sizeof(*list->items));
    list->items[list->count++] = mem_strdup(text);
}

void conf_list_free(struct conf_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        secret_free(list->items[i]);
    mem_free(list->items);
    *list = (struct conf_list){0};
}

bool conf_label_name_valid(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > 256)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)name[i]) && !strchr("_./:*-", name[i]))
            return false;
    }
    return true;
}

bool conf_kube_name_valid(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > CONF_KUBE_NAME_MAX || !isalnum((unsigned char)name[0]))
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)name[i]) && !strchr("._-:/@+", name[i]))
            return false;
    }
    return true;
}

/* The choice that equals text without regard to case, as the table writes it (mem_free it), or NULL. */
static char *pick(const char *choices, const char *text)
{
    size_t length = strlen(text);
    while (*choices) {
        size_t size = strcspn(choices, "|");
        if (size == length && strncasecmp(choices, text, size) == 0)
            return mem_strndup(choices, size);
        choices += size + (choices[size] == '|');
    }
    return NULL;
}

static void wrong(struct conf_reader *reader, const struct conf_row *row, const struct node *node, const char *expected)
{
    if (node->kind == NODE_SCALAR && !(row->flags & CONF_SECRET))
        conf_error_add(reader, node->line, "%s must be %s, not \"%.60s\"", row->path, expected, node->text);
    else
        conf_error_add(reader, node->line, "%s must be %s", row->path, expected);
}

/* The text of a scalar without control characters, or NULL and an error. */
static const char *scalar(struct conf_reader *reader, const struct conf_row *row, const struct node *node,
                          const char *expected)
{
    if (node->kind != NODE_SCALAR) {
        wrong(reader, row, node, expected);
        return NULL;
    }
    for (const char *at = node->text; *at; at++) {
        if ((unsigned char)*at < 0x20 && *at != '\n' && *at != '\t') {
            conf_error_add(reader, node->line, "%s holds a control character", row->path);
            return NULL;
        }
    }
    return node->text;
}

static void set_text(char **field, const char *text)
{
    secret_free(*field);
    *field = mem_strdup(text);
}

static bool addr_valid(const char *text)
{
    char *host = NULL;
    uint16_t port = 0;
    bool good = conf_addr_split(text, 0, &host, &port) == TP_OK;
    mem_free(host);
    return good;
}

static void read_list_item(struct conf_reader *reader, const struct conf_row *row, const struct node *node,
                           struct conf_list *list)
{
    const char *text = scalar(reader, row, node, "a text or a list of texts");
    if (!text)
        return;
    if (row->kind == CONF_ADDR_LIST && !addr_valid(text))
        wrong(reader, row, node, "HOST or HOST:PORT");
    else if (row->kind == CONF_CIDR_LIST && !conf_cidr_valid(text))
        wrong(reader, row, node, "an address range like 10.0.0.0/8");
    else
        conf_list_add(list, text);
}

static void read_list(struct conf_reader *reader, const struct conf_row *row, const struct node *node,
                      struct conf_list *list)
{
    conf_list_free(list);
    if (node->kind == NODE_LIST) {
        for (size_t i = 0; i < node->count; i++)
            read_list_item(reader, row, node->items[i], list);
    } else if (node->kind == NODE_MAP || node->text[0] != '\0') {
        read_list_item(reader, row, node, list);
    }
}

static void read_labels(struct conf_reader *reader, const struct conf_row *row, const struct node *node,
                        struct conf_labels *labels)
{
    if (node->kind != NODE_MAP) {
        wrong(reader, row, node, "a map of names and values");
        return;
    }
    for (size_t i = 0; i < node->count; i++) {
        const char *value = scalar(reader, row, node->items[i], "a map of names and values");
        if (!conf_label_name_valid(node->keys[i]))
            conf_error_add(reader, node->key_lines[i],
                           "the label name \"%.60s\" may hold letters, digits and _./:*- only", node->keys[i]);
        else if (value) {
            labels->items = mem_resize(labels->items, (labels->count + 1) * sizeof(*labels->items));
            labels->items[labels->count++] = (struct conf_label){mem_strdup(node->keys[i]), mem_strdup(value)};
        }
    }
}

/* Every key of an item of a list of maps must be among names (| between them). */
static bool check_item(struct conf_reader *reader, const struct conf_row *row, const struct node *item,
                       const char *names)
{
    bool good = item->kind == NODE_MAP;
    if (!good)
        conf_error_add(reader, item->line, "each item of %s must be a map of %s", row->path, names);
    for (size_t i = 0; good && i < item->count; i++) {
        char *name = pick(names, item->keys[i]);
        if (!name) {
            conf_error_add(reader, item->key_lines[i], "the key \"%.60s\" is not known in %s; known are %s",
                           item->keys[i], row->path, names);
            good = false;
        }
        mem_free(name);
    }
    return good;
}

static void read_command(struct conf_reader *reader, const struct conf_row *row, const struct node *item,
                         struct conf_commands *commands)
{
    struct conf_command command = {.period = 60000};
    const char *name = node_get_text(item, "name", "");
    const struct node *program = node_get(item, "command");
    const struct node *period = node_get(item, "period");
    if (!conf_label_name_valid(name)) {
        conf_error_add(reader, item->line, "each item of %s needs a name of letters, digits and _./:*-", row->path);
        return;
    }
    if (period && (period->kind != NODE_SCALAR || clock_parse_duration_ms(period->text, &command.period) != TP_OK)) {
        conf_error_add(reader, period->line, "the period of the command \"%.60s\" must be a time like 1m0s", name);
        return;
    }
    if (!program || program->kind != NODE_LIST || program->count == 0) {
        conf_error_add(reader, item->line, "the command \"%.60s\" needs a list: command: [/bin/program, argument]",
                       name);
        return;
    }
    read_list(reader, row, program, &command.command);
    if (command.command.count != program->count) {
        conf_list_free(&command.command);
        return;
    }
    if (command.period < 1000)
        command.period = 1000;
    command.name = mem_strdup(name);
    commands->items = mem_resize(commands->items, (commands->count + 1) * sizeof(*commands->items));
    commands->items[commands->count++] = command;
}

static void read_keypair(struct conf_reader *reader, const struct conf_row *row, const struct node *item,
                         struct conf_keypairs *pairs)
{
    const char *key = node_get_text(item, "key_file", "");
    const char *cert = node_get_text(item, "cert_file", "");
    if (key[0] != '/' || cert[0] != '/') {
        conf_error_add(reader, item->line, "each item of %s needs key_file and cert_file, both absolute paths",
                       row->path);
        return;
    }
    pairs->items = mem_resize(pairs->items, (pairs->count + 1) * sizeof(*pairs->items));
    pairs->items[pairs->count++] = (struct conf_keypair){mem_strdup(key), mem_strdup(cert)};
}

static void read_items(struct conf_reader *reader, const struct conf_row *row, const struct node *node)
{
    if (node->kind != NODE_LIST) {
        if (!node_is_null(node))
            wrong(reader, row, node, "a list (each item begins with -)");
        return;
    }
    for (size_t i = 0; i < node->count; i++) {
        if (row->kind == CONF_COMMANDS && check_item(reader, row, node->items[i], "name|command|period"))
            read_command(reader, row, node->items[i], field_of(reader->conf, row));
        else if (row->kind == CONF_KEYPAIRS && check_item(reader, row, node->items[i], "key_file|cert_file"))
            read_keypair(reader, row, node->items[i], field_of(reader->conf, row));
    }
}

static void read_duration(struct conf_reader *reader, const struct conf_row *row, const struct node *node)
{
    int64_t *field = field_of(reader->conf, row);
    if (node->kind == NODE_SCALAR && (strcmp(node->text, "0") == 0 || strcasecmp(node->text, "never") == 0))
        *field = 0;
    else if (node->kind != NODE_SCALAR || clock_parse_duration_ms(node->text, field) != TP_OK)
        wrong(reader, row, node, "a time like 8h, 30m or 1h30m0s");
}

/* "20GB", "512 MiB", "1073741824"; false when it is nothing like that or past INT64_MAX. */
static bool parse_size(const char *text, int64_t *ret_size)
{
    static const struct {
        const char *name;
        int64_t factor;
    } units[] = {{"", 1},
                 {"B", 1},
                 {"KB", 1000},
                 {"MB", 1000000},
                 {"GB", 1000000000},
                 {"TB", 1000000000000},
                 {"KiB", (int64_t)1 << 10},
                 {"MiB", (int64_t)1 << 20},
                 {"GiB", (int64_t)1 << 30},
                 {"TiB", (int64_t)1 << 40}};
    char *end = NULL;
    long long value;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    value = strtoll(text, &end, 10);
    end += strspn(end, " ");
    for (size_t i = 0; errno == 0 && i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcasecmp(end, units[i].name) == 0)
            return !__builtin_mul_overflow(value, units[i].factor, ret_size);
    }
    return false;
}

static void read_size(struct conf_reader *reader, const struct conf_row *row, const struct node *node)
{
    int64_t size = 0;
    if (node->kind != NODE_SCALAR || !parse_size(node->text, &size))
        wrong(reader, row, node, "a size like 500MB or 20GiB");
    else
        *(int64_t *)field_of(reader->conf, row) = size;
}

static void read_choice(struct conf_reader *reader, const struct conf_row *row, const struct node *node)
{
    char **field = field_of(reader->conf, row);
    const char *text = scalar(reader, row, node, "a text");
    char *choice = text ? pick(row->choices, text) : NULL;
    if (choice) {
        secret_free(*field);
        *field = choice;
    } else if (text) {
        conf_error_add(reader, node->line, "%s must be one of %s, not \"%.60s\"", row->path, row->choices, text);
    }
}

/* Switched off or empty, so that it does not matter that it is not supported. */
static bool is_off(const struct node *node)
{
    const struct node *enabled = node_get(node, "enabled");
    bool value = true;
    if (enabled)
        return node_bool(enabled, &value) == TP_OK && !value;
    if (node->kind != NODE_SCALAR)
        return node->count == 0;
    return node->text[0] == '\0' || node_is_null(node) || (node_bool(node, &value) == TP_OK && !value);
}

static void read_no_effect(struct conf_reader *reader, const struct conf_row *row, const struct node *node)
{
    const struct node *one = node;
    size_t count = node->kind == NODE_LIST ? node->count : 1;
    if (is_off(node))
        return;
    if (!row->choices) {
        conf_warning_add(reader, node->line, "%s has no effect: %s", row->path, row->help);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char *choice;
        if (node->kind == NODE_LIST)
            one = node->items[i];
        choice = one->kind == NODE_SCALAR ? pick(row->choices, one->text) : NULL;
        if (!choice)
            conf_error_add(reader, one->line, "%s can only be %s in this version: %s", row->path, row->choices,
                           row->help);
        mem_free(choice);
    }
}

static void read_scalar(struct conf_reader *reader, const struct conf_row *row, const struct node *node)
{
    void *field = field_of(reader->conf, row);
    int64_t number = 0;
    const char *text;
    if (row->kind == CONF_BOOL) {
        if (node_bool(node, field) != TP_OK)
            wrong(reader, row, node, "yes or no");
    } else if (row->kind == CONF_INT) {
        if (node_int(node, &number) != TP_OK || number < 0 || number > 1000000)
            wrong(reader, row, node, "a whole number that is not negative");
        else
            *(int64_t *)field = number;
    } else if ((text = scalar(reader, row, node, "a text")) != NULL) {
        if (row->kind == CONF_ADDR && text[0] != '\0' && !addr_valid(text))
            wrong(reader, row, node, "HOST:PORT");
        else
            set_text(field, text);
    }
}

void conf_value_read(struct conf_reader *reader, const struct conf_row *row, const struct node *node)
{
    if (node_is_null(node) && conf_row_has_field(row))
        return; /* "key:" with nothing behind it keeps the default */
    switch (row->kind) {
    case CONF_TEXT:
    case CONF_BOOL:
    case CONF_INT:
    case CONF_ADDR:
        read_scalar(reader, row, node);
        break;
    case CONF_DURATION:
        read_duration(reader, row, node);
        break;
    case CONF_SIZE:
        read_size(reader, row, node);
        break;
    case CONF_CHOICE:
        read_choice(reader, row, node);
        break;
    case CONF_LIST:
    case CONF_ADDR_LIST:
    case CONF_CIDR_LIST:
        read_list(reader, row, node, field_of(reader->conf, row));
        break;
    case CONF_LABELS:
        read_labels(reader, row, node, field_of(reader->conf, row));
        break;
    case CONF_COMMANDS:
    case CONF_KEYPAIRS:
        read_items(reader, row, node);
        break;
    case CONF_NO_EFFECT:
        read_no_effect(reader, row, node);
        break;
    case CONF_UNSUPPORTED:
        if (!is_off(node))
            conf_error_add(reader, node->line, "%s is not supported by this version%s%s; remove it", row->path,
                           row->help ? ": " : "", row->help ? row->help : "");
        break;
    case CONF_SECTION:
    default:
        break;
    }
}

void conf_value_default(struct conf *conf, const struct conf_row *row)
{
    struct node node = {.kind = NODE_SCALAR, .quoted = true, .text = (char *)(uintptr_t)row->fallback};
    struct conf_reader reader = {.conf = conf, .file = ""};
    if (!row->fallback) {
        if (row->kind == CONF_TEXT || row->kind == CONF_CHOICE || row->kind == CONF_ADDR)
            set_text(field_of(conf, row), "");
        return;
    }
    if (row->kind == CONF_CHOICE)
        set_text(field_of(conf, row), row->fallback);
    else
        conf_value_read(&reader, row, &node);
    conf_report_free(&reader.report);
}

static json_t *list_json(const struct conf_list *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++)
        (void)json_array_append_new(array, json_string(list->items[i]));
    return array;
}

static json_t *duration_json(int64_t ms)
{
    char text[CLOCK_TEXT_SIZE];
    clock_format_duration_ms(ms, text);
    return json_string(text);
}

static json_t *labels_json(const struct conf_labels *labels)
{
    json_t *object = json_object();
    for (size_t i = 0; i < labels->count; i++)
        (void)json_object_set_new(object, labels->items[i].name, json_string(labels->items[i].value));
    return object;
}

static json_t *commands_json(const struct conf_commands *commands)
{
    json_t *array = json_array();
    for (size_t i = 0; i < commands->count; i++) {
        const struct conf_command *command = &commands->items[i];
        json_t *object = json_object();
        (void)json_object_set_new(object, "name", json_string(command->name));
        (void)json_object_set_new(object, "command", list_json(&command->command));
        (void)json_object_set_new(object, "period", duration_json(command->period));
        (void)json_array_append_new(array, object);
    }
    return array;
}

static json_t *keypairs_json(const struct conf_keypairs *pairs)
{
    json_t *array = json_array();
    for (size_t i = 0; i < pairs->count; i++) {
        json_t *object = json_object();
        (void)json_object_set_new(object, "key_file", json_string(pairs->items[i].key_file));
        (void)json_object_set_new(object, "cert_file", json_string(pairs->items[i].cert_file));
        (void)json_array_append_new(array, object);
    }
    return array;
}

json_t *conf_value_json(const struct conf *conf, const struct conf_row *row)
{
    const void *field = (const char *)conf + row->offset;
    switch (row->kind) {
    case CONF_TEXT:
    case CONF_CHOICE:
    case CONF_ADDR:
        return json_string(*(char *const *)field);
    case CONF_BOOL:
        return json_boolean(*(const bool *)field);
    case CONF_INT:
    case CONF_SIZE:
        return json_integer(*(const int64_t *)field);
    case CONF_DURATION:
        return duration_json(*(const int64_t *)field);
    case CONF_LIST:
    case CONF_ADDR_LIST:
    case CONF_CIDR_LIST:
        return list_json(field);
    case CONF_LABELS:
        return labels_json(field);
    case CONF_COMMANDS:
        return commands_json(field);
    case CONF_KEYPAIRS:
        return keypairs_json(field);
    case CONF_SECTION:
    case CONF_NO_EFFECT:
    case CONF_UNSUPPORTED:
    default:
        return json_null();
    }
}

void conf_value_free(struct conf *conf, const struct conf_row *row)
{
    void *field = field_of(conf, row);
    if (row->kind == CONF_TEXT || row->kind == CONF_CHOICE || row->kind == CONF_ADDR) {
        secret_free(*(char **)field);
        *(char **)field = NULL;
    } else if (row->kind == CONF_LIST || row->kind == CONF_ADDR_LIST || row->kind == CONF_CIDR_LIST) {
        conf_list_free(field);
    } else if (row->kind == CONF_LABELS) {
        struct conf_labels *labels = field;
        for (size_t i = 0; i < labels->count; i++) {
            mem_free(labels->items[i].name);
            mem_free(labels->items[i].value);
        }
        mem_free(labels->items);
        *labels = (struct conf_labels){0};
    } else if (row->kind == CONF_COMMANDS) {
        struct conf_commands *commands = field;
        for (size_t i = 0; i < commands->count; i++) {
            mem_free(commands->items[i].name);
            conf_list_free(&commands->items[i].command);
        }
        mem_free(commands->items);
        *commands = (struct conf_commands){0};
    } else if (row->kind == CONF_KEYPAIRS) {
        struct conf_keypairs *pairs = field;
        for (size_t i = 0; i < pairs->count; i++) {
            mem_free(pairs->items[i].key_file);
            mem_free(pairs->items[i].cert_file);
        }
        mem_free(pairs->items);
        *pairs = (struct conf_keypairs){0};
    }
}

/* Reading the file along the table. */
#include "core/conf.h"

#include "base/mem.h"
#include "core/conf_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 160 /* of a key's path; longer ones are unknown anyway */
#define KEY_SHOWN 60

static TP_PRINTF(4, 0) void add_sentence(struct conf_list *list, const char *file, int line, const char *format,
                                         va_list args)
{
    char sentence[640];
    char *whole;
    if (list->count >= CONF_ERRORS_MAX)
        return;
    (void)vsnprintf(sentence, sizeof(sentence), format, args);
    for (char *at = sentence; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            *at = '?';
    }
    whole = line > 0 ? mem_printf("%s:%d: %s", file, line, sentence) : mem_printf("%s: %s", file, sentence);
    conf_list_add(list, whole);
    mem_free(whole);
}

void conf_error_add(struct conf_reader *reader, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_sentence(&reader->report.errors, reader->file, line, format, args);
    va_end(args);
}

void conf_warning_add(struct conf_reader *reader, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_sentence(&reader->report.warnings, reader->file, line, format, args);
    va_end(args);
}

void conf_report_free(struct conf_report *report)
{
    conf_list_free(&report->errors);
    conf_list_free(&report->warnings);
}

/* Levenshtein's distance of two short words. */
static size_t distance(const char *a, const char *b)
{
    size_t row[KEY_SHOWN + 1];
    size_t b_size = strnlen(b, KEY_SHOWN);
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= KEY_SHOWN && a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t above = row[j];
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[b_size];
}

static bool is_child(const char *path, const char *parent)
{
    size_t size = strlen(parent);
    if (size > 0) {
        if (strncmp(path, parent, size) != 0 || path[size] != '.')
            return false;
        path += size + 1;
    }
    return !strchr(path, '.');
}

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

static void unknown_key(struct conf_reader *reader, const char *parent, const char *key, int line)
{
    size_t count;
    const struct conf_row *rows = conf_rows(&count);
    const struct conf_row *near = NULL;
    const struct conf_row *elsewhere = NULL;
    size_t best = strlen(key) / 3 + 1;
    char *place = parent[0] ? mem_printf("in %s", parent) : mem_strdup("here");
    for (size_t i = 0; i < count; i++) {
        const char *name = last_part(rows[i].path);
        if (is_child(rows[i].path, parent)) {
            size_t steps = distance(key, name);
            if (steps <= best && (!near || steps < best)) {
                near = &rows[i];
                best = steps;
            }
        } else if (!elsewhere && strcmp(name, key) == 0 && conf_row_has_field(&rows[i])) {
            elsewhere = &rows[i];
        }
    }
    if (elsewhere)
        conf_error_add(reader, line, "the key \"%s\" is not known %s; did you mean %s?", key, place, elsewhere->path);
    else if (near)
        conf_error_add(reader, line, "the key \"%.*s\" is not known %s; did you mean \"%s\"?", KEY_SHOWN, key, place,
                       last_part(near->path));
    else
        conf_error_add(reader, line, "the key \"%.*s\" is not known %s; remove it", KEY_SHOWN, key, place);
    mem_free(place);
}

static void note_seen(struct conf_reader *reader, const char *path, int line)
{
    if (strcmp(path, "kubernetes_service.kubeconfig_file") == 0)
        reader->line_kubeconfig = line;
    else if (strcmp(path, "kubernetes_service.kube_cluster_name") == 0)
        reader->line_kube_name = line;
    reader->seen_auth_enabled = reader->seen_auth_enabled || strcmp(path, "auth_service.enabled") == 0;
    reader->seen_proxy_enabled = reader->seen_proxy_enabled || strcmp(path, "proxy_service.enabled") == 0;
    reader->seen_ssh_enabled = reader->seen_ssh_enabled || strcmp(path, "ssh_service.enabled") == 0;
}

/* One map of the file; parent is its path, "" at the top. The table's depth bounds the recursion. */
static void read_map(struct conf_reader *reader, const struct node *map, const char *parent)
{
    for (size_t i = 0; i < map->count; i++) {
        char path[PATH_SIZE];
        const char *key = map->keys[i];
        const struct conf_row *row = NULL;
        if (parent[0] == '\0' && strcmp(key, "teleport") == 0)
            key = "tport";
        if (!strchr(key, '.') && snprintf(path, sizeof(path), "%s%s%s", parent, parent[0] ? "." : "", key) < PATH_SIZE)
            row = conf_row_find(path);
        if (!row) {
            unknown_key(reader, parent, map->keys[i], map->key_lines[i]);
        } else if (row->kind != CONF_SECTION) {
            if (!node_is_null(map->items[i]))
                note_seen(reader, path, map->key_lines[i]);
            conf_value_read(reader, row, map->items[i]);
        } else if (map->items[i]->kind == NODE_MAP) {
            read_map(reader, map->items[i], path);
        } else if (!node_is_null(map->items[i])) {
            conf_error_add(reader, map->items[i]->line, "%s must be a section: write its keys below it, indented",
                           map->keys[i]);
        }
    }
}

static struct conf *new_conf(const char *file, bool is_teleport)
{
    struct conf *conf = mem_alloc(sizeof(*conf));
    size_t count;
    const struct conf_row *rows = conf_rows(&count);
    conf->file = mem_strdup(file);
    conf->is_teleport = is_teleport;
    for (size_t i = 0; i < count; i++) {
        if (conf_row_has_field(&rows[i]))
            conf_value_default(conf, &rows[i]);
    }
    if (is_teleport) {
        mem_free(conf->data_dir);
        conf->data_dir = mem_strdup("/var/lib/teleport");
        mem_free(conf->web_listen_addr);
        conf->web_listen_addr = mem_strdup("0.0.0.0:3080");
    }
    return conf;
}

void conf_free(struct conf *conf)
{
    size_t count;
    const struct conf_row *rows = conf_rows(&count);
    if (!conf)
        return;
    for (size_t i = 0; i < count; i++) {
        if (conf_row_has_field(&rows[i]))
            conf_value_free(conf, &rows[i]);
    }
    mem_free(conf->file);
    mem_free(conf);
}

static void read_root(struct conf_reader *reader, const struct node *root)
{
    const struct node *ours = node_get(root, "tport");
    const struct node *theirs = node_get(root, "teleport");
    reader->conf = new_conf(reader->file, theirs && !ours);
    if (root->kind != NODE_MAP) {
        conf_error_add(reader, root->line, "a configuration consists of sections (tport:, auth_service:, ...)");
        return;
    }
    if (ours && theirs)
        conf_error_add(reader, theirs->line, "tport and teleport are the same section; merge them");
    read_map(reader, root, "");
}

/* Ends a reading: gives the report and the struct, or the first error. */
static enum tp_err finish(struct conf_reader *reader, struct conf **ret_conf, struct conf_report *report,
                          struct tp_error *error)
{
    enum tp_err err = TP_OK;
    if (reader->report.errors.count > 0) {
        err = err_set(error, TP_INVALID, "%s", reader->report.errors.items[0]);
        conf_free(reader->conf);
        reader->conf = NULL;
    }
    *ret_conf = reader->conf;
    if (report)
        *report = reader->report;
    else
        conf_report_free(&reader->report);
    return err;
}

enum tp_err conf_parse(const char *text, size_t size, const char *file, struct conf **ret_conf,
                       struct conf_report *report, struct tp_error *error)
{
    struct conf_reader reader = {.file = file};
    struct tp_error local = {0};
    struct node *root = NULL;
    enum tp_err err = node_parse_one(text, size, file, &root, &local);
    *ret_conf = NULL;
    if (err != TP_OK) {
        conf_list_add(&reader.report.errors, local.text);
        (void)finish(&reader, ret_conf, report, NULL);
        return err_set(error, err, "%s", local.text);
    }
    read_root(&reader, root);
    node_free(root);
    conf_check_all(&reader);
    return finish(&reader, ret_conf, report, error);
}

static enum tp_err read_file(const char *path, char **ret_text, size_t *ret_size, mode_t *ret_mode,
                             struct tp_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    enum tp_err err = TP_OK;
    char *text = NULL;
    size_t size = 0;
    if (fd < 0)
        return err_errno(error, errno, "cannot open the configuration %s", path);
    if (fstat(fd, &info) != 0)
        err = err_errno(error, errno, "cannot read the configuration %s", path);
    else if (!S_ISREG(info.st_mode))
        err = err_set(error, TP_INVALID, "the configuration %s is not a regular file", path);
    else if ((size_t)info.st_size > NODE_MAX_BYTES)
        err = err_set(error, TP_TOO_LARGE, "%s:1: the file has %zu bytes, a configuration has at most %zu", path,
                      (size_t)info.st_size, NODE_MAX_BYTES);
    if (err == TP_OK) {
        ssize_t got = 1;
        text = mem_alloc((size_t)info.st_size + 1);
        while (got > 0 && size < (size_t)info.st_size) {
            got = read(fd, text + size, (size_t)info.st_size - size);
            if (got < 0 && errno == EINTR)
                got = 1;
            else if (got < 0)
                err = err_errno(error, errno, "cannot read the configuration %s", path);
            else
                size += (size_t)got;
        }
        *ret_mode = info.st_mode;
    }
    (void)close(fd);
    if (err != TP_OK) {
        secret_free(text);
        return err;
    }
    *ret_text = text;
    *ret_size = size;
    return TP_OK;
}

enum tp_err conf_load(const char *path, struct conf **ret_conf, struct conf_report *report, struct tp_error *error)
{
    char *text = NULL;
    size_t size = 0;
    mode_t mode = 0;
    struct tp_error local = {0};
    enum tp_err err = read_file(path, &text, &size, &mode, &local);
    *ret_conf = NULL;
    if (report)
        *report = (struct conf_report){0};
    if (err != TP_OK) {
        if (report)
            conf_list_add(&report->errors, local.text);
        return err_set(error, err, "%s", local.text);
    }
    err = conf_parse(text, size, path, ret_conf, report, error);
    if (err == TP_OK && report && (mode & 0007) != 0 && (*ret_conf)->auth_token[0] != '\0' &&
        (*ret_conf)->auth_token[0] != '/') {
        struct conf_reader reader = {.file = path, .report = *report};
        conf_warning_add(&reader, 0, "every user of this machine can read the auth_token in it; run chmod 600 %s",
                         path);
        *report = reader.report;
    }
    secret_wipe(text, size);
    mem_free(text);
    return err;
}

/* Puts value at the dotted path, making objects on the way. */
static void set_path(json_t *object, const char *path, json_t *value)
{
    const char *dot;
    while ((dot = strchr(path, '.')) != NULL) {
        char *part = mem_strndup(path, (size_t)(dot - path));
        json_t *child = json_object_get(object, part);
        if (!child) {
            child = json_object();
            (void)json_object_set_new(object, part, child);
        }
        mem_free(part);
        object = child;
        path = dot + 1;
    }
    (void)json_object_set_new(object, path, value);
}

json_t *conf_to_json(const struct conf *conf, unsigned readers)
{
    json_t *object = json_object();
    size_t count;
    const struct conf_row *rows = conf_rows(&count);
    for (size_t i = 0; i < count; i++) {
        bool wanted = readers != 0 ? (rows[i].flags & readers) != 0 : (rows[i].flags & CONF_SECRET) == 0;
        json_t *value;
        if (!conf_row_has_field(&rows[i]) || !wanted || strcmp(rows[i].path, "tport.auth_server") == 0)
            continue;
        value = conf_value_json(conf, &rows[i]);
        if (json_is_string(value) && json_string_length(value) == 0 && !rows[i].fallback)
            json_decref(value);
        else
            set_path(object, rows[i].path, value);
    }
    return object;
}

enum tp_err conf_from_json(const json_t *object, struct conf **ret_conf, struct tp_error *error)
{
    struct conf_reader reader = {.file = "config"};
    struct node *root = NULL;
    char *text = node_yaml_from_json(object);
    enum tp_err err = node_parse_one(text, strlen(text), reader.file, &root, error);
    secret_free(text);
    *ret_conf = NULL;
    if (err != TP_OK)
        return err;
    read_root(&reader, root);
    node_free(root);
    conf_fill(reader.conf);
    return finish(&reader, ret_conf, NULL, error);
}

struct conf_list conf_needs_restart(const struct conf *old, const struct conf *fresh)
{
    struct conf_list changed = {0};
    size_t count;
    const struct conf_row *rows = conf_rows(&count);
    for (size_t i = 0; i < count; i++) {
        json_t *before;
        json_t *after;
        if (!conf_row_has_field(&rows[i]) || !(rows[i].flags & CONF_AT_START))
            continue;
        before = conf_value_json(old, &rows[i]);
        after = conf_value_json(fresh, &rows[i]);
        if (!json_equal(before, after))
            conf_list_add(&changed, rows[i].path);
        json_decref(before);
        json_decref(after);
    }
    return changed;
}

/* tportctl access test: expectations about roles, run offline. */
#include "base/json.h"
#include "base/mem.h"
#include "cli/common/file.h"
#include "cli/common/output.h"
#include "cli/tportctl/access_case.h"
#include "cli/tportctl/tportctl.h"

#include <stdio.h>
#include <string.h>

#define MOST_BYTES ((size_t)256 * 1024 * 1024)
#define MOST_NODES ((size_t)50 * 1000 * 1000)

struct run {
    const struct command_line *line;
    struct map *roles;
    bool asked;      /* the cluster has been, for roles that no file has */
    json_t *results; /* of --format=json, or NULL */
    int64_t passed, failed, unsupported;
};

static const char *const result_names[] = {"pass", "fail", "unsupported", "error"};

static void report(struct run *run, const char *file, const struct node *node, struct access_outcome *out)
{
    const char *name = node_get_text(node, "name", "");
    json_t *expected = out->expected ? out->expected : json_null();
    json_t *got = out->got ? out->got : json_null();
    int64_t *counter = out->result == ACCESS_PASS          ? &run->passed
                       : out->result == ACCESS_UNSUPPORTED ? &run->unsupported
                                                           : &run->failed;
    ++*counter;
    if (run->results) {
        json_t *item = json_pack("{s:s, s:s, s:i, s:s, s:O, s:O, s:s, s:s}", "name", name, "file", file, "line",
                                 node->line, "result", result_names[out->result], "expected", expected, "got", got,
                                 "reason", out->reason, "role", out->role);
        if (item)
            json_array_append_new(run->results, item);
    } else if (out->result == ACCESS_UNSUPPORTED) {
        char *text = mem_printf("%s:%d: %s: unsupported: %s", file, node->line, name, out->reason);
        output_safe(text);
        (void)printf("\n");
        mem_free(text);
    } else if (out->result != ACCESS_PASS) {
        char *wanted = json_dumps(expected, JSON_ENCODE_ANY | JSON_COMPACT);
        char *answer = json_dumps(got, JSON_ENCODE_ANY | JSON_COMPACT);
        char *text =
            mem_printf("%s:%d: %s: expected %s, got %s (%s%s%s)", file, node->line, name, wanted ? wanted : "null",
                       answer ? answer : "null", out->reason, *out->role ? ", role " : "", out->role);
        output_safe(text);
        (void)printf("\n");
        mem_free(text);
        mem_free(wanted);
        mem_free(answer);
    }
    json_decref(expected);
    json_decref(got);
}

static void free_documents(struct node **documents, size_t count)
{
    for (size_t i = 0; i < count; i++)
        node_free(documents[i]);
    mem_free(documents);
}

static enum tp_err read_documents(const char *path, struct node ***ret_documents, size_t *ret_count,
                                  struct tp_error *error)
{
    struct buf text;
    enum tp_err err;
    buf_init(&text, MOST_BYTES);
    err = file_read(path, &text, error);
    if (err == TP_OK)
        err = node_parse_large(buf_text(&text), buf_size(&text), path, MOST_BYTES, MOST_NODES, ret_documents, ret_count,
                               error);
    buf_free(&text);
    return err;
}

/* ---- roles that cases name ---- */

static void keep_role(struct map *roles, struct role *role)
{
    role_unref(map_set(roles, role_name(role), role));
}

static bool names_unknown(const struct map *roles, const struct node *list)
{
    if (list && list->kind == NODE_SCALAR)
        return !map_get(roles, list->text);
    for (size_t i = 0; list && list->kind == NODE_LIST && i < list->count; i++)
        if (list->items[i]->kind == NODE_SCALAR && !map_get(roles, list->items[i]->text))
            return true;
    return false;
}

/* Names that no file has mean roles of the cluster. Where none can be asked, the case that needs one says so. */
static void ask_cluster(struct run *run, const struct node *one)
{
    struct tp_error none = {0};
    json_t *items = NULL, *item;
    size_t index;
    const struct node *list = node_get(one, "roles");
    if (!list)
        list = node_get(node_get(one, "user"), "roles");
    if (run->asked || !names_unknown(run->roles, list))
        return;
    run->asked = true;
    if (tportctl_list(run->line, "resources.get", json_pack("{s:s}", "kind", "role"), 0, &items, &none))
        return;
    json_array_foreach (items, index, item) {
        const char *name = output_text_at(item, "metadata.name");
        struct role *role = NULL;
        if (!map_get(run->roles, name) && role_parse_json(item, ROLE_STORED, &role, NULL) == TP_OK)
            keep_role(run->roles, role);
    }
    json_decref(items);
}

static enum tp_err run_file(struct run *run, const char *path, struct tp_error *error)
{
    struct node **documents = NULL;
    size_t count = 0;
    enum tp_err err = read_documents(path, &documents, &count, error);
    for (size_t i = 0; i < count && !err; i++) {
        if (documents[i]->kind != NODE_LIST)
            err = err_set(error, TP_INVALID, "%s:%d: a case file is a list of cases, each beginning with \"- \"", path,
                          documents[i]->line);
        for (size_t j = 0; !err && j < documents[i]->count; j++) {
            const struct node *node = documents[i]->items[j];
            struct access_outcome out;
            if (node->kind != NODE_MAP) {
                err = err_set(error, TP_INVALID, "%s:%d: a case is a map with name, roles and expect or query", path,
                              node->line);
                break;
            }
            ask_cluster(run, node);
            access_case_run(node, run->roles, &out);
            report(run, path, node, &out);
        }
    }
    free_documents(documents, count);
    return err;
}

static enum tp_err read_roles(struct map *roles, const char *path, struct tp_error *error)
{
    struct node **documents = NULL;
    size_t count = 0;
    enum tp_err err = read_documents(path, &documents, &count, error);
    for (size_t i = 0; i < count && !err; i++) {
        bool list = documents[i]->kind == NODE_LIST;
        for (size_t j = 0; j < (list ? documents[i]->count : 1) && !err; j++) {
            const struct node *one = list ? documents[i]->items[j] : documents[i];
            struct role *role = NULL;
            if (strcmp(node_get_text(one, "kind", "role"), "role") != 0)
                continue;
            err = role_parse(one, ROLE_STORED, &role, error);
            if (err)
                err_prefix(error, "%s", path);
            else
                keep_role(roles, role);
        }
    }
    free_documents(documents, count);
    return err;
}

static void add_presets(struct map *roles)
{
    for (size_t i = 0; rbac_presets[i]; i++) {
        const char *yaml = rbac_preset_yaml(rbac_presets[i]);
        struct role *role = NULL;
        if (role_parse_text(yaml, strlen(yaml), rbac_presets[i], ROLE_STORED, &role, NULL) == TP_OK)
            keep_role(roles, role);
    }
}

static void drop_role(void *ctx, const char *key, void *value)
{
    (void)ctx;
    (void)key;
    role_unref(value);
}

static void print_counts(const struct run *run)
{
    if (run->results) {
        json_t *all = json_pack("{s:O, s:I, s:I, s:I}", "cases", run->results, "passed", (json_int_t)run->passed,
                                "failed", (json_int_t)run->failed, "unsupported", (json_int_t)run->unsupported);
        output_json(all);
        json_decref(all);
        return;
    }
    (void)printf("%lld passed, %lld failed, %lld unsupported\n", (long long)run->passed, (long long)run->failed,
                 (long long)run->unsupported);
}

enum tp_err tportctl_access_test(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", NULL};
    struct run run = {.line = line};
    struct tp_error local = {0};
    const char *format = NULL, *path;
    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err)
        return err;
    run.roles = map_new();
    if (strcmp(format, "json") == 0)
        run.results = json_array();
    add_presets(run.roles);
    for (size_t i = 0; !err && (path = command_nth(line, "roles", i)); i++)
        err = read_roles(run.roles, path, &local);
    for (size_t i = 0; !err && i < line->arg_count; i++)
        err = run_file(&run, line->args[i], &local);
    /* A file that cannot be read is told apart from a case that fails. */
    if (err)
        (void)fprintf(stderr, "ERROR: %s\n", local.text);
    else
        print_counts(&run);
    line->exit_code = err ? 2 : run.failed > 0 ? 1 : 0;
    map_each(run.roles, drop_role, NULL);
    map_free(run.roles);
    json_decref(run.results);
    return TP_OK;
}

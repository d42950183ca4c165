/* tportctl create: every document is read and checked before the first one is sent. */
#include "base/mem.h"
#include "base/node.h"
#include "cli/common/file.h"
#include "cli/common/output.h"
#include "cli/common/table.h"
#include "cli/tportctl/tportctl.h"
#include "rbac/resource.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void tportctl_warn(const json_t *result)
{
    static const char line[] = "line 1: "; /* auth was given JSON, which is one line */
    char *all = mem_strdup(json_get_text(result, "warnings", "")), *rest = NULL;
    for (char *one = strtok_r(all, "\n", &rest); one; one = strtok_r(NULL, "\n", &rest)) {
        char *safe = text_safe(strncmp(one, line, sizeof(line) - 1) == 0 ? one + sizeof(line) - 1 : one);
        (void)fprintf(stderr, "WARNING: %s\n", safe);
        mem_free(safe);
    }
    mem_free(all);
}

enum tp_err tportctl_put(struct api *api, json_t *resource, bool force, const char *revision, struct tp_error *error)
{
    json_t *params = json_object(), *result;
    (void)json_object_set(params, "resource", resource);
    (void)json_object_set_new(params, "force", json_boolean(force));
    if (revision && *revision)
        (void)json_object_set_new(params, "revision", json_string(revision));
    enum tp_err err = api_rpc(api, "resources.put", params, &result, error);
    if (err != TP_OK)
        return err;
    const char *kind = json_get_text(result, "kind", json_get_text(resource, "kind", "resource"));
    char *name = text_safe(json_get_text(result, "name", output_text_at(resource, "metadata.name")));
    const char *quote = strcmp(kind, "role") == 0 ? "'" : "\"";
    (void)printf("%s %s%s%s has been %s\n", kind, quote, name, quote,
                 json_get_bool(result, "created", true) ? "created" : "updated");
    mem_free(name);
    tportctl_warn(result);
    json_decref(result);
    return TP_OK;
}

static const char *document_text(const struct node *document, const char *key)
{
    return node_get_text(key[0] == 'n' ? node_get(document, "metadata") : document, key, "");
}

struct place {
    const char *kind;
    const char *name;
    int line;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *left = a;
    const struct place *right = b;
    int order = strcmp(left->kind, right->kind);
    order = order != 0 ? order : strcmp(left->name, right->name);
    return order != 0 ? order : (left->line > right->line) - (left->line < right->line);
}

/* The same resource twice in one file is a mistake: the second would replace the first. */
static enum tp_err refuse_twice(struct node *const *documents, size_t count, const char *name, struct tp_error *error)
{
    struct place *places = mem_array(count + 1, sizeof(*places));
    enum tp_err err = TP_OK;
    for (size_t i = 0; i < count; i++)
        places[i] = (struct place){document_text(documents[i], "kind"), document_text(documents[i], "name"),
                                   documents[i]->line};
    qsort(places, count, sizeof(*places), compare_places);
    for (size_t i = 1; i < count && err == TP_OK; i++) {
        if (*places[i].name && strcmp(places[i - 1].kind, places[i].kind) == 0 &&
            strcmp(places[i - 1].name, places[i].name) == 0)
            err = err_set(error, TP_INVALID,
                          "%s: line %d: %.80s \"%.80s\" stands in this file already, in line %d; remove one", name,
                          places[i].line, places[i].kind, places[i].name, places[i - 1].line);
    }
    mem_free(places);
    return err;
}

/* A message names a line once: that of the file. Texts of people are made safe for a terminal. */
static enum tp_err check_all(struct node *const *documents, size_t count, const char *name, struct tp_error *error)
{
    enum tp_err err = count == 0 ? err_set(error, TP_INVALID, "%s holds no resource", name) : TP_OK;
    for (size_t i = 0; err == TP_OK && i < count; i++) {
        err = resource_check(documents[i], error);
        if (err != TP_OK)
            err_prefix(error, "%s", name);
    }
    return err == TP_OK ? refuse_twice(documents, count, name, error) : err;
}

/* Says which documents of a file took effect before one was refused. */
static void say_applied(struct node *const *documents, size_t done, size_t count, const char *name,
                        struct tp_error *error)
{
    struct tp_error why = *error;
    if (done == 0)
        (void)err_set(error, why.code, "%s, document 1 of %zu (line %d): %.300s. Nothing was applied", name, count,
                      documents[0]->line, why.text);
    else
        (void)err_set(error, why.code,
                      "%s, document %zu of %zu (line %d): %.300s. Documents 1 to %zu are applied, the rest is not",
                      name, done + 1, count, documents[done]->line, why.text, done);
}

enum tp_err tportctl_create(struct command_line *line, struct tp_error *error)
{
    bool from_file = line->arg_count > 0 && strcmp(line->args[0], "-") != 0;
    const char *name = from_file ? line->args[0] : "standard input";
    struct node **documents = NULL;
    size_t count = 0, done = 0;
    struct api *api = NULL;
    struct buf text;

    buf_init(&text, NODE_MAX_BYTES);
    enum tp_err err = from_file ? file_read(name, &text, error) : file_read_fd(STDIN_FILENO, name, &text, error);
    if (err == TP_TOO_LARGE)
        err = err_set(error, err, "%s is larger than %zu bytes, which is the most that is read at once; split it", name,
                      NODE_MAX_BYTES);
    if (err == TP_OK)
        err = node_parse(buf_text(&text), buf_size(&text), name, &documents, &count, error);
    if (err == TP_OK)
        err = check_all(documents, count, name, error);
    if (err == TP_OK)
        err = tportctl_open(line, &api, NULL, error);
    for (; api && err == TP_OK && done < count; done += err == TP_OK) {
        json_t *resource = node_to_json_exact(documents[done]);
        err = tportctl_put(api, resource, command_flag(line, "force"), NULL, error);
        json_decref(resource);
    }
    if (api && err != TP_OK && count > 1)
        say_applied(documents, done, count, name, error);
    else if (api && err != TP_OK)
        err_prefix(error, "%s", name);
    for (size_t i = 0; i < count; i++)
        node_free(documents[i]);
    mem_free(documents);
    api_close(api);
    buf_wipe(&text);
    return err;
}

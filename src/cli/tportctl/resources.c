/* tportctl get, create, edit, rm. */
#include "base/mem.h"
#include "base/node.h"
#include "cli/common/argv.h"
#include "cli/common/file.h"
#include "cli/common/output.h"
#include "cli/tportctl/tportctl.h"
#include "rbac/resource.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    const char *word;
    const char *kind;
} words[] = {
    {"role", "role"},
    {"roles", "role"},
    {"user", "user"},
    {"users", "user"},
    {"token", "token"},
    {"tokens", "token"},
    {"lock", "lock"},
    {"locks", "lock"},
    {"node", "node"},
    {"nodes", "node"},
    {"server", "node"},
    {"kube_cluster", "kube_cluster"},
    {"kube_clusters", "kube_cluster"},
    {"app", "app"},
    {"apps", "app"},
    {"db", "db"},
    {"dbs", "db"},
    {"database", "db"},
    {"databases", "db"},
    {"github", "github"},
    {"oidc", "oidc"},
    {"saml", "saml"},
    {"connector", "connectors"},
    {"connectors", "connectors"},
    {"auth_connector", "connectors"},
    {"auth_connectors", "connectors"},
    {"trusted_cluster", "trusted_cluster"},
    {"trusted_clusters", "trusted_cluster"},
    {"tc", "trusted_cluster"},
    {"kube_server", "kube_server"},
    {"kube_servers", "kube_server"},
    {"cluster_auth_preference", "cluster_auth_preference"},
    {"cluster_authentication_preferences", "cluster_auth_preference"},
    {"cap", "cluster_auth_preference"},
    {"cluster_networking_config", "cluster_networking_config"},
    {"networking_config", "cluster_networking_config"},
    {"net_config", "cluster_networking_config"},
    {"netconfig", "cluster_networking_config"},
    {"session_recording_config", "session_recording_config"},
    {"recording_config", "session_recording_config"},
    {"rec_config", "session_recording_config"},
    {"recconfig", "session_recording_config"},
    {"cert_authority", "cert_authority"},
    {"cert_authorities", "cert_authority"},
    {"cas", "cert_authority"},
    {"ca", "cert_authority"},
};

const char *tportctl_kind(const char *word)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(words[i].word, word) == 0)
            return words[i].kind;
    }
    return NULL;
}

/* What get all prints, so that create takes it back. */
static const char *const *backup_kinds(void)
{
    static const char *const kinds[] = {"role", /* users, connectors and tokens name roles */
                                        "user",
                                        "lock",
                                        "github",
                                        "oidc",
                                        "saml",
                                        "trusted_cluster",
                                        "kube_cluster",
                                        "app",
                                        "db",
                                        "openssh", /* the nodes that were written */
                                        "cluster_auth_preference",
                                        "cluster_networking_config",
                                        "session_recording_config",
                                        NULL};
    return kinds;
}

/* "KIND" or "KIND/NAME"; ret_name is NULL or allocated. */
static enum tp_err parse_ref(const char *text, const char **ret_kind, char **ret_name, struct tp_error *error)
{
    size_t length = strcspn(text, "/");
    char *word = mem_strndup(text, length);
    *ret_name = NULL;
    *ret_kind = tportctl_kind(word);
    if (!*ret_kind)
        err_set(error, TP_INVALID,
                "there is no kind of resource \"%s\"; role, user, token, lock, github, oidc, saml, connectors, "
                "trusted_cluster, node, kube_server, kube_cluster, app, db, cap, netconfig, recconfig and ca are there",
                word);
    mem_free(word);
    if (!*ret_kind)
        return TP_INVALID;
    if (text[length] == '/' && text[length + 1] != '\0')
        *ret_name = mem_strdup(text + length + 1);
    return TP_OK;
}

static enum tp_err fetch(struct api *api, const char *kind, const char *name, bool secrets, json_t *all,
                         struct tp_error *error)
{
    bool openssh = strcmp(kind, "openssh") == 0;
    json_t *params = json_pack("{s:s, s:b}", "kind", openssh ? "node" : kind, "with_secrets", secrets);
    json_t *items;
    if (openssh)
        (void)json_object_set_new(params, "sub_kind", json_string(kind));
    if (strcmp(kind, "connectors") == 0) {
        static const char *const connectors[] = {"github", "oidc", "saml"};
        enum tp_err err = TP_OK;
        json_decref(params);
        for (size_t i = 0; err == TP_OK && i < sizeof(connectors) / sizeof(connectors[0]); i++) {
            err = fetch(api, connectors[i], name, secrets, all, error);
            if (name && err == TP_NOT_FOUND && (i < 2 || json_array_size(all) > 0))
                err = TP_OK;
        }
        return err;
    }
    if (name)
        (void)json_object_set_new(params, "name", json_string(name));
    enum tp_err err = api_list(api, "resources.get", params, 0, &items, error);
    if (err != TP_OK)
        return err;
    if (name && json_array_size(items) == 0)
        err = err_set(error, TP_NOT_FOUND, "there is no %s \"%s\"", kind, name);
    else
        (void)json_array_extend(all, items);
    json_decref(items);
    return err;
}

enum tp_err tportctl_get(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"yaml", "json", "text", NULL};
    bool secrets = command_flag(line, "with-secrets");
    json_t *all = json_array(), *refs = output_split(line->args[0]), *ref;
    struct api *api = NULL;
    const char *format;
    size_t index;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = tportctl_open(line, &api, NULL, error);
    if (err == TP_OK && strcmp(line->args[0], "all") == 0) {
        for (const char *const *kind = backup_kinds(); err == TP_OK && *kind; kind++)
            err = fetch(api, *kind, NULL, secrets, all, error);
    } else {
        json_array_foreach (refs, index, ref) {
            const char *kind;
            char *name;
            if (err == TP_OK)
                err = parse_ref(json_string_value(ref), &kind, &name, error);
            if (err == TP_OK) {
                err = fetch(api, kind, name, secrets, all, error);
                mem_free(name);
            }
        }
    }
    if (err == TP_OK && strcmp(format, "json") == 0)
        output_json(all);
    else if (err == TP_OK && strcmp(format, "yaml") == 0)
        output_yaml(all, true);
    else if (err == TP_OK)
        tportctl_print_resources(all);
    json_decref(all);
    json_decref(refs);
    api_close(api);
    return err;
}

/* Runs the person's editor on path and waits for it. */
static enum tp_err run_editor(const char *path, struct tp_error *error)
{
    const char *editor = command_env("EDITOR");
    struct argv argv = {0};
    int status = 0;

    editor = editor ? editor : getenv("VISUAL") && *getenv("VISUAL") ? getenv("VISUAL") : getenv("EDITOR");
    editor = editor && *editor ? editor : "vi";
    char *copy = mem_strdup(editor), *rest = NULL;
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        argv_add(&argv, word);
    mem_free(copy);
    if (argv.count == 0)
        argv_add(&argv, "vi");
    argv_add(&argv, path);
    char *program = strchr(argv.items[0], '/') ? mem_strdup(argv.items[0]) : file_in_path(argv.items[0]);
    enum tp_err err = TP_OK;
    pid_t child = program ? fork() : -1;
    if (!program) {
        err = err_set(error, TP_NOT_FOUND, "there is no editor %s; set EDITOR", argv.items[0]);
    } else if (child == 0) {
        (void)execve(program, argv.items, environ);
        _exit(127);
    } else if (child < 0) {
        err = err_errno(error, errno, "the editor can't be started");
    } else {
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            continue;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            err = err_set(error, TP_CLOSED, "the editor %s failed; nothing was changed", argv.items[0]);
    }
    mem_free(program);
    argv_free(&argv);
    return err;
}

/* A text in the editor. It stays in its file until what it says is in force. */
struct edit {
    char path[sizeof("/tmp/tportctl-XXXXXX.yaml")];
    bool made; /* the file is there */
    bool changed;
    json_t *resource; /* what it says now */
};

/* Of nodes only those that somebody wrote can be edited; where a host of that name has registered itself, it has the other. */
static enum tp_err leave_written(json_t **all, const char *name, struct tp_error *error)
{
    json_t *written = json_array(), *node;
    size_t index;
    json_array_foreach (*all, index, node) {
        if (strcmp(output_text_at(node, "sub_kind"), "openssh") != 0)
            continue;
        if (name && strcmp(output_text_at(node, "metadata.name"), name) == 0)
            (void)json_array_clear(written);
        (void)json_array_append(written, node);
        if (name && strcmp(output_text_at(node, "metadata.name"), name) == 0)
            break;
    }
    bool none = json_array_size(*all) > 0 && json_array_size(written) == 0;
    json_decref(*all);
    *all = written;
    return none ? err_set(error, TP_INVALID, "a node can't be edited: it registers itself and says what it is") : TP_OK;
}

static bool same_thing(const json_t *edited, const json_t *resource)
{
    return json_is_object(edited) &&
           strcmp(json_get_text(edited, "kind", ""), json_get_text(resource, "kind", "")) == 0 &&
           strcmp(output_text_at(edited, "metadata.name"), output_text_at(resource, "metadata.name")) == 0;
}

/* Lets the person edit the resource, and checks what he wrote, with the lines of his text. */
static enum tp_err edit_text(const json_t *resource, struct edit *edit, struct tp_error *error)
{
    char *before = node_yaml_from_json(resource);
    struct node *node = NULL;
    struct buf after;
    (void)snprintf(edit->path, sizeof(edit->path), "/tmp/tportctl-XXXXXX.yaml");
    int fd = mkstemps(edit->path, 5);

    buf_init(&after, NODE_MAX_BYTES);
    enum tp_err err = fd < 0 ? err_errno(error, errno, "no temporary file can be made") : TP_OK;
    edit->made = fd >= 0;
    if (fd >= 0)
        (void)close(fd);
    if (err == TP_OK)
        err = file_write_text(edit->path, before, error);
    if (err == TP_OK) {
        struct tp_error unread;
        err = run_editor(edit->path, error);
        enum tp_err read = file_read(edit->path, &after, err == TP_OK ? error : &unread);
        edit->changed = read != TP_OK || strcmp(buf_text(&after), before) != 0;
        err = err == TP_OK ? read : err;
    }
    if (err == TP_OK && edit->changed)
        err = node_parse_one(buf_text(&after), buf_size(&after), "the edited text", &node, error);
    if (err == TP_OK && edit->changed) {
        edit->resource = node_to_json_exact(node);
        err = same_thing(edit->resource, resource)
                  ? resource_check(node, error)
                  : err_set(error, TP_INVALID, "kind and name can't be changed by editing; use create and rm");
        if (err != TP_OK)
            err_prefix(error, "the edited text");
    }
    node_free(node);
    buf_wipe(&after);
    secret_free(before);
    return err;
}

/* A text that came to nothing is kept, for nobody should have to write it twice. */
static void edit_end(struct edit *edit, enum tp_err err, struct tp_error *error)
{
    if (edit->made && (err == TP_OK || !edit->changed)) {
        (void)unlink(edit->path);
    } else if (edit->made) {
        struct tp_error why = *error;
        (void)err_set(error, err, "%.600s\nYour text is kept in %s", why.text[0] ? why.text : err_text(err),
                      edit->path);
    }
    json_decref(edit->resource);
}

enum tp_err tportctl_edit(struct command_line *line, struct tp_error *error)
{
    const char *kind;
    char *name = NULL;
    struct api *api = NULL;
    json_t *all = json_array();
    struct edit edit = {0};

    enum tp_err err = parse_ref(line->args[0], &kind, &name, error);
    if (err == TP_OK && (!resource_writable(kind) || strcmp(kind, "token") == 0))
        err = err_set(error, TP_INVALID, "a %s can't be edited: %s", kind,
                      strcmp(kind, "token") == 0 ? "its secret is kept nowhere; rm it and make a new one"
                                                 : "it registers itself and says what it is");
    if (err == TP_OK)
        err = tportctl_open(line, &api, NULL, error);
    if (err == TP_OK)
        err = fetch(api, kind, name, true, all, error); /* what is left out would be lost */
    if (err == TP_OK && strcmp(kind, "node") == 0)
        err = leave_written(&all, name, error);
    if (err == TP_OK && json_array_size(all) != 1)
        err = err_set(error, TP_INVALID, "\"%s\" is not one resource: KIND/NAME is needed", line->args[0]);
    json_t *resource = json_array_get(all, 0);
    if (err == TP_OK)
        err = edit_text(resource, &edit, error);
    if (err == TP_OK && !edit.changed) {
        (void)printf("Nothing was changed.\n");
    } else if (err == TP_OK) {
        err = tportctl_put(api, edit.resource, true, output_text_at(resource, "metadata.revision"), error);
        if (err == TP_CONFLICT)
            err = err_set(error, err, "%s was changed by someone else in the meantime; edit it again", line->args[0]);
    }
    edit_end(&edit, err, error);
    json_decref(all);
    api_close(api);
    mem_free(name);
    return err;
}

enum tp_err tportctl_rm(struct command_line *line, struct tp_error *error)
{
    const char *kind;
    char *name = NULL;
    json_t *result = NULL;

    enum tp_err err = parse_ref(line->args[0], &kind, &name, error);
    bool single = err == TP_OK && resource_single(kind);
    if (err == TP_OK && single && !name)
        name = mem_strdup(kind);
    if (err == TP_OK && !name)
        err = err_set(error, TP_INVALID, "\"%s\" names no resource: KIND/NAME is needed, for example role/access",
                      line->args[0]);
    if (err == TP_OK)
        err = tportctl_call(line, "resources.rm", json_pack("{s:s, s:s}", "kind", kind, "name", name), &result, error);
    if (err == TP_OK && single) {
        (void)printf("%s has been reset to its defaults\n", kind);
    } else if (err == TP_OK) {
        (void)printf("%s \"", kind);
        output_safe(name);
        (void)printf("\" has been deleted\n");
    }
    json_decref(result);
    mem_free(name);
    return err;
}

/* tport kube ls and login, and what tport login and logout do to kubectl's configuration. */
#include "base/buf.h"
#include "base/mem.h"
#include "cli/common/file.h"
#include "cli/common/mfa.h"
#include "cli/common/output.h"
#include "cli/common/session_list.h"
#include "cli/common/sni.h"
#include "cli/common/table.h"
#include "cli/tport/kubeconfig.h"
#include "cli/tport/kubeconfig_file.h"
#include "cli/tport/tport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CAS_MAX ((size_t)1024 * 1024)
#define NAMES_SHOWN 10 /* clusters that a hint names */

/* What goes into the kubeconfig. */
struct change {
    const struct profile *profile;
    const json_t *items;    /* of kube.list */
    const char *select;     /* the Kubernetes cluster whose context becomes the current one, or NULL */
    const char *template;   /* of context names, or NULL */
    const char *name_space; /* or NULL */
    const char *as;         /* or NULL */
    json_t *as_groups;
    bool lenient; /* an entry of somebody else's is a warning */
    char *program;
    char *home; /* TPORT_HOME for the plug-in, or NULL */
    struct buf cas;
};

static enum tp_err change_open(struct change *change, const struct profile *profile, struct tp_error *error)
{
    const char *home = command_env("HOME");
    *change = (struct change){.profile = profile};
    buf_init(&change->cas, CAS_MAX);
    change->program = file_own_path();
    /* kubectl may run in another directory. */
    if (home)
        change->home = realpath(profile->home, NULL);
    return file_read(profile->cas, &change->cas, error);
}

static void change_close(struct change *change)
{
    buf_free(&change->cas);
    json_decref(change->as_groups);
    mem_free(change->program);
    free(change->home);
}

static const char *item_name(const json_t *item)
{
    return json_get_text(item, "name", "");
}

static enum tp_err put_item(json_t *config, struct change *change, const char *kube, struct tp_error *error)
{
    char *server_name = NULL, *context = NULL;
    enum tp_err err = sni_for_kube(kube, change->profile->cluster, &server_name, error);
    if (err == TP_OK && change->template)
        err = kubeconfig_context_name(change->template, change->profile->cluster, kube, &context, error);
    if (err == TP_OK) {
        const struct kubeconfig_target target = {.teleport = change->profile->cluster,
                                                 .kube = kube,
                                                 .context = context,
                                                 .proxy = change->profile->address,
                                                 .server_name = server_name,
                                                 .cas = buf_text(&change->cas),
                                                 .program = change->program,
                                                 .home = change->home,
                                                 .name_space = change->name_space,
                                                 .as = change->as,
                                                 .as_groups = change->as_groups};
        err = kubeconfig_put(config, &target, error);
    }
    if (err == TP_OK && change->select && strcmp(change->select, kube) == 0) {
        char *name = context ? mem_strdup(context) : mem_printf("%s-%s", change->profile->cluster, kube);
        kubeconfig_select(config, name);
        mem_free(name);
    }
    mem_free(server_name);
    mem_free(context);
    return err;
}

static enum tp_err put_items(json_t *config, void *context, struct tp_error *error)
{
    struct change *change = context;
    size_t index;
    json_t *item;
    json_array_foreach (change->items, index, item) {
        enum tp_err err = put_item(config, change, item_name(item), error);
        if (err == TP_EXISTS && change->lenient)
            (void)fprintf(stderr, "WARNING: %s\n", error ? error->text : "");
        else if (err != TP_OK)
            return err;
    }
    return TP_OK;
}

char *tport_kube_selected(const struct profile *profile, const char *option)
{
    char *path = kubeconfig_path(option);
    json_t *config = NULL;
    char *name = NULL;
    if (path && kubeconfig_read(path, &config, NULL) == TP_OK) {
        const char *found = kubeconfig_selected(config, profile->address);
        name = found ? mem_strdup(found) : NULL;
        json_decref(config);
    }
    mem_free(path);
    return name;
}

static json_t *listing(const json_t *items, const struct profile *profile, const char *selected, bool all)
{
    json_t *list = json_array(), *item;
    size_t index;
    json_array_foreach (items, index, item) {
        json_t *labels = json_object_get(item, "labels");
        json_t *entry = json_object();
        if (all) {
            (void)json_object_set_new(entry, "proxy", json_string(profile->host));
            (void)json_object_set_new(entry, "cluster", json_string(profile->cluster));
        }
        (void)json_object_set_new(entry, "kube_cluster_name", json_string(item_name(item)));
        (void)json_object_set_new(entry, "labels", labels ? json_incref(labels) : json_object());
        (void)json_object_set_new(entry, "selected", json_boolean(selected && strcmp(selected, item_name(item)) == 0));
        (void)json_object_set_new(entry, "online", json_boolean(json_get_bool(item, "online", true)));
        (void)json_array_append_new(list, entry);
    }
    return list;
}

static void print_table(const json_t *items, const struct profile *profile, const char *selected,
                        const struct command_line *line)
{
    static const char *const titles[] = {"Proxy", "Cluster", "Kube Cluster Name", "Labels", "Selected", NULL};
    bool all = command_flag(line, "all"), quiet = command_flag(line, "quiet");
    size_t first = all ? 0 : 2, index;
    struct table *table = table_new(titles + first, command_flag(line, "verbose") ? -1 : 3 - (int)first);
    json_t *item;
    json_array_foreach (items, index, item) {
        bool online = json_get_bool(item, "online", true);
        char *labels = output_labels(json_object_get(item, "labels"));
        char *name = mem_printf("%s%s", item_name(item), online ? "" : " (offline)");
        const char *cells[] = {profile->host, profile->cluster, name, labels,
                               selected && strcmp(selected, item_name(item)) == 0 ? "*" : ""};
        table_add(table, cells + first);
        mem_free(labels);
        mem_free(name);
    }
    if (quiet) { /* rows only, for scripts */
        char *text = table_text(table, 0);
        const char *rows = strchr(text, '\n');
        rows = rows ? strchr(rows + 1, '\n') : NULL;
        (void)fputs(rows ? rows + 1 : "", stdout);
        mem_free(text);
        table_free(table);
        return;
    }
    table_print(table);
    (void)printf("\n");
}

static void print_listing(const json_t *items, const struct profile *profile, const struct command_line *line,
                          const char *format)
{
    char *selected = tport_kube_selected(profile, command_text(line, "kubeconfig", NULL));
    json_t *list = listing(items, profile, selected, command_flag(line, "all")), *item;
    size_t index;
    if (strcmp(format, "json") == 0) {
        output_json(list);
    } else if (strcmp(format, "yaml") == 0) {
        output_yaml(list, false);
    } else if (strcmp(format, "names") == 0) {
        json_array_foreach (items, index, item) {
            output_safe(item_name(item));
            (void)printf("\n");
        }
    } else {
        print_table(items, profile, selected, line);
    }
    json_decref(list);
    mem_free(selected);
}

enum tp_err tport_kube_ls(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", "names", NULL};
    struct profile profile = {0};
    struct api *api = NULL;
    json_t *items = NULL, *params = NULL;
    const char *format;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = output_list_params(line, &params, error);
    if (err == TP_OK)
        err = tport_open(line, &profile, &api, error);
    if (err == TP_OK)
        err = api_list(api, "kube.list", json_incref(params), 0, &items, error);
    if (err == TP_OK)
        print_listing(items, &profile, line, format);
    json_decref(params);
    json_decref(items);
    api_close(api);
    profile_free(&profile);
    return err;
}

/* "there is no ... ; you may reach: a, b" */
static enum tp_err unknown_cluster(const json_t *items, const char *name, struct tp_error *error)
{
    struct buf out;
    size_t index;
    json_t *item;
    buf_init(&out, 0);
    json_array_foreach (items, index, item) {
        if (index < NAMES_SHOWN)
            (void)buf_printf(&out, "%s%s", index ? ", " : "; you may reach: ", item_name(item));
    }
    if (json_array_size(items) > NAMES_SHOWN)
        (void)buf_append_text(&out, ", … (see \"tport kube ls\")");
    if (json_array_size(items) == 0)
        (void)buf_append_text(&out, "; you may reach none at all");
    enum tp_err err =
        err_set(error, TP_NOT_FOUND, "the Kubernetes cluster \"%s\" was not found%s", name, buf_text(&out));
    buf_free(&out);
    return err;
}

static const json_t *find_item(const json_t *items, const char *name)
{
    size_t index;
    json_t *item;
    json_array_foreach (items, index, item) {
        if (strcmp(item_name(item), name) == 0)
            return item;
    }
    return NULL;
}

static enum tp_err write_file(struct change *change, const char *option, char **ret_path, struct tp_error *error)
{
    *ret_path = kubeconfig_path(option);
    if (!*ret_path)
        return err_set(error, TP_INVALID, "where is the kubeconfig? Set HOME or KUBECONFIG, or give --kubeconfig");
    return kubeconfig_edit(*ret_path, put_items, change, error);
}

/* A kubeconfig of its own with key and certificate inside, for machines without tport. */
static enum tp_err write_static(const struct command_line *line, const struct change *change, const char *kube,
                                struct tp_error *error)
{
    const char *out = command_text(line, "out", NULL);
    struct buf cert, key;
    char *server_name = NULL, *context = NULL;
    json_t *config = json_object();

    buf_init(&cert, CAS_MAX);
    buf_init(&key, CAS_MAX);
    enum tp_err err = file_read(change->profile->tls_cert, &cert, error);
    if (err == TP_OK)
        err = file_read(change->profile->tls_key, &key, error);
    if (err == TP_OK)
        err = sni_for_kube(kube, change->profile->cluster, &server_name, error);
    if (err == TP_OK && change->template)
        err = kubeconfig_context_name(change->template, change->profile->cluster, kube, &context, error);
    if (err == TP_OK && out && file_exists(out) && !command_flag(line, "overwrite"))
        err = err_set(error, TP_EXISTS, "%s is there already; --overwrite replaces it", out);
    if (err == TP_OK) {
        char *name = context ? mem_strdup(context) : mem_printf("%s-%s", change->profile->cluster, kube);
        const struct kubeconfig_target target = {.teleport = change->profile->cluster,
                                                 .kube = kube,
                                                 .context = name,
                                                 .proxy = change->profile->address,
                                                 .server_name = server_name,
                                                 .cas = buf_text((struct buf *)(uintptr_t)&change->cas),
                                                 .name_space = change->name_space,
                                                 .as = change->as,
                                                 .as_groups = change->as_groups,
                                                 .cert = buf_text(&cert),
                                                 .key = buf_text(&key)};
        err = kubeconfig_put(config, &target, error);
        kubeconfig_select(config, name);
        mem_free(name);
    }
    if (err == TP_OK) {
        char *text = kubeconfig_text(config);
        if (out)
            err = file_write_text(out, text, error);
        else
            (void)fputs(text, stdout);
        secret_free(text);
    }
    if (err == TP_OK && out)
        (void)printf("The kubeconfig has been written to %s; it holds your key and ends with your certificate.\n", out);
    buf_wipe(&cert);
    buf_wipe(&key);
    json_decref(config);
    mem_free(server_name);
    mem_free(context);
    return err;
}

/* The options of kube login that end up in the kubeconfig. */
static enum tp_err take_options(const struct command_line *line, struct change *change, struct tp_error *error)
{
    change->template = command_text(line, "set-context-name", NULL);
    change->name_space = command_text(line, "kube-namespace", NULL);
    change->as = command_text(line, "as", NULL);
    change->as_groups = json_array();
    for (size_t i = 0; command_nth(line, "as-groups", i); i++) {
        json_t *groups = output_split(command_nth(line, "as-groups", i));
        (void)json_array_extend(change->as_groups, groups);
        json_decref(groups);
    }
    if (command_flag(line, "all") && change->template && !strstr(change->template, "{{.KubeName}}"))
        return err_set(error, TP_INVALID, "--set-context-name with --all must hold {{.KubeName}}, or all would be one");
    return TP_OK;
}

/* As Kubernetes wants it (RFC 1123): kubectl would find out only with the first request. */
static bool is_namespace(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    size_t length = strlen(name);
    return length > 0 && length <= 63 && strspn(name, letters) == length && name[0] != '-' && name[length - 1] != '-';
}

static enum tp_err check_usage(const struct command_line *line, struct tp_error *error)
{
    bool all = command_flag(line, "all"), fixed = command_flag(line, "static");
    const char *name_space = command_text(line, "kube-namespace", NULL);
    if (all == (line->arg_count > 0))
        return err_set(error, TP_INVALID, "give the name of a Kubernetes cluster (see \"tport kube ls\"), or --all");
    if (fixed && all)
        return err_set(error, TP_INVALID, "--static is for one cluster");
    if (!fixed && (command_text(line, "out", NULL) || command_flag(line, "overwrite")))
        return err_set(error, TP_INVALID, "--out and --overwrite belong to --static");
    if (name_space && !is_namespace(name_space))
        return err_set(error, TP_INVALID,
                       "\"%s\" can't be a namespace: lower-case letters, digits and \"-\" inside, at most 63",
                       name_space);
    if (command_nth(line, "as-groups", 0) && !command_text(line, "as", NULL))
        return err_set(error, TP_INVALID,
                       "--as-groups needs --as: kubectl acts in groups only as a user that it is told");
    return TP_OK;
}

/* Who logs in to a cluster again after his roles have changed gets a kubectl that asks for codes. */
static void refresh_mfa(struct api *api, struct profile *profile)
{
    json_t *status = NULL;
    struct tp_error ignored = {0};
    if (profile->mfa_never && api_rpc(api, "user.status", json_object(), &status, &ignored) == TP_OK &&
        strcmp(json_get_text(status, "session_mfa", "never"), "never") != 0)
        profile_note_mfa(profile);
    json_decref(status);
}

static enum tp_err refuse_static(struct api *api, const char *name, struct tp_error *error)
{
    if (!mfa_required(api, &(struct mfa_target){.kube = name}))
        return TP_OK;
    return err_set(
        error, TP_MFA_NEEDED,
        "the cluster %s asks for a one-time code before each session, and a file can't give one; use \"tport "
        "kube login %s\" without --static",
        name, name);
}

static void say_logged_in(const char *name, const json_t *item, const char *path, size_t count)
{
    if (!name) {
        (void)printf("%zu Kubernetes clusters are in %s now. Choose one with \"kubectl config use-context\" or \"tport "
                     "kube login NAME\".\n",
                     count, path);
        return;
    }
    char *safe = text_safe(name);
    (void)printf("Logged into Kubernetes cluster \"%s\". Try \"kubectl version\" to test the connection.\n", safe);
    if (!json_get_bool(item, "online", true))
        (void)fprintf(stderr, "WARNING: the cluster \"%s\" is offline now\n", safe);
    mem_free(safe);
}

enum tp_err tport_kube_login(struct command_line *line, struct tp_error *error)
{
    struct profile profile = {0};
    struct api *api = NULL;
    struct change change = {0};
    json_t *all_items = NULL, *items = json_array();
    const json_t *item = NULL;
    const char *name = line->arg_count > 0 ? line->args[0] : NULL;
    char *path = NULL;

    enum tp_err err = check_usage(line, error);
    if (err == TP_OK)
        err = tport_open(line, &profile, &api, error);
    if (err == TP_OK)
        err = change_open(&change, &profile, error);
    if (err == TP_OK)
        err = take_options(line, &change, error);
    if (err == TP_OK)
        err = api_list(api, "kube.list", json_object(), 0, &all_items, error);
    if (err == TP_OK && name) {
        item = find_item(all_items, name);
        if (item)
            (void)json_array_append(items, (json_t *)(uintptr_t)item);
        else
            err = unknown_cluster(all_items, name, error);
    }
    change.items = name ? items : all_items;
    change.select = name;
    if (err == TP_OK)
        refresh_mfa(api, &profile);
    if (err == TP_OK && command_flag(line, "static")) {
        err = refuse_static(api, name, error);
        if (err == TP_OK)
            err = write_static(line, &change, name, error);
    } else if (err == TP_OK) {
        err = write_file(&change, command_text(line, "kubeconfig", NULL), &path, error);
        if (err == TP_OK)
            say_logged_in(name, item, path, json_array_size(all_items));
    }
    mem_free(path);
    change_close(&change);
    json_decref(items);
    json_decref(all_items);
    api_close(api);
    profile_free(&profile);
    return err;
}

enum tp_err tport_kube_sessions(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", NULL};
    struct profile profile = {0};
    struct api *api = NULL;
    json_t *items = NULL, *kube = json_array(), *item;
    const char *format;
    size_t index;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = tport_open(line, &profile, &api, error);
    if (err == TP_OK)
        err = api_list(api, "sessions.list", json_object(), 0, &items, error);
    json_array_foreach (items, index, item) {
        const char *kind = json_get_text(item, "kind", "ssh");
        if (strcmp(kind, "k8s") == 0 || strcmp(kind, "kube") == 0)
            (void)json_array_append(kube, item);
    }
    if (err == TP_OK)
        session_list_print(kube, format, true);
    json_decref(kube);
    json_decref(items);
    api_close(api);
    profile_free(&profile);
    return err;
}

enum tp_err tport_kube_after_login(const struct profile *profile, const char *select, struct tp_error *error)
{
    struct api *api = NULL;
    struct change change = {0};
    json_t *items = NULL;
    char *path = NULL;

    enum tp_err err = change_open(&change, profile, error);
    if (err == TP_OK)
        err = api_open_profile(profile, &api, error);
    if (err == TP_OK)
        err = api_list(api, "kube.list", json_object(), 0, &items, error);
    if (err == TP_OK && select && !find_item(items, select))
        err = unknown_cluster(items, select, error);
    change.items = items;
    change.select = select;
    change.lenient = true;
    if (err == TP_OK && json_array_size(items) > 0)
        err = write_file(&change, NULL, &path, error);
    mem_free(path);
    change_close(&change);
    json_decref(items);
    api_close(api);
    return err;
}

static enum tp_err remove_entries(json_t *config, void *context, struct tp_error *error)
{
    const struct profile *profile = context;
    (void)error;
    (void)kubeconfig_remove(config, profile->address);
    return TP_OK;
}

enum tp_err tport_kube_logout(struct profile *profile, struct tp_error *error)
{
    char *path = kubeconfig_path(NULL);
    enum tp_err err = TP_OK;
    if (path && file_exists(path))
        err = kubeconfig_edit(path, remove_entries, profile, error);
    mem_free(path);
    return err;
}

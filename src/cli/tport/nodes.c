/* tport ls, and finding nodes by label. */
#include "base/buf.h"
#include "base/mem.h"
#include "cli/common/output.h"
#include "cli/common/table.h"
#include "cli/common/identity_file.h"
#include "cli/tport/tport.h"
#include "cli/tport/trust.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HINT_LABELS 20 /* labels named in a hint */

enum tp_err tport_mfa_mode(const struct command_line *line, struct tp_error *error)
{
    const char *mode = command_text(line, "mfa-mode", "auto");
    if (strcmp(mode, "auto") == 0 || strcmp(mode, "otp") == 0)
        return TP_OK;
    return err_set(error, TP_INVALID,
                   "--mfa-mode=%s: second factors are one-time codes here; take otp, or leave it out", mode);
}

enum tp_err tport_profile(const struct command_line *line, struct profile *ret_profile, struct tp_error *error)
{
    const char *proxy = command_text_env(line, "proxy", "PROXY", NULL);
    const char *file = command_text_env(line, "identity", "IDENTITY_FILE", NULL);
    enum tp_err err = tport_mfa_mode(line, error);
    if (err == TP_OK && file)
        err = identity_file_use(file, proxy, error);
    /* What is started from here finds it as its profile. */
    (void)unsetenv("TPORT_IDENTITY_FILE");
    (void)unsetenv("TELEPORT_IDENTITY_FILE");
    char *home = profile_home();
    if (err == TP_OK)
        err = profile_load(home, proxy, ret_profile, error);
    /* The variable is of the proxy of "tport env", and not of one that is named here. */
    const char *cluster = command_text(line, "proxy", NULL) ? command_text(line, "cluster", NULL)
                                                            : command_text_env(line, "cluster", "CLUSTER", NULL);
    if (err == TP_OK && cluster && strcmp(cluster, ret_profile->cluster) != 0)
        err = err_set(error, TP_NOT_FOUND, "this profile is for the cluster %s, not %s", ret_profile->cluster, cluster);
    if (err == TP_OK)
        err = profile_check_valid(ret_profile, error);
    mem_free(home);
    return err;
}

enum tp_err tport_open(const struct command_line *line, struct profile *ret_profile, struct api **ret_api,
                       struct tp_error *error)
{
    *ret_api = NULL;
    enum tp_err err = tport_profile(line, ret_profile, error);
    if (err == TP_OK)
        err = api_open_profile(ret_profile, ret_api, error);
    if (err == TP_OK)
        trust_refresh(*ret_api, ret_profile);
    return err;
}

enum tp_err tport_nodes(struct api *api, const json_t *labels, json_t **ret_nodes, struct tp_error *error)
{
    json_t *params = json_object();
    if (labels)
        (void)json_object_set(params, "labels", (json_t *)(uintptr_t)labels);
    return api_list(api, "nodes.list", params, 0, ret_nodes, error);
}

/* All "key=value" of key (or, for NULL, all keys) that the nodes have, as keys of an object. */
static json_t *labels_seen(const json_t *nodes, const json_t *wanted, bool keys)
{
    json_t *seen = json_object();
    size_t index;
    json_t *node, *value;
    const char *key;
    json_array_foreach (nodes, index, node) {
        json_t *labels = output_node_labels(node);
        json_object_foreach (labels, key, value) {
            char *text = keys ? mem_strdup(key)
                              : mem_printf("%s=%s", key, json_is_string(value) ? json_string_value(value) : "");
            if (keys || json_object_get(wanted, key))
                (void)json_object_set_new(seen, text, json_true());
            mem_free(text);
        }
        json_decref(labels);
    }
    return seen;
}

char *tport_labels_hint(const json_t *wanted, const json_t *all_nodes)
{
    struct buf out;
    char *asked = output_labels(wanted);
    json_t *seen = labels_seen(all_nodes, wanted, false);
    const char *title = "labels seen";
    const char *key;
    json_t *value;
    size_t count = 0;

    if (json_object_size(seen) == 0) {
        json_decref(seen);
        seen = labels_seen(all_nodes, wanted, true);
        title = "label names seen";
    }
    buf_init(&out, 0);
    (void)buf_printf(&out, "nothing matches %s; ", asked);
    if (json_array_size(all_nodes) == 0)
        (void)buf_append_text(&out, "you may reach no host at all");
    else if (json_object_size(seen) == 0)
        (void)buf_append_text(&out, "the hosts have no labels");
    else
        (void)buf_printf(&out, "%s: ", title);
    json_object_foreach (seen, key, value) {
        if (count < HINT_LABELS)
            (void)buf_printf(&out, "%s%s", count ? ", " : "", key);
        count++;
    }
    if (count > HINT_LABELS)
        (void)buf_append_text(&out, ", …");
    json_decref(seen);
    mem_free(asked);
    char *raw = buf_take(&out);
    char *safe = text_safe(raw);
    mem_free(raw);
    return safe;
}

static const char *node_address(const json_t *node)
{
    const char *address = output_text_at(node, "spec.addr");
    if (*address && !json_is_true(output_at(node, "spec.use_tunnel")))
        return address;
    return "⟵ Tunnel";
}

static void print_table(const json_t *nodes, bool verbose)
{
    static const char *const titles[] = {"Node Name", "Address", "Labels", NULL};
    static const char *const long_titles[] = {"Node Name", "Node ID", "Address", "State", "Version", "Labels", NULL};
    struct table *table = table_new(verbose ? long_titles : titles, verbose ? -1 : 2);
    size_t index;
    json_t *node;

    json_array_foreach (nodes, index, node) {
        json_t *labels = output_node_labels(node);
        char *text = output_labels(labels);
        const char *name = output_text_at(node, "spec.hostname");
        bool online = json_get_bool(node, "online", true);
        char *short_name = online || verbose ? mem_strdup(name) : mem_printf("%s (offline)", name);
        if (verbose) {
            const char *cells[] = {name,
                                   output_text_at(node, "metadata.name"),
                                   node_address(node),
                                   online ? "online" : "offline",
                                   output_text_at(node, "spec.version"),
                                   text};
            table_add(table, cells);
        } else {
            const char *cells[] = {short_name, node_address(node), text};
            table_add(table, cells);
        }
        mem_free(short_name);
        mem_free(text);
        json_decref(labels);
    }
    table_print(table);
    (void)printf("\n");
}

static void print_nodes(const json_t *nodes, const char *format, bool verbose)
{
    size_t index;
    json_t *node;
    if (strcmp(format, "json") == 0) {
        output_json(nodes);
    } else if (strcmp(format, "yaml") == 0) {
        output_yaml(nodes, false);
    } else if (strcmp(format, "names") == 0) {
        json_array_foreach (nodes, index, node) {
            output_safe(output_text_at(node, "spec.hostname"));
            (void)printf("\n");
        }
    } else {
        print_table(nodes, verbose);
    }
}

enum tp_err tport_ls(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", "names", NULL};
    struct profile profile = {0};
    struct api *api = NULL;
    const char *format;
    json_t *params = NULL, *nodes = NULL, *all = NULL;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = output_list_params(line, &params, error);
    if (err == TP_OK)
        err = tport_open(line, &profile, &api, error);
    if (err == TP_OK && !command_flag(line, "verbose") && (strcmp(format, "text") == 0 || strcmp(format, "names") == 0))
        (void)json_object_set_new(params, "brief", json_true());
    if (err == TP_OK)
        err = api_list(api, "nodes.list", json_incref(params), 0, &nodes, error);
    if (err == TP_OK) {
        const json_t *labels = json_object_get(params, "labels");
        print_nodes(nodes, format, command_flag(line, "verbose"));
        if (json_array_size(nodes) == 0 && json_object_size(labels) > 0 &&
            tport_nodes(api, NULL, &all, NULL) == TP_OK) {
            char *hint = tport_labels_hint(labels, all);
            (void)fprintf(stderr, "%s\n", hint);
            mem_free(hint);
        }
    }
    json_decref(params);
    json_decref(nodes);
    json_decref(all);
    api_close(api);
    profile_free(&profile);
    return err;
}

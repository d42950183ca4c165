/* tportctl nodes, kube and tokens. */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/common/output.h"
#include "cli/common/table.h"
#include "cli/tportctl/tportctl.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TOKEN_TTL_MS (30 * INT64_C(60000))

static json_t *token_params(const char *roles, int64_t ttl_ms, const char *value, json_t *labels)
{
    json_t *params = json_object();
    (void)json_object_set_new(params, "roles", output_split(roles));
    (void)json_object_set_new(params, "ttl", json_integer(ttl_ms));
    if (value)
        (void)json_object_set_new(params, "value", json_string(value));
    if (labels && json_object_size(labels) > 0)
        (void)json_object_set(params, "labels", labels);
    return params;
}

static char *roles_text(const json_t *result, const char *asked)
{
    const json_t *roles = json_object_get(result, "roles");
    return json_array_size(roles) > 0 ? output_list(roles, ",") : mem_strdup(asked);
}

static bool has_role(const char *roles, const char *role)
{
    json_t *list = output_split(roles);
    size_t index;
    json_t *item;
    bool found = false;
    json_array_foreach (list, index, item)
        found = found || strcasecmp(json_string_value(item), role) == 0;
    json_decref(list);
    return found;
}

/* Where Helm's chart is: installed beside the program, or in the tree. Owned by the caller. */
static char *chart_path(void)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[length > 0 ? length : 0] = '\0';
    for (int up = 0; up < 2; up++) { /* bin/tportctl */
        char *slash = strrchr(path, '/');
        if (slash)
            *slash = '\0';
    }
    char *chart = mem_printf("%s/share/tport/helm/tport-kube-agent", path);
    if (access(chart, R_OK) == 0)
        return chart;
    mem_free(chart);
    return mem_strdup("deploy/helm/tport-kube-agent");
}

static void print_expiry(const char *what, int64_t ttl_ms)
{
    bool short_lived = ttl_ms < 120000;
    int64_t unit = short_lived ? 1000 : 60000;
    long long count = (long long)((ttl_ms + unit - 1) / unit);
    (void)printf("%s will expire in %lld %s%s.\n", what, count, short_lived ? "second" : "minute",
                 count == 1 ? "" : "s");
}

/* The next step for a Kubernetes cluster: as a pod (the values of Teleport's chart teleport-kube-agent), or beside it. */
static void print_kube_lines(const char *address, const char *pin, const char *token, const char *roles, int64_t ttl_ms)
{
    const char *proxy = address ? address : "PROXY-HOST:443";
    char *chart = chart_path();
    (void)printf("The invite token: ");
    output_safe(token);
    print_expiry("\nThis token", ttl_ms);
    (void)printf("\nInside the Kubernetes cluster, with Helm:\n\n");
    (void)printf("> helm install tport-agent %s \\\n   --set kubeClusterName=NAME \\\n   --set proxyAddr=%s \\\n"
                 "   --set authToken=%s \\\n",
                 chart, proxy, token);
    if (pin)
        (void)printf("   --set 'caPin[0]=%s' \\\n", pin);
    (void)printf("   --create-namespace --namespace=tport-agent\n\nOr on a machine with a kubeconfig file for it:\n\n");
    (void)printf("> tportd node configure \\\n   --roles=%s \\\n   --proxy=%s \\\n   --token=%s \\\n", roles, proxy,
                 token);
    if (pin)
        (void)printf("   --ca-pin=%s \\\n", pin);
    (void)printf("   --kubeconfig-file=FILE \\\n   -o /etc/tport/tport.conf\n> tportd -c /etc/tport/tport.conf\n");
    (void)printf("\nPlease note:\n\n"
                 "  - NAME is how people will call the cluster; the contexts of FILE bring\n"
                 "    their own names.\n"
                 "  - The chart is deploy/helm/tport-kube-agent of tport's source; beside it is\n"
                 "    a plain manifest for clusters without Helm. Its image comes from\n"
                 "    deploy/container/make-image; --set image=NAME says where it is.\n"
                 "  - Each new pod joins with the token, which must live as long as they come\n"
                 "    (--ttl=10000h); with --set storage.enabled=true the chart keeps the\n"
                 "    agent's identity on a volume instead.\n");
    (void)printf("  - %s must be reachable from there.\n", address ? address : "The proxy");
    mem_free(chart);
}

/* What a person does next with the token. */
static void print_start_line(struct api *api, const char *address, const char *token, const char *roles, int64_t ttl_ms)
{
    json_t *status = NULL;
    const char *pin = NULL;
    if (api_rpc(api, "cluster.status", json_object(), &status, NULL) == TP_OK)
        pin = json_string_value(json_array_get(json_object_get(status, "ca_pins"), 0));
    if (!address && *json_get_text(status, "public_addr", "")) /* beside auth no profile names the proxy */
        address = json_get_text(status, "public_addr", NULL);
    if (has_role(roles, "kube")) {
        print_kube_lines(address, pin, token, roles, ttl_ms);
        json_decref(status);
        return;
    }
    (void)printf("The invite token: ");
    output_safe(token);
    print_expiry("\nThis token", ttl_ms);
    (void)printf("\nRun this on the new node to join the cluster:\n\n");
    (void)printf("> tportd node configure \\\n");
    if (strcmp(roles, "node") != 0)
        (void)printf("   --roles=%s \\\n", roles);
    (void)printf("   --proxy=%s \\\n   --token=%s \\\n", address ? address : "PROXY-HOST:443", token);
    if (pin)
        (void)printf("   --ca-pin=%s \\\n", pin);
    (void)printf("   -o /etc/tport/tport.conf\n> tportd -c /etc/tport/tport.conf\n\nPlease note:\n\n");
    print_expiry("  - This invitation token", ttl_ms);
    (void)printf("  - %s must be reachable from the new node.\n", address ? address : "The proxy");
    json_decref(status);
}

enum tp_err tportctl_nodes_add(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", NULL};
    const char *roles = command_text(line, "roles", "node");
    const char *format, *token = NULL;
    char *address = NULL;
    struct api *api = NULL;
    json_t *result = NULL;
    int64_t ttl;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = command_duration_ms(line, "ttl", TOKEN_TTL_MS, &ttl, error);
    if (err == TP_OK)
        err = tportctl_open(line, &api, &address, error);
    if (err == TP_OK)
        err = api_rpc(api, "tokens.add", token_params(roles, ttl, command_text(line, "token", NULL), NULL), &result,
                      error);
    if (err == TP_OK)
        err = json_need_text(result, "token", &token, error);
    if (err == TP_OK && strcmp(format, "json") == 0) {
        json_t *list = json_pack("[s]", token);
        char *text = json_text(list);
        (void)printf("%s\n", text);
        mem_free(text);
        json_decref(list);
    } else if (err == TP_OK) {
        char *granted = roles_text(result, roles);
        print_start_line(api, address, token, granted, ttl);
        mem_free(granted);
    }
    json_decref(result);
    api_close(api);
    mem_free(address);
    return err;
}

static int by_host(const json_t *left, const json_t *right)
{
    int order = strcmp(output_text_at(left, "spec.hostname"), output_text_at(right, "spec.hostname"));
    return order != 0 ? order : strcmp(output_text_at(left, "metadata.name"), output_text_at(right, "metadata.name"));
}

/* Those that registered themselves, and those without an agent that somebody wrote. params is stolen. */
static enum tp_err list_nodes(struct command_line *line, json_t *params, json_t **ret_items, struct tp_error *error)
{
    struct api *api = NULL;
    json_t *items = NULL, *written = NULL;
    json_t *more = json_copy(params);
    (void)json_object_set_new(more, "sub_kind", json_string("openssh"));
    enum tp_err err = tportctl_open(line, &api, NULL, error);
    if (err == TP_OK)
        err = api_list(api, "nodes.list", json_incref(params), 0, &items, error);
    if (err == TP_OK)
        err = api_list(api, "nodes.list", json_incref(more), 0, &written, error);
    if (err == TP_OK) {
        (void)json_array_extend(items, written);
        json_array_sort(items, by_host);
        *ret_items = json_incref(items);
    }
    json_decref(params);
    json_decref(more);
    json_decref(items);
    json_decref(written);
    api_close(api);
    return err;
}

void tportctl_print_nodes(json_t *nodes, bool wide, bool presence)
{
    const char *const titles[] = {
        "Host", "UUID", "Public Address", "Labels", "Version", presence ? "Last Seen (UTC)" : NULL, NULL};
    static const struct table_cut cuts[] = {{4, 0}, {2, 0}, {-1, 0}};
    struct table *table = table_new(titles, wide ? -1 : 3);
    size_t index;
    json_t *item;

    json_array_sort(nodes, by_host);
    table_yield(table, cuts);
    json_array_foreach (nodes, index, item) {
        json_t *node_labels = output_node_labels(item);
        char *text = output_labels(node_labels);
        const char *address = output_text_at(item, "spec.addr");
        char *seen = output_time(json_get_text(item, "last_seen", "")); /* of one without an agent: nothing */
        const char *cells[] = {
            output_text_at(item, "spec.hostname"), output_text_at(item, "metadata.name"),
            *address ? address : "⟵ Tunnel",       text,
            output_text_at(item, "spec.version"),  json_get_bool(item, "online", false) ? "online" : seen};
        table_add(table, cells);
        mem_free(seen);
        mem_free(text);
        json_decref(node_labels);
    }
    table_print(table);
}

enum tp_err tportctl_nodes_ls(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", NULL};
    const char *format;
    json_t *params = NULL, *items = NULL;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = output_list_params(line, &params, error);
    if (err == TP_OK)
        (void)json_object_set_new(params, "all", json_boolean(command_flag(line, "all")));
    if (err == TP_OK)
        err = list_nodes(line, params, &items, error);
    if (err == TP_OK && strcmp(format, "json") == 0) {
        output_json(items);
    } else if (err == TP_OK && strcmp(format, "yaml") == 0) {
        output_yaml(items, true);
    } else if (err == TP_OK) {
        tportctl_print_nodes(items, command_flag(line, "verbose"), true);
    }
    json_decref(items);
    return err;
}

enum tp_err tportctl_kube_ls(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", NULL};
    static const char *const titles[] = {"Kube Cluster Name", "Host", "Labels", "Version", "Last Seen (UTC)", NULL};
    const char *format;
    json_t *items = NULL, *item;
    size_t index;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = tportctl_list(line, "resources.get", json_pack("{s:s}", "kind", "kube_server"), 0, &items, error);
    if (err == TP_OK && strcmp(format, "json") == 0) {
        output_json(items);
    } else if (err == TP_OK && strcmp(format, "yaml") == 0) {
        output_yaml(items, true);
    } else if (err == TP_OK) {
        struct table *table = table_new(titles, command_flag(line, "verbose") ? -1 : 2);
        json_array_foreach (items, index, item) {
            json_t *all = output_node_labels(item);
            char *labels = output_labels(all);
            char *seen = output_time(json_get_text(item, "last_seen", ""));
            const char *cells[] = {output_text_at(item, "metadata.name"), output_text_at(item, "spec.hostname"), labels,
                                   output_text_at(item, "spec.version"),
                                   json_get_bool(item, "online", false) ? "online" : seen};
            table_add(table, cells);
            mem_free(seen);
            mem_free(labels);
            json_decref(all);
        }
        table_print(table);
    }
    json_decref(items);
    return err;
}

enum tp_err tportctl_tokens_add(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"", "text", "json", NULL};
    const char *type = command_text(line, "type", NULL);
    const char *labels_text = command_text(line, "labels", NULL);
    const char *format, *token = NULL;
    char *address = NULL;
    json_t *labels = NULL, *result = NULL;
    struct api *api = NULL;
    int64_t ttl;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK && !type)
        err = err_set(error, TP_INVALID, "--type is needed, for example --type=node");
    if (err == TP_OK)
        err = command_duration_ms(line, "ttl", TOKEN_TTL_MS, &ttl, error);
    if (err == TP_OK && labels_text) {
        char *copy = mem_strdup(labels_text);
        err = output_parse_labels(&copy, 1, &labels, error);
        mem_free(copy);
    }
    if (err == TP_OK)
        err = tportctl_open(line, &api, &address, error);
    if (err == TP_OK)
        err = api_rpc(api, "tokens.add", token_params(type, ttl, command_text(line, "value", NULL), labels), &result,
                      error);
    if (err == TP_OK)
        err = json_need_text(result, "token", &token, error);
    if (err == TP_OK && strcmp(format, "json") == 0) {
        output_json(result);
    } else if (err == TP_OK && strcmp(format, "text") == 0) {
        output_safe(token);
        (void)printf("\n");
    } else if (err == TP_OK) {
        char *granted = roles_text(result, type);
        print_start_line(api, address, token, granted, ttl);
        mem_free(granted);
    }
    json_decref(labels);
    json_decref(result);
    api_close(api);
    mem_free(address);
    return err;
}

/* "02 Jan 06 15:04 UTC (29m59s)", or "never". mem_free it. */
static char *expiry_text(const char *rfc3339)
{
    int64_t ms;
    char when[64];
    struct tm utc;
    if (clock_parse_ms(rfc3339, &ms) != TP_OK)
        return mem_strdup("never");
    time_t seconds = (time_t)(ms / 1000);
    int64_t left = ms / 1000 - clock_wall();
    (void)gmtime_r(&seconds, &utc);
    (void)strftime(when, sizeof(when), "%d %b", &utc);
    if (left <= 0)
        return mem_printf("%s %02d %02d:%02d UTC (expired)", when, utc.tm_year % 100, utc.tm_hour, utc.tm_min);
    char *rest = output_seconds(left);
    char *text = mem_printf("%s %02d %02d:%02d UTC (%s)", when, utc.tm_year % 100, utc.tm_hour, utc.tm_min, rest);
    mem_free(rest);
    return text;
}

/* The next to end first; those that never do last. */
static int by_expiry(const json_t *left, const json_t *right)
{
    int64_t first, second;
    if (clock_parse_ms(output_text_at(left, "metadata.expires"), &first) != TP_OK)
        first = INT64_MAX;
    if (clock_parse_ms(output_text_at(right, "metadata.expires"), &second) != TP_OK)
        second = INT64_MAX;
    return (first > second) - (first < second);
}

/* Its own, or those that it suggests to who joins with it. */
static char *token_labels(const json_t *token)
{
    const json_t *own = output_at(token, "metadata.labels"), *suggested = output_at(token, "spec.suggested_labels");
    json_t *labels = json_object(), *value;
    const char *key;
    json_object_foreach ((json_t *)(uintptr_t)suggested, key, value) {
        char *list = json_is_array(value) ? output_list(value, "|") : mem_strdup(output_text_at(suggested, key));
        (void)json_object_set_new(labels, key, json_string(list));
        mem_free(list);
    }
    (void)json_object_update(labels, (json_t *)(uintptr_t)own);
    char *text = output_labels(labels);
    json_decref(labels);
    return text;
}

/* Tokens come masked: auth keeps a hash alone, so --with-secrets, which scripts may give, changes nothing. */
enum tp_err tportctl_tokens_ls(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"text", "json", "yaml", NULL};
    static const char *const titles[] = {"Token", "Type", "Labels", "Expiry Time (UTC)", NULL};
    const char *format;
    json_t *items = NULL, *item;
    size_t index;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK)
        err = tportctl_list(line, "resources.get", json_pack("{s:s}", "kind", "token"), 0, &items, error);
    if (err != TP_OK)
        return err;
    json_array_sort(items, by_expiry);
    if (strcmp(format, "json") == 0) {
        output_json(items);
    } else if (strcmp(format, "yaml") == 0) {
        output_yaml(items, true);
    } else if (json_array_size(items) == 0) {
        (void)printf("No active tokens found.\n");
    } else {
        struct table *table = table_new(titles, 2);
        json_array_foreach (items, index, item) {
            char *roles = output_list(output_at(item, "spec.roles"), ",");
            char *labels = token_labels(item);
            char *expiry = expiry_text(output_text_at(item, "metadata.expires"));
            const char *cells[] = {output_text_at(item, "metadata.name"), roles, labels, expiry};
            table_add(table, cells);
            mem_free(roles);
            mem_free(labels);
            mem_free(expiry);
        }
        table_print(table);
    }
    json_decref(items);
    return TP_OK;
}

enum tp_err tportctl_tokens_rm(struct command_line *line, struct tp_error *error)
{
    json_t *result = NULL;
    enum tp_err err = tportctl_call(line, "resources.rm",
                                    json_pack("{s:s, s:s}", "kind", "token", "name", line->args[0]), &result, error);
    if (err == TP_OK) {
        (void)printf("Token ");
        output_safe(line->args[0]);
        (void)printf(" has been deleted\n");
    }
    json_decref(result);
    return err;
}

/* Lists for web sessions in the shapes of Teleport's web API (behaviour.md 12.5), and the public CA certificates. */
#include "base/enc.h"
#include "base/mem.h"
#include "base/node.h"
#include "protocols/web/web_priv.h"

#include <stdlib.h>
#include <string.h>

#define WHOLE_LIST 5000 /* of who asks for no page */

enum tp_err web_check_cluster(const struct web_request *request, struct tp_error *error)
{
    if (strcmp(request->params[0], web_options(request)->cluster_name) != 0)
        return err_set(error, TP_NOT_FOUND, "there is no cluster %.200s here", request->params[0]);
    return TP_OK;
}

enum tp_err web_put_paging(const struct http_request *http, json_t *params, struct tp_error *error)
{
    const char *limit = http_request_param(http, "limit");
    const char *start = http_request_param(http, "startKey");
    if (limit && *limit) {
        char *end = NULL;
        long value = strtol(limit, &end, 10);
        if (*end != '\0' || value < 1 || value > 5000)
            return err_set(error, TP_INVALID, "\"limit\" must be a number from 1 to 5000");
        json_object_set_new(params, "limit", json_integer(value));
    }
    if (start && *start)
        json_object_set_new(params, "start_key", json_string(start));
    return TP_OK;
}

json_t *web_split(const char *text, const char *separators)
{
    json_t *list = json_array();
    while (*text) {
        size_t length;
        text += strspn(text, separators);
        length = strcspn(text, separators);
        if (length > 0)
            json_array_append_new(list, json_stringn(text, length));
        text += length;
    }
    return list;
}

void web_sites_finish(struct web_request *request, json_t *result)
{
    const struct web_options *options = web_options(request);
    json_t *site = json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", options->cluster_name, "status", "online",
                             "publicURL", options->public_addr, "proxyVersion", options->server_version, "authVersion",
                             options->server_version);
    json_t *sites = json_array();
    (void)result;
    json_array_append_new(sites, site);
    web_answer_json(request, 200, sites);
}

void web_put_text(const struct http_request *http, const char *name, json_t *params)
{
    const char *text = http_request_param(http, name);
    if (text && *text)
        json_object_set_new(params, name, json_string(text));
}

enum tp_err web_put_list(const struct http_request *http, const char *sort, json_t *params, struct tp_error *error)
{
    const char *search = http_request_param(http, "search");
    const char *labels = http_request_param(http, "labels");
    json_t *map = NULL;
    enum tp_err err = web_put_paging(http, params, error);
    if (err == TP_OK && labels && *labels)
        err = json_parse_object(labels, strlen(labels), strlen(labels), &map, error);
    if (err != TP_OK)
        return err;
    if (map)
        json_object_set_new(params, "labels", map);
    if (search && *search)
        json_object_set_new(params, "search", web_split(search, " ,"));
    json_object_set_new(params, "sort", json_string(sort));
    web_put_text(http, "sort", params);
    return TP_OK;
}

enum tp_err web_put_resources(const struct web_request *request, const char *kind, const char *sort,
                              json_t **ret_params, struct tp_error *error)
{
    json_t *params = json_pack("{s:s, s:i}", "kind", kind, "limit", WHOLE_LIST);
    enum tp_err err = web_put_list(web_http(request), sort, params, error);
    if (err != TP_OK) {
        json_decref(params);
        return err;
    }
    *ret_params = params;
    return TP_OK;
}

/* ?query&search&sort&limit&startKey, for nodes and Kubernetes clusters alike; auth does the work. */
enum tp_err web_nodes_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    const struct http_request *http = web_http(request);
    const char *search = http_request_param(http, "search");
    json_t *params = json_object();
    enum tp_err err = web_check_cluster(request, error);
    if (err == TP_OK)
        err = web_put_paging(http, params, error);
    if (err != TP_OK) {
        json_decref(params);
        return err;
    }
    if (search && *search)
        json_object_set_new(params, "search", web_split(search, " ,"));
    web_put_text(http, "query", params);
    web_put_text(http, "sort", params);
    *ret_params = params;
    return TP_OK;
}

static void add_tag(void *tags, const char *name, const char *value)
{
    json_array_append_new(tags, json_pack("{s:s, s:s}", "name", name, "value", value));
}

static int by_name(const json_t *left, const json_t *right)
{
    return strcmp(json_get_text(left, "name", ""), json_get_text(right, "name", ""));
}

static json_t *node_item(json_t *node, const char *cluster)
{
    json_t *metadata = json_object_get(node, "metadata");
    json_t *spec = json_object_get(node, "spec");
    json_t *logins = json_object_get(node, "logins");
    json_t *tags = json_array();
    const char *addr = json_get_text(spec, "addr", "");
    json_labels_each(json_object_get(metadata, "labels"), json_object_get(spec, "cmd_labels"), add_tag, tags);
    json_array_sort(tags, by_name);
    return json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:s, s:s, s:o, s:o}", "id", json_get_text(metadata, "name", ""),
                     "siteId", cluster, "hostname", json_get_text(spec, "hostname", ""), "addr", addr, "tunnel",
                     json_get_bool(spec, "use_tunnel", *addr == '\0'), "online", json_get_bool(node, "online", false),
                     "since", json_get_text(node, "online_since", ""), "lastSeen", json_get_text(node, "last_seen", ""),
                     "tags", tags, "sshLogins", json_is_array(logins) ? json_incref(logins) : json_array());
}

/* One page of a list; items is stolen. */
static void answer_items(struct web_request *request, json_t *items, const json_t *result)
{
    web_answer_json(request, 200,
                    json_pack("{s:o, s:s, s:I}", "items", items, "startKey", json_get_text(result, "start_key", ""),
                              "totalCount",
                              (json_int_t)json_get_int(result, "total", (int64_t)json_array_size(items))));
}

void web_nodes_finish(struct web_request *request, json_t *result)
{
    json_t *items = json_array();
    json_t *node;
    size_t i;
    json_array_foreach (json_object_get(result, "items"), i, node)
        json_array_append_new(items, node_item(node, web_options(request)->cluster_name));
    answer_items(request, items, result);
}

static json_t *kube_item(const json_t *kube)
{
    static const char *const lists[] = {"kubernetes_users", "kubernetes_groups"};
    json_t *labels = json_array();
    json_t *item = json_pack("{s:s, s:o, s:b}", "name", json_get_text(kube, "name", ""), "labels", labels, "online",
                             json_get_bool(kube, "online", false));
    const char *name;
    json_t *value;
    json_object_foreach (json_object_get(kube, "labels"), name, value)
        add_tag(labels, name, json_is_string(value) ? json_string_value(value) : "");
    json_array_sort(labels, by_name);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        json_t *list = json_object_get(kube, lists[i]);
        json_object_set_new(item, lists[i], json_is_array(list) ? json_incref(list) : json_array());
    }
    return item;
}

void web_kubernetes_finish(struct web_request *request, json_t *result)
{
    json_t *items = json_array();
    json_t *kube;
    size_t i;
    json_array_foreach (json_object_get(result, "items"), i, kube)
        json_array_append_new(items, kube_item(kube));
    answer_items(request, items, result);
}

enum tp_err web_events_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    const struct http_request *http = web_http(request);
    const char *include = http_request_param(http, "include");
    const char *search = http_request_param(http, "search");
    const char *order = http_request_param(http, "order");
    json_t *params = json_object();
    enum tp_err err = web_check_cluster(request, error);
    if (err == TP_OK)
        err = web_put_paging(http, params, error);
    if (err != TP_OK) {
        json_decref(params);
        return err;
    }
    web_put_text(http, "from", params);
    web_put_text(http, "to", params);
    web_put_text(http, "user", params);
    if (include && *include)
        json_object_set_new(params, "types", web_split(include, ";"));
    if (search && *search)
        json_object_set_new(params, "text", json_string(search));
    json_object_set_new(params, "order", json_string(order && *order ? order : "desc"));
    *ret_params = params;
    return TP_OK;
}

void web_events_finish(struct web_request *request, json_t *result)
{
    json_t *items = json_object_get(result, "items");
    web_answer_json(request, 200,
                    json_pack("{s:o, s:s}", "events", items ? json_incref(items) : json_array(), "startKey",
                              json_get_text(result, "start_key", "")));
}

enum tp_err web_users_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    enum tp_err err = web_put_resources(request, "user", "name:asc", ret_params, error);
    if (err == TP_OK)
        json_object_set_new(*ret_params, "with_locks", json_true());
    return err;
}

void web_users_finish(struct web_request *request, json_t *result)
{
    json_t *users = json_array();
    json_t *user;
    size_t i;
    json_array_foreach (json_object_get(result, "items"), i, user) {
        json_t *spec = json_object_get(user, "spec");
        json_t *roles = json_object_get(spec, "roles");
        json_t *traits = json_object_get(spec, "traits");
        json_array_append_new(users, json_pack("{s:s, s:o, s:o, s:s, s:O*}", "name",
                                               json_get_text(json_object_get(user, "metadata"), "name", ""), "roles",
                                               roles ? json_incref(roles) : json_array(), "allTraits",
                                               traits ? json_incref(traits) : json_object(), "authType", "local",
                                               "locked", json_object_get(user, "locked")));
    }
    /* As Teleport's: all of them as a bare list for who asks for no page. */
    if (http_request_param(web_http(request), "limit"))
        answer_items(request, users, result);
    else
        web_answer_json(request, 200, users);
}

enum tp_err web_roles_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    return web_put_resources(request, "role", "name:asc", ret_params, error);
}

void web_roles_finish(struct web_request *request, json_t *result)
{
    json_t *roles = json_array();
    json_t *role;
    size_t i;
    json_array_foreach (json_object_get(result, "items"), i, role) {
        const char *name = json_get_text(json_object_get(role, "metadata"), "name", "");
        char *id = mem_printf("role:%s", name);
        char *yaml = node_yaml_from_json(role);
        json_array_append_new(
            roles, json_pack("{s:s, s:s, s:s, s:s}", "id", id, "kind", "role", "name", name, "content", yaml));
        mem_free(id);
        mem_free(yaml);
    }
    answer_items(request, roles, result);
}

/* Public CA certificates: "user" and "host" as OpenSSH lines, "tls-user", "tls-host" and "db" as PEM. */

static const char *export_type(const struct web_request *request)
{
    const char *type = http_request_param(web_http(request), "type");
    return type && *type ? type : "host";
}

enum tp_err web_export_begin(struct web_request *request, json_t **ret_params, struct tp_error *error)
{
    static const char *const types[] = {"user", "host", "tls-user", "tls-host", "db"};
    const char *type = export_type(request);
    *ret_params = NULL;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i], type) == 0)
            return TP_OK;
    }
    return err_set(error, TP_INVALID, "\"type\" must be user, host, tls-user, tls-host or db");
}

static void export_user(struct buf *out, const json_t *result, const char *cluster)
{
    json_t *line;
    size_t i;
    json_array_foreach (json_object_get(result, "user_ca_ssh"), i, line)
        (void)buf_printf(out, "cert-authority %s clustername=%s&type=user\n", json_string_value(line), cluster);
}

static void export_host(struct buf *out, const json_t *result, bool tls)
{
    json_t *signer;
    size_t i;
    json_array_foreach (json_object_get(result, "host_signers"), i, signer) {
        const char *name = json_get_text(signer, "domain_name", "");
        json_t *item;
        size_t j;
        json_array_foreach (json_object_get(signer, tls ? "tls_certs" : "checking_keys"), j, item) {
            if (!tls)
                (void)buf_printf(out, "@cert-authority %s,*.%s %s type=host\n", name, name, json_string_value(item));
            else if (dec_base64(json_string_value(item), json_string_length(item), out) != TP_OK)
                break;
        }
    }
}

void web_export_finish(struct web_request *request, json_t *result)
{
    const char *type = export_type(request);
    struct buf out;
    json_t *pem;
    size_t i;
    buf_init(&out, 0);
    if (strcmp(type, "user") == 0)
        export_user(&out, result, web_options(request)->cluster_name);
    else if (strcmp(type, "tls-user") == 0 || strcmp(type, "db") == 0)
        json_array_foreach (json_object_get(result, *type == 'd' ? "db_ca_tls" : "user_ca_tls"), i, pem)
            (void)buf_append_text(&out, json_string_value(pem));
    else
        export_host(&out, result, strcmp(type, "tls-host") == 0);
    web_answer_text(request, "text/plain; charset=utf-8", buf_text(&out));
    buf_free(&out);
}

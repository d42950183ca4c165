#include "agent/kube_config.h"

#include "base/enc.h"
#include "base/mem.h"
#include "base/node.h"
#include "core/conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define FILE_LIMIT ((size_t)1024 * 1024)

struct reading {
    const char *file;
    const struct node *clusters;
    const struct node *users;
    struct tp_error *error;
};

static void clear(struct kube_cluster_conf *conf)
{
    char *plain[] = {conf->name,    conf->problem,  conf->host,      conf->prefix,   conf->server_name, conf->ca_pem,
                     conf->ca_file, conf->cert_pem, conf->cert_file, conf->key_file, conf->token_file};
    for (size_t k = 0; k < sizeof(plain) / sizeof(plain[0]); k++) {
        mem_free(plain[k]);
    }
    secret_free(conf->key_pem);
    secret_free(conf->token);
    *conf = (struct kube_cluster_conf){0};
}

static enum tp_err bad(const struct reading *reading, int line, const char *text, const char *what)
{
    return err_set(reading->error, TP_INVALID, "%s:%d: %s%s", reading->file, line, text, what);
}

static int line_of(const struct node *map, const char *key)
{
    for (size_t i = 0; map != NULL && map->kind == NODE_MAP && i < map->count; i++) {
        if (strcmp(map->keys[i], key) == 0) {
            return map->key_lines[i];
        }
    }
    return map != NULL ? map->line : 0;
}

/* The text of member key; "" when it is absent or null. */
static enum tp_err text_of(const struct reading *reading, const struct node *map, const char *key, const char **ret)
{
    const struct node *node = node_get(map, key);
    *ret = "";
    if (node == NULL || node_is_null(node)) {
        return TP_OK;
    }
    if (node->kind != NODE_SCALAR) {
        return bad(reading, node->line, key, " must be a text");
    }
    *ret = node->text;
    return TP_OK;
}

static char *path_from(const struct reading *reading, const char *path)
{
    const char *slash = strrchr(reading->file, '/');
    if (path[0] == '/' || slash == NULL) {
        return mem_strdup(path);
    }
    return mem_printf("%.*s/%s", (int)(slash - reading->file), reading->file, path);
}

/* The PEM text of KEY-data, or else the path of KEY; data wins as in client-go. */
static enum tp_err pem_or_file(const struct reading *reading, const struct node *map, const char *key, char **ret_pem,
                               char **ret_file)
{
    char *data_key = mem_printf("%s-data", key);
    const char *data = "";
    const char *path = "";
    enum tp_err err = text_of(reading, map, data_key, &data);
    if (err == TP_OK) {
        err = text_of(reading, map, key, &path);
    }
    if (err == TP_OK && data[0] != '\0') {
        struct buf pem;
        buf_init(&pem, FILE_LIMIT);
        if (dec_base64(data, strlen(data), &pem) != TP_OK || buf_size(&pem) == 0 ||
            memchr(buf_head(&pem), '\0', buf_size(&pem)) != NULL) {
            err = bad(reading, line_of(map, data_key), data_key, " is not base64 of PEM text");
        } else {
            *ret_pem = mem_strndup((const char *)buf_head(&pem), buf_size(&pem));
        }
        buf_wipe(&pem);
    } else if (err == TP_OK && path[0] != '\0') {
        *ret_file = path_from(reading, path);
    }
    mem_free(data_key);
    return err;
}

/* The inner map of the entry with that name in a list of {name, INNER}. */
static enum tp_err find(const struct reading *reading, const struct node *list, const char *inner, const char *name,
                        int line, const struct node **ret)
{
    for (size_t i = 0; list != NULL && list->kind == NODE_LIST && i < list->count; i++) {
        const struct node *entry = list->items[i];
        if (strcmp(node_get_text(entry, "name", ""), name) == 0) {
            const struct node *found = node_get(entry, inner);
            if (found == NULL || found->kind != NODE_MAP) {
                return bad(reading, entry->line, inner, " is missing in this entry");
            }
            *ret = found;
            return TP_OK;
        }
    }
    return err_set(reading->error, TP_INVALID, "%s:%d: there is no %s named \"%.100s\"", reading->file, line, inner,
                   name);
}

static bool is_loopback(const char *host)
{
    struct in_addr four;
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (inet_pton(AF_INET, host, &four) == 1 && (ntohl(four.s_addr) >> 24) == 127);
}

/* [HOST]:PORT and so on, up to end. */
static bool take_authority(const char *at, const char *end, struct kube_cluster_conf *conf)
{
    const char *port = NULL;
    const char *host_end = end;
    if (*at == '[') {
        host_end = memchr(at, ']', (size_t)(end - at));
        if (host_end == NULL) {
            return false;
        }
        at++;
        port = host_end + 1 < end && host_end[1] == ':' ? host_end + 2 : NULL;
        if (port == NULL && host_end + 1 != end) {
            return false;
        }
    } else {
        const char *colon = memchr(at, ':', (size_t)(end - at));
        host_end = colon != NULL ? colon : end;
        port = colon != NULL ? colon + 1 : NULL;
    }
    size_t length = (size_t)(host_end - at);
    if (length == 0 || length > 253 ||
        strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:") < length) {
        return false;
    }
    unsigned number = conf->plain ? 80 : 443;
    if (port != NULL) {
        number = 0;
        if (port == end || end - port > 5) {
            return false;
        }
        for (; port < end; port++) {
            if (*port < '0' || *port > '9') {
                return false;
            }
            number = number * 10 + (unsigned)(*port - '0');
        }
    }
    if (number == 0 || number > 65535) {
        return false;
    }
    conf->host = mem_strndup(at, length);
    conf->port = (uint16_t)number;
    return true;
}

static bool is_plain_prefix(const char *path)
{
    for (const char *c = path; *c != '\0'; c++) {
        bool alnum = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        if (!alnum && strchr("-._~:/", *c) == NULL) {
            return false;
        }
    }
    return strstr(path, "//") == NULL && strstr(path, "/.") == NULL;
}

static enum tp_err take_server(const struct reading *reading, const struct node *map, struct kube_cluster_conf *conf)
{
    const char *server = "";
    enum tp_err err = text_of(reading, map, "server", &server);
    if (err != TP_OK) {
        return err;
    }
    int line = line_of(map, "server");
    conf->plain = strncasecmp(server, "http://", 7) == 0;
    if (!conf->plain && strncasecmp(server, "https://", 8) != 0) {
        return bad(reading, line, "server", " must be the API server's address, https://HOST:PORT");
    }
    const char *at = server + (conf->plain ? 7 : 8);
    const char *end = at + strcspn(at, "/");
    size_t prefix = strlen(end);
    if (!take_authority(at, end, conf) || !is_plain_prefix(end)) {
        return bad(reading, line, "server", " is no address of the form https://HOST:PORT");
    }
    while (prefix > 0 && end[prefix - 1] == '/') {
        prefix--;
    }
    conf->prefix = mem_strndup(end, prefix);
    if (conf->plain && !is_loopback(conf->host)) {
        return bad(reading, line, "server", " is http:// to another machine; use https://");
    }
    return TP_OK;
}

/* Keys that would change who we are or where we go, and that we do not do: silence about them would be wrong. */
static enum tp_err refuse_keys(const struct reading *reading, const struct node *map, const char *const *keys,
                               const char *why)
{
    for (size_t i = 0; keys[i] != NULL; i++) {
        const struct node *node = node_get(map, keys[i]);
        if (node != NULL && !node_is_null(node)) {
            return bad(reading, line_of(map, keys[i]), keys[i], why);
        }
    }
    return TP_OK;
}

static enum tp_err take_cluster(const struct reading *reading, const struct node *map, struct kube_cluster_conf *conf)
{
    static const char *const foreign[] = {"proxy-url", NULL};
    const char *name = "";
    enum tp_err err = refuse_keys(reading, map, foreign, " is not supported: the agent dials the API server itself");
    if (err == TP_OK) {
        err = take_server(reading, map, conf);
    }
    if (err == TP_OK) {
        err = pem_or_file(reading, map, "certificate-authority", &conf->ca_pem, &conf->ca_file);
    }
    if (err == TP_OK) {
        err = text_of(reading, map, "tls-server-name", &name);
    }
    if (err != TP_OK) {
        return err;
    }
    conf->server_name = mem_strdup(name[0] != '\0' ? name : conf->host);
    const struct node *insecure = node_get(map, "insecure-skip-tls-verify");
    if (insecure != NULL && !node_is_null(insecure) && node_bool(insecure, &conf->insecure) != TP_OK) {
        return bad(reading, insecure->line, "insecure-skip-tls-verify", " must be true or false");
    }
    if (conf->insecure && (conf->ca_pem != NULL || conf->ca_file != NULL)) {
        return bad(reading, insecure->line, "insecure-skip-tls-verify", " and a CA exclude each other");
    }
    return TP_OK;
}

static enum tp_err take_user(const struct reading *reading, const struct node *map, struct kube_cluster_conf *conf)
{
    static const char *const programs[] = {"exec", "auth-provider", NULL};
    static const char *const passwords[] = {"username", "password", NULL};
    static const char *const others[] = {"as", "as-uid", "as-groups", "as-user-extra", NULL};
    enum tp_err err = refuse_keys(reading, map, programs,
                                  " is not supported: the agent runs no programs for credentials; use a client "
                                  "certificate, token or tokenFile");
    if (err == TP_OK) {
        err = refuse_keys(reading, map, passwords,
                          " is not supported: API servers take no passwords; use a client certificate, token or "
                          "tokenFile");
    }
    if (err == TP_OK) {
        err = refuse_keys(reading, map, others, " is not supported: whom the agent acts for comes from roles");
    }
    if (err == TP_OK) {
        err = pem_or_file(reading, map, "client-certificate", &conf->cert_pem, &conf->cert_file);
    }
    if (err == TP_OK) {
        err = pem_or_file(reading, map, "client-key", &conf->key_pem, &conf->key_file);
    }
    bool has_cert = conf->cert_pem != NULL || conf->cert_file != NULL;
    bool has_key = conf->key_pem != NULL || conf->key_file != NULL;
    if (err == TP_OK && has_cert != has_key) {
        err = bad(reading, map->line, has_cert ? "client-key" : "client-certificate", " is missing");
    }
    const char *token = "";
    const char *token_file = "";
    if (err == TP_OK) {
        err = text_of(reading, map, "token", &token);
    }
    if (err == TP_OK) {
        err = text_of(reading, map, "tokenFile", &token_file);
    }
    if (err != TP_OK) {
        return err;
    }
    if (token[strspn(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/=")] != '\0') {
        return bad(reading, line_of(map, "token"), "token", " is no bearer token (RFC 6750)");
    }
    if (token_file[0] != '\0') { /* wins over token, as in client-go */
        conf->token_file = path_from(reading, token_file);
    } else if (token[0] != '\0') {
        conf->token = mem_strdup(token);
    }
    return TP_OK;
}

static enum tp_err take_context(const struct reading *reading, const struct node *entry, struct kube_cluster_conf *conf)
{
    const struct node *context = node_get(entry, "context");
    const struct node *cluster = NULL;
    const struct node *user = NULL;
    const char *name = "";
    const char *cluster_name = "";
    const char *user_name = "";
    enum tp_err err = text_of(reading, entry, "name", &name);
    if (err == TP_OK && !conf_kube_name_valid(name)) {
        err = bad(reading, entry->line, "a context",
                  " needs a name of letters, digits and . _ - : / @ +, at most 200 bytes");
    }
    if (err == TP_OK && (context == NULL || context->kind != NODE_MAP)) {
        err = bad(reading, entry->line, "context", " is missing in this entry");
    }
    if (err == TP_OK) {
        conf->name = mem_strdup(name);
        err = text_of(reading, context, "cluster", &cluster_name);
    }
    if (err == TP_OK) {
        err = text_of(reading, context, "user", &user_name);
    }
    if (err == TP_OK) {
        err = find(reading, reading->clusters, "cluster", cluster_name, context->line, &cluster);
    }
    if (err == TP_OK) {
        err = find(reading, reading->users, "user", user_name, context->line, &user);
    }
    if (err == TP_OK) {
        err = take_cluster(reading, cluster, conf);
    }
    return err == TP_OK ? take_user(reading, user, conf) : err;
}

/* The name in an entry that is of no use otherwise: for what is said about it. */
static char *name_of(const struct node *entry)
{
    const char *name = entry->kind == NODE_MAP ? node_get_text(entry, "name", "") : "";
    return mem_printf("%.253s", name);
}

/* A context that can't be served is kept as a sentence about it. error: the first of them. full: of contexts that can. */
static void take_or_tell(const struct reading *reading, const struct node *entry, struct kube_cluster_conf *list,
                         size_t i, bool full)
{
    struct tp_error problem = {0};
    struct reading one = *reading;
    one.error = &problem;
    enum tp_err err = take_context(&one, entry, &list[i]);
    for (size_t k = 0; k < i && err == TP_OK; k++) {
        if (strcmp(list[k].name, list[i].name) == 0) {
            err = bad(&one, entry->line, "another context before it has the name ", list[i].name);
        }
    }
    if (err == TP_OK && full) {
        err = bad(&one, entry->line, "", "an agent serves 256 clusters, and they stand before this one");
    }
    if (err == TP_OK) {
        return;
    }
    clear(&list[i]);
    list[i].name = name_of(entry);
    list[i].problem = mem_strdup(problem.text);
    if (reading->error != NULL && reading->error->text[0] == '\0') {
        *reading->error = problem;
    }
}

/* How many of them can be served. */
static size_t take_contexts(struct reading *reading, const struct node *root, struct kube_cluster_conf *list)
{
    const struct node *contexts = node_get(root, "contexts");
    size_t good = 0;
    reading->clusters = node_get(root, "clusters");
    reading->users = node_get(root, "users");
    for (size_t i = 0; i < contexts->count; i++) {
        take_or_tell(reading, contexts->items[i], list, i, good == CONF_KUBE_CLUSTERS_MAX);
        good += list[i].problem == NULL;
    }
    return good;
}

enum tp_err kube_config_parse(const char *text, size_t size, const char *file, struct kube_cluster_conf **ret_list,
                              size_t *ret_count, struct tp_error *error)
{
    struct reading reading = {.file = file, .error = error};
    struct node *root = NULL;
    enum tp_err err = node_parse_one(text, size, file, &root, error);
    if (err != TP_OK) {
        return err;
    }
    const struct node *contexts = node_get(root, "contexts");
    if (contexts == NULL || contexts->kind != NODE_LIST || contexts->count == 0) {
        err = bad(&reading, contexts != NULL ? contexts->line : root->line, "contexts",
                  " is missing or empty: each context is a cluster that tport offers");
        node_free(root);
        return err;
    }
    struct kube_cluster_conf *list = mem_array(contexts->count, sizeof(*list));
    size_t count = contexts->count;
    size_t good = take_contexts(&reading, root, list);
    node_free(root);
    if (good == 0) {
        kube_config_free(list, count);
        return TP_INVALID;
    }
    *ret_list = list;
    *ret_count = count;
    return TP_OK;
}

enum tp_err kube_config_load(const char *file, struct kube_cluster_conf **ret_list, size_t *ret_count,
                             struct tp_error *error)
{
    /* Not blocking: a pipe without a writer in the file's place would hold up all that the agent does. */
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return err_errno(error, errno, "the kubeconfig %s can't be read", file);
    }
    struct buf text;
    buf_init(&text, FILE_LIMIT);
    enum tp_err err = TP_OK;
    for (;;) {
        uint8_t *at = buf_reserve(&text, 4096);
        if (at == NULL) {
            err = err_set(error, TP_TOO_LARGE, "the kubeconfig %s is larger than 1 MB", file);
            break;
        }
        ssize_t n = read(fd, at, 4096);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            err = err_errno(error, errno, "the kubeconfig %s can't be read", file);
        }
        if (n <= 0) {
            break;
        }
        buf_commit(&text, (size_t)n);
    }
    (void)close(fd);
    if (err == TP_OK) {
        err = kube_config_parse((const char *)buf_head(&text), buf_size(&text), file, ret_list, ret_count, error);
    }
    buf_wipe(&text);
    return err;
}

enum tp_err kube_config_in_cluster(const char *name, const char *dir, const char *host, const char *port,
                                   struct kube_cluster_conf **ret_list, size_t *ret_count, struct tp_error *error)
{
    if (host == NULL || port == NULL) {
        return err_set(error, TP_NOT_FOUND,
                       "this is no pod of a Kubernetes cluster (KUBERNETES_SERVICE_HOST is not set); name a "
                       "kubeconfig_file in kubernetes_service");
    }
    struct kube_cluster_conf *conf = mem_array(1, sizeof(*conf));
    char *authority = mem_printf(strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
    enum tp_err err = TP_OK;
    if (!take_authority(authority, authority + strlen(authority), conf)) {
        err = err_set(error, TP_INVALID, "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are no address");
    }
    mem_free(authority);
    if (err != TP_OK) {
        kube_config_free(conf, 1);
        return err;
    }
    conf->name = mem_strdup(name);
    conf->prefix = mem_strdup("");
    conf->server_name = mem_strdup(conf->host);
    conf->ca_file = mem_printf("%s/ca.crt", dir);
    conf->token_file = mem_printf("%s/token", dir);
    *ret_list = conf;
    *ret_count = 1;
    return TP_OK;
}

void kube_config_free(struct kube_cluster_conf *list, size_t count)
{
    for (size_t i = 0; list != NULL && i < count; i++) {
        clear(&list[i]);
    }
    mem_free(list);
}

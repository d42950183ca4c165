/* Kubernetes clusters that hosts have registered with their heartbeats: which there are, who serves them, and their
 * resources (kube_server). A stream reaches only what that host registered (R15). */
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/kube.h"
#include "auth/live.h"
#include "core/conf.h"

#include <ctype.h>
#include <string.h>

#define REPORT_MAX ((size_t)1024 * 1024) /* bytes of JSON of one host's clusters */
#define SNI_PLAIN_MAX 31                 /* bytes of a name whose hex form fits into one DNS label */

void kube_label(const char *name, char ret_label[KUBE_LABEL_SIZE])
{
    size_t length = strlen(name);
    uint8_t hash[32];
    if (length > SNI_PLAIN_MAX) {
        crypt_sha256(name, length, hash);
    }
    char *hex = length > SNI_PLAIN_MAX ? enc_hex(hash, sizeof hash / 2) : enc_hex(name, length);
    snprintf(ret_label, KUBE_LABEL_SIZE, "%s%s", length > SNI_PLAIN_MAX ? "h" : "", hex);
    mem_free(hex);
}

char *kube_label_name(const char *label)
{
    struct buf name;
    buf_init(&name, SNI_PLAIN_MAX);
    bool plain = dec_hex(label, strlen(label), &name) == TP_OK && conf_kube_name_valid(buf_text(&name)) &&
                 strlen(buf_text(&name)) == buf_size(&name);
    char *text = mem_strdup(plain ? buf_text(&name) : label);
    buf_free(&name);
    return text;
}

const char *kube_name(const json_t *cluster)
{
    return json_get_text(cluster, "name", "");
}

const json_t *kube_of_host(const struct host *host, const char *name)
{
    size_t i;
    json_t *cluster;
    json_array_foreach (host->kube, i, cluster) {
        if (strcmp(kube_name(cluster), name) == 0) {
            return cluster;
        }
    }
    return NULL;
}

void kube_target(const json_t *cluster, struct rbac_target *ret_target, struct rbac_label **ret_labels)
{
    size_t count = 0;
    *ret_labels =
        rbac_labels_from_json(json_object_get(cluster, "labels"), json_object_get(cluster, "cmd_labels"), &count);
    *ret_target = (struct rbac_target){
        .kind = ROLE_KUBE, .name = kube_name(cluster), .labels = *ret_labels, .label_count = count};
}

json_t *kube_route_labels(const struct host *host)
{
    json_t *list = json_array();
    size_t i;
    json_t *cluster;
    json_array_foreach (host->kube, i, cluster) {
        char label[KUBE_LABEL_SIZE];
        kube_label(kube_name(cluster), label);
        json_array_append_new(list, json_string(label));
    }
    return list;
}

json_t *kube_server_resource(const struct host *host, const json_t *cluster)
{
    json_t *labels = json_object_get(cluster, "labels");
    json_t *dynamic = json_object_get(cluster, "cmd_labels");
    json_t *inner = json_pack("{s:s, s:s, s:{s:s, s:O}, s:{s:O}}", "kind", "kube_cluster", "version", "v3", "metadata",
                              "name", kube_name(cluster), "labels", labels, "spec", "dynamic_labels", dynamic);
    json_t *server = json_pack(
        "{s:s, s:s, s:{s:s, s:O}, s:{s:s, s:s, s:s, s:o}, s:b}", "kind", "kube_server", "version", "v3", "metadata",
        "name", kube_name(cluster), "labels", labels, "spec", "hostname", host->name, "host_id", host->id, "version",
        json_get_text(cluster, "version", ""), "cluster", inner, "online", (int)(host->tunnels != NULL));
    if (host->tunnels == NULL) {
        (void)json_object_set_new(server, "last_seen", doc_time(host->last_seen_ms));
    }
    return server;
}

/* ---- the report ---- */

/* One item of the report as it is kept: what is not known is left out. */
static enum tp_err read_cluster(const json_t *item, const char *version, json_t **ret_cluster, struct tp_error *error)
{
    const char *name = json_get_text(item, "name", "");
    const json_t *labels = json_object_get(item, "labels");
    const json_t *dynamic = json_object_get(item, "cmd_labels");
    if (!conf_kube_name_valid(name)) {
        return err_set(error, TP_INVALID,
                       "\"%.80s\" is no name for a Kubernetes cluster: letters, digits and . _ - : / @ +, at most %d "
                       "bytes",
                       name, CONF_KUBE_NAME_MAX);
    }
    enum tp_err err = hosts_check_labels(labels, "labels", false, error);
    if (err == TP_OK) {
        err = hosts_check_labels(dynamic, "cmd_labels", true, error);
    }
    if (err == TP_OK) {
        *ret_cluster = json_pack("{s:s, s:o, s:o, s:s}", "name", name, "labels",
                                 json_is_object(labels) ? json_deep_copy(labels) : json_object(), "cmd_labels",
                                 json_is_object(dynamic) ? json_deep_copy(dynamic) : json_object(), "version", version);
    }
    return err;
}

static bool has_name(const json_t *list, const char *name)
{
    size_t i;
    json_t *cluster;
    json_array_foreach (list, i, cluster) {
        if (strcmp(kube_name(cluster), name) == 0) {
            return true;
        }
    }
    return false;
}

enum tp_err kube_report(struct auth *auth, struct host *host, const json_t *clusters, const char *version,
                        struct tp_error *error)
{
    json_t *list = json_array();
    enum tp_err err = TP_OK;
    if (clusters != NULL && (!json_is_array(clusters) || json_array_size(clusters) > CONF_KUBE_CLUSTERS_MAX)) {
        err = err_set(error, TP_INVALID, "kube_clusters must be a list of at most %d clusters", CONF_KUBE_CLUSTERS_MAX);
    }
    for (size_t i = 0; err == TP_OK && i < json_array_size(clusters); i++) {
        json_t *cluster = NULL;
        err = read_cluster(json_array_get(clusters, i), version, &cluster, error);
        if (err == TP_OK && has_name(list, kube_name(cluster))) {
            err = err_set(error, TP_INVALID, "the Kubernetes cluster \"%s\" is reported twice", kube_name(cluster));
        }
        if (cluster != NULL) {
            json_array_append_new(list, cluster);
        }
    }
    if (err == TP_OK && json_dumpb(list, NULL, 0, JSON_COMPACT) > REPORT_MAX) {
        err = err_set(error, TP_TOO_LARGE, "the labels of this host's Kubernetes clusters are too large");
    }
    bool none = json_array_size(list) == 0 && host->kube == NULL;
    if (err == TP_OK && !none && !json_equal(list, host->kube)) {
        json_t *doc = json_pack("{s:O}", "clusters", list);
        err = doc_put(auth->state, "/kube_server/", host->id, doc, STORE_ANY, NULL, error);
        json_decref(doc);
        if (err == TP_OK) {
            json_decref(host->kube);
            host->kube = json_incref(list);
            kube_order_changed(auth);
            routes_tell(auth, host);
            sessions_recheck_host(auth, host->id);
        }
    }
    json_decref(list);
    return err;
}

static bool load_one(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct host *host = hosts_get(ctx, name);
    json_t *clusters = json_object_get(doc, "clusters");
    (void)revision;
    if (host != NULL && json_is_array(clusters)) {
        host->kube = json_deep_copy(clusters);
    }
    return true;
}

enum tp_err kube_hosts_load(struct auth *auth, struct tp_error *error)
{
    return doc_each(auth->state, "/kube_server/", NULL, load_one, auth, error);
}

enum tp_err kube_hosts_delete(struct auth *auth, const char *id, struct tp_error *error)
{
    enum tp_err err = doc_delete(auth->state, "/kube_server/", id, error);
    return err == TP_NOT_FOUND ? TP_OK : err;
}

/* ---- kube_server resources ---- */

struct each_server {
    kube_server_fn *fn;
    void *ctx;
};

static void each_host(void *ctx, const char *key, void *value)
{
    struct each_server *each = ctx;
    struct host *host = value;
    size_t i;
    json_t *cluster;
    (void)key;
    json_array_foreach (host->kube, i, cluster) {
        each->fn(each->ctx, host, cluster);
    }
}

void kube_each(struct auth *auth, kube_server_fn *fn, void *ctx)
{
    map_each(auth->hosts, each_host, &(struct each_server){fn, ctx});
}

struct forget {
    struct auth *auth;
    const char *name;
    size_t hits;
    enum tp_err err;
    struct tp_error *error;
};

static void forget_one(void *ctx, const char *key, void *value)
{
    struct forget *forget = ctx;
    struct host *host = value;
    (void)key;
    if (forget->err != TP_OK || kube_of_host(host, forget->name) == NULL) {
        return;
    }
    json_t *left = json_array();
    size_t i;
    json_t *cluster;
    json_array_foreach (host->kube, i, cluster) {
        if (strcmp(kube_name(cluster), forget->name) != 0) {
            json_array_append(left, cluster);
        }
    }
    json_t *doc = json_pack("{s:O}", "clusters", left);
    forget->err = doc_put(forget->auth->state, "/kube_server/", host->id, doc, STORE_ANY, NULL, forget->error);
    json_decref(doc);
    if (forget->err == TP_OK) {
        json_decref(host->kube);
        host->kube = json_incref(left);
        kube_order_changed(forget->auth);
        forget->hits++;
        routes_tell(forget->auth, host);
        sessions_recheck_host(forget->auth, host->id);
    }
    json_decref(left);
}

enum tp_err kube_forget(struct auth *auth, const char *name, struct tp_error *error)
{
    struct forget forget = {.auth = auth, .name = name, .error = error};
    map_each(auth->hosts, forget_one, &forget);
    if (forget.err == TP_OK && forget.hits == 0) {
        return err_set(error, TP_NOT_FOUND, "there is no kube_server \"%s\"", name);
    }
    return forget.err;
}

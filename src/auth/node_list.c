/* nodes.list: the hosts that a person may reach, by name or by the time since when they are there, and as whom. */
#include "auth/agentless.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/list.h"

#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    const struct host_place *left = a;
    const struct host_place *right = b;
    int order = strcmp(left->host->name, right->host->name);
    return order != 0 ? order : strcmp(left->host->id, right->host->id);
}

static void add_one(void *ctx, const char *key, void *value)
{
    struct auth *auth = ctx;
    struct host *host = value;
    (void)key;
    auth->host_order[auth->host_order_count++] = (struct host_place){.tags = host->tags, .host = host};
}

void hosts_sort(struct auth *auth)
{
    if (auth->host_order != NULL) {
        return;
    }
    auth->host_order = mem_array(map_count(auth->hosts) + 1, sizeof *auth->host_order);
    auth->host_order_count = 0;
    auth->orders_made++;
    map_each(auth->hosts, add_one, auth);
    qsort(auth->host_order, auth->host_order_count, sizeof *auth->host_order, by_name);
    for (size_t i = 0; i < auth->host_order_count; i++) {
        auth->host_order[i].host->place = i;
    }
}

void hosts_order_changed(struct auth *auth)
{
    mem_free(auth->host_order);
    mem_free(auth->time_order);
    auth->host_order = NULL;
    auth->time_order = NULL;
    auth->host_order_count = 0;
}

void hosts_order_labels(struct auth *auth, const struct host *host)
{
    if (auth->host_order != NULL) {
        auth->host_order[host->place].tags = host->tags;
    }
}

/* ---- by time ---- */

#define ONLINE ((int64_t)1 << 62) /* behind all who are away */

/* Who is away stands before who is there, each by the time that is shown for it. */
static int64_t time_of(const struct host *host)
{
    return host->tunnels != NULL ? ONLINE | host->online_ms : host->last_seen_ms;
}

static int compare_time(int64_t when, const char *id, int64_t other_when, const char *other_id)
{
    return when != other_when ? (when < other_when ? -1 : 1) : strcmp(id, other_id);
}

static int by_time(const void *a, const void *b)
{
    const struct host_time *left = a;
    const struct host_time *right = b;
    return compare_time(left->when, left->host->id, right->when, right->host->id);
}

/* Tunnels come and go all the time; whether any did since the last page is seen by a walk, much cheaper than a sort. */
static void sort_by_time(struct auth *auth)
{
    hosts_sort(auth);
    bool changed = auth->time_order == NULL;
    if (changed) {
        auth->time_order = mem_array(auth->host_order_count + 1, sizeof *auth->time_order);
        for (size_t i = 0; i < auth->host_order_count; i++) {
            auth->time_order[i].host = auth->host_order[i].host;
        }
    }
    for (size_t i = 0; i < auth->host_order_count; i++) {
        struct host_time *row = &auth->time_order[i];
        int64_t when = time_of(row->host);
        changed = changed || row->when != when;
        row->when = when;
    }
    if (changed) {
        auth->orders_made++;
        qsort(auth->time_order, auth->host_order_count, sizeof *auth->time_order, by_time);
    }
}

/* ---- pages ---- */

enum node_column { BY_NAME, BY_TIME };

struct node_list {
    struct list list; /* first: list_answer */
    struct auth *auth;
    bool all; /* those too that have been away for long */
    bool brief;
    unsigned order; /* auth->orders_made of the turn before */
};

static size_t count_nodes(void *ctx, bool *ret_same)
{
    struct node_list *nodes = ctx;
    if (nodes->list.column == BY_TIME) {
        sort_by_time(nodes->auth);
    } else {
        hosts_sort(nodes->auth);
    }
    *ret_same = nodes->order == nodes->auth->orders_made;
    nodes->order = nodes->auth->orders_made;
    return nodes->auth->host_order_count;
}

static struct host *host_at(const struct node_list *nodes, size_t i)
{
    return nodes->list.column == BY_TIME ? nodes->auth->time_order[i].host : nodes->auth->host_order[i].host;
}

/* The key is "NAME ID" or "TIME ID": hosts may come and go between pages without one being shown twice. */
static int compare_key(void *ctx, size_t i, const char *key)
{
    const struct node_list *nodes = ctx;
    const struct host *host = host_at(nodes, i);
    const char *blank = strchr(key, ' ');
    if (nodes->list.column == BY_TIME) {
        int64_t when = strtoll(key, NULL, 10);
        return compare_time(nodes->auth->time_order[i].when, host->id, when, blank != NULL ? blank + 1 : "");
    }
    size_t length = blank != NULL ? (size_t)(blank - key) : strlen(key);
    int order = strncmp(host->name, key, length);
    if (order == 0 && host->name[length] != '\0') {
        order = 1;
    }
    return order != 0 || blank == NULL ? order : strcmp(host->id, blank + 1);
}

static bool node_wanted(void *ctx, size_t i)
{
    struct node_list *nodes = ctx;
    const struct rbac_set *set = nodes->list.call->caller.set;
    const struct rbac_tags *tags =
        nodes->list.column == BY_TIME ? &nodes->auth->time_order[i].host->tags : &nodes->auth->host_order[i].tags;
    if (set != NULL && !rbac_may_list(set, ROLE_NODE, tags)) {
        return false;
    }
    const struct host *host = host_at(nodes, i);
    if (!hosts_is_node(host) || (!nodes->all && !hosts_current(host))) {
        return false;
    }
    struct rbac_target target;
    hosts_target(host, &target);
    json_t *made = host->resource == NULL ? hosts_resource(host) : NULL;
    struct list_item item = {.target = &target, .id = host->id, .resource = made != NULL ? made : host->resource};
    bool wanted = list_wants(&nodes->list, &item);
    json_decref(made);
    return wanted;
}

/* The text of shown (stolen) up to its last brace: what an item adds goes behind it. */
static void keep_open_text(json_t *shown, struct buf *ret_text)
{
    char *text = json_text(shown);
    buf_init(ret_text, 0);
    (void)buf_append(ret_text, text, strlen(text) - 1);
    mem_free(text);
    json_decref(shown);
}

/* The resource, made once. */
static const struct buf *resource_text(struct host *host)
{
    if (buf_size(&host->text) == 0) {
        json_t *shown = host->resource != NULL ? json_copy(host->resource) : hosts_resource(host);
        json_object_del(shown, "online");
        json_object_del(shown, "online_since");
        json_object_del(shown, "last_seen");
        json_object_del(shown, "logins");
        keep_open_text(shown, &host->text);
    }
    return &host->text;
}

static void append_string(struct buf *out, const char *text)
{
    json_t *string = json_string(text);
    char *json = json_text(string);
    (void)buf_append_text(out, json);
    mem_free(json);
    json_decref(string);
}

/* What a table of names, addresses and labels shows, in the places of the resource, made once. */
static const struct buf *brief_text(struct host *host)
{
    if (buf_size(&host->brief) == 0) {
        const json_t *spec = json_object_get(host->resource, "spec");
        const char *address = json_get_text(spec, "addr", "");
        json_t *labels = json_object();
        for (size_t i = 0; i < host->label_count; i++) {
            (void)json_object_set_new(labels, host->labels[i].name, json_string(host->labels[i].value));
        }
        json_t *shown =
            json_pack("{s:{s:o}, s:{s:s, s:s*, s:O*}}", "metadata", "labels", labels, "spec", "hostname", host->name,
                      "addr", address[0] != '\0' ? address : NULL, "use_tunnel", json_object_get(spec, "use_tunnel"));
        keep_open_text(shown, &host->brief);
    }
    return &host->brief;
}

static void append_logins(const struct rbac_set *set, const struct host *host, struct buf *out)
{
    /* With a second factor, where one is asked for: the list says as whom one may connect. */
    struct rbac_access access = {.mfa_verified = true};
    struct rbac_target target;
    size_t count = 0;
    hosts_target(host, &target);
    struct rbac_login *logins = rbac_logins(set, &target, &access, &count);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            (void)buf_append(out, ",", 1);
        }
        append_string(out, logins[i].name);
    }
    mem_free(logins);
}

static void node_item(void *ctx, size_t i, struct buf *out)
{
    const struct node_list *nodes = ctx;
    struct host *host = host_at(nodes, i);
    const struct rbac_set *set = nodes->list.call->caller.set;
    const struct buf *text = nodes->brief ? brief_text(host) : resource_text(host);
    (void)buf_append(out, buf_head(text), buf_size(text));
    (void)buf_append_text(out, host->tunnels != NULL ? ",\"online\":true" : ",\"online\":false");
    if (nodes->brief) {
        (void)buf_append(out, "}", 1);
        return;
    }
    json_t *when = doc_time(host->tunnels != NULL ? host->came_ms : host->last_seen_ms);
    (void)buf_append_text(out, host->tunnels != NULL ? ",\"online_since\":" : ",\"last_seen\":");
    append_string(out, json_string_value(when));
    json_decref(when);
    (void)buf_append_text(out, ",\"logins\":[");
    if (set != NULL) {
        append_logins(set, host, out);
    }
    (void)buf_append_text(out, "]}");
}

static char *node_key(void *ctx, size_t i)
{
    const struct node_list *nodes = ctx;
    const struct host *host = host_at(nodes, i);
    return nodes->list.column == BY_TIME ? mem_printf("%lld %s", (long long)nodes->auth->time_order[i].when, host->id)
                                         : mem_printf("%s %s", host->name, host->id);
}

void do_nodes_list(struct call *call)
{
    static const struct list_source source = {
        .count = count_nodes, .compare = compare_key, .wanted = node_wanted, .item = node_item, .key = node_key};
    static const struct list_column columns[] = {
        {"name", BY_NAME}, {"hostname", BY_NAME}, {"since", BY_TIME}, {NULL, 0}};
    if (strcmp(json_get_text(call->params, "sub_kind", ""), "openssh") == 0) {
        agentless_list(call);
        return;
    }
    struct node_list *nodes = mem_alloc(sizeof *nodes);
    struct tp_error error = {0};
    nodes->auth = call->auth;
    nodes->all = json_get_bool(call->params, "all", false);
    nodes->brief = json_get_bool(call->params, "brief", false);
    if (list_open(&nodes->list, call, columns, &error) == TP_OK) {
        list_answer(&source, nodes);
        return;
    }
    list_close(&nodes->list);
    mem_free(nodes);
    call_fail(call, &error);
}

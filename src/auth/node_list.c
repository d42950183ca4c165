/* nodes.list: the hosts that a person may reach, by name, and as whom. */
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

/* Sorted once after hosts came, went or changed their name, not for each page. */
static void sort_hosts(struct auth *auth)
{
    if (auth->host_order != NULL) {
        return;
    }
    auth->host_order = mem_array(map_count(auth->hosts) + 1, sizeof *auth->host_order);
    auth->host_order_count = 0;
    map_each(auth->hosts, add_one, auth);
    qsort(auth->host_order, auth->host_order_count, sizeof *auth->host_order, by_name);
    for (size_t i = 0; i < auth->host_order_count; i++) {
        auth->host_order[i].host->place = i;
    }
}

void hosts_order_changed(struct auth *auth)
{
    mem_free(auth->host_order);
    auth->host_order = NULL;
    auth->host_order_count = 0;
}

void hosts_order_labels(struct auth *auth, const struct host *host)
{
    if (auth->host_order != NULL) {
        auth->host_order[host->place].tags = host->tags;
    }
}

struct node_list {
    struct list list;
    const struct auth *auth;
};

/* The key is "NAME ID": hosts may come and go between pages without one being shown twice. */
static int compare_key(void *ctx, size_t i, const char *key)
{
    const struct node_list *nodes = ctx;
    const struct host *host = nodes->auth->host_order[i].host;
    const char *blank = strchr(key, ' ');
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
    const struct host_place *place = &nodes->auth->host_order[i];
    const struct rbac_set *set = nodes->list.call->caller.set;
    if (set != NULL && !rbac_may_list(set, ROLE_NODE, &place->tags)) {
        return false;
    }
    const struct host *host = place->host;
    if (!hosts_is_node(host) || !hosts_current(host)) {
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

static json_t *node_item(void *ctx, size_t i, size_t *ret_bytes)
{
    const struct node_list *nodes = ctx;
    const struct host *host = nodes->auth->host_order[i].host;
    const struct rbac_set *set = nodes->list.call->caller.set;
    /* Shallow: the resource is never changed, only replaced. */
    json_t *item = host->resource != NULL ? json_copy(host->resource) : hosts_resource(host);
    json_t *names = json_array();
    if (set != NULL) {
        /* With a second factor, where one is asked for: the list says as whom one may connect. */
        struct rbac_access access = {.mfa_verified = true};
        struct rbac_target target;
        size_t count = 0;
        hosts_target(host, &target);
        struct rbac_login *logins = rbac_logins(set, &target, &access, &count);
        for (size_t k = 0; k < count; k++) {
            json_array_append_new(names, json_string(logins[k].name));
        }
        mem_free(logins);
    }
    json_object_set_new(item, "online", json_boolean(host->tunnels != NULL));
    if (host->tunnels != NULL) {
        json_object_set_new(item, "online_since", doc_time(host->online_ms));
    }
    json_object_set_new(item, "logins", names);
    *ret_bytes = host->weight + 32 * json_array_size(names) + 100;
    return item;
}

static char *node_key(void *ctx, size_t i)
{
    const struct node_list *nodes = ctx;
    const struct host *host = nodes->auth->host_order[i].host;
    return mem_printf("%s %s", host->name, host->id);
}

void do_nodes_list(struct call *call)
{
    struct node_list nodes = {.auth = call->auth};
    struct tp_error error = {0};
    json_t *result = NULL;
    if (list_open(&nodes.list, call, &error) == TP_OK) {
        sort_hosts(call->auth);
        struct list_source source = {.count = call->auth->host_order_count,
                                     .compare = compare_key,
                                     .wanted = node_wanted,
                                     .item = node_item,
                                     .key = node_key};
        result = list_page(&nodes.list, &source, &nodes);
        error = nodes.list.error;
    }
    list_close(&nodes.list);
    if (result == NULL) {
        call_fail(call, &error);
    } else {
        call_reply(call, result);
    }
}

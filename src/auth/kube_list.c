/* kube.list: the Kubernetes clusters that a person may reach, each once however many agents serve it; and as whom. */
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/kube.h"
#include "auth/list.h"
#include "auth/mfa.h"

#include <stdlib.h>
#include <string.h>

/* One registration: a cluster that a host serves. */
struct server {
    const char *name;
    struct host *host;
    const json_t *cluster;
};

/* All of them by name and host, and where the names begin. Made anew after a change, not for each page. */
struct kube_order {
    struct server *items;
    size_t count;
    size_t room;
    size_t *names; /* first item of each name, and count at the end */
    size_t name_count;
};

static void add_server(void *ctx, struct host *host, const json_t *cluster)
{
    struct kube_order *order = ctx;
    if (order->count == order->room) {
        order->room = order->room == 0 ? 64 : order->room * 2;
        order->items = mem_resize(order->items, order->room * sizeof *order->items);
    }
    order->items[order->count++] = (struct server){kube_name(cluster), host, cluster};
}

static int by_name(const void *a, const void *b)
{
    const struct server *left = a;
    const struct server *right = b;
    int order = strcmp(left->name, right->name);
    return order != 0 ? order : strcmp(left->host->id, right->host->id);
}

static const struct kube_order *sorted_servers(struct auth *auth)
{
    if (auth->kube_order != NULL) {
        return auth->kube_order;
    }
    struct kube_order *order = mem_alloc(sizeof *order);
    auth->orders_made++;
    kube_each(auth, add_server, order);
    if (order->count > 0) {
        qsort(order->items, order->count, sizeof *order->items, by_name);
    }
    order->names = mem_array(order->count + 1, sizeof *order->names);
    for (size_t i = 0; i < order->count; i++) {
        if (i == 0 || strcmp(order->items[i].name, order->items[i - 1].name) != 0) {
            order->names[order->name_count++] = i;
        }
    }
    order->names[order->name_count] = order->count;
    auth->kube_order = order;
    return order;
}

void kube_order_changed(struct auth *auth)
{
    if (auth->kube_order != NULL) {
        mem_free(auth->kube_order->items);
        mem_free(auth->kube_order->names);
        mem_free(auth->kube_order);
        auth->kube_order = NULL;
    }
}

struct kube_list {
    struct list list; /* first: list_answer */
    const struct kube_order *order;
    unsigned made;              /* auth->orders_made of the turn before */
    const struct server *found; /* what kube_wanted chose: online when any of that name is */
};

static size_t count_kube(void *ctx, bool *ret_same)
{
    struct kube_list *kube = ctx;
    struct auth *auth = kube->list.call->auth;
    kube->order = sorted_servers(auth);
    *ret_same = kube->made == auth->orders_made;
    kube->made = auth->orders_made;
    return kube->order->name_count;
}

static bool server_wanted(struct kube_list *kube, const struct server *server)
{
    struct rbac_target target;
    struct rbac_label *labels = NULL;
    if (!hosts_current(server->host)) {
        return false;
    }
    kube_target(server->cluster, &target, &labels);
    json_t *resource = kube->list.query != NULL
                           ? json_pack("{s:s, s:{s:s, s:O*}, s:{}}", "kind", "kube_cluster", "metadata", "name",
                                       server->name, "labels", json_object_get(server->cluster, "labels"), "spec")
                           : NULL;
    struct list_item item = {.target = &target, .resource = resource};
    bool wanted = list_wants(&kube->list, &item);
    json_decref(resource);
    mem_free(labels);
    return wanted;
}

static bool kube_wanted(void *ctx, size_t i)
{
    struct kube_list *kube = ctx;
    kube->found = NULL;
    for (size_t k = kube->order->names[i]; k < kube->order->names[i + 1]; k++) {
        const struct server *server = &kube->order->items[k];
        bool better = kube->found == NULL || (kube->found->host->tunnels == NULL && server->host->tunnels != NULL);
        if (better && server_wanted(kube, server)) {
            kube->found = server;
        }
    }
    return kube->found != NULL;
}

static void kube_item(void *ctx, size_t i, struct buf *out)
{
    const struct kube_list *kube = ctx;
    const struct call *call = kube->list.call;
    const struct server *found = kube->found;
    struct tp_error ignored = {0};
    (void)i;
    /* With a second factor, where one is asked for: the list says as whom one may connect. */
    struct rbac_access access = mfa_access(call->auth, "");
    const struct kube_place place = {found->host, found->cluster};
    json_t *rights =
        call->caller.set != NULL ? kube_rights(call->auth, &call->caller, &access, &place, NULL, &ignored) : NULL;
    json_t *users = json_object_get(rights, "users");
    json_t *groups = json_object_get(rights, "groups");
    json_t *item = json_pack(
        "{s:s, s:o, s:b, s:o, s:o}", "name", found->name, "labels",
        json_labels(json_object_get(found->cluster, "labels"), json_object_get(found->cluster, "cmd_labels")), "online",
        found->host->tunnels != NULL, "kubernetes_users", users != NULL ? json_incref(users) : json_array(),
        "kubernetes_groups", groups != NULL ? json_incref(groups) : json_array());
    json_decref(rights);
    char *text = json_text(item);
    (void)buf_append_text(out, text);
    mem_free(text);
    json_decref(item);
}

/* The key is the name: clusters may come and go between pages. */
static int compare_key(void *ctx, size_t i, const char *key)
{
    const struct kube_list *kube = ctx;
    return strcmp(kube->order->items[kube->order->names[i]].name, key);
}

static char *kube_key(void *ctx, size_t i)
{
    const struct kube_list *kube = ctx;
    return mem_strdup(kube->order->items[kube->order->names[i]].name);
}

void do_kube_list(struct call *call)
{
    static const struct list_column columns[] = {{"name", 0}, {"hostname", 0}, {NULL, 0}};
    static const struct list_source source = {
        .count = count_kube, .compare = compare_key, .wanted = kube_wanted, .item = kube_item, .key = kube_key};
    struct kube_list *kube = mem_alloc(sizeof *kube);
    struct tp_error error = {0};
    if (list_open(&kube->list, call, columns, &error) == TP_OK) {
        list_answer(&source, kube);
        return;
    }
    list_close(&kube->list);
    mem_free(kube);
    call_fail(call, &error);
}

struct union_of {
    struct auth *auth;
    const struct caller *caller;
    json_t *users;
    json_t *groups;
};

static int by_text(const json_t *left, const json_t *right)
{
    return strcmp(json_string_value(left), json_string_value(right));
}

static void unite(json_t *into, const json_t *list)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        if (!json_list_has(into, json_string_value(item))) {
            json_array_append(into, item);
        }
    }
}

static void unite_one(void *ctx, struct host *host, const json_t *cluster)
{
    struct union_of *all = ctx;
    struct tp_error ignored = {0};
    struct rbac_access access = mfa_access(all->auth, "");
    const struct kube_place place = {host, cluster};
    json_t *rights = kube_rights(all->auth, all->caller, &access, &place, NULL, &ignored);
    unite(all->users, json_object_get(rights, "users"));
    unite(all->groups, json_object_get(rights, "groups"));
    json_decref(rights);
}

void kube_subjects(struct auth *auth, const struct caller *caller, json_t **ret_users, json_t **ret_groups)
{
    struct union_of all = {.auth = auth, .caller = caller, .users = json_array(), .groups = json_array()};
    kube_each(auth, unite_one, &all);
    json_array_sort(all.users, by_text);
    json_array_sort(all.groups, by_text);
    *ret_users = all.users;
    *ret_groups = all.groups;
}

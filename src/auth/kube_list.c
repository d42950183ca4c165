/* kube.list: the Kubernetes clusters that a person may reach, each once however many agents serve it; and as whom. */
#include "auth/kube.h"

#include <stdlib.h>
#include <string.h>

struct found {
    const char *name;
    const struct host *host; /* one that serves it; online when any is */
    const json_t *cluster;
};

struct listing {
    const struct call *call;
    const json_t *search;
    const json_t *labels;
    struct found *items;
    size_t count;
    size_t room;
};

static bool has_word(const struct rbac_target *target, const char *word)
{
    if (strcasestr(target->name, word) != NULL) {
        return true;
    }
    for (size_t i = 0; i < target->label_count; i++) {
        if (strcasestr(target->labels[i].name, word) != NULL || strcasestr(target->labels[i].value, word) != NULL) {
            return true;
        }
    }
    return false;
}

static bool wanted(const struct listing *listing, const struct rbac_target *target)
{
    size_t i;
    json_t *word;
    const char *key;
    json_t *value;
    json_array_foreach (listing->search, i, word) {
        if (json_is_string(word) && !has_word(target, json_string_value(word))) {
            return false;
        }
    }
    json_object_foreach ((json_t *)(uintptr_t)listing->labels, key, value) {
        bool found = false;
        for (size_t k = 0; k < target->label_count && !found; k++) {
            found = strcmp(target->labels[k].name, key) == 0 && json_is_string(value) &&
                    strcmp(target->labels[k].value, json_string_value(value)) == 0;
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static void list_one(void *ctx, struct host *host, const json_t *cluster)
{
    struct listing *listing = ctx;
    const struct rbac_set *set = listing->call->caller.set;
    struct rbac_target target;
    struct rbac_label *labels = NULL;
    kube_target(cluster, &target, &labels);
    bool shown = hosts_current(host) && (set == NULL || rbac_can_list(set, &target)) && wanted(listing, &target);
    mem_free(labels);
    if (!shown) {
        return;
    }
    if (listing->count == listing->room) {
        listing->room = listing->room == 0 ? 16 : listing->room * 2;
        listing->items = mem_resize(listing->items, listing->room * sizeof *listing->items);
    }
    listing->items[listing->count++] = (struct found){kube_name(cluster), host, cluster};
}

/* By name; of those that serve the same cluster one that is online comes first. */
static int by_name(const void *a, const void *b)
{
    const struct found *left = a;
    const struct found *right = b;
    int order = strcmp(left->name, right->name);
    if (order != 0) {
        return order;
    }
    order = (left->host->tunnels == NULL) - (right->host->tunnels == NULL);
    return order != 0 ? order : strcmp(left->host->id, right->host->id);
}

/* Static labels and the results of commands, as people see them. */
static json_t *shown_labels(const json_t *cluster)
{
    size_t count = 0;
    struct rbac_label *labels =
        rbac_labels_from_json(json_object_get(cluster, "labels"), json_object_get(cluster, "cmd_labels"), &count);
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++) {
        json_object_set_new(object, labels[i].name, json_string(labels[i].value));
    }
    mem_free(labels);
    return object;
}

static json_t *item_of(const struct call *call, const struct found *found)
{
    struct tp_error ignored = {0};
    json_t *rights = call->caller.set != NULL
                         ? kube_rights(call->auth, &call->caller, found->host, found->cluster, NULL, &ignored)
                         : NULL;
    json_t *users = json_object_get(rights, "users");
    json_t *groups = json_object_get(rights, "groups");
    json_t *item =
        json_pack("{s:s, s:o, s:b, s:o, s:o}", "name", found->name, "labels", shown_labels(found->cluster), "online",
                  found->host->tunnels != NULL, "kubernetes_users", users != NULL ? json_incref(users) : json_array(),
                  "kubernetes_groups", groups != NULL ? json_incref(groups) : json_array());
    json_decref(rights);
    return item;
}

void do_kube_list(struct call *call)
{
    struct listing listing = {.call = call,
                              .search = json_object_get(call->params, "search"),
                              .labels = json_object_get(call->params, "labels")};
    int64_t limit = json_get_int(call->params, "limit", 1000);
    const char *start = json_get_text(call->params, "start_key", "");
    json_t *items = json_array();
    const char *last = "";
    const char *next = "";
    size_t total = 0;
    limit = limit <= 0 ? 1000 : limit > 5000 ? 5000 : limit;
    kube_each(call->auth, list_one, &listing);
    if (listing.count > 0) {
        qsort(listing.items, listing.count, sizeof *listing.items, by_name);
    }
    for (size_t i = 0; i < listing.count; i++) {
        const struct found *found = &listing.items[i];
        if (i > 0 && strcmp(found->name, listing.items[i - 1].name) == 0) {
            continue;
        }
        total++;
        if (strcmp(found->name, start) <= 0) {
            continue; /* the key is the last name of the page before: clusters may come and go between pages */
        }
        if (json_array_size(items) == (size_t)limit) {
            next = last;
        } else if (json_array_size(items) < (size_t)limit) {
            json_array_append_new(items, item_of(call, found));
            last = found->name;
        }
    }
    json_t *result = json_pack("{s:o, s:s, s:I}", "items", items, "start_key", next, "total", (json_int_t)total);
    mem_free(listing.items);
    call_reply(call, result);
}

struct union_of {
    struct auth *auth;
    const struct caller *caller;
    json_t *users;
    json_t *groups;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

static json_t *sorted(json_t *list)
{
    size_t count = json_array_size(list);
    json_t **items = mem_array(count + 1, sizeof *items);
    json_t *result = json_array();
    for (size_t i = 0; i < count; i++) {
        items[i] = json_array_get(list, i);
    }
    qsort(items, count, sizeof *items, by_text);
    for (size_t i = 0; i < count; i++) {
        json_array_append(result, items[i]);
    }
    mem_free(items);
    json_decref(list);
    return result;
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
    json_t *rights = kube_rights(all->auth, all->caller, host, cluster, NULL, &ignored);
    unite(all->users, json_object_get(rights, "users"));
    unite(all->groups, json_object_get(rights, "groups"));
    json_decref(rights);
}

void kube_subjects(struct auth *auth, const struct caller *caller, json_t **ret_users, json_t **ret_groups)
{
    struct union_of all = {.auth = auth, .caller = caller, .users = json_array(), .groups = json_array()};
    kube_each(auth, unite_one, &all);
    *ret_users = sorted(all.users);
    *ret_groups = sorted(all.groups);
}

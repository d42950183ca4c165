#include "auth/access.h"
#include "auth/agentless.h"
#include "auth/dispatch.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/list.h"

#include <stdlib.h>
#include <string.h>

struct agentless {
    char *id;
    json_t *resource;
    struct rbac_label *labels; /* the texts are resource's */
    size_t label_count;
    struct rbac_tags tags;
    int64_t expires_ms; /* 0: never */
};

/* All of them, in order when somebody has asked for it since the last change. */
struct agentless_all {
    struct map *servers;
    struct agentless **order;
    size_t count; /* of order, and of what is being put into it */
    unsigned made;
};

static void order_changed(struct agentless_all *all)
{
    mem_free(all->order);
    all->order = NULL;
    all->count = 0;
}

static void destroy(struct agentless *server)
{
    if (server != NULL) {
        mem_free(server->id);
        mem_free(server->labels);
        json_decref(server->resource);
        mem_free(server);
    }
}

void agentless_changed(struct auth *auth, const char *id, const json_t *doc)
{
    struct agentless_all *all = auth->agentless;
    order_changed(all);
    if (doc == NULL) {
        destroy(map_remove(all->servers, id));
        return;
    }
    struct agentless *server = mem_alloc(sizeof *server);
    server->id = mem_strdup(id);
    server->resource = json_deep_copy(doc);
    const json_t *metadata = json_object_get(server->resource, "metadata");
    server->labels = rbac_labels_from_json(json_object_get(metadata, "labels"), NULL, &server->label_count);
    server->tags = rbac_tags_of(server->labels, server->label_count);
    server->expires_ms = doc_ms(metadata, "expires");
    destroy(map_set(all->servers, id, server));
}

static bool load_one(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    (void)revision;
    agentless_changed(ctx, name, doc);
    return true;
}

enum tp_err agentless_load(struct auth *auth, struct tp_error *error)
{
    auth->agentless = mem_alloc(sizeof *auth->agentless);
    auth->agentless->servers = map_new();
    return doc_each(auth->state, "/openssh/", NULL, load_one, auth, error);
}

static void destroy_each(void *ctx, const char *key, void *value)
{
    (void)ctx;
    (void)key;
    destroy(value);
}

void agentless_free(struct auth *auth)
{
    if (auth->agentless != NULL) {
        order_changed(auth->agentless);
        map_each(auth->agentless->servers, destroy_each, NULL);
        map_free(auth->agentless->servers);
        mem_free(auth->agentless);
    }
}

bool agentless_is(const json_t *doc)
{
    return strcmp(json_get_text(doc, "kind", ""), "node") == 0 &&
           strcmp(json_get_text(doc, "sub_kind", ""), "openssh") == 0;
}

enum tp_err agentless_check(const struct call *call, const json_t *doc, struct tp_error *error)
{
    const json_t *metadata = json_object_get(doc, "metadata");
    const char *id = json_get_text(metadata, "name", "");
    const struct host *host = hosts_get(call->auth, id);
    /* For who may not list that host, his document is just another one: it takes nothing from the host. */
    if (host != NULL && (call->caller.set == NULL || access_may_list(call->caller.set, host))) {
        return err_set(error, TP_EXISTS, "the node \"%s\" has registered itself; give this server another name", id);
    }
    return hosts_check_labels(json_object_get(metadata, "labels"), "metadata.labels", false, error);
}

void agentless_target(const struct agentless *server, struct rbac_target *ret_target)
{
    const json_t *spec = json_object_get(server->resource, "spec");
    *ret_target = (struct rbac_target){.kind = ROLE_NODE,
                                       .name = json_get_text(spec, "hostname", ""),
                                       .labels = server->labels,
                                       .label_count = server->label_count,
                                       .tags = &server->tags};
}

const char *agentless_id(const struct agentless *server)
{
    return server->id;
}

static bool current(const struct agentless *server)
{
    return server->expires_ms == 0 || clock_wall_ms() < server->expires_ms;
}

static int by_id(const void *a, const void *b)
{
    return strcmp((*(struct agentless *const *)a)->id, (*(struct agentless *const *)b)->id);
}

static void add_one(void *ctx, const char *key, void *value)
{
    struct agentless_all *all = ctx;
    (void)key;
    all->order[all->count++] = value;
}

static struct agentless_all *sorted(struct auth *auth)
{
    struct agentless_all *all = auth->agentless;
    if (all->order == NULL) {
        all->order = mem_array(map_count(all->servers) + 1, sizeof(struct agentless *));
        all->made++;
        map_each(all->servers, add_one, all);
        qsort(all->order, all->count, sizeof(struct agentless *), by_id);
    }
    return all;
}

/* Is it the name of a host, be it away since long, that the caller may list? Who waits until that is away gets nothing of it. */
static bool is_hosts_name(const struct call *call, const char *name)
{
    const struct rbac_set *set = call->caller.set;
    const struct host *host = host_names_first(call->auth, name);
    while (host != NULL && set != NULL && !access_may_list(set, host)) {
        host = host->next_named;
    }
    return host != NULL;
}

const struct agentless *agentless_find(const struct call *call, const char *target)
{
    const struct agentless_all *all = sorted(call->auth);
    const struct agentless *found = NULL;
    for (size_t i = 0; i < all->count; i++) {
        const struct agentless *server = all->order[i];
        struct rbac_target as;
        agentless_target(server, &as);
        bool id = strcmp(server->id, target) == 0;
        if ((id || (found == NULL && strcasecmp(as.name, target) == 0)) && current(server) &&
            (call->caller.set == NULL || rbac_can_list(call->caller.set, &as))) {
            found = server;
        }
    }
    return found != NULL && !is_hosts_name(call, target) ? found : NULL;
}

enum tp_err agentless_refuse(const struct agentless *server, struct tp_error *error)
{
    const json_t *spec = json_object_get(server->resource, "spec");
    return err_set(
        error, TP_UNAVAILABLE,
        "%s is a server without an agent (%s), to which tport does not connect yet; join it with an agent, see "
        "`tportctl nodes add`",
        json_get_text(spec, "hostname", ""), json_get_text(spec, "addr", ""));
}

/* ---- nodes.list ---- */

struct agentless_pages {
    struct list list; /* first: list_answer */
    const struct agentless_all *all;
    unsigned made; /* of the turn before */
};

static size_t count_servers(void *ctx, bool *ret_same)
{
    struct agentless_pages *pages = ctx;
    pages->all = sorted(pages->list.call->auth);
    *ret_same = pages->made == pages->all->made;
    pages->made = pages->all->made;
    return pages->all->count;
}

static int compare_key(void *ctx, size_t i, const char *key)
{
    const struct agentless_pages *pages = ctx;
    return strcmp(pages->all->order[i]->id, key);
}

static bool server_wanted(void *ctx, size_t i)
{
    struct agentless_pages *pages = ctx;
    const struct agentless *server = pages->all->order[i];
    struct rbac_target target;
    agentless_target(server, &target);
    return current(server) &&
           list_wants(&pages->list,
                      &(struct list_item){.target = &target, .id = server->id, .resource = server->resource});
}

static void server_item(void *ctx, size_t i, struct buf *out)
{
    const struct agentless_pages *pages = ctx;
    char *text = json_text(pages->all->order[i]->resource);
    (void)buf_append_text(out, text);
    mem_free(text);
}

static char *server_key(void *ctx, size_t i)
{
    const struct agentless_pages *pages = ctx;
    return mem_strdup(pages->all->order[i]->id);
}

void agentless_list(struct call *call)
{
    static const struct list_column columns[] = {{"name", 0}, {NULL, 0}};
    static const struct list_source source = {.count = count_servers,
                                              .compare = compare_key,
                                              .wanted = server_wanted,
                                              .item = server_item,
                                              .key = server_key};
    struct agentless_pages *pages = mem_alloc(sizeof *pages);
    struct tp_error error = {0};
    if (list_open(&pages->list, call, columns, &error) == TP_OK) {
        list_answer(&source, pages);
        return;
    }
    list_close(&pages->list);
    mem_free(pages);
    call_fail(call, &error);
}

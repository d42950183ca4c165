/* A server by what people call it: its id, or its name among those that the caller may list, so that a stranger cannot learn
 * which names exist. What is missed by a letter is named, and servers of one name are told apart by their labels. */
#include "auth/access.h"
#include "auth/agentless.h"
#include "auth/dispatch.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "rbac/names.h"

#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 5   /* servers of one name that a sentence lists */
#define LABELS_MAX 80 /* bytes of the labels of each */
#define NEAR_EDITS 2  /* that a name may be off */

struct lookup {
    const char *target;
    const struct rbac_set *set;
    struct host *hits[SHOWN_MAX];
    size_t count; /* of all */
    char *lower;  /* target as names of hosts are kept */
    const struct host *near;
    size_t edits;
};

const struct host *access_host_by_name(const struct call *call, const char *name)
{
    const struct caller *caller = &call->caller;
    const struct host *host = hosts_get(call->auth, name) == NULL ? host_names_first(call->auth, name) : NULL;
    while (host != NULL && caller->who != WHO_LOCAL && !access_may_list(caller->set, host)) {
        host = host->next_named;
    }
    return host;
}

bool access_may_list(const struct rbac_set *set, const struct host *host)
{
    if (!hosts_is_node(host)) {
        return false;
    }
    struct rbac_target target;
    hosts_target(host, &target);
    return rbac_can_list(set, &target);
}

static void match_name(struct lookup *lookup, struct host *host)
{
    if (hosts_current(host) && access_may_list(lookup->set, host)) {
        if (lookup->count < SHOWN_MAX) {
            lookup->hits[lookup->count] = host;
        }
        lookup->count++;
    }
}

static void match_near(void *ctx, const char *key, void *value)
{
    struct lookup *lookup = ctx;
    const struct host *host = value;
    size_t length = strlen(host->name);
    size_t wanted = strlen(lookup->lower);
    (void)key;
    if (length > wanted + NEAR_EDITS || wanted > length + NEAR_EDITS) {
        return;
    }
    size_t edits = names_distance(host->name, lookup->lower, NEAR_EDITS);
    /* A short name is two edits away from everything. */
    if (edits > NEAR_EDITS || edits > length / 2) {
        return;
    }
    bool better = lookup->near == NULL || edits < lookup->edits ||
                  (edits == lookup->edits && strcmp(host->name, lookup->near->name) < 0);
    if (better && hosts_current(host) && access_may_list(lookup->set, host)) {
        lookup->near = host;
        lookup->edits = edits;
    }
}

static enum tp_err say_none(const struct call *call, struct lookup *lookup, struct tp_error *error)
{
    const struct agentless *server = agentless_find(call, lookup->target);
    if (server != NULL) {
        return agentless_refuse(server, error);
    }
    lookup->lower = host_names_lower(lookup->target);
    map_each(call->auth->hosts, match_near, lookup);
    mem_free(lookup->lower);
    if (lookup->near != NULL) {
        return err_set(error, TP_NOT_FOUND, "no server named %s; did you mean %s? `tport ls` lists those you can reach",
                       lookup->target, lookup->near->name);
    }
    return err_set(error, TP_NOT_FOUND, "no server named %s; `tport ls` lists those you can reach", lookup->target);
}

static int by_id(const void *a, const void *b)
{
    return strcmp((*(struct host *const *)a)->id, (*(struct host *const *)b)->id);
}

static bool has_label(const struct host *host, const struct rbac_label *label)
{
    for (size_t i = 0; i < host->label_count; i++) {
        if (strcmp(host->labels[i].name, label->name) == 0 && strcmp(host->labels[i].value, label->value) == 0) {
            return true;
        }
    }
    return false;
}

/* " (env=prod, rack=7)": what not all of them have. Labels are texts of the hosts: what is no plain text becomes a "?". */
static void add_labels(const struct lookup *lookup, const struct host *host, size_t shown, struct buf *text)
{
    size_t used = 0;
    for (size_t i = 0; i < host->label_count; i++) {
        size_t have = 0;
        for (size_t j = 0; j < shown; j++) {
            have += has_label(lookup->hits[j], &host->labels[i]);
        }
        if (have == shown) {
            continue;
        }
        char *label = mem_printf("%s=%s", host->labels[i].name, host->labels[i].value);
        for (char *at = label; *at != '\0'; at++) {
            *at = (unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at;
        }
        if (used + strlen(label) + 2 <= LABELS_MAX) { /* whole or not at all */
            (void)buf_printf(text, "%s%s", used == 0 ? " (" : ", ", label);
            used += strlen(label) + 2;
        }
        mem_free(label);
    }
    (void)buf_printf(text, "%s", used > 0 ? ")" : "");
}

static enum tp_err say_several(struct lookup *lookup, struct tp_error *error)
{
    struct buf text;
    size_t shown = lookup->count < SHOWN_MAX ? lookup->count : SHOWN_MAX;
    buf_init(&text, 2048);
    qsort(lookup->hits, shown, sizeof lookup->hits[0], by_id);
    for (size_t i = 0; i < shown; i++) {
        (void)buf_printf(&text, "%s%s", i > 0 ? ", " : "", lookup->hits[i]->id);
        add_labels(lookup, lookup->hits[i], shown, &text);
    }
    if (lookup->count > shown) {
        (void)buf_printf(&text, " and %zu more", lookup->count - shown);
    }
    (void)err_set(error, TP_AMBIGUOUS, "%.80s is the name of %zu servers; use the id of one: %s", lookup->target,
                  lookup->count, buf_text(&text));
    buf_free(&text);
    return TP_AMBIGUOUS;
}

enum tp_err access_find_node(const struct call *call, const char *target, struct host **ret_host,
                             struct tp_error *error)
{
    struct lookup lookup = {.target = target, .set = call->caller.set};
    struct host *host = hosts_get(call->auth, target);
    if (host != NULL && access_may_list(call->caller.set, host)) {
        *ret_host = host;
        return TP_OK;
    }
    for (host = host_names_first(call->auth, target); host != NULL; host = host->next_named) {
        match_name(&lookup, host);
    }
    if (lookup.count == 0) {
        return say_none(call, &lookup, error);
    }
    if (lookup.count > 1) {
        return say_several(&lookup, error);
    }
    *ret_host = lookup.hits[0];
    return TP_OK;
}

/* What a join token is good for besides joining: its script for a server, and word of who has joined with it. */
#include "auth/ca.h"
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/kube.h"
#include "auth/lockout.h"
#include "auth/tokens.h"

#include <string.h>

/* One value for each label; a token may suggest several, of which a host can have one. */
static json_t *first_labels(const json_t *suggested)
{
    json_t *labels = json_object();
    const char *name;
    json_t *values;
    json_object_foreach ((json_t *)(uintptr_t)suggested, name, values) {
        const json_t *value = json_is_array(values) ? json_array_get(values, 0) : values;
        if (json_is_string(value)) {
            json_object_set_new(labels, name, json_string(json_string_value(value)));
        }
    }
    return labels;
}

/* For whoever holds the token: what the script that joins a server needs. Who holds none learns nothing, and tries slowly;
 * who does may ask as often as he has servers. */
void do_tokens_script(struct call *call)
{
    struct tp_error error = {0};
    const char *secret = NULL;
    json_t *suggested = NULL;
    enum tp_err err = json_need_text(call->params, "token", &secret, &error);
    if (err == TP_OK) {
        err = tokens_check(call->auth, secret, TOKEN_NODE, &suggested, &error);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    if (call->caller.who == WHO_ANONYMOUS) {
        lockout_give_back(call->auth->lockout, call->caller.ip);
    }
    json_t *result = ca_describe(call->auth);
    json_object_set_new(result, "ca_pins", ca_pins(call->auth));
    json_object_set_new(result, "labels", first_labels(suggested));
    json_decref(suggested);
    call_reply(call, result);
}

struct joined {
    const char *token; /* its hash */
    json_t *list;
};

static void add_joined(void *ctx, const char *key, void *value)
{
    struct joined *joined = ctx;
    const struct host *host = value;
    (void)key;
    if (host->token == NULL || strcmp(host->token, joined->token) != 0) {
        return;
    }
    json_t *clusters = json_array();
    size_t i;
    json_t *cluster;
    json_array_foreach (host->kube, i, cluster) {
        json_array_append_new(clusters, json_string(kube_name(cluster)));
    }
    json_array_append_new(joined->list, json_pack("{s:s, s:s, s:b, s:o}", "id", host->id, "name", host->name, "online",
                                                  host->tunnels != NULL, "kube_clusters", clusters));
}

/* The right to make tokens and the token itself are needed: whoever made it sees what came of it, whatever the labels. */
void do_tokens_joined(struct call *call)
{
    struct tp_error error = {0};
    const char *secret = NULL;
    char hash[HASH_TEXT_SIZE];
    if (json_need_text(call->params, "token", &secret, &error) != TP_OK) {
        call_fail(call, &error);
        return;
    }
    doc_hash(secret, hash);
    struct joined joined = {.token = hash, .list = json_array()};
    map_each(call->auth->hosts, add_joined, &joined);
    call_reply(call, json_pack("{s:o}", "hosts", joined.list));
}

/*
 * When a host was there last. That of one that is away is in the store, so that it outlives us; who has no time there was
 * connected when the auth before ended. A host whose certificate has ended can't come back but by joining anew, so its
 * registration goes: machines that never return would be remembered for ever.
 */
#include "auth/audit.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/keep.h"

#define PLACE "/host_seen/"
#define EXPIRE_MAX \
    2 /* in one round, each minute: auth does nothing else while each is written out of the store, five times */

static bool load_one(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct host *host = hosts_get(ctx, name);
    (void)revision;
    if (host != NULL && doc_ms(doc, "seen") > 0) {
        host->last_seen_ms = doc_ms(doc, "seen");
        host->seen_kept = true;
    }
    return true;
}

enum tp_err host_seen_load(struct auth *auth, struct tp_error *error)
{
    return doc_each(auth->state, PLACE, NULL, load_one, auth, error);
}

enum tp_err host_seen_forget(struct auth *auth, const char *id, struct tp_error *error)
{
    char *key = mem_printf(PLACE "%s", id);
    mem_free(map_remove(auth->batch, key));
    mem_free(key);
    enum tp_err err = doc_delete(auth->state, PLACE, id, error);
    return err == TP_NOT_FOUND ? TP_OK : err;
}

static void keep_one(void *ctx, const char *id, void *value)
{
    struct auth *auth = ctx;
    struct host *host = value;
    bool away = host->tunnels == NULL;
    if (away == host->seen_kept) {
        return;
    }
    json_t *doc = json_object();
    if (away) {
        json_object_set_new(doc, "seen", doc_time(host->last_seen_ms));
    }
    batch_put(auth, PLACE, id, doc);
    json_decref(doc);
    host->seen_kept = away;
}

void host_seen_keep(struct auth *auth)
{
    map_each(auth->hosts, keep_one, auth);
    if (keep_is_settled(auth)) {
        host_seen_expire(auth, keep_now(auth));
    }
}

struct ended {
    int64_t now;
    struct host *hosts[EXPIRE_MAX];
    size_t count;
};

static void find_ended(void *ctx, const char *id, void *value)
{
    struct ended *ended = ctx;
    struct host *host = value;
    int64_t made = host->cert_given > host->cert_made ? host->cert_given : host->cert_made;
    (void)id;
    if (ended->count < EXPIRE_MAX && host->tunnels == NULL && made + HOST_CERT_SECONDS < ended->now) {
        ended->hosts[ended->count++] = host;
    }
}

void host_seen_expire(struct auth *auth, int64_t now_ms)
{
    struct ended ended = {.now = now_ms / 1000};
    map_each(auth->hosts, find_ended, &ended);
    for (size_t i = 0; i < ended.count; i++) {
        const struct host *host = ended.hosts[i];
        struct tp_error error = {0};
        json_t *event = event_new("node.deleted", true, auth->settings.cluster);
        json_object_set_new(event, "name", json_string(host->id));
        json_object_set_new(event, "server_hostname", json_string(host->name));
        json_object_set_new(event, "reason", json_string("certificate_expired"));
        log_info("host removed: its certificate has ended, so it can only join anew", "host=%s name=\"%s\"", host->id,
                 host->name);
        if (hosts_delete(auth, host->id, &error) == TP_OK) {
            audit_emit(auth, event, NULL, NULL);
        } else {
            log_warn("host not removed", "error=\"%s\"", error.text);
            json_decref(event);
        }
    }
}

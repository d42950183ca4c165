/* An entry of the table of live sessions: made by a grant, stored, read again. */
#include "auth/dispatch.h"
#include "auth/inner.h"
#include "auth/live.h"
#include "auth/node_rights.h"

#include <string.h>

void live_destroy(struct live *live)
{
    if (live != NULL) {
        mem_free(live->service);
        mem_free(live->target);
        mem_free(live->user);
        json_decref(live->roles);
        json_decref(live->traits);
        json_decref(live->rights);
        json_decref(live->grant);
        mem_free(live->web_key);
        mem_free(live->attach);
        mem_free(live->host_id);
        mem_free(live->client_addr);
        mem_free(live->pinned_login);
        mem_free(live->mfa_device);
        mem_free(live->login_device);
        mem_free(live->cut_text);
        mem_free(live);
    }
}

void live_keep(struct auth *auth, struct live *live)
{
    live_destroy(map_set(auth->live, live->sid, live));
}

struct live *sessions_add(struct auth *auth, const struct call *call, const struct live_new *fresh)
{
    struct live *live = mem_alloc(sizeof *live);
    snprintf(live->sid, sizeof live->sid, "%s", fresh->sid);
    live->service = mem_strdup(fresh->service);
    live->target = mem_strdup(fresh->target);
    live->user = mem_strdup(call->caller.user);
    live->roles = json_deep_copy(call->caller.roles);
    live->traits = json_deep_copy(call->caller.traits);
    live->rights = json_incref(fresh->rights);
    live->host_id = mem_strdup(fresh->host_id);
    live->pinned_login = fresh->login != NULL ? mem_strdup(fresh->login) : NULL;
    live->mfa_device = fresh->mfa_device != NULL ? mem_strdup(fresh->mfa_device) : NULL;
    live->grant = fresh->grant != NULL ? json_deep_copy(fresh->grant) : NULL;
    live->web_key = call->caller.web_key != NULL ? mem_strdup(call->caller.web_key) : NULL;
    live->login_device = call->caller.login_device != NULL ? mem_strdup(call->caller.login_device) : NULL;
    live->attach = mem_strdup(fresh->sid);
    live->client_addr = mem_strdup(call->caller.addr);
    live->worker = call->caller.worker;
    live->started_ms = clock_wall_ms();
    live->not_after = call->caller.not_after;
    live->cut_at_expiry = fresh->cut_at_expiry;
    live->recheck_ms = call->caller.ends_ms;
    live->dirty = true;
    live_keep(auth, live);
    return live;
}

void live_store(struct auth *auth, const struct live *live)
{
    json_t *doc = json_pack("{s:s, s:s, s:s, s:O, s:O, s:s, s:s, s:s, s:i, s:o, s:I, s:b, s:I}", "service",
                            live->service, "target", live->target, "user", live->user, "roles", live->roles, "traits",
                            live->traits, "host_id", live->host_id, "addr", live->client_addr, "login",
                            live->pinned_login != NULL ? live->pinned_login : "", "worker", live->worker, "started",
                            doc_time(live->started_ms), "not_after", (json_int_t)live->not_after, "cut_at_expiry",
                            live->cut_at_expiry, "channels", (json_int_t)live->channels);
    if (live->cut) {
        json_object_set_new(doc, "cut_reason", json_string(close_name(live->cut_reason)));
        json_object_set_new(doc, "cut_text", json_string(live->cut_text));
    }
    if (live->closed) {
        json_object_set_new(doc, "closed", doc_time(live->closed_ms));
    }
    if (live->mfa_device != NULL) {
        json_object_set_new(doc, "mfa_device", json_string(live->mfa_device));
    }
    if (live->login_device != NULL) {
        json_object_set_new(doc, "login_device", json_string(live->login_device));
    }
    if (live->rights != NULL) {
        json_object_set(doc, "rights", live->rights);
    }
    if (live->grant != NULL) {
        json_object_set(doc, "grant", live->grant);
        json_object_set_new(doc, "web_key", json_string(live->web_key != NULL ? live->web_key : ""));
        json_object_set_new(doc, "attach", json_string(live->attach));
        json_object_set_new(doc, "parked", doc_time(live->parked_ms));
    }
    batch_put(auth, "/live/", live->sid, doc);
    json_decref(doc);
}

static bool load_live(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct auth *auth = ctx;
    (void)revision;
    if (strlen(name) >= UUID_TEXT_SIZE) {
        return true;
    }
    struct live *live = mem_alloc(sizeof *live);
    snprintf(live->sid, sizeof live->sid, "%s", name);
    live->service = mem_strdup(json_get_text(doc, "service", "ssh"));
    live->target = mem_strdup(json_get_text(doc, "target", ""));
    live->user = mem_strdup(json_get_text(doc, "user", ""));
    live->roles = json_deep_copy(json_object_get(doc, "roles"));
    live->traits = json_deep_copy(json_object_get(doc, "traits"));
    live->rights = json_deep_copy(json_object_get(doc, "rights"));
    live->host_id = mem_strdup(json_get_text(doc, "host_id", ""));
    live->client_addr = mem_strdup(json_get_text(doc, "addr", ""));
    live->grant = json_deep_copy(json_object_get(doc, "grant"));
    if (live->rights == NULL && live->grant != NULL) {
        live->rights = node_rights_of_grant(live->grant); /* stored by a version that had none on record */
    }
    live->web_key = mem_strdup(json_get_text(doc, "web_key", ""));
    live->attach = mem_strdup(json_get_text(doc, "attach", name));
    live->parked_ms = doc_ms(doc, "parked");
    const char *login = json_get_text(doc, "login", "");
    live->pinned_login = login[0] != '\0' ? mem_strdup(login) : NULL;
    const char *device = json_get_text(doc, "mfa_device", "");
    live->mfa_device = device[0] != '\0' ? mem_strdup(device) : NULL;
    const char *login_device = json_get_text(doc, "login_device", NULL);
    live->login_device = login_device != NULL ? mem_strdup(login_device) : NULL;
    live->worker = (int)json_get_int(doc, "worker", -1);
    live->started_ms = doc_ms(doc, "started");
    live->not_after = json_get_int(doc, "not_after", 0);
    live->cut_at_expiry = json_get_bool(doc, "cut_at_expiry", false);
    live->channels = (unsigned)json_get_int(doc, "channels", 0);
    live->closed_ms = doc_ms(doc, "closed");
    live->closed = live->closed_ms != 0;
    live->unheard_ms = live->closed || live->parked_ms != 0 ? 0 : clock_wall_ms() + LIVE_UNHEARD_MS;
    const char *cut_text = json_get_text(doc, "cut_text", "");
    live->cut = cut_text[0] != '\0';
    if (live->cut) {
        live->cut_text = mem_strdup(cut_text);
        live->cut_reason = close_from_name(json_get_text(doc, "cut_reason", ""));
    }
    live->stored = true;
    live_keep(auth, live);
    return true;
}

enum tp_err sessions_load(struct auth *auth, struct tp_error *error)
{
    return doc_each(auth->state, "/live/", NULL, load_live, auth, error);
}

static void destroy_each(void *ctx, const char *key, void *value)
{
    (void)ctx;
    (void)key;
    live_destroy(value);
}

void sessions_free(struct auth *auth)
{
    map_each(auth->live, destroy_each, NULL);
    map_free(auth->live);
}

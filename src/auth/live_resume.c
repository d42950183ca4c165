/* session.resume: a worker has a new line, and tells what is alive. */
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth/kube.h"
#include "auth/live.h"
#include "auth/node_rights.h"

#include <string.h>

/* Ours, once: the signature is that of a grant of ours, and it is long used, so its time does not count. */
static enum tp_err open_grant(const struct auth *auth, const json_t *item, json_t **ret_grant)
{
    uint8_t key[32];
    struct buf data;
    const char *text = json_get_text(item, "grant", "");
    buf_init(&data, 1024 * 1024);
    enum tp_err err = key_ed25519_public(auth->grant_key, key);
    if (err == TP_OK) {
        err = dec_base64(text, strlen(text), &data);
    }
    if (err == TP_OK) {
        const uint8_t(*keys)[32] = (const uint8_t(*)[32])key;
        err = grant_open(buf_head(&data), buf_size(&data), keys, 1, json_get_text(item, "host_id", ""),
                         json_get_text(item, "service", ""), 0, ret_grant, NULL);
    }
    buf_free(&data);
    return err;
}

static json_t *rights_of_grant(const json_t *grant)
{
    json_t *rights = kube_rights_of_grant(grant);
    return rights != NULL ? rights : node_rights_of_grant(grant);
}

/* An entry that was stored by a version without rights on record: its grant has them, so an upgrade leaves no session that a
 * lost option does not reach. */
static void take_rights(struct auth *auth, const json_t *item, struct live *live)
{
    json_t *grant = NULL;
    if (live->rights == NULL && open_grant(auth, item, &grant) == TP_OK &&
        strcmp(json_get_text(grant, "sid", ""), live->sid) == 0 &&
        strcmp(json_get_text(grant, "service", ""), live->service) == 0) {
        live->rights = rights_of_grant(grant);
        live->dirty |= live->rights != NULL;
    }
    json_decref(grant);
}

/* We were killed before the entry was stored: the grant says all that is needed. */
static struct live *live_from_grant(struct auth *auth, const json_t *item, const char *sid, int worker)
{
    json_t *grant = NULL;
    if (strlen(sid) >= UUID_TEXT_SIZE || open_grant(auth, item, &grant) != TP_OK) {
        return NULL;
    }
    struct live *live = NULL;
    if (strcmp(json_get_text(grant, "sid", ""), sid) == 0) {
        live = mem_alloc(sizeof *live);
        snprintf(live->sid, sizeof live->sid, "%s", sid);
        live->service = mem_strdup(json_get_text(grant, "service", ""));
        live->target = mem_strdup(json_get_text(grant, "kube_cluster", ""));
        live->rights = rights_of_grant(grant);
        live->user = mem_strdup(json_get_text(grant, "user", ""));
        live->roles = json_deep_copy(json_object_get(grant, "roles"));
        live->traits = json_deep_copy(json_object_get(grant, "traits"));
        live->host_id = mem_strdup(json_get_text(grant, "host_id", ""));
        live->client_addr = mem_strdup(json_get_text(grant, "client_addr", ""));
        live->worker = worker;
        live->started_ms = doc_ms(grant, "issued");
        live->not_after = doc_ms(grant, "cert_not_after") / 1000;
        if (strcmp(live->service, "term") == 0) {
            live->grant = json_deep_copy(grant);
            live->pinned_login =
                mem_strdup(json_get_text(json_array_get(json_object_get(grant, "logins"), 0), "name", ""));
        }
        const char *device = json_get_text(grant, "mfa_device", NULL);
        live->mfa_device = device != NULL ? mem_strdup(device) : NULL;
        const char *login_device = json_get_text(grant, "login_device", NULL);
        live->login_device = login_device != NULL ? mem_strdup(login_device) : NULL;
        live->attach = mem_strdup(json_get_text(grant, "attach", sid));
        live->web_key = mem_strdup(json_get_text(grant, "web", ""));
        live->dirty = true;
        live_keep(auth, live);
    }
    json_decref(grant);
    return live;
}

static void resume_one(struct auth *auth, const json_t *item, int worker)
{
    const char *sid = json_get_text(item, "sid", "");
    struct live *live = map_get(auth->live, sid);
    if (live == NULL) {
        live = live_from_grant(auth, item, sid, worker);
    }
    if (live == NULL || live->worker != worker) {
        log_warn("a worker holds a session that was never granted", "worker=%d sid=%.40s", worker, sid);
        auth_tell_worker(auth, worker, "session.cut",
                         json_pack("{s:s, s:s, s:s, s:s}", "sid", sid, "host_id", json_get_text(item, "host_id", ""),
                                   "reason", close_name(CLOSE_INTERNAL), "text", "this session is not on record"));
        return;
    }
    live->resumed = true;
    live->unheard_ms = 0;
    live->dirty |= live->closed;
    live->closed = false;
    take_rights(auth, item, live);
    if (live->cut) {
        live_tell_cut(auth, live);
    } else {
        (void)sessions_recheck_one(auth, live);
    }
}

/* What the worker did not name has ended while nobody could say so. */
static void settle_one(void *ctx, const char *key, void *value)
{
    const int *worker = ctx;
    struct live *live = value;
    (void)key;
    if (live->worker == *worker && !live->resumed && live->parked_ms == 0) {
        sessions_close(live);
    }
    live->resumed &= live->worker != *worker;
}

void do_session_resume(struct call *call)
{
    struct auth *auth = call->auth;
    int worker = call->caller.worker;
    const json_t *list = json_object_get(call->params, "sessions");
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        resume_one(auth, item, worker);
    }
    if (json_get_bool(call->params, "last", false)) {
        map_each(auth->live, settle_one, &worker);
    }
    call_reply(call, NULL);
}

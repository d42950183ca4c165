/* sessions.list and sessions.end. Others' sessions are seen by whoever may list session trackers, end sessions, or join
 * (join_sessions of the roles), the last whatever a deny on lists says. */
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/live.h"
#include "auth/pages.h"
#include "auth/recording.h"
#include "auth/running.h"
#include "rbac/join.h"

#include <string.h>

#define REASON_MAX 500

static bool own(const struct call *call, const struct live *live)
{
    return call->caller.who == WHO_USER && strcmp(live->user, call->caller.user) == 0;
}

static const char *kind_of(const struct live *live)
{
    return strcmp(live->service, "kube") == 0 ? "k8s" : "ssh";
}

/* A peer types in the terminal, so he needs the login itself: roles from before join_sessions make everybody one. */
static bool may_log_in(const struct call *call, const struct live *live)
{
    const struct host *host = hosts_get(call->auth, live->host_id);
    struct rbac_target target;
    if (host == NULL || !hosts_is_node(host) || live->pinned_login == NULL) {
        return false;
    }
    hosts_target(host, &target);
    return rbac_node_access(call->caller.set, &target, live->pinned_login, NULL) == TP_OK;
}

/* In which modes may the caller join? owner: the roles of whoever runs it. */
static unsigned join_modes(const struct call *call, const struct live *live, const struct rbac_set *owner)
{
    const struct rbac_session session = {.owner = owner, .owner_name = live->user, .kind = kind_of(live)};
    unsigned modes = call->caller.set != NULL ? rbac_join_modes(call->caller.set, call->caller.user, &session) : 0;
    return modes == RBAC_PEER && !may_log_in(call, live) ? 0 : modes;
}

/* The session as `where` sees it, under both of its names. */
static json_t *where_names(const struct call *call, const struct live *live, const json_t *meta)
{
    const struct host *host = hosts_get(call->auth, live->host_id);
    json_t *people = json_object_get(meta, "participants");
    json_t *session = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:O?}", "session_id", live->sid, "sid",
                                live->sid, "kind", kind_of(live), "host_user", live->user, "user", live->user, "login",
                                live->pinned_login != NULL ? live->pinned_login : "", "server_id", live->host_id,
                                "hostname", host != NULL ? host->name : live->target, "participants", people);
    if (people == NULL) {
        json_object_set_new(session, "participants", json_pack("[s]", live->user));
    }
    if (strcmp(live->service, "kube") == 0) {
        json_object_set_new(session, "kubernetes_cluster", json_string(live->target));
    }
    return json_pack("{s:O, s:o}", "ssh_session", session, "session_tracker", session);
}

static bool rule(const struct call *call, const char *verb, const char *kind, const json_t *more)
{
    struct rbac_context context = {.more = more};
    struct tp_error ignored = {0};
    return call_rule(call, verb, kind, &context, &ignored) == TP_OK;
}

static struct running_rights rights_with(const struct call *call, const struct live *live, const json_t *meta,
                                         const struct rbac_set *owner)
{
    json_t *more = where_names(call, live, meta);
    unsigned modes = join_modes(call, live, owner);
    struct running_rights rights = {
        .end = (modes & RBAC_MODERATOR) != 0 || rule(call, "delete", "ssh_session", more),
        .watch = modes != 0 || (meta != NULL && recordings_may(call, "read", meta)),
    };
    rights.see = rights.end || rights.watch || rule(call, "list", "session_tracker", more);
    json_decref(more);
    return rights;
}

static bool all_rights(const struct call *call, const struct live *live)
{
    return own(call, live) || call->caller.who == WHO_LOCAL;
}

struct running_rights running_rights(const struct call *call, const struct live *live, const json_t *meta)
{
    if (all_rights(call, live)) {
        return (struct running_rights){true, true, true};
    }
    struct rbac_set *owner = caller_set(call->auth, live->user, live->roles, live->traits);
    struct running_rights rights = rights_with(call, live, meta, owner);
    rbac_set_free(owner);
    return rights;
}

/* ---- sessions.list ---- */

struct listing {
    const struct call *call;
    json_t *items;
    json_t *channels;   /* sid: [meta] of its open channels */
    struct map *owners; /* user and roles to struct rbac_set: many sessions are of few people */
};

static const struct rbac_set *owner_set(struct listing *listing, const struct live *live)
{
    char *roles = json_text(live->roles);
    char *traits = json_text(live->traits);
    char *key = mem_printf("%s\n%s\n%s", live->user, roles, traits);
    struct rbac_set *set = map_get(listing->owners, key);
    if (set == NULL) {
        set = caller_set(listing->call->auth, live->user, live->roles, live->traits);
        map_set(listing->owners, key, set);
    }
    mem_free(roles);
    mem_free(traits);
    mem_free(key);
    return set;
}

static void free_owner(void *ctx, const char *key, void *value)
{
    (void)ctx;
    (void)key;
    rbac_set_free(value);
}

static void collect_channel(void *ctx, const char *key, void *value)
{
    struct listing *listing = ctx;
    const struct recording *recording = value;
    (void)key;
    if (recording->ended) {
        return;
    }
    const char *sid = json_get_text(recording->meta, "sid", "");
    json_t *list = json_object_get(listing->channels, sid);
    if (list == NULL) {
        list = json_array();
        json_object_set_new(listing->channels, sid, list);
    }
    json_array_append(list, recording->meta);
}

/* A channel as people see it. Programs without a terminal on Kubernetes are not recorded, so there is nothing to watch. */
static json_t *channel_item(const struct auth *auth, const json_t *meta)
{
    static const char *const copied[] = {"id",
                                         "kind",
                                         "command",
                                         "interactive",
                                         "started",
                                         "kubernetes_pod_name",
                                         "kubernetes_pod_namespace",
                                         "kubernetes_container_name"};
    json_t *item = json_object();
    bool terminal =
        json_get_bool(meta, "interactive", false) || strcmp(json_get_text(meta, "proto", "ssh"), "kube") != 0;
    for (size_t i = 0; i < sizeof copied / sizeof copied[0]; i++) {
        json_t *value = json_object_get(meta, copied[i]);
        if (value != NULL) {
            json_object_set(item, copied[i], value);
        }
    }
    json_object_set_new(item, "recorded",
                        json_boolean(json_get_bool(meta, "recorded", false) || (auth->settings.record && terminal)));
    const struct recording *recording = map_get(auth->recordings, json_get_text(meta, "id", ""));
    json_object_set_new(item, "watchers", recording != NULL ? watchers_names(recording) : json_array());
    return item;
}

static void list_live(void *ctx, const char *key, void *value)
{
    struct listing *listing = ctx;
    const struct live *live = value;
    const struct auth *auth = listing->call->auth;
    (void)key;
    if (live->closed || live->cut) {
        return;
    }
    json_t *metas = json_object_get(listing->channels, live->sid);
    struct running_rights rights = {true, true, true};
    if (!all_rights(listing->call, live)) {
        rights = rights_with(listing->call, live, json_array_get(metas, 0), owner_set(listing, live));
    }
    if (!rights.see) {
        return;
    }
    const struct host *host = hosts_get(listing->call->auth, live->host_id);
    json_t *item = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:b, s:b, s:b}", "id", live->sid, "kind",
                             sessions_proto(live), "user", live->user, "login",
                             live->pinned_login != NULL ? live->pinned_login : "", "host_id", live->host_id, "hostname",
                             host != NULL ? host->name : live->target, "client_addr", live->client_addr, "started",
                             doc_time(live->started_ms), "valid_until", doc_time(live->not_after * 1000), "web",
                             strcmp(live->service, "term") == 0, "may_watch", rights.watch, "may_end", rights.end);
    json_t *channels = json_array();
    size_t i;
    json_t *meta;
    json_array_foreach (metas, i, meta) {
        json_array_append_new(channels, channel_item(auth, meta));
    }
    json_object_set_new(item, "channels", channels);
    if (strcmp(live->service, "kube") == 0) {
        json_object_set_new(item, "kubernetes_cluster", json_string(live->target));
    }
    json_array_append_new(listing->items, item);
}

static const struct pages_column columns[] = {
    {"user", {"user"}},
    {"where", {"kubernetes_cluster", "hostname", "login"}},
    {"from", {"client_addr"}},
    {"started", {"started"}},
    {NULL, {NULL}},
};
/* What people see of a session, as they see it. */
static const char *const searched[] = {"user",
                                       "login@hostname",
                                       "kubernetes_cluster",
                                       "client_addr",
                                       "id",
                                       "channels.id",
                                       "channels.command",
                                       "channels.kubernetes_pod_namespace",
                                       "channels.kubernetes_pod_name",
                                       "channels.watchers",
                                       NULL};
static const struct pages pages = {columns, searched, "id", NULL};

void do_sessions_list(struct call *call)
{
    struct tp_error error = {0};
    json_t *page = NULL;
    struct listing listing = {.call = call, .items = json_array(), .channels = json_object(), .owners = map_new()};
    map_each(call->auth->recordings, collect_channel, &listing);
    map_each(call->auth->live, list_live, &listing);
    json_decref(listing.channels);
    map_each(listing.owners, free_owner, NULL);
    map_free(listing.owners);
    if (pages_make(&pages, listing.items, call->params, &page, &error) != TP_OK) {
        call_fail(call, &error);
        return;
    }
    call_reply(call, page);
}

/* ---- sessions.end ---- */

/* It is shown in the person's terminal, so it may hold text only. */
static enum tp_err check_reason(const char *text, struct tp_error *error)
{
    if (strlen(text) > REASON_MAX) {
        return err_set(error, TP_TOO_LARGE, "the reason may have %d bytes at most", REASON_MAX);
    }
    for (const char *at = text; *at != '\0'; at++) {
        bool c1 = (unsigned char)at[0] == 0xc2 && (unsigned char)at[1] < 0xa0;
        if ((unsigned char)*at < ' ' || *at == 0x7f || c1) {
            return err_set(error, TP_INVALID, "the reason may hold no control characters");
        }
    }
    return TP_OK;
}

struct first_channel {
    const char *sid;
    const json_t *meta;
};

static void find_channel(void *ctx, const char *key, void *value)
{
    struct first_channel *first = ctx;
    const struct recording *recording = value;
    (void)key;
    if (first->meta == NULL && strcmp(json_get_text(recording->meta, "sid", ""), first->sid) == 0) {
        first->meta = recording->meta;
    }
}

/* Nothing to end: has there ever been such a session? For those who may end all; others learn nothing. */
static enum tp_err not_live(struct call *call, const char *sid, struct tp_error *error)
{
    struct auth *auth = call->auth;
    json_t *index = NULL;
    bool known = map_get(auth->live, sid) != NULL || map_get(auth->recordings, sid) != NULL;
    bool plain = sid[0] != '\0' && strlen(sid) < UUID_TEXT_SIZE && strspn(sid, "0123456789abcdef-") == strlen(sid);
    if (call->caller.who != WHO_LOCAL && !rule(call, "delete", "ssh_session", NULL)) {
        return err_set(error, TP_NOT_FOUND, "there is no running session with this id that you may end");
    }
    if (!known && plain && doc_find(auth->state, "/recording_at/", sid, &index, NULL, NULL) == TP_OK) {
        known = true;
        json_decref(index);
    }
    return known ? err_set(error, TP_NOT_FOUND, "the session %.40s has already ended", sid)
                 : err_set(error, TP_NOT_FOUND, "there is no session %.40s", sid);
}

void do_sessions_end(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *sid = json_get_text(call->params, "sid", "");
    const char *text = json_get_text(call->params, "reason", "");
    struct live *live = map_get(auth->live, sid);
    struct first_channel first = {.sid = sid};
    struct running_rights rights = {0};
    enum tp_err err = TP_OK;
    bool runs = live != NULL && !live->closed && !live->cut;
    if (runs) {
        map_each(auth->recordings, find_channel, &first);
        rights = running_rights(call, live, first.meta);
    }
    if (!runs || (!rights.end && !rights.see)) {
        err = not_live(call, runs ? "" : sid, &error);
    } else if (!rights.end) {
        err = err_set(&error, TP_DENIED, "your roles do not let you end this session");
    } else {
        err = check_reason(text, &error);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    bool mine = own(call, live);
    const char *why = text;
    if (text[0] == '\0') {
        why = mine ? "you have ended this session from elsewhere" : "an administrator ended the session";
    }
    json_t *event = sessions_cut_event(auth, live, CLOSE_ENDED_BY_ADMIN, why);
    json_object_set_new(event, "ended_by", json_string(call->caller.user));
    if (call->caller.who == WHO_LOCAL) {
        json_object_set_new(event, "uid_of_caller", json_integer((json_int_t)call->caller.uid));
    }
    call_reply_audited(call, event, NULL);
}

/*
 * term.connect: a terminal (or a file) for a verified web session. The decision is ssh.connect's (access.c); what is its own:
 * the login is one, the terminal ends with the web session, and a person whose network was lost may come back to it, as the
 * same web session, while he still has the right.
 */
#include "auth/access.h"
#include "auth/audit.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/live.h"
#include "auth/websess.h"

#include <string.h>

/* The event of a resumption is on the disk: the grant of before, for one more connection. */
struct resume {
    struct call *call;
    char sid[UUID_TEXT_SIZE];
    json_t *grant;
};

static void resume_recorded(void *ctx, const struct tp_error *failure)
{
    struct resume *resume = ctx;
    struct call *call = resume->call;
    struct auth *auth = call->auth;
    struct live *live = map_get(auth->live, resume->sid);
    struct tp_error error = {0};
    json_t *result = NULL;
    if (access_grant(auth, resume->sid, resume->grant, failure, &result, &error) == TP_OK) {
        const struct host *host = hosts_get(auth, live->host_id);
        json_object_set_new(result, "host_id", json_string(live->host_id));
        json_object_set_new(result, "hostname", json_string(host != NULL ? host->name : live->target));
        json_object_set_new(result, "not_after", json_integer(live->not_after));
        json_object_set(result, "attach", json_object_get(resume->grant, "attach"));
    }
    json_decref(resume->grant);
    mem_free(resume);
    if (result != NULL) {
        call_reply(call, result);
    } else {
        call_fail(call, &error);
    }
}

static void resume(struct call *call, const char *sid)
{
    struct auth *auth = call->auth;
    struct live *live = map_get(auth->live, sid);
    const struct host *host = live != NULL ? hosts_get(auth, live->host_id) : NULL;
    /* One sentence for all: whose session it is, is nobody else's business. */
    if (live == NULL || live->grant == NULL || live->web_key == NULL || live->closed ||
        strcmp(live->web_key, call->caller.web_key) != 0 || strcmp(live->user, call->caller.user) != 0) {
        call_fail_text(call, TP_NOT_FOUND, "the terminal has ended; open a new one");
        return;
    }
    if (!sessions_recheck_one(auth, live)) {
        call_fail_text(call, TP_DENIED, "%s", live->cut ? live->cut_text : "the terminal has ended; open a new one");
        return;
    }
    if (host == NULL || host->tunnels == NULL) {
        call_fail_text(call, TP_UNAVAILABLE, "%s is offline: its agent is not connected now", live->target);
        return;
    }
    struct resume *again = mem_alloc(sizeof *again);
    int64_t now_ms = clock_wall_ms();
    char attach[UUID_TEXT_SIZE];
    crypt_uuid(attach);
    again->call = call;
    snprintf(again->sid, sizeof again->sid, "%s", sid);
    again->grant = json_deep_copy(live->grant);
    json_object_set_new(again->grant, "attach", json_string(attach));
    json_object_set_new(again->grant, "resume", json_true());
    json_object_set_new(again->grant, "client_addr", json_string(call->caller.addr));
    json_object_set_new(again->grant, "issued", doc_time(now_ms));
    json_object_set_new(again->grant, "expires", doc_time(now_ms + GRANT_SECONDS * 1000));
    mem_free(live->attach);
    live->attach = mem_strdup(attach);
    mem_free(live->client_addr);
    live->client_addr = mem_strdup(call->caller.addr);
    live->worker = call->caller.worker;
    live->parked_ms = 0;
    live->unheard_ms = 0;
    live->dirty = true;
    /* The connection of before would be one that nobody cuts: auth knows the newest alone. */
    auth_tell_workers(auth, "session.replaced", json_pack("{s:s, s:s}", "sid", sid, "attach", attach));
    json_t *event = call_event(call, "session.connect", true);
    json_object_set_new(event, "sid", json_string(sid));
    json_object_set_new(event, "server_id", json_string(live->host_id));
    json_object_set_new(event, "server_hostname", json_string(host->name));
    json_object_set_new(event, "proto", json_string("ssh"));
    json_object_set_new(event, "namespace", json_string("default"));
    json_object_set_new(event, "resumed", json_true());
    audit_emit(auth, event, resume_recorded, again);
}

struct find_terminal {
    const char *web_key;
    bool found;
};

static void find_terminal(void *ctx, const char *key, void *value)
{
    struct find_terminal *find = ctx;
    const struct live *live = value;
    (void)key;
    find->found = find->found ||
                  (live->web_key != NULL && !live->closed && !live->cut && strcmp(live->web_key, find->web_key) == 0);
}

bool term_is_open(const struct auth *auth, const char *web_key)
{
    struct find_terminal find = {.web_key = web_key};
    map_each(auth->live, find_terminal, &find);
    return find.found;
}

const char *term_login_device(const struct auth *auth, struct live *live)
{
    const char *now = websess_device(auth, live->web_key);
    if (now != NULL && (live->login_device == NULL || strcmp(now, live->login_device) != 0)) {
        mem_free(live->login_device);
        live->login_device = mem_strdup(now);
        live->dirty = true;
    }
    return live->login_device;
}

void do_term_connect(struct call *call)
{
    struct tp_error error = {0};
    struct node_want want = {.service = "term"};
    const char *sid = json_get_text(call->params, "sid", "");
    if (call->caller.web_key == NULL) {
        call_fail_text(call, TP_DENIED, "terminals are for web sessions; use `tport ssh`");
        return;
    }
    if (sid[0] != '\0') {
        resume(call, sid);
        return;
    }
    if (json_need_text(call->params, "target", &want.target, &error) != TP_OK ||
        json_need_text(call->params, "login", &want.login, &error) != TP_OK) {
        call_fail(call, &error);
        return;
    }
    want.file_copy = json_get_bool(call->params, "file", false);
    access_node(call, &want);
}

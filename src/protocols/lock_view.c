#include "protocols/lock_view.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypt/grant.h"
#include "protocols/target_front.h"
#include "protocols/term_front.h"

#include <string.h>

#ifndef STALE_MS /* a test is in a hurry */
#define LOOK_MS 30000
#define STALE_MS 300000
#endif

struct lock_view {
    struct worker *worker;
    struct timer *timer;
    int64_t heard_ms; /* loop time of the last answer of auth */
    bool asked;
    bool failed; /* the last question was not answered */
};

/* The answer itself does not matter: auth was there, and had told us of every cut before. */
static void on_answer(void *ctx, const char *text, size_t size, const struct tp_error *error)
{
    struct lock_view *view = ctx;
    (void)text;
    (void)size;
    view->asked = false;
    view->failed = error != NULL;
    if (!error)
        view->heard_ms = loop_now_ms(view->worker->loop);
}

void lock_view_ask(struct lock_view *view)
{
    if (!view->worker->auth || view->asked)
        return;
    view->asked = true;
    (void)rpc_request_text(view->worker->auth, "cluster.info", NULL, NULL, LOOK_MS, on_answer, view);
}

static void collect_strict(void *ctx, const char *sid, const char *service, const char *host_id,
                           const struct buf *grant)
{
    json_t *list = ctx;
    json_t *said = NULL;
    (void)service;
    if (grant_peek(buf_head(grant), buf_size(grant), &said) == TP_OK &&
        strcmp(json_get_text(json_object_get(said, "options"), "locking_mode", ""), "strict") == 0)
        json_array_append_new(list, json_pack("{s:s, s:s}", "sid", sid, "host_id", host_id));
    json_decref(said);
}

static void cut_strict(struct worker *worker)
{
    static const char text[] = "auth could not be asked about locks for five minutes, and the locking mode is strict";
    json_t *list = json_array();
    struct term_report report = {.fn = collect_strict, .ctx = list};
    size_t i;
    json_t *item;
    target_front_each(worker, &report);
    term_front_each(worker, &report);
    json_array_foreach (list, i, item) {
        const char *sid = json_get_text(item, "sid", "");
        log_info("session cut", "sid=%s reason=%s text=\"%s\"", sid, close_name(CLOSE_LOCKED), text);
        json_object_set_new(item, "reason", json_string(close_name(CLOSE_LOCKED)));
        json_object_set_new(item, "text", json_string(text));
        tunnels_tell_agent(worker, json_get_text(item, "host_id", ""), "session.cut", json_incref(item));
        target_front_cut(worker, sid, CLOSE_LOCKED, text);
        term_front_cut(worker, sid, CLOSE_LOCKED, text);
    }
    json_decref(list);
}

static void on_look(void *ctx)
{
    struct lock_view *view = ctx;
    bool stale = loop_now_ms(view->worker->loop) - view->heard_ms >= STALE_MS;
    /* Not when it was ourselves who stood still: then it has not been asked yet. */
    if (stale && (!view->worker->auth || view->asked || view->failed))
        cut_strict(view->worker);
    lock_view_ask(view);
}

struct lock_view *lock_view_new(struct worker *worker)
{
    struct lock_view *view = mem_alloc(sizeof(*view));
    view->worker = worker;
    view->heard_ms = loop_now_ms(worker->loop);
    view->timer = timer_new(worker->loop, on_look, view);
    timer_start(view->timer, LOOK_MS, LOOK_MS);
    return view;
}

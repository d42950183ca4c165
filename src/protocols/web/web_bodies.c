/* Bodies larger than a form's or a setting's. Each may take 2 MB for a minute, and more when it is parsed, so they are taken from
 * those who may write what is in them, and a worker holds a few at a time. */
#include "base/mem.h"
#include "core/rpc.h"
#include "protocols/web/web_priv.h"

#include <string.h>

#define WORKER_MAX 8
#define PERSON_MAX 2
#define ASK_MS 30000

struct web_body {
    struct web_bodies *all; /* NULL: the web is gone */
    struct web_body *next;
    char *user;
};

enum tp_err web_body_take(struct web_bodies *bodies, const char *user, struct web_body **ret_body,
                          struct tp_error *error)
{
    struct web_body *body;
    size_t all = 0;
    size_t own = 0;
    for (body = bodies->first; body; body = body->next) {
        all++;
        own += strcmp(body->user, user) == 0;
    }
    if (own >= PERSON_MAX)
        return err_set(error, TP_UNAVAILABLE,
                       "%d large requests of yours are under way, and no more are taken; try again in a moment",
                       PERSON_MAX);
    if (all >= WORKER_MAX)
        return err_set(error, TP_UNAVAILABLE,
                       "%d large requests are under way, and no more are taken; try again in a moment", WORKER_MAX);
    body = mem_alloc(sizeof(*body));
    body->all = bodies;
    body->user = mem_strdup(user);
    body->next = bodies->first;
    bodies->first = body;
    *ret_body = body;
    return TP_OK;
}

void web_body_give(struct web_body *body)
{
    struct web_body **at;
    if (!body)
        return;
    if (body->all) {
        for (at = &body->all->first; *at != body; at = &(*at)->next)
            ;
        *at = body->next;
    }
    mem_free(body->user);
    mem_free(body);
}

void web_bodies_end(struct web_bodies *bodies)
{
    for (struct web_body *body = bodies->first; body; body = body->next)
        body->all = NULL;
    bodies->first = NULL;
}

/* Asking auth. */

struct web_hold {
    struct web_bodies *bodies;
    web_body_fn *done; /* NULL: nobody waits any more */
    void *ctx;
};

/* The routes with large bodies write roles. */
static enum tp_err check_right(const json_t *context, struct tp_error *error)
{
    const json_t *roles = json_object_get(json_object_get(context, "acl"), "roles");
    if (json_get_bool(roles, "create", false) || json_get_bool(roles, "edit", false))
        return TP_OK;
    return err_set(error, TP_TOO_LARGE,
                   "you may not create or update roles, so your request may have %zu bytes at most", WEB_SMALL_BODY);
}

static void on_context(void *ctx, json_t *result, const struct tp_error *refused)
{
    struct web_hold hold = *(struct web_hold *)ctx;
    struct web_body *body = NULL;
    struct tp_error error = {0};
    mem_free(ctx);
    if (!hold.done)
        return;
    if (refused)
        error = *refused;
    else if (check_right(result, &error) == TP_OK &&
             web_body_take(hold.bodies, json_get_text(result, "user", ""), &body, &error) == TP_OK)
        error.code = TP_OK;
    hold.done(hold.ctx, body, body ? NULL : &error);
}

struct web_hold *web_body_ask(struct web_bodies *bodies, struct rpc *auth, json_t *caller, web_body_fn *done, void *ctx)
{
    struct web_hold *hold = mem_alloc(sizeof(*hold));
    hold->bodies = bodies;
    hold->done = done;
    hold->ctx = ctx;
    (void)rpc_request(auth, "user.context", json_object(), caller, ASK_MS, on_context, hold);
    return hold;
}

void web_hold_forget(struct web_hold *hold)
{
    if (hold)
        hold->done = NULL;
}

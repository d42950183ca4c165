#include "auth/delegate.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth/live.h"
#include "auth/lockout.h"
#include "auth/users.h"
#include "auth/websess.h"

#include <string.h>

#define HOUR_MS ((int64_t)3600 * 1000)

enum tp_err users_check_roles(struct auth *auth, const json_t *roles, struct tp_error *error)
{
    enum tp_err err = doc_text_list(roles, "roles", 100, error);
    if (err != TP_OK) {
        return err;
    }
    if (json_array_size(roles) == 0) {
        return err_set(error, TP_INVALID, "give the user at least one role");
    }
    size_t i;
    json_t *role;
    json_array_foreach (roles, i, role) {
        if (map_get(auth->roles, json_string_value(role)) == NULL) {
            return err_set(error, TP_NOT_FOUND, "there is no role \"%s\"; `tportctl get roles` lists them",
                           json_string_value(role));
        }
    }
    return TP_OK;
}

enum tp_err users_mark_since(struct auth *auth, const char *name, struct tp_error *error)
{
    json_t *doc = json_pack("{s:I}", "since", (json_int_t)clock_wall());
    enum tp_err err = doc_put(auth->state, "/user_since/", name, doc, STORE_ANY, NULL, error);
    json_decref(doc);
    return err;
}

int64_t users_since(struct auth *auth, const char *name)
{
    json_t *doc = NULL;
    struct tp_error error = {0};
    enum tp_err err = doc_find(auth->state, "/user_since/", name, &doc, NULL, &error);
    int64_t since = err == TP_OK ? json_get_int(doc, "since", 0) : 0;
    json_decref(doc);
    return err == TP_OK || err == TP_NOT_FOUND ? since : INT64_MAX; /* what cannot be read does not let anybody in */
}

enum tp_err users_wipe_login(struct auth *auth, const char *name, struct tp_error *error)
{
    enum tp_err err = doc_delete(auth->secrets, "/login/", name, error);
    if (err != TP_OK && err != TP_NOT_FOUND) {
        return err;
    }
    err = invite_drop(auth, name, error);
    websess_drop_user(auth, name);
    lockout_forget(auth->lockout, name);
    return err;
}

static json_t *user_json(const struct call *call, const char *name, const json_t *roles, const json_t *traits)
{
    return json_pack("{s:s, s:s, s:{s:s}, s:{s:O, s:o, s:{s:{s:s}, s:o}}}", "kind", "user", "version", "v2", "metadata",
                     "name", name, "spec", "roles", (json_t *)(uintptr_t)roles, "traits",
                     traits != NULL ? json_deep_copy(traits) : json_object(), "created_by", "user", "name",
                     call->caller.user, "time", doc_time(clock_wall_ms()));
}

/* params ttl within (0, max]; 0 or absent: otherwise. */
static enum tp_err ttl_param(const struct call *call, int64_t otherwise, int64_t max, int64_t *ret_ttl,
                             struct tp_error *error)
{
    int64_t ttl = json_get_int(call->params, "ttl", 0);
    if (ttl == 0) {
        ttl = otherwise;
    }
    if (ttl < 0 || ttl > max) {
        return err_set(error, TP_INVALID, "the link can be valid for at most %lld hours", (long long)(max / HOUR_MS));
    }
    *ret_ttl = ttl;
    return TP_OK;
}

void do_users_add(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *name = NULL;
    json_t *roles = json_object_get(call->params, "roles");
    json_t *traits = json_object_get(call->params, "traits");
    int64_t ttl = 0;
    enum tp_err err = json_need_text(call->params, "name", &name, &error);
    if (err == TP_OK && (!role_name_valid(name) || strlen(name) > 200)) {
        err = err_set(&error, TP_INVALID, "a user name has 1 to 200 letters, digits or . _ - @ +");
    }
    if (err == TP_OK) {
        err = users_check_roles(auth, roles, &error);
    }
    if (err == TP_OK) {
        err = ttl_param(call, HOUR_MS, 48 * HOUR_MS, &ttl, &error);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    json_t *doc = user_json(call, name, roles, traits);
    struct user *user = NULL;
    json_t *result = NULL;
    err = user_parse_json(doc, &user, &error);
    user_free(user);
    struct rbac_context context = {.resource = doc};
    if (err == TP_OK) {
        err = call_rule(call, "create", "user", &context, &error);
    }
    if (err == TP_OK) {
        err = delegate_user(call, NULL, doc, &error);
    }
    json_t *old = NULL;
    struct tp_error none = {0};
    bool exists = doc_find(auth->state, "/user/", name, &old, NULL, &none) == TP_OK;
    json_decref(old);
    if (err == TP_OK && !exists) {
        err = users_mark_since(auth, name, &error);
    }
    if (err == TP_OK) {
        err = doc_put(auth->state, "/user/", name, doc, STORE_ABSENT, NULL, &error);
        if (err == TP_EXISTS) {
            err = err_set(&error, TP_EXISTS, "user \"%s\" exists already; `tportctl users reset %s` makes a new link",
                          name, name);
        }
    }
    json_decref(doc);
    if (err == TP_OK) {
        err = invite_make(auth, name, "invite", ttl, &result, &error);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    json_t *event = call_event(call, "user.create", true);
    json_object_set_new(event, "name", json_string(name));
    json_object_set(event, "roles", roles);
    json_object_set_new(event, "connector", json_string("local"));
    call_reply_audited(call, event, result);
}

void do_users_reset(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *name = NULL;
    json_t *doc = NULL;
    json_t *result = NULL;
    int64_t ttl = 0;
    enum tp_err err = json_need_text(call->params, "name", &name, &error);
    if (err == TP_OK) {
        err = ttl_param(call, 8 * HOUR_MS, 24 * HOUR_MS, &ttl, &error);
    }
    if (err == TP_OK) {
        err = doc_find(auth->state, "/user/", name, &doc, NULL, &error);
        if (err == TP_NOT_FOUND) {
            err = err_set(&error, TP_NOT_FOUND, "there is no user \"%s\"", name);
        }
        struct rbac_context context = {.resource = doc};
        if (err == TP_OK) {
            err = call_rule(call, "update", "user", &context, &error);
        }
        if (err == TP_OK) {
            err = delegate_sign_in(call, doc, &error);
        }
        json_decref(doc);
    }
    if (err == TP_OK) {
        err = users_wipe_login(auth, name, &error);
    }
    if (err == TP_OK) {
        err = users_mark_since(auth, name, &error);
    }
    if (err == TP_OK) {
        sessions_cut_user(auth, name, NULL, CLOSE_RIGHT_LOST, "your sign-in was reset by an administrator");
        err = invite_make(auth, name, "reset", ttl, &result, &error);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    json_t *event = call_event(call, "reset_password_token.create", true);
    json_object_set_new(event, "name", json_string(name));
    json_object_set_new(event, "ttl", json_integer(ttl));
    call_reply_audited(call, event, result);
}

void do_users_update(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *name = NULL;
    json_t *doc = NULL;
    uint64_t revision = 0;
    json_t *roles = json_object_get(call->params, "set_roles");
    json_t *traits = json_object_get(call->params, "set_traits");
    struct user *user = NULL;
    enum tp_err err = json_need_text(call->params, "name", &name, &error);
    if (err == TP_OK && roles != NULL) {
        err = users_check_roles(auth, roles, &error);
    }
    if (err == TP_OK) {
        err = doc_find(auth->state, "/user/", name, &doc, &revision, &error);
        if (err == TP_NOT_FOUND) {
            err = err_set(&error, TP_NOT_FOUND, "there is no user \"%s\"", name);
        }
    }
    json_t *old = json_deep_copy(doc);
    if (err == TP_OK) {
        json_t *spec = json_object_get(doc, "spec");
        if (roles != NULL) {
            json_object_set(spec, "roles", roles);
        }
        if (json_is_object(traits)) {
            json_t *all = json_object_get(spec, "traits");
            if (all == NULL) {
                all = json_object();
                json_object_set_new(spec, "traits", all);
            }
            json_object_update(all, traits);
        }
        err = user_parse_json(doc, &user, &error);
        user_free(user);
    }
    struct rbac_context before = {.resource = old};
    struct rbac_context after = {.resource = doc};
    if (err == TP_OK) {
        err = call_rule(call, "update", "user", &before, &error);
    }
    if (err == TP_OK) {
        err = call_rule(call, "update", "user", &after, &error);
    }
    if (err == TP_OK) {
        err = delegate_user(call, old, doc, &error);
    }
    json_decref(old);
    if (err == TP_OK) {
        err = doc_put(auth->state, "/user/", name, doc, revision, NULL, &error);
    }
    if (err != TP_OK) {
        json_decref(doc);
        call_fail(call, &error);
        return;
    }
    sessions_recheck(auth);
    json_t *event = call_event(call, "user.update", true);
    json_object_set_new(event, "name", json_string(name));
    json_object_set(event, "roles", json_object_get(json_object_get(doc, "spec"), "roles"));
    call_reply_audited(call, event, doc);
}

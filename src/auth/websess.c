/* Web sessions: the cookie's id and the bearer token are both random, both needed, both kept as hashes only. */
#include "auth/account.h"
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/inner.h"
#include "auth/live.h"
#include "auth/mfa.h"
#include "auth/websess.h"

#include <string.h>

#define PER_USER_MAX 20

struct websess {
    char *user;
    char *ip;     /* of the login */
    char *agent;  /* what the browser calls itself, "" when unknown */
    char *device; /* of the login's code; NULL: made by a version that did not keep it */
    char token_hash[HASH_TEXT_SIZE];
    json_t *roles;
    json_t *traits;
    int64_t created_ms;
    int64_t expires_ms;
    int64_t used_ms;
    struct mfa_given mfa; /* the last one-time code that was given in it; not stored: a restart asks again */
};

/* An open terminal is use: who reads what a program prints is there. */
static bool is_over(const struct auth *auth, const char *key, struct websess *session, int64_t now)
{
    int64_t idle = auth->settings.web_idle_ms;
    if (session->expires_ms > now && idle > 0 && now - session->used_ms > idle && term_is_open(auth, key)) {
        session->used_ms = now;
    }
    return session->expires_ms <= now || (idle > 0 && now - session->used_ms > idle);
}

static char *copy(const char *text)
{
    return text != NULL ? mem_strdup(text) : NULL;
}

static void websess_destroy(struct websess *session)
{
    if (session != NULL) {
        mem_free(session->user);
        mem_free(session->ip);
        mem_free(session->agent);
        mem_free(session->device);
        json_decref(session->roles);
        json_decref(session->traits);
        mfa_given_free(&session->mfa);
        mem_free(session);
    }
}

static bool load_one(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct auth *auth = ctx;
    (void)revision;
    struct websess *session = mem_alloc(sizeof *session);
    session->user = mem_strdup(json_get_text(doc, "user", ""));
    session->ip = mem_strdup(json_get_text(doc, "ip", ""));
    session->agent = mem_strdup(json_get_text(doc, "agent", ""));
    session->device = copy(json_get_text(doc, "device", NULL));
    session->created_ms = doc_ms(doc, "created");
    snprintf(session->token_hash, sizeof session->token_hash, "%s", json_get_text(doc, "token", ""));
    session->roles = json_deep_copy(json_object_get(doc, "roles"));
    session->traits = json_deep_copy(json_object_get(doc, "traits"));
    session->expires_ms = doc_ms(doc, "expires");
    session->used_ms = clock_wall_ms();
    websess_destroy(map_set(auth->websessions, name, session));
    return true;
}

enum tp_err websess_load(struct auth *auth, struct tp_error *error)
{
    return doc_each(auth->secrets, "/websession/", NULL, load_one, auth, error);
}

static void destroy_each(void *ctx, const char *key, void *value)
{
    (void)ctx;
    (void)key;
    websess_destroy(value);
}

void websess_free(struct auth *auth)
{
    map_each(auth->websessions, destroy_each, NULL);
    map_free(auth->websessions);
}

void websess_drop(struct auth *auth, const char *key)
{
    struct tp_error error = {0};
    if (doc_delete(auth->secrets, "/websession/", key, &error) != TP_OK) {
        log_warn("web session cannot be deleted", "error=\"%s\"", error.text);
    }
    websess_destroy(map_remove(auth->websessions, key));
}

static struct mfa_given given_copy(const struct mfa_given *given)
{
    return (struct mfa_given){.device = copy(given->device),
                              .node = copy(given->node),
                              .kube = copy(given->kube),
                              .session = copy(given->session),
                              .until_ms = given->until_ms};
}

void websess_give_mfa(struct auth *auth, const char *key, const struct mfa_given *given)
{
    struct websess *session = map_get(auth->websessions, key);
    if (session != NULL) {
        mfa_given_free(&session->mfa);
        session->mfa = given_copy(given);
    }
}

const char *websess_device(const struct auth *auth, const char *key)
{
    const struct websess *session = key != NULL ? map_get(auth->websessions, key) : NULL;
    return session != NULL ? session->device : NULL;
}

enum tp_err websess_set_device(struct auth *auth, const char *key, const char *device, struct tp_error *error)
{
    struct websess *session = map_get(auth->websessions, key);
    json_t *doc = NULL;
    uint64_t revision = 0;
    enum tp_err err = doc_find(auth->secrets, "/websession/", key, &doc, &revision, error);
    if (err == TP_OK) {
        json_object_set_new(doc, "device", json_string(device));
        err = doc_put(auth->secrets, "/websession/", key, doc, revision, NULL, error);
    }
    json_decref(doc);
    if (err == TP_OK && session != NULL) {
        mem_free(session->device);
        session->device = mem_strdup(device);
    }
    return err;
}

struct find {
    const struct auth *auth;
    const char *user;
    int64_t now_ms;
    char *keys[64];
    size_t count;
    size_t live;
    char *oldest;
    int64_t oldest_ms;
};

static void find_user(void *ctx, const char *key, void *value)
{
    struct find *find = ctx;
    const struct websess *session = value;
    if (find->user != NULL && strcmp(session->user, find->user) == 0) {
        find->live++;
        if (find->oldest == NULL || session->expires_ms < find->oldest_ms) {
            mem_free(find->oldest);
            find->oldest = mem_strdup(key);
            find->oldest_ms = session->expires_ms;
        }
        if (find->count < 64) {
            find->keys[find->count++] = mem_strdup(key);
        }
    }
}

static void find_over(void *ctx, const char *key, void *value)
{
    struct find *find = ctx;
    struct websess *session = value;
    if (find->count < 64 && is_over(find->auth, key, session, find->now_ms)) {
        find->keys[find->count++] = mem_strdup(key);
    }
}

static void drop_found(struct auth *auth, struct find *find)
{
    for (size_t i = 0; i < find->count; i++) {
        websess_drop(auth, find->keys[i]);
        mem_free(find->keys[i]);
    }
    mem_free(find->oldest);
}

void websess_drop_user(struct auth *auth, const char *user)
{
    struct find find = {.user = user};
    map_each(auth->websessions, find_user, &find);
    drop_found(auth, &find);
}

void websess_sweep(struct auth *auth)
{
    struct find find = {.auth = auth, .now_ms = clock_wall_ms()};
    map_each(auth->websessions, find_over, &find);
    drop_found(auth, &find);
}

enum tp_err websess_make(struct auth *auth, const char *user, const json_t *roles, const json_t *traits,
                         const struct websess_from *from, int64_t ttl_ms, json_t **ret_result, struct tp_error *error)
{
    struct find find = {.user = user};
    map_each(auth->websessions, find_user, &find);
    if (find.live >= PER_USER_MAX && find.oldest != NULL) {
        websess_drop(auth, find.oldest);
    }
    for (size_t i = 0; i < find.count; i++) {
        mem_free(find.keys[i]);
    }
    mem_free(find.oldest);
    char *sid = crypt_random_hex(16);
    char *token = crypt_random_hex(16);
    char key[HASH_TEXT_SIZE];
    char token_hash[HASH_TEXT_SIZE];
    doc_hash(sid, key);
    doc_hash(token, token_hash);
    int64_t expires = clock_wall_ms() + ttl_ms;
    json_t *doc = json_pack("{s:s, s:s, s:O, s:O, s:s, s:o}", "user", user, "token", token_hash, "roles",
                            (json_t *)(uintptr_t)roles, "traits", (json_t *)(uintptr_t)traits, "ip", from->ip,
                            "expires", doc_time(expires));
    json_object_set_new(doc, "agent", json_string(from->agent));
    json_object_set_new(doc, "device", json_string(from->device));
    json_object_set_new(doc, "created", doc_time(clock_wall_ms()));
    enum tp_err err = doc_put(auth->secrets, "/websession/", key, doc, STORE_ABSENT, NULL, error);
    if (err == TP_OK) {
        (void)load_one(auth, key, doc, 0);
        *ret_result =
            json_pack("{s:s, s:s, s:o, s:s}", "sid", sid, "token", token, "expires", doc_time(expires), "user", user);
    }
    json_decref(doc);
    secret_free(sid);
    secret_free(token);
    return err;
}

static void end_one(struct auth *auth, const char *key, const char *why)
{
    sessions_cut_web(auth, key, CLOSE_RIGHT_LOST, why);
    websess_drop(auth, key);
}

struct listing {
    const struct auth *auth;
    const struct caller *caller;
    json_t *items;
};

static void list_one(void *ctx, const char *key, void *value)
{
    struct listing *listing = ctx;
    struct websess *session = value;
    const char *current = listing->caller->web_key;
    if (strcmp(session->user, listing->caller->user) == 0 && !is_over(listing->auth, key, session, clock_wall_ms())) {
        json_array_append_new(listing->items,
                              json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:b}", "id", key, "created",
                                        doc_time(session->created_ms), "used", doc_time(session->used_ms), "expires",
                                        doc_time(session->expires_ms), "ip", session->ip, "agent", session->agent,
                                        "current", current != NULL && strcmp(key, current) == 0));
    }
}

void do_account_sessions(struct call *call)
{
    struct listing listing = {.auth = call->auth, .caller = &call->caller, .items = json_array()};
    map_each(call->auth->websessions, list_one, &listing);
    call_reply(call, json_pack("{s:o}", "items", listing.items));
}

size_t websess_end_others(struct auth *auth, const char *user, const char *current, const char *why)
{
    struct find find = {.user = user};
    size_t ended = 0;
    map_each(auth->websessions, find_user, &find);
    for (size_t i = 0; i < find.count; i++) {
        if (current == NULL || strcmp(find.keys[i], current) != 0) {
            end_one(auth, find.keys[i], why);
            ended++;
        }
        mem_free(find.keys[i]);
    }
    mem_free(find.oldest);
    return ended;
}

/* {"id"}: one; {"others": true}: all but the one that asks. What belongs to somebody else is not there. */
void do_account_session_end(struct call *call)
{
    static const char why[] = "you have signed out elsewhere";
    struct auth *auth = call->auth;
    const char *id = json_get_text(call->params, "id", "");
    const struct websess *session = map_get(auth->websessions, id);
    size_t ended = 1;
    if (call->caller.web_key == NULL) {
        call_fail_text(call, TP_INVALID, "this call is for web sessions");
        return;
    }
    if (json_get_bool(call->params, "others", false)) {
        ended = websess_end_others(auth, call->caller.user, call->caller.web_key, why);
    } else if (session != NULL && strcmp(session->user, call->caller.user) == 0) {
        end_one(auth, id, why);
    } else {
        call_fail_text(call, TP_NOT_FOUND, "you have no such session; it may have ended");
        return;
    }
    json_t *event = call_event(call, "user.logout", true);
    json_object_set_new(event, "count", json_integer((json_int_t)ended));
    call_reply_audited(call, event, json_pack("{s:I}", "ended", (json_int_t)ended));
}

bool websess_alive(const struct auth *auth, const char *key)
{
    const struct websess *session = map_get(auth->websessions, key);
    return session != NULL && session->expires_ms > clock_wall_ms();
}

enum tp_err websess_check(struct auth *auth, const char *sid, const char *token, bool idle, struct caller *caller,
                          struct tp_error *error)
{
    char key[HASH_TEXT_SIZE];
    char token_hash[HASH_TEXT_SIZE];
    doc_hash(sid, key);
    doc_hash(token, token_hash);
    struct websess *session = map_get(auth->websessions, key);
    int64_t now = clock_wall_ms();
    if (session == NULL || !secret_equal_text(session->token_hash, token_hash) || is_over(auth, key, session, now)) {
        return err_set(error, TP_UNAUTHENTICATED, "your session has ended; sign in again");
    }
    if (!idle) {
        session->used_ms = now;
    }
    caller->web_key = mem_strdup(key);
    caller->not_after = session->expires_ms / 1000;
    caller->login_device = copy(session->device);
    enum tp_err err = caller_become_user(auth, session->user, session->roles, session->traits, caller, error);
    if (err == TP_OK) {
        err = caller_check_login(auth, session->user, session->device, error);
    }
    if (err == TP_OK) {
        /* What binds certificates to an address binds the browser's session too (R4). */
        struct rbac_options options;
        rbac_merge_options(caller->set, &auth->settings.cluster_options, &options);
        if (options.pin_source_ip && (caller->ip[0] == '\0' || strcmp(session->ip, caller->ip) != 0)) {
            err =
                err_set(error, TP_DENIED, "this session may be used from the address of its login only; sign in again");
        }
    }
    if (err == TP_OK && now < session->mfa.until_ms &&
        caller_device_lost(auth, session->user, session->mfa.device) == NULL) {
        caller->mfa = given_copy(&session->mfa);
    }
    return err;
}

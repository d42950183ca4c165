/*
 * What a person changes about his own sign-in: the password, the devices of his one-time codes. Each change needs a code that is
 * good now, so that a browser left open, or a stolen session, changes nothing; and every try is on record.
 */
#include "auth/account.h"
#include "auth/devices.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth/lane.h"
#include "auth/live.h"
#include "auth/lockout.h"
#include "auth/mfa.h"
#include "auth/users.h"
#include "auth/websess.h"

#include <string.h>

#define PENDING_MS ((int64_t)10 * 60 * 1000) /* a new device must be confirmed by then */
#define ATTEMPTS 3                           /* when somebody else writes the same record meanwhile */

static const char refusal[] = "the one-time code is not right or was used before; wait for the next one";

/* Fails the call and puts the try on record. */
static void refuse(struct call *call, const char *event_name, const char *why, const char *sentence)
{
    struct tp_error error = {0};
    json_t *event = call_event(call, event_name, false);
    json_object_set_new(event, "success", json_false());
    json_object_set_new(event, "error", json_string(why));
    (void)err_set(&error, TP_INVALID, "%s", sentence);
    call_fail_audited(call, event, &error);
}

/* One more try of this person; TP_LIMIT past what is usual, and after too many that were wrong. */
static enum tp_err count_try(const struct call *call, struct tp_error *error)
{
    struct lockout *lockout = call->auth->lockout;
    char *name = lockout_codes(call->caller.user);
    enum tp_err err = lockout_rate(lockout, name, clock_mono_ms(), error);
    if (err == TP_OK && !lockout_open(lockout, name, call->caller.ip, false, clock_mono_ms())) {
        err = err_set(error, TP_LIMIT, "too many wrong tries; wait half an hour, or ask an administrator for a reset");
    }
    mem_free(name);
    return err;
}

/* The code of params, taken (of which device: ret_device); otherwise the call is over. */
static bool take_code(struct call *call, const char *event_name, struct mfa_device *ret_device)
{
    struct tp_error error = {0};
    const char *code = NULL;
    enum tp_err err = json_need_text(call->params, "code", &code, &error);
    if (err == TP_OK) {
        err = count_try(call, &error);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return false;
    }
    const char *wrong = mfa_check_code(call, code, ret_device);
    if (wrong != NULL) {
        refuse(call, event_name, wrong, refusal);
        return false;
    }
    return true;
}

/* Changes the login's document; false in error: it refuses. */
typedef enum tp_err change_fn(void *ctx, json_t *login, struct tp_error *error);

static enum tp_err change_login(struct auth *auth, const char *user, change_fn *fn, void *ctx, struct tp_error *error)
{
    enum tp_err err = TP_CONFLICT;
    for (int attempt = 0; attempt < ATTEMPTS && err == TP_CONFLICT; attempt++) {
        json_t *login = NULL;
        uint64_t revision = 0;
        err = doc_find(auth->secrets, "/login/", user, &login, &revision, error);
        if (err == TP_OK) {
            err = fn(ctx, login, error);
            if (err == TP_OK) {
                err = doc_put(auth->secrets, "/login/", user, login, revision, NULL, error);
            }
            json_decref(login);
        }
    }
    return err;
}

/* ---- devices ---- */

void do_account_devices(struct call *call)
{
    struct tp_error error = {0};
    json_t *login = NULL;
    if (doc_find(call->auth->secrets, "/login/", call->caller.user, &login, NULL, &error) != TP_OK) {
        login = json_object();
    }
    json_t *items = devices_shown(login);
    json_decref(login);
    call_reply(call, json_pack("{s:o}", "items", items));
}

/* A seed that waits for its first code; one a person, the newest counts. */
void do_account_device_new(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    char *seed = totp_new_secret();
    char *uri = totp_uri(seed, auth->settings.cluster, call->caller.user);
    json_t *expires = doc_time(clock_wall_ms() + PENDING_MS);
    json_t *doc = json_pack("{s:s, s:O}", "totp", seed, "expires", expires);
    json_t *result = json_pack("{s:s, s:s, s:o}", "secret", seed, "otpauth", uri, "expires", expires);
    enum tp_err err = doc_put(auth->secrets, "/device_new/", call->caller.user, doc, STORE_ANY, NULL, &error);
    json_decref(doc);
    secret_free(seed);
    secret_free(uri);
    if (err != TP_OK) {
        json_decref(result);
        call_fail(call, &error);
        return;
    }
    call_reply(call, result);
}

struct addition {
    const char *name;
    json_t *pending;
    int64_t step;
    struct mfa_device added;
};

static enum tp_err add_device(void *ctx, json_t *login, struct tp_error *error)
{
    struct addition *addition = ctx;
    json_t *devices = devices_of(login);
    enum tp_err err = devices_check_name(login, addition->name, NULL, error);
    if (err == TP_OK && json_array_size(devices) >= DEVICES_MAX) {
        err = err_set(error, TP_LIMIT, "you have %d devices; remove one first", DEVICES_MAX);
    }
    if (err == TP_OK) {
        json_t *device = devices_make(addition->name, json_get_text(addition->pending, "totp", ""), addition->step);
        snprintf(addition->added.id, sizeof addition->added.id, "%s", json_get_text(device, "id", ""));
        snprintf(addition->added.name, sizeof addition->added.name, "%s", addition->name);
        json_array_append_new(devices, device);
    }
    return err;
}

/* Everything that can be wrong is said before a code is used up. */
static enum tp_err check_addition(struct call *call, struct addition *addition, struct tp_error *error)
{
    struct auth *auth = call->auth;
    const char *code = NULL;
    json_t *login = NULL;
    enum tp_err err = json_need_text(call->params, "name", &addition->name, error);
    if (err == TP_OK) {
        err = json_need_text(call->params, "new_code", &code, error);
    }
    if (err == TP_OK) {
        err = doc_find(auth->secrets, "/device_new/", call->caller.user, &addition->pending, NULL, error);
        if (err == TP_NOT_FOUND || (err == TP_OK && doc_ms(addition->pending, "expires") <= clock_wall_ms())) {
            err = err_set(error, TP_NOT_FOUND, "the picture is no longer valid; close this and begin again");
        }
    }
    if (err == TP_OK) {
        err = doc_find(auth->secrets, "/login/", call->caller.user, &login, NULL, error);
    }
    if (err == TP_OK) {
        err = add_device(addition, login, error);
    }
    json_decref(login);
    if (err == TP_OK &&
        totp_check(json_get_text(addition->pending, "totp", ""), code, clock_wall(), &addition->step) != TP_OK) {
        err = err_set(error, TP_INVALID,
                      "the code of the new device does not match; scan the picture again and check its clock");
    }
    return err;
}

static json_t *device_event(const struct call *call, const char *name, const struct mfa_device *device)
{
    json_t *event = call_event(call, name, true);
    json_t *fields = mfa_device_json(device);
    json_object_update(event, fields);
    json_decref(fields);
    return event;
}

void do_account_device_add(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    struct addition addition = {0};
    enum tp_err err = check_addition(call, &addition, &error);
    if (err != TP_OK) {
        json_decref(addition.pending);
        call_fail(call, &error);
        return;
    }
    struct mfa_device shown;
    if (!take_code(call, "mfa.add", &shown)) {
        json_decref(addition.pending);
        return;
    }
    err = change_login(auth, call->caller.user, add_device, &addition, &error);
    if (err == TP_OK) {
        err = doc_delete(auth->secrets, "/device_new/", call->caller.user, &error);
    }
    json_decref(addition.pending);
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    call_reply_audited(call, device_event(call, "mfa.add", &addition.added),
                       json_pack("{s:s}", "id", addition.added.id));
}

/* One device of this person; what belongs to somebody else is not there. */
struct one_device {
    const char *id;
    const char *name; /* the new one, or NULL: remove it */
    struct mfa_device device;
};

static enum tp_err change_device(void *ctx, json_t *login, struct tp_error *error)
{
    struct one_device *one = ctx;
    json_t *devices = devices_of(login);
    json_t *device = devices_find(login, one->id);
    if (device == NULL) {
        return err_set(error, TP_NOT_FOUND, "you have no such device");
    }
    snprintf(one->device.id, sizeof one->device.id, "%s", one->id);
    snprintf(one->device.name, sizeof one->device.name, "%s", json_get_text(device, "name", ""));
    if (one->name != NULL) {
        enum tp_err err = devices_check_name(login, one->name, one->id, error);
        if (err == TP_OK) {
            json_object_set_new(device, "name", json_string(one->name));
        }
        return err;
    }
    if (json_array_size(devices) == 1) {
        return err_set(error, TP_INVALID, "your last device cannot be removed; add another one first");
    }
    for (size_t i = 0; i < json_array_size(devices); i++) {
        if (json_array_get(devices, i) == device) {
            json_array_remove(devices, i);
            break;
        }
    }
    return TP_OK;
}

/* What was signed in with the device that is gone ends, but not the session that removes it: its person has just shown another
 * device, and from now on it hangs on that one. */
static void keep_session(const struct call *call, const char *removed, const struct mfa_device *shown)
{
    const char *key = call->caller.web_key;
    const char *device = websess_device(call->auth, key);
    struct tp_error error = {0};
    if (device != NULL && strcmp(device, removed) == 0 && strcmp(shown->id, removed) != 0 &&
        websess_set_device(call->auth, key, shown->id, &error) != TP_OK) {
        log_warn("web session cannot be stored", "error=\"%s\"", error.text);
    }
}

/* The change is tried on a copy first: a code is not used up for what cannot be done. */
static void run_device_change(struct call *call, struct one_device *one, const char *event_name)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    json_t *login = NULL;
    enum tp_err err = json_need_text(call->params, "id", &one->id, &error);
    if (err == TP_OK) {
        err = doc_find(auth->secrets, "/login/", call->caller.user, &login, NULL, &error);
    }
    if (err == TP_OK) {
        err = change_device(one, login, &error);
    }
    json_decref(login);
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    struct mfa_device shown;
    if (!take_code(call, event_name, &shown)) {
        return;
    }
    err = change_login(auth, call->caller.user, change_device, one, &error);
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    json_t *event = device_event(call, event_name, &one->device);
    if (one->name != NULL) {
        json_object_set_new(event, "name", json_string(one->name));
    } else {
        keep_session(call, one->id, &shown);
        sessions_recheck(auth); /* what its codes have opened ends */
    }
    call_reply_audited(call, event, NULL);
}

void do_account_device_rename(struct call *call)
{
    struct tp_error error = {0};
    struct one_device one = {0};
    if (json_need_text(call->params, "name", &one.name, &error) != TP_OK) {
        call_fail(call, &error);
        return;
    }
    run_device_change(call, &one, "mfa.rename");
}

void do_account_device_rm(struct call *call)
{
    struct one_device one = {0};
    run_device_change(call, &one, "mfa.delete");
}

/* ---- the password ---- */

struct password_change {
    struct call *call;
    char *old;
    char *fresh;
    char *old_hash; /* as it is stored; NULL: there is none */
    char *fresh_hash;
    bool matches;
    enum tp_err hashed;
};

static void change_free(struct password_change *change)
{
    secret_free(change->old);
    secret_free(change->fresh);
    secret_free(change->old_hash);
    secret_free(change->fresh_hash);
    mem_free(change);
}

static void change_work(void *ctx)
{
    struct password_change *change = ctx;
    change->matches = password_verify(change->old, change->old_hash);
    change->hashed = password_hash(change->fresh, &change->fresh_hash); /* always: it takes as long for a wrong one */
}

static enum tp_err set_hash(void *ctx, json_t *login, struct tp_error *error)
{
    const struct password_change *change = ctx;
    if (!secret_equal_text(json_get_text(login, "hash", NULL), change->old_hash)) {
        return err_set(error, TP_CONFLICT, "your password was changed meanwhile");
    }
    json_object_set_new(login, "hash", json_string(change->fresh_hash));
    return TP_OK;
}

/* A wrong password is counted like a wrong code, and looks like one. */
static void wrong_password(struct call *call)
{
    char *name = lockout_codes(call->caller.user);
    lockout_failed(call->auth->lockout, name, call->caller.ip, clock_mono_ms());
    mem_free(name);
    refuse(call, "user.password_change", "the current password is wrong",
           "the current password or the code is not right");
}

static void change_done(void *ctx)
{
    struct password_change *change = ctx;
    struct call *call = change->call;
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    struct mfa_device device;
    if (auth->stopping) {
        change_free(change);
        call_fail_text(call, TP_UNAVAILABLE, "the auth process is stopping");
        return;
    }
    if (!change->matches) {
        change_free(change);
        wrong_password(call);
        return;
    }
    const char *wrong = mfa_check_code(call, json_get_text(call->params, "code", ""), &device);
    if (wrong != NULL) {
        change_free(change);
        refuse(call, "user.password_change", wrong, "the current password or the code is not right");
        return;
    }
    enum tp_err err = change->hashed == TP_OK ? change_login(auth, call->caller.user, set_hash, change, &error)
                                              : err_set(&error, change->hashed, "the password could not be processed");
    if (err == TP_OK) {
        err = users_mark_since(auth, call->caller.user, &error);
    }
    change_free(change);
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    /* Whoever may have known the old one is out: other browsers, all certificates, and what runs with them. */
    (void)websess_end_others(auth, call->caller.user, call->caller.web_key, "the password was changed");
    sessions_cut_user(auth, call->caller.user, call->caller.web_key, CLOSE_RIGHT_LOST, "the password was changed");
    json_t *event = call_event(call, "user.password_change", true);
    call_reply_audited(call, event, NULL);
}

void do_account_password(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *old = NULL;
    const char *fresh = NULL;
    const char *code = NULL;
    json_t *login = NULL;
    enum tp_err err = json_need_text(call->params, "old", &old, &error);
    if (err == TP_OK) {
        err = json_need_text(call->params, "new", &fresh, &error);
    }
    if (err == TP_OK) {
        err = json_need_text(call->params, "code", &code, &error);
    }
    if (err == TP_OK && strlen(old) > PASSWORD_MAX) {
        err = err_set(&error, TP_INVALID, "the current password or the code is not right");
    }
    if (err == TP_OK) {
        err = password_acceptable(fresh, call->caller.user, &error);
    }
    if (err == TP_OK && strcmp(old, fresh) == 0) {
        err = err_set(&error, TP_INVALID, "the new password is the current one; choose another");
    }
    if (err == TP_OK) {
        err = count_try(call, &error);
    }
    if (err == TP_OK) {
        err = doc_find(auth->secrets, "/login/", call->caller.user, &login, NULL, &error);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    struct password_change *change = mem_alloc(sizeof *change);
    const char *hash = json_get_text(login, "hash", NULL);
    change->call = call;
    change->old = mem_strdup(old);
    change->fresh = mem_strdup(fresh);
    change->old_hash = hash != NULL ? mem_strdup(hash) : NULL;
    json_decref(login);
    if (lane_run(auth->hashing, NULL, change_work, change_done, change, &error) != TP_OK) {
        change_free(change);
        call_fail(call, &error);
    }
}

/* Invitations and resets: a token of 128 random bits, kept as its hash, good once and for a while. It lets one user
 * choose a password and confirm a one-time-code device. */
#include "auth/audit.h"
#include "auth/devices.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/inner.h"
#include "auth/lane.h"
#include "auth/lockout.h"
#include "auth/mfa.h"
#include "auth/users.h"

#include <string.h>

static const char bad_link[] = "this link is not valid any more; ask an administrator for a new one";

enum tp_err invite_drop(struct auth *auth, const char *user, struct tp_error *error)
{
    json_t *index = NULL;
    enum tp_err err = doc_find(auth->secrets, "/invite_of/", user, &index, NULL, error);
    if (err == TP_NOT_FOUND) {
        return TP_OK;
    }
    if (err != TP_OK) {
        return err;
    }
    err = doc_delete(auth->secrets, "/invite/", json_get_text(index, "hash", ""), error);
    json_decref(index);
    if (err != TP_OK && err != TP_NOT_FOUND) {
        return err;
    }
    err = doc_delete(auth->secrets, "/invite_of/", user, error);
    return err == TP_NOT_FOUND ? TP_OK : err;
}

enum tp_err invite_make(struct auth *auth, const char *user, const char *kind, int64_t ttl_ms, json_t **ret_result,
                        struct tp_error *error)
{
    enum tp_err err = invite_drop(auth, user, error);
    if (err != TP_OK) {
        return err;
    }
    char *token = crypt_random_hex(16);
    char *secret = totp_new_secret();
    char hash[HASH_TEXT_SIZE];
    doc_hash(token, hash);
    int64_t expires = clock_wall_ms() + ttl_ms;
    json_t *doc =
        json_pack("{s:s, s:s, s:o, s:s}", "user", user, "kind", kind, "expires", doc_time(expires), "secret", secret);
    json_t *index = json_pack("{s:s}", "hash", hash);
    err = doc_put(auth->secrets, "/invite/", hash, doc, STORE_ABSENT, NULL, error);
    if (err == TP_OK) {
        err = doc_put(auth->secrets, "/invite_of/", user, index, STORE_ANY, NULL, error);
    }
    if (err == TP_OK) {
        char *url = mem_printf("https://%s/web/%s/%s", auth->settings.public_addr, kind, token);
        *ret_result =
            json_pack("{s:s, s:s, s:s, s:o}", "user", user, "token", token, "url", url, "expires", doc_time(expires));
        secret_free(url);
    }
    json_decref(doc);
    json_decref(index);
    secret_free(token);
    secret_free(secret);
    return err;
}

/* The live invitation of a token; one sentence whatever is wrong with it. */
static enum tp_err invite_find(struct auth *auth, const char *token, char hash[HASH_TEXT_SIZE], json_t **ret_doc,
                               uint64_t *ret_revision, struct tp_error *error)
{
    doc_hash(token, hash);
    struct tp_error ignored = {0};
    if (doc_find(auth->secrets, "/invite/", hash, ret_doc, ret_revision, &ignored) != TP_OK) {
        return err_set(error, TP_NOT_FOUND, "%s", bad_link);
    }
    if (doc_ms(*ret_doc, "expires") <= clock_wall_ms()) {
        json_decref(*ret_doc);
        *ret_doc = NULL;
        return err_set(error, TP_NOT_FOUND, "%s", bad_link);
    }
    return TP_OK;
}

void do_invite_get(struct call *call)
{
    struct tp_error error = {0};
    const char *token = NULL;
    char hash[HASH_TEXT_SIZE];
    json_t *doc = NULL;
    enum tp_err err = json_need_text(call->params, "token", &token, &error);
    if (err == TP_OK) {
        err = invite_find(call->auth, token, hash, &doc, NULL, &error);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    const char *secret = json_get_text(doc, "secret", "");
    char *uri = totp_uri(secret, call->auth->settings.cluster, json_get_text(doc, "user", ""));
    json_t *result = json_pack("{s:s, s:s, s:s, s:s, s:s}", "user", json_get_text(doc, "user", ""), "kind",
                               json_get_text(doc, "kind", "invite"), "expires", json_get_text(doc, "expires", ""),
                               "secret", secret, "otpauth", uri);
    secret_free(uri);
    json_decref(doc);
    call_reply(call, result);
}

#define PROOF_MS ((int64_t)15 * 60 * 1000)

/* The second factor, by the code that the app shows now or by the proof that one was confirmed a while ago. ret_step: the
 * code's step, which no login may use again. */
static enum tp_err check_factor(const json_t *doc, const json_t *params, int64_t *ret_step, struct tp_error *error)
{
    const char *proof = json_get_text(params, "proof", NULL);
    if (proof != NULL) {
        const json_t *confirmed = json_object_get(doc, "confirmed");
        char hash[HASH_TEXT_SIZE];
        doc_hash(proof, hash);
        if (!secret_equal_text(hash, json_get_text(confirmed, "proof", "")) ||
            doc_ms(confirmed, "until") <= clock_wall_ms()) {
            return err_set(error, TP_EXPIRED, "the code has to be confirmed once more");
        }
        *ret_step = json_get_int(confirmed, "step", 0);
        return TP_OK;
    }
    if (totp_check(json_get_text(doc, "secret", ""), json_get_text(params, "code", ""), clock_wall(), ret_step) !=
        TP_OK) {
        return err_set(error, TP_INVALID,
                       "the one-time code does not match; scan the picture again and check the clock of "
                       "your phone");
    }
    return TP_OK;
}

/* The code first, the password later: the caller gets a proof that he takes back with invite.finish. It is his alone, so that
 * nobody else who has the link goes on where he stands; a newer one replaces it. */
void do_invite_confirm(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *token = NULL;
    const char *code = NULL;
    char hash[HASH_TEXT_SIZE];
    json_t *doc = NULL;
    uint64_t revision = 0;
    int64_t step = 0;
    enum tp_err err = json_need_text(call->params, "token", &token, &error);
    if (err == TP_OK) {
        err = json_need_text(call->params, "code", &code, &error);
    }
    if (err == TP_OK) {
        err = invite_find(auth, token, hash, &doc, &revision, &error);
    }
    if (err == TP_OK) {
        json_t *by_code = json_pack("{s:s}", "code", code);
        err = check_factor(doc, by_code, &step, &error);
        json_decref(by_code);
    }
    json_t *result = NULL;
    if (err == TP_OK) {
        char *proof = crypt_random_hex(16);
        char proof_hash[HASH_TEXT_SIZE];
        doc_hash(proof, proof_hash);
        json_object_set_new(doc, "confirmed",
                            json_pack("{s:s, s:I, s:o}", "proof", proof_hash, "step", (json_int_t)step, "until",
                                      doc_time(clock_wall_ms() + PROOF_MS)));
        result = json_pack("{s:s, s:s, s:s}", "proof", proof, "user", json_get_text(doc, "user", ""), "kind",
                           json_get_text(doc, "kind", "invite"));
        secret_free(proof);
        err = doc_put(auth->secrets, "/invite/", hash, doc, revision, NULL, &error);
    }
    json_decref(doc);
    if (err != TP_OK) {
        json_decref(result);
        call_fail(call, &error);
        return;
    }
    call_reply(call, result);
}

struct finish {
    struct call *call;
    char *password;
    char *hash;
    enum tp_err hashed;
};

static void finish_free(struct finish *finish)
{
    secret_free(finish->password);
    secret_free(finish->hash);
    mem_free(finish);
}

static void hash_work(void *ctx)
{
    struct finish *finish = ctx;
    finish->hashed = password_hash(finish->password, &finish->hash);
}

/* Everything is looked at again after the hashing: the invitation may have been used or replaced meanwhile. */
static enum tp_err enrol(struct auth *auth, const struct call *call, const char *password_hash_text, char **ret_user,
                         struct mfa_device *ret_device, struct tp_error *error)
{
    char hash[HASH_TEXT_SIZE];
    json_t *doc = NULL;
    uint64_t revision = 0;
    int64_t step = 0;
    enum tp_err err = invite_find(auth, json_get_text(call->params, "token", ""), hash, &doc, &revision, error);
    if (err != TP_OK) {
        return err;
    }
    const char *user = json_get_text(doc, "user", "");
    const char *secret = json_get_text(doc, "secret", "");
    err = check_factor(doc, call->params, &step, error);
    if (err != TP_OK) {
        json_decref(doc);
        return err;
    }
    const char *device = json_get_text(call->params, "device_name", "otp");
    json_t *first = json_object();
    struct tp_error ignored = {0};
    if (devices_check_name(first, device, NULL, &ignored) != TP_OK) {
        device = "otp";
    }
    json_decref(first);
    json_t *entry = devices_make(device, secret, step);
    snprintf(ret_device->id, sizeof ret_device->id, "%s", json_get_text(entry, "id", ""));
    snprintf(ret_device->name, sizeof ret_device->name, "%s", device);
    json_t *login = json_pack("{s:s, s:[o], s:o, s:[s]}", "hash", password_hash_text, "devices", entry, "created",
                              doc_time(clock_wall_ms()), "known", call->caller.ip);
    char *login_text = json_text(login);
    char *login_key = mem_printf("/login/%s", user);
    char *invite_key = mem_printf("/invite/%s", hash);
    char *index_key = mem_printf("/invite_of/%s", user);
    struct store_op ops[] = {
        {.key = invite_key, .value = NULL, .expected = revision},
        {.key = index_key, .value = NULL, .expected = STORE_ANY},
        {.key = login_key, .value = login_text, .size = strlen(login_text), .expected = STORE_ANY},
    };
    err = store_commit(auth->secrets, ops, 3, NULL, error);
    if (err == TP_CONFLICT || err == TP_NOT_FOUND) {
        err = err_set(error, TP_NOT_FOUND, "%s", bad_link);
    }
    if (err == TP_OK) {
        *ret_user = mem_strdup(user);
    }
    secret_free(login_text);
    mem_free(login_key);
    mem_free(invite_key);
    mem_free(index_key);
    json_decref(login);
    json_decref(doc);
    return err;
}

static void hash_done(void *ctx)
{
    struct finish *finish = ctx;
    struct call *call = finish->call;
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    char *user = NULL;
    struct mfa_device device;
    enum tp_err err = finish->hashed;
    if (auth->stopping) {
        err = err_set(&error, TP_UNAVAILABLE, "the auth process is stopping");
    } else if (err != TP_OK) {
        err = err_set(&error, err, "the password could not be processed");
    } else {
        err = enrol(auth, call, finish->hash, &user, &device, &error);
    }
    finish_free(finish);
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    lockout_forget(auth->lockout, user);
    json_t *added = call_event(call, "mfa.add", true);
    json_t *fields = mfa_device_json(&device);
    json_object_set_new(added, "user", json_string(user));
    json_object_update(added, fields);
    json_decref(fields);
    audit_emit(auth, added, NULL, NULL);
    json_t *event = call_event(call, "user.password_change", true);
    json_object_set_new(event, "user", json_string(user));
    json_t *result = json_pack("{s:s}", "user", user);
    mem_free(user);
    call_reply_audited(call, event, result);
}

void do_invite_finish(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    const char *token = NULL;
    const char *password = NULL;
    const char *code = NULL;
    char hash[HASH_TEXT_SIZE];
    json_t *doc = NULL;
    int64_t step = 0;
    enum tp_err err = json_need_text(call->params, "token", &token, &error);
    if (err == TP_OK) {
        err = json_need_text(call->params, "password", &password, &error);
    }
    if (err == TP_OK && json_object_get(call->params, "proof") == NULL) {
        err = json_need_text(call->params, "code", &code, &error);
    }
    if (err == TP_OK) {
        err = invite_find(auth, token, hash, &doc, NULL, &error);
    }
    if (err == TP_OK) {
        err = password_acceptable(password, json_get_text(doc, "user", ""), &error);
    }
    if (err == TP_OK) {
        err = check_factor(doc, call->params, &step, &error);
    }
    json_decref(doc);
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    struct finish *finish = mem_alloc(sizeof *finish);
    finish->call = call;
    finish->password = mem_strdup(password);
    if (lane_run(auth->hashing, NULL, hash_work, hash_done, finish, &error) != TP_OK) {
        finish_free(finish);
        call_fail(call, &error);
    }
}

/* A lock takes effect in the same call: logins and calls are refused, live sessions that it hits are cut. */
#include "auth/resources.h"

enum tp_err locks_read(const json_t *doc, struct lock **ret_lock, struct tp_error *error)
{
    struct lock *lock = NULL;
    enum tp_err err = lock_parse_json(doc, &lock, error);
    if (err != TP_OK) {
        return err;
    }
    const struct lock_target *target = &lock->target;
    if (target->user == NULL && target->role == NULL && target->login == NULL && target->server_id == NULL &&
        target->mfa_device == NULL) {
        lock_free(lock);
        return err_set(error, TP_INVALID,
                       "such a lock would shut nobody out: this cluster knows sessions by user, role, login, node and "
                       "mfa_device; lock one of these");
    }
    *ret_lock = lock;
    return TP_OK;
}

void do_locks_add(struct call *call)
{
    struct auth *auth = call->auth;
    struct tp_error error = {0};
    struct lock *lock = NULL;
    char id[UUID_TEXT_SIZE];
    crypt_uuid(id);
    json_t *target = json_object_get(call->params, "target");
    json_t *doc =
        json_pack("{s:s, s:s, s:{s:s}, s:{s:O?, s:o, s:s}}", "kind", "lock", "version", "v2", "metadata", "name", id,
                  "spec", "target", target, "created_at", doc_time(clock_wall_ms()), "created_by", call->caller.user);
    const char *message = json_get_text(call->params, "message", "");
    const char *expires = json_get_text(call->params, "expires", "");
    json_t *spec = json_object_get(doc, "spec");
    if (message[0] != '\0') {
        json_object_set_new(spec, "message", json_string(message));
    }
    if (expires[0] != '\0') {
        json_object_set_new(spec, "expires", json_string(expires));
    }
    enum tp_err err = locks_read(doc, &lock, &error);
    if (err == TP_OK) {
        err = doc_put(auth->state, "/lock/", id, doc, STORE_ABSENT, NULL, &error);
    }
    if (err != TP_OK) {
        lock_free(lock);
        json_decref(doc);
        call_fail(call, &error);
        return;
    }
    lock_free(map_set(auth->locks, id, lock));
    sessions_recheck(auth);
    json_t *event = call_event(call, "lock.created", true);
    json_object_set_new(event, "name", json_string(id));
    json_object_set_new(event, "target", json_deep_copy(target));
    json_decref(doc);
    call_reply_audited(call, event, json_pack("{s:s}", "name", id));
}

#include "auth/inner.h"

/* A lock takes effect in the same call: logins and calls are refused, live sessions that it hits are cut. */
/* Callers and sessions are told by these alone. A file may hold a lock of another target (it comes back as it was
 * written), but who asks for a lock now must not believe that it shuts somebody out. */
static enum tp_err lock_shuts_out(const struct lock *lock, struct tp_error *error)
{
    const struct lock_target *target = &lock->target;
    if (target->user != NULL || target->role != NULL || target->login != NULL || target->server_id != NULL) {
        return TP_OK;
    }
    return err_set(error, TP_INVALID,
                   "such a lock would shut nobody out: this cluster knows sessions by user, role, login and node; lock "
                   "one of these");
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
    enum tp_err err = lock_parse_json(doc, &lock, &error);
    if (err == TP_OK) {
        err = lock_shuts_out(lock, &error);
    }
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

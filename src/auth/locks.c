/* A lock takes effect in the same call: logins and calls are refused, live sessions that it hits are cut. When its time is
 * over it goes, as any list of locks is read as what is in force. */
#include "auth/access.h"
#include "auth/caller.h"
#include "auth/devices.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/live.h"
#include "auth/locks.h"

#include <string.h>

#define SWEEP_MAX 64 /* in one second; the rest goes in the next one */

/* A lock holds for the id of a host; a name would shut nobody out. Which names exist is nothing for who may not list them. */
static enum tp_err check_host(const struct call *call, const struct lock *lock, struct tp_error *error)
{
    const char *name = lock->target.server_id;
    const struct host *host = name != NULL ? access_host_by_name(call, name) : NULL;
    return host == NULL
               ? TP_OK
               : err_set(error, TP_INVALID, "a host is locked by its id, for names may change: the id of %s is %s",
                         host->name, host->id);
}

enum tp_err locks_read(const struct call *call, const json_t *doc, struct lock **ret_lock, struct tp_error *error)
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
    err = check_host(call, lock, error);
    if (err != TP_OK) {
        lock_free(lock);
        return err;
    }
    *ret_lock = lock;
    return TP_OK;
}

struct wanted_device {
    const char *id;
    bool found;
};

static bool look_at_devices(void *ctx, const char *user, const json_t *login, uint64_t revision)
{
    struct wanted_device *wanted = ctx;
    json_t *copy = json_deep_copy(login); /* devices_find brings old ones into form */
    (void)user;
    (void)revision;
    wanted->found = devices_find(copy, wanted->id) != NULL;
    json_decref(copy);
    return !wanted->found;
}

/* Whose it is does not matter. */
static bool device_known(struct auth *auth, const char *id)
{
    struct wanted_device wanted = {.id = id};
    return doc_each(auth->secrets, "/login/", NULL, look_at_devices, &wanted, NULL) != TP_OK || wanted.found;
}

static bool user_known(struct auth *auth, const char *name)
{
    json_t *doc = NULL;
    bool known = doc_find(auth->state, "/user/", name, &doc, NULL, NULL) == TP_OK;
    json_decref(doc);
    return known;
}

char *locks_warning(struct auth *auth, const struct lock *lock)
{
    const struct lock_target *target = &lock->target;
    const char *kind = NULL;
    const char *name = NULL;
    const char *hint = "";
    if (target->user != NULL && !user_known(auth, target->user)) {
        kind = "user";
        name = target->user;
    } else if (target->role != NULL && map_get(auth->roles, target->role) == NULL) {
        kind = "role";
        name = target->role;
    } else if (target->server_id != NULL && hosts_get(auth, target->server_id) == NULL) {
        kind = "host with the id";
        hint = " (a host is locked by its id, not by its name; `tportctl nodes ls` shows it)";
        name = target->server_id;
    } else if (target->mfa_device != NULL && !device_known(auth, target->mfa_device)) {
        kind = "one-time-code device with the id";
        name = target->mfa_device;
    }
    return kind == NULL ? NULL
                        : mem_printf("there is no %s %s now%s; the lock is there and will hold as soon as there is one",
                                     kind, name, hint);
}

struct lock_sweep {
    int64_t now_ms;
    char *names[SWEEP_MAX];
    size_t count;
};

static void collect_over(void *ctx, const char *name, void *value)
{
    struct lock_sweep *sweep = ctx;
    if (!lock_active(value, sweep->now_ms) && sweep->count < SWEEP_MAX) {
        sweep->names[sweep->count++] = mem_strdup(name);
    }
}

void locks_sweep(struct auth *auth)
{
    struct lock_sweep sweep = {.now_ms = clock_wall_ms()};
    map_each(auth->locks, collect_over, &sweep);
    for (size_t i = 0; i < sweep.count; i++) {
        struct tp_error error = {0};
        enum tp_err err = doc_delete(auth->state, "/lock/", sweep.names[i], &error);
        if (err == TP_OK || err == TP_NOT_FOUND) {
            log_info("lock is over", "name=%s", sweep.names[i]);
            lock_free(map_remove(auth->locks, sweep.names[i]));
        } else {
            log_warn("a lock that is over can't be deleted", "name=%s error=\"%s\"", sweep.names[i], error.text);
        }
        mem_free(sweep.names[i]);
    }
}

/* Of each user and role the lock that holds longest: a page of users is long, and so may be the list of locks. */
struct lock_index {
    int64_t now_ms;
    struct map *users, *roles; /* name to const struct lock */
};

static bool holds_longer(const struct lock *one, const struct lock *than)
{
    return than == NULL || (than->expires_ms != 0 && (one->expires_ms == 0 || one->expires_ms > than->expires_ms));
}

static void index_lock(void *ctx, const char *name, void *value)
{
    const struct lock_index *index = ctx;
    struct lock *lock = value;
    (void)name;
    if (!lock_active(lock, index->now_ms)) {
        return;
    }
    if (lock->target.user != NULL && holds_longer(lock, map_get(index->users, lock->target.user))) {
        (void)map_set(index->users, lock->target.user, lock);
    }
    if (lock->target.role != NULL && holds_longer(lock, map_get(index->roles, lock->target.role))) {
        (void)map_set(index->roles, lock->target.role, lock);
    }
}

static void mark_user(const struct lock_index *index, json_t *user)
{
    const struct lock *hit = map_get(index->users, json_get_text(json_object_get(user, "metadata"), "name", ""));
    const char *role = NULL;
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(json_object_get(user, "spec"), "roles"), i, item) {
        const struct lock *lock = json_is_string(item) ? map_get(index->roles, json_string_value(item)) : NULL;
        if (lock != NULL && holds_longer(lock, hit)) {
            hit = lock;
            role = json_string_value(item);
        }
    }
    if (hit == NULL) {
        return;
    }
    json_t *locked = json_object();
    if (hit->message != NULL) {
        json_object_set_new(locked, "message", json_string(hit->message));
    }
    if (hit->expires_ms != 0) {
        json_object_set_new(locked, "expires", doc_time(hit->expires_ms));
    }
    if (role != NULL) {
        json_object_set_new(locked, "role", json_string(role));
    }
    json_object_set_new(user, "locked", locked);
}

void locks_mark_users(struct auth *auth, const json_t *users)
{
    if (map_count(auth->locks) == 0) {
        return;
    }
    struct lock_index index = {.now_ms = clock_wall_ms(), .users = map_new(), .roles = map_new()};
    size_t i;
    json_t *user;
    map_each(auth->locks, index_lock, &index);
    json_array_foreach (users, i, user) {
        mark_user(&index, user);
    }
    map_free(index.users);
    map_free(index.roles);
}

static json_t *new_lock(const struct call *call, const char *id)
{
    json_t *doc = json_pack("{s:s, s:s, s:{s:s}, s:{s:O?, s:o, s:s}}", "kind", "lock", "version", "v2", "metadata",
                            "name", id, "spec", "target", json_object_get(call->params, "target"), "created_at",
                            doc_time(clock_wall_ms()), "created_by", call->caller.user);
    const char *message = json_get_text(call->params, "message", "");
    const char *expires = json_get_text(call->params, "expires", "");
    json_t *spec = json_object_get(doc, "spec");
    if (message[0] != '\0') {
        json_object_set_new(spec, "message", json_string(message));
    }
    if (expires[0] != '\0') {
        json_object_set_new(spec, "expires", json_string(expires));
    }
    return doc;
}

/* A caller who names his lock can ask again when the answer was lost: what he made then is what he asks for now. When it
 * ends was reckoned then. */
static bool made_before(const struct call *call, const json_t *doc, const json_t *old)
{
    const json_t *spec = json_object_get(doc, "spec");
    const json_t *before = json_object_get(old, "spec");
    return json_equal(json_object_get(spec, "target"), json_object_get(before, "target")) &&
           strcmp(json_get_text(spec, "message", ""), json_get_text(before, "message", "")) == 0 &&
           (json_object_get(spec, "expires") == NULL) == (json_object_get(before, "expires") == NULL) &&
           strcmp(json_get_text(before, "created_by", ""), call->caller.user) == 0;
}

static enum tp_err lock_id(const struct call *call, char id[UUID_TEXT_SIZE], struct tp_error *error)
{
    const char *name = json_get_text(call->params, "name", "");
    if (name[0] == '\0') {
        crypt_uuid(id);
        return TP_OK;
    }
    if (strlen(name) != UUID_TEXT_SIZE - 1 || strspn(name, "0123456789abcdef-") != UUID_TEXT_SIZE - 1) {
        return err_set(error, TP_INVALID, "the name of a new lock is a UUID, or left out");
    }
    memcpy(id, name, UUID_TEXT_SIZE);
    return TP_OK;
}

static json_t *lock_answer(struct auth *auth, const char *id)
{
    json_t *result = json_pack("{s:s}", "name", id);
    char *warning = locks_warning(auth, map_get(auth->locks, id));
    if (warning != NULL) {
        json_object_set_new(result, "warnings", json_string(warning));
        mem_free(warning);
    }
    return result;
}

/* Puts the lock into force, or finds it there from an earlier try. */
static enum tp_err put_lock(struct call *call, const char *id, const json_t *doc, bool *ret_again,
                            struct tp_error *error)
{
    struct auth *auth = call->auth;
    struct lock *lock = NULL;
    json_t *old = NULL;
    struct tp_error ignored = {0};
    *ret_again = false;
    enum tp_err err = locks_read(call, doc, &lock, error);
    if (err == TP_OK && doc_find(auth->state, "/lock/", id, &old, NULL, &ignored) == TP_OK) {
        *ret_again = map_get(auth->locks, id) != NULL && made_before(call, doc, old);
        err = *ret_again ? TP_OK : err_set(error, TP_EXISTS, "there is another lock of the name %s", id);
    } else if (err == TP_OK) {
        err = doc_put(auth->state, "/lock/", id, doc, STORE_ABSENT, NULL, error);
    }
    json_decref(old);
    if (err != TP_OK || *ret_again) {
        lock_free(lock);
        return err;
    }
    lock_free(map_set(auth->locks, id, lock));
    sessions_recheck(auth);
    return TP_OK;
}

void do_locks_add(struct call *call)
{
    struct tp_error error = {0};
    char id[UUID_TEXT_SIZE];
    bool again = false;
    enum tp_err err = lock_id(call, id, &error);
    if (err == TP_OK) {
        json_t *doc = new_lock(call, id);
        err = put_lock(call, id, doc, &again, &error);
        json_decref(doc);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
    } else if (again) {
        call_reply(call, lock_answer(call->auth, id));
    } else {
        json_t *event = call_event(call, "lock.created", true);
        json_object_set_new(event, "name", json_string(id));
        json_object_set_new(event, "target", json_deep_copy(json_object_get(call->params, "target")));
        call_reply_audited(call, event, lock_answer(call->auth, id));
    }
}

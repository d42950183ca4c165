/*
 * sessions.watch: the recording of a running session, read as it grows. A call that has read everything waits here for more,
 * for a while; then it is decided anew and answered, so that nobody goes on watching by a right that he had. Who watches is
 * on record (session.join, session.leave), among the participants, and in the list of running sessions; so is who reads it by
 * recordings.read while it runs.
 */
#include "auth/audit.h"
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/inner.h"
#include "auth/live.h"
#include "auth/mfa.h"
#include "auth/recording.h"
#include "auth/running.h"
#include "auth/websess.h"

#include <string.h>

#define WAIT_MAX ((int64_t)20000)    /* ms; below the time in which a worker wants its answer */
#define LEFT_MS ((int64_t)10 * 1000) /* a watcher who asks no more for so long has left */
#define PARKED_MAX 8                 /* calls of one person that wait for one recording */
#define WATCHERS_MAX 64              /* of one recording */
#define NAMES_MAX 5                  /* of those who are told to the person */
#define NAME_MAX_BYTES 200

/* A person in one web session: what he gave a code for in one browser, another one that he has does not see. */
struct watcher {
    char *user;
    char *web_key;    /* "" where there is none */
    char *device;     /* of the code that he began with, or NULL: none was asked for */
    int64_t asked_ms; /* wall */
    struct watcher *next;
};

struct parked {
    struct call *call;
    struct recording *recording;
    int64_t until_ms; /* wall */
    struct parked *next;
};

static const char *web_key_of(const struct caller *caller)
{
    return caller->web_key != NULL ? caller->web_key : "";
}

static bool is_watcher(const struct watcher *watcher, const struct caller *caller)
{
    return strcmp(watcher->user, caller->user) == 0 && strcmp(watcher->web_key, web_key_of(caller)) == 0;
}

static struct watcher *find_watcher(const struct recording *recording, const struct caller *caller)
{
    struct watcher *watcher = recording->watchers;
    while (watcher != NULL && !is_watcher(watcher, caller)) {
        watcher = watcher->next;
    }
    return watcher;
}

static bool user_watches(const struct recording *recording, const char *user)
{
    const struct watcher *watcher = recording->watchers;
    while (watcher != NULL && strcmp(watcher->user, user) != 0) {
        watcher = watcher->next;
    }
    return watcher != NULL;
}

static void watcher_free(struct watcher *watcher)
{
    mem_free(watcher->user);
    mem_free(watcher->web_key);
    mem_free(watcher->device);
    mem_free(watcher);
}

json_t *watchers_names(const struct recording *recording)
{
    json_t *names = json_array();
    for (const struct watcher *watcher = recording->watchers; watcher != NULL; watcher = watcher->next) {
        if (!json_list_has(names, watcher->user)) {
            json_array_append_new(names, json_string(watcher->user));
        }
    }
    return names;
}

/* The person in the terminal learns who watches. To all workers, as with a cut: one relays the session, and one (often another)
 * holds the line to its agent. An agent may hear it several times: the number says what it has heard. */
static void tell_person(struct recording *recording, const char *user, bool joined)
{
    struct auth *auth = recording->auth;
    int64_t now = clock_wall_ms();
    size_t i;
    json_t *name;
    if (!auth->settings.announce_watchers || recording->ended) {
        return;
    }
    json_t *all = watchers_names(recording);
    json_t *names = json_array();
    json_array_foreach (all, i, name) {
        if (i < NAMES_MAX && json_string_length(name) <= NAME_MAX_BYTES) {
            json_array_append(names, name);
        }
    }
    int count = (int)json_array_size(all);
    json_decref(all);
    recording->told = now > recording->told ? now : recording->told + 1;
    char *text = mem_printf("%.*s %s", NAME_MAX_BYTES, user,
                            joined ? "is watching this session" : "has stopped watching this session");
    auth_tell_workers(auth, "session.watched",
                      json_pack("{s:s, s:s, s:s, s:I, s:s, s:o, s:i}", "sid", json_get_text(recording->meta, "sid", ""),
                                "host_id", json_get_text(recording->meta, "host_id", ""), "id", recording->id, "number",
                                (json_int_t)recording->told, "text", text, "watchers", names, "count", count));
    mem_free(text);
}

static void put_session(const struct recording *recording, json_t *event)
{
    const json_t *meta = recording->meta;
    json_object_set_new(event, "sid", json_string(recording->id));
    json_object_set_new(event, "server_id", json_string(json_get_text(meta, "host_id", "")));
    json_object_set_new(event, "server_hostname", json_string(json_get_text(meta, "hostname", "")));
    json_object_set_new(event, "proto", json_string(json_get_text(meta, "proto", "ssh")));
    json_object_set_new(event, "mode", json_string("observer"));
}

static void leave(struct recording *recording, struct watcher **at)
{
    struct watcher *watcher = *at;
    *at = watcher->next;
    if (!user_watches(recording, watcher->user)) {
        json_t *event = event_new("session.leave", true, recording->auth->settings.cluster);
        json_object_set_new(event, "user", json_string(watcher->user));
        put_session(recording, event);
        audit_emit(recording->auth, event, NULL, NULL);
        tell_person(recording, watcher->user, false);
    }
    watcher_free(watcher);
}

static void set_device(struct watcher *watcher, const char *device)
{
    char *fresh = device != NULL ? mem_strdup(device) : NULL; /* device may be the old one */
    mem_free(watcher->device);
    watcher->device = fresh;
}

/* The event of somebody who was not there until now; NULL for who goes on watching. */
static json_t *join(struct recording *recording, const struct call *call, const char *device)
{
    const char *user = call->caller.user;
    struct watcher *watcher = find_watcher(recording, &call->caller);
    if (watcher != NULL) {
        watcher->asked_ms = clock_wall_ms();
        set_device(watcher, device);
        return NULL;
    }
    bool known = user_watches(recording, user);
    watcher = mem_alloc(sizeof *watcher);
    watcher->user = mem_strdup(user);
    watcher->web_key = mem_strdup(web_key_of(&call->caller));
    watcher->asked_ms = clock_wall_ms();
    set_device(watcher, device);
    watcher->next = recording->watchers;
    recording->watchers = watcher;
    if (!known) {
        tell_person(recording, user, true);
    }
    json_t *people = json_object_get(recording->meta, "participants");
    if (!json_list_has(people, user)) {
        json_array_append_new(people, json_string(user));
        recording->dirty = true;
    }
    if (known) {
        return NULL; /* from another browser */
    }
    json_t *event = call_event(call, "session.join", true);
    put_session(recording, event);
    if (device != NULL) {
        json_object_set_new(event, "with_mfa", json_string(device));
    }
    return event;
}

/* The caller as he is now: a right, a role or the web session may have gone while the call waited. */
static enum tp_err caller_anew(struct call *call, struct tp_error *error)
{
    struct caller fresh;
    if (call->caller.who != WHO_USER) {
        return TP_OK;
    }
    if (call->caller.web_key != NULL && !websess_alive(call->auth, call->caller.web_key)) {
        return err_set(error, TP_UNAUTHENTICATED, "your session has ended; sign in again");
    }
    caller_init(&fresh);
    enum tp_err err =
        caller_become_user(call->auth, call->caller.user, call->caller.roles, call->caller.traits, &fresh, error);
    if (err == TP_OK) {
        err = caller_check_login(call->auth, call->caller.user, call->caller.login_device, error);
    }
    if (err == TP_OK) {
        struct rbac_set *before = call->caller.set;
        call->caller.set = fresh.set;
        fresh.set = before;
    }
    caller_free(&fresh);
    return err;
}

static enum tp_err check_recorded(const struct recording *recording, struct tp_error *error)
{
    if (!recording->auth->settings.record && !json_get_bool(recording->meta, "recorded", false)) {
        return err_set(error, TP_INVALID, "this session is not recorded, so there is nothing to watch");
    }
    return TP_OK;
}

/* Whoever may not watch it learns no more than that it is not there for him. */
enum tp_err watchers_find(const struct call *call, const struct recording *recording, struct live **ret_live,
                          struct tp_error *error)
{
    struct live *live = recording != NULL ? map_get(call->auth->live, json_get_text(recording->meta, "sid", "")) : NULL;
    if (live == NULL || !running_rights(call, live, recording->meta).watch) {
        return err_set(error, TP_NOT_FOUND, "there is no running session with this id that you may watch");
    }
    enum tp_err err = check_recorded(recording, error);
    if (err == TP_OK) {
        *ret_live = live;
    }
    return err;
}

/* ret_device: the second factor that he watches by, or NULL: none is asked for. */
static enum tp_err check_code(const struct call *call, const struct recording *recording, const char **ret_device,
                              struct tp_error *error)
{
    const struct watcher *watcher = find_watcher(recording, &call->caller);
    return mfa_check_watch(call, json_get_text(recording->meta, "sid", ""), watcher != NULL ? watcher->device : NULL,
                           ret_device, error);
}

/* The one decision; ret_device as in check_code. */
static enum tp_err decide(const struct call *call, const struct recording *recording, const char **ret_device,
                          struct tp_error *error)
{
    struct live *live = NULL;
    enum tp_err err = watchers_find(call, recording, &live, error);
    return err == TP_OK ? check_code(call, recording, ret_device, error) : err;
}

static json_t *meta_now(const struct recording *recording)
{
    json_t *meta = json_deep_copy(recording->meta);
    json_object_set_new(meta, "size", json_integer(recording->size));
    return meta;
}

/* He who has the end leaves: nobody waits for him. */
static void leave_at_end(struct recording *recording, const struct call *call, const struct recording_piece *piece)
{
    if (!recording->ended || recording->size - piece->offset > piece->limit) {
        return;
    }
    for (struct watcher **at = &recording->watchers; *at != NULL; at = &(*at)->next) {
        if (is_watcher(*at, &call->caller)) {
            leave(recording, at);
            return;
        }
    }
}

static void answer(struct recording *recording, struct call *call, const char *device)
{
    int64_t limit = json_get_int(call->params, "limit", RECORDING_PIECE_MAX);
    struct recording_piece piece = {.offset = json_get_int(call->params, "offset", 0),
                                    .limit = limit < RECORDING_PIECE_MAX ? limit : RECORDING_PIECE_MAX,
                                    .joined = true};
    json_t *event = join(recording, call, device);
    json_t *meta = meta_now(recording);
    leave_at_end(recording, call, &piece);
    recordings_answer(call, meta, &piece, event);
    json_decref(meta);
}

static void answer_parked(struct parked *parked)
{
    struct call *call = parked->call;
    struct recording *recording = parked->recording;
    struct tp_error error = {0};
    const char *device = NULL;
    mem_free(parked);
    if (call->auth->stopping) {
        call_fail_text(call, TP_UNAVAILABLE, "the auth process is stopping");
    } else if (caller_anew(call, &error) != TP_OK || decide(call, recording, &device, &error) != TP_OK) {
        call_fail(call, &error);
    } else {
        answer(recording, call, device);
    }
}

void watchers_wake(struct recording *recording)
{
    struct parked *parked = recording->parked;
    recording->parked = NULL;
    while (parked != NULL) {
        struct parked *next = parked->next;
        answer_parked(parked);
        parked = next;
    }
}

void watchers_free(struct recording *recording)
{
    while (recording->parked != NULL) {
        struct parked *parked = recording->parked;
        recording->parked = parked->next;
        call_fail_text(parked->call, TP_UNAVAILABLE, "the auth process is stopping");
        mem_free(parked);
    }
    while (recording->watchers != NULL) {
        struct watcher *watcher = recording->watchers;
        recording->watchers = watcher->next;
        watcher_free(watcher);
    }
}

void watchers_tick(struct recording *recording)
{
    int64_t now = clock_wall_ms();
    for (struct parked **at = &recording->parked; *at != NULL;) {
        struct parked *parked = *at;
        if (parked->until_ms <= now) {
            *at = parked->next;
            answer_parked(parked);
        } else {
            at = &parked->next;
        }
    }
    for (const struct parked *parked = recording->parked; parked != NULL; parked = parked->next) {
        struct watcher *watcher = find_watcher(recording, &parked->call->caller);
        if (watcher != NULL) {
            watcher->asked_ms = now; /* he waits */
        }
    }
    for (struct watcher **at = &recording->watchers; *at != NULL;) {
        if (now - (*at)->asked_ms > LEFT_MS) {
            leave(recording, at);
        } else {
            at = &(*at)->next;
        }
    }
}

/* One person with many windows must not fill the table: his oldest call gets its answer, which is empty. */
static void park(struct recording *recording, struct call *call, int64_t wait_ms)
{
    size_t count = 0;
    struct parked **oldest = NULL;
    struct parked **end = &recording->parked;
    for (; *end != NULL; end = &(*end)->next) {
        if (strcmp((*end)->call->caller.user, call->caller.user) == 0) {
            oldest = oldest == NULL ? end : oldest;
            count++;
        }
    }
    struct parked *parked = mem_alloc(sizeof *parked);
    parked->call = call;
    parked->recording = recording;
    parked->until_ms = clock_wall_ms() + (wait_ms < WAIT_MAX ? wait_ms : WAIT_MAX);
    *end = parked;
    if (count >= PARKED_MAX) {
        struct parked *first = *oldest;
        *oldest = first->next;
        answer_parked(first);
    }
}

/* There is room for one more, or he is there already. */
static enum tp_err check_room(const struct recording *recording, const struct caller *caller, struct tp_error *error)
{
    size_t count = 0;
    for (const struct watcher *watcher = recording->watchers; watcher != NULL; watcher = watcher->next) {
        count++;
    }
    return count < WATCHERS_MAX || find_watcher(recording, caller) != NULL
               ? TP_OK
               : err_set(error, TP_LIMIT, "too many people watch this session");
}

enum tp_err watchers_read(struct recording *recording, const struct call *call, const struct recording_piece *piece,
                          json_t **ret_event, struct tp_error *error)
{
    const char *device = NULL;
    *ret_event = NULL;
    if (recording->ended) {
        leave_at_end(recording, call, piece);
        return TP_OK;
    }
    enum tp_err err = check_recorded(recording, error);
    if (err == TP_OK) {
        err = check_code(call, recording, &device, error);
    }
    if (err == TP_OK) {
        err = check_room(recording, &call->caller, error);
    }
    if (err == TP_OK) {
        *ret_event = join(recording, call, device);
    }
    return err;
}

void do_sessions_watch(struct call *call)
{
    struct tp_error error = {0};
    const char *id = NULL;
    int64_t offset = json_get_int(call->params, "offset", 0);
    int64_t limit = json_get_int(call->params, "limit", 1);
    int64_t wait_ms = json_get_int(call->params, "wait", 0);
    struct recording *recording = NULL;
    const char *device = NULL;
    enum tp_err err = json_need_text(call->params, "id", &id, &error);
    if (err == TP_OK && (offset < 0 || limit <= 0 || wait_ms < 0)) {
        err = err_set(&error, TP_INVALID, "offset, limit and wait must be positive");
    }
    if (err == TP_OK) {
        recording = map_get(call->auth->recordings, id);
        err = decide(call, recording, &device, &error);
    }
    if (err == TP_OK) {
        err = check_room(recording, &call->caller, &error);
    }
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    struct watcher *watcher = find_watcher(recording, &call->caller);
    if (watcher != NULL && wait_ms > 0 && !recording->ended && offset >= recording->size) {
        watcher->asked_ms = clock_wall_ms();
        set_device(watcher, device);
        park(recording, call, wait_ms);
        return;
    }
    answer(recording, call, device);
}

/*
 * Channels of sessions and their recordings. Text arrives in order, is on the disk before it is acknowledged, and is
 * compressed and hashed when the channel ends; the hash is in the audit log (session.upload).
 */
#include "auth/audit.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/kube.h"
#include "auth/lane.h"
#include "auth/live.h"
#include "auth/recording.h"
#include "auth/space.h"
#include "core/rpc.h"
#include "recording/piece.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ORPHAN_MS ((int64_t)15 * 60 * 1000) /* an open channel of a host that is away is ended after this */
#define CLOSED_MS ((int64_t)2 * 60 * 1000)  /* one whose connection is gone, after this long without a word */
#define REASON_MAX 64                       /* bytes; a name out of base/close.h */
#define APPEND_MAX ((size_t)8 * 1024 * 1024)

struct append {
    struct append *next;
    struct call *call;
    int64_t end; /* answered when so many bytes are on the disk */
    size_t size;
};

/* Recordings are kept by time, so that a range of times is a range of keys; a second key leads from the id there. */
static void store_meta(struct recording *recording)
{
    struct auth *auth = recording->auth;
    char *key = mem_printf("%s_%s", json_get_text(recording->meta, "started", ""), recording->id);
    json_t *index = json_pack("{s:s}", "key", key);
    json_object_set_new(recording->meta, "size", json_integer(recording->size));
    if (recording->sealed) {
        recording_rows_put(auth, key, recording->meta);
    }
    batch_put(auth, "/recording/", key, recording->meta);
    batch_put(auth, "/recording_at/", recording->id, index);
    recording->dirty = false;
    json_decref(index);
    mem_free(key);
}

static void recording_destroy(struct recording *recording)
{
    watchers_free(recording);
    if (recording->fd >= 0) {
        (void)close(recording->fd);
    }
    json_decref(recording->meta);
    mem_free(recording);
}

struct recording *recordings_begin(struct auth *auth, const struct live *live, const struct call *call, const char *id)
{
    const struct host *host = hosts_get(auth, live->host_id);
    struct recording *recording = mem_alloc(sizeof *recording);
    recording->auth = auth;
    snprintf(recording->id, sizeof recording->id, "%s", id);
    recording->fd = -1;
    recording->dirty = true;
    recording->touched_ms = clock_wall_ms();
    json_t *node = host != NULL ? hosts_resource(host) : json_object();
    json_t *labels = json_object_get(json_object_get(node, "metadata"), "labels");
    recording->meta = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:b, s:s, s:s, s:[s], s:O?, s:b}", "id", id, "sid", live->sid, "kind",
        json_get_text(call->params, "kind", "shell"), "user", live->user, "login",
        json_get_text(call->params, "login", ""), "hostname", host != NULL ? host->name : "", "host_id", live->host_id,
        "started", doc_time(recording->touched_ms), "interactive", json_get_bool(call->params, "interactive", false),
        "command", json_get_text(call->params, "command", ""), "state", "live", "participants", live->user,
        "server_labels", labels, "recorded", 0);
    json_decref(node);
    json_object_set_new(recording->meta, "proto", json_string(sessions_proto(live)));
    kube_event_cluster(live, recording->meta);
    kube_session_fields(call->params, recording->meta);
    map_set(auth->recordings, recording->id, recording);
    return recording;
}

enum tp_err recordings_of_host(struct auth *auth, const char *id, const char *host_id, struct recording **ret_recording,
                               struct tp_error *error)
{
    struct recording *recording = map_get(auth->recordings, id);
    if (recording == NULL || host_id == NULL || recording->ended ||
        strcmp(json_get_text(recording->meta, "host_id", ""), host_id) != 0) {
        return err_set(error, TP_NOT_FOUND, "there is no such open session on this host");
    }
    *ret_recording = recording;
    return TP_OK;
}

static enum tp_err open_part(struct recording *recording, struct tp_error *error)
{
    if (recording->fd >= 0) {
        return TP_OK;
    }
    char *path = recording_path(recording->auth, recording->id, ".cast.part");
    recording->fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    enum tp_err err = recording->fd >= 0 ? TP_OK : err_errno(error, errno, "the recording cannot be written");
    struct stat st;
    if (err == TP_OK && fstat(recording->fd, &st) == 0) {
        recording->size = st.st_size;
        recording->synced = 0;
    }
    mem_free(path);
    return err;
}

static void seal_start(struct recording *recording);
static void sync_start(struct recording *recording);

static void sync_work(void *ctx)
{
    struct recording *recording = ctx;
    recording->sync_errno = fsync(recording->fd) == 0 ? 0 : errno;
}

/* It has been answered. */
static void append_free(const struct recording *recording, struct append *append)
{
    struct host *host = hosts_get(recording->auth, json_get_text(recording->meta, "host_id", ""));
    if (host != NULL) { /* it may be a new one under the same id */
        host->appending -= append->size < host->appending ? append->size : host->appending;
    }
    mem_free(append);
}

static void sync_done(void *ctx)
{
    struct recording *recording = ctx;
    recording->syncing = false;
    struct append *waiting = recording->waiting;
    struct append **keep = &recording->waiting;
    recording->waiting = NULL;
    if (recording->sync_errno == 0) {
        recording->synced = recording->sync_to;
    }
    while (waiting != NULL) {
        struct append *append = waiting;
        waiting = append->next;
        if (recording->sync_errno != 0) {
            struct tp_error error = {0};
            (void)err_errno(&error, recording->sync_errno, "the recording cannot be written");
            call_fail(append->call, &error);
            append_free(recording, append);
        } else if (append->end <= recording->synced) {
            call_reply(append->call, json_pack("{s:I}", "size", (json_int_t)append->end));
            append_free(recording, append);
        } else {
            append->next = NULL;
            *keep = append;
            keep = &append->next;
        }
    }
    if (recording->waiting != NULL) {
        sync_start(recording);
    } else if (recording->ended) {
        seal_start(recording);
    }
}

static void sync_start(struct recording *recording)
{
    recording->syncing = true;
    recording->sync_to = recording->size;
    work_run(recording->auth->loop, sync_work, sync_done, recording);
}

/* Recordings never take the last of the disk: the audit log needs it, or nobody gets in any more. */
static enum tp_err check_space(int fd, struct tp_error *error)
{
    struct statvfs fs;
    if (fstatvfs(fd, &fs) != 0) {
        return TP_OK;
    }
    if (space_of(&fs) != SPACE_FOR_ALL) {
        return err_set(error, TP_NO_SPACE, "the disk is nearly full; what is left is kept for the audit log");
    }
    return TP_OK;
}

static enum tp_err write_all(int fd, const uint8_t *data, size_t size, int64_t offset, struct tp_error *error)
{
    while (size > 0) {
        ssize_t n = pwrite(fd, data, size, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return err_errno(error, n == 0 ? ENOSPC : errno, "the recording cannot be written");
        }
        data += n;
        size -= (size_t)n;
        offset += n;
    }
    return TP_OK;
}

/* A piece takes a thousandth of its size on the line when it is compressed, so what the line lets a host have unanswered bounds
 * neither our work nor the disk's (R15). */
static enum tp_err check_under_way(const struct call *call, struct tp_error *error)
{
    const struct host *host = hosts_get(call->auth, call->caller.host_id);
    if (host != NULL && host->appending < RPC_UNANSWERED_MAX) {
        return TP_OK;
    }
    return err_set(error, TP_LIMIT, "too many pieces of this host's recordings are still on their way to the disk");
}

void do_recording_append(struct call *call)
{
    struct tp_error error = {0};
    struct recording *recording = NULL;
    const char *text = NULL;
    int64_t offset = json_get_int(call->params, "offset", -1);
    struct buf data;
    buf_init(&data, APPEND_MAX);
    enum tp_err err =
        recordings_of_host(call->auth, json_get_text(call->params, "id", ""), call->caller.host_id, &recording, &error);
    if (err == TP_OK) {
        err = json_need_text(call->params, "data", &text, &error);
    }
    if (err == TP_OK) {
        err = check_under_way(call, &error);
    }
    if (err == TP_OK) {
        err = piece_unpack(text, &data);
        if (err != TP_OK) {
            (void)err_set(&error, err, "data is no piece of a recording, or too large");
        }
    }
    if (err == TP_OK) {
        err = open_part(recording, &error);
    }
    int64_t size = (int64_t)buf_size(&data);
    bool again = err == TP_OK && offset >= 0 && offset < recording->size && offset + size <= recording->size;
    if (err == TP_OK && !again && offset != recording->size) {
        err = err_set(&error, TP_CONFLICT, "the recording has %lld bytes", (long long)recording->size);
    }
    if (err == TP_OK && !again) {
        err = check_space(recording->fd, &error);
    }
    if (err == TP_OK && !again) {
        err = write_all(recording->fd, buf_head(&data), (size_t)size, offset, &error);
        if (err != TP_OK && ftruncate(recording->fd, (off_t)recording->size) != 0) {
            log_error("recording cannot be cut back", "id=%s", recording->id);
        }
    }
    buf_free(&data);
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    if (!again) {
        recording->size += size;
    }
    recording->touched_ms = clock_wall_ms();
    if (json_is_false(json_object_get(recording->meta, "recorded"))) {
        json_object_set_new(recording->meta, "recorded", json_true());
        recording->dirty = true;
    }
    watchers_wake(recording);
    struct append *append = mem_alloc(sizeof *append);
    append->call = call;
    append->end = offset + size;
    append->size = (size_t)size;
    hosts_get(call->auth, call->caller.host_id)->appending += append->size;
    struct append **last = &recording->waiting;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = append;
    if (!recording->syncing) {
        sync_start(recording);
    }
}

struct seal_job {
    struct recording *recording;
    struct seal seal;
};

static void seal_work(void *ctx)
{
    struct seal_job *job = ctx;
    recording_file_seal(&job->seal);
}

static void seal_done(void *ctx)
{
    struct seal_job *job = ctx;
    struct recording *recording = job->recording;
    struct auth *auth = recording->auth;
    if (job->seal.err != TP_OK) {
        /* The raw file stays and is sealed at the next start; it can be read as it is. */
        log_error("recording cannot be sealed", "id=%s error=\"%s\"", recording->id, job->seal.error.text);
    } else {
        char *hash = enc_hex(job->seal.hash, 32);
        json_t *event = event_new("session.upload", true, auth->settings.cluster);
        json_object_set_new(event, "sid", json_string(recording->id));
        json_object_set_new(event, "user", json_string(json_get_text(recording->meta, "user", "")));
        json_object_set_new(event, "server_id", json_string(json_get_text(recording->meta, "host_id", "")));
        json_object_set_new(event, "url", json_pack("s++", "recordings/", recording->id, ".cast.gz"));
        json_object_set_new(event, "sha256", json_string(hash));
        json_object_set_new(event, "size", json_integer(job->seal.size));
        audit_emit_soon(auth, event, NULL, NULL);
        json_object_set_new(recording->meta, "sha256", json_string(hash));
        recording->size = job->seal.size;
        mem_free(hash);
    }
    mem_free(job->seal.part);
    mem_free(job->seal.final);
    mem_free(job);
    recording->sealed = true;
    recording->dirty = true;
}

static void seal_start(struct recording *recording)
{
    if (recording->fd >= 0) {
        (void)close(recording->fd);
        recording->fd = -1;
    }
    char *part = recording_path(recording->auth, recording->id, ".cast.part");
    struct stat st;
    if (stat(part, &st) != 0) {
        mem_free(part);
        recording->sealed = true;
        recording->dirty = true;
        return;
    }
    recording->size = st.st_size;
    struct seal_job *job = mem_alloc(sizeof *job);
    job->recording = recording;
    job->seal.part = part;
    job->seal.final = recording_path(recording->auth, recording->id, ".cast.gz");
    struct tp_error never = {0};
    if (lane_run(recording->auth->seals, NULL, seal_work, seal_done, job, &never) != TP_OK) {
        seal_done(job);
    }
}

void recordings_end(struct recording *recording, struct call *call, const char *reason, json_t *exit_code)
{
    struct auth *auth = recording->auth;
    const json_t *meta = recording->meta;
    int64_t now = clock_wall_ms();
    json_t *event = event_new("session.end", true, auth->settings.cluster);
    static const char *const copied[] = {"user",         "login",         "interactive",
                                         "participants", "server_labels", "kubernetes_cluster"};
    for (size_t i = 0; i < sizeof copied / sizeof copied[0]; i++) {
        if (json_object_get(meta, copied[i]) != NULL) {
            json_object_set(event, copied[i], json_object_get(meta, copied[i]));
        }
    }
    json_object_set_new(event, "sid", json_string(recording->id));
    json_object_set_new(event, "namespace", json_string("default"));
    json_object_set_new(event, "proto", json_string(json_get_text(meta, "proto", "ssh")));
    kube_session_fields(meta, event);
    json_object_set(event, "server_id", json_object_get(meta, "host_id"));
    json_object_set(event, "server_hostname", json_object_get(meta, "hostname"));
    json_object_set(event, "session_start", json_object_get(meta, "started"));
    json_object_set_new(event, "session_stop", doc_time(now));
    json_object_set_new(event, "session_recording",
                        json_string(json_is_true(json_object_get(meta, "recorded")) ? "node" : "off"));
    json_object_set_new(event, "reason", json_string(reason));
    const char *command = json_get_text(meta, "command", "");
    if (command[0] != '\0') {
        json_object_set_new(event, "initial_command", json_pack("[s]", command));
    }
    if (exit_code != NULL) {
        json_object_set(event, "exitCode", exit_code);
    }
    json_object_set_new(recording->meta, "ended", doc_time(now));
    json_object_set_new(recording->meta, "state", json_string("done"));
    recording->ended = true;
    watchers_wake(recording);
    struct live *live = map_get(auth->live, json_get_text(meta, "sid", ""));
    if (live != NULL && live->open_channels > 0) {
        live->open_channels--;
    }
    if (call != NULL) {
        call_reply_kept(call, event, NULL);
    } else {
        audit_emit_soon(auth, event, NULL, NULL);
    }
    if (!recording->syncing) {
        seal_start(recording);
    }
}

void do_session_end(struct call *call)
{
    struct tp_error error = {0};
    struct recording *recording = NULL;
    enum tp_err err =
        recordings_of_host(call->auth, json_get_text(call->params, "id", ""), call->caller.host_id, &recording, &error);
    if (err != TP_OK) {
        call_fail(call, &error);
        return;
    }
    const char *reason = json_get_text(call->params, "reason", "");
    json_t *code = json_object_get(call->params, "exit_code");
    kube_session_fields(call->params, recording->meta); /* what the agent learned about the pod while it ran */
    /* That it ends may always be said, on a full disk too, so it can't be much. */
    recordings_end(recording, call, strlen(reason) <= REASON_MAX ? reason : "", json_is_integer(code) ? code : NULL);
}

/* ---- Tick, end of the process ---- */

static void destroy_each(void *ctx, const char *key, void *value)
{
    (void)ctx;
    (void)key;
    struct recording *recording = value;
    watchers_free(recording);
    if (!recording->syncing &&
        (!recording->ended ||
         recording->sealed)) { /* otherwise the thread pool still has it, and the process is ending */
        recording_destroy(recording);
    }
}

void recordings_free(struct auth *auth)
{
    map_each(auth->recordings, destroy_each, NULL);
    map_free(auth->recordings);
}

struct saved {
    struct auth *auth;
    bool written;
};

static void saved_one(void *ctx, const char *key, void *value)
{
    const struct saved *saved = ctx;
    struct recording *recording = value;
    if (!saved->written) {
        recording->dirty = true;
    } else if (recording->sealed && !recording->dirty && recording->watchers == NULL) {
        (void)map_remove(saved->auth->recordings, key);
        recording_destroy(recording);
    }
}

void recordings_saved(struct auth *auth, bool written)
{
    map_each(auth->recordings, saved_one, &(struct saved){auth, written});
}

struct orphans {
    int64_t now_ms;
    struct recording *list[32];
    size_t count;
};

static void tick_one(void *ctx, const char *key, void *value)
{
    struct orphans *orphans = ctx;
    struct recording *recording = value;
    (void)key;
    watchers_tick(recording);
    if (recording->dirty) {
        store_meta(recording);
    }
    const struct host *host = hosts_get(recording->auth, json_get_text(recording->meta, "host_id", ""));
    const struct live *live = map_get(recording->auth->live, json_get_text(recording->meta, "sid", ""));
    bool open = live != NULL && !live->closed;
    bool online = host != NULL && host->tunnels != NULL;
    if (open && online) {
        return; /* a quiet shell is no dead one */
    }
    int64_t patience = open ? ORPHAN_MS : CLOSED_MS;
    if (!recording->ended && orphans->now_ms - recording->touched_ms > patience && orphans->count < 32) {
        orphans->list[orphans->count++] = recording;
    }
}

void recordings_tick(struct auth *auth)
{
    struct orphans orphans = {.now_ms = clock_wall_ms()};
    map_each(auth->recordings, tick_one, &orphans);
    for (size_t i = 0; i < orphans.count; i++) {
        recordings_end(orphans.list[i], NULL, "interrupted", NULL);
    }
}

struct of_host {
    const char *host_id;
    const char *reason;
};

static void end_if_host(void *ctx, const char *key, void *value)
{
    const struct of_host *of = ctx;
    struct recording *recording = value;
    (void)key;
    if (!recording->ended && strcmp(json_get_text(recording->meta, "host_id", ""), of->host_id) == 0) {
        recordings_end(recording, NULL, of->reason, NULL);
    }
}

void recordings_end_host(struct auth *auth, const char *host_id, const char *reason)
{
    map_each(auth->recordings, end_if_host, &(struct of_host){host_id, reason});
}

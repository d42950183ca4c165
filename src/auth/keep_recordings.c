/* Retention of recordings: by age and by size, oldest first, only those whose session is over. That one goes is recorded
 * before it goes; then the file goes, then the entry in the list. A crash between leaves an entry, and the next round
 * begins with it again. */
#include "auth/audit.h"
#include "auth/inner.h"
#include "auth/keep.h"
#include "auth/recording.h"
#include "auth/settings.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUND_MAX ((size_t)200) /* that go at once; the next ones a moment later */
#define SUFFIX ".cast.gz"

struct old {
    char id[UUID_TEXT_SIZE];
    char *key;  /* of its entry behind "/recording/", or NULL */
    int64_t at; /* wall ms: when it was finished */
    uint64_t size;
    const char *reason;
    bool recorded; /* its event is on the disk: it may go */
};

struct keep_recordings {
    struct auth *auth; /* NULL: closed while something was out */
    char *dir;
    bool running;
    bool again; /* there were more than go at once */
    int64_t now_ms;
    struct keep_rules rules;
    struct old *list;
    size_t count;
    size_t room;
    size_t stating; /* events that are being written */
};

static void list_clear(struct keep_recordings *keep)
{
    for (size_t i = 0; i < keep->count; i++) {
        mem_free(keep->list[i].key);
    }
    mem_free(keep->list);
    keep->list = NULL;
    keep->count = keep->room = 0;
}

static void keep_free(struct keep_recordings *keep)
{
    list_clear(keep);
    mem_free(keep->dir);
    mem_free(keep);
}

static struct old *list_add(struct keep_recordings *keep)
{
    if (keep->count == keep->room) {
        keep->room = keep->room > 0 ? keep->room * 2 : 64;
        keep->list = mem_resize(keep->list, keep->room * sizeof *keep->list);
    }
    struct old *old = &keep->list[keep->count++];
    *old = (struct old){0};
    return old;
}

static int by_age(const void *a, const void *b)
{
    const struct old *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

static void read_folder(struct keep_recordings *keep)
{
    DIR *folder = opendir(keep->dir);
    if (folder == NULL) {
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        struct stat info;
        if (strlen(entry->d_name) != UUID_TEXT_SIZE - 1 + strlen(SUFFIX) ||
            strcmp(entry->d_name + UUID_TEXT_SIZE - 1, SUFFIX) != 0 ||
            fstatat(dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode)) {
            continue;
        }
        struct old *old = list_add(keep);
        memcpy(old->id, entry->d_name, UUID_TEXT_SIZE - 1);
        old->at = (int64_t)info.st_mtim.tv_sec * 1000;
        old->size = (uint64_t)info.st_size;
    }
    (void)closedir(folder);
}

/* Which files go; the rest leaves the list. */
static void choose_work(void *ctx)
{
    struct keep_recordings *keep = ctx;
    uint64_t total = 0;
    size_t gone = 0;
    read_folder(keep);
    if (keep->count > 1) {
        qsort(keep->list, keep->count, sizeof *keep->list, by_age);
    }
    for (size_t i = 0; i < keep->count; i++) {
        total += keep->list[i].size;
    }
    for (; gone < keep->count && gone < ROUND_MAX; gone++) {
        struct old *old = &keep->list[gone];
        if (keep->rules.recordings_max_age_ms > 0 && old->at + keep->rules.recordings_max_age_ms <= keep->now_ms) {
            old->reason = "age";
        } else if (keep->rules.recordings_max_bytes > 0 && total > keep->rules.recordings_max_bytes &&
                   old->at + keep->rules.min_age_ms <= keep->now_ms) {
            old->reason = "size";
        } else {
            break;
        }
        total -= old->size;
    }
    keep->again = gone == ROUND_MAX;
    keep->count = gone;
}

static void remove_work(void *ctx)
{
    struct keep_recordings *keep = ctx;
    for (size_t i = 0; i < keep->count; i++) {
        struct old *old = &keep->list[i];
        char *path = mem_printf("%s/%s" SUFFIX, keep->dir, old->id);
        if (old->recorded && unlink(path) != 0 && errno != ENOENT) {
            log_error("old recording could not be removed", "file=\"%s\" error=\"%s\"", path, strerror(errno));
            old->recorded = false;
        }
        mem_free(path);
    }
}

static void remove_done(void *ctx)
{
    struct keep_recordings *keep = ctx;
    size_t removed = 0;
    keep->running = false;
    if (keep->auth == NULL) {
        keep_free(keep);
        return;
    }
    for (size_t i = 0; i < keep->count; i++) {
        struct old *old = &keep->list[i];
        if (!old->recorded) {
            keep->again = false;
            continue;
        }
        removed++;
        if (old->key != NULL) {
            recording_delete(keep->auth, old->id, old->key);
        }
    }
    log_info("old recordings removed", "count=%zu", removed);
    list_clear(keep);
    if (keep->again) {
        keep_recordings_round(keep->auth);
    }
}

static void one_stated(struct keep_recordings *keep)
{
    keep->stating--;
    if (keep->stating > 0) {
        return;
    }
    if (keep->auth == NULL) {
        keep_free(keep);
        return;
    }
    work_run(keep->auth->loop, remove_work, remove_done, keep);
}

struct statement {
    struct keep_recordings *keep;
    size_t at;
};

static void stated(void *ctx, const struct tp_error *error)
{
    struct statement *statement = ctx;
    struct keep_recordings *keep = statement->keep;
    keep->list[statement->at].recorded = error == NULL;
    mem_free(statement);
    one_stated(keep);
}

static void state(struct keep_recordings *keep, size_t at, const json_t *meta)
{
    static const char *const copied[] = {"user", "login", "proto", "sha256", "participants", "kubernetes_cluster"};
    const struct old *old = &keep->list[at];
    json_t *event = event_new("session.recording.prune", true, keep->auth->settings.cluster);
    json_object_set_new(event, "sid", json_string(old->id));
    json_object_set_new(event, "reason", json_string(old->reason));
    json_object_set_new(event, "bytes", json_integer((json_int_t)old->size));
    for (size_t i = 0; i < sizeof copied / sizeof copied[0]; i++) {
        json_t *value = json_object_get(meta, copied[i]);
        if (value != NULL) {
            json_object_set(event, copied[i], value);
        }
    }
    if (meta != NULL) {
        json_object_set(event, "server_hostname", json_object_get(meta, "hostname"));
        json_object_set(event, "session_start", json_object_get(meta, "started"));
        json_object_set(event, "session_stop", json_object_get(meta, "ended"));
    }
    struct statement *statement = mem_alloc(sizeof *statement);
    statement->keep = keep;
    statement->at = at;
    keep->stating++;
    log_warn("old recording will be removed", "sid=%s user=\"%s\" bytes=%llu reason=%s", old->id,
             json_get_text(meta, "user", ""), (unsigned long long)old->size, old->reason);
    audit_emit(keep->auth, event, stated, statement);
}

struct metas {
    struct keep_recordings *keep;
    int64_t limit;
};

/* Sessions that were not recorded have an entry and no file; their age is that of the entry. */
static bool old_meta(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct metas *metas = ctx;
    struct keep_recordings *keep = metas->keep;
    const char *id = json_get_text(doc, "id", "");
    int64_t ended = doc_ms(doc, "ended");
    (void)revision;
    if (doc_ms(doc, "started") > metas->limit || keep->count >= 2 * ROUND_MAX) {
        return false; /* keys are in order of time */
    }
    if (strcmp(json_get_text(doc, "state", ""), "done") != 0 || ended == 0 || ended > metas->limit ||
        strlen(id) != UUID_TEXT_SIZE - 1) {
        return true;
    }
    for (size_t i = 0; i < keep->count; i++) {
        if (strcmp(keep->list[i].id, id) == 0) {
            return true; /* by its file already */
        }
    }
    struct old *old = list_add(keep);
    snprintf(old->id, sizeof old->id, "%s", id);
    old->at = ended;
    old->reason = "age";
    (void)name;
    return true;
}

static void find_entry(struct keep_recordings *keep, struct old *old, json_t **ret_meta)
{
    struct tp_error ignored = {0};
    json_t *index = NULL;
    if (doc_find(keep->auth->state, "/recording_at/", old->id, &index, NULL, &ignored) == TP_OK) {
        const char *key = json_get_text(index, "key", "");
        if (doc_find(keep->auth->state, "/recording/", key, ret_meta, NULL, &ignored) == TP_OK) {
            old->key = mem_strdup(key);
        }
    }
    json_decref(index);
}

static void choose_done(void *ctx)
{
    struct keep_recordings *keep = ctx;
    struct tp_error error = {0};
    if (keep->auth == NULL) {
        keep_free(keep);
        return;
    }
    struct metas metas = {.keep = keep, .limit = keep->now_ms - keep->rules.recordings_max_age_ms};
    if (keep->rules.recordings_max_age_ms > 0 &&
        doc_each(keep->auth->state, "/recording/", NULL, old_meta, &metas, &error) != TP_OK) {
        log_error("retention of recordings stopped", "error=\"%s\"", error.text);
    }
    keep->stating = 1; /* until all are under way */
    for (size_t i = 0; i < keep->count; i++) {
        json_t *meta = NULL;
        if (map_get(keep->auth->recordings, keep->list[i].id) != NULL) {
            continue; /* its end is still being written */
        }
        find_entry(keep, &keep->list[i], &meta);
        state(keep, i, meta);
        json_decref(meta);
    }
    if (keep->stating == 1) {
        keep->stating = 0;
        keep->running = false;
        list_clear(keep);
        return;
    }
    one_stated(keep);
}

void keep_recordings_round(struct auth *auth)
{
    struct keep_recordings *keep = auth->keep_recordings;
    const struct keep_rules *rules = &auth->settings.keep;
    if (keep->running || (rules->recordings_max_age_ms == 0 && rules->recordings_max_bytes == 0)) {
        return;
    }
    keep->running = true;
    keep->again = false;
    keep->rules = *rules;
    keep->now_ms = keep_now(auth);
    work_run(auth->loop, choose_work, choose_done, keep);
}

void keep_recordings_open(struct auth *auth)
{
    struct keep_recordings *keep = mem_alloc(sizeof *keep);
    keep->auth = auth;
    keep->dir = mem_printf("%s/auth/recordings", auth->settings.data_dir);
    auth->keep_recordings = keep;
}

void keep_recordings_close(struct auth *auth)
{
    struct keep_recordings *keep = auth->keep_recordings;
    auth->keep_recordings = NULL;
    if (keep != NULL && keep->running) {
        keep->auth = NULL;
    } else if (keep != NULL) {
        keep_free(keep);
    }
}

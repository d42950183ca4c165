/*
 * What a start finds: recordings of sessions that still run go on where they were, others get what an older version has not
 * given them, and text that was not sealed yet is.
 */
#include "auth/audit.h"
#include "auth/inner.h"
#include "auth/recording.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define ROWS_AT_ONCE ((size_t)1000)

char *recording_path(const struct auth *auth, const char *id, const char *suffix)
{
    return mem_printf("%s/auth/recordings/%s%s", auth->settings.data_dir, id, suffix);
}

static bool id_valid(const char *id)
{
    return strlen(id) == UUID_TEXT_SIZE - 1 && strspn(id, "0123456789abcdef-") == UUID_TEXT_SIZE - 1;
}

struct loading {
    struct auth *auth;
    char *last;      /* where the walk goes on */
    size_t unsorted; /* recordings since then that have got rows */
    size_t made;     /* before that */
};

/* It was over and not sealed when auth ended, or comes from a version that had no rows. */
static void load_rows(struct loading *loading, const char *name, const json_t *doc)
{
    json_t *meta = json_deep_copy(doc);
    recording_rows_put(loading->auth, name, meta);
    batch_put(loading->auth, "/recording/", name, meta);
    json_decref(meta);
    if (++loading->unsorted == ROWS_AT_ONCE) {
        mem_free(loading->last);
        loading->last = mem_strdup(name);
    }
}

static bool load_one(void *ctx, const char *name, const json_t *doc, uint64_t revision)
{
    struct loading *loading = ctx;
    struct auth *auth = loading->auth;
    const char *id = json_get_text(doc, "id", "");
    (void)revision;
    if (!id_valid(id)) {
        return true;
    }
    if (strcmp(json_get_text(doc, "state", ""), "live") != 0) {
        if (!json_is_true(json_object_get(doc, "sorted"))) {
            load_rows(loading, name, doc);
        }
        return loading->unsorted < ROWS_AT_ONCE;
    }
    struct recording *recording = mem_alloc(sizeof *recording);
    recording->auth = auth;
    snprintf(recording->id, sizeof recording->id, "%s", id);
    recording->fd = -1;
    recording->meta = json_deep_copy(doc);
    recording->touched_ms = clock_wall_ms();
    map_set(auth->recordings, recording->id, recording);
    return true;
}

/* Raw files whose channel is over (or that nobody knows) are sealed now; open channels go on where they were. */
static void recover_files(struct auth *auth)
{
    char *folder = mem_printf("%s/auth/recordings", auth->settings.data_dir);
    DIR *dir = opendir(folder);
    mem_free(folder);
    if (dir == NULL) {
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        size_t length = strlen(entry->d_name);
        if (length != UUID_TEXT_SIZE - 1 + 10 || strcmp(entry->d_name + UUID_TEXT_SIZE - 1, ".cast.part") != 0) {
            continue;
        }
        char id[UUID_TEXT_SIZE];
        memcpy(id, entry->d_name, UUID_TEXT_SIZE - 1);
        id[UUID_TEXT_SIZE - 1] = '\0';
        if (!id_valid(id) || map_get(auth->recordings, id) != NULL) {
            continue;
        }
        struct seal seal = {.part = recording_path(auth, id, ".cast.part"),
                            .final = recording_path(auth, id, ".cast.gz")};
        recording_file_seal(&seal);
        if (seal.err == TP_OK) {
            char *hash = enc_hex(seal.hash, 32);
            json_t *event = event_new("session.upload", true, auth->settings.cluster);
            json_object_set_new(event, "sid", json_string(id));
            json_object_set_new(event, "sha256", json_string(hash));
            json_object_set_new(event, "size", json_integer(seal.size));
            audit_emit(auth, event, NULL, NULL);
            mem_free(hash);
        } else {
            log_error("recording cannot be sealed", "id=%s error=\"%s\"", id, seal.error.text);
        }
        mem_free(seal.part);
        mem_free(seal.final);
    }
    (void)closedir(dir);
}

static bool count_one(void *ctx, const struct store_entry *entry)
{
    size_t *count = ctx;
    (void)entry;
    ++*count;
    return true;
}

/* The first start of this version has many to put in order, and nobody can sign in meanwhile. */
static enum tp_err say_long(const struct auth *auth, struct tp_error *error)
{
    size_t count = 0;
    enum tp_err err = store_range(auth->state, "/recording/", NULL, 0, count_one, &count, error);
    if (err == TP_OK) {
        log_info("old recordings are put in order for lists, once after an update; sign-ins wait until it is done",
                 "of=%zu", count);
    }
    return err;
}

enum tp_err recordings_load(struct auth *auth, struct tp_error *error)
{
    char *folder = mem_printf("%s/auth/recordings", auth->settings.data_dir);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        enum tp_err err = err_errno(error, errno, "%s cannot be made", folder);
        mem_free(folder);
        return err;
    }
    mem_free(folder);
    struct loading loading = {.auth = auth};
    int64_t started_ms = clock_mono_ms();
    enum tp_err err;
    do {
        loading.made += loading.unsorted;
        loading.unsorted = 0;
        err = doc_each(auth->state, "/recording/", loading.last, load_one, &loading, error);
        if (err == TP_OK && loading.made == 0 && loading.unsorted == ROWS_AT_ONCE) {
            err = say_long(auth, error);
        }
        err = err == TP_OK ? batch_commit(auth, error) : err;
    } while (err == TP_OK && loading.unsorted == ROWS_AT_ONCE);
    loading.made += loading.unsorted;
    if (err == TP_OK && loading.made >= ROWS_AT_ONCE) {
        log_info("old recordings are in order for lists", "count=%zu seconds=%lld", loading.made,
                 (long long)(clock_mono_ms() - started_ms) / 1000);
    }
    mem_free(loading.last);
    if (err == TP_OK) {
        recover_files(auth);
    }
    return err;
}

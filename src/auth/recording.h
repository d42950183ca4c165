/* One session channel (shell, exec, subsystem) that a host has reported, and the recording of it if there is one. */
#ifndef AUTH_RECORDING_H
#define AUTH_RECORDING_H

#include "auth/dispatch.h"
#include "auth/live.h"
#include "base/err.h"
#include "base/json.h"
#include "crypt/key.h"

struct auth;

/* ---- recordings.c, recordings_load.c: what all of auth sees ---- */
enum tp_err recordings_load(struct auth *auth, struct tp_error *error) TP_MUST;
void recordings_free(struct auth *auth);
/* Ends what nobody speaks for; puts what changed into the batch. */
void recordings_tick(struct auth *auth);
/* The batch was written (those that are done leave the memory) or not (everything goes into the next one). */
void recordings_saved(struct auth *auth, bool written);
/* Ends all open channels of a host that may not report any more. */
void recordings_end_host(struct auth *auth, const char *host_id, const char *reason);
/* Forgets reads of recordings that are long past; all of them when the process ends. */
void recordings_accesses_sweep(struct auth *auth);

struct watcher; /* watchers.c: somebody who watches it */
struct parked;  /* watchers.c: a call that waits for more of it */
struct append;  /* an append that waits for its bytes to be on the disk */

struct recording {
    struct auth *auth;
    char id[UUID_TEXT_SIZE];
    json_t *meta; /* as in recordings.list, and sid */
    int fd;       /* ID.cast.part, or -1 */
    int64_t size;
    int64_t synced; /* bytes known to be on the disk */
    bool syncing;
    int64_t sync_to;
    int sync_errno;
    struct append *waiting;
    bool ended;         /* seal as soon as nothing is being synced */
    bool dirty;         /* meta is not stored yet */
    bool sealed;        /* done; leaves the memory once it is stored */
    int64_t touched_ms; /* wall; last sign of life */
    struct watcher *watchers;
    int64_t told; /* number of the last event session.watched */
    struct parked *parked;
};

/* A channel begins. */
struct recording *recordings_begin(struct auth *auth, const struct live *live, const struct call *call, const char *id);
/* The channel with this id on this host; TP_NOT_FOUND otherwise (R15). */
enum tp_err recordings_of_host(struct auth *auth, const char *id, const char *host_id, struct recording **ret_recording,
                               struct tp_error *error) TP_MUST;
/* The channel is over: emits session.end (reply through call, which may be NULL), then seals the file. */
void recordings_end(struct recording *recording, struct call *call, const char *reason, json_t *exit_code);

/* recordings_load.c */
/* The file of a recording: suffix is ".cast.part" for the raw text, ".cast.gz" for the compressed one. mem_free it. */
char *recording_path(const struct auth *auth, const char *id, const char *suffix) TP_MUST;

/* recordings_query.c */
/* May the caller do verb on kind session, for a recording with this meta? */
bool recordings_may(const struct call *call, const char *verb, const json_t *meta);
/* recording_order.c: other orders than that of time, for recordings that are over. */
/* Where the rows of that column stand in the store, in its order; the caller mem_free's it. NULL: there is no such column. */
char *recording_rows_of(const char *name, size_t length);
/* The key behind "/recording/" that a row (its key behind that place) leads to. */
const char *recording_of_row(const char *row);
/* Puts its rows into the batch, and notes in meta, which goes there with them, that it has them. */
void recording_rows_put(struct auth *auth, const char *key, json_t *meta);
/* Puts the removal of all that is stored of it into the batch. */
void recording_delete(struct auth *auth, const char *id, const char *key);

#define RECORDING_PIECE_MAX ((int64_t)1024 * 1024)
struct recording_piece {
    int64_t offset;
    int64_t limit;      /* more than RECORDING_PIECE_MAX counts as that */
    const char *access; /* what the event stands for (copied), for reads that follow; or NULL */
    bool joined;        /* the event is that somebody has come to watch: true also when he is given nothing */
};
/* Answers the call with {data, size, done} of the recording with this meta, once the event (stolen; NULL: there is none) is
 * durable. */
void recordings_answer(struct call *call, const json_t *meta, const struct recording_piece *piece, json_t *event);

/* watchers.c */
/* The caller, who may read it, reads a piece of a recording that is still in memory. While it runs he is a watcher by that as by
 * sessions.watch: he gives a code where one is asked for, the person is told, and 10 s after his last read he has left.
 * ret_event: of somebody who was not there until now (his to emit), or NULL. TP_MFA_NEEDED, TP_DENIED, TP_LIMIT, TP_INVALID. */
enum tp_err watchers_read(struct recording *recording, const struct call *call, const struct recording_piece *piece,
                          json_t **ret_event, struct tp_error *error) TP_MUST;
/* More of it is there, or it has ended: calls that wait for it are decided anew and answered. */
void watchers_wake(struct recording *recording);
/* Answers who has waited long enough, forgets who has gone. Each tick. A recording stays in memory while it has watchers: they
 * have not read its end yet. */
void watchers_tick(struct recording *recording);
/* Names of those who watch, each once. */
json_t *watchers_names(const struct recording *recording) TP_MUST;
/* The recording leaves the memory: everybody who waits is told. */
void watchers_free(struct recording *recording);

/* recording_file.c: blocking work on files, for the thread pool and for the start of the process. */
struct seal {
    char *part;       /* path of the raw text */
    char *final;      /* path of the compressed file */
    uint8_t hash[32]; /* SHA-256 of the compressed file */
    int64_t size;     /* of the raw text */
    int64_t stored;   /* of the compressed file */
    enum tp_err err;
    struct tp_error error;
};
/* Compresses part into final (through a temporary file, fsync, rename), hashes it, removes part. */
void recording_file_seal(struct seal *seal);
/* A compressed recording that is open, somewhere in its text: reading on from there costs what is read, not what stands before. */
struct recording_reader;
void recording_reader_free(struct recording_reader *reader); /* NULL is fine */
/* Reads up to size bytes of text at offset: from the raw file if there is one, else out of the compressed one. reader: in, one
 * of an earlier read of this recording, or NULL; out, one for the next read, or NULL. */
enum tp_err recording_file_read(const char *part, const char *final, int64_t offset, uint8_t *out, size_t size,
                                size_t *ret_size, struct recording_reader **reader, struct tp_error *error) TP_MUST;

#endif

/*
 * The audit log: JSON events, one per line, in day files for people (DIR/log/YYYY-MM-DD.log, events.log points at the
 * newest) and the same events as leaves of a Merkle tree (DIR/tlog: C2SP tlog-tiles, RFC 6962 hashes, "checkpoint" is a
 * note signed with Ed25519). docs/protocol-audit.md describes the files.
 *
 * An event counts as recorded when its day file is on disk; the tree follows within AUDIT_PUBLISH_MS. What a crash leaves
 * behind the tree is put into it by audit_log_open.
 *
 * Threads: open, append, take_batch, finish_batch, checkpoint and close belong to one thread (the loop). A batch is
 * written on any thread, also while the loop appends more; there is never more than one batch out at a time.
 *
 *   audit_log_append(log, line, size)                 loop
 *   batch = audit_log_take_batch(log)                 loop: at the end of a turn, after finish_batch, and each second
 *   code = audit_batch_write(batch, &error)           thread pool: one fsync for all lines of the batch
 *   audit_log_finish_batch(log, batch)                loop: now tell those who wait whether code is TP_OK
 */
#ifndef AUDIT_AUDIT_LOG_H
#define AUDIT_AUDIT_LOG_H

#include "base/json.h"
#include "crypt/key.h"

#define AUDIT_LINE_MAX ((size_t)65535) /* bytes of one event: the size field of a tile's entry has 16 bits */
#define AUDIT_PENDING_MAX ((size_t)64 * 1024 * 1024)
#define AUDIT_PUBLISH_MS 1000 /* the tree is at most this far behind the day files */

struct audit_log;
struct audit_batch;

/* Opens or creates the log below dir (mode 0700). origin names it in checkpoints: "CLUSTER/audit", no blanks or '+'. key
 * must be Ed25519 and outlive the log. Recovers from a crash: an incomplete last line is cut off, complete lines that the
 * tree does not have yet are added, a shortened newest day file is restored from the tree. A damaged tree or a checkpoint
 * of another key is TP_CORRUPT. Blocks. */
enum tp_err audit_log_open(const char *dir, const char *origin, const struct key *key, struct audit_log **ret_log,
                           struct tp_error *error) TP_MUST;
/* Publishes what is left and frees the log. Lines that were appended but never taken are written too. NULL is fine. */
void audit_log_close(struct audit_log *log);

/* Buffers one event: compact JSON without line breaks. TP_TOO_LARGE past AUDIT_LINE_MAX, TP_INVALID when it holds a line
 * break or is empty, TP_LIMIT when AUDIT_PENDING_MAX bytes wait already. Nothing is durable yet. */
enum tp_err audit_log_append(struct audit_log *log, const char *json_line, size_t size) TP_MUST;
/* The same for an event as JSON, which stays the caller's. */
enum tp_err audit_log_append_event(struct audit_log *log, const json_t *event) TP_MUST;
/* Bytes of all events appended since it was opened: grows only. */
uint64_t audit_log_appended(const struct audit_log *log);
/* Bytes of the events appended and not yet taken: AUDIT_PENDING_MAX at most. */
size_t audit_log_waiting(const struct audit_log *log);
/* Events appended and not yet taken. */
size_t audit_log_pending(const struct audit_log *log);
/* All events appended so far as one batch; NULL when there is nothing to do or a batch is out already. When the tree is
 * behind by AUDIT_PUBLISH_MS the batch also brings it up to date, and may then hold no events at all. */
struct audit_batch *audit_log_take_batch(struct audit_log *log) TP_MUST;
/* Number of events in the batch. */
size_t audit_batch_count(const struct audit_batch *batch);
/* Makes the batch durable. On failure none of its events is recorded and the files are as before; a later batch may
 * succeed (for example when there is space again). TP_OK means recorded, even if publishing the tree must be tried again. */
enum tp_err audit_batch_write(struct audit_batch *batch, struct tp_error *error) TP_MUST;
/* Gives the batch back and frees it. */
void audit_log_finish_batch(struct audit_log *log, struct audit_batch *batch);
/* For programs without a loop: takes, writes and publishes everything pending. Blocks. */
enum tp_err audit_log_sync(struct audit_log *log, struct tp_error *error) TP_MUST;

/* The newest published checkpoint (signed note) as of the last finish_batch; valid until the next one. */
const char *audit_log_checkpoint(const struct audit_log *log);
/* The verifier key people keep to check the log later, "CLUSTER/audit+hash+base64" (signed-note form); mem_free it. */
char *audit_log_verifier_key(const struct audit_log *log) TP_MUST;

/* So many bytes of events are looked at in one query; then it ends with a start_key, perhaps without an event. Only a
 * search for a text gets there: the index leads to the rest. */
#define AUDIT_QUERY_READ_MAX ((uint64_t)256 * 1024 * 1024)

struct audit_query {
    int64_t from_ms;          /* first moment, 0: no bound */
    int64_t to_ms;            /* one past the last moment, 0: no bound */
    const char *const *types; /* NULL-terminated event names, or NULL: all */
    const char *user;         /* member "user" equals, or NULL */
    const char *text;         /* occurs in the line, letter case ignored (ASCII), or NULL */
    bool ascending;           /* oldest first, else newest first */
    size_t limit;             /* most events delivered; 0: no bound */
    const char *start_key;    /* where an earlier query with the same order stopped, or NULL or "" */
};
/* Told each event that fits, in order; false ends the query. */
typedef bool audit_query_cb(void *ctx, const json_t *event);
/* Searches below dir, by the index where there is one; blocks (thread pool), safe while the log is written. ret_start_key (mem_free it) is "" when
 * there is no more, else what start_key takes to go on. TP_INVALID for a broken start_key. Lines that are no JSON are
 * passed over: audit_log_verify is what tells of damage. */
enum tp_err audit_log_query(const char *dir, const struct audit_query *query, audit_query_cb *fn, void *ctx,
                            char **ret_start_key, struct tp_error *error) TP_MUST;

/* Makes the index of days that have none or not all of it, except for the newest, which is its writer's. Blocks (thread
 * pool), safe while the log is written; one call at a time. */
enum tp_err audit_log_index(const char *dir, struct tp_error *error) TP_MUST;

/* ---- Retention (docs/protocol-audit.md): whole days, oldest first, never the newest ---- */

struct audit_keep {
    int64_t now_ms;     /* wall, as far as it is believed */
    int64_t max_age_ms; /* a day goes when all of it is older; 0: no bound */
    uint64_t max_bytes; /* of day files, entries and indexes; 0: no bound */
    int64_t min_age_ms; /* a day in which something is younger does not go because of max_bytes */
    bool resume;        /* also look for a removal that was interrupted */
};
struct audit_prune {
    uint64_t first_leaf; /* first leaf that stays; 0: nothing is to be done */
    char first_day[11];  /* and its day */
    char from_day[11];   /* the oldest day that goes */
    uint64_t events;
    uint64_t bytes;
    size_t days;
    const char *reason; /* "age", "size" */
    bool stated;        /* the statement was written before: only audit_prune_run is left to do */
    bool held;          /* what is left is larger than max_bytes, and too young to go */
};
/* What retention asks to remove now. Nothing changes. TP_AGAIN: try later. TP_CORRUPT: the files are not what they should
 * be, so nothing may be removed. Blocks (thread pool), safe while the log is written. */
enum tp_err audit_prune_plan(const char *dir, const struct audit_keep *keep, struct audit_prune *ret_plan,
                             struct tp_error *error) TP_MUST;
/* Removes it. Before, the event "audit.prune" with first_leaf and first_day of the plan must have been appended; TP_AGAIN
 * until a checkpoint covers it. Can be done again after a crash. Blocks (thread pool), safe while the log is written. */
enum tp_err audit_prune_run(const char *dir, const struct audit_prune *plan, struct tp_error *error) TP_MUST;

struct audit_verdict {
    uint64_t size;        /* leaves under the checkpoint */
    uint64_t pruned;      /* so many of the first ones were removed by retention, as the log itself says */
    char first_day[11];   /* the first day that stays then, else "" */
    char reason[32];      /* and why: "age", "size" */
    uint64_t unpublished; /* lines in the day files that are newer than the checkpoint */
    char root[45];        /* base64 of the root hash */
};
/* Proves offline that the log below dir is what was recorded: checkpoint signature, every hash tile, every entry, every
 * line of the day files, nothing missing in between or at the end; what is missing at the beginning must be what the newest
 * event "audit.prune" of the log says, and its hashes must be there. verifier_key is what audit_log_verifier_key gave.
 * earlier: the text of a checkpoint saved before, which the log must contain as its beginning, or NULL. TP_CORRUPT with a
 * sentence that names the first damaged or missing leaf or file. Blocks. */
enum tp_err audit_log_verify(const char *dir, const char *verifier_key, const char *earlier,
                             struct audit_verdict *ret_verdict, struct tp_error *error) TP_MUST;

#endif

/* The inside of an audit log, for audit_log.c and its recovery. */
#ifndef AUDIT_LOG_INTERNAL_H
#define AUDIT_LOG_INTERNAL_H

#include "audit/audit_log.h"
#include "audit/index.h"
#include "audit/tree.h"

#define POSITION_FILE "position"

/* Where the end of a checkpoint's leaves lies in the day files. */
struct position {
    uint64_t size;           /* leaves of the checkpoint */
    char day[DAY_TEXT_SIZE]; /* "" before the first line */
    uint64_t offset;         /* bytes of that day's file that the leaves fill */
    uint64_t first;          /* leaf of the file's first line */
};

struct audit_log {
    /* The loop's side. */
    struct buf pending;       /* lines, each with its newline */
    struct buf pending_index; /* their index records, without a place */
    size_t pending_count;
    uint64_t appended; /* bytes of all lines since it was opened */
    struct audit_batch *out;
    char *checkpoint;
    char *origin;
    const struct key *key;
    int64_t published_ms; /* monotonic time of the newest publication */
    bool behind;          /* day files hold lines that no checkpoint covers */
    /* The writer's side: touched by audit_batch_write while a batch is out, by the loop otherwise. */
    int tlog_fd;
    int log_fd;
    int day_fd; /* -1 before the first line */
    int index_dir_fd;
    int index_fd;        /* index of end.day; -1: to be opened (anew) with the next publication */
    struct position end; /* of all durable lines; size counts them */
    struct position published;
    struct tree *tree;
    bool torn; /* the day file may hold more than end.offset bytes */
};

/* Brings an opened, locked log to life: reads the checkpoint, loads the tree, mends the newest day file, adds lines that
 * the tree does not have (audit_recover.c). */
enum tp_err audit_recover(struct audit_log *log, struct tp_error *error) TP_MUST;
/* Opens log->end.day's file for appending and points events.log at it; makes it when it is new. */
enum tp_err audit_open_day(struct audit_log *log, struct tp_error *error) TP_MUST;
/* Opens the index of the newest day and brings it up to date. A failure is logged: nothing but searching suffers. */
void audit_open_index(struct audit_log *log);
/* Cuts the day file back to log->end.offset. */
enum tp_err audit_mend_day(struct audit_log *log, struct tp_error *error) TP_MUST;
/* Writes tiles, position and checkpoint for all durable lines. *ret_checkpoint (mem_free it) is the new text. */
enum tp_err audit_publish(struct audit_log *log, char **ret_checkpoint, struct tp_error *error) TP_MUST;

#endif

/*
 * The index of a day file (DIR/index/YYYY-MM-DD.idx): one record of 32 bytes for each line, in the order of the lines, so
 * that a search reads 32 bytes an event instead of the event. It can be made anew from the day file at any time and
 * proves nothing: what a search finds by it is read from the day file and looked at again. A record has a check word and
 * follows the one before it without a gap; whatever does not is as good as not there.
 */
#ifndef AUDIT_INDEX_H
#define AUDIT_INDEX_H

#include "audit/day.h"
#include "base/buf.h"
#include "base/json.h"

struct index_record {
    uint64_t offset; /* of the line in the day file */
    int64_t time_ms; /* of the event; INT64_MIN: it has none */
    uint32_t size;   /* of the line, without its newline */
    uint32_t type;   /* index_hash of "event" */
    uint32_t user;   /* index_hash of "user" */
    uint32_t check;
};

/* 32 bits of a name; equal names have equal hashes. */
uint32_t index_hash(const char *text);
/* The record of an event whose line has size bytes; offset and check are set by index_place. */
struct index_record index_record_of(const json_t *event, size_t size);
/* Gives it its place and its check word. */
void index_place(struct index_record *record, uint64_t offset);
/* It is whole and begins at offset. */
bool index_record_ok(const struct index_record *record, uint64_t offset);

/* Opens (or makes) the index of a day for appending, cuts it back to what is right, and adds what the day file has up to
 * end, which must be the beginning of a line or the end of the file. *ret_fd is the caller's; the file holds *ret_count
 * records. Blocks. */
enum tp_err index_open(int index_fd, int log_fd, const char *day, uint64_t end, int *ret_fd, uint64_t *ret_count,
                       struct tp_error *error) TP_MUST;
/* Appends records. */
enum tp_err index_append(int fd, const void *records, size_t size, struct tp_error *error) TP_MUST;
/* Nobody has removed the file under us. */
bool index_is_linked(int fd);

/* For searching: the records of a day as they are now. */
struct index_reader;
/* TP_NOT_FOUND when there is none. */
enum tp_err index_reader_open(int index_fd, const char *day, struct index_reader **ret_reader,
                              struct tp_error *error) TP_MUST;
void index_reader_free(struct index_reader *reader); /* NULL is fine */
uint64_t index_reader_count(const struct index_reader *reader);
/* Record number at, or NULL: it cannot be read or does not fit its neighbour. Valid until the next call. */
const struct index_record *index_reader_at(struct index_reader *reader, uint64_t at);
/* Number of the first record whose line begins at offset or behind it; in a damaged index perhaps another one. */
uint64_t index_reader_seek(struct index_reader *reader, uint64_t offset);

/* "YYYY-MM-DD.idx" */
#define INDEX_FILE_SIZE 16
void index_file(const char *day, char out[INDEX_FILE_SIZE]);

#endif

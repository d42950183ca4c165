/* The day files YYYY-MM-DD.log: their list, and going through their lines in both directions. */
#ifndef AUDIT_DAY_H
#define AUDIT_DAY_H

#include "base/err.h"

#define DAY_TEXT_SIZE 11 /* "2026-11-24" and the NUL */
#define DAY_FILE_SIZE 16 /* "2026-11-24.log" and the NUL */

/* Opens a folder of the log in dir, "tlog", "log" or "index", for reading; -1 and errno. */
int day_part(const char *dir, const char *name) TP_MUST;
/* The UTC day of a moment. */
void day_of_ms(int64_t wall_ms, char out[DAY_TEXT_SIZE]);
/* Text has the form of a day. */
bool day_ok(const char *text);
void day_file(const char *day, char out[DAY_FILE_SIZE]);
/* The days that have a file, oldest first; mem_free the array. */
enum tp_err day_list(int log_fd, char (**ret_days)[DAY_TEXT_SIZE], size_t *ret_count, struct tp_error *error) TP_MUST;

struct day_lines; /* a place in a file, always at the beginning of a line */

/* Opens the file of a day; TP_NOT_FOUND when there is none. */
enum tp_err day_lines_open(int log_fd, const char *day, struct day_lines **ret_lines, struct tp_error *error) TP_MUST;
void day_lines_free(struct day_lines *lines); /* NULL is fine */
/* Goes to a byte offset, which the caller knows to be the beginning of a line, or to the end of the last complete line. */
void day_lines_seek(struct day_lines *lines, uint64_t offset);
void day_lines_seek_end(struct day_lines *lines);
/* size bytes at offset, which must be followed by a newline there; the place stays. Valid until the next call.
 * TP_NOT_FOUND when they are not there. */
enum tp_err day_lines_read(struct day_lines *lines, uint64_t offset, size_t size, const char **ret_line) TP_MUST;
uint64_t day_lines_at(const struct day_lines *lines);
/* The line at the place, without its newline, and goes behind it; valid until the next call. *ret_complete is false when the
 * newline is missing (or the line is longer than any of ours). TP_NOT_FOUND at the end of the file. */
enum tp_err day_lines_next(struct day_lines *lines, const char **ret_line, size_t *ret_size,
                           bool *ret_complete) TP_MUST;
/* The line before the place, and goes to its beginning. TP_NOT_FOUND at the beginning of the file. */
enum tp_err day_lines_previous(struct day_lines *lines, const char **ret_line, size_t *ret_size) TP_MUST;

#endif

/* Small files of one user: read whole, written so that a reader sees the old or the new content, never half of it. */
#ifndef CLI_COMMON_FILE_H
#define CLI_COMMON_FILE_H

#include "base/buf.h"

/* Appends the content of the file to out; TP_TOO_LARGE past out's limit, TP_NOT_FOUND when there is none. */
enum tp_err file_read(const char *path, struct buf *out, struct tp_error *error) TP_MUST;
/* The same from an open descriptor; name is used in messages. */
enum tp_err file_read_fd(int fd, const char *name, struct buf *out, struct tp_error *error) TP_MUST;
/* Writes a temporary file beside path (mode 0600), syncs it, renames it over path. */
enum tp_err file_write(const char *path, const void *data, size_t size, struct tp_error *error) TP_MUST;
/* The same for a file that others write too: a link is followed, the file keeps its owner and group, and one that must not
 * be written is left. */
enum tp_err file_replace(const char *path, const void *data, size_t size, struct tp_error *error) TP_MUST;
enum tp_err file_write_text(const char *path, const char *text, struct tp_error *error) TP_MUST;
/* Makes the directory and its parents, mode 0700; one that is there stays as it is. */
enum tp_err file_make_dirs(const char *path, struct tp_error *error) TP_MUST;
/* Removes a file or a directory with everything in it; one that is absent is fine. Links are removed, not followed. */
enum tp_err file_remove_tree(const char *path, struct tp_error *error) TP_MUST;
/* Opens path (made when absent) and takes its exclusive lock, waiting for it. Close ret_fd to give it back. */
enum tp_err file_lock(const char *path, int *ret_fd, struct tp_error *error) TP_MUST;
bool file_exists(const char *path);
/* The first executable regular file of that name in PATH, or NULL; mem_free it. Relative PATH entries are skipped. */
char *file_in_path(const char *name) TP_MUST;
/* The absolute path of this program. mem_free it. */
char *file_own_path(void) TP_MUST;

#endif

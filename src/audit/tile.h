/* Files of the tile layout (C2SP tlog-tiles) below one directory, and writing them so that a crash leaves old or new. */
#ifndef AUDIT_TILE_H
#define AUDIT_TILE_H

#include "base/buf.h"

#define TILE_WIDTH 256
#define TILE_LEVELS 8
#define TILE_ENTRIES (-1) /* as a level: the bundles of entries */
#define TILE_PATH_MAX 96
#define TILE_FILE_MAX ((size_t)TILE_WIDTH * (65535 + 2))

/* "tile/0/x001/234" or, for a width below TILE_WIDTH, "tile/0/x001/234.p/17". */
void tile_path(int level, uint64_t index, unsigned width, char out[TILE_PATH_MAX]);
/* Width of the newest, incomplete tile of a level in a tree of size leaves; 0: there is none. */
unsigned tile_partial(int level, uint64_t size, uint64_t *ret_index);
/* Reads a whole file below dir_fd; TP_NOT_FOUND when it does not exist, TP_TOO_LARGE past limit. */
enum tp_err tile_read_file(int dir_fd, const char *path, size_t limit, struct buf *out, struct tp_error *error) TP_MUST;
/* Reads a tile of that width. When only the complete tile exists, that one is read and *ret_more says so: more hashes or
 * entries than width may follow. */
enum tp_err tile_read(int dir_fd, int level, uint64_t index, unsigned width, struct buf *out, bool *ret_more,
                      struct tp_error *error) TP_MUST;
/* Writes beside, syncs, renames, syncs the directory. Makes missing directories (0700). */
enum tp_err tile_write_file(int dir_fd, const char *path, const void *data, size_t size,
                            struct tp_error *error) TP_MUST;
/* Removes a partial tile and its directory when that is empty then. What is not there is fine. */
void tile_remove(int dir_fd, const char *path);

#endif

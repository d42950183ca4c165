/* The Merkle tree of the log: in memory the incomplete tile of each level, on disk the rest. One thread at a time. */
#ifndef AUDIT_TREE_H
#define AUDIT_TREE_H

#include "audit/note.h"
#include "audit/tile.h"

struct tree;

/* An empty tree that writes below dir_fd, which stays the caller's and must stay open. */
struct tree *tree_new(int dir_fd) TP_MUST;
void tree_free(struct tree *tree); /* NULL is fine */
/* Loads the right edge of the tree that the checkpoint names and checks it against its root. */
enum tp_err tree_load(struct tree *tree, const struct checkpoint *checkpoint, struct tp_error *error) TP_MUST;
/* Adds one entry of at most 65535 bytes; only memory changes. */
void tree_append(struct tree *tree, const void *entry, size_t size);
uint64_t tree_size(const struct tree *tree);
/* Bytes of complete tiles that wait for tree_write. */
size_t tree_waiting(const struct tree *tree);
void tree_root(const struct tree *tree, uint8_t out[MERKLE_HASH]);
/* Writes all tiles of the present size. On failure nothing is lost: the next call writes them again. */
enum tp_err tree_write(struct tree *tree, struct tp_error *error) TP_MUST;
/* After the checkpoint for the present size is in place: removes incomplete tiles that no recent checkpoint needs. */
void tree_written(struct tree *tree);

/* The entries of one bundle, in order; data is valid during the call. false stops. */
typedef bool tree_entry_cb(void *ctx, const uint8_t *data, size_t size);
/* Splits count entries off a bundle; TP_CORRUPT when it is cut or, unless more, has bytes behind them. *ret_seen says how
 * many were whole. */
enum tp_err tree_split(const struct buf *bundle, unsigned count, bool more, tree_entry_cb *fn, void *ctx,
                       unsigned *ret_seen) TP_MUST;

#endif

/* Hashes of a Merkle tree (RFC 6962 section 2.1, SHA-256). */
#ifndef AUDIT_MERKLE_H
#define AUDIT_MERKLE_H

#include "base/err.h"

#define MERKLE_HASH 32

/* Hash of a leaf's content. */
void merkle_leaf(const void *data, size_t size, uint8_t out[MERKLE_HASH]);
/* Hash of a node over its two children; out may be one of them. */
void merkle_node(const uint8_t left[MERKLE_HASH], const uint8_t right[MERKLE_HASH], uint8_t out[MERKLE_HASH]);
/* Root of a tree without leaves. */
void merkle_empty(uint8_t out[MERKLE_HASH]);
/* Root of a perfect subtree over count hashes, a power of two of at most 256. */
void merkle_perfect(const uint8_t *hashes, size_t count, uint8_t out[MERKLE_HASH]);

/* The right edge of a growing tree: one hash for each perfect subtree, largest first. */
struct merkle_edge {
    uint64_t size; /* leaves */
    uint8_t hashes[64][MERKLE_HASH];
};
/* Adds a leaf's hash to a zero-initialised edge. */
void merkle_edge_add(struct merkle_edge *edge, const uint8_t leaf[MERKLE_HASH]);
/* Root of the leaves added so far. */
void merkle_edge_root(const struct merkle_edge *edge, uint8_t out[MERKLE_HASH]);

#endif

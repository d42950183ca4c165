#include "audit/merkle.h"

#include "crypt/key.h"

#include <assert.h>
#include <string.h>

void merkle_leaf(const void *data, size_t size, uint8_t out[MERKLE_HASH])
{
    struct crypt_sha256_stream *hash = crypt_sha256_new();
    crypt_sha256_add(hash, "\0", 1);
    crypt_sha256_add(hash, data, size);
    crypt_sha256_finish(hash, out);
}

void merkle_node(const uint8_t left[MERKLE_HASH], const uint8_t right[MERKLE_HASH], uint8_t out[MERKLE_HASH])
{
    uint8_t input[1 + 2 * MERKLE_HASH];
    input[0] = 1;
    memcpy(input + 1, left, MERKLE_HASH);
    memcpy(input + 1 + MERKLE_HASH, right, MERKLE_HASH);
    crypt_sha256(input, sizeof(input), out);
}

void merkle_empty(uint8_t out[MERKLE_HASH])
{
    crypt_sha256("", 0, out);
}

void merkle_perfect(const uint8_t *hashes, size_t count, uint8_t out[MERKLE_HASH])
{
    uint8_t row[256 * MERKLE_HASH];
    assert(count > 0 && count <= 256 && (count & (count - 1)) == 0);
    memcpy(row, hashes, count * MERKLE_HASH);
    for (; count > 1; count /= 2) {
        for (size_t i = 0; i < count / 2; i++)
            merkle_node(row + 2 * i * MERKLE_HASH, row + (2 * i + 1) * MERKLE_HASH, row + i * MERKLE_HASH);
    }
    memcpy(out, row, MERKLE_HASH);
}

static size_t subtrees(uint64_t size)
{
    return (size_t)__builtin_popcountll(size);
}

void merkle_edge_add(struct merkle_edge *edge, const uint8_t leaf[MERKLE_HASH])
{
    size_t count = subtrees(edge->size);
    memcpy(edge->hashes[count++], leaf, MERKLE_HASH);
    for (uint64_t rest = edge->size; rest & 1; rest >>= 1) { /* two perfect trees of one size make the next */
        merkle_node(edge->hashes[count - 2], edge->hashes[count - 1], edge->hashes[count - 2]);
        count--;
    }
    edge->size++;
}

void merkle_edge_root(const struct merkle_edge *edge, uint8_t out[MERKLE_HASH])
{
    size_t count = subtrees(edge->size);
    if (count == 0) {
        merkle_empty(out);
        return;
    }
    memcpy(out, edge->hashes[count - 1], MERKLE_HASH);
    for (size_t i = count - 1; i > 0; i--)
        merkle_node(edge->hashes[i - 1], out, out);
}

#include "audit/tree.h"

#include "base/mem.h"
#include "base/wire.h"

#include <string.h>

struct level {
    uint8_t hashes[TILE_WIDTH * MERKLE_HASH];
    unsigned count; /* below TILE_WIDTH between calls */
};

/* A complete tile that is not on disk yet. */
struct waiting {
    struct waiting *next;
    char path[TILE_PATH_MAX];
    size_t size;
    uint8_t data[];
};

struct tree {
    int dir_fd;
    uint64_t size;
    struct level levels[TILE_LEVELS];
    struct buf entries; /* the incomplete bundle */
    struct waiting *first;
    struct waiting **last;
    size_t waiting;
    uint64_t previous; /* size at the newest checkpoint */
    uint64_t before;   /* and at the one before: readers may still be at it */
};

struct tree *tree_new(int dir_fd)
{
    struct tree *tree = mem_alloc(sizeof(*tree));
    tree->dir_fd = dir_fd;
    buf_init(&tree->entries, TILE_FILE_MAX);
    tree->last = &tree->first;
    return tree;
}

static void drop_first(struct tree *tree)
{
    struct waiting *item = tree->first;
    tree->first = item->next;
    if (!tree->first)
        tree->last = &tree->first;
    tree->waiting -= item->size;
    mem_free(item);
}

void tree_free(struct tree *tree)
{
    if (!tree)
        return;
    while (tree->first)
        drop_first(tree);
    buf_free(&tree->entries);
    mem_free(tree);
}

static void put_waiting(struct tree *tree, int level, uint64_t index, const void *data, size_t size)
{
    struct waiting *item = mem_alloc(sizeof(*item) + size);
    tile_path(level, index, TILE_WIDTH, item->path);
    item->size = size;
    memcpy(item->data, data, size);
    *tree->last = item;
    tree->last = &item->next;
    tree->waiting += size;
}

static void push(struct tree *tree, int at, const uint8_t hash[MERKLE_HASH], uint64_t index)
{
    struct level *level = &tree->levels[at];
    uint8_t root[MERKLE_HASH];
    memcpy(level->hashes + (size_t)level->count * MERKLE_HASH, hash, MERKLE_HASH);
    level->count++;
    if (level->count < TILE_WIDTH)
        return;
    merkle_perfect(level->hashes, TILE_WIDTH, root);
    put_waiting(tree, at, index / TILE_WIDTH, level->hashes, sizeof(level->hashes));
    level->count = 0;
    if (at + 1 < TILE_LEVELS)
        push(tree, at + 1, root, index / TILE_WIDTH);
}

void tree_append(struct tree *tree, const void *entry, size_t size)
{
    uint8_t hash[MERKLE_HASH];
    uint64_t index = tree->size;
    merkle_leaf(entry, size, hash);
    wr_u16(&tree->entries, (uint16_t)size);
    wr_bytes(&tree->entries, entry, size);
    tree->size++;
    if (tree->size % TILE_WIDTH == 0) {
        put_waiting(tree, TILE_ENTRIES, index / TILE_WIDTH, buf_head(&tree->entries), buf_size(&tree->entries));
        buf_clear(&tree->entries);
    }
    push(tree, 0, hash, index);
}

uint64_t tree_size(const struct tree *tree)
{
    return tree->size;
}

size_t tree_waiting(const struct tree *tree)
{
    return tree->waiting;
}

void tree_root(const struct tree *tree, uint8_t out[MERKLE_HASH])
{
    uint8_t parts[TILE_LEVELS * 8][MERKLE_HASH];
    size_t count = 0;
    for (int at = TILE_LEVELS - 1; at >= 0; at--) {
        const struct level *level = &tree->levels[at];
        size_t from = 0;
        for (unsigned width = TILE_WIDTH / 2; width > 0; width /= 2) {
            if (level->count & width) {
                merkle_perfect(level->hashes + from * MERKLE_HASH, width, parts[count++]);
                from += width;
            }
        }
    }
    if (count == 0) {
        merkle_empty(out);
        return;
    }
    memcpy(out, parts[count - 1], MERKLE_HASH);
    for (size_t i = count - 1; i > 0; i--)
        merkle_node(parts[i - 1], out, out);
}

enum tp_err tree_split(const struct buf *bundle, unsigned count, bool more, tree_entry_cb *fn, void *ctx,
                       unsigned *ret_seen)
{
    struct rd rd;
    rd_init(&rd, buf_head(bundle), buf_size(bundle));
    *ret_seen = 0;
    for (unsigned i = 0; i < count; i++) {
        uint16_t size = rd_u16(&rd);
        const uint8_t *data = rd_bytes(&rd, size);
        if (!rd_ok(&rd) || !data)
            return TP_CORRUPT;
        if (!fn(ctx, data, size))
            return TP_OK;
        (*ret_seen)++;
    }
    return more || rd_done(&rd) ? TP_OK : TP_CORRUPT;
}

struct loading {
    struct tree *tree;
    unsigned at;
    bool differs;
};

static bool check_entry(void *ctx, const uint8_t *data, size_t size)
{
    struct loading *loading = ctx;
    uint8_t hash[MERKLE_HASH];
    merkle_leaf(data, size, hash);
    loading->differs =
        memcmp(hash, loading->tree->levels[0].hashes + (size_t)loading->at * MERKLE_HASH, MERKLE_HASH) != 0;
    if (loading->differs)
        return false;
    wr_u16(&loading->tree->entries, (uint16_t)size);
    wr_bytes(&loading->tree->entries, data, size);
    loading->at++;
    return true;
}

static enum tp_err load_entries(struct tree *tree, struct tp_error *error)
{
    uint64_t index;
    unsigned width = tile_partial(TILE_ENTRIES, tree->size, &index);
    unsigned seen;
    bool more;
    struct buf file;
    struct loading loading = {.tree = tree};
    enum tp_err code;
    if (width == 0)
        return TP_OK;
    buf_init(&file, TILE_FILE_MAX + 128 * 1024);
    code = tile_read(tree->dir_fd, TILE_ENTRIES, index, width, &file, &more, error);
    if (code == TP_OK && (tree_split(&file, width, more, check_entry, &loading, &seen) != TP_OK || loading.differs))
        code = err_set(error, TP_CORRUPT, "the entries of the audit log are damaged at leaf %llu",
                       (unsigned long long)(index * TILE_WIDTH + loading.at));
    buf_free(&file);
    return code;
}

static enum tp_err load_level(struct tree *tree, int at, struct tp_error *error)
{
    uint64_t index;
    unsigned width = tile_partial(at, tree->size, &index);
    bool more;
    struct buf file;
    enum tp_err code;
    if (width == 0)
        return TP_OK;
    buf_init(&file, TILE_FILE_MAX + 128 * 1024);
    code = tile_read(tree->dir_fd, at, index, width, &file, &more, error);
    if (code == TP_OK &&
        (more ? buf_size(&file) != (size_t)TILE_WIDTH * MERKLE_HASH : buf_size(&file) != (size_t)width * MERKLE_HASH))
        code = err_set(error, TP_CORRUPT, "a hash tile of level %d has the wrong size", at);
    if (code == TP_OK) {
        memcpy(tree->levels[at].hashes, buf_head(&file), (size_t)width * MERKLE_HASH);
        tree->levels[at].count = width;
    }
    buf_free(&file);
    return code;
}

enum tp_err tree_load(struct tree *tree, const struct checkpoint *checkpoint, struct tp_error *error)
{
    uint8_t root[MERKLE_HASH];
    enum tp_err code = TP_OK;
    tree->size = tree->previous = tree->before = checkpoint->size;
    for (int at = 0; at < TILE_LEVELS && code == TP_OK; at++)
        code = load_level(tree, at, error);
    if (code == TP_OK)
        code = load_entries(tree, error);
    if (code == TP_NOT_FOUND) {
        if (error)
            error->code = TP_CORRUPT;
        return TP_CORRUPT;
    }
    if (code != TP_OK)
        return code;
    tree_root(tree, root);
    if (memcmp(root, checkpoint->root, sizeof(root)) != 0)
        return err_set(error, TP_CORRUPT, "the hash tiles of the audit log do not lead to the signed root");
    return TP_OK;
}

enum tp_err tree_write(struct tree *tree, struct tp_error *error)
{
    enum tp_err code = TP_OK;
    uint64_t index;
    char path[TILE_PATH_MAX];
    unsigned width;
    while (tree->first && code == TP_OK) {
        code = tile_write_file(tree->dir_fd, tree->first->path, tree->first->data, tree->first->size, error);
        if (code == TP_OK)
            drop_first(tree);
    }
    if (code == TP_OK && (width = tile_partial(TILE_ENTRIES, tree->size, &index)) > 0) {
        tile_path(TILE_ENTRIES, index, width, path);
        code = tile_write_file(tree->dir_fd, path, buf_head(&tree->entries), buf_size(&tree->entries), error);
    }
    for (int at = 0; at < TILE_LEVELS && code == TP_OK; at++) {
        /* A tile that has not grown since the newest checkpoint is there already. */
        if (at > 0 && (tree->size >> (8 * at)) == (tree->previous >> (8 * at)))
            continue;
        width = tile_partial(at, tree->size, &index);
        if (width == 0)
            continue;
        tile_path(at, index, width, path);
        code = tile_write_file(tree->dir_fd, path, tree->levels[at].hashes, (size_t)width * MERKLE_HASH, error);
    }
    return code;
}

/* Removes the incomplete tile of a level at size old, unless one of the newer sizes has the same. */
static void remove_old(struct tree *tree, int level, uint64_t old)
{
    int shift = level == TILE_ENTRIES ? 0 : 8 * level;
    uint64_t index;
    unsigned width = tile_partial(level, old, &index);
    char path[TILE_PATH_MAX];
    if (width == 0 || old >> shift == tree->previous >> shift || old >> shift == tree->size >> shift)
        return;
    tile_path(level, index, width, path);
    tile_remove(tree->dir_fd, path);
}

void tree_written(struct tree *tree)
{
    for (int at = TILE_ENTRIES; at < TILE_LEVELS; at++)
        remove_old(tree, at, tree->before);
    tree->before = tree->previous;
    tree->previous = tree->size;
}

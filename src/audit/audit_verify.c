#include "audit/audit_log.h"

#include "audit/day.h"
#include "audit/log_internal.h"
#include "audit/prune.h"
#include "base/enc.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TRIES 4 /* a log that is being written may change under our eyes */

struct verify {
    int tlog_fd;
    int log_fd;
    struct checkpoint checkpoint;
    struct checkpoint earlier;
    bool has_earlier;
    struct prune_statement pruned; /* what the log says was removed, believed when its entry is proved */
    bool pruned_proved;
    struct merkle_edge edge;          /* from the entries alone */
    struct buf computed[TILE_LEVELS]; /* hashes of the tile of each level that is being filled */
    uint64_t tiles[TILE_LEVELS];      /* its index */
    char (*days)[DAY_TEXT_SIZE];
    size_t day_count;
    size_t day; /* index of the file that is being read, one more when open */
    struct day_lines *lines;
    uint64_t line_number;
    enum tp_err code;
    struct tp_error *error;
};

static unsigned long long ull(uint64_t value)
{
    return (unsigned long long)value;
}

/* Compares a computed tile with the one on disk. */
static enum tp_err compare_tile(struct verify *verify, int level)
{
    struct buf *computed = &verify->computed[level], file;
    unsigned width = (unsigned)(buf_size(computed) / MERKLE_HASH);
    uint64_t index = verify->tiles[level];
    bool more;
    char path[TILE_PATH_MAX];
    size_t i;
    enum tp_err code;
    if (width == 0)
        return TP_OK;
    tile_path(level, index, width, path);
    buf_init(&file, TILE_FILE_MAX + 128 * 1024);
    code = tile_read(verify->tlog_fd, level, index, width, &file, &more, verify->error);
    if (code == TP_OK) {
        for (i = 0; i < width; i++) {
            uint64_t leaf = (index * TILE_WIDTH + i) << (8 * level);
            if (buf_size(&file) < (i + 1) * MERKLE_HASH ||
                memcmp(buf_head(&file) + i * MERKLE_HASH, buf_head(computed) + i * MERKLE_HASH, MERKLE_HASH) != 0) {
                if (level == 0)
                    code = err_set(verify->error, TP_CORRUPT,
                                   "leaf %llu was changed: its entry does not fit its hash in %s", ull(leaf), path);
                else
                    code = err_set(verify->error, TP_CORRUPT,
                                   "the hash over the leaves from %llu on was changed: it does not fit %s", ull(leaf),
                                   path);
                break;
            }
        }
        if (code == TP_OK && buf_size(&file) != (size_t)(more ? TILE_WIDTH : width) * MERKLE_HASH)
            code = err_set(verify->error, TP_CORRUPT, "the hash tile %s has the wrong size", path);
    } else if (code == TP_NOT_FOUND) {
        code = err_set(verify->error, TP_CORRUPT,
                       "the hash tile %s is missing: leaf %llu and what follows cannot be proved", path,
                       ull((index * TILE_WIDTH) << (8 * level)));
    }
    buf_free(&file);
    return code;
}

static enum tp_err push(struct verify *verify, int level, const uint8_t hash[MERKLE_HASH])
{
    struct buf *computed = &verify->computed[level];
    uint8_t root[MERKLE_HASH];
    enum tp_err code;
    (void)buf_append(computed, hash, MERKLE_HASH);
    if (buf_size(computed) < (size_t)TILE_WIDTH * MERKLE_HASH)
        return TP_OK;
    code = compare_tile(verify, level);
    if (code != TP_OK)
        return code;
    merkle_perfect(buf_head(computed), TILE_WIDTH, root);
    buf_clear(computed);
    verify->tiles[level]++;
    return level + 1 < TILE_LEVELS ? push(verify, level + 1, root) : TP_OK;
}

/* The next line of the day files, over their borders. TP_NOT_FOUND behind the last one. */
static enum tp_err next_line(struct verify *verify, const char **line, size_t *size, bool *complete)
{
    for (;;) {
        if (verify->lines && day_lines_next(verify->lines, line, size, complete) == TP_OK) {
            verify->line_number++;
            return TP_OK;
        }
        day_lines_free(verify->lines);
        verify->lines = NULL;
        if (verify->day == verify->day_count)
            return TP_NOT_FOUND;
        if (day_lines_open(verify->log_fd, verify->days[verify->day], &verify->lines, verify->error) != TP_OK)
            return TP_IO;
        verify->day++;
        verify->line_number = 0;
    }
}

static enum tp_err compare_line(struct verify *verify, uint64_t leaf, const uint8_t *data, size_t size)
{
    const char *line;
    size_t length;
    bool complete;
    enum tp_err code = next_line(verify, &line, &length, &complete);
    if (code == TP_NOT_FOUND)
        return err_set(verify->error, TP_CORRUPT, "leaf %llu is missing in the day files: they end before it",
                       ull(leaf));
    if (code != TP_OK)
        return code;
    if (!complete || length != size || memcmp(line, data, size) != 0)
        return err_set(verify->error, TP_CORRUPT,
                       "leaf %llu was changed or is missing: line %llu of %s.log is not what was recorded", ull(leaf),
                       ull(verify->line_number), verify->days[verify->day - 1]);
    return TP_OK;
}

/* The next leaf has that hash. */
static enum tp_err add_leaf(struct verify *verify, const uint8_t hash[MERKLE_HASH])
{
    uint8_t root[MERKLE_HASH];
    enum tp_err code;
    merkle_edge_add(&verify->edge, hash);
    code = push(verify, 0, hash);
    if (code == TP_OK && verify->has_earlier && verify->edge.size == verify->earlier.size) {
        merkle_edge_root(&verify->edge, root);
        if (memcmp(root, verify->earlier.root, MERKLE_HASH) != 0)
            code = err_set(verify->error, TP_CORRUPT,
                           "the first %llu leaves are not those of the earlier checkpoint: the log was rewritten",
                           ull(verify->earlier.size));
    }
    return code;
}

static bool take_entry(void *ctx, const uint8_t *data, size_t size)
{
    struct verify *verify = ctx;
    struct prune_statement statement;
    uint8_t hash[MERKLE_HASH];
    uint64_t leaf = verify->edge.size;
    merkle_leaf(data, size, hash);
    verify->code = add_leaf(verify, hash);
    if (verify->code == TP_OK && leaf >= verify->pruned.first_leaf)
        verify->code = compare_line(verify, leaf, data, size);
    if (verify->code == TP_OK && verify->pruned.first_leaf > 0 && leaf >= verify->pruned.first_leaf &&
        prune_statement_read(data, size, &statement) && statement.first_leaf == verify->pruned.first_leaf &&
        strcmp(statement.first_day, verify->pruned.first_day) == 0)
        verify->pruned_proved = true;
    return verify->code == TP_OK;
}

/* The entries of these leaves may be gone: their hashes stand for them. */
static enum tp_err take_hashes(struct verify *verify, uint64_t index)
{
    struct buf file;
    bool more;
    enum tp_err code;
    buf_init(&file, TILE_FILE_MAX + 128 * 1024);
    code = tile_read(verify->tlog_fd, 0, index, TILE_WIDTH, &file, &more, verify->error);
    if (code == TP_OK && buf_size(&file) != (size_t)TILE_WIDTH * MERKLE_HASH)
        code = err_set(verify->error, TP_CORRUPT, "the hash tile over the leaves from %llu on has the wrong size",
                       ull(index * TILE_WIDTH));
    else if (code == TP_NOT_FOUND)
        code = err_set(verify->error, TP_CORRUPT, "the hash tile over the leaves from %llu on is missing",
                       ull(index * TILE_WIDTH));
    for (size_t i = 0; i < TILE_WIDTH && code == TP_OK; i++)
        code = add_leaf(verify, buf_head(&file) + i * MERKLE_HASH);
    buf_free(&file);
    return code;
}

static enum tp_err check_bundle(struct verify *verify, uint64_t index)
{
    uint64_t left = verify->checkpoint.size - index * TILE_WIDTH;
    unsigned width = left < TILE_WIDTH ? (unsigned)left : TILE_WIDTH;
    unsigned seen = 0;
    bool more = false;
    struct buf file;
    enum tp_err code, split;
    buf_init(&file, TILE_FILE_MAX + 128 * 1024);
    code = tile_read(verify->tlog_fd, TILE_ENTRIES, index, width, &file, &more, verify->error);
    if (code == TP_NOT_FOUND)
        code = err_set(verify->error, TP_CORRUPT, "the entries from leaf %llu on are missing: %s",
                       ull(index * TILE_WIDTH), verify->error ? verify->error->text : "no file");
    if (code == TP_OK) {
        verify->code = TP_OK;
        split = tree_split(&file, width, more, take_entry, verify, &seen);
        code = verify->code;
        if (code == TP_OK && split != TP_OK)
            code = err_set(verify->error, TP_CORRUPT,
                           seen < width ? "the entry of leaf %llu is cut"
                                        : "there are bytes behind the entry before leaf %llu",
                           ull(index * TILE_WIDTH + seen));
    }
    buf_free(&file);
    return code;
}

static enum tp_err check_leaves(struct verify *verify)
{
    uint8_t root[MERKLE_HASH];
    uint64_t gone = verify->pruned.first_leaf / TILE_WIDTH;
    enum tp_err code = TP_OK;
    for (uint64_t index = 0; code == TP_OK && index * TILE_WIDTH < verify->checkpoint.size; index++)
        code = index < gone ? take_hashes(verify, index) : check_bundle(verify, index);
    for (int level = 0; level < TILE_LEVELS && code == TP_OK; level++)
        code = compare_tile(verify, level);
    if (code != TP_OK)
        return code;
    merkle_edge_root(&verify->edge, root);
    if (memcmp(root, verify->checkpoint.root, MERKLE_HASH) != 0)
        return err_set(verify->error, TP_CORRUPT,
                       "the %llu leaves do not lead to the signed root hash: entries and hashes were changed together",
                       ull(verify->checkpoint.size));
    if (verify->pruned.first_leaf > 0 && !verify->pruned_proved)
        return err_set(verify->error, TP_CORRUPT,
                       "entries before leaf %llu are missing, and no event of the log says that retention removed them",
                       ull(verify->pruned.first_leaf));
    return TP_OK;
}

/* What the log says was removed, and the first day file that must be there. */
static enum tp_err find_pruned(struct verify *verify)
{
    enum tp_err code =
        prune_statement_find(verify->tlog_fd, verify->checkpoint.size, 0, &verify->pruned, verify->error);
    if (code != TP_OK || verify->pruned.first_leaf >= verify->checkpoint.size)
        memset(&verify->pruned, 0, sizeof(verify->pruned)); /* what is wrong is found, and named, further on */
    while (verify->day < verify->day_count && strcmp(verify->days[verify->day], verify->pruned.first_day) < 0)
        verify->day++; /* left over by a removal that was interrupted */
    return TP_OK;
}

static enum tp_err read_checkpoint(struct verify *verify, const struct note_key *key, char **ret_text)
{
    struct buf text;
    enum tp_err code;
    buf_init(&text, NOTE_MAX + 128 * 1024);
    code = tile_read_file(verify->tlog_fd, CHECKPOINT_FILE, NOTE_MAX, &text, verify->error);
    if (code == TP_OK)
        code = note_open_checkpoint(buf_head(&text), buf_size(&text), key, &verify->checkpoint, verify->error);
    else
        code = err_set(verify->error, TP_CORRUPT, "the audit log has no readable checkpoint");
    if (code == TP_OK)
        *ret_text = mem_strdup(buf_text(&text));
    buf_free(&text);
    return code;
}

static enum tp_err check_all(struct verify *verify, struct audit_verdict *verdict)
{
    const char *line;
    size_t size;
    bool complete;
    char *root;
    enum tp_err code = day_list(verify->log_fd, &verify->days, &verify->day_count, verify->error);
    if (code == TP_OK && verify->has_earlier && verify->earlier.size > verify->checkpoint.size)
        code = err_set(verify->error, TP_CORRUPT, "the log was cut: it has %llu leaves, the earlier checkpoint %llu",
                       ull(verify->checkpoint.size), ull(verify->earlier.size));
    if (code == TP_OK)
        code = find_pruned(verify);
    if (code == TP_OK)
        code = check_leaves(verify);
    if (code != TP_OK)
        return code;
    verdict->pruned = verify->pruned.first_leaf;
    memcpy(verdict->first_day, verify->pruned.first_day, sizeof(verdict->first_day));
    memcpy(verdict->reason, verify->pruned.reason, sizeof(verdict->reason));
    while (next_line(verify, &line, &size, &complete) == TP_OK && complete)
        verdict->unpublished++;
    verdict->size = verify->checkpoint.size;
    root = enc_base64(verify->checkpoint.root, MERKLE_HASH);
    (void)snprintf(verdict->root, sizeof(verdict->root), "%s", root);
    mem_free(root);
    return TP_OK;
}

/* One attempt. *ret_text (mem_free it) is the checkpoint it began with, or NULL. */
static enum tp_err attempt(int tlog_fd, int log_fd, const struct note_key *key, const struct checkpoint *earlier,
                           struct audit_verdict *verdict, char **ret_text, struct tp_error *error)
{
    struct verify *verify = mem_alloc(sizeof(*verify));
    enum tp_err code;
    verify->tlog_fd = tlog_fd;
    verify->log_fd = log_fd;
    verify->error = error;
    if (earlier) {
        verify->earlier = *earlier;
        verify->has_earlier = true;
    }
    for (int i = 0; i < TILE_LEVELS; i++)
        buf_init(&verify->computed[i], (size_t)TILE_WIDTH * MERKLE_HASH);
    code = read_checkpoint(verify, key, ret_text);
    if (code == TP_OK)
        code = check_all(verify, verdict);
    for (int i = 0; i < TILE_LEVELS; i++)
        buf_free(&verify->computed[i]);
    day_lines_free(verify->lines);
    mem_free(verify->days);
    mem_free(verify);
    return code;
}

static enum tp_err verify_dir(const char *dir, const struct note_key *key, const struct checkpoint *earlier,
                              struct audit_verdict *ret_verdict, struct tp_error *error)
{
    int tlog_fd = day_part(dir, "tlog");
    int log_fd = day_part(dir, "log");
    char *previous = NULL;
    enum tp_err code;
    if (tlog_fd < 0 || log_fd < 0)
        code = err_errno(error, errno, "%s is not the directory of an audit log", dir);
    else
        code = TP_CORRUPT;
    for (int i = 0; i < TRIES && tlog_fd >= 0 && log_fd >= 0 && code != TP_OK; i++) {
        char *text = NULL;
        bool same;
        memset(ret_verdict, 0, sizeof(*ret_verdict));
        code = attempt(tlog_fd, log_fd, key, earlier, ret_verdict, &text, error);
        same = !text || (previous && strcmp(previous, text) == 0);
        mem_free(previous);
        previous = text;
        if (same)
            break; /* nothing was written meanwhile, so what was found stands */
    }
    mem_free(previous);
    if (tlog_fd >= 0)
        (void)close(tlog_fd);
    if (log_fd >= 0)
        (void)close(log_fd);
    return code;
}

enum tp_err audit_log_verify(const char *dir, const char *verifier_key, const char *earlier,
                             struct audit_verdict *ret_verdict, struct tp_error *error)
{
    struct note_key key = {0};
    struct checkpoint old = {0};
    enum tp_err code = note_parse_key(verifier_key, &key, error);
    if (code == TP_OK && earlier) {
        code = note_open_checkpoint((const uint8_t *)earlier, strlen(earlier), &key, &old, error);
        if (code != TP_OK) {
            err_prefix(error, "the earlier checkpoint");
            return code;
        }
    }
    return code == TP_OK ? verify_dir(dir, &key, earlier ? &old : NULL, ret_verdict, error) : code;
}

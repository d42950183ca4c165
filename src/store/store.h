/*
 * The store: keys are paths ("/user/alice"), values are bytes, every commit has a revision. Shaped like etcd's
 * interface, so that etcd can take its place; now it is one LMDB environment with one writing process. Calls block
 * until the commit is on the disk (fsync).
 *
 * A struct store belongs to one thread, must be opened after fork, and must not be used on both sides of one.
 * Callbacks (of ranges and watches) may read the store but not write it and not close it: a write then is TP_INTERNAL.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/err.h"

#include <sys/types.h>

#define STORE_KEY_MAX 479                          /* bytes of a key */
#define STORE_VALUE_MAX ((size_t)16 * 1024 * 1024) /* bytes of a value */

/* Expected revisions of a write. Any other number: the key must stand at exactly that revision (TP_CONFLICT). */
#define STORE_ABSENT ((uint64_t)0) /* the key must not exist (TP_EXISTS) */
#define STORE_ANY UINT64_MAX       /* whatever is there */

struct store;
struct store_watch;

#define STORE_KEY_SIZE 32 /* bytes of the key that values are sealed with */

/* Fills in the key; called once, while the store is opened, when its file has been found sound. sealed: its values stand
 * sealed already, so only the key they were sealed with will do. A failure ends the opening, and nothing was written. */
typedef enum tp_err store_key_fn(void *ctx, bool sealed, uint8_t key[STORE_KEY_SIZE], struct tp_error *error);

/* Zero fields take the default. */
struct store_options {
    size_t map_size;    /* bytes the file may hold at first; default 64 MiB. It doubles when full, */
    size_t map_limit;   /* up to this; default 16 GiB */
    mode_t mode;        /* of the files; default 0600. The folder, when made, is 0700 */
    size_t log_entries; /* changes that a watch from an older revision can look back; default 10000 */
    /* Seals every value before it reaches the disk (crypt/seal.h), bound to its key and revision; the keys themselves stay
     * readable. A store with values that are not sealed is refused. NULL: values stand as they are, and a store that is
     * sealed is refused. */
    store_key_fn *key;
    store_key_fn *next_key; /* NULL, or gives one to try when key is not the one: store_rekey may have been cut short */
    void *key_ctx;          /* of both */
};

/* One key as ranges and watches show it; valid only during the callback. */
struct store_entry {
    const char *key;
    const void *value; /* NULL: the key was deleted (watches only) */
    size_t size;
    uint64_t revision; /* of the commit that wrote or deleted it */
};

/* One write of a batch. */
struct store_op {
    const char *key;
    const void *value; /* NULL: delete the key */
    size_t size;
    uint64_t expected; /* STORE_ANY, STORE_ABSENT (puts only), or a revision */
};

/* false ends the range. */
typedef bool store_range_fn(void *ctx, const struct store_entry *entry);
typedef void store_watch_fn(void *ctx, const struct store_entry *entry);

/* Opens the environment in the folder dir (made when missing, its parent must exist). options may be NULL. A file that
 * is no store or is damaged gives TP_CORRUPT with a sentence, never a crash; a store that was sealed with another key, or
 * with one where none was given, TP_INVALID. The caller store_close's it. */
enum tp_err store_open(const char *dir, const struct store_options *options, struct store **ret_store,
                       struct tp_error *error) TP_MUST;
/* Seals the store in the folder dir with another key in place of the one that options give; nobody may have it open. Cut short
 * at any moment, or failed, it is sealed with one of the two, so both must be durable until the caller knows which. */
enum tp_err store_rekey(const char *dir, const struct store_options *options, const uint8_t key[STORE_KEY_SIZE],
                        struct tp_error *error) TP_MUST;
/* NULL is fine. Ends all watches. */
void store_close(struct store *store);

/* The revision of the newest commit; 0 in a new store. */
uint64_t store_revision(const struct store *store);

/* The value of a key, with a NUL behind its size bytes (so that a text or JSON can be used as it is). The caller frees
 * it with mem_free (wipes it first when it is secret). ret_revision may be NULL. TP_NOT_FOUND, TP_CORRUPT. */
enum tp_err store_get(struct store *store, const char *key, void **ret_value, size_t *ret_size, uint64_t *ret_revision,
                      struct tp_error *error) TP_MUST;
/* Writes a key. ret_revision (may be NULL) is the new revision. TP_EXISTS (expected STORE_ABSENT), TP_CONFLICT (it
 * stands at another revision or is gone), TP_NO_SPACE (nothing was written, the store stays usable). */
enum tp_err store_put(struct store *store, const char *key, const void *value, size_t size, uint64_t expected,
                      uint64_t *ret_revision, struct tp_error *error) TP_MUST;
/* Deletes a key; TP_NOT_FOUND when there is none (STORE_ANY too), TP_CONFLICT when expected is another revision. */
enum tp_err store_delete(struct store *store, const char *key, uint64_t expected, struct tp_error *error) TP_MUST;
/* All writes under one revision, or none of them and the error of the first that failed. A key may stand only once. */
enum tp_err store_commit(struct store *store, const struct store_op *ops, size_t count, uint64_t *ret_revision,
                         struct tp_error *error) TP_MUST;

/* Calls back for the keys that begin with prefix, in byte order, after start_after (NULL: from the first one), at most
 * limit (0: all). One consistent state is seen. A damaged record ends it with TP_CORRUPT naming the key. */
enum tp_err store_range(struct store *store, const char *prefix, const char *start_after, size_t limit,
                        store_range_fn *callback, void *ctx, struct tp_error *error) TP_MUST;
/* The same from the last key back, before `before` (NULL: from the last one). prefix ends in a slash. */
enum tp_err store_range_back(struct store *store, const char *prefix, const char *before, size_t limit,
                             store_range_fn *callback, void *ctx, struct tp_error *error) TP_MUST;

/*
 * Calls back, from within the writing call and after its commit is durable, for every changed key that begins with
 * prefix. from_revision STORE_ANY: from now on. Otherwise the changes after that revision are delivered first, before
 * this function returns, in the order of revisions: a key that exists once with its newest value, a key that is gone as
 * a deletion (once for each time it was deleted). TP_EXPIRED when the change log no longer reaches back so far: watch
 * from now on, then read the range anew. store_watch_stop or store_close ends it.
 */
enum tp_err store_watch(struct store *store, const char *prefix, uint64_t from_revision, store_watch_fn *callback,
                        void *ctx, struct store_watch **ret_watch, struct tp_error *error) TP_MUST;
void store_watch_stop(struct store_watch *watch);

#endif

/* What the files of the store share. The environment has three databases: "kv" (key to record), "log" (revision and
 * number within it to a record of operation and key), "meta" ("state": revision of the newest commit, log floor; "seal",
 * where values are sealed: the id of their key). */
#ifndef STORE_STORE_INNER_H
#define STORE_STORE_INNER_H

#include "crypt/seal.h"
#include "store/store.h"

#include <lmdb.h>

#define STORE_LOG_KEY 12 /* u64 revision, u32 number; big-endian */
#define STORE_PUT 'p'
#define STORE_DELETE 'd'

struct store_env {
    MDB_env *env;
    MDB_dbi kv;
    MDB_dbi log;
    MDB_dbi meta;
};

struct store_watch {
    struct store *store;
    struct store_watch *next;
    char *prefix;
    store_watch_fn *callback;
    void *ctx;
    bool dead; /* stopped while events were being delivered; freed after that */
};

struct store {
    char *dir;
    struct store_options options;
    struct store_env lmdb;
    int lock_fd;
    struct seal *seal; /* or NULL: values stand as they are */
    uint64_t revision;
    uint64_t floor; /* every change after this revision is in the log */
    MDB_txn *reader;
    int reading;    /* users of reader now */
    int delivering; /* within watch callbacks */
    struct store_watch *watches;
};

/* A failure of LMDB (code of mdb_*) as a sentence: "WHAT: why; way out". */
enum tp_err store_mdb_error(const char *dir, int code, const char *what, struct tp_error *error) TP_MUST;
/* Opens the environment and its databases. create: make what is missing. */
enum tp_err store_env_open(const char *dir, const struct store_options *options, bool create, struct store_env *ret_env,
                           struct tp_error *error) TP_MUST;
/* Reads "state"; zeros when there is none and nothing is stored either. */
enum tp_err store_state_read(const struct store_env *lmdb, MDB_txn *txn, const char *dir, uint64_t *ret_revision,
                             uint64_t *ret_floor, struct tp_error *error) TP_MUST;
enum tp_err store_state_write(const struct store_env *lmdb, MDB_txn *txn, uint64_t revision, uint64_t floor,
                              int *ret_code) TP_MUST;

/* Walks the whole environment in a child process, because LMDB trusts its file and a damaged one can crash it.
 * made: the store was once opened to the end, so its databases must be there. */
enum tp_err store_check(const char *dir, const struct store_options *options, bool made,
                        struct tp_error *error) TP_MUST;

/* While the store is opened: gets the key when the options say so, checks it against the store and every value against the
 * key; a store without records gets the mark of the key. TP_INVALID: another key, no key, or records that are not sealed. */
enum tp_err store_seal_begin(struct store *store, struct tp_error *error) TP_MUST;
/* The seal of this purpose; seal_free it. */
struct seal *store_seal_of(const uint8_t key[STORE_KEY_SIZE]) TP_MUST;
/* Writes the mark of store->seal with store->revision into "meta" of store->lmdb; a code of LMDB. */
int store_seal_mark(const struct store *store, MDB_txn *txn) TP_MUST;
/* Removes what a store_rekey that was cut short left beside the store. When the disk does not say that the store of after is
 * what it has, that fails and everything stays as it is: the store of before may yet be the one. */
enum tp_err store_rekey_clean(const char *dir, struct tp_error *error) TP_MUST;
/* What is to stand on the disk for a value, in memory of its own that the caller frees; only where store->seal is set. */
void *store_value_seal(const struct store *store, const char *key, uint64_t revision, const void *value, size_t size,
                       size_t *ret_size) TP_MUST;
/* A value off the disk as its writer gave it, with a NUL behind it. The caller wipes and frees it. */
enum tp_err store_value_open(const struct store *store, const char *key, uint64_t revision, const uint8_t *value,
                             size_t size, void **ret_value, size_t *ret_size, struct tp_error *error) TP_MUST;

/* Takes and returns the shared read transaction. */
enum tp_err store_read_begin(struct store *store, struct tp_error *error) TP_MUST;
void store_read_end(struct store *store);

/* Makes a log key, and reads one. */
void store_log_key(uint64_t revision, uint32_t number, uint8_t out[STORE_LOG_KEY]);
uint64_t store_log_revision(const MDB_val *key);
/* Calls the watches of one change. */
void store_deliver(struct store *store, const struct store_entry *entry);
/* Frees watches that were stopped during delivery. */
void store_watch_sweep(struct store *store);

#endif

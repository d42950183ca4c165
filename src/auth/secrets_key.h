/* The key that the secrets store is sealed with: 32 bytes as 64 hex digits in a file of its own, which a backup of the store
 * does not hold. */
#ifndef AUTH_SECRETS_KEY_H
#define AUTH_SECRETS_KEY_H

#include "base/err.h"
#include "store/store.h"

struct secrets_key {
    const char *path; /* of the file, for sentences too */
    int fd;           /* master opened it for us, or -1: we open path, */
    int open_errno;   /* unless master could not: its errno, else 0 */
    bool make;        /* a file that is missing is made, for a store that is not sealed yet */
    bool next_opened; /* the same for the file PATH.next: */
    int next_fd;      /* this is it, or -1 */
    int next_errno;   /* and why */
    bool read;        /* out: the key was had, so what the store then says is about it */
    bool next;        /* out: so was the next one; when the store opens with it, secrets_key_take_next is due */
};

/* A store_key_fn; ctx is a struct secrets_key. TP_INVALID with a sentence when there is no such file, others may read it, or
 * it holds something else. */
enum tp_err secrets_key_get(void *ctx, bool sealed, uint8_t key[STORE_KEY_SIZE], struct tp_error *error) TP_MUST;

/* While the key is changed (secrets_rekey.c) the new one stands in PATH.next, until the store is sealed with it; then it takes
 * the place of the old one. */
/* A store_key_fn, of the file PATH.next. */
enum tp_err secrets_key_next(void *ctx, bool sealed, uint8_t key[STORE_KEY_SIZE], struct tp_error *error) TP_MUST;
/* Opens both files for another process, which may not come to them, and closes them again. */
void secrets_key_open(struct secrets_key *source);
void secrets_key_close(struct secrets_key *source);
/* Makes PATH.next, durable, of the same owner and mode as PATH; ours alone where we may not give it away. */
enum tp_err secrets_key_make_next(struct secrets_key *source, uint8_t key[STORE_KEY_SIZE],
                                  struct tp_error *error) TP_MUST;
enum tp_err secrets_key_take_next(struct secrets_key *source, struct tp_error *error) TP_MUST;
void secrets_key_drop_next(struct secrets_key *source);

enum secrets_rekeyed {
    SECRETS_REKEYED,
    SECRETS_FINISHED /* a change that had been cut short was brought to its end, and no other begun */
};
/* Seals the secrets store of data_dir with a new key, which takes the place of the one in the file path. Nobody else may use
 * the store. Cut short at any moment, auth starts with what is there, or another call goes on with it.
 * Root does nothing in folders of others. Where data_dir's folder auth is not root's, a child becomes its owner and does what is
 * done to the store, and the rest too where the key's folder is that owner's. That folder may else be root's alone: TP_DENIED. */
enum tp_err secrets_rekey(const char *data_dir, const char *path, enum secrets_rekeyed *ret_done,
                          struct tp_error *error) TP_MUST;

#endif

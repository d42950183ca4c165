/* The key that the secrets store is sealed with: 32 bytes as 64 hex digits in a file of its own, which a backup of the store
 * does not hold. */
#ifndef AUTH_SECRETS_KEY_H
#define AUTH_SECRETS_KEY_H

#include "store/store.h"

struct secrets_key {
    const char *path; /* of the file, for sentences too */
    int fd;           /* master opened it for us, or -1: we open path, */
    int open_errno;   /* unless master could not: its errno, else 0 */
    bool make;        /* a file that is missing is made, for a store that is not sealed yet */
    bool read;        /* out: the key was had, so what the store then says is about it */
};

/* A store_key_fn; ctx is a struct secrets_key. TP_INVALID with a sentence when there is no such file, others may read it, or
 * it holds something else. */
enum tp_err secrets_key_get(void *ctx, bool sealed, uint8_t key[STORE_KEY_SIZE], struct tp_error *error) TP_MUST;

#endif

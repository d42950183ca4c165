/* Another key for the secrets store, in an order in which no moment leaves a store without its key: the new key is on the disk
 * (PATH.next), then the store is sealed with it, then it takes the name of the old one. */
#include "auth/secrets_key.h"

#include "base/mem.h"

#include <sys/stat.h>

/* Opens the store once, with the key or with the next one: which of them is it? */
static enum tp_err look(const char *dir, struct secrets_key *source, struct tp_error *error)
{
    const struct store_options options = {.key = secrets_key_get, .next_key = secrets_key_next, .key_ctx = source};
    struct store *store = NULL;
    struct stat info;
    if (stat(dir, &info) != 0) {
        return err_set(error, TP_NOT_FOUND, "there is no secrets store %s; auth makes it at its first start", dir);
    }
    enum tp_err err = store_open(dir, &options, &store, error);
    store_close(store);
    if (err == TP_INVALID && source->read) {
        err_prefix(error, "%s", source->path);
    }
    return err;
}

static enum tp_err change(const char *dir, struct secrets_key *source, struct tp_error *error)
{
    const struct store_options options = {.key = secrets_key_get, .key_ctx = source};
    uint8_t key[STORE_KEY_SIZE];
    struct tp_error none = {0};
    enum tp_err err = secrets_key_make_next(source, key, error);
    if (err != TP_OK) {
        return err;
    }
    err = store_rekey(dir, &options, key, error);
    secret_wipe(key, sizeof key);
    source->next = false;
    if (err != TP_OK && (look(dir, source, &none) != TP_OK || source->next)) {
        return err; /* it may be sealed with either: both stay, and the next call finds out */
    }
    if (err != TP_OK) {
        secrets_key_drop_next(source);
        return err;
    }
    return secrets_key_take_next(source, error);
}

enum tp_err secrets_rekey(const char *data_dir, const char *path, enum secrets_rekeyed *ret_done,
                          struct tp_error *error)
{
    char *dir = mem_printf("%s/auth/secrets", data_dir);
    struct secrets_key source = {.path = path, .fd = -1};
    enum tp_err err = look(dir, &source, error);
    *ret_done = SECRETS_REKEYED;
    if (err == TP_OK && source.next) {
        *ret_done = SECRETS_FINISHED;
        err = secrets_key_take_next(&source, error);
    } else if (err == TP_OK) {
        secrets_key_drop_next(&source); /* of a call that ended before the store was sealed with it */
        err = change(dir, &source, error);
    }
    mem_free(dir);
    return err;
}

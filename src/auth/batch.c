/* Writes that may wait for the next tick (live sessions, lists of recordings) go into one commit, so that a hundred new
 * sessions cost one fsync and not some hundreds. */
#include "auth/inner.h"

#include <string.h>

void batch_put(struct auth *auth, const char *prefix, const char *name, const json_t *doc)
{
    char *key = mem_printf("%s%s", prefix, name);
    char *text = json_text(doc);
    if (strlen(text) > STORE_VALUE_MAX) {
        /* Together with it the whole commit would fail, and with that everybody's sessions. */
        log_error("document is too large to be stored", "key=\"%s\"", key);
        mem_free(text);
    } else {
        mem_free(map_set(auth->batch, key, text));
    }
    mem_free(key);
}

void batch_delete(struct auth *auth, const char *prefix, const char *name)
{
    char *key = mem_printf("%s%s", prefix, name);
    mem_free(map_set(auth->batch, key, mem_strdup("")));
    mem_free(key);
}

struct filling {
    struct store_op *ops;
    size_t count;
};

static void fill(void *ctx, const char *key, void *value)
{
    struct filling *filling = ctx;
    const char *text = value;
    struct store_op *op = &filling->ops[filling->count++];
    op->key = key;
    op->value = text[0] != '\0' ? text : NULL;
    op->size = strlen(text);
    op->expected = STORE_ANY;
}

static void drop(void *ctx, const char *key, void *value)
{
    mem_free(value);
    (void)map_remove(ctx, key);
}

enum tp_err batch_commit(struct auth *auth, struct tp_error *error)
{
    size_t count = map_count(auth->batch);
    if (count == 0) {
        return TP_OK;
    }
    struct filling filling = {.ops = mem_array(count, sizeof *filling.ops)};
    map_each(auth->batch, fill, &filling);
    enum tp_err err = store_commit(auth->state, filling.ops, filling.count, NULL, error);
    mem_free(filling.ops);
    map_each(auth->batch, drop, auth->batch);
    return err;
}

void batch_free(struct auth *auth)
{
    map_each(auth->batch, drop, auth->batch);
    map_free(auth->batch);
}

#include "auth/handlers.h"
#include "auth/inner.h"

#include <string.h>

enum tp_err doc_parse(const char *key, const void *text, size_t size, json_t **ret_doc, struct tp_error *error)
{
    if (json_parse_object(text, size, STORE_VALUE_MAX, ret_doc, error) != TP_OK) {
        return err_set(error, TP_CORRUPT, "the stored document %s is damaged; restore it from a backup", key);
    }
    return TP_OK;
}

enum tp_err doc_get(struct store *store, const char *key, json_t **ret_doc, uint64_t *ret_revision,
                    struct tp_error *error)
{
    void *value = NULL;
    size_t size = 0;
    enum tp_err err = store_get(store, key, &value, &size, ret_revision, error);
    if (err != TP_OK) {
        return err;
    }
    err = doc_parse(key, value, size, ret_doc, error);
    secret_wipe(value, size);
    mem_free(value);
    return err;
}

enum tp_err doc_find(struct store *store, const char *prefix, const char *name, json_t **ret_doc,
                     uint64_t *ret_revision, struct tp_error *error)
{
    if (strlen(prefix) + strlen(name) > STORE_KEY_MAX) {
        return err_set(error, TP_NOT_FOUND, "the name is too long to exist");
    }
    char *key = mem_printf("%s%s", prefix, name);
    enum tp_err err = doc_get(store, key, ret_doc, ret_revision, error);
    mem_free(key);
    return err;
}

enum tp_err doc_put(struct store *store, const char *prefix, const char *name, const json_t *doc, uint64_t expected,
                    uint64_t *ret_revision, struct tp_error *error)
{
    char *key = mem_printf("%s%s", prefix, name);
    char *text = json_text(doc);
    enum tp_err err = store_put(store, key, text, strlen(text), expected, ret_revision, error);
    secret_free(text);
    mem_free(key);
    return err;
}

enum tp_err doc_delete(struct store *store, const char *prefix, const char *name, struct tp_error *error)
{
    if (strlen(prefix) + strlen(name) > STORE_KEY_MAX) {
        return err_set(error, TP_NOT_FOUND, "the name is too long to exist");
    }
    char *key = mem_printf("%s%s", prefix, name);
    enum tp_err err = store_delete(store, key, STORE_ANY, error);
    mem_free(key);
    return err;
}

struct each {
    size_t prefix_size;
    doc_each_fn *fn;
    void *ctx;
};

static bool each_entry(void *ctx, const struct store_entry *entry)
{
    struct each *each = ctx;
    json_t *doc = NULL;
    struct tp_error error = {0};
    if (json_parse_object(entry->value, entry->size, STORE_VALUE_MAX, &doc, &error) != TP_OK) {
        log_error("stored document is damaged", "key=\"%s\" error=\"%s\"", entry->key, error.text);
        return true;
    }
    bool more = each->fn(each->ctx, entry->key + each->prefix_size, doc, entry->revision);
    json_decref(doc);
    return more;
}

enum tp_err doc_each(struct store *store, const char *prefix, const char *start_after, doc_each_fn *fn, void *ctx,
                     struct tp_error *error)
{
    struct each each = {.prefix_size = strlen(prefix), .fn = fn, .ctx = ctx};
    char *after = start_after != NULL && start_after[0] != '\0' ? mem_printf("%s%s", prefix, start_after) : NULL;
    enum tp_err err = store_range(store, prefix, after, 0, each_entry, &each, error);
    mem_free(after);
    return err;
}

enum tp_err doc_each_back(struct store *store, const char *prefix, const char *before, doc_each_fn *fn, void *ctx,
                          struct tp_error *error)
{
    struct each each = {.prefix_size = strlen(prefix), .fn = fn, .ctx = ctx};
    char *key = before != NULL && before[0] != '\0' ? mem_printf("%s%s", prefix, before) : NULL;
    enum tp_err err = store_range_back(store, prefix, key, 0, each_entry, &each, error);
    mem_free(key);
    return err;
}

void doc_hash(const char *text, char out[HASH_TEXT_SIZE])
{
    uint8_t hash[32];
    crypt_sha256(text, strlen(text), hash);
    char *hex = enc_hex(hash, sizeof hash);
    memcpy(out, hex, HASH_TEXT_SIZE);
    mem_free(hex);
}

enum tp_err doc_text_list(const json_t *list, const char *key, size_t max, struct tp_error *error)
{
    if (!json_is_array(list)) {
        return err_set(error, TP_INVALID, "%s must be a list", key);
    }
    if (json_array_size(list) > max) {
        return err_set(error, TP_INVALID, "%s has more than %zu entries", key, max);
    }
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        const char *text = json_string_value(item);
        if (text == NULL || text[0] == '\0' || strlen(text) != json_string_length(item)) {
            return err_set(error, TP_INVALID, "%s must hold non-empty texts only", key);
        }
    }
    return TP_OK;
}

json_t *doc_time(int64_t ms)
{
    char text[CLOCK_TEXT_SIZE];
    clock_format_ms(ms, text);
    return json_string(text);
}

int64_t doc_ms(const json_t *object, const char *key)
{
    const char *text = json_get_text(object, key, NULL);
    int64_t ms = 0;
    if (text == NULL || clock_parse_ms(text, &ms) != TP_OK) {
        return 0;
    }
    return ms;
}

size_t doc_weight(const json_t *item)
{
    return json_dumpb(item, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY) + 1;
}

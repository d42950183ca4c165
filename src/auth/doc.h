/* JSON documents in a store: read and written at once (doc.c), or with all others of a tick (batch.c). */
#ifndef AUTH_DOC_H
#define AUTH_DOC_H

#include "base/err.h"
#include "base/json.h"
#include "store/store.h"

#include <jansson.h>

struct auth;

enum tp_err doc_get(struct store *store, const char *key, json_t **ret_doc, uint64_t *ret_revision,
                    struct tp_error *error) TP_MUST;
/* The document that the store gave for key, as text. TP_CORRUPT with a sentence. */
enum tp_err doc_parse(const char *key, const void *text, size_t size, json_t **ret_doc, struct tp_error *error) TP_MUST;
/* doc_get with the key made of prefix and name. */
enum tp_err doc_find(struct store *store, const char *prefix, const char *name, json_t **ret_doc,
                     uint64_t *ret_revision, struct tp_error *error) TP_MUST;
/* doc stays the caller's. */
enum tp_err doc_put(struct store *store, const char *prefix, const char *name, const json_t *doc, uint64_t expected,
                    uint64_t *ret_revision, struct tp_error *error) TP_MUST;
enum tp_err doc_delete(struct store *store, const char *prefix, const char *name, struct tp_error *error) TP_MUST;
/* fn for each document below prefix; name is the key without prefix. false ends it. Documents that do not parse are
 * logged and passed over. start_after is a name or NULL. */
typedef bool doc_each_fn(void *ctx, const char *name, const json_t *doc, uint64_t revision);
enum tp_err doc_each(struct store *store, const char *prefix, const char *start_after, doc_each_fn *fn, void *ctx,
                     struct tp_error *error) TP_MUST;
/* The same from the last name back, before a name or (NULL, "") from the last one. */
enum tp_err doc_each_back(struct store *store, const char *prefix, const char *before, doc_each_fn *fn, void *ctx,
                          struct tp_error *error) TP_MUST;
/* 64 hex digits: SHA-256 of a text. */
#define HASH_TEXT_SIZE 65
void doc_hash(const char *text, char out[HASH_TEXT_SIZE]);
/* An array of strings that are all non-empty texts, at most max. */
enum tp_err doc_text_list(const json_t *list, const char *key, size_t max, struct tp_error *error) TP_MUST;
/* "2026-..." of milliseconds as a JSON string. */
json_t *doc_time(int64_t ms) TP_MUST;
/* Milliseconds of a time text, 0 when it is absent or broken. */
int64_t doc_ms(const json_t *object, const char *key) TP_MUST;
/* A page of any list ends early when its items weigh more, so that it fits into a frame whoever filled them. */
#define LIST_BYTES_MAX ((size_t)4 * 1024 * 1024)
/* Bytes that an item takes there. */
size_t doc_weight(const json_t *item);

/* batch.c: writes to the state store that may wait for the end of the tick. */
/* A document that the store could never take is logged and left out. */
void batch_put(struct auth *auth, const char *prefix, const char *name, const json_t *doc);
/* The key must have been written before: a delete of nothing fails the whole batch. */
void batch_delete(struct auth *auth, const char *prefix, const char *name);
/* Writes all of it in one commit. The batch is empty afterwards, also on failure: the owners then put everything anew. */
enum tp_err batch_commit(struct auth *auth, struct tp_error *error) TP_MUST;
void batch_free(struct auth *auth);

#endif

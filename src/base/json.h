/*
 * Reading JSON objects (jansson) without surprises: a missing key, a wrong type, or a string with a NUL inside is an
 * error with the key's name. Strings stay owned by the object.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/err.h"

#include <jansson.h>

/* Parses size bytes as one JSON object, at most limit bytes, no duplicate keys. The caller json_decref's it. */
enum tp_err json_parse_object(const void *data, size_t size, size_t limit, json_t **ret_object,
                              struct tp_error *error) TP_MUST;
/* The same, and refused (TP_TOO_LARGE) before it is parsed when its tree could take more than memory bytes: a list of empty
 * lists takes forty times its text. */
enum tp_err json_parse_bounded(const void *data, size_t size, size_t memory, json_t **ret_object,
                               struct tp_error *error) TP_MUST;
/* Compact text, keys in insertion order; mem_free it. */
char *json_text(const json_t *value) TP_MUST;

/* Required members. */
enum tp_err json_need_text(const json_t *object, const char *key, const char **ret_text,
                           struct tp_error *error) TP_MUST;
enum tp_err json_need_int(const json_t *object, const char *key, int64_t *ret_value, struct tp_error *error) TP_MUST;
enum tp_err json_need_object(const json_t *object, const char *key, json_t **ret_value, struct tp_error *error) TP_MUST;
enum tp_err json_need_array(const json_t *object, const char *key, json_t **ret_value, struct tp_error *error) TP_MUST;
/* Members that may be absent (or null): the default is returned; a wrong type gives the default too. */
const char *json_get_text(const json_t *object, const char *key, const char *otherwise);
int64_t json_get_int(const json_t *object, const char *key, int64_t otherwise);
bool json_get_bool(const json_t *object, const char *key, bool otherwise);
/* True when list is an array that holds the string text. */
bool json_list_has(const json_t *list, const char *text);
/* Puts the items of an array in order; compare is strcmp-like. */
void json_array_sort(json_t *list, int (*compare)(const json_t *left, const json_t *right));

/* The labels of a resource, for decisions, lists and filters alike: static {"k":"v"}, and over them dynamic
 * {"k":{"result":"v"}} or {"k":"v"}: as in Teleport, what a command printed hides the static value of the same name. Either may
 * be NULL; values that are no texts are left out. fn is called once for each name; its strings belong to the JSON. */
typedef void json_label_fn(void *ctx, const char *name, const char *value);
void json_labels_each(const json_t *labels, const json_t *dynamic, json_label_fn *fn, void *ctx);
/* The same as {"k":"v"}, the caller's. */
json_t *json_labels(const json_t *labels, const json_t *dynamic) TP_MUST;

#endif

/* Results as people and scripts want them. */
#ifndef CLI_COMMON_OUTPUT_H
#define CLI_COMMON_OUTPUT_H

#include "base/json.h"
#include "cli/common/command.h"

/* Writes value as indented JSON and a newline to standard output. Control characters are escaped by the form itself. */
void output_json(const json_t *value);
/* The same as YAML; an array is written as documents separated by "---" when documents is set. */
void output_yaml(const json_t *value, bool documents);
/* Writes text made safe for a terminal (text_safe), without a newline. */
void output_safe(const char *text);

/* Reads "a=b,c=d" (several texts: joined) into a new JSON object; values may stand in double quotes. TP_INVALID with a
 * sentence when a part has no '='. The caller json_decref's it. */
enum tp_err output_parse_labels(char *const *texts, size_t count, json_t **ret_labels, struct tp_error *error) TP_MUST;
/* Parameters of a list (nodes.list, kube.list) out of the command line: labels as arguments, --search, --query. The caller
 * json_decref's them. */
enum tp_err output_list_params(const struct command_line *line, json_t **ret_params, struct tp_error *error) TP_MUST;
/* "a=b,c=d" of an object of strings, sorted by key; mem_free it. */
char *output_labels(const json_t *labels) TP_MUST;
/* "a, b" of an array of strings; mem_free it. */
char *output_list(const json_t *list, const char *separator) TP_MUST;
/* ["a","b"] out of "a,b"; blanks and empty parts are dropped. json_decref it. */
json_t *output_split(const char *text) TP_MUST;
/* The member at a path such as "spec.hostname", or NULL. */
const json_t *output_at(const json_t *object, const char *path);
/* The same as text; "" when it is absent or no string. */
const char *output_text_at(const json_t *object, const char *path);
/* All labels of a node, kube_server or kube_cluster: metadata.labels and over them what its commands printed. json_decref it. */
json_t *output_node_labels(const json_t *resource) TP_MUST;
/* RFC 3339 text as "2025-03-21 04:39:52" of UTC; "" when it is none. mem_free it. */
char *output_time(const char *rfc3339) TP_MUST;
/* "12h0m0s" of whole seconds. mem_free it. */
char *output_seconds(int64_t seconds) TP_MUST;

#endif

/*
 * A YAML document as a tree of maps, lists and scalars, each with its line, so that an error can name line and key.
 * Aliases and anchors, tags, duplicate keys and tabs as indentation are refused; depth, size and node count are bounded.
 */
#ifndef BASE_NODE_H
#define BASE_NODE_H

#include "base/err.h"

#include <jansson.h>

#define NODE_MAX_BYTES ((size_t)1024 * 1024) /* one resource or configuration file (behaviour.md 17: 1 MB) */
#define NODE_MAX_DEPTH 32
#define NODE_MAX_NODES 100000

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
    enum node_kind kind;
    int line;       /* from 1 */
    int column;     /* from 1 */
    bool quoted;    /* scalar: stood in quotes or a block, so it is a string whatever it looks like */
    char *text;     /* scalar */
    size_t count;   /* list, map: number of children */
    char **keys;    /* map: the key of each child, in the order of the file */
    int *key_lines; /* map: the line of each key */
    struct node **items;
};

/* All documents of a YAML text (JSON is YAML too). Empty documents are left out. file is the name used in messages
 * ("tport.conf", "-"). The caller frees each with node_free and the array with mem_free. */
enum tp_err node_parse(const char *text, size_t size, const char *file, struct node ***ret_documents, size_t *ret_count,
                       struct tp_error *error) TP_MUST;
/* The same with other bounds: for files of this machine's own user, such as thousands of access cases. */
enum tp_err node_parse_large(const char *text, size_t size, const char *file, size_t most_bytes, size_t most_nodes,
                             struct node ***ret_documents, size_t *ret_count, struct tp_error *error) TP_MUST;
/* Exactly one document, or TP_INVALID. */
enum tp_err node_parse_one(const char *text, size_t size, const char *file, struct node **ret_node,
                           struct tp_error *error) TP_MUST;
void node_free(struct node *node);

/* The child of a map, or NULL (also when node is NULL or no map). */
const struct node *node_get(const struct node *node, const char *key);
/* The text of a scalar child, or otherwise. */
const char *node_get_text(const struct node *node, const char *key, const char *otherwise);
/* A scalar that is null: plain and empty, ~ or null. */
bool node_is_null(const struct node *node);
/* yes/no/true/false/on/off in any case, quoted or not (behaviour.md 1.2, 11). */
enum tp_err node_bool(const struct node *node, bool *ret_value) TP_MUST;
/* A decimal integer. */
enum tp_err node_int(const struct node *node, int64_t *ret_value) TP_MUST;

/* YAML core schema: plain true/false, null, integers and decimals become JSON of that type, the rest strings. Whole
 * numbers outside int64 stay strings. The caller json_decref's it. */
json_t *node_to_json(const struct node *node) TP_MUST;
/* The same, but a scalar that its type would print differently (True, 1.10, +5) stays a string: what was written comes
 * back. For resources, where every such value is read as text again. */
json_t *node_to_json_exact(const struct node *node) TP_MUST;
/* The tree of a JSON value, which stands in one line. file is the name used in messages. */
enum tp_err node_from_json(const json_t *value, const char *file, struct node **ret_node,
                           struct tp_error *error) TP_MUST;
/* JSON to YAML text as people write it (block style, keys in order, strings quoted only where YAML needs it).
 * mem_free it. */
char *node_yaml_from_json(const json_t *value) TP_MUST;

#endif

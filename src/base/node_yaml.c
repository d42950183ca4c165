/* YAML text to nodes, over the events of libyaml. */
#include "base/mem.h"
#include "base/node.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define NODE_SHOWN 80 /* bytes of a key that a message repeats */

/* A map or list that is still open. */
struct level {
    struct node *node;
    size_t capacity;
    char *key; /* map: the key whose value comes next */
    int key_line;
};

struct reader {
    const char *text;
    size_t size;
    const char *file;
    struct tp_error *error;
    yaml_parser_t parser;
    struct level levels[NODE_MAX_DEPTH];
    size_t depth;
    size_t nodes;
    size_t most_nodes;
    struct node *root; /* of the document being read, once complete */
    struct node **documents;
    size_t count;
};

/* Copies text for a message: shortened, control bytes replaced. */
static void show(const char *text, char out[NODE_SHOWN + 4])
{
    size_t length = strnlen(text, NODE_SHOWN + 1);
    bool cut = length > NODE_SHOWN;
    if (cut) {
        length = NODE_SHOWN;
        while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80)
            length--;
    }
    for (size_t i = 0; i < length; i++)
        out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7F ? '?' : text[i];
    memcpy(out + length, cut ? "..." : "", cut ? 4 : 1);
}

static int line_of(const yaml_event_t *event)
{
    return (int)event->start_mark.line + 1;
}

static bool tab_indents(const struct reader *reader, size_t line)
{
    const char *at = reader->text;
    const char *end = reader->text + reader->size;
    while (line > 0 && at < end) {
        const char *next = memchr(at, '\n', (size_t)(end - at));
        if (!next)
            return false;
        at = next + 1;
        line--;
    }
    while (at < end && *at == ' ')
        at++;
    return at < end && *at == '\t';
}

/* The sentence for what libyaml did not like. */
static enum tp_err parser_failed(struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    size_t line = parser->problem_mark.line;
    const char *problem = parser->problem ? parser->problem : "not valid";
    if (parser->error == YAML_READER_ERROR) {
        line = 0;
        for (size_t i = 0; i < parser->problem_offset && i < reader->size; i++)
            line += reader->text[i] == '\n';
        return err_set(reader->error, TP_INVALID, "%s:%zu: this is not UTF-8 text (%s)", reader->file, line + 1,
                       problem);
    }
    if (tab_indents(reader, line))
        return err_set(reader->error, TP_INVALID, "%s:%zu: tabs cannot indent YAML, use spaces", reader->file,
                       line + 1);
    if (parser->context)
        return err_set(reader->error, TP_INVALID, "%s:%zu: this is not valid YAML: %s (%s that began in line %zu)",
                       reader->file, line + 1, problem, parser->context, parser->context_mark.line + 1);
    return err_set(reader->error, TP_INVALID, "%s:%zu: this is not valid YAML: %s", reader->file, line + 1, problem);
}

/* Hangs a complete or just opened node below the innermost open one, or makes it the root. */
static void attach(struct reader *reader, struct node *node)
{
    struct level *level;
    if (reader->depth == 0) {
        reader->root = node;
        return;
    }
    level = &reader->levels[reader->depth - 1];
    if (level->node->count == level->capacity) {
        level->capacity = level->capacity ? level->capacity * 2 : 4;
        level->node->items = mem_resize(level->node->items, level->capacity * sizeof(*level->node->items));
        if (level->node->kind == NODE_MAP) {
            level->node->keys = mem_resize(level->node->keys, level->capacity * sizeof(*level->node->keys));
            level->node->key_lines =
                mem_resize(level->node->key_lines, level->capacity * sizeof(*level->node->key_lines));
        }
    }
    if (level->node->kind == NODE_MAP) {
        level->node->keys[level->node->count] = level->key;
        level->node->key_lines[level->node->count] = level->key_line;
        level->key = NULL;
    }
    level->node->items[level->node->count++] = node;
}

static enum tp_err new_node(struct reader *reader, const yaml_event_t *event, enum node_kind kind,
                            struct node **ret_node)
{
    struct node *node;
    if (++reader->nodes > reader->most_nodes)
        return err_set(reader->error, TP_TOO_LARGE, "%s:%d: more than %zu values, split the file", reader->file,
                       line_of(event), reader->most_nodes);
    node = mem_alloc(sizeof(*node));
    node->kind = kind;
    node->line = line_of(event);
    node->column = (int)event->start_mark.column + 1;
    *ret_node = node;
    return TP_OK;
}

static bool key_is_next(const struct reader *reader)
{
    const struct level *level = reader->depth > 0 ? &reader->levels[reader->depth - 1] : NULL;
    return level && level->node->kind == NODE_MAP && !level->key;
}

static enum tp_err open_level(struct reader *reader, const yaml_event_t *event, enum node_kind kind, const void *anchor,
                              const void *tag)
{
    struct node *node = NULL;
    enum tp_err err;
    if (anchor || tag)
        return err_set(reader->error, TP_INVALID, "%s:%d: YAML %s are not allowed here, write the value out",
                       reader->file, line_of(event), anchor ? "anchors (&name)" : "tags (!name)");
    if (key_is_next(reader))
        return err_set(reader->error, TP_INVALID,
                       "%s:%d: a key must be a plain text, not a list or a map; text that "
                       "begins with { or [ needs quotes",
                       reader->file, line_of(event));
    if (reader->depth == NODE_MAX_DEPTH)
        return err_set(reader->error, TP_INVALID, "%s:%d: nested deeper than %d levels", reader->file, line_of(event),
                       NODE_MAX_DEPTH);
    err = new_node(reader, event, kind, &node);
    if (err != TP_OK)
        return err;
    attach(reader, node);
    reader->levels[reader->depth++] = (struct level){.node = node};
    return TP_OK;
}

struct key_place {
    const char *key;
    int line;
};

static int compare_keys(const void *a, const void *b)
{
    const struct key_place *left = a;
    const struct key_place *right = b;
    int order = strcmp(left->key, right->key);
    return order != 0 ? order : (left->line > right->line) - (left->line < right->line);
}

/* A file that was pasted without its indentation: what belongs below "metadata:" stands beside it. Its sign is an empty
 * key between two equal ones, which then was to be the parent of the second. Says where the first level was lost. */
static bool indentation_lost(const struct node *map, int first, int second, size_t *ret_parent)
{
    bool found = false, between = false;
    for (size_t i = 0; i + 1 < map->count; i++) {
        int line = map->key_lines[i];
        if (!node_is_null(map->items[i]) || map->key_lines[i + 1] == line)
            continue;
        if (!found)
            *ret_parent = i;
        found = true;
        between = between || (line > first && line < second);
    }
    return between;
}

static enum tp_err stands_twice(struct reader *reader, const struct node *map, const struct key_place *first,
                                const struct key_place *second)
{
    char shown[NODE_SHOWN + 4], parent[NODE_SHOWN + 4], child[NODE_SHOWN + 4];
    size_t place = 0;
    show(second->key, shown);
    if (!indentation_lost(map, first->line, second->line, &place))
        return err_set(reader->error, TP_INVALID, "%s:%d: the key \"%s\" stands twice, first in line %d; remove one",
                       reader->file, second->line, shown, first->line);
    show(map->keys[place], parent);
    show(map->keys[place + 1], child);
    return err_set(reader->error, TP_INVALID,
                   "%s:%d: the indentation was lost: \"%s\" stands beside the empty \"%s\" of line %d, not below it "
                   "(and so \"%s\" stands twice, in lines %d and %d); indent what belongs to a key",
                   reader->file, map->key_lines[place + 1], child, parent, map->key_lines[place], shown, first->line,
                   second->line);
}

/* Sorted rather than compared pairwise: a map of tens of thousands of keys must not cost seconds. */
static enum tp_err refuse_duplicates(struct reader *reader, const struct node *map)
{
    struct key_place *places = mem_array(map->count + 1, sizeof(*places));
    enum tp_err err = TP_OK;
    for (size_t i = 0; i < map->count; i++)
        places[i] = (struct key_place){map->keys[i], map->key_lines[i]};
    qsort(places, map->count, sizeof(*places), compare_keys);
    for (size_t i = 1; i < map->count && err == TP_OK; i++) {
        if (strcmp(places[i - 1].key, places[i].key) == 0)
            err = stands_twice(reader, map, &places[i - 1], &places[i]);
    }
    mem_free(places);
    return err;
}

static enum tp_err close_level(struct reader *reader)
{
    struct node *node = reader->levels[--reader->depth].node;
    return node->kind == NODE_MAP ? refuse_duplicates(reader, node) : TP_OK;
}

static enum tp_err take_scalar(struct reader *reader, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    struct node *node = NULL;
    enum tp_err err;
    if (event->data.scalar.anchor || event->data.scalar.tag)
        return err_set(reader->error, TP_INVALID,
                       "%s:%d: YAML %s are not allowed here, write the value out; text that "
                       "begins with & or ! needs quotes",
                       reader->file, line_of(event), event->data.scalar.anchor ? "anchors (&name)" : "tags (!name)");
    if (memchr(text, 0, length))
        return err_set(reader->error, TP_INVALID, "%s:%d: a text may not hold a NUL character", reader->file,
                       line_of(event));
    if (key_is_next(reader)) {
        struct level *level = &reader->levels[reader->depth - 1];
        /* Other readers put what stands behind it into the map, also over what the map says itself. */
        if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(text, "<<") == 0)
            return err_set(reader->error, TP_INVALID,
                           "%s:%d: YAML merge keys (<<) are not allowed here, write the values out", reader->file,
                           line_of(event));
        level->key = mem_strndup(text, length);
        level->key_line = line_of(event);
        return TP_OK;
    }
    err = new_node(reader, event, NODE_SCALAR, &node);
    if (err != TP_OK)
        return err;
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->text = mem_strndup(text, length);
    attach(reader, node);
    return TP_OK;
}

static void end_document(struct reader *reader)
{
    struct node *root = reader->root;
    reader->root = NULL;
    if (!root)
        return;
    if (root->kind == NODE_SCALAR && !root->quoted && root->text[0] == '\0') {
        node_free(root);
        return;
    }
    reader->documents = mem_resize(reader->documents, (reader->count + 1) * sizeof(*reader->documents));
    reader->documents[reader->count++] = root;
}

static enum tp_err take_event(struct reader *reader, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (event->data.document_start.tag_directives.start != event->data.document_start.tag_directives.end)
            return err_set(reader->error, TP_INVALID, "%s:%d: YAML tags are not allowed here, remove %%TAG",
                           reader->file, line_of(event));
        return TP_OK;
    case YAML_DOCUMENT_END_EVENT:
        end_document(reader);
        return TP_OK;
    case YAML_ALIAS_EVENT:
        return err_set(reader->error, TP_INVALID,
                       "%s:%d: YAML aliases (*name) are not allowed here, write the value out; "
                       "text that begins with * needs quotes: '*'",
                       reader->file, line_of(event));
    case YAML_SCALAR_EVENT:
        return take_scalar(reader, event);
    case YAML_SEQUENCE_START_EVENT:
        return open_level(reader, event, NODE_LIST, event->data.sequence_start.anchor, event->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return open_level(reader, event, NODE_MAP, event->data.mapping_start.anchor, event->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return close_level(reader);
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    default:
        return TP_OK;
    }
}

static enum tp_err read_all(struct reader *reader)
{
    enum tp_err err = TP_OK;
    bool end = false;
    while (err == TP_OK && !end) {
        yaml_event_t event;
        if (!yaml_parser_parse(&reader->parser, &event))
            return parser_failed(reader);
        end = event.type == YAML_STREAM_END_EVENT || event.type == YAML_NO_EVENT;
        err = take_event(reader, &event);
        yaml_event_delete(&event);
    }
    return err;
}

static void free_documents(struct node **documents, size_t count)
{
    for (size_t i = 0; i < count; i++)
        node_free(documents[i]);
    mem_free(documents);
}

enum tp_err node_parse(const char *text, size_t size, const char *file, struct node ***ret_documents, size_t *ret_count,
                       struct tp_error *error)
{
    return node_parse_large(text, size, file, NODE_MAX_BYTES, NODE_MAX_NODES, ret_documents, ret_count, error);
}

enum tp_err node_parse_large(const char *text, size_t size, const char *file, size_t most_bytes, size_t most_nodes,
                             struct node ***ret_documents, size_t *ret_count, struct tp_error *error)
{
    struct reader reader = {.text = text, .size = size, .file = file, .error = error, .most_nodes = most_nodes};
    enum tp_err err;
    *ret_documents = NULL;
    *ret_count = 0;
    if (size > most_bytes)
        return err_set(error, TP_TOO_LARGE, "%s:1: the file has %zu bytes, at most %zu are read; split it", file, size,
                       most_bytes);
    if (!yaml_parser_initialize(&reader.parser))
        return err_set(error, TP_INTERNAL, "%s: the YAML reader could not be started", file);
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, size);
    err = read_all(&reader);
    yaml_parser_delete(&reader.parser);
    if (err != TP_OK) {
        for (size_t i = 0; i < reader.depth; i++)
            mem_free(reader.levels[i].key);
        node_free(reader.root ? reader.root : reader.depth > 0 ? reader.levels[0].node : NULL);
        free_documents(reader.documents, reader.count);
        return err;
    }
    *ret_documents = reader.documents;
    *ret_count = reader.count;
    return TP_OK;
}

enum tp_err node_parse_one(const char *text, size_t size, const char *file, struct node **ret_node,
                           struct tp_error *error)
{
    struct node **documents = NULL;
    size_t count = 0;
    enum tp_err err = node_parse(text, size, file, &documents, &count, error);
    *ret_node = NULL;
    if (err != TP_OK)
        return err;
    if (count != 1) {
        err = count == 0 ? err_set(error, TP_INVALID, "%s:1: the file is empty", file)
                         : err_set(error, TP_INVALID,
                                   "%s:%d: a second document begins here, only one is expected; remove "
                                   "the line ---",
                                   file, documents[1]->line);
        free_documents(documents, count);
        return err;
    }
    *ret_node = documents[0];
    mem_free(documents);
    return TP_OK;
}

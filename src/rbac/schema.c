#include "rbac/schema.h"

#include "base/clock.h"
#include "base/mem.h"
#include "rbac/names.h"

#include <stdio.h>
#include <string.h>

#define PATH_SIZE 256
#define KEYS_MAX 96

/* Of one that is neither a single value nor empty. */
static const char *kind_text(const struct node *node)
{
    return node->kind == NODE_MAP ? "a map" : "a list";
}

static enum tp_err wrong(const struct node *node, const char *path, const char *wanted, struct tp_error *error)
{
    if (node->kind == NODE_SCALAR && !node_is_null(node))
        return err_set(error, TP_INVALID, "line %d: \"%s\" must be %s, not \"%.80s\"", node->line, path, wanted,
                       node->text);
    return err_set(error, TP_INVALID, "line %d: \"%s\" must be %s, not %s", node->line, path, wanted,
                   node_is_null(node) ? "empty" : kind_text(node));
}

static bool is_text(const struct node *node)
{
    return node->kind == NODE_SCALAR && !node_is_null(node);
}

static enum tp_err check_texts(const struct node *node, const char *path, struct tp_error *error)
{
    if (node->kind != NODE_LIST)
        return wrong(node, path, "a list of texts", error);
    for (size_t i = 0; i < node->count; i++)
        if (!is_text(node->items[i]))
            return wrong(node->items[i], path, "a list of texts", error);
    return TP_OK;
}

static enum tp_err check_word(const struct node *node, const struct schema *entry, const char *path,
                              struct tp_error *error)
{
    const char *meant;
    if (!is_text(node))
        return wrong(node, path, "one word", error);
    if (names_listed(entry->words, node->text))
        return TP_OK;
    meant = names_nearest(entry->words, node->text);
    if (meant && strcmp(entry->key, "version") != 0) /* of versions all are as near to each other */
        return err_set(error, TP_INVALID, "line %d: \"%s\" cannot be \"%.80s\"; did you mean \"%s\"?", node->line, path,
                       node->text, meant);
    char *all = names_or(entry->words);
    enum tp_err err = err_set(error, TP_INVALID, "line %d: \"%s\" cannot be \"%.80s\"; it is %s here", node->line, path,
                              node->text, all);
    mem_free(all);
    return err;
}

static enum tp_err check_map_of(const struct node *node, bool lists, bool nulls, const char *path,
                                struct tp_error *error)
{
    if (node->kind != NODE_MAP)
        return wrong(node, path, "a map", error);
    for (size_t i = 0; i < node->count; i++) {
        const struct node *item = node->items[i];
        char inner[PATH_SIZE];
        snprintf(inner, sizeof inner, "%.180s.%.60s", path, node->keys[i]);
        if (item->kind == NODE_LIST && lists) {
            enum tp_err result = check_texts(item, inner, error);
            if (result)
                return result;
        } else if (!is_text(item) && !(nulls && node_is_null(item))) {
            return wrong(item, inner, lists ? "a text or a list of texts" : "a text", error);
        }
    }
    return TP_OK;
}

static enum tp_err check_scalar(const struct node *node, const struct schema *entry, const char *path,
                                struct tp_error *error)
{
    bool flag;
    int64_t number;
    if (!is_text(node))
        return wrong(node, path, entry->type == SCHEMA_TEXT ? "a text" : "a single value", error);
    switch (entry->type) {
    case SCHEMA_BOOL:
        return node_bool(node, &flag) ? wrong(node, path, "true or false", error) : TP_OK;
    case SCHEMA_INT:
        return node_int(node, &number) || number < 0 ? wrong(node, path, "a whole number from 0", error) : TP_OK;
    case SCHEMA_IDLE:
        if (strcmp(node->text, "never") == 0)
            return TP_OK;
        /* fall through */
    case SCHEMA_DURATION:
        if (clock_parse_duration_ms(node->text, &number) == TP_OK)
            return TP_OK;
        return wrong(node, path, "a duration such as 8h0m0s", error);
    case SCHEMA_TIME:
        return clock_parse_ms(node->text, &number) ? wrong(node, path, "a time such as 2030-01-31T12:00:00Z", error)
                                                   : TP_OK;
    default:
        return TP_OK;
    }
}

static enum tp_err check_maps(const struct node *node, const struct schema *entry, const char *path,
                              struct tp_error *error)
{
    if (node->kind != NODE_LIST)
        return wrong(node, path, "a list of maps", error);
    for (size_t i = 0; i < node->count; i++) {
        char inner[PATH_SIZE];
        enum tp_err result;
        snprintf(inner, sizeof inner, "%.200s[%zu]", path, i);
        result = schema_check(node->items[i], entry->sub, inner, error);
        if (result)
            return result;
    }
    return TP_OK;
}

static enum tp_err check_value(const struct node *node, const struct schema *entry, const char *path,
                               struct tp_error *error)
{
    switch (entry->type) {
    case SCHEMA_ANY:
        return TP_OK;
    case SCHEMA_TEXTS:
        return check_texts(node, path, error);
    case SCHEMA_VALUES:
        if (is_text(node))
            return TP_OK;
        return node->kind == NODE_LIST ? check_texts(node, path, error)
                                       : wrong(node, path, "a text or a list of texts", error);
    case SCHEMA_TEXT_MAP:
        return check_map_of(node, false, false, path, error);
    case SCHEMA_LABELS:
        return check_map_of(node, true, false, path, error);
    case SCHEMA_TRAITS:
        return check_map_of(node, true, true, path, error);
    case SCHEMA_WORD:
        return check_word(node, entry, path, error);
    case SCHEMA_WORDS:
        if (node->kind != NODE_LIST)
            return wrong(node, path, "a list of words", error);
        for (size_t i = 0; i < node->count; i++) {
            enum tp_err result = check_word(node->items[i], entry, path, error);
            if (result)
                return result;
        }
        return TP_OK;
    case SCHEMA_MAP:
        return schema_check(node, entry->sub, path, error);
    case SCHEMA_MAPS:
        return check_maps(node, entry, path, error);
    default:
        return check_scalar(node, entry, path, error);
    }
}

static const struct schema *entry_of(const struct schema *table, const char *key)
{
    while (table->key && strcmp(table->key, key) != 0)
        table++;
    return table->key ? table : NULL;
}

/* The key is one of those that belong below the empty key before it: a file that lost its indentation. */
static bool beside_its_parent(const struct node *map, size_t index, const struct schema *table)
{
    const struct schema *parent = index > 0 ? entry_of(table, map->keys[index - 1]) : NULL;
    return parent && parent->type == SCHEMA_MAP && node_is_null(map->items[index - 1]) &&
           entry_of(parent->sub, map->keys[index]);
}

static enum tp_err unknown_key(const struct node *map, size_t index, const struct schema *table, const char *where,
                               struct tp_error *error)
{
    const char *keys[KEYS_MAX + 1];
    const char *meant;
    size_t count = 0;
    if (beside_its_parent(map, index, table))
        return err_set(error, TP_INVALID,
                       "line %d: the indentation was lost: \"%.80s\" stands beside the empty \"%s\" of line %d, not "
                       "below it; indent what belongs to a key",
                       map->key_lines[index], map->keys[index], map->keys[index - 1], map->key_lines[index - 1]);
    for (; table->key && count < KEYS_MAX; table++)
        keys[count++] = table->key;
    keys[count] = NULL;
    meant = names_nearest(keys, map->keys[index]);
    return err_set(error, TP_INVALID, "line %d: unknown key \"%.80s\"%s%s%s%s%s", map->key_lines[index],
                   map->keys[index], *where ? " in " : "", where, meant ? "; did you mean \"" : "", meant ? meant : "",
                   meant ? "\"?" : "");
}

enum tp_err schema_check(const struct node *map, const struct schema *table, const char *where, struct tp_error *error)
{
    if (map->kind != NODE_MAP)
        return wrong(map, *where ? where : "the document", "a map", error);
    for (size_t i = 0; i < map->count; i++) {
        const struct schema *entry = entry_of(table, map->keys[i]);
        char path[PATH_SIZE];
        enum tp_err result;
        if (!entry)
            return unknown_key(map, i, table, where, error);
        if (node_is_null(map->items[i]))
            continue;
        snprintf(path, sizeof path, "%.180s%s%.60s", where, *where ? "." : "", map->keys[i]);
        result = check_value(map->items[i], entry, path, error);
        if (result)
            return result;
    }
    for (const struct schema *entry = table; entry->key; entry++)
        if (entry->required && !schema_get(map, entry->key))
            return err_set(error, TP_INVALID, "line %d: \"%s%s%s\" is missing", map->line, where, *where ? "." : "",
                           entry->key);
    return TP_OK;
}

const struct node *schema_get(const struct node *map, const char *key)
{
    const struct node *child = node_get(map, key);
    return child && !node_is_null(child) ? child : NULL;
}

int64_t schema_duration(const struct node *map, const char *key)
{
    const struct node *child = schema_get(map, key);
    int64_t ms;
    if (!child || child->kind != NODE_SCALAR || clock_parse_duration_ms(child->text, &ms))
        return 0;
    return ms;
}

bool schema_bool(const struct node *map, const char *key, bool otherwise)
{
    const struct node *child = schema_get(map, key);
    bool value;
    return node_bool(child, &value) == TP_OK ? value : otherwise;
}

int64_t schema_int(const struct node *map, const char *key, int64_t otherwise)
{
    const struct node *child = schema_get(map, key);
    int64_t value;
    return node_int(child, &value) == TP_OK ? value : otherwise;
}

int64_t schema_time(const struct node *map, const char *key)
{
    const struct node *child = schema_get(map, key);
    int64_t ms;
    if (!child || child->kind != NODE_SCALAR || clock_parse_ms(child->text, &ms))
        return 0;
    return ms;
}

void schema_forget_line(struct tp_error *error)
{
    static const char only_line[] = "line 1: ";
    size_t length = sizeof(only_line) - 1;
    if (error && strncmp(error->text, only_line, length) == 0)
        memmove(error->text, error->text + length, strlen(error->text + length) + 1);
}

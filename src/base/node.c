/* Reading a tree of nodes. */
#include "base/node.h"

#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void node_free(struct node *node)
{
    if (!node)
        return;
    for (size_t i = 0; i < node->count; i++) {
        node_free(node->items[i]);
        if (node->keys)
            mem_free(node->keys[i]);
    }
    mem_free(node->items);
    mem_free(node->keys);
    mem_free(node->key_lines);
    if (node->text)
        secret_free(node->text); /* a resource or a configuration may hold a token */
    mem_free(node);
}

const struct node *node_get(const struct node *node, const char *key)
{
    if (!node || node->kind != NODE_MAP)
        return NULL;
    for (size_t i = 0; i < node->count; i++) {
        if (strcmp(node->keys[i], key) == 0)
            return node->items[i];
    }
    return NULL;
}

const char *node_get_text(const struct node *node, const char *key, const char *otherwise)
{
    const struct node *child = node_get(node, key);
    return child && child->kind == NODE_SCALAR ? child->text : otherwise;
}

bool node_is_null(const struct node *node)
{
    if (node->kind != NODE_SCALAR || node->quoted)
        return false;
    return node->text[0] == '\0' || strcmp(node->text, "~") == 0 || strcasecmp(node->text, "null") == 0;
}

enum tp_err node_bool(const struct node *node, bool *ret_value)
{
    static const char *const yes[] = {"yes", "true", "on"};
    static const char *const no[] = {"no", "false", "off"};
    if (!node || node->kind != NODE_SCALAR)
        return TP_INVALID;
    for (size_t i = 0; i < 3; i++) {
        if (strcasecmp(node->text, yes[i]) == 0) {
            *ret_value = true;
            return TP_OK;
        }
        if (strcasecmp(node->text, no[i]) == 0) {
            *ret_value = false;
            return TP_OK;
        }
    }
    return TP_INVALID;
}

enum tp_err node_int(const struct node *node, int64_t *ret_value)
{
    const char *digits;
    char *end = NULL;
    intmax_t value;
    if (!node || node->kind != NODE_SCALAR)
        return TP_INVALID;
    digits = node->text;
    if (*digits == '-' || *digits == '+')
        digits++;
    if (*digits < '0' || *digits > '9')
        return TP_INVALID;
    errno = 0;
    value = strtoimax(node->text, &end, 10);
    if (errno != 0 || *end != '\0' || value < INT64_MIN || value > INT64_MAX)
        return TP_INVALID;
    *ret_value = value;
    return TP_OK;
}

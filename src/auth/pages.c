#include "auth/inner.h"
#include "auth/list.h"
#include "auth/pages.h"

#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 32
#define VALUE_MAX 200 /* bytes of a text that count for the order */
#define LIMIT_DEFAULT 1000
#define LIMIT_MAX 5000

struct entry {
    char *value; /* what it is sorted by */
    char *id;
    json_t *item;
};

struct order {
    const struct pages_column *column;
    bool descending;
};

/* ---- texts of an item ---- */

/* Text behind text, with what stands between them. */
static void add_text(struct buf *out, const char *between, const char *text)
{
    if (buf_size(out) > 0) {
        (void)buf_append_text(out, between);
    }
    (void)buf_append_text(out, text);
}

static void add_value(struct buf *out, const char *name, const json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;
    if (json_is_string(value) && name != NULL) {
        char *pair = mem_printf("%s=%s", name, json_string_value(value));
        add_text(out, " ", pair);
        mem_free(pair);
    } else if (json_is_string(value)) {
        add_text(out, " ", json_string_value(value));
    } else if (json_is_array(value)) {
        json_array_foreach (value, i, member) {
            add_value(out, name, member);
        }
    } else if (json_is_object(value)) {
        json_object_foreach ((json_t *)(uintptr_t)value, key, member) {
            add_value(out, key, member);
        }
    }
}

static void add_path(struct buf *out, const json_t *item, const char *path)
{
    size_t length = strcspn(path, ".");
    json_t *member;
    size_t i;
    if (json_is_array(item)) {
        json_array_foreach (item, i, member) {
            add_path(out, member, path);
        }
        return;
    }
    char *name = mem_strndup(path, length);
    const json_t *value = json_object_get(item, name);
    if (path[length] == '\0') {
        add_value(out, NULL, value);
    } else if (value != NULL) {
        add_path(out, value, path + length + 1);
    }
    mem_free(name);
}

/* All texts at the path; mem_free it. */
static char *text_at(const json_t *item, const char *path)
{
    const char *at = strchr(path, '@');
    struct buf out;
    if (at != NULL) {
        char *left_path = mem_strndup(path, (size_t)(at - path));
        char *left = text_at(item, left_path);
        char *right = text_at(item, at + 1);
        char *both = left[0] != '\0' ? mem_printf("%s@%s", left, right) : mem_strdup(right);
        mem_free(left_path);
        mem_free(left);
        mem_free(right);
        return both;
    }
    buf_init(&out, 0);
    add_path(&out, item, path);
    return buf_take(&out);
}

/* ---- what was asked for ---- */

static enum tp_err read_order(const struct pages *pages, const json_t *params, struct order *ret_order,
                              struct tp_error *error)
{
    const char *sort = json_get_text(params, "sort", "");
    size_t length = strcspn(sort, ":");
    const char *direction = sort[length] == ':' ? sort + length + 1 : "asc";
    *ret_order = (struct order){0};
    if (sort[0] == '\0') {
        return TP_OK;
    }
    for (const struct pages_column *column = pages->columns; column->name != NULL; column++) {
        if (strlen(column->name) == length && strncmp(column->name, sort, length) == 0) {
            ret_order->column = column;
        }
    }
    if (ret_order->column == NULL) {
        return err_set(error, TP_INVALID, "this list cannot be sorted by \"%.*s\"", length > 40 ? 40 : (int)length,
                       sort);
    }
    if (strcmp(direction, "asc") != 0 && strcmp(direction, "desc") != 0) {
        return err_set(error, TP_INVALID, "the order in \"sort\" is asc or desc, not \"%.40s\"", direction);
    }
    ret_order->descending = direction[0] == 'd';
    return TP_OK;
}

static bool has_words(const struct pages *pages, const json_t *item, const json_t *words)
{
    struct buf all;
    size_t i;
    json_t *word;
    bool has = true;
    if (json_array_size(words) == 0) {
        return true;
    }
    buf_init(&all, 0);
    for (const char *const *path = pages->search; *path != NULL; path++) {
        char *text = text_at(item, *path);
        add_text(&all, "\n", text);
        mem_free(text);
    }
    json_array_foreach (words, i, word) {
        has = has && strcasestr(buf_text(&all), json_string_value(word)) != NULL;
    }
    buf_free(&all);
    return has;
}

static const json_t *member_at(const json_t *item, const char *path)
{
    while (item != NULL && *path != '\0') {
        size_t length = strcspn(path, ".");
        char *name = mem_strndup(path, length);
        item = json_object_get(item, name);
        mem_free(name);
        path += length + (path[length] == '.' ? 1 : 0);
    }
    return item;
}

static bool has_labels(const struct pages *pages, const json_t *item, const json_t *labels)
{
    const char *name;
    json_t *wanted;
    const json_t *own = pages->labels != NULL ? member_at(item, pages->labels) : NULL;
    json_object_foreach ((json_t *)(uintptr_t)labels, name, wanted) {
        const json_t *value = json_object_get(own, name);
        const char *text = json_string_value(wanted);
        bool same = json_is_string(value) && text != NULL && strcmp(json_string_value(value), text) == 0;
        if (!same && (text == NULL || !json_list_has(value, text))) {
            return false;
        }
    }
    return true;
}

static json_t *matching(const struct pages *pages, json_t *items, const json_t *params)
{
    const json_t *words = json_object_get(params, "search");
    const json_t *labels = json_object_get(params, "labels");
    json_t *found = json_array();
    size_t i;
    json_t *item;
    json_array_foreach (items, i, item) {
        if (has_labels(pages, item, labels) && has_words(pages, item, words)) {
            json_array_append(found, item);
        }
    }
    json_decref(items);
    return found;
}

/* ---- order and keys ---- */

/* Big and small letters are one; what has no text stands behind the others. */
static int compare(const char *value, const char *id, const char *other_value, const char *other_id)
{
    if ((value[0] == '\0') != (other_value[0] == '\0')) {
        return value[0] == '\0' ? 1 : -1;
    }
    int order = strcasecmp(value, other_value);
    order = order != 0 ? order : strcmp(value, other_value);
    return order != 0 ? order : strcmp(id, other_id);
}

static int by_value(const void *a, const void *b)
{
    const struct entry *left = a;
    const struct entry *right = b;
    return compare(left->value, left->id, right->value, right->id);
}

/* At most VALUE_MAX bytes, and no broken character at the end. */
static void shorten(char *text)
{
    size_t length = strlen(text);
    if (length > VALUE_MAX) {
        length = VALUE_MAX;
        while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80) {
            length--;
        }
        text[length] = '\0';
    }
}

static char *value_of(const struct pages_column *column, const json_t *item)
{
    struct buf out;
    buf_init(&out, 0);
    for (size_t i = 0; i < PAGES_PATHS && column->paths[i] != NULL; i++) {
        char *text = text_at(item, column->paths[i]);
        if (text[0] != '\0') {
            add_text(&out, " ", text);
        }
        mem_free(text);
    }
    char *value = buf_take(&out);
    shorten(value);
    return value;
}

/* "LENGTH:VALUE" and the id. */
static enum tp_err parse_key(const char *key, char **ret_value, const char **ret_id, struct tp_error *error)
{
    char *end = NULL;
    unsigned long length = key[0] >= '0' && key[0] <= '9' ? strtoul(key, &end, 10) : VALUE_MAX + 1;
    if (length > VALUE_MAX || end == NULL || *end != ':' || strlen(end + 1) < length) {
        return err_set(error, TP_INVALID, "\"start_key\" is none that this list has given");
    }
    *ret_value = mem_strndup(end + 1, length);
    *ret_id = end + 1 + length;
    return TP_OK;
}

static size_t limit_of(const json_t *params)
{
    int64_t limit = json_get_int(params, "limit", LIMIT_DEFAULT);
    return (size_t)(limit <= 0 ? LIMIT_DEFAULT : limit > LIMIT_MAX ? LIMIT_MAX : limit);
}

/* The page behind (value, id) of sorted entries; value NULL: the first one. */
static json_t *page_of(const struct entry *entries, size_t count, const struct order *order, const json_t *params,
                       const char *value, const char *id)
{
    const struct entry *last = NULL;
    size_t limit = limit_of(params);
    size_t bytes = 0;
    size_t i = 0;
    char *next = NULL;
    json_t *items = json_array();
    for (; value != NULL && i < count; i++) {
        const struct entry *entry = &entries[order->descending ? count - 1 - i : i];
        int way = compare(entry->value, entry->id, value, id);
        if (order->descending ? way < 0 : way > 0) {
            break;
        }
    }
    for (; i < count && json_array_size(items) < limit && bytes < LIST_BYTES_MAX; i++) {
        last = &entries[order->descending ? count - 1 - i : i];
        bytes += doc_weight(last->item);
        json_array_append(items, last->item);
    }
    if (i < count && last != NULL) {
        next = mem_printf("%zu:%s%s", strlen(last->value), last->value, last->id);
    }
    json_t *page =
        json_pack("{s:o, s:s, s:I}", "items", items, "start_key", next != NULL ? next : "", "total", (json_int_t)count);
    mem_free(next);
    return page;
}

/* In the order that items have; the key is a number. */
static json_t *numbered_page(const json_t *items, const json_t *params)
{
    const char *key = json_get_text(params, "start_key", "");
    size_t count = json_array_size(items);
    size_t start = 0;
    for (const char *p = key; *p >= '0' && *p <= '9' && start <= count; p++) {
        start = start * 10 + (size_t)(*p - '0');
    }
    size_t limit = limit_of(params);
    size_t bytes = 0;
    size_t i = start;
    json_t *page = json_array();
    for (; i < count && i - start < limit && bytes < LIST_BYTES_MAX; i++) {
        bytes += doc_weight(json_array_get(items, i));
        json_array_append(page, json_array_get(items, i));
    }
    char next[32] = "";
    if (i < count) {
        snprintf(next, sizeof next, "%zu", i);
    }
    return json_pack("{s:o, s:s, s:I}", "items", page, "start_key", next, "total", (json_int_t)count);
}

static enum tp_err sorted_page(const struct pages *pages, const struct order *order, const json_t *items,
                               const json_t *params, json_t **ret_page, struct tp_error *error)
{
    const char *key = json_get_text(params, "start_key", "");
    size_t count = json_array_size(items);
    char *value = NULL;
    const char *id = "";
    if (key[0] != '\0') {
        enum tp_err err = parse_key(key, &value, &id, error);
        if (err != TP_OK) {
            return err;
        }
    }
    struct entry *entries = mem_array(count + 1, sizeof *entries);
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_array_get(items, i);
        entries[i] = (struct entry){value_of(order->column, item), text_at(item, pages->id), item};
    }
    qsort(entries, count, sizeof *entries, by_value);
    *ret_page = page_of(entries, count, order, params, value, id);
    for (size_t i = 0; i < count; i++) {
        mem_free(entries[i].value);
        mem_free(entries[i].id);
    }
    mem_free(entries);
    mem_free(value);
    return TP_OK;
}

enum tp_err pages_make(const struct pages *pages, json_t *items, const json_t *params, json_t **ret_page,
                       struct tp_error *error)
{
    struct order order;
    const json_t *search = json_object_get(params, "search");
    enum tp_err err = read_order(pages, params, &order, error);
    if (err == TP_OK && search != NULL && !json_is_null(search)) {
        err = doc_text_list(search, "search", WORDS_MAX, error);
    }
    if (err != TP_OK) {
        json_decref(items);
        return err;
    }
    json_t *found = matching(pages, items, params);
    if (order.column == NULL) {
        *ret_page = numbered_page(found, params);
    } else {
        err = sorted_page(pages, &order, found, params, ret_page, error);
    }
    json_decref(found);
    return err;
}

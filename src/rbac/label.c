#include "rbac/label.h"

#include "base/json.h"
#include "base/mem.h"
#include "rbac/pattern.h"

#include <stdio.h>
#include <string.h>

enum value_kind { VALUE_ANY, VALUE_EXACT, VALUE_GLOB, VALUE_REGEX, VALUE_BAD };

struct label_value {
    enum value_kind kind;
    char *text;
    struct pattern *regex;
};

struct label_key {
    char *name; /* NULL: its template gave nothing, so it matches nothing */
    size_t count;
    struct label_value *values;
};

static enum tp_err add_template(const char *text, int line, const char *path, enum role_strict strict,
                                struct template **ret_template, struct tp_error *error)
{
    enum tp_err result = template_parse(text, ret_template, error);
    if (result && strict == ROLE_STORED) {
        *ret_template = template_broken(text);
        return TP_OK;
    }
    if (result)
        err_prefix(error, "line %d: \"%s\"", line, path);
    return result;
}

static enum tp_err check_regex(const struct template *item, int line, const char *path, struct tp_error *error)
{
    struct pattern *pattern = NULL;
    enum tp_err result;
    if (!template_is_literal(item) || !pattern_is_regex(template_text(item)))
        return TP_OK;
    result = pattern_new(template_text(item), &pattern, error);
    if (result)
        err_prefix(error, "line %d: \"%s\"", line, path);
    pattern_free(pattern);
    return result;
}

static enum tp_err parse_key(const struct node *map, size_t index, enum role_strict strict, const char *path,
                             struct label_template_key *key, struct tp_error *error)
{
    const struct node *value = map->items[index];
    size_t count = value->kind == NODE_LIST ? value->count : 1;
    char inner[256];
    enum tp_err result;
    snprintf(inner, sizeof inner, "%s.%s", path, map->keys[index]);
    result = add_template(map->keys[index], map->key_lines[index], path, strict, &key->name, error);
    if (result)
        return result;
    for (size_t i = 0; i < count; i++) {
        const struct node *item = value->kind == NODE_LIST ? value->items[i] : value;
        struct template *one = NULL;
        result = add_template(item->text, item->line, inner, strict, &one, error);
        if (result)
            return result;
        template_list_add(&key->values, one);
        if (strict == ROLE_WRITTEN && (result = check_regex(one, item->line, inner, error)))
            return result;
    }
    if (strcmp(map->keys[index], "*") == 0 &&
        (key->values.count != 1 || strcmp(template_text(key->values.items[0]), "*") != 0))
        return err_set(error, TP_INVALID, "line %d: \"%s\": the key '*' takes the value '*' only",
                       map->key_lines[index], path);
    return TP_OK;
}

enum tp_err label_template_parse(const struct node *map, enum role_strict strict, const char *path,
                                 struct label_template *ret_template, struct tp_error *error)
{
    ret_template->set = true;
    ret_template->keys = mem_array(map->count, sizeof *ret_template->keys);
    for (size_t i = 0; i < map->count; i++) {
        enum tp_err result;
        ret_template->count = i + 1;
        result = parse_key(map, i, strict, path, &ret_template->keys[i], error);
        if (result) {
            label_template_free(ret_template);
            return result;
        }
    }
    return TP_OK;
}

static struct template *literal(const char *text)
{
    struct template *item = NULL;
    return template_parse(text, &item, NULL) == TP_OK ? item : template_broken(text);
}

void label_template_all(struct label_template *selector)
{
    label_template_free(selector);
    selector->count = 1;
    selector->keys = mem_array(1, sizeof *selector->keys);
    selector->keys[0].name = literal("*");
    template_list_add(&selector->keys[0].values, literal("*"));
}

void label_template_free(struct label_template *selector)
{
    for (size_t i = 0; i < selector->count; i++) {
        template_free(selector->keys[i].name);
        template_list_free(&selector->keys[i].values);
    }
    mem_free(selector->keys);
    *selector = (struct label_template){0};
}

static void make_value(const char *text, struct label_value *value)
{
    value->text = mem_strdup(text);
    if (strcmp(text, "*") == 0)
        value->kind = VALUE_ANY;
    else if (pattern_is_regex(text))
        value->kind = pattern_new(text, &value->regex, NULL) == TP_OK ? VALUE_REGEX : VALUE_BAD;
    else
        value->kind = strchr(text, '*') ? VALUE_GLOB : VALUE_EXACT;
}

static void expand_key(const struct label_template_key *from, const json_t *traits, struct label_key *key)
{
    struct names names = {0};
    struct names values = {0};
    template_expand(from->name, traits, &names);
    template_list_expand(&from->values, traits, &values);
    if (names.count > 0)
        key->name = mem_strdup(names.items[0]);
    key->count = values.count;
    key->values = mem_array(values.count, sizeof *key->values);
    for (size_t i = 0; i < values.count; i++)
        make_value(values.items[i], &key->values[i]);
    names_free(&names);
    names_free(&values);
}

void label_expand(const struct label_template *from, const json_t *traits, struct label_selector *ret_selector)
{
    ret_selector->count = from->count;
    ret_selector->keys = from->count ? mem_array(from->count, sizeof *ret_selector->keys) : NULL;
    for (size_t i = 0; i < from->count; i++) {
        struct label_key *key = &ret_selector->keys[i];
        expand_key(&from->keys[i], traits, key);
        if (key->name && strcmp(key->name, "*") == 0 && key->count == 1 && key->values[0].kind == VALUE_ANY)
            ret_selector->all = true;
    }
}

void label_free(struct label_selector *selector)
{
    for (size_t i = 0; i < selector->count; i++) {
        struct label_key *key = &selector->keys[i];
        for (size_t j = 0; j < key->count; j++) {
            mem_free(key->values[j].text);
            pattern_free(key->values[j].regex);
        }
        mem_free(key->values);
        mem_free(key->name);
    }
    mem_free(selector->keys);
    *selector = (struct label_selector){0};
}

/* FNV-1a; the tags only have to spread, nothing is decided by them but a no. */
static uint64_t hash(uint64_t state, const char *text)
{
    for (; *text; text++)
        state = (state ^ (unsigned char)*text) * 0x100000001b3u;
    return state;
}

static uint64_t tag(uint64_t state)
{
    return (uint64_t)1 << ((state ^ state >> 29) & 63);
}

static void add_pair(struct rbac_tags *tags, uint64_t name, const char *value)
{
    uint64_t state = hash(name * 31, value);
    state ^= state >> 29;
    for (size_t i = 0; i < 2; i++, state >>= 8)
        tags->pairs[state >> 6 & (RBAC_TAG_WORDS - 1)] |= (uint64_t)1 << (state & 63);
}

uint64_t label_tag(const char *name)
{
    return tag(hash(0xcbf29ce484222325u, name));
}

struct rbac_tags rbac_tags_of(const struct rbac_label *labels, size_t count)
{
    struct rbac_tags tags = {0};
    for (size_t i = 0; i < count; i++) {
        uint64_t name = hash(0xcbf29ce484222325u, labels[i].name);
        tags.names |= tag(name);
        add_pair(&tags, name, labels[i].value);
    }
    return tags;
}

struct rbac_tags label_tags_needed(const struct label_selector *selector)
{
    struct rbac_tags tags = {0};
    for (size_t i = 0; i < selector->count && !selector->all; i++) {
        const struct label_key *key = &selector->keys[i];
        uint64_t name;
        if (!key->name)
            continue;
        name = hash(0xcbf29ce484222325u, key->name);
        tags.names |= tag(name);
        if (key->count == 1 && key->values[0].kind == VALUE_EXACT)
            add_pair(&tags, name, key->values[0].text);
    }
    return tags;
}

static enum label_result match_value(const struct label_value *value, const char *text)
{
    switch (value->kind) {
    case VALUE_ANY:
        return LABEL_YES;
    case VALUE_EXACT:
        return strcmp(value->text, text) == 0 ? LABEL_YES : LABEL_NO;
    case VALUE_GLOB:
        return pattern_glob(value->text, text) ? LABEL_YES : LABEL_NO;
    case VALUE_REGEX: {
        enum pattern_result result = pattern_match(value->regex, text);
        return result == PATTERN_YES ? LABEL_YES : result == PATTERN_NO ? LABEL_NO : LABEL_FAILED;
    }
    case VALUE_BAD:
        break;
    }
    return LABEL_FAILED;
}

static enum label_result match_key(const struct label_key *key, const struct rbac_label *labels, size_t count,
                                   const char **ret_value)
{
    enum label_result best = LABEL_NO;
    if (!key->name)
        return LABEL_NO;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(key->name, labels[i].name) != 0)
            continue;
        *ret_value = labels[i].value;
        for (size_t j = 0; j < key->count && best != LABEL_YES; j++) {
            enum label_result one = match_value(&key->values[j], labels[i].value);
            if (one > LABEL_NO && best != LABEL_YES)
                best = one;
        }
        break;
    }
    return best;
}

enum label_result label_match(const struct label_selector *selector, const struct rbac_label *labels, size_t count,
                              const char **ret_key, const char **ret_value)
{
    enum label_result result = LABEL_YES;
    const char *value = "*";
    if (selector->count == 0)
        return LABEL_NO;
    if (ret_key) {
        *ret_key = selector->all ? "*" : selector->keys[0].name;
        *ret_value = value;
    }
    if (selector->all)
        return LABEL_YES;
    for (size_t i = 0; i < selector->count; i++) {
        enum label_result one = match_key(&selector->keys[i], labels, count, &value);
        if (one == LABEL_NO)
            return LABEL_NO;
        if (one == LABEL_FAILED)
            result = LABEL_FAILED;
        if (ret_key && i == 0)
            *ret_value = value;
    }
    return result;
}

const char *label_miss(const struct label_selector *selector, const struct rbac_label *labels, size_t count,
                       const char **ret_here)
{
    for (size_t i = 0; i < selector->count && !selector->all; i++) {
        const struct label_key *key = &selector->keys[i];
        *ret_here = NULL;
        if (match_key(key, labels, count, ret_here) != LABEL_YES)
            return key->name ? key->name : "";
    }
    return NULL;
}

struct label_list {
    struct rbac_label *items;
    size_t count;
};

static void add_label(void *ctx, const char *name, const char *value)
{
    struct label_list *list = ctx;
    list->items[list->count++] = (struct rbac_label){name, value};
}

struct rbac_label *rbac_labels_from_json(const json_t *labels, const json_t *dynamic, size_t *ret_count)
{
    size_t most = json_object_size(labels) + json_object_size(dynamic);
    struct label_list list = {.items = mem_array(most ? most : 1, sizeof *list.items)};
    json_labels_each(labels, dynamic, add_label, &list);
    *ret_count = list.count;
    return list.items;
}

bool rbac_label_shows(const struct rbac_label *label, const char *word)
{
    size_t name = strlen(label->name);
    if (strcasestr(label->name, word) || strcasestr(label->value, word))
        return true;
    /* Else across the "=" between them: the name ends with what stands before it, the value begins with what follows. */
    for (const char *at = strchr(word, '='); at; at = strchr(at + 1, '=')) {
        size_t before = (size_t)(at - word);
        if (before <= name && strncasecmp(label->name + name - before, word, before) == 0 &&
            strncasecmp(label->value, at + 1, strlen(at + 1)) == 0)
            return true;
    }
    return false;
}

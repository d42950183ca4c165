#include "auth/list.h"

#include <string.h>

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX 5000
#define WORDS_MAX 32
#define WORD_MAX 256
#define QUERY_MAX 2000               /* bytes */
#define STEPS_MAX ((size_t)10000000) /* of the query over the whole list: auth serves others meanwhile */

static enum tp_err read_search(struct list *list, struct tp_error *error)
{
    list->search = json_object_get(list->call->params, "search");
    if (list->search == NULL || json_is_null(list->search)) {
        list->search = NULL;
        return TP_OK;
    }
    enum tp_err err = doc_text_list(list->search, "search", WORDS_MAX, error);
    for (size_t i = 0; err == TP_OK && i < json_array_size(list->search); i++) {
        if (json_string_length(json_array_get(list->search, i)) > WORD_MAX) {
            err = err_set(error, TP_INVALID, "a word of \"search\" is longer than %d bytes", WORD_MAX);
        }
    }
    return err;
}

static enum tp_err read_sort(struct list *list, struct tp_error *error)
{
    const char *sort = json_get_text(list->call->params, "sort", "");
    size_t length = strcspn(sort, ":");
    const char *direction = sort[length] == ':' ? sort + length + 1 : "asc";
    bool name = (length == 4 && strncmp(sort, "name", 4) == 0) || (length == 8 && strncmp(sort, "hostname", 8) == 0);
    if (sort[0] != '\0' && !name) {
        return err_set(error, TP_INVALID, "this list can be sorted by \"name\" only, not by \"%.40s\"", sort);
    }
    if (strcasecmp(direction, "asc") != 0 && strcasecmp(direction, "desc") != 0) {
        return err_set(error, TP_INVALID, "the order in \"sort\" is asc or desc, not \"%.40s\"", direction);
    }
    list->descending = strcasecmp(direction, "desc") == 0;
    return TP_OK;
}

static enum tp_err read_query(struct list *list, struct tp_error *error)
{
    const char *query = json_get_text(list->call->params, "query", "");
    if (query[0] == '\0') {
        return TP_OK;
    }
    if (strlen(query) > QUERY_MAX) {
        return err_set(error, TP_INVALID, "the query is longer than %d bytes", QUERY_MAX);
    }
    struct tp_error why = {0};
    return pred_parse(query, PRED_FILTER, &list->query, &why) == TP_OK
               ? TP_OK
               : err_set(error, TP_INVALID, "\"query\": %s", why.text);
}

enum tp_err list_open(struct list *list, const struct call *call, struct tp_error *error)
{
    int64_t limit = json_get_int(call->params, "limit", LIMIT_DEFAULT);
    *list = (struct list){.call = call,
                          .labels = json_object_get(call->params, "labels"),
                          .limit = (size_t)(limit <= 0          ? LIMIT_DEFAULT
                                            : limit > LIMIT_MAX ? LIMIT_MAX
                                                                : limit),
                          .start_key = json_get_text(call->params, "start_key", ""),
                          .total = json_get_bool(call->params, "total", true)};
    enum tp_err err = read_search(list, error);
    if (err == TP_OK) {
        err = read_sort(list, error);
    }
    return err == TP_OK ? read_query(list, error) : err;
}

void list_close(struct list *list)
{
    pred_free(list->query);
    list->query = NULL;
}

static bool text_has(const char *text, const char *word)
{
    return text != NULL && strcasestr(text, word) != NULL;
}

static bool has_word(const struct list_item *item, const char *word)
{
    const struct rbac_target *target = item->target;
    if (text_has(target->name, word) || text_has(item->id, word) ||
        text_has(json_get_text(json_object_get(item->resource, "spec"), "addr", NULL), word)) {
        return true;
    }
    for (size_t i = 0; i < target->label_count; i++) {
        if (rbac_label_shows(&target->labels[i], word)) {
            return true;
        }
    }
    return false;
}

static bool has_label(const struct rbac_target *target, const char *name, const char *value)
{
    for (size_t i = 0; i < target->label_count && value != NULL; i++) {
        if (strcmp(target->labels[i].name, name) == 0) {
            return strcmp(target->labels[i].value, value) == 0;
        }
    }
    return false;
}

static bool query_holds(struct list *list, const struct list_item *item)
{
    json_t *more = json_pack("{s:s}", "name", item->target->name);
    struct rbac_context context = {.resource = item->resource, .more = more};
    struct pred_env env = {.context = &context,
                           .labels = item->target->labels,
                           .label_count = item->target->label_count,
                           .spent = &list->steps};
    enum pred_result result = pred_eval(list->query, &env);
    json_decref(more);
    if (list->steps > STEPS_MAX) {
        list->err = err_set(&list->error, TP_LIMIT,
                            "this query is too long for so many resources; narrow the list with labels or --search");
    } else if (result == PRED_FAILED) {
        list->err = err_set(&list->error, TP_INVALID,
                            "the query cannot be evaluated for \"%s\": it compares values of different types or has no "
                            "true or false as its result",
                            item->target->name);
    }
    return list->err == TP_OK && result == PRED_TRUE;
}

bool list_wants(struct list *list, const struct list_item *item)
{
    const struct rbac_set *set = list->call->caller.set;
    size_t i;
    json_t *word;
    const char *name;
    json_t *value;
    if (list->err != TP_OK) {
        return false;
    }
    json_object_foreach ((json_t *)(uintptr_t)list->labels, name, value) {
        if (!has_label(item->target, name, json_string_value(value))) {
            return false;
        }
    }
    json_array_foreach (list->search, i, word) {
        if (!has_word(item, json_string_value(word))) {
            return false;
        }
    }
    /* The query comes last: its failures must not tell of what the caller may not see. */
    return (set == NULL || rbac_can_list(set, item->target)) && (list->query == NULL || query_holds(list, item));
}

static void append_json(struct buf *out, json_t *value)
{
    char *text = json_text(value);
    (void)buf_append_text(out, text);
    mem_free(text);
    json_decref(value);
}

/* How many items stand before the page in the order of the list. Nothing to count there: found by halves. */
static size_t first_of_page(const struct list *list, const struct list_source *source, void *ctx)
{
    size_t low = 0;
    size_t high = list->start_key[0] != '\0' && !list->total ? source->count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        size_t i = list->descending ? source->count - 1 - middle : middle;
        int order = source->compare(ctx, i, list->start_key);
        if (list->descending ? order >= 0 : order <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool list_page(struct list *list, const struct list_source *source, void *ctx, struct buf *out)
{
    char *next = NULL;
    size_t last = 0;
    size_t total = 0;
    size_t shown = 0;
    buf_init(out, RPC_FRAME_MAX);
    (void)buf_append_text(out, "{\"items\":[");
    for (size_t n = first_of_page(list, source, ctx); n < source->count && list->err == TP_OK; n++) {
        size_t i = list->descending ? source->count - 1 - n : n;
        int order = list->start_key[0] != '\0' && list->total ? source->compare(ctx, i, list->start_key) : 0;
        bool before = list->start_key[0] != '\0' && list->total && (list->descending ? order >= 0 : order <= 0);
        if (!source->wanted(ctx, i)) {
            continue;
        }
        total++;
        if (before || next != NULL) {
            continue;
        }
        if (shown == list->limit || buf_size(out) > LIST_BYTES_MAX) {
            next = source->key(ctx, last);
            if (!list->total) {
                break;
            }
            continue;
        }
        if (shown++ > 0) {
            (void)buf_append(out, ",", 1);
        }
        source->item(ctx, i, out);
        last = i;
    }
    (void)buf_append_text(out, "],\"start_key\":");
    append_json(out, json_string(next != NULL ? next : ""));
    if (list->total) {
        (void)buf_printf(out, ",\"total\":%zu", total);
    }
    (void)buf_append_text(out, "}");
    mem_free(next);
    if (list->err == TP_OK && out->failed) {
        list->err = err_set(&list->error, TP_TOO_LARGE, "a page of this list is too large; ask for fewer at once");
    }
    if (list->err != TP_OK) {
        buf_free(out);
    }
    return list->err == TP_OK;
}

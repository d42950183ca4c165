#include "kube/kube_query.h"

#include "base/mem.h"

#include <string.h>
#include <strings.h>

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "+" is a blank. NULL for a broken escape or a NUL. */
static char *decode(const char *text, size_t size)
{
    char *out = mem_array(size + 1, 1);
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '%') {
            out[used++] = text[i] == '+' ? ' ' : text[i];
            continue;
        }
        int high = i + 2 < size ? hex(text[i + 1]) : -1;
        int low = i + 2 < size ? hex(text[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0)) {
            mem_free(out);
            return NULL;
        }
        out[used++] = (char)(high * 16 + low);
        i += 2;
    }
    out[used] = '\0';
    return out;
}

enum tp_err kube_query_parse(const char *text, struct kube_query *ret_query, struct tp_error *error)
{
    struct kube_query query = {.items = mem_array(KUBE_QUERY_MAX, sizeof *query.items)};
    const char *wrong = NULL;
    for (const char *at = text ? text : ""; *at && !wrong;) {
        size_t size = strcspn(at, "&");
        const char *sign = memchr(at, '=', size);
        size_t name_size = sign ? (size_t)(sign - at) : size;
        if (query.count == KUBE_QUERY_MAX) {
            wrong = "the query of the request has too many parameters";
        } else if (size > 0) {
            struct kube_param *param = &query.items[query.count++];
            param->name = decode(at, name_size);
            param->value = sign ? decode(sign + 1, size - name_size - 1) : mem_strdup("");
            if (!param->name || !param->value)
                wrong = "the query of the request holds a broken % escape";
        }
        at += size;
        at += *at == '&';
    }
    if (wrong) {
        kube_query_free(&query);
        return err_set(error, TP_INVALID, "%s", wrong);
    }
    *ret_query = query;
    return TP_OK;
}

void kube_query_free(struct kube_query *query)
{
    for (size_t i = 0; i < query->count; i++) {
        mem_free(query->items[i].name);
        mem_free(query->items[i].value);
    }
    mem_free(query->items);
    *query = (struct kube_query){0};
}

const char *kube_query_get(const struct kube_query *query, const char *name, size_t number)
{
    for (size_t i = 0; i < query->count; i++)
        if (strcmp(query->items[i].name, name) == 0 && number-- == 0)
            return query->items[i].value;
    return NULL;
}

bool kube_query_flag(const struct kube_query *query, const char *name)
{
    const char *value = kube_query_get(query, name, 0);
    return value && strcmp(value, "0") != 0 && strcasecmp(value, "false") != 0;
}

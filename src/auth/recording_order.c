/*
 * Orders of recordings beside that of time, so that a page of them costs what it shows. For each recording that is over and each
 * column a row "/recording_by/COLUMN/VALUE KEY" leads to its document "/recording/KEY"; both are written in one commit, and the
 * document says so ("sorted"). Values do not change any more then.
 */
#include "auth/inner.h"
#include "auth/recording.h"

#include <ctype.h>
#include <string.h>

#define ROWS "/recording_by/"
#define VALUE_MAX 200 /* bytes of a text that count for the order */

typedef void value_fn(const json_t *meta, char out[VALUE_MAX + 1]);

/* Big and small letters are one. */
static void put_text(const char *text, char out[VALUE_MAX + 1])
{
    size_t i = 0;
    for (; i < VALUE_MAX && text[i] != '\0'; i++) {
        out[i] = (char)tolower((unsigned char)text[i]);
    }
    out[i] = '\0';
}

static void put_number(int64_t number, char out[VALUE_MAX + 1])
{
    (void)snprintf(out, VALUE_MAX + 1, "%016llx", (unsigned long long)(number > 0 ? number : 0));
}

static void user_of(const json_t *meta, char out[VALUE_MAX + 1])
{
    put_text(json_get_text(meta, "user", ""), out);
}

static void where_of(const json_t *meta, char out[VALUE_MAX + 1])
{
    put_text(json_get_text(meta, "kubernetes_cluster", json_get_text(meta, "hostname", "")), out);
}

static void length_of(const json_t *meta, char out[VALUE_MAX + 1])
{
    put_number(doc_ms(meta, "ended") - doc_ms(meta, "started"), out);
}

static void size_of(const json_t *meta, char out[VALUE_MAX + 1])
{
    put_number(json_get_int(meta, "size", 0), out);
}

static const struct column {
    const char *name;
    value_fn *value;
} columns[] = {{"user", user_of}, {"where", where_of}, {"length", length_of}, {"size", size_of}};
#define COLUMNS (sizeof columns / sizeof columns[0])

char *recording_rows_of(const char *name, size_t length)
{
    for (size_t i = 0; i < COLUMNS; i++) {
        if (strlen(columns[i].name) == length && strncmp(columns[i].name, name, length) == 0) {
            return mem_printf(ROWS "%s/", columns[i].name);
        }
    }
    return NULL;
}

const char *recording_of_row(const char *row)
{
    const char *blank = strrchr(row, ' '); /* there is none in a time or an id */
    return blank != NULL ? blank + 1 : "";
}

static char *row_name(const struct column *column, const json_t *meta, const char *key)
{
    char value[VALUE_MAX + 1];
    column->value(meta, value);
    return mem_printf("%s/%s %s", column->name, value, key);
}

void recording_rows_put(struct auth *auth, const char *key, json_t *meta)
{
    json_t *nothing = json_object();
    for (size_t i = 0; i < COLUMNS; i++) {
        char *name = row_name(&columns[i], meta, key);
        batch_put(auth, ROWS, name, nothing);
        mem_free(name);
    }
    json_object_set_new(meta, "sorted", json_true());
    json_decref(nothing);
}

void recording_delete(struct auth *auth, const char *id, const char *key)
{
    struct tp_error ignored = {0};
    json_t *meta = NULL;
    if (doc_find(auth->state, "/recording/", key, &meta, NULL, &ignored) != TP_OK) {
        return; /* gone already */
    }
    for (size_t i = 0; i < COLUMNS && json_is_true(json_object_get(meta, "sorted")); i++) {
        char *name = row_name(&columns[i], meta, key);
        batch_delete(auth, ROWS, name);
        mem_free(name);
    }
    batch_delete(auth, "/recording/", key);
    batch_delete(auth, "/recording_at/", id);
    json_decref(meta);
}

/*
 * Checks a document against a table of the keys that it may have: unknown keys and wrong types are errors that name
 * line and key. What passed can be read without looking at types again.
 */
#ifndef RBAC_SCHEMA_H
#define RBAC_SCHEMA_H

#include "base/err.h"
#include "base/node.h"

enum schema_type {
    SCHEMA_ANY,
    SCHEMA_TEXT,     /* one scalar */
    SCHEMA_BOOL,     /* true/false/yes/no/on/off */
    SCHEMA_INT,      /* whole number, not negative */
    SCHEMA_DURATION, /* 8h0m0s; 0 */
    SCHEMA_IDLE,     /* the same or "never" */
    SCHEMA_TIME,     /* RFC 3339 */
    SCHEMA_TEXTS,    /* list of scalars */
    SCHEMA_VALUES,   /* scalar or list of scalars */
    SCHEMA_TEXT_MAP, /* map of scalars */
    SCHEMA_LABELS,   /* map of scalars or lists of scalars */
    SCHEMA_TRAITS,   /* the same, where a null stands for no values */
    SCHEMA_WORD,     /* one of words */
    SCHEMA_WORDS,    /* list, each one of words */
    SCHEMA_MAP,      /* map with the keys of sub */
    SCHEMA_MAPS      /* list of such maps */
};

struct schema {
    const char *key; /* NULL ends the table */
    enum schema_type type;
    const struct schema *sub;
    const char *const *words; /* NULL-ended */
    bool required;
};

/* Checks map against table; where is the path for messages ("spec.allow", "" for the document). A null counts as
 * absent. */
enum tp_err schema_check(const struct node *map, const struct schema *table, const char *where,
                         struct tp_error *error) TP_MUST;
/* The child of a map unless it is absent or null. */
const struct node *schema_get(const struct node *map, const char *key);
/* Takes "line 1: " off a sentence about JSON, whose text nobody has seen. error may be NULL. */
void schema_forget_line(struct tp_error *error);
/* A duration that passed the check, in milliseconds; "never" and absent give 0. */
int64_t schema_duration(const struct node *map, const char *key);
/* A bool that passed the check. */
bool schema_bool(const struct node *map, const char *key, bool otherwise);
/* A whole number that passed the check. */
int64_t schema_int(const struct node *map, const char *key, int64_t otherwise);
/* A time that passed the check, in Unix milliseconds; 0 when absent. */
int64_t schema_time(const struct node *map, const char *key);

#endif

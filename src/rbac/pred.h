/*
 * The small language of `where` in rules and of `*_labels_expression` (behaviour as in the reference of roles):
 * && || ! == != ( ), "texts", whole numbers, names over a JSON context, and a closed table of functions. Work is
 * bounded.
 */
#ifndef RBAC_PRED_H
#define RBAC_PRED_H

#include "rbac/rbac.h"

/* Which names and functions are known. */
enum pred_dialect {
    PRED_WHERE = 1,   /* of rules and impersonate */
    PRED_LABELS = 2,  /* *_labels_expression */
    PRED_ACTION = 4,  /* of rules */
    PRED_FILTER = 8,  /* of lists */
    PRED_REVIEW = 16, /* `where` of reviews, filters of thresholds */
    PRED_JOIN = 32    /* filters of people who join sessions */
};

struct pred;

/* Parses; an error names the character. Free it with pred_free. */
enum tp_err pred_parse(const char *text, enum pred_dialect dialect, struct pred **ret_pred,
                       struct tp_error *error) TP_MUST;
void pred_free(struct pred *pred);
const char *pred_text(const struct pred *pred);

struct pred_env {
    const json_t *user;                 /* {"metadata":{"name"},"spec":{"roles","traits"}} */
    const struct rbac_context *context; /* or NULL */
    const struct rbac_label *labels;    /* of label expressions */
    size_t label_count;
    size_t *spent;     /* or NULL: the steps that it took are added here */
    bool absent_fails; /* a field that is not there fails the predicate (allow); otherwise it is empty (deny) */
};

enum pred_result { PRED_FALSE, PRED_TRUE, PRED_FAILED };

enum pred_result pred_eval(const struct pred *pred, const struct pred_env *env) TP_MUST;

#endif

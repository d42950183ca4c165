/* What lexer, parser and evaluator of predicates share. */
#ifndef RBAC_PRED_PRIVATE_H
#define RBAC_PRED_PRIVATE_H

#include "rbac/pred.h"

#define PRED_MAX_SIZE 8192
#define PRED_MAX_NODES 1000
#define PRED_MAX_DEPTH 50
#define PRED_MAX_STEPS 10000
#define PRED_MAX_ARGUMENTS 64

enum pred_token {
    PRED_END,
    PRED_NAME,
    PRED_STRING,
    PRED_NUMBER,
    PRED_DOT,
    PRED_COMMA,
    PRED_OPEN,
    PRED_CLOSE,
    PRED_OPEN_INDEX,
    PRED_CLOSE_INDEX,
    PRED_AND,
    PRED_OR,
    PRED_NOT,
    PRED_EQUAL,
    PRED_UNEQUAL
};

struct pred_lexer {
    const char *text;
    size_t at;    /* next byte */
    size_t start; /* first byte of the token */
    enum pred_token token;
    char *value; /* of a name, string or number; owned by the lexer */
    struct tp_error *error;
};

/* Reads the next token. */
enum tp_err pred_lexer_next(struct pred_lexer *lexer) TP_MUST;
/* Fails at the current token. */
enum tp_err pred_lexer_fail(const struct pred_lexer *lexer, const char *why);
void pred_lexer_free(struct pred_lexer *lexer);

enum pred_kind {
    PRED_CONSTANT,
    PRED_ROOT,
    PRED_FIELD,
    PRED_INDEX,
    PRED_CALL,
    PRED_IS_NOT,
    PRED_IS_AND,
    PRED_IS_OR,
    PRED_IS_EQUAL,
    PRED_IS_UNEQUAL
};

struct pred_function;

struct pred_node {
    enum pred_kind kind;
    json_t *constant; /* PRED_CONSTANT */
    char *name;       /* PRED_ROOT, PRED_FIELD */
    const struct pred_function *function;
    size_t count;
    struct pred_node **children;
};

struct pred {
    char *text;
    struct pred_node *root;
};

struct pred_run {
    const struct pred_env *env;
    size_t steps;
};

/* A function gets its evaluated arguments and returns a new reference, or NULL to fail. */
struct pred_function {
    const char *name;
    unsigned dialects;
    size_t least, most; /* arguments */
    bool answers;       /* its value is true or false */
    json_t *(*call)(struct pred_run *run, json_t *const arguments[], size_t count);
};

/* By name in this dialect, or NULL. */
const struct pred_function *pred_function_find(const char *name, unsigned dialect);
/* Are two values the same? false for ret when types differ and so cannot be compared. */
bool pred_equal(const json_t *a, const json_t *b, bool *ret_equal) TP_MUST;

#endif

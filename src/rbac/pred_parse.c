#include "rbac/pred_private.h"

#include "base/buf.h"
#include "base/mem.h"
#include "rbac/names.h"

#include <stdlib.h>
#include <string.h>

struct parser {
    struct pred_lexer lexer;
    enum pred_dialect dialect;
    size_t nodes;
    size_t depth;
};

static const char *const where_roots[] = {"user",
                                          "resource",
                                          "session",
                                          "ssh_session",
                                          "session_tracker",
                                          "host_cert",
                                          "impersonate_role",
                                          "impersonate_user",
                                          "reviewer",
                                          "request",
                                          "access_request",
                                          NULL};
static const char *const review_roots[] = {"user", "reviewer", "review", "request", NULL};
static const char *const join_roots[] = {"user", NULL};
static const char *const label_roots[] = {"user", "labels", NULL};
static const char *const filter_roots[] = {"labels", "name", "resource", NULL};

static void node_release(struct pred_node *node)
{
    if (!node)
        return;
    for (size_t i = 0; i < node->count; i++)
        node_release(node->children[i]);
    mem_free(node->children);
    mem_free(node->name);
    json_decref(node->constant);
    mem_free(node);
}

static struct pred_node *node_make(struct parser *parser, enum pred_kind kind)
{
    struct pred_node *node = mem_alloc(sizeof *node);
    node->kind = kind;
    parser->nodes++;
    return node;
}

static void node_adopt(struct pred_node *node, struct pred_node *child)
{
    node->children = mem_resize(node->children, (node->count + 1) * sizeof(struct pred_node *));
    node->children[node->count++] = child;
}

static enum tp_err parse_or(struct parser *parser, struct pred_node **ret_node);

static enum tp_err expect(struct parser *parser, enum pred_token token, const char *why)
{
    return parser->lexer.token == token ? pred_lexer_next(&parser->lexer) : pred_lexer_fail(&parser->lexer, why);
}

static enum tp_err parse_arguments(struct parser *parser, struct pred_node *call)
{
    const struct pred_function *function = call->function;
    if (pred_lexer_next(&parser->lexer))
        return TP_INVALID;
    while (parser->lexer.token != PRED_CLOSE) {
        struct pred_node *argument = NULL;
        if (call->count > 0 && expect(parser, PRED_COMMA, ", or ) is expected here"))
            return TP_INVALID;
        if (parse_or(parser, &argument))
            return TP_INVALID;
        node_adopt(call, argument);
    }
    bool few = call->count < function->least;
    size_t wanted = few ? function->least : function->most;
    if (few || call->count > function->most)
        return err_set(parser->lexer.error, TP_INVALID,
                       "the expression is wrong at character %zu: %s takes at %s %zu argument%s",
                       parser->lexer.start + 1, function->name, few ? "least" : "most", wanted, wanted == 1 ? "" : "s");
    return pred_lexer_next(&parser->lexer);
}

/* .name and [key] behind what is in *node. */
static enum tp_err parse_tail(struct parser *parser, struct pred_node **node)
{
    while (parser->lexer.token == PRED_DOT || parser->lexer.token == PRED_OPEN_INDEX) {
        bool index = parser->lexer.token == PRED_OPEN_INDEX;
        struct pred_node *outer = node_make(parser, index ? PRED_INDEX : PRED_FIELD);
        node_adopt(outer, *node);
        *node = outer;
        if (parser->nodes > PRED_MAX_NODES)
            return pred_lexer_fail(&parser->lexer, "the expression is too long");
        if (pred_lexer_next(&parser->lexer))
            return TP_INVALID;
        if (index) {
            struct pred_node *key = NULL;
            if (parse_or(parser, &key))
                return TP_INVALID;
            node_adopt(outer, key);
            if (expect(parser, PRED_CLOSE_INDEX, "] is expected here"))
                return TP_INVALID;
            continue;
        }
        if (parser->lexer.token != PRED_NAME)
            return pred_lexer_fail(&parser->lexer, "a name is expected behind the dot");
        outer->name = mem_strdup(parser->lexer.value);
        if (pred_lexer_next(&parser->lexer))
            return TP_INVALID;
    }
    return TP_OK;
}

static enum tp_err unknown_name(struct parser *parser, size_t start, const char *name, bool function)
{
    return err_set(parser->lexer.error, TP_INVALID, "the expression is wrong at character %zu: unknown %s \"%.60s\"",
                   start + 1, function ? "function" : "name", name);
}

static const char *const *roots_of(enum pred_dialect dialect)
{
    switch (dialect) {
    case PRED_LABELS:
        return label_roots;
    case PRED_FILTER:
        return filter_roots;
    case PRED_REVIEW:
        return review_roots;
    case PRED_JOIN:
        return join_roots;
    case PRED_WHERE:
    case PRED_ACTION:
        break;
    }
    return where_roots;
}

static bool root_known(const struct parser *parser, const char *name)
{
    return names_listed(roots_of(parser->dialect), name);
}

/* A function of two words, "regexp.match": looks ahead without taking anything. */
static const struct pred_function *find_dotted(const struct parser *parser, const char *first)
{
    const char *rest = parser->lexer.text + parser->lexer.at;
    size_t size;
    char *name;
    const struct pred_function *function;
    if (parser->lexer.token != PRED_DOT)
        return NULL;
    size = strspn(rest, "abcdefghijklmnopqrstuvwxyz_");
    name = mem_printf("%s.%.*s", first, (int)size, rest);
    function = pred_function_find(name, parser->dialect);
    mem_free(name);
    return function;
}

static enum tp_err parse_name(struct parser *parser, struct pred_node **ret_node)
{
    size_t start = parser->lexer.start;
    char *name = mem_strdup(parser->lexer.value);
    enum tp_err result = pred_lexer_next(&parser->lexer);
    const struct pred_function *function = NULL;
    if (result)
        goto out;
    if (strcmp(name, "true") == 0 || strcmp(name, "false") == 0) {
        *ret_node = node_make(parser, PRED_CONSTANT);
        (*ret_node)->constant = json_boolean(name[0] == 't');
        goto out;
    }
    function = parser->lexer.token == PRED_OPEN ? pred_function_find(name, parser->dialect) : find_dotted(parser, name);
    if (function && parser->lexer.token == PRED_DOT) {
        result = pred_lexer_next(&parser->lexer);
        if (!result)
            result = pred_lexer_next(&parser->lexer);
        if (!result && parser->lexer.token != PRED_OPEN)
            result = pred_lexer_fail(&parser->lexer, "( is expected here");
        if (result)
            goto out;
    }
    if (function) {
        *ret_node = node_make(parser, PRED_CALL);
        (*ret_node)->function = function;
        result = parse_arguments(parser, *ret_node);
        goto out;
    }
    if (parser->lexer.token == PRED_OPEN || !root_known(parser, name)) {
        result = unknown_name(parser, start, name, parser->lexer.token == PRED_OPEN);
        goto out;
    }
    *ret_node = node_make(parser, PRED_ROOT);
    (*ret_node)->name = mem_strdup(name);
out:
    mem_free(name);
    return result;
}

static enum tp_err parse_primary(struct parser *parser, struct pred_node **ret_node)
{
    enum tp_err result;
    switch (parser->lexer.token) {
    case PRED_STRING:
    case PRED_NUMBER:
        *ret_node = node_make(parser, PRED_CONSTANT);
        (*ret_node)->constant = parser->lexer.token == PRED_STRING
                                    ? json_string(parser->lexer.value)
                                    : json_integer(strtoll(parser->lexer.value, NULL, 10));
        if (!(*ret_node)->constant)
            return pred_lexer_fail(&parser->lexer, "the text is not UTF-8");
        return pred_lexer_next(&parser->lexer);
    case PRED_OPEN:
        if (pred_lexer_next(&parser->lexer) || parse_or(parser, ret_node))
            return TP_INVALID;
        return expect(parser, PRED_CLOSE, ") is expected here");
    case PRED_NAME:
        result = parse_name(parser, ret_node);
        return result ? result : parse_tail(parser, ret_node);
    default:
        return pred_lexer_fail(&parser->lexer, "a name, a text or ( is expected here");
    }
}

static enum tp_err parse_unary(struct parser *parser, struct pred_node **ret_node)
{
    enum tp_err result;
    if (++parser->depth > PRED_MAX_DEPTH || parser->nodes > PRED_MAX_NODES)
        return pred_lexer_fail(&parser->lexer, "the expression is too long or too deep");
    if (parser->lexer.token == PRED_NOT) {
        struct pred_node *inner = NULL;
        result = pred_lexer_next(&parser->lexer);
        if (!result)
            result = parse_unary(parser, &inner);
        if (result) {
            node_release(inner);
        } else {
            *ret_node = node_make(parser, PRED_IS_NOT);
            node_adopt(*ret_node, inner);
        }
    } else {
        result = parse_primary(parser, ret_node);
        if (result) {
            node_release(*ret_node);
            *ret_node = NULL;
        }
    }
    parser->depth--;
    return result;
}

/* operand (operator operand)*; && and || take any number of operands in one node. */
static enum tp_err parse_chain(struct parser *parser, enum pred_token token, enum pred_kind kind,
                               enum tp_err (*operand)(struct parser *, struct pred_node **),
                               struct pred_node **ret_node)
{
    enum tp_err result = operand(parser, ret_node);
    struct pred_node *chain = NULL;
    while (!result && parser->lexer.token == token) {
        struct pred_node *next = NULL;
        if (!chain) {
            chain = node_make(parser, kind);
            node_adopt(chain, *ret_node);
            *ret_node = chain;
        }
        result = pred_lexer_next(&parser->lexer);
        if (!result)
            result = operand(parser, &next);
        if (!result)
            node_adopt(chain, next);
    }
    if (result) {
        node_release(*ret_node);
        *ret_node = NULL;
    }
    return result;
}

static enum tp_err parse_comparison(struct parser *parser, struct pred_node **ret_node)
{
    enum tp_err result = parse_unary(parser, ret_node);
    if (!result && (parser->lexer.token == PRED_EQUAL || parser->lexer.token == PRED_UNEQUAL)) {
        struct pred_node *right = NULL;
        struct pred_node *both = node_make(parser, parser->lexer.token == PRED_EQUAL ? PRED_IS_EQUAL : PRED_IS_UNEQUAL);
        node_adopt(both, *ret_node);
        *ret_node = both;
        result = pred_lexer_next(&parser->lexer);
        if (!result)
            result = parse_unary(parser, &right);
        if (!result) {
            node_adopt(both, right);
        } else {
            node_release(both);
            *ret_node = NULL;
        }
    }
    return result;
}

static enum tp_err parse_and(struct parser *parser, struct pred_node **ret_node)
{
    return parse_chain(parser, PRED_AND, PRED_IS_AND, parse_comparison, ret_node);
}

static enum tp_err parse_or(struct parser *parser, struct pred_node **ret_node)
{
    return parse_chain(parser, PRED_OR, PRED_IS_OR, parse_and, ret_node);
}

/* Can its value be true or false? A field might be, so it passes. */
static bool answers(const struct pred_node *node)
{
    if (node->kind == PRED_CONSTANT)
        return json_is_boolean(node->constant);
    return node->kind != PRED_CALL || node->function->answers;
}

enum tp_err pred_parse(const char *text, enum pred_dialect dialect, struct pred **ret_pred, struct tp_error *error)
{
    struct parser parser = {.lexer = {.text = text, .error = error}, .dialect = dialect};
    struct pred_node *root = NULL;
    enum tp_err result;
    if (strlen(text) > PRED_MAX_SIZE)
        return err_set(error, TP_INVALID, "the expression is longer than %d bytes", PRED_MAX_SIZE);
    result = pred_lexer_next(&parser.lexer);
    if (!result)
        result = parse_or(&parser, &root);
    if (!result && parser.lexer.token != PRED_END)
        result = pred_lexer_fail(&parser.lexer, "an operator or the end is expected here");
    if (!result && dialect != PRED_ACTION && !answers(root))
        result = err_set(error, TP_INVALID, "the expression \"%.100s\" is not true or false", text);
    pred_lexer_free(&parser.lexer);
    if (result) {
        node_release(root);
        return result;
    }
    *ret_pred = mem_alloc(sizeof **ret_pred);
    (*ret_pred)->text = mem_strdup(text);
    (*ret_pred)->root = root;
    return TP_OK;
}

void pred_free(struct pred *pred)
{
    if (!pred)
        return;
    node_release(pred->root);
    mem_free(pred->text);
    mem_free(pred);
}

const char *pred_text(const struct pred *pred)
{
    return pred->text;
}

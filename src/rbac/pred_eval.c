#include "rbac/pred_private.h"

#include "base/mem.h"

#include <string.h>

/* Values are JSON with a reference of their own; NULL is a failure, null an absent field. */

static json_t *eval(struct pred_run *run, const struct pred_node *node);

static json_t *borrow(const json_t *value)
{
    return json_incref((json_t *)(uintptr_t)value);
}

static json_t *absent(const struct pred_run *run)
{
    return run->env->absent_fails ? NULL : json_null();
}

/* The labels of a label expression as an object; the first of a name counts. */
static json_t *labels_object(const struct pred_env *env)
{
    json_t *object = json_object();
    for (size_t i = 0; i < env->label_count; i++)
        if (!json_object_get(object, env->labels[i].name))
            json_object_set_new(object, env->labels[i].name, json_string(env->labels[i].value));
    return object;
}

static json_t *eval_root(struct pred_run *run, const char *name)
{
    const struct rbac_context *context = run->env->context;
    const json_t *value = NULL;
    if (strcmp(name, "user") == 0)
        value = run->env->user;
    else if (strcmp(name, "labels") == 0)
        return labels_object(run->env);
    else if (!context)
        return absent(run);
    else if (strcmp(name, "resource") == 0)
        value = context->resource;
    else if (strcmp(name, "session") == 0)
        value = context->session;
    else
        value = json_object_get(context->more, name);
    return value ? borrow(value) : absent(run);
}

/* Maps that every user and resource has, be they empty. */
static json_t *empty_map(const char *name)
{
    return strcmp(name, "labels") == 0 || strcmp(name, "traits") == 0 ? json_object() : NULL;
}

static json_t *eval_field(struct pred_run *run, const struct pred_node *node)
{
    json_t *base = eval(run, node->children[0]);
    json_t *value = NULL;
    if (!base)
        return NULL;
    if (json_is_object(base)) {
        const json_t *found = json_object_get(base, node->name);
        value = found && !json_is_null(found) ? borrow(found) : empty_map(node->name);
        if (!value)
            value = absent(run);
    } else if (json_is_null(base)) {
        value = absent(run);
    }
    json_decref(base);
    return value;
}

static bool names_traits(const struct pred_node *node)
{
    return node->kind == PRED_FIELD && strcmp(node->name, "traits") == 0;
}

/* labels["k"] without an object of all labels. NULL: it is not of that form. */
static json_t *eval_label(struct pred_run *run, const struct pred_node *node)
{
    const struct pred_env *env = run->env;
    const struct pred_node *base = node->children[0];
    const struct pred_node *key = node->children[1];
    if (base->kind != PRED_ROOT || strcmp(base->name, "labels") != 0 || key->kind != PRED_CONSTANT ||
        !json_is_string(key->constant))
        return NULL;
    for (size_t i = 0; i < env->label_count; i++)
        if (strcmp(env->labels[i].name, json_string_value(key->constant)) == 0)
            return json_string(env->labels[i].value);
    return json_null();
}

static json_t *eval_index(struct pred_run *run, const struct pred_node *node)
{
    json_t *label = eval_label(run, node);
    if (label)
        return label;
    json_t *base = eval(run, node->children[0]);
    json_t *key = base ? eval(run, node->children[1]) : NULL;
    json_t *value = NULL;
    if (base && json_is_string(key) && (json_is_object(base) || json_is_null(base))) {
        const json_t *found = json_object_get(base, json_string_value(key));
        if (found && !json_is_null(found))
            value = borrow(found);
        else /* a missing key of a map is empty, whatever the section */
            value = names_traits(node->children[0]) ? json_array() : json_null();
    }
    json_decref(base);
    json_decref(key);
    return value;
}

static json_t *eval_call(struct pred_run *run, const struct pred_node *node)
{
    json_t *arguments[PRED_MAX_ARGUMENTS];
    json_t *value = NULL;
    size_t count = 0;
    while (count < node->count && (arguments[count] = eval(run, node->children[count])))
        count++;
    if (count == node->count && node->function->call)
        value = node->function->call(run, arguments, count);
    while (count > 0)
        json_decref(arguments[--count]);
    return value;
}

/* && and || over all children, left to right, no further than needed. */
static json_t *eval_chain(struct pred_run *run, const struct pred_node *node, bool stop)
{
    for (size_t i = 0; i < node->count; i++) {
        json_t *value = eval(run, node->children[i]);
        bool is;
        if (!json_is_boolean(value)) {
            json_decref(value);
            return NULL;
        }
        is = json_is_true(value);
        json_decref(value);
        if (is == stop)
            return json_boolean(stop);
    }
    return json_boolean(!stop);
}

static json_t *eval_not(struct pred_run *run, const struct pred_node *node)
{
    json_t *value = eval(run, node->children[0]);
    json_t *result = json_is_boolean(value) ? json_boolean(!json_is_true(value)) : NULL;
    json_decref(value);
    return result;
}

bool pred_equal(const json_t *a, const json_t *b, bool *ret_equal)
{
    if (json_is_null(a) || json_is_null(b)) {
        const json_t *other = json_is_null(a) ? b : a;
        *ret_equal = json_is_null(other) || (json_is_string(other) && json_string_length(other) == 0) ||
                     (json_is_array(other) && json_array_size(other) == 0);
        return !json_is_object(other);
    }
    if (json_is_object(a) || json_is_object(b) ||
        (json_typeof(a) != json_typeof(b) && !(json_is_boolean(a) && json_is_boolean(b))))
        return false;
    *ret_equal = json_equal(a, b);
    return true;
}

static json_t *eval_compare(struct pred_run *run, const struct pred_node *node)
{
    json_t *a = eval(run, node->children[0]);
    json_t *b = a ? eval(run, node->children[1]) : NULL;
    json_t *value = NULL;
    bool equal;
    if (a && b && pred_equal(a, b, &equal))
        value = json_boolean(equal == (node->kind == PRED_IS_EQUAL));
    json_decref(a);
    json_decref(b);
    return value;
}

static json_t *eval(struct pred_run *run, const struct pred_node *node)
{
    if (run->steps++ >= PRED_MAX_STEPS)
        return NULL;
    switch (node->kind) {
    case PRED_CONSTANT:
        return borrow(node->constant);
    case PRED_ROOT:
        return eval_root(run, node->name);
    case PRED_FIELD:
        return eval_field(run, node);
    case PRED_INDEX:
        return eval_index(run, node);
    case PRED_CALL:
        return eval_call(run, node);
    case PRED_IS_NOT:
        return eval_not(run, node);
    case PRED_IS_AND:
        return eval_chain(run, node, false);
    case PRED_IS_OR:
        return eval_chain(run, node, true);
    case PRED_IS_EQUAL:
    case PRED_IS_UNEQUAL:
        return eval_compare(run, node);
    }
    return NULL;
}

enum pred_result pred_eval(const struct pred *pred, const struct pred_env *env)
{
    struct pred_run run = {.env = env};
    json_t *value = eval(&run, pred->root);
    enum pred_result result = json_is_true(value) ? PRED_TRUE : json_is_false(value) ? PRED_FALSE : PRED_FAILED;
    json_decref(value);
    if (env->spent)
        *env->spent += run.steps;
    return result;
}

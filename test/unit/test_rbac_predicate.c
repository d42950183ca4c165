#include "rbac_help.h"

#include "base/buf.h"
#include "rbac/pred_private.h"

static const char user_text[] = "{\"metadata\":{\"name\":\"alice\"},\"spec\":{\"roles\":[\"dev\",\"ops\"],"
                                "\"traits\":{\"team\":[\"red\"]}}}";
static const char session_text[] =
    "{\"participants\":[\"alice\",\"bob\"],\"user\":\"alice\",\"server_labels\":{\"env\":\"dev\"}}";
static const char resource_text[] = "{\"kind\":\"token\",\"metadata\":{\"name\":\"t1\"},\"spec\":{\"type\":\"user\"}}";

/* T true, F false, X fails; first for allow (absent fails), second for deny (absent is empty). */
static const struct {
    const char *text, *allow_deny;
} table[] = {
    {"true", "TT"},
    {"!true", "FF"},
    {"true && false || true", "TT"},
    {"true || false && false", "TT"},
    {"(true || false) && false", "FF"},
    {"\"a\" == \"a\"", "TT"},
    {"\"a\" != \"a\"", "FF"},
    {"`a` == \"a\"", "TT"},
    {"1 == 1", "TT"},
    {"1 == \"1\"", "XX"},
    {"\"\\n\" == \"\\t\"", "FF"},
    {"\"\\n\" == \"n\"", "FF"},
    {"\"\\t\" == \"t\"", "FF"},
    {"\"\\\"\\\\\" == `\"\\`", "TT"},
    {"`\\n` == \"\\\\n\"", "TT"},
    {"123456789012345678 == 123456789012345678", "TT"},
    {"set(\"a\").b == \"\"", "XX"},
    {"equals(user.metadata.name, \"alice\")", "TT"},
    {"user.metadata.name == session.user", "TT"},
    {"contains(session.participants, user.metadata.name)", "TT"},
    {"contains(session.participants, user)", "TT"},
    {"contains(session.participants, \"eve\")", "FF"},
    {"contains(user.spec.roles, \"dev\")", "TT"},
    {"contains(user.spec.traits[\"team\"], \"red\")", "TT"},
    {"contains(user.spec.traits[\"none\"], \"red\")", "FF"},
    {"!contains(ssh_session.participants, user.metadata.name)", "XT"},
    {"contains(ssh_session.participants, user.metadata.name)", "XF"},
    {"session.kubernetes_cluster == \"x\"", "XF"},
    {"session.server_labels[\"env\"] == \"dev\"", "TT"},
    {"session.server_labels[\"none\"] == \"\"", "TT"},
    {"session.server_labels[\"none\"] == \"x\"", "FF"},
    {"resource.metadata.labels[\"x\"] == \"y\"", "FF"},
    {"resource.metadata.labels[\"owner\"] == user.spec.traits[\"team\"]", "FF"},
    {"resource.kind == \"token\"", "TT"},
    {"system.catype() == \"user\"", "TT"},
    {"can_view()", "FF"},
    {"contains_any(user.spec.roles, set(\"x\", \"ops\"))", "TT"},
    {"contains_any(user.spec.roles, set())", "FF"},
    {"contains_any(user.spec.traits[\"none\"], set(\"x\"))", "FF"},
    {"contains_all(user.spec.roles, set(\"dev\", \"ops\"))", "TT"},
    {"contains_all(user.spec.roles, set(\"dev\", \"x\"))", "FF"},
    {"contains_all(user.spec.roles, set())", "FF"},
    {"is_subset(user.spec.roles, \"dev\", \"ops\", \"x\")", "TT"},
    {"is_subset(user.spec.roles, \"dev\")", "FF"},
    {"all_equal(user.spec.traits[\"team\"], \"red\")", "TT"},
    {"all_equal(user.spec.traits[\"none\"], \"red\")", "FF"},
    {"all_end_with(session.participants, \"e\")", "FF"},
    {"has_prefix(user.metadata.name, \"al\")", "TT"},
    {"contains(user.metadata.name, \"al\")", "XX"},
    {"user.metadata.name && true", "XX"},
    {"user == user", "XX"},
    {"false && user.metadata.none == \"x\"", "FF"},
    {"user.metadata.none == \"x\" || true", "XT"},
};

static char letter(enum pred_result result)
{
    return result == PRED_TRUE ? 'T' : result == PRED_FALSE ? 'F' : 'X';
}

static void test_table(void **state)
{
    json_t *user = json_loads(user_text, 0, NULL);
    json_t *session = json_loads(session_text, 0, NULL);
    json_t *resource = json_loads(resource_text, 0, NULL);
    struct rbac_context context = {.resource = resource, .session = session};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct pred_env env = {.user = user, .context = &context, .absent_fails = true};
        struct pred *pred = NULL;
        struct tp_error error = {0};
        char got[3] = "";
        if (pred_parse(table[i].text, PRED_WHERE, &pred, &error))
            fail_msg("%s: %s", table[i].text, error.text);
        got[0] = letter(pred_eval(pred, &env));
        env.absent_fails = false;
        got[1] = letter(pred_eval(pred, &env));
        if (strcmp(got, table[i].allow_deny) != 0)
            fail_msg("%s gave %s, not %s", table[i].text, got, table[i].allow_deny);
        pred_free(pred);
    }
    json_decref(user);
    json_decref(session);
    json_decref(resource);
}

static void test_syntax_errors_have_a_position(void **state)
{
    static const struct {
        const char *text, *position;
    } bad[] = {{"", "character 1:"},
               {"a.b == \"x\"", "character 1:"},
               {"user.metadata.name == ", "character 23:"},
               {"contains(user.spec.roles", "character 25:"},
               {"contains(user.spec.roles)", "character 25:"},
               {"nothing(user)", "character 1:"},
               {"user.name & user.name", "character 11:"},
               {"user.name == 'x'", "character 14:"},
               {"user.name == \"x", "character 14:"},
               {"user[\"a\" == \"b\"", "character 16:"},
               {"true true", "character 6:"},
               {"set(\"a\")", "not true or false"},
               {"\"text\"", "not true or false"},
               {"user. == \"x\"", "character 7:"},
               {"1x == 1", "character 1:"},
               {"log(\"info\", \"x\")", "character 1:"}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pred *pred = NULL;
        struct tp_error error = {0};
        if (pred_parse(bad[i].text, PRED_WHERE, &pred, &error) != TP_INVALID)
            fail_msg("%s was taken", bad[i].text);
        if (!strstr(error.text, bad[i].position))
            fail_msg("%s: \"%s\" does not say %s", bad[i].text, error.text, bad[i].position);
    }
}

/* Word for word: what comes first in the text is what is said. */
static void test_each_mistake_has_its_sentence(void **state)
{
    static const struct {
        const char *text;
        enum pred_dialect dialect;
        const char *says;
    } bad[] = {
        {"user == \"a\\x\"", PRED_WHERE, "9: unknown escape in a text; write \\\\ for one backslash"},
        {"user == \"a\\", PRED_WHERE, "9: unknown escape in a text; write \\\\ for one backslash"},
        {"user == `a", PRED_WHERE, "9: the closing quote is missing"},
        {"1234567890123456789 == 1", PRED_WHERE, "1: not a whole number"},
        {"user == 'x'", PRED_WHERE, "9: texts stand in double quotes here"},
        {"!'x'", PRED_WHERE, "2: texts stand in double quotes here"},
        {"true && 'x'", PRED_WHERE, "9: texts stand in double quotes here"},
        {"user.name'", PRED_WHERE, "10: texts stand in double quotes here"},
        {"user'", PRED_WHERE, "5: texts stand in double quotes here"},
        {"user.'", PRED_WHERE, "6: texts stand in double quotes here"},
        {"true = false", PRED_WHERE, "6: write &&, || or =="},
        {"true | false", PRED_WHERE, "6: write &&, || or =="},
        {"true # false", PRED_WHERE, "6: unexpected character"},
        {"user == \"\xff\"", PRED_WHERE, "9: the text is not UTF-8"},
        {"nothing(user)", PRED_WHERE, "1: unknown function \"nothing\""},
        {"user(\"x\")", PRED_WHERE, "1: unknown function \"user\""},
        {"nothing == user", PRED_WHERE, "1: unknown name \"nothing\""},
        {"regexp !match(labels.env, \"x\")", PRED_LABELS, "1: unknown name \"regexp\""},
        {"regexp.match == \"x\"", PRED_LABELS, "14: ( is expected here"},
        {"regexp.match'", PRED_LABELS, "13: texts stand in double quotes here"},
        {"regexp.nothing(labels.env)", PRED_LABELS, "1: unknown name \"regexp\""},
        {"email.local()", PRED_LABELS, "13: email.local takes at least 1 argument"},
        {"email.local(labels.a, labels.b)", PRED_LABELS, "31: email.local takes at most 1 argument"},
        {"equals(user)", PRED_WHERE, "12: equals takes at least 2 arguments"},
        {"equals(user, user, user)", PRED_WHERE, "24: equals takes at most 2 arguments"},
        {"is_subset()", PRED_WHERE, "11: is_subset takes at least 1 argument"},
        {"can_view(user)", PRED_WHERE, "14: can_view takes at most 0 arguments"},
        {"equals(user user)", PRED_WHERE, "13: , or ) is expected here"},
        {"equals('x', user)", PRED_WHERE, "8: texts stand in double quotes here"},
        {"user['x']", PRED_WHERE, "6: texts stand in double quotes here"},
        {"(true", PRED_WHERE, "6: ) is expected here"},
        {"() == user", PRED_WHERE, "2: a name, a text or ( is expected here"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *says = mem_printf("the expression is wrong at character %s", bad[i].says);
        struct pred *pred = NULL;
        struct tp_error error = {0};
        if (pred_parse(bad[i].text, bad[i].dialect, &pred, &error) != TP_INVALID)
            fail_msg("%s was taken", bad[i].text);
        if (strcmp(error.text, says) != 0)
            fail_msg("%s: \"%s\", not \"%s\"", bad[i].text, error.text, says);
        mem_free(says);
    }
}

/* TEXT for so many times, between head and tail: is it taken? */
static bool taken(const char *head, const char *text, size_t times, const char *tail)
{
    struct buf out;
    struct pred *pred = NULL;
    buf_init(&out, 0);
    assert_int_equal(buf_append_text(&out, head), TP_OK);
    for (size_t i = 0; i < times; i++)
        assert_int_equal(buf_append_text(&out, text), TP_OK);
    assert_int_equal(buf_append_text(&out, tail), TP_OK);
    bool good = pred_parse(buf_text(&out), PRED_WHERE, &pred, NULL) == TP_OK;
    pred_free(pred);
    buf_free(&out);
    return good;
}

/* The most that is taken is taken, and one more is not. */
static void test_bounds_are_where_they_are(void **state)
{
    (void)state;
    assert_true(taken("", "!", PRED_MAX_DEPTH - 1, "true"));
    assert_false(taken("", "!", PRED_MAX_DEPTH, "true"));
    /* A chain of n operands is n nodes and one of its own; nodes are counted before the next operand. */
    assert_true(taken("true", "||true", PRED_MAX_NODES - 1, ""));
    assert_false(taken("true", "||true", PRED_MAX_NODES, ""));
    assert_true(taken("user", ".a", PRED_MAX_NODES - 1, ""));
    assert_false(taken("user", ".a", PRED_MAX_NODES, ""));
    assert_true(taken("contains_any(user.spec.roles, set(\"\"", ",\"\"", PRED_MAX_ARGUMENTS - 1, "))"));
    assert_false(taken("contains_any(user.spec.roles, set(\"\"", ",\"\"", PRED_MAX_ARGUMENTS, "))"));
    struct tp_error error = {0};
    struct pred *pred = NULL;
    char text[2 * PRED_MAX_ARGUMENTS + 16] = "set(user";
    for (size_t i = 0; i < PRED_MAX_ARGUMENTS; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ",1");
    snprintf(text + strlen(text), sizeof text - strlen(text), ")");
    assert_int_equal(pred_parse(text, PRED_WHERE, &pred, &error), TP_INVALID);
    assert_non_null(strstr(error.text, ": set takes at most 64 arguments"));
    assert_true(taken("", " ", PRED_MAX_SIZE - 4, "true"));
    assert_false(taken("", " ", PRED_MAX_SIZE - 3, "true"));
}

static void test_depth_and_size_are_bounded(void **state)
{
    char *text = mem_alloc(9000);
    struct pred *pred = NULL;
    (void)state;
    memset(text, '(', 8000);
    assert_int_equal(pred_parse(text, PRED_WHERE, &pred, NULL), TP_INVALID);
    memset(text, '!', 8000);
    assert_int_equal(pred_parse(text, PRED_WHERE, &pred, NULL), TP_INVALID);
    memset(text, 'a', 8999);
    assert_int_equal(pred_parse(text, PRED_WHERE, &pred, NULL), TP_INVALID);
    mem_free(text);
}

static enum pred_result eval_with(const char *text, enum pred_dialect dialect, const struct pred_env *env)
{
    struct pred *pred = NULL;
    struct tp_error error = {0};
    assert_int_equal(pred_parse(text, dialect, &pred, &error), TP_OK);
    enum pred_result result = pred_eval(pred, env);
    pred_free(pred);
    return result;
}

/* A list costs a step an item: the same work is allowed whoever asks for it, and not one step more. */
static void test_lists_cost_steps(void **state)
{
    json_t *list = json_array();
    json_t *user = json_pack("{s:{s:{s:[s], s:O}}}", "spec", "traits", "few", "x", "many", list);
    struct pred_env env = {.user = user};
    size_t spent = 0, most = 0;
    (void)state;
    for (size_t i = 0; i < 9980; i++)
        json_array_append_new(list, json_string("y"));
    env.spent = &spent;
    for (size_t i = 9980; i < 10020; i++, spent = 0) {
        enum pred_result result =
            eval_with("contains_any(user.spec.traits[\"few\"], user.spec.traits[\"many\"])", PRED_LABELS, &env);
        if (result == PRED_FALSE)
            most = i;
        else
            assert_int_equal(result, PRED_FAILED);
        json_array_append_new(list, json_string("y"));
    }
    assert_int_equal(most, 9989); /* and eleven for the expression */
    /* What comes behind the list costs a step too. */
    most = 0;
    for (size_t i = 10020; i > 9980; i--, spent = 0) {
        json_array_remove(list, 0);
        if (eval_with("contains_any(user.spec.traits[\"few\"], user.spec.traits[\"many\"]) || false", PRED_LABELS,
                      &env) == PRED_FALSE &&
            i - 1 > most)
            most = i - 1;
    }
    assert_int_equal(most, 9987);
    json_decref(list);
    json_decref(user);
}

/* What is not there is not looked at. */
static void test_without_context_or_fields(void **state)
{
    json_t *bare = json_object();
    struct rbac_context context = {.resource = bare};
    struct pred_env env = {0};
    (void)state;
    assert_int_equal(eval_with("search(\"x\")", PRED_FILTER, &env), PRED_FALSE);
    assert_int_equal(eval_with("search(\"\")", PRED_FILTER, &env), PRED_FALSE);
    env.context = &context;
    assert_int_equal(eval_with("search(\"x\")", PRED_FILTER, &env), PRED_FALSE);
    env.context = NULL;
    assert_int_equal(eval_with("system.catype() == \"\"", PRED_WHERE, &env), PRED_TRUE);
    env.absent_fails = true;
    assert_int_equal(eval_with("system.catype() == \"\"", PRED_WHERE, &env), PRED_FAILED);
    assert_int_equal(eval_with("can_view()", PRED_WHERE, &env), PRED_FALSE);
    json_decref(bare);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table),
                                       cmocka_unit_test(test_syntax_errors_have_a_position),
                                       cmocka_unit_test(test_each_mistake_has_its_sentence),
                                       cmocka_unit_test(test_bounds_are_where_they_are),
                                       cmocka_unit_test(test_depth_and_size_are_bounded),
                                       cmocka_unit_test(test_lists_cost_steps),
                                       cmocka_unit_test(test_without_context_or_fields)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* YAML to nodes, nodes to JSON, JSON to YAML. */
#include "base/mem.h"
#include "base/node.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct node *parse(const char *text)
{
    struct node *node = NULL;
    struct tp_error error = {0};
    if (node_parse_one(text, strlen(text), "f", &node, &error) != TP_OK)
        fail_msg("%s", error.text);
    return node;
}

static void assert_refused(const char *text, const char *sentence)
{
    struct node **documents = NULL;
    size_t count = 0;
    struct tp_error error = {0};
    enum tp_err err = node_parse(text, strlen(text), "f.yaml", &documents, &count, &error);
    assert_true(err == TP_INVALID || err == TP_TOO_LARGE);
    if (!strstr(error.text, sentence))
        fail_msg("wrong sentence for %s: %s", text, error.text);
}

static void test_tree(void **state)
{
    struct node *node = parse("a: 1\nb:\n  - x\n  - 'y'\n# c\nc: {d: yes}\n");
    const struct node *list = node_get(node, "b");
    bool value = false;
    int64_t number = 0;
    (void)state;
    assert_int_equal(node->count, 3);
    assert_string_equal(node->keys[2], "c");
    assert_int_equal(node->key_lines[2], 6);
    assert_string_equal(node_get_text(node, "a", "?"), "1");
    assert_int_equal(node_int(node_get(node, "a"), &number), TP_OK);
    assert_int_equal(number, 1);
    assert_int_equal(list->kind, NODE_LIST);
    assert_int_equal(list->items[1]->line, 4);
    assert_int_equal(list->items[1]->column, 5);
    assert_true(list->items[1]->quoted);
    assert_int_equal(node_bool(node_get(node_get(node, "c"), "d"), &value), TP_OK);
    assert_true(value);
    assert_null(node_get(node, "z"));
    assert_null(node_get(NULL, "z"));
    assert_string_equal(node_get_text(node, "b", "?"), "?");
    node_free(node);
}

static void test_documents(void **state)
{
    static const char text[] = "---\na: 1\n---\n---\n# only a comment\n---\n[b]\n...\n";
    struct node **documents = NULL;
    struct node *one = NULL;
    size_t count = 0;
    struct tp_error error = {0};
    (void)state;
    assert_int_equal(node_parse(text, strlen(text), "f", &documents, &count, &error), TP_OK);
    assert_int_equal(count, 2);
    assert_int_equal(documents[1]->kind, NODE_LIST);
    node_free(documents[0]);
    node_free(documents[1]);
    mem_free(documents);
    assert_int_equal(node_parse_one(text, strlen(text), "f", &one, &error), TP_INVALID);
    assert_string_equal(error.text, "f:7: a second document begins here, only one is expected; remove the line ---");
    assert_int_equal(node_parse_one("", 0, "f", &one, &error), TP_INVALID);
    assert_string_equal(error.text, "f:1: the file is empty");
}

static void test_refused(void **state)
{
    (void)state;
    assert_refused("a:\n\tb: 1\n", "f.yaml:2: tabs cannot indent YAML, use spaces");
    assert_refused("a:\n  b: 1\n \tc: 2\n", "f.yaml:3: tabs cannot indent YAML, use spaces");
    assert_refused("a: 1\nb: 2\na: 3\n", "f.yaml:3: the key \"a\" stands twice, first in line 1; remove one");
    assert_refused(
        "kind: role\nmetadata:\nname: x\nspec:\nallow:\nlogins: [a]\ndeny:\nlogins: [b]\n",
        "f.yaml:3: the indentation was lost: \"name\" stands beside the empty \"metadata\" of line 2, not below "
        "it (and so \"logins\" stands twice, in lines 6 and 8); indent what belongs to a key");
    assert_refused("a:\nb: 1\nb: 2\nc:\n", "f.yaml:3: the key \"b\" stands twice, first in line 2; remove one");
    assert_refused("a: &x 1\n", "f.yaml:1: YAML anchors (&name) are not allowed");
    assert_refused("a: [1]\nb: *x\n", "f.yaml:2: YAML aliases (*name) are not allowed");
    assert_refused("a: !!str 1\n", "f.yaml:1: YAML tags (!name) are not allowed");
    assert_refused("a: !x {b: c}\n", "f.yaml:1: YAML tags (!name) are not allowed");
    assert_refused("a:\n  b: 1\n  <<: {b: 2}\n", "f.yaml:3: YAML merge keys (<<) are not allowed");
    assert_refused("%TAG ! tag:x,2000:\n---\na: 1\n", "f.yaml:1: YAML tags");
    assert_refused("{a: b}: c\n", "f.yaml:1: a key must be a plain text");
    assert_refused("a: [1, 2\nb: 3\n", "f.yaml:2: this is not valid YAML");
    assert_refused("a: \"\\0\"\n", "f.yaml:1: a text may not hold a NUL");
    assert_refused("a: 1\nb: \xff\n", "f.yaml:2: this is not UTF-8 text");
    assert_refused("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "f.yaml:1: nested deeper than 32 levels");
}

static void test_limits(void **state)
{
    struct tp_error error = {0};
    struct node **documents = NULL;
    size_t count = 0;
    size_t size = 10 * 1024 * 1024;
    char *text = mem_alloc(size);
    (void)state;
    memset(text, 'a', size);
    assert_int_equal(node_parse(text, size, "big", &documents, &count, &error), TP_TOO_LARGE);
    assert_non_null(strstr(error.text, "big:1: the file has 10485760 bytes"));
    for (size_t i = 0; i + 4 < NODE_MAX_BYTES; i += 4)
        memcpy(text + i, "- a\n", 4);
    assert_int_equal(node_parse(text, NODE_MAX_BYTES, "many", &documents, &count, &error), TP_TOO_LARGE);
    assert_non_null(strstr(error.text, "more than 100000 values"));
    mem_free(text);
}

static void assert_json(const char *yaml, const char *json)
{
    struct node *node = parse(yaml);
    json_t *value = node_to_json(node);
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_string_equal(text, json);
    free(text);
    json_decref(value);
    node_free(node);
}

static void test_to_json(void **state)
{
    (void)state;
    assert_json("a: true\nb: 'true'\nc: ~\nd:\ne: 12\nf: -1.5\ng: 007\nh: yes\n",
                "{\"a\":true,\"b\":\"true\",\"c\":null,\"d\":null,\"e\":12,\"f\":-1.5,\"g\":\"007\",\"h\":\"yes\"}");
    assert_json("[99999999999999999999, 9223372036854775807, 1.2.3, 0x10, 8h0m0s, .5, 1e3, '']",
                "[\"99999999999999999999\",9223372036854775807,\"1.2.3\",\"0x10\",\"8h0m0s\",0.5,1000.0,\"\"]");
    assert_json("{\"kind\": \"role\", \"spec\": {\"allow\": []}}", "{\"kind\":\"role\",\"spec\":{\"allow\":[]}}");
    assert_json("a: |\n  one\n  two\n", "{\"a\":\"one\\ntwo\\n\"}");
}

/* What its type would print differently stays as it was written. */
static void test_to_json_exact(void **state)
{
    (void)state;
    static const char yaml[] = "[1.10, 1.5, +5, -0, True, FALSE, true, 10, 1e3]";
    struct tp_error error = {0};
    struct node *node = NULL;
    assert_int_equal(node_parse_one(yaml, sizeof yaml - 1, "-", &node, &error), TP_OK);
    json_t *value = node_to_json_exact(node);
    char *text = json_dumps(value, JSON_COMPACT);
    assert_string_equal(text, "[\"1.10\",1.5,\"+5\",\"-0\",\"True\",\"FALSE\",true,10,\"1e3\"]");
    free(text);
    json_decref(value);
    node_free(node);
}

static void assert_yaml(const char *json, const char *yaml)
{
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    char *text = node_yaml_from_json(value);
    struct node *node;
    json_t *again;
    assert_string_equal(text, yaml);
    node = parse(text);
    again = node_to_json(node);
    assert_true(json_equal(value, again));
    json_decref(again);
    node_free(node);
    mem_free(text);
    json_decref(value);
}

static void test_to_yaml(void **state)
{
    (void)state;
    assert_yaml(
        "{\"kind\":\"role\",\"metadata\":{\"name\":\"dev\",\"id\":5},\"spec\":{\"allow\":{\"logins\":[\"root\",\"{{"
        "internal.logins}}\"],"
        "\"node_labels\":{\"*\":\"*\",\"env\":[\"yes\",\"12\",\"a "
        "b\"]},\"rules\":[{\"resources\":[\"user\"],\"verbs\":[]}]},"
        "\"options\":{\"max_session_ttl\":\"8h0m0s\",\"x\":true,\"y\":null,\"z\":{}}},\"version\":\"v5\"}",
        "kind: role\nmetadata:\n  name: dev\n  id: 5\nspec:\n  allow:\n    logins:\n    - root\n    - "
        "'{{internal.logins}}'\n"
        "    node_labels:\n      '*': '*'\n      env:\n      - \"yes\"\n      - \"12\"\n      - a b\n    rules:\n"
        "    - resources:\n      - user\n      verbs: []\n  options:\n    max_session_ttl: 8h0m0s\n    x: true\n    "
        "\"y\": null\n"
        "    z: {}\nversion: v5\n");
    assert_yaml(
        "{\"a\":\"one\\ntwo\\n\",\"b\":\"one\\n\\n  two\",\"c\":\" x\\ny\",\"d\":\"it's: so\",\"e\":\"10.0.0.1:443\"}",
        "a: |\n  one\n  two\nb: |-\n  one\n\n    two\nc: \" x\\ny\"\nd: 'it''s: so'\ne: 10.0.0.1:443\n");
    assert_yaml(
        "[[1,[2]],[],\"2026-11-24T01:02:03Z\",\"\",\"- a\",\"-a\",\"#\",\"a #b\",\"a:\",\"\\u0007\",\"\\u00e9\",1.5]",
        "- - 1\n  - - 2\n- []\n- \"2026-11-24T01:02:03Z\"\n- \"\"\n- '- a'\n- -a\n- '#'\n- 'a #b'\n- 'a:'\n- "
        "\"\\u0007\"\n- \xc3\xa9\n- 1.5\n");
    assert_yaml("\"plain\"", "plain\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),    cmocka_unit_test(test_documents), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),  cmocka_unit_test(test_to_json),   cmocka_unit_test(test_to_json_exact),
        cmocka_unit_test(test_to_yaml),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

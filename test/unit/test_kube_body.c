/* The name in a body: what is understood, and that what two readers could read differently is refused. */
#include "agent/kube_body.h"

#include "base/buf.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#define PROTO "application/vnd.kubernetes.protobuf"

static const struct row {
    const char *type;
    const char *body;
    size_t size;      /* 0: a text */
    const char *name; /* NULL: refused */
} rows[] = {
    {"application/json", "{\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"web\"}}", 0, "web"},
    {NULL, "{\"metadata\":{\"name\":\"web\"}}", 0, "web"},
    {"application/json; charset=utf-8", "{\"metadata\":{\"namespace\":\"default\"}}", 0, ""},
    {"application/json", "{}", 0, ""},
    {"application/json", "{\"metadata\":{\"name\":\"a\",\"name\":\"b\"}}", 0, NULL},
    {"application/json", "{\"metadata\":{\"name\":\"a\"},\"metadata\":{\"name\":\"b\"}}", 0, NULL},
    {"application/json", "{\"metadata\":{\"name\":\"a\",\"n\\u0061me\":\"b\"}}", 0, NULL},
    {"application/json", "{\"metadata\":{\"name\":\"a\"},\"metadat\\u0061\":{\"name\":\"b\"}}", 0, NULL},
    {"application/json", "{\"metadata\":[\"name\"]}", 0, NULL},
    {"application/json", "{\"metadata\":null}", 0, ""},
    {"application/json", "{\"metadata\":{\"name\":\"a\"}} {}", 0, NULL},
    {"application/json", "{\"metadata\":{\"name\":\"a\\u0000b\"}}", 0, NULL},
    {"application/json", "{\"metadata\":{\"name\":7}}", 0, NULL},
    {"application/json", "metadata: {name: web}", 0, NULL},
    {"application/yaml", "metadata:\n  name: web\n", 0, "web"},
    {"application/yaml", "metadata: {name: a}\n---\nmetadata: {name: b}\n", 0, NULL},
    {"application/yaml", "metadata: {name: web, generateName: db-}\n", 0, "web"},
    {"application/yaml", "metadata:\n  name: web\n  <<: {name: db}\n", 0, NULL},
    {"application/yaml", "<<: {metadata: {name: db}}\n", 0, NULL},
    {"application/cbor", "\xa0", 0, NULL},
    /* Unknown{raw: Object{metadata: ObjectMeta{name: "web"}}} */
    {PROTO, "k8s\0\x12\x07\x0a\x05\x0a\x03web", 13, "web"},
    {PROTO, "k8s\0\x0a\x04\x0a\x02v1\x12\x07\x0a\x05\x0a\x03web", 19, "web"},
    {PROTO, "k8s\0\x12\x07\x0a\x05\x1a\x03web", 13, ""},
    {PROTO, "k8s\0\x12\x0c\x0a\x0a\x0a\x03web\x0a\x03two", 18, NULL},
    {PROTO, "k8s\0\x12\x07\x0a\x05\x0a\x09web", 13, NULL},
    /* A second name, as the member 2^32 + 1, which Go reads as 1. */
    {PROTO,
     "k8s\0\x12\x10\x0a\x0e\x0a\x03web\x8a\x80\x80\x80\x80\x01\x02"
     "db",
     22, NULL},
    {PROTO, "k8s\0\x12\x07\x0a\x05\x0a\x03web\x1a\x04gzip", 19, NULL},
    {PROTO, "{\"metadata\":{\"name\":\"web\"}}", 0, NULL},
};

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        char *name = NULL;
        struct tp_error error = {0};
        enum tp_err err =
            kube_body_name(row->type, row->body, row->size != 0 ? row->size : strlen(row->body), &name, &error);
        if ((err == TP_OK) != (row->name != NULL)) {
            fail_msg("row %zu: %s", i, error.text);
        }
        if (row->name != NULL) {
            assert_string_equal(name, row->name);
        } else {
            assert_null(name);
            assert_string_not_equal(error.text, "");
        }
        mem_free(name);
    }
}

/* json-iterator knows "metadata" by a hash, and took these keys for it: a role that allows some names allowed all. */
static void test_a_key_with_the_hash_of_metadata_is_refused(void **state)
{
    static const struct row twins[] = {
        {"application/json", "{\"metadata\":{\"name\":\"a\"},\"BdxYd386BklkaHcfk956fq3l\":{\"name\":\"b\"}}", 0, NULL},
        {"application/json", "{\"wHRhyLM7MAbt0HNvZJkaMOOJ\":{\"name\":\"b\"},\"metadata\":{\"name\":\"a\"}}", 0, NULL},
        {"application/json", "{\"metadata\":{\"name\":\"a\"},\"BdxYd386BklkaHcfk956fq3\\u006c\":{\"name\":\"b\"}}", 0,
         NULL},
        {"application/yaml", "metadata: {name: a}\nwHRhyLM7MAbt0HNvZJkaMOOJ: {name: b}\n", 0, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(twins) / sizeof(twins[0]); i++) {
        char *name = NULL;
        struct tp_error error = {0};
        assert_int_equal(kube_body_name(twins[i].type, twins[i].body, strlen(twins[i].body), &name, &error),
                         TP_INVALID);
        assert_null(name);
    }
}

static void is_denied(const struct row *row)
{
    char *name = NULL;
    struct tp_error error = {0};
    assert_int_equal(
        kube_body_name(row->type, row->body, row->size != 0 ? row->size : strlen(row->body), &name, &error), TP_DENIED);
    assert_null(name);
}

static void test_a_name_that_the_cluster_chooses_is_no_name(void **state)
{
    static const struct row generated[] = {
        {"application/json", "{\"metadata\":{\"generateName\":\"web-\"}}", 0, NULL},
        {"application/json", "{\"metadata\":{\"name\":\"\",\"generateName\":\"web-\"}}", 0, NULL},
        {"application/json", "{\"metadata\":{\"name\":null,\"generateName\":\"web-\"}}", 0, NULL},
        {"application/yaml", "metadata: {generateName: web-}\n", 0, NULL},
        {"application/yaml", "metadata: {name: \"\", generateName: web-}\n", 0, NULL},
        {PROTO, "k8s\0\x12\x07\x0a\x05\x12\x03web", 13, NULL},
        {PROTO, "k8s\0\x12\x09\x0a\x07\x0a\0\x12\x03web", 15, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(generated) / sizeof(generated[0]); i++) {
        is_denied(&generated[i]);
    }
}

/* Go reads half a character as U+FFFD, and a role may have that in its name, or a NUL: "deny admin-*" did not see it. */
static void test_a_prefix_that_is_no_clear_text_is_one(void **state)
{
    static const struct row unclear[] = {
        {"application/json", "{\"metadata\":{\"generateName\":\"web-\\u0000\"}}", 0, NULL},
        {"application/json", "{\"metadata\":{\"generateName\":\"web-\\ud800\"}}", 0, NULL},
        {"application/json", "{\"metadata\":{\"generateName\":\"web-\xff\"}}", 0, NULL},
        {"application/json", "{\"metadata\":{\"generateName\":7}}", 0, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(unclear) / sizeof(unclear[0]); i++) {
        is_denied(&unclear[i]);
    }
}

/* Names as a reader has them that undoes escapes; and the tree of a large body would cost what a person can't be let cost. */
static void test_a_body_is_read_without_a_tree(void **state)
{
    static const size_t many = (size_t)4 * 1024 * 1024;
    struct buf body;
    struct rusage before;
    struct rusage after;
    struct tp_error error = {0};
    char *name = NULL;
    (void)state;
    buf_init(&body, 0);
    (void)buf_append_text(&body, "{\"m\\u0065tadata\":{\"n\\u0061me\":\"w\\u0065b\"},\"data\":{\"z\":1");
    for (unsigned i = 0; buf_size(&body) < many; i++) {
        (void)buf_printf(&body, ",\"%x\":\"\"", i);
    }
    (void)buf_append_text(&body, "}}");
    (void)getrusage(RUSAGE_SELF, &before);
    assert_int_equal(kube_body_name("application/json", buf_head(&body), buf_size(&body), &name, &error), TP_OK);
    (void)getrusage(RUSAGE_SELF, &after);
    assert_string_equal(name, "web");
    assert_true((size_t)(after.ru_maxrss - before.ru_maxrss) * 1024 < 5 * many);
    mem_free(name);
    buf_free(&body);
}

#define REVIEW_ATTRIBUTES "\x0a\x02ns\x12\x03get\x2a\x04pods\x3a\x01p"

static void test_what_is_asked(void **state)
{
    static const struct {
        const char *type;
        const char *body;
        size_t size;
        const char *attributes; /* NULL: nothing that we understand */
    } questions[] = {
        {"application/json", "{\"spec\":{\"resourceAttributes\":{\"verb\":\"get\",\"resource\":\"pods\"}}}", 0,
         "{\"verb\":\"get\",\"resource\":\"pods\"}"},
        {"application/json", "{\"spec\":{\"nonResourceAttributes\":{\"verb\":\"get\"}}}", 0, NULL},
        {"application/json", "{\"spec\":{\"resourceAttributes\":[]}}", 0, NULL},
        {"application/json", "{", 0, NULL},
        {"application/yaml", "spec: {resourceAttributes: {verb: get}}", 0, NULL},
        {PROTO, "k8s\0\x12\x16\x12\x14\x0a\x12" REVIEW_ATTRIBUTES, 28,
         "{\"namespace\":\"ns\",\"verb\":\"get\",\"resource\":\"pods\",\"name\":\"p\"}"},
        {PROTO, "k8s\0\x12\x16\x12\x14\x12\x12" REVIEW_ATTRIBUTES, 28, NULL}, /* nonResourceAttributes */
        {PROTO, "k8s\0\x12\x17\x12\x14\x0a\x12" REVIEW_ATTRIBUTES, 28, NULL},
        {PROTO, "k8s\0\x12\x07\x12\x05\x0a\x03\x12\x01\xff", 13, NULL}, /* no UTF-8 */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        size_t size = questions[i].size != 0 ? questions[i].size : strlen(questions[i].body);
        json_t *attributes = kube_body_attributes(questions[i].type, questions[i].body, size);
        char *text = attributes != NULL ? json_text(attributes) : mem_strdup("");
        assert_string_equal(text, questions[i].attributes != NULL ? questions[i].attributes : "");
        mem_free(text);
        json_decref(attributes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_key_with_the_hash_of_metadata_is_refused),
                                       cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_a_name_that_the_cluster_chooses_is_no_name),
                                       cmocka_unit_test(test_a_prefix_that_is_no_clear_text_is_one),
                                       cmocka_unit_test(test_a_body_is_read_without_a_tree),
                                       cmocka_unit_test(test_what_is_asked)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

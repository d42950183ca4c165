/* Filters of lists and watches: what may not be seen is gone, what may is there, what is not understood ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "kube/kube_filter.h"
#include "kube/kube_proto.h"

#include <string.h>
#include <sys/resource.h>

/* Pods in namespace dev, and one by name elsewhere. */
static struct rbac_kube_rules *some_rules(void)
{
    json_t *json =
        json_loads("{\"allowed\": [{\"kind\": \"pods\", \"api_group\": \"\", \"namespace\": \"dev\", \"name\": "
                   "\"*\", \"verbs\": [\"*\"]}, {\"kind\": \"pods\", \"api_group\": \"\", \"namespace\": \"*\", "
                   "\"name\": \"shown\", \"verbs\": [\"list\", \"watch\"]}], \"denied\": [{\"kind\": \"pods\", "
                   "\"api_group\": \"\", \"namespace\": \"dev\", \"name\": \"secret\", \"verbs\": [\"*\"]}]}",
                   0, NULL);
    struct rbac_kube_rules *rules = NULL;
    assert_int_equal(rbac_kube_rules_new(json, &rules, NULL), TP_OK);
    json_decref(json);
    return rules;
}

#define JSON "application/json"
#define PROTO "application/vnd.kubernetes.protobuf"

/* A seal of a kind: "<token>". */
static char *hide(void *ctx, const char *token)
{
    (void)ctx;
    return mem_printf("<%s>", token);
}

static char *show(void *ctx, const char *hidden)
{
    size_t size = strlen(hidden);
    (void)ctx;
    return size > 2 && hidden[0] == '<' && hidden[size - 1] == '>' ? mem_strndup(hidden + 1, size - 2) : NULL;
}

static const struct kube_filter_pages pages = {hide, show, NULL};

/* Filters in pieces of step bytes. */
static enum tp_err filter(bool watch, const char *type, const void *data, size_t size, size_t step, struct buf *out)
{
    struct rbac_kube_rules *rules = some_rules();
    struct kube_request *request = NULL;
    struct kube_filter *one = NULL;
    struct tp_error error = {0};
    enum tp_err err = kube_request_parse("GET", "/api/v1/pods", watch ? "watch=1" : NULL, &request, NULL);
    assert_int_equal(err, TP_OK);
    buf_clear(out);
    err = kube_filter_new(rules, request, type, &pages, &one, &error);
    for (size_t at = 0; at < size && !err; at += step)
        err = kube_filter_feed(one, (const char *)data + at, size - at < step ? size - at : step, out, &error);
    if (!err)
        err = kube_filter_end(one, out, &error);
    assert_int_equal(err != TP_OK, error.text[0] != '\0');
    kube_filter_free(one);
    kube_request_free(request);
    rbac_kube_rules_free(rules);
    return err;
}

static void expect(bool watch, const char *text, const char *expected)
{
    struct buf out;
    buf_init(&out, 0);
    for (size_t step = 1; step < 10000; step *= 7) {
        assert_int_equal(filter(watch, JSON ";charset=utf-8", text, strlen(text), step, &out), TP_OK);
        assert_string_equal(buf_text(&out), expected);
    }
    buf_free(&out);
}

static void expect_invalid(bool watch, const char *text)
{
    struct buf out;
    buf_init(&out, 0);
    if (filter(watch, JSON, text, strlen(text), 5, &out) == TP_OK)
        fail_msg("%s was taken: %s", text, buf_text(&out));
    buf_free(&out);
}

#define POD(ns, name) "{\"metadata\":{\"namespace\":\"" ns "\",\"name\":\"" name "\"},\"spec\":{\"n\":1.5}}"
#define ROW(ns, name) "{\"cells\":[\"" name "\"],\"object\":" POD(ns, name) "}"

static void test_lists(void **state)
{
    (void)state;
    expect(false,
           "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[" POD(
               "dev", "a") "," POD("dev", "secret") "," POD("prod", "b") "," POD("prod", "shown") "]}",
           "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[" POD(
               "dev", "a") "," POD("prod", "shown") "]}\n");
    expect(false, "{\"kind\":\"PodList\",\"items\":null}", "{\"kind\":\"PodList\",\"items\":null}\n");
    expect(false, "{\"kind\":\"Table\",\"rows\":[" ROW("prod", "b") "," ROW("dev", "a") "]}",
           "{\"kind\":\"Table\",\"rows\":[" ROW("dev", "a") "]}\n");
    expect(false, "{\"kind\":\"Status\",\"status\":\"Failure\"}", "{\"kind\":\"Status\",\"status\":\"Failure\"}\n");
}

static void test_lists_that_are_not_understood(void **state)
{
    (void)state;
    expect_invalid(false, "");
    expect_invalid(false, "[]");
    expect_invalid(false, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"b\"}}");
    expect_invalid(false, "{\"kind\":\"PodList\",\"items\":{\"a\":1}}");
    expect_invalid(false, "{\"kind\":\"Table\",\"items\":[]}");
    expect_invalid(false, "{\"kind\":\"PodList\",\"items\":[],\"items\":[" POD("prod", "b") "]}");
    expect_invalid(false, "{\"kind\":\"PodList\",\"items\":[]} {}");
    static const char *const broken[] = {"tru",    "01",   "1.",   "-",     "1e",     "\"a",   "\"\\x\"", "\"\\u12g4\"",
                                         "\"\n\"", "[1,]", "[,1]", "[1 2]", "[1}",    "{1:2}", "{\"a\"}", "{\"a\":1,}",
                                         "nul",    "\"\\", "",     "+1",    "{\"a\"", "[[[]]"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        char *list =
            mem_printf("{\"items\":[{\"metadata\":{\"namespace\":\"dev\",\"name\":\"a\"},\"b\":%s}]}", broken[i]);
        expect_invalid(false, list);
        mem_free(list);
    }
}

/* Names and keys may be written with escapes; a name that stands twice is none. */
static void test_names_that_are_written_in_other_ways(void **state)
{
    static const char shown[] =
        "{\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"namespace\":\"d\\u0065v\",\"name\":\"a\"},"
        "\"<\\n\\u003c\":[1e5,-0.25E-3,true,false,null,{},[]]}]}";
    static const char hidden[] =
        "{\"kind\":\"PodList\",\"items\":[{\"m\\u0065tadata\":{\"namespace\":\"dev\",\"n\\u0061me\":"
        "\"s\\u0065cret\"}}]}";
    (void)state;
    char *with_line = mem_printf("%s\n", shown);
    expect(false, shown, with_line);
    mem_free(with_line);
    expect(false, hidden, "{\"kind\":\"PodList\",\"items\":[]}\n");
    expect_invalid(false,
                   "{\"items\":[{\"metadata\":{\"namespace\":\"dev\",\"name\":\"secret\",\"n\\u0061me\":\"a\"}}]}");
    expect_invalid(false, "{\"items\":[{\"metadata\":{},\"metadat\\u0061\":{\"namespace\":\"dev\",\"name\":\"a\"}}]}");
    expect_invalid(false, "{\"items\":[],\"item\\u0073\":[]}");
}

/* As a tree an object of small texts takes seventeen times as much, and seconds of an agent's only thread. */
static void expect_no_tree(bool watch, size_t many)
{
    struct buf list;
    struct buf out;
    struct rusage before;
    struct rusage after;
    buf_init(&list, 0);
    buf_init(&out, 0);
    (void)buf_append_text(&list, watch ? "{\"type\":\"ADDED\",\"object\":" : "{\"items\":[");
    (void)buf_append_text(&list, "{\"metadata\":{\"namespace\":\"dev\",\"name\":\"a\"},\"data\":{\"z\":1");
    for (unsigned i = 0; buf_size(&list) < many; i++)
        (void)buf_printf(&list, ",\"%x\":\"\"", i);
    (void)buf_append_text(&list, watch ? "}}}" : "}}]}");
    (void)getrusage(RUSAGE_SELF, &before);
    assert_int_equal(filter(watch, JSON, buf_head(&list), buf_size(&list), buf_size(&list), &out), TP_OK);
    (void)getrusage(RUSAGE_SELF, &after);
    assert_int_equal(buf_size(&out), buf_size(&list) + 1);
    assert_true((size_t)(after.ru_maxrss - before.ru_maxrss) * 1024 < 10 * many);
    buf_free(&list);
    buf_free(&out);
}

static void test_an_event_is_filtered_without_a_tree(void **state)
{
    (void)state;
    expect_no_tree(true, 7 * 1024 * 1024);
}

static void test_a_list_is_filtered_without_a_tree(void **state)
{
    (void)state;
    expect_no_tree(false, 16 * 1024 * 1024);
}

/* Rows without metadata, names with a NUL: not shown. */
static void test_what_has_no_clear_name_is_not_shown(void **state)
{
    (void)state;
    expect(false, "{\"kind\":\"Table\",\"rows\":[{\"cells\":[\"a\"]},{\"cells\":[],\"object\":null}]}",
           "{\"kind\":\"Table\",\"rows\":[]}\n");
    expect(false, "{\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"namespace\":\"dev\\u0000\",\"name\":\"x\"}},{}]}",
           "{\"kind\":\"PodList\",\"items\":[]}\n");
}

#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"

static void test_watches(void **state)
{
    (void)state;
    expect(true,
           EVENT("ADDED", POD("dev", "a")) EVENT("ADDED", POD("prod", "b")) EVENT("DELETED", POD("prod", "shown"))
               EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"9\"}}") EVENT("ERROR", "{\"kind\":\"Status\"}")
                   EVENT("ADDED", "{\"kind\":\"Table\",\"rows\":[" ROW("prod", "b") "]}")
                       EVENT("ADDED", "{\"kind\":\"Table\",\"rows\":[" ROW("dev", "}\\\"{") "]}"),
           EVENT("ADDED", POD("dev", "a")) EVENT("DELETED", POD("prod", "shown"))
               EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"9\"}}") EVENT("ERROR", "{\"kind\":\"Status\"}")
                   EVENT("ADDED", "{\"kind\":\"Table\",\"rows\":[" ROW("dev", "}\\\"{") "]}"));
    expect_invalid(true, EVENT("ADDED", POD("dev", "a")) "{\"type\":");
    expect_invalid(true, "{\"object\":{}}\n");
    expect_invalid(true, "garbage");
}

static void test_other_types_are_refused(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(filter(false, "application/yaml", "x", 1, 1, &out), TP_INVALID);
    assert_int_equal(filter(false, NULL, "x", 1, 1, &out), TP_INVALID);
    buf_free(&out);
}

/* ---- protobuf ---- */

static void put_text(struct buf *out, uint32_t number, const char *text)
{
    assert_int_equal(kube_proto_put(out, number, text, strlen(text)), TP_OK);
}

static void put_buf(struct buf *out, uint32_t number, struct buf *in)
{
    assert_int_equal(kube_proto_put(out, number, buf_head(in), buf_size(in)), TP_OK);
    buf_free(in);
}

static void put_pod(struct buf *out, uint32_t number, const char *ns, const char *name)
{
    struct buf meta, pod;
    buf_init(&meta, 0);
    buf_init(&pod, 0);
    put_text(&meta, 1, name);
    put_text(&meta, 3, ns);
    put_buf(&pod, 1, &meta);
    wr_u8(&pod, 0x20); /* a varint that we do not know */
    wr_u8(&pod, 0x05);
    if (number == 0)
        wr_bytes(out, buf_head(&pod), buf_size(&pod));
    else
        put_buf(out, number, &pod);
    if (number == 0)
        buf_free(&pod);
}

static void put_envelope(struct buf *out, const char *kind, struct buf *raw)
{
    struct buf meta;
    buf_init(&meta, 0);
    put_text(&meta, 1, "v1");
    put_text(&meta, 2, kind);
    wr_bytes(out, "k8s\0", 4);
    put_buf(out, 1, &meta);
    put_buf(out, 2, raw);
    put_text(out, 3, "");
    put_text(out, 4, "");
}

static void make_list(struct buf *out, const char *kind, const char *const names[][2], size_t count)
{
    struct buf list;
    buf_init(&list, 0);
    put_text(&list, 1, "\x12\x01\x37"); /* ListMeta {resourceVersion: "7"} */
    for (size_t i = 0; i < count; i++)
        put_pod(&list, 2, names[i][0], names[i][1]);
    put_envelope(out, kind, &list);
}

static void test_protobuf_lists(void **state)
{
    (void)state;
    static const char *const all[][2] = {{"dev", "a"}, {"dev", "secret"}, {"prod", "b"}, {"prod", "shown"}};
    static const char *const left[][2] = {{"dev", "a"}, {"prod", "shown"}};
    struct buf in, expected, out;
    buf_init(&in, 0);
    buf_init(&expected, 0);
    buf_init(&out, 0);
    make_list(&in, "PodList", all, 4);
    make_list(&expected, "PodList", left, 2);
    for (size_t step = 1; step < 1000; step *= 9) {
        assert_int_equal(filter(false, PROTO, buf_head(&in), buf_size(&in), step, &out), TP_OK);
        assert_int_equal(buf_size(&out), buf_size(&expected));
        assert_memory_equal(buf_head(&out), buf_head(&expected), buf_size(&out));
    }
    /* Every cut is an error, never a part of a list. */
    for (size_t size = 0; size < buf_size(&in); size++)
        if (filter(false, PROTO, buf_head(&in), size, 1000, &out) == TP_OK)
            assert_true(size > buf_size(&in) - 5); /* what is cut off there are empty fields */
    buf_clear(&in);
    make_list(&in, "Pod", all, 4);
    assert_int_equal(filter(false, PROTO, buf_head(&in), buf_size(&in), 100, &out), TP_INVALID);
    buf_free(&in);
    buf_free(&expected);
    buf_free(&out);
}

static void put_event(struct buf *out, const char *type, const char *ns, const char *name)
{
    struct buf pod, envelope, extension, event;
    buf_init(&pod, 0);
    buf_init(&envelope, 0);
    buf_init(&extension, 0);
    buf_init(&event, 0);
    put_pod(&pod, 0, ns, name);
    put_envelope(&envelope, "Pod", &pod);
    put_buf(&extension, 1, &envelope);
    put_text(&event, 1, type);
    put_buf(&event, 2, &extension);
    wr_u32(out, (uint32_t)buf_size(&event));
    wr_bytes(out, buf_head(&event), buf_size(&event));
    buf_free(&event);
}

static void test_protobuf_watches(void **state)
{
    (void)state;
    struct buf in, expected, out;
    buf_init(&in, 0);
    buf_init(&expected, 0);
    buf_init(&out, 0);
    put_event(&in, "ADDED", "dev", "a");
    put_event(&in, "ADDED", "prod", "b");
    put_event(&in, "MODIFIED", "dev", "secret");
    put_event(&in, "DELETED", "prod", "shown");
    put_event(&in, "BOOKMARK", "", "");
    put_event(&expected, "ADDED", "dev", "a");
    put_event(&expected, "DELETED", "prod", "shown");
    put_event(&expected, "BOOKMARK", "", "");
    for (size_t step = 1; step < 1000; step *= 9) {
        assert_int_equal(filter(true, PROTO ";stream=watch", buf_head(&in), buf_size(&in), step, &out), TP_OK);
        assert_int_equal(buf_size(&out), buf_size(&expected));
        assert_memory_equal(buf_head(&out), buf_head(&expected), buf_size(&out));
    }
    assert_int_equal(filter(true, PROTO, "\xff\xff\xff\xff", 4, 1, &out), TP_TOO_LARGE);
    assert_int_equal(filter(true, PROTO, "\0\0\0\4junk", 8, 1, &out), TP_INVALID);
    buf_free(&in);
    buf_free(&expected);
    buf_free(&out);
}

static void test_query(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {NULL, "includeObject=Metadata"},
        {"limit=500", "limit=500&includeObject=Metadata"},
        {"includeObject=None&limit=5", "limit=5&includeObject=Metadata"},
        {"a=b&include%4Fbject=None", "a=b&includeObject=Metadata"},
        {"continue=&limit=5", "continue=&limit=5&includeObject=Metadata"},
        {"limit=5&c%6Fntinue=%3Cabc%3E", "limit=5&continue=abc&includeObject=Metadata"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *query = kube_filter_query(rows[i][0], &pages);
        assert_string_equal(query, rows[i][1]);
        mem_free(query);
    }
    /* A token that was not given out tells, page by page, what is there. */
    assert_null(kube_filter_query("limit=1&continue=abc", &pages));
    assert_null(kube_filter_query("continue=%3Cabc%3E&continue=abc", &pages));
}

/* R10: an API server that others run beside the cluster's own makes the token, and the next page is asked for with our credentials. */
static void test_R10_a_token_is_no_header(void **state)
{
    (void)state;
    char *query = kube_filter_query(
        "continue=%3Ca+HTTP/1.1%0D%0AImpersonate-Group:+system:masters%0D%0AX:+%C3%A9%26b%3D%25%3E", &pages);
    assert_string_equal(query,
                        "continue=a%20HTTP%2F1.1%0D%0AImpersonate-Group%3A%20system%3Amasters%0D%0AX%3A%20%C3%A9%26b"
                        "%3D%25&includeObject=Metadata");
    mem_free(query);
}

/* R5: the API server's token holds the name of the last object, shown or not, and the count all that follow. */
static void test_R5_pages_name_nothing_that_is_not_shown(void **state)
{
    (void)state;
    expect(false,
           "{\"kind\":\"PodList\",\"metadata\":{\"continue\":\"secret\",\"remainingItemCount\":3,"
           "\"resourceVersion\":\"7\"},\"items\":[]}",
           "{\"kind\":\"PodList\",\"metadata\":{\"continue\":\"<secret>\",\"resourceVersion\":\"7\"},\"items\":[]}\n");
    expect(false, "{\"kind\":\"Table\",\"metadata\":{\"continue\":\"secret\"},\"rows\":[]}",
           "{\"kind\":\"Table\",\"metadata\":{\"continue\":\"<secret>\"},\"rows\":[]}\n");
    expect(false, "{\"kind\":\"Status\",\"metadata\":{\"continue\":\"secret\"},\"code\":410}",
           "{\"kind\":\"Status\",\"metadata\":{\"continue\":\"<secret>\"},\"code\":410}\n");
    expect(false, "{\"kind\":\"PodList\",\"metadata\":{\"continue\":\"a\\u0000secret\"},\"items\":[]}",
           "{\"kind\":\"PodList\",\"metadata\":{},\"items\":[]}\n");
    static const char *const kinds[] = {"PodList", "Status"};
    for (size_t i = 0; i < 2; i++) {
        struct buf list, in, expected, out;
        buf_init(&list, 0);
        buf_init(&in, 0);
        buf_init(&expected, 0);
        buf_init(&out, 0);
        put_text(&list, 1, "\x12\x01\x37\x1a\x06secret\x20\x03"); /* resourceVersion, continue, remainingItemCount */
        put_envelope(&in, kinds[i], &list);
        buf_init(&list, 0);
        put_text(&list, 1, "\x12\x01\x37\x1a\x08<secret>");
        put_envelope(&expected, kinds[i], &list);
        assert_int_equal(filter(false, PROTO, buf_head(&in), buf_size(&in), 7, &out), TP_OK);
        assert_int_equal(buf_size(&out), buf_size(&expected));
        assert_memory_equal(buf_head(&out), buf_head(&expected), buf_size(&out));
        buf_free(&in);
        buf_free(&expected);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_lists_that_are_not_understood),
        cmocka_unit_test(test_names_that_are_written_in_other_ways),
        cmocka_unit_test(test_an_event_is_filtered_without_a_tree), /* the smaller one first: only a new peak is seen */
        cmocka_unit_test(test_a_list_is_filtered_without_a_tree),
        cmocka_unit_test(test_what_has_no_clear_name_is_not_shown),
        cmocka_unit_test(test_watches),
        cmocka_unit_test(test_other_types_are_refused),
        cmocka_unit_test(test_protobuf_lists),
        cmocka_unit_test(test_protobuf_watches),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_R10_a_token_is_no_header),
        cmocka_unit_test(test_R5_pages_name_nothing_that_is_not_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

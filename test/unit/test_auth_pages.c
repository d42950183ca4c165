/* Pages of items that a call makes: words, labels, columns, and keys that stay places while items come and go. */
#include "auth/inner.h"
#include "auth/pages.h"
#include "auth_help.h"

static const struct pages_column COLUMNS[] = {
    {"name", {"meta.name"}}, {"roles", {"roles"}}, {"where", {"cluster", "host", "login"}}, {NULL, {NULL}}};
static const char *const SEARCH[] = {"meta.name", "roles", "login@host", "target", "channels.command", NULL};
static const struct pages PAGES = {COLUMNS, SEARCH, "meta.name", "labels"};

static json_t *item(const char *name, const char *roles, const char *login, const char *host)
{
    return json_pack("{s:{s:s}, s:[s, s], s:s, s:s, s:{s:s}, s:[{s:s}, {}], s:{s:[s, s]}}", "meta", "name", name,
                     "roles", roles, "shared", "login", login, "host", host, "target", "user", name, "channels",
                     "command", "top -d 1", "labels", "env", "dev", "prod");
}

static json_t *five(void)
{
    return json_pack("[o, o, o, o, o]", item("bob", "b", "root", "web"), item("Alice", "x", "root", "db"),
                     item("carol", "a", "ubuntu", "web"), item("alice", "c", "root", "app"), item("dave", "b", "", ""));
}

/* Names of a page and its key, as "a b|key". params is stolen. */
static char *page_of(json_t *items, json_t *params)
{
    struct tp_error error = {0};
    json_t *page = NULL;
    struct buf out;
    size_t i;
    json_t *one;
    buf_init(&out, 0);
    if (pages_make(&PAGES, items, params, &page, &error) != TP_OK) {
        (void)buf_printf(&out, "error: %s", error.text);
        json_decref(params);
        return buf_take(&out);
    }
    json_array_foreach (json_object_get(page, "items"), i, one) {
        (void)buf_printf(&out, "%s%s", i > 0 ? " " : "", json_get_text(json_object_get(one, "meta"), "name", "?"));
    }
    (void)buf_printf(&out, "|%s", json_get_text(page, "start_key", "?"));
    json_decref(page);
    json_decref(params);
    return buf_take(&out);
}

static void check_items(json_t *items, json_t *params, const char *expected)
{
    char *found = page_of(items, params);
    assert_string_equal(found, expected);
    mem_free(found);
}

static void check(json_t *params, const char *expected)
{
    check_items(five(), params, expected);
}

static void words_and_labels(void **state)
{
    (void)state;
    check(json_object(), "bob Alice carol alice dave|");
    check(json_pack("{s:[s]}", "search", "ALICE"), "Alice alice|");
    check(json_pack("{s:[s, s]}", "search", "alice", "root@db"), "Alice|");
    check(json_pack("{s:[s]}", "search", "user=carol"), "carol|");
    check(json_pack("{s:[s]}", "search", "top -d"), "bob Alice carol alice dave|");
    check(json_pack("{s:[s]}", "search", "@"), "bob Alice carol alice|"); /* an account that has no name stands alone */
    check(json_pack("{s:[s]}", "search", "nobody"), "|");
    check(json_pack("{s:{s:s}}", "labels", "env", "prod"), "bob Alice carol alice dave|");
    check(json_pack("{s:{s:s}}", "labels", "env", "pro"), "|");
    check(json_pack("{s:{s:s}}", "labels", "none", "prod"), "|");
    check(json_pack("{s:[s]}", "search", ""), "error: search must hold non-empty texts only");
    check(json_pack("{s:s}", "search", "x"), "error: search must be a list");
}

static void columns(void **state)
{
    (void)state;
    check(json_pack("{s:s}", "sort", "name:asc"), "Alice alice bob carol dave|");
    check(json_pack("{s:s}", "sort", "name"), "Alice alice bob carol dave|");
    check(json_pack("{s:s}", "sort", "name:desc"), "dave carol bob alice Alice|");
    check(json_pack("{s:s}", "sort", "roles:asc"), "carol bob dave alice Alice|");
    check(json_pack("{s:s}", "sort", "where:asc"), "alice Alice bob carol dave|"); /* nothing stands last */
    check(json_pack("{s:s}", "sort", "where:desc"), "dave carol bob Alice alice|");
    check(json_pack("{s:s}", "sort", "age:asc"), "error: this list cannot be sorted by \"age\"");
    check(json_pack("{s:s}", "sort", "name:up"), "error: the order in \"sort\" is asc or desc, not \"up\"");
}

static void keys_are_places(void **state)
{
    (void)state;
    char long_name[301];
    check(json_pack("{s:s, s:i}", "sort", "name:asc", "limit", 2), "Alice alice|5:alicealice");
    check(json_pack("{s:s, s:i, s:s}", "sort", "name:asc", "limit", 2, "start_key", "5:alicealice"),
          "bob carol|5:carolcarol");
    check(json_pack("{s:s, s:i, s:s}", "sort", "name:asc", "limit", 2, "start_key", "5:carolcarol"), "dave|");
    check(json_pack("{s:s, s:i, s:s}", "sort", "name:desc", "limit", 2, "start_key", "5:carolcarol"),
          "bob alice|5:alicealice");
    check(json_pack("{s:s, s:i, s:s}", "sort", "roles:asc", "limit", 1, "start_key", "8:b sharedbob"),
          "dave|8:b shareddave");
    /* The item of the key is gone, and one has come in front of it: nothing is shown twice, nothing left out. */
    json_t *changed = five();
    (void)json_array_remove(changed, 3);
    json_array_append_new(changed, item("aaron", "b", "", ""));
    check_items(changed, json_pack("{s:s, s:i, s:s}", "sort", "name:asc", "limit", 2, "start_key", "5:alicealice"),
                "bob carol|5:carolcarol");
    const char *const wrong[] = {"2", "x", "5:al", "999:a", ":", "-1:a", "18446744073709551617:a"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        check(json_pack("{s:s, s:s}", "sort", "name:asc", "start_key", wrong[i]),
              "error: \"start_key\" is none that this list has given");
    }
    /* Without an order the key is a number, as it always was. */
    check(json_pack("{s:i}", "limit", 2), "bob Alice|2");
    check(json_pack("{s:i, s:s}", "limit", 2, "start_key", "4"), "dave|");
    /* A long text is cut between two characters, or the key would be no text. */
    memset(long_name, 'a', 300);
    long_name[300] = '\0';
    memcpy(long_name + 199, "\xc3\xa9", 2);
    json_t *items = json_pack("[o, o]", item(long_name, "x", "", ""), item("b", "x", "", ""));
    char *found = page_of(items, json_pack("{s:s, s:i}", "sort", "name:asc", "limit", 1));
    assert_non_null(strstr(found, "|199:aaa"));
    char *key = mem_strdup(strchr(found, '|') + 1);
    check_items(json_pack("[o, o]", item(long_name, "x", "", ""), item("b", "x", "", "")),
                json_pack("{s:s, s:s}", "sort", "name:asc", "start_key", key), "b|");
    mem_free(key);
    mem_free(found);
}

static void a_page_gets_no_heavier_than_a_frame(void **state)
{
    (void)state;
    json_t *items = json_array();
    char *text = mem_alloc(1024 * 1024 + 1);
    memset(text, 'x', 1024 * 1024);
    for (int i = 0; i < 10; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%d", i);
        json_t *one = item(name, "x", "", "");
        json_object_set_new(one, "text", json_string(text));
        json_array_append_new(items, one);
    }
    mem_free(text);
    check_items(json_incref(items), json_pack("{s:s}", "sort", "name:asc"), "n0 n1 n2 n3|2:n3n3");
    check_items(json_incref(items), json_object(), "n0 n1 n2 n3|4"); /* had no such end: tportctl get failed */
    check_items(items, json_pack("{s:s}", "start_key", "8"), "n8 n9|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(words_and_labels), cmocka_unit_test(columns),
                                       cmocka_unit_test(keys_are_places),
                                       cmocka_unit_test(a_page_gets_no_heavier_than_a_frame)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

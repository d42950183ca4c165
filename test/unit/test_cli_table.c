/* Tables, and what strangers' names may do to a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/common/table.h"

#include <string.h>

static void expect_safe(const char *text, const char *wanted)
{
    char *safe = text_safe(text);
    assert_string_equal(safe, wanted);
    mem_free(safe);
}

static void hostile_names_are_escaped(void **state)
{
    (void)state;
    expect_safe("node-1", "node-1");
    expect_safe("서버 ü", "서버 ü");
    expect_safe("a\x1b]0;title\x07", "a\\x1b]0;title\\x07");
    expect_safe("a\r\nb\x7f", "a\\x0d\\x0ab\\x7f");
    expect_safe("\xc2\x9b"
                "2J",
                "\\xc2\\x9b"
                "2J"); /* C1 CSI */
    expect_safe("\xff\xc3", "\\xff\\xc3");
    expect_safe("\xc0\xaf", "\\xc0\\xaf");          /* overlong */
    expect_safe("\xed\xa0\x80", "\\xed\\xa0\\x80"); /* surrogate */
    expect_safe("a\xe2\x80\xae"
                "b",
                "a\\u{202e}b"); /* right-to-left override */
    expect_safe("a\xe2\x80\x8b"
                "b",
                "a\\u{200b}b"); /* zero width */
}

static void widths_count_columns(void **state)
{
    (void)state;
    assert_int_equal(text_width("abc"), 3);
    assert_int_equal(text_width("서버"), 4);
    assert_int_equal(text_width("e\xcc\x81"), 1);
    assert_int_equal(text_width("⟵ Tunnel"), 8);
}

static const char *const titles[] = {"Node Name", "Address", "Labels", NULL};

static void a_table_is_padded_and_underlined(void **state)
{
    (void)state;
    struct table *table = table_new(titles, 2);
    const char *first[] = {"서버", "⟵ Tunnel", "env=dev"};
    const char *second[] = {"a-long-node-name", "10.0.0.1:22", ""};
    table_add(table, first);
    table_add(table, second);
    char *text = table_text(table, 0);
    assert_string_equal(text, "Node Name         Address      Labels\n"
                              "----------------  -----------  -------\n"
                              "서버              ⟵ Tunnel     env=dev\n"
                              "a-long-node-name  10.0.0.1:22\n");
    mem_free(text);
    table_free(table);
}

static void the_elastic_column_is_cut_to_the_terminal(void **state)
{
    (void)state;
    struct table *table = table_new(titles, 2);
    const char *row[] = {"n", "a", "environment=development,region=eu-west-1,role=database"};
    table_add(table, row);
    char *text = table_text(table, 40);
    for (char *at = text, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        *end = '\0';
        assert_true(text_width(at) <= 40);
        if (!end[1])
            assert_non_null(strstr(at, "…"));
    }
    mem_free(text);
    text = table_text(table, 5); /* too narrow: still readable */
    assert_non_null(strstr(text, "environment…"));
    mem_free(text);
    table_free(table);
}

static bool has_line(const char *text, const char *line)
{
    size_t length = strlen(line);
    for (; text; text = strchr(text, '\n'), text += text != NULL) {
        if (strncmp(text, line, length) == 0 && text[length] == '\n')
            return true;
    }
    return false;
}

/* tport recordings ls wrapped its lines at 100 columns. */
static void columns_give_way_in_their_order(void **state)
{
    (void)state;
    static const char *const sessions[] = {"ID", "Type", "Target", "Command", NULL};
    static const struct table_cut cuts[] = {{0, 9}, {1, 0}, {3, 0}, {-1, 0}};
    const char *row[] = {"0123456789abcdef0123456789abcdef", "ssh", "node1", "uname -a; sleep 30"};
    struct table *table = table_new(sessions, 3);
    table_add(table, row);
    table_yield(table, cuts);
    char *text = table_text(table, 0);
    assert_true(has_line(text, "0123456789abcdef0123456789abcdef  ssh   node1   uname -a; sleep 30"));
    mem_free(text);
    text = table_text(table, 50);
    assert_true(has_line(text, "0123456789abcdef01234…  ssh   node1   uname -a; s…"));
    mem_free(text);
    text = table_text(table, 36);
    assert_true(has_line(text, "01234567…  node1   uname -a; s…"));
    assert_true(has_line(text, "ID         Target  Command"));
    mem_free(text);
    text = table_text(table, 30);
    assert_true(has_line(text, "01234567…  node1"));
    assert_true(has_line(text, "---------  ------"));
    mem_free(text);
    table_free(table);
}

static void the_widest_is_cut_where_nothing_else_gives(void **state)
{
    (void)state;
    struct table *table = table_new(titles, 2);
    const char *row[] = {"a-name-that-is-far-too-long-for-its-terminal", "⟵ Tunnel", "env=dev"};
    table_add(table, row);
    char *text = table_text(table, 40);
    assert_true(has_line(text, "a-name-that-is-far-t…  ⟵ Tunnel  env=dev"));
    mem_free(text);
    table_free(table);
}

static void dashes_are_no_longer_than_the_terminal(void **state)
{
    (void)state;
    const char long_cell[] = "0123456789012345678901234567890123456789012345678901234567890123456789"
                             "0123456789012345678901234567890123456789012345678901234567890123456789";
    const char *first[] = {"node", "address", long_cell};
    const char *all[] = {long_cell, "address", long_cell};
    struct table *table = table_new(titles, -1); /* no column that is cut */
    table_add(table, first);
    char *text = table_text(table, 80);
    const char *dashes = strchr(text, '\n') + 1;
    assert_int_equal(strcspn(dashes, "\n"), 80);
    assert_memory_equal(dashes, "---------  -------  ----", 24);
    mem_free(text);
    text = table_text(table, 0);
    assert_non_null(
        strstr(text, "\n---------  -------  ----------------------------------------\nnode       address  "));
    assert_non_null(strstr(text, long_cell)); /* what stands in the table is whole */
    mem_free(text);
    table_add(table, all); /* the other columns are beyond the edge */
    text = table_text(table, 80);
    dashes = strchr(text, '\n') + 1;
    assert_int_equal(strspn(dashes, "-"), 80);
    assert_int_equal(dashes[80], '\n');
    mem_free(text);
    table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(hostile_names_are_escaped),
                                       cmocka_unit_test(widths_count_columns),
                                       cmocka_unit_test(a_table_is_padded_and_underlined),
                                       cmocka_unit_test(the_elastic_column_is_cut_to_the_terminal),
                                       cmocka_unit_test(columns_give_way_in_their_order),
                                       cmocka_unit_test(the_widest_is_cut_where_nothing_else_gives),
                                       cmocka_unit_test(dashes_are_no_longer_than_the_terminal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

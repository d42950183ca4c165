/* Server names that carry a node's name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/common/sni.h"

#include <string.h>

static void a_short_name_is_one_label(void **state)
{
    (void)state;
    char *name;
    assert_int_equal(sni_for_node("node1", "example.com", &name, NULL), TP_OK);
    assert_string_equal(name, "6e6f646531.node.example.com");
    mem_free(name);
}

static void a_long_name_is_split_between_bytes(void **state)
{
    (void)state;
    char *name, target[64] = {0};
    memset(target, 'a', 40);
    assert_int_equal(sni_for_node(target, "c", &name, NULL), TP_OK);
    assert_int_equal(strcspn(name, "."), SNI_LABEL_MAX);
    assert_int_equal(strcspn(name + SNI_LABEL_MAX + 1, "."), 80 - SNI_LABEL_MAX);
    assert_string_equal(name + 81, ".node.c");
    mem_free(name);
    assert_int_equal(sni_for_node("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "c", &name, NULL), TP_OK);
    mem_free(name);
}

static void what_is_no_name_is_refused(void **state)
{
    (void)state;
    char *name, target[300] = {0};
    memset(target, 'a', 120);
    assert_int_equal(sni_for_node(target, "example.com", &name, NULL), TP_TOO_LARGE);
    assert_int_equal(sni_for_node("", "example.com", &name, NULL), TP_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_short_name_is_one_label),
                                       cmocka_unit_test(a_long_name_is_split_between_bytes),
                                       cmocka_unit_test(what_is_no_name_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

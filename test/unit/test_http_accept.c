/* Lists of what a client accepts. */
#include "base/mem.h"
#include "protocols/http/http_accept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* The list as "name=quality name=quality". */
static void check(const char *header, const char *expected)
{
    char said[256] = "";
    const char *rest = header;
    struct http_accept item;
    while (http_accept_next(&rest, &item)) {
        size_t used = strlen(said);
        (void)snprintf(said + used, sizeof said - used, "%s%.*s=%d", used ? " " : "", (int)item.size, item.name,
                       item.quality);
    }
    assert_string_equal(said, expected);
}

static void test_lists(void **state)
{
    (void)state;
    check(NULL, "");
    check("", "");
    check(" , ,;q=1,", "");
    check("gzip, deflate, br", "gzip=1000 deflate=1000 br=1000");
    check("ko-KR,ko;q=0.9,en-US;q=0.8 , en ; q=0.705", "ko-KR=1000 ko=900 en-US=800 en=705");
    check("gzip;q=0, *;q=0.5", "gzip=0 *=500");
    check("a;level=1;q=0.3;x=y,b;Q=1.000", "a=300 b=1000");
    check("a;q=,b;q=2,c;q=0.1234,d;q=.5,e;q=1x,f;q=-1,g;q", "a=0 b=0 c=0 d=0 e=0 f=0 g=1000");
}

static void test_names(void **state)
{
    const char *rest = "GZip;q=1, x-gzip";
    struct http_accept item;
    (void)state;
    assert_true(http_accept_next(&rest, &item));
    assert_true(http_accept_is(&item, "gzip"));
    assert_false(http_accept_is(&item, "gzi"));
    assert_true(http_accept_next(&rest, &item));
    assert_false(http_accept_is(&item, "gzip"));
    assert_false(http_accept_next(&rest, &item));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lists), cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

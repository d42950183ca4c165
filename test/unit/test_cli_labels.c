/* Labels as people write them, and what they read when nothing has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/common/output.h"
#include "cli/tport/tport.h"

#include <string.h>

static void labels_are_read(void **state)
{
    (void)state;
    char *texts[] = {(char *)"env=dev,role=db", (char *)"note=\"a,b=c\"", (char *)"empty="};
    json_t *labels;
    assert_int_equal(output_parse_labels(texts, 3, &labels, NULL), TP_OK);
    char *text = output_labels(labels);
    assert_string_equal(text, "empty=,env=dev,note=a,b=c,role=db");
    mem_free(text);
    json_decref(labels);
    static const char *const bad[] = {"env", "=dev", "env=dev,,", "a=\"b", "a\xff=b"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *one = mem_strdup(bad[i]);
        struct tp_error error = {0};
        if (output_parse_labels(&one, 1, &labels, &error) != TP_INVALID)
            fail_msg("\"%s\" was accepted", bad[i]);
        assert_true(error.text[0] != '\0');
        mem_free(one);
    }
}

static void expect_hint(const json_t *nodes, const char *asked, const char *wanted)
{
    char *text = mem_strdup(asked);
    json_t *labels;
    assert_int_equal(output_parse_labels(&text, 1, &labels, NULL), TP_OK);
    char *hint = tport_labels_hint(labels, nodes);
    assert_string_equal(hint, wanted);
    mem_free(hint);
    json_decref(labels);
    mem_free(text);
}

static void a_mistyped_label_gets_a_hint(void **state)
{
    (void)state;
    json_t *nodes = json_pack("[{s:{s:{s:s}}}, {s:{s:{s:s}}, s:{s:{s:{s:s}}}}, {s:{s:{s:s}}}]", "metadata", "labels",
                              "env", "dev", "metadata", "labels", "env", "prod\x1b[2J", "spec", "cmd_labels", "arch",
                              "result", "x86", "metadata", "labels", "env", "dev");
    json_t *none = json_array(), *bare = json_pack("[{}]");
    assert_non_null(nodes);
    expect_hint(nodes, "env=dve", "nothing matches env=dve; labels seen: env=dev, env=prod\\x1b[2J");
    expect_hint(nodes, "arch=arm", "nothing matches arch=arm; labels seen: arch=x86");
    expect_hint(nodes, "evn=dev", "nothing matches evn=dev; label names seen: env, arch");
    expect_hint(none, "env=dev", "nothing matches env=dev; you may reach no host at all");
    expect_hint(bare, "env=dev", "nothing matches env=dev; the hosts have no labels");
    json_decref(nodes);
    json_decref(none);
    json_decref(bare);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(labels_are_read),
                                       cmocka_unit_test(a_mistyped_label_gets_a_hint)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

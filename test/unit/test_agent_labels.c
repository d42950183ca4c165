/* Dynamic labels: real programs, without a shell. */
#include "agent/agent_labels.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* cmocka wants the headers above. */
#include <cmocka.h>

struct run {
    struct loop *loop;
    struct labels *labels;
    int changes;
    struct timer *limit;
};

static void on_change(void *ctx)
{
    struct run *run = ctx;
    run->changes++;
    if (labels_ready(run->labels)) {
        loop_stop(run->loop);
    }
}

static void on_limit(void *ctx)
{
    loop_stop(((struct run *)ctx)->loop);
}

static void start(struct run *run, const struct labels_command *commands, size_t count, int64_t limit_ms)
{
    memset(run, 0, sizeof(*run));
    run->loop = loop_new();
    run->limit = timer_new(run->loop, on_limit, run);
    timer_start(run->limit, limit_ms, 0);
    run->labels = labels_new(run->loop, commands, count, on_change, run);
    loop_run(run->loop);
}

static void end(struct run *run)
{
    labels_free(run->labels);
    /* Killed children are reaped. */
    timer_start(run->limit, 100, 0);
    loop_run(run->loop);
    timer_free(run->limit);
    loop_free(run->loop);
}

static const char *result_of(const json_t *all, const char *name)
{
    return json_get_text(json_object_get(all, name), "result", "(none)");
}

static void test_values(void **state)
{
    (void)state;
    char *echo[] = {"/bin/echo", "  a $HOME; value  ", NULL};
    char *fails[] = {"/bin/sh", "-c", "echo broken; exit 3", NULL};
    char *missing[] = {"/no/such/program", NULL};
    char *big[] = {"/usr/bin/head", "-c", "100000", "/dev/zero", NULL};
    const struct labels_command commands[] = {
        {"echo", echo, 60000}, {"fails", fails, 60000}, {"missing", missing, 60000}, {"big", big, 60000}};
    struct run run;
    start(&run, commands, 4, 8000);
    assert_true(labels_ready(run.labels));
    json_t *all = labels_json(run.labels);
    assert_string_equal(result_of(all, "echo"), "a $HOME; value");
    assert_string_equal(result_of(all, "fails"), "exit status 3: broken");
    assert_non_null(strstr(result_of(all, "missing"), "/no/such/program"));
    assert_int_equal(strlen(result_of(all, "big")), LABELS_OUTPUT_MAX);
    assert_int_equal(json_get_int(json_object_get(all, "echo"), "period", 0), 60000);
    assert_int_equal(json_array_size(json_object_get(json_object_get(all, "fails"), "command")), 3);
    json_decref(all);
    end(&run);
}

static void test_same_value_is_no_change(void **state)
{
    (void)state;
    char *echo[] = {"/bin/echo", "same", NULL};
    char *late[] = {"/bin/sleep", "2.5", NULL};
    const struct labels_command commands[] = {{"echo", echo, 1000}, {"late", late, 60000}};
    struct run run;
    start(&run, commands, 2, 8000);
    assert_int_equal(run.changes, 2); /* one for each; echo ran three times */
    end(&run);
}

static void test_running_commands_die_with_the_labels(void **state)
{
    (void)state;
    char *sleep[] = {"/bin/sleep", "100", NULL};
    const struct labels_command commands[] = {{"sleep", sleep, 1000}};
    struct run run;
    start(&run, commands, 1, 200);
    assert_false(labels_ready(run.labels));
    end(&run);
}

static void test_cleaning(void **state)
{
    (void)state;
    static const char text[] = " \t가\x1b[31m\xff\xc2\x9b\n";
    char *clean = labels_clean(text, sizeof(text) - 1);
    assert_string_equal(clean, "가?[31m???");
    mem_free(clean);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_same_value_is_no_change),
        cmocka_unit_test(test_running_commands_die_with_the_labels),
        cmocka_unit_test(test_cleaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

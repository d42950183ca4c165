/* Retention: what may go, that verifying tells it from deleting by hand, and a kill at any moment. */
#include "audit/audit_log.h"
#include "audit/event.h"
#include "audit/note.h"
#include "base/clock.h"
#include "base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ORIGIN "example.com/audit"
#define A_DAY 700 /* events: days end within bundles */
#define DAYS 6

static const char *const days[DAYS] = {"2026-01-01", "2026-01-02", "2026-01-03",
                                       "2026-01-05", "2026-01-06", "2026-01-07"};
static struct key *key;
static char dir[64];
static char *verifier;

/* A shell command in the log's directory; $W is what. */
static int run(const char *script, const char *what)
{
    char *command = mem_printf("cd %s && W=%s && %s", dir, what, script);
    int status = system(command);
    mem_free(command);
    return status;
}

static struct audit_log *open_log(void)
{
    struct audit_log *log = NULL;
    struct tp_error error = {0};
    if (audit_log_open(dir, ORIGIN, key, &log, &error) != TP_OK)
        fail_msg("open: %s", error.text);
    return log;
}

static void append(struct audit_log *log, json_t *event)
{
    struct tp_error error = {0};
    assert_int_equal(audit_log_append_event(log, event), TP_OK);
    json_decref(event);
    assert_int_equal(audit_log_sync(log, &error), TP_OK);
}

/* A log of six days in the past and today: lines that no checkpoint covers are taken in at a start. */
static int begin(void **state)
{
    struct audit_log *log;
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/test_audit_prune.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    log = open_log();
    verifier = audit_log_verifier_key(log);
    audit_log_close(log);
    for (int day = 0; day < DAYS; day++) {
        char *path = mem_printf("%s/log/%s.log", dir, days[day]);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        for (int i = 0; i < A_DAY; i++)
            assert_true(fprintf(file, "{\"event\":\"exec\",\"time\":\"%sT10:00:00.000Z\",\"number\":%d}\n", days[day],
                                day * A_DAY + i) > 0);
        assert_int_equal(fclose(file), 0);
        mem_free(path);
    }
    log = open_log();
    append(log, event_new("user.login", true, "example.com"));
    audit_log_close(log);
    return 0;
}

static int end(void **state)
{
    (void)state;
    mem_free(verifier);
    return run("rm -rf $W", dir);
}

static enum tp_err verify(struct audit_verdict *verdict, struct tp_error *error)
{
    memset(error, 0, sizeof(*error));
    return audit_log_verify(dir, verifier, NULL, verdict, error);
}

static void assert_sound(uint64_t pruned)
{
    struct audit_verdict verdict;
    struct tp_error error;
    if (verify(&verdict, &error) != TP_OK)
        fail_msg("verify: %s", error.text);
    assert_int_equal(verdict.pruned, pruned);
}

static void assert_damaged(const char *words)
{
    struct audit_verdict verdict;
    struct tp_error error;
    assert_int_equal(verify(&verdict, &error), TP_CORRUPT);
    if (!strstr(error.text, words))
        fail_msg("\"%s\" is not in: %s", words, error.text);
}

static struct audit_prune plan_min(const char *now, int keep_days, uint64_t bytes, int min_days)
{
    struct audit_keep keep = {.max_age_ms = (int64_t)keep_days * 24 * 3600 * 1000,
                              .max_bytes = bytes,
                              .min_age_ms = (int64_t)min_days * 24 * 3600 * 1000,
                              .resume = true};
    struct audit_prune made;
    struct tp_error error = {0};
    assert_int_equal(clock_parse_ms(now, &keep.now_ms), TP_OK);
    if (audit_prune_plan(dir, &keep, &made, &error) != TP_OK)
        fail_msg("plan: %s", error.text);
    return made;
}

static struct audit_prune plan(const char *now, int keep_days, uint64_t bytes)
{
    return plan_min(now, keep_days, bytes, 0);
}

static void state_it(const struct audit_prune *made)
{
    struct audit_log *log = open_log();
    json_t *event = event_new("audit.prune", true, "example.com");
    (void)json_object_set_new(event, "first_leaf", json_integer((json_int_t)made->first_leaf));
    (void)json_object_set_new(event, "first_day", json_string(made->first_day));
    (void)json_object_set_new(event, "reason", json_string("age"));
    append(log, event);
    audit_log_close(log);
}

static size_t day_files(void)
{
    size_t count = 0;
    for (int day = 0; day < DAYS; day++) {
        char *path = mem_printf("%s/log/%s.log", dir, days[day]);
        count += access(path, F_OK) == 0;
        mem_free(path);
    }
    return count;
}

static void prune(const struct audit_prune *made)
{
    struct tp_error error = {0};
    if (audit_prune_run(dir, made, &error) != TP_OK)
        fail_msg("run: %s", error.text);
}

static void test_plan(void **state)
{
    struct audit_prune made = plan("2026-01-04T12:00:00Z", 365, 0);
    (void)state;
    assert_int_equal(made.first_leaf, 0);
    made = plan("2026-01-05T12:00:00Z", 2, 0); /* of the 3rd something is younger than two days */
    assert_string_equal(made.first_day, "2026-01-03");
    assert_string_equal(made.from_day, "2026-01-01");
    assert_int_equal(made.first_leaf, 2 * A_DAY);
    assert_int_equal(made.events, 2 * A_DAY);
    assert_string_equal(made.reason, "age");
    assert_false(made.stated);
    made = plan("2036-01-01T00:00:00Z", 1, 0); /* the newest day stays whatever its age */
    assert_int_equal(made.first_leaf, DAYS * A_DAY);
    made = plan("2026-01-05T12:00:00Z", 0,
                300000); /* twice 46 KB of events and 22 KB of index a day, without index here */
    assert_string_equal(made.reason, "size");
    assert_true(made.first_leaf > 0 && made.first_leaf % A_DAY == 0 && made.first_leaf < DAYS * A_DAY);
    made = plan("2026-01-05T12:00:00Z", 0, 1);
    assert_int_equal(made.first_leaf, DAYS * A_DAY);
    made = plan("2026-01-05T12:00:00Z", 0, 0);
    assert_int_equal(made.first_leaf, 0);
}

static void test_pruned_log_is_proved(void **state)
{
    struct audit_prune made = plan("2026-01-05T12:00:00Z", 2, 0), later;
    struct tp_error error = {0};
    struct audit_verdict verdict;
    struct audit_log *log;
    char *earlier;
    (void)state;
    log = open_log();
    earlier = mem_strdup(audit_log_checkpoint(log));
    audit_log_close(log);
    /* Nothing goes before the log says so under a checkpoint. */
    assert_int_equal(audit_prune_run(dir, &made, &error), TP_AGAIN);
    assert_int_equal(day_files(), DAYS);
    assert_sound(0);
    state_it(&made);
    assert_sound(2 * A_DAY); /* stated, not removed yet */
    prune(&made);
    assert_int_equal(day_files(), DAYS - 2);
    assert_int_equal(
        run("test ! -e tlog/tile/entries/004 && test -e tlog/tile/entries/005 && test -e tlog/tile/0/$W", "000"), 0);
    assert_sound(2 * A_DAY);
    assert_int_equal(audit_log_verify(dir, verifier, earlier, &verdict, &error), TP_OK);
    assert_string_equal(verdict.first_day, "2026-01-03");
    assert_string_equal(verdict.reason, "age");
    /* The log goes on, a lost position is found, and retention goes on too. */
    assert_int_equal(run("rm tlog/$W", "position"), 0);
    log = open_log();
    append(log, event_new("user.login", true, "example.com"));
    audit_log_close(log);
    assert_sound(2 * A_DAY);
    assert_int_equal(plan("2026-01-05T12:00:00Z", 2, 0).first_leaf, 0);
    later = plan("2026-01-08T12:00:00Z", 2, 0);
    assert_int_equal(later.first_leaf, 4 * A_DAY);
    assert_int_equal(later.events, 2 * A_DAY);
    state_it(&later);
    prune(&later);
    assert_sound(4 * A_DAY);
    assert_int_equal(audit_log_verify(dir, verifier, earlier, &verdict, &error), TP_OK);
    mem_free(earlier);
}

static void test_deleting_by_hand_is_no_retention(void **state)
{
    struct audit_prune made = plan("2026-01-05T12:00:00Z", 2, 0);
    struct audit_keep keep = {.max_bytes = 1};
    struct tp_error error = {0};
    (void)state;
    assert_int_equal(run("cp -r . ../copy-of-$(basename $W)", dir), 0);
    /* Without a word in the log. */
    assert_int_equal(run("rm log/$W.log", days[0]), 0);
    assert_damaged("leaf 0 ");
    assert_int_equal(run("rm tlog/tile/entries/$W", "000"), 0);
    assert_damaged("from leaf 0 on are missing");
    assert_int_equal(run("rm -r log tlog index && cp -r ../copy-of-$(basename $W)/. .", dir), 0);
    assert_sound(0);
    /* More than the log says: the next day, the next bundle, a changed hash of what is gone. */
    state_it(&made);
    prune(&made);
    assert_sound(2 * A_DAY);
    assert_int_equal(run("mv log/$W.log hidden", days[2]), 0);
    assert_damaged("leaf 1400 ");
    assert_int_equal(audit_prune_plan(dir, &keep, &made, &error), TP_CORRUPT); /* and retention stops */
    assert_int_equal(run("mv hidden log/$W.log", days[2]), 0);
    assert_int_equal(run("mv tlog/tile/entries/005 $W", "hidden"), 0);
    assert_damaged("missing");
    assert_int_equal(run("mv hidden tlog/tile/entries/$W", "005"), 0);
    assert_sound(2 * A_DAY);
    assert_int_equal(run("printf x | dd of=tlog/tile/0/001 bs=1 seek=100 conv=notrunc 2>$W", "/dev/null"), 0);
    assert_damaged("changed");
    assert_int_equal(run("rm tlog/tile/0/$W", "001"), 0);
    assert_damaged("missing");
    assert_int_equal(run("rm -r ../copy-of-$(basename $W)", dir), 0);
}

/* The statement is believed only out of the tree: a line that somebody puts into a day file is a change. */
static void test_forged_statement(void **state)
{
    (void)state;
    assert_int_equal(run("rm tlog/tile/entries/000 log/$W.log", days[0]), 0);
    assert_int_equal(run("echo \"$W\" >> $(ls -d log/20*.log | tail -1)",
                         "'{\"event\":\"audit.prune\",\"first_leaf\":700,\"first_day\":\"2026-01-02\"}'"),
                     0);
    assert_damaged("missing");
}

static void test_kill_while_pruning(void **state)
{
    struct audit_prune made = plan("2036-01-01T00:00:00Z", 1, 0);
    bool interrupted = false;
    (void)state;
    state_it(&made);
    for (unsigned round = 0; round < 200; round++) {
        pid_t child = fork();
        if (child == 0)
            _exit(audit_prune_run(dir, &made, NULL) == TP_OK ? 0 : 1);
        usleep(round * 20); /* a little further each time; the first dies before it has done anything */
        (void)kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_sound(DAYS * A_DAY);  /* at each moment */
        audit_log_close(open_log()); /* and it opens */
        if (day_files() == 0)
            break;
        interrupted = true;
        made = plan("2036-01-01T00:00:00Z", 1, 0); /* the next start goes on with it */
        assert_true(made.stated);
        assert_int_equal(made.first_leaf, DAYS * A_DAY);
    }
    assert_true(interrupted);
    prune(&made);
    assert_int_equal(day_files(), 0);
    assert_sound(DAYS * A_DAY);
    assert_int_equal(plan("2036-01-01T00:00:00Z", 1, 0).first_leaf, 0);
}

/* Who floods the log does not age out what just happened; by age it goes all the same. */
static void test_size_removes_nothing_young(void **state)
{
    struct audit_prune made = plan_min("2026-01-05T12:00:00Z", 0, 1, 2); /* of the 3rd something is younger */
    (void)state;
    assert_string_equal(made.first_day, "2026-01-03");
    assert_string_equal(made.reason, "size");
    assert_true(made.held);
    made = plan_min("2026-01-05T12:00:00Z", 0, 1, 365);
    assert_int_equal(made.first_leaf, 0);
    assert_true(made.held);
    made = plan_min("2026-01-05T12:00:00Z", 2, 1, 365);
    assert_string_equal(made.first_day, "2026-01-03");
    assert_string_equal(made.reason, "age");
    assert_true(made.held);
    made = plan_min("2026-01-05T12:00:00Z", 0, (uint64_t)1 << 40, 365);
    assert_int_equal(made.first_leaf, 0);
    assert_false(made.held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plan, begin, end),
        cmocka_unit_test_setup_teardown(test_size_removes_nothing_young, begin, end),
        cmocka_unit_test_setup_teardown(test_pruned_log_is_proved, begin, end),
        cmocka_unit_test_setup_teardown(test_deleting_by_hand_is_no_retention, begin, end),
        cmocka_unit_test_setup_teardown(test_forged_statement, begin, end),
        cmocka_unit_test_setup_teardown(test_kill_while_pruning, begin, end),
    };
    int failed;
    key = key_generate(KEY_ED25519);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    key_free(key);
    return failed;
}

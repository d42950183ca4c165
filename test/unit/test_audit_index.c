/* Searching the audit log: with the index, without it, and with a damaged one the answers are the same. */
#include "audit/audit_log.h"
#include "audit/event.h"
#include "audit/index.h"
#include "base/clock.h"
#include "base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ORIGIN "example.com/audit"
#define EVENTS 5000
#define OLD_DAY "2001-02-03"

static struct key *key;
static char dir[64];

static const char *const names[] = {"user.login", "exec", "session.start", "kube.request"};
static const char *const users[] = {"alice", "bob", "b\xc3\xb6rn \"the\\fox\"", ""};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static json_t *make_event(uint32_t *seed, int number)
{
    json_t *event = event_new(names[next_random(seed) % 4], true, "example.com");
    const char *user = users[next_random(seed) % 4];
    if (*user)
        (void)json_object_set_new(event, "user", json_string(user));
    (void)json_object_set_new(event, "number", json_integer(number));
    return event;
}

/* A closed day of the past beside today's events. */
static void write_old_day(uint32_t *seed)
{
    char *path = mem_printf("%s/log/" OLD_DAY ".log", dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 700; i++) {
        json_t *event = make_event(seed, 100000 + i);
        char time[CLOCK_TEXT_SIZE], *text;
        clock_format_ms(981172800000 + i * 100000, time); /* 2001-02-03 on */
        (void)json_object_set_new(event, "time", json_string(time));
        text = json_text(event);
        assert_true(fprintf(file, "%s\n", text) > 0);
        mem_free(text);
        json_decref(event);
    }
    assert_int_equal(fclose(file), 0);
    mem_free(path);
}

static struct audit_log *open_log(void)
{
    struct audit_log *log = NULL;
    struct tp_error error = {0};
    if (audit_log_open(dir, ORIGIN, key, &log, &error) != TP_OK)
        fail_msg("open: %s", error.text);
    return log;
}

static void run(const char *command)
{
    char *text = mem_printf("cd %s && %s", dir, command);
    assert_int_equal(system(text), 0);
    mem_free(text);
}

static int begin(void **state)
{
    uint32_t seed = 7;
    struct audit_log *log;
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/test_audit_index.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    log = open_log();
    for (int i = 0; i < EVENTS; i++) {
        struct tp_error error = {0};
        json_t *event = make_event(&seed, i);
        assert_int_equal(audit_log_append_event(log, event), TP_OK);
        json_decref(event);
        if (i % 997 == 0)
            assert_int_equal(audit_log_sync(log, &error), TP_OK);
    }
    audit_log_close(log);
    write_old_day(&seed);
    return 0;
}

static int end(void **state)
{
    char *command = mem_printf("rm -rf %s", dir);
    int failed = system(command);
    (void)state;
    mem_free(command);
    return failed;
}

struct answer {
    int numbers[EVENTS + 1000];
    size_t count;
};

static bool note(void *ctx, const json_t *event)
{
    struct answer *answer = ctx;
    answer->numbers[answer->count++] = (int)json_get_int(event, "number", -1);
    return true;
}

/* All pages of a query. */
static void search(const struct audit_query *query, struct answer *answer)
{
    struct audit_query page = *query;
    char *next = mem_strdup("");
    answer->count = 0;
    do {
        struct tp_error error = {0};
        char *key_text = next;
        page.start_key = key_text;
        if (audit_log_query(dir, &page, note, answer, &next, &error) != TP_OK)
            fail_msg("query: %s", error.text);
        mem_free(key_text);
    } while (*next);
    mem_free(next);
}

#ifdef TPORT_SANITIZE
#define QUERIES 10
#else
#define QUERIES 40
#endif
static struct answer expected, got;

static struct audit_query make_query(uint32_t *seed, const char **types)
{
    struct audit_query query = {.ascending = next_random(seed) % 2, .limit = 1 + next_random(seed) % 900};
    if (next_random(seed) % 2)
        query.user = users[next_random(seed) % 3];
    if (next_random(seed) % 2) {
        types[0] = names[next_random(seed) % 4];
        types[1] = next_random(seed) % 2 ? "exec" : NULL;
        types[2] = NULL;
        query.types = types;
    }
    if (next_random(seed) % 3 == 0)
        query.from_ms = 981172800000 + (int64_t)(next_random(seed) % 700) * 100000;
    if (next_random(seed) % 3 == 0)
        query.to_ms = 981172800000 + (int64_t)(next_random(seed) % 700) * 100000;
    if (next_random(seed) % 5 == 0)
        query.text = "NUMBER\":12";
    return query;
}

/* Does each query as things are and again on the lines alone. */
static void assert_same_answers(void)
{
    uint32_t seed = 99;
    size_t found = 0;
    char *index_path = mem_printf("%s/index", dir), *hidden_path = mem_printf("%s/hidden", dir);
    for (int i = 0; i < QUERIES; i++) {
        const char *types[3];
        struct audit_query query = make_query(&seed, types);
        search(&query, &got);
        assert_int_equal(rename(index_path, hidden_path), 0);
        search(&query, &expected);
        assert_int_equal(rename(hidden_path, index_path), 0);
        assert_int_equal(got.count, expected.count);
        assert_memory_equal(got.numbers, expected.numbers, expected.count * sizeof(int));
        found += got.count;
    }
    assert_true(found > 10000);
    mem_free(index_path);
    mem_free(hidden_path);
}

static off_t size_of(const char *name)
{
    char *path = mem_printf("%s/%s", dir, name);
    struct stat info;
    off_t size = stat(path, &info) == 0 ? info.st_size : -1;
    mem_free(path);
    return size;
}

static char *today(const char *folder, const char *suffix)
{
    char text[DAY_TEXT_SIZE];
    day_of_ms(clock_wall_ms(), text);
    return mem_printf("%s/%s%s", folder, text, suffix);
}

static void test_index_and_lines_answer_alike(void **state)
{
    struct tp_error error = {0};
    (void)state;
    assert_same_answers(); /* the old day has no index yet */
    assert_int_equal(size_of("index/" OLD_DAY ".idx"), -1);
    assert_int_equal(audit_log_index(dir, &error), TP_OK);
    assert_int_equal(size_of("index/" OLD_DAY ".idx"), 700 * (off_t)sizeof(struct index_record));
    assert_same_answers();
}

static void test_damaged_index_changes_no_answer(void **state)
{
    struct tp_error error = {0};
    char *name = today("index", ".idx");
    char *path = mem_printf("%s/%s", dir, name);
    uint32_t seed = 5;
    (void)state;
    assert_int_equal(audit_log_index(dir, &error), TP_OK);
    for (int i = 0; i < 6; i++) {
        int fd = open(path, O_WRONLY);
        off_t at = (off_t)(next_random(&seed) % (uint32_t)size_of(name));
        char *zero = mem_alloc(500);
        assert_true(fd >= 0);
        if (i % 2)
            assert_int_equal(pwrite(fd, zero, 500, at), 500); /* a page that never reached the disk */
        else
            assert_int_equal(pwrite(fd, "\xa5", 1, at), 1);
        (void)close(fd);
        mem_free(zero);
        assert_same_answers();
    }
    /* The next start cuts it back to what is right and adds the rest. */
    audit_log_close(open_log());
    assert_int_equal(size_of(name), EVENTS * (off_t)sizeof(struct index_record));
    assert_same_answers();
    mem_free(path);
    mem_free(name);
}

static void test_lost_index_is_made_anew(void **state)
{
    char *name = today("index", ".idx");
    struct tp_error error = {0};
    struct audit_log *log;
    uint32_t seed = 3;
    (void)state;
    run("rm -r index");
    log = open_log();
    assert_int_equal(size_of(name), EVENTS * (off_t)sizeof(struct index_record));
    /* Also while the log is in use. */
    run("rm index/*");
    usleep((AUDIT_PUBLISH_MS + 100) * 1000);
    for (int i = 0; i < 2; i++) {
        json_t *event = make_event(&seed, EVENTS + i);
        struct audit_batch *batch;
        assert_int_equal(audit_log_append_event(log, event), TP_OK);
        json_decref(event);
        batch = audit_log_take_batch(log);
        assert_non_null(batch);
        assert_int_equal(audit_batch_write(batch, &error), TP_OK);
        audit_log_finish_batch(log, batch);
        usleep((AUDIT_PUBLISH_MS + 100) * 1000);
    }
    assert_int_equal(size_of(name), (EVENTS + 2) * (off_t)sizeof(struct index_record));
    audit_log_close(log);
    assert_int_equal(size_of(name), (EVENTS + 2) * (off_t)sizeof(struct index_record));
    mem_free(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_index_and_lines_answer_alike, begin, end),
        cmocka_unit_test_setup_teardown(test_damaged_index_changes_no_answer, begin, end),
        cmocka_unit_test_setup_teardown(test_lost_index_is_made_anew, begin, end),
    };
    int failed;
    key = key_generate(KEY_ED25519);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    key_free(key);
    return failed;
}

/* recordings.list: every order, its pages, and what leads to a recording that came from an older version or is gone. */
#include "auth/audit.h"
#include "auth/inner.h"
#include "auth/recording.h"
#include "auth_help.h"

static const struct seed {
    const char *id, *user, *hostname, *cluster;
    int64_t started, length, size;
} seeds[] = {
    {"00000001-1111-4111-8111-111111111111", "bob", "web-1", NULL, 1000, 90000, 50},
    {"00000002-1111-4111-8111-111111111111", "Alice", "db", NULL, 2000, 5000, 3000},
    {"00000003-1111-4111-8111-111111111111", "carol", "agent", "prod", 3000, 700000, 0},
    {"00000004-1111-4111-8111-111111111111", "alice", "web-1", NULL, 4000, 20, 400},
};
#define SEEDS (sizeof seeds / sizeof seeds[0])

static char *key_of(const struct seed *seed)
{
    json_t *started = doc_time(seed->started);
    char *key = mem_printf("%s_%s", json_string_value(started), seed->id);
    json_decref(started);
    return key;
}

static void put_seed(struct fixture *fixture, const struct seed *seed)
{
    char *key = key_of(seed);
    json_t *meta = json_pack("{s:s, s:s, s:s, s:o, s:o, s:I, s:s}", "id", seed->id, "user", seed->user, "hostname",
                             seed->hostname, "started", doc_time(seed->started), "ended",
                             doc_time(seed->started + seed->length), "size", (json_int_t)seed->size, "state", "done");
    if (seed->cluster != NULL) {
        json_object_set_new(meta, "kubernetes_cluster", json_string(seed->cluster));
    }
    json_t *index = json_pack("{s:s}", "key", key);
    batch_put(fixture->auth, "/recording/", key, meta);
    batch_put(fixture->auth, "/recording_at/", seed->id, index);
    json_decref(meta);
    json_decref(index);
    mem_free(key);
}

/* As a version without rows left them, and one that still runs; then auth starts anew. */
static void put_seeds(struct fixture *fixture)
{
    struct tp_error error = {0};
    for (size_t i = 0; i < SEEDS; i++) {
        put_seed(fixture, &seeds[i]);
    }
    assert_int_equal(batch_commit(fixture->auth, &error), TP_OK);
    fixture_shut(fixture);
    fixture_open(fixture);
}

/* The first digits that differ of the ids on a page; params is stolen. */
static void check(struct fixture *fixture, json_t *params, const char *expected)
{
    json_t *result = must(fixture, as_local(), "recordings.list", params);
    struct buf text;
    size_t i;
    json_t *item;
    buf_init(&text, 4096);
    json_array_foreach (json_object_get(result, "items"), i, item) {
        (void)buf_printf(&text, "%c", json_get_text(item, "id", "????????")[7]);
        assert_null(json_object_get(item, "sorted"));
    }
    assert_string_equal(buf_text(&text), expected);
    buf_free(&text);
    json_decref(result);
}

static void by(struct fixture *fixture, const char *sort, const char *expected)
{
    check(fixture, json_pack("{s:s}", "sort", sort), expected);
}

static void every_order(void **state)
{
    struct fixture *fixture = *state;
    put_seeds(fixture);
    by(fixture, "started:asc", "1234");
    by(fixture, "started:desc", "4321");
    by(fixture, "user:asc", "2413");
    by(fixture, "user:desc", "3142");
    by(fixture, "where", "2314");
    by(fixture, "length:asc", "4213");
    by(fixture, "length:desc", "3124");
    by(fixture, "size:asc", "3142");
    /* Filters hold in every order. */
    check(fixture, json_pack("{s:s, s:s}", "sort", "length:desc", "hostname", "web-1"), "14");
    check(fixture, json_pack("{s:s, s:s}", "sort", "user:asc", "hostname", "prod"), "3");
    check(fixture, json_pack("{s:s, s:o, s:o}", "sort", "user:asc", "from", doc_time(2000), "to", doc_time(4000)),
          "23");
    check(fixture, json_pack("{s:s, s:[s]}", "sort", "size:desc", "search", "ALICE"), "24");
    static const char *const wrong[] = {"age:asc", "user:up", "started:", "us", "user/bob"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        must_fail(fixture, as_local(), "recordings.list", json_pack("{s:s}", "sort", wrong[i]), TP_INVALID);
    }
}

/* Page by page, while the one that the last page ended with goes. */
static void pages_of_an_order(void **state)
{
    struct fixture *fixture = *state;
    struct tp_error error = {0};
    put_seeds(fixture);
    char *start = mem_strdup("");
    struct buf seen;
    buf_init(&seen, 64);
    do {
        json_t *part = must(fixture, as_local(), "recordings.list",
                            json_pack("{s:s, s:i, s:s}", "sort", "user:asc", "limit", 1, "start_key", start));
        json_t *item = json_array_get(json_object_get(part, "items"), 0);
        assert_null(json_object_get(part, "total")); /* of 200,000 it took auth 1.7 s, on anybody's word */
        (void)buf_printf(&seen, "%c", json_get_text(item, "id", "????????")[7]);
        mem_free(start);
        start = mem_strdup(json_get_text(part, "start_key", ""));
        json_decref(part);
    } while (start[0] != '\0');
    assert_string_equal(buf_text(&seen), "2413");
    buf_free(&seen);
    mem_free(start);
    json_t *page =
        must(fixture, as_local(), "recordings.list", json_pack("{s:s, s:i}", "sort", "length:asc", "limit", 2));
    char *key = key_of(&seeds[1]);
    recording_delete(fixture->auth, seeds[1].id, key);
    assert_int_equal(batch_commit(fixture->auth, &error), TP_OK);
    recording_delete(fixture->auth, seeds[1].id, key); /* it is gone: that harms nobody */
    assert_int_equal(batch_commit(fixture->auth, &error), TP_OK);
    mem_free(key);
    check(fixture, json_pack("{s:s, s:s}", "sort", "length:asc", "start_key", json_get_text(page, "start_key", "")),
          "13");
    json_decref(page);
    by(fixture, "user:asc", "413");
    /* Nothing of it is left. */
    assert_int_equal(doc_find(fixture->auth->state, "/recording_at/", seeds[1].id, &page, NULL, &error), TP_NOT_FOUND);
}

static bool count_one(void *ctx, const struct store_entry *entry)
{
    size_t *count = ctx;
    (void)entry;
    ++*count;
    return true;
}

/* A start makes what is missing, once. */
static void rows_are_made_once(void **state)
{
    struct fixture *fixture = *state;
    struct tp_error error = {0};
    size_t count = 0;
    put_seeds(fixture);
    uint64_t revision = store_revision(fixture->auth->state);
    fixture_shut(fixture);
    fixture_open(fixture);
    assert_int_equal(store_range(fixture->auth->state, "/recording_by/", NULL, 0, count_one, &count, &error), TP_OK);
    assert_int_equal(count, 4 * SEEDS);
    json_t *doc = NULL;
    uint64_t at = 0;
    char *key = key_of(&seeds[0]);
    assert_int_equal(doc_find(fixture->auth->state, "/recording/", key, &doc, &at, &error), TP_OK);
    assert_true(at <= revision);
    json_decref(doc);
    mem_free(key);
}

/* 200,000 took 13 seconds, in which nobody could sign in and the log said nothing. */
static void a_long_start_says_so(void **state)
{
    struct fixture *fixture = *state;
    char text[4096] = "";
    FILE *log = tmpfile();
    log_set_fd(fileno(log));
    log_set_level(LOG_LEVEL_INFO);
    put_seeds(fixture); /* few: no news */
    for (int i = 0; i < 2500; i++) {
        char id[37];
        snprintf(id, sizeof id, "%08d-3333-4333-8333-333333333333", i);
        put_seed(fixture, &(struct seed){id, "dora", "web-2", NULL, 5000 + i, 100 + i, 10});
    }
    put_seeds(fixture);
    log_set_level(LOG_LEVEL_ERROR);
    log_set_fd(STDERR_FILENO);
    rewind(log);
    size_t size = fread(text, 1, sizeof text - 1, log);
    text[size] = '\0';
    fclose(log);
    char *begin = strstr(text, "old recordings are put in order for lists");
    assert_non_null(begin);
    assert_non_null(strstr(begin, "of=2504\n"));
    char *end = strstr(begin, "old recordings are in order for lists");
    assert_non_null(end);
    assert_non_null(strstr(end, "count=2504 seconds="));
    assert_null(strstr(end, "put in order"));
    assert_true(strstr(text, "in order") > begin);
}

/* Auth does nothing else while it looks for a page, so one of which little is wanted ends early, in every order: it did not when
 * a total was asked for, which everybody may. */
static void r9_a_page_looks_at_so_many_and_no_more(void **state)
{
    static const char *const orders[] = {"started:desc", "started:asc", "length:asc", "where:desc"};
    struct fixture *fixture = *state;
    for (int i = 0; i < 10010; i++) {
        char id[37];
        snprintf(id, sizeof id, "%08d-2222-4222-8222-222222222222", i);
        put_seed(fixture, &(struct seed){id, "dora", "web-2", NULL, 5000 + i, 100 + i, 10});
    }
    put_seeds(fixture);
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        json_t *page = must(fixture, as_local(), "recordings.list",
                            json_pack("{s:s, s:s, s:b}", "sort", orders[i], "user", "nobody", "total", 1));
        assert_int_equal(json_array_size(json_object_get(page, "items")), 0);
        char *next = mem_strdup(json_get_text(page, "start_key", ""));
        assert_string_not_equal(next, "");
        json_decref(page);
        page = must(fixture, as_local(), "recordings.list",
                    json_pack("{s:s, s:s, s:s}", "sort", orders[i], "user", "nobody", "start_key", next));
        assert_string_equal(json_get_text(page, "start_key", "?"), "");
        json_decref(page);
        mem_free(next);
    }
}

#define HEAVY 300
#define HEAVY_COMMAND 60000 /* so long a session's command may be */

/* All items that a method lists, in pages each of which fits into a frame with room to spare. */
static size_t list_all(struct fixture *fixture, const char *method)
{
    size_t count = 0;
    char *start = mem_strdup("");
    do {
        json_t *page = must(fixture, as_local(), method, json_pack("{s:i, s:s}", "limit", 5000, "start_key", start));
        char *text = json_text(page);
        assert_true(strlen(text) < RPC_FRAME_MAX / 2);
        count += json_array_size(json_object_get(page, "items"));
        mem_free(text);
        mem_free(start);
        start = mem_strdup(json_get_text(page, "start_key", ""));
        json_decref(page);
    } while (start[0] != '\0');
    mem_free(start);
    return count;
}

/* Whoever ran some hundred commands of 60,000 bytes made a page of the log and one of the recordings that was too large for a frame:
 * nobody could read there what he had done. */
static void a_page_fits_into_a_frame_whatever_people_typed(void **state)
{
    struct fixture *fixture = *state;
    struct tp_error error = {0};
    char *command = mem_alloc(HEAVY_COMMAND + 1);
    memset(command, 'x', HEAVY_COMMAND);
    for (int i = 0; i < HEAVY; i++) {
        char id[37];
        snprintf(id, sizeof id, "%08d-4444-4444-8444-444444444444", i);
        json_t *doc = json_pack("{s:s, s:s, s:s, s:o, s:s, s:b}", "id", id, "user", "eve", "command", command,
                                "started", doc_time(1000 + i), "state", "done", "sorted", 1);
        char *key = mem_printf("%s_%s", json_get_text(doc, "started", ""), id);
        batch_put(fixture->auth, "/recording/", key, doc);
        mem_free(key);
        json_decref(doc);
        json_t *event = event_new("exec", true, "demo.test");
        json_object_set_new(event, "command", json_string(command));
        audit_emit(fixture->auth, event, NULL, NULL);
    }
    assert_int_equal(batch_commit(fixture->auth, &error), TP_OK);
    fixture_settle(fixture, 300);
    assert_int_equal(list_all(fixture, "recordings.list"), HEAVY);
    assert_in_range(list_all(fixture, "audit.list"), HEAVY, HEAVY + 50);
    mem_free(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(r9_a_page_looks_at_so_many_and_no_more, setup, teardown),
        cmocka_unit_test_setup_teardown(every_order, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_of_an_order, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_are_made_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_start_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(a_page_fits_into_a_frame_whatever_people_typed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

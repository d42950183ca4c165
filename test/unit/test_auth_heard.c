/* What a host reports is on record once (auth/host_heard.c), though it is said again when its answer was lost. */
#include "auth/hosts.h"
#include "auth_access_help.h"
#include "auth_clock_help.h"

#define NAME "6d0d0c7e-0001-4000-8000-000000000000"
#define MINUTE_MS ((int64_t)60 * 1000)

static json_t *event(const char *sid, const char *command)
{
    return json_pack("{s:s, s:s, s:{s:s}}", "sid", sid, "event", "exec", "fields", "command", command);
}

static json_t *report(const char *sid, const char *name, const char *command)
{
    json_t *params = event(sid, command);
    json_object_set_new(params, "report", json_string(name));
    return params;
}

static json_t *reports(const char *sid, const char *name)
{
    return json_pack("{s:s, s:[o, o, o]}", "report", name, "events", event(sid, "one"), event(sid, "two"),
                     event(sid, "one"));
}

static void tell(struct fixture *fixture, const char *host, const char *method, json_t *params)
{
    json_decref(must(fixture, as_host(host, "web"), method, params));
}

static json_t *written(struct fixture *fixture, const char *type)
{
    json_t *list = must(fixture, as_local(), "audit.list", json_pack("{s:[s], s:i}", "types", type, "limit", 2000));
    json_t *items = json_incref(json_object_get(list, "items"));
    json_decref(list);
    return items;
}

/* Whoever looks for what is twice in the log goes by the uid. */
static void all_differ(const json_t *items)
{
    for (size_t i = 0; i < json_array_size(items); i++) {
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(json_get_text(json_array_get(items, i), "uid", ""),
                                    json_get_text(json_array_get(items, j), "uid", ""));
        }
    }
}

static size_t count(struct fixture *fixture, const char *type)
{
    json_t *items = written(fixture, type);
    size_t size = json_array_size(items);
    json_decref(items);
    return size;
}

static char *begin(struct fixture *fixture, const char *host, const char *name)
{
    put_host(fixture, host, name, "dev", true);
    char *sid = connect_as(fixture, "alice", name);
    tell(fixture, host, "session.start", json_pack("{s:s, s:s, s:s}", "sid", sid, "login", "root", "kind", "shell"));
    return sid;
}

static void prepare(struct fixture *fixture)
{
    put_role(fixture, "dev", "root", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
}

static void a_report_that_is_made_again_is_on_record_once(void **state)
{
    struct fixture *fixture = *state;
    prepare(fixture);
    char *sid = begin(fixture, HOST_A, "web-1");
    for (size_t i = 0; i < 3; i++) {
        tell(fixture, HOST_A, "session.event", report(sid, NAME, "ls"));
        tell(fixture, HOST_A, "session.events", reports(sid, NAME "-1"));
        must_fail(fixture, as_host(HOST_A, "web-1"), "session.event",
                  json_pack("{s:s, s:s, s:s}", "report", NAME, "sid", sid, "event", "none"), TP_DENIED);
        tell(fixture, HOST_A, "session.auth",
             json_pack("{s:s, s:s, s:s, s:b}", "report", NAME, "sid", sid, "login", "eve", "ok", 0));
    }
    assert_int_equal(count(fixture, "exec"), 4); /* two of one call say the same, and are two */
    assert_int_equal(count(fixture, "auth"), 1);
    /* The same said anew, and what an agent of before says, is news. */
    tell(fixture, HOST_A, "session.event", report(sid, NAME "-2", "ls"));
    tell(fixture, HOST_A, "session.event", event(sid, "ls"));
    tell(fixture, HOST_A, "session.event", event(sid, "ls"));
    json_t *items = written(fixture, "exec");
    assert_int_equal(json_array_size(items), 7);
    all_differ(items);
    json_decref(items);
    mem_free(sid);
}

/* A name that was used for something harmless hides nothing, and the name of another host's report keeps that from the log neither. */
static void r15_no_report_hides_another(void **state)
{
    struct fixture *fixture = *state;
    prepare(fixture);
    char *sid = begin(fixture, HOST_A, "web-1");
    char *other = begin(fixture, HOST_B, "web-2");
    tell(fixture, HOST_A, "session.event", report(sid, NAME, "ls"));
    tell(fixture, HOST_A, "session.event", report(sid, NAME, "rm -rf /"));
    json_t *as_resize = report(sid, NAME, "ls");
    json_object_set_new(as_resize, "event", json_string("subsystem"));
    tell(fixture, HOST_A, "session.event", as_resize);
    tell(fixture, HOST_B, "session.event", report(other, NAME, "ls"));
    /* Not even one that says that it is the other's. */
    must_fail(fixture, as_host(HOST_A, "web-1"), "session.event", report(other, NAME "-1", "id"), TP_NOT_FOUND);
    tell(fixture, HOST_B, "session.event", report(other, NAME "-1", "id"));
    json_t *items = written(fixture, "exec");
    assert_int_equal(json_array_size(items), 4);
    all_differ(items);
    json_decref(items);
    assert_int_equal(count(fixture, "subsystem"), 1);
    mem_free(sid);
    mem_free(other);
}

/* Said again before the log has answered: it is on record when that is said, and not before. */
static void what_is_on_its_way_is_waited_for(void **state)
{
    static struct answer answers[6];
    struct fixture *fixture = *state;
    prepare(fixture);
    char *sid = begin(fixture, HOST_A, "web-1");
    for (size_t i = 0; i < 6; i++) {
        ask_later(fixture, as_host(HOST_A, "web-1"), i % 2 == 0 ? "session.event" : "session.events",
                  i % 2 == 0 ? report(sid, NAME, "ls") : reports(sid, NAME), &answers[i]);
    }
    assert_int_equal(fixture->waiting, 6);
    wait_all(fixture);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(answers[i].error.code, TP_OK);
        assert_int_equal(json_array_size(json_object_get(answers[i].result, "refused")), 0);
        json_decref(answers[i].result);
    }
    assert_int_equal(count(fixture, "exec"), 4);
    assert_int_equal(map_count(fixture->auth->reports), 0);
    mem_free(sid);
}

static json_t *subsystem(const char *sid)
{
    return json_pack("{s:s, s:s, s:s, s:{s:s}}", "report", NAME, "sid", sid, "event", "subsystem", "fields", "name",
                     "sftp");
}

/* What the log did not take is no repetition of something when it comes again. What came of a command, which has happened, auth writes
 * by itself when it can. */
static void what_was_not_written_is_written_when_it_comes_again(void **state)
{
    static struct answer answers[3];
    struct fixture *fixture = *state;
    prepare(fixture);
    char *sid = begin(fixture, HOST_A, "web-1");
    fixture_settle(fixture, 300);
    struct disk disk = disk_refuses();
    ask_later(fixture, as_host(HOST_A, "web-1"), "session.event", report(sid, NAME, "ls"), &answers[0]);
    ask_later(fixture, as_host(HOST_A, "web-1"), "session.event", subsystem(sid), &answers[1]);
    ask_later(fixture, as_host(HOST_A, "web-1"), "session.event", subsystem(sid), &answers[2]);
    wait_all(fixture);
    disk_takes(&disk);
    assert_null(answers[0].result);
    assert_null(answers[1].result);
    assert_null(answers[2].result); /* nor is he told otherwise who says it again */
    fixture_settle(fixture, 1600);
    assert_int_equal(count(fixture, "exec"), 1);
    assert_int_equal(count(fixture, "subsystem"), 0);
    for (size_t i = 0; i < 2; i++) {
        tell(fixture, HOST_A, "session.event", report(sid, NAME, "ls"));
        tell(fixture, HOST_A, "session.event", subsystem(sid));
        assert_int_equal(count(fixture, "exec"), 1);
        assert_int_equal(count(fixture, "subsystem"), 1);
    }
    mem_free(sid);
}

/* Not while auth only means to write it: a host that hears "yes" forgets it, and what auth only means to write a crash forgets. */
static void what_is_owed_is_not_said_to_be_on_record(void **state)
{
    static struct answer answers[3];
    struct fixture *fixture = *state;
    prepare(fixture);
    char *sid = begin(fixture, HOST_A, "web-1");
    fixture_settle(fixture, 300);
    struct disk disk = disk_refuses();
    for (size_t i = 0; i < 3; i++) {
        ask_later(fixture, as_host(HOST_A, "web-1"), "session.event", report(sid, NAME, "ls"), &answers[i]);
        wait_all(fixture);
    }
    disk_takes(&disk);
    for (size_t i = 0; i < 3; i++) {
        assert_null(answers[i].result);
        assert_int_not_equal(answers[i].error.code, TP_OK);
    }
    fixture_settle(fixture, 1600);
    tell(fixture, HOST_A, "session.event", report(sid, NAME, "ls"));
    assert_int_equal(count(fixture, "exec"), 1);
    mem_free(sid);
}

/* An auth process that was killed between the disk and the answer. */
static void the_next_process_knows_what_is_on_record(void **state)
{
    struct fixture *fixture = *state;
    prepare(fixture);
    char *sid = begin(fixture, HOST_A, "web-1");
    tell(fixture, HOST_A, "session.event", report(sid, NAME, "ls"));
    tell(fixture, HOST_A, "session.events", reports(sid, NAME));
    fixture_settle(fixture, 300);
    fixture_shut(fixture);
    fixture_open(fixture);
    tell(fixture, HOST_A, "session.event", report(sid, NAME, "ls"));
    tell(fixture, HOST_A, "session.events", reports(sid, NAME));
    assert_int_equal(count(fixture, "exec"), 4);
    tell(fixture, HOST_A, "session.event", report(sid, NAME, "id"));
    assert_int_equal(count(fixture, "exec"), 5);
    mem_free(sid);
}

static json_t *many_reports(const char *sid, size_t number)
{
    json_t *list = json_array();
    json_t *one = event(sid, "ls");
    for (size_t i = 0; i < RPC_REPORTS_MAX; i++) {
        json_array_append(list, one);
    }
    json_decref(one);
    return json_pack("{s:o, s:o}", "report", json_sprintf("%zu", number), "events", list);
}

/* Is an event of such a call known? */
static bool knows(struct fixture *fixture, const char *sid, size_t number, size_t index)
{
    struct call call = {.auth = fixture->auth, .caller = as_host(HOST_A, "web-1"), .params = many_reports(sid, number)};
    json_t *made = json_object();
    bool known = host_heard(&call, index, json_array_get(json_object_get(call.params, "events"), index), made);
    json_decref(made);
    json_decref(call.params);
    caller_free(&call.caller);
    return known;
}

/* The newest so many of a host are remembered, and what no agent says again any more is not. */
static void r15_what_is_remembered_of_a_host_is_bounded(void **state)
{
    struct fixture *fixture = *state;
    const size_t calls = HOST_HEARD_MAX / RPC_REPORTS_MAX;
    prepare(fixture);
    char *sid = begin(fixture, HOST_A, "web-1");
    char *other = begin(fixture, HOST_B, "web-2");
    tell(fixture, HOST_B, "session.event", report(other, NAME, "quiet"));
    for (size_t i = 0; i < calls; i++) {
        tell(fixture, HOST_A, "session.events", many_reports(sid, i));
    }
    tell(fixture, HOST_A, "session.event", report(sid, NAME, "one more"));
    assert_true(knows(fixture, sid, calls - 1, RPC_REPORTS_MAX - 1));
    assert_true(knows(fixture, sid, 0, 1));
    assert_false(knows(fixture, sid, 0, 0));
    /* The flood of one takes nothing from another. */
    tell(fixture, HOST_B, "session.event", report(other, NAME, "quiet"));
    assert_int_equal(count(fixture, "exec"), HOST_HEARD_MAX + 2);
    mono_ms += 5 * MINUTE_MS;
    host_heard_sweep(fixture->auth);
    assert_true(knows(fixture, sid, calls - 1, 0));
    mono_ms += 2 * MINUTE_MS;
    host_heard_sweep(fixture->auth);
    assert_null(hosts_get(fixture->auth, HOST_A)->heard);
    assert_null(hosts_get(fixture->auth, HOST_B)->heard);
    mem_free(sid);
    mem_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_report_that_is_made_again_is_on_record_once, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(r15_no_report_hides_another, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(what_is_on_its_way_is_waited_for, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(what_was_not_written_is_written_when_it_comes_again, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(what_is_owed_is_not_said_to_be_on_record, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(the_next_process_knows_what_is_on_record, setup_at_noon, teardown),
        cmocka_unit_test_setup_teardown(r15_what_is_remembered_of_a_host_is_bounded, setup_at_noon, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

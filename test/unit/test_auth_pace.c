/* How fast a host may write into the audit log (auth/host_pace.c). */
#include "auth/audit.h"
#include "auth/hosts.h"
#include "auth_access_help.h"

#include <malloc.h>
#include <sys/statvfs.h>

#define PACE (64 * 1024) /* bytes a second, and at once */
#define TEXT ((size_t)8 * 1024)
#define CALLS 20

static char *start_session(struct fixture *fixture, const char *host_id, const char *name)
{
    char *sid = connect_as(fixture, "alice", name);
    json_decref(must(fixture, as_host(host_id, name), "session.start",
                     json_pack("{s:s, s:s, s:s}", "sid", sid, "login", "root", "kind", "shell")));
    return sid;
}

static json_t *report(const char *sid, size_t number)
{
    static char text[TEXT + 1];
    memset(text, 'x', TEXT);
    return json_pack("{s:s, s:s, s:{s:I, s:s}}", "sid", sid, "event", "exec", "fields", "number", (json_int_t)number,
                     "command", text);
}

static json_t *events_of(struct fixture *fixture, const char *type)
{
    json_t *list = must(fixture, as_local(), "audit.list",
                        json_pack("{s:[s], s:s, s:i}", "types", type, "order", "asc", "limit", 1000));
    json_t *items = json_incref(json_object_get(list, "items"));
    json_decref(list);
    return items;
}

static void prepare(struct fixture *fixture)
{
    put_role(fixture, "dev", "root", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    put_host(fixture, HOST_B, "web-2", "dev", true);
    fixture->auth->pace_bytes = PACE;
    fixture->auth->pace_burst = PACE;
}

/* A host could fill the disk of auth with events as fast as that writes. */
static void r15_a_host_fills_the_log_at_its_pace_and_loses_nothing(void **state)
{
    static struct answer answers[CALLS + 1];
    static struct answer beside;
    struct fixture *fixture = *state;
    prepare(fixture);
    char *sid = start_session(fixture, HOST_A, "web-1");
    char *other = start_session(fixture, HOST_B, "web-2");
    int64_t began = clock_mono_ms();
    for (size_t i = 0; i < CALLS; i++) {
        bool many = i % 2 == 0; /* both ways to report are counted together, and stay in order */
        json_t *params = report(sid, i);
        ask_later(fixture, as_host(HOST_A, "web-1"), many ? "session.events" : "session.event",
                  many ? json_pack("{s:[o]}", "events", params) : params, &answers[i]);
    }
    ask_later(fixture, as_host(HOST_A, "web-1"), "session.end", json_pack("{s:s, s:s}", "id", sid, "reason", "done"),
              &answers[CALLS]);
    /* Nobody else waits for that. */
    ask_later(fixture, as_host(HOST_B, "web-2"), "session.event", report(other, 1000), &beside);
    while (!beside.done) {
        fixture_settle(fixture, 10);
    }
    assert_int_equal(beside.error.code, TP_OK);
    json_decref(beside.result);
    assert_false(answers[CALLS - 1].done);
    wait_all(fixture);
    int64_t took = clock_mono_ms() - began;
    /* What was there at once, one call that overdraws, and the last one, which is paid for afterwards. */
    assert_true(took > (int64_t)((CALLS - 2) * TEXT - PACE) * 1000 / PACE - 300);
    for (size_t i = 0; i <= CALLS; i++) {
        assert_int_equal(answers[i].error.code, TP_OK);
        assert_int_equal(json_array_size(json_object_get(answers[i].result, "refused")), 0);
        json_decref(answers[i].result);
    }
    json_t *written = events_of(fixture, "exec");
    size_t next = 0;
    size_t i;
    json_t *event;
    json_array_foreach (written, i, event) {
        if (json_get_int(event, "number", -1) != 1000) {
            assert_int_equal(json_get_int(event, "number", -1), (int64_t)next++);
        }
    }
    assert_int_equal(next, CALLS);
    json_decref(written);
    /* The operator is told once, and which host it is. */
    json_t *told = events_of(fixture, "host.reports_held");
    assert_int_equal(json_array_size(told), 1);
    assert_string_equal(json_get_text(json_array_get(told, 0), "server_id", ""), HOST_A);
    assert_string_equal(json_get_text(json_array_get(told, 0), "server_hostname", ""), "web-1");
    json_decref(told);
    mem_free(sid);
    mem_free(other);
}

/* An agent that sends on without waiting is told why it is not heard. */
static void r15_what_waits_for_its_turn_is_bounded_and_ends_with_its_host(void **state)
{
    static struct answer answers[HOST_PACE_CALLS + 20];
    struct fixture *fixture = *state;
    size_t count = sizeof answers / sizeof answers[0];
    prepare(fixture);
    fixture->auth->pace_burst = 1;
    fixture->auth->pace_bytes = 64; /* nothing is due before all have been asked, on the slowest machine */
    char *sid = start_session(fixture, HOST_A, "web-1"); /* all of it is used up by this one */
    for (size_t i = 0; i < count; i++) {
        ask_later(fixture, as_host(HOST_A, "web-1"), "session.event", report(sid, i), &answers[i]);
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(answers[i].done, i >= HOST_PACE_CALLS);
        if (i >= HOST_PACE_CALLS) {
            assert_int_equal(answers[i].error.code, TP_LIMIT);
            assert_non_null(strstr(answers[i].error.text, "on record, and too much of it waits already"));
        }
    }
    json_decref(must(fixture, as_local(), "resources.rm", json_pack("{s:s, s:s}", "kind", "node", "name", HOST_A)));
    wait_all(fixture);
    size_t kept = 0;
    for (size_t i = 0; i < HOST_PACE_CALLS; i++) {
        kept += answers[i].error.code == TP_OK;
        assert_true(answers[i].error.code == TP_OK || answers[i].error.code == TP_NOT_FOUND);
        json_decref(answers[i].result);
    }
    assert_true(kept < HOST_PACE_CALLS / 2);
    json_t *written = events_of(fixture, "exec");
    assert_int_equal(json_array_size(written), kept);
    json_decref(written);
    mem_free(sid);
}

#define MANY_HOSTS 5
#define LARGE 60000 /* bytes of one event */
#define LARGE_COUNT 250

static json_t *large_reports(const char *sid)
{
    static char text[LARGE + 1];
    json_t *events = json_array();
    memset(text, 'x', LARGE);
    json_t *report = json_pack("{s:s, s:s, s:{s:s}}", "sid", sid, "event", "exec", "fields", "command", text);
    for (size_t i = 0; i < LARGE_COUNT; i++) {
        json_array_append(events, report);
    }
    json_decref(report);
    return json_pack("{s:o}", "events", events);
}

/* Each within its rate, a few hosts together filled what may wait for the disk: everybody's actions were refused then. */
static void r15_hosts_that_report_at_once_leave_room_for_people(void **state)
{
    static struct answer answers[MANY_HOSTS];
    struct fixture *fixture = *state;
    char *sids[MANY_HOSTS];
    char ids[MANY_HOSTS][UUID_TEXT_SIZE];
    prepare(fixture);
    fixture->auth->pace_bytes = HOST_PACE_BYTES;
    fixture->auth->pace_burst = HOST_PACE_BURST;
    for (size_t i = 0; i < MANY_HOSTS; i++) {
        char *name = mem_printf("host-%zu", i);
        crypt_uuid(ids[i]);
        put_host(fixture, ids[i], name, "dev", true);
        sids[i] = start_session(fixture, ids[i], name);
        mem_free(name);
    }
    for (size_t i = 0; i < MANY_HOSTS; i++) {
        ask_later(fixture, as_host(ids[i], "host"), "session.events", large_reports(sids[i]), &answers[i]);
    }
    mem_free(connect_as(fixture, "alice", "web-1"));
    wait_all(fixture);
    for (size_t i = 0; i < MANY_HOSTS; i++) {
        assert_int_equal(answers[i].error.code, TP_OK);
        assert_int_equal(json_array_size(json_object_get(answers[i].result, "refused")), 0);
        json_decref(answers[i].result);
        mem_free(sids[i]);
    }
    json_t *told = events_of(fixture, "host.reports_held"); /* none of them did wrong */
    assert_int_equal(json_array_size(told), 0);
    json_decref(told);
}

#define DENSE 60000
#define DENSE_CALLS 40

/* Texts of few bytes that are large as trees: hosts that had to wait held many times their text of auth's memory. */
static void r15_what_waits_takes_no_more_than_its_text(void **state)
{
    static struct answer answers[DENSE_CALLS];
    struct fixture *fixture = *state;
    prepare(fixture);
    fixture->auth->pace_burst = 1;
    fixture->auth->pace_bytes = 64;
    char *sid = start_session(fixture, HOST_A, "web-1");
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (size_t i = 0; i < DENSE_CALLS; i++) {
        json_t *lists = json_array();
        for (size_t j = 0; j < DENSE; j++) {
            json_array_append_new(lists, json_array());
        }
        ask_later(
            fixture, as_host(HOST_A, "web-1"), "session.event",
            json_pack("{s:s, s:s, s:{s:i, s:o}}", "sid", sid, "event", "exec", "fields", "number", (int)i, "x", lists),
            &answers[i]);
    }
    assert_true(mallinfo2().uordblks + mallinfo2().hblkhd - before < (size_t)2 * DENSE_CALLS * DENSE * strlen("[],"));
    fixture->auth->pace_bytes = HOST_PACE_BYTES; /* what waited is what was said, in its order */
    wait_all(fixture);
    for (size_t i = 0; i < DENSE_CALLS; i++) {
        assert_int_equal(answers[i].error.code, TP_TOO_LARGE); /* larger than an event may be */
    }
    mem_free(sid);
}

#define SLOW_HOSTS 6
#define SLOW_CALLS 60

/* All that had come to be due was run at once, however long that took, and nobody else was heard meanwhile. */
static void r15_hosts_whose_turn_it_is_leave_time_for_others(void **state)
{
    static struct answer answers[SLOW_HOSTS * SLOW_CALLS];
    struct fixture *fixture = *state;
    char ids[SLOW_HOSTS][UUID_TEXT_SIZE];
    prepare(fixture);
    fixture->auth->pace_burst = 1;
    fixture->auth->pace_bytes = 64;
    json_t *lists = json_array();
    for (size_t j = 0; j < DENSE; j++) {
        json_array_append_new(lists, json_array());
    }
    for (size_t i = 0; i < SLOW_HOSTS; i++) {
        char *name = mem_printf("host-%zu", i);
        crypt_uuid(ids[i]);
        put_host(fixture, ids[i], name, "dev", true);
        mem_free(start_session(fixture, ids[i], name));
        mem_free(name);
    }
    for (size_t i = 0; i < SLOW_HOSTS * SLOW_CALLS; i++) {
        ask_later(fixture, as_host(ids[i / SLOW_CALLS], "host"), "session.event",
                  json_pack("{s:s, s:O}", "event", "none", "fields", lists), &answers[i]);
    }
    json_decref(lists);
    fixture->auth->pace_burst = HOST_PACE_BURST;
    fixture->auth->pace_bytes = HOST_PACE_BURST;
    usleep(20000); /* now all of it is due */
    size_t heard = 0;
    for (size_t i = 0; i < 3; i++) { /* another one is the first each time */
        host_pace_tick(fixture->auth);
        assert_non_null(fixture->auth->paced);
    }
    for (size_t i = 0; i < SLOW_HOSTS; i++) {
        heard += answers[i * SLOW_CALLS].done;
    }
    assert_true(heard >= 3);
    host_pace_finish(fixture->auth);
    assert_int_equal(fixture->waiting, 0);
}

/* The test's own in place of the C library's. */
static bool disk_is_low;
int statvfs(const char *path, struct statvfs *fs)
{
    (void)path;
    *fs = (struct statvfs){.f_frsize = 4096, .f_blocks = 1 << 24, .f_bavail = disk_is_low ? 16 : 1 << 20};
    return 0;
}

/* They were let in while the disk had room, and took what was left for people when their turn came. */
static void r15_what_waits_for_its_turn_does_not_take_the_last_of_the_disk(void **state)
{
    static struct answer answers[CALLS + 1];
    struct fixture *fixture = *state;
    prepare(fixture);
    fixture->auth->pace_burst = 1;
    fixture->auth->pace_bytes = 64;
    char *sid = start_session(fixture, HOST_A, "web-1");
    for (size_t i = 0; i < CALLS; i++) {
        ask_later(fixture, as_host(HOST_A, "web-1"), "session.event", report(sid, i), &answers[i]);
    }
    ask_later(fixture, as_host(HOST_A, "web-1"), "session.end", json_pack("{s:s, s:s}", "id", sid, "reason", "done"),
              &answers[CALLS]);
    disk_is_low = true;
    audit_emit(fixture->auth, event_new("audit.prune", true, "test"), NULL,
               NULL); /* with it auth sees how things are */
    fixture_settle(fixture, 500);
    assert_false(answers[0].done);
    fixture->auth->pace_bytes = HOST_PACE_BYTES;
    wait_all(fixture);
    for (size_t i = 1; i < CALLS; i++) {
        assert_int_equal(answers[i].error.code, TP_NO_SPACE);
    }
    /* That one ends may always be said, and what came of it: once. */
    assert_int_equal(answers[0].error.code, TP_OK);
    assert_int_equal(answers[CALLS].error.code, TP_OK);
    json_decref(answers[0].result);
    json_decref(answers[CALLS].result);
    disk_is_low = false;
    mem_free(sid);
}

#define BEGUN 100 /* sessions, of which a host says something at the end */
#define END_TEXT ((size_t)60000)

static size_t ends_taken(struct fixture *fixture, const char *sid)
{
    size_t taken = 0;
    char *text = mem_alloc(END_TEXT + 1);
    memset(text, 'x', END_TEXT);
    for (size_t i = 0; i < BEGUN / 2; i++) {
        struct tp_error error = {0};
        json_t *params = json_pack("{s:s, s:s, s:{s:I, s:s}}", "sid", sid, "event", "exec", "fields", "number",
                                   (json_int_t)i, "command", text);
        json_t *result = ask(fixture, as_host(HOST_A, "web-1"), "session.event", params, &error);
        assert_int_equal(error.code, result != NULL ? TP_OK : TP_NO_SPACE);
        taken += result != NULL;
        json_decref(result);
    }
    mem_free(text);
    return taken;
}

/* A host that has been taken over could begin many sessions while there was room, and say very much at the end of each when
 * there was none but for people. */
static void r15_what_has_ended_does_not_take_the_last_of_the_disk(void **state)
{
    struct fixture *fixture = *state;
    prepare(fixture);
    fixture->auth->pace_bytes = HOST_PACE_BYTES;
    fixture->auth->pace_burst = HOST_PACE_BURST;
    char *sid = start_session(fixture, HOST_A, "web-1");
    for (size_t i = 1; i < BEGUN; i++) {
        json_decref(must(fixture, as_host(HOST_A, "web-1"), "session.start",
                         json_pack("{s:s, s:s, s:s}", "sid", sid, "login", "root", "kind", "shell")));
    }
    disk_is_low = true;
    audit_emit(fixture->auth, event_new("audit.prune", true, "test"), NULL, NULL);
    fixture_settle(fixture, 100);
    size_t most = (size_t)HOST_ENDS_BYTES / END_TEXT;
    size_t taken = ends_taken(fixture, sid);
    assert_in_range(taken, most - 1, most + 1);
    assert_int_equal(ends_taken(fixture, sid), 0);
    disk_is_low = false;
    fixture_settle(fixture, 1600);
    assert_int_equal(ends_taken(fixture, sid), BEGUN / 2);
    mem_free(sid);
}

/* Whoever fills the log is locked, and wrote on: what waited of him was still put on record. */
static void r15_nothing_that_waits_of_a_locked_host_is_put_on_record(void **state)
{
    static struct answer answers[CALLS];
    struct fixture *fixture = *state;
    prepare(fixture);
    fixture->auth->pace_burst = 1;
    fixture->auth->pace_bytes = 64;
    char *sid = start_session(fixture, HOST_A, "web-1");
    for (size_t i = 0; i < CALLS; i++) {
        ask_later(fixture, as_host(HOST_A, "web-1"), "session.event", report(sid, i), &answers[i]);
    }
    struct answer locked = {0};
    ask_later(fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "server_id", HOST_A), &locked);
    while (!locked.done) {
        fixture_settle(fixture, 10);
    }
    assert_int_equal(locked.error.code, TP_OK);
    json_decref(locked.result);
    assert_false(answers[0].done);
    fixture->auth->pace_bytes = HOST_PACE_BYTES;
    wait_all(fixture);
    for (size_t i = 0; i < CALLS; i++) {
        assert_int_equal(answers[i].error.code, TP_DENIED);
    }
    mem_free(sid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(r15_a_host_fills_the_log_at_its_pace_and_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(r15_what_waits_for_its_turn_is_bounded_and_ends_with_its_host, setup, teardown),
        cmocka_unit_test_setup_teardown(r15_hosts_that_report_at_once_leave_room_for_people, setup, teardown),
        cmocka_unit_test_setup_teardown(r15_what_waits_takes_no_more_than_its_text, setup, teardown),
        cmocka_unit_test_setup_teardown(r15_hosts_whose_turn_it_is_leave_time_for_others, setup, teardown),
        cmocka_unit_test_setup_teardown(r15_what_waits_for_its_turn_does_not_take_the_last_of_the_disk, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(r15_what_has_ended_does_not_take_the_last_of_the_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(r15_nothing_that_waits_of_a_locked_host_is_put_on_record, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

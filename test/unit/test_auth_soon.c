/* Events that nobody waits for are written together (auth/audit.c). Each batch asks once how much room the disk has, which
 * tells how many there were. */
#include "auth/audit.h"
#include "auth_access_help.h"

#include <sys/statvfs.h>

#define MANY 12

static unsigned batches;
/* The test's own in place of the C library's. */
int statvfs(const char *path, struct statvfs *fs)
{
    (void)path;
    __atomic_add_fetch(&batches, 1, __ATOMIC_RELAXED);
    *fs = (struct statvfs){.f_frsize = 4096, .f_blocks = 1 << 24, .f_bavail = 1 << 20};
    return 0;
}

/* A slow disk would make batches of what comes while it works. */
int fdatasync(int fd)
{
    (void)fd;
    return 0;
}

static unsigned batches_so_far(void)
{
    return __atomic_load_n(&batches, __ATOMIC_RELAXED);
}

struct told {
    unsigned count;
    unsigned failed;
};

static void on_told(void *ctx, const struct tp_error *error)
{
    struct told *told = ctx;
    told->count++;
    told->failed += error != NULL;
}

static void emit_soon(struct fixture *fixture, struct told *told)
{
    audit_emit_soon(fixture->auth, event_new("session.data", true, "test"), on_told, told);
}

/* The setup's own events are out of the way, and the loop knows what time it is. */
static void begin(struct fixture *fixture)
{
    do {
        fixture_settle(fixture, 10);
    } while (!audit_idle(fixture->auth));
}

static void what_comes_one_by_one_is_one_batch(void **state)
{
    struct fixture *fixture = *state;
    static struct told told;
    begin(fixture);
    unsigned before = batches_so_far();
    for (unsigned i = 0; i < MANY; i++) {
        emit_soon(fixture, &told);
        fixture_settle(fixture, 1); /* an event that somebody waits for would be on the disk now */
    }
    while (told.count < MANY) {
        fixture_settle(fixture, 1);
    }
    assert_int_equal(told.failed, 0);
    /* As many turns take less time than the events wait; on a machine that stands still there may be some more. */
    assert_in_range(batches_so_far() - before, 1, MANY / 2);
}

static void whoever_waits_takes_the_others_along(void **state)
{
    struct fixture *fixture = *state;
    static struct told soon;
    static struct told now;
    begin(fixture);
    emit_soon(fixture, &soon);
    audit_emit(fixture->auth, event_new("session.start", true, "test"), on_told, &now);
    emit_soon(fixture, &soon);
    assert_int_equal(now.count, 0);
    while (now.count == 0) {
        fixture_settle(fixture, 1);
    }
    assert_int_equal(soon.count, 2);
    assert_int_equal(soon.failed + now.failed, 0);
}

/* A lot is written at once: it would take memory, and those who report would wait for no gain. */
static void much_does_not_wait(void **state)
{
    struct fixture *fixture = *state;
    static struct told told;
    static char text[32 * 1024 + 1];
    memset(text, 'x', sizeof text - 1);
    begin(fixture);
    for (unsigned i = 0; i < 2; i++) {
        json_t *event = event_new("exec", true, "test");
        json_object_set_new(event, "command", json_string(text));
        audit_emit_soon(fixture->auth, event, on_told, &told);
    }
    fixture_settle(fixture, 0);
    assert_int_equal(audit_log_pending(audit_log_of(fixture->auth)), 0); /* they are out */
    while (told.count < 2) {
        fixture_settle(fixture, 1);
    }
    assert_int_equal(told.failed, 0);
}

/* It is recorded, and whoever asked hears something, though auth ends before the time has come. */
static void nothing_is_lost_when_auth_ends_meanwhile(void **state)
{
    struct fixture *fixture = *state;
    begin(fixture);
    static struct told told;
    json_t *event = event_new("session.data", true, "test");
    json_object_set_new(event, "user", json_string("the-last-one"));
    audit_emit_soon(fixture->auth, event, on_told, &told);
    auth_close(fixture->auth);
    fixture_settle(fixture, 20);
    loop_free(fixture->loop);
    assert_int_equal(told.count, 1);
    fixture_open(fixture);
    json_t *list = must(fixture, as_local(), "audit.list", json_pack("{s:s}", "user", "the-last-one"));
    assert_int_equal(json_array_size(json_object_get(list, "items")), 1);
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_comes_one_by_one_is_one_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(whoever_waits_takes_the_others_along, setup, teardown),
        cmocka_unit_test_setup_teardown(much_does_not_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_lost_when_auth_ends_meanwhile, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What takes its time on the thread pool never has all of it, and one person never what is there for all. */
#include "auth/lane.h"
#include "auth_access_help.h"

#include <stdatomic.h>

#define BLOCK ((size_t)4 * 1024 * 1024)
#define BLOCKS 4
#define READS 40
#define EACH 32 /* of one person, under way and waiting (auth.c) */

/* A session of alice's that has ended and has a long recording, which compresses well; returns its id. */
static char *long_recording(struct fixture *fixture)
{
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "x"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    char *sid = connect_as(fixture, "alice", "web-1");
    json_decref(
        must(fixture, as_host(HOST_A, "web-1"), "session.start",
             json_pack("{s:s, s:s, s:s, s:b}", "sid", sid, "login", "ubuntu", "kind", "shell", "interactive", 1)));
    char *block = mem_alloc(BLOCK);
    memset(block, ' ', BLOCK);
    char *data = enc_base64(block, BLOCK);
    for (size_t i = 0; i < BLOCKS; i++) {
        json_decref(must(fixture, as_host(HOST_A, "web-1"), "recording.append",
                         json_pack("{s:s, s:I, s:s}", "id", sid, "offset", (json_int_t)(i * BLOCK), "data", data)));
    }
    mem_free(data);
    mem_free(block);
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "session.end",
                     json_pack("{s:s, s:s, s:b}", "id", sid, "reason", "exit", "recorded", 1)));
    fixture_settle(fixture, 300);
    return sid;
}

static size_t answered(const struct answer *answers, enum tp_err code)
{
    size_t count = 0;
    for (size_t i = 0; i < READS; i++) {
        count += answers[i].done && answers[i].error.code == code;
    }
    return count;
}

/* Each read of the end of a recording unpacks all of it. Whoever had a long one of his own could ask for its end so often that
 * the log got no turn on the thread pool, and nobody was let in any more. */
static void r9_reading_does_not_keep_the_log_waiting(void **state)
{
    struct fixture *fixture = *state;
    char *sid = long_recording(fixture);
    mem_free(make_user(fixture, "ann", "auditor", "x"));
    mem_free(make_user(fixture, "eve", "auditor", "x"));
    static struct answer reads[READS];
    struct answer of_eve, logged;
    for (size_t i = 0; i < READS; i++) { /* backwards: each from the beginning again */
        ask_later(fixture, as_user(fixture, "ann"), "recordings.read",
                  json_pack("{s:s, s:I}", "id", sid, "offset", (json_int_t)(BLOCKS * BLOCK - 1000 - i)), &reads[i]);
    }
    assert_int_equal(answered(reads, TP_LIMIT), READS - EACH);
    ask_later(fixture, as_user(fixture, "eve"), "recordings.read", json_pack("{s:s, s:i}", "id", sid, "offset", 0),
              &of_eve);
    ask_later(fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "user", "nobody"), &logged);
    bool both = false;
    while (fixture->waiting > 0) {
        fixture_settle(fixture, 1);
        if (!both && logged.done && of_eve.done) {
            both = true;
            assert_true(answered(reads, TP_OK) < EACH / 2);
        }
    }
    assert_true(both);
    assert_int_equal(logged.error.code, TP_OK);
    assert_int_equal(of_eve.error.code, TP_OK);
    assert_int_equal(answered(reads, TP_OK), EACH);
    for (size_t i = 0; i < READS; i++) {
        json_decref(reads[i].result);
    }
    json_decref(of_eve.result);
    json_decref(logged.result);
    mem_free(sid);
}

/* Whoever comes to watch is on record. Who had so much read at that moment that his look at a running session was refused was among
 * its watchers nevertheless, and from then on watched it while the log knew nothing of him. */
static void r3_who_is_refused_a_read_watches_nothing_unrecorded(void **state)
{
    struct fixture *fixture = *state;
    char *sid = long_recording(fixture);
    mem_free(make_user(fixture, "ann", "auditor", "x"));
    char *live = connect_as(fixture, "alice", "web-1");
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "session.start",
                     json_pack("{s:s, s:s, s:s, s:b, s:b}", "sid", live, "login", "ubuntu", "kind", "shell",
                               "interactive", 1, "recorded", 1)));
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "recording.append",
                     json_pack("{s:s, s:i, s:s}", "id", live, "offset", 0, "data", "eHh4")));
    static struct answer reads[EACH];
    struct answer first;
    for (size_t i = 0; i < EACH; i++) {
        ask_later(fixture, as_user(fixture, "ann"), "recordings.read", json_pack("{s:s, s:i}", "id", sid, "offset", 0),
                  &reads[i]);
    }
    ask_later(fixture, as_user(fixture, "ann"), "sessions.watch", json_pack("{s:s, s:i}", "id", live, "offset", 0),
              &first);
    assert_true(first.done);
    assert_int_equal(first.error.code, TP_LIMIT);
    while (fixture->waiting > 0) {
        fixture_settle(fixture, 1);
    }
    for (size_t i = 0; i < EACH; i++) {
        json_decref(reads[i].result);
    }
    json_decref(
        must(fixture, as_user(fixture, "ann"), "sessions.watch", json_pack("{s:s, s:i}", "id", live, "offset", 0)));
    json_t *log = must(fixture, as_local(), "audit.list", json_pack("{s:[s]}", "types", "session.join"));
    json_t *items = json_object_get(log, "items");
    assert_int_equal(json_array_size(items), 1);
    assert_string_equal(json_get_text(json_array_get(items, 0), "sid", ""), live);
    assert_string_equal(json_get_text(json_array_get(items, 0), "user", ""), "ann");
    json_decref(log);
    mem_free(live);
    mem_free(sid);
}

/* ---- the lane itself ---- */

struct probe {
    atomic_int now, most, of_ann, most_of_ann, done;
};

struct step {
    struct probe *probe;
    bool ann;
};

static void probe_work(void *ctx)
{
    const struct step *step = ctx;
    int now = atomic_fetch_add(&step->probe->now, 1) + 1;
    int of_ann = step->ann ? atomic_fetch_add(&step->probe->of_ann, 1) + 1 : 0;
    if (now > atomic_load(&step->probe->most)) {
        atomic_store(&step->probe->most, now);
    }
    if (of_ann > atomic_load(&step->probe->most_of_ann)) {
        atomic_store(&step->probe->most_of_ann, of_ann);
    }
    (void)usleep(2000);
    atomic_fetch_sub(&step->probe->now, 1);
    if (step->ann) {
        atomic_fetch_sub(&step->probe->of_ann, 1);
    }
}

static void probe_done(void *ctx)
{
    struct step *step = ctx;
    atomic_fetch_add(&step->probe->done, 1);
    mem_free(step);
}

static void one_of_a_person_and_few_of_all(void **state)
{
    struct fixture *fixture = *state;
    static const struct lane_rules rules = {.at_once = 3, .queue = 20, .each = 4, .full = "full"};
    struct lane *lane = lane_new(fixture->loop, &rules);
    struct probe probe = {0};
    struct tp_error error = {0};
    size_t taken = 0;
    size_t refused = 0;
    for (size_t i = 0; i < 40; i++) {
        struct step *step = mem_alloc(sizeof *step);
        *step = (struct step){.probe = &probe, .ann = i % 2 == 0};
        enum tp_err err = lane_run(lane, step->ann ? "ann" : NULL, probe_work, probe_done, step, &error);
        if (err == TP_OK) {
            taken++;
        } else {
            assert_int_equal(err, TP_LIMIT);
            refused++;
            mem_free(step);
        }
    }
    assert_true(refused > 16); /* 16 of ann's, and what found the queue full */
    while ((size_t)atomic_load(&probe.done) < taken) {
        fixture_settle(fixture, 5);
    }
    assert_int_equal(atomic_load(&probe.most_of_ann), 1);
    assert_true(atomic_load(&probe.most) <= 3);
    lane_free(lane);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(r9_reading_does_not_keep_the_log_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(r3_who_is_refused_a_read_watches_nothing_unrecorded, setup, teardown),
        cmocka_unit_test_setup_teardown(one_of_a_person_and_few_of_all, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

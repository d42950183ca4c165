/* Hosts that are away: since when, also after a restart; that a long list shows them; that their registration ends with their
 * certificate. */
#include "auth/hosts.h"
#include "auth_access_help.h"

#define HOUR_MS ((int64_t)3600 * 1000)
#define DAY_SECONDS ((int64_t)24 * 3600)

static void goes_away(struct fixture *fixture, int64_t ago_ms)
{
    json_decref(must(fixture, as_proxy(), "tunnel.down",
                     json_pack("{s:s, s:i, s:i}", "host_id", HOST_A, "worker", 1, "tunnel", 5)));
    hosts_get(fixture->auth, HOST_A)->last_seen_ms -= ago_ms;
}

static void restart(struct fixture *fixture)
{
    struct tp_error error = {0};
    host_seen_keep(fixture->auth);
    assert_int_equal(batch_commit(fixture->auth, &error), TP_OK);
    fixture_shut(fixture);
    fixture_open(fixture);
}

/* How many a list shows, and when the last of them was seen: "" is there now. */
static size_t shown(struct fixture *fixture, bool all, char out[CLOCK_TEXT_SIZE])
{
    json_t *result = must(fixture, as_local(), "nodes.list", json_pack("{s:b}", "all", all));
    const json_t *items = json_object_get(result, "items");
    size_t count = json_array_size(items);
    snprintf(out, CLOCK_TEXT_SIZE, "%s", json_get_text(json_array_get(items, count - 1), "last_seen", ""));
    json_decref(result);
    return count;
}

/* After a start of auth each host that had gone years ago was listed for ten minutes, as seen just now; and after these nothing
 * told its id, with which alone it can be removed. */
static void who_is_away_is_known_after_a_restart(void **state)
{
    struct fixture *fixture = *state;
    char when[CLOCK_TEXT_SIZE];
    char expected[CLOCK_TEXT_SIZE];
    put_host(fixture, HOST_A, "web-1", "dev", true);
    assert_int_equal(shown(fixture, false, when), 1);
    assert_string_equal(when, "");
    goes_away(fixture, HOUR_MS);
    clock_format_ms(hosts_get(fixture->auth, HOST_A)->last_seen_ms, expected);
    for (int restarted = 0; restarted < 2; restarted++) {
        assert_int_equal(shown(fixture, false, when), 0);
        assert_int_equal(shown(fixture, true, when), 1);
        assert_string_equal(when, expected);
        restart(fixture);
    }
    /* It is back: what was kept counts no more. */
    json_decref(
        must(fixture, as_host(HOST_A, "web-1"), "tunnel.up", json_pack("{s:i, s:i}", "worker", 1, "tunnel", 5)));
    restart(fixture);
    assert_int_equal(shown(fixture, false, when), 1);
    assert_in_range(clock_wall_ms() - hosts_get(fixture->auth, HOST_A)->last_seen_ms, 0, 10000);
}

/* Machines that never return were registered for ever. */
static void a_registration_ends_with_its_certificate(void **state)
{
    struct fixture *fixture = *state;
    struct tp_error error = {0};
    json_t *doc = NULL;
    put_host(fixture, HOST_A, "web-1", "dev", true);
    put_host(fixture, HOST_B, "web-2", "dev", true);
    int64_t made = clock_wall();
    hosts_saw_cert(hosts_get(fixture->auth, HOST_A), made);
    hosts_saw_cert(hosts_get(fixture->auth, HOST_B), made);
    goes_away(fixture, 0);
    host_seen_expire(fixture->auth, (made + HOST_CERT_SECONDS - 10) * 1000);
    assert_non_null(hosts_get(fixture->auth, HOST_A));
    host_seen_keep(fixture->auth);
    host_seen_expire(fixture->auth, (made + HOST_CERT_SECONDS + 10) * 1000);
    assert_null(hosts_get(fixture->auth, HOST_A));
    assert_non_null(
        hosts_get(fixture->auth, HOST_B)); /* it is there, so its certificate is a younger one than we know */
    restart(fixture);
    assert_null(hosts_get(fixture->auth, HOST_A));
    assert_int_equal(doc_find(fixture->auth->state, "/host_seen/", HOST_A, &doc, NULL, &error), TP_NOT_FOUND);
    json_t *result = must(fixture, as_local(), "audit.list", json_pack("{s:[s]}", "types", "node.deleted"));
    const json_t *event = json_array_get(json_object_get(result, "items"), 0);
    assert_string_equal(json_get_text(event, "reason", ""), "certificate_expired");
    assert_string_equal(json_get_text(event, "server_hostname", ""), "web-1");
    json_decref(result);
}

/* It had its new certificate and was switched off before it showed it: its registration went with the old one. */
static void a_renewal_that_was_not_shown_keeps_a_registration(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    json_decref(must(fixture, as_nobody("10.8.8.8"), "host.join",
                     join_params("static-secret-of-the-file", HOST_A, "web-1", &keys)));
    struct host *host = hosts_get(fixture->auth, HOST_A);
    int64_t now = clock_wall();
    host->cert_made = now - 300 * DAY_SECONDS;
    host->cert_given = host->cert_made;
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "host.renew",
                     join_params("static-secret-of-the-file", HOST_A, "web-1", &keys)));
    assert_int_equal(host->cert_made, now - 300 * DAY_SECONDS);
    host_seen_expire(fixture->auth, (now + 100 * DAY_SECONDS) * 1000);
    assert_non_null(hosts_get(fixture->auth, HOST_A));
    host_seen_expire(fixture->auth, (now + 366 * DAY_SECONDS) * 1000);
    assert_null(hosts_get(fixture->auth, HOST_A));
    keys_free(&keys);
}

/* auth starts, with so many days of a clock without leaps behind it and web-1's certificate of two years ago. */
static bool is_registered_after_start(struct fixture *fixture, int settled_days)
{
    struct tp_error error = {0};
    json_t *doc = NULL;
    assert_int_equal(doc_find(fixture->auth->state, "/host/", HOST_A, &doc, NULL, &error), TP_OK);
    json_object_set_new(doc, "made", json_integer(clock_wall() - 2 * HOST_CERT_SECONDS));
    batch_put(fixture->auth, "/host/", HOST_A, doc);
    json_decref(doc);
    doc = json_pack("{s:I, s:I, s:I}", "now", (json_int_t)clock_wall_ms(), "ahead", (json_int_t)0, "settled",
                    (json_int_t)settled_days * DAY_SECONDS * 1000);
    batch_put(fixture->auth, "/retention/", "clock", doc);
    json_decref(doc);
    restart(fixture);
    host_seen_keep(fixture->auth);
    return hosts_get(fixture->auth, HOST_A) != NULL;
}

/* A time server that was years ahead for a day, or a slip of the hand, unregistered whoever was away: with such a clock, all. */
static void a_clock_that_leapt_a_day_ago_unregisters_nobody(void **state)
{
    struct fixture *fixture = *state;
    put_host(fixture, HOST_A, "web-1", "dev", false);
    assert_true(is_registered_after_start(fixture, 1));
    assert_true(is_registered_after_start(fixture, 29));
    assert_false(is_registered_after_start(fixture, 31));
}

/* What was seen while the clock was ahead stood on every list until that day came, since it outlives a restart. */
static void who_was_seen_in_the_future_is_away(void **state)
{
    struct fixture *fixture = *state;
    char when[CLOCK_TEXT_SIZE];
    put_host(fixture, HOST_A, "web-1", "dev", true);
    goes_away(fixture, -HOUR_MS);
    restart(fixture);
    assert_int_equal(shown(fixture, false, when), 0);
    assert_int_equal(shown(fixture, true, when), 1);
}

static bool count_one(void *ctx, const struct store_entry *entry)
{
    (void)entry;
    ++*(unsigned *)ctx;
    return true;
}

/* Twenty of them kept auth from everything else for a hundred writes, one behind the other. */
static void few_are_removed_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct tp_error error = {0};
    unsigned left = 0;
    for (int i = 0; i < 6; i++) {
        char id[37];
        char name[16];
        snprintf(id, sizeof id, "%08d-5555-4555-8555-555555555555", i);
        snprintf(name, sizeof name, "old-%d", i);
        put_host(fixture, id, name, "dev", false);
    }
    host_seen_expire(fixture->auth, (clock_wall() + 2 * HOST_CERT_SECONDS) * 1000);
    assert_int_equal(store_range(fixture->auth->state, "/host/", NULL, 0, count_one, &left, &error), TP_OK);
    assert_int_equal(left, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_is_away_is_known_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(a_registration_ends_with_its_certificate, setup, teardown),
        cmocka_unit_test_setup_teardown(few_are_removed_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_renewal_that_was_not_shown_keeps_a_registration, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clock_that_leapt_a_day_ago_unregisters_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(who_was_seen_in_the_future_is_away, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

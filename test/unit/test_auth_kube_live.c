/* Kubernetes connections while they run: cut, resumed, reported, watched. */
#include "auth_kube_help.h"

/* alice, who is a developer in dev, and such a cluster, c of host A. */
static void alice_with_a_cluster(struct fixture *fixture)
{
    put_role(fixture, "dev", allows("dev", "developer"), NULL, NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
    serve(fixture, HOST_A, "a", json_pack("[o]", cluster("c", "dev")));
    up(fixture, HOST_A, "a", 1);
}

static void changes_cut_what_lost_its_right(void **state)
{
    struct fixture *fixture = *state;
    alice_with_a_cluster(fixture);
    /* More rights end nothing, fewer do. */
    char *sid = connect_sid(fixture, "alice");
    json_t *both =
        json_pack("{s:{s:s}, s:[s, s]}", "kubernetes_labels", "env", "dev", "kubernetes_groups", "developer", "viewer");
    put_role(fixture, "dev", both, NULL, NULL);
    assert_false(is_cut(fixture, sid));
    put_role(fixture, "dev", allows("dev", "viewer"), NULL, NULL);
    assert_true(is_cut(fixture, sid));
    mem_free(sid);
    /* The agent's labels. */
    sid = connect_sid(fixture, "alice");
    json_decref(must(fixture, as_host(HOST_A, "a"), "host.heartbeat",
                     beat("a", "kube", json_pack("[o]", cluster("c", "prod")))));
    assert_true(is_cut(fixture, sid));
    mem_free(sid);
    /* The registration itself, taken back by the agent or removed by an administrator. */
    json_decref(must(fixture, as_host(HOST_A, "a"), "host.heartbeat",
                     beat("a", "kube", json_pack("[o]", cluster("c", "dev")))));
    sid = connect_sid(fixture, "alice");
    json_decref(must(fixture, as_local(), "resources.rm", json_pack("{s:s, s:s}", "kind", "kube_server", "name", "c")));
    assert_true(is_cut(fixture, sid));
    mem_free(sid);
    /* A lock. */
    json_decref(must(fixture, as_host(HOST_A, "a"), "host.heartbeat",
                     beat("a", "kube", json_pack("[o]", cluster("c", "dev")))));
    sid = connect_sid(fixture, "alice");
    json_decref(must(fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "user", "alice")));
    assert_true(is_cut(fixture, sid));
    mem_free(sid);
}

/* Without users of the cluster alice is alice there. A role that names a user takes that away, also on what runs. */
static void who_is_himself_is_cut_when_he_gets_a_user(void **state)
{
    struct fixture *fixture = *state;
    alice_with_a_cluster(fixture);
    char *sid = connect_sid(fixture, "alice");
    json_t *named = json_pack("{s:{s:s}, s:[s], s:[s]}", "kubernetes_labels", "env", "dev", "kubernetes_groups",
                              "developer", "kubernetes_users", "reader");
    put_role(fixture, "dev", named, NULL, NULL);
    assert_true(is_cut(fixture, sid));
    mem_free(sid);
}

/* Auth was killed before it had stored the entry: the worker's grant brings it back, and decisions go on. */
static void resumed_from_the_grant(void **state)
{
    struct fixture *fixture = *state;
    alice_with_a_cluster(fixture);
    json_t *result = must(fixture, as_user(fixture, "alice"), "kube.connect", target("c"));
    const char *sid = json_get_text(result, "sid", "");
    sessions_free(fixture->auth);
    fixture->auth->live = map_new();
    json_t *item = json_pack("{s:s, s:s, s:s, s:s}", "sid", sid, "service", "kube", "host_id", HOST_A, "grant",
                             json_get_text(result, "grant", ""));
    json_decref(must(fixture, as_proxy(), "session.resume", json_pack("{s:[o], s:b}", "sessions", item, "last", 1)));
    const struct live *live = map_get(fixture->auth->live, sid);
    assert_non_null(live);
    assert_string_equal(live->target, "c");
    assert_false(live->cut);
    assert_true(live->cut_at_expiry);
    put_role(fixture, "dev", allows("dev", "viewer"), NULL, NULL);
    assert_true(is_cut(fixture, sid));
    json_decref(result);
}

static json_t *kube_event(const char *sid)
{
    return json_pack("{s:s, s:s, s:{}}", "sid", sid, "event", "kube.request", "fields");
}

static json_t *kube_events(const char *sid, const char *known)
{
    json_t *list = json_pack("[{s:s, s:s, s:{s:s}}, {s:s, s:s, s:{s:s}}, {s:s, s:s, s:{}}]", "sid", known, "event",
                             "kube.request", "fields", "verb", "PUT", "sid", sid, "event", "kube.request", "fields",
                             "verb", "GET", "sid", known, "event", "user.create", "fields");
    return json_pack("{s:s, s:o}", "report", "2b5d4c5e-7a55-4c37-9d0c-0f3a1f9e6a01", "events", list);
}

/* An agent may be heard before the worker that holds the session, by another worker's line: it is told to say it again, and all of it is
 * on record once. It was refused, and the connections of all who asked then were closed. */
static void reports_before_their_session_is_named(void **state)
{
    struct fixture *fixture = *state;
    alice_with_a_cluster(fixture);
    json_t *result = must(fixture, as_user(fixture, "alice"), "kube.connect", target("c"));
    char *sid = mem_strdup(json_get_text(result, "sid", ""));
    sessions_free(fixture->auth);
    fixture->auth->live = map_new();
    char *known = connect_sid(fixture, "alice");
    fixture->auth->hearing_until_ms = clock_mono_ms() + LIVE_UNHEARD_MS;
    must_fail(fixture, as_host(HOST_A, "a"), "session.events", kube_events(sid, known), TP_UNAVAILABLE);
    must_fail(fixture, as_host(HOST_A, "a"), "session.start", json_pack("{s:s, s:s}", "sid", sid, "login", "x"),
              TP_UNAVAILABLE);
    must_fail(fixture, as_host(HOST_B, "b"), "session.event", kube_event(known), TP_NOT_FOUND);
    json_t *item = json_pack("{s:s, s:s, s:s, s:s}", "sid", sid, "service", "kube", "host_id", HOST_A, "grant",
                             json_get_text(result, "grant", ""));
    json_decref(must(fixture, as_proxy(), "session.resume", json_pack("{s:[o], s:b}", "sessions", item, "last", 1)));
    json_decref(result);
    result = must(fixture, as_host(HOST_A, "a"), "session.events", kube_events(sid, known));
    assert_int_equal(json_array_size(json_object_get(result, "refused")), 1);
    json_decref(result);
    json_t *events = must(fixture, as_local(), "audit.list", json_pack("{s:[s]}", "types", "kube.request"));
    assert_int_equal(json_array_size(json_object_get(events, "items")), 2);
    json_decref(events);
    /* That lasts for as long as workers may take. */
    fixture->auth->hearing_until_ms = clock_mono_ms();
    must_fail(fixture, as_host(HOST_A, "a"), "session.event", kube_event("nobody's"), TP_NOT_FOUND);
    mem_free(known);
    mem_free(sid);
}

/* The certificate's end, whatever disconnect_expired_cert says. */
static void expiry_ends_it(void **state)
{
    struct fixture *fixture = *state;
    alice_with_a_cluster(fixture);
    struct caller caller = as_user(fixture, "alice");
    caller.not_after = clock_wall() + 1;
    json_t *result = must(fixture, caller, "kube.connect", target("c"));
    char *sid = mem_strdup(json_get_text(result, "sid", ""));
    json_decref(result);
    sessions_recheck(fixture->auth);
    sessions_tick(fixture->auth);
    assert_false(is_cut(fixture, sid));
    fixture_settle(fixture, 2100);
    sessions_tick(fixture->auth);
    assert_true(is_cut(fixture, sid));
    mem_free(sid);
}

/* Many reports in one call: each is decided by itself, and none of them is lost for another's sake. */
static void reports_that_come_together(void **state)
{
    struct fixture *fixture = *state;
    alice_with_a_cluster(fixture);
    char *sid = connect_sid(fixture, "alice");
    json_t *good = json_pack("{s:s, s:s, s:{s:s}}", "sid", sid, "event", "kube.request", "fields", "verb", "GET");
    json_t *strange = json_pack("{s:s, s:s, s:{}}", "sid", "nobody's", "event", "kube.request", "fields");
    json_t *unlisted = json_pack("{s:s, s:s, s:{}}", "sid", sid, "event", "user.create", "fields");
    char *long_text = mem_alloc(100001);
    memset(long_text, 'x', 100000);
    json_t *large = json_pack("{s:s, s:s, s:{s:s}}", "sid", sid, "event", "kube.request", "fields", "verb", long_text);
    mem_free(long_text);
    json_t *list = json_pack("[O,o,O,o,o,O]", good, strange, good, unlisted, large, good);
    json_t *result = must(fixture, as_host(HOST_A, "a"), "session.events", json_pack("{s:o}", "events", list));
    json_t *refused = json_object_get(result, "refused");
    assert_int_equal(json_array_size(refused), 3);
    assert_int_equal(json_get_int(json_array_get(refused, 0), "index", -1), 1);
    assert_int_equal(json_get_int(json_array_get(refused, 1), "index", -1), 3);
    assert_int_equal(json_get_int(json_array_get(refused, 2), "index", -1), 4); /* the log does not take it */
    json_decref(result);
    json_t *events = must(fixture, as_local(), "audit.list", json_pack("{s:[s]}", "types", "kube.request"));
    assert_int_equal(json_array_size(json_object_get(events, "items")), 3);
    json_decref(events);
    /* Nothing at all, too many, and no list. */
    json_decref(must(fixture, as_host(HOST_A, "a"), "session.events", json_pack("{s:[]}", "events")));
    must_fail(fixture, as_host(HOST_A, "a"), "session.events", json_object(), TP_INVALID);
    list = json_array();
    for (size_t i = 0; i <= RPC_REPORTS_MAX; i++) {
        json_array_append(list, good);
    }
    must_fail(fixture, as_host(HOST_A, "a"), "session.events", json_pack("{s:o}", "events", list), TP_INVALID);
    json_decref(good);
    mem_free(sid);
}

/* What the agent reports: only for its own grants, and its word does not replace what auth knows. */
static void reports_of_the_agent(void **state)
{
    struct fixture *fixture = *state;
    alice_with_a_cluster(fixture);
    serve(fixture, HOST_B, "b", json_pack("[o]", cluster("d", "dev")));
    char *sid = connect_sid(fixture, "alice");
    json_t *fields =
        json_pack("{s:s, s:s, s:i, s:s, s:[s], s:s, s:s, s:s}", "verb", "GET", "request_path",
                  "/api/v1/namespaces/default/pods", "response_code", 200, "resource_kind", "pods", "kubernetes_groups",
                  "developer", "kubernetes_cluster", "other", "user", "mallory", "login", "dev");
    json_t *report = json_pack("{s:s, s:s, s:o}", "sid", sid, "event", "kube.request", "fields", fields);
    must_fail(fixture, as_host(HOST_B, "b"), "session.event", json_incref(report), TP_NOT_FOUND);
    json_decref(must(fixture, as_host(HOST_A, "a"), "session.event", report));
    json_t *events = must(fixture, as_local(), "audit.list", json_pack("{s:[s]}", "types", "kube.request"));
    json_t *items = json_object_get(events, "items");
    assert_int_equal(json_array_size(items), 1);
    json_t *event = json_array_get(items, 0);
    assert_string_equal(json_get_text(event, "code", ""), "T3009I");
    assert_string_equal(json_get_text(event, "user", ""), "alice");
    assert_string_equal(json_get_text(event, "login", ""), "dev"); /* as whom; it was lost */
    assert_string_equal(json_get_text(event, "kubernetes_cluster", ""), "c");
    assert_string_equal(json_get_text(event, "proto", ""), "kube");
    assert_string_equal(json_get_text(event, "server_id", ""), HOST_A);
    assert_int_equal(json_get_int(event, "response_code", 0), 200);
    json_decref(events);
    json_t *start = json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:s}", "sid", sid, "login", "alice", "kind", "exec",
                              "command", "sh", "interactive", 1, "kubernetes_pod_name", "web-0",
                              "kubernetes_pod_namespace", "default", "kubernetes_node_name", "n1");
    json_t *started = must(fixture, as_host(HOST_A, "a"), "session.start", start);
    json_decref(must(fixture, as_host(HOST_A, "a"), "session.end",
                     json_pack("{s:s, s:s}", "id", json_get_text(started, "id", ""), "reason", "done")));
    json_decref(started);
    events = must(fixture, as_local(), "audit.list", json_pack("{s:[s, s]}", "types", "session.start", "session.end"));
    items = json_object_get(events, "items");
    assert_int_equal(json_array_size(items), 2);
    for (size_t i = 0; i < 2; i++) {
        event = json_array_get(items, i);
        assert_string_equal(json_get_text(event, "proto", ""), "kube");
        assert_string_equal(json_get_text(event, "kubernetes_cluster", ""), "c");
        assert_string_equal(json_get_text(event, "kubernetes_pod_name", ""), "web-0");
        assert_string_equal(json_get_text(event, "kubernetes_node_name", ""), "n1");
    }
    json_decref(events);
    mem_free(sid);
}

/* A role that wants others in a session (require_session_join): nobody can join here, so none begins, and one that runs when
 * the role says so ends. What is no session goes on. */
static void no_session_begins_alone_where_others_are_needed(void **state)
{
    struct fixture *fixture = *state;
    json_t *needs = json_pack("{s:{s:s}, s:[s], s:[{s:s, s:[s], s:[s], s:i}]}", "kubernetes_labels", "env", "dev",
                              "kubernetes_groups", "developer", "require_session_join", "name", "four eyes", "kinds",
                              "k8s", "modes", "moderator", "count", 1);
    json_t *start = json_pack("{s:s, s:s, s:s}", "login", "alice", "kind", "exec", "command", "sh");
    alice_with_a_cluster(fixture);
    char *idle = connect_sid(fixture, "alice");
    char *busy = connect_sid(fixture, "alice");
    json_object_set_new(start, "sid", json_string(busy));
    json_decref(must(fixture, as_host(HOST_A, "a"), "session.start", json_incref(start)));
    put_role(fixture, "dev", needs, NULL, NULL);
    assert_true(is_cut(fixture, busy));
    assert_false(is_cut(fixture, idle));
    json_object_set_new(start, "sid", json_string(idle));
    must_fail(fixture, as_host(HOST_A, "a"), "session.start", json_incref(start), TP_DENIED);
    put_role(fixture, "dev", allows("dev", "developer"), NULL, NULL);
    json_decref(must(fixture, as_host(HOST_A, "a"), "session.start", start));
    mem_free(idle);
    mem_free(busy);
}

/* The one running session that this user sees, or NULL. */
static json_t *seen_by(struct fixture *fixture, const char *user)
{
    json_t *result = must(fixture, as_user(fixture, user), "sessions.list", json_object());
    json_t *item = json_incref(json_array_get(json_object_get(result, "items"), 0));
    json_decref(result);
    return item;
}

/* kubectl exec: seen, watched and ended by whoever may join sessions of that kind, and by nobody else. */
static void exec_sessions_are_watched_and_ended(void **state)
{
    struct fixture *fixture = *state;
    static const char *const kinds[] = {"k8s", "ssh"};
    static const char *const names[] = {"kube-watcher", "ssh-watcher"};
    alice_with_a_cluster(fixture);
    for (size_t i = 0; i < 2; i++) {
        put_role(fixture, names[i],
                 json_pack("{s:[{s:s, s:[s], s:[s], s:[s]}]}", "join_sessions", "name", "j", "roles", "dev", "kinds",
                           kinds[i], "modes", "moderator"),
                 NULL, NULL);
        mem_free(make_user(fixture, names[i], names[i], "root"));
    }
    char *sid = connect_sid(fixture, "alice");
    json_decref(must(fixture, as_host(HOST_A, "a"), "session.start",
                     json_pack("{s:s, s:s, s:s, s:s, s:b, s:s}", "sid", sid, "login", "alice", "kind", "exec",
                               "command", "sh", "interactive", 1, "kubernetes_pod_name", "web-0")));
    json_t *item = seen_by(fixture, "kube-watcher");
    assert_non_null(item);
    assert_string_equal(json_get_text(item, "kind", ""), "kube");
    assert_string_equal(json_get_text(item, "kubernetes_cluster", ""), "c");
    assert_true(json_is_true(json_object_get(item, "may_watch")) && json_is_true(json_object_get(item, "may_end")));
    json_t *channel = json_array_get(json_object_get(item, "channels"), 0);
    assert_string_equal(json_get_text(channel, "kubernetes_pod_name", ""), "web-0");
    assert_true(json_is_true(json_object_get(channel, "recorded")));
    json_decref(item);
    assert_null(seen_by(fixture, "ssh-watcher"));
    json_t *watch = json_pack("{s:s, s:i, s:i}", "id", sid, "offset", 0, "limit", 1000);
    must_fail(fixture, as_user(fixture, "ssh-watcher"), "sessions.watch", json_incref(watch), TP_NOT_FOUND);
    json_t *read = must(fixture, as_user(fixture, "kube-watcher"), "sessions.watch", json_incref(watch));
    assert_true(json_is_false(json_object_get(read, "done")));
    json_decref(read);
    /* One that waits is told of the end, and reads it. */
    struct answer waiting;
    json_object_set_new(watch, "wait", json_integer(20000));
    ask_later(fixture, as_user(fixture, "kube-watcher"), "sessions.watch", watch, &waiting);
    must_fail(fixture, as_user(fixture, "ssh-watcher"), "sessions.end", json_pack("{s:s}", "sid", sid), TP_NOT_FOUND);
    assert_false(is_cut(fixture, sid));
    assert_false(waiting.done);
    json_decref(must(fixture, as_user(fixture, "kube-watcher"), "sessions.end", json_pack("{s:s}", "sid", sid)));
    assert_true(is_cut(fixture, sid));
    json_decref(
        must(fixture, as_host(HOST_A, "a"), "session.end", json_pack("{s:s, s:s}", "id", sid, "reason", "cut")));
    wait_all(fixture);
    assert_non_null(waiting.result);
    json_decref(waiting.result);
    mem_free(sid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(changes_cut_what_lost_its_right, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_himself_is_cut_when_he_gets_a_user, setup, teardown),
        cmocka_unit_test_setup_teardown(resumed_from_the_grant, setup, teardown),
        cmocka_unit_test_setup_teardown(reports_before_their_session_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(expiry_ends_it, setup, teardown),
        cmocka_unit_test_setup_teardown(reports_of_the_agent, setup, teardown),
        cmocka_unit_test_setup_teardown(reports_that_come_together, setup, teardown),
        cmocka_unit_test_setup_teardown(no_session_begins_alone_where_others_are_needed, setup, teardown),
        cmocka_unit_test_setup_teardown(exec_sessions_are_watched_and_ended, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Sessions and cuts while workers, or auth itself, come and go. */
#include "auth/audit.h"
#include "auth/hosts.h"
#include "auth_access_help.h"

struct cut_seen {
    char *sid;
};

static void on_tunnel_cut(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    struct cut_seen *seen = ctx;
    (void)rpc;
    (void)fd;
    if (strcmp(event, "tunnel.cut") == 0) {
        assert_null(seen->sid);
        seen->sid = mem_strdup(json_get_text(params, "host_id", ""));
    }
}

static void on_cut(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    struct cut_seen *seen = ctx;
    (void)rpc;
    (void)fd;
    if (strcmp(event, "session.cut") == 0) {
        mem_free(seen->sid);
        seen->sid = mem_strdup(json_get_text(params, "sid", ""));
    }
}

static struct caller as_worker(int number)
{
    struct caller caller = as_proxy();
    caller.worker = number;
    return caller;
}

static json_t *resume_params(const char *sid, const char *grant)
{
    return json_pack("{s:[{s:s, s:s, s:s, s:s}], s:b}", "sessions", "sid", sid, "service", "ssh", "host_id", HOST_A,
                     "grant", grant != NULL ? grant : "", "last", 1);
}

/* A worker that has a new line says what is alive: that goes on (with the rights of now), the rest has ended. */
static void workers_say_what_is_alive(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "x"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    json_t *kept = must(fixture, as_user(fixture, "alice"), "ssh.connect", target("web-1"));
    char *ended = connect_as(fixture, "alice", "web-1");
    char *others = connect_as(fixture, "alice", "web-1");
    const char *sid = json_get_text(kept, "sid", "");
    struct live *live = map_get(fixture->auth->live, others);
    live->worker = 2;
    sessions_worker_gone(fixture->auth, 1);
    assert_int_equal(sessions_count_user(fixture->auth, "alice", "ssh"), 1);
    json_decref(must(fixture, as_worker(1), "session.resume", resume_params(sid, NULL)));
    assert_int_equal(sessions_count_user(fixture->auth, "alice", "ssh"), 2);
    assert_true(((struct live *)map_get(fixture->auth->live, ended))->closed);
    assert_false(live->closed);

    /* Killed before it was stored: the grant tells. Without a grant of ours nothing is believed. */
    fixture_settle(fixture, 400);
    batch_delete(fixture->auth, "/live/", sid);
    struct tp_error error = {0};
    assert_int_equal(batch_commit(fixture->auth, &error), TP_OK);
    fixture_shut(fixture);
    fixture_open(fixture);
    assert_null(map_get(fixture->auth->live, sid));
    json_decref(must(fixture, as_worker(1), "session.resume", resume_params(sid, NULL)));
    assert_null(map_get(fixture->auth->live, sid));
    json_decref(
        must(fixture, as_worker(1), "session.resume", resume_params("not-its-sid", json_get_text(kept, "grant", ""))));
    assert_null(map_get(fixture->auth->live, "not-its-sid"));
    json_decref(must(fixture, as_worker(1), "session.resume", resume_params(sid, json_get_text(kept, "grant", ""))));
    live = map_get(fixture->auth->live, sid);
    assert_non_null(live);
    assert_string_equal(live->user, "alice");
    assert_string_equal(live->host_id, HOST_A);
    assert_false(live->cut);
    put_role(fixture, "dev", "ubuntu", "elsewhere", NULL);
    assert_true(is_cut(fixture, sid));
    /* A cut outlives a restart too. */
    fixture_settle(fixture, 400);
    fixture_shut(fixture);
    fixture_open(fixture);
    assert_true(is_cut(fixture, sid));
    mem_free(ended);
    mem_free(others);
    json_decref(kept);
}

static void on_route(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    json_int_t *routes = ctx;
    (void)rpc;
    (void)fd;
    if (strcmp(event, "route.set") == 0 && strcmp(json_get_text(params, "host_id", ""), HOST_A) == 0) {
        routes[0]++;
        routes[1] = json_get_int(params, "worker", -2);
    }
}

/* Found by bench/run mixed: the worker is told that the tunnel is down when the host is no more, which told no worker
 * anything, so that the ways to hosts that were removed stayed in all of them. */
static void a_removed_host_leaves_no_route(void **state)
{
    static const struct rpc_events none = {0};
    static const struct rpc_events events = {.on_event = on_route};
    struct fixture *fixture = *state;
    json_int_t routes[2] = {0, -2};
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    struct rpc *worker = rpc_new_fd(fixture->loop, pair[1], &events, routes);
    struct link link = {.auth = fixture->auth, .kind = LINK_WORKER, .worker = 1};
    link.rpc = rpc_new_fd(fixture->loop, pair[0], &none, &link);
    fixture->auth->links = &link;
    put_host(fixture, HOST_A, "web-1", "dev", true);
    fixture_settle(fixture, 20);
    assert_int_equal(routes[1], 1);
    json_decref(must(fixture, as_local(), "resources.rm", json_pack("{s:s, s:s}", "kind", "node", "name", HOST_A)));
    json_decref(must(fixture, as_worker(1), "tunnel.down",
                     json_pack("{s:i, s:i, s:s}", "worker", 1, "tunnel", 5, "host_id", HOST_A)));
    fixture_settle(fixture, 20);
    assert_int_equal(routes[0], 2);
    assert_int_equal(routes[1], -1);
    fixture->auth->links = NULL;
    rpc_free(link.rpc);
    rpc_free(worker);
    fixture_settle(fixture, 20);
}

/* The tunnels of a locked host are cut after its people have read why, and its open channels end. */
static void a_locked_host_loses_its_tunnels(void **state)
{
    static const struct rpc_events none = {0};
    static const struct rpc_events events = {.on_event = on_tunnel_cut};
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "x"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    put_host(fixture, HOST_B, "web-2", "dev", true);
    char *sid = connect_as(fixture, "alice", "web-1");
    char *other = connect_as(fixture, "alice", "web-2");
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "session.start",
                     json_pack("{s:s, s:s, s:s}", "sid", sid, "login", "ubuntu", "kind", "shell")));
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    struct cut_seen seen = {0};
    struct rpc *worker = rpc_new_fd(fixture->loop, pair[1], &events, &seen);
    struct link link = {.auth = fixture->auth, .kind = LINK_WORKER, .worker = 1};
    link.rpc = rpc_new_fd(fixture->loop, pair[0], &none, &link);
    fixture->auth->links = &link;
    json_decref(must(fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "server_id", HOST_A)));
    assert_true(is_cut(fixture, sid));
    assert_false(is_cut(fixture, other));
    assert_null(seen.sid); /* not yet */
    fixture_settle(fixture, 900);
    assert_non_null(seen.sid);
    assert_string_equal(seen.sid, HOST_A);
    json_t *ends = must(fixture, as_local(), "audit.list", json_pack("{s:[s]}", "types", "session.end"));
    assert_int_equal(json_array_size(json_object_get(ends, "items")), 1);
    assert_string_equal(json_get_text(json_array_get(json_object_get(ends, "items"), 0), "reason", ""), "locked");
    json_decref(ends);
    fixture->auth->links = NULL;
    rpc_free(link.rpc);
    rpc_free(worker);
    mem_free(seen.sid);
    mem_free(sid);
    mem_free(other);
}

/* A cut that was decided while the worker's line was away is told as soon as the line is there. */
static void cuts_reach_a_worker_that_was_away(void **state)
{
    static const struct rpc_events events = {.on_event = on_cut};
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "x"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    char *sid = connect_as(fixture, "alice", "web-1"); /* through worker 1, which has no line in this test */
    json_decref(must(fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "user", "alice")));
    assert_true(is_cut(fixture, sid));
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    struct cut_seen seen = {0};
    struct rpc *worker = rpc_new_fd(fixture->loop, pair[1], &events, &seen);
    struct link link = {.auth = fixture->auth, .kind = LINK_WORKER, .worker = 1};
    static const struct rpc_events none = {0};
    link.rpc = rpc_new_fd(fixture->loop, pair[0], &none, &link);
    fixture->auth->links = &link;
    json_decref(must(fixture, as_worker(1), "session.resume", resume_params(sid, NULL)));
    fixture_settle(fixture, 50);
    assert_non_null(seen.sid);
    assert_string_equal(seen.sid, sid);
    fixture->auth->links = NULL;
    rpc_free(link.rpc);
    rpc_free(worker);
    mem_free(seen.sid);
    mem_free(sid);
}

static json_t *data_event(const char *reason)
{
    json_t *event = event_new("session.data", true, "demo.test");
    json_object_set_new(event, "reason", json_string(reason));
    return event;
}

static void note_end(void *ctx, const struct tp_error *error)
{
    *(int *)ctx = error == NULL ? 1 : -1;
}

/* An event that a full disk refused is written as soon as any later one was, not at the end of the process. */
static void refused_events_are_written_later(void **state)
{
    struct fixture *fixture = *state;
    int failed = 0;
    int written = 0;
    fixture_settle(fixture, 300);
    struct disk disk = disk_refuses();
    audit_emit(fixture->auth, data_event("first"), NULL, NULL);
    audit_emit(fixture->auth, data_event("second"), note_end, &failed);
    for (int i = 0; i < 100 && failed == 0; i++) {
        fixture_settle(fixture, 1);
    }
    disk_takes(&disk);
    assert_int_equal(failed, -1);
    audit_emit(fixture->auth, data_event("third"), note_end, &written);
    fixture_settle(fixture, 100);
    assert_int_equal(written, 1);
    json_t *events = must(fixture, as_local(), "audit.list", json_pack("{s:[s]}", "types", "session.data"));
    json_t *items = json_object_get(events, "items");
    assert_int_equal(json_array_size(items), 2); /* newest first */
    assert_string_equal(json_get_text(json_array_get(items, 0), "reason", ""), "first");
    assert_string_equal(json_get_text(json_array_get(items, 1), "reason", ""), "third");
    json_decref(events);
}

/* A restart of auth loses no live session and no open recording: locks still cut, the recorder goes on. */
static void sessions_outlive_a_restart(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "x"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    char *sid = connect_as(fixture, "alice", "web-1");
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "session.start",
                     json_pack("{s:s, s:s, s:s}", "sid", sid, "login", "ubuntu", "kind", "shell")));
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "recording.append",
                     json_pack("{s:s, s:i, s:s}", "id", sid, "offset", 0, "data", "YWJj")));
    fixture_shut(fixture);
    fixture_open(fixture);
    assert_false(is_cut(fixture, sid));
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "recording.append",
                     json_pack("{s:s, s:i, s:s}", "id", sid, "offset", 3, "data", "ZGVm")));
    json_decref(must(fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "user", "alice")));
    assert_true(is_cut(fixture, sid));
    json_decref(
        must(fixture, as_host(HOST_A, "web-1"), "session.end", json_pack("{s:s, s:s}", "id", sid, "reason", "locked")));
    fixture_settle(fixture, 600);
    json_t *part = must(fixture, as_local(), "recordings.read", json_pack("{s:s}", "id", sid));
    assert_string_equal(json_get_text(part, "data", ""), "YWJjZGVm");
    json_decref(part);
    mem_free(sid);
}

static bool is_known(struct fixture *fixture, const char *sid, int64_t age_ms)
{
    struct live *live = map_get(fixture->auth->live, sid);
    assert_non_null(live);
    assert_true(live->closed);
    live->closed_ms = clock_wall_ms() - age_ms;
    sessions_tick(fixture->auth);
    return map_get(fixture->auth->live, sid) != NULL;
}

/* Found by bench/run mixed: each session that had ended stayed in memory for ten minutes, whatever its host had said. It does
 * so only while something may still be heard of it. */
static void an_ended_session_leaves_the_memory(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "x"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    put_host(fixture, HOST_B, "web-2", "dev", true);
    char *done = connect_as(fixture, "alice", "web-1");
    char *open = connect_as(fixture, "alice", "web-1");
    char *away = connect_as(fixture, "alice", "web-2");
    ((struct live *)map_get(fixture->auth->live, open))->open_channels = 1;
    hosts_get(fixture->auth, HOST_A)->online_ms -= 3600000; /* it was there all the time */
    sessions_close(map_get(fixture->auth->live, done));
    sessions_close(map_get(fixture->auth->live, open));
    sessions_close(map_get(fixture->auth->live, away));
    json_decref(must(fixture, as_worker(1), "tunnel.down",
                     json_pack("{s:s, s:i, s:i}", "host_id", HOST_B, "worker", 1, "tunnel", 5)));
    assert_true(is_known(fixture, done, 20000));
    assert_false(is_known(fixture, done, 40000));
    assert_true(is_known(fixture, open, 40000));
    assert_true(is_known(fixture, away, 40000)); /* it may have more to say when it is back, */
    json_decref(
        must(fixture, as_host(HOST_B, "web-2"), "tunnel.up", json_pack("{s:i, s:i}", "worker", 1, "tunnel", 6)));
    assert_true(is_known(fixture, away, 40000)); /* and is about to say it */
    assert_false(is_known(fixture, open, 11 * 60 * 1000));
    assert_false(is_known(fixture, away, 11 * 60 * 1000));
    mem_free(done);
    mem_free(open);
    mem_free(away);
}

/* Returns how many seconds the host has been online. */
static int64_t tunnel_up(struct fixture *fixture, int tunnel, int64_t age_ms, int64_t since_ms)
{
    json_t *result =
        must(fixture, as_host(HOST_A, "web-1"), "tunnel.up",
             json_pack("{s:i, s:i, s:I, s:I}", "worker", 1, "tunnel", tunnel, "age", age_ms, "online_since", since_ms));
    int64_t since = json_get_int(result, "online_since", -1);
    json_decref(result);
    return (clock_wall_ms() - since) / 1000;
}

static void tunnel_down(struct fixture *fixture, int tunnel)
{
    json_decref(must(fixture, as_worker(1), "tunnel.down",
                     json_pack("{s:s, s:i, s:i}", "host_id", HOST_A, "worker", 1, "tunnel", tunnel)));
}

/* "Online since" began anew with each reload of the proxy, and with an upgrade, whose auth knew the new tunnels only. */
static void online_since_counts_through_a_reload(void **state)
{
    struct fixture *fixture = *state;
    put_host(fixture, HOST_A, "web-1", "dev", true);
    struct host *host = hosts_get(fixture->auth, HOST_A);
    host->came_ms -= 3600000;
    assert_int_equal(tunnel_up(fixture, 6, 0, 0), 3600); /* at another worker */
    tunnel_down(fixture, 5);
    tunnel_down(fixture, 6);
    assert_int_equal(tunnel_up(fixture, 7, 0, 0), 3600);
    tunnel_down(fixture, 7);
    host->gone_ms -= 60000; /* it was away */
    assert_int_equal(tunnel_up(fixture, 8, 0, 0), 0);
    fixture_shut(fixture);
    fixture_open(fixture);
    assert_int_equal(tunnel_up(fixture, 8, 1000, clock_wall_ms() - 3600000),
                     3600); /* what the worker was told by the auth before */
    assert_in_range(clock_wall_ms() - hosts_get(fixture->auth, HOST_A)->online_ms, 1000, 3000);
}

static void put_options(struct fixture *fixture, json_t *options)
{
    json_t *role = json_pack("{s:s, s:s, s:{s:s}, s:{s:o, s:{s:[s], s:{s:s}}}}", "kind", "role", "version", "v7",
                             "metadata", "name", "dev", "spec", "options", options, "allow", "logins", "ubuntu",
                             "node_labels", "environment", "dev");
    json_decref(must(fixture, as_local(), "resources.put", json_pack("{s:o, s:b}", "resource", role, "force", 1)));
}

/* As a version that kept no rights on record has stored it. */
static void forget_rights(struct fixture *fixture, const char *sid)
{
    json_t *doc = NULL;
    uint64_t revision = 0;
    struct tp_error error = {0};
    fixture_settle(fixture, 400);
    assert_int_equal(doc_find(fixture->auth->state, "/live/", sid, &doc, &revision, &error), TP_OK);
    assert_int_equal(json_object_del(doc, "rights"), 0);
    assert_int_equal(doc_put(fixture->auth->state, "/live/", sid, doc, revision, NULL, &error), TP_OK);
    json_decref(doc);
    fixture_shut(fixture);
    fixture_open(fixture);
    assert_null(((struct live *)map_get(fixture->auth->live, sid))->rights);
}

/* A session that runs through an upgrade from a version without rights on record: its worker's grant has them, so an option
 * that is lost ends it, whether that happens before the worker speaks or after it. */
static void options_reach_sessions_from_before_an_upgrade(void **state)
{
    struct fixture *fixture = *state;
    put_options(fixture, json_object());
    mem_free(make_user(fixture, "alice", "dev", "x"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    for (int before = 0; before < 2; before++) {
        json_decref(
            must(fixture, as_host(HOST_A, "web-1"), "tunnel.up", json_pack("{s:i, s:i}", "worker", 1, "tunnel", 6)));
        json_t *opened = must(fixture, as_user(fixture, "alice"), "ssh.connect", target("web-1"));
        const char *sid = json_get_text(opened, "sid", "");
        const char *grant = json_get_text(opened, "grant", "");
        forget_rights(fixture, sid);
        if (before) {
            put_options(fixture, json_pack("{s:b}", "ssh_file_copy", 0));
            assert_false(is_cut(fixture, sid));
        }
        json_decref(must(fixture, as_worker(1), "session.resume", resume_params(sid, grant)));
        if (!before) {
            assert_false(is_cut(fixture, sid));
            put_options(fixture, json_pack("{s:b}", "ssh_file_copy", 0));
        }
        assert_true(is_cut(fixture, sid));
        assert_non_null(strstr(((struct live *)map_get(fixture->auth->live, sid))->cut_text, "copy files"));
        put_options(fixture, json_object());
        json_decref(opened);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(cuts_reach_a_worker_that_was_away, setup, teardown),
        cmocka_unit_test_setup_teardown(workers_say_what_is_alive, setup, teardown),
        cmocka_unit_test_setup_teardown(an_ended_session_leaves_the_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(online_since_counts_through_a_reload, setup, teardown),
        cmocka_unit_test_setup_teardown(options_reach_sessions_from_before_an_upgrade, setup, teardown),
        cmocka_unit_test_setup_teardown(a_removed_host_leaves_no_route, setup, teardown),
        cmocka_unit_test_setup_teardown(a_locked_host_loses_its_tunnels, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_events_are_written_later, setup, teardown),
        cmocka_unit_test_setup_teardown(sessions_outlive_a_restart, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

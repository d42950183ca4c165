/* Who gets a grant for a server, and what cuts a session. */
#include "auth_access_help.h"

static void grant_says_what_roles_say(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    json_t *result = must(fixture, as_user(fixture, "alice"), "ssh.connect", target("WEB-1"));
    struct tp_error error = {0};
    struct buf bytes;
    buf_init(&bytes, 65536);
    const char *text = json_get_text(result, "grant", "");
    assert_int_equal(dec_base64(text, strlen(text), &bytes), TP_OK);
    uint8_t key[1][32];
    json_t *grant = NULL;
    assert_int_equal(key_ed25519_public(fixture->auth->grant_key, key[0]), TP_OK);
    assert_int_equal(grant_open(buf_head(&bytes), buf_size(&bytes), (const uint8_t(*)[32])key, 1, HOST_A, "ssh",
                                clock_wall(), &grant, &error),
                     TP_OK);
    assert_string_equal(json_get_text(grant, "user", ""), "alice");
    json_t *logins = json_object_get(grant, "logins");
    assert_int_equal(json_array_size(logins), 1);
    assert_string_equal(json_get_text(json_array_get(logins, 0), "name", ""), "ubuntu");
    json_decref(grant);
    json_t *other = NULL;
    assert_int_not_equal(grant_open(buf_head(&bytes), buf_size(&bytes), (const uint8_t(*)[32])key, 1, HOST_B, "ssh",
                                    clock_wall(), &other, &error),
                         TP_OK);
    buf_free(&bytes);
    json_t *events = must(fixture, as_local(), "audit.list", json_pack("{s:[s]}", "types", "session.connect"));
    assert_int_equal(json_array_size(json_object_get(events, "items")), 1);
    json_decref(events);
    json_decref(result);
}

/* R5: deny beats allow; what the caller may not list does not exist for him. */
static void r5_deny_over_allow(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "mixed", "ubuntu", "*", "prod");
    mem_free(make_user(fixture, "alice", "mixed", "root"));
    put_host(fixture, HOST_A, "web-1", "prod", true);
    struct tp_error hidden = {0};
    struct tp_error unknown = {0};
    assert_null(ask(fixture, as_user(fixture, "alice"), "ssh.connect", target("web-1"), &hidden));
    assert_null(ask(fixture, as_user(fixture, "alice"), "ssh.connect", target("web-7"), &unknown));
    assert_int_equal(hidden.code, TP_NOT_FOUND);
    assert_int_equal(unknown.code, TP_NOT_FOUND);
    assert_string_equal(unknown.text, "no server named web-7; `tport ls` lists those you can reach");
    assert_string_equal(hidden.text, "no server named web-1; `tport ls` lists those you can reach");
    json_t *nodes = must(fixture, as_user(fixture, "alice"), "nodes.list", json_object());
    assert_int_equal(json_array_size(json_object_get(nodes, "items")), 0);
    json_decref(nodes);
    json_t *events = must(fixture, as_local(), "audit.list", json_pack("{s:[s]}", "types", "auth"));
    assert_int_equal(json_array_size(json_object_get(events, "items")), 2);
    json_decref(events);
}

static void ambiguous_and_offline(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
    put_host(fixture, HOST_A, "web-1", "dev", false);
    must_fail(fixture, as_user(fixture, "alice"), "ssh.connect", target("web-1"), TP_UNAVAILABLE);
    put_host(fixture, HOST_B, "web-1", "dev", true);
    struct tp_error error = {0};
    assert_null(ask(fixture, as_user(fixture, "alice"), "ssh.connect", target("web-1"), &error));
    assert_int_equal(error.code, TP_AMBIGUOUS);
    assert_non_null(strstr(error.text, HOST_A));
    json_decref(must(fixture, as_user(fixture, "alice"), "ssh.connect", target(HOST_B)));
    must_fail(fixture, as_user(fixture, "alice"), "ssh.connect", target(HOST_A), TP_UNAVAILABLE);
}

static void heartbeat(struct fixture *fixture, const char *id, const char *name, json_t *labels)
{
    json_decref(must(fixture, as_host(id, name), "host.heartbeat",
                     json_pack("{s:s, s:o}", "hostname", name, "labels", labels)));
}

/* Servers of one name are told apart by the labels that not all of them have. */
static void servers_of_one_name_are_shown_with_their_labels(void **state)
{
    struct fixture *fixture = *state;
    struct tp_error error = {0};
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    put_host(fixture, HOST_B, "web-1", "dev", true);
    heartbeat(fixture, HOST_A, "web-1", json_pack("{s:s, s:s}", "environment", "dev", "rack", "7"));
    heartbeat(fixture, HOST_B, "web-1",
              json_pack("{s:s, s:s, s:s}", "environment", "dev", "rack", "8", "note", "a\nb"));
    assert_null(ask(fixture, as_user(fixture, "alice"), "ssh.connect", target("WEB-1"), &error));
    assert_string_equal(error.text, "WEB-1 is the name of 2 servers; use the id of one: " HOST_A " (rack=7), " HOST_B
                                    " (rack=8, note=a?b)");
}

/* A letter off: the name that may be meant, among those that he may list and no other. */
static void nearly_right_names_are_named(void **state)
{
    static const struct {
        const char *asked;
        const char *near;
    } tries[] = {{"web-2", "web-1"}, {"WEB1", "web-1"},   {"wbe-1", "web-1"},
                 {"db", NULL},       {"web-12345", NULL}, {"vault-9", NULL}};
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    put_host(fixture, HOST_B, "vault-1", "prod", true);
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        struct tp_error error = {0};
        assert_null(ask(fixture, as_user(fixture, "alice"), "ssh.connect", target(tries[i].asked), &error));
        char *hint = tries[i].near != NULL ? mem_printf("; did you mean %s?", tries[i].near) : mem_strdup(";");
        char *text = mem_printf("no server named %s%s `tport ls` lists those you can reach", tries[i].asked, hint);
        assert_int_equal(error.code, TP_NOT_FOUND);
        assert_string_equal(error.text, text);
        mem_free(hint);
        mem_free(text);
    }
}

/* Locks, changed roles, deleted users, ended by an administrator: the sessions concerned are cut, others are not. */
static void lost_rights_cut_sessions(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    put_role(fixture, "ops", "root", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "x"));
    mem_free(make_user(fixture, "bob", "ops", "x"));
    mem_free(make_user(fixture, "carol", "ops", "x"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    char *alice = connect_as(fixture, "alice", "web-1");
    char *bob = connect_as(fixture, "bob", "web-1");
    char *carol = connect_as(fixture, "carol", "web-1");
    json_decref(must(fixture, as_local(), "locks.add",
                     json_pack("{s:{s:s}, s:s}", "target", "user", "bob", "message", "lost laptop")));
    assert_true(is_cut(fixture, bob));
    assert_false(is_cut(fixture, alice));
    put_role(fixture, "dev", "ubuntu", "staging", NULL);
    assert_true(is_cut(fixture, alice));
    assert_false(is_cut(fixture, carol));
    must_fail(fixture, as_host(HOST_A, "web-1"), "session.start", json_pack("{s:s, s:s}", "sid", bob, "login", "root"),
              TP_DENIED);
    json_decref(must(fixture, as_local(), "sessions.end", json_pack("{s:s}", "sid", carol)));
    assert_true(is_cut(fixture, carol));
    mem_free(alice);
    mem_free(bob);
    mem_free(carol);
}

static size_t count_locks(struct fixture *fixture)
{
    json_t *result = must(fixture, as_local(), "resources.get", json_pack("{s:s}", "kind", "lock"));
    size_t count = json_array_size(json_object_get(result, "items"));
    json_decref(result);
    return count;
}

/* Whoever asks again because he heard no answer gets the lock that he made, not a second one; another's he does not get. */
static void a_lock_is_made_once(void **state)
{
    struct fixture *fixture = *state;
    const char *id = "0a000000-1111-4111-8111-111111111111";
    mem_free(make_user(fixture, "ann", "editor", "x"));
    mem_free(make_user(fixture, "eve", "editor", "x"));
    for (int i = 0; i < 2; i++) {
        json_t *result = must(fixture, as_user(fixture, "ann"), "locks.add",
                              json_pack("{s:s, s:{s:s}, s:s, s:o}", "name", id, "target", "user", "bob", "message",
                                        "lost laptop", "expires", doc_time(clock_wall_ms() + 60000 + i)));
        assert_string_equal(json_get_text(result, "name", ""), id);
        json_decref(result);
    }
    assert_int_equal(count_locks(fixture), 1);
    must_fail(fixture, as_user(fixture, "ann"), "locks.add",
              json_pack("{s:s, s:{s:s}, s:s}", "name", id, "target", "user", "carol", "message", "lost laptop"),
              TP_EXISTS);
    must_fail(fixture, as_user(fixture, "ann"), "locks.add",
              json_pack("{s:s, s:{s:s}, s:s}", "name", id, "target", "user", "bob", "message", "lost laptop"),
              TP_EXISTS); /* without an end it is another one */
    must_fail(fixture, as_user(fixture, "eve"), "locks.add",
              json_pack("{s:s, s:{s:s}, s:s, s:o}", "name", id, "target", "user", "bob", "message", "lost laptop",
                        "expires", doc_time(clock_wall_ms() + 60000)),
              TP_EXISTS);
    must_fail(fixture, as_user(fixture, "ann"), "locks.add",
              json_pack("{s:s, s:{s:s}}", "name", "mine", "target", "user", "bob"), TP_INVALID);
    assert_int_equal(count_locks(fixture), 1);
}

/* A list of locks is read as who is shut out now. One on a name that is not there holds, but its maker is told. */
static void locks_that_are_over_go(void **state)
{
    struct fixture *fixture = *state;
    mem_free(make_user(fixture, "alice", "access", "root"));
    json_t *result =
        must(fixture, as_local(), "locks.add",
             json_pack("{s:{s:s}, s:o}", "target", "user", "alice", "expires", doc_time(clock_wall_ms() + 600)));
    assert_null(json_object_get(result, "warnings"));
    json_decref(result);
    static const char *const strangers[] = {"user", "role", "server_id"};
    for (size_t i = 0; i < 3; i++) {
        result = must(fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", strangers[i], "nobody"));
        assert_non_null(strstr(json_get_text(result, "warnings", ""), " nobody now"));
        json_decref(result);
    }
    assert_int_equal(count_locks(fixture), 4);
    fixture_settle(fixture, 2000);
    assert_int_equal(count_locks(fixture), 3);
    assert_int_equal(map_count(fixture->auth->locks), 3);
}

static json_t *lock_of(const char *server_id)
{
    return json_pack("{s:{s:s, s:s, s:{s:s}, s:{s:{s:s}}}, s:b}", "resource", "kind", "lock", "version", "v2",
                     "metadata", "name", "of-a-name", "spec", "target", "server_id", server_id, "force", 1);
}

/* What both ways to write a lock say about a name: a refusal, or the warning that comes with the lock. mem_free it. */
static char *said_of_lock(struct fixture *fixture, const char *user, const char *method, const char *name)
{
    struct tp_error error = {0};
    bool adds = strcmp(method, "locks.add") == 0;
    json_t *params = adds ? json_pack("{s:{s:s}}", "target", "server_id", name) : lock_of(name);
    json_t *result = ask(fixture, user != NULL ? as_user(fixture, user) : as_local(), method, params, &error);
    char *text = result != NULL ? mem_printf("made: %s", json_get_text(result, "warnings", ""))
                                : mem_printf("%s: %s", err_name(error.code), error.text);
    json_decref(result);
    return text;
}

/* Who may lock, but not list a host, learned from a guessed name that it exists, and its id. */
static void a_lock_tells_nobody_of_hosts_that_he_may_not_list(void **state)
{
    struct fixture *fixture = *state;
    static const char *const ways[] = {"locks.add", "resources.put"};
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    json_t *role = json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:{s:s}, s:[{s:[s], s:[s, s]}]}}}", "kind", "role", "version",
                             "v7", "metadata", "name", "locker", "spec", "allow", "node_labels", "environment", "dev",
                             "rules", "resources", "lock", "verbs", "create", "update");
    json_decref(must(fixture, as_local(), "resources.put", json_pack("{s:o}", "resource", role)));
    mem_free(make_user(fixture, "alice", "locker", "x"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    put_host(fixture, HOST_B, "db-1", "prod", true);
    for (size_t i = 0; i < 2; i++) {
        char *listed = said_of_lock(fixture, "alice", ways[i], "Web-1");
        char *hidden = said_of_lock(fixture, "alice", ways[i], "db-1");
        char *unknown = said_of_lock(fixture, "alice", ways[i], "db-7");
        char *local = said_of_lock(fixture, NULL, ways[i], "db-1");
        assert_string_equal(
            listed, "bad_parameter: a host is locked by its id, for names may change: the id of web-1 is " HOST_A);
        assert_string_equal(hidden, "made: there is no host with the id db-1 now (a host is locked by its id, not by "
                                    "its name; `tportctl nodes ls` shows it); the lock is there and will hold as soon "
                                    "as there is one");
        assert_null(strstr(hidden, HOST_B));
        strstr(unknown, "db-7")[3] = '1';
        assert_string_equal(hidden, unknown); /* one sentence for both */
        assert_non_null(strstr(local, HOST_B));
        mem_free(listed);
        mem_free(hidden);
        mem_free(unknown);
        mem_free(local);
    }
    /* By the id it holds, whoever may list the host. */
    json_t *made =
        must(fixture, as_user(fixture, "alice"), "locks.add", json_pack("{s:{s:s}}", "target", "server_id", HOST_B));
    assert_null(json_object_get(made, "warnings"));
    json_decref(made);
}

/* A date that comes by itself takes the right as a change does: of the user, of the role that carried the session; a
 * session that another role allows too goes on. */
static void expiry_cuts_sessions(void **state)
{
    struct fixture *fixture = *state;
    char soon[CLOCK_TEXT_SIZE];
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    put_role(fixture, "brief", "ubuntu", "dev", NULL);
    put_host(fixture, HOST_A, "web-1", "dev", true);
    mem_free(make_user(fixture, "alice", "dev", "x"));
    mem_free(make_user(fixture, "bob", "brief", "x"));
    mem_free(make_user(fixture, "carol", "brief", "x"));
    json_decref(must(fixture, as_local(), "users.update",
                     json_pack("{s:s, s:[s, s]}", "name", "carol", "set_roles", "brief", "dev")));
    clock_format_ms(clock_wall_ms() + 3000, soon);
    const char *const kinds[][2] = {{"user", "alice"}, {"role", "brief"}};
    for (size_t i = 0; i < 2; i++) {
        json_t *got = must(fixture, as_local(), "resources.get",
                           json_pack("{s:s, s:s}", "kind", kinds[i][0], "name", kinds[i][1]));
        json_t *resource = json_deep_copy(json_array_get(json_object_get(got, "items"), 0));
        json_object_set_new(json_object_get(resource, "metadata"), "expires", json_string(soon));
        json_decref(got);
        json_decref(
            must(fixture, as_local(), "resources.put", json_pack("{s:o, s:b}", "resource", resource, "force", 1)));
    }
    char *alice = connect_as(fixture, "alice", "web-1");
    char *bob = connect_as(fixture, "bob", "web-1");
    char *carol = connect_as(fixture, "carol", "web-1");
    assert_false(is_cut(fixture, alice) || is_cut(fixture, bob) || is_cut(fixture, carol));
    int64_t end = 0;
    assert_int_equal(clock_parse_ms(soon, &end), TP_OK);
    while (clock_wall_ms() < end + 600) {
        fixture_settle(fixture, 100);
    }
    assert_true(is_cut(fixture, alice));
    assert_true(is_cut(fixture, bob));
    assert_false(is_cut(fixture, carol));
    mem_free(alice);
    mem_free(bob);
    mem_free(carol);
}

/* A session is recorded, sealed and readable by those whose rules say so. */
static void recording_is_kept_and_guarded(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "x"));
    mem_free(make_user(fixture, "ann", "auditor", "x"));
    mem_free(make_user(fixture, "ben", "access", "x"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    put_host(fixture, HOST_B, "web-2", "dev", true);
    char *sid = connect_as(fixture, "alice", "web-1");
    must_fail(fixture, as_host(HOST_B, "web-2"), "session.start",
              json_pack("{s:s, s:s}", "sid", sid, "login", "ubuntu"), TP_NOT_FOUND);
    json_t *begun =
        must(fixture, as_host(HOST_A, "web-1"), "session.start",
             json_pack("{s:s, s:s, s:s, s:b}", "sid", sid, "login", "ubuntu", "kind", "shell", "interactive", 1));
    assert_string_equal(json_get_text(begun, "id", ""), sid);
    json_decref(begun);
    const char *text = "{\"version\": 2, \"width\": 80, \"height\": 25}\n[0.1, \"o\", \"hello\"]\n";
    char *data = enc_base64(text, strlen(text));
    json_t *ack = must(fixture, as_host(HOST_A, "web-1"), "recording.append",
                       json_pack("{s:s, s:i, s:s}", "id", sid, "offset", 0, "data", data));
    assert_int_equal(json_get_int(ack, "size", 0), strlen(text));
    json_decref(ack);
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "recording.append",
                     json_pack("{s:s, s:i, s:s}", "id", sid, "offset", 0, "data", data)));
    must_fail(fixture, as_host(HOST_A, "web-1"), "recording.append",
              json_pack("{s:s, s:i, s:s}", "id", sid, "offset", 9999, "data", data), TP_CONFLICT);
    must_fail(fixture, as_host(HOST_B, "web-2"), "recording.append",
              json_pack("{s:s, s:i, s:s}", "id", sid, "offset", 0, "data", data), TP_NOT_FOUND);
    mem_free(data);
    must_fail(fixture, as_host(HOST_A, "web-1"), "session.event",
              json_pack("{s:s, s:s, s:{}}", "sid", sid, "event", "user.create", "fields"), TP_DENIED);
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "session.end",
                     json_pack("{s:s, s:s, s:b}", "id", sid, "reason", "exit", "recorded", 1)));
    fixture_settle(fixture, 600);
    json_t *list = must(fixture, as_user(fixture, "ann"), "recordings.list", json_object());
    assert_int_equal(json_array_size(json_object_get(list, "items")), 1);
    assert_string_equal(json_get_text(json_array_get(json_object_get(list, "items"), 0), "state", ""), "done");
    json_decref(list);
    /* It stands in every order as soon as it is over. */
    list = must(fixture, as_user(fixture, "ann"), "recordings.list", json_pack("{s:s}", "sort", "length:desc"));
    assert_int_equal(json_array_size(json_object_get(list, "items")), 1);
    json_decref(list);
    json_t *part = must(fixture, as_user(fixture, "ann"), "recordings.read",
                        json_pack("{s:s, s:i, s:i}", "id", sid, "offset", 0, "limit", 100000));
    struct buf bytes;
    buf_init(&bytes, 0);
    const char *got = json_get_text(part, "data", "");
    assert_int_equal(dec_base64(got, strlen(got), &bytes), TP_OK);
    assert_string_equal(buf_text(&bytes), text);
    assert_true(json_get_bool(part, "done", false));
    buf_free(&bytes);
    json_decref(part);
    /* R3: reading is a verb of its own; the access preset shows one's own sessions only. */
    list = must(fixture, as_user(fixture, "ben"), "recordings.list", json_object());
    assert_int_equal(json_array_size(json_object_get(list, "items")), 0);
    json_decref(list);
    must_fail(fixture, as_user(fixture, "ben"), "recordings.read", json_pack("{s:s}", "id", sid), TP_NOT_FOUND);
    /* Who begins behind the first byte is on record too, and once; ann's whole read above counts for her second one. */
    const char *const readers[] = {"eve", "eve", "ann"};
    mem_free(make_user(fixture, "eve", "auditor", "x"));
    for (size_t i = 0; i < 3; i++) {
        json_decref(must(fixture, as_user(fixture, readers[i]), "recordings.read",
                         json_pack("{s:s, s:i}", "id", sid, "offset", 1)));
    }
    must_fail(fixture, as_user(fixture, "alice"), "recordings.read", json_pack("{s:s}", "id", sid), TP_DENIED);
    json_t *events = must(fixture, as_local(), "audit.list",
                          json_pack("{s:[s, s, s, s]}", "types", "session.start", "session.end", "session.upload",
                                    "session.recording.access"));
    assert_int_equal(json_array_size(json_object_get(events, "items")), 5);
    json_decref(events);
    mem_free(sid);
}

/* No audit, no service: while events cannot be written every access and change is refused; afterwards it works again. */
static void no_audit_no_access(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "x"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    fixture_settle(fixture, 300);
    struct disk disk = disk_refuses();
    struct tp_error first = {0};
    struct tp_error second = {0};
    json_t *granted = ask(fixture, as_user(fixture, "alice"), "ssh.connect", target("web-1"), &first);
    json_t *changed = ask(fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "user", "zoe"), &second);
    disk_takes(&disk);
    assert_null(granted);
    assert_null(changed);
    assert_true(first.code == TP_UNAVAILABLE || first.code == TP_NO_SPACE);
    assert_non_null(strstr(first.text, "audit log"));
    assert_int_equal(second.code, first.code);
    fixture_settle(fixture, 1600);
    json_decref(must(fixture, as_user(fixture, "alice"), "ssh.connect", target("web-1")));
}

/* A session that ended while the log could not be written was over for auth, and not for the log: the host asked again, and was told
 * that there is no such session. */
static void an_end_that_could_not_be_written_is_on_record_later(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "x"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    char *sid = connect_as(fixture, "alice", "web-1");
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "session.start",
                     json_pack("{s:s, s:s, s:s}", "sid", sid, "login", "ubuntu", "kind", "shell")));
    fixture_settle(fixture, 300);
    struct disk disk = disk_refuses();
    struct tp_error error = {0};
    json_t *ended = ask(fixture, as_host(HOST_A, "web-1"), "session.end",
                        json_pack("{s:s, s:s, s:i}", "id", sid, "reason", "done", "exit_code", 4), &error);
    disk_takes(&disk);
    assert_null(ended);
    assert_non_null(strstr(error.text, "audit log"));
    fixture_settle(fixture, 1600);
    json_t *list = must(fixture, as_local(), "audit.list", json_pack("{s:[s]}", "types", "session.end"));
    const json_t *items = json_object_get(list, "items");
    assert_int_equal(json_array_size(items), 1);
    assert_int_equal(json_get_int(json_array_get(items, 0), "exitCode", -1), 4);
    json_decref(list);
    /* What is said of it afterwards is taken for a while, too: reports that are made again may overtake each other. */
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "session.event",
                     json_pack("{s:s, s:s, s:{s:s}}", "sid", sid, "event", "exec", "fields", "command", "late")));
    mem_free(sid);
}

/* What the log can never take was answered as what it can't take now: an agent made the report again for minutes, and everything
 * that its Kubernetes clients did waited behind that. */
static void r15_an_event_that_is_too_large_is_refused_for_good(void **state)
{
    struct fixture *fixture = *state;
    struct tp_error error = {0};
    put_role(fixture, "dev", "root", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    char *sid = connect_as(fixture, "alice", "web-1");
    char *text = mem_array(AUDIT_LINE_MAX + 1, 1);
    memset(text, 'x', AUDIT_LINE_MAX);
    json_t *large = json_pack("{s:s, s:s, s:{s:s}}", "sid", sid, "event", "exec", "fields", "command", text);
    json_t *small = json_pack("{s:s, s:s, s:{s:s}}", "sid", sid, "event", "exec", "fields", "command", "id");
    assert_null(ask(fixture, as_host(HOST_A, "web-1"), "session.event", json_incref(large), &error));
    assert_int_equal(error.code, TP_TOO_LARGE);
    assert_null(
        ask(fixture, as_host(HOST_A, "web-1"), "session.events", json_pack("{s:[O]}", "events", large), &error));
    assert_int_equal(error.code, TP_TOO_LARGE);
    json_t *result =
        must(fixture, as_host(HOST_A, "web-1"), "session.events", json_pack("{s:[O, O]}", "events", large, small));
    assert_int_equal(json_array_size(json_object_get(result, "refused")), 1);
    json_decref(result);
    json_decref(large);
    json_decref(small);
    mem_free(text);
    mem_free(sid);
}

/* R4: until the sign-in a grant is for any login of the person; what was taken meanwhile is not given by it. */
static void r4_a_login_that_is_taken_before_the_sign_in(void **state)
{
    static const char *const calls[] = {"session.auth", "session.start"};
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    put_role(fixture, "ops", "root", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "x"));
    json_decref(must(fixture, as_local(), "users.update",
                     json_pack("{s:s, s:[s, s]}", "name", "alice", "set_roles", "dev", "ops")));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    for (size_t i = 0; i < 2; i++) {
        char *sid = connect_as(fixture, "alice", "web-1");
        char *other = connect_as(fixture, "alice", "web-1");
        json_t *lock = must(fixture, as_local(), "locks.add",
                            json_pack("{s:{s:s}}", "target", "login", i == 0 ? "root" : "ubuntu"));
        const char *login = i == 0 ? "root" : "ubuntu";
        const struct live *live = map_get(fixture->auth->live, sid);
        assert_false(live->cut); /* he may come as somebody else */
        must_fail(fixture, as_host(HOST_A, "web-1"), calls[i],
                  json_pack("{s:s, s:s, s:b}", "sid", sid, "login", login, "ok", 1), TP_DENIED);
        assert_true(live->cut);
        if (i == 0) {
            json_decref(must(fixture, as_host(HOST_A, "web-1"), "session.auth",
                             json_pack("{s:s, s:s, s:b}", "sid", other, "login", "ubuntu", "ok", 1)));
        }
        json_decref(lock);
        mem_free(sid);
        mem_free(other);
    }
}

/* R15: a host cannot fill auth's memory with channels, nor spoil the commit of everybody's sessions with a huge text. */
static void r15_bounds_for_hosts(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "x"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    char *sid = connect_as(fixture, "alice", "web-1");
    size_t size = STORE_VALUE_MAX + 1;
    char *huge = mem_alloc(size + 1);
    memset(huge, 'a', size);
    must_fail(fixture, as_host(HOST_A, "web-1"), "session.auth",
              json_pack("{s:s, s:s, s:b}", "sid", sid, "login", huge, "ok", 1), TP_INVALID);
    must_fail(fixture, as_host(HOST_A, "web-1"), "session.start", json_pack("{s:s, s:s}", "sid", sid, "login", huge),
              TP_TOO_LARGE);
    must_fail(fixture, as_host(HOST_A, "web-1"), "session.start",
              json_pack("{s:s, s:s, s:s}", "sid", sid, "login", "ubuntu", "command", huge), TP_TOO_LARGE);
    assert_int_equal(map_count(fixture->auth->recordings), 0);
    for (int i = 0; i < 256; i++) {
        json_decref(must(fixture, as_host(HOST_A, "web-1"), "session.start",
                         json_pack("{s:s, s:s}", "sid", sid, "login", "ubuntu")));
    }
    must_fail(fixture, as_host(HOST_A, "web-1"), "session.start",
              json_pack("{s:s, s:s}", "sid", sid, "login", "ubuntu"), TP_LIMIT);
    json_decref(
        must(fixture, as_host(HOST_A, "web-1"), "session.end", json_pack("{s:s, s:s}", "id", sid, "reason", "exit")));
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "session.start",
                     json_pack("{s:s, s:s}", "sid", sid, "login", "ubuntu")));
    struct tp_error error = {0};
    json_t *doc = json_pack("{s:s}", "text", huge);
    json_t *small = json_pack("{s:s}", "text", "x");
    batch_put(fixture->auth, "/live/", "big", doc);
    batch_put(fixture->auth, "/live/", "small", small);
    assert_int_equal(batch_commit(fixture->auth, &error), TP_OK);
    json_t *found = NULL;
    assert_int_equal(doc_find(fixture->auth->state, "/live/", "small", &found, NULL, &error), TP_OK);
    json_decref(found);
    json_decref(doc);
    json_decref(small);
    mem_free(huge);
    mem_free(sid);
}

/* Forwarded certificate of the worker: a certificate that has expired, is bound to another address, or whose user is
 * locked or gone is refused at every call. */
static void user_certificates_are_checked_again(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    json_decref(must(fixture, as_local(), "resources.put",
                     json_pack("{s:{s:s, s:s, s:{s:s}, s:{s:{s:b}, s:{}}}}", "resource", "kind", "role", "version",
                               "v7", "metadata", "name", "pin", "spec", "options", "pin_source_ip", 1, "allow")));
    char *seed = make_user(fixture, "alice", "pin", "x");
    struct keys keys = keys_make();
    char code[7];
    code_at(seed, clock_wall(), code);
    json_t *login =
        must(fixture, as_nobody("10.0.0.1"), "login.password", login_params("alice", GOOD_PASSWORD, code, &keys));
    struct buf der;
    struct tp_error error = {0};
    buf_init(&der, 65536);
    const char *pem = json_get_text(login, "tls_cert", "");
    assert_int_equal(x509_pem_to_der(pem, strlen(pem), &der, &error), TP_OK);
    char *cert = enc_base64(buf_head(&der), buf_size(&der));
    struct link link = {.auth = fixture->auth, .kind = LINK_WORKER, .worker = 1};
    json_t *here = json_pack("{s:s, s:s, s:s}", "kind", "user", "cert", cert, "addr", "10.0.0.1:1");
    json_t *there = json_pack("{s:s, s:s, s:s}", "kind", "user", "cert", cert, "addr", "10.0.0.2:1");
    json_t *host = json_pack("{s:s, s:s, s:s}", "kind", "host", "cert", cert, "addr", "10.0.0.1:1");
    struct caller caller;
    assert_int_equal(caller_verify(fixture->auth, &link, here, &caller, &error), TP_OK);
    caller_free(&caller);
    assert_int_equal(caller_verify(fixture->auth, &link, there, &caller, &error), TP_DENIED);         /* R4 */
    assert_int_equal(caller_verify(fixture->auth, &link, host, &caller, &error), TP_UNAUTHENTICATED); /* R6 */
    json_decref(must(fixture, as_local(), "users.update",
                     json_pack("{s:s, s:[s, s]}", "name", "alice", "set_roles", "dev", "editor")));
    assert_int_equal(caller_verify(fixture->auth, &link, here, &caller, &error), TP_OK);
    assert_int_equal(json_array_size(caller.roles),
                     0); /* the old role is gone at once, the new ones need a new login */
    caller_free(&caller);
    json_decref(must(fixture, as_local(), "resources.rm", json_pack("{s:s, s:s}", "kind", "user", "name", "alice")));
    assert_int_equal(caller_verify(fixture->auth, &link, here, &caller, &error), TP_UNAUTHENTICATED);
    fixture_settle(fixture, 1100); /* certificates count seconds */
    json_decref(must(fixture, as_local(), "users.add", json_pack("{s:s, s:[s]}", "name", "alice", "roles", "pin")));
    assert_int_equal(caller_verify(fixture->auth, &link, here, &caller, &error),
                     TP_UNAUTHENTICATED); /* another alice */
    json_decref(here);
    json_decref(there);
    json_decref(host);
    json_decref(login);
    mem_free(cert);
    mem_free(seed);
    buf_free(&der);
    keys_free(&keys);
}

/* It may always be said that a session ends, also on a disk that is full but for what people need: a host could say a lot. */
static void r15_the_end_of_a_session_is_not_much(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "ubuntu"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    char *sid = connect_as(fixture, "alice", "web-1");
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "session.start",
                     json_pack("{s:s, s:s}", "sid", sid, "login", "ubuntu")));
    char text[20001];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    json_decref(must(fixture, as_host(HOST_A, "web-1"), "session.end",
                     json_pack("{s:s, s:s, s:[s], s:[s]}", "id", sid, "reason", text, "exit_code", text,
                               "kubernetes_groups", text)));
    json_t *list = must(fixture, as_local(), "audit.list", json_pack("{s:[s]}", "types", "session.end"));
    json_t *event = json_array_get(json_object_get(list, "items"), 0);
    assert_string_equal(json_get_text(event, "sid", ""), sid);
    char *written = json_text(event);
    assert_true(strlen(written) < 4096);
    mem_free(written);
    json_decref(list);
    mem_free(sid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(grant_says_what_roles_say, setup, teardown),
        cmocka_unit_test_setup_teardown(r5_deny_over_allow, setup, teardown),
        cmocka_unit_test_setup_teardown(ambiguous_and_offline, setup, teardown),
        cmocka_unit_test_setup_teardown(servers_of_one_name_are_shown_with_their_labels, setup, teardown),
        cmocka_unit_test_setup_teardown(nearly_right_names_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_rights_cut_sessions, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lock_is_made_once, setup, teardown),
        cmocka_unit_test_setup_teardown(locks_that_are_over_go, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lock_tells_nobody_of_hosts_that_he_may_not_list, setup, teardown),
        cmocka_unit_test_setup_teardown(expiry_cuts_sessions, setup, teardown),
        cmocka_unit_test_setup_teardown(recording_is_kept_and_guarded, setup, teardown),
        cmocka_unit_test_setup_teardown(no_audit_no_access, setup, teardown),
        cmocka_unit_test_setup_teardown(r15_the_end_of_a_session_is_not_much, setup, teardown),
        cmocka_unit_test_setup_teardown(an_end_that_could_not_be_written_is_on_record_later, setup, teardown),
        cmocka_unit_test_setup_teardown(r4_a_login_that_is_taken_before_the_sign_in, setup, teardown),
        cmocka_unit_test_setup_teardown(r15_bounds_for_hosts, setup, teardown),
        cmocka_unit_test_setup_teardown(r15_an_event_that_is_too_large_is_refused_for_good, setup, teardown),
        cmocka_unit_test_setup_teardown(user_certificates_are_checked_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

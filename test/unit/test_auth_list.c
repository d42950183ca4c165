/* nodes.list and kube.list: labels, words, queries, order, pages by key, and what they cost. */
#include "auth/caller.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth/list.h"
#include "auth_help.h"

#define KUBE_HOST "33333333-3333-4333-8333-333333333333"

static void put_role(struct fixture *fixture, const char *name, const char *login, const char *label)
{
    json_t *role = json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:[s], s:{s:s}, s:[s], s:{s:s}}}}", "kind", "role", "version",
                             "v7", "metadata", "name", name, "spec", "allow", "logins", login, "node_labels", "env",
                             label, "kubernetes_groups", "dev", "kubernetes_labels", "env", label);
    json_decref(must(fixture, as_local(), "resources.put", json_pack("{s:o, s:b}", "resource", role, "force", 1)));
}

static void put_host(struct fixture *fixture, unsigned number, const char *name, const char *env)
{
    struct keys keys = keys_make();
    char id[40];
    snprintf(id, sizeof id, "%08x-1111-4111-8111-111111111111", number);
    json_decref(
        must(fixture, as_nobody("10.8.8.8"), "host.join", join_params("static-secret-of-the-file", id, name, &keys)));
    keys_free(&keys);
    json_decref(must(fixture, as_host(id, name), "host.heartbeat",
                     json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:s}}}", "hostname", name, "addr", "192.0.2.7:22", "labels",
                               "env", env, "cmd_labels", "kernel", "result", "6.1")));
}

static void put_hosts(struct fixture *fixture)
{
    put_role(fixture, "dev", "ubuntu", "dev");
    mem_free(make_user(fixture, "alice", "dev", "root"));
    put_host(fixture, 1, "web-b", "dev");
    put_host(fixture, 2, "web-a", "dev");
    put_host(fixture, 3, "db", "prod");
    put_host(fixture, 4, "web-a", "dev"); /* a name twice */
    put_host(fixture, 5, "cache", "dev");
}

/* "name name ..." of one page; params is stolen. */
static char *names(struct fixture *fixture, struct caller caller, const char *method, json_t *params, char **ret_key)
{
    json_t *result = must(fixture, caller, method, params);
    struct buf text;
    size_t i;
    json_t *item;
    buf_init(&text, 4096);
    json_array_foreach (json_object_get(result, "items"), i, item) {
        const char *host = json_get_text(json_object_get(item, "spec"), "hostname", NULL);
        (void)buf_printf(&text, "%s%s", i > 0 ? " " : "", host != NULL ? host : json_get_text(item, "name", "?"));
    }
    if (ret_key != NULL) {
        *ret_key = mem_strdup(json_get_text(result, "start_key", ""));
    }
    json_decref(result);
    return buf_take(&text);
}

static void check(struct fixture *fixture, json_t *params, const char *expected)
{
    char *found = names(fixture, as_user(fixture, "alice"), "nodes.list", params, NULL);
    assert_string_equal(found, expected);
    mem_free(found);
}

static void filters_of_nodes(void **state)
{
    struct fixture *fixture = *state;
    put_hosts(fixture);
    check(fixture, json_object(), "cache web-a web-a web-b");
    check(fixture, json_pack("{s:{s:s}}", "labels", "env", "dev"), "cache web-a web-a web-b");
    check(fixture, json_pack("{s:{s:s}}", "labels", "kernel", "6.1"), "cache web-a web-a web-b");
    check(fixture, json_pack("{s:{s:s}}", "labels", "env", "prod"), "");
    check(fixture, json_pack("{s:[s,s]}", "search", "WEB", "6.1"), "web-a web-a web-b");
    check(fixture, json_pack("{s:[s,s]}", "search", "web", "cache"), "");
    check(fixture, json_pack("{s:[s]}", "search", "00000001-1111"), "web-b");
    check(fixture, json_pack("{s:[s]}", "search", "192.0.2.7"), "cache web-a web-a web-b");
    /* What the list shows as env=dev is found as that, from the middle too; the name alone or the value alone is not it. */
    check(fixture, json_pack("{s:[s]}", "search", "env=dev"), "cache web-a web-a web-b");
    check(fixture, json_pack("{s:[s,s]}", "search", "NV=De", "web-b"), "web-b");
    check(fixture, json_pack("{s:[s]}", "search", "env="), "cache web-a web-a web-b");
    check(fixture, json_pack("{s:[s]}", "search", "env=prod"), "");
    check(fixture, json_pack("{s:[s]}", "search", "xenv=dev"), "");
    check(fixture, json_pack("{s:[s]}", "search", "env=ev"), "");
    check(fixture, json_pack("{s:s}", "query", "search(\"env=dev\") && search(\"web-b\")"), "web-b");
    check(fixture, json_pack("{s:s}", "query", "name == \"web-b\""), "web-b");
    check(fixture, json_pack("{s:s}", "query", "labels[\"env\"] == \"dev\" && name == \"cache\""), "cache");
    check(fixture, json_pack("{s:s}", "query", "labels.kernel == \"6.1\" && !hasPrefix(name, \"web\")"), "cache");
    check(fixture, json_pack("{s:s}", "query", "exists(labels.env) && search(\"EB-B\", \"dev\")"), "web-b");
    check(fixture, json_pack("{s:s}", "query", "resource.metadata.name == \"00000001-1111-4111-8111-111111111111\""),
          "web-b");
    check(fixture, json_pack("{s:s}", "query", "resource.spec.hostname == \"web-a\""), "web-a web-a");
    check(fixture, json_pack("{s:s}", "query", "contains(split(labels[\"env\"], \"e\"), \"d\")"),
          "cache web-a web-a web-b");
    check(fixture, json_pack("{s:s}", "query", "labels[\"absent\"] == \"x\""), "");
    check(fixture,
          json_pack("{s:s, s:[s], s:{s:s}}", "query", "name != \"cache\"", "search", "web", "labels", "env", "dev"),
          "web-a web-a web-b");
    /* A query shows nothing that labels do not allow. */
    check(fixture, json_pack("{s:s}", "query", "labels[\"env\"] == \"prod\" || name == \"db\""), "");
    char *all = names(fixture, as_local(), "nodes.list", json_pack("{s:s}", "query", "labels.env == \"prod\""), NULL);
    assert_string_equal(all, "db");
    mem_free(all);
}

static void refuse(struct fixture *fixture, const char *name, json_t *value, const char *part)
{
    struct tp_error error = {0};
    json_t *params = json_object();
    json_object_set_new(params, name, value);
    assert_null(ask(fixture, as_user(fixture, "alice"), "nodes.list", params, &error));
    assert_int_equal(error.code, TP_INVALID);
    if (strstr(error.text, part) == NULL) {
        fail_msg("\"%s\" is not in: %s", part, error.text);
    }
}

static void wrong_filters_say_where(void **state)
{
    struct fixture *fixture = *state;
    put_hosts(fixture);
    refuse(fixture, "query", json_string("name == "), "at character 9");
    refuse(fixture, "query", json_string("nmae == \"x\""), "at character 1: unknown name \"nmae\"");
    refuse(fixture, "query", json_string("name == \"a\" && serch(\"x\")"), "at character 16: unknown");
    refuse(fixture, "query", json_string("user.metadata.name == \"alice\""), "unknown name \"user\"");
    refuse(fixture, "query", json_string("name"), "");
    refuse(fixture, "query", json_string("labels == name"), "cannot be evaluated for \"cache\"");
    refuse(fixture, "sort", json_string("labels:asc"),
           "sorted by \"name\", \"hostname\" or \"since\", not by \"labels:asc\"");
    refuse(fixture, "sort", json_string("name:up"), "asc or desc");
    refuse(fixture, "search", json_string("word"), "search");
    char *long_query = mem_alloc(2100);
    memset(long_query, ' ', 2090);
    refuse(fixture, "query", json_string(long_query), "longer than 2000 bytes");
    mem_free(long_query);
    json_t *words = json_array();
    for (int i = 0; i < 33; i++) {
        json_array_append_new(words, json_string("w"));
    }
    refuse(fixture, "search", words, "search");
    /* What fails on a host that the caller may not see tells him nothing. */
    check(fixture, json_pack("{s:s}", "query", "name != \"db\" && name == \"x\" || name == \"db\" && labels == name"),
          "");
}

/* Pages by key in both orders, with and without a total; hosts that go between two pages. */
static void pages_by_key(void **state)
{
    struct fixture *fixture = *state;
    static const char *const sorts[] = {"name:asc", "hostname:desc"};
    static const char *const expected[2][4] = {{"cache", "web-a", "web-a", "web-b"},
                                               {"web-b", "web-a", "web-a", "cache"}};
    put_hosts(fixture);
    for (int i = 0; i < 4; i++) {
        char *key = mem_strdup("");
        for (int page = 0; page < 4; page++) {
            char *next = NULL;
            char *found = names(
                fixture, as_user(fixture, "alice"), "nodes.list",
                json_pack("{s:i, s:s, s:s, s:b}", "limit", 1, "start_key", key, "sort", sorts[i % 2], "total", i / 2),
                &next);
            assert_string_equal(found, expected[i % 2][page]);
            assert_int_equal(next[0] == '\0', page == 3);
            mem_free(found);
            mem_free(key);
            key = next;
        }
        mem_free(key);
    }
    json_t *result = must(fixture, as_user(fixture, "alice"), "nodes.list",
                          json_pack("{s:i, s:s}", "limit", 1, "start_key", "web-a zzz"));
    assert_int_equal(json_get_int(result, "total", -1), 4);
    json_decref(result);
    result = must(fixture, as_user(fixture, "alice"), "nodes.list", json_pack("{s:i, s:b}", "limit", 1, "total", 0));
    assert_null(json_object_get(result, "total"));
    json_decref(result);
    /* The host of the key is gone: the next page begins behind where it stood. */
    struct tp_error error = {0};
    assert_int_equal(hosts_delete(fixture->auth, "00000002-1111-4111-8111-111111111111", &error), TP_OK);
    check(fixture, json_pack("{s:s}", "start_key", "web-a 00000002-1111-4111-8111-111111111111"), "web-a web-b");
    check(fixture, json_object(), "cache web-a web-b");
    put_host(fixture, 6, "abacus", "dev");
    check(fixture, json_object(), "abacus cache web-a web-b");
}

/* What a table shows, in the places of the resource, and nothing else; it follows what the host says. */
static void a_brief_list_has_what_a_table_shows(void **state)
{
    struct fixture *fixture = *state;
    put_hosts(fixture);
    for (int i = 0; i < 2; i++) {
        const char *kernel = i == 0 ? "6.1" : "6.2";
        json_decref(must(fixture, as_host("00000005-1111-4111-8111-111111111111", "cache"), "host.heartbeat",
                         json_pack("{s:s, s:{s:s, s:s}, s:{s:{s:s}}}", "hostname", "cache", "labels", "env", "dev",
                                   "kernel", "hidden", "cmd_labels", "kernel", "result", kernel)));
        json_t *result = must(fixture, as_user(fixture, "alice"), "nodes.list", json_pack("{s:b}", "brief", 1));
        assert_int_equal(json_array_size(json_object_get(result, "items")), 4);
        json_t *expected = json_pack("{s:{s:{s:s, s:s}}, s:{s:s, s:b}, s:b}", "metadata", "labels", "env", "dev",
                                     "kernel", kernel, "spec", "hostname", "cache", "use_tunnel", 1, "online", 0);
        assert_true(json_equal(json_array_get(json_object_get(result, "items"), 0), expected));
        const json_t *spec = json_object_get(json_array_get(json_object_get(result, "items"), 1), "spec");
        assert_string_equal(json_get_text(spec, "addr", ""), "192.0.2.7:22");
        json_decref(expected);
        json_decref(result);
    }
}

/* Who is away stands before who is there, each by its time; the order follows tunnels that come and go. */
static void nodes_by_time(void **state)
{
    struct fixture *fixture = *state;
    static const char *const ids[] = {"00000001-1111-4111-8111-111111111111", "00000002-1111-4111-8111-111111111111",
                                      "00000004-1111-4111-8111-111111111111", "00000005-1111-4111-8111-111111111111"};
    put_hosts(fixture);
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < 4; i++) { /* last seen: web-b, web-a 2, web-a 4, cache */
        hosts_get(fixture->auth, ids[i])->last_seen_ms = now - 1000 * (int64_t)(10 - i);
    }
    check(fixture, json_pack("{s:s}", "sort", "since:asc"), "web-b web-a web-a cache");
    check(fixture, json_pack("{s:s}", "sort", "since:desc"), "cache web-a web-a web-b");
    json_decref(
        must(fixture, as_host(ids[0], "web-b"), "tunnel.up", json_pack("{s:i, s:i}", "worker", 1, "tunnel", 5)));
    check(fixture, json_pack("{s:s}", "sort", "since:asc"), "web-a web-a cache web-b");
    json_decref(must(fixture, as_host(ids[1], "web-a"), "tunnel.up",
                     json_pack("{s:i, s:i, s:i}", "worker", 1, "tunnel", 6, "age", 5000)));
    check(fixture, json_pack("{s:s}", "sort", "since:asc"), "web-a cache web-a web-b");
    /* The first page ends at web-a 4, which then goes; nobody else is left out or comes twice. */
    char *key = NULL;
    mem_free(names(fixture, as_user(fixture, "alice"), "nodes.list",
                   json_pack("{s:s, s:i}", "sort", "since:asc", "limit", 1), &key));
    struct tp_error error = {0};
    assert_int_equal(hosts_delete(fixture->auth, ids[2], &error), TP_OK);
    check(fixture, json_pack("{s:s, s:s}", "sort", "since:asc", "start_key", key), "cache web-a web-b");
    mem_free(key);
    put_host(fixture, 6, "abacus", "dev");
    check(fixture, json_pack("{s:s}", "sort", "since:desc"), "web-b web-a abacus cache");
    refuse(fixture, "sort", json_string("since:up"), "asc or desc");
    /* In turns, too. */
    fixture->auth->list_turn = 1;
    check(fixture, json_pack("{s:s, s:s}", "query", "labels.env == \"dev\"", "sort", "since:desc"),
          "web-b web-a abacus cache");
}

static void filters_of_clusters(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    put_role(fixture, "dev", "ubuntu", "dev");
    mem_free(make_user(fixture, "alice", "dev", "root"));
    json_decref(must(fixture, as_local(), "tokens.add",
                     json_pack("{s:[s], s:s}", "roles", "kube", "value", "kube-0123456789abcdef")));
    json_t *join = join_params("kube-0123456789abcdef", KUBE_HOST, "agent", &keys);
    json_object_set_new(join, "role", json_string("kube"));
    json_decref(must(fixture, as_nobody("10.8.8.8"), "host.join", join));
    keys_free(&keys);
    json_decref(must(fixture, as_host(KUBE_HOST, "agent"), "host.heartbeat",
                     json_pack("{s:s, s:[s], s:[{s:s, s:{s:s}}, {s:s, s:{s:s}}, {s:s, s:{s:s}}]}", "hostname", "agent",
                               "services", "kube", "kube_clusters", "name", "two", "labels", "env", "dev", "name",
                               "one", "labels", "env", "dev", "name", "three", "labels", "env", "prod")));
    static const struct {
        const char *key, *value, *expected;
    } cases[] = {{"query", "name == \"one\"", "one"},
                 {"query", "labels[\"env\"] == \"dev\" && resource.kind == \"kube_cluster\"", "one two"},
                 {"query", "resource.metadata.labels[\"env\"] == \"dev\" && search(\"TW\")", "two"},
                 {"query", "name == \"three\"", ""},
                 {"sort", "name:desc", "two one"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *found = names(fixture, as_user(fixture, "alice"), "kube.list",
                            json_pack("{s:s}", cases[i].key, cases[i].value), NULL);
        assert_string_equal(found, cases[i].expected);
        mem_free(found);
    }
    must_fail(fixture, as_user(fixture, "alice"), "kube.list", json_pack("{s:s}", "query", "name ="), TP_INVALID);
}

/* Who asks something dear waits longer for it, and nobody else does: its work is done in turns. */
static void a_long_query_is_done_in_turns(void **state)
{
    struct fixture *fixture = *state;
    struct answer first;
    struct answer second;
    struct answer cheap;
    json_t *query = json_pack("{s:s}", "query", "labels.env == \"dev\" && name != \"nobody\"");
    put_hosts(fixture);
    fixture->auth->list_turn = 1; /* a host in a turn */
    ask_later(fixture, as_user(fixture, "alice"), "nodes.list", json_incref(query), &first);
    assert_false(first.done);
    ask_later(fixture, as_user(fixture, "alice"), "nodes.list", json_deep_copy(query), &second);
    assert_false(second.done);
    /* A list without a query, and every other call, goes ahead of them. */
    ask_later(fixture, as_user(fixture, "alice"), "nodes.list", json_object(), &cheap);
    assert_true(cheap.done);
    json_decref(cheap.result);
    json_decref(must(fixture, as_nobody("10.0.0.1"), "cluster.info", json_object()));
    assert_false(first.done || second.done);
    wait_all(fixture);
    assert_int_equal(json_array_size(json_object_get(first.result, "items")), 4);
    assert_true(json_equal(first.result, second.result));
    json_decref(first.result);
    json_decref(second.result);
    json_decref(query);
    /* A failure in a later turn is told, and pages are those of one turn. */
    refuse(fixture, "query", json_string("labels == name"), "cannot be evaluated for \"cache\"");
    check(fixture, json_pack("{s:s, s:i}", "query", "labels.env == \"dev\"", "limit", 2), "cache web-a");
    check(fixture, json_pack("{s:s, s:s}", "query", "labels.env == \"dev\"", "sort", "name:desc"),
          "web-b web-a web-a cache");
}

/* Nobody fills auth with lists that wait: some of each person may, the next is refused at once, and others still get in. */
static void lists_that_wait_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    struct answer answers[LIST_WAIT_USER];
    struct answer more;
    struct answer other;
    json_t *query = json_pack("{s:s}", "query", "name != \"nobody\"");
    put_hosts(fixture);
    fixture->auth->list_turn = 1;
    for (size_t i = 0; i < LIST_WAIT_USER; i++) {
        ask_later(fixture, as_user(fixture, "alice"), "nodes.list", json_deep_copy(query), &answers[i]);
        assert_false(answers[i].done);
    }
    ask_later(fixture, as_user(fixture, "alice"), "nodes.list", json_deep_copy(query), &more);
    assert_true(more.done && more.error.code == TP_LIMIT);
    ask_later(fixture, as_local(), "nodes.list", json_deep_copy(query), &other);
    assert_false(other.done);
    wait_all(fixture);
    for (size_t i = 0; i < LIST_WAIT_USER; i++) {
        assert_int_equal(json_array_size(json_object_get(answers[i].result, "items")), 4);
        json_decref(answers[i].result);
    }
    assert_true(other.done);
    json_decref(other.result);
    /* And it is over when they are. */
    json_decref(must(fixture, as_user(fixture, "alice"), "nodes.list", query));
}

/* Between turns hosts come and go, as between pages: nothing is shown twice, and what stays is shown. */
static void hosts_come_and_go_between_turns(void **state)
{
    struct fixture *fixture = *state;
    struct answer answer;
    put_hosts(fixture);
    fixture->auth->list_turn = 1;
    ask_later(fixture, as_user(fixture, "alice"), "nodes.list", json_pack("{s:s}", "query", "labels.env == \"dev\""),
              &answer);
    assert_false(answer.done);
    struct host *host = hosts_get(fixture->auth, "00000003-1111-4111-8111-111111111111");
    assert_string_equal(host->name, "db");
    mem_free(host->name);
    host->name = mem_strdup("aaa"); /* before where the walk stands: every place means another host now */
    hosts_order_changed(fixture->auth);
    wait_all(fixture);
    struct buf text;
    size_t i;
    json_t *item;
    buf_init(&text, 4096);
    json_array_foreach (json_object_get(answer.result, "items"), i, item) {
        (void)buf_printf(&text, "%s ", json_get_text(json_object_get(item, "spec"), "hostname", "?"));
    }
    assert_string_equal(buf_text(&text), "cache web-a web-a web-b ");
    buf_free(&text);
    json_decref(answer.result);
}

/* Auth ends while a list is under way: the call is answered, and nothing is left behind. */
static void a_list_under_way_ends_with_auth(void **state)
{
    struct fixture *fixture = *state;
    struct answer answer;
    put_hosts(fixture);
    fixture->auth->list_turn = 1;
    ask_later(fixture, as_user(fixture, "alice"), "nodes.list", json_pack("{s:s}", "query", "name == \"db\""), &answer);
    assert_false(answer.done);
    auth_close(fixture->auth);
    assert_true(answer.done && answer.error.code == TP_UNAVAILABLE);
    fixture_settle(fixture, 20);
    loop_free(fixture->loop);
    fixture_open(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(filters_of_nodes, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_filters_say_where, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_by_key, setup, teardown),
        cmocka_unit_test_setup_teardown(a_brief_list_has_what_a_table_shows, setup, teardown),
        cmocka_unit_test_setup_teardown(nodes_by_time, setup, teardown),
        cmocka_unit_test_setup_teardown(filters_of_clusters, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_query_is_done_in_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_that_wait_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(hosts_come_and_go_between_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(a_list_under_way_ends_with_auth, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Servers without an agent: written, listed and decided about like nodes, reached by nobody, and never in a host's place. */
#include "auth/caller.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth_access_help.h"

#define HOST_ID "11111111-1111-4111-8111-111111111111"
#define OTHER_ID "22222222-2222-4222-8222-222222222222"

static json_t *server(const char *name, const char *hostname, const char *environment)
{
    json_t *doc = json_pack("{s:s, s:s, s:s, s:{s:{s:s}}, s:{s:s, s:s}}", "kind", "node", "sub_kind", "openssh",
                            "version", "v2", "metadata", "labels", "environment", environment, "spec", "addr",
                            "10.0.0.5:22", "hostname", hostname);
    if (name != NULL) {
        json_object_set_new(json_object_get(doc, "metadata"), "name", json_string(name));
    }
    return doc;
}

/* doc is stolen. */
static json_t *put(json_t *doc)
{
    return json_pack("{s:o}", "resource", doc);
}

static json_t *openssh(void)
{
    return json_pack("{s:s}", "sub_kind", "openssh");
}

static json_t *node(const char *name)
{
    return json_pack("{s:s, s:s}", "kind", "node", "name", name);
}

/* alice reaches dev, walter may write nodes too, where he reaches prod; the host web1 is dev. */
static void put_people(struct fixture *fixture)
{
    put_role(fixture, "dev", "root", "dev", NULL);
    put_role(fixture, "prod", "root", "prod", NULL);
    json_t *writer = json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:[{s:[s], s:[s,s,s]}]}}}", "kind", "role", "version", "v7",
                               "metadata", "name", "writer", "spec", "allow", "rules", "resources", "node", "verbs",
                               "create", "update", "delete");
    json_decref(must(fixture, as_local(), "resources.put", put(writer)));
    json_decref(must(fixture, as_local(), "users.add",
                     json_pack("{s:s, s:[s], s:{}}", "name", "alice", "roles", "dev", "traits")));
    json_decref(must(fixture, as_local(), "users.add",
                     json_pack("{s:s, s:[s,s], s:{}}", "name", "walter", "roles", "prod", "writer", "traits")));
    put_host(fixture, HOST_ID, "web1", "dev", true);
}

/* How many items there are, and the only one's metadata.name (or ""). */
static size_t count(struct fixture *fixture, struct caller caller, const char *method, json_t *params, char **ret_name)
{
    json_t *page = must(fixture, caller, method, params);
    const json_t *items = json_object_get(page, "items");
    size_t size = json_array_size(items);
    if (ret_name != NULL) {
        *ret_name = mem_strdup(
            json_get_text(json_object_get(json_array_get(items, size == 1 ? 0 : size), "metadata"), "name", ""));
    }
    json_decref(page);
    return size;
}

static void says(struct fixture *fixture, struct caller caller, const char *method, json_t *params, enum tp_err code,
                 const char *part)
{
    struct tp_error error = {0};
    assert_null(ask(fixture, caller, method, params, &error));
    if (error.code != code || strstr(error.text, part) == NULL) {
        fail_msg("%s: %s: %s", method, err_name(error.code), error.text);
    }
}

static void it_is_listed_apart_and_reached_by_nobody(void **state)
{
    struct fixture *fixture = *state;
    char *name = NULL;
    put_people(fixture);
    json_decref(must(fixture, as_local(), "resources.put", put(server("legacy", "old.example.com", "dev"))));
    json_decref(must(fixture, as_local(), "resources.put", put(server(NULL, "hidden", "prod"))));
    for (int round = 0; round < 2; round++) {
        /* What people may open lists the host alone. */
        assert_int_equal(count(fixture, as_user(fixture, "alice"), "nodes.list", json_object(), &name), 1);
        assert_string_equal(name, HOST_ID);
        mem_free(name);
        assert_int_equal(count(fixture, as_user(fixture, "alice"), "nodes.list", openssh(), &name), 1);
        assert_string_equal(name, "legacy");
        mem_free(name);
        assert_int_equal(count(fixture, as_local(), "nodes.list", openssh(), NULL), 2);
        assert_int_equal(count(fixture, as_local(), "nodes.list",
                               json_pack("{s:s, s:s}", "sub_kind", "openssh", "query", "name == \"hidden\""), &name),
                         1);
        assert_int_equal(strlen(name), 36); /* one was made */
        mem_free(name);
        assert_int_equal(count(fixture, as_user(fixture, "alice"), "resources.get", node("old.example.com"), NULL), 1);
        assert_int_equal(
            count(fixture, as_user(fixture, "alice"), "resources.get", json_pack("{s:s}", "kind", "node"), NULL), 2);
        says(fixture, as_user(fixture, "alice"), "ssh.connect", target("old.EXAMPLE.com"), TP_UNAVAILABLE,
             "old.example.com is a server without an agent (10.0.0.5:22), to which tport does not connect yet");
        says(fixture, as_user(fixture, "alice"), "ssh.connect", target("legacy"), TP_UNAVAILABLE, "without an agent");
        /* Who may not list it does not learn of it. */
        says(fixture, as_user(fixture, "alice"), "ssh.connect", target("hidden"), TP_NOT_FOUND,
             "no server named hidden");
        assert_null(ask(fixture, as_user(fixture, "alice"), "resources.get", node("hidden"), &(struct tp_error){0}));
        if (round == 0) { /* and so after a restart */
            fixture_shut(fixture);
            fixture_open(fixture);
        }
    }
    json_decref(must(fixture, as_local(), "resources.rm", node("legacy")));
    assert_int_equal(count(fixture, as_user(fixture, "alice"), "nodes.list", openssh(), NULL), 0);
    says(fixture, as_user(fixture, "alice"), "ssh.connect", target("legacy"), TP_NOT_FOUND, "no server named legacy");
    says(fixture, as_local(), "resources.rm", node("legacy"), TP_NOT_FOUND, "there is no node \"legacy\"");
}

static void pages_of_many(void **state)
{
    struct fixture *fixture = *state;
    char *key = NULL;
    put_people(fixture);
    for (int i = 0; i < 5; i++) {
        char name[8];
        snprintf(name, sizeof name, "s%d", 4 - i);
        json_decref(must(fixture, as_local(), "resources.put", put(server(name, "one", i < 4 ? "dev" : "prod"))));
    }
    for (int i = 1; i < 5; i++) { /* s0 is prod */
        json_t *page =
            must(fixture, as_user(fixture, "alice"), "nodes.list",
                 json_pack("{s:s, s:i, s:s}", "sub_kind", "openssh", "limit", 1, "start_key", key != NULL ? key : ""));
        const json_t *item = json_array_get(json_object_get(page, "items"), 0);
        char wanted[8];
        snprintf(wanted, sizeof wanted, "s%d", i);
        assert_string_equal(json_get_text(json_object_get(item, "metadata"), "name", ""), wanted);
        mem_free(key);
        key = mem_strdup(json_get_text(page, "start_key", ""));
        json_decref(page);
    }
    assert_string_equal(key, "");
    mem_free(key);
}

static void R15_what_somebody_wrote_takes_nothing_from_a_host(void **state)
{
    struct fixture *fixture = *state;
    char *name = NULL;
    put_people(fixture);
    /* Under its name, as its id, and again with a prefix of the name. walter does not list the host, so no answer tells
     * him of it. */
    json_decref(must(fixture, as_user(fixture, "walter"), "resources.put", put(server(HOST_ID, "web1", "prod"))));
    json_decref(must(fixture, as_user(fixture, "walter"), "resources.put", put(server("web1", "web1", "prod"))));
    says(fixture, as_local(), "resources.put", put(server(HOST_ID, "x", "dev")), TP_EXISTS, "has registered itself");
    json_decref(must(fixture, as_local(), "resources.put", put(server("web1-dev", "web1", "dev"))));
    json_t *grant = must(fixture, as_user(fixture, "alice"), "ssh.connect", target("web1"));
    assert_string_equal(json_get_text(grant, "host_id", ""), HOST_ID);
    json_decref(grant);
    grant = must(fixture, as_user(fixture, "alice"), "ssh.connect", target(HOST_ID));
    assert_string_equal(json_get_text(grant, "host_id", ""), HOST_ID);
    json_decref(grant);
    /* The decision about that name is the one about the host. */
    json_t *why =
        must(fixture, as_local(), "access.explain", json_pack("{s:s, s:s}", "user", "walter", "name", "web1"));
    assert_string_equal(json_get_text(why, "decision", ""), "deny");
    json_decref(why);
    /* A host joins under a name and an id that were written before it came. */
    json_decref(must(fixture, as_local(), "resources.put", put(server(OTHER_ID, "web2", "dev"))));
    put_host(fixture, OTHER_ID, "web2", "dev", true);
    grant = must(fixture, as_user(fixture, "alice"), "ssh.connect", target("web2"));
    assert_string_equal(json_get_text(grant, "host_id", ""), OTHER_ID);
    json_decref(grant);
    /* Nor does one come into the place of a host that is away since long. */
    json_decref(must(fixture, as_proxy(), "tunnel.down",
                     json_pack("{s:s, s:i, s:i}", "host_id", OTHER_ID, "worker", 1, "tunnel", 5)));
    hosts_get(fixture->auth, OTHER_ID)->last_seen_ms = 0;
    says(fixture, as_user(fixture, "alice"), "ssh.connect", target("web2"), TP_NOT_FOUND, "no server named web2");
    /* Who removes a host by its id removes the host, whatever was written under that id. */
    json_decref(must(fixture, as_local(), "resources.rm", node(OTHER_ID)));
    assert_null(hosts_get(fixture->auth, OTHER_ID));
    assert_int_equal(count(fixture, as_local(), "resources.get", node(OTHER_ID), &name), 1);
    mem_free(name);
    json_decref(must(fixture, as_local(), "resources.rm", node(OTHER_ID)));
    assert_null(ask(fixture, as_local(), "resources.get", node(OTHER_ID), &(struct tp_error){0}));
}

static void who_may_write_them(void **state)
{
    struct fixture *fixture = *state;
    put_people(fixture);
    must_fail(fixture, as_user(fixture, "alice"), "resources.put", put(server("a", "a", "dev")), TP_DENIED);
    json_decref(must(fixture, as_user(fixture, "walter"), "resources.put", put(server("p", "p", "prod"))));
    /* Not beyond his labels, neither anew nor by a change. */
    must_fail(fixture, as_user(fixture, "walter"), "resources.put", put(server("d", "d", "dev")), TP_DENIED);
    json_t *moved = put(server("p", "p", "dev"));
    json_object_set_new(moved, "force", json_true());
    must_fail(fixture, as_user(fixture, "walter"), "resources.put", moved, TP_DENIED);
    json_decref(must(fixture, as_local(), "resources.put", put(server("d", "d", "dev"))));
    must_fail(fixture, as_user(fixture, "walter"), "resources.rm", node("d"), TP_NOT_FOUND);
    must_fail(fixture, as_user(fixture, "alice"), "resources.rm", node("d"), TP_DENIED);
    json_decref(must(fixture, as_user(fixture, "walter"), "resources.rm", node("p")));
    /* Hosts neither. */
    must_fail(fixture, as_user(fixture, "walter"), "resources.rm", node(HOST_ID), TP_NOT_FOUND);
}

static void decided_about_like_a_host(void **state)
{
    struct fixture *fixture = *state;
    put_people(fixture);
    json_decref(must(fixture, as_local(), "resources.put", put(server("legacy", "old", "dev"))));
    static const struct {
        const char *user, *name, *decision;
    } cases[] = {{"alice", "old", "allow"}, {"alice", "legacy", "allow"}, {"walter", "old", "deny"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *why = must(fixture, as_local(), "access.explain",
                           json_pack("{s:s, s:s, s:s}", "user", cases[i].user, "name", cases[i].name, "login", "root"));
        assert_string_equal(json_get_text(why, "decision", ""), cases[i].decision);
        json_decref(why);
    }
    /* What somebody can reach now is without it. */
    json_t *reach = must(fixture, as_local(), "access.reach", json_pack("{s:s, s:s}", "user", "alice", "kind", "node"));
    assert_int_equal(json_get_int(reach, "total", 0), 1);
    json_decref(reach);
}

static void bounds_and_ends(void **state)
{
    struct fixture *fixture = *state;
    put_people(fixture);
    json_t *doc = server("many", "many", "dev");
    json_t *labels = json_object_get(json_object_get(doc, "metadata"), "labels");
    for (int i = 0; i < 200; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        json_object_set_new(labels, key, json_string("v"));
    }
    must_fail(fixture, as_local(), "resources.put", put(json_incref(doc)), TP_INVALID);
    json_object_del(labels, "k0");
    json_decref(must(fixture, as_local(), "resources.put", put(doc)));
    doc = server("long", "long", "dev");
    char *value = mem_printf("%05000d", 0);
    json_object_set_new(json_object_get(json_object_get(doc, "metadata"), "labels"), "k", json_string(value));
    mem_free(value);
    must_fail(fixture, as_local(), "resources.put", put(doc), TP_INVALID);
    /* What has expired is not there any more, but for who reads what is written. */
    doc = server("past", "past", "dev");
    json_object_set_new(json_object_get(doc, "metadata"), "expires", json_string("2020-01-01T00:00:00Z"));
    json_decref(must(fixture, as_local(), "resources.put", put(doc)));
    assert_int_equal(count(fixture, as_local(), "nodes.list", openssh(), NULL), 1);
    says(fixture, as_user(fixture, "alice"), "ssh.connect", target("past"), TP_NOT_FOUND, "no server named past");
    assert_int_equal(count(fixture, as_local(), "resources.get", node("past"), NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_listed_apart_and_reached_by_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_of_many, setup, teardown),
        cmocka_unit_test_setup_teardown(R15_what_somebody_wrote_takes_nothing_from_a_host, setup, teardown),
        cmocka_unit_test_setup_teardown(who_may_write_them, setup, teardown),
        cmocka_unit_test_setup_teardown(decided_about_like_a_host, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_and_ends, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Kubernetes clusters: who registers them, who may reach them, and how lists show it. */
#include "auth_kube_help.h"

/* A token is good for exactly its roles, and a host registers only what it joined for. */
static void roles_of_tokens_and_hosts(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    char *node = make_token(fixture, json_pack("[s]", "node"));
    char *kube = make_token(fixture, json_pack("[s]", "Kube"));
    char *both = make_token(fixture, json_pack("[s, s]", "node", "kube"));
    must_fail(fixture, as_nobody("10.0.0.2"), "host.join", join_as(node, HOST_A, "a", "kube", &keys), TP_DENIED);
    must_fail(fixture, as_nobody("10.0.0.2"), "host.join", join_as(node, HOST_A, "a", "node,kube", &keys), TP_DENIED);
    must_fail(fixture, as_nobody("10.0.0.2"), "host.join", join_as(kube, HOST_A, "a", "node", &keys), TP_DENIED);
    must_fail(fixture, as_nobody("10.0.0.2"), "host.join", join_as(both, HOST_A, "a", "proxy", &keys), TP_INVALID);
    must_fail(fixture, as_nobody("10.0.0.2"), "host.join", join_as(both, HOST_A, "a", "", &keys), TP_INVALID);
    json_decref(must(fixture, as_nobody("10.0.0.2"), "host.join", join_as(node, HOST_A, "a", "node", &keys)));
    json_t *joined = must(fixture, as_nobody("10.0.0.2"), "host.join", join_as(kube, HOST_B, "b", "kube", &keys));
    struct buf der;
    struct identity identity;
    struct tp_error error = {0};
    const char *pem = json_get_text(joined, "tls_cert", "");
    buf_init(&der, 65536);
    assert_int_equal(x509_pem_to_der(pem, strlen(pem), &der, &error), TP_OK);
    assert_int_equal(x509_check(buf_head(&der), buf_size(&der), fixture->auth->ca[CA_HOST].keys.tls_pem, clock_wall(),
                                &identity, &error),
                     TP_OK);
    assert_int_equal(json_array_size(identity.roles), 1);
    assert_string_equal(json_string_value(json_array_get(identity.roles, 0)), "Kube");
    identity_free(&identity);
    buf_free(&der);
    json_decref(joined);
    must_fail(fixture, as_host(HOST_A, "a"), "host.heartbeat", beat("a", "ssh", json_pack("[o]", cluster("c", "dev"))),
              TP_DENIED);
    must_fail(fixture, as_host(HOST_A, "a"), "host.heartbeat", beat("a", "kube", json_array()), TP_DENIED);
    must_fail(fixture, as_host(HOST_B, "b"), "host.heartbeat", beat("b", "ssh", json_array()), TP_DENIED);
    json_decref(must(fixture, as_host(HOST_B, "b"), "host.heartbeat",
                     beat("b", "kube", json_pack("[o]", cluster("c", "dev")))));
    assert_int_equal(count_items(fixture, "kube_server"), 1);
    assert_int_equal(count_items(fixture, "node"), 1); /* b is no node */
    /* A renewal keeps the role; a restart too. */
    json_decref(must(fixture, as_host(HOST_B, "b"), "host.renew",
                     json_pack("{s:s, s:s, s:s}", "tls_pub_key", keys.tls, "ssh_pub_key", keys.ssh, "node_name", "b")));
    must_fail(fixture, as_host(HOST_B, "b"), "host.heartbeat", beat("b", "ssh", json_array()), TP_DENIED);
    fixture_shut(fixture);
    fixture_open(fixture);
    must_fail(fixture, as_host(HOST_B, "b"), "host.heartbeat", beat("b", "ssh", json_array()), TP_DENIED);
    assert_int_equal(count_items(fixture, "kube_server"), 1);
    mem_free(node);
    mem_free(kube);
    mem_free(both);
    keys_free(&keys);
}

static void reports_are_bounded_and_checked(void **state)
{
    struct fixture *fixture = *state;
    join(fixture, HOST_A, "a", "kube");
    const char *const bad[] = {"", "a b", "a\x1b[31m", "-a", "../x y"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        must_fail(fixture, as_host(HOST_A, "a"), "host.heartbeat",
                  beat("a", "kube", json_pack("[o]", cluster(bad[i], "dev"))), TP_INVALID);
    }
    must_fail(fixture, as_host(HOST_A, "a"), "host.heartbeat",
              beat("a", "kube", json_pack("[o, o]", cluster("x", "dev"), cluster("x", "prod"))), TP_INVALID);
    must_fail(fixture, as_host(HOST_A, "a"), "host.heartbeat", beat("a", "kube", json_pack("{}")), TP_INVALID);
    json_t *many = json_array();
    for (int i = 0; i < 257; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%d", i);
        json_array_append_new(many, cluster(name, "dev"));
    }
    must_fail(fixture, as_host(HOST_A, "a"), "host.heartbeat", beat("a", "kube", json_deep_copy(many)), TP_INVALID);
    json_array_remove(many, 256);
    json_decref(must(fixture, as_host(HOST_A, "a"), "host.heartbeat", beat("a", "kube", many)));
    assert_int_equal(count_items(fixture, "kube_server"), 256);
    json_t *label = cluster("x", "dev");
    char *long_text = mem_alloc(5000);
    memset(long_text, 'v', 4999);
    json_object_set_new(json_object_get(label, "labels"), "big", json_string(long_text));
    mem_free(long_text);
    must_fail(fixture, as_host(HOST_A, "a"), "host.heartbeat", beat("a", "kube", json_pack("[o]", label)), TP_INVALID);
    assert_int_equal(count_items(fixture, "kube_server"), 256); /* a bad report changes nothing */
    json_decref(must(fixture, as_host(HOST_A, "a"), "host.heartbeat", beat("a", "kube", json_array())));
    assert_int_equal(count_items(fixture, "kube_server"), 0);
}

static void grant_says_what_roles_say(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", allows("dev", "developer"), NULL, NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
    serve(fixture, HOST_A, "a", json_pack("[o, o]", cluster("dev1", "dev"), cluster("prod1", "prod")));
    must_fail(fixture, as_user(fixture, "alice"), "kube.connect", target("dev1"), TP_UNAVAILABLE);
    up(fixture, HOST_A, "a", 1);
    json_t *result = must(fixture, as_user(fixture, "alice"), "kube.connect", target("dev1"));
    json_t *grant = open_grant(fixture, result, HOST_A);
    assert_string_equal(json_get_text(grant, "user", ""), "alice");
    assert_string_equal(json_get_text(grant, "kube_cluster", ""), "dev1");
    assert_true(json_list_has(json_object_get(grant, "kube_groups"), "developer"));
    assert_non_null(json_object_get(json_object_get(grant, "kube_resources"), "allowed"));
    assert_non_null(json_object_get(json_object_get(grant, "options"), "record"));
    json_decref(grant);
    json_decref(result);
    /* What he may not know is not there, as what is not there. */
    struct tp_error hidden = {0};
    struct tp_error absent = {0};
    assert_null(ask(fixture, as_user(fixture, "alice"), "kube.connect", target("prod1"), &hidden));
    assert_null(ask(fixture, as_user(fixture, "alice"), "kube.connect", target("prod2"), &absent));
    assert_int_equal(hidden.code, TP_NOT_FOUND);
    assert_int_equal(absent.code, TP_NOT_FOUND);
    hidden.text[strcspn(hidden.text, "1")] = '2';
    assert_string_equal(hidden.text, absent.text);
    /* Both are on record: who, which cluster, and why. */
    json_t *events =
        must(fixture, as_local(), "audit.list", json_pack("{s:[s, s]}", "types", "session.connect", "auth"));
    json_t *items = json_object_get(events, "items");
    assert_int_equal(json_array_size(items), 4);
    json_t *last = json_array_get(items, 2);
    assert_string_equal(json_get_text(last, "event", ""), "session.connect");
    assert_string_equal(json_get_text(last, "proto", ""), "kube");
    assert_string_equal(json_get_text(last, "kubernetes_cluster", ""), "dev1");
    assert_true(json_list_has(json_object_get(last, "kubernetes_groups"), "developer"));
    json_decref(events);
}

static void who_may_and_who_not(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture, HOST_A, "a", json_pack("[o]", cluster("dev1", "dev")));
    up(fixture, HOST_A, "a", 1);
    put_role(fixture, "good", allows("dev", "developer"), NULL, NULL);
    put_role(fixture, "nobody", json_pack("{s:{s:s}}", "kubernetes_labels", "env", "dev"), NULL, NULL);
    put_role(fixture, "denied", allows("dev", "developer"), json_pack("{s:{s:s}}", "kubernetes_labels", "env", "dev"),
             NULL);
    put_role(fixture, "mfa", allows("dev", "developer"), NULL, json_pack("{s:b}", "require_session_mfa", 1));
    put_role(fixture, "few", allows("dev", "developer"), NULL, json_pack("{s:i}", "max_kubernetes_connections", 2));
    static const struct {
        const char *role;
        enum tp_err code;
    } table[] = {{"good", TP_OK}, {"nobody", TP_DENIED}, {"denied", TP_NOT_FOUND}, {"mfa", TP_MFA_NEEDED}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        mem_free(make_user(fixture, table[i].role, table[i].role, "root"));
        struct tp_error error = {0};
        json_t *result = ask(fixture, as_user(fixture, table[i].role), "kube.connect", target("dev1"), &error);
        if (error.code != table[i].code) {
            fail_msg("%s: %s: %s", table[i].role, err_name(error.code), error.text);
        }
        json_decref(result);
    }
    mem_free(make_user(fixture, "few", "few", "root"));
    json_decref(must(fixture, as_user(fixture, "few"), "kube.connect", target("dev1")));
    json_decref(must(fixture, as_user(fixture, "few"), "kube.connect", target("dev1")));
    must_fail(fixture, as_user(fixture, "few"), "kube.connect", target("dev1"), TP_LIMIT);
    /* A lock on the host that serves it. */
    json_decref(must(fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "server_id", HOST_A)));
    must_fail(fixture, as_user(fixture, "good"), "kube.connect", target("dev1"), TP_DENIED);
    /* Nobody but a user by a worker's line. */
    must_fail(fixture, as_nobody("10.0.0.1"), "kube.connect", target("dev1"), TP_UNAUTHENTICATED);
    must_fail(fixture, as_host(HOST_A, "a"), "kube.connect", target("dev1"), TP_DENIED);
    must_fail(fixture, as_local(), "kube.connect", target("dev1"), TP_DENIED);
}

/* Several agents: one with a tunnel in the asking worker first, one that was just found dead last, the offline never. */
static void any_agent_that_is_online(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", allows("dev", "developer"), NULL, NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
    serve(fixture, HOST_A, "a", json_pack("[o]", cluster("c", "dev")));
    serve(fixture, HOST_B, "b", json_pack("[o]", cluster("c", "dev")));
    up(fixture, HOST_B, "b", 7);
    for (int i = 0; i < 4; i++) {
        json_t *result = must(fixture, as_user(fixture, "alice"), "kube.connect", target("c"));
        assert_string_equal(json_get_text(result, "host_id", ""), HOST_B);
        json_decref(result);
    }
    up(fixture, HOST_A, "a", 1);
    for (int i = 0; i < 4; i++) {
        json_t *result = must(fixture, as_user(fixture, "alice"), "kube.connect", target("c"));
        assert_string_equal(json_get_text(result, "host_id", ""), HOST_A);
        json_decref(result);
    }
    json_t *again = target("c");
    json_object_set_new(again, "except", json_pack("[s]", HOST_A));
    json_t *result = must(fixture, as_user(fixture, "alice"), "kube.connect", again);
    assert_string_equal(json_get_text(result, "host_id", ""), HOST_B);
    json_decref(result);
    /* Equals share. */
    up(fixture, HOST_B, "b", 1);
    unsigned seen = 0;
    for (int i = 0; i < 64; i++) {
        result = must(fixture, as_user(fixture, "alice"), "kube.connect", target("c"));
        seen |= strcmp(json_get_text(result, "host_id", ""), HOST_A) == 0 ? 1 : 2;
        json_decref(result);
    }
    assert_int_equal(seen, 3);
    /* R15: the name alone is not enough, the labels of that agent's registration decide. */
    json_decref(must(fixture, as_host(HOST_A, "a"), "host.heartbeat",
                     beat("a", "kube", json_pack("[o]", cluster("c", "prod")))));
    for (int i = 0; i < 8; i++) {
        result = must(fixture, as_user(fixture, "alice"), "kube.connect", target("c"));
        assert_string_equal(json_get_text(result, "host_id", ""), HOST_B);
        json_decref(result);
    }
}

static void lists_show_reach(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", allows("dev", "developer"), NULL, NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
    serve(fixture, HOST_A, "a",
          json_pack("[o, o, o]", cluster("c1", "dev"), cluster("c2", "dev"), cluster("p", "prod")));
    serve(fixture, HOST_B, "b", json_pack("[o]", cluster("c1", "dev")));
    up(fixture, HOST_B, "b", 1);
    json_t *list = must(fixture, as_user(fixture, "alice"), "kube.list", json_object());
    json_t *items = json_object_get(list, "items");
    assert_int_equal(json_array_size(items), 2);
    assert_int_equal(json_get_int(list, "total", 0), 2);
    json_t *first = json_array_get(items, 0);
    assert_string_equal(json_get_text(first, "name", ""), "c1");
    assert_true(json_get_bool(first, "online", false));
    assert_true(json_list_has(json_object_get(first, "kubernetes_groups"), "developer"));
    assert_false(json_get_bool(json_array_get(items, 1), "online", true));
    json_decref(list);
    list = must(fixture, as_user(fixture, "alice"), "kube.list", json_pack("{s:i}", "limit", 1));
    assert_string_equal(json_get_text(list, "start_key", ""), "c1");
    json_t *next = must(fixture, as_user(fixture, "alice"), "kube.list",
                        json_pack("{s:i, s:s}", "limit", 1, "start_key", json_get_text(list, "start_key", "")));
    assert_string_equal(json_get_text(json_array_get(json_object_get(next, "items"), 0), "name", ""), "c2");
    assert_string_equal(json_get_text(next, "start_key", "x"), "");
    json_decref(list);
    json_decref(next);
    list =
        must(fixture, as_local(), "kube.list", json_pack("{s:{s:s}, s:[s]}", "labels", "env", "prod", "search", "P"));
    assert_int_equal(json_array_size(json_object_get(list, "items")), 1);
    json_decref(list);
    json_t *got = must(fixture, as_user(fixture, "alice"), "resources.get", json_pack("{s:s}", "kind", "kube_server"));
    assert_int_equal(json_array_size(json_object_get(got, "items")), 3); /* c1 twice, c2; not p */
    json_decref(got);
    json_t *status = must(fixture, as_user(fixture, "alice"), "user.status", json_object());
    assert_true(json_list_has(json_object_get(status, "kubernetes_groups"), "developer"));
    json_decref(status);
}

static json_t *reach_of(struct fixture *fixture, const char *asker, const char *whose, const char *name)
{
    struct caller caller = asker != NULL ? as_user(fixture, asker) : as_local();
    return must(fixture, caller, "access.reach", json_pack("{s:s, s:s}", whose, name, "kind", "kube_cluster"));
}

/* What a user and a role reach, by name, each cluster once however many agents serve it; the asker's own reach bounds it. */
static void reach_of_users_and_roles(void **state)
{
    struct fixture *fixture = *state;
    put_role(fixture, "dev", allows("dev", "developer"), NULL, NULL);
    put_role(fixture, "prod", allows("prod", "admins"), NULL, NULL);
    put_role(fixture, "boss",
             json_pack("{s:[{s:[s, s], s:[s, s]}], s:{s:s}, s:[s]}", "rules", "resources", "user", "role", "verbs",
                       "list", "read", "kubernetes_labels", "env", "dev", "kubernetes_groups", "x"),
             NULL, NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
    mem_free(make_user(fixture, "bob", "prod", "root"));
    mem_free(make_user(fixture, "boss", "boss", "root"));
    serve(fixture, HOST_A, "a", json_pack("[o, o, o]", cluster("z", "dev"), cluster("p", "prod"), cluster("b", "dev")));
    serve(fixture, HOST_B, "b", json_pack("[o]", cluster("z", "dev")));
    json_t *reach = reach_of(fixture, NULL, "user", "alice");
    const json_t *items = json_object_get(reach, "items");
    assert_int_equal(json_array_size(items), 2);
    assert_string_equal(json_get_text(json_array_get(items, 0), "name", ""), "b");
    assert_string_equal(json_get_text(json_array_get(items, 1), "name", ""), "z");
    assert_true(json_list_has(json_object_get(json_array_get(items, 0), "groups"), "developer"));
    json_decref(reach);
    reach = reach_of(fixture, NULL, "role", "prod");
    assert_int_equal(json_array_size(json_object_get(reach, "items")), 1);
    assert_true(json_list_has(json_object_get(reach, "users"), "bob"));
    json_decref(reach);
    /* The boss sees clusters of development only, and so only those of others' reach. */
    reach = reach_of(fixture, "boss", "user", "bob");
    assert_int_equal(json_get_int(reach, "total", -1), 0);
    json_decref(reach);
    reach = reach_of(fixture, "boss", "role", "dev");
    assert_int_equal(json_get_int(reach, "total", -1), 2);
    json_decref(reach);
    must_fail(fixture, as_user(fixture, "alice"), "access.reach", json_pack("{s:s}", "user", "alice"), TP_DENIED);
    must_fail(fixture, as_user(fixture, "boss"), "access.explain",
              json_pack("{s:s, s:s, s:s}", "user", "bob", "kind", "kube_cluster", "name", "p"), TP_NOT_FOUND);
    json_t *why = must(fixture, as_user(fixture, "boss"), "access.explain",
                       json_pack("{s:s, s:s, s:s}", "user", "bob", "kind", "kube_cluster", "name", "z"));
    assert_string_equal(json_get_text(why, "decision", ""), "deny");
    assert_string_equal(json_get_text(why, "reason", ""), "no_labels");
    json_decref(why);
}

/* A certificate out of the browser, as the caller that a worker makes of it. */
static enum tp_err come_with(struct fixture *fixture, const json_t *made, struct caller *ret_caller)
{
    struct link link = {.auth = fixture->auth, .kind = LINK_WORKER, .worker = 1};
    struct tp_error error = {0};
    struct buf der;
    const char *pem = json_get_text(made, "tls_cert", "");
    buf_init(&der, 65536);
    assert_int_equal(x509_pem_to_der(pem, strlen(pem), &der, &error), TP_OK);
    char *text = enc_base64(buf_head(&der), buf_size(&der));
    json_t *json = json_pack("{s:s, s:s, s:s}", "kind", "user", "cert", text, "addr", "10.0.0.9:1234");
    enum tp_err err = caller_verify(fixture->auth, &link, json, ret_caller, &error);
    json_decref(json);
    mem_free(text);
    buf_free(&der);
    return err;
}

static struct caller as_browser(struct fixture *fixture, const char *name)
{
    struct caller caller = as_user(fixture, name);
    caller.web_key = mem_strdup("a web session");
    return caller;
}

/* R4: what the browser's kubeconfig holds opens one cluster, for an hour, and nothing else; it buys no further one. */
static void r4_a_certificate_for_one_cluster(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    struct caller caller;
    json_t *params = json_pack("{s:s, s:s}", "kube_cluster", "dev1", "tls_pub_key", keys.tls);
    put_role(fixture, "dev", allows("dev", "developer"), NULL, NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
    serve(fixture, HOST_A, "a",
          json_pack("[o, o, o]", cluster("dev1", "dev"), cluster("dev2", "dev"), cluster("prod1", "prod")));
    up(fixture, HOST_A, "a", 1);
    /* Not for who has a certificate, nor for what he cannot reach. */
    must_fail(fixture, as_user(fixture, "alice"), "kube.certs", json_incref(params), TP_DENIED);
    must_fail(fixture, as_browser(fixture, "alice"), "kube.certs",
              json_pack("{s:s, s:s}", "kube_cluster", "prod1", "tls_pub_key", keys.tls), TP_NOT_FOUND);
    must_fail(fixture, as_browser(fixture, "alice"), "kube.certs",
              json_pack("{s:s, s:s}", "kube_cluster", "dev1", "tls_pub_key", "nonsense"), TP_INVALID);
    struct caller ending = as_browser(fixture, "alice");
    ending.not_after = clock_wall(); /* ends in this second: no time left must not mean the usual time */
    must_fail(fixture, ending, "kube.certs", json_incref(params), TP_UNAUTHENTICATED);
    json_t *made = must(fixture, as_browser(fixture, "alice"), "kube.certs", json_incref(params));
    assert_null(json_object_get(made, "cert")); /* no SSH */
    assert_string_equal(json_get_text(made, "server_name", ""), "64657631.kube.demo.test");
    /* The hour of as_user is the web session's end. */
    assert_int_equal(come_with(fixture, made, &caller), TP_OK);
    assert_true(caller.not_after > clock_wall() + 3500 && caller.not_after <= clock_wall() + 3600);
    assert_int_equal(caller.target.reason, TARGET_OF_FILE);
    assert_string_equal(caller.target.kube, "dev1");
    assert_null(caller.target.node);
    json_decref(must(fixture, caller, "kube.connect", target("dev1")));
    assert_int_equal(come_with(fixture, made, &caller), TP_OK);
    must_fail(fixture, caller, "kube.connect", target("dev2"), TP_DENIED);
    json_decref(must(fixture, as_user(fixture, "alice"), "kube.connect", target("dev2")));
    for (const struct method *method = methods; method->name != NULL; method++) {
        if (strcmp(method->name, "kube.connect") != 0) {
            assert_int_equal(come_with(fixture, made, &caller), TP_OK);
            json_t *asked = json_copy(params);
            json_object_set_new(asked, "target",
                                json_string("a")); /* a node that alice may list learns nothing either */
            must_fail(fixture, caller, method->name, asked, TP_DENIED);
        }
    }
    /* A session that ends sooner gives less; roles too. */
    struct caller late = as_browser(fixture, "alice");
    late.not_after = clock_wall() + 60;
    json_t *brief = must(fixture, late, "kube.certs", json_incref(params));
    assert_int_equal(come_with(fixture, brief, &caller), TP_OK);
    assert_true(caller.not_after <= clock_wall() + 60);
    caller_free(&caller);
    json_decref(brief);
    put_role(fixture, "dev", allows("dev", "developer"), NULL, json_pack("{s:s}", "max_session_ttl", "10m"));
    brief = must(fixture, as_browser(fixture, "alice"), "kube.certs", json_incref(params));
    assert_int_equal(come_with(fixture, brief, &caller), TP_OK);
    assert_true(caller.not_after <= clock_wall() + 600);
    caller_free(&caller);
    json_decref(brief);
    /* On record, with what it is for. */
    json_t *events = must(fixture, as_local(), "audit.list", json_pack("{s:[s]}", "types", "cert.create"));
    const json_t *event = json_array_get(json_object_get(events, "items"), 0);
    assert_string_equal(json_get_text(json_object_get(event, "identity"), "kubernetes_cluster", ""), "dev1");
    json_decref(events);
    /* It is for one target as one of a code is, but stands for no code. */
    put_role(fixture, "dev", allows("dev", "developer"), NULL, json_pack("{s:b}", "require_session_mfa", 1));
    assert_int_equal(come_with(fixture, made, &caller), TP_OK);
    must_fail(fixture, caller, "kube.connect", target("dev1"), TP_MFA_NEEDED);
    /* Who loses the right, or is locked or reset, has nothing of it. */
    put_role(fixture, "dev", allows("prod", "developer"), NULL, NULL);
    assert_int_equal(come_with(fixture, made, &caller), TP_OK);
    must_fail(fixture, caller, "kube.connect", target("dev1"), TP_NOT_FOUND);
    json_decref(must(fixture, as_local(), "locks.add", json_pack("{s:{s:s}}", "target", "user", "alice")));
    assert_int_equal(come_with(fixture, made, &caller), TP_DENIED);
    json_decref(made);
    json_decref(params);
    keys_free(&keys);
}

static void labels_of_server_names(void **state)
{
    char label[KUBE_LABEL_SIZE];
    (void)state;
    kube_label("dev", label);
    assert_string_equal(label, "646576");
    kube_label("1234567890123456789012345678901", label);
    assert_int_equal(strlen(label), 62);
    kube_label("12345678901234567890123456789012", label);
    assert_string_equal(label, "he1b85b27d6bcb05846c18e6a48f118e8");
    char *name = kube_label_name("646576");
    assert_string_equal(name, "dev");
    mem_free(name);
    name = kube_label_name("0a0d");
    assert_string_equal(name, "0a0d");
    mem_free(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(roles_of_tokens_and_hosts, setup, teardown),
        cmocka_unit_test_setup_teardown(reports_are_bounded_and_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(grant_says_what_roles_say, setup, teardown),
        cmocka_unit_test_setup_teardown(who_may_and_who_not, setup, teardown),
        cmocka_unit_test_setup_teardown(any_agent_that_is_online, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_show_reach, setup, teardown),
        cmocka_unit_test_setup_teardown(reach_of_users_and_roles, setup, teardown),
        cmocka_unit_test_setup_teardown(r4_a_certificate_for_one_cluster, setup, teardown),
        cmocka_unit_test(labels_of_server_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

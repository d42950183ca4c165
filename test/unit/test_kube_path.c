/* Requests to the Kubernetes API: what they ask for, whose headers pass, what errors look like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "kube/kube_headers.h"
#include "kube/kube_path.h"
#include "kube/kube_status.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *method, *path, *query;
    const char *group, *ns, *kind, *name, *verb;
    bool collection, watch;
} good[] = {
    {"GET", "/api/v1/namespaces/default/pods", "limit=500", "", "default", "pods", "", "list", true, false},
    {"GET", "/api/v1/pods", NULL, "", "", "pods", "", "list", true, false},
    {"GET", "/api/v1/namespaces/default/pods/web", NULL, "", "default", "pods", "web", "get", false, false},
    {"HEAD", "/api/v1/namespaces/default/pods/web/", NULL, "", "default", "pods", "web", "get", false, false},
    {"GET", "/api/v1/namespaces/default/pods", "watch=true", "", "default", "pods", "", "watch", true, true},
    {"GET", "/api/v1/namespaces/default/pods", "watch=", "", "default", "pods", "", "watch", true, true},
    {"GET", "/api/v1/namespaces/default/pods", "watch", "", "default", "pods", "", "watch", true, true},
    {"GET", "/api/v1/namespaces/default/pods", "watch=False", "", "default", "pods", "", "list", true, false},
    {"GET", "/api/v1/namespaces/default/pods", "%77atch=1", "", "default", "pods", "", "watch", true, true},
    {"GET", "/api/v1/namespaces/default/pods/web", "watch=1", "", "default", "pods", "web", "get", false, false},
    {"GET", "/api/v1/watch/namespaces/default/pods", NULL, "", "default", "pods", "", "watch", true, true},
    {"GET", "/api/v1/watch/namespaces/default/pods/web", NULL, "", "default", "pods", "web", "watch", false, true},
    {"POST", "/api/v1/namespaces/default/pods", NULL, "", "default", "pods", "", "create", false, false},
    {"PUT", "/api/v1/namespaces/default/pods/web/status", NULL, "", "default", "pods/status", "web", "update", false,
     false},
    {"PATCH", "/apis/apps/v1/namespaces/d/deployments/x", NULL, "apps", "d", "deployments", "x", "patch", false, false},
    {"DELETE", "/apis/apps/v1/namespaces/d/deployments/x", NULL, "apps", "d", "deployments", "x", "delete", false,
     false},
    {"DELETE", "/apis/apps/v1/namespaces/d/deployments", NULL, "apps", "d", "deployments", "", "deletecollection", true,
     false},
    {"GET", "/api/v1/namespaces", NULL, "", "", "namespaces", "", "list", true, false},
    {"GET", "/api/v1/namespaces/dev", NULL, "", "", "namespaces", "dev", "get", false, false},
    {"PUT", "/api/v1/namespaces/dev/finalize", NULL, "", "", "namespaces/finalize", "dev", "update", false, false},
    {"GET", "/api/v1/nodes/n1", NULL, "", "", "nodes", "n1", "get", false, false},
    {"GET", "/api/v1/namespaces/d/pods/web/exec", "command=sh&tty=1", "", "d", "pods/exec", "web", "exec", false,
     false},
    {"POST", "/api/v1/namespaces/d/pods/web/exec", "command=sh", "", "d", "pods/exec", "web", "exec", false, false},
    {"POST", "/api/v1/namespaces/d/pods/web/attach", NULL, "", "d", "pods/attach", "web", "exec", false, false},
    {"GET", "/api/v1/namespaces/d/pods/web/portforward", NULL, "", "d", "pods/portforward", "web", "portforward", false,
     false},
    {"GET", "/api/v1/namespaces/d/pods/web/log", "follow=true", "", "d", "pods/log", "web", "get", false, false},
    {"GET", "/api/v1/namespaces/d/services/s:80/proxy/a/b/c/d/e", NULL, "", "d", "services/proxy", "s:80", "get", false,
     false},
    {"GET", "/api/v1/namespaces/d/services/https:s:443/proxy/", NULL, "", "d", "services/proxy", "https:s:443", "get",
     false, false},
    {"POST", "/api/v1/namespaces/d/pods/p:http/proxy", NULL, "", "d", "pods/proxy", "p:http", "create", false, false},
    {"GET", "/api/v1/nodes/https:n1:10250/proxy/metrics", NULL, "", "", "nodes/proxy", "https:n1:10250", "get", false,
     false},
    {"GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node:x", NULL, "rbac.authorization.k8s.io", "",
     "clusterroles", "system:node:x", "get", false, false},
    {"GET", "/apis/example.com/v1/namespaces/d/pods/web/exec", NULL, "example.com", "d", "pods/exec", "web", "get",
     false, false},
    {"GET", "/api", NULL, "", "", "", "", "get", false, false},
    {"GET", "/apis/apps/v1", NULL, "", "", "", "", "get", false, false},
    {"GET", "/version", "timeout=5s", "", "", "", "", "get", false, false},
};

static void test_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct kube_request *request = NULL;
        struct tp_error error = {0};
        if (kube_request_parse(good[i].method, good[i].path, good[i].query, &request, &error))
            fail_msg("%s: %s", good[i].path, error.text);
        if (strcmp(request->api_group, good[i].group) != 0 || strcmp(request->ns, good[i].ns) != 0 ||
            strcmp(request->kind, good[i].kind) != 0 || strcmp(request->name, good[i].name) != 0 ||
            strcmp(request->verb, good[i].verb) != 0 || request->collection != good[i].collection ||
            request->is_watch != good[i].watch)
            fail_msg("%s %s?%s: group %s ns %s kind %s name %s verb %s %d %d", good[i].method, good[i].path,
                     good[i].query, request->api_group, request->ns, request->kind, request->name, request->verb,
                     request->collection, request->is_watch);
        kube_request_free(request);
    }
}

static void test_paths_that_two_readers_could_take_differently(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *query;
    } bad[] = {{"GET", "api/v1/pods", NULL},
               {"GET", "/api/v1//pods", NULL},
               {"GET", "/api/v1/namespaces/../secrets", NULL},
               {"GET", "/api/v1/./pods", NULL},
               {"GET", "/api/v1/pods;x=1", NULL},
               {"GET", "/api/v1/pods\\x", NULL},
               {"GET", "/api/v1/pods?x", NULL},
               {"GET", "/api/v1/pods\x01", NULL},
               {"GET", "/api/v1/pods", "watch=0;watch=1"},
               {"GET", "/api/v1/pods", "watch=%zz"},
               {"GET", "/api/v1/pods", "a=%00"},
               {"GET", "/api/v1/pods", "a=%4"},
               {"CONNECT", "/api/v1/pods", NULL},
               {"get", "/api/v1/pods", NULL},
               {"GET", "/api/v1/proxy/namespaces/d/pods/x", NULL},
               {"GET", "/api/v1/watch", NULL}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kube_request *request = NULL;
        struct tp_error error = {0};
        if (kube_request_parse(bad[i].method, bad[i].path, bad[i].query, &request, &error) != TP_INVALID)
            fail_msg("%s %s was taken", bad[i].method, bad[i].path);
        assert_true(strlen(error.text) > 10);
    }
}

static void test_session_fields(void **state)
{
    (void)state;
    struct kube_request *request = NULL;
    assert_int_equal(kube_request_parse("POST", "/api/v1/namespaces/d/pods/web/exec",
                                        "command=sh&command=-c&command=echo+a%20%3B&container=main&tty=true&ports=80",
                                        &request, NULL),
                     TP_OK);
    assert_true(kube_request_is_session(request));
    assert_string_equal(request->command, "sh -c echo a ;");
    assert_string_equal(request->container, "main");
    assert_true(request->tty);
    assert_int_equal(request->port_count, 1);
    kube_request_free(request);
}

static void test_check(void **state)
{
    (void)state;
    json_t *json =
        json_loads("{\"allowed\": [{\"kind\": \"pods\", \"api_group\": \"\", \"namespace\": \"dev\", \"name\": "
                   "\"*\", \"verbs\": [\"get\", \"list\", \"deletecollection\"]}], \"denied\": []}",
                   0, NULL);
    static const struct {
        const char *method, *path;
        enum rbac_kube_answer answer;
    } rows[] = {{"GET", "/api/v1/namespaces/dev/pods", RBAC_KUBE_ALLOW},
                {"GET", "/api/v1/pods", RBAC_KUBE_FILTER},
                {"DELETE", "/api/v1/namespaces/dev/pods", RBAC_KUBE_ALLOW},
                {"DELETE", "/api/v1/pods", RBAC_KUBE_DENY},
                {"GET", "/api/v1/namespaces/dev/secrets", RBAC_KUBE_DENY},
                {"GET", "/api/v1/namespaces/dev/pods/p/exec", RBAC_KUBE_DENY},
                {"POST", "/api/v1/namespaces/dev/pods/p/exec", RBAC_KUBE_DENY},
                {"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", RBAC_KUBE_ALLOW},
                {"POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", RBAC_KUBE_DENY},
                {"GET", "/apis", RBAC_KUBE_ALLOW}};
    struct rbac_kube_rules *rules = NULL;
    assert_int_equal(rbac_kube_rules_new(json, &rules, NULL), TP_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_request *request = NULL;
        struct tp_error error = {0};
        assert_int_equal(kube_request_parse(rows[i].method, rows[i].path, NULL, &request, NULL), TP_OK);
        if (kube_request_check(rules, request, &error) != rows[i].answer)
            fail_msg("%s %s", rows[i].method, rows[i].path);
        assert_int_equal(strlen(error.text) > 0, rows[i].answer == RBAC_KUBE_DENY);
        kube_request_free(request);
    }
    rbac_kube_rules_free(rules);
    json_decref(json);
}

/* ---- headers ---- */

#define ALICE "{\"user\": \"alice\", \"kube_users\": [], \"kube_groups\": [\"dev\", \"ops\"]}"
#define ONE "{\"user\": \"alice\", \"kube_users\": [\"k\"], \"kube_groups\": [\"dev\"]}"
#define TWO "{\"user\": \"alice\", \"kube_users\": [\"k\", \"l\"], \"kube_groups\": [\"dev\"]}"

static const struct {
    const char *grant;
    const char *headers[4][2];
    const char *result; /* "user: groups", or NULL: refused */
} identities[] = {
    {ALICE, {{0}}, "alice: dev ops system:authenticated"},
    {ONE, {{0}}, "k: dev system:authenticated"},
    {TWO, {{0}}, NULL},
    {TWO, {{"impersonate-user", "l"}}, "l: dev system:authenticated"},
    {TWO, {{"impersonate-user", ""}, {"impersonate-user", "l"}}, "l: dev system:authenticated"},
    {TWO, {{"impersonate-user", "k"}, {"impersonate-user", "l"}}, NULL},
    {TWO, {{"impersonate-user", "alice"}}, NULL},
    {TWO, {{"impersonate-user", "K"}}, NULL},
    {ALICE, {{"impersonate-user", "alice"}}, "alice: dev ops system:authenticated"},
    {ALICE, {{"impersonate-user", "bob"}}, NULL},
    {ALICE, {{"impersonate-group", "ops"}}, "alice: ops system:authenticated"},
    {ALICE, {{"impersonate-group", "ops"}, {"impersonate-group", "dev"}}, "alice: ops dev system:authenticated"},
    {ALICE, {{"impersonate-group", "system:masters"}}, NULL},
    {ALICE, {{"impersonate-group", "ops"}, {"impersonate-group", "system:masters"}}, NULL},
    {ALICE, {{"impersonate-uid", "1"}}, NULL},
    {ALICE, {{"impersonate-extra-scopes", "x"}}, NULL},
    {ALICE, {{"impersonate_user", "bob"}}, NULL},
    {"{}", {{0}}, NULL},
};

/* "You may not list pods" was said of pods.metrics.k8s.io to people who list pods every day. */
static void test_refusals_say_which_group(void **state)
{
    static const struct {
        struct kube_wish wish;
        const char *text;
    } rows[] = {
        {{"list", "", "pods", "", "", "default"}, "list pods in namespace default"},
        {{"list", "metrics.k8s.io", "pods", "", "", "default"}, "list pods.metrics.k8s.io in namespace default"},
        {{"patch", "apps", "deployments", "scale", "web", "a"}, "patch deployments.apps/scale web in namespace a"},
        {{"exec", "", "pods", "exec", "web-1", "a"}, "exec pods web-1 in namespace a"},
        {{"exec", "", "pods", "attach", "web-1", "a"}, "exec pods/attach web-1 in namespace a"},
        {{"get", "", "nodes", "", "n1", ""}, "get nodes n1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *text = kube_wish_refusal(&rows[i].wish);
        char *wanted = mem_printf("your roles do not let you %s", rows[i].text);
        assert_string_equal(text, wanted);
        mem_free(wanted);
        mem_free(text);
    }
}

static void test_identity(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof identities / sizeof *identities; i++) {
        struct http_header headers[4];
        struct http_request request = {.headers = headers};
        struct kube_identity identity = {0};
        struct tp_error error = {0};
        json_t *grant = json_loads(identities[i].grant, 0, NULL);
        for (size_t j = 0; j < 4 && identities[i].headers[j][0]; j++)
            headers[request.header_count++] =
                (struct http_header){identities[i].headers[j][0], identities[i].headers[j][1]};
        if (kube_identity_decide(grant, &request, &identity, &error)) {
            if (identities[i].result)
                fail_msg("row %zu: %s", i, error.text);
            assert_int_equal(error.code, TP_DENIED);
        } else {
            char text[256];
            size_t used = (size_t)snprintf(text, sizeof text, "%s:", identity.user);
            for (size_t j = 0; j < identity.group_count; j++)
                used += (size_t)snprintf(text + used, sizeof text - used, " %s", identity.groups[j]);
            if (!identities[i].result || strcmp(text, identities[i].result) != 0)
                fail_msg("row %zu: %s", i, text);
        }
        kube_identity_free(&identity);
        json_decref(grant);
    }
}

static void test_R10_identity_headers_are_dropped_in_every_spelling(void **state)
{
    (void)state;
    static const char *const dropped[] = {"impersonate-user",  "impersonate_user",  "impersonate-extra-a",
                                          "authorization",     "x-remote-user",     "x_remote_user",
                                          "x-remote-extra-a",  "x-forwarded-for",   "x-forwarded_client",
                                          "forwarded",         "connection",        "te",
                                          "transfer-encoding", "transfer_encoding", "upgrade",
                                          "x-named",           "keep-alive",        "proxy-authorization"};
    static const char *const kept[] = {
        "accept",          "content-type",     "user-agent", "kubectl-command", "x-stream-protocol-version",
        "authorization-x", "sec-websocket-key"};
    struct http_header connection = {"connection", "close, X-Named"};
    struct http_request request = {.headers = &connection, .header_count = 1};
    for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++)
        if (!kube_header_is_dropped(&request, dropped[i]))
            fail_msg("%s passes", dropped[i]);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (kube_header_is_dropped(&request, kept[i]))
            fail_msg("%s does not pass", kept[i]);
}

static void test_status(void **state)
{
    (void)state;
    char *text = kube_status_body(403, "no \"way\"");
    json_t *json = json_loads(text, 0, NULL);
    assert_string_equal(json_get_text(json, "kind", ""), "Status");
    assert_string_equal(json_get_text(json, "reason", ""), "Forbidden");
    assert_string_equal(json_get_text(json, "status", ""), "Failure");
    assert_non_null(strstr(json_get_text(json, "message", ""), "no \"way\""));
    assert_int_equal(json_get_int(json, "code", 0), 403);
    json_decref(json);
    mem_free(text);
    text = kube_status_body(502, "\xff");
    assert_non_null(strstr(text, "\"code\":502"));
    mem_free(text);
}

/* One request, asked by these rules. */
static void asks(const char *json, const char *method, const char *path, enum rbac_kube_answer want)
{
    struct rbac_kube_rules *rules = NULL;
    struct kube_request *request = NULL;
    struct tp_error error = {0};
    json_t *resources = json_loads(json, 0, NULL);
    assert_int_equal(rbac_kube_rules_new(resources, &rules, &error), TP_OK);
    assert_int_equal(kube_request_parse(method, path, NULL, &request, &error), TP_OK);
    if (kube_request_check(rules, request, &error) != want)
        fail_msg("%s %s: %s", method, path, error.text);
    assert_true(want != RBAC_KUBE_DENY || strlen(error.text) > 10);
    kube_request_free(request);
    rbac_kube_rules_free(rules);
    json_decref(resources);
}

#define ANY(kind, space, name) \
    "{\"kind\":\"" kind "\",\"api_group\":\"*\",\"namespace\":\"" space "\",\"name\":\"" name "\",\"verbs\":[\"*\"]}"

/* Who may look at nodes came by nodes/proxy to the kubelet, which runs commands in every pod: no right to exec, no namespace and no
 * recording was asked for. */
static void R2_the_kubelet_is_no_way_round_exec(void **state)
{
    static const char all[] = "{\"allowed\":[" ANY("*", "*", "*") "],\"denied\":[]}";
    static const char some[] = "{\"allowed\":[" ANY("pods", "dev", "*") "," ANY("nodes", "", "*") "],\"denied\":[]}";
    static const char no_exec[] =
        "{\"allowed\":[" ANY("*", "*", "*") "],\"denied\":[{\"kind\":\"pods\",\"api_group\":"
                                            "\"*\",\"namespace\":\"*\",\"name\":\"*\",\"verbs\":[\"exec\"]}]}";
    static const char *const commands[] = {
        "exec/prod/db/main",   "run/prod/db/main", "attach/prod/db/main", "exec", "Exec/x",
        "portForward/prod/db", "cri/exec/token"};
    static const char *const inside[] = {"pods", "runningpods/", "containerLogs/prod/db/main", "logs/",
                                         "",     "debug/pprof"};
    static const char *const state_of[] = {"metrics", "metrics/cadvisor", "stats/summary", "healthz"};
    (void)state;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char *path = mem_printf("/api/v1/nodes/n1:10250/proxy/%s", commands[i]);
        asks(all, "GET", path, RBAC_KUBE_DENY);
        asks(some, "POST", path, RBAC_KUBE_DENY);
        asks(no_exec, "GET", path, RBAC_KUBE_DENY);
        mem_free(path);
    }
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        char *path = mem_printf("/api/v1/nodes/n1/proxy/%s", inside[i]);
        asks(all, "GET", path, RBAC_KUBE_ALLOW);
        asks(some, "GET", path, RBAC_KUBE_DENY);
        asks(no_exec, "GET", path, RBAC_KUBE_DENY);
        mem_free(path);
    }
    for (size_t i = 0; i < sizeof state_of / sizeof *state_of; i++) {
        char *path = mem_printf("/api/v1/nodes/n1/proxy/%s", state_of[i]);
        asks(all, "GET", path, RBAC_KUBE_ALLOW);
        asks(some, "GET", path, RBAC_KUBE_ALLOW);
        mem_free(path);
    }
    asks(all, "GET", "/api/v1/nodes/n1:2379/proxy/metrics", RBAC_KUBE_ALLOW);
    asks(some, "GET", "/api/v1/nodes/n1:2379/proxy/metrics", RBAC_KUBE_DENY);
    asks(some, "GET", "/api/v1/nodes/n1", RBAC_KUBE_ALLOW);
}

/* /var/log of the API server's host, where a kubelet keeps what all pods of that host say. */
static void R2_the_hosts_log_files_are_no_way_round_pods(void **state)
{
    static const char all[] = "{\"allowed\":[" ANY("*", "*", "*") "],\"denied\":[]}";
    static const char some[] = "{\"allowed\":[" ANY("pods", "dev", "*") "],\"denied\":[]}";
    static const char *const paths[] = {"/logs", "/logs/", "/logs/pods/prod_db_1/main/0.log", "/Logs/pods"};
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        asks(all, "GET", paths[i], RBAC_KUBE_ALLOW);
        asks(some, "GET", paths[i], RBAC_KUBE_DENY);
    }
    asks(some, "GET", "/metrics", RBAC_KUBE_ALLOW);
    asks(some, "GET", "/version", RBAC_KUBE_ALLOW);
    asks(some, "GET", "/", RBAC_KUBE_ALLOW);
}

/* "http:admin:80" is the service admin for the API server, and was another name for the rules. */
static void R5_a_denied_service_is_denied_on_each_port(void **state)
{
    static const char rules[] = "{\"allowed\":[" ANY("*", "*", "*") "],\"denied\":[" ANY("services", "*", "admin") "]}";
    static const char *const names[] = {"admin",         "admin:80",     "admin:http",
                                        "http:admin:80", "https:admin:", "https:admin:443"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = mem_printf("/api/v1/namespaces/d/services/%s/proxy/", names[i]);
        asks(rules, "GET", path, RBAC_KUBE_DENY);
        mem_free(path);
    }
    asks(rules, "GET", "/api/v1/namespaces/d/services/web:80/proxy/", RBAC_KUBE_ALLOW);
    /* Who denied it with scheme and port, as the path has it, is heard too; what is allowed is the service, whatever its scheme. */
    static const char ports[] = "{\"allowed\":[" ANY("*", "*", "*") "],\"denied\":[" ANY(
        "services", "*", "admin:80") "," ANY("services", "*", "https:*") "]}";
    static const char http[] = "{\"allowed\":[" ANY("services", "*", "http*") "],\"denied\":[]}";
    asks(ports, "GET", "/api/v1/namespaces/d/services/admin:80/proxy/", RBAC_KUBE_DENY);
    asks(ports, "GET", "/api/v1/namespaces/d/services/https:web:443/proxy/", RBAC_KUBE_DENY);
    asks(ports, "GET", "/api/v1/namespaces/d/services/admin:81/proxy/", RBAC_KUBE_ALLOW);
    asks(http, "GET", "/api/v1/namespaces/d/services/httpbin:80/proxy/", RBAC_KUBE_ALLOW);
    asks(http, "GET", "/api/v1/namespaces/d/services/http:admin:80/proxy/", RBAC_KUBE_DENY);
    /* A rule for one port opens that port, and no pattern does. */
    static const char one[] = "{\"allowed\":[" ANY("services", "*", "web:80") "," ANY(
        "services", "*", "adm*:81") "," ANY("services", "*", "http:*") "],\"denied\":[]}";
    asks(one, "GET", "/api/v1/namespaces/d/services/web:80/proxy/", RBAC_KUBE_ALLOW);
    asks(one, "GET", "/api/v1/namespaces/d/services/web:81/proxy/", RBAC_KUBE_DENY);
    asks(one, "GET", "/api/v1/namespaces/d/services/http:web:80/proxy/", RBAC_KUBE_DENY);
    asks(one, "GET", "/api/v1/namespaces/d/services/web/proxy/", RBAC_KUBE_DENY);
    asks(one, "GET", "/api/v1/namespaces/d/services/web", RBAC_KUBE_DENY);
    asks(one, "GET", "/api/v1/namespaces/d/services/admin:81/proxy/", RBAC_KUBE_DENY);
    static const char both[] =
        "{\"allowed\":[" ANY("services", "*", "web:80") "],\"denied\":[" ANY("services", "*", "web") "]}";
    asks(both, "GET", "/api/v1/namespaces/d/services/web:80/proxy/", RBAC_KUBE_DENY);
}

/* What kubectl shows of a refusal depends on what it asked for: discovery reads no Status (measured with 1.20, 1.32 and
 * 1.35). */
static void test_refusals_of_discovery(void **state)
{
    (void)state;
    static const char aggregated[] =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    static const char plain[] = "application/json, */*";
    static const struct {
        const char *path, *accept;
        int status, made;
        const char *type, *body;
    } cases[] = {
        {"/api", aggregated, 403, 403, "text/plain; charset=utf-8", "tport: no way\n"},
        {"/apis", aggregated, 404, 403, "text/plain; charset=utf-8", "tport: no way\n"},
        {"/api", aggregated, 503, 502, "text/plain; charset=utf-8", "tport: no way\n"},
        {"/version", plain, 504, 502, "text/plain; charset=utf-8", "tport: no way\n"},
        {"/version", NULL, 500, 500, "text/plain; charset=utf-8", "tport: no way\n"},
        {"/openapi/v3", plain, 403, 403, "text/plain; charset=utf-8", "tport: no way\n"},
        {"/swagger-2.0.0.pb-v1", plain, 403, 403, "text/plain; charset=utf-8", "tport: no way\n"},
        {"/version", plain, 401, 401, "application/json", "\"code\":401"},
        {"/api", aggregated, 429, 429, "application/json", "\"code\":429"},
        {"/api", plain, 403, 403, "application/json", NULL},
        {"/apis/apps/v1", plain, 404, 404, "application/json", NULL},
        {"/api/v1/", plain, 403, 403, "application/json", NULL},
        {"/api", plain, 503, 503, "application/json", "\"code\":503"},
        {"/api/v1/pods", plain, 403, 403, "application/json", "\"reason\":\"Forbidden\""},
        {"/apis/apps/v1/deployments", aggregated, 404, 404, "application/json", "\"reason\":\"NotFound\""},
        {"/api/v1/pods?watch=true&limit=1", plain, 403, 403, "text/plain; charset=utf-8", "tport: no way\n"},
        {"/api/v1/pods?watch=true", plain, 503, 503, "application/json", "\"code\":503"},
        {"/api/v1/pods?watch=%zz", plain, 403, 403, "application/json", "\"code\":403"},
        {"/versions", plain, 403, 403, "application/json", "\"code\":403"},
        {"/apix", aggregated, 403, 403, "application/json", "\"code\":403"},
        {"/", plain, 403, 403, "application/json", "\"code\":403"},
        {NULL, NULL, 403, 403, "application/json", "\"code\":403"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_header accept = {"accept", cases[i].accept};
        char path[64];
        struct http_request request = {.path = cases[i].path ? path : NULL, .headers = &accept};
        struct kube_refusal refusal;
        (void)snprintf(path, sizeof path, "%s", cases[i].path ? cases[i].path : "");
        request.header_count = cases[i].accept != NULL;
        request.query = strchr(path, '?');
        if (request.query)
            *request.query++ = '\0';
        kube_refusal_make(&request, cases[i].status, "no way", &refusal);
        if (refusal.status != cases[i].made || strcmp(refusal.type, cases[i].type) != 0 ||
            !strstr(refusal.body, cases[i].body ? cases[i].body : "\"message\":\"tport: no way\"") ||
            (!cases[i].body && (strstr(refusal.body, "reason") || strstr(refusal.body, "code"))))
            fail_msg("%s %s %d: %d %s %s", cases[i].path, cases[i].accept, cases[i].status, refusal.status,
                     refusal.type, refusal.body);
        mem_free(refusal.body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_paths_that_two_readers_could_take_differently),
        cmocka_unit_test(test_session_fields),
        cmocka_unit_test(R2_the_kubelet_is_no_way_round_exec),
        cmocka_unit_test(R2_the_hosts_log_files_are_no_way_round_pods),
        cmocka_unit_test(R5_a_denied_service_is_denied_on_each_port),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_refusals_say_which_group),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_R10_identity_headers_are_dropped_in_every_spelling),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_refusals_of_discovery),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
